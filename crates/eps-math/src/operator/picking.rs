//! [`Picks`] as an operator.

use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral, assert_length};
use super::picks::Picks;
use crate::Shape;

impl LinearMap for Picks {
    fn domain(&self) -> Shape {
        self.taken()
    }

    fn range(&self) -> Shape {
        self.given()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.taken());
        self.of_image(x)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.given());
        self.back(y)
    }

    fn kind(&self) -> OperatorKind {
        OperatorKind::Pixels
    }

    fn picks(&self) -> Option<Picks> {
        Some(self.clone())
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }
}

impl Spectral for Picks {
    fn eigenvalues(&self) -> Vec<f64> {
        self.squares()
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        assert_length("the image", x, self.taken());
        x.iter().zip(self.squares()).map(|(x, lambda)| x * f(lambda)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_after_picks_are_picks() {
        let shape = |width| Shape::new(1, 1, width).unwrap();
        let first = Picks::new(shape(3), shape(2), vec![Some((2, 2.0)), Some((0, -1.0))]);
        let second =
            Picks::new(shape(2), shape(4), vec![None, Some((1, 3.0)), Some((0, 0.5)), None]);
        let both = first.then(&second);
        assert_eq!(both.apply(&[1.0, 10.0, 100.0]), [0.0, -3.0, 100.0, 0.0]);
        assert_eq!(both.adjoint(&[7.0, 1.0, 2.0, 7.0]), [-3.0, 0.0, 2.0]);
        assert_eq!(both.eigenvalues(), [9.0, 0.0, 1.0]);
        assert_eq!(both.transposed().apply(&[7.0, 1.0, 2.0, 7.0]), [-3.0, 0.0, 2.0]);
        assert_eq!(
            (both.rows_alike(), both.columns_alike(), both.share()),
            (None, None, 10.0 / 3.0)
        );
        let crop = Picks::of_pixels(shape(3), shape(2), [0, 1]);
        assert_eq!((crop.rows_alike(), crop.columns_alike()), (Some(1.0), None));
        let pad = crop.transposed();
        assert_eq!((pad.rows_alike(), pad.columns_alike()), (None, Some(1.0)));
        let masked = Picks::of_weights(shape(2), &[1.0, 0.0]);
        assert_eq!((masked.rows_alike(), masked.columns_alike()), (None, None));
        assert_eq!(masked.weighted(&[0.0, 3.0]).apply(&[1.0, 1.0]), [0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "pixel 1 is picked twice")]
    fn no_pixel_is_picked_twice() {
        let shape = Shape::new(1, 1, 2).unwrap();
        let _ = Picks::of_pixels(shape, shape, [1, 1]);
    }
}

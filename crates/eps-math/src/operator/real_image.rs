//! Real images among complex ones.

use super::expression::{Eigenbasis, Expression, Sparse};
use super::linear_map::{LinearMap, Spectral, assert_length};
use crate::{MathError, Shape};

/// y = (x, 0): a real image as a complex one, a pair of channels of which the second is 0.
///
/// Before [`Fourier`](super::Fourier) or [`Coils`](super::Coils) in a [`Chain`](super::Chain) it says that the image is real, so that a prior
/// of magnitudes serves it: half as many numbers are unknown. The phase of the image belongs into the maps of the coils.
///
/// # Shapes
/// x: `[1, H, W]`, y: `[2, H, W]`.
#[derive(Debug, Clone)]
pub struct RealImage {
    shape: Shape,
}

impl RealImage {
    /// Real images of `shape`.
    ///
    /// # Errors
    /// [`MathError::Channels`] unless they have one channel.
    pub fn new(shape: Shape) -> Result<Self, MathError> {
        if shape.channels != 1 {
            return Err(MathError::Channels { what: "real", needed: 1, found: shape.channels });
        }
        Ok(Self { shape })
    }
}

/// A plane of `n` values as a pair, with zeros for imaginary parts.
pub(super) fn real_pair(n: usize) -> Expression {
    let entries = (0..n).map(|i| (i, i, 1.0)).collect();
    Expression::Sparse(Sparse { columns: n, rows: 2 * n, entries })
}

/// The orthonormal 2-D DFT of a plane of real values.
pub(super) fn real_waves(plane: (usize, usize)) -> Expression {
    real_pair(plane.0 * plane.1).then(Expression::Dft { plane })
}

impl LinearMap for RealImage {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        Shape { channels: 2, ..self.shape }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let mut pair = x.to_vec();
        pair.resize(2 * x.len(), 0.0);
        pair
    }

    /// The real part.
    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range());
        y[..self.shape.len()].to_vec()
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        Some(self.adjoint(y))
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        Some(vec![f(1.0); self.shape.len()])
    }

    fn expression(&self) -> Option<Expression> {
        Some(real_pair(self.shape.plane()))
    }

    fn infinity_norm(&self) -> Option<f64> {
        Some(1.0)
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }
}

impl Spectral for RealImage {
    /// 1 at every pixel.
    fn eigenvalues(&self) -> Vec<f64> {
        vec![1.0; self.shape.len()]
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        let value = f(1.0);
        x.iter().map(|x| value * x).collect()
    }

    fn eigenbasis(&self) -> Option<Eigenbasis> {
        Some(Eigenbasis {
            into: Expression::identity(),
            eigenvalues: self.eigenvalues(),
            is_whole: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_image_is_a_pair() {
        let real = RealImage::new(Shape::new(1, 1, 2).unwrap()).unwrap();
        assert_eq!(real.apply(&[3.0, -1.0]), [3.0, -1.0, 0.0, 0.0]);
        assert_eq!(real.adjoint(&[3.0, -1.0, 5.0, 7.0]), [3.0, -1.0]);
        let error = RealImage::new(Shape::new(2, 1, 2).unwrap()).unwrap_err().to_string();
        assert!(error.contains("not of 2"), "{error}");
    }
}

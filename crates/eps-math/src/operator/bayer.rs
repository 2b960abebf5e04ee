//! The mosaic of colours that a camera's sensor sees.

use serde::{Deserialize, Serialize};

use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral, assert_length};
use super::picks::Picks;
use crate::{MathError, Shape};

/// The colours of the sensor's upper left 2×2 pixels, row by row; the rest repeats them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BayerPattern {
    /// Red, green; green, blue.
    Rggb,
    /// Blue, green; green, red.
    Bggr,
    /// Green, red; blue, green.
    Grbg,
    /// Green, blue; red, green.
    Gbrg,
}

impl BayerPattern {
    /// The channel, 0 red to 2 blue, that a pixel of the sensor sees.
    #[must_use]
    pub fn channel(self, row: usize, column: usize) -> usize {
        let of_block = match self {
            Self::Rggb => [0, 1, 1, 2],
            Self::Bggr => [2, 1, 1, 0],
            Self::Grbg => [1, 0, 2, 1],
            Self::Gbrg => [1, 2, 0, 1],
        };
        of_block[row % 2 * 2 + column % 2]
    }
}

/// One colour at every pixel, as behind a Bayer filter: demosaicing restores the others.
///
/// # Shapes
/// x: `[3, H, W]`, y: `[1, H, W]`. Eigenvalues are 1 for what is seen and 0 elsewhere.
#[derive(Debug, Clone)]
pub struct Bayer {
    shape: Shape,
    /// The value of the image that each pixel of y shows.
    seen: Vec<usize>,
}

impl Bayer {
    /// The mosaic of images of `shape`.
    ///
    /// # Errors
    /// [`MathError::Channels`] unless they have three channels.
    pub fn new(shape: Shape, pattern: BayerPattern) -> Result<Self, MathError> {
        if shape.channels != 3 {
            return Err(MathError::Channels { what: "bayer", needed: 3, found: shape.channels });
        }
        let plane = shape.plane();
        let of = |i: usize| pattern.channel(i / shape.width, i % shape.width) * plane + i;
        Ok(Self { shape, seen: (0..plane).map(of).collect() })
    }
}

impl LinearMap for Bayer {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        Shape { channels: 1, ..self.shape }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        self.seen.iter().map(|index| x[*index]).collect()
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range());
        let mut x = vec![0.0; self.shape.len()];
        self.seen.iter().zip(y).for_each(|(index, value)| x[*index] = *value);
        x
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        Some(self.adjoint(y))
    }

    fn kind(&self) -> OperatorKind {
        OperatorKind::Pixels
    }

    fn picks(&self) -> Option<Picks> {
        Some(Picks::of_pixels(self.shape, self.range(), self.seen.iter().copied()))
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }
}

impl Spectral for Bayer {
    fn eigenvalues(&self) -> Vec<f64> {
        self.adjoint(&vec![1.0; self.seen.len()])
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let (hidden, seen) = (f(0.0), f(1.0));
        let mut mapped: Vec<f64> = x.iter().map(|value| hidden * value).collect();
        self.seen.iter().for_each(|index| mapped[*index] = seen * x[*index]);
        mapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_shows_its_colour() {
        // Red is 10s, green 20s, blue 30s.
        let x: Vec<f64> =
            [10.0, 20.0, 30.0].iter().flat_map(|c| (0..6).map(move |i| c + f64::from(i))).collect();
        let shape = Shape::new(3, 2, 3).unwrap();
        for (pattern, expected) in [
            (BayerPattern::Rggb, [10.0, 21.0, 12.0, 23.0, 34.0, 25.0]),
            (BayerPattern::Bggr, [30.0, 21.0, 32.0, 23.0, 14.0, 25.0]),
            (BayerPattern::Grbg, [20.0, 11.0, 22.0, 33.0, 24.0, 35.0]),
            (BayerPattern::Gbrg, [20.0, 31.0, 22.0, 13.0, 24.0, 15.0]),
        ] {
            assert_eq!(Bayer::new(shape, pattern).unwrap().apply(&x), expected);
        }
    }
}

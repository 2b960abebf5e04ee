//! Zeros around an image.

use super::chain::Crop;
use super::linear_map::LinearMap;
use crate::{MathError, Shape};

/// Zeros around an image: the adjoint of a [`Crop`].
#[derive(Debug, Clone)]
pub struct Pad {
    /// From the padded image to the image.
    crop: Crop,
}

impl Pad {
    /// Images of `shape` with so many rows of zeros above and below, and columns of zeros left and right.
    ///
    /// # Errors
    /// [`MathError::Shape`] for a padded image that is too large.
    pub fn new(
        shape: Shape,
        (top, bottom): (usize, usize),
        (left, right): (usize, usize),
    ) -> Result<Self, MathError> {
        let grown = |side: usize, a: usize, b: usize| side.saturating_add(a).saturating_add(b);
        let height = grown(shape.height, top, bottom);
        let width = grown(shape.width, left, right);
        let padded = Shape::new(shape.channels, height, width)?;
        Ok(Self { crop: Crop::new(padded, (top, left), (shape.height, shape.width))? })
    }
}

impl LinearMap for Pad {
    fn domain(&self) -> Shape {
        self.crop.range()
    }

    fn range(&self) -> Shape {
        self.crop.domain()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.crop.adjoint(x)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.crop.apply(y)
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        Some(self.crop.apply(y))
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        Some(vec![f(1.0); self.domain().len()])
    }
}

//! Zeros around an image.

use super::chain::Crop;
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral};
use super::picks::Picks;
use crate::{MathError, Shape};

/// Zeros around an image: the adjoint of a [`Crop`].
#[derive(Debug, Clone)]
pub struct Pad(Picks);

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
        let crop = Crop::new(padded, (top, left), (shape.height, shape.width))?;
        Ok(Self(crop.into_picks().transposed()))
    }
}

impl LinearMap for Pad {
    fn domain(&self) -> Shape {
        self.0.domain()
    }

    fn range(&self) -> Shape {
        self.0.range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.0.apply(x)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.0.adjoint(y)
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        Some(self.adjoint(y))
    }

    fn kind(&self) -> OperatorKind {
        OperatorKind::Pixels
    }

    fn picks(&self) -> Option<Picks> {
        Some(self.0.clone())
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(&self.0)
    }
}

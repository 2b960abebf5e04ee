//! A weight of each value: soft masks, a Bayer pattern, outpainting.

use super::form::EigenForm;
use super::linear_map::{LinearMap, Spectral, assert_length};
use super::picks::Picks;
use crate::error::{check_scale, check_values};
use crate::noise::Law;
use crate::{MathError, Noise, Shape};

/// y = w ⊙ x, one weight for each value of the image, with eigenvalues w².
#[derive(Debug, Clone)]
pub struct Weights {
    shape: Shape,
    weights: Vec<f64>,
}

impl Weights {
    /// The operator of `weights` `[C, H, W]`.
    ///
    /// # Errors
    /// [`MathError::Length`] or [`MathError::NotFinite`] for the weights, [`MathError::ZeroMatrix`] if all are 0,
    /// [`MathError::Entry`] if the square of the largest is no number.
    pub fn new(shape: Shape, weights: Vec<f64>) -> Result<Self, MathError> {
        check_values("the weights", &weights, shape.len())?;
        check_scale("the largest of the weights", &weights)?;
        if weights.iter().all(|w| *w == 0.0) {
            return Err(MathError::ZeroMatrix("the weights"));
        }
        Ok(Self { shape, weights })
    }

    /// The weights, `[C, H, W]`.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// W A, for [`Whitened::prepare`](super::Whitened::prepare): weights, where W has one for each entry.
    pub(super) fn whitened(&self, noise: &Noise, sigma_y: f64) -> Result<Option<Self>, MathError> {
        match noise.law() {
            Law::Uniform(_) | Law::Entries(_) => {
                Ok(Some(Self::new(self.shape, noise.whiten(&self.weights, sigma_y))?))
            }
            _ => Ok(None),
        }
    }

    fn weighted(&self, x: &[f64]) -> Vec<f64> {
        x.iter().zip(&self.weights).map(|(v, w)| v * w).collect()
    }
}

impl LinearMap for Weights {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        self.shape
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        self.weighted(x)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.shape);
        self.weighted(y)
    }

    fn picks(&self) -> Option<Picks> {
        Some(Picks::of_weights(self.shape, &self.weights))
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }
}

impl Spectral for Weights {
    fn eigenvalues(&self) -> Vec<f64> {
        self.weights.iter().map(|w| w * w).collect()
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        x.iter().zip(&self.weights).map(|(v, w)| v * f(w * w)).collect()
    }

    fn form(&self) -> Option<EigenForm<'_>> {
        Some(EigenForm::Weights(&self.weights))
    }
}

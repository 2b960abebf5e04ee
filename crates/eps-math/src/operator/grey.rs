//! The luminance of colour images.

use super::expression::{Eigenbasis, Expression, Sparse};
use super::linear_map::{LinearMap, Spectral, assert_length};
use crate::{MathError, Shape};

/// The shares of red, green and blue in the luminance of ITU-R BT.601, as every program turns colour into grey.
const SHARES: [f64; 3] = [0.299, 0.587, 0.114];

/// y = 0.299 R + 0.587 G + 0.114 B at every pixel: colours are to be restored.
#[derive(Debug, Clone)]
pub struct Grey {
    shape: Shape,
}

impl Grey {
    /// The luminance of images of `shape`.
    ///
    /// # Errors
    /// [`MathError::Channels`] unless they have three channels.
    pub fn new(shape: Shape) -> Result<Self, MathError> {
        if shape.channels != SHARES.len() {
            return Err(MathError::Channels { what: "grey", needed: 3, found: shape.channels });
        }
        Ok(Self { shape })
    }

    /// The luminance times a scale.
    fn shares(&self, scale: f64) -> Expression {
        let plane = self.shape.plane();
        let entry = |i: usize| (i % plane, i, scale * SHARES[i / plane]);
        let entries = (0..self.shape.len()).map(entry).collect();
        Expression::Sparse(Sparse { columns: self.shape.len(), rows: plane, entries })
    }

    /// ‖shares‖², the eigenvalue of the luminance.
    fn gain() -> f64 {
        SHARES.iter().map(|share| share * share).sum()
    }
}

impl LinearMap for Grey {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        Shape { channels: 1, ..self.shape }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let plane = self.shape.plane();
        (0..plane).map(|i| (0..3).map(|c| SHARES[c] * x[c * plane + i]).sum()).collect()
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range());
        SHARES.iter().flat_map(|share| y.iter().map(move |v| share * v)).collect()
    }

    /// The luminance in every channel.
    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        Some(y.repeat(SHARES.len()))
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        let (gain, rest) = (Self::gain(), f(0.0));
        let along = (f(gain) - rest) / gain;
        let of = |share: &f64| vec![rest + along * share * share; self.shape.plane()];
        Some(SHARES.iter().flat_map(of).collect())
    }

    fn expression(&self) -> Option<Expression> {
        Some(self.shares(1.0))
    }

    fn infinity_norm(&self) -> Option<f64> {
        Some(SHARES.iter().sum())
    }

    fn gives_picture(&self) -> bool {
        true
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }
}

impl Spectral for Grey {
    /// The luminance of every pixel, then two directions across it.
    fn eigenvalues(&self) -> Vec<f64> {
        let plane = self.shape.plane();
        let mut values = vec![0.0; self.shape.len()];
        values[..plane].fill(Self::gain());
        values
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        let (gain, rest) = (Self::gain(), f(0.0));
        // f(0) x + (f(λ) − f(0)) u uᵀx along u = shares/‖shares‖.
        let mut mapped = self.adjoint(&self.apply(x));
        let along = (f(gain) - rest) / gain;
        for (value, x) in mapped.iter_mut().zip(x) {
            *value = *value * along + rest * x;
        }
        mapped
    }

    fn eigenbasis(&self) -> Option<Eigenbasis> {
        let eigenvalues = vec![Self::gain(); self.shape.plane()];
        Some(Eigenbasis {
            into: self.shares(Self::gain().sqrt().recip()),
            eigenvalues,
            is_whole: false,
        })
    }
}

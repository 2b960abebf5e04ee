//! An operator whose measurement has been whitened.

use std::sync::Arc;

use super::expression::{Expression, Preconditioner};
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral};
use super::{Picks, PreparedOperator, lifted};
use crate::noise::Law;
use crate::{MathError, Noise, Shape};

/// W A with W = σ̄ L⁻¹ for noise of covariance L Lᵀ: the operator of W y, whose noise has one standard deviation σ̄.
///
/// Rows of entries that were not measured are 0: what y holds there changes nothing.
#[derive(Debug, Clone)]
pub struct Whitened {
    map: Arc<dyn LinearMap>,
    noise: Arc<Noise>,
    sigma_y: f64,
    /// The map where the operator picks pixels and W is a number for each entry.
    picks: Option<Picks>,
}

impl Whitened {
    /// The whitened operator, for the standard deviation `sigma_y` of whitened noise.
    ///
    /// # Errors
    /// Those of [`Noise::check_shape`].
    pub fn new(
        map: Arc<dyn LinearMap>,
        noise: Arc<Noise>,
        sigma_y: f64,
    ) -> Result<Self, MathError> {
        noise.check_shape(map.range())?;
        let picks = match noise.law() {
            Law::Uniform(_) | Law::Entries(_) => map
                .picks()
                .map(|picks| picks.weighted(&noise.whiten(&vec![1.0; map.range().len()], sigma_y))),
            _ => None,
        };
        Ok(Self { map, noise, sigma_y, picks })
    }

    /// The whitened operator, with its eigenbasis where one is known: of masks and weights with a deviation of each entry,
    /// of blurs that wrap around with a spectrum, of matrices with any law, and of every family where W is a number.
    ///
    /// # Errors
    /// Those of [`Noise::check_shape`], and of the decomposition of a matrix.
    pub fn prepare(
        operator: &PreparedOperator,
        noise: &Arc<Noise>,
        sigma_y: f64,
    ) -> Result<PreparedOperator, MathError> {
        noise.check_shape(operator.map().range())?;
        if let Some(basic) = operator.basic()
            && let Some(whitened) = basic.whitened(noise, sigma_y)?
        {
            return Ok(whitened.into());
        }
        let map = Arc::new(Self::new(operator.shared(), Arc::clone(noise), sigma_y)?);
        Ok(PreparedOperator::Map { family: operator.family(), map })
    }
}

impl LinearMap for Whitened {
    fn domain(&self) -> Shape {
        self.map.domain()
    }

    fn range(&self) -> Shape {
        self.map.range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.noise.whiten(&self.map.apply(x), self.sigma_y)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.map.adjoint(&self.noise.whiten_transposed(y, self.sigma_y))
    }

    /// What was measured, before it was whitened.
    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        Some(lifted(self.map.as_ref(), &self.noise.unwhiten(y, self.sigma_y)))
    }

    /// Of a W that is a number, where that of the operator is known, and where pixels are picked.
    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        match (&self.picks, self.noise.law()) {
            (Some(picks), _) => picks.diagonal(f),
            (None, Law::Uniform(sigma)) if *sigma > 0.0 => {
                let gain = (self.sigma_y / sigma).powi(2);
                self.map.diagonal(&|lambda| f(gain * lambda))
            }
            _ => None,
        }
    }

    /// That of the operator before it was whitened, unless that picks pixels: W keeps volumes.
    fn approximate_inverse(&self, v: &[f64], kappa: f64) -> Option<Vec<f64>> {
        match &self.picks {
            Some(picks) => picks.approximate_inverse(v, kappa),
            None => self.map.approximate_inverse(v, kappa),
        }
    }

    fn preconditioner(&self) -> Option<Preconditioner> {
        match &self.picks {
            Some(picks) => picks.preconditioner(),
            None => self.map.preconditioner(),
        }
    }

    fn expression(&self) -> Option<Expression> {
        let whitening = self.noise.expression(self.sigma_y, self.range());
        Some(self.map.expression()?.then(whitening))
    }

    /// Of what W makes of y nothing is known.
    fn gives_picture(&self) -> bool {
        false
    }

    fn kind(&self) -> OperatorKind {
        self.map.kind()
    }

    fn picks(&self) -> Option<Picks> {
        self.picks.clone()
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        self.picks.as_ref().map(|picks| picks as &dyn Spectral)
    }
}

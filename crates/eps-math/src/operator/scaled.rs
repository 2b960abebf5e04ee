//! A multiple of an operator.

use std::sync::Arc;

use super::expression::{Eigenbasis, Expression, Preconditioner};
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral};
use super::picks::Picks;
use crate::error::check_scale;
use crate::{MathError, Shape};

/// c A: an operator in other units.
#[derive(Debug, Clone)]
pub struct Scaled {
    factor: f64,
    map: Arc<dyn LinearMap>,
}

impl Scaled {
    /// `factor` times a map.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a factor that is 0 or not finite, [`MathError::Entry`] for one whose square is no number.
    pub fn new(factor: f64, map: Arc<dyn LinearMap>) -> Result<Self, MathError> {
        let what = "the factor of the operator scale";
        if factor == 0.0 || !factor.is_finite() {
            let range = "finite and different from 0";
            return Err(MathError::OutOfRange { what, value: factor, range });
        }
        check_scale(what, &[factor])?;
        Ok(Self { factor, map })
    }

    /// The map with its eigenbasis.
    fn basis(&self) -> &dyn Spectral {
        self.map.as_spectral().expect("a multiple of a map whose eigenbasis is known")
    }

    fn scaled(&self, mut values: Vec<f64>) -> Vec<f64> {
        values.iter_mut().for_each(|value| *value *= self.factor);
        values
    }
}

impl LinearMap for Scaled {
    fn domain(&self) -> Shape {
        self.map.domain()
    }

    fn range(&self) -> Shape {
        self.map.range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.scaled(self.map.apply(x))
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.scaled(self.map.adjoint(y))
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        let measured: Vec<f64> = y.iter().map(|value| value / self.factor).collect();
        self.map.placed(&measured)
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        self.map.diagonal(&|lambda| f(self.factor * self.factor * lambda))
    }

    /// (c²B + κ I)⁻¹ = (B + κ/c² I)⁻¹/c².
    fn approximate_inverse(&self, v: &[f64], kappa: f64) -> Option<Vec<f64>> {
        let square = self.factor * self.factor;
        let mut mapped = self.map.approximate_inverse(v, kappa / square)?;
        mapped.iter_mut().for_each(|value| *value /= square);
        Some(mapped)
    }

    fn infinity_norm(&self) -> Option<f64> {
        Some(self.factor.abs() * self.map.infinity_norm()?)
    }

    fn gives_picture(&self) -> bool {
        self.map.gives_picture()
    }

    fn kind(&self) -> OperatorKind {
        self.map.kind()
    }

    fn picks(&self) -> Option<Picks> {
        let picks = self.map.picks()?;
        let gains = vec![self.factor; self.range().len()];
        Some(picks.weighted(&gains))
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        self.map.as_spectral().map(|_| self as &dyn Spectral)
    }

    fn preconditioner(&self) -> Option<Preconditioner> {
        Some(self.map.preconditioner()?.scaled(self.factor * self.factor))
    }

    fn expression(&self) -> Option<Expression> {
        Some(self.map.expression()?.then(Expression::Scale(self.factor)))
    }
}

/// The eigenbasis of the map with the eigenvalues c²λ, for [`LinearMap::as_spectral`]: all of it panics where that is none.
impl Spectral for Scaled {
    fn eigenvalues(&self) -> Vec<f64> {
        let square = self.factor * self.factor;
        self.basis().eigenvalues().into_iter().map(|lambda| square * lambda).collect()
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        let square = self.factor * self.factor;
        self.basis().spectral_map(x, &|lambda| f(square * lambda))
    }

    fn eigenbasis(&self) -> Option<Eigenbasis> {
        let square = self.factor * self.factor;
        let mut basis = self.basis().eigenbasis()?;
        basis.eigenvalues.iter_mut().for_each(|lambda| *lambda *= square);
        Some(basis)
    }
}

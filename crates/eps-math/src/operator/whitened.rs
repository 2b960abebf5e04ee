//! An operator whose measurement has been whitened.

use std::sync::Arc;

use super::expression::{Expression, Preconditioner};
use super::linear_map::{LinearMap, Spectral};
use super::{CircularBlur, Dense, Operator, Picks, PreparedOperator, Separable, Weights, lifted};
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
        if let Some(spectral) = operator.spectral()
            && let Some(whitened) = with_basis(spectral, noise, sigma_y)?
        {
            return Ok(whitened.into());
        }
        let (family, kind) = (operator.family(), operator.kind());
        let map = Arc::new(Self::new(operator.shared(), Arc::clone(noise), sigma_y)?);
        Ok(PreparedOperator::Map { family, kind, map })
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

    fn picks(&self) -> Option<Picks> {
        self.picks.clone()
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        self.picks.as_ref().map(|picks| picks as &dyn Spectral)
    }
}

/// W A by the family that it belongs to, if it does to one with an eigenbasis.
fn with_basis(
    operator: &Operator,
    noise: &Noise,
    sigma_y: f64,
) -> Result<Option<Operator>, MathError> {
    let shape = operator.domain();
    let whitened = |values: &[f64]| noise.whiten(values, sigma_y);
    Ok(Some(match (operator, noise.law()) {
        (Operator::Dense(dense), _) => {
            // Column by column.
            let (rows, n) = (dense.range().len(), shape.len());
            let matrix = dense.matrix();
            let mut product = vec![0.0; rows * n];
            for j in 0..n {
                let column: Vec<f64> = (0..rows).map(|i| matrix[i * n + j]).collect();
                for (i, value) in whitened(&column).into_iter().enumerate() {
                    product[i * n + j] = value;
                }
            }
            Operator::Dense(Dense::new(shape, rows, &product)?)
        }
        (Operator::Mask(_) | Operator::Weights(_), Law::Uniform(_) | Law::Entries(_)) => {
            Operator::Weights(Weights::new(
                shape,
                whitened(&operator.apply(&vec![1.0; shape.len()])),
            )?)
        }
        // Nothing is hidden: the identity.
        (Operator::Mask(mask), Law::Spectrum(spectrum)) if !mask.observed().contains(&false) => {
            let identity = CircularBlur::identity(shape)?;
            Operator::CircularBlur(identity.filtered(&gains(spectrum.variances(), sigma_y))?)
        }
        (Operator::CircularBlur(blur), Law::Spectrum(spectrum)) => {
            Operator::CircularBlur(blur.filtered(&gains(spectrum.variances(), sigma_y))?)
        }
        (Operator::CircularBlur(blur), Law::Uniform(_)) => {
            let gain = whitened(&[1.0])[0];
            Operator::CircularBlur(blur.filtered(&vec![gain; shape.plane()])?)
        }
        (Operator::Separable(separable), Law::Uniform(_)) => {
            let (vertical, horizontal) = separable.sides();
            let vertical = whitened(&vertical.matrix());
            Operator::Separable(Separable::new(shape, &vertical, &horizontal.matrix())?)
        }
        (Operator::AveragePool(pool), Law::Uniform(_)) => {
            let means = |side: usize| mean_matrix(side, pool.factor());
            let (vertical, horizontal) = (whitened(&means(shape.height)), means(shape.width));
            Operator::Separable(Separable::new(shape, &vertical, &horizontal)?)
        }
        _ => return Ok(None),
    }))
}

/// The gain of each frequency.
fn gains(variances: &[f64], sigma_y: f64) -> Vec<f64> {
    variances.iter().map(|variance| sigma_y / variance.sqrt()).collect()
}

/// The matrix of the means of `factor` neighbours, row by row.
fn mean_matrix(side: usize, factor: usize) -> Vec<f64> {
    let mean = (factor as f64).recip();
    (0..side / factor)
        .flat_map(|row| (0..side).map(move |i| if i / factor == row { mean } else { 0.0 }))
        .collect()
}

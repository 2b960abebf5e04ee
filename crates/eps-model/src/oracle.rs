//! The exact denoiser of a Gaussian mixture, for any noise covariance: every sampler's reference.

use std::sync::Arc;

use eps_math::operator::{Dense, LinearMap, OperatorSpec, PreparedOperator, to_matrix};
use eps_math::pivot;
use eps_math::prior::{Mixture, Smoothed};
use eps_math::{Level, Real as _, Shape};
use rayon::prelude::*;
use tch::{Device, Tensor};

use crate::extent::extent;
use crate::{ComputeError, Denoiser, Field, Measurement, Query, QueryNoise};

/// D_Σ(μ) of a mixture prior in closed form, on the host in f64.
#[derive(Debug)]
pub struct Oracle<'a> {
    prior: &'a Mixture,
}

impl<'a> Oracle<'a> {
    /// The exact denoiser of a prior on flattened images.
    #[must_use]
    pub fn new(prior: &'a Mixture) -> Self {
        Self { prior }
    }
}

/// The operator of a batch item: that of its own, or one that all share.
fn operator_of(measurement: &Measurement, item: usize) -> &PreparedOperator {
    let operators = measurement.operator().operators();
    &operators[item % operators.len()]
}

/// What the factorisation of a batch item's noise covariance depends on.
#[derive(Debug, PartialEq)]
struct NoiseKey {
    alpha: f64,
    beta: f64,
    operator: Option<OperatorKey>,
}

/// What tells operators apart: a description, or the place of a map in memory.
#[derive(Debug, PartialEq)]
enum OperatorKey {
    Spec(OperatorSpec),
    Map(*const ()),
}

impl OperatorKey {
    fn of(operator: &PreparedOperator) -> Self {
        match operator {
            PreparedOperator::Basic(operator) => Self::Spec(operator.spec()),
            PreparedOperator::Map { map, .. } => Self::Map(Arc::as_ptr(map).cast()),
        }
    }
}

/// Σ⋆ of one image: by the operator's eigenbasis, or by that of its matrix.
fn sigma_star(
    operator: &PreparedOperator,
    sigma_y: f64,
    level: &Level,
) -> Result<eps_math::faer::Mat<f64>, eps_math::MathError> {
    if let Some(operator) = operator.basic() {
        return Ok(pivot::sigma_star(operator, sigma_y, level));
    }
    let (rows, n) = (operator.range().len(), operator.domain().len());
    let matrix = to_matrix(operator.map());
    let entries: Vec<f64> = (0..rows * n).map(|i| matrix[(i / n, i % n)]).collect();
    let dense = Dense::new(operator.domain(), rows, &entries)?;
    Ok(pivot::sigma_star(&dense, sigma_y, level))
}

impl Oracle<'_> {
    /// Asks the prior, smoothed by the noise of each batch item, about that item's μ.
    fn ask(
        &self,
        query: &Query<'_>,
        answer: impl Fn(&Smoothed<'_>, usize, &[f64]) -> Vec<f64> + Sync,
    ) -> Result<Tensor, ComputeError> {
        let size = query.mu.size();
        let n = self.prior.dimension();
        let mu = values(query.mu);
        if size.first().is_none_or(|images| extent(mu.len()) != images * extent(n)) {
            return Err(ComputeError::Other(format!(
                "the prior is of images of {n} values, and was asked about a tensor {size:?}: ask about [B, C, H, W] \
                 with C H W = {n}"
            )));
        }
        let (alphas, betas) = (values(&query.level.alpha.0), values(&query.level.beta.0));
        let key = |i: usize| NoiseKey {
            alpha: alphas[i % alphas.len()],
            beta: betas[i % betas.len()],
            operator: match query.noise {
                QueryNoise::Isotropic => None,
                QueryNoise::Anisotropic { measurement, .. } | QueryNoise::Observed(measurement) => {
                    Some(OperatorKey::of(operator_of(measurement, i)))
                }
            },
        };
        let items = mu.len() / n;
        let mut answers = Vec::with_capacity(mu.len());
        let mut start = 0;
        while start < items {
            // Neighbours in a batch mostly share operator and level: one factorisation serves them.
            let first = key(start);
            let end = (start + 1..items).find(|i| key(*i) != first).unwrap_or(items);
            let smoothed = self.smoothed(query, start, &first)?;
            let run = &mu[start * n..end * n];
            let of_item = |(i, mu): (usize, &[f64])| answer(&smoothed, start + i, mu);
            // An item's answer does not depend on the thread that computes it.
            let of_run: Vec<Vec<f64>> =
                run.par_chunks_exact(n).with_min_len(64).enumerate().map(of_item).collect();
            answers.extend(of_run.into_iter().flatten());
            start = end;
        }
        Ok(Tensor::from_slice(&answers).view(size.as_slice()).to_device(query.mu.device()))
    }

    /// The prior smoothed by the noise of a batch item.
    fn smoothed(
        &self,
        query: &Query<'_>,
        item: usize,
        key: &NoiseKey,
    ) -> Result<Smoothed<'_>, ComputeError> {
        let level = Level { alpha: key.alpha, beta: key.beta };
        let smoothed = match query.noise {
            QueryNoise::Isotropic => self.prior.smoothed_isotropic(level.sigma()),
            QueryNoise::Anisotropic { measurement, .. } | QueryNoise::Observed(measurement) => {
                let operator = operator_of(measurement, item);
                sigma_star(operator, measurement.sigma_y(), &level)
                    .and_then(|sigma_star| self.prior.smoothed(sigma_star.as_ref()))
            }
        };
        smoothed.map_err(|error| {
            ComputeError::Other(format!(
                "the prior has no answer at the level α = {}, β = {}: {error}",
                key.alpha, key.beta
            ))
        })
    }
}

impl Denoiser for Oracle<'_> {
    /// # Errors
    /// [`ComputeError::Other`] if the images do not have the prior's dimension, or the level's α or β is not positive.
    fn denoise(&self, query: &Query<'_>) -> Result<Tensor, ComputeError> {
        let mu = pivot_of(query)?;
        self.ask(&Query { mu: &mu, ..*query }, |smoothed, _, mu| smoothed.denoise(mu))
    }

    /// # Errors
    /// As [`Oracle::denoise`].
    fn denoise_vjp(
        &self,
        query: &Query<'_>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError> {
        let d = self.denoise(query)?;
        let c = values(&cotangent(&d));
        let n = self.prior.dimension();
        let mu = pivot_of(query)?;
        let vjp = self.ask(&Query { mu: &mu, ..*query }, |smoothed, i, mu| {
            smoothed.denoise_vjp(mu, &c[i * n..(i + 1) * n])
        })?;
        let vjp = match query.noise {
            // ∂μ⋆/∂μ = (α²/β²) Σ⋆.
            QueryNoise::Observed(measurement) => {
                let gains =
                    Field(measurement.sigma_star(query.level).0 / query.level.sigma().square().0);
                measurement.operator().spectral_map(&vjp, &gains)
            }
            QueryNoise::Isotropic | QueryNoise::Anisotropic { .. } => vjp,
        };
        Ok((d, vjp))
    }
}

/// Where the prior is asked: at μ itself, or at the pivot of the state α μ where y is known beside it.
fn pivot_of(query: &Query<'_>) -> Result<Tensor, ComputeError> {
    Ok(match query.noise {
        QueryNoise::Observed(measurement) => {
            measurement.pivot(&(query.mu * &query.level.alpha.0), query.level)?.mu_star
        }
        QueryNoise::Isotropic | QueryNoise::Anisotropic { .. } => query.mu.shallow_clone(),
    })
}

/// The values of a tensor on the host.
fn values(x: &Tensor) -> Vec<f64> {
    Vec::try_from(x.to_device(Device::Cpu).to_kind(tch::Kind::Double).flatten(0, -1))
        .expect("an f64 tensor of one dimension")
}

/// Flattened images as a batch on a device.
///
/// # Shapes
/// `[B, C, H, W]` in f64
///
/// # Panics
/// If the values are not a whole number of images.
pub fn batch(values: &[f64], shape: Shape, device: Device) -> Tensor {
    let sides = [shape.channels, shape.height, shape.width].map(extent);
    Tensor::from_slice(values).view([-1, sides[0], sides[1], sides[2]]).to_device(device)
}

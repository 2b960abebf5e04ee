//! ΠGDM: pseudoinverse-guided diffusion (Song, Vahdat, Mardani and Kautz 2023), as two samplers.
//!
//! Both model p(x₀ | x) as N(D, r² I) with r² = σ²/(1 + σ²), which is exact for data of unit variance,
//! so that the likelihood of x is N(y; A D, r² AAᵀ + σ_y² I). Both walk EDM's levels in place of those of the
//! published VP grid.

use eps_math::{Level, Real, check_positive, check_share};
use eps_model::{ComputeError, Denoiser, Measurement};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{ContenderStep, FrozenPrior};
use crate::solver::ddim_step;
use crate::{Estimator, Moved, Prior, SampleError, Step, StepNoise};

/// The factor of Aᵀ(y − A D) in Aᵀ(r² AAᵀ + σ_y²)⁻¹(y − A D), at one eigenvalue λ of AᵀA.
#[must_use]
pub fn gain<T: Real>(lambda: T, sigma_y: f64, sigma: f64) -> T {
    (lambda * variance(sigma) + sigma_y * sigma_y).recip()
}

/// r² = σ²/(1 + σ²).
fn variance(sigma: f64) -> f64 {
    sigma * sigma / (1.0 + sigma * sigma)
}

/// D and Jᵀ Aᵀ(r² AAᵀ + σ_y²)⁻¹(y − A D), the gradient of the log-likelihood.
fn guidance<D: Denoiser + ?Sized>(
    prior: &Prior<'_, D>,
    measurement: &Measurement,
    x: &Tensor,
    level: Level,
) -> Result<(Tensor, Tensor), ComputeError> {
    let operator = measurement.operator();
    let gains = gain(operator.eigenvalues().clone(), measurement.sigma_y(), level.sigma());
    prior.estimate_vjp(x, level, &|d| operator.spectral_map(&measurement.pull(d), &gains))
}

/// The posterior mean as ΠGDM approximates it, for any solver: the likelihood's score is added to the
/// prior's. One prior call and one backward pass an estimate.
///
/// ```text
/// D̂ = D + ζ (β²/α) Jᵀ Aᵀ(r² AAᵀ + σ_y² I)⁻¹ (y − A D)      J = ∂D/∂x_t
/// ```
///
/// β²/α is σ² in EDM's variable. Exact for x₀ ~ N(m, I) and ζ = 1.
#[derive(Debug)]
pub struct Guided<'a, D: ?Sized> {
    /// The prior.
    pub prior: Prior<'a, D>,
    /// The measurement of every batch item.
    pub measurement: &'a Measurement,
    /// ζ, the weight of the guidance; 1 in the paper.
    pub scale: f64,
}

impl<D: Denoiser + ?Sized> Estimator for Guided<'_, D> {
    fn estimate(&self, x_t: &Tensor, level: Level) -> Result<Tensor, ComputeError> {
        let (d, score) = guidance(&self.prior, self.measurement, x_t, level)?;
        Ok(d + score * (self.scale * level.beta.powi(2) / level.alpha))
    }
}

/// The constants of ΠGDM as a score: DDIM(η) on the estimate of [`Guided`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiGdm {
    /// ζ > 0, the weight of the guidance; 1 in the paper.
    pub scale: f64,
    /// η of DDIM in [0, 1]; 1 in the paper.
    pub eta: f64,
}

impl ContenderStep for PiGdm {
    fn check(&self, _: &[f64]) -> Result<(), SampleError> {
        check_share("η", self.eta)?;
        Ok(check_positive("ζ", self.scale)?)
    }

    fn step(
        &self,
        prior: &FrozenPrior<'_>,
        measurement: &Measurement,
        x: &Tensor,
        step: Step,
        noise: &StepNoise<'_>,
    ) -> Result<Moved, ComputeError> {
        let guided = Guided { prior: *prior, measurement, scale: self.scale };
        let d = guided.estimate(x, Level::edm(step.from))?;
        let x = ddim_step(&d, x, step, self.eta, || noise.draw(0));
        Ok(Moved { x, estimate: d })
    }
}

/// The constants of the published ΠGDM: the guidance r² times the gradient is added to the step of
/// DDIM(η), whose direction is that of the unguided D.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiGdmPublished {
    /// η of DDIM in [0, 1]; 1 in the paper.
    pub eta: f64,
}

/// One prior call and one backward pass a step.
///
/// Deviations from the published code: σ_y is in the likelihood (there it is 0), and the state starts
/// from pure noise rather than from noised A†y.
impl ContenderStep for PiGdmPublished {
    fn check(&self, _: &[f64]) -> Result<(), SampleError> {
        Ok(check_share("η", self.eta)?)
    }

    fn step(
        &self,
        prior: &FrozenPrior<'_>,
        measurement: &Measurement,
        x: &Tensor,
        step: Step,
        noise: &StepNoise<'_>,
    ) -> Result<Moved, ComputeError> {
        let (d, score) = guidance(prior, measurement, x, Level::edm(step.from))?;
        let moved = ddim_step(&d, x, step, self.eta, || noise.draw(0));
        Ok(Moved { x: moved + score * variance(step.from), estimate: d })
    }
}

//! ΠGDM: pseudoinverse-guided diffusion (Song, Vahdat, Mardani and Kautz 2023), as two samplers.
//!
//! Both model p(x₀ | x) as N(D, r² I) with r² = σ²/(1 + σ²), which is exact for data of unit variance,
//! so that the likelihood of x is N(y; A D, r² AAᵀ + σ_y² I). Both walk EDM's levels in place of those of the
//! published VP grid.

use eps_math::{Level, Real};
use eps_model::{Denoiser, Measurement};
use tch::Tensor;

use crate::solver::{check_unit, ddim_step, walk};
use crate::{Estimator, NoiseKeys, Prior, SampleError};

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
fn guidance<D: Denoiser>(
    prior: &Prior<'_, D>,
    measurement: &Measurement,
    x: &Tensor,
    level: Level,
) -> (Tensor, Tensor) {
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
/// β²/α is σ² in EDM's variable. Exact for x₀ ~ N(m, I).
#[derive(Debug)]
pub struct PiGdm<'a, D> {
    prior: Prior<'a, D>,
    measurement: &'a Measurement,
    scale: f64,
}

impl<'a, D> PiGdm<'a, D> {
    /// The estimate by a prior and the measurement of every batch item; `scale` is ζ, the weight of the guidance,
    /// 1 in the paper.
    ///
    /// # Errors
    /// [`SampleError::OutOfRange`] unless ζ is positive and finite.
    pub fn new(
        prior: Prior<'a, D>,
        measurement: &'a Measurement,
        scale: f64,
    ) -> Result<Self, SampleError> {
        if !(scale > 0.0 && scale.is_finite()) {
            let (what, range) = ("ζ", "positive and finite");
            return Err(SampleError::OutOfRange { what, value: scale, range });
        }
        Ok(Self { prior, measurement, scale })
    }
}

impl<D: Denoiser> Estimator for PiGdm<'_, D> {
    fn estimate(&self, x_t: &Tensor, level: Level) -> Tensor {
        let (d, score) = guidance(&self.prior, self.measurement, x_t, level);
        d + score * (self.scale * level.beta.powi(2) / level.alpha)
    }
}

/// Draws samples with the published ΠGDM: the guidance r² times the gradient is added to the step of
/// DDIM(η), whose direction is that of the unguided D. One prior call and one backward pass a step.
///
/// Deviations from the published code: σ_y is in the likelihood (there it is 0), and the state starts
/// from pure noise rather than from noised A†y.
///
/// # Errors
/// Those of a [`Solver`](crate::Solver), and [`SampleError::OutOfRange`] for η.
///
/// # Panics
/// If there are not as many keys as states.
pub fn pigdm_published<D: Denoiser>(
    prior: &Prior<'_, D>,
    measurement: &Measurement,
    x: Tensor,
    sigmas: &[f64],
    eta: f64,
    keys: &NoiseKeys,
) -> Result<Tensor, SampleError> {
    check_unit("η", eta)?;
    let noise = keys.for_states(&x);
    walk(x, sigmas, |x, step, sigma, next| {
        let (d, score) = guidance(prior, measurement, x, Level::edm(sigma));
        let moved = ddim_step(&d, x, (sigma, next), eta, || noise.of_step(step));
        moved + score * variance(sigma)
    })
}

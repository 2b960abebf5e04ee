//! MPGD: manifold preserving guided diffusion (He et al. 2024), without a manifold projection.

use eps_math::Level;
use eps_model::Measurement;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::per_image_norm;
use crate::solver::{check_unit, guided_ddim_step, walk};
use crate::{Estimator, NoiseKeys, SampleError};

/// The constants of MPGD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mpgd {
    /// c > 0, the length of the correction of D; per task.
    pub scale: f64,
    /// η of DDIM in [0, 1]; 0.5 as published, 0.85 in arXiv 2606.17048.
    pub eta: f64,
}

/// Draws samples with MPGD: a gradient step on ‖y − A D‖ at the estimate itself, no derivative of
/// the network. One prior call a step.
///
/// ```text
/// D̂ = D + c √(1 + σ'²) Aᵀ(y − A D)/‖y − A D‖      x' = DDIM(η) from D̂ along (x − D)/σ
/// ```
///
/// D is clipped to [-1, 1] as in the published code. √(1 + σ'²) is 1/√ᾱ of the next level, which the
/// step of the published VP form carries; arXiv 2606.17048 calls its DDIM "VE" and does not say whether its
/// MPGD keeps the root: here both forms do, and c is tuned.
///
/// Deviations from the published code: the levels are EDM's in place of its VP grid; the norm is that of one
/// image, not of the batch; no autoencoder
/// projects D. As there, the residual of an inpainting measurement holds its noise on hidden pixels.
///
/// # Errors
/// Those of a [`Solver`](crate::Solver), and [`SampleError::OutOfRange`] for a constant.
///
/// # Panics
/// If there are not as many keys as states.
pub fn mpgd(
    prior: &dyn Estimator,
    measurement: &Measurement,
    x: Tensor,
    sigmas: &[f64],
    constants: &Mpgd,
    keys: &NoiseKeys,
) -> Result<Tensor, SampleError> {
    check_unit("η", constants.eta)?;
    if !(constants.scale > 0.0 && constants.scale.is_finite()) {
        let value = constants.scale;
        return Err(SampleError::OutOfRange { what: "c", value, range: "positive and finite" });
    }
    let (operator, noise) = (measurement.operator(), keys.for_states(&x));
    walk(x, sigmas, |x, step, sigma, next| {
        let d = prior.estimate(x, Level::edm(sigma)).clamp(-1.0, 1.0);
        let residual = measurement.y() - operator.apply(&d);
        // A residual of exactly zero has no direction, and nothing is left to correct.
        let norm = per_image_norm(&residual).clamp_min(f64::MIN_POSITIVE);
        let length = constants.scale * (1.0 + next * next).sqrt();
        let corrected = &d + operator.adjoint(&(residual / norm)) * length;
        let noise = || noise.of_step(step);
        guided_ddim_step(&corrected, &d, x, (sigma, next), constants.eta, noise)
    })
}

//! DPS: diffusion posterior sampling (Chung et al. 2023).

use eps_math::{Level, check_positive};
use eps_model::{ComputeError, Measurement};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{ContenderStep, FrozenPrior, per_image_norm};
use crate::solver::{ddim_step, euler_move};
use crate::{Moved, SampleError, Step, StepNoise};

/// Which sampler carries the guidance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// EDM's Euler steps, as arXiv 2606.17048 runs DPS (its Table 12).
    ///
    /// ```text
    /// x' = D + (σ'/σ)(x − D) − (ζ/‖r‖) ∇_x ‖r‖²      r = y − A D
    /// ```
    Euler,
    /// The published ancestral step in EDM's variable, with D clipped to [-1, 1].
    ///
    /// ```text
    /// x' = D + (σ'²/σ²)(x − D) + σ'√(1 − σ'²/σ²) z − ζ √((1 + σ²)(1 + σ'²)) ∇_x ‖r‖
    /// ```
    ///
    /// The root is the image of the VP step. Networks of EDM have no variance head: the step has the
    /// fixed small variance. The derivative passes through the clipping.
    Ancestral,
}

/// The constants of DPS.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dps {
    /// ζ > 0, the length of the guidance; per task.
    pub scale: f64,
    /// The sampler.
    pub form: Form,
}

/// The step of the prior, less a step down the gradient of the residual through the network. One prior call and one
/// backward pass a step.
///
/// Deviations from the published code: the norm is that of one image (there it is over the batch, so that
/// the samples of a batch change each other's steps); no variance is learnt; the levels are EDM's in place of the
/// published VP grid; [`Form::Euler`] has no clipping and no VP root, as its step is EDM's own. As there, the residual of
/// an inpainting measurement holds its noise on hidden pixels, which no step can lower: it shortens the steps, and ζ is
/// tuned with it.
impl ContenderStep for Dps {
    fn check(&self, _: &[f64]) -> Result<(), SampleError> {
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
        let Self { scale, form } = *self;
        let Step { from: sigma, to: next, .. } = step;
        let operator = measurement.operator();
        let clip = |d: &Tensor| match form {
            Form::Euler => d.shallow_clone(),
            Form::Ancestral => d.clamp(-1.0, 1.0),
        };
        // −∇‖r‖ at D: Aᵀ r/‖r‖, nothing where D is clipped.
        let descent = |d: &Tensor| {
            let residual = measurement.y() - operator.apply(&clip(d));
            let norm = per_image_norm(&residual).clamp_min(f64::MIN_POSITIVE);
            operator.adjoint(&(residual / norm)) * clip(d).eq_tensor(d)
        };
        let (d, descent) = prior.estimate_vjp(x, Level::edm(sigma), &descent)?;
        let d = clip(&d);
        let x = match form {
            Form::Euler => euler_move(&d, x, (sigma, next)) + descent * (2.0 * scale),
            Form::Ancestral => {
                let vp = ((1.0 + sigma * sigma) * (1.0 + next * next)).sqrt();
                // The ancestral step is DDIM's with η = 1.
                ddim_step(&d, x, step, 1.0, || noise.draw(0)) + descent * (scale * vp)
            }
        };
        Ok(Moved { x, estimate: d })
    }
}

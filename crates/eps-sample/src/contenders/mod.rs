//! Training-free posterior samplers: a frozen prior and a measurement, combined in other ways than
//! at the pivot.
//!
//! Every method is written in EDM's variable x = x₀ + σ ε, to which the published VP algorithms
//! translate exactly by x = x_vp/√ᾱ, σ² = (1 − ᾱ)/ᾱ. D is the prior's answer at x; images are on [-1, 1]. A method is
//! a struct of its constants with one [`ContenderStep`]; [`sample`] walks it down the noise levels.

use std::fmt;

use eps_model::{ComputeError, Denoiser, Measurement, attempt};
use tch::Tensor;

use crate::walk::{check_grid, walk};
use crate::{BatchNoise, Moved, Observer, Outcome, Prior, SampleError, Step, StepNoise};

pub mod daps;
pub mod ddnm;
pub mod ddrm;
pub mod dps;
pub mod mpgd;
pub mod pigdm;

/// A prior of any kind, asked at the state.
pub type FrozenPrior<'a> = Prior<'a, dyn Denoiser + 'a>;

/// A step of a training-free method from one noise level to the next.
pub trait ContenderStep: fmt::Debug {
    /// Checks the constants, and that the method can walk a grid.
    ///
    /// # Errors
    /// [`SampleError::Math`] with the offending number.
    fn check(&self, sigmas: &[f64]) -> Result<(), SampleError>;

    /// The prior calls of a run of `steps` steps.
    fn nfe(&self, steps: usize) -> usize {
        steps
    }

    /// The most draws of noise that a step makes.
    fn draws(&self) -> u64 {
        1
    }

    /// Leads a state x of level σ, `step.from`, to one of level σ', `step.to`.
    ///
    /// # Shapes
    /// x: `[B, C, H, W]` in f64 → `[B, C, H, W]` in f64
    ///
    /// # Errors
    /// Those of the prior.
    ///
    /// # Panics
    /// If libtorch fails, as when memory runs out: [`sample`] makes an error of that.
    fn step(
        &self,
        prior: &FrozenPrior<'_>,
        measurement: &Measurement,
        x: &Tensor,
        step: Step,
        noise: &StepNoise<'_>,
    ) -> Result<Moved, ComputeError>;
}

/// Draws one sample for every key of the noise, from pure noise at the grid's first level, which is as far from the
/// images as the prior knows; `sigmas` falls strictly to 0.
///
/// # Errors
/// [`SampleError::Grid`] and [`SampleError::ShortGrid`] for the grid, [`SampleError::Math`] for a constant,
/// [`SampleError::Exact`] for a measurement with σ_y = 0, [`SampleError::Diverged`] if the state leaves the finite numbers,
/// and [`SampleError::Compute`] if the prior has no answer, as when memory runs out, or the measurement is of another number
/// of images than there are keys, and not of one.
pub fn sample(
    contender: &dyn ContenderStep,
    prior: &FrozenPrior<'_>,
    measurement: &Measurement,
    sigmas: &[f64],
    noise: &BatchNoise,
    observer: &mut dyn Observer,
) -> Result<Outcome, SampleError> {
    check_grid(sigmas)?;
    contender.check(sigmas)?;
    if measurement.sigma_y() == 0.0 {
        return Err(SampleError::Exact);
    }
    let x = attempt(|| noise.initial() * sigmas[0])?;
    measurement.check_batch(&x)?;
    let nfe = |steps| contender.nfe(steps);
    walk(x, sigmas, observer, &nfe, |x, step| {
        let noise = noise.of_step(step.index, contender.draws());
        contender.step(prior, measurement, x, step, &noise)
    })
}

/// ‖r‖ of every image, `[B, 1, 1, 1]`.
fn per_image_norm(r: &Tensor) -> Tensor {
    r.square().sum_dim_intlist([1i64, 2, 3].as_slice(), true, tch::Kind::Double).sqrt()
}

//! What can go wrong while sampling.

use eps_math::MathError;
use eps_model::ComputeError;

/// An error of `eps-sample`; each variant carries the value that caused it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A grid of noise levels or times that no walk goes down.
    #[error(
        "the grid must fall strictly from a positive value to 0, but its entry {index} is {value}"
    )]
    Grid {
        /// The first offending entry.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// A grid without a step.
    #[error("the grid has {0} entries: a level and the 0 that it ends at are the fewest")]
    ShortGrid(usize),
    /// A chain that left the finite numbers.
    #[error(
        "the state holds NaN or infinity after step {step} of {steps}: check the network and the \
         measurement, take more steps, or give the method a smaller step size or scale"
    )]
    Diverged {
        /// The step, counted from 1.
        step: usize,
        /// The number of steps.
        steps: usize,
    },
    /// A walk that its observer stopped, where its samples are asked for.
    #[error("the walk was stopped after step {step} of {steps}, so there are no samples")]
    Stopped {
        /// The last step that was done, counted from 1.
        step: usize,
        /// The number of steps.
        steps: usize,
    },
    /// An exact measurement, where a method divides by σ_y.
    #[error(
        "sigma_y is 0, and this method divides by it: give a small one, such as 1e-3, or sample by EPS, which has the limit"
    )]
    Exact,
    /// A denoiser without an answer, or a computation that failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// A constant outside its range, or an error of a schedule.
    #[error(transparent)]
    Math(#[from] MathError),
}

/// Fails for a constant outside its range.
pub(crate) fn out_of_range(what: &'static str, value: f64, range: &'static str) -> SampleError {
    MathError::OutOfRange { what, value, range }.into()
}

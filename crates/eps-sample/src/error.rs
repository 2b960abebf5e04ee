//! What can go wrong while sampling.

use eps_math::MathError;

/// An error of `eps-sample`; each variant carries the value that caused it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A grid of noise levels or times that a solver cannot walk.
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
    /// A number of network calls that a solver cannot make.
    #[error("{solver} cannot make {calls} network calls: {remedy}")]
    Calls {
        /// The solver.
        solver: &'static str,
        /// The number of calls.
        calls: usize,
        /// What to ask for.
        remedy: &'static str,
    },
    /// A parameter outside its range.
    #[error("{what} is {value}: it must be {range}")]
    OutOfRange {
        /// The parameter.
        what: &'static str,
        /// The offending value.
        value: f64,
        /// The admissible range in words.
        range: &'static str,
    },
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
    /// An error of a schedule.
    #[error(transparent)]
    Math(#[from] MathError),
}

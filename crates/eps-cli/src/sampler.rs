//! The solvers as a command line names them.

use clap::ValueEnum;
use eps_sample::Solver;

/// The solvers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sampler {
    /// EDM's deterministic sampler of first order
    Euler,
    /// EDM's deterministic sampler of second order
    Heun,
    /// DDIM(eta)
    Ddim,
    /// The multistep solver of second order, DPM-Solver++(2M): with 10 calls its samples spread nearly as those of 100 of euler
    Multistep,
    /// The same with half of its correction: with 10 calls its samples are nearly those of 20 of euler
    HalfCorrected,
}

impl Sampler {
    /// The calls of a sample where nobody says how many.
    pub(crate) fn usual_calls(self) -> usize {
        match self {
            Self::Multistep | Self::HalfCorrected => 10,
            Self::Heun => 19,
            Self::Euler | Self::Ddim => 20,
        }
    }

    /// The solver; DDIM with all of its randomness.
    pub(crate) fn solver(self) -> Solver {
        match self {
            Self::Euler => Solver::Euler,
            Self::Heun => Solver::Heun,
            Self::Ddim => Solver::Ddim { eta: 1.0 },
            Self::Multistep => Solver::MULTISTEP,
            Self::HalfCorrected => Solver::HALF_CORRECTED,
        }
    }
}

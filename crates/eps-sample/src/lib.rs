//! Diffusion and flow samplers, of a prior and, by exact posterior sampling, of its posterior.
//!
//! The way of the data: a [`eps_model::Measurement`] and a [`eps_model::Denoiser`] make an
//! [`Estimator`] ([`Eps`]); a [`Solver`] walks it down a grid of noise levels from the noise of
//! [`NoiseKeys`] to a batch of samples ([`Sample`]), watched by an [`Observer`]. Other methods, on a frozen prior,
//! are [`contenders`].

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

pub mod contenders;
mod error;
mod estimator;
mod noise;
mod observer;
mod solver;
mod walk;

/// Solvers as descriptions, which [`Sample`] runs.
pub use eps_math::{Churn, Solver};
pub use error::SampleError;
pub use estimator::{CountNfe, Eps, Estimator, Palette, Prior, ZeroShot};
pub use noise::{BatchNoise, NoiseKeys, StepNoise};
pub use observer::{Observer, Outcome, Progress};
pub use solver::Sample;
pub use walk::{Moved, Step};

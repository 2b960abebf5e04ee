//! Diffusion and flow samplers, of a prior and, by exact posterior sampling, of its posterior.
//!
//! The way of the data: a [`eps_model::Measurement`] and a [`eps_model::Denoiser`] make an
//! [`Estimator`] ([`Eps`]); a [`Solver`] walks it down a grid of noise levels from the noise of
//! [`NoiseKeys`] to a batch of samples. Other methods, on a frozen prior, are [`contenders`].

pub mod contenders;
mod error;
mod estimator;
mod noise;
mod solver;

pub use error::SampleError;
pub use estimator::{CountNfe, Eps, Estimator, Palette, Prior, ZeroShot};
pub use noise::{NoiseKeys, StepNoise};
pub use solver::{Churn, Solver, ddim, edm_euler, edm_heun, flow_euler};

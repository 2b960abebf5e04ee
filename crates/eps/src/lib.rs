//! Exact posterior sampling for linear inverse problems with diffusion and flow priors.
//!
//! An image x₀ was measured, y = A x₀ + η with a known linear A and noise η ~ N(0, σ_y² I). This
//! library draws samples of p(x₀ | y): the denoiser of a diffusion model is asked at the pivot of
//! state and measurement instead of at the state (arXiv 2606.17048), so that every solver of the
//! prior becomes an exact one of the posterior.
//!
//! [`Network`] is a trained network or a prior of any origin, [`measurement`] makes measurements and puts them on a
//! device, [`restore()`] draws samples; [`prelude`] has what such a program imports. Beside these the crate gathers the
//! others under short names, and tch, whose tensors they take:
//!
//! | module | what it has |
//! |---|---|
//! | [`files`] | files that are whole or absent, half-done outputs, digests |
//! | [`math`] | interpolants, schedules, operators, the pivot, exact priors, random streams; pure f64 |
//! | [`data`] | measurements, image sets and sample archives in HDF5, NPY, PNG |
//! | [`model`] | operators on tensors, the `Denoiser` trait, networks, checkpoints |
//! | [`sample`] | solvers and the posterior sampler |
//! | [`train`] | objectives, optimisation, exact resume |
//! | [`metrics`] | fidelity, distributions, calibration; LPIPS and FID on pretrained networks |
//!
//! # Conventions
//!
//! Images are `[N, C, H, W]` in row-major order on the scale [-1, 1]; σ_y and σ_t are standard
//! deviations on that scale. The state of a sampler is f64, the network's precision is a choice.
//! The noise of a sample is a function of (seed, image, sample), whatever the batch or the device; the sample is,
//! up to the rounding of the network's precision.
//!
//! # Example
//!
//! A measurement, and four samples of the image behind it (`examples/restore.rs`):
//!
//! ```no_run
#![doc = include_str!("../examples/restore.rs")]
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

pub mod contender;
pub mod conventions;
pub mod dataset;
pub mod environment;
mod error;
pub mod feature_networks;
pub mod format;
pub mod intervals;
pub mod measurement;
pub mod network;
pub mod pictures;
pub mod precision;
pub mod prelude;
pub mod residual;
pub mod restoration_config;
pub mod restore;
pub mod scene;
pub mod training_config;
pub mod uncertainty;
pub mod workers;

pub use eps_data as data;
pub use eps_files as files;
pub use eps_math as math;
pub use eps_metrics as metrics;
pub use eps_model as model;
pub use eps_sample as sample;
pub use eps_train as train;
pub use error::Error;
pub use network::Network;
pub use restore::{Settings, restore};
pub use tch;

//! The libtorch boundary of EPS: denoising networks, operators on tensors, and the [`Denoiser`] trait.
//!
//! The way of the data: operators go to a device as one [`TensorOperator`], with y and σ_y they are a
//! [`Measurement`], whose [`Measurement::pivot`] makes of a state the question that a [`Denoiser`] is asked. A network
//! comes from a file by [`checkpoint::load`] or is built from a [`UNetConfig`]; an [`Oracle`] answers in closed form
//! for a known prior.
//!
//! ```
//! use eps_math::operator::{Mask, Operator};
//! use eps_math::{Level, Shape};
//! use eps_model::tch::{Device, Kind, Tensor};
//! use eps_model::{Measurement, TensorOperator, level_fields};
//!
//! // The upper of two pixels is measured with σ_y = 0.1.
//! let mask = Operator::Mask(Mask::new(Shape::new(1, 2, 1)?, vec![true, false])?);
//! let operator = TensorOperator::new(vec![mask], Device::Cpu)?;
//! let y = Tensor::from_slice(&[0.5, 0.0]).view([1, 1, 2, 1]);
//! let measurement = Measurement::new(operator, &y, 0.1)?;
//!
//! // Where a denoiser is asked about a state at σ_t = 2, and under what noise.
//! let x_t = Tensor::zeros([1, 1, 2, 1], (Kind::Double, Device::Cpu));
//! let pivot = measurement.pivot(&x_t, &level_fields(&[Level::edm(2.0)], Device::Cpu))?;
//! let (upper, lower) = (pivot.mu_star.double_value(&[0, 0, 0, 0]), pivot.mu_star.double_value(&[0, 0, 1, 0]));
//! assert!((upper - 0.5 / (1.0 + 0.01 / 4.0)).abs() < 1e-12 && lower == 0.0);
//! assert!((pivot.sigma_star.0.double_value(&[0, 0, 1, 0]) - 4.0).abs() < 1e-12);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

mod adapted_denoiser;
pub mod checkpoint;
mod class_conditional;
mod compute_error;
mod data_moments;
mod denoiser;
mod device;
mod device_krylov;
mod device_map;
pub mod device_rng;
mod device_solve;
mod dhariwal_unet;
mod edm2_layers;
mod edm2_precond;
mod error;
mod extent;
mod field;
mod gains;
mod host_krylov;
mod krylov;
mod krylov_report;
mod layers;
mod levels;
mod mapping;
mod network_denoiser;
mod operator;
mod oracle;
mod published;
mod scripted_prior;
mod song_unet;
mod steps;
pub mod training_cost;
mod training_record;
mod unet;
mod unet_2d_model;
mod unet_model;
pub mod verify;
mod windows;

pub use adapted_denoiser::{AdaptedDenoiser, RawNetwork};
pub use class_conditional::{ClassConditional, one_hot};
pub use compute_error::{ComputeError, attempt};
pub use data_moments::{DataMoments, values_of_pixels};
pub use denoiser::{Denoiser, Measurement, Pivot, Query, QueryNoise};
pub use device::{DevicePrecision, device, device_name};
pub use device_map::expression_gap;
pub use dhariwal_unet::DhariwalUNetConfig;
pub use edm2_precond::PrecondConfig;
/// Beside [`DevicePrecision`], which says what it means here.
pub use eps_math::Precision;
pub use error::ModelError;
pub use extent::{extent, length_of};
pub use field::{Field, level_fields};
pub use krylov_report::{KrylovReport, StepCount};
pub use layers::Mode;
pub use network_denoiser::{Condition, Factors, NetworkDenoiser};
pub use operator::{Coordinates, TensorOperator};
pub use oracle::{Oracle, batch};
pub use published::{PUBLISHED, published, published_betas, published_licence};
pub use scripted_prior::{ClassInput, Classes, PriorDescription, ScriptedNetwork, ScriptedPrior};
pub use song_unet::{DecoderType, EmbeddingType, EncoderType, SongUNetConfig};
pub use steps::Recomputed;
/// libtorch's tensors, which this crate takes.
pub use tch;
pub use training_record::{ImportedFile, TrainedOn, TrainingRecord};
pub use unet::{UNet, UNetConfig, set_values};
pub use unet_2d_model::{
    DownBlockType, ResampleType, TimeScaleShift, UNet2DModelConfig, UpBlockType,
};
pub use unet_model::UNetModelConfig;
pub use windows::Windows;

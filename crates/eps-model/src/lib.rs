//! The libtorch boundary of EPS: denoising networks, operators on tensors, and the [`Denoiser`] trait.

mod adapted_denoiser;
pub mod atomic;
pub mod checkpoint;
mod data_moments;
mod denoiser;
mod device;
mod error;
mod field;
mod layers;
mod network_denoiser;
mod operator;
mod oracle;
mod scripted_prior;
mod song_unet;
pub mod verify;

pub use adapted_denoiser::{AdaptedDenoiser, RawNetwork};
pub use data_moments::DataMoments;
pub use denoiser::{Denoiser, Measurement, Noise, Pivot, Query};
pub use device::{Precision, device, device_name};
pub use error::ModelError;
pub use field::{Field, level_fields};
pub use layers::Mode;
pub use network_denoiser::{Condition, Factors, NetworkDenoiser};
pub use operator::TensorOperator;
pub use oracle::{Oracle, batch};
pub use scripted_prior::{ClassInput, Classes, PriorDescription, ScriptedNetwork, ScriptedPrior};
pub use song_unet::{DecoderType, EmbeddingType, EncoderType, SongUNet, SongUNetConfig};

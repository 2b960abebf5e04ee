//! The libtorch boundary of EPS: denoising networks, operators on tensors, and the [`Denoiser`] trait.

pub mod atomic;
pub mod checkpoint;
mod class_conditional;
mod data_moments;
mod denoiser;
mod device;
mod dhariwal_unet;
mod error;
pub mod estimate;
mod field;
mod layers;
mod levels;
mod mapping;
mod network_denoiser;
mod operator;
mod oracle;
mod published;
mod song_unet;
mod steps;
mod unet;
pub mod verify;

pub use class_conditional::{ClassConditional, one_hot};
pub use data_moments::DataMoments;
pub use denoiser::{Denoiser, Measurement, Noise, Pivot, Query};
pub use device::{Precision, device, device_name};
pub use dhariwal_unet::DhariwalUNetConfig;
pub use error::ModelError;
pub use field::{Field, level_fields};
pub use layers::Mode;
pub use network_denoiser::{Condition, Factors, NetworkDenoiser};
pub use operator::TensorOperator;
pub use oracle::{Oracle, batch};
pub use published::{PUBLISHED, published};
pub use song_unet::{DecoderType, EmbeddingType, EncoderType, SongUNetConfig};
pub use steps::Recomputed;
pub use unet::{UNet, UNetConfig};

//! Training of denoisers: EDM's objective and the EPS objective, with exact resume.
//!
//! A [`TrainConfig`] says everything about a training, as JSON (`data/networks/fashion/*.json` of the repository are some);
//! [`train`] runs it on [`Images`] in a folder, and goes on there after it was cut off, or with more steps. It returns the network of
//! averaged weights, which `eps_model::checkpoint::save` writes.

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

mod balance;
mod config;
mod error;
mod images;
mod noise_law;
mod objective;
mod optimiser;
mod parts;
mod run_folder;
mod squared_errors;
mod trainer;

pub use config::{Decay, Ema, FORMAT_VERSION, LossWeight, Objective, TrainConfig};
pub use error::TrainError;
pub use images::{Images, SplitClasses};
pub use noise_law::{Family, NoiseLaw, Tail};
pub use objective::{BatchStreams, loss};
pub use parts::Processes;
pub use run_folder::{Change, LossRecord, changes};
pub use trainer::{TrainProgress, agree_to_train, train, train_together, train_watched};

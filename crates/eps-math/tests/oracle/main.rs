//! The mathematics against its oracle: closed forms, dense matrices, naive loops.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod hostile;
mod lmmse;
mod maps;
mod noise;
mod noise_estimate;
mod operators;
mod pivot;
mod prior;
mod properties;
mod registry;

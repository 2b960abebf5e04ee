//! The mathematics against its oracle: closed forms, dense matrices, naive loops.

mod lmmse;
mod operators;
mod pivot;
mod prior;
mod properties;
mod registry;

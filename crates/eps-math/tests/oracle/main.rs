//! The mathematics against its oracle: closed forms, dense matrices, naive loops.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test], panic as tests do")]

mod lmmse;
mod operators;
mod pivot;
mod prior;
mod properties;
mod registry;

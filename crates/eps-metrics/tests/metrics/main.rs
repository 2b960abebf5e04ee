//! The metrics against reference values, naive versions, cases computed by hand, and the
//! properties that their definitions promise.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test], panic as tests do")]

mod calibration;
mod energy;
mod evaluate;
mod fidelity;
mod frechet;
mod golden;
mod inputs;
mod mmd;
mod sliced;
mod summary;

//! LPIPS, features and FID: against a naive version, reference values, closed forms, and the properties
//! that their definitions promise. The naive version needs no fetched weights; what does is skipped,
//! with a line that says so, where `cargo xtask fetch lpips` was not run.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test], panic as tests do")]

mod fetched;
mod inception;
#[path = "../metrics/inputs.rs"]
#[expect(dead_code, reason = "the tests of the other metrics use all of it")]
mod inputs;
mod naive;
mod random;

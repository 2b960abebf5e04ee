//! The experiments on exact posterior sampling: plans, runs, scores, the choice of constants, the
//! tournament with exact denoisers, and how far a network of a law reaches.
//!
//! The way of the data: a [`Profile`] and a [`Request`] become a plan; a run draws the test images, their
//! operators and measurements, lets each method restore them, cell by cell of a store from which a run that was
//! cut off goes on, and scores the restorations. What is left are the types of `eps-results` and the images
//! behind them ([`RunOutcome`]); tables and pages are made of these elsewhere. Nothing is printed: who runs an
//! experiment hears of it through a [`Listener`].

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

mod calibration;
mod cells;
mod constants;
mod error;
mod files;
mod interval_calibration;
mod join;
mod linear;
mod listener;
mod margins;
mod moments;
mod neighbours;
mod networks;
mod output;
mod overhead;
pub mod pictures;
mod pixels;
mod plan;
mod posed;
mod problem;
mod profile;
mod reach;
mod request;
mod restoration;
mod run;
mod sampler;
mod scores;
mod shard;
mod store;
pub mod tournament;
mod tuning;
mod working_memory;

pub use error::{ExperimentError, InvalidRequest};
pub use files::{check_folder, make_folder, other_settings, write_json};
pub use interval_calibration::{IntervalRequest, calibrate_intervals};
pub use join::join;
pub use listener::{Listener, Silent, WITH_BACKWARD};
pub use moments::write_moments;
pub use output::{Computed, RunOutcome};
pub use plan::Plan;
pub use problem::{Problem, test_images};
pub use profile::Profile;
pub use reach::{Reach, ReachRequest};
pub use request::{Chosen, Request, folder_of};
pub use restoration::Restored;
pub use run::Run;
pub use sampler::passes_a_call;
pub use shard::{Shard, merge};
pub use tuning::{Tuning, TuningRequest};

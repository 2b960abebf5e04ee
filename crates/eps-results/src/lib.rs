//! What an experiment leaves: its configuration, its scores and its constants, as types that are written
//! and read.
//!
//! An experiment writes [`Results`], the tournament with exact denoisers [`TournamentResults`], the question how far a
//! network reaches [`ReachResults`]; [`Record`] reads each back from `results.json`, plain or compressed. Nothing here computes a score, and nobody
//! who reads a result looks a field up by its name: a file that lacks a field, or has one that is unknown
//! here, is an error that names it.
//!
//! ```
//! use eps_results::{Contender, Method};
//!
//! let method = Method::Contender { contender: Contender::Dps, calls: 250 };
//! assert_eq!(method.slug(), "dps-250");
//! assert_eq!(serde_json::to_string(&method)?, r#"{"name":"contender","contender":"dps","calls":250}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

mod calibration;
mod config;
mod constants;
mod contender;
mod environment;
mod error;
mod experiment;
mod file;
mod margin;
mod method;
mod metric;
mod neighbours;
mod network;
mod overhead;
pub mod reach;
mod results;
mod row;
pub mod tournament;
mod variant;

pub use calibration::{Calibration, LEVELS, RANKED_SAMPLES};
pub use config::{Config, Constant, DataSet, OtherPrecision};
pub use constants::{Constants, Trial, Tuned};
pub use contender::{Contender, WITH_BACKWARD};
pub use environment::Environment;
pub use error::ResultsError;
pub use experiment::{Experiment, SIGMA_Y, Setting};
pub use file::{Record, json};
pub use margin::{MEAN_DB, MEAN_OF, Margin, MarginVerdict, ONE_CALL_DB};
pub use method::{Method, OtherSolver};
pub use metric::Metric;
pub use neighbours::Neighbours;
pub use network::{ALL_TASKS, FeatureFile, Leg, Loss, NetworkFile, NetworkUse, PRIOR, Scope};
pub use overhead::Overhead;
pub use reach::ReachResults;
pub use results::{Diverged, FORMAT_VERSION, Results, TaskResults};
pub use row::Row;
pub use tournament::TournamentResults;
pub use variant::{Training, Variant};

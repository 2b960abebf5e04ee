//! `eps experiment`: from networks and test images to tables and a report.
//!
//! The way of the data: a [`profile`] and the flags become a resolved [`config`]; [`problem`] draws
//! the test images, their operators and measurements; each [`method`] restores them, cell by cell of
//! the [`cells`] store; [`scores`] turns the restorations into the rows of a [`table`], which
//! [`crate::report`] shows with pictures and curves.

mod cells;
pub(crate) mod config;
mod main_experiment;
pub(crate) mod method;
mod moments;
pub(crate) mod networks;
pub(crate) mod oracle;
pub(crate) mod problem;
mod profile;
pub(crate) mod results;
pub(crate) mod scores;
pub(crate) mod table;

use anyhow::Result;
use clap::Subcommand;

/// Run an experiment: restore test images, score them, write a report.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Debug, Subcommand)]
enum Experiment {
    Main(Box<main_experiment::Arguments>),
    Moments(moments::Arguments),
    Oracle(oracle::Arguments),
}

impl Arguments {
    /// Runs the experiment.
    ///
    /// # Errors
    /// Input that is missing or damaged, and output that cannot be written.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.experiment {
            Experiment::Main(arguments) => arguments.run(),
            Experiment::Moments(arguments) => arguments.run(),
            Experiment::Oracle(arguments) => arguments.run(),
        }
    }
}

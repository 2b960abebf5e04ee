//! `eps experiment`, `eps tune` and `eps claims`: flags, and what is printed and written.
//!
//! `eps-experiments` computes, `eps-report` makes tables and pages of the results.

pub(crate) mod claims;
pub(crate) mod interval_calibration;
mod moments;
mod oracle;
mod output;
mod reach;
mod run;
mod terminal;
pub(crate) mod tune;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use eps_experiments::{join, merge};
use eps_files::{WriteLock, write_bytes};
use eps_results::{Experiment, Record, Results, json};

use crate::together::Processes;

/// Run an experiment: restore test images, score them, write a report.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    experiment: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The paper's comparison: five tasks, the contenders on the frozen prior, Palette, EPS and
    /// estimates without a network.
    ///
    /// Writes config.json, results.json, samples.h5, measurements, figures and report.html, and
    /// prints the tables. A run that was cut off goes on where it was.
    Main(Box<run::Arguments>),
    /// Quality against the number of network calls, for every method
    Steps(Box<run::Arguments>),
    /// The frozen prior asked at the pivot, without training
    ZeroShot(Box<run::Arguments>),
    /// The one-call estimate against the mean of samples
    PosteriorMean(Box<run::Arguments>),
    /// Masks and noise levels that the networks were not trained for
    Ood(Box<run::Arguments>),
    /// What the network reads and how it is scaled; needs networks of its own, see `cargo xtask
    /// reproduce`
    Inputs(Box<run::Arguments>),
    /// The law of the noise level in training; needs networks of its own
    NoiseLaw(Box<run::Arguments>),
    /// One network for all tasks against one for each; needs networks of its own
    Amortized(Box<run::Arguments>),
    /// Training from the prior and from scratch; needs networks of its own
    WarmStart(Box<run::Arguments>),
    /// Tasks that measure little; needs networks of its own
    Extreme(Box<run::Arguments>),
    /// The posterior velocity of a rectified flow; needs networks of its own
    Flow(Box<run::Arguments>),
    /// Whether the samples spread as the truth does
    Calibration(Box<run::Arguments>),
    /// Seconds a sample and a call, one sample at a time, against the bare denoiser
    Runtime(Box<run::Arguments>),
    Moments(moments::Arguments),
    Oracle(oracle::Arguments),
    Reach(reach::Arguments),
    /// Join what jobs with --shard have computed in folders of their own; the experiment's command with this --out then
    /// scores it
    Merge {
        /// The folders of the jobs, --out of theirs
        #[arg(value_name = "FOLDER", required = true)]
        runs: Vec<PathBuf>,
        /// The folder of the whole, which is made where it is missing
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Put the rows of runs with other methods into one table: the rows of the first, then what each further one adds; all of the same
    /// images, measurements and networks
    Join {
        /// The results.json of the runs, plain or compressed
        #[arg(value_name = "RESULTS.json", num_args = 2.., required = true)]
        runs: Vec<PathBuf>,
        /// The file of the whole
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Replace the file if it is there and such results
        #[arg(long)]
        force: bool,
    },
}

/// The results of an experiment on networks.
fn results_of(path: &Path) -> Result<Results> {
    match Record::read(path)? {
        Record::Experiment(results) => Ok(*results),
        other => bail!(
            "{}: results of {} have no rows of methods that could be joined: give results of `eps experiment main`, `steps` or another with a \
             table of methods",
            path.display(),
            other.experiment()
        ),
    }
}

impl Arguments {
    /// Runs the experiment.
    ///
    /// # Errors
    /// Input that is missing or damaged, and output that cannot be written.
    pub(crate) fn run(&self, processes: &Processes) -> Result<()> {
        if let Command::Runtime(_)
        | Command::Moments(_)
        | Command::Oracle(_)
        | Command::Reach(_)
        | Command::Merge { .. }
        | Command::Join { .. } = &self.experiment
        {
            // Of one machine, or over soon.
            processes.require_one()?;
        }
        match &self.experiment {
            Command::Main(arguments) => arguments.run(Experiment::Main, processes),
            Command::Steps(arguments) => arguments.run(Experiment::Steps, processes),
            Command::ZeroShot(arguments) => arguments.run(Experiment::ZeroShot, processes),
            Command::PosteriorMean(arguments) => {
                arguments.run(Experiment::PosteriorMean, processes)
            }
            Command::Ood(arguments) => arguments.run(Experiment::Ood, processes),
            Command::Inputs(arguments) => arguments.run(Experiment::Inputs, processes),
            Command::NoiseLaw(arguments) => arguments.run(Experiment::NoiseLaw, processes),
            Command::Amortized(arguments) => arguments.run(Experiment::Amortized, processes),
            Command::WarmStart(arguments) => arguments.run(Experiment::WarmStart, processes),
            Command::Extreme(arguments) => arguments.run(Experiment::Extreme, processes),
            Command::Flow(arguments) => arguments.run(Experiment::Flow, processes),
            Command::Calibration(arguments) => arguments.run(Experiment::Calibration, processes),
            Command::Runtime(arguments) => arguments.run(Experiment::Runtime, processes),
            Command::Moments(arguments) => arguments.run(),
            Command::Oracle(arguments) => arguments.run(),
            Command::Reach(arguments) => arguments.run(),
            Command::Merge { runs, out } => {
                let merged = merge(runs, out)?;
                for note in &merged.notes {
                    eprintln!("note: {note}");
                }
                println!("{} cells are in {}", merged.cells, out.display());
                Ok(())
            }
            Command::Join { runs, out, force } => {
                let shown = out.display();
                ensure!(
                    out.extension().is_none_or(|ending| ending != "gz"),
                    "--out {shown}: the file is written as plain JSON, so let the name not end in .gz"
                );
                let _lock = WriteLock::take(out)?;
                if out.symlink_metadata().is_ok() {
                    ensure!(
                        force,
                        "{shown} exists already: name another file by --out, or add --force"
                    );
                    results_of(out).with_context(|| {
                        format!(
                            "{shown} holds something else than results of an experiment: --force does not replace it, name another \
                             file by --out"
                        )
                    })?;
                }
                let (first, rest) = runs.split_first().context("no results are given")?;
                let mut results = results_of(first)?;
                for path in rest {
                    results = join(results, results_of(path)?)
                        .with_context(|| format!("{} and {}", first.display(), path.display()))?;
                }
                write_bytes(out, json(&results)?.as_bytes())?;
                println!("{} methods are in {}", results.config.methods.len(), out.display());
                Ok(())
            }
        }
    }
}

//! `eps tune`: the constant of a contender, chosen on validation images.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use eps::dataset;
use eps_experiments::{Tuning, TuningRequest};
use eps_math::Task;
use eps_results::{Contender, Tuned};

use super::run::task;
use crate::experiment::terminal::Terminal;
use crate::flags::{self, NetworkFlags, count, seed, two_or_more};
use crate::sampling_cost::CostFlags;
use crate::together::{Processes, device_of, speaks};

/// Choose the constant of a contender on validation images.
///
/// Every value of a grid around the paper's is tried; where the best is at an end of the grid, the grid
/// goes on, and the middles between the best and its neighbours are tried as well. The value of the
/// least fair energy score is kept. Value and trials are written into a file; what it holds of the same
/// search is not tried again.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The method
    #[arg(value_name = "METHOD", value_parser = flags::contender())]
    contender: Contender,
    /// The task, or several separated by commas [default: all that the images admit, one after the other]
    #[arg(long, value_name = "TASKS", value_delimiter = ',', value_parser = task)]
    task: Vec<Task>,
    /// Try the starting value alone, with two network calls (DAPS five) on two images, two samples of
    /// each, to see that everything works; it goes into the file even where it diverges, and not in the place of a
    /// constant that was searched for
    #[arg(long, requires = "constants", conflicts_with_all = ["images", "samples"])]
    check: bool,
    /// Validation images
    #[arg(long, value_name = "N", default_value = "16", value_parser = count)]
    images: usize,
    /// Samples of each, 2 or more
    #[arg(long, value_name = "J", default_value_t = 2, value_parser = two_or_more)]
    samples: usize,
    /// Seed of operators, measurement noise and samples
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    /// The data set: its name, or a file that `eps data` wrote
    #[arg(long, value_name = "NAME", default_value = "fashion-mnist", value_parser = dataset::name)]
    dataset: String,
    /// Folder of the prior [default: that of the repository]
    #[arg(long, value_name = "FOLDER")]
    networks: Option<PathBuf>,
    /// The prior, in place of that of the folder: a network, or the description of a TorchScript
    /// module (docs/priors.md)
    #[arg(long, value_name = "NET.safetensors|PRIOR.json")]
    prior: Option<PathBuf>,
    /// The file of constants, whose others are kept [default: that of the repository]
    #[arg(long, value_name = "FILE")]
    constants: Option<PathBuf>,
    /// Folder or file of the data set [default: where the repository keeps it]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    #[command(flatten)]
    network_flags: NetworkFlags,
    #[command(flatten)]
    cost: CostFlags,
    /// Samples that are drawn at once
    #[arg(long, value_name = "N", default_value = "32", value_parser = count)]
    batch: usize,
}

impl Arguments {
    /// Tunes the method for one task or all.
    ///
    /// # Errors
    /// Input that is missing or damaged, a file that cannot be written, and a method all of whose
    /// trials diverge.
    pub(crate) fn run(&self, processes: &Processes) -> Result<()> {
        let request = self.request();
        if self.cost.is_dry_run() {
            let what = format!("the constants of {}, at most", self.contender.label());
            let print = || self.cost.print(&what, request.most_passes());
            return if speaks() { print() } else { Ok(()) };
        }
        let group = processes.group()?;
        let device = || {
            let (device, asked) = self.network_flags.apply()?;
            anyhow::Ok((device_of(group, device), asked))
        };
        request.run(group, device, &Terminal::default(), |found| match found {
            _ if group.rank() > 0 => {}
            Tuning::LeftOut(task, why) => {
                eprintln!("note: {} is left out, the images do not admit it: {why}", task.name());
            }
            Tuning::Network(origin) => println!("network: {origin}"),
            Tuning::Constant(tuned) => report(tuned),
        })
    }

    /// What the flags ask for.
    fn request(&self) -> TuningRequest {
        TuningRequest {
            contender: self.contender,
            tasks: self.task.clone(),
            check: self.check,
            images: self.images,
            samples: self.samples,
            seed: self.seed,
            dataset: self.dataset.clone(),
            data: self.data.clone(),
            networks: self.networks.clone(),
            prior: self.prior.clone(),
            constants: self.constants.clone(),
            batch: self.batch,
        }
    }
}

fn report(tuned: &Tuned) {
    let Tuned { contender, task, symbol, value, tried, .. } = tuned;
    println!("{} for {}: {symbol} = {value}", contender.label(), task.name());
    for trial in tried {
        match (trial.energy_score_fair, trial.psnr_db) {
            (Some(score), Some(psnr)) => println!(
                "  {symbol} = {:<10} fair energy score {score:.4}, PSNR {psnr:.2} dB",
                trial.value
            ),
            _ => println!("  {symbol} = {:<10} diverged", trial.value),
        }
    }
}

//! `eps experiment reach`: how far a network reaches that was trained for a law of operators.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use eps_experiments::{Reach, ReachRequest, write_json};
use eps_report::{reach_psnr_table, reach_summary, reach_table};

use super::output::usage;
use crate::experiment::terminal::Terminal;
use crate::flags::{NetworkFlags, count, seed, two_or_more};

/// Asks a network, that was trained for a law of operators, inside the law, just outside it and beyond, beside methods without
/// training.
///
/// The questions are a file: networks, a prior, contenders with their numbers of calls, and kinds of measurements. Contenders
/// have their constants chosen for every question, on validation images. Writes config.json and results.json, and prints the
/// tables. A run that was cut off goes on where it was.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The questions
    #[arg(value_name = "QUESTIONS.json", default_value = "data/reach/fashion-mnist.json")]
    questions: PathBuf,
    /// Folder of the results
    #[arg(long, value_name = "FOLDER", default_value = "target/reproduce/reach")]
    out: PathBuf,
    /// Folder or file of the data set [default: where the repository keeps it]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Test images
    #[arg(long, value_name = "N", default_value = "32", value_parser = count)]
    images: usize,
    /// Samples of each, 2 or more
    #[arg(long, value_name = "J", default_value = "2", value_parser = two_or_more)]
    samples: usize,
    /// Validation images on which the constants of contenders are chosen
    #[arg(long, value_name = "N", default_value = "8", value_parser = count)]
    tuning_images: usize,
    /// The most network calls of any method, to see that everything works
    #[arg(long, value_name = "N", value_parser = count)]
    limit: Option<usize>,
    /// Seed of operators, measurement noise and samples
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    #[command(flatten)]
    network_flags: NetworkFlags,
}

impl Arguments {
    /// Runs the experiment.
    ///
    /// # Errors
    /// Input that is missing or damaged, and output that cannot be written.
    pub(crate) fn run(&self) -> Result<()> {
        let request = ReachRequest {
            questions: self.questions.clone(),
            data: self.data.clone(),
            images: self.images,
            samples: self.samples,
            tuning_images: self.tuning_images,
            limit: self.limit,
            seed: self.seed,
        };
        let terminal = Terminal::default();
        let results = Reach::prepare(&request, self.network_flags.apply()?, &self.out, &terminal)
            .map_err(usage)?
            .compute()?;
        println!(
            "\nfair energy score on [0, 1] pixels, {} images, samples of each: {}; mean ± half a 95 % interval over images",
            self.images, self.samples
        );
        print!("{}", reach_table(&results).text());
        println!("\nPSNR of the mean of the samples (dB)");
        print!("{}", reach_psnr_table(&results).text());
        println!("\n{}", reach_summary(&results));
        let path = self.out.join("results.json");
        // By way of a value, whose fields are in the order of their names.
        write_json(&path, &serde_json::to_value(&results)?)?;
        println!("results: {}", path.display());
        Ok(())
    }
}

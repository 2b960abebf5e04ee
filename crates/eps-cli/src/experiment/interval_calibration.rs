//! `eps model calibrate`: how often a network's intervals hold the truth, and the factors by which they do.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::Args;
use eps::dataset;
use eps::intervals::{Coverage, IntervalCalibration, LEAST_SAMPLES};
use eps_experiments::{IntervalRequest, calibrate_intervals, write_json};
use eps_files::WriteLock;

use super::output::usage;
use super::terminal::Terminal;
use crate::flags::{NetworkFlags, UsageError, count, seed};
use crate::sampler::Sampler;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The network
    #[arg(value_name = "NET.safetensors")]
    network: PathBuf,
    /// The data set: its name, or a file that `eps data` wrote
    #[arg(long, value_name = "NAME")]
    dataset: String,
    /// Folder or file of the data set [default: where the repository keeps it]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Images of the validation and of the test split each, dealt out to the parts of the network's law by their shares
    #[arg(long, value_name = "N", default_value = "64", value_parser = count)]
    images: usize,
    /// Samples of each image, 19 or more
    #[arg(long, value_name = "J", default_value = "20", value_parser = enough_samples)]
    samples: usize,
    /// Draw the samples in antithetic pairs, as `eps restore --antithetic` does; an even number
    #[arg(long)]
    antithetic: bool,
    /// The solver
    #[arg(long, value_enum, default_value = "half-corrected")]
    sampler: Sampler,
    /// Network calls a sample; odd for heun [default: 10, for euler and ddim 20, for heun 19]
    #[arg(long, value_name = "NFE", value_parser = count)]
    calls: Option<usize>,
    /// Seed of operators, noise and samples
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    /// Replace a calibration of more images or samples
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    network_flags: NetworkFlags,
}

fn enough_samples(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(samples) if samples >= LEAST_SAMPLES => Ok(samples),
        _ => Err(format!("it must be a whole number, {LEAST_SAMPLES} or more")),
    }
}

impl Arguments {
    /// Calibrates, prints what was found, and writes the file beside the network.
    ///
    /// # Errors
    /// Input that is missing or damaged, a network without a law, and files that cannot be written.
    pub(crate) fn run(&self) -> Result<()> {
        let solver = self.sampler.solver();
        let calls = self.calls.unwrap_or_else(|| self.sampler.usual_calls());
        solver.steps(calls).map_err(|error| UsageError(format!("--calls {calls}: {error}")))?;
        if self.antithetic && self.samples % 2 == 1 {
            bail!(UsageError(eps::Error::OddPairs(self.samples).to_string()));
        }
        let network = dataset::network_of_name(&self.network);
        let request = IntervalRequest {
            network: network.clone(),
            dataset: self.dataset.clone(),
            data: self.data.clone(),
            images: self.images,
            samples: self.samples,
            antithetic: self.antithetic,
            solver,
            calls,
            seed: self.seed,
        };
        let terminal = Terminal::default();
        let path = IntervalCalibration::path(&network);
        let cells = path.with_extension("unfinished");
        let _lock = WriteLock::take(&path)?;
        // One that is damaged or of another network is of no use.
        let former = IntervalCalibration::beside(&network).ok().flatten();
        if let Some(former) = &former {
            self.check_former(former, &path)?;
        }
        let target = self.network_flags.apply()?;
        let found = calibrate_intervals(&request, target, &cells, &terminal).map_err(|error| {
            // Without a finished group it is empty, and is not left.
            let _ = std::fs::remove_dir(&cells);
            usage(error)
        })?;
        write_json(&path, &found)?;
        std::fs::remove_dir_all(&cells)?;
        if former.is_some_and(|former| former.kinds != found.kinds) {
            eprintln!("note: the former calibration in {} is replaced", path.display());
        }
        println!(
            "\nintervals of 90 % from {} samples{} of {calls} calls, on test images (mean ± half a 95 % interval over images)",
            self.samples,
            if self.antithetic { " in antithetic pairs" } else { "" }
        );
        println!("| of | images | raw: hold | width | widened by | hold | width |");
        println!("|---|---|---|---|---|---|---|");
        for kind in &found.kinds {
            println!(
                "| {} | {} | {} | {:.2} | {} |",
                kind.kind.label(),
                kind.raw.held.n,
                in_words(&kind.raw),
                kind.factor,
                in_words(&kind.calibrated)
            );
        }
        println!("\n{}", path.display());
        Ok(())
    }
}

impl Arguments {
    /// Refuses to replace a calibration of more images or samples unless that is asked for.
    fn check_former(&self, former: &IntervalCalibration, path: &Path) -> Result<()> {
        let is_more = former.validation_images > self.images || former.samples > self.samples;
        ensure!(
            self.force || !is_more,
            "{} is of {} images and {} samples of each, more than the {} and {} that are asked for: add --force to replace it",
            path.display(),
            former.validation_images,
            former.samples,
            self.images,
            self.samples
        );
        Ok(())
    }
}

/// The share that was held, in per cent, and the width.
fn in_words(coverage: &Coverage) -> String {
    let half = coverage.held.half_width_95();
    let half = half.map_or(String::new(), |half| format!(" ± {:.1}", 100.0 * half));
    format!("{:.1}{half} % | {:.3}", 100.0 * coverage.held.mean, coverage.width.mean)
}

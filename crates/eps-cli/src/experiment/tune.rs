//! `eps tune`: the constant of a contender, chosen on validation images.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use eps_data::Split;
use eps_math::{Schedule, Task};
use eps_sample::SampleError;
use indicatif::ProgressBar;

use super::constants::{Constants, Trial, Tuned};
use super::contender::{Contender, Tunable};
use super::method::Method;
use super::networks::{NetworkFile, NetworkUse, PRIOR};
use super::plan::Setting;
use super::problem::{Problem, seed_of, test_images};
use super::run::task;
use super::sampler::{Sampler, bar_steps, passes_a_call};
use super::scores::{Judge, Row};
use crate::cost::CostFlags;
use crate::flags::{NetworkFlags, count};
use crate::progress;
use eps::dataset;

/// Choose the constant of a contender on validation images.
///
/// Every value of a grid around the paper's is tried; where the best is at an end of the grid, the grid
/// goes on, and the middles between the best and its neighbours are tried as well. The value of the
/// least fair energy score is kept. Value and trials are written into a file; what it holds of the same
/// search is not tried again.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The method
    #[arg(value_enum, value_name = "METHOD")]
    contender: Contender,
    /// The task, or several separated by commas [default: all, one after the other]
    #[arg(long, value_name = "TASKS", value_delimiter = ',', value_parser = task)]
    task: Vec<Task>,
    /// Try the starting value alone, with two network calls (DAPS five) on two images, two samples of
    /// each, to see that everything works; it goes into the file even where it diverges
    #[arg(long, requires = "constants", conflicts_with_all = ["images", "samples"])]
    check: bool,
    /// Validation images
    #[arg(long, value_name = "N", default_value = "16", value_parser = count)]
    images: usize,
    /// Samples of each, 2 or more
    #[arg(long, value_name = "J", default_value_t = 2, value_parser = samples)]
    samples: usize,
    /// Seed of operators, measurement noise and samples
    #[arg(long, value_name = "SEED", default_value_t = 0)]
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

/// Images, samples and network calls of a check.
const CHECK: usize = 2;

/// The most values that are tried beyond an end of the grid.
const BEYOND: usize = 3;

/// The most middles between the best value and its neighbours.
const MIDDLES: usize = 2;

/// Whether the values of a grid stand in ratios; those of η go from 0 to 1.
fn is_geometric(tunable: &Tunable) -> bool {
    tunable.symbol != "η"
}

fn samples(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(samples) if samples >= 2 => Ok(samples),
        _ => Err("the fair energy score needs 2 samples or more".to_owned()),
    }
}

impl Arguments {
    /// Tunes the method for one task or all.
    ///
    /// # Errors
    /// Input that is missing or damaged, a file that cannot be written, and a method all of whose
    /// trials diverge.
    pub(crate) fn run(&self) -> Result<()> {
        if self.cost.is_dry_run() {
            let what = format!("the constants of {}, at most", self.contender.label());
            return self.cost.print(&what, self.most_passes());
        }
        let path = self.constants.clone().unwrap_or_else(|| dataset::constants(&self.dataset));
        Constants::read(&path)?;
        let (device, precision) = self.network_flags.apply()?;
        let set = dataset::load(&self.dataset, Split::Validation, self.data.as_deref())?;
        let folder = self.networks.clone().unwrap_or_else(|| dataset::networks(&self.dataset));
        let mut file = match &self.prior {
            Some(path) => NetworkFile::at(path, PRIOR)?,
            None => NetworkFile::find_prior(&folder)?,
        };
        let prior =
            file.load((NetworkUse::Prior, &[]), (&self.dataset, set.shape()), device, precision)?;
        println!("network: {}", file.origin);
        // What cannot be written is better known before the trials than after.
        Constants::change(&path, |_| ())?;
        let (image_count, samples, calls) = self.sizes();
        let images = test_images(image_count, set.len())?;
        let seed = seed_of(Split::Validation, self.seed);
        let schedule = Schedule::karras();
        let method = Method::Contender { contender: self.contender, calls };
        for task in self.tasks() {
            let tunable = self.contender.tunable(task);
            let sought = Tuned {
                contender: self.contender,
                task,
                symbol: tunable.symbol.to_owned(),
                value: tunable.start,
                tried: vec![],
                calls,
                images: image_count,
                samples,
                seed: self.seed,
                prior: file.sha256.clone(),
                precision: Some(precision),
                dataset: Some(set.provenance().sha256.clone()),
            };
            let grid = if self.check { &[tunable.start][..] } else { &tunable.grid };
            let found = Constants::read(&path)?;
            let found = found.find(self.contender, task);
            if let Some(tuned) = found.filter(|tuned| tuned.is_of(&sought, grid)) {
                report(self.contender, task, &tuned.symbol, tuned.value, &tuned.tried);
                continue;
            }
            let problem = Problem::draw(Setting::of(task), &set, &images, seed)?;
            let steps = bar_steps(method, self.batch, images.len(), samples);
            let bar = progress::bar(steps * tunable.grid.len() as u64, task.name(), "passes");
            let attempt = |value: f64| {
                let sampler = Sampler {
                    method,
                    constant: value,
                    network: &prior,
                    schedule: &schedule,
                    seed,
                    samples,
                    batch: self.batch,
                    device,
                    bar: &bar,
                };
                self.attempt(&sampler, &problem)
            };
            let tried = if self.check {
                vec![attempt(tunable.start)?]
            } else {
                search(&tunable.grid, is_geometric(&tunable), &bar, attempt)?
            };
            bar.finish_and_clear();
            let best = Tuned::best(&tried).or(self.check.then_some(tunable.start));
            let value = best.with_context(|| {
                format!(
                    "{} for {}: every value of {} from {} to {} diverges",
                    self.contender.label(),
                    task.name(),
                    tunable.symbol,
                    tried[0].value,
                    tried[tried.len() - 1].value
                )
            })?;
            report(self.contender, task, tunable.symbol, value, &tried);
            Constants::change(&path, |constants| {
                constants.set(Tuned { value, tried, ..sought });
            })?;
        }
        Ok(())
    }

    /// The tasks, which by default are all.
    fn tasks(&self) -> Vec<Task> {
        if self.task.is_empty() { every_task() } else { self.task.clone() }
    }

    /// The forward passes of a search that tries as many values as one can.
    fn most_passes(&self) -> u64 {
        let (images, samples, calls) = self.sizes();
        let trials = |task: Task| match self.contender.tunable(task) {
            _ if self.check => 1,
            tunable if is_geometric(&tunable) => tunable.grid.len() + BEYOND + MIDDLES,
            tunable => tunable.grid.len() + MIDDLES,
        };
        let trials: usize = self.tasks().into_iter().map(trials).sum();
        let method = Method::Contender { contender: self.contender, calls };
        (trials * images * samples * calls) as u64 * passes_a_call(method)
    }

    /// Validation images, samples of each, network calls a sample.
    fn sizes(&self) -> (usize, usize, usize) {
        if self.check {
            (CHECK, CHECK, self.contender.nearest_calls(CHECK))
        } else {
            (self.images, self.samples, self.contender.calls())
        }
    }

    fn attempt(&self, sampler: &Sampler<'_>, problem: &Problem) -> Result<Trial> {
        let value = sampler.constant;
        let drawn = match sampler.draw(problem, 0..problem.images.len()) {
            Ok(drawn) => drawn,
            Err(error) => {
                return match error.downcast_ref::<SampleError>() {
                    Some(SampleError::Diverged { .. }) => {
                        Ok(Trial { value, energy_score_fair: None, psnr_db: None })
                    }
                    _ => Err(error),
                };
            }
        };
        let row =
            Row::new(sampler.method, problem.truth(), &drawn, problem.set.shape(), &Judge::PIXELS)?;
        Ok(Trial {
            value,
            energy_score_fair: row.energy_score_fair,
            psnr_db: Some(row.psnr_db.mean),
        })
    }
}

/// The tasks of the paper, then those that measure little.
fn every_task() -> Vec<Task> {
    Task::ALL.into_iter().chain(Task::EXTREME).collect()
}

/// Tries every value of a grid; while the best is at an end of a geometric grid, also the next value
/// beyond it; then the middles on both sides of the best. Returns the trials by ascending value.
fn search(
    grid: &[f64],
    geometric: bool,
    bar: &ProgressBar,
    attempt: impl Fn(f64) -> Result<Trial>,
) -> Result<Vec<Trial>> {
    let mut tried = grid.iter().map(|value| attempt(*value)).collect::<Result<Vec<_>>>()?;
    let steps = bar.length().unwrap_or(0) / grid.len().max(1) as u64;
    for _ in 0..if geometric { BEYOND } else { 0 } {
        let (first, last) = (tried[0].value, tried[tried.len() - 1].value);
        let best = Tuned::best(&tried);
        // A third of the least where all diverge: smaller steps are stabler.
        let next = match best {
            Some(value) if value == last => 3.0 * last,
            Some(value) if value != first => break,
            _ => first / 3.0,
        };
        bar.inc_length(steps);
        tried.push(attempt(next)?);
        tried.sort_by(|a, b| a.value.total_cmp(&b.value));
    }
    let middles: Vec<f64> = tried
        .windows(2)
        .map(|pair| [pair[0].value, pair[1].value])
        .filter(|ends| Tuned::best(&tried).is_some_and(|best| ends.contains(&best)))
        .map(|[a, b]| if geometric { (a * b).sqrt() } else { 0.5 * (a + b) })
        .collect();
    for value in middles {
        bar.inc_length(steps);
        tried.push(attempt(value)?);
    }
    tried.sort_by(|a, b| a.value.total_cmp(&b.value));
    Ok(tried)
}

fn report(contender: Contender, task: Task, symbol: &str, value: f64, tried: &[Trial]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_goes_on_beyond_an_end() {
        let bar = ProgressBar::hidden();
        // The least score is at 0.05; 4 diverges.
        let attempt = |value: f64| {
            let score = (value < 4.0).then(|| (value.ln() - 0.05f64.ln()).powi(2));
            Ok(Trial { value, energy_score_fair: score, psnr_db: score })
        };
        let tried = search(&[1.0, 2.0, 4.0], true, &bar, attempt).unwrap();
        let values: Vec<f64> = tried.iter().map(|trial| trial.value).collect();
        let middle = (1.0f64 / 27.0 / 9.0).sqrt();
        assert_eq!(values, [1.0 / 27.0, middle, 1.0 / 9.0, 1.0 / 3.0, 1.0, 2.0, 4.0]);
        assert_eq!(Tuned::best(&tried), Some(middle));
        assert_eq!(search(&[1.0, 2.0], false, &bar, attempt).unwrap().len(), 3);
        let diverge = |value| Ok(Trial { value, energy_score_fair: None, psnr_db: None });
        assert_eq!(search(&[1.0], true, &bar, diverge).unwrap().len(), 4);
    }
}

//! The constant of a contender, chosen on validation images.
//!
//! Every value of a grid around the paper's is tried; where the best is at an end of the grid, the grid
//! goes on, and the middles between the best and its neighbours are tried as well. The value of the
//! least fair energy score is kept.

use std::path::{Path, PathBuf};

use eps::dataset;
use eps::network::Network;
use eps::precision::AskedPrecision;
use eps::workers::{Stop, spread, workers_on};
use eps_cluster::{Group, agree, facts_of};
use eps_data::Split;
use eps_math::{MathError, Schedule, Shape, Task};
use eps_results::{Constants, Contender, Method, NetworkUse, PRIOR, Setting, Trial, Tuned};
use serde_json::json;
use tch::Device;

use crate::constants;
use crate::error::{During as _, ExperimentError, Result};
use crate::listener::Listener;
use crate::networks::{self, Asked};
use crate::problem::{Problem, seed_of, test_images};
use crate::restoration::Restored;
use crate::sampler::{Sampler, join, passes_a_call, progress_steps};
use crate::scores::{Judge, score_samples};
use crate::working_memory::{Calls, threads_that_fit};
use eps::contender::{Tunable, differentiates, nearest_calls, tunable, usual_calls};

/// What is tuned, and on what.
#[derive(Debug, Clone)]
pub struct TuningRequest {
    /// The method.
    pub contender: Contender,
    /// The tasks, one after the other; empty for all that the images admit.
    pub tasks: Vec<Task>,
    /// Whether the starting value alone is tried, at next to no cost; it counts even where it diverges.
    pub check: bool,
    /// Validation images.
    pub images: usize,
    /// Samples of each, 2 or more.
    pub samples: usize,
    /// Seed of operators, measurement noise and samples.
    pub seed: u64,
    /// The data set: its name, or a file.
    pub dataset: String,
    /// Folder or file of the data set; none for where the repository keeps it.
    pub data: Option<PathBuf>,
    /// Folder of the prior; none for that of the repository.
    pub networks: Option<PathBuf>,
    /// The prior, in place of that of the folder.
    pub prior: Option<PathBuf>,
    /// The file of constants, whose others are kept; none for that of the repository.
    pub constants: Option<PathBuf>,
    /// Samples that are drawn at once.
    pub batch: usize,
}

/// Images, samples and network calls of a check.
const CHECK: usize = 2;

/// The most values that are tried beyond an end of the grid.
const BEYOND: usize = 3;

/// The most middles between the best value and its neighbours.
const MIDDLES: usize = 2;

/// Whether the values of a grid stand in ratios; those of η go from 0 to 1.
pub(crate) fn is_geometric(tunable: &Tunable) -> bool {
    tunable.symbol != "η"
}

impl TuningRequest {
    /// Tunes the method for every task, the processes of a group together: each draws its share of the batches, and the
    /// first has the file. `device` tells where and in which precision, once the file of constants is
    /// known to be readable; `found` hears of the network and of every constant.
    ///
    /// # Errors
    /// Input that is missing or damaged, a file that cannot be written, and a method all of whose
    /// trials diverge; that of `device`.
    pub fn run<E: From<ExperimentError>>(
        &self,
        group: &dyn Group,
        device: impl FnOnce() -> Result<(Device, AskedPrecision), E>,
        listener: &dyn Listener,
        found: impl FnMut(Tuning<'_>),
    ) -> Result<(), E> {
        let path = self.constants.clone().unwrap_or_else(|| dataset::constants(&self.dataset));
        Constants::read(&path).map_err(ExperimentError::from)?;
        let device = device()?;
        Ok(self.tune(group, &path, device, listener, found)?)
    }

    fn tune(
        &self,
        group: &dyn Group,
        path: &Path,
        (device, asked): (Device, AskedPrecision),
        listener: &dyn Listener,
        mut found: impl FnMut(Tuning<'_>),
    ) -> Result<()> {
        let set = dataset::load(&self.dataset, Split::Validation, self.data.as_deref())?;
        let tasks = self.admitted(set.shape(), &mut found)?;
        let folder = self.networks.clone().unwrap_or_else(|| dataset::networks(&self.dataset));
        let mut file = match &self.prior {
            Some(path) => networks::at(path, PRIOR)?,
            None => networks::find_prior(&folder)?,
        };
        let precision = networks::precision(asked, device, std::slice::from_ref(&file), listener)?;
        let (network_use, dataset) = (NetworkUse::Prior, &*self.dataset);
        let question = Asked { network_use, tasks: &[], dataset, set: &set };
        let prior = networks::load(&mut file, question, device, precision, listener)?;
        let calls = Calls {
            networks: vec![(&prior, differentiates(self.contender))],
            shape: set.shape(),
            precision,
            batch: self.batch,
        };
        let (workers, inside) = workers_on(device, threads_that_fit(device, &calls)?);
        let mut priors =
            (0..workers).map(|_| prior.another()).collect::<Result<Vec<_>, eps::Error>>()?;
        found(Tuning::Network(&file.origin));
        // What cannot be written is better known before the trials than after.
        let common = json!({
            "method": self.contender,
            "tasks": tasks,
            "check": self.check,
            "images": self.images,
            "samples": self.samples,
            "seed": self.seed,
            "batch": self.batch,
            "precision": precision,
            "prior (SHA-256)": file.sha256,
            "data set (SHA-256)": set.provenance().sha256,
        });
        agree(group, &facts_of(&common))?;
        let is_first = group.rank() == 0;
        if is_first {
            constants::change(path, |_| ())?;
        }
        let (image_count, samples, calls) = self.sizes();
        let images = test_images(image_count, set.len())?;
        let seed = seed_of(Split::Validation, self.seed);
        let schedule = Schedule::karras();
        let method = Method::Contender { contender: self.contender, calls };
        for task in tasks {
            let tunable = tunable(self.contender, task);
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
            let known = Constants::read(path)?;
            let known = known.find(self.contender, task);
            let known = known.filter(|tuned| tuned.is_of(&sought, grid));
            // The others may see another file.
            let mut is_known = [u8::from(known.is_some())];
            group.broadcast(&mut is_known);
            if is_known == [1] {
                known.iter().for_each(|tuned| found(Tuning::Constant(tuned)));
                continue;
            }
            let problem = Problem::draw(Setting::of(task), &set, &images, seed)?;
            let steps = progress_steps(method, self.batch, images.len(), samples);
            listener.begin(steps * tunable.grid.len() as u64, "passes");
            listener.start(task.name());
            let sampler = Sampler {
                method,
                constant: tunable.start,
                schedule: &schedule,
                seed,
                samples,
                batch: self.batch,
                device,
                listener,
            };
            let mut tried =
                |values: &[f64]| attempt(group, &sampler, values, &mut priors, inside, &problem);
            let tried = if self.check {
                tried(&[tunable.start])?
            } else {
                let longer = |trials: usize| listener.lengthen(steps * trials as u64);
                search(&tunable.grid, is_geometric(&tunable), longer, tried)?
            };
            listener.finish();
            let best = Tuned::best(&tried).or(self.check.then_some(tunable.start));
            let value = best.ok_or_else(|| ExperimentError::AllDiverge {
                contender: self.contender.label(),
                task: task.name(),
                symbol: tunable.symbol,
                lowest: tried[0].value,
                highest: tried[tried.len() - 1].value,
            })?;
            let tuned = Tuned { value, tried, ..sought };
            found(Tuning::Constant(&tuned));
            if is_first && !self.keep(path, tuned)? {
                listener.note(&format!(
                    "the constant of {} for {} in {} was searched for and stays: a check does not replace it",
                    self.contender.label(),
                    task.name(),
                    path.display()
                ));
            }
        }
        Ok(())
    }

    /// Puts a constant into the file and says so, unless it is of a check and the one that is there is of more.
    fn keep(&self, path: &Path, tuned: Tuned) -> Result<bool> {
        let mut is_kept = true;
        constants::change(path, |constants| {
            let known = constants.find(tuned.contender, tuned.task);
            let is_less =
                known.is_some_and(|known| known.tried.len() > 1 || known.images > tuned.images);
            is_kept = !(self.check && is_less);
            if is_kept {
                constants.set(tuned);
            }
        })?;
        Ok(is_kept)
    }

    /// The tasks that images of a shape admit; `found` hears of those that are left out.
    fn admitted(&self, shape: Shape, found: &mut impl FnMut(Tuning<'_>)) -> Result<Vec<Task>> {
        let mut admitted = Vec::new();
        for task in self.asked() {
            match task.admits(shape) {
                Ok(()) => admitted.push(task),
                Err(why) if self.tasks.is_empty() => found(Tuning::LeftOut(task, &why)),
                Err(why) => {
                    let what = || format!("cannot draw the operators of {}", task.name());
                    return Err(why).during(what);
                }
            }
        }
        Ok(admitted)
    }

    /// The tasks that are named, or all: those of the paper, then those that measure little.
    fn asked(&self) -> Vec<Task> {
        match &self.tasks[..] {
            [] => Task::ALL.into_iter().chain(Task::EXTREME).collect(),
            named => named.to_vec(),
        }
    }

    /// The forward passes of a search that tries as many values as one can.
    #[must_use]
    pub fn most_passes(&self) -> u64 {
        let (images, samples, calls) = self.sizes();
        let trials = |task: Task| match tunable(self.contender, task) {
            _ if self.check => 1,
            tunable if is_geometric(&tunable) => tunable.grid.len() + BEYOND + MIDDLES,
            tunable => tunable.grid.len() + MIDDLES,
        };
        let trials: usize = self.asked().into_iter().map(trials).sum();
        let method = Method::Contender { contender: self.contender, calls };
        (trials * images * samples * calls) as u64 * passes_a_call(method)
    }

    /// Validation images, samples of each, network calls a sample.
    fn sizes(&self) -> (usize, usize, usize) {
        if self.check {
            (CHECK, CHECK, nearest_calls(self.contender, CHECK))
        } else {
            (self.images, self.samples, usual_calls(self.contender))
        }
    }
}

/// Tries values of a constant, several batches at once, and scores them in their order.
fn attempt(
    group: &dyn Group,
    sampler: &Sampler<'_>,
    values: &[f64],
    priors: &mut [Network],
    inside: usize,
    problem: &Problem,
) -> Result<Vec<Trial>> {
    let batches = sampler.batches(0..problem.images.len());
    let (pieces, each) = (values.len() * batches.len(), batches.len());
    let own: Vec<usize> = (group.rank()..pieces).step_by(group.size()).collect();
    let mut drawn: Vec<Vec<Option<Restored>>> = vec![vec![None; each]; values.len()];
    // One chain that is gone decides about its value.
    let lost: Vec<Stop> = values.iter().map(|_| Stop::default()).collect();
    let work = |prior: &mut Network, number: usize, stop: &Stop| {
        let (trial, batch) = (own[number] / each, own[number] % each);
        let sampler = Sampler { constant: values[trial], ..*sampler };
        if lost[trial].is_set() {
            let count = batches[batch].len();
            sampler.listener.advance(progress_steps(sampler.method, count, 1, count));
            return Ok(None);
        }
        match sampler.draw(prior, problem, &batches[batch], stop) {
            Ok(drawn) => Ok(Some(drawn)),
            Err(error) if error.is_divergence() => {
                lost[trial].set();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    };
    spread(priors, inside, own.len(), work, |number, batch| {
        drawn[own[number] / each][own[number] % each] = batch;
        Ok(())
    })?;
    exchange(group, &mut drawn)?;
    let trial = |(value, batches): (&f64, Vec<Option<Restored>>)| {
        let Some(batches) = batches.into_iter().collect::<Option<Vec<_>>>() else {
            return Ok(Trial { value: *value, energy_score_fair: None, psnr_db: None });
        };
        let drawn = join(batches, sampler.samples)?;
        let shape = problem.set.shape();
        let row = score_samples(sampler.method, problem.truth(), &drawn, shape, &Judge::PIXELS)?;
        Ok(Trial {
            value: *value,
            energy_score_fair: row.energy_score_fair,
            psnr_db: Some(row.psnr_db.mean),
        })
    };
    let trials: Vec<Trial> = values.iter().zip(drawn).map(trial).collect::<Result<_>>()?;
    if group.size() == 1 {
        return Ok(trials);
    }
    // What is tried next follows from the first process's scores: another kind of processor may round differently.
    let of = || "the scores of the first process".to_owned();
    let first = group.all_gather(&serde_json::to_vec(&trials).during(of)?).swap_remove(0);
    serde_json::from_slice(&first).during(of)
}

/// Gives every process of a group what the others have drawn.
fn exchange(group: &dyn Group, drawn: &mut [Vec<Option<Restored>>]) -> Result<()> {
    if group.size() == 1 {
        return Ok(());
    }
    let of = || "what another process has drawn".to_owned();
    let own = serde_json::to_vec(drawn).during(of)?;
    for other in group.all_gather(&own) {
        let other: Vec<Vec<Option<Restored>>> = serde_json::from_slice(&other).during(of)?;
        for (drawn, other) in drawn.iter_mut().flatten().zip(other.into_iter().flatten()) {
            if drawn.is_none() {
                *drawn = other;
            }
        }
    }
    Ok(())
}

/// What a search found.
#[derive(Debug)]
pub enum Tuning<'a> {
    /// A task that the images do not admit, and why; before any other is begun.
    LeftOut(Task, &'a MathError),
    /// Where the weights of the prior come from.
    Network(&'a str),
    /// The constant for a task, with everything that was tried.
    Constant(&'a Tuned),
}

/// Tries every value of a grid; while the best is at an end of a geometric grid, also the next value
/// beyond it; then the middles on both sides of the best. Returns the trials by ascending value. `longer` is called
/// before trials beyond the grid's, with their number; `attempt` tries some values, which need nothing of each other.
pub(crate) fn search(
    grid: &[f64],
    geometric: bool,
    longer: impl Fn(usize),
    mut attempt: impl FnMut(&[f64]) -> Result<Vec<Trial>>,
) -> Result<Vec<Trial>> {
    let mut tried = attempt(grid)?;
    for _ in 0..if geometric { BEYOND } else { 0 } {
        let (first, last) = (tried[0].value, tried[tried.len() - 1].value);
        let best = Tuned::best(&tried);
        // A third of the least where all diverge: smaller steps are stabler.
        let next = match best {
            Some(value) if value == last => 3.0 * last,
            Some(value) if value != first => break,
            _ => first / 3.0,
        };
        longer(1);
        tried.extend(attempt(&[next])?);
        tried.sort_by(|a, b| a.value.total_cmp(&b.value));
    }
    let middles: Vec<f64> = tried
        .windows(2)
        .map(|pair| [pair[0].value, pair[1].value])
        .filter(|ends| Tuned::best(&tried).is_some_and(|best| ends.contains(&best)))
        .map(|[a, b]| if geometric { (a * b).sqrt() } else { 0.5 * (a + b) })
        .collect();
    longer(middles.len());
    tried.extend(attempt(&middles)?);
    tried.sort_by(|a, b| a.value.total_cmp(&b.value));
    Ok(tried)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_do_not_fit_are_left_out_unless_they_are_named() {
        let mut request = TuningRequest {
            contender: Contender::Ddrm,
            tasks: vec![],
            check: false,
            images: 2,
            samples: 2,
            seed: 0,
            dataset: "fashion-mnist".to_owned(),
            data: None,
            networks: None,
            prior: None,
            constants: None,
            batch: 2,
        };
        let shape = Shape::new(3, 64, 64).unwrap();
        let mut left = vec![];
        let mut hear = |tuning: Tuning<'_>| {
            if let Tuning::LeftOut(task, why) = tuning {
                left.push((task, why.to_string()));
            }
        };
        let tasks = request.admitted(shape, &mut hear).unwrap();
        assert!(tasks.len() == 6 && !tasks.contains(&Task::ExtremeSuperResolution));
        request.tasks = vec![Task::RandomInpainting, Task::ExtremeSuperResolution];
        let error = request.admitted(shape, &mut hear).unwrap_err().chain();
        assert!(error.contains("extreme-super-resolution") && error.contains("64×64"), "{error}");
        assert_eq!(left.len(), 1);
        assert!(left[0].0 == Task::ExtremeSuperResolution && left[0].1.contains("factor of 7"));
    }

    #[test]
    fn the_search_goes_on_beyond_an_end() {
        let longer = |_| ();
        // The least score is at 0.05; 4 diverges.
        let trial = |value: &f64| {
            let score = (*value < 4.0).then(|| (value.ln() - 0.05f64.ln()).powi(2));
            Trial { value: *value, energy_score_fair: score, psnr_db: score }
        };
        let attempt = |values: &[f64]| Ok(values.iter().map(trial).collect());
        let tried = search(&[1.0, 2.0, 4.0], true, longer, attempt).unwrap();
        let values: Vec<f64> = tried.iter().map(|trial| trial.value).collect();
        let middle = (1.0f64 / 27.0 / 9.0).sqrt();
        assert_eq!(values, [1.0 / 27.0, middle, 1.0 / 9.0, 1.0 / 3.0, 1.0, 2.0, 4.0]);
        assert_eq!(Tuned::best(&tried), Some(middle));
        assert_eq!(search(&[1.0, 2.0], false, longer, attempt).unwrap().len(), 3);
        let gone = |value: &f64| Trial { value: *value, energy_score_fair: None, psnr_db: None };
        let diverge = |values: &[f64]| Ok(values.iter().map(gone).collect());
        assert_eq!(search(&[1.0], true, longer, diverge).unwrap().len(), 4);
    }
}

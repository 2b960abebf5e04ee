//! `eps experiment main`: the paper's five tasks with the committed networks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use eps_data::digest::sha256_file;
use eps_data::fashion_mnist::Split;
use eps_math::{Schedule, Task};
use eps_model::{NetworkDenoiser, Precision};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tch::Device;

use super::cells::Cells;
use super::config::{Config, SIGMA_Y};
use super::method::{
    Method, Restoration, SOLVER, Sampler, images_at_once, linear_mmse, pseudo_inverse,
};
use super::moments::{self, GaussianPrior};
use super::networks::{self, Loss, NetworkFile, Scope};
use super::problem::{Problem, test_images};
use super::profile::Profile;
use super::results::{Results, TaskResults, make_folder, write_json};
use super::scores::{Row, Verdict, claims};
use super::table::Table;
use crate::flags::{DeviceFlags, UsageError, count};
use crate::{dataset, progress, record, report};

/// Images of a cell, or more where as many are restored at once: a run that is cut off loses the
/// work on one cell.
const CELL_IMAGES: usize = 20;

/// The folder of the committed networks.
const NETWORKS: &str = "data/networks/fashion";

/// Restores Fashion-MNIST test images on the five tasks of the paper: A†y, linear MMSE, and exact
/// posterior sampling with networks of one task and of all tasks.
///
/// Writes config.json, results.json, samples.h5, measurements, figures and report.html, and prints
/// the table. A run that was cut off goes on where it was.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How much is computed: smoke (2 images, 1 sample each; under a minute), quick (8 × 3; minutes),
    /// full (100 × 10, the paper's numbers; hours on a CPU), verify (1000 × 10: checks by how much
    /// one call and the mean of the samples are better than linear MMSE, and fails where a claim does)
    #[arg(long, value_name = "PROFILE", default_value = "quick")]
    profile: Profile,
    #[command(flatten)]
    device: DeviceFlags,
    /// The precision of the networks: f32, bf16 or f16; everything else is computed in f64
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Folder of the networks: TASK.safetensors and all-tasks.safetensors [default: that of the
    /// repository]
    #[arg(long, value_name = "FOLDER")]
    networks: Option<PathBuf>,
    /// Folder of the data set [default: where the repository keeps it]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Folder of the results
    #[arg(long, value_name = "FOLDER", default_value = "target/reproduce/fashion")]
    out: PathBuf,
    /// Tasks, separated by commas: random-inpainting, box-inpainting, super-resolution,
    /// gaussian-blur, motion-blur [default: all]
    #[arg(long, value_name = "TASKS", value_delimiter = ',', value_parser = task)]
    tasks: Vec<Task>,
    /// Networks: those of each task, or the one of all tasks [default: both]
    #[arg(long, value_enum, value_name = "WHICH")]
    network: Option<Scope>,
    /// The split that the images are taken from: test, or validation for choosing between networks
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    split: Split,
    /// Images, 1 to as many as the split has, instead of the profile's
    #[arg(long, value_name = "N", value_parser = count)]
    images: Option<usize>,
    /// Samples of each image, instead of the profile's
    #[arg(long, value_name = "J", value_parser = count)]
    samples: Option<usize>,
    /// Network calls a sample, ascending and separated by commas, instead of the profile's
    #[arg(long, value_name = "CALLS", value_delimiter = ',', value_parser = count)]
    calls: Vec<usize>,
    /// Samples that are drawn at once; more are faster on a GPU [default: 32, 1000 on a GPU]
    #[arg(long, value_name = "N", value_parser = count)]
    batch: Option<usize>,
    /// Seed of operators, measurement noise and samples
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
}

fn task(name: &str) -> Result<Task, String> {
    Task::from_name(name)
        .ok_or_else(|| format!("the tasks are {}", Task::ALL.map(Task::name).join(", ")))
}

impl Arguments {
    /// Runs the experiment.
    ///
    /// # Errors
    /// Input that is missing or damaged, output that cannot be written, and in the profile `verify` a
    /// claim that fails.
    pub(crate) fn run(&self) -> Result<()> {
        let run = Run::prepare(self)?;
        let results = run.compute()?;
        for task in &results.tasks {
            print_task(task, run.profile.report);
        }
        results.write_json(&self.out.join("results.json"))?;
        if run.profile.report {
            results.write_samples(&self.out.join("samples.h5"))?;
            results.write_measurements(&self.out.join("measurements"))?;
            let path = report::write(&results, &self.out)?;
            println!("report: {}", path.display());
        }
        println!("results: {}", self.out.join("results.json").display());
        let all = results.tasks.iter().flat_map(|task| &task.claims);
        let failed = all.filter(|claim| claim.verdict == Verdict::Fails).count();
        if failed > 0 && !run.profile.report {
            bail!("{failed} claims about the networks fail, marked FAILS above: train them longer");
        }
        Ok(())
    }

    /// The profile with what the flags override.
    fn sizes(&self) -> Result<Profile> {
        let mut profile = self.profile.clone();
        profile.images = self.images.unwrap_or(profile.images);
        profile.samples = self.samples.unwrap_or(profile.samples);
        if !self.calls.is_empty() {
            profile.calls.clone_from(&self.calls);
            profile.curve.clear();
        }
        if !profile.calls.is_sorted_by(|a, b| a < b) {
            let message = format!("--calls {:?}: name each number once, ascending", self.calls);
            return Err(UsageError(message).into());
        }
        Ok(profile)
    }
}

/// A cell of the experiment: a method on some images of a task.
#[derive(Debug)]
struct Cell {
    task: usize,
    method: Method,
    images: Range<usize>,
    name: String,
    key: Value,
    restoration: Option<Restoration>,
}

/// A prepared run: everything is read and checked.
#[derive(Debug)]
struct Run {
    profile: Profile,
    config: Config,
    device: Device,
    environment: Value,
    scopes: Vec<Scope>,
    networks: Vec<(String, NetworkDenoiser)>,
    losses: BTreeMap<String, Vec<Loss>>,
    problems: Vec<Problem>,
    prior: GaussianPrior,
    cells: Cells,
}

impl Run {
    fn prepare(arguments: &Arguments) -> Result<Self> {
        let profile = arguments.sizes()?;
        let (device, precision) = (arguments.device.apply(), arguments.precision);
        let wanted = |task: &Task| arguments.tasks.is_empty() || arguments.tasks.contains(task);
        let tasks: Vec<Task> = Task::ALL.into_iter().filter(wanted).collect();
        let scopes = arguments.network.map_or(vec![Scope::PerTask, Scope::AllTasks], |s| vec![s]);

        let set = dataset::load("fashion-mnist", arguments.split, arguments.data.as_deref())?;
        let prior = moments::load(&dataset::folders(arguments.data.as_deref()), set.shape())?;
        let folder = arguments.networks.clone().unwrap_or_else(|| {
            let here = PathBuf::from(NETWORKS);
            if here.is_dir() { here } else { dataset::in_repository(NETWORKS) }
        });
        let (mut files, mut networks) = (Vec::new(), Vec::new());
        for scope in &scopes {
            let mut add = |name: &str, tasks: &[Task]| {
                let file = NetworkFile::find(&folder, name)?;
                networks.push((name.to_owned(), file.load(tasks, set.shape(), device, precision)?));
                files.push(file);
                anyhow::Ok(())
            };
            match scope {
                Scope::PerTask => tasks.iter().try_for_each(|task| add(task.name(), &[*task]))?,
                Scope::AllTasks => add(networks::ALL_TASKS, &tasks)?,
            }
        }
        let losses = networks::losses(&folder)?;
        let images = test_images(profile.images, set.len())?;
        let problems = tasks
            .iter()
            .map(|task| Problem::draw(*task, &set, &images, SIGMA_Y, arguments.seed))
            .collect::<Result<Vec<_>>>()?;
        let batch = arguments.batch.unwrap_or(if device.is_cuda() { 1000 } else { 32 });
        let config = Config {
            format_version: 1,
            experiment: "main",
            profile: profile.name.to_owned(),
            dataset: set.provenance().clone(),
            tasks,
            sigma_y: SIGMA_Y,
            seed: arguments.seed,
            samples: profile.samples,
            solver: SOLVER,
            schedule: Schedule::karras(),
            calls: profile.calls.clone(),
            curve: profile.curve.clone(),
            batch,
            precision,
            moments: prior.sha256.clone(),
            networks: files,
            images,
        };
        let environment = record::environment(device);
        make_folder(&arguments.out)?;
        let resolved = json!({"config": config, "environment": environment});
        write_json(&arguments.out.join("config.json"), &resolved)?;
        let cells =
            Cells::open(arguments.out.join("cells"), set.shape(), set.provenance().clone())?;
        Ok(Self {
            profile,
            config,
            device,
            environment,
            scopes,
            networks,
            losses,
            problems,
            prior,
            cells,
        })
    }

    /// The methods of the table in its order, then those that only the curve shows.
    fn methods(&self) -> Vec<Method> {
        let mut methods = vec![Method::PseudoInverse, Method::LinearMmse];
        let mut add = |network, calls: &[usize]| {
            for calls in calls {
                let method = Method::Eps { network, calls: *calls };
                if !methods.contains(&method) {
                    methods.push(method);
                }
            }
        };
        for scope in &self.scopes {
            add(*scope, &self.config.calls);
        }
        // One curve a task: that of its own network where there is one.
        add(self.scopes[0], &self.config.curve);
        methods
    }

    /// All cells, with the restorations of those that are stored.
    fn plan(&self) -> Result<Vec<Cell>> {
        let program = std::env::current_exe().context("cannot find the running program")?;
        let program = sha256_file(&program)?;
        let mut cells = Vec::new();
        for (index, problem) in self.problems.iter().enumerate() {
            for method in self.methods() {
                let block = match method {
                    Method::PseudoInverse | Method::LinearMmse => problem.images.len(),
                    Method::Eps { .. } => {
                        images_at_once(self.config.batch, self.config.samples).max(CELL_IMAGES)
                    }
                };
                for start in (0..problem.images.len()).step_by(block) {
                    let images = start..(start + block).min(problem.images.len());
                    let name = format!("{}.{}.{start}", problem.task.name(), method.slug());
                    let key = self.key(&program, problem, method, images.clone());
                    let restoration = self.cells.load(&name, &key);
                    cells.push(Cell { task: index, method, images, name, key, restoration });
                }
            }
        }
        Ok(cells)
    }

    /// Everything that a cell depends on.
    fn key(&self, program: &str, problem: &Problem, method: Method, images: Range<usize>) -> Value {
        let learnt = match method {
            Method::PseudoInverse => None,
            Method::LinearMmse => Some(&self.prior.sha256),
            Method::Eps { network, .. } => {
                let name = network.network(problem.task);
                self.config.networks.iter().find(|file| file.name == name).map(|file| &file.sha256)
            }
        };
        json!({
            "program": program,
            "precision": self.config.precision,
            "device": self.environment["device"],
            "threads": self.environment["threads"],
            "dataset": self.config.dataset.sha256,
            "task": problem.task,
            "sigma_y": self.config.sigma_y,
            "seed": self.config.seed,
            "images": problem.images[images],
            "method": method,
            "samples": self.config.samples,
            "solver": self.config.solver,
            "schedule": self.config.schedule,
            "learnt": learnt,
        })
    }

    /// Computes what is not stored yet, task by task, and scores everything.
    fn compute(&self) -> Result<Results> {
        let mut cells = self.plan()?;
        let (batch, samples) = (self.config.batch, self.config.samples);
        let missing = cells.iter().filter(|cell| cell.restoration.is_none()).map(|cell| {
            Sampler::calls(batch, cell.images.len(), samples, cell.method.calls()) as u64
        });
        let clock = Clock::new(missing.sum());
        let mut warm = "";
        for cell in cells.iter_mut().filter(|cell| cell.restoration.is_none()) {
            let problem = &self.problems[cell.task];
            let what = format!("{}: {}", problem.task.name(), cell.method.label());
            clock.bar.set_prefix(what.clone());
            let images = cell.images.clone();
            let restoration = match cell.method {
                Method::PseudoInverse => pseudo_inverse(problem, images),
                Method::LinearMmse => linear_mmse(problem, images, &self.prior)?,
                Method::Eps { network: scope, calls } => {
                    let name = scope.network(problem.task);
                    let found = self.networks.iter().find(|(found, _)| found == name);
                    let (_, network) = found.with_context(|| format!("no network {name}"))?;
                    let sampler = Sampler {
                        network,
                        schedule: &self.config.schedule,
                        seed: self.config.seed,
                        batch,
                        device: self.device,
                        bar: &clock.bar,
                    };
                    if warm != name {
                        sampler.warm_up(problem, images.clone(), samples)?;
                        warm = name;
                    }
                    sampler.draw(problem, images, samples, calls).with_context(|| what.clone())?
                }
            };
            self.cells.store(&cell.name, cell.key.clone(), &restoration)?;
            cell.restoration = Some(restoration);
            clock.tell(&what);
        }
        clock.bar.finish_and_clear();
        let seconds = cells.iter().flat_map(|cell| &cell.restoration).map(|r| r.seconds).sum();
        let tasks = self.score(cells)?;
        Ok(Results {
            config: self.config.clone(),
            environment: self.environment.clone(),
            losses: self.losses.clone(),
            tasks,
            seconds,
        })
    }

    /// Joins the cells of each task and method, and scores them.
    fn score(&self, cells: Vec<Cell>) -> Result<Vec<TaskResults>> {
        let mut restorations: Vec<Vec<(Method, Restoration)>> =
            self.problems.iter().map(|_| Vec::new()).collect();
        for cell in cells {
            let Some(restoration) = cell.restoration else {
                continue;
            };
            let of_task = &mut restorations[cell.task];
            match of_task.iter_mut().find(|(method, _)| *method == cell.method) {
                Some((_, joined)) => joined.extend(restoration),
                None => of_task.push((cell.method, restoration)),
            }
        }
        let mut tasks = Vec::new();
        for (problem, restorations) in self.problems.iter().zip(restorations) {
            let shape = problem.set.shape();
            let ensembles = self.profile.report;
            let (mut rows, mut curve) = (Vec::new(), Vec::new());
            for (method, restoration) in &restorations {
                let in_table = match method {
                    Method::Eps { calls, .. } => self.config.calls.contains(calls),
                    _ => true,
                };
                let rows = if in_table { &mut rows } else { &mut curve };
                rows.push(Row::new(*method, problem.truth(), restoration, shape, ensembles)?);
                if restoration.per_image > 1 {
                    // The mean of one-call estimates is a point of the curve alone.
                    let rows = if method.calls() > 1 { rows } else { &mut curve };
                    let row =
                        Row::of_means(*method, problem.truth(), restoration, shape, ensembles)?;
                    rows.push(row);
                }
            }
            let claims = claims(&rows);
            tasks.push(TaskResults { problem: problem.clone(), restorations, rows, curve, claims });
        }
        Ok(tasks)
    }
}

/// The progress of a run: a bar on a terminal, a line a cell elsewhere.
#[derive(Debug)]
struct Clock {
    bar: ProgressBar,
    start: Instant,
}

impl Clock {
    fn new(calls: u64) -> Self {
        Self { bar: progress::bar(calls, "", "network calls"), start: Instant::now() }
    }

    /// Says what is done, where no bar is seen.
    fn tell(&self, what: &str) {
        if !self.bar.is_hidden() {
            return;
        }
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let left = self.start.elapsed().as_secs_f64() * (all - done) as f64 / done.max(1) as f64;
        let left = if done > 0 { format!(", {left:.0} s left") } else { String::new() };
        eprintln!("{done}/{all} network calls{left}: {what}");
    }
}

/// Prints a task's table and claims.
fn print_task(results: &TaskResults, ensembles: bool) {
    let problem = &results.problem;
    let samples = results.restorations.iter().map(|(_, r)| r.per_image).max().unwrap_or(1);
    println!(
        "\n{}: {} images, samples of each: {samples}, sigma_y {}; mean ± standard deviation over seeds",
        problem.task.name(),
        problem.images.len(),
        problem.set.sigma_y()
    );
    print!("{}", Table::new(&results.rows, ensembles).text());
    for claim in &results.claims {
        println!("  {}", claim.sentence());
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(flags: &[&str]) -> Result<Arguments, clap::Error> {
        let line = ["main"].iter().chain(flags);
        Command::try_parse_from(line).map(|command| command.arguments)
    }

    #[test]
    fn flags_override_the_profile() {
        let flags = ["--profile", "verify", "--images", "50", "--calls", "1,5"];
        let profile = parse(&flags).unwrap().sizes().unwrap();
        assert_eq!((profile.name, profile.images, profile.samples), ("verify", 50, 10));
        assert_eq!((profile.calls, profile.curve), (vec![1, 5], vec![]));
        let arguments =
            parse(&["--tasks", "motion-blur,box-inpainting", "--network", "all"]).unwrap();
        assert_eq!(arguments.tasks, [Task::MotionBlur, Task::BoxInpainting]);
        assert_eq!(arguments.network, Some(Scope::AllTasks));
        assert_eq!(arguments.sizes().unwrap().name, "quick");
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        for (flags, value, known) in [
            (["--profile", "fast"], "\"fast\"", "smoke, quick, full, verify"),
            (["--tasks", "denoising"], "'denoising'", "random-inpainting"),
            (["--network", "prior"], "'prior'", "per-task"),
            (["--device", "tpu"], "\"tpu\"", "cuda:N"),
        ] {
            let error = parse(&flags).unwrap_err().to_string();
            assert!(error.contains(value) && error.contains(known), "{error}");
        }
        let error = parse(&["--calls", "20,1"]).unwrap().sizes().unwrap_err().to_string();
        assert!(error.contains("[20, 1]") && error.contains("ascending"), "{error}");
    }
}

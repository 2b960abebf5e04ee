//! The run of an experiment on networks: from flags to restorations, scores and report.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum as _};
use eps_data::{ImageSet, Split};
use eps_files::sha256_file;
use eps_math::{Schedule, Task};
use eps_metrics::networks::Backbone;
use eps_sample::SampleError;
use serde_json::{Value, json};
use tch::Device;

use super::calibration::{self, Calibration};
use super::cells::{Cells, PROGRAM, name};
use super::config::{Config, Constant};
use super::constants::Constants;
use super::contender::Contender;
use super::method::{Method, Restoration, linear_mmse, pseudo_inverse, wiener};
use super::moments::{self, GaussianPrior};
use super::neighbours::Neighbours;
use super::networks::{self, ALL_TASKS, Loss, NetworkFile, NetworkUse, Scope};
use super::overhead::Overhead;
use super::plan::{Experiment, Plan, Scopes, Setting};
use super::problem::{Problem, seed_of, test_images};
use super::profile::Profile;
use super::results::{Results, TaskResults, check_folder, make_folder, write_json};
use super::sampler::{SOLVER, Sampler, bar_steps, passes_a_call};
use super::scores::{Judge, Row, SECONDS_A_CALL, Verdict, claims};
use super::table::Table;
use crate::cost::CostFlags;
use crate::flags::{NetworkFlags, UsageError, count};
use crate::progress::Clock;
use crate::report;
use eps::feature_networks::{self, FeatureNetworks};
use eps::network::Network;
use eps::{dataset, environment};

/// Images of a cell, or more where as many are restored at once: a run that is cut off loses the
/// work on one cell.
const CELL_IMAGES: usize = 20;

/// Samples in a mean of the paper's Table 5.
const PAPER_MEAN_OF: usize = 10;

/// Where `cargo xtask reproduce` trains the networks of the experiments that have their own.
const OWN_NETWORKS: &str = "target/reproduce/networks";

/// What the experiments on networks have in common.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How much is computed: smoke (2 images, 1 sample each; under a minute), quick (6 × 3; minutes),
    /// full (main 100 × 10, the paper's numbers, the others 32 × 4; hours on a CPU), verify (1000 × 10: checks by how much
    /// one call and the mean of the samples are better than linear MMSE, and fails where a claim does)
    #[arg(long, value_name = "PROFILE", default_value = "quick")]
    profile: Profile,
    #[command(flatten)]
    network_flags: NetworkFlags,
    /// The data set: its name, or a file that `eps data` wrote
    #[arg(long, value_name = "NAME", default_value = "fashion-mnist", value_parser = dataset::name)]
    dataset: String,
    /// Folder of the networks: TASK, all-tasks, palette-TASK and prior, each .safetensors [default:
    /// that of the repository; target/reproduce/networks for experiments that train networks of their
    /// own]
    #[arg(long, value_name = "FOLDER")]
    networks: Option<PathBuf>,
    /// Print the names of the networks that are needed, one a line, and end
    #[arg(long)]
    list_networks: bool,
    /// The prior of the methods that ask one, in place of that of the networks' folder: a network, or
    /// the description of a TorchScript module (docs/priors.md)
    #[arg(long, value_name = "NET.safetensors|PRIOR.json")]
    prior: Option<PathBuf>,
    /// The contenders' constants, as `eps tune` writes them [default: that of the repository]
    #[arg(long, value_name = "FILE")]
    constants: Option<PathBuf>,
    /// Folder or file of the data set [default: where the repository keeps it]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Folder of the results [default: target/reproduce/fashion for main, else
    /// target/reproduce/EXPERIMENT; target/reproduce/NAME/EXPERIMENT on another data set]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Tasks, separated by commas: random-inpainting, box-inpainting, super-resolution,
    /// gaussian-blur, motion-blur [default: all]
    #[arg(long, value_name = "TASKS", value_delimiter = ',', value_parser = task)]
    tasks: Vec<Task>,
    /// Methods of the experiment, separated by commas, such as linear-mmse, eps, palette and ddrm; `main` takes
    /// further forms of the contenders too: dps-published, daps-published, daps-exact, ddnm-published,
    /// pigdm-published, mpgd-published [default: those of the experiment]
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
    methods: Vec<String>,
    /// Networks of EPS: those of each task, or the one of all tasks [default: both, as far as there are any]
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
    /// Samples that are drawn at once; more are faster on a GPU, and take more memory [default: 32; on
    /// a GPU as many as the networks' activations allow, 1000 at most]
    #[arg(long, value_name = "N", value_parser = count)]
    batch: Option<usize>,
    /// Seed of operators, measurement noise and samples
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Take the samples in --out whichever build of the program drew them, and score them anew: only where
    /// nothing that samples depend on has changed
    #[arg(long)]
    keep_samples: bool,
    /// The FID network, NVIDIA's inception-2015-12-05.pt, for FID and the distances between its features;
    /// it is a program: name only a file that you trust
    #[arg(long, value_name = "FILE.pt")]
    inception: Option<PathBuf>,
    #[command(flatten)]
    cost: CostFlags,
}

/// The task of a flag.
pub(crate) fn task(name: &str) -> Result<Task, String> {
    Task::from_name(name)
        .ok_or_else(|| format!("the tasks are {}", Task::ALL.map(Task::name).join(", ")))
}

impl Arguments {
    /// Runs the experiment.
    ///
    /// # Errors
    /// Input that is missing or damaged, output that cannot be written, and in the profile `verify` a
    /// claim that fails.
    pub(crate) fn run(&self, experiment: Experiment) -> Result<()> {
        if self.list_networks {
            for (name, ..) in self.choice(experiment)?.plan.networks() {
                println!("{name}");
            }
            return Ok(());
        }
        if self.cost.is_dry_run() {
            return self.print_cost(experiment);
        }
        let out = self.out.clone().unwrap_or_else(|| folder_of(experiment, &self.dataset));
        let run = Run::prepare(self, experiment, &out)?;
        let results = run.compute()?;
        for task in &results.tasks {
            print_task(task, run.profile.report);
        }
        if let Some(overhead) = &results.overhead {
            println!("\n{}", overhead.sentence());
        }
        let origins: BTreeSet<&str> =
            results.config.networks.iter().map(|file| &*file.origin).collect();
        for origin in origins {
            println!("networks: {origin}");
        }
        results.write_json(&out.join("results.json"))?;
        if run.profile.report {
            results.write_samples(&out.join("samples.h5"))?;
            results.write_measurements(&out.join("measurements"))?;
            let path = report::write(&results, &out)?;
            println!("report: {}", path.display());
        }
        println!("results: {}", out.join("results.json").display());
        let all = results.tasks.iter().flat_map(|task| &task.claims);
        let failed = all.filter(|claim| claim.verdict == Verdict::Fails).count();
        if failed > 0 && !run.profile.report {
            bail!("{failed} claims about the networks fail, marked FAILS above: train them longer");
        }
        Ok(())
    }

    /// Prints what the samples of all methods cost; scores are left out.
    fn print_cost(&self, experiment: Experiment) -> Result<()> {
        let Choice { profile, plan, .. } = self.choice(experiment)?;
        let calls = |method: &Method| method.calls() as u64 * passes_a_call(*method);
        let samples = plan.settings.len() * profile.images * profile.samples;
        let passes = samples as u64 * plan.methods.iter().map(calls).sum::<u64>();
        let what = format!(
            "{}, {} of measurements, {} images, {} samples of each",
            experiment.name(),
            match plan.settings.len() {
                1 => "1 kind".to_owned(),
                kinds => format!("{kinds} kinds"),
            },
            profile.images,
            profile.samples
        );
        self.cost.print(&what, passes)
    }

    /// What is run where: the flags, checked, on the networks that there are.
    fn choice(&self, experiment: Experiment) -> Result<Choice> {
        let profile = self.sizes(experiment)?;
        self.check_flags(experiment)?;
        let wanted = |task: &Task| self.tasks.is_empty() || self.tasks.contains(task);
        let tasks: Vec<Task> = experiment.tasks().into_iter().filter(wanted).collect();
        if tasks.is_empty() {
            let known: Vec<&str> = experiment.tasks().iter().map(|task| task.name()).collect();
            let message = format!("--tasks: {} is about {}", experiment.name(), known.join(", "));
            return Err(UsageError(message).into());
        }
        let folder = self.networks.clone().unwrap_or_else(|| {
            if experiment.variants().is_empty() {
                dataset::networks(&self.dataset)
            } else {
                PathBuf::from(OWN_NETWORKS)
            }
        });
        // One network for all tasks stands in where no task has its own.
        let own = |kind: &str| {
            let has = |name: &str| NetworkFile::find(&folder, &format!("{kind}{name}")).is_ok();
            tasks.iter().any(|task| has(task.name())) || !has(ALL_TASKS)
        };
        let scopes = Scopes {
            eps: match self.network {
                Some(scope) => vec![scope],
                None if own("") => vec![Scope::PerTask, Scope::AllTasks],
                None => vec![Scope::AllTasks],
            },
            palette: if own("palette-") { Scope::PerTask } else { Scope::AllTasks },
        };
        let plan = self.plan(experiment, &profile, &tasks, &scopes)?;
        Ok(Choice { profile, folder, plan })
    }

    /// The plan of an experiment with the methods that are asked for.
    fn plan(
        &self,
        experiment: Experiment,
        profile: &Profile,
        tasks: &[Task],
        scopes: &Scopes,
    ) -> Result<Plan> {
        let mut plan = Plan::new(experiment, profile, tasks, scopes);
        if self.methods.is_empty() {
            return Ok(plan);
        }
        if experiment == Experiment::Main {
            plan.add_contenders(profile, &self.methods);
        }
        let mut known: Vec<String> = plan.methods.iter().map(|method| method.name()).collect();
        known.dedup();
        if let Some(unknown) = self.methods.iter().find(|name| !known.contains(name)) {
            let mut message =
                format!("--methods {unknown}: here the methods are {}", known.join(", "));
            if experiment == Experiment::Main {
                let all = Contender::value_variants().iter().map(|contender| contender.name());
                let further: Vec<String> = all.filter(|name| !known.contains(name)).collect();
                message += &format!(", and where they are named {}", further.join(", "));
            }
            return Err(UsageError(message).into());
        }
        plan.keep(&self.methods);
        Ok(plan)
    }

    /// Refuses flags that the experiment has no use for.
    fn check_flags(&self, experiment: Experiment) -> Result<()> {
        let is_missing = |path: &&PathBuf| !self.cost.is_dry_run() && !path.is_file();
        if let Some(path) = self.constants.as_ref().filter(is_missing) {
            let message = format!("--constants {}: there is no such file", path.display());
            return Err(UsageError(message).into());
        }
        let fixed_calls = matches!(
            experiment,
            Experiment::ZeroShot
                | Experiment::PosteriorMean
                | Experiment::Ood
                | Experiment::Calibration
                | Experiment::Runtime
        );
        let wrong_samples = |samples| match experiment {
            Experiment::Calibration => samples != calibration::SAMPLES,
            Experiment::Runtime => samples != 1,
            _ => false,
        };
        let message = match self.samples {
            _ if fixed_calls && !self.calls.is_empty() => {
                "--calls: its methods have their own numbers of calls".to_owned()
            }
            _ if !experiment.variants().is_empty() && self.network.is_some() => {
                "--network: its networks are given".to_owned()
            }
            _ if self.inception.is_some() && !self.profile.report => {
                format!("--inception: the profile {} scores pixels alone", self.profile.name)
            }
            Some(samples) if wrong_samples(samples) => {
                format!("--samples {samples}: its number of samples is given")
            }
            _ => return Ok(()),
        };
        let message = format!("{message} in {}: leave the flag out", experiment.name());
        Err(UsageError(message).into())
    }

    /// The profile with what the flags override.
    fn sizes(&self, experiment: Experiment) -> Result<Profile> {
        let mut profile = self.profile.clone();
        if experiment != Experiment::Main {
            (profile.images, profile.samples) = profile.others;
        }
        match experiment {
            Experiment::Calibration => profile.samples = calibration::SAMPLES,
            Experiment::Runtime => profile.samples = 1,
            Experiment::PosteriorMean => profile.samples = profile.mean_of,
            _ => {}
        }
        profile.images = self.images.unwrap_or(profile.images);
        profile.samples = self.samples.unwrap_or(profile.samples);
        if !self.calls.is_empty() {
            profile.calls.clone_from(&self.calls);
            profile.steps.clone_from(&self.calls);
            profile.curve.clear();
        }
        if !profile.calls.is_sorted_by(|a, b| a < b) {
            let message = format!("--calls {:?}: name each number once, ascending", self.calls);
            return Err(UsageError(message).into());
        }
        Ok(profile)
    }
}

/// Where an experiment's results go unless a flag says otherwise.
fn folder_of(experiment: Experiment, dataset: &str) -> PathBuf {
    let folder = PathBuf::from("target/reproduce");
    match (dataset::short_name(dataset), experiment) {
        (fashion @ "fashion", Experiment::Main) => folder.join(fashion),
        ("fashion", _) => folder.join(experiment.name()),
        (other, _) => folder.join(other).join(experiment.name()),
    }
}

/// What is run where.
#[derive(Debug)]
struct Choice {
    profile: Profile,
    /// The folder of the networks.
    folder: PathBuf,
    plan: Plan,
}

/// A cell of the experiment: a method on some images of a problem.
#[derive(Debug)]
struct Cell {
    problem: usize,
    method: Method,
    images: Range<usize>,
    name: String,
    key: Value,
    restoration: Option<Restoration>,
    /// Why there is no restoration, where a chain left the finite numbers.
    diverged: Option<String>,
}

/// A prepared run: everything is read and checked.
#[derive(Debug)]
struct Run {
    profile: Profile,
    config: Config,
    device: Device,
    environment: Value,
    plan: Plan,
    judge: Judge,
    networks: Vec<(String, Network)>,
    losses: BTreeMap<String, Vec<Loss>>,
    problems: Vec<Problem>,
    /// The data set, by name and folder.
    data: (String, Option<PathBuf>),
    /// The seed of the split at hand.
    seed: u64,
    /// The prior of the linear estimates, where images are small enough for them.
    prior: Option<GaussianPrior>,
    cells: Cells,
}

impl Run {
    fn prepare(arguments: &Arguments, experiment: Experiment, out: &Path) -> Result<Self> {
        let Choice { profile, folder, mut plan } = arguments.choice(experiment)?;
        let (device, precision) = arguments.network_flags.apply()?;
        let committed = dataset::networks(&arguments.dataset);
        let set = dataset::load(&arguments.dataset, arguments.split, arguments.data.as_deref())?;
        let is_linear = |method: &Method| matches!(method, Method::Wiener | Method::LinearMmse);
        if set.shape().len() > moments::LARGEST {
            plan.leave_out(is_linear);
        }
        let prior = if plan.methods.iter().any(is_linear) {
            let paths = dataset::moments(&arguments.dataset, arguments.data.as_deref());
            Some(moments::load(&paths, set.shape())?)
        } else {
            None
        };
        if arguments.prior.is_some()
            && !plan.networks().iter().any(|(_, used, _)| *used == NetworkUse::Prior)
        {
            let message = "--prior: none of the methods asks a prior: leave the flag out";
            return Err(UsageError(message.to_owned()).into());
        }
        let (mut files, mut loaded) = (Vec::new(), Vec::new());
        for (name, network_use, tasks) in plan.networks() {
            let mut file = match (network_use, &arguments.prior) {
                (NetworkUse::Prior, Some(path)) => NetworkFile::at(path, &name)?,
                // There it is the start of the trainings.
                (NetworkUse::Prior, None) if experiment == Experiment::WarmStart => {
                    NetworkFile::find(&committed, &name)?
                }
                (NetworkUse::Prior, None) if !experiment.variants().is_empty() => {
                    NetworkFile::find_prior(&committed)?
                }
                (NetworkUse::Prior, None) => NetworkFile::find_prior(&folder)?,
                _ => NetworkFile::find(&folder, &name)?,
            };
            let question = (network_use, tasks.as_slice());
            let images = (&*arguments.dataset, set.shape());
            loaded.push((name, file.load(question, images, device, precision)?));
            files.push(file);
        }
        let losses = networks::losses(&folder, loaded.iter().map(|(name, _)| name))?;
        let constants_file =
            arguments.constants.clone().unwrap_or_else(|| dataset::constants(&arguments.dataset));
        let images = test_images(profile.images, set.len())?;
        let seed = seed_of(arguments.split, arguments.seed);
        let problems = plan
            .settings
            .iter()
            .map(|setting| Problem::draw(*setting, &set, &images, seed))
            .collect::<Result<Vec<_>>>()?;
        let features = features(profile.report, arguments.inception.as_deref(), device)?;
        let batch = arguments.batch.unwrap_or(match (experiment, device) {
            (Experiment::Runtime, _) => 1,
            (_, Device::Cuda(_)) => {
                let each = loaded.iter().map(|(_, network)| network.samples_at_once(precision));
                each.min().unwrap_or(1000)
            }
            _ => 32,
        });
        let config = Config {
            format_version: 2,
            experiment,
            profile: profile.name.to_owned(),
            dataset: set.provenance().clone(),
            settings: plan.settings.clone(),
            seed: arguments.seed,
            samples: profile.samples,
            solver: SOLVER,
            schedule: Schedule::karras(),
            methods: plan.methods.clone(),
            in_table: plan.in_table,
            constants: constants(&plan, &Constants::read(&constants_file)?),
            batch,
            precision,
            moments: prior.as_ref().map(|prior| prior.sha256.clone()),
            features: features.files,
            networks: files,
            images,
        };
        let judge = Judge { ensembles: profile.report, networks: features.networks };
        let environment = environment::record(device);
        check_folder(out, experiment.name())?;
        make_folder(out)?;
        let resolved = json!({"config": config, "environment": environment});
        write_json(&out.join("config.json"), &resolved)?;
        let cells = Cells::open(
            out.join("cells"),
            set.shape(),
            set.provenance().clone(),
            arguments.keep_samples,
        )?;
        Ok(Self {
            profile,
            config,
            device,
            environment,
            plan,
            judge,
            networks: loaded,
            losses,
            problems,
            data: (arguments.dataset.clone(), arguments.data.clone()),
            seed,
            prior,
            cells,
        })
    }

    /// All cells, with the restorations of those that are stored.
    fn plan_cells(&self) -> Result<Vec<Cell>> {
        let program = std::env::current_exe().context("cannot find the running program")?;
        let program = sha256_file(&program)?;
        let mut cells = Vec::new();
        for (index, problem) in self.problems.iter().enumerate() {
            for method in &self.plan.methods {
                let block = match (method.calls(), self.config.experiment) {
                    (0, _) => problem.images.len(),
                    (_, Experiment::Runtime) => 1,
                    _ => (self.config.batch / self.config.samples).max(CELL_IMAGES),
                };
                for start in (0..problem.images.len()).step_by(block) {
                    let images = start..(start + block).min(problem.images.len());
                    let key = self.key(&program, problem, *method, images.clone());
                    let what = format!("{}.{}.{start}", problem.setting.name(), method.slug());
                    let name = name(&what, &key);
                    let restoration = self.cells.load(&name, &key);
                    cells.push(Cell {
                        problem: index,
                        method: *method,
                        images,
                        name,
                        key,
                        restoration,
                        diverged: None,
                    });
                }
            }
        }
        if self.config.experiment == Experiment::Runtime {
            // Every method on one image before the next image, each image beginning with another: what else the
            // machine does, and what was asked before, meet all alike.
            let methods = &self.plan.methods;
            let place = |method| methods.iter().position(|known| *known == method).unwrap_or(0);
            cells.sort_by_key(|cell| {
                let image = cell.images.start;
                (cell.problem, image, (place(cell.method) + image) % methods.len())
            });
        }
        Ok(cells)
    }

    /// Everything that a cell depends on.
    fn key(&self, program: &str, problem: &Problem, method: Method, images: Range<usize>) -> Value {
        let task = problem.setting.task;
        let learnt = match (method, method.network(task)) {
            (Method::Wiener | Method::LinearMmse, _) => self.config.moments.iter().collect(),
            (_, Some((name, _))) => {
                let file = self.config.networks.iter().find(|file| file.name == name);
                file.map_or(vec![], NetworkFile::digests)
            }
            (_, None) => vec![],
        };
        json!({
            PROGRAM: program,
            "precision": self.config.precision,
            "device": self.environment["device"],
            "threads": self.environment["threads"],
            "dataset": [&self.config.dataset.sha256, &self.config.dataset.name],
            "setting": problem.setting,
            "seed": self.seed,
            "images": problem.images[images],
            "method": method,
            "constant": self.constant(method, task),
            "samples": self.config.samples,
            "batch": self.config.batch,
            "solver": self.config.solver,
            "schedule": self.config.schedule,
            "learnt": learnt,
        })
    }

    /// The constant of a contender for a task.
    fn constant(&self, method: Method, task: Task) -> Option<f64> {
        let Method::Contender { contender, .. } = method else {
            return None;
        };
        let of = |known: &&Constant| (known.contender, known.task) == (contender, task);
        self.config.constants.iter().find(of).map(|constant| constant.value)
    }

    /// Computes what is not stored yet, problem by problem, and scores everything.
    fn compute(&self) -> Result<Results> {
        let mut cells = self.plan_cells()?;
        let (batch, samples) = (self.config.batch, self.config.samples);
        let steps = |cell: &Cell| bar_steps(cell.method, batch, cell.images.len(), samples);
        let missing = cells.iter().filter(|cell| cell.restoration.is_none()).map(steps);
        let clock = Clock::new(missing.sum(), "network passes");
        let mut warm = String::new();
        let mut lost = Vec::new();
        for cell in cells.iter_mut().filter(|cell| cell.restoration.is_none()) {
            // With one chain gone the method has no scores there.
            if lost.contains(&(cell.problem, cell.method)) {
                clock.bar.inc(steps(cell));
                continue;
            }
            let problem = &self.problems[cell.problem];
            let what = format!("{}: {}", problem.setting.name(), cell.method.label());
            clock.start(&what);
            match self.restore(problem, cell, &mut warm, &clock).with_context(|| what.clone()) {
                Ok(restoration) => {
                    self.cells.store(&cell.name, cell.key.clone(), &restoration)?;
                    cell.restoration = Some(restoration);
                }
                Err(error) if diverged(&error) => {
                    cell.diverged = Some(format!("{error:#}"));
                    lost.push((cell.problem, cell.method));
                }
                Err(error) => return Err(error),
            }
            clock.tell(&what);
        }
        clock.finish();
        let seconds = cells.iter().flat_map(|cell| &cell.restoration).map(|r| r.seconds).sum();
        let training = self.training();
        let tasks = self.score(cells, training.as_ref())?;
        let overhead = match self.config.experiment {
            Experiment::Runtime => {
                let (precision, runs) = (self.config.precision, self.profile.runs);
                Some(Overhead::measure(self.device, precision, runs)?)
            }
            _ => None,
        };
        Ok(Results {
            overhead,
            config: self.config.clone(),
            environment: self.environment.clone(),
            losses: self.losses.clone(),
            tasks,
            seconds,
        })
    }

    /// Computes a cell; `warm` is the name of the network that has been asked before.
    fn restore(
        &self,
        problem: &Problem,
        cell: &Cell,
        warm: &mut String,
        clock: &Clock,
    ) -> Result<Restoration> {
        let (images, task) = (cell.images.clone(), problem.setting.task);
        let name = match (cell.method, cell.method.network(task), &self.prior) {
            (_, Some((name, _)), _) => name,
            (Method::Wiener, _, Some(prior)) => return Ok(wiener(problem, images, prior)),
            (Method::LinearMmse, _, Some(prior)) => return linear_mmse(problem, images, prior),
            _ => return Ok(pseudo_inverse(problem, images)),
        };
        let found = self.networks.iter().find(|(found, _)| *found == name);
        let (_, network) = found.with_context(|| format!("no network {name}"))?;
        let sampler = Sampler {
            method: cell.method,
            constant: self.constant(cell.method, task).unwrap_or_default(),
            network,
            schedule: &self.config.schedule,
            seed: self.seed,
            samples: self.config.samples,
            batch: self.config.batch,
            device: self.device,
            bar: &clock.bar,
        };
        if *warm != name {
            sampler.warm_up(problem, images.clone())?;
            *warm = name;
        }
        sampler.draw(problem, images)
    }

    /// The training images, to look for neighbours of samples, in the paper's comparison.
    fn training(&self) -> Option<ImageSet> {
        if self.config.experiment != Experiment::Main || !self.profile.report {
            return None;
        }
        let (name, folder) = &self.data;
        let loaded = dataset::load(name, Split::Train, folder.as_deref());
        if let Err(error) = &loaded {
            eprintln!("note: no nearest training images are shown: {error:#}");
        }
        loaded.ok()
    }

    /// Joins the cells of each problem and method, and scores them.
    fn score(&self, cells: Vec<Cell>, training: Option<&ImageSet>) -> Result<Vec<TaskResults>> {
        let mut restorations: Vec<Vec<(Method, Restoration)>> =
            self.problems.iter().map(|_| Vec::new()).collect();
        let mut diverged: Vec<Vec<(Method, String)>> =
            self.problems.iter().map(|_| Vec::new()).collect();
        let times = match self.config.experiment {
            Experiment::Runtime => self.seconds_a_call(&cells),
            _ => vec![],
        };
        for cell in cells {
            if let Some(reason) = cell.diverged {
                diverged[cell.problem].push((cell.method, reason));
            }
            let Some(restoration) = cell.restoration else {
                continue;
            };
            let of_problem = &mut restorations[cell.problem];
            match of_problem.iter_mut().find(|(method, _)| *method == cell.method) {
                Some((_, joined)) => joined.extend(restoration),
                None => of_problem.push((cell.method, restoration)),
            }
        }
        let mut tasks = Vec::new();
        for ((problem, mut restorations), diverged) in
            self.problems.iter().zip(restorations).zip(diverged)
        {
            // A method some of whose chains diverged has no scores: those of the others mislead.
            restorations.retain(|(method, _)| !diverged.iter().any(|(other, _)| other == method));
            let (mut rows, mut curve) = self.rows(problem, &restorations)?;
            for (of, method, seconds) in &times {
                let row = rows.iter_mut().chain(&mut curve).find(|row| row.method == *method);
                if let Some(row) = row.filter(|_| *of == problem.setting) {
                    row.of_images.insert(SECONDS_A_CALL.to_owned(), seconds.clone());
                }
            }
            // The claims are about the tasks as the networks were trained for them.
            let usual = problem.setting == Setting::of(problem.setting.task);
            let claims = if usual { claims(&rows) } else { vec![] };
            let calibration = match self.config.experiment {
                Experiment::Calibration => calibrations(problem, &restorations)?,
                _ => vec![],
            };
            let neighbours = training.and_then(|training| {
                let is_eps = |(method, _): &&(Method, Restoration)| {
                    matches!(method, Method::Eps { calls, .. } if *calls > 1)
                };
                let (method, restoration) = restorations.iter().find(is_eps)?;
                Some(Neighbours::find(*method, problem, restoration, training))
            });
            tasks.push(TaskResults {
                problem: problem.clone(),
                restorations,
                diverged,
                rows,
                curve,
                calibration,
                claims,
                neighbours,
            });
        }
        Ok(tasks)
    }

    /// Seconds a call of every setting and method, one a cell.
    fn seconds_a_call(&self, cells: &[Cell]) -> Vec<(Setting, Method, Vec<f64>)> {
        let mut times: Vec<(Setting, Method, Vec<f64>)> = Vec::new();
        for cell in cells {
            let (setting, method) = (self.problems[cell.problem].setting, cell.method);
            let Some(restoration) = cell.restoration.as_ref().filter(|cell| cell.nfe > 0) else {
                continue;
            };
            let calls = restoration.nfe * restoration.per_image * cell.images.len();
            let seconds = restoration.seconds / calls as f64;
            match times.iter_mut().find(|(of, known, _)| (*of, *known) == (setting, method)) {
                Some((.., of_cells)) => of_cells.push(seconds),
                None => times.push((setting, method, vec![seconds])),
            }
        }
        times
    }

    /// The rows of the table and those of the curve alone.
    fn rows(
        &self,
        problem: &Problem,
        restorations: &[(Method, Restoration)],
    ) -> Result<(Vec<Row>, Vec<Row>)> {
        let (shape, truth) = (problem.set.shape(), problem.truth());
        let (mut rows, mut curve) = (Vec::new(), Vec::new());
        let scored = |row: Row| Row { sources: problem.sources.clone(), ..row };
        for (method, restoration) in restorations {
            let in_table = self.plan.methods[..self.plan.in_table].contains(method);
            let rows = if in_table { &mut rows } else { &mut curve };
            rows.push(scored(Row::new(*method, truth, restoration, shape, &self.judge)?));
            // The mean of one-call estimates is a point of the curve alone.
            let rows = if method.calls() > 1 { rows } else { &mut curve };
            for count in means(self.config.experiment, restoration.per_image) {
                let first = restoration.first(count, shape.len());
                rows.push(scored(Row::of_means(*method, truth, &first, shape, &self.judge)?));
            }
        }
        Ok((rows, curve))
    }
}

/// Of how many of J samples the means are scored: of all, and where the mean is what an experiment is
/// about, of as many as the paper's.
fn means(experiment: Experiment, samples: usize) -> Vec<usize> {
    let mut counts = match experiment {
        Experiment::PosteriorMean => vec![PAPER_MEAN_OF],
        _ => vec![],
    };
    counts.retain(|count| *count < samples);
    counts.extend((samples > 1).then_some(samples));
    counts
}

/// How the samples of every method spread.
fn calibrations(
    problem: &Problem,
    restorations: &[(Method, Restoration)],
) -> Result<Vec<Calibration>> {
    let of = |(method, restoration): &(Method, Restoration)| {
        Calibration::of(*method, problem, restoration).transpose()
    };
    restorations.iter().filter_map(of).collect()
}

/// AlexNet, for LPIPS and distances between features, where it has been fetched, and the FID network where
/// a file is named.
fn features(wanted: bool, inception: Option<&Path>, device: Device) -> Result<FeatureNetworks> {
    if !wanted {
        return Ok(FeatureNetworks::none("the profile scores pixels alone"));
    }
    let mut networks = feature_networks::load(None, &[Backbone::Alex], device)?;
    if let Some(reason) = &networks.left_out {
        eprintln!("note: {reason}");
    }
    if let Some(path) = inception {
        networks.add_inception(path, device)?;
    }
    Ok(networks)
}

/// Whether an error is that of a chain which left the finite numbers.
fn diverged(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<SampleError>(), Some(SampleError::Diverged { .. }))
}

/// The constants of the contenders of a plan.
fn constants(plan: &Plan, tuned: &Constants) -> Vec<Constant> {
    let mut constants: Vec<Constant> = Vec::new();
    for method in &plan.methods {
        let Method::Contender { contender, .. } = *method else {
            continue;
        };
        for Setting { task, .. } in &plan.settings {
            let task = *task;
            if constants.iter().any(|known| (known.contender, known.task) == (contender, task)) {
                continue;
            }
            constants.push(Constant {
                contender,
                task,
                symbol: contender.tunable(task).symbol,
                value: tuned.value(contender, task),
                tuned: tuned.find(contender, task).is_some(),
            });
        }
    }
    constants
}

/// Prints a task's table and claims.
fn print_task(results: &TaskResults, ensembles: bool) {
    let problem = &results.problem;
    let samples = results.restorations.iter().map(|(_, r)| r.per_image).max().unwrap_or(1);
    println!(
        "\n{}: {} images, samples of each: {samples}, sigma_y {}; mean ± standard deviation over seeds",
        problem.setting.name(),
        problem.images.len(),
        problem.set.sigma_y()
    );
    print!("{}", Table::new(&results.shown(), ensembles).text());
    if !results.calibration.is_empty() {
        print!("{}", calibration::table(&results.calibration).text());
    }
    for (name, caution) in results.cautions() {
        println!("  {name}: {caution}");
    }
    for (method, reason) in &results.diverged {
        println!("  {} diverged: {reason}", method.label());
    }
    if let Some(neighbours) = &results.neighbours {
        println!("  {}", neighbours.sentence());
    }
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
        let profile = parse(&flags).unwrap().sizes(Experiment::Main).unwrap();
        assert_eq!((profile.name, profile.images, profile.samples), ("verify", 50, 10));
        assert_eq!((profile.calls, profile.curve), (vec![1, 5], vec![]));
        let arguments =
            parse(&["--tasks", "motion-blur,box-inpainting", "--network", "all"]).unwrap();
        assert_eq!(arguments.tasks, [Task::MotionBlur, Task::BoxInpainting]);
        assert_eq!(arguments.network, Some(Scope::AllTasks));
        assert_eq!(arguments.sizes(Experiment::Main).unwrap().name, "quick");
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
        let error =
            parse(&["--calls", "20,1"]).unwrap().sizes(Experiment::Main).unwrap_err().to_string();
        assert!(error.contains("[20, 1]") && error.contains("ascending"), "{error}");
    }
}

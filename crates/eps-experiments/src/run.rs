//! The run of an experiment on networks: from a request to restorations and scores.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use eps::feature_networks::{self, FeatureNetworks};
use eps::network::Network;
use eps::precision::AskedPrecision;
use eps::workers::{Stop, spread, threads, workers_on};
use eps::{dataset, environment};
use eps_data::{ImageProvenance, ImageSet, Split};
use eps_files::sha256_file;
use eps_math::{Precision, Schedule, Task};
use eps_metrics::networks::Backbone;
use eps_results::{
    Calibration, Config, Constant, Constants, DataSet, Diverged, Environment, Experiment,
    FeatureFile, Loss, Method, Metric, NetworkFile, NetworkUse, Results, Row, Setting, TaskResults,
};
use serde_json::{Value, json};
use tch::Device;

use crate::calibration::calibration_of;
use crate::cells::{Cells, FOLDER, PROGRAM, name};
use crate::constants;
use crate::error::{During as _, ExperimentError, InvalidRequest, Result};
use crate::files::{check_folder, make_folder, write_json};
use crate::linear::{linear_mmse, pseudo_inverse, wiener};
use crate::listener::Listener;
use crate::margins::margins;
use crate::moments::{self, GaussianPrior};
use crate::neighbours::find_neighbours;
use crate::networks::{self, Asked};
use crate::output::{Computed, RunOutcome};
use crate::overhead::measure_overhead;
use crate::plan::Plan;
use crate::problem::{Problem, seed_of, test_images};
use crate::profile::Profile;
use crate::request::{Chosen, Request};
use crate::restoration::Restored;
use crate::sampler::{Item, SOLVER, Sampler, join, passes_a_call, progress_steps};
use crate::scores::{Judge, score_means, score_samples};
use crate::shard::Shard;
use crate::working_memory::{Calls, threads_that_fit};
use eps::contender::tunable;

/// Images of a cell, or more where as many are restored at once: a run that is cut off loses the
/// work on one cell.
const CELL_IMAGES: usize = 20;

/// Samples in a mean of the paper's Table 5.
const PAPER_MEAN_OF: usize = 10;

/// A cell of the experiment: a method on some images of a problem.
#[derive(Debug)]
struct Cell {
    problem: usize,
    method: Method,
    images: Range<usize>,
    name: String,
    key: Value,
    /// Whether it is in the store.
    is_stored: bool,
    /// None of one that is not computed, and of a share.
    restoration: Option<Restored>,
    /// Why there is no restoration, where a chain left the finite numbers.
    diverged: Option<String>,
}

/// A prepared run: everything is read and checked.
#[derive(Debug)]
pub struct Run<'a> {
    request: &'a Request,
    listener: &'a dyn Listener,
    profile: Profile,
    config: Config,
    device: Device,
    precision: Precision,
    environment: Environment,
    plan: Plan,
    judge: Judge,
    networks: Vec<(String, Network)>,
    losses: BTreeMap<String, Vec<Loss>>,
    problems: Vec<Problem>,
    /// The seed of the split at hand.
    seed: u64,
    /// The prior of the linear estimates, where images are small enough for them.
    prior: Option<GaussianPrior>,
    cells: Cells,
}

impl<'a> Run<'a> {
    /// Reads and checks everything, and makes the folder `out`.
    ///
    /// # Errors
    /// [`InvalidRequest`]; input that is missing or damaged, and output that cannot be written.
    pub fn prepare(
        request: &'a Request,
        (device, asked): (Device, AskedPrecision),
        out: &Path,
        listener: &'a dyn Listener,
    ) -> Result<Self> {
        let Chosen { profile, folder, mut plan } = request.choose()?;
        let experiment = request.experiment;
        if let Some(path) = request.constants.as_ref().filter(|path| !path.is_file()) {
            let message = format!("--constants {}: there is no such file", path.display());
            return Err(InvalidRequest(message).into());
        }
        let committed = dataset::networks(&request.dataset);
        let set = dataset::load(&request.dataset, request.split, request.data.as_deref())?;
        let is_linear = |method: &Method| matches!(method, Method::Wiener | Method::LinearMmse);
        let moments = dataset::moments(&request.dataset, request.data.as_deref());
        let asks_linear = plan.methods.iter().any(is_linear);
        // What was asked for by name, or is checked, fails without them.
        let is_asked = !request.methods.is_empty() || !profile.report;
        if asks_linear && !is_asked && !moments.iter().any(|path| path.is_file()) {
            plan.leave_out(is_linear);
            if set.shape().len() <= moments::LARGEST {
                listener.note(&format!(
                    "the rows of linear estimates are left out: there are no moments of the training images, which \
                     `eps experiment moments --dataset {}` computes",
                    request.dataset
                ));
            }
        }
        let prior = if plan.methods.iter().any(is_linear) {
            let prior = moments::load(&moments, set.shape())?;
            check_moments(&prior, request, listener)?;
            Some(prior)
        } else {
            None
        };
        if request.prior.is_some()
            && !plan.networks().iter().any(|(_, used, _)| *used == NetworkUse::Prior)
        {
            let message = "--prior: none of the methods asks a prior: leave the flag out";
            return Err(InvalidRequest(message.to_owned()).into());
        }
        let mut files = Vec::new();
        for (name, network_use, _) in plan.networks() {
            files.push(match (network_use, &request.prior) {
                (NetworkUse::Prior, Some(path)) => networks::at(path, &name)?,
                // There it is the start of the trainings.
                (NetworkUse::Prior, None) if experiment == Experiment::WarmStart => {
                    networks::find(&committed, &name)?
                }
                (NetworkUse::Prior, None) if !experiment.variants().is_empty() => {
                    networks::find_prior(&committed)?
                }
                (NetworkUse::Prior, None) => networks::find_prior(&folder)?,
                _ => networks::find(&folder, &name)?,
            });
        }
        let precision = networks::precision(asked, device, &files, listener)?;
        let mut loaded = Vec::new();
        for ((name, network_use, tasks), file) in plan.networks().into_iter().zip(&mut files) {
            let question =
                Asked { network_use, tasks: &tasks, dataset: &request.dataset, set: &set };
            loaded.push((name, networks::load(file, question, device, precision, listener)?));
        }
        let losses = networks::losses(&folder, loaded.iter().map(|(name, _)| name))?;
        let constants_file =
            request.constants.clone().unwrap_or_else(|| dataset::constants(&request.dataset));
        let images = test_images(profile.images, set.len())?;
        let seed = seed_of(request.split, request.seed);
        let problems = plan
            .settings
            .iter()
            .map(|setting| Problem::draw(*setting, &set, &images, seed))
            .collect::<Result<Vec<_>>>()?;
        let features = features(profile.report, request.inception.as_deref(), device, listener)?;
        let batch = request.batch.unwrap_or(match (experiment, device) {
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
            dataset: data_set(set.provenance()),
            settings: plan.settings.clone(),
            seed: request.seed,
            samples: profile.samples,
            solver: SOLVER,
            schedule: Schedule::karras(),
            methods: plan.methods.clone(),
            in_table: plan.in_table,
            other_precisions: vec![],
            constants: constants_of(&plan, &Constants::read(&constants_file)?),
            batch,
            precision,
            moments: prior.as_ref().map(|prior| prior.sha256.clone()),
            features: features.files.into_iter().map(feature_file).collect(),
            networks: files,
            images,
        };
        let judge = Judge { ensembles: profile.report, networks: features.networks };
        let environment = environment::record(device);
        check_folder(out, experiment.name())?;
        make_folder(out)?;
        let cells = Cells::open(
            out.join(FOLDER),
            set.shape(),
            set.provenance().clone(),
            request.keep_samples,
        )?;
        Ok(Self {
            request,
            listener,
            profile,
            config,
            device,
            precision,
            environment,
            plan,
            judge,
            networks: loaded,
            losses,
            problems,
            seed,
            prior,
            cells,
        })
    }

    /// All cells, with the restorations of those that are stored.
    ///
    /// With `keeps` their samples are read where they are stored.
    fn plan_cells(&self, keeps: bool) -> Result<Vec<Cell>> {
        let program = std::env::current_exe().map_err(ExperimentError::Program)?;
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
                    let is_stored = restoration.is_some();
                    let restoration = restoration.filter(|_| keeps);
                    cells.push(Cell {
                        problem: index,
                        method: *method,
                        images,
                        name,
                        key,
                        is_stored,
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
        let is_timed = self.config.experiment == Experiment::Runtime;
        json!({
            PROGRAM: program,
            "precision": self.config.precision,
            // Not which GPU of a machine it was.
            "device": self.environment.device.split(':').next(),
            // Times depend on it, samples do not.
            "threads": is_timed.then_some(self.environment.threads),
            "dataset": [&self.config.dataset.sha256, &self.config.dataset.name],
            "setting": problem.setting,
            "seed": self.seed,
            "images": problem.images[images],
            "method": method,
            "constant": constant(&self.config, method, task),
            "samples": self.config.samples,
            "batch": self.config.batch,
            "solver": self.config.solver,
            "schedule": self.config.schedule,
            "learnt": learnt,
        })
    }

    /// Computes what is not stored yet, problem by problem, and scores everything.
    ///
    /// # Errors
    /// Those of the samplers but for chains that leave the finite numbers, and cells that cannot be written.
    pub fn compute(&self) -> Result<RunOutcome> {
        let mut cells = self.plan_cells(true)?;
        self.fill(&mut cells, |_| true, true)?;
        let seconds = cells.iter().flat_map(|cell| &cell.restoration).map(|r| r.seconds).sum();
        let training = self.training();
        // Features are computed by one thread, so that scores are to the bit those of any number.
        let threads = tch::get_num_threads();
        tch::set_num_threads(1);
        let scored = self.score(cells, training.as_ref());
        tch::set_num_threads(threads);
        let (tasks, settings) = scored?.into_iter().unzip();
        let overhead = match self.config.experiment {
            Experiment::Runtime => {
                let (precision, runs) = (self.precision, self.profile.runs);
                Some(measure_overhead(self.device, precision, runs)?)
            }
            _ => None,
        };
        let (config, environment) = (self.config.clone(), self.environment.clone());
        let results = Results::new(config, environment, seconds, overhead, tasks);
        Ok(RunOutcome { results, settings, losses: self.losses.clone() })
    }

    /// The precision that its networks compute in.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Everything that the samples depend on: what processes that share a run must have in common.
    #[must_use]
    pub fn settings(&self) -> Value {
        json!(self.config)
    }

    /// Writes `config.json` into the folder `out` of [`Run::prepare`].
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_config(&self, out: &Path) -> Result<()> {
        let resolved = json!({"config": self.config, "environment": self.environment});
        write_json(&out.join("config.json"), &resolved)
    }

    /// Computes what is not stored yet of one share of the cells, and returns how many of all cells are stored then.
    ///
    /// Other processes may compute other shares in the same folder at the same time.
    ///
    /// # Errors
    /// As [`Run::compute`]; the experiment `runtime`, which measures one machine.
    pub fn compute_shard(&self, shard: Shard) -> Result<(usize, usize)> {
        if self.config.experiment == Experiment::Runtime {
            let message = "--shard: the experiment runtime measures one machine: leave it out";
            return Err(InvalidRequest(message.to_owned()).into());
        }
        // Samples are needed where they are scored alone.
        let mut cells = self.plan_cells(false)?;
        self.fill(&mut cells, |cell| shard.holds(cell), false)?;
        let stored = cells.iter().filter(|cell| cell.is_stored).count();
        Ok((stored, cells.len()))
    }

    /// Computes those of the cells that are asked for, by their numbers, and not stored, several batches at once, and
    /// stores each as soon as it is whole; with `keeps` its samples stay in memory too.
    fn fill(
        &self,
        cells: &mut [Cell],
        is_asked: impl Fn(usize) -> bool,
        keeps: bool,
    ) -> Result<()> {
        let (batch, samples) = (self.config.batch, self.config.samples);
        let steps = |cell: &Cell| progress_steps(cell.method, batch, cell.images.len(), samples);
        let asked: Vec<usize> =
            (0..cells.len()).filter(|cell| !cells[*cell].is_stored && is_asked(*cell)).collect();
        let missing = asked.iter().map(|cell| steps(&cells[*cell]));
        let listener = self.listener;
        listener.begin(missing.sum(), "network passes");
        let drawing = Drawing {
            config: &self.config,
            problems: &self.problems,
            prior: self.prior.as_ref(),
            seed: self.seed,
            device: self.device,
            listener,
        };
        let pieces: Vec<Piece> =
            asked.iter().flat_map(|cell| drawing.pieces(*cell, &cells[*cell])).collect();
        let (workers, inside) = match self.config.experiment {
            // One sample at a time is what it is about.
            Experiment::Runtime => (1, threads()),
            _ => {
                let calls = self.calls(asked.iter().map(|cell| &cells[*cell]));
                workers_on(self.device, threads_that_fit(self.device, &calls)?)
            }
        };
        let mut workers = (0..workers.min(pieces.len()))
            .map(|_| Worker::new(&self.networks))
            .collect::<Result<Vec<_>>>()?;
        let lost = Mutex::new(Vec::new());
        let mut drawn: Vec<Vec<Drawn>> = cells.iter().map(|_| Vec::new()).collect();
        let (planned, mut whole) = (&*cells, Vec::new());
        let work = |worker: &mut Worker, number: usize, stop: &Stop| {
            let Piece { cell, items, .. } = &pieces[number];
            let cell = &planned[*cell];
            listener.start(&drawing.what(cell));
            drawing.draw(worker, cell, items, (number, &lost), stop)
        };
        let keep = |number: usize, piece: Drawn| -> Result<()> {
            let Piece { cell: index, place, of, ref items } = pieces[number];
            let (cell, found) = (&planned[index], &mut drawn[index]);
            let per_image = if items.is_some() { samples } else { 1 };
            found.push(Drawn { place, ..piece });
            if found.len() < of {
                return Ok(());
            }
            found.sort_by_key(|piece| piece.place);
            let restoration = match found.iter().position(|piece| piece.batch.is_err()) {
                Some(first) => Err(found.swap_remove(first).batch.err().flatten()),
                None => Ok(join(found.drain(..).flat_map(|piece| piece.batch), per_image)?),
            };
            if let Ok(restoration) = &restoration {
                self.cells.store(&cell.name, cell.key.clone(), restoration)?;
            }
            whole.push((index, restoration.map(|restoration| keeps.then_some(restoration))));
            listener.done(&drawing.what(cell));
            Ok(())
        };
        spread(&mut workers, inside, pieces.len(), work, keep)?;
        listener.finish();
        whole.sort_by_key(|(index, _)| *index);
        let mut told = Vec::new();
        for (index, restoration) in whole {
            let cell = &mut cells[index];
            match restoration {
                Ok(restoration) => (cell.is_stored, cell.restoration) = (true, restoration),
                // With one chain gone the method has no scores there: the first tells why.
                Err(Some(reason)) if !told.contains(&(cell.problem, cell.method)) => {
                    told.push((cell.problem, cell.method));
                    cell.diverged = Some(reason);
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The network calls of some cells.
    fn calls<'c>(&self, cells: impl Iterator<Item = &'c Cell>) -> Calls<'_> {
        let mut asked: BTreeMap<String, bool> = BTreeMap::new();
        for cell in cells {
            let task = self.problems[cell.problem].setting.task;
            if let Some((name, _)) = cell.method.network(task) {
                *asked.entry(name).or_default() |= passes_a_call(cell.method) > 1;
            }
        }
        let networks = self.networks.iter();
        Calls {
            networks: networks.filter_map(|(name, of)| Some((of, *asked.get(name)?))).collect(),
            shape: self.problems[0].set.shape(),
            precision: self.precision,
            batch: self.config.batch,
        }
    }

    /// The training images, to look for neighbours of samples, in the paper's comparison.
    fn training(&self) -> Option<ImageSet> {
        if self.config.experiment != Experiment::Main || !self.profile.report {
            return None;
        }
        let (name, folder) = (&self.request.dataset, self.request.data.as_deref());
        let loaded = dataset::load(name, Split::Train, folder).map_err(ExperimentError::from);
        if let Err(error) = &loaded {
            self.listener.note(&format!("no nearest training images are shown: {}", error.chain()));
        }
        loaded.ok()
    }

    /// Joins the cells of each problem and method, and scores them.
    fn score(
        &self,
        cells: Vec<Cell>,
        training: Option<&ImageSet>,
    ) -> Result<Vec<(TaskResults, Computed)>> {
        let mut restorations: Vec<Vec<(Method, Restored)>> =
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
                    row.of_images.insert(Metric::SecondsACall, seconds.clone());
                }
            }
            // The claims are about the tasks as the networks were trained for them.
            let usual = problem.setting == Setting::of(problem.setting.task);
            let margins = if usual { margins(&rows) } else { vec![] };
            let calibration = match self.config.experiment {
                Experiment::Calibration => calibrations(problem, &restorations)?,
                _ => vec![],
            };
            let found = training.and_then(|training| {
                let is_eps = |(method, _): &&(Method, Restored)| {
                    matches!(method, Method::Eps { calls, .. } if *calls > 1)
                };
                let (method, restoration) = restorations.iter().find(is_eps)?;
                Some(find_neighbours(*method, problem, restoration, training))
            });
            let (neighbours, neighbour_images) = found.unzip();
            let diverged = diverged.into_iter().map(|(method, reason)| Diverged {
                label: method.label(),
                cell: method.slug(),
                reason,
            });
            let results = TaskResults {
                setting: problem.setting,
                name: problem.setting.name(),
                table: rows,
                curve,
                calibration,
                margins,
                neighbours,
                diverged: diverged.collect(),
            };
            let computed =
                Computed { problem: problem.clone(), restorations, neighbours: neighbour_images };
            tasks.push((results, computed));
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
        restorations: &[(Method, Restored)],
    ) -> Result<(Vec<Row>, Vec<Row>)> {
        let (shape, truth) = (problem.set.shape(), problem.truth());
        let (mut rows, mut curve) = (Vec::new(), Vec::new());
        let scored = |row: Row| Row { sources: problem.sources.clone(), ..row };
        for (method, restoration) in restorations {
            let in_table = self.plan.methods[..self.plan.in_table].contains(method);
            let rows = if in_table { &mut rows } else { &mut curve };
            rows.push(scored(score_samples(*method, truth, restoration, shape, &self.judge)?));
            // The mean of one-call estimates is a point of the curve alone.
            let rows = if method.calls() > 1 { rows } else { &mut curve };
            for count in means(self.config.experiment, restoration.per_image) {
                let first = restoration.first(count, shape.len());
                rows.push(scored(score_means(*method, truth, &first, shape, &self.judge)?));
            }
        }
        Ok((rows, curve))
    }
}

/// Refuses moments of other images than the training images of a request's data set, where these are at hand in its file.
fn check_moments(prior: &GaussianPrior, request: &Request, listener: &dyn Listener) -> Result<()> {
    if prior.images_sha256.is_empty() {
        listener.note(
            "the moments of the training images do not say which images they are of: if it is not these, make them again with \
             `eps experiment moments`",
        );
        return Ok(());
    }
    // The linear estimate needs the moments alone: the training images may be elsewhere.
    let training = dataset::digest(&request.dataset, Split::Train, request.data.as_deref());
    training.map_or(Ok(()), |needed| prior.check_images(needed))
}

/// A piece of work: a batch of a cell, or a cell without a network.
#[derive(Debug)]
struct Piece {
    /// The number of the cell.
    cell: usize,
    /// The number of the batch in it.
    place: usize,
    /// How many batches it has.
    of: usize,
    /// None where no network is asked.
    items: Option<Vec<Item>>,
}

/// What became of a piece.
#[derive(Debug)]
struct Drawn {
    /// The number of the batch in its cell.
    place: usize,
    /// Why there is none, where one of its chains left the finite numbers; nothing where a chain before it did.
    batch: Result<Restored, Option<String>>,
}

/// A thread's own networks by name, and which of them was asked before.
#[derive(Debug)]
struct Worker {
    networks: Vec<(String, Network)>,
    warm: String,
}

impl Worker {
    fn new(networks: &[(String, Network)]) -> Result<Self> {
        let networks = networks
            .iter()
            .map(|(name, network)| Ok((name.clone(), network.another()?)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { networks, warm: String::new() })
    }
}

/// Settings and methods of which a chain was lost, with the number of its piece.
type Lost = Mutex<Vec<(usize, Method, usize)>>;

/// What all threads of a run share.
#[derive(Debug)]
struct Drawing<'a> {
    config: &'a Config,
    problems: &'a [Problem],
    prior: Option<&'a GaussianPrior>,
    seed: u64,
    device: Device,
    listener: &'a dyn Listener,
}

impl Drawing<'_> {
    /// The setting and the method of a cell, for messages.
    fn what(&self, cell: &Cell) -> String {
        format!("{}: {}", self.problems[cell.problem].setting.name(), cell.method.label())
    }

    fn sampler(&self, cell: &Cell) -> Sampler<'_> {
        let task = self.problems[cell.problem].setting.task;
        Sampler {
            method: cell.method,
            constant: constant(self.config, cell.method, task).unwrap_or_default(),
            schedule: &self.config.schedule,
            seed: self.seed,
            samples: self.config.samples,
            batch: self.config.batch,
            device: self.device,
            listener: self.listener,
        }
    }

    /// The pieces of a cell.
    fn pieces(&self, number: usize, cell: &Cell) -> Vec<Piece> {
        let task = self.problems[cell.problem].setting.task;
        let batches: Vec<Option<Vec<Item>>> = match cell.method.network(task) {
            Some(_) => {
                self.sampler(cell).batches(cell.images.clone()).into_iter().map(Some).collect()
            }
            None => vec![None],
        };
        let of = batches.len();
        let piece = |(place, items)| Piece { cell: number, place, of, items };
        batches.into_iter().enumerate().map(piece).collect()
    }

    /// Computes a piece, of a number in the order of all; that of a method which lost a chain before it is passed over.
    fn draw(
        &self,
        worker: &mut Worker,
        cell: &Cell,
        items: &Option<Vec<Item>>,
        (number, lost): (usize, &Lost),
        stop: &Stop,
    ) -> Result<Drawn> {
        let problem = &self.problems[cell.problem];
        let known = || lost.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of = |(problem, method, before): &(usize, Method, usize)| {
            (*problem, *method) == (cell.problem, cell.method) && *before < number
        };
        if known().iter().any(is_of) {
            let count = items.as_ref().map_or(1, Vec::len);
            self.listener.advance(progress_steps(cell.method, count, 1, count));
            return Ok(Drawn { place: 0, batch: Err(None) });
        }
        let drawn = match items {
            Some(items) => self.ask(worker, problem, cell, items, stop),
            None => self.estimate(problem, cell),
        };
        let batch = match drawn.during(|| self.what(cell)) {
            Ok(drawn) => Ok(drawn),
            Err(error) if error.is_divergence() => {
                known().push((cell.problem, cell.method, number));
                Err(Some(error.chain()))
            }
            Err(error) => return Err(error),
        };
        Ok(Drawn { place: 0, batch })
    }

    /// The samples of a batch.
    fn ask(
        &self,
        worker: &mut Worker,
        problem: &Problem,
        cell: &Cell,
        items: &[Item],
        stop: &Stop,
    ) -> Result<Restored> {
        let name = cell.method.network(problem.setting.task).map(|(name, _)| name);
        let name = name.ok_or_else(|| ExperimentError::DrawsNothing(cell.method.label()))?;
        let found = worker.networks.iter().find(|(found, _)| *found == name);
        let (_, network) = found.ok_or_else(|| ExperimentError::NotRead(name.clone()))?;
        let sampler = self.sampler(cell);
        if worker.warm != name {
            sampler.warm_up(network, problem, items)?;
            worker.warm = name;
        }
        sampler.draw(network, problem, items, stop)
    }

    /// The estimates of a cell that no network makes.
    fn estimate(&self, problem: &Problem, cell: &Cell) -> Result<Restored> {
        let images = cell.images.clone();
        match (cell.method, self.prior) {
            (Method::Wiener, Some(prior)) => Ok(wiener(problem, images, prior)),
            (Method::LinearMmse, Some(prior)) => linear_mmse(problem, images, prior, self.listener),
            _ => Ok(pseudo_inverse(problem, images)),
        }
    }
}

/// The constant of a contender for a task.
fn constant(config: &Config, method: Method, task: Task) -> Option<f64> {
    let Method::Contender { contender, .. } = method else {
        return None;
    };
    let of = |known: &&Constant| (known.contender, known.task) == (contender, task);
    config.constants.iter().find(of).map(|constant| constant.value)
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
    restorations: &[(Method, Restored)],
) -> Result<Vec<Calibration>> {
    let of = |(method, restoration): &(Method, Restored)| {
        calibration_of(*method, problem, restoration).transpose()
    };
    restorations.iter().filter_map(of).collect()
}

/// AlexNet, for LPIPS and distances between features, where it has been fetched, and the FID network where
/// a file is named.
fn features(
    wanted: bool,
    inception: Option<&Path>,
    device: Device,
    listener: &dyn Listener,
) -> Result<FeatureNetworks> {
    if !wanted {
        return Ok(FeatureNetworks::none("the profile scores pixels alone"));
    }
    let mut networks = feature_networks::load(None, &[Backbone::Alex], device)?;
    if let Some(reason) = &networks.left_out {
        listener.note(reason);
    }
    if let Some(path) = inception {
        networks.add_inception(path, device)?;
    }
    Ok(networks)
}

/// The constants of the contenders of a plan.
fn constants_of(plan: &Plan, tuned: &Constants) -> Vec<Constant> {
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
                symbol: tunable(contender, task).symbol.to_owned(),
                value: constants::value(tuned, contender, task),
                tuned: tuned.find(contender, task).is_some(),
            });
        }
    }
    constants
}

/// The data set of a provenance.
pub(crate) fn data_set(provenance: &ImageProvenance) -> DataSet {
    let ImageProvenance { name, source, licence, sha256 } = provenance.clone();
    DataSet { name, source, licence, sha256 }
}

/// The record of a file of features.
fn feature_file(file: feature_networks::FeatureNetworkFile) -> FeatureFile {
    FeatureFile { sha256: file.sha256, source: file.source }
}

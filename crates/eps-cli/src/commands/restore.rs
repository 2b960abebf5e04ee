//! `eps restore`: posterior samples of what was measured.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use eps_cluster::{Group, agree, facts_of};
use eps_data::array_file::is_picture;
use eps_data::hdf5_file::hdf5_format;
use eps_data::npy::{NpyValues, write_npy};
use eps_data::png::{Picture, write_png};
use eps_data::{Array, MeasurementSet, PictureLike, SampleArchive, Unit};
use eps_files::{
    FilesError, Former, Hasher, OutputFolder, PartFile, Unfinished, sha256_file, write_bytes,
};
use eps_math::operator::{Border, LinearMap as _, Operator, PreparedOperator};
use eps_math::rng::Stream;
use eps_math::{Noise, Shape};
use eps_model::{Precision, device_name};
use eps_sample::Solver;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tch::Device;

use super::measure::file_provenance;
use crate::chain::chain;
use crate::flags::{
    self, BorderFlag, GivenOperator, NetworkFlags, NoiseFlags, OperatorFlags, UnitFlag, UsageError,
    check_channels_first, count_to, note_if_slow, side,
};
use crate::progress::WITH_BACKWARD;
use crate::restoration_page::{ImageOnPage, PictureOnPage, RestorationPage, residual_sentence};
use crate::together::{Processes, device_of};
use crate::{progress, sample_range, sampling_cost};
use eps::contender::{
    Contender, Contending, annealing, beginning_note, differentiates, nearest_calls, nearest_task,
    tunable, usual_calls,
};
use eps::format::number;
use eps::intervals::{IntervalCalibration, Intervals, LEAST_SAMPLES, ValueKind};
use eps::measurement::{brightness_note, mask_note, range_note};
use eps::residual::{self, Residual, residual_note, residuals};
use eps::restore::{Iterations, Restoration, Settings, batch_of, iterations_note};
use eps::scene::{Scene, wrap_note};
use eps::{Network, dataset, environment, pictures, workers};

/// The version of the configuration that is written with the results.
const FORMAT_VERSION: u32 = 1;

/// The pixels of an image about which the network is asked as a whole, unless a flag says otherwise.
const WHOLE: usize = 384 * 384;

/// The side of the windows of larger ones.
const WINDOW: usize = 256;

/// Results in the instrument's unit: samples, mean and standard deviation.
const IN_UNIT: [&str; 3] = ["samples.npy", "mean.npy", "standard-deviation.npy"];

/// How many samples of an image a mosaic shows.
const MOSAIC_SAMPLES: usize = 8;

/// How many images the mosaic of all shows.
const MOSAIC_IMAGES: usize = 16;

/// Draw samples of the images behind a measurement.
///
/// The measurement is taken as it is: nothing is added to it (`eps measure` makes one from a clean
/// image). Writes a folder with samples.h5 (samples, posterior mean and standard deviation),
/// one_call.h5 (the posterior mean by a single network call), config.json, mosaic.png, page.html (to be opened in a
/// browser) and a folder of pictures for every image, from 19 samples on with the ends of 90 % intervals: those of the samples
/// and, where the network's were calibrated (`eps model calibrate`), the calibrated ones. Of a picture it also holds the
/// mean and a sample in the picture's own format, with its bits and its transparency. The same seed gives the same samples: to the last bit whatever --threads, and up to the
/// rounding of the network whatever --batch.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What was measured: the HDF5 file of `eps measure`, which brings operator and sigma_y; or,
    /// with flags for both, a picture (PNG, TIFF, BMP; 0..255 is [-1, 1]) or an array [h, w], [C, h, w] or [N, C, h, w]
    /// in NPY or HDF5 (dataset `y`)
    #[arg(long, value_name = "FILE")]
    measurement: PathBuf,
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(flatten)]
    border: BorderFlag,
    /// Keep the whole scene of --border valid, and not only the part that the picture shows
    #[arg(long)]
    keep_scene: bool,
    /// The shape of the images, where neither y nor the operator tells it, as of a nonuniform Fourier transform [default:
    /// that of the network's images]
    #[arg(long, value_name = "C,H,W", value_parser = flags::shape)]
    shape: Option<Shape>,
    #[command(flatten)]
    noise: NoiseFlags,
    #[command(flatten)]
    unit: UnitFlag,
    /// The network, as `eps train` or `eps import` writes it; or a prior of any origin, by the description
    /// of its TorchScript module (docs/priors.md)
    #[arg(long, value_name = "NET.safetensors|PRIOR.json")]
    network: PathBuf,
    /// The class of the images, from 0 on, for a network that knows classes [default: none]
    #[arg(long, value_name = "K")]
    class: Option<usize>,
    /// Samples of each image, from 1 to 100000
    #[arg(long, value_name = "J", default_value = "8", value_parser = count_to::<100_000>)]
    samples: usize,
    /// A training-free method in the place of EPS, on a prior (a network that was trained for denoising alone)
    #[arg(long, value_name = "METHOD", value_parser = flags::contender(),
        conflicts_with_all = ["sampler", "eta", "rho", "sigma_min"])]
    method: Option<Contender>,
    /// The constant of --method [default: the one that was published for the nearest of the paper's tasks, which is printed]
    #[arg(long, value_name = "X", requires = "method", value_parser = constant, allow_negative_numbers = true)]
    constant: Option<f64>,
    /// Network calls for a sample (NFE), from 1 to 100000; odd for heun [default: 20, for heun 19, for --method the
    /// published number]
    #[arg(long, value_name = "NFE", value_parser = count_to::<100_000>)]
    calls: Option<usize>,
    /// The solver
    #[arg(long, value_enum, default_value = "euler")]
    sampler: Sampler,
    /// The randomness of ddim, from 0 (none: the same as euler) to 1 (as in DDPM) [default: 1]
    #[arg(long, value_name = "ETA", value_parser = eta, allow_negative_numbers = true)]
    eta: Option<f64>,
    /// Where the steps lie between the noise levels: uniform in sigma^(1/rho), a number, or "inf" for uniform in ln(sigma)
    /// [default: 7, for multistep inf]
    #[arg(long, value_name = "RHO", value_parser = rho, allow_negative_numbers = true)]
    rho: Option<f64>,
    /// The last noise level before 0 [default: the lowest that the network was trained for, for multistep 0.02]
    #[arg(long, value_name = "SIGMA", value_parser = sigma_min, allow_negative_numbers = true)]
    sigma_min: Option<f64>,
    /// The seed of the samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    network_flags: NetworkFlags,
    /// Samples in one network call, from 1 to 65536; fewer take less memory [default: on the CPU 1 to 16, so that all
    /// cores have work; on a GPU 64]
    #[arg(long, value_name = "B", value_parser = count_to::<65_536>)]
    batch: Option<usize>,
    /// Ask the network in overlapping windows of this side, a multiple of the network's, about larger images [default: whole
    /// images up to 384 x 384 pixels, windows of 256 beyond; or what --memory allows]
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    window: Option<usize>,
    /// What the activations of all network calls at once may take, such as 500MB or 2GB: larger images are asked about in
    /// windows that fit
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    memory: Option<u64>,
    /// The folder to be made
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Replace the folder if it holds the results of an earlier run
    #[arg(long)]
    force: bool,
}

/// A size in bytes: a whole number of KB, MB or GB.
fn memory_size(text: &str) -> Result<u64, String> {
    let upper = text.trim().to_uppercase();
    let digits = upper.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: Option<u64> = match &upper[digits.len()..] {
        "KB" => Some(1 << 10),
        "MB" => Some(1 << 20),
        "GB" => Some(1 << 30),
        _ => None,
    };
    let bytes =
        unit.zip(digits.trim().parse::<u64>().ok()).and_then(|(unit, n)| n.checked_mul(unit));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "it must be a size such as 500MB or 2GB".to_owned())
}

/// The solvers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sampler {
    /// EDM's deterministic sampler of first order
    Euler,
    /// EDM's deterministic sampler of second order
    Heun,
    /// DDIM(eta)
    Ddim,
    /// The multistep solver of second order, DPM-Solver++(2M): for 8 to 10 calls
    Multistep,
}

fn eta(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from 0 to 1".to_owned()),
    }
}

fn constant(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        _ => Err("it must be a number, 0 or above".to_owned()),
    }
}

fn rho(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 => Ok(value),
        _ => Err("it must be a positive number, or inf".to_owned()),
    }
}

fn sigma_min(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("it must be a positive number".to_owned()),
    }
}

impl Arguments {
    /// The network as it is asked, and the side of its windows.
    fn in_windows(
        &self,
        network: Network,
        shape: Shape,
        settings: &Settings,
        precision: Precision,
    ) -> Result<(Network, Option<usize>)> {
        let on_cpu = settings.device == Device::Cpu;
        let workers = workers::workers_on(settings.device, settings.threads).0;
        let side = match (self.window, self.memory) {
            (Some(side), _) => Some(side),
            (None, Some(bytes)) => {
                let chosen = || batch_of(shape, settings.samples, settings.device);
                let batch = settings.batch.unwrap_or_else(chosen);
                network.window_side(shape, batch, precision, bytes / workers as u64)?
            }
            (None, None) if shape.plane() > WHOLE && network.size_multiple() > 1 => {
                Some(WINDOW.next_multiple_of(network.size_multiple()))
            }
            (None, None) => None,
        };
        let Some(side) = side.filter(|side| shape.height.max(shape.width) > *side) else {
            return Ok((network, None));
        };
        let network = network.in_windows(side, if on_cpu { 1 } else { 16 })?;
        eprintln!(
            "note: the network is asked in overlapping windows of {side} x {side} pixels, which move from step to step"
        );
        Ok((network, Some(side)))
    }

    /// What becomes of a folder that is in the place of the results.
    fn former(&self) -> Former {
        if self.force { Former::Replaced(is_restoration) } else { Former::Stays }
    }

    /// Checks everything, samples, and writes the results.
    pub(crate) fn run(&self, processes: &Processes) -> Result<()> {
        let group = processes.group()?;
        let solver = self.solver()?;
        let calls = match (self.calls, self.method) {
            (Some(calls), Some(method)) => nearest_calls(method, calls),
            (Some(calls), None) => calls,
            (None, Some(method)) => usual_calls(method),
            (None, None) if self.sampler == Sampler::Heun => 19,
            (None, None) => 20,
        };
        if self.method.is_none() {
            solver.steps(calls).map_err(|error| UsageError(format!("--calls {calls}: {error}")))?;
        }
        self.border.check(&self.operator)?;
        let out = || format!("--out {}", self.out.display());
        check_utf8(&self.out)?;
        // One process writes; the others send it what they draw.
        let mut output = None;
        if group.rank() == 0 {
            let folder = OutputFolder::plan(&self.out, self.former()).with_context(out)?;
            output = Some((folder, Unfinished::claim(&self.out).with_context(out)?));
        }
        let (device, precision) = self.network_flags.apply()?;
        let device = device_of(group, device);
        let network = Network::load(&self.network, self.class, device, precision)?;
        let calibration = IntervalCalibration::beside(&self.network)?;
        let schedule = solver.schedule(network.schedule()).with(self.rho, self.sigma_min);
        if let Err(error) = schedule.validate() {
            return Err(UsageError(format!("the grid of noise levels: {error}")).into());
        }
        let Measured { set, scene, notes: of_borders } = self.measurement(&network)?;
        if self.keep_scene && scene.is_none() {
            bail!(UsageError(
                "--keep-scene: this measurement is no part of a larger scene, as with --kernel and --border valid: leave it out"
                    .to_owned()
            ));
        }
        let (samples, seed, batch, class) = (self.samples, self.seed, self.batch, self.class);
        let contender = self.method.map(|contender| {
            let tunable = tunable(contender, nearest_task(set.operator(0)));
            Contending { contender, constant: self.constant.unwrap_or(tunable.start) }
        });
        let settings = Settings {
            solver,
            schedule: Some(schedule),
            contender,
            calls,
            samples,
            seed,
            batch,
            threads: workers::threads(),
            class,
            device,
        };
        let (network, window) = self.in_windows(network, set.shape(), &settings, precision)?;
        let cannot = || format!("{} cannot be restored", self.measurement.display());
        let all = Restoration::new(&network, &set, &settings).with_context(cannot)?;
        let one = Settings {
            solver: Solver::Euler,
            schedule: None,
            contender: None,
            calls: 1,
            samples: 1,
            ..settings.clone()
        };
        let one_call = Restoration::new(&network, &set, &one).with_context(cannot)?;

        let mut notes = network.notes(&set, self.class);
        notes.extend((0..set.len()).find_map(|index| brightness_note(&set, index)));
        notes.extend(mask_note(&set).or_else(|| range_note(&set)));
        notes.extend(self.noise.note());
        notes.extend(missing_note(&set));
        notes.extend(of_borders);
        notes.extend(self.method.and_then(|contender| {
            let annealing = annealing(nearest_task(set.operator(0)));
            beginning_note(contender, annealing, network.sigmas().1)
        }));
        for note in &notes {
            eprintln!("note: {note}");
        }
        let backward = self.method.is_some_and(differentiates);
        let cost = |shape| network.call_cost(shape, precision, backward);
        // In windows a call holds one at a time.
        let at_a_time =
            window.map_or(set.shape(), |side| Shape { height: side, width: side, ..set.shape() });
        if device == Device::Cpu
            && let Some((operations, _)) = cost(set.shape())?
            && let Some((_, bytes)) = cost(at_a_time)?
        {
            let passes = all.calls() as f64 * if backward { WITH_BACKWARD as f64 } else { 1.0 };
            let images = if window.is_some() { 1 } else { all.batch() };
            let workers = workers::workers_on(device, settings.threads).0.min(all.batches());
            if let Some(note) = sampling_cost::note(
                operations * passes * all.batch() as f64,
                bytes.saturating_mul((images * workers) as u64),
                network.weight_bytes(precision, workers),
                settings.threads,
                precision,
            ) {
                eprintln!("note: {note}");
            }
        }
        let conditioning = network.conditioning();
        // Before the work: the files are those that have been read.
        let config = json!({
            "format_version": FORMAT_VERSION,
            "measurement": {
                "file": self.measurement.display().to_string(),
                "sha256": sha256_file(&self.measurement)?,
                "images": set.len(),
                "shape": set.shape(),
                "sigma_y": set.sigma_y(),
                "unit": set.unit(),
                "seed": set.seed(),
                "provenance": set.provenance(),
            },
            "network": network.record(&self.network)?,
            "class": self.class,
            "method": conditioning,
            "contender": contender,
            "solver": solver,
            "schedule": schedule,
            "calls": calls,
            "samples": self.samples,
            "seed": self.seed,
            "precision": precision,
            "batch": all.batch(),
            "window": window,
            "pictures": {
                "images": "black is -1, white is 1",
                "standard deviations": format!("black is 0, white is {} and above", pictures::SD_WHITE),
            },
            "notes": notes,
            "environment": environment::record(device),
        });
        let scene = scene.filter(|_| !self.keep_scene);
        let decisive = decisive(&config);
        let key = key(&decisive, &set)?;
        let mut facts = facts_of(&decisive);
        facts.push(("a measurement of SHA-256".to_owned(), key.clone()));
        agree(group, &facts)?;
        let Some((folder, mut unfinished)) = output else {
            for restoration in [&one_call, &all] {
                Shared { group, restoration }.draw(None, "", &ProgressBar::hidden())?;
            }
            return Ok(());
        };
        if unfinished.of_key(&key)? {
            eprintln!("note: what an earlier run of this command has finished is taken from it");
        }
        self.reserve(&unfinished, &set)?;
        let drawn = Restored::draw(group, &all, &one_call, &mut unfinished, config, scene);
        let mut restored = drawn.map_err(|error| self.kept(error, &unfinished))?;
        let as_asked = |found: &IntervalCalibration| {
            self.method.is_none() && found.solver == solver && found.calls == calls
        };
        let told = restored.find_intervals(&set, calibration.as_ref().filter(|c| as_asked(c)))?;
        let (residuals, iterations) = (restored.residuals.clone(), restored.iterations);
        let is_picture = is_picture(&self.measurement) && pictures::showable(set.shape());
        let like = is_picture.then(|| PictureLike::of(&self.measurement)).transpose()?;
        let is_exact = set.sigma_y() == 0.0;
        folder
            .write(|path| restored.write(path, &set, like.as_ref()))
            .map_err(|error| self.kept(error, &unfinished))?;
        unfinished.finish();
        println!("network {:?}: {}", network.name(), network.origin());
        match contender {
            None => println!("method: {conditioning}"),
            Some(Contending { contender, constant }) => {
                let task = nearest_task(set.operator(0));
                let source = match self.constant {
                    Some(_) => "as asked for".to_owned(),
                    None => format!("published for {}; --constant sets another", task.name()),
                };
                let (label, symbol) = (contender.label(), tunable(contender, task).symbol);
                println!("method: {label}, {symbol} = {}, {source}", number(constant));
            }
        }
        println!(
            "{} images, {} samples of each, {calls} network calls a sample in {precision} on {}: {}",
            set.len(),
            self.samples,
            device_name(device),
            self.out.display()
        );
        if let Some(like) = &like {
            let [mean, sample] = LIKE.map(|name| format!("{name}.{}", like.ending()));
            println!(
                "stored as {}: {mean} and {sample} in {}",
                self.measurement.display(),
                folder_of(0)
            );
        }
        if let Some(iterations) = &iterations {
            println!("no eigenbasis is known, so it is iterated: {}", iterations.sentence());
        }
        if let Some(told) = told {
            println!("{told}");
        }
        let mean = |of: fn(&Residual) -> f64| {
            residuals.iter().map(of).sum::<f64>() / residuals.len() as f64
        };
        let (of_samples, of_mean) = (mean(|r| r.samples), mean(|r| r.mean));
        if is_exact {
            println!(
                "residual rms(A x - y): {of_samples:.1e} of the samples, where 0 is right, {of_mean:.1e} of their mean"
            );
        } else {
            println!(
                "residual rms(A x - y)/sigma_y: {of_samples:.3} of the samples, where 1 is right, {of_mean:.3} of their mean"
            );
        }
        Ok(())
    }

    /// Fails, before any work, where the samples do not fit on the disk: their bytes are written and removed again.
    fn reserve(&self, unfinished: &Unfinished, set: &MeasurementSet) -> Result<()> {
        let archive = self.out.join("samples.h5");
        let values = [self.samples, set.shape().len(), size_of::<f32>()].into_iter();
        let bytes =
            values.fold(set.len() as u64, |size, factor| size.saturating_mul(factor as u64));
        let mut part = PartFile::create(&unfinished.folder().join("samples.h5"))?;
        part.fill_with_zeros(bytes).map_err(FilesError::io(&archive, "reserve space for"))?;
        Ok(())
    }

    /// Adds to an error where finished samples are.
    fn kept(&self, error: anyhow::Error, unfinished: &Unfinished) -> anyhow::Error {
        if !unfinished.holds_parts() {
            return error;
        }
        anyhow!(
            "{}; the samples that are finished are kept in {}, and the same command goes on from them",
            chain(&error),
            unfinished.folder().display()
        )
    }

    fn solver(&self) -> Result<Solver> {
        if self.eta.is_some() && self.sampler != Sampler::Ddim {
            return Err(UsageError("--eta belongs to --sampler ddim".to_owned()).into());
        }
        Ok(match self.sampler {
            Sampler::Euler => Solver::Euler,
            Sampler::Heun => Solver::Heun,
            Sampler::Ddim => Solver::Ddim { eta: self.eta.unwrap_or(1.0) },
            Sampler::Multistep => Solver::MULTISTEP,
        })
    }

    /// The measurement with its operators and σ_y, from the file itself or from the flags.
    fn measurement(&self, network: &Network) -> Result<Measured> {
        let path = &self.measurement;
        let given = self.operator.read()?;
        let sigma_y =
            if self.unit.is_given() { self.noise.in_unit() } else { self.noise.sigma_y()? };
        if self.unit.is_given() && is_picture(path) {
            return Err(UsageError(format!(
                "{} is a picture, whose values are put on [-1, 1]: --unit belongs to arrays",
                path.display()
            ))
            .into());
        }
        if dataset::is_hdf5(path) {
            let format = hdf5_format(path)?;
            let is_told = given.is_some() || sigma_y.is_some() || self.unit.is_given();
            match (format.as_deref(), is_told) {
                (None, false) => {
                    read_measurement(path, None)?;
                    return Err(UsageError(format!(
                        "{} is an array that does not tell how it was measured: give --mask, --factor, \
                         --kernel or --operator, and --sigma-y or --sigma-y-255",
                        path.display()
                    ))
                    .into());
                }
                (Some(_), false) => {
                    if let Some(asked) = self.shape {
                        return Err(UsageError(format!(
                            "--shape is {asked}, but {} tells the shape of its images: leave it out",
                            path.display()
                        ))
                        .into());
                    }
                    note_if_slow(path)?;
                    return Ok(Measured::of(MeasurementSet::read(path)?));
                }
                (Some(MeasurementSet::FORMAT), true) => {
                    return Err(UsageError(format!(
                        "{} brings its own operator and sigma_y, and its unit: leave the flags for them out",
                        path.display()
                    ))
                    .into());
                }
                (Some(other), true) => {
                    return Err(UsageError(format!(
                        "{} holds {other}, no measurement: give one that `eps measure` wrote, or an array \
                         of your own",
                        path.display()
                    ))
                    .into());
                }
                // An array of the user's own.
                (None, true) => {}
            }
        }
        let missing = |what: &str| UsageError(format!("{} does not tell {what}", path.display()));
        let given = given.ok_or_else(|| {
            missing("how it was measured: give --mask, --factor, --kernel or --operator")
        })?;
        let sigma_y =
            sigma_y.ok_or_else(|| missing("its noise: give --sigma-y or --sigma-y-255"))?;

        let (y_shape, y) = read_measurement(path, Some(&given))?;
        let given = if given.is_kernel() {
            let usual = if is_picture(path) { Border::Valid } else { Border::Circular };
            let border = self.border.asked().unwrap_or(usual);
            let source =
                if self.border.asked().is_some() { "asked for" } else { "the default here" };
            println!("borders of the blur: {}, {source}", border.name());
            given.with_border(border)
        } else {
            given
        };
        let scene = Scene::of(y_shape, given.spec(), network)
            .with_context(|| format!("{} as a part of a larger scene", path.display()))?;
        let (shape, spec) = match &scene {
            Some(scene) => {
                println!(
                    "the picture is a part of a scene of {}x{} pixels, which is restored{}",
                    scene.shape.height,
                    scene.shape.width,
                    if self.keep_scene {
                        ""
                    } else {
                        "; what the picture shows of it is kept (all: --keep-scene)"
                    }
                );
                (scene.shape, scene.spec.clone())
            }
            None => {
                let usual = self.shape.unwrap_or_else(|| network.image_shape());
                let shape = given.image_shape(y_shape, usual)?;
                if let Some(asked) = self.shape.filter(|asked| *asked != shape) {
                    bail!("--shape is {asked}, but the operator and y tell {shape}: leave it out");
                }
                (shape, given.spec().clone())
            }
        };
        let operator = match &scene {
            Some(_) => spec.prepare(shape)?,
            None => given.build(shape)?,
        };
        ensure!(
            operator.range() == y_shape,
            "{}: the measurement has shape {y_shape}, its operator gives {}: one of the two is wrong",
            path.display(),
            operator.range()
        );
        let unit = self.unit.of_measurements(&operator, &y)?;
        let scale = unit.as_ref().map_or(1.0, |unit| unit.scale);
        let noises = sigma_y.of_measurements(&spec, &operator, &y, scale)?;
        let mut notes = Vec::new();
        if let Some(Operator::CircularBlur(blur)) = operator.spectral() {
            let largest = noises.iter().map(Noise::largest_sigma).fold(0.0, f64::max);
            let images = y.chunks_exact(y_shape.len());
            notes.extend(
                images.filter_map(|y| wrap_note(y, y_shape, blur.kernel(), largest)).take(1),
            );
        }
        let from = file_provenance(path)?;
        let set = match unit {
            Some(unit) => MeasurementSet::in_unit(shape, y, vec![spec], noises, unit, from),
            None => MeasurementSet::with_noise(shape, y, vec![spec], noises, from),
        };
        let set = set.with_context(|| path.display().to_string())?;
        Ok(Measured { set, scene, notes })
    }
}

/// What was measured.
struct Measured {
    set: MeasurementSet,
    /// The scene that a picture is a part of.
    scene: Option<Scene>,
    /// What looks wrong about its borders.
    notes: Vec<String>,
}

impl Measured {
    fn of(set: MeasurementSet) -> Self {
        Self { set, scene: None, notes: Vec::new() }
    }
}

/// Says how many values were not measured.
fn missing_note(set: &MeasurementSet) -> Option<String> {
    let (missing, all) = (set.missing(), set.y().len());
    (missing > 0).then(|| {
        format!(
            "{missing} of the {all} values of y are missing (NaN, or of infinite sigma_y): they change nothing"
        )
    })
}

/// Refuses an output folder whose files HDF5 could not name.
fn check_utf8(out: &Path) -> Result<()> {
    let absolute = std::path::absolute(out)?;
    ensure!(
        absolute.to_str().is_some(),
        "--out {}: the path is not UTF-8, which the names of HDF5 files in it must be: name another folder",
        out.display()
    );
    Ok(())
}

/// What of the configuration the samples depend on: not the command line, the number of threads, and which GPU it was.
fn decisive(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(environment) = config["environment"].as_object_mut() {
        environment.remove("command");
        environment.remove("threads");
        if let Some(device) = environment.get_mut("device") {
            let kind = device.as_str().and_then(|name| name.split(':').next());
            *device = json!(kind);
        }
    }
    config
}

/// The digest of what the samples depend on: of the configuration, and what was measured.
fn key(decisive: &Value, set: &MeasurementSet) -> Result<String> {
    let mut hasher = Hasher::default();
    hasher.update(decisive.to_string().as_bytes());
    for value in set.y() {
        hasher.update(&value.to_le_bytes());
    }
    for index in 0..set.len() {
        hasher.update(serde_json::to_string(set.spec(index))?.as_bytes());
        if !set.is_white() {
            // W of values of all directions tells it from any other.
            let probe = Stream::named(0, "what tells noises apart").normals(set.range().len());
            for value in set.noise(index).whiten(&probe, 1.0) {
                hasher.update(&value.to_le_bytes());
            }
        }
    }
    Ok(hasher.finish())
}

/// Whether a folder holds what this command writes, by its config.json and all names in it, and nothing else.
fn is_restoration(config: &Value, names: &[String]) -> bool {
    let told = ["measurement", "network", "solver", "samples"];
    let is_written = |name: &String| {
        ["config.json", "samples.h5", "one_call.h5", "mosaic.png", "page.html"].contains(&&**name)
            || IN_UNIT.contains(&&**name)
            || name.strip_prefix("image-").is_some_and(|number| {
                number.len() >= 4 && number.bytes().all(|digit| digit.is_ascii_digit())
            })
    };
    told.iter().all(|field| !config[field].is_null()) && names.iter().all(is_written)
}

/// The measurements of an array or picture, `[N, C, h, w]`, and the shape of one.
fn read_measurement(path: &Path, given: Option<&GivenOperator>) -> Result<(Shape, Vec<f64>)> {
    let (Array { dims, values }, notes) = Array::read_with_gaps(path, "y")?;
    if !given.is_some_and(GivenOperator::gives_channels) {
        check_channels_first(path, &dims)?;
    }
    let shape = match dims[..] {
        // What a dense matrix gives.
        [m] => Shape::new(1, 1, m),
        [h, w] => Shape::new(1, h, w),
        [c, h, w] | [_, c, h, w] => Shape::new(c, h, w),
        _ => bail!(
            "{}: the array has dimensions {dims:?}, a measurement is [h, w], [C, h, w] or \
             [N, C, h, w]: reshape it",
            path.display()
        ),
    };
    for note in notes {
        eprintln!("note: {note}");
    }
    Ok((shape.with_context(|| path.display().to_string())?, values))
}

/// The batches that each worker of a process draws before they are sent to the first one: what is lost where all are
/// killed.
const BATCHES_A_ROUND: usize = 2;

/// The values that process 1 takes from the others in a round at most, where a batch has fewer.
const MOST_OF_A_ROUND: usize = 1 << 28;

/// The batches of a restoration, dealt out to the processes of a group.
#[derive(Clone, Copy)]
struct Shared<'a> {
    group: &'a dyn Group,
    restoration: &'a Restoration<'a>,
}

impl Shared<'_> {
    /// The samples of every batch, on the first process, which keeps each as part `NAME-BATCH`; those that are kept of an
    /// earlier run are not drawn again.
    fn draw(
        &self,
        mut unfinished: Option<&mut Unfinished>,
        name: &str,
        bar: &ProgressBar,
    ) -> Result<Vec<Vec<f32>>> {
        let Self { group, restoration } = self;
        let part = |batch: usize| format!("{name}-{batch:06}");
        let batches = restoration.batches();
        let (mut samples, mut missing) = (vec![Vec::new(); batches], Vec::new());
        if let Some(unfinished) = &unfinished {
            for (batch, samples) in samples.iter_mut().enumerate() {
                let kept = unfinished.part(&part(batch))?.map(|bytes| values(&bytes));
                match kept.filter(|kept| kept.len() == restoration.values_of(batch)) {
                    Some(kept) => {
                        bar.inc((restoration.calls() / batches) as u64);
                        *samples = kept;
                    }
                    None => missing.push(batch),
                }
            }
        }
        let told = group.all_gather(&serde_json::to_vec(&missing)?).swap_remove(0);
        let missing: Vec<usize> = serde_json::from_slice(&told)?;
        let size = group.size();
        let round = match size {
            1 => missing.len(),
            _ => {
                let values = restoration.values_of(0).max(1);
                size * (workers::threads() * BATCHES_A_ROUND)
                    .min(MOST_OF_A_ROUND / size / values)
                    .max(1)
            }
        };
        for round in missing.chunks(round.max(1)) {
            let of = |rank: usize| round.iter().copied().skip(rank).step_by(size);
            let mine: Vec<usize> = of(group.rank()).collect();
            let mut keep = |batch: usize, drawn: Vec<f32>| -> Result<()> {
                if let Some(unfinished) = &mut unfinished {
                    unfinished.keep(&part(batch), &bytes(&drawn))?;
                }
                samples[batch] = drawn;
                Ok(())
            };
            restoration.draw_each(&mine, &mut progress::advance(bar, 1), &mut keep)?;
            if size == 1 {
                continue;
            }
            let is_first = group.rank() == 0;
            let sent = |rank: usize| of(rank).map(|batch| restoration.values_of(batch)).sum();
            let counts: Vec<usize> =
                (0..size).map(|rank| if is_first && rank > 0 { sent(rank) } else { 0 }).collect();
            let mut pieces = vec![Vec::new(); size];
            if !is_first {
                pieces[0] = mine.iter().flat_map(|b| std::mem::take(&mut samples[*b])).collect();
            }
            let received = group.all_to_all(pieces, &counts);
            for (rank, values) in received.into_iter().enumerate().filter(|_| is_first).skip(1) {
                let mut rest = &values[..];
                for batch in of(rank) {
                    let (drawn, others) = rest.split_at(restoration.values_of(batch));
                    if let Some(unfinished) = &mut unfinished {
                        unfinished.keep(&part(batch), &bytes(drawn))?;
                    }
                    samples[batch] = drawn.to_vec();
                    rest = others;
                }
            }
        }
        Ok(samples)
    }
}

/// The outcome, on the scale [-1, 1], not clipped.
struct Restored {
    /// `[N, 1, C, H, W]`
    one_call: SampleArchive,
    /// `[N, J, C, H, W]`
    archive: SampleArchive,
    residuals: Vec<Residual>,
    /// What iterative solvers did, where there is no eigenbasis.
    iterations: Option<Iterations>,
    /// The residual of each image's mean, where y is an image.
    residual_pictures: Vec<Option<Picture>>,
    /// The scene, where the archives hold only the part that the picture shows.
    scene: Option<Scene>,
    /// Intervals with their names: lower and upper end.
    intervals: Vec<([&'static str; 2], Intervals)>,
}

/// The ends of the intervals of the samples, and of those that were calibrated.
const ENDS: [&str; 2] = ["quantile-05", "quantile-95"];
const CALIBRATED_ENDS: [&str; 2] = ["calibrated-05", "calibrated-95"];

impl Restored {
    /// Draws the one-call estimates and all samples, but for what is kept of an earlier run.
    fn draw(
        group: &dyn Group,
        all: &Restoration<'_>,
        one_call: &Restoration<'_>,
        unfinished: &mut Unfinished,
        mut config: Value,
        scene: Option<Scene>,
    ) -> Result<Self> {
        let calls = all.calls() + one_call.calls();
        let bar = progress::bar(calls.div_ceil(group.size()) as u64, "restoring", "network calls");
        let mut draw = |restoration: &Restoration<'_>, name: &str| -> Result<Vec<f32>> {
            let samples = Shared { group, restoration }.draw(Some(&mut *unfinished), name, &bar)?;
            Ok(samples.concat())
        };
        let (first, second) = (draw(one_call, "one-call")?, draw(all, "samples")?);
        bar.finish_and_clear();
        // The mean and the residuals are those of all that was restored.
        let whole = all.archive(second, config.clone())?;
        let set = all.set();
        let residuals = residuals(set, whole.samples(), whole.posterior_mean());
        config["residuals"] = serde_json::to_value(&residuals)?;
        let iterations = all.iterations();
        if let Some(iterations) = &iterations {
            config["iterations"] = serde_json::to_value(iterations)?;
        }
        let of_iterations = iterations.as_ref().and_then(iterations_note);
        // Of an exact measurement a residual has no unit.
        let of_residuals = residual_note(&residuals).filter(|_| set.sigma_y() > 0.0);
        let of_samples = sample_range::note(whole.samples());
        for note in of_samples.into_iter().chain(of_residuals).chain(of_iterations) {
            eprintln!("note: {note}");
            if let Some(notes) = config["notes"].as_array_mut() {
                notes.push(note.into());
            }
        }
        let archive = |samples: &[f32], per_image: usize| -> Result<SampleArchive> {
            let (shape, samples) = match &scene {
                Some(scene) => (scene.seen, scene.cut(samples)),
                None => (set.shape(), samples.to_vec()),
            };
            let provenance = set.provenance().clone();
            let archive =
                SampleArchive::new(shape, per_image, samples, config.clone(), provenance)?;
            Ok(match whole.truth() {
                Some(truth) => archive.with_truth(truth.to_vec())?,
                None => archive,
            })
        };
        Ok(Self {
            one_call: archive(&first, 1)?,
            archive: archive(whole.samples(), whole.samples_per_image())?,
            residuals,
            iterations,
            residual_pictures: residual::pictures(set, whole.posterior_mean()),
            scene,
            intervals: Vec::new(),
        })
    }

    /// Finds the intervals of 90 %, where there are samples enough, and says what is known of them.
    fn find_intervals(
        &mut self,
        set: &MeasurementSet,
        calibration: Option<&IntervalCalibration>,
    ) -> Result<Option<String>> {
        if self.archive.samples_per_image() < LEAST_SAMPLES {
            return Ok(None);
        }
        let raw = Intervals::of(&self.archive)?;
        let operators: Vec<_> = (0..set.len()).map(|index| set.operator(index)).collect();
        let calibrated =
            calibration.and_then(|found| Some((found, found.widened(&raw, &operators)?)));
        let told = match &calibrated {
            Some((found, _)) => {
                let one = self.archive.shape().len();
                let met = |kind: &ValueKind| {
                    let is_of = |operator: &&PreparedOperator| {
                        (0..one).any(|index| ValueKind::of(operator, index) == Some(*kind))
                    };
                    operators.iter().any(is_of)
                };
                let of = ValueKind::ALL.iter().filter(|kind| met(kind));
                let of = of.filter_map(|kind| found.of(*kind)).map(|found| {
                    let percent = |share: f64| number((share * 1000.0).round() / 10.0);
                    format!(
                        "{}: widened by {:.2}, on test images {} % of the true values lie in them, {} % before",
                        found.kind.label(),
                        found.factor,
                        percent(found.calibrated.held.mean),
                        percent(found.raw.held.mean)
                    )
                });
                format!("intervals of 90 %, calibrated; {}", of.collect::<Vec<_>>().join("; "))
            }
            None => "intervals of 90 % from the samples as they are: for such a measurement, solver and number of \
                     calls the network's were not calibrated"
                .to_owned(),
        };
        let calibrated = calibrated.map(|(_, intervals)| (CALIBRATED_ENDS, intervals));
        self.intervals = [(ENDS, raw)].into_iter().chain(calibrated).collect();
        Ok(Some(told))
    }

    /// Writes everything into a folder.
    fn write(self, folder: &Path, set: &MeasurementSet, like: Option<&PictureLike>) -> Result<()> {
        let Self { archive, one_call, scene, residuals, residual_pictures, intervals, .. } = self;
        archive.write(&folder.join("samples.h5"))?;
        one_call.write(&folder.join("one_call.h5"))?;
        if pictures::showable(set.shape()) {
            let mut pictures =
                write_pictures(folder, set, [&archive, &one_call], scene.as_ref(), &intervals)?;
            for (image, (names, picture)) in pictures.iter_mut().zip(&residual_pictures).enumerate()
            {
                let Some(Picture { shape, values }) = picture else { continue };
                write_png(&folder.join(folder_of(image)).join("residual.png"), *shape, values)?;
                let samples = names.iter().position(|name| name.starts_with("sample-"));
                names.insert(samples.unwrap_or(names.len()), "residual".to_owned());
            }
            if let Some(like) = like {
                write_like(&folder.join(folder_of(0)), like, &archive)?;
            }
            let page = page(archive.config(), archive.shape(), &residuals, pictures).html()?;
            write_bytes(&folder.join("page.html"), page.as_bytes())?;
        }
        if let Some(unit) = set.unit() {
            write_in_unit(folder, &archive, unit)?;
        }
        let text = serde_json::to_string_pretty(archive.config())?;
        write_bytes(&folder.join("config.json"), text.as_bytes())?;
        Ok(())
    }
}

/// The results of a picture that are stored as it is: its mean and the first of its samples.
const LIKE: [&str; 2] = ["restored-mean", "restored-sample"];

/// Writes mean and first sample as the picture is stored that was restored.
fn write_like(folder: &Path, like: &PictureLike, archive: &SampleArchive) -> Result<()> {
    let shape = archive.shape();
    for (name, all) in LIKE.into_iter().zip([archive.posterior_mean(), archive.samples()]) {
        let values: Vec<f64> = all[..shape.len()].iter().map(|value| f64::from(*value)).collect();
        let path = folder.join(format!("{name}.{}", like.ending()));
        write_bytes(&path, &like.encode(shape, &values)?)?;
    }
    Ok(())
}

/// Writes the results as arrays in the instrument's unit.
fn write_in_unit(folder: &Path, archive: &SampleArchive, unit: &Unit) -> Result<()> {
    let Shape { channels, height, width } = archive.shape();
    let images = archive.posterior_mean().len() / archive.shape().len();
    let value = |x: &f32| unit.of_image(f64::from(*x));
    let deviation = |sd: &f32| unit.scale * f64::from(*sd);
    let write = |name: &str, dims: &[usize], values: Vec<f64>| {
        write_npy(&folder.join(name), dims, NpyValues::F64(&values))
    };
    let image = [images, channels, height, width];
    let sample = [images, archive.samples_per_image(), channels, height, width];
    write(IN_UNIT[0], &sample, archive.samples().iter().map(value).collect())?;
    write(IN_UNIT[1], &image, archive.posterior_mean().iter().map(value).collect())?;
    write(IN_UNIT[2], &image, archive.posterior_sd().iter().map(deviation).collect())?;
    Ok(())
}

/// Values of a part that is kept.
fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn values(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks();
    values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The page of a restoration, of the names of the pictures of each image.
fn page(
    config: &Value,
    shape: Shape,
    residuals: &[Residual],
    pictures: Vec<Vec<String>>,
) -> RestorationPage {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let notes = config["notes"].as_array().map_or(vec![], |notes| notes.iter().map(text).collect());
    let name = text(&config["measurement"]["file"]);
    let name = Path::new(&name).file_name().map_or(name.clone(), |name| name.display().to_string());
    let images = pictures.into_iter().zip(residuals).enumerate();
    let images = images.map(|(image, (names, residual))| ImageOnPage {
        title: format!("image {image}"),
        width: shape.width,
        height: shape.height,
        residual: residual_sentence(residual, config["measurement"]["sigma_y"] == 0.0),
        after: "mean",
        pictures: names.iter().map(|name| PictureOnPage::of(&folder_of(image), name)).collect(),
    });
    RestorationPage {
        title: format!("Restoration of {name}"),
        lead: format!(
            "{} samples by the network {:?}, {} calls each, for noise of sigma_y = {}.",
            config["samples"],
            text(&config["network"]["name"]),
            config["calls"],
            config["measurement"]["sigma_y"]
        ),
        notes,
        images: images.collect(),
    }
}

/// The folder of an image's pictures.
fn folder_of(image: usize) -> String {
    format!("image-{image:04}")
}

/// Writes the pictures of every image into a folder of its own, and returns their names.
fn write_pictures(
    folder: &Path,
    set: &MeasurementSet,
    [archive, one_call]: [&SampleArchive; 2],
    scene: Option<&Scene>,
    intervals: &[([&'static str; 2], Intervals)],
) -> Result<Vec<Vec<String>>> {
    let shape = archive.shape();
    let per_image = archive.samples_per_image();
    let values = |all: &[f32], index: usize| -> Vec<f64> {
        let one = shape.len();
        all[index * one..(index + 1) * one].iter().map(|v| f64::from(*v)).collect()
    };
    let picture = |all: &[f32], index| Picture { shape, values: values(all, index) };
    let mut written = Vec::new();
    let mut rows = Vec::new();
    let mut columns = 0;
    for image in 0..set.len() {
        let y = match scene {
            Some(scene) => Picture { shape: scene.seen, values: set.measurement(image).to_vec() },
            None => pictures::measurement(set.operator(image), set.measurement(image)),
        };
        let spread = pictures::spread(shape, &values(archive.posterior_sd(), image));
        let mut named = vec![
            ("measurement".to_owned(), y),
            ("one-call".to_owned(), picture(one_call.samples(), image)),
            ("mean".to_owned(), picture(archive.posterior_mean(), image)),
            ("standard-deviation".to_owned(), spread),
        ];
        if let Some(truth) = archive.truth() {
            named.insert(0, ("truth".to_owned(), picture(truth, image)));
        }
        named.extend((0..per_image).map(|j| {
            (format!("sample-{j:03}"), picture(archive.samples(), image * per_image + j))
        }));
        let folder = folder.join(folder_of(image));
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for (name, picture) in &named {
            write_png(&folder.join(format!("{name}.png")), picture.shape, &picture.values)?;
        }
        let names: Vec<String> = named.iter().map(|(name, _)| name.clone()).collect();
        let (other, samples) = names.split_at(names.len() - per_image);
        let mut names = other.to_vec();
        for (ends, Intervals { low, high, .. }) in intervals {
            for (name, values) in ends.iter().zip([low, high]) {
                let picture = picture(values, image);
                write_png(&folder.join(format!("{name}.png")), shape, &picture.values)?;
                names.push((*name).to_owned());
            }
        }
        names.extend(samples.iter().cloned());
        written.push(names);
        columns = named.len() - per_image.saturating_sub(MOSAIC_SAMPLES);
        let row: Vec<Picture> =
            named.into_iter().take(columns).map(|(_, picture)| picture).collect();
        let mosaic = pictures::mosaic(&row, columns);
        write_png(&folder.join("mosaic.png"), mosaic.shape, &mosaic.values)?;
        if image < MOSAIC_IMAGES {
            rows.extend(row);
        }
    }
    let mosaic = pictures::mosaic(&rows, columns);
    write_png(&folder.join("mosaic.png"), mosaic.shape, &mosaic.values)?;
    Ok(written)
}

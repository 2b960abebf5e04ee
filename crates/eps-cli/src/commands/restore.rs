//! `eps restore`: posterior samples of what was measured.

mod going_on;
mod measured;
mod outcome;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use eps_cluster::agree;
use eps_data::array_file::{check_ending, is_picture};
use eps_data::memory;
use eps_data::{MeasurementSet, PictureLike};
use eps_files::{FilesError, Former, OutputFolder, PartFile, Parts, Unfinished};
use eps_math::Shape;
use eps_math::operator::LinearMap as _;
use eps_model::{Precision, Windows, device_name};
use eps_results::WITH_BACKWARD;
use eps_sample::Solver;
use indicatif::ProgressBar;
use tch::Device;

use self::going_on::{Key, Shared};
use self::measured::{Measured, MeasuredFlags};
use self::outcome::{LIKE, Restored, Shown, folder_of, is_restoration};
use crate::allocator::keep_freed_memory;
use crate::flags::{self, NetworkFlags, UsageError, count_to, seed, side};
use crate::sampler::Sampler;
use crate::sampling_cost;
use crate::together::{Processes, device_of};
use eps::contender::{
    Contender, Contending, annealing, beginning_note, differentiates, nearest_calls, nearest_task,
    tunable, usual_calls,
};
use eps::conventions::unit_note;
use eps::format::number;
use eps::intervals::IntervalCalibration;
use eps::measurement::{
    brightness_note, clipping_note, filled_note, frequencies_note, mask_note, measured_bits_note,
    range_note,
};
use eps::residual::Residual;
use eps::restoration_config::{FORMAT_VERSION, MeasurementRecord, PictureScale, RestorationConfig};
use eps::restore::{Restoration, Settings, batch_of};
use eps::{Network, dataset, environment, pictures, workers};

/// The pixels of an image about which the network is asked as a whole, unless a flag says otherwise.
const WHOLE: usize = 384 * 384;

/// The pixels of an image from which freed memory is kept.
const LARGE: usize = 128 * 128;

/// The side of the windows of larger ones.
const WINDOW: usize = 256;

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
    #[command(flatten)]
    measured: MeasuredFlags,
    /// The network, as `eps train` or `eps import` writes it; or a prior of any origin, by the description
    /// of its TorchScript module (docs/priors.md); or one of the repository by its name, such as photos-32/all-tasks [default: for
    /// pictures photographs]
    #[arg(long, value_name = "NET.safetensors|PRIOR.json|NAME")]
    network: Option<PathBuf>,
    /// The class of the images, from 0 on, for a network that knows classes [default: none]
    #[arg(long, value_name = "K")]
    class: Option<usize>,
    /// Samples of each image, from 1 to 100000
    #[arg(long, value_name = "J", default_value = "8", value_parser = count_to::<100_000>)]
    samples: usize,
    /// Draw an even number of samples in pairs from opposite noise: each is a sample as otherwise, and the mean of two has hardly more
    /// error than that of many, but those of a pair are not independent. For the mean; leave it out for intervals
    #[arg(long)]
    antithetic: bool,
    /// A training-free method in the place of EPS, on a prior (a network that was trained for denoising alone)
    #[arg(long, value_name = "METHOD", value_parser = flags::contender(),
        conflicts_with_all = ["sampler", "eta", "rho", "sigma_min"])]
    method: Option<Contender>,
    /// The constant of --method [default: the one that was published for the nearest of the paper's tasks, which is printed]
    #[arg(long, value_name = "X", requires = "method", value_parser = constant, allow_negative_numbers = true)]
    constant: Option<f64>,
    /// Network calls for a sample (NFE), from 1 to 100000; odd for heun [default: 10, for euler and ddim 20, for heun 19, for
    /// --method the published number]
    #[arg(long, value_name = "NFE", value_parser = count_to::<100_000>)]
    calls: Option<usize>,
    /// The solver
    #[arg(long, value_enum, default_value = "half-corrected")]
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
    #[arg(long, default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
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
    /// Replace the folder if it holds the results of an earlier run and nothing else, and what an interrupted one had finished
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
        let count = Windows::new(side, 1, 1)?.count(shape.height, shape.width);
        eprintln!(
            "note: the network is asked in some {count} overlapping windows of {side} x {side} pixels, which move from step to step"
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
            (None, None) => self.sampler.usual_calls(),
        };
        if self.method.is_none() {
            solver.steps(calls).map_err(|error| UsageError(format!("--calls {calls}: {error}")))?;
        }
        if self.antithetic && self.samples % 2 == 1 {
            bail!(UsageError(eps::Error::OddPairs(self.samples).to_string()));
        }
        self.measured.check()?;
        let out = || format!("--out {}", self.out.display());
        check_utf8(&self.out)?;
        // One process writes; the others send it what they draw.
        let mut output = None;
        if group.rank() == 0 {
            let folder = OutputFolder::plan(&self.out, self.former()).with_context(out)?;
            output = Some((folder, Unfinished::claim(&self.out).with_context(out)?));
        }
        let (device, asked) = self.network_flags.apply()?;
        let device = device_of(group, device);
        let network_file = self.network_file()?;
        let (precision, of_precision) = asked.choose(device, [&*network_file])?;
        let network = Network::load(&network_file, self.class, device, precision)?;
        let calibration = IntervalCalibration::beside(&network_file)?;
        let schedule = solver.schedule(network.schedule()).with(self.rho, self.sigma_min);
        if let Err(error) = schedule.validate() {
            return Err(UsageError(format!("the grid of noise levels: {error}")).into());
        }
        let Measured { set, scene, notes: of_borders, is_grey } = self.measured.read(&network)?;
        if device == Device::Cpu {
            let what = format!("restoring {} images of shape {}", set.len(), set.shape());
            let remedy = "cut a part of the picture out, or give fewer --samples";
            memory::require(&what, self.image_bytes(&set), remedy).with_context(|| {
                format!("{} cannot be restored", self.measured.file().display())
            })?;
        }
        let shown = match &scene {
            Some(scene) if !self.measured.keep_scene => scene.seen,
            _ => set.shape(),
        };
        let shown = if is_grey { Shape { channels: 1, ..shown } } else { shown };
        let is_picture = is_picture(self.measured.file()) && pictures::showable(shown);
        let like = is_picture.then(|| PictureLike::of(self.measured.file())).transpose()?;
        if let Some(like) = &like {
            like.check(shown)
                .with_context(|| format!("the results of {}", self.measured.file().display()))?;
        }
        if self.measured.keep_scene && scene.is_none() {
            bail!(UsageError(
                "--keep-scene: this measurement is no part of a larger scene, as with --kernel and --border valid: leave it out"
                    .to_owned()
            ));
        }
        let (samples, seed, batch, class) = (self.samples, self.seed, self.batch, self.class);
        let mut contender = None;
        if let Some(method) = self.method {
            let tunable = tunable(method, nearest_task(set.operator(0)));
            let constant = self.constant.unwrap_or(tunable.start);
            if !tunable.admits(constant) {
                bail!(UsageError(format!(
                    "--constant {}: {} of {} must be {}",
                    number(constant),
                    tunable.symbol,
                    method.label(),
                    tunable.range()
                )));
            }
            contender = Some(Contending { contender: method, constant });
        }
        if set.shape().plane() >= LARGE {
            keep_freed_memory();
        }
        let settings = Settings {
            solver,
            schedule: Some(schedule),
            contender,
            calls,
            samples,
            antithetic: self.antithetic,
            seed,
            batch,
            // What --memory allows is shared out to as many as can be known by the command.
            threads: match self.memory {
                Some(_) => workers::threads(),
                None => workers::suited(device),
            },
            class,
            device,
        };
        let (network, window) = self.in_windows(network, set.shape(), &settings, precision)?;
        let cannot = || format!("{} cannot be restored", self.measured.file().display());
        let all = Restoration::new(&network, &set, &settings).with_context(cannot)?;
        let one = Settings {
            solver: Solver::Euler,
            schedule: None,
            contender: None,
            calls: 1,
            samples: 1,
            antithetic: false,
            ..settings.clone()
        };
        let one_call = Restoration::new(&network, &set, &one).with_context(cannot)?;

        let mut notes = network.notes(&set, self.class);
        // A method without training asks a prior what it was trained for.
        notes.extend(network.zero_shot_note().filter(|_| self.method.is_none()));
        notes.extend((0..set.len()).find_map(|index| brightness_note(&set, index)));
        notes.extend((0..set.len()).find_map(|index| unit_note(set.spec(index))));
        // An inverted mask explains both of the others.
        let inverted = mask_note(&set);
        if inverted.is_none() {
            notes.extend(filled_note(&set));
            // What a picture's values mean is known.
            notes.extend(range_note(&set).filter(|_| like.is_none()));
        }
        notes.extend(inverted);
        notes.extend(self.measured.note());
        notes.extend(missing_note(&set));
        notes.extend(frequencies_note(&set));
        notes.extend(measured_bits_note(&set));
        notes.extend(clipping_note(&set));
        notes.extend(of_borders);
        notes.extend(of_precision);
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
        let Shape { height, width, .. } = set.shape();
        let (at_a_time, windows) = match window {
            Some(side) => (
                Shape { height: side.min(height), width: side.min(width), ..set.shape() },
                Windows::new(side, 1, 1)?.count(height, width),
            ),
            None => (set.shape(), 1),
        };
        if device == Device::Cpu
            && let Some((operations, bytes)) = cost(at_a_time)?
        {
            let operations = operations * windows as f64;
            let passes = all.calls() as f64 * if backward { WITH_BACKWARD } else { 1.0 };
            // What is differentiated is kept of all windows.
            let images = match window {
                Some(_) if backward => all.batch() * windows,
                Some(_) => 1,
                None => all.batch(),
            };
            let workers = all.calls_at_once().max(one_call.calls_at_once());
            let memory = sampling_cost::Bytes {
                activations: bytes.saturating_mul((images * workers) as u64),
                weights: network.weight_bytes(precision, workers),
                images: self.image_bytes(&set),
            };
            if let Some(note) = sampling_cost::note(
                operations * passes * all.batch() as f64,
                memory,
                (workers.min(workers::threads()), at_a_time.plane()),
                precision,
                set.whitened_operator(0).as_spectral().is_none(),
            ) {
                eprintln!("note: {note}");
            }
        }
        let conditioning = network.conditioning();
        // Before the work: the files are those that have been read.
        let config = RestorationConfig {
            format_version: FORMAT_VERSION,
            measurement: MeasurementRecord::of(self.measured.file(), &set)?,
            network: network.record(&network_file)?,
            class,
            method: conditioning,
            contender,
            solver,
            schedule,
            calls,
            samples,
            antithetic: self.antithetic,
            seed,
            precision,
            batch: all.batch(),
            window,
            pictures: PictureScale::default(),
            notes,
            environment: environment::record(device),
            residuals: Vec::new(),
            iterations: None,
            intervals: Vec::new(),
        };
        let shown = Shown { scene: scene.filter(|_| !self.measured.keep_scene), is_grey };
        let key = Key::of(&config, &set)?;
        agree(group, &key.facts(&config))?;
        let Some((folder, mut unfinished)) = output else {
            for restoration in [&one_call, &all] {
                Shared { group, restoration }.draw(None, "", &ProgressBar::hidden())?;
            }
            return Ok(());
        };
        let former = unfinished.of_key(&key.text()?, self.force);
        let former = former.map_err(|error| match &error {
            FilesError::OtherParts { key: kept, .. } => match key.differing(kept) {
                Some(differing) => anyhow::Error::new(error).context(differing),
                None => error.into(),
            },
            _ => error.into(),
        });
        match former? {
            Parts::OfThis => {
                eprintln!(
                    "note: what an earlier run of this command has finished is taken from it"
                );
            }
            Parts::OfAnother => eprintln!(
                "note: what an earlier run had finished with other settings or another measurement is removed from {}",
                unfinished.folder().display()
            ),
            Parts::None => {}
        }
        self.reserve(&unfinished, &set)?;
        let drawn = Restored::draw(group, &all, &one_call, &mut unfinished, config, shown);
        let mut restored = drawn.map_err(|error| self.kept(error, &unfinished))?;
        let as_asked = |found: &IntervalCalibration| {
            let usual = solver.schedule(network.schedule());
            let is_usual =
                self.method.is_none() && schedule == usual && network.knows_noise(&set) && !is_grey;
            is_usual
                && (found.solver, found.calls, found.antithetic) == (solver, calls, self.antithetic)
        };
        let told = restored.find_intervals(&set, calibration.as_ref().filter(|c| as_asked(c)))?;
        let RestorationConfig { residuals, iterations, .. } = restored.config.clone();
        let is_exact = set.sigma_y() == 0.0;
        folder
            .write(|path| restored.write(path, &set, like.as_ref()))
            .map_err(|error| self.kept(error, &unfinished))?;
        unfinished.finish();
        println!("network {:?}: licence: {}", network.name(), network.licence());
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
            "{} images, {} samples of each{}, {calls} network calls a sample in {precision} on {}: {}",
            set.len(),
            self.samples,
            if self.antithetic { " in antithetic pairs" } else { "" },
            device_name(device),
            self.out.display()
        );
        if let Some(like) = &like {
            let [mean, sample] = LIKE.map(|name| format!("{name}.{}", like.ending()));
            println!(
                "stored as {}: {mean} and {sample} in {}",
                self.measured.file().display(),
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
            let each = || residuals.iter().map(|residual| residual.samples);
            let range = match residuals.len() {
                1 => String::new(),
                _ => format!(
                    " ({:.3} to {:.3} by image)",
                    each().fold(f64::INFINITY, f64::min),
                    each().fold(0.0, f64::max)
                ),
            };
            println!(
                "residual rms(A x - y)/sigma_y: {of_samples:.3} of the samples, where 1 is right{range}, {of_mean:.3} of their mean"
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
        error.context(format!(
            "the restoration stopped; samples that are finished are kept in {}, and the same command goes on from them, with another \
             --batch or --samples too",
            unfinished.folder().display()
        ))
    }

    /// What an image, what is computed of it, and the samples of all images take, the network's calls apart, in bytes: more than
    /// there is would end the program in the midst of the work.
    fn image_bytes(&self, set: &MeasurementSet) -> u64 {
        // Bytes a value of an image, less than was measured: of its arrays in f64, of each sample, and of the vectors of
        // Lanczos' method.
        const OF_IMAGES: u64 = 180;
        const OF_SAMPLES: u64 = 12;
        const OF_ITERATIONS: u64 = 900;
        let values = set.shape().len() as u64;
        let iterations =
            if set.whitened_operator(0).as_spectral().is_none() { OF_ITERATIONS } else { 0 };
        let samples = (self.samples as u64).saturating_mul(set.len() as u64);
        values.saturating_mul(OF_IMAGES + iterations + OF_SAMPLES.saturating_mul(samples))
    }

    /// The network's file.
    fn network_file(&self) -> Result<PathBuf> {
        if let Some(named) = &self.network {
            return Ok(dataset::network_of_name(named));
        }
        check_ending(self.measured.file())?;
        ensure!(
            is_picture(self.measured.file()),
            UsageError(format!(
                "{} is no picture, for which there is a default: give --network, such as --network photographs",
                self.measured.file().display()
            ))
        );
        Ok(dataset::network_of_pictures())
    }

    fn solver(&self) -> Result<Solver> {
        if self.eta.is_some() && self.sampler != Sampler::Ddim {
            return Err(UsageError("--eta belongs to --sampler ddim".to_owned()).into());
        }
        Ok(match self.eta {
            Some(eta) => Solver::Ddim { eta },
            None => self.sampler.solver(),
        })
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

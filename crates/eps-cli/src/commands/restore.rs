//! `eps restore`: posterior samples of what was measured.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use eps_data::hdf5_file::hdf5_format;
use eps_data::png::{Picture, write_png};
use eps_data::{Array, MeasurementSet, SampleArchive};
use eps_files::{Former, OutputFolder, sha256_file, write_atomically};
use eps_math::Shape;
use eps_math::operator::LinearOperator as _;
use eps_model::device_name;
use eps_sample::{NoiseKeys, Sample as _, Solver};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tch::{Device, Kind};

use super::measure::file_provenance;
use crate::flags::{
    NetworkFlags, NoiseFlags, OperatorFlags, UsageError, check_channels_first, count_to,
};
use crate::{progress, sample_range};
use eps::measurement::{brightness_note, check_scale, check_sigma_y, range_note};
use eps::network::{Asked, Conditioning, Network};
use eps::{dataset, environment, measurement, pictures};

/// The version of the configuration that is written with the results.
const FORMAT_VERSION: u32 = 1;

/// The most values of all samples together, 8 GiB in f32.
const MOST_VALUES: usize = 1 << 31;

/// How many samples of an image a mosaic shows.
const MOSAIC_SAMPLES: usize = 8;

/// How many images the mosaic of all shows.
const MOSAIC_IMAGES: usize = 16;

/// Draw samples of the images behind a measurement.
///
/// The measurement is taken as it is: nothing is added to it (`eps measure` makes one from a clean
/// image). Writes a folder with samples.h5 (samples, posterior mean and standard deviation),
/// one_call.h5 (the posterior mean by a single network call), config.json, mosaic.png and a folder of
/// pictures for every image. The same seed gives the same samples, up to the rounding of the network, whatever
/// the batch.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What was measured: the HDF5 file of `eps measure`, which brings operator and sigma_y; or,
    /// with flags for both, a PNG (0..255 is [-1, 1]) or an array [h, w], [C, h, w] or [N, C, h, w]
    /// in NPY or HDF5 (dataset `y`)
    #[arg(long, value_name = "FILE")]
    measurement: PathBuf,
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(flatten)]
    noise: NoiseFlags,
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
    /// Network calls for a sample (NFE), from 1 to 100000; odd for heun [default: 20, for heun 19]
    #[arg(long, value_name = "NFE", value_parser = count_to::<100_000>)]
    calls: Option<usize>,
    /// The solver
    #[arg(long, value_enum, default_value = "euler")]
    sampler: Sampler,
    /// The randomness of ddim, from 0 (none: the same as euler) to 1 (as in DDPM) [default: 1]
    #[arg(long, value_name = "ETA", value_parser = eta, allow_negative_numbers = true)]
    eta: Option<f64>,
    /// The seed of the samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    network_flags: NetworkFlags,
    /// Samples in one network call, from 1 to 65536; fewer take less memory
    #[arg(long, value_name = "B", default_value = "64", value_parser = count_to::<65_536>)]
    batch: usize,
    /// The folder to be made
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Replace the folder if it holds the results of an earlier run
    #[arg(long)]
    force: bool,
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
}

fn eta(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from 0 to 1".to_owned()),
    }
}

impl Arguments {
    /// What becomes of a folder that is in the place of the results.
    fn former(&self) -> Former {
        if self.force { Former::Replaced(is_restoration) } else { Former::Stays }
    }

    /// Checks everything, samples, and writes the results.
    pub(crate) fn run(&self) -> Result<()> {
        let solver = self.solver()?;
        let calls = self.calls.unwrap_or(if self.sampler == Sampler::Heun { 19 } else { 20 });
        let steps =
            solver.steps(calls).map_err(|error| UsageError(format!("--calls {calls}: {error}")))?;
        let folder = OutputFolder::plan(&self.out, self.former())
            .with_context(|| format!("--out {}", self.out.display()))?;
        let (device, precision) = self.network_flags.apply()?;
        let network = Network::load(&self.network, self.class, device, precision)?;
        let schedule = network.schedule();
        let sigmas = schedule.sigmas(steps).with_context(|| self.network.display().to_string())?;
        let set = self.measurement(network.image_shape())?;
        network
            .check_fit(set.shape())
            .with_context(|| format!("{} cannot be restored", self.measurement.display()))?;
        check_sigma_y(set.sigma_y())
            .map_err(|problem| anyhow!("{}: {problem}", self.measurement.display()))?;
        let values = set.len().saturating_mul(self.samples).saturating_mul(set.shape().len());
        ensure!(
            values <= MOST_VALUES,
            "--samples {}: {} images of shape {} make {values} values, more than {MOST_VALUES}: take fewer \
             samples, or restore fewer images at once",
            self.samples,
            set.len(),
            set.shape()
        );
        for index in 0..set.len() {
            check_scale(set.operator(index), set.measurement(index), set.sigma_y())
                .with_context(|| format!("{}, image {index}", self.measurement.display()))?;
        }

        let origin = network.origin();
        let mut notes = network.notes(&set, self.class);
        notes.extend((0..set.len()).find_map(|index| brightness_note(set.operator(index))));
        notes.extend(range_note(&set));
        notes.extend(self.noise.note());
        for note in &notes {
            eprintln!("note: {note}");
        }
        let method = network.conditioning();
        let denoiser = network.about(self.class.as_ref().map(std::slice::from_ref))?;
        // Before the work: the files are those that have been read.
        let mut config = json!({
            "format_version": FORMAT_VERSION,
            "measurement": {
                "file": self.measurement.display().to_string(),
                "sha256": sha256_file(&self.measurement)?,
                "images": set.len(),
                "shape": set.shape(),
                "sigma_y": set.sigma_y(),
                "seed": set.seed(),
                "provenance": set.provenance(),
            },
            "network": network.record(&self.network)?,
            "class": self.class,
            "method": method,
            "solver": solver,
            "schedule": schedule,
            "calls": calls,
            "samples": self.samples,
            "seed": self.seed,
            "precision": precision,
            "batch": self.batch,
            "pictures": {
                "images": "black is -1, white is 1",
                "standard deviations": format!("black is 0, white is {} and above", pictures::SD_WHITE),
            },
            "notes": notes,
            "environment": environment::record(device),
        });
        let run = Run { set: &set, denoiser: &denoiser, method, device, seed: self.seed };
        let restored = self.sample(&run, &solver, &sigmas)?;
        if let Some(note) = sample_range::note(&restored.samples) {
            eprintln!("note: {note}");
            if let Some(notes) = config["notes"].as_array_mut() {
                notes.push(note.into());
            }
        }
        folder.write(|path| restored.write(path, &set, config))?;
        println!("network {:?}: {origin}", network.name());
        println!("method: {method}");
        println!(
            "{} images, {} samples of each, {calls} network calls a sample in {precision} on {}: {}",
            set.len(),
            self.samples,
            device_name(device),
            self.out.display()
        );
        Ok(())
    }

    fn solver(&self) -> Result<Solver> {
        if self.eta.is_some() && self.sampler != Sampler::Ddim {
            return Err(UsageError("--eta belongs to --sampler ddim".to_owned()).into());
        }
        Ok(match self.sampler {
            Sampler::Euler => Solver::Euler,
            Sampler::Heun => Solver::Heun,
            Sampler::Ddim => Solver::Ddim { eta: self.eta.unwrap_or(1.0) },
        })
    }

    /// The measurement with its operators and σ_y, from the file itself or from the flags.
    fn measurement(&self, network: Shape) -> Result<MeasurementSet> {
        let path = &self.measurement;
        let (given, sigma_y) = (self.operator.read()?, self.noise.sigma_y());
        if dataset::is_hdf5(path) {
            let format = hdf5_format(path)?;
            match (format.as_deref(), given.is_some() || sigma_y.is_some()) {
                (None, false) => {
                    read_measurement(path)?;
                    return Err(UsageError(format!(
                        "{} is an array that does not tell how it was measured: give --mask, --factor, \
                         --kernel or --operator, and --sigma-y or --sigma-y-255",
                        path.display()
                    ))
                    .into());
                }
                (Some(_), false) => return Ok(MeasurementSet::read(path)?),
                (Some(MeasurementSet::FORMAT), true) => {
                    return Err(UsageError(format!(
                        "{} brings its own operator and sigma_y: leave the flags for both out",
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

        let (y_shape, y) = read_measurement(path)?;
        let shape = given.image_shape(y_shape, network)?;
        let operator = given.build(shape)?;
        ensure!(
            operator.range() == y_shape,
            "{}: the measurement has shape {y_shape}, its operator gives {}: one of the two is wrong",
            path.display(),
            operator.range()
        );
        MeasurementSet::new(shape, y, vec![given.spec().clone()], sigma_y, file_provenance(path)?)
            .with_context(|| path.display().to_string())
    }

    /// Draws all samples, batch by batch, after the one-call estimates.
    fn sample(&self, run: &Run<'_>, solver: &Solver, sigmas: &[f64]) -> Result<Restored> {
        let keys = |samples: usize| -> Vec<(u64, u64)> {
            let images = 0..run.set.len() as u64;
            images.flat_map(|i| (0..samples as u64).map(move |j| (i, j))).collect()
        };
        let (one_call, all) = (keys(1), keys(self.samples));
        let batches = |keys: &[(u64, u64)]| keys.len().div_ceil(self.batch);
        let calls = batches(&one_call) + batches(&all) * solver.nfe(sigmas.len() - 1);
        let bar = progress::bar(calls as u64, "restoring", "network calls");
        let draw = |keys: &[(u64, u64)], solver: &Solver, sigmas: &[f64]| -> Result<Vec<f32>> {
            let batches = keys.chunks(self.batch);
            Ok(batches
                .map(|keys| run.batch(&bar, solver, sigmas, keys))
                .collect::<Result<Vec<_>>>()?
                .concat())
        };
        let restored = Restored {
            samples_per_image: self.samples,
            one_call: draw(&one_call, &Solver::Euler, &[sigmas[0], 0.0])?,
            samples: draw(&all, solver, sigmas)?,
        };
        bar.finish_and_clear();
        Ok(restored)
    }
}

/// Whether a folder holds what this command writes, by its config.json and all names in it, and nothing else.
fn is_restoration(config: &Value, names: &[String]) -> bool {
    let told = ["measurement", "network", "solver", "samples"];
    let is_written = |name: &String| {
        ["config.json", "samples.h5", "one_call.h5", "mosaic.png"].contains(&&**name)
            || name.strip_prefix("image-").is_some_and(|number| {
                number.len() >= 4 && number.bytes().all(|digit| digit.is_ascii_digit())
            })
    };
    told.iter().all(|field| !config[field].is_null()) && names.iter().all(is_written)
}

/// The measurements of an array or picture, `[N, C, h, w]`, and the shape of one.
fn read_measurement(path: &Path) -> Result<(Shape, Vec<f64>)> {
    let Array { dims, values } = Array::read(path, "y")?;
    check_channels_first(path, &dims)?;
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
    Ok((shape.with_context(|| path.display().to_string())?, values))
}

/// What a restoration works on.
struct Run<'a> {
    set: &'a MeasurementSet,
    denoiser: &'a Asked<'a>,
    method: Conditioning,
    device: Device,
    seed: u64,
}

impl Run<'_> {
    /// The samples of some keys (image, sample).
    fn batch(
        &self,
        bar: &ProgressBar,
        solver: &Solver,
        sigmas: &[f64],
        keys: &[(u64, u64)],
    ) -> Result<Vec<f32>> {
        let images: Vec<usize> = keys.iter().map(|(image, _)| *image as usize).collect();
        let measurement = measurement::on_device(self.set, &images, self.device)?;
        let estimator = self.method.estimator(self.denoiser, &measurement);
        let noise = NoiseKeys::new(self.seed, keys.to_vec()).on(self.set.shape(), self.device);
        let mut bar = progress::advance(bar, 1);
        let samples = solver.sample_watched(&*estimator, sigmas, &noise, &mut bar)?.finished()?;
        let values = samples.to_kind(Kind::Float).to_device(Device::Cpu).flatten(0, -1);
        Ok(Vec::try_from(values.contiguous())?)
    }
}

/// The outcome, on the scale [-1, 1], not clipped.
struct Restored {
    samples_per_image: usize,
    /// `[N, C, H, W]`
    one_call: Vec<f32>,
    /// `[N, J, C, H, W]`
    samples: Vec<f32>,
}

impl Restored {
    /// Writes everything into a folder.
    fn write(self, folder: &Path, set: &MeasurementSet, config: Value) -> Result<()> {
        let archive = |per_image: usize, samples: Vec<f32>| -> Result<SampleArchive> {
            let provenance = set.provenance().clone();
            let archive =
                SampleArchive::new(set.shape(), per_image, samples, config.clone(), provenance)?;
            Ok(match set.truth() {
                Some(truth) => archive.with_truth(truth.iter().map(|v| *v as f32).collect())?,
                None => archive,
            })
        };
        let one_call = archive(1, self.one_call)?;
        let archive = archive(self.samples_per_image, self.samples)?;
        archive.write(&folder.join("samples.h5"))?;
        one_call.write(&folder.join("one_call.h5"))?;
        if pictures::showable(set.shape()) {
            write_pictures(folder, set, &archive, &one_call)?;
        }
        let text = serde_json::to_string_pretty(&config)?;
        write_atomically(&folder.join("config.json"), |file| {
            std::io::Write::write_all(file, text.as_bytes())
        })?;
        Ok(())
    }
}

fn write_pictures(
    folder: &Path,
    set: &MeasurementSet,
    archive: &SampleArchive,
    one_call: &SampleArchive,
) -> Result<()> {
    let shape = set.shape();
    let per_image = archive.samples_per_image();
    let values = |all: &[f32], index: usize| -> Vec<f64> {
        let one = shape.len();
        all[index * one..(index + 1) * one].iter().map(|v| f64::from(*v)).collect()
    };
    let picture = |all: &[f32], index| Picture { shape, values: values(all, index) };
    let mut rows = Vec::new();
    let mut columns = 0;
    for image in 0..set.len() {
        let y = pictures::measurement(set.operator(image), set.measurement(image));
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
        let folder = folder.join(format!("image-{image:04}"));
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for (name, picture) in &named {
            write_png(&folder.join(format!("{name}.png")), picture.shape, &picture.values)?;
        }
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
    Ok(write_png(&folder.join("mosaic.png"), mosaic.shape, &mosaic.values)?)
}

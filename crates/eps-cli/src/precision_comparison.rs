//! `eps model precision`: what lower precisions do to a network's answers and samples.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use eps_data::MeasurementSet;
use eps_data::Split;
use eps_experiments::{Problem, test_images};
use eps_math::{Level, Schedule, Task};
use eps_metrics::fidelity::psnr;
use eps_model::{Denoiser, DevicePrecision as _, Measurement, Precision, device_name};
use eps_results::Setting;
use eps_sample::{Estimator, NoiseKeys, Prior, Sample as _, Solver};
use indicatif::ProgressBar;
use tch::{Device, Kind, Tensor};

use crate::flags;
use crate::flags::DeviceFlags;
use crate::progress;
use eps::dataset;
use eps::dataset::network_of_name;
use eps::measurement;
use eps::network::{Conditioning, Network};

/// Network calls of a sample.
const CALLS: usize = 20;

/// Noise levels at which answers are compared, uniform in ln σ between the ends of the network's.
const LEVELS: usize = 8;

/// Test images behind the measurements that are drawn where none are given.
const IMAGES: usize = 4;

/// What `eps model precision` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The network, or the description of a prior
    #[arg(value_name = "NET.safetensors|PRIOR.json")]
    network: PathBuf,
    /// Measurements, as `eps measure` writes them [default: of four test images of Fashion-MNIST, for
    /// networks of such images, by the network's first task or random inpainting]
    #[arg(long, value_name = "FILE.h5")]
    measurement: Option<PathBuf>,
    /// The class of all images, from 0 on, for a prior that reads one
    #[arg(long, value_name = "K")]
    class: Option<usize>,
    #[command(flatten)]
    device: DeviceFlags,
    /// Images and samples in one network call, from 1 on
    #[arg(long, value_name = "B", default_value = "64", value_parser = flags::count)]
    batch: usize,
}

/// What a network answers in one precision.
#[derive(Debug)]
struct Answers {
    /// D at every level, `[LEVELS, N, C, H, W]`.
    denoised: Vec<Tensor>,
    /// One sample of every image, `[N, C, H, W]`.
    samples: Tensor,
}

/// How far a precision is from f32.
#[derive(Debug, Clone, PartialEq)]
struct Deviation {
    /// The rms of the difference of D over the rms of D, at every level.
    relative: Vec<f64>,
    /// The mean PSNR of the samples against those in f32, in dB.
    psnr_db: f64,
}

impl Arguments {
    /// Measures and prints.
    ///
    /// # Errors
    /// Input that is missing or damaged, and a chain that leaves the finite numbers.
    pub(crate) fn run(&self) -> Result<()> {
        let device = self.device.apply();
        let load = |precision| {
            Network::load(&network_of_name(&self.network), self.class, device, precision)
        };
        let network = load(Precision::F32)?;
        let (set, what) = self.measurements(&network)?;
        network
            .check_fit(set.shape())
            .with_context(|| format!("{what} cannot be restored by {}", self.network.display()))?;
        let low = [Precision::Bf16, Precision::F16];
        // A CPU computes f16 far too slowly to restore with it, but what it changes can be seen there too.
        let is_ours = matches!(network, Network::Trained(_));
        let (computed, left_out): (Vec<Precision>, Vec<Precision>) =
            low.into_iter().partition(|precision| is_ours || precision.check(device).is_ok());
        let levels = levels(&network)?;
        let batches = set.len().div_ceil(self.batch) as u64;
        let calls = batches * (CALLS + LEVELS) as u64 * (1 + computed.len() as u64);
        let bar = progress::bar(calls, "comparing", "network calls");
        let (set, batch) = (&set, self.batch);
        let questions = Questions { set, batch, levels: &levels, device, bar: &bar };
        let exact = questions.ask(&network, None)?;
        let mut deviations = Vec::with_capacity(computed.len());
        for precision in &computed {
            let answers = questions.ask(&load(*precision)?, Some(&exact.samples))?;
            deviations.push(Deviation::of(&exact, &answers)?);
        }
        bar.finish_and_clear();

        println!(
            "{}: {:?} on {}, {what}",
            self.network.display(),
            network.name(),
            device_name(device)
        );
        println!("{}", network.origin());
        println!("rms of the difference from D in f32 over the rms of D:");
        let names = computed.iter().map(|precision| format!("{precision:>10}"));
        println!("{:>10}{}", "sigma_t", names.collect::<String>());
        for (i, sigma_t) in levels.iter().enumerate() {
            let row = deviations.iter().map(|d| format!("{:>10.1e}", d.relative[i]));
            println!("{sigma_t:>10.3}{}", row.collect::<String>());
        }
        println!("PSNR of samples of {CALLS} calls against those in f32, from the same noise:");
        for (precision, deviation) in computed.iter().zip(&deviations) {
            println!("{precision:>10}{:>10.1} dB", deviation.psnr_db);
        }
        for precision in left_out {
            if let Err(reason) = precision.check(device) {
                println!("left out: {reason}");
            }
        }
        Ok(())
    }

    /// The measurements and what they are.
    fn measurements(&self, network: &Network) -> Result<(MeasurementSet, String)> {
        if let Some(path) = &self.measurement {
            flags::note_if_slow(path)?;
            let set = MeasurementSet::read(path)?;
            return Ok((set, path.display().to_string()));
        }
        let images = dataset::load("fashion-mnist", Split::Test, None)?;
        ensure!(
            images.shape() == network.image_shape(),
            "{}: the network is for images of shape {}, and the test images here have {}: give \
             measurements of images of yours by --measurement (`eps measure` makes some)",
            self.network.display(),
            network.image_shape(),
            images.shape()
        );
        let task = match network {
            Network::Trained(checkpoint) => checkpoint.config.tasks.tasks().next(),
            Network::Scripted(_) => None,
        };
        let task = task.unwrap_or(Task::RandomInpainting);
        let chosen = test_images(IMAGES, images.len())?;
        let problem = Problem::draw(Setting::of(task), &images, &chosen, 0)?;
        Ok((problem.set, format!("{IMAGES} test images of Fashion-MNIST, {}", task.name())))
    }
}

/// The levels at which answers are compared, falling.
fn levels(network: &Network) -> Result<Vec<f64>> {
    let (sigma_min, sigma_max) = network.sigmas();
    let mut levels = Schedule::LogUniform { sigma_min, sigma_max }.sigmas(LEVELS)?;
    levels.pop();
    Ok(levels)
}

/// What every precision is asked.
struct Questions<'a> {
    set: &'a MeasurementSet,
    /// Images in one network call.
    batch: usize,
    /// The noise levels at which answers are compared.
    levels: &'a [f64],
    device: Device,
    bar: &'a ProgressBar,
}

impl Questions<'_> {
    /// Samples of a network, and its answers at noisy copies of `around`, or of those samples.
    fn ask(&self, network: &Network, around: Option<&Tensor>) -> Result<Answers> {
        let _guard = tch::no_grad_guard();
        let (shape, device) = (self.set.shape(), self.device);
        let sigmas = network.schedule().sigmas(CALLS)?;
        let images: Vec<usize> = (0..self.set.len()).collect();
        let mut samples = Vec::new();
        let mut denoised: Vec<Vec<Tensor>> = self.levels.iter().map(|_| Vec::new()).collect();
        for images in images.chunks(self.batch) {
            let measurement = measurement::on_device(self.set, images, device)?;
            let keys = |sample| {
                NoiseKeys::new(0, images.iter().map(|image| (*image as u64, sample)).collect())
            };
            let estimator = network.conditioning().estimator(network, &measurement);
            let noise = keys(0).on(shape, device);
            let mut bar = progress::advance(self.bar, 1);
            let drawn = Solver::Euler.sample_watched(&*estimator, &sigmas, &noise, &mut bar)?;
            let drawn = drawn.finished()?;
            let x_0 = match around {
                Some(all) => {
                    let [first, count] = [images[0], images.len()].map(i64::try_from);
                    all.narrow(0, first?, count?)
                }
                None => drawn.shallow_clone(),
            };
            let trained = trained(network.conditioning(), network, &measurement);
            for ((sample, sigma_t), denoised) in (1..).zip(self.levels).zip(&mut denoised) {
                let x_t = &x_0 + keys(sample).initial(shape, device) * *sigma_t;
                denoised.push(trained.estimate(&x_t, Level::edm(*sigma_t))?);
                self.bar.inc(1);
            }
            samples.push(drawn);
        }
        let joined = |parts: &Vec<Tensor>| Tensor::cat(parts, 0);
        Ok(Answers { denoised: denoised.iter().map(joined).collect(), samples: joined(&samples) })
    }
}

/// The question that a network was trained for: a prior is asked at the state.
fn trained<'a, D: Denoiser>(
    conditioning: Conditioning,
    denoiser: &'a D,
    measurement: &'a Measurement,
) -> Box<dyn Estimator + 'a> {
    match conditioning {
        Conditioning::ZeroShot => Box::new(Prior { denoiser }),
        Conditioning::Eps | Conditioning::Palette => conditioning.estimator(denoiser, measurement),
    }
}

impl Deviation {
    fn of(exact: &Answers, answers: &Answers) -> Result<Self> {
        let norm = |x: &Tensor| x.norm().double_value(&[]);
        let pairs = exact.denoised.iter().zip(&answers.denoised);
        let relative = pairs.map(|(exact, other)| norm(&(other - exact)) / norm(exact)).collect();
        let values = |x: &Tensor| -> Result<Vec<f64>> {
            Ok(Vec::try_from(x.to_device(Device::Cpu).to_kind(Kind::Double).flatten(0, -1))?)
        };
        let (images, truth) = (usize::try_from(exact.samples.size()[0])?, values(&exact.samples)?);
        let found = values(&answers.samples)?;
        let n = truth.len() / images;
        let mut sum = 0.0;
        for (truth, found) in truth.chunks_exact(n).zip(found.chunks_exact(n)) {
            sum += psnr(truth, found, 2.0)?;
        }
        Ok(Self { relative, psnr_db: sum / images as f64 })
    }
}

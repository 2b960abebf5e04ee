//! `eps model`: what a network is, and whether this program computes it as it should.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use eps_files::sha256_file;
use eps_math::Level;
use eps_math::parameterisation::Parameterisation;
use eps_math::timesteps::Between;
use eps_model::checkpoint::{self, CheckpointConfig, Provenance, Storage};
use eps_model::training_cost::training_cost;
use eps_model::verify::{VERIFY_LIMIT, verify};
use eps_model::{
    Denoiser as _, PUBLISHED, Precision, Query, QueryNoise, TrainingRecord, UNet, UNetConfig,
    batch, level_fields, published, published_betas,
};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::operator::{Target, read};
use crate::experiment::interval_calibration;
use crate::flags::{UsageError, seed};
use crate::precision_comparison;
use eps::dataset::network_of_name;
use eps::environment;
use eps::format::compared_number;
use eps::network::Network;

/// Look at networks.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare an architecture with outputs that the original's own code computed for known weights
    ///
    /// Of EDM, guided-diffusion, diffusers and EDM2. Prints one line a case: the largest deviation over the stored
    /// values, their mean and root mean square, relative to the root mean square. Exit code 1 above 1e-4.
    Verify {
        /// The fixture: architecture, tensors and outputs
        #[arg(value_name = "FILE.json")]
        fixture: PathBuf,
        /// Where the network runs: `cpu`, `cuda` or `cuda:N`; with NVIDIA_TF32_OVERRIDE=0 a GPU computes in full f32
        #[arg(long, default_value = "cpu", value_parser = eps_model::device)]
        device: Device,
    },
    /// Write a prior of a published architecture with random initial weights
    ///
    /// The preconditioning, the path of the noise and its levels are EDM's, or of a network of noise the chain's that
    /// it was published for: the file is what a training starts from that has no published weights to start from.
    Init {
        /// The name of the published file, without its ending
        #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(PUBLISHED))]
        name: String,
        /// The file to be made, with its folder
        #[arg(value_name = "OUT.safetensors")]
        out: PathBuf,
        /// The seed of the weights
        #[arg(long, default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
        seed: u64,
    },
    /// Print the configuration, size, work, memory in training, precision and origin of a network
    Show {
        /// The network, or the description of a prior
        #[arg(value_name = "NET.safetensors|PRIOR.json")]
        network: PathBuf,
        /// The class that a prior is tried out with, from 0 on, where it reads one
        #[arg(long, value_name = "K")]
        class: Option<usize>,
    },
    /// Write what a network makes of an image with noise, D(x; σ) = E[x₀ | x₀ + σ ε = x]
    ///
    /// A network that reads a measurement is asked without one.
    Denoise {
        /// The network, or the description of a prior
        #[arg(value_name = "NET.safetensors|PRIOR.json")]
        network: PathBuf,
        /// x, [C, H, W], on the scale [-1, 1] of the images
        #[arg(long, value_name = "X.npy")]
        image: PathBuf,
        /// σ, between the network's noise levels
        #[arg(long, value_name = "S", allow_negative_numbers = true)]
        sigma: f64,
        /// The class of the image, from 0 on, for a network that knows classes
        #[arg(long, value_name = "K")]
        class: Option<usize>,
        #[command(flatten)]
        target: Target,
    },
    /// Measure what lower precisions do to a network: its answers and samples against those in f32
    ///
    /// Prints, for noise levels between the network's ends, the rms of the difference between the
    /// answers in each precision and in f32, over the rms of the latter; and the PSNR of samples of 20
    /// calls against those in f32 from the same noise. Needs no clean images: the states lie around
    /// the samples.
    Precision(precision_comparison::Arguments),
    /// Calibrate the intervals of a network on images that it has not seen
    ///
    /// Validation images are measured by the law that the network was trained for, and restored; for each kind of measured
    /// value the factor is found by which 90 % intervals hold 90 % of the true values. Test images say how well that holds.
    /// The file NETWORK.intervals.json beside the network is what `eps restore` then widens its intervals by. A run that was
    /// cut off goes on where it was.
    Calibrate(interval_calibration::Arguments),
}

impl Arguments {
    /// Runs the subcommand.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.command {
            Command::Verify { fixture, device } => run_verify(fixture, *device),
            Command::Init { name, out, seed } => run_init(name, out, *seed),
            Command::Show { network, class } => run_show(&network_of_name(network), *class),
            Command::Denoise { network, image, sigma, class, target } => {
                run_denoise(&network_of_name(network), image, *sigma, *class, target)
            }
            Command::Precision(arguments) => arguments.run(),
            Command::Calibrate(arguments) => arguments.run(),
        }
    }
}

fn run_verify(path: &Path, device: Device) -> Result<()> {
    let report = verify(path, device)?;
    println!("{}: {} parameters in {} tensors", report.tag, report.parameters, report.tensors);
    for case in &report.cases {
        let verdict = if case.deviation <= VERIFY_LIMIT { "ok" } else { "FAILED" };
        println!("{:<14} deviation {:.2e}  {verdict}", case.question, case.deviation);
    }
    ensure!(
        report.passed(),
        "{}: the largest deviation is {:.2e}, above {VERIFY_LIMIT:.0e}: this build does not compute \
         the network as its original does",
        path.display(),
        report.deviation()
    );
    Ok(())
}

fn run_init(name: &str, out: &Path, seed: u64) -> Result<()> {
    ensure!(!out.exists(), "{} exists already: name another file, or remove it", out.display());
    let network = published(name).with_context(|| format!("no published network {name:?}"))?;
    let provenance = Provenance {
        source: "random initial weights, drawn by the law of the original".to_owned(),
        licence: env!("CARGO_PKG_LICENSE").to_owned(),
        command: environment::command_line(),
        training: TrainingRecord { seed: Some(seed), steps: Some(0), ..TrainingRecord::default() },
        start: None,
    };
    let config = match published_betas(name) {
        None => CheckpointConfig::edm_prior(name.to_owned(), network.clone(), provenance),
        Some(betas) => CheckpointConfig::parameterised_prior(
            name.to_owned(),
            network.clone(),
            Parameterisation::noise(betas, Between::Interpolate),
            provenance,
        )?,
    };
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let network = UNet::new(network, Device::Cpu, seed)?;
    checkpoint::save(out, &network, &config, Storage::F32)?;
    println!("{}: {} parameters", out.display(), network.parameter_count());
    println!("SHA-256 {}", sha256_file(out)?);
    Ok(())
}

fn run_denoise(
    path: &Path,
    image: &Path,
    sigma: f64,
    class: Option<usize>,
    target: &Target,
) -> Result<()> {
    target.check(&[path, image])?;
    let network = Network::load(path, class, Device::Cpu, Precision::F32)?;
    let (lowest, highest) = network.sigmas();
    if !(lowest..=highest).contains(&sigma) {
        bail!(UsageError(format!(
            "--sigma {sigma}: the network {:?} knows noise from {} to {}",
            network.name(),
            compared_number(lowest),
            compared_number(highest)
        )));
    }
    let (shape, x) = read(image)?;
    network.check_fit(shape).with_context(|| image.display().to_string())?;
    let level = level_fields(&[Level::edm(sigma)], Device::Cpu);
    let query =
        Query { mu: &batch(&x, shape, Device::Cpu), level: &level, noise: QueryNoise::Isotropic };
    let classes = class.as_ref().map(std::slice::from_ref);
    let answer = network.about(classes)?.denoise(&query)?;
    let values = Vec::<f64>::try_from(answer.flatten(0, -1).to_kind(Kind::Double))?;
    ensure!(
        values.iter().all(|value| value.is_finite()),
        "the answer of {} at sigma = {sigma} holds NaN or infinity: values of the image or its weights are beyond its precision, or the \
         weights are damaged",
        network.name()
    );
    target.write(shape, &values)
}

fn run_show(path: &Path, class: Option<usize>) -> Result<()> {
    let network = Network::load(path, class, Device::Cpu, Precision::F32)?;
    println!("{}: {:?}", path.display(), network.name());
    println!("{}", network.origin());
    println!("SHA-256 {}", sha256_file(path)?);
    match &network {
        Network::Trained(checkpoint) => {
            print_estimate(&checkpoint.config.network)?;
            let config = checkpoint.config.provenance.training.config.as_ref();
            let trained = config.and_then(|config| TrainedIn::deserialize(config).ok());
            println!(
                "weights stored in {}, {}; trained in {}",
                stored(path)?,
                if checkpoint.has_digests { "as their SHA-256 says" } else { DIGESTS_MISSING },
                trained.map_or(
                    "a precision that the file does not tell",
                    |TrainedIn { precision }| { precision.name() }
                )
            );
            println!("{}", serde_json::to_string_pretty(&checkpoint.config)?);
        }
        Network::Scripted(prior) => {
            println!("{}: SHA-256 {}", prior.script.display(), sha256_file(&prior.script)?);
            println!("{} parameters, constants not counted", prior.parameter_count()?);
            println!("tried out in f32");
            println!("{}", serde_json::to_string_pretty(&prior.description)?);
        }
    }
    Ok(())
}

/// What is told of the configuration of a training, of whatever version.
#[derive(Deserialize)]
struct TrainedIn {
    precision: Precision,
}

/// What is said of a file of before digests were written.
const DIGESTS_MISSING: &str = "without digests, as files of before these were written";

/// Size, work and memory of a network.
fn print_estimate(config: &UNetConfig) -> Result<()> {
    let found = training_cost(config)?;
    println!("{} parameters", found.parameters);
    println!("{:.4e} multiply-adds a forward pass of one image", found.multiply_adds as f64);
    let kept =
        |precision, recomputed| found.activation_bytes(1, precision, recomputed) as f64 / 1e6;
    for precision in [Precision::F32, Precision::Bf16] {
        println!(
            "{:.1} MB of activations to train on one image in {precision}, {:.1} MB with gradient \
             checkpointing",
            kept(precision, false),
            kept(precision, true)
        );
    }
    Ok(())
}

/// In what the weights of a network are stored.
fn stored(path: &Path) -> Result<&'static str> {
    let tensors = Tensor::read_safetensors(path)?;
    let is = |kind| tensors.iter().any(|(_, tensor)| tensor.kind() == kind);
    Ok(match (is(Kind::Half), is(Kind::BFloat16)) {
        (true, _) => "f16",
        (_, true) => "bf16",
        _ => "f32",
    })
}

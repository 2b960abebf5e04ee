//! `eps train`: a network from its configuration.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use eps_data::{ImageSet, Split, digest};
use eps_model::checkpoint::{self, AskedAt, CheckpointConfig, Provenance, Storage};
use eps_model::{NetworkDenoiser, Precision};
use eps_train::{Images, Objective, TrainConfig, train};
use serde_json::{Value, json};
use tch::{Device, Tensor};

use crate::flags::{DeviceFlags, count};
use crate::{dataset, network, record};

/// Train a network, or go on with a training that was stopped.
///
/// The folder holds the run: config.json, metrics.jsonl (losses), state.safetensors, and in the end
/// NAME.safetensors, the averaged weights with configuration and origin. A run that is killed goes on
/// from its last checkpoint when the same command is given again, and ends in the same weights bit
/// for bit on the same machine, device and number of threads.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The training configuration; its `start` is relative to its folder
    #[arg(value_name = "CONFIG.json")]
    config: PathBuf,
    /// The folder of the run, made where it is missing
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The folder with the data set's files, or FILE.h5 in place of the configuration's data set
    /// [default: where the repository keeps them]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// The network to start from, in place of the configuration's `start`
    #[arg(long, value_name = "NET.safetensors")]
    start: Option<PathBuf>,
    /// Steps, instead of the configuration's: fewer, to see that everything works
    #[arg(long, value_name = "N", value_parser = count)]
    steps: Option<usize>,
    /// Two steps on two images, each in a part of its own, to see that everything works
    #[arg(long, conflicts_with = "steps")]
    check: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

impl Arguments {
    /// Loads what the configuration names, trains, exports.
    pub(crate) fn run(&self) -> Result<()> {
        let config = self.config()?;
        let device = self.device.apply();
        let set = |split| dataset::load(&config.dataset, split, self.data.as_deref());
        let (training, validation) = (set(Split::Train)?, set(Split::Validation)?);
        let start_path = self.start_path(&config);
        let start =
            start_path.as_deref().map(|path| load_start(path, &config, device)).transpose()?;
        let images = Images { train: bytes(&training)?, validation: bytes(&validation)? };
        let denoiser = train(&config, start, &images, &self.out, device)
            .with_context(|| format!("the training of {:?} stopped", config.name))?;

        let losses = last_losses(&self.out.join("metrics.jsonl"))?;
        let start = start_path
            .map(|path| -> Result<Value> {
                let sha256 = digest::sha256_file(&path)?;
                Ok(json!({ "file": path.display().to_string(), "sha256": sha256 }))
            })
            .transpose()?;
        let record = json!({
            "config": config,
            "losses": losses,
            "dataset": training.provenance(),
            "start": start,
            "environment": record::environment(device),
        });
        let data = denoiser.data().cloned();
        let checkpoint = CheckpointConfig { data, ..checkpoint_config(&config, &training, record) };
        let path = self.out.join(format!("{}.safetensors", config.name));
        checkpoint::save(&path, denoiser.network(), &checkpoint, Storage::F16)?;
        println!("{}", path.display());
        println!("SHA-256 {}", digest::sha256_file(&path)?);
        println!(
            "after {} steps: training loss {}, validation loss {}",
            config.steps, losses["train_loss"], losses["validation_loss"]
        );
        Ok(())
    }

    fn config(&self) -> Result<TrainConfig> {
        let path = self.config.display();
        let file = File::open(&self.config)
            .with_context(|| format!("cannot open {path}: check the path of the configuration"))?;
        let config: TrainConfig = serde_json::from_reader(BufReader::new(file))
            .with_context(|| format!("{path} is no training configuration: correct it there"))?;
        let steps = self.steps.map_or(config.steps, |steps| steps as u64);
        let mut config = TrainConfig { steps, ..config };
        if self.check {
            config = TrainConfig {
                batch: 2,
                micro_batch: Some(1),
                steps: 2,
                checkpoint_every: 1,
                validation_images: 2,
                ..config
            };
        }
        config.validate().with_context(|| path.to_string())?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        ensure!(
            !config.name.is_empty()
                && !config.name.starts_with('.')
                && config.name.chars().all(plain),
            "{path}: the name {:?} becomes a file's name: use letters, digits, - and _",
            config.name
        );
        Ok(config)
    }

    fn start_path(&self, config: &TrainConfig) -> Option<PathBuf> {
        let beside = self.config.parent().unwrap_or(Path::new(""));
        self.start.clone().or_else(|| config.start.as_ref().map(|start| beside.join(start)))
    }
}

/// The network to start from, with input channels of zero weights for conditions that it lacks.
fn load_start(path: &Path, config: &TrainConfig, device: Device) -> Result<NetworkDenoiser> {
    let start = network::load(path, device, Precision::F32)
        .context("no network to start from: train it first, or name another one by --start")?;
    let network = checkpoint::widen(start.denoiser.network(), &config.network, device)
        .with_context(|| format!("{} cannot be the start of {:?}", path.display(), config.name))?;
    let conditions = config.conditions.clone();
    let denoiser = NetworkDenoiser::new(network, config.precondition, conditions, config.precision);
    Ok(match start.config.data {
        Some(data) => denoiser.with_data(data),
        None => denoiser,
    })
}

/// What the file of the network says of it.
fn checkpoint_config(config: &TrainConfig, set: &ImageSet, training: Value) -> CheckpointConfig {
    let measurements = config.objective.measurements();
    let asked_at = match config.objective {
        Objective::Denoise | Objective::Eps { .. } => AskedAt::Pivot,
        Objective::Palette { .. } => AskedAt::State,
    };
    CheckpointConfig {
        format_version: checkpoint::FORMAT_VERSION,
        name: config.name.clone(),
        network: config.network.clone(),
        precondition: config.precondition,
        conditions: config.conditions.clone(),
        interpolant: config.interpolant,
        sigma_min: config.noise_law.sigma_min,
        sigma_max: config.noise_law.sigma_max,
        tasks: measurements.map_or(vec![], |(tasks, _)| tasks.to_vec()),
        asked_at,
        sigma_y: measurements.map(|(_, sigma_y)| sigma_y),
        data: None,
        provenance: Provenance {
            source: format!("trained on {}", set.provenance().name),
            licence: env!("CARGO_PKG_LICENSE").to_owned(),
            command: record::command(),
            training,
        },
    }
}

/// The last line of a run's metrics.
fn last_losses(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .with_context(|| format!("{}: the last line is no record of losses", path.display()))
}

/// The pixels of a set, `[N, C, H, W]` in bytes.
fn bytes(set: &ImageSet) -> Result<Tensor> {
    let shape = set.shape();
    let dims = [set.len(), shape.channels, shape.height, shape.width].map(|side| side as i64);
    Ok(Tensor::f_from_slice(set.pixels())?.f_view(dims)?)
}

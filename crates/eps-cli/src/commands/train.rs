//! `eps train`: a network from its configuration.

use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;
use eps_cluster::{Group, agree, agree_on_machine};
use eps_data::{ImageProvenance, Split};
use eps_files::{sha256_file, write_atomically};
use eps_math::parameterisation::Parameterisation;
use eps_math::{OperatorLaw, PreconditionMode};
use eps_model::checkpoint::{self, AskedAt, CheckpointConfig, Origin, Provenance, Storage};
use eps_model::{ModelError, NetworkDenoiser, Precision, TrainingRecord};
use eps_results::Environment;
use eps_train::{
    Change, Images, LossRecord, Objective, SplitClasses, TrainConfig, TrainError, TrainProgress,
    agree_to_train, changes, train_together,
};
use serde::Serialize;
use serde_json::{Value, json};
use tch::Device;

use crate::flags::{DeviceFlags, count_to, note_if_emulated, positive};
use crate::growth::GrowthFlags;
use crate::machine_images::MachineImages;
use crate::progress::Clock;
#[cfg(feature = "nccl")]
use crate::together::exchange_of;
use crate::together::{Processes, device_of, speaks};
use crate::training_plan::{Rate, dry_run};
use eps::network::FileRecord;
use eps::{dataset, environment, network, training_config, workers};

/// The most letters of a network's name: most systems allow 255 bytes, and a temporary name is longer than the file's.
const LONGEST_NAME: usize = 200;

/// The most characters of a configuration: the header of the network's file, of 100 MB at most, holds the operators twice, and as escaped text.
const LONGEST_CONFIG: usize = 40_000_000;

/// What is said where the network of `start` cannot be read.
const NO_START: &str = "no network to start from: train it first, or name another one by --start";

/// Train a network, or go on with a training that was stopped.
///
/// The folder holds the run: config.json, metrics.jsonl (losses), state.safetensors, and in the end
/// NAME.safetensors, the averaged weights with configuration and origin. A run that is killed goes on
/// from its last checkpoint when the same command is given again, and ends in the same weights, on one CPU with
/// one number of threads bit for bit. Started by mpirun, srun or torchrun, the processes share every batch (docs/cluster.md). A run
/// also goes on with more steps or another learning rate, which changes.json and
/// the network's origin then tell.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The training configuration; its `start`, and files that its operators name, are relative to its folder
    #[arg(value_name = "CONFIG.json")]
    config: PathBuf,
    /// The folder of the run, made where it is missing
    #[arg(long, value_name = "FOLDER", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// The folder with the data set's files, or FILE.h5 in place of the configuration's data set
    /// [default: where the repository keeps them]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// The network to start from, in place of the configuration's `start`
    #[arg(long, value_name = "NET.safetensors")]
    start: Option<PathBuf>,
    /// Steps, instead of the configuration's: fewer, to see that everything works
    #[arg(long, value_name = "N", value_parser = count_to::<1_000_000_000>)]
    steps: Option<usize>,
    /// The peak learning rate, instead of the configuration's: a lower one after a training that diverged
    #[arg(long, value_name = "X", value_parser = positive, allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// In what the network's file stores the weights: f32, f16, or bf16, which is as small as f16 and has the range of
    /// f32; a run that is done is stored anew by the same command
    #[arg(long, value_name = "f32|f16|bf16", default_value = "f16")]
    storage: Storage,
    /// The precision of the passes, f32 or bf16, instead of the configuration's; weights and optimiser
    /// are f32. A run goes on only in the one that its config.json tells
    #[arg(long, value_name = "f32|bf16")]
    precision: Option<Precision>,
    /// Two steps on two images, or as many as there are processes, each in a part of its own, to see that everything works
    #[arg(long, conflicts_with = "steps")]
    check: bool,
    /// Print parameters, memory, work and time of the training, and end: needs neither data nor --out
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    rate: Rate,
    #[command(flatten)]
    growth: GrowthFlags,
    #[command(flatten)]
    device: DeviceFlags,
}

impl Arguments {
    /// Loads what the configuration names, trains, exports.
    pub(crate) fn run(&self, processes: &Processes) -> Result<()> {
        let config = self.config(processes)?;
        if self.dry_run {
            let print = || dry_run(&config, self.rate.tflops, &self.growth);
            return if speaks() { print() } else { Ok(()) };
        }
        let group = processes.group()?;
        let out = self.out.as_deref().context("--out is missing")?;
        let device = device_of(group, self.device.apply());
        let data =
            self.data.as_ref().map_or(config.dataset.clone(), |path| path.display().to_string());
        agree_on_machine(group, "--data", &data)?;
        let load = |split| {
            let read = || Ok(dataset::load(&config.dataset, split, self.data.as_deref())?);
            let images = MachineImages::load(group, read)?;
            let images_of = || format!("the images of {}", self.shown_data(&config));
            config.check_images(images.shape).with_context(images_of)?;
            anyhow::Ok(images)
        };
        let start_path = self.start_path(&config);
        let start_sha256 = start_path.as_deref().map(sha256_file).transpose().context(NO_START)?;
        let training = load(Split::Train)?;
        if training.shape != config.network.image_shape() {
            eprintln!(
                "note: the images have shape {}, and network.img_resolution is {}: the network learns on images of \
                 that size, and takes others",
                training.shape,
                config.network.image_shape().height
            );
        }
        let provenance = training.provenance;
        let start =
            start_path.as_deref().map(|path| load_start(path, &config, device)).transpose()?;
        let (start, origin) = start.unzip();
        let validation = load(Split::Validation)?;
        let classes = training.classes.zip(validation.classes);
        check_classes(&config, classes.as_ref().map(|(train, _)| train.as_slice()))?;
        let images = Images {
            train: training.pixels,
            validation: validation.pixels,
            classes: classes.map(|(train, validation)| SplitClasses { train, validation }),
        };
        let inputs = json!({ "dataset": provenance.sha256, "start": start_sha256 });
        agree(group, &[("files (SHA-256 of data set and start)".to_owned(), inputs.to_string())])?;
        if group.size() > 1 && config.micro_batch.is_none() {
            eprintln!(
                "note: without micro_batch each process takes its share of {} images at once, and the last bits of the \
                 weights depend on the number of processes: set micro_batch for the same weights on any number",
                config.batch
            );
        }
        note_of_threads(group);
        agree_to_train(group, &config, &images, start.as_ref())?;
        // After all checks: a folder that was claimed goes on with these files alone.
        let is_first = group.rank() == 0;
        if is_first {
            claim_inputs(out, &config.name, &inputs)?;
        }
        let changed = if is_first { changes_in(&config, out) } else { vec![] };
        // A rate is that of this leg: the bar begins where it does.
        let mut clock = None;
        let mut observer = |progress: TrainProgress| {
            let clock = clock.get_or_insert_with(|| {
                // A run that cannot go on has failed by now.
                changed.iter().for_each(|change| eprintln!("note: {change}"));
                note_if_emulated(config.precision, device);
                Clock::of_training(&config, progress.step)
            });
            if let Some(losses) = progress.losses {
                let (train, validation) = (losses.train_loss, losses.validation_loss);
                clock.bar.set_message(format!("loss {train:.4}, validation {validation:.4}"));
            }
            clock.advance(progress.step - clock.bar.position());
            ControlFlow::Continue(())
        };
        let stopped = |error: TrainError| match error {
            // Every process has it and no step was made.
            TrainError::Cluster(_) => error.into(),
            error => anyhow!(error).context(format!("the training of {:?} stopped", config.name)),
        };
        #[cfg(feature = "nccl")]
        let connected = exchange_of(group, device)?;
        #[cfg(feature = "nccl")]
        let exchange = connected.as_ref().map(|exchange| exchange as _);
        #[cfg(not(feature = "nccl"))]
        let exchange = None;
        let all = eps_train::Processes { group, exchange };
        let denoiser = train_together(all, &config, start, &images, out, device, &mut observer)
            .map_err(stopped)?;
        #[cfg(feature = "nccl")]
        if let Some(exchange) = connected {
            exchange.close();
        }
        clock.iter().for_each(|clock| clock.bar.finish());
        if !is_first {
            return Ok(());
        }

        let losses = last_losses(&out.join("metrics.jsonl"))?;
        let start = start_path
            .zip(start_sha256)
            .map(|(path, sha256)| FileRecord { file: path.display().to_string(), sha256 });
        let record = RunRecord {
            config: &config,
            losses,
            dataset: &provenance,
            start,
            environment: environment::record(device),
            changes: changes(out)?,
        };
        let record = record.kept()?;
        let data = denoiser.data().cloned();
        let own = dataset::is_own(&config.dataset, self.data.as_deref());
        let licence = licence(origin.as_ref(), (!own).then_some(&provenance.licence));
        let checkpoint = checkpoint_config(&config, &provenance.name, licence, origin, record);
        let checkpoint = CheckpointConfig { data, ..checkpoint };
        let path = out.join(format!("{}.safetensors", config.name));
        checkpoint::save(&path, denoiser.network(), &checkpoint, self.storage).map_err(
            |error| match error {
                ModelError::Overflow { .. } => anyhow!(error).context(
                    "give the same command with --storage bf16 or --storage f32, no step is done again",
                ),
                error => anyhow!(error).context(
                    "the network could not be written; the same command writes it, no step is done again",
                ),
            },
        )?;
        println!("{}", path.display());
        println!("SHA-256 {}", sha256_file(&path)?);
        println!("{}", network::origin(&checkpoint.provenance));
        println!(
            "after {} steps: training loss {:?}, validation loss {:?}",
            config.steps, losses.train_loss, losses.validation_loss
        );
        Ok(())
    }

    fn config(&self, processes: &Processes) -> Result<TrainConfig> {
        let path = self.config.display();
        let config = training_config::read(&self.config)?;
        let steps = self.steps.map_or(config.steps, |steps| steps as u64);
        let precision = self.precision.unwrap_or(config.precision);
        let learning_rate = self.learning_rate.unwrap_or(config.learning_rate);
        let mut config = TrainConfig { steps, precision, learning_rate, ..config };
        if self.check {
            // A part for every process.
            let batch = processes.size().max(2);
            config = TrainConfig {
                batch,
                micro_batch: Some(1),
                steps: 2,
                checkpoint_every: 1,
                validation_images: batch,
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
        ensure!(
            config.name.len() <= LONGEST_NAME,
            "{path}: the name has {} letters and becomes a file's name: give it {LONGEST_NAME} at most",
            config.name.len()
        );
        let length = serde_json::to_string(&config)?.len();
        ensure!(
            length <= LONGEST_CONFIG,
            "{path}: with the numbers of its operators the configuration has {length} characters, which the network's file keeps: \
             {LONGEST_CONFIG} at most fit into it, so give smaller operators"
        );
        Ok(config)
    }

    /// The data set, for messages.
    fn shown_data(&self, config: &TrainConfig) -> String {
        let named = |data: &PathBuf| format!("--data {}", data.display());
        self.data.as_ref().map_or_else(|| config.dataset.clone(), named)
    }

    fn start_path(&self, config: &TrainConfig) -> Option<PathBuf> {
        let beside = self.config.parent().unwrap_or(Path::new(""));
        self.start.clone().or_else(|| config.start.as_ref().map(|start| beside.join(start)))
    }
}

/// The network to start from, with input channels of zero weights for conditions that it lacks, and
/// its origin.
fn load_start(
    path: &Path,
    config: &TrainConfig,
    device: Device,
) -> Result<(NetworkDenoiser, Origin)> {
    let start = network::load(path, device, Precision::F32).context(NO_START)?;
    let network = checkpoint::widen(start.denoiser.network(), &config.network, device)
        .with_context(|| format!("{} cannot be the start of {:?}", path.display(), config.name))?;
    ensure!(
        start.config.parameterisation == config.parameterisation,
        "{} is asked as {}, the configuration says {}: give it the parameterisation of its start, as `eps model show` \
         prints it",
        path.display(),
        shown(start.config.parameterisation.as_ref())?,
        shown(config.parameterisation.as_ref())?
    );
    let denoiser = config.denoiser(network)?;
    let is_wiener = config.precondition.mode == PreconditionMode::Wiener;
    let denoiser = match start.config.data.filter(|_| is_wiener) {
        Some(data) => denoiser.with_data(data),
        None => denoiser,
    };
    Ok((denoiser, start.config.provenance.origin(sha256_file(path)?)))
}

/// How a network is asked, for messages.
fn shown(parameterisation: Option<&Parameterisation>) -> Result<String> {
    Ok(match parameterisation {
        Some(parameterisation) => serde_json::to_string(parameterisation)?,
        None => "EDM's networks are".to_owned(),
    })
}

/// Says so where processes have different numbers of threads, on which the last bits of the weights depend.
fn note_of_threads(group: &dyn Group) {
    let own = workers::threads().to_string();
    let all = group.all_gather(own.as_bytes());
    if let Some(other) = all.iter().find(|threads| **threads != all[0]) {
        eprintln!(
            "note: processes compute with {} and with {} threads: the last bits of the weights depend on it; --threads sets one \
             number for all",
            String::from_utf8_lossy(&all[0]),
            String::from_utf8_lossy(other)
        );
    }
}

/// The licence of weights: that of those they started as, and that of the images where these are a
/// user's; this project's own where there is neither.
fn licence(start: Option<&Origin>, images: Option<&String>) -> String {
    let stated = images.map(|licence| licence.trim());
    let stated = stated.filter(|licence| !matches!(*licence, "" | "unknown" | "not stated"));
    match (start.map(|start| start.licence.as_str()), stated) {
        (Some(start), Some(images)) if !start.contains(images) => {
            format!("{start} (start) and {images} (images)")
        }
        (Some(start), _) => start.to_owned(),
        (None, Some(images)) => images.to_owned(),
        (None, None) if images.is_some() => "not stated".to_owned(),
        (None, None) => env!("CARGO_PKG_LICENSE").to_owned(),
    }
}

/// What a training leaves in the file of its network, beside the weights.
#[derive(Serialize)]
struct RunRecord<'a> {
    config: &'a TrainConfig,
    losses: LossRecord,
    dataset: &'a ImageProvenance,
    start: Option<FileRecord>,
    environment: Environment,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
}

impl RunRecord<'_> {
    /// As the file has it, by way of a value, as most of it is not known there.
    fn kept(&self) -> Result<TrainingRecord> {
        Ok(serde_json::from_value(serde_json::to_value(self)?)?)
    }
}

/// What the file of the network says of it.
fn checkpoint_config(
    config: &TrainConfig,
    dataset: &str,
    licence: String,
    start: Option<Origin>,
    training: TrainingRecord,
) -> CheckpointConfig {
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
        parameterisation: config.parameterisation,
        conditions: config.conditions.clone(),
        interpolant: config.interpolant,
        sigma_min: config.noise_law.sigma_min,
        sigma_max: config.noise_law.sigma_max,
        tasks: measurements.map_or_else(OperatorLaw::default, |(tasks, _)| tasks.clone()),
        asked_at,
        sigma_y: measurements.map(|(_, sigma_y)| sigma_y),
        data: None,
        provenance: Provenance {
            source: format!("trained on {dataset}"),
            licence,
            command: environment::command_line(),
            training,
            start: start.map(Box::new),
        },
    }
}

/// The last line of a run's metrics.
fn last_losses(path: &Path) -> Result<LossRecord> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .with_context(|| format!("{}: the last line is no record of losses", path.display()))
}

/// Keeps what the run of the network `name` in `out` reads, or checks that it is what an earlier leg has read.
fn claim_inputs(out: &Path, name: &str, inputs: &Value) -> Result<()> {
    let path = out.join("inputs.json");
    let is_run = out.join("config.json").is_file();
    ensure!(
        path.is_file() || !is_run,
        "--out {}: its config.json is of no training: name another folder",
        out.display()
    );
    ensure!(
        out.is_dir() || out.symlink_metadata().is_err(),
        "--out {} is no folder: name another one, which is made where it is missing",
        out.display()
    );
    let network = format!("{name}.safetensors");
    let written = [network.as_str(), "state.safetensors", "metrics.jsonl", "changes.json"];
    let foreign =
        written.into_iter().find(|name| !is_run && out.join(name).symlink_metadata().is_ok());
    if let Some(foreign) = foreign {
        bail!(
            "--out {}: it holds no run, and its {foreign} would be replaced: name another folder",
            out.display()
        );
    }
    let cannot = |what: &str| format!("cannot {what} {}", path.display());
    if path.is_file() {
        let text = fs::read_to_string(&path).with_context(|| cannot("read"))?;
        let found: Value = serde_json::from_str(&text).with_context(|| cannot("understand"))?;
        ensure!(
            found == *inputs,
            "the run in {} has read other files (SHA-256 of data set and start {found}, now {inputs}): \
             give it the same, or name another folder by --out",
            out.display()
        );
        return Ok(());
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    write_atomically(&path, |file| writeln!(file, "{inputs:#}"))?;
    Ok(())
}

/// What the run in a folder goes on with that it has not had until now, a sentence each; or that it cannot go on.
fn changes_in(config: &TrainConfig, out: &Path) -> Vec<String> {
    let Ok(before) = TrainConfig::read(&out.join("config.json")) else { return vec![] };
    let state = out.join("state.safetensors");
    if !state.exists() && last_losses(&out.join("metrics.jsonl")).is_ok() {
        return vec![format!(
            "{}, from which the run would go on, is not there: it starts again",
            state.display()
        )];
    }
    let changes = [
        ("steps", before.steps as f64, config.steps as f64),
        ("learning_rate", before.learning_rate, config.learning_rate),
    ];
    let changed = changes.into_iter().filter(|(_, before, now)| before != now);
    let out = out.display();
    changed
        .map(|(field, before, now)| {
            format!("the run in {out} goes on with {field} {now}, until now it was {before}")
        })
        .collect()
}

/// Whether the classes of a data set can be those that the network knows.
fn check_classes(config: &TrainConfig, classes: Option<&[usize]>) -> Result<()> {
    let known = config.network.label_dim();
    if known == 0 {
        return Ok(());
    }
    let classes = classes.with_context(|| {
        format!(
            "the network {:?} learns {known} classes and the images of {} have none: import them with \
             --labels, or set label_dim to 0",
            config.name, config.dataset
        )
    })?;
    let found = classes.iter().max().map_or(0, |last| last + 1);
    ensure!(
        found <= known,
        "the images of {} are of {found} classes, the network {:?} knows {known}: set label_dim to {found}, \
         or import fewer classes",
        config.dataset,
        config.name
    );
    if found < known {
        eprintln!(
            "note: the images of {} are of {found} classes, the network {:?} knows {known}: their \
             numbers may not mean the same",
            config.dataset, config.name
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use eps_model::UNet;

    #[test]
    fn a_run_goes_on_with_the_files_that_it_has_read() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let inputs = json!({ "dataset": "ab", "start": null });
        claim_inputs(&out, "net", &inputs).unwrap();
        claim_inputs(&out, "net", &inputs).unwrap();
        let other = json!({ "dataset": "cd", "start": null });
        let error = claim_inputs(&out, "net", &other).unwrap_err().to_string();
        assert!(error.contains("ab") && error.contains("cd") && error.contains("--out"), "{error}");
    }

    #[test]
    fn a_folder_that_is_no_run_keeps_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = json!({});
        for name in ["net.safetensors", "state.safetensors", "metrics.jsonl", "changes.json"] {
            let path = folder.path().join(name);
            fs::write(&path, "mine").unwrap();
            let error = claim_inputs(folder.path(), "net", &inputs).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("another folder"), "{error}");
            let error = claim_inputs(&path, "net", &inputs).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("is no folder"), "{error}");
            fs::remove_file(path).unwrap();
        }
        // Another network beside it is none of its business.
        fs::write(folder.path().join("other.safetensors"), "mine").unwrap();
        claim_inputs(folder.path(), "net", &inputs).unwrap();
    }

    /// A configuration, and the folder's file of a network with this licence and start.
    fn start(folder: &Path, licence: &str, start: Option<Origin>) -> (TrainConfig, PathBuf) {
        let file = dataset::in_repository("data/networks/fashion/prior.json");
        let config: TrainConfig = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let checkpoint =
            checkpoint_config(&config, "n", licence.to_owned(), start, TrainingRecord::default());
        let network = UNet::new(config.network.clone(), Device::Cpu, 0).unwrap();
        let path = folder.join("start.safetensors");
        checkpoint::save(&path, &network, &checkpoint, Storage::F16).unwrap();
        (config, path)
    }

    #[test]
    fn a_network_keeps_origin_and_licence_of_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let licence = "CC BY-NC-SA 4.0".to_owned();
        let imported = Origin {
            source: "edm.pkl".to_owned(),
            sha256: "ab".repeat(32),
            licence: licence.clone(),
            start: None,
        };
        let (config, path) = start(folder.path(), &licence, Some(imported.clone()));
        let (_, origin) = load_start(&path, &config, Device::Cpu).unwrap();
        assert_eq!(origin.sha256, sha256_file(&path).unwrap());
        assert_eq!((&*origin.source, &origin.licence), ("trained on n", &licence));
        assert_eq!(origin.start.as_deref(), Some(&imported));

        let next = super::licence(Some(&origin), None);
        let next = checkpoint_config(&config, "m", next, Some(origin), TrainingRecord::default())
            .provenance;
        assert_eq!(next.licence, licence);
        let line = network::origin(&next);
        for words in ["trained on m", "trained on n", "edm.pkl (SHA-256 abab", "non-commercial"] {
            assert!(line.contains(words), "{words:?} is not in: {line}");
        }
    }

    #[test]
    fn weights_are_under_the_licence_of_what_they_learnt_from() {
        let start = |licence: &str| Origin {
            source: "a".to_owned(),
            sha256: "ab".repeat(32),
            licence: licence.to_owned(),
            start: None,
        };
        let (ours, theirs) = (env!("CARGO_PKG_LICENSE"), "CC BY-NC 4.0".to_owned());
        assert_eq!(licence(None, None), ours);
        assert_eq!(licence(None, Some(&theirs)), theirs);
        for unstated in ["unknown", "", "not stated"] {
            assert_eq!(licence(None, Some(&unstated.to_owned())), "not stated");
            assert_eq!(licence(Some(&start(ours)), Some(&unstated.to_owned())), ours);
        }
        let both = licence(Some(&start(ours)), Some(&theirs));
        assert_eq!(both, format!("{ours} (start) and {theirs} (images)"));
        assert_eq!(licence(Some(&start(&both)), Some(&theirs)), both);
    }
}

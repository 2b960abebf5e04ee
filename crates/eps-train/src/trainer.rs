//! The training loop: a folder holds a run, and a run that was killed goes on from it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use eps_files::{FilesError, Lock, PartFile, write_bytes};
use eps_math::{PreconditionMode, Shape};
use eps_model::{DataMoments, Mode, NetworkDenoiser, UNet, attempt, one_hot, values_of_bytes};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::balance::Balance;
use crate::objective::add_gradient;
use crate::optimiser::Optimiser;
use crate::{BatchStreams, TrainConfig, TrainError, loss};

/// The first batch number of validation: batches of training count from 0 and never reach it.
const VALIDATION_BATCHES: u64 = 1 << 63;

/// The images of a run, `[N, C, H, W]` in bytes, v ↦ v/127.5 − 1.
#[derive(Debug)]
pub struct Images {
    /// The training split.
    pub train: Tensor,
    /// The validation split.
    pub validation: Tensor,
    /// The classes of both, where the data set has them: a conditional network learns with them, and
    /// with zeros where there are none.
    pub classes: Option<Classes>,
}

/// The classes of [`Images`], one an image, from 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    /// Those of the training split.
    pub train: Vec<usize>,
    /// Those of the validation split.
    pub validation: Vec<usize>,
}

impl Images {
    /// The classes of both splits for a network that knows them, `[N]`.
    fn known_classes(&self, config: &TrainConfig) -> Result<Option<[Tensor; 2]>, TrainError> {
        let label_dim = config.network.label_dim();
        let Some(classes) = self.classes.as_ref().filter(|_| label_dim > 0) else {
            return Ok(None);
        };
        for (field, classes, images) in [
            ("the number of training classes", &classes.train, &self.train),
            ("the number of validation classes", &classes.validation, &self.validation),
        ] {
            if classes.len() as i64 != images.size()[0] {
                let value = classes.len() as f64;
                return Err(TrainError::Config { field, value, range: "that of the images" });
            }
        }
        for last in [&classes.train, &classes.validation].into_iter().flat_map(|c| c.iter().max()) {
            let _ = one_hot(&[*last], label_dim, Device::Cpu)?;
        }
        let numbers = |classes: &[usize]| {
            Tensor::from_slice(&classes.iter().map(|class| *class as i64).collect::<Vec<_>>())
        };
        Ok(Some([numbers(&classes.train), numbers(&classes.validation)]))
    }
}

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Record {
    /// Steps done.
    pub step: u64,
    /// Images seen.
    pub images: u64,
    /// The mean training loss since the last line, dimensionless.
    pub train_loss: f64,
    /// The loss of the averaged weights on fixed validation batches, dimensionless.
    pub validation_loss: f64,
    /// Seconds that the run has taken, over all its legs.
    pub seconds: f64,
}

/// Trains a network, or goes on with the run that `folder` holds, and leaves in it `config.json`,
/// `metrics.jsonl` and `state.safetensors`.
///
/// Everything random is a function of the seed and the step, and the state is written whole before
/// it replaces the last one: a run that was killed ends in the same weights as one that was not, on one CPU
/// with one number of threads bit for bit. On CUDA cuDNN may add in another order.
///
/// # Errors
/// [`TrainError::Config`] for a number out of its range and [`TrainError::Images`] for images of another
/// shape than the network's, both before the folder is touched; [`TrainError::OtherRun`] if the folder
/// holds another configuration, [`FilesError::Busy`] if another process trains there,
/// [`TrainError::State`] for a damaged state, [`TrainError::Diverged`] if the loss stops being a number,
/// [`TrainError::Compute`] if memory runs out, and those of reading and writing.
pub fn train(
    config: &TrainConfig,
    start: Option<NetworkDenoiser>,
    images: &Images,
    folder: &Path,
    device: Device,
) -> Result<NetworkDenoiser, TrainError> {
    train_until(config, start, images, folder, device, config.steps)
}

/// [`train`] up to a step of the run at most; what was done since the last checkpoint is not kept.
///
/// # Errors
/// Those of [`train`].
pub fn train_until(
    config: &TrainConfig,
    start: Option<NetworkDenoiser>,
    images: &Images,
    folder: &Path,
    device: Device,
    last_step: u64,
) -> Result<NetworkDenoiser, TrainError> {
    // Memory can run out in any operation of a step. What was written before stays, and the run goes on from it.
    attempt(|| go_on(config, start, images, folder, device, last_step))?
}

fn go_on(
    config: &TrainConfig,
    start: Option<NetworkDenoiser>,
    images: &Images,
    folder: &Path,
    device: Device,
    last_step: u64,
) -> Result<NetworkDenoiser, TrainError> {
    config.validate()?;
    for split in [&images.train, &images.validation] {
        config.check_images(shape_of(split)?)?;
    }
    let classes = images.known_classes(config)?;
    let [train_classes, validation_classes] = classes.map_or([None, None], |both| both.map(Some));
    let label_dim = config.network.label_dim() as i64;
    let training = Examples { images: &images.train, classes: train_classes.as_ref(), label_dim };
    let is_new = !holds_run(config, folder)?;
    std::fs::create_dir_all(folder).map_err(FilesError::io(folder, "make"))?;
    let _lock = Lock::take(&folder.join("lock"), folder)?;
    // Another process may have begun meanwhile, and ended.
    if is_new && !holds_run(config, folder)? {
        write_config(config, folder)?;
    }
    let mut denoiser = match start {
        Some(mut denoiser) => {
            denoiser.network_mut().variables_mut().unfreeze();
            denoiser
        }
        None => NetworkDenoiser::new(
            UNet::new(config.network.clone(), device, config.seed)?,
            config.precondition,
            config.conditions.clone(),
            config.precision,
        ),
    };
    if config.precondition.mode == PreconditionMode::Wiener && denoiser.data().is_none() {
        denoiser = denoiser.with_data(DataMoments::of(&images.train)?);
    }
    let mut optimiser = Optimiser::new(denoiser.network().variables().trainable_variables());
    let mut balance = Balance::of(config, device);
    let state_path = folder.join("state.safetensors");
    let mut run = Run { step: 0, seconds: 0.0, loss_sum: 0.0 };
    if state_path.exists() {
        run = load_state(&state_path, &mut optimiser, balance.as_mut(), device)?;
        optimiser.publish();
    }
    let metrics_path = folder.join("metrics.jsonl");
    truncate_metrics(&metrics_path, run.step)?;

    let bar = progress_bar(config, run.step);
    let held_out =
        Examples { images: &images.validation, classes: validation_classes.as_ref(), label_dim };
    let mut clock = std::time::Instant::now();
    while run.step < config.steps.min(last_step) {
        let value = accumulate(&denoiser, config, training, balance.as_mut(), run.step)?;
        let seen = ((run.step + 1) * config.batch as u64) as f64;
        let average_factor = config.ema.factor(seen, config.batch as f64);
        optimiser.step(run.step, config.learning_rate_at(run.step), average_factor);
        if !value.is_finite() {
            return Err(TrainError::Diverged { step: run.step, loss: value });
        }
        run.step += 1;
        run.loss_sum += value;
        bar.inc(1);
        if run.step.is_multiple_of(config.checkpoint_every) || run.step == config.steps {
            optimiser.publish_average();
            let validation_loss = validation_loss(&denoiser, config, held_out, device)?;
            optimiser.publish();
            run.seconds += clock.elapsed().as_secs_f64();
            clock = std::time::Instant::now();
            let steps = (run.step - 1) % config.checkpoint_every + 1;
            let record = Record {
                step: run.step,
                images: run.step * config.batch as u64,
                train_loss: run.loss_sum / steps as f64,
                validation_loss,
                seconds: run.seconds,
            };
            bar.set_message(format!(
                "loss {:.4}, validation {:.4}",
                record.train_loss, record.validation_loss
            ));
            run.loss_sum = 0.0;
            append_record(&metrics_path, &record)?;
            save_state(&state_path, &optimiser, balance.as_ref(), run)?;
        }
    }
    bar.finish();
    optimiser.publish_average();
    Ok(denoiser)
}

/// The shape of one image of `[N, C, H, W]`.
fn shape_of(images: &Tensor) -> Result<Shape, TrainError> {
    let (_, channels, height, width) = images.size4()?;
    let [channels, height, width] = [channels, height, width].map(|side| side as usize);
    Ok(Shape::new(channels, height, width)?)
}

/// One split of a run's images, with the classes that a conditional network learns.
#[derive(Debug, Clone, Copy)]
struct Examples<'a> {
    images: &'a Tensor,
    /// `[N]`
    classes: Option<&'a Tensor>,
    label_dim: i64,
}

impl Examples<'_> {
    /// The chosen images as f64 in [-1, 1], and their one-hot labels in f32.
    fn select(&self, indices: &[i64], device: Device) -> (Tensor, Option<Tensor>) {
        let indices = Tensor::from_slice(indices);
        let images = self.images.index_select(0, &indices).to_device(device);
        let labels = self.classes.map(|classes| {
            let chosen = classes.index_select(0, &indices).to_device(device);
            chosen.one_hot(self.label_dim).to_kind(Kind::Float)
        });
        (values_of_bytes(&images), labels)
    }

    fn len(&self) -> usize {
        self.images.size()[0] as usize
    }
}

/// Adds the gradient of a step's loss to the weights, part by part, and returns the loss.
fn accumulate(
    denoiser: &NetworkDenoiser,
    config: &TrainConfig,
    training: Examples<'_>,
    balance: Option<&mut Balance>,
    step: u64,
) -> Result<f64, TrainError> {
    let device = denoiser.network().variables().device();
    let whole = BatchStreams { seed: config.seed, batch: step, first: 0 };
    let indices = draw_indices(training.len(), config.batch, whole);
    let mut parts = Vec::new();
    let mut first = 0;
    for part in indices.chunks(config.micro_batch.unwrap_or(config.batch)) {
        let streams = BatchStreams { first, ..whole };
        let (x_0, labels) = training.select(part, device);
        let (labels, balance) = (labels.as_ref(), balance.as_deref());
        parts.push(add_gradient(denoiser, config, &x_0, labels, streams, balance)?);
        first += part.len();
    }
    if let Some(balance) = balance {
        balance.update(&parts);
    }
    // Read at the end: reading waits for the device.
    let errors: Vec<&Tensor> = parts.iter().map(|part| &part.of_images).collect();
    Ok(Tensor::cat(&errors, 0).mean(Kind::Double).double_value(&[]))
}

/// Where a run is.
#[derive(Debug, Clone, Copy)]
struct Run {
    step: u64,
    seconds: f64,
    loss_sum: f64,
}

/// Whether a folder holds a run of this configuration; fails where it holds another.
fn holds_run(config: &TrainConfig, folder: &Path) -> Result<bool, TrainError> {
    let path = folder.join("config.json");
    if !path.exists() {
        return Ok(false);
    }
    let file = File::open(&path).map_err(FilesError::io(&path, "open"))?;
    let found: TrainConfig = serde_json::from_reader(BufReader::new(file))
        .map_err(|source| TrainError::Json { path, source })?;
    if found == *config { Ok(true) } else { Err(TrainError::OtherRun(folder.to_owned())) }
}

fn write_config(config: &TrainConfig, folder: &Path) -> Result<(), TrainError> {
    let path = folder.join("config.json");
    let text = serde_json::to_string_pretty(config)
        .map_err(|source| TrainError::Json { path: path.clone(), source })?;
    Ok(write_bytes(&path, text.as_bytes())?)
}

fn progress_bar(config: &TrainConfig, done: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix} {bar:32} {pos}/{len} steps, {per_sec}, {eta} left  {msg}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(config.steps)
        .with_style(style)
        .with_prefix(config.name.clone())
        .with_position(done)
}

/// The images of one training batch, drawn uniformly with replacement.
fn draw_indices(count: usize, batch: usize, streams: BatchStreams) -> Vec<i64> {
    (0..batch).map(|i| streams.shared().below(1 + i as u64, count) as i64).collect()
}

/// The loss over the first images of the validation split, in batches of their own streams.
fn validation_loss(
    denoiser: &NetworkDenoiser,
    config: &TrainConfig,
    validation: Examples<'_>,
    device: Device,
) -> Result<f64, TrainError> {
    let _guard = tch::no_grad_guard();
    let indices: Vec<i64> = (0..config.validation_images.min(validation.len()) as i64).collect();
    let at_once = config.micro_batch.map_or(config.batch, |part| part.min(config.batch));
    let mut sum = 0.0;
    for (batch, part) in (VALIDATION_BATCHES..).zip(indices.chunks(at_once)) {
        let streams = BatchStreams { seed: config.seed, batch, first: 0 };
        let (x_0, labels) = validation.select(part, device);
        let value = loss(denoiser, config, &x_0, labels.as_ref(), streams, Mode::Eval)?;
        sum += part.len() as f64 * value.double_value(&[]);
    }
    Ok(sum / indices.len() as f64)
}

fn append_record(path: &Path, record: &Record) -> Result<(), TrainError> {
    let line = serde_json::to_string(record)
        .map_err(|source| TrainError::Json { path: path.to_owned(), source })?;
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.map_err(FilesError::io(path, "open"))?;
    Ok(writeln!(file, "{line}").map_err(FilesError::io(path, "write"))?)
}

/// Removes the lines of steps after the state's: the state is written after its line.
fn truncate_metrics(path: &Path, step: u64) -> Result<(), TrainError> {
    if !path.exists() {
        return Ok(());
    }
    let file = File::open(path).map_err(FilesError::io(path, "open"))?;
    let lines = BufReader::new(file).lines();
    let mut kept = String::new();
    for line in lines {
        let line = line.map_err(FilesError::io(path, "read"))?;
        // A line cut off by a kill does not parse: it is of a step after the state's.
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        if value["step"].as_u64().is_some_and(|s| s <= step) {
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    Ok(write_bytes(path, kept.as_bytes())?)
}

const VECTORS: [&str; 4] = ["weights", "first_moment", "second_moment", "average"];

/// The running means of a balanced loss, and how many images they are of.
const BALANCE: [&str; 2] = ["balance_means", "balance_counts"];

fn save_state(
    path: &Path,
    optimiser: &Optimiser,
    balance: Option<&Balance>,
    run: Run,
) -> Result<(), TrainError> {
    let vectors =
        [&optimiser.weights, &optimiser.first_moment, &optimiser.second_moment, &optimiser.average];
    let progress = Tensor::from_slice(&[run.step as f64, run.seconds]);
    let mut tensors: Vec<(&str, Tensor)> =
        VECTORS.into_iter().zip(vectors.map(|v| v.to_device(Device::Cpu))).collect();
    tensors.push(("progress", progress));
    if let Some(Balance { means, counts, .. }) = balance {
        let vectors = [means.to_device(Device::Cpu), Tensor::from_slice(counts)];
        tensors.extend(BALANCE.into_iter().zip(vectors));
    }
    let part = PartFile::create(path)?;
    Tensor::write_safetensors(&tensors, part.path())?;
    Ok(part.finish()?)
}

fn load_state(
    path: &Path,
    optimiser: &mut Optimiser,
    balance: Option<&mut Balance>,
    device: Device,
) -> Result<Run, TrainError> {
    let damaged = |reason: String| TrainError::State { path: path.to_owned(), reason };
    let mut tensors: std::collections::HashMap<String, Tensor> = Tensor::read_safetensors(path)
        .map_err(|error| damaged(error.to_string()))?
        .into_iter()
        .collect();
    let mut take = |name: &str, length: usize| {
        let tensor =
            tensors.remove(name).ok_or_else(|| damaged(format!("it has no tensor {name:?}")))?;
        if tensor.numel() == length {
            Ok(tensor)
        } else {
            Err(damaged(format!("{name:?} has {} values, not {length}", tensor.numel())))
        }
    };
    let length = optimiser.weights.numel();
    let progress = take("progress", 2)?;
    let [weights, first_moment, second_moment, average] = VECTORS.map(|name| take(name, length));
    optimiser.weights = weights?.to_device(device);
    optimiser.first_moment = first_moment?.to_device(device);
    optimiser.second_moment = second_moment?.to_device(device);
    optimiser.average = average?.to_device(device);
    if let Some(balance) = balance {
        let [means, counts] = BALANCE.map(|name| take(name, balance.counts.len()));
        balance.means = means?.to_device(device);
        balance.counts = Vec::try_from(counts?)?;
    }
    Ok(Run {
        step: progress.double_value(&[0]) as u64,
        seconds: progress.double_value(&[1]),
        loss_sum: 0.0,
    })
}

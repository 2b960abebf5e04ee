//! The training loop: a folder holds a run, and a run that was killed goes on from it.

use std::ops::ControlFlow;
use std::path::Path;

use eps_files::{FilesError, Lock};
use eps_math::{MathError, PreconditionMode, Shape};
use eps_model::{
    DataMoments, Mode, NetworkDenoiser, UNet, attempt, extent, length_of, one_hot, values_of_bytes,
};
use tch::{Device, Kind, Tensor};

use crate::balance::Balance;
use crate::objective::add_gradient;
use crate::optimiser::Optimiser;
use crate::run_folder::{
    LossRecord, Progress, append_record, differences, load_state, save_state, take_changes,
    truncate_metrics, write_config,
};
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
            if extent(classes.len()) != images.size()[0] {
                let value = classes.len() as f64;
                return Err(TrainError::Config { field, value, range: "that of the images" });
            }
        }
        for last in [&classes.train, &classes.validation].into_iter().flat_map(|c| c.iter().max()) {
            let _ = one_hot(&[*last], label_dim, Device::Cpu)?;
        }
        let numbers = |classes: &[usize]| {
            Tensor::from_slice(&classes.iter().map(|class| extent(*class)).collect::<Vec<_>>())
        };
        Ok(Some([numbers(&classes.train), numbers(&classes.validation)]))
    }
}

/// Trains a network, or goes on with the run that `folder` holds, and leaves in it `config.json`,
/// `metrics.jsonl` and `state.safetensors`.
///
/// A run may go on with more or fewer steps and with another learning rate, which `config.json` then has;
/// `changes.json` tells when that was (see [`changes`](crate::changes)).
///
/// Everything random is a function of the seed and the step, and the state is written whole before
/// it replaces the last one: a run that was killed ends in the same weights as one that was not, on one CPU
/// with one number of threads bit for bit. On CUDA cuDNN may add in another order.
///
/// # Errors
/// [`TrainError::Config`] for a number out of its range and [`TrainError::Images`] for images of another
/// shape than the network's, both before the folder is touched; [`TrainError::OtherRun`] if the folder
/// holds a configuration that differs in something else, [`TrainError::StepsDone`] for fewer steps than it has done, [`FilesError::Busy`] if another process trains there,
/// [`TrainError::State`] for a damaged state, [`TrainError::Diverged`] if the loss stops being a number,
/// [`TrainError::Compute`] if memory runs out, and those of reading and writing.
pub fn train(
    config: &TrainConfig,
    start: Option<NetworkDenoiser>,
    images: &Images,
    folder: &Path,
    device: Device,
) -> Result<NetworkDenoiser, TrainError> {
    train_watched(config, start, images, folder, device, &mut |_| ControlFlow::Continue(()))
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainProgress {
    /// Steps done, those of earlier legs included.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// The losses, after a step that ends with a checkpoint.
    pub losses: Option<LossRecord>,
}

/// [`train`] under the eyes of an observer, which is told before the first step and after every one and may end the
/// training: what was done since the last checkpoint is then not kept.
///
/// # Errors
/// Those of [`train`].
pub fn train_watched(
    config: &TrainConfig,
    start: Option<NetworkDenoiser>,
    images: &Images,
    folder: &Path,
    device: Device,
    observer: &mut dyn FnMut(TrainProgress) -> ControlFlow<()>,
) -> Result<NetworkDenoiser, TrainError> {
    // Memory can run out in any operation of a step. What was written before stays, and the run goes on from it.
    attempt(|| go_on(config, start, images, folder, device, observer))?
}

fn go_on(
    config: &TrainConfig,
    start: Option<NetworkDenoiser>,
    images: &Images,
    folder: &Path,
    device: Device,
    observer: &mut dyn FnMut(TrainProgress) -> ControlFlow<()>,
) -> Result<NetworkDenoiser, TrainError> {
    config.validate()?;
    for split in [&images.train, &images.validation] {
        config.check_images(shape_of(split)?)?;
    }
    for (field, split) in [
        ("the number of training images", &images.train),
        ("the number of validation images", &images.validation),
    ] {
        if split.size()[0] == 0 {
            return Err(TrainError::Config { field, value: 0.0, range: "at least 1" });
        }
    }
    let classes = images.known_classes(config)?;
    let [train_classes, validation_classes] = classes.map_or([None, None], |both| both.map(Some));
    let label_dim = extent(config.network.label_dim());
    let training = Examples { images: &images.train, classes: train_classes.as_ref(), label_dim };
    let _ = differences(config, folder)?;
    std::fs::create_dir_all(folder).map_err(FilesError::io(folder, "make"))?;
    let _lock = Lock::take(&folder.join("lock"), folder)?;
    // Another process may have begun meanwhile, and ended.
    let differences = differences(config, folder)?;
    if differences.is_none() {
        write_config(config, folder)?;
    }
    let mut denoiser = match start {
        Some(mut denoiser) => {
            denoiser.network_mut().variables_mut().unfreeze();
            denoiser
        }
        None => config.denoiser(UNet::new(config.network.clone(), device, config.seed)?)?,
    };
    if config.precondition.mode == PreconditionMode::Wiener && denoiser.data().is_none() {
        denoiser = denoiser.with_data(DataMoments::of(&images.train)?);
    }
    let mut optimiser = Optimiser::new(denoiser.network().variables().trainable_variables());
    let mut balance = Balance::of(config, device);
    let state_path = folder.join("state.safetensors");
    let mut run = Progress::default();
    if state_path.exists() {
        run = load_state(&state_path, &mut optimiser, balance.as_mut(), device)?;
        optimiser.publish();
    }
    take_changes(config, folder, run.step, differences.unwrap_or_default())?;
    let metrics_path = folder.join("metrics.jsonl");
    truncate_metrics(&metrics_path, run.step)?;

    let mut tell = |step, losses| observer(TrainProgress { step, steps: config.steps, losses });
    let mut verdict = tell(run.step, None);
    let held_out =
        Examples { images: &images.validation, classes: validation_classes.as_ref(), label_dim };
    let mut clock = std::time::Instant::now();
    while run.step < config.steps && verdict.is_continue() {
        let value = accumulate(&denoiser, config, training, balance.as_mut(), run.step)?;
        let seen = ((run.step + 1) * config.batch as u64) as f64;
        let average_factor = config.ema.factor(seen, config.batch as f64);
        optimiser.step(run.step, config.learning_rate_at(run.step), average_factor);
        if !value.is_finite() {
            return Err(TrainError::Diverged { step: run.step, loss: value });
        }
        run.step += 1;
        run.loss_sum += value;
        run.summed += 1;
        let mut losses = None;
        if run.step.is_multiple_of(config.checkpoint_every) || run.step == config.steps {
            optimiser.publish_average();
            let validation_loss = validation_loss(&denoiser, config, held_out, device)?;
            optimiser.publish();
            run.seconds += clock.elapsed().as_secs_f64();
            clock = std::time::Instant::now();
            let record = LossRecord {
                step: run.step,
                images: run.step * config.batch as u64,
                train_loss: run.loss_sum / run.summed as f64,
                validation_loss,
                seconds: run.seconds,
            };
            (run.loss_sum, run.summed) = (0.0, 0);
            let unsaved = |error| TrainError::Unsaved { step: run.step, cause: Box::new(error) };
            append_record(&metrics_path, &record).map_err(unsaved)?;
            save_state(&state_path, &optimiser, balance.as_ref(), run).map_err(unsaved)?;
            losses = Some(record);
        }
        verdict = tell(run.step, losses);
    }
    optimiser.publish_average();
    Ok(denoiser)
}

/// The shape of one image of `[N, C, H, W]`.
fn shape_of(images: &Tensor) -> Result<Shape, TrainError> {
    let (_, channels, height, width) = images.size4()?;
    let [channels, height, width] = [channels, height, width].map(length_of);
    Ok(Shape::new(channels, height, width).map_err(MathError::from)?)
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
        length_of(self.images.size()[0])
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

/// The images of one training batch, drawn uniformly with replacement.
fn draw_indices(count: usize, batch: usize, streams: BatchStreams) -> Vec<i64> {
    (0..batch).map(|i| extent(streams.shared().below(1 + i as u64, count))).collect()
}

/// The loss over the first images of the validation split, in batches of their own streams.
fn validation_loss(
    denoiser: &NetworkDenoiser,
    config: &TrainConfig,
    validation: Examples<'_>,
    device: Device,
) -> Result<f64, TrainError> {
    let _guard = tch::no_grad_guard();
    let indices: Vec<i64> = (0..extent(config.validation_images.min(validation.len()))).collect();
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

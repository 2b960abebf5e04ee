//! The training loop: a folder holds a run, and a run that was killed goes on from it.

use std::ops::ControlFlow;
use std::path::Path;

use eps_cluster::{Alone, Group, TreeSum, agree};
use eps_math::PreconditionMode;
use eps_math::rng::Stream;
use eps_model::{DataMoments, NetworkDenoiser, UNet, attempt, extent};
use tch::{Device, Kind, Tensor};

use crate::balance::Balance;
use crate::images::{Examples, Images, shape_of};
use crate::objective::add_gradient;
use crate::optimiser::Optimiser;
use crate::parts::{Parts, Processes, facts, share_state, sum_of};
use crate::run_folder::{LossRecord, Progress, RunFolder};
use crate::{BatchStreams, TrainConfig, TrainError};

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
/// holds a configuration that differs in something else, [`TrainError::StepsDone`] for fewer steps than it has done, [`FilesError::Busy`](eps_files::FilesError::Busy) if another process trains there,
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
    train_together((&Alone as &dyn Group).into(), config, start, images, folder, device, observer)
}

/// [`train_watched`] by all processes of a group, each of which calls this with the same arguments.
///
/// Every process computes the gradient of its share of a batch, the parts of `micro_batch` images dealt out in order, and
/// parts are summed in one order: the weights are those of one process to the last bit, on processors of one kind, with
/// one number of threads. Without `micro_batch` a process takes its share at once, and the last bits depend on
/// the number of processes. Process 0 alone touches the folder. The observers of all processes must decide alike.
///
/// # Errors
/// Those of [`train`]; [`TrainError::Config`] for fewer parts than processes, and [`TrainError::Cluster`] where the processes
/// differ in what [`agree_to_train`] compares, on all of them and before the first step. After any other error the process
/// must end the group ([`Group::abort`]): the others wait for it.
#[expect(clippy::too_many_arguments, reason = "those of train, who computes and who watches")]
pub fn train_together(
    processes: Processes<'_>,
    config: &TrainConfig,
    start: Option<NetworkDenoiser>,
    images: &Images,
    folder: &Path,
    device: Device,
    observer: &mut dyn FnMut(TrainProgress) -> ControlFlow<()>,
) -> Result<NetworkDenoiser, TrainError> {
    // Memory can run out in any operation of a step. What was written before stays, and the run goes on from it.
    attempt(|| go_on(processes, config, start, images, folder, device, observer))?
}

/// Checks that processes can share a training and are asked for the same one, as [`train_together`] does before its first step: of the
/// configuration all is compared, of the images the shapes and the first ones of both splits, of the weights at the start the sum of their
/// absolute values.
///
/// # Errors
/// [`TrainError::Cluster`] for what of these differs, and fewer parts of a batch than processes; [`TrainError::Config`] for a split
/// without images.
pub fn agree_to_train(
    group: &dyn Group,
    config: &TrainConfig,
    images: &Images,
    start: Option<&NetworkDenoiser>,
) -> Result<(), TrainError> {
    check_together(group.into(), config, images, start).map(drop)
}

fn check_together<'a>(
    processes: Processes<'a>,
    config: &TrainConfig,
    images: &Images,
    start: Option<&NetworkDenoiser>,
) -> Result<Parts<'a>, TrainError> {
    let parts = Parts::of(config, processes)?;
    images.check_counts()?;
    agree(processes.group, &facts(processes.group, config, images, start)?)?;
    Ok(parts)
}

#[expect(clippy::too_many_arguments, reason = "those of train_together")]
fn go_on(
    processes: Processes<'_>,
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
    let classes = images.known_classes(config)?;
    let [train_classes, validation_classes] = classes.map_or([None, None], |both| both.map(Some));
    let label_dim = extent(config.network.label_dim());
    let training = Examples { images: &images.train, classes: train_classes.as_ref(), label_dim };
    let parts = check_together(processes, config, images, start.as_ref())?;
    let group = processes.group;
    // One process writes; the others have all from it.
    let mut run_folder =
        if group.rank() == 0 { Some(RunFolder::take(config, folder)?) } else { None };
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
    let mut run = Progress::default();
    if let Some(folder) = &mut run_folder {
        run = folder.begin(config, &mut optimiser, balance.as_mut(), device)?;
    }
    share_state(group, &mut optimiser, balance.as_mut(), &mut run);
    optimiser.publish();

    let mut tell = |step, losses| observer(TrainProgress { step, steps: config.steps, losses });
    let mut verdict = tell(run.step, None);
    let held_out =
        Examples { images: &images.validation, classes: validation_classes.as_ref(), label_dim };
    let mut clock = std::time::Instant::now();
    while run.step < config.steps && verdict.is_continue() {
        let step = Step { config, parts: &parts, number: run.step };
        let (value, gradient) =
            step.accumulate(&denoiser, &mut optimiser, training, balance.as_mut())?;
        let seen = ((run.step + 1) * config.batch as u64) as f64;
        let average_factor = config.ema.factor(seen, config.batch as f64);
        optimiser.step(&gradient, run.step, config.learning_rate_at(run.step), average_factor);
        if !value.is_finite() {
            return Err(TrainError::Diverged { step: run.step, loss: value });
        }
        run.step += 1;
        run.loss_sum += value;
        run.summed += 1;
        let mut losses = None;
        if run.step.is_multiple_of(config.checkpoint_every) || run.step == config.steps {
            // Processors of two kinds may round differently.
            share_state(group, &mut optimiser, balance.as_mut(), &mut run);
            optimiser.publish_average();
            let validation_loss = parts.validation_loss(&denoiser, config, held_out, device)?;
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
            if let Some(folder) = &run_folder {
                folder.keep(&record, &optimiser, balance.as_ref(), run)?;
            }
            losses = Some(record);
        }
        verdict = tell(run.step, losses);
    }
    optimiser.publish_average();
    Ok(denoiser)
}

/// A step of a training.
#[derive(Debug, Clone, Copy)]
struct Step<'a> {
    config: &'a TrainConfig,
    parts: &'a Parts<'a>,
    number: u64,
}

impl Step<'_> {
    /// The loss of the step and its gradient, one flat vector, summed over parts and processes.
    fn accumulate(
        &self,
        denoiser: &NetworkDenoiser,
        optimiser: &mut Optimiser,
        training: Examples<'_>,
        balance: Option<&mut Balance>,
    ) -> Result<(f64, Tensor), TrainError> {
        let Self { config, parts, number } = *self;
        let device = denoiser.network().variables().device();
        let whole = BatchStreams { seed: config.seed, batch: number, first: 0 };
        let indices = draw_indices(training.len(), config.batch, &whole.images());
        let (mut errors, mut gradient) = (Vec::new(), TreeSum::new());
        for part in parts.own() {
            let range = parts.images_of(part, config.batch);
            let streams = BatchStreams { first: range.start, ..whole };
            let (x_0, labels) = training.select(&indices[range], device);
            let (labels, balance) = (labels.as_ref(), balance.as_deref());
            errors.push(add_gradient(denoiser, config, &x_0, labels, streams, balance)?);
            gradient.push(part, optimiser.take_gradient(), sum_of);
        }
        let errors = parts.errors(errors, device)?;
        if let Some(balance) = balance {
            balance.update(&errors);
        }
        let gradient = parts.gradient(gradient, optimiser, device)?;
        // Read at the end: reading waits for the device.
        let of_images: Vec<&Tensor> = errors.iter().map(|part| &part.of_images).collect();
        Ok((Tensor::cat(&of_images, 0).mean(Kind::Double).double_value(&[]), gradient))
    }
}

/// The images of one training batch, drawn uniformly with replacement.
fn draw_indices(count: usize, batch: usize, images: &Stream) -> Vec<i64> {
    (0..batch).map(|i| extent(images.below(i as u64, count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_images_a_batch_has_tells_nothing_of_its_noise() {
        const BATCHES: u64 = 2000;
        let drawn = |number: u64| {
            let streams = BatchStreams { seed: 5, batch: number, first: 0 };
            let images = draw_indices(1000, 4, &streams.images());
            let shared = streams.shared();
            let of_image = move |position: usize| images[position] as f64 / 1000.0 - 0.5;
            (of_image, move |index: u64| shared.uniform(index) - 0.5)
        };
        for position in 0..4 {
            for index in 0..6 {
                let product = |number| {
                    let (of_image, shared) = drawn(number);
                    of_image(position) * shared(index)
                };
                // Of uniform numbers, whose variance is 1/12: the correlation is 0 to 1/√N.
                let correlation = 12.0 * (0..BATCHES).map(product).sum::<f64>() / BATCHES as f64;
                let most = 5.0 / (BATCHES as f64).sqrt();
                assert!(correlation.abs() < most, "{position} {index}: {correlation}");
            }
        }
    }
}

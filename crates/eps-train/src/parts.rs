//! A batch in parts, and the parts among processes.

use std::ops::Range;

use eps_cluster::{Exchange, Group, TreeSum, all_reduce, all_reduce_by, facts_of, share};
use eps_files::sha256;
use eps_model::{Mode, NetworkDenoiser, extent, values_of_pixels};
use tch::{Device, Kind, Tensor};

use crate::balance::Balance;
use crate::images::{Examples, Images};
use crate::optimiser::Optimiser;
use crate::run_folder::Progress;
use crate::squared_errors::Errors;
use crate::{BatchStreams, TrainConfig, TrainError, loss};

/// The first batch number of validation: batches of training count from 0 and never reach it.
const VALIDATION_BATCHES: u64 = 1 << 63;

/// Processes that train one network.
#[derive(Debug, Clone, Copy)]
pub struct Processes<'a> {
    /// What they tell each other by, and sum gradients by on the host.
    pub group: &'a dyn Group,
    /// What sums gradients from GPU to GPU; without it they go by the host.
    pub exchange: Option<&'a dyn Exchange<Tensor>>,
}

impl<'a> From<&'a dyn Group> for Processes<'a> {
    fn from(group: &'a dyn Group) -> Self {
        Self { group, exchange: None }
    }
}

/// The parts of a batch, each of which is one forward and backward pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    group: &'a dyn Group,
    exchange: Option<&'a dyn Exchange<Tensor>>,
    /// Images of a part; the last may have fewer.
    images: usize,
    count: usize,
    /// Images of a pass of validation, the same for any number of processes.
    validated: usize,
}

/// a + b, in the memory of a.
pub(crate) fn sum_of(mut a: Tensor, b: Tensor) -> Tensor {
    a += b;
    a
}

impl<'a> Parts<'a> {
    /// Those of a configuration: of `micro_batch` images, else of as many as make one part for every process.
    ///
    /// # Errors
    /// [`TrainError::Config`] for fewer parts than processes.
    pub(crate) fn of(
        config: &TrainConfig,
        Processes { group, exchange }: Processes<'a>,
    ) -> Result<Self, TrainError> {
        let size = group.size();
        let images = config.micro_batch.unwrap_or(config.batch.div_ceil(size)).min(config.batch);
        let count = config.batch.div_ceil(images);
        if count < size {
            return Err(TrainError::Config {
                field: "the number of parts of a batch (batch / micro_batch)",
                value: count as f64,
                range: "at least the number of processes: set micro_batch lower, or start fewer processes",
            });
        }
        let validated = config.micro_batch.map_or(config.batch, |part| part.min(config.batch));
        Ok(Self { group, exchange, images, count, validated })
    }

    /// The numbers of the parts of this process.
    pub(crate) fn own(&self) -> Range<usize> {
        share(self.count, self.group.rank(), self.group.size())
    }

    /// The places of a part's images in the batch.
    pub(crate) fn images_of(&self, part: usize, batch: usize) -> Range<usize> {
        part * self.images..((part + 1) * self.images).min(batch)
    }

    /// The errors of the whole batch.
    pub(crate) fn errors(
        &self,
        own: Vec<Errors>,
        device: Device,
    ) -> Result<Vec<Errors>, TrainError> {
        if self.group.size() == 1 {
            return Ok(own);
        }
        let mut bytes = Vec::new();
        for Errors { of_images, questions } in own {
            let values = Vec::<f64>::try_from(of_images.to_device(Device::Cpu))?;
            for (value, (task, sigma_t)) in values.into_iter().zip(questions) {
                for number in [value, task as f64, sigma_t] {
                    bytes.extend(number.to_le_bytes());
                }
            }
        }
        let all = self.group.all_gather(&bytes).concat();
        let numbers = doubles(&all);
        let values: Vec<f64> = numbers.iter().copied().step_by(3).collect();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number of a task, as it was written above"
        )]
        let questions = numbers.chunks_exact(3).map(|row| (row[1] as usize, row[2])).collect();
        Ok(vec![Errors { of_images: Tensor::from_slice(&values).to_device(device), questions }])
    }

    /// The gradient of the whole batch.
    pub(crate) fn gradient(
        &self,
        own: TreeSum<Tensor>,
        optimiser: &Optimiser,
        device: Device,
    ) -> Result<Tensor, TrainError> {
        if self.group.size() == 1 {
            // A batch has a part, and a process has one.
            return Ok(own.finish(sum_of).unwrap_or_else(|| optimiser.weights.zeros_like()));
        }
        if let Some(exchange) = self.exchange {
            return Ok(all_reduce_by(exchange, self.count, own, optimiser.weights.numel()));
        }
        let own = own.try_map(|sum| Vec::<f32>::try_from(sum.to_device(Device::Cpu)))?;
        let sum = all_reduce(self.group, self.count, own, optimiser.weights.numel());
        Ok(Tensor::from_slice(&sum).to_device(device))
    }

    /// The loss over the first images of the validation split, in batches of their own streams as those of training, whose parts are dealt
    /// out to the processes: but for rounding it is the same in parts of any size.
    pub(crate) fn validation_loss(
        &self,
        denoiser: &NetworkDenoiser,
        config: &TrainConfig,
        validation: Examples<'_>,
        device: Device,
    ) -> Result<f64, TrainError> {
        let _guard = tch::no_grad_guard();
        let count = config.validation_images.min(validation.len());
        let indices: Vec<i64> = (0..extent(count)).collect();
        let batches = (VALIDATION_BATCHES..).zip(indices.chunks(config.batch));
        let parts: Vec<(BatchStreams, &[i64])> = batches
            .flat_map(|(batch, images)| {
                let parts = images.chunks(self.validated).enumerate();
                parts.map(move |(part, images)| {
                    let first = part * self.validated;
                    (BatchStreams { seed: config.seed, batch, first }, images)
                })
            })
            .collect();
        let own = share(parts.len(), self.group.rank(), self.group.size());
        let mut bytes = Vec::new();
        for (streams, images) in &parts[own] {
            let (x_0, labels) = validation.select(images, device);
            let value = loss(denoiser, config, &x_0, labels.as_ref(), *streams, Mode::Eval)?;
            let of_images = images.len() as f64 * value.double_value(&[]);
            bytes.extend(of_images.to_le_bytes());
        }
        let sums = doubles(&self.group.all_gather(&bytes).concat());
        Ok(sums.iter().sum::<f64>() / count as f64)
    }
}

fn doubles(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

/// Gives every process what process 0 has of a run.
pub(crate) fn share_state(
    group: &dyn Group,
    optimiser: &mut Optimiser,
    balance: Option<&mut Balance>,
    run: &mut Progress,
) {
    if group.size() == 1 {
        return;
    }
    for vector in optimiser.vectors_mut() {
        share_tensor(group, vector);
    }
    if let Some(balance) = balance {
        share_tensor(group, &mut balance.means);
        share_numbers(group, &mut balance.counts);
    }
    let mut step = run.step.to_le_bytes();
    group.broadcast(&mut step);
    run.step = u64::from_le_bytes(step);
    let mut seconds = [run.seconds];
    share_numbers(group, &mut seconds);
    [run.seconds] = seconds;
}

fn share_tensor(group: &dyn Group, tensor: &mut Tensor) {
    let host = tensor.to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; host.numel() * host.kind().elt_size_in_bytes()];
    host.copy_data_u8(&mut bytes, host.numel());
    group.broadcast(&mut bytes);
    let shared = Tensor::from_data_size(&bytes, &host.size(), host.kind());
    let _guard = tch::no_grad_guard();
    tensor.copy_(&shared);
}

fn share_numbers(group: &dyn Group, numbers: &mut [f64]) {
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    group.broadcast(&mut bytes);
    numbers.copy_from_slice(&doubles(&bytes));
}

/// What the processes of a run must have in common; nothing for one.
pub(crate) fn facts(
    group: &dyn Group,
    config: &TrainConfig,
    images: &Images,
    start: Option<&NetworkDenoiser>,
) -> Result<Vec<(String, String)>, TrainError> {
    if group.size() == 1 {
        return Ok(vec![]);
    }
    let mut facts = vec![("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    facts.extend(facts_of(&serde_json::json!(config)));
    for (name, split) in [("training", &images.train), ("validation", &images.validation)] {
        let first = Vec::<f64>::try_from(values_of_pixels(&split.select(0, 0)).flatten(0, -1))?;
        let bytes: Vec<u8> = first.iter().flat_map(|value| value.to_le_bytes()).collect();
        let value = format!("of shape {:?}, the first {}", split.size(), &sha256(&bytes)[..16]);
        facts.push((format!("{name} images"), value));
    }
    if let Some(start) = start {
        let weights = start.network().tensors();
        let sum: f64 = weights.values().map(|w| w.abs().sum(Kind::Double).double_value(&[])).sum();
        // To what processors of two kinds agree on.
        facts.push(("weights at the start of absolute sum".to_owned(), format!("{sum:.5e}")));
    }
    Ok(facts)
}

//! A small training on random images.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::ops::ControlFlow;

use eps_math::{Interpolant, Precondition, PreconditionMode, Task};
use eps_model::{Condition, NetworkDenoiser, Precision, SongUNetConfig};
use eps_train::{
    Decay, Ema, FORMAT_VERSION, Images, LossWeight, NoiseLaw, Objective, Tail, TrainConfig,
    TrainProgress,
};
use tch::Tensor;

pub(crate) fn network() -> SongUNetConfig {
    SongUNetConfig {
        model_channels: 8,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![],
        dropout: 0.1,
        augment_dim: 0,
        ..SongUNetConfig::ddpmpp(16, 3, 1)
    }
}

pub(crate) fn config() -> TrainConfig {
    let conditions = vec![Condition::Observation, Condition::NoiseDiagonal];
    TrainConfig {
        format_version: FORMAT_VERSION,
        name: "test".into(),
        dataset: "random".into(),
        network: network().into(),
        precondition: Precondition { mode: PreconditionMode::Spectral, sigma_data: 0.5 },
        parameterisation: None,
        conditions,
        interpolant: Interpolant::Edm,
        objective: Objective::Eps { tasks: Task::ALL.to_vec().into(), sigma_y: 0.05.into() },
        noise_law: NoiseLaw { tail: Some(Tail { share: 0.25, from: 1.0 }), ..NoiseLaw::edm() },
        loss_weight: LossWeight::Preconditioned,
        start: None,
        batch: 4,
        micro_batch: None,
        gradient_checkpointing: false,
        steps: 6,
        learning_rate: 1e-3,
        warm_up: 2,
        decay: Decay::Cosine,
        ema: Ema { half_life: 100.0, ramp: Some(0.05) },
        seed: 3,
        precision: Precision::F32,
        checkpoint_every: 2,
        validation_images: 4,
    }
}

pub(crate) fn images() -> Images {
    let bytes: Vec<u8> = (0..40 * 256u64)
        .map(|i| (eps_math::rng::Stream::named(0, "images").uniform(i) * 256.0) as u8)
        .collect();
    let all = Tensor::from_slice(&bytes).view([40, 1, 16, 16]);
    Images { train: all.narrow(0, 0, 30), validation: all.narrow(0, 30, 10), classes: None }
}

pub(crate) fn weights(denoiser: &NetworkDenoiser) -> Vec<f32> {
    let parts: Vec<Tensor> =
        denoiser.network().tensors().values().map(|t| t.detach().flatten(0, -1)).collect();
    Vec::try_from(Tensor::cat(&parts, 0)).unwrap()
}

/// An observer that ends a training after a step.
pub(crate) fn until(last_step: u64) -> impl FnMut(TrainProgress) -> ControlFlow<()> {
    move |progress| match progress.step < last_step {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    }
}

//! Samples of an f32 network do not depend on the batch they are drawn in.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use eps_math::rng::Stream;
use eps_math::{Draw, Precondition, PreconditionMode, Schedule, Shape, Task};
use eps_model::{
    Condition, Measurement, NetworkDenoiser, Precision, SongUNet, SongUNetConfig, TensorOperator,
    batch,
};
use eps_sample::{Eps, NoiseKeys, Solver};
use tch::{Device, Kind, Tensor};

const CPU: Device = Device::Cpu;

/// A network whose output matters: weights of a trained network's size, also where a new one has 0.
fn denoiser() -> NetworkDenoiser {
    let conditions = vec![Condition::Observation, Condition::NoiseDiagonal];
    let config = SongUNetConfig {
        model_channels: 16,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![8],
        augment_dim: 0,
        ..SongUNetConfig::ddpmpp(16, 3, 1)
    };
    let network = SongUNet::new(&config, CPU, 0).unwrap();
    let _guard = tch::no_grad_guard();
    for (name, mut tensor) in network.tensors() {
        if tensor.dim() > 1 {
            let fan_in = tensor.numel() as f64 / tensor.size()[0] as f64;
            let values = Stream::named(0, &name).normals(tensor.numel());
            let drawn = Tensor::from_slice(&values).view_as(&tensor) / fan_in.sqrt();
            tensor.copy_(&drawn.to_kind(Kind::Float));
        }
    }
    let precondition = Precondition { mode: PreconditionMode::Spectral, sigma_data: 0.5 };
    NetworkDenoiser::new(network, precondition, conditions, Precision::F32)
}

#[test]
fn samples_do_not_depend_on_the_batch() {
    let denoiser = denoiser();
    let shape = Shape::new(1, 16, 16).unwrap();
    for task in Task::ALL {
        let run = |images: Vec<u64>| {
            let operators = images
                .iter()
                .map(|i| task.draw(Draw::Test, shape, &Stream::new(0, *i, 0, 0)).unwrap())
                .collect();
            let operator = TensorOperator::new(operators, CPU).unwrap();
            let range = operator.range();
            let noise: Vec<f64> = images
                .iter()
                .flat_map(|i| Stream::new(1, *i, 0, 0).normals(range.len()))
                .map(|z| 0.5 * z)
                .collect();
            let measurement = Measurement::new(operator, &batch(&noise, range, CPU), 0.05).unwrap();
            let eps = Eps { denoiser: &denoiser, measurement: &measurement };
            let keys = NoiseKeys::new(2, images.iter().map(|i| (*i, 0)).collect());
            let sigmas = Schedule::karras().sigmas(5).unwrap();
            Solver::Heun.sample(&eps, &sigmas, &keys, shape, CPU).unwrap()
        };
        let together = run(vec![0, 1, 2, 3, 4]);
        for image in 0..5 {
            let alone = run(vec![image]);
            let difference =
                (alone - together.narrow(0, image as i64, 1)).abs().max().double_value(&[]);
            assert!(difference < 1e-3, "{task:?}, image {image}: {difference}");
        }
    }
}

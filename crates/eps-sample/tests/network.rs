//! An f32 network as a denoiser: its samples do not depend on their batch, its vjp is the derivative.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use eps_math::rng::Stream;
use eps_math::{Draw, Precondition, PreconditionMode, Schedule, Shape, Task};
use eps_model::{
    Condition, Measurement, NetworkDenoiser, Precision, SongUNetConfig, TensorOperator, UNet, batch,
};
use eps_sample::{Eps, Estimator, NoiseKeys, Prior, Sample as _, Solver};
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
    let network = UNet::new(config, CPU, 0).unwrap();
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

/// What f32 leaves of some twenty layers in so many calls, on values of size 1.
fn rounding(calls: usize) -> f64 {
    20.0 * calls as f64 * f64::from(f32::EPSILON)
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
            assert!(difference < rounding(9), "{task:?}, image {image}: {difference}");
        }
    }
}

/// One measurement serves all samples of its image.
#[test]
fn samples_share_a_measurement() {
    let denoiser = denoiser();
    let shape = Shape::new(1, 16, 16).unwrap();
    let keys = NoiseKeys::image_major(2, 0..1, 3);
    let sigmas = Schedule::karras().sigmas(3).unwrap();
    for task in Task::ALL {
        let run = |times: usize| {
            let operator = task.draw(Draw::Test, shape, &Stream::new(0, 0, 0, 0)).unwrap();
            let operator = TensorOperator::new(vec![operator; times], CPU).unwrap();
            let range = operator.range();
            let y = Stream::new(1, 0, 0, 0).normals(range.len()).repeat(times);
            let measurement = Measurement::new(operator, &batch(&y, range, CPU), 0.05).unwrap();
            let eps = Eps { denoiser: &denoiser, measurement: &measurement };
            Solver::Euler.sample(&eps, &sigmas, &keys, shape, CPU).unwrap()
        };
        let difference = (run(1) - run(3)).abs().max().double_value(&[]);
        // f64 roundings before an f32 network.
        assert!(difference < rounding(3), "{task:?}: {difference}");
    }
}

#[test]
fn the_vjp_is_the_derivative() {
    let denoiser = denoiser();
    let shape = Shape::new(1, 16, 16).unwrap();
    let prior = Prior { denoiser: &denoiser };
    let level = eps_math::Level::edm(0.8);
    let draw = |sample| NoiseKeys::new(4, vec![(0, sample)]).initial(shape, CPU);
    let (x, cotangent, direction) = (draw(0), draw(1), draw(2));
    // Sampling runs without gradients: the vjp turns them on for itself, and leaves none behind.
    let _guard = tch::no_grad_guard();
    let (d, gradient) = prior.estimate_vjp(&x, level, &|_| cotangent.shallow_clone()).unwrap();
    assert!(d.equal(&prior.estimate(&x, level).unwrap()) && !gradient.requires_grad());
    let weights = denoiser.network().variables().trainable_variables();
    assert!(weights.iter().all(|w| !w.grad().defined()));
    let along = |h: f64| {
        (prior.estimate(&(&x + &direction * h), level).unwrap() * &cotangent).sum(Kind::Double)
    };
    let h = 1e-2;
    let slope = ((along(h) - along(-h)) / (2.0 * h)).double_value(&[]);
    let expected = (gradient * direction).sum(Kind::Double).double_value(&[]);
    // An f32 network: its rounding over h, and h² of the third derivative.
    let scale = cotangent.norm().double_value(&[]);
    assert!((slope - expected).abs() < 5e-3 * scale, "{slope} {expected}");
}

//! The cost of one network call: the bare denoiser, and EPS's step around it for every operator.
//!
//! Read the numbers as ratios within one run. The network is the one of the Fashion-MNIST
//! experiments with random weights; set `EPS_BENCH_DEVICE=cuda` for a GPU.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use eps_math::rng::Stream;
use eps_math::{Draw, Level, Precondition, PreconditionMode, Shape, Task};
use eps_model::{
    Condition, Measurement, NetworkDenoiser, Precision, SongUNetConfig, TensorOperator, UNet, batch,
};
use eps_sample::{Eps, Estimator, NoiseKeys, Prior};
use tch::{Cuda, Device, Tensor};

const BATCH: usize = 8;

fn denoiser(conditions: Vec<Condition>, device: Device) -> NetworkDenoiser {
    let channels = 1 + conditions.iter().map(|c| c.channels(1)).sum::<usize>();
    let config = SongUNetConfig {
        model_channels: 32,
        channel_mult: vec![1, 2, 2],
        num_blocks: 1,
        attn_resolutions: vec![7],
        dropout: 0.0,
        augment_dim: 0,
        ..SongUNetConfig::ddpmpp(28, channels, 1)
    };
    let precondition = Precondition { mode: PreconditionMode::Spectral, sigma_data: 0.71 };
    let network = UNet::new(config, device, 0).expect("a valid configuration");
    NetworkDenoiser::new(network, precondition, conditions, Precision::F32)
}

/// Runs one estimate and waits for the device.
fn step(estimator: &dyn Estimator, x: &Tensor) -> Tensor {
    let estimate = estimator.estimate(x, Level::edm(1.0));
    if let Device::Cuda(index) = estimate.device() {
        Cuda::synchronize(index as i64);
    }
    estimate
}

fn nfe(c: &mut Criterion) {
    let name = std::env::var("EPS_BENCH_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let device = eps_model::device(&name).expect("EPS_BENCH_DEVICE names a device");
    let shape = Shape::new(1, 28, 28).expect("a shape with pixels");
    let x = NoiseKeys::image_major(0, 0..BATCH as u64, 1).initial(shape, device);
    let mut group = c.benchmark_group("one call, batch 8");

    let prior = denoiser(vec![], device);
    let bare = Prior { denoiser: &prior };
    group.bench_function("bare denoiser", |b| b.iter(|| step(&bare, &x)));

    let network = denoiser(vec![Condition::Observation, Condition::NoiseDiagonal], device);
    for task in Task::ALL {
        let operators = (0..BATCH as u64)
            .map(|image| task.draw(Draw::Test, shape, &Stream::new(0, image, 0, 0)))
            .collect::<Result<Vec<_>, _>>()
            .expect("28×28 images admit every task");
        let operator = TensorOperator::new(operators, device).expect("one family");
        let noise = Stream::named(0, "y").normals(BATCH * operator.range().len());
        let y = batch(&noise, operator.range(), device);
        let measurement = Measurement::new(operator, &y, 0.05).expect("a finite measurement");
        let eps = Eps { denoiser: &network, measurement: &measurement };
        group.bench_function(BenchmarkId::new("EPS", task.name()), |b| b.iter(|| step(&eps, &x)));
        let level = eps_model::level_fields(&[Level::edm(1.0)], device);
        group.bench_function(BenchmarkId::new("pivot alone", task.name()), |b| {
            b.iter(|| measurement.pivot(&x, &level));
        });
    }
    group.finish();
}

criterion_group!(benches, nfe);
criterion_main!(benches);

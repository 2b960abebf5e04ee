//! The cost of network calls: the bare denoiser, EPS's step around it for every operator, and every method
//! with ten calls.
//!
//! Read the numbers as ratios within one run. The network is the one of the Fashion-MNIST
//! experiments with random weights; set `EPS_BENCH_DEVICE=cuda` for a GPU.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use eps_math::rng::Stream;
use eps_math::{Draw, Level, Precondition, PreconditionMode, Schedule, Shape, Task};
use eps_model::{
    Condition, Measurement, NetworkDenoiser, Precision, SongUNetConfig, TensorOperator, UNet, batch,
};
use eps_sample::contenders::daps::Daps;
use eps_sample::contenders::ddnm::Ddnm;
use eps_sample::contenders::ddrm::Ddrm;
use eps_sample::contenders::dps::{Dps, Form};
use eps_sample::contenders::mpgd::Mpgd;
use eps_sample::contenders::pigdm::PiGdm;
use eps_sample::contenders::{self, ContenderStep, FrozenPrior};
use eps_sample::{
    Eps, Estimator, NoiseKeys, Palette, Prior, Sample as _, SampleError, Solver, ZeroShot,
};
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
    let estimate = estimator.estimate(x, Level::edm(1.0)).expect("an estimate");
    if let Device::Cuda(index) = estimate.device() {
        Cuda::synchronize(index as i64);
    }
    estimate
}

/// A measurement of noise by a task's operators.
fn measure(task: Task, shape: Shape, device: Device) -> Measurement {
    let operators = (0..BATCH as u64)
        .map(|image| task.draw(Draw::Test, shape, &Stream::new(0, image, 0, 0)))
        .collect::<Result<Vec<_>, _>>()
        .expect("28×28 images admit every task");
    let operator = TensorOperator::new(operators, device).expect("one family");
    let noise = Stream::named(0, "y").normals(BATCH * operator.range().len());
    let y = batch(&noise, operator.range(), device);
    Measurement::new(operator, &y, 0.05).expect("a finite measurement")
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
        let measurement = measure(task, shape, device);
        let eps = Eps { denoiser: &network, measurement: &measurement };
        group.bench_function(BenchmarkId::new("EPS", task.name()), |b| b.iter(|| step(&eps, &x)));
        let level = eps_model::level_fields(&[Level::edm(1.0)], device);
        group.bench_function(BenchmarkId::new("pivot alone", task.name()), |b| {
            b.iter(|| measurement.pivot(&x, &level));
        });
    }
    group.finish();
}

/// Every method with ten calls; DAPS makes five at each of two levels.
fn methods(c: &mut Criterion) {
    let name = std::env::var("EPS_BENCH_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let device = eps_model::device(&name).expect("EPS_BENCH_DEVICE names a device");
    let shape = Shape::new(1, 28, 28).expect("a shape with pixels");
    let keys = NoiseKeys::image_major(0, 0..BATCH as u64, 1);
    let frozen = denoiser(vec![], device);
    let trained = denoiser(vec![Condition::Observation, Condition::NoiseDiagonal], device);
    let beside = denoiser(vec![Condition::Observation], device);
    let prior = Prior { denoiser: &frozen };
    let grid = Schedule::karras().sigmas(10).expect("ten steps");
    // The flow inside a level of DAPS ends at 0.01.
    let levels = Schedule::annealing(80.0).sigmas(2).expect("two levels");
    let mut group = c.benchmark_group("ten calls, batch 8");
    group.sample_size(10);
    for task in [Task::RandomInpainting, Task::MotionBlur] {
        let measurement = &measure(task, shape, device);
        let mut bench = |method: &str, run: &dyn Fn() -> Result<Tensor, SampleError>| {
            let _guard = tch::no_grad_guard();
            group.bench_function(BenchmarkId::new(method, task.name()), |b| {
                b.iter(|| {
                    let samples = run().expect("finite chains");
                    if let Device::Cuda(index) = samples.device() {
                        Cuda::synchronize(index as i64);
                    }
                });
            });
        };
        let walk = |estimator: &dyn Estimator| {
            Solver::Euler.sample(estimator, &grid, &keys, shape, device)
        };
        bench("bare denoiser", &|| walk(&prior));
        bench("EPS", &|| walk(&Eps { denoiser: &trained, measurement }));
        bench("Palette", &|| walk(&Palette { denoiser: &beside, measurement }));
        bench("zero-shot EPS", &|| walk(&ZeroShot { denoiser: &frozen, measurement }));
        let asked: FrozenPrior<'_> = FrozenPrior { denoiser: &frozen };
        let contend = |contender: &dyn ContenderStep, sigmas: &[f64]| {
            let noise = keys.on(shape, device);
            contenders::sample(contender, &asked, measurement, sigmas, &noise, &mut ())?.finished()
        };
        bench("DPS", &|| contend(&Dps { scale: 1.0, form: Form::Euler }, &grid));
        bench("DAPS", &|| contend(&Daps::langevin(1e-4), &levels));
        bench("DDNM", &|| contend(&Ddnm { eta: 0.85, regularisation: 1e-3 }, &grid));
        bench("ΠGDM", &|| contend(&PiGdm { scale: 1.0, eta: 1.0 }, &grid));
        bench("MPGD", &|| contend(&Mpgd { scale: 1.0, eta: 0.85 }, &grid));
        bench("DDRM", &|| contend(&Ddrm { eta: 0.85, eta_b: 1.0 }, &grid));
    }
    group.finish();
}

criterion_group!(benches, nfe, methods);
criterion_main!(benches);

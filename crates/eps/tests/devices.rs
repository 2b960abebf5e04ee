//! Solvers, contenders, networks and a training step on every device there is, against the CPU.
//!
//! With `EPS_REQUIRE_CUDA=1` a GPU is asked too (`eps_testing`). On the CPU alone these tests see that everything runs,
//! and that two runs are the same to the last bit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use eps::math::faer::Mat;
use eps::math::operator::{LinearMap as _, OperatorSpec, PreparedOperator};
use eps::math::prior::{Gaussian, Mixture};
use eps::math::rng::Stream;
use eps::math::{
    Churn, Interpolant, Level, Precondition, PreconditionMode, Schedule, Shape, Solver, Task,
};
use eps::model::{
    Condition, Denoiser as _, DevicePrecision as _, Measurement, Mode, NetworkDenoiser, Oracle,
    Precision, Query, QueryNoise, SongUNetConfig, TensorOperator, UNet, batch, level_fields,
};
use eps::sample::contenders::daps::Daps;
use eps::sample::contenders::ddnm::Ddnm;
use eps::sample::contenders::ddrm::Ddrm;
use eps::sample::contenders::dps::{Dps, Form};
use eps::sample::contenders::mpgd::Mpgd;
use eps::sample::contenders::pigdm::{PiGdm, PiGdmPublished};
use eps::sample::contenders::{self, ContenderStep, FrozenPrior};
use eps::sample::{Eps, Estimator, NoiseKeys, Palette, Prior, Sample as _, ZeroShot};
use eps::train::{
    BatchStreams, Decay, Ema, FORMAT_VERSION, Images, LossWeight, NoiseLaw, Objective, TrainConfig,
    loss, train,
};
use eps_testing::{assert_within, devices, rounding};
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// Images of a batch.
const BATCH: usize = 3;

fn shape() -> Shape {
    Shape::new(1, 8, 8).unwrap()
}

/// Operators with an eigenbasis and without, each for images of [`shape`].
fn operators() -> Vec<(&'static str, PreparedOperator)> {
    let bits: Vec<u8> = (0..64).map(|i| u8::from(i % 3 == 0)).collect();
    let blur = |border: &str| json!({ "operator": "gaussian-blur", "sigma_blur": 1.0, "taps": 5, "border": border });
    let resize = json!({ "operator": "resize", "height": 4, "width": 4, "filter": "bicubic" });
    [
        ("mask", json!({ "operator": "mask", "observed": bits })),
        ("average pooling", json!({ "operator": "average-pool", "factor": 2 })),
        ("circular blur", blur("circular")),
        ("blur with reflecting borders", blur("reflect")),
        ("resizing", resize),
    ]
    .map(|(name, json)| {
        let spec: OperatorSpec = serde_json::from_value(json).unwrap();
        (name, spec.prepare(shape()).unwrap())
    })
    .into()
}

/// A measurement of noise, the same on every device.
fn measurement(operator: &PreparedOperator, device: Device) -> Measurement {
    let range = operator.range();
    let operator = TensorOperator::new(vec![operator.clone(); BATCH], device).unwrap();
    let y = Stream::named(3, "y").normals(BATCH * range.len());
    let y: Vec<f64> = y.iter().map(|y| 0.5 * y).collect();
    Measurement::new(operator, &batch(&y, range, device), 0.1).unwrap()
}

/// Asserts that a result on a device is the CPU's, as close as a limit relative to its largest value.
fn assert_same(what: &str, device: Device, found: &Tensor, expected: &Tensor, limit: f64) {
    let found = found.to_device(Device::Cpu).to_kind(Kind::Double);
    let expected = expected.to_kind(Kind::Double);
    let largest = |x: &Tensor| x.abs().max().double_value(&[]);
    let difference = largest(&(found - &expected)) / largest(&expected).max(f64::MIN_POSITIVE);
    assert_within(device, what, difference, limit);
}

/// Runs something on every device and compares with the CPU's result; the limit is for a device.
fn compare(what: &str, limit: impl Fn(Device) -> f64, run: impl Fn(Device) -> Tensor) {
    let expected = run(Device::Cpu);
    for device in devices() {
        assert_same(what, device, &run(device), &expected, limit(device));
    }
}

/// N(m, ¼ I).
fn prior() -> Mixture {
    let mean = (0..64).map(|i| 0.3 - 0.01 * f64::from(i)).collect();
    let covariance = Mat::from_fn(64, 64, |i, j| if i == j { 0.25 } else { 0.0 });
    Mixture::from(Gaussian::new(mean, covariance).unwrap())
}

fn solvers() -> Vec<Solver> {
    let churn = Churn { s_churn: 4.0, s_min: 0.05, s_max: 50.0, s_noise: 1.003 };
    let flow = Solver::Flow { interpolant: Interpolant::VpCosine { offset: 0.008 } };
    let ancestral = Solver::Ddim { eta: 1.0 };
    vec![Solver::Euler, Solver::Heun, Solver::Churn(churn), ancestral, Solver::MULTISTEP, flow]
}

/// Sums of f64 in another order: 10⁶ units of 2e-16 are far more than some hundred operations with gains up to 10³ make,
/// and far less than one f32 number in between would.
fn of_f64(_: Device) -> f64 {
    2e-10
}

#[test]
fn every_solver_walks_alike_on_every_device() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let sigmas = Schedule::karras().sigmas(5).unwrap();
    let keys = NoiseKeys::image_major(1, 0..BATCH as u64, 1);
    for (name, operator) in operators() {
        for solver in solvers() {
            compare(&format!("{solver:?}, {name}"), of_f64, |device| {
                let measurement = measurement(&operator, device);
                let eps = Eps { denoiser: &oracle, measurement: &measurement };
                solver.sample(&eps, &sigmas, &keys, shape(), device).unwrap()
            });
        }
    }
}

#[test]
fn every_estimator_answers_alike_on_every_device() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let keys = NoiseKeys::image_major(1, 0..BATCH as u64, 1);
    for (name, operator) in operators() {
        let compare = |what: &str, ask: &dyn Fn(&Measurement, &Tensor) -> Tensor| {
            compare(&format!("{what}, {name}"), of_f64, |device| {
                let x = keys.initial(shape(), device);
                ask(&measurement(&operator, device), &x)
            });
        };
        let ask =
            |estimator: &dyn Estimator, x: &Tensor| estimator.estimate(x, Level::edm(2.0)).unwrap();
        compare("prior", &|_, x| ask(&Prior { denoiser: &oracle }, x));
        compare("EPS", &|measurement, x| ask(&Eps { denoiser: &oracle, measurement }, x));
        compare("Palette", &|measurement, x| ask(&Palette { denoiser: &oracle, measurement }, x));
        compare("zero-shot", &|measurement, x| {
            ask(&ZeroShot { denoiser: &oracle, measurement }, x)
        });
    }
}

#[test]
fn every_contender_walks_alike_on_every_device() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let asked: FrozenPrior<'_> = FrozenPrior { denoiser: &oracle };
    let (grid, levels) =
        (Schedule::karras().sigmas(5).unwrap(), Schedule::annealing(80.0).sigmas(2).unwrap());
    let contenders: Vec<(&str, Box<dyn ContenderStep>, &[f64])> = vec![
        ("DDRM", Box::new(Ddrm::default()), &grid),
        ("DDNM", Box::new(Ddnm { eta: 0.85, regularisation: 1e-3 }), &grid),
        ("MPGD", Box::new(Mpgd { scale: 0.2, eta: 0.85 }), &grid),
        ("DAPS", Box::new(Daps::langevin(1e-4)), &levels),
        ("DAPS, exact", Box::new(Daps::exact()), &levels),
        ("DPS", Box::new(Dps { scale: 0.1, form: Form::Euler }), &grid),
        ("DPS, published", Box::new(Dps { scale: 0.02, form: Form::Ancestral }), &grid),
        ("ΠGDM", Box::new(PiGdm { scale: 1.0, eta: 1.0 }), &grid),
        ("ΠGDM, published", Box::new(PiGdmPublished { eta: 1.0 }), &grid),
    ];
    let keys = NoiseKeys::image_major(1, 0..BATCH as u64, 1);
    for (name, operator) in operators() {
        for (method, contender, sigmas) in &contenders {
            compare(&format!("{method}, {name}"), of_f64, |device| {
                let measurement = measurement(&operator, device);
                let noise = keys.on(shape(), device);
                contenders::sample(&**contender, &asked, &measurement, sigmas, &noise, &mut ())
                    .and_then(|outcome| outcome.finished())
                    .unwrap()
            });
        }
    }
}

/// A network of every layer: attention, resampling, two levels.
fn config(channels: usize) -> SongUNetConfig {
    SongUNetConfig {
        model_channels: 16,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![4],
        dropout: 0.0,
        ..SongUNetConfig::ddpmpp(8, channels, 1)
    }
}

/// EDM's initial weights are tiny where a block ends: these are not.
fn network(device: Device) -> UNet {
    let network = UNet::new(config(2), device, 0).unwrap();
    let _guard = tch::no_grad_guard();
    for (name, mut tensor) in network.tensors() {
        let dims = tensor.size();
        let fan_in = dims.iter().skip(1).product::<i64>() as f64;
        let offset = f64::from(dims.len() == 1 && name.ends_with("weight"));
        let scale = if dims.len() == 1 { 0.1 } else { fan_in.powf(-0.5) };
        let values = Stream::named(0, &name).normals(dims.iter().product::<i64>() as usize);
        let values = Tensor::from_slice(&values).view(dims.as_slice()) * scale + offset;
        tensor.copy_(&values.to_kind(Kind::Float));
    }
    network
}

fn denoiser(device: Device, precision: Precision) -> NetworkDenoiser {
    let precondition = Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 };
    NetworkDenoiser::new(network(device), precondition, vec![Condition::Observation], precision)
}

/// What a product rounds, times 300: some 40 layers that each round sums of up to some hundred products, as random
/// errors add up, with room for another order; a wrong layer changes the answer by its size.
fn of_f32(device: Device) -> f64 {
    300.0 * rounding(device)
}

#[test]
fn a_network_answers_alike_on_every_device_in_every_precision() {
    let (_, operator) = &operators()[0];
    let answer = |device: Device, precision: Precision| {
        let _guard = tch::no_grad_guard();
        let denoiser = denoiser(device, precision);
        let measurement = measurement(operator, device);
        let x = NoiseKeys::image_major(1, 0..BATCH as u64, 1).initial(shape(), device) / 40.0;
        let level = level_fields(&[Level::edm(1.0)], device);
        let pivot = measurement.pivot(&x, &level).unwrap();
        let noise = QueryNoise::Observed(&measurement);
        denoiser.denoise(&Query { mu: &pivot.mu_star, level: &level, noise }).unwrap()
    };
    let expected = answer(Device::Cpu, Precision::F32);
    for device in devices() {
        let found = answer(device, Precision::F32);
        assert_same("a network in f32", device, &found, &expected, of_f32(device));
        for (precision, bits) in [(Precision::Bf16, 8), (Precision::F16, 11)] {
            if precision.check(device).is_ok() {
                let found = answer(device, precision);
                // Every layer rounds what it stores.
                let limit = 40.0 * f64::powi(2.0, -bits);
                assert_same(&format!("a network in {precision}"), device, &found, &expected, limit);
            }
        }
    }
}

fn training() -> TrainConfig {
    TrainConfig {
        format_version: FORMAT_VERSION,
        name: "devices".into(),
        dataset: "noise".into(),
        network: config(2).into(),
        precondition: Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 },
        parameterisation: None,
        conditions: vec![Condition::Observation],
        interpolant: Interpolant::Edm,
        objective: Objective::Eps {
            tasks: vec![Task::RandomInpainting, Task::SuperResolution].into(),
            sigma_y: 0.05.into(),
        },
        noise_law: NoiseLaw::edm(),
        loss_weight: LossWeight::Preconditioned,
        start: None,
        batch: 4,
        micro_batch: None,
        gradient_checkpointing: false,
        steps: 2,
        learning_rate: 1e-3,
        warm_up: 1,
        decay: Decay::Cosine,
        ema: Ema { half_life: 100.0, ramp: None },
        seed: 0,
        precision: Precision::F32,
        checkpoint_every: 1,
        validation_images: 4,
    }
}

#[test]
fn the_gradient_of_a_training_step_is_the_same_on_every_device() {
    let config = training();
    let values = Stream::named(0, "images").normals(4 * 64);
    for batch_of_tasks in 0..4 {
        let streams = BatchStreams { seed: 0, batch: batch_of_tasks, first: 0 };
        compare(&format!("a gradient, step {batch_of_tasks}"), of_f32, |device| {
            let denoiser = denoiser(device, Precision::F32);
            let x_0 = (batch(&values, shape(), device) * 0.5).clamp(-1.0, 1.0);
            let mode = Mode::Train(streams.dropout());
            loss(&denoiser, &config, &x_0, None, streams, mode).unwrap().backward();
            let tensors = denoiser.network().tensors();
            let gradients: Vec<Tensor> = tensors
                .values()
                .filter(|tensor| tensor.requires_grad() && tensor.grad().defined())
                .map(|tensor| tensor.grad().flatten(0, -1))
                .collect();
            assert!(gradients.len() > 40, "{} gradients", gradients.len());
            Tensor::cat(&gradients, 0)
        });
    }
}

/// The losses of a short training, each a sum over thousands of values: the optimiser, the running average, validation
/// and checkpoints on every device.
#[test]
fn a_training_has_the_same_losses_on_every_device() {
    let bytes: Vec<u8> =
        (0..40 * 64u64).map(|i| (Stream::named(0, "bytes").uniform(i) * 256.0) as u8).collect();
    let images = || {
        let all = Tensor::from_slice(&bytes).view([40, 1, 8, 8]);
        Images { train: all.narrow(0, 0, 30), validation: all.narrow(0, 30, 10), classes: None }
    };
    compare("the losses of two steps", of_f32, |device| {
        let folder = tempfile::tempdir().unwrap();
        train(&training(), None, &images(), folder.path(), device).unwrap();
        let text = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        let losses: Vec<f64> = text
            .lines()
            .flat_map(|line| {
                let record: serde_json::Value = serde_json::from_str(line).unwrap();
                ["train_loss", "validation_loss"].map(|name| record[name].as_f64().unwrap())
            })
            .collect();
        assert_eq!(losses.len(), 4);
        Tensor::from_slice(&losses)
    });
}

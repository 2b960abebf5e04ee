//! What calls, steps, pivots, gradients and workers cost, as JSON lines on standard output.
//!
//! Items of a group are run one after the other, round by round, so that what else the machine does falls on all of
//! them: ratios of items of one round are what to read. Every time ends after the device has finished.
//! `cargo xtask bench --report` makes `docs/performance.md` of it, the script of `cargo xtask gpu-pack` a table.

#![expect(clippy::print_stdout, reason = "a measurement prints what it found")]

use std::time::Instant;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use eps::math::operator::OperatorSpec;
use eps::math::rng::Stream;
use eps::math::{
    Draw, Interpolant, Level, Precondition, PreconditionMode, Schedule, Shape, Solver, Task,
};
use eps::model::training_cost::{Product, training_cost};
use eps::model::{
    Condition, DevicePrecision as _, DhariwalUNetConfig, Measurement, Mode, NetworkDenoiser,
    Precision, SongUNetConfig, TensorOperator, UNet, UNetConfig, batch, level_fields,
};
use eps::prelude::{Settings, dataset, restore, simulate};
use eps::sample::contenders::daps::Daps;
use eps::sample::contenders::ddnm::Ddnm;
use eps::sample::contenders::ddrm::Ddrm;
use eps::sample::contenders::dps::{Dps, Form};
use eps::sample::contenders::mpgd::Mpgd;
use eps::sample::contenders::pigdm::PiGdm;
use eps::sample::contenders::{self, ContenderStep, FrozenPrior};
use eps::sample::{Eps, Estimator, NoiseKeys, Palette, Prior, Sample as _, ZeroShot};
use eps::train::{
    BatchStreams, Decay, Ema, FORMAT_VERSION, LossWeight, NoiseLaw, Objective, TrainConfig, loss,
};
use serde_json::json;
use tch::{Cuda, Device, Kind, Tensor};

type Error = Box<dyn std::error::Error>;

/// What is measured, in this order.
const GROUPS: [&str; 8] =
    ["bare", "calls", "kernels", "steps", "pivots", "gradients", "workers", "growth"];

/// The networks, all with random weights: that of Fashion-MNIST here, EDM's of FFHQ-64 and ImageNet-64.
const SIZES: [&str; 3] = ["fashion", "ffhq-64", "imagenet-64"];

#[derive(Debug, Parser)]
struct Arguments {
    /// `cpu` or `cuda:N`
    #[arg(long, default_value = "cpu", value_parser = eps::model::device)]
    device: Device,
    /// Groups, of bare, calls, kernels, steps, pivots, gradients, workers, growth
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(GROUPS), default_value = "calls")]
    group: Vec<String>,
    /// Networks, of fashion, ffhq-64, imagenet-64
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(SIZES), default_value = "fashion")]
    size: Vec<String>,
    /// Batches
    #[arg(long, value_delimiter = ',', default_value = "8")]
    batch: Vec<usize>,
    /// Precisions, of f32, bf16, f16
    #[arg(long, value_delimiter = ',', default_value = "f32")]
    precision: Vec<Precision>,
    /// Rounds; one more is run before them and not counted
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Runs of an item in a round, of which the mean counts
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// Tell also what is beyond this measurement's memory, as a line with an error, and go on
    #[arg(long)]
    go_on: bool,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// Something whose time is taken.
struct Item<'a> {
    name: String,
    /// The network calls that it makes, by which its time is divided; 1 where it makes none.
    calls: usize,
    run: Box<dyn Fn() -> Result<(), Error> + 'a>,
}

impl<'a> Item<'a> {
    fn new(
        name: impl Into<String>,
        calls: usize,
        run: impl Fn() -> Result<(), Error> + 'a,
    ) -> Self {
        Self { name: name.into(), calls, run: Box::new(run) }
    }
}

/// Where and how often items are run, and what is said of each.
struct Bench<'a> {
    arguments: &'a Arguments,
    group: &'a str,
    size: &'a str,
    /// What is said of the size.
    label: &'a str,
    batch: usize,
    precision: Precision,
}

impl Bench<'_> {
    /// Runs the items round by round and prints a line for each: seconds a call in every round.
    fn measure(&self, items: &[Item<'_>]) -> Result<(), Error> {
        let Arguments { rounds, repeat, device, .. } = *self.arguments;
        let mut seconds = vec![Vec::new(); items.len()];
        for round in 0..=rounds {
            for (item, seconds) in items.iter().zip(&mut seconds) {
                let start = Instant::now();
                for _ in 0..repeat {
                    (item.run)()?;
                }
                synchronise(device);
                if round > 0 {
                    let runs = (repeat * item.calls) as f64;
                    seconds.push(start.elapsed().as_secs_f64() / runs);
                }
            }
        }
        for (item, seconds) in items.iter().zip(seconds) {
            self.tell(&item.name, json!({ "seconds": seconds }));
        }
        Ok(())
    }

    fn tell(&self, item: &str, found: serde_json::Value) {
        let Self { group, label, batch, precision, arguments, .. } = self;
        let mut line = json!({
            "group": group, "size": label, "batch": batch, "precision": precision.name(), "item": item,
            "device": eps::model::device_name(arguments.device), "threads": tch::get_num_threads(),
        });
        for (key, value) in found.as_object().into_iter().flatten() {
            line[key] = value.clone();
        }
        println!("{line}");
    }
}

fn synchronise(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    for group in &arguments.group {
        for size in &arguments.size {
            for precision in &arguments.precision {
                precision.check(arguments.device)?;
                for batch in &arguments.batch {
                    let bench = Bench {
                        arguments: &arguments,
                        group,
                        size,
                        label: size,
                        batch: *batch,
                        precision: *precision,
                    };
                    let outcome = match &**group {
                        "bare" => bare(&bench),
                        "calls" => calls(&bench),
                        "kernels" => kernels(&bench),
                        "steps" => steps(&bench),
                        "pivots" => pivots(&bench),
                        "gradients" => gradients(&bench),
                        "workers" => workers(&bench),
                        _ => growth(&bench),
                    };
                    match outcome {
                        Err(error) if arguments.go_on => {
                            bench.tell("all", json!({ "error": error.to_string() }));
                        }
                        outcome => outcome?,
                    }
                }
            }
        }
    }
    Ok(())
}

/// The images of a network.
fn shape_of(size: &str) -> Result<Shape, Error> {
    Ok(if size == "fashion" { Shape::new(1, 28, 28)? } else { Shape::new(3, 64, 64)? })
}

/// A network for images of a shape that reads so many channels.
fn config_of(size: &str, shape: Shape, channels: usize) -> UNetConfig {
    let Shape { channels: out, height: side, .. } = shape;
    match size {
        "fashion" => SongUNetConfig {
            model_channels: 32,
            channel_mult: vec![1, 2, 2],
            num_blocks: 1,
            attn_resolutions: vec![side / 4],
            dropout: 0.0,
            ..SongUNetConfig::ddpmpp(side, channels, out)
        }
        .into(),
        "ffhq-64" => SongUNetConfig {
            channel_mult: vec![1, 2, 2, 2],
            dropout: 0.0,
            ..SongUNetConfig::ddpmpp(side, channels, out)
        }
        .into(),
        _ => DhariwalUNetConfig { dropout: 0.0, ..DhariwalUNetConfig::adm(side, channels, out) }
            .into(),
    }
}

/// A network under its noise, in the paper's form: its pivot is the input, with y beside it.
fn denoiser(
    bench: &Bench<'_>,
    shape: Shape,
    conditions: Vec<Condition>,
) -> Result<NetworkDenoiser, Error> {
    let channels =
        shape.channels + conditions.iter().map(|c| c.channels(shape.channels)).sum::<usize>();
    let precondition = Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 };
    let network = UNet::new(config_of(bench.size, shape, channels), bench.arguments.device, 0)?;
    Ok(NetworkDenoiser::new(network, precondition, conditions, bench.precision))
}

/// A measurement of noise by operators of a task.
fn measure(bench: &Bench<'_>, task: Task, shape: Shape) -> Result<Measurement, Error> {
    let operators = (0..bench.batch as u64)
        .map(|image| task.draw(Draw::Test, shape, &Stream::new(0, image, 0, 0)))
        .collect::<Result<Vec<_>, _>>()?;
    of_noise(TensorOperator::new(operators, bench.arguments.device)?, bench)
}

/// A measurement of noise by operators.
fn of_noise(operator: TensorOperator, bench: &Bench<'_>) -> Result<Measurement, Error> {
    let range = operator.range();
    let noise = Stream::named(0, "y").normals(bench.batch * range.len());
    Ok(Measurement::new(operator, &batch(&noise, range, bench.arguments.device), 0.05)?)
}

/// A state of pure noise.
fn state(bench: &Bench<'_>, shape: Shape) -> Tensor {
    NoiseKeys::image_major(0, 0..bench.batch as u64, 1).initial(shape, bench.arguments.device)
}

/// One estimate.
fn ask(estimator: &dyn Estimator, x: &Tensor) -> Result<(), Error> {
    let _guard = tch::no_grad_guard();
    Ok(estimator.estimate(x, Level::edm(1.0)).map(drop)?)
}

/// What a page sets beside another program's: the bare denoiser, Euler's walk and DPS on it, forward and backward of its
/// network, pivots, and the peak of this program's memory.
fn bare(bench: &Bench<'_>) -> Result<(), Error> {
    let shape = shape_of(bench.size)?;
    let device = bench.arguments.device;
    let x = state(bench, shape);
    let prior = denoiser(bench, shape, vec![])?;
    let input = x.to_kind(bench.precision.kind());
    let keys = NoiseKeys::image_major(0, 0..bench.batch as u64, 1);
    let alone = |label: String, calls: usize, run: &dyn Fn() -> Result<(), Error>| {
        Bench { label: &label, ..*bench }.measure(&[Item::new("bare", calls, run)])
    };
    let of = |what: &str| format!("{}, {what}", bench.size);
    bench.measure(&[Item::new("bare", 1, || ask(&Prior { denoiser: &prior }, &x))])?;
    tell_memory(bench, bench.size);
    // Of one image: those of more take as much longer as a call does.
    if bench.batch == 1 {
        alone(of("Euler's walk"), 20, &|| {
            let sigmas = Schedule::karras().sigmas(20)?;
            let alone = Prior { denoiser: &prior };
            Ok(Solver::Euler.sample(&alone, &sigmas, &keys, shape, device).map(drop)?)
        })?;
        let measurement = &measure(bench, Task::RandomInpainting, shape)?;
        let (dps, sigmas) = (Dps { scale: 1.0, form: Form::Euler }, Schedule::karras().sigmas(4)?);
        alone(of("DPS"), 4, &|| {
            let asked: FrozenPrior<'_> = FrozenPrior { denoiser: &prior };
            let noise = keys.on(shape, device);
            let outcome = contenders::sample(&dps, &asked, measurement, &sigmas, &noise, &mut ())?;
            Ok(outcome.finished().map(drop)?)
        })?;
    }
    alone(of("forward and backward"), 1, &|| forward_and_backward(prior.network(), &input))?;
    tell_memory(bench, &of("forward and backward"));
    let level = level_fields(&[Level::edm(1.0)], device);
    for (name, json) in families(shape).into_iter().take(3) {
        let measurement = of_noise(prepared(bench, &json, shape)?, bench)?;
        // Short ones, of which one alone says little.
        let many = || {
            let _guard = tch::no_grad_guard();
            for _ in 0..10 {
                drop(measurement.pivot(&x, &level)?);
            }
            Ok(())
        };
        let side = shape.height;
        alone(format!("{side}×{side}, pivot of {name}"), 10, &many)?;
    }
    Ok(())
}

/// Tells the most memory that this program has had, where the system says so.
fn tell_memory(bench: &Bench<'_>, label: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
    if let Some(kilobytes) = kilobytes {
        let told = json!({ "group": "memory", "bytes": 1024 * kilobytes });
        Bench { label, ..*bench }.tell("bare", told);
    }
}

/// A network's forward and backward pass alone.
fn forward_and_backward(network: &UNet, input: &Tensor) -> Result<(), Error> {
    let times = Tensor::zeros([input.size()[0]], (Kind::Float, input.device()));
    let mode = Mode::Train(Stream::new(0, 0, 0, 0));
    let output = network.forward(input, &times, None, None, mode);
    output.to_kind(Kind::Float).square().mean(Kind::Float).backward();
    Ok(())
}

/// Everything that a call multiplies, one product after the other and nothing between them; and that forward and backward do.
fn kernels(bench: &Bench<'_>) -> Result<(), Error> {
    let shape = shape_of(bench.size)?;
    let x = state(bench, shape);
    let prior = denoiser(bench, shape, vec![])?;
    let trained = denoiser(bench, shape, vec![])?;
    let input = x.to_kind(bench.precision.kind());
    let cost = training_cost(prior.network().config())?;
    for learns in [false, true] {
        let [convolutions, attentions]: [Vec<_>; 2] = [false, true].map(|attends| {
            let is_one =
                |product: &&Product| matches!(product, Product::Attention { .. }) == attends;
            let products = cost.products().filter(is_one);
            products.filter_map(|product| run_of(product, bench, learns)).collect()
        });
        let all = |runs: &[Box<dyn Fn()>]| {
            let _guard = (!learns).then(tch::no_grad_guard);
            runs.iter().for_each(|run| run());
            Ok(())
        };
        let call = || match learns {
            false => ask(&Prior { denoiser: &prior }, &x),
            true => forward_and_backward(trained.network(), &input),
        };
        let label = if learns {
            format!("{}, forward and backward", bench.size)
        } else {
            bench.size.to_owned()
        };
        let bench = Bench { label: &label, ..*bench };
        bench.measure(&[
            Item::new(if learns { "the network's own" } else { "bare call" }, 1, call),
            Item::new("its convolutions alone", 1, || all(&convolutions)),
            Item::new("the products of its attention alone", 1, || all(&attentions)),
        ])?;
    }
    Ok(())
}

/// One product of a network, on any values, with the gradients of all that it reads where it learns; none for the small
/// ones of the embedding.
fn run_of(product: &Product, bench: &Bench<'_>, learns: bool) -> Option<Box<dyn Fn()>> {
    let options = (bench.precision.kind(), bench.arguments.device);
    let values = |dims: &[u64]| {
        let dims: Vec<i64> = dims.iter().map(|&length| length as i64).collect();
        let count = dims.iter().product::<i64>();
        // Any values of the size that activations have.
        let values = Tensor::arange(count, (Kind::Float, options.1)).sin();
        values.view(&dims[..]).to_kind(options.0).set_requires_grad(learns)
    };
    // Of a sum, whose own gradient is next to nothing.
    let learn = move |product: Tensor, read: &[&Tensor]| {
        if learns {
            drop(Tensor::run_backward(&[product.sum(Kind::Float)], read, false, false));
        }
    };
    let batch = bench.batch as u64;
    match *product {
        Product::Linear { .. } => None,
        Product::Convolution { inputs, outputs, kernel, side, stride } => {
            // Of a stride of two the kernel begins before the first pixel or ends behind the last.
            let read =
                (side - 1) * stride + kernel - 2 * (kernel / 2) + (stride - 1) * (kernel % 2);
            let (x, weight) =
                (values(&[batch, inputs, read, read]), values(&[outputs, inputs, kernel, kernel]));
            let bias = values(&[outputs]);
            let [stride, padding] = [[stride as i64; 2], [(kernel / 2) as i64; 2]];
            Some(Box::new(move || {
                let product = x.conv2d(&weight, Some(&bias), stride, padding, [1, 1], 1);
                learn(product, &[&x, &weight, &bias]);
            }))
        }
        Product::Attention { heads, channels, pixels } => {
            // Small ones: a softmax of large ones underflows to what some processors multiply at a thirtieth of their speed.
            let small = |dims: &[u64]| (values(dims) * 0.05).detach().set_requires_grad(learns);
            let [q, k, v] = [(); 3].map(|()| small(&[batch * heads, channels / heads, pixels]));
            Some(Box::new(move || {
                let weights = q.transpose(1, 2).matmul(&k).softmax(-1, None::<Kind>);
                learn(v.matmul(&weights.transpose(1, 2)), &[&q, &k, &v]);
            }))
        }
    }
}

/// One network call: bare, EPS on every task, Palette.
fn calls(bench: &Bench<'_>) -> Result<(), Error> {
    let shape = shape_of(bench.size)?;
    let x = state(bench, shape);
    let prior = denoiser(bench, shape, vec![])?;
    let network = denoiser(bench, shape, vec![Condition::Observation])?;
    let measurements = Task::ALL
        .into_iter()
        .map(|task| Ok((task, measure(bench, task, shape)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let mut items = vec![Item::new("bare", 1, || ask(&Prior { denoiser: &prior }, &x))];
    for (task, measurement) in &measurements {
        let (network, x) = (&network, &x);
        items.push(Item::new(format!("EPS, {}", task.name()), 1, move || {
            ask(&Eps { denoiser: network, measurement }, x)
        }));
    }
    let (_, measurement) = &measurements[0];
    items.push(Item::new("Palette", 1, || ask(&Palette { denoiser: &network, measurement }, &x)));
    bench.measure(&items)
}

/// A step of every method, as a share of several.
fn steps(bench: &Bench<'_>) -> Result<(), Error> {
    let shape = shape_of(bench.size)?;
    let device = bench.arguments.device;
    let keys = NoiseKeys::image_major(0, 0..bench.batch as u64, 1);
    let frozen = denoiser(bench, shape, vec![])?;
    let trained = denoiser(bench, shape, vec![Condition::Observation])?;
    let measurement = &measure(bench, Task::RandomInpainting, shape)?;
    let asked: FrozenPrior<'_> = FrozenPrior { denoiser: &frozen };
    let sigmas = Schedule::karras().sigmas(4)?;
    // Each level of DAPS makes five calls; its flow inside a level ends at 0.01.
    let levels = Schedule::annealing(80.0).sigmas(1)?;
    let walk = |estimator: &dyn Estimator, solver: Solver| -> Result<(), Error> {
        let _guard = tch::no_grad_guard();
        Ok(solver.sample(estimator, &sigmas, &keys, shape, device).map(drop)?)
    };
    let contend = |contender: &dyn ContenderStep, sigmas: &[f64]| -> Result<(), Error> {
        let _guard = tch::no_grad_guard();
        let noise = keys.on(shape, device);
        let outcome = contenders::sample(contender, &asked, measurement, sigmas, &noise, &mut ())?;
        Ok(outcome.finished().map(drop)?)
    };
    let euler = Solver::Euler;
    let (eps, zero_shot) =
        (Eps { denoiser: &trained, measurement }, ZeroShot { denoiser: &frozen, measurement });
    let daps = Daps::langevin(1e-4);
    bench.measure(&[
        Item::new("prior, Euler", 4, || walk(&Prior { denoiser: &frozen }, euler)),
        Item::new("EPS, Euler", 4, || walk(&eps, euler)),
        Item::new("EPS, Heun", 7, || walk(&eps, Solver::Heun)),
        Item::new("EPS, multistep", 4, || walk(&eps, Solver::MULTISTEP)),
        Item::new("EPS, ancestral", 4, || walk(&eps, Solver::Ddim { eta: 1.0 })),
        Item::new("Palette", 4, || walk(&Palette { denoiser: &trained, measurement }, euler)),
        Item::new("zero-shot EPS", 4, || walk(&zero_shot, euler)),
        Item::new("DPS", 4, || contend(&Dps { scale: 1.0, form: Form::Euler }, &sigmas)),
        Item::new("DAPS", daps.nfe(levels.len() - 1), || contend(&daps, &levels)),
        Item::new("DDNM", 4, || contend(&Ddnm { eta: 0.85, regularisation: 1e-3 }, &sigmas)),
        Item::new("ΠGDM", 4, || contend(&PiGdm { scale: 1.0, eta: 1.0 }, &sigmas)),
        Item::new("MPGD", 4, || contend(&Mpgd { scale: 1.0, eta: 0.85 }, &sigmas)),
        Item::new("DDRM", 4, || contend(&Ddrm::default(), &sigmas)),
    ])
}

/// One operator of every family that fits images of a shape, as JSON.
fn families(shape: Shape) -> Vec<(&'static str, serde_json::Value)> {
    let Shape { height, width, .. } = shape;
    let bits: Vec<u8> = (0..height * width).map(|i| u8::from(i % 3 == 0)).collect();
    let matrix = |name: &str, rows: usize, columns: usize| -> Vec<Vec<f64>> {
        let values = Stream::named(0, name).normals(rows * columns);
        values.chunks(columns).map(<[f64]>::to_vec).collect()
    };
    let blur = |border: &str| json!({ "operator": "gaussian-blur", "sigma_blur": 1.5, "taps": 9, "border": border });
    let half = |side: usize| side / 2;
    vec![
        ("mask", json!({ "operator": "mask", "observed": bits })),
        ("average pooling", json!({ "operator": "average-pool", "factor": 4 })),
        ("circular blur", blur("circular")),
        (
            "separable",
            json!({
                "operator": "separable",
                "vertical": matrix("vertical", half(height), height),
                "horizontal": matrix("horizontal", half(width), width),
            }),
        ),
        (
            "dense, 64 rows",
            json!({ "operator": "dense", "matrix": matrix("matrix", 64, shape.len()) }),
        ),
        ("blur with reflecting borders", blur("reflect")),
        (
            "resizing",
            json!({
                "operator": "resize", "height": half(height), "width": half(width), "filter": "bicubic",
            }),
        ),
        (
            "projections",
            json!({
                "operator": "radon",
                "angles_degrees": (0..12).map(|i| 15.0 * f64::from(i)).collect::<Vec<_>>(),
            }),
        ),
    ]
}

/// An operator for every image of a batch.
fn prepared(
    bench: &Bench<'_>,
    json: &serde_json::Value,
    shape: Shape,
) -> Result<TensorOperator, Error> {
    let spec: OperatorSpec = serde_json::from_value(json.clone())?;
    let operators = (0..bench.batch).map(|_| spec.prepare(shape));
    Ok(TensorOperator::new(operators.collect::<Result<Vec<_>, _>>()?, bench.arguments.device)?)
}

/// The pivot alone, of every family of operators, beside a bare call.
fn pivots(bench: &Bench<'_>) -> Result<(), Error> {
    let shape = shape_of(bench.size)?;
    let device = bench.arguments.device;
    let x = state(bench, shape);
    let prior = denoiser(bench, shape, vec![])?;
    let level = level_fields(&[Level::edm(1.0)], device);
    let mut measurements = Vec::new();
    for (name, json) in families(shape) {
        let operator = prepared(bench, &json, shape)?;
        let kind = if operator.is_closed() { "eigenbasis" } else { "iteration" };
        measurements.push((format!("{name} ({kind})"), of_noise(operator, bench)?));
    }
    let mut items = vec![Item::new("bare call", 1, || ask(&Prior { denoiser: &prior }, &x))];
    for (name, measurement) in &measurements {
        let (x, level) = (&x, &level);
        items.push(Item::new(name, 1, move || {
            let _guard = tch::no_grad_guard();
            Ok(measurement.pivot(x, level).map(drop)?)
        }));
    }
    bench.measure(&items)
}

/// The gradient of a training step: the network's own, and that of EPS with operators, noise and pivot.
fn gradients(bench: &Bench<'_>) -> Result<(), Error> {
    let shape = shape_of(bench.size)?;
    let conditions = vec![Condition::Observation];
    let network = denoiser(bench, shape, conditions.clone())?;
    let config = TrainConfig {
        format_version: FORMAT_VERSION,
        name: "cost".into(),
        dataset: "noise".into(),
        network: network.network().config().clone(),
        precondition: network.precondition(),
        parameterisation: None,
        conditions,
        interpolant: Interpolant::Edm,
        objective: Objective::Eps { tasks: Task::ALL.to_vec().into(), sigma_y: 0.05.into() },
        noise_law: NoiseLaw::edm(),
        loss_weight: LossWeight::Preconditioned,
        start: None,
        batch: bench.batch,
        micro_batch: None,
        gradient_checkpointing: false,
        steps: 1,
        learning_rate: 1e-4,
        warm_up: 0,
        decay: Decay::Cosine,
        ema: Ema { half_life: 1000.0, ramp: None },
        seed: 0,
        precision: bench.precision,
        checkpoint_every: 1,
        validation_images: 0,
    };
    let x_0 = state(bench, shape).clamp(-1.0, 1.0);
    let channels = network.network().config().in_channels() as i64;
    let input =
        x_0.repeat([1, channels / shape.channels as i64, 1, 1]).to_kind(bench.precision.kind());
    let streams = |step: u64| BatchStreams { seed: 0, batch: step, first: 0 };
    let unet = network.network();
    bench.measure(&[
        Item::new("the network's own", 1, || forward_and_backward(unet, &input)),
        Item::new("of EPS", 1, || {
            let step = streams(0);
            let mode = Mode::Train(step.dropout());
            loss(&network, &config, &x_0, None, step, mode)?.backward();
            Ok(())
        }),
    ])
}

/// A restoration by one worker and by two.
fn workers(bench: &Bench<'_>) -> Result<(), Error> {
    if bench.arguments.device != Device::Cpu || bench.size != "fashion" {
        return Ok(());
    }
    let path = dataset::networks("fashion-mnist").join("all-tasks.safetensors");
    let network = eps::Network::load(&path, None, Device::Cpu, bench.precision)?;
    let images = dataset::load("fashion-mnist", eps::data::Split::Test, None)?;
    let indices: Vec<usize> = (0..bench.batch).collect();
    let set = simulate(&images, &indices, Task::RandomInpainting, 0.05, 0)?;
    let run = |threads: usize| -> Result<(), Error> {
        let settings = Settings { samples: 2, calls: 5, threads, ..Settings::default() };
        restore(&network, &set, &settings).map(drop)?;
        Ok(())
    };
    bench.measure(&[Item::new("1 worker", 1, || run(1)), Item::new("2 workers", 1, || run(2))])
}

/// A call of EPS beside a bare one at several sides, with the widths of Fashion-MNIST's network.
fn growth(bench: &Bench<'_>) -> Result<(), Error> {
    let channels = shape_of(bench.size)?.channels;
    for side in [16, 32, 64, 128] {
        let shape = Shape::new(channels, side, side)?;
        let x = state(bench, shape);
        let prior = denoiser(bench, shape, vec![])?;
        let network = denoiser(bench, shape, vec![Condition::Observation])?;
        let measurement = &measure(bench, Task::GaussianBlur, shape)?;
        let label = format!("{side}×{side}");
        let bench = Bench { label: &label, ..*bench };
        bench.measure(&[
            Item::new("bare", 1, || ask(&Prior { denoiser: &prior }, &x)),
            Item::new("EPS", 1, || ask(&Eps { denoiser: &network, measurement }, &x)),
        ])?;
    }
    Ok(())
}

//! Takes a TorchScript module for a prior: samples by zero-shot EPS and by two of its contenders.
//!
//! The module is made here, out of the committed prior, so that it predicts the noise of a
//! variance-preserving state. One of yours comes from `torch.jit.script(network).save("prior.pt")`.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use eps::data::{Split, fashion_mnist};
use eps::math::operator::LinearMap as _;
use eps::math::parameterisation::{
    Parameterisation, PixelRange, Prediction, StateScale, TimeInput,
};
use eps::math::rng::Stream;
use eps::math::{Draw, Level, Real as _, Schedule, Shape, Task};
use eps::metrics::fidelity::psnr;
use eps::model::{
    Denoiser as _, Field, Measurement, Precision, PriorDescription, Query, QueryNoise,
    ScriptedPrior, TensorOperator, checkpoint,
};
use eps::sample::contenders::ddnm::Ddnm;
use eps::sample::contenders::dps::{Dps, Form};
use eps::sample::contenders::{self, ContenderStep, FrozenPrior};
use eps::sample::{NoiseKeys, Sample as _, Solver, ZeroShot};
use eps::tch::{CModule, Device, Kind, Tensor, no_grad_guard};

type Error = Box<dyn std::error::Error>;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const SAMPLES: usize = 4;
const CALLS: usize = 20;

fn main() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let description = write_module(folder.path())?;
    let prior = ScriptedPrior::load(&description, None, Device::Cpu, Precision::F32)?;

    // A test image with 70 % of its pixels missing.
    let images = fashion_mnist::load(Split::Test, &[format!("{REPOSITORY}/data/fashion-mnist")])?;
    let (shape, truth) = (images.shape(), images.to_signed(0));
    let sigma_y = 0.05;
    let operator = Task::RandomInpainting.draw(Draw::Test, shape, &Stream::named(0, "mask"))?;
    let noise = Stream::named(0, "noise").normals(operator.range().len());
    let y: Vec<f64> =
        operator.apply(&truth).iter().zip(noise).map(|(clean, z)| clean + sigma_y * z).collect();
    let dims = [SAMPLES, shape.channels, shape.height, shape.width].map(|side| side as i64);
    let measurement = Measurement::new(
        TensorOperator::new(vec![operator; SAMPLES], Device::Cpu)?,
        &Tensor::from_slice(&y.repeat(SAMPLES)).view(dims),
        sigma_y,
    )?;

    let _guard = no_grad_guard();
    let sigmas = Schedule::karras().sigmas(CALLS)?;
    let keys = NoiseKeys::image_major(0, 0..1, SAMPLES as u64);
    let zero_shot = ZeroShot { denoiser: &prior, measurement: &measurement };
    let asked: FrozenPrior<'_> = FrozenPrior { denoiser: &prior };
    let contender = |step: &dyn ContenderStep| {
        let noise = keys.on(shape, Device::Cpu);
        contenders::sample(step, &asked, &measurement, &sigmas, &noise, &mut ())?.finished()
    };
    for (name, samples) in [
        ("zero-shot EPS", Solver::Euler.sample(&zero_shot, &sigmas, &keys, shape, Device::Cpu)?),
        ("DDNM", contender(&Ddnm { eta: 0.85, regularisation: 0.0 })?),
        ("DPS", contender(&Dps { scale: 5.0, form: Form::Euler })?),
    ] {
        let mean = samples.mean_dim([0i64].as_slice(), false, Kind::Double).flatten(0, -1);
        let mean = Vec::<f64>::try_from(mean.clamp(-1.0, 1.0))?;
        println!("{name}: mean of {SAMPLES} samples, PSNR {:.1} dB", psnr(&truth, &mean, 2.0)?);
    }
    Ok(())
}

/// Writes the committed prior as a module that predicts noise, and its description.
fn write_module(folder: &std::path::Path) -> Result<std::path::PathBuf, Error> {
    let path = format!("{REPOSITORY}/data/networks/fashion/prior.safetensors");
    let mut checkpoint = checkpoint::load(path.as_ref(), Device::Cpu, Precision::F32)?;
    // A trace takes weights up as constants, which have no gradients.
    checkpoint.denoiser.network_mut().variables_mut().freeze();
    let batch = SAMPLES as i64;
    let inputs = [
        Tensor::zeros([batch, 1, 28, 28], (Kind::Float, Device::Cpu)),
        Tensor::zeros([batch], (Kind::Float, Device::Cpu)),
    ];
    let mut epsilon = |inputs: &[Tensor]| {
        let sigma = (&inputs[1].to_kind(Kind::Double) * 4.0).exp().view([-1, 1, 1, 1]);
        let alpha = Field(sigma.square() + 1.0).sqrt().recip().0;
        let mu = inputs[0].to_kind(Kind::Double) / &alpha;
        let level = Level { beta: Field(&alpha * &sigma), alpha: Field(alpha) };
        let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
        let d = checkpoint.denoiser.denoise(&query).expect("an answer of the committed prior");
        vec![((mu - d) / sigma).to_kind(Kind::Float)]
    };
    let module = CModule::create_by_tracing("prior", "forward", &inputs, &mut epsilon)?;
    module.save(folder.join("prior.pt"))?;

    let description = PriorDescription {
        format_version: 1,
        name: "fashion".to_owned(),
        script: "prior.pt".into(),
        images: Shape::new(1, 28, 28)?,
        parameterisation: Parameterisation {
            prediction: Prediction::Epsilon,
            state: StateScale::VariancePreserving,
            time: TimeInput::QuarterLogSigma,
            range: PixelRange::MinusOneToOne,
        },
        sigma_min: checkpoint.config.sigma_min,
        sigma_max: checkpoint.config.sigma_max,
        classes: None,
        // The trace took the number of images up as a constant.
        batch: Some(SAMPLES),
    };
    let path = folder.join("prior.json");
    std::fs::write(&path, serde_json::to_string_pretty(&description)?)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs_to_the_end() -> Result<(), super::Error> {
        super::main()
    }
}

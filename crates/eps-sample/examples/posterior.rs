//! Samples of a posterior that is known: a mixture prior, half of whose pixels are measured.
//!
//! No file is needed: the exact denoiser of the mixture takes the place of a network. The mean of the samples is
//! compared with the exact posterior mean, for exact posterior sampling and for one of its contenders.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::ops::ControlFlow;

use eps_math::faer::Mat;
use eps_math::operator::{LinearMap as _, Mask, Operator};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::rng::Stream;
use eps_math::{Schedule, Shape};
use eps_model::tch::{Device, Kind, Tensor};
use eps_model::{Measurement, Oracle, TensorOperator, batch};
use eps_sample::contenders::{self, FrozenPrior, ddnm::Ddnm};
use eps_sample::{Eps, NoiseKeys, Progress, Sample as _, Solver};

type Error = Box<dyn std::error::Error>;

const SAMPLES: u64 = 500;
const SIGMA_Y: f64 = 0.1;

fn main() -> Result<(), Error> {
    for (name, error) in errors()? {
        println!("{name}: the mean of {SAMPLES} samples is {error:.3} from the exact one");
    }
    Ok(())
}

/// The largest error of the mean of samples in a pixel, by method.
fn errors() -> Result<[(&'static str, f64); 2], Error> {
    // Images of 4×4 pixels, bright or dark, in which neighbours are alike.
    let shape = Shape::new(1, 4, 4)?;
    let near = |brightness: f64| {
        let covariance = Mat::from_fn(16, 16, |i, j| 0.1 * 0.7f64.powi(i.abs_diff(j) as i32));
        Gaussian::new(vec![brightness; 16], covariance)
    };
    let prior = Mixture::new(&[0.5, 0.5], vec![near(0.5)?, near(-0.5)?])?;

    // One image, of which every other pixel is measured.
    let operator = Operator::Mask(Mask::new(shape, (0..16).map(|i| i % 2 == 0).collect())?);
    let x_0 = prior.sample(&Stream::named(0, "image"));
    let noise = Stream::named(0, "noise").normals(16);
    let y: Vec<f64> =
        operator.apply(&x_0).iter().zip(noise).map(|(clean, z)| clean + SIGMA_Y * z).collect();
    let exact = prior.posterior(&operator, &y, SIGMA_Y)?.mean();

    // One measurement serves all samples; each has noise of its own.
    let on_device = TensorOperator::new(vec![operator], Device::Cpu)?;
    let measurement = Measurement::new(on_device, &batch(&y, shape, Device::Cpu), SIGMA_Y)?;
    let denoiser = Oracle::new(&prior);
    let noise = NoiseKeys::image_major(0, 0..1, SAMPLES).on(shape, Device::Cpu);
    let sigmas = Schedule::karras().sigmas(18)?;

    let eps = Eps { denoiser: &denoiser, measurement: &measurement };
    let mut watch = |progress: &Progress<'_>| {
        println!("step {} of {}: σ = {:.3}", progress.step, progress.steps, progress.level);
        ControlFlow::Continue(())
    };
    let samples = Solver::Heun.sample_watched(&eps, &sigmas, &noise, &mut watch)?.finished()?;

    let asked: FrozenPrior<'_> = FrozenPrior { denoiser: &denoiser };
    let ddnm = Ddnm { eta: 0.85, regularisation: 0.0 };
    let others = contenders::sample(&ddnm, &asked, &measurement, &sigmas, &noise, &mut ())?;
    let error = |samples: &Tensor| -> Result<f64, Error> {
        let mean = samples.mean_dim([0i64].as_slice(), false, Kind::Double).flatten(0, -1);
        let mean = Vec::<f64>::try_from(mean)?;
        Ok(mean.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
    };
    Ok([("EPS", error(&samples)?), ("DDNM", error(&others.finished()?)?)])
}

#[cfg(test)]
mod tests {
    #[test]
    fn exact_posterior_sampling_has_the_exact_mean() -> Result<(), super::Error> {
        let [(_, eps), (_, ddnm)] = super::errors()?;
        // A pixel's standard deviation is at most √(0.1 + 0.25), so five standard errors of 500 samples are 0.13, with
        // the error of 18 steps.
        assert!(eps < 0.13 && ddnm.is_finite(), "{eps} {ddnm}");
        super::main()
    }
}

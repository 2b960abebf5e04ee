//! A denoiser of one's own, asked where exact posterior sampling asks: at the pivot.
//!
//! No file is needed. The denoiser is that of white images x₀ ~ N(0, s² I), in closed form, which is exact for isotropic
//! noise; the one of a mixture prior is exact for any noise. Where every pixel is measured, both give the same answer.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use eps_math::faer::Mat;
use eps_math::operator::{Mask, Operator};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::rng::Stream;
use eps_math::{Level, Real as _, Shape};
use eps_model::tch::{Device, Tensor};
use eps_model::{
    ComputeError, Denoiser, Field, Measurement, Oracle, Query, QueryNoise, TensorOperator, batch,
    level_fields,
};

type Error = Box<dyn std::error::Error>;

/// s², the variance of the images.
const VARIANCE: f64 = 0.25;

/// E[x₀ | x₀ + ξ = μ] = s²/(s² + σ²) μ for x₀ ~ N(0, s² I) and noise of the variance σ² in each direction.
struct White;

impl White {
    /// s²/(s² + σ²), by which an image is multiplied in the basis of the noise.
    fn shrink(query: &Query<'_>, x: &Tensor) -> Tensor {
        let gain = |variance: Field| Field((variance.0 + VARIANCE).reciprocal() * VARIANCE);
        match query.noise {
            QueryNoise::Anisotropic { measurement, sigma_star } => {
                measurement.operator().spectral_map(x, &gain(sigma_star.clone()))
            }
            QueryNoise::Isotropic | QueryNoise::Observed(_) => {
                x * gain(query.level.sigma().square()).0
            }
        }
    }
}

impl Denoiser for White {
    fn denoise(&self, query: &Query<'_>) -> Result<Tensor, ComputeError> {
        Ok(Self::shrink(query, query.mu))
    }

    fn denoise_vjp(
        &self,
        query: &Query<'_>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError> {
        // Linear in μ and symmetric: the derivative is the same map.
        let d = self.denoise(query)?;
        let vjp = Self::shrink(query, &cotangent(&d));
        Ok((d, vjp))
    }
}

fn main() -> Result<(), Error> {
    println!("the largest difference of two exact answers is {:.1e}", difference()?);
    Ok(())
}

/// The largest difference between the answers of the two denoisers at the pivot.
fn difference() -> Result<f64, Error> {
    let shape = Shape::new(1, 2, 2)?;
    let covariance = Mat::from_fn(4, 4, |i, j| if i == j { VARIANCE } else { 0.0 });
    let prior = Mixture::from(Gaussian::new(vec![0.0; 4], covariance)?);

    // Two pixels of four are measured; the state is at σ_t = 2.
    let mask = Operator::Mask(Mask::new(shape, vec![true, false, false, true])?);
    let operator = TensorOperator::new(vec![mask], Device::Cpu)?;
    let y = batch(&[0.5, 0.0, 0.0, -0.3], shape, Device::Cpu);
    let measurement = Measurement::new(operator, &y, 0.1)?;
    let level = level_fields(&[Level::edm(2.0)], Device::Cpu);
    let x_t = batch(&Stream::named(0, "state").normals(4), shape, Device::Cpu);

    let pivot = measurement.pivot(&x_t, &level)?;
    let noise =
        QueryNoise::Anisotropic { measurement: &measurement, sigma_star: &pivot.sigma_star };
    let query = Query { mu: &pivot.mu_star, level: &level, noise };
    let answers = (White.denoise(&query)?, Oracle::new(&prior).denoise(&query)?);
    Ok((answers.0 - answers.1).abs().max().double_value(&[]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_exact_answers_are_one() -> Result<(), super::Error> {
        // Rounding of a few operations on numbers below 2.
        assert!(super::difference()? < 1e-14);
        super::main()
    }
}

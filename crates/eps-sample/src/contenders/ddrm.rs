//! DDRM: denoising diffusion restoration models (Kawar, Elad, Ermon and Song 2022, Section 4), on EDM's
//! levels in place of the published VP grid.

use eps_math::{Level, Real, check_share};
use eps_model::{ComputeError, Field, Measurement};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{ContenderStep, FrozenPrior};
use crate::{Estimator, Moved, SampleError, Step, StepNoise};

/// The constants of DDRM.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ddrm {
    /// η in [0, 1]: the share of fresh noise where the measurement is too noisy to be used; 0.85.
    pub eta: f64,
    /// η_b in [0, 1]: how much of the measurement replaces the estimate where it is good enough; 1.
    pub eta_b: f64,
}

impl Default for Ddrm {
    fn default() -> Self {
        Self { eta: 0.85, eta_b: 1.0 }
    }
}

/// What multiplies an estimate, Aᵀy, the direction ε̂ = (x − D)/σ and fresh noise in a step, at one
/// eigenvalue λ of AᵀA.
#[derive(Debug, Clone, PartialEq)]
pub struct StepGains<T = f64> {
    /// The factor of D.
    pub estimate: T,
    /// The factor of Aᵀy: 0 where λ = 0.
    pub observation: T,
    /// The factor of ε̂.
    pub direction: T,
    /// The factor of fresh standard noise.
    pub noise: T,
}

impl StepGains<Field> {
    /// The step: every factor in the eigenbasis of AᵀA.
    fn apply(
        &self,
        measurement: &Measurement,
        estimate: &Tensor,
        direction: &Tensor,
        noise: &Tensor,
    ) -> Tensor {
        let operator = measurement.operator();
        operator.spectral_sum(&[
            (&operator.coordinates(estimate), &self.estimate),
            (measurement.adjoint_coordinates(), &self.observation),
            (&operator.coordinates(direction), &self.direction),
            (&operator.coordinates(noise), &self.noise),
        ])
    }
}

impl Ddrm {
    /// The step to level σ' at an eigenvalue λ = s² of AᵀA; ȳ = s⁻¹Uᵀy has noise σ_y/s.
    ///
    /// ```text
    /// s = 0:         D + σ'√(1 − η²) ε̂ + η σ' z
    /// σ' ≤ σ_y/s:    D + σ'√(1 − η²) (ȳ − D) s/σ_y + η σ' z
    /// σ' > σ_y/s:    (1 − η_b) D + η_b ȳ + √(σ'² − η_b² σ_y²/s²) z
    /// ```
    #[must_use]
    pub fn gains<T: Real>(&self, lambda: T, sigma_y: f64, next: f64) -> StepGains<T> {
        let (eta, eta_b) = (self.eta, self.eta_b);
        let s = lambda.clone().sqrt();
        let kept = next * (1.0 - eta * eta).sqrt();
        // λ σ'² − σ_y² is positive where the measurement is better than the state.
        let better = lambda.clone() * (next * next) + -(sigma_y * sigma_y);
        let worse = better.not_positive();
        let spread = (lambda.clone().recip() * -(eta_b * sigma_y).powi(2) + next * next).sqrt();
        StepGains {
            estimate: (s.clone() * (-kept / sigma_y) + 1.0) * worse.clone()
                + (lambda.clone() * 0.0 + (1.0 - eta_b)).where_positive(&better),
            observation: (s.recip() * (kept / sigma_y) * worse.clone()).where_positive(&lambda)
                + (lambda.clone().recip() * eta_b).where_positive(&better),
            direction: lambda.not_positive() * kept,
            noise: worse * (eta * next) + spread.where_positive(&better),
        }
    }
}

/// One prior call a step.
///
/// Deviations from the published code: the state starts from pure noise at σ_max in every direction,
/// where ȳ is below that noise; the operators are complete (the published blur drops a tap and zeroes
/// small singular values).
impl ContenderStep for Ddrm {
    fn check(&self, _: &[f64]) -> Result<(), SampleError> {
        check_share("η", self.eta)?;
        Ok(check_share("η_b", self.eta_b)?)
    }

    fn step(
        &self,
        prior: &FrozenPrior<'_>,
        measurement: &Measurement,
        x: &Tensor,
        step: Step,
        noise: &StepNoise<'_>,
    ) -> Result<Moved, ComputeError> {
        let lambda = measurement.operator().eigenvalues().clone();
        let d = prior.estimate(x, Level::edm(step.from))?;
        let direction = (x - &d) / step.from;
        let z = noise.draw(0);
        let gains: StepGains<Field> = self.gains(lambda, measurement.sigma_y(), step.to);
        Ok(Moved { x: gains.apply(measurement, &d, &direction, &z), estimate: d })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a step returns a state of the noise level that it should.
    ///
    /// Given D = x₀, the noise of a state at σ' is that of y, of ε̂ and the fresh one, and must have
    /// variance σ'² in every direction: D's factor and that of A x₀ sum to 1.
    fn check_level(gains: &StepGains, lambda: f64, sigma_y: f64, next: f64) {
        let StepGains { estimate, observation, direction, noise } = gains;
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * (1.0 + b.abs());
        assert!(close(estimate + observation * lambda, 1.0), "λ {lambda}, σ' {next}: {gains:?}");
        // Aᵀy has noise of variance λ σ_y².
        let variance =
            observation.powi(2) * lambda * sigma_y.powi(2) + direction.powi(2) + noise.powi(2);
        assert!(close(variance, next * next), "λ {lambda}, σ' {next}: {variance} {gains:?}");
    }

    const LAMBDAS: [f64; 5] = [0.0, 1e-6, 1.0 / 16.0, 0.5, 1.0];
    const LEVELS: [f64; 5] = [0.0, 0.01, 0.05, 0.3, 40.0];

    #[test]
    fn a_step_ends_at_its_noise_level() {
        for eta_b in [1.0, 0.6] {
            for (lambda, next) in LAMBDAS.iter().flat_map(|l| LEVELS.map(|next| (*l, next))) {
                let gains = Ddrm { eta: 0.85, eta_b }.gains(lambda, 0.05, next);
                check_level(&gains, lambda, 0.05, next);
            }
        }
    }
}

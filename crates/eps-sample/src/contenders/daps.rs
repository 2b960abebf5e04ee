//! DAPS: decoupled annealing posterior sampling (Zhang et al. 2024).

use std::f64::consts::SQRT_2;

use eps_math::{Level, MathError, Schedule, check_positive};
use eps_model::{ComputeError, Field, Measurement, level_fields};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{ContenderStep, FrozenPrior};
use crate::error::out_of_range;
use crate::solver::euler_step;
use crate::{Moved, SampleError, Step, StepNoise};

/// The constants of DAPS.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Daps {
    /// Prior calls of the inner flow at every annealing level; 5.
    pub ode_steps: usize,
    /// The level at which the inner flow ends; 0.01.
    pub ode_sigma_min: f64,
    /// τ over σ_y in the likelihood exp(−‖y − A x₀‖²/(2τ²)) that the inner step samples; 1.
    pub tau_over_sigma_y: f64,
    /// How x₀ is drawn given the end of the flow and y.
    pub inner: Inner,
}

/// τ of the published code, on [-1, 1] whatever σ_y. Its exponent has no ½, which is what τ/√2 with it is.
const PUBLISHED_TAU: f64 = 0.01;

/// The draw from N(x₀; x̂₀, σ²) · exp(−‖y − A x₀‖²/(2τ²)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", from = "Written")]
pub enum Inner {
    /// Unadjusted Langevin steps from x̂₀, as published.
    Langevin {
        /// Steps at every annealing level; 100.
        steps: usize,
        /// The step size at the first level, falling linearly to 1 % of it at the last.
        step_size: f64,
    },
    /// The exact draw: the target is Gaussian, N(P(Aᵀy/τ² + x̂₀/σ²), P) with
    /// P = (AᵀA/τ² + I/σ²)⁻¹, which is the law N(μ⋆, Σ⋆) of the pivot at the state x̂₀.
    Exact,
}

/// A draw as it is written: a variant without braces would let unknown fields pass.
#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
enum Written {
    Langevin { steps: usize, step_size: f64 },
    Exact {},
}

impl From<Written> for Inner {
    fn from(written: Written) -> Self {
        match written {
            Written::Langevin { steps, step_size } => Self::Langevin { steps, step_size },
            Written::Exact {} => Self::Exact,
        }
    }
}

/// At every level the flow of the prior leads to x̂₀, x₀ is drawn given x̂₀ and y, and noise of the next level is added.
/// `ode_steps` prior calls an annealing level.
///
/// The levels are those of annealing, from σ_max down to 0, all above the level at which the inner flow ends: a
/// grid of [`Schedule::annealing`]. Those of the published code are [`published_levels`].
///
/// Deviations from the published code: the likelihood has its ½ (there exp(−‖y − A x₀‖²/τ²) makes
/// the standard deviation τ/√2); the step size of Langevin's chain has fallen to 1 % at the last level
/// (there two levels after it, which is no matter with 200 levels, but leaves 10 % with 20, whose noise
/// would stay in the samples); a chain that leaves the finite numbers is an error and not replaced
/// by zeros.
impl ContenderStep for Daps {
    fn check(&self, sigmas: &[f64]) -> Result<(), SampleError> {
        let (steps, step_size) = match self.inner {
            Inner::Langevin { steps, step_size } => (steps, step_size),
            Inner::Exact => (1, 1.0),
        };
        for (what, value) in [
            ("the number of flow steps", self.ode_steps as f64),
            ("the last level of the flow", self.ode_sigma_min),
            ("τ over σ_y", self.tau_over_sigma_y),
            ("the number of Langevin steps", steps as f64),
            ("the Langevin step size", step_size),
        ] {
            check_positive(what, value)?;
        }
        let levels = sigmas.split_last().map_or(sigmas, |(_, levels)| levels);
        if levels.last().is_some_and(|last| !(self.ode_sigma_min < *last)) {
            return Err(out_of_range(
                "the last level of the flow",
                self.ode_sigma_min,
                "below every annealing level: anneal to a larger one, such as 0.1",
            ));
        }
        Ok(levels.iter().try_for_each(|sigma| self.flow_grid(*sigma).map(drop))?)
    }

    fn nfe(&self, steps: usize) -> usize {
        steps.saturating_mul(self.ode_steps)
    }

    /// Those of the inner step, and the noise of the next level.
    fn draws(&self) -> u64 {
        match self.inner {
            Inner::Langevin { steps, .. } => steps as u64 + 1,
            Inner::Exact => 2,
        }
    }

    fn step(
        &self,
        prior: &FrozenPrior<'_>,
        measurement: &Measurement,
        x: &Tensor,
        step: Step,
        noise: &StepNoise<'_>,
    ) -> Result<Moved, ComputeError> {
        let flow = self
            .flow_grid(step.from)
            .map_err(|error| ComputeError::Math { what: "the flow of DAPS", error })?;
        let end = flow.windows(2).try_fold(x.shallow_clone(), |x, ends| {
            euler_step(prior, &x, (ends[0], ends[1])).map(|moved| moved.x)
        })?;
        let tau = self.tau_over_sigma_y * measurement.sigma_y();
        let x_0 = match self.inner {
            Inner::Exact => exact(measurement, tau, &end, step.from, &noise.draw(1))?,
            Inner::Langevin { steps, step_size } => {
                let step_size = step_size * fall(step.index, step.steps);
                let chain = Chain { measurement, tau, sigma: step.from, steps, step_size };
                chain.run(&end, |draw| noise.draw(draw + 1))
            }
        };
        let x = if step.to == 0.0 { x_0 } else { x_0 + noise.draw(0) * step.to };
        Ok(Moved { x, estimate: end })
    }
}

/// The annealing levels of the published code, `levels` and the 0, from `sigma_max`, which is 100 there: Karras's
/// from there to 0.1 with ρ = 7, where the 0 stands in place of the 0.1.
///
/// # Errors
/// Those of [`Schedule::sigmas`].
pub fn published_levels(levels: usize, sigma_max: f64) -> Result<Vec<f64>, SampleError> {
    let mut sigmas = Schedule::annealing(sigma_max).sigmas(levels.saturating_add(1))?;
    sigmas.remove(levels);
    Ok(sigmas)
}

/// The share of the step size at an annealing level.
fn fall(level: usize, levels: usize) -> f64 {
    // The last level, also where it is the only one, leaves no more noise than the published one.
    let way = if levels > 1 { level as f64 / (levels - 1) as f64 } else { 1.0 };
    1.0 - 0.99 * way
}

impl Daps {
    /// The constants for a step size of the Langevin chain.
    #[must_use]
    pub fn langevin(step_size: f64) -> Self {
        let inner = Inner::Langevin { steps: 100, step_size };
        Self { ode_steps: 5, ode_sigma_min: 0.01, tau_over_sigma_y: 1.0, inner }
    }

    /// The constants of the published code for a measurement's σ_y: its τ is a constant of its own.
    #[must_use]
    pub fn published(step_size: f64, sigma_y: f64) -> Self {
        let tau_over_sigma_y = PUBLISHED_TAU / SQRT_2 / sigma_y;
        Self { tau_over_sigma_y, ..Self::langevin(step_size) }
    }

    /// The constants with the exact draw.
    #[must_use]
    pub fn exact() -> Self {
        Self { inner: Inner::Exact, ..Self::langevin(1.0) }
    }

    /// The levels of the prior's flow from σ, on EDM's grid without its step to 0.
    fn flow_grid(&self, sigma: f64) -> Result<Vec<f64>, MathError> {
        let grid = Schedule::karras_between(self.ode_sigma_min, sigma);
        let mut levels = grid.sigmas(self.ode_steps.saturating_add(1))?;
        levels.pop();
        Ok(levels)
    }
}

/// x₀ ~ N(μ⋆, Σ⋆) at the pivot of the state x̂₀.
fn exact(
    measurement: &Measurement,
    tau: f64,
    end: &Tensor,
    sigma: f64,
    noise: &Tensor,
) -> Result<Tensor, ComputeError> {
    let level = level_fields(&[Level::edm(sigma)], end.device());
    let pivot = measurement.pivot_under(end, &level, tau)?;
    let deviation = Field(pivot.sigma_star.0.sqrt());
    Ok(pivot.mu_star + measurement.operator().spectral_map(noise, &deviation))
}

/// An unadjusted Langevin chain: x₀ ← x₀ + h s(x₀) + √(2h) z with
/// s(x₀) = Aᵀ(y − A x₀)/τ² + (x̂₀ − x₀)/σ².
struct Chain<'a> {
    measurement: &'a Measurement,
    tau: f64,
    sigma: f64,
    steps: usize,
    step_size: f64,
}

impl Chain<'_> {
    fn run(&self, end: &Tensor, noise: impl Fn(u64) -> Tensor) -> Tensor {
        let (likelihood, prior) = ((self.tau * self.tau).recip(), self.sigma.powi(2).recip());
        let mut x_0 = end.shallow_clone();
        for step in 0..self.steps {
            let score = self.measurement.pull(&x_0) * likelihood + (end - &x_0) * prior;
            x_0 = x_0 + score * self.step_size + noise(step as u64) * (2.0 * self.step_size).sqrt();
        }
        x_0
    }
}

#[cfg(test)]
mod tests {
    use super::{fall, published_levels};

    #[test]
    fn the_published_levels_end_before_a_tenth() {
        let levels = published_levels(20, 100.0).unwrap();
        assert_eq!((levels.len(), levels[0], levels[20]), (21, 100.0, 0.0));
        assert!((levels[19] - 0.176).abs() < 5e-4, "{levels:?}");
    }

    #[test]
    fn the_step_size_falls_to_a_hundredth() {
        assert_eq!((fall(0, 20), fall(0, 1)), (1.0, 1.0 - 0.99));
        assert!((fall(19, 20) - 0.01).abs() < 1e-15 && (fall(1, 3) - 0.505).abs() < 1e-15);
    }
}

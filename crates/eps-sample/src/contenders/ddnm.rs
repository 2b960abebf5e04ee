//! DDNM: denoising diffusion null-space models (Wang, Yu and Zhang 2023).
//!
//! The form here is the one of arXiv 2606.17048. DDNM+ as published (its SVD form with η = 0.85, 100
//! steps and no time travel) is, in EDM's variable, the step of [DDRM](super::ddrm) at η_b = 1: λ_i,
//! d1 and d2 of its Appendix I are that method's three cases. Both walk EDM's levels in place of those of the
//! published VP grid.

use eps_math::{Level, Real, check_share};
use eps_model::{ComputeError, Measurement};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{ContenderStep, FrozenPrior};
use crate::error::out_of_range;
use crate::solver::guided_ddim_step;
use crate::{Estimator, Moved, SampleError, Step, StepNoise};

/// The constants of DDNM as arXiv 2606.17048 runs it on EDM (its Table 12).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ddnm {
    /// η of DDIM in [0, 1]; 0.85.
    pub eta: f64,
    /// ε: 0 for A† with a scalar trust in y, where A† is tame; above 0 for a Wiener filter in every
    /// direction, 1e-3 for blurs.
    pub regularisation: f64,
}

impl Ddnm {
    /// The factor of Aᵀ(y − A D) in the correction of D, at one eigenvalue λ of AᵀA.
    ///
    /// ```text
    /// ε = 0:    D̂ = D + λ_t A† (y − A D)      λ_t = σ²/(σ² + σ_y²)
    /// ε > 0:    D̂ = D + Aᵀ(AAᵀ + σ_y²/σ² + ε)⁻¹ (y − A D)
    /// ```
    ///
    /// The second is the paper's "per-frequency Wiener" as it is read here: at λ = 1 and small ε it is the
    /// first; with ε = 1 it is half of it where σ is large, a damped step. The noise that it lets through stays
    /// below σ/2 in every direction. A scalar trust in a regularised inverse would let through σ_y/(2√ε), 16
    /// times σ_y, down to σ = σ_y.
    #[must_use]
    pub fn gain<T: Real>(&self, lambda: T, sigma_y: f64, sigma: f64) -> T {
        let noise = sigma_y * sigma_y / (sigma * sigma);
        let gain = if self.regularisation > 0.0 {
            (lambda.clone() + (noise + self.regularisation)).recip()
        } else {
            lambda.clone().recip() * (1.0 + noise).recip()
        };
        gain.where_positive(&lambda)
    }
}

/// D is corrected towards the measurement, and DDIM(η) goes on from it along the direction of the uncorrected D. One
/// prior call a step.
impl ContenderStep for Ddnm {
    fn check(&self, _: &[f64]) -> Result<(), SampleError> {
        check_share("η", self.eta)?;
        if !(self.regularisation >= 0.0 && self.regularisation.is_finite()) {
            return Err(out_of_range("ε", self.regularisation, "at least 0 and finite"));
        }
        Ok(())
    }

    fn step(
        &self,
        prior: &FrozenPrior<'_>,
        measurement: &Measurement,
        x: &Tensor,
        step: Step,
        noise: &StepNoise<'_>,
    ) -> Result<Moved, ComputeError> {
        let operator = measurement.operator();
        let d = prior.estimate(x, Level::edm(step.from))?;
        let gain = self.gain(operator.eigenvalues().clone(), measurement.sigma_y(), step.from);
        let corrected = &d + operator.spectral_map(&measurement.pull(&d), &gain);
        let x = guided_ddim_step(&corrected, &d, x, step, self.eta, || noise.draw(0));
        Ok(Moved { x, estimate: d })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_correction_makes_a_clean_measurement_consistent() {
        // A (D + gain Aᵀ(y − A D)) = y where λ · gain = 1: no noise, no regularisation.
        let plain = Ddnm { eta: 0.85, regularisation: 0.0 };
        for lambda in [1e-3, 1.0 / 16.0, 1.0] {
            assert!((plain.gain(lambda, 0.0, 2.0) * lambda - 1.0).abs() < 1e-15);
            // At σ = σ_y half of the way.
            assert!((plain.gain(lambda, 0.3, 0.3) * lambda - 0.5).abs() < 1e-15);
        }
        assert_eq!(plain.gain(0.0, 0.05, 1.0), 0.0);
        let regular = Ddnm { regularisation: 1e-3, ..plain };
        assert!((regular.gain(1e-3, 0.0, 1.0) - 500.0).abs() < 1e-9);
        // The noise of the correction has the deviation gain · s σ_y.
        for (lambda, sigma) in
            [(1e-3f64, 0.01), (1e-3, 0.5), (0.02, 0.1), (1.0, 0.05), (1e-6, 80.0)]
        {
            let noise = regular.gain(lambda, 0.05, sigma) * lambda.sqrt() * 0.05;
            assert!(noise < 0.5 * sigma, "λ {lambda}, σ {sigma}: {noise}");
        }
    }
}

//! Preconditioning of a network F into a denoiser D, isotropic and along the eigenvectors of AᵀA.
//!
//! ```text
//! D(μ) = c_skip μ + c_out F(c_in μ, ¼ ln σ_t)
//! ```
//!
//! Networks are trained for noise levels σ_t = β/α up to some σ_max, and samplers ask them for no
//! others: where a path ends at α = 0, sampling starts at the time with β/α = σ_max
//! ([`Interpolant::time_of_sigma`](crate::Interpolant::time_of_sigma)).

use std::ops::{Add, Mul};

use serde::{Deserialize, Serialize};

use crate::{MathError, Real, error::check_positive};

/// How the noise at the pivot enters the preconditioning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreconditionMode {
    /// EDM's scalars at σ_t for every direction: the paper's choice.
    Scalar,
    /// EDM's scalars at the noise that each eigenvector of AᵀA really carries: functions of Σ⋆.
    Spectral,
    /// As spectral, but c_skip passes a measured direction only where its noise is well below the
    /// data: [`Precondition::guarded_factors`].
    Guarded,
    /// As spectral, around the data's mean and with the data's own variance along each eigenvector in
    /// place of σ_d²: c_skip μ⋆ is a Wiener filter, and the network learns what that misses.
    Wiener,
}

/// The preconditioning of a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precondition {
    /// How the noise at the pivot enters.
    pub mode: PreconditionMode,
    /// σ_data, the standard deviation of the data per coordinate; 0.5 in EDM.
    pub sigma_data: f64,
}

/// σ_d over the noise from which on the guarded mode distrusts a measured direction.
const GUARD: f64 = 7.0;

/// EDM's three factors at one noise variance.
#[derive(Debug, Clone, PartialEq)]
pub struct PreconditionFactors<T = f64> {
    /// c_skip, the factor of the input that is passed by the network.
    pub skip: T,
    /// c_in, the factor of the network's input.
    pub input: T,
    /// c_out, the factor of the network's output.
    pub output: T,
}

/// [`Precondition::factors`] for data of standard deviation σ_d: one for all directions, or one for each
/// eigenvector of AᵀA.
#[must_use]
pub fn factors_of<T, D>(variance: T, sigma_data: D) -> PreconditionFactors<T>
where
    T: Real + Add<D, Output = T> + Mul<D, Output = T>,
    D: Clone + Mul<D, Output = D>,
{
    let data = sigma_data.clone() * sigma_data.clone();
    let total = variance.clone() + data.clone();
    let input = total.clone().sqrt().recip();
    PreconditionFactors {
        skip: total.recip() * data,
        output: variance.sqrt() * sigma_data * input.clone(),
        input,
    }
}

impl Precondition {
    /// Checks σ_data.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] unless it is positive and finite.
    pub fn validate(&self) -> Result<(), MathError> {
        check_positive("sigma_data", self.sigma_data)
    }

    /// The factors at noise variance s (Karras et al. 2022, Table 1, with s for σ²).
    ///
    /// ```text
    /// c_skip = σ_d²/(s + σ_d²)    c_in = 1/√(s + σ_d²)    c_out = σ_d √s/√(s + σ_d²)
    /// ```
    #[must_use]
    pub fn factors<T: Real>(&self, variance: T) -> PreconditionFactors<T> {
        factors_of(variance, self.sigma_data)
    }

    /// The factors of the guarded mode at noise variance s under a state of noise variance σ_t².
    ///
    /// ```text
    /// ρ = 1/s − 1/σ_t²    1/s' = 1/σ_t² + ρ²/(ρ + (7/σ_d)²)    c_skip = σ_d²/(s' + σ_d²)
    /// c_in = 1/√(s + σ_d²)    c_out = √((1 − c_skip)² σ_d² + c_skip² s)
    /// ```
    ///
    /// ρ = λ/σ_y² is what the measurement tells of a direction. Images have far less than σ_d² at
    /// the high frequencies of which a blur leaves a little: there EDM's c_skip passes noise of up
    /// to σ_d/2, which the network would have to tell from the image; this one passes at most a
    /// quarter of σ_d. For isotropic noise ρ = 0, and the factors are EDM's. At s = 0, of an exact measurement, the
    /// direction passes as it is.
    #[must_use]
    pub fn guarded_factors<T: Real>(
        &self,
        variance: T,
        level_variance: T,
    ) -> PreconditionFactors<T> {
        let data = self.sigma_data * self.sigma_data;
        let state = level_variance.recip();
        let measured = variance.clone().recip() - state.clone();
        let trusted = measured.clone().square() / (measured + GUARD * GUARD / data);
        let skip = ((state + trusted).recip() + data).recip() * data;
        let skip = skip.where_positive(&variance) + variance.not_positive();
        let rest = skip.clone() * -1.0 + 1.0;
        PreconditionFactors {
            output: (rest.square() * data + skip.clone().square() * variance.clone()).sqrt(),
            skip,
            input: (variance + data).sqrt().recip(),
        }
    }

    /// A network's input for a noise level: ¼ ln σ_t, or ¼ ln of the diagonal of Σ⋆.
    #[must_use]
    pub fn noise_input<T: Real>(level: T) -> T {
        level.ln() * 0.25
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isotropic_factors_are_those_of_edm() {
        // σ = 1.2, σ_d = 0.5: σ² + σ_d² = 1.69 = 1.3².
        let mode = PreconditionMode::Scalar;
        let factors = Precondition { mode, sigma_data: 0.5 }.factors(1.44);
        assert!((factors.skip - 0.25 / 1.69).abs() < 1e-15);
        assert!((factors.input - 1.0 / 1.3).abs() < 1e-15);
        assert!((factors.output - 0.6 / 1.3).abs() < 1e-15);
    }

    #[test]
    fn a_deviation_of_each_direction_has_the_factors_of_that_deviation() {
        for sigma_data in [1e-3, 0.5, 20.0] {
            let precondition = Precondition { mode: PreconditionMode::Wiener, sigma_data };
            assert_eq!(factors_of(0.3, sigma_data), precondition.factors(0.3));
        }
    }

    #[test]
    fn guarded_factors_are_those_of_edm_for_isotropic_noise() {
        let precondition = Precondition { mode: PreconditionMode::Guarded, sigma_data: 0.71 };
        for sigma in [0.002, 0.1, 1.0, 80.0] {
            let variance = sigma * sigma;
            let (edm, guarded) =
                (precondition.factors(variance), precondition.guarded_factors(variance, variance));
            // ρ is 0 exactly; c_out of EDM is a root of two products.
            let close = |a: f64, b: f64| (a - b).abs() <= 16.0 * f64::EPSILON * b.abs();
            assert!(close(guarded.skip, edm.skip) && close(guarded.input, edm.input), "{sigma}");
            assert!(close(guarded.output, edm.output), "{sigma}: {guarded:?} {edm:?}");
        }
    }

    /// The target (x₀ − c_skip μ)/c_out has variance 1 by its formula; what c_skip lets through of
    /// the noise is bounded, and a direction that is measured well passes as in the spectral mode.
    #[test]
    fn the_guard_keeps_noise_out() {
        let precondition = Precondition { mode: PreconditionMode::Guarded, sigma_data: 0.71 };
        let passed = |variance: f64, factors: &PreconditionFactors| factors.skip * variance.sqrt();
        let (mut guarded_most, mut edm_most) = (0f64, 0f64);
        for i in 0..4000 {
            let variance = 10f64.powf(-6.0 + f64::from(i) / 400.0);
            let level = f64::max(6400.0, variance);
            let guarded = precondition.guarded_factors(variance, level);
            guarded_most = guarded_most.max(passed(variance, &guarded));
            edm_most = edm_most.max(passed(variance, &precondition.factors(variance)));
            assert!((0.0..=1.0).contains(&guarded.skip) && guarded.output > 0.0);
        }
        // σ²_d σ/(σ² + σ_d²) has its maximum σ_d/2 at σ = σ_d.
        assert!((edm_most / 0.71 - 0.5).abs() < 1e-5, "{edm_most}");
        assert!(guarded_most < 0.25 * 0.71, "{guarded_most}");
        let exact = precondition.guarded_factors(0.0, 6400.0);
        assert_eq!((exact.skip, exact.output, exact.input), (1.0, 0.0, 1.0 / 0.71));
        let well_measured = precondition.guarded_factors(1e-4, 6400.0);
        assert!(well_measured.skip > 0.999);
    }
}

//! The pivot (μ⋆, Σ⋆): where and under what noise the denoiser is asked.
//!
//! With y = A x₀ + η, η ~ N(0, σ_y² I) and x_t = α x₀ + β ε, the likelihoods of x₀ multiply to one
//! Gaussian, N(x₀; μ⋆, Σ⋆), so that the posterior mean is again an answer of a denoiser
//! (arXiv 2606.17048, Theorem 1):
//!
//! ```text
//! Σ⋆ = (α²/β² I + AᵀA/σ_y²)⁻¹      μ⋆ = Σ⋆ (α/β² x_t + Aᵀy/σ_y²)
//! E[x₀ | x_t, y] = D_Σ⋆(μ⋆)        D_Σ(μ) = E[x₀ | x₀ + ξ = μ], ξ ~ N(0, Σ)
//! ```
//!
//! Σ⋆ is a noise covariance, not the posterior covariance. Every formula here is the scalar one in
//! an eigenvalue λ of AᵀA, generic over [`Real`].

use faer::Mat;

use crate::operator::{Spectral, spectral_matrix};
use crate::{Level, Real};

/// What one eigenvalue λ of AᵀA contributes to the pivot.
#[derive(Debug, Clone, PartialEq)]
pub struct PivotGains<T = f64> {
    /// The factor of x_t in μ⋆.
    pub state: T,
    /// The factor of Aᵀy in μ⋆: exactly 0 where λ = 0.
    pub observation: T,
    /// The eigenvalue of Σ⋆.
    pub sigma_star: T,
}

/// The gain form of the pivot at one eigenvalue, finite for α > 0, β ≥ 0 and σ_y ≥ 0 (arXiv
/// 2606.17048, Theorem 1).
///
/// ```text
/// q = α² σ_y² + β² λ      μ⋆ = (α σ_y²/q) x_t + (β²/q) Aᵀy      Σ⋆ = β² σ_y²/q
/// ```
///
/// At λ = 0 the pivot is x_t/α and nothing of the rounding error of Aᵀy, which β²/q would amplify
/// by up to σ_t²/σ_y², leaks in.
///
/// At σ_y = 0 it is the limit: x_t/α under β²/α² where λ = 0, and Aᵀy/λ without noise where λ > 0.
///
/// At α = 0, where a flow is pure noise, the pivot is infinite along the null space of A: a walk starts before it, at
/// the time of a finite σ = β/α.
#[must_use]
pub fn pivot_gains<T: Real>(lambda: T, level: &Level<T>, sigma_y: f64) -> PivotGains<T> {
    let noise = sigma_y * sigma_y;
    let beta_squared = level.beta.clone().square();
    if noise == 0.0 {
        let unmeasured = lambda.not_positive();
        return PivotGains {
            state: level.alpha.clone().recip() * unmeasured.clone(),
            sigma_star: beta_squared / level.alpha.clone().square() * unmeasured,
            observation: lambda.clone().recip().where_positive(&lambda),
        };
    }
    let q = level.alpha.clone().square() * noise + beta_squared.clone() * lambda.clone();
    let observation = beta_squared / q.clone();
    PivotGains {
        state: level.alpha.clone() * noise / q,
        sigma_star: observation.clone() * noise,
        observation: observation.where_positive(&lambda),
    }
}

/// μ⋆ of one image (arXiv 2606.17048, Theorem 1; [`pivot_gains`]), for α > 0.
///
/// # Shapes
/// y: `operator.range()`, x_t: `operator.domain()`, both flat.
///
/// # Units
/// y and `sigma_y` ≥ 0 on the scale of the images.
///
/// # Panics
/// If y or x_t does not have its shape.
#[must_use]
pub fn mu_star(
    operator: &dyn Spectral,
    y: &[f64],
    sigma_y: f64,
    x_t: &[f64],
    level: &Level,
) -> Vec<f64> {
    let gains = |lambda| pivot_gains(lambda, level, sigma_y);
    let state = operator.spectral_map(x_t, &|lambda| gains(lambda).state);
    let observation =
        operator.spectral_map(&operator.adjoint(y), &|lambda| gains(lambda).observation);
    state.iter().zip(observation).map(|(a, b)| a + b).collect()
}

/// Σ⋆ of one image as an n×n matrix, the same for every state and measurement, for α > 0.
///
/// ```text
/// Σ⋆ = (α²/β² I + AᵀA/σ_y²)⁻¹ = V diag(β² σ_y²/(α² σ_y² + β² λ)) Vᵀ
/// ```
#[must_use]
pub fn sigma_star(operator: &dyn Spectral, sigma_y: f64, level: &Level) -> Mat<f64> {
    spectral_matrix(operator, &|lambda| pivot_gains(lambda, level, sigma_y).sigma_star)
}

/// The factors (a, b) of the posterior velocity dx_t/dt = a x_t + b D (Proposition 2), for β > 0.
///
/// ```text
/// v = (β̇/β) x_t + (α̇ − α β̇/β) D
/// ```
#[must_use]
pub fn velocity_factors(level: &Level, rate: &crate::Rate) -> (f64, f64) {
    let growth = rate.beta / level.beta;
    (growth, rate.alpha - level.alpha * growth)
}

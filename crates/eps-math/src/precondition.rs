//! Preconditioning of a network F into a denoiser D, isotropic and along the eigenvectors of AᵀA.
//!
//! ```text
//! D(μ) = c_skip μ + c_out F(c_in μ, ¼ ln σ_t)
//! ```

use serde::{Deserialize, Serialize};

use crate::Real;

/// How the noise at the pivot enters the preconditioning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreconditionMode {
    /// EDM's scalars at σ_t for every direction: the paper's choice.
    Scalar,
    /// EDM's scalars at the noise that each eigenvector of AᵀA really carries: functions of Σ⋆.
    Spectral,
}

/// The preconditioning of a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precondition {
    /// Scalar or spectral.
    pub mode: PreconditionMode,
    /// σ_data, the standard deviation of the data per coordinate; 0.5 in EDM.
    pub sigma_data: f64,
}

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

impl Precondition {
    /// The factors at noise variance s (Karras et al. 2022, Table 1, with s for σ²).
    ///
    /// ```text
    /// c_skip = σ_d²/(s + σ_d²)    c_in = 1/√(s + σ_d²)    c_out = σ_d √s/√(s + σ_d²)
    /// ```
    #[must_use]
    pub fn factors<T: Real>(&self, variance: T) -> PreconditionFactors<T> {
        let data = self.sigma_data * self.sigma_data;
        let total = variance.clone() + data;
        let input = total.clone().sqrt().recip();
        PreconditionFactors {
            skip: total.recip() * data,
            output: variance.sqrt() * self.sigma_data * input.clone(),
            input,
        }
    }

    /// The network's noise input ¼ ln σ_t.
    #[must_use]
    pub fn noise_input(sigma_t: f64) -> f64 {
        0.25 * sigma_t.ln()
    }
}

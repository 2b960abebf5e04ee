//! Training-free posterior samplers: a frozen prior and a measurement, combined in other ways than
//! at the pivot.
//!
//! Every method is written in EDM's variable x = x₀ + σ ε, to which the published VP algorithms
//! translate exactly by x = x_vp/√ᾱ, σ² = (1 − ᾱ)/ᾱ. D is the prior's answer at x, asked as an
//! [`Estimator`](crate::Estimator) like [`Prior`](crate::Prior); images are on [-1, 1]. What stands
//! in a method's configuration are its constants; what is computed once for all levels is computed
//! before the first call.

pub mod daps;
pub mod ddnm;
pub mod ddrm;
pub mod dps;
pub mod mpgd;
pub mod pigdm;

/// ‖r‖ of every image, `[B, 1, 1, 1]`.
fn per_image_norm(r: &tch::Tensor) -> tch::Tensor {
    r.square().sum_dim_intlist([1i64, 2, 3].as_slice(), true, tch::Kind::Double).sqrt()
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

impl StepGains<eps_model::Field> {
    /// The step: every factor in the eigenbasis of AᵀA.
    fn apply(
        &self,
        measurement: &eps_model::Measurement,
        estimate: &tch::Tensor,
        direction: &tch::Tensor,
        noise: &tch::Tensor,
    ) -> tch::Tensor {
        let map = |x: &tch::Tensor, gains| measurement.operator().spectral_map(x, gains);
        map(estimate, &self.estimate)
            + map(measurement.adjoint_y(), &self.observation)
            + map(direction, &self.direction)
            + map(noise, &self.noise)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::StepGains;

    /// Whether a step returns a state of the noise level that it should.
    ///
    /// Given D = x₀, the noise of a state at σ' is that of y, of ε̂ and the fresh one, and must have
    /// variance σ'² in every direction: D's factor and that of A x₀ sum to 1.
    pub(crate) fn check_level(gains: &StepGains, lambda: f64, sigma_y: f64, next: f64) {
        let StepGains { estimate, observation, direction, noise } = gains;
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * (1.0 + b.abs());
        assert!(close(estimate + observation * lambda, 1.0), "λ {lambda}, σ' {next}: {gains:?}");
        // Aᵀy has noise of variance λ σ_y².
        let variance =
            observation.powi(2) * lambda * sigma_y.powi(2) + direction.powi(2) + noise.powi(2);
        assert!(close(variance, next * next), "λ {lambda}, σ' {next}: {variance} {gains:?}");
    }

    pub(crate) const LAMBDAS: [f64; 5] = [0.0, 1e-6, 1.0 / 16.0, 0.5, 1.0];
    pub(crate) const LEVELS: [f64; 5] = [0.0, 0.01, 0.05, 0.3, 40.0];
}

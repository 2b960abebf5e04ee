//! A mixture of Gaussians.

use faer::{Mat, MatRef};

use super::gaussian::{Gaussian, log_normal};
use crate::Level;
use crate::cholesky::{Cholesky, dot};
use crate::error::{MathError, check_positive, check_symmetric, check_values};
use crate::operator::{LinearMap, to_matrix};
use crate::rng::Stream;

/// p(x) = Σ_k w_k N(x; m_k, C_k); a single Gaussian is a mixture of one.
#[derive(Debug, Clone)]
pub struct Mixture {
    /// ln w_k: a posterior's weights may underflow, their logarithms do not.
    log_weights: Vec<f64>,
    components: Vec<Gaussian>,
}

impl From<Gaussian> for Mixture {
    fn from(gaussian: Gaussian) -> Self {
        Self { log_weights: vec![0.0], components: vec![gaussian] }
    }
}

impl Mixture {
    /// The mixture of components with relative weights, which are normalised to sum 1.
    ///
    /// # Errors
    /// [`MathError::Empty`] without components, [`MathError::Length`] if the weights are not as many
    /// or the components differ in dimension, [`MathError::OutOfRange`] for a weight that is not
    /// positive and finite.
    pub fn new(weights: &[f64], components: Vec<Gaussian>) -> Result<Self, MathError> {
        let first = components.first().ok_or(MathError::Empty("the list of components"))?;
        check_values("the list of weights", weights, components.len())?;
        for weight in weights {
            check_positive("a weight of the mixture", *weight)?;
        }
        let expected = first.dimension();
        if let Some(other) = components.iter().find(|c| c.dimension() != expected) {
            let (what, found) = ("the mean of a component", other.dimension());
            return Err(MathError::Length { what, expected, found });
        }
        let log_weights = normalised(weights.iter().map(|w| w.ln()).collect());
        Ok(Self { log_weights, components })
    }

    /// The number n of coordinates.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.components[0].dimension()
    }

    /// The weights w_k, of sum 1.
    #[must_use]
    pub fn weights(&self) -> Vec<f64> {
        self.log_weights.iter().map(|w| w.exp()).collect()
    }

    /// The components.
    #[must_use]
    pub fn components(&self) -> &[Gaussian] {
        &self.components
    }

    /// The mean Σ w_k m_k.
    #[must_use]
    pub fn mean(&self) -> Vec<f64> {
        average(&self.weights(), self.components.iter().map(|c| c.mean().to_vec()))
    }

    /// The covariance Σ w_k (C_k + (m_k − m)(m_k − m)ᵀ), n×n.
    #[must_use]
    pub fn covariance(&self) -> Mat<f64> {
        let (mean, n) = (self.mean(), self.dimension());
        let mut covariance = Mat::zeros(n, n);
        for (weight, component) in self.weights().iter().zip(&self.components) {
            let offset = component.deviation(&mean);
            covariance += Mat::from_fn(n, n, |i, j| {
                weight * (component.covariance()[(i, j)] + offset[i] * offset[j])
            });
        }
        covariance
    }

    /// ln p(x).
    ///
    /// # Panics
    /// If x does not have n values.
    #[must_use]
    pub fn log_density(&self, x: &[f64]) -> f64 {
        log_sum_exp(&self.joint_log_densities(x))
    }

    /// ∇ ln p(x), the average of the components' scores under their probabilities given x.
    ///
    /// # Panics
    /// If x does not have n values.
    #[must_use]
    pub fn score(&self, x: &[f64]) -> Vec<f64> {
        average(&self.responsibilities(x), self.components.iter().map(|c| c.score(x)))
    }

    /// The probability of every component given x, of sum 1.
    ///
    /// ```text
    /// r_k = w_k N(x; m_k, C_k) / p(x)
    /// ```
    ///
    /// The mean of the prior's r_k over the posterior p(x₀ | y) is the posterior's weight w_k',
    /// because y says nothing more about the component once x₀ is known.
    ///
    /// # Panics
    /// If x does not have n values.
    #[must_use]
    pub fn responsibilities(&self, x: &[f64]) -> Vec<f64> {
        softmax(&self.joint_log_densities(x))
    }

    /// ln w_k + ln N(x; m_k, C_k) for every component.
    fn joint_log_densities(&self, x: &[f64]) -> Vec<f64> {
        self.log_weights.iter().zip(&self.components).map(|(w, c)| w + c.log_density(x)).collect()
    }

    /// Draws one vector: the component by the stream's uniform number 0, the deviation by its
    /// normals from index 1 on.
    #[must_use]
    pub fn sample(&self, stream: &Stream) -> Vec<f64> {
        let mut rest = stream.uniform(0);
        let weights = self.weights();
        let chosen = weights.iter().position(|weight| {
            rest -= weight;
            rest < 0.0
        });
        // Rounding can leave the sum of the weights below the uniform number.
        self.components[chosen.unwrap_or(weights.len() - 1)].sample(stream, 1)
    }

    /// The law of x_t = α x₀ + β ε, ε ~ N(0, I): again a mixture, with N(α m_k, α² C_k + β² I).
    ///
    /// # Errors
    /// [`MathError::NotPositiveDefinite`] if α and β are both 0.
    pub fn diffused(&self, level: &Level) -> Result<Self, MathError> {
        let n = self.dimension();
        let scaling = Mat::from_fn(n, n, |i, j| if i == j { level.alpha } else { 0.0 });
        self.mapped(&scaling, level.beta)
    }

    /// The law of y = A x₀ + η, η ~ N(0, σ_y² I): again a mixture.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] unless σ_y is positive and finite, [`MathError::Length`] if the
    /// operator's domain is not n.
    pub fn measured(&self, operator: &dyn LinearMap, sigma_y: f64) -> Result<Self, MathError> {
        check_positive("sigma_y", sigma_y)?;
        let (expected, found) = (self.dimension(), operator.domain().len());
        if found != expected {
            return Err(MathError::Length { what: "the operator's domain", expected, found });
        }
        self.mapped(&to_matrix(operator), sigma_y)
    }

    /// The posterior p(x₀ | y): again a mixture.
    ///
    /// ```text
    /// w_k' ∝ w_k N(y; A m_k, A C_k Aᵀ + σ_y² I)
    /// m_k' = m_k + K_k (y − A m_k)    C_k' = C_k − K_k A C_k    K_k = C_k Aᵀ (A C_k Aᵀ + σ_y² I)⁻¹
    /// ```
    ///
    /// # Errors
    /// Those of [`Mixture::measured`], and [`MathError::Length`] or [`MathError::NotFinite`] for y.
    pub fn posterior(
        &self,
        operator: &dyn LinearMap,
        y: &[f64],
        sigma_y: f64,
    ) -> Result<Self, MathError> {
        check_values("the measurement", y, operator.range().len())?;
        let measured = self.measured(operator, sigma_y)?;
        let a = to_matrix(operator);
        let components = self
            .components
            .iter()
            .zip(&measured.components)
            .map(|(component, law)| component.conditioned(&a, sigma_y, law, y))
            .collect::<Result<_, _>>()?;
        Ok(Self { log_weights: normalised(measured.joint_log_densities(y)), components })
    }

    fn mapped(&self, matrix: &Mat<f64>, noise: f64) -> Result<Self, MathError> {
        let components =
            self.components.iter().map(|c| c.mapped(matrix, noise)).collect::<Result<_, _>>()?;
        Ok(Self { log_weights: self.log_weights.clone(), components })
    }

    /// The prior seen through noise N(0, Σ), Σ any symmetric positive semi-definite matrix:
    /// prepared once, asked at every μ.
    ///
    /// # Shapes
    /// Σ: n×n
    ///
    /// # Errors
    /// [`MathError::Length`], [`MathError::NotFinite`], [`MathError::NotSymmetric`] for Σ, or
    /// [`MathError::NotPositiveDefinite`] if C_k + Σ is not positive definite to double precision.
    pub fn smoothed(&self, sigma: MatRef<'_, f64>) -> Result<Smoothed<'_>, MathError> {
        check_symmetric("Σ", sigma, self.dimension())?;
        let factors =
            self.components.iter().map(|c| c.smoothed(sigma)).collect::<Result<_, _>>()?;
        Ok(Smoothed { prior: self, factors })
    }

    /// The prior seen through noise N(0, σ² I).
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] unless σ is positive and finite.
    pub fn smoothed_isotropic(&self, sigma: f64) -> Result<Smoothed<'_>, MathError> {
        check_positive("sigma", sigma)?;
        let n = self.dimension();
        self.smoothed(Mat::from_fn(n, n, |i, j| if i == j { sigma * sigma } else { 0.0 }).as_ref())
    }

    /// D_Σ(μ) for one Σ and one μ; [`Mixture::smoothed`] for many μ.
    ///
    /// # Errors
    /// Those of [`Mixture::smoothed`].
    ///
    /// # Panics
    /// If μ does not have n values.
    pub fn denoise(&self, mu: &[f64], sigma: MatRef<'_, f64>) -> Result<Vec<f64>, MathError> {
        Ok(self.smoothed(sigma)?.denoise(mu))
    }
}

/// A mixture seen through noise N(0, Σ): p^Σ(μ) = Σ_k w_k N(μ; m_k, C_k + Σ).
#[derive(Debug, Clone)]
pub struct Smoothed<'a> {
    prior: &'a Mixture,
    /// The factors of C_k + Σ.
    factors: Vec<Cholesky>,
}

impl Smoothed<'_> {
    /// D_Σ(μ) = E[x₀ | x₀ + ξ = μ], ξ ~ N(0, Σ) (arXiv 2606.17048, Section 3).
    ///
    /// ```text
    /// r_k ∝ w_k N(μ; m_k, C_k + Σ)    D_Σ(μ) = Σ_k r_k (m_k + C_k (C_k + Σ)⁻¹ (μ − m_k))
    /// ```
    ///
    /// Its relative error is about ε times the condition number of C_k + Σ: with Σ⋆ at noise level
    /// σ_t and C_k of order 1, ε σ_t².
    ///
    /// # Panics
    /// If μ does not have n values.
    #[must_use]
    pub fn denoise(&self, mu: &[f64]) -> Vec<f64> {
        let whitened = self.whitened(mu);
        let probabilities = softmax(&self.joint_log_densities(&whitened));
        let means = whitened
            .into_iter()
            .zip(self.components())
            .map(|(z, (_, component, factor))| component.mean_plus(&factor.whiten_transposed(z)));
        average(&probabilities, means)
    }

    /// Jᵀ c with J = ∂D_Σ/∂μ: what methods that differentiate through the denoiser ask for.
    ///
    /// ```text
    /// g_k = −S_k⁻¹ (μ − m_k)    Jᵀ c = Σ_k r_k (S_k⁻¹ C_k c + (d_k · c) (g_k − Σ_j r_j g_j))
    /// ```
    ///
    /// with S_k = C_k + Σ and d_k the mean of component k; for Σ = σ² I it is Cov[x₀ | μ] c/σ².
    ///
    /// # Panics
    /// If μ or c does not have n values.
    #[must_use]
    pub fn denoise_vjp(&self, mu: &[f64], cotangent: &[f64]) -> Vec<f64> {
        let whitened = self.whitened(mu);
        let probabilities = softmax(&self.joint_log_densities(&whitened));
        // S_k⁻¹ (μ − m_k) = −g_k.
        let pulls: Vec<Vec<f64>> = whitened
            .into_iter()
            .zip(self.components())
            .map(|(z, (_, _, factor))| factor.whiten_transposed(z))
            .collect();
        let mean_pull = average(&probabilities, pulls.iter().cloned());
        let parts = pulls.iter().zip(self.components()).map(|(pull, (_, component, factor))| {
            let along = dot(&component.mean_plus(pull), cotangent);
            let within = factor.solve(&component.spread(cotangent));
            within
                .iter()
                .zip(pull.iter().zip(&mean_pull))
                .map(|(w, (pull, mean))| w + along * (mean - pull))
                .collect()
        });
        average(&probabilities, parts)
    }

    /// ln p^Σ(μ).
    ///
    /// # Panics
    /// If μ does not have n values.
    #[must_use]
    pub fn log_density(&self, mu: &[f64]) -> f64 {
        log_sum_exp(&self.joint_log_densities(&self.whitened(mu)))
    }

    fn components(&self) -> impl Iterator<Item = (f64, &Gaussian, &Cholesky)> {
        let Mixture { log_weights, components } = self.prior;
        log_weights.iter().zip(components).zip(&self.factors).map(|((w, c), f)| (*w, c, f))
    }

    /// L_k⁻¹ (μ − m_k) for every component.
    fn whitened(&self, mu: &[f64]) -> Vec<Vec<f64>> {
        self.components().map(|(_, c, factor)| factor.whiten(&c.deviation(mu))).collect()
    }

    fn joint_log_densities(&self, whitened: &[Vec<f64>]) -> Vec<f64> {
        self.components()
            .zip(whitened)
            .map(|((w, _, factor), z)| w + log_normal(factor, z))
            .collect()
    }
}

/// ln Σ exp v_k without overflow or underflow.
fn log_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + values.iter().map(|v| (v - largest).exp()).sum::<f64>().ln()
}

/// Logarithms of weights of sum 1.
fn normalised(mut log_weights: Vec<f64>) -> Vec<f64> {
    let total = log_sum_exp(&log_weights);
    log_weights.iter_mut().for_each(|w| *w -= total);
    log_weights
}

/// exp v_k / Σ exp v_j.
fn softmax(values: &[f64]) -> Vec<f64> {
    normalised(values.to_vec()).iter().map(|v| v.exp()).collect()
}

/// Σ w_k v_k.
fn average(weights: &[f64], vectors: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    let mut sum = Vec::new();
    for (weight, vector) in weights.iter().zip(vectors) {
        sum.resize(vector.len(), 0.0);
        sum.iter_mut().zip(&vector).for_each(|(s, v)| *s += weight * v);
    }
    sum
}

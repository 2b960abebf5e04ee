//! One Gaussian.

use std::f64::consts::TAU;

use faer::{Mat, MatRef};

use crate::cholesky::{Cholesky, product, product_transposed, symmetrised};
use crate::error::{MathError, check_finite, check_symmetric};
use crate::rng::Stream;

/// N(m, C) with a positive definite covariance C.
#[derive(Debug, Clone)]
pub struct Gaussian {
    mean: Vec<f64>,
    covariance: Mat<f64>,
    factor: Cholesky,
}

impl Gaussian {
    /// The Gaussian of a mean and a covariance.
    ///
    /// # Shapes
    /// mean: n, covariance: n×n
    ///
    /// # Errors
    /// [`MathError::Empty`] for n = 0, [`MathError::Length`], [`MathError::NotFinite`],
    /// [`MathError::NotSymmetric`] or [`MathError::NotPositiveDefinite`] for what is wrong.
    pub fn new(mean: Vec<f64>, covariance: Mat<f64>) -> Result<Self, MathError> {
        if mean.is_empty() {
            return Err(MathError::Empty("the mean"));
        }
        check_finite("the mean", &mean)?;
        check_symmetric("the covariance", covariance.as_ref(), mean.len())?;
        let factor = Cholesky::new("the covariance", covariance.as_ref())?;
        Ok(Self { mean, covariance, factor })
    }

    /// The number n of coordinates.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.mean.len()
    }

    /// m.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// C.
    #[must_use]
    pub fn covariance(&self) -> MatRef<'_, f64> {
        self.covariance.as_ref()
    }

    /// ln N(x; m, C).
    ///
    /// # Panics
    /// If x does not have n values.
    #[must_use]
    pub fn log_density(&self, x: &[f64]) -> f64 {
        log_normal(&self.factor, &self.factor.whiten(&self.deviation(x)))
    }

    /// ∇ ln N(x; m, C) = −C⁻¹ (x − m).
    ///
    /// # Panics
    /// If x does not have n values.
    #[must_use]
    pub fn score(&self, x: &[f64]) -> Vec<f64> {
        self.factor.solve(&self.deviation(x)).iter().map(|v| -v).collect()
    }

    /// m + L z with C = L Lᵀ and z the stream's normals from index `first` on.
    pub(super) fn sample(&self, stream: &Stream, first: u64) -> Vec<f64> {
        let z: Vec<f64> = (first..).map(|i| stream.normal(i)).take(self.dimension()).collect();
        self.mean.iter().zip(self.factor.colour(&z)).map(|(m, d)| m + d).collect()
    }

    /// x − m.
    pub(super) fn deviation(&self, x: &[f64]) -> Vec<f64> {
        assert_eq!(x.len(), self.dimension(), "values of a vector beside those of the mean");
        x.iter().zip(&self.mean).map(|(a, b)| a - b).collect()
    }

    /// C v.
    pub(super) fn spread(&self, v: &[f64]) -> Vec<f64> {
        product(&self.covariance, v)
    }

    /// m + C v.
    pub(super) fn mean_plus(&self, v: &[f64]) -> Vec<f64> {
        self.mean.iter().zip(self.spread(v)).map(|(m, d)| m + d).collect()
    }

    /// The factor of C + Σ.
    pub(super) fn smoothed(&self, sigma: MatRef<'_, f64>) -> Result<Cholesky, MathError> {
        Cholesky::new("the prior's covariance plus Σ", (&self.covariance + sigma).as_ref())
    }

    /// The law of B x + ξ, ξ ~ N(0, s² I).
    pub(super) fn mapped(&self, b: &Mat<f64>, s: f64) -> Result<Self, MathError> {
        let mut covariance = b * &self.covariance * b.transpose();
        for i in 0..b.nrows() {
            covariance[(i, i)] += s * s;
        }
        Self::new(product(b, &self.mean), symmetrised(covariance.as_ref()))
    }

    /// The law of x given that B x + ξ = y, where `measured` is the law of y.
    ///
    /// ```text
    /// K = C Bᵀ S⁻¹    S = B C Bᵀ + s² I    m' = m + K (y − B m)
    /// C' = (I − K B) C (I − K B)ᵀ + s² K Kᵀ
    /// ```
    ///
    /// The last line is Joseph's form of C − K B C, which rounding leaves positive.
    pub(super) fn conditioned(
        &self,
        b: &Mat<f64>,
        s: f64,
        measured: &Self,
        y: &[f64],
    ) -> Result<Self, MathError> {
        let n = self.dimension();
        let bc = b * &self.covariance;
        let mut gain_transposed = Mat::zeros(b.nrows(), n);
        for j in 0..n {
            let column = measured.factor.solve(bc.col_as_slice(j));
            gain_transposed.col_as_slice_mut(j).copy_from_slice(&column);
        }
        let gain = gain_transposed.transpose();
        let rest = Mat::<f64>::identity(n, n) - gain * b;
        let covariance = &rest * &self.covariance * rest.transpose()
            + gain * &gain_transposed * faer::Scale(s * s);
        let correction = product_transposed(&gain_transposed, &measured.deviation(y));
        let mean = self.mean.iter().zip(correction).map(|(m, d)| m + d).collect();
        Self::new(mean, symmetrised(covariance.as_ref()))
    }
}

/// The log density of a Gaussian at whitened coordinates z = L⁻¹ (x − m).
pub(super) fn log_normal(factor: &Cholesky, z: &[f64]) -> f64 {
    let square: f64 = z.iter().map(|v| v * v).sum();
    -0.5 * (square + factor.log_determinant() + z.len() as f64 * TAU.ln())
}

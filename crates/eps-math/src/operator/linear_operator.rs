//! What an operator is.

use crate::Shape;

/// A linear operator A with a known eigenbasis of AᵀA.
pub trait LinearOperator: std::fmt::Debug + Send + Sync {
    /// The shape of the image x₀.
    fn domain(&self) -> Shape;

    /// The shape of the measurement y.
    fn range(&self) -> Shape;

    /// A x.
    ///
    /// # Panics
    /// If `x` does not have `domain().len()` values.
    fn apply(&self, x: &[f64]) -> Vec<f64>;

    /// Aᵀ y.
    ///
    /// # Panics
    /// If `y` does not have `range().len()` values.
    fn adjoint(&self, y: &[f64]) -> Vec<f64>;

    /// The eigenvalues λ of AᵀA, `domain().len()` values in the order of the basis; those of the
    /// null space are exactly 0.
    fn eigenvalues(&self) -> Vec<f64>;

    /// f(AᵀA) x = V f(λ) Vᵀ x.
    ///
    /// # Panics
    /// If `x` does not have `domain().len()` values.
    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64>;

    /// A†y = f(AᵀA) Aᵀy with f(λ) = 1/λ, or 0 in the null space.
    ///
    /// # Panics
    /// If `y` does not have `range().len()` values.
    fn pseudo_inverse(&self, y: &[f64]) -> Vec<f64> {
        self.spectral_map(&self.adjoint(y), &|lambda| {
            if lambda > 0.0 { lambda.recip() } else { 0.0 }
        })
    }
}

/// Checks a buffer against the shape that it should have.
pub(super) fn assert_length(what: &str, values: &[f64], shape: Shape) {
    assert_eq!(values.len(), shape.len(), "{what} must have the {} values of {shape}", shape.len());
}

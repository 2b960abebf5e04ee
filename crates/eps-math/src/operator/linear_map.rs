//! What an operator is.

use std::sync::Arc;

use super::expression::{Eigenbasis, Expression, Preconditioner};
use super::form::EigenForm;
use super::kind::OperatorKind;
use super::picks::Picks;
use super::range_basis::RangeBasis;
use crate::Shape;

/// A linear operator A: shapes, A x and Aᵀy. Nothing more is asked of an operator.
///
/// The pivot μ⋆ then comes by conjugate gradients ([`crate::solve`]). Where an eigenbasis of AᵀA is known, implement
/// [`Spectral`] too: everything is in closed form then.
///
/// [`check`](super::check) tells whether an implementation is linear and its adjoint is the adjoint.
pub trait LinearMap: std::fmt::Debug + Send + Sync {
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

    /// The measurement in the image's shape, where a family knows better than Aᵀy/‖A‖²: what was seen, where it was
    /// seen, 0 elsewhere. Networks read it beside the pivot.
    ///
    /// # Panics
    /// If `y` does not have `range().len()` values.
    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        let _ = y;
        None
    }

    /// The diagonal of f(AᵀA) in pixels, `domain().len()` values, where structure gives it; of what [picks](LinearMap::picks), unless a
    /// family says otherwise.
    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        Some(self.picks()?.squares().into_iter().map(f).collect())
    }

    /// (B + κ I)⁻¹ v for a symmetric B near AᵀA in closed form, by which conjugate gradients are preconditioned; with B = AᵀA
    /// where [an eigenbasis is known](LinearMap::as_spectral), unless a family says otherwise.
    ///
    /// # Panics
    /// If `v` does not have `domain().len()` values.
    fn approximate_inverse(&self, v: &[f64], kappa: f64) -> Option<Vec<f64>> {
        Some(self.as_spectral()?.spectral_map(v, &|lambda| (lambda + kappa).recip()))
    }

    /// The same map as [`LinearMap::approximate_inverse`], as data. A map that has that and not this is computed on the host.
    fn preconditioner(&self) -> Option<Preconditioner> {
        Some(self.as_spectral()?.eigenbasis()?.into())
    }

    /// The map written out of elementary ones, so that a GPU computes it; of a map without, A and Aᵀ are computed on the host, and
    /// images go there and back. Of what [picks](LinearMap::picks), unless a family says otherwise.
    ///
    /// Beside it a device needs what the host has: [`LinearMap::preconditioner`], [`Spectral::eigenbasis`].
    fn expression(&self) -> Option<Expression> {
        Some(self.picks()?.expression())
    }

    /// The map of one channel, where it does the same to every channel by itself.
    fn one_channel(&self) -> Option<Arc<dyn LinearMap>> {
        None
    }

    /// What it does to an image.
    fn kind(&self) -> OperatorKind {
        OperatorKind::Others
    }

    /// Whether y is a picture, neighbours in it being neighbours in the image, so that little of its finest details is the
    /// image's: of means and blurs, unless a family says otherwise.
    fn gives_picture(&self) -> bool {
        matches!(self.kind(), OperatorKind::Means | OperatorKind::Blurs)
    }

    /// A bound of ‖A‖_∞ = max_i Σ_j |a_ij|, where a family knows one: no value of A x is larger for an image in [-1, 1]. Of what
    /// [picks](LinearMap::picks) the largest weight, unless a family says otherwise.
    fn infinity_norm(&self) -> Option<f64> {
        Some(self.picks()?.largest_weight())
    }

    /// The map as pixels and their weights, where it is no more than that.
    fn picks(&self) -> Option<Picks> {
        None
    }

    /// The map with its eigenbasis, where one is known.
    fn as_spectral(&self) -> Option<&dyn Spectral> {
        None
    }

    /// The matrix of the map with its singular value decomposition, where that is at hand.
    fn range_basis(&self) -> Option<&RangeBasis> {
        None
    }
}

/// A linear operator A with a known orthonormal eigenbasis V of AᵀA.
pub trait Spectral: LinearMap {
    /// The eigenvalues λ of AᵀA, `domain().len()` values in the order of the basis; those of the
    /// null space are exactly 0.
    fn eigenvalues(&self) -> Vec<f64>;

    /// f(AᵀA) x = V f(λ) Vᵀ x.
    ///
    /// # Panics
    /// If `x` does not have `domain().len()` values.
    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64>;

    /// The eigenbasis as data, for devices; directions that A maps to 0 may be left out. A map without it is computed on the host. Of what [picks](LinearMap::picks), unless a
    /// family says otherwise.
    fn eigenbasis(&self) -> Option<Eigenbasis> {
        let eigenvalues = self.picks()?.squares();
        Some(Eigenbasis { into: Expression::identity(), eigenvalues, is_whole: true })
    }

    /// The eigenbasis in a form that batches compute at once, where it has one.
    fn form(&self) -> Option<EigenForm<'_>> {
        None
    }

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

//! The arithmetic in which the spectral formulas are written, once, for numbers and for fields.

use std::ops::{Add, Div, Mul, Sub};

/// A real number, or a field of real numbers with element-wise arithmetic and broadcasting.
///
/// Every function of AᵀA that posterior sampling needs is a scalar formula in an eigenvalue λ. The
/// formulas of this crate are generic over this trait: `f64` evaluates one eigenvalue, the tensor
/// type of `eps-model` all eigenvalues of a batch on its device.
pub trait Real:
    Clone
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<f64, Output = Self>
    + Mul<f64, Output = Self>
{
    /// The square root.
    #[must_use]
    fn sqrt(self) -> Self;

    /// `self` where `condition` is positive and 0 elsewhere, whatever `self` is there.
    #[must_use]
    fn where_positive(self, condition: &Self) -> Self;

    /// 1 where `self` is not positive and 0 elsewhere.
    #[must_use]
    fn not_positive(&self) -> Self {
        (self.clone() * 0.0 + 1.0).where_positive(self) * -1.0 + 1.0
    }

    /// The natural logarithm.
    #[must_use]
    fn ln(self) -> Self;

    /// The reciprocal.
    #[must_use]
    fn recip(self) -> Self;

    /// The square.
    #[must_use]
    fn square(self) -> Self {
        self.clone() * self
    }
}

impl Real for f64 {
    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }

    fn where_positive(self, condition: &Self) -> Self {
        if *condition > 0.0 { self } else { 0.0 }
    }

    fn ln(self) -> Self {
        Self::ln(self)
    }

    fn recip(self) -> Self {
        Self::recip(self)
    }
}

//! An eigenbasis of AᵀA that a matrix has beside its null space.

use faer::Mat;

use crate::cholesky::row_major;

/// The eigenvectors of AᵀA that A does not map to 0, for a matrix A.
///
/// With V_r of r orthonormal columns, f(AᵀA) x = V_r (f(λ) − f(0)) V_rᵀ x + f(0) x.
#[derive(Debug, Clone)]
pub struct RangeBasis {
    /// A, m×n.
    pub(super) matrix: Mat<f64>,
    /// V_r, n×r.
    pub(super) vectors: Mat<f64>,
    /// λ, r positive values.
    pub(super) eigenvalues: Vec<f64>,
}

impl RangeBasis {
    /// The rank r, the number of positive eigenvalues.
    ///
    /// As of [`Dense`](super::Dense), singular values are rounding error below `max(m, n) · ε` of the largest, and below four times what
    /// the decomposition leaves of the matrix.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.eigenvalues.len()
    }

    /// λ > 0 in descending order, r values.
    #[must_use]
    pub fn eigenvalues(&self) -> &[f64] {
        &self.eigenvalues
    }

    /// A in row-major order, m×n.
    #[must_use]
    pub fn matrix(&self) -> Vec<f64> {
        row_major(self.matrix.as_ref())
    }

    /// V_r in row-major order, n×r: column j belongs to eigenvalue j.
    #[must_use]
    pub fn vectors(&self) -> Vec<f64> {
        row_major(self.vectors.as_ref())
    }
}

//! The Cholesky factor of a covariance, applied to one vector at a time.
//!
//! faer factorises; the substitutions are plain loops in a fixed order, because the results of
//! blocked kernels depend in the last bits on how many vectors they are given, and samples must not.

use faer::{Mat, MatRef, Side};

use crate::MathError;

/// L with S = L Lᵀ, n×n.
#[derive(Debug, Clone)]
pub(crate) struct Cholesky {
    /// L, whose columns are contiguous.
    lower: Mat<f64>,
    /// Lᵀ: its columns, the rows of L, are contiguous.
    transposed: Mat<f64>,
    /// ln det S.
    log_determinant: f64,
}

impl Cholesky {
    /// Factorises the symmetric matrix whose lower triangle is given.
    pub(crate) fn new(what: &'static str, matrix: MatRef<'_, f64>) -> Result<Self, MathError> {
        let llt = matrix.llt(Side::Lower).map_err(|_| MathError::NotPositiveDefinite(what))?;
        let factor = Self::of_factor(llt.L().to_owned());
        // A pivot of infinity or NaN passes the factorisation.
        if factor.log_determinant.is_finite() {
            Ok(factor)
        } else {
            Err(MathError::NotPositiveDefinite(what))
        }
    }

    /// Takes a lower triangular L with a positive diagonal.
    pub(crate) fn of_factor(lower: Mat<f64>) -> Self {
        let log_determinant = (0..lower.ncols()).map(|i| 2.0 * lower[(i, i)].ln()).sum::<f64>();
        Self { transposed: lower.transpose().to_owned(), lower, log_determinant }
    }

    /// L.
    pub(crate) fn lower(&self) -> &Mat<f64> {
        &self.lower
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.transposed.col_as_slice(i)[..=i]
    }

    /// L⁻¹ r: standard normal coordinates of a deviation r.
    pub(crate) fn whiten(&self, r: &[f64]) -> Vec<f64> {
        // By columns: their updates are independent of each other, sums along rows are not.
        let mut z = r.to_vec();
        for j in 0..z.len() {
            let column = &self.lower.col_as_slice(j)[j..];
            let value = z[j] / column[0];
            z[j] = value;
            for (target, l) in z[j + 1..].iter_mut().zip(&column[1..]) {
                *target -= l * value;
            }
        }
        z
    }

    /// L⁻ᵀ z, so that S⁻¹ r = L⁻ᵀ (L⁻¹ r).
    pub(crate) fn whiten_transposed(&self, mut z: Vec<f64>) -> Vec<f64> {
        for i in (0..z.len()).rev() {
            let row = self.row(i);
            let value = z[i] / row[i];
            z[i] = value;
            for (target, l) in z[..i].iter_mut().zip(row) {
                *target -= l * value;
            }
        }
        z
    }

    /// S⁻¹ r.
    pub(crate) fn solve(&self, r: &[f64]) -> Vec<f64> {
        self.whiten_transposed(self.whiten(r))
    }

    /// L z: a deviation of covariance S from standard normal z.
    pub(crate) fn colour(&self, z: &[f64]) -> Vec<f64> {
        (0..z.len()).map(|i| dot(self.row(i), z)).collect()
    }

    /// ln det S.
    pub(crate) fn log_determinant(&self) -> f64 {
        self.log_determinant
    }
}

/// Σ a_i b_i over the shorter of both, in order.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// M x.
pub(crate) fn product(matrix: &Mat<f64>, x: &[f64]) -> Vec<f64> {
    let mut result = vec![0.0; matrix.nrows()];
    for (j, value) in x.iter().enumerate() {
        for (target, m) in result.iter_mut().zip(matrix.col_as_slice(j)) {
            *target += m * value;
        }
    }
    result
}

/// Mᵀ y.
pub(crate) fn product_transposed(matrix: &Mat<f64>, y: &[f64]) -> Vec<f64> {
    (0..matrix.ncols()).map(|j| dot(matrix.col_as_slice(j), y)).collect()
}

/// M with both triangles replaced by their mean.
pub(crate) fn symmetrised(matrix: MatRef<'_, f64>) -> Mat<f64> {
    Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| 0.5 * (matrix[(i, j)] + matrix[(j, i)]))
}

/// The transpose of a row-major matrix.
pub(crate) fn transposed<T: Copy>(matrix: &[T], columns: usize) -> Vec<T> {
    let mut transposed = Vec::with_capacity(matrix.len());
    for column in 0..columns {
        transposed.extend(matrix[column..].iter().step_by(columns));
    }
    transposed
}

/// The entries row by row.
pub(crate) fn row_major(matrix: MatRef<'_, f64>) -> Vec<f64> {
    (0..matrix.nrows()).flat_map(|i| (0..matrix.ncols()).map(move |j| matrix[(i, j)])).collect()
}

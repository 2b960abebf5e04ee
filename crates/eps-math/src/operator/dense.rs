//! Any matrix A, through its singular value decomposition.

use std::sync::Arc;

use faer::{Mat, MatRef};

use super::expression::{Eigenbasis, Expression};
use super::form::{EigenForm, MatrixForm};
use super::linear_map::{LinearMap, Spectral, assert_length};
use super::rounding::least_certain;
use crate::cholesky::{product, product_transposed, row_major};
use crate::error::{check_scale, check_values};
use crate::{MathError, Noise, Shape};

/// A dense m×n operator A = U S Vᵀ.
#[derive(Debug, Clone)]
pub struct Dense {
    shape: Shape,
    rows: usize,
    /// A, m×n.
    matrix: Mat<f64>,
    /// V, n×n: the null space is part of the basis.
    basis: Mat<f64>,
    /// λ = s², n values, exactly 0 in the null space.
    eigenvalues: Vec<f64>,
}

/// The most rows and columns of a matrix: V of 16384 columns takes 2 GiB.
const MAX_SIDE: usize = 1 << 14;

impl Dense {
    /// The operator of an m×n matrix in row-major order on images of `shape`, n = `shape.len()`.
    ///
    /// Singular values below `max(m, n) · ε` of the largest, and below four times what the decomposition leaves of the matrix, are
    /// rounding error: the operator is defined without them, A ← U_r S_r V_rᵀ, so that its null space is exact.
    ///
    /// # Errors
    /// [`MathError::Length`] or [`MathError::NotFinite`] for the matrix, [`MathError::Empty`] if it has
    /// no rows, [`MathError::ZeroMatrix`] if it is 0, [`MathError::Entry`] if the square of its largest entry is no
    /// number, [`MathError::LargeMatrix`] if m or n is above 16384,
    /// [`MathError::NotConverged`] from the decomposition.
    pub fn new(shape: Shape, rows: usize, matrix: &[f64]) -> Result<Self, MathError> {
        Self::named("the matrix", shape, rows, matrix)
    }

    /// [`Dense::new`] of a matrix that errors call `what`.
    pub(super) fn named(
        what: &'static str,
        shape: Shape,
        rows: usize,
        matrix: &[f64],
    ) -> Result<Self, MathError> {
        let n = shape.len();
        check_values(what, matrix, rows.saturating_mul(n))?;
        check_scale(what, matrix)?;
        if rows == 0 {
            return Err(MathError::Empty(what));
        }
        if rows.max(n) > MAX_SIDE {
            return Err(MathError::LargeMatrix { what, rows, columns: n, limit: MAX_SIDE });
        }
        let given = MatRef::from_row_major_slice(matrix, rows, n);
        let svd =
            given.svd().map_err(|_| MathError::NotConverged("singular value decomposition"))?;
        let s: Vec<f64> = svd.S().column_vector().iter().copied().collect();
        let largest = s.iter().copied().fold(0.0, f64::max);
        if largest == 0.0 {
            return Err(MathError::ZeroMatrix(what));
        }
        let threshold = least_certain(given, svd.U(), &s, svd.V());
        let rank = s.iter().filter(|value| **value > threshold).count();
        let matrix = if rank == rows.min(n) {
            given.to_owned()
        } else {
            let scaled = Mat::from_fn(rows, rank, |i, j| svd.U()[(i, j)] * s[j]);
            scaled * svd.V().subcols(0, rank).transpose()
        };
        let eigenvalues = (0..n).map(|i| if i < rank { s[i] * s[i] } else { 0.0 }).collect();
        Ok(Self { shape, rows, matrix, basis: svd.V().to_owned(), eigenvalues })
    }

    /// Vᵀ x.
    pub(super) fn coordinates(&self, x: &[f64]) -> Vec<f64> {
        product_transposed(&self.basis, x)
    }

    /// V c.
    pub(super) fn synthesis(&self, coordinates: &[f64]) -> Vec<f64> {
        product(&self.basis, coordinates)
    }

    /// Vᵀ in row-major order, n×n: row j belongs to eigenvalue j.
    pub(super) fn basis_transposed(&self) -> Vec<f64> {
        row_major(self.basis.transpose())
    }

    /// The matrix beside V.
    pub(super) fn matrix_form(&self) -> MatrixForm {
        let (matrix, basis) = (self.matrix(), self.basis());
        MatrixForm { columns: self.shape.len(), matrix, basis }
    }

    /// W A, for [`Whitened::prepare`](super::Whitened::prepare), column by column.
    pub(super) fn whitened(&self, noise: &Noise, sigma_y: f64) -> Result<Self, MathError> {
        let n = self.shape.len();
        let mut product = vec![0.0; self.rows * n];
        for j in 0..n {
            let column: Vec<f64> = self.matrix.col(j).iter().copied().collect();
            for (i, value) in noise.whiten(&column, sigma_y).into_iter().enumerate() {
                product[i * n + j] = value;
            }
        }
        Self::new(self.shape, self.rows, &product)
    }

    /// The diagonal of V diag(values) Vᵀ.
    pub(super) fn squared_synthesis(&self, values: &[f64]) -> Vec<f64> {
        let of = |i: usize| {
            let square = |(j, value): (usize, &f64)| self.basis[(i, j)].powi(2) * value;
            values.iter().enumerate().map(square).sum()
        };
        (0..self.basis.nrows()).map(of).collect()
    }

    /// A in row-major order.
    #[must_use]
    pub fn matrix(&self) -> Vec<f64> {
        row_major(self.matrix.as_ref())
    }

    /// V in row-major order, n×n: column j belongs to eigenvalue j.
    #[must_use]
    pub fn basis(&self) -> Vec<f64> {
        row_major(self.basis.as_ref())
    }
}

impl LinearMap for Dense {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        Shape { channels: 1, height: 1, width: self.rows }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        product(&self.matrix, x)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range());
        product_transposed(&self.matrix, y)
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        let values: Vec<f64> = self.eigenvalues.iter().map(|lambda| f(*lambda)).collect();
        Some(self.squared_synthesis(&values))
    }

    fn expression(&self) -> Option<Expression> {
        let values = Arc::new(self.matrix());
        Some(Expression::Matrix { columns: self.shape.len(), values })
    }

    fn infinity_norm(&self) -> Option<f64> {
        let mut rows = vec![0.0; self.rows];
        for column in self.matrix.col_iter() {
            rows.iter_mut().zip(column.iter()).for_each(|(sum, value)| *sum += value.abs());
        }
        Some(rows.into_iter().fold(0.0, f64::max))
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }
}

impl Spectral for Dense {
    fn eigenvalues(&self) -> Vec<f64> {
        self.eigenvalues.clone()
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let mut coordinates = self.coordinates(x);
        for (value, lambda) in coordinates.iter_mut().zip(&self.eigenvalues) {
            *value *= f(*lambda);
        }
        self.synthesis(&coordinates)
    }

    fn eigenbasis(&self) -> Option<Eigenbasis> {
        let values = Arc::new(self.basis_transposed());
        let into = Expression::Matrix { columns: self.shape.len(), values };
        Some(Eigenbasis { into, eigenvalues: self.eigenvalues.clone(), is_whole: true })
    }

    fn form(&self) -> Option<EigenForm<'_>> {
        Some(EigenForm::Matrix(self.matrix_form()))
    }
}

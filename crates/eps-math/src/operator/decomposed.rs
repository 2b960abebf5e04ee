//! A map without an eigenbasis in closed form, with that of its matrix.

use std::sync::Arc;

use faer::{Mat, MatRef};

use super::expression::{Expression, Preconditioner};
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral};
use super::picks::Picks;
use super::range_basis::RangeBasis;
use super::to_matrix;
use crate::{MathError, Shape};

/// The most multiplications of a decomposition that is made without being asked for: some ten seconds, where conjugate
/// gradients and Lanczos' method take hundreds of A and Aᵀ at every call.
const MOST_WORK: f64 = 1.5e11;

/// The most numbers of the matrix: half a gigabyte.
const MOST_ENTRIES: usize = 1 << 26;

/// The thin singular value decomposition A = U diag(s) Vᵀ of a matrix, without the values that are rounding.
pub(crate) struct SingularValues {
    /// U, m×r.
    pub(crate) left: Mat<f64>,
    /// s > 0, r values, descending.
    pub(crate) values: Vec<f64>,
    /// V, n×r.
    pub(crate) right: Mat<f64>,
}

impl SingularValues {
    /// Decomposes the matrix of an operator.
    pub(crate) fn of(matrix: MatRef<'_, f64>) -> Result<Self, MathError> {
        let what = "the matrix of the operator";
        for column in matrix.col_iter() {
            crate::error::check_finite(what, &column.iter().copied().collect::<Vec<_>>())?;
        }
        let svd = matrix
            .thin_svd()
            .map_err(|_| MathError::NotConverged("singular value decomposition"))?;
        let mut values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
        let largest = values.iter().copied().fold(0.0, f64::max);
        if largest == 0.0 {
            return Err(MathError::ZeroMatrix(what));
        }
        let threshold = matrix.nrows().max(matrix.ncols()) as f64 * f64::EPSILON * largest;
        values.retain(|value| *value > threshold);
        let rank = values.len();
        let left = svd.U().subcols(0, rank).to_owned();
        Ok(Self { left, right: svd.V().subcols(0, rank).to_owned(), values })
    }
}

/// A pair A, Aᵀ beside the thin singular value decomposition of its matrix.
#[derive(Debug, Clone)]
pub struct Decomposed {
    map: Arc<dyn LinearMap>,
    basis: RangeBasis,
}

impl Decomposed {
    /// Decomposes the matrix of a map.
    ///
    /// # Errors
    /// [`MathError::ZeroMatrix`] if it is 0, [`MathError::NotFinite`] if the map gives NaN or infinity,
    /// [`MathError::NotConverged`] from the decomposition.
    pub fn new(map: Arc<dyn LinearMap>) -> Result<Self, MathError> {
        let mut matrix = to_matrix(map.as_ref());
        let SingularValues { left, values, right } = SingularValues::of(matrix.as_ref())?;
        if values.len() < matrix.nrows().min(matrix.ncols()) {
            // Without what is rounding error, so that the null space is exact.
            let scaled = Mat::from_fn(left.nrows(), values.len(), |i, j| left[(i, j)] * values[j]);
            matrix = scaled * right.transpose();
        }
        let eigenvalues = values.iter().map(|s| s * s).collect();
        Ok(Self { map, basis: RangeBasis { matrix, vectors: right, eigenvalues } })
    }

    /// Multiplications, about, that a decomposition takes, if its matrix is of a size to be decomposed at all.
    #[must_use]
    pub fn work(map: &dyn LinearMap) -> Option<f64> {
        let (m, n) = (map.range().len(), map.domain().len());
        let (most, least) = (m.max(n) as f64, m.min(n) as f64);
        // A decomposition into a square matrix and an orthonormal one, and that of the square.
        let work = 6.0 * most * least.powi(2) + 20.0 * least.powi(3);
        (m.saturating_mul(n) <= MOST_ENTRIES).then_some(work)
    }

    /// Whether the decompositions of all of some maps take no longer than some ten seconds.
    #[must_use]
    pub fn is_quick<'a>(maps: impl IntoIterator<Item = &'a dyn LinearMap>) -> bool {
        let mut work = 0.0;
        for map in maps {
            match Self::work(map) {
                Some(own) => work += own,
                None => return false,
            }
        }
        work <= MOST_WORK
    }
}

impl LinearMap for Decomposed {
    fn domain(&self) -> Shape {
        self.map.domain()
    }

    fn range(&self) -> Shape {
        self.map.range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.map.apply(x)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.map.adjoint(y)
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        self.map.placed(y)
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        self.map.diagonal(f)
    }

    fn approximate_inverse(&self, v: &[f64], kappa: f64) -> Option<Vec<f64>> {
        self.map.approximate_inverse(v, kappa)
    }

    fn preconditioner(&self) -> Option<Preconditioner> {
        self.map.preconditioner()
    }

    fn expression(&self) -> Option<Expression> {
        self.map.expression()
    }

    fn infinity_norm(&self) -> Option<f64> {
        self.map.infinity_norm()
    }

    fn gives_picture(&self) -> bool {
        self.map.gives_picture()
    }

    fn kind(&self) -> OperatorKind {
        self.map.kind()
    }

    fn picks(&self) -> Option<Picks> {
        self.map.picks()
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        self.map.as_spectral()
    }

    fn range_basis(&self) -> Option<&RangeBasis> {
        Some(&self.basis)
    }
}

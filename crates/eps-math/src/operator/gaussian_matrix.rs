//! Compressed sensing by random numbers.

use std::sync::Arc;

use super::expression::Expression;
use super::linear_map::{LinearMap, assert_length};
use crate::cholesky::dot;
use crate::rng::Stream;
use crate::{MathError, Shape};

/// A matrix of m rows of independent normal numbers of mean 0 and variance 1/m, drawn by a seed: ‖A x‖² is ‖x‖² in the mean.
///
/// Entry (i, j) is the number i n + j of the seed's stream, over √m. The matrix is kept in memory, 8 m n bytes, and never written
/// down.
///
/// # Shapes
/// x: any, y: `[1, 1, m]`
#[derive(Debug, Clone)]
pub struct GaussianMatrix {
    shape: Shape,
    rows: usize,
    /// Row by row.
    entries: Arc<Vec<f64>>,
}

impl GaussianMatrix {
    /// The most bytes of a matrix, 16 GiB.
    pub const MAX_BYTES: u64 = 1 << 34;

    /// The matrix of `rows` rows for images of `shape`.
    ///
    /// # Errors
    /// [`MathError::Empty`] without rows, [`MathError::Memory`] for a matrix above [`GaussianMatrix::MAX_BYTES`], before it is taken.
    pub fn new(shape: Shape, rows: usize, seed: u64) -> Result<Self, MathError> {
        if rows == 0 {
            return Err(MathError::Empty("the Gaussian matrix"));
        }
        let bytes = Self::bytes(shape, rows);
        if bytes > Self::MAX_BYTES {
            let columns = shape.len();
            return Err(MathError::Memory { rows, columns, bytes, most: Self::MAX_BYTES });
        }
        let mut entries = Stream::named(seed, "gaussian matrix").normals(rows * shape.len());
        let scale = (rows as f64).sqrt();
        entries.iter_mut().for_each(|entry| *entry /= scale);
        Ok(Self { shape, rows, entries: Arc::new(entries) })
    }

    /// The bytes that the matrix of so many rows takes.
    #[must_use]
    pub fn bytes(shape: Shape, rows: usize) -> u64 {
        (rows as u64).saturating_mul(8 * shape.len() as u64)
    }
}

impl LinearMap for GaussianMatrix {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        Shape { channels: 1, height: 1, width: self.rows }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        self.entries.chunks_exact(x.len()).map(|row| dot(row, x)).collect()
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range());
        let mut x = vec![0.0; self.shape.len()];
        for (row, y) in self.entries.chunks_exact(x.len()).zip(y) {
            x.iter_mut().zip(row).for_each(|(x, a)| *x += a * y);
        }
        x
    }

    fn expression(&self) -> Option<Expression> {
        let values = Arc::clone(&self.entries);
        Some(Expression::Matrix { columns: self.shape.len(), values })
    }
}

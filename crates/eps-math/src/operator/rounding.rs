//! What of a decomposition is rounding.

use faer::{Mat, MatRef};

/// How many times as large as what a decomposition leaves of its matrix a singular value is that counts.
const CERTAIN: f64 = 4.0;

/// The singular value up to which those of a decomposition may be rounding: by what it leaves of the matrix any of them may be off (Weyl),
/// one that is 0 too.
///
/// # Shapes
/// matrix: m×n, left: m×r or wider, values: r, right: n×r or wider
pub(super) fn least_certain(
    matrix: MatRef<'_, f64>,
    left: MatRef<'_, f64>,
    values: &[f64],
    right: MatRef<'_, f64>,
) -> f64 {
    let largest = values.iter().copied().fold(0.0, f64::max);
    let rounding = matrix.nrows().max(matrix.ncols()) as f64 * f64::EPSILON * largest;
    let scaled = Mat::from_fn(matrix.nrows(), values.len(), |i, j| left[(i, j)] * values[j]);
    let left_over = scaled * right.subcols(0, values.len()).transpose() - matrix;
    rounding.max(CERTAIN * left_over.norm_l2())
}

//! The memory that operators take, asked for before it is taken.

use eps_math::Shape;
use eps_math::operator::OperatorSpec;

use crate::{DataError, memory};

/// Fails where the singular value decomposition of a dense operator needs more memory than there is.
///
/// The matrix is held as it was read, flat and as it is decomposed, with both sets of singular vectors, the
/// algorithm's copies of them, and what is kept of the operator: 4 rows × columns + 2 rows² + 3 columns²
/// numbers of 8 bytes, 19 GB for 16384².
///
/// # Errors
///
/// [`DataError::Invalid`] with both numbers.
pub fn require_dense(rows: usize, columns: usize) -> Result<(), DataError> {
    let (m, n) = (rows as u128, columns as u128);
    let need = u64::try_from(8 * (4 * m * n + 2 * m * m + 3 * n * n)).unwrap_or(u64::MAX);
    memory::require(
        &format!("the singular value decomposition of a {rows} x {columns} matrix"),
        need,
        "give a smaller image, or an operator that is no dense matrix",
    )
}

/// Fails where an operator for images of `shape` needs more memory than there is: before it is taken.
///
/// # Errors
///
/// [`DataError::Invalid`] with both numbers.
pub fn require_memory(spec: &OperatorSpec, shape: Shape) -> Result<(), DataError> {
    if let OperatorSpec::Dense { matrix } = spec {
        return require_dense(matrix.len(), shape.len());
    }
    // What does not fit is told when it is prepared.
    let bytes = spec.bytes(shape).unwrap_or(0);
    if bytes == 0 {
        return Ok(());
    }
    memory::require(
        &format!("the random matrix of {}", spec.family()),
        bytes,
        "ask for fewer rows or smaller images, or take walsh-hadamard, which keeps no matrix",
    )
}

/// Bytes from which on a matrix is told.
const LARGE: u64 = 100_000_000;

/// What to say of an operator whose short description stands for a large matrix.
pub fn memory_note(spec: &OperatorSpec, shape: Shape) -> Option<String> {
    let bytes = spec.bytes(shape).ok().filter(|bytes| *bytes >= LARGE)?;
    Some(format!("the random matrix of {} takes {}", spec.family(), memory::size(bytes)))
}

//! Arrays of numbers.

use std::path::Path;

use crate::DataError;

/// Numbers with their dimensions, finite unless they were read with gaps, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The dimensions, outermost first; `values` has their product as its length.
    pub dims: Vec<usize>,
    /// The values in row-major order.
    pub values: Vec<f64>,
}

/// A variable of a MAT file.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The array, or the arrays of a cell in MATLAB's order, column by column.
    pub arrays: Vec<Array>,
}

/// What becomes of values that are not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// They are an error.
    Refused,
    /// They stay: NaN is what was not measured.
    Kept,
}

/// The index of the preferred name, or of the only one where that names no group.
pub(crate) fn choose(path: &Path, names: &[String], preferred: &str) -> Result<usize, DataError> {
    match names.iter().position(|name| name == preferred) {
        Some(index) => Ok(index),
        // A name with a group means that array and no other.
        None if names.len() == 1 && !preferred.contains('/') => Ok(0),
        None => Err(DataError::malformed(
            path,
            format!("there is no array {preferred:?} among {names:?}"),
            "rename the array that is meant, or give a file with this array alone",
        )),
    }
}

/// The product of dimensions, unless it overflows.
pub(crate) fn checked_product(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim))
}

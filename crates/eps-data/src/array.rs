//! Arrays as they come from files of any format.

use std::path::Path;

use crate::hdf5_file::read_hdf5_array;
use crate::npy::{read_npy, read_npz};
use crate::{DataError, png};

/// Finite numbers with their dimensions, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The dimensions, outermost first; `values` has their product as its length.
    pub dims: Vec<usize>,
    /// The values in row-major order.
    pub values: Vec<f64>,
}

impl Array {
    /// Reads an array from a file, whose name's ending tells the format.
    ///
    /// | ending | what is read |
    /// |---|---|
    /// | `.npy` | its array |
    /// | `.npz`, `.h5`, `.hdf5` | the array (dataset) `name`, or the only one there is |
    /// | `.png` | the picture, `[C, H, W]` in [-1, 1] |
    ///
    /// # Errors
    ///
    /// [`DataError::Malformed`] for another ending or where several arrays and none called `name`
    /// are there, and the errors of each format's reader.
    pub fn read(path: &Path, name: &str) -> Result<Self, DataError> {
        if path.is_dir() {
            return Err(DataError::malformed(path, "it is a folder", "name a file"));
        }
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
        match ending.to_ascii_lowercase().as_str() {
            "npy" => read_npy(path),
            "npz" => {
                let mut arrays = read_npz(path)?;
                let names: Vec<String> = arrays.iter().map(|(name, _)| name.clone()).collect();
                let index = choose(path, &names, name)?;
                Ok(arrays.swap_remove(index).1)
            }
            "h5" | "hdf5" => read_hdf5_array(path, name),
            "png" => png::read_png(path).map(|picture| Array {
                dims: vec![picture.shape.channels, picture.shape.height, picture.shape.width],
                values: picture.values,
            }),
            _ => Err(DataError::malformed(
                path,
                format!("the name ends in {ending:?}, which tells no known format"),
                "give a file that ends in .npy, .npz, .h5, .hdf5 or .png",
            )),
        }
    }
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

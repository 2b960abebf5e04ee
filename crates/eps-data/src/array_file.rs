//! Arrays out of files of any format.

use std::fs;
use std::path::Path;

use eps_files::require_regular;

use crate::array::Gaps;
use crate::hdf5_file::read_hdf5_array_with;
use crate::mat::read_mat;
use crate::npy::{read_npy_with, read_npz_with};
use crate::raster::{ENDINGS, Format};
use crate::stored_picture::{StoredPicture, Values};
use crate::{Array, DataError, array};

impl Array {
    /// Reads an array from a file, whose name's ending tells the format.
    ///
    /// | ending | what is read |
    /// |---|---|
    /// | `.npy` | its array |
    /// | `.npz`, `.h5`, `.hdf5` | the array (dataset) `name`, or the only one there is |
    /// | `.mat` | the variable `name`, or the only one there is: an array, or a cell of one |
    /// | `.png`, `.jpg`, `.jpeg`, `.webp`, `.tif`, `.tiff`, `.bmp` | the picture, `[C, H, W]` in [-1, 1] |
    ///
    /// # Errors
    ///
    /// [`DataError::Malformed`] for another ending or where several arrays and none called `name`
    /// are there, and the errors of each format's reader.
    pub fn read(path: &Path, name: &str) -> Result<Self, DataError> {
        Ok(Self::read_with_notes(path, name)?.0)
    }

    /// [`Array::read`], and what whoever measures with the values should know of them: that a picture was
    /// compressed with losses, or that its 16 bits are not used in full.
    ///
    /// # Errors
    ///
    /// Those of [`Array::read`].
    pub fn read_with_notes(path: &Path, name: &str) -> Result<(Self, Vec<String>), DataError> {
        Self::read_with(path, name, Gaps::Refused)
    }

    /// [`Array::read_with_notes`] of values that need not be finite: NaN is what was not measured, an infinite standard
    /// deviation too.
    ///
    /// # Errors
    ///
    /// Those of [`Array::read`], but for [`DataError::NonFinite`].
    pub fn read_with_gaps(path: &Path, name: &str) -> Result<(Self, Vec<String>), DataError> {
        Self::read_with(path, name, Gaps::Kept)
    }

    fn read_with(path: &Path, name: &str, gaps: Gaps) -> Result<(Self, Vec<String>), DataError> {
        check_ending(path)?;
        let silent = |array| (array, Vec::new());
        match ending(path).as_str() {
            "npy" => read_npy_with(path, gaps).map(silent),
            "npz" => {
                let mut arrays = read_npz_with(path, gaps)?;
                let names: Vec<String> = arrays.iter().map(|(name, _)| name.clone()).collect();
                let index = array::choose(path, &names, name)?;
                Ok(silent(arrays.swap_remove(index).1))
            }
            "mat" => {
                let mut arrays = read_mat_arrays(path, name)?;
                if arrays.len() > 1 {
                    return Err(DataError::malformed(
                        path,
                        format!("the variable is a cell of {} arrays", arrays.len()),
                        "save the one that is meant as an array",
                    ));
                }
                Ok(silent(arrays.swap_remove(0)))
            }
            "h5" | "hdf5" => read_hdf5_array_with(path, name, gaps).map(silent),
            _ => read_picture(path, gaps),
        }
    }
}

/// The endings of files that hold arrays.
const ARRAYS: [&str; 5] = ["npy", "npz", "h5", "hdf5", "mat"];

/// Checks that a name tells a format that [`Array::read`] knows.
///
/// # Errors
///
/// [`DataError::Malformed`] for a folder and for another ending, [`DataError::Io`] for a named pipe or a device.
pub fn check_ending(path: &Path) -> Result<(), DataError> {
    if path.is_dir() {
        return Err(DataError::malformed(path, "it is a folder", "name a file"));
    }
    require_regular(path)?;
    let ending = ending(path);
    if ARRAYS.contains(&&*ending) || ENDINGS.contains(&&*ending) {
        return Ok(());
    }
    let problem = match &*ending {
        "" => "the name has no ending that tells its format".to_owned(),
        other => format!("the name ends in {other:?}, which tells no known format"),
    };
    Err(DataError::malformed(
        path,
        problem,
        "give a file that ends in .npy, .npz, .h5, .hdf5, .mat, .png, .jpg, .webp, .tif or .bmp: pictures of other formats can \
         be converted to PNG or, with more than 8 bits, to TIFF",
    ))
}

/// The arrays of a MAT file's variable, at least one: of `name`, or of the only one there is.
pub(crate) fn read_mat_arrays(path: &Path, name: &str) -> Result<Vec<Array>, DataError> {
    let mut variables = read_mat(path)?;
    let names: Vec<String> = variables.iter().map(|variable| variable.name.clone()).collect();
    let index = array::choose(path, &names, name)?;
    Ok(variables.swap_remove(index).arrays)
}

/// Whether a file's ending is that of MATLAB's.
pub(crate) fn is_mat(path: &Path) -> bool {
    ending(path) == "mat"
}

/// Whether a file's ending is that of a picture.
pub fn is_picture(path: &Path) -> bool {
    ENDINGS.contains(&ending(path).as_str())
}

fn ending(path: &Path) -> String {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or("").to_ascii_lowercase()
}

/// Reads a picture of any format, whatever its ending: PNG, TIFF and BMP in all of their bits, others in 8.
fn read_picture(path: &Path, gaps: Gaps) -> Result<(Array, Vec<String>), DataError> {
    let content = fs::read(path).map_err(DataError::io(path, "read"))?;
    let format = Format::required_of(path, &content)?;
    // Of WebP without losses the first chunk is called VP8L, or one of that name follows.
    let lossless = match format {
        Format::Jpeg => false,
        Format::WebP => content.windows(4).take(4096).any(|name| name == b"VP8L"),
        Format::Exact(_) => true,
    };
    let mut notes = Vec::new();
    if !lossless {
        notes.push(format!(
            "{} was compressed with losses: what they changed is no Gaussian noise, and sigma_y has to cover it; a PNG \
             keeps what was measured",
            path.display()
        ));
    }
    // A sample is held as bytes, in 16 bits and as a number.
    let stored = StoredPicture::decode(path, &content, 14)?;
    let Values { shape, values, largest } = stored.into_values(path, gaps.into())?;
    let dims = vec![shape.channels, shape.height, shape.width];
    let note = largest.and_then(|largest| unused_bits(&path.display().to_string(), largest));
    notes.extend(note.map(|note| format!("{note}, and sigma_y is that of the result")));
    Ok((Array { dims, values }, notes))
}

/// What is told of values of 16 bits, the largest of which has fewer.
pub(crate) fn unused_bits(whose: &str, largest: u16) -> Option<String> {
    let bits = u16::BITS - largest.leading_zeros();
    (1..16).contains(&bits).then(|| {
        format!(
            "the largest value of {whose} is {largest} of 65535, and 65535 is taken as white: if the values have {bits} \
             bits, multiply them by 65535/{} first",
            (1u32 << bits) - 1
        )
    })
}

//! Arrays out of files of any format.

use std::fs;
use std::path::{Path, PathBuf};

use eps_files::require_regular;

use crate::array::{Meant, Needed, Variable};
use crate::dicom_file::{is_dicom, read_dicom};
use crate::hdf5_file::{hdf5_holds, read_hdf5_array_with};
use crate::mat::{read_mat, read_mat_variable};
use crate::nifti_file::read_nifti;
use crate::npy::{npz_holds, read_npy_with, read_npz_array};
use crate::raster::{ENDINGS, Format};
use crate::stored_picture::{StoredPicture, Values};
use crate::{Array, DataError, array, tiff};

/// A file of arrays, and the array in it that a path names: `FILE#NAME`, as `scan.h5#kspace` or `scan.h5#group/kspace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayFile {
    /// The file.
    pub file: PathBuf,
    /// What follows the `#`, where something does.
    pub array: Option<String>,
}

impl ArrayFile {
    /// Splits `FILE#NAME`.
    ///
    /// A path that is there is a file, whatever is in its name. Otherwise the longest part before a `#` that is a file is the
    /// file, and where none is, the longest one whose ending tells a format: an error then names the file that is missing.
    pub fn of(path: &Path) -> Self {
        let whole = || Self { file: path.to_owned(), array: None };
        let Some(text) = path.to_str().filter(|text| text.contains('#') && !path.exists()) else {
            return whole();
        };
        let split = |at: usize| (Path::new(&text[..at]), &text[at + 1..]);
        let mut splits = text.rmatch_indices('#').map(|(at, _)| split(at));
        let is_there = |file: &Path| file.exists() && !file.is_dir();
        let found = splits.clone().find(|(file, _)| is_there(file));
        match found.or_else(|| splits.find(|(file, _)| tells_format(file))) {
            Some((file, array)) => Self { file: file.to_owned(), array: Some(array.to_owned()) },
            None => whole(),
        }
    }

    /// The file without the number of one of several kernels at the end, `FILE#3` or `FILE#NAME#3`, and that number; without one where
    /// there is an array that is named so.
    pub(crate) fn numbered(mut self) -> (Self, Option<usize>) {
        let array = self.array.as_deref().unwrap_or_default();
        let (name, number) = match array.rsplit_once('#') {
            Some((name, number)) => (Some(name), number),
            None => (None, array),
        };
        let index = number.parse().ok().filter(|_| !self.holds(array));
        if index.is_some() {
            self.array = name.map(str::to_owned);
        }
        (self, index)
    }

    /// Whether an array of this name is there; not where the file cannot be read, which its reader tells. Names of MATLAB have no
    /// numbers at their beginning.
    fn holds(&self, name: &str) -> bool {
        let found = match ending(&self.file).as_str() {
            "npz" => npz_holds(&self.file, name),
            "h5" | "hdf5" => hdf5_holds(&self.file, name),
            _ => Ok(false),
        };
        found.unwrap_or(false)
    }

    /// Reads the array that is named, otherwise that of the usual name or the only one there is.
    pub(crate) fn read(
        &self,
        usual: &str,
        needed: Needed,
    ) -> Result<(Array, Vec<String>), DataError> {
        self.check()?;
        let path = &*self.file;
        let meant = Meant::of(self.array.as_deref(), usual);
        let silent = |array| (array, Vec::new());
        match ending(path).as_str() {
            "npy" => read_npy_with(path, needed).map(silent),
            "npz" => read_npz_array(path, meant, needed).map(silent),
            "mat" => {
                let mut arrays = self.read_cell(usual, needed)?;
                if arrays.len() > 1 {
                    return Err(DataError::malformed(
                        path,
                        format!("the variable is a cell of {} arrays", arrays.len()),
                        "save the one that is meant as an array",
                    ));
                }
                Ok(silent(arrays.swap_remove(0)))
            }
            "h5" | "hdf5" => read_hdf5_array_with(path, meant, needed).map(silent),
            "nii" | "nii.gz" => read_nifti(path, needed).map(silent),
            _ if tiff::holds_numbers(path) => tiff::read_numbers(path, needed).map(silent),
            _ if has_picture_ending(path) => {
                let ReadPicture { array, notes, .. } = read_picture(path, needed)?;
                Ok((array, notes))
            }
            _ => read_dicom(path, needed),
        }
    }

    /// The arrays of a MAT file's variable, at least one: of the one that is named, otherwise of that of the usual name or of the only
    /// one there is.
    pub(crate) fn read_cell(&self, usual: &str, needed: Needed) -> Result<Vec<Array>, DataError> {
        let meant = Meant::of(self.array.as_deref(), usual);
        // What is in the others does not matter then.
        if let Some(variable) = read_mat_variable(&self.file, meant.name(), needed)? {
            return Ok(variable.arrays);
        }
        let mut variables = read_mat(&self.file)?;
        let names: Vec<String> = variables.iter().map(|variable| variable.name.clone()).collect();
        let index = array::choose(&self.file, &names, meant)?;
        let Variable { name, arrays } = variables.swap_remove(index);
        if matches!(needed, Needed::FiniteReal | Needed::RealImages) {
            // What the others are does not matter.
            read_mat_variable(&self.file, &name, needed)?;
        }
        Ok(arrays)
    }

    /// Whether the file's ending is that of MATLAB's.
    pub(crate) fn is_mat(&self) -> bool {
        ending(&self.file) == "mat"
    }

    /// Checks that the file's name tells a format that [`Array::read`] knows, and that an array is named where arrays have names.
    fn check(&self) -> Result<(), DataError> {
        let path = &*self.file;
        if path.is_dir() {
            return Err(DataError::malformed(path, "it is a folder", "name a file"));
        }
        require_regular(path)?;
        if !tells_format(path) {
            let problem = match &*ending(path) {
                "" => "the name has no ending that tells its format".to_owned(),
                other => format!("the name ends in {other:?}, which tells no known format"),
            };
            return Err(DataError::malformed(
                path,
                problem,
                "give a file that ends in .npy, .npz, .h5, .hdf5, .mat, .nii, .nii.gz, .dcm, .png, .jpg, .webp, .tif or .bmp: \
                 pictures of other formats can be converted to PNG or, with more than 8 bits, to TIFF",
            ));
        }
        let Some(array) = &self.array else { return Ok(()) };
        fs::metadata(path).map_err(DataError::io(path, "open"))?;
        let what = match &*ending(path) {
            "npy" => "an NPY file holds one array, which has no name",
            _ if is_picture(path) => "a picture holds no arrays with names",
            ending if ARRAYS.contains(&ending) => return Ok(()),
            _ if has_picture_ending(path) => "a TIFF holds one array, which has no name",
            _ => "a file of a scan holds one array, which has no name",
        };
        Err(DataError::malformed(
            path,
            format!("{what}, and {array:?} is named after the #"),
            "leave out # and what follows",
        ))
    }
}

impl Array {
    /// Reads an array from a file, whose name's ending tells the format.
    ///
    /// | ending | what is read |
    /// |---|---|
    /// | `.npy` | its array |
    /// | `.npz`, `.h5`, `.hdf5` | the array (dataset) `name`, or the only one there is |
    /// | `.mat` | the variable `name`, or the only one there is: an array, or a cell of one |
    /// | `.png`, `.jpg`, `.jpeg`, `.webp`, `.tif`, `.tiff`, `.bmp` | the picture, `[C, H, W]` in [-1, 1] |
    /// | the same, a TIFF of floats, signed or 32-bit values | the numbers as they are, `[H, W]`, or `[3, H, W]` of RGB |
    /// | `.nii`, `.nii.gz` | the scan, `[H, W]` or a stack of slices `[N, 1, H, W]`, in its scale: x is the axis of columns, as in nibabel's `get_fdata().T` |
    /// | `.dcm`, `.dicom`, `.ima`, and another that begins as DICOM does | the scan in the values of its modality, such as hounsfield units |
    ///
    /// `FILE#NAME` in the place of a path is the array NAME of a file and no other ([`ArrayFile`]); a dataset in groups of HDF5 is
    /// `FILE#group/NAME`.
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
        Self::read_with(path, name, Needed::Finite)
    }

    /// [`Array::read_with_notes`] of values that need not be finite: NaN is what was not measured, an infinite standard
    /// deviation too.
    ///
    /// # Errors
    ///
    /// Those of [`Array::read`], but for [`DataError::NonFinite`].
    pub fn read_with_gaps(path: &Path, name: &str) -> Result<(Self, Vec<String>), DataError> {
        Self::read_with(path, name, Needed::WithGaps)
    }

    /// The numbers of a picture as they are stored, from 0 to 255 or 65535, `[C, H, W]`.
    pub(crate) fn read_stored(path: &Path) -> Result<Self, DataError> {
        let ArrayFile { file, .. } = ArrayFile::of(path);
        let ReadPicture { array, white, .. } = read_picture(&file, Needed::Finite)?;
        let stored = |v: f64| (f64::midpoint(v, 1.0) * f64::from(white)).round();
        Ok(Self { values: array.values.into_iter().map(stored).collect(), ..array })
    }

    pub(crate) fn read_with(
        path: &Path,
        name: &str,
        needed: Needed,
    ) -> Result<(Self, Vec<String>), DataError> {
        ArrayFile::of(path).read(name, needed)
    }
}

/// The endings of files that hold arrays.
const ARRAYS: [&str; 5] = ["npy", "npz", "h5", "hdf5", "mat"];

/// The endings of files that hold scans; those of DICOM often have none.
const SCANS: [&str; 5] = ["nii", "nii.gz", "dcm", "dicom", "ima"];

/// Checks that a name tells a format that [`Array::read`] knows.
///
/// # Errors
///
/// [`DataError::Malformed`] for a folder, for another ending, and where an array is named after `#` in a file whose arrays have no
/// names, [`DataError::Io`] for a named pipe or a device.
pub fn check_ending(path: &Path) -> Result<(), DataError> {
    ArrayFile::of(path).check()
}

/// Whether a file is a picture, by its ending: all but a TIFF of numbers, which is an array.
pub fn is_picture(path: &Path) -> bool {
    let ArrayFile { file, .. } = ArrayFile::of(path);
    has_picture_ending(&file) && !tiff::holds_numbers(&file)
}

/// Whether a file's ending is that of arrays or scans: NPY, NPZ, HDF5, MAT, NIfTI or DICOM.
pub fn is_array(path: &Path) -> bool {
    let ending = ending(&ArrayFile::of(path).file);
    ARRAYS.contains(&&*ending) || SCANS.contains(&&*ending)
}

/// Whether a name ends as HDF5 files' do.
pub(crate) fn is_hdf5(path: &Path) -> bool {
    matches!(&*ending(path), "h5" | "hdf5")
}

/// Whether a name ends as pictures' do.
pub(crate) fn has_picture_ending(path: &Path) -> bool {
    ENDINGS.contains(&ending(path).as_str())
}

/// Whether a file's ending tells a format, or it begins as DICOM does.
pub(crate) fn tells_format(path: &Path) -> bool {
    let ending = ending(path);
    let is_known = ARRAYS.contains(&&*ending) || SCANS.contains(&&*ending);
    is_known || has_picture_ending(path) || is_dicom(path)
}

/// The last ending of a name, and that before `.gz` too.
fn ending(path: &Path) -> String {
    let last = |path: &Path| {
        path.extension().and_then(|ending| ending.to_str()).unwrap_or("").to_ascii_lowercase()
    };
    match last(path).as_str() {
        "gz" => format!("{}.gz", last(&path.with_extension(""))).trim_start_matches('.').to_owned(),
        other => other.to_owned(),
    }
}

struct ReadPicture {
    /// `[C, H, W]` on [-1, 1].
    array: Array,
    notes: Vec<String>,
    /// The number that white is stored as.
    white: u16,
}

/// Reads a picture of any format, whatever its ending: PNG, TIFF and BMP in all of their bits, others in 8.
fn read_picture(path: &Path, needed: Needed) -> Result<ReadPicture, DataError> {
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
    let white = stored.largest;
    let Values { shape, values, largest } = stored.into_values(path, needed.into())?;
    let dims = vec![shape.channels, shape.height, shape.width];
    let note = largest.and_then(|largest| unused_bits(&path.display().to_string(), largest));
    notes.extend(note.map(|note| format!("{note}, and sigma_y is that of the result")));
    Ok(ReadPicture { array: Array { dims, values }, notes, white })
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

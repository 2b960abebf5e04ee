//! The error of this crate.

use std::io;
use std::path::{Path, PathBuf};

use eps_files::{FilesError, StandIn};

/// Why a file could not be read or written.
///
/// The message names the file, the value that is wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused to read or write.
    #[error(transparent)]
    Io(#[from] FilesError),

    /// The HDF5 library refused to read or write.
    #[error("{}: cannot {action}: {error}; {remedy}", path.display())]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// What was tried, for example `open dataset "samples"`.
        action: String,
        /// The library's answer.
        error: hdf5::Error,
        /// What to do.
        remedy: &'static str,
    },

    /// A file that must be there is not.
    #[error("{} does not exist; {remedy}", path.display())]
    Missing {
        /// Where it was looked for last.
        path: PathBuf,
        /// How to get it.
        remedy: String,
    },

    /// The content contradicts the file's format.
    #[error("{}: {problem}; {remedy}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the value found and the one expected.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },

    /// A picture that shows what is behind it.
    #[error(
        "{}: the pixel in row {row}, column {column} is transparent; flatten the picture onto a \
         background first",
        path.display()
    )]
    Transparent {
        /// The file.
        path: PathBuf,
        /// The row of the first such pixel.
        row: usize,
        /// Its column.
        column: usize,
    },

    /// A picture of a source cannot be taken: it is damaged, of another kind, or transparent.
    #[error("{0}")]
    Picture(Box<DataError>),

    /// A file is not the one whose digest is known.
    #[error("{}: its SHA-256 is {found}, not {expected}; {remedy}", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// The digest of the right file, in hexadecimal.
        expected: &'static str,
        /// The digest found.
        found: String,
        /// What to do.
        remedy: &'static str,
    },

    /// A NaN or an infinity where numbers are needed.
    #[error(
        "{}: {what} holds {value} at flat index {index}; every value must be finite: \
         make the file again without NaN and infinities, with 0 where a mask hides the pixel",
        path.display()
    )]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The array, for example `samples`.
        what: String,
        /// Where, in row-major order.
        index: usize,
        /// The value.
        value: f64,
    },

    /// The content of a file is well formed and still cannot be used.
    #[error("{}: {error}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Box<DataError>,
    },

    /// A value handed to this crate cannot be used.
    #[error("{what} is {value}; {remedy}")]
    Invalid {
        /// What the value stands for.
        what: String,
        /// The value.
        value: String,
        /// What is accepted.
        remedy: String,
    },

    /// Noise that the mathematics does not admit.
    #[error("the noise of measurement {index}: {error}")]
    Noise {
        /// The measurement.
        index: usize,
        /// Why, and what is admitted.
        error: eps_math::MathError,
    },

    /// An operator that the mathematics does not admit.
    #[error("the operator of image {index}: {error}")]
    Operator {
        /// The image.
        index: usize,
        /// Why, and what is admitted.
        error: eps_math::MathError,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let named = FilesError::io(path, action);
        move |error| DataError::Io(named(error))
    }

    pub(crate) fn in_file(self, path: &Path) -> Self {
        DataError::Unusable { path: path.to_owned(), error: Box::new(self) }
    }

    pub(crate) fn malformed(path: &Path, problem: impl Into<String>, remedy: &'static str) -> Self {
        DataError::Malformed { path: path.to_owned(), problem: problem.into(), remedy }
    }

    /// What lies in the place of a file that should begin otherwise than `content`, where that is known.
    pub(crate) fn stand_in(path: &Path, content: &[u8]) -> Option<Self> {
        let found = StandIn::of(content)?;
        Some(Self::malformed(path, found.problem(), found.remedy()))
    }

    /// What lies at a path in the place of a file that its reader does not know, where that is known, and otherwise what the reader says.
    pub(crate) fn stand_in_or(path: &Path, or: impl FnOnce() -> Self) -> Self {
        match StandIn::at(path) {
            Some(found) => Self::malformed(path, found.problem(), found.remedy()),
            None => or(),
        }
    }

    pub(crate) fn invalid(
        what: impl Into<String>,
        value: impl ToString,
        remedy: impl Into<String>,
    ) -> Self {
        DataError::Invalid { what: what.into(), value: value.to_string(), remedy: remedy.into() }
    }
}

/// Fails on the first value that is not finite.
pub(crate) fn require_finite<T: Copy + Into<f64>>(
    path: &Path,
    what: &str,
    values: &[T],
) -> Result<(), DataError> {
    match first_not_finite(values) {
        None => Ok(()),
        Some((index, value)) => {
            Err(DataError::NonFinite { path: path.to_owned(), what: what.to_owned(), index, value })
        }
    }
}

/// The first value that is not finite, with its index.
pub(crate) fn first_not_finite<T: Copy + Into<f64>>(values: &[T]) -> Option<(usize, f64)> {
    values.iter().map(|&v| v.into()).enumerate().find(|(_, v): &(usize, f64)| !v.is_finite())
}

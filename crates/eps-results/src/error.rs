//! The error of this crate.

use std::io;
use std::path::PathBuf;

/// Why results could not be read.
///
/// The message names the file, what is wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// The operating system refused to read.
    #[error("cannot read {}: {error}; check the path and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },

    /// The file is no JSON of results, or a field of it is missing, unknown or of another kind.
    #[error(
        "{} is no {what}: {error}; name a file that this program wrote, or read it with the revision that \
         wrote it", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected, such as `results.json of an experiment`.
        what: &'static str,
        /// Where reading stopped and why.
        error: serde_json::Error,
    },

    /// A file of questions that asks what makes no sense.
    #[error("{}: {reason}; correct it there", path.display())]
    Questions {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// The file is of another version of the format.
    #[error(
        "{}: its format has version {found}, this program reads {known}: read it with the revision that \
         wrote it, or run the experiment again", path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it names.
        found: u32,
        /// The one that is read here.
        known: u32,
    },

    /// A row whose name is not that of its method.
    #[error(
        "{}: a row is named {found:?}, but its method is {expected:?}: run the experiment again, or read it \
         with the revision that wrote it", path.display()
    )]
    Name {
        /// The file.
        path: PathBuf,
        /// The name in the row.
        found: String,
        /// The name of its method.
        expected: String,
    },
}

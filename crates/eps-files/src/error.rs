//! The error of this crate.

use std::io;
use std::path::{Path, PathBuf};

use crate::StandIn;

/// Why a file or folder could not be read or written; each message names it and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The operating system refused to read or write.
    #[error("cannot {action} {}: {error}; {}", path.display(), remedy(error))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, for example `read`.
        action: &'static str,
        /// The system's answer.
        error: io::Error,
    },
    /// What is read as a whole and may have no end: a named pipe, a device or a socket.
    #[error("{} is no regular file, but a named pipe, a device or a socket: write what it gives to a file first", .0.display())]
    Irregular(PathBuf),
    /// Something that lies in the place of a file that was not fetched.
    #[error("{}: {found}", path.display())]
    StandIn {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: StandIn,
    },
    /// Text in another encoding than UTF-8.
    #[error(
        "{}: its text is in UTF-16, as PowerShell writes it: save it as UTF-8",
        .0.display()
    )]
    Utf16(PathBuf),
    /// A path that names no file.
    #[error("the output file is {0:?}; name a file, not a directory")]
    NoFile(PathBuf),
    /// A path that names no folder that could be made.
    #[error("the output folder is {0:?}; name a folder that is to be made")]
    NoFolder(PathBuf),
    /// A folder that cannot be made where it is wanted.
    #[error(
        "cannot write to {}, where {} should be: {error}; make that folder, or choose another",
        parent.display(),
        folder.display()
    )]
    Parent {
        /// The folder that is wanted.
        folder: PathBuf,
        /// The one that it should lie in.
        parent: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// A folder that is there already.
    #[error(
        "{} exists already: name another folder; --force replaces results of this command, and nothing else",
        .0.display()
    )]
    Exists(PathBuf),
    /// A folder that holds something else than former results.
    #[error(
        "{} exists, and other things than results of this command are in it: --force does not replace it, name \
         another folder",
        .0.display()
    )]
    Foreign(PathBuf),
    /// Finished parts of another output than is asked for.
    #[error(
        "{} holds what an earlier run with other settings or another input had finished: the same command as then goes on from it, \
         --force removes it, and another --out leaves it alone",
        folder.display()
    )]
    OtherParts {
        /// Where they are.
        folder: PathBuf,
        /// What they depend on.
        key: String,
    },
    /// A folder that something else took while the results were made; these are kept elsewhere.
    #[error("{cause}; the results are in {}", kept.display())]
    Kept {
        /// Why they could not be where they were wanted.
        cause: Box<FilesError>,
        /// Where they are.
        kept: PathBuf,
    },
    /// Former results that could neither be replaced nor put back.
    #[error("{cause}; the former results are in {}", kept.display())]
    FormerKept {
        /// What went wrong first.
        cause: Box<FilesError>,
        /// Where they are.
        kept: PathBuf,
    },
    /// Something that another process works on.
    #[error("another process works on {}: wait for it, or name another one", .0.display())]
    Busy(PathBuf),
}

impl FilesError {
    /// The error of `action` (an imperative, as `read`) on a file, from what the system answered.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| FilesError::Io { path, action, error }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path and that its directory exists",
        io::ErrorKind::PermissionDenied => "check its permissions",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some disk space",
        io::ErrorKind::FileTooLarge => {
            "write to a disk that holds larger files, or raise the limit (`ulimit -f`)"
        }
        io::ErrorKind::IsADirectory => "name a file, not a directory",
        _ => "check the path, the permissions and the free disk space",
    }
}

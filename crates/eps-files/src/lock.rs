//! One process at a time.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use crate::FilesError;

/// A lock that a process holds until it drops it or ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the file's closing is what ends the lock")] File);

impl Lock {
    /// Takes the lock that a file stands for; the file is made where it is missing, and stays.
    ///
    /// On a file system without locks every process gets it.
    ///
    /// # Errors
    /// [`FilesError::Busy`], which names `what`, where another process holds it, and [`FilesError::Io`].
    ///
    /// # Example
    ///
    /// ```
    /// let path = std::env::temp_dir().join(format!("eps-lock-{}", std::process::id()));
    /// let lock = eps_files::Lock::take(&path, std::path::Path::new("run"))?;
    /// // Two handles of one process exclude each other too.
    /// let error = eps_files::Lock::take(&path, std::path::Path::new("run")).unwrap_err();
    /// assert!(error.to_string().starts_with("another process works on run"));
    /// drop(lock);
    /// eps_files::Lock::take(&path, std::path::Path::new("run"))?;
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), eps_files::FilesError>(())
    /// ```
    pub fn take(path: &Path, what: &Path) -> Result<Self, FilesError> {
        // Opened without truncation: whoever holds the lock may have written something.
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(FilesError::io(path, "create"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(FilesError::Busy(what.to_owned())),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                Ok(Self(file))
            }
            Err(TryLockError::Error(error)) => Err(FilesError::io(path, "lock")(error)),
        }
    }
}

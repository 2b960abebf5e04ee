//! One process at a time.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::FilesError;
use crate::hidden::hidden_prefix;

/// A lock that a process holds until it drops it or ends, however it ends.
#[derive(Debug)]
pub struct Lock(File);

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

    /// Whether the file that is locked is the one of this name still: who held the lock before may have removed it after it was opened here,
    /// and others made a new one.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        is_at(&self.0, path)
    }
}

/// A lock on a file that is to be written, for as long as the writing takes.
///
/// It stands for `.NAME.lock` beside the file, which is removed when the lock is dropped. A program that is killed
/// leaves it; it is empty and hinders nobody.
#[derive(Debug)]
pub struct WriteLock {
    path: PathBuf,
    // Dropped after the file's name is gone.
    _lock: Lock,
}

impl WriteLock {
    /// Takes the lock on `target`, whether it exists or not.
    ///
    /// # Errors
    /// [`FilesError::Busy`], which names `target`, where another process holds it, [`FilesError::NoFile`] where the
    /// path names no file, and [`FilesError::Io`].
    ///
    /// # Example
    ///
    /// ```
    /// use eps_files::WriteLock;
    /// let target = std::env::temp_dir().join(format!("eps-write-lock-{}", std::process::id()));
    /// let lock = WriteLock::take(&target)?;
    /// let error = WriteLock::take(&target).unwrap_err();
    /// assert!(error.to_string().starts_with("another process works on"));
    /// drop(lock);
    /// WriteLock::take(&target)?;
    /// # Ok::<(), eps_files::FilesError>(())
    /// ```
    pub fn take(target: &Path) -> Result<Self, FilesError> {
        let Some(name) = target.file_name() else {
            return Err(FilesError::NoFile(target.to_owned()));
        };
        let mut hidden = hidden_prefix(name);
        hidden.push("lock");
        let path = target.with_file_name(hidden);
        loop {
            let lock = Lock::take(&path, target).map_err(|error| match error {
                FilesError::Io { action, error, .. } => FilesError::io(target, action)(error),
                error => error,
            })?;
            if lock.is_at(&path) {
                return Ok(WriteLock { path, _lock: lock });
            }
        }
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        // What stays is empty and locks nobody out.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether an open file is the one of this name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let place = |about: fs::Metadata| (about.dev(), about.ino());
    file.metadata().map(place).ok() == fs::metadata(path).map(place).ok()
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_on_a_file_that_was_replaced_is_not_that_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let before = Lock::take(&path, &path).unwrap();
        assert!(before.is_at(&path));
        fs::remove_file(&path).unwrap();
        assert!(!before.is_at(&path));
        let after = Lock::take(&path, &path).unwrap();
        assert!(!before.is_at(&path) && after.is_at(&path));
    }

    #[test]
    fn a_lock_on_a_file_leaves_nothing_and_is_taken_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("net.safetensors");
        let is_inside = std::sync::atomic::AtomicBool::new(false);
        let taken = std::sync::atomic::AtomicUsize::new(0);
        let ordering = std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        match WriteLock::take(&target) {
                            Ok(_lock) => {
                                assert!(!is_inside.swap(true, ordering), "two hold the lock");
                                taken.fetch_add(1, ordering);
                                is_inside.store(false, ordering);
                            }
                            Err(error) => assert!(matches!(error, FilesError::Busy(_)), "{error}"),
                        }
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let error = WriteLock::take(&dir.path().join("none/net")).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
}

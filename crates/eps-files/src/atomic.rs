//! Files that are either complete or absent.
//!
//! A writer fills a temporary file in the directory of its target (its name ends in `.part`) and
//! renames it when all is written. Where the writer fails, the temporary file is removed and a
//! former file of the target's name stays as it was.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::FilesError;
use crate::hidden::{PART, folder_of, hidden_prefix};

/// Writes a file through `write` and puts it in place only if all went well.
///
/// # Errors
///
/// [`FilesError::Io`] where the directory cannot be written to, or with the error of `write`;
/// [`FilesError::NoFile`] where the path names none.
///
/// # Example
///
/// ```
/// use std::io::Write as _;
/// let dir = std::env::temp_dir();
/// let path = dir.join(format!("eps-atomic-{}.txt", std::process::id()));
/// eps_files::write_atomically(&path, |file| writeln!(file, "complete"))?;
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "complete\n");
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), eps_files::FilesError>(())
/// ```
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> Result<(), FilesError> {
    let mut part = PartFile::create(path)?;
    let mut writer = BufWriter::new(part.file.as_file_mut());
    write(&mut writer).and_then(|()| writer.flush()).map_err(FilesError::io(path, "write"))?;
    drop(writer);
    part.finish()
}

/// Writes a file of these bytes, as [`write_atomically`] does.
///
/// # Errors
///
/// [`FilesError::Io`] and [`FilesError::NoFile`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    let mut part = PartFile::create(path)?;
    part.file.write_all(bytes).map_err(FilesError::io(path, "write"))?;
    part.finish()
}

/// A file under its temporary name, for writers that need a path (HDF5) or more than one step.
///
/// Dropped without [`PartFile::finish`], it is removed.
#[derive(Debug)]
pub struct PartFile {
    file: NamedTempFile,
    target: PathBuf,
}

impl PartFile {
    /// Creates an empty temporary file beside `target`.
    ///
    /// # Errors
    ///
    /// [`FilesError::Io`] where the directory does not exist or cannot be written to;
    /// [`FilesError::NoFile`] where `target` has no file name.
    pub fn create(target: &Path) -> Result<Self, FilesError> {
        let Some(name) = target.file_name() else {
            return Err(FilesError::NoFile(target.to_owned()));
        };
        let prefix = hidden_prefix(name);
        let mut builder = Builder::new();
        builder.prefix(&prefix).suffix(PART);
        // A private mode would survive the rename: ask for what `File::create` gives.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file =
            builder.tempfile_in(folder_of(target)).map_err(FilesError::io(target, "create"))?;
        Ok(PartFile { file, target: target.to_owned() })
    }

    /// Where the temporary file lies.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Where the file will lie.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Fills the file with this many bytes, to see whether they fit on the disk.
    ///
    /// # Errors
    ///
    /// What the system answers, [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::FileTooLarge`] where they do not.
    pub fn fill_with_zeros(&mut self, bytes: u64) -> io::Result<()> {
        let file = self.file.as_file_mut();
        io::copy(&mut io::repeat(0).take(bytes), file)?;
        // Some file systems notice a full disk only here.
        file.sync_all()
    }

    /// Flushes the file to the disk and gives it its name.
    ///
    /// # Errors
    ///
    /// [`FilesError::Io`] where that fails; the temporary file is removed then.
    pub fn finish(self) -> Result<(), FilesError> {
        let PartFile { file, target } = self;
        file.as_file().sync_all().map_err(FilesError::io(&target, "write"))?;
        file.persist(&target).map_err(|e| FilesError::io(&target, "rename to")(e.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_the_former_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomically(&path, |file| file.write_all(b"first")).unwrap();
        let error = write_atomically(&path, |file| {
            file.write_all(b"half of the sec")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err()
        .to_string();
        assert!(error.contains("a.txt") && error.contains("free some disk space"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["a.txt"]);
    }

    #[test]
    fn a_part_file_that_is_dropped_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let part = PartFile::create(&dir.path().join("b.h5")).unwrap();
        assert!(part.path().exists());
        drop(part);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_missing_directory_and_a_nameless_target_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = PartFile::create(&dir.path().join("no/c.h5")).unwrap_err().to_string();
        assert!(error.contains("no/c.h5") && error.contains("its directory exists"), "{error}");
        let error = PartFile::create(Path::new("..")).unwrap_err().to_string();
        assert!(error.contains("\"..\"") && error.contains("name a file"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_was_written() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let path = dir.path().join("a.txt");
        write_atomically(&path, |_| Ok(())).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }
}

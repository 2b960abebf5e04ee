//! What is done of an output that takes long, so that a program that was killed can go on.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::hidden::{PART, folder_of, hidden_prefix};
use crate::{FilesError, Lock, sha256, write_bytes};

/// The file that has the key.
const KEY: &str = "key";

/// The file that stands for the lock.
const LOCK: &str = "lock";

/// The parts of an output that is being made, in a hidden folder beside it, `.NAME.unfinished`.
///
/// One process has it at a time. Parts belong to a key, which is to name all that they depend on: those of another
/// key are removed. A program that fails or is killed leaves the parts that it has kept, and nothing where it has
/// kept none. Each part ends with its digest: one that was damaged is none.
#[derive(Debug)]
pub struct Unfinished {
    folder: PathBuf,
    holds_parts: bool,
    /// The last to be dropped.
    _lock: Lock,
}

/// What was kept of earlier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// Nothing.
    None,
    /// Parts of the same output.
    OfThis,
    /// Parts of another output, which are removed.
    OfAnother,
}

impl Unfinished {
    /// Takes the place of an output for this process, and removes what writers of it that were killed have left.
    ///
    /// # Errors
    /// [`FilesError::Busy`] where another process makes the same output, [`FilesError::NoFile`] for a path without
    /// a name, [`FilesError::Parent`] where the folder of the output cannot be written to.
    pub fn claim(target: &Path) -> Result<Self, FilesError> {
        let name = target.file_name().ok_or_else(|| FilesError::NoFile(target.to_owned()))?;
        let absolute = std::path::absolute(target).map_err(FilesError::io(target, "find"))?;
        let parent = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        let mut folder = hidden_prefix(name);
        folder.push("unfinished");
        let folder = parent.join(folder);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(FilesError::Parent { folder: target.to_owned(), parent, error });
            }
            _ => {}
        }
        let lock = Lock::take(&folder.join(LOCK), target)?;
        // Whoever held it may have removed it since it was opened.
        if !lock.is_at(&folder.join(LOCK)) {
            return Err(FilesError::Busy(target.to_owned()));
        }
        let holds_parts = folder.join(KEY).exists();
        let claimed = Self { folder, holds_parts, _lock: lock };
        remove_leftovers(target);
        Ok(claimed)
    }

    /// Says what the parts depend on; gives whether there are parts of this key, or were some of another, which are removed where
    /// `replaces` says so.
    ///
    /// # Errors
    /// [`FilesError::Io`]; [`FilesError::OtherParts`], with their key, where parts of another are there that are not to be replaced.
    pub fn of_key(&mut self, key: &str, replaces: bool) -> Result<Parts, FilesError> {
        let path = self.folder.join(KEY);
        let found = fs::read(&path).unwrap_or_default();
        if found == key.as_bytes() {
            return Ok(Parts::OfThis);
        }
        let parts = self.parts()?;
        let former = if parts.is_empty() { Parts::None } else { Parts::OfAnother };
        if former == Parts::OfAnother && !replaces {
            let key = String::from_utf8_lossy(&found).into_owned();
            return Err(FilesError::OtherParts { folder: self.folder.clone(), key });
        }
        for part in parts {
            let part = self.folder.join(part);
            fs::remove_file(&part).map_err(FilesError::io(&part, "remove"))?;
        }
        self.holds_parts = false;
        write_bytes(&path, key.as_bytes())?;
        Ok(former)
    }

    /// The names of all parts that are kept, in their order.
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub fn parts(&self) -> Result<Vec<OsString>, FilesError> {
        let entries = fs::read_dir(&self.folder).map_err(FilesError::io(&self.folder, "list"))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names: Vec<OsString> = names
            .filter(|name| !name.as_ref().is_ok_and(|name| name == LOCK || name == KEY))
            .collect::<Result<_, _>>()
            .map_err(FilesError::io(&self.folder, "list"))?;
        names.sort();
        Ok(names)
    }

    /// A part, where it is kept and whole.
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub fn part(&self, name: impl AsRef<OsStr>) -> Result<Option<Vec<u8>>, FilesError> {
        let path = self.folder.join(name.as_ref());
        match fs::read(&path) {
            Ok(mut bytes) => {
                let of_part = bytes.len().saturating_sub(sha256(b"").len());
                let digest = bytes.split_off(of_part);
                Ok((digest == sha256(&bytes).as_bytes()).then_some(bytes))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FilesError::io(&path, "read")(error)),
        }
    }

    /// Keeps a part.
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub fn keep(&mut self, name: &str, bytes: &[u8]) -> Result<(), FilesError> {
        write_bytes(&self.folder.join(name), &[bytes, sha256(bytes).as_bytes()].concat())?;
        self.holds_parts = true;
        Ok(())
    }

    /// Where the parts are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether any part is kept.
    pub fn holds_parts(&self) -> bool {
        self.holds_parts
    }

    /// Removes all parts: the output is complete.
    pub fn finish(mut self) {
        self.holds_parts = false;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.holds_parts {
            // A folder that cannot be removed is one that the next run of the command clears.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Removes the temporary files and folders of an output (`.NAME.XXXXXX.part`): for whoever holds its lock, so that
/// their writers are gone.
pub fn remove_leftovers(target: &Path) {
    let hidden = hidden_prefix(target.file_name().unwrap_or_default());
    let Ok(entries) = fs::read_dir(folder_of(target)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let (name, hidden) = (name.as_encoded_bytes(), hidden.as_encoded_bytes());
        let middle = name.strip_prefix(hidden).and_then(|rest| rest.strip_suffix(PART.as_bytes()));
        // The six characters of a temporary name: another output may be called NAME.something.
        if middle
            .is_some_and(|middle| middle.len() == 6 && middle.iter().all(u8::is_ascii_alphanumeric))
        {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn parts_of_one_key_are_found_again_and_those_of_another_removed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let mut first = Unfinished::claim(&target).unwrap();
        assert_eq!(first.of_key("a", false).unwrap(), Parts::None);
        first.keep("0", b"zero").unwrap();
        drop(first);
        assert_eq!(names(dir.path()), [".out.unfinished"]);

        let mut again = Unfinished::claim(&target).unwrap();
        assert_eq!(again.of_key("a", false).unwrap(), Parts::OfThis);
        assert_eq!(again.part("0").unwrap().as_deref(), Some(&b"zero"[..]));
        assert_eq!(again.part("1").unwrap(), None);
        again.keep("1", b"one").unwrap();
        assert_eq!(again.parts().unwrap(), ["0", "1"]);
        // A bit that is flipped, and an end that is missing.
        let path = again.folder().join("1");
        let whole = fs::read(&path).unwrap();
        for damaged in [[&[whole[0] ^ 1], &whole[1..]].concat(), whole[1..].to_vec(), vec![]] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(again.part("1").unwrap(), None);
        }
        drop(again);
        let mut other = Unfinished::claim(&target).unwrap();
        // Nothing that took time is removed without being asked.
        let error = other.of_key("b", false).unwrap_err();
        assert!(matches!(&error, FilesError::OtherParts { key, .. } if key == "a"), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(".out.unfinished") && error.contains("--force"), "{error}");
        assert_eq!(other.part("0").unwrap().as_deref(), Some(&b"zero"[..]));
        assert_eq!(other.of_key("b", true).unwrap(), Parts::OfAnother);
        assert_eq!(other.part("0").unwrap(), None);
        other.keep("0", b"other").unwrap();
        other.finish();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_second_process_is_refused_and_nothing_is_left_without_parts() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let mut first = Unfinished::claim(&target).unwrap();
        let error = Unfinished::claim(&target).unwrap_err().to_string();
        assert!(error.starts_with("another process works on") && error.contains("out"), "{error}");
        first.of_key("a", false).unwrap();
        drop(first);
        assert!(names(dir.path()).is_empty());
        let error = Unfinished::claim(&dir.path().join("no/out")).unwrap_err().to_string();
        assert!(error.contains("make that folder"), "{error}");
    }

    #[test]
    fn leftovers_of_this_output_alone_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".out.a1B2c3.part", ".out.h5.a1B2c3.part", ".out.notes.part", "out.part"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join(".out.ABCDEF.part")).unwrap();
        drop(Unfinished::claim(&dir.path().join("out")).unwrap());
        assert_eq!(names(dir.path()), [".out.h5.a1B2c3.part", ".out.notes.part", "out.part"]);
    }
}

//! Output folders that appear whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::FilesError;
use crate::hidden::{PART, folder_of, hidden_prefix};

/// The file that tells what a folder of results holds.
const CONFIG: &str = "config.json";

/// What becomes of a folder that is there already.
#[derive(Debug, Clone, Copy)]
pub enum Former {
    /// It stays, and nothing can be written in its place.
    Stays,
    /// It is replaced if it holds results of the same kind and nothing else: the function is given the content of its
    /// `config.json` and the names of all that lies in it, in folders as `FOLDER/NAME`.
    Replaced(fn(&Value, &[String]) -> bool),
}

/// A folder that is yet to be written.
#[derive(Debug)]
pub struct OutputFolder {
    /// As the user names it.
    named: PathBuf,
    /// From the root, as the working folder may move while the program works.
    target: PathBuf,
    former: Former,
}

impl OutputFolder {
    /// Checks, before any work, that the folder can be written; it leaves nothing behind.
    ///
    /// # Errors
    /// [`FilesError::NoFolder`], [`FilesError::Exists`] and [`FilesError::Foreign`] where something that stays is in
    /// its place, [`FilesError::Parent`] where its parent cannot be written to.
    pub fn plan(target: &Path, former: Former) -> Result<Self, FilesError> {
        let absolute = std::path::absolute(target).ok().filter(|_| target.file_name().is_some());
        let absolute = absolute.ok_or_else(|| FilesError::NoFolder(target.to_owned()))?;
        let folder = Self { named: target.to_owned(), target: absolute, former };
        folder.check()?;
        folder.part().map(drop)?;
        Ok(folder)
    }

    /// Checks that nothing but former results is in the folder's place.
    fn check(&self) -> Result<(), FilesError> {
        let target = &self.target;
        if target.symlink_metadata().is_err() {
            return Ok(());
        }
        let Former::Replaced(is_results) = self.former else {
            return Err(FilesError::Exists(self.named.clone()));
        };
        let results = || -> Option<bool> {
            let config = fs::read(target.join(CONFIG)).ok()?;
            let mut names = Vec::new();
            list(target, "", &mut names)?;
            Some(is_results(&serde_json::from_slice(&config).ok()?, &names))
        };
        if results() == Some(true) { Ok(()) } else { Err(FilesError::Foreign(self.named.clone())) }
    }

    /// Fills a folder beside the target by `write` and gives it its name.
    ///
    /// # Errors
    /// Those of `write` and of the file system; the target is then as it was. Where something else has taken its
    /// place meanwhile, the results have another name, and the error ([`FilesError::Kept`]) says which.
    pub fn write<E: From<FilesError>>(
        self,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let part = self.part()?;
        write(part.path())?;
        Ok(self.put(part)?)
    }

    /// Gives a filled folder its name.
    fn put(&self, part: TempDir) -> Result<(), FilesError> {
        if let Err(error) = self.check() {
            let kept = part.keep();
            let other = self.free_name().unwrap_or_else(|| kept.clone());
            let kept = if fs::rename(&kept, &other).is_ok() { other } else { kept };
            return Err(FilesError::Kept { cause: Box::new(error), kept });
        }
        // The former results go into a temporary folder, so that they can come back.
        let former = if self.target.exists() {
            let former = self.part()?;
            fs::rename(&self.target, former.path().join("former"))
                .map_err(FilesError::io(&self.named, "move the former results from"))?;
            Some(former)
        } else {
            None
        };
        if let Err(error) = fs::rename(part.path(), &self.target) {
            let error = FilesError::io(&self.named, "move the results to")(error);
            let Some(former) = former else { return Err(error) };
            let kept = former.keep().join("former");
            return Err(match fs::rename(&kept, &self.target) {
                Ok(()) => error,
                Err(_) => FilesError::FormerKept { cause: Box::new(error), kept },
            });
        }
        // The temporary name is gone: nothing is left to be removed.
        let _ = part.keep();
        Ok(())
    }

    /// The first of NAME-2, NAME-3, … that is not there.
    fn free_name(&self) -> Option<PathBuf> {
        let named = |number: u32| {
            let mut name = self.target.file_name()?.to_owned();
            name.push(format!("-{number}"));
            Some(self.target.with_file_name(name))
        };
        (2..1000).filter_map(named).find(|path| path.symlink_metadata().is_err())
    }

    fn part(&self) -> Result<TempDir, FilesError> {
        let parent = folder_of(&self.target);
        let prefix = hidden_prefix(self.target.file_name().unwrap_or_default());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(PART);
        // A private mode would survive the rename: ask for what `mkdir` gives.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        builder.tempdir_in(parent).map_err(|error| FilesError::Parent {
            folder: self.named.clone(),
            parent: parent.to_owned(),
            error,
        })
    }
}

/// Adds the names of all that lies in a folder, from the folder on; none where it cannot be listed, or a name is no UTF-8.
fn list(folder: &Path, before: &str, names: &mut Vec<String>) -> Option<()> {
    for entry in fs::read_dir(folder).ok()? {
        let entry = entry.ok()?;
        let name = format!("{before}{}", entry.file_name().into_string().ok()?);
        if entry.file_type().ok()?.is_dir() {
            list(&entry.path(), &format!("{name}/"), names)?;
        }
        names.push(name);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn fill(text: &str) -> impl FnOnce(&Path) -> Result<(), FilesError> {
        move |folder| crate::write_bytes(&folder.join(CONFIG), text.as_bytes())
    }

    fn plan(target: &Path, force: bool) -> Result<OutputFolder, FilesError> {
        let replaced = Former::Replaced(|config, names| config.is_u64() && names == [CONFIG]);
        OutputFolder::plan(target, if force { replaced } else { Former::Stays })
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let folder = plan(&target, false).unwrap();
        assert!(names(dir.path()).is_empty());
        let failing = |folder: &Path| -> Result<(), FilesError> {
            crate::write_bytes(&folder.join("half"), b"")?;
            Err(FilesError::NoFile(PathBuf::from("no more")))
        };
        assert!(folder.write(failing).is_err());
        assert!(names(dir.path()).is_empty());

        plan(&target, false).unwrap().write(fill("1")).unwrap();
        assert_eq!(names(dir.path()), ["out"]);
        assert_eq!(names(&target), [CONFIG]);
    }

    #[test]
    fn results_are_replaced_by_force_alone_and_nothing_else_ever() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        plan(&target, false).unwrap().write(fill("1")).unwrap();
        let error = plan(&target, false).unwrap_err().to_string();
        assert!(error.contains("exists already") && error.contains("--force"), "{error}");
        plan(&target, true).unwrap().write(fill("2")).unwrap();
        assert_eq!(fs::read_to_string(target.join(CONFIG)).unwrap(), "2");
        assert_eq!(names(dir.path()), ["out"]);

        // A folder of other things, one with a file of the user's beside the results, and another command's.
        let other = dir.path().join("letters");
        for content in [vec![], vec![(CONFIG, "1"), ("mine.h5", "")], vec![(CONFIG, "{}")]] {
            fs::create_dir(&other).unwrap();
            for (name, text) in content {
                fs::write(other.join(name), text).unwrap();
            }
            let error = plan(&other, true).unwrap_err().to_string();
            assert!(error.contains("does not replace it"), "{error}");
            fs::remove_dir_all(&other).unwrap();
        }
    }

    #[test]
    fn a_folder_that_appears_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        for (force, number) in [(false, 2), (true, 3)] {
            let folder = plan(&target, force).unwrap();
            fs::create_dir(&target).unwrap();
            fs::write(target.join("notes.txt"), "precious").unwrap();
            let error = folder.write(fill("1")).unwrap_err().to_string();
            let kept = dir.path().join(format!("out-{number}"));
            assert!(error.ends_with(&format!("the results are in {}", kept.display())), "{error}");
            assert_eq!(names(&kept), [CONFIG]);
            assert_eq!(names(&target), ["notes.txt"]);
            fs::remove_dir_all(&target).unwrap();
        }
    }

    #[test]
    fn a_missing_parent_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = plan(&dir.path().join("no/out"), false).unwrap_err().to_string();
        assert!(error.contains("make that folder"), "{error}");
    }
}

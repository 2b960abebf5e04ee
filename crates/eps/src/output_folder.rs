//! Output folders that appear whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// The file that marks a folder as written by this program.
const MARK: &str = "config.json";

/// A folder that is yet to be written.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    target: PathBuf,
}

impl OutputFolder {
    /// Checks, before any work, that the folder can be written; it leaves nothing behind.
    ///
    /// With `force` a folder that an earlier run has written may be there; it is replaced in the end.
    ///
    /// # Errors
    /// A folder that is there already, or whose parent cannot be written to.
    pub(crate) fn plan(target: &Path, force: bool) -> Result<Self> {
        let shown = target.display();
        ensure!(target.file_name().is_some(), "--out {shown}: name a folder that is to be made");
        if target.symlink_metadata().is_ok() {
            ensure!(force, "--out {shown} exists already: name another folder, or add --force");
            ensure!(
                target.join(MARK).is_file(),
                "--out {shown} exists and is no folder of results (it has no {MARK}): --force does \
                 not replace it, name another folder"
            );
        }
        let folder = Self { target: target.to_owned() };
        folder.part().map(drop)?;
        Ok(folder)
    }

    /// Fills a folder beside the target by `write` and gives it its name.
    ///
    /// # Errors
    /// Those of `write` and of the file system; the target is then as it was.
    pub(crate) fn write(self, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let part = self.part()?;
        write(part.path())?;
        let failed = || format!("cannot move the results to {}", self.target.display());
        // The former results go into a temporary folder, so that they can come back.
        let former = if self.target.exists() {
            let former = self.part()?;
            fs::rename(&self.target, former.path().join("former")).with_context(failed)?;
            Some(former)
        } else {
            None
        };
        if let Err(error) = fs::rename(part.path(), &self.target) {
            if let Some(former) = former {
                fs::rename(former.path().join("former"), &self.target).with_context(failed)?;
            }
            return Err(error).with_context(failed);
        }
        // The temporary name is gone: nothing is left to be removed.
        let _ = part.keep();
        Ok(())
    }

    fn part(&self) -> Result<TempDir> {
        let parent = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = self.target.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".part");
        // A private mode would survive the rename: ask for what `mkdir` gives.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        builder.tempdir_in(parent).with_context(|| {
            format!(
                "cannot write to {}, where --out {} should be: make that folder, or choose another",
                parent.display(),
                self.target.display()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn fill(text: &str) -> impl FnOnce(&Path) -> Result<()> {
        move |folder| Ok(fs::write(folder.join(MARK), text)?)
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let plan = OutputFolder::plan(&target, false).unwrap();
        assert!(names(dir.path()).is_empty());
        let failing = |folder: &Path| -> Result<()> {
            fs::write(folder.join("half"), "")?;
            bail!("no more")
        };
        assert!(plan.write(failing).is_err());
        assert!(names(dir.path()).is_empty());

        OutputFolder::plan(&target, false).unwrap().write(fill("1")).unwrap();
        assert_eq!(names(dir.path()), ["out"]);
        assert_eq!(names(&target), [MARK]);
    }

    #[test]
    fn results_are_replaced_by_force_alone_and_nothing_else_ever() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        OutputFolder::plan(&target, false).unwrap().write(fill("1")).unwrap();
        let error = OutputFolder::plan(&target, false).unwrap_err().to_string();
        assert!(error.contains("exists already") && error.contains("--force"), "{error}");
        OutputFolder::plan(&target, true).unwrap().write(fill("2")).unwrap();
        assert_eq!(fs::read_to_string(target.join(MARK)).unwrap(), "2");
        assert_eq!(names(dir.path()), ["out"]);

        let other = dir.path().join("letters");
        fs::create_dir(&other).unwrap();
        let error = OutputFolder::plan(&other, true).unwrap_err().to_string();
        assert!(error.contains("does not replace it"), "{error}");
    }

    #[test]
    fn a_missing_parent_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = OutputFolder::plan(&dir.path().join("no/out"), false).unwrap_err().to_string();
        assert!(error.contains("make that folder"), "{error}");
    }
}

//! Output folders that appear whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// The file that tells what a folder holds.
const CONFIG: &str = "config.json";

/// What is asked of a folder that is there already: whether results of this kind, and nothing else, are in it.
pub(crate) type IsResults = fn(&Value, &[String]) -> bool;

/// A folder that is yet to be written.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    /// As the user names it.
    named: PathBuf,
    /// From the root, as the working folder may move while the program works.
    target: PathBuf,
    force: bool,
    is_results: IsResults,
}

impl OutputFolder {
    /// Checks, before any work, that the folder can be written; it leaves nothing behind.
    ///
    /// With `force` a folder that an earlier run has written may be there; it is replaced in the end.
    /// `is_results` is given the content of its config.json and the names of all that lies in it.
    ///
    /// # Errors
    /// A folder that is there already, or whose parent cannot be written to.
    pub(crate) fn plan(target: &Path, force: bool, is_results: IsResults) -> Result<Self> {
        let shown = target.display();
        ensure!(target.file_name().is_some(), "--out {shown}: name a folder that is to be made");
        let absolute = std::path::absolute(target).with_context(|| format!("--out {shown}"))?;
        let folder = Self { named: target.to_owned(), target: absolute, force, is_results };
        folder.check()?;
        folder.part().map(drop)?;
        Ok(folder)
    }

    /// Checks that nothing but former results is in the folder's place.
    fn check(&self) -> Result<()> {
        let (shown, target) = (self.named.display(), &self.target);
        if target.symlink_metadata().is_err() {
            return Ok(());
        }
        ensure!(self.force, "--out {shown} exists already: name another folder, or add --force");
        let results = || -> Option<bool> {
            let config = fs::read(target.join(CONFIG)).ok()?;
            let entries = fs::read_dir(target).ok()?;
            let names = entries.map(|entry| entry.ok()?.file_name().into_string().ok());
            let names = names.collect::<Option<Vec<String>>>()?;
            Some((self.is_results)(&serde_json::from_slice(&config).ok()?, &names))
        };
        ensure!(
            results() == Some(true),
            "--out {shown} exists, and other things than results of this command are in it: --force does \
             not replace it, name another folder"
        );
        Ok(())
    }

    /// Fills a folder beside the target by `write` and gives it its name.
    ///
    /// # Errors
    /// Those of `write` and of the file system; the target is then as it was. Where something else has taken its
    /// place meanwhile, the results have another name, and the error says which.
    pub(crate) fn write(self, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let part = self.part()?;
        write(part.path())?;
        if let Err(error) = self.check() {
            let kept = part.keep();
            let other = self.free_name().unwrap_or_else(|| kept.clone());
            fs::rename(&kept, &other)
                .with_context(|| format!("{error:#}; the results are in {}", kept.display()))?;
            bail!("{error:#}; the results are in {}", other.display());
        }
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
                let former = former.keep().join("former");
                let lost = || format!("the former results are in {}", former.display());
                fs::rename(&former, &self.target).with_context(lost).with_context(failed)?;
            }
            return Err(error).with_context(failed);
        }
        // The temporary name is gone: nothing is left to be removed.
        let _ = part.keep();
        Ok(())
    }

    /// The first of NAME-2, NAME-3, … that is not there.
    fn free_name(&self) -> Option<PathBuf> {
        let name = self.target.file_name()?.to_string_lossy();
        let named = |number: u32| self.target.with_file_name(format!("{name}-{number}"));
        (2..1000).map(named).find(|path| path.symlink_metadata().is_err())
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
                self.named.display()
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
        move |folder| Ok(fs::write(folder.join(CONFIG), text)?)
    }

    fn plan(target: &Path, force: bool) -> Result<OutputFolder> {
        OutputFolder::plan(target, force, |config, names| config.is_u64() && names == [CONFIG])
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let folder = plan(&target, false).unwrap();
        assert!(names(dir.path()).is_empty());
        let failing = |folder: &Path| -> Result<()> {
            fs::write(folder.join("half"), "")?;
            bail!("no more")
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

//! Copies of files and folders.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::output;

/// Copies the files of a repository that git tracks or would track. What is the same stays untouched, so that cargo
/// compiles what changed alone, and what is no longer there goes.
pub(super) fn tree(repository: &Path, copy: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = output(git.current_dir(repository))
        .context("a pack is made of a clone of the repository, and needs git")?;
    let is_there = |name: &&str| repository.join(name).is_file();
    let names: BTreeSet<&Path> =
        listed.split_terminator('\0').filter(is_there).map(Path::new).collect();
    for name in &names {
        let (from, to) = (repository.join(name), copy.join(name));
        let is_same = fs::read(&to)
            .ok()
            .is_some_and(|found| fs::read(&from).is_ok_and(|expected| found == expected));
        if !is_same {
            path(&from, &to)?;
        }
    }
    for (found, _) in sizes(copy)? {
        if !names.contains(found.as_path()) {
            let found = copy.join(found);
            fs::remove_file(&found)
                .with_context(|| format!("could not remove {}", found.display()))?;
        }
    }
    Ok(())
}

/// Copies a file, or a folder with all that is in it.
pub(super) fn path(from: &Path, to: &Path) -> Result<()> {
    let failed = || format!("could not copy {} to {}", from.display(), to.display());
    if from.is_dir() {
        for entry in fs::read_dir(from).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            path(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::copy(from, to).with_context(failed)?;
    Ok(())
}

/// Lets everybody run a file.
pub(super) fn make_executable(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("could not make {} executable", path.display()))
}

/// All files below a folder, by their paths in it, with their bytes.
pub(super) fn sizes(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut sizes = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let failed = || format!("could not list {}", next.display());
        for entry in fs::read_dir(&next).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            let metadata = entry.metadata().with_context(failed)?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                let name = path.strip_prefix(folder).unwrap_or(&path).to_owned();
                sizes.push((name, metadata.len()));
            }
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder;

    #[test]
    fn a_copy_follows_its_tree_and_keeps_what_is_the_same() {
        let base = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        folder::create_empty(&base).unwrap();
        let (tree_, copy) = (base.join("tree"), base.join("copy"));
        fs::create_dir_all(tree_.join("deep")).unwrap();
        fs::create_dir(&copy).unwrap();
        output(Command::new("git").args(["init", "--quiet"]).current_dir(&tree_)).unwrap();
        fs::write(tree_.join(".gitignore"), "ignored\n").unwrap();
        for name in ["a", "deep/b", "ignored"] {
            fs::write(tree_.join(name), name).unwrap();
        }
        tree(&tree_, &copy).unwrap();
        let before = fs::metadata(copy.join("a")).unwrap().modified().unwrap();
        fs::remove_file(tree_.join("deep/b")).unwrap();
        fs::write(tree_.join("c"), "c").unwrap();
        tree(&tree_, &copy).unwrap();
        let mut found = sizes(&copy).unwrap();
        found.sort();
        let after = fs::metadata(copy.join("a")).unwrap().modified().unwrap();
        folder::remove(&base).unwrap();
        let expected = [(".gitignore", 8), ("a", 1), ("c", 1)];
        assert_eq!(found, expected.map(|(name, bytes)| (PathBuf::from(name), bytes)));
        assert_eq!(before, after);
    }
}

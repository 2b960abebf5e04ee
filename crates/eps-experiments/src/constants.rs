//! The contenders' constants: which value counts, and changing the file of them.

use std::fs::File;
use std::path::Path;

use eps_math::Task;
use eps_results::{Constants, Contender};

use crate::error::Result;
use crate::files::{make_folder, write_json};
use eps::contender::tunable;

/// The constant of a contender for a task: the tuned one, else the starting value.
pub(crate) fn value(constants: &Constants, contender: Contender, task: Task) -> f64 {
    constants.find(contender, task).map_or_else(|| tunable(contender, task).start, |t| t.value)
}

/// Changes a file of constants, which other runs may change meanwhile: each waits for the others.
///
/// # Errors
/// A file that is damaged or cannot be written.
pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Constants)) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    make_folder(folder)?;
    // The file is replaced, so that its folder is locked; where folders have no locks, nothing is.
    let lock = File::open(folder);
    if let Ok(lock) = &lock {
        let _ = lock.lock();
    }
    let mut constants = Constants::read(path)?;
    change(&mut constants);
    write_json(path, &constants)
}

#[cfg(test)]
mod tests {
    use eps_results::Tuned;

    use super::*;

    #[test]
    fn a_tuned_constant_replaces_the_starting_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("constants.json");
        let starting = Constants::read(&path).unwrap();
        assert_eq!(value(&starting, Contender::Dps, Task::MotionBlur), 2.5);
        // One of the committed constants, with another value.
        let committed = Constants::read(&eps::dataset::constants("fashion-mnist")).unwrap();
        let known = committed.find(Contender::Dps, Task::MotionBlur).unwrap();
        let tuned = |contender, value| Tuned { contender, value, ..known.clone() };
        for found in [(Contender::Mpgd, 3.0), (Contender::Dps, 1.0), (Contender::Dps, 0.5)] {
            change(&path, |constants| constants.set(tuned(found.0, found.1))).unwrap();
        }
        let read = Constants::read(&path).unwrap();
        assert_eq!(read.tuned.len(), 2);
        assert_eq!(value(&read, Contender::Dps, Task::MotionBlur), 0.5);
        assert_eq!(value(&read, Contender::Dps, Task::BoxInpainting), 10.0);
    }
}

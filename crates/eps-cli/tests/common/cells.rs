//! The cells of an experiment, which a run that was cut off goes on from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The cells of the run in `out`, with the times at which they were written.
pub(crate) fn cells(out: &Path) -> BTreeMap<PathBuf, SystemTime> {
    std::fs::read_dir(out.join("cells"))
        .expect("cells")
        .map(|entry| {
            let path = entry.expect("a cell").path();
            let written = path.metadata().and_then(|file| file.modified()).expect("a time");
            (path, written)
        })
        .collect()
}

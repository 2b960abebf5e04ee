//! Folders in which something arrives: emptied before, gone after.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Creates a folder, or empties it where an earlier call was killed.
pub(crate) fn create_empty(folder: &Path) -> Result<()> {
    remove(folder)?;
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))
}

/// Removes a folder and everything in it, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("could not remove {}", folder.display()))?;
    }
    Ok(())
}

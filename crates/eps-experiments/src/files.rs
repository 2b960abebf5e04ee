//! The files of a run's folder.

use std::io::Write as _;
use std::path::Path;

use eps_files::write_atomically;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};

/// Refuses a folder that holds something else than this experiment, of which an earlier run goes on.
///
/// # Errors
/// A folder whose `config.json` is another's.
pub fn check_folder(out: &Path, experiment: &str) -> Result<()> {
    let path = out.join("config.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(());
    };
    let found: Option<Head> = serde_json::from_str(&text).ok();
    if found.is_some_and(|found| found.config.experiment == experiment) {
        return Ok(());
    }
    let (folder, experiment) = (out.to_owned(), experiment.to_owned());
    Err(ExperimentError::OtherExperiment { folder, experiment })
}

/// Makes a folder with those above it.
///
/// # Errors
/// A folder that cannot be made.
pub fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|source| ExperimentError::Folder { folder: folder.to_owned(), source })
}

/// Writes a value as indented JSON.
///
/// # Errors
/// A file that cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    write_atomically(path, |file| writeln!(file, "{text}"))?;
    Ok(())
}

/// What a `config.json` says of its experiment.
#[derive(Deserialize)]
struct Head {
    config: HeadConfig,
}

#[derive(Deserialize)]
struct HeadConfig {
    experiment: String,
}

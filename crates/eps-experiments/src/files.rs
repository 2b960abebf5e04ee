//! The files of a run's folder.

use std::io::Write as _;
use std::path::Path;

use eps_cluster::facts_of;
use eps_files::write_atomically;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ExperimentError, InvalidRequest, Result};

/// What a run writes into its folder, beside `config.json` and its cells.
const WRITTEN: [&str; 5] = ["results.json", "report.html", "samples.h5", "measurements", "figures"];

/// Refuses a folder that holds something else than this experiment, of which an earlier run goes on.
///
/// # Errors
/// A path that is no folder, a folder whose `config.json` is another's, and one without it that holds what would be replaced.
pub fn check_folder(out: &Path, experiment: &str) -> Result<()> {
    if out.symlink_metadata().is_ok() && !out.is_dir() {
        let message = format!(
            "--out {} is no folder: name another one, which is made where it is missing",
            out.display()
        );
        return Err(InvalidRequest(message).into());
    }
    let path = out.join("config.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        let foreign = WRITTEN.into_iter().find(|name| out.join(name).symlink_metadata().is_ok());
        return match foreign {
            None => Ok(()),
            Some(name) => Err(ExperimentError::ForeignFile { folder: out.to_owned(), name }),
        };
    };
    let found: Option<Head> = serde_json::from_str(&text).ok();
    if found.is_some_and(|found| found.config.experiment == experiment) {
        return Ok(());
    }
    let (folder, experiment) = (out.to_owned(), experiment.to_owned());
    Err(ExperimentError::OtherExperiment { folder, experiment })
}

/// In what the results of a folder are of other settings than those that are asked for: each setting with both values. Nothing where
/// the folder has no results.
#[must_use]
pub fn other_settings(out: &Path, settings: &Value) -> Vec<String> {
    if !out.join("results.json").exists() {
        return vec![];
    }
    let found = std::fs::read_to_string(out.join("config.json")).ok();
    let found = found.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let Some(found) = found.map(|mut found| found["config"].take()) else { return vec![] };
    let now = facts_of(settings);
    let differs = |(name, before): (String, String)| {
        let (_, now) = now.iter().find(|(other, _)| *other == name)?;
        let is_short = before.len().max(now.len()) <= 40;
        (before != *now)
            .then(|| if is_short { format!("{name} {before}, now {now}") } else { name })
    };
    facts_of(&found).into_iter().filter_map(differs).collect()
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

//! Shares of an experiment's work, for machines that compute it together.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use eps_data::SampleArchive;
use eps_files::write_bytes;

use crate::cells::FOLDER;
use crate::error::{ExperimentError, Result};
use crate::files::make_folder;

/// One of N shares of the cells: every N-th, so that each has some of every task and method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which one, from 1 on.
    number: usize,
    /// How many there are.
    count: usize,
}

impl FromStr for Shard {
    type Err = String;

    /// Reads `K/N`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').map(|(number, count)| (number.parse(), count.parse()));
        match parts {
            Some((Ok(number), Ok(count))) if (1..=count).contains(&number) => {
                Ok(Self { number, count })
            }
            _ => Err("it must be K/N, such as 1/4: share K of N, from 1 to N".to_owned()),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl Shard {
    /// The share of process `rank`, from 0 on, of `size`.
    ///
    /// # Panics
    /// If there is no such process.
    #[must_use]
    pub fn of(rank: usize, size: usize) -> Self {
        assert!(rank < size, "process {rank} of {size}");
        Self { number: rank + 1, count: size }
    }

    /// Whether a cell is in it, by its number in the plan.
    #[must_use]
    pub fn holds(self, cell: usize) -> bool {
        cell % self.count == self.number - 1
    }
}

/// Copies the finished cells of runs into the folder of another, whole files only, and returns how many there are now. A
/// cell that is there already stays.
///
/// # Errors
/// A folder without cells, a file that is no cell, and files that cannot be read or written.
pub fn merge(runs: &[PathBuf], into: &Path) -> Result<usize> {
    let mut found = Vec::new();
    for run in runs {
        let folder = run.join(FOLDER);
        let entries = fs::read_dir(&folder)
            .map_err(|source| ExperimentError::NoCells { run: run.clone(), source })?;
        for entry in entries {
            let path = entry
                .map_err(|source| ExperimentError::NoCells { run: run.clone(), source })?
                .path();
            if path.extension().is_some_and(|ending| ending == "h5") {
                // A damaged one would be computed again in silence.
                SampleArchive::read(&path)?;
                found.push(path);
            }
        }
    }
    let folder = into.join(FOLDER);
    make_folder(&folder)?;
    for path in found {
        let Some(name) = path.file_name() else { continue };
        let target = folder.join(name);
        if !target.exists() {
            let content = fs::read(&path)
                .map_err(|source| ExperimentError::Cell { path: path.clone(), source })?;
            write_bytes(&target, &content)?;
        }
    }
    let cells = fs::read_dir(&folder)
        .map_err(|source| ExperimentError::NoCells { run: into.to_owned(), source })?;
    Ok(cells.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_in_one_shard() {
        let shards: Vec<Shard> = (1..=3).map(|k| format!("{k}/3").parse().unwrap()).collect();
        for cell in 0..20 {
            assert_eq!(shards.iter().filter(|shard| shard.holds(cell)).count(), 1, "{cell}");
        }
        assert_eq!((shards[1], shards[1].to_string()), (Shard::of(1, 3), "2/3".to_owned()));
        for wrong in ["0/3", "4/3", "1/0", "1", "a/b", "1/2/3", ""] {
            assert!(wrong.parse::<Shard>().unwrap_err().contains("K/N"), "{wrong}");
        }
    }

    #[test]
    fn runs_without_cells_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        let error = merge(std::slice::from_ref(&empty), folder.path()).unwrap_err().to_string();
        assert!(error.contains("empty") && error.contains("--shard"), "{error}");
        let damaged = folder.path().join("damaged");
        fs::create_dir_all(damaged.join(FOLDER)).unwrap();
        fs::write(damaged.join(FOLDER).join("box.h5"), "cut").unwrap();
        let error = merge(&[damaged], folder.path()).unwrap_err().to_string();
        assert!(error.contains("box.h5"), "{error}");
        assert!(!folder.path().join(FOLDER).exists());
    }
}

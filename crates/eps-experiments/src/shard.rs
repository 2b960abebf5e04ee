//! Shares of an experiment's work, for machines that compute it together.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use eps_cluster::facts_of;
use eps_files::{sha256_file, write_bytes};
use serde_json::Value;

use crate::cells::{FOLDER, program_of};
use crate::error::{ExperimentError, InvalidRequest, Result};
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

/// What a merge has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The cells that are there now.
    pub cells: usize,
    /// What looks wrong, a sentence each.
    pub notes: Vec<String>,
}

/// Copies the finished cells of runs into the folder of another, whole files only. Of two cells of one name, which other builds of
/// the program have computed, the one of this program stays, or else the first.
///
/// # Errors
/// A folder without cells, a file that is no cell, a target that holds something else, and files that cannot be read or written.
pub fn merge(runs: &[PathBuf], into: &Path) -> Result<Merged> {
    let folder = into.join(FOLDER);
    let is_taken = fs::read_dir(into).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken && !folder.is_dir() {
        let message =
            format!("{}: it holds something else than a run: name another folder", into.display());
        return Err(InvalidRequest(message).into());
    }
    let program = std::env::current_exe().map_err(ExperimentError::Program)?;
    let program = sha256_file(&program)?;
    let mut found = Vec::new();
    for run in runs {
        let no_cells = |source| ExperimentError::NoCells { run: run.clone(), source };
        let before = found.len();
        for entry in fs::read_dir(run.join(FOLDER)).map_err(no_cells)? {
            let path = entry.map_err(no_cells)?.path();
            if path.extension().is_some_and(|ending| ending == "h5") {
                // A damaged one would be computed again in silence.
                found.push((program_of(&path)?, path));
            }
        }
        if found.len() == before {
            return Err(no_cells(std::io::Error::other("its folder of cells is empty")));
        }
    }
    let mut notes: Vec<String> = differences(runs).into_iter().collect();
    make_folder(&folder)?;
    let mut replaced = 0;
    for (build, path) in &found {
        let Some(name) = path.file_name() else { continue };
        let target = folder.join(name);
        if target.exists() {
            let there = program_of(&target)?;
            if there == *build {
                continue;
            }
            replaced += 1;
            if *build != Some(program.clone()) {
                continue;
            }
        }
        let content = fs::read(path)
            .map_err(|source| ExperimentError::Cell { path: path.clone(), source })?;
        write_bytes(&target, &content)?;
    }
    if replaced > 0 {
        notes.push(format!(
            "{replaced} cells were computed by two builds of the program: those of this one stay, or else the first; the others \
             are computed again"
        ));
    }
    let cells = fs::read_dir(&folder)
        .map_err(|source| ExperimentError::NoCells { run: into.to_owned(), source })?;
    Ok(Merged { cells: cells.count(), notes })
}

/// In what runs differ from the first of them, where they tell.
fn differences(runs: &[PathBuf]) -> Option<String> {
    let config = |run: &PathBuf| -> Option<Value> {
        let text = fs::read_to_string(run.join("config.json")).ok()?;
        Some(serde_json::from_str::<Value>(&text).ok()?["config"].take())
    };
    let (first, others) = runs.split_first()?;
    let of_first = facts_of(&config(first)?);
    for run in others {
        let Some(found) = config(run) else { continue };
        for (name, value) in facts_of(&found) {
            let known = of_first.iter().find(|(known, _)| *known == name);
            if let Some((_, other)) = known.filter(|(_, other)| *other != value) {
                return Some(format!(
                    "{} was computed with {name} {value}, {} with {other}: the command that scores uses the cells of its own \
                     settings alone",
                    run.display(),
                    first.display()
                ));
            }
        }
    }
    None
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
        let all = folder.path().join("all");
        let error = merge(std::slice::from_ref(&empty), &all).unwrap_err().to_string();
        assert!(error.contains("empty") && error.contains("--shard"), "{error}");
        let damaged = folder.path().join("damaged");
        fs::create_dir_all(damaged.join(FOLDER)).unwrap();
        fs::write(damaged.join(FOLDER).join("box.h5"), "cut").unwrap();
        let error = merge(&[damaged], &all).unwrap_err().to_string();
        assert!(error.contains("box.h5"), "{error}");
        assert!(!all.exists());
    }
}

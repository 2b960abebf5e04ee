//! The constants of the contenders on a data set, in one committed file that `eps tune` writes.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use eps_math::Task;
use eps_model::Precision;
use serde::{Deserialize, Serialize};

use super::contender::Contender;
use super::results::{make_folder, write_json};

/// The constants of the contenders and how they were chosen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Constants {
    /// The version of this layout, 1.
    pub(crate) format_version: u32,
    /// What was chosen, by method and task.
    pub(crate) tuned: Vec<Tuned>,
}

/// The constant of a contender for a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tuned {
    /// The method.
    pub(crate) contender: Contender,
    /// The task.
    pub(crate) task: Task,
    /// The constant's name.
    pub(crate) symbol: String,
    /// The value that is used: the one of the least fair energy score.
    pub(crate) value: f64,
    /// Everything that was tried.
    pub(crate) tried: Vec<Trial>,
    /// Network calls a sample.
    pub(crate) calls: usize,
    /// Validation images.
    pub(crate) images: usize,
    /// Samples of each.
    pub(crate) samples: usize,
    /// The seed of operators, noise and samples.
    pub(crate) seed: u64,
    /// The SHA-256 of the prior.
    pub(crate) prior: String,
    /// The precision of the prior; none in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) precision: Option<Precision>,
    /// The SHA-256 of the data set; none in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dataset: Option<String>,
}

/// A value that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    /// The value.
    pub(crate) value: f64,
    /// The fair energy score on [0, 1] pixels; none where a chain diverged.
    pub(crate) energy_score_fair: Option<f64>,
    /// The mean PSNR of a sample in dB; none where a chain diverged.
    pub(crate) psnr_db: Option<f64>,
}

impl Constants {
    /// Reads a file; where there is none, nothing is tuned.
    ///
    /// # Errors
    /// A file that is damaged.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Ok(Self { format_version: 1, tuned: vec![] });
        }
        let what =
            || format!("{} is no file of constants: restore it, or tune again", path.display());
        let text = std::fs::read_to_string(path).with_context(what)?;
        let read: Self = serde_json::from_str(&text).with_context(what)?;
        ensure!(read.format_version == 1, "{}: unknown version {}", what(), read.format_version);
        Ok(read)
    }

    /// Changes the file, which other runs may change meanwhile: each waits for the others.
    ///
    /// # Errors
    /// A file that is damaged or cannot be written.
    pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Self)) -> Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        make_folder(folder)?;
        // The file is replaced, so that its folder is locked; where folders have no locks, nothing is.
        let lock = File::open(folder);
        if let Ok(lock) = &lock {
            let _ = lock.lock();
        }
        let mut constants = Self::read(path)?;
        change(&mut constants);
        write_json(path, &constants)
    }

    /// The constant of a contender for a task: the tuned one, else the starting value.
    pub(crate) fn value(&self, contender: Contender, task: Task) -> f64 {
        self.find(contender, task).map_or_else(|| contender.tunable(task).start, |t| t.value)
    }

    /// What was tuned of a contender for a task.
    pub(crate) fn find(&self, contender: Contender, task: Task) -> Option<&Tuned> {
        self.tuned.iter().find(|tuned| (tuned.contender, tuned.task) == (contender, task))
    }

    /// Puts a constant in the place of the one before, in the order of methods and tasks.
    pub(crate) fn set(&mut self, tuned: Tuned) {
        self.tuned.retain(|old| (old.contender, old.task) != (tuned.contender, tuned.task));
        self.tuned.push(tuned);
        let place = |task: Task| Task::ALL.iter().position(|known| *known == task);
        self.tuned.sort_by_key(|tuned| (tuned.contender, place(tuned.task)));
    }
}

impl Tuned {
    /// Whether it comes from a search like this one, which has no value yet: over the same grid, in what both tell.
    pub(crate) fn is_of(&self, search: &Self, grid: &[f64]) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_none() || a == b;
        let has_tried = |value: &f64| self.tried.iter().any(|trial| trial.value == *value);
        (self.contender, self.task) == (search.contender, search.task)
            && (self.calls, self.images, self.samples)
                == (search.calls, search.images, search.samples)
            && (self.seed, &self.prior) == (search.seed, &search.prior)
            && (self.precision.is_none() || self.precision == search.precision)
            && same(&self.dataset, &search.dataset)
            && grid.iter().all(has_tried)
    }

    /// The value of the least fair energy score among those tried; none where all diverged.
    pub(crate) fn best(tried: &[Trial]) -> Option<f64> {
        tried
            .iter()
            .filter_map(|trial| Some((trial.energy_score_fair?, trial.value)))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuned(contender: Contender, value: f64) -> Tuned {
        Tuned {
            contender,
            task: Task::MotionBlur,
            symbol: "ζ".into(),
            value,
            tried: vec![],
            calls: 250,
            images: 8,
            samples: 2,
            seed: 0,
            prior: "0".into(),
            precision: None,
            dataset: None,
        }
    }

    #[test]
    fn a_tuned_constant_replaces_the_starting_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("constants.json");
        let starting = Constants::read(&path).unwrap();
        assert_eq!(starting.value(Contender::Dps, Task::MotionBlur), 2.5);
        for found in [(Contender::Mpgd, 3.0), (Contender::Dps, 1.0), (Contender::Dps, 0.5)] {
            Constants::change(&path, |constants| constants.set(tuned(found.0, found.1))).unwrap();
        }
        let read = Constants::read(&path).unwrap();
        assert_eq!(read.tuned.len(), 2);
        assert_eq!(read.value(Contender::Dps, Task::MotionBlur), 0.5);
        assert_eq!(read.value(Contender::Dps, Task::BoxInpainting), 10.0);
        std::fs::write(&path, "{}").unwrap();
        let error = format!("{:#}", Constants::read(&path).unwrap_err());
        assert!(error.contains("constants.json") && error.contains("tune again"), "{error}");
    }

    #[test]
    fn the_best_value_is_the_one_of_the_least_score() {
        let trial = |value, energy_score_fair| Trial { value, energy_score_fair, psnr_db: None };
        let tried = [trial(1.0, Some(2.0)), trial(2.0, Some(1.5)), trial(3.0, None)];
        assert_eq!(Tuned::best(&tried), Some(2.0));
        assert_eq!(Tuned::best(&tried[2..]), None);
    }
}

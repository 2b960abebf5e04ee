//! The constants of the contenders on a data set, in one committed file that `eps tune` writes.

use std::path::Path;

use eps_math::{Precision, Task};
use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::error::ResultsError;

/// The version of the layout of [`Constants`].
const FORMAT_VERSION: u32 = 1;

/// The constants of the contenders and how they were chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constants {
    /// The version of this layout, 1.
    pub format_version: u32,
    /// What was chosen, by method and task.
    pub tuned: Vec<Tuned>,
}

/// The constant of a contender for a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// The method.
    pub contender: Contender,
    /// The task.
    pub task: Task,
    /// The constant's name.
    pub symbol: String,
    /// The value that is used: the one of the least fair energy score.
    pub value: f64,
    /// Everything that was tried.
    pub tried: Vec<Trial>,
    /// Network calls a sample.
    pub calls: usize,
    /// Validation images.
    pub images: usize,
    /// Samples of each.
    pub samples: usize,
    /// The seed of operators, noise and samples.
    pub seed: u64,
    /// The SHA-256 of the prior.
    pub prior: String,
    /// The precision of the prior; none in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The SHA-256 of the data set; none in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
}

/// A value that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The value.
    pub value: f64,
    /// The fair energy score on [0, 1] pixels; none where a chain diverged.
    pub energy_score_fair: Option<f64>,
    /// The mean PSNR of a sample in dB; none where a chain diverged, and where it was not measured.
    pub psnr_db: Option<f64>,
}

impl Constants {
    /// Nothing tuned.
    #[must_use]
    pub fn none() -> Self {
        Self { format_version: FORMAT_VERSION, tuned: vec![] }
    }

    /// Reads a file; where there is none, nothing is tuned.
    ///
    /// # Errors
    /// A file that is damaged, or of another version of this layout.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        if !path.is_file() {
            return Ok(Self::none());
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| ResultsError::Io { path: path.to_owned(), error })?;
        let read: Self = serde_json::from_str(&text).map_err(|error| ResultsError::Malformed {
            path: path.to_owned(),
            what: "file of constants (restore it, or tune again)",
            error,
        })?;
        if read.format_version != FORMAT_VERSION {
            return Err(ResultsError::Version {
                path: path.to_owned(),
                found: read.format_version,
                known: FORMAT_VERSION,
            });
        }
        Ok(read)
    }

    /// What was tuned of a contender for a task.
    #[must_use]
    pub fn find(&self, contender: Contender, task: Task) -> Option<&Tuned> {
        self.tuned.iter().find(|tuned| (tuned.contender, tuned.task) == (contender, task))
    }

    /// Puts a constant in the place of the one before, in the order of methods and tasks.
    pub fn set(&mut self, tuned: Tuned) {
        self.tuned.retain(|old| (old.contender, old.task) != (tuned.contender, tuned.task));
        self.tuned.push(tuned);
        let place = |task: Task| Task::ALL.iter().position(|known| *known == task);
        self.tuned.sort_by_key(|tuned| (tuned.contender, place(tuned.task)));
    }
}

impl Tuned {
    /// Whether it comes from a search like this one, which has no value yet: over the same grid, in what both tell.
    #[must_use]
    pub fn is_of(&self, search: &Self, grid: &[f64]) -> bool {
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
    #[must_use]
    pub fn best(tried: &[Trial]) -> Option<f64> {
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
    fn a_tuned_constant_replaces_the_one_before() {
        let mut constants = Constants::none();
        for found in [(Contender::Mpgd, 3.0), (Contender::Dps, 1.0), (Contender::Dps, 0.5)] {
            constants.set(tuned(found.0, found.1));
        }
        let values: Vec<f64> = constants.tuned.iter().map(|tuned| tuned.value).collect();
        assert_eq!(values, [0.5, 3.0]);
        assert_eq!(constants.find(Contender::Dps, Task::MotionBlur).unwrap().value, 0.5);
        assert_eq!(constants.find(Contender::Dps, Task::BoxInpainting), None);
    }

    #[test]
    fn a_file_of_another_layout_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("constants.json");
        assert_eq!(Constants::read(&path).unwrap(), Constants::none());
        let error = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Constants::read(&path).unwrap_err().to_string()
        };
        let found = error("{}");
        assert!(found.contains("constants.json") && found.contains("tune again"), "{found}");
        let found = error(r#"{"format_version": 3, "tuned": []}"#);
        assert!(found.contains("version 3, this program reads 1"), "{found}");
    }

    #[test]
    fn the_best_value_is_the_one_of_the_least_score() {
        let trial = |value, energy_score_fair| Trial { value, energy_score_fair, psnr_db: None };
        let tried = [trial(1.0, Some(2.0)), trial(2.0, Some(1.5)), trial(3.0, None)];
        assert_eq!(Tuned::best(&tried), Some(2.0));
        assert_eq!(Tuned::best(&tried[2..]), None);
    }
}

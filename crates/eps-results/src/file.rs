//! Reading and writing `results.json`, plain or compressed.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::ResultsError;
use crate::reach::{self, ReachResults};
use crate::results::{FORMAT_VERSION, Results};
use crate::tournament::{self, TournamentResults};

/// The results of one experiment, of whichever kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// An experiment on networks.
    Experiment(Box<Results>),
    /// The tournament with exact denoisers.
    Tournament(Box<TournamentResults>),
    /// How far a network reaches.
    Reach(Box<ReachResults>),
}

/// The fields that tell what a file is.
#[derive(Deserialize)]
struct Head {
    format_version: u32,
    config: HeadConfig,
}

#[derive(Deserialize)]
struct HeadConfig {
    experiment: String,
}

/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

impl Record {
    /// Reads the results of an experiment, as JSON or as JSON compressed by gzip.
    ///
    /// # Errors
    /// A file that cannot be read, that is no results, or whose format is of another version; a field that
    /// is missing or unknown; a row that is not named as its method is.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let io = |error| ResultsError::Io { path: path.to_owned(), error };
        let mut bytes = fs::read(path).map_err(io)?;
        if bytes.starts_with(&GZIP) {
            let mut text = Vec::new();
            GzDecoder::new(&bytes[..]).read_to_end(&mut text).map_err(io)?;
            bytes = text;
        }
        let Head { format_version: found, config } = parse(path, &bytes)?;
        let known = match &*config.experiment {
            tournament::EXPERIMENT => tournament::FORMAT_VERSION,
            reach::EXPERIMENT => reach::FORMAT_VERSION,
            _ => FORMAT_VERSION,
        };
        if found != known {
            return Err(ResultsError::Version { path: path.to_owned(), found, known });
        }
        match &*config.experiment {
            tournament::EXPERIMENT => {
                return Ok(Self::Tournament(Box::new(parse(path, &bytes)?)));
            }
            reach::EXPERIMENT => return Ok(Self::Reach(Box::new(parse(path, &bytes)?))),
            _ => {}
        }
        let results: Box<Results> = Box::new(parse(path, &bytes)?);
        let rows = results.tasks.iter().flat_map(|task| task.rows());
        for row in rows {
            let expected = row.method.slug();
            if row.cell != expected {
                let (path, found) = (path.to_owned(), row.cell.clone());
                return Err(ResultsError::Name { path, found, expected });
            }
        }
        Ok(Self::Experiment(results))
    }
}

impl Record {
    /// The name of the experiment.
    #[must_use]
    pub fn experiment(&self) -> &str {
        match self {
            Self::Experiment(results) => results.config.experiment.name(),
            Self::Tournament(results) => &results.config.experiment,
            Self::Reach(results) => &results.config.experiment,
        }
    }

    /// The data set; the profile of the tournament, which has none.
    #[must_use]
    pub fn data(&self) -> String {
        match self {
            Self::Experiment(results) => results.config.dataset.name.clone(),
            Self::Tournament(results) => format!("exact denoisers, {}", results.config.profile),
            Self::Reach(results) => results.config.dataset.name.clone(),
        }
    }

    /// What was computed: images, or measurements of the tournament, and samples of each.
    #[must_use]
    pub fn size(&self) -> String {
        let (images, samples) = match self {
            Self::Experiment(results) => (results.config.images.len(), results.config.samples),
            Self::Tournament(results) => (results.config.measurements, results.config.samples),
            Self::Reach(results) => (results.config.images.len(), results.config.samples),
        };
        format!("{images} × {samples}")
    }
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, ResultsError> {
    serde_json::from_slice(bytes).map_err(|error| ResultsError::Malformed {
        path: path.to_owned(),
        what: "results.json of an experiment",
        error,
    })
}

/// A value as JSON whose fields are in the order of their names, on one line.
///
/// # Errors
/// None for the types of this crate.
pub fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_value(value).map(|value| value.to_string())
}

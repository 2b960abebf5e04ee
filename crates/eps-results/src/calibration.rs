//! Whether samples spread as the truth does.

use eps_metrics::calibration::{EnergyRatios, RankHistogram, SpreadError};
use eps_metrics::summary::Estimate;
use serde::{Deserialize, Serialize};

use crate::method::Method;

/// Samples of each image from which ranks are taken: the central 50, 80 and 90 % end at ranks.
pub const RANKED_SAMPLES: usize = 19;

/// The levels of the central intervals.
pub const LEVELS: [f64; 3] = [0.5, 0.8, 0.9];

/// How the samples of a method spread, on [0, 1] pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The method.
    pub method: Method,
    /// The energy ratios of ten samples.
    pub ratios: EnergyRatios,
    /// The ranks of the truths among the samples, both as grey levels.
    pub ranks: RankHistogram,
    /// The coverage of the central intervals of [`LEVELS`].
    pub coverage: [Estimate; LEVELS.len()],
    /// The same over all pixels, those that do not spread among them: where samples agree on what is wrong, it
    /// is too low.
    pub coverage_of_all: [Estimate; LEVELS.len()],
    /// Spread and error in bins.
    pub spread: Vec<SpreadError>,
}

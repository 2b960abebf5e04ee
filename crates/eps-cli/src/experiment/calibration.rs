//! Whether samples spread as the truth does: the scores of the experiment `calibration`.

use anyhow::Result;
use eps_math::rng::Stream;
use eps_metrics::calibration::{
    EnergyRatios, Ensemble, RankHistogram, SpreadError, energy_ratios, rank_histogram,
    spread_against_error,
};
use eps_metrics::summary::Estimate;
use serde::Serialize;

use super::method::{Method, Restoration};
use super::problem::Problem;
use super::scores::unit;
use super::table::Table;

/// Samples of each image from which ranks are taken: the central 50, 80 and 90 % end at ranks.
pub(crate) const SAMPLES: usize = 19;

/// Samples of the energy ratios: ten, and one in the truth's place.
const RATIO_SAMPLES: usize = 11;

/// Pixels are ranked whose samples spread by more than a grey level.
const MIN_SD: f64 = 1.0 / 255.0;

/// Bins of equally many pixels in the figure of error against spread.
const BINS: usize = 12;

/// The levels of the central intervals.
pub(crate) const LEVELS: [f64; 3] = [0.5, 0.8, 0.9];

/// How the samples of a method spread, on [0, 1] pixels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Calibration {
    /// The method.
    pub(crate) method: Method,
    /// The energy ratios of ten samples.
    pub(crate) ratios: EnergyRatios,
    /// The ranks of the truths among the samples, both as grey levels.
    pub(crate) ranks: RankHistogram,
    /// The coverage of the central intervals of [`LEVELS`].
    pub(crate) coverage: Vec<Estimate>,
    /// The same over all pixels, those that do not spread among them: where samples agree on what is wrong, it
    /// is too low.
    pub(crate) coverage_of_all: Vec<Estimate>,
    /// Spread and error in bins.
    pub(crate) spread: Vec<SpreadError>,
}

impl Calibration {
    /// Scores a restoration with [`SAMPLES`] samples of each image; none with fewer, or where no
    /// pixel of the samples spreads.
    ///
    /// # Errors
    /// None for restorations of the truths' images.
    pub(crate) fn of(
        method: Method,
        problem: &Problem,
        restoration: &Restoration,
    ) -> Result<Option<Self>> {
        if restoration.per_image != SAMPLES {
            return Ok(None);
        }
        let truth: Vec<f64> = problem.truth().iter().map(|v| unit(*v)).collect();
        let samples: Vec<f64> = restoration.samples.iter().map(|v| unit(f64::from(*v))).collect();
        let images = problem.images.len();
        let ensemble = Ensemble::new(&truth, &samples, images)?;
        let dim = problem.set.shape().len();
        let first: Vec<f64> = samples
            .chunks_exact(SAMPLES * dim)
            .flat_map(|samples| &samples[..RATIO_SAMPLES * dim])
            .copied()
            .collect();
        let ties = Stream::named(0, "ties of ranks");
        let mut count = 0..;
        let mut uniform = || ties.uniform(count.next().unwrap_or(0));
        let (grey_truth, grey_samples) = (grey_levels(&truth), grey_levels(&samples));
        let grey = Ensemble::new(&grey_truth, &grey_samples, images)?;
        let Ok(ranks) = rank_histogram(grey, MIN_SD, &mut uniform) else {
            return Ok(None);
        };
        let of_all = rank_histogram(grey, f64::NEG_INFINITY, &mut uniform)?;
        let groups = problem.sources.as_deref();
        let coverage = |ranks: &RankHistogram| {
            LEVELS.iter().map(|level| ranks.coverage(*level, groups)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Some(Self {
            method,
            ratios: energy_ratios(Ensemble::new(&truth, &first, images)?, groups)?,
            coverage: coverage(&ranks)?,
            coverage_of_all: coverage(&of_all)?,
            ranks,
            spread: spread_against_error(ensemble, BINS)?,
        }))
    }
}

/// Pixels on [0, 1] rounded to the 256 grey levels that the truths have.
///
/// A truth on a grey level has no continuous rank: a black pixel lies below every sample that is black but
/// for a thousandth, although nobody could tell them apart. As grey levels these are ties.
fn grey_levels(pixels: &[f64]) -> Vec<f64> {
    pixels.iter().map(|pixel| (255.0 * pixel).round() / 255.0).collect()
}

/// A number times `scale` with the half width of its 95 % interval over images.
fn with_interval(estimate: &Estimate, scale: f64, decimals: usize) -> String {
    let value = scale * estimate.value;
    match estimate.half_width_95 {
        Some(half_width) => format!("{value:.decimals$} ± {:.decimals$}", scale * half_width),
        None => format!("{value:.decimals$}"),
    }
}

/// The table of a setting; ± is the half width of a 95 % interval over images.
pub(crate) fn table(rows: &[Calibration]) -> Table {
    let line = |row: &Calibration| {
        let mut line = vec![
            row.method.label(),
            format!("{:.4}", row.ratios.truth),
            format!("{:.4}", row.ratios.held_out),
            with_interval(&row.ratios.difference, 1.0, 4),
        ];
        line.extend(row.coverage.iter().map(|covered| with_interval(covered, 100.0, 1)));
        line.push(format!("{:.1}", 100.0 * row.ranks.share));
        let of_all = row.coverage_of_all.last();
        line.push(of_all.map_or(String::new(), |covered| with_interval(covered, 100.0, 1)));
        line
    };
    Table {
        headings: [
            "method",
            "energy ratio",
            "with an 11th sample",
            "difference",
            "in 50 % interval (%)",
            "in 80 % interval (%)",
            "in 90 % interval (%)",
            "pixels ranked (%)",
            "in 90 % interval of all pixels (%)",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_picture_shows_does_not_rank() {
        // The second lies between grey levels, the third within half a level of black.
        assert_eq!(grey_levels(&[1.0, 100.4 / 255.0, 0.001]), [1.0, 100.0 / 255.0, 0.0]);
    }
}

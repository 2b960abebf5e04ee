//! Whether samples spread as the truth does: the scores of the experiment `calibration`.

use eps_math::rng::Stream;
use eps_metrics::calibration::{
    Ensemble, RankHistogram, energy_ratios, rank_histogram, spread_against_error,
};
use eps_metrics::summary::Estimate;
use eps_results::{Calibration, LEVELS, Method, RANKED_SAMPLES};

use crate::error::Result;
use crate::pixels::unit;
use crate::problem::Problem;
use crate::restoration::Restored;

/// Samples of the energy ratios: ten, and one in the truth's place.
const RATIO_SAMPLES: usize = 11;

/// Pixels are ranked whose samples spread by more than a grey level.
const MIN_SD: f64 = 1.0 / 255.0;

/// Bins of equally many pixels in the figure of error against spread.
const BINS: usize = 12;

/// Scores a restoration with [`RANKED_SAMPLES`] samples of each image; none with fewer, or where no
/// pixel of the samples spreads.
///
/// # Errors
/// None for restorations of the truths' images.
pub(crate) fn calibration_of(
    method: Method,
    problem: &Problem,
    restoration: &Restored,
) -> Result<Option<Calibration>> {
    if restoration.per_image != RANKED_SAMPLES {
        return Ok(None);
    }
    let truth: Vec<f64> = problem.truth().iter().map(|v| unit(*v)).collect();
    let samples: Vec<f64> = restoration.samples.iter().map(|v| unit(f64::from(*v))).collect();
    let images = problem.images.len();
    let ensemble = Ensemble::new(&truth, &samples, images)?;
    let dim = problem.set.shape().len();
    let first: Vec<f64> = samples
        .chunks_exact(RANKED_SAMPLES * dim)
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
    let coverage = |ranks: &RankHistogram| -> Result<[Estimate; LEVELS.len()]> {
        let [half, most, nearly_all] = LEVELS.map(|level| ranks.coverage(level, groups));
        Ok([half?, most?, nearly_all?])
    };
    Ok(Some(Calibration {
        method,
        ratios: energy_ratios(Ensemble::new(&truth, &first, images)?, groups)?,
        coverage: coverage(&ranks)?,
        coverage_of_all: coverage(&of_all)?,
        ranks,
        spread: spread_against_error(ensemble, BINS)?,
    }))
}

/// Pixels on [0, 1] rounded to the 256 grey levels that the truths have.
///
/// A truth on a grey level has no continuous rank: a black pixel lies below every sample that is black but
/// for a thousandth, although nobody could tell them apart. As grey levels these are ties.
fn grey_levels(pixels: &[f64]) -> Vec<f64> {
    pixels.iter().map(|pixel| (255.0 * pixel).round() / 255.0).collect()
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

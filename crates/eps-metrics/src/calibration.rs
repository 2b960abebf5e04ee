//! Whether the truth looks like one more sample.
//!
//! For a calibrated sampler the truth and the samples of an image are exchangeable: given y, all
//! are independent draws from p(x₀ | y). Each quantity here has a value that follows from that.
//!
//! | quantity | calibrated | samples too narrow |
//! |---|---|---|
//! | [`energy_ratios`] | both equal | truth's larger |
//! | [`RankHistogram`] | flat | high at both ends |
//! | [`RankHistogram::coverage`] | the level | below the level |
//! | [`spread_against_error`] | spread = error | spread < error |

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::MetricsError;
use crate::energy::{PairTerm, energy_score};
use crate::input::{check_rows, squared_distance};
use crate::summary::Estimate;

/// Truths and their samples, with checked shapes.
///
/// # Shapes
/// `truth`: [N, D]; `samples`: [N, J, D].
///
/// # Units
/// Usually [0, 1] pixels, on which a grey level is 1/255. All values are finite.
#[derive(Debug, Clone, Copy)]
pub struct Ensemble<'a> {
    truth: &'a [f64],
    samples: &'a [f64],
    dim: usize,
    per_image: usize,
}

impl<'a> Ensemble<'a> {
    /// Borrows `images` truths and their samples; J and D follow from the lengths.
    ///
    /// # Errors
    /// `truth` that is no multiple of `images`, `samples` that are no multiple of `truth`, empty
    /// input, values that are not finite.
    pub fn new(truth: &'a [f64], samples: &'a [f64], images: usize) -> Result<Self, MetricsError> {
        if images == 0 || truth.is_empty() {
            return Err(MetricsError::Empty { what: "truth" });
        }
        if !truth.len().is_multiple_of(images) {
            return Err(MetricsError::Multiple { what: "truth", unit: images, got: truth.len() });
        }
        let dim = truth.len() / images;
        check_rows("truth", truth, dim)?;
        let per_image = check_rows("samples", samples, truth.len())?;
        Ok(Self { truth, samples, dim, per_image })
    }

    /// J, the samples of an image.
    #[must_use]
    pub fn samples_per_image(&self) -> usize {
        self.per_image
    }

    /// Truth `[D]` and samples [J, D] of every image.
    fn images(&self) -> impl IndexedParallelIterator<Item = (&'a [f64], &'a [f64])> {
        let samples = self.samples.par_chunks_exact(self.per_image * self.dim);
        self.truth.par_chunks_exact(self.dim).zip(samples)
    }

    /// Refuses fewer than `needed` samples of an image.
    fn at_least(&self, needed: usize, what: &'static str) -> Result<(), MetricsError> {
        let got = self.per_image;
        if got < needed { Err(MetricsError::TooFewSamples { what, needed, got }) } else { Ok(()) }
    }

    /// Truth, mean and standard deviation (J − 1) of every pixel of every image, in order.
    fn pixels(&self) -> Vec<Pixel> {
        let dim = self.dim;
        self.images()
            .flat_map_iter(|(truth, samples)| {
                (0..dim).map(move |i| {
                    let n = (samples.len() / dim) as f64;
                    let values = samples[i..].iter().step_by(dim);
                    let mean = values.clone().sum::<f64>() / n;
                    let squares: f64 = values.map(|x| (x - mean) * (x - mean)).sum();
                    Pixel { truth: truth[i], mean, variance: squares / (n - 1.0) }
                })
            })
            .collect()
    }
}

struct Pixel {
    truth: f64,
    mean: f64,
    variance: f64,
}

/// The energy ratio of the first J of J + 1 samples, against the truth and against the last one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnergyRatios {
    /// The ratio with the truth.
    pub truth: f64,
    /// The same with the last sample of each image in the truth's place.
    pub held_out: f64,
    /// The first less the second, 0 for a calibrated sampler.
    pub difference: Estimate,
}

/// Energy score of the samples over the distance of their mean from the truth, beside the same
/// with a further sample in the truth's place.
///
/// ```text
/// ratio = Σ_images ES(x_1…x_J; t) / Σ_images ‖x̄ − t‖₂,   t = x₀ (truth) or x_{J+1} (held out)
/// ```
///
/// ES has the pair term 1/(2J²). A calibrated sampler has both equal up to the noise of the
/// estimate. For a Gaussian posterior of many dimensions they are
/// √2 (1 − (1 − 1/J)/2) / √(1 + 1/J), 0.7416 at J = 10. `groups` are those of [`Estimate::of_left_out`].
///
/// # Shapes
/// N images with J + 1 ≥ 2 samples each: eleven for the ratio of ten.
///
/// # Units
/// None: numerator and denominator scale alike.
///
/// # Errors
/// [`MetricsError::TooFewSamples`] with one sample, [`MetricsError::ZeroDistance`] where a
/// denominator is zero.
pub fn energy_ratios(
    ensemble: Ensemble<'_>,
    groups: Option<&[u32]>,
) -> Result<EnergyRatios, MetricsError> {
    ensemble.at_least(2, "the held-out energy ratio")?;
    let dim = ensemble.dim;
    // Score and distance of every image, for the truth and then for the held-out sample.
    let terms = ensemble
        .images()
        .map(|(truth, samples)| {
            let (scored, held_out) = samples.split_at(samples.len() - dim);
            let n = (scored.len() / dim) as f64;
            let mean: Vec<f64> =
                (0..dim).map(|i| scored[i..].iter().step_by(dim).sum::<f64>() / n).collect();
            let score = |target| energy_score(target, scored, PairTerm::VStatistic);
            let distance = |target| squared_distance(&mean, target).sqrt();
            Ok([score(truth)?, distance(truth), score(held_out)?, distance(held_out)])
        })
        .collect::<Result<Vec<_>, MetricsError>>()?;
    let sum = |term: usize| terms.iter().map(|terms| terms[term]).sum::<f64>();
    if sum(1) == 0.0 || sum(3) == 0.0 {
        return Err(MetricsError::ZeroDistance);
    }
    let difference = |[score, distance, held_out_score, held_out_distance]: [f64; 4]| {
        score / distance - held_out_score / held_out_distance
    };
    Ok(EnergyRatios {
        truth: sum(0) / sum(1),
        held_out: sum(2) / sum(3),
        difference: Estimate::of_sums(&terms, difference, groups)?,
    })
}

/// How often the truth has each rank among the samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankHistogram {
    /// For every image, at r = 0…J: pixels whose truth lies above r of the J samples.
    pub of_images: Vec<Vec<u64>>,
    /// Share of all pixels that were counted, those above the threshold. A sampler that is too
    /// sure of itself shows here, as its pixels are left out.
    pub share: f64,
}

/// Ranks of the truths among their samples, over all pixels whose samples spread enough.
///
/// ```text
/// rank = #{j: x_j < x₀} + ⌊u (1 + #{j: x_j = x₀})⌋,   u uniform on [0, 1)
/// ```
///
/// Ties, which clipping to the range makes frequent, are so split at random.
///
/// A pixel is counted if the standard deviation of its J samples (J − 1) exceeds `min_sd`: the
/// estimate of the posterior's. As the truth has no part in it, ranks of pixels very near the
/// threshold are not exactly uniform even for a calibrated sampler.
///
/// `uniform` is asked once for every tied pixel, in row-major order: a stream keyed by a seed makes
/// the histogram reproducible.
///
/// # Shapes
/// N images with J ≥ 2 samples; the result has J + 1 counts for each.
///
/// # Units
/// `min_sd` in those of the ensemble; 1/255 is a grey level on [0, 1] pixels.
///
/// # Errors
/// [`MetricsError::TooFewSamples`] with one sample, [`MetricsError::NothingSelected`] where no
/// pixel exceeds the threshold.
///
/// # Panics
/// If `uniform` returns a value outside [0, 1).
pub fn rank_histogram(
    ensemble: Ensemble<'_>,
    min_sd: f64,
    mut uniform: impl FnMut() -> f64,
) -> Result<RankHistogram, MetricsError> {
    ensemble.at_least(2, "a rank histogram")?;
    let Ensemble { samples, dim, per_image, .. } = ensemble;
    let pixels = ensemble.pixels();
    let mut of_images = vec![vec![0_u64; per_image + 1]; pixels.len() / dim];
    for (at, pixel) in pixels.iter().enumerate() {
        if pixel.variance.sqrt() <= min_sd {
            continue;
        }
        let (image, i) = (at / dim, at % dim);
        let values = (0..per_image).map(|j| samples[(image * per_image + j) * dim + i]);
        let below = values.clone().filter(|&x| x < pixel.truth).count();
        let ties = values.filter(|&x| x == pixel.truth).count();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "u is in [0, 1), so that this is from 0 to ties + 1"
        )]
        let among_ties = if ties == 0 {
            0
        } else {
            let u = uniform();
            assert!((0.0..1.0).contains(&u), "uniform() returned {u}, outside [0, 1)");
            // (ties + 1) u can round up to ties + 1 for u just below 1.
            ((u * (ties + 1) as f64) as usize).min(ties)
        };
        of_images[image][below + among_ties] += 1;
    }
    let counted: u64 = of_images.iter().flatten().sum();
    if counted == 0 {
        return Err(MetricsError::NothingSelected { min_sd });
    }
    Ok(RankHistogram { of_images, share: counted as f64 / pixels.len() as f64 })
}

impl RankHistogram {
    /// The counts of all images together, J + 1.
    ///
    /// # Panics
    /// If an image has fewer counts than the first.
    #[must_use]
    pub fn counts(&self) -> Vec<u64> {
        let bins = self.of_images.first().map_or(0, Vec::len);
        (0..bins).map(|rank| self.of_images.iter().map(|counts| counts[rank]).sum()).collect()
    }

    /// Share of counted truths inside the central interval of a level.
    ///
    /// ```text
    /// coverage = Σ_{r=k}^{J−k} counts[r] / Σ_r counts[r],   k = (J + 1)(1 − level)/2
    /// ```
    ///
    /// The interval reaches from the k-th smallest to the k-th largest sample, and contains one
    /// more exchangeable value with probability `level` exactly; no quantile is interpolated.
    /// With J = 19 that gives 50, 80 and 90 % (k = 5, 2, 1). Ties count as the ranks split them. `groups` are
    /// those of [`Estimate::of_left_out`].
    ///
    /// # Errors
    /// [`MetricsError::Level`] where k is not a whole number or the interval is empty,
    /// [`MetricsError::NotFinite`] where nothing was counted.
    ///
    /// # Panics
    /// As [`Self::counts`].
    pub fn coverage(&self, level: f64, groups: Option<&[u32]>) -> Result<Estimate, MetricsError> {
        let bins = self.counts().len();
        let outside = bins as f64 * (1.0 - level) / 2.0;
        let k = outside.round();
        // Decimal levels such as 0.9 carry a rounding error far below 1e-9 of the bins.
        if !(0.0..=1.0).contains(&level)
            || (outside - k).abs() > 1e-9 * bins as f64
            || 2.0 * k >= bins as f64
        {
            return Err(MetricsError::Level { level, samples: bins.saturating_sub(1) });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to half the number of bins, as was checked"
        )]
        let k = k as usize;
        let terms = |counts: &Vec<u64>| {
            let sum = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
            [sum(&counts[k..bins - k]), sum(counts)]
        };
        let terms: Vec<[f64; 2]> = self.of_images.iter().map(terms).collect();
        Estimate::of_sums(&terms, |[inside, counted]| inside / counted, groups)
    }
}

/// Pixels of similar spread, and how wrong their means are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpreadError {
    /// Root mean square spread, √(1 + 1/J) × the standard deviation of the samples.
    pub spread: f64,
    /// Root mean square error of the mean of the samples.
    pub error: f64,
    /// Number of pixels.
    pub pixels: usize,
}

/// Spread of the samples against the error of their mean, in bins of equally many pixels in
/// order of their spread.
///
/// ```text
/// spread² = mean over the bin of (1 + 1/J) s²,   error² = mean over the bin of (x̄ − x₀)²
/// ```
///
/// s² is the variance with J − 1. The factor 1 + 1/J accounts for the noise of the mean, so a
/// calibrated sampler has spread² = error² in expectation over all pixels. Binning by the
/// estimated s² pulls the extreme bins apart from their errors when J is small.
///
/// # Shapes
/// N images with J ≥ 2 samples; the result has `bins` entries of increasing spread, or as many as
/// there are pixels.
///
/// # Units
/// Those of the ensemble.
///
/// # Errors
/// [`MetricsError::TooFewSamples`] with one sample, [`MetricsError::Empty`] for zero bins.
pub fn spread_against_error(
    ensemble: Ensemble<'_>,
    bins: usize,
) -> Result<Vec<SpreadError>, MetricsError> {
    ensemble.at_least(2, "a spread")?;
    if bins == 0 {
        return Err(MetricsError::Empty { what: "the list of bins" });
    }
    let mut pixels = ensemble.pixels();
    pixels.sort_by(|a, b| a.variance.total_cmp(&b.variance));
    let bins = bins.min(pixels.len());
    let inflation = 1.0 + 1.0 / ensemble.per_image as f64;
    let bin = |k: usize| {
        let bin = &pixels[k * pixels.len() / bins..(k + 1) * pixels.len() / bins];
        let mean = |f: fn(&Pixel) -> f64| bin.iter().map(f).sum::<f64>() / bin.len() as f64;
        SpreadError {
            spread: (inflation * mean(|p| p.variance)).sqrt(),
            error: mean(|p| (p.mean - p.truth) * (p.mean - p.truth)).sqrt(),
            pixels: bin.len(),
        }
    };
    Ok((0..bins).map(bin).collect())
}

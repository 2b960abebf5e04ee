//! Proper scores of an ensemble against the truth: energy score and CRPS.
//!
//! The paper's tabulated "CRPS" is the energy score with the un-normalised Euclidean norm on
//! [0, 1] pixels and [`PairTerm::VStatistic`], not a mean over coordinates. Both are here, each in
//! both estimators, and they are not to be confused: for D coordinates the energy score is about
//! √D times as large.

use rayon::prelude::*;

use crate::MetricsError;
use crate::input::{check_finite, check_rows, squared_distance};
use crate::pairs::{Points, as_it_is};

/// Samples of an image from which on the distances of their pairs are taken in blocks, on all threads.
const MANY: usize = 1024;

/// The estimator of half the mean distance of two independent samples, ½ E‖x − x′‖, from J of
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairTerm {
    /// Σ_{j,k} / (2J²): all ordered pairs, those of a sample with itself included. This is the
    /// score of the empirical distribution of the samples, and the paper's. It is too small by
    /// the factor 1 − 1/J as an estimate, so scores with different J must not be compared.
    VStatistic,
    /// Σ_{j,k} / (2J(J − 1)): pairs of different samples. In expectation the score of the
    /// distribution that the samples come from, whatever J. Needs J ≥ 2.
    Fair,
}

impl PairTerm {
    /// The weight of Σ_{j<k}, half the sum over ordered pairs.
    fn weight(self, samples: usize) -> Result<f64, MetricsError> {
        let j = samples as f64;
        match self {
            Self::VStatistic => Ok(1.0 / (j * j)),
            Self::Fair if samples >= 2 => Ok(1.0 / (j * (j - 1.0))),
            Self::Fair => Err(MetricsError::TooFewSamples {
                what: "a fair pair term",
                needed: 2,
                got: samples,
            }),
        }
    }
}

/// Energy score of J samples of one image (Gneiting and Raftery, *Strictly proper scoring rules,
/// prediction, and estimation*, 2007, section 4.3).
///
/// ```text
/// ES = (1/J) Σ_j ‖x_j − x₀‖₂ − w Σ_{j,k} ‖x_j − x_k‖₂,   w as the pair term says
/// ```
///
/// # Shapes
/// `truth`: `[D]`; `samples`: `[J, D]`.
///
/// # Units
/// Those of the input; the paper's are [0, 1] pixels. With J = 1 and
/// [`PairTerm::VStatistic`] it is the distance ‖x − x₀‖.
///
/// # Many samples
/// From 1,024 samples on the distances come from products of blocks, on all threads, in 10 MB a thread whatever J: equal
/// to those of fewer to rounding, and to the bit whatever the number of threads.
///
/// # Errors
/// `samples` that are no multiple of `truth`, empty input, values that are not finite, the fair
/// pair term with J = 1.
pub fn energy_score(
    truth: &[f64],
    samples: &[f64],
    pair_term: PairTerm,
) -> Result<f64, MetricsError> {
    let (n, weight) = check(truth, samples, pair_term)?;
    let row = |j: usize| &samples[j * truth.len()..][..truth.len()];
    let distance = |a: &[f64], b: &[f64]| squared_distance(a, b).sqrt();
    let to_truth: f64 = (0..n).map(|j| distance(row(j), truth)).sum();
    let pairs: f64 = if n < MANY {
        (0..n).flat_map(|j| (0..j).map(move |k| distance(row(j), row(k)))).sum()
    } else {
        pairs_in_blocks(samples, truth.len())
    };
    Ok(to_truth / n as f64 - weight * pairs)
}

/// Σ_{j<k} ‖x_j − x_k‖ of many samples.
fn pairs_in_blocks(samples: &[f64], dim: usize) -> f64 {
    let points = Points::centred(samples, &[], dim, as_it_is);
    let of_tile = |rows| {
        let mut sum = 0.0;
        points.visit(rows, true, |_, _, d2| sum += d2.iter().map(|d2| d2.sqrt()).sum::<f64>());
        sum
    };
    // Added in order, whatever thread they come from.
    points.tiles().map(of_tile).collect::<Vec<f64>>().iter().sum()
}

/// Mean over coordinates of the continuous ranked probability score of J samples.
///
/// ```text
/// CRPS = (1/D) Σ_i [ (1/J) Σ_j |x_ji − x₀i| − w Σ_{j,k} |x_ji − x_ki| ],   w as the pair term says
/// ```
///
/// With [`PairTerm::VStatistic`] each term is ∫ (F(z) − 1{z ≥ x₀i})² dz for the empirical
/// distribution function F of the samples (the formula of the paper's appendix F).
///
/// # Shapes
/// `truth`: `[D]`; `samples`: `[J, D]`.
///
/// # Units
/// Those of the input, usually [0, 1] pixels.
///
/// # Errors
/// As [`energy_score`].
pub fn crps_coordinate(
    truth: &[f64],
    samples: &[f64],
    pair_term: PairTerm,
) -> Result<f64, MetricsError> {
    let (n, weight) = check(truth, samples, pair_term)?;
    let mut column = vec![0.0; n];
    let mut sum = 0.0;
    for (i, x0) in truth.iter().enumerate() {
        for (value, row) in column.iter_mut().zip(samples.chunks_exact(truth.len())) {
            *value = row[i];
        }
        column.sort_unstable_by(f64::total_cmp);
        let to_truth: f64 = column.iter().map(|x| (x - x0).abs()).sum();
        // Σ_{j<k} |x_j − x_k|: the gap above the k smallest lies between k (J − k) pairs. All
        // terms are ≥ 0, so nothing cancels.
        let pairs: f64 = column
            .windows(2)
            .zip(1..)
            .map(|(gap, k)| (k * (n - k)) as f64 * (gap[1] - gap[0]))
            .sum();
        sum += to_truth / n as f64 - weight * pairs;
    }
    Ok(sum / truth.len() as f64)
}

/// The number of samples and the weight of their pair term.
fn check(
    truth: &[f64],
    samples: &[f64],
    pair_term: PairTerm,
) -> Result<(usize, f64), MetricsError> {
    check_finite("truth", truth)?;
    let n = check_rows("samples", samples, truth.len())?;
    Ok((n, pair_term.weight(n)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_give_the_distances_of_all_pairs() {
        for (count, dim) in [(300, 3), (700, 40), (2500, 12)] {
            let value = |i: u64| (i * i * 2_654_435_761 % 1_000_003) as f64 / 1e6;
            let samples: Vec<f64> = (1..=(count * dim) as u64).map(value).collect();
            let row = |j: usize| &samples[j * dim..][..dim];
            let all = (0..count).flat_map(|j| (0..j).map(move |k| (j, k)));
            let expected: f64 = all.map(|(j, k)| squared_distance(row(j), row(k)).sqrt()).sum();
            let found = pairs_in_blocks(&samples, dim);
            // Three million terms of one sign, each to some 1e-14.
            assert!((found / expected - 1.0).abs() < 1e-12, "{count} {dim}: {found} {expected}");
        }
    }
}

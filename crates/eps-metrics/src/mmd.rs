//! Maximum mean discrepancy between samples and truths, pooled over images.
//!
//! The paper pools all samples of all images and compares them with the true images. Its table's
//! smallest values are negative; that is no error: the estimator is unbiased, not non-negative,
//! and samples that each resemble one of the truths lie below zero.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

use crate::MetricsError;
use crate::input::{check_rows, squared_distance};

/// MMD² and the width of its kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mmd {
    /// The unbiased estimate of MMD².
    pub mmd2: f64,
    /// m, the median squared distance, in squared units of the input.
    pub median_squared_distance: f64,
}

/// Unbiased MMD² with a Gaussian kernel (Gretton et al., *A kernel two-sample test*, 2012,
/// equation 3).
///
/// ```text
/// MMD² = Σ_{i≠j} k(x_i, x_j) / (M(M−1)) + Σ_{i≠j} k(y_i, y_j) / (N(N−1)) − 2 Σ_{i,j} k(x_i, y_j) / (MN)
/// k(u, v) = exp(−‖u − v‖² / m),   m = median of ‖u − v‖² over distinct pairs of the pooled sample
/// ```
///
/// The median of an even number of values is the mean of the middle two. In the paper's notation
/// m = 2ℓ². Multiplying all input by a constant leaves MMD² as it is.
///
/// # Shapes
/// `samples`: [M, D]; `truths`: [N, D]; M, N ≥ 2. Memory: 8 (M + N)² bytes beside a copy of the
/// input, that is 1 GB for 11,000 images.
///
/// # Units
/// `mmd2` has none.
///
/// # Errors
/// [`MetricsError::TooFewSamples`] below two rows on either side, [`MetricsError::ZeroMedian`]
/// where at least half of all pairs coincide, lengths that are no multiple of `dim`, values that
/// are not finite.
pub fn mmd2(samples: &[f64], truths: &[f64], dim: usize) -> Result<Mmd, MetricsError> {
    Ok(Kernel::new(samples, truths, dim)?.mmd())
}

/// [`mmd2`], and what it would be without each image: its truth and all of its samples left out, the width
/// of the kernel kept. [`Estimate::of_left_out`](crate::summary::Estimate::of_left_out) takes these.
///
/// # Shapes
/// `samples`: [N, J, D]; `truths`: [N, D]; N ≥ 3.
///
/// # Errors
/// As [`mmd2`], and `samples` that are no multiple of `truths`.
pub fn mmd2_left_out(
    samples: &[f64],
    truths: &[f64],
    dim: usize,
) -> Result<(Mmd, Vec<f64>), MetricsError> {
    let per_image = check_rows("samples", samples, truths.len())?;
    let kernel = Kernel::new(samples, truths, dim)?;
    let needed = 3;
    if kernel.truths < needed {
        let what = "mmd2 without an image, truths";
        return Err(MetricsError::TooFewSamples { what, needed, got: kernel.truths });
    }
    Ok((kernel.mmd(), kernel.left_out(per_image)))
}

/// The kernel between all pairs of the pooled points, samples before truths.
struct Kernel {
    /// M.
    samples: usize,
    /// N.
    truths: usize,
    /// k of all pairs, row by row above the diagonal.
    pairs: Vec<f64>,
    /// m.
    median: f64,
}

impl Kernel {
    fn new(samples: &[f64], truths: &[f64], dim: usize) -> Result<Self, MetricsError> {
        let m = check_rows("samples", samples, dim)?;
        let n = check_rows("truths", truths, dim)?;
        for (what, got) in [("mmd2 between samples", m), ("mmd2 between truths", n)] {
            if got < 2 {
                return Err(MetricsError::TooFewSamples { what, needed: 2, got });
            }
        }
        let mut pairs = squared_distances(&centred(samples, truths, dim), dim);
        let median = median(pairs.clone());
        if median == 0.0 {
            return Err(MetricsError::ZeroMedian);
        }
        pairs.par_iter_mut().for_each(|pair| *pair = (-*pair / median).exp());
        Ok(Self { samples: m, truths: n, pairs, median })
    }

    /// Sums over pairs of samples, of a sample and a truth, and of truths.
    fn sums(&self) -> [f64; 3] {
        let total = self.samples + self.truths;
        // Rows are added in order, whatever thread they come from.
        let rows: Vec<[f64; 3]> = (0..total)
            .into_par_iter()
            .map(|i| {
                let row = &self.pairs[row_start(i, total)..row_start(i + 1, total)];
                let (left, right) = row.split_at(self.samples.saturating_sub(i + 1));
                let sum = |part: &[f64]| part.iter().sum::<f64>();
                if i < self.samples { [sum(left), sum(right), 0.0] } else { [0.0, 0.0, sum(right)] }
            })
            .collect();
        [0, 1, 2].map(|part| rows.iter().map(|row| row[part]).sum())
    }

    fn mmd(&self) -> Mmd {
        let mmd2 = unbiased(self.sums(), self.samples, self.truths);
        Mmd { mmd2, median_squared_distance: self.median }
    }

    /// MMD² without each of the images.
    fn left_out(&self, per_image: usize) -> Vec<f64> {
        let (m, n, all) = (self.samples, self.truths, self.sums());
        let of = |i: usize, j: usize| {
            let (first, second) = (i.min(j), i.max(j));
            self.pairs[row_start(first, m + n) + second - first - 1]
        };
        let without = |image: usize| {
            let own = image * per_image..(image + 1) * per_image;
            let truth = m + image;
            // Every pair that one of the image's points is in, once.
            let mut touched = [0.0; 3];
            for i in own.clone() {
                let others = (0..m).filter(|j| !own.contains(j) || *j > i);
                touched[0] += others.map(|j| of(i, j)).sum::<f64>();
                touched[1] += (m..m + n).map(|j| of(i, j)).sum::<f64>();
            }
            let others = (0..m).filter(|i| !own.contains(i));
            touched[1] += others.map(|i| of(i, truth)).sum::<f64>();
            touched[2] += (m..m + n).filter(|j| *j != truth).map(|j| of(truth, j)).sum::<f64>();
            unbiased([0, 1, 2].map(|part| all[part] - touched[part]), m - per_image, n - 1)
        };
        (0..n).into_par_iter().map(without).collect()
    }
}

/// MMD² of M samples and N truths from the sums of the kernel over distinct pairs.
fn unbiased([xx, xy, yy]: [f64; 3], m: usize, n: usize) -> f64 {
    let (m, n) = (m as f64, n as f64);
    2.0 * xx / (m * (m - 1.0)) + 2.0 * yy / (n * (n - 1.0)) - 2.0 * xy / (m * n)
}

/// Both sets, one after the other, less their common mean.
fn centred(samples: &[f64], truths: &[f64], dim: usize) -> Vec<f64> {
    let mut points = [samples, truths].concat();
    let count = (points.len() / dim) as f64;
    let mut mean = vec![0.0; dim];
    for row in points.chunks_exact(dim) {
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
    }
    mean.iter_mut().for_each(|m| *m /= count);
    for row in points.chunks_exact_mut(dim) {
        row.iter_mut().zip(&mean).for_each(|(x, m)| *x -= m);
    }
    points
}

/// Where the pairs (i, j > i) of `n` points begin.
fn row_start(i: usize, n: usize) -> usize {
    i * (2 * n - i - 1) / 2
}

/// ‖u − v‖² of all pairs of the centred points, row by row above the diagonal.
///
/// Most come from ‖u‖² + ‖v‖² − 2 u·v, a matrix product. Its rounding error is at most about
/// D ε (‖u‖² + ‖v‖²). A pair with d² below a thousandth of ‖u‖² + ‖v‖², where more than three
/// digits cancel, is computed from its difference instead; so the relative error of every d² is
/// below 10³ D ε (3e-9 for D = 12,288; in practice rounding errors average out to about √D), and
/// near-duplicates and exact ones (d² = 0) come out right.
fn squared_distances(points: &[f64], dim: usize) -> Vec<f64> {
    const TILE: usize = 128;
    const CANCELLED: f64 = 1e-3;
    let n = points.len() / dim;
    let row = |i: usize| &points[i * dim..][..dim];
    let zero = vec![0.0; dim];
    let norms: Vec<f64> = (0..n).into_par_iter().map(|i| squared_distance(row(i), &zero)).collect();
    let matrix = MatRef::from_row_major_slice(points, n, dim);

    let mut d2 = vec![0.0; n * (n - 1) / 2];
    let mut tiles = Vec::new();
    let mut rest = d2.as_mut_slice();
    for start in (0..n).step_by(TILE) {
        let end = (start + TILE).min(n);
        let (tile, after) = rest.split_at_mut(row_start(end, n) - row_start(start, n));
        tiles.push((start, end, tile));
        rest = after;
    }
    tiles.into_par_iter().for_each(|(start, end, tile)| {
        // Column i − start holds the products of point i with the points from `start` on.
        let mut gram = Mat::<f64>::zeros(n - start, end - start);
        matmul(
            gram.as_mut(),
            Accum::Replace,
            matrix.subrows(start, n - start),
            matrix.subrows(start, end - start).transpose(),
            1.0,
            Par::Seq,
        );
        let mut pairs = tile.iter_mut();
        for i in start..end {
            for (j, pair) in (i + 1..n).zip(&mut pairs) {
                let scale = norms[i] + norms[j];
                let fast = scale - 2.0 * gram[(j - start, i - start)];
                *pair =
                    if fast < CANCELLED * scale { squared_distance(row(i), row(j)) } else { fast };
            }
        }
    });
    d2
}

/// The median as numpy's: the mean of the two middle values where their number is even.
fn median(mut values: Vec<f64>) -> f64 {
    let half = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    if even {
        let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        0.5 * (lower + upper)
    } else {
        upper
    }
}

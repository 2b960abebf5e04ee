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
    let m = check_rows("samples", samples, dim)?;
    let n = check_rows("truths", truths, dim)?;
    for (what, got) in [("mmd2 between samples", m), ("mmd2 between truths", n)] {
        if got < 2 {
            return Err(MetricsError::TooFewSamples { what, needed: 2, got });
        }
    }

    let total = m + n;
    let d2 = squared_distances(&centred(samples, truths, dim), dim);
    let median = median(d2.clone());
    if median == 0.0 {
        return Err(MetricsError::ZeroMedian);
    }

    // Sums of the kernel over pairs of samples, of a sample and a truth, and of truths. Rows are
    // added in order, whatever thread they come from.
    let rows: Vec<[f64; 3]> = (0..total)
        .into_par_iter()
        .map(|i| {
            let row = &d2[row_start(i, total)..row_start(i + 1, total)];
            let (left, right) = row.split_at(m.saturating_sub(i + 1));
            let sum = |part: &[f64]| part.iter().map(|d2| (-d2 / median).exp()).sum::<f64>();
            if i < m { [sum(left), sum(right), 0.0] } else { [0.0, 0.0, sum(right)] }
        })
        .collect();
    let [xx, xy, yy] = [0, 1, 2].map(|part| rows.iter().map(|row| row[part]).sum::<f64>());

    let (m, n) = (m as f64, n as f64);
    Ok(Mmd {
        mmd2: 2.0 * xx / (m * (m - 1.0)) + 2.0 * yy / (n * (n - 1.0)) - 2.0 * xy / (m * n),
        median_squared_distance: median,
    })
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

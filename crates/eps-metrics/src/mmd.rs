//! Maximum mean discrepancy between samples and truths, pooled over images.
//!
//! The paper pools all samples of all images and compares them with the true images. Its table's
//! smallest values are negative; that is no error: the estimator is unbiased, not non-negative,
//! and samples that each resemble one of the truths lie below zero.

use rayon::prelude::*;

use crate::MetricsError;
use crate::input::check_rows;
use crate::pairs::{Points, as_it_is, median, row_start};

/// The most pairs whose kernel is kept, 256 MiB of them: the pairs of 8,192 points. With more, distances are
/// computed as often as they are needed.
const KEPT: usize = 1 << 25;

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
/// `samples`: [M, D]; `truths`: [N, D]; M, N ≥ 2. Memory: at most 0.6 GB, and for up to 8,192 points a copy
/// of them; more points stay where they are and are taken in blocks, 10 MB a thread. The time grows with D (M + N)².
///
/// # Units
/// `mmd2` has none.
///
/// # Errors
/// [`MetricsError::TooFewSamples`] below two rows on either side, [`MetricsError::ZeroMedian`]
/// where at least half of all pairs coincide, lengths that are no multiple of `dim`, values that
/// are not finite.
pub fn mmd2(samples: &[f64], truths: &[f64], dim: usize) -> Result<Mmd, MetricsError> {
    mmd2_on(samples, truths, dim, as_it_is)
}

/// [`mmd2`] of values on another scale, to which `scale` takes each.
pub(crate) fn mmd2_on(
    samples: &[f64],
    truths: &[f64],
    dim: usize,
    scale: fn(f64) -> f64,
) -> Result<Mmd, MetricsError> {
    Ok(Kernel::new(samples, truths, dim, scale, KEPT)?.mmd())
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
    let kernel = Kernel::new(samples, truths, dim, as_it_is, KEPT)?;
    let needed = 3;
    if kernel.truths < needed {
        let what = "mmd2 without an image, truths";
        return Err(MetricsError::TooFewSamples { what, needed, got: kernel.truths });
    }
    Ok((kernel.mmd(), kernel.left_out(per_image)))
}

/// The kernel between all pairs of the pooled points, samples before truths.
struct Kernel<'a> {
    /// M.
    samples: usize,
    /// N.
    truths: usize,
    pairs: Pairs<'a>,
    /// m.
    median: f64,
}

/// Where the kernel's values come from.
enum Pairs<'a> {
    /// k of all pairs, row by row above the diagonal.
    Kept(Vec<f64>),
    /// Computed block by block.
    Computed(Points<'a>),
}

impl<'a> Kernel<'a> {
    /// The kernel; the values of at most `kept` pairs are kept.
    fn new(
        samples: &'a [f64],
        truths: &'a [f64],
        dim: usize,
        scale: fn(f64) -> f64,
        kept: usize,
    ) -> Result<Self, MetricsError> {
        let m = check_rows("samples", samples, dim)?;
        let n = check_rows("truths", truths, dim)?;
        for (what, got) in [("mmd2 between samples", m), ("mmd2 between truths", n)] {
            if got < 2 {
                return Err(MetricsError::TooFewSamples { what, needed: 2, got });
            }
        }
        let points = Points::centred(samples, truths, dim, scale);
        let (pairs, median) = if points.pairs() <= kept {
            let d2 = points.squared_distances();
            let median = median(d2.clone());
            (Pairs::Kept(d2), median)
        } else {
            let median = points.median(kept);
            (Pairs::Computed(points), median)
        };
        if median == 0.0 {
            return Err(MetricsError::ZeroMedian);
        }
        let mut kernel = Self { samples: m, truths: n, pairs, median };
        if let Pairs::Kept(pairs) = &mut kernel.pairs {
            pairs.par_iter_mut().for_each(|pair| *pair = (-*pair / median).exp());
        }
        Ok(kernel)
    }

    /// Sums over pairs of samples, of a sample and a truth, and of truths.
    fn sums(&self) -> [f64; 3] {
        let total = self.samples + self.truths;
        // Rows are added in order, whatever thread they come from.
        let rows: Vec<[f64; 3]> = match &self.pairs {
            Pairs::Kept(pairs) => (0..total)
                .into_par_iter()
                .map(|i| {
                    let row = &pairs[row_start(i, total)..row_start(i + 1, total)];
                    let (left, right) = row.split_at(self.samples.saturating_sub(i + 1));
                    let sum = |part: &[f64]| part.iter().sum::<f64>();
                    if i < self.samples {
                        [sum(left), sum(right), 0.0]
                    } else {
                        [0.0, 0.0, sum(right)]
                    }
                })
                .collect(),
            Pairs::Computed(points) => {
                let of_tile = |rows| {
                    let mut sums = [0.0; 3];
                    points.visit(rows, true, |i, first, d2| {
                        let (left, right) =
                            d2.split_at(self.samples.saturating_sub(first).min(d2.len()));
                        let is_sample = i < self.samples;
                        sums[0] += self.sum(left);
                        sums[if is_sample { 1 } else { 2 }] += self.sum(right);
                    });
                    sums
                };
                points.tiles().map(of_tile).collect()
            }
        };
        [0, 1, 2].map(|part| rows.iter().map(|row| row[part]).sum())
    }

    /// The sum of k over squared distances.
    fn sum(&self, d2: &[f64]) -> f64 {
        d2.iter().map(|d2| (-d2 / self.median).exp()).sum()
    }

    fn mmd(&self) -> Mmd {
        let mmd2 = unbiased(self.sums(), self.samples, self.truths);
        Mmd { mmd2, median_squared_distance: self.median }
    }

    /// MMD² without each of the images.
    fn left_out(&self, per_image: usize) -> Vec<f64> {
        let (m, n, all) = (self.samples, self.truths, self.sums());
        let touched = match &self.pairs {
            Pairs::Kept(pairs) => self.touched(pairs, per_image),
            Pairs::Computed(points) => self.touched_computed(points, per_image),
        };
        let without = |touched: [f64; 3]| {
            unbiased([0, 1, 2].map(|part| all[part] - touched[part]), m - per_image, n - 1)
        };
        touched.into_iter().map(without).collect()
    }

    /// For each image, the sums over every pair that one of its points is in, once.
    fn touched(&self, pairs: &[f64], per_image: usize) -> Vec<[f64; 3]> {
        let (m, n) = (self.samples, self.truths);
        let of = |i: usize, j: usize| {
            let (first, second) = (i.min(j), i.max(j));
            pairs[row_start(first, m + n) + second - first - 1]
        };
        let of_image = |image: usize| {
            let own = image * per_image..(image + 1) * per_image;
            let truth = m + image;
            let mut touched = [0.0; 3];
            for i in own.clone() {
                let others = (0..m).filter(|j| !own.contains(j) || *j > i);
                touched[0] += others.map(|j| of(i, j)).sum::<f64>();
                touched[1] += (m..m + n).map(|j| of(i, j)).sum::<f64>();
            }
            let others = (0..m).filter(|i| !own.contains(i));
            touched[1] += others.map(|i| of(i, truth)).sum::<f64>();
            touched[2] += (m..m + n).filter(|j| *j != truth).map(|j| of(truth, j)).sum::<f64>();
            touched
        };
        (0..n).into_par_iter().map(of_image).collect()
    }

    /// [`Self::touched`] without kept values.
    fn touched_computed(&self, points: &Points<'_>, per_image: usize) -> Vec<[f64; 3]> {
        let m = self.samples;
        let of_tile = |rows: std::ops::Range<usize>| {
            let mut of_rows = vec![[0.0; 3]; rows.len()];
            let start = rows.start;
            points.visit(rows, false, |i, first, d2| {
                let image = if i < m { i / per_image } else { i - m };
                let own = image * per_image..(image + 1) * per_image;
                for (j, d2) in (first..).zip(d2) {
                    // The image's own pairs count in the row of their first point alone.
                    let part = match (i < m, j < m) {
                        (true, true) if own.contains(&j) && j <= i => continue,
                        (true, true) => 0,
                        (true, false) => 1,
                        (false, true) if own.contains(&j) => continue,
                        (false, true) => 1,
                        (false, false) if j == i => continue,
                        (false, false) => 2,
                    };
                    of_rows[i - start][part] += (-d2 / self.median).exp();
                }
            });
            of_rows
        };
        let of_rows: Vec<Vec<[f64; 3]>> = points.tiles().map(of_tile).collect();
        let of_rows = of_rows.concat();
        let of_image = |image: usize| {
            let own = &of_rows[image * per_image..(image + 1) * per_image];
            let rows = own.iter().chain([&of_rows[m + image]]);
            rows.fold([0.0; 3], |sum, row| [0, 1, 2].map(|part| sum[part] + row[part]))
        };
        (0..self.truths).map(of_image).collect()
    }
}

/// MMD² of M samples and N truths from the sums of the kernel over distinct pairs.
fn unbiased([xx, xy, yy]: [f64; 3], m: usize, n: usize) -> f64 {
    let (m, n) = (m as f64, n as f64);
    2.0 * xx / (m * (m - 1.0)) + 2.0 * yy / (n * (n - 1.0)) - 2.0 * xy / (m * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_give_what_kept_pairs_give() {
        // (images, samples of each, values of an image): one block and several, with matrix products and without.
        for (images, per_image, dim) in [(40, 3, 1), (700, 3, 2), (60, 4, 30)] {
            let values = |count: usize, factor: u64| -> Vec<f64> {
                (1..=count as u64).map(|i| (i * i * factor % 1_000_003) as f64 / 1e6).collect()
            };
            let samples = values(images * per_image * dim, 2_654_435_761);
            let truths = values(images * dim, 40_503);
            let kernel = |kept| Kernel::new(&samples, &truths, dim, as_it_is, kept).unwrap();
            let (kept, computed) = (kernel(usize::MAX), kernel(0));
            assert!(matches!(computed.pairs, Pairs::Computed(_)));
            let (a, b) = (kept.mmd(), computed.mmd());
            // Sums of up to 4 million terms below 1, divided by their number.
            assert!((a.mmd2 - b.mmd2).abs() < 1e-12, "{a:?} {b:?}");
            let relative = a.median_squared_distance / b.median_squared_distance - 1.0;
            assert!(relative.abs() < 1e-13, "{a:?} {b:?}");
            let left_out = kept.left_out(per_image).into_iter().zip(computed.left_out(per_image));
            for (a, b) in left_out {
                assert!((a - b).abs() < 1e-12, "{a} {b}");
            }
        }
    }
}

//! ‖u − v‖² of all pairs of points: kept, or computed block by block where they are too many.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

use crate::input::squared_distance;

/// Rows of a block.
const TILE: usize = 128;

/// The most columns of a block, where not all pairs are kept.
const WIDTH: usize = 2048;

/// The most values of a block's columns, 8 MiB of them, unless a tile has more.
const BLOCK_VALUES: usize = 1 << 20;

/// Points of few coordinates, whose differences are taken at once, without a matrix product.
const FEW: usize = 8;

/// Bins of a histogram of distances.
const BINS: usize = 1 << 18;

/// P points, less their common mean. They stay where they are; what a block needs of them is gathered for it.
pub(crate) struct Points<'a> {
    /// `[P₁, D]`
    first: &'a [f64],
    /// `[P₂, D]`
    second: &'a [f64],
    dim: usize,
    /// Takes each value to the scale on which distances are.
    scale: fn(f64) -> f64,
    mean: Vec<f64>,
    /// ‖u‖² of each.
    norms: Vec<f64>,
}

/// Some points, less the common mean of all.
struct Gathered {
    /// The number of the first.
    start: usize,
    /// `[rows, D]`
    values: Vec<f64>,
    dim: usize,
}

impl Gathered {
    fn row(&self, i: usize) -> &[f64] {
        &self.values[(i - self.start) * self.dim..][..self.dim]
    }

    /// The values of its rows from one on.
    fn after(&self, i: usize) -> &[f64] {
        &self.values[(i - self.start) * self.dim..]
    }

    /// Some of its rows as a matrix.
    fn rows(&self, rows: Range<usize>) -> MatRef<'_, f64> {
        let count = self.values.len() / self.dim;
        MatRef::from_row_major_slice(&self.values, count, self.dim)
            .subrows(rows.start - self.start, rows.len())
    }
}

/// A value as it is.
pub(crate) fn as_it_is(value: f64) -> f64 {
    value
}

impl<'a> Points<'a> {
    /// The rows of both sets on a scale, one after the other, less their common mean.
    pub(crate) fn centred(
        first: &'a [f64],
        second: &'a [f64],
        dim: usize,
        scale: fn(f64) -> f64,
    ) -> Self {
        let count = ((first.len() + second.len()) / dim) as f64;
        let mut mean = vec![0.0; dim];
        for row in first.chunks_exact(dim).chain(second.chunks_exact(dim)) {
            mean.iter_mut().zip(row).for_each(|(m, x)| *m += scale(*x));
        }
        mean.iter_mut().for_each(|m| *m /= count);
        let mut points = Self { first, second, dim, scale, mean, norms: Vec::new() };
        let zero = vec![0.0; dim];
        let of_tile = |rows: Range<usize>| -> Vec<f64> {
            let tile = points.gather(rows.clone());
            rows.map(|i| squared_distance(tile.row(i), &zero)).collect()
        };
        let total = (first.len() + second.len()) / dim;
        let norms: Vec<Vec<f64>> = tiles(total).map(of_tile).collect();
        points.norms = norms.concat();
        points
    }

    /// The points of some numbers.
    fn gather(&self, rows: Range<usize>) -> Gathered {
        let place = |i: usize| (i * self.dim).min(self.first.len());
        let rest = |i: usize| (i * self.dim).saturating_sub(self.first.len());
        let first = &self.first[place(rows.start)..place(rows.end)];
        let second = &self.second[rest(rows.start)..rest(rows.end)];
        let mut values = Vec::with_capacity(first.len() + second.len());
        for row in first.chunks_exact(self.dim).chain(second.chunks_exact(self.dim)) {
            values.extend(row.iter().zip(&self.mean).map(|(x, m)| (self.scale)(*x) - m));
        }
        Gathered { start: rows.start, values, dim: self.dim }
    }

    /// The columns of a block.
    fn width(&self) -> usize {
        (BLOCK_VALUES / self.dim).clamp(TILE, WIDTH)
    }

    /// P.
    pub(crate) fn len(&self) -> usize {
        self.norms.len()
    }

    /// The number of distinct pairs.
    pub(crate) fn pairs(&self) -> usize {
        self.len() * (self.len() - 1) / 2
    }

    /// ‖u − v‖² of all pairs, row by row above the diagonal; see [`row_start`]. All points are gathered for it.
    pub(crate) fn squared_distances(&self) -> Vec<f64> {
        let n = self.len();
        let points = self.gather(0..n);
        let mut d2 = vec![0.0; self.pairs()];
        let mut tiles = Vec::new();
        let mut rest = d2.as_mut_slice();
        for start in (0..n).step_by(TILE) {
            let end = (start + TILE).min(n);
            let (tile, after) = rest.split_at_mut(row_start(end, n) - row_start(start, n));
            tiles.push((start, end, tile));
            rest = after;
        }
        tiles.into_par_iter().for_each(|(start, end, tile)| {
            let gram = gram(points.rows(start..end), points.rows(start..n));
            let mut pairs = tile.iter_mut();
            for i in start..end {
                for (j, pair) in (i + 1..n).zip(&mut pairs) {
                    let rows = || [points.row(i), points.row(j)];
                    *pair = self.squared_distance(i, j, gram[(j - start, i - start)], rows);
                }
            }
        });
        d2
    }

    /// The blocks of rows that [`Self::visit`] takes.
    pub(crate) fn tiles(&self) -> impl IndexedParallelIterator<Item = Range<usize>> {
        tiles(self.len())
    }

    /// Hands the squared distances of some rows to `take`, in pieces: the row i, a column j, and the distances
    /// of i from the points j, j + 1, … (its own, 0, among them), in order of the columns.
    ///
    /// Where `above`, the columns above the diagonal alone.
    pub(crate) fn visit(
        &self,
        rows: Range<usize>,
        above: bool,
        mut take: impl FnMut(usize, usize, &[f64]),
    ) {
        let n = self.len();
        let width = self.width();
        let mut piece = Vec::with_capacity(width);
        let first = if above { rows.start } else { 0 };
        let tile = self.gather(rows.clone());
        for start in (first..n).step_by(width) {
            let columns = start..(start + width).min(n);
            let block = self.gather(columns.clone());
            let gram = (self.dim > FEW)
                .then(|| gram(tile.rows(rows.clone()), block.rows(columns.clone())));
            for i in rows.clone() {
                let own = if above { columns.start.max(i + 1) } else { columns.start };
                if own >= columns.end {
                    continue;
                }
                piece.clear();
                match &gram {
                    Some(gram) => piece.extend((own..columns.end).map(|j| {
                        let product = gram[(j - columns.start, i - rows.start)];
                        self.squared_distance(i, j, product, || [tile.row(i), block.row(j)])
                    })),
                    None => differences(tile.row(i), block.after(own), &mut piece),
                }
                take(i, own, &piece);
            }
        }
    }

    /// The median of ‖u − v‖² over distinct pairs, as numpy's: the mean of the two middle values where their
    /// number is even. At most `most` distances are held at a time, beside histograms of 2 MiB a thread.
    ///
    /// The bits of numbers that are not negative are in the numbers' order, so that a histogram of them finds
    /// the bin of the middle value, whose own values are sorted, or counted in finer bins where they are many.
    pub(crate) fn median(&self, most: usize) -> f64 {
        let pairs = self.pairs();
        let upper_rank = pairs / 2;
        // The middle value's bits are in `low..=high`, with `below` values beneath them.
        let (mut low, mut high, mut below) = (0, f64::MAX.to_bits(), 0);
        let mut inside = pairs;
        while inside > most && low < high {
            let width = (high - low) / BINS as u64 + 1;
            let counts = self.histogram(low, high, width);
            let mut bin = 0;
            while below + counts[bin] <= upper_rank {
                below += counts[bin];
                bin += 1;
            }
            inside = counts[bin];
            low += bin as u64 * width;
            high = high.min(low + (width - 1));
        }
        let (mut values, largest_below) = self.between(low, high, low < high);
        // Where the bin is one value, all of its distances have it.
        let at = upper_rank - below;
        let upper = if low == high {
            f64::from_bits(low)
        } else {
            *values.select_nth_unstable_by(at, f64::total_cmp).1
        };
        let lower = match at {
            0 => largest_below,
            _ if low == high => upper,
            _ => values[..at].iter().copied().fold(f64::NEG_INFINITY, f64::max),
        };
        if pairs.is_multiple_of(2) { 0.5 * (lower + upper) } else { upper }
    }

    /// How many distances have bits from `low` to `high`, in bins of `width`.
    fn histogram(&self, low: u64, high: u64, width: u64) -> Vec<usize> {
        #[expect(clippy::cast_possible_truncation, reason = "the number of a bin, below BINS")]
        let count = |mut counts: Vec<usize>, rows: Range<usize>| {
            self.visit(rows, true, |_, _, d2| {
                for bits in d2.iter().map(|d2| d2.to_bits()) {
                    if (low..=high).contains(&bits) {
                        counts[((bits - low) / width) as usize] += 1;
                    }
                }
            });
            counts
        };
        // Whole numbers add up to the same whatever their order.
        let add = |mut a: Vec<usize>, b: Vec<usize>| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        };
        self.tiles().fold(|| vec![0; BINS], count).reduce(|| vec![0; BINS], add)
    }

    /// The distances with bits from `low` to `high`, where `keep`, and the largest of those below.
    fn between(&self, low: u64, high: u64, keep: bool) -> (Vec<f64>, f64) {
        let rows = |rows: Range<usize>| {
            let (mut kept, mut below) = (Vec::new(), f64::NEG_INFINITY);
            self.visit(rows, true, |_, _, d2| {
                for &d2 in d2 {
                    let bits = d2.to_bits();
                    if bits < low {
                        below = below.max(d2);
                    } else if keep && bits <= high {
                        kept.push(d2);
                    }
                }
            });
            (kept, below)
        };
        let of_tiles: Vec<(Vec<f64>, f64)> = self.tiles().map(rows).collect();
        let below = of_tiles.iter().fold(f64::NEG_INFINITY, |below, (_, of)| below.max(*of));
        (of_tiles.into_iter().flat_map(|(kept, _)| kept).collect(), below)
    }

    /// ‖u − v‖² from u·v.
    ///
    /// Most come from ‖u‖² + ‖v‖² − 2 u·v, whose rounding error is at most about D ε (‖u‖² + ‖v‖²). A pair
    /// with d² below a thousandth of ‖u‖² + ‖v‖², where more than three digits cancel, is computed from its
    /// difference instead; so the relative error of every d² is below 10³ D ε (3e-9 for D = 12,288; in
    /// practice rounding errors average out to about √D), and near-duplicates and exact ones (d² = 0) come
    /// out right.
    fn squared_distance<'b>(
        &self,
        i: usize,
        j: usize,
        product: f64,
        rows: impl FnOnce() -> [&'b [f64]; 2],
    ) -> f64 {
        const CANCELLED: f64 = 1e-3;
        let scale = self.norms[i] + self.norms[j];
        let fast = scale - 2.0 * product;
        if fast < CANCELLED * scale {
            let [u, v] = rows();
            squared_distance(u, v)
        } else {
            fast
        }
    }
}

/// The blocks of rows of so many points.
fn tiles(points: usize) -> impl IndexedParallelIterator<Item = Range<usize>> {
    (0..points.div_ceil(TILE))
        .into_par_iter()
        .map(move |tile| tile * TILE..((tile + 1) * TILE).min(points))
}

/// The products of points, `[columns, rows]`.
fn gram(rows: MatRef<'_, f64>, columns: MatRef<'_, f64>) -> Mat<f64> {
    let mut gram = Mat::<f64>::zeros(columns.nrows(), rows.nrows());
    matmul(gram.as_mut(), Accum::Replace, columns, rows.transpose(), 1.0, Par::Seq);
    gram
}

/// ‖u − v‖² of one point and others, from their differences.
fn differences(own: &[f64], others: &[f64], piece: &mut Vec<f64>) {
    if let [own] = own {
        piece.extend(others.iter().map(|other| (own - other) * (own - other)));
    } else {
        piece.extend(others.chunks_exact(own.len()).map(|other| squared_distance(own, other)));
    }
}

/// Where the pairs (i, j > i) of `n` points begin.
pub(crate) fn row_start(i: usize, n: usize) -> usize {
    i * (2 * n - i - 1) / 2
}

/// The median as numpy's: the mean of the two middle values where their number is even.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between 0 and 1 in no order.
    fn values(count: usize) -> Vec<f64> {
        (1..=count as u64).map(|i| (i * i * 2_654_435_761 % 1_000_003) as f64 / 1e6).collect()
    }

    #[test]
    fn the_median_found_in_bins_is_that_of_all_pairs() {
        for (count, dim) in [(300, 1), (301, 1), (150, 3), (302, 20)] {
            let values = values(count * dim);
            let points = Points::centred(&values[..dim], &values[dim..], dim, as_it_is);
            let expected = median(points.squared_distances());
            for most in [0, 10, 1000] {
                let found = points.median(most);
                // Products of blocks of other sizes round in another way.
                assert!((found / expected - 1.0).abs() < 1e-13, "{count} {dim} {most}: {found}");
            }
        }
    }

    #[test]
    fn points_are_gathered_across_both_sets_and_scaled() {
        let values = values(9 * 12);
        let points = Points::centred(&values[..36], &values[36..], 12, |x| 0.5 * x + 1.0);
        let moved: Vec<f64> = values.iter().map(|x| 0.5 * x + 1.0).collect();
        let expected = Points::centred(&moved[..36], &moved[36..], 12, as_it_is);
        assert_eq!(points.gather(0..9).values, expected.gather(0..9).values);
        assert_eq!(points.gather(2..5).values, expected.gather(0..9).values[24..60]);
        assert_eq!(points.squared_distances(), expected.squared_distances());
    }

    #[test]
    fn equal_distances_have_their_median() {
        // Of five zeros and three ones 15 pairs differ and 13 do not; with two zeros more 21 and 24.
        for (zeros, ones, expected) in [(5, 3, 1.0), (7, 3, 0.0), (1, 3, 0.5)] {
            let (first, second) = (vec![0.0; zeros], vec![1.0; ones]);
            let points = Points::centred(&first, &second, 1, as_it_is);
            assert_eq!(points.median(0), expected, "{zeros} {ones}");
            assert_eq!(median(points.squared_distances()), expected);
        }
    }

    #[test]
    fn every_pair_is_visited_once() {
        let values = values(5000);
        let points = Points::centred(&values[..1000], &values[1000..], 1, as_it_is);
        let count = |above: bool| -> usize {
            let rows = |rows: Range<usize>| {
                let mut count = 0;
                points.visit(rows, above, |_, _, d2| count += d2.len());
                count
            };
            points.tiles().map(rows).sum()
        };
        assert_eq!((count(true), count(false)), (12_497_500, 25_000_000));
    }
}

//! Compressed sensing by a fast transform.

use super::expression::{Eigenbasis, Expression};
use super::linear_map::{LinearMap, Spectral, assert_length};
use super::picks::Picks;
use crate::rng::Stream;
use crate::{MathError, Shape};

/// y = S H D x: random signs D, the orthonormal Walsh-Hadamard transform H of all values of the image, and some of its rows, S, drawn
/// by a seed.
///
/// The rows are orthonormal, so that the eigenvalues of AᵀA are 1 for the rows that are kept and 0 for the others. H is the natural one,
/// that of Sylvester: entry (i, j) is (−1)^(bits that i and j share)/√n.
///
/// # Shapes
/// x: any of n values, a power of two; y: `[1, 1, m]`, in the order in which the rows were drawn
#[derive(Debug, Clone)]
pub struct WalshHadamard {
    shape: Shape,
    signs: Vec<f64>,
    kept: Vec<usize>,
}

impl WalshHadamard {
    /// The operator of `rows` rows for images of `shape`.
    ///
    /// Sign i is that of the number i of the stream "signs of walsh-hadamard", + below 1/2; rows are those of a Fisher-Yates shuffle of all rows by
    /// the stream "rows of walsh-hadamard".
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a number of values that is no power of two, and of rows that is 0 or above it.
    pub fn new(shape: Shape, rows: usize, seed: u64) -> Result<Self, MathError> {
        let n = shape.len();
        if !n.is_power_of_two() {
            return Err(MathError::OutOfRange {
                what: "the number of values of an image of walsh-hadamard",
                value: n as f64,
                range: "a power of two: pad the image with zeros",
            });
        }
        if rows == 0 || rows > n {
            return Err(MathError::OutOfRange {
                what: "the number of rows of walsh-hadamard",
                value: rows as f64,
                range: "at least 1 and at most the number of values, rounded up to a power of two",
            });
        }
        let draw = Stream::named(seed, "signs of walsh-hadamard");
        let sign = |i| if draw.uniform(i) < 0.5 { 1.0 } else { -1.0 };
        let signs = (0..n as u64).map(sign).collect();
        let draw = Stream::named(seed, "rows of walsh-hadamard");
        let mut kept: Vec<usize> = (0..n).collect();
        for i in 0..rows {
            kept.swap(i, i + draw.below(i as u64, n - i));
        }
        kept.truncate(rows);
        Ok(Self { shape, signs, kept })
    }

    /// H, its own inverse.
    fn transform(values: &mut [f64]) {
        let n = values.len();
        let mut half = 1;
        while half < n {
            for block in values.chunks_exact_mut(2 * half) {
                let (first, second) = block.split_at_mut(half);
                for (a, b) in first.iter_mut().zip(second) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half *= 2;
        }
        let scale = (n as f64).sqrt().recip();
        values.iter_mut().for_each(|value| *value *= scale);
    }
}

impl LinearMap for WalshHadamard {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        Shape { channels: 1, height: 1, width: self.kept.len() }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let mut values: Vec<f64> = x.iter().zip(&self.signs).map(|(x, sign)| x * sign).collect();
        Self::transform(&mut values);
        self.kept.iter().map(|row| values[*row]).collect()
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range());
        let mut values = vec![0.0; self.shape.len()];
        self.kept.iter().zip(y).for_each(|(row, y)| values[*row] = *y);
        Self::transform(&mut values);
        values.iter_mut().zip(&self.signs).for_each(|(value, sign)| *value *= sign);
        values
    }

    /// All entries of H are of one size.
    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        let share = self.kept.len() as f64 / self.shape.len() as f64;
        Some(vec![share * f(1.0) + (1.0 - share) * f(0.0); self.shape.len()])
    }

    fn expression(&self) -> Option<Expression> {
        let row = Shape { channels: 1, height: 1, width: self.shape.len() };
        let kept = Picks::of_pixels(row, self.range(), self.kept.iter().copied());
        let signed = Expression::Weights(self.signs.clone());
        Some(signed.then(Expression::Hadamard).then(kept.expression()))
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }
}

impl Spectral for WalshHadamard {
    /// In the order of the rows of H.
    fn eigenvalues(&self) -> Vec<f64> {
        let mut values = vec![0.0; self.shape.len()];
        self.kept.iter().for_each(|row| values[*row] = 1.0);
        values
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        let (rest, along) = (f(0.0), f(1.0) - f(0.0));
        let seen = self.adjoint(&self.apply(x));
        x.iter().zip(seen).map(|(x, seen)| rest * x + along * seen).collect()
    }

    /// The rows that are kept.
    fn eigenbasis(&self) -> Option<Eigenbasis> {
        Some(Eigenbasis {
            into: self.expression()?,
            eigenvalues: vec![1.0; self.kept.len()],
            is_whole: false,
        })
    }
}

/// The values of an image in one row, with zeros after them up to a power of two.
#[derive(Debug, Clone)]
pub(super) struct Lengthened {
    shape: Shape,
    range: Shape,
}

impl Lengthened {
    pub(super) fn new(shape: Shape) -> Result<Self, MathError> {
        let range = Shape::new(1, 1, shape.len().next_power_of_two())?;
        Ok(Self { shape, range })
    }
}

impl LinearMap for Lengthened {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        self.range
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let mut values = x.to_vec();
        values.resize(self.range.len(), 0.0);
        values
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range);
        y[..self.shape.len()].to_vec()
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        Some(self.adjoint(y))
    }

    fn picks(&self) -> Option<Picks> {
        let padded = Picks::of_pixels(self.range, self.shape, 0..self.shape.len());
        Some(padded.transposed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_those_of_sylvester() {
        let shape = Shape::new(2, 2, 4).unwrap();
        let all = WalshHadamard::new(shape, 16, 3).unwrap();
        for j in 0..16 {
            let mut unit = vec![0.0; 16];
            unit[j] = all.signs[j];
            for (row, value) in all.kept.iter().zip(all.apply(&unit)) {
                let sign = if (row & j).count_ones() % 2 == 0 { 0.25 } else { -0.25 };
                assert_eq!(value, sign, "{row} {j}");
            }
        }
        let mut rows = all.kept.clone();
        rows.sort_unstable();
        assert_eq!(rows, (0..16).collect::<Vec<_>>());
        // Fewer rows of a seed are the first ones of more.
        assert_eq!(WalshHadamard::new(shape, 5, 3).unwrap().kept, all.kept[..5]);
    }
}

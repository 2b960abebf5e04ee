//! The 2-D cosine transforms of one plane.

use std::f64::consts::SQRT_2;
use std::sync::Arc;

use rustdct::{Dct1, DctPlanner, TransformType2And3};

use super::expression::Expression;
use crate::cholesky::transposed;

/// What lies beyond the ends of a row, of which cosines are the waves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mirror {
    /// The row mirrored at the edge of its last pixel, which is repeated: DCT-II.
    Edge,
    /// The row mirrored at the middle of its last pixel, which is not repeated: DCT-I. Of two pixels at least.
    Pixel,
}

impl Mirror {
    /// After how many pixels a row of `length` repeats.
    pub(super) fn period(self, length: usize) -> usize {
        match self {
            Self::Edge => 2 * length,
            Self::Pixel => 2 * length - 2,
        }
    }
}

/// The orthonormal cosine transform along one axis.
#[derive(Clone)]
enum Axis {
    Edge(Arc<dyn TransformType2And3<f64>>),
    Pixel(Arc<dyn Dct1<f64>>),
}

impl Axis {
    fn new(planner: &mut DctPlanner<f64>, mirror: Mirror, length: usize) -> Self {
        match mirror {
            Mirror::Edge => Self::Edge(planner.plan_dct2(length)),
            Mirror::Pixel => Self::Pixel(planner.plan_dct1(length)),
        }
    }

    /// One row into its waves.
    fn forward(&self, row: &mut [f64]) {
        match self {
            Self::Edge(transform) => {
                transform.process_dct2(row);
                let scale = (2.0 / row.len() as f64).sqrt();
                row.iter_mut().for_each(|value| *value *= scale);
                row[0] /= SQRT_2;
            }
            Self::Pixel(transform) => dct1(transform.as_ref(), row),
        }
    }

    /// Waves into their row.
    fn inverse(&self, row: &mut [f64]) {
        match self {
            Self::Edge(transform) => {
                row[0] *= SQRT_2;
                transform.process_dct3(row);
                let scale = (2.0 / row.len() as f64).sqrt();
                row.iter_mut().for_each(|value| *value *= scale);
            }
            // It is its own inverse.
            Self::Pixel(transform) => dct1(transform.as_ref(), row),
        }
    }
}

/// The orthonormal DCT-I.
fn dct1(transform: &dyn Dct1<f64>, row: &mut [f64]) {
    let last = row.len() - 1;
    // The transform itself takes half of both ends.
    row[0] *= SQRT_2;
    row[last] *= SQRT_2;
    transform.process_dct1(row);
    let scale = (2.0 / last as f64).sqrt();
    row.iter_mut().for_each(|value| *value *= scale);
    row[0] /= SQRT_2;
    row[last] /= SQRT_2;
}

/// The orthonormal 2-D cosine transform of one [height, width] plane.
#[derive(Clone)]
pub(super) struct CosinePlane {
    height: usize,
    width: usize,
    rows: Axis,
    columns: Axis,
}

impl CosinePlane {
    /// Of rows of `width` mirrored by `across`, of columns of `height` by `down`.
    pub(super) fn new((height, width): (usize, usize), (down, across): (Mirror, Mirror)) -> Self {
        let mut planner = DctPlanner::new();
        let rows = Axis::new(&mut planner, across, width);
        let columns = Axis::new(&mut planner, down, height);
        Self { height, width, rows, columns }
    }

    /// The transform as matrices of the sides.
    pub(super) fn expression(&self) -> Expression {
        // Column by column of the inverse, which is row by row of the transform.
        let matrix = |axis: &Axis, length: usize| -> Vec<f64> {
            let column = |wave: usize| {
                let mut column = vec![0.0; length];
                column[wave] = 1.0;
                axis.inverse(&mut column);
                column
            };
            (0..length).flat_map(column).collect()
        };
        Expression::Sides {
            plane: (self.height, self.width),
            vertical: matrix(&self.columns, self.height),
            horizontal: matrix(&self.rows, self.width),
        }
    }

    /// The plane's waves.
    pub(super) fn forward(&self, plane: &[f64]) -> Vec<f64> {
        self.run(plane, Axis::forward)
    }

    /// The plane of waves.
    pub(super) fn inverse(&self, waves: &[f64]) -> Vec<f64> {
        self.run(waves, Axis::inverse)
    }

    fn run(&self, plane: &[f64], along: fn(&Axis, &mut [f64])) -> Vec<f64> {
        let mut plane = plane.to_vec();
        plane.chunks_exact_mut(self.width).for_each(|row| along(&self.rows, row));
        let mut turned = transposed(&plane, self.width);
        turned.chunks_exact_mut(self.height).for_each(|column| along(&self.columns, column));
        transposed(&turned, self.height)
    }
}

impl std::fmt::Debug for CosinePlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CosinePlane")
            .field("height", &self.height)
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    /// By their definition, and back.
    #[test]
    fn cosine_transforms_are_orthonormal() {
        let (height, width) = (5, 4);
        let plane: Vec<f64> = (0..20).map(|i| f64::from(i * i % 7) - 2.5).collect();
        let wave = |mirror: Mirror, n: usize, k: usize, i: usize| {
            let (k, i, n) = (k as f64, i as f64, n as f64);
            let half = |at: bool| if at { 0.5f64.sqrt() } else { 1.0 };
            match mirror {
                Mirror::Edge => (2.0 / n).sqrt() * half(k == 0.0) * (PI * k * (i + 0.5) / n).cos(),
                Mirror::Pixel => {
                    let last = n - 1.0;
                    (2.0 / last).sqrt()
                        * half(k == 0.0 || k == last)
                        * half(i == 0.0 || i == last)
                        * (PI * k * i / last).cos()
                }
            }
        };
        for down in [Mirror::Edge, Mirror::Pixel] {
            for across in [Mirror::Edge, Mirror::Pixel] {
                let cosines = CosinePlane::new((height, width), (down, across));
                let waves = cosines.forward(&plane);
                for k in 0..height {
                    for l in 0..width {
                        let expected: f64 = (0..20)
                            .map(|i| {
                                let (r, c) = (i / width, i % width);
                                plane[i] * wave(down, height, k, r) * wave(across, width, l, c)
                            })
                            .sum();
                        assert!(
                            (waves[k * width + l] - expected).abs() < 1e-13,
                            "{down:?} {across:?} {k} {l}"
                        );
                    }
                }
                let back = cosines.inverse(&waves);
                assert!(plane.iter().zip(back).all(|(a, b)| (a - b).abs() < 1e-13));
            }
        }
    }
}

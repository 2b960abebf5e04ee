//! Changes of size as picture programs make them.

use serde::{Deserialize, Serialize};

use super::kind::OperatorKind;
use super::separable::Separable;
use crate::{MathError, Shape, whole};

/// The filter by which a picture is made smaller or larger, as Pillow names and computes it.
///
/// Making a picture smaller, the filter is stretched by the factor, so that it averages over all pixels that vanish
/// ("antialiased"). At edges it is cut off and its weights are made to sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeFilter {
    /// Means over boxes.
    Box,
    /// Keys' cubic with a = −1/2.
    Bicubic,
    /// sinc(x) sinc(x/3) on [−3, 3).
    Lanczos,
}

impl ResizeFilter {
    /// Half the width of the filter at scale 1.
    fn support(self) -> f64 {
        match self {
            Self::Box => 0.5,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The filter at a distance from its middle, at scale 1.
    #[must_use]
    pub fn value(self, x: f64) -> f64 {
        match self {
            Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bicubic => {
                let x = x.abs();
                if x < 1.0 {
                    (1.5 * x - 2.5) * x * x + 1.0
                } else if x < 2.0 {
                    ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
                } else {
                    0.0
                }
            }
            Self::Lanczos => {
                if (-3.0..3.0).contains(&x) {
                    sinc(x) * sinc(x / 3.0)
                } else {
                    0.0
                }
            }
        }
    }

    /// The matrix [to, from] of one axis, row-major.
    #[must_use]
    pub fn matrix(self, from: usize, to: usize) -> Vec<f64> {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = self.support() * stretch;
        let mut matrix = vec![0.0; to * from];
        for (index, row) in matrix.chunks_exact_mut(from).enumerate() {
            let centre = (index as f64 + 0.5) * scale;
            // Both are rounded as Pillow does, by cutting off.
            let first = whole(centre - support + 0.5);
            let last = whole(centre + support + 0.5).min(from);
            for (offset, weight) in row[first..last].iter_mut().enumerate() {
                *weight = self.value(((first + offset) as f64 - centre + 0.5) / stretch);
            }
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|weight| *weight /= sum);
        }
        matrix
    }

    /// The operator that makes pictures of `shape` `height` × `width` pixels large, by any rational factor.
    ///
    /// # Errors
    /// [`MathError::Shape`] for no pixels, [`MathError::LargeMatrix`] for sides above 16384.
    pub fn operator(
        self,
        shape: Shape,
        height: usize,
        width: usize,
    ) -> Result<Separable, MathError> {
        Shape::new(shape.channels, height, width)?;
        let (rows, columns) = (self.matrix(shape.height, height), self.matrix(shape.width, width));
        let is_smaller = height <= shape.height && width <= shape.width;
        let kind = if is_smaller { OperatorKind::Means } else { OperatorKind::Others };
        Ok(Separable::new(shape, &rows, &columns)?.of_kind(kind))
    }
}

fn sinc(x: f64) -> f64 {
    let x = x * std::f64::consts::PI;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A factor that is no whole number: the first two rows of 6 → 4, as `PIL.Image.fromarray(numpy.eye(6, dtype="f")).resize((6, 4),
    /// filter)` of Pillow 13 has them.
    #[test]
    fn rational_factors_are_those_of_pillow() {
        for (filter, rows) in [
            (ResizeFilter::Box, [[0.5, 0.5, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]),
            (
                ResizeFilter::Bicubic,
                [
                    [0.655_339_78, 0.393_203_88, -0.040_453_07, -0.008_090_62, 0.0, 0.0],
                    [-0.038_284_84, 0.372_128_64, 0.620_214_4, 0.087_289_43, -0.041_347_63, 0.0],
                ],
            ),
            (
                ResizeFilter::Lanczos,
                [
                    [0.662_121_53, 0.423_667_34, -0.073_123_54, -0.029_612_01, 0.016_946_69, 0.0],
                    [
                        -0.069_466_95,
                        0.402_481_53,
                        0.629_011_69,
                        0.110_994_75,
                        -0.089_440_34,
                        0.016_419_34,
                    ],
                ],
            ),
        ] {
            for (found, expected) in filter.matrix(6, 4).iter().zip(rows.as_flattened()) {
                // Pillow answers in f32.
                assert!((found - expected).abs() < 1e-7, "{filter:?}: {found} {expected}");
            }
        }
    }

    /// `PIL.Image.fromarray(numpy.eye(n, dtype="f")).resize((n, m), filter)` of Pillow 11 gives these rows: the first
    /// of 8 → 3 by each filter.
    #[test]
    fn weights_are_those_of_pillow() {
        let row = |filter: ResizeFilter| filter.matrix(8, 3)[..8].to_vec();
        let third = row(ResizeFilter::Box);
        assert_eq!(third, [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        for filter in [ResizeFilter::Box, ResizeFilter::Bicubic, ResizeFilter::Lanczos] {
            for (from, to) in [(8, 3), (3, 8), (64, 16), (5, 5)] {
                let matrix = filter.matrix(from, to);
                for row in matrix.chunks_exact(from) {
                    assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-14);
                }
                let centre = |r: usize| matrix[r * from..(r + 1) * from].to_vec();
                // The filters are even: the last row is the first one backwards, but for the box's closed side.
                if filter != ResizeFilter::Box {
                    let (first, mut last) = (centre(0), centre(to - 1));
                    last.reverse();
                    for (a, b) in first.iter().zip(last) {
                        assert!((a - b).abs() < 1e-14, "{filter:?} {from} {to}");
                    }
                }
            }
        }
    }
}

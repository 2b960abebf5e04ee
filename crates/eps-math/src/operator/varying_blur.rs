//! A blur that differs from place to place.

use std::sync::Arc;

use super::border::Border;
use super::convolution::Convolution;
use super::expression::{Expression, Preconditioner};
use super::kernel::Kernel;
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, assert_length};
use super::sum::added;
use crate::error::check_values;
use crate::{MathError, Shape};

/// A blur by several kernels, between which windows blend: y = Σ_k h_k ∗ (w_k ⊙ x).
///
/// Each point of the scene is spread by the kernels of its own place. The windows sum to 1 at every pixel, so that equal kernels
/// make a [`Convolution`]. Kernels, centres and borders are those of a convolution, in every channel the same.
#[derive(Debug, Clone)]
pub struct VaryingBlur {
    kernels: Vec<Convolution>,
    /// One an image plane.
    windows: Vec<Vec<f64>>,
}

/// How far windows may be from a sum of 1: they are written in f32, or with some digits.
const ROUNDING: f64 = 1e-6;

impl VaryingBlur {
    /// The blur of images of `shape` by kernels with a window `[H, W]` each; with [`Border::Valid`] the windows are those of the
    /// scene. Kernels of several sizes are padded with zeros around their centres to the largest.
    ///
    /// # Errors
    /// [`MathError::Empty`] without kernels; [`MathError::Length`] or [`MathError::NotFinite`] for the windows;
    /// [`MathError::WindowSum`] where they do not sum to 1 within 1e-6; those of [`Convolution::new`].
    pub fn new(
        shape: Shape,
        kernels: &[Kernel],
        windows: Vec<Vec<f64>>,
        border: Border,
    ) -> Result<Self, MathError> {
        if kernels.is_empty() {
            return Err(MathError::Empty("the list of kernels"));
        }
        if windows.len() != kernels.len() {
            return Err(MathError::Length {
                what: "the list of windows, one a kernel,",
                expected: kernels.len(),
                found: windows.len(),
            });
        }
        for window in &windows {
            check_values("a window of the blur", window, shape.plane())?;
        }
        for pixel in 0..shape.plane() {
            let sum: f64 = windows.iter().map(|window| window[pixel]).sum();
            if (sum - 1.0).abs() > ROUNDING {
                let (row, column) = (pixel / shape.width, pixel % shape.width);
                return Err(MathError::WindowSum { row, column, sum });
            }
        }
        let kernels = Kernel::of_one_size(kernels)
            .into_iter()
            .map(|kernel| Convolution::new(shape, kernel, border))
            .collect::<Result<_, _>>()?;
        Ok(Self { kernels, windows })
    }

    /// The windows of a grid of `rows` × `columns` kernels that lie at even distances from the first pixel to the last, row by
    /// row; between them the windows are bilinear.
    ///
    /// # Errors
    /// [`MathError::Empty`] for a grid without places, [`MathError::Shape`] for one finer than any image.
    pub fn grid(shape: Shape, rows: usize, columns: usize) -> Result<Vec<Vec<f64>>, MathError> {
        if rows == 0 || columns == 0 {
            return Err(MathError::Empty("the grid of windows"));
        }
        // As many values as the windows have.
        Shape::new(rows.saturating_mul(columns), shape.height, shape.width)?;
        // The weight of a place at a pixel of one axis.
        let hat = |place: usize, places: usize, pixel: usize, length: usize| -> f64 {
            if places == 1 || length == 1 {
                return f64::from(u8::from(place == 0));
            }
            let position = pixel as f64 * (places - 1) as f64 / (length - 1) as f64;
            (1.0 - (position - place as f64).abs()).max(0.0)
        };
        let Shape { height, width, .. } = shape;
        let window = |place: usize| {
            let weight = |pixel: usize| {
                hat(place / columns, rows, pixel / width, height)
                    * hat(place % columns, columns, pixel % width, width)
            };
            (0..shape.plane()).map(weight).collect()
        };
        Ok((0..rows * columns).map(window).collect())
    }

    /// The same of which only a rectangle of y was measured, as [`Convolution::cropped`].
    ///
    /// # Errors
    /// [`MathError::Crop`] for a rectangle that reaches beyond y.
    pub fn cropped(self, corner: (usize, usize), sides: (usize, usize)) -> Result<Self, MathError> {
        let cropped = |kernel: Convolution| kernel.cropped(corner, sides);
        let kernels = self.kernels.into_iter().map(cropped).collect::<Result<_, _>>()?;
        Ok(Self { kernels, ..self })
    }

    /// w ⊙ x in every channel.
    fn windowed(window: &[f64], x: &[f64]) -> Vec<f64> {
        x.chunks_exact(window.len())
            .flat_map(|x| x.iter().zip(window).map(|(x, w)| x * w))
            .collect()
    }

    /// The mean of |ĥ|² over the kernels at each wave of a plane.
    fn powers(&self) -> Vec<f64> {
        let mut powers = vec![0.0; self.windows[0].len()];
        for (kernel, window) in self.pairs() {
            let share = window.iter().map(|w| w * w).sum::<f64>() / window.len() as f64;
            let of_kernel = kernel.waves().powers();
            powers.iter_mut().zip(of_kernel).for_each(|(sum, power)| *sum += share * power);
        }
        powers
    }

    fn pairs(&self) -> impl Iterator<Item = (&Convolution, &Vec<f64>)> {
        self.kernels.iter().zip(&self.windows)
    }
}

impl LinearMap for VaryingBlur {
    fn domain(&self) -> Shape {
        self.kernels[0].domain()
    }

    fn range(&self) -> Shape {
        self.kernels[0].range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.domain());
        added(self.pairs().map(|(kernel, window)| kernel.apply(&Self::windowed(window, x))))
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range());
        added(self.pairs().map(|(kernel, window)| Self::windowed(window, &kernel.adjoint(y))))
    }

    /// By the mean of |ĥ|² over the kernels, weighted by their windows: kernels of one blur damp much the same frequencies.
    fn approximate_inverse(&self, v: &[f64], kappa: f64) -> Option<Vec<f64>> {
        Some(self.kernels[0].waves().inverse(v, &self.powers(), kappa))
    }

    fn preconditioner(&self) -> Option<Preconditioner> {
        Some(self.kernels[0].waves().preconditioner(&self.powers()))
    }

    /// The largest tap of all kernels at each place, summed, times the largest sum of the windows.
    fn infinity_norm(&self) -> Option<f64> {
        let largest = |parts: &mut dyn Iterator<Item = f64>| parts.fold(0.0, f64::max);
        let tap = |i: usize| {
            largest(&mut self.kernels.iter().map(|kernel| kernel.kernel().taps()[i].abs()))
        };
        let taps: f64 = (0..self.kernels[0].kernel().taps().len()).map(tap).sum();
        let window = |pixel: usize| self.windows.iter().map(|window| window[pixel].abs()).sum();
        Some(taps * largest(&mut (0..self.windows[0].len()).map(window)))
    }

    fn kind(&self) -> OperatorKind {
        OperatorKind::Blurs
    }

    fn expression(&self) -> Option<Expression> {
        let blurred = |(kernel, window): (&Convolution, &Vec<f64>)| {
            let windowed = Expression::Weights(window.repeat(self.domain().channels));
            Some(windowed.then(kernel.expression()?))
        };
        Some(Expression::Sum(self.pairs().map(blurred).collect::<Option<_>>()?))
    }

    fn one_channel(&self) -> Option<Arc<dyn LinearMap>> {
        let kernels = self.kernels.iter().map(Convolution::of_one_channel).collect();
        let map = Self { kernels, windows: self.windows.clone() };
        (self.domain().channels > 1).then(|| Arc::new(map) as Arc<dyn LinearMap>)
    }

    /// y at the pixels that it lies over.
    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        self.kernels[0].placed(y)
    }
}

//! Super-resolution: y is the mean of every k×k block.

use std::sync::Arc;

use super::expression::{Eigenbasis, Expression, Sparse};
use super::form::EigenForm;
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral, assert_length};
use super::picks::Picks;
use super::separable::Separable;
use crate::noise::Law;
use crate::{MathError, Noise, Shape};

/// Average pooling by a factor k; all k² − 1 directions inside a block that sum to 0 are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AveragePool {
    shape: Shape,
    factor: usize,
}

impl AveragePool {
    /// k×k pooling of an image of `shape`.
    ///
    /// # Errors
    /// [`MathError::PoolingFactor`] unless k divides height and width.
    pub fn new(shape: Shape, factor: usize) -> Result<Self, MathError> {
        let Shape { height, width, .. } = shape;
        if factor == 0 || height % factor != 0 || width % factor != 0 {
            return Err(MathError::PoolingFactor { factor, height, width });
        }
        Ok(Self { shape, factor })
    }

    /// The factor k.
    #[must_use]
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// W A, for [`Whitened::prepare`](super::Whitened::prepare), where W is a number: what makes rows and columns of means.
    pub(super) fn whitened(
        &self,
        noise: &Noise,
        sigma_y: f64,
    ) -> Result<Option<Separable>, MathError> {
        let Law::Uniform(_) = noise.law() else { return Ok(None) };
        let mean = (self.factor as f64).recip();
        let means = |side: usize| -> Vec<f64> {
            let row =
                |block| (0..side).map(move |i| if i / self.factor == block { mean } else { 0.0 });
            (0..side / self.factor).flat_map(row).collect()
        };
        let Shape { height, width, .. } = self.shape;
        let separable =
            Separable::new(self.shape, &means(height), &means(width))?.of_kind(self.kind());
        separable.whitened(noise, sigma_y)
    }

    /// The index of the block of each pixel, in the order of the pixels.
    fn blocks(&self) -> impl Iterator<Item = usize> + '_ {
        let Shape { channels, height, width } = self.shape;
        let k = self.factor;
        (0..channels * height).flat_map(move |row| {
            let block_row = (row / height * (height / k) + row % height / k) * (width / k);
            (0..width).map(move |column| block_row + column / k)
        })
    }

    /// The sum of every block's pixels times a weight.
    fn block_sums(&self, weight: f64) -> Expression {
        let entries = self.blocks().enumerate().map(|(pixel, block)| (block, pixel, weight));
        let (columns, rows) = (self.shape.len(), self.range().len());
        Expression::Sparse(Sparse { columns, rows, entries: entries.collect() })
    }

    /// The pixel-wise copy of a block value.
    fn spread(&self, y: &[f64], gain: f64) -> Vec<f64> {
        self.blocks().map(|block| gain * y[block]).collect()
    }
}

impl LinearMap for AveragePool {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        let Shape { channels, height, width } = self.shape;
        Shape { channels, height: height / self.factor, width: width / self.factor }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let mut y = vec![0.0; self.range().len()];
        for (block, value) in self.blocks().zip(x) {
            y[block] += value;
        }
        let area = (self.factor * self.factor) as f64;
        y.iter().map(|sum| sum / area).collect()
    }

    fn one_channel(&self) -> Option<Arc<dyn LinearMap>> {
        let shape = Shape { channels: 1, ..self.shape };
        (self.shape.channels > 1).then(|| Arc::new(Self { shape, ..*self }) as Arc<dyn LinearMap>)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range());
        self.spread(y, ((self.factor * self.factor) as f64).recip())
    }

    /// The mean of a block at each of its pixels.
    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        assert_length("the measurement", y, self.range());
        Some(self.spread(y, 1.0))
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        let share = ((self.factor * self.factor) as f64).recip();
        let rest = if self.factor == 1 { 0.0 } else { (1.0 - share) * f(0.0) };
        Some(vec![share * f(share) + rest; self.shape.len()])
    }

    fn expression(&self) -> Option<Expression> {
        let k = self.factor as f64;
        Some(self.block_sums((k * k).recip()))
    }

    /// Of single pixels.
    fn picks(&self) -> Option<Picks> {
        (self.factor == 1).then(|| Picks::of_weights(self.shape, &vec![1.0; self.shape.len()]))
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }

    fn infinity_norm(&self) -> Option<f64> {
        Some(1.0)
    }

    fn gives_picture(&self) -> bool {
        true
    }

    fn kind(&self) -> OperatorKind {
        // Means of single pixels: denoising.
        if self.factor == 1 { OperatorKind::Pixels } else { OperatorKind::Means }
    }
}

impl Spectral for AveragePool {
    /// The basis is, block by block, the block's mean direction followed by its complement.
    fn eigenvalues(&self) -> Vec<f64> {
        let area = self.factor * self.factor;
        let lambda = (area as f64).recip();
        (0..self.shape.len()).map(|i| if i % area == 0 { lambda } else { 0.0 }).collect()
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        let means = self.apply(x);
        let mean_gain = f(((self.factor * self.factor) as f64).recip());
        let rest_gain = if self.factor == 1 { mean_gain } else { f(0.0) };
        self.blocks()
            .zip(x)
            .map(|(block, value)| mean_gain * means[block] + rest_gain * (value - means[block]))
            .collect()
    }

    /// The normalised means of the blocks.
    fn eigenbasis(&self) -> Option<Eigenbasis> {
        let k = self.factor as f64;
        let eigenvalues = vec![(k * k).recip(); self.range().len()];
        Some(Eigenbasis { into: self.block_sums(k.recip()), eigenvalues, is_whole: false })
    }

    fn form(&self) -> Option<EigenForm<'_>> {
        Some(EigenForm::Blocks(self.factor))
    }
}

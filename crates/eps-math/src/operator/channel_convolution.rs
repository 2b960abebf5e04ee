//! A blur of its own for every channel.

use super::border::Border;
use super::convolution::Convolution;
use super::expression::{Expression, Preconditioner};
use super::kernel::Kernel;
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, assert_length};
use crate::{MathError, Shape};

/// Convolution of every channel with a kernel of its own, as a lens blurs colours; kernels, centres and borders are those
/// of [`Convolution`].
#[derive(Debug, Clone)]
pub struct ChannelConvolution {
    domain: Shape,
    range: Shape,
    /// One a channel, on images of one channel.
    channels: Vec<Convolution>,
}

impl ChannelConvolution {
    /// The convolution of images of `shape`, of which channel c is blurred by kernel c. Kernels of several sizes are padded with
    /// zeros around their centres to the largest, on which the size of y depends with [`Border::Valid`].
    ///
    /// # Errors
    /// [`MathError::Length`] unless there is one kernel a channel, and those of [`Convolution::new`].
    pub fn new(shape: Shape, kernels: &[Kernel], border: Border) -> Result<Self, MathError> {
        if kernels.len() != shape.channels {
            return Err(MathError::Length {
                what: "the list of kernels, one a channel,",
                expected: shape.channels,
                found: kernels.len(),
            });
        }
        let plane = Shape { channels: 1, ..shape };
        let channels: Vec<Convolution> = Kernel::of_one_size(kernels)
            .into_iter()
            .map(|kernel| Convolution::new(plane, kernel, border))
            .collect::<Result<_, _>>()?;
        let range = Shape { channels: shape.channels, ..channels[0].range() };
        Ok(Self { domain: shape, range, channels })
    }

    /// The same of which only a rectangle of y was measured, as [`Convolution::cropped`].
    ///
    /// # Errors
    /// [`MathError::Crop`] for a rectangle that reaches beyond y.
    pub fn cropped(self, corner: (usize, usize), sides: (usize, usize)) -> Result<Self, MathError> {
        let channels: Vec<Convolution> = self
            .channels
            .into_iter()
            .map(|channel| channel.cropped(corner, sides))
            .collect::<Result<_, _>>()?;
        let range = Shape { channels: self.domain.channels, ..channels[0].range() };
        Ok(Self { range, channels, ..self })
    }

    /// What each channel's convolution makes of its part of some values.
    fn each(
        &self,
        values: &[f64],
        of: impl Fn(&Convolution, &[f64]) -> Option<Vec<f64>>,
    ) -> Option<Vec<f64>> {
        let parts = values.chunks_exact(values.len() / self.channels.len());
        let mapped: Option<Vec<_>> =
            self.channels.iter().zip(parts).map(|(channel, part)| of(channel, part)).collect();
        Some(mapped?.concat())
    }
}

impl LinearMap for ChannelConvolution {
    fn domain(&self) -> Shape {
        self.domain
    }

    fn range(&self) -> Shape {
        self.range
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.domain);
        self.each(x, |channel, x| Some(channel.apply(x))).unwrap_or_default()
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range);
        self.each(y, |channel, y| Some(channel.adjoint(y))).unwrap_or_default()
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        assert_length("the measurement", y, self.range);
        self.each(y, |channel, y| channel.placed(y))
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        let parts: Option<Vec<_>> =
            self.channels.iter().map(|channel| channel.diagonal(f)).collect();
        Some(parts?.concat())
    }

    fn approximate_inverse(&self, v: &[f64], kappa: f64) -> Option<Vec<f64>> {
        assert_length("the image", v, self.domain);
        self.each(v, |channel, v| channel.approximate_inverse(v, kappa))
    }

    fn preconditioner(&self) -> Option<Preconditioner> {
        let (mut into, mut powers, mut least) = (Vec::new(), Vec::new(), Vec::new());
        for channel in &self.channels {
            let of = channel.preconditioner()?;
            into.push(of.into);
            powers.extend(of.powers);
            least.extend(of.least);
        }
        Some(Preconditioner { into: Expression::Blocks(into), powers, least, within: None })
    }

    fn infinity_norm(&self) -> Option<f64> {
        self.channels
            .iter()
            .map(LinearMap::infinity_norm)
            .try_fold(0.0, |a: f64, b| Some(a.max(b?)))
    }

    fn kind(&self) -> OperatorKind {
        OperatorKind::Blurs
    }

    fn expression(&self) -> Option<Expression> {
        let channels = self.channels.iter().map(LinearMap::expression).collect::<Option<_>>()?;
        Some(Expression::Blocks(channels))
    }
}

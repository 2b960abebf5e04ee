//! Inpainting: y = m ⊙ x with one mask for all channels.

use std::sync::Arc;

use super::circular_blur::CircularBlur;
use super::form::EigenForm;
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral, assert_length};
use super::picks::Picks;
use super::weights::Weights;
use crate::rng::Stream;
use crate::{MathError, Noise, Shape, whole};

/// A diagonal operator that keeps observed pixels and zeroes the others.
///
/// The measurement has the shape of the image; what it holds at masked pixels is ignored by
/// [`LinearMap::adjoint`], so noise may be kept there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    shape: Shape,
    observed: Vec<bool>,
}

impl Mask {
    /// The mask of an image of `shape`; `observed` is [height, width], true where a pixel is seen.
    ///
    /// # Errors
    /// [`MathError::Length`] if `observed` does not have height · width entries,
    /// [`MathError::EmptyMask`] if none of them is true.
    pub fn new(shape: Shape, observed: Vec<bool>) -> Result<Self, MathError> {
        let expected = shape.plane();
        if observed.len() != expected {
            return Err(MathError::Length { what: "the mask", expected, found: observed.len() });
        }
        if !observed.contains(&true) {
            return Err(MathError::EmptyMask(expected));
        }
        Ok(Self { shape, observed })
    }

    /// A mask that hides ⌊missing · n⌋ of the n pixels, chosen uniformly (the ranks of n uniforms),
    /// so that a mask of the same stream that hides more hides these too.
    ///
    /// `missing` is the share, in [0, 1).
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a share outside [0, 1).
    pub fn random(shape: Shape, missing: f64, stream: &Stream) -> Result<Self, MathError> {
        if !(0.0..1.0).contains(&missing) {
            let what = "the share of missing pixels";
            return Err(MathError::OutOfRange { what, value: missing, range: "in [0, 1)" });
        }
        let n = shape.plane();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|i| stream.bits(*i as u64));
        let mut observed = vec![true; n];
        for i in order.iter().take(whole(missing * n as f64)) {
            observed[*i] = false;
        }
        Self::new(shape, observed)
    }

    /// Which pixels are seen, [height, width].
    #[must_use]
    pub fn observed(&self) -> &[bool] {
        &self.observed
    }

    /// W A, for [`Whitened::prepare`](super::Whitened::prepare): weights, where W has one for each entry.
    pub(super) fn whitened_weights(
        &self,
        noise: &Noise,
        sigma_y: f64,
    ) -> Result<Option<Weights>, MathError> {
        Weights::new(self.shape, self.eigenvalues())?.whitened(noise, sigma_y)
    }

    /// W A, for [`Whitened::prepare`](super::Whitened::prepare): a filter, where W has one for each frequency and nothing is hidden.
    pub(super) fn whitened_filter(
        &self,
        noise: &Noise,
        sigma_y: f64,
    ) -> Result<Option<CircularBlur>, MathError> {
        if self.observed.contains(&false) {
            return Ok(None);
        }
        CircularBlur::identity(self.shape)?.whitened(noise, sigma_y)
    }

    fn pixels<'a>(&'a self, x: &'a [f64]) -> impl Iterator<Item = (f64, bool)> + 'a {
        x.iter().copied().zip(self.observed.iter().copied().cycle())
    }
}

impl LinearMap for Mask {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        self.shape
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        self.pixels(x).map(|(value, seen)| if seen { value } else { 0.0 }).collect()
    }

    fn one_channel(&self) -> Option<Arc<dyn LinearMap>> {
        let shape = Shape { channels: 1, ..self.shape };
        (self.shape.channels > 1)
            .then(|| Arc::new(Self { shape, ..self.clone() }) as Arc<dyn LinearMap>)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.apply(y)
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        Some(self.adjoint(y))
    }

    fn infinity_norm(&self) -> Option<f64> {
        Some(1.0)
    }

    fn gives_picture(&self) -> bool {
        true
    }

    fn picks(&self) -> Option<Picks> {
        Some(Picks::of_weights(self.shape, &self.eigenvalues()))
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }

    fn kind(&self) -> OperatorKind {
        OperatorKind::Pixels
    }
}

impl Spectral for Mask {
    fn eigenvalues(&self) -> Vec<f64> {
        self.apply(&vec![1.0; self.shape.len()])
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let (hidden, seen_gain) = (f(0.0), f(1.0));
        self.pixels(x).map(|(value, seen)| value * if seen { seen_gain } else { hidden }).collect()
    }

    fn form(&self) -> Option<EigenForm<'_>> {
        Some(EigenForm::Pixels)
    }
}

//! What the methods return.

use eps_math::nearest_f32;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// What a method returns for some images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    /// `[N, J, C, H, W]`, clipped to [-1, 1].
    pub samples: Vec<f32>,
    /// J, the number of samples of each image; 1 for estimates.
    pub per_image: usize,
    /// Network evaluations a sample, as counted.
    pub nfe: usize,
    /// Backward passes through the network a sample, as counted.
    pub backward_passes: usize,
    /// Seconds that all samples took.
    pub seconds: f64,
}

impl Restored {
    /// Values as a restoration stores them.
    #[must_use]
    pub fn clipped(values: impl IntoIterator<Item = f64>) -> Vec<f32> {
        values.into_iter().map(|value| nearest_f32(value.clamp(-1.0, 1.0))).collect()
    }

    /// One estimate an image, without a network.
    pub(crate) fn estimates(values: impl IntoIterator<Item = f64>, start: Instant) -> Self {
        Self {
            samples: Self::clipped(values),
            per_image: 1,
            nfe: 0,
            backward_passes: 0,
            seconds: start.elapsed().as_secs_f64(),
        }
    }

    /// The first `count` samples of each image, all where there are no more; `len` values are one sample.
    #[must_use]
    pub fn first(&self, count: usize, len: usize) -> Self {
        let per_image = count.min(self.per_image);
        let images = self.samples.chunks_exact(self.per_image * len);
        Self {
            samples: images.flat_map(|samples| &samples[..per_image * len]).copied().collect(),
            per_image,
            seconds: self.seconds * per_image as f64 / self.per_image as f64,
            ..*self
        }
    }

    /// Adds the restorations of further images.
    ///
    /// # Panics
    /// If they are of another method.
    pub fn extend(&mut self, other: Self) {
        let kind = |of: &Self| (of.per_image, of.nfe, of.backward_passes);
        assert_eq!(kind(self), kind(&other), "one method");
        self.samples.extend(other.samples);
        self.seconds += other.seconds;
    }
}

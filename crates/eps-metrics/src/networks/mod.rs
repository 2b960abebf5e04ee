//! Metrics on pretrained networks: LPIPS, and distances between sets of features.
//!
//! | network | features | values |
//! |---|---|---|
//! | [`FeatureNetwork`] on AlexNet | mean of conv5 after ReLU, 256 | `lpips_alex`, `fd_alex`, … |
//! | [`FeatureNetwork`] on VGG16 | mean of conv5_3 after ReLU, 512 | `lpips_vgg`, `fd_vgg`, … |
//! | [`Inception`], the FID network | its pool before the classifier, 2048 | `fid`, … |
//!
//! Only a Fréchet distance on the FID network's features is called FID. Values on different networks
//! are not comparable.
//!
//! # Images
//!
//! `[N, C, H, W]` on [-1, 1], C = 3 or 1; grey is repeated to three channels. LPIPS was trained on
//! patches of 64×64, so images whose shorter side is below [`SHORTEST_SIDE`] are upsampled to it,
//! bilinearly (pixel centres, no corner alignment), keeping their proportions; all others are taken
//! as they are. The Inception network resizes every image to 299×299 by itself.
//!
//! # Precision
//!
//! f32 on the device, f64 from the features on. An image's values do not depend on its batch, up to
//! the rounding of f32. On GPUs cuDNN rounds the factors of convolutions to TF32 (11 bits), libtorch's
//! default: there LPIPS may be off by some 1e-3 of its value; take the CPU to compare beyond that.

mod backbone;
mod error;
mod evaluate;
mod images;
mod inception;
mod origin;
mod weights;

pub use backbone::{Backbone, FeatureNetwork};
pub use error::NetworkError;
pub use evaluate::{NetworkScores, evaluate_networks};
pub use images::{SHORTEST_SIDE, input_sides};
pub use inception::Inception;
pub use origin::WeightsOrigin;
pub use weights::{WeightArray, serialize};

/// A network that turns images into features.
#[derive(Debug)]
#[non_exhaustive]
pub enum MetricNetwork {
    /// AlexNet or VGG16 with LPIPS's weights.
    Perceptual(FeatureNetwork),
    /// The FID network.
    Inception(Inception),
}

impl MetricNetwork {
    /// What its values' names end in: `alex`, `vgg` or `inception`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Perceptual(network) => network.backbone().name(),
            Self::Inception(_) => "inception",
        }
    }

    /// D, the number of features of an image.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        match self {
            Self::Perceptual(network) => network.backbone().feature_count(),
            Self::Inception(_) => inception::FEATURES,
        }
    }

    /// Rows and columns at which it sees an image of `height`×`width`.
    #[must_use]
    pub fn input_sides(&self, height: usize, width: usize) -> [usize; 2] {
        match self {
            Self::Perceptual(_) => input_sides(height, width),
            Self::Inception(_) => [inception::SIDE; 2],
        }
    }
}

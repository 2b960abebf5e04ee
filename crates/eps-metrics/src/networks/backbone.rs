//! AlexNet and VGG16 up to the last convolution, and LPIPS on their stages.

use tch::{Device, Kind, Tensor};

use super::error::NetworkError;
use super::images::{extent, input_sides, three_channels};
use super::origin::WeightsOrigin;

/// A convolutional network trained to classify ImageNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backbone {
    /// AlexNet (Krizhevsky, *One weird trick for parallelizing convolutional neural networks*, 2014),
    /// torchvision's: five convolutions.
    Alex,
    /// VGG16 (Simonyan and Zisserman, *Very deep convolutional networks for large-scale image
    /// recognition*, 2015), torchvision's: thirteen convolutions, without batch normalisation.
    Vgg,
}

/// A convolution followed by ReLU.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer {
    /// Side and stride of the maximum pooling before it, if there is one.
    pool: Option<[i64; 2]>,
    pub(super) channels: usize,
    pub(super) kernel: usize,
    stride: i64,
    padding: i64,
    /// Whether LPIPS compares what comes out of it.
    pub(super) is_stage: bool,
}

const fn layer(
    pool: Option<[i64; 2]>,
    channels: usize,
    kernel: usize,
    [stride, padding]: [i64; 2],
) -> Layer {
    Layer { pool, channels, kernel, stride, padding, is_stage: true }
}

/// A 3×3 convolution of VGG16, first, middle or last of its block.
const fn vgg(pool: bool, channels: usize, is_stage: bool) -> Layer {
    let pool = if pool { Some([2, 2]) } else { None };
    Layer { pool, channels, kernel: 3, stride: 1, padding: 1, is_stage }
}

const ALEX: [Layer; 5] = [
    layer(None, 64, 11, [4, 2]),
    layer(Some([3, 2]), 192, 5, [1, 2]),
    layer(Some([3, 2]), 384, 3, [1, 1]),
    layer(None, 256, 3, [1, 1]),
    layer(None, 256, 3, [1, 1]),
];

const VGG: [Layer; 13] = [
    vgg(false, 64, false),
    vgg(false, 64, true),
    vgg(true, 128, false),
    vgg(false, 128, true),
    vgg(true, 256, false),
    vgg(false, 256, false),
    vgg(false, 256, true),
    vgg(true, 512, false),
    vgg(false, 512, false),
    vgg(false, 512, true),
    vgg(true, 512, false),
    vgg(false, 512, false),
    vgg(false, 512, true),
];

impl Backbone {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Alex, Self::Vgg];

    /// `alex` or `vgg`, as in the names of files and values.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alex => "alex",
            Self::Vgg => "vgg",
        }
    }

    /// The number of pooled features: the channels of the last convolution.
    #[must_use]
    pub fn feature_count(self) -> usize {
        self.layers().last().map_or(0, |layer| layer.channels)
    }

    /// The name of the network and of the convolution whose output is pooled.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Alex => "AlexNet's conv5",
            Self::Vgg => "VGG16's conv5_3",
        }
    }

    pub(super) fn layers(self) -> &'static [Layer] {
        match self {
            Self::Alex => &ALEX,
            Self::Vgg => &VGG,
        }
    }
}

/// AlexNet or VGG16 on a device, with the heads of LPIPS v0.1.
#[derive(Debug)]
pub struct FeatureNetwork {
    pub(super) backbone: Backbone,
    pub(super) origin: WeightsOrigin,
    /// Kernel `[O, I, K, K]` and bias `[O]` of every convolution.
    pub(super) convolutions: Vec<[Tensor; 2]>,
    /// The weights of LPIPS on the channels of every stage, `[1, C, 1, 1]`.
    pub(super) heads: Vec<Tensor>,
    pub(super) device: Device,
}

/// What the network makes of a batch of images.
#[derive(Debug)]
pub(super) struct Embedding {
    /// The stages, every pixel's channels scaled to unit length; none for Inception.
    pub(super) stages: Vec<Tensor>,
    /// `[N, D]`
    pub(super) features: Tensor,
}

impl FeatureNetwork {
    /// Which network it is.
    #[must_use]
    pub fn backbone(&self) -> Backbone {
        self.backbone
    }

    /// Where its weights come from.
    #[must_use]
    pub fn origin(&self) -> &WeightsOrigin {
        &self.origin
    }

    /// Where it runs.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// LPIPS v0.1 of pairs of images (Zhang et al., *The unreasonable effectiveness of deep features as
    /// a perceptual metric*, 2018, equation 1).
    ///
    /// ```text
    /// d(a, b) = Σ_l 1/(H_l W_l) Σ_hw w_lᵀ (â_lhw − b̂_lhw)²,   ẑ = z / (‖z‖₂ + 10⁻¹⁰)
    /// ```
    ///
    /// z are the channels of stage l at one place, after ReLU. It is symmetric, and zero for equal
    /// images. See the module for sizes and grey images.
    ///
    /// # Shapes
    /// `a`, `b`: [N, C, H, W]; the result: `[N]`, f32 on the network's device.
    ///
    /// # Units
    /// Images on [-1, 1].
    ///
    /// # Errors
    /// [`NetworkError::Images`] for other channels than one or three, [`NetworkError::Pairs`] where
    /// the dimensions differ, [`NetworkError::Torch`] where the device fails.
    pub fn lpips(&self, a: &Tensor, b: &Tensor) -> Result<Tensor, NetworkError> {
        if a.size() != b.size() {
            return Err(NetworkError::Pairs { a: a.size(), b: b.size() });
        }
        let _guard = tch::no_grad_guard();
        let [a, b] = [self.embed(a)?, self.embed(b)?];
        self.distance(&a.stages, &b.stages)
    }

    /// The pooled features of images: the mean over the image of the last convolution after ReLU.
    ///
    /// They are raw: not scaled to unit length.
    ///
    /// # Shapes
    /// `images`: [N, C, H, W]; the result: [N, D] with D = [`Backbone::feature_count`], f32 on the
    /// network's device.
    ///
    /// # Units
    /// Images on [-1, 1].
    ///
    /// # Errors
    /// As [`FeatureNetwork::lpips`].
    pub fn features(&self, images: &Tensor) -> Result<Tensor, NetworkError> {
        let _guard = tch::no_grad_guard();
        Ok(self.embed(images)?.features)
    }

    /// LPIPS from the stages of both batches, `[N]`.
    pub(super) fn distance(&self, a: &[Tensor], b: &[Tensor]) -> Result<Tensor, NetworkError> {
        let mut distance = Tensor::f_zeros([1], (Kind::Float, self.device))?;
        for ((a, b), head) in a.iter().zip(b).zip(&self.heads) {
            let squares = a.f_sub(b)?.f_square()?.f_mul(head)?;
            let pixels = squares.f_sum_dim_intlist(1, false, None)?;
            distance = distance.f_add(&pixels.f_mean_dim([1, 2].as_slice(), false, None)?)?;
        }
        Ok(distance)
    }

    pub(super) fn embed(&self, images: &Tensor) -> Result<Embedding, NetworkError> {
        /// LPIPS's, on images in [-1, 1]: ImageNet's mean and deviation on that scale.
        const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
        const SCALE: [f32; 3] = [0.458, 0.448, 0.450];
        let constant = |values: &[f32]| {
            Tensor::from_slice(values).f_view([1, 3, 1, 1])?.f_to_device(self.device)
        };
        let images = upsampled(&three_channels(images, self.device)?)?;
        let mut x = images.f_sub(&constant(&SHIFT)?)?.f_div(&constant(&SCALE)?)?;
        let mut stages = Vec::with_capacity(self.heads.len());
        for (layer, [kernel, bias]) in self.backbone.layers().iter().zip(&self.convolutions) {
            if let Some([side, stride]) = layer.pool {
                x = x.f_max_pool2d([side; 2], [stride; 2], [0; 2], [1; 2], false)?;
            }
            let (stride, padding) = ([layer.stride; 2], [layer.padding; 2]);
            x = x.f_conv2d(kernel, Some(bias), stride, padding, [1; 2], 1)?.f_relu()?;
            if layer.is_stage {
                let norm = x.f_square()?.f_sum_dim_intlist(1, true, None)?.f_sqrt()?;
                stages.push(x.f_div(&norm.f_add_scalar(1e-10)?)?);
            }
        }
        Ok(Embedding { stages, features: x.f_mean_dim([2, 3].as_slice(), false, None)? })
    }
}

/// Images of at least [`super::SHORTEST_SIDE`] pixels a side.
fn upsampled(images: &Tensor) -> Result<Tensor, NetworkError> {
    let sides = [images.size()[2], images.size()[3]];
    let [height, width] = sides.map(|side| usize::try_from(side).unwrap_or(0));
    let target = input_sides(height, width).map(extent);
    if target == sides {
        return Ok(images.shallow_clone());
    }
    Ok(images.f_upsample_bilinear2d(target, false, None, None)?)
}

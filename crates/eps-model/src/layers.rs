//! The layers that published networks are made of, on libtorch tensors.
//!
//! Images are `[B, C, H, W]`, contiguous in memory. A layer computes in the kind of its input; its
//! f32 master weights are cast to that kind on the way, so gradients arrive at the masters; a frozen
//! network keeps what they were cast to.
//!
//! Channels-last memory was measured and left out: libtorch's convolutions gain 5 to 25 % from it on
//! a CPU with AVX-512, but its group normalisation takes four to ten times as long, so that a
//! training step of a whole network is slower by 6 % in f32 and by 45 % in bf16.
//!
//! Initial weights are drawn from [`eps_math::rng`], keyed by (seed, parameter name): they depend
//! neither on the order in which layers are built nor on libtorch's global generator.

use std::cell::RefCell;
use std::f64::consts::TAU;

use eps_math::nearest_f32;
use eps_math::rng::Stream;
use tch::nn::Path;
use tch::{Device, Kind, Tensor};

use crate::device_rng::at_least;
use crate::extent::{extent, length_of};

/// Whether a forward pass is part of a training step.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Inference: no dropout.
    Eval,
    /// A training step: dropout masks are functions of this stream and the layer's name.
    Train(Stream),
}

impl Mode {
    /// Which elements are kept, each with probability 1 − `drop`; `None` where all are.
    ///
    /// # Shapes
    /// `[dims]`, boolean
    pub(crate) fn keep(
        self,
        name: &str,
        dims: &[i64],
        drop: f64,
        device: Device,
    ) -> Option<Tensor> {
        let Self::Train(stream) = self else { return None };
        if drop == 0.0 {
            return None;
        }
        let stream = Stream::named(stream.key(), name);
        let count = length_of(dims.iter().product::<i64>());
        Some(at_least(stream, drop, count, device).view(dims))
    }
}

/// Where the values of a new network's parameters come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Weights {
    /// Drawn for a seed.
    Drawn(u64),
    /// Zeros that take no memory, to be replaced by `Tensor::set_data`: for networks that are read from
    /// a file, or only measured.
    Blank,
}

/// A law of initial weights, as EDM names them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Law {
    /// U(±√(6/(fan_in + fan_out))), Glorot and Bengio's.
    XavierUniform,
    /// U(±√(3/fan_in)), He et al.'s.
    KaimingUniform,
    /// N(0, 1/fan_in).
    KaimingNormal,
    /// N(0, 1).
    StandardNormal,
}

/// How the weights of a layer are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Init {
    pub(crate) weights: Weights,
    pub(crate) law: Law,
    /// The factor of the weight.
    pub(crate) gain: f64,
    /// The factor of the bias, which follows the weight's law.
    pub(crate) bias_gain: f64,
}

impl Init {
    /// PyTorch's law of layers, of weights and biases: √⅓ U(±√(3/fan_in)).
    pub(crate) fn pytorch(weights: Weights) -> Self {
        let gain = (1.0f64 / 3.0).sqrt();
        Self { weights, law: Law::KaimingUniform, gain, bias_gain: gain }
    }

    /// The same law with another factor of the weight.
    pub(crate) fn gain(self, gain: f64) -> Self {
        Self { gain, ..self }
    }

    /// Zero weights and biases.
    pub(crate) fn zero(self) -> Self {
        Self { gain: 0.0, bias_gain: 0.0, ..self }
    }

    /// The weight of a layer, `[cout, cin, ..]`.
    pub(crate) fn weight(self, path: &Path<'_>, dims: &[i64]) -> Tensor {
        self.parameter(path, "weight", dims, dims, self.gain)
    }

    /// The bias of a layer whose weight is `[cout, cin, ..]`.
    fn bias(self, path: &Path<'_>, weight: &[i64]) -> Tensor {
        self.parameter(path, "bias", &weight[..1], weight, self.bias_gain)
    }

    fn parameter(
        self,
        path: &Path<'_>,
        name: &str,
        dims: &[i64],
        weight: &[i64],
        gain: f64,
    ) -> Tensor {
        let seed = match self.weights {
            Weights::Blank => {
                return path.add(name, blank(dims, path.device()), true);
            }
            Weights::Drawn(_) if gain == 0.0 => return path.zeros(name, dims),
            Weights::Drawn(seed) => seed,
        };
        let taps = weight[2..].iter().product::<i64>();
        let [fan_in, fan_out] = [weight[1], weight[0]].map(|channels| (taps * channels) as f64);
        let stream = Stream::named(seed, &path.path(name));
        let uniform = |bound: f64, i| bound * (2.0 * stream.uniform(i) - 1.0);
        let value = |i| match self.law {
            Law::XavierUniform => uniform(gain * (6.0 / (fan_in + fan_out)).sqrt(), i),
            Law::KaimingUniform => uniform(gain * (3.0 / fan_in).sqrt(), i),
            Law::KaimingNormal => gain * (1.0 / fan_in).sqrt() * stream.normal(i),
            Law::StandardNormal => gain * stream.normal(i),
        };
        let n = dims.iter().product::<i64>().unsigned_abs();
        let values: Vec<f32> = (0..n).map(|i| nearest_f32(value(i))).collect();
        path.add(name, Tensor::from_slice(&values).view(dims).to_device(path.device()), true)
    }
}

/// Zeros that take the memory of one.
pub(crate) fn blank(dims: &[i64], device: Device) -> Tensor {
    Tensor::zeros([0i64; 0].as_slice(), (Kind::Float, device)).expand(dims, false)
}

/// The path below another that a name with dots leads to, as `in_layers.0`.
pub(crate) fn below<'a>(path: &Path<'a>, name: &str) -> Path<'a> {
    name.split('.').fold(path.clone(), |path, part| path.sub(part))
}

/// A fully connected layer x Wᵀ + b.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn new(path: &Path<'_>, cin: i64, cout: i64, bias: bool, init: Init) -> Self {
        Self {
            weight: init.weight(path, &[cout, cin]),
            bias: bias.then(|| init.bias(path, &[cout, cin])),
        }
    }

    /// The number of channels that it reads.
    pub(crate) fn in_channels(&self) -> i64 {
        self.weight.size()[1]
    }

    /// The number of its weights without biases.
    pub(crate) fn weight_count(&self) -> u64 {
        self.weight.numel() as u64
    }

    /// Where its parameters are.
    pub(crate) fn device(&self) -> Device {
        self.weight.device()
    }

    /// # Shapes
    /// x: `[B, Cin]` → `[B, Cout]`
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// Resampling by a factor of two with a fixed separable filter f, as a depthwise convolution.
///
/// ```text
/// weights f fᵀ/(Σf)²;  up: times 4, transposed
/// ```
///
/// [1, 1] is the 2×2 mean and the nearest neighbour.
#[derive(Debug)]
pub(crate) struct Filter {
    taps: i64,
    is_box: bool,
    /// f fᵀ/(Σf)², `[1, 1, k, k]`, f32: derived from the configuration, not stored.
    kernel: Tensor,
}

impl Filter {
    pub(crate) fn new(device: Device, taps: &[f64]) -> Self {
        let f = Tensor::from_slice(taps).to_kind(Kind::Float);
        let f = &f / f.sum(Kind::Float);
        let k = extent(taps.len());
        Self {
            taps: k,
            is_box: k == 2 && taps[0] == taps[1],
            kernel: f.outer(&f).view([1, 1, k, k]).to_device(device),
        }
    }

    /// Whether it is the 2×2 mean and the nearest neighbour.
    pub(crate) fn is_box(&self) -> bool {
        self.is_box
    }

    /// The zero padding on each side that keeps the size at exactly half or double.
    pub(crate) fn padding(&self) -> i64 {
        (self.taps - 1) / 2
    }

    /// One kernel for each channel of `x`, in its kind.
    fn kernels(&self, x: &Tensor, gain: f64) -> Tensor {
        (&self.kernel * gain).to_kind(x.kind()).repeat([x.size()[1], 1, 1, 1])
    }

    /// # Shapes
    /// x: `[B, C, H, W]` → `[B, C, H/2, W/2]` where `padding` is the filter's own
    fn down_padded(&self, x: &Tensor, padding: i64) -> Tensor {
        if self.is_box && padding == 0 {
            return x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
        }
        let (channels, p) = (x.size()[1], padding);
        x.conv2d(&self.kernels(x, 1.0), None::<&Tensor>, [2, 2], [p, p], [1, 1], channels)
    }

    /// # Shapes
    /// x: `[B, C, H, W]` → `[B, C, H/2, W/2]`
    pub(crate) fn down(&self, x: &Tensor) -> Tensor {
        self.down_padded(x, self.padding())
    }

    /// # Shapes
    /// x: `[B, C, H, W]` → `[B, C, 2H, 2W]`
    pub(crate) fn up(&self, x: &Tensor) -> Tensor {
        if self.is_box {
            let (_, _, height, width) = image_size(x);
            return x.upsample_nearest2d([2 * height, 2 * width], 2.0, 2.0);
        }
        let (channels, p) = (x.size()[1], self.padding());
        let kernels = self.kernels(x, 4.0);
        x.conv_transpose2d(&kernels, None::<&Tensor>, [2, 2], [p, p], [0, 0], channels, [1, 1])
    }
}

/// What a layer does to the resolution.
#[derive(Debug)]
pub(crate) enum Resample {
    /// Nothing.
    Keep,
    /// Halves it, before any convolution.
    Down(Filter),
    /// Doubles it, before any convolution.
    Up(Filter),
}

impl Resample {
    /// # Shapes
    /// x: `[B, C, H, W]` → `[B, C, H', W']`
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Keep => x.shallow_clone(),
            Self::Down(filter) => filter.down(x),
            Self::Up(filter) => filter.up(x),
        }
    }
}

/// Weights in f32 that a layer reads in another kind.
#[derive(Debug)]
struct Master {
    value: Tensor,
    /// In the kind of the last call with frozen weights.
    cast: RefCell<Option<Tensor>>,
}

impl Master {
    fn new(value: Tensor) -> Self {
        Self { value, cast: RefCell::new(None) }
    }

    fn to_kind(&self, kind: Kind) -> Tensor {
        let mut cast = self.cast.borrow_mut();
        if kind == self.value.kind() || self.value.requires_grad() {
            // They may change until they are frozen again.
            *cast = None;
            return self.value.to_kind(kind);
        }
        let known = cast.take().filter(|cast| cast.kind() == kind);
        cast.insert(known.unwrap_or_else(|| self.value.to_kind(kind))).shallow_clone()
    }
}

/// Where a convolution of stride two with a kernel of 3×3 is padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StridePadding {
    /// A zero on all four sides.
    Around,
    /// A row of zeros below and a column to the right.
    After,
}

/// A convolution (cross-correlation, zero padding).
#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: Master,
    bias: Master,
    padding: i64,
}

impl Conv2d {
    pub(crate) fn new(path: &Path<'_>, [cin, cout, kernel]: [i64; 3], init: Init) -> Self {
        Self::stored(path, &[cout, cin, kernel, kernel], init)
    }

    /// One whose weight is stored in `dims`: `[Cout, Cin]` and `[Cout, Cin, 1]` are kernels of 1×1.
    pub(crate) fn stored(path: &Path<'_>, dims: &[i64], init: Init) -> Self {
        let (weight, bias) = (init.weight(path, dims), init.bias(path, dims));
        let padding = dims.get(2).map_or(0, |kernel| kernel / 2);
        Self { weight: Master::new(weight), bias: Master::new(bias), padding }
    }

    /// The dimensions of its weight, `[Cout, Cin, k, k]`.
    pub(crate) fn dims(&self) -> [i64; 4] {
        four_dims(&self.weight.value)
    }

    /// # Shapes
    /// x: `[B, Cin, H, W]` → `[B, Cout, H, W]`
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        self.convolve(x, self.padding, 1)
    }

    /// The same with a stride of two, by a kernel of 3×3.
    ///
    /// # Shapes
    /// x: `[B, Cin, H, W]` → `[B, Cout, H/2, W/2]`
    pub(crate) fn forward_strided(&self, x: &Tensor, padding: StridePadding) -> Tensor {
        match padding {
            StridePadding::Around => self.convolve(x, self.padding, 2),
            StridePadding::After => self.convolve(&x.zero_pad2d(0, 1, 0, 1), 0, 2),
        }
    }

    /// Convolves at full resolution, padded for both, then halves it: EDM's "fused" form.
    ///
    /// # Shapes
    /// x: `[B, Cin, H, W]` → `[B, Cout, H/2, W/2]`
    pub(crate) fn forward_fused(&self, x: &Tensor, filter: &Filter) -> Tensor {
        // The filter sums to one, so the bias may go through it.
        filter.down_padded(&self.convolve(x, self.padding + filter.padding(), 1), 0)
    }

    fn convolve(&self, x: &Tensor, padding: i64, stride: i64) -> Tensor {
        let kind = x.kind();
        let bias = self.bias.to_kind(kind);
        let mut weight = self.weight.to_kind(kind);
        while weight.dim() < 4 {
            weight = weight.unsqueeze(-1);
        }
        let (stride, padding) = ([stride, stride], [padding, padding]);
        x.conv2d(&weight, Some(&bias), stride, padding, [1, 1], 1)
    }
}

/// The dimensions of a convolution's weight, with those of a kernel of 1×1 that is stored without them.
pub(crate) fn four_dims(weight: &Tensor) -> [i64; 4] {
    let size = weight.size();
    let of = |axis: usize| size.get(axis).copied().unwrap_or(1);
    [of(0), of(1), of(2), of(3)]
}

/// How the group normalisations of one architecture are set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormStyle {
    /// The number of groups; none for EDM's, min(32, C/4).
    pub(crate) groups: Option<i64>,
    /// ε, which is added to the variance.
    pub(crate) eps: f64,
}

impl NormStyle {
    /// EDM's number of groups.
    pub(crate) fn edm(eps: f64) -> Self {
        Self { groups: None, eps }
    }

    /// The number of groups of `channels` channels.
    pub(crate) fn groups(self, channels: i64) -> i64 {
        self.groups.unwrap_or_else(|| GroupNorm::groups(channels))
    }
}

/// Group normalisation, affine.
///
/// libtorch accumulates the statistics in f32 whatever the kind of the input.
#[derive(Debug)]
pub(crate) struct GroupNorm {
    weight: Master,
    bias: Master,
    groups: i64,
    eps: f64,
}

impl GroupNorm {
    /// EDM's number of groups of `channels` channels.
    pub(crate) fn groups(channels: i64) -> i64 {
        (channels / 4).min(32)
    }

    pub(crate) fn new(path: &Path<'_>, channels: i64, style: NormStyle) -> Self {
        Self {
            weight: Master::new(path.ones("weight", &[channels])),
            bias: Master::new(path.zeros("bias", &[channels])),
            groups: style.groups(channels),
            eps: style.eps,
        }
    }

    /// # Shapes
    /// x: `[B, C, H, W]` → `[B, C, H, W]`
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        // On the CPU f32 weights go with low-precision input; CUDA wants one kind.
        let kind = if x.device().is_cuda() { x.kind() } else { at_least_f32(x.kind()) };
        let (weight, bias) = (self.weight.to_kind(kind), self.bias.to_kind(kind));
        x.group_norm(self.groups, Some(&weight), Some(&bias), self.eps, true)
    }
}

/// How the 3C rows of an attention's joint layer are its queries, keys and values, p = 0, 1, 2, of a head of
/// D = C/heads channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QkvOrder {
    /// Row (D·head + c)·3 + p: EDM's.
    Interleaved,
    /// Row 3D·head + D·p + c: guided-diffusion's older order.
    InHeads,
    /// Row C·p + D·head + c: guided-diffusion's newer order.
    BeforeHeads,
}

/// The layers that make queries, keys and values.
#[derive(Debug)]
pub(crate) enum Qkv {
    /// One layer of 3C rows.
    Joint(Conv2d, QkvOrder),
    /// Three of C rows, in heads one after the other.
    Separate([Conv2d; 3]),
}

impl Qkv {
    /// # Shapes
    /// x: `[B, C, H, W]` → q, k and v, each `[B·heads, D, H·W]`
    fn forward(&self, x: &Tensor, heads: i64) -> [Tensor; 3] {
        let (batch, channels, height, width) = image_size(x);
        let (d, pixels) = (channels / heads, height * width);
        let (conv, order) = match self {
            Self::Joint(conv, order) => (conv, *order),
            Self::Separate(convs) => {
                return [0, 1, 2]
                    .map(|p: usize| convs[p].forward(x).view([batch * heads, d, pixels]));
            }
        };
        let qkv = conv.forward(x);
        let (sides, part) = match order {
            QkvOrder::Interleaved => (vec![batch * heads, d, 3, pixels], 2),
            QkvOrder::InHeads => (vec![batch * heads, 3, d, pixels], 1),
            QkvOrder::BeforeHeads => (vec![batch, 3, channels, pixels], 1),
        };
        let qkv = qkv.view(sides.as_slice());
        let of = |p| {
            let part = qkv.select(part, p);
            // Both sides of a view that is none where a head's channels do not lie beside each other.
            if order == QkvOrder::BeforeHeads {
                part.reshape([batch * heads, d, pixels])
            } else {
                part
            }
        };
        [of(0), of(1), of(2)]
    }
}

/// softmax(kᵀ q/√D) over keys, applied to v, with the softmax in f32 at least.
///
/// # Shapes
/// q, k, v: `[B·heads, D, H·W]` → the same
pub(crate) fn attend([q, k, v]: &[Tensor; 3]) -> Tensor {
    let (kind, wide) = (v.kind(), at_least_f32(v.kind()));
    let k = k.to_kind(wide) / (q.size()[1] as f64).sqrt();
    // [B·heads, queries, keys]
    let weights = q.to_kind(wide).transpose(1, 2).bmm(&k).softmax(-1, wide);
    v.bmm(&weights.to_kind(kind).transpose(1, 2))
}

/// Self-attention over the pixels, softmax in f32.
#[derive(Debug)]
pub(crate) struct Attention {
    pub(crate) heads: i64,
    /// None in diffusers' middle block with scale and shift.
    pub(crate) norm: Option<GroupNorm>,
    pub(crate) qkv: Qkv,
    pub(crate) proj: Conv2d,
}

impl Attention {
    /// EDM's.
    fn new(path: &Path<'_>, c: i64, heads: i64, style: &BlockStyle) -> Self {
        let qkv = Conv2d::new(&(path / "qkv"), [c, 3 * c, 1], style.init_attention);
        Self {
            heads,
            norm: Some(GroupNorm::new(&(path / "norm2"), c, style.norm)),
            qkv: Qkv::Joint(qkv, QkvOrder::Interleaved),
            proj: Conv2d::new(&(path / "proj"), [c, c, 1], style.init_zero),
        }
    }

    /// All its convolutions.
    pub(crate) fn convolutions(&self) -> impl Iterator<Item = &Conv2d> {
        let qkv = match &self.qkv {
            Qkv::Joint(conv, _) => std::slice::from_ref(conv),
            Qkv::Separate(convs) => convs,
        };
        qkv.iter().chain([&self.proj])
    }

    /// The update that is added to x.
    ///
    /// ```text
    /// proj(softmax(q kᵀ/√D) v) a head of D = C/heads channels,   q, k, v those of norm(x)
    /// ```
    fn forward(&self, x: &Tensor) -> Tensor {
        let normalised = match &self.norm {
            Some(norm) => norm.forward(x),
            None => x.shallow_clone(),
        };
        let a = attend(&self.qkv.forward(&normalised, self.heads));
        self.proj.forward(&a.view(x.size().as_slice()))
    }
}

/// How an architecture calls the parts of a residual block.
#[derive(Debug)]
pub(crate) struct BlockNames {
    pub(crate) norm0: &'static str,
    pub(crate) conv0: &'static str,
    pub(crate) affine: &'static str,
    pub(crate) norm1: &'static str,
    pub(crate) conv1: &'static str,
    pub(crate) skip: &'static str,
}

/// EDM's names.
pub(crate) const EDM_NAMES: BlockNames = BlockNames {
    norm0: "norm0",
    conv0: "conv0",
    affine: "affine",
    norm1: "norm1",
    conv1: "conv1",
    skip: "skip",
};

/// What the residual blocks of one architecture have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockStyle {
    /// The channels of the embedding.
    pub(crate) emb_channels: i64,
    /// The probability of dropping an activation in training.
    pub(crate) dropout: f64,
    /// Whether the embedding scales and shifts the normalised activations instead of being added
    /// before.
    pub(crate) adaptive_scale: bool,
    /// What a sum of a residual and its skip is divided by.
    pub(crate) sum_divisor: f64,
    /// Groups and ε of the normalisations.
    pub(crate) norm: NormStyle,
    /// What the parts of a block are called.
    pub(crate) names: &'static BlockNames,
    /// Whether a skip that only resamples has a convolution.
    pub(crate) resample_proj: bool,
    /// The channels of an attention head; none for one head of all.
    pub(crate) channels_per_head: Option<i64>,
    /// The weights of what is not listed below.
    pub(crate) init: Init,
    /// The weights of second convolutions and of the attention's projection.
    pub(crate) init_zero: Init,
    /// The weights of the attention's queries, keys and values.
    pub(crate) init_attention: Init,
}

impl BlockStyle {
    /// The number of attention heads of a block of `channels` channels; 0, and no attention, where
    /// these are fewer than a head has (as in EDM's `UNetBlock`).
    pub(crate) fn heads(&self, channels: i64) -> i64 {
        self.channels_per_head.map_or(1, |per_head| channels / per_head)
    }

    /// The sum of a residual and its skip.
    fn sum(&self, residual: Tensor, skip: &Tensor) -> Tensor {
        let sum = residual + skip;
        if self.sum_divisor == 1.0 { sum } else { sum / self.sum_divisor }
    }
}

/// EDM's residual block: two convolutions around the embedding of the noise level, and attention.
///
/// ```text
/// h = conv0(resample(silu(norm0(x))))
/// h = silu(norm1(h + affine(emb)))              or  silu((1 + scale) norm1(h) + shift),
///                                                   (scale, shift) = affine(emb): adaptive
/// x = (conv1(dropout(h)) + skip(resample(x)))/divisor
/// ```
#[derive(Debug)]
pub(crate) struct UNetBlock {
    /// Names the dropout stream.
    name: String,
    pub(crate) style: BlockStyle,
    pub(crate) resample: Resample,
    norm0: GroupNorm,
    pub(crate) conv0: Conv2d,
    pub(crate) affine: Linear,
    norm1: GroupNorm,
    pub(crate) conv1: Conv2d,
    pub(crate) skip: Option<Conv2d>,
    pub(crate) attention: Option<Attention>,
}

/// What a [`UNetBlock`] does to the resolution, with the filter's taps.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scale<'a> {
    Keep,
    Down(&'a [f64]),
    Up(&'a [f64]),
}

impl UNetBlock {
    pub(crate) fn new(
        path: &Path<'_>,
        [cin, cout]: [i64; 2],
        scale: Scale<'_>,
        attention: bool,
        style: &BlockStyle,
    ) -> Self {
        let resample = match scale {
            Scale::Keep => Resample::Keep,
            Scale::Down(taps) => Resample::Down(Filter::new(path.device(), taps)),
            Scale::Up(taps) => Resample::Up(Filter::new(path.device(), taps)),
        };
        let has_skip = cin != cout || (style.resample_proj && !matches!(resample, Resample::Keep));
        let affine_channels = if style.adaptive_scale { 2 * cout } else { cout };
        let init = style.init;
        let heads = style.heads(cout);
        let (names, at) = (style.names, |name: &str| below(path, name));
        Self {
            name: path.path("dropout"),
            style: *style,
            resample,
            norm0: GroupNorm::new(&at(names.norm0), cin, style.norm),
            conv0: Conv2d::new(&at(names.conv0), [cin, cout, 3], init),
            affine: Linear::new(&at(names.affine), style.emb_channels, affine_channels, true, init),
            norm1: GroupNorm::new(&at(names.norm1), cout, style.norm),
            conv1: Conv2d::new(&at(names.conv1), [cout, cout, 3], style.init_zero),
            skip: has_skip.then(|| Conv2d::new(&at(names.skip), [cin, cout, 1], init)),
            attention: (attention && heads > 0).then(|| Attention::new(path, cout, heads, style)),
        }
    }

    /// The block with an attention of another architecture than EDM's after it.
    pub(crate) fn with_attention(self, attention: Attention) -> Self {
        Self { attention: Some(attention), ..self }
    }

    /// # Shapes
    /// x: `[B, Cin, H, W]`, emb: `[B, E]` in f32 → `[B, Cout, H', W']`
    pub(crate) fn forward(&self, x: &Tensor, emb: &Tensor, mode: Mode) -> Tensor {
        let (kind, style) = (x.kind(), &self.style);
        // Reassigned, so that inference frees each as soon as the next is there.
        let mut h = self.norm0.forward(x).silu();
        h = self.conv0.forward(&self.resample.forward(&h));
        let params = self.affine.forward(emb).to_kind(kind).unsqueeze(-1).unsqueeze(-1);
        h = if style.adaptive_scale {
            let params = params.chunk(2, 1);
            self.norm1.forward(&h) * (&params[0] + 1.0) + &params[1]
        } else {
            self.norm1.forward(&(h + params))
        };
        h = h.silu();
        if let Some(keep) = mode.keep(&self.name, &h.size(), style.dropout, x.device()) {
            h *= keep;
            h *= 1.0 / (1.0 - style.dropout);
        }
        h = self.conv1.forward(&h);
        let mut skip = self.resample.forward(x);
        if let Some(conv) = &self.skip {
            skip = conv.forward(&skip);
        }
        let x = style.sum(h, &skip);
        match &self.attention {
            Some(attention) => style.sum(attention.forward(&x), &x),
            None => x,
        }
    }
}

/// The embedding of the noise level: sines and cosines of c_noise times n/2 frequencies.
#[derive(Debug)]
pub(crate) struct NoiseEmbedding {
    freqs: Tensor,
    /// The factor of the frequencies.
    factor: f64,
    order: Order,
    /// How many zeros stand after sines and cosines.
    zeros: i64,
}

/// Which half of an embedding comes first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// Sines, as in the SongUNet.
    SineCosine,
    /// Cosines, as in the DhariwalUNet.
    CosineSine,
}

impl NoiseEmbedding {
    /// Frequencies 10000^(−i/(n/2 − 1)) from 1 down to 1/10000, sines first.
    pub(crate) fn positional(device: Device, channels: i64) -> Self {
        Self::geometric(device, channels, (channels / 2 - 1) as f64, Order::SineCosine)
    }

    /// Frequencies 10000^(−i/(n/2)), which stop short of 1/10000, cosines first.
    pub(crate) fn positional_without_endpoint(device: Device, channels: i64) -> Self {
        Self::geometric(device, channels, (channels / 2) as f64, Order::CosineSine)
    }

    /// Frequencies 10000^(−i/steps), i below n/2; a zero is appended where n is odd.
    pub(crate) fn geometric(device: Device, channels: i64, steps: f64, order: Order) -> Self {
        let freqs: Vec<f32> =
            (0..channels / 2).map(|i| nearest_f32(1e4f64.powf(-(i as f64) / steps))).collect();
        let freqs = Tensor::from_slice(&freqs).to_device(device);
        Self { freqs, factor: 1.0, order, zeros: channels % 2 }
    }

    /// Stored normal frequencies of scale 16, times 2π, sines first.
    pub(crate) fn fourier(path: &Path<'_>, channels: i64, weights: Weights) -> Self {
        let half = channels / 2;
        let freqs: Vec<f32> = match weights {
            Weights::Drawn(seed) => {
                let stream = Stream::named(seed, &path.path("freqs"));
                (0..half.unsigned_abs()).map(|i| nearest_f32(16.0 * stream.normal(i))).collect()
            }
            Weights::Blank => vec![0.0; length_of(half)],
        };
        let freqs = Tensor::from_slice(&freqs).to_device(path.device());
        let freqs = path.add("freqs", freqs, false);
        Self { freqs, factor: TAU, order: Order::SineCosine, zeros: 0 }
    }

    /// # Shapes
    /// c_noise: `[B]` → `[B, n]` in f32
    pub(crate) fn forward(&self, c_noise: &Tensor) -> Tensor {
        let angle = c_noise.to_kind(Kind::Float).outer(&(&self.freqs * self.factor));
        let halves = match self.order {
            Order::SineCosine => [angle.sin(), angle.cos()],
            Order::CosineSine => [angle.cos(), angle.sin()],
        };
        let emb = Tensor::cat(&halves, 1);
        if self.zeros == 0 { emb } else { emb.constant_pad_nd([0, self.zeros]) }
    }
}

/// Checks the shape of labels against the number of columns that is read.
pub(crate) fn check_labels(labels: &Tensor, what: &str, batch: i64, columns: i64) {
    assert!(
        columns > 0 && labels.size() == [batch, columns],
        "{what} must be [{batch}, {columns}] (none where that is 0), got {:?}",
        labels.size()
    );
}

/// The kind for what low precision would spoil: f32, or f64 where that is the network's own.
pub(crate) fn at_least_f32(kind: Kind) -> Kind {
    if kind == Kind::Double { kind } else { Kind::Float }
}

/// The four sizes of an image tensor.
pub(crate) fn image_size(x: &Tensor) -> (i64, i64, i64, i64) {
    match x.size()[..] {
        [batch, channels, height, width] => (batch, channels, height, width),
        ref other => panic!("expected an image tensor [B, C, H, W], got {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::nn::VarStore;

    use super::*;

    /// Normals of `dims` in f64.
    fn normals(name: &str, dims: &[i64]) -> Tensor {
        let n = dims.iter().product::<i64>() as usize;
        Tensor::from_slice(&Stream::named(0, name).normals(n)).view(dims)
    }

    fn largest(x: &Tensor) -> f64 {
        x.abs().max().double_value(&[])
    }

    /// Sets every value of a network from the stream of its name, in f64.
    fn fill(variables: &VarStore) {
        let tensors: BTreeMap<_, _> = variables.variables().into_iter().collect();
        for (name, mut tensor) in tensors {
            let values = normals(&name, &tensor.size());
            tensor.set_data(&values);
        }
    }

    fn init(seed: u64) -> Init {
        let weights = Weights::Drawn(seed);
        Init { weights, law: Law::XavierUniform, gain: 1.0, bias_gain: 0.0 }
    }

    fn style() -> BlockStyle {
        BlockStyle {
            emb_channels: 5,
            dropout: 0.0,
            adaptive_scale: false,
            sum_divisor: 2f64.sqrt(),
            norm: NormStyle::edm(1e-6),
            names: &EDM_NAMES,
            resample_proj: true,
            channels_per_head: None,
            init: init(0),
            init_zero: init(0),
            init_attention: init(0),
        }
    }

    #[test]
    fn filters_are_their_sums() {
        let x = normals("x", &[2, 3, 6, 8]);
        let at = |b, c, i: i64, j: i64| {
            let inside = (0..6).contains(&i) && (0..8).contains(&j);
            if inside { x.double_value(&[b, c, i, j]) } else { 0.0 }
        };
        for taps in [vec![1.0, 1.0], vec![1.0, 3.0, 3.0, 1.0], vec![0.5, 2.0, 1.0, 0.25]] {
            let sum: f64 = taps.iter().sum();
            let f: Vec<f64> = taps.iter().map(|tap| tap / sum).collect();
            let k = taps.len() as i64;
            let pad = (k - 1) / 2;
            let filter = Filter::new(Device::Cpu, &taps);
            let (down, up) = (filter.down(&x), filter.up(&x));
            assert_eq!((down.size(), up.size()), (vec![2, 3, 3, 4], vec![2, 3, 12, 16]));
            // The kernel is kept in f32.
            let bound = 1e-6 * largest(&x);
            for [b, c, i, j] in [[0, 0, 0, 0], [1, 2, 2, 3], [0, 1, 1, 2], [1, 0, 0, 3]] {
                let mut expected = 0.0;
                for p in 0..k {
                    for q in 0..k {
                        let weight = f[p as usize] * f[q as usize];
                        expected += weight * at(b, c, 2 * i + p - pad, 2 * j + q - pad);
                    }
                }
                assert!((down.double_value(&[b, c, i, j]) - expected).abs() <= bound);
            }
            // The transpose of the filter: source s reaches 2 s + p - pad with weight 2 f_p an axis.
            for [b, c, i, j] in [[0, 0, 0, 0], [1, 2, 11, 15], [0, 1, 5, 6], [1, 0, 8, 3]] {
                let mut expected = 0.0;
                for p in (0..k).filter(|p| (i + pad - p) % 2 == 0) {
                    for q in (0..k).filter(|q| (j + pad - q) % 2 == 0) {
                        let weight = 4.0 * f[p as usize] * f[q as usize];
                        expected += weight * at(b, c, (i + pad - p) / 2, (j + pad - q) / 2);
                    }
                }
                let value = up.double_value(&[b, c, i, j]);
                assert!((value - expected).abs() <= bound, "{taps:?}: {value} {expected}");
            }
        }
    }

    #[test]
    fn frozen_weights_are_cast_once_until_they_are_trained() {
        let mut variables = VarStore::new(Device::Cpu);
        let conv = Conv2d::new(&(variables.root() / "conv"), [2, 3, 3], init(0));
        let x = normals("x", &[1, 2, 8, 8]).to_kind(Kind::BFloat16);
        let _guard = tch::no_grad_guard();
        let answer = |x: &Tensor| conv.forward(x).to_kind(Kind::Double);
        let trainable = answer(&x);
        variables.freeze();
        assert!(answer(&x).equal(&trainable) && answer(&x).equal(&trainable));
        // Another precision is that of the masters.
        let wide = answer(&x.to_kind(Kind::Float));
        assert!(!wide.equal(&trainable));
        variables.unfreeze();
        assert!(answer(&x.to_kind(Kind::Float)).equal(&wide));
        let mut weight = variables.variables()["conv.weight"].shallow_clone();
        let _ = weight.g_add_scalar_(1.0);
        let trained = answer(&x);
        assert!(!trained.equal(&trainable));
        variables.freeze();
        assert!(answer(&x).equal(&trained));
    }

    #[test]
    fn the_fused_form_is_the_padded_convolution_then_the_filter() {
        let variables = VarStore::new(Device::Cpu);
        let taps = [1.0, 3.0, 3.0, 1.0];
        let conv = Conv2d::new(&(variables.root() / "conv"), [2, 3, 3], init(0));
        fill(&variables);
        let x = normals("x", &[1, 2, 8, 8]);
        let (w, b) = (&variables.variables()["conv.weight"], &variables.variables()["conv.bias"]);
        let one = |x: &Tensor, w: &Tensor, bias: Option<&Tensor>, pad: i64, stride: i64| {
            x.conv2d(w, bias, [stride, stride], [pad, pad], [1, 1], 1)
        };
        let wide = one(&x, w, Some(b), 2, 1);
        let f = Tensor::from_slice(&taps) / 8.0;
        let kernel = f.outer(&f).view([1, 1, 4, 4]);
        let expected: Vec<Tensor> =
            (0..3).map(|c| one(&wide.narrow(1, c, 1), &kernel, None, 0, 2)).collect();
        let expected = Tensor::cat(&expected, 1);
        let found = conv.forward_fused(&x, &Filter::new(Device::Cpu, &taps));
        assert_eq!(found.size(), [1, 3, 4, 4]);
        // The taps are exact in f32.
        assert!(largest(&(found - &expected)) <= 1e-13 * largest(&expected));
    }

    #[test]
    fn attention_is_its_definition() {
        assert_eq!(BlockStyle { channels_per_head: Some(64), ..style() }.heads(8), 0);
        for (channels_per_head, heads) in [(None, 1), (Some(4), 2), (Some(8), 1)] {
            let variables = VarStore::new(Device::Cpu);
            let style = BlockStyle { channels_per_head, ..style() };
            assert_eq!(style.heads(8), heads);
            let attention = Attention::new(&variables.root(), 8, heads, &style);
            fill(&variables);
            let x = normals("x", &[1, 8, 2, 3]);
            let Qkv::Joint(qkv, QkvOrder::Interleaved) = &attention.qkv else { panic!() };
            let qkv = qkv.forward(&attention.norm.as_ref().unwrap().forward(&x));
            let at = |part: i64, c: i64, pixel: i64| {
                qkv.double_value(&[0, 3 * c + part, pixel / 3, pixel % 3])
            };
            let per_head = 8 / heads;
            let mut a = vec![0.0; 48];
            for query in 0..6 {
                for head in 0..heads {
                    let channels = head * per_head..(head + 1) * per_head;
                    let weight = |key| {
                        let products = channels.clone().map(|c| at(0, c, query) * at(1, c, key));
                        (products.sum::<f64>() / (per_head as f64).sqrt()).exp()
                    };
                    let weights: Vec<f64> = (0..6).map(weight).collect();
                    let total: f64 = weights.iter().sum();
                    for c in channels.clone() {
                        let sum: f64 =
                            (0..6).map(|key| weights[key as usize] * at(2, c, key)).sum();
                        a[(c * 6 + query) as usize] = sum / total;
                    }
                }
            }
            let expected = attention.proj.forward(&Tensor::from_slice(&a).view([1, 8, 2, 3]));
            // Sums of tens of products in f64.
            let difference = largest(&(attention.forward(&x) - &expected));
            assert!(difference <= 1e-12 * largest(&expected), "{difference}");
        }
    }

    #[test]
    fn an_adaptive_block_scales_and_shifts() {
        let variables = VarStore::new(Device::Cpu);
        let style = BlockStyle {
            adaptive_scale: true,
            sum_divisor: 1.0,
            norm: NormStyle::edm(1e-5),
            resample_proj: false,
            ..style()
        };
        let taps = [1.0, 1.0];
        let block = UNetBlock::new(&variables.root(), [8, 8], Scale::Down(&taps), false, &style);
        fill(&variables);
        // Equal channels: the skip resamples without a convolution.
        assert!(!variables.variables().keys().any(|name| name.contains("skip")));
        let (x, emb) = (normals("x", &[2, 8, 4, 4]), normals("emb", &[2, 5]));
        let v = &variables.variables();
        let normalise = |x: &Tensor, name: &str| {
            // min(32, 8/4) = 2 groups of four channels.
            let size = x.size();
            let groups = x.view([size[0], 2, -1]);
            let variance = groups.var_dim([2i64].as_slice(), false, true);
            let mean = groups.mean_dim([2i64].as_slice(), true, Kind::Double);
            let normal = ((groups - mean) / (variance + 1e-5).sqrt()).view(size.as_slice());
            let [w, b] =
                ["weight", "bias"].map(|part| v[&format!("{name}.{part}")].view([8, 1, 1]));
            normal * w + b
        };
        let convolve = |x: &Tensor, name: &str| {
            let [w, b] = ["weight", "bias"].map(|part| &v[&format!("{name}.{part}")]);
            x.conv2d(w, Some(b), [1, 1], [1, 1], [1, 1], 1)
        };
        let halve = |x: &Tensor| x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
        let h = convolve(&halve(&normalise(&x, "norm0").silu()), "conv0");
        let params = emb.matmul(&v["affine.weight"].transpose(0, 1)) + &v["affine.bias"];
        let [scale, shift] = [0, 8].map(|start| params.narrow(1, start, 8).view([2, 8, 1, 1]));
        let h = (normalise(&h, "norm1") * (scale + 1.0) + shift).silu();
        let expected = convolve(&h, "conv1") + halve(&x);
        // Two convolutions of 72 products in f64.
        let difference = largest(&(block.forward(&x, &emb, Mode::Eval) - &expected));
        assert!(difference <= 1e-12 * largest(&expected), "{difference}");
    }

    #[test]
    fn embeddings_are_sines_and_cosines() {
        let variables = VarStore::new(Device::Cpu);
        let c_noise = [0.7f32, -1.3];
        let positional = NoiseEmbedding::positional(Device::Cpu, 8);
        let without_endpoint = NoiseEmbedding::positional_without_endpoint(Device::Cpu, 8);
        let fourier = NoiseEmbedding::fourier(&variables.root(), 8, Weights::Drawn(4));
        let freqs = &variables.variables()["freqs"];
        assert!(variables.trainable_variables().is_empty());
        let geometric =
            |steps: f64| (0..4).map(|i| 1e4f64.powf(-f64::from(i) / steps)).collect::<Vec<_>>();
        for (embedding, factor, [sine, cosine]) in [
            (&positional, geometric(3.0), [0, 4]),
            (&without_endpoint, geometric(4.0), [4, 0]),
            (&fourier, (0..4).map(|i| TAU * freqs.double_value(&[i])).collect(), [0, 4]),
        ] {
            let found = embedding.forward(&Tensor::from_slice(&c_noise));
            for (b, c) in c_noise.iter().enumerate() {
                for (i, factor) in factor.iter().enumerate() {
                    let angle = factor * f64::from(*c);
                    let sin = found.double_value(&[b as i64, i as i64 + sine]);
                    let cos = found.double_value(&[b as i64, i as i64 + cosine]);
                    // The angle is rounded to f32 twice, its sine once.
                    let bound = 2e-7 * (1.0 + angle.abs());
                    assert!(
                        (sin - angle.sin()).abs() <= bound && (cos - angle.cos()).abs() <= bound
                    );
                }
            }
        }
    }

    #[test]
    fn initial_weights_follow_their_laws() {
        let (fan_in, fan_out) = (9.0 * 6.0, 9.0 * 10.0);
        for (law, bound) in [
            (Law::XavierUniform, (6.0f64 / (fan_in + fan_out)).sqrt()),
            (Law::KaimingUniform, (3.0f64 / fan_in).sqrt()),
        ] {
            let variables = VarStore::new(Device::Cpu);
            let init = Init { law, gain: 0.5, bias_gain: 0.25, ..init(9) };
            let _ = Conv2d::new(&(variables.root() / "a"), [6, 10, 3], init);
            let tensors = variables.variables();
            let [weight, bias] = ["a.weight", "a.bias"].map(|name| &tensors[name]);
            let n = weight.numel() as f64;
            assert!(largest(weight) <= 0.5 * bound && largest(bias) <= 0.25 * bound);
            // The largest of n uniform values falls short by more than 10/n with probability e⁻¹⁰.
            assert!(largest(weight) >= 0.5 * bound * (1.0 - 10.0 / n));
            assert!(largest(bias) > 0.0);
            // Five standard errors of the mean.
            let mean = weight.mean(Kind::Double).double_value(&[]);
            assert!(mean.abs() <= 5.0 * 0.5 * bound / (3.0 * n).sqrt());
        }
        let variables = VarStore::new(Device::Cpu);
        let normal = Init { law: Law::KaimingNormal, gain: 3.0, ..init(9) };
        let _ = Linear::new(&(variables.root() / "a"), 20, 200, true, normal);
        let weight = &variables.variables()["a.weight"];
        let square = weight.square().mean(Kind::Double).double_value(&[]);
        // Five standard errors of the mean square of 4000 normals of variance 9/20.
        assert!((square / 0.45 - 1.0).abs() <= 5.0 * (2.0f64 / 4000.0).sqrt(), "{square}");
        assert_eq!(largest(&variables.variables()["a.bias"]), 0.0);
    }

    #[test]
    fn blank_weights_have_their_shape_and_take_any_values() {
        let variables = VarStore::new(Device::Cpu);
        let blank = Init { weights: Weights::Blank, ..init(0) };
        let conv = Conv2d::new(&variables.root(), [2, 3, 3], blank);
        let weight = &variables.variables()["weight"];
        assert_eq!((weight.size(), weight.stride()), (vec![3, 2, 3, 3], vec![0, 0, 0, 0]));
        fill(&variables);
        assert!(largest(&conv.forward(&normals("x", &[1, 2, 4, 4]))) > 0.0);
    }
}

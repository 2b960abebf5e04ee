//! The layers that EDM's networks are made of, on libtorch tensors.
//!
//! Images are `[B, C, H, W]`, contiguous in memory. A layer computes in the kind of its input; its
//! f32 master weights are cast to that kind on the way, so gradients arrive at the masters.
//!
//! Channels-last memory was measured and left out: libtorch's convolutions gain 5 to 25 % from it on
//! a CPU with AVX-512, but its group normalisation takes four to ten times as long, so that a
//! training step of a whole network is slower by 6 % in f32 and by 45 % in bf16.
//!
//! Initial weights are drawn from [`eps_math::rng`], keyed by (seed, parameter name): they depend
//! neither on the order in which layers are built nor on libtorch's global generator.

use std::f64::consts::{SQRT_2, TAU};

use eps_math::rng::Stream;
use tch::nn::Path;
use tch::{Device, Kind, Tensor};

/// Whether a forward pass is part of a training step.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Inference: no dropout.
    Eval,
    /// A training step: dropout masks are functions of this stream and the layer's name.
    Train(Stream),
}

impl Mode {
    /// A 0/1 mask of kept elements, each kept with probability 1 − `drop`; `None` where all are.
    ///
    /// # Shapes
    /// `[dims]`, f32
    pub(crate) fn keep(self, name: &str, dims: &[i64], drop: f64) -> Option<Tensor> {
        let Self::Train(stream) = self else { return None };
        if drop == 0.0 {
            return None;
        }
        let stream = Stream::named(stream.key(), name);
        let n = dims.iter().product::<i64>() as u64;
        let mask: Vec<f32> = (0..n).map(|i| f32::from(stream.uniform(i) >= drop)).collect();
        Some(Tensor::from_slice(&mask).view(dims))
    }
}

/// How the weights of a layer are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Init {
    /// The seed of the network.
    pub(crate) seed: u64,
    /// The factor by which Xavier's uniform law is scaled.
    pub(crate) gain: f64,
}

impl Init {
    /// The same seed with another gain.
    pub(crate) fn gain(self, gain: f64) -> Self {
        Self { gain, ..self }
    }

    /// A weight of Glorot and Bengio's uniform law on ±gain·√(6/(fan_in + fan_out)).
    fn weight(self, path: &Path<'_>, dims: &[i64]) -> Tensor {
        let taps: i64 = dims[2..].iter().product();
        let fans = (taps * (dims[0] + dims[1])) as f64;
        let bound = self.gain * (6.0 / fans).sqrt();
        let stream = Stream::named(self.seed, &path.path("weight"));
        let n = dims.iter().product::<i64>() as u64;
        let values: Vec<f32> =
            (0..n).map(|i| (bound * (2.0 * stream.uniform(i) - 1.0)) as f32).collect();
        path.add("weight", Tensor::from_slice(&values).view(dims).to_device(path.device()), true)
    }
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
            bias: bias.then(|| path.zeros("bias", &[cout])),
        }
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
        let k = taps.len() as i64;
        Self {
            taps: k,
            is_box: k == 2 && taps[0] == taps[1],
            kernel: f.outer(&f).view([1, 1, k, k]).to_device(device),
        }
    }

    /// The zero padding on each side that keeps the size at exactly half or double.
    fn padding(&self) -> i64 {
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

/// What a convolution does to the resolution.
#[derive(Debug)]
pub(crate) enum Resample {
    /// Nothing.
    Keep,
    /// Halves it before the convolution.
    Down(Filter),
    /// Doubles it before the convolution.
    Up(Filter),
    /// Convolves at full resolution, padded for both, then halves it: EDM's "fused" form.
    FusedDown(Filter),
}

/// A convolution (cross-correlation, zero padding) that may resample.
#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    padding: i64,
    resample: Resample,
}

impl Conv2d {
    pub(crate) fn new(path: &Path<'_>, dims: [i64; 3], resample: Resample, init: Init) -> Self {
        let [cin, cout, kernel] = dims;
        Self {
            weight: init.weight(path, &[cout, cin, kernel, kernel]),
            bias: path.zeros("bias", &[cout]),
            padding: kernel / 2,
            resample,
        }
    }

    /// # Shapes
    /// x: `[B, Cin, H, W]` → `[B, Cout, H', W']`
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        match &self.resample {
            Resample::Keep => self.convolve(x, self.padding),
            Resample::Down(filter) => self.convolve(&filter.down(x), self.padding),
            Resample::Up(filter) => self.convolve(&filter.up(x), self.padding),
            // The filter sums to one, so the bias may go through it.
            Resample::FusedDown(filter) => {
                filter.down_padded(&self.convolve(x, self.padding + filter.padding()), 0)
            }
        }
    }

    fn convolve(&self, x: &Tensor, padding: i64) -> Tensor {
        let kind = x.kind();
        let bias = self.bias.to_kind(kind);
        x.conv2d(&self.weight.to_kind(kind), Some(&bias), [1, 1], [padding, padding], [1, 1], 1)
    }
}

/// Group normalisation over min(32, C/4) groups, affine.
///
/// libtorch accumulates the statistics in f32 whatever the kind of the input.
#[derive(Debug)]
pub(crate) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
}

impl GroupNorm {
    /// EDM's ε of the SongUNet.
    const EPS: f64 = 1e-6;

    /// The number of groups of `channels` channels.
    pub(crate) fn groups(channels: i64) -> i64 {
        (channels / 4).min(32)
    }

    pub(crate) fn new(path: &Path<'_>, channels: i64) -> Self {
        Self {
            weight: path.ones("weight", &[channels]),
            bias: path.zeros("bias", &[channels]),
            groups: Self::groups(channels),
        }
    }

    /// # Shapes
    /// x: `[B, C, H, W]` → `[B, C, H, W]`
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        // On the CPU f32 weights go with low-precision input; CUDA wants one kind.
        let kind = if x.device().is_cuda() { x.kind() } else { at_least_f32(x.kind()) };
        let (weight, bias) = (self.weight.to_kind(kind), self.bias.to_kind(kind));
        x.group_norm(self.groups, Some(&weight), Some(&bias), Self::EPS, true)
    }
}

/// Self-attention over the pixels, one head, softmax in f32.
#[derive(Debug)]
struct Attention {
    norm2: GroupNorm,
    qkv: Conv2d,
    proj: Conv2d,
}

impl Attention {
    fn new(path: &Path<'_>, c: i64, init: Init) -> Self {
        let keep = || Resample::Keep;
        Self {
            norm2: GroupNorm::new(&(path / "norm2"), c),
            qkv: Conv2d::new(&(path / "qkv"), [c, 3 * c, 1], keep(), init.gain(0.2f64.sqrt())),
            proj: Conv2d::new(&(path / "proj"), [c, c, 1], keep(), init.gain(1e-5)),
        }
    }

    /// The update that is added to x.
    ///
    /// ```text
    /// proj(softmax(q kᵀ/√C) v),   q, k, v = channels 3c, 3c + 1, 3c + 2 of qkv(norm2(x))
    /// ```
    fn forward(&self, x: &Tensor) -> Tensor {
        let (batch, channels, height, width) = image_size(x);
        let qkv = self.qkv.forward(&self.norm2.forward(x));
        let qkv = qkv.view([batch, channels, 3, height * width]).unbind(2);
        let (q, k, v) = (&qkv[0], &qkv[1], &qkv[2]);
        let wide = at_least_f32(x.kind());
        let k = k.to_kind(wide) / (channels as f64).sqrt();
        // [B, queries, keys]
        let weights = q.to_kind(wide).transpose(1, 2).bmm(&k).softmax(-1, wide);
        let a = v.bmm(&weights.to_kind(x.kind()).transpose(1, 2));
        self.proj.forward(&a.view([batch, channels, height, width]))
    }
}

/// The options of a [`UNetBlock`].
#[derive(Debug)]
pub(crate) struct BlockOptions {
    pub(crate) emb_channels: i64,
    pub(crate) attention: bool,
    pub(crate) dropout: f64,
}

/// EDM's residual block: two convolutions around the embedding of the noise level, and attention.
///
/// ```text
/// h = conv0(silu(norm0(x)));  h = conv1(dropout(silu(norm1(h + affine(emb)))));  x = (h + skip(x))/√2
/// ```
#[derive(Debug)]
pub(crate) struct UNetBlock {
    /// Names the dropout stream.
    name: String,
    norm0: GroupNorm,
    conv0: Conv2d,
    affine: Linear,
    norm1: GroupNorm,
    conv1: Conv2d,
    skip: Option<Conv2d>,
    attention: Option<Attention>,
    dropout: f64,
}

/// What a [`UNetBlock`] does to the resolution, with the filter's taps.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scale<'a> {
    Keep,
    Down(&'a [f64]),
    Up(&'a [f64]),
}

impl Scale<'_> {
    fn resample(self, device: Device) -> Resample {
        match self {
            Self::Keep => Resample::Keep,
            Self::Down(taps) => Resample::Down(Filter::new(device, taps)),
            Self::Up(taps) => Resample::Up(Filter::new(device, taps)),
        }
    }
}

impl UNetBlock {
    pub(crate) fn new(
        path: &Path<'_>,
        [cin, cout]: [i64; 2],
        scale: Scale<'_>,
        options: &BlockOptions,
        init: Init,
    ) -> Self {
        let resample = || scale.resample(path.device());
        let has_skip = cin != cout || !matches!(scale, Scale::Keep);
        Self {
            name: path.path("dropout"),
            norm0: GroupNorm::new(&(path / "norm0"), cin),
            conv0: Conv2d::new(&(path / "conv0"), [cin, cout, 3], resample(), init),
            affine: Linear::new(&(path / "affine"), options.emb_channels, cout, true, init),
            norm1: GroupNorm::new(&(path / "norm1"), cout),
            conv1: Conv2d::new(&(path / "conv1"), [cout, cout, 3], Resample::Keep, init.gain(1e-5)),
            skip: has_skip.then(|| Conv2d::new(&(path / "skip"), [cin, cout, 1], resample(), init)),
            attention: options.attention.then(|| Attention::new(path, cout, init)),
            dropout: options.dropout,
        }
    }

    /// # Shapes
    /// x: `[B, Cin, H, W]`, emb: `[B, E]` in f32 → `[B, Cout, H', W']`
    pub(crate) fn forward(&self, x: &Tensor, emb: &Tensor, mode: Mode) -> Tensor {
        let kind = x.kind();
        let h = self.conv0.forward(&self.norm0.forward(x).silu());
        let shift = self.affine.forward(emb).to_kind(kind).unsqueeze(-1).unsqueeze(-1);
        let h = self.norm1.forward(&(h + shift)).silu();
        let h = match mode.keep(&self.name, &h.size(), self.dropout) {
            Some(keep) => h * (keep / (1.0 - self.dropout)).to_device(x.device()).to_kind(kind),
            None => h,
        };
        let h = self.conv1.forward(&h);
        let x = match &self.skip {
            Some(skip) => (h + skip.forward(x)) / SQRT_2,
            None => (h + x) / SQRT_2,
        };
        match &self.attention {
            Some(attention) => (attention.forward(&x) + x) / SQRT_2,
            None => x,
        }
    }
}

/// The embedding of the noise level, `[B]` → `[B, n]` in f32.
#[derive(Debug)]
pub(crate) enum NoiseEmbedding {
    /// Sines, then cosines, of c_noise times n/2 frequencies from 1 down to 1/10000.
    Positional(Tensor),
    /// Sines, then cosines, of 2π c_noise times n/2 stored normal frequencies of scale 16.
    Fourier(Tensor),
}

impl NoiseEmbedding {
    pub(crate) fn positional(device: Device, channels: i64) -> Self {
        let half = channels / 2;
        let freqs: Vec<f32> =
            (0..half).map(|i| 1e4f64.powf(-(i as f64) / (half - 1) as f64) as f32).collect();
        Self::Positional(Tensor::from_slice(&freqs).to_device(device))
    }

    pub(crate) fn fourier(path: &Path<'_>, channels: i64, seed: u64) -> Self {
        let stream = Stream::named(seed, &path.path("freqs"));
        let freqs: Vec<f32> =
            (0..channels as u64 / 2).map(|i| (16.0 * stream.normal(i)) as f32).collect();
        let freqs = Tensor::from_slice(&freqs).to_device(path.device());
        Self::Fourier(path.add("freqs", freqs, false))
    }

    pub(crate) fn forward(&self, c_noise: &Tensor) -> Tensor {
        let c_noise = c_noise.to_kind(Kind::Float);
        let angle = match self {
            Self::Positional(freqs) => c_noise.outer(freqs),
            Self::Fourier(freqs) => c_noise.outer(&(freqs * TAU)),
        };
        Tensor::cat(&[angle.sin(), angle.cos()], 1)
    }
}

/// The kind for what low precision would spoil: f32, or f64 where that is the network's own.
fn at_least_f32(kind: Kind) -> Kind {
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
    fn the_fused_form_is_the_padded_convolution_then_the_filter() {
        let variables = VarStore::new(Device::Cpu);
        let init = Init { seed: 0, gain: 1.0 };
        let taps = [1.0, 3.0, 3.0, 1.0];
        let fused = Resample::FusedDown(Filter::new(Device::Cpu, &taps));
        let conv = Conv2d::new(&(variables.root() / "conv"), [2, 3, 3], fused, init);
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
        let found = conv.forward(&x);
        assert_eq!(found.size(), [1, 3, 4, 4]);
        // The taps are exact in f32.
        assert!(largest(&(found - &expected)) <= 1e-13 * largest(&expected));
    }

    #[test]
    fn attention_is_its_definition() {
        let variables = VarStore::new(Device::Cpu);
        let attention = Attention::new(&variables.root(), 8, Init { seed: 0, gain: 1.0 });
        fill(&variables);
        let x = normals("x", &[1, 8, 2, 3]);
        let qkv = attention.qkv.forward(&attention.norm2.forward(&x));
        let at = |part: i64, c: i64, pixel: i64| {
            qkv.double_value(&[0, 3 * c + part, pixel / 3, pixel % 3])
        };
        let mut a = vec![0.0; 48];
        for query in 0..6 {
            let logit = |key| (0..8).map(|c| at(0, c, query) * at(1, c, key)).sum::<f64>();
            let weights: Vec<f64> = (0..6).map(|key| (logit(key) / 8f64.sqrt()).exp()).collect();
            let total: f64 = weights.iter().sum();
            for c in 0..8 {
                let sum: f64 = (0..6).map(|key| weights[key as usize] * at(2, c, key)).sum();
                a[(c * 6 + query) as usize] = sum / total;
            }
        }
        let expected = attention.proj.forward(&Tensor::from_slice(&a).view([1, 8, 2, 3]));
        // Sums of tens of products in f64.
        let difference = largest(&(attention.forward(&x) - &expected));
        assert!(difference <= 1e-12 * largest(&expected), "{difference}");
    }

    #[test]
    fn embeddings_are_sines_then_cosines() {
        let variables = VarStore::new(Device::Cpu);
        let c_noise = [0.7f32, -1.3];
        let positional = NoiseEmbedding::positional(Device::Cpu, 8);
        let fourier = NoiseEmbedding::fourier(&variables.root(), 8, 4);
        let freqs = &variables.variables()["freqs"];
        assert!(variables.trainable_variables().is_empty());
        for (embedding, factor) in [
            (&positional, (0..4).map(|i| 1e4f64.powf(-i as f64 / 3.0)).collect::<Vec<_>>()),
            (&fourier, (0..4).map(|i| TAU * freqs.double_value(&[i])).collect()),
        ] {
            let found = embedding.forward(&Tensor::from_slice(&c_noise));
            for (b, c) in c_noise.iter().enumerate() {
                for (i, factor) in factor.iter().enumerate() {
                    let angle = factor * f64::from(*c);
                    let sin = found.double_value(&[b as i64, i as i64]);
                    let cos = found.double_value(&[b as i64, i as i64 + 4]);
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
    fn initial_weights_follow_xaviers_law() {
        let variables = VarStore::new(Device::Cpu);
        let init = Init { seed: 9, gain: 0.5 };
        let _ = Conv2d::new(&(variables.root() / "a"), [6, 10, 3], Resample::Keep, init);
        let weight = &variables.variables()["a.weight"];
        let bound = 0.5 * (6.0f64 / (9.0 * 16.0)).sqrt();
        let n = weight.numel() as f64;
        assert!(largest(weight) <= bound);
        // The largest of n uniform values falls short by more than 10/n with probability e⁻¹⁰.
        assert!(largest(weight) >= bound * (1.0 - 10.0 / n));
        // Five standard errors of the mean.
        let mean = weight.mean(Kind::Double).double_value(&[]);
        assert!(mean.abs() <= 5.0 * bound / (3.0 * n).sqrt());
        assert_eq!(largest(&variables.variables()["a.bias"]), 0.0);
    }
}

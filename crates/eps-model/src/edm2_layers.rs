//! The magnitude-preserving layers of EDM2 (Karras et al. 2024): no biases, no learnt normalisations, every weight
//! scaled on the fly.
//!
//! ```text
//! norm(x; dims) = x/(1e-4 + rms of x over dims)      mpsilu(x) = silu(x)/0.596
//! mpsum(a, b; t) = ((1 − t) a + t b)/√((1 − t)² + t²)
//! ```
//!
//! The equations are those of inference: EDM2's training also rescales the stored weights after every step.

use std::cell::RefCell;
use std::f64::consts::{SQRT_2, TAU};

use eps_math::nearest_f32;
use eps_math::rng::Stream;
use tch::nn::Path;
use tch::{Kind, Tensor};

use crate::extent::{extent, length_of};
use crate::layers::{
    Init, Mode, Resample, Weights, at_least_f32, attend, blank, check_labels, four_dims, image_size,
};

/// What is added to a root mean square before dividing by it.
const EPS: f64 = 1e-4;

/// The root mean square of silu of a standard normal.
const SILU_RMS: f64 = 0.596;

/// x/(1e-4 + rms of x over `dims`), the rms in f32 at least.
fn normalise(x: &Tensor, dims: &[i64]) -> Tensor {
    let sides = x.size();
    let count: i64 = dims.iter().map(|dim| sides[length_of(*dim)]).product();
    let norm = x.norm_scalaropt_dim_dtype(2.0, dims, true, at_least_f32(x.kind()));
    x / (norm * (count as f64).sqrt().recip() + EPS).to_kind(x.kind())
}

fn mp_silu(x: &Tensor) -> Tensor {
    x.silu() / SILU_RMS
}

fn mp_sum(a: &Tensor, b: &Tensor, t: f64) -> Tensor {
    (a * (1.0 - t) + b * t) / (1.0 - t).hypot(t)
}

/// a and b beside each other, so weighted that both count as `t` says whatever their channels.
///
/// # Shapes
/// a: `[B, Na, H, W]`, b: `[B, Nb, H, W]` → `[B, Na + Nb, H, W]`
fn mp_cat(a: &Tensor, b: &Tensor, t: f64) -> Tensor {
    let [n_a, n_b] = [a, b].map(|x| x.size()[1] as f64);
    let k = (n_a + n_b).sqrt() / (1.0 - t).hypot(t);
    Tensor::cat(&[a * (k * (1.0 - t) / n_a.sqrt()), b * (k * t / n_b.sqrt())], 1)
}

/// An image beside a channel of ones.
///
/// # Shapes
/// x: `[B, C, H, W]` → `[B, C + 1, H, W]`
pub(crate) fn with_ones(x: &Tensor) -> Tensor {
    let (batch, _, height, width) = image_size(x);
    let ones = Tensor::ones([batch, 1, height, width], (x.kind(), x.device()));
    Tensor::cat(&[x, &ones], 1)
}

/// A parameter without dimensions that starts at 0.
pub(crate) fn gain(path: &Path<'_>, name: &str) -> Tensor {
    path.add(name, blank(&[], path.device()), true)
}

/// A convolution, or a matrix product, of effective weight norm(w)·gain/√fan_in.
#[derive(Debug)]
pub(crate) struct MpConv {
    weight: Tensor,
    gain: Option<Tensor>,
    /// The effective weight of the last call, where it is frozen.
    effective: RefCell<Option<Tensor>>,
}

impl MpConv {
    /// # Shapes
    /// dims: `[Cout, Cin]` of a matrix, `[Cout, Cin, k, k]` of a convolution
    pub(crate) fn new(path: &Path<'_>, dims: &[i64], init: Init) -> Self {
        let weight = init.weight(path, dims);
        Self { weight, gain: None, effective: RefCell::new(None) }
    }

    /// The same with a factor that is learnt.
    pub(crate) fn with_gain(self, gain: Tensor) -> Self {
        Self { gain: Some(gain), ..self }
    }

    /// The number of its weights.
    pub(crate) fn weight_count(&self) -> u64 {
        self.weight.numel() as u64
    }

    /// The dimensions of its weight, `[Cout, Cin, k, k]`.
    pub(crate) fn dims(&self) -> [i64; 4] {
        four_dims(&self.weight)
    }

    fn in_channels(&self) -> i64 {
        self.weight.size()[1]
    }

    fn effective(&self, kind: Kind) -> Tensor {
        let mut kept = self.effective.borrow_mut();
        let gain_changes = self.gain.as_ref().is_some_and(Tensor::requires_grad);
        if self.weight.requires_grad() || gain_changes {
            *kept = None;
            return self.scaled(kind);
        }
        let known = kept.take().filter(|known| known.kind() == kind);
        kept.insert(known.unwrap_or_else(|| self.scaled(kind))).shallow_clone()
    }

    fn scaled(&self, kind: Kind) -> Tensor {
        let dims: Vec<i64> = (1..extent(self.weight.dim())).collect();
        let fan_in = self.weight.size()[1..].iter().product::<i64>() as f64;
        let scaled = normalise(&self.weight, &dims) / fan_in.sqrt();
        match &self.gain {
            Some(gain) => scaled * gain,
            None => scaled,
        }
        .to_kind(kind)
    }

    /// # Shapes
    /// x: `[B, Cin, H, W]` → `[B, Cout, H, W]`, or `[B, Cin]` → `[B, Cout]`
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let weight = self.effective(x.kind());
        match weight.size()[..] {
            [_, _, kernel, _] => {
                let pad = kernel / 2;
                x.conv2d(&weight, None::<&Tensor>, [1, 1], [pad, pad], [1, 1], 1)
            }
            _ => x.linear(&weight, None::<&Tensor>),
        }
    }
}

/// √2 cos(x·freqs + phases) with stored frequencies, which contain the 2π, and phases.
#[derive(Debug)]
pub(crate) struct MpFourier {
    freqs: Tensor,
    phases: Tensor,
}

impl MpFourier {
    pub(crate) fn new(path: &Path<'_>, channels: i64, weights: Weights) -> Self {
        let buffer = |name: &str, value: &dyn Fn(&Stream, u64) -> f64| {
            let values = match weights {
                Weights::Blank => blank(&[channels], path.device()),
                Weights::Drawn(seed) => {
                    let stream = Stream::named(seed, &path.path(name));
                    let values =
                        (0..channels.unsigned_abs()).map(|i| nearest_f32(value(&stream, i)));
                    Tensor::from_slice(&values.collect::<Vec<f32>>()).to_device(path.device())
                }
            };
            path.add(name, values, false)
        };
        Self {
            freqs: buffer("freqs", &|stream, i| TAU * stream.normal(i)),
            phases: buffer("phases", &|stream, i| TAU * stream.uniform(i)),
        }
    }

    /// # Shapes
    /// x: `[B]` → `[B, n]` in f32
    fn forward(&self, x: &Tensor) -> Tensor {
        (x.to_kind(Kind::Float).outer(&self.freqs) + &self.phases).cos() * SQRT_2
    }
}

/// EDM2's embedding of noise level and class.
///
/// ```text
/// emb = mpsilu(mpsum(emb_noise(fourier(c_noise)), emb_label(√L label); t)),  without the sum where there are no classes
/// ```
#[derive(Debug)]
pub(crate) struct MpMapping {
    pub(crate) fourier: MpFourier,
    pub(crate) noise: MpConv,
    pub(crate) label: Option<MpConv>,
    pub(crate) label_balance: f64,
}

impl MpMapping {
    /// The number of its weights.
    pub(crate) fn weight_count(&self) -> u64 {
        self.noise.weight_count() + self.label.as_ref().map_or(0, MpConv::weight_count)
    }

    /// The embedding, in f32; without labels a conditional network sees zeros.
    ///
    /// # Shapes
    /// c_noise: `[B]`, labels: `[B, L]` → `[B, E]`
    ///
    /// # Panics
    /// If labels have another shape, or the network reads none.
    pub(crate) fn forward(&self, c_noise: &Tensor, labels: Option<&Tensor>) -> Tensor {
        let batch = c_noise.size()[0];
        let classes = self.label.as_ref().map_or(0, MpConv::in_channels);
        if let Some(labels) = labels {
            check_labels(labels, "class_labels", batch, classes);
        }
        let mut emb = self.noise.forward(&self.fourier.forward(c_noise));
        if let Some(map) = &self.label {
            let zeros = || Tensor::zeros([batch, classes], (Kind::Float, emb.device()));
            let labels = labels.map_or_else(zeros, |labels| labels.to_kind(Kind::Float));
            let label = map.forward(&(labels * (classes as f64).sqrt()));
            emb = mp_sum(&emb, &label, self.label_balance);
        }
        mp_silu(&emb)
    }
}

/// The logarithm of the variance of the error at a noise level, which EDM2's training learns beside the network.
#[derive(Debug)]
pub(crate) struct LogVariance {
    pub(crate) fourier: MpFourier,
    pub(crate) linear: MpConv,
}

impl LogVariance {
    /// # Shapes
    /// c_noise: `[B]` → `[B]` in f32
    pub(crate) fn forward(&self, c_noise: &Tensor) -> Tensor {
        self.linear.forward(&self.fourier.forward(c_noise)).flatten(0, -1)
    }
}

/// What the blocks of one network have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MpStyle {
    pub(crate) emb_channels: i64,
    pub(crate) channels_per_head: i64,
    pub(crate) dropout: f64,
    pub(crate) res_balance: f64,
    pub(crate) attn_balance: f64,
    pub(crate) concat_balance: f64,
    pub(crate) clip_act: Option<f64>,
    pub(crate) init: Init,
}

/// Which half of the network a block is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// The encoder, whose blocks normalise every pixel.
    Enc,
    /// The decoder.
    Dec,
}

/// EDM2's self-attention, with q, k and v of unit rms.
#[derive(Debug)]
pub(crate) struct MpAttention {
    pub(crate) heads: i64,
    pub(crate) qkv: MpConv,
    pub(crate) proj: MpConv,
}

impl MpAttention {
    fn forward(&self, x: &Tensor) -> Tensor {
        let (batch, channels, height, width) = image_size(x);
        let sides = [batch * self.heads, channels / self.heads, 3, height * width];
        let qkv = normalise(&self.qkv.forward(x).view(sides), &[1]);
        let a = attend(&[0, 1, 2].map(|p| qkv.select(2, p)));
        self.proj.forward(&a.view([batch, channels, height, width]))
    }
}

/// EDM2's residual block.
///
/// ```text
/// x = resample(x);   encoder: x = norm(skip(x); channels)
/// y = conv_res1(mpsilu(conv_res0(mpsilu(x))·(emb_linear(emb) + 1)));   decoder: x = skip(x)
/// x = mpsum(x, y);   x = mpsum(x, attention(x));   x in ±clip_act
/// ```
#[derive(Debug)]
pub(crate) struct MpBlock {
    /// Names the dropout stream.
    name: String,
    pub(crate) style: MpStyle,
    flavor: Flavor,
    pub(crate) resample: Resample,
    pub(crate) conv_skip: Option<MpConv>,
    pub(crate) conv_res0: MpConv,
    pub(crate) emb_linear: MpConv,
    pub(crate) conv_res1: MpConv,
    pub(crate) attention: Option<MpAttention>,
}

impl MpBlock {
    pub(crate) fn new(
        path: &Path<'_>,
        flavor: Flavor,
        [cin, cout]: [i64; 2],
        resample: Resample,
        attention: bool,
        style: &MpStyle,
    ) -> Self {
        let conv = |name: &str, dims: &[i64]| MpConv::new(&(path / name), dims, style.init);
        // The channels that the first convolution reads.
        let inner = if flavor == Flavor::Enc { cout } else { cin };
        let emb_linear = conv("emb_linear", &[cout, style.emb_channels]);
        let heads = if attention { cout / style.channels_per_head } else { 0 };
        Self {
            name: path.path("dropout"),
            style: *style,
            flavor,
            resample,
            emb_linear: emb_linear.with_gain(gain(path, "emb_gain")),
            conv_res0: conv("conv_res0", &[cout, inner, 3, 3]),
            conv_res1: conv("conv_res1", &[cout, cout, 3, 3]),
            conv_skip: (cin != cout).then(|| conv("conv_skip", &[cout, cin, 1, 1])),
            attention: (heads > 0).then(|| MpAttention {
                heads,
                qkv: conv("attn_qkv", &[3 * cout, cout, 1, 1]),
                proj: conv("attn_proj", &[cout, cout, 1, 1]),
            }),
        }
    }

    /// # Shapes
    /// inputs: `[B, ., H, W]`, one or two; emb: `[B, E]` in f32 → `[B, Cout, H', W']`
    pub(crate) fn forward(&self, inputs: &[Tensor], emb: &Tensor, mode: Mode) -> Tensor {
        let style = &self.style;
        let x = match inputs {
            [x, skip] => mp_cat(x, skip, style.concat_balance),
            _ => inputs[0].shallow_clone(),
        };
        let mut x = self.resample.forward(&x);
        let skip = |x: &Tensor| match &self.conv_skip {
            Some(conv) => conv.forward(x),
            None => x.shallow_clone(),
        };
        if self.flavor == Flavor::Enc {
            x = normalise(&skip(&x), &[1]);
        }
        let mut y = self.conv_res0.forward(&mp_silu(&x));
        let factor = (self.emb_linear.forward(emb) + 1.0).to_kind(x.kind());
        y = mp_silu(&(y * factor.unsqueeze(-1).unsqueeze(-1)));
        if let Some(keep) = mode.keep(&self.name, &y.size(), style.dropout, x.device()) {
            y = y * keep / (1.0 - style.dropout);
        }
        y = self.conv_res1.forward(&y);
        if self.flavor == Flavor::Dec {
            x = skip(&x);
        }
        x = mp_sum(&x, &y, style.res_balance);
        if let Some(attention) = &self.attention {
            x = mp_sum(&x, &attention.forward(&x), style.attn_balance);
        }
        match style.clip_act {
            Some(most) => x.clamp(-most, most),
            None => x,
        }
    }
}

//! The network of EDM2 (Karras et al. 2024) without its preconditioning, which is EDM's.
//!
//! The names of the parameters and the fields are those of its `Precond` and the `UNet` in it.

use serde::{Deserialize, Serialize};
use tch::nn::Path;

use crate::ModelError;
use crate::dhariwal_unet::TAPS;
use crate::edm2_layers::{
    Flavor, LogVariance, MpBlock, MpConv, MpFourier, MpMapping, MpStyle, gain,
};
use crate::extent::extent;
use crate::layers::{Filter, Init, Law, Resample, Weights};
use crate::levels::{MOST_BLOCKS, MOST_CHANNELS, Outline, check_probability, require, within};
use crate::mapping::Embedding;
use crate::steps::{Layer, Skip, Steps};

/// The configuration of EDM2's Precond: its arguments and those of its UNet with their defaults.
///
/// σ_data, which Precond takes too, is of the preconditioning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrecondConfig {
    /// The side length of the training images; names the levels and places the attention.
    pub img_resolution: usize,
    /// Channels of an image.
    pub img_channels: usize,
    /// Channels of an observation that is read beside the image; 0 in all published files.
    pub condition_channels: usize,
    /// The number of classes; 0 for an unconditional network.
    pub label_dim: usize,
    /// The channels of the embedding that the variance of the error is learnt with.
    pub logvar_channels: usize,
    /// Channels at multiplier 1.
    pub model_channels: usize,
    /// The multiplier of each level, highest resolution first.
    pub channel_mult: Vec<usize>,
    /// The multiplier of the noise embedding; null for that of the first level.
    pub channel_mult_noise: Option<usize>,
    /// The multiplier of the embedding; null for the largest of the levels.
    pub channel_mult_emb: Option<usize>,
    /// Residual blocks in each level of the encoder; the decoder has one more.
    pub num_blocks: usize,
    /// The resolutions, counted from `img_resolution`, whose blocks all have attention.
    pub attn_resolutions: Vec<usize>,
    /// The weight of the class beside the noise level in the embedding.
    pub label_balance: f64,
    /// The weight of what is skipped beside the current value where the two are joined.
    pub concat_balance: f64,
    /// The taps of the resampling filter.
    pub resample_filter: Vec<f64>,
    /// The channels of an attention head.
    pub channels_per_head: usize,
    /// The probability of dropping an activation in training.
    pub dropout: f64,
    /// The weight of a block's residual beside its input.
    pub res_balance: f64,
    /// The weight of an attention beside its input.
    pub attn_balance: f64,
    /// The largest activation; null for none.
    pub clip_act: Option<f64>,
}

impl Default for PrecondConfig {
    /// EDM2's defaults, for images of no size.
    fn default() -> Self {
        Self {
            img_resolution: 0,
            img_channels: 3,
            condition_channels: 0,
            label_dim: 0,
            logvar_channels: 128,
            model_channels: 192,
            channel_mult: vec![1, 2, 3, 4],
            channel_mult_noise: None,
            channel_mult_emb: None,
            num_blocks: 3,
            attn_resolutions: vec![16, 8],
            label_balance: 0.5,
            concat_balance: 0.5,
            resample_filter: TAPS.to_vec(),
            channels_per_head: 64,
            dropout: 0.0,
            res_balance: 0.3,
            attn_balance: 0.3,
            clip_act: Some(256.0),
        }
    }
}

impl PrecondConfig {
    /// The channels of each level.
    fn channels(&self) -> Vec<usize> {
        self.channel_mult.iter().map(|mult| mult.saturating_mul(self.model_channels)).collect()
    }

    /// The channels of the noise embedding and of the embedding.
    fn embeddings(&self) -> [usize; 2] {
        let channels = self.channels();
        let times = |mult: usize| mult.saturating_mul(self.model_channels);
        [
            self.channel_mult_noise.map_or_else(|| channels.first().copied().unwrap_or(0), times),
            self.channel_mult_emb
                .map_or_else(|| channels.iter().copied().max().unwrap_or(0), times),
        ]
    }

    pub(crate) fn outline(&self) -> Outline {
        Outline {
            img_resolution: self.img_resolution,
            in_channels: self.img_channels.saturating_add(self.condition_channels),
            out_channels: self.img_channels,
            label_dim: self.label_dim,
            levels: self.channel_mult.len(),
        }
    }

    /// Whether a network can be built from this configuration.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the first field that is out of range, and its range.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.outline().validate(["img_resolution", "channel_mult", "label_dim"])?;
        within("model_channels", self.model_channels, 1, MOST_CHANNELS)?;
        within("num_blocks", self.num_blocks, 1, MOST_BLOCKS)?;
        within("logvar_channels", self.logvar_channels, 1, MOST_CHANNELS)?;
        within("channels_per_head", self.channels_per_head, 1, MOST_CHANNELS)?;
        check_probability("dropout", self.dropout)?;
        let widths = [
            ("channel_mult", self.channels()),
            ("channel_mult_noise", vec![self.embeddings()[0]]),
            ("channel_mult_emb", vec![self.embeddings()[1]]),
        ];
        for (field, widths) in widths {
            for width in widths {
                require((1..=MOST_CHANNELS).contains(&width), field, width, || {
                    format!("channels must be at least 1 and at most {MOST_CHANNELS}")
                })?;
            }
        }
        for (field, value) in [
            ("label_balance", self.label_balance),
            ("concat_balance", self.concat_balance),
            ("res_balance", self.res_balance),
            ("attn_balance", self.attn_balance),
        ] {
            require((0.0..=1.0).contains(&value), field, value, || {
                "it is a weight: at least 0 and at most 1".to_owned()
            })?;
        }
        require(
            self.clip_act.is_none_or(|most| most > 0.0),
            "clip_act",
            self.clip_act.unwrap_or(0.0),
            || "it must be positive, or null".to_owned(),
        )?;
        let last = self.channel_mult.len() - 1;
        for (level, channels) in self.channels().into_iter().enumerate() {
            let heads = channels / self.channels_per_head;
            let attends =
                level == last || self.attn_resolutions.contains(&(self.img_resolution >> level));
            require(
                !attends || heads == 0 || channels.is_multiple_of(heads),
                "channels_per_head",
                self.channels_per_head,
                || {
                    format!(
                        "{channels} channels would have {heads} heads, which do not divide them"
                    )
                },
            )?;
        }
        check_filter(&self.resample_filter)
    }

    /// The law of the initial weights.
    ///
    /// ```text
    /// N(0, 1), of which only directions count; gains 0
    /// ```
    fn init(weights: Weights) -> Init {
        Init { weights, law: Law::StandardNormal, gain: 1.0, bias_gain: 0.0 }
    }

    fn style(&self, init: Init) -> MpStyle {
        MpStyle {
            emb_channels: extent(self.embeddings()[1]),
            channels_per_head: extent(self.channels_per_head),
            dropout: self.dropout,
            res_balance: self.res_balance,
            attn_balance: self.attn_balance,
            concat_balance: self.concat_balance,
            clip_act: self.clip_act,
            init,
        }
    }

    /// The layers, with their parameters under `root`.
    pub(crate) fn build(
        &self,
        root: &Path<'_>,
        weights: Weights,
    ) -> (Embedding, Steps, LogVariance) {
        let init = Self::init(weights);
        let style = self.style(init);
        let unet = root / "unet";
        let mut steps = Steps::default();
        let (x, skips) = self.encode(&mut steps, &(&unet / "enc"), &style);
        let (x, cout) = self.decode(&mut steps, &(&unet / "dec"), x, skips, &style);
        let conv =
            MpConv::new(&(&unet / "out_conv"), &[extent(self.img_channels), cout, 3, 3], init);
        steps.push(Layer::MpOutput(conv.with_gain(gain(&unet, "out_gain"))), &[x]);
        let logvar_channels = extent(self.logvar_channels);
        let log_variance = LogVariance {
            fourier: MpFourier::new(&(root / "logvar_fourier"), logvar_channels, weights),
            linear: MpConv::new(&(root / "logvar_linear"), &[1, logvar_channels], init),
        };
        (Embedding::MagnitudePreserving(self.mapping(&unet, init)), steps, log_variance)
    }

    fn mapping(&self, unet: &Path<'_>, init: Init) -> MpMapping {
        let [noise, emb] = self.embeddings().map(extent);
        let classes = extent(self.label_dim);
        MpMapping {
            fourier: MpFourier::new(&(unet / "emb_fourier"), noise, init.weights),
            noise: MpConv::new(&(unet / "emb_noise"), &[emb, noise], init),
            label: (classes > 0).then(|| MpConv::new(&(unet / "emb_label"), &[emb, classes], init)),
            label_balance: self.label_balance,
        }
    }

    /// The encoder's steps; returns the last value and the skip stack.
    fn encode(&self, steps: &mut Steps, path: &Path<'_>, style: &MpStyle) -> (usize, Vec<Skip>) {
        let taps = &self.resample_filter;
        let mut x = Steps::INPUT;
        let mut cout = 0;
        let mut skips = Vec::new();
        for (level, channels) in self.channels().into_iter().enumerate() {
            let channels = extent(channels);
            let res = self.img_resolution >> level;
            let at = |name: &str| path / format!("{res}x{res}_{name}");
            let block = |name: &str, dims: [i64; 2], resample: Resample, attends: bool| {
                let block = MpBlock::new(&at(name), Flavor::Enc, dims, resample, attends, style);
                Layer::MpBlock(Box::new(block))
            };
            if level == 0 {
                cout = channels;
                let reads = extent(self.img_channels + self.condition_channels + 1);
                let conv = MpConv::new(&at("conv"), &[cout, reads, 3, 3], style.init);
                x = steps.push(Layer::MpInput(conv), &[x]);
            } else {
                let resample = Resample::Down(Filter::new(path.device(), taps));
                x = steps.push(block("down", [cout, cout], resample, false), &[x]);
            }
            skips.push(Skip { value: x, channels: cout });
            for index in 0..self.num_blocks {
                let attends = self.attn_resolutions.contains(&res);
                let dims = [cout, channels];
                let layer = block(&format!("block{index}"), dims, Resample::Keep, attends);
                x = steps.push(layer, &[x]);
                cout = channels;
                skips.push(Skip { value: x, channels: cout });
            }
        }
        (x, skips)
    }

    /// The decoder's steps; returns the last value and its channels.
    fn decode(
        &self,
        steps: &mut Steps,
        path: &Path<'_>,
        mut x: usize,
        mut skips: Vec<Skip>,
        style: &MpStyle,
    ) -> (usize, i64) {
        let levels = self.channels();
        let last = levels.len() - 1;
        let mut cout = extent(levels[last]);
        for (level, channels) in levels.into_iter().enumerate().rev() {
            let channels = extent(channels);
            let res = self.img_resolution >> level;
            let block = |name: &str, dims: [i64; 2], resample: Resample, attends: bool| {
                let path = path / format!("{res}x{res}_{name}");
                let block = MpBlock::new(&path, Flavor::Dec, dims, resample, attends, style);
                Layer::MpBlock(Box::new(block))
            };
            if level == last {
                x = steps.push(block("in0", [cout, cout], Resample::Keep, true), &[x]);
                x = steps.push(block("in1", [cout, cout], Resample::Keep, false), &[x]);
            } else {
                let filter = Filter::new(path.device(), &self.resample_filter);
                x = steps.push(block("up", [cout, cout], Resample::Up(filter), false), &[x]);
            }
            for index in 0..=self.num_blocks {
                let skip = skips.pop().expect("one skip for each block of the decoder");
                let dims = [cout + skip.channels, channels];
                let attends = self.attn_resolutions.contains(&res);
                let layer = block(&format!("block{index}"), dims, Resample::Keep, attends);
                x = steps.push(layer, &[x, skip.value]);
                cout = channels;
            }
        }
        (x, cout)
    }
}

/// Whether a resampling filter keeps sizes at exactly half or double.
pub(crate) fn check_filter(taps: &[f64]) -> Result<(), ModelError> {
    require(
        taps.len() >= 2
            && taps.len().is_multiple_of(2)
            && taps.iter().all(|tap| tap.is_finite())
            && taps.iter().sum::<f64>().abs() > 1e-6,
        "resample_filter",
        format!("{taps:?}"),
        || "it must have an even number of finite taps whose sum is not 0".to_owned(),
    )
}

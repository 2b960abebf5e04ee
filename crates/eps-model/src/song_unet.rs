//! The UNet of Song et al. (2021) as reimplemented by Karras et al. (2022): DDPM++ and NCSN++.
//!
//! The names of the parameters and the meaning of every option are EDM's, so that its published
//! weights can be loaded. The network F is bare: preconditioning wraps it elsewhere.

use std::f64::consts::SQRT_2;

use serde::{Deserialize, Serialize};
use tch::nn::Path;

use crate::ModelError;
use crate::edm2_precond::check_filter;
use crate::extent::extent;
use crate::layers::{
    BlockStyle, Conv2d, EDM_NAMES, Filter, GroupNorm, Init, Law, Linear, NoiseEmbedding, NormStyle,
    Scale, UNetBlock, Weights,
};
use crate::levels::{Levels, MOST_CHANNELS, require};
use crate::mapping::{Embedding, LabelEntry, LabelMap, Mapping};
use crate::steps::{Layer, Skip, Steps};

/// How the noise level enters the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingType {
    /// Sines and cosines of fixed frequencies (DDPM++).
    #[default]
    Positional,
    /// Sines and cosines of random, stored frequencies (NCSN++).
    Fourier,
}

/// The side path of the encoder that reads the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderType {
    /// None (DDPM++).
    #[default]
    Standard,
    /// The input, resampled, enters every level through a 1×1 convolution.
    Skip,
    /// A residual pyramid of strided convolutions (NCSN++).
    Residual,
}

/// The side path of the decoder that writes the network's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderType {
    /// None: the output is read from the last level (DDPM++, NCSN++).
    #[default]
    Standard,
    /// Every level adds its own output to the resampled output of the level below.
    Skip,
}

/// The configuration of EDM's SongUNet: its fields with its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SongUNetConfig {
    /// The side length of the training images; names the levels and places the attention.
    pub img_resolution: usize,
    /// Channels of the input, those of an observation included.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// The number of classes; 0 for an unconditional network.
    #[serde(default)]
    pub label_dim: usize,
    /// The number of augmentation labels; 0 for none.
    #[serde(default)]
    pub augment_dim: usize,
    /// Channels at multiplier 1.
    #[serde(default = "defaults::model_channels")]
    pub model_channels: usize,
    /// The multiplier of each level, highest resolution first.
    #[serde(default = "defaults::channel_mult")]
    pub channel_mult: Vec<usize>,
    /// The multiplier of the embedding.
    #[serde(default = "defaults::channel_mult_emb")]
    pub channel_mult_emb: usize,
    /// Residual blocks in each level of the encoder; the decoder has one more.
    #[serde(default = "defaults::num_blocks")]
    pub num_blocks: usize,
    /// The resolutions, counted from `img_resolution`, that have attention.
    #[serde(default = "defaults::attn_resolutions")]
    pub attn_resolutions: Vec<usize>,
    /// The probability of dropping an activation in training.
    #[serde(default = "defaults::dropout")]
    pub dropout: f64,
    /// The probability of dropping an item's class label in training.
    #[serde(default)]
    pub label_dropout: f64,
    /// The embedding of the noise level.
    #[serde(default)]
    pub embedding_type: EmbeddingType,
    /// The multiplier of the noise embedding: 1 for DDPM++, 2 for NCSN++.
    #[serde(default = "defaults::channel_mult_noise")]
    pub channel_mult_noise: usize,
    /// The encoder's side path.
    #[serde(default)]
    pub encoder_type: EncoderType,
    /// The decoder's side path.
    #[serde(default)]
    pub decoder_type: DecoderType,
    /// The taps of the resampling filter: [1, 1] for DDPM++, [1, 3, 3, 1] for NCSN++.
    #[serde(default = "defaults::resample_filter")]
    pub resample_filter: Vec<f64>,
}

mod defaults {
    pub(super) fn model_channels() -> usize {
        128
    }
    pub(super) fn channel_mult() -> Vec<usize> {
        vec![1, 2, 2, 2]
    }
    pub(super) fn channel_mult_emb() -> usize {
        4
    }
    pub(super) fn num_blocks() -> usize {
        4
    }
    pub(super) fn attn_resolutions() -> Vec<usize> {
        vec![16]
    }
    pub(super) fn dropout() -> f64 {
        0.10
    }
    pub(super) fn channel_mult_noise() -> usize {
        1
    }
    pub(super) fn resample_filter() -> Vec<f64> {
        vec![1.0, 1.0]
    }
}

impl SongUNetConfig {
    /// DDPM++, EDM's "-vp" networks, with EDM's defaults.
    #[must_use]
    pub fn ddpmpp(img_resolution: usize, in_channels: usize, out_channels: usize) -> Self {
        Self {
            img_resolution,
            in_channels,
            out_channels,
            label_dim: 0,
            augment_dim: 0,
            model_channels: defaults::model_channels(),
            channel_mult: defaults::channel_mult(),
            channel_mult_emb: defaults::channel_mult_emb(),
            num_blocks: defaults::num_blocks(),
            attn_resolutions: defaults::attn_resolutions(),
            dropout: defaults::dropout(),
            label_dropout: 0.0,
            embedding_type: EmbeddingType::Positional,
            channel_mult_noise: 1,
            encoder_type: EncoderType::Standard,
            decoder_type: DecoderType::Standard,
            resample_filter: defaults::resample_filter(),
        }
    }

    /// NCSN++, EDM's "-ve" networks, with EDM's defaults.
    #[must_use]
    pub fn ncsnpp(img_resolution: usize, in_channels: usize, out_channels: usize) -> Self {
        Self {
            embedding_type: EmbeddingType::Fourier,
            channel_mult_noise: 2,
            encoder_type: EncoderType::Residual,
            resample_filter: vec![1.0, 3.0, 3.0, 1.0],
            ..Self::ddpmpp(img_resolution, in_channels, out_channels)
        }
    }

    /// What it has in common with the other architecture.
    pub(crate) fn levels(&self) -> Levels<'_> {
        Levels {
            img_resolution: self.img_resolution,
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            label_dim: self.label_dim,
            model_channels: self.model_channels,
            channel_mult: &self.channel_mult,
            channel_mult_emb: self.channel_mult_emb,
            num_blocks: self.num_blocks,
            attn_resolutions: &self.attn_resolutions,
            dropout: self.dropout,
            label_dropout: self.label_dropout,
            first_channels: self.model_channels,
        }
    }

    /// Whether a network can be built from this configuration.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the first field that is out of range, and its range.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.levels().validate()?;
        require(
            self.channel_mult_noise > 0,
            "channel_mult_noise",
            self.channel_mult_noise,
            || "it must be at least 1".to_owned(),
        )?;
        let noise = self.model_channels.saturating_mul(self.channel_mult_noise);
        require(
            noise <= MOST_CHANNELS && self.augment_dim <= MOST_CHANNELS,
            "channel_mult_noise",
            self.channel_mult_noise,
            || {
                format!(
                    "times model_channels it must be at most {MOST_CHANNELS}, as must augment_dim"
                )
            },
        )?;
        require(
            noise.is_multiple_of(2) && noise >= 4,
            "model_channels",
            self.model_channels,
            || "times channel_mult_noise it must be even and at least 4".to_owned(),
        )?;
        check_filter(&self.resample_filter)
    }

    /// The law of the initial weights but for those of [`Self::style`].
    ///
    /// ```text
    /// U(±√(6/(fan_in + fan_out))), times 1e-5 for second and output convolutions and the attention's
    /// projection, times √0.2 for its queries, keys and values; biases 0
    /// ```
    fn init(weights: Weights) -> Init {
        Init { weights, law: Law::XavierUniform, gain: 1.0, bias_gain: 0.0 }
    }

    fn style(&self, init: Init) -> BlockStyle {
        BlockStyle {
            emb_channels: extent(self.model_channels * self.channel_mult_emb),
            dropout: self.dropout,
            adaptive_scale: false,
            sum_divisor: SQRT_2,
            norm: NormStyle::edm(1e-6),
            names: &EDM_NAMES,
            resample_proj: true,
            channels_per_head: None,
            init,
            init_zero: init.gain(1e-5),
            init_attention: init.gain(0.2f64.sqrt()),
        }
    }

    /// The layers, with their parameters under `root`.
    pub(crate) fn build(&self, root: &Path<'_>, weights: Weights) -> (Embedding, Steps) {
        let init = Self::init(weights);
        let mut steps = Steps::default();
        let (x, skips) = self.encode(&mut steps, &(root / "enc"), init);
        self.decode(&mut steps, &(root / "dec"), x, skips, init);
        (self.mapping(root, init).into(), steps)
    }

    fn mapping(&self, root: &Path<'_>, init: Init) -> Mapping {
        let noise_channels = extent(self.model_channels * self.channel_mult_noise);
        let emb_channels = extent(self.model_channels * self.channel_mult_emb);
        let linear =
            |name: &str, cin: i64, cout, bias| Linear::new(&(root / name), cin, cout, bias, init);
        let noise = match self.embedding_type {
            EmbeddingType::Positional => NoiseEmbedding::positional(root.device(), noise_channels),
            EmbeddingType::Fourier => {
                NoiseEmbedding::fourier(&(root / "map_noise"), noise_channels, init.weights)
            }
        };
        let (label_dim, augment_dim) = (extent(self.label_dim), extent(self.augment_dim));
        Mapping {
            noise,
            label: (label_dim > 0)
                .then(|| LabelMap::Linear(linear("map_label", label_dim, noise_channels, true))),
            label_entry: LabelEntry::Noise,
            label_dropout: self.label_dropout,
            augment: (augment_dim > 0)
                .then(|| linear("map_augment", augment_dim, noise_channels, false)),
            layers: [
                linear("map_layer0", noise_channels, emb_channels, true),
                linear("map_layer1", emb_channels, emb_channels, true),
            ],
        }
    }

    /// The encoder's steps; returns the last value and the skip stack.
    fn encode(&self, steps: &mut Steps, path: &Path<'_>, init: Init) -> (usize, Vec<Skip>) {
        let model_channels = extent(self.model_channels);
        let taps = self.resample_filter.as_slice();
        let style = self.style(init);
        let mut x = Steps::INPUT;
        let mut cout = extent(self.in_channels);
        let mut skips: Vec<Skip> = Vec::new();
        let (mut aux, mut caux) = (x, cout);
        for (level, &mult) in self.channel_mult.iter().enumerate() {
            let res = self.img_resolution >> level;
            let at = |name: &str| path / format!("{res}x{res}_{name}");
            if level == 0 {
                let conv = Conv2d::new(&at("conv"), [cout, model_channels, 3], init);
                cout = model_channels;
                x = steps.push(Layer::Conv(conv), &[x]);
            } else {
                let scale = Scale::Down(taps);
                let block = UNetBlock::new(&at("down"), [cout, cout], scale, false, &style);
                x = steps.push(Layer::Block(Box::new(block)), &[x]);
                let filter = || Filter::new(path.device(), taps);
                match self.encoder_type {
                    EncoderType::Standard => {}
                    EncoderType::Skip => {
                        let conv = Conv2d::new(&at("aux_skip"), [caux, cout, 1], init);
                        aux = steps.push(Layer::Down(filter()), &[aux]);
                        x = steps.push(Layer::AuxSkip(conv), &[aux, x]);
                    }
                    EncoderType::Residual => {
                        let conv = Conv2d::new(&at("aux_residual"), [caux, cout, 3], init);
                        x = steps.push(Layer::AuxResidual(conv, filter()), &[aux, x]);
                        (aux, caux) = (x, cout);
                    }
                }
            }
            skips.push(Skip { value: x, channels: cout });
            for index in 0..self.num_blocks {
                let cin = cout;
                cout = model_channels * extent(mult);
                let attention = self.attn_resolutions.contains(&res);
                let name = at(&format!("block{index}"));
                let block = UNetBlock::new(&name, [cin, cout], Scale::Keep, attention, &style);
                x = steps.push(Layer::Block(Box::new(block)), &[x]);
                skips.push(Skip { value: x, channels: cout });
            }
        }
        (x, skips)
    }

    /// The decoder's steps.
    fn decode(
        &self,
        steps: &mut Steps,
        path: &Path<'_>,
        mut x: usize,
        mut skips: Vec<Skip>,
        init: Init,
    ) {
        let taps = self.resample_filter.as_slice();
        let style = self.style(init);
        let last = self.channel_mult.len() - 1;
        let mut cout = extent(self.model_channels * self.channel_mult[last]);
        let mut output: Option<usize> = None;
        for (level, &mult) in self.channel_mult.iter().enumerate().rev() {
            let res = self.img_resolution >> level;
            let at = |name: &str| path / format!("{res}x{res}_{name}");
            let block = |name: &str, channels: [i64; 2], scale: Scale<'_>, attention: bool| {
                let block = UNetBlock::new(&at(name), channels, scale, attention, &style);
                Layer::Block(Box::new(block))
            };
            if level == last {
                x = steps.push(block("in0", [cout, cout], Scale::Keep, true), &[x]);
                x = steps.push(block("in1", [cout, cout], Scale::Keep, false), &[x]);
            } else {
                x = steps.push(block("up", [cout, cout], Scale::Up(taps), false), &[x]);
            }
            for index in 0..=self.num_blocks {
                let skip = skips.pop().expect("one skip for each block of the decoder");
                let cin = cout + skip.channels;
                cout = extent(self.model_channels * mult);
                let attention = index == self.num_blocks && self.attn_resolutions.contains(&res);
                let layer = block(&format!("block{index}"), [cin, cout], Scale::Keep, attention);
                x = steps.push(layer, &[x, skip.value]);
            }
            if self.decoder_type == DecoderType::Skip || level == 0 {
                let dims = [cout, extent(self.out_channels), 3];
                let conv = Conv2d::new(&at("aux_conv"), dims, style.init_zero);
                let layer = Layer::Output(GroupNorm::new(&at("aux_norm"), cout, style.norm), conv);
                let mut reads = vec![x];
                if let Some(below) = output {
                    let filter = Filter::new(path.device(), taps);
                    reads.push(steps.push(Layer::Up(filter), &[below]));
                }
                output = Some(steps.push(layer, &reads));
            }
        }
    }
}

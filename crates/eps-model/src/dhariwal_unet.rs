//! The UNet of Dhariwal and Nichol (2021) as reimplemented by Karras et al. (2022): ADM.
//!
//! The names of the parameters and the meaning of every option are EDM's, so that its published
//! weights can be loaded. The network F is bare: preconditioning wraps it elsewhere.

use serde::{Deserialize, Serialize};
use tch::nn::Path;

use crate::ModelError;
use crate::extent::extent;
use crate::layers::{
    BlockStyle, Conv2d, EDM_NAMES, GroupNorm, Init, Law, Linear, NoiseEmbedding, NormStyle, Scale,
    UNetBlock, Weights,
};
use crate::levels::{Levels, MOST_CHANNELS, require};
use crate::mapping::{Embedding, LabelEntry, LabelMap, Mapping};
use crate::steps::{Layer, Skip, Steps};

/// The channels of an attention head.
const CHANNELS_PER_HEAD: i64 = 64;

/// The taps of the resampling filter: the 2×2 mean and the nearest neighbour.
pub(crate) const TAPS: [f64; 2] = [1.0, 1.0];

/// The configuration of EDM's DhariwalUNet: its fields with its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhariwalUNetConfig {
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
    /// The resolutions, counted from `img_resolution`, whose blocks all have attention.
    #[serde(default = "defaults::attn_resolutions")]
    pub attn_resolutions: Vec<usize>,
    /// The probability of dropping an activation in training.
    #[serde(default = "defaults::dropout")]
    pub dropout: f64,
    /// The probability of dropping an item's class label in training.
    #[serde(default)]
    pub label_dropout: f64,
}

mod defaults {
    pub(super) fn model_channels() -> usize {
        192
    }
    pub(super) fn channel_mult() -> Vec<usize> {
        vec![1, 2, 3, 4]
    }
    pub(super) fn channel_mult_emb() -> usize {
        4
    }
    pub(super) fn num_blocks() -> usize {
        3
    }
    pub(super) fn attn_resolutions() -> Vec<usize> {
        vec![32, 16, 8]
    }
    pub(super) fn dropout() -> f64 {
        0.10
    }
}

impl DhariwalUNetConfig {
    /// ADM with EDM's defaults.
    #[must_use]
    pub fn adm(img_resolution: usize, in_channels: usize, out_channels: usize) -> Self {
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
            first_channels: self.model_channels * self.channel_mult.first().unwrap_or(&1),
        }
    }

    /// Whether a network can be built from this configuration.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the first field that is out of range, and its range.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.levels().validate()?;
        require(self.augment_dim <= MOST_CHANNELS, "augment_dim", self.augment_dim, || {
            format!("it must be at most {MOST_CHANNELS}")
        })?;
        require(
            self.model_channels.is_multiple_of(2),
            "model_channels",
            self.model_channels,
            || "it must be even".to_owned(),
        )?;
        let style = self.style(Self::init(Weights::Blank));
        for mult in &self.channel_mult {
            let channels = extent(self.model_channels * mult);
            let heads = style.heads(channels);
            require(
                heads == 0 || channels % heads == 0,
                "model_channels",
                self.model_channels,
                || {
                    format!(
                        "a layer of {channels} channels would have {heads} attention heads; take a \
                     multiple of {CHANNELS_PER_HEAD}"
                    )
                },
            )?;
        }
        Ok(())
    }

    /// The law of the initial weights but for those of [`Self::style`].
    ///
    /// ```text
    /// √⅓ U(±√(3/fan_in)), biases too; 0 for second and output convolutions, the attention's
    /// projection and augmentation labels; √L N(0, 1/fan_in) for the labels of L classes
    /// ```
    fn init(weights: Weights) -> Init {
        Init::pytorch(weights)
    }

    fn style(&self, init: Init) -> BlockStyle {
        BlockStyle {
            emb_channels: extent(self.model_channels * self.channel_mult_emb),
            dropout: self.dropout,
            adaptive_scale: true,
            sum_divisor: 1.0,
            norm: NormStyle::edm(1e-5),
            names: &EDM_NAMES,
            resample_proj: false,
            channels_per_head: Some(CHANNELS_PER_HEAD),
            init,
            init_zero: init.zero(),
            init_attention: init,
        }
    }

    /// The layers, with their parameters under `root`.
    pub(crate) fn build(&self, root: &Path<'_>, weights: Weights) -> (Embedding, Steps) {
        let init = Self::init(weights);
        let style = self.style(init);
        let mut steps = Steps::default();
        let (x, skips) = self.encode(&mut steps, &(root / "enc"), &style);
        let (x, cout) = self.decode(&mut steps, &(root / "dec"), x, skips, &style);
        let norm = GroupNorm::new(&(root / "out_norm"), cout, style.norm);
        let dims = [cout, extent(self.out_channels), 3];
        let conv = Conv2d::new(&(root / "out_conv"), dims, style.init_zero);
        steps.push(Layer::Output(norm, conv), &[x]);
        (self.mapping(root, init).into(), steps)
    }

    fn mapping(&self, root: &Path<'_>, init: Init) -> Mapping {
        let noise_channels = extent(self.model_channels);
        let emb_channels = extent(self.model_channels * self.channel_mult_emb);
        let linear = |name: &str, cin: i64, cout, bias, init| {
            Linear::new(&(root / name), cin, cout, bias, init)
        };
        let (label_dim, augment_dim) = (extent(self.label_dim), extent(self.augment_dim));
        let label_init = Init { law: Law::KaimingNormal, gain: (label_dim as f64).sqrt(), ..init };
        Mapping {
            noise: NoiseEmbedding::positional_without_endpoint(root.device(), noise_channels),
            label: (label_dim > 0)
                .then(|| linear("map_label", label_dim, emb_channels, false, label_init))
                .map(LabelMap::Linear),
            label_entry: LabelEntry::Embedding,
            label_dropout: self.label_dropout,
            augment: (augment_dim > 0)
                .then(|| linear("map_augment", augment_dim, noise_channels, false, init.zero())),
            layers: [
                linear("map_layer0", noise_channels, emb_channels, true, init),
                linear("map_layer1", emb_channels, emb_channels, true, init),
            ],
        }
    }

    /// The encoder's steps; returns the last value and the skip stack.
    fn encode(&self, steps: &mut Steps, path: &Path<'_>, style: &BlockStyle) -> (usize, Vec<Skip>) {
        let mut x = Steps::INPUT;
        let mut cout = extent(self.in_channels);
        let mut skips = Vec::new();
        for (level, &mult) in self.channel_mult.iter().enumerate() {
            let res = self.img_resolution >> level;
            let at = |name: &str| path / format!("{res}x{res}_{name}");
            if level == 0 {
                let cin = cout;
                cout = extent(self.model_channels * mult);
                let conv = Conv2d::new(&at("conv"), [cin, cout, 3], style.init);
                x = steps.push(Layer::Conv(conv), &[x]);
            } else {
                let scale = Scale::Down(&TAPS);
                let block = UNetBlock::new(&at("down"), [cout, cout], scale, false, style);
                x = steps.push(Layer::Block(Box::new(block)), &[x]);
            }
            skips.push(Skip { value: x, channels: cout });
            for index in 0..self.num_blocks {
                let cin = cout;
                cout = extent(self.model_channels * mult);
                let attention = self.attn_resolutions.contains(&res);
                let name = at(&format!("block{index}"));
                let block = UNetBlock::new(&name, [cin, cout], Scale::Keep, attention, style);
                x = steps.push(Layer::Block(Box::new(block)), &[x]);
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
        style: &BlockStyle,
    ) -> (usize, i64) {
        let last = self.channel_mult.len() - 1;
        let mut cout = extent(self.model_channels * self.channel_mult[last]);
        for (level, &mult) in self.channel_mult.iter().enumerate().rev() {
            let res = self.img_resolution >> level;
            let block = |name: &str, channels: [i64; 2], scale: Scale<'_>, attention: bool| {
                let path = path / format!("{res}x{res}_{name}");
                Layer::Block(Box::new(UNetBlock::new(&path, channels, scale, attention, style)))
            };
            if level == last {
                x = steps.push(block("in0", [cout, cout], Scale::Keep, true), &[x]);
                x = steps.push(block("in1", [cout, cout], Scale::Keep, false), &[x]);
            } else {
                x = steps.push(block("up", [cout, cout], Scale::Up(&TAPS), false), &[x]);
            }
            for index in 0..=self.num_blocks {
                let skip = skips.pop().expect("one skip for each block of the decoder");
                let cin = cout + skip.channels;
                cout = extent(self.model_channels * mult);
                let attention = self.attn_resolutions.contains(&res);
                let layer = block(&format!("block{index}"), [cin, cout], Scale::Keep, attention);
                x = steps.push(layer, &[x, skip.value]);
            }
        }
        (x, cout)
    }
}

//! The UNet of guided-diffusion (Dhariwal and Nichol 2021), whose weights DPS, DAPS, DDNM and others use.
//!
//! The names of the parameters are those of its state dicts, the fields those of its commands and of the class
//! `UNetModel`. The network is bare: it predicts the noise ε at a timestep of a chain, and where `learn_sigma` is set
//! the variances of the reverse chain behind it.

use eps_math::whole;
use serde::{Deserialize, Serialize};
use tch::nn::Path;

use crate::ModelError;
use crate::dhariwal_unet::TAPS;
use crate::extent::extent;
use crate::layers::{
    Attention, BlockNames, BlockStyle, Conv2d, Filter, GroupNorm, Init, Law, Linear,
    NoiseEmbedding, NormStyle, Qkv, QkvOrder, Scale, StridePadding, UNetBlock, Weights, below,
};
use crate::levels::{MOST_BLOCKS, MOST_CHANNELS, Outline, check_probability, require, within};
use crate::mapping::{Embedding, LabelEntry, LabelMap, Mapping};
use crate::steps::{Layer, Skip, Steps};

/// The groups of every normalisation.
const GROUPS: usize = 32;

/// What the parts of a residual block are called.
const NAMES: BlockNames = BlockNames {
    norm0: "in_layers.0",
    conv0: "in_layers.2",
    affine: "emb_layers.1",
    norm1: "out_layers.0",
    conv1: "out_layers.3",
    skip: "skip_connection",
};

/// The configuration of guided-diffusion's UNetModel: the flags of its commands with their defaults, and the class's
/// own arguments where the commands fix them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UNetModelConfig {
    /// The side length of the training images, by which `attention_resolutions` are counted.
    pub image_size: usize,
    /// Channels of the input, those of an observation included.
    pub in_channels: usize,
    /// Channels of the output: those of an image, twice as many with `learn_sigma`.
    pub out_channels: usize,
    /// Whether the second half of the output's channels says variances; they are not used here.
    pub learn_sigma: bool,
    /// The number of classes; 0 for an unconditional network. `class_cond` means 1000.
    pub num_classes: usize,
    /// Channels at multiplier 1.
    pub num_channels: usize,
    /// Residual blocks in each level of the encoder; the decoder has one more.
    pub num_res_blocks: usize,
    /// The multiplier of each level, highest resolution first; where none is given those of `image_size`: 512
    /// (½, 1, 1, 2, 2, 4, 4), 256 (1, 1, 2, 2, 4, 4), 128 (1, 1, 2, 3, 4) or 64 (1, 2, 3, 4).
    pub channel_mult: Vec<f64>,
    /// The resolutions, counted from `image_size`, whose blocks all have attention.
    pub attention_resolutions: Vec<usize>,
    /// The number of attention heads, where `num_head_channels` is -1.
    pub num_heads: i64,
    /// The channels of an attention head; -1 where their number is given.
    pub num_head_channels: i64,
    /// The number of attention heads in the decoder; -1 for `num_heads`.
    pub num_heads_upsample: i64,
    /// Whether the embedding scales and shifts the normalised activations instead of being added before.
    pub use_scale_shift_norm: bool,
    /// Whether residual blocks change the resolution instead of convolutions.
    pub resblock_updown: bool,
    /// Whether queries, keys and values are split before heads are.
    pub use_new_attention_order: bool,
    /// The probability of dropping an activation in training.
    pub dropout: f64,
}

impl Default for UNetModelConfig {
    /// The defaults of the commands, for images of three channels and no size.
    fn default() -> Self {
        Self {
            image_size: 0,
            in_channels: 3,
            out_channels: 3,
            learn_sigma: false,
            num_classes: 0,
            num_channels: 128,
            num_res_blocks: 2,
            channel_mult: vec![],
            attention_resolutions: vec![16, 8],
            num_heads: 4,
            num_head_channels: -1,
            num_heads_upsample: -1,
            use_scale_shift_norm: true,
            resblock_updown: false,
            use_new_attention_order: false,
            dropout: 0.0,
        }
    }
}

/// A half of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    /// With the middle.
    Encoder,
    Decoder,
}

impl UNetModelConfig {
    /// The channels of an image.
    #[must_use]
    pub fn image_channels(&self) -> usize {
        if self.learn_sigma { self.out_channels / 2 } else { self.out_channels }
    }

    /// The multiplier of each level.
    fn multipliers(&self) -> &[f64] {
        match (&self.channel_mult[..], self.image_size) {
            ([], 512) => &[0.5, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0],
            ([], 256) => &[1.0, 1.0, 2.0, 2.0, 4.0, 4.0],
            ([], 128) => &[1.0, 1.0, 2.0, 3.0, 4.0],
            ([], 64) => &[1.0, 2.0, 3.0, 4.0],
            (given, _) => given,
        }
    }

    /// The channels of each level.
    fn channels(&self) -> Vec<i64> {
        self.multipliers()
            .iter()
            .map(|mult| extent(whole(mult * self.num_channels as f64)))
            .collect()
    }

    /// Whether a level has attention: it is tied to the factor of its downsampling.
    fn attends(&self, level: usize) -> bool {
        let mut resolutions = self.attention_resolutions.iter();
        resolutions.any(|resolution| self.image_size.checked_div(*resolution) == Some(1 << level))
    }

    /// The number of attention heads of `channels` channels.
    fn heads(&self, channels: i64, half: Half) -> i64 {
        match (self.num_head_channels, half, self.num_heads_upsample) {
            (-1, Half::Encoder, _) | (-1, Half::Decoder, -1) => self.num_heads,
            (-1, Half::Decoder, heads) => heads,
            (width, ..) => channels / width,
        }
    }

    pub(crate) fn outline(&self) -> Outline {
        Outline {
            img_resolution: self.image_size,
            in_channels: self.in_channels,
            out_channels: self.image_channels(),
            label_dim: self.num_classes,
            levels: self.multipliers().len(),
        }
    }

    /// Whether a network can be built from this configuration.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the first field that is out of range, and its range.
    pub fn validate(&self) -> Result<(), ModelError> {
        require(!self.multipliers().is_empty(), "channel_mult", "[]", || {
            format!("image_size {} has no default: list one multiplier a level", self.image_size)
        })?;
        require(
            !self.learn_sigma || self.out_channels.is_multiple_of(2),
            "out_channels",
            self.out_channels,
            || "learn_sigma makes them twice an image's".to_owned(),
        )?;
        self.outline().validate(["image_size", "channel_mult", "num_classes"])?;
        within("num_channels", self.num_channels, 2, MOST_CHANNELS)?;
        within("num_res_blocks", self.num_res_blocks, 1, MOST_BLOCKS)?;
        check_probability("dropout", self.dropout)?;
        require(
            !self.attention_resolutions.contains(&0),
            "attention_resolutions",
            format!("{:?}", self.attention_resolutions),
            || "resolutions are positive".to_owned(),
        )?;
        for (field, value) in [
            ("num_heads", self.num_heads),
            ("num_head_channels", self.num_head_channels),
            ("num_heads_upsample", self.num_heads_upsample),
        ] {
            let unset = field != "num_heads" && value == -1;
            require(unset || (1..=extent(MOST_CHANNELS)).contains(&value), field, value, || {
                let or = if field == "num_heads" { "" } else { ", or -1 where it is not given" };
                format!("it must be at least 1 and at most {MOST_CHANNELS}{or}")
            })?;
        }
        let channels = self.channels();
        for (mult, &channels) in self.multipliers().iter().zip(&channels) {
            require(
                *mult > 0.0 && (1..=extent(MOST_CHANNELS)).contains(&channels),
                "channel_mult",
                mult,
                || format!("times num_channels it must make 1 to {MOST_CHANNELS} channels"),
            )?;
            require(channels % extent(GROUPS) == 0, "num_channels", self.num_channels, || {
                format!(
                    "with the multiplier {mult} a layer of {channels} channels would be normalised in \
                         {GROUPS} groups: take a multiple of {GROUPS}"
                )
            })?;
        }
        let last = channels.len() - 1;
        for (level, &channels) in channels.iter().enumerate() {
            if level != last && !self.attends(level) {
                continue;
            }
            for half in [Half::Encoder, Half::Decoder] {
                let (field, divisor) = match (self.num_head_channels, half) {
                    (-1, Half::Decoder) if self.num_heads_upsample != -1 => {
                        ("num_heads_upsample", self.num_heads_upsample)
                    }
                    (-1, _) => ("num_heads", self.num_heads),
                    (width, _) => ("num_head_channels", width),
                };
                require(channels % divisor == 0, field, divisor, || {
                    format!("the {channels} channels of an attention are no multiple of it")
                })?;
            }
        }
        Ok(())
    }

    /// The law of the initial weights but for those of [`Self::style`]: PyTorch's.
    ///
    /// ```text
    /// √⅓ U(±√(3/fan_in)), biases too; 0 for second and output convolutions and the attention's projection;
    /// N(0, 1) for the table of classes
    /// ```
    fn init(weights: Weights) -> Init {
        Init::pytorch(weights)
    }

    fn style(&self, init: Init) -> BlockStyle {
        BlockStyle {
            emb_channels: 4 * extent(self.num_channels),
            dropout: self.dropout,
            adaptive_scale: self.use_scale_shift_norm,
            sum_divisor: 1.0,
            norm: NormStyle { groups: Some(extent(GROUPS)), eps: 1e-5 },
            names: &NAMES,
            resample_proj: false,
            channels_per_head: None,
            init,
            init_zero: init.zero(),
            init_attention: init,
        }
    }

    /// The layers, with their parameters under `root`.
    pub(crate) fn build(&self, root: &Path<'_>, weights: Weights) -> (Embedding, Steps) {
        let style = self.style(Self::init(weights));
        let mut steps = Steps::default();
        let (x, skips) = self.encode(&mut steps, root, &style);
        let (x, cout) = self.decode(&mut steps, root, x, skips, &style);
        let norm = GroupNorm::new(&below(root, "out.0"), cout, style.norm);
        let dims = [cout, extent(self.out_channels), 3];
        let conv = Conv2d::new(&below(root, "out.2"), dims, style.init_zero);
        steps.push(Layer::Output(norm, conv), &[x]);
        (self.mapping(root, style.init).into(), steps)
    }

    fn mapping(&self, root: &Path<'_>, init: Init) -> Mapping {
        let (m, classes) = (extent(self.num_channels), extent(self.num_classes));
        let linear = |name: &str, cin: i64| Linear::new(&below(root, name), cin, 4 * m, true, init);
        let normal = Init { law: Law::StandardNormal, gain: 1.0, ..init };
        let table = || normal.weight(&(root / "label_emb"), &[classes, 4 * m]);
        Mapping {
            noise: NoiseEmbedding::positional_without_endpoint(root.device(), m),
            label: (classes > 0).then(|| LabelMap::Table(table())),
            label_entry: LabelEntry::Embedding,
            label_dropout: 0.0,
            augment: None,
            layers: [linear("time_embed.0", m), linear("time_embed.2", 4 * m)],
        }
    }

    fn attention(
        &self,
        path: &Path<'_>,
        channels: i64,
        half: Half,
        style: &BlockStyle,
    ) -> Attention {
        let order =
            if self.use_new_attention_order { QkvOrder::BeforeHeads } else { QkvOrder::InHeads };
        let qkv = Conv2d::stored(&(path / "qkv"), &[3 * channels, channels, 1], style.init);
        Attention {
            heads: self.heads(channels, half),
            norm: Some(GroupNorm::new(&(path / "norm"), channels, style.norm)),
            qkv: Qkv::Joint(qkv, order),
            proj: Conv2d::stored(&(path / "proj_out"), &[channels, channels, 1], style.init_zero),
        }
    }

    /// A residual block, with attention after it where `attends`.
    fn block(
        &self,
        entry: &Path<'_>,
        channels: [i64; 2],
        attends: Option<Half>,
        style: &BlockStyle,
    ) -> Layer {
        let block = UNetBlock::new(&(entry / "0"), channels, Scale::Keep, false, style);
        Layer::Block(Box::new(match attends {
            None => block,
            Some(half) => {
                block.with_attention(self.attention(&(entry / "1"), channels[1], half, style))
            }
        }))
    }

    /// Halves or doubles the resolution of `channels` channels.
    fn resample(
        &self,
        path: &Path<'_>,
        channels: i64,
        scale: Scale<'_>,
        style: &BlockStyle,
    ) -> Layer {
        if self.resblock_updown {
            let block = UNetBlock::new(path, [channels, channels], scale, false, style);
            return Layer::Block(Box::new(block));
        }
        let conv = |name: &str| Conv2d::new(&(path / name), [channels, channels, 3], style.init);
        match scale {
            Scale::Up(taps) => Layer::Enlarge(Filter::new(path.device(), taps), conv("conv")),
            Scale::Down(_) | Scale::Keep => Layer::Stride(conv("op"), StridePadding::Around),
        }
    }

    /// The steps of the encoder and the middle; returns the last value and the skip stack.
    fn encode(&self, steps: &mut Steps, root: &Path<'_>, style: &BlockStyle) -> (usize, Vec<Skip>) {
        let levels = self.channels();
        let mut cout = levels[0];
        let entries = root / "input_blocks";
        let dims = [extent(self.in_channels), cout, 3];
        let conv = Conv2d::new(&below(&entries, "0.0"), dims, style.init);
        let mut x = steps.push(Layer::Conv(conv), &[Steps::INPUT]);
        let mut skips = vec![Skip { value: x, channels: cout }];
        for (level, &channels) in levels.iter().enumerate() {
            for _ in 0..self.num_res_blocks {
                let attends = self.attends(level).then_some(Half::Encoder);
                let entry = &entries / skips.len();
                x = steps.push(self.block(&entry, [cout, channels], attends, style), &[x]);
                cout = channels;
                skips.push(Skip { value: x, channels: cout });
            }
            if level + 1 < levels.len() {
                let path = &entries / skips.len() / "0";
                x = steps.push(self.resample(&path, cout, Scale::Down(&TAPS), style), &[x]);
                skips.push(Skip { value: x, channels: cout });
            }
        }
        let middle = root / "middle_block";
        x = steps.push(self.block(&middle, [cout, cout], Some(Half::Encoder), style), &[x]);
        let last = UNetBlock::new(&(&middle / "2"), [cout, cout], Scale::Keep, false, style);
        x = steps.push(Layer::Block(Box::new(last)), &[x]);
        (x, skips)
    }

    /// The decoder's steps; returns the last value and its channels.
    fn decode(
        &self,
        steps: &mut Steps,
        root: &Path<'_>,
        mut x: usize,
        mut skips: Vec<Skip>,
        style: &BlockStyle,
    ) -> (usize, i64) {
        let levels = self.channels();
        let mut cout = levels[levels.len() - 1];
        let mut entries = 0;
        for (level, &channels) in levels.iter().enumerate().rev() {
            for index in 0..=self.num_res_blocks {
                let skip = skips.pop().expect("one skip for each block of the decoder");
                let attends = self.attends(level).then_some(Half::Decoder);
                let entry = root / "output_blocks" / entries;
                entries += 1;
                let dims = [cout + skip.channels, channels];
                x = steps.push(self.block(&entry, dims, attends, style), &[x, skip.value]);
                cout = channels;
                if level > 0 && index == self.num_res_blocks {
                    let path = &entry / if attends.is_some() { "2" } else { "1" };
                    x = steps.push(self.resample(&path, cout, Scale::Up(&TAPS), style), &[x]);
                }
            }
        }
        (x, cout)
    }
}

//! The UNet2DModel of diffusers, for the block types of the published DDPMs (Ho et al. 2020).
//!
//! The names of the parameters are those of its state dicts, the fields those of its `config.json`, which is read as
//! it is. The network is bare: it predicts the noise ε at a timestep of a chain.

use serde::{Deserialize, Deserializer, Serialize};
use tch::nn::Path;

use crate::ModelError;
use crate::dhariwal_unet::TAPS;
use crate::extent::extent;
use crate::layers::{
    Attention, BlockNames, BlockStyle, Conv2d, Filter, GroupNorm, Init, Law, Linear,
    NoiseEmbedding, NormStyle, Order, Qkv, Scale, StridePadding, UNetBlock, Weights, below,
};
use crate::levels::{MOST_BLOCKS, MOST_CHANNELS, Outline, check_probability, require, within};
use crate::mapping::{Embedding, LabelEntry, LabelMap, Mapping};
use crate::steps::{Layer, Skip, Steps};

/// What the parts of a residual block are called.
const NAMES: BlockNames = BlockNames {
    norm0: "norm1",
    conv0: "conv1",
    affine: "time_emb_proj",
    norm1: "norm2",
    conv1: "conv2",
    skip: "conv_shortcut",
};

/// The blocks of a level of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownBlockType {
    /// Residual blocks.
    DownBlock2D,
    /// Residual blocks, each with attention.
    AttnDownBlock2D,
}

/// The blocks of a level of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpBlockType {
    /// Residual blocks.
    UpBlock2D,
    /// Residual blocks, each with attention.
    AttnUpBlock2D,
}

/// How levels with attention change the resolution; those without always convolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResampleType {
    /// A convolution.
    #[default]
    Conv,
    /// A residual block.
    Resnet,
}

/// How the embedding enters a residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeScaleShift {
    /// It is added before the second normalisation.
    #[default]
    Default,
    /// It scales and shifts what that returns.
    ScaleShift,
}

/// The configuration of diffusers' UNet2DModel: the fields of its `config.json` with the library's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UNet2DModelConfig {
    /// The side length of the training images, which are square.
    #[serde(deserialize_with = "side")]
    pub sample_size: usize,
    /// Channels of the input, those of an observation included.
    pub in_channels: usize,
    /// Channels of the output: those of an image, twice as many with `learn_sigma`.
    pub out_channels: usize,
    /// Whether the second half of the output's channels says variances, as diffusers' schedulers call it by
    /// `variance_type`; they are not used here. Where a file does not say it, it is so if there are twice as many
    /// channels as in the input.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub learn_sigma: bool,
    /// Whether images are in [0, 1] and mapped to [-1, 1] first.
    pub center_input_sample: bool,
    /// "positional": sines and cosines of the timestep.
    pub time_embedding_type: String,
    /// The channels of the embedding; four times those of the first level where it is null.
    pub time_embedding_dim: Option<usize>,
    /// What is subtracted from half the first level's channels in the exponent of the frequencies: with 1 the last
    /// one is 1/10000.
    pub freq_shift: f64,
    /// Whether cosines come before sines.
    pub flip_sin_to_cos: bool,
    /// The blocks of each level of the encoder, highest resolution first.
    pub down_block_types: Vec<DownBlockType>,
    /// "UNetMidBlock2D".
    pub mid_block_type: Option<String>,
    /// The blocks of each level of the decoder, lowest resolution first.
    pub up_block_types: Vec<UpBlockType>,
    /// The channels of each level, highest resolution first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks in each level of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// What a sum of a residual and its skip is divided by in the middle.
    pub mid_block_scale_factor: f64,
    /// 1 pads strided convolutions on all four sides, 0 below and to the right alone.
    pub downsample_padding: usize,
    /// How levels with attention halve the resolution.
    pub downsample_type: ResampleType,
    /// How they double it.
    pub upsample_type: ResampleType,
    /// The probability of dropping an activation in training.
    pub dropout: f64,
    /// "silu".
    pub act_fn: String,
    /// The channels of an attention head; null for one head of all.
    pub attention_head_dim: Option<usize>,
    /// The groups of the normalisations.
    pub norm_num_groups: usize,
    /// The groups of the normalisation of the attention in the middle; where it is null `norm_num_groups`, and with
    /// `scale_shift` no normalisation.
    pub attn_norm_num_groups: Option<usize>,
    /// ε of the normalisations.
    pub norm_eps: f64,
    /// How the embedding enters.
    pub resnet_time_scale_shift: TimeScaleShift,
    /// Whether the middle has attention.
    pub add_attention: bool,
    /// null: classes are rows of a table.
    pub class_embed_type: Option<String>,
    /// The number of classes; null for an unconditional network.
    pub num_class_embeds: Option<usize>,
}

impl Default for UNet2DModelConfig {
    /// The library's defaults, for images of no size.
    fn default() -> Self {
        use DownBlockType::{AttnDownBlock2D, DownBlock2D};
        use UpBlockType::{AttnUpBlock2D, UpBlock2D};
        Self {
            sample_size: 0,
            in_channels: 3,
            out_channels: 3,
            learn_sigma: false,
            center_input_sample: false,
            time_embedding_type: POSITIONAL.to_owned(),
            time_embedding_dim: None,
            freq_shift: 0.0,
            flip_sin_to_cos: true,
            down_block_types: vec![DownBlock2D, AttnDownBlock2D, AttnDownBlock2D, AttnDownBlock2D],
            mid_block_type: Some(MID_BLOCK.to_owned()),
            up_block_types: vec![AttnUpBlock2D, AttnUpBlock2D, AttnUpBlock2D, UpBlock2D],
            block_out_channels: vec![224, 448, 672, 896],
            layers_per_block: 2,
            mid_block_scale_factor: 1.0,
            downsample_padding: 1,
            downsample_type: ResampleType::Conv,
            upsample_type: ResampleType::Conv,
            dropout: 0.0,
            act_fn: SILU.to_owned(),
            attention_head_dim: Some(8),
            norm_num_groups: 32,
            attn_norm_num_groups: None,
            norm_eps: 1e-5,
            resnet_time_scale_shift: TimeScaleShift::Default,
            add_attention: true,
            class_embed_type: None,
            num_class_embeds: None,
        }
    }
}

/// What is built of the fields that name a kind.
const POSITIONAL: &str = "positional";
const MID_BLOCK: &str = "UNetMidBlock2D";
const SILU: &str = "silu";

/// One number for both sides, or both.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum SampleSize {
    Side(usize),
    Sides([usize; 2]),
    Unknown(()),
}

fn side<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match SampleSize::deserialize(deserializer)? {
        SampleSize::Side(side) => Ok(side),
        SampleSize::Sides([height, width]) if height == width => Ok(height),
        SampleSize::Sides(sides) => Err(serde::de::Error::custom(format!(
            "sample_size is {sides:?}, read is the side length of square images"
        ))),
        SampleSize::Unknown(()) => Err(serde::de::Error::custom(
            "sample_size is null: give the side length of the training images",
        )),
    }
}

impl UNet2DModelConfig {
    /// The channels of the embedding.
    fn emb_channels(&self) -> usize {
        let first = self.block_out_channels.first().unwrap_or(&0);
        self.time_embedding_dim.unwrap_or(4 * first)
    }

    /// The channels of an image.
    #[must_use]
    pub fn image_channels(&self) -> usize {
        if self.learn_sigma { self.out_channels / 2 } else { self.out_channels }
    }

    pub(crate) fn outline(&self) -> Outline {
        Outline {
            img_resolution: self.sample_size,
            in_channels: self.in_channels,
            out_channels: self.image_channels(),
            label_dim: self.num_class_embeds.unwrap_or(0),
            levels: self.block_out_channels.len(),
        }
    }

    /// Whether a network can be built from this configuration.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the first field that is out of range or of a kind that is not built here.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.check_kinds()?;
        require(
            !self.learn_sigma || self.out_channels.is_multiple_of(2),
            "out_channels",
            self.out_channels,
            || "learn_sigma needs twice the channels of an image".to_owned(),
        )?;
        self.outline().validate(["sample_size", "block_out_channels", "num_class_embeds"])?;
        let levels = self.block_out_channels.len();
        for (field, count) in [
            ("down_block_types", self.down_block_types.len()),
            ("up_block_types", self.up_block_types.len()),
        ] {
            require(count == levels, field, format!("{count} blocks"), || {
                format!("block_out_channels has {levels} levels")
            })?;
        }
        within("layers_per_block", self.layers_per_block, 1, MOST_BLOCKS)?;
        within("time_embedding_dim", self.emb_channels(), 1, 4 * MOST_CHANNELS)?;
        within("downsample_padding", self.downsample_padding, 0, 1)?;
        within("norm_num_groups", self.norm_num_groups, 1, MOST_CHANNELS)?;
        check_probability("dropout", self.dropout)?;
        let positive = |field, value: f64| {
            require(value > 0.0 && value.is_finite(), field, value, || {
                "it must be positive and finite".to_owned()
            })
        };
        positive("mid_block_scale_factor", self.mid_block_scale_factor)?;
        positive("norm_eps", self.norm_eps)?;
        let first = self.block_out_channels[0];
        let half = (first / 2) as f64;
        require(
            self.freq_shift.is_finite() && self.freq_shift < half,
            "freq_shift",
            self.freq_shift,
            || format!("it must be below half the channels of the first level, {half}"),
        )?;
        for &channels in &self.block_out_channels {
            within("block_out_channels", channels, 2, MOST_CHANNELS)?;
        }
        for channels in self.normalised_channels() {
            require(
                channels.is_multiple_of(self.norm_num_groups),
                "norm_num_groups",
                self.norm_num_groups,
                || format!("a layer of {channels} channels is no multiple of it"),
            )?;
        }
        let last = self.block_out_channels[levels - 1];
        let divides = |field, value: usize, channels: usize| {
            require(value > 0 && channels.is_multiple_of(value), field, value, || {
                format!("the {channels} channels of an attention are no multiple of it")
            })
        };
        if let Some(groups) = self.attn_norm_num_groups {
            divides("attn_norm_num_groups", groups, last)?;
        }
        if let Some(width) = self.attention_head_dim {
            divides("attention_head_dim", width, last)?;
            for (level, &channels) in self.block_out_channels.iter().enumerate() {
                if self.attends_down(level) || self.attends_up(level) {
                    divides("attention_head_dim", width, channels)?;
                }
            }
        }
        Ok(())
    }

    /// Fails for a kind of part that is not built here.
    fn check_kinds(&self) -> Result<(), ModelError> {
        let kinds = [
            ("time_embedding_type", Some(&self.time_embedding_type), Some(POSITIONAL)),
            ("mid_block_type", self.mid_block_type.as_ref(), Some(MID_BLOCK)),
            ("class_embed_type", self.class_embed_type.as_ref(), None),
        ];
        for (field, given, known) in kinds {
            let given = given.map(String::as_str);
            require(given == known, field, given.unwrap_or("null"), || {
                format!("built is {} alone", known.unwrap_or("null"))
            })?;
        }
        require([SILU, "swish"].contains(&&*self.act_fn), "act_fn", &self.act_fn, || {
            format!("built is {SILU} alone")
        })?;
        require(self.add_attention, "add_attention", false, || {
            "a middle without attention is not built".to_owned()
        })
    }

    fn attends_down(&self, level: usize) -> bool {
        self.down_block_types.get(level) == Some(&DownBlockType::AttnDownBlock2D)
    }

    /// Of a level counted from the highest resolution, as everywhere.
    fn attends_up(&self, level: usize) -> bool {
        let entry = self.up_block_types.len().checked_sub(1 + level);
        let kind = entry.and_then(|entry| self.up_block_types.get(entry));
        kind == Some(&UpBlockType::AttnUpBlock2D)
    }

    /// The channels of every normalisation but that of the attention in the middle.
    fn normalised_channels(&self) -> Vec<usize> {
        let mut cout = self.block_out_channels[0];
        let mut channels = vec![cout];
        let mut skips = vec![cout];
        for (level, &of_level) in self.block_out_channels.iter().enumerate() {
            for _ in 0..self.layers_per_block {
                cout = of_level;
                channels.push(cout);
                skips.push(cout);
            }
            if level + 1 < self.block_out_channels.len() {
                skips.push(cout);
            }
        }
        for &of_level in self.block_out_channels.iter().rev() {
            for _ in 0..=self.layers_per_block {
                channels.push(cout + skips.pop().unwrap_or(0));
                cout = of_level;
            }
        }
        channels
    }

    /// The law of the initial weights: PyTorch's.
    ///
    /// ```text
    /// √⅓ U(±√(3/fan_in)), biases too; N(0, 1) for the table of classes
    /// ```
    fn init(weights: Weights) -> Init {
        Init::pytorch(weights)
    }

    fn style(&self, init: Init) -> BlockStyle {
        BlockStyle {
            emb_channels: extent(self.emb_channels()),
            dropout: self.dropout,
            adaptive_scale: self.resnet_time_scale_shift == TimeScaleShift::ScaleShift,
            sum_divisor: 1.0,
            norm: NormStyle { groups: Some(extent(self.norm_num_groups)), eps: self.norm_eps },
            names: &NAMES,
            resample_proj: false,
            channels_per_head: None,
            init,
            init_zero: init,
            init_attention: init,
        }
    }

    /// The layers, with their parameters under `root`.
    pub(crate) fn build(&self, root: &Path<'_>, weights: Weights) -> (Embedding, Steps) {
        let style = self.style(Self::init(weights));
        let mut steps = Steps::default();
        let (x, skips) = self.encode(&mut steps, root, &style);
        let x = self.middle(&mut steps, &(root / "mid_block"), x, &style);
        let x = self.decode(&mut steps, root, x, skips, &style);
        let first = extent(self.block_out_channels[0]);
        let norm = GroupNorm::new(&(root / "conv_norm_out"), first, style.norm);
        let dims = [first, extent(self.out_channels), 3];
        let conv = Conv2d::new(&(root / "conv_out"), dims, style.init);
        steps.push(Layer::Output(norm, conv), &[x]);
        (self.mapping(root, style.init).into(), steps)
    }

    fn mapping(&self, root: &Path<'_>, init: Init) -> Mapping {
        let (c, e) = (extent(self.block_out_channels[0]), extent(self.emb_channels()));
        let classes = extent(self.num_class_embeds.unwrap_or(0));
        let order = if self.flip_sin_to_cos { Order::CosineSine } else { Order::SineCosine };
        let steps = (c / 2) as f64 - self.freq_shift;
        let linear =
            |name: &str, cin| Linear::new(&(root / "time_embedding" / name), cin, e, true, init);
        let normal = Init { law: Law::StandardNormal, gain: 1.0, ..init };
        let table = || normal.weight(&(root / "class_embedding"), &[classes, e]);
        Mapping {
            noise: NoiseEmbedding::geometric(root.device(), c, steps, order),
            label: (classes > 0).then(|| LabelMap::Table(table())),
            label_entry: LabelEntry::Embedding,
            label_dropout: 0.0,
            augment: None,
            layers: [linear("linear_1", c), linear("linear_2", e)],
        }
    }

    fn attention(
        &self,
        path: &Path<'_>,
        channels: i64,
        norm: Option<NormStyle>,
        init: Init,
    ) -> Attention {
        let linear = |name: &str| Conv2d::stored(&below(path, name), &[channels, channels], init);
        Attention {
            heads: self.attention_head_dim.map_or(1, |width| channels / extent(width)),
            norm: norm.map(|style| GroupNorm::new(&(path / "group_norm"), channels, style)),
            qkv: Qkv::Separate(["to_q", "to_k", "to_v"].map(linear)),
            proj: linear("to_out.0"),
        }
    }

    /// Residual block `index` of a level, with attention after it where `attends`.
    fn block(
        &self,
        level: &Path<'_>,
        index: usize,
        channels: [i64; 2],
        attends: bool,
        style: &BlockStyle,
    ) -> Layer {
        let path = level / "resnets" / index;
        let mut block = UNetBlock::new(&path, channels, Scale::Keep, false, style);
        if attends {
            let path = level / "attentions" / index;
            let norm = Some(style.norm);
            block = block.with_attention(self.attention(&path, channels[1], norm, style.init));
        }
        Layer::Block(Box::new(block))
    }

    /// The steps of the encoder; returns the last value and the skip stack.
    fn encode(&self, steps: &mut Steps, root: &Path<'_>, style: &BlockStyle) -> (usize, Vec<Skip>) {
        let mut cout = extent(self.block_out_channels[0]);
        let mut x = Steps::INPUT;
        if self.center_input_sample {
            x = steps.push(Layer::Centre, &[x]);
        }
        let dims = [extent(self.in_channels), cout, 3];
        let conv = Conv2d::new(&(root / "conv_in"), dims, style.init);
        x = steps.push(Layer::Conv(conv), &[x]);
        let mut skips = vec![Skip { value: x, channels: cout }];
        for (level, &channels) in self.block_out_channels.iter().enumerate() {
            let path = root / "down_blocks" / level;
            let attends = self.attends_down(level);
            for index in 0..self.layers_per_block {
                let dims = [cout, extent(channels)];
                x = steps.push(self.block(&path, index, dims, attends, style), &[x]);
                cout = extent(channels);
                skips.push(Skip { value: x, channels: cout });
            }
            if level + 1 < self.block_out_channels.len() {
                let path = path / "downsamplers" / 0;
                let layer = if attends && self.downsample_type == ResampleType::Resnet {
                    let scale = Scale::Down(&TAPS);
                    Layer::Block(Box::new(UNetBlock::new(&path, [cout, cout], scale, false, style)))
                } else {
                    let padding = match self.downsample_padding {
                        0 => StridePadding::After,
                        _ => StridePadding::Around,
                    };
                    let conv = Conv2d::new(&(path / "conv"), [cout, cout, 3], style.init);
                    Layer::Stride(conv, padding)
                };
                x = steps.push(layer, &[x]);
                skips.push(Skip { value: x, channels: cout });
            }
        }
        (x, skips)
    }

    /// The steps of the middle; returns the last value.
    fn middle(
        &self,
        steps: &mut Steps,
        path: &Path<'_>,
        mut x: usize,
        style: &BlockStyle,
    ) -> usize {
        let style = BlockStyle { sum_divisor: self.mid_block_scale_factor, ..*style };
        let channels = extent(self.block_out_channels[self.block_out_channels.len() - 1]);
        let groups = match self.attn_norm_num_groups {
            None if style.adaptive_scale => None,
            None => style.norm.groups,
            Some(groups) => Some(extent(groups)),
        };
        let norm = groups.map(|groups| NormStyle { groups: Some(groups), ..style.norm });
        let attention = self.attention(&below(path, "attentions.0"), channels, norm, style.init);
        let mut attention = Some(attention);
        for index in 0..2 {
            let path = path / "resnets" / index;
            let mut block = UNetBlock::new(&path, [channels, channels], Scale::Keep, false, &style);
            if let Some(attention) = attention.take() {
                block = block.with_attention(attention);
            }
            x = steps.push(Layer::Block(Box::new(block)), &[x]);
        }
        x
    }

    /// The decoder's steps; returns the last value.
    fn decode(
        &self,
        steps: &mut Steps,
        root: &Path<'_>,
        mut x: usize,
        mut skips: Vec<Skip>,
        style: &BlockStyle,
    ) -> usize {
        let levels = self.block_out_channels.len();
        let mut cout = extent(self.block_out_channels[levels - 1]);
        for (level, &channels) in self.block_out_channels.iter().enumerate().rev() {
            let path = root / "up_blocks" / (levels - 1 - level);
            let attends = self.attends_up(level);
            for index in 0..=self.layers_per_block {
                let skip = skips.pop().expect("one skip for each block of the decoder");
                let dims = [cout + skip.channels, extent(channels)];
                x = steps.push(self.block(&path, index, dims, attends, style), &[x, skip.value]);
                cout = extent(channels);
            }
            if level > 0 {
                let path = path / "upsamplers" / 0;
                let layer = if attends && self.upsample_type == ResampleType::Resnet {
                    let scale = Scale::Up(&TAPS);
                    Layer::Block(Box::new(UNetBlock::new(&path, [cout, cout], scale, false, style)))
                } else {
                    let conv = Conv2d::new(&(path / "conv"), [cout, cout, 3], style.init);
                    Layer::Enlarge(Filter::new(root.device(), &TAPS), conv)
                };
                x = steps.push(layer, &[x]);
            }
        }
        x
    }
}

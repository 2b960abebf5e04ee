//! The UNet of Song et al. (2021) as reimplemented by Karras et al. (2022): DDPM++ and NCSN++.
//!
//! The names of the parameters and the meaning of every option are EDM's, so that its published
//! weights can be loaded. The network F is bare: preconditioning wraps it elsewhere.

use std::collections::BTreeMap;
use std::f64::consts::SQRT_2;

use serde::{Deserialize, Serialize};
use tch::nn::{Path, VarStore};
use tch::{Device, Kind, Tensor};

use crate::ModelError;
use crate::layers::{
    BlockOptions, Conv2d, Filter, GroupNorm, Init, Linear, Mode, NoiseEmbedding, Resample, Scale,
    UNetBlock, image_size,
};

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

/// The configuration of a [`SongUNet`]: EDM's fields with EDM's defaults.
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

    /// The number that both sides of an image must be multiples of.
    #[must_use]
    pub fn size_multiple(&self) -> usize {
        1 << self.channel_mult.len().saturating_sub(1)
    }

    /// Whether images of `height` × `width` pixels fit the network's levels.
    ///
    /// # Errors
    /// [`ModelError::ImageSize`] unless both are positive multiples of [`Self::size_multiple`].
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), ModelError> {
        let multiple = self.size_multiple();
        if [height, width].iter().all(|&side| side > 0 && side % multiple == 0) {
            return Ok(());
        }
        Err(ModelError::ImageSize { height, width, levels: self.channel_mult.len(), multiple })
    }

    /// Whether a network can be built from this configuration.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the first field that is out of range, and its range.
    pub fn validate(&self) -> Result<(), ModelError> {
        let positive = [
            ("img_resolution", self.img_resolution),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("model_channels", self.model_channels),
            ("channel_mult_emb", self.channel_mult_emb),
            ("channel_mult_noise", self.channel_mult_noise),
            ("num_blocks", self.num_blocks),
        ];
        for (field, value) in positive {
            require(value > 0, field, value, || "it must be at least 1".to_owned())?;
        }
        let levels = self.channel_mult.len();
        require(
            (1..=16).contains(&levels) && self.channel_mult.iter().all(|&mult| mult > 0),
            "channel_mult",
            format!("{:?}", self.channel_mult),
            || "it must list 1 to 16 positive multipliers, one a level".to_owned(),
        )?;
        require(
            self.check_size(self.img_resolution, self.img_resolution).is_ok(),
            "img_resolution",
            self.img_resolution,
            || format!("{levels} levels need a multiple of {}", self.size_multiple()),
        )?;
        let resolutions: Vec<_> = (0..levels).map(|level| self.img_resolution >> level).collect();
        for &resolution in &self.attn_resolutions {
            // EDM ignores a resolution that no level has, and its defaults rely on that.
            require(
                resolution > 0,
                "attn_resolutions",
                format!("{:?}", self.attn_resolutions),
                || format!("resolutions are positive; the levels have {resolutions:?}"),
            )?;
        }
        for (field, value) in [("dropout", self.dropout), ("label_dropout", self.label_dropout)] {
            require((0.0..1.0).contains(&value), field, value, || {
                "it is a probability: at least 0 and below 1".to_owned()
            })?;
        }
        let noise = self.model_channels * self.channel_mult_noise;
        require(
            noise.is_multiple_of(2) && noise >= 4,
            "model_channels",
            self.model_channels,
            || "times channel_mult_noise it must be even and at least 4".to_owned(),
        )?;
        let taps = &self.resample_filter;
        require(
            taps.len() >= 2
                && taps.len().is_multiple_of(2)
                && taps.iter().all(|tap| tap.is_finite())
                && taps.iter().sum::<f64>().abs() > 1e-6,
            "resample_filter",
            format!("{taps:?}"),
            || "it must have an even number of finite taps whose sum is not 0".to_owned(),
        )?;
        for channels in self.normalised_channels() {
            let groups = GroupNorm::groups(channels as i64) as usize;
            require(
                groups > 0 && channels % groups == 0,
                "model_channels",
                self.model_channels,
                || {
                    format!(
                        "with channel_mult {:?} a layer of {channels} channels would be normalised in \
                     {groups} groups; take a multiple of 32, or of 4 while no layer exceeds 128",
                        self.channel_mult
                    )
                },
            )?;
        }
        Ok(())
    }

    /// The channels of every group normalisation.
    fn normalised_channels(&self) -> Vec<usize> {
        let base = self.model_channels;
        let levels = self.channel_mult.len();
        let mut channels = vec![base];
        // The skip stack: what the encoder pushes, in its order.
        let mut skips = vec![base];
        let mut cout = base;
        for (level, mult) in self.channel_mult.iter().enumerate() {
            if level > 0 {
                skips.push(cout);
            }
            cout = base * mult;
            skips.extend(std::iter::repeat_n(cout, self.num_blocks));
            channels.push(cout);
        }
        for level in (0..levels).rev() {
            for _ in 0..=self.num_blocks {
                channels.push(cout + skips.pop().unwrap_or(0));
                cout = base * self.channel_mult[level];
            }
        }
        channels
    }
}

fn require(
    holds: bool,
    field: &'static str,
    value: impl ToString,
    requirement: impl FnOnce() -> String,
) -> Result<(), ModelError> {
    if holds {
        return Ok(());
    }
    Err(ModelError::Config { field, value: value.to_string(), requirement: requirement() })
}

/// One step of the encoder.
#[derive(Debug)]
enum Encode {
    /// The first convolution.
    Conv(Conv2d),
    /// A residual block.
    Block(Box<UNetBlock>),
    /// Resamples the side path.
    AuxDown(Filter),
    /// Adds the side path.
    AuxSkip(Conv2d),
    /// Advances the residual side path and adds it.
    AuxResidual(Conv2d),
}

/// One step of the decoder.
#[derive(Debug)]
enum Decode {
    /// A residual block on the activations alone.
    Block(Box<UNetBlock>),
    /// A residual block on the activations and the last of the skip stack.
    Concat(Box<UNetBlock>),
    /// Resamples the output of the level below.
    AuxUp(Filter),
    /// Reads an output of the level.
    Output(GroupNorm, Conv2d),
}

/// EDM's SongUNet with its parameters.
///
/// The parameters are f32, whatever the precision of a call: see [`Self::forward`].
#[derive(Debug)]
pub struct SongUNet {
    config: SongUNetConfig,
    variables: VarStore,
    map_noise: NoiseEmbedding,
    map_label: Option<Linear>,
    map_augment: Option<Linear>,
    map_layers: [Linear; 2],
    encoder: Vec<Encode>,
    decoder: Vec<Decode>,
}

impl SongUNet {
    /// Builds the network on a device, with EDM's initial weights drawn for `seed`.
    ///
    /// ```text
    /// U(±√(6/(fan_in + fan_out))), times 1e-5 for second and output convolutions and the attention's
    /// projection, times √0.2 for its queries, keys and values; biases 0
    /// ```
    ///
    /// # Errors
    /// [`ModelError::Config`] when [`SongUNetConfig::validate`] refuses the configuration.
    pub fn new(config: &SongUNetConfig, device: Device, seed: u64) -> Result<Self, ModelError> {
        config.validate()?;
        let variables = VarStore::new(device);
        let root = variables.root() / "model";
        let init = Init { seed, gain: 1.0 };
        let noise_channels = (config.model_channels * config.channel_mult_noise) as i64;
        let emb_channels = (config.model_channels * config.channel_mult_emb) as i64;
        let linear =
            |name: &str, cin: i64, cout, bias| Linear::new(&(&root / name), cin, cout, bias, init);
        let map_noise = {
            let path = &root / "map_noise";
            match config.embedding_type {
                EmbeddingType::Positional => NoiseEmbedding::positional(device, noise_channels),
                EmbeddingType::Fourier => NoiseEmbedding::fourier(&path, noise_channels, seed),
            }
        };
        let (label_dim, augment_dim) = (config.label_dim as i64, config.augment_dim as i64);
        let map_label =
            (label_dim > 0).then(|| linear("map_label", label_dim, noise_channels, true));
        let map_augment =
            (augment_dim > 0).then(|| linear("map_augment", augment_dim, noise_channels, false));
        let map_layers = [
            linear("map_layer0", noise_channels, emb_channels, true),
            linear("map_layer1", emb_channels, emb_channels, true),
        ];
        let (encoder, skips) = build_encoder(&(&root / "enc"), config, init);
        let decoder = build_decoder(&(&root / "dec"), config, skips, init);
        drop(root);
        Ok(Self {
            config: config.clone(),
            variables,
            map_noise,
            map_label,
            map_augment,
            map_layers,
            encoder,
            decoder,
        })
    }

    /// The configuration that the network was built from.
    #[must_use]
    pub fn config(&self) -> &SongUNetConfig {
        &self.config
    }

    /// The parameters, for an optimiser. Their names start with `model.`.
    #[must_use]
    pub fn variables(&self) -> &VarStore {
        &self.variables
    }

    /// The parameters, for freezing.
    pub fn variables_mut(&mut self) -> &mut VarStore {
        &mut self.variables
    }

    /// All stored tensors by name, in the order of the names: the parameters and `freqs`.
    ///
    /// The tensors share their memory with the network.
    #[must_use]
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.variables.variables().into_iter().collect()
    }

    /// The number of trainable parameters.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.variables.trainable_variables().iter().map(Tensor::numel).sum()
    }

    /// The device that the parameters are on.
    #[must_use]
    pub fn device(&self) -> Device {
        self.variables.device()
    }

    /// The raw network F.
    ///
    /// Computes in the kind of `x` (f32, bf16, f16, or f64 for tests): weights are cast to it,
    /// embeddings, softmax and the statistics of the normalisations stay in f32 where it is lower,
    /// and gradients flow to the f32 parameters.
    ///
    /// A conditional network without labels sees zeros, as EDM's does.
    ///
    /// # Shapes
    /// x: `[B, Cin, H, W]`, c_noise: `[B]`, class_labels: `[B, label_dim]` (one-hot), augment_labels:
    /// `[B, augment_dim]` → `[B, Cout, H, W]`
    ///
    /// # Units
    /// x is c_in times the image, and the observation as it is; c_noise = ln(σ)/4.
    ///
    /// # Panics
    /// If a shape is not as stated, if the levels do not divide H and W (see
    /// [`SongUNetConfig::check_size`]), or if labels are given to a network that has none.
    pub fn forward(
        &self,
        x: &Tensor,
        c_noise: &Tensor,
        class_labels: Option<&Tensor>,
        augment_labels: Option<&Tensor>,
        mode: Mode,
    ) -> Tensor {
        let (batch, channels, height, width) = image_size(x);
        let config = &self.config;
        assert!(
            channels == config.in_channels as i64,
            "the network reads {} channels, got {:?}",
            config.in_channels,
            x.size()
        );
        if let Err(error) = config.check_size(height as usize, width as usize) {
            panic!("{error}");
        }
        assert!(c_noise.size() == [batch], "c_noise must be [{batch}], got {:?}", c_noise.size());

        let emb = self.embed(c_noise, class_labels, augment_labels, mode);
        let mut x = x.contiguous();
        let mut skips: Vec<Tensor> = Vec::new();
        let mut aux = x.shallow_clone();
        for step in &self.encoder {
            match step {
                Encode::Conv(conv) => {
                    x = conv.forward(&x);
                    skips.push(x.shallow_clone());
                }
                Encode::Block(block) => {
                    x = block.forward(&x, &emb, mode);
                    skips.push(x.shallow_clone());
                }
                Encode::AuxDown(filter) => aux = filter.down(&aux),
                Encode::AuxSkip(conv) => {
                    x = conv.forward(&aux) + x;
                    skips.pop();
                    skips.push(x.shallow_clone());
                }
                Encode::AuxResidual(conv) => {
                    x = (conv.forward(&aux) + x) / SQRT_2;
                    aux = x.shallow_clone();
                    skips.pop();
                    skips.push(x.shallow_clone());
                }
            }
        }

        let mut output: Option<Tensor> = None;
        for step in &self.decoder {
            match step {
                Decode::Block(block) => x = block.forward(&x, &emb, mode),
                Decode::Concat(block) => {
                    let skip = skips.pop().expect("the decoder pops what the encoder pushed");
                    x = block.forward(&Tensor::cat(&[x, skip], 1), &emb, mode);
                }
                Decode::AuxUp(filter) => output = output.map(|below| filter.up(&below)),
                Decode::Output(norm, conv) => {
                    let here = conv.forward(&norm.forward(&x).silu());
                    output = Some(match output {
                        Some(below) => here + below,
                        None => here,
                    });
                }
            }
        }
        output.expect("the last level has an output")
    }

    /// The embedding of noise level, class and augmentation, `[B, E]` in f32.
    fn embed(
        &self,
        c_noise: &Tensor,
        class_labels: Option<&Tensor>,
        augment_labels: Option<&Tensor>,
        mode: Mode,
    ) -> Tensor {
        let config = &self.config;
        let batch = c_noise.size()[0];
        let mut emb = self.map_noise.forward(c_noise);
        let check = |labels: &Tensor, what: &str, dim: usize| {
            assert!(
                dim > 0 && labels.size() == [batch, dim as i64],
                "{what} must be [{batch}, {dim}] (none where that is 0), got {:?}",
                labels.size()
            );
        };
        if let Some(labels) = class_labels {
            check(labels, "class_labels", config.label_dim);
        }
        if let Some(map_label) = &self.map_label {
            let dim = config.label_dim;
            let labels = match class_labels {
                Some(labels) => labels.to_kind(Kind::Float),
                None => Tensor::zeros([batch, dim as i64], (Kind::Float, emb.device())),
            };
            let keep = mode.keep("model.map_label", &[batch, 1], config.label_dropout);
            let labels = match keep {
                Some(keep) => labels * keep.to_device(emb.device()),
                None => labels,
            };
            emb = map_label.forward(&(labels * (dim as f64).sqrt())) + emb;
        }
        if let Some(labels) = augment_labels {
            check(labels, "augment_labels", config.augment_dim);
            if let Some(map_augment) = &self.map_augment {
                emb = map_augment.forward(&labels.to_kind(Kind::Float)) + emb;
            }
        }
        self.map_layers.iter().fold(emb, |emb, layer| layer.forward(&emb).silu())
    }
}

/// The encoder's steps and the channels of its skip stack.
fn build_encoder(path: &Path<'_>, config: &SongUNetConfig, init: Init) -> (Vec<Encode>, Vec<i64>) {
    let model_channels = config.model_channels as i64;
    let taps = config.resample_filter.as_slice();
    let mut steps = Vec::new();
    let mut skips = Vec::new();
    let mut cout = config.in_channels as i64;
    let mut caux = cout;
    for (level, &mult) in config.channel_mult.iter().enumerate() {
        let res = config.img_resolution >> level;
        let at = |name: &str| path / format!("{res}x{res}_{name}");
        if level == 0 {
            let dims = [cout, model_channels, 3];
            steps.push(Encode::Conv(Conv2d::new(&at("conv"), dims, Resample::Keep, init)));
            cout = model_channels;
            skips.push(cout);
        } else {
            let options = block_options(config, false);
            let scale = Scale::Down(taps);
            let block = UNetBlock::new(&at("down"), [cout, cout], scale, &options, init);
            steps.push(Encode::Block(Box::new(block)));
            skips.push(cout);
            match config.encoder_type {
                EncoderType::Standard => {}
                EncoderType::Skip => {
                    let conv = Conv2d::new(&at("aux_skip"), [caux, cout, 1], Resample::Keep, init);
                    steps.push(Encode::AuxDown(Filter::new(path.device(), taps)));
                    steps.push(Encode::AuxSkip(conv));
                }
                EncoderType::Residual => {
                    let resample = Resample::FusedDown(Filter::new(path.device(), taps));
                    let conv = Conv2d::new(&at("aux_residual"), [caux, cout, 3], resample, init);
                    steps.push(Encode::AuxResidual(conv));
                    caux = cout;
                }
            }
        }
        for index in 0..config.num_blocks {
            let cin = cout;
            cout = model_channels * mult as i64;
            let options = block_options(config, config.attn_resolutions.contains(&res));
            let name = at(&format!("block{index}"));
            let block = UNetBlock::new(&name, [cin, cout], Scale::Keep, &options, init);
            steps.push(Encode::Block(Box::new(block)));
            skips.push(cout);
        }
    }
    (steps, skips)
}

/// The decoder's steps.
fn build_decoder(
    path: &Path<'_>,
    config: &SongUNetConfig,
    mut skips: Vec<i64>,
    init: Init,
) -> Vec<Decode> {
    let taps = config.resample_filter.as_slice();
    let out_channels = config.out_channels as i64;
    let last = config.channel_mult.len() - 1;
    let mut steps = Vec::new();
    let mut cout = (config.model_channels * config.channel_mult[last]) as i64;
    for (level, &mult) in config.channel_mult.iter().enumerate().rev() {
        let res = config.img_resolution >> level;
        let at = |name: &str| path / format!("{res}x{res}_{name}");
        let block = |name: &str, channels: [i64; 2], scale: Scale<'_>, attention: bool| {
            let options = block_options(config, attention);
            Box::new(UNetBlock::new(&at(name), channels, scale, &options, init))
        };
        if level == last {
            steps.push(Decode::Block(block("in0", [cout, cout], Scale::Keep, true)));
            steps.push(Decode::Block(block("in1", [cout, cout], Scale::Keep, false)));
        } else {
            steps.push(Decode::Block(block("up", [cout, cout], Scale::Up(taps), false)));
        }
        for index in 0..=config.num_blocks {
            let cin = cout + skips.pop().expect("one skip for each block of the decoder");
            cout = config.model_channels as i64 * mult as i64;
            let attention = index == config.num_blocks && config.attn_resolutions.contains(&res);
            let name = format!("block{index}");
            steps.push(Decode::Concat(block(&name, [cin, cout], Scale::Keep, attention)));
        }
        if config.decoder_type == DecoderType::Skip || level == 0 {
            if config.decoder_type == DecoderType::Skip && level < last {
                steps.push(Decode::AuxUp(Filter::new(path.device(), taps)));
            }
            let dims = [cout, out_channels, 3];
            let conv = Conv2d::new(&at("aux_conv"), dims, Resample::Keep, init.gain(1e-5));
            steps.push(Decode::Output(GroupNorm::new(&at("aux_norm"), cout), conv));
        }
    }
    steps
}

fn block_options(config: &SongUNetConfig, attention: bool) -> BlockOptions {
    BlockOptions {
        emb_channels: (config.model_channels * config.channel_mult_emb) as i64,
        attention,
        dropout: config.dropout,
    }
}

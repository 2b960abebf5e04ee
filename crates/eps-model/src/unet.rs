//! Published networks F: an architecture's configuration and the network that is built from it.

use std::collections::BTreeMap;

use eps_math::Shape;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::edm2_layers::LogVariance;
use crate::extent::{extent, length_of};
use crate::layers::{Mode, Weights, image_size};
use crate::levels::Outline;
use crate::mapping::Embedding;
use crate::steps::{Recomputed, Steps};
use crate::{
    DhariwalUNetConfig, ModelError, PrecondConfig, SongUNetConfig, UNet2DModelConfig,
    UNetModelConfig, dhariwal_unet,
};

/// The configuration of a [`UNet`], its architecture named by the class of the original.
///
/// A configuration in JSON without `model_type` is that of a SongUNet, or with `_class_name` that of diffusers' class of
/// this name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "model_type")]
pub enum UNetConfig {
    /// EDM's DDPM++ and NCSN++.
    SongUNet(SongUNetConfig),
    /// EDM's ADM.
    DhariwalUNet(DhariwalUNetConfig),
    /// guided-diffusion's ADM, a network of noise.
    UNetModel(UNetModelConfig),
    /// diffusers' DDPM, a network of noise.
    UNet2DModel(UNet2DModelConfig),
    /// EDM2's.
    Precond(PrecondConfig),
}

impl From<SongUNetConfig> for UNetConfig {
    fn from(config: SongUNetConfig) -> Self {
        Self::SongUNet(config)
    }
}

impl From<DhariwalUNetConfig> for UNetConfig {
    fn from(config: DhariwalUNetConfig) -> Self {
        Self::DhariwalUNet(config)
    }
}

impl From<UNetModelConfig> for UNetConfig {
    fn from(config: UNetModelConfig) -> Self {
        Self::UNetModel(config)
    }
}

impl From<UNet2DModelConfig> for UNetConfig {
    fn from(config: UNet2DModelConfig) -> Self {
        Self::UNet2DModel(config)
    }
}

impl From<PrecondConfig> for UNetConfig {
    fn from(config: PrecondConfig) -> Self {
        Self::Precond(config)
    }
}

/// The classes that guided-diffusion's flag `class_cond` stands for.
const CLASSES_OF_FLAG: usize = 1000;

/// Flags of guided-diffusion's commands, and of DPS's files, that change nothing in the network.
const NEUTRAL_FLAGS: [&str; 7] = [
    "use_fp16",
    "use_checkpoint",
    "timestep_respacing",
    "rescale_timesteps",
    "rescale_learned_sigmas",
    "use_kl",
    "model_path",
];

/// What diffusers writes beside a network: of its chain, and of the average that the weights are.
const NEUTRAL_OF_DIFFUSERS: [&str; 8] = [
    "num_train_timesteps",
    "decay",
    "inv_gamma",
    "min_decay",
    "optimization_step",
    "power",
    "update_after_step",
    "use_ema_warmup",
];

/// A list as guided-diffusion's commands take it: numbers between commas, or one number.
fn list_of_flag(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(Value::Array(vec![value.clone()])),
        Value::String(text) => {
            let numbers = text.split(',').map(str::trim).filter(|number| !number.is_empty());
            let numbers = numbers.map(|number| serde_json::from_str(number).ok());
            numbers.collect::<Option<Vec<Value>>>().map(Value::Array)
        }
        _ => None,
    }
}

/// Fields that stand beside those of an architecture and change nothing in it: flags of guided-diffusion's commands
/// and of EDM2, what diffusers writes of itself.
fn remove_neutral(model_type: &str, fields: &mut Map<String, Value>) {
    match model_type {
        "UNetModel" => {
            for flag in NEUTRAL_FLAGS {
                fields.remove(flag);
            }
            // With another value it is another chain, or another question.
            for (flag, neutral) in [
                ("predict_xstart", false.into()),
                ("diffusion_steps", 1000.into()),
                ("conv_resample", true.into()),
            ] {
                if fields.get(flag) == Some(&neutral) {
                    fields.remove(flag);
                }
            }
            for list in ["channel_mult", "attention_resolutions"] {
                if let Some(value) = fields.get(list).and_then(list_of_flag) {
                    fields.insert(list.to_owned(), value);
                }
            }
            // The commands know images of three channels, and have no flag for those of the output.
            if fields.get("learn_sigma") == Some(&Value::Bool(true)) {
                fields.entry("out_channels").or_insert(6.into());
            }
            if let Some(flag) = fields.remove("class_cond") {
                let classes = if flag == Value::Bool(true) { CLASSES_OF_FLAG } else { 0 };
                fields.entry("num_classes").or_insert(classes.into());
            }
        }
        "UNet2DModel" => {
            fields.retain(|name, _| {
                !name.starts_with('_') && !NEUTRAL_OF_DIFFUSERS.contains(&name.as_str())
            });
            // diffusers says in the scheduler that variances are learnt, which takes as many channels again.
            let channels = |name| fields.get(name).and_then(Value::as_u64);
            if let (Some(read), Some(returned)) =
                (channels("in_channels"), channels("out_channels"))
                && returned == 2 * read
            {
                fields.entry("learn_sigma").or_insert(true.into());
            }
        }
        "Precond" => {
            fields.remove("use_fp16");
        }
        _ => {}
    }
}

impl<'de> Deserialize<'de> for UNetConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let class = fields.get("_class_name").cloned();
        let model_type = fields.remove("model_type").or(class).unwrap_or("SongUNet".into());
        remove_neutral(model_type.as_str().unwrap_or_default(), &mut fields);
        let fields = fields.into();
        match model_type.as_str() {
            Some("SongUNet") => serde_json::from_value(fields).map(Self::SongUNet),
            Some("DhariwalUNet") => serde_json::from_value(fields).map(Self::DhariwalUNet),
            Some("UNetModel") => serde_json::from_value(fields).map(Self::UNetModel),
            Some("UNet2DModel") => serde_json::from_value(fields).map(Self::UNet2DModel),
            Some("Precond") => serde_json::from_value(fields).map(Self::Precond),
            _ => return Err(D::Error::custom(ModelError::Architecture(model_type.to_string()))),
        }
        .map_err(D::Error::custom)
    }
}

impl UNetConfig {
    /// The name of the original's class, `model_type` in JSON.
    #[must_use]
    pub fn model_type(&self) -> &'static str {
        match self {
            Self::SongUNet(_) => "SongUNet",
            Self::DhariwalUNet(_) => "DhariwalUNet",
            Self::UNetModel(_) => "UNetModel",
            Self::UNet2DModel(_) => "UNet2DModel",
            Self::Precond(_) => "Precond",
        }
    }

    fn outline(&self) -> Outline {
        match self {
            Self::SongUNet(config) => config.levels().outline(),
            Self::DhariwalUNet(config) => config.levels().outline(),
            Self::UNetModel(config) => config.outline(),
            Self::UNet2DModel(config) => config.outline(),
            Self::Precond(config) => config.outline(),
        }
    }

    /// Whether it is a network that reads a timestep and predicts the noise ε there, which others are preconditioned
    /// to be asked for.
    #[must_use]
    pub fn predicts_noise(&self) -> bool {
        matches!(self, Self::UNetModel(_) | Self::UNet2DModel(_))
    }

    /// Channels that the network returns: those of an image, and of what it learnt of variances.
    #[must_use]
    pub fn returned_channels(&self) -> usize {
        match self {
            Self::UNetModel(config) => config.out_channels,
            Self::UNet2DModel(config) => config.out_channels,
            _ => self.out_channels(),
        }
    }

    /// The side length of the training images.
    #[must_use]
    pub fn img_resolution(&self) -> usize {
        self.outline().img_resolution
    }

    /// The shape of the training images.
    #[must_use]
    pub fn image_shape(&self) -> Shape {
        let side = self.img_resolution();
        Shape { channels: self.out_channels(), height: side, width: side }
    }

    /// Channels of the input, those of an observation included.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.outline().in_channels
    }

    /// Channels of the images that it predicts.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.outline().out_channels
    }

    /// The number of classes; 0 for an unconditional network.
    #[must_use]
    pub fn label_dim(&self) -> usize {
        self.outline().label_dim
    }

    /// The number that both sides of an image must be multiples of.
    #[must_use]
    pub fn size_multiple(&self) -> usize {
        self.outline().size_multiple()
    }

    /// Whether a denoiser can ask the network about images of `height` × `width` pixels, which it grows to the next
    /// multiples of [`Self::size_multiple`] by mirroring.
    ///
    /// # Errors
    /// [`ModelError::TooSmall`] unless both are that number at least.
    pub fn check_sides(&self, height: usize, width: usize) -> Result<(), ModelError> {
        let least = self.size_multiple();
        if height.min(width) >= least {
            return Ok(());
        }
        Err(ModelError::TooSmall { height, width, least })
    }

    /// Whether images of `height` × `width` pixels fit the network's levels.
    ///
    /// # Errors
    /// [`ModelError::ImageSize`] unless both are positive multiples of [`Self::size_multiple`].
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), ModelError> {
        self.outline().check_size(height, width)
    }

    /// The taps of the filter by which its levels are resampled.
    #[must_use]
    pub fn resample_filter(&self) -> &[f64] {
        match self {
            Self::SongUNet(config) => &config.resample_filter,
            Self::DhariwalUNet(_) | Self::UNetModel(_) | Self::UNet2DModel(_) => {
                &dhariwal_unet::TAPS
            }
            Self::Precond(config) => &config.resample_filter,
        }
    }

    /// Whether a network can be built from this configuration.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the first field that is out of range, and its range.
    pub fn validate(&self) -> Result<(), ModelError> {
        match self {
            Self::SongUNet(config) => config.validate(),
            Self::DhariwalUNet(config) => config.validate(),
            Self::UNetModel(config) => config.validate(),
            Self::UNet2DModel(config) => config.validate(),
            Self::Precond(config) => config.validate(),
        }
    }
}

/// A network F with its parameters.
///
/// The parameters are f32, whatever the precision of a call: see [`Self::forward`].
#[derive(Debug)]
pub struct UNet {
    config: UNetConfig,
    variables: VarStore,
    mapping: Embedding,
    steps: Steps,
    log_variance: Option<LogVariance>,
}

impl UNet {
    /// Builds the network on a device, with the original's initial weights drawn for `seed`.
    ///
    /// # Errors
    /// [`ModelError::Config`] when [`UNetConfig::validate`] refuses the configuration.
    pub fn new(
        config: impl Into<UNetConfig>,
        device: Device,
        seed: u64,
    ) -> Result<Self, ModelError> {
        Self::build(config.into(), device, Weights::Drawn(seed))
    }

    /// Builds the network with weights of zero that take no memory: to be counted, or filled tensor by
    /// tensor.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub fn blank(config: impl Into<UNetConfig>, device: Device) -> Result<Self, ModelError> {
        Self::build(config.into(), device, Weights::Blank)
    }

    fn build(config: UNetConfig, device: Device, weights: Weights) -> Result<Self, ModelError> {
        config.validate()?;
        let variables = VarStore::new(device);
        let (root, mut log_variance) = (variables.root(), None);
        let (mapping, steps) = match &config {
            UNetConfig::SongUNet(config) => config.build(&(&root / "model"), weights),
            UNetConfig::DhariwalUNet(config) => config.build(&(&root / "model"), weights),
            UNetConfig::UNetModel(config) => config.build(&root, weights),
            UNetConfig::UNet2DModel(config) => config.build(&root, weights),
            UNetConfig::Precond(config) => {
                let (mapping, steps, learnt) = config.build(&root, weights);
                log_variance = Some(learnt);
                (mapping, steps)
            }
        };
        drop(root);
        Ok(Self { config, variables, mapping, steps, log_variance })
    }

    /// The same network for another thread: its tensors share their memory with this one's, whose values must not be
    /// changed while both are asked.
    ///
    /// A tensor may be sent to a thread and not be shared by two: libtorch counts its handles atomically, but a handle
    /// is one thread's.
    ///
    /// # Errors
    /// [`ModelError::Compute`] where there is no memory for the few values that are not shared.
    pub fn another(&self) -> Result<Self, ModelError> {
        let other = Self::blank(self.config.clone(), self.device())?;
        // Of one configuration, so of the same names.
        for (own, mut tensor) in self.tensors().into_values().zip(other.tensors().into_values()) {
            tensor.f_set_data(&own.detach())?;
            let _ = tensor.f_set_requires_grad(own.requires_grad())?;
        }
        Ok(other)
    }

    /// The configuration that the network was built from.
    #[must_use]
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The parameters, for an optimiser, by the names of the original: those of EDM's start with `model.`.
    #[must_use]
    pub fn variables(&self) -> &VarStore {
        &self.variables
    }

    /// The parameters, for freezing: a frozen network casts them to a lower precision at its first call alone, and its
    /// values may not be changed after it but by way of a call with gradients.
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

    /// The logarithm of the variance of the error, which EDM2's training learns; none for others.
    ///
    /// # Shapes
    /// c_noise: `[B]` → `[B]` in f32
    #[must_use]
    pub fn log_variance(&self, c_noise: &Tensor) -> Option<Tensor> {
        self.log_variance.as_ref().map(|learnt| learnt.forward(c_noise))
    }

    pub(crate) fn mapping(&self) -> &Embedding {
        &self.mapping
    }

    pub(crate) fn steps(&self) -> &Steps {
        &self.steps
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
    /// A conditional network without labels sees zeros, as EDM's does; guided-diffusion's and diffusers' were never
    /// trained so.
    ///
    /// # Shapes
    /// x: `[B, Cin, H, W]`, c_noise: `[B]`, class_labels: `[B, label_dim]` (one-hot), augment_labels:
    /// `[B, augment_dim]` → `[B, Cout, H, W]`, Cout = [`UNetConfig::returned_channels`]
    ///
    /// # Units
    /// x is c_in times the image, and the observation as it is; c_noise = ln(σ)/4, or of a network of noise
    /// ([`UNetConfig::predicts_noise`]) the timestep, fractions allowed.
    ///
    /// # Panics
    /// If a shape is not as stated, if the levels do not divide H and W (see
    /// [`UNetConfig::check_size`]), or if labels are given to a network that has none.
    pub fn forward(
        &self,
        x: &Tensor,
        c_noise: &Tensor,
        class_labels: Option<&Tensor>,
        augment_labels: Option<&Tensor>,
        mode: Mode,
    ) -> Tensor {
        self.check(x, c_noise);
        let emb = self.mapping.forward(c_noise, class_labels, augment_labels, mode);
        self.steps.forward(x, &emb, mode)
    }

    /// [`Self::forward`] for a training step in little memory: the activations inside a block are
    /// computed again on the way back.
    ///
    /// # Panics
    /// Those of [`Self::forward`].
    pub fn recomputed(
        &self,
        x: &Tensor,
        c_noise: &Tensor,
        class_labels: Option<&Tensor>,
        augment_labels: Option<&Tensor>,
        mode: Mode,
    ) -> Recomputed<'_> {
        self.check(x, c_noise);
        let emb = self.mapping.forward(c_noise, class_labels, augment_labels, mode);
        Recomputed::new(&self.steps, x, emb, mode)
    }

    fn check(&self, x: &Tensor, c_noise: &Tensor) {
        let (batch, channels, height, width) = image_size(x);
        let reads = self.config.in_channels();
        assert!(
            channels == extent(reads),
            "the network reads {reads} channels, got {:?}",
            x.size()
        );
        if let Err(error) = self.config.check_size(length_of(height), length_of(width)) {
            panic!("{error}");
        }
        assert!(c_noise.size() == [batch], "c_noise must be [{batch}], got {:?}", c_noise.size());
    }
}

/// Replaces the values of one of [`UNet::tensors`] by others of its shape.
///
/// # Errors
/// [`ModelError::Compute`] where there is no memory for them on the network's device.
///
/// # Panics
/// If the shapes differ.
pub fn set_values(target: &mut Tensor, values: &Tensor) -> Result<(), ModelError> {
    assert_eq!(target.size(), values.size(), "the shape of a parameter");
    let device = target.device();
    let values = values.detach().f_to_kind(Kind::Float)?.f_to_device(device)?;
    Ok(target.f_set_data(&values)?)
}

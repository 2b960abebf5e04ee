//! EDM's networks F: an architecture's configuration and the network that is built from it.

use std::collections::BTreeMap;

use eps_math::Shape;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::layers::{Mode, Weights, image_size};
use crate::levels::Levels;
use crate::mapping::Mapping;
use crate::steps::{Recomputed, Steps};
use crate::{DhariwalUNetConfig, ModelError, SongUNetConfig, dhariwal_unet};

/// The configuration of a [`UNet`], its architecture named by EDM's `model_type`.
///
/// A configuration in JSON without `model_type` is that of a SongUNet.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "model_type")]
pub enum UNetConfig {
    /// DDPM++ and NCSN++.
    SongUNet(SongUNetConfig),
    /// ADM.
    DhariwalUNet(DhariwalUNetConfig),
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

impl<'de> Deserialize<'de> for UNetConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = serde_json::Map::deserialize(deserializer)?;
        let model_type = fields.remove("model_type").unwrap_or("SongUNet".into());
        let fields = fields.into();
        match model_type.as_str() {
            Some("SongUNet") => serde_json::from_value(fields).map(Self::SongUNet),
            Some("DhariwalUNet") => serde_json::from_value(fields).map(Self::DhariwalUNet),
            _ => return Err(D::Error::custom(ModelError::Architecture(model_type.to_string()))),
        }
        .map_err(D::Error::custom)
    }
}

impl UNetConfig {
    fn levels(&self) -> Levels<'_> {
        match self {
            Self::SongUNet(config) => config.levels(),
            Self::DhariwalUNet(config) => config.levels(),
        }
    }

    /// The side length of the training images.
    #[must_use]
    pub fn img_resolution(&self) -> usize {
        self.levels().img_resolution
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
        self.levels().in_channels
    }

    /// Channels of the output.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.levels().out_channels
    }

    /// The number of classes; 0 for an unconditional network.
    #[must_use]
    pub fn label_dim(&self) -> usize {
        self.levels().label_dim
    }

    /// The number that both sides of an image must be multiples of.
    #[must_use]
    pub fn size_multiple(&self) -> usize {
        self.levels().size_multiple()
    }

    /// Whether images of `height` × `width` pixels fit the network's levels.
    ///
    /// # Errors
    /// [`ModelError::ImageSize`] unless both are positive multiples of [`Self::size_multiple`].
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), ModelError> {
        self.levels().check_size(height, width)
    }

    /// The taps of the filter by which its levels are resampled.
    #[must_use]
    pub fn resample_filter(&self) -> &[f64] {
        match self {
            Self::SongUNet(config) => &config.resample_filter,
            Self::DhariwalUNet(_) => &dhariwal_unet::TAPS,
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
        }
    }
}

/// A network F of EDM's with its parameters.
///
/// The parameters are f32, whatever the precision of a call: see [`Self::forward`].
#[derive(Debug)]
pub struct UNet {
    config: UNetConfig,
    variables: VarStore,
    mapping: Mapping,
    steps: Steps,
}

impl UNet {
    /// Builds the network on a device, with EDM's initial weights drawn for `seed`.
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
        let root = variables.root() / "model";
        let (mapping, steps) = match &config {
            UNetConfig::SongUNet(config) => config.build(&root, weights),
            UNetConfig::DhariwalUNet(config) => config.build(&root, weights),
        };
        drop(root);
        Ok(Self { config, variables, mapping, steps })
    }

    /// The configuration that the network was built from.
    #[must_use]
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The parameters, for an optimiser. Their names start with `model.`.
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

    pub(crate) fn mapping(&self) -> &Mapping {
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
        assert!(channels == reads as i64, "the network reads {reads} channels, got {:?}", x.size());
        if let Err(error) = self.config.check_size(height as usize, width as usize) {
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

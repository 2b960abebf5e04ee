//! Networks in safetensors files, with the complete configuration in the file's metadata.
//!
//! Layout: every tensor of the network under the name of the original (`model.enc.28x28_conv.weight`, …), F32, F16 or
//! BF16, row-major; one metadata entry `eps`, the JSON of [`CheckpointConfig`], which begins with the digests of what
//! the file holds:
//!
//! ```text
//! {"sha256": {"configuration": of the text without this first entry, "tensors": {name: of its bytes}}, …}
//! ```
//!
//! A file is read strictly: a missing, surplus, misshapen or non-finite tensor, or one that is not what was
//! written, is an error that names it. A file of before digests were written is compared as a whole with `FILE.sha256` beside it,
//! as `sha256sum` writes it, and read without a comparison where there is none.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use eps_files::{StandIn, require_regular, sha256, write_bytes};
use eps_math::parameterisation::{Parameterisation, Translation};
use eps_math::{Interpolant, MathError, OperatorLaw, Precondition, PreconditionMode, SigmaYLaw};
use safetensors::View;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::extent::{extent, length_of};
use crate::training_record::TrainingRecord;
use crate::unet::set_values;
use crate::{
    Condition, DataMoments, ModelError, NetworkDenoiser, Precision, UNet, UNetConfig, Windows,
};

/// The version of [`CheckpointConfig`]'s layout.
pub const FORMAT_VERSION: u32 = 1;

/// Where schedules begin at most for a chain that goes on further.
const HIGHEST_OF_CHAINS: f64 = 160.0;

/// The most bytes that are read of a header: the format allows no more.
const LONGEST_HEADER: u64 = 100_000_000;

/// The metadata entry that holds the configuration.
const METADATA_KEY: &str = "eps";

/// Everything that a network's answers depend on beside its weights, and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// The version of this layout, 1.
    pub format_version: u32,
    /// The name of the network.
    pub name: String,
    /// The network.
    pub network: UNetConfig,
    /// The preconditioning.
    pub precondition: Precondition,
    /// What the network reads and predicts, where that is not what EDM's do: then the preconditioning is `scalar`, and
    /// its σ_data counts for the weight of a loss alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameterisation: Option<Parameterisation>,
    /// The channels that the network reads beside its scaled input.
    pub conditions: Vec<Condition>,
    /// The path from data to noise that it was trained on.
    pub interpolant: Interpolant,
    /// The lowest noise level it was trained for.
    pub sigma_min: f64,
    /// The highest noise level it may be asked for.
    pub sigma_max: f64,
    /// The law of the operators that it was trained for; none for a prior.
    pub tasks: OperatorLaw,
    /// Where it is asked about a measurement.
    #[serde(default)]
    pub asked_at: AskedAt,
    /// σ_y of that training on the [-1, 1] scale, or its law; none for a prior.
    pub sigma_y: Option<SigmaYLaw>,
    /// The moments of the data, which the preconditioning `wiener` is a function of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataMoments>,
    /// Where the weights come from.
    pub provenance: Provenance,
}

impl CheckpointConfig {
    /// A prior as EDM trains it: scalar preconditioning with σ_data = 0.5, on EDM's path between the
    /// noise levels of its sampler, 0.002 and 80 (Karras et al. 2022, table 1).
    #[must_use]
    pub fn edm_prior(name: String, network: UNetConfig, provenance: Provenance) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            name,
            network,
            precondition: Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 },
            parameterisation: None,
            conditions: vec![],
            interpolant: Interpolant::Edm,
            sigma_min: 0.002,
            sigma_max: 80.0,
            tasks: OperatorLaw::default(),
            asked_at: AskedAt::Pivot,
            sigma_y: None,
            data: None,
            provenance,
        }
    }

    /// A prior of another parameterisation, between the lowest and the highest noise level that it can be asked about.
    ///
    /// # Errors
    /// Those of [`Translation::new`].
    pub fn parameterised_prior(
        name: String,
        network: UNetConfig,
        parameterisation: Parameterisation,
        provenance: Provenance,
    ) -> Result<Self, MathError> {
        let (low, high) = Translation::new(&parameterisation)?.reach();
        let prior = Self::edm_prior(name, network, provenance);
        Ok(Self {
            sigma_min: prior.sigma_min.max(low),
            // The cosine chain goes on to 2e4, with steps that others would lack: at 160 nothing is left of an image. A
            // network that is asked by σ itself is asked to 80.
            sigma_max: if high.is_finite() { high.min(HIGHEST_OF_CHAINS) } else { prior.sigma_max },
            parameterisation: Some(parameterisation),
            ..prior
        })
    }

    /// Whether what it says of asking the network is possible.
    fn check_parameterisation(&self) -> Result<(), String> {
        let Some(parameterisation) = &self.parameterisation else {
            return if self.network.predicts_noise() {
                Err("its network predicts noise, and its parameterisation is missing".to_owned())
            } else {
                Ok(())
            };
        };
        let mode = self.precondition.mode;
        if mode != PreconditionMode::Scalar {
            return Err(format!(
                "its network has a parameterisation, which goes with the preconditioning scalar, not {mode:?}"
            ));
        }
        let translation = Translation::new(parameterisation)
            .map_err(|error| format!("parameterisation: {error}"))?;
        let ((low, high), (min, max)) = (translation.reach(), (self.sigma_min, self.sigma_max));
        if min < low || max > high {
            return Err(format!(
                "sigma_min {min} and sigma_max {max} are not within {low} and {high}, the levels that its network can \
                 be asked about"
            ));
        }
        Ok(())
    }

    /// Whether the noise levels are positive and in order.
    fn check_values(&self) -> Result<(), String> {
        self.check_parameterisation()?;
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let [min, max] = [self.sigma_min, self.sigma_max];
        if !(positive(min) && positive(max) && min < max) {
            return Err(format!("sigma_min {min} and sigma_max {max} are not 0 < min < max"));
        }
        let sigma_data = self.precondition.sigma_data;
        if !positive(sigma_data) {
            return Err(format!("sigma_data is {sigma_data}, but it must be positive"));
        }
        if let Some(sigma_y) = self.sigma_y {
            sigma_y.validate().map_err(|error| error.to_string())?;
        }
        let is_wiener = self.precondition.mode == PreconditionMode::Wiener;
        match &self.data {
            None if is_wiener => Err("the preconditioning wiener has no data moments".to_owned()),
            Some(data) if data.shape != self.network.image_shape() => Err(format!(
                "its data moments are of images of shape {}, its network returns {}",
                data.shape,
                self.network.image_shape()
            )),
            Some(data) => data.check(),
            None => Ok(()),
        }
    }
}

/// Where a network is asked for E[x₀ | x_t, y].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskedAt {
    /// At the pivot μ⋆, under noise of covariance Σ⋆: EPS, and every prior.
    #[default]
    Pivot,
    /// At the state x_t/α, with the measurement as a condition alone: Palette.
    State,
}

/// Where a network's weights come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The data, or the file that the weights were imported from.
    pub source: String,
    /// The licence of the weights.
    pub licence: String,
    /// The command that made the file.
    pub command: String,
    /// The record of the training: its configuration, its losses, versions and device; of an imported
    /// network the SHA-256 of the file.
    #[serde(deserialize_with = "TrainingRecord::or_null")]
    pub training: TrainingRecord,
    /// The network that the training started from. Files of before this was recorded lack it, as do
    /// networks that started from random weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Box<Origin>>,
}

/// What a network keeps of the one that it was trained from, and that of its own start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The data, or the file that the weights were imported from.
    pub source: String,
    /// The SHA-256 of the file that was imported; of a network that was trained, of its file.
    pub sha256: String,
    /// The licence of the weights.
    pub licence: String,
    /// The network that this one was trained from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Box<Self>>,
}

impl Provenance {
    /// The SHA-256 of the file that the weights were imported from, where they were.
    #[must_use]
    pub fn imported_sha256(&self) -> Option<&str> {
        self.training.imported.as_ref().map(|imported| &*imported.sha256)
    }

    /// What a network that is trained from this one keeps; `sha256` is that of this one's file.
    #[must_use]
    pub fn origin(&self, sha256: String) -> Origin {
        Origin {
            source: self.source.clone(),
            sha256: self.imported_sha256().map_or(sha256, str::to_owned),
            licence: self.licence.clone(),
            start: self.start.clone(),
        }
    }

    /// Whether the licence forbids commercial use: it says "non-commercial" or has the NC of Creative
    /// Commons.
    #[must_use]
    pub fn is_non_commercial(&self) -> bool {
        let licence = self.licence.to_lowercase();
        let mut words = licence.split(|c: char| !c.is_ascii_alphanumeric());
        licence.contains("non-commercial")
            || licence.contains("noncommercial")
            || words.any(|word| word == "nc")
    }
}

/// What a file should hold, in SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digests {
    /// Of the configuration's JSON.
    configuration: String,
    /// Of the bytes of every tensor.
    tensors: BTreeMap<String, String>,
}

/// How a configuration with digests begins.
const DIGESTS: &str = "{\"sha256\":";

impl Digests {
    /// The text of a configuration with these in front.
    fn before(&self, configuration: &str) -> Result<String, serde_json::Error> {
        let rest = configuration.strip_prefix('{').unwrap_or(configuration);
        Ok(format!("{DIGESTS}{},{rest}", serde_json::to_string(self)?))
    }

    /// Splits such a text; none where it is of before digests were written.
    fn split(json: &str) -> Result<(Option<Self>, Cow<'_, str>), serde_json::Error> {
        let Some(rest) = json.strip_prefix(DIGESTS) else { return Ok((None, json.into())) };
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Self>();
        let Some(digests) = values.next().transpose()? else { return Ok((None, json.into())) };
        let rest = rest[values.byte_offset()..].trim_start();
        Ok((Some(digests), format!("{{{}", rest.strip_prefix(',').unwrap_or(rest)).into()))
    }

    /// Fails where the configuration or a tensor is not what was written; a tensor that was not written is one that
    /// no network has.
    fn check(
        &self,
        path: &Path,
        configuration: &str,
        file: &SafeTensors<'_>,
    ) -> Result<(), ModelError> {
        let compare = |what: &str, bytes: &[u8], expected: &str| {
            let found = sha256(bytes);
            if found == expected {
                return Ok(());
            }
            let (path, what, expected) = (path.to_owned(), what.to_owned(), expected.to_owned());
            Err(ModelError::Digest { path, what, expected, found })
        };
        compare("its configuration", configuration.as_bytes(), &self.configuration)?;
        let mut tensors = file.tensors();
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, view) in tensors {
            if let Some(expected) = self.tensors.get(&name) {
                compare(&format!("tensor {name:?}"), view.data(), expected)?;
            }
        }
        Ok(())
    }

    /// Fails unless every tensor of a file has a digest.
    fn check_names(&self, path: &Path, file: &SafeTensors<'_>) -> Result<(), ModelError> {
        let mut names = file.names();
        names.sort_unstable();
        match names.into_iter().find(|name| !self.tensors.contains_key(*name)) {
            None => Ok(()),
            Some(name) => Err(ModelError::Corrupt {
                path: path.to_owned(),
                reason: format!("tensor {name:?} has no digest; fetch or make the file again"),
            }),
        }
    }
}

/// A network that was read from a file.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file's configuration.
    pub config: CheckpointConfig,
    /// The network with its preconditioning.
    pub denoiser: NetworkDenoiser,
    /// Whether the file was compared with digests, its own or that of `FILE.sha256` beside it: files of before these were
    /// written have none of their own.
    pub has_digests: bool,
}

impl Checkpoint {
    /// The same network for another thread: see [`UNet::another`].
    ///
    /// # Errors
    /// Those of [`UNet::another`].
    pub fn another(&self) -> Result<Self, ModelError> {
        let denoiser = self.denoiser.another()?;
        Ok(Self { config: self.config.clone(), denoiser, has_digests: self.has_digests })
    }

    /// The same network, whose windows are asked about by several threads at once: see [`NetworkDenoiser::with_threads`].
    ///
    /// # Errors
    /// Those of [`UNet::another`].
    pub fn with_threads(self, threads: usize) -> Result<Self, ModelError> {
        Ok(Self { denoiser: self.denoiser.with_threads(threads)?, ..self })
    }

    /// The same network, asked in windows about images that are larger than one.
    #[must_use]
    pub fn with_windows(self, windows: Windows) -> Self {
        Self { denoiser: self.denoiser.with_windows(Some(windows)), ..self }
    }
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// As they are.
    F32,
    /// Rounded to half precision: half the size, relative rounding error 2⁻¹¹. Frequencies of noise
    /// levels, whose cosines would notice, stay as they are.
    F16,
    /// Rounded to bfloat16: half the size, the range of f32, relative rounding error 2⁻⁸. Frequencies as in f16.
    Bf16,
}

impl Storage {
    /// Its name, as [`FromStr`] reads it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// The largest number that it holds.
    fn largest(self) -> f64 {
        match self {
            Self::F32 => f64::from(f32::MAX),
            Self::F16 => 65504.0,
            // Eight bits of significand at the exponent of f32's largest.
            Self::Bf16 => (2.0 - 2f64.powi(-7)) * 2f64.powi(127),
        }
    }

    /// How a tensor is stored.
    fn of_tensor(self, name: &str) -> (Kind, Dtype) {
        match self {
            Self::F16 if !name.ends_with(".freqs") => (Kind::Half, Dtype::F16),
            Self::Bf16 if !name.ends_with(".freqs") => (Kind::BFloat16, Dtype::BF16),
            _ => (Kind::Float, Dtype::F32),
        }
    }
}

impl FromStr for Storage {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        [Self::F32, Self::F16, Self::Bf16]
            .into_iter()
            .find(|storage| storage.name() == name)
            .ok_or_else(|| ModelError::UnknownPrecision(name.to_owned()))
    }
}

/// A tensor of a network as a file holds it: its bytes are made when they are written, so that no second copy of all weights
/// is in memory beside the file's.
struct StoredTensor {
    tensor: Tensor,
    kind: Kind,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl View for StoredTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let stored = self.tensor.detach().to_device(Device::Cpu).to_kind(self.kind);
        bytes_of(&stored.contiguous()).into()
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.kind.elt_size_in_bytes()
    }
}

/// The bytes of a contiguous tensor on the CPU.
fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// Writes a network under a temporary name and renames it.
///
/// # Errors
/// [`ModelError::NonFinite`] for a weight that is not finite, [`ModelError::Overflow`] for one that the storage cannot
/// hold, [`ModelError::Files`] if the file cannot be written.
pub fn save(
    path: &Path,
    network: &UNet,
    config: &CheckpointConfig,
    storage: Storage,
) -> Result<(), ModelError> {
    let mut tensors = BTreeMap::new();
    let mut views = Vec::new();
    for (name, tensor) in network.tensors() {
        let (kind, dtype) = storage.of_tensor(&name);
        let exact = tensor.detach().f_to_device(Device::Cpu)?;
        let stored = exact.f_to_kind(kind)?.f_contiguous()?;
        check_finite(path, &name, &exact)?;
        if let Some((index, _)) = first_not_finite(&stored) {
            let value = exact.flatten(0, -1).double_value(&[index]);
            let (path, index) = (path.to_owned(), length_of(index));
            let (storage, largest) = (storage.name(), storage.largest());
            return Err(ModelError::Overflow { path, name, index, value, storage, largest });
        }
        let shape = stored.size().iter().map(|side| length_of(*side)).collect();
        tensors.insert(name.clone(), sha256(&bytes_of(&stored)));
        views.push((name, StoredTensor { tensor, kind, dtype, shape }));
    }
    let corrupt = |reason: String| ModelError::Corrupt { path: path.to_owned(), reason };
    let json = serde_json::to_string(config)
        .and_then(|text| {
            let configuration = sha256(text.as_bytes());
            Digests { configuration, tensors }.before(&text)
        })
        .map_err(|error| corrupt(error.to_string()))?;
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), json)]);
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| corrupt(error.to_string()))?;

    Ok(write_bytes(path, &bytes)?)
}

/// What the header of a file holds beside its tensors.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    entries: Option<HashMap<String, String>>,
}

/// Reads what a file says of its network, without its weights, whose digests are not looked at.
///
/// # Errors
/// [`ModelError::Io`], [`ModelError::Corrupt`] and [`ModelError::FormatVersion`] as [`load`].
pub fn read_config(path: &Path) -> Result<CheckpointConfig, ModelError> {
    let io = |source| ModelError::Io { path: path.to_owned(), source };
    require_regular(path)?;
    let mut file = File::open(path).map_err(io)?;
    // The length of the text and the text; what is too short or too long is told by the reader of the two.
    let mut header = Vec::new();
    file.by_ref().take(8).read_to_end(&mut header).map_err(io)?;
    let length = header[..].try_into().map_or(0, u64::from_le_bytes).min(LONGEST_HEADER);
    file.take(length).read_to_end(&mut header).map_err(io)?;
    // The reader of the format looks at the tensors too.
    let json = serde_json::from_slice::<Header>(header.get(8..).unwrap_or_default());
    let header = json.map_err(|error| not_whole(path, &error))?;
    let (_, json) = split_json(path, header.entries.as_ref())?;
    let config = parse_config(path, &json)?;
    config.check_values().map_err(|reason| corrupt(path, &reason))?;
    Ok(config)
}

/// Reads a network onto a device; it computes in `precision`.
///
/// Its weights are frozen: `denoiser.network_mut().variables_mut().unfreeze()` makes them trainable, as
/// `eps_train::train` does.
///
/// # Errors
/// [`ModelError::Io`] if the file cannot be read, [`ModelError::Corrupt`] if it is no safetensors
/// file, is truncated, lacks the configuration or has one that no network can have,
/// [`ModelError::FormatVersion`], [`ModelError::Digest`] for what is not as it was written, and
/// [`ModelError::MissingTensor`], [`ModelError::SurplusTensor`], [`ModelError::TensorShape`],
/// [`ModelError::TensorKind`] or [`ModelError::NonFinite`] for a tensor.
pub fn load(path: &Path, device: Device, precision: Precision) -> Result<Checkpoint, ModelError> {
    require_regular(path)?;
    let bytes =
        std::fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    let corrupt = |reason: String| corrupt(path, &reason);
    let (_, metadata) =
        SafeTensors::read_metadata(&bytes).map_err(|error| not_whole(path, &error))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| not_whole(path, &error))?;
    let (digests, json) = split_json(path, metadata.metadata().as_ref())?;
    let has_digests = match &digests {
        Some(digests) => {
            digests.check(path, &json, &file)?;
            true
        }
        None => is_as_beside(path, &bytes)?,
    };
    let config = parse_config(path, &json)?;

    config.check_values().map_err(corrupt)?;

    let mut network = UNet::blank(config.network.clone(), device)
        .map_err(|error| corrupt(format!("its configuration has no network ({error})")))?;
    fill(path, &network, &file)?;
    if let Some(digests) = &digests {
        digests.check_names(path, &file)?;
    }
    network.variables_mut().freeze();
    let reads = config.network.in_channels();
    let has = Condition::total(&config.conditions, config.network.out_channels());
    if reads != has {
        return Err(corrupt(format!(
            "its network reads {reads} channels, but its images and conditions have {has}"
        )));
    }
    let mut denoiser =
        NetworkDenoiser::new(network, config.precondition, config.conditions.clone(), precision);
    if let Some(parameterisation) = &config.parameterisation {
        denoiser = denoiser
            .with_parameterisation(parameterisation)
            .map_err(|error| corrupt(format!("parameterisation: {error}")))?;
    }
    if let Some(data) = &config.data {
        denoiser = denoiser.with_data(data.clone());
    }
    Ok(Checkpoint { config, denoiser, has_digests })
}

fn corrupt(path: &Path, reason: &str) -> ModelError {
    let reason = format!("{reason}; fetch or make the file again");
    ModelError::Corrupt { path: path.to_owned(), reason }
}

fn not_whole(path: &Path, error: &dyn Error) -> ModelError {
    if let Some(found) = StandIn::at(path) {
        return ModelError::Corrupt { path: path.to_owned(), reason: found.to_string() };
    }
    corrupt(path, &format!("not a whole safetensors file ({error})"))
}

/// The digests and the configuration in a header.
fn split_json<'a>(
    path: &Path,
    entries: Option<&'a HashMap<String, String>>,
) -> Result<(Option<Digests>, Cow<'a, str>), ModelError> {
    let json = entries
        .and_then(|entries| entries.get(METADATA_KEY))
        .ok_or_else(|| corrupt(path, &format!("its metadata has no entry {METADATA_KEY:?}")))?;
    Digests::split(json)
        .map_err(|error| corrupt(path, &format!("its digests cannot be read ({error})")))
}

/// Compares a file as a whole with the digest in `FILE.sha256` beside it, as `sha256sum` writes it; false where there is none.
fn is_as_beside(path: &Path, bytes: &[u8]) -> Result<bool, ModelError> {
    let beside = path.with_added_extension("sha256");
    let text = match std::fs::read_to_string(&beside) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(ModelError::Io { path: beside, source }),
    };
    let expected = text.split_whitespace().next().unwrap_or_default().to_owned();
    let found = sha256(bytes);
    if found == expected {
        return Ok(true);
    }
    let what = format!("the file as a whole, by {},", beside.display());
    Err(ModelError::Digest { path: path.to_owned(), what, expected, found })
}

/// The layer that reads the class, as the families name it.
const LABEL_LAYERS: [&str; 3] = ["map_label.", "label_emb.", "class_embedding."];

/// A wider network that starts as the narrow one: input channels that are new, and the layer that reads a class which
/// the narrow network does not know, have zero weights.
///
/// The channels of the narrow network are the first of the wide one, so that both return the same
/// for any value of the new channels (arXiv 2606.17048, Appendix B) and any class. EDM2's networks, which scale every weight
/// to one norm, cannot start to know classes.
///
/// # Errors
/// [`ModelError::Widen`] unless the tensors of the two networks differ in their input channels and in that layer alone,
/// and their levels are resampled by one filter.
pub fn widen(narrow: &UNet, wide: &UNetConfig, device: Device) -> Result<UNet, ModelError> {
    let network = UNet::blank(wide.clone(), device)?;
    let refused = |reason: String| Err(ModelError::Widen(reason));
    let (own, asked) = (narrow.config().model_type(), wide.model_type());
    if own != asked {
        return refused(format!("it is a {own}, and the configuration's network a {asked}"));
    }
    // Of what tensors do not show.
    if narrow.config().resample_filter() != wide.resample_filter() {
        return refused("its \"resample_filter\" is another than the configuration's".to_owned());
    }
    let _guard = tch::no_grad_guard();
    let source = narrow.tensors();
    let mut target = network.tensors();
    // EDM2 reads a channel of ones after all others, and scales weights to a root mean square, zeros included.
    let is_scaled = matches!(wide, UNetConfig::Precond(_));
    let ones = i64::from(is_scaled);
    for (name, from) in &source {
        let Some(to) = target.get_mut(name) else {
            return refused(format!("the configuration's network has no tensor {name:?}"));
        };
        let (old, new) = (from.size(), to.size());
        let extends = old.len() == 4
            && new.len() == 4
            && (old[0], old[2], old[3]) == (new[0], new[2], new[3])
            && old[1] == extent(narrow.config().in_channels()) + ones
            && new[1] == extent(wide.in_channels()) + ones
            && old[1] < new[1];
        if old == new {
            set_values(to, &from.copy())?;
        } else if extends {
            let wider = Tensor::zeros(&new, (Kind::Float, from.device()));
            let read = old[1] - ones;
            wider.narrow(1, 0, read).copy_(&from.narrow(1, 0, read));
            wider.narrow(1, new[1] - ones, ones).copy_(&from.narrow(1, read, ones));
            let same_rms = (new[1] as f64 / old[1] as f64).sqrt();
            let wider = if is_scaled { wider * same_rms } else { wider };
            set_values(to, &wider)?;
        } else {
            return refused(format!(
                "its tensor {name:?} has the shape {old:?}, that of the configuration's network {new:?}"
            ));
        }
    }
    let learns_classes = !is_scaled && narrow.config().label_dim() == 0 && wide.label_dim() > 0;
    for (name, to) in target.iter_mut().filter(|(name, _)| !source.contains_key(*name)) {
        if !(learns_classes && LABEL_LAYERS.iter().any(|layer| name.contains(layer))) {
            return refused(format!(
                "it has no tensor {name:?}, as the configuration's network has"
            ));
        }
        let zeros = Tensor::zeros(to.size(), (Kind::Float, to.device()));
        set_values(to, &zeros)?;
    }
    Ok(network)
}

fn parse_config(path: &Path, json: &str) -> Result<CheckpointConfig, ModelError> {
    let corrupt = |error: serde_json::Error| ModelError::Corrupt {
        path: path.to_owned(),
        reason: format!("its configuration cannot be read ({error}); make the file again"),
    };
    let value: serde_json::Value = serde_json::from_str(json).map_err(corrupt)?;
    match value.get("format_version").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(FORMAT_VERSION) => Err(ModelError::FormatVersion {
            path: path.to_owned(),
            found,
            supported: u64::from(FORMAT_VERSION),
        }),
        _ => serde_json::from_value(value).map_err(corrupt),
    }
}

/// Copies a file's tensors into a network's, which must be the same ones.
fn fill(path: &Path, network: &UNet, file: &SafeTensors<'_>) -> Result<(), ModelError> {
    let _guard = tch::no_grad_guard();
    let mut targets = network.tensors();
    let mut found = file.tensors();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, view) in found {
        let shape: Vec<i64> = view.shape().iter().map(|side| extent(*side)).collect();
        let Some(mut target) = targets.remove(&name) else {
            return Err(ModelError::SurplusTensor { path: path.to_owned(), name, found: shape });
        };
        if shape != target.size() {
            let expected = target.size();
            return Err(ModelError::TensorShape {
                path: path.to_owned(),
                name,
                expected,
                found: shape,
            });
        }
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => {
                let found = format!("{other:?}");
                return Err(ModelError::TensorKind { path: path.to_owned(), name, found });
            }
        };
        let stored = Tensor::from_data_size(view.data(), &shape, kind);
        check_finite(path, &name, &stored)?;
        set_values(&mut target, &stored)?;
    }
    match targets.pop_first() {
        None => Ok(()),
        Some((name, tensor)) => {
            let expected = tensor.size();
            Err(ModelError::MissingTensor { path: path.to_owned(), name, expected })
        }
    }
}

fn check_finite(path: &Path, name: &str, tensor: &Tensor) -> Result<(), ModelError> {
    match first_not_finite(tensor) {
        None => Ok(()),
        Some((index, value)) => Err(ModelError::NonFinite {
            path: path.to_owned(),
            name: name.to_owned(),
            index: length_of(index),
            value,
        }),
    }
}

/// The row-major index and the value of the first element that is NaN or infinite.
fn first_not_finite(tensor: &Tensor) -> Option<(i64, f64)> {
    let flat = tensor.to_kind(Kind::Float).flatten(0, -1);
    let finite = flat.isfinite();
    if finite.all().int64_value(&[]) != 0 {
        return None;
    }
    let index = finite.logical_not().to_kind(Kind::Int64).argmax(0, false).int64_value(&[]);
    Some((index, flat.double_value(&[index])))
}

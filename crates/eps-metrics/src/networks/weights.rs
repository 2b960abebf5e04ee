//! Weights of AlexNet and VGG16 in safetensors files.
//!
//! Layout: `conv{i}.weight` [O, I, K, K] and `conv{i}.bias` `[O]` of the i-th convolution from 0 on,
//! `head{l}.weight` `[C]` of the l-th stage of LPIPS, all F32; one metadata entry `eps`, the JSON of
//! [`WeightsOrigin`] and the SHA-256 of the bytes of every tensor. A file is read strictly: a missing, surplus, misshapen or
//! non-finite tensor, or one that is not what was written, is an error that names it. Files of before digests were
//! written are read without that comparison.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use eps_files::{StandIn, sha256};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::backbone::{Backbone, FeatureNetwork, Layer};
use super::error::NetworkError;
use super::images::extent;
use super::origin::WeightsOrigin;

/// The version of this layout.
const FORMAT_VERSION: u32 = 1;

/// The metadata entry that holds the origin.
const METADATA_KEY: &str = "eps";

/// The metadata of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    format_version: u32,
    network: String,
    origin: WeightsOrigin,
    /// Of the bytes of every tensor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<BTreeMap<String, String>>,
}

/// A named array of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightArray {
    /// The name in the file's layout, such as `conv0.weight`.
    pub name: String,
    /// The dimensions.
    pub dims: Vec<usize>,
    /// The values, in row-major order.
    pub values: Vec<f32>,
}

impl Backbone {
    /// Names and dimensions of all weights, in order.
    #[must_use]
    pub fn weight_shapes(self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Vec::new();
        let (mut inputs, mut head) = (3, 0);
        for (i, layer) in self.layers().iter().enumerate() {
            let Layer { channels, kernel, .. } = *layer;
            shapes.push((format!("conv{i}.weight"), vec![channels, inputs, kernel, kernel]));
            shapes.push((format!("conv{i}.bias"), vec![channels]));
            if layer.is_stage {
                shapes.push((format!("head{head}.weight"), vec![channels]));
                head += 1;
            }
            inputs = channels;
        }
        shapes
    }
}

/// The bytes of a file of weights, as [`FeatureNetwork::load`] reads it.
///
/// # Errors
/// [`NetworkError::Arrays`] where `weights` are not exactly those of
/// [`Backbone::weight_shapes`], in any order, or are not finite.
pub fn serialize(
    backbone: Backbone,
    weights: &[WeightArray],
    origin: &WeightsOrigin,
) -> Result<Vec<u8>, NetworkError> {
    let wrong = |reason: String| NetworkError::Arrays { backbone: backbone.name(), reason };
    let mut needed: BTreeMap<String, Vec<usize>> = backbone.weight_shapes().into_iter().collect();
    let mut buffers = BTreeMap::new();
    for WeightArray { name, dims, values } in weights {
        match needed.remove(name) {
            Some(shape) if shape == *dims && values.len() == shape.iter().product::<usize>() => {}
            Some(shape) => return Err(wrong(misshapen(name, dims, &shape))),
            None => return Err(wrong(surplus(name, dims))),
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(wrong(not_finite(name, index)));
        }
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        buffers.insert(name, (dims, bytes));
    }
    if let Some((name, shape)) = needed.pop_first() {
        return Err(wrong(missing(&name, &shape)));
    }
    let metadata = Metadata {
        format_version: FORMAT_VERSION,
        network: backbone.name().to_owned(),
        origin: origin.clone(),
        sha256: Some(
            buffers.iter().map(|(name, (_, bytes))| ((*name).clone(), sha256(bytes))).collect(),
        ),
    };
    let json = serde_json::to_string(&metadata).map_err(|error| wrong(error.to_string()))?;
    let views = buffers
        .iter()
        .map(|(name, (dims, bytes))| {
            Ok((name.as_str(), TensorView::new(Dtype::F32, dims.to_vec(), bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| wrong(error.to_string()))?;
    safetensors::serialize(views, Some(HashMap::from([(METADATA_KEY.to_owned(), json)])))
        .map_err(|error| wrong(error.to_string()))
}

impl FeatureNetwork {
    /// Reads a network onto a device.
    ///
    /// # Errors
    /// [`NetworkError::Io`] if the file cannot be read, [`NetworkError::Weights`] if it is no
    /// safetensors file of this layout or its tensors are not exactly those of its network,
    /// [`NetworkError::Torch`] if the device does not take them.
    pub fn load(path: &Path, device: Device) -> Result<Self, NetworkError> {
        let bytes = std::fs::read(path)
            .map_err(|source| NetworkError::Io { path: path.to_owned(), source })?;
        let wrong = |reason: String| NetworkError::Weights { path: path.to_owned(), reason };
        let unreadable = |error: safetensors::SafeTensorError| {
            wrong(StandIn::of(&bytes).map_or_else(
                || format!("the file is damaged or no safetensors file ({error})"),
                |found| found.to_string(),
            ))
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(unreadable)?;
        let json = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA_KEY));
        let json = json.ok_or_else(|| {
            wrong(format!(
                "its metadata have no entry {METADATA_KEY:?}, so it is of another program"
            ))
        })?;
        let metadata: Metadata = serde_json::from_str(json).map_err(|error| {
            wrong(format!("its metadata describe no feature network ({error})"))
        })?;
        if metadata.format_version != FORMAT_VERSION {
            let found = metadata.format_version;
            return Err(wrong(format!("its format version is {found}, read is {FORMAT_VERSION}")));
        }
        let name = &metadata.network;
        let backbone = Backbone::ALL.into_iter().find(|backbone| backbone.name() == name);
        let backbone = backbone
            .ok_or_else(|| wrong(format!("its network is {name:?}, known are alex, vgg")))?;

        let file = SafeTensors::deserialize(&bytes).map_err(unreadable)?;
        let mut found: BTreeMap<String, TensorView<'_>> = file.tensors().into_iter().collect();
        let _guard = tch::no_grad_guard();
        let (mut convolutions, mut heads, mut kernel) = (Vec::new(), Vec::new(), None);
        for (name, shape) in backbone.weight_shapes() {
            let view = found.remove(&name).ok_or_else(|| wrong(missing(&name, &shape)))?;
            if view.dtype() != Dtype::F32 {
                return Err(wrong(format!("tensor {name:?} is {:?}, needed is F32", view.dtype())));
            }
            if view.shape() != shape {
                return Err(wrong(misshapen(&name, view.shape(), &shape)));
            }
            let written = metadata.sha256.as_ref().map(|digests| digests.get(&name));
            if written.is_some_and(|written| written != Some(&sha256(view.data()))) {
                return Err(wrong(format!(
                    "tensor {name:?} is not what was written, by its SHA-256"
                )));
            }
            let values = view.data().as_chunks::<4>().0;
            let finite = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes).is_finite();
            if let Some(index) = values.iter().position(|bytes| !finite(bytes)) {
                return Err(wrong(not_finite(&name, index)));
            }
            let dims: Vec<i64> = shape.iter().map(|side| extent(*side)).collect();
            let tensor =
                Tensor::f_from_data_size(view.data(), &dims, Kind::Float)?.f_to_device(device)?;
            match (kernel.take(), dims.len()) {
                (_, 4) => kernel = Some(tensor),
                (Some(kernel), _) => convolutions.push([kernel, tensor]),
                (None, _) => heads.push(tensor.view([1, -1, 1, 1])),
            }
        }
        if let Some((name, view)) = found.pop_first() {
            return Err(wrong(surplus(&name, view.shape())));
        }
        Ok(Self { backbone, origin: metadata.origin, convolutions, heads, device })
    }
}

fn missing(name: &str, shape: &[usize]) -> String {
    format!("tensor {name:?} of shape {shape:?} is missing")
}

fn surplus(name: &str, shape: &[usize]) -> String {
    format!("tensor {name:?} of shape {shape:?} is none of the network's, or comes twice")
}

fn misshapen(name: &str, found: &[usize], expected: &[usize]) -> String {
    format!("tensor {name:?} has shape {found:?}, the network's has {expected:?}")
}

fn not_finite(name: &str, index: usize) -> String {
    format!("tensor {name:?} is not finite at flat index {index}")
}

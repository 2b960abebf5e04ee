//! What the Wiener preconditioning knows of the data: mean, pixel variance and power spectrum.

use eps_math::Shape;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::extent::{extent, length_of};
use crate::operator::{Directions, box_mean};
use crate::{Field, ModelError, TensorOperator};

/// Images whose Fourier transforms are held at once.
const CHUNK: i64 = 1024;

/// The variance below which a direction counts as constant, relative to the mean variance.
const FLOOR: f64 = 1e-4;

/// Mean and variances of the data, per pixel and per frequency.
///
/// # Units
/// Of images on the scale [-1, 1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataMoments {
    /// The shape of an image.
    pub shape: Shape,
    /// The mean image, `[C, H, W]`.
    pub mean: Vec<f64>,
    /// The variance of each pixel, a mean over channels, `[H, W]`.
    pub variance: Vec<f64>,
    /// The variance of each coordinate of the orthonormal 2-D DFT, a mean over channels, `[H, W]`.
    pub spectrum: Vec<f64>,
}

/// Pixels as values in [-1, 1], in f64 on their device: bytes by v ↦ v/127.5 − 1, numbers as they are.
///
/// # Shapes
/// Any, which it keeps.
pub fn values_of_pixels(pixels: &Tensor) -> Tensor {
    let values = pixels.to_kind(Kind::Double);
    if pixels.kind() == Kind::Uint8 { values / 127.5 - 1.0 } else { values }
}

impl DataMoments {
    /// The moments of images, in bytes (v ↦ v/127.5 − 1) or as numbers in [-1, 1].
    ///
    /// # Shapes
    /// images: `[N, C, H, W]`, N ≥ 1
    ///
    /// # Errors
    /// [`ModelError::Compute`] for a tensor that is no batch of images.
    pub fn of(images: &Tensor) -> Result<Self, ModelError> {
        let (count, channels, height, width) = images.size4()?;
        let sides = [channels, height, width].map(length_of);
        let shape = Shape { channels: sides[0], height: sides[1], width: sides[2] };
        let unit = |start: i64| {
            let length = CHUNK.min(count - start);
            values_of_pixels(&images.narrow(0, start, length))
        };
        let starts = || (0..count).step_by(length_of(CHUNK));
        let sum = |of: &dyn Fn(i64) -> Tensor| {
            let nothing = Tensor::zeros([1], (Kind::Double, images.device()));
            starts().map(of).fold(nothing, |a, b| a + b)
        };
        let first = [0i64];
        let over_images = |x: Tensor| x.sum_dim_intlist(first.as_slice(), false, Kind::Double);
        let mean = sum(&|start| over_images(unit(start))) / count as f64;
        let centred = |start| unit(start) - &mean;
        let per_item = (count * channels) as f64;
        let axes = [0i64, 1];
        let over_channels = |x: Tensor| x.sum_dim_intlist(axes.as_slice(), false, Kind::Double);
        let variance = sum(&|start| over_channels(centred(start).square())) / per_item;
        let spectrum = sum(&|start| {
            let coordinates = centred(start).fft_fft2(None::<&[i64]>, [-2i64, -1], "ortho");
            over_channels(coordinates.abs().square())
        }) / per_item;
        let values = |x: &Tensor| Vec::<f64>::try_from(x.flatten(0, -1).contiguous());
        Ok(Self {
            shape,
            mean: values(&mean)?,
            variance: values(&variance)?,
            spectrum: values(&spectrum)?,
        })
    }

    /// Whether the numbers of values fit the shape and are what moments can be.
    pub(crate) fn check(&self) -> Result<(), String> {
        let plane = self.shape.plane();
        for (name, values, needed) in [
            ("mean", &self.mean, self.shape.len()),
            ("variance", &self.variance, plane),
            ("spectrum", &self.spectrum, plane),
        ] {
            if values.len() != needed {
                return Err(format!(
                    "its data moments have {} values in {name:?}, images of shape {} need {needed}",
                    values.len(),
                    self.shape
                ));
            }
            let is_variance = name != "mean";
            if let Some(value) = values.iter().find(|v| !v.is_finite() || is_variance && **v < 0.0)
            {
                return Err(format!("its data moments have the value {value} in {name:?}"));
            }
        }
        Ok(())
    }

    /// The moments on a device.
    pub(crate) fn on(&self, device: Device) -> DataFields {
        let sides = [self.shape.channels, self.shape.height, self.shape.width].map(extent);
        let plane = |values: &[f64]| {
            let values = Tensor::from_slice(values).view([1, 1, sides[1], sides[2]]);
            let floor = FLOOR * values.mean(Kind::Double).double_value(&[]);
            values.clamp_min(floor).to_device(device)
        };
        DataFields {
            mean: Tensor::from_slice(&self.mean)
                .view([1, sides[0], sides[1], sides[2]])
                .to_device(device),
            pixels: Field(plane(&self.variance).sqrt()),
            frequencies: Field(plane(&self.spectrum).sqrt()),
        }
    }
}

/// [`DataMoments`] as tensors: σ_d, where variances of constant directions are lifted to 1e-4 of the
/// mean one.
#[derive(Debug)]
pub(crate) struct DataFields {
    /// `[1, C, H, W]`
    pub(crate) mean: Tensor,
    /// Of each pixel, `[1, 1, H, W]`.
    pub(crate) pixels: Field,
    /// Of each frequency, `[1, 1, H, W]`.
    pub(crate) frequencies: Field,
}

impl DataFields {
    /// σ_d of the data along each eigenvector of an operator's AᵀA, of a shape like [`TensorOperator::eigenvalues`]:
    /// one for all of them where the basis is neither of pixels, of blocks nor of frequencies.
    pub(crate) fn along(&self, operator: &TensorOperator) -> Field {
        match operator.directions() {
            Directions::Pixels => self.pixels.clone(),
            Directions::Blocks(k) => self.blocks(k),
            Directions::Frequencies => self.frequencies.clone(),
            Directions::Others => self.single(),
        }
    }

    /// σ_d of the normalised mean of a k×k block, a mean over all places of the block, and of the
    /// directions across it, `[1, 2, 1, 1]`.
    ///
    /// ```text
    /// v₀ = k² mean_f S(f) |B(f)|²    v₁ = (k² v̄ − v₀)/(k² − 1)
    /// ```
    fn blocks(&self, k: i64) -> Field {
        let spectrum = self.frequencies.0.square();
        let transfer = box_mean(&spectrum, k);
        let area = (k * k) as f64;
        let mean = (spectrum * transfer.abs().square()).mean(Kind::Double) * area;
        let rest = (self.mean_variance() * area - &mean) / (area - 1.0).max(1.0);
        let rest = rest.clamp_min(0.0).maximum(&(&mean * FLOOR));
        Field(Tensor::stack(&[mean, rest], 0).view([1, 2, 1, 1]).sqrt())
    }

    /// One σ_d for every direction.
    fn single(&self) -> Field {
        Field(self.mean_variance().view([1, 1, 1, 1]).sqrt())
    }

    fn mean_variance(&self) -> Tensor {
        self.pixels.0.square().mean(Kind::Double)
    }
}

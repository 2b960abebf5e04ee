//! Devices and precisions by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::{Cuda, Device, Kind};

use crate::ModelError;

/// The device that a name stands for: `cpu`, `cuda` (the first GPU) or `cuda:N`.
///
/// # Errors
/// [`ModelError::UnknownDevice`] for any other name, [`ModelError::CudaUnavailable`] when libtorch
/// finds no GPU, [`ModelError::NoSuchGpu`] when it finds fewer.
pub fn device(name: &str) -> Result<Device, ModelError> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        _ => name
            .strip_prefix("cuda:")
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse::<usize>().ok())
            .ok_or_else(|| ModelError::UnknownDevice(name.to_owned()))?,
    };
    let count = if Cuda::is_available() { Cuda::device_count().max(0) as usize } else { 0 };
    match count {
        0 => Err(ModelError::CudaUnavailable(name.to_owned())),
        _ if index >= count => {
            Err(ModelError::NoSuchGpu { name: name.to_owned(), last: count - 1 })
        }
        _ => Ok(Device::Cuda(index)),
    }
}

/// The name of a device, as [`device`] reads it.
#[must_use]
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The precision in which a network computes; its weights are always kept in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point. On CUDA, GPUs from Ampere on convolve it in TF32 (11 bits of significand), libtorch's
    /// default; the environment variable `NVIDIA_TF32_OVERRIDE=0` turns that off.
    #[default]
    F32,
    /// bfloat16: f32's range, 8 bits of significand.
    Bf16,
    /// IEEE half precision: 11 bits of significand, largest value 65504.
    F16,
}

impl Precision {
    /// The element kind of the tensors that a network of this precision takes.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }

    /// Checks that networks of this precision run on a device.
    ///
    /// # Errors
    /// [`ModelError::HalfOnCpu`] for f16 anywhere but on CUDA: CPUs have few fast operations on it,
    /// and bf16 takes as little memory.
    pub fn check(self, device: Device) -> Result<(), ModelError> {
        if self == Self::F16 && !device.is_cuda() { Err(ModelError::HalfOnCpu) } else { Ok(()) }
    }

    /// Whether a device has no instructions for this precision, so that f32 is many times faster: bf16
    /// on x86 processors without AVX-512 BF16.
    #[must_use]
    pub fn is_emulated(self, device: Device) -> bool {
        #[cfg(target_arch = "x86_64")]
        let has_bf16 = std::arch::is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        let has_bf16 = true;
        self == Self::Bf16 && device == Device::Cpu && !has_bf16
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

impl FromStr for Precision {
    type Err = ModelError;

    /// Reads `f32`, `bf16` or `f16`.
    fn from_str(name: &str) -> Result<Self, ModelError> {
        [Self::F32, Self::Bf16, Self::F16]
            .into_iter()
            .find(|precision| precision.to_string() == name)
            .ok_or_else(|| ModelError::UnknownPrecision(name.to_owned()))
    }
}

//! Devices by name, and what precisions mean for them.

use eps_math::Precision;
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

/// What a precision means for libtorch and its devices.
pub trait DevicePrecision: Sized {
    /// The element kind of the tensors that a network of this precision takes.
    fn kind(self) -> Kind;

    /// Checks that networks of this precision run on a device.
    ///
    /// # Errors
    /// [`ModelError::HalfOnCpu`] for f16 anywhere but on CUDA: CPUs have few fast operations on it,
    /// and bf16 takes as little memory.
    fn check(self, device: Device) -> Result<(), ModelError>;

    /// The fastest precision on a device whose answers are good to three digits: bf16 on an x86 processor with
    /// instructions for it (AVX-512 BF16, which those with AMX have too), f32 on any other and, as it was not measured
    /// there, on a GPU.
    ///
    /// It is a function of the processor alone: a trial of both would sometimes decide otherwise on a busy machine, and
    /// the same command would then give other samples.
    fn fastest(device: Device) -> Self;

    /// Whether a device has no instructions for this precision, so that f32 is many times faster: bf16
    /// on x86 processors without AVX-512 BF16.
    fn is_emulated(&self, device: Device) -> bool;
}

impl DevicePrecision for Precision {
    fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }

    fn check(self, device: Device) -> Result<(), ModelError> {
        if self == Self::F16 && !device.is_cuda() { Err(ModelError::HalfOnCpu) } else { Ok(()) }
    }

    fn fastest(device: Device) -> Self {
        let is_x86 = cfg!(target_arch = "x86_64");
        let has_bf16 = is_x86 && device == Device::Cpu && !Self::Bf16.is_emulated(device);
        if has_bf16 { Self::Bf16 } else { Self::F32 }
    }

    fn is_emulated(&self, device: Device) -> bool {
        #[cfg(target_arch = "x86_64")]
        let has_bf16 = std::arch::is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        let has_bf16 = true;
        *self == Self::Bf16 && device == Device::Cpu && !has_bf16
    }
}

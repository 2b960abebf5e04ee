//! Devices by name, and what precisions mean for them.

use std::fs;

use eps_math::Precision;
use tch::{Cuda, Device, Kind, Tensor};

use crate::ModelError;
use crate::compute_error::cause;
use crate::extent::length_of;

/// The device that a name stands for: `cpu`, `cuda` (the first GPU) or `cuda:N`.
///
/// # Errors
/// [`ModelError::UnknownDevice`] for any other name, [`ModelError::CudaUnavailable`] when libtorch has no CUDA,
/// [`ModelError::NoSuchGpu`] when it finds fewer GPUs, [`ModelError::GpuUnusable`] when it cannot compute on the GPU, as
/// one sum of two numbers tries out.
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
    let count = if Cuda::is_available() { length_of(Cuda::device_count().max(0)) } else { 0 };
    if (1..=index).contains(&count) {
        return Err(ModelError::NoSuchGpu { name: name.to_owned(), last: count - 1 });
    }
    // Where there is none, the first one's absence tells why.
    match add_on(Device::Cuda(index.min(count))) {
        Ok(()) => Ok(Device::Cuda(index)),
        Err(reason) => Err(unusable(name, &reason)),
    }
}

/// Adds two numbers on a device and reads the sum.
fn add_on(device: Device) -> Result<(), String> {
    let sum = || -> Result<f64, tch::TchError> {
        let ones = Tensor::f_ones([2], (Kind::Float, device))?;
        ones.f_sum(Kind::Float)?.f_double_value(&[])
    };
    match sum() {
        Ok(2.0) => Ok(()),
        Ok(found) => Err(format!("1 + 1 is {found} there")),
        Err(error) => Err(error.to_string()),
    }
}

/// What libtorch said of a GPU, with what helps.
fn unusable(name: &str, reason: &str) -> ModelError {
    /// Words of a cause, and what helps there.
    const REMEDIES: [(&[&str], &str); 5] = [
        (
            &["driver version is insufficient", "driver on your system is too old"],
            "the driver is older than this libtorch's CUDA: update it (`nvidia-smi` prints the CUDA that it knows), or \
             build with a libtorch for that CUDA",
        ),
        (
            &["no kernel image is available"],
            "this libtorch has no kernels for the architecture of this GPU: build with one that has, or take another GPU",
        ),
        (&["out of memory"], "another program has its memory: `nvidia-smi` lists who"),
        (
            &["device(s) is/are busy or unavailable", "all CUDA-capable devices are busy"],
            "another program has it for itself: `nvidia-smi` lists who",
        ),
        (
            &[
                "no CUDA-capable device",
                "No CUDA GPUs are available",
                "no NVIDIA driver",
                "unknown error",
            ],
            "`nvidia-smi` shows whether the driver works and which GPUs it has; CUDA_VISIBLE_DEVICES hides some",
        ),
    ];
    // A libtorch for the CPU does not know the device, in several words.
    const WITHOUT: [&str; 3] =
        ["not linked with support for cuda", "Could not run", "CUDA backend"];
    let has = |words: &[&str]| words.iter().any(|words| reason.contains(words));
    if has(&WITHOUT) {
        return ModelError::CudaUnavailable(name.to_owned());
    }
    let known = REMEDIES.iter().find(|(words, _)| has(words));
    let remedy = known.map_or("`nvidia-smi` shows whether the driver works", |(_, remedy)| remedy);
    ModelError::GpuUnusable { name: name.to_owned(), reason: cause(reason), remedy }
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

    /// The fastest precision on a device whose answers are good to three digits: bf16 on an x86 processor that multiplies matrices
    /// of it (AMX) and on one of AMD with AVX-512 BF16, f32 on any other and, as it was not measured there, on a GPU.
    ///
    /// With AVX-512 BF16, networks took 0.5 to 0.9 times as long in bf16 as in f32 on an AMD EPYC, and 1.4 to 1.5 times as long on an
    /// Intel Xeon, whose instruction for it is slower.
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
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        if device == Device::Cpu && is_fast_in_bf16(&cpu) { Self::Bf16 } else { Self::F32 }
    }

    fn is_emulated(&self, device: Device) -> bool {
        #[cfg(target_arch = "x86_64")]
        let has_bf16 = std::arch::is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        let has_bf16 = true;
        *self == Self::Bf16 && device == Device::Cpu && !has_bf16
    }
}

/// Whether a processor is faster in bf16 than in f32, by the text of Linux's `/proc/cpuinfo`: with AMX, or AMD's with AVX-512 BF16.
fn is_fast_in_bf16(cpu: &str) -> bool {
    let of = |field: &str| cpu.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    let has = |flag: &str| of("flags").split_whitespace().any(|found| found == flag);
    has("amx_bf16") || (of("vendor_id").ends_with("AuthenticAMD") && has("avx512_bf16"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_that_are_fast_in_bf16_are_known() {
        let of = |vendor: &str, flags: &str| {
            is_fast_in_bf16(&format!("processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n"))
        };
        assert!(of("GenuineIntel", "fpu avx512_bf16 amx_tile amx_bf16"));
        assert!(!of("GenuineIntel", "fpu avx512_bf16 amx_tile"));
        assert!(of("AuthenticAMD", "fpu avx512f avx512_bf16 clzero"));
        assert!(!of("AuthenticAMD", "fpu avx512f clzero"));
        assert!(!is_fast_in_bf16("model name\t: amx_bf16\n") && !is_fast_in_bf16(""));
        assert_eq!(Precision::fastest(Device::Cuda(0)), Precision::F32);
    }

    /// What libtorch says, as its sources and those of CUDA have it.
    #[test]
    fn every_gpu_that_does_not_work_has_a_remedy() {
        let cases = [
            (
                "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be \
                 asynchronously reported at some other API call",
                "CUDA error: no kernel image is available for execution on the device",
                "architecture of this GPU",
            ),
            (
                "Error 35: CUDA driver version is insufficient for CUDA runtime version",
                "insufficient for CUDA runtime version",
                "update it",
            ),
            (
                "The NVIDIA driver on your system is too old (found version 11040).",
                "(found version 11040)",
                "update it",
            ),
            ("CUDA out of memory. Tried to allocate 2.00 MiB.", "2.00 MiB", "lists who"),
            (
                "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
                "busy or unavailable",
                "lists who",
            ),
            ("No CUDA GPUs are available", "No CUDA GPUs", "CUDA_VISIBLE_DEVICES"),
            ("CUDA error: an illegal instruction", "an illegal instruction", "`nvidia-smi` shows"),
        ];
        for (said, found, remedy) in cases {
            let error = unusable("cuda:1", said).to_string();
            assert!(error.starts_with("device \"cuda:1\": "), "{error}");
            assert!(error.contains(found) && error.contains(remedy), "{error}");
            assert!(!error.contains('\n') && !error.contains("asynchronously"), "{error}");
        }
    }

    #[test]
    fn a_libtorch_for_the_cpu_says_that_it_is_one() {
        add_on(Device::Cpu).unwrap();
        if !Cuda::is_available() && !tch::utils::has_cudart() {
            let reason = add_on(Device::Cuda(0)).unwrap_err();
            let error = unusable("cuda", &reason).to_string();
            assert!(error.contains("libtorch is one for the CPU"), "{reason}: {error}");
        }
    }
}

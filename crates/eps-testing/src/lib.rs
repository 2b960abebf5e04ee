//! What tests share: the devices that they run on, and where their files are.
//!
//! Two variables matter, and a third to CUDA's libraries:
//!
//! - `EPS_REQUIRE_CUDA=1`: tests of devices run on a GPU too, and fail where there is none.
//! - `EPS_SOURCE`: the folder of the repository's files, where the program runs elsewhere than it was compiled.
//! - `NVIDIA_TF32_OVERRIDE=0`: products in full f32, in which a GPU differs from the CPU by rounding alone.

use std::path::{Path, PathBuf};

use tch::{Cuda, Device};

/// The CPU, and the first GPU where `EPS_REQUIRE_CUDA=1` asks for it.
///
/// # Panics
/// If a GPU is asked for and there is none: a test that needs one fails and is not skipped.
#[must_use]
pub fn devices() -> Vec<Device> {
    if std::env::var("EPS_REQUIRE_CUDA").as_deref() != Ok("1") {
        return vec![Device::Cpu];
    }
    assert!(
        Cuda::is_available() && Cuda::device_count() > 0,
        "EPS_REQUIRE_CUDA=1, and libtorch finds no GPU: `nvidia-smi` shows whether the driver works"
    );
    vec![Device::Cpu, Device::Cuda(0)]
}

/// The largest relative error of a factor in a product of f32 numbers on a device, half a unit in its last place: 24 bits
/// of significand, or 11 where a GPU may take TF32, which it may unless `NVIDIA_TF32_OVERRIDE=0`.
#[must_use]
pub fn rounding(device: Device) -> f64 {
    let is_full = std::env::var("NVIDIA_TF32_OVERRIDE").as_deref() == Ok("0");
    if device.is_cuda() && !is_full { f64::powi(2.0, -11) } else { f64::powi(2.0, -24) }
}

/// The folder of a package, by the `CARGO_MANIFEST_DIR` that it was compiled in: below `EPS_SOURCE`, where that is set.
#[must_use]
pub fn package(compiled_in: &str) -> PathBuf {
    let compiled_in = Path::new(compiled_in);
    match (std::env::var_os("EPS_SOURCE"), compiled_in.file_name()) {
        (Some(source), Some(name)) => Path::new(&source).join("crates").join(name),
        _ => compiled_in.to_owned(),
    }
}

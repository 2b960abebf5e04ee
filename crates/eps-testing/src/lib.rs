//! What tests share: the devices that they run on, where their files are, an operator of someone else's, a group of threads,
//! and processes as torchrun starts them.
//!
//! Two variables matter, and a third to CUDA's libraries:
//!
//! - `EPS_REQUIRE_CUDA=1`: tests of devices run on a GPU too, and fail where there is none.
//! - `EPS_SOURCE`: the folder of the repository's files, where the program runs elsewhere than it was compiled.
//! - `NVIDIA_TF32_OVERRIDE=0`: products in full f32, in which a GPU differs from the CPU by rounding alone.

mod threads;
mod torchrun;

use std::path::{Path, PathBuf};

use eps_math::Shape;
use eps_math::operator::LinearMap;
use tch::{Cuda, Device};

pub use threads::together;
pub use torchrun::start_as_torchrun;

/// An operator that someone else wrote: A and Aᵀ of another one, and no eigenbasis.
#[derive(Debug)]
pub struct Own<M>(pub M);

impl<M: LinearMap> LinearMap for Own<M> {
    fn domain(&self) -> Shape {
        self.0.domain()
    }

    fn range(&self) -> Shape {
        self.0.range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.0.apply(x)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.0.adjoint(y)
    }
}

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

/// Asserts that what a device was found to differ by is within a limit; NaN is not. Of a GPU it prints both, a line that
/// begins with `cuda`, which `--nocapture` shows.
///
/// # Panics
/// If the difference is above the limit.
#[expect(clippy::print_stdout, reason = "a GPU's differences are what a run on one is for")]
pub fn assert_within(device: Device, what: &str, difference: f64, limit: f64) {
    if device.is_cuda() {
        println!("cuda: {what}: {difference:.1e}, of {limit:.1e}");
    }
    assert!(difference <= limit, "{what} on {device:?}: {difference:.2e}, more than {limit:.2e}");
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

//! The precision in which networks compute, as files and flags name it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    /// The name in files and flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no precision's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision {0:?}: use \"f32\", \"bf16\" or \"f16\"")]
pub struct UnknownPrecision(pub String);

impl FromStr for Precision {
    type Err = UnknownPrecision;

    /// Reads `f32`, `bf16` or `f16`.
    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        let named = Self::ALL.into_iter().find(|precision| precision.name() == name);
        named.ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}

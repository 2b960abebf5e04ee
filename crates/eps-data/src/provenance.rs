//! Where images come from.

use serde::{Deserialize, Serialize};

/// Where a set of images comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageProvenance {
    /// The name of the set, with its split.
    pub name: String,
    /// Who made it and where it was taken from.
    pub source: String,
    /// Under which licence.
    pub licence: String,
    /// The SHA-256 of the file it was read from, in hexadecimal.
    pub sha256: String,
}

//! Where weights come from.

use serde::{Deserialize, Serialize};

/// Where the weights of a network come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsOrigin {
    /// The publisher and the file.
    pub source: String,
    /// The SHA-256 of that file, in lower-case hexadecimal.
    pub sha256: String,
    /// What is known of the licence of the weights.
    pub licence: String,
}

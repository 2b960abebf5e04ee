//! What a result depends on beside its configuration.

use serde::{Deserialize, Serialize};

/// Program, libraries and machine of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The version of the program.
    pub eps: String,
    /// The version of libtorch that was linked; `unknown` where its files do not tell it.
    pub libtorch: String,
    /// The git revision of the sources, `-dirty` where they differed from it; none where the program was
    /// built without git or repository.
    pub revision: Option<String>,
    /// Where the networks ran.
    pub device: String,
    /// Threads of libtorch.
    pub threads: i32,
    /// The command line, with `eps` for the path of the program.
    pub command: String,
}

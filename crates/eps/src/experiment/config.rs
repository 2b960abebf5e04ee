//! The resolved configuration of a run: everything that its results depend on.

use eps_data::Provenance;
use eps_math::{Schedule, Task};
use eps_model::Precision;
use eps_sample::Solver;
use serde::Serialize;

use super::networks::NetworkFile;

/// σ_y of every task, on the scale [-1, 1].
pub(crate) const SIGMA_Y: f64 = 0.05;

/// The configuration of `eps experiment main`, as it is written to `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Config {
    /// The version of this layout, 1.
    pub(crate) format_version: u32,
    /// The experiment.
    pub(crate) experiment: &'static str,
    /// The profile that the sizes below come from, unless a flag overrides them.
    pub(crate) profile: String,
    /// The data set.
    pub(crate) dataset: Provenance,
    /// The tasks.
    pub(crate) tasks: Vec<Task>,
    /// σ_y on the scale [-1, 1].
    pub(crate) sigma_y: f64,
    /// The seed of operators, measurement noise and samples.
    pub(crate) seed: u64,
    /// Samples of each image.
    pub(crate) samples: usize,
    /// The solver of the samples.
    pub(crate) solver: Solver,
    /// Its grid of noise levels.
    pub(crate) schedule: Schedule,
    /// Network calls a sample, as in the table.
    pub(crate) calls: Vec<usize>,
    /// Network calls a sample, as in the curve of quality against NFE.
    pub(crate) curve: Vec<usize>,
    /// Samples that are drawn at once.
    pub(crate) batch: usize,
    /// The precision of the networks.
    pub(crate) precision: Precision,
    /// The SHA-256 of the file of the linear estimate's prior.
    pub(crate) moments: String,
    /// The networks.
    pub(crate) networks: Vec<NetworkFile>,
    /// The numbers of the test images.
    pub(crate) images: Vec<usize>,
}

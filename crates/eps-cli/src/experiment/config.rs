//! The resolved configuration of a run: everything that its results depend on.

use eps_data::Provenance;
use eps_math::{Schedule, Task};
use eps_model::Precision;
use eps_sample::Solver;
use serde::Serialize;

use super::contender::Contender;
use super::method::Method;
use super::networks::NetworkFile;
use super::plan::{Experiment, Setting};
use eps::feature_networks;

/// σ_y of every task, on the scale [-1, 1].
pub(crate) const SIGMA_Y: f64 = 0.05;

/// The configuration of an experiment on networks, as it is written to `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Config {
    /// The version of this layout, 2.
    pub(crate) format_version: u32,
    /// The experiment.
    pub(crate) experiment: Experiment,
    /// The profile that the sizes below come from, unless a flag overrides them.
    pub(crate) profile: String,
    /// The data set.
    pub(crate) dataset: Provenance,
    /// The measurements.
    pub(crate) settings: Vec<Setting>,
    /// The seed of operators, measurement noise and samples.
    pub(crate) seed: u64,
    /// Samples of each image.
    pub(crate) samples: usize,
    /// The solver of the samples.
    pub(crate) solver: Solver,
    /// Its grid of noise levels.
    pub(crate) schedule: Schedule,
    /// The methods of the table, then those of the curve of quality against NFE.
    pub(crate) methods: Vec<Method>,
    /// How many of them are in the table.
    pub(crate) in_table: usize,
    /// The constants of the contenders among them.
    pub(crate) constants: Vec<Constant>,
    /// Samples that are drawn at once.
    pub(crate) batch: usize,
    /// The precision of the networks.
    pub(crate) precision: Precision,
    /// The SHA-256 of the file of the linear estimate's prior, where that is computed.
    pub(crate) moments: Option<String>,
    /// The network of LPIPS and of distances between features, where it has been fetched, and the FID
    /// network, where it was named.
    pub(crate) features: Vec<feature_networks::NetworkFile>,
    /// The networks.
    pub(crate) networks: Vec<NetworkFile>,
    /// The numbers of the test images.
    pub(crate) images: Vec<usize>,
}

/// The constant of a contender for a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Constant {
    /// The method.
    pub(crate) contender: Contender,
    /// The task.
    pub(crate) task: Task,
    /// The constant's name.
    pub(crate) symbol: &'static str,
    /// Its value.
    pub(crate) value: f64,
    /// Whether it was tuned on validation images, or is that of the paper.
    pub(crate) tuned: bool,
}

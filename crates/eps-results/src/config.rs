//! The resolved configuration of a run: everything that its results depend on.

use eps_math::{Precision, Schedule, Solver, Task};
use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::experiment::{Experiment, Setting};
use crate::method::Method;
use crate::network::{FeatureFile, NetworkFile};

/// The configuration of an experiment on networks, as it is written to `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The version of this layout, 2.
    pub format_version: u32,
    /// The experiment.
    pub experiment: Experiment,
    /// The profile that the sizes below come from, unless a flag overrides them.
    pub profile: String,
    /// The data set.
    pub dataset: DataSet,
    /// The measurements.
    pub settings: Vec<Setting>,
    /// The seed of operators, measurement noise and samples.
    pub seed: u64,
    /// Samples of each image.
    pub samples: usize,
    /// The solver of the samples.
    pub solver: Solver,
    /// Its grid of noise levels; the multistep solver's is [`Solver::schedule`] of it.
    pub schedule: Schedule,
    /// The methods of the table, then those of the curve of quality against NFE.
    pub methods: Vec<Method>,
    /// How many of them are in the table.
    pub in_table: usize,
    /// The constants of the contenders among them.
    pub constants: Vec<Constant>,
    /// Samples that are drawn at once.
    pub batch: usize,
    /// The precision of the networks.
    pub precision: Precision,
    /// The SHA-256 of the file of the linear estimate's prior, where that is computed.
    pub moments: Option<String>,
    /// The network of LPIPS and of distances between features, where it has been fetched, and the FID
    /// network, where it was named.
    pub features: Vec<FeatureFile>,
    /// The networks.
    pub networks: Vec<NetworkFile>,
    /// The numbers of the test images.
    pub images: Vec<usize>,
}

/// The constant of a contender for a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// The method.
    pub contender: Contender,
    /// The task.
    pub task: Task,
    /// The constant's name.
    pub symbol: String,
    /// Its value.
    pub value: f64,
    /// Whether it was tuned on validation images, or is that of the paper.
    pub tuned: bool,
}

/// Where the images come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// The name of the set, with its split.
    pub name: String,
    /// Who made it and where it was taken from.
    pub source: String,
    /// Under which licence.
    pub licence: String,
    /// The SHA-256 of the file it was read from, in hexadecimal.
    pub sha256: String,
}

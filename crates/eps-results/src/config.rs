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
    /// That of methods whose rows were joined from runs in another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_precisions: Vec<OtherPrecision>,
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

impl Config {
    /// The precision of the networks, with the methods for which it was another.
    #[must_use]
    pub fn precisions(&self) -> String {
        let others = self.other_precisions.iter().map(|OtherPrecision { precision, methods }| {
            let methods: Vec<String> = methods.iter().map(|method| method.label()).collect();
            format!("; {} for {}", precision.name(), methods.join(" and "))
        });
        format!("{}{}", self.precision.name(), others.collect::<String>())
    }

    /// The precision in which a method asks its network.
    #[must_use]
    pub fn precision_of(&self, method: Method) -> Precision {
        let other = self.other_precisions.iter().find(|other| other.methods.contains(&method));
        other.map_or(self.precision, |other| other.precision)
    }

    /// Notes in which precision a method asks its network, where it asks one.
    pub fn set_precision(&mut self, method: Method, precision: Precision) {
        if precision == self.precision || method.calls() == 0 {
            return;
        }
        match self.other_precisions.iter_mut().find(|other| other.precision == precision) {
            Some(other) => other.methods.push(method),
            None => self.other_precisions.push(OtherPrecision { precision, methods: vec![method] }),
        }
    }
}

/// Methods for which networks computed in another precision than for the rest of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherPrecision {
    /// The precision.
    pub precision: Precision,
    /// The methods.
    pub methods: Vec<Method>,
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

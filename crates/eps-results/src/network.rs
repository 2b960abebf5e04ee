//! The networks of a run: what they are asked, for which tasks, and what is known of their files.

use std::path::PathBuf;

use eps_math::Task;
use serde::{Deserialize, Serialize};

/// The network that restores every task.
pub const ALL_TASKS: &str = "all-tasks";

/// The network of images without a measurement.
pub const PRIOR: &str = "prior";

/// What a network is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkUse {
    /// To be asked without a measurement, or at a pivot as it is.
    Prior,
    /// To be asked at the pivot of a measurement.
    Eps,
    /// To be asked at the state beside a measurement.
    Palette,
}

/// For which tasks a network was trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The network of the task.
    PerTask,
    /// The one network of all tasks.
    AllTasks,
}

impl Scope {
    /// The name of the network that restores a task.
    #[must_use]
    pub fn network(self, task: Task) -> &'static str {
        match self {
            Self::PerTask => task.name(),
            Self::AllTasks => ALL_TASKS,
        }
    }
}

/// A training, of a network or of what it started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leg {
    /// The name of the network that came out.
    pub name: String,
    /// Its steps.
    pub steps: u64,
    /// Images of a step.
    pub batch: u64,
}

/// A network's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// The name: that of its task, [`ALL_TASKS`] or [`PRIOR`], with `palette-` before it for Palette.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
    /// Where its weights come from and their licence, once it has been loaded.
    pub origin: String,
    /// Its training, once it has been loaded: the last leg first, then those of what it started from, as
    /// far as their configurations are found; empty where nothing is recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub training: Vec<Leg>,
    /// That of the module which it describes, where it is the description of a prior.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_sha256: Option<String>,
}

impl NetworkFile {
    /// The legs of its training in words, the last first.
    #[must_use]
    pub fn legs(&self) -> String {
        let leg = |leg: &Leg| format!("{} steps of {} ({})", leg.steps, leg.batch, leg.name);
        self.training.iter().map(leg).collect::<Vec<_>>().join(" after ")
    }

    /// The digests of all that its answers depend on.
    #[must_use]
    pub fn digests(&self) -> Vec<&String> {
        std::iter::once(&self.sha256).chain(&self.script_sha256).collect()
    }
}

/// The file of a network whose features are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureFile {
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Where the weights come from.
    pub source: String,
}

/// What a line of a training's `metrics.jsonl` says about the loss; it says more, which is not read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Steps done.
    pub step: u64,
    /// Mean training loss since the last line.
    pub train_loss: f64,
    /// Loss of the averaged weights on the validation images.
    pub validation_loss: f64,
}

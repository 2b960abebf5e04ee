//! What an experiment on networks leaves in `results.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::config::Config;
use crate::environment::Environment;
use crate::experiment::Setting;
use crate::margin::Margin;
use crate::method::Method;
use crate::metric::Metric;
use crate::neighbours::Neighbours;
use crate::overhead::Overhead;
use crate::row::Row;

/// The version of this layout.
pub const FORMAT_VERSION: u32 = 2;

/// The results of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// The version of this layout, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The resolved configuration.
    pub config: Config,
    /// Versions, revision, device and command.
    pub environment: Environment,
    /// Those of further runs, whose rows were added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Environment>,
    /// Seconds of the computation, those of stored cells included.
    pub seconds: f64,
    /// What EPS adds to a call at the paper's size, in the experiment `runtime`.
    pub overhead: Option<Overhead>,
    /// What the scores mean.
    pub conventions: BTreeMap<String, String>,
    /// One entry a setting.
    pub tasks: Vec<TaskResults>,
}

/// Everything that was found in one setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskResults {
    /// What was measured.
    pub setting: Setting,
    /// The name of the setting, [`Setting::name`].
    pub name: String,
    /// The rows of the table.
    pub table: Vec<Row>,
    /// The rows that only the curve shows.
    pub curve: Vec<Row>,
    /// How the samples spread, in the experiment `calibration`.
    pub calibration: Vec<Calibration>,
    /// The claims that the rows speak to.
    #[serde(rename = "claims")]
    pub margins: Vec<Margin>,
    /// The training images nearest to samples, where the training images are at hand.
    pub neighbours: Option<Neighbours>,
    /// The methods some of whose chains left the finite numbers, and where.
    pub diverged: Vec<Diverged>,
}

/// A method that has no rows, as some of its chains left the finite numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diverged {
    /// The method's name in tables.
    pub label: String,
    /// Its name in files.
    pub cell: String,
    /// Where it diverged.
    pub reason: String,
}

impl Results {
    /// The results of a run, with what their scores mean.
    #[must_use]
    pub fn new(
        config: Config,
        environment: Environment,
        seconds: f64,
        overhead: Option<Overhead>,
        tasks: Vec<TaskResults>,
    ) -> Self {
        let conventions =
            CONVENTIONS.map(|(name, meaning)| (name.to_owned(), meaning.to_owned())).into();
        let format_version = FORMAT_VERSION;
        let joined = vec![];
        Self { format_version, config, environment, joined, seconds, overhead, conventions, tasks }
    }
}

impl TaskResults {
    /// All rows, those of the table first.
    pub fn rows(&self) -> impl Iterator<Item = &Row> + Clone {
        self.table.iter().chain(&self.curve)
    }

    /// The rows of the table; where an experiment has none, those of its curve.
    #[must_use]
    pub fn shown(&self) -> &[Row] {
        if self.table.is_empty() { &self.curve } else { &self.table }
    }

    /// What is to be read with care in the rows, each score once.
    #[must_use]
    pub fn cautions(&self) -> BTreeMap<Metric, &str> {
        self.rows().flat_map(|row| &row.cautions).map(|(a, b)| (*a, b.as_str())).collect()
    }

    /// The row of a method, or of the mean of its samples, in table or curve.
    #[must_use]
    pub fn row(&self, method: Method, mean: bool) -> Option<&Row> {
        self.rows().find(|row| row.method == method && row.mean_of.is_some() == mean)
    }
}

/// What the scores mean.
const CONVENTIONS: [(&str, &str); 12] = [
    ("clipping", "every restoration is clipped to [-1, 1] before it is scored"),
    (
        "psnr_db",
        "dB, data range 2 on [-1, 1]; a seed is one sample of every image, its value the mean over images; \
         mean and standard deviation (n - 1) over seeds",
    ),
    ("ssim", "on [0, 1], Gaussian window 11x11 of sigma 1.5; mean and spread as for psnr_db"),
    (
        "energy_score",
        "on [0, 1], not normalised, pair term 1/(2 J^2) (the paper's CRPS); mean over images",
    ),
    ("energy_score_fair", "as energy_score with the pair term 1/(2 J (J - 1))"),
    ("crps_coordinate", "on [0, 1], fair pair term; mean over pixels and images"),
    ("mmd2", "unbiased, all samples of all images against all truths, kernel exp(-d^2/median d^2)"),
    (
        "calibration",
        "on [0, 1] pixels, clipped; ratios: energy score (pair term 1/(2 J^2)) of the first 10 samples over \
         the distance of their mean, sums over images, from the truth and from the 11th sample; ranks of the \
         truth among 19 samples at pixels whose samples have a standard deviation above 1/255, ties split at \
         random; central intervals end at ranks",
    ),
    (
        "features",
        "grey images repeated to three channels, small ones upsampled bilinearly to 64x64, as `eps evaluate` \
         says: mean LPIPS v0.1 of samples and their truths; Frechet distance, MMD^2 and energy score of \
         AlexNet's pooled last stage, which is not FID's network; FID and the values named inception are \
         those of the FID network, where --inception names its file",
    ),
    ("nfe", "network evaluations a sample, as counted; of all J samples in a row of means"),
    ("backward_passes", "backward passes through the network a sample, as counted"),
    ("seconds", "wall-clock seconds for each sample, or for each mean, in batches"),
];

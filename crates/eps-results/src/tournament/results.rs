//! The results of a tournament in `results.json`.

use std::collections::BTreeMap;

use eps_metrics::summary::Spread;
use serde::{Deserialize, Serialize};

use super::distance::{Distance, Distances};
use super::method::TournamentMethod;
use super::setting::TournamentSetting;
use crate::environment::Environment;

/// The name of the experiment in files and commands.
pub const EXPERIMENT: &str = "oracle";

/// The version of this layout.
pub const FORMAT_VERSION: u32 = 1;

/// The calls that the claim about EPS grants, the most that a run of Heun's method makes of them.
pub const CLAIM_CALLS: usize = 1000;

/// Standard deviations that the claim grants above the mean between exact sets.
pub const FLOOR_DEVIATIONS: f64 = 3.0;

/// What stands in place of the scores of samples that left the scale of images.
pub const BEYOND: &str = "diverged";

/// The resolved configuration of a run: everything that its results depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TournamentConfig {
    /// The version of this layout, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The experiment, [`EXPERIMENT`].
    pub experiment: String,
    /// The profile that the sizes below come from, unless a flag overrides them.
    pub profile: String,
    /// The settings.
    pub settings: Vec<TournamentSetting>,
    /// The methods.
    pub methods: Vec<TournamentMethod>,
    /// The seed of measurements, exact samples and samples.
    pub seed: u64,
    /// Measurements of each setting.
    pub measurements: usize,
    /// Samples of each measurement.
    pub samples: usize,
    /// Calls of the denoiser a sample, ascending; EPS by Heun's method makes [`CLAIM_CALLS`] as well.
    pub calls: Vec<usize>,
    /// Measurements on which constants are chosen.
    pub tuning_measurements: usize,
    /// Samples of each of them.
    pub tuning_samples: usize,
    /// Pairs of exact sets of each measurement, for the floor.
    pub floor_pairs: usize,
}

impl TournamentConfig {
    /// The numbers of calls of a method's curve.
    #[must_use]
    pub fn calls_of(&self, method: TournamentMethod) -> Vec<usize> {
        let mut calls = self.calls.clone();
        if method == TournamentMethod::EpsHeun && !calls.contains(&CLAIM_CALLS) {
            calls.push(CLAIM_CALLS);
            calls.sort_unstable();
        }
        calls
    }

    /// The largest number of calls.
    #[must_use]
    pub fn most_calls(&self) -> usize {
        self.calls.last().copied().unwrap_or(1)
    }

    /// The numbers of calls of the tables: 20, 100 and the largest, as far as they were computed.
    #[must_use]
    pub fn table_calls(&self) -> Vec<usize> {
        let most = self.most_calls();
        let wanted = |calls: &usize| [20, 100, most].contains(calls);
        self.calls.iter().copied().filter(wanted).collect()
    }
}

/// The choice of a constant at one number of calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChosenConstant {
    /// The number of calls.
    pub calls: usize,
    /// The constant that was chosen.
    pub constant: f64,
    /// The constants that were tried, ascending, with the mean of sliced W2 over the tuning
    /// measurements; none where samples left the scale of images.
    pub tried: Vec<(f64, Option<f64>)>,
}

/// A method at one number of calls, over the measurements of a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallsResults {
    /// The calls that were made, as counted.
    pub nfe: usize,
    /// The constant, of methods that have one.
    pub constant: Option<f64>,
    /// Measurements whose samples left the scale of images.
    pub diverged: usize,
    /// Mean and standard deviation over measurements, of the distances that all of them have.
    pub over_measurements: BTreeMap<Distance, Spread>,
    /// The distances of each measurement; none where samples left the scale of images.
    pub scores: Vec<Option<Distances>>,
}

/// A method in a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodResults {
    /// The method.
    pub method: TournamentMethod,
    /// The method's name in tables when it was written.
    pub label: String,
    /// The name of its constant, of methods that have one here.
    pub tuned: Option<String>,
    /// How its constant was chosen; empty without one.
    pub tuning: Vec<ChosenConstant>,
    /// One entry for each of [`TournamentConfig::calls_of`], in that order.
    pub curve: Vec<CallsResults>,
}

/// The claim: samples of EPS with Heun's method and [`CLAIM_CALLS`] are as close to exact samples as
/// these are to each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReachClaim {
    /// Calls a sample.
    pub nfe: usize,
    /// Sliced W2 of EPS, the mean over measurements.
    pub sliced_w2: Option<f64>,
    /// The mean over measurements between two exact sets.
    pub floor: f64,
    /// The floor plus [`FLOOR_DEVIATIONS`] standard deviations of a mean over the measurements of one pair of
    /// exact sets each, which is what sliced W2 is a mean of.
    pub bound: f64,
    /// Whether sliced W2 is at most the bound.
    pub holds: bool,
}

impl ReachClaim {
    /// The claim and its verdict in words.
    #[must_use]
    pub fn sentence(&self) -> String {
        let found = self.sliced_w2.map_or_else(|| BEYOND.to_owned(), |value| format!("{value:.4}"));
        let verdict = if self.holds { "holds" } else { "FAILS" };
        format!(
            "EPS, Heun, {} calls: sliced W2 {found}, exact sets {:.4}, claimed ≤ {:.4}: {verdict}",
            self.nfe, self.floor, self.bound
        )
    }
}

/// Everything that was found in one setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TournamentSettingResults {
    /// The setting.
    pub setting: TournamentSetting,
    /// Its name in tables when it was written.
    pub label: String,
    /// Mean and standard deviation of the distances between pairs of exact sets.
    pub floor: BTreeMap<Distance, Spread>,
    /// One entry a method.
    pub methods: Vec<MethodResults>,
    /// The claim about EPS, where it was among the methods.
    pub claim: Option<ReachClaim>,
}

impl TournamentSettingResults {
    /// A method's results, where it took part.
    #[must_use]
    pub fn method(&self, method: TournamentMethod) -> Option<&MethodResults> {
        self.methods.iter().find(|found| found.method == method)
    }
}

/// The results of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TournamentResults {
    /// The version of this layout, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The resolved configuration.
    pub config: TournamentConfig,
    /// Versions, revision, device and command.
    pub environment: Environment,
    /// What the scores mean.
    pub conventions: BTreeMap<String, String>,
    /// One entry a setting.
    pub settings: Vec<TournamentSettingResults>,
}

impl TournamentResults {
    /// The results of a run, with what their scores mean.
    #[must_use]
    pub fn new(
        config: TournamentConfig,
        environment: Environment,
        settings: Vec<TournamentSettingResults>,
    ) -> Self {
        let conventions =
            CONVENTIONS.map(|(name, meaning)| (name.to_owned(), meaning.to_owned())).into();
        Self { format_version: FORMAT_VERSION, config, environment, conventions, settings }
    }

    /// The groups of settings in order of appearance.
    #[must_use]
    pub fn groups(&self) -> Vec<(String, Vec<&TournamentSettingResults>)> {
        let mut groups: Vec<(String, Vec<&TournamentSettingResults>)> = Vec::new();
        for results in &self.settings {
            let name = results.setting.group();
            match groups.iter_mut().find(|(known, _)| *known == name) {
                Some((_, members)) => members.push(results),
                None => groups.push((name, vec![results])),
            }
        }
        groups
    }

    /// What a method has in a setting at some calls that were asked for.
    #[must_use]
    pub fn at<'a>(
        &self,
        setting: &'a TournamentSettingResults,
        method: TournamentMethod,
        calls: usize,
    ) -> Option<&'a CallsResults> {
        let place = self.config.calls_of(method).iter().position(|known| *known == calls)?;
        setting.method(method)?.curve.get(place)
    }
}

/// What the scores mean.
const CONVENTIONS: [(&str, &str); 11] = [
    (
        "sliced_w2",
        "sliced Wasserstein-2 distance to as many exact samples, 128 fixed directions, over the \
         root-mean-square deviation of a coordinate under the exact posterior",
    ),
    ("mmd2", "unbiased, to exact samples, the first 500 of each, kernel exp(-d^2/median d^2)"),
    (
        "mean_error",
        "Euclidean distance of the mean to the exact posterior's, over the root of the trace of its \
         covariance",
    ),
    (
        "covariance_error",
        "Frobenius norm of the difference (divided by N) to the exact posterior's covariance, over the norm \
         of that",
    ),
    (
        "mode_error",
        "total variation between the mean probabilities of the prior's components given a sample and the \
         exact posterior's weights; mixtures only",
    ),
    (
        "floor",
        "the same between independent sets of exact samples of the same size; of moments and weights against \
         the exact ones",
    ),
    (
        "spread",
        "mean and standard deviation (n - 1) over measurements; of the floor over its pairs on all \
         measurements",
    ),
    (
        "claim",
        "sliced W2 of EPS, a mean over measurements, at most that between exact sets plus three standard \
         deviations of a mean over measurements of one pair of exact sets each",
    ),
    ("diverged", "measurements whose samples are not finite or beyond 1000 in a coordinate"),
    ("nfe", "evaluations of the denoiser a sample, as counted; ΠGDM and DPS differentiate each"),
    (
        "tuning",
        "the constant with the least mean of sliced W2 over measurements of their own: the whole grid at the \
         fewest calls, from then on downhill from the last choice",
    ),
];

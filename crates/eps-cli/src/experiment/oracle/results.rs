//! The results of a tournament, in memory and in files.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use eps_metrics::summary::Spread;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::judge::{Metric, Score};
use super::method::Method;
use super::setting::Setting;
use crate::experiment::results::write_json;

/// The resolved configuration of a run: everything that its results depend on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Config {
    /// The version of this layout, 1.
    pub(crate) format_version: u32,
    /// The experiment.
    pub(crate) experiment: &'static str,
    /// The profile that the sizes below come from, unless a flag overrides them.
    pub(crate) profile: String,
    /// The settings.
    pub(crate) settings: Vec<Setting>,
    /// The methods.
    pub(crate) methods: Vec<Method>,
    /// The seed of measurements, exact samples and samples.
    pub(crate) seed: u64,
    /// Measurements of each setting.
    pub(crate) measurements: usize,
    /// Samples of each measurement.
    pub(crate) samples: usize,
    /// Calls of the denoiser a sample, ascending; EPS by Heun's method makes [`CLAIM_CALLS`] as well.
    pub(crate) calls: Vec<usize>,
    /// Measurements on which constants are chosen.
    pub(crate) tuning_measurements: usize,
    /// Samples of each of them.
    pub(crate) tuning_samples: usize,
    /// Pairs of exact sets of each measurement, for the floor.
    pub(crate) floor_pairs: usize,
}

impl Config {
    /// The numbers of calls of a method's curve.
    pub(crate) fn calls_of(&self, method: Method) -> Vec<usize> {
        let mut calls = self.calls.clone();
        if method == Method::EpsHeun && !calls.contains(&CLAIM_CALLS) {
            calls.push(CLAIM_CALLS);
            calls.sort_unstable();
        }
        calls
    }
}

/// One number of calls of one method on one measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Point {
    /// The calls that were asked for.
    pub(crate) calls: usize,
    /// The calls that were made, as counted.
    pub(crate) nfe: usize,
    /// The constant, of methods that have one.
    pub(crate) constant: Option<f64>,
    /// The scores; none where samples left the scale of images.
    pub(crate) score: Option<Score>,
    /// The first samples as (a, b), where they are kept for the pictures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) samples: Vec<[f32; 2]>,
}

/// The choice of a constant at one number of calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Choice {
    /// The number of calls.
    pub(crate) calls: usize,
    /// The constant that was chosen.
    pub(crate) constant: f64,
    /// The constants that were tried, ascending, with the mean of sliced W2 over the tuning
    /// measurements; none where samples left the scale of images.
    pub(crate) tried: Vec<(f64, Option<f64>)>,
}

/// A method in a setting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    /// The method.
    pub(crate) method: Method,
    /// How its constant was chosen; empty without one.
    pub(crate) choices: Vec<Choice>,
    /// The points of each measurement.
    pub(crate) points: Vec<Vec<Point>>,
}

impl Curve {
    /// The points of all measurements at one number of calls.
    pub(crate) fn at(&self, calls: usize) -> impl Iterator<Item = &Point> {
        self.points.iter().flatten().filter(move |point| point.calls == calls)
    }

    /// The calls that were made where `calls` were asked for.
    pub(crate) fn nfe(&self, calls: usize) -> usize {
        self.at(calls).map(|point| point.nfe).next().unwrap_or(calls)
    }

    /// A metric over the measurements; none where a measurement's samples have no scores or the
    /// metric does not apply.
    pub(crate) fn spread(&self, calls: usize, metric: Metric) -> Option<Spread> {
        let values: Option<Vec<f64>> =
            self.at(calls).map(|point| metric.of(point.score.as_ref()?)).collect();
        Spread::of(&values?).ok()
    }
}

/// Exact samples of one measurement in the plane, for the pictures.
pub(crate) type Cloud = Vec<[f32; 2]>;

/// Everything that was computed in one setting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SettingResults {
    /// The setting.
    pub(crate) setting: Setting,
    /// The scores of pairs of exact sets.
    pub(crate) floor: Vec<Score>,
    /// One curve a method.
    pub(crate) curves: Vec<Curve>,
    /// Exact samples of the first measurement, in the plane.
    pub(crate) exact: Option<Cloud>,
}

impl SettingResults {
    /// A metric between pairs of exact sets; none where it does not apply.
    pub(crate) fn floor(&self, metric: Metric) -> Option<Spread> {
        let values: Option<Vec<f64>> = self.floor.iter().map(|score| metric.of(score)).collect();
        Spread::of(&values?).ok()
    }

    /// The claim about EPS in this setting.
    pub(crate) fn claim(&self) -> Option<Claim> {
        let curve = self.curves.iter().find(|curve| curve.method == Method::EpsHeun)?;
        let of_measurements = self
            .floor
            .chunks(self.floor.len() / curve.points.len().max(1))
            .map(|pairs| {
                let values: Option<Vec<f64>> =
                    pairs.iter().map(|score| Metric::SlicedW2.of(score)).collect();
                Spread::of(&values?).ok()
            })
            .collect::<Option<Vec<_>>>()?;
        let count = of_measurements.len() as f64;
        let floor = of_measurements.iter().map(|spread| spread.mean).sum::<f64>() / count;
        let variance: f64 = of_measurements
            .iter()
            .map(|spread| spread.standard_deviation.unwrap_or(0.0).powi(2))
            .sum();
        let bound = floor + FLOOR_DEVIATIONS * variance.sqrt() / count;
        let found = curve.spread(CLAIM_CALLS, Metric::SlicedW2);
        Some(Claim {
            nfe: curve.nfe(CLAIM_CALLS),
            sliced_w2: found.map(|spread| spread.mean),
            floor,
            bound,
            holds: found.is_some_and(|spread| spread.mean <= bound),
        })
    }
}

/// The calls that the claim about EPS grants, the most that a run of Heun's method makes of them.
pub(crate) const CLAIM_CALLS: usize = 1000;

/// Standard deviations that the claim grants above the mean between exact sets.
pub(crate) const FLOOR_DEVIATIONS: f64 = 3.0;

/// The claim: samples of EPS with Heun's method and [`CLAIM_CALLS`] are as close to exact samples as
/// these are to each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Claim {
    /// Calls a sample.
    pub(crate) nfe: usize,
    /// Sliced W2 of EPS, the mean over measurements.
    pub(crate) sliced_w2: Option<f64>,
    /// The mean over measurements between two exact sets.
    pub(crate) floor: f64,
    /// The floor plus [`FLOOR_DEVIATIONS`] standard deviations of a mean over the measurements of one pair of
    /// exact sets each, which is what sliced W2 is a mean of.
    pub(crate) bound: f64,
    /// Whether sliced W2 is at most the bound.
    pub(crate) holds: bool,
}

impl Claim {
    /// The claim and its verdict in words.
    pub(crate) fn sentence(&self) -> String {
        let found = self.sliced_w2.map_or_else(|| BEYOND.to_owned(), |value| format!("{value:.4}"));
        let verdict = if self.holds { "holds" } else { "FAILS" };
        format!(
            "EPS, Heun, {} calls: sliced W2 {found}, exact sets {:.4}, claimed ≤ {:.4}: {verdict}",
            self.nfe, self.floor, self.bound
        )
    }
}

/// What stands in place of the scores of samples that left the scale of images.
pub(crate) const BEYOND: &str = "diverged";

/// The results of a run.
#[derive(Debug)]
pub(crate) struct Results {
    /// The resolved configuration.
    pub(crate) config: Config,
    /// Versions, revision, device and command.
    pub(crate) environment: Value,
    /// One entry a setting.
    pub(crate) settings: Vec<SettingResults>,
}

impl Results {
    /// The largest number of calls.
    pub(crate) fn most_calls(&self) -> usize {
        self.config.calls.last().copied().unwrap_or(1)
    }

    /// The numbers of calls of the tables: 20, 100 and the largest, as far as they were computed.
    pub(crate) fn table_calls(&self) -> Vec<usize> {
        let most = self.most_calls();
        let wanted = |calls: &usize| [20, 100, most].contains(calls);
        self.config.calls.iter().copied().filter(wanted).collect()
    }

    /// The groups of settings in order of appearance.
    pub(crate) fn groups(&self) -> Vec<(String, Vec<&SettingResults>)> {
        let mut groups: Vec<(String, Vec<&SettingResults>)> = Vec::new();
        for results in &self.settings {
            let name = results.setting.group();
            match groups.iter_mut().find(|(known, _)| *known == name) {
                Some((_, members)) => members.push(results),
                None => groups.push((name, vec![results])),
            }
        }
        groups
    }

    /// Writes `results.json`: configuration, versions, the choice of constants, and every score.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let settings: Vec<Value> = self.settings.iter().map(setting_json).collect();
        let record = json!({
            "format_version": 1,
            "config": self.config,
            "environment": self.environment,
            "conventions": conventions(),
            "settings": settings,
        });
        write_json(path, &record)
    }
}

fn setting_json(results: &SettingResults) -> Value {
    let spreads = |of: &dyn Fn(Metric) -> Option<Spread>| {
        Metric::ALL
            .into_iter()
            .filter_map(|metric| {
                let name = serde_json::to_value(metric).ok()?.as_str()?.to_owned();
                Some((name, of(metric)?))
            })
            .collect::<BTreeMap<String, Spread>>()
    };
    let curve = |curve: &Curve| {
        let calls: Vec<usize> =
            curve.points.first().into_iter().flatten().map(|point| point.calls).collect();
        let points: Vec<Value> = calls
            .iter()
            .map(|calls| {
                let constant = curve.at(*calls).find_map(|point| point.constant);
                let scores: Vec<&Option<Score>> =
                    curve.at(*calls).map(|point| &point.score).collect();
                json!({
                    "nfe": curve.nfe(*calls),
                    "constant": constant,
                    "diverged": scores.iter().filter(|score| score.is_none()).count(),
                    "over_measurements": spreads(&|metric| curve.spread(*calls, metric)),
                    "scores": scores,
                })
            })
            .collect();
        json!({
            "method": curve.method,
            "label": curve.method.label(),
            "tuned": curve.method.tuned(&results.setting).map(|tuned| tuned.symbol),
            "tuning": curve.choices,
            "curve": points,
        })
    };
    json!({
        "setting": results.setting,
        "label": results.setting.label(),
        "floor": spreads(&|metric| results.floor(metric)),
        "methods": results.curves.iter().map(curve).collect::<Vec<_>>(),
        "claim": results.claim(),
    })
}

/// What the scores mean.
fn conventions() -> Value {
    json!({
        "sliced_w2": "sliced Wasserstein-2 distance to as many exact samples, 128 fixed directions, \
            over the root-mean-square deviation of a coordinate under the exact posterior",
        "mmd2": "unbiased, to exact samples, the first 500 of each, kernel exp(-d^2/median d^2)",
        "mean_error": "Euclidean distance of the mean to the exact posterior's, over the root of the \
            trace of its covariance",
        "covariance_error": "Frobenius norm of the difference (divided by N) to the exact posterior's \
            covariance, over the norm of that",
        "mode_error": "total variation between the mean probabilities of the prior's components given \
            a sample and the exact posterior's weights; mixtures only",
        "floor": "the same between independent sets of exact samples of the same size; of moments and \
            weights against the exact ones",
        "spread": "mean and standard deviation (n - 1) over measurements; of the floor over its pairs \
            on all measurements",
        "claim": "sliced W2 of EPS, a mean over measurements, at most that between exact sets plus three \
            standard deviations of a mean over measurements of one pair of exact sets each",
        "diverged": "measurements whose samples are not finite or beyond 1000 in a coordinate",
        "nfe": "evaluations of the denoiser a sample, as counted; ΠGDM and DPS differentiate each",
        "tuning": "the constant with the least mean of sliced W2 over measurements of their own: the \
            whole grid at the fewest calls, from then on downhill from the last choice",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::oracle::setting::{Law, Space};

    fn score(sliced_w2: f64) -> Score {
        Score { sliced_w2, mmd2: 0.0, mean_error: 0.1, covariance_error: 0.1, mode_error: None }
    }

    fn results(of_eps: &[Option<f64>]) -> SettingResults {
        let point = |value: &Option<f64>| Point {
            calls: CLAIM_CALLS,
            nfe: 999,
            constant: None,
            score: value.map(score),
            samples: Vec::new(),
        };
        let points = of_eps.iter().map(|value| vec![point(value)]).collect();
        let curve = Curve { method: Method::EpsHeun, choices: Vec::new(), points };
        let (space, law) = (Space::Plane, Law::Gaussian);
        SettingResults {
            setting: Setting { space, law, task: None, sigma_y: 0.2 },
            // Three pairs on each measurement.
            floor: [0.1, 0.2, 0.3].map(score).repeat(of_eps.len()),
            curves: vec![curve],
            exact: None,
        }
    }

    #[test]
    fn a_claim_compares_with_the_floor() {
        // The floor of each is 0.2 ± 0.1, that of a mean of two 0.2 ± 0.1/√2: up to 0.412 holds.
        let claim = |of_eps: &[Option<f64>]| results(of_eps).claim().unwrap();
        let holds = claim(&[Some(0.4), Some(0.42)]);
        assert!(holds.holds && (holds.bound - 0.2 - 0.3 / 2f64.sqrt()).abs() < 1e-12);
        assert_eq!(holds.nfe, 999);
        assert!(holds.sentence().ends_with("claimed ≤ 0.4121: holds"), "{}", holds.sentence());
        assert!(!claim(&[Some(0.4), Some(0.44)]).holds);
        let diverged = claim(&[Some(0.4), None]);
        assert!(!diverged.holds && diverged.sentence().contains("sliced W2 diverged"));
    }

    #[test]
    fn the_record_has_spreads_and_counts_what_diverged() {
        let value = setting_json(&results(&[Some(0.4), None]));
        assert_eq!(value["methods"][0]["curve"][0]["diverged"], 1);
        assert!(value["methods"][0]["curve"][0]["over_measurements"]["sliced_w2"].is_null());
        assert_eq!(value["floor"]["sliced_w2"]["n"], 6);
        assert!(value["floor"]["mode_error"].is_null());
    }
}

//! The scores of a tournament, measurement by measurement, and what is written of them.

use std::collections::BTreeMap;

use eps_metrics::summary::Spread;
use eps_results::tournament::{
    CLAIM_CALLS, CallsResults, ChosenConstant, Distance, Distances, FLOOR_DEVIATIONS,
    MethodResults, ReachClaim, TournamentMethod, TournamentSetting, TournamentSettingResults,
};
use serde::{Deserialize, Serialize};

use super::question::tuned;

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
    pub(crate) score: Option<Distances>,
    /// The first samples as (a, b), where they are kept for the pictures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) samples: Vec<[f32; 2]>,
}

/// A method in a setting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    /// The method.
    pub(crate) method: TournamentMethod,
    /// How its constant was chosen; empty without one.
    pub(crate) choices: Vec<ChosenConstant>,
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

    /// A distance over the measurements; none where a measurement's samples have no scores or the
    /// distance does not apply.
    pub(crate) fn spread(&self, calls: usize, distance: Distance) -> Option<Spread> {
        let values: Option<Vec<f64>> =
            self.at(calls).map(|point| distance.of(point.score.as_ref()?)).collect();
        Spread::of(&values?).ok()
    }
}

/// Exact samples of one measurement in the plane, for the pictures.
pub(crate) type Cloud = Vec<[f32; 2]>;

/// Everything that was computed in one setting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScoredSetting {
    /// The setting.
    pub(crate) setting: TournamentSetting,
    /// The scores of pairs of exact sets.
    pub(crate) floor: Vec<Distances>,
    /// One curve a method.
    pub(crate) curves: Vec<Curve>,
}

impl ScoredSetting {
    /// A distance between pairs of exact sets; none where it does not apply.
    pub(crate) fn floor(&self, distance: Distance) -> Option<Spread> {
        let values: Option<Vec<f64>> = self.floor.iter().map(|score| distance.of(score)).collect();
        Spread::of(&values?).ok()
    }

    /// The claim about EPS in this setting.
    pub(crate) fn claim(&self) -> Option<ReachClaim> {
        let curve = self.curves.iter().find(|curve| curve.method == TournamentMethod::EpsHeun)?;
        let of_measurements = self
            .floor
            .chunks(self.floor.len() / curve.points.len().max(1))
            .map(|pairs| {
                let values: Option<Vec<f64>> =
                    pairs.iter().map(|score| Distance::SlicedW2.of(score)).collect();
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
        let found = curve.spread(CLAIM_CALLS, Distance::SlicedW2);
        Some(ReachClaim {
            nfe: curve.nfe(CLAIM_CALLS),
            sliced_w2: found.map(|spread| spread.mean),
            floor,
            bound,
            holds: found.is_some_and(|spread| spread.mean <= bound),
        })
    }

    /// What is written of it.
    pub(crate) fn record(&self) -> TournamentSettingResults {
        let spreads = |of: &dyn Fn(Distance) -> Option<Spread>| -> BTreeMap<Distance, Spread> {
            Distance::ALL
                .into_iter()
                .filter_map(|distance| Some((distance, of(distance)?)))
                .collect()
        };
        let calls_of = |curve: &Curve, calls: usize| {
            let scores: Vec<Option<Distances>> = curve.at(calls).map(|point| point.score).collect();
            CallsResults {
                nfe: curve.nfe(calls),
                constant: curve.at(calls).find_map(|point| point.constant),
                diverged: scores.iter().filter(|score| score.is_none()).count(),
                over_measurements: spreads(&|distance| curve.spread(calls, distance)),
                scores,
            }
        };
        let method_of = |curve: &Curve| {
            let points = curve.points.first().into_iter().flatten();
            MethodResults {
                method: curve.method,
                label: curve.method.label().to_owned(),
                tuned: tuned(curve.method, &self.setting).map(|tuned| tuned.symbol.to_owned()),
                tuning: curve.choices.clone(),
                curve: points.map(|point| calls_of(curve, point.calls)).collect(),
            }
        };
        TournamentSettingResults {
            setting: self.setting,
            label: self.setting.label(),
            floor: spreads(&|distance| self.floor(distance)),
            methods: self.curves.iter().map(method_of).collect(),
            claim: self.claim(),
        }
    }
}

#[cfg(test)]
mod tests {
    use eps_results::tournament::{PriorLaw, Space};

    use super::*;

    fn score(sliced_w2: f64) -> Distances {
        Distances { sliced_w2, mmd2: 0.0, mean_error: 0.1, covariance_error: 0.1, mode_error: None }
    }

    fn results(of_eps: &[Option<f64>]) -> ScoredSetting {
        let point = |value: &Option<f64>| Point {
            calls: CLAIM_CALLS,
            nfe: 999,
            constant: None,
            score: value.map(score),
            samples: Vec::new(),
        };
        let points = of_eps.iter().map(|value| vec![point(value)]).collect();
        let curve = Curve { method: TournamentMethod::EpsHeun, choices: Vec::new(), points };
        let (space, law) = (Space::Plane, PriorLaw::Gaussian);
        ScoredSetting {
            setting: TournamentSetting { space, law, task: None, sigma_y: 0.2, border: None },
            // Three pairs on each measurement.
            floor: [0.1, 0.2, 0.3].map(score).repeat(of_eps.len()),
            curves: vec![curve],
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
        let record = results(&[Some(0.4), None]).record();
        let point = &record.methods[0].curve[0];
        assert_eq!((point.diverged, point.scores.len()), (1, 2));
        assert!(!point.over_measurements.contains_key(&Distance::SlicedW2));
        assert_eq!(record.floor[&Distance::SlicedW2].n, 6);
        assert!(!record.floor.contains_key(&Distance::ModeError));
    }
}

//! The computation, cell by cell: floors, constants, curves.

use std::path::Path;

use eps_files::sha256_file;
use eps_math::nearest_f32;
use eps_results::Environment;
use eps_results::tournament::{
    ChosenConstant, Distances, Space, TournamentConfig, TournamentMethod, TournamentSetting,
    TournamentSettingResults,
};
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::judge::Judge;
use super::posed::{Posed, Purpose, draw};
use super::question::{Question, TunedConstant, tuned};
use super::scored::{Cloud, Curve, Point, ScoredSetting};
use crate::error::{During as _, ExperimentError, Result};
use crate::listener::Listener;
use crate::store::Store;

/// Samples of the plane that are kept for the pictures.
const SHOWN: usize = 500;

/// The number of the set of exact samples that all methods are compared with.
const REFERENCE: u64 = 0;

/// A tournament that is being computed.
#[derive(Debug)]
pub struct Tournament<'a> {
    config: &'a TournamentConfig,
    environment: &'a Environment,
    listener: &'a dyn Listener,
    program: String,
    store: Store,
}

/// Samples (a, b) of the first measurement of a setting in the plane, for the pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaneSamples {
    /// Of the exact posterior.
    pub exact: Vec<[f32; 2]>,
    /// Of each method at the most calls.
    pub of_methods: Vec<(TournamentMethod, Vec<[f32; 2]>)>,
}

impl PlaneSamples {
    fn of(exact: Cloud, scored: &ScoredSetting, calls: usize) -> Self {
        let samples = |curve: &Curve| {
            let mut points = curve.points.first()?.iter();
            let point = points.find(|point| point.calls == calls)?;
            Some((curve.method, point.samples.clone()))
        };
        Self { exact, of_methods: scored.curves.iter().filter_map(samples).collect() }
    }
}

/// The scores of pairs of exact sets of one measurement.
type Floor = Vec<Distances>;

impl<'a> Tournament<'a> {
    /// Opens the store of cells.
    ///
    /// # Errors
    /// A folder that cannot be made, a program that cannot be read.
    pub fn open(
        config: &'a TournamentConfig,
        environment: &'a Environment,
        out: &Path,
        listener: &'a dyn Listener,
    ) -> Result<Self> {
        let program = std::env::current_exe().map_err(ExperimentError::Program)?;
        let program = sha256_file(&program)?;
        let store = Store::open(out.join("cells"))?;
        Ok(Self { config, environment, listener, program, store })
    }

    /// Everything that a cell depends on, beside what it is.
    fn key(&self, setting: &TournamentSetting, what: Value) -> Value {
        json!({
            "program": self.program,
            "device": self.environment.device,
            "seed": self.config.seed,
            "setting": setting,
            "calls": self.config.calls,
            "what": what,
        })
    }

    /// Computes what is not stored yet.
    ///
    /// # Errors
    /// Those of the samplers, and cells that cannot be written.
    pub fn compute(&self) -> Result<Vec<(TournamentSettingResults, Option<PlaneSamples>)>> {
        let TournamentConfig { settings, measurements, .. } = self.config;
        let cells_of = |setting: &TournamentSetting| {
            let tunings = self.methods(setting).filter(|m| tuned(*m, setting).is_some()).count();
            (self.methods(setting).count() + 1) * measurements + tunings
        };
        let cells: usize = settings.iter().map(cells_of).sum();
        self.listener.begin(cells as u64, "cells");
        // Settings side by side: no cell shares a tensor with another.
        let results =
            settings.par_iter().map(|setting| self.setting(setting)).collect::<Result<_>>();
        self.listener.finish();
        results
    }

    /// The methods that take part in a setting: where no eigenbasis is known, those of EPS. The others' functions of AᵀA would be iterated
    /// for every sample and step, and for every constant that is tried: hours for what says nothing of the pivot.
    fn methods(&self, setting: &TournamentSetting) -> impl Iterator<Item = TournamentMethod> {
        let is_iterated = setting.border.is_some();
        let takes_part = move |method: &TournamentMethod| {
            !(is_iterated && matches!(method, TournamentMethod::Contender(_)))
        };
        self.config.methods.iter().copied().filter(takes_part)
    }

    fn setting(
        &self,
        setting: &TournamentSetting,
    ) -> Result<(TournamentSettingResults, Option<PlaneSamples>)> {
        let measurements = self.config.measurements as u64;
        let posed = (0..measurements)
            .map(|index| draw(setting, Purpose::Test, self.config.seed, index))
            .collect::<Result<Vec<_>>>()?;
        let mut floor = Vec::new();
        for (index, posed) in posed.iter().enumerate() {
            let key = json!(["floor", index, self.config.samples, self.config.floor_pairs]);
            let what = format!("floor.{index}");
            let of_one: Floor = self.cell(setting, &what, key, &|| self.floor(posed))?;
            floor.extend(of_one);
        }
        let mut curves = Vec::new();
        for method in self.methods(setting) {
            let choices = match tuned(method, setting) {
                None => Vec::new(),
                Some(constant) => {
                    let TournamentConfig { tuning_measurements, tuning_samples, .. } = self.config;
                    let key = json!(["tuning", method, tuning_measurements, tuning_samples]);
                    let what = format!("{}.tuning", method.name());
                    let tune = || self.tune(setting, method, &constant);
                    self.cell(setting, &what, key, &tune)?
                }
            };
            let mut points = Vec::new();
            for (index, posed) in posed.iter().enumerate() {
                let key = json!(["curve", method, index, self.config.samples, choices]);
                let what = format!("{}.{index}", method.name());
                let keep = setting.space == Space::Plane && index == 0;
                let curve = || self.curve(posed, method, &choices, keep);
                points.push(self.cell(setting, &what, key, &curve)?);
            }
            curves.push(Curve { method, choices, points });
        }
        let exact = (setting.space == Space::Plane)
            .then(|| posed.first().map(|posed| cloud(&posed.exact_samples(SHOWN, REFERENCE))))
            .flatten();
        let scored = ScoredSetting { setting: *setting, floor, curves };
        let most = self.config.most_calls();
        Ok((scored.record(), exact.map(|exact| PlaneSamples::of(exact, &scored, most))))
    }

    /// A cell from the store, or computed and stored.
    fn cell<T: Serialize + DeserializeOwned>(
        &self,
        setting: &TournamentSetting,
        what: &str,
        key: Value,
        compute: &dyn Fn() -> Result<T>,
    ) -> Result<T> {
        let name = format!("{}.{what}", setting.slug());
        let key = self.key(setting, key);
        if let Some(cell) = self.store.load(&name, &key) {
            self.listener.skip();
            return Ok(cell);
        }
        let says = format!("{}: {what}", setting.label());
        self.listener.start(&says);
        let cell = compute().during(|| says.clone())?;
        self.store.store(&name, &key, &cell)?;
        self.listener.advance(1);
        self.listener.done(&says);
        Ok(cell)
    }

    /// The scores of pairs of independent exact sets.
    fn floor(&self, posed: &Posed) -> Result<Floor> {
        let judge = Judge::new(posed)?;
        let set = |number: usize| posed.exact_samples(self.config.samples, 1 + number as u64);
        let pair = |pair: usize| {
            let score = judge.score(&set(2 * pair), &set(2 * pair + 1))?;
            score.ok_or(ExperimentError::ExactSample)
        };
        (0..self.config.floor_pairs).map(pair).collect()
    }

    /// Chooses a method's constant at each number of calls.
    fn tune(
        &self,
        setting: &TournamentSetting,
        method: TournamentMethod,
        tuned: &TunedConstant,
    ) -> Result<Vec<ChosenConstant>> {
        let count = self.config.tuning_samples;
        let posed = (0..self.config.tuning_measurements as u64)
            .map(|index| draw(setting, Purpose::Tuning, self.config.seed, index))
            .collect::<Result<Vec<_>>>()?;
        let examples = posed
            .iter()
            .map(|posed| {
                let question = Question::new(posed, count)?;
                Ok((question, Judge::new(posed)?, posed.exact_samples(count, REFERENCE)))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut choices: Vec<ChosenConstant> = Vec::new();
        let mut last = None;
        for calls in self.config.calls.iter().copied() {
            if calls > tuned.up_to && !choices.is_empty() {
                break;
            }
            let distance = |index: usize| -> Result<f64> {
                let mut sum = 0.0;
                for (question, judge, exact) in &examples {
                    let drawn = question.draw(method, calls, Some(tuned.grid[index]))?;
                    sum += match drawn.samples {
                        Some(samples) => judge.sliced_w2(&samples, exact)?,
                        None => f64::INFINITY,
                    };
                }
                Ok(sum / examples.len() as f64)
            };
            let tried = descend(tuned.grid.len(), last, &distance)?;
            let best = tried.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |best| best.0);
            last = Some(best);
            let tried = tried
                .into_iter()
                .map(|(index, value)| (tuned.grid[index], value.is_finite().then_some(value)))
                .collect();
            choices.push(ChosenConstant { calls, constant: tuned.grid[best], tried });
        }
        Ok(choices)
    }

    /// The points of a method on one measurement.
    fn curve(
        &self,
        posed: &Posed,
        method: TournamentMethod,
        choices: &[ChosenConstant],
        keep: bool,
    ) -> Result<Vec<Point>> {
        let judge = Judge::new(posed)?;
        let question = Question::new(posed, self.config.samples)?;
        let exact = posed.exact_samples(self.config.samples, REFERENCE);
        let point = |calls: &usize| {
            let constant = constant(choices, *calls);
            let drawn = question.draw(method, *calls, constant)?;
            let score = match &drawn.samples {
                Some(samples) => judge.score(samples, &exact)?,
                None => None,
            };
            let shown = drawn.samples.filter(|_| keep).unwrap_or_default();
            let samples = cloud(&shown[..shown.len().min(2 * SHOWN)]);
            Ok(Point { calls: *calls, nfe: drawn.nfe, constant, score, samples })
        };
        self.config.calls_of(method).iter().map(point).collect()
    }
}

/// The constant for a number of calls: that of the most calls up to it.
fn constant(choices: &[ChosenConstant], calls: usize) -> Option<f64> {
    choices.iter().rev().find(|choice| choice.calls <= calls).map(|choice| choice.constant)
}

/// The (a, b) of samples in the plane that are finite.
fn cloud(samples: &[f64]) -> Cloud {
    let finite = |pair: &&[f64; 2]| pair.iter().all(|v| v.is_finite());
    samples.as_chunks::<2>().0.iter().filter(finite).map(|pair| pair.map(nearest_f32)).collect()
}

/// Values of a function on indices below `length`, ascending: all of them, or from a start downhill
/// as far as a neighbour is lower.
fn descend(
    length: usize,
    start: Option<usize>,
    value: &dyn Fn(usize) -> Result<f64>,
) -> Result<Vec<(usize, f64)>> {
    let Some(mut place) = start else {
        return (0..length).map(|index| Ok((index, value(index)?))).collect();
    };
    let mut tried = vec![(place, value(place)?)];
    loop {
        for neighbour in [place.wrapping_sub(1), place + 1] {
            if neighbour < length && !tried.iter().any(|(known, _)| *known == neighbour) {
                tried.push((neighbour, value(neighbour)?));
            }
        }
        let lowest = tried.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(place, |best| best.0);
        if lowest == place {
            tried.sort_by_key(|(index, _)| *index);
            return Ok(tried);
        }
        place = lowest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descent_ends_between_higher_neighbours() {
        let value = |index: usize| Ok((index as f64 - 6.0).powi(2));
        let all = descend(9, None, &value).unwrap();
        assert_eq!(all.len(), 9);
        let tried: Vec<usize> =
            descend(9, Some(3), &value).unwrap().iter().map(|(index, _)| *index).collect();
        assert_eq!(tried, [2, 3, 4, 5, 6, 7]);
        // At the ends of the grid, and where nothing is finite.
        assert_eq!(descend(9, Some(0), &|index| Ok(index as f64)).unwrap().len(), 2);
        assert_eq!(descend(9, Some(8), &|_| Ok(f64::INFINITY)).unwrap().len(), 2);
    }

    #[test]
    fn more_calls_than_tuned_take_the_last_constant() {
        let choice = |calls, constant| ChosenConstant { calls, constant, tried: Vec::new() };
        let choices = [choice(5, 0.3), choice(20, 0.1)];
        assert_eq!(
            [5, 10, 20, 500].map(|calls| constant(&choices, calls)),
            [Some(0.3), Some(0.3), Some(0.1), Some(0.1)]
        );
        assert_eq!(constant(&[], 20), None);
    }

    #[test]
    fn a_cloud_has_the_finite_points() {
        let samples = [0.5, -0.25, f64::NAN, 1.0, 2.0, 3.0];
        assert_eq!(cloud(&samples), [[0.5, -0.25], [2.0, 3.0]]);
    }
}

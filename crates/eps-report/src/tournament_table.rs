//! The tables of the tournament, for the terminal and for the report.

use eps_metrics::summary::Spread;
use eps_results::tournament::{BEYOND, Distance, TournamentMethod, TournamentSettingResults};
use eps_results::{TournamentResults, tournament::MethodResults};

use crate::table::Table;

/// The name of the last row: what exact samples have between them.
pub(crate) const FLOOR: &str = "two exact sets";

/// A distance of a method in a setting at some calls that were asked for, over measurements; none where some
/// diverged or it does not apply.
pub(crate) fn spread(
    results: &TournamentResults,
    setting: &TournamentSettingResults,
    method: TournamentMethod,
    calls: usize,
    distance: Distance,
) -> Option<Spread> {
    results.at(setting, method, calls)?.over_measurements.get(&distance).copied()
}

/// The mean of a distance over settings at some calls; none where a curve diverged somewhere.
pub(crate) fn mean_over(
    results: &TournamentResults,
    settings: &[&TournamentSettingResults],
    method: TournamentMethod,
    calls: usize,
    distance: Distance,
) -> Option<f64> {
    let of_one = |setting: &&TournamentSettingResults| {
        Some(spread(results, setting, method, calls, distance)?.mean)
    };
    mean(settings.iter().map(of_one))
}

/// The mean of a distance of the floor over settings.
pub(crate) fn mean_floor(
    settings: &[&TournamentSettingResults],
    distance: Distance,
) -> Option<f64> {
    mean(settings.iter().map(|setting| Some(setting.floor.get(&distance)?.mean)))
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    Some(Spread::of(&values).ok()?.mean)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| BEYOND.to_owned(), |value| format!("{value:.3}"))
}

/// Sliced W2 at the tables' numbers of calls, the mean over all settings in which every method took part, then at the most calls group
/// by group; "-" where a method took no part.
#[must_use]
pub fn tournament_summary(results: &TournamentResults) -> Table {
    let methods = results.config.methods.len();
    let all: Vec<&TournamentSettingResults> =
        results.settings.iter().filter(|setting| setting.methods.len() == methods).collect();
    let (calls, most) = (results.config.table_calls(), results.config.most_calls());
    let groups = results.groups();
    let mut headings = vec!["sliced W2".to_owned()];
    headings.extend(calls.iter().map(|calls| format!("{calls} calls")));
    headings.extend(groups.iter().map(|(name, _)| format!("{name}, {most}")));
    let row = |method: &TournamentMethod| {
        let at = |settings: &[&TournamentSettingResults], calls| {
            number(mean_over(results, settings, *method, calls, Distance::SlicedW2))
        };
        let mut row = vec![method.label().to_owned()];
        row.extend(calls.iter().map(|calls| at(&all, *calls)));
        let took_part = |members: &[&TournamentSettingResults]| {
            members.iter().all(|setting| setting.method(*method).is_some())
        };
        row.extend(groups.iter().map(|(_, members)| {
            if took_part(members) { at(members, most) } else { "-".to_owned() }
        }));
        row
    };
    let mut rows: Vec<Vec<String>> = results.config.methods.iter().map(row).collect();
    let floor =
        |settings: &[&TournamentSettingResults]| number(mean_floor(settings, Distance::SlicedW2));
    let mut last = vec![FLOOR.to_owned()];
    last.extend(calls.iter().map(|_| floor(&all)));
    last.extend(groups.iter().map(|(_, members)| floor(members)));
    rows.push(last);
    Table { headings, rows }
}

/// One setting: sliced W2 at the tables' numbers of calls, everything else at the most, mean ±
/// standard deviation over measurements.
#[must_use]
pub fn tournament_table(results: &TournamentResults, setting: &TournamentSettingResults) -> Table {
    let (calls, most) = (results.config.table_calls(), results.config.most_calls());
    let distances: Vec<Distance> =
        Distance::ALL.into_iter().filter(|distance| setting.floor.contains_key(distance)).collect();
    let earlier = || calls.iter().filter(|calls| **calls != most);
    let mut headings = vec!["method".to_owned()];
    headings.extend(earlier().map(|calls| format!("sliced W2, {calls} calls")));
    headings.extend(distances.iter().map(|distance| format!("{}, {most} calls", distance.label())));
    headings.push("constant".to_owned());
    let cell = |spread: Option<Spread>| {
        spread.map_or_else(|| BEYOND.to_owned(), |spread| format!("{spread:.3}"))
    };
    let row = |found: &MethodResults| {
        let method = found.method;
        let of = |calls, distance| cell(spread(results, setting, method, calls, distance));
        let mut row = vec![found.label.clone()];
        row.extend(earlier().map(|calls| of(*calls, Distance::SlicedW2)));
        row.extend(distances.iter().map(|distance| of(most, *distance)));
        let constant = results.at(setting, method, most).and_then(|point| point.constant);
        row.push(constant.map_or_else(|| "-".to_owned(), |constant| constant.to_string()));
        row
    };
    let mut rows: Vec<Vec<String>> = setting.methods.iter().map(row).collect();
    let floor = |distance: &Distance| cell(setting.floor.get(distance).copied());
    let mut last = vec![FLOOR.to_owned()];
    last.extend(earlier().map(|_| floor(&Distance::SlicedW2)));
    last.extend(distances.iter().map(floor));
    last.push("-".to_owned());
    rows.push(last);
    Table { headings, rows }
}

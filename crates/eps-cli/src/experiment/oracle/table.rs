//! The tables of the tournament, for the terminal and for the report.

use eps_metrics::summary::Spread;

use super::judge::Metric;
use super::method::Method;
use super::results::{BEYOND, Curve, Results, SettingResults};
use crate::experiment::table::Table;

/// The name of the last row: what exact samples have between them.
pub(crate) const FLOOR: &str = "two exact sets";

/// The mean of a metric over settings at some calls; none where a curve diverged somewhere.
pub(crate) fn mean_over(
    settings: &[&SettingResults],
    method: Method,
    calls: usize,
    metric: Metric,
) -> Option<f64> {
    let of_one = |results: &&SettingResults| {
        let curve = results.curves.iter().find(|curve| curve.method == method)?;
        Some(curve.spread(calls, metric)?.mean)
    };
    mean(settings.iter().map(of_one))
}

/// The mean of a metric of the floor over settings.
pub(crate) fn mean_floor(settings: &[&SettingResults], metric: Metric) -> Option<f64> {
    mean(settings.iter().map(|results| Some(results.floor(metric)?.mean)))
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    Some(Spread::of(&values).ok()?.mean)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| BEYOND.to_owned(), |value| format!("{value:.3}"))
}

/// Sliced W2 at the tables' numbers of calls, the mean over all settings, then at the most calls group
/// by group.
pub(crate) fn summary(results: &Results) -> Table {
    let all: Vec<&SettingResults> = results.settings.iter().collect();
    let (calls, groups, most) = (results.table_calls(), results.groups(), results.most_calls());
    let mut headings = vec!["sliced W2".to_owned()];
    headings.extend(calls.iter().map(|calls| format!("{calls} calls")));
    headings.extend(groups.iter().map(|(name, _)| format!("{name}, {most}")));
    let row = |method: &Method| {
        let at = |settings: &[&SettingResults], calls| {
            number(mean_over(settings, *method, calls, Metric::SlicedW2))
        };
        let mut row = vec![method.label().to_owned()];
        row.extend(calls.iter().map(|calls| at(&all, *calls)));
        row.extend(groups.iter().map(|(_, members)| at(members, most)));
        row
    };
    let mut rows: Vec<Vec<String>> = results.config.methods.iter().map(row).collect();
    let floor = |settings: &[&SettingResults]| number(mean_floor(settings, Metric::SlicedW2));
    let mut last = vec![FLOOR.to_owned()];
    last.extend(calls.iter().map(|_| floor(&all)));
    last.extend(groups.iter().map(|(_, members)| floor(members)));
    rows.push(last);
    Table { headings, rows }
}

/// One setting: sliced W2 at the tables' numbers of calls, everything else at the most, mean ±
/// standard deviation over measurements.
pub(crate) fn of_setting(results: &SettingResults, calls: &[usize], most: usize) -> Table {
    let metrics: Vec<Metric> =
        Metric::ALL.into_iter().filter(|metric| results.floor(*metric).is_some()).collect();
    let earlier = || calls.iter().filter(|calls| **calls != most);
    let mut headings = vec!["method".to_owned()];
    headings.extend(earlier().map(|calls| format!("sliced W2, {calls} calls")));
    headings.extend(metrics.iter().map(|metric| format!("{}, {most} calls", metric.label())));
    headings.push("constant".to_owned());
    let cell = |spread: Option<Spread>| {
        spread.map_or_else(|| BEYOND.to_owned(), |spread| format!("{spread:.3}"))
    };
    let row = |curve: &Curve| {
        let mut row = vec![curve.method.label().to_owned()];
        row.extend(earlier().map(|calls| cell(curve.spread(*calls, Metric::SlicedW2))));
        row.extend(metrics.iter().map(|metric| cell(curve.spread(most, *metric))));
        let constant = curve.at(most).find_map(|point| point.constant);
        row.push(constant.map_or_else(|| "-".to_owned(), |constant| constant.to_string()));
        row
    };
    let mut rows: Vec<Vec<String>> = results.curves.iter().map(row).collect();
    let mut last = vec![FLOOR.to_owned()];
    last.extend(earlier().map(|_| cell(results.floor(Metric::SlicedW2))));
    last.extend(metrics.iter().map(|metric| cell(results.floor(*metric))));
    last.push("-".to_owned());
    rows.push(last);
    Table { headings, rows }
}

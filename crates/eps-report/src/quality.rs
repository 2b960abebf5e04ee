//! The charts of a run: quality against network calls or training steps, calibration, losses.

use std::collections::BTreeMap;

use eps_results::{
    Calibration, Loss, Method, Metric, RANKED_SAMPLES, Row, Scope, TaskResults, WITH_BACKWARD,
};

use crate::chart::{Axis, Chart, Line, Style};

/// The loss curves of one network.
pub(crate) fn loss(name: &str, records: &[Loss]) -> Chart {
    let line = |label: &str, colour, value: fn(&Loss) -> f64| Line {
        label: label.to_owned(),
        points: records.iter().map(|record| (record.step as f64, value(record))).collect(),
        colour,
        style: Style::Solid,
    };
    Chart {
        title: name.to_owned(),
        x: Axis { label: "training step".to_owned(), logarithmic: false },
        y: Axis { label: "loss (no unit)".to_owned(), logarithmic: true },
        lines: vec![
            line("training", 1, |record| record.train_loss),
            line("validation", 0, |record| record.validation_loss),
        ],
        band: None,
    }
}

/// The curves of one setting: quality against training steps where the networks are apart in these,
/// otherwise against network calls.
pub(crate) fn charts(results: &TaskResults) -> Vec<Chart> {
    if is_by_steps(results) {
        SCORES.map(|(label, metric)| training(results, label, metric)).to_vec()
    } else {
        quality(results, Cost::Calls)
    }
}

/// The curves of one setting against the time of a sample, where they are not against training steps.
pub(crate) fn charts_by_time(results: &TaskResults) -> Vec<Chart> {
    if is_by_steps(results) { vec![] } else { quality(results, Cost::Time) }
}

/// What a sample costs, on the axis of a chart.
#[derive(Debug, Clone, Copy)]
enum Cost {
    /// Network calls.
    Calls,
    /// Time by that of a network call.
    Time,
}

impl Cost {
    fn of(self, row: &Row) -> f64 {
        match self {
            Self::Calls => row.method.calls() as f64,
            // What methods compute beside the network, a tenth of a call at most, is left out.
            Self::Time => row.nfe as f64 + (WITH_BACKWARD - 1.0) * row.backward_passes as f64,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Calls => "network calls a sample (NFE)",
            Self::Time => "time of a sample, in network calls",
        }
    }
}

fn is_by_steps(results: &TaskResults) -> bool {
    results.table.iter().any(
        |row| matches!(row.method, Method::Variant { variant, .. } if variant.training.is_some()),
    )
}

/// One score of EPS and of the best other method at each number of calls; every method by training steps
/// where the networks are apart in these. With `more` the highest score is the best.
pub(crate) fn best(
    results: &TaskResults,
    metric: Metric,
    label: &str,
    more: bool,
) -> Option<Chart> {
    if is_by_steps(results) {
        return Some(training(results, label, metric));
    }
    let scored = || {
        let samples = results.rows().filter(|row| row.mean_of.is_none() && row.method.calls() > 0);
        samples.filter_map(|row| Some((row.method, row.score(metric)?.0)))
    };
    let is_eps = |method: Method| matches!(method, Method::Eps { .. } | Method::EpsBy { .. });
    let is_own = |method: Method| matches!(method, Method::Eps { network: Scope::PerTask, .. });
    let has_own = scored().any(|(method, _)| is_own(method));
    let is_shown = |method: Method| match method {
        Method::Eps { .. } => !has_own || is_own(method),
        _ => false,
    };
    let own: BTreeMap<usize, f64> = scored()
        .filter(|(method, _)| is_shown(*method))
        .map(|(method, value)| (method.calls(), value))
        .collect();
    let mut others: BTreeMap<usize, (f64, String)> = BTreeMap::new();
    for (method, value) in scored().filter(|(method, _)| !is_eps(*method)) {
        let known = others.get(&method.calls());
        if known.is_none_or(|(best, _)| if more { value > *best } else { value < *best }) {
            others.insert(method.calls(), (value, method.family()));
        }
    }
    let mut lines = Vec::new();
    if let Some((method, _)) = scored().find(|(method, _)| is_shown(*method)) {
        let points = own.into_iter().map(|(calls, value)| (calls as f64, value)).collect();
        lines.push(Line { label: method.family(), points, colour: 0, style: Style::Main });
    }
    let by_other = |method: Method| matches!(method, Method::EpsBy { .. });
    if let Some((method, _)) = scored().find(|(method, _)| by_other(*method)) {
        let of_family = scored().filter(|(other, _)| other.family() == method.family());
        let points = of_family.map(|(method, value)| (method.calls() as f64, value)).collect();
        lines.push(Line { label: method.family(), points, colour: 2, style: Style::Solid });
    }
    if let Some((_, first)) = others.values().next() {
        // Nothing is known between two methods.
        let (label, style) = if others.values().all(|(_, family)| family == first) {
            (first.clone(), Style::Solid)
        } else {
            ("best other".to_owned(), Style::Points)
        };
        let points = others.iter().map(|(calls, (value, _))| (*calls as f64, *value)).collect();
        lines.push(Line { label, points, colour: 1, style });
    }
    (!lines.is_empty()).then(|| Chart {
        title: results.setting.title(),
        x: Axis { label: "network calls a sample (NFE)".to_owned(), logarithmic: true },
        y: Axis { label: label.to_owned(), logarithmic: false },
        lines,
        band: None,
    })
}

/// The scores that curves show, with their names.
const SCORES: [(&str, Metric); 3] = [
    ("PSNR (dB)", Metric::PsnrDb),
    ("fair energy score [0,1]", Metric::EnergyScoreFair),
    ("LPIPS (AlexNet)", Metric::LpipsAlex),
];

/// An axis of scores: logarithmic where all are positive and the lowest is the best, as the best would lie on the bottom otherwise.
fn axis_of(label: &str, metric: Metric, lines: &[Line]) -> Axis {
    let is_positive = lines.iter().flat_map(|line| &line.points).all(|point| point.1 > 0.0);
    Axis { label: label.to_owned(), logarithmic: metric != Metric::PsnrDb && is_positive }
}

/// A score against training steps, at the most network calls: the paper's Figure 4.
fn training(results: &TaskResults, label: &str, metric: Metric) -> Chart {
    let rows = || results.table.iter().filter(|row| row.mean_of.is_none());
    let trained = || rows().filter_map(|row| Some((row.method.training()?, row)));
    let most = trained().map(|(_, row)| row.method.calls()).max().unwrap_or(0);
    let mut families: Vec<&str> = Vec::new();
    for (training, _) in trained() {
        if !families.contains(&training.line) {
            families.push(training.line);
        }
    }
    let line = |(colour, family): (usize, &&str)| {
        let of = trained()
            .filter(|(training, row)| training.line == *family && row.method.calls() == most);
        let mut points: Vec<(f64, f64)> = of
            .filter_map(|(training, row)| Some((training.steps as f64, row.score(metric)?.0)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { label: (*family).to_owned(), points, colour, style: Style::Solid }
    };
    Chart {
        title: results.setting.title(),
        x: Axis { label: "training steps".to_owned(), logarithmic: false },
        y: Axis { label: format!("{label}, {most} calls"), logarithmic: false },
        lines: families.iter().enumerate().map(line).collect(),
        band: None,
    }
}

/// The curves of quality against the cost of one setting.
fn quality(results: &TaskResults, cost: Cost) -> Vec<Chart> {
    let sampled = || results.rows().filter(|row| row.method.calls() > 0);
    let is_eps = |row: &&Row| matches!(row.method, Method::Eps { .. });
    let mut families: Vec<String> = Vec::new();
    for row in sampled().filter(is_eps).chain(sampled()) {
        let family = row.method.family();
        if !families.contains(&family) {
            families.push(family);
        }
    }
    let main = sampled().find(is_eps).map(|row| row.method.family());
    // One line a family and estimate: points by ascending cost.
    let line = |family: &str, mean: bool, metric: Metric| {
        let mut points: Vec<(f64, f64)> = sampled()
            .filter(|row| row.mean_of.is_some() == mean && row.method.family() == family)
            .filter_map(|row| Some((cost.of(row), row.score(metric)?.0)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    // What stands beside a line has little room.
    let short = |family: &str| {
        let is_alone = family
            .split_once(" for all tasks")
            .is_some_and(|(name, _)| families.iter().all(|other| other != name));
        let family = family.replace(" by the multistep solver", ", multistep");
        let family = family.replace(" by the half-corrected solver", ", half-corrected");
        if is_alone { family.replace(" for all tasks", "") } else { family }
    };
    let lines = |metric: Metric| -> Vec<Line> {
        let all: Vec<_> = families.iter().map(|family| line(family, false, metric)).collect();
        let most = all.iter().map(Vec::len).max().unwrap_or(0);
        let mut lines = Vec::new();
        for (colour, (family, points)) in families.iter().zip(all).enumerate() {
            // Of some methods only the table's numbers of calls are known.
            let style = match points.len() {
                _ if main.as_ref() == Some(family) => Style::Main,
                known if known >= 3 || known + 1 >= most => Style::Solid,
                _ => Style::Points,
            };
            lines.push(Line { label: short(family), points, colour, style });
        }
        lines
    };
    let mut charts = SCORES.map(|(label, metric)| (label, metric, lines(metric)));
    let psnr = &mut charts[0].2;
    if let Some(family) = &main {
        let points = line(family, true, Metric::PsnrDb);
        let label = format!("{}, mean", short(family));
        psnr.push(Line { label, points, colour: families.len(), style: Style::Solid });
    }
    psnr.retain(|line| !line.points.is_empty());
    let calls = psnr.iter().flat_map(|line| &line.points).map(|point| point.0);
    let ends = calls.fold([f64::INFINITY, 0.0f64], |[a, b], x| [a.min(x), b.max(x)]);
    if let Some(linear) = results.row(Method::LinearMmse, false)
        && ends[1] > 0.0
    {
        psnr.push(Line {
            label: "linear MMSE".to_owned(),
            points: ends.map(|end| (end, linear.psnr_db.mean)).to_vec(),
            colour: families.len() + 1,
            style: Style::Dashed,
        });
    }
    let x = Axis { label: cost.label().to_owned(), logarithmic: true };
    charts
        .into_iter()
        .filter(|(_, _, lines)| lines.iter().any(|line| !line.points.is_empty()))
        .map(|(label, metric, lines)| Chart {
            title: results.setting.title(),
            x: x.clone(),
            y: axis_of(label, metric, &lines),
            lines,
            band: None,
        })
        .collect()
}

/// The charts of a setting's calibration: ranks of the truth, and error against spread.
pub(crate) fn spread(results: &TaskResults) -> Vec<Chart> {
    let line = |colour: usize, row: &Calibration, points: Vec<(f64, f64)>| Line {
        label: row.method.label(),
        points,
        colour,
        style: Style::Solid,
    };
    let rows = || results.calibration.iter().enumerate();
    let mut ranks: Vec<Line> = rows()
        .map(|(colour, row)| {
            let counts = row.ranks.counts();
            let total = counts.iter().sum::<u64>() as f64;
            let bins = counts.len() as f64;
            let share = |(rank, count): (usize, &u64)| (rank as f64, *count as f64 * bins / total);
            line(colour, row, counts.iter().enumerate().map(share).collect())
        })
        .collect();
    let reference = |label: &str, points| Line {
        label: label.to_owned(),
        points,
        colour: results.calibration.len(),
        style: Style::Dashed,
    };
    ranks.push(reference("calibrated", vec![(0.0, 1.0), (RANKED_SAMPLES as f64, 1.0)]));
    let mut errors: Vec<Line> = rows()
        .map(|(colour, row)| {
            let bins = row.spread.iter().filter(|bin| bin.spread > 0.0 && bin.error > 0.0);
            line(colour, row, bins.map(|bin| (bin.spread, bin.error)).collect())
        })
        .collect();
    let ends = errors.iter().flat_map(|line| &line.points).map(|point| point.0);
    let (low, high) = ends.fold((f64::INFINITY, 0.0f64), |(a, b), x| (a.min(x), b.max(x)));
    if low < high {
        errors.push(reference("calibrated", vec![(low, low), (high, high)]));
    }
    let axis = |label: &str, logarithmic| Axis { label: label.to_owned(), logarithmic };
    vec![
        Chart {
            title: "Rank histogram".to_owned(),
            x: axis("rank of the truth among the samples", false),
            y: axis("frequency, 1 if calibrated", false),
            lines: ranks,
            band: None,
        },
        Chart {
            title: "Error against spread".to_owned(),
            x: axis("standard deviation of the samples", true),
            y: axis("error of their mean", true),
            lines: errors,
            band: None,
        },
    ]
}

#[cfg(test)]
mod tests {
    use eps_results::Contender;

    use super::*;
    use crate::sample_results::{main_results, row_of, setting_of};

    #[test]
    fn eps_stands_beside_the_best_other_at_each_number_of_calls() {
        let results = main_results((21.0, 1.0));
        let chart = best(&results.tasks[0], Metric::EnergyScoreFair, "score", false).unwrap();
        assert_eq!(chart.lines[0].label, "EPS");
        assert_eq!(chart.lines[0].points, [(20.0, 1.0)]);
        // Palette has 2 at 100 calls.
        assert!(chart.lines[1].points.contains(&(100.0, 2.0)), "{:?}", chart.lines);
        assert_eq!(best(&setting_of(vec![]), Metric::PsnrDb, "score", true), None);
    }

    #[test]
    fn one_other_method_keeps_its_name_and_its_line() {
        let dps = |calls| Method::Contender { contender: Contender::Dps, calls };
        let palette = Method::Palette { network: Scope::PerTask, calls: 20 };
        let line = |rows: Vec<Row>| {
            let chart = best(&setting_of(rows), Metric::PsnrDb, "PSNR (dB)", true).unwrap();
            chart.lines.into_iter().next().unwrap()
        };
        let alone = line(vec![row_of(dps(100), 18.0), row_of(dps(20), 17.0)]);
        assert_eq!((alone.label, alone.style), (dps(20).family(), Style::Solid));
        let two = line(vec![row_of(dps(100), 18.0), row_of(palette, 19.0), row_of(dps(20), 17.0)]);
        assert_eq!((two.label.as_str(), two.style), ("best other", Style::Points));
        assert_eq!(two.points, [(20.0, 19.0), (100.0, 18.0)]);
    }
}

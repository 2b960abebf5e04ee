//! What results say about a claim: the tests of the claims in [`crate::claims`].
//!
//! A claim is about cells: a score on a task, a contender beaten in it. Each cell is won, lost, or tied:
//! a tie where the 95 % interval of what was measured, over images, has the claim's bound in it.

use eps_math::Task;
use eps_metrics::summary::Estimate;
use eps_results::tournament::{CallsResults, Distance, TournamentMethod};
use eps_results::{
    Calibration, Contender, Experiment, LEVELS, Method, Metric, OtherSolver, Results, Row,
    TaskResults, TournamentResults,
};

use crate::comparison::{Of, Outcome, Outcomes, difference, diverged, mean_gain, row, score};
use crate::median::median;

/// Whether a claim holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every cell is won.
    Holds,
    /// Some are.
    InPart,
    /// None is, and some are lost.
    Fails,
    /// All are tied.
    Undecided,
}

impl Verdict {
    fn of(found: Outcomes) -> Self {
        match found {
            Outcomes { ties: 0, losses: 0, .. } => Self::Holds,
            Outcomes { wins: 0, losses: 0, .. } => Self::Undecided,
            Outcomes { wins: 0, .. } => Self::Fails,
            _ => Self::InPart,
        }
    }
}

/// What was found about a claim; none without results.
pub(crate) type Finding = Option<(Verdict, Figures)>;

/// What a verdict rests on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figures {
    /// How many cells went how, and what the figures are of.
    pub(crate) summary: String,
    /// A figure of each task, score or method.
    pub(crate) cells: Vec<String>,
    /// What must be said beside the verdict.
    pub(crate) beside: Option<String>,
}

/// The finding of cells with a figure for each, and what these are of.
fn finding(found: Outcomes, of: &str, cells: Vec<String>) -> Finding {
    let Outcomes { wins, ties, losses } = found;
    let count = format!("{wins} hold, {ties} undecided, {losses} contradicted");
    let summary = match (ties, losses) {
        (0, 0) => of.to_owned(),
        _ if of.is_empty() => count,
        _ => format!("{count}; {of}"),
    };
    (found.all() > 0).then_some((Verdict::of(found), Figures { summary, cells, beside: None }))
}

/// What is missing for a claim about every task and tuned contenders.
pub(crate) fn gaps(results: &Results) -> Vec<String> {
    let mut gaps = Vec::new();
    let tasks = results.tasks.len();
    // Tasks of its own.
    let is_whole = results.config.experiment == Experiment::Extreme || tasks >= Task::ALL.len();
    if !is_whole {
        gaps.push(format!("{tasks} of {} tasks", Task::ALL.len()));
    }
    let untuned = results.config.constants.iter().filter(|constant| !constant.tuned).count();
    if untuned > 0 {
        gaps.push(format!("{untuned} constants of methods without training are not tuned"));
    }
    gaps
}

/// The scores of a table and whether more is better. The paper has an FID and distances on
/// Inception's features where the `fd`, `energy_score` and `mmd2` of AlexNet's stand here.
pub(crate) const METRICS: [(Metric, &str, bool); 8] = [
    (Metric::PsnrDb, "PSNR", true),
    (Metric::Ssim, "SSIM", true),
    (Metric::LpipsAlex, "LPIPS", false),
    (Metric::FdAlex, "FD-AlexNet", false),
    (Metric::Mmd2, "MMD²", false),
    (Metric::Mmd2Alex, "MMD² (AlexNet)", false),
    (Metric::EnergyScoreFair, "energy score", false),
    (Metric::EnergyScoreFairAlex, "energy score (AlexNet)", false),
];

/// The proper score of samples: that of a sampler which narrows its samples is not better for it, as its PSNR
/// is.
const ENERGY: Metric = Metric::EnergyScoreFair;

/// The methods without training with their calls; the published forms count where they were run.
pub(crate) const CONTENDERS: [Method; 12] = [
    contender(Contender::Dps, 250),
    contender(Contender::DpsPublished, 1000),
    contender(Contender::Daps, 100),
    contender(Contender::DapsPublished, 1000),
    contender(Contender::DapsExact, 100),
    contender(Contender::Ddnm, 100),
    contender(Contender::DdnmPublished, 100),
    contender(Contender::Pigdm, 100),
    contender(Contender::PigdmPublished, 100),
    contender(Contender::Mpgd, 100),
    contender(Contender::MpgdPublished, 100),
    contender(Contender::Ddrm, 20),
];

const fn contender(contender: Contender, calls: usize) -> Method {
    Method::Contender { contender, calls }
}

/// A row of a claim: the cell, and what is read of it.
pub(crate) type Cell = (&'static str, Of);

pub(crate) const fn samples(cell: &'static str) -> Cell {
    (cell, Of::Samples)
}

pub(crate) const fn means(cell: &'static str) -> Cell {
    (cell, Of::Means)
}

/// The error of the mean of infinitely many samples, which claims name beside [`METRICS`].
pub(crate) const ERROR_OF_MEAN: Metric = Metric::MseOfMean;

/// The outcome for a row against another in one of [`METRICS`] or [`ERROR_OF_MEAN`].
fn outcome(row: &Row, other: &Row, metric: Metric) -> Option<Outcome> {
    if metric == ERROR_OF_MEAN {
        let gain = mean_gain(row, other)?;
        return Some(Outcome::at_least(gain.value, half_width(gain.half_width_95), 0.0));
    }
    let (.., more) = METRICS.iter().find(|(known, ..)| *known == metric)?;
    Outcome::of(row, other, metric, *more)
}

/// A half width; where there is none nothing is decided.
fn half_width(found: Option<f64>) -> f64 {
    found.unwrap_or(f64::INFINITY)
}

/// EPS against every contender in some scores.
pub(crate) fn against_contenders(results: &Results, cell: &str, metrics: &[Metric]) -> Finding {
    let (mut figures, mut missing, mut not_run) = (Vec::new(), Vec::new(), Vec::new());
    let mut of_all = Outcomes::default();
    for metric in metrics.iter().copied() {
        let known = METRICS.iter().find(|(known, ..)| *known == metric);
        let label = known.map_or("error of the mean", |(_, label, _)| *label).to_owned();
        let (mut found, mut lost_by) = (Outcomes::default(), Vec::new());
        for setting in &results.tasks {
            let Some(eps) = row(setting, cell, Of::Samples) else {
                continue;
            };
            for contender in CONTENDERS.map(Method::slug) {
                let gone = diverged(setting, &contender);
                let other = row(setting, &contender, Of::Samples);
                let outcome = match other {
                    Some(other) => outcome(eps, other, metric),
                    // A method that diverged has lost; one that was not run has not.
                    None => (gone && outcome(eps, eps, metric).is_some()).then_some(Outcome::Win),
                };
                found.extend(outcome);
                if outcome == Some(Outcome::Loss) {
                    lost_by.push(format!("{contender} on {}", setting.name));
                }
                if other.is_none() && !gone && !not_run.contains(&contender) {
                    not_run.push(contender);
                }
            }
        }
        of_all += found;
        if found.all() == 0 {
            missing.push(label);
        } else if lost_by.is_empty() {
            figures.push(format!("{label}: {found}"));
        } else {
            figures.push(format!("{label}: {found} ({})", lost_by.join(", ")));
        }
    }
    // A claim about a score that is not there, about untuned contenders or some tasks alone holds in part
    // at most.
    let mut gaps = gaps(results);
    if !missing.is_empty() {
        gaps.push(format!("not computed or of too few images: {}", missing.join(", ")));
    }
    if !not_run.is_empty() {
        gaps.push(format!("not run: {}", not_run.join(", ")));
    }
    let verdict = match Verdict::of(of_all) {
        Verdict::Holds if !gaps.is_empty() => Verdict::InPart,
        verdict => verdict,
    };
    figures.extend(gaps);
    let (all, run) = (CONTENDERS.len(), CONTENDERS.len() - not_run.len());
    let beside = (2 * run < all).then(|| format!("against {run} of {all} methods alone"));
    let figures = Figures { summary: String::new(), cells: figures, beside };
    (of_all.all() > 0).then_some((verdict, figures))
}

/// Cells that EPS is to win against Palette, of all [`METRICS`] on the five tasks.
const CELLS_TO_WIN: usize = 35;

/// Wins, ties and losses against Palette by some calls over all metrics and tasks: the claim holds with
/// [`CELLS_TO_WIN`], in part with more than half of all cells, and fails where even the ties would not
/// make more than half of those that are judged.
pub(crate) fn against_palette(results: &Results, cell: &str, palette: &str) -> Finding {
    let (mut found, mut of_tasks) = (Outcomes::default(), Vec::new());
    for setting in &results.tasks {
        let of = |cell| row(setting, cell, Of::Samples);
        let (Some(eps), Some(palette)) = (of(cell), of(palette)) else {
            continue;
        };
        let mut of_task = Outcomes::default();
        let outcomes = METRICS.iter().map(|(metric, ..)| outcome(eps, palette, *metric));
        of_task.extend(outcomes.flatten());
        found += of_task;
        let Outcomes { wins, ties, losses } = of_task;
        of_tasks.push(format!("{} {wins}, {ties}, {losses}", setting.name));
    }
    let (all, whole) = (found.all(), METRICS.len() * Task::ALL.len());
    let verdict = match found {
        Outcomes { wins, .. } if wins >= CELLS_TO_WIN => Verdict::Holds,
        Outcomes { wins, .. } if 2 * wins > whole => Verdict::InPart,
        Outcomes { wins, ties, .. } if 2 * (wins + ties) <= all => Verdict::Fails,
        _ => Verdict::Undecided,
    };
    let not_judged = match whole - all {
        0 => String::new(),
        some => format!(", {some} not judged"),
    };
    let summary = format!("{found} of {whole} cells{not_judged}; these three by task");
    let figures = Figures { summary, cells: of_tasks, beside: None };
    (all > 0).then_some((verdict, figures))
}

/// Whether the PSNR of one row is above that of another by a margin, in every setting.
pub(crate) fn psnr(
    results: &Results,
    (cell, of): Cell,
    (other, other_of): Cell,
    margin: f64,
) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::new());
    let mut means_of = String::new();
    for setting in &results.tasks {
        let (Some(a), Some(b)) = (row(setting, cell, of), row(setting, other, other_of)) else {
            continue;
        };
        let Some((difference, half_width)) = difference(a, b, Metric::PsnrDb) else {
            continue;
        };
        if let Some(count) = a.mean_of.or(b.mean_of) {
            means_of = format!("means of {count}, ");
        }
        found.extend([Outcome::at_least(difference, half_width, margin)]);
        figures.push(format!("{} {difference:+.2} ± {half_width:.2}", setting.name));
    }
    finding(found, &format!("{means_of}dB"), figures)
}

/// Whether the fair energy score of one row's samples is below that of another's by more than −`within`
/// percent, in every setting.
pub(crate) fn energy(results: &Results, cell: &str, other: &str, within: f64) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::new());
    for setting in &results.tasks {
        let (Some(a), Some(b)) =
            (row(setting, cell, Of::Samples), row(setting, other, Of::Samples))
        else {
            continue;
        };
        let Some(((difference, half_width), (of_b, _))) =
            difference(a, b, ENERGY).zip(score(b, ENERGY))
        else {
            continue;
        };
        let [gain, half_width] = [-difference, half_width].map(|energy| 100.0 * energy / of_b);
        found.extend([Outcome::at_least(gain, half_width, -within)]);
        figures.push(format!("{} {gain:+.1} ± {half_width:.1} %", setting.name));
    }
    finding(found, "energy score lower by", figures)
}

/// Whether samples of half as many calls, by the half-corrected solver, are at most 1 % worse than those of Euler's 20, in every
/// setting, by the energy score and by LPIPS.
pub(crate) fn half_the_calls(results: &Results) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::new());
    for setting in &results.tasks {
        let at = |cell: &str| row(setting, cell, Of::Samples);
        let (Some(half), Some(euler)) = (at("eps-half-corrected-10"), at("eps-20")) else {
            continue;
        };
        let mut of_scores = Vec::new();
        for (metric, name) in [(ENERGY, "energy score"), (Metric::LpipsAlex, "LPIPS")] {
            let both = difference(half, euler, metric).zip(score(euler, metric));
            let Some(((difference, half_width), (of_euler, _))) = both else {
                continue;
            };
            let [above, half_width] =
                [difference, half_width].map(|score| 100.0 * score / of_euler);
            found.extend([Outcome::at_most(above, half_width, 1.0)]);
            of_scores.push(format!("{name} {above:+.1} ± {half_width:.1} %"));
        }
        figures.push(format!("{}: {}", setting.name, of_scores.join(", ")));
    }
    finding(found, "10 calls against 20", figures)
}

/// Whether the mean of one row's samples is nearer to the truth than that of another's, in every setting.
pub(crate) fn error_of_mean(results: &Results, cell: &str, other: &str) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::new());
    for setting in &results.tasks {
        let rows = (row(setting, cell, Of::Samples), row(setting, other, Of::Samples));
        let (Some(a), Some(b)) = rows else {
            continue;
        };
        let Some(gain) = mean_gain(a, b) else {
            continue;
        };
        let half_width = half_width(gain.half_width_95);
        found.extend([Outcome::at_least(gain.value, half_width, 0.0)]);
        figures.push(format!("{} {:+.2} ± {half_width:.2}", setting.name, gain.value));
    }
    finding(found, "dB", figures)
}

/// By how much the energy score of 20 calls is above the best of the others in the curve.
pub(crate) fn saturation(results: &Results) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::new());
    for setting in &results.tasks {
        let at = |calls: u64| {
            let row = row(setting, &format!("eps-{calls}"), Of::Samples)?;
            Some((row, score(row, ENERGY)?.0))
        };
        let (Some((twenty, of_twenty)), true) =
            (at(20), (50..=100).any(|calls| at(calls).is_some()))
        else {
            continue;
        };
        // Against itself it would hold without a doubt.
        let others = (2..=100).filter(|calls| *calls != 20);
        let best = others.filter_map(at).min_by(|a, b| a.1.total_cmp(&b.1));
        let Some((best, of_best)) = best else {
            continue;
        };
        let Some((_, half_width)) = difference(twenty, best, ENERGY) else {
            continue;
        };
        let [above, half_width] =
            [of_twenty - of_best, half_width].map(|energy| 100.0 * energy / of_best);
        found.extend([Outcome::at_most(above, half_width, 2.0)]);
        figures.push(format!("{} {above:+.1} ± {half_width:.1} %", setting.name));
    }
    finding(found, "", figures)
}

/// EPS by the paper's solver, in a row of `calibration`.
pub(crate) fn is_euler(method: Method) -> bool {
    matches!(method, Method::Eps { calls: 100, .. })
}

/// EPS by Heun's method, whose number of calls is odd.
pub(crate) fn is_heun(method: Method) -> bool {
    matches!(method, Method::EpsBy { by: OtherSolver::Heun, calls: 99, .. })
}

/// Whether an estimate of the calibration of EPS by a solver lies between two bounds, in every setting.
fn calibrated(
    results: &Results,
    is_solver: fn(Method) -> bool,
    estimate: impl Fn(&Calibration) -> Estimate,
    [least, most]: [f64; 2],
    figure: impl Fn(f64, f64) -> String,
) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::new());
    for setting in &results.tasks {
        let row = setting.calibration.iter().find(|row| is_solver(row.method));
        let Some(Estimate { value, half_width_95 }) = row.map(&estimate) else {
            continue;
        };
        let half_width = half_width(half_width_95);
        let outcomes = [
            Outcome::at_least(value, half_width, least),
            Outcome::at_most(value, half_width, most),
        ];
        let outcome = match outcomes {
            [Outcome::Win, Outcome::Win] => Outcome::Win,
            outcomes if outcomes.contains(&Outcome::Loss) => Outcome::Loss,
            _ => Outcome::Tie,
        };
        found.extend([outcome]);
        figures.push(format!("{} {}", setting.name, figure(value, half_width)));
    }
    finding(found, "", figures)
}

/// Whether the two energy ratios agree.
pub(crate) fn ratios(results: &Results) -> Finding {
    let figure = |value: f64, half_width: f64| format!("{value:+.4} ± {half_width:.4}");
    calibrated(results, is_euler, |row| row.ratios.difference, [-0.01, 0.01], figure)
}

/// Whether central 90 % intervals cover as much of the truth.
pub(crate) fn coverage(results: &Results, is_solver: fn(Method) -> bool) -> Finding {
    let level = LEVELS.iter().position(|level| *level == 0.9)?;
    let figure =
        |value: f64, half_width: f64| format!("{:.1} ± {:.1} %", 100.0 * value, 100.0 * half_width);
    calibrated(results, is_solver, |row| row.coverage[level], [0.87, 0.93], figure)
}

/// The time of a call of EPS over that of the bare denoiser on the same image, the tasks together: medians over
/// images, with the 95 % interval of the median by order statistics.
pub(crate) fn runtime(results: &Results) -> Finding {
    let seconds = |setting: &TaskResults, cell: &str| -> Option<Vec<f64>> {
        row(setting, cell, Of::Samples)?.of_images.get(&Metric::SecondsACall).cloned()
    };
    let ratio = |cell: &str| -> Option<[f64; 3]> {
        let of_tasks = |cell: &str| -> Option<Vec<f64>> {
            let tasks = results
                .tasks
                .iter()
                .map(|setting| seconds(setting, cell))
                .collect::<Option<Vec<_>>>()?;
            let images = tasks.first()?.len();
            Some(
                (0..images).map(|image| tasks.iter().map(|of_task| of_task[image]).sum()).collect(),
            )
        };
        let (own, bare) = (of_tasks(cell)?, of_tasks("unconditional-100")?);
        median(own.iter().zip(&bare).map(|(own, bare)| own / bare).collect())
    };
    let eps = ratio("eps-100")?;
    let others = ["palette-100", "ddnm-100", "mpgd-100", "daps-100", "dps-250", "pigdm-100"];
    let figures: Vec<String> = std::iter::once("eps-100")
        .chain(others)
        .filter_map(|cell| {
            let [low, middle, high] = ratio(cell)?;
            Some(format!("{} {middle:.3} × ({low:.3} to {high:.3})", cell.split('-').next()?))
        })
        .collect();
    let verdict = match eps {
        [.., high] if high <= 1.006 => Verdict::Holds,
        [low, ..] if low > 1.006 => Verdict::Fails,
        _ => Verdict::Undecided,
    };
    Some((verdict, Figures { summary: String::new(), cells: figures, beside: None }))
}

/// The share of the denoiser that EPS adds at the paper's size.
pub(crate) fn overhead(results: &Results) -> Finding {
    let of = results.overhead.as_ref()?;
    let figures = format!(
        "{:.2} % (pivot {:.3} ms, convolution {:.3} ms, denoiser {:.1} ms)",
        100.0 * of.share,
        1e3 * of.pivot_seconds,
        1e3 * of.convolution_seconds,
        1e3 * of.denoiser_seconds
    );
    let verdict = if of.share <= 0.006 { Verdict::Holds } else { Verdict::Fails };
    let beside = Some("a network of FFHQ-64's size with random weights".to_owned());
    Some((verdict, Figures { summary: String::new(), cells: vec![figures], beside }))
}

/// The settings of a tournament that a claim shows one by one; of more only those that miss the bound.
const SHOWN_SETTINGS: usize = 10;

/// Whether the claim about EPS holds in each setting of the tournament.
pub(crate) fn reaches_the_posterior(results: &TournamentResults) -> Finding {
    let (mut found, mut figures, mut excess) = (Outcomes::default(), Vec::new(), 0f64);
    let are_many = results.settings.len() > SHOWN_SETTINGS;
    for setting in &results.settings {
        let claim = setting.claim.as_ref()?;
        found.extend([Outcome::decided(claim.holds)]);
        let over_floor = claim.sliced_w2.map(|w2| w2 / claim.floor - 1.0);
        excess += over_floor.unwrap_or(f64::INFINITY);
        if are_many && claim.holds {
            continue;
        }
        let w2 = claim.sliced_w2.map_or("diverged".to_owned(), |value| format!("{value:.3}"));
        figures.push(format!("{}: {w2} ({:.3}; {:.3})", setting.label, claim.floor, claim.bound));
    }
    let unit = "W2 (that of two exact sets; the bound)";
    if !are_many {
        return finding(found, unit, figures);
    }
    let mean = 100.0 * excess / found.all() as f64;
    let all =
        format!("{} settings, W2 on average {mean:+.1} % from that of two exact sets", found.all());
    let unit =
        if figures.is_empty() { String::new() } else { format!("; above the bound: {unit}") };
    finding(found, &(all + &unit), figures)
}

/// In how many settings each method stays above the bound that EPS meets with 1,000 calls: the methods without
/// training with the number of calls that is best for them there, EPS by Euler's method with the most of theirs.
pub(crate) fn contenders_miss_the_posterior(results: &TournamentResults) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::<(&str, usize, usize)>::new());
    let mut most = 0;
    for setting in &results.settings {
        let bound = setting.claim.as_ref()?.bound;
        for method in &setting.methods {
            // It goes on to the 1,000 calls of the claim about it.
            if method.method == TournamentMethod::EpsHeun {
                continue;
            }
            let is_contender = method.method != TournamentMethod::EpsEuler;
            let curve = &method.curve;
            most = most.max(curve.last()?.nfe);
            let points = if is_contender { &curve[..] } else { &curve[curve.len() - 1..] };
            // None where it diverged.
            let reaches = |point: &CallsResults| {
                point.over_measurements.get(&Distance::SlicedW2).is_some_and(|w2| w2.mean <= bound)
            };
            let misses = !points.iter().any(reaches);
            found.extend(is_contender.then(|| Outcome::decided(misses)));
            match figures.iter_mut().find(|(known, ..)| *known == method.label) {
                Some((_, missed, of)) => (*missed, *of) = (*missed + usize::from(misses), *of + 1),
                None => figures.push((&method.label, usize::from(misses), 1)),
            }
        }
    }
    let figures: Vec<String> =
        figures.iter().map(|(label, missed, of)| format!("{label}: {missed} of {of}")).collect();
    finding(found, &format!("misses of this bound, with up to {most} calls"), figures)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use eps_metrics::calibration::{EnergyRatios, RankHistogram};
    use eps_results::{Scope, Variant};

    use super::*;
    use crate::sample_results::{main_results, results_of, row_of, setting_of, tournament_of_two};

    /// A finding with its figures in a line.
    fn line(found: Finding) -> (Verdict, String) {
        let (verdict, Figures { summary, cells, .. }) = found.unwrap();
        let lead = if summary.is_empty() { summary } else { summary + ": " };
        (verdict, lead + &cells.join("; "))
    }

    fn contenders(results: &Results, metrics: &[Metric]) -> (Verdict, String) {
        line(against_contenders(results, "eps-20", metrics))
    }

    #[test]
    fn a_better_method_wins_and_a_worse_one_loses() {
        let better = main_results((21.5, 1.0));
        let (verdict, figures) = line(against_palette(&better, "eps-20", "palette-100"));
        assert_eq!(
            (verdict, figures.as_str()),
            (
                Verdict::Undecided,
                "2 wins, 0 ties, 0 losses of 40 cells, 38 not judged; these three by task: motion-blur 2, 0, 0"
            )
        );
        let metrics = [Metric::EnergyScoreFair, Metric::FdAlex];
        let (verdict, figures) = contenders(&better, &metrics);
        assert_eq!(verdict, Verdict::InPart);
        assert_eq!(
            figures,
            "energy score: 6 wins, 0 ties, 0 losses; 1 of 5 tasks; not computed or of too few images: \
             FD-AlexNet; not run: ddnm-100, ddnm-published-100, pigdm-100, pigdm-published-100, \
             mpgd-100, mpgd-published-100"
        );

        let close = main_results((20.1, 3.5));
        let (verdict, figures) = line(against_palette(&close, "eps-20", "palette-100"));
        assert_eq!(
            (verdict, figures.as_str()),
            (
                Verdict::Fails,
                "0 wins, 1 ties, 1 losses of 40 cells, 38 not judged; these three by task: motion-blur 0, 1, 1"
            )
        );
        // The one that diverged is beaten all the same, one that was not run is not counted.
        let mut few = main_results((21.5, 1.0));
        few.tasks[0].diverged.clear();
        let (_, figures) = contenders(&few, &metrics[..1]);
        assert!(
            figures.starts_with("energy score: 5 wins, 0 ties, 0 losses; 1 of 5 tasks; not run")
        );
        let (verdict, figures) = contenders(&close, &metrics[..1]);
        assert_eq!(verdict, Verdict::InPart);
        assert!(
            figures.starts_with("energy score: 1 wins, 0 ties, 5 losses (dps-250 on motion-blur"),
            "{figures}"
        );
    }

    #[test]
    fn the_tournament_is_read() {
        let mut results = tournament_of_two();
        results.settings.truncate(1);
        let (verdict, figures) = line(reaches_the_posterior(&results));
        assert_eq!(verdict, Verdict::Holds);
        assert_eq!(
            figures,
            "W2 (that of two exact sets; the bound): 2-D mixture, dense, σ_y 0.2: 0.140 (0.130; 0.300)"
        );
        let (verdict, figures) = line(contenders_miss_the_posterior(&results));
        assert_eq!(verdict, Verdict::InPart);
        assert_eq!(
            figures,
            "1 hold, 0 undecided, 1 contradicted; misses of this bound, with up to 200 calls: EPS, Euler: 0 of 1; \
             DPS: 1 of 1; DDRM: 0 of 1"
        );

        // Of many settings those that miss the bound are shown.
        let setting = results.settings[0].clone();
        let mut missed = setting.clone();
        let claim = missed.claim.as_mut().unwrap();
        (claim.holds, claim.sliced_w2) = (false, Some(0.39));
        results.settings = vec![setting; 11].into_iter().chain([missed]).collect();
        let (verdict, figures) = line(reaches_the_posterior(&results));
        assert_eq!(verdict, Verdict::InPart);
        assert_eq!(
            figures,
            "11 hold, 0 undecided, 1 contradicted; 12 settings, W2 on average +23.7 % from that of two exact \
             sets; above the bound: W2 (that of two exact sets; the bound): 2-D mixture, dense, σ_y 0.2: 0.390 \
             (0.130; 0.300)"
        );
    }

    #[test]
    fn half_the_calls_are_as_good_or_are_not() {
        let network = Scope::AllTasks;
        let results = |energies: [f64; 3]| {
            let row = |method: Method, energies: [f64; 3]| Row {
                energy_score_fair: Some(energies.iter().sum::<f64>() / 3.0),
                of_images: BTreeMap::from([(Metric::EnergyScoreFair, energies.to_vec())]),
                ..row_of(method, 20.0)
            };
            let half = Method::EpsBy { network, by: OtherSolver::HalfCorrected, calls: 10 };
            let rows =
                vec![row(Method::Eps { network, calls: 20 }, [2.0, 3.0, 4.0]), row(half, energies)];
            results_of(Experiment::Calibration, vec![setting_of(rows)])
        };
        let said = "10 calls against 20: motion-blur: energy score +0.0 ± 0.0 %";
        assert_eq!(
            line(half_the_calls(&results([2.0, 3.0, 4.0]))),
            (Verdict::Holds, said.to_owned())
        );
        let verdict = |energies| half_the_calls(&results(energies)).unwrap().0;
        assert_eq!(verdict([2.1, 3.1, 4.1]), Verdict::Fails);
        assert_eq!(verdict([1.5, 3.1, 4.5]), Verdict::Undecided);
        assert_eq!(half_the_calls(&results_of(Experiment::Calibration, vec![])), None);
    }

    #[test]
    fn calibration_is_read_at_100_calls() {
        let estimate =
            |value: f64, half_width: f64| Estimate { value, half_width_95: Some(half_width) };
        let of = |calls: usize, covered: f64, half_width: f64| Calibration {
            method: Method::Eps { network: Scope::PerTask, calls },
            ratios: EnergyRatios {
                truth: 0.75,
                held_out: 0.745,
                difference: estimate(0.005, 0.004),
            },
            ranks: RankHistogram { of_images: vec![], share: 1.0 },
            coverage: [estimate(0.5, 0.1), estimate(0.8, 0.1), estimate(covered, half_width)],
            coverage_of_all: [estimate(0.0, 0.0); 3],
            spread: vec![],
        };
        let results = |covered: f64, half_width: f64| {
            let mut setting = setting_of(vec![]);
            setting.calibration = vec![of(20, 0.5, 0.0), of(100, covered, half_width)];
            results_of(Experiment::Calibration, vec![setting])
        };
        let sure = results(0.91, 0.01);
        let found = line(ratios(&sure));
        assert_eq!(found, (Verdict::Holds, "motion-blur +0.0050 ± 0.0040".to_owned()));
        let found = line(coverage(&sure, is_euler));
        assert_eq!(found, (Verdict::Holds, "motion-blur 91.0 ± 1.0 %".to_owned()));
        assert_eq!(coverage(&sure, is_heun), None);
        let verdict =
            |covered, half_width| coverage(&results(covered, half_width), is_euler).unwrap().0;
        assert_eq!(verdict(0.91, 0.05), Verdict::Undecided);
        assert_eq!(verdict(0.82, 0.04), Verdict::Fails);
    }

    /// Two networks of the experiment `inputs`.
    fn networks() -> [Method; 2] {
        [0, 1].map(|place: usize| {
            let variant: Variant = Experiment::Inputs.variants()[place];
            Method::Variant { variant, calls: 1 }
        })
    }

    #[test]
    fn a_psnr_is_decided_by_its_interval() {
        let [a, b] = networks();
        let results = |offsets: [[f64; 3]; 2]| {
            let settings = offsets.map(|offsets| {
                let row = |method: Method, psnr: [f64; 3]| {
                    let mut row = row_of(method, psnr.iter().sum::<f64>() / 3.0);
                    row.of_images.insert(Metric::PsnrDb, psnr.to_vec());
                    row
                };
                setting_of(vec![row(a, offsets.map(|offset| 20.0 + offset)), row(b, [20.0; 3])])
            });
            results_of(Experiment::Inputs, settings.to_vec())
        };
        let verdict = |offsets| {
            line(psnr(&results(offsets), samples("state-y-1"), samples("pivot-scalar-1"), 0.0))
        };
        let (above, below, unclear) = ([0.9, 1.0, 1.1], [-0.9, -1.0, -1.1], [-2.0, 3.0, 1.0]);
        assert_eq!(verdict([above, above]).0, Verdict::Holds);
        assert_eq!(verdict([above, unclear]).0, Verdict::InPart);
        assert_eq!(verdict([unclear, unclear]).0, Verdict::Undecided);
        let (found, figures) = verdict([below, unclear]);
        assert_eq!(found, Verdict::Fails);
        assert!(
            figures.starts_with("0 hold, 1 undecided, 1 contradicted; dB: motion-blur -1.00"),
            "{figures}"
        );
    }

    #[test]
    fn the_cost_of_a_call_is_a_median_over_images() {
        let row = |method: Method, seconds: Vec<f64>| Row {
            of_images: BTreeMap::from([(Metric::SecondsACall, seconds)]),
            ..row_of(method, 20.0)
        };
        // One image was disturbed.
        let mut disturbed = vec![1.002; 29];
        disturbed.push(9.0);
        let bare = row(Method::Unconditional { calls: 100 }, vec![1.0; 30]);
        let eps = row(Method::Eps { network: Scope::PerTask, calls: 100 }, disturbed);
        let results = results_of(Experiment::Runtime, vec![setting_of(vec![bare, eps])]);
        let found = line(runtime(&results));
        assert_eq!(found, (Verdict::Holds, "eps 1.002 × (1.002 to 1.002)".to_owned()));
    }
}

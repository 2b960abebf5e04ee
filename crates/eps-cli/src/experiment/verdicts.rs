//! What results say about a claim: the tests of the claims in [`super::claims`].
//!
//! A claim is about cells: a score on a task, a contender beaten in it. Each cell is won, lost, or tied:
//! a tie where the 95 % interval of what was measured, over images, has the claim's bound in it.

use eps_math::Task;
use serde_json::Value;

use super::calibration::LEVELS;
use super::claims::{Record, settings_of_oracle};
use super::comparison::{Of, Outcome, Outcomes, difference, diverged, mean_gain, row, score};
use super::scores::SECONDS_A_CALL;

/// Whether a claim holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
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

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::InPart => "holds in part",
            Self::Fails => "**fails**",
            Self::Undecided => "undecided",
        }
    }
}

/// What was found about a claim; none without results.
pub(super) type Finding = Option<(Verdict, String)>;

/// The finding of cells with a figure for each.
fn finding(found: Outcomes, unit: &str, figures: &[String]) -> Finding {
    let Outcomes { wins, ties, losses } = found;
    let count = match (ties, losses) {
        (0, 0) => String::new(),
        _ => format!("{wins} hold, {ties} undecided, {losses} contradicted; "),
    };
    (found.all() > 0).then(|| (Verdict::of(found), format!("{count}{unit}{}", figures.join(", "))))
}

fn name(setting: &Value) -> &str {
    setting["name"].as_str().unwrap_or("?")
}

/// The scores of a table and whether more is better. The paper has an FID and distances on
/// Inception's features where the `fd`, `energy_score` and `mmd2` of AlexNet's stand here.
pub(super) const METRICS: [(&str, &str, bool); 8] = [
    ("psnr_db", "PSNR", true),
    ("ssim", "SSIM", true),
    ("lpips_alex", "LPIPS", false),
    ("fd_alex", "FD-AlexNet", false),
    ("mmd2", "MMD²", false),
    ("mmd2_alex", "MMD² (AlexNet)", false),
    ("energy_score_fair", "energy score", false),
    ("energy_score_fair_alex", "energy score (AlexNet)", false),
];

/// The proper score of samples: that of a sampler which narrows its samples is not better for it, as its PSNR
/// is.
const ENERGY: &str = "energy_score_fair";

/// The methods without training, by their cells; the published forms count where they were run.
pub(super) const CONTENDERS: [&str; 12] = [
    "dps-250",
    "dps-published-1000",
    "daps-100",
    "daps-published-1000",
    "daps-exact-100",
    "ddnm-100",
    "ddnm-published-100",
    "pigdm-100",
    "pigdm-published-100",
    "mpgd-100",
    "mpgd-published-100",
    "ddrm-20",
];

/// A row of a claim: the cell, and what is read of it.
pub(super) type Cell = (&'static str, Of);

pub(super) const fn samples(cell: &'static str) -> Cell {
    (cell, Of::Samples)
}

pub(super) const fn means(cell: &'static str) -> Cell {
    (cell, Of::Means)
}

/// The error of the mean of infinitely many samples, which claims name beside [`METRICS`].
pub(super) const ERROR_OF_MEAN: &str = "mse_of_mean";

/// The outcome for a row against another in one of [`METRICS`] or [`ERROR_OF_MEAN`].
fn outcome(row: &Value, other: &Value, metric: &str) -> Option<Outcome> {
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
pub(super) fn against_contenders(record: &Record, cell: &str, metrics: &[&str]) -> Finding {
    let (mut figures, mut missing, mut not_run) = (Vec::new(), Vec::new(), Vec::new());
    let mut of_all = Outcomes::default();
    for metric in metrics {
        let known = METRICS.iter().find(|(known, ..)| known == metric);
        let label = known.map_or("error of the mean", |(_, label, _)| *label).to_owned();
        let (mut found, mut lost_by) = (Outcomes::default(), Vec::new());
        for setting in record.settings() {
            let Some(eps) = row(setting, cell, Of::Samples) else {
                continue;
            };
            for contender in CONTENDERS {
                let gone = diverged(setting, contender);
                let other = row(setting, contender, Of::Samples);
                let outcome = match other {
                    Some(other) => outcome(eps, other, metric),
                    // A method that diverged has lost; one that was not run has not.
                    None => (gone && outcome(eps, eps, metric).is_some()).then_some(Outcome::Win),
                };
                if other.is_none() && !gone && !not_run.contains(&contender) {
                    not_run.push(contender);
                }
                found.extend(outcome);
                if outcome == Some(Outcome::Loss) {
                    lost_by.push(format!("{contender} on {}", name(setting)));
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
    let mut gaps = record.gaps();
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
    (of_all.all() > 0).then(|| (verdict, figures.join("; ")))
}

/// Cells that EPS is to win against Palette, of all [`METRICS`] on the five tasks.
const CELLS_TO_WIN: usize = 35;

/// Wins, ties and losses against Palette by some calls over all metrics and tasks: the claim holds with
/// [`CELLS_TO_WIN`], in part with more than half of all cells, and fails where even the ties would not
/// make half.
pub(super) fn against_palette(record: &Record, cell: &str, palette: &str) -> Finding {
    let (mut found, mut of_tasks) = (Outcomes::default(), Vec::new());
    for setting in record.settings() {
        let of = |cell| row(setting, cell, Of::Samples);
        let (Some(eps), Some(palette)) = (of(cell), of(palette)) else {
            continue;
        };
        let mut of_task = Outcomes::default();
        let outcomes = METRICS.iter().map(|(metric, ..)| outcome(eps, palette, metric));
        of_task.extend(outcomes.flatten());
        found += of_task;
        let Outcomes { wins, ties, losses } = of_task;
        of_tasks.push(format!("{} {wins}, {ties}, {losses}", name(setting)));
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
    let figures = format!("{found} of {whole} cells{not_judged} ({})", of_tasks.join("; "));
    (all > 0).then_some((verdict, figures))
}

/// Whether the PSNR of one row is above that of another by a margin, in every setting.
pub(super) fn psnr(
    record: &Record,
    (cell, of): Cell,
    (other, other_of): Cell,
    margin: f64,
) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::new());
    let mut means_of = String::new();
    for setting in record.settings() {
        let (Some(a), Some(b)) = (row(setting, cell, of), row(setting, other, other_of)) else {
            continue;
        };
        let Some((difference, half_width)) = difference(a, b, "psnr_db") else {
            continue;
        };
        if let Some(count) = a["mean_of"].as_u64().or(b["mean_of"].as_u64()) {
            means_of = format!("means of {count}, ");
        }
        found.extend([Outcome::at_least(difference, half_width, margin)]);
        figures.push(format!("{} {difference:+.2} ± {half_width:.2}", name(setting)));
    }
    finding(found, &format!("{means_of}dB: "), &figures)
}

/// Whether the fair energy score of one row's samples is below that of another's by more than −`within`
/// percent, in every setting.
pub(super) fn energy(record: &Record, cell: &str, other: &str, within: f64) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::new());
    for setting in record.settings() {
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
        figures.push(format!("{} {gain:+.1} ± {half_width:.1} %", name(setting)));
    }
    finding(found, "energy score lower by ", &figures)
}

/// Whether the mean of one row's samples is nearer to the truth than that of another's, in every setting.
pub(super) fn error_of_mean(record: &Record, cell: &str, other: &str) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::new());
    for setting in record.settings() {
        let rows = (row(setting, cell, Of::Samples), row(setting, other, Of::Samples));
        let (Some(a), Some(b)) = rows else {
            continue;
        };
        let Some(gain) = mean_gain(a, b) else {
            continue;
        };
        let half_width = half_width(gain.half_width_95);
        found.extend([Outcome::at_least(gain.value, half_width, 0.0)]);
        figures.push(format!("{} {:+.2} ± {half_width:.2}", name(setting), gain.value));
    }
    finding(found, "dB: ", &figures)
}

/// By how much the energy score of 20 calls is above the best of the others in the curve.
pub(super) fn saturation(record: &Record) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::new());
    for setting in record.settings() {
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
        figures.push(format!("{} {above:+.1} ± {half_width:.1} %", name(setting)));
    }
    finding(found, "", &figures)
}

/// A row of `calibration`: the method's name and its calls.
pub(super) type Solver = (&'static str, u64);

/// EPS by the paper's solver, and by Heun's method, whose number of calls is odd: name and calls.
pub(super) const EULER: Solver = ("eps", 100);
pub(super) const HEUN: Solver = ("eps-by", 99);

/// Whether an estimate of the calibration of EPS by a solver lies between two bounds, in every setting.
fn calibrated(
    record: &Record,
    (method, calls): Solver,
    estimate: impl Fn(&Value) -> &Value,
    [least, most]: [f64; 2],
    figure: impl Fn(f64, f64) -> String,
) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::new());
    for setting in record.settings() {
        let rows = setting["calibration"].as_array().into_iter().flatten();
        let row = rows.into_iter().find(|row| {
            let of = &row["method"];
            let is_heun = of["by"].is_null() || of["by"] == "heun";
            of["name"] == method && of["calls"] == calls && is_heun
        });
        let Some(estimate) = row.map(&estimate) else {
            continue;
        };
        let Some(value) = estimate["value"].as_f64() else {
            continue;
        };
        let half_width = half_width(estimate["half_width_95"].as_f64());
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
        figures.push(format!("{} {}", name(setting), figure(value, half_width)));
    }
    finding(found, "", &figures)
}

/// Whether the two energy ratios agree.
pub(super) fn ratios(record: &Record) -> Finding {
    let figure = |value: f64, half_width: f64| format!("{value:+.4} ± {half_width:.4}");
    calibrated(record, EULER, |row| &row["ratios"]["difference"], [-0.01, 0.01], figure)
}

/// Whether central 90 % intervals cover as much of the truth.
pub(super) fn coverage(record: &Record, solver: Solver) -> Finding {
    let level = LEVELS.iter().position(|level| *level == 0.9)?;
    let figure =
        |value: f64, half_width: f64| format!("{:.1} ± {:.1} %", 100.0 * value, 100.0 * half_width);
    calibrated(record, solver, |row| &row["coverage"][level], [0.87, 0.93], figure)
}

/// The time of a call of EPS over that of the bare denoiser on the same image, the tasks together: medians over
/// images, with the 95 % interval of the median by order statistics.
pub(super) fn runtime(record: &Record) -> Finding {
    let seconds = |setting: &Value, cell: &str| -> Option<Vec<f64>> {
        let row = row(setting, cell, Of::Samples)?;
        let of_images = row["of_images"][SECONDS_A_CALL].as_array()?;
        of_images.iter().map(Value::as_f64).collect()
    };
    let ratio = |cell: &str| -> Option<[f64; 3]> {
        let of_tasks = |cell: &str| -> Option<Vec<f64>> {
            let tasks = record
                .settings()
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
    Some((verdict, figures.join(", ")))
}

/// The median of some values between the ends of its 95 % interval, the order statistics n/2 ∓ 0.98 √n.
pub(super) fn median(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let last = n.checked_sub(1)?;
    let away = 0.98 * (n as f64).sqrt();
    let low = (n as f64 / 2.0 - away).floor().max(0.0) as usize;
    let middle = 0.5 * (values[last / 2] + values[n / 2]);
    Some([values[low.min(last)], middle, values[last - low.min(last)]])
}

/// The share of the denoiser that EPS adds at the paper's size.
pub(super) fn overhead(record: &Record) -> Finding {
    let of = &record.value["overhead"];
    let share = of["share"].as_f64()?;
    let milliseconds = |what: &str| Some(1e3 * of[what].as_f64()?);
    let figures = format!(
        "{:.2} % (pivot {:.3} ms, convolution {:.3} ms, denoiser {:.1} ms)",
        100.0 * share,
        milliseconds("pivot_seconds")?,
        milliseconds("convolution_seconds")?,
        milliseconds("denoiser_seconds")?
    );
    let verdict = if share <= 0.006 { Verdict::Holds } else { Verdict::Fails };
    Some((verdict, figures))
}

/// The settings of a tournament that a claim shows one by one; of more only those that miss the bound.
const SHOWN_SETTINGS: usize = 10;

/// Whether the claim about EPS holds in each setting of the tournament.
pub(super) fn reaches_the_posterior(record: &Record) -> Finding {
    let (mut found, mut figures, mut excess) = (Outcomes::default(), Vec::new(), 0f64);
    let settings: Vec<&Value> = settings_of_oracle(record).collect();
    let are_many = settings.len() > SHOWN_SETTINGS;
    for setting in settings {
        let claim = &setting["claim"];
        let holds = claim["holds"] == true;
        found.extend([Outcome::decided(holds)]);
        let of = |what: &str| claim[what].as_f64();
        let over_floor = of("sliced_w2").zip(of("floor")).map(|(w2, floor)| w2 / floor - 1.0);
        excess += over_floor.unwrap_or(f64::INFINITY);
        if are_many && holds {
            continue;
        }
        let number = |what: &str| {
            claim[what].as_f64().map_or("diverged".to_owned(), |value| format!("{value:.3}"))
        };
        let label = setting["label"].as_str().unwrap_or("?");
        let [w2, floor, bound] = ["sliced_w2", "floor", "bound"].map(number);
        figures.push(format!("{label}: {w2} ({floor}; {bound})"));
    }
    let unit = "W2 (that of two exact sets; the bound) ";
    if !are_many {
        return finding(found, unit, &figures);
    }
    let mean = 100.0 * excess / found.all() as f64;
    let all =
        format!("{} settings, W2 on average {mean:+.1} % from that of two exact sets", found.all());
    let unit =
        if figures.is_empty() { String::new() } else { format!("; above the bound: {unit}") };
    finding(found, &(all + &unit), &figures)
}

/// In how many settings each method stays above the bound that EPS meets with 1,000 calls: the methods without
/// training with the number of calls that is best for them there, EPS by Euler's method with the most of theirs.
pub(super) fn contenders_miss_the_posterior(record: &Record) -> Finding {
    let (mut found, mut figures) = (Outcomes::default(), Vec::<(String, usize, usize)>::new());
    let mut most = 0;
    for setting in settings_of_oracle(record) {
        let bound = setting["claim"]["bound"].as_f64()?;
        for method in setting["methods"].as_array()? {
            // It goes on to the 1,000 calls of the claim about it.
            if method["method"] == "eps-heun" {
                continue;
            }
            let is_contender = method["method"] != "eps-euler";
            let label = method["label"].as_str()?.to_owned();
            let curve = method["curve"].as_array()?;
            most = most.max(curve.last()?["nfe"].as_u64().unwrap_or(0));
            let points = if is_contender { &curve[..] } else { &curve[curve.len() - 1..] };
            // None where it diverged.
            let reaches = |point: &Value| {
                score(&point["over_measurements"], "sliced_w2").is_some_and(|(w2, _)| w2 <= bound)
            };
            let misses = !points.iter().any(reaches);
            found.extend(is_contender.then(|| Outcome::decided(misses)));
            match figures.iter_mut().find(|(known, ..)| *known == label) {
                Some((_, missed, of)) => (*missed, *of) = (*missed + usize::from(misses), *of + 1),
                None => figures.push((label, usize::from(misses), 1)),
            }
        }
    }
    let figures: Vec<String> = figures
        .iter()
        .map(|(label, missed, of)| format!("{label} misses it in {missed} of {of}"))
        .collect();
    finding(found, &format!("up to {most} calls: "), &figures)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    fn row_of(cell: &str, psnr: f64, energy: f64) -> Value {
        // Differences between EPS and others vary by 0.46: their mean is known to ±1.1.
        let of_images = if cell.starts_with("eps") { [-0.5, 0.9, -0.4] } else { [-1.0, 1.0, 0.0] };
        json!({"cell": cell, "mean_of": null, "energy_score_fair": energy,
            "psnr_db": {"mean": psnr, "standard_deviation": 0.1},
            "of_images": {"psnr_db": of_images.map(|of_image| psnr + of_image),
                "energy_score_fair": of_images.map(|of_image| energy + 0.1 * of_image)}})
    }

    fn contenders(record: &Record, metrics: &[&str]) -> Finding {
        against_contenders(record, "eps-20", metrics)
    }

    pub(in crate::experiment) fn main_record(eps: (f64, f64)) -> Record {
        let mut rows = vec![row_of("eps-20", eps.0, eps.1), row_of("palette-100", 20.0, 2.0)];
        rows.extend(CONTENDERS[..5].iter().map(|name| row_of(name, 18.0, 3.0)));
        let value = json!({
            "config": {"experiment": "main", "images": [1, 2], "samples": 3,
                "dataset": {"name": "clothes"}},
            "tasks": [{"name": "motion-blur", "table": rows, "curve": [],
                "diverged": [{"cell": "ddrm-20"}]}],
        });
        Record::new(value).unwrap()
    }

    #[test]
    fn a_better_method_wins_and_a_worse_one_loses() {
        let better = main_record((21.5, 1.0));
        let (verdict, figures) = against_palette(&better, "eps-20", "palette-100").unwrap();
        assert_eq!(
            (verdict, figures.as_str()),
            (
                Verdict::Undecided,
                "2 wins, 0 ties, 0 losses of 40 cells, 38 not judged (motion-blur 2, 0, 0)"
            )
        );
        let (verdict, figures) = contenders(&better, &["energy_score_fair", "fd_alex"]).unwrap();
        assert_eq!(verdict, Verdict::InPart);
        assert_eq!(
            figures,
            "energy score: 6 wins, 0 ties, 0 losses; 1 of 5 tasks; not computed or of too few images: \
             FD-AlexNet; not run: ddnm-100, ddnm-published-100, pigdm-100, pigdm-published-100, \
             mpgd-100, mpgd-published-100"
        );

        let close = main_record((20.1, 3.5));
        let (verdict, figures) = against_palette(&close, "eps-20", "palette-100").unwrap();
        assert_eq!(
            (verdict, figures.as_str()),
            (
                Verdict::Fails,
                "0 wins, 1 ties, 1 losses of 40 cells, 38 not judged (motion-blur 0, 1, 1)"
            )
        );
        // The one that diverged is beaten all the same, one that was not run is not counted.
        let mut few = main_record((21.5, 1.0));
        few.value["tasks"][0]["diverged"] = json!([]);
        let (_, figures) = contenders(&few, &["energy_score_fair"]).unwrap();
        assert!(
            figures.starts_with("energy score: 5 wins, 0 ties, 0 losses; 1 of 5 tasks; not run")
        );
        let (verdict, figures) = contenders(&close, &["energy_score_fair"]).unwrap();
        assert_eq!(verdict, Verdict::InPart);
        assert!(
            figures.starts_with("energy score: 1 wins, 0 ties, 5 losses (dps-250 on motion-blur"),
            "{figures}"
        );
    }

    #[test]
    fn a_network_for_all_tasks_stands_in() {
        let rows = [row_of("eps-all-tasks-20", 21.0, 1.0), row_of("palette-100", 20.0, 2.0)];
        let setting = json!({"table": rows, "curve": []});
        let psnr = |cell: &str| score(row(&setting, cell, Of::Samples)?, "psnr_db");
        assert_eq!(psnr("eps-20"), Some((21.0, 0.1)));
        assert_eq!(psnr("palette-100"), Some((20.0, 0.1)));
        assert_eq!((psnr("eps-100"), psnr("dps-20")), (None, None));
    }

    #[test]
    fn the_tournament_is_read() {
        let at = |w2: f64| json!({"nfe": 200, "over_measurements": {"sliced_w2": {"mean": w2}}});
        let method = |name: &str, w2: f64| json!({"method": name, "label": name, "curve": [at(9.0), at(w2)]});
        // It is best with fewer calls.
        let mut ddrm = method("ddrm", 0.2);
        ddrm["curve"].as_array_mut().unwrap().reverse();
        let value = json!({
            "config": {"experiment": "oracle", "measurements": 2, "samples": 500},
            "settings": [{"label": "plane",
                "claim": {"holds": true, "sliced_w2": 0.14, "floor": 0.13, "bound": 0.3},
                "methods": [method("eps-heun", 0.14), method("eps-euler", 0.2),
                    method("dps", 0.8), ddrm]}],
        });
        let record = Record::new(value).unwrap();
        let (verdict, figures) = reaches_the_posterior(&record).unwrap();
        assert_eq!(verdict, Verdict::Holds);
        assert_eq!(figures, "W2 (that of two exact sets; the bound) plane: 0.140 (0.130; 0.300)");
        let (verdict, figures) = contenders_miss_the_posterior(&record).unwrap();
        assert_eq!(verdict, Verdict::InPart);
        assert_eq!(
            figures,
            "1 hold, 0 undecided, 1 contradicted; up to 200 calls: eps-euler misses it in 0 of 1, dps misses \
             it in 1 of 1, ddrm misses it in 0 of 1"
        );
        assert_eq!(record.size(), "2 × 500");

        // Of many settings those that miss the bound are shown.
        let mut many = record;
        let setting = many.value["settings"][0].clone();
        let mut missed = setting.clone();
        missed["claim"] = json!({"holds": false, "sliced_w2": 0.39, "floor": 0.13, "bound": 0.3});
        many.value["settings"] = vec![setting; 11].into_iter().chain([missed]).collect();
        let (verdict, figures) = reaches_the_posterior(&many).unwrap();
        assert_eq!(verdict, Verdict::InPart);
        assert_eq!(
            figures,
            "11 hold, 0 undecided, 1 contradicted; 12 settings, W2 on average +23.7 % from that of two exact \
             sets; above the bound: W2 (that of two exact sets; the bound) plane: 0.390 (0.130; 0.300)"
        );
    }

    #[test]
    fn calibration_is_read_at_100_calls() {
        let estimate =
            |value: f64, half_width: f64| json!({"value": value, "half_width_95": half_width});
        let of = |calls: u64, covered: f64, half_width: f64| {
            let ratios =
                json!({"truth": 0.75, "held_out": 0.745, "difference": estimate(0.005, 0.004)});
            json!({"method": {"name": "eps", "calls": calls}, "ratios": ratios,
                "coverage": [estimate(0.5, 0.1), estimate(0.8, 0.1), estimate(covered, half_width)]})
        };
        let record = |covered: f64, half_width: f64| {
            let rows = [of(20, 0.5, 0.0), of(100, covered, half_width)];
            let value = json!({
                "config": {"experiment": "calibration", "images": [1], "samples": 19},
                "tasks": [{"name": "motion-blur", "calibration": rows}],
            });
            Record::new(value).unwrap()
        };
        let sure = record(0.91, 0.01);
        let found = ratios(&sure).unwrap();
        assert_eq!(found, (Verdict::Holds, "motion-blur +0.0050 ± 0.0040".to_owned()));
        let found = coverage(&sure, EULER).unwrap();
        assert_eq!(found, (Verdict::Holds, "motion-blur 91.0 ± 1.0 %".to_owned()));
        assert_eq!(coverage(&sure, HEUN), None);
        let verdict =
            |covered, half_width| coverage(&record(covered, half_width), EULER).unwrap().0;
        assert_eq!(verdict(0.91, 0.05), Verdict::Undecided);
        assert_eq!(verdict(0.82, 0.04), Verdict::Fails);
    }

    #[test]
    fn a_psnr_is_decided_by_its_interval() {
        let record = |offsets: [[f64; 3]; 2]| {
            let settings = offsets.map(|offsets| {
                let row = |cell: &str, psnr: [f64; 3]| {
                    json!({"cell": cell, "mean_of": null, "of_images": {"psnr_db": psnr},
                        "psnr_db": {"mean": psnr.iter().sum::<f64>() / 3.0}})
                };
                let rows = [row("a", offsets.map(|offset| 20.0 + offset)), row("b", [20.0; 3])];
                json!({"name": "task", "table": rows, "curve": []})
            });
            Record::new(json!({"config": {"experiment": "inputs"}, "tasks": settings})).unwrap()
        };
        let verdict = |offsets| psnr(&record(offsets), samples("a"), samples("b"), 0.0).unwrap();
        let (above, below, unclear) = ([0.9, 1.0, 1.1], [-0.9, -1.0, -1.1], [-2.0, 3.0, 1.0]);
        assert_eq!(verdict([above, above]).0, Verdict::Holds);
        assert_eq!(verdict([above, unclear]).0, Verdict::InPart);
        assert_eq!(verdict([unclear, unclear]).0, Verdict::Undecided);
        let (found, figures) = verdict([below, unclear]);
        assert_eq!(found, Verdict::Fails);
        assert!(
            figures.starts_with("0 hold, 1 undecided, 1 contradicted; dB: task -1.00"),
            "{figures}"
        );
    }

    #[test]
    fn the_cost_of_a_call_is_a_median_over_images() {
        let row = |cell: &str, seconds: Vec<f64>| json!({"cell": cell, "mean_of": null, "of_images": {"seconds_a_call": seconds}});
        // One image was disturbed.
        let mut disturbed = vec![1.002; 29];
        disturbed.push(9.0);
        let rows = [row("unconditional-100", vec![1.0; 30]), row("eps-100", disturbed)];
        let value = json!({"config": {"experiment": "runtime"},
            "tasks": [{"name": "motion-blur", "table": rows, "curve": []}]});
        let found = runtime(&Record::new(value).unwrap()).unwrap();
        assert_eq!(found, (Verdict::Holds, "eps 1.002 × (1.002 to 1.002)".to_owned()));
        let [low, middle, high] = median((1..=30).map(f64::from).collect()).unwrap();
        assert_eq!((low, middle, high), (10.0, 15.5, 21.0));
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![2.0]), Some([2.0; 3]));
    }
}

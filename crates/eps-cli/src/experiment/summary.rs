//! The tables of committed results, as one Markdown file.

use std::fmt::Write as _;

use serde_json::Value;

use super::claims::{Record, settings_of_oracle};
use super::comparison::{comparable, score};
use super::neighbours::in_words;

/// The scores that are shown, with the number of decimals.
const SCORES: [(&str, &str, usize); 12] = [
    ("psnr_db", "PSNR (dB)", 2),
    ("ssim", "SSIM", 3),
    ("lpips_alex", "LPIPS", 3),
    ("fd_alex", "FD-AlexNet", 1),
    ("energy_score", "energy score", 3),
    ("energy_score_fair", "fair", 3),
    ("mmd2", "MMD²", 4),
    ("energy_score_alex", "energy score (AlexNet)", 2),
    ("mmd2_alex", "MMD² (AlexNet)", 4),
    ("fid", "FID", 1),
    ("energy_score_inception", "energy score (Inception)", 2),
    ("mmd2_inception", "MMD² (Inception)", 4),
];

/// The whole file.
pub(super) fn markdown(records: &[Record]) -> String {
    let mut text = "# Results\n\nWritten by `eps claims --tables` from the committed results; what a row \
                    is and how it was measured is in [experiments.md](experiments.md). Numbers are means \
                    over images ± the standard deviation over posterior seeds (of the tournament over measurements), all \
                    on the test split; a score that needs more images than there are is left out, and a \
                    Fréchet distance of fewer than twice as many images as features compares methods at equal \
                    counts alone. The energy score of J samples is that of \
                    the paper, with the pair term 1/(2J²), and in its fair form, which alone compares methods \
                    without regard to J; MMD² is of all samples together and to be compared at equal J only. \
                    Reading of the results: \
                    [claims.md](claims.md).\n"
        .to_owned();
    for record in records {
        text += &section(record);
    }
    text
}

fn section(record: &Record) -> String {
    let (config, environment) = (&record.value["config"], &record.value["environment"]);
    let revision = of(&environment["revision"]);
    let mut text = format!(
        "\n## `{}`, {}\n\n{} (images × samples), precision {}, `{}` at revision {}.\n",
        record.experiment,
        record.data(),
        record.size(),
        config["precision"].as_str().unwrap_or("f64"),
        of(&environment["command"]),
        short(&revision),
    );
    if record.experiment == "oracle" {
        text += &tournament(record);
    }
    let networks: Vec<String> = array(&config["networks"]).filter_map(training).collect();
    if !networks.is_empty() {
        text += &format!("\nSteps of training in all: {}.\n", networks.join(", "));
    }
    for setting in record.settings() {
        let (experiment, data) = (&record.experiment, record.data());
        text += &format!("\n### {experiment}, {data}: {}\n\n", of(&setting["name"]));
        let rows = || ["table", "curve"].into_iter().flat_map(|which| array(&setting[which]));
        if record.experiment == "calibration" {
            text += &calibration(setting);
        }
        // Elsewhere other work ran on the machine.
        text += &table(&rows().collect::<Vec<_>>(), record.experiment == "runtime");
        let found = &setting["neighbours"];
        let distances = ["sample_distance", "truth_distance"].map(|which| found[which].as_f64());
        if let [Some(of_samples), Some(of_truths)] = distances {
            let said = in_words(&label(setting, &found["method"]), of_samples, of_truths);
            text += &format!("\n{said}\n");
        }
        for method in array(&setting["diverged"]) {
            let line = writeln!(text, "\n{} diverged.", of(&method["cell"]));
            debug_assert!(line.is_ok(), "writing to a string");
        }
    }
    text
}

fn of(value: &Value) -> String {
    value.as_str().unwrap_or("?").to_owned()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Lines of a Markdown table.
fn lines(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let rule: Vec<String> =
        (0..headings.len()).map(|i| if i == 0 { "---" } else { "---:" }.to_owned()).collect();
    let rows: String = rows.map(|row| line(&row)).collect();
    line(&head) + &line(&rule) + &rows
}

/// The rows of a setting with the scores that any of them has.
fn table(rows: &[&Value], is_timed: bool) -> String {
    let shown: Vec<_> = SCORES
        .into_iter()
        .filter(|(name, ..)| rows.iter().any(|row| comparable(row, name).is_some()))
        .collect();
    let mut headings = vec!["method", "NFE"];
    headings.extend(shown.iter().map(|(_, heading, _)| heading));
    if is_timed {
        headings.push("ms a sample");
    }
    let row = |row: &&Value| {
        let mut cells = vec![of(&row["label"]), row["nfe"].to_string()];
        for (name, _, decimals) in &shown {
            cells.push(match comparable(row, name) {
                Some((value, 0.0)) => format!("{value:.decimals$}"),
                Some((value, spread)) => format!("{value:.decimals$} ± {spread:.decimals$}"),
                None => String::new(),
            });
        }
        if is_timed {
            let seconds = row["seconds"].as_f64();
            cells.push(seconds.map_or(String::new(), |seconds| format!("{:.1}", 1e3 * seconds)));
        }
        cells
    };
    lines(&headings, rows.iter().map(row))
}

/// How long a network was trained, its starts included.
fn training(network: &Value) -> Option<String> {
    let legs = network["training"].as_array()?;
    let steps: u64 = legs.iter().filter_map(|leg| leg["steps"].as_u64()).sum();
    let batch = legs.first()?["batch"].as_u64()?;
    Some(format!("`{}` {steps} of {batch} images", network["name"].as_str()?))
}

/// The first ten digits of a revision, and whether the program differed from it.
fn short(revision: &str) -> String {
    let (commit, dirty) = revision.split_at(revision.find('-').unwrap_or(revision.len()));
    format!("{}{dirty}", commit.get(..10).unwrap_or(commit))
}

/// The label of a method: its first row is that of its samples.
fn label(setting: &Value, method: &Value) -> String {
    let row = array(&setting["table"]).find(|row| row["method"] == *method);
    row.map_or(String::new(), |row| of(&row["label"]))
}

/// Energy ratios and coverage of every method; ± is the half width of a 95 % interval over images.
fn calibration(setting: &Value) -> String {
    let headings = [
        "method",
        "ratio of the truth",
        "of an eleventh sample",
        "difference",
        "in 50 % intervals (%)",
        "in 80 %",
        "in 90 %",
        "pixels ranked (%)",
        "in 90 % of all pixels",
    ];
    let estimate = |estimate: &Value, scale: f64, decimals: usize| {
        let of = |which: &str| estimate[which].as_f64().map(|value| scale * value);
        match (of("value"), of("half_width_95")) {
            (Some(value), Some(half_width)) => {
                format!("{value:.decimals$} ± {half_width:.decimals$}")
            }
            (Some(value), None) => format!("{value:.decimals$}"),
            _ => String::new(),
        }
    };
    let row = |row: &Value| {
        let mut cells = vec![label(setting, &row["method"])];
        cells.extend(["truth", "held_out"].map(|which| {
            row["ratios"][which].as_f64().map_or(String::new(), |value| format!("{value:.4}"))
        }));
        cells.push(estimate(&row["ratios"]["difference"], 1.0, 4));
        cells.extend(array(&row["coverage"]).map(|covered| estimate(covered, 100.0, 1)));
        let share = row["ranks"]["share"].as_f64();
        cells.push(share.map_or(String::new(), |share| format!("{:.1}", 100.0 * share)));
        let of_all = array(&row["coverage_of_all"]).last();
        cells.push(of_all.map_or(String::new(), |covered| estimate(covered, 100.0, 1)));
        cells
    };
    lines(&headings, array(&setting["calibration"]).map(row)) + "\n"
}

/// Sliced W2 of every method at its most calls: tables for every prior, of [`COLUMNS`] settings at most.
fn tournament(record: &Record) -> String {
    let settings: Vec<&Value> = settings_of_oracle(record).collect();
    let prior = |setting: &&Value| of(&setting["label"]).split(',').next().map(str::to_owned);
    let groups = settings.chunk_by(|a, b| prior(a) == prior(b));
    groups.flat_map(|group| group.chunks(COLUMNS)).map(tournament_of).collect()
}

/// The columns of a table of the tournament.
const COLUMNS: usize = 6;

/// A column a setting.
fn tournament_of(settings: &[&Value]) -> String {
    let mut headings = vec!["sliced W2 at the most calls"];
    headings.extend(settings.iter().filter_map(|setting| setting["label"].as_str()));
    let mut methods: Vec<&str> = Vec::new();
    for method in settings.iter().flat_map(|setting| array(&setting["methods"])) {
        let label = method["label"].as_str().unwrap_or("?");
        if !methods.contains(&label) {
            methods.push(label);
        }
    }
    let row = |label: &&str| {
        let mut cells = vec![(*label).to_owned()];
        cells.extend(settings.iter().map(|setting| {
            let Some(method) = array(&setting["methods"]).find(|m| m["label"] == **label) else {
                return String::new();
            };
            let last = array(&method["curve"]).last();
            last.and_then(|point| score(&point["over_measurements"], "sliced_w2"))
                .map_or("diverged".to_owned(), |(value, spread)| {
                    format!("{value:.3} ± {spread:.3}")
                })
        }));
        cells
    };
    let floor = |setting: &&Value| {
        setting["claim"]["floor"].as_f64().map_or(String::new(), |value| format!("{value:.3}"))
    };
    let mut floors = vec!["two exact sets".to_owned()];
    floors.extend(settings.iter().map(floor));
    format!("\n{}", lines(&headings, methods.iter().map(row).chain([floors])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_has_the_scores_that_any_row_has() {
        let with = json!({"label": "EPS, 20 calls, mean of 3", "nfe": 20, "mean_of": 3, "seconds": 0.0821,
            "psnr_db": {"mean": 21.337, "standard_deviation": 0.25}, "ssim": 0.8,
            "features": {"fd_alex": 2.0}, "cautions": {"fd_alex": "few images"}});
        let without = json!({"label": "A†y", "nfe": 0, "mean_of": null, "psnr_db": 9.0});
        assert_eq!(
            table(&[&with, &without], true),
            "| method | NFE | PSNR (dB) | SSIM | ms a sample |\n| --- | ---: | ---: | ---: | ---: |\n\
             | EPS, 20 calls, mean of 3 | 20 | 21.34 ± 0.25 | 0.800 | 82.1 |\n\
             | A†y | 0 | 9.00 |  |  |\n"
        );
    }

    #[test]
    fn a_tournament_has_a_table_a_prior_and_a_column_a_setting() {
        let method = json!({"label": "EPS", "curve": [
            {"over_measurements": {"sliced_w2": {"mean": 0.1234, "standard_deviation": 0.01}}}]});
        let value = json!({"config": {"experiment": "oracle", "profile": "quick", "measurements": 2, "samples": 5},
            "environment": {"command": "eps", "revision": "0123456789abcdef"},
            "settings": [{"label": "plane", "methods": [method], "claim": {"floor": 0.1}},
                {"label": "4×4, means", "methods": [method], "claim": {"floor": 0.2}}]});
        let text = markdown(&[Record::new(value).unwrap()]);
        assert!(
            text.contains("| EPS | 0.123 ± 0.010 |\n| two exact sets | 0.100 |\n\n| "),
            "{text}"
        );
        assert!(text.contains("| EPS | 0.123 ± 0.010 |\n| two exact sets | 0.200 |\n"), "{text}");
        assert!(text.contains("## `oracle`, exact denoisers, quick\n\n2 × 5 (images"), "{text}");
        assert!(text.contains("at revision 0123456789."), "{text}");
    }
}

//! The tables of committed results, a Markdown file for each experiment.

use eps_results::reach;
use eps_results::tournament::{
    BEYOND, Distance, EXPERIMENT, MethodResults, TournamentSettingResults,
};
use eps_results::{
    Calibration, Environment, Experiment, Metric, NetworkFile, ReachResults, Record, Results, Row,
    TaskResults, TournamentResults, WITH_BACKWARD,
};

use crate::chart::Chart;
use crate::comparison::comparable;
use crate::quality::{charts, charts_by_time};
use crate::reach_table::{reach_psnr_table, reach_summary, reach_table};
use crate::table::{Table, with_interval};
use crate::tournament_table::{FLOOR, tournament_summary};

/// The scores that are shown, with the number of decimals.
const SCORES: [(Metric, &str, usize); 12] = [
    (Metric::PsnrDb, "PSNR (dB)", 2),
    (Metric::Ssim, "SSIM", 3),
    (Metric::LpipsAlex, "LPIPS", 3),
    (Metric::FdAlex, "FD-AlexNet", 1),
    (Metric::EnergyScore, "energy score", 3),
    (Metric::EnergyScoreFair, "fair", 3),
    (Metric::Mmd2, "MMD²", 4),
    (Metric::EnergyScoreAlex, "energy score (AlexNet)", 2),
    (Metric::Mmd2Alex, "MMD² (AlexNet)", 4),
    (Metric::Fid, "FID", 1),
    (Metric::EnergyScoreInception, "energy score (Inception)", 2),
    (Metric::Mmd2Inception, "MMD² (Inception)", 4),
];

/// A page or a figure with the name of its file.
#[derive(Debug)]
pub struct ResultsPage {
    /// `DATASET-EXPERIMENT.md`, `oracle-PROFILE.md`, `README.md`, or `DATASET-steps-TASK.svg`.
    pub name: String,
    /// Markdown, or SVG.
    pub text: String,
}

/// The tables of results: an index as `README.md`, then a page for each experiment on a data set, and the curves of quality against network
/// calls, which are the paper's Figure 3.
#[must_use]
pub fn results_pages(records: &[Record]) -> Vec<ResultsPage> {
    let mut index = "# Results\n\nWritten by `eps claims --tables` from the committed results; what a row \
                     is and how it was measured is in [experiments.md](../experiments.md). What the results say: \
                     [claims.md](../claims.md).\n\n\
                     - Numbers are means over the images of the test split. ± is the standard deviation over the \
                     samples of an image, counted by their number (first samples, second ones, and so on); of `oracle` \
                     over measurements.\n\
                     - The *energy score* of J samples is that of the paper, with the pair term 1/(2J²). Compare methods \
                     by the *fair* one, which does not depend on J.\n\
                     - Compare MMD² and Fréchet distances at equal numbers of samples alone.\n\
                     - A score that needs more images than there are is left out.\n\n"
        .to_owned();
    let row = |record: &Record| {
        let experiment = record.experiment();
        vec![format!("[`{experiment}`]({})", name(record)), record.data(), record.size()]
    };
    index += &lines(&["experiment", "data", "images × samples"], records.iter().map(row));
    let index = ResultsPage { name: "README.md".to_owned(), text: index };
    let pages = records.iter().flat_map(|record| {
        let page = ResultsPage { name: name(record), text: page(record) };
        std::iter::once(page).chain(curves(record))
    });
    std::iter::once(index).chain(pages).collect()
}

/// Quality against network calls and against time, two figures for each task of an experiment that is about it.
fn curves(record: &Record) -> Vec<ResultsPage> {
    let Record::Experiment(results) = record else { return Vec::new() };
    if results.config.experiment != Experiment::Steps {
        return Vec::new();
    }
    let page = name(record);
    let mut figures = Vec::new();
    for task in &results.tasks {
        for curves in CURVES {
            let charts = (curves.charts)(task);
            if !charts.is_empty() {
                let text = Chart::panels(&charts, charts.len());
                figures.push(ResultsPage { name: curves.file(&page, task), text });
            }
        }
    }
    figures
}

/// A figure of a task's curves.
struct Curves {
    /// What its files' names end in.
    ending: &'static str,
    charts: fn(&TaskResults) -> Vec<Chart>,
    /// What it shows.
    about: fn() -> String,
}

/// The figures of a task: the paper's Figure 3, and the same against time.
const CURVES: [Curves; 2] = [
    Curves {
        ending: "",
        charts,
        about: || "quality against network calls, every method a line".to_owned(),
    },
    Curves {
        ending: "-time",
        charts: charts_by_time,
        about: || {
            let backward = WITH_BACKWARD - 1.0;
            format!(
                "quality against the time of a sample in network calls, of which a backward pass takes {backward:.1}"
            )
        },
    },
];

impl Curves {
    /// The name of the file, by that of the page.
    fn file(&self, page: &str, task: &TaskResults) -> String {
        format!("{}-{}{}.svg", page.trim_end_matches(".md"), task.name, self.ending)
    }
}

/// The name of the file of an experiment's tables.
fn name(record: &Record) -> String {
    let (first, second) = match record {
        Record::Experiment(results) => {
            let dataset = &results.config.dataset.name;
            (dataset.split(',').next().unwrap_or(dataset), results.config.experiment.name())
        }
        Record::Tournament(results) => (EXPERIMENT, results.config.profile.as_str()),
        Record::Reach(results) => {
            let dataset = &results.config.dataset.name;
            (dataset.split(',').next().unwrap_or(dataset), reach::EXPERIMENT)
        }
    };
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    let plain = |letter: char| if is_plain(letter) { letter } else { '-' };
    format!("{first}-{second}.md").to_lowercase().chars().map(plain).collect()
}

/// The tables of an experiment.
fn page(record: &Record) -> String {
    let experiment = record.experiment();
    let (environment, precision) = match record {
        Record::Experiment(results) => (&results.environment, results.config.precisions()),
        Record::Tournament(results) => (&results.environment, "f64".to_owned()),
        Record::Reach(results) => {
            (&results.environment, results.config.precision.name().to_owned())
        }
    };
    let mut text = format!(
        "# `{experiment}`, {}\n\n{} (images × samples), precision {precision}, `{}` at revision {}. How to read \
         the tables: [README.md](README.md).\n",
        record.data(),
        record.size(),
        environment.command,
        short(environment.revision.as_deref().unwrap_or("?")),
    );
    if let Record::Experiment(results) = record
        && !results.joined.is_empty()
    {
        let run = |joined: &Environment| {
            let revision = short(joined.revision.as_deref().unwrap_or("?"));
            format!("`{}` at revision {revision}", joined.command)
        };
        let runs: Vec<String> = results.joined.iter().map(run).collect();
        text += &format!(
            "\nFurther rows, of the same images and measurements, are of {}.\n",
            runs.join(", and of ")
        );
    }
    text += &match record {
        Record::Experiment(results) => networks_and_settings(results, &name(record)),
        Record::Tournament(results) => tournament(results),
        Record::Reach(results) => reach_of(results),
    };
    text
}

/// How long the networks were trained, and the tables of the settings.
fn networks_and_settings(results: &Results, page: &str) -> String {
    let mut text = String::new();
    let experiment = results.config.experiment;
    let networks: Vec<String> = results.config.networks.iter().filter_map(training).collect();
    if !networks.is_empty() {
        text += &format!(
            "\nSteps of training, as far as configurations were at hand: {}.\n",
            networks.join(", ")
        );
    }
    for setting in &results.tasks {
        text += &format!("\n## {}\n\n", setting.name);
        if experiment == Experiment::Calibration {
            text += &calibration(&setting.calibration);
        }
        for curves in CURVES.iter().filter(|_| experiment == Experiment::Steps) {
            if !(curves.charts)(setting).is_empty() {
                let (about, file) = ((curves.about)(), curves.file(page, setting));
                text += &format!("![{}: {about}]({file})\n\n", setting.name);
            }
        }
        // Elsewhere other work ran on the machine.
        text += &table(setting, experiment == Experiment::Runtime);
        if let Some(found) = &setting.neighbours {
            text += &format!("\n{}\n", found.sentence());
        }
        for method in &setting.diverged {
            text += &format!("\n{} diverged.\n", method.cell);
        }
    }
    text
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
fn table(setting: &TaskResults, is_timed: bool) -> String {
    let shown: Vec<_> = SCORES
        .into_iter()
        .filter(|(metric, ..)| setting.rows().any(|row| comparable(row, *metric).is_some()))
        .collect();
    let mut headings = vec!["method", "NFE"];
    headings.extend(shown.iter().map(|(_, heading, _)| heading));
    if is_timed {
        headings.push("ms a sample");
    }
    let row = |row: &Row| {
        let mut cells = vec![row.label.clone(), row.nfe.to_string()];
        for (metric, _, decimals) in &shown {
            cells.push(match comparable(row, *metric) {
                Some((value, Some(spread))) if spread > 0.0 => {
                    format!("{value:.decimals$} ± {spread:.decimals$}")
                }
                Some((value, _)) => format!("{value:.decimals$}"),
                None => String::new(),
            });
        }
        if is_timed {
            cells.push(format!("{:.1}", 1e3 * row.seconds));
        }
        cells
    };
    lines(&headings, setting.rows().map(row))
}

/// How far a network reaches: what it was trained for, its score on every question beside those of others, and the PSNR of means.
fn reach_of(results: &ReachResults) -> String {
    let networks: Vec<String> = results.config.networks.iter().filter_map(training).collect();
    let table = |table: Table| {
        let headings: Vec<&str> = table.headings.iter().map(String::as_str).collect();
        lines(&headings, table.rows.into_iter())
    };
    format!(
        "\nSteps of training (those of earlier legs are what their configurations say, where these were at hand): {}. Constants of the methods without training: chosen for each question on {} validation images × {}.\n\n\
         {}.\n\n## Fair energy score\n\nOn [0, 1] pixels, the mean over images ± half a 95 % interval; the less the better. Differences \
         are taken image by image, to the method without training of the least mean.\n\n{}\n## PSNR of the mean of the samples (dB)\n\n{}",
        networks.join(", "),
        results.config.tuning_images,
        results.config.tuning_samples,
        reach_summary(results),
        table(reach_table(results)),
        table(reach_psnr_table(results)),
    )
}

/// How long a network was trained, its starts included where their configurations were found, by the size of a batch.
fn training(network: &NetworkFile) -> Option<String> {
    let mut steps: Vec<(u64, u64)> = Vec::new();
    for leg in &network.training {
        match steps.iter_mut().find(|(batch, _)| *batch == leg.batch) {
            Some((_, steps)) => *steps += leg.steps,
            None => steps.push((leg.batch, leg.steps)),
        }
    }
    let steps: Vec<String> =
        steps.iter().map(|(batch, steps)| format!("{steps} of {batch}")).collect();
    (!steps.is_empty()).then(|| format!("`{}` {} images", network.name, steps.join(" and ")))
}

/// The first ten digits of a revision, and whether the program differed from it.
fn short(revision: &str) -> String {
    let (commit, dirty) = revision.split_at(revision.find('-').unwrap_or(revision.len()));
    format!("{}{dirty}", commit.get(..10).unwrap_or(commit))
}

/// Energy ratios and coverage of every method; ± is the half width of a 95 % interval over images.
fn calibration(rows: &[Calibration]) -> String {
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
    let row = |row: &Calibration| {
        let mut cells = vec![row.method.label()];
        cells.extend([row.ratios.truth, row.ratios.held_out].map(|value| format!("{value:.4}")));
        cells.push(with_interval(&row.ratios.difference, 1.0, 4));
        cells.extend(row.coverage.iter().map(|covered| with_interval(covered, 100.0, 1)));
        cells.push(format!("{:.1}", 100.0 * row.ranks.share));
        let [.., of_all] = &row.coverage_of_all;
        cells.push(with_interval(of_all, 100.0, 1));
        cells
    };
    lines(&headings, rows.iter().map(row)) + "\n"
}

/// Sliced W2 of every method: the mean over settings at several numbers of calls, then every setting at the most calls, in tables for
/// every prior, of [`COLUMNS`] settings at most.
fn tournament(results: &TournamentResults) -> String {
    let Table { headings, rows } = tournament_summary(results);
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let summary = lines(&headings, rows.into_iter());
    let prior = |setting: &TournamentSettingResults| setting.setting.group();
    let groups = results.settings.chunk_by(|a, b| prior(a) == prior(b));
    let tables: String =
        groups.flat_map(|group| group.chunks(COLUMNS)).map(tournament_of).collect();
    format!(
        "\nDistances are in deviations of the posterior: first the mean over settings and measurements, over all settings and by prior \
         at the most calls, then every setting.\n\n{summary}{tables}"
    )
}

/// The columns of a table of the tournament.
const COLUMNS: usize = 6;

/// A column a setting.
fn tournament_of(settings: &[TournamentSettingResults]) -> String {
    let mut headings = vec!["sliced W2 at the most calls"];
    headings.extend(settings.iter().map(|setting| setting.label.as_str()));
    let mut methods: Vec<&MethodResults> = Vec::new();
    for method in settings.iter().flat_map(|setting| &setting.methods) {
        if !methods.iter().any(|known| known.method == method.method) {
            methods.push(method);
        }
    }
    let row = |method: &&MethodResults| {
        let mut cells = vec![method.label.clone()];
        cells.extend(settings.iter().map(|setting| {
            let Some(found) = setting.method(method.method) else {
                return String::new();
            };
            let last = found.curve.last();
            last.and_then(|point| point.over_measurements.get(&Distance::SlicedW2))
                .map_or(BEYOND.to_owned(), |spread| format!("{spread:.3}"))
        }));
        cells
    };
    let floor = |setting: &TournamentSettingResults| {
        setting.claim.as_ref().map_or(String::new(), |claim| format!("{:.3}", claim.floor))
    };
    let mut floors = vec![FLOOR.to_owned()];
    floors.extend(settings.iter().map(floor));
    format!("\n{}", lines(&headings, methods.iter().map(row).chain([floors])))
}

#[cfg(test)]
mod tests {
    use eps_metrics::summary::Spread;
    use eps_results::{Method, Scope};

    use super::*;
    use crate::sample_results::{row_of, setting_of, tournament_of_two};

    #[test]
    fn a_row_has_the_scores_that_any_row_has() {
        let eps = Method::Eps { network: Scope::PerTask, calls: 20 };
        let mut with = Row { mean_of: Some(3), seconds: 0.0821, ..row_of(eps, 21.337) };
        with.label = eps.label_of(Some(3));
        with.psnr_db.standard_deviation = Some(0.25);
        with.ssim = Spread { mean: 0.8, standard_deviation: None, n: 1 };
        with.features.insert(Metric::FdAlex, Some(2.0));
        with.cautions.insert(Metric::FdAlex, "few images".to_owned());
        let mut without = row_of(Method::PseudoInverse, 9.0);
        without.psnr_db.standard_deviation = None;
        without.ssim = with.ssim;
        assert_eq!(
            table(&setting_of(vec![with, without]), true),
            "| method | NFE | PSNR (dB) | SSIM | ms a sample |\n| --- | ---: | ---: | ---: | ---: |\n\
             | EPS, 20 calls, mean of 3 | 20 | 21.34 ± 0.25 | 0.800 | 82.1 |\n\
             | A†y | 0 | 9.00 | 0.800 | 0.0 |\n"
        );
    }

    #[test]
    fn a_tournament_has_a_table_a_prior_and_a_column_a_setting() {
        let mut results = tournament_of_two();
        let sliced = Spread { mean: 0.1234, standard_deviation: Some(0.01), n: 2 };
        for (setting, floor) in results.settings.iter_mut().zip([0.1, 0.2]) {
            setting.methods.truncate(1);
            let last = setting.methods[0].curve.last_mut().unwrap();
            last.over_measurements.insert(Distance::SlicedW2, sliced);
            setting.claim.as_mut().unwrap().floor = floor;
        }
        let pages = results_pages(&[Record::Tournament(Box::new(results))]);
        let [index, ResultsPage { name, text }] = &pages[..] else { panic!("{pages:?}") };
        assert_eq!((index.name.as_str(), name.as_str()), ("README.md", "oracle-quick.md"));
        let row = "| [`oracle`](oracle-quick.md) | exact denoisers, quick | 2 × 500 |\n";
        assert!(index.text.ends_with(row), "{}", index.text);
        assert!(
            text.contains("| EPS, Euler | 0.123 ± 0.010 |\n| two exact sets | 0.100 |\n\n| "),
            "{text}"
        );
        assert!(
            text.contains("| EPS, Euler | 0.123 ± 0.010 |\n| two exact sets | 0.200 |\n"),
            "{text}"
        );
        assert!(
            text.starts_with("# `oracle`, exact denoisers, quick\n\n2 × 500 (images"),
            "{text}"
        );
        assert!(text.contains("at revision 0123456789."), "{text}");
    }
}

//! `eps claims`: what results say about each claim of the paper, and about ours.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use eps_files::write_bytes;
use eps_math::Task;
use serde_json::Value;

use super::summary;
use super::verdicts::{
    ERROR_OF_MEAN, EULER, Finding, HEUN, against_contenders, against_palette,
    contenders_miss_the_posterior, coverage, energy, error_of_mean, means, overhead, psnr, ratios,
    reaches_the_posterior, runtime, samples, saturation,
};
use crate::report;

/// Write a table of claims with what results say about each.
///
/// Every claim is one line for each data set with results: what it says, the experiment that tests it,
/// whether it holds, and the figures: differences with the half widths of their 95 % intervals. A claim whose experiment is not among the results is open.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The results.json of experiments, one of each on a data set at most
    #[arg(value_name = "RESULTS.json", required = true)]
    results: Vec<PathBuf>,
    /// The Markdown file to write
    #[arg(long, value_name = "FILE", default_value = "docs/claims.md")]
    out: PathBuf,
    /// A second Markdown file, for the tables of all results
    #[arg(long, value_name = "FILE")]
    tables: Option<PathBuf>,
    /// An SVG file for the curves of the tournament with exact denoisers
    #[arg(long, value_name = "FILE")]
    tournament: Option<PathBuf>,
}

impl Arguments {
    /// Writes the file.
    ///
    /// # Errors
    /// A file that is no results, two files of one experiment, and output that cannot be written.
    pub(crate) fn run(&self) -> Result<()> {
        let mut records = Vec::new();
        for path in &self.results {
            let what = || format!("{} is no results.json of an experiment", path.display());
            let text = std::fs::read_to_string(path).with_context(what)?;
            let record: Value = serde_json::from_str(&text).with_context(what)?;
            let record = Record::new(record).with_context(what)?;
            ensure!(
                !record.data().ends_with("validation") && !record.data().ends_with("train"),
                "{}: claims are about test images, these results are about {}",
                path.display(),
                record.data()
            );
            let same = |other: &Record| {
                (&other.experiment, other.data()) == (&record.experiment, record.data())
            };
            if records.iter().any(same) {
                let (path, data) = (path.display(), record.data());
                bail!("{path}: results of {} on {data} are given twice", record.experiment);
            }
            records.push(record);
        }
        let write = |path: &Path, text: &str| -> Result<()> {
            // A file of this kind, by how it begins.
            let beginning = |text: &str| text.chars().take(8).collect::<String>();
            let found = std::fs::read_to_string(path);
            ensure!(
                !path.exists() || found.is_ok_and(|found| beginning(&found) == beginning(text)),
                "{} holds something else than what is to be written: name another file",
                path.display()
            );
            write_bytes(path, text.as_bytes())?;
            println!("{}", path.display());
            Ok(())
        };
        if let Some(tables) = &self.tables {
            write(tables, &summary::markdown(&records))?;
        }
        if let Some(path) = &self.tournament {
            // Of two profiles that with fewer settings, which a figure can show.
            let oracles = records.iter().filter(|record| record.experiment == "oracle");
            let record = oracles.min_by_key(|record| settings_of_oracle(record).count());
            let record = record.context("--tournament: no results of `oracle` are given")?;
            let settings: Vec<&Value> = settings_of_oracle(record).collect();
            write(path, &report::oracle::figure(&settings))?;
        }
        write(&self.out, &markdown(&records))
    }
}

/// The results of one experiment.
#[derive(Debug)]
pub(super) struct Record {
    /// Its name.
    pub(super) experiment: String,
    /// What results.json holds.
    pub(super) value: Value,
}

impl Record {
    pub(super) fn new(value: Value) -> Result<Self> {
        let experiment = value["config"]["experiment"].as_str();
        let experiment = experiment.context("the field config.experiment is missing")?;
        let experiment = experiment.to_owned();
        Ok(Self { experiment, value })
    }

    /// The data set; the profile of the tournament, which has none.
    pub(super) fn data(&self) -> String {
        let config = &self.value["config"];
        match config["dataset"]["name"].as_str() {
            Some(name) => name.to_owned(),
            None => format!("exact denoisers, {}", config["profile"].as_str().unwrap_or("?")),
        }
    }

    /// What was computed: images and samples of each.
    pub(super) fn size(&self) -> String {
        let config = &self.value["config"];
        let images = match config["images"].as_array() {
            Some(images) => images.len() as u64,
            None => config["measurements"].as_u64().unwrap_or(0),
        };
        let samples = config["samples"].as_u64().unwrap_or(0);
        format!("{images} × {samples}")
    }

    /// What is missing for a claim about every task and tuned contenders.
    pub(super) fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        let tasks = self.settings().count();
        // Tasks of its own.
        let is_whole = self.experiment == "extreme" || tasks >= Task::ALL.len();
        if !is_whole {
            gaps.push(format!("{tasks} of {} tasks", Task::ALL.len()));
        }
        let constants = self.value["config"]["constants"].as_array().into_iter().flatten();
        let untuned = constants.filter(|constant| constant["tuned"] == false).count();
        if untuned > 0 {
            gaps.push(format!("{untuned} constants of contenders are not tuned"));
        }
        gaps
    }

    /// The settings of an experiment on networks.
    pub(super) fn settings(&self) -> impl Iterator<Item = &Value> {
        self.value["tasks"].as_array().into_iter().flatten()
    }
}

/// The settings of the tournament.
pub(super) fn settings_of_oracle(record: &Record) -> impl Iterator<Item = &Value> {
    record.value["settings"].as_array().into_iter().flatten()
}

/// A claim with the experiment that tests it.
struct Claim {
    text: &'static str,
    source: &'static str,
    experiment: &'static str,
    test: fn(&Record) -> Finding,
}

const CLAIMS: [Claim; 37] = [
    Claim {
        text: "With the exact denoiser EPS samples the exact posterior: with 1,000 calls its sliced W2 is \
               within three deviations of that between two exact sets",
        source: "Theorem 1; aim ours",
        experiment: "oracle",
        test: reaches_the_posterior,
    },
    Claim {
        text: "No training-free method comes as close, with whatever number of calls; beside them EPS with the \
               most of these",
        source: "ours",
        experiment: "oracle",
        test: contenders_miss_the_posterior,
    },
    Claim {
        text: "EPS with 20 calls beats every training-free method on energy score, LPIPS and Fréchet \
               distance on every task",
        source: "Tables 1, 6",
        experiment: "main",
        test: |record| {
            against_contenders(record, "eps-20", &["energy_score_fair", "lpips_alex", "fd_alex"])
        },
    },
    Claim {
        text: "EPS with 100 calls beats every training-free method on energy score, LPIPS and Fréchet \
               distance on every task",
        source: "Tables 1, 6",
        experiment: "main",
        test: |record| {
            against_contenders(record, "eps-100", &["energy_score_fair", "lpips_alex", "fd_alex"])
        },
    },
    Claim {
        text: "EPS with 20 calls beats every training-free method on every task on the PSNR of samples and on \
               the error of their mean",
        source: "Tables 1, 6",
        experiment: "main",
        test: |record| against_contenders(record, "eps-20", &["psnr_db", ERROR_OF_MEAN]),
    },
    Claim {
        text: "EPS with 20 calls wins most metric-task cells against Palette with 100 (31 and 28 of 40 in \
               the paper; our aim is 35)",
        source: "Tables 1, 6",
        experiment: "main",
        test: |record| against_palette(record, "eps-20", "palette-100"),
    },
    Claim {
        text: "EPS with 100 calls wins most metric-task cells against Palette with 100 (33 and 37 of 40 \
               in the paper; our aim is 35)",
        source: "Tables 1, 6",
        experiment: "main",
        test: |record| against_palette(record, "eps-100", "palette-100"),
    },
    Claim {
        text: "EPS with 20 calls wins most metric-task cells against Palette with 20",
        source: "ours",
        experiment: "main",
        test: |record| against_palette(record, "eps-20", "palette-20"),
    },
    Claim {
        text: "The one-call estimate has a PSNR of 1 dB above that of the linear MMSE estimate, and more",
        source: "ours",
        experiment: "main",
        test: |record| psnr(record, samples("eps-1"), samples("linear-mmse"), 1.0),
    },
    Claim {
        text: "The mean of 100 samples has a PSNR of 1.5 dB above that of the linear MMSE estimate, and more",
        source: "ours",
        experiment: "posterior-mean",
        test: |record| psnr(record, means("eps-20"), samples("linear-mmse"), 1.5),
    },
    Claim {
        text: "A network that reads [μ⋆, y] is better than one that reads [x_t, y] (scalar \
               preconditioning, 100 calls)",
        source: "Table 2",
        experiment: "inputs",
        test: |record| energy(record, "pivot-y-scalar-100", "state-y-100", 0.0),
    },
    Claim {
        text: "It is better than one that reads [μ⋆] alone",
        source: "Table 2",
        experiment: "inputs",
        test: |record| energy(record, "pivot-y-scalar-100", "pivot-scalar-100", 0.0),
    },
    Claim {
        text: "It is no worse than one that reads [μ⋆, Σ⋆] (within 2 %)",
        source: "Table 2",
        experiment: "inputs",
        test: |record| energy(record, "pivot-y-scalar-100", "pivot-noise-scalar-100", 2.0),
    },
    Claim {
        text: "Preconditioning along the eigenvectors of AᵀA (guarded) is better than the scalar one, \
               [μ⋆, Σ⋆, y], 100 calls",
        source: "ours",
        experiment: "inputs",
        test: |record| energy(record, "pivot-noise-y-guarded-100", "pivot-noise-y-scalar-100", 0.0),
    },
    Claim {
        text: "With preconditioning along the eigenvectors (spectral) y has nothing to add: [μ⋆, Σ⋆] is no worse \
               than [μ⋆, Σ⋆, y] (within 2 %)",
        source: "ours",
        experiment: "inputs",
        test: |record| {
            energy(record, "pivot-noise-spectral-100", "pivot-noise-y-spectral-100", 2.0)
        },
    },
    Claim {
        text: "A law of σ_t that reaches σ_max (60 % log-uniform) lifts the one-call estimate above that \
               under EDM's law",
        source: "ours",
        experiment: "noise-law",
        test: |record| psnr(record, samples("pivot-noise-y-guarded-1"), samples("law-edm-1"), 0.0),
    },
    Claim {
        text: "It costs nothing at 100 calls (within 2 %)",
        source: "ours",
        experiment: "noise-law",
        test: |record| energy(record, "pivot-noise-y-guarded-100", "law-edm-100", 2.0),
    },
    Claim {
        text: "Under that law a loss balanced over noise levels and tasks lifts the one-call estimate further",
        source: "ours",
        experiment: "noise-law",
        test: |record| {
            psnr(record, samples("law-balanced-1"), samples("pivot-noise-y-guarded-1"), 0.0)
        },
    },
    Claim {
        text: "The balance costs nothing at 100 calls (within 2 %)",
        source: "ours",
        experiment: "noise-law",
        test: |record| energy(record, "law-balanced-100", "pivot-noise-y-guarded-100", 2.0),
    },
    Claim {
        text: "One network for all tasks is no worse than one for each at equal steps in all (100 \
               calls, within 2 %)",
        source: "Table 4",
        experiment: "amortized",
        test: |record| energy(record, "pivot-noise-y-guarded-100", "single-TASK-share-100", 2.0),
    },
    Claim {
        text: "The same with a loss balanced over noise levels and tasks for the one, and not for those of one task",
        source: "ours",
        experiment: "amortized",
        test: |record| energy(record, "law-balanced-100", "single-TASK-share-100", 2.0),
    },
    Claim {
        text: "Quality is reached within 20 calls: the fair energy score of 20 is at most 2 % above the best \
               of the others",
        source: "Figure 3, D.4",
        experiment: "main",
        test: saturation,
    },
    Claim {
        text: "Training for the pivot beats the frozen prior there (100 calls)",
        source: "Table 3",
        experiment: "zero-shot",
        test: |record| energy(record, "eps-100", "zero-shot-100", 0.0),
    },
    Claim {
        text: "The frozen prior at the pivot is a useful sampler without training: the mean of its samples \
               is nearer to the truth than the linear MMSE estimate",
        source: "ours",
        experiment: "zero-shot",
        test: |record| error_of_mean(record, "zero-shot-100", "linear-mmse"),
    },
    Claim {
        text: "The one-call estimate is within 1 dB of the mean of 100 samples (up to 5 dB short of that of \
               10 in the paper)",
        source: "Tables 5, 10; aim ours",
        experiment: "posterior-mean",
        test: |record| psnr(record, samples("eps-1"), means("eps-20"), -1.0),
    },
    Claim {
        text: "Palette's one-call estimate is as good as that of EPS (within 0.5 dB; by 0.4 and 1.1 dB \
               better in the paper)",
        source: "Table 10",
        experiment: "posterior-mean",
        test: |record| psnr(record, samples("palette-1"), samples("eps-1"), -0.5),
    },
    Claim {
        text: "From the prior's weights EPS is better than Palette after few steps (400; 100 calls)",
        source: "Figure 4",
        experiment: "warm-start",
        test: |record| energy(record, "eps-prior-400-100", "palette-prior-400-100", 0.0),
    },
    Claim {
        text: "Training EPS from the prior's weights is better than from random weights (1,000 steps; \
               100 calls)",
        source: "Figure 4",
        experiment: "warm-start",
        test: |record| energy(record, "pivot-y-scalar-100", "eps-scratch-1000-100", 0.0),
    },
    Claim {
        text: "A hundred steps from the prior are better than the frozen prior at the pivot (100 calls)",
        source: "ours",
        experiment: "warm-start",
        test: |record| energy(record, "eps-prior-100-100", "zero-shot-100", 0.0),
    },
    Claim {
        text: "EPS beats every training-free method where little is measured, with 20 calls: energy score \
               and LPIPS",
        source: "Table 7",
        experiment: "extreme",
        test: |record| against_contenders(record, "TASK-20", &["energy_score_fair", "lpips_alex"]),
    },
    Claim {
        text: "EPS is better than Palette on masks and noise levels, those beyond the training among them \
               (100 calls)",
        source: "Table 8",
        experiment: "ood",
        test: |record| energy(record, "eps-100", "palette-100", 0.0),
    },
    Claim {
        text: "EPS trained and sampled as a rectified flow (t uniform, loss on the velocity) is as good as on \
               EDM's path (100 calls, within 5 %)",
        source: "Proposition 2",
        experiment: "flow",
        test: |record| energy(record, "eps-flow-100", "short-guarded-100", 5.0),
    },
    Claim {
        text: "The energy ratio of the truth and that of an eleventh sample agree within 0.01 (EPS, 100 \
               calls)",
        source: "ours",
        experiment: "calibration",
        test: ratios,
    },
    Claim {
        text: "Central 90 % intervals cover 87 to 93 % (EPS, 100 calls)",
        source: "ours",
        experiment: "calibration",
        test: |record| coverage(record, EULER),
    },
    Claim {
        text: "The same with as many calls of Heun's method (99)",
        source: "ours",
        experiment: "calibration",
        test: |record| coverage(record, HEUN),
    },
    Claim {
        text: "A call of EPS costs as much as a call of the bare denoiser (1.006 × in the paper, on a \
               network 200 times as large)",
        source: "Table 11",
        experiment: "runtime",
        test: runtime,
    },
    Claim {
        text: "The pivot and the wider first convolution cost at most 0.6 % of the denoiser in the FFHQ-64 \
               configuration",
        source: "Table 11",
        experiment: "runtime",
        test: overhead,
    },
];

/// The whole file.
fn markdown(records: &[Record]) -> String {
    let mut text = "# Claims\n\nWritten by `eps claims` from the committed results of the experiments; \
                    images × samples of each say how much was computed. A claim is about cells, a score on a \
                    task or a contender beaten in it, and ± is the half width of a 95 % interval over \
                    images: a cell is undecided, or tied, where its bound lies within. *Holds*: every cell \
                    does. *Holds in part*: some do. *Fails*: none does, and some are contradicted. \
                    *Undecided*: these results are too few. *Open*: no results are committed. Against \
                    Palette *holds* takes 35 cells of 40, *in part* more than half of the 40, and *fails* \
                    says that ties would not make half.\n\n\
                    | claim | source | experiment | images × samples | verdict | figures |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for claim in &CLAIMS {
        let Claim { text: claimed, source, experiment, test } = claim;
        let mut write = |size: &str, verdict: &str, figures: &str| {
            let line = writeln!(
                text,
                "| {claimed} | {source} | `{experiment}` | {size} | {verdict} | {figures} |"
            );
            debug_assert!(line.is_ok(), "writing to a string");
        };
        let tests: Vec<&Record> =
            records.iter().filter(|record| record.experiment == *experiment).collect();
        for record in &tests {
            let size = format!("{}, {}", record.size(), record.data());
            match test(record) {
                Some((verdict, figures)) => write(&size, verdict.word(), &figures),
                None => write(&size, "open", ""),
            }
        }
        if tests.is_empty() {
            write("–", "open", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::verdicts::tests::main_record;
    use super::*;

    #[test]
    fn each_data_set_has_its_line() {
        let mut photos = main_record((17.0, 4.0));
        photos.value["config"]["dataset"]["name"] = json!("photos");
        let text = markdown(&[main_record((21.5, 1.0)), photos]);
        assert!(text.contains("| 2 × 3, clothes | undecided | 2 wins, 0 ties, 0 losses"), "{text}");
        assert!(text.contains("| 2 × 3, photos | **fails** | 0 wins, 0 ties, 2 losses"), "{text}");
    }

    #[test]
    fn a_claim_without_results_is_open() {
        let text = markdown(&[main_record((21.5, 1.0))]);
        assert!(
            text.contains("| `main` | 2 × 3, clothes | holds in part | PSNR: 6 wins, 0 ties"),
            "{text}"
        );
        assert!(text.contains("| `calibration` | – | open |  |"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), CLAIMS.len() + 1);
    }
}

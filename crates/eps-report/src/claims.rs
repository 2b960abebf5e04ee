//! The claims of the paper and ours, and what results say about each.

use std::fmt::Write as _;

use eps_results::{Experiment, Metric, Record, Results, TournamentResults, tournament};

use crate::verdicts::{
    ERROR_OF_MEAN, Figures, Finding, Verdict, against_contenders, against_palette,
    contenders_miss_the_posterior, coverage, energy, error_of_mean, half_the_calls, is_euler,
    is_heun, means, overhead, psnr, ratios, reaches_the_posterior, runtime, samples, saturation,
};

/// A claim with the experiment that tests it.
struct Claim {
    /// The heading of its figures.
    id: &'static str,
    /// What it means, in words that whoever has not read the paper understands.
    plain: &'static str,
    /// What is tested, to the letter.
    text: &'static str,
    source: &'static str,
    test: Test,
}

/// How a claim is tested on the results of its experiment.
enum Test {
    /// On those of the tournament with exact denoisers.
    Tournament(fn(&TournamentResults) -> Finding),
    /// On those of an experiment on networks.
    Experiment(Experiment, fn(&Results) -> Finding),
}

impl Test {
    /// The name of the experiment.
    fn experiment(&self) -> &'static str {
        match self {
            Self::Tournament(_) => tournament::EXPERIMENT,
            Self::Experiment(experiment, _) => experiment.name(),
        }
    }

    /// What some results say; none where they are of another experiment.
    fn on(&self, record: &Record) -> Option<Finding> {
        match (self, record) {
            (Self::Tournament(test), Record::Tournament(results)) => Some(test(results)),
            (Self::Experiment(experiment, test), Record::Experiment(results)) => {
                (results.config.experiment == *experiment).then(|| test(results))
            }
            _ => None,
        }
    }
}

impl Claim {
    /// What each record says that is of its experiment.
    fn findings<'r>(&self, records: &'r [Record]) -> Vec<(&'r Record, Finding)> {
        records.iter().filter_map(|record| Some((record, self.test.on(record)?))).collect()
    }

    /// Writes its section of figures.
    fn write_figures(&self, findings: &[(&Record, Finding)], figures: &mut String) {
        let Self { id, plain, text, source, test } = self;
        let experiment = test.experiment();
        let _ = write!(
            figures,
            "\n### {id}\n\n{plain}.\n\nTested: {text}.\n\nSource: {source}. Experiment: `{experiment}`.\n"
        );
        for (record, finding) in findings {
            let (sign, word) = signed(finding.as_ref().map(|(verdict, _)| *verdict));
            let shown = finding.as_ref().map(|(_, figures)| list(figures));
            let _ = write!(
                figures,
                "\n{sign} **{word}** on {}, {} images × samples{}\n",
                record.data(),
                record.size(),
                shown.unwrap_or_else(|| ".".to_owned())
            );
        }
        if findings.is_empty() {
            let (sign, word) = signed(None);
            let _ = write!(figures, "\n{sign} **{word}**\n");
        }
    }
}

/// The data of findings, each once, in the order of the records.
fn data_of(found: &[Vec<(&Record, Finding)>]) -> Vec<String> {
    let mut columns = Vec::new();
    for (record, _) in found.iter().flatten() {
        let data = record.data();
        if !columns.contains(&data) {
            columns.push(data);
        }
    }
    columns
}

/// A verdict in its table: sign and word, then how much was computed and what must be said beside.
fn cell(record: &Record, finding: &Finding) -> String {
    let (sign, word) = signed(finding.as_ref().map(|(verdict, _)| *verdict));
    let Some((_, figures)) = finding else { return format!("{sign} {word}") };
    let word = if word == "fails" { "**fails**" } else { word };
    let beside = figures.beside.as_ref().map_or(String::new(), |beside| format!(", {beside}"));
    format!("{sign} {word}<br>{}{beside}", record.size())
}

/// The claims by theme.
const THEMES: [(&str, &[Claim]); 7] = [
    (
        "Exactness",
        &[
            Claim {
                id: "exact-posterior",
                plain: "Where the posterior is known, samples of EPS with 1,000 calls cannot be told from exact ones: they are as far from a set of exact samples as two such sets are from each other",
                text: "With the exact denoiser, EPS with 1,000 calls samples the exact posterior: its \
                       sliced Wasserstein-2 distance to it is at most three standard deviations above that between two exact sample sets",
                source: "Theorem 1; aim ours",
                test: Test::Tournament(reaches_the_posterior),
            },
            Claim {
                id: "training-free-exact",
                plain: "Where the posterior is known, no method without training comes that near to it, however many calls it is given",
                text: "With the exact denoiser, no method without training comes as close to the \
                       exact posterior (sliced Wasserstein-2 distance at most three standard \
                       deviations above that between two exact sample sets), with any number \
                       of calls tried; beside them EPS by Euler's method with the most of \
                       these calls",
                source: "ours",
                test: Test::Tournament(contenders_miss_the_posterior),
            },
        ],
    ),
    (
        "Against other methods",
        &[
            Claim {
                id: "training-free-20",
                plain: "With 20 calls EPS has a better energy score, LPIPS and Fréchet distance than every method without training, on every task",
                text: "EPS with 20 calls has a better energy score, LPIPS and Fréchet distance than every \
                       method without training on every task",
                source: "Tables 1, 6",
                test: Test::Experiment(Experiment::Main, |results| {
                    against_contenders(
                        results,
                        "eps-20",
                        &[Metric::EnergyScoreFair, Metric::LpipsAlex, Metric::FdAlex],
                    )
                }),
            },
            Claim {
                id: "training-free-100",
                plain: "With 100 calls EPS has a better energy score, LPIPS and Fréchet distance than every method without training, on every task",
                text: "EPS with 100 calls has a better energy score, LPIPS and Fréchet distance than every \
                       method without training on every task",
                source: "Tables 1, 6",
                test: Test::Experiment(Experiment::Main, |results| {
                    against_contenders(
                        results,
                        "eps-100",
                        &[Metric::EnergyScoreFair, Metric::LpipsAlex, Metric::FdAlex],
                    )
                }),
            },
            Claim {
                id: "training-free-error",
                plain: "With 20 calls a sample of EPS, and the mean of its samples, is nearer to the truth than that of every method without training, on every task",
                text: "EPS with 20 calls has samples of higher PSNR, and a mean of samples with a smaller \
                       error, than every method without training on every task",
                source: "Tables 1, 6",
                test: Test::Experiment(Experiment::Main, |results| {
                    against_contenders(results, "eps-20", &[Metric::PsnrDb, ERROR_OF_MEAN])
                }),
            },
            Claim {
                id: "extreme",
                plain: "Where very little is measured, EPS with 20 calls has a better energy score and LPIPS than every method without training",
                text: "Where little is measured, EPS with 20 calls has a better energy score and LPIPS than \
                       every method without training",
                source: "Table 7",
                test: Test::Experiment(Experiment::Extreme, |results| {
                    against_contenders(
                        results,
                        "TASK-20",
                        &[Metric::EnergyScoreFair, Metric::LpipsAlex],
                    )
                }),
            },
            Claim {
                id: "palette-100-eps-20",
                plain: "EPS with 20 calls beats Palette with 100 calls in most of 40 comparisons: eight scores on each of five tasks",
                text: "EPS with 20 calls wins most of 40 cells (eight scores on five tasks) against Palette \
                       with 100 calls (our aim is 35; 31 and 28 in the paper)",
                source: "Tables 1, 6",
                test: Test::Experiment(Experiment::Main, |results| {
                    against_palette(results, "eps-20", "palette-100")
                }),
            },
            Claim {
                id: "palette-100-eps-100",
                plain: "EPS with 100 calls beats Palette with 100 calls in most of 40 comparisons",
                text: "EPS with 100 calls wins most of 40 cells (eight scores on five tasks) against \
                       Palette with 100 calls (our aim is 35; 33 and 37 in the paper)",
                source: "Tables 1, 6",
                test: Test::Experiment(Experiment::Main, |results| {
                    against_palette(results, "eps-100", "palette-100")
                }),
            },
            Claim {
                id: "palette-20-eps-20",
                plain: "EPS with 20 calls beats Palette with 20 calls in most of 40 comparisons",
                text: "EPS with 20 calls wins most of 40 cells (eight scores on five tasks) against Palette \
                       with 20 calls (our aim is 35)",
                source: "ours",
                test: Test::Experiment(Experiment::Main, |results| {
                    against_palette(results, "eps-20", "palette-20")
                }),
            },
            Claim {
                id: "beyond-training",
                plain: "EPS has a better energy score than Palette for every mask and noise level that was tried, also for those that neither was trained for (100 calls)",
                text: "EPS with 100 calls has a better energy score than Palette with 100 calls on all \
                       masks and noise levels, those beyond the training among them",
                source: "Table 8",
                test: Test::Experiment(Experiment::Ood, |results| {
                    energy(results, "eps-100", "palette-100", 0.0)
                }),
            },
        ],
    ),
    (
        "One call",
        &[
            Claim {
                id: "one-call-linear",
                plain: "A single call of EPS gives an estimate that is at least 1 dB better than the best linear one",
                text: "The one-call estimate of EPS has a PSNR at least 1 dB above that of the linear MMSE \
                       estimate",
                source: "ours",
                test: Test::Experiment(Experiment::Main, |results| {
                    psnr(results, samples("eps-1"), samples("linear-mmse"), 1.0)
                }),
            },
            Claim {
                id: "one-call-mean",
                plain: "A single call of EPS gives an estimate that is at most 1 dB worse than the mean of 100 samples",
                text: "The one-call estimate of EPS has a PSNR at most 1 dB below that of the mean of 100 \
                       samples (in the paper up to 5 dB below that of the mean of 10)",
                source: "Tables 5, 10; aim ours",
                test: Test::Experiment(Experiment::PosteriorMean, |results| {
                    psnr(results, samples("eps-1"), means("eps-20"), -1.0)
                }),
            },
            Claim {
                id: "one-call-palette",
                plain: "A single call of Palette gives an estimate that is at most 0.5 dB worse than that of EPS (so the paper found)",
                text: "The one-call estimate of Palette has a PSNR at most 0.5 dB below that of EPS (in the \
                       paper 0.4 and 1.1 dB above it)",
                source: "Table 10",
                test: Test::Experiment(Experiment::PosteriorMean, |results| {
                    psnr(results, samples("palette-1"), samples("eps-1"), -0.5)
                }),
            },
        ],
    ),
    (
        "Number of calls",
        &[
            Claim {
                id: "calls",
                plain: "20 calls are enough for EPS: the energy score of its samples is within 2 % of the best of any number of calls",
                text: "20 calls are enough for EPS: the fair energy score of their samples is at most 2 % \
                       above the best of the other numbers of calls",
                source: "Figure 3, D.4",
                test: Test::Experiment(Experiment::Main, saturation),
            },
            Claim {
                id: "half-the-calls",
                plain: "10 calls of the half-corrected solver give samples that are at most 1 % worse than those of Euler's 20, by the energy score and by LPIPS",
                text: "The samples of EPS by the multistep solver with half of its correction, with 10 calls, have a fair energy score and an LPIPS at most \
                       1 % above those of Euler's method with 20",
                source: "ours",
                test: Test::Experiment(Experiment::Calibration, half_the_calls),
            },
            Claim {
                id: "mean-linear",
                plain: "The mean of 100 samples of EPS is at least 1.5 dB better than the best linear estimate (20 calls)",
                text: "The mean of 100 samples of EPS with 20 calls each has a PSNR at least 1.5 dB above \
                       that of the linear MMSE estimate",
                source: "ours",
                test: Test::Experiment(Experiment::PosteriorMean, |results| {
                    psnr(results, means("eps-20"), samples("linear-mmse"), 1.5)
                }),
            },
        ],
    ),
    (
        "Inputs and training",
        &[
            Claim {
                id: "input-pivot-state",
                plain: "A network that is shown the pivot and the measurement samples better than one that is shown the sampler's own state and the measurement",
                text: "A network that reads the pivot μ⋆ and the measurement y has a better energy score \
                       than one that reads the state x_t and y (scalar preconditioning, 100 calls)",
                source: "Table 2",
                test: Test::Experiment(Experiment::Inputs, |results| {
                    energy(results, "pivot-y-scalar-100", "state-y-100", 0.0)
                }),
            },
            Claim {
                id: "input-measurement",
                plain: "A network that is shown the pivot and the measurement samples better than one that is shown the pivot alone",
                text: "A network that reads the pivot μ⋆ and the measurement y has a better energy score \
                       than one that reads μ⋆ alone (scalar preconditioning, 100 calls)",
                source: "Table 2",
                test: Test::Experiment(Experiment::Inputs, |results| {
                    energy(results, "pivot-y-scalar-100", "pivot-scalar-100", 0.0)
                }),
            },
            Claim {
                id: "input-noise",
                plain: "A network that is shown the pivot and the measurement is at most 2 % worse than one that is shown the pivot and its noise",
                text: "A network that reads the pivot μ⋆ and the measurement y has an energy score at most \
                       2 % above that of one that reads μ⋆ and the noise covariance Σ⋆ (scalar \
                       preconditioning, 100 calls)",
                source: "Table 2",
                test: Test::Experiment(Experiment::Inputs, |results| {
                    energy(results, "pivot-y-scalar-100", "pivot-noise-scalar-100", 2.0)
                }),
            },
            Claim {
                id: "guarded",
                plain: "Scaling the network's input and output by the pivot's noise in every direction, and not by one number, gives better samples",
                text: "A network that reads μ⋆, Σ⋆ and y has a better energy score with preconditioning \
                       along the eigenvectors of AᵀA (guarded) than with scalar preconditioning (100 calls)",
                source: "ours",
                test: Test::Experiment(Experiment::Inputs, |results| {
                    energy(results, "pivot-noise-y-guarded-100", "pivot-noise-y-scalar-100", 0.0)
                }),
            },
            Claim {
                id: "spectral",
                plain: "With scaling by the pivot's noise in full, a network that is not shown the measurement is at most 2 % worse than one that is",
                text: "With preconditioning along the eigenvectors of AᵀA (spectral), y has nothing to add: \
                       a network that reads μ⋆ and Σ⋆ has an energy score at most 2 % above that of one \
                       that reads μ⋆, Σ⋆ and y (100 calls)",
                source: "ours",
                test: Test::Experiment(Experiment::Inputs, |results| {
                    energy(results, "pivot-noise-spectral-100", "pivot-noise-y-spectral-100", 2.0)
                }),
            },
            Claim {
                id: "law-one-call",
                plain: "Training also on very strong noise makes the estimate of a single call better",
                text: "Training with a law of σ_t that reaches σ_max (60 % log-uniform) gives the one-call \
                       estimate a higher PSNR than training with EDM's law",
                source: "ours",
                test: Test::Experiment(Experiment::NoiseLaw, |results| {
                    psnr(results, samples("pivot-noise-y-guarded-1"), samples("law-edm-1"), 0.0)
                }),
            },
            Claim {
                id: "law-100",
                plain: "Training also on very strong noise makes samples of 100 calls at most 2 % worse",
                text: "Training with a law of σ_t that reaches σ_max (60 % log-uniform) costs nothing with \
                       100 calls: the energy score is at most 2 % above that with EDM's law",
                source: "ours",
                test: Test::Experiment(Experiment::NoiseLaw, |results| {
                    energy(results, "pivot-noise-y-guarded-100", "law-edm-100", 2.0)
                }),
            },
            Claim {
                id: "balance-one-call",
                plain: "Weighting the loss so that every noise level and every task counts alike makes the estimate of a single call better",
                text: "Under the law of σ_t that reaches σ_max, a loss balanced over noise levels and tasks \
                       gives the one-call estimate a higher PSNR than the same loss without the balance",
                source: "ours",
                test: Test::Experiment(Experiment::NoiseLaw, |results| {
                    psnr(
                        results,
                        samples("law-balanced-1"),
                        samples("pivot-noise-y-guarded-1"),
                        0.0,
                    )
                }),
            },
            Claim {
                id: "balance-100",
                plain: "A loss that counts every noise level and every task alike makes samples of 100 calls at most 2 % worse",
                text: "Under the law of σ_t that reaches σ_max, a loss balanced over noise levels and tasks \
                       costs nothing with 100 calls: the energy score is at most 2 % above that without the \
                       balance",
                source: "ours",
                test: Test::Experiment(Experiment::NoiseLaw, |results| {
                    energy(results, "law-balanced-100", "pivot-noise-y-guarded-100", 2.0)
                }),
            },
            Claim {
                id: "one-network",
                plain: "One network for all tasks is at most 2 % worse than a network for each task, with as much training in all",
                text: "One network for all tasks has an energy score at most 2 % above that of one network \
                       for each task, with as many steps of training in all (100 calls)",
                source: "Table 4",
                test: Test::Experiment(Experiment::Amortized, |results| {
                    energy(results, "pivot-noise-y-guarded-100", "single-TASK-share-100", 2.0)
                }),
            },
            Claim {
                id: "one-network-balanced",
                plain: "One network for all tasks, its loss weighted so that every noise level and task counts alike, is at most 2 % worse than a network for each task, with as much training in all",
                text: "One network for all tasks, its loss balanced over noise levels and tasks, has an \
                       energy score at most 2 % above that of one network for each task without the \
                       balance, with as many steps of training in all (100 calls)",
                source: "ours",
                test: Test::Experiment(Experiment::Amortized, |results| {
                    energy(results, "law-balanced-100", "single-TASK-share-100", 2.0)
                }),
            },
            Claim {
                id: "trained-frozen",
                plain: "A network that was trained for the pivot samples better than the prior's network left as it is",
                text: "EPS with a network trained for the pivot has a better energy score than with the \
                       prior's network left as it is (100 calls)",
                source: "Table 3",
                test: Test::Experiment(Experiment::ZeroShot, |results| {
                    energy(results, "eps-100", "zero-shot-100", 0.0)
                }),
            },
            Claim {
                id: "frozen-linear",
                plain: "Without any training for the task, the mean of EPS's samples is nearer to the truth than the best linear estimate",
                text: "EPS with the prior's network left as it is makes a useful sampler without training: \
                       the mean of its samples is nearer to the truth than the linear MMSE estimate (100 \
                       calls)",
                source: "ours",
                test: Test::Experiment(Experiment::ZeroShot, |results| {
                    error_of_mean(results, "zero-shot-100", "linear-mmse")
                }),
            },
            Claim {
                id: "warm-palette",
                plain: "After 400 steps of training from the prior's network, EPS samples better than Palette after as many",
                text: "After 400 steps of training from the prior's weights, EPS has a better \
                       energy score than Palette after as many (100 calls)",
                source: "Figure 4",
                test: Test::Experiment(Experiment::WarmStart, |results| {
                    energy(results, "eps-prior-400-100", "palette-prior-400-100", 0.0)
                }),
            },
            Claim {
                id: "warm-random",
                plain: "After 1,000 steps of training, EPS that began with the prior's network samples better than EPS that began with random weights",
                text: "After 1,000 steps of training, EPS from the prior's weights has a better energy \
                       score than EPS from random weights (100 calls)",
                source: "Figure 4",
                test: Test::Experiment(Experiment::WarmStart, |results| {
                    energy(results, "pivot-y-scalar-100", "eps-scratch-1000-100", 0.0)
                }),
            },
            Claim {
                id: "warm-frozen",
                plain: "100 steps of training are enough for EPS to sample better than with the prior's network left as it is",
                text: "After 100 steps of training from the prior's weights, EPS has a better energy score \
                       than with the prior's network left as it is (100 calls)",
                source: "ours",
                test: Test::Experiment(Experiment::WarmStart, |results| {
                    energy(results, "eps-prior-100-100", "zero-shot-100", 0.0)
                }),
            },
            Claim {
                id: "flow",
                plain: "EPS on a rectified flow, which goes straight from noise to image, is at most 5 % worse than on the usual path",
                text: "EPS trained and sampled as a rectified flow (t uniform, loss on the velocity) has an \
                       energy score at most 5 % above that of EPS on EDM's path (100 calls)",
                source: "Proposition 2",
                test: Test::Experiment(Experiment::Flow, |results| {
                    energy(results, "eps-flow-100", "short-guarded-100", 5.0)
                }),
            },
        ],
    ),
    (
        "Uncertainty",
        &[
            Claim {
                id: "energy-ratios",
                plain: "Samples spread as the truth does: the truth lies among ten samples as an eleventh sample would (100 calls)",
                text: "Samples of EPS with 100 calls spread as the truth does: the energy ratio of the \
                       truth and that of an eleventh sample differ by at most 0.01",
                source: "ours",
                test: Test::Experiment(Experiment::Calibration, ratios),
            },
            Claim {
                id: "coverage-euler",
                plain: "An interval that is to hold a pixel's true value in 90 % of cases holds it in 87 to 93 % (100 calls of Euler's method)",
                text: "Central 90 % intervals of the samples of EPS with 100 calls hold the true pixel in \
                       87 to 93 % of cases",
                source: "ours",
                test: Test::Experiment(Experiment::Calibration, |results| {
                    coverage(results, is_euler)
                }),
            },
            Claim {
                id: "coverage-heun",
                plain: "An interval that is to hold a pixel's true value in 90 % of cases holds it in 87 to 93 % (99 calls of Heun's method)",
                text: "Central 90 % intervals of the samples of EPS with 99 calls of Heun's method hold the \
                       true pixel in 87 to 93 % of cases",
                source: "ours",
                test: Test::Experiment(Experiment::Calibration, |results| {
                    coverage(results, is_heun)
                }),
            },
        ],
    ),
    (
        "Cost",
        &[
            Claim {
                id: "cost-call",
                plain: "A call of EPS takes as long as a call of the same network without a measurement, to within 0.6 %",
                text: "A call of EPS costs as much as a call of the bare denoiser, to a factor of 1.006 \
                       (measured in the paper on a network 200 times as large)",
                source: "Table 11",
                test: Test::Experiment(Experiment::Runtime, runtime),
            },
            Claim {
                id: "cost-overhead",
                plain: "Beside a network of the paper's size for 64×64 pixels, the pivot and the wider first convolution, timed alone, take at most 0.6 % of the time",
                text: "In the FFHQ-64 configuration the pivot and the wider first convolution together cost \
                       at most 0.6 % of the denoiser's time; whole calls, which vary by more, are in \
                       [performance.md](performance.md)",
                source: "Table 11",
                test: Test::Experiment(Experiment::Runtime, overhead),
            },
        ],
    ),
];

/// The page of the verdicts and that of the figures behind them.
#[derive(Debug)]
pub struct ClaimsPages {
    /// A line for each claim and data set.
    pub verdicts: String,
    /// A section for each claim.
    pub figures: String,
}

/// What results say about every claim, as Markdown pages; `figures_name` is the name of the file of the
/// figures, which lies beside that of the verdicts.
#[must_use]
pub fn claims_pages(records: &[Record], figures_name: &str) -> ClaimsPages {
    let (mut verdicts, mut figures) = (VERDICTS_HEAD.to_owned(), FIGURES_HEAD.to_owned());
    let _ = writeln!(
        verdicts,
        "Each sentence leads to what was tested and to its figures, all of them in [{figures_name}]({figures_name}); the \
         symbols there are in [notation.md](notation.md). Written by `eps claims`."
    );
    for (theme, claims) in THEMES {
        let _ = write!(figures, "\n## {theme}\n");
        let found: Vec<Vec<(&Record, Finding)>> =
            claims.iter().map(|claim| claim.findings(records)).collect();
        let columns = data_of(&found);
        let heads: String = columns.iter().map(|data| format!(" {data} |")).collect();
        let rule = "---|".repeat(columns.len());
        let _ = write!(verdicts, "\n## {theme}\n\n| claim |{heads}\n|---|{rule}\n");
        for (claim, findings) in claims.iter().zip(&found) {
            claim.write_figures(findings, &mut figures);
            let cells: String = columns
                .iter()
                .map(|data| {
                    let of_data = findings.iter().filter(|(record, _)| record.data() == *data);
                    let cells: Vec<String> = of_data.map(|(record, of)| cell(record, of)).collect();
                    format!(" {} |", cells.join("<br>"))
                })
                .collect();
            let Claim { id, plain, .. } = claim;
            let _ = writeln!(verdicts, "| [{plain}]({figures_name}#{id}) |{cells}");
        }
    }
    ClaimsPages { verdicts, figures }
}

const VERDICTS_HEAD: &str = "# Claims\n\nYou can see here what the committed results say about each claim of the paper, and about each of ours. A \
                             claim is judged in cells (a score on a task, or a method beaten in it) by 95 % intervals over \
                             images:\n\n\
                             - ✓ it holds in every cell\n\
                             - ◐ in part: in some cells it holds, others are tied or contradict it\n\
                             - ✗ it fails: it holds in no cell, and some contradict it\n\
                             - ? the results are too few to decide\n\
                             - · open: the methods of the claim were not run on these data\n\n\
                             An empty cell has no results of the experiment. Beside a sign stands how many images were restored, times the \
                             samples of each. Fashion-MNIST is clothes in grey (28×28 pixels), `photos-32` photographs (32×32), Tiny \
                             ImageNet (`tiny-imagenet`) natural images (64×64), each with networks of its own; *exact denoisers* are priors whose posterior \
                             is known in closed form, so that nothing is learnt.\n\n\
                             In the claims, a *call* is one evaluation of the network. The *energy score* is an error of samples that \
                             rewards those which are near to the truth and spread as they should. *LPIPS* is a distance between \
                             images as a network sees them, the *Fréchet distance* one between sets of images. *PSNR*, in dB, tells the squared error: 1 dB \
                             more is a fifth less of it. A *method without training* steers the prior's network, which knows no measurement; *Palette* is a network \
                             that is trained to read the measurement beside the sampler's state; the *pivot* is what EPS asks its network about. ";

const FIGURES_HEAD: &str = "# Figures behind the claims\n\nWritten by `eps claims` from the committed results; \
                            their verdicts are listed in [claims.md](claims.md), the tables in \
                            [results](results/README.md). ± is the half width of a 95 % interval over images: a \
                            cell is undecided, or tied, where its bound lies within. Against Palette *holds* \
                            takes 35 cells of 40, *in part* more than half of the 40, and *fails* says that \
                            ties would not make more than half.\n";

/// A verdict's sign and word; without results a claim is open.
fn signed(verdict: Option<Verdict>) -> (&'static str, &'static str) {
    match verdict {
        Some(Verdict::Holds) => ("✓", "holds"),
        Some(Verdict::InPart) => ("◐", "in part"),
        Some(Verdict::Fails) => ("✗", "fails"),
        Some(Verdict::Undecided) => ("?", "undecided"),
        None => ("·", "open"),
    }
}

/// Figures as a sentence's end and a list.
fn list(figures: &Figures) -> String {
    let Figures { summary, cells, .. } = figures;
    let lead = if summary.is_empty() { String::new() } else { format!(": {summary}") };
    let cells: String = cells.iter().map(|cell| format!("\n- {cell}")).collect();
    if cells.is_empty() { format!("{lead}.") } else { format!("{lead}:\n{cells}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sample_results::main_results;

    #[test]
    fn each_data_set_has_its_sign() {
        let of = |name: &str, eps| {
            let mut results = main_results(eps);
            results.config.dataset.name = name.to_owned();
            Record::Experiment(Box::new(results))
        };
        let records = [of("clothes", (21.5, 1.0)), of("photos", (17.0, 4.0))];
        let ClaimsPages { verdicts, figures } = claims_pages(&records, "f.md");
        let claim = &THEMES[1].1[4];
        let line = format!(
            "| [{}](f.md#palette-100-eps-20) | ? undecided<br>2 × 3 | ✗ **fails**<br>2 × 3 |",
            claim.plain
        );
        assert!(verdicts.lines().any(|found| found == line), "{verdicts}");
        assert!(verdicts.contains("| claim | clothes | photos |\n|---|---|---|\n"), "{verdicts}");
        assert!(figures.contains("? **undecided** on clothes, 2 × 3 images × samples: 2 wins"));
        assert!(figures.contains("✗ **fails** on photos, 2 × 3 images × samples: 0 wins"));
    }

    #[test]
    fn a_claim_without_results_is_open() {
        let records = [Record::Experiment(Box::new(main_results((21.5, 1.0))))];
        let ClaimsPages { verdicts, figures } = claims_pages(&records, "f.md");
        assert!(figures.contains("images × samples:\n\n- PSNR: 6 wins, 0 ties"), "{figures}");
        assert!(verdicts.contains("](f.md#coverage-heun) |\n"), "{verdicts}");
        assert!(figures.contains("Experiment: `calibration`.\n\n· **open**\n"), "{figures}");
        let claims: Vec<&Claim> = THEMES.iter().flat_map(|(_, claims)| *claims).collect();
        let rows = verdicts.lines().filter(|line| line.contains("](f.md#")).count();
        assert_eq!(rows, claims.len());
        assert_eq!(claims.iter().map(|claim| claim.id).collect::<BTreeSet<_>>().len(), rows);
    }
}

//! The claims of the paper and ours, and what results say about each.

use std::fmt::Write as _;

use eps_results::{Experiment, Metric, Record, Results, TournamentResults, tournament};

use crate::verdicts::{
    ERROR_OF_MEAN, Figures, Finding, Verdict, against_contenders, against_palette,
    contenders_miss_the_posterior, coverage, energy, error_of_mean, is_euler, is_heun, means,
    overhead, psnr, ratios, reaches_the_posterior, runtime, samples, saturation,
};

/// A claim with the experiment that tests it.
struct Claim {
    /// The heading of its figures.
    id: &'static str,
    /// A sentence that is understood alone.
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

/// The claims by theme.
const THEMES: [(&str, &[Claim]); 7] = [
    (
        "Exactness",
        &[
            Claim {
                id: "exact-posterior",
                text: "With the exact denoiser, EPS with 1,000 calls samples the exact posterior: its \
                       sliced Wasserstein-2 distance to it is at most three standard deviations above that between two exact sample sets",
                source: "Theorem 1; aim ours",
                test: Test::Tournament(reaches_the_posterior),
            },
            Claim {
                id: "training-free-exact",
                text: "With the exact denoiser, no training-free method comes as close to the \
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
                text: "EPS with 20 calls has a better energy score, LPIPS and Fréchet distance than every \
                       training-free method on every task",
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
                text: "EPS with 100 calls has a better energy score, LPIPS and Fréchet distance than every \
                       training-free method on every task",
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
                text: "EPS with 20 calls has samples of higher PSNR, and a mean of samples with a smaller \
                       error, than every training-free method on every task",
                source: "Tables 1, 6",
                test: Test::Experiment(Experiment::Main, |results| {
                    against_contenders(results, "eps-20", &[Metric::PsnrDb, ERROR_OF_MEAN])
                }),
            },
            Claim {
                id: "extreme",
                text: "Where little is measured, EPS with 20 calls has a better energy score and LPIPS than \
                       every training-free method",
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
                text: "EPS with 20 calls wins most of 40 cells (eight scores on five tasks) against Palette \
                       with 100 calls (our aim is 35; 31 and 28 in the paper)",
                source: "Tables 1, 6",
                test: Test::Experiment(Experiment::Main, |results| {
                    against_palette(results, "eps-20", "palette-100")
                }),
            },
            Claim {
                id: "palette-100-eps-100",
                text: "EPS with 100 calls wins most of 40 cells (eight scores on five tasks) against \
                       Palette with 100 calls (our aim is 35; 33 and 37 in the paper)",
                source: "Tables 1, 6",
                test: Test::Experiment(Experiment::Main, |results| {
                    against_palette(results, "eps-100", "palette-100")
                }),
            },
            Claim {
                id: "palette-20-eps-20",
                text: "EPS with 20 calls wins most of 40 cells (eight scores on five tasks) against Palette \
                       with 20 calls (our aim is 35)",
                source: "ours",
                test: Test::Experiment(Experiment::Main, |results| {
                    against_palette(results, "eps-20", "palette-20")
                }),
            },
            Claim {
                id: "beyond-training",
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
                text: "The one-call estimate of EPS has a PSNR at least 1 dB above that of the linear MMSE \
                       estimate",
                source: "ours",
                test: Test::Experiment(Experiment::Main, |results| {
                    psnr(results, samples("eps-1"), samples("linear-mmse"), 1.0)
                }),
            },
            Claim {
                id: "one-call-mean",
                text: "The one-call estimate of EPS has a PSNR at most 1 dB below that of the mean of 100 \
                       samples (in the paper up to 5 dB below that of the mean of 10)",
                source: "Tables 5, 10; aim ours",
                test: Test::Experiment(Experiment::PosteriorMean, |results| {
                    psnr(results, samples("eps-1"), means("eps-20"), -1.0)
                }),
            },
            Claim {
                id: "one-call-palette",
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
                text: "20 calls are enough for EPS: the fair energy score of their samples is at most 2 % \
                       above the best of the other numbers of calls",
                source: "Figure 3, D.4",
                test: Test::Experiment(Experiment::Main, saturation),
            },
            Claim {
                id: "mean-linear",
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
                text: "A network that reads the pivot μ⋆ and the measurement y has a better energy score \
                       than one that reads the state x_t and y (scalar preconditioning, 100 calls)",
                source: "Table 2",
                test: Test::Experiment(Experiment::Inputs, |results| {
                    energy(results, "pivot-y-scalar-100", "state-y-100", 0.0)
                }),
            },
            Claim {
                id: "input-measurement",
                text: "A network that reads the pivot μ⋆ and the measurement y has a better energy score \
                       than one that reads μ⋆ alone (scalar preconditioning, 100 calls)",
                source: "Table 2",
                test: Test::Experiment(Experiment::Inputs, |results| {
                    energy(results, "pivot-y-scalar-100", "pivot-scalar-100", 0.0)
                }),
            },
            Claim {
                id: "input-noise",
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
                text: "A network that reads μ⋆, Σ⋆ and y has a better energy score with preconditioning \
                       along the eigenvectors of AᵀA (guarded) than with scalar preconditioning (100 calls)",
                source: "ours",
                test: Test::Experiment(Experiment::Inputs, |results| {
                    energy(results, "pivot-noise-y-guarded-100", "pivot-noise-y-scalar-100", 0.0)
                }),
            },
            Claim {
                id: "spectral",
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
                text: "Training with a law of σ_t that reaches σ_max (60 % log-uniform) gives the one-call \
                       estimate a higher PSNR than training with EDM's law",
                source: "ours",
                test: Test::Experiment(Experiment::NoiseLaw, |results| {
                    psnr(results, samples("pivot-noise-y-guarded-1"), samples("law-edm-1"), 0.0)
                }),
            },
            Claim {
                id: "law-100",
                text: "Training with a law of σ_t that reaches σ_max (60 % log-uniform) costs nothing with \
                       100 calls: the energy score is at most 2 % above that with EDM's law",
                source: "ours",
                test: Test::Experiment(Experiment::NoiseLaw, |results| {
                    energy(results, "pivot-noise-y-guarded-100", "law-edm-100", 2.0)
                }),
            },
            Claim {
                id: "balance-one-call",
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
                text: "One network for all tasks has an energy score at most 2 % above that of one network \
                       for each task, with as many steps of training in all (100 calls)",
                source: "Table 4",
                test: Test::Experiment(Experiment::Amortized, |results| {
                    energy(results, "pivot-noise-y-guarded-100", "single-TASK-share-100", 2.0)
                }),
            },
            Claim {
                id: "one-network-balanced",
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
                text: "EPS with a network trained for the pivot has a better energy score than with the \
                       prior's network left as it is (100 calls)",
                source: "Table 3",
                test: Test::Experiment(Experiment::ZeroShot, |results| {
                    energy(results, "eps-100", "zero-shot-100", 0.0)
                }),
            },
            Claim {
                id: "frozen-linear",
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
                text: "After 400 steps of training from the prior's weights, EPS has a better \
                       energy score than Palette after as many (100 calls)",
                source: "Figure 4",
                test: Test::Experiment(Experiment::WarmStart, |results| {
                    energy(results, "eps-prior-400-100", "palette-prior-400-100", 0.0)
                }),
            },
            Claim {
                id: "warm-random",
                text: "After 1,000 steps of training, EPS from the prior's weights has a better energy \
                       score than EPS from random weights (100 calls)",
                source: "Figure 4",
                test: Test::Experiment(Experiment::WarmStart, |results| {
                    energy(results, "pivot-y-scalar-100", "eps-scratch-1000-100", 0.0)
                }),
            },
            Claim {
                id: "warm-frozen",
                text: "After 100 steps of training from the prior's weights, EPS has a better energy score \
                       than with the prior's network left as it is (100 calls)",
                source: "ours",
                test: Test::Experiment(Experiment::WarmStart, |results| {
                    energy(results, "eps-prior-100-100", "zero-shot-100", 0.0)
                }),
            },
            Claim {
                id: "flow",
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
                text: "Samples of EPS with 100 calls spread as the truth does: the energy ratio of the \
                       truth and that of an eleventh sample differ by at most 0.01",
                source: "ours",
                test: Test::Experiment(Experiment::Calibration, ratios),
            },
            Claim {
                id: "coverage-euler",
                text: "Central 90 % intervals of the samples of EPS with 100 calls hold the true pixel in \
                       87 to 93 % of cases",
                source: "ours",
                test: Test::Experiment(Experiment::Calibration, |results| {
                    coverage(results, is_euler)
                }),
            },
            Claim {
                id: "coverage-heun",
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
                text: "A call of EPS costs as much as a call of the bare denoiser, to a factor of 1.006 \
                       (measured in the paper on a network 200 times as large)",
                source: "Table 11",
                test: Test::Experiment(Experiment::Runtime, runtime),
            },
            Claim {
                id: "cost-overhead",
                text: "In the FFHQ-64 configuration the pivot and the wider first convolution together cost \
                       at most 0.6 % of the denoiser's time",
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
        "The figures behind a sentence are one click away, all of them in [{figures_name}]({figures_name}). A call is \
         one evaluation of the network; the symbols are in [notation.md](notation.md)."
    );
    for (theme, claims) in THEMES {
        let _ = write!(
            verdicts,
            "\n## {theme}\n\n| | | claim | data | images × samples |\n|---|---|---|---|---|\n"
        );
        let _ = write!(figures, "\n## {theme}\n");
        for claim in claims {
            let Claim { id, text, source, test } = claim;
            let experiment = test.experiment();
            let _ = write!(
                figures,
                "\n### {id}\n\n{text}.\n\nSource: {source}. Experiment: `{experiment}`.\n"
            );
            let mut row = |(sign, word): (&str, &str), data: &str, size: &str| {
                let word = if word == "fails" { "**fails**" } else { word };
                let _ = writeln!(
                    verdicts,
                    "| {sign} | {word} | [{text}]({figures_name}#{id}) | {data} | {size} |"
                );
            };
            let found: Vec<(&Record, Finding)> =
                records.iter().filter_map(|record| Some((record, test.on(record)?))).collect();
            for (record, finding) in &found {
                let (data, size) = (record.data(), record.size());
                let word = signed(finding.as_ref().map(|(verdict, _)| *verdict));
                row(word, &data, &size);
                let shown = finding.as_ref().map(|(_, figures)| list(figures));
                let (sign, word) = word;
                let _ = write!(
                    figures,
                    "\n{sign} **{word}** on {data}, {size} images × samples{}\n",
                    shown.unwrap_or_else(|| ".".to_owned())
                );
            }
            if found.is_empty() {
                let open = signed(None);
                row(open, "–", "–");
                let _ = write!(figures, "\n{} **{}**\n", open.0, open.1);
            }
        }
    }
    ClaimsPages { verdicts, figures }
}

const VERDICTS_HEAD: &str = "# Claims\n\nA claim is a sentence of the paper, or of ours, that the committed \
                             results of an experiment can bear out or contradict. It is judged in cells (a score \
                             on a task, or a method beaten in it) by 95 % intervals over images: ✓ it holds in \
                             every cell, ◐ in part of them, ✗ it fails (it holds in no cell, and some \
                             contradict it), ? the results are too few to decide, · open, no results are committed. \
                             Written by `eps claims`. ";

const FIGURES_HEAD: &str = "# Figures behind the claims\n\nWritten by `eps claims` from the committed results; \
                            their verdicts are listed in [claims.md](claims.md), the tables in \
                            [results](results/README.md). ± is the half width of a 95 % interval over images: a \
                            cell is undecided, or tied, where its bound lies within. Against Palette *holds* \
                            takes 35 cells of 40, *in part* more than half of the 40, and *fails* says that \
                            ties would not make half.\n";

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
    let Figures { summary, cells } = figures;
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
    fn each_data_set_has_its_line() {
        let of = |name: &str, eps| {
            let mut results = main_results(eps);
            results.config.dataset.name = name.to_owned();
            Record::Experiment(Box::new(results))
        };
        let records = [of("clothes", (21.5, 1.0)), of("photos", (17.0, 4.0))];
        let ClaimsPages { verdicts, figures } = claims_pages(&records, "f.md");
        let claim = THEMES[1].1.iter().find(|claim| claim.id == "palette-20-eps-20").unwrap();
        let link = format!("[{}](f.md#palette-20-eps-20)", claim.text);
        let rows: Vec<&str> = verdicts.lines().filter(|line| line.contains(&link)).collect();
        assert_eq!(rows.len(), 2, "{verdicts}");
        let link = format!("[{}](f.md#palette-100-eps-20)", THEMES[1].1[4].text);
        let unclear = format!("| ? | undecided | {link} | clothes | 2 × 3 |");
        assert!(verdicts.contains(&unclear), "{verdicts}");
        let failed = format!("| ✗ | **fails** | {link} | photos | 2 × 3 |");
        assert!(verdicts.contains(&failed), "{verdicts}");
        assert!(figures.contains("? **undecided** on clothes, 2 × 3 images × samples: 2 wins"));
        assert!(figures.contains("✗ **fails** on photos, 2 × 3 images × samples: 0 wins"));
    }

    #[test]
    fn a_claim_without_results_is_open() {
        let records = [Record::Experiment(Box::new(main_results((21.5, 1.0))))];
        let ClaimsPages { verdicts, figures } = claims_pages(&records, "f.md");
        assert!(figures.contains("images × samples:\n\n- PSNR: 6 wins, 0 ties"), "{figures}");
        assert!(verdicts.contains("](f.md#coverage-heun) | – | – |"), "{verdicts}");
        assert!(figures.contains("Experiment: `calibration`.\n\n· **open**\n"), "{figures}");
        let claims: Vec<&Claim> = THEMES.iter().flat_map(|(_, claims)| *claims).collect();
        let rows = verdicts.lines().filter(|line| line.contains("](f.md#")).count();
        assert_eq!(rows, claims.len());
        assert_eq!(claims.iter().map(|claim| claim.id).collect::<BTreeSet<_>>().len(), rows);
    }
}

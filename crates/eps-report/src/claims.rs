//! The claims of the paper and ours, and what results say about each.

use std::fmt::Write as _;

use eps_results::{Experiment, Metric, Record, Results, TournamentResults, tournament};

use crate::verdicts::{
    ERROR_OF_MEAN, Finding, against_contenders, against_palette, contenders_miss_the_posterior,
    coverage, energy, error_of_mean, is_euler, is_heun, means, overhead, psnr, ratios,
    reaches_the_posterior, runtime, samples, saturation,
};

/// A claim with the experiment that tests it.
struct Claim {
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

const CLAIMS: [Claim; 37] = [
    Claim {
        text: "With the exact denoiser EPS samples the exact posterior: with 1,000 calls its sliced W2 is \
               within three deviations of that between two exact sets",
        source: "Theorem 1; aim ours",
        test: Test::Tournament(reaches_the_posterior),
    },
    Claim {
        text: "No training-free method comes as close, with whatever number of calls; beside them EPS with the \
               most of these",
        source: "ours",
        test: Test::Tournament(contenders_miss_the_posterior),
    },
    Claim {
        text: "EPS with 20 calls beats every training-free method on energy score, LPIPS and Fréchet \
               distance on every task",
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
        text: "EPS with 100 calls beats every training-free method on energy score, LPIPS and Fréchet \
               distance on every task",
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
        text: "EPS with 20 calls beats every training-free method on every task on the PSNR of samples and on \
               the error of their mean",
        source: "Tables 1, 6",
        test: Test::Experiment(Experiment::Main, |results| {
            against_contenders(results, "eps-20", &[Metric::PsnrDb, ERROR_OF_MEAN])
        }),
    },
    Claim {
        text: "EPS with 20 calls wins most metric-task cells against Palette with 100 (31 and 28 of 40 in \
               the paper; our aim is 35)",
        source: "Tables 1, 6",
        test: Test::Experiment(Experiment::Main, |results| {
            against_palette(results, "eps-20", "palette-100")
        }),
    },
    Claim {
        text: "EPS with 100 calls wins most metric-task cells against Palette with 100 (33 and 37 of 40 \
               in the paper; our aim is 35)",
        source: "Tables 1, 6",
        test: Test::Experiment(Experiment::Main, |results| {
            against_palette(results, "eps-100", "palette-100")
        }),
    },
    Claim {
        text: "EPS with 20 calls wins most metric-task cells against Palette with 20",
        source: "ours",
        test: Test::Experiment(Experiment::Main, |results| {
            against_palette(results, "eps-20", "palette-20")
        }),
    },
    Claim {
        text: "The one-call estimate has a PSNR of 1 dB above that of the linear MMSE estimate, and more",
        source: "ours",
        test: Test::Experiment(Experiment::Main, |results| {
            psnr(results, samples("eps-1"), samples("linear-mmse"), 1.0)
        }),
    },
    Claim {
        text: "The mean of 100 samples has a PSNR of 1.5 dB above that of the linear MMSE estimate, and more",
        source: "ours",
        test: Test::Experiment(Experiment::PosteriorMean, |results| {
            psnr(results, means("eps-20"), samples("linear-mmse"), 1.5)
        }),
    },
    Claim {
        text: "A network that reads [μ⋆, y] is better than one that reads [x_t, y] (scalar \
               preconditioning, 100 calls)",
        source: "Table 2",
        test: Test::Experiment(Experiment::Inputs, |results| {
            energy(results, "pivot-y-scalar-100", "state-y-100", 0.0)
        }),
    },
    Claim {
        text: "It is better than one that reads [μ⋆] alone",
        source: "Table 2",
        test: Test::Experiment(Experiment::Inputs, |results| {
            energy(results, "pivot-y-scalar-100", "pivot-scalar-100", 0.0)
        }),
    },
    Claim {
        text: "It is no worse than one that reads [μ⋆, Σ⋆] (within 2 %)",
        source: "Table 2",
        test: Test::Experiment(Experiment::Inputs, |results| {
            energy(results, "pivot-y-scalar-100", "pivot-noise-scalar-100", 2.0)
        }),
    },
    Claim {
        text: "Preconditioning along the eigenvectors of AᵀA (guarded) is better than the scalar one, \
               [μ⋆, Σ⋆, y], 100 calls",
        source: "ours",
        test: Test::Experiment(Experiment::Inputs, |results| {
            energy(results, "pivot-noise-y-guarded-100", "pivot-noise-y-scalar-100", 0.0)
        }),
    },
    Claim {
        text: "With preconditioning along the eigenvectors (spectral) y has nothing to add: [μ⋆, Σ⋆] is no worse \
               than [μ⋆, Σ⋆, y] (within 2 %)",
        source: "ours",
        test: Test::Experiment(Experiment::Inputs, |results| {
            energy(results, "pivot-noise-spectral-100", "pivot-noise-y-spectral-100", 2.0)
        }),
    },
    Claim {
        text: "A law of σ_t that reaches σ_max (60 % log-uniform) lifts the one-call estimate above that \
               under EDM's law",
        source: "ours",
        test: Test::Experiment(Experiment::NoiseLaw, |results| {
            psnr(results, samples("pivot-noise-y-guarded-1"), samples("law-edm-1"), 0.0)
        }),
    },
    Claim {
        text: "It costs nothing at 100 calls (within 2 %)",
        source: "ours",
        test: Test::Experiment(Experiment::NoiseLaw, |results| {
            energy(results, "pivot-noise-y-guarded-100", "law-edm-100", 2.0)
        }),
    },
    Claim {
        text: "Under that law a loss balanced over noise levels and tasks lifts the one-call estimate further",
        source: "ours",
        test: Test::Experiment(Experiment::NoiseLaw, |results| {
            psnr(results, samples("law-balanced-1"), samples("pivot-noise-y-guarded-1"), 0.0)
        }),
    },
    Claim {
        text: "The balance costs nothing at 100 calls (within 2 %)",
        source: "ours",
        test: Test::Experiment(Experiment::NoiseLaw, |results| {
            energy(results, "law-balanced-100", "pivot-noise-y-guarded-100", 2.0)
        }),
    },
    Claim {
        text: "One network for all tasks is no worse than one for each at equal steps in all (100 \
               calls, within 2 %)",
        source: "Table 4",
        test: Test::Experiment(Experiment::Amortized, |results| {
            energy(results, "pivot-noise-y-guarded-100", "single-TASK-share-100", 2.0)
        }),
    },
    Claim {
        text: "The same with a loss balanced over noise levels and tasks for the one, and not for those of one task",
        source: "ours",
        test: Test::Experiment(Experiment::Amortized, |results| {
            energy(results, "law-balanced-100", "single-TASK-share-100", 2.0)
        }),
    },
    Claim {
        text: "Quality is reached within 20 calls: the fair energy score of 20 is at most 2 % above the best \
               of the others",
        source: "Figure 3, D.4",
        test: Test::Experiment(Experiment::Main, saturation),
    },
    Claim {
        text: "Training for the pivot beats the frozen prior there (100 calls)",
        source: "Table 3",
        test: Test::Experiment(Experiment::ZeroShot, |results| {
            energy(results, "eps-100", "zero-shot-100", 0.0)
        }),
    },
    Claim {
        text: "The frozen prior at the pivot is a useful sampler without training: the mean of its samples \
               is nearer to the truth than the linear MMSE estimate",
        source: "ours",
        test: Test::Experiment(Experiment::ZeroShot, |results| {
            error_of_mean(results, "zero-shot-100", "linear-mmse")
        }),
    },
    Claim {
        text: "The one-call estimate is within 1 dB of the mean of 100 samples (up to 5 dB short of that of \
               10 in the paper)",
        source: "Tables 5, 10; aim ours",
        test: Test::Experiment(Experiment::PosteriorMean, |results| {
            psnr(results, samples("eps-1"), means("eps-20"), -1.0)
        }),
    },
    Claim {
        text: "Palette's one-call estimate is as good as that of EPS (within 0.5 dB; by 0.4 and 1.1 dB \
               better in the paper)",
        source: "Table 10",
        test: Test::Experiment(Experiment::PosteriorMean, |results| {
            psnr(results, samples("palette-1"), samples("eps-1"), -0.5)
        }),
    },
    Claim {
        text: "From the prior's weights EPS is better than Palette after few steps (400; 100 calls)",
        source: "Figure 4",
        test: Test::Experiment(Experiment::WarmStart, |results| {
            energy(results, "eps-prior-400-100", "palette-prior-400-100", 0.0)
        }),
    },
    Claim {
        text: "Training EPS from the prior's weights is better than from random weights (1,000 steps; \
               100 calls)",
        source: "Figure 4",
        test: Test::Experiment(Experiment::WarmStart, |results| {
            energy(results, "pivot-y-scalar-100", "eps-scratch-1000-100", 0.0)
        }),
    },
    Claim {
        text: "A hundred steps from the prior are better than the frozen prior at the pivot (100 calls)",
        source: "ours",
        test: Test::Experiment(Experiment::WarmStart, |results| {
            energy(results, "eps-prior-100-100", "zero-shot-100", 0.0)
        }),
    },
    Claim {
        text: "EPS beats every training-free method where little is measured, with 20 calls: energy score \
               and LPIPS",
        source: "Table 7",
        test: Test::Experiment(Experiment::Extreme, |results| {
            against_contenders(results, "TASK-20", &[Metric::EnergyScoreFair, Metric::LpipsAlex])
        }),
    },
    Claim {
        text: "EPS is better than Palette on masks and noise levels, those beyond the training among them \
               (100 calls)",
        source: "Table 8",
        test: Test::Experiment(Experiment::Ood, |results| {
            energy(results, "eps-100", "palette-100", 0.0)
        }),
    },
    Claim {
        text: "EPS trained and sampled as a rectified flow (t uniform, loss on the velocity) is as good as on \
               EDM's path (100 calls, within 5 %)",
        source: "Proposition 2",
        test: Test::Experiment(Experiment::Flow, |results| {
            energy(results, "eps-flow-100", "short-guarded-100", 5.0)
        }),
    },
    Claim {
        text: "The energy ratio of the truth and that of an eleventh sample agree within 0.01 (EPS, 100 \
               calls)",
        source: "ours",
        test: Test::Experiment(Experiment::Calibration, ratios),
    },
    Claim {
        text: "Central 90 % intervals cover 87 to 93 % (EPS, 100 calls)",
        source: "ours",
        test: Test::Experiment(Experiment::Calibration, |results| coverage(results, is_euler)),
    },
    Claim {
        text: "The same with as many calls of Heun's method (99)",
        source: "ours",
        test: Test::Experiment(Experiment::Calibration, |results| coverage(results, is_heun)),
    },
    Claim {
        text: "A call of EPS costs as much as a call of the bare denoiser (1.006 × in the paper, on a \
               network 200 times as large)",
        source: "Table 11",
        test: Test::Experiment(Experiment::Runtime, runtime),
    },
    Claim {
        text: "The pivot and the wider first convolution cost at most 0.6 % of the denoiser in the FFHQ-64 \
               configuration",
        source: "Table 11",
        test: Test::Experiment(Experiment::Runtime, overhead),
    },
];

/// What results say about every claim, as a Markdown page.
#[must_use]
pub fn claims_page(records: &[Record]) -> String {
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
        let Claim { text: claimed, source, test } = claim;
        let experiment = test.experiment();
        let mut write = |size: &str, verdict: &str, figures: &str| {
            let line = writeln!(
                text,
                "| {claimed} | {source} | `{experiment}` | {size} | {verdict} | {figures} |"
            );
            debug_assert!(line.is_ok(), "writing to a string");
        };
        let findings: Vec<(&Record, Finding)> =
            records.iter().filter_map(|record| Some((record, test.on(record)?))).collect();
        for (record, finding) in &findings {
            let size = format!("{}, {}", record.size(), record.data());
            match finding {
                Some((verdict, figures)) => write(&size, verdict.word(), figures),
                None => write(&size, "open", ""),
            }
        }
        if findings.is_empty() {
            write("–", "open", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_results::main_results;

    #[test]
    fn each_data_set_has_its_line() {
        let of = |name: &str, eps| {
            let mut results = main_results(eps);
            results.config.dataset.name = name.to_owned();
            Record::Experiment(Box::new(results))
        };
        let text = claims_page(&[of("clothes", (21.5, 1.0)), of("photos", (17.0, 4.0))]);
        assert!(text.contains("| 2 × 3, clothes | undecided | 2 wins, 0 ties, 0 losses"), "{text}");
        assert!(text.contains("| 2 × 3, photos | **fails** | 0 wins, 0 ties, 2 losses"), "{text}");
    }

    #[test]
    fn a_claim_without_results_is_open() {
        let text = claims_page(&[Record::Experiment(Box::new(main_results((21.5, 1.0))))]);
        assert!(
            text.contains("| `main` | 2 × 3, clothes | holds in part | PSNR: 6 wins, 0 ties"),
            "{text}"
        );
        assert!(text.contains("| `calibration` | – | open |  |"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), CLAIMS.len() + 1);
    }
}

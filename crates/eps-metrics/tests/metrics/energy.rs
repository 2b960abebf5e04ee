use approx::assert_relative_eq;
use eps_metrics::MetricsError;
use eps_metrics::energy::{PairTerm, crps_coordinate, energy_score};
use proptest::prelude::*;

use crate::inputs::{normal, u01};

const BOTH: [PairTerm; 2] = [PairTerm::VStatistic, PairTerm::Fair];

#[test]
fn by_hand() {
    // Samples (3, 4) and (0, 0) of the truth (0, 0): distances 5 and 0, one pair at distance 5.
    let truth = [0.0, 0.0];
    let samples = [3.0, 4.0, 0.0, 0.0];
    let score = |pair_term| energy_score(&truth, &samples, pair_term).unwrap();
    assert_eq!(score(PairTerm::VStatistic), 2.5 - 10.0 / 8.0);
    assert_eq!(score(PairTerm::Fair), 2.5 - 10.0 / 4.0);
    // Coordinates: (3 − 0 …)/2 and (4 − 0 …)/2 with pairs at 3 and 4.
    let crps = |pair_term| crps_coordinate(&truth, &samples, pair_term).unwrap();
    assert_eq!(crps(PairTerm::VStatistic), 0.5 * (1.5 - 6.0 / 8.0 + 2.0 - 8.0 / 8.0));
    assert_eq!(crps(PairTerm::Fair), 0.0);
}

#[test]
fn one_sample() {
    let score = energy_score(&[1.0, 1.0], &[4.0, 5.0], PairTerm::VStatistic).unwrap();
    assert_eq!(score, 5.0);
    let error = energy_score(&[1.0], &[4.0], PairTerm::Fair).unwrap_err();
    assert!(matches!(error, MetricsError::TooFewSamples { needed: 2, got: 1, .. }));
    assert!(error.to_string().starts_with("too few samples"));
}

#[test]
fn bad_input_is_named() {
    for metric in [energy_score, crps_coordinate] {
        assert_eq!(
            metric(&[0.0, 0.0], &[0.0; 5], PairTerm::Fair).unwrap_err(),
            MetricsError::Multiple { what: "samples", unit: 2, got: 5 }
        );
        let error = metric(&[0.0], &[0.0, f64::INFINITY], PairTerm::Fair).unwrap_err();
        assert!(matches!(error, MetricsError::NotFinite { what: "samples", index: 1, .. }));
        assert_eq!(
            metric(&[], &[], PairTerm::Fair).unwrap_err(),
            MetricsError::Empty { what: "truth" }
        );
    }
}

/// The mean and its standard error of `score` over repetitions.
fn mean_and_error(repetitions: usize, score: impl Fn(usize) -> f64) -> (f64, f64) {
    let scores: Vec<f64> = (0..repetitions).map(score).collect();
    let n = repetitions as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let variance = scores.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

#[test]
fn fair_is_unbiased_and_v_is_not() {
    // E|x − z| − ½E|x − x′| of standard normals is 2/√π − 1/√π = 1/√π. With 1/(2J²) the pair
    // term shrinks by 1 − 1/J, so at J = 3 the mean is (1 + 1/3)/√π.
    let (truths, samples) = (normal("crps truths", 20_000), normal("crps samples", 60_000));
    let score = |pair_term| {
        mean_and_error(20_000, |i| {
            crps_coordinate(&truths[i..=i], &samples[3 * i..][..3], pair_term).unwrap()
        })
    };
    let expected = 1.0 / std::f64::consts::PI.sqrt();
    // Four standard errors of a fixed stream.
    let (mean, error) = score(PairTerm::Fair);
    assert!((mean - expected).abs() < 4.0 * error, "{mean} ± {error}, not {expected}");
    let (mean, error) = score(PairTerm::VStatistic);
    let biased = expected * 4.0 / 3.0;
    assert!((mean - biased).abs() < 4.0 * error, "{mean} ± {error}, not {biased}");
}

#[test]
fn the_law_of_the_truth_scores_best() {
    // Proper: in expectation no shift or change of width improves on the truth's own law. The same
    // draws serve all laws, so the differences have little noise.
    let dim = 8;
    let truths = normal("proper truths", 2_000 * dim);
    let samples = normal("proper samples", 2_000 * 5 * dim);
    let score = |shift: f64, width: f64| {
        mean_and_error(2_000, |i| {
            let samples: Vec<f64> =
                samples[5 * i * dim..][..5 * dim].iter().map(|x| shift + width * x).collect();
            energy_score(&truths[i * dim..][..dim], &samples, PairTerm::Fair).unwrap()
        })
        .0
    };
    let right = score(0.0, 1.0);
    for (shift, width) in [(0.3, 1.0), (-0.3, 1.0), (0.0, 0.6), (0.0, 1.5)] {
        assert!(right < score(shift, width), "shift {shift}, width {width}");
    }
}

/// ∫ (F(z) − 1{z ≥ x₀})² dz of the empirical distribution function, interval by interval.
fn crps_integral(truth: f64, samples: &[f64]) -> f64 {
    let mut knots = [samples, &[truth]].concat();
    knots.sort_by(f64::total_cmp);
    knots
        .windows(2)
        .map(|z| {
            let below = samples.iter().filter(|&&x| x <= z[0]).count();
            let f = below as f64 / samples.len() as f64 - f64::from(u8::from(truth <= z[0]));
            f * f * (z[1] - z[0])
        })
        .sum()
}

/// Both sums over all ordered pairs, as the definition has them.
fn naive(truth: &[f64], samples: &[f64], pair_term: PairTerm) -> f64 {
    let rows: Vec<&[f64]> = samples.chunks(truth.len()).collect();
    let j = rows.len() as f64;
    let distance =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    let to_truth: f64 = rows.iter().map(|a| distance(a, truth)).sum();
    let pairs: f64 = rows.iter().flat_map(|a| rows.iter().map(|b| distance(a, b))).sum();
    let weight = match pair_term {
        PairTerm::VStatistic => 2.0 * j * j,
        PairTerm::Fair => 2.0 * j * (j - 1.0),
    };
    to_truth / j - pairs / weight
}

proptest! {
    #[test]
    fn agrees_with_the_definition(
        (truth, samples) in (1_usize..20, 2_usize..8).prop_flat_map(|(dim, j)| {
            let values = |n| prop::collection::vec(-1.0..1.0, n);
            (values(dim), values(dim * j))
        }),
    ) {
        let dim = truth.len();
        for pair_term in BOTH {
            // Sums of at most 64 terms of size √20.
            let value = energy_score(&truth, &samples, pair_term).unwrap();
            prop_assert!((value - naive(&truth, &samples, pair_term)).abs() < 1e-13);
            let columns = (0..dim).map(|i| {
                let column: Vec<f64> = samples[i..].iter().step_by(dim).copied().collect();
                naive(&truth[i..=i], &column, pair_term)
            });
            let expected = columns.sum::<f64>() / dim as f64;
            let value = crps_coordinate(&truth, &samples, pair_term).unwrap();
            prop_assert!((value - expected).abs() < 1e-13);
        }
    }

    #[test]
    fn crps_is_the_integral(
        truth in -1.0..1.0,
        samples in prop::collection::vec(-1.0..1.0, 1..12),
    ) {
        let value = crps_coordinate(&[truth], &samples, PairTerm::VStatistic).unwrap();
        prop_assert!((value - crps_integral(truth, &samples)).abs() < 1e-14);
    }
}

#[test]
fn invariances() {
    let (truth, samples) = (u01("truth", 30), u01("samples", 4 * 30));
    let map = |f: &dyn Fn(f64) -> f64| -> (Vec<f64>, Vec<f64>) {
        (truth.iter().map(|x| f(*x)).collect(), samples.iter().map(|x| f(*x)).collect())
    };
    let (shifted, scaled) = (map(&|x| x + 3.0), map(&|x| 7.0 * x));
    let reordered: Vec<f64> = samples.chunks(30).rev().flatten().copied().collect();
    for metric in [energy_score, crps_coordinate] {
        for pair_term in BOTH {
            let value = metric(&truth, &samples, pair_term).unwrap();
            let same = |truth: &[f64], samples: &[f64], factor: f64| {
                let other = metric(truth, samples, pair_term).unwrap();
                // x + 3 rounds by 4e-16 of distances of order 1, score of order 0.1.
                assert_relative_eq!(other, factor * value, max_relative = 1e-13);
            };
            same(&truth, &reordered, 1.0);
            same(&shifted.0, &shifted.1, 1.0);
            same(&scaled.0, &scaled.1, 7.0);
        }
    }
}

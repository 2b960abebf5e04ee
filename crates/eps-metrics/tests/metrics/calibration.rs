use approx::assert_relative_eq;
use eps_metrics::MetricsError;
use eps_metrics::calibration::{
    Ensemble, RankHistogram, energy_ratios, rank_histogram, spread_against_error,
};
use eps_metrics::summary::Estimate;

use crate::inputs::{normal, stream};

#[test]
fn ratio_of_a_gaussian_posterior() {
    // 40 images of 3,000 independent normal coordinates, eleven samples each.
    let (images, dim) = (40, 3_000);
    let truth = normal("ratio truth", images * dim);
    let samples = normal("ratio samples", images * 11 * dim);
    let ratios = energy_ratios(Ensemble::new(&truth, &samples, images).unwrap(), None).unwrap();
    // √2 · 0.55 / √1.1. A norm of 3,000 coordinates varies by 1/√6000 of itself, 0.2 % over 40
    // images; the law of large numbers in D is off by 1/D.
    for ratio in [ratios.truth, ratios.held_out] {
        assert!((ratio - 0.7416).abs() < 0.004, "{ratios:?}");
    }
    // Samples of half the width: the truth's ratio leaves, the held-out one stays.
    let narrow: Vec<f64> = samples.iter().map(|x| 0.5 * x).collect();
    let ratios = energy_ratios(Ensemble::new(&truth, &narrow, images).unwrap(), None).unwrap();
    assert!((ratios.held_out - 0.7416).abs() < 0.004, "{ratios:?}");
    assert!(ratios.truth > 0.78, "{ratios:?}");
}

#[test]
fn ratio_by_hand() {
    // Samples −1 and 1, then 3; truth 0.5. Scores: (1.5 + 0.5)/2 − 4/8 and (4 + 2)/2 − 4/8; the
    // mean 0 is 0.5 and 3 away.
    let ratios = energy_ratios(Ensemble::new(&[0.5], &[-1.0, 1.0, 3.0], 1).unwrap(), None).unwrap();
    assert_relative_eq!(ratios.truth, 0.5 / 0.5, max_relative = 1e-15);
    assert_relative_eq!(ratios.held_out, 2.5 / 3.0, max_relative = 1e-15);
    // Ratio of sums over images, not mean of ratios.
    let ensemble = Ensemble::new(&[0.5, 2.0], &[-1.0, 1.0, 3.0, -1.0, 1.0, 0.0], 2);
    let error = energy_ratios(ensemble.unwrap(), None).unwrap();
    assert_relative_eq!(error.truth, (0.5 + 1.5) / (0.5 + 2.0), max_relative = 1e-15);
    assert_relative_eq!(error.held_out, (2.5 + 0.5) / 3.0, max_relative = 1e-15);
    assert_relative_eq!(error.difference.value, error.truth - error.held_out, max_relative = 1e-14);
    // One image has a distance of 0: without the other its ratio is undefined, and so is the interval.
    assert_eq!(error.difference.half_width_95, None);
    let double = Ensemble::new(&[0.5; 2], &[-1.0, 1.0, 3.0, -1.0, 1.0, 3.0], 2).unwrap();
    assert_relative_eq!(
        energy_ratios(double, None).unwrap().difference.half_width_95.unwrap(),
        0.0
    );
}

#[test]
fn ratio_needs_samples_and_an_error() {
    let one = Ensemble::new(&[0.5], &[0.5], 1).unwrap();
    assert!(matches!(energy_ratios(one, None), Err(MetricsError::TooFewSamples { needed: 2, .. })));
    let same = Ensemble::new(&[0.5], &[0.5, 0.5], 1).unwrap();
    assert_eq!(energy_ratios(same, None), Err(MetricsError::ZeroDistance));
}

#[test]
fn ranks_by_hand() {
    // Two images of two pixels, three samples. The second pixel of each does not spread.
    let truth = [0.5, 0.0, 0.9, 0.0];
    let samples = [
        0.1, 0.2, 0.6, 0.2, 0.7, 0.2, // first image: one sample below 0.5
        0.1, 0.3, 0.2, 0.3, 0.3, 0.3, // second: all below 0.9
    ];
    let ensemble = Ensemble::new(&truth, &samples, 2).unwrap();
    let ranks = rank_histogram(ensemble, 1.0 / 255.0, || unreachable!("no ties")).unwrap();
    assert_eq!(ranks.counts(), [0, 1, 0, 1]);
    assert_eq!(ranks.share, 0.5);
}

#[test]
fn ties_are_split_evenly() {
    // Truth and two of three samples at 1, one at 0: ranks 1, 2, 3 by thirds.
    for (u, rank) in [(0.0, 1), (0.33, 1), (0.34, 2), (0.67, 3), (0.999_999, 3)] {
        let ensemble = Ensemble::new(&[1.0], &[1.0, 0.0, 1.0], 1).unwrap();
        let ranks = rank_histogram(ensemble, 0.0, || u).unwrap();
        assert_eq!(ranks.counts()[rank], 1, "u = {u}");
    }
    // Every value is 0 or 1 with equal odds; only the split of ties makes ranks uniform.
    let bits = |name: &str, n: usize| -> Vec<f64> {
        normal(name, n).iter().map(|x| f64::from(u8::from(*x > 0.0))).collect()
    };
    let (dim, j) = (40_000, 3);
    let (truth, samples) = (bits("tie truth", dim), bits("tie samples", j * dim));
    let ensemble = Ensemble::new(&truth, &samples, 1).unwrap();
    // Pixels whose samples are all alike count too here (s.d. above −1), so no selection acts.
    let ranks = rank_histogram(ensemble, -1.0, stream("tie split")).unwrap();
    assert_flat(&ranks);
}

/// χ² of J degrees of freedom within five standard deviations √(2J) of its mean J.
fn assert_flat(ranks: &RankHistogram) {
    let counts = ranks.counts();
    let total: u64 = counts.iter().sum();
    let expected = total as f64 / counts.len() as f64;
    let chi2: f64 = counts.iter().map(|&c| (c as f64 - expected).powi(2) / expected).sum();
    let freedom = counts.len() as f64 - 1.0;
    assert!(chi2 < freedom + 5.0 * (2.0 * freedom).sqrt(), "χ² = {chi2}: {ranks:?}");
}

#[test]
fn calibrated_samples_have_flat_ranks_and_cover() {
    let (images, dim, j) = (4, 5_000, 19);
    let truth = normal("rank truth", images * dim);
    let samples = normal("rank samples", images * j * dim);
    let ensemble = Ensemble::new(&truth, &samples, images).unwrap();
    let ranks = rank_histogram(ensemble, 1.0 / 255.0, || unreachable!("no ties")).unwrap();
    assert_eq!(ranks.share, 1.0);
    assert_flat(&ranks);
    for level in [0.5, 0.8, 0.9] {
        // Binomial over 20,000 pixels: four standard deviations.
        let error = (level * (1.0 - level) / 20_000.0_f64).sqrt();
        let coverage = ranks.coverage(level, None).unwrap().value;
        assert!((coverage - level).abs() < 4.0 * error, "{level}: {coverage}");
    }
    // Half the width: a normal truth inside the 90 % interval of N(0, ¼) has probability 0.59.
    let narrow: Vec<f64> = samples.iter().map(|x| 0.5 * x).collect();
    let ensemble = Ensemble::new(&truth, &narrow, images).unwrap();
    let ranks = rank_histogram(ensemble, 1.0 / 255.0, || unreachable!("no ties")).unwrap();
    assert!(ranks.coverage(0.9, None).unwrap().value < 0.65);
    assert!(ranks.counts()[0] > 3 * ranks.counts()[10]);
}

#[test]
fn coverage_counts_central_ranks() {
    // The ranks 1 to 20 as often, in two images.
    let of_images = vec![vec![1; 20], (0..20).collect()];
    let ranks = RankHistogram { of_images, share: 1.0 };
    let covered = |level| ranks.coverage(level, None).unwrap().value;
    let total = 210.0;
    assert_eq!(covered(0.9), (total - 1.0 - 20.0) / total);
    assert_eq!(covered(0.8), (total - 1.0 - 2.0 - 20.0 - 19.0) / total);
    let inner: u64 = (6..=15).sum();
    assert_eq!(covered(0.5), inner as f64 / total);
    assert_eq!(covered(1.0), 1.0);
    // Each image alone has the coverage of both: 18 of 20, 171 of 190.
    assert!(ranks.coverage(0.9, None).unwrap().half_width_95.unwrap() < 1e-12);
    // 1/2 and 1 alone: t_{0.975, 1} s/√2 = 12.706 · 0.25 for equal counts.
    let unequal = RankHistogram { of_images: vec![vec![1, 1, 1, 1], vec![0, 2, 2, 0]], share: 1.0 };
    let Estimate { value, half_width_95 } = unequal.coverage(0.5, None).unwrap();
    assert_eq!(value, 0.75);
    assert_relative_eq!(half_width_95.unwrap(), 12.7062 * 0.25, max_relative = 1e-5);
    let nothing = RankHistogram { of_images: vec![vec![0; 20]], share: 0.0 };
    assert!(matches!(nothing.coverage(0.5, None), Err(MetricsError::NotFinite { .. })));
    for level in [0.95, 0.0, -0.1, 1.1, f64::NAN] {
        assert!(
            matches!(ranks.coverage(level, None), Err(MetricsError::Level { samples: 19, .. })),
            "{level}"
        );
    }
}

#[test]
fn nothing_spreads() {
    let ensemble = Ensemble::new(&[0.0, 1.0], &[0.5; 6], 1).unwrap();
    let error = rank_histogram(ensemble, 0.1, || 0.5).unwrap_err();
    assert_eq!(error, MetricsError::NothingSelected { min_sd: 0.1 });
}

#[test]
fn spread_equals_error_when_calibrated() {
    // Three kinds of pixels with standard deviations 1, 2, 4; J large enough that bins hold one
    // kind each.
    let (dim, j) = (9_000, 60);
    let width = |i: usize| [1.0, 2.0, 4.0][i % 3];
    let truth: Vec<f64> =
        normal("spread truth", dim).iter().enumerate().map(|(i, x)| width(i) * x).collect();
    let samples: Vec<f64> = normal("spread samples", j * dim)
        .iter()
        .enumerate()
        .map(|(i, x)| width(i % dim) * x)
        .collect();
    let bins = spread_against_error(Ensemble::new(&truth, &samples, 1).unwrap(), 3).unwrap();
    for (bin, width) in bins.iter().zip([1.0, 2.0, 4.0]) {
        assert_eq!(bin.pixels, 3_000);
        let expected = width * (1.0 + 1.0 / 60.0_f64).sqrt();
        // A root mean square of 3,000 normals has the relative error 1/√6000: four of them.
        let tolerance = 4.0 * expected / 6_000.0_f64.sqrt();
        assert!((bin.spread - expected).abs() < tolerance, "{bin:?}");
        assert!((bin.error - expected).abs() < tolerance, "{bin:?}");
    }
}

#[test]
fn spread_by_hand() {
    // Samples 0 and 2 of the truth 4: s² = 2, spread √3, mean 1 is 3 away.
    let ensemble = Ensemble::new(&[4.0], &[0.0, 2.0], 1).unwrap();
    let bins = spread_against_error(ensemble, 5).unwrap();
    assert_eq!(bins.len(), 1);
    assert_relative_eq!(bins[0].spread, 3.0_f64.sqrt(), max_relative = 1e-15);
    assert_eq!(bins[0].error, 3.0);
    assert!(spread_against_error(ensemble, 0).is_err());
}

#[test]
fn shapes_are_checked() {
    let shape = |truth: usize, samples: usize, images: usize| {
        Ensemble::new(&vec![0.0; truth], &vec![0.0; samples], images).map(|e| e.samples_per_image())
    };
    assert_eq!(shape(6, 24, 3), Ok(4));
    assert_eq!(shape(6, 24, 4), Err(MetricsError::Multiple { what: "truth", unit: 4, got: 6 }));
    assert_eq!(shape(6, 25, 3), Err(MetricsError::Multiple { what: "samples", unit: 6, got: 25 }));
    assert_eq!(shape(6, 24, 0), Err(MetricsError::Empty { what: "truth" }));
    assert_eq!(shape(6, 0, 3), Err(MetricsError::Empty { what: "samples" }));
    assert!(Ensemble::new(&[0.0], &[f64::NAN], 1).is_err());
}

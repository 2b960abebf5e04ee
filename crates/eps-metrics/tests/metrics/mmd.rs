use approx::assert_relative_eq;
use eps_metrics::MetricsError;
use eps_metrics::mmd::{mmd2, mmd2_left_out};
use proptest::prelude::*;

use crate::inputs::{normal, u01};

fn d2(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// The definition, every pair from its difference.
fn naive(samples: &[f64], truths: &[f64], dim: usize) -> (f64, f64) {
    let pooled: Vec<&[f64]> = samples.chunks(dim).chain(truths.chunks(dim)).collect();
    let mut all = Vec::new();
    for i in 0..pooled.len() {
        for j in 0..i {
            all.push(d2(pooled[i], pooled[j]));
        }
    }
    all.sort_by(f64::total_cmp);
    let n = all.len();
    let median = (all[(n - 1) / 2] + all[n / 2]) / 2.0;
    (with_width(samples, truths, dim, median), median)
}

/// MMD² by a kernel of a given width.
fn with_width(samples: &[f64], truths: &[f64], dim: usize, median: f64) -> f64 {
    let (x, y): (Vec<&[f64]>, Vec<&[f64]>) =
        (samples.chunks(dim).collect(), truths.chunks(dim).collect());
    let mean = |a: &[&[f64]], b: &[&[f64]], same: bool| {
        let mut sum = 0.0;
        for (i, u) in a.iter().enumerate() {
            for (j, v) in b.iter().enumerate() {
                if !same || i != j {
                    sum += (-d2(u, v) / median).exp();
                }
            }
        }
        sum / (a.len() * if same { b.len() - 1 } else { b.len() }) as f64
    };
    mean(&x, &x, true) + mean(&y, &y, true) - 2.0 * mean(&x, &y, false)
}

#[test]
fn an_image_is_left_out_with_its_samples() {
    let (images, per_image, dim) = (7, 3, 5);
    let (x, y) = (u01("left x", images * per_image * dim), u01("left y", images * dim));
    let (mmd, left_out) = mmd2_left_out(&x, &y, dim).unwrap();
    assert_eq!(mmd, mmd2(&x, &y, dim).unwrap());
    assert_eq!(left_out.len(), images);
    for (image, found) in left_out.iter().enumerate() {
        let without = |values: &[f64], rows: usize| {
            [&values[..image * rows * dim], &values[(image + 1) * rows * dim..]].concat()
        };
        let (x, y) = (without(&x, per_image), without(&y, 1));
        let expected = with_width(&x, &y, dim, mmd.median_squared_distance);
        // Differences of sums of a few hundred values of order 1.
        assert!((found - expected).abs() < 1e-14, "{image}: {found} {expected}");
    }
    let few =
        MetricsError::TooFewSamples { what: "mmd2 without an image, truths", needed: 3, got: 2 };
    assert_eq!(mmd2_left_out(&[0.0, 1.0], &[0.5, 2.0], 1), Err(few));
}

#[test]
fn by_hand() {
    // Points 0, 1 against 0, 2: squared distances 0 1 1 1 4 4, their median (1 + 1)/2.
    let mmd = mmd2(&[0.0, 1.0], &[0.0, 2.0], 1).unwrap();
    assert_eq!(mmd.median_squared_distance, 1.0);
    let e = |d2: f64| (-d2).exp();
    let expected = e(1.0) + e(4.0) - 2.0 * (e(0.0) + e(4.0) + e(1.0) + e(1.0)) / 4.0;
    assert_relative_eq!(mmd.mmd2, expected, max_relative = 1e-14);
    // 0 1 3 against 6 8 9: fifteen pairs, the eighth of 1 1 4 4 9 9 9 25 25 36 … is the median.
    let mmd = mmd2(&[0.0, 1.0, 3.0], &[6.0, 8.0, 9.0], 1).unwrap();
    assert_eq!(mmd.median_squared_distance, 25.0);
}

#[test]
fn agrees_with_the_definition_across_tiles() {
    // 300 points span three tiles of the fast version, with unequal sides.
    let dim = 37;
    let (x, y) = (u01("mmd x", 210 * dim), u01("mmd y", 90 * dim));
    let fast = mmd2(&x, &y, dim).unwrap();
    let (value, median) = naive(&x, &y, dim);
    // MMD² is a difference of means of order 0.4; each is good to about 1e-15.
    assert!((fast.mmd2 - value).abs() < 1e-14, "{} {value}", fast.mmd2);
    assert_relative_eq!(fast.median_squared_distance, median, max_relative = 1e-13);
}

#[test]
fn a_common_offset_cancels() {
    // Far from the origin and near-duplicates: a plain product form would lose all digits here.
    let dim = 20;
    let base = normal("offset", 8 * dim);
    let x: Vec<f64> = base.iter().map(|v| 1e6 + 1e-3 * v).collect();
    let y: Vec<f64> = x.iter().map(|v| v + 1e-5).collect();
    let fast = mmd2(&x, &y, dim).unwrap();
    let (value, median) = naive(&x, &y, dim);
    // The mean of numbers of 1e6 rounds by about 1e-10 and shifts all points alike.
    assert_relative_eq!(fast.median_squared_distance, median, max_relative = 1e-6);
    assert!((fast.mmd2 - value).abs() < 1e-6, "{} {value}", fast.mmd2);
}

#[test]
fn tight_clusters_far_apart() {
    // Most pairs lie within a cluster a million times narrower than the distance of the clusters:
    // the median is that of near-duplicates.
    let dim = 6;
    let noise = normal("clusters", 40 * dim);
    let points: Vec<f64> = (0..40 * dim)
        .map(|i| if i / dim % 10 == 0 { 1.0 } else { 0.0 } + 1e-6 * noise[i])
        .collect();
    let (x, y) = points.split_at(25 * dim);
    let fast = mmd2(x, y, dim).unwrap();
    let (value, median) = naive(x, y, dim);
    // Centring rounds by 1e-16 of values of 1, against differences of 1e-6.
    assert_relative_eq!(fast.median_squared_distance, median, max_relative = 1e-9);
    assert!((fast.mmd2 - value).abs() < 1e-9, "{} {value}", fast.mmd2);
}

#[test]
fn copies_of_the_truths_are_negative() {
    // J copies of each of N truths whose distances are all alike: with k the kernel off the
    // diagonal, MMD² = −(1 − k)(2/N − (J − 1)/(NJ − 1)). This is the floor of the paper's tables.
    let (n, j) = (20, 10);
    let identity = |i: usize| (0..n).map(move |k| f64::from(u8::from(i == k)));
    let truths: Vec<f64> = (0..n).flat_map(identity).collect();
    let samples: Vec<f64> = (0..n * j).flat_map(|i| identity(i / j)).collect();
    let mmd = mmd2(&samples, &truths, n).unwrap();
    assert_relative_eq!(mmd.median_squared_distance, 2.0, max_relative = 1e-14);
    let (n, j) = (n as f64, j as f64);
    let expected = -(1.0 - (-1.0_f64).exp()) * (2.0 / n - (j - 1.0) / (n * j - 1.0));
    assert_relative_eq!(mmd.mmd2, expected, max_relative = 1e-12);
}

#[test]
fn unbiased_under_the_null() {
    // Two samples of one law: the mean over repetitions is zero within four standard errors. The
    // kernel width of the pooled sample is symmetric in all points, so it brings no bias.
    let (dim, m, n, repetitions) = (3, 12, 6, 800);
    let points = normal("null", repetitions * (m + n) * dim);
    let values: Vec<f64> = points
        .chunks((m + n) * dim)
        .map(|set| mmd2(&set[..m * dim], &set[m * dim..], dim).unwrap().mmd2)
        .collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let error = (variance / count).sqrt();
    assert!(mean.abs() < 4.0 * error, "{mean} ± {error}");
    assert!(values.iter().any(|v| *v < 0.0));
}

#[test]
fn shifts_grow_it() {
    let dim = 5;
    let (x, y) = (normal("shift x", 60 * dim), normal("shift y", 40 * dim));
    let at = |shift: f64| {
        let y: Vec<f64> = y.iter().map(|v| v + shift).collect();
        mmd2(&x, &y, dim).unwrap().mmd2
    };
    assert!(at(0.0) < at(0.5) && at(0.5) < at(1.0) && at(1.0) < at(2.0));
}

#[test]
fn too_few_or_all_alike() {
    let error = mmd2(&[0.0, 1.0], &[0.0], 1).unwrap_err();
    assert!(matches!(error, MetricsError::TooFewSamples { needed: 2, got: 1, .. }));
    assert_eq!(mmd2(&[0.5; 4], &[0.5; 4], 2).unwrap_err(), MetricsError::ZeroMedian);
    assert_eq!(
        mmd2(&[0.0; 5], &[0.0; 4], 2).unwrap_err(),
        MetricsError::Multiple { what: "samples", unit: 2, got: 5 }
    );
    assert!(matches!(
        mmd2(&[0.0, 1.0], &[0.0, f64::NAN], 1).unwrap_err(),
        MetricsError::NotFinite { what: "truths", index: 1, .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn symmetric_and_free_of_scale(
        (x, y, dim) in (2_usize..8, 2_usize..8, 1_usize..6).prop_flat_map(|(m, n, dim)| {
            let values = |n| prop::collection::vec(-1.0..1.0, n);
            (values(m * dim), values(n * dim), Just(dim))
        }),
    ) {
        let mmd = mmd2(&x, &y, dim).unwrap();
        let swapped = mmd2(&y, &x, dim).unwrap();
        // Terms of size 1, at most 64 of them, with d² good to 10³ D ε.
        prop_assert!((mmd.mmd2 - swapped.mmd2).abs() < 1e-11);
        let half = |v: &[f64]| -> Vec<f64> { v.iter().map(|v| 0.5 * v).collect() };
        let scaled = mmd2(&half(&x), &half(&y), dim).unwrap();
        prop_assert!((mmd.mmd2 - scaled.mmd2).abs() < 1e-11);
        let (value, median) = naive(&x, &y, dim);
        prop_assert!((mmd.mmd2 - value).abs() < 1e-11);
        prop_assert!((mmd.median_squared_distance - median).abs() < 1e-11 * median);
    }
}

use approx::assert_relative_eq;
use eps_metrics::MetricsError;
use eps_metrics::sliced::{sliced_wasserstein2, wasserstein2_squared};
use proptest::prelude::*;

use crate::inputs::{normal, u01};

#[test]
fn by_hand() {
    // Sorted 0, 3 against 1, 2: (1 + 1)/2.
    assert_eq!(wasserstein2_squared(&[3.0, 0.0], &[1.0, 2.0]).unwrap(), 1.0);
    // 0 and 6 against 0, 3, 6: the quantiles differ on (1/3, 2/3) alone, by 3 in both halves.
    assert_relative_eq!(wasserstein2_squared(&[6.0, 0.0], &[0.0, 3.0, 6.0]).unwrap(), 3.0);
    // One point against many: the second moment about it.
    assert_relative_eq!(wasserstein2_squared(&[1.0], &[0.0, 1.0, 3.0]).unwrap(), 5.0 / 3.0);
    // In the plane: a shift by (3, 0) along x, y and the diagonal.
    let (x, y) = ([0.0, 0.0, 0.0, 1.0], [3.0, 0.0, 3.0, 1.0]);
    let directions = [2.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    let expected = f64::sqrt((9.0 + 0.0 + 4.5) / 3.0);
    let found = sliced_wasserstein2(&x, &y, &directions, 2).unwrap();
    assert_relative_eq!(found, expected, max_relative = 1e-14);
}

#[test]
fn gaussians_have_their_closed_form() {
    // Along θ the laws are N(θ·m, θ·Cθ), and W₂² = (difference of means)² + (of deviations)².
    let n = 40_000;
    let z = normal("sliced z", 2 * n);
    let w = normal("sliced w", 2 * n);
    let x: Vec<f64> = z.chunks(2).flat_map(|z| [0.5 + 2.0 * z[0], -1.0 + 0.5 * z[1]]).collect();
    let directions = normal("directions", 2 * 64);
    let squares = directions.chunks(2).map(|d| {
        let (a, b) = (d[0] / d[0].hypot(d[1]), d[1] / d[0].hypot(d[1]));
        let deviation = f64::hypot(2.0 * a, 0.5 * b);
        (0.5 * a - b).powi(2) + (deviation - 1.0).powi(2)
    });
    let expected = (squares.sum::<f64>() / 64.0).sqrt();
    let found = sliced_wasserstein2(&x, &w, &directions, 2).unwrap();
    // The means of 40,000 values of deviation ≤ 2 are good to 0.01, the distance is about 1.
    assert!((found - expected).abs() < 0.03, "{found} {expected}");
}

#[test]
fn two_samples_of_one_law_come_closer_with_their_number() {
    let directions = normal("directions", 3 * 32);
    let floor = |n: usize| {
        let points = normal("floor", 6 * n);
        sliced_wasserstein2(&points[..3 * n], &points[3 * n..], &directions, 3).unwrap()
    };
    let ratio = floor(100) / floor(6400);
    // √64 = 8, less the logarithm of the tails.
    assert!((4.0..12.0).contains(&ratio), "{ratio}");
}

#[test]
fn bad_input_is_named() {
    let error = sliced_wasserstein2(&[0.0; 4], &[0.0; 2], &[1.0, 0.0, 0.0, 0.0], 2).unwrap_err();
    assert_eq!(error, MetricsError::NoDirection { index: 1 });
    let error = sliced_wasserstein2(&[0.0; 3], &[0.0; 2], &[1.0, 0.0], 2).unwrap_err();
    assert_eq!(error, MetricsError::Multiple { what: "samples", unit: 2, got: 3 });
    let error = wasserstein2_squared(&[0.0], &[f64::INFINITY]).unwrap_err();
    assert!(matches!(error, MetricsError::NotFinite { what: "truths", index: 0, .. }));
    assert_eq!(wasserstein2_squared(&[], &[1.0]), Err(MetricsError::Empty { what: "samples" }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Copies of every point do not change a law: unequal numbers agree with equal ones.
    #[test]
    fn copies_change_nothing(m in 1_usize..7, n in 1_usize..7) {
        let (x, y) = (u01("copies x", m), u01("copies y", n));
        let copies = |values: &[f64], times: usize| -> Vec<f64> {
            values.iter().flat_map(|v| std::iter::repeat_n(*v, times)).collect()
        };
        let unequal = wasserstein2_squared(&x, &y).unwrap();
        let equal = wasserstein2_squared(&copies(&x, n), &copies(&y, m)).unwrap();
        // Sums of at most 36 terms of size 1.
        prop_assert!((unequal - equal).abs() < 1e-14);
        prop_assert!((wasserstein2_squared(&y, &x).unwrap() - unequal).abs() < 1e-14);
    }
}

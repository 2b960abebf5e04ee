use approx::{assert_abs_diff_eq, assert_relative_eq};
use eps_metrics::MetricsError;
use eps_metrics::frechet::{frechet_distance, frechet_left_out};
use faer::{Mat, Side};

use crate::inputs::normal;

#[test]
fn one_dimension_by_hand() {
    // Means 0 and 5, standard deviations √2 and √8 (n − 1): 25 + (√8 − √2)² = 27.
    let value = frechet_distance(&[-1.0, 1.0], &[3.0, 7.0], 1).unwrap();
    assert_relative_eq!(value, 27.0, max_relative = 1e-14);
}

#[test]
fn zero_to_itself_and_shift() {
    let dim = 10;
    for n in [50, 6] {
        // With n = 6 the covariance is singular.
        let x = normal("frechet x", n * dim);
        // Traces of about 10, each with tens of roundings of 1e-16.
        assert_abs_diff_eq!(frechet_distance(&x, &x, dim).unwrap(), 0.0, epsilon = 1e-12);
        let shifted: Vec<f64> = x.iter().map(|v| v + 2.0).collect();
        let value = frechet_distance(&x, &shifted, dim).unwrap();
        assert_relative_eq!(value, 4.0 * dim as f64, max_relative = 1e-13);
        // A width of 3: the roots of the covariances commute, FD = (3 − 1)² tr S + ‖2m‖².
        let wide: Vec<f64> = x.iter().map(|v| 3.0 * v).collect();
        let zero = frechet_distance(&x, &vec![0.0; 2 * dim], dim).unwrap(); // ‖m‖² + tr S
        let value = frechet_distance(&x, &wide, dim).unwrap();
        assert_relative_eq!(value, 4.0 * zero, max_relative = 1e-12);
    }
}

#[test]
fn an_image_is_left_out_with_its_samples() {
    let dim = 3;
    let (samples, truths) = (normal("left samples", 6 * 2 * dim), normal("left truths", 6 * dim));
    let left_out = frechet_left_out(&samples, &truths, dim).unwrap();
    assert_eq!(left_out.len(), 6);
    let of_others = frechet_distance(&samples[2 * dim..], &truths[dim..], dim).unwrap();
    assert_eq!(left_out[0], of_others);
    assert!(frechet_left_out(&samples[..2], &truths[..2], 1).is_err());
}

/// tr (S₁^½ S₂ S₁^½)^½ by two symmetric eigendecompositions.
fn by_eigenvalues(a: &[f64], b: &[f64], dim: usize) -> f64 {
    let moments = |values: &[f64]| {
        let n = values.len() / dim;
        let mean = |j: usize| values[j..].iter().step_by(dim).sum::<f64>() / n as f64;
        let mean: Vec<f64> = (0..dim).map(mean).collect();
        let centred = Mat::from_fn(n, dim, |i, j| values[i * dim + j] - mean[j]);
        (mean, centred.transpose() * &centred / (n as f64 - 1.0))
    };
    let ((m1, s1), (m2, s2)) = (moments(a), moments(b));
    let eigen = s1.self_adjoint_eigen(Side::Lower).unwrap();
    let roots = Mat::from_fn(dim, dim, |i, j| {
        if i == j { eigen.S().column_vector()[i].max(0.0).sqrt() } else { 0.0 }
    });
    let root = eigen.U() * roots * eigen.U().transpose();
    let product = &root * &s2 * &root;
    let trace_root: f64 = product
        .self_adjoint_eigenvalues(Side::Lower)
        .unwrap()
        .iter()
        .map(|l| l.max(0.0).sqrt())
        .sum();
    let trace = |s: &Mat<f64>| (0..dim).map(|i| s[(i, i)]).sum::<f64>();
    let means: f64 = m1.iter().zip(&m2).map(|(x, y)| (x - y).powi(2)).sum();
    means + trace(&s1) + trace(&s2) - 2.0 * trace_root
}

#[test]
fn agrees_with_eigenvalues() {
    let dim = 12;
    // Correlated features: each adds half of its left neighbour.
    let mixed = |name: &str, n: usize, width: f64| -> Vec<f64> {
        let z = normal(name, n * dim);
        (0..n * dim)
            .map(|i| width * (z[i] + if i % dim == 0 { 0.0 } else { 0.5 * z[i - 1] }))
            .collect()
    };
    for (n1, n2, tolerance) in [
        (80, 60, 1e-12),
        // Singular: an eigenvalue that is zero but for rounding (1e-16) has a root of 1e-8, the
        // reference's error here.
        (8, 60, 1e-6),
        (8, 5, 1e-6),
    ] {
        let (a, b) = (mixed("eigen a", n1, 1.0), mixed("eigen b", n2, 1.7));
        let value = frechet_distance(&a, &b, dim).unwrap();
        assert_relative_eq!(value, by_eigenvalues(&a, &b, dim), max_relative = tolerance);
        let swapped = frechet_distance(&b, &a, dim).unwrap();
        assert_relative_eq!(value, swapped, max_relative = 1e-12);
    }
}

#[test]
fn too_few_and_bad_input() {
    let error = frechet_distance(&[0.0, 1.0], &[0.0, 1.0, 2.0, 3.0], 2).unwrap_err();
    assert_eq!(
        error,
        MetricsError::TooFewSamples { what: "a covariance of features", needed: 2, got: 1 }
    );
    assert!(matches!(
        frechet_distance(&[0.0, f64::NAN], &[0.0, 1.0], 1).unwrap_err(),
        MetricsError::NotFinite { what: "first features", index: 1, .. }
    ));
    assert!(matches!(
        frechet_distance(&[0.0, 1.0], &[0.0, 1.0, 2.0], 2).unwrap_err(),
        MetricsError::TooFewSamples { .. } | MetricsError::Multiple { .. }
    ));
    assert!(frechet_distance(&[0.0], &[0.0], 0).is_err());
}

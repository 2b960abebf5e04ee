use approx::assert_relative_eq;
use eps_metrics::MetricsError;
use eps_metrics::fidelity::{SSIM_WINDOW, mse, mse_of_mean, psnr, ssim};
use proptest::prelude::*;

use crate::inputs::u01;

#[test]
fn psnr_by_hand() {
    // A mean squared error of 0.04 on [-1, 1]: 10 log₁₀(4 / 0.04) = 20 dB.
    let value = psnr(&[0.0, 0.5], &[0.2, 0.3], 2.0).unwrap();
    assert_relative_eq!(value, 20.0, max_relative = 4.0 * f64::EPSILON);
    assert_eq!(psnr(&[0.3, 0.1], &[0.3, 0.1], 2.0).unwrap(), f64::INFINITY);
}

#[test]
fn psnr_does_not_depend_on_the_scale() {
    let (a, b) = (u01("psnr a", 100), u01("psnr b", 100));
    let scale = |x: &[f64]| -> Vec<f64> { x.iter().map(|x| 2.0 * x - 1.0).collect() };
    let unit = psnr(&a, &b, 1.0).unwrap();
    let signed = psnr(&scale(&a), &scale(&b), 2.0).unwrap();
    // 2x − 1 rounds by ε/2 of a difference of order 1.
    assert_relative_eq!(unit, signed, max_relative = 1e-14);
}

#[test]
fn the_error_of_a_mean_does_not_count_its_noise() {
    // Mean 0 and variance 2 of two samples: 0.25 − 2/2 and 1 − 0.
    let error = mse_of_mean(&[0.5, 1.0], &[1.0, 0.0, -1.0, 0.0]).unwrap();
    assert_eq!(error, 0.5 * (0.25 - 1.0 + 1.0));
    // Over pairs of four samples the mean of the estimate is that of all four: both are unbiased.
    let (truth, samples) = (u01("truth", 9), u01("samples", 4 * 9));
    let sample = |j: usize| &samples[j * 9..(j + 1) * 9];
    let pairs: Vec<f64> = (0..4)
        .flat_map(|j| (0..j).map(move |k| (j, k)))
        .map(|(j, k)| mse_of_mean(&truth, &[sample(j), sample(k)].concat()).unwrap())
        .collect();
    let all = mse_of_mean(&truth, &samples).unwrap();
    assert_relative_eq!(pairs.iter().sum::<f64>() / 6.0, all, max_relative = 1e-13);
    assert_eq!(mse(&[0.0, 1.0], &[1.0, 3.0]).unwrap(), 2.5);
    let error = mse_of_mean(&truth, &samples[..9]).unwrap_err();
    assert!(matches!(error, MetricsError::TooFewSamples { needed: 2, got: 1, .. }));
}

#[test]
fn ssim_of_constant_images() {
    // Without variance only the luminance term is left: (2ab + C₁) / (a² + b² + C₁).
    let (a, b) = (0.2, 0.6);
    let value = ssim(&[a; 144], &[b; 144], [1, 12, 12]).unwrap();
    let expected = (2.0 * a * b + 1e-4) / (a * a + b * b + 1e-4);
    // The variance is a rounding error of ε beside C₂ = 9e-4: 1e-16 / 1e-3.
    assert_relative_eq!(value, expected, max_relative = 1e-12);
}

#[test]
fn ssim_of_one_window_by_hand() {
    // On 11×11 there is one place: weighted moments in two dimensions, without separation.
    let (x, y) = (u01("ssim x", 121), u01("ssim y", 121));
    let weight = |at: usize| {
        let (i, j) = ((at / 11) as f64 - 5.0, (at % 11) as f64 - 5.0);
        (-(i * i + j * j) / (2.0 * 1.5 * 1.5)).exp()
    };
    let total: f64 = (0..121).map(weight).sum();
    let mean =
        |f: &dyn Fn(usize) -> f64| (0..121).map(|at| weight(at) * f(at)).sum::<f64>() / total;
    let (mx, my) = (mean(&|i| x[i]), mean(&|i| y[i]));
    let vx = mean(&|i| (x[i] - mx) * (x[i] - mx));
    let vy = mean(&|i| (y[i] - my) * (y[i] - my));
    let cov = mean(&|i| (x[i] - mx) * (y[i] - my));
    let expected = (2.0 * mx * my + 1e-4) * (2.0 * cov + 9e-4)
        / ((mx * mx + my * my + 1e-4) * (vx + vy + 9e-4));
    let value = ssim(&x, &y, [1, 11, 11]).unwrap();
    assert_relative_eq!(value, expected, max_relative = 1e-12);
}

#[test]
fn small_images_have_no_ssim() {
    assert_eq!(SSIM_WINDOW, 11);
    let error = ssim(&[0.0; 120], &[0.0; 120], [1, 10, 12]).unwrap_err();
    assert_eq!(error, MetricsError::ImageTooSmall { height: 10, width: 12 });
    assert!(error.to_string().contains("10x12"));
}

#[test]
fn bad_input_is_named() {
    assert_eq!(
        psnr(&[0.0, 1.0], &[0.0], 2.0).unwrap_err(),
        MetricsError::Length { what: "image", expected: 2, got: 1 }
    );
    let error = psnr(&[0.0, 1.0], &[0.0, f64::NAN], 2.0).unwrap_err();
    assert!(matches!(error, MetricsError::NotFinite { what: "image", index: 1, .. }));
    assert_eq!(psnr(&[], &[], 2.0).unwrap_err(), MetricsError::Empty { what: "truth" });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn ssim_is_symmetric_and_bounded(
        images in prop::collection::vec((0.0..1.0, 0.0..1.0), 2 * 12 * 13),
    ) {
        let (x, y): (Vec<f64>, Vec<f64>) = images.into_iter().unzip();
        let shape = [2, 12, 13];
        let value = ssim(&x, &y, shape).unwrap();
        // Sums of a few hundred terms of size 1.
        prop_assert!((value - ssim(&y, &x, shape).unwrap()).abs() < 1e-12);
        prop_assert!(value.abs() <= 1.0 + 1e-12);
        prop_assert!((ssim(&x, &x, shape).unwrap() - 1.0).abs() < 1e-12);
        // Channels average.
        let half = x.len() / 2;
        let parts = [0, 1].map(|c| {
            ssim(&x[c * half..][..half], &y[c * half..][..half], [1, 12, 13]).unwrap()
        });
        prop_assert!((value - 0.5 * (parts[0] + parts[1])).abs() < 1e-12);
    }
}

//! How close one image is to another: PSNR and SSIM, and how close samples are on average.
//!
//! PSNR and SSIM score a single image. The paper's tables hold means over all images and samples, which
//! is the mean of the decibels, not the decibels of the mean error (that would be larger for the
//! same samples).

use crate::MetricsError;
use crate::input::{check_finite, check_length, check_rows};

/// Side of the Gaussian window of [`ssim`].
pub const SSIM_WINDOW: usize = 11;

/// Peak signal-to-noise ratio of one image.
///
/// ```text
/// PSNR = 10 log₁₀( data_range² / mean (x − x₀)² )
/// ```
///
/// # Shapes
/// `truth`, `image`: any, the same.
///
/// # Units
/// dB. `data_range` is the width of the pixels' range: 2 on [-1, 1], 1 on [0, 1], 255 on bytes; with
/// it the value does not depend on the scale. Identical images give `f64::INFINITY`.
///
/// # Errors
/// Lengths that differ, empty images, values that are not finite.
///
/// # Panics
/// If `data_range` is not positive.
pub fn psnr(truth: &[f64], image: &[f64], data_range: f64) -> Result<f64, MetricsError> {
    assert!(data_range > 0.0, "data_range is {data_range}, not positive");
    Ok(10.0 * (data_range * data_range / mse(truth, image)?).log10())
}

/// Mean squared error of one image, the mean over pixels of (x − x₀)².
///
/// # Shapes
/// `truth`, `image`: any, the same.
///
/// # Units
/// Squared units of the input.
///
/// # Errors
/// Lengths that differ, empty images, values that are not finite.
pub fn mse(truth: &[f64], image: &[f64]) -> Result<f64, MetricsError> {
    check_finite("truth", truth)?;
    check_length("image", image, truth.len())?;
    let squares: f64 = truth.iter().zip(image).map(|(x0, x)| (x - x0) * (x - x0)).sum();
    Ok(squares / truth.len() as f64)
}

/// The mean squared error that the mean of infinitely many samples would have, estimated without bias from J
/// of them.
///
/// ```text
/// MSE = mean over pixels of (x̄ − x₀)² − s²/J,   s² with J − 1
/// ```
///
/// The mean of J samples has s²/J more: with few samples that is the larger the more they spread, so that
/// errors of means of J do not compare methods. Of one image it may be negative.
///
/// # Shapes
/// `truth`: `[D]`; `samples`: `[J, D]`.
///
/// # Units
/// Squared units of the input.
///
/// # Errors
/// [`MetricsError::TooFewSamples`] with one sample, `samples` that are no multiple of `truth`, empty input,
/// values that are not finite.
pub fn mse_of_mean(truth: &[f64], samples: &[f64]) -> Result<f64, MetricsError> {
    check_finite("truth", truth)?;
    let got = check_rows("samples", samples, truth.len())?;
    if got < 2 {
        return Err(MetricsError::TooFewSamples { what: "the error of a mean", needed: 2, got });
    }
    let j = got as f64;
    let of_pixel = |(i, x0): (usize, &f64)| {
        let values = || samples[i..].iter().step_by(truth.len());
        let mean = values().sum::<f64>() / j;
        let variance = values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (j - 1.0);
        (mean - x0) * (mean - x0) - variance / j
    };
    Ok(truth.iter().enumerate().map(of_pixel).sum::<f64>() / truth.len() as f64)
}

/// Structural similarity of one image (Wang, Bovik, Sheikh, Simoncelli, *Image quality
/// assessment: from error visibility to structural similarity*, 2004, equation 13).
///
/// ```text
///            (2 μ_x μ_y + C₁) (2 σ_xy + C₂)
/// SSIM = ─────────────────────────────────────,   C₁ = 0.01², C₂ = 0.03²
///         (μ_x² + μ_y² + C₁) (σ_x² + σ_y² + C₂)
/// ```
///
/// The moments are population moments under an 11×11 Gaussian window of σ = 1.5 pixels. The mean
/// is over the places where the window fits, that is without a border of 5 pixels, and over
/// channels. scikit-image computes the same with `gaussian_weights=True, sigma=1.5,
/// use_sample_covariance=False, data_range=1`.
///
/// # Shapes
/// `truth`, `image`: [C, H, W] with H, W ≥ 11; `shape` = `[C, H, W]`.
///
/// # Units
/// Pixels on [0, 1] (data range 1); not on [-1, 1].
///
/// # Errors
/// An image smaller than the window, lengths that do not fit the shape, values that are not
/// finite.
pub fn ssim(truth: &[f64], image: &[f64], shape: [usize; 3]) -> Result<f64, MetricsError> {
    const C1: f64 = 0.01 * 0.01;
    const C2: f64 = 0.03 * 0.03;
    let [channels, height, width] = shape;
    check_length("truth", truth, channels * height * width)?;
    check_length("image", image, channels * height * width)?;
    if height < SSIM_WINDOW || width < SSIM_WINDOW {
        return Err(MetricsError::ImageTooSmall { height, width });
    }

    let window = gaussian_window();
    let mut sum = 0.0;
    let mut places = 0;
    for (x, y) in truth.chunks_exact(height * width).zip(image.chunks_exact(height * width)) {
        let mean = |f: fn(f64, f64) -> f64| {
            let field: Vec<f64> = x.iter().zip(y).map(|(&x, &y)| f(x, y)).collect();
            window_mean(&field, width, &window)
        };
        let mu_x = mean(|x, _| x);
        let mu_y = mean(|_, y| y);
        let xx = mean(|x, _| x * x);
        let yy = mean(|_, y| y * y);
        let xy = mean(|x, y| x * y);
        for i in 0..mu_x.len() {
            let (mx, my) = (mu_x[i], mu_y[i]);
            let var_x = xx[i] - mx * mx;
            let var_y = yy[i] - my * my;
            let cov = xy[i] - mx * my;
            sum += (2.0 * mx * my + C1) * (2.0 * cov + C2)
                / ((mx * mx + my * my + C1) * (var_x + var_y + C2));
        }
        places += mu_x.len();
    }
    Ok(sum / places as f64)
}

/// The factor along one axis of the separable window; it sums to 1.
fn gaussian_window() -> [f64; SSIM_WINDOW] {
    const SIGMA: f64 = 1.5;
    let centre = (SSIM_WINDOW / 2) as f64;
    let mut window = std::array::from_fn(|i| {
        let r = (i as f64 - centre) / SIGMA;
        (-0.5 * r * r).exp()
    });
    let total: f64 = window.iter().sum();
    window.iter_mut().for_each(|w| *w /= total);
    window
}

/// Means of `field` ([H, W]) under the window wherever it fits: [H − 10, W − 10].
fn window_mean(field: &[f64], width: usize, window: &[f64; SSIM_WINDOW]) -> Vec<f64> {
    let rows: Vec<f64> = field
        .chunks_exact(width)
        .flat_map(|row| row.windows(SSIM_WINDOW))
        .map(|part| part.iter().zip(window).map(|(v, w)| v * w).sum())
        .collect();
    let width = width - SSIM_WINDOW + 1;
    (0..rows.len() - (SSIM_WINDOW - 1) * width)
        .map(|i| window.iter().enumerate().map(|(k, w)| w * rows[i + k * width]).sum())
        .collect()
}

//! Fréchet distance of two sets of features.
//!
//! It is called FID only with the features of the FID Inception network; with others it is a
//! Fréchet distance on these features and its values are not comparable.

use faer::Mat;
use rayon::prelude::*;

use crate::MetricsError;
use crate::input::check_rows;

/// Squared Fréchet (Wasserstein-2) distance of the Gaussians with the means and covariances of
/// two sets of features (Dowson and Landau, *The Fréchet distance between multivariate normal
/// distributions*, 1982).
///
/// ```text
/// FD = ‖m₁ − m₂‖² + tr(S₁ + S₂ − 2 (S₁^½ S₂ S₁^½)^½)
/// ```
///
/// with the unbiased covariances S (n − 1). The root is not formed: with S = RᵀR / (n − 1) from
/// the QR factorisation of the centred features, tr (S₁^½ S₂ S₁^½)^½ is the sum of the singular
/// values of R₁R₂ᵀ / √((n₁−1)(n₂−1)). Nothing is squared on the way, so singular covariances lose
/// no digits.
///
/// # Shapes
/// `a`: [n₁, `dim`]; `b`: [n₂, `dim`]; n₁, n₂ ≥ 2.
///
/// # Units
/// Squared units of the features. Rounding may leave a distance of zero slightly negative, by
/// about 1e-14 of the traces.
///
/// # Errors
/// [`MetricsError::TooFewSamples`] below two rows on either side, lengths that are no multiple of
/// `dim`, values that are not finite, singular values that do not converge.
///
/// # Too few samples
/// The estimate is biased upwards, by an amount that falls like dim/n. Where n ≤ `dim` a
/// covariance is singular: the value is still defined, but measures mostly the number of samples.
/// Use n ≥ 2 `dim` at least, compare only at equal n, and report the distance between two
/// disjoint sets of true images beside it.
pub fn frechet_distance(a: &[f64], b: &[f64], dim: usize) -> Result<f64, MetricsError> {
    let (mean_a, factor_a) = gaussian("first features", a, dim)?;
    let (mean_b, factor_b) = gaussian("second features", b, dim)?;
    let means: f64 = mean_a.iter().zip(&mean_b).map(|(x, y)| (x - y) * (x - y)).sum();
    let product = &factor_a * factor_b.transpose();
    let size = product.nrows().min(product.ncols());
    let singular_values =
        product.singular_values().map_err(|_| MetricsError::NotConverged { size })?;
    let trace_root: f64 = singular_values.iter().sum();
    Ok(means + factor_a.squared_norm_l2() + factor_b.squared_norm_l2() - 2.0 * trace_root)
}

/// [`frechet_distance`] of the samples from the truths without each image: its truth and all of its samples
/// left out. [`Estimate::of_left_out`](crate::summary::Estimate::of_left_out) takes these.
///
/// # Shapes
/// `samples`: [N, J, D]; `truths`: [N, D]; N ≥ 3.
///
/// # Errors
/// As [`frechet_distance`].
pub fn frechet_left_out(
    samples: &[f64],
    truths: &[f64],
    dim: usize,
) -> Result<Vec<f64>, MetricsError> {
    let per_image = check_rows("samples", samples, truths.len())?;
    let images = check_rows("truths", truths, dim)?;
    let without = |values: &[f64], rows: usize, image: usize| {
        [&values[..image * rows * dim], &values[(image + 1) * rows * dim..]].concat()
    };
    (0..images)
        .into_par_iter()
        .map(|image| {
            let samples = without(samples, per_image, image);
            frechet_distance(&samples, &without(truths, 1, image), dim)
        })
        .collect()
}

/// The mean, and F with FᵀF = S.
fn gaussian(
    what: &'static str,
    features: &[f64],
    dim: usize,
) -> Result<(Vec<f64>, Mat<f64>), MetricsError> {
    let n = check_rows(what, features, dim)?;
    if n < 2 {
        return Err(MetricsError::TooFewSamples {
            what: "a covariance of features",
            needed: 2,
            got: n,
        });
    }
    let mean: Vec<f64> = (0..dim)
        .into_par_iter()
        .map(|i| features[i..].iter().step_by(dim).sum::<f64>() / n as f64)
        .collect();
    let scale = 1.0 / ((n - 1) as f64).sqrt();
    let centred = Mat::from_fn(n, dim, |i, j| scale * (features[i * dim + j] - mean[j]));
    let factor = centred.qr().thin_R().to_owned();
    Ok((mean, factor))
}

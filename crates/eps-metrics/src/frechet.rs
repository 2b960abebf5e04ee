//! Fréchet distance of two sets of features.
//!
//! It is called FID only with the features of the FID Inception network; with others it is a
//! Fréchet distance on these features and its values are not comparable.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::solvers::Llt;
use faer::{Accum, Mat, MatRef, Par, Side};
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
/// with the unbiased covariances S (n − 1). The root is not formed: with S₁ = LLᵀ its trace is the sum of the roots of the
/// eigenvalues of LᵀS₂L. Where that would lose digits, as with n ≤ dim, it is the sum of the singular values of R₁R₂ᵀ from the QR
/// factorisations of the centred features: nothing is squared there, so that singular covariances lose no digits either.
///
/// # Shapes
/// `a`: [n₁, `dim`]; `b`: [n₂, `dim`]; n₁, n₂ ≥ 2.
///
/// # Units
/// Squared units of the features. Rounding may leave a distance of zero slightly negative, by
/// about 1e-14 of the traces. Where eigenvalues would lose more than some 1e-10 of them, by an estimate, it is the singular values'.
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
    let (of_a, of_b) =
        rayon::join(|| gaussian("first features", a, dim), || gaussian("second features", b, dim));
    let ((mean_a, centred_a), (mean_b, centred_b)) = (of_a?, of_b?);
    let means: f64 = mean_a.iter().zip(&mean_b).map(|(x, y)| (x - y) * (x - y)).sum();
    let trace_root = match root_by_eigenvalues(&centred_a, &centred_b)? {
        Some(root) => root,
        None => root_by_singular_values(&centred_a, &centred_b)?,
    };
    Ok(means + centred_a.squared_norm_l2() + centred_b.squared_norm_l2() - 2.0 * trace_root)
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

/// The mean, and C with CᵀC = S: the centred features over √(n − 1).
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
    let mut mean = vec![0.0; dim];
    for row in features.chunks_exact(dim) {
        mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    mean.iter_mut().for_each(|sum| *sum /= n as f64);
    let scale = 1.0 / ((n - 1) as f64).sqrt();
    // Some columns at a time: features lie row by row, matrices column by column.
    const STRIP: usize = 32;
    let mut centred = Mat::zeros(n, dim);
    for start in (0..dim).step_by(STRIP) {
        for (i, row) in features.chunks_exact(dim).enumerate() {
            for j in start..(start + STRIP).min(dim) {
                centred[(i, j)] = scale * (row[j] - mean[j]);
            }
        }
    }
    Ok((mean, centred))
}

/// tr (S₁^½ S₂ S₁^½)^½ by the eigenvalues of LᵀS₂L with S₁ = LLᵀ; none where a covariance is singular, or digits are lost.
///
/// The pivots of L fall, and where those of S₂ do too, the roots of small eigenvalues keep their digits, as those of S₁S₂ would not.
fn root_by_eigenvalues(a: &Mat<f64>, b: &Mat<f64>) -> Result<Option<f64>, MetricsError> {
    let dim = a.ncols();
    if a.nrows().min(b.nrows()) <= dim {
        return Ok(None);
    }
    let (s_1, s_2) = rayon::join(|| covariance(a), || covariance(b));
    // The features by falling variance.
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|i, j| s_1[(*j, *j)].total_cmp(&s_1[(*i, *i)]));
    let in_order = |lower: &Mat<f64>| {
        let at = |i: usize, j: usize| (order[i].max(order[j]), order[i].min(order[j]));
        Mat::from_fn(dim, dim, |i, j| lower[at(i, j)])
    };
    let (s_1, s_2) = (in_order(&s_1), in_order(&s_2));
    let (Some(factor), Some(_)) = (factor(&s_1), factor(&s_2)) else { return Ok(None) };
    let l = factor.L();
    let lower = BlockStructure::TriangularLower;
    let right = (l, lower);
    let s_2_l = product(BlockStructure::Rectangular, rectangular(s_2.as_ref()), right);
    let left = (l.transpose(), BlockStructure::TriangularUpper);
    let of = product(lower, left, rectangular(s_2_l.as_ref()));
    let eigenvalues = of
        .self_adjoint_eigenvalues(Side::Lower)
        .map_err(|_| MetricsError::NotConverged { size: dim })?;
    let root = eigenvalues.iter().map(|value| value.max(0.0).sqrt()).sum();
    // What rounding of LᵀS₂L is in its root.
    let size = s_2.norm_l2();
    let lost = |i: usize| size * l.col(i).squared_norm_l2() / (2.0 * of[(i, i)].sqrt());
    let lost: f64 = (0..dim).map(lost).sum();
    Ok((f64::EPSILON * lost <= ACCURATE * root).then_some(root))
}

/// The share of the root that its rounding may be; what rounds by more is computed by singular values.
const ACCURATE: f64 = 1e-10;

/// Cholesky's factor, where no pivot is rounding error.
fn factor(covariance: &Mat<f64>) -> Option<Llt<f64>> {
    let dim = covariance.nrows();
    let factor = covariance.llt(Side::Lower).ok()?;
    let least = dim as f64 * f64::EPSILON;
    let is_told = |i: usize| factor.L()[(i, i)].powi(2) > least * covariance[(i, i)];
    (0..dim).all(is_told).then_some(factor)
}

/// tr (S₁^½ S₂ S₁^½)^½ by the singular values of R₁R₂ᵀ, of the QR factorisations of the centred features: nothing is squared.
fn root_by_singular_values(a: &Mat<f64>, b: &Mat<f64>) -> Result<f64, MetricsError> {
    let factor = |c: &Mat<f64>| c.qr().thin_R().to_owned();
    let product = factor(a) * factor(b).transpose();
    let size = product.nrows().min(product.ncols());
    let values = product.singular_values().map_err(|_| MetricsError::NotConverged { size })?;
    Ok(values.iter().sum())
}

/// The lower triangle of CᵀC, in strips: that of [`product`] takes as long as the whole.
fn covariance(c: &Mat<f64>) -> Mat<f64> {
    const STRIP: usize = 256;
    let dim = c.ncols();
    let mut covariance = Mat::zeros(dim, dim);
    for start in (0..dim).step_by(STRIP) {
        let end = (start + STRIP).min(dim);
        let strip = covariance.submatrix_mut(start, 0, end - start, end);
        let (left, right) = (c.subcols(start, end - start).transpose(), c.subcols(0, end));
        matmul(strip, Accum::Replace, left, right, 1.0, Par::Seq);
    }
    covariance
}

fn rectangular(matrix: MatRef<'_, f64>) -> (MatRef<'_, f64>, BlockStructure) {
    (matrix, BlockStructure::Rectangular)
}

/// The product of two matrices of which parts are 0, where of the product a part is asked for.
fn product(
    asked: BlockStructure,
    (left, of_left): (MatRef<'_, f64>, BlockStructure),
    (right, of_right): (MatRef<'_, f64>, BlockStructure),
) -> Mat<f64> {
    let mut product = Mat::zeros(left.nrows(), right.ncols());
    triangular::matmul(
        &mut product,
        asked,
        Accum::Replace,
        left,
        of_left,
        right,
        of_right,
        1.0,
        Par::Seq,
    );
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Independent features of falling or rising size, turned by a rotation.
    fn features(n: usize, dim: usize, decades: f64, turned: bool) -> Mat<f64> {
        let mut state = n as u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99_991);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        let size = |j: usize| 10f64.powf(-decades * j as f64 / dim as f64);
        let independent = Mat::from_fn(n, dim, |_, j| uniform() * size(j));
        let rotation = Mat::from_fn(dim, dim, |i, j| ((3 * i + 7 * j + i * j) as f64).sin());
        if turned { independent * rotation.qr().compute_Q() } else { independent }
    }

    #[test]
    fn both_ways_agree_to_rounding() {
        let dim = 96;
        for decades in [0.0, 2.0, 4.0, -4.0] {
            for turned in [false, true] {
                let (a, b) =
                    (features(300, dim, decades, turned), features(201, dim, decades, turned));
                let found = root_by_eigenvalues(&a, &b).unwrap().unwrap();
                let expected = root_by_singular_values(&a, &b).unwrap();
                let gap = (found - expected).abs() / expected;
                // Eight decades of variance.
                assert!(gap < 1e-12, "{decades} {turned}: {gap:.1e}");
            }
        }
    }

    #[test]
    fn singular_covariances_have_no_eigenvalues_taken() {
        let mut a = features(300, 40, 0.0, true);
        let b = features(200, 40, 0.0, true);
        assert!(root_by_eigenvalues(&a, &b).unwrap().is_some());
        // A feature twice, and one that is always the same.
        let twice = a.col(3).to_owned();
        a.col_mut(17).copy_from(&twice);
        assert_eq!(root_by_eigenvalues(&a, &b).unwrap(), None);
        a.col_mut(17).fill(0.0);
        assert_eq!(root_by_eigenvalues(&a, &b).unwrap(), None);
        assert_eq!(root_by_eigenvalues(&features(40, 40, 0.0, true), &b).unwrap(), None);
        // The same of the other.
        assert_eq!(root_by_eigenvalues(&b, &a).unwrap(), None);
        // What is large in one is small in the other.
        let falling = features(300, 40, 5.0, true);
        assert!(root_by_eigenvalues(&falling, &features(200, 40, 5.0, true)).unwrap().is_some());
        assert_eq!(root_by_eigenvalues(&falling, &features(200, 40, -5.0, true)).unwrap(), None);
    }
}

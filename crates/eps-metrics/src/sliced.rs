//! Wasserstein-2 distances: exact in one dimension, and averaged over one-dimensional projections.
//!
//! Two finite samples of one law are not at distance 0: in one dimension the mean of W₂² falls as
//! one over the number of points. Compare with the distance of two independent samples of the truth.

use rayon::prelude::*;

use crate::MetricsError;
use crate::input::{check_finite, check_rows};

/// The squared Wasserstein-2 distance of two one-dimensional samples.
///
/// ```text
/// W₂² = ∫₀¹ (F⁻¹(u) − G⁻¹(u))² du
/// ```
///
/// F⁻¹ and G⁻¹ are the samples' quantile functions, steps at the multiples of 1/M and 1/N; for M = N
/// the integral is the mean of (x_(i) − y_(i))² over the sorted values.
///
/// # Shapes
/// `samples`: `[M]`; `truths`: `[N]`; in any order.
///
/// # Units
/// Squared units of the input.
///
/// # Errors
/// Empty input, values that are not finite.
pub fn wasserstein2_squared(samples: &[f64], truths: &[f64]) -> Result<f64, MetricsError> {
    check_finite("samples", samples)?;
    check_finite("truths", truths)?;
    Ok(of_sorted(&sorted(samples.to_vec()), &sorted(truths.to_vec())))
}

/// The sliced Wasserstein-2 distance (Bonneel et al., *Sliced and Radon Wasserstein barycenters of
/// measures*, 2015, section 3), averaged over given directions.
///
/// ```text
/// SW₂ = √( (1/P) Σ_p W₂²(θ_p·x, θ_p·y) ),   θ_p = direction p / ‖direction p‖
/// ```
///
/// Directions that are uniform on the sphere, such as standard normal vectors, estimate the mean over
/// all directions; the same directions make results comparable. For a shift by δ and all directions
/// it is ‖δ‖/√D.
///
/// # Shapes
/// `samples`: [M, D]; `truths`: [N, D]; `directions`: [P, D], of any length but 0.
///
/// # Units
/// Those of the input.
///
/// # Errors
/// Lengths that are no multiple of `dim`, empty input, values that are not finite,
/// [`MetricsError::NoDirection`] for a direction of length 0.
pub fn sliced_wasserstein2(
    samples: &[f64],
    truths: &[f64],
    directions: &[f64],
    dim: usize,
) -> Result<f64, MetricsError> {
    check_rows("samples", samples, dim)?;
    check_rows("truths", truths, dim)?;
    let count = check_rows("directions", directions, dim)?;
    let length = |direction: &[f64]| direction.iter().map(|v| v * v).sum::<f64>().sqrt();
    if let Some(index) = directions.chunks_exact(dim).position(|d| length(d) == 0.0) {
        return Err(MetricsError::NoDirection { index });
    }
    // Distances are added in the order of the directions, whatever thread they come from.
    let squares: Vec<f64> = directions
        .par_chunks_exact(dim)
        .map(|direction| {
            let scale = length(direction).recip();
            let unit: Vec<f64> = direction.iter().map(|v| v * scale).collect();
            of_sorted(&sorted(projected(samples, &unit)), &sorted(projected(truths, &unit)))
        })
        .collect();
    Ok((squares.iter().sum::<f64>() / count as f64).sqrt())
}

/// θ·x of every row x.
fn projected(points: &[f64], unit: &[f64]) -> Vec<f64> {
    let dot = |row: &[f64]| row.iter().zip(unit).map(|(x, u)| x * u).sum();
    points.chunks_exact(unit.len()).map(dot).collect()
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// W₂² of two sorted samples.
fn of_sorted(x: &[f64], y: &[f64]) -> f64 {
    let (m, n) = (x.len(), y.len());
    if m == n {
        return x.iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / m as f64;
    }
    // Between neighbouring steps both quantiles are constant; places count in units of 1/(M N).
    let (mut i, mut j, mut place, mut sum) = (0, 0, 0, 0.0);
    while i < m && j < n {
        let (end_x, end_y) = ((i + 1) * n, (j + 1) * m);
        let end = end_x.min(end_y);
        sum += (end - place) as f64 * (x[i] - y[j]) * (x[i] - y[j]);
        place = end;
        i += usize::from(end == end_x);
        j += usize::from(end == end_y);
    }
    sum / (m as f64 * n as f64)
}

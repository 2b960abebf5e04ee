//! The linear minimum-mean-square-error estimate: the posterior mean under a Gaussian prior.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::solvers::{Llt, Solve};
use faer::{Accum, ColRef, Mat, Par, Side};

use crate::error::{MathError, check_positive, check_symmetric, check_values};
use crate::operator::LinearMap;

/// The linear estimate of x₀ ~ (m, C) from y = A x₀ + η, prepared for one operator and σ_y.
///
/// ```text
/// x̂ = m + C Aᵀ (A C Aᵀ + σ_y² I)⁻¹ (y − A m)
/// ```
///
/// The best estimate that is linear in y for any law of x₀ with mean m and covariance C, and the
/// posterior mean if that law is Gaussian. C may be singular. Rows of A that see nothing, such as
/// the hidden pixels of a mask, take no part: the system has as many unknowns as there are
/// informative measurements.
#[derive(Debug, Clone)]
pub struct LinearMmse {
    mean: Vec<f64>,
    /// C Aᵀ, n×r, its columns those of the r informative rows of A.
    cross: Mat<f64>,
    /// The informative rows: indices into y, and A m there.
    rows: Vec<(usize, f64)>,
    factor: Llt<f64>,
    measurements: usize,
}

const ROWS_AT_A_TIME: usize = 8;

impl LinearMmse {
    /// Prepares the estimate: A is applied to n + r vectors and an r×r matrix is factorised, once. It takes
    /// [`LinearMmse::bytes`] of memory at most.
    ///
    /// # Shapes
    /// mean: n, covariance: n×n with n = `operator.domain().len()`
    ///
    /// # Units
    /// `sigma_y` on the scale of the images.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] unless σ_y is positive and finite; [`MathError::Length`],
    /// [`MathError::NotFinite`] or [`MathError::NotSymmetric`] for the moments;
    /// [`MathError::NotPositiveDefinite`] if the covariance has negative eigenvalues beyond −σ_y².
    pub fn new(
        mean: &[f64],
        covariance: &Mat<f64>,
        operator: &dyn LinearMap,
        sigma_y: f64,
    ) -> Result<Self, MathError> {
        let (n, measurements) = (operator.domain().len(), operator.range().len());
        check_values("the mean", mean, n)?;
        check_symmetric("the covariance", covariance.as_ref(), n)?;
        check_positive("sigma_y", sigma_y)?;
        let mut seen = Mat::zeros(measurements, n);
        for j in 0..n {
            seen.col_as_slice_mut(j).copy_from_slice(&operator.apply(covariance.col_as_slice(j)));
        }
        // A row of A C that is all 0 adds nothing to the estimate.
        let mut is_informative = vec![false; measurements];
        for j in 0..n {
            for (is_informative, value) in is_informative.iter_mut().zip(seen.col_as_slice(j)) {
                *is_informative |= *value != 0.0;
            }
        }
        let informative: Vec<usize> = (0..measurements).filter(|i| is_informative[*i]).collect();
        let r = informative.len();
        let mut cross = Mat::zeros(n, r);
        // As many rows at a time as a line of the cache has values of a column.
        for (block, rows) in informative.chunks(ROWS_AT_A_TIME).enumerate() {
            for j in 0..n {
                let column = seen.col_as_slice(j);
                for (k, row) in rows.iter().enumerate() {
                    cross[(j, block * ROWS_AT_A_TIME + k)] = column[*row];
                }
            }
        }
        drop(seen);
        let mut system = Mat::zeros(r, r);
        for k in 0..r {
            let column = operator.apply(cross.col_as_slice(k));
            for (i, row) in informative.iter().enumerate() {
                system[(i, k)] = column[*row];
            }
            system[(k, k)] += sigma_y * sigma_y;
        }
        let factor = system
            .llt(Side::Lower)
            .map_err(|_| MathError::NotPositiveDefinite("A C Aᵀ + σ_y² I"))?;
        let predicted = operator.apply(mean);
        let rows = informative.into_iter().map(|i| (i, predicted[i])).collect();
        Ok(Self { mean: mean.to_vec(), cross, rows, factor, measurements })
    }

    /// The most bytes that preparing an estimate of n values from m takes: A C and C Aᵀ, or C Aᵀ, the system and its factor.
    #[must_use]
    pub fn bytes(n: usize, m: usize) -> u64 {
        (size_of::<f64>() * (n * m + (n * m).max(2 * m * m))) as u64
    }

    /// x̂ for one measurement.
    ///
    /// # Panics
    /// If y does not have the values of the operator's range.
    #[must_use]
    pub fn estimate(&self, y: &[f64]) -> Vec<f64> {
        assert_eq!(y.len(), self.measurements, "values of the measurement");
        let residual: Vec<f64> = self.rows.iter().map(|(i, predicted)| y[*i] - predicted).collect();
        let weights = self.factor.solve(ColRef::from_slice(&residual));
        let correction = &self.cross * weights;
        self.mean.iter().zip(correction.iter()).map(|(m, d)| m + d).collect()
    }
}

/// The mean and the covariance (divided by the number N, not N − 1) of a set of images.
///
/// # Shapes
/// images: N vectors of n values → n, n×n
///
/// # Errors
/// [`MathError::Empty`] without images, [`MathError::Length`] or [`MathError::NotFinite`] for an
/// image that is not n finite values.
pub fn sample_moments(
    n: usize,
    images: impl IntoIterator<Item = Vec<f64>>,
) -> Result<(Vec<f64>, Mat<f64>), MathError> {
    /// Images that are multiplied at a time.
    const BLOCK: usize = 512;
    let (mut count, mut origin) = (0usize, Vec::new());
    let (mut sum, mut products) = (Mat::<f64>::zeros(n, 1), Mat::<f64>::zeros(n, n));
    // Of the products the lower triangle alone is summed.
    let mut images = images.into_iter();
    loop {
        let mut block = Vec::with_capacity(BLOCK * n);
        for image in images.by_ref().take(BLOCK) {
            check_values("an image", &image, n)?;
            if origin.is_empty() {
                origin.clone_from(&image);
            }
            // Sums about the first image: no digits are lost to a mean far from 0.
            block.extend(image.iter().zip(&origin).map(|(value, o)| value - o));
        }
        if block.is_empty() {
            break;
        }
        let columns = block.len() / n;
        count += columns;
        let block = faer::MatRef::from_column_major_slice(&block, n, columns);
        triangular::matmul(
            &mut products,
            BlockStructure::TriangularLower,
            Accum::Add,
            block,
            BlockStructure::Rectangular,
            block.transpose(),
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
        sum += block * Mat::<f64>::ones(columns, 1);
    }
    if count == 0 {
        return Err(MathError::Empty("the set of images"));
    }
    let scale = (count as f64).recip();
    let shift: Vec<f64> = sum.col_as_slice(0).iter().map(|value| value * scale).collect();
    let covariance =
        Mat::from_fn(n, n, |i, j| products[(i.max(j), i.min(j))] * scale - shift[i] * shift[j]);
    Ok((origin.iter().zip(&shift).map(|(o, s)| o + s).collect(), covariance))
}

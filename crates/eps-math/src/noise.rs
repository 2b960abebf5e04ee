//! The law of a measurement's noise, η ~ N(0, R), and its whitening.
//!
//! ```text
//! R = L Lᵀ      W = σ̄ L⁻¹      W y = W A x₀ + W η,   W η ~ N(0, σ̄² I)      σ̄ = (det R)^(1/2m)
//! ```
//!
//! Whitened once, a measurement has one standard deviation σ̄ again, and everything else sees W A and W y
//! ([`Whitened`](crate::operator::Whitened)). σ̄ is the geometric mean of the standard deviations along the principal
//! axes of R, so that W keeps volumes; of one σ_y for all entries it is that σ_y.

use faer::Mat;
use rustfft::num_complex::Complex;

use crate::cholesky::{Cholesky, row_major};
use crate::error::{check_finite, check_positive};
use crate::operator::fourier_plane::FourierPlane;
use crate::operator::{Expression, Sparse};
use crate::{MathError, Shape};

/// The most rows of a covariance's factor: L of 8192 rows, kept with its transpose, takes 1 GiB.
const MAX_ROWS: usize = 1 << 13;

/// The noise of one measurement, checked.
///
/// # Example
///
/// ```
/// use eps_math::Noise;
///
/// // The third value was not measured.
/// let noise = Noise::entries(vec![0.1, 0.4, f64::INFINITY])?;
/// assert!((noise.sigma_y() - 0.2).abs() < 1e-15);
/// assert_eq!(noise.whiten(&[1.0, 1.0, f64::NAN], 0.2), [2.0, 0.5, 0.0]);
/// # Ok::<(), eps_math::MathError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Noise {
    law: Law,
    sigma_y: f64,
}

/// What is known of a measurement's noise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Law {
    /// One standard deviation for all entries; 0 is an exact measurement.
    Uniform(f64),
    /// The standard deviation of each entry, infinite where nothing was measured.
    Entries(Vec<f64>),
    /// A covariance by its Cholesky factor.
    Factor(Factor),
    /// Stationary noise on a plane that wraps around.
    Spectrum(Spectrum),
}

/// The factor L of a covariance L Lᵀ of the entries that were measured.
#[derive(Debug, Clone)]
pub struct Factor {
    cholesky: Cholesky,
    /// The entries that were measured, ascending.
    present: Vec<usize>,
    length: usize,
}

/// Variances over the frequencies of a plane.
#[derive(Debug, Clone)]
pub struct Spectrum {
    shape: Shape,
    variances: Vec<f64>,
    transform: FourierPlane,
}

impl Noise {
    /// One standard deviation for all entries, 0 or above.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for one that is negative or not finite.
    pub fn uniform(sigma_y: f64) -> Result<Self, MathError> {
        if !(sigma_y >= 0.0 && sigma_y.is_finite()) {
            let range = "0, for an exact measurement, or positive and finite";
            return Err(MathError::OutOfRange { what: "sigma_y", value: sigma_y, range });
        }
        Ok(Self { law: Law::Uniform(sigma_y), sigma_y })
    }

    /// A standard deviation for each entry, infinite where nothing was measured.
    ///
    /// # Errors
    /// [`MathError::Entry`] for one that is negative, 0 or NaN; [`MathError::AllMissing`] if none is finite.
    pub fn entries(sigmas: Vec<f64>) -> Result<Self, MathError> {
        if let Some(index) = sigmas.iter().position(|sigma| !(*sigma > 0.0)) {
            return Err(MathError::Entry {
                what: "sigma_y",
                index,
                value: sigmas[index],
                remedy: "each entry has a positive standard deviation, inf where nothing was measured; an exact entry among \
                         noisy ones gets a small one, such as a thousandth of the others",
            });
        }
        let sigma_y = geometric_mean(&sigmas).ok_or(MathError::AllMissing(sigmas.len()))?;
        Ok(Self { law: Law::Entries(sigmas), sigma_y })
    }

    /// The noise of an instrument that counts, from what it counted: shot noise and that of reading out.
    ///
    /// ```text
    /// σ² = gain · max(v, gain) + readout²
    /// ```
    ///
    /// An instrument with a gain tells `gain` units for each quantum, so that v has the variance gain · v; what is below one
    /// quantum has the noise of one. The measured value stands for its mean, which it is near to where there are many quanta.
    ///
    /// # Units
    /// `values`, `gain` and `readout` in the instrument's unit; NaN was not measured.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a gain that is not positive and finite, or a negative readout;
    /// [`MathError::AllMissing`].
    pub fn counts(values: &[f64], gain: f64, readout: f64) -> Result<Self, MathError> {
        check_positive("the gain of the counts", gain)?;
        if !(readout >= 0.0 && readout.is_finite()) {
            let (what, range) = ("the readout noise", "0 or positive, and finite");
            return Err(MathError::OutOfRange { what, value: readout, range });
        }
        let sigma = |value: &f64| {
            if value.is_nan() {
                f64::INFINITY
            } else {
                (gain * value.max(gain)).sqrt().hypot(readout)
            }
        };
        Self::entries(values.iter().map(sigma).collect())
    }

    /// A covariance L Lᵀ by its factor L, m×m.
    ///
    /// An entry whose diagonal of L is infinite was not measured; the rest of its row and its column is 0.
    ///
    /// # Errors
    /// [`MathError::Length`] unless L is square, [`MathError::NotFinite`], [`MathError::NotTriangular`] for an entry above
    /// the diagonal, [`MathError::Entry`] for one on it that is not positive, [`MathError::LargeMatrix`] above 8192 rows.
    pub fn factor(lower: &Mat<f64>) -> Result<Self, MathError> {
        let what = "the factor of the noise's covariance";
        let (rows, columns) = (lower.nrows(), lower.ncols());
        if rows > MAX_ROWS {
            return Err(MathError::LargeMatrix { what, rows, columns, limit: MAX_ROWS });
        }
        if rows != columns {
            return Err(MathError::Length { what, expected: rows * rows, found: rows * columns });
        }
        if rows == 0 {
            return Err(MathError::Empty(what));
        }
        let is_present = |i: &usize| lower[(*i, *i)] != f64::INFINITY;
        for j in 0..rows {
            let column = lower.col_as_slice(j);
            if is_present(&j) {
                check_finite(what, column)?;
            } else if let Some(i) =
                (0..rows).find(|i| *i != j && (column[*i] != 0.0 || lower[(j, *i)] != 0.0))
            {
                return Err(MathError::Entry {
                    what: "the factor of the noise's covariance, beside an infinite entry of its diagonal,",
                    index: i,
                    value: if column[i] == 0.0 { lower[(j, i)] } else { column[i] },
                    remedy: "an entry that was not measured has nothing else in its row and its column of the factor",
                });
            }
            if let Some(i) = (0..j).find(|i| lower[(*i, j)] != 0.0) {
                let (row, column, value) = (i, j, lower[(i, j)]);
                return Err(MathError::NotTriangular { what, row, column, value });
            }
            if !(lower[(j, j)] > 0.0) {
                return Err(MathError::Entry {
                    what: "the diagonal of the noise's factor",
                    index: j,
                    value: lower[(j, j)],
                    remedy: "a Cholesky factor has a positive diagonal, such as that of numpy.linalg.cholesky(R)",
                });
            }
        }
        let present: Vec<usize> = (0..rows).filter(is_present).collect();
        if present.is_empty() {
            return Err(MathError::AllMissing(rows));
        }
        let measured = |i: usize, j: usize| lower[(present[i], present[j])];
        let cholesky = Cholesky::of_factor(Mat::from_fn(present.len(), present.len(), measured));
        Ok(Self::of_factor(Factor { cholesky, present, length: rows }))
    }

    fn of_factor(factor: Factor) -> Self {
        let present = factor.present.len() as f64;
        let sigma_y = (0.5 * factor.cholesky.log_determinant() / present).exp();
        Self { law: Law::Factor(factor), sigma_y }
    }

    /// Noise of each channel with the covariance F⁻¹ diag(S) F, F the 2-D DFT of a plane that wraps around.
    ///
    /// White noise of σ_y has S = σ_y² at all frequencies; a frequency with infinite S was not measured.
    ///
    /// # Shapes
    /// variances: S, `[height, width]`, the frequency 0 first in rows and columns; `shape`: of the measurement
    ///
    /// # Errors
    /// [`MathError::Length`]; [`MathError::Entry`] for a variance that is not positive, or that is another one than at the
    /// opposite frequency; [`MathError::AllMissing`] if none is finite.
    pub fn spectrum(shape: Shape, variances: Vec<f64>) -> Result<Self, MathError> {
        let what = "the spectrum of the noise";
        let (expected, found) = (shape.plane(), variances.len());
        if found != expected {
            return Err(MathError::Length { what, expected, found });
        }
        if let Some(index) = variances.iter().position(|variance| !(*variance > 0.0)) {
            let remedy =
                "it is a variance, positive, and inf at frequencies that were not measured";
            return Err(MathError::Entry { what, index, value: variances[index], remedy });
        }
        let transform = FourierPlane::new(shape.height, shape.width);
        let differs = |i: &usize| {
            let (a, b) = (variances[*i], variances[transform.opposite(*i)]);
            a != b && !((a - b).abs() <= 1e-9 * a.min(b))
        };
        if let Some(index) = (0..found).find(differs) {
            let remedy = "noise of real values has one variance at opposite frequencies, such as that of numpy.fft.fft2 of its \
                          autocovariance";
            return Err(MathError::Entry { what, index, value: variances[index], remedy });
        }
        let mean = geometric_mean(&variances).ok_or(MathError::AllMissing(found))?;
        let law = Law::Spectrum(Spectrum { shape, variances, transform });
        Ok(Self { law, sigma_y: mean.sqrt() })
    }

    /// The same where some entries were not measured, whatever they hold.
    ///
    /// Of a covariance what is left is that of the other entries.
    ///
    /// # Errors
    /// [`MathError::Length`]; [`MathError::AllMissing`]; [`MathError::MissingInSpectrum`] for noise by its spectrum;
    /// [`MathError::OutOfRange`] for σ_y = 0 of one entry and infinity of another.
    pub fn with_missing(self, missing: &[bool]) -> Result<Self, MathError> {
        if let Some(expected) = self.len()
            && expected != missing.len()
        {
            let what = "the list of missing entries";
            return Err(MathError::Length { what, expected, found: missing.len() });
        }
        let count = missing.iter().filter(|missing| **missing).count();
        if count == 0 {
            return Ok(self);
        }
        if count == missing.len() {
            return Err(MathError::AllMissing(count));
        }
        let masked = |sigma: f64, missing: &bool| if *missing { f64::INFINITY } else { sigma };
        match self.law {
            Law::Uniform(0.0) => Err(MathError::OutOfRange {
                what: "sigma_y of a measurement with missing entries",
                value: 0.0,
                range: "positive: give a small one, such as 1e-4, or leave the missing entries out by a mask",
            }),
            Law::Uniform(sigma) => {
                Self::entries(missing.iter().map(|missing| masked(sigma, missing)).collect())
            }
            Law::Entries(sigmas) => {
                Self::entries(sigmas.iter().zip(missing).map(|(s, m)| masked(*s, m)).collect())
            }
            Law::Factor(factor) => Ok(Self::of_factor(factor.without(missing)?)),
            Law::Spectrum(_) => Err(MathError::MissingInSpectrum(count)),
        }
    }

    /// What is known.
    #[must_use]
    pub fn law(&self) -> &Law {
        &self.law
    }

    /// σ̄: σ_y where it is one number, else the geometric mean of the standard deviations along the principal axes of R,
    /// over what was measured.
    #[must_use]
    pub fn sigma_y(&self) -> f64 {
        self.sigma_y
    }

    /// The largest standard deviation of an entry that was measured.
    #[must_use]
    pub fn largest_sigma(&self) -> f64 {
        let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        match &self.law {
            Law::Uniform(sigma) => *sigma,
            Law::Entries(sigmas) => {
                largest(&mut sigmas.iter().copied().filter(|sigma| sigma.is_finite()))
            }
            Law::Factor(factor) => largest(&mut (0..factor.present.len()).map(|i| {
                let lower = factor.lower();
                (0..=i).map(|j| lower[(i, j)].powi(2)).sum::<f64>().sqrt()
            })),
            Law::Spectrum(Spectrum { variances, .. }) => {
                let finite = variances.iter().filter(|variance| variance.is_finite());
                (finite.sum::<f64>() / variances.len() as f64).sqrt()
            }
        }
    }

    /// The number of entries, where the law tells it.
    #[must_use]
    pub fn len(&self) -> Option<usize> {
        match &self.law {
            Law::Uniform(_) => None,
            Law::Entries(sigmas) => Some(sigmas.len()),
            Law::Factor(factor) => Some(factor.length),
            Law::Spectrum(spectrum) => Some(spectrum.shape.len()),
        }
    }

    /// Always false: noise has at least one entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether an entry was not measured.
    #[must_use]
    pub fn is_missing(&self, index: usize) -> bool {
        match &self.law {
            Law::Entries(sigmas) => sigmas.get(index).is_some_and(|sigma| sigma.is_infinite()),
            Law::Factor(factor) => factor.present.binary_search(&index).is_err(),
            Law::Uniform(_) | Law::Spectrum(_) => false,
        }
    }

    /// The entries that were not measured, of a measurement of `length` values.
    #[must_use]
    pub fn missing(&self, length: usize) -> usize {
        (0..length).filter(|index| self.is_missing(*index)).count()
    }

    /// Checks that it is the noise of measurements of a shape.
    ///
    /// # Errors
    /// [`MathError::Length`] with both numbers of values; [`MathError::NoiseShape`] for a spectrum of another plane.
    pub fn check_shape(&self, range: Shape) -> Result<(), MathError> {
        match (&self.law, self.len()) {
            (Law::Spectrum(spectrum), _) if spectrum.shape != range => {
                Err(MathError::NoiseShape { found: spectrum.shape, needed: range })
            }
            (_, Some(found)) if found != range.len() => {
                let what = "the noise of a measurement";
                Err(MathError::Length { what, expected: range.len(), found })
            }
            _ => Ok(()),
        }
    }

    /// W y for the standard deviation `sigma_y` of what comes out, 0 where nothing was measured.
    ///
    /// # Panics
    /// If y has another length than the law.
    #[must_use]
    pub fn whiten(&self, y: &[f64], sigma_y: f64) -> Vec<f64> {
        self.assert_length(y);
        match &self.law {
            Law::Uniform(sigma) => scaled(y, ratio(sigma_y, *sigma)),
            Law::Entries(sigmas) => weighted(y, sigmas, sigma_y),
            Law::Factor(factor) => {
                let whitened = factor.cholesky.whiten(&factor.gathered(y));
                factor.scattered(&scaled(&whitened, sigma_y))
            }
            Law::Spectrum(spectrum) => spectrum.filter(y, |variance| sigma_y / variance.sqrt()),
        }
    }

    /// W of measurements of a shape.
    pub(crate) fn expression(&self, sigma_y: f64, range: Shape) -> Expression {
        match &self.law {
            Law::Uniform(sigma) => Expression::Scale(ratio(sigma_y, *sigma)),
            Law::Entries(sigmas) => {
                Expression::Weights(weighted(&vec![1.0; sigmas.len()], sigmas, sigma_y))
            }
            Law::Factor(factor) => factor.expression(sigma_y),
            Law::Spectrum(Spectrum { shape, variances, .. }) => {
                let gain = |variance: &f64| Complex::new(sigma_y / variance.sqrt(), 0.0);
                let gains = variances.iter().map(gain).collect();
                let filter = Expression::Filter { plane: (shape.height, shape.width), gains };
                filter.on_each(range.channels)
            }
        }
    }

    /// Wᵀ z.
    ///
    /// # Panics
    /// If z has another length than the law.
    #[must_use]
    pub fn whiten_transposed(&self, z: &[f64], sigma_y: f64) -> Vec<f64> {
        self.assert_length(z);
        match &self.law {
            Law::Factor(factor) => {
                let whitened = factor.cholesky.whiten_transposed(factor.gathered(z));
                factor.scattered(&scaled(&whitened, sigma_y))
            }
            // W is symmetric.
            _ => self.whiten(z, sigma_y),
        }
    }

    /// W⁺ z, the values y of which z was whitened, 0 where nothing was measured.
    ///
    /// # Panics
    /// If z has another length than the law.
    #[must_use]
    pub fn unwhiten(&self, z: &[f64], sigma_y: f64) -> Vec<f64> {
        self.assert_length(z);
        let finite = |sigma: f64| if sigma.is_finite() { sigma } else { 0.0 };
        match &self.law {
            Law::Uniform(sigma) => scaled(z, ratio(*sigma, sigma_y)),
            Law::Entries(sigmas) => {
                z.iter().zip(sigmas).map(|(z, sigma)| z * (finite(*sigma) / sigma_y)).collect()
            }
            Law::Factor(factor) => {
                let coloured = factor.cholesky.colour(&factor.gathered(z));
                factor.scattered(&scaled(&coloured, sigma_y.recip()))
            }
            Law::Spectrum(spectrum) => {
                spectrum.filter(z, |variance| finite(variance).sqrt() / sigma_y)
            }
        }
    }

    /// L z, a noise of this law from standard normal z: NaN where nothing was measured.
    ///
    /// # Panics
    /// If z has another length than the law.
    #[must_use]
    pub fn colour(&self, z: &[f64]) -> Vec<f64> {
        let mut noise = match &self.law {
            Law::Uniform(sigma) => scaled(z, *sigma),
            _ => self.unwhiten(z, 1.0),
        };
        for (index, value) in noise.iter_mut().enumerate() {
            if self.is_missing(index) {
                *value = f64::NAN;
            }
        }
        noise
    }

    fn assert_length(&self, y: &[f64]) {
        if let Some(length) = self.len() {
            assert_eq!(y.len(), length, "values of the noise's law");
        }
    }
}

impl Factor {
    /// L, of the entries that were measured.
    #[must_use]
    pub fn lower(&self) -> &Mat<f64> {
        self.cholesky.lower()
    }

    /// The entries that were measured, ascending: the rows of L.
    #[must_use]
    pub fn present(&self) -> &[usize] {
        &self.present
    }

    /// The factor of the covariance of the other entries.
    fn without(&self, missing: &[bool]) -> Result<Self, MathError> {
        let kept: Vec<usize> =
            (0..self.present.len()).filter(|i| !missing[self.present[*i]]).collect();
        if kept.is_empty() {
            return Err(MathError::AllMissing(self.length));
        }
        let lower = self.cholesky.lower();
        let rows = Mat::from_fn(kept.len(), lower.ncols(), |i, j| lower[(kept[i], j)]);
        let covariance = &rows * rows.transpose();
        let cholesky = Cholesky::new("the covariance of the noise", covariance.as_ref())?;
        let present = kept.iter().map(|i| self.present[*i]).collect();
        Ok(Self { cholesky, present, length: self.length })
    }

    /// σ̄ L⁻¹ of the entries that were measured, 0 at the others.
    fn expression(&self, sigma_y: f64) -> Expression {
        let (rows, columns) = (self.present.len(), self.length);
        let entries = |swap: bool| {
            let entry = |(at, index): (usize, &usize)| {
                if swap { (*index, at, sigma_y) } else { (at, *index, 1.0) }
            };
            self.present.iter().enumerate().map(entry).collect()
        };
        let values = row_major(self.lower().as_ref());
        Expression::Sparse(Sparse { columns, rows, entries: entries(false) })
            .then(Expression::LowerSolve { rows, values })
            .then(Expression::Sparse(Sparse {
                columns: rows,
                rows: columns,
                entries: entries(true),
            }))
    }

    fn gathered(&self, y: &[f64]) -> Vec<f64> {
        self.present.iter().map(|index| y[*index]).collect()
    }

    fn scattered(&self, values: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; self.length];
        for (index, value) in self.present.iter().zip(values) {
            y[*index] = *value;
        }
        y
    }
}

impl Spectrum {
    /// The shape of the measurement.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// S, `[height, width]`.
    #[must_use]
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// Every channel filtered by a gain for each frequency's variance.
    fn filter(&self, y: &[f64], gain: impl Fn(f64) -> f64) -> Vec<f64> {
        let gains: Vec<f64> = self.variances.iter().map(|variance| gain(*variance)).collect();
        let mut filtered = Vec::with_capacity(y.len());
        for channel in y.chunks_exact(self.shape.plane()) {
            let mut plane: Vec<_> = channel.iter().map(|v| Complex::new(*v, 0.0)).collect();
            self.transform.forward(&mut plane);
            plane.iter_mut().zip(&gains).for_each(|(value, gain)| *value *= gain);
            self.transform.inverse(&mut plane);
            filtered.extend(plane.iter().map(|v| v.re));
        }
        filtered
    }
}

/// a/b, 1 where both are 0.
fn ratio(a: f64, b: f64) -> f64 {
    if a == b { 1.0 } else { a / b }
}

fn scaled(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

/// Values over their deviations, 0 where these are infinite, whatever stands there.
fn weighted(y: &[f64], sigmas: &[f64], sigma_y: f64) -> Vec<f64> {
    let weight = |(y, sigma): (&f64, &f64)| {
        if sigma.is_finite() { y * ratio(sigma_y, *sigma) } else { 0.0 }
    };
    y.iter().zip(sigmas).map(weight).collect()
}

/// The geometric mean of the finite ones of positive values, to the bit theirs where they are all one.
fn geometric_mean(values: &[f64]) -> Option<f64> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let first = finite().next()?;
    if finite().all(|value| value == first) {
        return Some(first);
    }
    let (sum, count) = finite().fold((0.0, 0.0), |(sum, count), v| (sum + v.ln(), count + 1.0));
    Some((sum / count).exp())
}

/// σ̄ of several measurements together: the geometric mean of theirs, to the bit theirs where they are all one.
///
/// # Panics
/// Without any, and where some are exact and others are not.
#[must_use]
pub fn common_sigma_y(noises: &[Noise]) -> f64 {
    let sigmas: Vec<f64> = noises.iter().map(Noise::sigma_y).collect();
    let exact = sigmas.iter().filter(|sigma| **sigma == 0.0).count();
    let all = sigmas.len();
    assert!(exact == 0 || exact == all, "{exact} of {all} measurements are exact");
    geometric_mean(&sigmas).expect("the noise of at least one measurement")
}

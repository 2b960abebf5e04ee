//! What can be wrong with the input of this crate.

use crate::Shape;
use crate::shape::ShapeError;

/// An input that the mathematics does not admit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MathError {
    /// A shape that no image has.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A buffer of the wrong length.
    #[error("{what} has {found} values where {expected} are needed")]
    Length {
        /// What the buffer holds.
        what: &'static str,
        /// The length it should have.
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// A row of another length.
    #[error("row {row} of {what} (from 0) has {found} values where {expected} are needed")]
    Row {
        /// What the rows are of.
        what: &'static str,
        /// The row.
        row: usize,
        /// The length it should have.
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// A value that is not finite.
    #[error("{what} holds {value} at index {index}: all values must be finite")]
    NotFinite {
        /// What the buffer holds.
        what: &'static str,
        /// The offending index.
        index: usize,
        /// The offending value.
        value: f64,
    },
    /// A parameter outside its range.
    #[error("{what} is {}: it must be {range}", shown(*value))]
    OutOfRange {
        /// The parameter.
        what: &'static str,
        /// The offending value.
        value: f64,
        /// The admissible range in words.
        range: &'static str,
    },
    /// A number of network calls that a solver cannot make.
    #[error("{solver} cannot make {calls} network calls: {remedy}")]
    Calls {
        /// The solver.
        solver: &'static str,
        /// The number of calls.
        calls: usize,
        /// What to ask for.
        remedy: &'static str,
    },
    /// A mask that observes nothing.
    #[error("the mask hides all {0} pixels: at least one must be observed")]
    EmptyMask(usize),
    /// A pooling factor that does not divide the image.
    #[error(
        "a pooling factor of {factor} does not divide an image of {height}×{width} pixels: crop the \
         image, or take a factor that divides both sides"
    )]
    PoolingFactor {
        /// The factor.
        factor: usize,
        /// Height of the image.
        height: usize,
        /// Width of the image.
        width: usize,
    },
    /// A kernel larger than the image.
    #[error(
        "a kernel of {rows}×{columns} taps is larger than the image of {height}×{width} pixels: \
         crop it, or take fewer taps"
    )]
    KernelSize {
        /// Rows of the kernel.
        rows: usize,
        /// Columns of the kernel.
        columns: usize,
        /// Height of the image.
        height: usize,
        /// Width of the image.
        width: usize,
    },
    /// An image of another number of channels than an operator takes.
    #[error("the operator {what} takes images of {needed} channels, not of {found}")]
    Channels {
        /// The operator.
        what: &'static str,
        /// The channels that it takes.
        needed: usize,
        /// The channels of the image.
        found: usize,
    },
    /// A chain whose operators do not fit.
    #[error(
        "operator {} of the chain (from 1) takes images of {taken}, but the one before it gives {given}: the \
         first operator of a chain is applied to the image first",
        index + 1
    )]
    Link {
        /// The operator's place in the chain, from 0.
        index: usize,
        /// The shape that the operator before it gives.
        given: Shape,
        /// The shape that it takes.
        taken: Shape,
    },
    /// An operator of a chain that does not fit what it is given.
    #[error("operator {} of the chain (from 1), {family}, is given {given} (channels, height, width): {problem}", index + 1)]
    ChainLink {
        /// The operator's place in the chain, from 0.
        index: usize,
        /// Its family.
        family: &'static str,
        /// The shape of the image, or of what the operator before it gives.
        given: Shape,
        /// What it says of that.
        problem: Box<MathError>,
    },
    /// Operators that see one image and do not fit together.
    #[error(
        "operator {index} of the {what} (from 0) {side} {found}, operator 0 {first}: all of a {what} must agree in that"
    )]
    Unlike {
        /// What they are put together to.
        what: &'static str,
        /// The operator's place in the list.
        index: usize,
        /// Whether the image or the measurement differs.
        side: &'static str,
        /// The operator's shape.
        found: Shape,
        /// The first operator's shape.
        first: Shape,
    },
    /// A kernel that leaves nothing of an image's brightness.
    #[error(
        "the taps of the kernel of {rows}×{columns} sum to 0: those of a blur sum to 1; a difference of two blurs is \
         written as a sum, of which one is scaled by -1"
    )]
    KernelSum {
        /// Rows of the kernel.
        rows: usize,
        /// Columns of the kernel.
        columns: usize,
    },
    /// Windows of a blur that do not share each pixel out.
    #[error(
        "the windows of the blur sum to {sum} at row {row}, column {column}: divide them by their sum, so that it is 1 \
         at every pixel"
    )]
    WindowSum {
        /// The row of the first such pixel.
        row: usize,
        /// Its column.
        column: usize,
        /// The sum.
        sum: f64,
    },
    /// A coil map of another size than the image.
    #[error(
        "the map of coil {coil} (from 0) has {rows}×{columns} pixels, the image {height}×{width}: give maps of the \
         image's size, or crop both to one"
    )]
    CoilMap {
        /// The coil.
        coil: usize,
        /// Rows of its map.
        rows: usize,
        /// Columns of its map.
        columns: usize,
        /// Height of the image.
        height: usize,
        /// Width of the image.
        width: usize,
    },
    /// A middle of k-space that was not sampled in full.
    #[error(
        "{:.0} % of the middle {rows}x{columns} of k-space was sampled, the rest is 0 in all coils: {}",
        (100.0 * share).min(99.0),
        middle_remedy(*full, *least)
    )]
    Unsampled {
        /// Rows of the middle.
        rows: usize,
        /// Columns of the middle.
        columns: usize,
        /// The share of it that was sampled.
        share: f64,
        /// Rows and columns of the largest middle that was sampled in full.
        full: (usize, usize),
        /// Rows and columns that maps need.
        least: usize,
    },
    /// A matrix that memory does not hold.
    #[error(
        "a matrix of {rows}×{columns} numbers takes {:.1} GB, at most {:.1} GB are taken: ask for fewer rows or smaller \
         images, or take walsh-hadamard, which keeps no matrix",
        *bytes as f64 / 1e9,
        *most as f64 / 1e9
    )]
    Memory {
        /// Rows of the matrix.
        rows: usize,
        /// Its columns.
        columns: usize,
        /// Its bytes.
        bytes: u64,
        /// The most bytes that are taken.
        most: u64,
    },
    /// A rectangle that reaches beyond the image.
    #[error(
        "the rectangle of {height}×{width} pixels at row {top} and column {left} reaches beyond an image of {shape}: \
         give one inside of it"
    )]
    Crop {
        /// The first row.
        top: usize,
        /// The first column.
        left: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// The shape of the image.
        shape: Shape,
    },
    /// Images that are not square, where an operator turns them.
    #[error(
        "radon turns images about their middle and takes square ones, not {height}×{width} pixels: pad them with zeros"
    )]
    Square {
        /// Height of the image.
        height: usize,
        /// Width of the image.
        width: usize,
    },
    /// An operator of another than the basic families, where one of them is needed.
    #[error(
        "the operator {0} is none of mask, average-pool, circular-blur, separable, dense and weights, which this needs: \
         write it as one of them, such as a matrix"
    )]
    NotBasic(&'static str),
    /// A system that an iterative solver did not solve.
    #[error(
        "the iterative solver did not reach its tolerance {rtol:.1e} in {steps} steps; what is left is {residual:.1e} of \
         the first residual: allow more steps or a larger tolerance, or raise sigma_y"
    )]
    NotSolved {
        /// The steps that were made.
        steps: usize,
        /// What is left, over what it began with.
        residual: f64,
        /// The tolerance.
        rtol: f64,
    },
    /// An iterative solver that met NaN or infinity.
    #[error(
        "the iterative solver met NaN or infinite values after {steps} steps: the measurement or the state holds them, or the \
         operator makes them"
    )]
    SolverNotFinite {
        /// The steps that were made.
        steps: usize,
    },
    /// σ_y = 0 with an operator that is too large to be decomposed.
    #[error(
        "sigma_y = 0 asks for the decomposition of the operator's matrix, {rows} x {columns}, which is too large: give a positive sigma_y, such as \
         0.001, or an operator with an eigenbasis"
    )]
    ExactMeasurement {
        /// Values of y.
        rows: usize,
        /// Values of the image.
        columns: usize,
    },
    /// A matrix that measures nothing.
    #[error("all entries of {0} are 0: give one that measures something")]
    ZeroMatrix(&'static str),
    /// One entry of a list that is not what it must be.
    #[error("{what} is {} at index {index}: {remedy}", shown(*value))]
    Entry {
        /// What the list holds.
        what: &'static str,
        /// The offending index.
        index: usize,
        /// The offending value.
        value: f64,
        /// What is needed.
        remedy: &'static str,
    },
    /// A measurement of which nothing was measured.
    #[error(
        "all {0} values of the measurement are missing (NaN, or of infinite sigma_y): at least one must have been measured"
    )]
    AllMissing(usize),
    /// A measurement that does not tell its noise.
    #[error(
        "the noise cannot be told from a measurement by {operator}: {why}; give sigma_y as a number, such as the standard \
         deviation of a flat region, or of the difference of two exposures over the square root of 2"
    )]
    NoEstimate {
        /// The operator's family.
        operator: &'static str,
        /// Why.
        why: &'static str,
    },
    /// A factor that is not lower triangular.
    #[error(
        "{what} is {value} at row {row}, column {column}, above its diagonal: give a lower triangular one, such as that of \
         numpy.linalg.cholesky(R), or transpose an upper one"
    )]
    NotTriangular {
        /// The factor.
        what: &'static str,
        /// The row of the first such entry.
        row: usize,
        /// Its column.
        column: usize,
        /// The entry.
        value: f64,
    },
    /// Missing entries where the noise is known by its spectrum.
    #[error(
        "{0} values of the measurement are missing, but its noise is given by a spectrum, which is that of a whole plane: \
         give a standard deviation of each entry, or the factor of the covariance"
    )]
    MissingInSpectrum(usize),
    /// A spectrum of noise for another plane.
    #[error(
        "the spectrum of the noise is that of measurements of {found}, these have {needed}: give one of their plane"
    )]
    NoiseShape {
        /// The shape of the spectrum's measurement.
        found: Shape,
        /// The shape of the measurement.
        needed: Shape,
    },
    /// A matrix too large to be decomposed.
    #[error(
        "{what} has {rows}×{columns} entries: at most {limit} rows and columns are decomposed; describe \
         the operator as separable, a blur, a mask or a pooling, if it is one"
    )]
    LargeMatrix {
        /// The matrix.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
        /// The most of either.
        limit: usize,
    },
    /// A matrix that should be symmetric and is not.
    #[error(
        "{what} is not symmetric: its entries at [{row}, {column}] and [{column}, {row}] differ by \
         {difference}"
    )]
    NotSymmetric {
        /// The matrix.
        what: &'static str,
        /// The row of the first such entry.
        row: usize,
        /// Its column.
        column: usize,
        /// The difference.
        difference: f64,
    },
    /// A matrix that should be positive definite and is not, to double precision.
    #[error(
        "{0} is not positive definite: raise its smallest eigenvalues, or leave out directions \
             without variance"
    )]
    NotPositiveDefinite(&'static str),
    /// An empty list.
    #[error("{0} is empty: at least one entry is needed")]
    Empty(&'static str),
    /// A factorisation that did not converge.
    #[error("the {0} did not converge: look for entries of extreme size and rescale them")]
    NotConverged(&'static str),
}

/// Checks that a buffer has the length it should have and holds finite values only.
pub(crate) fn check_values(
    what: &'static str,
    values: &[f64],
    expected: usize,
) -> Result<(), MathError> {
    if values.len() != expected {
        return Err(MathError::Length { what, expected, found: values.len() });
    }
    check_finite(what, values)
}

/// Checks that a buffer holds finite values only.
pub(crate) fn check_finite(what: &'static str, values: &[f64]) -> Result<(), MathError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(MathError::NotFinite { what, index, value: values[index] }),
        None => Ok(()),
    }
}

/// Checks that the largest of an operator's numbers, unless it is 0, has a square within the range of f64.
pub(crate) fn check_scale(what: &'static str, values: &[f64]) -> Result<(), MathError> {
    const LEAST: f64 = 1e-100;
    const MOST: f64 = 1e100;
    let largest =
        values.iter().copied().enumerate().max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()));
    match largest {
        Some((index, value)) if value != 0.0 && !(LEAST..=MOST).contains(&value.abs()) => {
            let remedy = "eigenvalues are its square, which leaves the range of numbers: take numbers whose largest \
                          is between 1e-100 and 1e100, in other units";
            Err(MathError::Entry { what, index, value, remedy })
        }
        _ => Ok(()),
    }
}

/// What to do where the middle of k-space was not sampled in full, but rows and columns of it.
fn middle_remedy((rows, columns): (usize, usize), least: usize) -> String {
    if rows * columns == 0 {
        "not even the frequency 0, which comes first: numpy.fft.ifftshift puts it there where it is in the middle".to_owned()
    } else if rows.min(columns) < least {
        format!(
            "no middle of {least} rows and columns was sampled in full, as maps need it: measure these frequencies, or take maps of another \
             scan of the same coils"
        )
    } else {
        format!(
            "maps need a middle that was sampled in full, at most --calibration {rows},{columns}"
        )
    }
}

/// A number as it is read: far from 1 with an exponent.
fn shown(value: f64) -> String {
    match value.abs() {
        size if size != 0.0 && size.is_finite() && !(1e-12..1e15).contains(&size) => {
            format!("{value:e}")
        }
        _ => value.to_string(),
    }
}

/// Checks that a number is positive and finite.
///
/// # Errors
/// [`MathError::OutOfRange`]
pub fn check_positive(what: &'static str, value: f64) -> Result<(), MathError> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(MathError::OutOfRange { what, value, range: "positive and finite" })
    }
}

/// Entries of a row that are read together: as many as a line of the cache has.
const ENTRIES_AT_A_TIME: usize = 8;

/// Checks that a matrix is n×n, finite, and symmetric to rounding.
pub(crate) fn check_symmetric(
    what: &'static str,
    matrix: faer::MatRef<'_, f64>,
    n: usize,
) -> Result<(), MathError> {
    for found in [matrix.nrows(), matrix.ncols()] {
        if found != n {
            return Err(MathError::Length { what, expected: n, found });
        }
    }
    let mut largest = 0.0f64;
    for j in 0..n {
        for i in 0..n {
            let value = matrix[(i, j)];
            if !value.is_finite() {
                return Err(MathError::NotFinite { what, index: i * n + j, value });
            }
            largest = largest.max(value.abs());
        }
    }
    // Sums of n products in another order differ by at most about n · ε of the largest entry.
    let tolerance = 8.0 * n as f64 * f64::EPSILON * largest;
    for first in (0..n).step_by(ENTRIES_AT_A_TIME) {
        for row in first..n {
            for column in first..(first + ENTRIES_AT_A_TIME).min(row) {
                let difference = matrix[(row, column)] - matrix[(column, row)];
                if difference.abs() > tolerance {
                    return Err(MathError::NotSymmetric { what, row, column, difference });
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::*;

    /// Also where the side is no multiple of the entries that are read at a time.
    #[test]
    fn an_asymmetry_is_found_wherever_it_is() {
        let n = 2 * ENTRIES_AT_A_TIME + 3;
        let symmetric = Mat::from_fn(n, n, |i, j| (i * j) as f64);
        check_symmetric("C", symmetric.as_ref(), n).unwrap();
        for (row, column) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let mut changed = symmetric.clone();
            changed[(row, column)] += 1e-6;
            assert_eq!(
                check_symmetric("C", changed.as_ref(), n).is_err(),
                row != column,
                "{row}, {column}"
            );
        }
    }
}

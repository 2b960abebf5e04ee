//! A map without an eigenbasis in closed form, with that of its matrix.

use std::sync::Arc;

use faer::{Mat, MatRef};

use super::expression::{Expression, Preconditioner};
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral};
use super::picks::Picks;
use super::range_basis::RangeBasis;
use super::rounding::least_certain;
use super::to_matrix;
use crate::{MathError, Shape};

/// The most multiplications of a decomposition that is made without being asked for: some ten seconds, where conjugate
/// gradients and Lanczos' method take hundreds of A and Aᵀ at every call.
const MOST_WORK: f64 = 1.5e11;

/// The most numbers of the matrix: half a gigabyte.
const MOST_ENTRIES: usize = 1 << 26;

/// The thin singular value decomposition A = U diag(s) Vᵀ of a matrix, without the values that are rounding.
pub(crate) struct SingularValues {
    /// U, m×r.
    pub(crate) left: Mat<f64>,
    /// s > 0, r values, descending.
    pub(crate) values: Vec<f64>,
    /// V, n×r.
    pub(crate) right: Mat<f64>,
}

impl SingularValues {
    /// Decomposes the matrix of an operator.
    pub(crate) fn of(matrix: MatRef<'_, f64>) -> Result<Self, MathError> {
        let what = "the matrix of the operator";
        for column in matrix.col_iter() {
            crate::error::check_finite(what, &column.iter().copied().collect::<Vec<_>>())?;
        }
        let svd = matrix
            .thin_svd()
            .map_err(|_| MathError::NotConverged("singular value decomposition"))?;
        let mut values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
        let largest = values.iter().copied().fold(0.0, f64::max);
        if largest == 0.0 {
            return Err(MathError::ZeroMatrix(what));
        }
        let least = least_certain(matrix, svd.U(), &values, svd.V());
        values.retain(|value| *value > least);
        let rank = values.len();
        let left = svd.U().subcols(0, rank).to_owned();
        Ok(Self { left, right: svd.V().subcols(0, rank).to_owned(), values })
    }

    /// Without the values whose squares rounding hides beside that of the largest.
    fn told_by_squares(mut self) -> Self {
        let side = self.left.nrows().max(self.right.nrows()) as f64;
        let largest = self.values.first().copied().unwrap_or(0.0);
        self.values.retain(|value| *value > (side * f64::EPSILON).sqrt() * largest);
        let rank = self.values.len();
        self.left = self.left.subcols(0, rank).to_owned();
        self.right = self.right.subcols(0, rank).to_owned();
        self
    }
}

/// A pair A, Aᵀ beside the thin singular value decomposition of its matrix.
#[derive(Debug, Clone)]
pub struct Decomposed {
    map: Arc<dyn LinearMap>,
    basis: RangeBasis,
}

impl Decomposed {
    /// Decomposes the matrix of a map.
    ///
    /// # Errors
    /// [`MathError::ZeroMatrix`] if it is 0, [`MathError::NotFinite`] if the map gives NaN or infinity,
    /// [`MathError::NotConverged`] from the decomposition.
    pub fn new(map: Arc<dyn LinearMap>) -> Result<Self, MathError> {
        let matrix = to_matrix(map.as_ref());
        let found = SingularValues::of(matrix.as_ref())?;
        Ok(Self::of(map, matrix, found))
    }

    /// The same for measurements without noise, whose pivot divides Aᵀy by eigenvalues of AᵀA: directions that AᵀA does not tell from
    /// rounding, of singular values below some 4·10⁻⁷ of the largest, count as not measured.
    ///
    /// # Errors
    /// Those of [`Decomposed::new`].
    pub fn for_exact(map: Arc<dyn LinearMap>) -> Result<Self, MathError> {
        let matrix = to_matrix(map.as_ref());
        let found = SingularValues::of(matrix.as_ref())?.told_by_squares();
        Ok(Self::of(map, matrix, found))
    }

    fn of(map: Arc<dyn LinearMap>, mut matrix: Mat<f64>, found: SingularValues) -> Self {
        let SingularValues { left, values, right } = found;
        if values.len() < matrix.nrows().min(matrix.ncols()) {
            // Without what is rounding error, so that the null space is exact.
            let scaled = Mat::from_fn(left.nrows(), values.len(), |i, j| left[(i, j)] * values[j]);
            matrix = scaled * right.transpose();
        }
        let eigenvalues = values.iter().map(|s| s * s).collect();
        Self { map, basis: RangeBasis { matrix, vectors: right, eigenvalues } }
    }

    /// Multiplications, about, that a decomposition takes, if its matrix is of a size to be decomposed at all.
    #[must_use]
    pub fn work(map: &dyn LinearMap) -> Option<f64> {
        let (m, n) = (map.range().len(), map.domain().len());
        let (most, least) = (m.max(n) as f64, m.min(n) as f64);
        // A decomposition into a square matrix and an orthonormal one, and that of the square.
        let work = 6.0 * most * least.powi(2) + 20.0 * least.powi(3);
        (m.saturating_mul(n) <= MOST_ENTRIES).then_some(work)
    }

    /// Whether the decompositions of all of some maps take no longer than some ten seconds.
    #[must_use]
    pub fn is_quick<'a>(maps: impl IntoIterator<Item = &'a dyn LinearMap>) -> bool {
        let mut work = 0.0;
        for map in maps {
            match Self::work(map) {
                Some(own) => work += own,
                None => return false,
            }
        }
        work <= MOST_WORK
    }
}

impl LinearMap for Decomposed {
    fn domain(&self) -> Shape {
        self.map.domain()
    }

    fn range(&self) -> Shape {
        self.map.range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.map.apply(x)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.map.adjoint(y)
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        self.map.placed(y)
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        self.map.diagonal(f)
    }

    fn approximate_inverse(&self, v: &[f64], kappa: f64) -> Option<Vec<f64>> {
        self.map.approximate_inverse(v, kappa)
    }

    fn preconditioner(&self) -> Option<Preconditioner> {
        self.map.preconditioner()
    }

    fn expression(&self) -> Option<Expression> {
        self.map.expression()
    }

    fn infinity_norm(&self) -> Option<f64> {
        self.map.infinity_norm()
    }

    fn gives_picture(&self) -> bool {
        self.map.gives_picture()
    }

    fn kind(&self) -> OperatorKind {
        self.map.kind()
    }

    fn picks(&self) -> Option<Picks> {
        self.map.picks()
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        self.map.as_spectral()
    }

    fn range_basis(&self) -> Option<&RangeBasis> {
        Some(&self.basis)
    }
}

/// The singular values of A that go with the image, n values in descending order; those that are rounding, by max(m, n)·ε of the
/// largest or as of [`Dense::new`](super::Dense::new), are exactly 0, so that the rank is the number of the others.
///
/// By the eigenbasis of AᵀA where one is known, else by the decomposition of the matrix, for small problems.
///
/// # Errors
/// [`MathError::ZeroMatrix`] if A is 0, [`MathError::NotFinite`] if it gives NaN or infinity, [`MathError::NotConverged`] from the
/// decomposition.
pub fn singular_values(operator: &dyn LinearMap) -> Result<Vec<f64>, MathError> {
    let mut values = match operator.as_spectral() {
        Some(spectral) => {
            let values: Vec<f64> =
                spectral.eigenvalues().iter().map(|lambda| lambda.sqrt()).collect();
            let side = operator.domain().len().max(operator.range().len());
            let largest = values.iter().copied().fold(0.0, f64::max);
            let rounding = side as f64 * f64::EPSILON * largest;
            values.into_iter().map(|value| if value > rounding { value } else { 0.0 }).collect()
        }
        None => SingularValues::of(to_matrix(operator).as_ref())?.values,
    };
    values.resize(operator.domain().len(), 0.0);
    values.sort_by(|a, b| b.total_cmp(a));
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cholesky::{product, product_transposed};
    use crate::operator::OperatorSpec;
    use crate::rng::Stream;

    fn map_of(text: serde_json::Value, shape: Shape) -> Arc<dyn LinearMap> {
        let spec: OperatorSpec = serde_json::from_value(text).unwrap();
        let prepared = spec.prepare(shape).unwrap();
        Arc::new(prepared)
    }

    /// Where values are many times over, a decomposition leaves more of a matrix than n · ε of it.
    #[test]
    fn values_of_the_null_space_are_none() {
        let shape = Shape::new(1, 28, 28).unwrap();
        let mask: Vec<Vec<u8>> = (0..28).map(|row| vec![u8::from(row < 10); 28]).collect();
        let map = map_of(
            serde_json::json!({"operator": "chain",
                "of": [{"operator": "real"}, {"operator": "fourier", "mask": mask}]}),
            shape,
        );
        let values = crate::operator::singular_values(map.as_ref()).unwrap();
        assert_eq!((values.len(), values.iter().filter(|value| **value > 0.0).count()), (784, 532));
        let decomposed = Decomposed::new(map).unwrap();
        let basis = decomposed.range_basis().unwrap();
        // Of a real image a frequency and the opposite one are one: 1 where both were measured, 1/2 where one was.
        for value in basis.eigenvalues() {
            assert!((value - 1.0).abs().min((value - 0.5).abs()) < 1e-10, "{value}");
        }
        assert_eq!(basis.rank(), 532);
    }

    /// A blur whose least singular value is 2·10⁻¹² of the largest.
    #[test]
    fn an_exact_measurement_is_inverted_no_further_than_squares_tell() {
        let shape = Shape::new(1, 28, 28).unwrap();
        let kernel = [
            [0.154, 0.154, 0.098, 0.055],
            [0.01, 0.073, 0.078, 0.009],
            [0.009, 0.191, 0.124, 0.045],
        ];
        let map = map_of(
            serde_json::json!({"operator": "convolution", "kernel": kernel, "border": "zero"}),
            shape,
        );
        let decomposed = Decomposed::for_exact(map.clone()).unwrap();
        let x: Vec<f64> = Stream::named(0, "x").normals(shape.len());
        let y = map.apply(&x);
        let basis = decomposed.range_basis().unwrap();
        // A⁺y by squares: Aᵀy over the eigenvalues of AᵀA.
        let mut waves = product_transposed(&basis.vectors, &map.adjoint(&y));
        waves.iter_mut().zip(basis.eigenvalues()).for_each(|(wave, value)| *wave /= value);
        let inverse = product(&basis.vectors, &waves);
        let largest = |x: &[f64]| x.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        assert!(basis.rank() > 700 && basis.rank() < 784, "{}", basis.rank());
        assert!(largest(&inverse) < 2.0 * largest(&x), "{}", largest(&inverse));
        let left: Vec<f64> = map.apply(&inverse).iter().zip(&y).map(|(a, b)| a - b).collect();
        assert!(largest(&left) < 1e-5, "{}", largest(&left));
    }
}

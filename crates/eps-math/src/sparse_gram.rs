//! AᵀA + κ I of maps that mix near pixels alone, as a sparse matrix with its Cholesky factor.

use faer::linalg::solvers::Solve as _;
use faer::sparse::linalg::solvers::Llt;
use faer::sparse::{SparseColMat, Triplet};
use faer::{Col, Side};

use crate::MathError;
use crate::operator::LinearMap;

/// The most values of an image.
const MOST_VALUES: usize = 1 << 15;

/// The most entries of AᵀA below the diagonal: at 128×128 pixels those of a kernel of 23×23. Projections or coils, which mix all pixels, have far
/// more.
const MOST_ENTRIES: usize = 1 << 24;

/// Columns that are looked at before all of them are computed.
const LOOKS: usize = 8;

/// An entry over the largest of its column below which it is the rounding of a transform.
const ROUNDING: f64 = 1e-15;

/// The factor of AᵀA + κ I, κ > 0.
pub(crate) struct SparseGram(Llt<usize, f64>);

impl SparseGram {
    /// None where an image has too many values, or its pixels are mixed too widely.
    ///
    /// # Errors
    /// [`MathError::NotPositiveDefinite`] where κ is lost beside ‖A‖² or memory runs out.
    pub(crate) fn new(map: &dyn LinearMap, kappa: f64) -> Result<Option<Self>, MathError> {
        let n = map.domain().len();
        if n > MOST_VALUES {
            return Ok(None);
        }
        let most = (MOST_ENTRIES / n).min(n / 4);
        let looks = (0..LOOKS).map(|k| below(map, k * n / LOOKS).len());
        if looks.sum::<usize>() > most * LOOKS {
            return Ok(None);
        }
        let mut entries = Vec::new();
        for j in 0..n {
            entries.extend(below(map, j));
            if entries.len() > most * (j + 1).max(n / LOOKS) {
                return Ok(None);
            }
            entries.push(Triplet::new(j, j, kappa));
        }
        let lost = || MathError::NotPositiveDefinite("the sparse matrix of the pivot's equations");
        let gram = SparseColMat::try_new_from_triplets(n, n, &entries).map_err(|_| lost())?;
        let factor = gram.sp_cholesky(Side::Lower).map_err(|_| lost())?;
        Ok(Some(Self(factor)))
    }

    /// (AᵀA + κ I)⁻¹ v.
    pub(crate) fn solve(&self, v: &[f64]) -> Vec<f64> {
        let solved = self.0.solve(Col::from_fn(v.len(), |i| v[i]));
        solved.iter().copied().collect()
    }
}

/// Column j of AᵀA, from the diagonal on.
fn below(map: &dyn LinearMap, j: usize) -> Vec<Triplet<usize, usize, f64>> {
    let mut impulse = vec![0.0; map.domain().len()];
    impulse[j] = 1.0;
    let column = map.adjoint(&map.apply(&impulse));
    let largest = column.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let entries = column.iter().enumerate().skip(j);
    entries
        .filter(|(_, value)| value.abs() > ROUNDING * largest)
        .map(|(i, value)| Triplet::new(i, j, *value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;
    use crate::operator::{Border, Convolution, Kernel, Radon};

    #[test]
    fn a_sparse_factor_solves_its_equations() {
        let shape = Shape::new(1, 20, 24).unwrap();
        let kernel = Kernel::motion(5, 0.6).unwrap();
        for border in [Border::Reflect, Border::Zero, Border::Valid] {
            let map = Convolution::new(shape, kernel.clone(), border).unwrap();
            let v = crate::rng::Stream::named(0, "v").normals(shape.len());
            let solved = SparseGram::new(&map, 1e-4).unwrap().unwrap().solve(&v);
            let back = map.adjoint(&map.apply(&solved));
            // Rounding times the condition 1e4, of values of size 1e4.
            for ((back, solved), v) in back.iter().zip(&solved).zip(&v) {
                assert!((back + 1e-4 * solved - v).abs() < 1e-10, "{border:?}");
            }
        }
    }

    #[test]
    fn projections_are_not_sparse() {
        let shape = Shape::new(1, 24, 24).unwrap();
        let angles: Vec<f64> = (0..12).map(|k| f64::from(k) * 15.0).collect();
        let radon = Radon::new(shape, &angles, None).unwrap();
        assert!(SparseGram::new(&radon, 1e-4).unwrap().is_none());
    }
}

//! The pivot of any operator to rounding, by the best way that there is.
//!
//! Samplers are content with a pivot [within its noise](crate::solve::WithinNoise); whoever compares numbers wants all digits.

use crate::cholesky::{Cholesky, product, product_transposed};
use crate::operator::check::{norm, norm_estimate};
use crate::operator::{Decomposed, LinearMap, SingularValues, Spectral, to_matrix};
use crate::solve::{Cg, Solved, add, corrected};
use crate::sparse_gram::SparseGram;
use crate::{Level, MathError};

/// How a pivot was computed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Route {
    /// By the operator's eigenbasis.
    ClosedForm,
    /// By its matrix, or by AᵀA where that is sparse, factorised, and this many corrections.
    Matrix {
        /// The solutions by the factor, the first one included.
        corrections: usize,
    },
    /// By conjugate gradients.
    ConjugateGradients {
        /// The steps.
        steps: usize,
        /// The residual of the normal equations over the first one.
        residual: f64,
    },
}

/// μ⋆ of one image (arXiv 2606.17048, Theorem 1), for α > 0, and the way it was computed: in closed form by an eigenbasis; by the matrix of
/// operators whose image or measurement has up to 4096 values a channel; of larger ones, by conjugate gradients, as `cg` says, or, where these
/// would take long and the operator mixes near pixels alone, as blurs do, by the sparse matrix of up to 32,768 values a channel.
///
/// At σ_y = 0 it is the limit, x_t/α + A⁺(y − A x_t/α), by a decomposition of matrices of up to some 2,500 values; so it is where
/// σ_y α/β is below 3·10⁻⁶ of the norm of A.
///
/// # Shapes
/// y: `map.range()`, x_t: `map.domain()`, both flat.
///
/// # Units
/// y and `sigma_y` ≥ 0 on the scale of the images.
///
/// # Errors
/// Those of [`Cg::solve`]; [`MathError::ExactMeasurement`] for σ_y = 0 and an operator too large to be decomposed;
/// [`MathError::NotSolved`] where rounding leaves more than 1e-6 of the correction.
///
/// # Panics
/// If y or x_t does not have its shape.
pub fn exact_pivot(
    map: &dyn LinearMap,
    y: &[f64],
    sigma_y: f64,
    x_t: &[f64],
    level: &Level,
    cg: &Cg,
) -> Result<(Vec<f64>, Route), MathError> {
    let kappa = (sigma_y * level.alpha / level.beta).powi(2);
    // A map that does the same to every channel has a small matrix.
    let one = map.one_channel().filter(|_| map.as_spectral().is_none());
    let alone = one.as_deref().unwrap_or(map);
    let Some(factorised) = Factorised::new(alone, kappa)? else {
        if sigma_y == 0.0 {
            let (rows, columns) = (alone.range().len(), alone.domain().len());
            return Err(MathError::ExactMeasurement { rows, columns });
        }
        let solved = cg.mu_star(map, y, sigma_y, x_t, level)?;
        let (steps, residual) = (solved.steps, solved.residual);
        return Ok((solved.x, Route::ConjugateGradients { steps, residual }));
    };
    // One channel after the other, or all at once.
    let rows = alone.range().len();
    let solved = corrected(map, y, x_t, level, |missing| {
        let each = missing.chunks_exact(rows).map(|missing| factorised.solve(missing));
        let each: Vec<Solved> = each.collect::<Result<_, _>>()?;
        Ok(Solved {
            steps: each.iter().map(|solved| solved.steps).max().unwrap_or(0),
            residual: each.iter().map(|solved| solved.residual).fold(0.0, f64::max),
            x: each.into_iter().flat_map(|solved| solved.x).collect(),
        })
    })?;
    let route = match factorised.factor {
        Factor::Spectral(_) => Route::ClosedForm,
        _ => Route::Matrix { corrections: solved.steps },
    };
    Ok((solved.x, route))
}

/// Whether the pivot of an operator comes neither in closed form nor by its matrix: then by the sparse one where there is one, else by conjugate
/// gradients, which may take long.
#[must_use]
pub fn pivot_may_iterate(map: &dyn LinearMap) -> bool {
    let one = map.one_channel();
    map.as_spectral().is_none() && is_large(one.as_deref().unwrap_or(map))
}

/// Whether the matrix of a map is too large to be factorised.
fn is_large(map: &dyn LinearMap) -> bool {
    let (m, n) = (map.range().len(), map.domain().len());
    m.min(n) > MOST_SIDE || m.saturating_mul(n) > MOST_ENTRIES
}

/// The most rows or columns, whichever are fewer, of a matrix whose Gram matrix is factorised: some ten seconds.
const MOST_SIDE: usize = 4096;

/// The most numbers of a matrix: half a gigabyte.
const MOST_ENTRIES: usize = 1 << 26;

/// κ over ‖A‖² below which the Gram matrix, in which singular values are squared, does not tell it from rounding.
const LEAST_KAPPA: f64 = 1e-11;

/// κ over ‖A‖² above which conjugate gradients take some hundreds of steps.
const QUICK_KAPPA: f64 = 1e-4;

/// The steps by which ‖A‖ is estimated for these two.
const NORM_STEPS: usize = 20;

/// The last correction over the solution at which it is solved, and the one up to which rounding is allowed to stop it.
const DONE: f64 = 1e-13;
const ALLOWED: f64 = 1e-6;

/// The most corrections.
const MOST_CORRECTIONS: usize = 20;

/// The most multiplications of a singular value decomposition, which is made where κ is 0 or lost beside squares: a minute.
const MOST_WORK: f64 = 5e11;

/// (AᵀA + κ I)⁻¹ Aᵀ of an operator with an eigenbasis, or a small one.
struct Factorised<'a> {
    map: &'a dyn LinearMap,
    kappa: f64,
    factor: Factor<'a>,
}

enum Factor<'a> {
    /// Of AᵀA, in closed form.
    Spectral(&'a dyn Spectral),
    /// Of AᵀA + κ I.
    Image(Cholesky),
    /// The same of a sparse one.
    Near(SparseGram),
    /// Of AAᵀ + κ I.
    Measurement(Cholesky),
    /// The thin singular value decomposition of A.
    Singular(SingularValues),
}

impl<'a> Factorised<'a> {
    /// None where the operator is too large.
    fn new(map: &'a dyn LinearMap, kappa: f64) -> Result<Option<Self>, MathError> {
        if let Some(spectral) = map.as_spectral() {
            return Ok(Some(Self { map, kappa, factor: Factor::Spectral(spectral) }));
        }
        let (m, n) = (map.range().len(), map.domain().len());
        let is_large = is_large(map);
        let is_above_rounding = kappa > 0.0 && {
            let largest = norm_estimate(map, NORM_STEPS, 0).powi(2);
            if is_large && kappa > QUICK_KAPPA * largest {
                return Ok(None);
            }
            kappa >= LEAST_KAPPA * largest
        };
        if is_large {
            if !is_above_rounding {
                return Ok(None);
            }
            let factor = SparseGram::new(map, kappa)?.map(Factor::Near);
            return Ok(factor.map(|factor| Self { map, kappa, factor }));
        }
        if is_above_rounding {
            let a = to_matrix(map);
            let mut gram = if n <= m { a.transpose() * &a } else { &a * a.transpose() };
            (0..gram.nrows()).for_each(|i| gram[(i, i)] += kappa);
            let cholesky = Cholesky::new("the matrix of the pivot's equations", gram.as_ref())?;
            let factor = if n <= m { Factor::Image } else { Factor::Measurement };
            return Ok(Some(Self { map, kappa, factor: factor(cholesky) }));
        }
        if Decomposed::work(map).is_none_or(|work| work > MOST_WORK) {
            return Ok(None);
        }
        let factor = Factor::Singular(SingularValues::of(to_matrix(map).as_ref())?);
        Ok(Some(Self { map, kappa, factor }))
    }

    /// argmin ‖A z − r‖² + κ ‖z‖², for κ = 0 the shortest of the least-squares solutions, and the number of corrections: each solves for what
    /// the ones before left, so that the factor's rounding is lost. The residual is the last correction over the solution.
    fn solve(&self, r: &[f64]) -> Result<Solved, MathError> {
        let mut x = vec![0.0; self.map.domain().len()];
        // Of the equations in the measurement: z = Aᵀ w.
        let mut w = vec![0.0; r.len()];
        let mut left = r.to_vec();
        let (mut steps, mut residual) = (0, f64::INFINITY);
        loop {
            let change = self.correction(&left, &x, &mut w);
            add(&mut x, 1.0, &change);
            let last = residual;
            residual = norm(&change) / norm(&x).max(f64::MIN_POSITIVE);
            steps += 1;
            // What no longer halves, and NaN, is rounding.
            if residual <= DONE || !(residual <= 0.5 * last) || steps == MOST_CORRECTIONS {
                break;
            }
            left = r.to_vec();
            add(&mut left, -1.0, &self.map.apply(&x));
        }
        if residual <= ALLOWED {
            Ok(Solved { x, steps, residual })
        } else {
            Err(MathError::NotSolved { steps, residual, rtol: ALLOWED })
        }
    }

    /// What is to be added to z, for r − A z.
    fn correction(&self, left: &[f64], z: &[f64], w: &mut [f64]) -> Vec<f64> {
        match &self.factor {
            // z is in the range of Aᵀ: what rounding leaves beside it is not divided by κ.
            Factor::Spectral(spectral) => {
                spectral.spectral_map(&self.gradient(left, z), &|lambda| {
                    if lambda > 0.0 { (lambda + self.kappa).recip() } else { 0.0 }
                })
            }
            Factor::Image(cholesky) => cholesky.solve(&self.gradient(left, z)),
            Factor::Near(sparse) => sparse.solve(&self.gradient(left, z)),
            Factor::Measurement(cholesky) => {
                let mut rest = left.to_vec();
                add(&mut rest, -self.kappa, w);
                add(w, 1.0, &cholesky.solve(&rest));
                let mut change = self.map.adjoint(w);
                add(&mut change, -1.0, z);
                change
            }
            // Never by squares of the singular values.
            Factor::Singular(SingularValues { left: u, values, right: v }) => {
                let (seen, own) = (product_transposed(u, left), product_transposed(v, z));
                let mut waves = Vec::with_capacity(values.len());
                for ((s, seen), own) in values.iter().zip(seen).zip(own) {
                    waves.push((s * seen - self.kappa * own) / (s * s + self.kappa));
                }
                product(v, &waves)
            }
        }
    }

    /// Aᵀ(r − A z) − κ z for r − A z.
    fn gradient(&self, left: &[f64], z: &[f64]) -> Vec<f64> {
        let mut gradient = self.map.adjoint(left);
        add(&mut gradient, -self.kappa, z);
        gradient
    }
}

//! The pivot of any operator to rounding, by the best way that there is.
//!
//! Samplers are content with a pivot [within its noise](crate::solve::WithinNoise); whoever compares numbers wants all digits.

use crate::cholesky::{Cholesky, product, product_transposed};
use crate::operator::check::norm;
use crate::operator::{Decomposed, LinearMap, SingularValues, Spectral, to_matrix};
use crate::solve::Cg;
use crate::{Level, MathError};

/// How a pivot was computed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Route {
    /// By the operator's eigenbasis.
    ClosedForm,
    /// By its matrix, factorised, and this many corrections.
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
/// operators whose image or measurement has up to 4096 values a channel; by conjugate gradients, as `cg` says, for larger ones.
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
    let mut mu_star: Vec<f64> = x_t.iter().map(|value| value / level.alpha).collect();
    let seen = map.apply(&mu_star);
    let missing: Vec<f64> = y.iter().zip(seen).map(|(y, seen)| y - seen).collect();
    let (rows, columns) = (factorised.map.range().len(), factorised.map.domain().len());
    let mut most = 0;
    for (state, missing) in mu_star.chunks_exact_mut(columns).zip(missing.chunks_exact(rows)) {
        let (correction, corrections) = factorised.solve(missing)?;
        state.iter_mut().zip(correction).for_each(|(state, value)| *state += value);
        most = most.max(corrections);
    }
    let route = match factorised.factor {
        Factor::Spectral(_) => Route::ClosedForm,
        _ => Route::Matrix { corrections: most },
    };
    Ok((mu_star, route))
}

/// The most rows or columns, whichever are fewer, of a matrix whose Gram matrix is factorised: some ten seconds.
const MOST_SIDE: usize = 4096;

/// The most numbers of a matrix: half a gigabyte.
const MOST_ENTRIES: usize = 1 << 26;

/// κ over ‖A‖² below which the Gram matrix, in which singular values are squared, does not tell it from rounding.
const LEAST_KAPPA: f64 = 1e-11;

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
        if m.min(n) > MOST_SIDE || m.saturating_mul(n) > MOST_ENTRIES {
            return Ok(None);
        }
        let mut matrix = None;
        if kappa > 0.0 {
            let a = to_matrix(map);
            let mut gram = if n <= m { a.transpose() * &a } else { &a * a.transpose() };
            let side = gram.nrows();
            let largest = (0..side).map(|i| gram[(i, i)]).fold(0.0, f64::max);
            if kappa >= LEAST_KAPPA * largest {
                (0..side).for_each(|i| gram[(i, i)] += kappa);
                let what = "the matrix of the pivot's equations";
                let cholesky = Cholesky::new(what, gram.as_ref())?;
                let factor = if n <= m { Factor::Image } else { Factor::Measurement };
                return Ok(Some(Self { map, kappa, factor: factor(cholesky) }));
            }
            matrix = Some(a);
        }
        if !Decomposed::work(map).is_some_and(|work| work <= MOST_WORK) {
            return Ok(None);
        }
        let matrix = matrix.unwrap_or_else(|| to_matrix(map));
        let factor = Factor::Singular(SingularValues::of(matrix.as_ref())?);
        Ok(Some(Self { map, kappa, factor }))
    }

    /// argmin ‖A z − r‖² + κ ‖z‖², for κ = 0 the shortest of the least-squares solutions, and the number of corrections: each solves for what
    /// the ones before left, so that the factor's rounding is lost.
    fn solve(&self, r: &[f64]) -> Result<(Vec<f64>, usize), MathError> {
        let mut z = vec![0.0; self.map.domain().len()];
        // Of the equations in the measurement: z = Aᵀ w.
        let mut w = vec![0.0; r.len()];
        let mut left = r.to_vec();
        let mut last = f64::INFINITY;
        for corrections in 1..=MOST_CORRECTIONS {
            let change = match &self.factor {
                Factor::Spectral(spectral) => {
                    // z is in the range of Aᵀ: what rounding leaves beside it is not divided by κ.
                    let inverse = |lambda: f64| {
                        if lambda > 0.0 { (lambda + self.kappa).recip() } else { 0.0 }
                    };
                    let change = spectral.spectral_map(&self.gradient(&left, &z), &inverse);
                    add(&mut z, &change);
                    change
                }
                Factor::Image(cholesky) => {
                    let change = cholesky.solve(&self.gradient(&left, &z));
                    add(&mut z, &change);
                    change
                }
                Factor::Measurement(cholesky) => {
                    let rest: Vec<f64> =
                        left.iter().zip(&w).map(|(left, w)| left - self.kappa * w).collect();
                    add(&mut w, &cholesky.solve(&rest));
                    let next = self.map.adjoint(&w);
                    let change = next.iter().zip(&z).map(|(next, z)| next - z).collect();
                    z = next;
                    change
                }
                Factor::Singular(SingularValues { left: u, values, right: v }) => {
                    // Never by squares of the singular values.
                    let (seen, own) = (product_transposed(u, &left), product_transposed(v, &z));
                    let mut waves = Vec::with_capacity(values.len());
                    for ((s, seen), own) in values.iter().zip(seen).zip(own) {
                        waves.push((s * seen - self.kappa * own) / (s * s + self.kappa));
                    }
                    let change = product(v, &waves);
                    add(&mut z, &change);
                    change
                }
            };
            let size = norm(&change) / norm(&z).max(f64::MIN_POSITIVE);
            // What no longer halves is rounding.
            if size <= DONE || size > 0.5 * last || corrections == MOST_CORRECTIONS {
                if size <= ALLOWED {
                    return Ok((z, corrections));
                }
                let (steps, residual) = (corrections, size);
                return Err(MathError::NotSolved { steps, residual, rtol: ALLOWED });
            }
            last = size;
            left = self.map.apply(&z);
            left.iter_mut().zip(r).for_each(|(left, r)| *left = r - *left);
        }
        unreachable!("the last correction returns")
    }

    /// Aᵀ(r − A z) − κ z for r − A z.
    fn gradient(&self, left: &[f64], z: &[f64]) -> Vec<f64> {
        let mut gradient = self.map.adjoint(left);
        gradient.iter_mut().zip(z).for_each(|(value, z)| *value -= self.kappa * z);
        gradient
    }
}

fn add(a: &mut [f64], b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
}

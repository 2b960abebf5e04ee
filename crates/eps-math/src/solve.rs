//! Systems in AᵀA for operators without an eigenbasis: the pivot by conjugate gradients, functions by Lanczos.

use faer::{Mat, Side};

use crate::cholesky::dot;
use crate::operator::LinearMap;
use crate::operator::check::norm;
use crate::{Level, MathError};

/// Conjugate gradients on min ‖A z − r‖² + κ ‖z‖², as a value.
///
/// The system's matrix is never squared (CGLS, Björck 1996, Section 7.4): the error is that of cond(A), not of its
/// square, so that pivots at σ_t = 80 and σ_y = 0.002 are right to 1e-8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cg {
    /// The error of z over its size at which it ends: ‖Aᵀ(r − A z) − κ z‖/κ bounds it. Where rounding leaves more, and for
    /// κ = 0, it ends when that residual is rounding, or `rtol` of the first one.
    pub rtol: f64,
    /// The most steps, each of which costs A and Aᵀ once.
    pub max_steps: usize,
}

impl Default for Cg {
    fn default() -> Self {
        Self { rtol: 1e-10, max_steps: 20_000 }
    }
}

/// Where conjugate gradients begin, and where they may end before the residual is small.
#[derive(Debug, Clone, Copy)]
struct Goal<'a> {
    /// The energy of the error, as far as it is told.
    energy: Option<f64>,
    /// 0, where it is none.
    start: Option<&'a [f64]>,
}

/// Steps by which the estimate of the error lags behind, at least.
const DELAY: usize = 8;

/// The part of the steps by which it does: where conjugate gradients are slow, the last eight steps tell little. By a quarter of them
/// the error of pivots of blurs with valid borders is below the share that is asked for; by eight steps alone it was three
/// times that at σ_t = 80.
const DELAYED: usize = 4;

/// The steps by which the estimate of the error lags behind, after so many.
#[must_use]
pub fn error_lag(steps: usize) -> usize {
    DELAY.max(steps / DELAYED)
}

/// What a solver answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Solved {
    /// The solution.
    pub x: Vec<f64>,
    /// The steps that were made.
    pub steps: usize,
    /// The residual of the normal equations over the first one.
    pub residual: f64,
}

impl Cg {
    /// argmin ‖A z − r‖² + κ ‖z‖² = (AᵀA + κ I)⁻¹ Aᵀr; for κ = 0 the shortest of the least-squares solutions.
    ///
    /// # Errors
    /// [`MathError::NotSolved`] if the residual is not reached, [`MathError::SolverNotFinite`] if r holds NaN or infinity, or
    /// the operator makes them.
    ///
    /// # Panics
    /// If r does not have the length of the operator's range.
    pub fn solve(&self, map: &dyn LinearMap, r: &[f64], kappa: f64) -> Result<Solved, MathError> {
        self.descend(map, r, kappa, Goal { energy: None, start: None })
    }

    /// [`Cg::solve`] as far as the steps go, whether the residual is reached or not; the residual is NaN where NaN or infinity were met.
    ///
    /// # Panics
    /// As [`Cg::solve`].
    #[must_use]
    pub fn nearest(&self, map: &dyn LinearMap, r: &[f64], kappa: f64) -> Solved {
        self.descended(map, r, kappa, Goal { energy: None, start: None }).0
    }

    /// [`Cg::descended`] where it ends.
    fn descend(
        &self,
        map: &dyn LinearMap,
        r: &[f64],
        kappa: f64,
        goal: Goal<'_>,
    ) -> Result<Solved, MathError> {
        match self.descended(map, r, kappa, goal) {
            (solved, true) => Ok(solved),
            (Solved { steps, residual, .. }, false) if !residual.is_finite() => {
                Err(MathError::SolverNotFinite { steps })
            }
            (Solved { steps, residual, .. }, false) => {
                Err(MathError::NotSolved { steps, residual, rtol: self.rtol })
            }
        }
    }

    /// CGLS until the residual is small or, with a preconditioner, the energy of the error is below a bound; and whether it came so far.
    ///
    /// To rounding the preconditioner saves no steps, and it raises what rounding leaves along directions that are not measured.
    fn descended(
        &self,
        map: &dyn LinearMap,
        r: &[f64],
        kappa: f64,
        Goal { energy, start }: Goal<'_>,
    ) -> (Solved, bool) {
        let is_preconditioned = energy.is_some() && kappa > 0.0;
        let precondition = |s: &[f64]| {
            let mapped = if is_preconditioned { map.approximate_inverse(s, kappa) } else { None };
            mapped.unwrap_or_else(|| s.to_vec())
        };
        let mut z = vec![0.0; map.domain().len()];
        let mut r = r.to_vec();
        if let Some(start) = start {
            let mut left = r.clone();
            add(&mut left, -1.0, &map.apply(start));
            // Only where it is better than nothing.
            if dot(&left, &left) + kappa * dot(start, start) < dot(&r, &r) {
                (r, z) = (left, start.to_vec());
            }
        }
        let mut s = map.adjoint(&r);
        add(&mut s, -kappa, &z);
        let mut p = precondition(&s);
        let first = norm(&s);
        let mut gamma = dot(&s, &p);
        let (mut steps, mut size, mut largest) = (0, first, 0.0f64);
        // What the last steps took off the squared error: a bound of it from below.
        let mut fallen: Vec<f64> = Vec::new();
        // NaN goes in, too.
        while size != 0.0 {
            if !size.is_finite() {
                return (Solved { x: z, steps, residual: f64::NAN }, false);
            }
            let rounding = 8.0 * f64::EPSILON * largest * norm(&r);
            let error = if kappa > 0.0 { kappa * norm(&z) } else { first };
            if size <= rounding.max(self.rtol * error) {
                break;
            }
            let delay = error_lag(steps);
            if steps >= delay
                && energy.is_some_and(|most| fallen[steps - delay..].iter().sum::<f64>() < most)
            {
                break;
            }
            if steps == self.max_steps {
                return (Solved { x: z, steps, residual: size / first }, false);
            }
            let q = map.apply(&p);
            let curvature = dot(&q, &q) + kappa * dot(&p, &p);
            if !curvature.is_finite() {
                return (Solved { x: z, steps, residual: f64::NAN }, false);
            }
            if curvature <= 0.0 {
                break;
            }
            largest = largest.max((dot(&q, &q) / dot(&p, &p)).sqrt());
            let step = gamma / curvature;
            add(&mut z, step, &p);
            add(&mut r, -step, &q);
            s = map.adjoint(&r);
            add(&mut s, -kappa, &z);
            let mapped = precondition(&s);
            fallen.push(step * gamma);
            let next = dot(&s, &mapped);
            let turn = next / gamma;
            for (p, s) in p.iter_mut().zip(&mapped) {
                *p = s + turn * *p;
            }
            gamma = next;
            size = norm(&s);
            steps += 1;
        }
        let residual = if first > 0.0 { size / first } else { 0.0 };
        (Solved { x: z, steps, residual }, true)
    }

    /// μ⋆ of one image by an operator that is a pair A, Aᵀ (arXiv 2606.17048, Theorem 1), for α > 0.
    ///
    /// ```text
    /// μ⋆ = x_t/α + argmin ‖A z − (y − A x_t/α)‖² + κ ‖z‖²     κ = σ_y² α²/β²
    /// ```
    ///
    /// For σ_y = 0 it is the limit: x_t/α with the nearest correction that the measurement asks for.
    ///
    /// # Units
    /// y and `sigma_y` ≥ 0 on the scale of the images.
    ///
    /// # Errors
    /// Those of [`Cg::solve`].
    ///
    /// # Panics
    /// If y or x_t does not have its shape.
    pub fn mu_star(
        &self,
        map: &dyn LinearMap,
        y: &[f64],
        sigma_y: f64,
        x_t: &[f64],
        level: &Level,
    ) -> Result<Solved, MathError> {
        corrected(map, y, x_t, level, |r| {
            let ratio = sigma_y * level.alpha / level.beta;
            self.solve(map, r, ratio * ratio)
        })
    }
}

/// Conjugate gradients that end where the error is a share of the noise Σ⋆ that the pivot has, as samplers need it.
///
/// The error e of μ⋆ has eᵀ Σ⋆⁻¹ e below share² n, as far as the last quarter of the steps tells: Σ⋆ = σ_y² (AᵀA + κ I)⁻¹, so that along
/// every direction it is the given share of the noise there, in the mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WithinNoise {
    /// The share.
    pub share: f64,
    /// Where it ends at the latest.
    pub cg: Cg,
}

impl WithinNoise {
    /// As samplers compute pivots: within a tenth of the noise, which adds a hundredth to the variance of the pivot's noise, nearly all of it
    /// where next to nothing was measured, as in the margin of a scene; or to a residual of 1e-10.
    pub const OF_SAMPLERS: Self = Self { share: 0.1, cg: Cg { rtol: 1e-10, max_steps: 20_000 } };

    /// [`Cg::mu_star`] to within the noise, for σ_y > 0.
    ///
    /// # Errors
    /// Those of [`Cg::solve`].
    ///
    /// # Panics
    /// As [`Cg::mu_star`].
    pub fn mu_star(
        &self,
        map: &dyn LinearMap,
        y: &[f64],
        sigma_y: f64,
        x_t: &[f64],
        level: &Level,
    ) -> Result<Solved, MathError> {
        self.mu_star_from(map, (y, sigma_y), x_t, level, None)
    }

    /// The same, from a guess of μ⋆ − x_t/α, which is used where it is better than 0.
    ///
    /// The correction at the last level times σ_t over the σ_t there is a good one: nearly all of a state's noise stays what it was. That
    /// the systems of all levels share the Krylov space of Aᵀy helps little: at high levels it is the state that takes the steps, which that
    /// space does not have.
    ///
    /// # Errors
    /// Those of [`Cg::solve`].
    ///
    /// # Panics
    /// As [`Cg::mu_star`], and if the guess has another length.
    pub fn mu_star_from(
        &self,
        map: &dyn LinearMap,
        (y, sigma_y): (&[f64], f64),
        x_t: &[f64],
        level: &Level,
        start: Option<&[f64]>,
    ) -> Result<Solved, MathError> {
        let bound = (self.share * sigma_y).powi(2) * map.domain().len() as f64;
        corrected(map, y, x_t, level, |r| {
            let ratio = sigma_y * level.alpha / level.beta;
            self.cg.descend(map, r, ratio * ratio, Goal { energy: Some(bound), start })
        })
    }
}

/// x_t/α with what a solver makes of y − A x_t/α.
pub(crate) fn corrected(
    map: &dyn LinearMap,
    y: &[f64],
    x_t: &[f64],
    level: &Level,
    solve: impl Fn(&[f64]) -> Result<Solved, MathError>,
) -> Result<Solved, MathError> {
    let state: Vec<f64> = x_t.iter().map(|v| v / level.alpha).collect();
    let seen = map.apply(&state);
    let r: Vec<f64> = y.iter().zip(seen).map(|(y, seen)| y - seen).collect();
    let mut solved = solve(&r)?;
    add(&mut solved.x, 1.0, &state);
    Ok(solved)
}

/// a ← a + factor · b.
pub(crate) fn add(a: &mut [f64], factor: f64, b: &[f64]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += factor * b;
    }
}

/// Functions of AᵀA by Lanczos' method, as a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lanczos {
    /// The change of the answer in the last steps, over its size, at which it ends.
    pub rtol: f64,
    /// The most steps, each of which costs A and Aᵀ once and keeps one vector of the range.
    pub max_steps: usize,
}

impl Default for Lanczos {
    fn default() -> Self {
        Self { rtol: 1e-3, max_steps: 200 }
    }
}

/// The Krylov space of AAᵀ at A v, from which functions f(AᵀA) v are read.
///
/// ```text
/// f(AᵀA) v = f(0) v + Aᵀ φ(AAᵀ) A v     φ(λ) = (f(λ) − f(0))/λ
/// ```
///
/// The null space of A is exact: of v only A v enters the approximation. Ritz vectors lie in the space of
/// measurements, which is commonly the smaller one.
#[derive(Debug, Clone)]
pub struct KrylovSpace {
    v: Vec<f64>,
    basis: Vec<Vec<f64>>,
    tridiagonal: Tridiagonal,
}

/// AAᵀ in the basis of a [`KrylovSpace`], which is all that the basis vectors' coefficients depend on, wherever the vectors are.
#[derive(Debug, Clone)]
pub struct Tridiagonal {
    diagonal: Vec<f64>,
    beside: Vec<f64>,
    /// ‖A v‖.
    length: f64,
    /// The most vectors.
    complete: usize,
    ritz: Ritz,
}

/// Eigenvalues of the tridiagonal matrix, and its eigenvectors.
#[derive(Debug, Clone)]
struct Ritz {
    values: Vec<f64>,
    vectors: Mat<f64>,
}

/// A function of an eigenvalue λ of AᵀA, of all Ritz values at once.
pub type SpectralFunction<'a> = &'a (dyn Fn(&[f64]) -> Vec<f64> + Sync);

/// Steps between two looks at the answer.
const LOOK: usize = 8;

impl Lanczos {
    /// Builds the space until the given functions of AᵀA at v stand still.
    ///
    /// # Errors
    /// [`MathError::NotSolved`] where they do not within the steps, with the change of the last ones; those of
    /// [`Tridiagonal::grow`].
    ///
    /// # Panics
    /// If v does not have the length of the operator's domain.
    pub fn space(
        &self,
        map: &dyn LinearMap,
        v: &[f64],
        functions: &[SpectralFunction<'_>],
    ) -> Result<KrylovSpace, MathError> {
        match self.grown(map, v, functions)? {
            (space, change) if change <= self.rtol => Ok(space),
            (space, residual) => {
                Err(MathError::NotSolved { steps: space.steps(), residual, rtol: self.rtol })
            }
        }
    }

    /// [`Lanczos::space`] as far as the steps go, and whether the functions stand still there.
    ///
    /// # Errors
    /// Those of [`Tridiagonal::grow`].
    ///
    /// # Panics
    /// As [`Lanczos::space`].
    pub fn nearest_space(
        &self,
        map: &dyn LinearMap,
        v: &[f64],
        functions: &[SpectralFunction<'_>],
    ) -> Result<(KrylovSpace, bool), MathError> {
        let (space, change) = self.grown(map, v, functions)?;
        Ok((space, change <= self.rtol))
    }

    /// The space and the change of the functions in its last steps, 0 where it is complete.
    fn grown(
        &self,
        map: &dyn LinearMap,
        v: &[f64],
        functions: &[SpectralFunction<'_>],
    ) -> Result<(KrylovSpace, f64), MathError> {
        let mut u = map.apply(v);
        let complete = complete(map.domain().len(), map.range().len());
        let tridiagonal = Tridiagonal::new(norm(&u), complete);
        let length = tridiagonal.length;
        let mut space = KrylovSpace { v: v.to_vec(), basis: Vec::new(), tridiagonal };
        if length == 0.0 {
            return Ok((space, 0.0));
        }
        u.iter_mut().for_each(|value| *value /= length);
        let mut last_look = Look::default();
        loop {
            let mut next = map.apply(&map.adjoint(&u));
            let along = dot(&next, &u);
            add(&mut next, -along, &u);
            let of = &mut space.tridiagonal;
            if let (Some(last), Some(beside)) = (space.basis.last(), of.beside.last()) {
                add(&mut next, -beside, last);
            }
            space.basis.push(std::mem::take(&mut u));
            let beside = norm(&next);
            if let Some(change) = of.grow(self, (along, beside), functions, &mut last_look)? {
                return Ok((space, change));
            }
            next.iter_mut().for_each(|value| *value /= beside);
            u = next;
        }
    }
}

/// Steps after which a space is complete: rounding makes it larger than it is, but not for ever.
#[must_use]
pub fn complete(domain: usize, range: usize) -> usize {
    4 * range.min(domain)
}

/// The coefficients of functions when they were last looked at.
#[derive(Debug, Clone, Default)]
pub struct Look(Vec<Vec<f64>>);

impl Tridiagonal {
    /// Of a space without vectors, for ‖A v‖, which has so many vectors at most.
    #[must_use]
    pub fn new(length: f64, complete: usize) -> Self {
        let ritz = Ritz { values: Vec::new(), vectors: Mat::new() };
        Self { diagonal: Vec::new(), beside: Vec::new(), length, complete, ritz }
    }

    /// ‖A v‖.
    #[must_use]
    pub fn length(&self) -> f64 {
        self.length
    }

    /// The number of vectors.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.diagonal.len()
    }

    /// One vector more: its entry on the diagonal, and the length of what AAᵀ makes of it across the space, by which the next vector is
    /// divided. Where the space ends, the change of the functions in the last steps, 0 where it is complete.
    ///
    /// # Errors
    /// [`MathError::SolverNotFinite`] where one of the two or ‖A v‖ is not finite, [`MathError::NotConverged`] from the eigenproblem.
    pub fn grow(
        &mut self,
        goal: &Lanczos,
        (along, beside): (f64, f64),
        functions: &[SpectralFunction<'_>],
        Look(before): &mut Look,
    ) -> Result<Option<f64>, MathError> {
        self.diagonal.push(along);
        let steps = self.diagonal.len();
        if ![self.length, along, beside].into_iter().all(f64::is_finite) {
            return Err(MathError::SolverNotFinite { steps });
        }
        let largest = self.diagonal.iter().copied().fold(0.0, f64::max);
        // Below rounding the space is complete.
        let is_complete = beside <= 64.0 * f64::EPSILON * largest || steps >= self.complete;
        if steps.is_multiple_of(LOOK) || is_complete || steps >= goal.max_steps {
            self.ritz = self.eigenvectors()?;
            let now: Vec<Vec<f64>> = functions.iter().map(|f| self.coefficients(f)).collect();
            let padded = before.iter().map(Vec::as_slice).chain(std::iter::repeat(&[][..]));
            let change = now.iter().zip(padded).map(|(now, before)| change(now, before));
            let change = change.fold(0.0, f64::max);
            if change <= goal.rtol || is_complete {
                return Ok(Some(if is_complete { 0.0 } else { change }));
            }
            if steps >= goal.max_steps {
                return Ok(Some(change));
            }
            *before = now;
        }
        self.beside.push(beside);
        Ok(None)
    }

    fn eigenvectors(&self) -> Result<Ritz, MathError> {
        let m = self.diagonal.len();
        let tridiagonal = Mat::from_fn(m, m, |i, j| match i.abs_diff(j) {
            0 => self.diagonal[i],
            1 => self.beside[i.min(j)],
            _ => 0.0,
        });
        let eigen = tridiagonal
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| MathError::NotConverged("eigenproblem of Lanczos' method"))?;
        // Rounding may leave a value of 0 below it.
        let values = eigen.S().column_vector().iter().map(|v| v.max(0.0)).collect();
        Ok(Ritz { values, vectors: eigen.U().to_owned() })
    }

    /// φ(T) e₁ ‖A v‖ in the basis, one coefficient for each vector.
    #[must_use]
    pub fn coefficients(&self, f: SpectralFunction<'_>) -> Vec<f64> {
        let m = self.ritz.values.len();
        let mut lambdas = self.ritz.values.clone();
        lambdas.push(0.0);
        let values = f(&lambdas);
        let at_zero = values[m];
        let weights: Vec<f64> = (0..m)
            .map(|k| {
                let lambda = self.ritz.values[k];
                let phi = if lambda > 0.0 { (values[k] - at_zero) / lambda } else { 0.0 };
                phi * self.ritz.vectors[(0, k)] * self.length
            })
            .collect();
        (0..m).map(|i| (0..m).map(|k| self.ritz.vectors[(i, k)] * weights[k]).sum()).collect()
    }
}

/// ‖now − before‖/‖now‖, what is missing before being 0.
fn change(now: &[f64], before: &[f64]) -> f64 {
    let padded = before.iter().copied().chain(std::iter::repeat(0.0));
    let gap: Vec<f64> = now.iter().zip(padded).map(|(a, b)| a - b).collect();
    let size = norm(now);
    if size > 0.0 { norm(&gap) / size } else { 0.0 }
}

impl KrylovSpace {
    /// The steps that it took.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.basis.len()
    }

    /// f(AᵀA) v for another or the same function.
    #[must_use]
    pub fn evaluate(&self, map: &dyn LinearMap, f: SpectralFunction<'_>) -> Vec<f64> {
        let at_zero = f(&[0.0])[0];
        let mut mapped: Vec<f64> = self.v.iter().map(|v| at_zero * v).collect();
        if let Some(first) = self.basis.first() {
            let mut inside = vec![0.0; first.len()];
            for (vector, weight) in self.basis.iter().zip(self.tridiagonal.coefficients(f)) {
                add(&mut inside, weight, vector);
            }
            add(&mut mapped, 1.0, &map.adjoint(&inside));
        }
        mapped
    }
}

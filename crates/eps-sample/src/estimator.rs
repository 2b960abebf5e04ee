//! What a solver walks along: the mean of x₀ given the state, under the prior or the posterior.

use std::cell::Cell;

use eps_math::Level;
use eps_model::{ComputeError, Denoiser, Measurement, Query, QueryNoise, level_fields};
use tch::Tensor;

/// E[x₀ | x_t] under some law of x₀: all that an ODE or SDE solver needs to know of it.
pub trait Estimator {
    /// The mean of x₀ given a state x_t = α x₀ + β ε.
    ///
    /// # Shapes
    /// x_t: `[B, C, H, W]` in f64 → `[B, C, H, W]` in f64
    ///
    /// # Errors
    /// [`ComputeError`] where there is none, as when memory runs out.
    fn estimate(&self, x_t: &Tensor, level: Level) -> Result<Tensor, ComputeError>;
}

/// The prior: the denoiser asked at x_t/α under isotropic noise.
#[derive(Debug)]
pub struct Prior<'a, D: ?Sized> {
    /// The denoiser.
    pub denoiser: &'a D,
}

// Derived, they would ask the same of D.
impl<D: ?Sized> Clone for Prior<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: ?Sized> Copy for Prior<'_, D> {}

impl<D: Denoiser + ?Sized> Estimator for Prior<'_, D> {
    fn estimate(&self, x_t: &Tensor, level: Level) -> Result<Tensor, ComputeError> {
        let mu = x_t / level.alpha;
        let level = level_fields(&[level], x_t.device());
        self.denoiser.denoise(&Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic })
    }
}

impl<D: Denoiser + ?Sized> Prior<'_, D> {
    /// The estimate with Jᵀ c, J = ∂E[x₀ | x_t]/∂x_t, for a cotangent c that may depend on the
    /// estimate: one forward and one backward pass.
    ///
    /// # Shapes
    /// x_t: `[B, C, H, W]` in f64 → `[B, C, H, W]` in f64 each
    ///
    /// # Errors
    /// Those of [`Denoiser::denoise_vjp`].
    pub fn estimate_vjp(
        &self,
        x_t: &Tensor,
        level: Level,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError> {
        let mu = x_t / level.alpha;
        let fields = level_fields(&[level], x_t.device());
        let query = Query { mu: &mu, level: &fields, noise: QueryNoise::Isotropic };
        let (d, gradient) = self.denoiser.denoise_vjp(&query, cotangent)?;
        Ok((d, gradient / level.alpha))
    }
}

/// Exact posterior sampling: the denoiser asked at the pivot under the noise Σ⋆.
///
/// ```text
/// E[x₀ | x_t, y] = D_Σ⋆(μ⋆)
/// ```
///
/// Reference: arXiv 2606.17048, Theorem 1. The pivot is computed anew at every call.
#[derive(Debug)]
pub struct Eps<'a, D: ?Sized> {
    /// The denoiser, trained for the question at the pivot or exact for any Σ.
    pub denoiser: &'a D,
    /// The measurement of every batch item.
    pub measurement: &'a Measurement,
}

impl<D: Denoiser + ?Sized> Estimator for Eps<'_, D> {
    fn estimate(&self, x_t: &Tensor, level: Level) -> Result<Tensor, ComputeError> {
        self.measurement.check_batch(x_t)?;
        let level = level_fields(&[level], x_t.device());
        let pivot = self.measurement.pivot(x_t, &level)?;
        let noise = QueryNoise::Anisotropic {
            measurement: self.measurement,
            sigma_star: &pivot.sigma_star,
        };
        self.denoiser.denoise(&Query { mu: &pivot.mu_star, level: &level, noise })
    }
}

/// A conditional denoiser: asked at the state itself, the measurement being a condition that the
/// network reads (Palette, Saharia et al. 2022, on EDM's backbone and solvers).
///
/// Deviations from the published method, all of them arXiv 2606.17048's: the network is EDM's with its
/// preconditioning, trained for x₀ and not for the noise; levels and solver are EDM's; the measurement is read in
/// the image's shape for every operator, and no known pixel is put back into a state, as measurements here are noisy.
#[derive(Debug)]
pub struct Palette<'a, D: ?Sized> {
    /// The denoiser, trained for the question at the state.
    pub denoiser: &'a D,
    /// The measurement of every batch item.
    pub measurement: &'a Measurement,
}

impl<D: Denoiser + ?Sized> Estimator for Palette<'_, D> {
    fn estimate(&self, x_t: &Tensor, level: Level) -> Result<Tensor, ComputeError> {
        self.measurement.check_batch(x_t)?;
        let mu = x_t / level.alpha;
        let level = level_fields(&[level], x_t.device());
        let noise = QueryNoise::Observed(self.measurement);
        self.denoiser.denoise(&Query { mu: &mu, level: &level, noise })
    }
}

/// EPS without training: a frozen prior asked at the pivot, as if its noise were that of the state.
///
/// ```text
/// E[x₀ | x_t, y] ≈ D_{σ_t² I}(μ⋆)
/// ```
///
/// Reference: arXiv 2606.17048, Table 3. Exact where AᵀA = 0 alone.
#[derive(Debug)]
pub struct ZeroShot<'a, D: ?Sized> {
    /// The prior's denoiser.
    pub denoiser: &'a D,
    /// The measurement of every batch item.
    pub measurement: &'a Measurement,
}

impl<D: Denoiser + ?Sized> Estimator for ZeroShot<'_, D> {
    fn estimate(&self, x_t: &Tensor, level: Level) -> Result<Tensor, ComputeError> {
        self.measurement.check_batch(x_t)?;
        let level = level_fields(&[level], x_t.device());
        let pivot = self.measurement.pivot(x_t, &level)?;
        let query = Query { mu: &pivot.mu_star, level: &level, noise: QueryNoise::Isotropic };
        self.denoiser.denoise(&query)
    }
}

/// A denoiser that counts its evaluations, the NFE of a sample, and its backward passes.
#[derive(Debug)]
pub struct CountNfe<D> {
    denoiser: D,
    calls: Cell<usize>,
    backward_passes: Cell<usize>,
}

impl<D> CountNfe<D> {
    /// Starts at zero.
    pub fn new(denoiser: D) -> Self {
        Self { denoiser, calls: Cell::new(0), backward_passes: Cell::new(0) }
    }

    /// The evaluations so far.
    pub fn nfe(&self) -> usize {
        self.calls.get()
    }

    /// The backward passes so far.
    pub fn backward_passes(&self) -> usize {
        self.backward_passes.get()
    }
}

impl<D: Denoiser> Denoiser for CountNfe<D> {
    fn denoise(&self, query: &Query<'_>) -> Result<Tensor, ComputeError> {
        self.calls.set(self.calls.get() + 1);
        self.denoiser.denoise(query)
    }

    fn denoise_vjp(
        &self,
        query: &Query<'_>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError> {
        self.calls.set(self.calls.get() + 1);
        self.backward_passes.set(self.backward_passes.get() + 1);
        self.denoiser.denoise_vjp(query, cotangent)
    }
}

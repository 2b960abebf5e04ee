//! The mathematics of exact posterior sampling, in f64, without I/O and without libtorch.
//!
//! The way of the data: an image x₀ is measured, y = A x₀ + η with η ~ N(0, σ_y² I)
//! ([`operator`]). A sampler walks a path x_t = α x₀ + β ε from noise to data ([`Interpolant`],
//! [`Schedule`]), by the steps of a [`Solver`]. At every level the state and the measurement are joined into one Gaussian
//! question about x₀, the pivot (μ⋆, Σ⋆) ([`pivot`]), a denoiser answers it
//! (for a Gaussian or a mixture in closed form: [`prior`]), and the answer is the posterior mean
//! E[x₀ | x_t, y], which gives the posterior score and velocity.
//!
//! Everything that depends on A is a function of AᵀA, so a scalar formula in its eigenvalues λ:
//! written once, generic over [`Real`], for numbers here and for tensors on a device elsewhere. The
//! symbols are those of `docs/notation.md`.
//!
//! ```
//! use eps_math::operator::{LinearMap, Mask};
//! use eps_math::prior::{Gaussian, Mixture};
//! use eps_math::rng::Stream;
//! use eps_math::{Level, Shape, pivot};
//! use eps_math::faer::Mat;
//!
//! // Images of two pixels near (1, 1) or near (-1, -1); the first pixel is measured.
//! let near = |c: f64| Gaussian::new(vec![c, c], Mat::from_fn(2, 2, |i, j| 0.1 * f64::from(i == j)));
//! let prior = Mixture::new(&[0.5, 0.5], vec![near(1.0)?, near(-1.0)?])?;
//! let a = Mask::new(Shape::new(1, 1, 2)?, vec![true, false])?;
//! let (y, sigma_y) = ([0.9, 0.0], 0.05);
//!
//! // The question at noise level 80, where the state is noise, and its answer.
//! let level = Level::edm(80.0);
//! let x_t: Vec<f64> = Stream::new(0, 0, 0, 0).normals(2).iter().map(|z| 80.0 * z).collect();
//! let mu_star = pivot::mu_star(&a, &y, sigma_y, &x_t, &level);
//! let sigma_star = pivot::sigma_star(&a, sigma_y, &level);
//! let mean = prior.smoothed(sigma_star.as_ref())?.denoise(&mu_star);
//!
//! // The measured pixel is known, and tells which of the two kinds of images this is.
//! assert!((mean[0] - 0.9).abs() < 0.01 && (mean[1] - 1.0).abs() < 0.01);
//! # Ok::<(), eps_math::MathError>(())
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

mod cholesky;
mod error;
mod exact_pivot;
mod interpolant;
pub mod lmmse;
mod measured;
mod narrow;
pub mod noise;
pub mod noise_estimate;
pub mod operator;
mod operator_law;
pub mod parameterisation;
pub mod pivot;
mod precision;
pub mod precondition;
pub mod prior;
mod real;
pub mod rng;
mod schedule;
mod shape;
pub mod solve;
mod solver;
mod sparse_gram;
mod task;
pub mod timesteps;

pub use error::{MathError, check_positive};
pub use exact_pivot::{Route, exact_pivot, pivot_may_iterate};
/// The linear algebra whose matrices this crate takes.
pub use faer;
pub use interpolant::{Interpolant, Level, Rate};
pub use lmmse::LinearMmse;
pub use measured::{LEAST_SIGMA_Y, SIGMA_Y, measured};
pub use narrow::{nearest_f32, whole};
pub use noise::Noise;
pub use operator_law::{LogUniform, OperatorFamily, OperatorLaw, SigmaYLaw};
pub use precision::{Precision, UnknownPrecision};
pub use precondition::{Precondition, PreconditionMode};
pub use real::Real;
pub use schedule::Schedule;
pub use shape::{Shape, ShapeError};
pub use solver::{Churn, Solver, check_share, multistep_weights};
pub use task::{Draw, Task};

//! Priors in closed form: Gaussians and their mixtures, the oracle that everything is checked by.
//!
//! Adding Gaussian noise, scaling, measuring and conditioning on a measurement all turn a mixture
//! into a mixture. So the denoiser D_Σ(μ) is exact for any Σ ([`Mixture::smoothed`]), and so is the
//! posterior p(x₀ | y) ([`Mixture::posterior`]), from which the law of x_t given y follows
//! ([`Mixture::diffused`]) without any pivot: the two sides of the paper's Theorem 1.
//!
//! Vectors are flat images in the order of [`Shape`](crate::Shape), dense covariances are n×n: for
//! up to some hundred pixels.

mod gaussian;
mod mixture;

pub use gaussian::Gaussian;
pub use mixture::{Mixture, Smoothed};

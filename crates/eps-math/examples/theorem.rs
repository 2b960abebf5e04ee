//! Theorem 1 of arXiv 2606.17048 on two pixels: the posterior mean is a denoiser's answer at the pivot.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use eps_math::operator::Dense;
use eps_math::pivot::{mu_star, sigma_star};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::{Level, MathError, Shape};
use faer::Mat;

fn main() -> Result<(), MathError> {
    // A prior of two pixels: dark or bright, each with deviations of 0.3.
    let around = |mean: f64| {
        Gaussian::new(vec![mean; 2], Mat::from_fn(2, 2, |i, j| if i == j { 0.09 } else { 0.0 }))
    };
    let prior = Mixture::new(&[0.5, 0.5], vec![around(-0.6)?, around(0.6)?])?;

    // Their mean was measured, with noise of 0.1.
    let operator = Dense::new(Shape::new(1, 1, 2)?, 1, &[0.5, 0.5])?;
    let (y, sigma_y) = ([0.4], 0.1);

    // A state x_t = x₀ + σ_t ε of a sampler at σ_t = 2.
    let (x_t, level) = ([1.3, -0.7], Level::edm(2.0));

    let pivot = mu_star(&operator, &y, sigma_y, &x_t, &level);
    let noise = sigma_star(&operator, sigma_y, &level);
    let by_the_pivot = prior.denoise(&pivot, noise.as_ref())?;

    // The same without the theorem: the exact posterior of y, seen through the state's noise.
    let posterior = prior.posterior(&operator, &y, sigma_y)?;
    let directly = posterior.smoothed_isotropic(level.sigma())?.denoise(&x_t);

    println!("E[x₀ | x_t, y] at the pivot {by_the_pivot:?}, directly {directly:?}");
    for (a, b) in by_the_pivot.iter().zip(&directly) {
        // Two routes of a dozen operations each, on numbers of order 1.
        assert!((a - b).abs() < 64.0 * f64::EPSILON, "{a} and {b}");
    }
    Ok(())
}

#[test]
fn both_routes_agree() {
    main().unwrap();
}

//! Theorem 1 and Propositions 2 and 3 of arXiv 2606.17048 on mixtures, where both sides are exact.

use eps_math::operator::{LinearMap, Operator, Spectral};
use eps_math::pivot::{mu_star, sigma_star, velocity_factors};
use eps_math::rng::Stream;
use eps_math::{Interpolant, Level};
use faer::{Mat, Side};

use crate::registry::{assert_moments, distance, measure, mixture, norm, operators};

fn interpolants() -> [Interpolant; 5] {
    [
        Interpolant::Edm,
        Interpolant::vp_linear(),
        Interpolant::vp_cosine(),
        Interpolant::RectifiedFlow,
        Interpolant::Trigonometric,
    ]
}

/// From the first moments of a path to the last ones, where α = 1e-4.
const SIGMAS: [f64; 7] = [1e-6, 1e-3, 0.1, 1.0, 12.0, 80.0, 1e4];

/// The posterior score from the answer of the denoiser at the pivot (Theorem 1): (α D − x_t)/β².
fn score(x_t: f64, denoised: f64, level: &Level) -> f64 {
    (level.alpha * denoised - x_t) / (level.beta * level.beta)
}

#[test]
fn theorem_1_and_proposition_2() {
    let mut cases = 0;
    for (name, a) in operators() {
        let n = a.domain().len();
        let prior = mixture(n);
        for (k, sigma_y) in [1e-3, 0.05, 10.0].into_iter().enumerate() {
            let x_0 = prior.sample(&Stream::new(1, k as u64, 0, 0));
            let y = measure(&a, &x_0, sigma_y, &Stream::new(1, k as u64, 1, 0));
            let posterior = prior.posterior(&a, &y, sigma_y).unwrap();
            for path in interpolants() {
                for sigma in SIGMAS {
                    let t = path.time_of_sigma(sigma);
                    if t > path.end() {
                        continue;
                    }
                    let (level, rate) = (path.level(t), path.rate(t));
                    let Level { alpha, beta } = level;
                    let noise = Stream::new(1, k as u64, 2, 0).normals(n);
                    let x_t: Vec<f64> =
                        x_0.iter().zip(noise).map(|(x, z)| alpha * x + beta * z).collect();

                    let sigma_star = sigma_star(&a, sigma_y, &level);
                    let mu_star = mu_star(&a, &y, sigma_y, &x_t, &level);
                    let d = prior.denoise(&mu_star, sigma_star.as_ref()).unwrap();
                    let ours: Vec<f64> =
                        x_t.iter().zip(&d).map(|(x, d)| score(*x, *d, &level)).collect();
                    // The other side knows nothing of the pivot: p(x₀ | y), diffused, differentiated.
                    let truth = posterior.diffused(&level).unwrap().score(&x_t);
                    let scale = (alpha * norm(&d) + norm(&x_t)) / (beta * beta);
                    let gap = distance(&ours, &truth);
                    assert!(
                        gap <= 1e-10 * scale,
                        "{name}, {path:?}, σ = {sigma}, σ_y = {sigma_y}: {:e}",
                        gap / scale
                    );

                    // The probability flow of the true score: dx/dt = (α̇/α) x + (β² α̇/α − β β̇) ∇ ln p.
                    let growth = rate.alpha / alpha;
                    let factor = beta * beta * growth - beta * rate.beta;
                    let flow: Vec<f64> =
                        x_t.iter().zip(&truth).map(|(x, s)| growth * x + factor * s).collect();
                    let (of_state, of_mean) = velocity_factors(&level, &rate);
                    let velocity: Vec<f64> =
                        x_t.iter().zip(&d).map(|(x, d)| of_state * x + of_mean * d).collect();
                    // The score's tolerance through the factor, and the rounding of the two terms
                    // with α̇/α x, which cancel where α is small.
                    let bound = 1e-10 * factor.abs() * scale
                        + 8.0 * f64::EPSILON * growth.abs() * norm(&x_t);
                    assert!(distance(&velocity, &flow) <= bound, "{name}, {path:?}, σ = {sigma}");
                    cases += 1;
                }
            }
        }
    }
    // Every path but the linear one reaches all levels; that one ends at σ = 152.
    assert_eq!(cases, operators().len() * 3 * (5 * SIGMAS.len() - 1));
}

#[test]
fn proposition_3_the_pivot_is_the_image_plus_noise_of_covariance_sigma_star() {
    let level = Interpolant::RectifiedFlow.level(0.7);
    for (name, a) in operators().into_iter().filter(|(_, a)| a.domain().len() <= 16) {
        let x_0 = mixture(a.domain().len()).sample(&Stream::named(3, "image"));
        let pivots: Vec<Vec<f64>> = (0..4000)
            .map(|i| {
                let noise = Stream::new(3, i, 0, 0).normals(x_0.len());
                let x_t: Vec<f64> =
                    x_0.iter().zip(noise).map(|(x, z)| level.alpha * x + level.beta * z).collect();
                let y = measure(&a, &x_0, 0.3, &Stream::new(3, i, 1, 0));
                mu_star(&a, &y, 0.3, &x_t, &level)
            })
            .collect();
        assert_moments(&pivots, &x_0, &sigma_star(&a, 0.3, &level), &name);
    }
}

#[test]
fn sigma_star_is_the_inverse_of_the_joint_precision() {
    for (name, a) in operators() {
        for (level, sigma_y) in [(Level::edm(80.0), 0.05), (Level { alpha: 0.6, beta: 0.8 }, 10.0)]
        {
            let n = a.domain().len();
            let matrix = eps_math::operator::to_matrix(&a);
            let precision = matrix.transpose() * &matrix * faer::Scale(f64::powi(sigma_y, -2))
                + Mat::<f64>::identity(n, n) * faer::Scale(level.sigma().powi(-2));
            let sigma_star = sigma_star(&a, sigma_y, &level);
            let spread = sigma_star.self_adjoint_eigenvalues(Side::Lower).unwrap();
            assert!(spread[0] > 0.0, "{name}: {}", spread[0]);
            assert!(sigma_star == sigma_star.transpose(), "{name}: symmetric to the last bit");
            let rest = (&sigma_star * &precision - Mat::<f64>::identity(n, n)).norm_max();
            // Rounding of either factor times the norm of the other.
            let scale = sigma_star.norm_l2() * precision.norm_l2();
            assert!(rest <= 16.0 * f64::EPSILON * scale, "{name}: {rest:e} of {scale:e}");
        }
    }
}

/// P x with P the projector on the null space of A (`false`) or its complement (`true`).
fn project(a: &Operator, x: &[f64], measured: bool) -> Vec<f64> {
    a.spectral_map(x, &|lambda| f64::from((lambda > 0.0) == measured))
}

#[test]
fn limits_of_the_measurement_noise() {
    let level = Level { alpha: 0.6, beta: 0.8 };
    for (name, a) in operators() {
        let n = a.domain().len();
        let x_t = Stream::named(4, "state").normals(n);
        let y = a.apply(&Stream::named(4, "image").normals(n));
        let scaled: Vec<f64> = x_t.iter().map(|x| x / level.alpha).collect();
        let positive = || a.eigenvalues().into_iter().filter(|v| *v > 0.0);
        let (top, bottom) = (positive().fold(0.0, f64::max), positive().fold(f64::MAX, f64::min));
        let ratio = level.sigma() * level.sigma();
        let rounding = 64.0 * f64::EPSILON * (norm(&scaled) + norm(&a.pseudo_inverse(&y)));

        // A measurement that says nothing: μ⋆ → x_t/α, at the rate σ² λ/σ_y².
        let sigma_y = 1e6;
        let mu = mu_star(&a, &y, sigma_y, &x_t, &level);
        let rate = ratio / sigma_y.powi(2);
        let bound = rate * (top * norm(&scaled) + norm(&a.adjoint(&y)));
        assert!(distance(&mu, &scaled) <= bound + rounding, "{name}: σ_y → ∞");

        // A measurement that says all it can: μ⋆ → A†y where A sees, at the rate σ_y²/(σ² λ).
        let sigma_y = 1e-6;
        let mu = mu_star(&a, &y, sigma_y, &x_t, &level);
        let seen = project(&a, &mu, true);
        let exact = a.pseudo_inverse(&y);
        let bound = sigma_y.powi(2) / (ratio * bottom) * (norm(&scaled) + norm(&exact));
        // A†y divides the rounding of Aᵀy by the smallest eigenvalue.
        let rounding = rounding * (1.0 + top / bottom);
        assert!(distance(&seen, &exact) <= bound + rounding, "{name}: σ_y → 0");
    }
}

#[test]
fn unmeasured_coordinates_are_those_of_the_state() {
    for (name, a) in operators() {
        let n = a.domain().len();
        let x_t: Vec<f64> = Stream::named(5, "state").normals(n).iter().map(|z| 80.0 * z).collect();
        let y = Stream::named(5, "measurement").normals(a.range().len());
        let other: Vec<f64> = y.iter().map(|v| 1.0 - 3.0 * v).collect();
        let level = Level { alpha: 0.99, beta: 79.2 };
        let scaled: Vec<f64> = x_t.iter().map(|x| x / level.alpha).collect();
        let mu = mu_star(&a, &y, 1e-3, &x_t, &level);
        let (unseen, expected) = (project(&a, &mu, false), project(&a, &scaled, false));
        // Three roundings of the gain and those of the basis transforms.
        assert!(distance(&unseen, &expected) <= 64.0 * f64::EPSILON * norm(&mu), "{name}");
        if let Operator::Mask(mask) = &a {
            let moved = mu_star(&a, &other, 1e-3, &x_t, &level);
            for (i, seen) in mask.observed().iter().cycle().take(n).enumerate() {
                assert_eq!(mu[i] != moved[i], *seen, "{name}: only measured pixels follow y");
            }
        }
    }
}

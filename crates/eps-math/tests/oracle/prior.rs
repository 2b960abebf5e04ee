//! The closed forms of Gaussians and mixtures against quadrature, differences and samples.

use eps_math::operator::{LinearMap, Mask, Operator};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::rng::Stream;
use eps_math::{Level, MathError, Shape};
use faer::Mat;

use crate::registry::{assert_moments, distance, measure, mixture, norm, operators};

#[test]
fn one_dimensional_answers_are_the_integrals() {
    let component = |mean, variance| Gaussian::new(vec![mean], Mat::full(1, 1, variance)).unwrap();
    let prior =
        Mixture::new(&[0.3, 0.7], vec![component(-0.8, 0.04), component(0.5, 0.25)]).unwrap();
    let normal = |x: f64, variance: f64| {
        (-0.5 * x * x / variance).exp() / (std::f64::consts::TAU * variance).sqrt()
    };
    for (mu, variance) in [(0.1, 0.09), (-2.0, 1.0), (3.0, 25.0)] {
        // The trapezoidal rule converges faster than any power on a smooth integrand that vanishes
        // at the ends; 0.01 resolves the narrowest factor, of standard deviation 0.17.
        let (mut mass, mut first) = (0.0, 0.0);
        for i in -1000..=1000 {
            let x = 0.01 * f64::from(i);
            let density = 0.3 * normal(x + 0.8, 0.04) + 0.7 * normal(x - 0.5, 0.25);
            let joint = 0.01 * density * normal(mu - x, variance);
            mass += joint;
            first += x * joint;
        }
        let smoothed = prior.smoothed_isotropic(f64::sqrt(variance)).unwrap();
        assert!((smoothed.denoise(&[mu])[0] - first / mass).abs() < 1e-13);
        assert!((smoothed.log_density(&[mu]) - mass.ln()).abs() < 1e-12);
        // y = x₀ + η is the same question.
        let shape = Shape::new(1, 1, 1).unwrap();
        let identity = Mask::new(shape, vec![true]).unwrap();
        let posterior = prior.posterior(&identity, &[mu], f64::sqrt(variance)).unwrap();
        assert!((posterior.mean()[0] - first / mass).abs() < 1e-13);
        let evidence = prior.measured(&identity, f64::sqrt(variance)).unwrap().log_density(&[mu]);
        assert!((evidence - mass.ln()).abs() < 1e-12);
    }
}

#[test]
fn scores_are_gradients() {
    let prior = mixture(6);
    let sigma = Mat::from_fn(6, 6, |i, j| if i == j { 0.2 + 0.1 * i as f64 } else { 0.05 });
    let smoothed = prior.smoothed(sigma.as_ref()).unwrap();
    let law = prior.diffused(&Level { alpha: 0.7, beta: 0.6 }).unwrap();
    let x = law.sample(&Stream::named(0, "place"));
    // Central differences of step 1e-4: 1e-8/6 of third derivatives below 100, and ε/1e-4.
    let h = 1e-4;
    let gradient = |f: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
        (0..6)
            .map(|i| {
                let at = |step: f64| {
                    let mut moved = x.clone();
                    moved[i] += step;
                    f(&moved)
                };
                (at(h) - at(-h)) / (2.0 * h)
            })
            .collect()
    };
    assert!(distance(&law.score(&x), &gradient(&|x| law.log_density(x))) < 1e-6);
    // Tweedie: D_Σ(μ) = μ + Σ ∇ ln p^Σ(μ).
    let slope = gradient(&|x| smoothed.log_density(x));
    let tweedie: Vec<f64> =
        (0..6).map(|i| x[i] + (0..6).map(|j| sigma[(i, j)] * slope[j]).sum::<f64>()).collect();
    assert!(distance(&smoothed.denoise(&x), &tweedie) < 1e-6);
}

#[test]
fn samples_have_the_moments() {
    let prior = mixture(4);
    let draw = |law: &Mixture| -> Vec<Vec<f64>> {
        (0..20_000).map(|i| law.sample(&Stream::new(7, i, 0, 0))).collect()
    };
    assert_moments(&draw(&prior), &prior.mean(), &prior.covariance(), "prior");
    let shape = Shape::new(1, 2, 2).unwrap();
    let mask = Operator::Mask(Mask::new(shape, vec![true, false, true, false]).unwrap());
    let y = measure(&mask, &[0.3, 0.0, -0.4, 0.0], 0.5, &Stream::new(7, 0, 1, 0));
    let posterior = prior.posterior(&mask, &y, 0.5).unwrap();
    assert_moments(&draw(&posterior), &posterior.mean(), &posterior.covariance(), "posterior");
}

/// p(x₀) p(y | x₀) = p(y) p(x₀ | y) at any x₀: Bayes' rule for every operator.
#[test]
fn posteriors_obey_bayes() {
    for (name, a) in operators() {
        let prior = mixture(a.domain().len());
        for sigma_y in [0.05, 1.0] {
            let x_0 = prior.sample(&Stream::named(8, "image"));
            let y = measure(&a, &x_0, sigma_y, &Stream::named(8, "noise"));
            let residual = distance(&y, &a.apply(&x_0));
            let m = y.len() as f64;
            let likelihood = -0.5 * (residual / sigma_y).powi(2)
                - 0.5 * m * (std::f64::consts::TAU * sigma_y * sigma_y).ln();
            let evidence = prior.measured(&a, sigma_y).unwrap().log_density(&y);
            let posterior = prior.posterior(&a, &y, sigma_y).unwrap().log_density(&x_0);
            let gap = prior.log_density(&x_0) + likelihood - evidence - posterior;
            // The covariances' condition numbers reach 1e4, the terms some hundreds.
            assert!(gap.abs() < 1e-8, "{name}, σ_y = {sigma_y}: {gap:e}");
        }
    }
}

#[test]
fn answers_do_not_depend_on_company() {
    let prior = mixture(16);
    let smoothed = prior.smoothed_isotropic(0.3).unwrap();
    let mu = prior.sample(&Stream::named(9, "alone"));
    let alone = smoothed.denoise(&mu);
    for i in 0..10 {
        let _ = smoothed.denoise(&prior.sample(&Stream::new(9, i, 0, 0)));
        assert_eq!(smoothed.denoise(&mu.clone()), alone);
    }
}

/// Jᵀc against central differences of c · D.
#[test]
fn the_vjp_is_the_derivative() {
    let prior = mixture(6);
    let c = Stream::named(1, "cotangent").normals(6);
    let mu = prior.sample(&Stream::named(2, "mu"));
    let skewed = Mat::from_fn(6, 6, |i, j| if i == j { 0.2 + 0.1 * i as f64 } else { 0.03 });
    for smoothed in
        [prior.smoothed_isotropic(0.5).unwrap(), prior.smoothed(skewed.as_ref()).unwrap()]
    {
        let vjp = smoothed.denoise_vjp(&mu, &c);
        let along =
            |mu: &[f64]| -> f64 { smoothed.denoise(mu).iter().zip(&c).map(|(d, c)| d * c).sum() };
        for i in 0..6 {
            // Error h² of the third derivative, of order 1/σ³ = 8, and ε/h of rounding.
            let h = 1e-5;
            let moved = |by: f64| {
                let mut moved = mu.clone();
                moved[i] += by;
                along(&moved)
            };
            let slope = (moved(h) - moved(-h)) / (2.0 * h);
            assert!((vjp[i] - slope).abs() < 1e-8, "{i}: {} {slope}", vjp[i]);
        }
    }
}

#[test]
fn far_away_answers_stay_finite() {
    // 1e8 standard deviations out, every density underflows; their ratios do not.
    let prior = mixture(5);
    let far = vec![1e8; 5];
    let smoothed = prior.smoothed_isotropic(1e-3).unwrap();
    assert!(norm(&smoothed.denoise(&far)).is_finite());
    assert!(prior.score(&far).iter().all(|v| v.is_finite()));
}

#[test]
fn bad_priors_are_named() {
    let eye = |n: usize| Mat::<f64>::identity(n, n);
    let error = |result: Result<Gaussian, MathError>| result.unwrap_err();
    assert!(matches!(error(Gaussian::new(vec![], eye(0))), MathError::Empty(_)));
    assert!(matches!(error(Gaussian::new(vec![0.0; 3], eye(2))), MathError::Length { .. }));
    assert!(matches!(error(Gaussian::new(vec![f64::NAN], eye(1))), MathError::NotFinite { .. }));
    let infinite = Mat::full(1, 1, f64::INFINITY);
    assert!(matches!(error(Gaussian::new(vec![0.0], infinite)), MathError::NotFinite { .. }));
    let mut skew = eye(2);
    skew[(1, 0)] = 0.5;
    let message = error(Gaussian::new(vec![0.0; 2], skew)).to_string();
    assert!(message.starts_with("the covariance is not symmetric: its entries at [1, 0]"));
    let negative = Mat::full(1, 1, -1.0);
    assert!(matches!(error(Gaussian::new(vec![0.0], negative)), MathError::NotPositiveDefinite(_)));

    let one = || Gaussian::new(vec![0.0; 2], eye(2)).unwrap();
    assert!(matches!(Mixture::new(&[], vec![]), Err(MathError::Empty(_))));
    assert!(matches!(Mixture::new(&[1.0], vec![one(), one()]), Err(MathError::Length { .. })));
    assert!(matches!(Mixture::new(&[0.0], vec![one()]), Err(MathError::OutOfRange { .. })));
    let other = Gaussian::new(vec![0.0], eye(1)).unwrap();
    assert!(matches!(Mixture::new(&[1.0, 1.0], vec![one(), other]), Err(MathError::Length { .. })));

    let prior = Mixture::from(one());
    let mask = Mask::new(Shape::new(1, 1, 2).unwrap(), vec![true, false]).unwrap();
    for sigma_y in [0.0, -1.0, f64::NAN] {
        let result = prior.posterior(&mask, &[0.0, 0.0], sigma_y);
        assert!(matches!(result, Err(MathError::OutOfRange { .. })));
    }
    assert!(matches!(prior.posterior(&mask, &[0.0], 1.0), Err(MathError::Length { .. })));
    assert!(matches!(prior.smoothed(eye(3).as_ref()), Err(MathError::Length { .. })));
    assert_eq!(mask.domain().len(), 2);
}

#[test]
fn responsibilities_average_to_the_weights_of_the_posterior() {
    let count = 1000;
    for (name, operator) in operators() {
        let prior = mixture(operator.domain().len());
        let x_0 = prior.sample(&Stream::named(0, "image"));
        let y = measure(&operator, &x_0, 0.3, &Stream::named(0, "noise"));
        let posterior = prior.posterior(&operator, &y, 0.3).unwrap();
        let mut mean = vec![0.0; prior.components().len()];
        for sample in 0..count {
            let x = posterior.sample(&Stream::new(9, 0, sample, 0));
            let given = prior.responsibilities(&x);
            assert!((given.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            mean.iter_mut().zip(given).for_each(|(m, r)| *m += r / count as f64);
        }
        for (found, weight) in mean.iter().zip(posterior.weights()) {
            // A probability has a variance of at most 1/4: five standard errors.
            assert!((found - weight).abs() < 2.5 / f64::sqrt(count as f64), "{name}");
        }
    }
}

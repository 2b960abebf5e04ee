//! The linear estimate against the dense formula and against the Gaussian posterior.

use eps_math::lmmse::{LinearMmse, sample_moments};
use eps_math::operator::{LinearMap, to_matrix};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::rng::Stream;
use eps_math::{Draw, MathError, Shape, Task};
use faer::linalg::solvers::Solve;
use faer::{ColRef, Mat};

use crate::registry::{distance, measure, mixture, norm, operators};

#[test]
fn estimates_are_the_dense_formula_and_the_posterior_mean() {
    for (name, a) in operators() {
        let prior = mixture(a.domain().len());
        let (mean, covariance) = (prior.mean(), prior.covariance());
        for sigma_y in [1e-3, 0.05, 10.0] {
            let x_0 = prior.sample(&Stream::named(10, "image"));
            let y = measure(&a, &x_0, sigma_y, &Stream::named(10, "noise"));
            let estimate = LinearMmse::new(&mean, &covariance, &a, sigma_y).unwrap().estimate(&y);

            let matrix = to_matrix(&a);
            let m = matrix.nrows();
            let system = &matrix * &covariance * matrix.transpose()
                + Mat::<f64>::identity(m, m) * faer::Scale(sigma_y * sigma_y);
            let residual: Vec<f64> = y.iter().zip(a.apply(&mean)).map(|(y, p)| y - p).collect();
            let weights = system.partial_piv_lu().solve(ColRef::from_slice(&residual));
            let correction = &covariance * matrix.transpose() * &weights;
            let dense: Vec<f64> = mean.iter().zip(correction.iter()).map(|(m, d)| m + d).collect();
            // A backward-stable solution is that of a system S + δS, ‖δS‖ ≈ ε ‖S‖: to first order
            // K δS S⁻¹ (y − A m) away, with the gain K = C Aᵀ S⁻¹.
            let gain = system.partial_piv_lu().solve(&matrix * &covariance);
            let scale = system.norm_l2() * gain.norm_l2() * weights.norm_l2() + norm(&dense);
            let bound = 16.0 * f64::EPSILON * scale;
            assert!(distance(&estimate, &dense) <= bound, "{name}, σ_y = {sigma_y}");

            let gaussian = Gaussian::new(mean.clone(), covariance.clone()).unwrap();
            let posterior = Mixture::from(gaussian).posterior(&a, &y, sigma_y).unwrap();
            assert!(distance(&estimate, &posterior.mean()) <= bound, "{name}, σ_y = {sigma_y}");
        }
    }
}

#[test]
fn singular_covariances_are_welcome() {
    // All images are multiples of one: what any operator sees of it fixes the multiple.
    let shape = Shape::new(1, 8, 8).unwrap();
    let image = Stream::named(11, "image").normals(64);
    let covariance = Mat::from_fn(64, 64, |i, j| image[i] * image[j]);
    let task = Task::RandomInpainting.draw(Draw::Test, shape, &Stream::new(0, 0, 0, 0)).unwrap();
    let estimate = LinearMmse::new(&vec![0.0; 64], &covariance, &task, 1e-4)
        .unwrap()
        .estimate(&task.apply(&image));
    // The shrinkage is σ_y²/(σ_y² + ‖A x‖²), about 1e-9.
    assert!(distance(&estimate, &image) <= 1e-7 * norm(&image));

    let negative = covariance * faer::Scale(-1.0);
    let error = LinearMmse::new(&vec![0.0; 64], &negative, &task, 1e-4).unwrap_err();
    assert!(matches!(error, MathError::NotPositiveDefinite(_)));
}

#[test]
fn moments_of_a_set_are_those_of_two_passes() {
    let n = 5;
    let images: Vec<Vec<f64>> = (0..1300)
        .map(|i| Stream::new(12, i, 0, 0).normals(n).iter().map(|z| 100.0 + z).collect())
        .collect();
    let (mean, covariance) = sample_moments(n, images.iter().cloned()).unwrap();
    let count = images.len() as f64;
    for i in 0..n {
        let expected = images.iter().map(|x| x[i]).sum::<f64>() / count;
        assert!((mean[i] - expected).abs() < 1e-11);
        for j in 0..n {
            let product = |x: &Vec<f64>| (x[i] - mean[i]) * (x[j] - mean[j]);
            let expected = images.iter().map(product).sum::<f64>() / count;
            // 1,300 terms of order 1 about an origin within a few deviations.
            assert!((covariance[(i, j)] - expected).abs() < 1e-12);
        }
    }
    assert!(matches!(sample_moments(2, Vec::new()), Err(MathError::Empty(_))));
    assert!(matches!(sample_moments(2, [vec![0.0]]), Err(MathError::Length { .. })));
}

//! Every solver against the exact posterior of Gaussian and mixture priors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use eps_math::operator::LinearMap as _;
use eps_math::prior::{Gaussian, Mixture};
use eps_math::rng::Stream;
use eps_math::{Interpolant, Level, Schedule};
use eps_model::{Denoiser, Oracle, Query, QueryNoise, batch, level_fields};
use eps_sample::{
    Churn, CountNfe, Eps, Estimator, NoiseKeys, Palette, Prior, Sample as _, Solver, ZeroShot,
};
use faer::Mat;
use tch::Tensor;

mod common;

use common::{CPU, measure, measurement, operators, shape};

/// A Gaussian with a smooth covariance of standard deviation 0.5, its mean away from 0.
fn gaussian(offset: f64) -> Gaussian {
    let place = |i: usize| ((i / 4) as f64, (i % 4) as f64);
    let covariance = Mat::from_fn(16, 16, |i, j| {
        let (a, b) = (place(i), place(j));
        let distance = (a.0 - b.0).hypot(a.1 - b.1);
        0.25 * (-0.5 * distance).exp()
    });
    let mean = (0..16).map(|i| offset + 0.02 * i as f64).collect();
    Gaussian::new(mean, covariance).unwrap()
}

fn vectors(x: &Tensor) -> Vec<Vec<f64>> {
    let n = (x.numel() as i64 / x.size()[0]) as usize;
    let flat: Vec<f64> = Vec::try_from(x.flatten(0, -1)).unwrap();
    flat.chunks_exact(n).map(<[f64]>::to_vec).collect()
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).norm().double_value(&[])
}

/// The flow of a Gaussian is smooth: halving the step halves the change that the next halving makes
/// for a first-order solver, and quarters it for a second-order one.
#[test]
fn solvers_have_their_order() {
    let prior = Mixture::from(gaussian(0.1));
    let oracle = Oracle::new(&prior);
    let (_, operator) = &operators()[0];
    let sigma_y = 0.3;
    let y = measure(&prior, operator, sigma_y);
    let measurement = measurement(operator, &y, sigma_y, 2);
    let eps = Eps { denoiser: &oracle, measurement: &measurement };
    let keys = NoiseKeys::image_major(0, 0..1, 2);
    // Uniform in ln σ from 10 to 0.05; the step from there to 0 is the same in all runs of a solver.
    let schedule = Schedule::LogUniform { sigma_min: 0.05, sigma_max: 10.0 };
    let run = |solver: Solver, intervals: usize| {
        let sigmas = schedule.sigmas(intervals + 1).unwrap();
        solver.sample(&eps, &sigmas, &keys, shape(), CPU).unwrap()
    };
    let flow = |interpolant| Solver::Flow { interpolant };
    let multistep = |order, interpolant| Solver::Multistep { order, interpolant, correction: 1.0 };
    for (solver, order) in [
        (Solver::Euler, 1.0),
        (Solver::Ddim { eta: 0.0 }, 1.0),
        (flow(Interpolant::RectifiedFlow), 1.0),
        (flow(Interpolant::Trigonometric), 1.0),
        (Solver::Heun, 2.0),
        (Solver::MULTISTEP, 2.0),
        (Solver::HALF_CORRECTED, 1.0),
        (multistep(2, Interpolant::RectifiedFlow), 2.0),
        (multistep(2, Interpolant::vp_cosine()), 2.0),
    ] {
        let [coarse, middle, fine] = [128, 256, 512].map(|intervals| run(solver, intervals));
        let slope = (distance(&coarse, &middle) / distance(&middle, &fine)).log2();
        assert!((slope - order).abs() < 0.2, "{solver:?}: slope {slope} for order {order}");
    }
    // With half of the correction, half of the calls leave Euler's error: what differs is of second order in the step, so of first order
    // beside that error, and there far below the step.
    let exact = run(Solver::MULTISTEP, 4096);
    let apart = |intervals: usize| {
        let (half, euler) =
            (run(Solver::HALF_CORRECTED, intervals), run(Solver::Euler, 2 * intervals));
        distance(&half, &euler) / distance(&euler, &exact)
    };
    let [coarse, fine] = [64, 256].map(apart);
    let order = (coarse / fine).log2() / 2.0;
    assert!(fine < 200f64.ln() / 256.0 && (order - 1.0).abs() < 0.2, "{coarse} {fine}");
}

/// Of an exact measurement every sample is exact, and what it says nothing of is as under a little noise.
#[test]
fn an_exact_measurement_is_kept() {
    let prior = Mixture::new(&[0.6, 0.4], vec![gaussian(0.35), gaussian(-0.35)]).unwrap();
    let oracle = Oracle::new(&prior);
    let keys = NoiseKeys::image_major(4, 0..1, 3);
    for (name, operator) in operators() {
        let y = measure(&prior, &operator, 0.0);
        let run = |sigma_y: f64| {
            let measurement = measurement(&operator, &y, sigma_y, 3);
            let eps = Eps { denoiser: &oracle, measurement: &measurement };
            let sigmas = Schedule::karras().sigmas(20).unwrap();
            Solver::Euler.sample(&eps, &sigmas, &keys, shape(), CPU).unwrap()
        };
        let exact = run(0.0);
        for x in vectors(&exact) {
            for (seen, y) in operator.apply(&x).iter().zip(&y) {
                // Gains of the smoothed prior's covariance, whose eigenvalues are above 0.01.
                assert!((seen - y).abs() < 1e-10, "{name}: {seen} for {y}");
            }
        }
        let near = distance(&exact, &run(1e-6)) / exact.norm().double_value(&[]);
        // Eigenvalues of the blur are above 1e-4: σ_y²/λ of the state's noise at the last level, 0.002, is missing.
        assert!(near < 1e-3, "{name}: {near:e}");
    }
}

/// The third order appears where the first step, which is Euler's, makes next to no error: from a level at which D hardly
/// changes.
#[test]
fn the_multistep_solver_of_third_order_has_it() {
    let prior = Mixture::from(gaussian(0.1));
    let oracle = Oracle::new(&prior);
    let (_, operator) = &operators()[0];
    let measurement = measurement(operator, &measure(&prior, operator, 0.3), 0.3, 2);
    let eps = Eps { denoiser: &oracle, measurement: &measurement };
    let keys = NoiseKeys::image_major(0, 0..1, 2);
    let schedule = Schedule::LogUniform { sigma_min: 0.05, sigma_max: 1000.0 };
    let solver = Solver::Multistep { order: 3, interpolant: Interpolant::Edm, correction: 1.0 };
    let [coarse, middle, fine] = [256, 512, 1024].map(|intervals| {
        let sigmas = schedule.sigmas(intervals + 1).unwrap();
        solver.sample(&eps, &sigmas, &keys, shape(), CPU).unwrap()
    });
    let slope = (distance(&coarse, &middle) / distance(&middle, &fine)).log2();
    assert!((slope - 3.0).abs() < 0.2, "slope {slope}");
}

/// In the variable x/α a multistep step is one and the same on every path, and the first and last are Euler's.
#[test]
fn the_multistep_solver_draws_the_same_samples_on_every_path() {
    let prior = Mixture::new(&[0.6, 0.4], vec![gaussian(0.35), gaussian(-0.35)]).unwrap();
    let oracle = Oracle::new(&prior);
    let (_, operator) = &operators()[0];
    let measurement = measurement(operator, &measure(&prior, operator, 0.2), 0.2, 2);
    let keys = NoiseKeys::image_major(3, 0..1, 2);
    for estimator in [
        &Eps { denoiser: &oracle, measurement: &measurement } as &dyn Estimator,
        &Palette { denoiser: &oracle, measurement: &measurement },
        &Prior { denoiser: &oracle },
    ] {
        let run = |solver: Solver, steps: usize| {
            let sigmas = Schedule::karras().sigmas(steps).unwrap();
            solver.sample(estimator, &sigmas, &keys, shape(), CPU).unwrap()
        };
        for order in [2, 3] {
            let on =
                |interpolant| run(Solver::Multistep { order, interpolant, correction: 0.8 }, 9);
            let edm = on(Interpolant::Edm);
            for path in [
                Interpolant::RectifiedFlow,
                Interpolant::Trigonometric,
                Interpolant::vp_cosine(),
                Interpolant::vp_linear(),
            ] {
                // Levels come back from times with errors of 80 ε and less, weights below 4, 32 values.
                let difference = distance(&on(path), &edm);
                assert!(difference < 1e-10, "order {order}, {path:?}: {difference}");
            }
        }
        // One step is D; of two the first has nothing before it and the second ends at 0.
        for steps in [1, 2] {
            let difference = distance(&run(Solver::MULTISTEP, steps), &run(Solver::Euler, steps));
            assert!(difference < 1e-12, "{steps} steps: {difference}");
        }
        assert!(distance(&run(Solver::MULTISTEP, 3), &run(Solver::Euler, 3)) > 1e-3);
    }
}

/// The mean and covariance of samples against the exact posterior's, with bounds from their number.
#[test]
fn samples_have_the_posterior_moments() {
    let prior = Mixture::new(&[0.6, 0.4], vec![gaussian(0.35), gaussian(-0.35)]).unwrap();
    let oracle = Oracle::new(&prior);
    let count = 600;
    for (name, operator) in operators() {
        // One near-noiseless and one noisy measurement: one mode, and two modes that both count.
        for sigma_y in [0.05, 1.0] {
            let y = measure(&prior, &operator, sigma_y);
            let posterior = prior.posterior(&operator, &y, sigma_y).unwrap();
            let measurement = measurement(&operator, &y, sigma_y, count);
            let eps = Eps { denoiser: &oracle, measurement: &measurement };
            let keys = NoiseKeys::image_major(4, 0..1, count as u64);
            let sigmas = Schedule::karras().sigmas(60).unwrap();
            let x = Solver::Heun.sample(&eps, &sigmas, &keys, shape(), CPU).unwrap();
            check_moments(&format!("{name}, σ_y {sigma_y}"), &vectors(&x), &posterior);
        }
    }
}

/// Samples of antithetic pairs are samples of the posterior, each for itself: those that draw the other sign too, where the
/// posterior is no mirror image of itself.
#[test]
fn antithetic_samples_have_the_posterior_moments() {
    let prior = Mixture::new(&[0.6, 0.4], vec![gaussian(0.35), gaussian(-0.35)]).unwrap();
    let oracle = Oracle::new(&prior);
    let (count, sigma_y) = (600, 1.0);
    let (name, operator) = &operators()[1];
    let y = measure(&prior, operator, sigma_y);
    let posterior = prior.posterior(operator, &y, sigma_y).unwrap();
    let measurement = measurement(operator, &y, sigma_y, count);
    let eps = Eps { denoiser: &oracle, measurement: &measurement };
    let sigmas = Schedule::karras().sigmas(60).unwrap();
    for second in [0, 1] {
        let items = (0..count as u64).map(|pair| (0, 2 * pair + second)).collect();
        let keys = NoiseKeys::new(4, items).antithetic();
        let x = Solver::Heun.sample(&eps, &sigmas, &keys, shape(), CPU).unwrap();
        check_moments(&format!("{name}, sample {second} of each pair"), &vectors(&x), &posterior);
    }
}

/// A sample of a Gaussian's posterior is an affine function of its noise: the mean of one antithetic pair is the posterior's mean,
/// whatever the noise was and whether it comes at the start or at every step.
#[test]
fn the_mean_of_an_antithetic_pair_is_that_of_a_gaussian_posterior() {
    let prior = Mixture::from(gaussian(0.1));
    let oracle = Oracle::new(&prior);
    for (name, operator) in operators() {
        let y = measure(&prior, &operator, 0.2);
        let exact = prior.posterior(&operator, &y, 0.2).unwrap().mean();
        let measurement = measurement(&operator, &y, 0.2, 4);
        let eps = Eps { denoiser: &oracle, measurement: &measurement };
        for solver in [Solver::Euler, Solver::Heun, Solver::MULTISTEP, Solver::Ddim { eta: 1.0 }] {
            let sigmas = Schedule::karras().sigmas(60).unwrap();
            let keys = NoiseKeys::image_major(5, 0..2, 2).antithetic();
            let x = solver.sample(&eps, &sigmas, &keys, shape(), CPU).unwrap();
            let [one, other] = [0, 2].map(|first| (x.get(first) + x.get(first + 1)) / 2.0);
            // States are up to 80 · 4, whose rounding errors of 1e-14 add up over 60 steps.
            let apart = distance(&one, &other);
            assert!(apart < 1e-11, "{name}, {solver:?}: {apart}");
            assert!(distance(&x.get(0), &x.get(1)) > 0.1, "{name}, {solver:?}");
            // What is left of σ_max z for the prior's smoothed law, 0.5 · 0.5/80 a value, and the error of the steps, which for the first
            // order is as large as a hundredth of the way.
            let off =
                vectors(&one)[0].iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let is_first_order = matches!(solver, Solver::Euler | Solver::Ddim { .. });
            let bound = if is_first_order { 0.02 } else { 4e-3 };
            assert!(off < bound, "{name}, {solver:?}: {off}");
        }
    }
}

/// Compares moments of samples with exact ones in units of their standard errors.
fn check_moments(name: &str, samples: &[Vec<f64>], posterior: &Mixture) {
    let count = samples.len() as f64;
    let (mean, covariance) = (posterior.mean(), posterior.covariance());
    let n = mean.len();
    // 16 means and 136 covariances in each of the cases: at five standard errors a correct sampler
    // fails with probability below 1e-3, were the tests independent.
    for i in 0..n {
        let found = samples.iter().map(|x| x[i]).sum::<f64>() / count;
        let error = (covariance[(i, i)] / count).sqrt();
        assert!((found - mean[i]).abs() < 5.0 * error, "{name}: mean {i}: {found} for {}", mean[i]);
        for j in 0..=i {
            let product = |x: &Vec<f64>| (x[i] - mean[i]) * (x[j] - mean[j]);
            let found = samples.iter().map(product).sum::<f64>() / count;
            let second = samples.iter().map(|x| product(x).powi(2)).sum::<f64>() / count;
            let error = ((second - found * found) / count).sqrt();
            let expected = covariance[(i, j)];
            assert!(
                (found - expected).abs() < 5.0 * error,
                "{name}: covariance {i}, {j}: {found} for {expected} ± {error}"
            );
        }
    }
}

/// Stochastic solvers keep the law: DDIM(1) and churn on the oracle, and the prior without y.
#[test]
fn stochastic_solvers_keep_the_law() {
    let prior = Mixture::from(gaussian(0.1));
    let oracle = Oracle::new(&prior);
    let (_, operator) = &operators()[2];
    let sigma_y = 0.2;
    let y = measure(&prior, operator, sigma_y);
    let posterior = prior.posterior(operator, &y, sigma_y).unwrap();
    let count = 600;
    let measurement = measurement(operator, &y, sigma_y, count);
    let eps = Eps { denoiser: &oracle, measurement: &measurement };
    let keys = NoiseKeys::image_major(9, 0..1, count as u64);
    let churn = Churn { s_churn: 20.0, s_min: 0.05, s_max: 50.0, s_noise: 1.0 };
    for (solver, steps) in [(Solver::Ddim { eta: 1.0 }, 400), (Solver::Churn(churn), 60)] {
        let sigmas = Schedule::karras().sigmas(steps).unwrap();
        let x = solver.sample(&eps, &sigmas, &keys, shape(), CPU).unwrap();
        check_moments(&format!("{solver:?}"), &vectors(&x), &posterior);
    }
    let sigmas = Schedule::karras().sigmas(60).unwrap();
    let alone = Prior { denoiser: &oracle };
    let x = Solver::Heun.sample(&alone, &sigmas, &keys, shape(), CPU).unwrap();
    check_moments("prior", &vectors(&x), &prior);
}

/// The one-call estimate is the posterior mean in the limit of large σ_max, where the state says
/// nothing more.
#[test]
fn one_call_is_the_posterior_mean() {
    let prior = Mixture::new(&[0.6, 0.4], vec![gaussian(0.35), gaussian(-0.35)]).unwrap();
    let oracle = Oracle::new(&prior);
    for (name, operator) in operators() {
        let y = measure(&prior, &operator, 0.1);
        let mean = prior.posterior(&operator, &y, 0.1).unwrap().mean();
        let measurement = measurement(&operator, &y, 0.1, 1);
        let eps = Eps { denoiser: &oracle, measurement: &measurement };
        let keys = NoiseKeys::image_major(5, 0..1, 1);
        let x = Solver::Euler.sample(&eps, &[8000.0, 0.0], &keys, shape(), CPU).unwrap();
        for (found, expected) in vectors(&x)[0].iter().zip(&mean) {
            // x_t = σ z tells of x₀ what a measurement of noise σ does: it moves the mean by at most
            // Cov/σ · |z| summed over 16 pixels, 16 · 0.37/8000 · 3.4.
            assert!((found - expected).abs() < 2.5e-3, "{name}: {found} for {expected}");
        }
    }
}

/// With the exact denoiser, asking at the state beside y and asking at the pivot are one question, and
/// its derivative is that of its answer.
#[test]
fn the_question_at_the_state_is_that_at_the_pivot() {
    let prior = Mixture::from(gaussian(0.2));
    let oracle = Oracle::new(&prior);
    for (name, operator) in operators() {
        let measurement = measurement(&operator, &measure(&prior, &operator, 0.1), 0.1, 2);
        let x = batch(&Stream::named(4, name).normals(32), shape(), CPU);
        for sigma in [0.01, 0.7, 80.0] {
            let level = Level::edm(sigma);
            let eps =
                Eps { denoiser: &oracle, measurement: &measurement }.estimate(&x, level).unwrap();
            let palette = Palette { denoiser: &oracle, measurement: &measurement };
            let d = palette.estimate(&x, level).unwrap();
            // The same sums in the same order.
            assert!(distance(&d, &eps) < 1e-12, "{name}, σ {sigma}: {}", distance(&d, &eps));
        }

        let fields = level_fields(&[Level::edm(0.7)], CPU);
        let noise = QueryNoise::Observed(&measurement);
        let ask = |mu: &Tensor| oracle.denoise(&Query { mu, level: &fields, noise }).unwrap();
        let c = batch(&Stream::named(5, name).normals(32), shape(), CPU);
        let query = Query { mu: &x, level: &fields, noise };
        let (_, vjp) = oracle.denoise_vjp(&query, &|_| c.shallow_clone()).unwrap();
        let along = batch(&Stream::named(6, name).normals(32), shape(), CPU);
        let h = 1e-4;
        let difference = (ask(&(&x + &along * h)) - ask(&(&x - &along * h))) / (2.0 * h);
        let sum = |a: Tensor| a.sum(tch::Kind::Double).double_value(&[]);
        let (expected, found) = (sum(difference * &c), sum(vjp * &along));
        // Linear in μ for a Gaussian prior: the difference has rounding errors of 1e-16/h alone.
        assert!((found - expected).abs() < 1e-10, "{name}: {found} {expected}");
    }
}

/// Where next to nothing is measured the pivot is the state, and the frozen prior is exact there.
#[test]
fn the_frozen_prior_is_exact_without_a_measurement() {
    let prior = Mixture::from(gaussian(0.2));
    let oracle = Oracle::new(&prior);
    let (_, operator) = operators().remove(0);
    let y = measure(&prior, &operator, 0.1);
    let x = batch(&Stream::named(4, "state").normals(32), shape(), CPU);
    let gap = |sigma_y: f64| {
        let measurement = measurement(&operator, &y, sigma_y, 2);
        let level = Level::edm(0.7);
        let eps = Eps { denoiser: &oracle, measurement: &measurement }.estimate(&x, level).unwrap();
        let frozen = ZeroShot { denoiser: &oracle, measurement: &measurement };
        distance(&frozen.estimate(&x, level).unwrap(), &eps)
    };
    // The pivot differs from the state by σ²/σ_y².
    assert!(gap(1e6) < 1e-11, "{}", gap(1e6));
    assert!(gap(0.1) > 1e-3, "{}", gap(0.1));
}

/// A sample depends on (seed, image, sample) alone: bit for bit whatever the batch and its order.
#[test]
fn samples_do_not_depend_on_the_batch() {
    let prior = Mixture::new(&[0.6, 0.4], vec![gaussian(0.35), gaussian(-0.35)]).unwrap();
    let oracle = Oracle::new(&prior);
    let sigmas = Schedule::karras().sigmas(6).unwrap();
    let churn = Churn { s_churn: 4.0, s_min: 0.05, s_max: 50.0, s_noise: 1.003 };
    let flow = Solver::Flow { interpolant: Interpolant::VpCosine { offset: 0.008 } };
    for solver in [
        Solver::Euler,
        Solver::Heun,
        Solver::Churn(churn),
        Solver::Ddim { eta: 0.85 },
        Solver::MULTISTEP,
        flow,
    ] {
        for (name, operator) in operators() {
            let y = measure(&prior, &operator, 0.1);
            let run_with = |times: usize, items: Vec<(u64, u64)>| {
                let measurement = measurement(&operator, &y, 0.1, times);
                let eps = Eps { denoiser: &oracle, measurement: &measurement };
                let keys = NoiseKeys::new(1, items);
                solver.sample(&eps, &sigmas, &keys, shape(), CPU).unwrap()
            };
            let run = |items: Vec<(u64, u64)>| run_with(items.len(), items);
            let keys = || (0..5).map(|sample| (7, sample)).collect();
            let all = run(keys());
            // One measurement serves all of its samples.
            let difference = (run_with(1, keys()) - &all).abs().max().double_value(&[]);
            assert!(difference < 1e-10, "{solver:?}, {name}: {difference}");
            let all = vectors(&all);
            let reversed = vectors(&run((0..5).rev().map(|sample| (7, sample)).collect()));
            for (sample, x) in all.iter().enumerate() {
                let alone = vectors(&run(vec![(7, sample as u64)]));
                assert_eq!(x, &alone[0], "{solver:?}, {name}, alone");
                assert_eq!(x, &reversed[4 - sample], "{solver:?}, {name}, reversed");
            }
        }
    }
}

#[test]
fn calls_are_counted_as_stated() {
    let prior = Mixture::from(gaussian(0.0));
    let keys = NoiseKeys::image_major(0, 0..1, 1);
    let flow = Solver::Flow { interpolant: Interpolant::RectifiedFlow };
    for solver in [Solver::Euler, Solver::Heun, Solver::Ddim { eta: 0.5 }, Solver::MULTISTEP, flow]
    {
        for calls in [1, 7, 19] {
            let steps = solver.steps(calls).unwrap();
            let sigmas = Schedule::karras().sigmas(steps).unwrap();
            let counted = CountNfe::new(Oracle::new(&prior));
            let alone = Prior { denoiser: &counted };
            let _ = solver.sample(&alone, &sigmas, &keys, shape(), CPU).unwrap();
            assert_eq!(counted.nfe(), calls, "{solver:?}");
            assert_eq!(solver.nfe(steps), calls);
        }
    }
}

#[test]
fn bad_input_is_named() {
    let prior = Mixture::from(gaussian(0.0));
    let oracle = Oracle::new(&prior);
    let keys = NoiseKeys::image_major(0, 0..1, 1);
    let alone = Prior { denoiser: &oracle };
    let run = |solver: Solver, sigmas: &[f64]| {
        solver.sample(&alone, sigmas, &keys, shape(), CPU).unwrap_err().to_string()
    };
    for bad in [&[][..], &[1.0], &[1.0, 0.5], &[1.0, 1.0, 0.0], &[f64::NAN, 0.0], &[-1.0, 0.0]] {
        assert!(run(Solver::Heun, bad).contains("grid"), "{bad:?}");
    }
    assert!(run(Solver::Ddim { eta: 1.5 }, &[1.0, 0.0]).contains("η is 1.5"));
    let churn = Churn { s_churn: -1.0, s_min: 0.0, s_max: 1.0, s_noise: 1.0 };
    assert!(run(Solver::Churn(churn), &[1.0, 0.0]).contains("S_churn"));
    let fourth = Solver::Multistep { order: 4, interpolant: Interpolant::Edm, correction: 1.0 };
    assert!(run(fourth, &[1.0, 0.0]).contains("the order of the multistep solver is 4"));
    // At t = 1 of a rectified flow there is no pivot.
    let flow = Solver::Flow { interpolant: Interpolant::RectifiedFlow };
    assert!(
        run(flow, &[1e17, 1.0, 0.0]).contains("the first time is 1: it must be one where α > 0")
    );
}

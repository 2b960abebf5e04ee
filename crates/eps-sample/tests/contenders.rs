//! The training-free contenders on a Gaussian prior with its exact denoiser.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::Arc;

use eps_math::Schedule;
use eps_math::operator::{LinearMap, Operator};
use eps_math::prior::{Gaussian, Mixture};
use eps_model::{ComputeError, Measurement, Oracle, TensorOperator, batch};
use eps_sample::contenders::daps::{Daps, Inner};
use eps_sample::contenders::ddnm::Ddnm;
use eps_sample::contenders::ddrm::Ddrm;
use eps_sample::contenders::dps::{Dps, Form};
use eps_sample::contenders::mpgd::Mpgd;
use eps_sample::contenders::pigdm::{Guided, PiGdm, PiGdmPublished};
use eps_sample::contenders::{self, ContenderStep, FrozenPrior};
use eps_sample::{
    CountNfe, Eps, Estimator, NoiseKeys, Prior, Sample as _, SampleError, Solver, Step,
};
use eps_testing::Own;
use faer::Mat;
use tch::{Kind, Tensor};

mod common;

use common::{CPU, measure, operators, shape};

const SIGMA_DATA: f64 = 0.5;

/// N(m, 0.25 I): its posterior is independent along the eigenvectors of AᵀA.
fn prior() -> Mixture {
    let mean = (0..16).map(|i| 0.3 - 0.04 * f64::from(i)).collect();
    let variance = SIGMA_DATA * SIGMA_DATA;
    let covariance = Mat::from_fn(16, 16, |i, j| if i == j { variance } else { 0.0 });
    Mixture::from(Gaussian::new(mean, covariance).unwrap())
}

/// A measurement of one image of the prior, repeated.
fn measurement(operator: &Operator, sigma_y: f64, times: usize) -> Measurement {
    common::measurement(operator, &measure(&prior(), operator, sigma_y), sigma_y, times)
}

/// Draws samples with a contender from pure noise.
fn run(
    contender: &dyn ContenderStep,
    prior: &FrozenPrior<'_>,
    measurement: &Measurement,
    sigmas: &[f64],
    keys: &NoiseKeys,
) -> Result<Tensor, SampleError> {
    let noise = keys.on(shape(), CPU);
    contenders::sample(contender, prior, measurement, sigmas, &noise, &mut ())?.finished()
}

/// A contender by name, its grid, and the calls and backward passes that it makes.
type Case = (&'static str, Box<dyn ContenderStep>, Vec<f64>, [usize; 2]);

/// Every contender with its usual constants.
fn contenders() -> Vec<Case> {
    let sigmas = || Schedule::karras().sigmas(20).unwrap();
    let annealing = || Schedule::annealing(80.0).sigmas(4).unwrap();
    vec![
        ("ddrm", Box::new(Ddrm::default()), sigmas(), [20, 0]),
        ("ddnm", Box::new(Ddnm { eta: 0.85, regularisation: 1e-3 }), sigmas(), [20, 0]),
        ("mpgd", Box::new(Mpgd { scale: 0.2, eta: 0.85 }), sigmas(), [20, 0]),
        ("daps", Box::new(Daps::langevin(1e-4)), annealing(), [20, 0]),
        ("daps-exact", Box::new(Daps::exact()), annealing(), [20, 0]),
        ("dps", Box::new(Dps { scale: 0.1, form: Form::Euler }), sigmas(), [20, 20]),
        ("dps-published", Box::new(Dps { scale: 0.02, form: Form::Ancestral }), sigmas(), [20, 20]),
        ("pigdm", Box::new(PiGdm { scale: 1.0, eta: 1.0 }), sigmas(), [20, 20]),
        ("pigdm-published", Box::new(PiGdmPublished { eta: 1.0 }), sigmas(), [20, 20]),
    ]
}

#[test]
fn samples_depend_on_their_keys_alone_and_calls_are_counted() {
    let prior = prior();
    let oracle = CountNfe::new(Oracle::new(&prior));
    let alone = FrozenPrior { denoiser: &oracle };
    for (name, operator) in operators() {
        for (method, contender, sigmas, calls) in contenders() {
            let sample = |items: Vec<(u64, u64)>| {
                let measurement = measurement(&operator, 0.1, items.len());
                let keys = NoiseKeys::new(1, items);
                run(&*contender, &alone, &measurement, &sigmas, &keys).unwrap()
            };
            let before = [oracle.nfe(), oracle.backward_passes()];
            let all = sample((0..4).map(|sample| (7, sample)).collect());
            let found = [oracle.nfe() - before[0], oracle.backward_passes() - before[1]];
            assert_eq!(found, calls, "{method}, {name}");
            assert_eq!(contender.nfe(sigmas.len() - 1), calls[0], "{method}");
            // One measurement serves all of its samples.
            let keys = NoiseKeys::new(1, (0..4).map(|sample| (7, sample)).collect());
            let one_for_all = measurement(&operator, 0.1, 1);
            let shared = run(&*contender, &alone, &one_for_all, &sigmas, &keys).unwrap();
            let difference = (shared - &all).abs().max().double_value(&[]);
            assert!(difference < 1e-10, "{method}, {name}: {difference}");
            let one = sample(vec![(7, 2)]);
            assert!(all.narrow(0, 2, 1).equal(&one), "{method}, {name}");
            assert!(!all.narrow(0, 1, 1).equal(&one), "{method}, {name}");
        }
    }
}

/// For data of unit variance ΠGDM's model of p(x₀ | x) is exact, and its estimate the posterior mean.
#[test]
fn pigdm_is_exact_for_unit_variance() {
    let mean = (0..16).map(|i| 0.3 - 0.04 * f64::from(i)).collect();
    let prior = Mixture::from(Gaussian::new(mean, Mat::identity(16, 16)).unwrap());
    let oracle = Oracle::new(&prior);
    for (name, operator) in operators() {
        for sigma_y in [0.05, 1.0] {
            let measurement = measurement(&operator, sigma_y, 3);
            let eps = Eps { denoiser: &oracle, measurement: &measurement };
            let prior = Prior { denoiser: &oracle };
            let guided = Guided { prior, measurement: &measurement, scale: 1.0 };
            let noise = NoiseKeys::image_major(3, 0..1, 3).initial(shape(), CPU);
            let edm = [0.02, 1.0, 40.0].map(eps_math::Level::edm);
            for level in edm.into_iter().chain([eps_math::Level { alpha: 0.6, beta: 0.8 }]) {
                let (x, sigma) = (&noise * level.beta, level.sigma());
                let exact = eps.estimate(&x, level).unwrap();
                let error =
                    (guided.estimate(&x, level).unwrap() - exact).abs().max().double_value(&[]);
                // The oracle's relative error is ε times the condition of C + Σ⋆, at most 1e4 · σ²,
                // and σ² multiplies that of J.
                let bound = 1e-10 * f64::max(1.0, sigma * sigma);
                assert!(error < bound, "{name}, σ_y {sigma_y}, σ {sigma}: {error}");
            }
        }
    }
}

/// The guidance of DPS is the derivative: a step without noise moves x by ζ times what differences of
/// ‖y − A D(x)‖ give.
#[test]
fn the_guidance_of_dps_is_the_gradient_of_the_residual() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let alone = FrozenPrior { denoiser: &oracle };
    let keys = NoiseKeys::image_major(0, 0..1, 1);
    for (name, operator) in operators() {
        let measurement = measurement(&operator, 0.1, 1);
        let x = keys.initial(shape(), CPU) * 0.7;
        let level = eps_math::Level::edm(0.7);
        let residual = |x: &Tensor| {
            let d = alone.estimate(x, level).unwrap();
            (measurement.y() - measurement.operator().apply(&d)).norm().double_value(&[])
        };
        let noise = keys.on(shape(), CPU);
        let step = |form, scale| {
            let last = Step { index: 0, steps: 1, from: 0.7, to: 0.0 };
            let noise = noise.of_step(0, 1);
            Dps { scale, form }.step(&alone, &measurement, &x, last, &noise).unwrap().x
        };
        // Two lengths, so that the step of the prior drops out.
        let euler = step(Form::Euler, 2.0) - step(Form::Euler, 1.0);
        let ancestral = step(Form::Ancestral, 2.0) - step(Form::Ancestral, 1.0);
        for i in 0..16 {
            let h = 1e-5;
            let mut unit = vec![0.0; 16];
            unit[i] = h;
            let unit = batch(&unit, shape(), CPU);
            let slope = (residual(&(&x + &unit)) - residual(&(&x - &unit))) / (2.0 * h);
            let at = |x: &Tensor| x.flatten(0, -1).double_value(&[i as i64]);
            // ∇‖r‖²/‖r‖ = 2 ∇‖r‖. Differences are good to h² and ε/h.
            assert!((at(&euler) + 2.0 * slope).abs() < 1e-8, "{name} {i}");
            let vp = (1.0 + 0.7f64 * 0.7).sqrt();
            // D lies within [-1, 1] here, so nothing is clipped.
            assert!((at(&ancestral) + vp * slope).abs() < 1e-8, "{name} {i}");
        }
    }
}

/// Where the measurement is nearly free of noise, every method reproduces it.
#[test]
fn a_clean_measurement_is_reproduced() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let alone = FrozenPrior { denoiser: &oracle };
    let sigma_y = 1e-4;
    for (name, operator) in operators() {
        let measurement = measurement(&operator, sigma_y, 8);
        let keys = NoiseKeys::image_major(2, 0..1, 8);
        let sigmas = Schedule::karras().sigmas(20).unwrap();
        let residual = |x: &Tensor| {
            (measurement.y() - measurement.operator().apply(x)).abs().max().double_value(&[])
        };
        let draw = |contender: &dyn ContenderStep, sigmas: &[f64]| {
            run(contender, &alone, &measurement, sigmas, &keys).unwrap()
        };
        let x_ddrm = draw(&Ddrm::default(), &sigmas);
        // The last step, to σ' = 0, is σ' ≤ σ_y/s everywhere: x = D, and D at σ = 0.002 keeps
        // σ_data²/(σ_data² + σ²) of a state that has the noise of that level at most.
        assert!(residual(&x_ddrm) < 0.02, "ddrm, {name}: {}", residual(&x_ddrm));
        let x_ddnm = draw(&Ddnm { eta: 0.85, regularisation: 0.0 }, &sigmas);
        // λ_t at σ = 0.002 is 1 − (σ_y/σ)² = 0.9975 of the way from D.
        assert!(residual(&x_ddnm) < 1e-3, "ddnm, {name}: {}", residual(&x_ddnm));
        let x_daps = draw(&Daps::exact(), &Schedule::annealing(80.0).sigmas(4).unwrap());
        // The last draw leaves the noise of y, at most 4 σ_y here.
        assert!(residual(&x_daps) < 5e-4, "daps-exact, {name}: {}", residual(&x_daps));
    }
}

/// One annealing level of DAPS from the exact end of the flow: the Langevin chain has the law of the
/// exact draw, up to its step size.
#[test]
fn the_inner_chain_has_the_law_of_the_exact_draw() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let alone = FrozenPrior { denoiser: &oracle };
    let count = 1000;
    let sigma_y = 0.2;
    for (name, operator) in operators() {
        let measurement = measurement(&operator, sigma_y, count);
        let keys = NoiseKeys::image_major(5, 0..1, count as u64);
        let noise = keys.on(shape(), CPU);
        // All chains start from one state, so that the spread is that of the inner step alone.
        let one = NoiseKeys::new(6, vec![(0, 0)]).initial(shape(), CPU);
        let run = |inner| {
            let constants = Daps { inner, ..Daps::exact() };
            let x = one.repeat([count as i64, 1, 1, 1]) * 0.5;
            let last = Step { index: 0, steps: 1, from: 0.5, to: 0.0 };
            let noise = noise.of_step(0, constants.draws());
            constants.step(&alone, &measurement, &x, last, &noise).unwrap().x
        };
        let moments = |x: &Tensor| {
            let mean = x.mean_dim([0i64].as_slice(), true, Kind::Double);
            let variance = (x - &mean).square().mean_dim([0i64].as_slice(), true, Kind::Double);
            (mean, variance)
        };
        let step_size = 5e-4;
        let (mean, variance) = moments(&run(Inner::Exact));
        let (chain_mean, chain_variance) =
            // A hundredth of the step size is that of the last level.
            moments(&run(Inner::Langevin { steps: 2400, step_size: 100.0 * step_size }));
        // Five standard errors of the difference of two means.
        let bound = (&variance * (2.0 / count as f64)).sqrt() * 5.0;
        let off = ((&mean - &chain_mean).abs() - bound).max().double_value(&[]);
        assert!(off < 0.0, "{name}: the means are {off} too far apart");
        // The chain's variance is P/(1 − h/(2P)), at most 1.4 P for the λ ≤ 40 here, and the ratio of
        // two estimates has a relative standard error of √(4/count) = 0.063.
        let ratio = &chain_variance / &variance;
        let (low, high) = (ratio.min().double_value(&[]), ratio.max().double_value(&[]));
        assert!(low > 0.68 && high < 1.9, "{name}: {low} {high}");
    }
}

#[test]
fn bad_constants_are_named() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let alone = FrozenPrior { denoiser: &oracle };
    let (_, operator) = &operators()[0];
    let measurement = measurement(operator, 0.1, 1);
    let keys = NoiseKeys::image_major(0, 0..1, 1);
    let error = |contender: &dyn ContenderStep, grid: &[f64]| {
        run(contender, &alone, &measurement, grid, &keys).unwrap_err().to_string()
    };
    let bad: [(&dyn ContenderStep, &str); 6] = [
        (&Ddrm { eta: 0.85, eta_b: 1.5 }, "η_b is 1.5: it must be in [0, 1]"),
        (&Ddnm { eta: -1.0, regularisation: 0.0 }, "η is -1: it must be in [0, 1]"),
        (&Mpgd { scale: 0.0, eta: 0.5 }, "c is 0: it must be positive and finite"),
        (
            &Daps::langevin(f64::NAN),
            "the Langevin step size is NaN: it must be positive and finite",
        ),
        (&PiGdm { scale: -1.0, eta: 1.0 }, "ζ is -1: it must be positive and finite"),
        (&PiGdmPublished { eta: 2.0 }, "η is 2: it must be in [0, 1]"),
    ];
    for (contender, said) in bad {
        assert_eq!(error(contender, &[1.0, 0.0]), said);
    }
    let said = error(&Daps::exact(), &[1.0, 0.002, 0.0]);
    assert!(said.contains("the last level of the flow is 0.01: it must be below"), "{said}");
    for (grid, part) in [(vec![80.0], "has 1 entries"), (vec![1.0, 0.0, 0.0], "entry 2 is 0")] {
        let said = error(&Daps::exact(), &grid);
        assert!(said.contains(part), "{said}");
    }
    let exact = common::measurement(operator, &[0.0; 16], 0.0, 1);
    let refused = run(&Ddrm::default(), &alone, &exact, &[1.0, 0.0], &keys).unwrap_err();
    assert_eq!(refused, SampleError::Exact);
    // Far beyond the stability limit: an error, not an image.
    let said = error(&Daps::langevin(1e9), &[1.0, 0.0]);
    assert!(said.contains("NaN or infinity after step 1 of 1"), "{said}");
    // Two keys share no measurement of three images.
    let three = common::measurement(operator, &[0.0; 16], 0.1, 3);
    let two = NoiseKeys::image_major(0, 0..1, 2);
    let said = run(&Ddrm::default(), &alone, &three, &[1.0, 0.0], &two).unwrap_err();
    let refused = ComputeError::Batch { images: 2, measured: 3 };
    assert_eq!(said, SampleError::Compute(refused.clone()));
    let eps = Eps { denoiser: &oracle, measurement: &three };
    let x = two.initial(shape(), CPU);
    assert_eq!(eps.estimate(&x, eps_math::Level::edm(1.0)).unwrap_err(), refused);
}

/// Every method works with a pair A, Aᵀ, and draws what it draws with the eigenbasis: to a per cent of Lanczos' method in the last step, and as
/// much of all before it, as the noise more than halves in each of the last ones.
#[test]
fn every_method_takes_an_operator_of_ones_own() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let frozen = FrozenPrior { denoiser: &oracle };
    for (name, operator) in operators() {
        let y = measure(&prior, &operator, 0.1);
        let known = common::measurement(&operator, &y, 0.1, 2);
        let own: Arc<dyn LinearMap> = Arc::new(Own(operator.clone()));
        let own = TensorOperator::of_maps(vec![own], CPU).unwrap();
        let own = Measurement::new(own, &known.y().copy(), 0.1).unwrap();
        let keys = NoiseKeys::new(3, vec![(0, 0), (0, 1)]);
        let compare = |method: &str, a: &Tensor, b: &Tensor| {
            let gap = (a - b).abs().max().double_value(&[]);
            let size = b.abs().max().double_value(&[]).max(1.0);
            assert!(gap < 0.02 * size, "{method} on {name}: {gap}");
        };
        for (method, contender, sigmas, _) in contenders() {
            let draw =
                |measurement| run(&*contender, &frozen, measurement, &sigmas, &keys).unwrap();
            compare(method, &draw(&own), &draw(&known));
        }
        let sigmas = Schedule::karras().sigmas(20).unwrap();
        let draw = |measurement| {
            let eps = Eps { denoiser: &oracle, measurement };
            Solver::Euler.sample(&eps, &sigmas, &keys, shape(), CPU).unwrap()
        };
        compare("eps", &draw(&own), &draw(&known));
    }
}

//! The training-free contenders on a Gaussian prior with its exact denoiser.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use eps_math::operator::{
    AveragePool, CircularBlur, Dense, Kernel, LinearOperator, Mask, Operator,
};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::rng::Stream;
use eps_math::{Schedule, Shape};
use eps_model::{Measurement, Oracle, TensorOperator, batch};
use eps_sample::contenders::daps::{Daps, Inner, daps};
use eps_sample::contenders::ddnm::{Ddnm, ddnm};
use eps_sample::contenders::ddrm::{Ddrm, ddrm};
use eps_sample::contenders::mpgd::{Mpgd, mpgd};
use eps_sample::{CountNfe, Estimator, NoiseKeys, Prior, SampleError};
use faer::Mat;
use tch::{Device, Kind, Tensor};

const CPU: Device = Device::Cpu;
const SIGMA_DATA: f64 = 0.5;

fn shape() -> Shape {
    Shape::new(1, 4, 4).unwrap()
}

/// N(m, 0.25 I): its posterior is independent along the eigenvectors of AᵀA.
fn prior() -> Mixture {
    let mean = (0..16).map(|i| 0.3 - 0.04 * f64::from(i)).collect();
    let variance = SIGMA_DATA * SIGMA_DATA;
    let covariance = Mat::from_fn(16, 16, |i, j| if i == j { variance } else { 0.0 });
    Mixture::from(Gaussian::new(mean, covariance).unwrap())
}

fn operators() -> Vec<(&'static str, Operator)> {
    let observed = (0..16).map(|i| i % 3 == 0).collect();
    let kernel = Kernel::gaussian(0.4, 3).unwrap();
    let matrix = Stream::named(1, "matrix").normals(5 * 16);
    vec![
        ("mask", Operator::Mask(Mask::new(shape(), observed).unwrap())),
        ("pool", Operator::AveragePool(AveragePool::new(shape(), 2).unwrap())),
        ("blur", Operator::CircularBlur(CircularBlur::new(shape(), kernel).unwrap())),
        ("dense", Operator::Dense(Dense::new(shape(), 5, &matrix).unwrap())),
    ]
}

/// A measurement of one image of the prior, repeated.
fn measurement(operator: &Operator, sigma_y: f64, times: usize) -> Measurement {
    let x_0 = prior().sample(&Stream::named(2, "image"));
    let clean = operator.apply(&x_0);
    let noise = Stream::named(3, "noise").normals(clean.len());
    let y: Vec<f64> = clean.iter().zip(noise).map(|(a, z)| a + sigma_y * z).collect();
    let operators = TensorOperator::new(vec![operator.clone(); times], CPU).unwrap();
    Measurement::new(operators, &batch(&y.repeat(times), operator.range(), CPU), sigma_y).unwrap()
}

type Run<'a> = dyn Fn(&dyn Estimator, &Measurement, &NoiseKeys) -> Result<Tensor, SampleError> + 'a;

/// Every contender with its usual constants, by name, with the calls that it makes.
fn contenders(check: &mut dyn FnMut(&'static str, usize, &Run<'_>)) {
    let sigmas = Schedule::karras().sigmas(20).unwrap();
    let start = |keys: &NoiseKeys| keys.initial(shape(), CPU) * 80.0;
    check("ddrm", 20, &|prior, measurement, keys| {
        ddrm(prior, measurement, start(keys), &sigmas, &Ddrm::default(), keys)
    });
    let constants = Ddnm { eta: 0.85, regularisation: 1e-3 };
    check("ddnm", 20, &|prior, measurement, keys| {
        ddnm(prior, measurement, start(keys), &sigmas, &constants, keys)
    });
    let constants = Mpgd { scale: 0.2, eta: 0.85 };
    check("mpgd", 20, &|prior, measurement, keys| {
        mpgd(prior, measurement, start(keys), &sigmas, &constants, keys)
    });
    let annealing = Schedule::Karras { rho: 7.0, sigma_min: 0.1, sigma_max: 80.0 };
    let annealing = annealing.sigmas(4).unwrap();
    for (name, constants) in [("daps", Daps::langevin(1e-4)), ("daps-exact", Daps::exact())] {
        check(name, 20, &|prior, measurement, keys| {
            daps(prior, measurement, start(keys), &annealing, &constants, keys)
        });
    }
}

#[test]
fn samples_depend_on_their_keys_alone_and_calls_are_counted() {
    let prior = prior();
    let oracle = CountNfe::new(Oracle::new(&prior));
    let alone = Prior { denoiser: &oracle };
    for (name, operator) in operators() {
        contenders(&mut |method, calls, run| {
            let sample = |items: Vec<(u64, u64)>| {
                let measurement = measurement(&operator, 0.1, items.len());
                run(&alone, &measurement, &NoiseKeys::new(1, items)).unwrap()
            };
            oracle.reset();
            let all = sample((0..4).map(|sample| (7, sample)).collect());
            assert_eq!(oracle.reset(), calls, "{method}, {name}");
            let one = sample(vec![(7, 2)]);
            assert!(all.narrow(0, 2, 1).equal(&one), "{method}, {name}");
            assert!(!all.narrow(0, 1, 1).equal(&one), "{method}, {name}");
        });
    }
}

/// Where the measurement is nearly free of noise, every method reproduces it.
#[test]
fn a_clean_measurement_is_reproduced() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let alone = Prior { denoiser: &oracle };
    let sigma_y = 1e-4;
    for (name, operator) in operators() {
        let measurement = measurement(&operator, sigma_y, 8);
        let keys = NoiseKeys::image_major(2, 0..1, 8);
        let sigmas = Schedule::karras().sigmas(20).unwrap();
        let x = keys.initial(shape(), CPU) * 80.0;
        let residual = |x: &Tensor| {
            (measurement.y() - measurement.operator().apply(x)).abs().max().double_value(&[])
        };
        let constants = Ddrm::default();
        let x_ddrm =
            ddrm(&alone, &measurement, x.shallow_clone(), &sigmas, &constants, &keys).unwrap();
        // The last step, to σ' = 0, is σ' ≤ σ_y/s everywhere: x = D, and D at σ = 0.002 keeps
        // σ_data²/(σ_data² + σ²) of a state that has the noise of that level at most.
        assert!(residual(&x_ddrm) < 0.02, "ddrm, {name}: {}", residual(&x_ddrm));
        let constants = Ddnm { eta: 0.85, regularisation: 0.0 };
        let x_ddnm = ddnm(&alone, &measurement, x.shallow_clone(), &sigmas, &constants, &keys);
        // λ_t at σ = 0.002 is 1 − (σ_y/σ)² = 0.9975 of the way from D.
        let x_ddnm = x_ddnm.unwrap();
        assert!(residual(&x_ddnm) < 1e-3, "ddnm, {name}: {}", residual(&x_ddnm));
        let annealing = Schedule::Karras { rho: 7.0, sigma_min: 0.1, sigma_max: 80.0 };
        let annealing = annealing.sigmas(4).unwrap();
        let x_daps = daps(&alone, &measurement, x, &annealing, &Daps::exact(), &keys).unwrap();
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
    let alone = Prior { denoiser: &oracle };
    let count = 1000;
    let sigma_y = 0.2;
    for (name, operator) in operators() {
        let measurement = measurement(&operator, sigma_y, count);
        let keys = NoiseKeys::image_major(5, 0..1, count as u64);
        // All chains start from one state, so that the spread is that of the inner step alone.
        let one = NoiseKeys::new(6, vec![(0, 0)]).initial(shape(), CPU);
        let run = |inner| {
            let constants = Daps { inner, ..Daps::exact() };
            let x = one.repeat([count as i64, 1, 1, 1]) * 0.5;
            daps(&alone, &measurement, x, &[0.5, 0.0], &constants, &keys).unwrap()
        };
        let moments = |x: &Tensor| {
            let mean = x.mean_dim([0i64].as_slice(), true, Kind::Double);
            let variance = (x - &mean).square().mean_dim([0i64].as_slice(), true, Kind::Double);
            (mean, variance)
        };
        let step_size = 5e-4;
        let (mean, variance) = moments(&run(Inner::Exact));
        let (chain_mean, chain_variance) =
            moments(&run(Inner::Langevin { steps: 2400, step_size }));
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
    let alone = Prior { denoiser: &oracle };
    let (_, operator) = &operators()[0];
    let measurement = measurement(operator, 0.1, 1);
    let keys = NoiseKeys::image_major(0, 0..1, 1);
    let x = || keys.initial(shape(), CPU);
    let grid = [1.0, 0.0];
    let text = |result: Result<Tensor, SampleError>| result.unwrap_err().to_string();
    let constants = Ddrm { eta: 0.85, eta_b: 1.5 };
    let error = text(ddrm(&alone, &measurement, x(), &grid, &constants, &keys));
    assert!(error.contains("η_b is 1.5"), "{error}");
    let constants = Ddnm { eta: -1.0, regularisation: 0.0 };
    let error = text(ddnm(&alone, &measurement, x(), &grid, &constants, &keys));
    assert!(error.contains("η is -1"), "{error}");
    let constants = Mpgd { scale: 0.0, eta: 0.5 };
    let error = text(mpgd(&alone, &measurement, x(), &grid, &constants, &keys));
    assert!(error.contains("c is 0"), "{error}");
    let error = text(daps(&alone, &measurement, x(), &grid, &Daps::langevin(f64::NAN), &keys));
    assert!(error.contains("step size is NaN"), "{error}");
    // Far beyond the stability limit: an error, not an image.
    let error = text(daps(&alone, &measurement, x(), &grid, &Daps::langevin(1e9), &keys));
    assert!(error.contains("NaN or infinity"), "{error}");
}

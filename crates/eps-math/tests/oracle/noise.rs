//! Whitened once, a measurement with any noise has the pivot that dense linear algebra gives with R⁻¹.

use std::sync::Arc;

use eps_math::operator::{
    LinearMap, Mask, Operator, OperatorSpec, PreparedOperator, Weights, Whitened, spectral_matrix,
    to_matrix,
};
use eps_math::pivot::{mu_star, sigma_star};
use eps_math::rng::Stream;
use eps_math::solve::Cg;
use eps_math::{Level, Noise, Shape};
use faer::linalg::solvers::{DenseSolveCore, Solve};
use faer::{Mat, Side};

use crate::registry::{distance, norm, operators};

fn prepared(json: &str, [c, h, w]: [usize; 3]) -> PreparedOperator {
    let spec: OperatorSpec = serde_json::from_str(json).unwrap();
    spec.prepare(Shape::new(c, h, w).unwrap()).unwrap()
}

/// Operators with and without a basis, on small images.
fn cases() -> Vec<(&'static str, PreparedOperator)> {
    let blur = |border: &str| {
        format!(
            r#"{{"operator": "convolution", "kernel": [[0.4, 0.1], [0.3, -0.2], [0.05, 0.3]], "border": "{border}"}}"#
        )
    };
    let mask = r#"{"operator": "mask", "observed": [1, 0, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1]}"#;
    let all = r#"{"operator": "mask", "observed": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]}"#;
    let weights = r#"{"operator": "weights", "weights": [0.5, 0, 1, -2, 1, 0.25]}"#;
    let dense =
        r#"{"operator": "dense", "matrix": [[1, 2, 0, -1], [0.5, 0, 0.25, 1], [1, 1, 1, 1]]}"#;
    let fourier = r#"{"operator": "fourier", "mask": [[1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 0]]}"#;
    vec![
        ("mask", prepared(mask, [2, 3, 4])),
        ("nothing hidden", prepared(all, [1, 3, 4])),
        ("weights", prepared(weights, [1, 2, 3])),
        ("circular", prepared(&blur("circular"), [2, 5, 4])),
        ("valid", prepared(&blur("valid"), [1, 6, 5])),
        ("reflect", prepared(&blur("reflect"), [2, 4, 5])),
        ("means", prepared(r#"{"operator": "average-pool", "factor": 2}"#, [2, 4, 6])),
        ("dense", prepared(dense, [1, 2, 2])),
        ("fourier", prepared(fourier, [2, 3, 4])),
        ("grey", prepared(r#"{"operator": "grey"}"#, [3, 3, 4])),
    ]
}

/// Deviations between 0.02 and 0.5.
fn sigmas(name: &str, m: usize) -> Vec<f64> {
    let stream = Stream::named(1, name);
    (0..m as u64).map(|i| 0.02 * 25f64.powf(stream.uniform(i))).collect()
}

/// A covariance of neighbours that are alike, with variances of their own.
fn covariance(name: &str, m: usize) -> Mat<f64> {
    let sigmas = sigmas(name, m);
    Mat::from_fn(m, m, |i, j| sigmas[i] * sigmas[j] * 0.7f64.powi(i.abs_diff(j) as i32))
}

fn factor(covariance: &Mat<f64>) -> Mat<f64> {
    let m = covariance.nrows();
    let lower = covariance.llt(Side::Lower).unwrap().L().to_owned();
    Mat::from_fn(m, m, |i, j| if i >= j { lower[(i, j)] } else { 0.0 })
}

/// Noise that is strong at low frequencies, as a detector's drift is.
fn spectrum(shape: Shape) -> Vec<f64> {
    let near = |k: usize, side: usize| k.min(side - k) as f64;
    (0..shape.plane())
        .map(|i| {
            let (row, column) =
                (near(i / shape.width, shape.height), near(i % shape.width, shape.width));
            0.003 + 0.2 / (1.0 + row * row + 3.0 * column * column)
        })
        .collect()
}

/// F⁻¹ diag(S) F of every channel, from its definition.
fn stationary(shape: Shape, variances: &[f64]) -> Mat<f64> {
    let (h, w) = (shape.height, shape.width);
    let place = |i: usize| (i / (h * w), i / w % h, i % w);
    Mat::from_fn(shape.len(), shape.len(), |i, j| {
        let ((c, r, s), (d, t, u)) = (place(i), place(j));
        if c != d {
            return 0.0;
        }
        let terms = variances.iter().enumerate().map(|(k, variance)| {
            let phase = (k / w) as f64 * (r as f64 - t as f64) / h as f64
                + (k % w) as f64 * (s as f64 - u as f64) / w as f64;
            variance * (2.0 * std::f64::consts::PI * phase).cos()
        });
        terms.sum::<f64>() / (h * w) as f64
    })
}

/// Every law for a measurement, with its covariance.
fn laws(name: &str, range: Shape) -> Vec<(&'static str, Noise, Mat<f64>)> {
    let m = range.len();
    let diagonal =
        |sigmas: &[f64]| Mat::from_fn(m, m, |i, j| if i == j { sigmas[i].powi(2) } else { 0.0 });
    let each = sigmas(name, m);
    let dense = covariance(name, m);
    let variances = spectrum(range);
    vec![
        ("one", Noise::uniform(0.1).unwrap(), diagonal(&vec![0.1; m])),
        ("entries", Noise::entries(each.clone()).unwrap(), diagonal(&each)),
        ("factor", Noise::factor(&factor(&dense)).unwrap(), dense),
        (
            "spectrum",
            Noise::spectrum(range, variances.clone()).unwrap(),
            stationary(range, &variances),
        ),
    ]
}

/// μ⋆ and Σ⋆ from P = α²/β² I + AᵀR⁻¹A over the rows that were measured.
fn by_dense_algebra(
    a: &Mat<f64>,
    covariance: &Mat<f64>,
    y: &[f64],
    x_t: &[f64],
    level: &Level,
    rows: &[usize],
) -> (Vec<f64>, Mat<f64>) {
    let n = a.ncols();
    let a = Mat::from_fn(rows.len(), n, |i, j| a[(rows[i], j)]);
    let covariance = Mat::from_fn(rows.len(), rows.len(), |i, j| covariance[(rows[i], rows[j])]);
    let y = Mat::from_fn(rows.len(), 1, |i, _| y[rows[i]]);
    let whitening = covariance.llt(Side::Lower).unwrap();
    let state = level.sigma().powi(-2);
    let precision =
        a.transpose() * whitening.solve(&a) + Mat::<f64>::identity(n, n) * faer::Scale(state);
    let x_t = Mat::from_fn(n, 1, |i, _| x_t[i] * level.alpha / level.beta.powi(2));
    let precision = precision.llt(Side::Lower).unwrap();
    let mu_star = precision.solve(x_t + a.transpose() * whitening.solve(&y));
    (mu_star.col_as_slice(0).to_vec(), precision.inverse())
}

/// The pivot by the closed form where there is one, by conjugate gradients everywhere, against dense algebra.
fn check(
    what: &str,
    map: &PreparedOperator,
    noise: &Noise,
    covariance: &Mat<f64>,
    missing: &[usize],
) -> bool {
    let draw = |of: &str, n| Stream::named(2, &format!("{of} of {what}")).normals(n);
    let m = map.range().len();
    let x_0 = draw("x", map.domain().len());
    // σ̄ may be any: a set has a common one.
    let noise = Arc::new(noise.clone());
    let rows: Vec<usize> = (0..m).filter(|i| !missing.contains(i)).collect();
    let mut is_basic = false;
    for common in [noise.sigma_y(), 0.07] {
        let whitened = Whitened::prepare(map, &noise, common).unwrap();
        let mut y: Vec<f64> =
            map.apply(&x_0).iter().zip(draw("η", m)).map(|(y, z)| y + 0.1 * z).collect();
        missing.iter().for_each(|index| y[*index] = f64::NAN);
        let seen = noise.whiten(&y, common);
        for level in [Level::edm(80.0), Level { alpha: 0.6, beta: 0.8 }, Level::edm(0.02)] {
            let x_t: Vec<f64> = x_0
                .iter()
                .zip(draw("ε", x_0.len()))
                .map(|(x, z)| level.alpha * x + level.beta * z)
                .collect();
            let (expected, covariance) =
                by_dense_algebra(&to_matrix(map), covariance, &y, &x_t, &level, &rows);
            let solved = Cg { rtol: 1e-13, ..Cg::default() }
                .mu_star(&whitened, &seen, common, &x_t, &level)
                .unwrap();
            let gap = distance(&solved.x, &expected) / norm(&expected);
            assert!(gap < 1e-8, "{what}, {level:?}: {gap:e} by conjugate gradients");
            if let Some(spectral) = whitened.basic() {
                is_basic = true;
                let closed = mu_star(spectral, &seen, common, &x_t, &level);
                let gap = distance(&closed, &expected) / norm(&expected);
                assert!(gap < 1e-8, "{what}, {level:?}: {gap:e} in closed form");
                let gap = (sigma_star(spectral, common, &level) - &covariance).norm_max();
                assert!(gap < 1e-8 * covariance.norm_max(), "{what}, {level:?}: Σ⋆ by {gap:e}");
            }
        }
    }
    is_basic
}

#[test]
fn whitened_once_the_pivot_is_that_of_the_covariance() {
    let mut spectral = Vec::new();
    for (name, map) in cases() {
        for (law, noise, covariance) in laws(name, map.range()) {
            let what = format!("{name}, {law}");
            if check(&what, &map, &noise, &covariance, &[]) {
                spectral.push(what);
            }
        }
    }
    // Where an eigenbasis is kept.
    let expected = [
        "mask, one",
        "mask, entries",
        "nothing hidden, one",
        "nothing hidden, entries",
        "nothing hidden, spectrum",
        "weights, one",
        "weights, entries",
        "circular, one",
        "circular, spectrum",
        "means, one",
        "dense, one",
        "dense, entries",
        "dense, factor",
        "dense, spectrum",
    ];
    assert_eq!(spectral, expected);
}

#[test]
fn what_is_missing_changes_nothing_else() {
    for (name, map) in cases() {
        let m = map.range().len();
        for (law, noise, covariance) in laws(name, map.range()) {
            let missing = [0, m - 1];
            let flags: Vec<bool> = (0..m).map(|i| missing.contains(&i)).collect();
            match noise.with_missing(&flags) {
                Ok(noise) => {
                    assert_eq!(noise.missing(m), 2);
                    check(
                        &format!("{name}, {law}, two missing"),
                        &map,
                        &noise,
                        &covariance,
                        &missing,
                    );
                }
                Err(error) => {
                    assert_eq!(law, "spectrum");
                    assert!(
                        error.to_string().starts_with("2 values of the measurement are missing")
                    );
                }
            }
        }
    }
}

/// Of a mask, to the bit, what the mask does that hides the pixel too.
#[test]
fn a_missing_pixel_is_a_hidden_one() {
    let shape = Shape::new(1, 2, 3).unwrap();
    let mask = |observed: [u8; 6]| {
        Operator::Mask(Mask::new(shape, observed.iter().map(|v| *v == 1).collect()).unwrap())
    };
    let (given, without) = (mask([1, 1, 0, 1, 1, 1]), mask([1, 0, 0, 1, 1, 1]));
    let missing = [false, true, false, false, false, false];
    let noise = Arc::new(Noise::uniform(0.05).unwrap().with_missing(&missing).unwrap());
    assert_eq!(noise.sigma_y().to_bits(), 0.05f64.to_bits());
    let whitened = Whitened::prepare(&given.into(), &noise, 0.05).unwrap();
    let whitened = whitened.basic().unwrap();
    let y = [0.3, f64::NAN, 9.0, -0.2, 0.1, 0.7];
    let level = Level::edm(2.0);
    let x_t = Stream::named(3, "state").normals(6);
    let found = mu_star(whitened, &noise.whiten(&y, 0.05), 0.05, &x_t, &level);
    let y = [0.3, 0.0, 9.0, -0.2, 0.1, 0.7];
    assert_eq!(found, mu_star(&without, &y, 0.05, &x_t, &level));
    assert!(sigma_star(whitened, 0.05, &level) == sigma_star(&without, 0.05, &level));
}

#[test]
fn whitening_undoes_colouring_and_keeps_volumes() {
    let range = Shape::new(2, 3, 4).unwrap();
    let z = Stream::named(4, "z").normals(range.len());
    for (law, noise, covariance) in laws("whitening", range) {
        let coloured = noise.colour(&z);
        let back = noise.whiten(&coloured, 0.3);
        let expected: Vec<f64> = z.iter().map(|z| 0.3 * z).collect();
        assert!(distance(&back, &expected) < 1e-13 * norm(&expected), "{law}");
        assert!(
            distance(&noise.unwhiten(&back, 0.3), &coloured) < 1e-13 * norm(&coloured),
            "{law}"
        );
        // ⟨W a, z⟩ = ⟨a, Wᵀ z⟩.
        let a = Stream::named(4, "a").normals(range.len());
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (forward, backward) =
            (dot(&noise.whiten(&a, 0.3), &z), dot(&a, &noise.whiten_transposed(&z, 0.3)));
        assert!((forward - backward).abs() < 1e-12 * forward.abs().max(1.0), "{law}");
        // σ̄ = (det R)^(1/2m).
        let determinant = covariance.determinant();
        let sigma = determinant.powf(0.5 / range.len() as f64);
        assert!((noise.sigma_y() / sigma - 1.0).abs() < 1e-12, "{law}");
        // L Lᵀ = R.
        let mut lower = Mat::zeros(range.len(), range.len());
        for j in 0..range.len() {
            let unit: Vec<f64> = (0..range.len()).map(|i| f64::from(u8::from(i == j))).collect();
            lower.col_as_slice_mut(j).copy_from_slice(&noise.colour(&unit));
        }
        let gap = (&lower * lower.transpose() - &covariance).norm_max();
        assert!(gap < 1e-14 * range.len() as f64, "{law}: {gap:e}");
    }
}

/// At σ_y = 0 the pivot is x_t/α + A†(y − A x_t/α) with noise along the null space of A alone, and small σ_y come near it.
#[test]
fn an_exact_measurement_is_the_limit() {
    let level = Level { alpha: 0.6, beta: 0.8 };
    let weights = Weights::new(Shape::new(1, 2, 2).unwrap(), vec![0.5, 0.0, -2.0, 1.0]).unwrap();
    let all = operators().into_iter().chain([("weights".to_owned(), Operator::Weights(weights))]);
    for (name, a) in all {
        use eps_math::operator::Spectral as _;
        let n = a.domain().len();
        let x_t = Stream::named(5, "state").normals(n);
        let y = a.apply(&Stream::named(5, "image").normals(n));
        let state: Vec<f64> = x_t.iter().map(|x| x / level.alpha).collect();
        let rest: Vec<f64> = y.iter().zip(a.apply(&state)).map(|(y, seen)| y - seen).collect();
        let correction = a.pseudo_inverse(&rest);
        let expected: Vec<f64> = state.iter().zip(correction).map(|(a, b)| a + b).collect();
        let exact = mu_star(&a, &y, 0.0, &x_t, &level);
        // Rounding of Aᵀy and AᵀA x over λ.
        let lambdas = a.eigenvalues();
        let positive = || lambdas.iter().copied().filter(|lambda| *lambda > 0.0);
        let (least, most) =
            (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
        let scale = norm(&exact) + norm(&state);
        let bound = 64.0 * f64::EPSILON * (most / least) * scale;
        assert!(distance(&exact, &expected) <= bound, "{name}");
        let null = spectral_matrix(&a, &|lambda| if lambda > 0.0 { 0.0 } else { 16.0 / 9.0 });
        let gap = (sigma_star(&a, 0.0, &level) - null).norm_max();
        // (β/α)², in two roundings.
        assert!(gap <= 8.0 * f64::EPSILON, "{name}: {gap:e}");
        // κ/(λ + κ) of the correction is missing, κ = σ_y² α²/β².
        let sigma_y = 1e-3 * least.sqrt();
        let near = mu_star(&a, &y, sigma_y, &x_t, &level);
        assert!(distance(&near, &exact) <= 1e-6 * scale * (most / least).sqrt() + bound, "{name}");
    }
}

/// 400 units at 4 a quantum are 100 quanta: 10 of them, 40 units, are the noise; with 30 of reading out it is 50.
#[test]
fn counts_have_shot_noise_and_that_of_reading_out() {
    use eps_math::noise::Law;
    let sigmas =
        |readout| match Noise::counts(&[400.0, 0.0, -3.0, f64::NAN], 4.0, readout).unwrap().law() {
            Law::Entries(sigmas) => sigmas.clone(),
            law => panic!("{law:?}"),
        };
    assert_eq!(sigmas(0.0), [40.0, 4.0, 4.0, f64::INFINITY]);
    assert_eq!(sigmas(30.0)[0], 50.0);
    for (gain, readout) in [(0.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, f64::NAN)] {
        let error = Noise::counts(&[1.0], gain, readout).unwrap_err().to_string();
        assert!(error.contains("gain") || error.contains("readout"), "{error}");
    }
}

#[test]
fn what_is_no_noise_is_told() {
    let error = |noise: Result<Noise, eps_math::MathError>| noise.unwrap_err().to_string();
    for sigma in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(error(Noise::uniform(sigma)).contains(&format!("sigma_y is {sigma}")));
    }
    for sigma in [0.0, -0.5, f64::NAN] {
        let error = error(Noise::entries(vec![0.1, sigma]));
        assert!(error.contains(&format!("{sigma} at index 1")), "{error}");
    }
    assert!(error(Noise::entries(vec![f64::INFINITY; 3])).contains("all 3 values"));
    let upper = Mat::from_fn(2, 2, |i, j| if i <= j { 1.0 } else { 0.0 });
    let told = error(Noise::factor(&upper));
    assert!(told.contains("row 0, column 1") && told.contains("transpose"), "{told}");
    let flat = Mat::from_fn(2, 2, |i, j| if i == j && i == 0 { 1.0 } else { 0.0 });
    assert!(error(Noise::factor(&flat)).contains("is 0 at index 1"));
    assert!(error(Noise::factor(&Mat::zeros(2, 3))).contains("6 values where 4"));
    let nan = Mat::from_fn(1, 1, |_, _| f64::NAN);
    assert!(error(Noise::factor(&nan)).contains("NaN"));
    let plane = Shape::new(1, 2, 3).unwrap();
    assert!(error(Noise::spectrum(plane, vec![1.0; 5])).contains("5 values where 6"));
    assert!(error(Noise::spectrum(plane, vec![0.0; 6])).contains("is 0 at index 0"));
    let skew = error(Noise::spectrum(plane, vec![1.0, 2.0, 3.0, 1.0, 1.0, 1.0]));
    assert!(skew.contains("opposite"), "{skew}");
    let noise = Noise::uniform(0.1).unwrap();
    assert!(error(noise.with_missing(&[true, true])).contains("all 2 values"));
    let exact = Noise::uniform(0.0).unwrap();
    assert!(error(exact.with_missing(&[true, false])).contains("missing entries is 0"));
    // Noise of another length than y.
    let map = prepared(r#"{"operator": "average-pool", "factor": 2}"#, [1, 4, 4]);
    let noise = Arc::new(Noise::entries(vec![0.1; 16]).unwrap());
    let told = Whitened::prepare(&map, &noise, 0.1).unwrap_err().to_string();
    assert!(told.contains("16 values where 4"), "{told}");
    let noise = Arc::new(Noise::spectrum(map.domain(), vec![0.1; 16]).unwrap());
    let told = Whitened::prepare(&map, &noise, 0.1).unwrap_err().to_string();
    assert!(told.contains("plane"), "{told}");
}

#[test]
#[should_panic(expected = "1 of 2 measurements are exact")]
fn exact_measurements_have_no_noise_in_common_with_others() {
    let _ =
        eps_math::noise::common_sigma_y(&[0.0, 0.1].map(|sigma| Noise::uniform(sigma).unwrap()));
}

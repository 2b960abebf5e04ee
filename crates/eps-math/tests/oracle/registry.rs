//! The one list of operators that every test of operators, pivots and posteriors runs through, and
//! the priors that go with them. A new operator family is admitted by an entry here.

use eps_math::Shape;
use eps_math::operator::{
    AveragePool, CircularBlur, Dense, Kernel, LinearMap, Mask, Operator, Separable,
};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::rng::Stream;
use faer::Mat;

fn normals(name: &str, n: usize) -> Vec<f64> {
    Stream::named(0, name).normals(n)
}

/// An m×n matrix of the given rank.
fn matrix(name: &str, m: usize, n: usize, rank: usize) -> Vec<f64> {
    let (left, right) = (normals(name, m * rank), normals(&format!("{name}ᵀ"), rank * n));
    let entry = |i: usize, j: usize| (0..rank).map(|k| left[i * rank + k] * right[k * n + j]).sum();
    (0..m * n).map(|index| entry(index / n, index % n)).collect()
}

/// Every family, of full rank and rank-deficient, on images of 2 to 128 values.
pub(crate) fn operators() -> Vec<(String, Operator)> {
    let mut list = Vec::new();
    let mut add = |name: &str, operator: Operator| {
        list.push((format!("{name} on {}", operator.domain()), operator));
    };
    let shape = |c, h, w| Shape::new(c, h, w).unwrap();

    for (c, h, w) in [(1, 4, 4), (3, 4, 4), (2, 8, 8), (1, 4, 6)] {
        let shape = shape(c, h, w);
        let hidden = Stream::named(0, "mask");
        let sparse = (0..h * w).map(|i| hidden.uniform(i as u64) > 0.7).collect();
        add("mask, 70 % missing", Operator::Mask(Mask::new(shape, sparse).unwrap()));
        let pool = AveragePool::new(shape, 2).unwrap();
        add("2×2 means", Operator::AveragePool(pool));
        let skew = Kernel::new(3, 2, vec![0.4, 0.1, 0.3, -0.2, 0.05, 0.1]).unwrap();
        add("skew blur", Operator::CircularBlur(CircularBlur::new(shape, skew).unwrap()));
        // Even sides of equal taps annihilate the highest frequencies exactly.
        let square = Kernel::new(2, 2, vec![0.25; 4]).unwrap();
        add("2×2 box blur", Operator::CircularBlur(CircularBlur::new(shape, square).unwrap()));
    }

    let small = shape(1, 4, 4);
    add("mask, nothing missing", Operator::Mask(Mask::new(small, vec![true; 16]).unwrap()));
    let one = (0..16).map(|i| i == 5).collect();
    add("mask, one pixel", Operator::Mask(Mask::new(small, one).unwrap()));
    for factor in [1, 4] {
        let pool = AveragePool::new(small, factor).unwrap();
        add(&format!("{factor}×{factor} means"), Operator::AveragePool(pool));
    }
    let flat = Kernel::new(4, 4, vec![1.0 / 16.0; 16]).unwrap();
    add("blur to the mean", Operator::CircularBlur(CircularBlur::new(small, flat).unwrap()));
    let eight = shape(1, 8, 8);
    for (name, kernel) in [
        ("Gaussian blur, σ 0.75", Kernel::gaussian(0.75, 7)),
        ("Gaussian blur, σ 2", Kernel::gaussian(2.0, 7)),
        ("motion blur", Kernel::motion(7, 0.6)),
    ] {
        let blur = CircularBlur::new(eight, kernel.unwrap()).unwrap();
        add(name, Operator::CircularBlur(blur));
    }

    for (name, c, (p, rank_p), (q, rank_q)) in [
        ("separable, wide", 1, (3, 3), (2, 2)),
        ("separable, tall", 3, (6, 4), (5, 4)),
        ("separable, rank-deficient", 2, (4, 2), (4, 3)),
    ] {
        let (r, s) = (matrix(name, p, 4, rank_p), matrix("horizontal", q, 4, rank_q));
        add(name, Operator::Separable(Separable::new(shape(c, 4, 4), &r, &s).unwrap()));
    }

    for (name, shape, m, rank) in [
        ("dense, square", shape(1, 1, 2), 2, 2),
        ("dense, one row", shape(1, 1, 2), 1, 1),
        ("dense, tall", shape(1, 1, 2), 5, 2),
        ("dense, wide", shape(1, 4, 4), 7, 7),
        ("dense, rank-deficient", shape(3, 2, 2), 9, 4),
        ("dense, square and rank-deficient", shape(1, 4, 4), 16, 11),
    ] {
        let a = matrix(name, m, shape.len(), rank);
        add(name, Operator::Dense(Dense::new(shape, m, &a).unwrap()));
    }
    list
}

/// Three components: broad and correlated, narrow, and nearly on a plane (smallest variance 1e-4).
pub(crate) fn mixture(n: usize) -> Mixture {
    let component = |name: &str, directions: usize, spread: f64, floor: f64| {
        let b = normals(name, n * directions);
        let covariance = Mat::from_fn(n, n, |i, j| {
            let dot: f64 =
                (0..directions).map(|k| b[i * directions + k] * b[j * directions + k]).sum();
            spread * dot / directions as f64 + if i == j { floor } else { 0.0 }
        });
        let mean = normals(&format!("mean of {name}"), n).iter().map(|z| 0.5 * z).collect();
        Gaussian::new(mean, covariance).unwrap()
    };
    let components = vec![
        component("broad", 2 * n, 0.5, 0.05),
        component("narrow", n, 0.01, 0.01),
        component("plane", n.div_ceil(2), 0.3, 1e-4),
    ];
    Mixture::new(&[2.0, 1.0, 1.0], components).unwrap()
}

/// ‖v‖₂.
pub(crate) fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// ‖a − b‖₂.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

/// A measurement of x₀ with noise from a stream.
pub(crate) fn measure(operator: &Operator, x_0: &[f64], sigma_y: f64, stream: &Stream) -> Vec<f64> {
    let y = operator.apply(x_0);
    let noise = stream.normals(y.len());
    y.iter().zip(noise).map(|(value, z)| value + sigma_y * z).collect()
}

/// Checks that samples have a mean and a covariance, within five standard errors.
pub(crate) fn assert_moments(
    samples: &[Vec<f64>],
    mean: &[f64],
    covariance: &Mat<f64>,
    what: &str,
) {
    let count = samples.len() as f64;
    // The average of a statistic and its standard error from the statistic's own spread.
    let check = |statistic: &dyn Fn(&[f64]) -> f64, expected: f64, place: (usize, usize)| {
        let values: Vec<f64> = samples.iter().map(|x| statistic(x)).collect();
        let average = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|v| (v - average).powi(2)).sum::<f64>() / count;
        let bound = 5.0 * (variance / count).sqrt();
        assert!(
            (average - expected).abs() <= bound,
            "{what}: {average} for {expected} at {place:?}, five standard errors are {bound}"
        );
    };
    for i in 0..mean.len() {
        check(&|x| x[i], mean[i], (i, i));
        for j in 0..=i {
            check(&|x| (x[i] - mean[i]) * (x[j] - mean[j]), covariance[(i, j)], (i, j));
        }
    }
}

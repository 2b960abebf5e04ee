//! What the tests of samplers share: small operators and measurements.

use eps_math::Shape;
use eps_math::operator::{AveragePool, CircularBlur, Dense, Kernel, LinearMap, Mask, Operator};
use eps_math::prior::Mixture;
use eps_math::rng::Stream;
use eps_model::{Measurement, TensorOperator, batch};
use tch::Device;

pub(crate) const CPU: Device = Device::Cpu;

pub(crate) fn shape() -> Shape {
    Shape::new(1, 4, 4).unwrap()
}

/// One operator of every family of basis.
pub(crate) fn operators() -> Vec<(&'static str, Operator)> {
    let observed = (0..16).map(|i| i % 3 == 0).collect();
    let kernel = Kernel::gaussian(0.75, 3).unwrap();
    let matrix = Stream::named(1, "matrix").normals(5 * 16);
    vec![
        ("mask", Operator::Mask(Mask::new(shape(), observed).unwrap())),
        ("pool", Operator::AveragePool(AveragePool::new(shape(), 2).unwrap())),
        ("blur", Operator::CircularBlur(CircularBlur::new(shape(), kernel).unwrap())),
        ("dense", Operator::Dense(Dense::new(shape(), 5, &matrix).unwrap())),
    ]
}

/// y = A x₀ + σ_y η for one image drawn from the prior.
pub(crate) fn measure(prior: &Mixture, operator: &Operator, sigma_y: f64) -> Vec<f64> {
    let x_0 = prior.sample(&Stream::named(2, "image"));
    let clean = operator.apply(&x_0);
    let noise = Stream::named(3, "noise").normals(clean.len());
    clean.iter().zip(noise).map(|(a, z)| a + sigma_y * z).collect()
}

/// The same measurement for every item of a batch.
pub(crate) fn measurement(
    operator: &Operator,
    y: &[f64],
    sigma_y: f64,
    times: usize,
) -> Measurement {
    let operator = TensorOperator::new(vec![operator.clone(); times], CPU).unwrap();
    let y = batch(&y.repeat(times), operator.range(), CPU);
    Measurement::new(operator, &y, sigma_y).unwrap()
}

//! The Wiener preconditioning: exact for Gaussian data whose covariance the basis diagonalises.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use eps_math::operator::{AveragePool, CircularBlur, Kernel, Mask, Operator};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::rng::Stream;
use eps_math::{Level, Precondition, PreconditionMode, Shape};
use eps_model::{
    DataMoments, Denoiser, Measurement, NetworkDenoiser, Oracle, Precision, Query, QueryNoise,
    SongUNetConfig, TensorOperator, UNet, level_fields,
};
use faer::Mat;
use tch::{Device, Kind, Tensor};

const SIDE: usize = 8;
const PIXELS: usize = SIDE * SIDE;

fn shape() -> Shape {
    Shape::new(1, SIDE, SIDE).unwrap()
}

fn normals(name: &str, n: usize) -> Vec<f64> {
    Stream::named(3, name).normals(n)
}

/// A denoiser whose network returns 0, without moments.
fn silent() -> NetworkDenoiser {
    let config = SongUNetConfig {
        model_channels: 8,
        channel_mult: vec![1],
        num_blocks: 1,
        attn_resolutions: vec![],
        ..SongUNetConfig::ddpmpp(SIDE, 1, 1)
    };
    let network = UNet::new(config, Device::Cpu, 0).unwrap();
    {
        let _guard = tch::no_grad_guard();
        for mut weight in network.tensors().into_values() {
            let _ = weight.zero_();
        }
    }
    let precondition = Precondition { mode: PreconditionMode::Wiener, sigma_data: 0.5 };
    NetworkDenoiser::new(network, precondition, vec![], Precision::F32)
}

/// A denoiser of which the preconditioning alone is left.
fn preconditioning(moments: DataMoments) -> NetworkDenoiser {
    silent().with_data(moments)
}

/// The answers of the preconditioning and of the exact denoiser of a Gaussian prior at the pivot.
fn both(operator: Operator, moments: DataMoments, covariance: Mat<f64>) -> (Tensor, Tensor) {
    let gaussian = Gaussian::new(moments.mean.clone(), covariance).unwrap();
    let prior = Mixture::from(gaussian);
    let operator = TensorOperator::new(vec![operator], Device::Cpu).unwrap();
    let image = |name| Tensor::from_slice(&normals(name, PIXELS)).view([1, 1, 8, 8]);
    let y = operator.apply(&image("x"));
    let measurement = Measurement::new(operator, &y, 0.3).unwrap();
    let level = level_fields(&[Level::edm(0.7)], Device::Cpu);
    let pivot = measurement.pivot(&image("x_t"), &level).unwrap();
    let noise =
        QueryNoise::Anisotropic { measurement: &measurement, sigma_star: &pivot.sigma_star };
    let query = Query { mu: &pivot.mu_star, level: &level, noise };
    (
        preconditioning(moments).denoise(&query).unwrap(),
        Oracle::new(&prior).denoise(&query).unwrap(),
    )
}

#[test]
fn without_moments_it_is_an_error() {
    let mu = Tensor::zeros([1, 1, 8, 8], (Kind::Double, Device::Cpu));
    let level = level_fields(&[Level::edm(0.7)], Device::Cpu);
    let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
    let error = silent().denoise(&query).unwrap_err().to_string();
    assert!(error.contains("`with_data`"), "{error}");
}

fn largest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

#[test]
fn masks_of_independent_pixels_are_exact() {
    let variance: Vec<f64> = normals("variance", PIXELS).iter().map(|v| 0.1 + v * v).collect();
    let mean_variance = variance.iter().sum::<f64>() / PIXELS as f64;
    let covariance = Mat::from_fn(PIXELS, PIXELS, |i, j| if i == j { variance[i] } else { 0.0 });
    let moments = DataMoments {
        shape: shape(),
        mean: normals("mean", PIXELS),
        variance,
        spectrum: vec![mean_variance; PIXELS],
    };
    let observed = normals("mask", PIXELS).iter().map(|v| *v > 0.0).collect();
    let mask = Operator::Mask(Mask::new(shape(), observed).unwrap());
    let (found, exact) = both(mask, moments, covariance);
    // A 64×64 solve whose condition is below 1e3.
    assert!(largest(&(found - &exact)) <= 1e-12 * largest(&exact));
}

#[test]
fn blurs_of_stationary_images_are_exact() {
    // The spectrum of a circular random walk with a leak.
    let angle = |f: usize| (std::f64::consts::TAU * f as f64 / SIDE as f64).cos();
    let spectrum: Vec<f64> =
        (0..PIXELS).map(|f| 0.2 / (2.2 - angle(f / SIDE) - angle(f % SIDE))).collect();
    let transform = Tensor::from_slice(&spectrum).view([1, 1, 8, 8]);
    let lags = transform.fft_ifft2(None::<&[i64]>, [-2i64, -1], "backward").real();
    let lags = Vec::<f64>::try_from(lags.flatten(0, -1)).unwrap();
    let lag = |i: usize, j: usize| {
        let of = |a: usize, b: usize| (SIDE + a - b) % SIDE;
        lags[of(i / SIDE, j / SIDE) * SIDE + of(i % SIDE, j % SIDE)]
    };
    let covariance = Mat::from_fn(PIXELS, PIXELS, |i, j| 0.5 * (lag(i, j) + lag(j, i)));
    let moments = DataMoments {
        shape: shape(),
        mean: normals("mean", PIXELS),
        variance: vec![lags[0]; PIXELS],
        spectrum,
    };
    let kernel = Kernel::new(3, 3, normals("kernel", 9)).unwrap();
    let blur = Operator::CircularBlur(CircularBlur::new(shape(), kernel).unwrap());
    let (found, exact) = both(blur, moments, covariance);
    assert!(largest(&(found - &exact)) <= 1e-11 * largest(&exact));
}

#[test]
fn blocks_of_white_images_are_exact() {
    let covariance = Mat::from_fn(PIXELS, PIXELS, |i, j| if i == j { 0.4 } else { 0.0 });
    let moments = DataMoments {
        shape: shape(),
        mean: normals("mean", PIXELS),
        variance: vec![0.4; PIXELS],
        spectrum: vec![0.4; PIXELS],
    };
    let pool = Operator::AveragePool(AveragePool::new(shape(), 4).unwrap());
    let (found, exact) = both(pool, moments, covariance);
    assert!(largest(&(found - &exact)) <= 1e-12 * largest(&exact));
}

#[test]
fn moments_are_those_of_the_images() {
    let bytes: Vec<u8> = (0..3000 * 2 * 12_u64).map(|i| (i * i % 251) as u8).collect();
    let images = Tensor::from_slice(&bytes).view([3000, 2, 3, 4]);
    let moments = DataMoments::of(&images).unwrap();
    let x = images.to_kind(Kind::Double) / 127.5 - 1.0;
    let centred = &x - x.mean_dim([0i64].as_slice(), true, Kind::Double);
    let variance = centred.square().mean_dim([0i64, 1].as_slice(), false, Kind::Double);
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-12;
    assert!(
        (0..12).all(|i| close(
            moments.variance[i],
            variance.double_value(&[i as i64 / 4, i as i64 % 4])
        ))
    );
    // Parseval: the transform is orthonormal.
    let mean = |values: &[f64]| values.iter().sum::<f64>() / 12.0;
    assert!(close(mean(&moments.variance), mean(&moments.spectrum)));
    // The coordinate at frequency 0 is the sum over pixels, over √12.
    let sums = centred.sum_dim_intlist([-2i64, -1].as_slice(), false, Kind::Double);
    let of_sums = (sums.square().mean(Kind::Double) / 12.0).double_value(&[]);
    assert!(close(moments.spectrum[0], of_sums));
}

//! Measurements of clean images: y = A x₀ + σ_y η, drawn once for an image; measurements on a device.

use anyhow::Result;
use eps_data::MeasurementSet;
use eps_math::Shape;
use eps_math::operator::{LinearOperator as _, Operator};
use eps_math::rng::Stream;
use eps_model::{Measurement, TensorOperator};
use tch::{Device, Tensor};

/// The stream of one quantity of one image's measurement, such as the "noise" of a "motion-blur".
///
/// Its key is no sample's: nothing that a sampler draws under the same seed is correlated with it.
pub(crate) fn stream(seed: u64, what: &str, of: &str, image: u64) -> Stream {
    let key = Stream::named(seed, &format!("{what} of {of}")).key();
    Stream::new(key, image, 0, 0)
}

/// y = A x₀ + σ_y η with noise from a stream, also where a mask hides the pixel.
///
/// # Panics
/// If `x_0` does not have the values of the operator's images.
pub(crate) fn measure(operator: &Operator, x_0: &[f64], sigma_y: f64, noise: &Stream) -> Vec<f64> {
    let noise = noise.normals(operator.range().len());
    operator.apply(x_0).iter().zip(noise).map(|(clean, z)| clean + sigma_y * z).collect()
}

/// The measurements of some images of a set, each as often as it is named.
///
/// # Errors
/// None but those of libtorch.
pub(crate) fn on_device(
    set: &MeasurementSet,
    images: &[usize],
    device: Device,
) -> Result<Measurement> {
    let operators = images.iter().map(|image| set.operator(*image).clone()).collect();
    let y: Vec<f64> = images.iter().flat_map(|i| set.measurement(*i).iter().copied()).collect();
    let Shape { channels, height, width } = set.range();
    let dims = [images.len(), channels, height, width].map(|side| side as i64);
    let operator = TensorOperator::new(operators, device)?;
    Ok(Measurement::new(operator, &Tensor::from_slice(&y).view(dims), set.sigma_y())?)
}

#[cfg(test)]
mod tests {
    use eps_math::{Draw, Task};

    use super::*;

    #[test]
    fn noise_has_the_standard_deviation_that_was_asked_for() {
        let shape = Shape::new(1, 28, 28).unwrap();
        let x_0 = vec![0.3; shape.len()];
        let (mut sum, mut squares, mut n) = (0.0, 0.0, 0.0);
        for image in 0..64 {
            let of = Task::MotionBlur.name();
            let drawn = stream(5, "operator", of, image);
            let operator = Task::MotionBlur.draw(Draw::Test, shape, &drawn).unwrap();
            let clean = operator.apply(&x_0);
            let y = measure(&operator, &x_0, 0.05, &stream(5, "noise", of, image));
            for (y, clean) in y.iter().zip(clean) {
                let z = (y - clean) / 0.05;
                (sum, squares, n) = (sum + z, squares + z * z, n + 1.0);
            }
        }
        // Five standard errors: Var z = 1, Var z² = 2.
        assert!((sum / n).abs() < 5.0 / f64::sqrt(n));
        assert!((squares / n - 1.0).abs() < 5.0 * f64::sqrt(2.0 / n));
    }
}

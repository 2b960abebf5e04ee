//! Measurements of clean images: y = A x₀ + σ_y η, drawn once for an image.

use eps_math::operator::{LinearOperator as _, Operator};
use eps_math::rng::Stream;

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

#[cfg(test)]
mod tests {
    use eps_math::{Draw, Shape, Task};

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

//! What is measured of an image.

use std::ops::RangeInclusive;

use crate::Real;

/// The least σ_y > 0 that is admitted on the scale [-1, 1]: below, the rounding of images in f32, 1e-7, is no longer small beside the noise.
pub const LEAST_SIGMA_Y: f64 = 1e-6;

/// σ_y > 0 on the scale [-1, 1]: above, the noise is a thousand times the images.
pub const SIGMA_Y: RangeInclusive<f64> = LEAST_SIGMA_Y..=1e3;

/// One value of a measurement, or all of them as a field.
///
/// ```text
/// y = A x₀ + σ_y η,   η ~ N(0, I)
/// ```
///
/// `clean` is that of A x₀ and `eta` that of η.
///
/// # Units
/// `clean` and `sigma_y` on the scale of the images.
///
/// # Example
///
/// ```
/// assert_eq!(eps_math::measured(0.5, 0.1, -2.0), 0.3);
/// ```
#[must_use]
pub fn measured<T: Real>(clean: T, sigma_y: f64, eta: T) -> T {
    clean + eta * sigma_y
}

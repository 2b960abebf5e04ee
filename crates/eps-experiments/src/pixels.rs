//! Values of pixels, and their moments over samples.

use eps_math::Shape;

use crate::restoration::Restored;

/// A value of [-1, 1] on [0, 1].
pub(crate) fn unit(value: f64) -> f64 {
    0.5 * (value + 1.0)
}

/// Mean and standard deviation (J − 1) of the samples of every image, `[N, C, H, W]` each; the
/// deviation is 0 for a single sample.
pub(crate) fn moments(restoration: &Restored, shape: Shape) -> (Vec<f64>, Vec<f64>) {
    eps_data::archive::moments(&restoration.samples, restoration.per_image, shape)
}

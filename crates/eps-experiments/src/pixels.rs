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
    let (d, j) = (shape.len(), restoration.per_image);
    restoration
        .samples
        .chunks_exact(j * d)
        .flat_map(|samples| {
            (0..d).map(move |pixel| {
                let values = || samples.iter().skip(pixel).step_by(d).map(|v| f64::from(*v));
                let mean = values().sum::<f64>() / j as f64;
                let squares: f64 = values().map(|v| (v - mean).powi(2)).sum();
                (mean, (squares / (j - 1).max(1) as f64).sqrt())
            })
        })
        .unzip()
}

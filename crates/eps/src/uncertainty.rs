//! What samples say of each pixel beyond their mean and standard deviation, which [`SampleArchive`] has.

use eps_data::SampleArchive;
use eps_math::{MathError, nearest_f32, whole};

use crate::Error;

/// The quantile of each pixel's samples below which a share of them lies, by linear interpolation between them so that a
/// further sample lies below it with that probability (type 6 of Hyndman and Fan, NumPy's `weibull`).
///
/// Between the quantiles a/2 and 1 - a/2 of J samples lies the truth with probability 1 - a, if it is one more sample of
/// the same law and J + 1 is at least 2/a: 19 samples or more for 90 %. Of fewer these quantiles are the outermost samples.
///
/// # Shapes
/// `[N, C, H, W]`
///
/// # Units
/// The scale [-1, 1], not clipped.
///
/// # Errors
/// [`MathError::OutOfRange`] for a share outside [0, 1].
///
/// # Example
///
/// ```
/// use eps::data::{ImageProvenance, SampleArchive};
/// use eps::math::Shape;
///
/// // One image of two pixels, three samples of it.
/// let samples = vec![0.0, 0.1, 0.5, 0.2, 0.25, 0.3];
/// # let (name, source, licence, sha256) = ("n".into(), "s".into(), "MIT".into(), "0".into());
/// # let provenance = ImageProvenance { name, source, licence, sha256 };
/// let archive = SampleArchive::new(Shape::new(1, 1, 2)?, 3, samples, serde_json::Value::Null, provenance)?;
/// assert_eq!(eps::uncertainty::quantile(&archive, 0.5)?, [0.25, 0.2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn quantile(archive: &SampleArchive, share: f64) -> Result<Vec<f32>, Error> {
    if !(0.0..=1.0).contains(&share) {
        let what = "the share of samples below a quantile";
        return Err(MathError::OutOfRange { what, value: share, range: "in [0, 1]" }.into());
    }
    let (one, per_image) = (archive.shape().len(), archive.samples_per_image());
    let mut quantiles = Vec::with_capacity(archive.len() * one);
    let mut values = Vec::with_capacity(per_image);
    for samples in archive.samples().chunks_exact(one * per_image) {
        for pixel in 0..one {
            values.clear();
            values.extend(samples.iter().skip(pixel).step_by(one));
            values.sort_by(f32::total_cmp);
            let place = (share * (per_image + 1) as f64 - 1.0).clamp(0.0, (per_image - 1) as f64);
            let (below, above) = (values[whole(place)], values[whole(place.ceil())]);
            quantiles.push(below + (above - below) * nearest_f32(place.fract()));
        }
    }
    Ok(quantiles)
}

#[cfg(test)]
mod tests {
    use eps_data::ImageProvenance;
    use eps_math::Shape;

    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        let provenance = ImageProvenance {
            name: "n".into(),
            source: "s".into(),
            licence: "MIT".into(),
            sha256: "0".into(),
        };
        // Two images of one pixel, four samples of each.
        let samples = vec![3.0, 1.0, 2.0, 4.0, 0.0, 0.0, 8.0, 0.0];
        let shape = Shape::new(1, 1, 1).unwrap();
        let archive =
            SampleArchive::new(shape, 4, samples, serde_json::Value::Null, provenance).unwrap();
        // numpy.quantile([1, 2, 3, 4], [0, 0.25, 0.5, 1], method="weibull") and of [0, 0, 0, 8].
        for (share, expected) in
            [(0.0, [1.0, 0.0]), (0.25, [1.25, 0.0]), (0.5, [2.5, 0.0]), (1.0, [4.0, 8.0])]
        {
            assert_eq!(quantile(&archive, share).unwrap(), expected);
        }
        assert_eq!(quantile(&archive, 0.9).unwrap().len(), 2);
        let error = quantile(&archive, 1.5).unwrap_err().to_string();
        assert!(error.contains("1.5") && error.contains("in [0, 1]"), "{error}");
    }
}

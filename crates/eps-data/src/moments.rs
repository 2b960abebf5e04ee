//! Mean and covariance of the values of a set of images: what a linear estimate knows of them.
//!
//! ```text
//! /                  format = "eps-moments", format_version = 1, created_by
//!                    shape = JSON, {"channels": C, "height": H, "width": W} of an image
//!                    count  u64, the number of images
//!                    range, name, source, licence, sha256 (of the images' set)
//! /mean              [1, D]            f32, D = C·H·W
//! /covariance_upper  [1, D (D + 1)/2]  f32, the upper triangle row by row, divisor N
//! ```

use std::path::Path;

use eps_math::Shape;

use crate::hdf5_file::{Input, Output};
use crate::range::RANGE;
use crate::{DataError, ImageProvenance};

const VERSION: u64 = 1;

/// The first two moments of a set of images.
///
/// # Units
///
/// Of values on the scale [-1, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    shape: Shape,
    count: u64,
    mean: Vec<f64>,
    covariance: Vec<f64>,
    provenance: ImageProvenance,
}

impl Moments {
    /// What the attribute `format` of a file says.
    pub const FORMAT: &str = "eps-moments";

    /// The moments of `count` images of `shape`; only the covariance's upper triangle is read.
    ///
    /// # Shapes
    ///
    /// `mean: [D]`, `covariance: [D, D]` in row-major order with D = C·H·W.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where a length does not fit, a value is not finite, or a variance is
    /// negative.
    pub fn new(
        shape: Shape,
        count: u64,
        mean: Vec<f64>,
        mut covariance: Vec<f64>,
        provenance: ImageProvenance,
    ) -> Result<Self, DataError> {
        let n = shape.len();
        for (what, found, needed) in [
            ("the number of values of the mean", mean.len(), n),
            ("the number of values of the covariance", covariance.len(), n * n),
        ] {
            if found != needed {
                return Err(DataError::invalid(
                    what,
                    found,
                    format!("images of shape {shape} need {needed}"),
                ));
            }
        }
        for (what, values) in [("mean", &mean), ("covariance", &covariance)] {
            if let Some((index, value)) = crate::error::first_not_finite(values) {
                return Err(DataError::invalid(
                    format!("the {what}'s value at flat index {index}"),
                    value,
                    "every value must be finite: look for where the computation went wrong",
                ));
            }
        }
        for i in 0..n {
            if covariance[i * n + i] < 0.0 {
                return Err(DataError::invalid(
                    format!("the variance of pixel {i}"),
                    covariance[i * n + i],
                    "a variance is not negative: compute the moments again",
                ));
            }
            for j in 0..i {
                covariance[i * n + j] = covariance[j * n + i];
            }
        }
        Ok(Moments { shape, count, mean, covariance, provenance })
    }

    /// The shape of an image.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// N, the number of images.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean, `[D]`.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance, `[D, D]`, symmetric.
    pub fn covariance(&self) -> &[f64] {
        &self.covariance
    }

    /// Where the images come from.
    pub fn provenance(&self) -> &ImageProvenance {
        &self.provenance
    }

    /// Writes the layout at the head of this module, rounded to f32.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] or [`DataError::Hdf5`] where the file cannot be written.
    #[expect(clippy::cast_possible_truncation, reason = "files keep them in f32")]
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let n = self.mean.len();
        let mean: Vec<f32> = self.mean.iter().map(|v| *v as f32).collect();
        let upper: Vec<f32> = (0..n)
            .flat_map(|i| self.covariance[i * n + i..(i + 1) * n].iter().map(|v| *v as f32))
            .collect();
        let output = Output::create(path, Self::FORMAT, VERSION)?;
        let root = output.root()?;
        output.put_json(&root, "shape", &self.shape)?;
        output.put_number(&root, "count", self.count)?;
        output.put_text(&root, "range", RANGE)?;
        output.put_provenance(&root, &self.provenance)?;
        output.put_array(&root, "mean", &[1, n], &mean)?;
        output.put_array(&root, "covariance_upper", &[1, upper.len()], &upper)?;
        output.finish()
    }

    /// Reads the moments of a set of images.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] where the file cannot be opened; [`DataError::Malformed`] or
    /// [`DataError::Hdf5`] where it is truncated, damaged, no file of moments, or where a dataset or
    /// an attribute is missing or of another shape or type; [`DataError::Unusable`] as
    /// [`Moments::new`].
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let input = Input::open(path, Self::FORMAT, VERSION)?;
        let root = input.root()?;
        let shape: Shape = input.json(&root, "shape")?;
        let n = shape.len();
        let array = |name: &str, length: usize| {
            let (dims, values): (_, Vec<f32>) = input.array(&root, name, 2)?;
            if dims != [1, length] {
                return Err(input.malformed(
                    format!(
                        "the dataset {name:?} has dimensions {dims:?}, images of shape {shape} \
                         need [1, {length}]"
                    ),
                    "write the file again",
                ));
            }
            input.require_finite(name, &values)?;
            Ok(values.into_iter().map(f64::from).collect::<Vec<f64>>())
        };
        let mean = array("mean", n)?;
        let upper = array("covariance_upper", n * (n + 1) / 2)?;
        let mut covariance = vec![0.0; n * n];
        let mut rest = upper.as_slice();
        for i in 0..n {
            let (row, after) = rest.split_at(n - i);
            covariance[i * n + i..(i + 1) * n].copy_from_slice(row);
            rest = after;
        }
        let count = input.whole_number(&root, "count")?;
        Moments::new(shape, count, mean, covariance, input.provenance(&root)?)
            .map_err(|error| error.in_file(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments() -> Result<Moments, DataError> {
        let shape = Shape { channels: 1, height: 1, width: 3 };
        // Multiples of 1/8, exact in f32; the lower triangle is taken from the upper one.
        let covariance = vec![1.0, 0.5, -0.125, 7.0, 2.0, 0.25, 7.0, 7.0, 0.0];
        let provenance = ImageProvenance {
            name: "three pixels".into(),
            source: "made up".into(),
            licence: "MIT".into(),
            sha256: "0".into(),
        };
        Moments::new(shape, 9, vec![-1.0, 0.0, 0.25], covariance, provenance)
    }

    #[test]
    fn moments_come_back_symmetric() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moments.h5");
        let written = moments().unwrap();
        assert_eq!(written.covariance(), [1.0, 0.5, -0.125, 0.5, 2.0, 0.25, -0.125, 0.25, 0.0]);
        written.write(&path).unwrap();
        assert_eq!(Moments::read(&path).unwrap(), written);
    }

    #[test]
    fn damage_and_nonsense_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moments.h5");
        moments().unwrap().write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let error = Moments::read(&path).unwrap_err().to_string();
        assert!(error.contains("moments.h5") && error.contains("write it again"), "{error}");

        let Moments { shape, count, mean, mut covariance, provenance } = moments().unwrap();
        covariance[4] = -2.0;
        let error =
            Moments::new(shape, count, mean.clone(), covariance.clone(), provenance.clone());
        assert!(error.unwrap_err().to_string().contains("the variance of pixel 1 is -2"));
        covariance[4] = f64::NAN;
        let error = Moments::new(shape, count, mean, covariance, provenance);
        assert!(error.unwrap_err().to_string().contains("flat index 4 is NaN"));
    }
}

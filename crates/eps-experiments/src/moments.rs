//! Mean and covariance of the training images.

use std::path::{Path, PathBuf};

use eps_data::hdf5_file::hdf5_format;
use eps_data::{DataError, ImageSet, Moments};
use eps_files::{WriteLock, sha256_file};
use eps_math::Shape;
use eps_math::faer::Mat;
use eps_math::lmmse::sample_moments;

use crate::error::{During as _, ExperimentError, InvalidRequest, Result};

/// The most values of an image whose covariance is computed and inverted.
pub(crate) const LARGEST: usize = 3 * 64 * 64;

/// Computes mean and covariance of some training images, writes them as an HDF5 file and returns how many images
/// they are of. Moments that are there are replaced, and nothing else; `progress` is called with each image.
///
/// # Errors
/// Images of more values than a covariance is kept of, and a file that cannot be written or is something else; these before
/// anything is computed.
pub fn write_moments(set: &ImageSet, out: &Path, progress: &dyn Fn()) -> Result<u64> {
    let _lock = WriteLock::take(out)?;
    let are_moments = || matches!(hdf5_format(out), Ok(Some(format)) if format == Moments::FORMAT);
    if out.symlink_metadata().is_ok() && !are_moments() {
        let message = format!(
            "--out {}: it holds something else than moments, and stays: name another file",
            out.display()
        );
        return Err(InvalidRequest(message).into());
    }
    let shape = set.shape();
    if shape.len() > LARGEST {
        return Err(ExperimentError::LargeCovariance { shape, most: LARGEST });
    }
    let images = (0..set.len()).map(|image| {
        progress();
        set.to_signed(image)
    });
    let (mean, covariance) = sample_moments(shape.len(), images)?;
    let rows = (0..shape.len()).flat_map(|i| (0..shape.len()).map(move |j| (i, j)));
    let covariance = rows.map(|(i, j)| covariance[(i, j)]).collect();
    let count = set.len() as u64;
    Moments::new(shape, count, mean, covariance, set.provenance().clone())?.write(out)?;
    Ok(count)
}

/// The Gaussian prior of the linear MMSE estimate.
#[derive(Debug)]
pub(crate) struct GaussianPrior {
    /// D values.
    pub(crate) mean: Vec<f64>,
    /// D×D.
    pub(crate) covariance: Mat<f64>,
    /// The SHA-256 of the file that it was read from.
    pub sha256: String,
    /// That of the images that it is of, empty where the file does not tell.
    pub(crate) images_sha256: String,
    file: PathBuf,
}

impl GaussianPrior {
    /// Compares the images that the moments are of with those of a SHA-256.
    ///
    /// # Errors
    /// [`ExperimentError::MomentsImages`] for moments of others.
    pub(crate) fn check_images(&self, needed: String) -> Result<()> {
        if self.images_sha256 == needed {
            return Ok(());
        }
        let (path, found) = (self.file.clone(), self.images_sha256.clone());
        Err(ExperimentError::MomentsImages { path, found, needed })
    }
}

/// The moments of the training images, from the first of some files that is there, for images of a
/// shape.
///
/// # Errors
/// A file that is missing or damaged, or has moments of other images.
pub(crate) fn load(paths: &[PathBuf], shape: Shape) -> Result<GaussianPrior> {
    let path = paths.iter().find(|path| path.is_file()).ok_or_else(|| DataError::Missing {
        path: paths.first().cloned().unwrap_or_default(),
        remedy: "restore data from the repository, or make it with `eps experiment moments --dataset NAME`"
            .to_owned(),
    })?;
    let moments = Moments::read(path)
        .during(|| "cannot read the moments of the training images".to_owned())?;
    if moments.shape() != shape {
        let (path, found) = (path.clone(), moments.shape());
        return Err(ExperimentError::MomentsShape { path, found, needed: shape });
    }
    let n = shape.len();
    let covariance = Mat::from_fn(n, n, |i, j| moments.covariance()[i * n + j]);
    Ok(GaussianPrior {
        mean: moments.mean().to_vec(),
        covariance,
        sha256: sha256_file(path)?,
        images_sha256: moments.provenance().sha256.clone(),
        file: path.clone(),
    })
}

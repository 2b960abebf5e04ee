//! `eps experiment moments`: mean and covariance of the training images.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use eps_data::digest::sha256_file;
use eps_data::fashion_mnist::Split;
use eps_data::{DataError, Moments};
use eps_math::Shape;
use eps_math::lmmse::sample_moments;
use faer::Mat;

use crate::dataset;

/// The file's name, in the folders of the data set.
pub(crate) const FILE: &str = "moments.h5";

/// Computes mean and covariance of the training images, the Gaussian prior of the linear MMSE
/// estimate.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of the data set [default: where the repository keeps it]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The HDF5 file to write
    #[arg(long, value_name = "FILE", default_value = "data/fashion-mnist/moments.h5")]
    out: PathBuf,
}

impl Arguments {
    /// Writes the file.
    ///
    /// # Errors
    /// Training images that are missing, and a file that cannot be written.
    pub(crate) fn run(&self) -> Result<()> {
        let set = dataset::load("fashion-mnist", Split::Train, self.data.as_deref())?;
        let shape = set.shape();
        let images = (0..set.len()).map(|image| set.to_unit_range(image));
        let (mean, covariance) = sample_moments(shape.len(), images)?;
        let rows = (0..shape.len()).flat_map(|i| (0..shape.len()).map(move |j| (i, j)));
        let covariance = rows.map(|(i, j)| covariance[(i, j)]).collect();
        let count = set.len() as u64;
        Moments::new(shape, count, mean, covariance, set.provenance().clone())?.write(&self.out)?;
        println!("{}: mean and covariance of {count} images of shape {shape}", self.out.display());
        Ok(())
    }
}

/// The Gaussian prior of the linear MMSE estimate.
#[derive(Debug)]
pub(crate) struct GaussianPrior {
    /// D values.
    pub(crate) mean: Vec<f64>,
    /// D×D.
    pub(crate) covariance: Mat<f64>,
    /// The SHA-256 of the file that it was read from.
    pub(crate) sha256: String,
}

/// The moments of the training images, from the first folder that has the file, for images of a
/// shape.
///
/// # Errors
/// A file that is missing or damaged, or has moments of other images.
pub(crate) fn load(folders: &[PathBuf], shape: Shape) -> Result<GaussianPrior> {
    let found = folders.iter().map(|folder| folder.join(FILE)).find(|path| path.is_file());
    let path = found.ok_or_else(|| DataError::Missing {
        path: Path::new(FILE).to_owned(),
        remedy: "restore data/fashion-mnist from the repository, or make it with `eps experiment \
                 moments`"
            .to_owned(),
    })?;
    let moments = Moments::read(&path).context("cannot read the moments of the training images")?;
    ensure!(
        moments.shape() == shape,
        "{}: these are moments of images of shape {}, the test images have {shape}: make it again with \
         `eps experiment moments`",
        path.display(),
        moments.shape()
    );
    let n = shape.len();
    let covariance = Mat::from_fn(n, n, |i, j| moments.covariance()[i * n + j]);
    Ok(GaussianPrior { mean: moments.mean().to_vec(), covariance, sha256: sha256_file(&path)? })
}

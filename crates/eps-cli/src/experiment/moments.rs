//! `eps experiment moments`: mean and covariance of the training images.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use eps::dataset;
use eps_data::Split;
use eps_experiments::write_moments;

use crate::progress::Clock;

/// Computes mean and covariance of the training images, the Gaussian prior of the linear MMSE
/// estimate.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The data set: its name, or a file that `eps data` wrote
    #[arg(long, value_name = "NAME", default_value = "fashion-mnist", value_parser = dataset::name)]
    dataset: String,
    /// Folder or file of the data set [default: where the repository keeps it]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// The HDF5 file to write [default: where it is looked for]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Arguments {
    /// Writes the file.
    ///
    /// # Errors
    /// Training images that are missing, and a file that cannot be written.
    pub(crate) fn run(&self) -> Result<()> {
        let set = dataset::load(&self.dataset, Split::Train, self.data.as_deref())?;
        let out = match &self.out {
            Some(out) => out.clone(),
            None => dataset::moments(&self.dataset, self.data.as_deref()).swap_remove(0),
        };
        let clock = Clock::new(set.len() as u64, "images");
        clock.start("mean and covariance");
        let count = write_moments(&set, &out, &|| clock.advance(1));
        clock.finish();
        let (count, shape) = (count?, set.shape());
        println!("{}: mean and covariance of {count} images of shape {shape}", out.display());
        Ok(())
    }
}

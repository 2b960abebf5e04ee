//! The precision that networks are asked to compute in.

use std::path::Path;

use eps_math::parameterisation::Prediction;
use eps_model::{DevicePrecision as _, Precision, PriorDescription, checkpoint};
use tch::Device;

use crate::Error;
use crate::network::{check_exists, is_description};

/// A precision as a user asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedPrecision {
    /// The fastest on the device, but for networks that predict noise f32.
    Auto,
    /// This one.
    Given(Precision),
}

impl AskedPrecision {
    /// The precision on a device for the networks of some files, and what a user should know of the choice.
    ///
    /// A network that predicts noise ε has the estimate x − σ ε, so that the rounding of ε is multiplied by σ: at σ = 40
    /// that of bf16 is several per cent of an image.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn choose<'a>(
        self,
        device: Device,
        files: impl IntoIterator<Item = &'a Path>,
    ) -> Result<(Precision, Option<String>), Error> {
        let fastest = match self {
            Self::Given(precision) => return Ok((precision, None)),
            Self::Auto => Precision::fastest(device),
        };
        if fastest == Precision::F32 {
            return Ok((fastest, None));
        }
        for path in files {
            if let Some(name) = predicts_noise(path)? {
                let note = format!(
                    "the network {name:?} predicts noise, whose rounding in {fastest} would be multiplied by the noise level: \
                     networks are computed in f32; --precision {fastest} is faster"
                );
                return Ok((Precision::F32, Some(note)));
            }
        }
        Ok((fastest, None))
    }
}

/// The name of a file's network, where it predicts noise.
fn predicts_noise(path: &Path) -> Result<Option<String>, Error> {
    check_exists(path)?;
    let (name, asked) = if is_description(path) {
        let found = PriorDescription::read(path)
            .map_err(|source| Error::Prior { path: path.to_owned(), source: Box::new(source) })?;
        (found.name, Some(found.parameterisation))
    } else {
        let found = checkpoint::read_config(path)
            .map_err(|source| Error::Network { path: path.to_owned(), source: Box::new(source) })?;
        (found.name, found.parameterisation)
    };
    Ok(asked.filter(|asked| asked.prediction == Prediction::Epsilon).map(|_| name))
}

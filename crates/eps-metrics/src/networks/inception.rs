//! The Inception network of FID, from a file of the user's.

use std::path::{Path, PathBuf};

use eps_files::StandIn;
use tch::{CModule, Device, IValue, Kind, Tensor};

use super::backbone::Embedding;
use super::error::NetworkError;
use super::images::{extent, three_channels};

/// The number of features.
pub(super) const FEATURES: usize = 2048;

/// The side to which the network resizes images.
pub(super) const SIDE: usize = 299;

/// The network of the Fréchet Inception distance: TensorFlow's Inception-v3 of 2015-12-05, as NVIDIA's
/// TorchScript file `inception-2015-12-05.pt` has it (Karras et al., *Training generative adversarial
/// networks with limited data*, 2020).
///
/// A TorchScript file is a program: load only what you trust.
#[derive(Debug)]
pub struct Inception {
    module: CModule,
    path: PathBuf,
    device: Device,
}

impl Inception {
    /// The SHA-256 of NVIDIA's file, 95,607,719 bytes.
    pub const SHA256: &str = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4";

    /// Reads the TorchScript file onto a device and asks it once, to see that it answers as the FID
    /// network does.
    ///
    /// # Errors
    /// [`NetworkError::Io`] if the file cannot be read, [`NetworkError::TorchScript`] if it is no
    /// TorchScript module, [`NetworkError::NotInception`] if it does not answer with 2048 features.
    pub fn load(path: &Path, device: Device) -> Result<Self, NetworkError> {
        // libtorch's own message on a missing file is a stack trace.
        std::fs::File::open(path)
            .map_err(|source| NetworkError::Io { path: path.to_owned(), source })?;
        let mut module = CModule::load_on_device(path, device).map_err(|error| {
            let error =
                StandIn::at(path).map_or_else(|| first_line(&error), |found| found.to_string());
            NetworkError::TorchScript { path: path.to_owned(), error }
        })?;
        module.f_set_eval()?;
        let network = Self { module, path: path.to_owned(), device };
        let probe = Tensor::zeros([1, 3, 32, 32], (Kind::Float, device));
        network.features(&probe).map(drop)?;
        Ok(network)
    }

    /// Where it runs.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// The features of images, as EDM computes them: images are rounded to 8 bits
    /// (⌊clip(127.5 x + 128, 0, 255)⌋), grey is repeated to three channels, and the network resizes
    /// them to 299×299.
    ///
    /// # Shapes
    /// `images`: [N, C, H, W]; the result: [N, 2048], f32 on the network's device.
    ///
    /// # Units
    /// Images on [-1, 1].
    ///
    /// # Errors
    /// [`NetworkError::Images`] for other channels than one or three,
    /// [`NetworkError::NotInception`] where the module does not answer as the FID network, [`NetworkError::Torch`] where the device fails.
    pub fn features(&self, images: &Tensor) -> Result<Tensor, NetworkError> {
        let _guard = tch::no_grad_guard();
        let images = three_channels(images, self.device)?;
        let levels = images.f_mul_scalar(127.5)?.f_add_scalar(128.0)?.f_clamp(0.0, 255.0)?;
        let bytes = levels.f_to_kind(Kind::Uint8)?.f_contiguous()?;
        let count = bytes.size()[0];
        let not_inception = |answer: String| NetworkError::NotInception {
            path: self.path.clone(),
            answer,
            expected: FEATURES,
        };
        let answer = self
            .module
            .method_is("forward", &[IValue::Tensor(bytes), IValue::Bool(true)])
            .map_err(|error| not_inception(format!("fails ({})", first_line(&error))))?;
        match answer {
            IValue::Tensor(features) if features.size() == [count, extent(FEATURES)] => {
                Ok(features.f_to_kind(Kind::Float)?)
            }
            IValue::Tensor(other) => {
                Err(not_inception(format!("gives a tensor of dimensions {:?}", other.size())))
            }
            _ => Err(not_inception("gives something else than a tensor".to_owned())),
        }
    }

    pub(super) fn embed(&self, images: &Tensor) -> Result<Embedding, NetworkError> {
        Ok(Embedding { stages: Vec::new(), features: self.features(images)? })
    }
}

/// What libtorch said, without its stack trace.
fn first_line(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().trim().to_owned()
}

//! What can go wrong with feature networks.

use std::path::PathBuf;

use crate::MetricsError;

/// An error of a feature network; each variant carries the value that caused it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A file of weights could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds no weights of a feature network.
    #[error("{path}: {reason}; import or fetch the weights again", path = path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights that cannot be stored as those of a network.
    #[error("the weights of {backbone}: {reason}")]
    Arrays {
        /// The network's name.
        backbone: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// A file is no TorchScript module that libtorch can read.
    #[error(
        "{path}: libtorch cannot read it as TorchScript ({error}); the FID network is the file \
         `inception-2015-12-05.pt` of NVIDIA's StyleGAN2-ADA and EDM",
        path = path.display()
    )]
    TorchScript {
        /// The file.
        path: PathBuf,
        /// What libtorch said.
        error: String,
    },
    /// A TorchScript module that is not the FID network.
    #[error(
        "{path}: this module is not the FID network: called with images and return_features = true \
         it {answer}, needed are {expected} features of each image; the FID network is the file \
         `inception-2015-12-05.pt` of NVIDIA's StyleGAN2-ADA and EDM",
        path = path.display()
    )]
    NotInception {
        /// The file.
        path: PathBuf,
        /// What it does instead.
        answer: String,
        /// The number of features that it should give.
        expected: usize,
    },
    /// Tensors that are no images of one or three channels.
    #[error(
        "images have the dimensions {found:?}, needed are [N, C, H, W] with C = 3 (red, green, blue) or \
         1 (grey)"
    )]
    Images {
        /// The dimensions found.
        found: Vec<i64>,
    },
    /// Two sets of images that do not belong together.
    #[error("images of dimensions {a:?} and {b:?} cannot be compared: all must agree")]
    Pairs {
        /// The dimensions of the first.
        a: Vec<i64>,
        /// The dimensions of the second.
        b: Vec<i64>,
    },
    /// Values that no metric takes.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

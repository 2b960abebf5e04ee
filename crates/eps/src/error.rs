//! The error of the library.

use std::path::PathBuf;

use eps_data::{DataError, Split};
use eps_files::FilesError;
use eps_math::{MathError, Shape};
use eps_metrics::networks::NetworkError;
use eps_model::ModelError;
use eps_sample::SampleError;
use eps_train::TrainError;

use crate::format::{compared_number, number};

/// Why the library could not do what it was asked; each message has the value that is wrong and what to do.
///
/// Causes are told by [`std::error::Error::source`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A checkpoint of another program.
    #[error(
        "{} is a checkpoint of another program: `eps import` makes a network of it, and a TorchScript module is given by its \
         description (docs/priors.md)",
        .0.display()
    )]
    OfOthers(PathBuf),
    /// A network's file that is not there.
    #[error(
        "the network {} does not exist: check its path, or make it by `eps train` or `eps import`",
        .0.display()
    )]
    NoNetwork(PathBuf),
    /// A thread that the system did not start.
    #[error(
        "cannot start a thread: free some memory or raise the limit on processes, or use fewer cores (--threads)"
    )]
    Thread(#[source] std::io::Error),
    /// A network that was trained for measurements, where a prior is asked for.
    #[error(
        "{method} asks a prior at the state, and the network {name:?} was trained to be asked together with measurements: \
         give a network that was trained for denoising alone, or leave the method out"
    )]
    NoPrior {
        /// The method.
        method: &'static str,
        /// The network's name.
        name: String,
    },
    /// A grid of noise levels that a network's chain does not hold.
    #[error(
        "the grid has the noise level {}, and the network {name:?} knows those from {} to {}: begin and end the grid \
         between them (--sigma-min)",
        compared_number(*sigma), compared_number(*low), compared_number(*high)
    )]
    BeyondChain {
        /// The network's name.
        name: String,
        /// The level.
        sigma: f64,
        /// The lowest level of its chain.
        low: f64,
        /// The highest.
        high: f64,
    },
    /// Fewer samples of an image than its intervals need.
    #[error("intervals of 90 % need {needed} samples of each image, there are {found}: draw more")]
    FewSamples {
        /// The least number.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// A calibration of intervals that cannot be read, or is of another network.
    #[error(
        "cannot use the calibration of intervals {}: {reason}; make it again by `eps model calibrate`, or remove it",
        path.display()
    )]
    Intervals {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Samples that have no configuration of a restoration.
    #[error(
        "the samples are of no restoration that this program reads: {0}; restore again, or read them with the revision that \
         wrote them"
    )]
    NoRestoration(String),
    /// A training-free method that divides by σ_y.
    #[error(
        "sigma_y is 0, and {0} divides by it: give a small one, such as 1e-3, or sample by EPS, which has the limit"
    )]
    ExactByContender(&'static str),
    /// A network that cannot be read.
    #[error(
        "cannot load the network {}, which should be a file of `eps train` or `eps import`, or the description of a \
         prior named .json",
        path.display()
    )]
    Network {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<ModelError>,
    },
    /// A described prior that cannot be read or used.
    #[error("cannot load the prior {}", path.display())]
    Prior {
        /// The file of the description.
        path: PathBuf,
        /// Why.
        source: Box<ModelError>,
    },
    /// A class that a network does not know.
    #[error("{}: --class {class}", path.display())]
    Class {
        /// The network.
        path: PathBuf,
        /// The class.
        class: usize,
        /// Why not.
        source: Box<ModelError>,
    },
    /// Windows of a module, whose images have one shape.
    #[error(
        "the prior {0:?} is a module for images of one shape, which cannot be asked in windows: leave --window and \
         --memory out"
    )]
    WindowsOfModule(String),
    /// No window of a network fits into the memory that it may take.
    #[error(
        "a network call in windows of {side} x {side} pixels, the smallest, takes {}, and there may be {}: give \
         more memory, fewer --threads, or a smaller network",
        eps_data::memory::size(*needed),
        eps_data::memory::size(*memory)
    )]
    NoWindow {
        /// The side of the smallest window.
        side: usize,
        /// Bytes of a call.
        needed: u64,
        /// Bytes that there may be.
        memory: u64,
    },
    /// Images with another number of channels than the network's.
    #[error(
        "the image has {}, the network {name:?} takes {}: {}",
        channels(*found),
        channels(*needed),
        channels_remedy(*found, *needed)
    )]
    Channels {
        /// The network's name.
        name: String,
        /// The channels of the images.
        found: usize,
        /// Those of the network's images.
        needed: usize,
    },
    /// Images of a size that the network does not take.
    #[error("the network {name:?} does not take images of shape {shape}")]
    Size {
        /// The network's name.
        name: String,
        /// The shape of the images.
        shape: Shape,
        /// Why not.
        source: Box<ModelError>,
    },
    /// Images of another shape than those whose moments a network reads.
    #[error(
        "the image has shape {found}, the moments of the data in the network {name:?} are of images of {needed}: crop \
         or resize the image, or name a network without moments"
    )]
    Moments {
        /// The network's name.
        name: String,
        /// The shape of the images.
        found: Shape,
        /// That of the moments.
        needed: Shape,
    },
    /// Images of another shape than the only one that a prior takes.
    #[error(
        "the image has shape {found}, the prior {name:?} takes {needed}: crop or resize the image, or name another \
         prior"
    )]
    PriorShape {
        /// The prior's name.
        name: String,
        /// The shape of the images.
        found: Shape,
        /// That of the prior's.
        needed: Shape,
    },
    /// A blur of a weight that cannot be meant.
    #[error(
        "the absolute taps of the kernel sum to {}, but must sum to 1e-6 to 1e6: divide the kernel by its sum",
        number(*.0)
    )]
    KernelWeight(f64),
    /// A noise level that images do not admit.
    #[error(
        "sigma_y is {} on the scale [-1, 1], but must be from 1e-6 to 1000: images are rounded by 1e-7, and nothing is \
         left of them in noise a thousand times as large",
        number(*.0)
    )]
    SigmaY(f64),
    /// A measurement that no image in [-1, 1] gives.
    #[error(
        "the value at flat index {index} is {}, but images in [-1, 1] give at most {bound:.3} with sigma_y = {}: \
         {remedy}{note}",
        compared_number(*value), number(*sigma_y)
    )]
    Scale {
        /// Where, in row-major order.
        index: usize,
        /// The value.
        value: f64,
        /// The largest that is possible.
        bound: f64,
        /// The standard deviation of the noise.
        sigma_y: f64,
        /// What to do.
        remedy: &'static str,
        /// What may be wrong besides.
        note: String,
    },
    /// A measurement of a set that cannot be restored.
    #[error("image {index}")]
    Measurement {
        /// Its number.
        index: usize,
        /// Why.
        source: Box<Error>,
    },
    /// No sample is asked for.
    #[error("{samples} samples of each image in batches of {batch}: both must be at least 1")]
    NothingToDraw {
        /// Samples of each image.
        samples: usize,
        /// Samples that are drawn at once.
        batch: usize,
    },
    /// More samples than memory is taken for.
    #[error(
        "--samples {samples}: {images} images of shape {shape} make {values} values, more than {most}: take fewer \
         samples, or restore fewer images at once"
    )]
    TooManySamples {
        /// The images.
        images: usize,
        /// Samples of each.
        samples: usize,
        /// The shape of an image.
        shape: Shape,
        /// The values of all samples.
        values: usize,
        /// The most that are taken.
        most: usize,
    },
    /// Antithetic pairs of an odd number of samples.
    #[error(
        "--antithetic --samples {0}: samples come in pairs: give an even number of them, or leave --antithetic out"
    )]
    OddPairs(usize),
    /// A data set of no known name.
    #[error(
        "unknown data set {name:?}: known are {}, and files FILE.h5 that `eps data` wrote: name such a file, here or by --data",
        known.join(", ")
    )]
    UnknownDataset {
        /// The name that was given.
        name: String,
        /// The names that are known.
        known: &'static [&'static str],
    },
    /// A data set that cannot be read.
    #[error("cannot load the {split} split of {name}")]
    Dataset {
        /// Its name.
        name: String,
        /// The split.
        split: Split,
        /// Why.
        source: Box<DataError>,
    },
    /// A folder without the networks of LPIPS.
    #[error(
        "--networks {}: it does not hold alex.safetensors and vgg.safetensors: {remedy}",
        folder.display()
    )]
    NoFeatureNetworks {
        /// The folder.
        folder: PathBuf,
        /// How to get them.
        remedy: &'static str,
    },
    /// A network of features that cannot be read.
    #[error("cannot load {what}")]
    FeatureNetwork {
        /// Which one.
        what: &'static str,
        /// Why.
        source: Box<NetworkError>,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// An error of data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An error of the mathematics.
    #[error(transparent)]
    Math(#[from] MathError),
    /// An error of the libtorch boundary.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An error of sampling.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// An error of training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

fn channels(channels: usize) -> String {
    match channels {
        1 => "1 channel (grey)".to_owned(),
        3 => "3 channels (red, green, blue)".to_owned(),
        other => format!("{other} channels"),
    }
}

fn channels_remedy(found: usize, needed: usize) -> &'static str {
    match (found, needed) {
        (3, 1) => {
            "convert the picture to grey, or name a network for colour; a stack of 3 grey images is [3, 1, H, W]"
        }
        (1, 3) => "convert the picture to RGB, or name a network for grey images",
        _ => "name a network for such images",
    }
}

//! What can go wrong at the libtorch boundary.

use std::path::PathBuf;

use crate::ComputeError;

/// An error of `eps-model`; each variant carries the value that caused it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A field of a network's configuration has a value that no network can be built from.
    #[error("network configuration: {field} = {value}, but {requirement}")]
    Config {
        /// The field's name, EDM's.
        field: &'static str,
        /// The value it has.
        value: String,
        /// What it must be.
        requirement: String,
    },
    /// A network architecture that this crate does not implement; the value in JSON.
    #[error(
        "model_type {0} is not supported: this version builds \"SongUNet\" (DDPM++, NCSN++), \
         \"DhariwalUNet\" (ADM), guided-diffusion's \"UNetModel\", diffusers' \"UNet2DModel\" and EDM2's \"Precond\""
    )]
    Architecture(String),
    /// A class was named to a network that knows none.
    #[error("the network is unconditional: it knows no classes; ask it without one")]
    Unconditional,
    /// A class beyond those that the network knows.
    #[error("class {class} is unknown: the network's classes are numbered 0 to {last}")]
    Class {
        /// The class that was named.
        class: usize,
        /// The last class.
        last: usize,
    },
    /// Images of a size that the network's levels do not divide.
    #[error(
        "images of {height}x{width} pixels do not fit a network of {levels} levels: \
         pad or crop both sides to multiples of {multiple}"
    )]
    ImageSize {
        /// The height that was given.
        height: usize,
        /// The width that was given.
        width: usize,
        /// The number of resolution levels.
        levels: usize,
        /// What both sides must be multiples of.
        multiple: usize,
    },
    /// Images that are smaller than a pixel of the network's coarsest level.
    #[error(
        "images of {height}x{width} pixels are too small for the network: give {least}x{least} at least"
    )]
    TooSmall {
        /// The height that was given.
        height: usize,
        /// The width that was given.
        width: usize,
        /// The least of both.
        least: usize,
    },
    /// A device name that cannot be read.
    #[error(
        "unknown device {0:?}: use \"cpu\", \"cuda\" (the first GPU) or \"cuda:N\" (GPU number N, from 0)"
    )]
    UnknownDevice(String),
    /// A GPU was asked for, and this libtorch has no CUDA.
    #[error(
        "device {0:?}: this libtorch is one for the CPU; `cargo xtask setup --cuda` brings one with CUDA and what \
         depends on it is then compiled anew, \"cpu\" runs without"
    )]
    CudaUnavailable(String),
    /// A GPU on which nothing can be computed, or none where libtorch has CUDA.
    #[error("device {name:?}: {reason}: {remedy}")]
    GpuUnusable {
        /// The device that was asked for.
        name: String,
        /// What libtorch said.
        reason: String,
        /// What helps.
        remedy: &'static str,
    },
    /// A GPU number beyond those present.
    #[error("device {name:?}: the GPUs here are numbered 0 to {last}")]
    NoSuchGpu {
        /// The device that was asked for.
        name: String,
        /// The highest number present.
        last: usize,
    },
    /// A precision name that cannot be read.
    #[error("unknown precision {0:?}: use \"f32\", \"bf16\" or \"f16\"")]
    UnknownPrecision(String),
    /// Half precision asked for on a CPU.
    #[error(
        "precision f16 runs on CUDA only: on the CPU use bf16, which has the range of f32, or f32"
    )]
    HalfOnCpu,
    /// A TorchScript module that cannot be called as its description says.
    #[error(
        "{path}: the module cannot be called with {images} images [{images}, {shape}] and {inputs}: \
         {reason}; correct the description, or script the module again",
        path = path.display()
    )]
    ScriptCall {
        /// The module's file.
        path: PathBuf,
        /// The number of images of the call.
        images: i64,
        /// Channels, height and width of an image.
        shape: String,
        /// What else it was given.
        inputs: String,
        /// What libtorch said.
        reason: String,
    },
    /// A TorchScript module whose prediction has not the shape of its images.
    #[error(
        "{path}: the module returns a tensor {found:?} for images {expected:?}: it must return the \
         prediction alone (where it learns variances too, the first half of the channels)",
        path = path.display()
    )]
    ScriptOutput {
        /// The module's file.
        path: PathBuf,
        /// The shape of the images.
        expected: Vec<i64>,
        /// The shape of the prediction.
        found: Vec<i64>,
    },
    /// A TorchScript module that predicts NaN or infinity.
    #[error(
        "{path}: the module predicts NaN or infinity at sigma_t = {sigma_t} in {precision}: compare \
         prediction, state, time and range in the description with its training, or use f32",
        path = path.display()
    )]
    ScriptNotFinite {
        /// The module's file.
        path: PathBuf,
        /// The noise level, on [-1, 1].
        sigma_t: f64,
        /// The precision.
        precision: String,
    },
    /// A TorchScript module whose answers are not a function of its input.
    #[error(
        "{path}: two answers of the module to {what} differ by {difference:.1e} of their size: it was traced or scripted \
         in training mode (dropout, batch statistics), draws random numbers or keeps a state; call network.eval() \
         before torch.jit.trace or torch.jit.script, and save it again",
        path = path.display()
    )]
    ScriptVaries {
        /// The module's file.
        path: PathBuf,
        /// What the answers were given to.
        what: &'static str,
        /// The rms of the difference over that of the answers.
        difference: f64,
    },
    /// A class that a prior does not know, or none where it needs one.
    #[error("{path}: {reason}", path = path.display())]
    PriorClass {
        /// The description of the prior.
        path: PathBuf,
        /// What is wrong with the class and which there are.
        reason: String,
    },
    /// A batch of operators that cannot be prepared together.
    #[error(
        "cannot prepare {0} as one batch of operators: all must be of one family and one shape"
    )]
    MixedOperators(&'static str),
    /// A measurement's noise level that is not positive.
    #[error(
        "sigma_y is {0}: it must be positive and finite (on the [-1, 1] scale; a value in grey levels \
         is divided by 127.5)"
    )]
    SigmaY(f64),
    /// An exact measurement by an operator without an eigenbasis.
    #[error(
        "sigma_y is 0, an exact measurement, whose posterior needs an eigenbasis of the operator: of this one none is known in \
         closed form, and none was computed, as it takes long: give sigma_y = 0.01 on the scale [-1, 1], about a grey level of \
         255; it is then solved in steps, whose number grows as 1/sigma_y"
    )]
    Exact,
    /// A measurement that does not fit its operator.
    #[error("the measurement has shape {found:?} where its operator gives {expected:?}")]
    MeasurementShape {
        /// The shape that the operator gives.
        expected: Vec<i64>,
        /// The shape that was found.
        found: Vec<i64>,
    },
    /// NaN or infinity where numbers are needed.
    #[error("{0} holds NaN or infinite values: mask or repair them before")]
    NotFinite(String),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Files(#[from] eps_files::FilesError),
    /// A file is damaged, truncated or of another format.
    #[error("{path}: {reason}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A checkpoint lacks a tensor that its network has.
    #[error(
        "{path}: tensor {name:?} of shape {expected:?} is missing: the weights do not belong to the \
         network that the file's configuration describes; export or fetch the file again",
        path = path.display()
    )]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape that the network has.
        expected: Vec<i64>,
    },
    /// A checkpoint holds a tensor that its network does not have.
    #[error(
        "{path}: tensor {name:?} of shape {found:?} is none of the network's: the weights do not \
         belong to the network that the file's configuration describes; export or fetch the file again",
        path = path.display()
    )]
    SurplusTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape that the file has.
        found: Vec<i64>,
    },
    /// A checkpoint's tensor has another shape than the network's.
    #[error(
        "{path}: tensor {name:?} has shape {found:?}, the network's has {expected:?}: the weights do \
         not belong to this network; take the file's own configuration, or widen the network",
        path = path.display()
    )]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape that the network has.
        expected: Vec<i64>,
        /// The shape that the file has.
        found: Vec<i64>,
    },
    /// A checkpoint's tensor is stored in a format that is not read.
    #[error(
        "{path}: tensor {name:?} is stored as {found}: convert it to F32, BF16 or F16",
        path = path.display()
    )]
    TensorKind {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The storage format found.
        found: String,
    },
    /// What a checkpoint holds is not what was written into it.
    #[error(
        "{path}: {what} is not what was written: its SHA-256 is {found}, the file says {expected}; the file is \
         damaged or was changed: fetch or make it again",
        path = path.display()
    )]
    Digest {
        /// The file.
        path: PathBuf,
        /// The tensor, or the configuration.
        what: String,
        /// The SHA-256 that the file says.
        expected: String,
        /// That of what it holds.
        found: String,
    },
    /// A weight that is finite, and too large for the storage format.
    #[error(
        "{path}: tensor {name:?} holds {value} at flat index {index}, which {storage} cannot hold (its largest number is \
         {largest:e}): store the weights in f32, or in bf16, which has the range of f32",
        path = path.display()
    )]
    Overflow {
        /// The file that was to be written.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The row-major index of the first such value.
        index: usize,
        /// The value.
        value: f64,
        /// The storage format.
        storage: &'static str,
        /// The largest number that it holds.
        largest: f64,
    },
    /// A weight is NaN or infinite.
    #[error(
        "{path}: tensor {name:?} holds {value} at flat index {index}: the weights are damaged or the \
         training diverged; take an earlier checkpoint",
        path = path.display()
    )]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The row-major index of the first offending value.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A checkpoint or fixture of a version that this crate does not read.
    #[error(
        "{path}: format version {found}, this version of eps reads {supported}; update eps or save \
         the file with the matching version",
        path = path.display()
    )]
    FormatVersion {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u64,
        /// The version that is read.
        supported: u64,
    },
    /// Widening was asked for towards a network that does not extend the narrow one.
    #[error(
        "{0}: give the network of the start, as `eps model show` prints it, of which \"in_channels\" alone may be larger, and \
         \"label_dim\" where it is 0"
    )]
    Widen(String),
    /// libtorch refused an operation, or had no memory for it.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

impl From<tch::TchError> for ModelError {
    fn from(error: tch::TchError) -> Self {
        Self::Compute(error.into())
    }
}

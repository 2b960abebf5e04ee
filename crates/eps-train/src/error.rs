//! What can go wrong in a training run.

use std::path::PathBuf;

use eps_cluster::ClusterError;
use eps_files::FilesError;
use eps_math::{MathError, Shape};
use eps_model::{ComputeError, ModelError};

/// An error of `eps-train`; each variant carries the value that caused it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A field of the configuration that no run can start from.
    #[error("training configuration: {field} is {value}, but it must be {range}")]
    Config {
        /// The field's name.
        field: &'static str,
        /// The value it has.
        value: f64,
        /// The admissible range in words.
        range: &'static str,
    },
    /// A network that reads other channels than those that it is given.
    #[error(
        "training configuration: network.in_channels is {found}, but {needed} are needed: those of the image and of all conditions"
    )]
    InChannels {
        /// Those of the configuration.
        found: usize,
        /// Those that it is given.
        needed: usize,
    },
    /// Images that are not those of the configuration's network.
    #[error(
        "the images have shape {found} (channels, height, width), those of the network {expected} \
         (out_channels, img_resolution twice): give images of that shape or of other sides that its levels divide, \
         or correct the network in the training configuration"
    )]
    Images {
        /// The shape of the network's images.
        expected: Shape,
        /// The shape that was found.
        found: Shape,
    },
    /// An operator whose preconditioning has no gradient.
    #[error(
        "training configuration: operators of objective.tasks have no eigenbasis through which the loss has a gradient, and with \
         images of {values} values their matrices are too large for one, or they differ from image to image: set \
         loss_weight to \"preconditioned\", or precondition.mode to \"scalar\", or train on smaller images"
    )]
    NoEigenbasis {
        /// The values of an image.
        values: usize,
    },
    /// A training in half precision.
    #[error(
        "training configuration: precision is f16, in which small gradients vanish: use bf16, which \
         has the range of f32, or f32"
    )]
    HalfTraining,
    /// A run folder that holds a run of another configuration.
    #[error(
        "{} holds a run of another configuration: {}; steps and learning_rate may change in a run, for all else name an \
         empty folder, or remove this one",
        folder.display(),
        fields.join(", ")
    )]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// Every field that differs, with both values.
        fields: Vec<String>,
    },
    /// Fewer steps than a run has done.
    #[error(
        "the run has done {done} steps and {steps} are asked for: ask for at least {done}, or name an empty folder"
    )]
    StepsDone {
        /// The steps that are asked for.
        steps: u64,
        /// Those that are done.
        done: u64,
    },
    /// A checkpoint of the run that could not be written.
    #[error(
        "what was learnt until step {step} could not be kept: {cause}; the same command then goes on from the last \
         checkpoint"
    )]
    Unsaved {
        /// The steps done.
        step: u64,
        /// What went wrong.
        cause: Box<Self>,
    },
    /// A state file that does not belong to the network.
    #[error("{}: {reason}; remove the file to start the run again", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A loss that is not a number.
    #[error("the training loss is {loss} at step {step}: {}", remedy_of_divergence(*step))]
    Diverged {
        /// The step.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// Weights that are no numbers at a checkpoint, which is not kept.
    #[error(
        "the weights or the validation loss are not finite after step {step}, and no checkpoint is made of them: lower the learning \
         rate; with another one the run goes on from its last checkpoint, or begins anew where it has none"
    )]
    NotFinite {
        /// The steps done.
        step: u64,
    },
    /// A file could not be read or written, or another process trains in the folder.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A configuration file that is not what it should be.
    #[error("{} is no training configuration: {source}: correct it there", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// Processes that train together and were started differently.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// libtorch refused an operation, or had no memory for it.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// An error of the network or its checkpoint.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An operator that the images do not admit.
    #[error(transparent)]
    Math(#[from] MathError),
}

impl From<tch::TchError> for TrainError {
    fn from(error: tch::TchError) -> Self {
        Self::Compute(error.into())
    }
}

fn remedy_of_divergence(step: u64) -> &'static str {
    if step == 0 {
        "nothing was learnt yet, so that it is the configuration or the images: look at sigma_data and the noise law, whose usual values \
         are 0.5 and sigma_max 80, and at the weights of --start"
    } else {
        "lower the learning rate; with another one the run goes on from its last checkpoint"
    }
}

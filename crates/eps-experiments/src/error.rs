//! The error of this crate.

use std::io;
use std::path::PathBuf;

use eps_cluster::ClusterError;
use eps_data::DataError;
use eps_files::FilesError;
use eps_math::{MathError, Shape};
use eps_metrics::MetricsError;
use eps_metrics::networks::NetworkError;
use eps_model::{ComputeError, ModelError};
use eps_results::{NetworkUse, ResultsError};
use eps_sample::SampleError;

/// A request that makes no sense; the message names the flag, its value and what would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRequest(pub String);

/// What most functions of this crate return.
pub(crate) type Result<T, E = ExperimentError> = std::result::Result<T, E>;

/// Why an experiment could not be run; each message has the value that is wrong and what to do.
///
/// Causes are told by [`std::error::Error::source`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// What went wrong while something was done.
    #[error("{what}")]
    During {
        /// What was done, on what.
        what: String,
        /// What went wrong.
        source: Box<ExperimentError>,
    },
    /// A folder without the cells of a run.
    #[error(
        "{} has no finished cells: name folders of `eps experiment EXPERIMENT --shard K/N --out FOLDER`",
        run.display()
    )]
    NoCells {
        /// The folder.
        run: PathBuf,
        /// Why they cannot be listed.
        source: io::Error,
    },
    /// A cell that cannot be read.
    #[error("cannot read the cell {}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A request that makes no sense.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// Processes that compute together and were started differently.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// More test images than there are, or none.
    #[error("{count} test images are asked for, but there are {total}: ask for 1 to {total}")]
    TestImages {
        /// Those asked for.
        count: usize,
        /// Those that there are.
        total: usize,
    },
    /// No images to restore.
    #[error("no images are asked for: ask for at least one, with at least one sample")]
    NoImages,
    /// A folder of another experiment.
    #[error(
        "--out {}: its config.json is not of the experiment {experiment}: name another folder",
        folder.display()
    )]
    OtherExperiment {
        /// The folder.
        folder: PathBuf,
        /// The experiment that is asked for.
        experiment: String,
    },
    /// A folder of no run that holds a file which a run would replace.
    #[error(
        "--out {}: its {name} is of no run of an experiment, whose config.json would be beside it: name another folder",
        folder.display()
    )]
    ForeignFile {
        /// The folder.
        folder: PathBuf,
        /// The file, or folder, in it.
        name: &'static str,
    },
    /// A folder that cannot be made.
    #[error("cannot make the folder {}: check the path and its permissions", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The program's own file cannot be found, whose digest is kept with what it computes.
    #[error("cannot find the running program: start it by its path")]
    Program(#[source] io::Error),
    /// A network's file that is not there.
    #[error(
        "the network {} is missing: restore data/networks from the repository, name the folder of yours with \
         --networks (of `reach` the file, in the fields networks and prior), or train it (`cargo xtask reproduce \
         --from-scratch`, or `--experiment NAME` for the networks of an experiment)",
        .0.display()
    )]
    NoNetwork(PathBuf),
    /// A network that no method of the plan asks for.
    #[error("no network {0} was read for this plan")]
    NotRead(String),
    /// A module that reads classes, as a prior.
    #[error(
        "{}: the module reads classes, which experiments give to networks of ours alone: import its weights \
         (`eps import`), or script it with one class for all images",
        .0.display()
    )]
    ReadsClasses(PathBuf),
    /// A network for images of another shape.
    #[error(
        "{}: the network is for images of shape {known}, these have {found}: give one that was trained on them \
         (--networks, --prior; of `reach` the fields networks and prior)",
        path.display()
    )]
    ImageShape {
        /// The network's file.
        path: PathBuf,
        /// The shape of its images.
        known: Shape,
        /// That of the test images.
        found: Shape,
    },
    /// A network that does not know enough noise.
    #[error(
        "{}: the network knows noise up to {known}, experiments begin at {needed}: give one that was trained so far \
         (--networks, --prior; of `reach` the fields networks and prior); `eps restore` begins where the network does",
        path.display()
    )]
    Noise {
        /// The network's file.
        path: PathBuf,
        /// The largest σ_t that it knows.
        known: f64,
        /// The first σ_t of an experiment.
        needed: f64,
    },
    /// A network of another use.
    #[error(
        "{}: the network is {}, but {} is needed: give such a one (--networks; of `reach` the \
         field networks)",
        path.display(),
        described(*found),
        described(*needed)
    )]
    Use {
        /// The network's file.
        path: PathBuf,
        /// What it is asked.
        found: NetworkUse,
        /// What the method asks.
        needed: NetworkUse,
    },
    /// A network of other tasks.
    #[error(
        "{}: the network was trained for {}, not for {needed}: give one that was (--networks; of `reach` \
         the field networks)",
        path.display(),
        known.join(", ")
    )]
    Task {
        /// The network's file.
        path: PathBuf,
        /// The tasks that it was trained for.
        known: Vec<&'static str>,
        /// The task that it is needed for.
        needed: &'static str,
    },
    /// The configuration of a training that is none of this version.
    #[error(
        "{}: the configuration of its training cannot be read: train or import the network again",
        path.display()
    )]
    Training {
        /// The network's file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// A record of losses that cannot be read.
    #[error("{}: line {line} is no record of losses: delete the file", path.display())]
    Losses {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// Why not.
        source: serde_json::Error,
    },
    /// A covariance of too many values.
    #[error(
        "the covariance of images of shape {shape} has {n} × {n} values: the linear estimate is left out above {most} \
         values an image",
        n = shape.len()
    )]
    LargeCovariance {
        /// The shape of the images.
        shape: Shape,
        /// The most values of an image.
        most: usize,
    },
    /// Moments of images of another shape.
    #[error(
        "{}: these are moments of images of shape {found}, the test images have {needed}: make it again with \
         `eps experiment moments`",
        path.display()
    )]
    MomentsShape {
        /// The file.
        path: PathBuf,
        /// The shape of the images that it is of.
        found: Shape,
        /// That of the test images.
        needed: Shape,
    },
    /// Moments of other images than the data set's.
    #[error(
        "{}: these are moments of other images (SHA-256 {found}) than the data set's training images ({needed}): make it again \
         with `eps experiment moments`",
        path.display()
    )]
    MomentsImages {
        /// The file.
        path: PathBuf,
        /// The SHA-256 of the images that it is of.
        found: String,
        /// That of the training images.
        needed: String,
    },
    /// A contender that diverges whatever its constant is.
    #[error("{contender} for {task}: every value of {symbol} from {lowest} to {highest} diverges")]
    AllDiverge {
        /// The contender.
        contender: &'static str,
        /// The task.
        task: &'static str,
        /// The constant's symbol.
        symbol: &'static str,
        /// The least value that was tried.
        lowest: f64,
        /// The largest.
        highest: f64,
    },
    /// A method that computes one estimate is asked for samples.
    #[error("{0} draws no samples")]
    DrawsNothing(String),
    /// A posterior whose samples cannot be compared with others.
    #[error("{0}: the posterior has no spread")]
    NoSpread(String),
    /// Exact samples that no image's scale holds.
    #[error("an exact sample is far beyond the scale of images")]
    ExactSample,
    /// A score that results do not know.
    #[error("results have no score {0}")]
    UnknownScore(String),
    /// A record of this crate that is no JSON.
    #[error("a record cannot be written as JSON or read of it")]
    Json(#[from] serde_json::Error),
    /// Of the library.
    #[error(transparent)]
    Library(#[from] Box<eps::Error>),
    /// Of data and files of measurements.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Of files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Of the mathematics.
    #[error(transparent)]
    Math(#[from] MathError),
    /// Of the scores.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Of the networks that scores are computed by.
    #[error(transparent)]
    Networks(#[from] NetworkError),
    /// Of networks and their files.
    #[error(transparent)]
    Model(#[from] Box<ModelError>),
    /// Of libtorch.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// Of a tensor that is read out.
    #[error("a tensor cannot be read out")]
    Tensor(#[from] tch::TchError),
    /// Of a walk.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// Of results.
    #[error(transparent)]
    Results(#[from] ResultsError),
}

impl ExperimentError {
    /// Whether a chain left the finite numbers, which is a result of its method and no fault of the run.
    #[must_use]
    pub fn is_divergence(&self) -> bool {
        match self {
            Self::During { source, .. } => source.is_divergence(),
            Self::Sample(SampleError::Diverged { .. }) => true,
            Self::Library(error) => {
                matches!(**error, eps::Error::Sample(SampleError::Diverged { .. }))
            }
            _ => false,
        }
    }

    /// The message with those of all causes, from the outermost on, between colons.
    #[must_use]
    pub fn chain(&self) -> String {
        let first: &dyn std::error::Error = self;
        let all = std::iter::successors(Some(first), |error| error.source());
        all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }
}

impl From<eps::Error> for ExperimentError {
    fn from(error: eps::Error) -> Self {
        Self::Library(Box::new(error))
    }
}

impl From<ModelError> for ExperimentError {
    fn from(error: ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

fn described(network_use: NetworkUse) -> &'static str {
    match network_use {
        NetworkUse::Prior => "a prior, which knows of no measurement",
        NetworkUse::Eps => "one that is asked at the pivot (EPS)",
        NetworkUse::Palette => "one that is asked at the state beside the measurement (Palette)",
    }
}

/// What was done when something went wrong.
pub(crate) trait During<T> {
    /// Says it, with what went wrong behind it.
    ///
    /// # Errors
    /// [`ExperimentError::During`].
    fn during(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<ExperimentError>> During<T> for std::result::Result<T, E> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| ExperimentError::During {
            what: what(),
            source: Box::new(error.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_tell_their_causes_and_divergence_through_what_was_done() {
        let diverged = || SampleError::Diverged { step: 3, steps: 20 };
        let error: Result<()> = Err(diverged()).during(|| "images 3 to 5".to_owned());
        let error = error.during(|| "box-inpainting: DPS".to_owned()).unwrap_err();
        assert!(error.is_divergence());
        let chain = error.chain();
        assert!(chain.starts_with("box-inpainting: DPS: images 3 to 5: "), "{chain}");
        assert!(chain.ends_with(&diverged().to_string()), "{chain}");
        let other = ExperimentError::TestImages { count: 9, total: 4 };
        assert!(!other.is_divergence());
        assert!(other.chain().ends_with("ask for 1 to 4"));
    }
}

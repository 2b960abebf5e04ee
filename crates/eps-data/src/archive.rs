//! Archives of posterior samples.
//!
//! One HDF5 file holds one archive in its root or several in named groups (one a task and method):
//!
//! ```text
//! /                  format = "eps-samples", format_version = 1, created_by
//! /GROUP/            config (JSON), range, name, source, licence, sha256 (of the truth's set),
//!                    antithetic = 1 where samples 2k and 2k + 1 are antithetic pairs
//! /GROUP/samples         [N, J, C, H, W] f32
//! /GROUP/posterior_mean  [N, C, H, W]    f32, mean of the J samples
//! /GROUP/posterior_sd    [N, C, H, W]    f32, their standard deviation (divisor J − 1; of pairs, see
//!                                        SampleArchive::antithetic), 0 if J = 1
//! /GROUP/truth           [N, C, H, W]    f32, where it is known
//! ```

use std::path::Path;

use eps_math::Shape;
use hdf5::Group;
use serde_json::Value;

use crate::error::first_not_finite;
use crate::hdf5_file::{Input, Output, hdf5_format};
use crate::range::RANGE;
use crate::{DataError, ImageProvenance};

const FORMAT: &str = "eps-samples";
const VERSION: u64 = 1;

/// The attribute of archives whose samples are antithetic pairs.
const ANTITHETIC: &str = "antithetic";

/// Posterior samples of N images, J for each, with their mean and standard deviation.
///
/// # Units
///
/// Values on the scale [-1, 1], not clipped.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleArchive {
    shape: Shape,
    samples_per_image: usize,
    is_antithetic: bool,
    samples: Vec<f32>,
    posterior_mean: Vec<f32>,
    posterior_sd: Vec<f32>,
    truth: Option<Vec<f32>>,
    config: Value,
    provenance: ImageProvenance,
}

impl SampleArchive {
    /// An archive of samples; their mean and standard deviation are computed here, in f64.
    ///
    /// `config` is the resolved configuration of the run, `provenance` that of the images.
    ///
    /// # Shapes
    ///
    /// `samples: [N, J, C, H, W]` with J = `samples_per_image`, N from the length.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where the number of values is not a positive multiple of J·C·H·W or
    /// a value is not finite.
    #[expect(clippy::cast_possible_truncation, reason = "files keep them in f32")]
    pub fn new(
        shape: Shape,
        samples_per_image: usize,
        samples: Vec<f32>,
        config: Value,
        provenance: ImageProvenance,
    ) -> Result<Self, DataError> {
        let block = samples_per_image * shape.len();
        if block == 0 || samples.is_empty() || !samples.len().is_multiple_of(block) {
            return Err(DataError::invalid(
                "the number of sample values",
                samples.len(),
                format!(
                    "it must be a positive multiple of {block}, {samples_per_image} samples of \
                     shape {shape}"
                ),
            ));
        }
        require_finite("sample", &samples)?;
        let (mean, sd) = moments(&samples, samples_per_image, shape);
        let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
        let (posterior_mean, posterior_sd) = (narrow(mean), narrow(sd));
        Ok(SampleArchive {
            shape,
            samples_per_image,
            is_antithetic: false,
            samples,
            posterior_mean,
            posterior_sd,
            truth: None,
            config,
            provenance,
        })
    }

    /// The same samples as antithetic pairs: samples 0 and 1, 2 and 3, … of an image were drawn from opposite noise, a last one of an
    /// odd number alone.
    ///
    /// Samples of a pair are not independent, those of different pairs are. So the standard deviation is found from the latter:
    ///
    /// ```text
    /// σ² = mean of (x_i − x_j)²/2 over all i, j of different pairs = (J Σ_j (x_j − x̄)² − Σ_pairs (x_2k − x_2k+1)²) / (J (J − 1) − 2 P)
    /// ```
    ///
    /// for P pairs: an unbiased variance, less certain than that of as many independent samples. Of a single pair σ is half of their
    /// difference, as though they were mirror images about the mean.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "files keep them in f32")]
    pub fn antithetic(mut self) -> Self {
        let (count, one) = (self.samples_per_image, self.shape.len());
        let pairs = count / 2;
        let independent = (count * (count - 1) - 2 * pairs) as f64;
        for (image, samples) in self.samples.chunks_exact(one * count).enumerate() {
            for pixel in 0..one {
                let value = |sample: usize| f64::from(samples[sample * one + pixel]);
                let mean = (0..count).map(value).sum::<f64>() / count as f64;
                let squares: f64 = (0..count).map(|sample| (value(sample) - mean).powi(2)).sum();
                let within: f64 =
                    (0..pairs).map(|pair| (value(2 * pair) - value(2 * pair + 1)).powi(2)).sum();
                let variance = if count == 2 {
                    within / 4.0
                } else {
                    (count as f64 * squares - within).max(0.0) / independent.max(1.0)
                };
                self.posterior_sd[image * one + pixel] = variance.sqrt() as f32;
            }
        }
        self.is_antithetic = true;
        self
    }

    /// Adds the true images.
    ///
    /// # Shapes
    ///
    /// `truth: [N, C, H, W]`
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where the length is another or a value is not finite.
    pub fn with_truth(mut self, truth: Vec<f32>) -> Result<Self, DataError> {
        if truth.len() != self.posterior_mean.len() {
            return Err(DataError::invalid(
                "the number of true values",
                truth.len(),
                format!(
                    "{} images of shape {} need {}",
                    self.len(),
                    self.shape,
                    self.posterior_mean.len()
                ),
            ));
        }
        require_finite("true", &truth)?;
        self.truth = Some(truth);
        Ok(self)
    }

    /// N, the number of images.
    pub fn len(&self) -> usize {
        self.posterior_mean.len() / self.shape.len()
    }

    /// Always false: an archive has at least one image.
    pub fn is_empty(&self) -> bool {
        self.posterior_mean.is_empty()
    }

    /// The shape of one image.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// J, the number of samples of each image.
    pub fn samples_per_image(&self) -> usize {
        self.samples_per_image
    }

    /// Whether the samples are [antithetic pairs](Self::antithetic).
    pub fn is_antithetic(&self) -> bool {
        self.is_antithetic
    }

    /// All samples, `[N, J, C, H, W]`.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// The mean of the samples, `[N, C, H, W]`.
    pub fn posterior_mean(&self) -> &[f32] {
        &self.posterior_mean
    }

    /// The standard deviation of the samples, `[N, C, H, W]`, 0 where J = 1.
    pub fn posterior_sd(&self) -> &[f32] {
        &self.posterior_sd
    }

    /// The true images, `[N, C, H, W]`.
    pub fn truth(&self) -> Option<&[f32]> {
        self.truth.as_deref()
    }

    /// The resolved configuration of the run.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Where the images come from.
    pub fn provenance(&self) -> &ImageProvenance {
        &self.provenance
    }

    /// Writes a file with this archive in its root.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] or [`DataError::Hdf5`] where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let output = Output::create(path, FORMAT, VERSION)?;
        self.put(&output, &output.root()?)?;
        output.finish()
    }

    /// Reads the archive in a file's root.
    ///
    /// # Errors
    ///
    /// As [`ArchiveReader::read`].
    pub fn read(path: &Path) -> Result<Self, DataError> {
        ArchiveReader::open(path)?.read("/")
    }

    fn put(&self, output: &Output, group: &Group) -> Result<(), DataError> {
        let Shape { channels, height, width } = self.shape;
        let images = [self.len(), channels, height, width];
        let samples = [self.len(), self.samples_per_image, channels, height, width];
        output.put_json(group, "config", &self.config)?;
        output.put_text(group, "range", RANGE)?;
        output.put_provenance(group, &self.provenance)?;
        if self.is_antithetic {
            output.put_number(group, ANTITHETIC, 1)?;
        }
        output.put_array(group, "samples", &samples, &self.samples)?;
        output.put_array(group, "posterior_mean", &images, &self.posterior_mean)?;
        output.put_array(group, "posterior_sd", &images, &self.posterior_sd)?;
        if let Some(truth) = &self.truth {
            output.put_array(group, "truth", &images, truth)?;
        }
        Ok(())
    }

    fn get(input: &Input, group: &Group) -> Result<Self, DataError> {
        let (dims, samples) = finite(input, group, "samples", 5)?;
        let shape = Shape { channels: dims[2], height: dims[3], width: dims[4] };
        let images = |name: &str| {
            let (found, values) = finite(input, group, name, 4)?;
            let needed = [dims[0], dims[2], dims[3], dims[4]];
            if found != needed {
                return Err(input.malformed(
                    format!(
                        "the dataset {name:?} has dimensions {found:?}, the samples {dims:?} need \
                         {needed:?}"
                    ),
                    "write the file again",
                ));
            }
            Ok(values)
        };
        Ok(SampleArchive {
            shape,
            samples_per_image: dims[1],
            is_antithetic: is_antithetic(input, group)?,
            posterior_mean: images("posterior_mean")?,
            posterior_sd: images("posterior_sd")?,
            truth: if group.link_exists("truth") { Some(images("truth")?) } else { None },
            samples,
            config: input.json(group, "config")?,
            provenance: input.provenance(group)?,
        })
    }
}

/// Writes a file of several archives, one after the other.
///
/// The file gets its name by [`ArchiveWriter::finish`]; without it nothing is left behind.
///
/// # Example
///
/// ```no_run
/// # use eps_data::{ArchiveWriter, SampleArchive};
/// # fn archives() -> Vec<(String, SampleArchive)> { vec![] }
/// let writer = ArchiveWriter::create("samples.h5".as_ref())?;
/// for (group, archive) in archives() {
///     writer.add(&group, &archive)?; // for example "box/eps-20"
/// }
/// writer.finish()?;
/// # Ok::<(), eps_data::DataError>(())
/// ```
#[derive(Debug)]
pub struct ArchiveWriter {
    output: Output,
}

impl ArchiveWriter {
    /// Starts a file.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] or [`DataError::Hdf5`] where the file cannot be written.
    pub fn create(path: &Path) -> Result<Self, DataError> {
        Ok(ArchiveWriter { output: Output::create(path, FORMAT, VERSION)? })
    }

    /// Adds an archive as the group `name`; slashes make groups inside groups.
    ///
    /// # Errors
    ///
    /// [`DataError::Hdf5`] where the group is there already or cannot be written.
    pub fn add(&self, name: &str, archive: &SampleArchive) -> Result<(), DataError> {
        archive.put(&self.output, &self.output.group(name)?)
    }

    /// Closes the file and gives it its name.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] or [`DataError::Hdf5`] where that fails.
    pub fn finish(self) -> Result<(), DataError> {
        self.output.finish()
    }
}

/// Reads the archives of a file one by one.
#[derive(Debug)]
pub struct ArchiveReader {
    input: Input,
}

impl ArchiveReader {
    /// Opens a file of archives and checks its format.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] where the file cannot be opened, [`DataError::Malformed`] where it is
    /// truncated, damaged, no HDF5 or no file of archives of a known version.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Ok(ArchiveReader { input: Input::open(path, FORMAT, VERSION)? })
    }

    /// The names of all groups that hold an archive, sorted; `/` for one in the root.
    ///
    /// # Errors
    ///
    /// [`DataError::Hdf5`] where the groups cannot be listed.
    pub fn groups(&self) -> Result<Vec<String>, DataError> {
        self.input.groups_with("samples")
    }

    /// Reads one archive; `/` is the root.
    ///
    /// # Errors
    ///
    /// [`DataError::Hdf5`] where the group cannot be read, [`DataError::Malformed`] where a dataset
    /// or an attribute is missing, incomplete, or of another shape or type, and
    /// [`DataError::NonFinite`].
    pub fn read(&self, group: &str) -> Result<SampleArchive, DataError> {
        SampleArchive::get(&self.input, &self.input.group(group)?)
    }
}

/// Mean and standard deviation (J − 1) of the samples of every image, `[N, C, H, W]` each; the deviation is 0 for a single sample.
///
/// # Shapes
///
/// `samples: [N, J, C, H, W]`, J = `samples_per_image`
pub fn moments(samples: &[f32], samples_per_image: usize, shape: Shape) -> (Vec<f64>, Vec<f64>) {
    let (one, count) = (shape.len(), samples_per_image);
    let of_pixel = |samples: &[f32], pixel: usize| {
        let values = || samples.iter().skip(pixel).step_by(one).map(|v| f64::from(*v));
        let mean = values().sum::<f64>() / count as f64;
        let squares: f64 = values().map(|v| (v - mean).powi(2)).sum();
        (mean, (squares / (count - 1).max(1) as f64).sqrt())
    };
    let images = samples.chunks_exact(count * one);
    images.flat_map(|samples| (0..one).map(move |pixel| of_pixel(samples, pixel))).unzip()
}

/// Whether a group of an HDF5 file holds [antithetic pairs](SampleArchive::antithetic); never of a file that is no archive of
/// samples.
///
/// # Errors
///
/// [`DataError::Io`] where the file cannot be opened, [`DataError::Malformed`] where it is no HDF5 file, [`DataError::Hdf5`] where
/// the group cannot be read.
pub fn holds_antithetic_pairs(path: &Path, group: &str) -> Result<bool, DataError> {
    if hdf5_format(path)?.as_deref() != Some(FORMAT) {
        return Ok(false);
    }
    let input = Input::open_any(path)?;
    let group =
        if group.trim_matches('/').is_empty() { input.root()? } else { input.group(group)? };
    is_antithetic(&input, &group)
}

fn is_antithetic(input: &Input, group: &Group) -> Result<bool, DataError> {
    Ok(input.has(group, ANTITHETIC)? && input.whole_number(group, ANTITHETIC)? == 1)
}

fn finite(
    input: &Input,
    group: &Group,
    name: &str,
    rank: usize,
) -> Result<(Vec<usize>, Vec<f32>), DataError> {
    let (dims, values): (_, Vec<f32>) = input.array(group, name, rank)?;
    input.require_finite(name, &values)?;
    Ok((dims, values))
}

fn require_finite(what: &str, values: &[f32]) -> Result<(), DataError> {
    match first_not_finite(values) {
        None => Ok(()),
        Some((index, value)) => Err(DataError::invalid(
            format!("the {what} value at flat index {index}"),
            value,
            "every value must be finite: look for where the computation went wrong",
        )),
    }
}

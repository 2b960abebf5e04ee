//! Networks from files, and what a file says of its use: noise levels, image shapes, tasks.

use std::fmt;
use std::path::Path;

use eps_data::MeasurementSet;
use eps_files::sha256_file;
use eps_math::operator::{LinearMap as _, OperatorKind, PreparedOperator, measured_pixels};
use eps_math::{PreconditionMode, Schedule, Shape, SigmaYLaw};
use eps_model::checkpoint::{self, AskedAt, Checkpoint, CheckpointConfig, Provenance};
use eps_model::training_cost::{cost_at, training_cost};
use eps_model::{
    ClassConditional, ComputeError, Denoiser, Measurement, Precision, Query, ScriptedPrior, Windows,
};
use eps_sample::{Eps, Estimator, Palette, ZeroShot};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::Error;
use crate::format::number;

/// Reads a network.
///
/// # Errors
/// Those of [`checkpoint::load`], with what to do.
pub fn load(path: &Path, device: Device, precision: Precision) -> Result<Checkpoint, Error> {
    check_exists(path)?;
    if is_checkpoint_of_others(path) {
        return Err(Error::OfOthers(path.to_owned()));
    }
    checkpoint::load(path, device, precision)
        .map_err(|source| Error::Network { path: path.to_owned(), source: Box::new(source) })
}

/// Whether a path is a folder, as diffusers writes them, or has an ending of PyTorch's.
fn is_checkpoint_of_others(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    path.is_dir() || ["pt", "pth", "ckpt", "pkl", "bin"].contains(&&*ending.to_ascii_lowercase())
}

pub(crate) fn check_exists(path: &Path) -> Result<(), Error> {
    if path.exists() { Ok(()) } else { Err(Error::NoNetwork(path.to_owned())) }
}

/// A network from a file, ready to be asked.
#[derive(Debug)]
pub enum Network {
    /// One of this project's format.
    Trained(Box<Checkpoint>),
    /// A prior of any origin.
    Scripted(Box<ScriptedPrior>),
}

impl Network {
    /// Reads a network, or the description of a prior (JSON) with its module; `class` is that of the
    /// images.
    ///
    /// # Errors
    /// Those of [`load`] and [`ScriptedPrior::load`], and a class for a network that reads none.
    pub fn load(
        path: &Path,
        class: Option<usize>,
        device: Device,
        precision: Precision,
    ) -> Result<Self, Error> {
        if is_description(path) {
            check_exists(path)?;
            let prior = ScriptedPrior::load(path, class, device, precision).map_err(|source| {
                Error::Prior { path: path.to_owned(), source: Box::new(source) }
            })?;
            return Ok(Self::Scripted(Box::new(prior)));
        }
        let checkpoint = load(path, device, precision)?;
        if let Some(class) = class {
            ClassConditional::new(&checkpoint.denoiser, &[class]).map_err(|source| {
                Error::Class { path: path.to_owned(), class, source: Box::new(source) }
            })?;
        }
        Ok(Self::Trained(Box::new(checkpoint)))
    }

    /// The same network for another thread, on the same weights: several threads may each ask one of their own.
    ///
    /// # Errors
    /// [`Error::Model`] where there is no memory for the few values that are not shared.
    pub fn another(&self) -> Result<Self, Error> {
        Ok(match self {
            Self::Trained(checkpoint) => Self::Trained(Box::new(checkpoint.another()?)),
            Self::Scripted(prior) => Self::Scripted(Box::new(prior.another())),
        })
    }

    /// The side of the windows in which the network is to be asked about `batch` images of a shape, that a call may take
    /// `memory` bytes; none where the whole images fit.
    ///
    /// # Errors
    /// [`Error::NoWindow`] where there is no memory for the smallest window, [`Error::Model`] for a network that cannot
    /// be counted.
    pub fn window_side(
        &self,
        shape: Shape,
        batch: usize,
        precision: Precision,
        memory: u64,
    ) -> Result<Option<usize>, Error> {
        /// Larger windows gain nothing.
        const LARGEST: usize = 256;
        const SMALLEST: usize = 64;
        let Self::Trained(checkpoint) = self else { return Ok(None) };
        let config = &checkpoint.config.network;
        let multiple = config.size_multiple();
        let bytes = |side: usize| Ok::<_, Error>(cost_at(config, side)?.call_bytes(precision));
        if bytes(square_of(shape, multiple))?.saturating_mul(batch as u64) <= memory {
            return Ok(None);
        }
        let smallest = SMALLEST.next_multiple_of(multiple);
        let step = 16usize.next_multiple_of(multiple);
        let mut side = LARGEST.next_multiple_of(multiple);
        loop {
            let needed = bytes(side)?;
            if needed <= memory {
                return Ok(Some(side));
            }
            if side <= smallest {
                return Err(Error::NoWindow { side, needed, memory });
            }
            side = side.saturating_sub(step).max(smallest);
        }
    }

    /// The operations and the bytes of activations of a call about one image of a shape, with those that a backward pass needs
    /// where gradients are asked for; none for a module, which cannot be counted.
    ///
    /// # Errors
    /// [`Error::Model`] for a network that cannot be counted.
    pub fn call_cost(
        &self,
        shape: Shape,
        precision: Precision,
        gradients: bool,
    ) -> Result<Option<(f64, u64)>, Error> {
        let Self::Trained(checkpoint) = self else { return Ok(None) };
        let config = &checkpoint.config.network;
        let cost = cost_at(config, square_of(shape, config.size_multiple()))?;
        let bytes = if gradients {
            cost.activation_bytes(1, precision, false)
        } else {
            cost.call_bytes(precision)
        };
        Ok(Some((2.0 * cost.multiply_adds as f64, bytes)))
    }

    /// The bytes of its weights where `workers` ask it: f32 values that all share, and a copy of each worker in a lower
    /// precision. While it is read, its file is in memory beside them. 0 for a module, which cannot be counted.
    pub fn weight_bytes(&self, precision: Precision, workers: usize) -> u64 {
        let Self::Trained(checkpoint) = self else { return 0 };
        let count = checkpoint.denoiser.network().parameter_count() as u64;
        let copies = if precision == Precision::F32 { 0 } else { 2 * workers as u64 };
        count.saturating_mul(4 + copies)
    }

    /// The same network, asked in windows of `side`² pixels about images that are larger than one, `at_once` of them in
    /// a pass.
    ///
    /// # Errors
    /// Those of [`Windows::new`]; [`Error::WindowsOfModule`] for a module, whose images have one shape.
    pub fn in_windows(self, side: usize, at_once: usize) -> Result<Self, Error> {
        match self {
            Self::Trained(checkpoint) => {
                let windows =
                    Windows::new(side, checkpoint.config.network.size_multiple(), at_once)?;
                Ok(Self::Trained(Box::new(checkpoint.with_windows(windows))))
            }
            Self::Scripted(prior) => Err(Error::WindowsOfModule(prior.description.name.clone())),
        }
    }

    /// The same network, whose windows are asked about by `threads` threads at once, on the CPU, where it is [asked in
    /// windows](Self::in_windows). Its answers are the same, to the last bit.
    ///
    /// # Errors
    /// [`Error::Model`] where there is no memory for the few values that are not shared.
    pub(crate) fn with_threads(self, threads: usize) -> Result<Self, Error> {
        Ok(match self {
            Self::Trained(checkpoint) if checkpoint.denoiser.windows().is_some() => {
                Self::Trained(Box::new(checkpoint.with_threads(threads)?))
            }
            other => other,
        })
    }

    /// The number of windows in which it is asked about an image of a shape, where they are not moved; 1 for the whole image.
    pub(crate) fn windows(&self, shape: Shape) -> usize {
        match self {
            Self::Trained(checkpoint) => {
                let windows = checkpoint.denoiser.windows();
                windows.map_or(1, |windows| windows.count(shape.height, shape.width))
            }
            Self::Scripted(_) => 1,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Trained(checkpoint) => &checkpoint.config.name,
            Self::Scripted(prior) => &prior.description.name,
        }
    }

    /// Where it comes from and under which licence, for one line.
    pub fn origin(&self) -> String {
        match self {
            Self::Trained(checkpoint) => origin(&checkpoint.config.provenance),
            Self::Scripted(prior) => {
                format!("the module {}; licence: its owner's", prior.script.display())
            }
        }
    }

    /// Under which licence it is.
    pub fn licence(&self) -> String {
        match self {
            Self::Trained(checkpoint) => licence(&checkpoint.config.provenance),
            Self::Scripted(_) => "its owner's".to_owned(),
        }
    }

    /// Its name, its file and the SHA-256 of that, and its origin, for the record.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn record(&self, path: &Path) -> Result<NetworkRecord, Error> {
        let FileRecord { file, sha256 } = FileRecord::of(path)?;
        let script = match self {
            Self::Trained(_) => None,
            Self::Scripted(prior) => Some(FileRecord::of(&prior.script)?),
        };
        let (name, origin) = (self.name().to_owned(), self.origin());
        Ok(NetworkRecord { file, sha256, name, origin, script })
    }

    /// The lowest and highest noise level that it was trained for.
    pub fn sigmas(&self) -> (f64, f64) {
        match self {
            Self::Trained(checkpoint) => (checkpoint.config.sigma_min, checkpoint.config.sigma_max),
            Self::Scripted(prior) => prior.description.sigmas(),
        }
    }

    /// Whether it can be asked about all levels of a grid but 0.
    ///
    /// # Errors
    /// [`Error::BeyondChain`] with the first that lies beyond those of its chain.
    pub fn check_levels(&self, sigmas: &[f64]) -> Result<(), Error> {
        let Self::Trained(checkpoint) = self else { return Ok(()) };
        for &sigma in sigmas.iter().filter(|sigma| **sigma > 0.0) {
            if let Some((low, high)) = checkpoint.denoiser.beyond(sigma) {
                let name = self.name().to_owned();
                return Err(Error::BeyondChain { name, sigma, low, high });
            }
        }
        Ok(())
    }

    /// EDM's schedule between these levels.
    pub fn schedule(&self) -> Schedule {
        let (sigma_min, sigma_max) = self.sigmas();
        Schedule::karras_between(sigma_min, sigma_max)
    }

    /// The shape of the images that it was trained on.
    pub fn image_shape(&self) -> Shape {
        match self {
            Self::Trained(checkpoint) => checkpoint.config.network.image_shape(),
            Self::Scripted(prior) => prior.description.images,
        }
    }

    /// The number that both sides of an image must be multiples of; for a module, whose shape is fixed, 1.
    pub fn size_multiple(&self) -> usize {
        match self {
            Self::Trained(checkpoint) => checkpoint.config.network.size_multiple(),
            Self::Scripted(_) => 1,
        }
    }

    /// How it is asked.
    pub fn conditioning(&self) -> Conditioning {
        match self {
            Self::Trained(checkpoint) => conditioning(&checkpoint.config),
            Self::Scripted(_) => Conditioning::ZeroShot,
        }
    }

    /// Fails where it cannot take images of a shape.
    ///
    /// # Errors
    /// Those of [`check_fit`]; for a module any shape but its own.
    pub fn check_fit(&self, shape: Shape) -> Result<(), Error> {
        match self {
            Self::Trained(checkpoint) => check_fit(&checkpoint.config, shape),
            Self::Scripted(prior) => {
                let needed = prior.description.images;
                if shape == needed {
                    return Ok(());
                }
                let name = prior.description.name.clone();
                Err(Error::PriorShape { name, found: shape, needed })
            }
        }
    }

    /// In what a measurement of images of a class differs from those that it was trained for.
    pub fn notes(&self, set: &MeasurementSet, class: Option<usize>) -> Vec<String> {
        match self {
            Self::Trained(checkpoint) => {
                let mut notes = notes(&checkpoint.config, set);
                if !checkpoint.has_digests {
                    notes.push(format!(
                        "the file of the network {:?} has no digests, and no FILE.sha256 lies beside it: it was not checked \
                         for damage",
                        self.name()
                    ));
                }
                let classes = checkpoint.config.network.label_dim();
                if classes > 0 && class.is_none() {
                    notes.push(format!(
                        "the network {:?} reads one of {classes} classes, and none is named (--class): it \
                         may never have been trained without one",
                        self.name()
                    ));
                }
                notes
            }
            Self::Scripted(_) => vec![],
        }
    }

    /// What a prior makes of a measurement when it is asked as EPS asks; `None` of a network that was trained for it.
    pub fn zero_shot_note(&self) -> Option<String> {
        (self.conditioning() == Conditioning::ZeroShot).then(|| {
            format!(
                "the network {:?} is a prior: it is asked at the pivot without having been trained for that (zero-shot), so its \
                 samples are approximate",
                self.name()
            )
        })
    }

    /// Whether it was trained for noise as strong as that of a measurement.
    pub fn knows_noise(&self, set: &MeasurementSet) -> bool {
        let Self::Trained(checkpoint) = self else { return false };
        let ends = checkpoint.config.sigma_y.map(SigmaYLaw::ends);
        ends.is_some_and(|ends| !is_beyond(ends, set.sigma_y()))
    }

    /// How many samples a GPU draws at once: the activations of a pass that is differentiated, as DPS
    /// does, take 16 GiB at most.
    pub fn samples_at_once(&self, precision: Precision) -> usize {
        match self {
            Self::Trained(checkpoint) => {
                training_cost(&checkpoint.config.network).map_or(1, |found| {
                    let each = found.activation_bytes(1, precision, false);
                    (ACTIVATIONS / each.max(1)).clamp(1, 1000) as usize
                })
            }
            Self::Scripted(_) => 64,
        }
    }
}

/// What results tell of the network that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRecord {
    /// The file, as it was named.
    pub file: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its name.
    pub name: String,
    /// Where it comes from and under which licence.
    pub origin: String,
    /// The module, where the file describes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<FileRecord>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// The file, as it was named.
    pub file: String,
    /// Its SHA-256.
    pub sha256: String,
}

impl FileRecord {
    /// What is recorded of a file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(path: &Path) -> Result<Self, Error> {
        Ok(Self { file: path.display().to_string(), sha256: sha256_file(path)? })
    }
}

/// In bytes: a fifth of a large GPU's memory, as what lives for a moment comes on top.
const ACTIVATIONS: u64 = 16 << 30;

/// A network that is asked about images whose classes may be known.
#[derive(Debug)]
pub enum Asked<'a> {
    /// Without classes, or one that reads none.
    Network(&'a Network),
    /// With the class of each image.
    Conditional(ClassConditional<'a>),
}

impl Network {
    /// The network, asked about images of these classes where it reads any.
    ///
    /// # Errors
    /// A class that it does not know.
    pub fn about(&self, classes: Option<&[usize]>) -> Result<Asked<'_>, Error> {
        Ok(match (self, classes) {
            (Self::Trained(checkpoint), Some(classes))
                if checkpoint.config.network.label_dim() > 0 =>
            {
                Asked::Conditional(ClassConditional::new(&checkpoint.denoiser, classes)?)
            }
            _ => Asked::Network(self),
        })
    }
}

impl Denoiser for Asked<'_> {
    fn denoise(&self, query: &Query<'_>) -> Result<Tensor, ComputeError> {
        match self {
            Self::Network(network) => network.denoise(query),
            Self::Conditional(conditional) => conditional.denoise(query),
        }
    }

    fn denoise_vjp(
        &self,
        query: &Query<'_>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError> {
        match self {
            Self::Network(network) => network.denoise_vjp(query, cotangent),
            Self::Conditional(conditional) => conditional.denoise_vjp(query, cotangent),
        }
    }
}

impl Denoiser for Network {
    fn denoise(&self, query: &Query<'_>) -> Result<Tensor, ComputeError> {
        match self {
            Self::Trained(checkpoint) => checkpoint.denoiser.denoise(query),
            Self::Scripted(prior) => prior.denoise(query),
        }
    }

    fn denoise_vjp(
        &self,
        query: &Query<'_>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError> {
        match self {
            Self::Trained(checkpoint) => checkpoint.denoiser.denoise_vjp(query, cotangent),
            Self::Scripted(prior) => prior.denoise_vjp(query, cotangent),
        }
    }
}

/// Whether a path names the description of a prior, not a network.
pub fn is_description(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
}

/// Where a network comes from and under which licence, for one line.
pub fn origin(provenance: &Provenance) -> String {
    let mut line = provenance.source.clone();
    let sha256 = |sha256: &str| format!(" (SHA-256 {sha256})");
    line += &provenance.imported_sha256().map_or_else(String::new, sha256);
    let mut start = provenance.start.as_deref();
    while let Some(origin) = start {
        line += &format!(", from {}{}", origin.source, sha256(&origin.sha256));
        start = origin.start.as_deref();
    }
    format!("{line}; licence: {}", licence(provenance))
}

/// The licence of a network, and whether it limits its use.
fn licence(provenance: &Provenance) -> String {
    let limit = if provenance.is_non_commercial() { " (non-commercial use only)" } else { "" };
    format!("{}{limit}", provenance.licence)
}

/// How a network is asked about a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conditioning {
    /// At the pivot, for which it was trained.
    Eps,
    /// At the state beside the measurement, for which it was trained.
    Palette,
    /// A prior, at the pivot as if its noise were that of the state.
    ZeroShot,
}

/// How the network is asked, by what it was trained for.
pub fn conditioning(config: &CheckpointConfig) -> Conditioning {
    match config.asked_at {
        _ if config.tasks.is_empty() => Conditioning::ZeroShot,
        AskedAt::Pivot => Conditioning::Eps,
        AskedAt::State => Conditioning::Palette,
    }
}

impl fmt::Display for Conditioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eps => "EPS, the network asked at the pivot as it was trained",
            Self::Palette => "Palette, the network asked at the state beside y as it was trained",
            Self::ZeroShot => "EPS zero-shot, a prior asked at the pivot without training for it",
        })
    }
}

impl Conditioning {
    /// E[x₀ | x_t, y] by a denoiser.
    pub fn estimator<'a, D: Denoiser>(
        self,
        denoiser: &'a D,
        measurement: &'a Measurement,
    ) -> Box<dyn Estimator + 'a> {
        match self {
            Self::Eps => Box::new(Eps { denoiser, measurement }),
            Self::Palette => Box::new(Palette { denoiser, measurement }),
            Self::ZeroShot => Box::new(ZeroShot { denoiser, measurement }),
        }
    }
}

/// Fails where the network cannot take images of a shape.
///
/// # Errors
/// Another number of channels, images that are too small for its levels, and other images than those whose moments
/// the network's preconditioning reads.
pub fn check_fit(config: &CheckpointConfig, shape: Shape) -> Result<(), Error> {
    let name = || config.name.clone();
    let (found, needed) = (shape.channels, config.network.out_channels());
    if found != needed {
        return Err(Error::Channels { name: name(), found, needed });
    }
    config.network.check_sides(shape.height, shape.width).map_err(|source| Error::Size {
        name: name(),
        shape,
        source: Box::new(source),
    })?;
    let moments = config.data.as_ref();
    match moments.filter(|_| config.precondition.mode == PreconditionMode::Wiener) {
        Some(data) if data.shape != shape => {
            Err(Error::Moments { name: name(), found: shape, needed: data.shape })
        }
        _ => Ok(()),
    }
}

/// The side, a multiple, of a square of about the pixels that a network computes for an image, each of whose sides grows to a multiple.
fn square_of(shape: Shape, multiple: usize) -> usize {
    let [height, width] = [shape.height, shape.width].map(|side| side.next_multiple_of(multiple));
    height.saturating_mul(width).isqrt().next_multiple_of(multiple)
}

/// Whether something was measured of every pixel of every image, but for what lies beyond the borders of a blur.
fn every_pixel_is_seen(set: &MeasurementSet) -> bool {
    let asked = |image| (set.operator(image), set.noise(image));
    let whole_picture =
        |operator: &PreparedOperator| set.missing() == 0 && operator.gives_picture();
    (0..set.len()).all(|image| {
        let (operator, noise) = asked(image);
        // Most sets have one of each.
        let is_known = image > 0 && {
            let before = asked(image - 1);
            std::ptr::eq(before.0, operator) && std::ptr::eq(before.1, noise)
        };
        is_known || whole_picture(operator) || !measured_pixels(operator, noise).contains(&false)
    })
}

/// Whether a σ_y is not within the ends of a law, with a tenth of it to spare.
fn is_beyond([lowest, highest]: [f64; 2], asked: f64) -> bool {
    (lowest / asked).ln() > 0.1 || (asked / highest).ln() > 0.1
}

/// Names in their order, each once: a law may draw several operators of a family.
fn distinct(names: Vec<&str>) -> Vec<&str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// In what a measurement differs from those that the network was trained for.
pub fn notes(config: &CheckpointConfig, set: &MeasurementSet) -> Vec<String> {
    let name = &config.name;
    let mut notes = Vec::new();
    if !config.tasks.is_empty() {
        let (family, kind) = (set.operator(0).family(), set.operator(0).kind());
        let knows_kind = kind != OperatorKind::Others && config.tasks.kinds().contains(&kind);
        if !knows_kind && !config.tasks.families().contains(family) {
            notes.push(format!(
                "the network {name:?} was trained for {}, not for an operator of the family {family}",
                distinct(config.tasks.names()).join(", ")
            ));
        }
    }
    if let Some([lowest, highest]) = config.sigma_y.map(SigmaYLaw::ends) {
        let asked = set.sigma_y();
        if is_beyond([lowest, highest], asked) {
            let trained = if lowest == highest {
                format!("= {}", number(lowest))
            } else {
                format!("from {} to {}", number(lowest), number(highest))
            };
            notes.push(format!(
                "the network {name:?} was trained for sigma_y {trained}, the measurement has {}",
                number(asked)
            ));
        }
    }
    let trained = config.network.image_shape();
    let is_larger = set.shape().plane() > trained.plane();
    // A network that takes images of any size sees enough of larger ones around every pixel that was measured.
    if trained != set.shape() && !(is_larger && every_pixel_is_seen(set)) {
        let unseen = if is_larger {
            ": what is wider than the images of its training, such as a large hole, it has not seen"
        } else {
            ""
        };
        notes.push(format!(
            "the network {name:?} is laid out for images of shape {trained}, these have {}{unseen}",
            set.shape()
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_families_are_listed_once() {
        assert_eq!(distinct(vec!["scale", "radon", "scale"]), ["scale", "radon"]);
    }

    #[test]
    fn a_long_image_is_counted_with_all_that_its_sides_grow_to() {
        let square_of = |height, width| square_of(Shape::new(3, height, width).unwrap(), 32);
        assert_eq!([square_of(64, 64), square_of(65, 65)], [64, 96]);
        // 96×10,016 pixels, a third more than the image has.
        let pixels = square_of(65, 10_000).pow(2);
        assert!((961_536..1_000_000).contains(&pixels), "{pixels}");
    }
}

//! Measurements y = A x₀ + η with everything that is needed to restore from them.
//!
//! The one layout of measurements is an HDF5 file. Readable in any language, it can be written by
//! hand for data from elsewhere:
//!
//! ```text
//! /            format = "eps-measurements", format_version = 1, created_by
//!              operator = JSON (below)
//!              sigma_y  f64, standard deviation of η on the scale of the values, [-1, 1]
//!              sigma_y_255 = 127.5 sigma_y, derived; checked where present
//!              seed     u64, of operators and noise; absent where they were not drawn
//!              channels, height, width   u64, C, H and W of an image
//!              range, name, source, licence, sha256 (of the images' set)
//! /y           [N, c, h, w] f64, the shape of a measurement (a mask's y has the image's)
//! /truth       [N, C, H, W] f64, where it is known
//! ```
//!
//! | operator (JSON) | its datasets; the first dimension K is N, or 1 if all images share it |
//! |---|---|
//! | `{"operator": "mask"}` | `/mask` `[K, H, W]` u8, 1 where a pixel is observed |
//! | `{"operator": "average-pool", "factor": k}` | none |
//! | `{"operator": "circular-blur"}` | `/kernel` `[K, rows, columns]` f64, centre at (rows/2, columns/2) |
//! | `{"operator": "separable"}` | `/vertical` `[K, p, H]`, `/horizontal` `[K, q, W]` f64 |
//! | `{"operator": "dense"}` | `/matrix` `[K, m, C·H·W]` f64 |
//!
//! Numbers of another type are read too, as f32, and a mask of booleans; f64 is what is written.
//!
//! Other operators are in a file of `format_version` 2, which differs in this: the attribute `operator` is
//! `{"operator": "described"}`, and `/operators` `[bytes]` u8 is UTF-8 JSON, a list of one description for all images or
//! of one an image, as `eps operator` and `--operator` read them.
//!
//! So is noise that is more than one number. One of these datasets then tells it, with K = 1 or N, and `sigma_y` is derived
//! and not read:
//!
//! ```text
//! /sigma           [K] or [K, c, h, w] f64, a standard deviation of each image or of each entry, inf where nothing was
//!                  measured
//! /noise_factor    [K, m, m] f64, lower triangular L with the covariance L Lᵀ of the m = c·h·w entries of y
//! /noise_spectrum  [K, h, w] f64, the variance at each frequency of y's plane, 0 first, for noise that is stationary there
//! ```
//!
//! NaN in `/y` is missing too, in either version. Other names that speak of noise, and unknown fields of `operator`, are errors.
//!
//! With an attribute `unit`, the JSON `{"name": "HU", "offset": 0, "scale": 1000}` ([`Unit`]), `/y`, `/truth` and all that
//! tells the noise are in that unit, in which images are offset ± scale where the network's are ±1.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use eps_math::operator::{
    Border, Decomposed, Kernel, LinearMap, OperatorSpec, PreparedOperator, Whitened,
    measured_entries,
};
use eps_math::{Noise, Shape};
use hdf5::Group;
use serde::{Deserialize, Serialize};

use crate::array::checked_product;
use crate::error::first_not_finite;
use crate::hdf5_file::{Input, Output};
use crate::operator_memory::{require_dense, require_memory};
use crate::range::{RANGE, SCALE};
use crate::unit::Unit;
use crate::{DataError, ImageProvenance, noise};

/// The version of files with operators of the table above, which older programs read.
const TABULATED: u64 = 1;

/// The version of files with operators by their descriptions, and with noise of any law.
const DESCRIBED: u64 = 2;

/// The content of the attribute `operator`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operator", rename_all = "kebab-case", deny_unknown_fields)]
enum Family {
    // With braces, as serde denies no fields of what has none.
    Mask {},
    AveragePool { factor: usize },
    CircularBlur {},
    Separable {},
    Dense {},
    Described {},
}

/// Measurements of N images by operators of one family.
///
/// # Units
///
/// `y`, `truth` and `sigma_y` on the scale [-1, 1] of the images.
#[derive(Clone, Debug)]
pub struct MeasurementSet {
    shape: Shape,
    y: Vec<f64>,
    /// One for all images, or one for each; blurs by their taps, all of one size.
    specs: Vec<OperatorSpec>,
    operators: Vec<PreparedOperator>,
    /// One for all measurements, or one for each.
    noises: Vec<Arc<Noise>>,
    /// The standard deviation that whitened measurements have together.
    sigma_y: f64,
    /// The operators of whitened measurements, one for all or one for each; none where one number is the noise of all.
    whitened: Vec<PreparedOperator>,
    /// The operators of whitened measurements with the eigenbases of their matrices, once they are asked for.
    decomposed: OnceLock<Option<Vec<PreparedOperator>>>,
    seed: Option<u64>,
    truth: Option<Vec<f64>>,
    unit: Option<Unit>,
    provenance: ImageProvenance,
}

impl MeasurementSet {
    /// The format that a file of measurements tells.
    pub const FORMAT: &str = "eps-measurements";

    /// Measurements of images of `shape`.
    ///
    /// `operators` holds one operator for all images or one for each, all of one family. Blurs are
    /// kept by their taps, padded with zeros to one size; that leaves the operators unchanged.
    ///
    /// # Shapes
    ///
    /// `y: [N, c, h, w]` with `[c, h, w]` the range of the operators, N from the length.
    ///
    /// # Errors
    ///
    /// [`DataError::Operator`] where an operator cannot be built (an empty mask, a kernel larger
    /// than the image); [`DataError::Invalid`] where the number of values of `y` or of operators
    /// does not fit, the operators are of several families or ranges, `sigma_y` is negative or not finite, or
    /// a value is infinite; [`DataError::Noise`] where all values of a measurement are missing (NaN).
    pub fn new(
        shape: Shape,
        y: Vec<f64>,
        operators: Vec<OperatorSpec>,
        sigma_y: f64,
        provenance: ImageProvenance,
    ) -> Result<Self, DataError> {
        let noise = one_number(sigma_y)?;
        Self::with_noise(shape, y, operators, vec![noise], provenance)
    }

    /// [`MeasurementSet::new`] with noise of any law, the same for all measurements or one for each.
    ///
    /// An entry of `y` that is NaN was not measured, and so was one of infinite σ, whatever it holds: both change nothing
    /// else, and are 0 in [`MeasurementSet::y`].
    ///
    /// # Errors
    ///
    /// Those of [`MeasurementSet::new`], and [`DataError::Noise`] for noise of another shape than the measurements.
    pub fn with_noise(
        shape: Shape,
        y: Vec<f64>,
        operators: Vec<OperatorSpec>,
        noises: Vec<Noise>,
        provenance: ImageProvenance,
    ) -> Result<Self, DataError> {
        let (specs, built) = prepared(shape, operators)?;
        Self::assembled(shape, y, specs, built, noises, provenance)
    }

    /// [`MeasurementSet::with_noise`] of measurements in an instrument's unit, `y` and noises alike: they become those of
    /// images on [-1, 1], and [`MeasurementSet::unit`] undoes that in results.
    ///
    /// # Errors
    ///
    /// Those of [`MeasurementSet::with_noise`] and [`Unit::validate`].
    pub fn in_unit(
        shape: Shape,
        mut y: Vec<f64>,
        operators: Vec<OperatorSpec>,
        noises: Vec<Noise>,
        unit: Unit,
        provenance: ImageProvenance,
    ) -> Result<Self, DataError> {
        unit.validate()?;
        let (specs, built) = prepared(shape, operators)?;
        let one = built[0].range().len();
        for (image, y) in y.chunks_exact_mut(one).enumerate() {
            let operator = &built[image % built.len()];
            if operator.range().len() == one {
                y.copy_from_slice(&unit.measurement_to_image(operator, y));
            }
        }
        let noises = noises
            .iter()
            .enumerate()
            .map(|(index, noise)| {
                noise::rescaled(noise, unit.scale.recip())
                    .map_err(|error| DataError::Noise { index, error })
            })
            .collect::<Result<_, _>>()?;
        let set = Self::assembled(shape, y, specs, built, noises, provenance)?;
        Ok(Self { unit: Some(unit), ..set })
    }

    fn assembled(
        shape: Shape,
        mut y: Vec<f64>,
        specs: Vec<OperatorSpec>,
        built: Vec<PreparedOperator>,
        mut noises: Vec<Noise>,
        provenance: ImageProvenance,
    ) -> Result<Self, DataError> {
        let range = built[0].range();
        if let Some(index) = built.iter().position(|operator| operator.range() != range) {
            return Err(DataError::invalid(
                format!("the shape of measurement {index}"),
                built[index].range(),
                format!("the operators of a set measure one shape, here {range}"),
            ));
        }
        let count = y.len() / range.len();
        if y.is_empty() || !y.len().is_multiple_of(range.len()) {
            return Err(DataError::invalid(
                "the number of values of y",
                y.len(),
                format!(
                    "it must be a positive multiple of {}, those of a measurement of shape {range}",
                    range.len()
                ),
            ));
        }
        if built.len() != 1 && built.len() != count {
            return Err(DataError::invalid(
                "the number of operators",
                built.len(),
                format!("give one for all images, or one for each of the {count} measurements"),
            ));
        }
        noise::check(&noises, count, range)?;
        let one = range.len();
        let is_exact = noises.iter().all(|noise| noise.largest_sigma() == 0.0);
        let mut gaps = y.chunks_exact(one).map(|y| y.iter().filter(|value| value.is_nan()).count());
        // That nothing at all was measured is told below.
        let has_gaps = gaps.clone().any(|gaps| gaps > 0) && gaps.all(|gaps| gaps < one);
        let (specs, built) = if is_exact && has_gaps {
            // What is missing of an exact measurement is not measured by its operator.
            let gaps: Vec<Vec<bool>> = y
                .chunks_exact(one)
                .map(|y| y.iter().map(|value| value.is_nan()).collect())
                .collect();
            let of = |image: usize| (&specs[image % specs.len()], &*gaps[image]);
            // All of one kind, those without a gap too: the operators of a set are of one family.
            let by_pixels: Option<Vec<_>> = (0..count)
                .map(of)
                .map(|(spec, is_gap): (&OperatorSpec, &[bool])| spec.without_pixels(is_gap))
                .collect();
            let specs = by_pixels.unwrap_or_else(|| {
                (0..count).map(of).map(|(spec, is_gap)| spec.without(is_gap)).collect()
            });
            y.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
            prepared(shape, specs)?
        } else {
            (specs, built)
        };
        let is_missing = |noise: &Noise| (0..one).any(|index| noise.is_missing(index));
        if y.iter().any(|value| value.is_nan()) || noises.iter().any(is_missing) {
            // Nothing is missing where a mask hides it.
            let seen: Vec<Vec<bool>> = built.iter().map(|map| measured_entries(map)).collect();
            let marked: Vec<Noise> = y
                .chunks_exact_mut(one)
                .enumerate()
                .map(|(image, y)| {
                    let noise = noises[image % noises.len()].clone();
                    noise::mark_missing(noise, y, |index| !seen[image % seen.len()][index])
                        .map_err(|error| DataError::Noise { index: image, error })
                })
                .collect::<Result<_, _>>()?;
            noises = if noise::is_one_number(&marked) { marked[..1].to_vec() } else { marked };
        }
        require_finite("y", &y)?;
        let sigma_y = noise::check(&noises, count, range)?;
        let is_white = noise::is_one_number(&noises);
        let noises: Vec<Arc<Noise>> = noises.into_iter().map(Arc::new).collect();
        let whitened = if is_white {
            Vec::new()
        } else {
            (0..noises.len().max(built.len()))
                .map(|index| {
                    let noise = &noises[index % noises.len()];
                    Whitened::prepare(&built[index % built.len()], noise, sigma_y)
                        .map_err(|error| DataError::Noise { index, error })
                })
                .collect::<Result<_, _>>()?
        };
        Ok(MeasurementSet {
            shape,
            y,
            specs,
            operators: built,
            noises,
            sigma_y,
            whitened,
            decomposed: OnceLock::new(),
            seed: None,
            truth: None,
            unit: None,
            provenance,
        })
    }

    /// Adds the seed from which operators and noise were drawn.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
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
    pub fn with_truth(mut self, truth: Vec<f64>) -> Result<Self, DataError> {
        let needed = self.len() * self.shape.len();
        if truth.len() != needed {
            return Err(DataError::invalid(
                "the number of true values",
                truth.len(),
                format!("{} images of shape {} need {needed}", self.len(), self.shape),
            ));
        }
        require_finite("the truth", &truth)?;
        self.truth = Some(truth);
        Ok(self)
    }

    /// N, the number of measurements.
    pub fn len(&self) -> usize {
        self.y.len() / self.range().len()
    }

    /// Always false: a set has at least one measurement.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// The shape of an image.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The shape of a measurement.
    pub fn range(&self) -> Shape {
        self.operators[0].range()
    }

    /// All measurements, `[N, c, h, w]`, 0 where nothing was measured.
    pub fn y(&self) -> &[f64] {
        &self.y
    }

    /// One measurement, `[c, h, w]`.
    ///
    /// # Panics
    ///
    /// Where `index ≥ len()`.
    pub fn measurement(&self, index: usize) -> &[f64] {
        assert!(index < self.len(), "measurement {index} of {}", self.len());
        let one = self.range().len();
        &self.y[index * one..(index + 1) * one]
    }

    /// The operator of one measurement.
    ///
    /// # Panics
    ///
    /// Where `index ≥ len()`.
    pub fn operator(&self, index: usize) -> &PreparedOperator {
        assert!(index < self.len(), "operator {index} of {}", self.len());
        &self.operators[index % self.operators.len()]
    }

    /// The description of the operator of one measurement, as it is written: blurs by their taps.
    ///
    /// # Panics
    ///
    /// Where `index ≥ len()`.
    pub fn spec(&self, index: usize) -> &OperatorSpec {
        assert!(index < self.len(), "operator {index} of {}", self.len());
        &self.specs[index % self.specs.len()]
    }

    /// σ_y, the standard deviation of the noise of the [whitened](MeasurementSet::whitened) measurements: that of the
    /// measurements themselves where one number is the noise of all, else the geometric mean of the deviations along the
    /// principal axes of their covariances.
    pub fn sigma_y(&self) -> f64 {
        self.sigma_y
    }

    /// The noise of one measurement.
    ///
    /// # Panics
    ///
    /// Where `index ≥ len()`.
    pub fn noise(&self, index: usize) -> &Noise {
        assert!(index < self.len(), "noise {index} of {}", self.len());
        &self.noises[index % self.noises.len()]
    }

    /// Whether one number is the noise of all entries of all measurements, so that whitening changes nothing.
    pub fn is_white(&self) -> bool {
        self.whitened.is_empty()
    }

    /// The values that were not measured: those that are NaN, or of infinite σ.
    pub fn missing(&self) -> usize {
        let one = self.range().len();
        (0..self.len()).map(|index| self.noise(index).missing(one)).sum()
    }

    /// The operator W A and the measurement W y, whose noise has the one standard deviation
    /// [`sigma_y`](MeasurementSet::sigma_y): the measurement itself where one number is the noise of all.
    ///
    /// # Panics
    ///
    /// Where `index ≥ len()`.
    pub fn whitened(&self, index: usize) -> (&PreparedOperator, Cow<'_, [f64]>) {
        let y = self.measurement(index);
        let whitened = if self.is_white() {
            Cow::Borrowed(y)
        } else {
            Cow::Owned(self.noise(index).whiten(y, self.sigma_y))
        };
        (self.whitened_operator(index), whitened)
    }

    /// The operator W A of a [whitened](MeasurementSet::whitened) measurement.
    ///
    /// # Panics
    ///
    /// Where `index ≥ len()`.
    pub fn whitened_operator(&self, index: usize) -> &PreparedOperator {
        if self.is_white() {
            return self.operator(index);
        }
        assert!(index < self.len(), "operator {index} of {}", self.len());
        &self.whitened[index % self.whitened.len()]
    }

    /// The operators of [whitened](MeasurementSet::whitened) measurements, one for all or one for each, with the
    /// eigenbases of their matrices; none where one is of a family of [`Operator`](eps_math::operator::Operator), beside which
    /// matrices would be of no use, where σ_y is 0 and all have an eigenbasis in closed form, or where it would take longer than
    /// [`Decomposed::is_quick`] admits. They are computed once.
    ///
    /// # Errors
    ///
    /// [`DataError::Operator`] of a decomposition.
    pub fn decomposed(&self) -> Result<Option<&[PreparedOperator]>, DataError> {
        if let Some(decomposed) = self.decomposed.get() {
            return Ok(decomposed.as_deref());
        }
        let operators = if self.is_white() { &self.operators } else { &self.whitened };
        // Functions of AᵀA have more digits by a matrix's eigenbasis; without noise y is met to more of them by one in closed form.
        let is_known = operators.iter().any(|operator| operator.basic().is_some())
            || self.sigma_y == 0.0
                && operators.iter().all(|operator| operator.as_spectral().is_some());
        let maps = operators.iter().map(PreparedOperator::map);
        let decomposed = if is_known || !Decomposed::is_quick(maps) {
            None
        } else {
            let each = operators.iter().enumerate().map(|(index, operator)| {
                let operator = operator.clone();
                let decomposed = if self.sigma_y == 0.0 {
                    operator.decomposed_for_exact()
                } else {
                    operator.decomposed()
                };
                decomposed.map_err(|error| DataError::Operator { index, error })
            });
            Some(each.collect::<Result<_, _>>()?)
        };
        Ok(self.decomposed.get_or_init(|| decomposed).as_deref())
    }

    /// The seed from which operators and noise were drawn.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// The true images, `[N, C, H, W]`.
    pub fn truth(&self) -> Option<&[f64]> {
        self.truth.as_deref()
    }

    /// The instrument's unit, where the measurements came in one.
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// Where the images come from.
    pub fn provenance(&self) -> &ImageProvenance {
        &self.provenance
    }

    /// Writes the layout at the head of this module; [`MeasurementSet::read`] gives the same bits.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] or [`DataError::Hdf5`] where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let is_tabulated = Family::of(&self.specs[0]) != Family::Described {}
            && self.is_white()
            && self.unit.is_none();
        let version = if is_tabulated { TABULATED } else { DESCRIBED };
        let output = Output::create(path, Self::FORMAT, version)?;
        let root = output.root()?;
        let images = |shape: Shape| [self.len(), shape.channels, shape.height, shape.width];
        output.put_number(&root, "channels", self.shape.channels as u64)?;
        output.put_number(&root, "height", self.shape.height as u64)?;
        output.put_number(&root, "width", self.shape.width as u64)?;
        let scale = self.unit.as_ref().map_or(1.0, |unit| unit.scale);
        output.put_number(&root, "sigma_y", scale * self.sigma_y)?;
        if let Some(unit) = &self.unit {
            output.put_json(&root, "unit", unit)?;
        } else {
            output.put_number(&root, "sigma_y_255", 127.5 * self.sigma_y)?;
            output.put_text(&root, "range", RANGE)?;
        }
        if let Some(seed) = self.seed {
            output.put_number(&root, "seed", seed)?;
        }
        output.put_provenance(&root, &self.provenance)?;
        put_operators(&output, &root, self.shape, &self.specs)?;
        let y = match &self.unit {
            Some(unit) => {
                let each = |i| unit.measurement_of_image(self.operator(i), self.measurement(i));
                Cow::Owned((0..self.len()).flat_map(each).collect())
            }
            None => Cow::Borrowed(&self.y[..]),
        };
        output.put_array(&root, "y", &images(self.range()), &y)?;
        if !self.is_white() {
            let in_unit: Vec<Noise> = self
                .noises
                .iter()
                .map(|noise| noise::rescaled(noise, scale))
                .collect::<Result<_, _>>()
                .map_err(|error| DataError::Noise { index: 0, error })?;
            noise::put(&output, &root, &in_unit, self.range())?;
        }
        if let Some(truth) = &self.truth {
            let value = |x: &f64| self.unit.as_ref().map_or(*x, |unit| unit.of_image(*x));
            let truth: Vec<f64> = truth.iter().map(value).collect();
            output.put_array(&root, "truth", &images(self.shape), &truth)?;
        }
        output.finish()
    }

    /// Reads the layout at the head of this module.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] where the file cannot be opened; [`DataError::Malformed`] or
    /// [`DataError::Hdf5`] where it is truncated, damaged, no file of measurements, or where a
    /// dataset or an attribute is missing or of another shape or type; [`DataError::NonFinite`];
    /// [`DataError::Unusable`] with what [`MeasurementSet::new`] says of the content.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let input = Input::open(path, Self::FORMAT, DESCRIBED)?;
        let root = input.root()?;
        let unusable = |error: DataError| error.in_file(path);

        let side = |name: &str| {
            let side = input.whole_number(&root, name)?;
            usize::try_from(side).map_err(|_| {
                let problem = format!("the attribute {name} is {side}, no side of an image");
                input.malformed(problem, "correct it, or write the file again")
            })
        };
        let dims = [side("channels")?, side("height")?, side("width")?];
        if matches!(checked_product(&dims), None | Some(0)) {
            return Err(input.malformed(
                format!("the attributes channels, height and width are {dims:?}, no image's shape"),
                "correct them, or write the file again",
            ));
        }
        let [channels, height, width] = dims;
        let shape = Shape { channels, height, width };
        let specs = get_operators(&input, &root, shape)?;
        check_noise_names(&input, &root)?;
        let (dims, y) = input.any_floats(&root, "y")?;
        if let Some(index) = y.iter().position(|value| value.is_infinite()) {
            let (path, what, value) = (path.to_owned(), "the dataset \"y\"".to_owned(), y[index]);
            return Err(DataError::NonFinite { path, what, index, value });
        }
        let [_, channels, height, width] = dims[..] else {
            return Err(input.malformed(
                format!("the dataset \"y\" has dimensions {dims:?}, needed are 4 of them"),
                "reshape it, or write the file again",
            ));
        };
        let found = Shape { channels, height, width };
        let provenance = input.provenance(&root)?;
        let unit: Option<Unit> =
            if input.has(&root, "unit")? { Some(input.json(&root, "unit")?) } else { None };
        let of = |noises| match unit.clone() {
            Some(unit) => MeasurementSet::in_unit(shape, y, specs, noises, unit, provenance),
            None => MeasurementSet::with_noise(shape, y, specs, noises, provenance),
        };
        let (mut set, sigma_y) = match noise::get(&input, &root, found)? {
            Some(noises) => (of(noises).map_err(unusable)?, None),
            None => {
                let sigma_y = input.number(&root, "sigma_y")?;
                let noise = one_number(sigma_y).map_err(unusable)?;
                (of(vec![noise]).map_err(unusable)?, Some(sigma_y))
            }
        };
        let range = set.range();
        expect_dims(&input, "y", &dims, &[dims[0], range.channels, range.height, range.width])?;
        if set.unit.is_some() && input.has(&root, "range")? {
            return Err(input.malformed(
                "it has a unit and the attribute range, and y can be in one of them alone",
                "remove range where y is in the instrument's unit, and unit where y is on [-1, 1]",
            ));
        }
        if input.has(&root, "range")? {
            // What is no text is for readers alone.
            let range = input.text(&root, "range").unwrap_or_else(|_| RANGE.to_owned());
            let written: String = range.split_whitespace().collect();
            if !written.starts_with(SCALE) {
                return Err(input.malformed(
                    format!("the attribute range is {range:?}, but measurements are on [-1, 1]"),
                    "if y is on [-1, 1], write \"[-1, 1]\" or remove range; otherwise scale y by 2 y - 1 (from [0, 1]) or \
                     y / 127.5 - 1 (from 0..255), and sigma_y by 2 or 1 / 127.5, first",
                ));
            }
        }
        if let Some(sigma_y) = sigma_y
            && input.has(&root, "sigma_y_255")?
        {
            let derived = input.number(&root, "sigma_y_255")?;
            // Both may have been typed by hand: agreement to six digits is meant to agree.
            if (derived - 127.5 * sigma_y).abs() > 1e-6 * derived.abs() || derived.is_nan() {
                return Err(input.malformed(
                    format!(
                        "sigma_y = {sigma_y} gives {} on 0..255, not sigma_y_255 = {derived}",
                        127.5 * sigma_y
                    ),
                    "correct one of the two, or remove sigma_y_255",
                ));
            }
        }
        if input.has(&root, "seed")? {
            set = set.with_seed(input.whole_number(&root, "seed")?);
        }
        if root.link_exists("truth") {
            let (dims, mut truth) = input.any_floats(&root, "truth")?;
            input.require_finite("truth", &truth)?;
            if let Some(unit) = &set.unit {
                truth.iter_mut().for_each(|value| *value = unit.to_image(*value));
            }
            let needed = [set.len(), shape.channels, shape.height, shape.width];
            expect_dims(&input, "truth", &dims, &needed)?;
            set = set.with_truth(truth).map_err(unusable)?;
        }
        Ok(set)
    }
}

/// The dense matrices of a file of measurements: their number, rows and columns; none where its operators are of
/// another family.
///
/// Their decompositions, which [`MeasurementSet::read`] makes, take minutes from some thousand rows on: this says
/// so before.
///
/// # Errors
///
/// Those of [`MeasurementSet::read`] for a file that cannot be opened or is none of measurements.
pub fn dense_sizes(path: &Path) -> Result<Option<[usize; 3]>, DataError> {
    let input = Input::open(path, MeasurementSet::FORMAT, DESCRIBED)?;
    let root = input.root()?;
    if !root.link_exists("matrix") {
        return Ok(None);
    }
    Ok(input.dims(&root, "matrix")?.try_into().ok())
}

/// Fails where something is named as though it told the noise, and is not read.
fn check_noise_names(input: &Input, root: &Group) -> Result<(), DataError> {
    let attributes = input.attribute_names(root)?;
    let known = ["sigma_y", "sigma_y_255"];
    let other = attributes.iter().find(|name| is_of_noise(name) && !known.contains(&&***name));
    if let Some(name) = other {
        return Err(input.malformed(
            format!("the attribute {name:?} is not read: the standard deviation of the noise is the attribute \"sigma_y\""),
            "rename the one that is meant, and remove or rename the other",
        ));
    }
    let datasets = input.dataset_names(root)?;
    let known = noise::DATASETS;
    let other = datasets.iter().find(|name| is_of_noise(name) && !known.contains(&&***name));
    if let Some(name) = other {
        return Err(input.malformed(
            format!("the dataset {name:?} is not read: those that tell the noise are {known:?}"),
            "rename the one that is meant, and remove or rename the other",
        ));
    }
    Ok(())
}

/// Whether a name speaks of noise.
fn is_of_noise(name: &str) -> bool {
    let name = name.to_lowercase();
    ["sigma", "noise", "covariance"].iter().any(|word| name.contains(word))
}

/// Noise of one number.
fn one_number(sigma_y: f64) -> Result<Noise, DataError> {
    Noise::uniform(sigma_y).map_err(|_| {
        DataError::invalid(
            "sigma_y",
            sigma_y,
            "give the standard deviation of the noise on the scale [-1, 1], a positive number, or 0 for an exact \
             measurement",
        )
    })
}

fn require_finite(what: &str, values: &[f64]) -> Result<(), DataError> {
    match first_not_finite(values) {
        None => Ok(()),
        Some((index, value)) => Err(DataError::invalid(
            format!("the value of {what} at flat index {index}"),
            value,
            "every value must be finite; what was not measured is NaN in y",
        )),
    }
}

/// Operators with their blurs by taps, and ready for images of a shape; at least one.
fn prepared(
    shape: Shape,
    operators: Vec<OperatorSpec>,
) -> Result<(Vec<OperatorSpec>, Vec<PreparedOperator>), DataError> {
    let operators = operators.into_iter().enumerate().map(|(index, spec)| {
        spec.pixel_by_pixel(shape).map_err(|error| DataError::Operator { index, error })
    });
    let specs = by_taps(operators.collect::<Result<_, _>>()?)?;
    let built: Vec<PreparedOperator> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| {
            require_memory(spec, shape)?;
            spec.prepare(shape).map_err(|error| DataError::Operator { index, error })
        })
        .collect::<Result<_, _>>()?;
    if built.is_empty() {
        return Err(DataError::invalid("the number of operators", 0, "give one, or one an image"));
    }
    Ok((specs, built))
}

/// The operators with their blurs by taps of one size; fails where families are mixed.
fn by_taps(operators: Vec<OperatorSpec>) -> Result<Vec<OperatorSpec>, DataError> {
    let mut specs = Vec::with_capacity(operators.len());
    let mut wrapping = Vec::new();
    for (index, spec) in operators.into_iter().enumerate() {
        let kernel = match &spec {
            OperatorSpec::GaussianBlur { .. }
            | OperatorSpec::MotionBlur { .. }
            | OperatorSpec::CircularBlur { .. } => spec.one_kernel(),
            _ => Ok(None),
        };
        let kernel = kernel.map_err(|error| DataError::Operator { index, error })?;
        specs.push(kernel.as_ref().map_or(spec, |(kernel, border)| blur(kernel, *border)));
        wrapping.extend(kernel.filter(|(_, border)| *border == Border::Circular));
        let (family, first) = (specs[index].family(), specs[0].family());
        if family != first {
            return Err(DataError::invalid(
                format!("the family of operator {index}"),
                family,
                format!("the operators of a set are of one family, here {first}"),
            ));
        }
    }
    if wrapping.is_empty() {
        return Ok(specs);
    }
    // All of them, as they are of one family.
    let kernels: Vec<Kernel> = wrapping.into_iter().map(|(kernel, _)| kernel).collect();
    let kernels = Kernel::of_one_size(&kernels);
    Ok(kernels.iter().map(|kernel| blur(kernel, Border::Circular)).collect())
}

/// A blur by its taps.
fn blur(kernel: &Kernel, border: Border) -> OperatorSpec {
    let rows = kernel.taps().chunks_exact(kernel.columns());
    let kernel = rows.map(<[f64]>::to_vec).collect();
    match border {
        Border::Circular => OperatorSpec::CircularBlur { kernel },
        border => OperatorSpec::Convolution { kernel, border },
    }
}

impl Family {
    /// How the operators of a set are written, their blurs being kept by taps.
    fn of(spec: &OperatorSpec) -> Self {
        match spec {
            OperatorSpec::Mask { .. } => Self::Mask {},
            OperatorSpec::AveragePool { factor } => Self::AveragePool { factor: *factor },
            OperatorSpec::CircularBlur { .. } => Self::CircularBlur {},
            OperatorSpec::Separable { .. } => Self::Separable {},
            OperatorSpec::Dense { .. } => Self::Dense {},
            _ => Self::Described {},
        }
    }
}

fn put_operators(
    output: &Output,
    root: &Group,
    shape: Shape,
    specs: &[OperatorSpec],
) -> Result<(), DataError> {
    let family = Family::of(&specs[0]);
    output.put_json(root, "operator", &family)?;

    let matrices = |name: &str, of: fn(&OperatorSpec) -> Option<&Vec<Vec<f64>>>| {
        let all: Vec<&Vec<Vec<f64>>> = specs.iter().filter_map(of).collect();
        let dims = [all.len(), all[0].len(), all[0][0].len()];
        let values: Vec<f64> = all.into_iter().flatten().flatten().copied().collect();
        output.put_array(root, name, &dims, &values)
    };
    match family {
        Family::AveragePool { .. } => Ok(()),
        Family::Described {} => {
            let text = serde_json::to_vec(specs).map_err(|e| {
                DataError::invalid("the description of an operator", e, "give finite numbers")
            })?;
            output.put_array(root, "operators", &[text.len()], &text)
        }
        Family::Mask {} => {
            let masks: Vec<u8> = specs
                .iter()
                .filter_map(|spec| match spec {
                    OperatorSpec::Mask { observed } => Some(observed),
                    _ => None,
                })
                .flatten()
                .copied()
                .collect();
            output.put_array(root, "mask", &[specs.len(), shape.height, shape.width], &masks)
        }
        Family::CircularBlur {} => matrices("kernel", |spec| match spec {
            OperatorSpec::CircularBlur { kernel } => Some(kernel),
            _ => None,
        }),
        Family::Separable {} => {
            matrices("vertical", |spec| match spec {
                OperatorSpec::Separable { vertical, .. } => Some(vertical),
                _ => None,
            })?;
            matrices("horizontal", |spec| match spec {
                OperatorSpec::Separable { horizontal, .. } => Some(horizontal),
                _ => None,
            })
        }
        Family::Dense {} => matrices("matrix", |spec| match spec {
            OperatorSpec::Dense { matrix } => Some(matrix),
            _ => None,
        }),
    }
}

fn get_operators(
    input: &Input,
    root: &Group,
    shape: Shape,
) -> Result<Vec<OperatorSpec>, DataError> {
    let matrices = |name: &str| -> Result<Vec<Vec<Vec<f64>>>, DataError> {
        let (dims, values) = input.floats(root, name, 3)?;
        let rows: Vec<Vec<f64>> = values.chunks_exact(dims[2]).map(<[f64]>::to_vec).collect();
        Ok(rows.chunks_exact(dims[1]).map(<[Vec<f64>]>::to_vec).collect())
    };
    Ok(match input.json(root, "operator")? {
        Family::AveragePool { factor } => vec![OperatorSpec::AveragePool { factor }],
        Family::Described {} => {
            let (_, values) = input.floats(root, "operators", 1)?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a cast of f64 saturates, and what is no byte is no JSON"
            )]
            let bytes: Vec<u8> = values.iter().map(|value| *value as u8).collect();
            serde_json::from_slice(&bytes).map_err(|e| {
                input.malformed(
                    format!(
                        "the dataset \"operators\" is not the JSON of a list of operators: {e}"
                    ),
                    "correct it, or write the file again",
                )
            })?
        }
        Family::Mask {} => {
            let (dims, values) = input.floats(root, "mask", 3)?;
            expect_dims(input, "mask", &dims, &[dims[0], shape.height, shape.width])?;
            if let Some(index) = values.iter().position(|value| ![0.0, 1.0].contains(value)) {
                return Err(input.malformed(
                    format!("the mask holds {} at flat index {index}", values[index]),
                    "write 1 (true) where a pixel is observed and 0 (false) where it is not",
                ));
            }
            let masks: Vec<u8> = values.into_iter().map(|value| u8::from(value == 1.0)).collect();
            masks
                .chunks_exact(shape.plane())
                .map(|observed| OperatorSpec::Mask { observed: observed.to_vec() })
                .collect()
        }
        Family::CircularBlur {} => matrices("kernel")?
            .into_iter()
            .map(|kernel| OperatorSpec::CircularBlur { kernel })
            .collect(),
        Family::Separable {} => {
            let (vertical, horizontal) = (matrices("vertical")?, matrices("horizontal")?);
            if vertical.len() != horizontal.len() {
                return Err(input.malformed(
                    format!(
                        "there are {} vertical and {} horizontal matrices",
                        vertical.len(),
                        horizontal.len()
                    ),
                    "give as many of one as of the other",
                ));
            }
            vertical
                .into_iter()
                .zip(horizontal)
                .map(|(vertical, horizontal)| OperatorSpec::Separable { vertical, horizontal })
                .collect()
        }
        Family::Dense {} => {
            if let [_, rows, columns] = input.dims(root, "matrix")?[..] {
                require_dense(rows, columns).map_err(|error| error.in_file(input.path()))?;
            }
            matrices("matrix")?.into_iter().map(|matrix| OperatorSpec::Dense { matrix }).collect()
        }
    })
}

fn expect_dims(
    input: &Input,
    name: &str,
    found: &[usize],
    needed: &[usize],
) -> Result<(), DataError> {
    if found == needed {
        return Ok(());
    }
    Err(input.malformed(
        format!("the dataset {name:?} has dimensions {found:?}, needed are {needed:?}"),
        "reshape it, or write the file again",
    ))
}

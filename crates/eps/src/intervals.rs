//! Intervals that hold a pixel's true value with a probability, from samples, and how they are made to: widened by a factor
//! that was found on images which the network has not seen.
//!
//! The samples of a trained network spread about as the posterior does, no more exactly than the network has learnt it.
//! [`IntervalCalibration`] says, for each kind of measured value, how often its intervals held the truth and by which factor
//! about the median they hold it as often as they promise. It lies beside the network's file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use eps_data::{MeasurementSet, SampleArchive};
use eps_files::sha256_file;
use eps_math::Solver;
use eps_math::operator::{LinearMap as _, OperatorKind};
use eps_metrics::summary::Spread;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::format::number;
use crate::uncertainty::quantile;

/// The probability with which an interval shall hold the truth.
pub const LEVEL: f64 = 0.9;

/// The fewest samples of an image whose outer quantiles make an interval of [`LEVEL`].
pub const LEAST_SAMPLES: usize = 19;

/// The version of the file of a calibration.
pub const FORMAT_VERSION: u32 = 1;

/// How a value of an image was measured, as far as it decides about its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    /// A pixel that was not seen, where others were.
    Missing,
    /// A pixel that was seen, with noise.
    Seen,
    /// A pixel of which a mean with its neighbours was seen: super-resolution.
    Pooled,
    /// A pixel of a blurred image.
    Blurred,
}

impl ValueKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Seen, Self::Pooled, Self::Blurred];

    /// In words.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing pixels",
            Self::Seen => "pixels seen with noise",
            Self::Pooled => "pixels of which a mean was seen",
            Self::Blurred => "blurred pixels",
        }
    }

    /// The kinds of the values `[C, H, W]` of an image of a set; none where its operator does something else to images.
    #[must_use]
    pub fn of_image(set: &MeasurementSet, image: usize) -> Option<Vec<Self>> {
        let operator = set.operator(image);
        let n = set.shape().len();
        match operator.kind() {
            OperatorKind::Pixels => {
                let mut kinds = vec![Self::Missing; n];
                for (entry, pixel) in operator.picks()?.pixels().enumerate() {
                    if let Some(pixel) = pixel
                        && !set.noise(image).is_missing(entry)
                    {
                        kinds[pixel] = Self::Seen;
                    }
                }
                Some(kinds)
            }
            OperatorKind::Means => Some(vec![Self::Pooled; n]),
            OperatorKind::Blurs => Some(vec![Self::Blurred; n]),
            OperatorKind::Others => None,
        }
    }
}

/// An interval for every value of images.
///
/// # Shapes
/// All three `[N, C, H, W]`.
///
/// # Units
/// The scale [-1, 1], not clipped.
#[derive(Debug, Clone, PartialEq)]
pub struct Intervals {
    /// The lower ends.
    pub low: Vec<f32>,
    /// The medians of the samples.
    pub median: Vec<f32>,
    /// The upper ends.
    pub high: Vec<f32>,
}

impl Intervals {
    /// Those of [`LEVEL`] between the outer quantiles of samples, as they are.
    ///
    /// # Errors
    /// [`Error::FewSamples`] below [`LEAST_SAMPLES`].
    pub fn of(archive: &SampleArchive) -> Result<Self, Error> {
        if archive.samples_per_image() < LEAST_SAMPLES {
            return Err(Error::FewSamples {
                needed: LEAST_SAMPLES,
                found: archive.samples_per_image(),
            });
        }
        let tail = (1.0 - LEVEL) / 2.0;
        Ok(Self {
            low: quantile(archive, tail)?,
            median: quantile(archive, 0.5)?,
            high: quantile(archive, 1.0 - tail)?,
        })
    }

    /// The same, each stretched by a factor about its median.
    #[must_use]
    pub fn widened(&self, factor: impl Fn(usize) -> f64) -> Self {
        let stretch = |ends: &[f32]| {
            let stretched = ends.iter().zip(&self.median).enumerate().map(|(i, (end, median))| {
                let (end, median) = (f64::from(*end), f64::from(*median));
                eps_math::nearest_f32(median + factor(i) * (end - median))
            });
            stretched.collect()
        };
        Self { low: stretch(&self.low), median: self.median.clone(), high: stretch(&self.high) }
    }

    /// The least factor by which the interval at an index must be [widened](Self::widened) to hold a value of an image: 0 at
    /// the median, 1 at an end, infinite where it has no width on the value's side.
    ///
    /// Images end at ±1: a median beyond is at the end itself.
    #[must_use]
    pub fn factor_for(&self, index: usize, truth: f64) -> f64 {
        let [low, median, high] =
            [self.low[index], self.median[index], self.high[index]].map(f64::from);
        let middle = median.clamp(-1.0, 1.0);
        if truth == middle {
            return 0.0;
        }
        let end = if truth > middle { high } else { low };
        if end == median { f64::INFINITY } else { (truth - median) / (end - median) }
    }

    /// The width of the part of an interval that is in [-1, 1].
    #[must_use]
    pub fn width(&self, index: usize) -> f64 {
        let [low, high] = [self.low[index], self.high[index]].map(f64::from);
        high.clamp(-1.0, 1.0) - low.clamp(-1.0, 1.0)
    }
}

/// How often intervals held the truth, and how wide they were, over images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// The share of an image's true values in their intervals.
    pub held: Spread,
    /// Their mean width on the scale [-1, 1].
    pub width: Spread,
}

/// What a calibration found for a kind of value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindCalibration {
    /// The kind.
    pub kind: ValueKind,
    /// The factor by which its intervals are widened: with it they held 90 % of the true values of the validation images.
    pub factor: f64,
    /// The test images: the intervals as they are.
    pub raw: Coverage,
    /// The test images: the intervals widened.
    pub calibrated: Coverage,
}

/// A network's intervals on images that it has not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntervalCalibration {
    /// The version of this layout.
    pub format_version: u32,
    /// SHA-256 of the network's file.
    pub network: String,
    /// The images, in words, with the SHA-256 of the validation's and the test's.
    pub images: String,
    /// Validation images, of all kinds together, on which the factors were chosen; as many test images.
    pub validation_images: usize,
    /// Samples of each image.
    pub samples: usize,
    /// Whether they are antithetic pairs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub antithetic: bool,
    /// Network calls a sample.
    pub calls: usize,
    /// The solver.
    pub solver: Solver,
    /// The command that made it.
    pub command: String,
    /// By kind.
    pub kinds: Vec<KindCalibration>,
}

impl IntervalCalibration {
    /// Where the calibration of a network lies.
    #[must_use]
    pub fn path(network: &Path) -> PathBuf {
        network.with_extension("intervals.json")
    }

    /// The calibration beside a network's file, if there is one.
    ///
    /// # Errors
    /// [`Error::Intervals`] where it cannot be read, and where it is of another network.
    pub fn beside(network: &Path) -> Result<Option<Self>, Error> {
        let path = Self::path(network);
        if !path.exists() {
            return Ok(None);
        }
        let failed = |reason: String| Error::Intervals { path: path.clone(), reason };
        let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let found: Self = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        if found.format_version != FORMAT_VERSION {
            return Err(failed(format!(
                "its format version is {}, this program reads {FORMAT_VERSION}",
                found.format_version
            )));
        }
        if found.network != sha256_file(network)? {
            return Err(failed(format!("it is of another network than {}", network.display())));
        }
        Ok(Some(found))
    }

    /// What was found for a kind.
    #[must_use]
    pub fn of(&self, kind: ValueKind) -> Option<&KindCalibration> {
        self.kinds.iter().find(|found| found.kind == kind)
    }

    /// Calibrates the intervals of the images of a set, and tells of each kind of value what was done; none where a value
    /// is of a kind that was not calibrated.
    #[must_use]
    pub fn widened(
        &self,
        intervals: &Intervals,
        set: &MeasurementSet,
    ) -> Option<(Intervals, Vec<WidenedKind>)> {
        let one = intervals.low.len() / set.len();
        let mut kinds = Vec::with_capacity(intervals.low.len());
        for image in 0..set.len() {
            // Of a scene the picture alone is shown; its values are all of one kind.
            kinds.extend(ValueKind::of_image(set, image)?.into_iter().take(one));
        }
        let met = ValueKind::ALL.into_iter().filter(|kind| kinds.contains(kind));
        let found: BTreeMap<ValueKind, &KindCalibration> =
            met.map(|kind| Some((kind, self.of(kind)?))).collect::<Option<_>>()?;
        let widened = intervals.widened(|index| found[&kinds[index]].factor);
        let told = found.iter().map(|(kind, found)| {
            let of_kind = || (0..kinds.len()).filter(|index| kinds[*index] == *kind);
            let mean = |of: &Intervals| {
                of_kind().map(|index| of.width(index)).sum::<f64>() / of_kind().count() as f64
            };
            let (width, calibrated_width) = (mean(intervals), mean(&widened));
            WidenedKind { calibration: (*found).clone(), width, calibrated_width }
        });
        let told = told.collect();
        Some((widened, told))
    }
}

/// What became of the intervals of a kind of value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WidenedKind {
    /// What was found when the network's were calibrated.
    pub calibration: KindCalibration,
    /// The mean width of the intervals as they are, on the scale [-1, 1].
    pub width: f64,
    /// The mean width of the calibrated ones.
    pub calibrated_width: f64,
}

impl fmt::Display for WidenedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calibration: found, width, calibrated_width } = self;
        let percent = |share: f64| number((share * 1000.0).round() / 10.0);
        write!(
            f,
            "{}: widened by {:.2}, from a mean width of {width:.3} to {calibrated_width:.3}; on test images {} % of the \
             true values lie in them, {} % before",
            found.kind.label(),
            found.factor,
            percent(found.calibrated.held.mean),
            percent(found.raw.held.mean)
        )
    }
}

/// The least factor with which a share of values, [`LEVEL`], is held, of the factor that each needs.
#[must_use]
pub fn factor(mut needed: Vec<f64>) -> Option<f64> {
    if needed.is_empty() {
        return None;
    }
    needed.sort_by(f64::total_cmp);
    let place = eps_math::whole((LEVEL * needed.len() as f64).ceil()).clamp(1, needed.len());
    Some(needed[place - 1])
}

#[cfg(test)]
mod tests {
    use eps_data::ImageProvenance;
    use eps_math::Shape;
    use eps_math::operator::{Border, OperatorSpec};
    use eps_math::rng::Stream;

    use super::*;

    fn archive(per_image: usize, values: Vec<f32>) -> SampleArchive {
        let [name, source, licence, sha256] = ["n", "s", "MIT", "0"].map(str::to_owned);
        let provenance = ImageProvenance { name, source, licence, sha256 };
        let shape = Shape::new(1, 1, 2).unwrap();
        SampleArchive::new(shape, per_image, values, serde_json::Value::Null, provenance).unwrap()
    }

    /// With samples of the truth's own law the intervals hold 90 % as they are, and the factor is 1; with samples that spread
    /// by half it is 2.
    #[test]
    fn intervals_hold_what_they_promise() {
        let (images, per_image) = (4000, LEAST_SAMPLES);
        for spread in [1.0, 0.5] {
            let stream = Stream::named(3, "samples");
            let normals = stream.normals(images * per_image * 2);
            let samples: Vec<f32> =
                normals.iter().map(|z| eps_math::nearest_f32(0.1 * spread * z)).collect();
            let intervals = Intervals::of(&archive(per_image, samples)).unwrap();
            let truths = Stream::named(3, "truths").normals(images * 2);
            let needed: Vec<f64> =
                truths.iter().enumerate().map(|(i, z)| intervals.factor_for(i, 0.1 * z)).collect();
            let held = needed.iter().filter(|factor| **factor <= 1.0).count() as f64;
            let share = held / needed.len() as f64;
            let found = factor(needed).unwrap();
            if spread == 1.0 {
                // Four standard errors of a share of 0.9 over 8,000 values: 0.013.
                assert!((share - 0.9).abs() < 0.013, "{share}");
                assert!((found - 1.0).abs() < 0.05, "{found}");
            } else {
                assert!(share < 0.65, "{share}");
                assert!((found - 2.0).abs() < 0.1, "{found}");
            }
        }
        let error = Intervals::of(&archive(4, vec![0.0; 8])).unwrap_err().to_string();
        assert!(error.contains("19") && error.contains('4'), "{error}");
    }

    /// The intervals of antithetic pairs hold as much as those of independent samples, where the law is symmetric: a truth is
    /// beyond the outermost of ten pairs with a probability of 1/11, and beyond that of 20 samples with one of 2/21.
    #[test]
    fn intervals_of_pairs_hold_what_they_promise() {
        let (images, pairs) = (4000, 10);
        let normals = Stream::named(3, "samples").normals(images * pairs * 2);
        let mirrored = normals.chunks_exact(2).flat_map(|z| [z[0], z[1], -z[0], -z[1]]);
        let samples = mirrored.map(|z| eps_math::nearest_f32(0.1 * z)).collect();
        let intervals = Intervals::of(&archive(2 * pairs, samples).antithetic()).unwrap();
        let truths = Stream::named(3, "truths").normals(images * 2);
        let held =
            truths.iter().enumerate().filter(|(i, z)| intervals.factor_for(*i, 0.1 * **z) <= 1.0);
        let share = held.count() as f64 / truths.len() as f64;
        // Between the outermost pair, which holds 10/11, and the next, 9/11, by a twentieth: 0.904. Four standard errors: 0.013.
        assert!((share - 0.904).abs() < 0.013, "{share}");
    }

    #[test]
    fn seen_and_missing_pixels_have_their_own_factors() {
        let intervals =
            Intervals { low: vec![-0.5, -0.5], median: vec![0.0, 0.1], high: vec![0.5, 0.5] };
        let shape = Shape::new(1, 1, 2).unwrap();
        let [name, source, licence, sha256] = ["n", "s", "MIT", "0"].map(str::to_owned);
        let provenance = ImageProvenance { name, source, licence, sha256 };
        let set = |spec, y: [f64; 2]| {
            MeasurementSet::new(shape, y.to_vec(), vec![spec], 0.1, provenance.clone()).unwrap()
        };
        let mask = || set(OperatorSpec::Mask { observed: vec![1, 0] }, [0.5; 2]);
        // Of a picture that is denoised, a pixel that shows nothing was not seen.
        let gap = set(OperatorSpec::AveragePool { factor: 1 }, [0.5, f64::NAN]);
        let kinds = Some(vec![ValueKind::Seen, ValueKind::Missing]);
        assert_eq!(ValueKind::of_image(&gap, 0), kinds);
        assert_eq!(ValueKind::of_image(&mask(), 0), kinds);
        // The same by a crop with zeros around it: the second pixel is not seen.
        let crop = OperatorSpec::Crop { top: 0, left: 0, height: 1, width: 1 };
        let pad = OperatorSpec::Pad { top: 0, bottom: 0, left: 0, right: 1 };
        let part = set(OperatorSpec::Chain { of: vec![crop, pad] }, [0.5, 0.0]);
        assert_eq!(ValueKind::of_image(&part, 0), kinds);
        let spread = Spread::of(&[0.9]).unwrap();
        let coverage = Coverage { held: spread, width: spread };
        let kind = |kind, factor| KindCalibration {
            kind,
            factor,
            raw: coverage.clone(),
            calibrated: coverage.clone(),
        };
        let mut calibration = IntervalCalibration {
            format_version: FORMAT_VERSION,
            network: String::new(),
            images: String::new(),
            validation_images: 1,
            antithetic: false,
            samples: 20,
            calls: 20,
            solver: Solver::Euler,
            command: String::new(),
            kinds: vec![kind(ValueKind::Seen, 1.0), kind(ValueKind::Missing, 2.0)],
        };
        let (widened, told) = calibration.widened(&intervals, &mask()).unwrap();
        let widths: Vec<f64> = told.iter().map(|kind| kind.calibrated_width).collect();
        assert!((widths[0] - 1.9).abs() < 1e-6 && (widths[1] - 1.0).abs() < 1e-6, "{widths:?}");
        assert!(told[0].to_string().starts_with("missing pixels: widened by 2.00"), "{}", told[0]);
        assert_eq!((widened.low[0], widened.high[0]), (-0.5, 0.5));
        assert!((widened.low[1] + 1.1).abs() < 1e-6 && (widened.high[1] - 0.9).abs() < 1e-6);
        // What lies beyond the images' range does not count.
        assert!((widened.width(1) - 1.9).abs() < 1e-6);
        assert_eq!(intervals.factor_for(0, 0.25), 0.5);
        calibration.kinds.pop();
        assert_eq!(calibration.widened(&intervals, &mask()), None);
        // Of the scene behind a blurred picture, the part that the picture shows.
        calibration.kinds.push(kind(ValueKind::Blurred, 3.0));
        let blur = OperatorSpec::Convolution { kernel: vec![vec![0.5; 2]], border: Border::Valid };
        let scene = Shape::new(1, 1, 3).unwrap();
        let y = vec![0.0; 2];
        let seen = MeasurementSet::new(scene, y, vec![blur], 0.1, provenance.clone()).unwrap();
        let (widened, told) = calibration.widened(&intervals, &seen).unwrap();
        assert_eq!((widened.low.len(), told.len()), (2, 1));
        assert_eq!(widened.high[0], 1.5);
    }
}

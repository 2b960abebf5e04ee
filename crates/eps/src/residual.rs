//! How well restorations agree with what was measured.

use eps_data::MeasurementSet;
use eps_data::png::Picture;
use eps_math::operator::{LinearMap as _, OperatorSpec, measured_entries};
use serde::{Deserialize, Serialize};

use crate::conventions;
use crate::pictures::showable;

/// The residual rms(A x − y)/σ_y of one image, whitened where the noise is more than one number: 1 for the truth, and for
/// a sample of the posterior, up to 1/√(2 values) by chance. Of an exact measurement, σ_y = 0, it is rms(A x − y).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    /// Of the samples, their mean.
    pub samples: f64,
    /// Of the mean of the samples, which is nearer to y the less is known.
    pub mean: f64,
    /// Values of y that depend on the image: those that a mask hides, or that are missing, do not count.
    pub values: usize,
}

/// The residuals of samples and of their mean.
///
/// # Shapes
/// samples: `[N, J, C, H, W]`, mean: `[N, C, H, W]`
///
/// # Panics
/// If the samples are not those of the measurements.
pub fn residuals(set: &MeasurementSet, samples: &[f32], mean: &[f32]) -> Vec<Residual> {
    let one = set.shape().len();
    assert_eq!(mean.len(), set.len() * one, "means for {} measurements", set.len());
    let per_image = samples.len() / mean.len();
    (0..set.len())
        .map(|image| {
            let seen = measured_entries(set.whitened(image).0);
            let values = seen.iter().filter(|seen| **seen).count();
            let residual = |x: &[f32]| {
                let each = of_image(set, image, &seen, x);
                (each.iter().map(|value| value * value).sum::<f64>() / values.max(1) as f64).sqrt()
            };
            let all = &samples[image * per_image * one..(image + 1) * per_image * one];
            let of_samples: f64 = all.chunks_exact(one).map(residual).sum();
            Residual {
                samples: of_samples / per_image as f64,
                mean: residual(&mean[image * one..(image + 1) * one]),
                values,
            }
        })
        .collect()
}

/// (A x − y)/σ_y at each value of y, whitened, 0 where y does not depend on the image; A x − y of an exact measurement.
fn of_image(set: &MeasurementSet, image: usize, seen: &[bool], x: &[f32]) -> Vec<f64> {
    let (operator, y) = set.whitened(image);
    let unit = if set.sigma_y() > 0.0 { set.sigma_y() } else { 1.0 };
    let x: Vec<f64> = x.iter().map(|value| f64::from(*value)).collect();
    let differences = operator.apply(&x).into_iter().zip(y.iter());
    let residual = |((clean, y), seen): ((f64, &f64), &bool)| {
        if *seen { (clean - y) / unit } else { 0.0 }
    };
    differences.zip(seen).map(residual).collect()
}

/// The residual, in standard deviations, that is white in its picture; the opposite one is black, and grey is 0.
pub const WHITE: f64 = 3.0;

/// The residual of the mean of the samples of each image as a picture, where y is an image of one channel or three and its noise is
/// known: noise without structure, if the measurement is what it is said to be.
///
/// # Shapes
/// mean: `[N, C, H, W]`
///
/// # Panics
/// If the means are not those of the measurements.
pub fn pictures(set: &MeasurementSet, mean: &[f32]) -> Vec<Option<Picture>> {
    let (one, shape) = (set.shape().len(), set.range());
    assert_eq!(mean.len(), set.len() * one, "means for {} measurements", set.len());
    let is_image = showable(shape) && shape.height > 1 && shape.width > 1;
    (0..set.len())
        .map(|image| {
            (is_image && set.sigma_y() > 0.0).then(|| {
                let seen = measured_entries(set.whitened(image).0);
                let mean = &mean[image * one..(image + 1) * one];
                let each = of_image(set, image, &seen, mean);
                Picture { shape, values: each.iter().map(|value| value / WHITE).collect() }
            })
        })
        .collect()
}

/// How far above 1 the residual of samples may be by the network's own error; Heun's method is at 1.2 with 19 calls where most pixels are
/// missing.
const ABOVE: f64 = 0.15;

/// How far below 1: with 10 calls of the default solver the committed networks leave 0.93 to 1.08 on their tasks, with 5 of
/// Euler's method 0.83 to 0.9, since coarse steps end nearer to y.
const BELOW: f64 = 0.2;

/// How many standard errors chance may add.
const ERRORS: f64 = 4.0;

/// The standard error of the mean of residuals over images.
///
/// ```text
/// A x − y of a sample x of p(x₀|y) has the law of A x₀ − y = −σ_y η:   Var[rms(η)] ≈ 1/(2 m) of m values
/// ```
///
/// The samples of one image share its y and are no further ones.
fn standard_error(residuals: &[Residual]) -> f64 {
    let variance = |residual: &Residual| 0.5 / residual.values.max(1) as f64;
    residuals.iter().map(variance).sum::<f64>().sqrt() / residuals.len() as f64
}

/// Says so where samples do not agree with the measurement as they should, with the likely causes: where their mean residual, or that of an
/// image, is beyond 0.8 to 1.15 by more than four standard errors.
///
/// Of a sample of the posterior it is 1, whatever was measured; a network is a few per cent off. A wrong border is commonly
/// at 1.2 and above, and so is a prior that is asked at pivots. `asked` is the cause that lies in how the samples were drawn:
/// [`RestorationConfig::cause_of_drawing`](crate::restoration_config::RestorationConfig::cause_of_drawing).
///
/// # Panics
/// If the residuals are not those of the measurements.
pub fn residual_note(
    set: &MeasurementSet,
    residuals: &[Residual],
    asked: Option<&'static str>,
) -> Option<String> {
    assert_eq!(residuals.len(), set.len(), "residuals of {} measurements", set.len());
    let mean =
        residuals.iter().map(|residual| residual.samples).sum::<f64>() / residuals.len() as f64;
    if let Some(off) = Off::of(mean, ERRORS * standard_error(residuals)) {
        return Some(format!(
            "the residual rms(A x - y)/sigma_y of the samples is {mean:.2} where 1 is right: {}",
            off.sentence(set.spec(0), asked)
        ));
    }
    // One of many hides in their mean.
    let of_one = |residual: &Residual| {
        Off::of(residual.samples, ERRORS * standard_error(std::slice::from_ref(residual)))
    };
    let wrong: Vec<(usize, &Residual, Off)> = residuals
        .iter()
        .enumerate()
        .filter_map(|(image, residual)| Some((image, residual, of_one(residual)?)))
        .collect();
    let by = |residual: &Residual| (residual.samples - 1.0).abs();
    let (image, worst, off) =
        wrong.iter().max_by(|(_, a, _), (_, b, _)| by(a).total_cmp(&by(b)))?;
    Some(format!(
        "the residual rms(A x - y)/sigma_y of the samples of image {image:04} is {:.2} where 1 is right, and {} of {} images are off: {}",
        worst.samples,
        wrong.len(),
        residuals.len(),
        off.sentence(set.spec(*image), asked)
    ))
}

/// On which side of the band a residual of samples is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Off {
    Above,
    Below,
}

/// How many causes a note names.
const NAMED: usize = 3;

impl Off {
    /// Where a residual is beyond 0.8 to 1.15 by more than what chance may add.
    fn of(residual: f64, chance: f64) -> Option<Self> {
        if residual > 1.0 + ABOVE + chance {
            Some(Self::Above)
        } else if residual < 1.0 - BELOW - chance {
            Some(Self::Below)
        } else {
            None
        }
    }

    /// What it is and why that may be, by an operator.
    fn sentence(self, spec: &OperatorSpec, asked: Option<&'static str>) -> String {
        let (what, causes) = match self {
            Self::Above => {
                let general = "a sigma_y that is too small";
                let mut causes = conventions::causes(spec);
                causes.truncate(NAMED - 1 - usize::from(asked.is_some()));
                causes.extend(asked);
                causes.push(general);
                if causes.len() < NAMED {
                    causes.push("values on another range than [-1, 1]");
                }
                ("the samples do not explain the measurement", causes)
            }
            Self::Below => (
                "the samples follow the measurement more closely than its noise allows",
                vec![
                    "few --calls",
                    "a sigma_y that is too large, or counted twice, as in variances already added",
                    "a y that was smoothed, or whose missing values were filled in (NaN marks them, --mask pixels)",
                ],
            ),
        };
        format!("{what}. Likely causes: {}", causes.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use eps_data::ImageProvenance;
    use eps_math::rng::Stream;
    use eps_math::{Noise, Shape};

    use super::*;

    fn set(y: Vec<f64>) -> MeasurementSet {
        let provenance = ImageProvenance {
            name: "y".to_owned(),
            source: "test".to_owned(),
            licence: "not stated".to_owned(),
            sha256: String::new(),
        };
        let specs = vec![OperatorSpec::Mask { observed: vec![1, 1, 0, 1] }];
        MeasurementSet::new(Shape::new(1, 2, 2).unwrap(), y, specs, 0.1, provenance).unwrap()
    }

    /// What is missing does not count, and what is measured well counts for what it is.
    #[test]
    fn residuals_are_in_units_of_each_values_noise() {
        let specs = vec![OperatorSpec::Mask { observed: vec![1; 4] }];
        let noise = Noise::entries(vec![0.1, 0.4, f64::INFINITY, 0.2]).unwrap();
        let y = vec![0.0, 0.0, 5.0, f64::NAN];
        let shape = Shape::new(1, 2, 2).unwrap();
        let provenance = set(vec![0.0; 4]).provenance().clone();
        let set = MeasurementSet::with_noise(shape, y, specs, vec![noise], provenance).unwrap();
        assert_eq!((set.missing(), set.is_white()), (2, false));
        let x = [0.2f32, -0.8, 1.0, 1.0];
        let found = residuals(&set, &x, &x)[0];
        assert_eq!(found.values, 2);
        assert!((found.samples - 2.0).abs() < 1e-6 && (found.mean - 2.0).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn residuals_are_of_what_was_measured() {
        let set = set(vec![0.5, 0.5, 9.0, 0.5]);
        // Two samples, one 0.1 above and one 0.3 below; what is hidden does not count.
        let samples = [0.6f32, 0.6, -7.0, 0.6, 0.2, 0.2, 5.0, 0.2];
        let mean = [0.4f32, 0.4, -1.0, 0.4];
        let found = residuals(&set, &samples, &mean)[0];
        assert_eq!(found.values, 3);
        // Samples are in f32.
        assert!((found.samples - 2.0).abs() < 1e-5 && (found.mean - 1.0).abs() < 1e-5, "{found:?}");
        // Three values tell next to nothing: 1 + 0.15 + 4/√6.
        let note = |found| residual_note(&set, &[found], None);
        assert_eq!(note(found), None);
        let found = Residual { values: 1000, ..found };
        let words = note(found).unwrap();
        assert!(words.contains("is 2.00") && words.contains("mask that is inverted"), "{words}");
        // In thirds of three σ_y; the hidden pixel is grey.
        let picture = pictures(&set, &mean)[0].clone().unwrap();
        for (found, expected) in picture.values.iter().zip([-1.0, -1.0, 0.0, -1.0]) {
            assert!((found - expected / 3.0).abs() < 1e-5, "{picture:?}");
        }
        let right = Residual { samples: 1.02, ..found };
        assert_eq!(note(right), None);
        let low = Residual { samples: 0.2, ..found };
        assert!(note(low).unwrap().contains("too large"));
    }

    /// Three at most: of the operator, of how the samples were drawn, and one that any measurement may have.
    #[test]
    fn causes_are_few_and_those_of_the_operator() {
        let of =
            |json: &str, asked| Off::Above.sentence(&serde_json::from_str(json).unwrap(), asked);
        let radon = r#"{"operator": "radon", "angles_degrees": [0]}"#;
        let words = of(radon, None);
        for word in ["degrees", "axis of rotation", "sigma_y"] {
            assert!(words.contains(word), "{words}");
        }
        for word in ["border", "mask", "kernel"] {
            assert!(!words.contains(word), "{words}");
        }
        let asked = of(radon, Some("a network that is a prior"));
        assert!(asked.contains("prior") && !asked.contains("axis of rotation"), "{asked}");
        let seen = of(r#"{"operator": "average-pool", "factor": 1}"#, None);
        assert!(seen.contains("--mask") && seen.contains("[-1, 1]"), "{seen}");
        for words in [words, asked, seen, Off::Below.sentence(&OperatorSpec::Real {}, None)] {
            assert_eq!(words.matches("; ").count(), 2, "{words}");
        }
    }

    /// A wrong border, and a σ_y that is a fifth of what it should be, on an image of 28×28; and what good restorations leave.
    #[test]
    fn the_band_is_that_of_chance_and_of_networks() {
        let of = |samples: f64, values: usize, images: usize| {
            let residuals = vec![Residual { samples, mean: samples, values }; images];
            residual_note(&set(vec![0.0; 4 * images]), &residuals, None)
        };
        assert!(of(1.26, 784, 4).unwrap().contains("do not explain"));
        assert!(of(0.69, 784, 4).unwrap().contains("--calls"));
        for right in [0.83, 0.957, 1.0, 1.11] {
            assert_eq!(of(right, 784, 4), None);
            assert_eq!(of(right, 3 << 16, 1), None);
        }
        // One of a hundred, which their mean does not show.
        let mut many = vec![Residual { samples: 1.0, mean: 1.0, values: 784 }; 100];
        many[41].samples = 1.9;
        let hundred = set(vec![0.0; 400]);
        let note = residual_note(&hundred, &many, None).unwrap();
        assert!(note.contains("image 0041 is 1.90") && note.contains("1 of 100 images"), "{note}");
        many[41].samples = 1.2;
        assert_eq!(residual_note(&hundred, &many, None), None);
        // Means of 4×4 pixels of one image are 49 values: 1 ± 0.1 by chance alone.
        assert_eq!(of(1.5, 49, 1), None);
        assert!(of(1.5, 49, 16).is_some());
        // Four standard errors of noise itself, by its law.
        let noise = Stream::named(0, "noise of a band").normals(50 * 784);
        let rms = |eta: &[f64]| (eta.iter().map(|v| v * v).sum::<f64>() / 784.0).sqrt();
        let residual = |eta: &[f64]| Residual { samples: rms(eta), mean: rms(eta), values: 784 };
        let all: Vec<Residual> = noise.chunks_exact(784).map(residual).collect();
        let mean = all.iter().map(|found| found.samples).sum::<f64>() / 50.0;
        let spread = all.iter().map(|found| (found.samples - mean).powi(2)).sum::<f64>() / 49.0;
        // The standard deviation of 50 is known to a tenth: three of these.
        let ratio = spread.sqrt() / standard_error(&all[..1]);
        assert!((ratio - 1.0).abs() < 0.3, "{ratio}");
    }
}

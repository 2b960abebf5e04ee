//! Whether samples and images lie where images do.

use eps::measurement::range_note;
use eps_data::{ImageProvenance, MeasurementSet};
use eps_math::Shape;
use eps_math::operator::OperatorSpec;

/// The noise that images may have where they are asked whether they are in [0, 1].
const SIGMA: f64 = 0.05;

/// Whether images look like those in [0, 1], by the rule for measurements: each is one of itself.
///
/// # Shapes
///
/// `images: [N, C, H, W]`
pub(crate) fn are_zero_to_one(shape: Shape, images: &[f64]) -> bool {
    images.chunks_exact(shape.len()).all(|image| {
        let itself = vec![OperatorSpec::AveragePool { factor: 1 }];
        let provenance = ImageProvenance {
            name: String::new(),
            source: String::new(),
            licence: String::new(),
            sha256: String::new(),
        };
        MeasurementSet::new(shape, image.to_vec(), itself, SIGMA, provenance)
            .is_ok_and(|set| range_note(&set).is_some())
    })
}

/// Where a single value is told, whatever the others are: twice the range of images.
const FAR: f32 = 2.0;

/// Where values are told if they are more than [`MOST_BEYOND`] of all: noise and ringing stay below it.
const BEYOND: f32 = 1.5;

/// The share of values beyond [`BEYOND`] that a restoration may have.
const MOST_BEYOND: f64 = 0.01;

/// What is to be said of samples that leave the range of images, [-1, 1], by far.
pub(crate) fn note(samples: &[f32]) -> Option<String> {
    let (low, high) = samples
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    let beyond = samples.iter().filter(|value| value.abs() > BEYOND).count();
    let share = beyond as f64 / samples.len().max(1) as f64;
    if high.max(-low) <= FAR && share <= MOST_BEYOND {
        return None;
    }
    Some(format!(
        "the samples lie between {low:.2} and {high:.2}, {:.1} % of their values beyond ±{BEYOND}, and images lie in \
         [-1, 1]: the weights of the network may be damaged or not those that its file describes, the operator may not \
         be that of the measurement (its scale, a border that does not wrap, a mask that is inverted), the measurement \
         may not be on the [-1, 1] scale, or sigma_y may be far too small",
        100.0 * share
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_far_from_images_are_told() {
        // Those of a network whose weights are 30 times what they should be.
        let note = note(&[-65.2, -8.0, -20.5]).unwrap();
        assert!(note.contains("between -65.20 and -8.00, 100.0 %"), "{note}");
        for word in ["weights", "operator", "sigma_y"] {
            assert!(note.contains(word), "{note}");
        }
        // A blur that wraps, of an image that does not: one value in a thousand.
        let mut samples = vec![0.9; 1000];
        samples[3] = 2.3;
        assert!(super::note(&samples).unwrap().contains("between 0.90 and 2.30, 0.1 %"));
    }

    #[test]
    fn images_in_0_to_1_are_known_by_their_dark_values() {
        let shape = Shape::new(1, 2, 2).unwrap();
        // Noise leaves some below 0.
        for (dark, are) in [(0.0, true), (-0.07, true), (-0.3, false)] {
            let images = [0.1, 0.9, dark, 0.5, 0.2, 0.4, 0.8, 0.3];
            assert_eq!(are_zero_to_one(shape, &images), are, "{dark}");
        }
    }

    #[test]
    fn overshoots_are_none() {
        let mut samples: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() * 1.2).collect();
        assert_eq!(note(&samples), None);
        // Noise at a few pixels.
        samples[..10].fill(-1.9);
        assert_eq!(note(&samples), None);
        samples[..11].fill(1.9);
        assert!(note(&samples).unwrap().contains("1.1 %"));
        assert_eq!(note(&[]), None);
    }
}

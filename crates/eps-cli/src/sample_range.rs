//! Whether samples and images lie where images do.

use std::path::Path;

use eps::conventions::causes;
use eps_math::operator::OperatorSpec;

/// How far below 0 the values of images in [0, 1] may be by noise, and how far above 0 they must be somewhere.
const NOISE: f64 = 0.2;

/// Where the lowest value of a single image among others lies that seems to be in [0, 1], and the least of its highest: of tiles of 16² and
/// 32² pixels of photographs on [-1, 1] one in a hundred, and one in a thousand, has such ends.
const LOWEST: std::ops::RangeInclusive<f64> = -0.1..=0.05;
const HIGHEST: f64 = 0.5;

/// The share of single images from which on they are told, since some may be merely bright.
const SOME: f64 = 0.05;

/// How near to ±0.5 the ends of images on [-0.5, 0.5] lie: of photographs of 32² pixels on that scale those of four in five do, and of those on
/// [-1, 1] those of three in ten thousand.
const NEAR: f64 = 0.1;

/// On which other scale than [-1, 1] images seem to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtherScale {
    /// [0, 1].
    ZeroToOne,
    /// Some images alone are on [0, 1], `count` of `of`, the first of them number `first`.
    SomeZeroToOne { first: usize, count: usize, of: usize },
    /// [-0.5, 0.5].
    Half,
}

impl OtherScale {
    /// That of images, or of the samples of images, where `one` image has so many values.
    ///
    /// # Shapes
    ///
    /// `images: [N, ..]`; `channels` are those of an image, as complex ones, a pair, have 0 in their middle
    pub(crate) fn of(images: &[f64], one: usize, channels: usize) -> Option<Self> {
        if channels == 2 {
            return None;
        }
        let ends = |values: &[f64]| {
            values.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
                [low.min(*value), high.max(*value)]
            })
        };
        let each: Vec<[f64; 2]> = images.chunks_exact(one).map(ends).collect();
        if each.iter().all(|[low, high]| *low >= -NOISE && *high > NOISE) {
            return (!each.is_empty()).then_some(Self::ZeroToOne);
        }
        let [low, high] = ends(images);
        // Of values in f32 an end is rounded.
        let is_end = |end: f64| (0.5 - NEAR..=0.5 + 1e-6).contains(&end);
        if is_end(-low) && is_end(high) {
            return Some(Self::Half);
        }
        let is_like = |[low, high]: &[f64; 2]| LOWEST.contains(low) && *high >= HIGHEST;
        let found = || each.iter().enumerate().filter(|(_, ends)| is_like(ends));
        let (count, of) = (found().count(), each.len());
        let (first, _) = found().next()?;
        (count as f64 > SOME * of as f64).then_some(Self::SomeZeroToOne { first, count, of })
    }

    /// What is to be said of a file of such images.
    pub(crate) fn note(self, path: &Path) -> String {
        let path = path.display();
        let usual = "Images are taken to be in [-1, 1]";
        match self {
            Self::ZeroToOne => format!(
                "no value of {path} is far below 0: is it in [0, 1]? {usual}: give 2 v - 1 if it is"
            ),
            Self::SomeZeroToOne { first, count, of } => format!(
                "{count} of the {of} images of {path}, the first of them number {first} (from 0), {} no value far below 0, and others do: {} in \
                 [0, 1]? {usual}: give 2 v - 1 of {}",
                if count == 1 { "has" } else { "have" },
                if count == 1 { "is it" } else { "are they" },
                if count == 1 { "it if it is" } else { "them if they are" }
            ),
            Self::Half => format!(
                "all values of {path} lie within ±0.5 and come near to both: is it in [-0.5, 0.5]? {usual}: give 2 v if it is"
            ),
        }
    }
}

/// Where a single value is told, whatever the others are: twice the range of images.
const FAR: f32 = 2.0;

/// Where values are told if they are more than [`MOST_BEYOND`] of all: noise and ringing stay below it.
const BEYOND: f32 = 1.5;

/// The share of values beyond [`BEYOND`] that a restoration may have.
const MOST_BEYOND: f64 = 0.01;

/// What is to be said of samples, drawn by an operator, that leave the range of images, [-1, 1], by far.
pub(crate) fn note(samples: &[f32], spec: &OperatorSpec) -> Option<String> {
    let (low, high) = samples
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    let beyond = samples.iter().filter(|value| value.abs() > BEYOND).count();
    let share = beyond as f64 / samples.len().max(1) as f64;
    if high.max(-low) <= FAR && share <= MOST_BEYOND {
        return None;
    }
    let mut of_operator = causes(spec);
    of_operator.truncate(2);
    if of_operator.is_empty() {
        of_operator.push("its scale");
    }
    Some(format!(
        "the samples lie between {low:.2} and {high:.2}, {:.1} % of their values beyond ±{BEYOND}, and images lie in \
         [-1, 1]: the weights of the network may be damaged or not those that its file describes, the operator may not \
         be that of the measurement ({}), the measurement may not be on the [-1, 1] scale, or sigma_y may be far too small",
        100.0 * share,
        of_operator.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_far_from_images_are_told() {
        // Those of a network whose weights are 30 times what they should be.
        let blur = OperatorSpec::CircularBlur { kernel: vec![vec![1.0]] };
        let note = note(&[-65.2, -8.0, -20.5], &blur).unwrap();
        assert!(note.contains("between -65.20 and -8.00, 100.0 %"), "{note}");
        for word in ["weights", "operator", "--border", "sigma_y"] {
            assert!(note.contains(word), "{note}");
        }
        // A blur that wraps, of an image that does not: one value in a thousand.
        let mut samples = vec![0.9; 1000];
        samples[3] = 2.3;
        assert!(super::note(&samples, &blur).unwrap().contains("between 0.90 and 2.30, 0.1 %"));
    }

    #[test]
    fn images_in_0_to_1_are_known_by_their_dark_values() {
        let of = |images: &[f64]| OtherScale::of(images, 4, 1);
        // Noise leaves some below 0.
        for (dark, found) in
            [(0.0, Some(OtherScale::ZeroToOne)), (-0.07, Some(OtherScale::ZeroToOne)), (-0.3, None)]
        {
            assert_eq!(of(&[0.1, 0.9, dark, 0.5, 0.2, 0.4, 0.8, 0.3]), found, "{dark}");
        }
        assert_eq!(OtherScale::of(&[0.1, 0.9, 0.0, 0.5], 4, 2), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn single_images_in_0_to_1_are_known_where_they_are_not_few() {
        let signed = [-0.9, 0.3, 0.8, -0.2];
        let stack = |others: usize, unit: [f64; 4]| -> Option<OtherScale> {
            let mut images = signed.repeat(others);
            images.extend(unit);
            OtherScale::of(&images, 4, 1)
        };
        let some = |others| OtherScale::SomeZeroToOne { first: others, count: 1, of: others + 1 };
        assert_eq!(stack(1, [0.05, 0.65, 0.9, 0.0]), Some(some(1)));
        assert_eq!(stack(9, [0.05, 0.65, 0.9, -0.02]), Some(some(9)));
        // Bright images of [-1, 1], and one of many.
        assert_eq!(stack(1, [0.3, 0.65, 0.9, 0.5]), None);
        assert_eq!(stack(40, [0.05, 0.65, 0.9, 0.0]), None);
        let note = some(9).note(Path::new("x.npy"));
        assert!(
            note.starts_with("1 of the 10 images of x.npy") && note.contains("is it in [0, 1]?"),
            "{note}"
        );
    }

    #[test]
    fn images_within_a_half_are_known_by_both_ends() {
        let of = |low: f64, high: f64| OtherScale::of(&[low, 0.1, high, -0.2], 4, 1);
        assert_eq!(of(-0.5, 0.5), Some(OtherScale::Half));
        assert_eq!(of(-0.48, 0.46), Some(OtherScale::Half));
        for (low, high) in [(-0.5, 0.3), (-0.55, 0.5), (-0.3, 0.5), (-1.0, 0.5)] {
            assert_eq!(of(low, high), None, "{low} {high}");
        }
    }

    #[test]
    fn overshoots_are_none() {
        let note = |samples: &[f32]| note(samples, &OperatorSpec::Grey {});
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

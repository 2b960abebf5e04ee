//! The nearest training images of samples: a network that has learnt its training set by heart would
//! give them back.

use eps_data::{ImageSet, Pixel, Pixels};
use eps_results::{Method, Neighbours};
use rayon::prelude::*;

use crate::pixels::unit;
use crate::problem::Problem;
use crate::restoration::Restored;

/// Looks for the training images nearest to the first sample of each image; returns them, on [-1, 1], beside
/// what was found.
pub(crate) fn find_neighbours(
    method: Method,
    problem: &Problem,
    restoration: &Restored,
    training: &ImageSet,
) -> (Neighbours, Vec<Vec<f64>>) {
    let n = problem.set.shape().len();
    let first_samples = restoration.samples.chunks_exact(restoration.per_image * n);
    let samples: Vec<Vec<f64>> = first_samples
        .map(|samples| samples[..n].iter().map(|v| unit(f64::from(*v))).collect())
        .collect();
    let truths: Vec<Vec<f64>> = problem
        .truth()
        .chunks_exact(n)
        .map(|truth| truth.iter().map(|v| unit(*v)).collect())
        .collect();
    let mean = |found: &[(usize, f64)]| {
        found.iter().map(|(_, distance)| distance).sum::<f64>() / found.len() as f64
    };
    let (of_samples, of_truths) = (nearest(training, &samples), nearest(training, &truths));
    let images = of_samples.iter().map(|(index, _)| training.to_signed(*index)).collect();
    let found = Neighbours {
        method,
        sample_distance: mean(&of_samples),
        truth_distance: mean(&of_truths),
        of_samples: of_samples.into_iter().map(|(index, _)| index).collect(),
    };
    (found, images)
}

/// Images of a set that are compared with all others before the next ones are: they stay in a core's cache.
const TOGETHER: usize = 64;

/// Values of an image after which it may be known to be farther than another.
const BLOCK: usize = 1024;

/// The number of the nearest image of a set and the root-mean-square difference to it, for each of some
/// images on [0, 1].
///
/// Differences are compared in f32, so that of two images whose distances agree to six digits either may be found; its distance is that in f64.
fn nearest(set: &ImageSet, images: &[Vec<f64>]) -> Vec<(usize, f64)> {
    let n = set.shape().len();
    #[expect(clippy::cast_possible_truncation, reason = "distances are compared in f32")]
    let levels = |image: &Vec<f64>| image.iter().map(|v| (255.0 * v) as f32).collect::<Vec<_>>();
    let in_levels: Vec<Vec<f32>> = images.iter().map(levels).collect();
    let best = match set.pixels() {
        Pixels::Bytes(bytes) => nearest_by_levels(bytes, n, &in_levels, f32::from),
        Pixels::Values(values) => nearest_by_levels(values, n, &in_levels, |v| 127.5 * (v + 1.0)),
    };
    let exact = |(image, index): (&Vec<f64>, usize)| {
        let differences = set.to_signed(index).into_iter().zip(image).map(|(x, v)| unit(x) - v);
        (index, (differences.map(|difference| difference.powi(2)).sum::<f64>() / n as f64).sqrt())
    };
    images.iter().zip(best).map(exact).collect()
}

/// The number of the image of n pixels that is nearest to each of some in grey levels of 0 to 255, as `level` gives them.
fn nearest_by_levels<T: Pixel + Sync>(
    pixels: &[T],
    n: usize,
    images: &[Vec<f32>],
    level: impl Fn(T) -> f32 + Sync,
) -> Vec<usize> {
    let mut best = vec![(0, f32::INFINITY); images.len()];
    for (chunk, pixels) in pixels.chunks(TOGETHER * n).enumerate() {
        best.par_iter_mut().zip(images).for_each(|(best, levels)| {
            for (index, pixels) in pixels.chunks_exact(n).enumerate() {
                let squared = squared_below(best.1, pixels, levels, &level);
                if squared < best.1 {
                    *best = (chunk * TOGETHER + index, squared);
                }
            }
        });
    }
    best.into_iter().map(|(index, _)| index).collect()
}

/// The squared difference of an image's grey levels to others, or some value that is not below the bound where the squared difference is not.
fn squared_below<T: Pixel>(
    bound: f32,
    pixels: &[T],
    levels: &[f32],
    level: &impl Fn(T) -> f32,
) -> f32 {
    let mut squared = 0.0;
    for (pixels, levels) in pixels.chunks(BLOCK).zip(levels.chunks(BLOCK)) {
        squared += squared_difference(pixels, levels, level);
        if squared >= bound {
            break;
        }
    }
    squared
}

/// In lanes, which processors add up at once.
fn squared_difference<T: Pixel>(pixels: &[T], levels: &[f32], level: &impl Fn(T) -> f32) -> f32 {
    const LANES: usize = 16;
    let square = |pixel: T, other: f32| (level(pixel) - other).powi(2);
    let mut lanes = [0.0; LANES];
    let (pixels, last_pixels) = pixels.as_chunks::<LANES>();
    let (levels, last_levels) = levels.as_chunks::<LANES>();
    for (pixels, levels) in pixels.iter().zip(levels) {
        for (lane, (pixel, level)) in lanes.iter_mut().zip(pixels.iter().zip(levels)) {
            *lane += square(*pixel, *level);
        }
    }
    let last = last_pixels.iter().zip(last_levels).map(|(pixel, level)| square(*pixel, *level));
    lanes.iter().sum::<f32>() + last.sum::<f32>()
}

#[cfg(test)]
mod tests {
    use eps_data::ImageProvenance;
    use eps_math::Shape;

    use super::*;

    #[test]
    fn the_nearest_image_is_found_with_its_distance() {
        let provenance = ImageProvenance {
            name: "three".into(),
            source: "made up".into(),
            licence: "MIT".into(),
            sha256: "0".into(),
        };
        let shape = Shape::new(1, 1, 2).unwrap();
        let set = ImageSet::new(shape, vec![0_u8, 0, 255, 0, 255, 255], provenance).unwrap();
        let found = nearest(&set, &[vec![0.9, 0.2], vec![1.0, 1.0]]);
        assert_eq!((found[0].0, found[1]), (1, (2, 0.0)));
        assert!((found[0].1 - (0.05_f64 / 2.0).sqrt()).abs() < 1e-15);
    }

    /// More than a chunk of images of more than a block, and values beyond the range.
    #[test]
    fn it_is_that_of_all_differences() {
        let (count, shape) = (2 * TOGETHER + 5, Shape::new(1, 37, 31).unwrap());
        let n = shape.len();
        assert!(n > BLOCK);
        let pixels: Vec<u8> =
            (0..count * n).map(|i| (((i * i) as u64 * 2_654_435_761) >> 16) as u8).collect();
        let provenance = ImageProvenance {
            name: "many".into(),
            source: "made up".into(),
            licence: "MIT".into(),
            sha256: "0".into(),
        };
        let set = ImageSet::new(shape, pixels.clone(), provenance).unwrap();
        let near = |index: usize| -> Vec<f64> {
            let of = pixels[index * n..(index + 1) * n].iter().enumerate();
            of.map(|(i, p)| f64::from(*p) / 255.0 + 0.3 * (i as f64).sin()).collect()
        };
        let wanted = [0, 7, TOGETHER, 2 * TOGETHER + 4];
        let images: Vec<Vec<f64>> =
            wanted.iter().map(|index| near(*index)).chain([vec![1.5; n]]).collect();
        let found = nearest(&set, &images);
        for (image, (index, distance)) in images.iter().zip(&found) {
            let of = |index: usize| {
                let pixels = &pixels[index * n..(index + 1) * n];
                let squares =
                    pixels.iter().zip(image).map(|(p, v)| (f64::from(*p) / 255.0 - v).powi(2));
                (squares.sum::<f64>() / n as f64).sqrt()
            };
            let least = (0..count).map(of).fold(f64::INFINITY, f64::min);
            assert!((distance - least).abs() < 1e-12 && (of(*index) - least).abs() < 1e-12);
        }
        assert_eq!(found[..4].iter().map(|(index, _)| *index).collect::<Vec<_>>(), wanted);
    }
}

//! The nearest training images of samples: a network that has learnt its training set by heart would
//! give them back.

use eps_data::ImageSet;
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

/// The number of the nearest image of a set and the root-mean-square difference to it, for each of some
/// images on [0, 1].
fn nearest(set: &ImageSet, images: &[Vec<f64>]) -> Vec<(usize, f64)> {
    let n = set.shape().len();
    let of = |image: &Vec<f64>| {
        let squared = |index: usize| {
            let pixels = &set.pixels()[index * n..(index + 1) * n];
            pixels.iter().zip(image).map(|(p, v)| (f64::from(*p) / 255.0 - v).powi(2)).sum::<f64>()
        };
        let (index, squared) = (0..set.len())
            .map(|index| (index, squared(index)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or((0, f64::NAN));
        (index, (squared / n as f64).sqrt())
    };
    images.par_iter().map(of).collect()
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
        let set = ImageSet::new(shape, vec![0, 0, 255, 0, 255, 255], provenance).unwrap();
        let found = nearest(&set, &[vec![0.9, 0.2], vec![1.0, 1.0]]);
        assert_eq!((found[0].0, found[1]), (1, (2, 0.0)));
        assert!((found[0].1 - (0.05_f64 / 2.0).sqrt()).abs() < 1e-15);
    }
}

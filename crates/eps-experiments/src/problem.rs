//! The test problems: which images, which operators, which noise.
//!
//! Everything is a function of the seed, the task and the image's number in the test set: the same
//! for every method, whatever the number of images or the order in which they are restored.

use eps::measurement::{measure, stream};
use eps::pictures;
use eps_data::png::Picture;
use eps_data::{ImageSet, MeasurementSet, Split};
use eps_math::operator::{Mask, Operator};
use eps_math::rng::Stream;
use eps_math::{Draw, MathError, Shape};
use eps_results::Setting;
use rayon::prelude::*;

use crate::error::{During as _, ExperimentError, Result};

/// Measurements of one kind, with the truth behind them.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What is measured.
    pub setting: Setting,
    /// The numbers of the images in the test set.
    pub images: Vec<usize>,
    /// Operators, measurements and truths of the images.
    pub set: MeasurementSet,
    /// The classes of the images, where the data set has them.
    classes: Option<Vec<usize>>,
    /// The file that each image was made of, where the data set tells.
    pub sources: Option<Vec<u32>>,
}

/// The first `count` of `total` images in a fixed random order.
///
/// The order is that of the 64-bit numbers of the stream named "test images" under seed 0, so that
/// a smaller choice is the beginning of a larger one.
///
/// # Errors
/// More images than there are.
pub fn test_images(count: usize, total: usize) -> Result<Vec<usize>> {
    if !(1..=total).contains(&count) {
        return Err(ExperimentError::TestImages { count, total });
    }
    let stream = Stream::named(0, "test images");
    let mut order: Vec<usize> = (0..total).collect();
    order.sort_by_key(|image| stream.bits(*image as u64));
    order.truncate(count);
    Ok(order)
}

/// The seed of operators, noise and samples of a split.
///
/// That of the test images is the run's; images of the same number in other splits have streams of
/// their own, so that nothing is chosen with the noise of the test.
pub(crate) fn seed_of(split: Split, seed: u64) -> u64 {
    match split {
        Split::Test => seed,
        Split::Train | Split::Validation => Stream::named(seed, &split.to_string()).key(),
    }
}

/// The operator of one image.
fn operator(setting: Setting, shape: Shape, stream: &Stream) -> Result<Operator, MathError> {
    match setting.missing {
        Some(missing) => Ok(Operator::Mask(Mask::random(shape, missing, stream)?)),
        None => setting.task.draw(Draw::Test, shape, stream),
    }
}

impl Problem {
    /// Draws operator and noise for each image: y = A x₀ + σ_y z.
    ///
    /// Settings of one task have the same streams: a mask that hides more hides what the other hides.
    ///
    /// # Errors
    /// Images that do not admit the task's operator.
    pub fn draw(
        setting: Setting,
        images_set: &ImageSet,
        images: &[usize],
        seed: u64,
    ) -> Result<Self> {
        let Setting { task, sigma_y, .. } = setting;
        let shape = images_set.shape();
        let drawn = images
            .par_iter()
            .map(|image| {
                let stream = |what| stream(seed, what, task.name(), *image as u64);
                let operator = operator(setting, shape, &stream("operator"))?;
                let truth = images_set.to_signed(*image);
                Ok((operator.spec(), measure(&operator, &truth, sigma_y, &stream("noise"))))
            })
            .collect::<Result<Vec<_>, MathError>>()
            .during(|| format!("cannot draw the operators of {}", task.name()))?;
        let (specs, y): (Vec<_>, Vec<_>) = drawn.into_iter().unzip();
        let truth = images.iter().flat_map(|image| images_set.to_signed(*image)).collect();
        let provenance = images_set.provenance().clone();
        let set = MeasurementSet::new(shape, y.concat(), specs, sigma_y, provenance)?
            .with_seed(seed)
            .with_truth(truth)?;
        let classes = images_set
            .labels()
            .map(|labels| images.iter().map(|image| labels[*image] as usize).collect());
        let sources = images_set
            .sources()
            .map(|sources| images.iter().map(|image| sources[*image]).collect());
        Ok(Self { setting, images: images.to_vec(), set, classes, sources })
    }

    /// The true images, `[N, C, H, W]`.
    #[must_use]
    pub fn truth(&self) -> &[f64] {
        self.set.truth().unwrap_or_default()
    }

    /// The classes of some images, as often as they are named, where they are known.
    #[must_use]
    pub fn classes(&self, images: &[usize]) -> Option<Vec<usize>> {
        let classes = self.classes.as_ref()?;
        Some(images.iter().map(|image| classes[*image]).collect())
    }

    /// The operator of an image.
    ///
    /// # Panics
    /// For a number beyond the images.
    #[must_use]
    pub fn operator(&self, image: usize) -> &Operator {
        let operator = self.set.operator(image).basic();
        operator.expect("the operators of the tasks have an eigenbasis")
    }

    /// The measurement of an image as a picture of the images' shape.
    #[must_use]
    pub fn picture(&self, image: usize) -> Picture {
        pictures::measurement(self.set.operator(image), self.set.measurement(image))
    }
}

#[cfg(test)]
mod tests {
    use eps_data::ImageProvenance;
    use eps_math::Task;
    use eps_math::operator::Spectral as _;

    use super::*;

    fn images() -> ImageSet {
        let shape = Shape::new(1, 28, 28).unwrap();
        let pixels: Vec<u8> = (0..5 * 784).map(|i| (i % 256) as u8).collect();
        let provenance = ImageProvenance {
            name: "ramps".into(),
            source: "made up".into(),
            licence: "MIT".into(),
            sha256: "0".into(),
        };
        ImageSet::new(shape, pixels, provenance).unwrap()
    }

    #[test]
    fn a_smaller_choice_begins_a_larger_one() {
        let all = test_images(50, 50).unwrap();
        assert_eq!(test_images(7, 50).unwrap(), all[..7]);
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        let error = test_images(51, 50).unwrap_err().to_string();
        assert!(error.contains("51 test images") && error.contains("1 to 50"), "{error}");
    }

    #[test]
    fn classes_follow_their_images() {
        let problem = |set: &ImageSet| {
            Problem::draw(Setting::of(Task::SuperResolution), set, &[3, 1], 7).unwrap()
        };
        assert_eq!(problem(&images()).classes(&[0, 0, 1, 1]), None);
        let labelled = images().with_labels(vec![9, 8, 7, 6, 5]).unwrap();
        assert_eq!(problem(&labelled).classes(&[0, 0, 1, 1]), Some(vec![6, 6, 8, 8]));
        assert_eq!(problem(&labelled).classes(&[1]), Some(vec![8]));
    }

    #[test]
    fn a_mask_that_hides_more_hides_what_the_other_hides() {
        let mask = |missing| {
            let setting = Setting { missing, ..Setting::of(Task::RandomInpainting) };
            let problem = Problem::draw(setting, &images(), &[1], 7).unwrap();
            problem.operator(0).eigenvalues().to_vec()
        };
        let (usual, same, more) = (mask(None), mask(Some(0.7)), mask(Some(0.9)));
        assert_eq!(usual, same);
        assert!(more.iter().zip(&usual).all(|(more, usual)| more <= usual));
        assert_eq!(more.iter().filter(|v| **v == 0.0).count(), 705);
    }

    #[test]
    fn a_measurement_does_not_depend_on_the_choice_it_is_part_of() {
        for task in Task::ALL {
            let setting = Setting::of(task);
            let both = Problem::draw(setting, &images(), &[3, 1], 7).unwrap();
            let one = Problem::draw(setting, &images(), &[1], 7).unwrap();
            assert_eq!(both.set.measurement(1), one.set.measurement(0), "{}", task.name());
            let other = Problem::draw(setting, &images(), &[1], 8).unwrap();
            assert_ne!(other.set.measurement(0), one.set.measurement(0), "{}", task.name());
            assert_eq!(both.picture(1).shape, both.set.shape());
        }
    }
}

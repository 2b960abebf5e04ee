//! The noise of samples: a function of (seed, image, sample, step), whatever the batch or device.

use eps_math::Shape;
use eps_math::rng::Stream;
use eps_model::draws::SampleStreams;
use tch::{Device, Tensor};

use crate::solver::shape_of;

/// Which sample of which image each batch item is, under one seed.
#[derive(Debug, Clone)]
pub struct NoiseKeys {
    seed: u64,
    items: Vec<(u64, u64)>,
}

impl NoiseKeys {
    /// The keys of a batch: `items` are (image, sample) in batch order.
    #[must_use]
    pub fn new(seed: u64, items: Vec<(u64, u64)>) -> Self {
        Self { seed, items }
    }

    /// Image-major keys: `samples` samples in a row of each image.
    #[must_use]
    pub fn image_major(seed: u64, images: std::ops::Range<u64>, samples: u64) -> Self {
        let items = images.flat_map(|image| (0..samples).map(move |sample| (image, sample)));
        Self::new(seed, items.collect())
    }

    /// The number of batch items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the batch has no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The streams of a step, one an item.
    fn streams(&self, step: u64) -> impl Iterator<Item = Stream> + '_ {
        self.items.iter().map(move |(image, sample)| Stream::new(self.seed, *image, *sample, step))
    }

    /// Standard normals drawn on the host: the initial noise of a sampler, step 0.
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64
    pub fn initial(&self, shape: Shape, device: Device) -> Tensor {
        let values: Vec<f64> = self.streams(0).flat_map(|s| s.normals(shape.len())).collect();
        Tensor::from_slice(&values).view(self.sides(shape).as_slice()).to_device(device)
    }

    /// The noise of a solver's steps, for states that it begins with.
    ///
    /// # Panics
    /// If the numbers of states and keys differ: every sample has noise of its own.
    pub(crate) fn for_states(&self, states: &Tensor) -> StepNoise {
        let (count, keys) = (states.size()[0], self.len());
        assert!(count == keys as i64, "{count} states for {keys} keys of noise: give one a state");
        self.on(shape_of(states), states.device())
    }

    /// The noise of all steps, on the device where it is used.
    #[must_use]
    pub fn on(&self, shape: Shape, device: Device) -> StepNoise {
        let key = |(image, sample): &(u64, u64)| Stream::sample_key(self.seed, *image, *sample);
        let samples: Vec<u64> = self.items.iter().map(key).collect();
        StepNoise {
            streams: SampleStreams::new(&samples, shape.len(), device),
            sides: self.sides(shape),
        }
    }

    fn sides(&self, shape: Shape) -> [i64; 4] {
        [self.len(), shape.channels, shape.height, shape.width].map(|side| side as i64)
    }
}

/// The standard normals of every step of a batch, each a function of (seed, image, sample, step), computed on
/// the device by integer tensor operations.
///
/// The random bits equal the host's; logarithm and cosine are the device's, so the values agree
/// to a few ulps.
#[derive(Debug)]
pub struct StepNoise {
    streams: SampleStreams,
    sides: [i64; 4],
}

impl StepNoise {
    /// The noise of draw `number`: a solver's step i, counted from 0, draws number i + 1, as 0 is the initial
    /// noise.
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64
    pub fn draw(&self, number: u64) -> Tensor {
        self.streams.normals(number).view(self.sides.as_slice())
    }

    /// The noise of a solver's step, counted from 0.
    pub(crate) fn of_step(&self, step: usize) -> Tensor {
        self.draw(step as u64 + 1)
    }
}

#[cfg(test)]
mod tests {
    use eps_model::draws::normals;

    use super::*;

    #[test]
    fn noise_is_that_of_its_streams() {
        let shape = Shape::new(2, 5, 3).unwrap();
        let keys = NoiseKeys::new(7, vec![(0, 0), (3, 1), (u64::MAX, 2)]);
        for step in [1, 99] {
            let streams: Vec<Stream> = keys.streams(step).collect();
            let drawn = keys.on(shape, Device::Cpu).draw(step);
            assert_eq!(drawn.size(), [3, 2, 5, 3]);
            assert!(drawn.view([3, -1]).equal(&normals(&streams, 30, Device::Cpu)));
        }
        let initial: Vec<f64> =
            Vec::try_from(keys.initial(shape, Device::Cpu).flatten(0, -1)).unwrap();
        assert_eq!(initial, keys.streams(0).flat_map(|s| s.normals(30)).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "4 states for 1 keys")]
    fn states_do_not_share_noise() {
        let states = Tensor::zeros([4, 1, 2, 2], (tch::Kind::Double, Device::Cpu));
        let _ = NoiseKeys::new(0, vec![(0, 0)]).for_states(&states);
    }

    #[test]
    fn noise_does_not_depend_on_the_batch() {
        let shape = Shape::new(1, 4, 4).unwrap();
        let all = NoiseKeys::image_major(1, 0..3, 4).on(shape, Device::Cpu).draw(5);
        let one = NoiseKeys::new(1, vec![(1, 2)]).on(shape, Device::Cpu).draw(5);
        assert!(all.narrow(0, 6, 1).equal(&one));
    }
}

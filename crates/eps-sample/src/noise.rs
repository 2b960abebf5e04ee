//! The noise of samples: a function of (seed, image, sample, step), whatever the batch or device.

use eps_math::Shape;
use eps_math::rng::Stream;
use eps_model::draws::normals;
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

    /// The same normals of any step by integer tensor operations, on the device where they are used.
    ///
    /// The random bits equal the host's; logarithm and cosine are the device's, so the values agree
    /// to a few ulps. A solver's step i draws step i + 1: step 0 is the initial noise.
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64
    pub fn step(&self, step: u64, shape: Shape, device: Device) -> Tensor {
        let streams: Vec<Stream> = self.streams(step).collect();
        normals(&streams, shape.len(), device).view(self.sides(shape).as_slice())
    }

    /// The noise of a solver's step, counted from 0, for the states of a batch.
    ///
    /// # Panics
    /// If the numbers of states and keys differ: every sample has noise of its own.
    pub(crate) fn of_step(&self, step: usize, states: &Tensor) -> Tensor {
        self.of_draw(step as u64 + 1, states)
    }

    /// The same by the number of the draw, 1 and more: 0 is the initial noise.
    pub(crate) fn of_draw(&self, draw: u64, states: &Tensor) -> Tensor {
        let (count, keys) = (states.size()[0], self.len());
        assert!(count == keys as i64, "{count} states for {keys} keys of noise: give one a state");
        self.step(draw, shape_of(states), states.device())
    }

    fn sides(&self, shape: Shape) -> [i64; 4] {
        [self.len(), shape.channels, shape.height, shape.width].map(|side| side as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_that_of_its_streams() {
        let shape = Shape::new(2, 5, 3).unwrap();
        let keys = NoiseKeys::new(7, vec![(0, 0), (3, 1), (u64::MAX, 2)]);
        for step in [1, 99] {
            let streams: Vec<Stream> = keys.streams(step).collect();
            let drawn = keys.step(step, shape, Device::Cpu);
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
        let _ = NoiseKeys::new(0, vec![(0, 0)]).of_step(0, &states);
    }

    #[test]
    fn noise_does_not_depend_on_the_batch() {
        let shape = Shape::new(1, 4, 4).unwrap();
        let all = NoiseKeys::image_major(1, 0..3, 4).step(5, shape, Device::Cpu);
        let one = NoiseKeys::new(1, vec![(1, 2)]).step(5, shape, Device::Cpu);
        assert!(all.narrow(0, 6, 1).equal(&one));
    }
}

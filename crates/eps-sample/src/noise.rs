//! The noise of samples: a function of (seed, image, sample, step), whatever the batch or device.

use std::cell::OnceCell;

use eps_math::Shape;
use eps_math::rng::Stream;
use eps_model::device_rng::SampleStreams;
use eps_model::extent;
use tch::{Device, Tensor};

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

    /// The noise of a batch of images of a shape, on the device where it is used.
    #[must_use]
    pub fn on(&self, shape: Shape, device: Device) -> BatchNoise {
        BatchNoise { keys: self.clone(), shape, device, streams: OnceCell::new() }
    }

    fn sides(&self, shape: Shape) -> [i64; 4] {
        [self.len(), shape.channels, shape.height, shape.width].map(extent)
    }
}

/// The standard normals of a batch: where it starts and what its steps draw, each a function of (seed, image, sample,
/// step).
///
/// Those of steps are computed on the device by integer tensor operations. The random bits equal the host's; logarithm
/// and cosine are the device's, so the values agree to a few ulps.
#[derive(Debug)]
pub struct BatchNoise {
    keys: NoiseKeys,
    shape: Shape,
    device: Device,
    /// Made when a step first draws: deterministic solvers never do.
    streams: OnceCell<SampleStreams>,
}

impl BatchNoise {
    /// The noise that a walk starts from, [`NoiseKeys::initial`].
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64
    pub fn initial(&self) -> Tensor {
        self.keys.initial(self.shape, self.device)
    }

    /// The noise of draw `number`, of which 0 is that of [`Self::initial`].
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64
    pub fn draw(&self, number: u64) -> Tensor {
        let streams = self.streams.get_or_init(|| {
            let key =
                |(image, sample): &(u64, u64)| Stream::sample_key(self.keys.seed, *image, *sample);
            let samples: Vec<u64> = self.keys.items.iter().map(key).collect();
            SampleStreams::new(&samples, self.shape.len(), self.device)
        });
        streams.normals(number).view(self.keys.sides(self.shape).as_slice())
    }

    /// The noise of a step, counted from 0, where each makes at most `draws` draws.
    #[must_use]
    pub fn of_step(&self, step: usize, draws: u64) -> StepNoise<'_> {
        StepNoise { noise: self, first: 1 + step as u64 * draws }
    }
}

/// The noise of one step.
#[derive(Debug, Clone, Copy)]
pub struct StepNoise<'a> {
    noise: &'a BatchNoise,
    first: u64,
}

impl StepNoise<'_> {
    /// The noise of a draw of the step, counted from 0.
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64
    pub fn draw(&self, number: u64) -> Tensor {
        self.noise.draw(self.first + number)
    }
}

#[cfg(test)]
mod tests {
    use eps_model::device_rng::normals;

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
    fn a_step_draws_from_streams_of_its_own() {
        let noise = NoiseKeys::new(7, vec![(3, 1)]).on(Shape::new(1, 2, 2).unwrap(), Device::Cpu);
        assert!(noise.of_step(0, 1).draw(0).equal(&noise.draw(1)));
        assert!(noise.of_step(4, 1).draw(0).equal(&noise.draw(5)));
        assert!(noise.of_step(4, 3).draw(2).equal(&noise.draw(15)));
    }

    #[test]
    fn noise_does_not_depend_on_the_batch() {
        let shape = Shape::new(1, 4, 4).unwrap();
        let all = NoiseKeys::image_major(1, 0..3, 4).on(shape, Device::Cpu).draw(5);
        let one = NoiseKeys::new(1, vec![(1, 2)]).on(shape, Device::Cpu).draw(5);
        assert!(all.narrow(0, 6, 1).equal(&one));
    }
}

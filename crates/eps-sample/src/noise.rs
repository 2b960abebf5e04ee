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
    antithetic: bool,
}

impl NoiseKeys {
    /// The keys of a batch: `items` are (image, sample) in batch order.
    #[must_use]
    pub fn new(seed: u64, items: Vec<(u64, u64)>) -> Self {
        Self { seed, items, antithetic: false }
    }

    /// The same samples in antithetic pairs: all noise of samples 1, 3, … of an image is that of samples 0, 2, … with the
    /// other sign.
    ///
    /// Each sample has the law that it has otherwise, as -ε is as likely as ε. Those of a pair are not independent: where
    /// a sample is nearly an affine function of its noise, as in the posterior of a Gaussian, they lie on opposite sides of the
    /// posterior's mean, and the mean of a pair has next to no error by chance (Hammersley and Morton, 1956).
    #[must_use]
    pub fn antithetic(self) -> Self {
        Self { antithetic: true, ..self }
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

    /// The sample whose streams an item draws from, and the sign of what it draws.
    fn drawn(&self, sample: u64) -> (u64, f64) {
        if self.antithetic && sample % 2 == 1 { (sample - 1, -1.0) } else { (sample, 1.0) }
    }

    /// The streams of a step, one an item.
    fn streams(&self, step: u64) -> impl Iterator<Item = Stream> + '_ {
        let of = |sample: u64| self.drawn(sample).0;
        self.items
            .iter()
            .map(move |(image, sample)| Stream::new(self.seed, *image, of(*sample), step))
    }

    /// The signs of what the items draw; none where all are +1.
    fn signs(&self) -> Option<Vec<f64>> {
        self.antithetic
            .then(|| self.items.iter().map(|(_, sample)| self.drawn(*sample).1).collect())
    }

    /// Standard normals drawn on the host: the initial noise of a sampler, step 0.
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64
    pub fn initial(&self, shape: Shape, device: Device) -> Tensor {
        let mut values: Vec<f64> = self.streams(0).flat_map(|s| s.normals(shape.len())).collect();
        for (values, sign) in
            values.chunks_exact_mut(shape.len()).zip(self.signs().iter().flatten())
        {
            values.iter_mut().for_each(|value| *value *= sign);
        }
        Tensor::from_slice(&values).view(self.sides(shape).as_slice()).to_device(device)
    }

    /// The noise of a batch of images of a shape, on the device where it is used.
    #[must_use]
    pub fn on(&self, shape: Shape, device: Device) -> BatchNoise {
        let signs =
            self.signs().map(|signs| Tensor::from_slice(&signs).view([-1, 1]).to_device(device));
        BatchNoise { keys: self.clone(), shape, device, signs, streams: OnceCell::new() }
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
    /// Those of the draws, `[B, 1]`; none where all are +1.
    signs: Option<Tensor>,
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
            let key = |(image, sample): &(u64, u64)| {
                Stream::sample_key(self.keys.seed, *image, self.keys.drawn(*sample).0)
            };
            let samples: Vec<u64> = self.keys.items.iter().map(key).collect();
            SampleStreams::new(&samples, self.shape.len(), self.device)
        });
        let normals = streams.normals(number);
        let signed = self.signs.as_ref().map(|signs| &normals * signs);
        signed.unwrap_or(normals).view(self.keys.sides(self.shape).as_slice())
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

    /// Whatever the batch, whether drawn on the host or on the device: samples 0 and 2 draw what they draw otherwise, 1 and 3
    /// the same with the other sign, and a last one without a partner what is its own.
    #[test]
    fn noise_of_antithetic_pairs_differs_in_its_sign() {
        let shape = Shape::new(2, 5, 3).unwrap();
        let drawn = |keys: NoiseKeys, step: u64| match step {
            0 => keys.initial(shape, Device::Cpu),
            _ => keys.on(shape, Device::Cpu).draw(step),
        };
        for step in [0, 3] {
            let independent = drawn(NoiseKeys::image_major(7, 0..2, 5), step);
            let pairs = drawn(NoiseKeys::image_major(7, 0..2, 5).antithetic(), step);
            for image in 0..2 {
                for sample in 0..5 {
                    let at = |noise: &Tensor, sample: i64| noise.select(0, 5 * image + sample);
                    let expected = match sample % 2 {
                        0 => at(&independent, sample),
                        _ => -at(&independent, sample - 1),
                    };
                    assert!(at(&pairs, sample).equal(&expected), "{step} {image} {sample}");
                }
            }
            let alone = drawn(NoiseKeys::new(7, vec![(1, 3)]).antithetic(), step);
            assert!(alone.select(0, 0).equal(&pairs.select(0, 8)));
        }
    }

    #[test]
    fn noise_does_not_depend_on_the_batch() {
        let shape = Shape::new(1, 4, 4).unwrap();
        let all = NoiseKeys::image_major(1, 0..3, 4).on(shape, Device::Cpu).draw(5);
        let one = NoiseKeys::new(1, vec![(1, 2)]).on(shape, Device::Cpu).draw(5);
        assert!(all.narrow(0, 6, 1).equal(&one));
    }
}

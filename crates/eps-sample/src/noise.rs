//! The noise of samples: a function of (seed, image, sample, step), whatever the batch or device.

use eps_math::Shape;
use eps_math::rng::{MIX_1, MIX_2, Stream, WEYL};
use tch::{Device, Kind, Tensor};

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
        let keys: Vec<i64> = self.streams(step).map(|s| s.key() as i64).collect();
        let keys = Tensor::from_slice(&keys).view([-1, 1]).to_device(device);
        let counter = Tensor::arange(2 * shape.len() as i64, (Kind::Int64, device)) + 1;
        let bits = mix(&(keys + counter * WEYL as i64));
        let uniform = shift_right(&bits, 11).to_kind(Kind::Double) / (1u64 << 53) as f64;
        let pairs = uniform.view([-1, shape.len() as i64, 2]);
        let radius = ((-pairs.select(2, 0)).log1p() * -2.0).sqrt();
        let normals = radius * (pairs.select(2, 1) * std::f64::consts::TAU).cos();
        normals.view(self.sides(shape).as_slice())
    }

    fn sides(&self, shape: Shape) -> [i64; 4] {
        [self.len(), shape.channels, shape.height, shape.width].map(|side| side as i64)
    }
}

/// [`eps_math::rng::mix`] on 64-bit integers with wrap-around.
fn mix(z: &Tensor) -> Tensor {
    let z = z.bitwise_xor_tensor(&shift_right(z, 30)) * MIX_1 as i64;
    let z = z.bitwise_xor_tensor(&shift_right(&z, 27)) * MIX_2 as i64;
    z.bitwise_xor_tensor(&shift_right(&z, 31))
}

/// The logical shift: libtorch's is arithmetic, so the copies of the sign are masked away.
fn shift_right(z: &Tensor, places: i64) -> Tensor {
    z.bitwise_right_shift_tensor_scalar(places).bitwise_and((1i64 << (64 - places)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_draws_equal_host_draws() {
        let shape = Shape::new(2, 5, 3).unwrap();
        let keys = NoiseKeys::new(7, vec![(0, 0), (3, 1), (u64::MAX, 2)]);
        for step in [0, 1, 99] {
            let device: Vec<f64> =
                Vec::try_from(keys.step(step, shape, Device::Cpu).flatten(0, -1)).unwrap();
            let host: Vec<f64> = keys.streams(step).flat_map(|s| s.normals(30)).collect();
            for (a, b) in device.iter().zip(&host) {
                // Two transcendental functions and a product, each good to about an ulp; the cosine
                // near its zeros has the absolute error of its argument, 2π · 2⁻⁵³.
                assert!((a - b).abs() <= 8.0 * f64::EPSILON * (1.0 + a.abs()) * 3.0, "{a} {b}");
            }
        }
        let initial: Vec<f64> =
            Vec::try_from(keys.initial(shape, Device::Cpu).flatten(0, -1)).unwrap();
        assert_eq!(initial, keys.streams(0).flat_map(|s| s.normals(30)).collect::<Vec<_>>());
    }

    #[test]
    fn noise_does_not_depend_on_the_batch() {
        let shape = Shape::new(1, 4, 4).unwrap();
        let all = NoiseKeys::image_major(1, 0..3, 4).step(5, shape, Device::Cpu);
        let one = NoiseKeys::new(1, vec![(1, 2)]).step(5, shape, Device::Cpu);
        assert!(all.narrow(0, 6, 1).equal(&one));
    }
}

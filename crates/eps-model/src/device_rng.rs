//! Random numbers of [`Stream`]s by integer tensor operations, on the device where they are used.
//!
//! The random bits are the host's, so that a draw depends on the stream and the index alone, whatever
//! the batch or device.

use std::f64::consts::TAU;

use crate::extent::extent;
use eps_math::rng::{MIX_1, MIX_2, Stream, WEYL};
use eps_math::whole;
use tch::{Device, Kind, Tensor};

/// The bits of a uniform number.
const BITS: i64 = 53;

/// The first standard normals of each stream ([`Stream::normals`]).
///
/// Logarithm and cosine are the device's, so the values agree with the host's to a few ulps.
///
/// # Shapes
/// `[S, count]` in f64 for S streams
pub fn normals(streams: &[Stream], count: usize, device: Device) -> Tensor {
    normals_of(&keys(streams, device), &offsets(2 * count, device))
}

/// The streams of all steps of some samples, on a device: what a step draws is computed there, from a number
/// that is passed with the call.
#[derive(Debug)]
pub struct SampleStreams {
    /// `[S, 1]`
    samples: Tensor,
    offsets: Tensor,
}

impl SampleStreams {
    /// The streams of samples by their [`Stream::sample_key`], for `count` normals a step.
    #[must_use]
    pub fn new(sample_keys: &[u64], count: usize, device: Device) -> Self {
        let samples: Vec<i64> = sample_keys.iter().map(|key| key.cast_signed()).collect();
        let samples = Tensor::from_slice(&samples).view([-1, 1]).to_device(device);
        Self { samples, offsets: offsets(2 * count, device) }
    }

    /// The [`normals`] of a step.
    ///
    /// # Shapes
    /// `[S, count]` in f64 for S samples
    pub fn normals(&self, step: u64) -> Tensor {
        let keys = mix(&self.samples.bitwise_xor(Stream::step_key(step).cast_signed()));
        normals_of(&keys, &self.offsets)
    }
}

/// Normals of streams by their keys `[S, 1]`.
fn normals_of(keys: &Tensor, offsets: &Tensor) -> Tensor {
    let uniform = integers(keys, offsets).to_kind(Kind::Double) / scale();
    let pairs = uniform.view([uniform.size()[0], -1, 2]);
    let radius = ((-pairs.select(2, 0)).log1p() * -2.0).sqrt();
    radius * (pairs.select(2, 1) * TAU).cos()
}

/// Whether each of the first uniform numbers of a stream ([`Stream::uniform`]) is at least `bound`.
///
/// # Shapes
/// `[count]`, boolean
pub(crate) fn at_least(stream: Stream, bound: f64, count: usize, device: Device) -> Tensor {
    let integers = integers(&keys(&[stream], device), &offsets(count, device));
    integers.view([-1]).ge(extent(whole((bound * scale()).ceil())))
}

fn scale() -> f64 {
    (1u64 << BITS) as f64
}

/// The keys of streams, `[S, 1]`.
fn keys(streams: &[Stream], device: Device) -> Tensor {
    let keys: Vec<i64> = streams.iter().map(|stream| stream.key().cast_signed()).collect();
    Tensor::from_slice(&keys).view([-1, 1]).to_device(device)
}

/// What the first `count` indices add to a key.
fn offsets(count: usize, device: Device) -> Tensor {
    (Tensor::arange(extent(count), (Kind::Int64, device)) + 1) * WEYL.cast_signed()
}

/// Uniform numbers of streams times 2⁵³, `[S, count]`.
fn integers(keys: &Tensor, offsets: &Tensor) -> Tensor {
    shift_right(&mix(&(keys + offsets)), 64 - BITS)
}

/// [`eps_math::rng::mix`] on 64-bit integers with wrap-around.
fn mix(z: &Tensor) -> Tensor {
    let z = z.bitwise_xor_tensor(&shift_right(z, 30)) * MIX_1.cast_signed();
    let z = z.bitwise_xor_tensor(&shift_right(&z, 27)) * MIX_2.cast_signed();
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
    fn a_sample_draws_what_its_streams_do() {
        let samples = [(7, 0, 0), (7, u64::MAX, 2)];
        let keys = samples.map(|(seed, image, sample)| Stream::sample_key(seed, image, sample));
        let of_samples = SampleStreams::new(&keys, 30, Device::Cpu);
        for step in [0, 1, u64::MAX] {
            let streams =
                samples.map(|(seed, image, sample)| Stream::new(seed, image, sample, step));
            assert!(of_samples.normals(step).equal(&normals(&streams, 30, Device::Cpu)));
        }
    }

    #[test]
    fn device_draws_equal_host_draws() {
        let streams = [Stream::new(7, 0, 0, 1), Stream::new(7, u64::MAX, 2, 99)];
        let device: Vec<f64> =
            Vec::try_from(normals(&streams, 30, Device::Cpu).flatten(0, -1)).unwrap();
        let host: Vec<f64> = streams.iter().flat_map(|stream| stream.normals(30)).collect();
        for (a, b) in device.iter().zip(&host) {
            // Two transcendental functions and a product, each good to about an ulp; the cosine
            // near its zeros has the absolute error of its argument, 2π · 2⁻⁵³.
            assert!((a - b).abs() <= 8.0 * f64::EPSILON * (1.0 + a.abs()) * 3.0, "{a} {b}");
        }
        for stream in streams {
            // The bounds 0 and 1, a number that is drawn, and one between two numbers.
            for bound in [0.0, 0.1, stream.uniform(4), 0.3 + f64::EPSILON / 8.0, 1.0] {
                let kept: Vec<bool> =
                    Vec::try_from(at_least(stream, bound, 50, Device::Cpu)).unwrap();
                let host: Vec<bool> = (0..50).map(|i| stream.uniform(i) >= bound).collect();
                assert_eq!(kept, host, "{bound}");
            }
        }
    }
}

//! Counter-based random numbers: value i of a stream is a function of (key, i) alone.
//!
//! A sample's noise depends on (seed, image, sample, step) and on nothing else: not on the batch it
//! was drawn in, the order, the thread or the device. The generator is splitmix64's output mix over
//! a Weyl sequence; normals come from Box and Muller's transform in f64.

use crate::whole;
use std::f64::consts::TAU;

/// The increment of splitmix64's Weyl sequence, 2⁶⁴ divided by the golden ratio.
pub const WEYL: u64 = 0x9E37_79B9_7F4A_7C15;

/// The first multiplier of [`mix`].
pub const MIX_1: u64 = 0xBF58_476D_1CE4_E5B9;

/// The second multiplier of [`mix`].
pub const MIX_2: u64 = 0x94D0_49BB_1331_11EB;

/// The output mix of splitmix64 (Steele, Lea and Flood 2014), a bijection of the 64-bit integers.
#[must_use]
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(MIX_1);
    z = (z ^ (z >> 27)).wrapping_mul(MIX_2);
    z ^ (z >> 31)
}

/// The 64-bit FNV-1a hash of a name.
#[must_use]
pub fn fnv1a64(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// The first `n` uniforms in [0, 1) of the stream that is keyed by the bare hash of `name`.
///
/// ```text
/// u01(name)[i] = (mix(fnv1a64(name) + (i + 1) · WEYL) >> 11) / 2⁵³
/// ```
#[must_use]
pub fn u01(name: &str, n: usize) -> Vec<f64> {
    let mut values = vec![0.0; n];
    Stream { key: fnv1a64(name) }.fill_uniform(&mut values);
    values
}

/// A stream of random numbers, random access by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    key: u64,
}

impl Stream {
    /// The stream of one step of one sample of one image under one seed.
    #[must_use]
    pub fn new(seed: u64, image: u64, sample: u64, step: u64) -> Self {
        Self { key: mix(Self::sample_key(seed, image, sample) ^ Self::step_key(step)) }
    }

    /// What all streams of a sample have in common: a stream's key is `mix(sample_key ^ step_key)`.
    #[must_use]
    pub fn sample_key(seed: u64, image: u64, sample: u64) -> u64 {
        let parts = [seed, image, sample].into_iter();
        parts
            .fold(0, |key: u64, part| mix(key.wrapping_add(WEYL) ^ Self::step_key(part)))
            .wrapping_add(WEYL)
    }

    /// What a step contributes to the keys of its streams.
    #[must_use]
    pub fn step_key(step: u64) -> u64 {
        mix(step.wrapping_add(WEYL))
    }

    /// The stream of a named quantity under a seed, e.g. a network parameter's initial values.
    #[must_use]
    pub fn named(seed: u64, name: &str) -> Self {
        Self::new(seed, fnv1a64(name), 0, 0)
    }

    /// The key: what a device needs to draw the same integers.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key
    }

    /// The 64 random bits at index `i`.
    #[must_use]
    pub fn bits(&self, i: u64) -> u64 {
        mix(self.key.wrapping_add(i.wrapping_add(1).wrapping_mul(WEYL)))
    }

    /// The uniform number in [0, 1) at index `i`, a multiple of 2⁻⁵³.
    #[must_use]
    pub fn uniform(&self, i: u64) -> f64 {
        (self.bits(i) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The standard normal number at index `i`: Box and Muller's cosine branch.
    ///
    /// ```text
    /// z_i = √(−2 ln(1 − u_2i)) · cos(2π u_2i+1)
    /// ```
    #[must_use]
    pub fn normal(&self, i: u64) -> f64 {
        let radius = (-2.0 * (-self.uniform(2 * i)).ln_1p()).sqrt();
        radius * (TAU * self.uniform(2 * i + 1)).cos()
    }

    /// The integer below `bound` at index `i`, unbiased to 2⁻⁵³ · `bound`.
    #[must_use]
    pub fn below(&self, i: u64, bound: usize) -> usize {
        whole(self.uniform(i) * bound as f64)
    }

    /// Fills a slice with the uniforms at indices 0, 1, 2, …
    pub fn fill_uniform(&self, values: &mut [f64]) {
        for (i, value) in values.iter_mut().enumerate() {
            *value = self.uniform(i as u64);
        }
    }

    /// Fills a slice with the standard normals at indices 0, 1, 2, …
    pub fn fill_normal(&self, values: &mut [f64]) {
        for (i, value) in values.iter_mut().enumerate() {
            *value = self.normal(i as u64);
        }
    }

    /// The first `n` standard normals.
    #[must_use]
    pub fn normals(&self, n: usize) -> Vec<f64> {
        let mut values = vec![0.0; n];
        self.fill_normal(&mut values);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_reference() {
        // Published outputs of splitmix64 seeded with 1234567.
        let stream = Stream { key: 1_234_567 };
        assert_eq!(stream.bits(0), 6_457_827_717_110_365_317);
        assert_eq!(stream.bits(1), 3_203_168_211_198_807_973);
        assert_eq!(fnv1a64("a"), 0xAF63_DC4C_8601_EC8C);
    }

    #[test]
    fn normals_have_unit_moments() {
        let n = 200_000;
        let z = Stream::new(1, 2, 3, 4).normals(n);
        let moment = |p: i32| z.iter().map(|v| v.powi(p)).sum::<f64>() / n as f64;
        // Five standard errors: Var z = 1, Var z² = 2, Var z⁴ = 96.
        let bound = |variance: f64| 5.0 * (variance / n as f64).sqrt();
        assert!(moment(1).abs() < bound(1.0));
        assert!((moment(2) - 1.0).abs() < bound(2.0));
        assert!((moment(4) - 3.0).abs() < bound(96.0));
    }

    #[test]
    fn streams_differ_in_every_part_of_the_key() {
        let base = Stream::new(0, 0, 0, 0);
        for other in [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]] {
            let other = Stream::new(other[0], other[1], other[2], other[3]);
            assert_ne!(base.bits(0), other.bits(0));
            let n = 10_000;
            let correlation = (0..n).map(|i| base.normal(i) * other.normal(i)).sum::<f64>();
            assert!((correlation / n as f64).abs() < 5.0 / (n as f64).sqrt());
        }
    }
}

//! The pixels of images: bytes of pictures, or values of instruments.

use eps_files::Hasher;
use hdf5::H5Type;

use crate::range::{RANGE, value_of_byte};

/// The pixels of images.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// Bytes of pictures, 0 to 255, of the values `v / 127.5 − 1`.
    Bytes(Vec<u8>),
    /// Values in [-1, 1], as instruments measure them.
    Values(Vec<f32>),
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<f32>> for Pixels {
    fn from(values: Vec<f32>) -> Self {
        Self::Values(values)
    }
}

impl Pixels {
    /// Their number.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Values(values) => values.len(),
        }
    }

    /// Their size in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => size_of_val(&**bytes),
            Self::Values(values) => size_of_val(&**values),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are bytes.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Values(_) => None,
        }
    }
}

/// How a pixel is stored.
pub trait Pixel: H5Type + Copy + sealed::Sealed {
    /// The attribute `range` of images that are stored so.
    const RANGE: &'static str;

    /// Its value in [-1, 1].
    fn value(self) -> f64;

    /// Adds pixels to a digest.
    fn digest(pixels: &[Self], digest: &mut Hasher);
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for f32 {}
}

impl Pixel for u8 {
    const RANGE: &'static str = RANGE;

    fn value(self) -> f64 {
        value_of_byte(self)
    }

    fn digest(pixels: &[Self], digest: &mut Hasher) {
        digest.update(pixels);
    }
}

impl Pixel for f32 {
    const RANGE: &'static str = "[-1, 1]";

    fn value(self) -> f64 {
        f64::from(self)
    }

    fn digest(pixels: &[Self], digest: &mut Hasher) {
        for values in pixels.chunks(4096) {
            digest
                .update(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
}

/// Mean and standard deviation of values that come in blocks.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    count: f64,
    mean: f64,
    /// The sum of squared deviations from the mean.
    squares: f64,
}

impl Spread {
    /// Adds a block, as T. F. Chan, G. H. Golub and R. J. LeVeque do (*Updating formulae and a pairwise algorithm for computing
    /// sample variances*, 1979).
    pub(crate) fn add<T: Pixel>(&mut self, pixels: &[T]) {
        let values = || pixels.iter().map(|pixel| pixel.value());
        let count = pixels.len() as f64;
        let all = self.count + count;
        if all == 0.0 {
            return;
        }
        let mean = values().sum::<f64>() / count.max(1.0);
        let apart = mean - self.mean;
        self.squares += values().map(|value| (value - mean).powi(2)).sum::<f64>();
        self.squares += apart.powi(2) * self.count * count / all;
        self.mean += apart * count / all;
        self.count = all;
    }

    pub(crate) fn mean_and_deviation(&self) -> (f64, f64) {
        (self.mean, (self.squares / self.count).sqrt())
    }
}

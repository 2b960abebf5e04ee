//! Pictures in all of their bits, as PNG, TIFF and BMP files store them.

use std::path::Path;

use eps_math::Shape;

use crate::DataError;
use crate::orientation::Orientation;
use crate::range::value_of_byte;

/// Samples `[H, W, channels]` as stored, all out of `largest`; transparency is the last of an even number of
/// channels.
#[derive(Debug)]
pub(crate) struct StoredPicture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) channels: usize,
    pub(crate) samples: Vec<u16>,
    /// 255 or 65535.
    pub(crate) largest: u16,
    pub(crate) orientation: Orientation,
}

/// A picture on the scale [-1, 1].
pub(crate) struct Values {
    pub(crate) shape: Shape,
    /// `[C, H, W]` in row-major order.
    pub(crate) values: Vec<f64>,
    /// The largest of the samples where they have 16 bits.
    pub(crate) largest: Option<u16>,
}

impl StoredPicture {
    /// The picture as it is to be shown, without the channel of transparency.
    pub(crate) fn into_values(self, path: &Path) -> Result<Values, DataError> {
        let StoredPicture { width, height, channels, samples, largest, orientation } = self;
        let transparency = channels.is_multiple_of(2);
        let colours = channels - usize::from(transparency);
        let opaque = |pixel: &[u16]| !transparency || pixel[colours] == largest;
        if let Some(pixel) = samples.chunks_exact(channels).position(|pixel| !opaque(pixel)) {
            let (row, column) = (pixel / width, pixel % width);
            return Err(DataError::Transparent { path: path.to_owned(), row, column });
        }
        let value = |v: u16| match u8::try_from(v) {
            Ok(byte) if largest == 255 => value_of_byte(byte),
            _ => f64::from(v) / 32767.5 - 1.0,
        };
        let ((width, height), samples) = orientation.turn((width, height), channels, samples);
        let plane = width * height;
        let values = (0..colours * plane)
            .map(|i| value(samples[(i % plane) * channels + i / plane]))
            .collect();
        let colours_of = samples.chunks_exact(channels).flat_map(|pixel| &pixel[..colours]);
        let largest = (largest == u16::MAX).then(|| colours_of.copied().max()).flatten();
        Ok(Values { shape: Shape { channels: colours, height, width }, values, largest })
    }
}

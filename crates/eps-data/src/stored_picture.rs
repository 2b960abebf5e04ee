//! Pictures in all of their bits, as PNG, TIFF and BMP files store them.

use std::path::Path;

use eps_math::Shape;

use crate::DataError;
use crate::array::Needed;
use crate::orientation::Orientation;
use crate::range::{byte_of_value, value_of_byte, word_of_value};

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
    /// The ICC profile that says which colours the samples mean; sRGB's where there is none.
    pub(crate) profile: Option<Vec<u8>>,
    /// Whether the file holds inks (CMYK), from which the samples were computed.
    pub(crate) is_of_inks: bool,
}

/// A picture on the scale [-1, 1].
pub(crate) struct Values {
    pub(crate) shape: Shape,
    /// `[C, H, W]` in row-major order.
    pub(crate) values: Vec<f64>,
    /// The largest of the samples where they have 16 bits.
    pub(crate) largest: Option<u16>,
}

/// What becomes of pixels that show what is behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transparency {
    /// They are an error: the colour that is meant is unknown.
    Refused,
    /// Their colours are taken, but for those that show nothing of them: these are NaN.
    Seen,
}

impl From<Needed> for Transparency {
    fn from(needed: Needed) -> Self {
        match needed {
            Needed::Finite | Needed::FiniteReal | Needed::RealImages => Self::Refused,
            Needed::WithGaps => Self::Seen,
        }
    }
}

impl StoredPicture {
    /// The picture of values on the scale [-1, 1], rounded and clipped, with a channel of transparency behind its colours.
    ///
    /// # Shapes
    ///
    /// `values: [C, H, W]` with C = 1 (grey) or 3 (red, green, blue); `alpha: [H, W]`
    pub(crate) fn of_values(
        shape: Shape,
        values: &[f64],
        largest: u16,
        alpha: Option<&[u16]>,
    ) -> Result<Self, DataError> {
        let Shape { channels: colours, height, width } = shape;
        if !matches!(colours, 1 | 3) {
            return Err(DataError::invalid(
                "the number of channels of a picture",
                colours,
                "pictures have 1 (grey) or 3 (red, green, blue)",
            ));
        }
        if values.len() != shape.len() {
            return Err(DataError::invalid(
                "the number of values of a picture",
                values.len(),
                format!("a picture of shape {shape} has {}", shape.len()),
            ));
        }
        if let Some(index) = values.iter().position(|v| v.is_nan()) {
            return Err(DataError::invalid(
                format!("value {index} of a picture"),
                values[index],
                "a picture needs numbers: look for where the computation went wrong",
            ));
        }
        let sample = |v: f64| match largest {
            255 => u16::from(byte_of_value(v)),
            _ => word_of_value(v),
        };
        let plane = shape.plane();
        let mut samples = Vec::with_capacity(plane * (colours + 1));
        for pixel in 0..plane {
            samples.extend((0..colours).map(|colour| sample(values[colour * plane + pixel])));
            samples.extend(alpha.map(|alpha| alpha[pixel]));
        }
        let channels = colours + usize::from(alpha.is_some());
        Ok(Self::of_samples((width, height), channels, samples, largest))
    }

    /// A picture that is shown as it is stored, and of whose colours nothing is said.
    pub(crate) fn of_samples(
        (width, height): (usize, usize),
        channels: usize,
        samples: Vec<u16>,
        largest: u16,
    ) -> Self {
        let orientation = Orientation::AS_STORED;
        Self {
            width,
            height,
            channels,
            samples,
            largest,
            orientation,
            profile: None,
            is_of_inks: false,
        }
    }

    /// The channel of transparency as it is to be shown, `[H, W]`, with its width and height, where there is one.
    pub(crate) fn alpha(&self) -> Option<((usize, usize), Vec<u16>)> {
        self.channels.is_multiple_of(2).then(|| {
            let last = self.samples.iter().skip(self.channels - 1).step_by(self.channels);
            self.orientation.turn((self.width, self.height), 1, last.copied().collect())
        })
    }

    /// The samples as bytes, where they are of 8 bits.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.samples.iter().map(|v| u8::try_from(*v).unwrap_or(u8::MAX)).collect()
    }

    /// The picture as it is to be shown, without the channel of transparency.
    pub(crate) fn into_values(
        self,
        path: &Path,
        transparency: Transparency,
    ) -> Result<Values, DataError> {
        let StoredPicture { width, height, channels, samples, largest, orientation, .. } = self;
        let has_alpha = channels.is_multiple_of(2);
        let colours = channels - usize::from(has_alpha);
        let opaque = |pixel: &[u16]| !has_alpha || pixel[colours] == largest;
        if transparency == Transparency::Refused
            && let Some(pixel) = samples.chunks_exact(channels).position(|pixel| !opaque(pixel))
        {
            let (row, column) = (pixel / width, pixel % width);
            return Err(DataError::Transparent { path: path.to_owned(), row, column });
        }
        let value = |v: u16| match u8::try_from(v) {
            Ok(byte) if largest == 255 => value_of_byte(byte),
            _ => f64::from(v) / 32767.5 - 1.0,
        };
        let ((width, height), samples) = orientation.turn((width, height), channels, samples);
        let plane = width * height;
        let is_gone = |pixel: usize| has_alpha && samples[pixel * channels + colours] == 0;
        let at = |i: usize| match i % plane {
            pixel if is_gone(pixel) => f64::NAN,
            pixel => value(samples[pixel * channels + i / plane]),
        };
        let values = (0..colours * plane).map(at).collect();
        let colours_of = samples.chunks_exact(channels).flat_map(|pixel| &pixel[..colours]);
        let largest = (largest == u16::MAX).then(|| colours_of.copied().max()).flatten();
        Ok(Values { shape: Shape { channels: colours, height, width }, values, largest })
    }
}

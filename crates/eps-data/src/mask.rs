//! Masks of inpainting: which pixels were observed.

use std::path::Path;

use eps_math::Shape;

use crate::array_file::is_picture;
use crate::range::{byte_of_value, value_of_byte, word_of_value};
use crate::{Array, DataError};

/// A mask of an image's pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskPicture {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// `[H, W]`: 1 where a pixel is observed (white), 0 where it is missing (black).
    pub observed: Vec<u8>,
}

/// Reads a mask: of a picture, whose white pixels are observed and whose black ones are missing, or of an array
/// `mask` (`.npy`, `.npz`, `.h5`), `[H, W]` or `[C, H, W]`, of true and false, or of 1 or 255 and 0.
///
/// A picture whose values are 0 and 1 out of 255, as programs write arrays, is read as such.
///
/// # Errors
///
/// Those of [`Array::read`]; [`DataError::Malformed`] also where a value is neither of both, where the
/// channels hide different pixels, or where no pixel is observed.
pub fn read_mask(path: &Path) -> Result<MaskPicture, DataError> {
    let Array { dims, values } = Array::read(path, "mask")?;
    let shape = match dims[..] {
        [height, width] => Shape { channels: 1, height, width },
        [channels, height, width] | [1, channels, height, width] => {
            Shape { channels, height, width }
        }
        _ => {
            return Err(DataError::malformed(
                path,
                format!("the mask has dimensions {dims:?}"),
                "give it as [H, W], one value for every pixel",
            ));
        }
    };
    let plane = shape.plane();
    if values.is_empty() {
        return Err(DataError::malformed(
            path,
            "the mask has no pixels",
            "give one of the image's size",
        ));
    }
    let is_picture = is_picture(path);
    // The values that mean missing and observed.
    let black = if is_picture { -1.0 } else { 0.0 };
    let ones: &[f64] =
        if is_picture { &[1.0, 1.0 / 127.5 - 1.0, 1.0 / 32767.5 - 1.0] } else { &[1.0, 255.0] };
    let white = ones.iter().find(|one| values.contains(one)).copied().unwrap_or(ones[0]);
    let seen = |value: f64| match value {
        _ if value == black => Some(0),
        _ if value == white => Some(1),
        _ => None,
    };
    let mut observed = Vec::with_capacity(plane);
    for pixel in 0..plane {
        let colours: Vec<f64> = (0..shape.channels).map(|c| values[c * plane + pixel]).collect();
        let (row, column) = (pixel / shape.width, pixel % shape.width);
        let first = seen(colours[0]);
        match first {
            Some(first) if colours.iter().all(|&value| seen(value) == Some(first)) => {
                observed.push(first)
            }
            Some(_) if colours.iter().all(|&value| seen(value).is_some()) => {
                return Err(DataError::malformed(
                    path,
                    format!(
                        "the mask's pixel in row {row}, column {column} is observed in some channels and missing \
                         in others"
                    ),
                    "a mask hides whole pixels. For one of each channel give {\"operator\": \"weights\", \"weights\": \
                     {\"file\": \"mask.npy\"}} by --operator, of [C, H, W] numbers; for the pattern of a camera \
                     {\"operator\": \"bayer\", \"pattern\": \"rggb\"}",
                ));
            }
            _ => {
                let shown = listed(&colours);
                let found = if is_picture {
                    let stored = stored(&colours, &values);
                    format!("{stored} ({shown} on [-1, 1]), neither black (-1) nor white (1)")
                } else {
                    format!("{shown}, neither 0 (missing) nor 1 (observed)")
                };
                return Err(DataError::malformed(
                    path,
                    format!("the mask's pixel in row {row}, column {column} is {found}"),
                    "paint observed pixels white (or 1) and missing ones black (or 0); for pixels seen in part give \
                     {\"operator\": \"weights\"} by --operator",
                ));
            }
        }
    }
    if observed.iter().all(|&seen| seen == 0) {
        return Err(DataError::malformed(
            path,
            format!("the mask hides all {plane} pixels"),
            "paint the observed pixels white: there must be at least one",
        ));
    }
    Ok(MaskPicture { height: shape.height, width: shape.width, observed })
}

/// Numbers with few digits, a comma between them.
fn listed(numbers: &[f64]) -> String {
    let short = |v: &f64| format!("{:?}", format!("{v:.4e}").parse().unwrap_or(*v));
    numbers.iter().map(short).collect::<Vec<_>>().join(", ")
}

/// A pixel's values as they are stored in the picture of all `values`, of 8 bits where it could be.
fn stored(pixel: &[f64], values: &[f64]) -> String {
    let is_of_bytes = values.iter().all(|v| *v == value_of_byte(byte_of_value(*v)));
    let of = |v: &f64| match is_of_bytes {
        true => u16::from(byte_of_value(*v)),
        false => word_of_value(*v),
    };
    let shown: Vec<String> = pixel.iter().map(|v| of(v).to_string()).collect();
    format!("{} of {}", shown.join(", "), if is_of_bytes { 255 } else { 65535 })
}

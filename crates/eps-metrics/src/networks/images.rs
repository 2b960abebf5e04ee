//! What networks see of images.

use tch::{Device, Kind, Tensor};

use super::error::NetworkError;

/// The shorter side to which smaller images are upsampled before AlexNet and VGG16.
pub const SHORTEST_SIDE: usize = 64;

/// Rows and columns of an image after upsampling to [`SHORTEST_SIDE`].
///
/// ```text
/// s = max(1, 64 / min(H, W)),   H′ = round(s H), W′ = round(s W)
/// ```
#[must_use]
pub fn input_sides(height: usize, width: usize) -> [usize; 2] {
    let shorter = height.min(width).max(1);
    if shorter >= SHORTEST_SIDE {
        return [height, width];
    }
    // Rounded to the nearest, halves upwards.
    [height, width].map(|side| (2 * side * SHORTEST_SIDE + shorter) / (2 * shorter))
}

/// A length as libtorch takes it, which refuses the largest: no length of anything in memory exceeds `i64`.
pub(super) fn extent(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Checks the dimensions of images, repeats grey to three channels and moves them to the device.
pub(super) fn three_channels(images: &Tensor, device: Device) -> Result<Tensor, NetworkError> {
    let dims = images.size();
    match dims[..] {
        [_, 1 | 3, height, width] if height > 0 && width > 0 => {
            let images = images.f_to_device(device)?.f_to_kind(Kind::Float)?;
            Ok(images.f_expand([dims[0], 3, height, width], false)?)
        }
        _ => Err(NetworkError::Images { found: dims }),
    }
}

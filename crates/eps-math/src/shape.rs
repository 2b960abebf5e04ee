//! The shape of one image.

use serde::{Deserialize, Serialize};

/// Channels, height and width of one image; its pixels lie in row-major order, channel by channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Sides")]
pub struct Shape {
    /// Number of channels.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

/// A shape as it is written, before its sides are checked.
#[derive(Deserialize)]
#[serde(rename = "Shape", deny_unknown_fields)]
struct Sides {
    channels: usize,
    height: usize,
    width: usize,
}

impl TryFrom<Sides> for Shape {
    type Error = ShapeError;

    fn try_from(sides: Sides) -> Result<Self, ShapeError> {
        Self::new(sides.channels, sides.height, sides.width)
    }
}

/// Sides that no image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A zero side.
    #[error("image shape {0} has no pixels: every side must be at least 1")]
    Empty(Shape),
    /// More values than are taken.
    #[error(
        "image shape {0} has more than {max} values, the most that an image may have: check its sides, \
         or cut the image into tiles",
        max = Shape::MAX_LEN
    )]
    Large(Shape),
}

impl Shape {
    /// The most values that an image may have, 2²⁸: 2 GiB in f64, 9000×9000 pixels of three channels.
    pub const MAX_LEN: usize = 1 << 28;

    /// A shape with no empty side, of at most [`Shape::MAX_LEN`] values.
    ///
    /// # Errors
    /// [`ShapeError::Empty`] if a side is zero, [`ShapeError::Large`] if there are more values.
    pub fn new(channels: usize, height: usize, width: usize) -> Result<Self, ShapeError> {
        let shape = Self { channels, height, width };
        if [channels, height, width].contains(&0) {
            return Err(ShapeError::Empty(shape));
        }
        match height.checked_mul(width).and_then(|plane| plane.checked_mul(channels)) {
            Some(length) if length <= Self::MAX_LEN => Ok(shape),
            _ => Err(ShapeError::Large(shape)),
        }
    }

    /// Number of values, channels · height · width.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a shape has no empty side")]
    pub fn len(&self) -> usize {
        self.channels * self.plane()
    }

    /// Number of pixels of one channel, height · width.
    #[must_use]
    pub fn plane(&self) -> usize {
        self.height * self.width
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}, {}]", self.channels, self.height, self.width)
    }
}

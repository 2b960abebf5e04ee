//! The shape of one image.

use serde::{Deserialize, Serialize};

use crate::MathError;

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
    type Error = MathError;

    fn try_from(sides: Sides) -> Result<Self, MathError> {
        Self::new(sides.channels, sides.height, sides.width)
    }
}

impl Shape {
    /// The most values that an image may have, 2²⁸: 2 GiB in f64, 9000×9000 pixels of three channels.
    pub const MAX_LEN: usize = 1 << 28;

    /// A shape with no empty side, of at most [`Shape::MAX_LEN`] values.
    ///
    /// # Errors
    /// [`MathError::EmptyShape`] if a side is zero, [`MathError::LargeShape`] if there are more values.
    pub fn new(channels: usize, height: usize, width: usize) -> Result<Self, MathError> {
        let shape = Self { channels, height, width };
        if [channels, height, width].contains(&0) {
            return Err(MathError::EmptyShape(shape));
        }
        match height.checked_mul(width).and_then(|plane| plane.checked_mul(channels)) {
            Some(length) if length <= Self::MAX_LEN => Ok(shape),
            _ => Err(MathError::LargeShape(shape)),
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

//! What lies beyond the edges of an image.

use serde::{Deserialize, Serialize};

/// What a convolution finds beyond the edge of an image.
///
/// Of a row `a b c d`, three pixels to the left:
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Border {
    /// The other side of the image: `b c d | a b c d`.
    #[default]
    Circular,
    /// Zeros: `0 0 0 | a b c d`.
    Zero,
    /// The image mirrored at its edge pixel, which is not repeated: `d c b | a b c d`.
    Reflect,
    /// The image mirrored at its edge, the edge pixel repeated: `c b a | a b c d`.
    Symmetric,
    /// The edge pixel: `a a a | a b c d`.
    Replicate,
    /// Nothing: only what the kernel sees whole is measured, so that y is smaller than the image by rows − 1 and
    /// columns − 1. The image is the scene of which a camera sees a part.
    Valid,
}

impl Border {
    /// All borders.
    pub const ALL: [Self; 6] =
        [Self::Circular, Self::Zero, Self::Reflect, Self::Symmetric, Self::Replicate, Self::Valid];

    /// The name in files and commands.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Circular => "circular",
            Self::Zero => "zero",
            Self::Reflect => "reflect",
            Self::Symmetric => "symmetric",
            Self::Replicate => "replicate",
            Self::Valid => "valid",
        }
    }

    /// The border of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|border| border.name() == name)
    }

    /// The pixel of a row of `length` that lies at a position, which may be outside; none for 0.
    pub(super) fn pixel(self, position: isize, length: usize) -> Option<usize> {
        let n = length.cast_signed();
        let inside = (0..n).contains(&position);
        let index = match self {
            Self::Zero | Self::Valid => return inside.then_some(position.unsigned_abs()),
            Self::Circular => position.rem_euclid(n),
            Self::Replicate => position.clamp(0, n - 1),
            Self::Symmetric => {
                let folded = position.rem_euclid(2 * n);
                folded.min(2 * n - 1 - folded)
            }
            Self::Reflect if n == 1 => 0,
            Self::Reflect => {
                let folded = position.rem_euclid(2 * n - 2);
                folded.min(2 * n - 2 - folded)
            }
        };
        // Between 0 and n − 1.
        Some(index.unsigned_abs())
    }
}

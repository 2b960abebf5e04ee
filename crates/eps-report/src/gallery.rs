//! The pictures that a report shows, encoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eps_math::Shape;

/// The pictures of one setting: a column a kind, a row an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Gallery {
    /// The shape of the images.
    pub shape: Shape,
    /// The columns; each has as many pictures.
    pub columns: Vec<Column>,
    /// How the last column shows standard deviations, where it does.
    pub deviation: Option<ColourScale>,
}

/// One picture of each image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What the pictures show.
    pub label: String,
    /// PNG files, one a shown image.
    pub pictures: Vec<Vec<u8>>,
}

/// Colours for the numbers from 0 to an upper end.
#[derive(Debug, Clone, PartialEq)]
pub struct ColourScale {
    /// Colours of equal distance, as 0xRRGGBB.
    pub colours: Vec<u32>,
    /// The number at the upper end, on the scale [-1, 1].
    pub upper: f64,
}

impl Gallery {
    /// How many images are shown.
    #[must_use]
    pub fn images(&self) -> usize {
        self.columns.first().map_or(0, |column| column.pictures.len())
    }
}

/// A picture as the address of an image in a page.
pub(crate) fn data_uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_embedded() {
        assert_eq!(data_uri(b"\x89PNG\r\n"), "data:image/png;base64,iVBORw0K");
    }
}

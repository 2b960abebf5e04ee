//! How a picture is to be turned for display, as EXIF data of cameras and telephones tell it.

/// The tag of the orientation in EXIF's first directory.
const TAG: u16 = 0x0112;

/// One of the eight ways to turn and mirror a rectangle; see the table of the EXIF standard (version 2.32,
/// section 4.6.4, tag Orientation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orientation(u8);

impl Orientation {
    pub(crate) const AS_STORED: Self = Self(1);

    /// What EXIF data say; as stored where they say nothing, or nothing that can be read.
    pub(crate) fn of_exif(exif: &[u8]) -> Self {
        let tag = Self::find(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
        tag.map_or(Self::AS_STORED, Self::of_value)
    }

    /// What the value of the tag says, EXIF's or TIFF's; as stored where it is none of the eight.
    pub(crate) fn of_value(value: u32) -> Self {
        let known = u8::try_from(value).ok().filter(|value| (1..=8).contains(value));
        known.map_or(Self::AS_STORED, Self)
    }

    fn find(tiff: &[u8]) -> Option<u32> {
        let is_big = match tiff.get(..4)? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        let short = |at: usize| {
            let bytes = *tiff.get(at..)?.first_chunk()?;
            Some(if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
        };
        let long = |at: usize| {
            let bytes = *tiff.get(at..)?.first_chunk()?;
            Some(if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
        };
        let directory = long(4)? as usize;
        let entries = usize::from(short(directory)?);
        let entry = (0..entries)
            .map(|entry| directory + 2 + 12 * entry)
            .find(|&entry| short(entry) == Some(TAG))?;
        match short(entry + 2)? {
            3 => Some(u32::from(short(entry + 8)?)),
            4 => long(entry + 8),
            _ => None,
        }
    }

    /// Pixels as they are to be shown, with their width and height.
    ///
    /// # Shapes
    ///
    /// `pixels: [h, w, channels]`, before and after
    pub(crate) fn turn<T: Copy>(
        self,
        (w, h): (usize, usize),
        channels: usize,
        pixels: Vec<T>,
    ) -> ((usize, usize), Vec<T>) {
        if self == Self::AS_STORED {
            return ((w, h), pixels);
        }
        let (width, height) = if self.0 >= 5 { (h, w) } else { (w, h) };
        let mut turned = Vec::with_capacity(pixels.len());
        for row in 0..height {
            for column in 0..width {
                let (r, c) = match self.0 {
                    2 => (row, w - 1 - column),
                    3 => (h - 1 - row, w - 1 - column),
                    4 => (h - 1 - row, column),
                    5 => (column, row),
                    6 => (h - 1 - column, row),
                    7 => (h - 1 - column, w - 1 - row),
                    _ => (column, w - 1 - row),
                };
                let at = (r * w + c) * channels;
                turned.extend_from_slice(&pixels[at..at + channels]);
            }
        }
        ((width, height), turned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EXIF data of one entry, of either byte order.
    fn exif(value: u16, big: bool) -> Vec<u8> {
        let short = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let long = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let start: &[u8] = if big { b"MM\0*" } else { b"II*\0" };
        let parts = [&short(1)[..], &short(TAG), &short(3), &long(1), &short(value), &[0; 6]];
        [b"Exif\0\0", start, &long(8), &parts.concat()].concat()
    }

    #[test]
    fn every_orientation_turns_as_viewers_do() {
        // 1 2 3
        // 4 5 6
        let stored = vec![1, 2, 3, 4, 5, 6];
        // What Pillow's ImageOps.exif_transpose makes of it.
        let shown: [(u16, usize, [u8; 6]); 8] = [
            (1, 3, [1, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (3, 3, [6, 5, 4, 3, 2, 1]),
            (4, 3, [4, 5, 6, 1, 2, 3]),
            (5, 2, [1, 4, 2, 5, 3, 6]),
            (6, 2, [4, 1, 5, 2, 6, 3]),
            (7, 2, [6, 3, 5, 2, 4, 1]),
            (8, 2, [3, 6, 2, 5, 1, 4]),
        ];
        for (value, width, bytes) in shown {
            for big in [false, true] {
                let orientation = Orientation::of_exif(&exif(value, big));
                let turned = orientation.turn((3, 2), 1, stored.clone());
                assert_eq!(turned, ((width, 6 / width), bytes.to_vec()), "{value}");
            }
        }
        let turned = Orientation(7).turn((2, 1), 3, vec!['r', 'g', 'b', 'R', 'G', 'B']);
        assert_eq!(turned, ((1, 2), vec!['R', 'G', 'B', 'r', 'g', 'b']));
    }

    #[test]
    fn exif_data_that_say_nothing_turn_nothing() {
        let good = exif(6, false);
        assert_eq!(Orientation::of_exif(&good), Orientation(6));
        for cut in 0..good.len() - 6 {
            assert_eq!(Orientation::of_exif(&good[..cut]), Orientation::AS_STORED, "{cut}");
        }
        for bad in [exif(0, true), exif(9, false), b"Exif\0\0II*\0\xff\xff\xff\xff".to_vec()] {
            assert_eq!(Orientation::of_exif(&bad), Orientation::AS_STORED);
        }
    }
}

//! BMP pictures without compression.
//!
//! Palettes of 1, 4 and 8 bits, 24 and 32 bits are read, of Windows' and of OS/2's first header. The rows are
//! those of Microsoft's `BITMAPINFOHEADER`: from the bottom up, each filled up to four bytes, blue first.

use std::path::Path;

use crate::DataError;
use crate::orientation::Orientation;
use crate::picture_size::check_size;
use crate::stored_picture::StoredPicture;

const EXPORT_AGAIN: &str = "the file is damaged or of a rare kind: export it again, as a PNG or as \
                            an uncompressed BMP of 24 bits";

/// The size of OS/2's header.
const OS2: usize = 12;

/// The size of Windows' first header.
const WINDOWS: usize = 40;

/// Colours are bytes of a pixel as masks tell.
const BIT_FIELDS: usize = 3;

/// A file's numbers, all of them little-endian.
struct Content<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

impl Content<'_> {
    fn malformed(&self, problem: String) -> DataError {
        DataError::malformed(self.path, problem, EXPORT_AGAIN)
    }

    /// `N` bytes at a place.
    fn at<const N: usize>(&self, place: usize) -> Result<[u8; N], DataError> {
        let found = self.bytes.get(place..).and_then(|rest| rest.first_chunk().copied());
        found.ok_or_else(|| {
            let length = self.bytes.len();
            self.malformed(format!("the BMP ends after {length} bytes, inside its header"))
        })
    }

    fn short(&self, place: usize) -> Result<usize, DataError> {
        Ok(usize::from(u16::from_le_bytes(self.at(place)?)))
    }

    fn long(&self, place: usize) -> Result<usize, DataError> {
        let value = u32::from_le_bytes(self.at(place)?);
        usize::try_from(value)
            .map_err(|_| self.malformed(format!("its header has the number {value}")))
    }

    fn signed(&self, place: usize) -> Result<i32, DataError> {
        Ok(i32::from_le_bytes(self.at(place)?))
    }
}

/// What a header says.
struct Header {
    width: usize,
    height: usize,
    from_the_top: bool,
    bits: usize,
    pixels: Pixels,
}

/// How a pixel's colours are found.
enum Pixels {
    /// By an index into red, green and blue.
    Palette(Vec<[u8; 3]>),
    /// At these bytes of a pixel: red, green, blue, and transparency where there is any.
    Bytes(Vec<usize>),
}

/// Decodes a BMP file; `path` names it in messages, and a sample will need `bytes` of memory.
pub(crate) fn decode(
    path: &Path,
    content: &[u8],
    bytes: usize,
) -> Result<StoredPicture, DataError> {
    let content = Content { path, bytes: content };
    let Header { width, height, from_the_top, bits, pixels } = header(&content)?;
    let channels = match &pixels {
        Pixels::Palette(_) => 3,
        Pixels::Bytes(places) => places.len(),
    };
    let count = check_size(path, (width, height), channels, bytes)?;
    let start = content.long(10)?;
    let stride = (bits * width).div_ceil(32) * 4;
    let end = stride.checked_mul(height).and_then(|length| length.checked_add(start));
    let Some(rows) = end.and_then(|end| content.bytes.get(start..end)) else {
        return Err(content.malformed(format!(
            "the BMP has {} bytes, and {height} rows of {stride} bytes are to begin at byte {start}",
            content.bytes.len()
        )));
    };
    let mut samples = Vec::with_capacity(count);
    for row in 0..height {
        let line = if from_the_top { row } else { height - 1 - row };
        let line = &rows[line * stride..(line + 1) * stride];
        match &pixels {
            Pixels::Bytes(places) => {
                for pixel in line.chunks_exact(bits / 8).take(width) {
                    samples.extend(places.iter().map(|&place| u16::from(pixel[place])));
                }
            }
            Pixels::Palette(colours) => {
                for column in 0..width {
                    let shift = 8 - bits - column * bits % 8;
                    let index = usize::from(line[column * bits / 8] >> shift) & ((1 << bits) - 1);
                    let colour = colours.get(index).ok_or_else(|| {
                        content.malformed(format!(
                            "the pixel in row {row}, column {column} has colour {index} of a palette of {}",
                            colours.len()
                        ))
                    })?;
                    samples.extend(colour.map(u16::from));
                }
            }
        }
    }
    let is_grey = matches!(&pixels, Pixels::Palette(_))
        && samples.chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2]);
    let (channels, samples) = match is_grey {
        true => (1, samples.into_iter().step_by(3).collect()),
        false => (channels, samples),
    };
    let orientation = Orientation::AS_STORED;
    let picture = StoredPicture::of_samples((width, height), channels, samples, u16::from(u8::MAX));
    Ok(StoredPicture { orientation, ..picture })
}

fn header(content: &Content<'_>) -> Result<Header, DataError> {
    let size = content.long(14)?;
    let (width, height, bits, compression) = match size {
        OS2 => (content.short(18)?, content.short(20)?, content.short(24)?, 0),
        WINDOWS.. => {
            let (width, height) = (content.signed(18)?, content.signed(22)?);
            let width = usize::try_from(width)
                .map_err(|_| content.malformed(format!("its width is {width} pixels")))?;
            let height = usize::try_from(height.unsigned_abs())
                .map_err(|_| content.malformed(format!("its height is {height} pixels")))?;
            (width, height, content.short(28)?, content.long(30)?)
        }
        _ => return Err(content.malformed(format!("the BMP's header has {size} bytes"))),
    };
    let from_the_top = size >= WINDOWS && content.signed(22)? < 0;
    let pixels = match (bits, compression) {
        (1 | 4 | 8, 0) => Pixels::Palette(palette(content, size, bits)?),
        (24, 0) => Pixels::Bytes(vec![2, 1, 0]),
        // The fourth byte means nothing.
        (32, 0) => Pixels::Bytes(vec![2, 1, 0]),
        (32, BIT_FIELDS) => Pixels::Bytes(masks(content, size)?),
        _ => {
            return Err(content.malformed(format!(
                "the BMP has {bits} bits a pixel and compression {compression}; 1, 4, 8, 24 and 32 bits without \
                 compression (0) are read"
            )));
        }
    };
    Ok(Header { width, height, from_the_top, bits, pixels })
}

/// The colours of a palette; files may have fewer than their indices could name.
fn palette(content: &Content<'_>, size: usize, bits: usize) -> Result<Vec<[u8; 3]>, DataError> {
    let most = 1 << bits;
    let used = if size == OS2 { 0 } else { content.long(46)? };
    let count = if used == 0 { most } else { used.min(most) };
    let (start, entry) = (14 + size, if size == OS2 { 3 } else { 4 });
    let colour = |i: usize| content.at::<3>(start + i * entry).map(|[b, g, r]| [r, g, b]);
    (0..count).map(colour).collect()
}

/// The bytes of a pixel that masks of whole bytes tell.
fn masks(content: &Content<'_>, size: usize) -> Result<Vec<usize>, DataError> {
    let byte = |place: usize| {
        let mask = u32::from_le_bytes(content.at(place)?);
        (0..4).find(|byte| mask == 0xff << (8 * byte)).ok_or_else(|| {
            content.malformed(format!("the mask of a colour is {mask:#010x}, which is no byte"))
        })
    };
    let mut places = vec![byte(54)?, byte(58)?, byte(62)?];
    // The first header ends before the mask of transparency.
    if size >= 56 && content.long(66)? != 0 {
        places.push(byte(66)?);
    }
    Ok(places)
}

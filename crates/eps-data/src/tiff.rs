//! TIFF pictures of 8 and 16 bits, grey or red, green and blue, and masks of one bit.

use std::io::Cursor;
use std::path::Path;

use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::colortype::{ColorType, Gray8, Gray16, RGB8, RGB16, RGBA8, RGBA16};
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, TiffValue};
use tiff::tags::Tag;
use tiff::{ColorType as Colours, TiffError, TiffResult};

use crate::DataError;
use crate::orientation::Orientation;
use crate::picture_size::{MOST_VALUES, check_size};
use crate::stored_picture::StoredPicture;

const CONVERT: &str = "convert it to 8-bit or 16-bit grey or RGB, with deflate, LZW or no compression; values \
                       of other types are given as an array: numpy.save(\"y.npy\", tifffile.imread(FILE))";

const ONE_PAGE: &str = "export one page as a TIFF or PNG of its own, or give them all as an array [N, 1, H, W] or \
                        [N, 3, H, W] (.npy) in [-1, 1]";

/// The bits of the tag NewSubfileType that say that a page is a smaller version or a mask of another.
const NO_PAGE: u32 = 0b101;

/// The value of the tag ExtraSamples that says that a channel is transparency, by which the colours have been multiplied.
const ASSOCIATED: u16 = 1;

/// That of transparency beside colours as they are.
const UNASSOCIATED: u16 = 2;

/// The value of the tag PlanarConfiguration that says that channels are stored one by one.
const PLANES: u16 = 2;

/// Decodes a TIFF file; `path` names it in messages, and a sample will need `bytes` of memory.
pub(crate) fn decode(
    path: &Path,
    content: &[u8],
    bytes: usize,
) -> Result<StoredPicture, DataError> {
    let failed = |error: TiffError| {
        let problem = format!("the TIFF cannot be decoded ({error})");
        match error {
            TiffError::UnsupportedError(_) => DataError::malformed(path, problem, CONVERT),
            _ => DataError::malformed(
                path,
                problem,
                "the file is damaged or of a rare kind: export it again, as a PNG for example",
            ),
        }
    };
    let other = |problem: String| DataError::malformed(path, problem, CONVERT);
    // Values of 16 bits at most, whose number is checked below.
    let mut limits = Limits::default();
    limits.decoding_buffer_size = 2 * MOST_VALUES;
    limits.intermediate_buffer_size = 2 * MOST_VALUES;
    let decoder = Decoder::new(Cursor::new(content)).map_err(failed)?;
    let mut decoder = decoder.with_limits(limits);

    let (width, height) = decoder.dimensions().map_err(failed)?;
    let size = (width as usize, height as usize);
    let colours = decoder.colortype().map_err(failed)?;
    let extra: Vec<u16> =
        decoder.find_tag_unsigned_vec(Tag::ExtraSamples).map_err(failed)?.unwrap_or_default();
    let (channels, bits) = match colours {
        Colours::Gray(bits @ (1 | 8 | 16)) => (1, bits),
        Colours::RGB(bits @ (8 | 16)) => (3, bits),
        Colours::RGBA(bits @ (8 | 16)) => (4, bits),
        Colours::Multiband { bit_depth: bits @ (8 | 16), num_samples: 2 }
            if matches!(extra[..], [ASSOCIATED | UNASSOCIATED]) =>
        {
            (2, bits)
        }
        kind => {
            return Err(other(format!("the TIFF's colours are {kind:?}, their bits in brackets")));
        }
    };
    let count = check_size(path, size, channels, bytes)?;
    let profile = decoder.find_tag(Tag::IccProfile).map_err(failed)?;
    let profile = profile.and_then(|profile| profile.into_u8_vec().ok());
    let orientation: Option<u32> = decoder.find_tag_unsigned(Tag::Orientation).map_err(failed)?;
    let orientation = orientation.map_or(Orientation::AS_STORED, Orientation::of_value);

    let planes: Option<u16> =
        decoder.find_tag_unsigned(Tag::PlanarConfiguration).map_err(failed)?;
    let mut result = DecodingResult::U8(Vec::new());
    decoder.read_image_to_buffer(&mut result).map_err(failed)?;
    let (samples, largest): (Vec<u16>, u16) = match result {
        DecodingResult::U8(packed) if bits == 1 => (unpacked(&packed, size.0), 255),
        DecodingResult::U8(bytes) => (bytes.into_iter().map(u16::from).collect(), 255),
        DecodingResult::U16(samples) => (samples, u16::MAX),
        _ => return Err(other("the TIFF's values are signed or no whole numbers".to_owned())),
    };
    if samples.len() != count {
        let found = samples.len();
        return Err(other(format!(
            "the TIFF has {found} values of {width} x {height} pixels of {channels} channels"
        )));
    }
    let mut samples =
        if planes == Some(PLANES) { interleaved(&samples, channels) } else { samples };
    if extra == [ASSOCIATED] {
        samples.chunks_exact_mut(channels).for_each(|pixel| divide_by_alpha(pixel, largest));
    }
    let mut pages = 1;
    while decoder.more_images() {
        decoder.next_image().map_err(failed)?;
        let kind: Option<u32> = decoder.find_tag_unsigned(Tag::NewSubfileType).map_err(failed)?;
        pages += usize::from(kind.unwrap_or(0) & NO_PAGE == 0);
    }
    if pages > 1 {
        return Err(DataError::malformed(path, format!("the TIFF has {pages} pages"), ONE_PAGE));
    }
    let picture = StoredPicture::of_samples(size, channels, samples, largest);
    Ok(StoredPicture { orientation, profile, ..picture })
}

/// A TIFF file of a picture in all of its bits, without losses.
pub(crate) fn encode(picture: &StoredPicture) -> Result<Vec<u8>, DataError> {
    let StoredPicture { width, height, channels, samples, largest, profile, .. } = picture;
    let failed = |error: TiffError| {
        let sides = format!("{width} x {height} pixels");
        DataError::invalid("the size of a TIFF picture", sides, error.to_string())
    };
    let size = [*width, *height].map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    let profile = profile.as_deref();
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file)
        .map_err(failed)?
        .with_compression(Compression::Deflate(DeflateLevel::default()));
    let bytes = picture.bytes();
    match (channels, largest) {
        (1, 255) => write::<Gray8>(&mut encoder, size, &bytes, profile),
        (1, _) => write::<Gray16>(&mut encoder, size, samples, profile),
        (3, 255) => write::<RGB8>(&mut encoder, size, &bytes, profile),
        (3, _) => write::<RGB16>(&mut encoder, size, samples, profile),
        (4, 255) => write::<RGBA8>(&mut encoder, size, &bytes, profile),
        (4, _) => write::<RGBA16>(&mut encoder, size, samples, profile),
        (other, _) => {
            return Err(DataError::invalid(
                "the number of channels of a TIFF picture",
                *other,
                "1 (grey), 3 (red, green, blue) and 4 (with transparency) are written",
            ));
        }
    }
    .map_err(failed)?;
    Ok(file.into_inner())
}

/// Writes the picture of a file, with its colour profile.
fn write<C: ColorType>(
    encoder: &mut TiffEncoder<&mut Cursor<Vec<u8>>>,
    [width, height]: [u32; 2],
    samples: &[C::Inner],
    profile: Option<&[u8]>,
) -> TiffResult<()>
where
    [C::Inner]: TiffValue,
{
    let mut picture = encoder.new_image::<C>(width, height)?;
    if let Some(profile) = profile {
        picture.encoder().write_tag(Tag::IccProfile, profile)?;
    }
    if C::BITS_PER_SAMPLE.len() == 4 {
        picture.encoder().write_tag(Tag::ExtraSamples, UNASSOCIATED)?;
    }
    picture.write_data(samples)
}

/// The pixels of rows that hold eight in a byte, the first in its highest bit: 0 or 255.
fn unpacked(rows: &[u8], width: usize) -> Vec<u16> {
    let pixel = |row: &[u8], column: usize| row[column / 8] >> (7 - column % 8) & 1;
    rows.chunks_exact(width.div_ceil(8))
        .flat_map(|row| (0..width).map(move |column| 255 * u16::from(pixel(row, column))))
        .collect()
}

/// Divides the colours of a pixel by its last sample, its transparency.
fn divide_by_alpha(pixel: &mut [u16], largest: u16) {
    let [colours @ .., alpha] = pixel else { return };
    for colour in colours.iter_mut().filter(|_| *alpha > 0) {
        let (alpha, largest) = (u32::from(*alpha), u32::from(largest));
        let divided = (u32::from(*colour) * largest + alpha / 2) / alpha;
        *colour = u16::try_from(divided.min(largest)).unwrap_or(u16::MAX);
    }
}

/// `[H, W, channels]` of `[channels, H, W]`.
fn interleaved(planes: &[u16], channels: usize) -> Vec<u16> {
    let plane = planes.len() / channels;
    (0..planes.len()).map(|i| planes[i % channels * plane + i / channels]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_divided_by_a_transparency_that_they_were_multiplied_by() {
        let samples = vec![100, 50, 128, 128, 10, 20, 30, 255, 0, 0, 0, 0];
        let picture = StoredPicture::of_samples((3, 1), 4, samples.clone(), 255);
        let mut file = encode(&picture).unwrap();
        let path = Path::new("a.tif");
        assert_eq!(decode(path, &file, 4).unwrap().samples, samples);
        // The entry of ExtraSamples: tag, type, count, value.
        let entry: Vec<u8> =
            [338_u16, 3, 1, 0, UNASSOCIATED].into_iter().flat_map(u16::to_le_bytes).collect();
        let at = file.windows(10).position(|bytes| bytes == entry).unwrap();
        file[at + 8] = 1;
        let divided = decode(path, &file, 4).unwrap().samples;
        assert_eq!(divided, [199, 100, 255, 128, 10, 20, 30, 255, 0, 0, 0, 0]);
    }
}

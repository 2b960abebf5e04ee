//! TIFF pictures of 8 and 16 bits, grey or red, green and blue, and masks of one bit; and arrays of numbers as TIFF files.
//!
//! Unsigned values of up to 16 bits are a picture, from black to white. What is float, signed or of 32 bits and more is an array of
//! numbers that are taken as they are, neither scaled nor turned: `[H, W]`, or `[3, H, W]` of red, green and blue.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
use tiff::encoder::colortype::{ColorType, Gray8, Gray16, RGB8, RGB16, RGBA8, RGBA16};
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, TiffValue};
use tiff::tags::Tag;
use tiff::{ColorType as Colours, TiffError, TiffResult};

use crate::DataError;
use crate::array::{Array, Needed};
use crate::error::require_finite;
use crate::orientation::Orientation;
use crate::panics::without_panics;
use crate::picture_size::{MOST_VALUES, check_size};
use crate::stored_picture::StoredPicture;

const CONVERT: &str = "convert it to 8-bit or 16-bit grey or RGB, with deflate, LZW or no compression; values \
                       of other types are given as an array: numpy.save(\"y.npy\", tifffile.imread(FILE))";

/// For whoever imports pictures.
const AS_NUMBERS: &str = "`eps data arrays` makes a data set of TIFFs of numbers, and keeps their values; otherwise convert it \
                          to 8-bit or 16-bit grey or RGB";

const AS_NPY: &str = "save it as one channel or as RGB, or as an NPY array: numpy.save(\"y.npy\", tifffile.imread(FILE))";

const ONE_PAGE_OF_NUMBERS: &str = "save one page as a TIFF of its own, or give them all as an array [N, 1, H, W]: \
                                   numpy.save(\"y.npy\", tifffile.imread(FILE)[:, None])";

const ONE_PAGE_OF_RGB_NUMBERS: &str =
    "save one page as a TIFF of its own, or give them all as an array [N, 3, H, W] (.npy)";

const INTERLEAVE: &str = "save it with its channels side by side: tifffile.imwrite(\"new.tif\", \
                          numpy.moveaxis(tifffile.imread(FILE), 0, -1), photometric=\"rgb\", planarconfig=\"contig\")";

const ONE_PAGE: &str = "export one page as a TIFF or PNG of its own, or give them all as an array [N, 1, H, W] or \
                        [N, 3, H, W] (.npy) in [-1, 1]";

/// The bits of the tag NewSubfileType that say that a page is a smaller version or a mask of another.
const NO_PAGE: u32 = 0b101;

/// The value of the tag ExtraSamples that says that a channel is transparency, by which the colours have been multiplied.
const ASSOCIATED: u16 = 1;

/// That of transparency beside colours as they are.
const UNASSOCIATED: u16 = 2;

/// The values of the tag SampleFormat that say that values are whole and not negative: they are, and nothing is said.
const UNSIGNED: [u16; 2] = [1, 4];

/// The value of the tag PhotometricInterpretation that says that the largest value is black.
const WHITE_IS_ZERO: u16 = 0;

/// The value of the tag PlanarConfiguration that says that channels are stored one by one.
const PLANES: u16 = 2;

/// The tag ImageDepth, by which a page has several planes.
const DEPTH: Tag = Tag::Unknown(32997);

/// Decodes a TIFF file; `path` names it in messages, and a sample will need `bytes` of memory.
pub(crate) fn decode(
    path: &Path,
    content: &[u8],
    bytes: usize,
) -> Result<StoredPicture, DataError> {
    let failed = |error| undecoded(path, error, CONVERT);
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
            let problem = format!("the TIFF's colours are {kind:?}, their bits in brackets");
            let remedy = match kind {
                Colours::Gray(32 | 64) | Colours::RGB(32 | 64) => AS_NUMBERS,
                _ => CONVERT,
            };
            return Err(DataError::malformed(path, problem, remedy));
        }
    };
    if channels == 3 && !extra.is_empty() {
        return Err(other(format!(
            "the TIFF's pixels have more values than red, green and blue ({} more), and the file does not say that they are transparency",
            extra.len()
        )));
    }
    let count = check_size(path, size, channels, bytes)?;
    let planes: Option<u16> =
        decoder.find_tag_unsigned(Tag::PlanarConfiguration).map_err(failed)?;
    check_tiles(path, &mut decoder, planes.filter(|_| channels > 1), size)?;
    let page = (count, count * usize::from(bits) / 8);
    if let Some(planes) = stacked_planes(&mut decoder, page, content.len() as u64) {
        return Err(of_planes(path, planes, ONE_PAGE));
    }
    let profile = decoder.find_tag(Tag::IccProfile).map_err(failed)?;
    let profile = profile.and_then(|profile| profile.into_u8_vec().ok());
    let orientation: Option<u32> = decoder.find_tag_unsigned(Tag::Orientation).map_err(failed)?;
    let orientation = orientation.map_or(Orientation::AS_STORED, Orientation::of_value);

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
    let pages = pages(&mut decoder).map_err(failed)?;
    if pages > 1 {
        return Err(DataError::malformed(path, format!("the TIFF has {pages} pages"), ONE_PAGE));
    }
    let picture = StoredPicture::of_samples(size, channels, samples, largest);
    Ok(StoredPicture { orientation, profile, ..picture })
}

/// The number of pages, of which the decoder is at the first.
fn pages<R: Read + Seek>(decoder: &mut Decoder<R>) -> TiffResult<usize> {
    let mut pages = 1;
    while decoder.more_images() {
        decoder.next_image()?;
        let kind: Option<u32> = decoder.find_tag_unsigned(Tag::NewSubfileType)?;
        pages += usize::from(kind.unwrap_or(0) & NO_PAGE == 0);
    }
    Ok(pages)
}

/// Fails where the channels lie one by one in tiles of which some reach beyond the picture, which the decoder does not read.
fn check_tiles<R: Read + Seek>(
    path: &Path,
    decoder: &mut Decoder<R>,
    planes: Option<u16>,
    (width, height): (usize, usize),
) -> Result<(), DataError> {
    if planes != Some(PLANES) || decoder.get_chunk_type() != ChunkType::Tile {
        return Ok(());
    }
    let (columns, rows) = decoder.chunk_dimensions();
    if width.is_multiple_of(columns as usize) && height.is_multiple_of(rows as usize) {
        return Ok(());
    }
    let problem = format!(
        "the TIFF of {width} x {height} pixels stores its channels one by one in tiles of {columns} x {rows}, which reach beyond its \
         edges, and such files are not read"
    );
    Err(DataError::malformed(path, problem, INTERLEAVE))
}

/// The number of planes of the page that the decoder is at, where there are several: it has a depth, or ImageJ or tifffile laid out a
/// whole stack behind one directory and described it.
///
/// The page has so many values and, without compression, bytes. A description may outlive the stack, in a page that was taken from
/// it: it counts where the file has the bytes of all planes.
fn stacked_planes<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    (values, bytes): (usize, usize),
    length: u64,
) -> Option<u64> {
    let depth: Option<u64> = decoder.find_tag_unsigned(DEPTH).ok().flatten();
    if depth.is_some_and(|depth| depth > 1) {
        return depth;
    }
    let description = decoder.find_tag(Tag::ImageDescription).ok().flatten()?.into_string().ok()?;
    let planes = described_planes(&description, values as u64)?;
    let needed = planes.checked_mul(bytes as u64)?;
    (planes > 1 && length >= needed && !decoder.more_images()).then_some(planes)
}

/// The number of planes that a description tells of pages of so many values: ImageJ's line `images=4`, or tifffile's JSON
/// `{"shape": [4, 28, 28]}`.
fn described_planes(description: &str, values: u64) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Described {
        shape: Vec<u64>,
    }
    if description.starts_with("ImageJ=") {
        let mut lines = description.lines();
        return lines.find_map(|line| line.trim().strip_prefix("images=")?.parse().ok());
    }
    let Described { shape } = serde_json::from_str(description).ok()?;
    let all = shape.iter().try_fold(1_u64, |product, side| product.checked_mul(*side))?;
    all.checked_div(values)
}

fn of_planes(path: &Path, planes: u64, remedy: &'static str) -> DataError {
    let problem = format!("the TIFF is a stack of {planes} planes in one page");
    DataError::malformed(path, problem, remedy)
}

/// Why a file was not decoded: it is of a kind that is not read, or damaged.
fn undecoded(path: &Path, error: TiffError, convert: &'static str) -> DataError {
    let problem = format!("the TIFF cannot be decoded ({error})");
    match error {
        TiffError::UnsupportedError(_) => DataError::malformed(path, problem, convert),
        _ => DataError::malformed(
            path,
            problem,
            "the file is damaged or of a rare kind: export it again, as a PNG for example",
        ),
    }
}

/// Whether a file is a TIFF of numbers and no picture: of floats, of signed values, or of 32 bits and more. What cannot be opened or is
/// damaged is none, and its reader says why.
pub(crate) fn holds_numbers(path: &Path) -> bool {
    let are_numbers = |file| -> TiffResult<bool> {
        let mut decoder = Decoder::new(BufReader::new(file))?;
        let format: Option<Vec<u16>> = decoder.find_tag_unsigned_vec(Tag::SampleFormat)?;
        let bits: Option<Vec<u16>> = decoder.find_tag_unsigned_vec(Tag::BitsPerSample)?;
        let first = |values: Option<Vec<u16>>| values.and_then(|values| values.first().copied());
        Ok(first(format).is_some_and(|format| !UNSIGNED.contains(&format))
            || first(bits).is_some_and(|bits| bits >= 32))
    };
    let found = without_panics(path, || {
        eps_files::require_regular(path)?;
        let file = File::open(path).map_err(DataError::io(path, "open"))?;
        are_numbers(file).map_err(|error| undecoded(path, error, AS_NPY))
    });
    found.unwrap_or(false)
}

/// Reads a TIFF file of numbers as they are.
///
/// # Shapes
///
/// `[H, W]` of one channel, `[3, H, W]` of red, green and blue
pub(crate) fn read_numbers(path: &Path, needed: Needed) -> Result<Array, DataError> {
    let array = without_panics(path, || decode_numbers(path))?;
    if needed != Needed::WithGaps {
        require_finite(path, "the array", &array.values)?;
    }
    Ok(array)
}

fn decode_numbers(path: &Path) -> Result<Array, DataError> {
    let failed = |error| undecoded(path, error, AS_NPY);
    let other = |problem: String| DataError::malformed(path, problem, AS_NPY);
    let file = File::open(path).map_err(DataError::io(path, "open"))?;
    let length = file.metadata().map_err(DataError::io(path, "read"))?.len();
    let mut decoder = Decoder::new(BufReader::new(file)).map_err(failed)?;
    let (width, height) = decoder.dimensions().map_err(failed)?;
    let size @ (width, height) = (width as usize, height as usize);
    let (channels, bits) = match decoder.colortype().map_err(failed)? {
        Colours::Gray(bits) => (1, bits),
        Colours::RGB(bits) => (3, bits),
        kind => {
            return Err(other(format!(
                "the TIFF holds numbers as {kind:?}, which are neither one channel nor red, green and blue"
            )));
        }
    };
    // The decoder would turn them round.
    let photometric: Option<u16> =
        decoder.find_tag_unsigned(Tag::PhotometricInterpretation).map_err(failed)?;
    if photometric == Some(WHITE_IS_ZERO) {
        return Err(DataError::malformed(
            path,
            "the TIFF's numbers are marked as larger where it is darker (white is zero)",
            "save it again with black as zero, in tifffile photometric=\"minisblack\"",
        ));
    }
    let stored = usize::from(bits).div_ceil(8);
    let count = check_size(path, size, channels, size_of::<f64>() + stored)?;
    let mut limits = Limits::default();
    // Values of tags count as well, which may be more than those of a small picture.
    limits.decoding_buffer_size = limits.decoding_buffer_size.max(count * stored);
    limits.intermediate_buffer_size = limits.intermediate_buffer_size.max(count * stored);
    let mut decoder = decoder.with_limits(limits);
    let planes: Option<u16> =
        decoder.find_tag_unsigned(Tag::PlanarConfiguration).map_err(failed)?;
    check_tiles(path, &mut decoder, planes.filter(|_| channels > 1), size)?;
    let one_page = if channels == 1 { ONE_PAGE_OF_NUMBERS } else { ONE_PAGE_OF_RGB_NUMBERS };
    if let Some(planes) = stacked_planes(&mut decoder, (count, count * stored), length) {
        return Err(of_planes(path, planes, one_page));
    }
    let mut result = DecodingResult::U8(Vec::new());
    decoder.read_image_to_buffer(&mut result).map_err(failed)?;
    let values = numbers(result);
    if values.len() != count {
        let found = values.len();
        return Err(other(format!(
            "the TIFF has {found} values of {width} x {height} pixels of {channels} channels"
        )));
    }
    let pages = pages(&mut decoder).map_err(failed)?;
    if pages > 1 {
        let problem = format!("the TIFF has {pages} pages of numbers");
        return Err(DataError::malformed(path, problem, one_page));
    }
    if channels == 1 {
        return Ok(Array { dims: vec![height, width], values });
    }
    let values = if planes == Some(PLANES) {
        values
    } else {
        let plane = |channel| values.iter().skip(channel).step_by(channels).copied();
        (0..channels).flat_map(plane).collect()
    };
    Ok(Array { dims: vec![channels, height, width], values })
}

/// Numbers of any type; integers beyond 2⁵³ are rounded.
fn numbers(result: DecodingResult) -> Vec<f64> {
    fn of<T: Into<f64>>(values: Vec<T>) -> Vec<f64> {
        values.into_iter().map(Into::into).collect()
    }
    match result {
        DecodingResult::U8(values) => of(values),
        DecodingResult::U16(values) => of(values),
        DecodingResult::U32(values) => of(values),
        DecodingResult::U64(values) => values.into_iter().map(|value| value as f64).collect(),
        DecodingResult::I8(values) => of(values),
        DecodingResult::I16(values) => of(values),
        DecodingResult::I32(values) => of(values),
        DecodingResult::I64(values) => values.into_iter().map(|value| value as f64).collect(),
        DecodingResult::F16(values) => of(values),
        DecodingResult::F32(values) => of(values),
        DecodingResult::F64(values) => values,
    }
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
    use std::fs;
    use std::path::PathBuf;

    use tiff::encoder::colortype::{Gray32, Gray32Float, GrayI16, RGB32Float};

    use super::*;
    use crate::array_file::is_picture;
    use crate::mask::read_mask;
    use crate::operator_file::read_kernel;

    /// Writes pages of one kind into `a.tif` of a folder.
    fn file<C: ColorType>(folder: &Path, size: [u32; 2], pages: &[&[C::Inner]]) -> PathBuf
    where
        [C::Inner]: TiffValue,
    {
        let path = folder.join("a.tif");
        let mut encoder = TiffEncoder::new(fs::File::create(&path).unwrap()).unwrap();
        for page in pages {
            encoder.write_image::<C>(size[0], size[1], page).unwrap();
        }
        path
    }

    #[test]
    fn numbers_are_taken_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let read = |path: &Path| {
            assert!(!is_picture(path));
            let (array, notes) = Array::read_with_notes(path, "y").unwrap();
            assert_eq!(notes, [""; 0]);
            (array.dims, array.values)
        };
        let path = file::<Gray32Float>(folder, [3, 2], &[&[0.5, -1.25, 300.0, 4.0, 5.0, 0.0]]);
        assert_eq!(read(&path), (vec![2, 3], vec![0.5, -1.25, 300.0, 4.0, 5.0, 0.0]));
        // As an array is, and not as a picture, it is no weight of sum 1.
        let kernel = read_kernel(&path, "kernel", None).unwrap();
        assert_eq!(kernel, [[0.5, -1.25, 300.0], [4.0, 5.0, 0.0]]);
        let path = file::<RGB32Float>(folder, [2, 1], &[&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]);
        assert_eq!(read(&path), (vec![3, 1, 2], vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
        let path = file::<GrayI16>(folder, [2, 1], &[&[-32768, 7]]);
        assert_eq!(read(&path), (vec![1, 2], vec![-32768.0, 7.0]));
        let path = file::<Gray32>(folder, [1, 2], &[&[0, u32::MAX]]);
        assert_eq!(read(&path), (vec![2, 1], vec![0.0, 4_294_967_295.0]));
        let path = file::<Gray32Float>(folder, [2, 1], &[&[1.0, 0.0]]);
        assert_eq!(read_mask(&path).unwrap().observed, [1, 0]);

        // Unsigned values of 16 bits are a picture.
        let path = file::<Gray16>(folder, [2, 1], &[&[0, u16::MAX]]);
        assert!(is_picture(&path));
        assert_eq!(Array::read(&path, "y").unwrap().values, [-1.0, 1.0]);
    }

    #[test]
    fn numbers_that_cannot_be_taken_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let expect = |path: &Path, words: &[&str]| {
            let error = Array::read(path, "y").unwrap_err().to_string();
            assert!(error.contains("a.tif"), "{error}");
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        };
        let path = file::<Gray32Float>(folder, [2, 1], &[&[1.0, f32::NAN]]);
        expect(&path, &["the array holds NaN at flat index 1"]);
        assert!(Array::read_with_gaps(&path, "y").unwrap().0.values[1].is_nan());
        let path = file::<Gray32Float>(folder, [2, 1], &[&[1.0, 2.0], &[3.0, 4.0]]);
        expect(&path, &["2 pages of numbers", "[N, 1, H, W]", "tifffile.imread(FILE)[:, None]"]);
        let path = file::<RGB32Float>(folder, [1, 1], &[&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]]);
        expect(&path, &["2 pages of numbers", "[N, 3, H, W]"]);
        let error =
            read_kernel(&file::<RGB32Float>(folder, [1, 1], &[&[1.0, 2.0, 3.0]]), "k", None);
        assert!(error.unwrap_err().to_string().contains("a kernel has one channel, the picture 3"));

        let path = file::<Gray32Float>(folder, [2, 1], &[&[1.0, 2.0]]);
        let whole = fs::read(&path).unwrap();
        let changed = |tags: &[u16], value: u32| {
            let mut bytes = whole.clone();
            let directory = u32::from_le_bytes(*bytes[4..].first_chunk().unwrap()) as usize;
            for entry in bytes[directory + 2..].chunks_exact_mut(12) {
                if tags.contains(&u16::from_le_bytes([entry[0], entry[1]])) {
                    entry[2..8].copy_from_slice(&[4, 0, 1, 0, 0, 0]);
                    entry[8..].copy_from_slice(&value.to_le_bytes());
                }
            }
            fs::write(&path, bytes).unwrap();
        };
        changed(&[262], 0);
        expect(&path, &["white is zero", "minisblack"]);
        // Sides and the rows of a strip.
        changed(&[256, 257, 278], 30_000);
        expect(&path, &["30000 x 30000 pixels", "at most 268435456", "cut it"]);
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            if let Ok(array) = Array::read(&path, "y") {
                // What lies behind the values is not needed.
                assert_eq!(array.values, [1.0, 2.0], "{length}");
            }
        }
        for (at, byte) in (0..whole.len()).flat_map(|at| [0, 0x7f, 0xff].map(|byte| (at, byte))) {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            fs::write(&path, bytes).unwrap();
            // Either is fine: a changed number is a number.
            let _ = Array::read(&path, "y");
        }
    }

    /// A file of one page: the tags with their values, whole numbers of 32 bits, a description, and the values of the picture, where
    /// a tag without values has their offsets, one for each of `parts` parts of the same size.
    fn raw(tags: &[(u16, &[u32])], description: &str, parts: usize, data: &[u8]) -> Vec<u8> {
        let whole = u32::try_from;
        let mut file = b"II*\0\0\0\0\0".to_vec();
        let offset = |i: usize| whole(8 + i * data.len() / parts).unwrap();
        file.extend(data);
        let offsets: Vec<u32> = (0..parts).map(offset).collect();
        let mut directory = Vec::new();
        for (tag, values) in tags {
            let text = [description.as_bytes(), b"\0"].concat();
            let values = if values.is_empty() { &offsets[..] } else { *values };
            let (kind, count, bytes) = match tag {
                270 => (2, text.len(), text),
                _ => (4, values.len(), values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            };
            let value = if bytes.len() <= 4 {
                [&bytes[..], &[0; 4]].concat()
            } else {
                let at = whole(file.len()).unwrap().to_le_bytes();
                file.extend(bytes);
                at.to_vec()
            };
            directory.extend([*tag, kind].into_iter().flat_map(u16::to_le_bytes));
            directory.extend(whole(count).unwrap().to_le_bytes());
            directory.extend(&value[..4]);
        }
        let at = whole(file.len()).unwrap().to_le_bytes();
        file[4..8].copy_from_slice(&at);
        file.extend(u16::try_from(tags.len()).unwrap().to_le_bytes());
        file.extend(directory);
        file.extend([0; 4]);
        file
    }

    #[test]
    fn tiles_of_separate_channels_are_refused_where_they_reach_beyond_the_edges() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        // Of 8 bits as a picture, of 32 as numbers.
        for (bits, format) in [(8, 1), (32, 3)] {
            let read = |width: u32, channels: u32| {
                let tiles = (width.div_ceil(16) * channels) as usize;
                let bytes = 256 * bits / 8;
                let tags: [(u16, &[u32]); 12] = [
                    (256, &[width]),
                    (257, &[16]),
                    (258, &vec![bits; channels as usize]),
                    (259, &[1]),
                    (262, &[if channels == 3 { 2 } else { 1 }]),
                    (277, &[channels]),
                    (284, &[2]),
                    (322, &[16]),
                    (323, &[16]),
                    (324, &[]),
                    (325, &vec![bytes; tiles]),
                    (339, &vec![format; channels as usize]),
                ];
                let data = vec![0; tiles * bytes as usize];
                fs::write(&path, raw(&tags, "", tiles, &data)).unwrap();
                Array::read(&path, "y")
            };
            assert_eq!(read(32, 3).unwrap().dims, [3, 16, 32]);
            assert!(read(20, 1).is_ok());
            let error = read(20, 3).unwrap_err().to_string();
            let words = ["20 x 16 pixels", "tiles of 16 x 16", "planarconfig=\"contig\""];
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    #[test]
    fn stacks_behind_one_directory_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let read = |(bits, format): (u32, u32), channels: u32, depth, description: &str, planes| {
            let bytes = 20 * 30 * channels * bits / 8;
            let tags: [(u16, &[u32]); 11] = [
                (256, &[30]),
                (257, &[20]),
                (258, &vec![bits; channels as usize]),
                (259, &[1]),
                (262, &[if channels == 3 { 2 } else { 1 }]),
                (270, &[]),
                (273, &[8]),
                (277, &[channels]),
                (279, &[bytes]),
                (339, &vec![format; channels as usize]),
                (32997, &[depth]),
            ];
            let data = vec![0; planes * bytes as usize];
            fs::write(&path, raw(&tags, description, 1, &data)).unwrap();
            Array::read(&path, "y").map_err(|error| error.to_string())
        };
        const IMAGEJ: &str = "ImageJ=1.54f\nimages=4\nslices=4\n";
        const TIFFFILE: &str = r#"{"shape": [4, 20, 30], "truncated": true}"#;
        for kind in [(8, 1), (16, 1), (32, 3)] {
            for (depth, description) in [(1, IMAGEJ), (1, TIFFFILE), (4, "")] {
                let error = read(kind, 1, depth, description, 4).unwrap_err();
                let words = ["a stack of 4 planes", "[N, 1, H, W]"];
                assert!(words.iter().all(|word| error.contains(word)), "{error}");
                // A page that was taken from a stack with its description.
                assert!(depth > 1 || read(kind, 1, depth, description, 1).is_ok());
            }
            let ordinary = [
                (1, "ImageJ=1.54f\nimages=1\n"),
                (1, "ImageJ=1.54f\nunit=pixel\n"),
                (1, r#"{"shape": [20, 30]}"#),
                (1, r#"{"shape": [1, 20, 30]}"#),
                (3, r#"{"shape": [20, 30, 3]}"#),
                (3, r#"{"shape": [3, 20, 30]}"#),
                (3, "images=3"),
                (1, "{\"shape\": \"round\"}"),
            ];
            for (channels, description) in ordinary {
                let read = read(kind, channels, 1, description, 9);
                assert_eq!(read.unwrap().values.len(), 600 * channels as usize, "{description}");
            }
        }
    }

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

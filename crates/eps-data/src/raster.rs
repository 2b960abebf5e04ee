//! Pictures as PNG, JPEG, WebP, TIFF and BMP files hold them, of any size, in 8 bits.

use std::io::Cursor;
use std::path::Path;

use eps_math::Shape;
use image_webp::WebPDecoder;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::orientation::Orientation;
use crate::panics::without_panics;
use crate::picture_size::{MOST_VALUES, check_size};
use crate::stored_picture::StoredPicture;
use crate::{DataError, bmp, png, tiff};

/// The endings of pictures' names.
pub(crate) const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp"];

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

const EXPORT_AGAIN: &str = "the file is damaged: export or fetch it again";
const GIVE_PICTURES: &str = "give PNG, JPEG, WebP, TIFF or BMP pictures";
const TO_RGB: &str = "convert the picture to 8-bit RGB or grey first";

/// A picture of 8-bit pixels, grey or red, green and blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raster {
    width: usize,
    height: usize,
    channels: usize,
    bytes: Vec<u8>,
}

impl Raster {
    /// A picture of its pixels.
    ///
    /// # Shapes
    ///
    /// `bytes: [height, width, channels]`
    ///
    /// # Panics
    ///
    /// Where a side is 0, `channels` neither 1 nor 3, or the number of bytes another.
    pub fn of(width: usize, height: usize, channels: usize, bytes: Vec<u8>) -> Self {
        assert!(width * height > 0, "a picture of {width} x {height} pixels");
        assert!(matches!(channels, 1 | 3), "a picture of {channels} channels");
        assert_eq!(bytes.len(), width * height * channels, "bytes of {width} x {height} pixels");
        Raster { width, height, channels, bytes }
    }

    /// Decodes the content of a PNG, JPEG, WebP, TIFF or BMP file; `path` names it in messages.
    ///
    /// The content tells the format, whatever the name. The picture is turned as its EXIF orientation says,
    /// as every viewer shows it; so does the tag of TIFF. A channel of transparency is dropped where the picture is opaque everywhere.
    /// Pictures of 16 bits a channel are rounded to 8. Colour profiles are passed over, as EDM's
    /// `dataset_tool.py` does. JPEGs of four colours (ImageNet has some) become RGB as Pillow converts them,
    /// ink by ink.
    ///
    /// PNG, WebP, TIFF and BMP come out as Pillow decodes them, JPEG within 4 grey levels of it, but for one column:
    /// where the chroma has half the width (4:2:0, 4:2:2), the width is even and no multiple of 16, the
    /// last column's chroma is interpolated with what fills up the block, which libjpeg does not look at.
    /// The largest difference there was 2 levels in the median of 60 photographs, 16 at most, and 30 in noise
    /// (55 with four colours).
    ///
    /// # Errors
    ///
    /// [`DataError::Malformed`] where the content is of no such format, is truncated or damaged, has more than
    /// 2²⁸ values, is animated or has several pages; [`DataError::Invalid`] where it needs more memory than there is;
    /// [`DataError::Transparent`] where it is transparent somewhere.
    pub fn decode(path: &Path, content: &[u8]) -> Result<Self, DataError> {
        Ok(Decoded::of(path, content)?.shown())
    }

    /// [`Raster::decode`] without turning the picture.
    ///
    /// # Errors
    ///
    /// Those of [`Raster::decode`].
    pub fn decode_as_stored(path: &Path, content: &[u8]) -> Result<Self, DataError> {
        Ok(Decoded::of(path, content)?.stored)
    }

    /// The width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// 1 (grey) or 3 (red, green, blue).
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The shorter of both sides.
    pub fn short_side(&self) -> usize {
        self.width.min(self.height)
    }

    /// The pixels, `[height, width, channels]`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A rectangle of the picture.
    ///
    /// # Panics
    ///
    /// Where the rectangle is empty or not inside the picture.
    pub fn crop(&self, left: usize, top: usize, width: usize, height: usize) -> Self {
        let rows = self.bytes.chunks_exact(self.width * self.channels).skip(top).take(height);
        let columns = left * self.channels..(left + width) * self.channels;
        let bytes = rows.flat_map(|row| &row[columns.clone()]).copied().collect();
        Raster::of(width, height, self.channels, bytes)
    }

    /// The largest square in the middle, as EDM's `center-crop` takes it.
    pub fn centre_square(&self) -> Self {
        let side = self.short_side();
        self.crop((self.width - side) / 2, (self.height - side) / 2, side, side)
    }

    /// The picture in grey.
    ///
    /// ```text
    /// L = 0.299 R + 0.587 G + 0.114 B   (ITU-R BT.601)
    /// ```
    pub fn to_grey(&self) -> Self {
        if self.channels == 1 {
            return self.clone();
        }
        // In 16 fractional bits, as Pillow does.
        let luma = |p: &[u8]| {
            let [r, g, b] = [p[0], p[1], p[2]].map(u32::from);
            // The weights sum to 2¹⁶.
            u8::try_from((19595 * r + 38470 * g + 7471 * b + (1 << 15)) >> 16).unwrap_or(u8::MAX)
        };
        let bytes = self.bytes.chunks_exact(3).map(luma).collect();
        Raster::of(self.width, self.height, 1, bytes)
    }

    /// The picture in three channels, grey ones repeated.
    pub fn to_colour(&self) -> Self {
        if self.channels == 3 {
            return self.clone();
        }
        let bytes = self.bytes.iter().flat_map(|&v| [v; 3]).collect();
        Raster::of(self.width, self.height, 3, bytes)
    }

    /// The shape of the picture as an image.
    pub fn shape(&self) -> Shape {
        Shape { channels: self.channels, height: self.height, width: self.width }
    }

    /// The pixels channel by channel, `[C, H, W]`.
    pub fn planes(&self) -> Vec<u8> {
        let plane = |c| self.bytes.iter().skip(c).step_by(self.channels);
        (0..self.channels).flat_map(plane).copied().collect()
    }
}

/// A picture with what its file says of it.
#[derive(Debug)]
pub(crate) struct Decoded {
    stored: Raster,
    orientation: Orientation,
    /// The largest value of its colours where the file holds more than 8 bits a channel.
    pub(crate) largest: Option<u16>,
}

impl Decoded {
    /// Decodes a file's content; see [`Raster::decode`].
    pub(crate) fn of(path: &Path, content: &[u8]) -> Result<Self, DataError> {
        // A sample is held as bytes and in 16 bits.
        let decoded = rounded(path, StoredPicture::decode(path, content, 4)?)?;
        if decoded.stored.bytes.is_empty() {
            return Err(DataError::malformed(path, "the picture has no pixels", EXPORT_AGAIN));
        }
        Ok(decoded)
    }

    /// The picture as it is to be shown.
    pub(crate) fn shown(self) -> Raster {
        let Raster { width, height, channels, bytes } = self.stored;
        let ((width, height), bytes) = self.orientation.turn((width, height), channels, bytes);
        Raster { width, height, channels, bytes }
    }
}

/// A format of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    WebP,
    Exact(ExactFormat),
}

/// A format whose pictures are kept in all of their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExactFormat {
    Png,
    Tiff,
    Bmp,
}

impl Format {
    /// The format that the first bytes of a file tell.
    fn of(content: &[u8]) -> Option<Self> {
        let webp = content.starts_with(b"RIFF") && content.get(8..12) == Some(b"WEBP");
        let tiff = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"];
        match content {
            _ if content.starts_with(PNG) => Some(Self::Exact(ExactFormat::Png)),
            _ if content.starts_with(JPEG) => Some(Self::Jpeg),
            _ if webp => Some(Self::WebP),
            _ if tiff.iter().any(|start| content.starts_with(*start)) => {
                Some(Self::Exact(ExactFormat::Tiff))
            }
            _ if content.starts_with(b"BM") => Some(Self::Exact(ExactFormat::Bmp)),
            _ => None,
        }
    }

    /// [`Format::of`] a file that has to be a picture.
    pub(crate) fn required_of(path: &Path, content: &[u8]) -> Result<Self, DataError> {
        Self::of(content).ok_or_else(|| match content {
            [] => DataError::malformed(path, "the file is empty", EXPORT_AGAIN),
            _ => DataError::stand_in(path, content).unwrap_or_else(|| {
                let start = &content[..content.len().min(8)];
                DataError::malformed(path, format!("it starts with {start:02x?}"), GIVE_PICTURES)
            }),
        })
    }
}

impl ExactFormat {
    /// Decodes a file's content, of which a sample will need `bytes` of memory.
    pub(crate) fn decode(
        self,
        path: &Path,
        content: &[u8],
        bytes: usize,
    ) -> Result<StoredPicture, DataError> {
        without_panics(path, || match self {
            ExactFormat::Png => png::decode(path, Cursor::new(content), bytes),
            ExactFormat::Tiff => tiff::decode(path, content, bytes),
            ExactFormat::Bmp => bmp::decode(path, content, bytes),
        })
    }
}

/// A picture of `channels` channels, the last of which is transparency where their number is even.
fn flat(
    path: &Path,
    (width, height): (usize, usize),
    channels: usize,
    bytes: Vec<u8>,
) -> Result<Raster, DataError> {
    let colours = channels - usize::from(channels.is_multiple_of(2));
    if colours == channels {
        return Ok(Raster { width, height, channels, bytes });
    }
    let transparent = |pixel: &[u8]| pixel[colours] != u8::MAX;
    if let Some(at) = bytes.chunks_exact(channels).position(transparent) {
        let (row, column) = (at / width, at % width);
        return Err(DataError::Transparent { path: path.to_owned(), row, column });
    }
    let bytes = bytes.chunks_exact(channels).flat_map(|pixel| &pixel[..colours]).copied().collect();
    Ok(Raster { width, height, channels: colours, bytes })
}

impl StoredPicture {
    /// Decodes a file's content of any format; `path` names it in messages, and a sample will need `bytes` of memory.
    pub(crate) fn decode(path: &Path, content: &[u8], bytes: usize) -> Result<Self, DataError> {
        without_panics(path, || match Format::required_of(path, content)? {
            Format::Jpeg => decode_jpeg(path, content, bytes),
            Format::WebP => decode_webp(path, content, bytes),
            Format::Exact(format) => format.decode(path, content, bytes),
        })
    }

    /// A picture of 8 bits.
    fn of_bytes(
        size: (usize, usize),
        channels: usize,
        bytes: Vec<u8>,
        orientation: Orientation,
        profile: Option<Vec<u8>>,
    ) -> Self {
        let samples = bytes.into_iter().map(u16::from).collect();
        let picture = Self::of_samples(size, channels, samples, u16::from(u8::MAX));
        Self { orientation, profile, ..picture }
    }
}

/// A picture in 8 bits.
fn rounded(path: &Path, picture: StoredPicture) -> Result<Decoded, DataError> {
    let StoredPicture { width, height, channels, samples, largest, orientation, .. } = picture;
    let is_rounded = largest != u16::from(u8::MAX);
    // v/257, rounded: 65535 becomes 255.
    let byte = |v: u16| match is_rounded {
        true => u8::try_from((u32::from(v) + 128) / 257).unwrap_or(u8::MAX),
        false => u8::try_from(v).unwrap_or(u8::MAX),
    };
    let colours = channels - usize::from(channels.is_multiple_of(2));
    let colours = samples.chunks_exact(channels).flat_map(|pixel| &pixel[..colours]);
    let largest = if is_rounded { colours.copied().max() } else { None };
    let bytes = samples.into_iter().map(byte).collect();
    let stored = flat(path, (width, height), channels, bytes)?;
    Ok(Decoded { stored, orientation, largest })
}

fn decode_jpeg(path: &Path, content: &[u8], bytes: usize) -> Result<StoredPicture, DataError> {
    let damaged = |error: String| {
        DataError::malformed(path, format!("the JPEG cannot be decoded ({error})"), EXPORT_AGAIN)
    };
    // The decoder fills up what is missing. Compressed data hold no markers.
    let last = |marker: u8| content.windows(2).rposition(|pair| pair == [0xff, marker]);
    let (start_of_scan, end_of_image) = (last(0xda), last(0xd9));
    if end_of_image <= start_of_scan {
        return Err(damaged("it is truncated: no end of image follows its last scan".to_owned()));
    }
    let side = usize::from(u16::MAX);
    let options = DecoderOptions::default().set_max_width(side).set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(content), options);
    decoder.decode_headers().map_err(|e| damaged(e.to_string()))?;
    let colours = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        Some(ColorSpace::YCbCr | ColorSpace::RGB | ColorSpace::CMYK | ColorSpace::YCCK) => {
            ColorSpace::RGB
        }
        other => {
            let problem = format!("the JPEG's colours are {other:?}");
            return Err(DataError::malformed(path, problem, TO_RGB));
        }
    };
    let is_of_inks =
        matches!(decoder.input_colorspace(), Some(ColorSpace::CMYK | ColorSpace::YCCK));
    decoder.set_options(options.jpeg_set_out_colorspace(colours));
    let info = decoder.info().ok_or_else(|| damaged("it has no header".to_owned()))?;
    let size = (usize::from(info.width), usize::from(info.height));
    let channels = colours.num_components();
    // Progressive ones are held as coefficients of 16 bits first.
    check_size(path, size, channels, bytes)?;
    let orientation = orientation(decoder.exif().map(Vec::as_slice));
    let bytes = decoder.decode().map_err(|e| damaged(e.to_string()))?;
    // Known from the headers on.
    let profile = decoder.icc_profile().filter(|_| !is_of_inks);
    let picture = StoredPicture::of_bytes(size, channels, bytes, orientation, profile);
    Ok(StoredPicture { is_of_inks, ..picture })
}

fn decode_webp(path: &Path, content: &[u8], bytes: usize) -> Result<StoredPicture, DataError> {
    let damaged = |error: image_webp::DecodingError| {
        DataError::malformed(path, format!("the WebP cannot be decoded ({error})"), EXPORT_AGAIN)
    };
    // The decoder fills up what is missing at the end.
    let announced = content.get(4..).and_then(|rest| rest.first_chunk().copied());
    let announced = 8 + announced.map_or(0, |length| u64::from(u32::from_le_bytes(length)));
    if (content.len() as u64) < announced {
        let problem = format!("it has {} of the WebP's {announced} bytes", content.len());
        return Err(DataError::malformed(path, problem, EXPORT_AGAIN));
    }
    let mut decoder = WebPDecoder::new(Cursor::new(content)).map_err(damaged)?;
    if decoder.is_animated() {
        return Err(DataError::malformed(path, "the WebP is animated", "give one of its pictures"));
    }
    let (width, height) = decoder.dimensions();
    let size = (width as usize, height as usize);
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut bytes = vec![0; check_size(path, size, channels, bytes)?];
    decoder.set_memory_limit(4 * MOST_VALUES);
    // Data that cannot be read say nothing.
    let exif = decoder.exif_metadata().ok().flatten();
    let profile = decoder.icc_profile().ok().flatten();
    decoder.read_image(&mut bytes).map_err(damaged)?;
    let orientation = orientation(exif.as_deref());
    Ok(StoredPicture::of_bytes(size, channels, bytes, orientation, profile))
}

/// The orientation that EXIF data tell, where there are any.
fn orientation(exif: Option<&[u8]>) -> Orientation {
    exif.map_or(Orientation::AS_STORED, Orientation::of_exif)
}

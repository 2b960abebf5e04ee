//! PNG pictures: reading, writing, and mosaics of several images.
//!
//! Grey and RGB pictures of any bit depth are read (palettes are expanded) as `[C, H, W]` in
//! [-1, 1]; 8-bit pictures are written.
//!
//! ```text
//! 8 bit:  x = v / 127.5 − 1        16 bit:  x = v / 32767.5 − 1
//! ```

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;

use eps_files::write_bytes;
use eps_math::Shape;
use png::{BitDepth, ColorType, Decoder, Encoder, Info, Transformations};

use crate::DataError;
use crate::orientation::Orientation;
use crate::picture_size::check_size;
use crate::stored_picture::{StoredPicture, Transparency, Values};

/// A picture on the scale [-1, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// One channel (grey) or three (red, green, blue).
    pub shape: Shape,
    /// `[C, H, W]` in row-major order.
    pub values: Vec<f64>,
}

/// Reads a PNG picture.
///
/// It is turned as its EXIF orientation says. A channel of transparency is dropped where the picture is opaque
/// everywhere.
///
/// # Errors
///
/// [`DataError::Io`] where the file cannot be opened, [`DataError::Malformed`] where it is no PNG,
/// is damaged, is animated, has more than 2²⁸ values or none, [`DataError::Invalid`] where it needs
/// more memory than there is, [`DataError::Transparent`] where it is transparent somewhere.
pub fn read_png(path: &Path) -> Result<Picture, DataError> {
    eps_files::require_regular(path)?;
    let file = File::open(path).map_err(DataError::io(path, "open"))?;
    // A sample is held as bytes, in 16 bits and as a number.
    let stored = decode(path, BufReader::new(file), 14)?;
    let Values { shape, values, .. } = stored.into_values(path, Transparency::Refused)?;
    Ok(Picture { shape, values })
}

/// A PNG file of 8 bits as bytes, for example to be embedded in a page.
///
/// Values outside [-1, 1] are clipped.
///
/// # Shapes
///
/// `values: [C, H, W]` with C = 1 (grey) or 3 (red, green, blue).
///
/// # Errors
///
/// [`DataError::Invalid`] where C is neither 1 nor 3, where the number of values is not that of
/// `shape`, or where a value is NaN.
pub fn encode_png(shape: Shape, values: &[f64]) -> Result<Vec<u8>, DataError> {
    encode(&StoredPicture::of_values(shape, values, u16::from(u8::MAX), None)?)
}

/// A PNG file of a picture in all of its bits.
pub(crate) fn encode(picture: &StoredPicture) -> Result<Vec<u8>, DataError> {
    let StoredPicture { width, height, channels, samples, largest, profile, .. } = picture;
    let colour = match channels {
        1 => ColorType::Grayscale,
        2 => ColorType::GrayscaleAlpha,
        4 => ColorType::Rgba,
        _ => ColorType::Rgb,
    };
    let (depth, bytes) = match *largest {
        255 => (BitDepth::Eight, picture.bytes()),
        _ => (BitDepth::Sixteen, samples.iter().flat_map(|v| v.to_be_bytes()).collect()),
    };
    let side = |name: &str, side: usize| {
        u32::try_from(side).map_err(|_| {
            DataError::invalid(
                format!("the {name} of a picture"),
                side,
                "PNG takes at most 2^31 - 1",
            )
        })
    };
    let mut file = Vec::new();
    let mut info = Info::with_size(side("width", *width)?, side("height", *height)?);
    (info.color_type, info.bit_depth) = (colour, depth);
    info.icc_profile = profile.as_deref().map(Cow::from);
    Encoder::with_info(&mut file, info)
        .and_then(Encoder::write_header)
        .and_then(|mut writer| {
            writer.write_image_data(&bytes)?;
            writer.finish()
        })
        .map_err(|e| {
            let sides = format!("{width} x {height} pixels");
            DataError::invalid("the size of a picture", sides, e.to_string())
        })?;
    Ok(file)
}

/// Writes pictures of one shape one after the other as an animated PNG of 8 bits, which browsers play without an end.
///
/// Values outside [-1, 1] are clipped.
///
/// # Shapes
///
/// Each of `frames: [C, H, W]` with C = 1 (grey) or 3 (red, green, blue).
///
/// # Units
///
/// Each is shown for `milliseconds`.
///
/// # Errors
///
/// As [`write_png`], and [`DataError::Invalid`] without frames.
pub fn write_animation(
    path: &Path,
    shape: Shape,
    frames: &[&[f64]],
    milliseconds: u16,
) -> Result<(), DataError> {
    let refused = |what: String| DataError::invalid("an animation", frames.len(), what);
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let pictures = frames
        .iter()
        .map(|frame| StoredPicture::of_values(shape, frame, u16::from(u8::MAX), None))
        .collect::<Result<Vec<_>, _>>()?;
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, side(shape.width), side(shape.height));
    encoder.set_color(if shape.channels == 1 { ColorType::Grayscale } else { ColorType::Rgb });
    encoder.set_depth(BitDepth::Eight);
    encoder
        .set_animated(side(frames.len()), 0)
        .and_then(|()| encoder.set_frame_delay(milliseconds, 1000))
        .and_then(|()| {
            let mut writer = encoder.write_header()?;
            pictures.iter().try_for_each(|picture| writer.write_image_data(&picture.bytes()))?;
            writer.finish()
        })
        .map_err(|error| refused(error.to_string()))?;
    Ok(write_bytes(path, &file)?)
}

/// Writes a PNG file of 8 bits; see [`encode_png`].
///
/// # Errors
///
/// As [`encode_png`], and [`DataError::Io`] where the file cannot be written.
pub fn write_png(path: &Path, shape: Shape, values: &[f64]) -> Result<(), DataError> {
    let bytes = encode_png(shape, values)?;
    Ok(write_bytes(path, &bytes)?)
}

/// Repeats every pixel `factor` times in both directions.
///
/// # Panics
///
/// Where `factor` is 0 or `picture` does not have the values of its shape.
pub fn magnify(picture: &Picture, factor: usize) -> Picture {
    assert!(factor > 0, "a magnification of 0");
    let Shape { channels, height, width } = picture.shape;
    assert_eq!(picture.values.len(), picture.shape.len(), "values of a picture {}", picture.shape);
    let shape = Shape { channels, height: height * factor, width: width * factor };
    let values = (0..shape.len())
        .map(|i| {
            let (c, row, column) =
                (i / shape.plane(), i / shape.width % shape.height, i % shape.width);
            picture.values[(c * height + row / factor) * width + column / factor]
        })
        .collect();
    Picture { shape, values }
}

/// Pictures of one shape side by side, row by row, on white.
///
/// `None` leaves a cell empty; a last row that is not full is filled up with empty cells.
///
/// # Panics
///
/// Where there is no picture, `columns` is 0, or the shapes differ.
pub fn mosaic(pictures: &[Option<&Picture>], columns: usize, gap: usize) -> Picture {
    assert!(columns > 0, "a mosaic of 0 columns");
    let cell = pictures.iter().flatten().next().expect("a mosaic needs a picture").shape;
    let rows = pictures.len().div_ceil(columns);
    let shape = Shape {
        channels: cell.channels,
        height: rows * cell.height + (rows - 1) * gap,
        width: columns * cell.width + (columns - 1) * gap,
    };
    let mut values = vec![1.0; shape.len()];
    for (index, picture) in pictures.iter().enumerate() {
        let Some(picture) = picture else { continue };
        assert_eq!(picture.shape, cell, "the pictures of a mosaic have one shape");
        let top = index / columns * (cell.height + gap);
        let left = index % columns * (cell.width + gap);
        for (line, pixels) in picture.values.chunks_exact(cell.width).enumerate() {
            let (channel, row) = (line / cell.height, line % cell.height);
            let start = (channel * shape.height + top + row) * shape.width + left;
            values[start..start + cell.width].copy_from_slice(pixels);
        }
    }
    Picture { shape, values }
}

/// Decodes what `reader` gives; `path` names it in messages, and a sample will need `bytes` of memory.
pub(crate) fn decode(
    path: &Path,
    reader: impl BufRead + Seek,
    bytes: usize,
) -> Result<StoredPicture, DataError> {
    let damaged = |problem: String| {
        DataError::malformed(
            path,
            problem,
            "the file is damaged or no PNG: export it again as an 8-bit or 16-bit PNG",
        )
    };
    let mut decoder = Decoder::new(reader);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader =
        decoder.read_info().map_err(|e| damaged(format!("the PNG header is unreadable ({e})")))?;
    if let Some(frames) = reader.info().animation_control().map(|control| control.num_frames)
        && frames > 1
    {
        let problem = format!("the PNG is animated, with {frames} pictures");
        return Err(DataError::malformed(path, problem, "give one of its pictures"));
    }
    // A damaged header must not allocate the machine away.
    let (width, height) = reader.info().size();
    let channels = reader.output_color_type().0.samples();
    check_size(path, (width as usize, height as usize), channels, bytes)?;
    let size = reader.output_buffer_size().ok_or_else(|| {
        damaged(format!("the header announces {width} x {height} pixels, more than there can be"))
    })?;
    let mut bytes = vec![0; size];
    let info = reader
        .next_frame(&mut bytes)
        .and_then(|info| reader.finish().map(|()| info))
        .map_err(|e| damaged(format!("the pixels are unreadable ({e})")))?;
    bytes.truncate(info.buffer_size());
    let (samples, largest) = match info.bit_depth {
        BitDepth::Sixteen => {
            (bytes.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect(), u16::MAX)
        }
        // EXPAND brings lower depths to 8 bits.
        _ => (bytes.into_iter().map(u16::from).collect(), u16::from(u8::MAX)),
    };
    let size = (info.width as usize, info.height as usize);
    let picture = StoredPicture::of_samples(size, info.color_type.samples(), samples, largest);
    let exif = reader.info().exif_metadata.as_deref();
    Ok(StoredPicture {
        orientation: exif.map_or(Orientation::AS_STORED, Orientation::of_exif),
        profile: reader.info().icc_profile.as_deref().map(<[u8]>::to_vec),
        ..picture
    })
}

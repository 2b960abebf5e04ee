//! Pictures that are written as another one is stored: in its format, with its bits and its transparency.

use std::fs;
use std::path::Path;

use eps_math::Shape;
use image_webp::{ColorType, WebPEncoder};
use jpeg_encoder::{ColorType as JpegColour, Encoder, SamplingFactor};

use crate::raster::{ExactFormat, Format};
use crate::stored_picture::StoredPicture;
use crate::{DataError, png, tiff};

/// The quality of JPEGs, of 100.
const QUALITY: u8 = 95;

/// How a file stores its picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureLike {
    format: Format,
    largest: u16,
    /// The transparency of the pixels as they are shown, `[H, W]`, with width and height.
    alpha: Option<((usize, usize), Vec<u16>)>,
    /// The ICC profile of its colours.
    profile: Option<Vec<u8>>,
}

impl PictureLike {
    /// How the file at `path` stores its picture.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] where it cannot be read, [`DataError::Malformed`] where it is no picture, or one of inks (CMYK), which
    /// is not written.
    pub fn of(path: &Path) -> Result<Self, DataError> {
        eps_files::require_regular(path)?;
        let content = fs::read(path).map_err(DataError::io(path, "read"))?;
        let format = Format::required_of(path, &content)?;
        // A sample is held as bytes and in 16 bits.
        let stored = StoredPicture::decode(path, &content, 4)?;
        if stored.is_of_inks {
            return Err(DataError::malformed(
                path,
                "the picture is of inks (CMYK), whose results could not be stored like it",
                "convert it to RGB by its profile first",
            ));
        }
        let alpha = stored.alpha();
        Ok(Self { format, largest: stored.largest, alpha, profile: stored.profile })
    }

    /// The ending of the names of such files. A BMP's pictures are written as PNG.
    #[must_use]
    pub fn ending(&self) -> &'static str {
        match self.format {
            Format::Jpeg => "jpg",
            Format::WebP => "webp",
            Format::Exact(ExactFormat::Tiff) => "tif",
            Format::Exact(ExactFormat::Png | ExactFormat::Bmp) => "png",
        }
    }

    /// Fails where the format takes no pictures of a shape: JPEG has sides of at most 65535 pixels, WebP of 16384.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`].
    pub fn check(&self, shape: Shape) -> Result<(), DataError> {
        let (name, most) = match self.format {
            Format::Jpeg => ("JPEG", 65535),
            Format::WebP => ("WebP", 16384),
            Format::Exact(_) => return Ok(()),
        };
        let Shape { height, width, .. } = shape;
        if height.max(width) <= most {
            return Ok(());
        }
        let sides = format!("{width} x {height} pixels");
        let remedy = format!("{name} takes sides of at most {most}: give the picture as a PNG");
        Err(DataError::invalid(format!("the size of a {name} picture"), sides, remedy))
    }

    /// A picture of values on the scale [-1, 1] as a file of this kind: JPEG with quality 95 and chroma in full, all else
    /// without losses. Its colour profile and its transparency are those of the original; where the size is another, that of the nearest pixel.
    ///
    /// # Shapes
    ///
    /// `values: [C, H, W]` with C = 1 (grey) or 3 (red, green, blue)
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] for values that are no picture, or a side that the format does not take.
    pub fn encode(&self, shape: Shape, values: &[f64]) -> Result<Vec<u8>, DataError> {
        let alpha = self.alpha.as_ref().map(|(size, alpha)| nearest(*size, alpha, shape));
        self.check(shape)?;
        let picture = StoredPicture::of_values(shape, values, self.largest, alpha.as_deref())?;
        let picture = StoredPicture { profile: self.profile.clone(), ..picture };
        match self.format {
            Format::Jpeg => jpeg(&picture),
            Format::WebP => webp(&picture),
            Format::Exact(ExactFormat::Tiff) if picture.channels != 2 => tiff::encode(&picture),
            // Grey with transparency is rare in TIFF, and its writer has none.
            Format::Exact(ExactFormat::Tiff) => tiff::encode(&in_colour(picture)),
            Format::Exact(ExactFormat::Png | ExactFormat::Bmp) => png::encode(&picture),
        }
    }
}

/// A plane at another size.
fn nearest((width, height): (usize, usize), plane: &[u16], shape: Shape) -> Vec<u16> {
    let at = |row: usize, column: usize| {
        plane[row * height / shape.height * width + column * width / shape.width]
    };
    (0..shape.plane()).map(|i| at(i / shape.width, i % shape.width)).collect()
}

/// A grey picture with transparency in three colours and transparency.
fn in_colour(picture: StoredPicture) -> StoredPicture {
    let pixel = |pixel: &[u16]| [pixel[0], pixel[0], pixel[0], pixel[1]];
    let samples = picture.samples.chunks_exact(2).flat_map(pixel).collect();
    StoredPicture { channels: 4, samples, ..picture }
}

fn jpeg(picture: &StoredPicture) -> Result<Vec<u8>, DataError> {
    let refused = |problem: String| {
        let sides = format!("{} x {} pixels", picture.width, picture.height);
        DataError::invalid("the size of a JPEG picture", sides, problem)
    };
    let side = |side: usize| {
        u16::try_from(side).map_err(|_| refused("JPEG takes sides of at most 65535".to_owned()))
    };
    let colour = if picture.channels == 1 { JpegColour::Luma } else { JpegColour::Rgb };
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
    if let Some(profile) = &picture.profile {
        encoder.add_icc_profile(profile).map_err(|error| refused(error.to_string()))?;
    }
    encoder
        .encode(&picture.bytes(), side(picture.width)?, side(picture.height)?, colour)
        .map_err(|error| refused(error.to_string()))?;
    Ok(file)
}

fn webp(picture: &StoredPicture) -> Result<Vec<u8>, DataError> {
    let colour = match picture.channels {
        1 => ColorType::L8,
        2 => ColorType::La8,
        4 => ColorType::Rgba8,
        _ => ColorType::Rgb8,
    };
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let mut file = Vec::new();
    let mut encoder = WebPEncoder::new(&mut file);
    if let Some(profile) = &picture.profile {
        encoder.set_icc_profile(profile.clone());
    }
    encoder.encode(&picture.bytes(), side(picture.width), side(picture.height), colour).map_err(
        |error| {
            let sides = format!("{} x {} pixels", picture.width, picture.height);
            DataError::invalid("the size of a WebP picture", sides, error.to_string())
        },
    )?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::Array;

    fn values(shape: Shape) -> Vec<f64> {
        (0..shape.len()).map(|i| (i as f64 / 7.0).sin()).collect()
    }

    /// Writes a picture with alpha as each format stores it, and returns what is read back of one written like it.
    #[test]
    fn results_are_stored_as_the_input_is() {
        let folder = tempfile::tempdir().unwrap();
        let webp = Format::WebP;
        let [png, tiff, bmp] =
            [ExactFormat::Png, ExactFormat::Tiff, ExactFormat::Bmp].map(Format::Exact);
        let alpha: Vec<u16> = (0..6 * 5).map(|i| [255, 128][i % 2]).collect();
        for channels in [1, 3] {
            let shape = Shape::new(channels, 5, 6).unwrap();
            for (format, largest, alpha) in [
                (png, 255, None),
                (png, 65535, None),
                (png, 255, Some(((6, 5), alpha.clone()))),
                (tiff, 255, Some(((6, 5), alpha.clone()))),
                (tiff, 65535, None),
                (webp, 255, None),
                (webp, 255, Some(((6, 5), alpha.clone()))),
                (bmp, 255, None),
            ] {
                let profile = (format != bmp).then(|| (0..=255).collect::<Vec<u8>>());
                let like =
                    PictureLike { format, largest, alpha: alpha.clone(), profile: profile.clone() };
                let path = folder.path().join(format!("a.{}", like.ending()));
                fs::write(&path, like.encode(shape, &values(shape)).unwrap()).unwrap();
                let (Array { dims, values: read }, _) = Array::read_with_gaps(&path, "").unwrap();
                // Grey that TIFF and WebP keep in colour comes back thrice.
                assert_eq!(dims[1..], [5, 6]);
                let tolerance = 1.0001 / f64::from(largest);
                for (i, value) in read.iter().enumerate() {
                    let expected = values(shape)[i % shape.len()];
                    assert!((value - expected).abs() <= tolerance, "{format:?} {i}");
                }
                if format != bmp {
                    let again = PictureLike::of(&path).unwrap();
                    assert_eq!(again, PictureLike { format, largest, alpha, profile });
                }
            }
        }
    }

    #[test]
    fn a_jpeg_is_near_its_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        let profile = Some((0..=255).collect());
        let like = PictureLike { format: Format::Jpeg, largest: 255, alpha: None, profile };
        let wide = Shape::new(3, 1, 65536).unwrap();
        let error = like.check(wide).unwrap_err().to_string();
        assert!(error.contains("65536 x 1 pixels") && error.contains("as a PNG"), "{error}");
        let shape = Shape::new(3, 16, 24).unwrap();
        // Smooth colours, as photographs have.
        let smooth: Vec<f64> =
            (0..shape.len()).map(|i| ((i % 384) as f64 / 90.0).sin() * 0.8).collect();
        fs::write(&path, like.encode(shape, &smooth).unwrap()).unwrap();
        let (array, notes) = Array::read_with_notes(&path, "").unwrap();
        assert_eq!((array.dims, notes.len()), (vec![3, 16, 24], 1));
        let far = array.values.iter().zip(&smooth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 0.1, "{far}");
        assert_eq!(PictureLike::of(&path).unwrap(), like);
    }

    #[test]
    fn transparency_is_that_of_the_nearest_pixel() {
        let shape = Shape::new(1, 4, 4).unwrap();
        let plane = nearest((2, 2), &[1, 2, 3, 4], shape);
        assert_eq!(plane, [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]);
    }

    #[test]
    fn pixels_that_show_nothing_were_not_measured() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let alpha = Some(((2, 1), vec![0, 255]));
        let like = PictureLike {
            format: Format::Exact(ExactFormat::Png),
            largest: 255,
            alpha,
            profile: None,
        };
        let shape = Shape::new(3, 1, 2).unwrap();
        fs::write(&path, like.encode(shape, &[1.0; 6]).unwrap()).unwrap();
        let (array, _) = Array::read_with_gaps(&path, "").unwrap();
        let is_gap: Vec<bool> = array.values.iter().map(|value| value.is_nan()).collect();
        assert_eq!(is_gap, [true, false, true, false, true, false]);
        assert!(matches!(Array::read(&path, ""), Err(DataError::Transparent { column: 0, .. })));
    }
}

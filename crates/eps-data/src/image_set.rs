//! Sets of images with their provenance.
//!
//! One HDF5 file holds one set in its root, or one for each split in the groups `train`, `validation`
//! and `test` (see [`data_set`](crate::data_set)):
//!
//! ```text
//! /                format = "eps-images", format_version = 1, created_by
//! /GROUP/          range, name, source, licence, sha256
//! /GROUP/images    [N, C, H, W] u8, or floating-point numbers in [-1, 1]
//! /GROUP/labels    [N] u32, the images' classes, where they have any
//! ```

use std::path::Path;

use eps_math::Shape;
use hdf5::Group;

use crate::hdf5_file::{Input, Output};
use crate::pixels::{Pixel, Pixels, Spread};
use crate::{DataError, ImageProvenance};

/// What the attribute `format` of a file of images says.
pub const FORMAT: &str = "eps-images";
pub(crate) const VERSION: u64 = 1;

/// N images of one shape, of values in [-1, 1].
///
/// # Shapes
///
/// `pixels: [N, C, H, W]` in row-major order.
///
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSet {
    shape: Shape,
    pixels: Pixels,
    labels: Option<Vec<u32>>,
    sources: Option<Vec<u32>>,
    provenance: ImageProvenance,
}

impl ImageSet {
    /// A set of `pixels.len() / (C·H·W)` images.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where there are no pixels, or not a whole number of images, and for a value that is not in [-1, 1].
    pub fn new(
        shape: Shape,
        pixels: impl Into<Pixels>,
        provenance: ImageProvenance,
    ) -> Result<Self, DataError> {
        let pixels = pixels.into();
        let one = shape.len();
        if one == 0 || pixels.is_empty() || !pixels.len().is_multiple_of(one) {
            return Err(DataError::invalid(
                format!("the number of pixels of {:?}", provenance.name),
                pixels.len(),
                format!("it must be a positive multiple of {one}, the pixels of an image {shape}"),
            ));
        }
        if let Pixels::Values(values) = &pixels
            && let Some(index) = values.iter().position(|value| !(-1.0..=1.0).contains(value))
        {
            return Err(DataError::invalid(
                format!("the value of {:?} at flat index {index}", provenance.name),
                values[index],
                "images are of finite numbers in [-1, 1]: scale them, as `eps data arrays --unit` does",
            ));
        }
        Ok(ImageSet { shape, pixels, labels: None, sources: None, provenance })
    }

    /// Adds the images' classes, numbered from 0.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where there is not one for each image.
    pub fn with_labels(mut self, labels: Vec<u32>) -> Result<Self, DataError> {
        if labels.len() != self.len() {
            return Err(DataError::invalid(
                format!("the number of labels of {:?}", self.provenance.name),
                labels.len(),
                format!("{} images need one each", self.len()),
            ));
        }
        self.labels = Some(labels);
        Ok(self)
    }

    /// Adds the number of the file that each image was made of: several may be pieces of one photograph.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where there is not one for each image.
    pub fn with_sources(mut self, sources: Vec<u32>) -> Result<Self, DataError> {
        if sources.len() != self.len() {
            return Err(DataError::invalid(
                format!("the number of files of the images of {:?}", self.provenance.name),
                sources.len(),
                format!("{} images need one each", self.len()),
            ));
        }
        self.sources = Some(sources);
        Ok(self)
    }

    /// The same images with this digest in their provenance.
    pub(crate) fn with_sha256(mut self, sha256: String) -> Self {
        self.provenance.sha256 = sha256;
        self
    }

    /// The number of the file that each image was made of, where that is known.
    pub fn sources(&self) -> Option<&[u32]> {
        self.sources.as_deref()
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.shape.len()
    }

    /// Always false: a set has at least one image.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// The shape of one image.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Where the images come from.
    pub fn provenance(&self) -> &ImageProvenance {
        &self.provenance
    }

    /// The images' classes, `[N]`.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// All pixels, `[N, C, H, W]`.
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// The values of one image, `[C, H, W]` in [-1, 1].
    ///
    /// # Panics
    ///
    /// Where `index ≥ len()`.
    pub fn to_signed(&self, index: usize) -> Vec<f64> {
        assert!(index < self.len(), "image {index} of a set of {}", self.len());
        let one = self.shape.len();
        let image = index * one..(index + 1) * one;
        match &self.pixels {
            Pixels::Bytes(bytes) => bytes[image].iter().map(|byte| byte.value()).collect(),
            Pixels::Values(values) => values[image].iter().map(|value| value.value()).collect(),
        }
    }

    /// Mean and standard deviation of all values, on the scale [-1, 1].
    pub fn mean_and_deviation(&self) -> (f64, f64) {
        let mut spread = Spread::default();
        match &self.pixels {
            Pixels::Bytes(bytes) => spread.add(bytes),
            Pixels::Values(values) => spread.add(values),
        }
        spread.mean_and_deviation()
    }

    /// Writes the set as an HDF5 file.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] or [`DataError::Hdf5`] where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let output = Output::create(path, FORMAT, VERSION)?;
        let root = output.root()?;
        let Shape { channels, height, width } = self.shape;
        output.put_provenance(&root, &self.provenance)?;
        let dims = [self.len(), channels, height, width];
        match &self.pixels {
            Pixels::Bytes(bytes) => {
                output.put_text(&root, "range", u8::RANGE)?;
                output.put_array(&root, "images", &dims, bytes)?;
            }
            Pixels::Values(values) => {
                output.put_text(&root, "range", f32::RANGE)?;
                output.put_array(&root, "images", &dims, values)?;
            }
        }
        if let Some(labels) = &self.labels {
            output.put_list(&root, "labels", labels)?;
        }
        output.finish()
    }

    /// Reads a set from an HDF5 file.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] where the file cannot be opened; [`DataError::Malformed`] or
    /// [`DataError::Hdf5`] where it is truncated, damaged, no file of images, or where a dataset or
    /// an attribute is missing or of another shape or type; [`DataError::Invalid`] for a value that is not in [-1, 1].
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let input = Input::open(path, FORMAT, VERSION)?;
        let root = input.root()?;
        if !root.link_exists("images") && root.link_exists("sources") {
            return Err(input.malformed(
                "it holds the splits of a data set",
                "name it as a data set and choose a split",
            ));
        }
        Self::get(&input, &root)
    }

    /// Reads the set in a group of a file.
    pub(crate) fn get(input: &Input, group: &Group) -> Result<Self, DataError> {
        let (dims, pixels) = input.pixels(group, "images")?;
        let shape = Shape { channels: dims[1], height: dims[2], width: dims[3] };
        let set = ImageSet::new(shape, pixels, input.provenance(group)?)
            .map_err(|error| error.in_file(input.path()))?;
        if !group.link_exists("labels") {
            return Ok(set);
        }
        let (_, labels) = input.array(group, "labels", 1)?;
        set.with_labels(labels).map_err(|error| error.in_file(input.path()))
    }
}

//! Sets of 8-bit images with their provenance.
//!
//! One HDF5 file holds one set in its root, or one for each split in the groups `train`, `validation`
//! and `test` (see [`data_set`](crate::data_set)):
//!
//! ```text
//! /                format = "eps-images", format_version = 1, created_by
//! /GROUP/          range, name, source, licence, sha256
//! /GROUP/images    [N, C, H, W] u8
//! /GROUP/labels    [N] u32, the images' classes, where they have any
//! ```

use std::path::Path;

use eps_math::Shape;
use hdf5::Group;

use crate::hdf5_file::{Input, Output};
use crate::range::{RANGE, value_of_byte};
use crate::{DataError, ImageProvenance};

/// What the attribute `format` of a file of images says.
pub const FORMAT: &str = "eps-images";
pub(crate) const VERSION: u64 = 1;

/// How often each of the 256 values of a pixel occurs.
#[derive(Debug)]
pub(crate) struct Counts([u64; 256]);

impl Default for Counts {
    fn default() -> Self {
        Counts([0; 256])
    }
}

impl Counts {
    pub(crate) fn add(&mut self, pixels: &[u8]) {
        pixels.iter().for_each(|&byte| self.0[usize::from(byte)] += 1);
    }

    /// Mean and standard deviation of all values, on the scale [-1, 1].
    pub(crate) fn mean_and_deviation(&self) -> (f64, f64) {
        let all = self.0.iter().sum::<u64>() as f64;
        let average = |f: &dyn Fn(f64) -> f64| {
            let weighed = (0..=u8::MAX).zip(self.0).map(|(v, n)| n as f64 * f(value_of_byte(v)));
            weighed.sum::<f64>() / all
        };
        let mean = average(&|x| x);
        (mean, average(&|x| (x - mean).powi(2)).sqrt())
    }
}

/// N images of one shape, stored as 8-bit pixels, read as values in [-1, 1].
///
/// # Shapes
///
/// `pixels: [N, C, H, W]` in row-major order.
///
/// # Units
///
/// Pixels 0 to 255; values `v / 127.5 − 1` in [-1, 1].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSet {
    shape: Shape,
    pixels: Vec<u8>,
    labels: Option<Vec<u32>>,
    sources: Option<Vec<u32>>,
    provenance: ImageProvenance,
}

impl ImageSet {
    /// A set of `pixels.len() / (C·H·W)` images.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where there are no pixels, or not a whole number of images.
    pub fn new(
        shape: Shape,
        pixels: Vec<u8>,
        provenance: ImageProvenance,
    ) -> Result<Self, DataError> {
        let one = shape.len();
        if one == 0 || pixels.is_empty() || !pixels.len().is_multiple_of(one) {
            return Err(DataError::invalid(
                format!("the number of pixels of {:?}", provenance.name),
                pixels.len(),
                format!("it must be a positive multiple of {one}, the pixels of an image {shape}"),
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
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels of one image, `[C, H, W]`.
    ///
    /// # Panics
    ///
    /// Where `index ≥ len()`.
    pub fn image(&self, index: usize) -> &[u8] {
        assert!(index < self.len(), "image {index} of a set of {}", self.len());
        let one = self.shape.len();
        &self.pixels[index * one..(index + 1) * one]
    }

    /// The values of one image, `[C, H, W]` in [-1, 1].
    ///
    /// # Panics
    ///
    /// Where `index ≥ len()`.
    pub fn to_signed(&self, index: usize) -> Vec<f64> {
        self.image(index).iter().map(|&v| value_of_byte(v)).collect()
    }

    /// Mean and standard deviation of all values, on the scale [-1, 1].
    pub fn mean_and_deviation(&self) -> (f64, f64) {
        let mut counts = Counts::default();
        counts.add(&self.pixels);
        counts.mean_and_deviation()
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
        output.put_text(&root, "range", RANGE)?;
        output.put_provenance(&root, &self.provenance)?;
        output.put_array(&root, "images", &[self.len(), channels, height, width], &self.pixels)?;
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
    /// an attribute is missing or of another shape or type.
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
        let (dims, pixels) = input.array(group, "images", 4)?;
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

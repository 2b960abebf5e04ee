//! Data sets of three splits in one file, each image with the file that it was made of.
//!
//! ```text
//! /                format = "eps-images", format_version = 1, created_by, config (JSON: how it was made)
//! /sources         UTF-8 text: a line a file, its split, a tab, its name
//! /SPLIT/          an image set (see `image_set`), SPLIT = train, validation, test; its sha256 is that
//!                  of its pixels
//! /SPLIT/sources   [N] u32: the line of the file that each image was made of, from 0
//! ```
//!
//! Splits are of files, never of images: what is cut out of one photograph lies in one split. Where a
//! split holds an image of another's file, it is not read. A split without images has no group.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::path::Path;

use eps_files::Hasher;
use eps_math::Shape;
use hdf5::{Dataset, Group};
use serde::Serialize;
use serde_json::Value;

use crate::hdf5_file::{Input, Output};
use crate::image_set::{FORMAT, VERSION};
use crate::pixels::{Pixel, Pixels, Spread};
use crate::{DataError, ImageProvenance, ImageSet, Split};

/// A file that images were made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSource {
    /// The split that it is in.
    pub split: Split,
    /// Its name, with its folders in the source of the data set.
    pub name: String,
}

/// The text of a list of files: a line each, split, tab, name.
pub fn sources_text(sources: &[ImageSource]) -> String {
    sources.iter().map(|ImageSource { split, name }| format!("{split}\t{name}\n")).collect()
}

/// Writes a data set split by split, in blocks of images.
///
/// Its pixels are of one type, bytes of pictures or values in [-1, 1]. The file gets its name by [`DataSetWriter::finish`];
/// without it nothing is left behind.
#[derive(Debug)]
pub struct DataSetWriter<T> {
    output: Output,
    shape: Shape,
    provenance: ImageProvenance,
    sources: Vec<ImageSource>,
    splits: BTreeMap<Split, Filling>,
    pixels: PhantomData<T>,
}

/// A split of which some images are written.
#[derive(Debug)]
struct Filling {
    group: Group,
    /// Closed with the file.
    dataset: ManuallyDrop<Dataset>,
    /// Of the pixels so far.
    digest: Hasher,
    /// One an image, or none at all.
    classes: Vec<u32>,
    written: usize,
    count: usize,
}

impl<T: Pixel> DataSetWriter<T> {
    /// Starts a file of images of one shape, made of `sources` as `config` says.
    ///
    /// `provenance` is that of the whole: each split adds its name and the digest of its pixels, with
    /// its classes after them where it has any.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where a file's name cannot be written as a line, and [`DataError::Io`] or
    /// [`DataError::Hdf5`] where the file cannot be written.
    pub fn create(
        path: &Path,
        shape: Shape,
        sources: Vec<ImageSource>,
        config: &impl Serialize,
        provenance: ImageProvenance,
    ) -> Result<Self, DataError> {
        if let Some(source) = sources.iter().find(|s| s.name.contains(['\n', '\t'])) {
            return Err(DataError::invalid(
                "a file's name",
                format!("{:?}", source.name),
                "rename the file: names are written as lines, without tabs and line ends",
            ));
        }
        let output = Output::create(path, FORMAT, VERSION)?;
        let root = output.root()?;
        output.put_json(&root, "config", config)?;
        output.put_list(&root, "sources", sources_text(&sources).as_bytes())?;
        let splits = BTreeMap::new();
        Ok(DataSetWriter { output, shape, provenance, sources, splits, pixels: PhantomData })
    }

    /// Starts a split of as many images as `sources` has entries, each the index of an image's file.
    ///
    /// # Errors
    ///
    /// [`DataError::Hdf5`] where the file cannot be written.
    ///
    /// # Panics
    ///
    /// Where there are no images, the split is there already, a file is not of the split, or there is
    /// not one label for each image.
    pub fn start_split(
        &mut self,
        split: Split,
        sources: &[u32],
        labels: Option<&[u32]>,
    ) -> Result<(), DataError> {
        assert!(!sources.is_empty(), "a split of no images");
        assert!(!self.splits.contains_key(&split), "the split {split} is there already");
        let of_split = |&index: &u32| self.sources[index as usize].split == split;
        assert!(sources.iter().all(of_split), "every file of an image of {split} is of {split}");
        let group = self.output.group(&split.to_string())?;
        self.output.put_text(&group, "range", T::RANGE)?;
        self.output.put_list(&group, "sources", sources)?;
        let classes = labels.unwrap_or_default().to_vec();
        if let Some(labels) = labels {
            assert_eq!(labels.len(), sources.len(), "labels of the images of {split}");
            self.output.put_list(&group, "labels", labels)?;
        }
        let Shape { channels, height, width } = self.shape;
        let count = sources.len();
        let dataset =
            self.output.create_images::<T>(&group, "images", [count, channels, height, width])?;
        let digest = Hasher::default();
        self.splits.insert(split, Filling { group, dataset, digest, classes, written: 0, count });
        Ok(())
    }

    /// Writes the next images of a split that was started.
    ///
    /// # Shapes
    ///
    /// `pixels: [n, C, H, W]`
    ///
    /// # Errors
    ///
    /// [`DataError::Hdf5`] where the file cannot be written.
    ///
    /// # Panics
    ///
    /// Where the split was not started, the number of pixels is none of whole images, or there are
    /// more images than were announced.
    pub fn append(&mut self, split: Split, pixels: &[T]) -> Result<(), DataError> {
        let one = self.shape.len();
        assert!(pixels.len().is_multiple_of(one), "{} pixels of images of {one}", pixels.len());
        let n = pixels.len() / one;
        let filling = self.splits.get_mut(&split).expect("a split that was started");
        assert!(filling.written + n <= filling.count, "more than {} images", filling.count);
        let Shape { channels, height, width } = self.shape;
        let dims = [n, channels, height, width];
        self.output.put_images(&filling.dataset, filling.written, dims, pixels)?;
        T::digest(pixels, &mut filling.digest);
        filling.written += n;
        Ok(())
    }

    /// Closes the file and gives it its name.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] or [`DataError::Hdf5`] where that fails.
    ///
    /// # Panics
    ///
    /// Where images are missing.
    pub fn finish(self) -> Result<(), DataError> {
        for (split, Filling { group, mut digest, classes, written, count, .. }) in self.splits {
            assert_eq!(written, count, "images of {split}");
            update_by_classes(&mut digest, &classes);
            let provenance = ImageProvenance {
                name: format!("{}, {split}", self.provenance.name),
                sha256: digest.finish(),
                ..self.provenance.clone()
            };
            self.output.put_provenance(&group, &provenance)?;
        }
        self.output.finish()
    }
}

/// What a split holds, without its pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitSummary {
    /// The number of images.
    pub images: usize,
    /// The shape of one image.
    pub shape: Shape,
    /// One more than the largest class, where the images have any.
    pub classes: Option<u32>,
    /// The mean of all values, on the scale [-1, 1].
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// The digest that the file says, which is that of `provenance` unless the images were changed since, or written by
    /// another program.
    pub stored_sha256: String,
    /// Where the images come from, with the digest that they have.
    pub provenance: ImageProvenance,
}

/// Adds the digests of classes to those of the pixels before them.
fn update_by_classes(digest: &mut Hasher, classes: &[u32]) {
    digest.update(&classes.iter().flat_map(|class| class.to_le_bytes()).collect::<Vec<u8>>());
}

/// Reads the splits of a data set one by one.
#[derive(Debug)]
pub struct DataSetReader {
    input: Input,
    sources: Vec<ImageSource>,
}

impl DataSetReader {
    /// Opens a file and reads the list of its sources.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] where the file cannot be opened, [`DataError::Malformed`] where it is
    /// truncated, damaged, no HDF5 or no data set of a known version.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let input = Input::open(path, FORMAT, VERSION)?;
        let root = input.root()?;
        if root.link_exists("images") {
            return Err(input.malformed(
                "it holds a single set of images, not the splits of a data set",
                "give a file that `eps data` wrote",
            ));
        }
        let (_, bytes) = input.array(&root, "sources", 1)?;
        let bad = |problem: String| {
            input.malformed(problem, "the file is damaged or incomplete: write it again")
        };
        let text = String::from_utf8(bytes).map_err(|e| bad(format!("the list of files: {e}")))?;
        let source = |line: &str| {
            let (split, name) = line.split_once('\t')?;
            Some(ImageSource { split: split.parse().ok()?, name: name.to_owned() })
        };
        let sources = text
            .lines()
            .map(|line| {
                source(line).ok_or_else(|| {
                    bad(format!("the list of files has the line {line:?}, not split, tab, name"))
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(DataSetReader { input, sources })
    }

    /// The files that the images were made of.
    pub fn sources(&self) -> &[ImageSource] {
        &self.sources
    }

    /// How the data set was made.
    ///
    /// # Errors
    ///
    /// [`DataError::Malformed`] where that is missing or no JSON.
    pub fn config(&self) -> Result<Value, DataError> {
        self.input.json(&self.input.root()?, "config")
    }

    /// The splits that have images.
    ///
    /// # Errors
    ///
    /// [`DataError::Hdf5`] where the file cannot be read.
    pub fn splits(&self) -> Result<Vec<Split>, DataError> {
        let root = self.input.root()?;
        Ok(Split::ALL.into_iter().filter(|split| root.link_exists(&split.to_string())).collect())
    }

    /// Reads the images of a split. The digest of their provenance is computed, whatever the file says.
    ///
    /// # Errors
    ///
    /// [`DataError::Malformed`] where the split has no images, or where a dataset or an attribute is
    /// missing, incomplete, or of another shape or type.
    pub fn read(&self, split: Split) -> Result<ImageSet, DataError> {
        let set = ImageSet::get(&self.input, &self.group(split)?)?;
        self.check_sources(split, set.len())?;
        let mut digest = Hasher::default();
        match set.pixels() {
            Pixels::Bytes(bytes) => u8::digest(bytes, &mut digest),
            Pixels::Values(values) => f32::digest(values, &mut digest),
        }
        update_by_classes(&mut digest, set.labels().unwrap_or_default());
        set.with_sha256(digest.finish()).with_sources(self.image_sources(split)?)
    }

    /// What a split holds; its images are read in blocks, so that it may be larger than the memory.
    ///
    /// # Errors
    ///
    /// Those of [`DataSetReader::read`].
    pub fn summary(&self, split: Split) -> Result<SplitSummary, DataError> {
        let group = self.group(split)?;
        let (mut spread, mut digest) = (Spread::default(), Hasher::default());
        let dims = self.input.image_blocks(&group, "images", |pixels| match pixels {
            Pixels::Bytes(bytes) => {
                spread.add(bytes);
                u8::digest(bytes, &mut digest);
            }
            Pixels::Values(values) => {
                spread.add(values);
                f32::digest(values, &mut digest);
            }
        })?;
        self.check_sources(split, dims[0])?;
        let mut classes = None;
        if group.link_exists("labels") {
            let (_, labels): (_, Vec<u32>) = self.input.array(&group, "labels", 1)?;
            if labels.len() != dims[0] {
                return Err(self.input.malformed(
                    format!("the split {split} has {} images and {} labels", dims[0], labels.len()),
                    "write the file again",
                ));
            }
            update_by_classes(&mut digest, &labels);
            classes = labels.iter().max().map(|largest| largest.saturating_add(1));
        }
        let (mean, deviation) = spread.mean_and_deviation();
        let stored = self.input.provenance(&group)?;
        Ok(SplitSummary {
            images: dims[0],
            shape: Shape { channels: dims[1], height: dims[2], width: dims[3] },
            classes,
            mean,
            deviation,
            stored_sha256: stored.sha256.clone(),
            provenance: ImageProvenance { sha256: digest.finish(), ..stored },
        })
    }

    /// Fails unless each of `images` images has its file.
    fn check_sources(&self, split: Split, images: usize) -> Result<(), DataError> {
        let files = self.image_sources(split)?.len();
        if files == images {
            return Ok(());
        }
        Err(self.input.malformed(
            format!("the split {split} has {images} images of {files} files"),
            "write the file again",
        ))
    }

    /// The index of the file that each image of a split was made of.
    ///
    /// # Errors
    ///
    /// Those of [`DataSetReader::read`]; also where a file is of another split.
    pub fn image_sources(&self, split: Split) -> Result<Vec<u32>, DataError> {
        let (_, indices): (_, Vec<u32>) = self.input.array(&self.group(split)?, "sources", 1)?;
        let wrong = indices.iter().find(|&&index| {
            self.sources.get(index as usize).is_none_or(|source| source.split != split)
        });
        match wrong {
            None => Ok(indices),
            Some(index) => Err(self.input.malformed(
                format!("an image of the split {split} is of file {index}, which is not in it"),
                "splits must not overlap: write the file again",
            )),
        }
    }

    fn group(&self, split: Split) -> Result<Group, DataError> {
        if !self.input.root()?.link_exists(&split.to_string()) {
            return Err(self.input.malformed(
                format!("the split {split} has no images"),
                "choose another split, or make the file again with other shares",
            ));
        }
        self.input.group(&split.to_string())
    }
}

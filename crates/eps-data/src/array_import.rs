//! Import of arrays, such as slices of scans, into a data set of three splits that keeps their values.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use eps_files::Hasher;
use eps_math::Shape;
use eps_math::rng::Stream;
use serde::Serialize;

use crate::array::Needed;
use crate::array_file::{ArrayFile, check_ending, is_hdf5, is_picture, tells_format};
use crate::data_set::{DataSetWriter, ImageSource};
use crate::hdf5_file::hdf5_format;
use crate::image_set::FORMAT;
use crate::picture_source::list;
use crate::pixels::Pixel as _;
use crate::{Array, DataError, ImageProvenance, Shares, Split, Unit, memory};

/// How arrays become images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArrayImportConfig {
    /// The channels of an image; 2 of complex numbers.
    pub channels: usize,
    /// The array that holds the images, in files of several; `images`, or the only one, where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// The unit of the values, where they are not on [-1, 1].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Whether a value outside is set to the nearer end, and is no error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub clip: bool,
    /// Whether all files of a folder in the source, and of those below it, are in one split.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_folder: bool,
    /// How files are shared out to the splits, or folders, or the images of a single file.
    pub shares: Shares,
}

/// An import of arrays whose files are listed; none is read.
///
/// A file holds the images `[N, C, H, W]`; `[N, H, W]` and `[H, W]` of one channel, or complex; a picture is one image, with all of
/// its bits: on [-1, 1] from black to white, or the numbers that it stores where a unit is given. The images of a file are in one split,
/// as the slices of one patient should be, and by folder those of all its files; those of a single file are shared out one by one.
#[derive(Debug)]
pub struct ArrayImport {
    source: PathBuf,
    /// In the folder, with `/` between folders; none of a single file.
    names: Vec<String>,
    passed_over: Vec<String>,
    config: ArrayImportConfig,
}

/// The images of a source, before they are written.
#[derive(Debug)]
struct Images {
    shape: Shape,
    /// The file that the shape is of.
    first: PathBuf,
    /// `[N, C, H, W]`
    values: Vec<f32>,
    sources: Vec<ImageSource>,
    /// For each image its place among those of its split, and the index of its source.
    places: Vec<(u64, u32)>,
    notes: Vec<String>,
    /// The smallest and the largest value in the files.
    range: (f64, f64),
    /// The number of values that were set to an end of the range.
    clipped: usize,
}

/// Rounding of a value at the ends of [-1, 1].
const ROUNDING: f64 = 1e-6;

/// The share of the range below which the values of all images are few for it.
const LITTLE: f64 = 0.05;

impl ArrayImport {
    /// Lists the files of a folder, in all folders below it, or takes a single file, `FILE` or `FILE#NAME`.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] for no channels or a unit whose scale is not positive, [`DataError::Malformed`] where a folder holds
    /// no file of a known format or a file has another one, and where files are asked for by folder and lie in none;
    /// [`DataError::Io`] where a folder cannot be read.
    pub fn open(source: &Path, config: ArrayImportConfig) -> Result<Self, DataError> {
        if config.channels == 0 {
            return Err(DataError::invalid("the channels of an image", 0, "give at least 1"));
        }
        config.unit.as_ref().map_or(Ok(()), Unit::validate)?;
        let source = source.to_owned();
        let file = ArrayFile::of(&source).file;
        fs::metadata(&file).map_err(DataError::io(&file, "open"))?;
        let in_no_folder = || {
            let problem =
                "the files of a folder are to be in one split, and there is no folder in it";
            let remedy =
                "give a folder with a folder of each patient or volume in it, or leave that out";
            DataError::malformed(&source, problem, remedy)
        };
        if !source.is_dir() {
            check_ending(&source)?;
            name_of(&source)?;
            if config.by_folder {
                return Err(in_no_folder());
            }
            return Ok(Self { source, names: vec![], passed_over: vec![], config });
        }
        let (names, passed_over) = list(&source, tells_format)?;
        let advice = "arrays end in .npy, .npz, .h5, .hdf5, .mat, .tif, .nii, .nii.gz or .dcm, and pictures are read too";
        let passed_over = passed_over.told(&source, advice);
        if names.is_empty() {
            return Err(DataError::malformed(
                &source,
                match passed_over.first() {
                    None => "there are no files of arrays in it".to_owned(),
                    Some(others) => format!("there are no files of arrays in it: {others}"),
                },
                "give a folder with such files, or a file",
            ));
        }
        if config.by_folder && names.iter().all(|name| !name.contains('/')) {
            return Err(in_no_folder());
        }
        Ok(Self { source, names, passed_over, config })
    }

    /// What is told of files that are passed over, as their endings tell no format.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The number of files.
    #[expect(clippy::len_without_is_empty, reason = "a source without files is an error")]
    pub fn len(&self) -> usize {
        self.names.len().max(1)
    }

    /// Reads the files, which memory must hold, and writes the data set; `progress` is called after each file. Returns notes for
    /// whoever trains on the images.
    ///
    /// Whoever takes the first images of a split takes some of every file.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] for a value outside [-1, 1], or outside of the unit's range; [`DataError::Malformed`] for an array that
    /// is none of images, or of images of another shape than those before; those of reading and writing.
    pub fn run(
        &self,
        output: &Path,
        provenance: ImageProvenance,
        progress: &dyn Fn(),
    ) -> Result<Vec<String>, DataError> {
        let Images { shape, values, sources, places, mut notes, range, clipped, .. } =
            self.images(progress)?;
        if clipped > 0 {
            let share = 100.0 * clipped as f64 / values.len() as f64;
            notes.push(format!(
                "{clipped} of {} values ({share:.2} %) were outside {} and were set to its nearer end",
                values.len(),
                self.range()
            ));
        }
        let (least, most) = (self.on_range(range.0), self.on_range(range.1));
        if most - least < 2.0 * LITTLE {
            notes.push(format!(
                "all values are between {} and {}, {:.2} % of the range {}: check --unit",
                range.0,
                range.1,
                50.0 * (most - least),
                self.range()
            ));
        }
        if self.config.unit.is_none() && range.0 >= 0.0 {
            let (least, most) = range;
            notes.push(format!(
                "all values are between {least} and {most}, and images are on [-1, 1]: give --unit 0.5,0.5 where they are on [0, 1]"
            ));
        }
        let folders: BTreeSet<&str> =
            self.names.iter().filter_map(|name| Some(name.split_once('/')?.0)).collect();
        let is_of_slices = places.len() == self.names.len() && folders.len() < self.names.len();
        if !self.config.by_folder && is_of_slices && !folders.is_empty() {
            notes.push(
                "each file is shared out by itself: where the files of a folder are slices of one volume, give --by-folder, so that \
                 no split has a slice beside one of another"
                    .to_owned(),
            );
        }
        if self.names.is_empty() && sources.len() > 1 {
            notes.push(
                "the images of a single file are shared out one by one: where they are slices of one volume, give a folder with \
                 a file of each volume, so that no split has a slice beside one of another"
                    .to_owned(),
            );
        }
        let config = serde_json::json!({ "arrays": self.config });
        let mut writer =
            DataSetWriter::create(output, shape, sources.clone(), &config, provenance)?;
        for split in Split::ALL {
            let mut order: Vec<(u64, usize, u32)> = places
                .iter()
                .enumerate()
                .map(|(image, (place, source))| (*place, image, *source))
                .filter(|(.., source)| sources[*source as usize].split == split)
                .collect();
            order.sort_unstable();
            let of_images: Vec<u32> = order.iter().map(|(.., source)| *source).collect();
            if of_images.is_empty() {
                continue;
            }
            writer.start_split(split, &of_images, None)?;
            for (_, image, _) in order {
                writer.append(split, &values[image * shape.len()..(image + 1) * shape.len()])?;
            }
        }
        writer.finish()?;
        Ok(notes)
    }

    /// Reads all images.
    fn images(&self, progress: &dyn Fn()) -> Result<Images, DataError> {
        let mut images: Option<Images> = None;
        let (name, needed) = (
            self.config.array.as_deref().unwrap_or("images"),
            if self.config.channels.is_multiple_of(2) {
                Needed::Finite
            } else {
                Needed::RealImages
            },
        );
        let mut known = Known::default();
        for index in 0..self.len() {
            let path = match self.names.get(index) {
                Some(name) => self.source.join(name),
                None => self.source.clone(),
            };
            if is_hdf5(&path) && matches!(hdf5_format(&path), Ok(Some(format)) if format == FORMAT)
            {
                return Err(DataError::malformed(
                    &path,
                    "it is a data set that `eps data` made",
                    "give it to --data as it is; where it lies among the arrays, move it elsewhere",
                ));
            }
            let (array, notes) = match self.config.unit {
                Some(_) if is_picture(&path) => (Array::read_stored(&path)?, vec![]),
                _ => Array::read_with(&path, name, needed)?,
            };
            let shape = self.shape(&path, &array.dims)?;
            let images = images.get_or_insert_with(|| Images::new(shape, &path));
            if images.shape != shape {
                return Err(DataError::malformed(
                    &path,
                    format!(
                        "its images have shape {shape}, those of {} have {}",
                        images.first.display(),
                        images.shape
                    ),
                    "cut or pad all to one shape, or import them into data sets of their own",
                ));
            }
            if images.notes.is_empty() {
                images.notes = notes;
            }
            let before = images.values.len();
            self.add_values(images, &path, &array.values)?;
            self.add_sources(images, index, before, &mut known)?;
            progress();
        }
        let mut images = images.expect("at least one file");
        images.notes.extend(known.told());
        Ok(images)
    }

    /// The shape of the images in an array of these dimensions.
    fn shape(&self, path: &Path, dims: &[usize]) -> Result<Shape, DataError> {
        let needed = self.config.channels;
        let bad = |problem: String, remedy| Err(DataError::malformed(path, problem, remedy));
        let &[ref outer @ .., height, width] = dims else {
            return bad(
                format!("its array has the dimensions {dims:?}, which are none of an image"),
                "give [N, H, W], or [N, C, H, W]",
            );
        };
        if dims.contains(&0) {
            return bad(
                format!("its array has the dimensions {dims:?}, which hold no values"),
                "leave it out, or write it again",
            );
        }
        let all: usize = outer.iter().product();
        let problem = format!(
            "its array has the dimensions {dims:?}, and images of {needed} channels are asked for"
        );
        if is_picture(path) && all != needed || outer.len() == 2 && outer[1] != needed {
            let is_last = matches!(dims, [_, _, _, 1..=4]);
            return match is_last {
                true => bad(problem, "channels come before rows: numpy.moveaxis(images, -1, 1)"),
                false => bad(problem, "give --channels as the array has them"),
            };
        }
        if outer.len() > 2 || all == 0 || !all.is_multiple_of(needed) {
            return bad(problem, "give [N, C, H, W], and --channels C");
        }
        Ok(Shape { channels: needed, height, width })
    }

    /// Adds the source, or the sources, of a file's images, whose values are those from an index on.
    fn add_sources(
        &self,
        images: &mut Images,
        file: usize,
        from: usize,
        known: &mut Known,
    ) -> Result<(), DataError> {
        let (shares, size) = (self.config.shares, images.shape.len());
        let values = &images.values[from..];
        let mut add = |name: String, values: &[f32]| {
            let folder = name.split_once('/').map(|(folder, _)| folder);
            let split = match folder.filter(|_| self.config.by_folder) {
                Some(folder) => known.of_folder(values, shares.split_of(folder)),
                None => known.of_file(values, shares.split_of(&name)),
            };
            images.sources.push(ImageSource { split, name });
            u32::try_from(images.sources.len() - 1).expect("fewer files than 2^32")
        };
        match self.names.get(file) {
            // Index 0 is the split's.
            Some(name) => {
                let source = add(name.clone(), values);
                let stream = Stream::named(shares.seed, name);
                let count = values.len() / size;
                images.places.extend((1..).take(count).map(|i| (stream.bits(i), source)));
            }
            None => {
                let whole = name_of(&self.source)?;
                for (image, values) in values.chunks_exact(size).enumerate() {
                    let name = format!("{whole}#{image}");
                    let place = Stream::named(shares.seed, &name).bits(1);
                    images.places.push((place, add(name, values)));
                }
            }
        }
        Ok(())
    }

    /// The range of the values, for messages.
    fn range(&self) -> String {
        self.config.unit.as_ref().map_or("[-1, 1]".to_owned(), |unit| {
            format!("{} ± {} ({})", unit.offset, unit.scale, unit.name)
        })
    }

    /// A value on the range of images.
    fn on_range(&self, value: f64) -> f64 {
        self.config.unit.as_ref().map_or(value, |unit| unit.to_image(value))
    }

    fn add_values(
        &self,
        images: &mut Images,
        path: &Path,
        values: &[f64],
    ) -> Result<(), DataError> {
        let ends = |values: &[f64]| {
            let start = (f64::INFINITY, f64::NEG_INFINITY);
            values.iter().fold(start, |(least, most), v| (v.min(least), v.max(most)))
        };
        let is_outside = |value: f64| self.on_range(value).abs() > 1.0 + ROUNDING;
        let (least, most) = ends(values);
        let outside = [least, most].into_iter().find(|value| is_outside(*value));
        if self.config.clip {
            images.clipped += values.iter().filter(|value| is_outside(**value)).count();
        } else if let Some(value) = outside {
            let (offset, scale) = (f64::midpoint(least, most), (most - least) / 2.0);
            return Err(DataError::invalid(
                format!("a value of {}", path.display()),
                value,
                format!(
                    "outside {}: give --unit OFFSET,SCALE with all values in OFFSET ± SCALE, this file needs {offset},{scale}; or \
                     --clip, which sets those outside to the nearer end",
                    self.range()
                ),
            ));
        }
        images.range = (images.range.0.min(least), images.range.1.max(most));
        let (needed, room) = (images.values.len() + values.len(), images.values.capacity());
        if needed > room {
            // What grows is copied, into twice the room.
            let bytes = size_of::<f32>() * needed.max(2 * room);
            let what = format!(
                "the images of all files as far as {}, with room for more,",
                path.display()
            );
            memory::require(
                &what,
                bytes as u64,
                "give fewer files: parts of them as data sets of their own",
            )?;
        }
        #[expect(clippy::cast_possible_truncation, reason = "images are stored in f32")]
        images.values.extend(values.iter().map(|v| self.on_range(*v).clamp(-1.0, 1.0) as f32));
        Ok(())
    }
}

/// The splits of what was read, by its values: what is equal must not be on both sides of a test.
#[derive(Debug, Default)]
struct Known {
    splits: HashMap<String, Split>,
    /// The number of files that are in the split of an equal one.
    moved: usize,
    /// The number of files that are equal to one in another split, where folders decide.
    apart: usize,
}

impl Known {
    /// The split of a file whose name says one: that of an equal file before.
    fn of_file(&mut self, values: &[f32], named: Split) -> Split {
        let split = *self.splits.entry(digest(values)).or_insert(named);
        self.moved += usize::from(split != named);
        split
    }

    /// The split of a file whose folder says one.
    fn of_folder(&mut self, values: &[f32], named: Split) -> Split {
        let split = *self.splits.entry(digest(values)).or_insert(named);
        self.apart += usize::from(split != named);
        named
    }

    fn told(&self) -> Vec<String> {
        let told = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let moved = told(self.moved, "are equal to others, and are in the split of those");
        let apart = told(
            self.apart,
            "files are equal to one in another split, as their folders are in different ones: a test would be one of memory",
        );
        moved.into_iter().chain(apart).collect()
    }
}

fn digest(values: &[f32]) -> String {
    let mut digest = Hasher::default();
    f32::digest(values, &mut digest);
    digest.finish()
}

/// What a single file's images are called after: its name, and that of the array after `#`.
fn name_of(source: &Path) -> Result<String, DataError> {
    let ArrayFile { file, array } = ArrayFile::of(source);
    let name = file.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        let shown = format!("{:?}", file.display().to_string());
        DataError::invalid("a file's name", shown, "rename the file: names must be UTF-8")
    })?;
    Ok(array.map_or_else(|| name.to_owned(), |array| format!("{name}#{array}")))
}

impl Images {
    fn new(shape: Shape, first: &Path) -> Self {
        Self {
            shape,
            first: first.to_owned(),
            values: vec![],
            sources: vec![],
            places: vec![],
            notes: vec![],
            range: (f64::INFINITY, f64::NEG_INFINITY),
            clipped: 0,
        }
    }
}

//! Import of pictures, such as FFHQ and ImageNet, into a data set of three splits.
//!
//! Every picture becomes one image: the largest square in its middle, resized by Lanczos' filter as EDM's
//! `dataset_tool.py --transform=center-crop` does. Images are made in blocks, each a file in the folder
//! `OUT.h5.part`, so that an import that was killed goes on where it was; in the end the blocks become one
//! file.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use eps_math::Shape;
use eps_math::rng::Stream;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::atomic::write_atomically;
use crate::data_set::{DataSetWriter, Source};
use crate::digest::sha256;
use crate::picture_source::{LABELS_FILE, PictureSource};
use crate::resize::lanczos;
use crate::{DataError, Provenance, Raster, Shares, Split};

/// Pictures of a block.
const BLOCK: usize = 256;

/// The file of a started import's configuration.
const STARTED: &str = "import.json";

/// How pictures become images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportConfig {
    /// The side of an image, in pixels.
    pub size: usize,
    /// Whether images have one channel, of brightness, instead of red, green and blue.
    #[serde(default)]
    pub grey: bool,
    /// Whether the pictures' classes are imported too.
    pub labels: bool,
    /// How files are shared out to the splits.
    pub shares: Shares,
}

/// What a file says of the import that made it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    import: ImportConfig,
    /// Of the pictures' names and classes, in order.
    listing_sha256: String,
    /// The names of the classes where they are folders.
    classes: Option<Vec<String>>,
}

/// A picture that is to be imported.
#[derive(Debug)]
struct Entry {
    split: Split,
    name: String,
    class: Option<u32>,
}

/// An import that has been prepared: the pictures are listed, none is read.
#[derive(Debug)]
pub struct Import {
    source: PictureSource,
    output: PathBuf,
    record: Record,
    /// By split, shuffled inside it.
    entries: Vec<Entry>,
}

/// What became of the pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// The pictures that an earlier call had done.
    pub resumed: usize,
    /// The pictures that were left out, each with the reason.
    pub skipped: Vec<(String, String)>,
}

impl Import {
    /// Lists the pictures of a folder or a ZIP archive, which are to become the data set `output`.
    ///
    /// A picture's split, and its place in it, depend on its name and the seed of the shares alone.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where the size is 0, and those of [`PictureSource`].
    pub fn open(path: &Path, output: &Path, config: ImportConfig) -> Result<Self, DataError> {
        if config.size == 0 {
            return Err(DataError::invalid("the side of an image", 0, "give at least 1 pixel"));
        }
        let mut source = PictureSource::open(path)?;
        let labels = config.labels.then(|| source.labels()).transpose()?;
        let mut entries: Vec<(Split, u64, String)> = source
            .names()
            .iter()
            .map(|name| {
                // Index 0 is the split's.
                let place = Stream::named(config.shares.seed, name).bits(1);
                (config.shares.split_of(name), place, name.clone())
            })
            .collect();
        entries.sort();
        let class = |name: &str| labels.as_ref().and_then(|labels| labels.of.get(name).copied());
        let entries: Vec<Entry> = entries
            .into_iter()
            .map(|(split, _, name)| Entry { split, class: class(&name), name })
            .collect();
        let line = |entry: &Entry| format!("{}\t{:?}\n", entry.name, entry.class);
        let listing_sha256 = sha256(entries.iter().map(line).collect::<String>().as_bytes());
        let classes = labels.and_then(|labels| labels.classes);
        let record = Record { import: config, listing_sha256, classes };
        Ok(Import { source, output: output.to_owned(), record, entries })
    }

    /// The number of pictures.
    #[expect(clippy::len_without_is_empty, reason = "a source without pictures is an error")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Refuses pictures of another number of classes than `needed`, that of a network.
    ///
    /// The number is one more than the largest class, and 0 where classes are not imported.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] with both numbers.
    pub fn require_classes(&self, needed: usize) -> Result<(), DataError> {
        let largest = self.entries.iter().filter_map(|entry| entry.class).max();
        let found = largest.map_or(0, |class| class as usize + 1);
        if found == needed {
            return Ok(());
        }
        Err(DataError::invalid(
            format!("the number of classes in {}", self.source.path().display()),
            found,
            format!(
                "needed are {needed}: give the folder in which every folder is a class, such as .../train, \
                 or a {LABELS_FILE} with the network's classes"
            ),
        ))
    }

    /// Imports the pictures and writes the data set; `progress` is called with the number of pictures of
    /// each finished block.
    ///
    /// Where `skip_bad`, pictures that are damaged or transparent are left out and reported.
    ///
    /// # Errors
    ///
    /// [`DataError::Malformed`] or [`DataError::Transparent`] for the first picture that cannot be taken,
    /// unless `skip_bad`; [`DataError::Io`] where a picture cannot be read, be it damaged or not;
    /// [`DataError::Malformed`] where another import was started; [`DataError::Invalid`] where no picture
    /// is left; those of writing. What was done stays for the next call.
    pub fn run(
        mut self,
        skip_bad: bool,
        provenance: Provenance,
        progress: &dyn Fn(usize),
    ) -> Result<ImportReport, DataError> {
        let folder = self.start()?;
        let mut report = ImportReport::default();
        for block in 0..self.entries.len().div_ceil(BLOCK) {
            let entries = block * BLOCK..((block + 1) * BLOCK).min(self.entries.len());
            let count = entries.len();
            if pixels_file(&folder, block).is_file() {
                report.resumed += count;
            } else {
                let images = self.images(entries, skip_bad)?;
                self.write_block(&folder, block, &images)?;
            }
            progress(count);
        }
        report.skipped = self.assemble(&folder, skip_bad, provenance)?;
        fs::remove_dir_all(&folder).map_err(DataError::io(&folder, "remove"))?;
        Ok(report)
    }

    fn shape(&self) -> Shape {
        let side = self.record.import.size;
        Shape { channels: if self.record.import.grey { 1 } else { 3 }, height: side, width: side }
    }

    /// Makes the folder of the blocks, or takes that of an import that was killed.
    fn start(&self) -> Result<PathBuf, DataError> {
        let mut name = OsString::from(&self.output);
        name.push(".part");
        let folder = PathBuf::from(name);
        let path = folder.join(STARTED);
        if let Ok(text) = fs::read(&path) {
            return match serde_json::from_slice::<Record>(&text) {
                Ok(started) if started == self.record => Ok(folder),
                _ => Err(DataError::malformed(
                    &path,
                    "another import was started there, of other pictures or with other settings",
                    "finish that one, or remove the folder to start anew",
                )),
            };
        }
        fs::create_dir_all(&folder).map_err(DataError::io(&folder, "create"))?;
        let text = serde_json::to_vec_pretty(&self.record).expect("a record is JSON");
        write_atomically(&path, |file| file.write_all(&text))?;
        Ok(folder)
    }

    /// The images of some pictures, or why there is none.
    fn images(
        &mut self,
        entries: std::ops::Range<usize>,
        skip_bad: bool,
    ) -> Result<Vec<Result<Vec<u8>, String>>, DataError> {
        let ImportConfig { size, grey, .. } = self.record.import;
        let entries = &self.entries[entries];
        let contents: Vec<(PathBuf, Result<Vec<u8>, DataError>)> = entries
            .iter()
            .map(|entry| (self.source.path_of(&entry.name), self.source.read(&entry.name)))
            .collect();
        let image = |(path, content): (PathBuf, Result<Vec<u8>, DataError>)| {
            let square = Raster::decode(&path, &content?)?.centre_square();
            let square = if grey { square.to_grey() } else { square.to_colour() };
            Ok(lanczos(&square, size, size).planes())
        };
        let images: Vec<Result<Vec<u8>, DataError>> = contents.into_par_iter().map(image).collect();
        let keep = |image: Result<Vec<u8>, DataError>| match image {
            // What the system failed to read may be there the next time.
            Err(error @ (DataError::Malformed { .. } | DataError::Transparent { .. }))
                if skip_bad =>
            {
                Ok(Err(error.to_string()))
            }
            image => image.map(Ok),
        };
        images.into_iter().map(keep).collect()
    }

    fn write_block(
        &self,
        folder: &Path,
        block: usize,
        images: &[Result<Vec<u8>, String>],
    ) -> Result<(), DataError> {
        let first = block * BLOCK;
        let skipped: HashMap<&str, &str> = images
            .iter()
            .enumerate()
            .filter_map(|(i, image)| {
                Some((&*self.entries[first + i].name, image.as_ref().err()?.as_str()))
            })
            .collect();
        let text = serde_json::to_vec(&skipped).expect("names and reasons are JSON");
        write_atomically(&skipped_file(folder, block), |file| file.write_all(&text))?;
        // The last of both: where it is, the block is done.
        write_atomically(&pixels_file(folder, block), |file| {
            images.iter().flatten().try_for_each(|pixels| file.write_all(pixels))
        })
    }

    /// Writes the blocks as one file; returns the pictures that were left out.
    fn assemble(
        &self,
        folder: &Path,
        skip_bad: bool,
        provenance: Provenance,
    ) -> Result<Vec<(String, String)>, DataError> {
        const START_ANEW: &str = "the file is damaged: remove it, and the import makes it again";
        let blocks = self.entries.len().div_ceil(BLOCK);
        let mut skipped: HashMap<String, String> = HashMap::new();
        for block in 0..blocks {
            let path = skipped_file(folder, block);
            let text = fs::read(&path).map_err(DataError::io(&path, "read"))?;
            let bad: HashMap<String, String> = serde_json::from_slice(&text)
                .map_err(|e| DataError::malformed(&path, e.to_string(), START_ANEW))?;
            skipped.extend(bad);
        }
        if let (false, Some((name, reason))) = (skip_bad, skipped.iter().min()) {
            return Err(DataError::malformed(
                folder,
                format!("an earlier call left out {name} ({reason})"),
                "allow that again, or remove the folder to start anew",
            ));
        }
        let kept = |entry: &&Entry| !skipped.contains_key(&entry.name);
        let entries: Vec<&Entry> = self.entries.iter().filter(kept).collect();
        if entries.is_empty() {
            return Err(DataError::invalid(
                "the number of pictures that can be taken",
                0,
                "every picture was left out: see the reasons by importing without leaving out",
            ));
        }
        let sources = entries
            .iter()
            .map(|entry| Source { split: entry.split, name: entry.name.clone() })
            .collect();
        let mut writer =
            DataSetWriter::create(&self.output, self.shape(), sources, &self.record, provenance)?;
        for split in Split::ALL {
            let of_split = |&(_, entry): &(u32, &&Entry)| entry.split == split;
            let (indices, classes): (Vec<u32>, Vec<Option<u32>>) = (0..)
                .zip(&entries)
                .filter(of_split)
                .map(|(index, entry)| (index, entry.class))
                .unzip();
            let classes: Option<Vec<u32>> = classes.into_iter().collect();
            if !indices.is_empty() {
                let labels = classes.filter(|_| self.record.import.labels);
                writer.start_split(split, &indices, labels.as_deref())?;
            }
        }
        let mut rest = entries.iter();
        for block in 0..blocks {
            let path = pixels_file(folder, block);
            let pixels = fs::read(&path).map_err(DataError::io(&path, "read"))?;
            let of_block = &self.entries[block * BLOCK..((block + 1) * BLOCK).min(self.len())];
            let count = of_block.iter().filter(kept).count();
            if pixels.len() != count * self.shape().len() {
                let problem = format!("it has {} bytes of {count} images", pixels.len());
                return Err(DataError::malformed(&path, problem, START_ANEW));
            }
            for (entry, image) in
                rest.by_ref().take(count).zip(pixels.chunks_exact(self.shape().len()))
            {
                writer.append(entry.split, image)?;
            }
        }
        writer.finish()?;
        let mut skipped: Vec<(String, String)> = skipped.into_iter().collect();
        skipped.sort();
        Ok(skipped)
    }
}

fn pixels_file(folder: &Path, block: usize) -> PathBuf {
    folder.join(format!("{block:06}.pixels"))
}

fn skipped_file(folder: &Path, block: usize) -> PathBuf {
    folder.join(format!("{block:06}.skipped.json"))
}

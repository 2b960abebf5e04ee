//! Import of pictures, such as FFHQ and ImageNet, into a data set of three splits.
//!
//! Every picture becomes one image: the largest square in its middle, resized by Lanczos' filter as EDM's
//! `dataset_tool.py --transform=center-crop` does. Images are made in blocks, each a file in the folder
//! `OUT.h5.part`, so that an import that was killed goes on where it was; in the end the blocks become one
//! file. It goes on with the same settings and pictures alone: a block says of each picture how large and how
//! old its file was, or its checksum in an archive.
//!
//! The test split may have a source of its own. The same file under several names, by its SHA-256, is in one
//! split alone: what is a test picture is left out of validation and training, and what is a validation
//! picture out of training.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use eps_files::{Lock, sha256, write_atomically, write_bytes};
use eps_math::Shape;
use eps_math::rng::Stream;
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::array_file::unused_bits;
use crate::data_set::{DataSetWriter, ImageSource};
use crate::picture_source::{LABELS_FILE, Labels, PictureSource, Stamp};
use crate::raster::Decoded;
use crate::resize::lanczos;
use crate::{DataError, ImageProvenance, Shares, Split};

/// Pictures of a block.
const BLOCK: usize = 256;

/// Digests after which those of validation and test pictures are written, so that an import that is killed while it finds them goes
/// on too.
const DIGESTS_AT_ONCE: usize = 4096;

/// The file of a started import's configuration.
const STARTED: &str = "import.json";

/// The file of the pictures' names and classes, a line each.
const LISTING: &str = "pictures.txt";

/// The file of the digests of the pictures that no network is trained on.
const HELD_OUT: &str = "held-out.json";

/// The file that an import at work holds a lock on.
const LOCK: &str = "lock";

const START_ANEW: &str = "the file is damaged: remove it, and the import makes it again";

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
    /// The most pictures of a split, its first ones in the shuffled order; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
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
    /// The source of the test split where it has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test_source: Option<TestSource>,
}

/// What a file says of a source of test pictures alone.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestSource {
    /// The name of the folder or the archive.
    name: String,
    /// The number of its pictures.
    pictures: usize,
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
    /// That of the test split where it has its own.
    test: Option<PictureSource>,
    output: PathBuf,
    record: Record,
    /// The pictures' names and classes, a line each.
    listing: String,
    /// One more than the largest class of all pictures, within the limit or not.
    class_count: usize,
    /// By split, shuffled inside it.
    entries: Vec<Entry>,
}

/// What became of a picture.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Taken {
    /// None where it cannot be read.
    stamp: Option<Stamp>,
    /// Of its file; none where it cannot be read.
    sha256: Option<String>,
    left_out: Option<LeftOut>,
    /// The largest of its values where they have 16 bits, of which 8 are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    largest: Option<u16>,
    /// Whether it is smaller than its image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_enlarged: bool,
}

/// The digest of a picture that no network is trained on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldOut {
    /// None where it cannot be read.
    stamp: Option<Stamp>,
    sha256: Option<String>,
}

/// Why a picture is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LeftOut {
    /// It is damaged or transparent, as the text says.
    Bad(String),
    /// The same file is a picture of this split.
    IsIn(Split),
}

/// What became of the pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// The pictures that an earlier call had done.
    pub resumed: usize,
    /// The pictures that were left out, each with the reason.
    pub skipped: Vec<(String, String)>,
    /// The number of pictures with 16 bits a channel, of which 8 were kept.
    pub rounded: usize,
    /// The largest value of all of these.
    pub largest: Option<u16>,
    /// The number of pictures that are smaller than their images.
    pub enlarged: usize,
}

impl ImportReport {
    /// What whoever trains on the images should know of the pictures: that their bits are not all kept, or not all used,
    /// and that some were enlarged to `size` pixels.
    pub fn notes(&self, size: usize) -> Vec<String> {
        let mut notes = Vec::new();
        let count = |count: usize, one: &str, more: &str| match count {
            1 => format!("1 picture {one}"),
            count => format!("{count} pictures {more}"),
        };
        if self.rounded > 0 {
            let have = count(self.rounded, "has", "have");
            notes.push(format!(
                "{have} 16 bits a channel: images keep 8 of them (`eps data arrays` keeps all, of pictures of one size)"
            ));
        }
        let of_all = self.largest.and_then(|largest| unused_bits("these pictures", largest));
        notes.extend(of_all);
        if self.enlarged > 0 {
            let are = count(self.enlarged, "is", "are");
            notes.push(format!(
                "{are} smaller than {size} x {size} pixels and enlarged: a network that learns from them learns blurred \
                 images; give larger pictures, or a smaller size"
            ));
        }
        notes
    }
}

impl Import {
    /// Lists the pictures of a folder or a ZIP archive, which are to become the data set `output`; with
    /// `test`, another folder or archive, its pictures are the test split, and those of `path` the others.
    ///
    /// A picture's split, and its place in it, depend on its name and the seed of the shares alone.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where the size is 0, where `test` is given and the shares leave a part of
    /// `path` to the test split, and where the classes of both sources are not the same; those of
    /// [`PictureSource`].
    pub fn open(
        path: &Path,
        test: Option<&Path>,
        output: &Path,
        config: ImportConfig,
    ) -> Result<Self, DataError> {
        if config.size == 0 {
            return Err(DataError::invalid("the side of an image", 0, "give at least 1 pixel"));
        }
        if test.is_some() && config.shares.test > 0.0 {
            return Err(DataError::invalid(
                "the test share of pictures beside test pictures",
                config.shares.test,
                "give it as 0, such as 90:10:0",
            ));
        }
        let mut source = PictureSource::open(path)?;
        let labels = config.labels.then(|| source.labels()).transpose()?;
        let mut test = test.map(PictureSource::open).transpose()?;
        let test_labels = match &mut test {
            Some(test) if config.labels => Some(test.labels()?),
            _ => None,
        };
        if let (Some(test), Some(of_test), Some(labels)) = (&test, &test_labels, &labels) {
            same_classes(labels, of_test, test.path())?;
        }
        // Index 0 is the split's.
        let place = |name: &str| Stream::named(config.shares.seed, name).bits(1);
        let mut places: Vec<(Split, u64, &String)> = source
            .names()
            .iter()
            .map(|name| (config.shares.split_of(name), place(name), name))
            .chain(
                test.iter()
                    .flat_map(PictureSource::names)
                    .map(|name| (Split::Test, place(name), name)),
            )
            .collect();
        places.sort();
        let entry = |&(split, _, name): &(Split, u64, &String)| {
            let is_test = test.is_some() && split == Split::Test;
            let labels = if is_test { &test_labels } else { &labels };
            let class = labels.as_ref().and_then(|labels| labels.of.get(name).copied());
            Entry { split, class, name: name.clone() }
        };
        let mut entries: Vec<Entry> = places.iter().map(entry).collect();
        let line = |entry: &Entry| format!("{}\t{:?}\n", entry.name, entry.class);
        let listing: String = entries.iter().map(line).collect();
        let listing_sha256 = sha256(listing.as_bytes());
        let test_source = test.as_ref().map(|test| TestSource {
            name: test.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            pictures: test.names().len(),
        });
        let class_count = entries
            .iter()
            .filter_map(|entry| entry.class)
            .max()
            .map_or(0, |class| class as usize + 1);
        if let Some(limit) = config.limit {
            let mut taken: BTreeMap<Split, usize> = BTreeMap::new();
            entries.retain(|entry| {
                let count = taken.entry(entry.split).or_default();
                *count += 1;
                *count <= limit
            });
        }
        let classes = labels.and_then(|labels| labels.classes);
        let record = Record { import: config, listing_sha256, classes, test_source };
        let output = output.to_owned();
        Ok(Import { source, test, output, record, listing, class_count, entries })
    }

    /// What is told of files and folders that are passed over, for each source that has any; see
    /// [`PictureSource::passed_over`].
    pub fn passed_over(&self) -> Vec<String> {
        [Some(&self.source), self.test.as_ref()]
            .into_iter()
            .flatten()
            .flat_map(PictureSource::passed_over)
            .collect()
    }

    /// The number of pictures.
    #[expect(clippy::len_without_is_empty, reason = "a source without pictures is an error")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// One more than the largest class; 0 where classes are not imported.
    pub fn classes(&self) -> usize {
        self.class_count
    }

    /// Refuses pictures of another number of classes than `needed`, that of a network.
    ///
    /// The number is one more than the largest class, and 0 where classes are not imported.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] with both numbers.
    pub fn require_classes(&self, needed: usize) -> Result<(), DataError> {
        let found = self.class_count;
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

    /// How often a picture is read: those of validation and test once more, before all others, for their digests.
    pub fn reads(&self) -> usize {
        self.len() + self.entries.iter().filter(|entry| entry.split != Split::Train).count()
    }

    /// Imports the pictures and writes the data set; `progress` is called with numbers of [reads](Import::reads) that
    /// are done.
    ///
    /// Where `skip_bad`, pictures that are damaged or transparent are left out and reported. So is in any
    /// case a file that is also a picture of a split further from the training.
    ///
    /// # Errors
    ///
    /// [`DataError::Picture`] for the first picture that cannot be taken, unless `skip_bad`;
    /// [`DataError::Io`] where another process imports into the file, and where a picture cannot be read, be it damaged or not; [`DataError::Malformed`] where
    /// an import of other pictures or with other settings was started, a picture was changed after it was
    /// imported, or the folder `OUT.h5.part` is somebody else's; [`DataError::Invalid`] where no picture is
    /// left, or none but test pictures that have a source of their own; those of writing. What was done stays
    /// for the next call.
    pub fn run(
        mut self,
        skip_bad: bool,
        provenance: ImageProvenance,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<ImportReport, DataError> {
        let (folder, lock) = self.start()?;
        let held_out = self.held_out(&folder, progress)?;
        let mut report = ImportReport::default();
        for block in 0..self.entries.len().div_ceil(BLOCK) {
            let entries = block * BLOCK..((block + 1) * BLOCK).min(self.entries.len());
            let count = entries.len();
            if self.is_done(&folder, block, &held_out)? {
                report.resumed += count;
                progress(count);
            } else {
                let (taken, images) = self.images(entries, skip_bad, &held_out, progress)?;
                write_block(&folder, block, &taken, &images)?;
            }
        }
        let assembled = self.assemble(&folder, skip_bad, provenance);
        if let Err(DataError::Invalid { .. }) = assembled {
            // The same call would end alike, and another is not to find what cannot be finished.
            let _ = remove(&folder);
        }
        let assembled = assembled?;
        report = ImportReport { resumed: report.resumed, ..assembled };
        remove(&folder)?;
        drop(lock);
        Ok(report)
    }

    fn shape(&self) -> Shape {
        let side = self.record.import.size;
        Shape { channels: if self.record.import.grey { 1 } else { 3 }, height: side, width: side }
    }

    /// Makes the folder of the blocks, or takes that of an import that was killed, and locks it.
    fn start(&self) -> Result<(PathBuf, Lock), DataError> {
        let mut name = OsString::from(&self.output);
        name.push(".part");
        let folder = PathBuf::from(name);
        if folder.symlink_metadata().is_err() {
            fs::create_dir(&folder).map_err(DataError::io(&folder, "create"))?;
        }
        let names = names(&folder)?;
        let lock = || Ok::<Lock, DataError>(Lock::take(&folder.join(LOCK), &self.output)?);
        let lock = if names.iter().any(|name| name == STARTED) {
            let lock = lock()?;
            self.check_started(&folder)?;
            lock
        } else if let Some(name) = names.iter().find(|name| *name != LOCK && !is_temporary(name)) {
            return Err(DataError::malformed(
                &folder,
                format!(
                    "the import needs this folder, which holds {name:?} and no {STARTED} of an import"
                ),
                "move it away, or name another file to write",
            ));
        } else {
            let lock = lock()?;
            if let Err(error) = write_json(&folder.join(STARTED), &self.record) {
                // Nothing was started, so nothing is left behind; the first error is what is told.
                let _ = fs::remove_file(folder.join(LOCK));
                return Err(error);
            }
            lock
        };
        let listing = folder.join(LISTING);
        if !listing.is_file() {
            write_bytes(&listing, self.listing.as_bytes())?;
        }
        Ok((folder, lock))
    }

    /// Fails unless the import that was started in a folder is this one.
    fn check_started(&self, folder: &Path) -> Result<(), DataError> {
        let path = folder.join(STARTED);
        let started: Record =
            read_json(&path, "move the folder away, or name another file to write")?;
        let settings = |record: &Record| {
            let test_pictures = record.test_source.as_ref().map(|test| &test.name);
            let mut settings = serde_json::to_value(&record.import).expect("settings are JSON");
            settings["test_pictures"] =
                serde_json::to_value(test_pictures).expect("a name is JSON");
            settings
        };
        if let Some((name, there, here)) = difference(&settings(&started), &settings(&self.record))
        {
            return Err(DataError::malformed(
                folder,
                format!(
                    "another import was started there: its setting {name:?} is {there}, here {here}"
                ),
                "finish that one with its settings, or remove the folder to start anew",
            ));
        }
        if started == self.record {
            return Ok(());
        }
        let there = fs::read_to_string(folder.join(LISTING)).unwrap_or_default();
        let (there, here): (BTreeSet<&str>, BTreeSet<&str>) =
            (there.lines().collect(), self.listing.lines().collect());
        let shown = |line: &str| {
            let (name, class) = line.split_once("\tSome(").unwrap_or((line, ""));
            let class = class.strip_suffix(')').map(|class| format!(" of class {class}"));
            format!("{:?}{}", name.trim_end_matches("\tNone"), class.unwrap_or_default())
        };
        let problem = match (there.difference(&here).next(), here.difference(&there).next()) {
            (Some(gone), _) => format!("{} was there then, and is not now", shown(gone)),
            (None, Some(new)) if !there.is_empty() => format!("{} was not there then", shown(new)),
            _ => "their names or classes have changed since".to_owned(),
        };
        Err(DataError::malformed(
            folder,
            format!("an import of other pictures was started there: {problem}"),
            "give the same pictures as then, or remove the folder to start anew",
        ))
    }

    /// Whether a block was made by an earlier call, of the pictures that are there now.
    fn is_done(
        &mut self,
        folder: &Path,
        block: usize,
        held_out: &BTreeMap<String, Split>,
    ) -> Result<bool, DataError> {
        let (pixels, taken) = (pixels_file(folder, block), taken_file(folder, block));
        if !(pixels.is_file() && taken.is_file()) {
            return Ok(false);
        }
        let taken: Vec<Taken> = read_json(&taken, START_ANEW)?;
        for (at, taken) in (block * BLOCK..).zip(&taken) {
            let now = self.stamp(at);
            if now != taken.stamp {
                let shown = |stamp: Option<Stamp>| {
                    stamp.map_or_else(|| "unreadable".to_owned(), |stamp| stamp.to_string())
                };
                let Entry { name, .. } = &self.entries[at];
                return Err(DataError::malformed(
                    &self.source_of(&self.entries[at]).path_of(name),
                    format!(
                        "the picture was changed after it was imported into {} ({}; now {})",
                        folder.display(),
                        shown(taken.stamp),
                        shown(now)
                    ),
                    "put the former picture back, or remove that folder to start anew",
                ));
            }
        }
        // A picture that was held out may have been changed before its own block was made.
        let is_as_now = |(entry, taken): (&Entry, &Taken)| {
            let now = is_in(held_out, taken.sha256.as_deref(), entry.split);
            let is_in = |left_out: &&LeftOut| matches!(left_out, LeftOut::IsIn(_));
            taken.left_out.as_ref().filter(is_in) == now.as_ref()
        };
        if self.entries[block * BLOCK..].iter().zip(&taken).all(is_as_now) {
            return Ok(true);
        }
        fs::remove_file(&pixels).map_err(DataError::io(&pixels, "remove"))?;
        Ok(false)
    }

    /// The digests of validation and test pictures, each with the split that the picture belongs to.
    fn held_out(
        &mut self,
        folder: &Path,
        progress: &dyn Fn(usize),
    ) -> Result<BTreeMap<String, Split>, DataError> {
        let path = folder.join(HELD_OUT);
        let former: Vec<HeldOut> =
            if path.is_file() { read_json(&path, START_ANEW)? } else { Vec::new() };
        let mut former = former.into_iter();
        let (mut found, mut read) = (Vec::new(), 0_usize);
        let mut digests = BTreeMap::new();
        for at in 0..self.entries.len() {
            let split = self.entries[at].split;
            if split == Split::Train {
                continue;
            }
            let stamp = self.stamp(at);
            let picture = match former.next() {
                Some(known) if known.stamp == stamp => known,
                _ => {
                    read += 1;
                    match self.read(at) {
                        Ok(content) => HeldOut { stamp, sha256: Some(sha256(&content)) },
                        // Whether it may be left out is decided where its image is made.
                        Err(DataError::Malformed { .. }) => HeldOut { stamp, sha256: None },
                        Err(error) => return Err(error),
                    }
                }
            };
            if let Some(digest) = &picture.sha256 {
                // The later split takes it.
                let taken = digests.entry(digest.clone()).or_insert(split);
                *taken = split.max(*taken);
            }
            found.push(picture);
            progress(1);
            if read == DIGESTS_AT_ONCE {
                read = 0;
                write_json(&path, &found)?;
            }
        }
        write_json(&path, &found)?;
        Ok(digests)
    }

    /// The stamp of an entry's file; none where it cannot be read.
    fn stamp(&mut self, at: usize) -> Option<Stamp> {
        let Entry { split, name, .. } = &self.entries[at];
        match &mut self.test {
            Some(test) if *split == Split::Test => test.stamp(name).ok(),
            _ => self.source.stamp(name).ok(),
        }
    }

    /// Reads the file of an entry.
    fn read(&mut self, at: usize) -> Result<Vec<u8>, DataError> {
        let Entry { split, name, .. } = &self.entries[at];
        match &mut self.test {
            Some(test) if *split == Split::Test => test.read(name),
            _ => self.source.read(name),
        }
    }

    /// The source of an entry.
    fn source_of(&self, entry: &Entry) -> &PictureSource {
        match &self.test {
            Some(test) if entry.split == Split::Test => test,
            _ => &self.source,
        }
    }

    /// What becomes of some pictures, and the images of those that are taken.
    fn images(
        &mut self,
        entries: std::ops::Range<usize>,
        skip_bad: bool,
        held_out: &BTreeMap<String, Split>,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<(Vec<Taken>, Vec<Vec<u8>>), DataError> {
        let ImportConfig { size, grey, .. } = self.record.import;
        type Image = (Taken, Option<Vec<u8>>);
        type Read = (Split, PathBuf, Option<Stamp>, Result<Vec<u8>, DataError>);
        let contents: Vec<Read> = entries
            .map(|at| {
                let Entry { split, ref name, .. } = self.entries[at];
                let path = self.source_of(&self.entries[at]).path_of(name);
                // The stamp first: a file that is replaced in between is found out.
                (split, path, self.stamp(at), self.read(at))
            })
            .collect();
        let image = |path: &Path, content: &[u8]| {
            let decoded = Decoded::of(path, content)?;
            let largest = decoded.largest;
            let square = decoded.shown().centre_square();
            let square = if grey { square.to_grey() } else { square.to_colour() };
            let is_enlarged = square.width() < size;
            Ok((lanczos(&square, size, size).planes(), largest, is_enlarged))
        };
        let take = |(split, path, stamp, content): Read| {
            progress(1);
            let sha256 = content.as_ref().ok().map(|content| sha256(content));
            let left_out = is_in(held_out, sha256.as_deref(), split);
            let taken = Taken { stamp, sha256, left_out, largest: None, is_enlarged: false };
            if taken.left_out.is_some() {
                return Ok((taken, None));
            }
            match content.and_then(|content| image(&path, &content)) {
                Ok((image, largest, is_enlarged)) => {
                    Ok((Taken { largest, is_enlarged, ..taken }, Some(image)))
                }
                // What the system failed to read may be there the next time.
                Err(error @ (DataError::Malformed { .. } | DataError::Transparent { .. })) => {
                    if !skip_bad {
                        return Err(DataError::Picture(Box::new(error)));
                    }
                    let left_out = Some(LeftOut::Bad(error.to_string()));
                    Ok((Taken { left_out, ..taken }, None))
                }
                Err(error) => Err(error),
            }
        };
        // All of them, so that the first picture that fails is always the same.
        let all: Vec<Result<Image, DataError>> = contents.into_par_iter().map(take).collect();
        let all: Vec<Image> = all.into_iter().collect::<Result<_, _>>()?;
        let (taken, images): (Vec<Taken>, Vec<Option<Vec<u8>>>) = all.into_iter().unzip();
        Ok((taken, images.into_iter().flatten().collect()))
    }

    /// Writes the blocks as one file; returns what became of the pictures.
    fn assemble(
        &self,
        folder: &Path,
        skip_bad: bool,
        provenance: ImageProvenance,
    ) -> Result<ImportReport, DataError> {
        let blocks = self.entries.len().div_ceil(BLOCK);
        let mut report = ImportReport::default();
        let mut left_out: BTreeMap<usize, LeftOut> = BTreeMap::new();
        for block in 0..blocks {
            let taken: Vec<Taken> = read_json(&taken_file(folder, block), START_ANEW)?;
            report.rounded += taken.iter().filter(|taken| taken.largest.is_some()).count();
            report.largest = taken
                .iter()
                .filter_map(|taken| taken.largest)
                .fold(report.largest, |a, b| a.max(Some(b)));
            report.enlarged += taken.iter().filter(|taken| taken.is_enlarged).count();
            let of_block = (block * BLOCK..).zip(taken);
            left_out.extend(of_block.filter_map(|(at, taken)| Some((at, taken.left_out?))));
        }
        for (&index, why) in &left_out {
            if let (false, LeftOut::Bad(reason)) = (skip_bad, why) {
                return Err(DataError::malformed(
                    folder,
                    format!("an earlier call left out {} ({reason})", self.entries[index].name),
                    "allow that again, or remove the folder to start anew",
                ));
            }
        }
        let entries: Vec<&Entry> = (0..)
            .zip(&self.entries)
            .filter(|(index, _)| !left_out.contains_key(index))
            .map(|(_, entry)| entry)
            .collect();
        if entries.is_empty() {
            return Err(DataError::invalid(
                "the number of pictures that can be taken",
                0,
                "every picture was left out: see the reasons by importing without leaving out",
            ));
        }
        if self.test.is_some() && entries.iter().all(|entry| entry.split == Split::Test) {
            return Err(DataError::invalid(
                format!("the number of pictures of {} for training", self.source.path().display()),
                0,
                "every one was left out or is a test picture too: give other pictures",
            ));
        }
        let sources = entries
            .iter()
            .map(|entry| ImageSource { split: entry.split, name: entry.name.clone() })
            .collect();
        let mut writer =
            DataSetWriter::create(&self.output, self.shape(), sources, &self.record, provenance)?;
        for split in Split::ALL {
            let of_split = |(_, entry): &(u32, &&Entry)| entry.split == split;
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
            let of_block = block * BLOCK..((block + 1) * BLOCK).min(self.len());
            let count = of_block.len() - left_out.range(of_block).count();
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
        report.skipped = left_out
            .into_iter()
            .map(|(index, why)| {
                let entry = &self.entries[index];
                let reason = match why {
                    LeftOut::Bad(reason) => reason,
                    LeftOut::IsIn(split) => {
                        let path = self.source_of(entry).path_of(&entry.name);
                        format!("{}: the same file is a {split} picture", path.display())
                    }
                };
                (entry.name.clone(), reason)
            })
            .collect();
        report.skipped.sort();
        Ok(report)
    }
}

/// Whether the classes of test pictures, in `path`, are numbered as those of the others.
///
/// Folders are the same where their names are. Numbers of a `dataset.json` are taken as they are, and must
/// be among those of the others.
fn same_classes(labels: &Labels, of_test: &Labels, path: &Path) -> Result<(), DataError> {
    if let (Some(classes), Some(of_test)) = (&labels.classes, &of_test.classes) {
        if classes == of_test {
            return Ok(());
        }
        let without = |names: &[String], others: &[String]| {
            names.iter().find(|name| !others.contains(name)).cloned()
        };
        let only =
            without(of_test, classes).or_else(|| without(classes, of_test)).unwrap_or_default();
        return Err(DataError::invalid(
            format!("the list of classes of the test pictures in {}", path.display()),
            format!("not that of the other pictures: only one of both has {only:?}"),
            "give both sources the same folders of classes, or number the classes in dataset.json",
        ));
    }
    let largest = |labels: &Labels| labels.of.values().max().copied().unwrap_or(0);
    // One of both has folders: of as many classes they are taken to be numbered alike, as by EDM's tool.
    let is_mixed = labels.classes.is_some() != of_test.classes.is_some();
    if largest(of_test) > largest(labels) || (is_mixed && largest(of_test) != largest(labels)) {
        return Err(DataError::invalid(
            format!("the largest class of the test pictures in {}", path.display()),
            largest(of_test),
            format!("that of the other pictures is {}: number both alike", largest(labels)),
        ));
    }
    Ok(())
}

fn pixels_file(folder: &Path, block: usize) -> PathBuf {
    folder.join(format!("{block:06}.pixels"))
}

fn taken_file(folder: &Path, block: usize) -> PathBuf {
    folder.join(format!("{block:06}.pictures.json"))
}

fn write_block(
    folder: &Path,
    block: usize,
    taken: &[Taken],
    images: &[Vec<u8>],
) -> Result<(), DataError> {
    write_json(&taken_file(folder, block), taken)?;
    // The last of both: where it is, the block is done.
    Ok(write_atomically(&pixels_file(folder, block), |file| {
        images.iter().try_for_each(|pixels| file.write_all(pixels))
    })?)
}

/// Why a picture of `split` is left out if a split further from the training holds the same file.
fn is_in(
    held_out: &BTreeMap<String, Split>,
    sha256: Option<&str>,
    split: Split,
) -> Option<LeftOut> {
    let other = *held_out.get(sha256?)?;
    (other != split).then_some(LeftOut::IsIn(other))
}

fn read_json<T: DeserializeOwned>(path: &Path, remedy: &'static str) -> Result<T, DataError> {
    let text = fs::read(path).map_err(DataError::io(path, "read"))?;
    serde_json::from_slice(&text).map_err(|e| DataError::malformed(path, e.to_string(), remedy))
}

fn write_json(path: &Path, value: &(impl Serialize + ?Sized)) -> Result<(), DataError> {
    let text = serde_json::to_vec(value).expect("a record is JSON");
    Ok(write_bytes(path, &text)?)
}

/// The first setting that two configurations have not in common, with its value in both.
fn difference(there: &Value, here: &Value) -> Option<(String, String, String)> {
    let (Value::Object(a), Value::Object(b)) = (there, here) else {
        let shown =
            |value: &Value| if value.is_null() { "none".to_owned() } else { value.to_string() };
        return (there != here).then(|| (String::new(), shown(there), shown(here)));
    };
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().find_map(|name| {
        let (below, there, here) = difference(&there[name], &here[name])?;
        let name = if below.is_empty() { name.clone() } else { format!("{name}.{below}") };
        Some((name, there, here))
    })
}

/// The names of all that is in a folder.
fn names(folder: &Path) -> Result<Vec<String>, DataError> {
    let list = || fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect();
    let names: io::Result<Vec<OsString>> = list();
    let names = names.map_err(DataError::io(folder, "list"))?;
    Ok(names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
}

/// Whether a file in the folder of the blocks is one that an import writes there.
fn is_own(name: &str) -> bool {
    let of_block = |number: &str| number.len() >= 6 && number.bytes().all(|c| c.is_ascii_digit());
    [STARTED, LISTING, HELD_OUT, LOCK].contains(&name)
        || name.strip_suffix(".pixels").is_some_and(of_block)
        || name.strip_suffix(".pictures.json").is_some_and(of_block)
        || is_temporary(name)
}

/// Whether a file is one that an import was writing when it was killed: `.NAME.RANDOM.part`.
fn is_temporary(name: &str) -> bool {
    let part = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part"));
    part.and_then(|name| name.rsplit_once('.')).is_some_and(|(name, _)| is_own(name))
}

/// Removes what an import has written in the folder of the blocks, and the folder where that was all.
fn remove(folder: &Path) -> Result<(), DataError> {
    let mut own: Vec<String> = names(folder)?.into_iter().filter(|name| is_own(name)).collect();
    // The mark of an import goes last.
    own.sort_by_key(|name| name == STARTED);
    for name in own {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(DataError::io(&path, "remove"))?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed.map_err(DataError::io(folder, "remove")),
    }
}

//! Where pictures are imported from: a folder, or a ZIP archive as EDM's `dataset_tool.py` writes it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::DataError;
use crate::array_file::has_picture_ending;
use crate::raster::ENDINGS;

/// The file of labels, as EDM's `dataset_tool.py` writes it.
///
/// ```text
/// {"labels": [["00000/img00000000.png", 6], …]}
/// ```
pub const LABELS_FILE: &str = "dataset.json";

/// In bytes: a damaged or hostile archive must not fill the memory.
const LARGEST: u64 = 1 << 30;

const PACK_AGAIN: &str = "the archive is damaged: pack or fetch it again";

/// The pictures of a folder or an archive.
#[derive(Debug)]
pub struct PictureSource {
    path: PathBuf,
    names: Vec<String>,
    /// What is wrong with names, for pictures that cannot be taken whatever they hold.
    bad_names: HashMap<String, &'static str>,
    passed_over: PassedOver,
    archive: Option<Zip>,
}

type Zip = ZipArchive<BufReader<File>>;

/// What a source holds beside its pictures.
#[derive(Debug, Default)]
pub(crate) struct PassedOver {
    /// Files that are no pictures, by their endings.
    by_ending: BTreeMap<String, usize>,
    hidden_folders: BTreeSet<String>,
    /// Links by the names of pictures that lead nowhere.
    dangling: BTreeSet<String>,
    /// What is named as a picture and is no file, such as a named pipe.
    irregular: BTreeSet<String>,
}

/// What changes where a file is replaced, known without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Stamp {
    /// Of a file in a folder.
    File {
        bytes: u64,
        /// When it was modified last, in nanoseconds since 1970.
        modified: u64,
    },
    /// Of a file in an archive.
    Packed { bytes: u64, crc32: u32 },
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Stamp::File { bytes, modified } => {
                let seconds = modified as f64 / 1e9;
                write!(f, "{bytes} bytes, modified {seconds:.3} seconds after 1970")
            }
            Stamp::Packed { bytes, crc32 } => write!(f, "{bytes} bytes, CRC-32 {crc32:08x}"),
        }
    }
}

/// The names of folders that hold splits rather than a class.
const SPLITS: [&str; 5] = ["train", "val", "valid", "validation", "test"];

/// The classes of pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The class of each picture, by its name.
    pub of: HashMap<String, u32>,
    /// The names of the classes where they are folders.
    pub classes: Option<Vec<String>>,
}

impl PictureSource {
    /// Lists the pictures of a folder or a ZIP archive, in all folders below, sorted by name.
    ///
    /// Pictures are known by the endings of their names, small or capital: `png`, `jpg`, `jpeg`, `webp`, `tif`,
    /// `tiff`, `bmp`. Hidden files and folders are passed over, and `__MACOSX`, which macOS puts into archives.
    ///
    /// # Errors
    ///
    /// Those of [`picture_names`]; [`DataError::Malformed`] where a file is no ZIP archive.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        if path.is_dir() {
            let (names, passed_over) = list_pictures(path)?;
            let (path, bad_names) = (path.to_owned(), names_of_several_lines(&names).collect());
            return Ok(PictureSource { path, names, bad_names, passed_over, archive: None });
        }
        eps_files::require_regular(path)?;
        let file = File::open(path).map_err(DataError::io(path, "open"))?;
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| match error {
            ZipError::Io(error) if is_systems(&error) => DataError::io(path, "read")(error),
            error => DataError::stand_in_or(path, || {
                DataError::malformed(
                    path,
                    format!("it is no readable ZIP archive ({error})"),
                    "give a folder of pictures or a ZIP archive of them",
                )
            }),
        })?;
        // The archive's directory alone: the header of every file would be a place of its own on the disk.
        let (mut names, mut passed_over) = (Vec::new(), PassedOver::default());
        for name in zip.file_names().filter(|name| !name.ends_with('/')) {
            let is_picture = is_shown(Path::new(name)) && has_picture_ending(Path::new(name));
            match hidden_folder(name) {
                None if is_picture => names.push(name.to_owned()),
                None => passed_over.count(Path::new(name)),
                Some(folder) if is_picture => {
                    passed_over.hidden_folders.insert(folder.to_owned());
                }
                Some(_) => (),
            }
        }
        if names.is_empty() {
            return Err(no_pictures(path, &passed_over));
        }
        names.sort();
        let mut bad_names: HashMap<String, &'static str> = names_of_several_lines(&names).collect();
        let out = names.iter().filter(|name| leads_out(name));
        bad_names.extend(out.map(|name| (name.clone(), "its name leads out of the archive")));
        for name in twice(path, &mut zip)? {
            if name == LABELS_FILE {
                let problem = format!("{LABELS_FILE} is there twice");
                return Err(DataError::malformed(path, problem, "pack it again with one"));
            }
            bad_names.insert(name, "its name is in the archive twice");
        }
        let path = path.to_owned();
        Ok(PictureSource { path, names, bad_names, passed_over, archive: Some(zip) })
    }

    /// The names of the pictures, with `/` between folders, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What is told of files and folders that are passed over: those whose endings are none of pictures, with their
    /// numbers, hidden folders, and names of pictures that lead to no file. Hidden files and `dataset.json` do not
    /// count.
    pub fn passed_over(&self) -> Vec<String> {
        self.passed_over
            .told(&self.path, &format!("pictures end in {}; convert others first", known_endings()))
    }

    /// A picture's name in messages.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The content of a file.
    ///
    /// # Errors
    ///
    /// [`DataError::Malformed`] where its name cannot be taken or the archive is damaged there,
    /// [`DataError::Io`] where it cannot be read.
    pub fn read(&mut self, name: &str) -> Result<Vec<u8>, DataError> {
        let path = self.path_of(name);
        if let Some(problem) = self.bad_names.get(name) {
            return Err(DataError::malformed(&path, *problem, "rename it"));
        }
        let mut content = Vec::new();
        let read = match &mut self.archive {
            None => {
                let file = File::open(&path).map_err(DataError::io(&path, "open"))?;
                file.take(LARGEST + 1).read_to_end(&mut content)
            }
            Some(zip) => {
                let entry = zip.by_name(name).map_err(|e| not_unpacked(&path, e))?;
                entry.take(LARGEST + 1).read_to_end(&mut content)
            }
        };
        read.map_err(|error| match self.archive {
            Some(_) => not_unpacked(&path, ZipError::Io(error)),
            None => DataError::io(&path, "read")(error),
        })?;
        if content.len() as u64 > LARGEST {
            return Err(DataError::malformed(&path, "it is larger than 1 GiB", "give a picture"));
        }
        Ok(content)
    }

    /// Size and age of a file, or size and checksum in an archive.
    ///
    /// # Errors
    ///
    /// Those of [`PictureSource::read`].
    pub(crate) fn stamp(&mut self, name: &str) -> Result<Stamp, DataError> {
        let path = self.path_of(name);
        match &mut self.archive {
            None => {
                let about = fs::metadata(&path).map_err(DataError::io(&path, "read"))?;
                let modified = about.modified().map_err(DataError::io(&path, "read"))?;
                let age = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let modified = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
                Ok(Stamp::File { bytes: about.len(), modified })
            }
            Some(zip) => {
                let entry = zip.by_name(name).map_err(|e| not_unpacked(&path, e))?;
                Ok(Stamp::Packed { bytes: entry.size(), crc32: entry.crc32() })
            }
        }
    }

    /// The path of the folder or the archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The classes of all pictures: those of `dataset.json` where it lists any, otherwise the folders at
    /// the top of the source, in order of their names.
    ///
    /// These are the numbers that EDM's `dataset_tool.py` gives.
    ///
    /// # Errors
    ///
    /// [`DataError::Malformed`] where `dataset.json` is not as it should be or lists no class for a
    /// picture, or where it lists none at all and a picture lies in no folder.
    pub fn labels(&mut self) -> Result<Labels, DataError> {
        let there = match &self.archive {
            None => self.path.join(LABELS_FILE).is_file(),
            Some(zip) => zip.file_names().any(|name| name == LABELS_FILE),
        };
        let listed = if there { self.listed_labels()? } else { None };
        listed.map_or_else(|| self.folder_labels(), Ok)
    }

    /// The classes of `dataset.json`, whose `labels` are null where the pictures have none.
    fn listed_labels(&mut self) -> Result<Option<Labels>, DataError> {
        const FORM: &str = "it must be {\"labels\": [[\"name of a picture\", class], …]} with classes \
                            from 0 on and one for every picture";
        #[derive(Deserialize)]
        struct Listed {
            labels: Option<Vec<(String, u32)>>,
        }
        let path = self.path_of(LABELS_FILE);
        let content = self.read(LABELS_FILE)?;
        if let Some(error) = DataError::stand_in(&path, &content) {
            return Err(error);
        }
        let listed: Listed = serde_json::from_slice(&content)
            .map_err(|e| DataError::malformed(&path, e.to_string(), FORM))?;
        let Some(listed) = listed.labels.filter(|listed| !listed.is_empty()) else {
            return Ok(None);
        };
        let mut of: HashMap<String, u32> = HashMap::new();
        for (name, class) in listed {
            let name = name.replace('\\', "/");
            if let Some(other) = of.insert(name.clone(), class).filter(|other| *other != class) {
                let problem = format!("{name:?} has the classes {other} and {class}");
                return Err(DataError::malformed(&path, problem, "give it one"));
            }
        }
        match self.names.iter().find(|name| !of.contains_key(*name)) {
            None => Ok(Some(Labels { of, classes: None })),
            Some(name) => {
                Err(DataError::malformed(&path, format!("it has no label of {name:?}"), FORM))
            }
        }
    }

    fn folder_labels(&self) -> Result<Labels, DataError> {
        let mut folders = BTreeMap::new();
        for name in &self.names {
            let Some((folder, _)) = name.split_once('/') else {
                return Err(DataError::malformed(
                    &self.path_of(name),
                    "it lies in no folder that would be its class",
                    "put the pictures of each class into a folder, give the classes in dataset.json, \
                     or import without labels",
                ));
            };
            folders.insert(name.clone(), folder);
        }
        let classes: BTreeSet<&str> = folders.values().copied().collect();
        let is_deeper = |name: &String| name.matches('/').count() > 1;
        if classes.iter().all(|class| SPLITS.contains(class)) && self.names.iter().all(is_deeper) {
            return Err(DataError::malformed(
                &self.path,
                format!(
                    "its folders {classes:?} are named as splits, and hold the folders that would be classes"
                ),
                "give the folder whose folders are the classes, such as .../train, and that of the test pictures by --test-data",
            ));
        }
        let numbers: HashMap<&str, u32> = classes.iter().copied().zip(0..).collect();
        Ok(Labels {
            of: folders.iter().map(|(name, folder)| (name.clone(), numbers[folder])).collect(),
            classes: Some(classes.into_iter().map(str::to_owned).collect()),
        })
    }
}

/// The pictures of a folder, in all folders below it, with `/` between folders, sorted.
///
/// # Errors
///
/// [`DataError::Io`] where a folder cannot be read, [`DataError::Malformed`] where a folder is a link or no
/// picture is found, [`DataError::Invalid`] where a name is no UTF-8.
pub fn picture_names(folder: &Path) -> Result<Vec<String>, DataError> {
    Ok(list_pictures(folder)?.0)
}

fn list_pictures(folder: &Path) -> Result<(Vec<String>, PassedOver), DataError> {
    let (names, passed_over) = list(folder, has_picture_ending)?;
    if names.is_empty() {
        return Err(no_pictures(folder, &passed_over));
    }
    Ok((names, passed_over))
}

/// The files of a folder that are wanted and not hidden, in all folders below it, with `/` between folders, sorted; and what else it
/// holds.
pub(crate) fn list(
    folder: &Path,
    is_wanted: fn(&Path) -> bool,
) -> Result<(Vec<String>, PassedOver), DataError> {
    let (mut names, mut passed_over) = (Vec::new(), PassedOver::default());
    let mut rest = vec![PathBuf::new()];
    while let Some(below) = rest.pop() {
        let inside = folder.join(&below);
        for entry in fs::read_dir(&inside).map_err(DataError::io(&inside, "list"))? {
            let entry = entry.map_err(DataError::io(&inside, "list"))?;
            let path = below.join(entry.file_name());
            let kind = entry.file_type().map_err(DataError::io(&inside, "list"))?;
            if kind.is_dir() && is_hidden(&entry.file_name().to_string_lossy()) {
                passed_over.hidden_folders.insert(path.display().to_string());
            } else if kind.is_dir() {
                rest.push(path);
            } else if kind.is_symlink() && entry.path().is_dir() {
                // These may lead in circles; links to files are followed.
                return Err(DataError::malformed(
                    &entry.path(),
                    "it is a link to a folder, and such links are not followed",
                    "replace it by the folder, or remove it",
                ));
            } else if is_shown(&path) && is_wanted(&entry.path()) && !entry.path().is_file() {
                let is_dangling = kind.is_symlink() && !entry.path().exists();
                let PassedOver { dangling, irregular, .. } = &mut passed_over;
                let of = if is_dangling { dangling } else { irregular };
                of.insert(path.display().to_string());
            } else if is_shown(&path) && is_wanted(&entry.path()) {
                let parts: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
                let parts = parts.ok_or_else(|| {
                    DataError::invalid(
                        "a file's name",
                        format!("{:?}", path.display().to_string()),
                        "rename the file: names must be UTF-8",
                    )
                })?;
                names.push(parts.join("/"));
            } else {
                passed_over.count(&path);
            }
        }
    }
    names.sort();
    Ok((names, passed_over))
}

impl PassedOver {
    /// What is told of it, with what files should be, for whoever expects more of them to be read.
    pub(crate) fn told(&self, source: &Path, advice: &str) -> Vec<String> {
        let shown = source.display();
        let Self { by_ending, hidden_folders, dangling, irregular } = self;
        let files: usize = by_ending.values().sum();
        let by_ending = (files > 0).then(|| {
            format!(
                "{} passed over in {shown} by their endings ({}): {advice}",
                were(files, "file"),
                endings(by_ending)
            )
        });
        let others = [
            (hidden_folders, "hidden folder", ""),
            (dangling, "link", ": such a link leads nowhere, mend or remove it"),
            (irregular, "picture", ": only regular files are read"),
        ];
        let others = others.into_iter().filter(|(names, ..)| !names.is_empty());
        let others = others.map(|(names, what, why)| {
            format!("{} passed over in {shown} ({}){why}", were(names.len(), what), first(names))
        });
        by_ending.into_iter().chain(others).collect()
    }

    /// Counts a file that is no picture by its ending, unless it is hidden or the file of labels.
    fn count(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || path == Path::new(LABELS_FILE) {
            return;
        }
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        *self.by_ending.entry(ending.unwrap_or_default()).or_default() += 1;
    }
}

/// Whether programs keep a folder of this name out of sight, as that of thumbnails or of an editor's copies.
fn is_hidden(folder: &str) -> bool {
    folder.starts_with('.') && !matches!(folder, "." | "..") || folder == "__MACOSX"
}

/// The hidden folder that a name in an archive lies in.
fn hidden_folder(name: &str) -> Option<&str> {
    let ends = name.match_indices('/').map(|(at, _)| &name[..at]);
    ends.into_iter().find(|folder| is_hidden(folder.rsplit('/').next().unwrap_or(folder)))
}

/// A number of things that were passed over, as `1 file was` or `2 files were`.
fn were(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what} was") } else { format!("{count} {what}s were") }
}

/// The first names of some.
fn first(names: &BTreeSet<String>) -> String {
    let shown = names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!("{shown}{}", if names.len() > 3 { ", …" } else { "" })
}

/// The commonest endings with their numbers, as `.gif: 10, .txt: 2`.
fn endings(passed_over: &BTreeMap<String, usize>) -> String {
    let mut order: Vec<(&String, &usize)> = passed_over.iter().collect();
    order.sort_by_key(|(ending, count)| (Reverse(**count), *ending));
    let shown = order.iter().take(5).map(|(ending, count)| match ending.as_str() {
        "" => format!("none: {count}"),
        ending => format!(".{ending}: {count}"),
    });
    let rest = if order.len() > 5 { ", …" } else { "" };
    format!("{}{rest}", shown.collect::<Vec<_>>().join(", "))
}

fn known_endings() -> String {
    ENDINGS.map(|ending| format!(".{ending}")).join(", ")
}

fn is_shown(path: &Path) -> bool {
    path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
}

/// Names that a data set's list of files, a line each, cannot hold.
fn names_of_several_lines(names: &[String]) -> impl Iterator<Item = (String, &'static str)> {
    let bad = names.iter().filter(|name| name.contains(['\n', '\t']));
    bad.map(|name| (name.clone(), "its name has a tab or an end of line"))
}

fn no_pictures(path: &Path, passed_over: &PassedOver) -> DataError {
    let PassedOver { by_ending, hidden_folders, dangling, irregular } = passed_over;
    let others = (!by_ending.is_empty()).then(|| format!(" (other files: {})", endings(by_ending)));
    let rest = [
        ("hidden folders", hidden_folders),
        ("links that lead nowhere", dangling),
        ("no regular files", irregular),
    ];
    let rest = rest.into_iter().filter(|(_, names)| !names.is_empty());
    let rest = rest.map(|(what, names)| format!(" ({what}: {})", first(names)));
    let others: String = others.into_iter().chain(rest).collect();
    let problem = format!(
        "no pictures were found there or in the folders below, by the endings {}{others}",
        known_endings()
    );
    DataError::malformed(
        path,
        problem,
        "give a folder or a ZIP archive of PNG, JPEG, WebP, TIFF or BMP pictures",
    )
}

/// The names that several files of an archive have.
fn twice(path: &Path, zip: &mut Zip) -> Result<BTreeSet<String>, DataError> {
    let mut twice = BTreeSet::new();
    if zip.file_names().count() == zip.len() {
        return Ok(twice);
    }
    let mut seen = BTreeSet::new();
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|e| not_unpacked(path, e))?;
        if !seen.insert(entry.name().to_owned()) {
            twice.insert(entry.name().to_owned());
        }
    }
    Ok(twice)
}

/// Whether a name in an archive is none of a place below it.
fn leads_out(name: &str) -> bool {
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    name.contains('\0') || !Path::new(name).components().all(inside)
}

/// Why a file of an archive was not unpacked: it is damaged or packed in another way, or the system failed.
fn not_unpacked(path: &Path, error: ZipError) -> DataError {
    match error {
        ZipError::UnsupportedArchive(reason) => DataError::malformed(
            path,
            format!("it cannot be unpacked ({reason})"),
            "pack it again, stored or deflated and without a password",
        ),
        ZipError::Io(error) if is_systems(&error) => DataError::io(path, "read")(error),
        error => DataError::malformed(path, format!("it cannot be unpacked ({error})"), PACK_AGAIN),
    }
}

/// Whether an error of reading is the system's, of the disk for example.
///
/// Checksums and decompression that fail, and ends that come early, are errors of reading without a number
/// of the system; it refuses places that cannot be as invalid.
fn is_systems(error: &io::Error) -> bool {
    error.raw_os_error().is_some() && error.kind() != io::ErrorKind::InvalidInput
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fails_is_no_damaged_picture() {
        let not_unpacked = |error| not_unpacked(Path::new("a.zip/b.png"), ZipError::Io(error));
        // EIO on every Unix.
        let disk = not_unpacked(io::Error::from_raw_os_error(5));
        assert!(matches!(disk, DataError::Io(_)), "{disk}");
        for error in [io::ErrorKind::UnexpectedEof.into(), io::Error::other("Invalid checksum")] {
            let damage = not_unpacked(error);
            assert!(matches!(damage, DataError::Malformed { .. }), "{damage}");
        }
    }
}

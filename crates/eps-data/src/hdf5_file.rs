//! What the HDF5 layouts of this crate have in common.
//!
//! Files are written in the format of HDF5 1.10, whose metadata carry checksums. Arrays are chunked
//! by their first dimension (one image a chunk), shuffled, compressed with gzip and carry Fletcher
//! checksums, so that damage is found when a file is read. Every file has the root attributes
//! `format`, `format_version` and `created_by`. Text attributes are UTF-8 of fixed length: texts of
//! variable length, which are read too, lie in a heap without checksums, which is checked first: the HDF5
//! library may never return from a damaged one.

use std::cell::OnceCell;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use eps_files::PartFile;
use hdf5::dataset::Layout;
use hdf5::filters::Filter;
use hdf5::plist::file_access::{FileCloseDegree, LibraryVersion};
use hdf5::types::{
    CompoundField, CompoundType, FixedAscii, FixedUnicode, Reference, TypeDescriptor,
};
use hdf5::{
    Attribute, Container, Dataset, File, Group, H5Type, LinkType, LocationInfo, LocationType,
    ObjectReference1, ReferencedObject,
};
use ndarray::{Array4, ArrayView4};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::array::{
    Array, Meant, NAME_IT, Needed, Variable, checked_product, listed, no_such_array,
};
use crate::error::require_finite;
use crate::npy::{complex_pairs, row_major};
use crate::pixels::Pixels;
use crate::{DataError, ImageProvenance, global_heap, memory};

const WRITE_AGAIN: &str = "the file is damaged or incomplete: write it again";
const GZIP_LEVEL: u8 = 4;
/// In values: a chunk of a list.
const LIST_CHUNK: usize = 1 << 16;
/// Images of a block that is read.
const IMAGE_BLOCK: usize = 1024;
/// In bytes: an attribute of 64 KiB with its name and type would not fit HDF5's object header.
const LONGEST_TEXT: usize = 65_000;

/// Numbers with their dimensions, and the imaginary parts of complex ones.
struct Numbered {
    dims: Vec<usize>,
    values: Vec<f64>,
    imaginary: Option<Vec<f64>>,
}

/// Where an object lies: its file, and its place there.
type Place = (u64, String);

fn place(info: &LocationInfo) -> Place {
    // Its token can be compared, but neither sorted nor hashed.
    (info.fileno, format!("{:?}", info.token))
}

/// A complex number as h5py stores it.
#[derive(Clone, Copy, H5Type)]
#[repr(C)]
struct OfPython {
    r: f64,
    i: f64,
}

/// A complex number as MATLAB stores it.
#[derive(Clone, Copy, H5Type)]
#[repr(C)]
struct OfMatlab {
    real: f64,
    imag: f64,
}

/// The names of two fields of floats.
fn parts_of(compound: &CompoundType) -> Option<[&str; 2]> {
    let is_float = |field: &CompoundField| matches!(field.ty, TypeDescriptor::Float(_));
    match &compound.fields[..] {
        [first, second] if is_float(first) && is_float(second) => Some([&first.name, &second.name]),
        _ => None,
    }
}

/// Reads one array of an HDF5 file: the dataset `name` (a path such as `group/samples` too), or the
/// only dataset of the file's root.
///
/// # Errors
///
/// [`DataError::Io`] where the file cannot be opened, [`DataError::Malformed`] where it is no HDF5
/// file, is truncated, has no such dataset or one that is not of numbers, [`DataError::Hdf5`] where
/// reading fails, and [`DataError::NonFinite`].
pub fn read_hdf5_array(path: &Path, name: &str) -> Result<Array, DataError> {
    read_hdf5_array_with(path, Meant::of(None, name), Needed::Finite)
}

/// [`read_hdf5_array`], with what becomes of values that are not finite.
pub(crate) fn read_hdf5_array_with(
    path: &Path,
    meant: Meant<'_>,
    needed: Needed,
) -> Result<Array, DataError> {
    let input = Input::open_any(path)?;
    let root = input.root()?;
    let numbers = |name: &str| input.numbers(&root, name, needed);
    let name = meant.name();
    if !name.is_empty() && root.link_exists(name) {
        if let Ok(group) = root.group(name)
            && root.dataset(name).is_err()
        {
            let names = input.all_dataset_names(group, &format!("{name}/"))?;
            return Err(input.malformed(
                format!("{name:?} is a group, no array; in it are {}", listed(&names)),
                NAME_IT,
            ));
        }
        return numbers(name);
    }
    let names = input.datasets_of(&root)?;
    match (&names[..], meant) {
        ([only], Meant::Usual(_)) => numbers(only),
        _ => Err(no_such_array(path, &input.all_dataset_names(root, "")?, meant)),
    }
}

/// Whether an HDF5 file holds a dataset of this name.
pub(crate) fn hdf5_holds(path: &Path, name: &str) -> Result<bool, DataError> {
    let root = Input::open_any(path)?.root()?;
    Ok(root.link_exists(name) && root.dataset(name).is_ok())
}

/// The variables of a MAT file of version 7.3 that are arrays of numbers or cells of them, or the one that is wanted alone, which
/// may be a field of a structure.
///
/// MATLAB writes its columns where HDF5 has rows, and a cell as a dataset of references.
pub(crate) fn read_matlab_variables(
    path: &Path,
    wanted: Option<&str>,
    needed: Needed,
) -> Result<Vec<Variable>, DataError> {
    let input = Input::open_any(path)?;
    let root = input.root()?;
    let turned = |name: &str| -> Result<Array, DataError> {
        let Numbered { mut dims, values, imaginary } = input.parts(&root, name)?;
        input.require_finite(name, &values)?;
        dims.reverse();
        let values = row_major(&dims, &values);
        Ok(match imaginary {
            None => Array { dims, values },
            Some(imaginary) => {
                needed.check_complex(path, &format!("the variable {name:?}"))?;
                input.require_finite(name, &imaginary)?;
                complex_pairs(&dims, &values, &row_major(&dims, &imaginary))
            }
        })
    };
    let names = match wanted {
        None => input.datasets_of(&root)?,
        Some(name) if !name.is_empty() && root.link_exists(name) => vec![name.to_owned()],
        Some(_) => Vec::new(),
    };
    let mut variables = Vec::new();
    for name in names {
        let Ok(dataset) = root.dataset(&name) else { continue };
        let found = dataset.dtype().and_then(|kind| kind.to_descriptor());
        let arrays = if let Ok(TypeDescriptor::Reference(Reference::Object)) = found {
            let (cell, _) = input.dataset(&root, &name)?;
            let failed = || input.failed(format!("follow the references of the cell {name:?}"));
            let references = cell.read_raw::<ObjectReference1>().map_err(failed())?;
            let mut arrays = Vec::new();
            for reference in references {
                if let ReferencedObject::Dataset(entry) =
                    input.file.dereference(&reference).map_err(failed())?
                {
                    arrays.push(turned(entry.name().trim_start_matches('/'))?);
                }
            }
            arrays
        } else {
            vec![turned(&name)?]
        };
        if !arrays.is_empty() {
            variables.push(Variable { name, arrays });
        }
    }
    Ok(variables)
}

/// The format of this project that an HDF5 file tells, such as `eps-measurements`; none for a file from
/// elsewhere, whose attribute `format` may be anything.
///
/// # Errors
///
/// [`DataError::Io`] where the file cannot be opened, [`DataError::Malformed`] where it is no HDF5 file.
pub fn hdf5_format(path: &Path) -> Result<Option<String>, DataError> {
    let input = Input::open_any(path)?;
    let root = input.root()?;
    let names = root.attr_names().map_err(input.failed("list the attributes"))?;
    if !names.iter().any(|name| name == "format") {
        return Ok(None);
    }
    Ok(input.text(&root, "format").ok().filter(|format| format.starts_with("eps-")))
}

/// The names of all groups of an HDF5 file that hold a dataset or group of this name, sorted; `/` for the root.
///
/// # Errors
///
/// [`DataError::Io`] where the file cannot be opened, [`DataError::Malformed`] where it is no HDF5 file,
/// [`DataError::Hdf5`] where the groups cannot be listed.
pub fn groups_with(path: &Path, name: &str) -> Result<Vec<String>, DataError> {
    Input::open_any(path)?.groups_with(name)
}

/// An HDF5 file that is being written under its temporary name.
#[derive(Debug)]
pub(crate) struct Output {
    // The file is closed before the temporary file goes.
    file: OpenFile,
    part: PartFile,
}

/// A file whose content may not reach the disk.
///
/// HDF5 keeps chunks and metadata in memory until an object is closed. Where it cannot write them then, it
/// frees the object, leaves it in its list, and ends the program when it comes back to it. So nothing is
/// closed before it is flushed, and what cannot be flushed stays open until the program ends.
#[derive(Debug)]
struct OpenFile(Option<File>);

impl OpenFile {
    fn get(&self) -> &File {
        self.0.as_ref().expect("a file that is not closed")
    }

    /// Closes the file with all that is open in it.
    fn close(&mut self) -> hdf5::Result<()> {
        let Some(file) = self.0.take().map(ManuallyDrop::new) else { return Ok(()) };
        file.flush()?;
        ManuallyDrop::into_inner(file).close()
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // The file is not wanted any more.
        let _ = self.close();
    }
}

impl Output {
    pub(crate) fn create(target: &Path, format: &str, version: u64) -> Result<Self, DataError> {
        let part = PartFile::create(target)?;
        let version_10 = LibraryVersion::V110;
        let file = hdf5::FileBuilder::new()
            .with_fapl(|p| {
                p.libver_bounds(version_10, version_10).fclose_degree(FileCloseDegree::Strong)
            })
            .create(by_name(part.path(), false).map_err(DataError::io(target, "create"))?.path())
            .map_err(|error| write_error(target, "create the file", error))?;
        let output = Output { file: OpenFile(Some(file)), part };
        let root = output.root()?;
        output.put_text(&root, "format", format)?;
        output.put_number(&root, "format_version", version)?;
        output.put_text(&root, "created_by", concat!("eps-data ", env!("CARGO_PKG_VERSION")))?;
        Ok(output)
    }

    pub(crate) fn root(&self) -> Result<Group, DataError> {
        self.file.get().group("/").map_err(self.failed("open the root group"))
    }

    /// A new group, with the groups above it.
    pub(crate) fn group(&self, name: &str) -> Result<Group, DataError> {
        self.file
            .get()
            .create_group(name)
            .map_err(self.failed(format!("create the group {name:?} (is it there already?)")))
    }

    pub(crate) fn put_text(&self, at: &Group, name: &str, text: &str) -> Result<(), DataError> {
        match text.len() {
            0..=256 => self.put_fixed::<256>(at, name, text),
            257..=4096 => self.put_fixed::<4096>(at, name, text),
            4097..=LONGEST_TEXT => self.put_fixed::<LONGEST_TEXT>(at, name, text),
            length => Err(DataError::invalid(
                format!("the number of bytes of the attribute {name:?}"),
                length,
                format!("HDF5 holds at most {LONGEST_TEXT}: shorten it"),
            )),
        }
    }

    /// Writes a text as long as it is, by way of a buffer of N bytes.
    fn put_fixed<const N: usize>(
        &self,
        at: &Group,
        name: &str,
        text: &str,
    ) -> Result<(), DataError> {
        let value: FixedUnicode<N> = text.parse().map_err(|_| {
            DataError::invalid(
                format!("the attribute {name:?}"),
                format!("{text:?}"),
                "HDF5 text cannot hold a zero character: remove it",
            )
        })?;
        at.new_attr_builder()
            .empty_as(TypeDescriptor::FixedUnicode(text.len().max(1)))
            .create(name)
            .and_then(|attribute| attribute.write_scalar(&value))
            .map_err(self.failed(format!("write the attribute {name:?}")))
    }

    pub(crate) fn put_json(
        &self,
        at: &Group,
        name: &str,
        value: &impl Serialize,
    ) -> Result<(), DataError> {
        let text = serde_json::to_string(value).map_err(|e| {
            DataError::invalid(format!("the attribute {name:?}"), e, "give a value that JSON holds")
        })?;
        self.put_text(at, name, &text)
    }

    pub(crate) fn put_number<T: H5Type>(
        &self,
        at: &Group,
        name: &str,
        value: T,
    ) -> Result<(), DataError> {
        at.new_attr::<T>()
            .create(name)
            .and_then(|attribute| attribute.write_scalar(&value))
            .map_err(self.failed(format!("write the attribute {name:?}")))
    }

    pub(crate) fn put_provenance(
        &self,
        at: &Group,
        from: &ImageProvenance,
    ) -> Result<(), DataError> {
        self.put_text(at, "name", &from.name)?;
        self.put_text(at, "source", &from.source)?;
        self.put_text(at, "licence", &from.licence)?;
        self.put_text(at, "sha256", &from.sha256)
    }

    /// Writes an array, one chunk for each index of its first dimension.
    pub(crate) fn put_array<T: H5Type>(
        &self,
        at: &Group,
        name: &str,
        dims: &[usize],
        values: &[T],
    ) -> Result<(), DataError> {
        assert_eq!(checked_product(dims), Some(values.len()), "{name} with dimensions {dims:?}");
        let mut chunk = dims.to_vec();
        chunk[0] = 1;
        self.fill(self.create_array::<T>(at, name, dims, &chunk)?, name, values)
    }

    /// Writes a long array of one dimension, many values a chunk.
    pub(crate) fn put_list<T: H5Type>(
        &self,
        at: &Group,
        name: &str,
        values: &[T],
    ) -> Result<(), DataError> {
        let chunk = values.len().clamp(1, LIST_CHUNK);
        self.fill(self.create_array::<T>(at, name, &[values.len()], &[chunk])?, name, values)
    }

    /// Writes all values of a dataset and closes it.
    fn fill<T: H5Type>(
        &self,
        dataset: ManuallyDrop<Dataset>,
        name: &str,
        values: &[T],
    ) -> Result<(), DataError> {
        dataset
            .write_raw(values)
            .and_then(|()| self.file.get().flush())
            .map_err(self.failed(format!("write the dataset {name:?}")))?;
        drop(ManuallyDrop::into_inner(dataset));
        Ok(())
    }

    /// Creates the array of images `[N, C, H, W]`, to be filled by [`Output::put_images`].
    ///
    /// It is closed with the file.
    pub(crate) fn create_images<T: H5Type>(
        &self,
        at: &Group,
        name: &str,
        dims: [usize; 4],
    ) -> Result<ManuallyDrop<Dataset>, DataError> {
        let [_, channels, height, width] = dims;
        self.create_array::<T>(at, name, &dims, &[1, channels, height, width])
    }

    /// Writes images `[n, C, H, W]` from the index `first` on.
    pub(crate) fn put_images<T: H5Type>(
        &self,
        dataset: &Dataset,
        first: usize,
        [n, channels, height, width]: [usize; 4],
        pixels: &[T],
    ) -> Result<(), DataError> {
        let view = ArrayView4::from_shape((n, channels, height, width), pixels)
            .expect("the pixels of n images");
        dataset
            .write_slice(view, (first..first + n, .., .., ..))
            .map_err(self.failed(format!("write the dataset {:?}", dataset.name())))
    }

    fn create_array<T: H5Type>(
        &self,
        at: &Group,
        name: &str,
        dims: &[usize],
        chunk: &[usize],
    ) -> Result<ManuallyDrop<Dataset>, DataError> {
        at.new_dataset::<T>()
            .chunk(chunk.to_vec())
            .shuffle()
            .deflate(GZIP_LEVEL)
            .fletcher32()
            .shape(dims)
            .create(name)
            .map(ManuallyDrop::new)
            .map_err(self.failed(format!("create the dataset {name:?}")))
    }

    /// Closes the file and gives it its name.
    pub(crate) fn finish(self) -> Result<(), DataError> {
        let Output { mut file, part } = self;
        file.close().map_err(|error| write_error(part.target(), "close the file", error))?;
        Ok(part.finish()?)
    }

    fn failed(&self, action: impl Into<String>) -> impl FnOnce(hdf5::Error) -> DataError {
        let (target, action) = (self.part.target().to_owned(), action.into());
        move |error| write_error(&target, action, error)
    }
}

/// The only value of an attribute, a scalar or an array of one element.
fn only<T: H5Type>(attribute: &Attribute) -> hdf5::Result<T> {
    let values = attribute.read_raw::<T>()?;
    values.into_iter().next().ok_or_else(|| "the attribute is empty".into())
}

fn fixed<const N: usize>(attribute: &Attribute) -> hdf5::Result<Vec<u8>> {
    only::<FixedUnicode<N>>(attribute).map(|text| text.as_bytes().to_vec())
}

fn fixed_ascii<const N: usize>(attribute: &Attribute) -> hdf5::Result<Vec<u8>> {
    only::<FixedAscii<N>>(attribute).map(|text| text.as_bytes().to_vec())
}

/// A path that HDF5 can open: it takes UTF-8 alone, and another path by the number of the open file.
enum Openable<'a> {
    Named(&'a Path),
    Numbered { path: PathBuf, _file: std::fs::File },
}

impl Openable<'_> {
    fn path(&self) -> &Path {
        match self {
            Openable::Named(path) => path,
            Openable::Numbered { path, .. } => path,
        }
    }
}

fn by_name(path: &Path, read: bool) -> io::Result<Openable<'_>> {
    if path.to_str().is_some() {
        return Ok(Openable::Named(path));
    }
    let file = std::fs::File::options().read(true).write(!read).open(path)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(Openable::Numbered { path, _file: file })
}

/// The name of a filter of values, by its number in the list of The HDF Group.
fn filter_name(number: i32) -> &'static str {
    match number {
        4 => "SZIP",
        307 => "BZIP2",
        32001 => "Blosc",
        32004 => "LZ4",
        32008 => "Bitshuffle",
        32013 => "ZFP",
        32015 => "Zstandard",
        32026 => "Blosc2",
        _ => "an unknown filter",
    }
}

/// A type that numbers can be read of.
#[derive(Debug, PartialEq)]
enum Numbers {
    Described(TypeDescriptor),
    /// Floats of two bytes, which the bindings do not describe.
    Half,
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Numbers::Described(found) => found.fmt(f),
            Numbers::Half => f.write_str("float16"),
        }
    }
}

fn write_error(target: &Path, action: impl Into<String>, error: hdf5::Error) -> DataError {
    match system_error(&error) {
        Some(error) => DataError::io(target, "write")(error),
        None => DataError::Hdf5 {
            path: target.to_owned(),
            action: action.into(),
            error,
            remedy: "check the free disk space and the permissions",
        },
    }
}

/// Whether HDF5 failed for a lock of another program.
fn is_lock(error: &hdf5::Error) -> bool {
    says(error, "unable to lock file")
}

/// Whether HDF5 failed for the mark that it leaves in files while they are written.
fn is_unclosed(error: &hdf5::Error) -> bool {
    says(error, "file is already open for")
}

fn says(error: &hdf5::Error, words: &str) -> bool {
    let frames = error.stack();
    frames.is_some_and(|stack| stack.iter().any(|frame| frame.desc().contains(words)))
        || error.to_string().contains(words)
}

/// What the system answered, which HDF5 tells in the text of its innermost error alone.
fn system_error(error: &hdf5::Error) -> Option<io::Error> {
    let stack = error.stack()?;
    let number = |text: &str| {
        let (_, rest) = text.split_once("errno = ")?;
        rest.split(',').next()?.trim().parse().ok()
    };
    stack.iter().rev().find_map(|frame| number(frame.desc())).map(io::Error::from_raw_os_error)
}

/// An HDF5 file that is being read.
#[derive(Debug)]
pub(crate) struct Input {
    path: PathBuf,
    file: File,
    /// Whether texts of variable length can be read, once that was looked at: the place of a heap that is
    /// damaged.
    heaps: OnceCell<Option<u64>>,
}

impl Input {
    /// Opens a file of one of this crate's formats, of a version from 1 to `newest`.
    pub(crate) fn open(path: &Path, format: &str, newest: u64) -> Result<Self, DataError> {
        let input = Self::open_any(path)?;
        let root = input.root()?;
        let found = input.text(&root, "format")?;
        if found != format {
            return Err(input.malformed(
                format!("the attribute \"format\" is {found:?}, needed is {format:?}"),
                "give a file of the right kind",
            ));
        }
        let found = input.whole_number(&root, "format_version")?;
        if !(1..=newest).contains(&found) {
            let known = if newest == 1 { "is 1".to_owned() } else { format!("are 1 to {newest}") };
            return Err(input.malformed(
                format!("the attribute \"format_version\" is {found}, known {known}"),
                "use the version of eps that wrote the file, or write it again",
            ));
        }
        Ok(input)
    }

    /// The names of all groups that hold something of this name, sorted; `/` for the root.
    pub(crate) fn groups_with(&self, name: &str) -> Result<Vec<String>, DataError> {
        let mut found = Vec::new();
        let root = self.root()?;
        let start = root.loc_info().map_err(self.failed("list the groups"))?;
        // Links may lead back to groups above.
        let mut seen = HashSet::from([place(&start)]);
        let mut rest = vec![(root, String::new())];
        while let Some((group, path)) = rest.pop() {
            if group.link_exists(name) {
                found.push(if path.is_empty() { "/".to_owned() } else { path.clone() });
            }
            for (below, info) in self.members(&group)? {
                if info.loc_type == LocationType::Group && seen.insert(place(&info)) {
                    let group = group.group(&below).map_err(self.failed("list the groups"))?;
                    let separator = if path.is_empty() { "" } else { "/" };
                    rest.push((group, format!("{path}{separator}{below}")));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The names of all datasets of a group and of those below, `group/name`, each after `prefix`: those of the group itself first, and
    /// of no more groups than a person would look at. What several links lead to has the name of the first.
    fn all_dataset_names(&self, group: Group, prefix: &str) -> Result<Vec<String>, DataError> {
        const MOST_GROUPS: usize = 1000;
        let mut names = Vec::new();
        let start = group.loc_info().map_err(self.failed("list the datasets"))?;
        let mut seen = HashSet::from([place(&start)]);
        let mut rest = VecDeque::from([(group, prefix.to_owned())]);
        let mut groups = 0;
        while let Some((group, prefix)) = rest.pop_front().filter(|_| groups < MOST_GROUPS) {
            groups += 1;
            for (name, info) in self.members(&group)? {
                match info.loc_type {
                    _ if !seen.insert(place(&info)) => {}
                    LocationType::Dataset => names.push(format!("{prefix}{name}")),
                    LocationType::Group => {
                        let below = group.group(&name).map_err(self.failed("list the datasets"))?;
                        rest.push_back((below, format!("{prefix}{name}/")));
                    }
                    _ => {}
                }
            }
        }
        Ok(names)
    }

    /// The names of the datasets in a group, one of each.
    fn datasets_of(&self, group: &Group) -> Result<Vec<String>, DataError> {
        let mut seen: HashSet<Place> = HashSet::new();
        let mut members = self.members(group)?;
        members
            .retain(|(_, info)| info.loc_type == LocationType::Dataset && seen.insert(place(info)));
        Ok(members.into_iter().map(|(name, _)| name).collect())
    }

    /// What the links of a group lead to, by their names. Links by name that lead nowhere, such as into a file that is not there, are
    /// passed over.
    fn members(&self, group: &Group) -> Result<Vec<(String, LocationInfo)>, DataError> {
        let mut links = Vec::new();
        let visited = group.iter_visit_default(|name, link| {
            links.push((name.to_owned(), link));
            Ok(())
        });
        visited.map_err(self.failed("list the datasets"))?;
        let mut members = Vec::new();
        for (name, link) in links {
            match group.loc_info_by_name(&name) {
                Ok(info) => members.push((name, info)),
                Err(error) if link.link_type == LinkType::Hard => {
                    return Err(self.failed("list the datasets")(error));
                }
                Err(_) => {}
            }
        }
        Ok(members)
    }

    pub(crate) fn open_any(path: &Path) -> Result<Self, DataError> {
        if path.is_dir() {
            return Err(DataError::malformed(path, "it is a folder", "name a file"));
        }
        eps_files::require_regular(path)?;
        // HDF5 does not tell a file that is absent from one that is damaged.
        std::fs::File::open(path).map_err(DataError::io(path, "open"))?;
        let openable = by_name(path, true).map_err(DataError::io(path, "open"))?;
        match File::open(openable.path()) {
            Ok(file) => Ok(Input { path: path.to_owned(), file, heaps: OnceCell::new() }),
            Err(error) if is_lock(&error) => Err(DataError::malformed(
                path,
                "another program has the file open for writing and holds a lock on it",
                "close the file there (in Python: file.close(), or end the program), or copy the file and give the \
                 copy",
            )),
            Err(error) if is_unclosed(&error) => Err(DataError::malformed(
                path,
                "the program that wrote the file did not close it, or still writes it",
                "close it there; if that program has ended, run `h5clear -s FILE` and check the content",
            )),
            Err(error) => Err(DataError::stand_in_or(path, || {
                DataError::malformed(
                    path,
                    format!("it cannot be opened as HDF5 ({error})"),
                    "the file is truncated, damaged or of another format: write it again",
                )
            })),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn malformed(&self, problem: impl Into<String>, remedy: &'static str) -> DataError {
        DataError::malformed(&self.path, problem, remedy)
    }

    pub(crate) fn root(&self) -> Result<Group, DataError> {
        self.file.group("/").map_err(self.failed("open the root group"))
    }

    pub(crate) fn group(&self, name: &str) -> Result<Group, DataError> {
        self.file.group(name).map_err(self.failed(format!("open the group {name:?}")))
    }

    /// An attribute that is one number.
    pub(crate) fn number(&self, at: &Group, name: &str) -> Result<f64, DataError> {
        let (attribute, _) = self.scalar(at, name)?;
        only(&attribute).map_err(self.failed(format!("read the attribute {name:?}")))
    }

    /// An attribute that is one whole number, of which HDF5 would take another for what does not fit.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to 9e15"
    )]
    pub(crate) fn whole_number(&self, at: &Group, name: &str) -> Result<u64, DataError> {
        let (attribute, found) = self.scalar(at, name)?;
        let failed = || self.failed(format!("read the attribute {name:?}"));
        if let Numbers::Described(TypeDescriptor::Unsigned(_)) = found {
            return only(&attribute).map_err(failed());
        }
        let value: f64 = only(&attribute).map_err(failed())?;
        // Below 2⁵³ an f64 holds every whole number.
        if value.fract() == 0.0 && (0.0..9e15).contains(&value) {
            return Ok(value as u64);
        }
        Err(self.malformed(
            format!("the attribute {name:?} is {value}, no whole number from 0 on"),
            "store it as one",
        ))
    }

    /// An attribute of one number, with its type.
    fn scalar(&self, at: &Group, name: &str) -> Result<(Attribute, Numbers), DataError> {
        use TypeDescriptor::{Float, Integer, Unsigned};
        let attribute = self.attribute(at, name)?;
        let found = self.type_of(&attribute, &format!("the attribute {name:?}"))?;
        let is_number = matches!(
            found,
            Numbers::Half | Numbers::Described(Float(_) | Integer(_) | Unsigned(_))
        );
        if attribute.size() == 1 && is_number {
            return Ok((attribute, found));
        }
        let shape = attribute.shape();
        Err(self.malformed(
            format!("the attribute {name:?} is of type {found} and shape {shape:?}, no number"),
            "store it as one number",
        ))
    }

    /// The type of a dataset or an attribute.
    fn type_of(&self, of: &Container, what: &str) -> Result<Numbers, DataError> {
        let stored = of.dtype().map_err(self.failed(format!("read the type of {what}")))?;
        match stored.to_descriptor() {
            Ok(found) => Ok(Numbers::Described(found)),
            // Only numbers of two bytes that are no integers remain; what is none cannot be converted.
            Err(_) if stored.size() == 2 && stored.conv_to::<f64>().is_some() => Ok(Numbers::Half),
            Err(error) => Err(self.malformed(
                format!("the type of {what} is not known here ({error})"),
                "store it as float32 or float64",
            )),
        }
    }

    pub(crate) fn text(&self, at: &Group, name: &str) -> Result<String, DataError> {
        use TypeDescriptor::{
            FixedAscii as Ascii, FixedUnicode as Fixed, VarLenAscii, VarLenUnicode,
        };
        let attribute = self.attribute(at, name)?;
        let found = self.type_of(&attribute, &format!("the attribute {name:?}"))?;
        if attribute.size() != 1 {
            let shape = attribute.shape();
            return Err(self.malformed(
                format!(
                    "the attribute {name:?} is of type {found} and shape {shape:?}, no single text"
                ),
                "store it as one text",
            ));
        }
        let Numbers::Described(described) = &found else { return Err(self.no_text(name, &found)) };
        if let VarLenAscii | VarLenUnicode = described {
            self.check_heaps(name)?;
        }
        let bytes = match described {
            Fixed(0..=256) => fixed::<256>(&attribute),
            Fixed(257..=4096) => fixed::<4096>(&attribute),
            Fixed(4097..=LONGEST_TEXT) => fixed::<LONGEST_TEXT>(&attribute),
            Ascii(0..=256) => fixed_ascii::<256>(&attribute),
            Ascii(257..=4096) => fixed_ascii::<4096>(&attribute),
            Ascii(4097..=LONGEST_TEXT) => fixed_ascii::<LONGEST_TEXT>(&attribute),
            // What Python writes.
            VarLenUnicode => {
                only::<hdf5::types::VarLenUnicode>(&attribute).map(|t| t.as_bytes().to_vec())
            }
            VarLenAscii => {
                only::<hdf5::types::VarLenAscii>(&attribute).map(|t| t.as_bytes().to_vec())
            }
            _ => return Err(self.no_text(name, &found)),
        }
        .map_err(self.failed(format!("read the attribute {name:?}")))?;
        String::from_utf8(bytes)
            .map_err(|_| self.malformed(format!("the attribute {name:?} is no UTF-8"), WRITE_AGAIN))
    }

    fn no_text(&self, name: &str, found: &Numbers) -> DataError {
        self.malformed(
            format!("the attribute {name:?} is of type {found}, no text"),
            "store it as text",
        )
    }

    /// Fails where the heap of texts is damaged so that reading one might never end.
    fn check_heaps(&self, name: &str) -> Result<(), DataError> {
        let place = match self.heaps.get() {
            Some(place) => *place,
            None => {
                let open = std::fs::File::open(&self.path);
                let mut file = open.map_err(DataError::io(&self.path, "open"))?;
                let place =
                    global_heap::endless(&mut file).map_err(DataError::io(&self.path, "read"))?;
                *self.heaps.get_or_init(|| place)
            }
        };
        match place {
            None => Ok(()),
            Some(place) => Err(self.malformed(
                format!(
                    "the heap of texts at byte {place} has free space of size 0, so that the text of {name:?} cannot \
                     be read"
                ),
                WRITE_AGAIN,
            )),
        }
    }

    fn attribute(&self, at: &Group, name: &str) -> Result<Attribute, DataError> {
        if !self.has(at, name)? {
            return Err(self.malformed(
                format!("the attribute {name:?} of {:?} is missing", at.name()),
                "add it, or write the file again",
            ));
        }
        at.attr(name).map_err(self.failed(format!("open the attribute {name:?}")))
    }

    pub(crate) fn has(&self, at: &Group, attribute: &str) -> Result<bool, DataError> {
        Ok(self.attribute_names(at)?.iter().any(|found| found == attribute))
    }

    pub(crate) fn attribute_names(&self, at: &Group) -> Result<Vec<String>, DataError> {
        at.attr_names().map_err(self.failed("list the attributes"))
    }

    /// The names of all datasets and groups.
    pub(crate) fn dataset_names(&self, at: &Group) -> Result<Vec<String>, DataError> {
        at.member_names().map_err(self.failed("list the datasets"))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, at: &Group, name: &str) -> Result<T, DataError> {
        let text = self.text(at, name)?;
        serde_json::from_str(&text).map_err(|e| {
            self.malformed(
                format!("the attribute {name:?} is not the JSON needed ({e}): {text:.200}"),
                "correct it, or write the file again",
            )
        })
    }

    pub(crate) fn provenance(&self, at: &Group) -> Result<ImageProvenance, DataError> {
        Ok(ImageProvenance {
            name: self.text(at, "name")?,
            source: self.text(at, "source")?,
            licence: self.text(at, "licence")?,
            sha256: self.text(at, "sha256")?,
        })
    }

    /// Reads a dataset of exactly the type `T` with `rank` dimensions, none of them 0.
    pub(crate) fn array<T: H5Type>(
        &self,
        at: &Group,
        name: &str,
        rank: usize,
    ) -> Result<(Vec<usize>, Vec<T>), DataError> {
        let (dataset, dims) = self.typed::<T>(at, name, rank)?;
        Ok((dims, self.read(&dataset, name)?))
    }

    /// Reads images `[N, C, H, W]`: bytes, or numbers of any floating-point type.
    pub(crate) fn pixels(&self, at: &Group, name: &str) -> Result<(Vec<usize>, Pixels), DataError> {
        if self.holds_floats(at, name)? {
            let (dataset, dims) = self.ranked(at, name, 4)?;
            let values: Vec<f32> = self.read(&dataset, name)?;
            return Ok((dims, Pixels::Values(values)));
        }
        let (dims, bytes) = self.array(at, name, 4)?;
        Ok((dims, Pixels::Bytes(bytes)))
    }

    /// Hands the images `[N, C, H, W]` to `take` in blocks `[n, C, H, W]`; returns `[N, C, H, W]`.
    pub(crate) fn image_blocks(
        &self,
        at: &Group,
        name: &str,
        mut take: impl FnMut(&Pixels),
    ) -> Result<Vec<usize>, DataError> {
        let is_of_floats = self.holds_floats(at, name)?;
        let (dataset, dims) = match is_of_floats {
            true => self.ranked(at, name, 4)?,
            false => self.typed::<u8>(at, name, 4)?,
        };
        for first in (0..dims[0]).step_by(IMAGE_BLOCK) {
            let images = first..(first + IMAGE_BLOCK).min(dims[0]);
            take(&match is_of_floats {
                true => Pixels::Values(self.read_images(&dataset, name, images)?),
                false => Pixels::Bytes(self.read_images(&dataset, name, images)?),
            });
        }
        Ok(dims)
    }

    fn read_images<T: H5Type>(
        &self,
        dataset: &Dataset,
        name: &str,
        Range { start, end }: Range<usize>,
    ) -> Result<Vec<T>, DataError> {
        let block: Array4<T> = dataset
            .read_slice((start..end, .., .., ..))
            .map_err(self.failed(format!("read images {start} to {end} of {name:?}")))?;
        Ok(block.into_iter().collect())
    }

    /// Whether a dataset is of floating-point numbers.
    fn holds_floats(&self, at: &Group, name: &str) -> Result<bool, DataError> {
        let (dataset, _) = self.dataset(at, name)?;
        let found = self.type_of(&dataset, &format!("the dataset {name:?}"))?;
        Ok(matches!(found, Numbers::Half | Numbers::Described(TypeDescriptor::Float(_))))
    }

    /// A dataset of exactly the type `T` with `rank` dimensions, none of them 0.
    fn typed<T: H5Type>(
        &self,
        at: &Group,
        name: &str,
        rank: usize,
    ) -> Result<(Dataset, Vec<usize>), DataError> {
        let (dataset, dims) = self.ranked(at, name, rank)?;
        let needed = T::type_descriptor();
        let found = self.type_of(&dataset, &format!("the dataset {name:?}"))?;
        if found != Numbers::Described(needed.clone()) {
            return Err(self.malformed(
                format!("the dataset {name:?} is of type {found}, needed is {needed}"),
                "convert it, or write the file again",
            ));
        }
        Ok((dataset, dims))
    }

    /// A dataset of `rank` dimensions, none of them 0.
    fn ranked(
        &self,
        at: &Group,
        name: &str,
        rank: usize,
    ) -> Result<(Dataset, Vec<usize>), DataError> {
        let (dataset, dims) = self.dataset(at, name)?;
        if dims.len() == rank {
            return Ok((dataset, dims));
        }
        Err(self.malformed(
            format!("the dataset {name:?} has dimensions {dims:?}, needed are {rank} of them"),
            "reshape it, or write the file again",
        ))
    }

    /// The dimensions of a dataset, none of them 0.
    pub(crate) fn dims(&self, at: &Group, name: &str) -> Result<Vec<usize>, DataError> {
        Ok(self.dataset(at, name)?.1)
    }

    /// Reads a dataset of any type of real numbers with `rank` dimensions, each number finite.
    pub(crate) fn floats(
        &self,
        at: &Group,
        name: &str,
        rank: usize,
    ) -> Result<(Vec<usize>, Vec<f64>), DataError> {
        self.ranked(at, name, rank)?;
        let (dims, values) = self.real(at, name)?;
        self.require_finite(name, &values)?;
        Ok((dims, values))
    }

    /// Reads a dataset of any type of real numbers, which need not be finite.
    pub(crate) fn real(&self, at: &Group, name: &str) -> Result<(Vec<usize>, Vec<f64>), DataError> {
        match self.parts(at, name)? {
            Numbered { dims, values, imaginary: None } => Ok((dims, values)),
            Numbered { imaginary: Some(_), .. } => Err(self.malformed(
                format!("the dataset {name:?} is complex, and real numbers are needed"),
                "store the real part, if the imaginary one is rounding",
            )),
        }
    }

    /// Reads a dataset of any type of numbers, which need not be finite; complex ones as pairs of channels.
    pub(crate) fn any_floats(
        &self,
        at: &Group,
        name: &str,
    ) -> Result<(Vec<usize>, Vec<f64>), DataError> {
        let Array { dims, values } = self.numbers(at, name, Needed::WithGaps)?;
        Ok((dims, values))
    }

    /// Reads a dataset of any type of numbers; complex ones as pairs of channels.
    fn numbers(&self, at: &Group, name: &str, needed: Needed) -> Result<Array, DataError> {
        let Numbered { dims, values, imaginary } = self.parts(at, name)?;
        let array = match imaginary {
            None => Array { dims, values },
            Some(imaginary) => {
                needed.check_complex(&self.path, &format!("the dataset {name:?}"))?;
                complex_pairs(&dims, &values, &imaginary)
            }
        };
        if needed != Needed::WithGaps {
            self.require_finite(name, &array.values)?;
        }
        Ok(array)
    }

    /// Reads a dataset of any type of numbers, and the imaginary parts of complex ones.
    fn parts(&self, at: &Group, name: &str) -> Result<Numbered, DataError> {
        let (dataset, dims) = self.dataset(at, name)?;
        let found = self.type_of(&dataset, &format!("the dataset {name:?}"))?;
        use TypeDescriptor::{Boolean, Float, Integer, Unsigned};
        let values: Vec<f64> = match found {
            // HDF5 converts no enumeration, which these are.
            Numbers::Described(Boolean) => {
                let values: Vec<bool> = self.read(&dataset, name)?;
                values.into_iter().map(|value| f64::from(u8::from(value))).collect()
            }
            Numbers::Half | Numbers::Described(Integer(_) | Unsigned(_) | Float(_)) => {
                self.read(&dataset, name)?
            }
            Numbers::Described(TypeDescriptor::Compound(fields)) => {
                let (values, imaginary) = match parts_of(&fields) {
                    Some(["r", "i"]) => {
                        let values: Vec<OfPython> = self.read(&dataset, name)?;
                        values.into_iter().map(|OfPython { r, i }| (r, i)).unzip()
                    }
                    Some(["real", "imag"]) => {
                        let values: Vec<OfMatlab> = self.read(&dataset, name)?;
                        values.into_iter().map(|OfMatlab { real, imag }| (real, imag)).unzip()
                    }
                    _ => {
                        let fields: Vec<&str> = fields.fields.iter().map(|f| &*f.name).collect();
                        return Err(self.malformed(
                            format!("the dataset {name:?} has the fields {fields:?}, and complex numbers r and i or real and imag"),
                            "store each field as a dataset of its own",
                        ));
                    }
                };
                return Ok(Numbered { dims, values, imaginary: Some(imaginary) });
            }
            Numbers::Described(found) => {
                return Err(self.malformed(
                    format!("the dataset {name:?} is of type {found}, which is no number"),
                    "store it as float32, or complex64",
                ));
            }
        };
        Ok(Numbered { dims, values, imaginary: None })
    }

    pub(crate) fn require_finite<T: Copy + Into<f64>>(
        &self,
        name: &str,
        values: &[T],
    ) -> Result<(), DataError> {
        require_finite(&self.path, &format!("the dataset {name:?}"), values)
    }

    fn dataset(&self, at: &Group, name: &str) -> Result<(Dataset, Vec<usize>), DataError> {
        if !at.link_exists(name) {
            return Err(self.malformed(
                format!("the dataset {name:?} of {:?} is missing", at.name()),
                "add it, or write the file again",
            ));
        }
        let dataset =
            at.dataset(name).map_err(self.failed(format!("open the dataset {name:?}")))?;
        let dims = dataset.shape();
        self.check_readable(&dataset, name)?;
        // Parts that were never written read as zeros, and a header may promise more than memory.
        let complete = match (checked_product(&dims), dataset.chunk(), dataset.num_chunks()) {
            (None | Some(0), ..) => false,
            (_, Some(chunk), Some(found)) => {
                let needed = dims.iter().zip(&chunk).map(|(&dim, &side)| dim.div_ceil(side));
                found == needed.product::<usize>()
            }
            (Some(size), ..) => dataset.storage_size() >= size as u64,
        };
        if !complete {
            return Err(self.malformed(
                format!("the dataset {name:?} of dimensions {dims:?} is empty or incomplete"),
                WRITE_AGAIN,
            ));
        }
        Ok((dataset, dims))
    }

    /// Fails where the values lie in other files, or were packed by a filter that is not there.
    fn check_readable(&self, dataset: &Dataset, name: &str) -> Result<(), DataError> {
        if dataset.layout() == Layout::Virtual {
            return Err(self.malformed(
                format!("the dataset {name:?} is virtual: its values lie in other files"),
                "copy it into one file, in Python for example by file.create_dataset(name, data=virtual[...])",
            ));
        }
        let missing = dataset.filters().into_iter().find_map(|filter| match filter {
            Filter::User(number, _) => Some(number),
            Filter::SZip(..) => Some(4),
            _ => None,
        });
        match missing {
            None => Ok(()),
            Some(number) => Err(self.malformed(
                format!(
                    "the dataset {name:?} is compressed by {} (filter {number}), which is not read here",
                    filter_name(number)
                ),
                "write it with gzip or without compression: `h5repack -f GZIP=4 OLD.h5 NEW.h5`, or in Python \
                 create_dataset(name, data=values, compression=\"gzip\")",
            )),
        }
    }

    fn read<T: H5Type>(&self, dataset: &Dataset, name: &str) -> Result<Vec<T>, DataError> {
        let need = dataset.size().saturating_mul(size_of::<T>()) as u64;
        let what = format!("the dataset {name:?} of dimensions {:?}", dataset.shape());
        memory::require(&what, need, "give fewer images at a time")
            .map_err(|error| error.in_file(&self.path))?;
        dataset.read_raw().map_err(self.failed(format!("read the dataset {name:?}")))
    }

    pub(crate) fn failed(
        &self,
        action: impl Into<String>,
    ) -> impl FnOnce(hdf5::Error) -> DataError {
        let (path, action) = (self.path.clone(), action.into());
        move |error| DataError::Hdf5 { path, action, error, remedy: WRITE_AGAIN }
    }
}

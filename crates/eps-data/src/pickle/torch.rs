//! PyTorch's tensors in pickles, and the files of `torch.save`.
//!
//! ```text
//! tensor     call of torch._utils._rebuild_tensor_v2(storage, offset, sizes, strides, …)
//! parameter  call of torch._utils._rebuild_parameter(tensor, …)
//! storage    persistent ("storage", torch.FloatStorage, key, device, elements[, view]),
//!            or call of torch.storage._load_from_bytes(bytes of a legacy file of this storage)
//!
//! legacy     five pickles: 0x1950a86a20f9469cfc6c, 1001, {"little_endian": True, …}, the value,
//!            [key, …]; then for every key its elements (i64) and their values
//! ZIP        NAME/data.pkl, the value's pickle; NAME/data/KEY, the values of a storage;
//!            NAME/byteorder, "little"
//! plain      one pickle that holds all its storages: `pickle.dump`
//! ```
//!
//! All values are little-endian. A tensor is read as a view into the bytes of its file: no length,
//! offset or stride is believed before it is compared with them, and memory is taken for one
//! tensor's values at a time, never for more elements than its storage has. ZIP members
//! must be stored as they are, as PyTorch stores them: nothing is decompressed.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::Range;

use half::{bf16, f16};

use super::{Item, Pickle, PickleError, Value};
use crate::array::checked_product;

/// The first value of a legacy file, 0x1950a86a20f9469cfc6c.
const MAGIC: &[u8] = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// The protocol of legacy files.
const LEGACY_PROTOCOL: i64 = 1001;

/// How many bytes the pickles of one embedded storage may have: they have about 400.
const EMBEDDED_PICKLES: usize = 1 << 16;

/// Why a file is none of PyTorch's that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TorchError {
    /// A pickle that cannot be read, or a value that is another one than its place needs.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// A file that is damaged or of another layout.
    #[error("{problem}: fetch the file again, or save it again with torch.save")]
    File {
        /// What is wrong with it.
        problem: String,
    },
    /// A storage that is not as its tensors say.
    #[error("the storage {key:?} {problem}")]
    Storage {
        /// Its key in the file.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor that does not lie in its storage.
    #[error("{what} {problem}")]
    Tensor {
        /// What the tensor stands for.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A file of PyTorch, or a pickle that holds tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct TorchFile<'a> {
    pickle: Pickle<'a>,
    /// What lies beside the pickle, by key.
    storages: BTreeMap<String, &'a [u8]>,
}

impl<'a> TorchFile<'a> {
    /// Reads a ZIP or legacy file of `torch.save`, or a plain pickle.
    ///
    /// # Errors
    /// [`TorchError`] where `bytes` are none of these, are cut off or damaged, or hold a storage that
    /// is not as their tensors say.
    pub fn read(bytes: &'a [u8]) -> Result<Self, TorchError> {
        if bytes.starts_with(b"PK\x03\x04") {
            return read_zip(bytes);
        }
        let (first, length) = Pickle::read_first(bytes)?;
        if *first.root().value() == Value::Long(MAGIC) {
            return read_legacy(bytes, bytes.len());
        }
        match bytes.len() - length {
            0 => Ok(Self { pickle: first, storages: BTreeMap::new() }),
            left => Err(PickleError::LeftOver { offset: length, left }.into()),
        }
    }

    /// The value that was saved.
    #[must_use]
    pub fn root(&self) -> Item<'_, 'a> {
        self.pickle.root()
    }

    /// How many values the pickle has.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.pickle.len()
    }

    /// The first global of the pickle, as `module.name`, that stands neither for plain data, as
    /// [`is_plain`] tells, nor for what the caller knows.
    ///
    /// Nothing that a pickle names is ever imported or called; but what no network needs shows that a
    /// file is not what it is taken for.
    pub fn foreign_global(&self, is_known: impl Fn(&str, &str) -> bool) -> Option<String> {
        let is_foreign =
            |(module, name): &(&str, &str)| !is_plain(module, name) && !is_known(module, name);
        self.pickle.globals().find(is_foreign).map(|(module, name)| format!("{module}.{name}"))
    }

    /// The tensor or parameter that a value of this file stands for; `what` names it in errors.
    ///
    /// # Errors
    /// [`PickleError::Unexpected`] where the value is no call that makes a tensor of numbers,
    /// [`TorchError::Tensor`] where it does not lie in its storage, and the errors of an embedded
    /// storage.
    pub fn tensor<'s>(&'s self, item: Item<'s, 'a>, what: &str) -> Result<Tensor<'s>, TorchError> {
        let mut item = item;
        if let Some(("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")) =
            item.callee()
        {
            let arguments = item.arguments();
            item = *arguments.first().ok_or_else(|| unexpected(what, item, "a parameter"))?;
        }
        let Some(("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor")) = item.callee() else {
            return Err(unexpected(what, item, "a tensor"));
        };
        let arguments = item.arguments();
        let [storage, offset, sizes, strides, ..] = arguments[..] else {
            return Err(unexpected(what, item, "a tensor of storage, offset, sizes and strides"));
        };
        let offset = index(offset).ok_or_else(|| unexpected(what, offset, "an offset"))?;
        let numbers = |item: Item<'s, 'a>, expected| -> Result<Vec<usize>, TorchError> {
            let numbers = item.sequence().and_then(|items| items.into_iter().map(index).collect());
            numbers.ok_or_else(|| unexpected(what, item, expected))
        };
        let dims = numbers(sizes, "sizes of a tensor, none of them negative")?;
        let strides = numbers(strides, "strides of a tensor, none of them negative")?;
        let (kind, bytes) = self.storage(storage, what)?;
        Tensor::new(kind, bytes, offset, dims, strides)
            .map_err(|problem| TorchError::Tensor { what: what.to_owned(), problem })
    }

    /// The kind and the values of the storage that a value stands for.
    fn storage<'s>(
        &'s self,
        item: Item<'s, 'a>,
        what: &str,
    ) -> Result<(Kind, &'s [u8]), TorchError> {
        if let Some(("torch.storage", "_load_from_bytes")) = item.callee() {
            let arguments = item.arguments();
            let bytes = arguments.first().and_then(|item| item.bytes());
            let bytes = bytes.ok_or_else(|| unexpected(what, item, "a storage"))?;
            let file = read_legacy(bytes, EMBEDDED_PICKLES)?;
            if let Some(global) = file.foreign_global(|_, _| false) {
                return Err(TorchError::Tensor {
                    what: what.to_owned(),
                    problem: format!("has a storage whose pickle names {global}"),
                });
            }
            let reference = Reference::of(file.pickle.root(), what)?;
            return reference.find(&file.storages);
        }
        Reference::of(item, what)?.find(&self.storages)
    }
}

/// Whether a value is a call that makes a tensor or a parameter.
#[must_use]
pub fn is_tensor(item: Item<'_, '_>) -> bool {
    let names = [
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_parameter",
        "_rebuild_parameter_with_state",
    ];
    item.callee().is_some_and(|(module, name)| module == "torch._utils" && names.contains(&name))
}

/// Whether a global stands for plain data in files of PyTorch: tensors and their types, dictionaries,
/// NumPy's arrays and numbers.
#[must_use]
pub fn is_plain(module: &str, name: &str) -> bool {
    let names: &[&str] = match module {
        "torch._utils" => &[
            "_rebuild_tensor",
            "_rebuild_tensor_v2",
            "_rebuild_parameter",
            "_rebuild_parameter_with_state",
        ],
        "torch.storage" => &["_load_from_bytes", "TypedStorage", "UntypedStorage"],
        "torch.nn.parameter" => &["Parameter"],
        "torch" if Kind::of_class(name).is_some() => return true,
        "torch" => &[
            "Tensor", "Size", "device", "strided", "bool", "uint8", "int8", "int16", "int32",
            "int64", "float16", "bfloat16", "float32", "float64",
        ],
        "collections" => &["OrderedDict", "defaultdict", "Counter"],
        "builtins" | "__builtin__" => {
            &["set", "frozenset", "bytearray", "complex", "dict", "list", "int"]
        }
        "_codecs" => &["encode"],
        "numpy" => &["ndarray", "dtype"],
        "numpy.core.multiarray" | "numpy._core.multiarray" => &["_reconstruct", "scalar"],
        _ => &[],
    };
    names.contains(&name)
}

/// The entries of a dictionary, as of [`pairs`], whose keys are texts, in the order of the file; none where
/// a key is something else.
#[must_use]
pub fn entries<'p, 'a>(item: Item<'p, 'a>) -> Option<Vec<(&'p str, Item<'p, 'a>)>> {
    pairs(item)?.into_iter().map(|(key, value)| Some((key.text()?, value))).collect()
}

/// Keys and values of a dictionary, an `OrderedDict`, a `defaultdict` or an `EasyDict` of EDM's code, in the order of
/// the file.
#[must_use]
pub fn pairs<'p, 'a>(item: Item<'p, 'a>) -> Option<Vec<(Item<'p, 'a>, Item<'p, 'a>)>> {
    if let Value::Dict(entries) = item.value() {
        return Some(entries.iter().map(|(key, value)| (item.at(*key), item.at(*value))).collect());
    }
    let Some(
        ("collections", "OrderedDict" | "defaultdict") | ("dnnlib.util" | "dnnlib", "EasyDict"),
    ) = item.callee()
    else {
        return None;
    };
    let call = item.call()?;
    // Python 2 gave the entries as an argument.
    let given = item.arguments();
    let pairs = given.first().map(|list| list.sequence().unwrap_or_default()).unwrap_or_default();
    let given = pairs.into_iter().map(|pair| match pair.sequence()?[..] {
        [key, value] => Some((key, value)),
        _ => None,
    });
    let set = call.entries.iter().map(|(key, value)| Some((item.at(*key), item.at(*value))));
    given.chain(set).collect()
}

/// How the elements of a storage are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `float64`
    F64,
    /// `float32`
    F32,
    /// `float16`
    F16,
    /// `bfloat16`
    BF16,
    /// `int64`
    I64,
    /// `int32`
    I32,
    /// `int16`
    I16,
    /// `int8`
    I8,
    /// `uint8`
    U8,
    /// `bool`
    Bool,
}

impl Kind {
    /// The kind by the class of its storages.
    fn of_class(name: &str) -> Option<Self> {
        Some(match name {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::BF16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// The bytes of one element.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether the elements are integers or truth values.
    #[must_use]
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// The value of `width` bytes, rounded to f32.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "the upper bytes are 0, and the lower ones are what they are read as"
    )]
    fn value(self, bytes: &[u8]) -> f32 {
        let mut little = [0; 8];
        little[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(little);
        match self {
            Self::F64 => f64::from_bits(bits) as f32,
            Self::F32 => f32::from_bits(bits as u32),
            Self::F16 => f16::from_bits(bits as u16).to_f32(),
            Self::BF16 => bf16::from_bits(bits as u16).to_f32(),
            Self::I64 => bits as i64 as f32,
            Self::I32 => bits as i32 as f32,
            Self::I16 => f32::from(bits as i16),
            Self::I8 => f32::from(bits as i8),
            Self::U8 | Self::Bool => f32::from(bits as u8),
        }
    }
}

/// A tensor as its file holds it: a view into the bytes of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor<'s> {
    kind: Kind,
    bytes: &'s [u8],
    offset: usize,
    dims: Vec<usize>,
    strides: Vec<usize>,
    count: usize,
}

impl<'s> Tensor<'s> {
    /// The tensor of a file that is none of PyTorch's: all of `bytes`, row-major, little-endian.
    ///
    /// # Errors
    /// What is wrong where `bytes` are not as many as `dims` need.
    pub fn contiguous(kind: Kind, bytes: &'s [u8], dims: Vec<usize>) -> Result<Self, String> {
        let size = checked_product(&dims).and_then(|count| count.checked_mul(kind.width()));
        if size != Some(bytes.len()) {
            return Err(format!("has the sizes {dims:?} in {kind:?} and {} bytes", bytes.len()));
        }
        let mut strides = vec![1_usize; dims.len()];
        for axis in (1..dims.len()).rev() {
            // A factor of the product above, or 0 elements.
            strides[axis - 1] = strides[axis].saturating_mul(dims[axis]);
        }
        Self::new(kind, bytes, 0, dims, strides)
    }

    /// A view whose every element lies in the storage, and that has no more of them than it.
    fn new(
        kind: Kind,
        bytes: &'s [u8],
        offset: usize,
        dims: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Self, String> {
        let stored = bytes.len() / kind.width();
        if dims.len() != strides.len() {
            return Err(format!("has the sizes {dims:?} and the strides {strides:?}"));
        }
        let count = checked_product(&dims)
            .filter(|count| *count <= stored)
            .ok_or_else(|| format!("has the sizes {dims:?}, its storage {stored} elements"))?;
        let beyond = dims.iter().zip(&strides).try_fold(offset, |last, (&dim, &stride)| {
            dim.saturating_sub(1).checked_mul(stride)?.checked_add(last)
        });
        if count > 0 && beyond.is_none_or(|last| last >= stored) {
            return Err(format!(
                "has the sizes {dims:?}, the strides {strides:?} and the offset {offset}, which leave \
                 its storage of {stored} elements"
            ));
        }
        Ok(Self { kind, bytes, offset, dims, strides, count })
    }

    /// The sizes, outermost first; none for a scalar.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// How the elements are stored.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The elements in row-major order: `float32`, `float16`, `bfloat16` and small integers as they
    /// are, `float64` and large integers rounded to f32.
    #[must_use]
    pub fn values(&self) -> Vec<f32> {
        let width = self.kind.width();
        let mut values = Vec::with_capacity(self.count);
        if self.count == 0 {
            return values;
        }
        // Rows of the innermost dimension, one after the other.
        let (row, step) = match (self.dims.last(), self.strides.last()) {
            (Some(dim), Some(stride)) => (*dim, *stride),
            _ => (1, 1),
        };
        let outer = self.dims.len().saturating_sub(1);
        let mut at = vec![0; outer];
        let mut first = self.offset;
        loop {
            let element = |i: usize| {
                let start = (first + i * step) * width;
                self.kind.value(&self.bytes[start..start + width])
            };
            values.extend((0..row).map(element));
            let mut axis = outer;
            loop {
                if axis == 0 {
                    return values;
                }
                axis -= 1;
                at[axis] += 1;
                first += self.strides[axis];
                if at[axis] < self.dims[axis] {
                    break;
                }
                first -= at[axis] * self.strides[axis];
                at[axis] = 0;
            }
        }
    }
}

/// What a persistent identity says of a storage.
struct Reference<'p> {
    kind: Kind,
    key: &'p str,
    /// The elements of the whole storage.
    count: usize,
    /// The elements that are meant, where it is a part.
    part: Option<Range<usize>>,
}

impl<'p> Reference<'p> {
    fn of(item: Item<'p, '_>, what: &str) -> Result<Self, TorchError> {
        let Value::Persistent(identity) = item.value() else {
            return Err(unexpected(what, item, "a storage"));
        };
        let parts = item.at(*identity).sequence().unwrap_or_default();
        let [name, class, key, _device, count, ref rest @ ..] = parts[..] else {
            return Err(unexpected(what, item.at(*identity), "the identity of a storage"));
        };
        if name.text() != Some("storage") {
            return Err(unexpected(what, name, "the word \"storage\""));
        }
        let kind = class
            .global()
            .and_then(|(module, name)| (module == "torch").then(|| Kind::of_class(name)).flatten());
        let kind =
            kind.ok_or_else(|| unexpected(what, class, "a storage class of real numbers"))?;
        let key = key.text().ok_or_else(|| unexpected(what, key, "the key of a storage"))?;
        let count =
            index(count).ok_or_else(|| unexpected(what, count, "the elements of a storage"))?;
        let part = match rest.first().filter(|view| *view.value() != Value::None) {
            None => None,
            Some(view) => {
                let numbers = view.sequence().and_then(|view| match view[..] {
                    [_key, offset, count] => Some((index(offset)?, index(count)?)),
                    _ => None,
                });
                let part = numbers.and_then(|(start, n)| Some(start..start.checked_add(n)?));
                let part = part.filter(|part| part.end <= count);
                Some(part.ok_or_else(|| unexpected(what, *view, "a part of its storage"))?)
            }
        };
        Ok(Self { kind, key, count, part })
    }

    /// The bytes of the whole storage.
    fn size(&self) -> Option<usize> {
        self.count.checked_mul(self.kind.width())
    }

    fn find<'s>(
        &self,
        storages: &BTreeMap<String, &'s [u8]>,
    ) -> Result<(Kind, &'s [u8]), TorchError> {
        let Some(bytes) = storages.get(self.key) else {
            return Err(self.error("is missing from the file".to_owned()));
        };
        if self.size() != Some(bytes.len()) {
            let (found, count) = (bytes.len(), self.count);
            return Err(self.error(format!(
                "has {found} bytes, a tensor needs one of {count} {:?}",
                self.kind
            )));
        }
        let width = self.kind.width();
        Ok(match &self.part {
            None => (self.kind, bytes),
            Some(part) => (self.kind, &bytes[part.start * width..part.end * width]),
        })
    }

    fn error(&self, problem: String) -> TorchError {
        TorchError::Storage { key: self.key.to_owned(), problem }
    }
}

/// Reads a legacy file whose pickles lie in its first `most` bytes.
fn read_legacy(bytes: &[u8], most: usize) -> Result<TorchFile<'_>, TorchError> {
    let pickles = &bytes[..bytes.len().min(most)];
    let mut at = 0;
    let mut next = || -> Result<Pickle<'_>, TorchError> {
        let (pickle, length) = Pickle::read_first(&pickles[at..])?;
        at += length;
        Ok(pickle)
    };
    let (magic, protocol, system) = (next()?, next()?, next()?);
    if *magic.root().value() != Value::Long(MAGIC) {
        return Err(unexpected("the first value", magic.root(), "PyTorch's magic number"));
    }
    if protocol.root().int() != Some(LEGACY_PROTOCOL) {
        return Err(unexpected("the protocol", protocol.root(), "the integer 1001"));
    }
    let little = system.root().entries().and_then(|entries| {
        entries.into_iter().find_map(|(name, item)| (name == "little_endian").then_some(item))
    });
    if little.map(Item::value) != Some(&Value::Bool(true)) {
        return Err(file(format!(
            "the machine that saved it is {}, not little-endian",
            system.root().describe()
        )));
    }
    let (pickle, keys) = (next()?, next()?);
    for plain in [&magic, &protocol, &system, &keys] {
        if let Some((module, name)) = plain.globals().next() {
            return Err(file(format!("a pickle beside the saved value names {module}.{name}")));
        }
    }

    // What follows has no kinds: they are in the pickle.
    let mut references: BTreeMap<&str, Reference<'_>> = BTreeMap::new();
    for item in pickle.items().filter(|item| matches!(item.value(), Value::Persistent(_))) {
        let reference = Reference::of(item, "a persistent identity")?;
        if let Some(other) = references.get(reference.key)
            && (other.kind, other.count) != (reference.kind, reference.count)
        {
            return Err(reference.error("is two different storages".to_owned()));
        }
        references.insert(reference.key, reference);
    }
    let keys = keys.root().sequence().ok_or_else(|| {
        unexpected("the value after the saved one", keys.root(), "the list of its storages")
    })?;
    let mut storages = BTreeMap::new();
    for key in keys {
        let key = key.text().ok_or_else(|| unexpected("a key", key, "the key of a storage"))?;
        let storage = |problem: String| TorchError::Storage { key: key.to_owned(), problem };
        let reference =
            references.get(key).ok_or_else(|| storage("is of no known kind".to_owned()))?;
        let rest = &bytes[at..];
        let Some((count, rest)) = rest.split_first_chunk::<8>() else {
            return Err(storage(format!("is cut off: {} bytes are left", rest.len())));
        };
        let count = i64::from_le_bytes(*count);
        if usize::try_from(count) != Ok(reference.count) {
            return Err(storage(format!(
                "says that it has {count} elements, its tensors say {}",
                reference.count
            )));
        }
        let size = reference.size().filter(|size| *size <= rest.len()).ok_or_else(|| {
            storage(format!(
                "is cut off: {count} elements of {:?} are not in the {} bytes that are left",
                reference.kind,
                rest.len()
            ))
        })?;
        at += 8 + size;
        if storages.insert(key.to_owned(), &rest[..size]).is_some() {
            return Err(storage("is there twice".to_owned()));
        }
    }
    match bytes.len() - at {
        0 => {
            drop(references);
            Ok(TorchFile { pickle, storages })
        }
        left => Err(file(format!("{left} bytes are left over after its storages"))),
    }
}

fn read_zip(bytes: &[u8]) -> Result<TorchFile<'_>, TorchError> {
    let damaged =
        |error: zip::result::ZipError| file(format!("the ZIP archive is damaged ({error})"));
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let mut members: BTreeMap<String, &[u8]> = BTreeMap::new();
    let mut total = 0;
    for at in 0..archive.len() {
        let member = archive.by_index_raw(at).map_err(damaged)?;
        let name = member.name().to_owned();
        if member.compression() != zip::CompressionMethod::Stored
            || member.size() != member.compressed_size()
        {
            return Err(file(format!("its member {name:?} is compressed, PyTorch stores them")));
        }
        let range = usize::try_from(member.data_start()).ok().and_then(|start| {
            Some(start..start.checked_add(usize::try_from(member.size()).ok()?)?)
        });
        let content = range
            .and_then(|range| bytes.get(range))
            .ok_or_else(|| file(format!("its member {name:?} is cut off")))?;
        // Members may overlap in a file that is to cost more time than its size.
        total += content.len();
        if total > bytes.len() {
            return Err(file("its members have more bytes than the file".to_owned()));
        }
        let mut crc = flate2::Crc::new();
        crc.update(content);
        if crc.sum() != member.crc32() {
            return Err(file(format!("its member {name:?} is damaged: its checksum is another")));
        }
        if members.insert(name.clone(), content).is_some() {
            return Err(file(format!("its member {name:?} is there twice")));
        }
    }
    let folder = members
        .keys()
        .find_map(|name| name.strip_suffix("data.pkl"))
        .filter(|folder| folder.ends_with('/'))
        .map(str::to_owned)
        .ok_or_else(|| file("the ZIP archive has no NAME/data.pkl".to_owned()))?;
    let order = members.get(&format!("{folder}byteorder"));
    if let Some(order) = order.filter(|order| **order != b"little") {
        let order = String::from_utf8_lossy(order);
        return Err(file(format!("its byte order is {order:?}, only little is read")));
    }
    let pickle = Pickle::read(members[&format!("{folder}data.pkl")])?;
    let data = format!("{folder}data/");
    let storages = members
        .into_iter()
        .filter_map(|(name, content)| Some((name.strip_prefix(&data)?.to_owned(), content)))
        .collect();
    Ok(TorchFile { pickle, storages })
}

/// A count or offset that fits the address space.
fn index(item: Item<'_, '_>) -> Option<usize> {
    usize::try_from(item.int()?).ok()
}

fn file(problem: String) -> TorchError {
    TorchError::File { problem }
}

fn unexpected(what: &str, item: Item<'_, '_>, expected: &'static str) -> TorchError {
    PickleError::Unexpected { what: what.to_owned(), found: item.describe(), expected }.into()
}

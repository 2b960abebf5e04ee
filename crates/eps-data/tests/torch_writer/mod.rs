//! Writes pickles as Python does, and files as PyTorch's `torch.save` does, with tensors of f32.

use std::collections::HashMap;
use std::io::{Cursor, Write as _};

use zip::write::FileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A value of Python.
#[derive(Clone)]
pub(crate) enum Py {
    None,
    Bool(bool),
    Int(i64),
    /// The magic number of legacy files.
    Magic,
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    Dict(Vec<(Self, Self)>),
    Global(&'static str, &'static str),
    /// What a callable returns for arguments, with the entries that are set in it.
    Call(Box<Self>, Vec<Self>, Vec<(Self, Self)>),
    /// An instance of a class, with its `__dict__`.
    Object(Box<Self>, Box<Self>),
    Persistent(Box<Self>),
}

pub(crate) fn text(text: &str) -> Py {
    Py::Text(text.to_owned())
}

pub(crate) fn int(value: usize) -> Py {
    Py::Int(i64::try_from(value).unwrap())
}

pub(crate) fn ints(values: &[usize]) -> Vec<Py> {
    values.iter().map(|value| int(*value)).collect()
}

pub(crate) fn call(module: &'static str, name: &'static str, arguments: Vec<Py>) -> Py {
    Py::Call(Box::new(Py::Global(module, name)), arguments, vec![])
}

pub(crate) fn dict<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, Py)>) -> Py {
    Py::Dict(entries.into_iter().map(|(key, value)| (text(key.as_ref()), value)).collect())
}

pub(crate) fn ordered_dict<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, Py)>) -> Py {
    let Py::Dict(entries) = dict(entries) else { unreachable!() };
    Py::Call(Box::new(Py::Global("collections", "OrderedDict")), vec![], entries)
}

/// `pickle.dumps(value, protocol)` of protocol 2 or 4, with a memo for texts and globals.
pub(crate) fn dumps(value: &Py, protocol: u8) -> Vec<u8> {
    let mut pickler = Pickler { protocol, memo: HashMap::new(), bytes: vec![0x80, protocol] };
    pickler.save(value);
    pickler.bytes.push(b'.');
    if protocol >= 4 {
        let length = (pickler.bytes.len() - 2) as u64;
        let frame = [&[0x95][..], &length.to_le_bytes()].concat();
        pickler.bytes.splice(2..2, frame);
    }
    pickler.bytes
}

struct Pickler {
    protocol: u8,
    /// The numbers of what was memoised, by its kind and name.
    memo: HashMap<(u8, String), u32>,
    bytes: Vec<u8>,
}

impl Pickler {
    fn save(&mut self, value: &Py) {
        match value {
            Py::None => self.bytes.push(b'N'),
            Py::Bool(value) => self.bytes.push(if *value { 0x88 } else { 0x89 }),
            Py::Int(value) => self.int(*value),
            Py::Magic => self.bytes.extend(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"),
            Py::Float(value) => {
                self.bytes.push(b'G');
                self.bytes.extend(value.to_be_bytes());
            }
            Py::Text(text) => self.text(text),
            Py::Bytes(bytes) if self.protocol < 3 => {
                let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
                self.global("_codecs", "encode");
                // Not memoised: each is a text of its own.
                self.long_text(&latin);
                self.text("latin1");
                self.bytes.extend(b"\x86R");
            }
            Py::Bytes(bytes) => {
                self.bytes.push(b'B');
                self.bytes.extend((bytes.len() as u32).to_le_bytes());
                self.bytes.extend(bytes);
            }
            Py::List(items) => {
                self.bytes.extend(b"](");
                items.iter().for_each(|item| self.save(item));
                self.bytes.push(b'e');
            }
            Py::Tuple(items) => self.tuple(items),
            Py::Dict(entries) => {
                self.bytes.push(b'}');
                self.entries(entries);
            }
            Py::Global(module, name) => self.global(module, name),
            Py::Call(callable, arguments, entries) => {
                self.save(callable);
                self.tuple(arguments);
                self.bytes.push(b'R');
                if !entries.is_empty() {
                    self.entries(entries);
                }
            }
            Py::Object(class, state) => {
                self.save(class);
                self.bytes.extend(b")\x81");
                self.save(state);
                self.bytes.push(b'b');
            }
            Py::Persistent(identity) => {
                self.save(identity);
                self.bytes.push(b'Q');
            }
        }
    }

    fn int(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.bytes.extend([b'K', byte]);
        } else if let Ok(value) = i32::try_from(value) {
            self.bytes.push(b'J');
            self.bytes.extend(value.to_le_bytes());
        } else {
            self.bytes.extend([0x8a, 8]);
            self.bytes.extend(value.to_le_bytes());
        }
    }

    fn tuple(&mut self, items: &[Py]) {
        if items.len() > 3 {
            self.bytes.push(b'(');
        }
        items.iter().for_each(|item| self.save(item));
        self.bytes.push(match items.len() {
            0 => b')',
            n @ 1..=3 => 0x84 + n as u8,
            _ => b't',
        });
    }

    fn entries(&mut self, entries: &[(Py, Py)]) {
        self.bytes.push(b'(');
        for (key, value) in entries {
            self.save(key);
            self.save(value);
        }
        self.bytes.push(b'u');
    }

    fn text(&mut self, text: &str) {
        if self.recall(b'X', text) {
            return;
        }
        match u8::try_from(text.len()) {
            Ok(length) if self.protocol >= 4 => {
                self.bytes.extend([0x8c, length]);
                self.bytes.extend(text.as_bytes());
            }
            _ => self.long_text(text),
        }
        self.remember(b'X', text);
    }

    fn long_text(&mut self, text: &str) {
        self.bytes.push(b'X');
        self.bytes.extend((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        let path = format!("{module}\n{name}\n");
        if self.recall(b'c', &path) {
            return;
        }
        if self.protocol >= 4 {
            self.text(module);
            self.text(name);
            self.bytes.push(0x93);
        } else {
            self.bytes.push(b'c');
            self.bytes.extend(path.as_bytes());
        }
        self.remember(b'c', &path);
    }

    fn recall(&mut self, kind: u8, name: &str) -> bool {
        let Some(index) = self.memo.get(&(kind, name.to_owned())) else { return false };
        match u8::try_from(*index) {
            Ok(index) => self.bytes.extend([b'h', index]),
            Err(_) => {
                self.bytes.push(b'j');
                self.bytes.extend(index.to_le_bytes());
            }
        }
        true
    }

    fn remember(&mut self, kind: u8, name: &str) {
        let index = self.memo.len() as u32;
        self.memo.insert((kind, name.to_owned()), index);
        if self.protocol >= 4 {
            self.bytes.push(0x94);
        } else if let Ok(index) = u8::try_from(index) {
            self.bytes.extend([b'q', index]);
        } else {
            self.bytes.push(b'r');
            self.bytes.extend(index.to_le_bytes());
        }
    }
}

/// A storage beside a pickle.
#[derive(Clone)]
pub(crate) struct Storage {
    pub(crate) key: String,
    /// The number of elements.
    pub(crate) count: usize,
    /// Their bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Storage {
    pub(crate) fn new(key: &str, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { key: key.to_owned(), count: values.len(), bytes }
    }

    /// The persistent identity by which a pickle names it; legacy files have a view more.
    pub(crate) fn reference(&self, class: &'static str, legacy: bool) -> Py {
        let mut identity = vec![
            text("storage"),
            Py::Global("torch", class),
            text(&self.key),
            text("cpu"),
            int(self.count),
        ];
        if legacy {
            identity.push(Py::None);
        }
        Py::Persistent(Box::new(Py::Tuple(identity)))
    }
}

/// A tensor's call.
pub(crate) fn tensor(storage: Py, offset: usize, dims: &[usize], strides: &[usize]) -> Py {
    let hooks = ordered_dict::<&str>([]);
    let arguments = vec![
        storage,
        int(offset),
        Py::Tuple(ints(dims)),
        Py::Tuple(ints(strides)),
        Py::Bool(false),
        hooks,
    ];
    call("torch._utils", "_rebuild_tensor_v2", arguments)
}

/// The strides of a tensor whose rows follow each other.
pub(crate) fn row_major(dims: &[usize]) -> Vec<usize> {
    (0..dims.len()).map(|axis| dims[axis + 1..].iter().product()).collect()
}

/// A legacy file.
pub(crate) fn legacy(root: &Py, storages: &[Storage]) -> Vec<u8> {
    let sizes = dict([("short", int(2)), ("int", int(4)), ("long", int(4))]);
    let system = dict([
        ("protocol_version", int(1001)),
        ("little_endian", Py::Bool(true)),
        ("type_sizes", sizes),
    ]);
    let keys = Py::List(storages.iter().map(|storage| text(&storage.key)).collect());
    let mut bytes: Vec<u8> = [&Py::Magic, &int(1001), &system, root, &keys]
        .into_iter()
        .flat_map(|value| dumps(value, 2))
        .collect();
    for storage in storages {
        bytes.extend((storage.count as i64).to_le_bytes());
        bytes.extend(&storage.bytes);
    }
    bytes
}

/// A ZIP file.
pub(crate) fn zipped(root: &Py, storages: &[Storage], compression: CompressionMethod) -> Vec<u8> {
    let options = FileOptions::default().compression_method(compression);
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    let mut add = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("archive/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    add("data.pkl", &dumps(root, 2));
    add("byteorder", b"little");
    for storage in storages {
        add(&format!("data/{}", storage.key), &storage.bytes);
    }
    add("version", b"3\n");
    zip.finish().unwrap().into_inner()
}

/// A tensor with a storage of its own inside the pickle, as `pickle.dump` writes it.
pub(crate) fn embedded(dims: &[usize], values: &[f32]) -> Py {
    let storage = Storage::new("94", values);
    let file = legacy(&storage.reference("FloatStorage", true), std::slice::from_ref(&storage));
    let storage = call("torch.storage", "_load_from_bytes", vec![Py::Bytes(file)]);
    tensor(storage, 0, dims, &row_major(dims))
}

/// A tensor by name.
pub(crate) type Named = (String, Vec<usize>, Vec<f32>);

/// The tensors of a state dict, and their storages.
pub(crate) fn state_dict(tensors: &[Named], legacy: bool) -> (Vec<(String, Py)>, Vec<Storage>) {
    let mut entries = vec![];
    let mut storages = vec![];
    for (at, (name, dims, values)) in tensors.iter().enumerate() {
        let storage = Storage::new(&at.to_string(), values);
        let reference = storage.reference("FloatStorage", legacy);
        entries.push((name.clone(), tensor(reference, 0, dims, &row_major(dims))));
        storages.push(storage);
    }
    (entries, storages)
}

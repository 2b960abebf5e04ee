//! PyTorch's files are read as data, whatever they are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod torch_writer;

use eps_data::pickle::torch::{self, TorchFile};
use proptest::prelude::*;
use torch_writer::{
    Named, Py, Storage, call, dict, dumps, embedded, int, ints, legacy, ordered_dict, row_major,
    state_dict, tensor, text, zipped,
};
use zip::CompressionMethod::{self, Stored};

fn tensors() -> Vec<Named> {
    vec![
        ("a.weight".to_owned(), vec![2, 3], vec![0.5, -1.0, f32::MIN_POSITIVE, 3.0, 4.0, -0.0]),
        ("a.bias".to_owned(), vec![2], vec![1e-45, -3e38]),
        ("scalar".to_owned(), vec![], vec![7.0]),
        ("none".to_owned(), vec![0, 4], vec![]),
    ]
}

/// The same tensors in every form of file.
fn files() -> Vec<Vec<u8>> {
    let (entries, storages) = state_dict(&tensors(), true);
    let old = legacy(&ordered_dict(entries), &storages);
    let (entries, storages) = state_dict(&tensors(), false);
    let new = zipped(&ordered_dict(entries), &storages, Stored);
    let inside =
        || dict(tensors().into_iter().map(|(name, dims, values)| (name, embedded(&dims, &values))));
    vec![old, new, dumps(&inside(), 2), dumps(&inside(), 4)]
}

/// All tensors of a file, read as far as they can be.
fn read(bytes: &[u8]) -> Result<Vec<Named>, String> {
    let file = TorchFile::read(bytes).map_err(|error| error.to_string())?;
    let entries = torch::entries(file.root())
        .ok_or_else(|| format!("{} is no dictionary", file.root().describe()))?;
    let mut found = vec![];
    for (name, item) in entries {
        let tensor = file.tensor(item, name).map_err(|error| error.to_string())?;
        let values = tensor.values();
        assert_eq!((tensor.len(), tensor.is_empty()), (values.len(), values.is_empty()));
        // No tensor has more values than the file has bytes.
        assert!(values.len() <= bytes.len());
        found.push((name.to_owned(), tensor.dims().to_vec(), values));
    }
    Ok(found)
}

fn bits(tensors: &[Named]) -> Vec<(&str, &[usize], Vec<u32>)> {
    tensors
        .iter()
        .map(|(name, dims, values)| {
            (&**name, &dims[..], values.iter().map(|value| value.to_bits()).collect())
        })
        .collect()
}

#[test]
fn every_form_of_file_holds_the_same_bits() {
    for bytes in files() {
        assert_eq!(bits(&read(&bytes).unwrap()), bits(&tensors()));
    }
}

/// Files that PyTorch itself wrote: `python tests/torch_files/make.py`.
#[test]
fn files_of_pytorch_itself() {
    let whole: Vec<f32> = (0_u8..24).map(|i| f32::from(i) / 8.0).collect();
    let pick = |places: &[usize]| places.iter().map(|at| whole[*at]).collect::<Vec<f32>>();
    let transposed: Vec<usize> = (0..24).map(|at| at % 4 * 6 + at / 4).collect();
    let expected: [(&str, &[usize], Vec<f32>); 7] = [
        ("weight", &[2, 6], whole[..12].to_vec()),
        ("transposed", &[6, 4], pick(&transposed)),
        ("part", &[2, 3], pick(&[8, 9, 10, 14, 15, 16])),
        ("half", &[6], whole[..6].to_vec()),
        ("bfloat", &[6], whole[..6].to_vec()),
        ("double", &[6], whole[..6].to_vec()),
        ("count", &[], vec![7.0]),
    ];
    for name in ["zip.pt", "legacy.pt", "protocol2.pkl", "protocol4.pkl"] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torch_files");
        let bytes = std::fs::read(format!("{folder}/{name}")).unwrap();
        let file = TorchFile::read(&bytes).unwrap();
        let mut entries = torch::entries(file.root()).unwrap();
        if name.starts_with("protocol") {
            entries = torch::entries(entries[0].1).unwrap();
        }
        assert_eq!(entries.len(), expected.len(), "{name}");
        for ((key, item), (known, dims, values)) in entries.into_iter().zip(&expected) {
            let tensor = file.tensor(item, key).unwrap();
            let found = (key, tensor.dims(), tensor.values());
            assert_eq!(found, (*known, *dims, values.clone()), "{name}");
        }
    }
}

#[test]
fn parameters_and_ordered_dictionaries_of_python_2() {
    let parameter = call(
        "torch._utils",
        "_rebuild_parameter",
        vec![embedded(&[2], &[1.0, 2.0]), Py::Bool(true), ordered_dict::<&str>([])],
    );
    let pair = Py::List(vec![text("p"), parameter]);
    let root = call("collections", "OrderedDict", vec![Py::List(vec![pair])]);
    let found = read(&dumps(&root, 2)).unwrap();
    assert_eq!(found, [("p".to_owned(), vec![2], vec![1.0, 2.0])]);
}

/// A file of one tensor in a storage of raw bytes.
fn one(class: &'static str, width: usize, bytes: &[u8], tensor: impl Fn(Py) -> Py) -> Vec<u8> {
    let storage =
        Storage { key: "0".to_owned(), count: bytes.len() / width, bytes: bytes.to_vec() };
    let root = dict([("t", tensor(storage.reference(class, false)))]);
    zipped(&root, &[storage], Stored)
}

fn values(bytes: &[u8]) -> Vec<f32> {
    read(bytes).unwrap().remove(0).2
}

#[test]
fn strides_and_offsets_are_followed() {
    let numbers: Vec<f32> = (0_u8..24).map(f32::from).collect();
    let bytes: Vec<u8> = numbers.iter().flat_map(|value| value.to_le_bytes()).collect();
    let read = |offset: usize, dims: &[usize], strides: &[usize]| {
        values(&one("FloatStorage", 4, &bytes, |storage| tensor(storage, offset, dims, strides)))
    };
    assert_eq!(read(0, &[2, 3, 4], &[12, 4, 1]), numbers);
    assert_eq!(read(1, &[3, 2], &[1, 12]), [1.0, 13.0, 2.0, 14.0, 3.0, 15.0]);
    assert_eq!(read(2, &[2, 2, 2], &[8, 0, 3]), [2.0, 5.0, 2.0, 5.0, 10.0, 13.0, 10.0, 13.0]);
    assert_eq!(read(23, &[], &[]), [23.0]);
    assert_eq!(read(99, &[3, 0], &[7, 7]), [] as [f32; 0]);
}

#[test]
fn every_kind_of_number_is_read() {
    let half = [0x00, 0x3c, 0x01, 0x00, 0x00, 0xc0]; // 1, 2⁻²⁴, -2
    let brain = [0x80, 0x3f, 0x01, 0x00, 0x00, 0xc0]; // 1, 2⁻¹³³, -2
    let doubles: Vec<u8> = [0.1_f64, -2.5].iter().flat_map(|value| value.to_le_bytes()).collect();
    let longs: Vec<u8> = [-7_i64, 1 << 40].iter().flat_map(|value| value.to_le_bytes()).collect();
    for (class, width, bytes, expected) in [
        ("HalfStorage", 2, &half[..], &[1.0, 2.0_f32.powi(-24), -2.0][..]),
        ("BFloat16Storage", 2, &brain, &[1.0, f32::from_bits(0x10000), -2.0]),
        ("DoubleStorage", 8, &doubles, &[0.1, -2.5]),
        ("LongStorage", 8, &longs, &[-7.0, 2.0_f32.powi(40)]),
        ("IntStorage", 4, &[0xfe, 0xff, 0xff, 0xff], &[-2.0]),
        ("ShortStorage", 2, &[0xfe, 0xff], &[-2.0]),
        ("CharStorage", 1, &[0xfe], &[-2.0]),
        ("ByteStorage", 1, &[0xfe], &[254.0]),
        ("BoolStorage", 1, &[1, 0], &[1.0, 0.0]),
    ] {
        let file =
            one(class, width, bytes, |storage| tensor(storage, 0, &[bytes.len() / width], &[1]));
        assert_eq!(values(&file), expected, "{class}");
    }
}

#[test]
fn a_part_of_a_legacy_storage() {
    let storage = Storage::new("7", &[0.0, 1.0, 2.0, 3.0]);
    let part = |start: usize, count: usize| {
        let view = Py::Tuple(vec![text("8"), int(start), int(count)]);
        let Py::Persistent(identity) = storage.reference("FloatStorage", true) else { panic!() };
        let Py::Tuple(mut parts) = *identity else { panic!() };
        parts[5] = view;
        let part = Py::Persistent(Box::new(Py::Tuple(parts)));
        legacy(&dict([("t", tensor(part, 0, &[2], &[1]))]), std::slice::from_ref(&storage))
    };
    assert_eq!(values(&part(1, 2)), [1.0, 2.0]);
    assert!(read(&part(3, 2)).unwrap_err().contains("not a part of its storage"));
    assert!(read(&part(usize::MAX >> 1, 2)).is_err());
}

#[test]
fn tensors_that_leave_their_storage_are_refused() {
    let bytes = [0; 16];
    for (offset, dims, strides, words) in [
        (0, vec![5], vec![1], "t has the sizes [5], its storage 4 elements"),
        (1, vec![4], vec![1], "leave its storage of 4 elements"),
        (0, vec![2], vec![4], "leave its storage"),
        (0, vec![2], vec![usize::MAX >> 1], "leave its storage"),
        (usize::MAX >> 1, vec![1], vec![1], "leave its storage"),
        (0, vec![1 << 40, 1 << 40, 0], vec![1, 1, 1], "t has the sizes"),
        (0, vec![1 << 40], vec![0], "its storage 4 elements"),
        (0, vec![2, 2], vec![1], "and the strides [1]"),
    ] {
        let file =
            one("FloatStorage", 4, &bytes, |storage| tensor(storage, offset, &dims, &strides));
        let error = read(&file).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    for (offset, sizes, words) in [
        (Py::Int(-1), vec![int(1)], "not an offset"),
        (int(0), vec![Py::Int(-1)], "none of them negative"),
        (int(0), vec![text("1")], "sizes of a tensor"),
    ] {
        let file = one("FloatStorage", 4, &bytes, |storage| {
            let sizes = Py::Tuple(sizes.clone());
            let strides = Py::Tuple(ints(&[1]));
            let arguments = vec![storage, offset.clone(), sizes, strides];
            call("torch._utils", "_rebuild_tensor", arguments)
        });
        let error = read(&file).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn what_is_no_dictionary_is_named() {
    let module = Py::Object(Box::new(Py::Global("nets", "Net")), Box::new(Py::Float(0.5)));
    let error = read(&dumps(&module, 4)).unwrap_err();
    assert_eq!(error, "a call of nets.Net is no dictionary");
}

#[test]
fn what_is_no_tensor_is_named() {
    let hostile = || call("posix", "system", vec![text("touch x")]);
    let storage = |class| Storage::new("0", &[1.0]).reference(class, false);
    for (value, words) in [
        (hostile(), "t is a call of posix.system, not a tensor"),
        (call("torch._utils", "_rebuild_parameter", vec![hostile()]), "posix.system"),
        (tensor(hostile(), 0, &[1], &[1]), "t is a call of posix.system, not a storage"),
        (tensor(Py::None, 0, &[1], &[1]), "t is None, not a storage"),
        (tensor(storage("ComplexFloatStorage"), 0, &[1], &[1]), "torch.ComplexFloatStorage"),
        (tensor(storage("QInt8Storage"), 0, &[1], &[1]), "a storage class of real numbers"),
        (tensor(storage("FloatStorage"), 0, &[1], &[1]), "\"0\" is missing from the file"),
        (call("torch._utils", "_rebuild_tensor_v2", vec![]), "a tensor of storage, offset"),
        (call("torch._utils", "_rebuild_qtensor", vec![]), "torch._utils._rebuild_qtensor"),
        (
            tensor(call("torch.storage", "_load_from_bytes", vec![text("x")]), 0, &[1], &[1]),
            "a storage",
        ),
        (
            tensor(
                call("torch.storage", "_load_from_bytes", vec![Py::Bytes(dumps(&hostile(), 2))]),
                0,
                &[1],
                &[1],
            ),
            "the pickle is cut off",
        ),
    ] {
        let error = read(&dumps(&dict([("t", value)]), 4)).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn storages_that_are_not_as_their_tensors_say() {
    let (entries, storages) = state_dict(&tensors(), true);
    let root = ordered_dict(entries);
    // Left out, twice, longer, of another size than announced.
    let error = read(&legacy(&root, &storages[1..])).unwrap_err();
    assert!(error.contains("storage \"0\" is missing"), "{error}");
    let twice = [&storages[..], &storages[1..2]].concat();
    assert!(read(&legacy(&root, &twice)).unwrap_err().contains("\"1\" is there twice"));
    let mut changed = storages.clone();
    changed[0].count = 1 << 60;
    let error = read(&legacy(&root, &changed)).unwrap_err();
    assert!(error.contains("1152921504606846976 elements, its tensors say 6"), "{error}");
    let unknown = [&storages[..], &[Storage::new("x", &[])]].concat();
    assert!(read(&legacy(&root, &unknown)).unwrap_err().contains("\"x\" is of no known kind"));
    let whole = legacy(&root, &storages);
    let left = [&whole[..], b"abc"].concat();
    assert!(read(&left).unwrap_err().contains("3 bytes are left over"));

    // Announced by the pickle with a size that no file has.
    let huge = Storage { key: "0".to_owned(), count: usize::MAX >> 1, bytes: vec![] };
    let root = |old| dict([("t", tensor(huge.reference("DoubleStorage", old), 0, &[1], &[1]))]);
    let error = read(&legacy(&root(true), std::slice::from_ref(&huge))).unwrap_err();
    assert!(error.contains("is cut off"), "{error}");
    let error = read(&zipped(&root(false), std::slice::from_ref(&huge), Stored)).unwrap_err();
    assert!(error.contains("has 0 bytes, a tensor needs one of 9223372036854775807"), "{error}");
    // One key, two storages.
    let short = Storage { count: 1, ..huge.clone() };
    let both = dict([
        ("a", tensor(huge.reference("FloatStorage", true), 0, &[1], &[1])),
        ("b", tensor(short.reference("FloatStorage", true), 0, &[1], &[1])),
    ]);
    assert!(read(&legacy(&both, &[short])).unwrap_err().contains("is two different storages"));
}

#[test]
fn archives_that_are_not_pytorchs() {
    let (entries, storages) = state_dict(&tensors(), false);
    let root = ordered_dict(entries);
    // A bomb: a megabyte of zeros in a kilobyte.
    let bomb = Storage::new("0", &vec![0.0; 1 << 18]);
    let packed = dict([("t", tensor(bomb.reference("FloatStorage", false), 0, &[1], &[1]))]);
    let bomb = zipped(&packed, &[bomb], CompressionMethod::Deflated);
    assert!(bomb.len() < 4096);
    assert!(read(&bomb).unwrap_err().contains("is compressed"));

    let whole = zipped(&root, &storages, Stored);
    let replaced = |from: &[u8], to: &[u8]| {
        let mut changed = whole.clone();
        for at in 0..changed.len() - from.len() {
            if changed[at..].starts_with(from) {
                changed[at..at + from.len()].copy_from_slice(to);
            }
        }
        changed
    };
    assert!(read(&replaced(b"little", b"middle")).unwrap_err().contains("checksum"));
    assert!(read(&replaced(b"data.pkl", b"date.pkl")).unwrap_err().contains("no NAME/data.pkl"));
    let error = read(&replaced(b"archive/data/1", b"archive/data/0")).unwrap_err();
    assert!(
        error.contains("twice") || error.contains("damaged") || error.contains("missing"),
        "{error}"
    );
    let error = read(&replaced(b"archive/data/1", b"archive/data/9")).unwrap_err();
    assert!(error.contains("storage \"1\" is missing"), "{error}");

    // Members that share their bytes: the central directory names the largest one for each.
    let big = Storage::new("0", &vec![1.0; 4096]);
    let shared = (0..8).map(|_| big.clone()).enumerate();
    let many: Vec<Storage> =
        shared.map(|(at, storage)| Storage { key: at.to_string(), ..storage }).collect();
    let file = zipped(&root, &many, Stored);
    let first = position(&file, b"PK\x01\x02");
    let mut entries = vec![];
    let mut rest = &file[first..];
    while rest.starts_with(b"PK\x01\x02") {
        let next = rest[4..].windows(4).position(|w| w == b"PK\x01\x02" || w == b"PK\x05\x06");
        let (entry, after) = rest.split_at(next.unwrap() + 4);
        entries.push(entry.to_vec());
        rest = after;
    }
    let offset: [u8; 4] = entries[2][42..46].try_into().unwrap();
    for entry in &mut entries[3..10] {
        entry[42..46].copy_from_slice(&offset);
    }
    // Only one of the members is kept.
    let start = u32::from_le_bytes(offset) as usize;
    let end = start + position(&file[start + 4..], b"PK\x03\x04") + 4;
    let mut small = [&file[..end], &entries.concat()].concat();
    let mut tail = rest.to_vec();
    tail[16..20].copy_from_slice(&(end as u32).to_le_bytes());
    small.extend(tail);
    let error = read(&small).unwrap_err();
    assert!(error.contains("more bytes than the file") || error.contains("damaged"), "{error}");
}

fn position(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap()
}

#[test]
fn legacy_headers_are_checked() {
    let (entries, storages) = state_dict(&tensors(), true);
    let whole = legacy(&ordered_dict(entries), &storages);
    let change = |from: &[u8], to: &[u8]| {
        let at = position(&whole, from);
        [&whole[..at], to, &whole[at + from.len()..]].concat()
    };
    for (changed, words) in [
        (change(b"J\xe9\x03\0\0", b"K\x07"), "the protocol is an integer"),
        (change(b"\x88", b"\x89"), "not little-endian"),
        (change(b"little_endian", b"mittel_endian"), "not little-endian"),
        (change(b"l\xfc", b"m\xfc"), "bytes are left over"),
    ] {
        let error = read(&changed).unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn bytes_of_protocol_2_are_read_once() {
    // Two calls of _codecs.encode on one text, by the memo.
    let twice = b"\x80\x02(c_codecs\nencode\nq\x00X\x01\0\0\0xq\x01X\x06\0\0\0latin1q\x02\x86R\
                  h\x00h\x01h\x02\x86Rt.";
    let error = TorchFile::read(twice).unwrap_err().to_string();
    assert!(error.contains("encodes a text for the second time"), "{error}");
    let wide = "\u{80}\u{2026}";
    let bytes = [b"c_codecs\nencode\nX\x05\0\0\0", wide.as_bytes(), b"X\x06\0\0\0latin1\x86R."];
    let error = TorchFile::read(&bytes.concat()).unwrap_err().to_string();
    assert!(error.contains("more than Latin-1"), "{error}");
    let all: Vec<u8> = (0..=255).collect();
    let file = dumps(&Py::Bytes(all.clone()), 2);
    assert_eq!(TorchFile::read(&file).unwrap().root().bytes(), Some(&all[..]));
    // Other encodings and functions stay calls.
    let other = b"c_codecs\nencode\nX\x01\0\0\0xX\x05\0\0\0utf-8\x86R.";
    assert_eq!(TorchFile::read(other).unwrap().root().describe(), "a call of _codecs.encode");
}

#[test]
fn globals_that_are_no_data_are_found() {
    for bytes in files() {
        let file = TorchFile::read(&bytes).unwrap();
        assert_eq!(file.foreign_global(|_, _| false), None);
    }
    let root = dict([("t", embedded(&[1], &[1.0])), ("f", Py::Global("os", "system"))]);
    let bytes = dumps(&root, 4);
    let file = TorchFile::read(&bytes).unwrap();
    assert_eq!(file.foreign_global(|_, _| false).as_deref(), Some("os.system"));
    assert_eq!(file.foreign_global(|module, _| module == "os"), None);
    // In the pickle of a storage within the pickle.
    let storage = Storage::new("0", &[1.0]);
    let inner =
        Py::Tuple(vec![storage.reference("FloatStorage", true), Py::Global("os", "system")]);
    let bytes = legacy(&inner, std::slice::from_ref(&storage));
    let storage = call("torch.storage", "_load_from_bytes", vec![Py::Bytes(bytes)]);
    let error = read(&dumps(&dict([("t", tensor(storage, 0, &[1], &[1]))]), 4)).unwrap_err();
    assert_eq!(error, "t has a storage whose pickle names os.system");
    // In the pickles around that of the value.
    let whole = legacy(&dict::<&str>([]), &[]);
    for place in [&b"l\xfc\x9cF\xf9 j\xa8P\x19"[..], b"little_endian"] {
        let at = position(&whole, place);
        let before = whole[..at].iter().rposition(|byte| *byte == 0x80).unwrap() + 2;
        let mut changed = whole.clone();
        changed.splice(before..before, *b"cos\nsystem\n0");
        let error = TorchFile::read(&changed).unwrap_err().to_string();
        assert!(error.contains("a pickle beside the saved value names os.system"), "{error}");
    }
    for (module, name) in [
        ("torch", "load"),
        ("torch", "classes"),
        ("torch.storage", "_open"),
        ("builtins", "eval"),
        ("collections", "namedtuple"),
        ("numpy", "load"),
        ("torch._utils", "_rebuild_tensor.__globals__.get"),
        ("torch", "hub.download_url_to_fileStorage"),
    ] {
        assert!(!torch::is_plain(module, name), "{module}.{name}");
    }
    for (module, name) in [
        ("torch", "BFloat16Storage"),
        ("torch", "float16"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("numpy.core.multiarray", "scalar"),
    ] {
        assert!(torch::is_plain(module, name), "{module}.{name}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for whole in files() {
        for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            assert!(read(&whole[..length]).is_err(), "{length} of {}", whole.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 2000, ..ProptestConfig::default()
    })]

    /// Any change of a file is read or refused, without a panic and without more memory than its
    /// size.
    #[test]
    fn any_change_is_read_or_refused(
        form in 0..4_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = files().swap_remove(form);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes);
    }

    /// So is any file with a piece of another one, or of itself, in the place of a piece.
    #[test]
    fn any_splice_is_read_or_refused(
        forms in (0..4_usize, 0..4_usize),
        splices in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..40_usize, any::<prop::sample::Index>(), 0..40_usize),
            1..5,
        ),
    ) {
        let files = files();
        let (mut bytes, other) = (files[forms.0].clone(), &files[forms.1]);
        for (at, removed, from, taken) in splices {
            let at = at.index(bytes.len() + 1);
            let end = bytes.len().min(at + removed);
            let from = from.index(other.len());
            let piece = other[from..other.len().min(from + taken)].iter().copied();
            bytes.splice(at..end, piece);
        }
        let _ = read(&bytes);
    }

    /// A view of any offset, sizes and strides is either refused or read.
    #[test]
    fn any_view_is_read_or_refused(
        offset in 0..20_usize,
        dims in prop::collection::vec(0..6_usize, 0..4),
        strides in prop::collection::vec(0..9_usize, 4),
    ) {
        let strides = &strides[..dims.len()];
        let numbers: Vec<f32> = (0_u8..16).map(f32::from).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|value| value.to_le_bytes()).collect();
        let file = one("FloatStorage", 4, &bytes, |storage| tensor(storage, offset, &dims, strides));
        // The place of every element, by the definition.
        let weights = row_major(&dims);
        let count = dims.iter().product::<usize>();
        let place = |flat: usize| -> usize {
            let terms = (0..dims.len()).map(|axis| flat / weights[axis] % dims[axis] * strides[axis]);
            offset + terms.sum::<usize>()
        };
        let places: Vec<usize> = (0..count).map(place).collect();
        let fits = count <= 16 && places.iter().all(|place| *place < 16);
        match read(&file) {
            Ok(found) => {
                prop_assert!(fits);
                let expected: Vec<f32> = places.into_iter().map(|place| numbers[place]).collect();
                prop_assert_eq!(&found[0].2, &expected);
            }
            Err(_) => prop_assert!(!fits),
        }
    }
}

//! Files of other programs, and files that are hostile: read, or refused with what to do.
//!
//! `files/` was written by `write_files.py`, with h5py, Pillow, SciPy, nibabel, pydicom and NumPy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod matlab;
mod pictures;
mod scans;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use eps_data::hdf5_file::{hdf5_format, read_hdf5_array};
use eps_data::mask::{MaskPicture, read_mask};
use eps_data::operator_memory::require_dense;
use eps_data::png::{encode_png, read_png};
use eps_data::{
    Array, DataError, ImageProvenance, Import, ImportConfig, MeasurementSet, Raster, Shares, Split,
};
use eps_math::Shape;
use eps_math::operator::OperatorSpec;
use eps_math::rng::Stream;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/files").join(name)
}

/// The message of an error, which has to say all of `words`.
#[track_caller]
fn expect<T>(result: Result<T, DataError>, words: &[&str]) {
    let message = result.err().expect("an error").to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

/// The values of `ramp` in `write_files.py`.
fn ramp() -> Vec<f64> {
    (0..12).map(|i| f64::from(i) / 8.0 - 1.0).collect()
}

fn provenance() -> ImageProvenance {
    let [name, source, licence, sha256] = ["a", "a test", "CC0-1.0", ""].map(str::to_owned);
    ImageProvenance { name, source, licence, sha256 }
}

#[test]
fn filters_that_are_not_there_are_named_with_the_remedy() {
    let words = ["blosc.h5", "Blosc (filter 32001)", "h5repack -f GZIP=4", "compression=\"gzip\""];
    expect(read_hdf5_array(&file("blosc.h5"), "y"), &words);
    let virtual_set = read_hdf5_array(&file("virtual.h5"), "y");
    expect(virtual_set, &["virtual.h5", "is virtual", "copy it into one file"]);
}

#[test]
fn numbers_of_other_types_are_read() {
    for name in ["half.h5", "lzf.h5", "other-format.h5", "format-number.h5"] {
        let array = Array::read(&file(name), "y").unwrap();
        assert_eq!((array.dims, array.values), (vec![1, 1, 3, 4], ramp()), "{name}");
        assert_eq!(hdf5_format(&file(name)).unwrap(), None);
    }
}

#[test]
fn measurements_that_python_wrote_are_read() {
    for name in ["texts.h5", "ascii.h5", "one-element.h5"] {
        let set = MeasurementSet::read(&file(name)).unwrap();
        assert_eq!((set.y(), set.sigma_y()), (&ramp()[..], 0.05), "{name}");
        assert_eq!(set.provenance().name, "ramp");
        let OperatorSpec::Mask { observed } = set.spec(0) else { panic!("{name}") };
        assert_eq!(observed[..], [0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1]);
    }
}

#[test]
fn masks_of_every_kind_are_read() {
    let stripes = [0, 1].repeat(6);
    for name in ["ones.png", "mask.tif", "mask.bmp", "boolean.npy"] {
        let expected = MaskPicture { height: 3, width: 4, observed: stripes.clone() };
        assert_eq!(read_mask(&file(name)).unwrap(), expected, "{name}");
    }
    let observed = [0, 1, 1].repeat(4);
    let expected = MaskPicture { height: 3, width: 4, observed };
    assert_eq!(read_mask(&file("boolean.h5")).unwrap(), expected);
    let bayer = read_mask(&file("bayer.npy"));
    expect(bayer, &["row 0, column 0", "in some channels", "\"weights\"", "\"bayer\""]);
}

#[test]
fn pictures_are_turned_as_viewers_show_them() {
    // The bright quarter of the stored picture lies in the upper left: its place when shown.
    let places = [(0, 0), (0, 1), (1, 1), (1, 0), (0, 0), (0, 1), (1, 1), (1, 0)];
    let check = |name: &str, orientation: usize| {
        let (height, width) = if orientation > 4 { (16, 8) } else { (8, 16) };
        let (below, right) = places[orientation - 1];
        let bright = |row: usize, column: usize| {
            (row >= height / 2) == (below == 1) && (column >= width / 2) == (right == 1)
        };
        let (array, notes) = Array::read_with_notes(&file(name), "y").unwrap();
        assert_eq!(array.dims[1..], [height, width], "{name}");
        for row in 0..height {
            for column in 0..width {
                let value = array.values[row * width + column];
                // 220 and 30 of 255, changed by JPEG's losses by less than 13 levels.
                let expected = if bright(row, column) { 0.725 } else { -0.765 };
                assert!((value - expected).abs() < 0.1, "{name} {row} {column}: {value}");
            }
        }
        let is_lossy = name.ends_with("jpg");
        assert_eq!(notes.iter().any(|note| note.contains("with losses")), is_lossy, "{name}");
        let raster = Raster::decode(&file(name), &fs::read(file(name)).unwrap()).unwrap();
        assert_eq!((raster.height(), raster.width()), (height, width));
        assert_eq!(raster.bytes()[0] > 127, (below, right) == (0, 0));
    };
    (1..=8).for_each(|orientation| check(&format!("turned-{orientation}.jpg"), orientation));
    check("turned-6.png", 6);
    check("turned-6.webp", 6);
    check("turned-6.tif", 6);
    let path = file("turned-6.jpg");
    let stored = Raster::decode_as_stored(&path, &fs::read(&path).unwrap()).unwrap();
    assert_eq!((stored.height(), stored.width()), (8, 16));
}

#[test]
fn values_that_leave_bits_of_a_png_unused_are_told() {
    let (array, notes) = Array::read_with_notes(&file("twelve-bits.png"), "y").unwrap();
    assert_eq!(array.values[11], 4095.0 / 32767.5 - 1.0);
    let [note] = &notes[..] else { panic!("{notes:?}") };
    for words in ["4095 of 65535", "12 bits", "by 65535/4095"] {
        assert!(note.contains(words), "{note}");
    }
    let (_, notes) = Array::read_with_notes(&file("ones.png"), "y").unwrap();
    assert_eq!(notes, [""; 0]);
}

/// A PNG whose header announces a grey picture of 8 bits, and that holds next to nothing.
fn png_bomb(width: u32, height: u32) -> Vec<u8> {
    let chunk = |name: &[u8; 4], content: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(name);
        crc.update(content);
        let length = (content.len() as u32).to_be_bytes();
        [&length[..], name, content, &crc.sum().to_be_bytes()].concat()
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&[0; 1000]).unwrap();
    let packed = packed.finish().unwrap();
    [b"\x89PNG\r\n\x1a\n", &chunk(b"IHDR", &header)[..], &chunk(b"IDAT", &packed)].concat()
}

#[test]
fn pictures_that_announce_too_much_are_refused_by_their_headers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.png");
    fs::write(&path, png_bomb(30_000, 30_000)).unwrap();
    let words = ["bomb.png", "30000 x 30000 pixels", "at most 268435456", "cut it"];
    expect(read_png(&path), &[&words[..], &["need 12.6 GB"]].concat());
    expect(read_mask(&path), &words);
    expect(Array::read(&path, "kernel"), &words);
    expect(Raster::decode(&path, &fs::read(&path).unwrap()), &[&words[..], &["3.6 GB"]].concat());
    expect(import(folder.path(), &folder.path().join("out.h5")), &words);

    let mut jpeg = fs::read(file("turned-1.jpg")).unwrap();
    let start_of_frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[start_of_frame + 5..start_of_frame + 9].fill(0xfe);
    let path = folder.path().join("bomb.jpg");
    fs::write(&path, jpeg).unwrap();
    expect(Array::read(&path, "y"), &["bomb.jpg", "65278 x 65278", "at most 268435456"]);
}

#[test]
fn a_decomposition_that_no_memory_holds_is_refused_with_its_need() {
    // 8 (4 + 2 + 3) 2⁴⁰ bytes.
    let words = ["1048576 x 1048576 matrix needs is 79164.8 GB", "are available", "smaller image"];
    expect(require_dense(1 << 20, 1 << 20), &words);
    assert!(require_dense(100, 100).is_ok());
}

fn import(pictures: &Path, out: &Path) -> Result<eps_data::ImportReport, DataError> {
    prepared(pictures, out)?.run(false, provenance(), &|_| ())
}

fn prepared(pictures: &Path, out: &Path) -> Result<Import, DataError> {
    let shares = Shares::parse("80:10:10", 0)?;
    let config = ImportConfig { size: 4, grey: true, labels: false, shares, limit: None };
    Import::open(pictures, None, out, config)
}

#[test]
fn an_import_tells_what_it_passes_over_and_turns_and_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    for name in ["turned-6.jpg", "twelve-bits.png"] {
        fs::copy(file(name), pictures.join(name)).unwrap();
    }
    for name in ["a.gif", "b.GIF", "c.heic", "notes", ".hidden", "dataset.json"] {
        fs::write(pictures.join(name), "").unwrap();
    }
    let out = folder.path().join("out.h5");
    let note = prepared(&pictures, &out).unwrap().passed_over().concat();
    for words in
        ["4 files were passed over", ".gif: 2", ".heic: 1", "none: 1", ".webp, .tif, .tiff, .bmp"]
    {
        assert!(note.contains(words), "{note}");
    }
    let report = import(&pictures, &out).unwrap();
    assert_eq!((report.rounded, report.largest, report.skipped.len()), (1, Some(4095), 0));
    let notes = report.notes(4).concat();
    assert!(notes.contains("1 picture has 16 bits") && notes.contains("4095 of 65535"), "{notes}");
    let reader = eps_data::DataSetReader::open(&out).unwrap();
    let turned = Split::ALL.into_iter().find_map(|split| {
        let set = reader.read(split).ok()?;
        let names: Vec<&str> = reader
            .sources()
            .iter()
            .filter(|source| source.split == split)
            .map(|source| source.name.as_str())
            .collect();
        let index = names.iter().position(|name| *name == "turned-6.jpg")?;
        Some(set.pixels().bytes()?.chunks(set.shape().len()).nth(index)?.to_vec())
    });
    // The square in the middle of the turned picture is bright in its upper right quarter.
    let turned = turned.unwrap();
    assert!(turned[3] > 200 && turned[0] < 60 && turned[12] < 60 && turned[15] < 60, "{turned:?}");
}

#[test]
fn a_second_import_into_a_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, out) = (folder.path().join("pictures"), folder.path().join("out.h5"));
    fs::create_dir(&pictures).unwrap();
    fs::copy(file("ones.png"), pictures.join("a.png")).unwrap();
    let second = std::sync::Mutex::new(None);
    let at_work = |_| *second.lock().unwrap() = Some(import(&pictures, &out));
    prepared(&pictures, &out).unwrap().run(false, provenance(), &at_work).unwrap();
    expect(second.into_inner().unwrap().unwrap(), &["another process works on", "out.h5"]);
    assert!(out.is_file() && !folder.path().join("out.h5.part").exists());
}

#[test]
fn a_file_that_another_program_writes_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("open.h5");
    fs::copy(file("half.h5"), &path).unwrap();
    // As HDF5 itself locks what it writes.
    let locked = File::options().read(true).write(true).open(&path).unwrap();
    locked.lock().unwrap();
    expect(
        Array::read(&path, "y"),
        &["open.h5", "another program has the file open", "file.close()"],
    );
    drop(locked);
    assert!(Array::read(&path, "y").is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_utf_8_can_be_written_and_read() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.h5"));
    let shape = Shape::new(1, 2, 2).unwrap();
    let mask = vec![OperatorSpec::Mask { observed: vec![1, 1, 0, 1] }];
    let y = vec![0.5, -0.5, 0.0, 1.0];
    let set = MeasurementSet::new(shape, y.clone(), mask, 0.1, provenance()).unwrap();
    set.write(&path).unwrap();
    assert_eq!(MeasurementSet::read(&path).unwrap().y(), y);
    assert_eq!(Array::read(&path, "y").unwrap().dims, [1, 1, 2, 2]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Runs `work` on a thread, and fails where it does not end.
fn within(limit: Duration, work: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    let worker = thread::spawn(move || {
        work();
        let _ = sender.send(());
    });
    match receiver.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("no end after {limit:?}"),
        _ => worker.join().unwrap(),
    }
}

#[test]
fn no_flipped_bit_in_the_heap_of_texts_hangs() {
    within(Duration::from_secs(300), || {
        let content = fs::read(file("texts.h5")).unwrap();
        let heap = content.windows(4).position(|bytes| bytes == b"GCOL").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flipped.h5");
        let mut damaged = 0;
        for byte in heap..heap + 320 {
            // The headers of objects are at multiples of 8: all bits of their numbers, one of each text's byte.
            let bits = if content[byte] < 16 { 0..8 } else { 0..1 };
            for bit in bits {
                let mut flipped = content.clone();
                flipped[byte] ^= 1 << bit;
                fs::write(&path, flipped).unwrap();
                let read = MeasurementSet::read(&path);
                damaged +=
                    usize::from(read.is_err_and(|e| e.to_string().contains("heap of texts")));
            }
        }
        assert!(damaged > 0, "the walk without an end was never met");
    });
}

#[test]
fn cut_and_flipped_files_end_in_errors_or_values() {
    within(Duration::from_secs(300), || {
        let folder = tempfile::tempdir().unwrap();
        let mut names: Vec<String> = fs::read_dir(file(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        // Of a virtual data set whose mappings are damaged the HDF5 library frees what it has not read, and ends the program.
        names.retain(|name| name != "virtual.h5");
        for (index, name) in (0..).zip(&names) {
            let content = fs::read(file(name)).unwrap();
            let path = folder.path().join(name);
            for case in 0..24 {
                let stream = Stream::new(17, index, case, 0);
                let at = |i: u64| stream.bits(i) as usize % content.len();
                let mut damaged = content.clone();
                if case % 3 == 0 {
                    damaged.truncate(at(0));
                } else {
                    (0..case % 3)
                        .for_each(|flip| damaged[at(2 * flip)] ^= 1 << (at(2 * flip + 1) % 8));
                }
                fs::write(&path, &damaged).unwrap();
                // Whatever comes out, it comes out: neither a panic nor an abort nor a walk without an end.
                let _ = Array::read(&path, "y");
                let _ = read_mask(&path);
                if name.ends_with("h5") {
                    let _ = MeasurementSet::read(&path);
                } else {
                    let _ = Raster::decode(&path, &damaged);
                }
            }
        }
    });
}

#[test]
fn pictures_of_16_bits_are_rounded() {
    let path = file("twelve-bits.png");
    let raster = Raster::decode(&path, &fs::read(&path).unwrap()).unwrap();
    // 4095 / 257 = 15.93; 3 / 257 = 0.01.
    assert_eq!((raster.bytes()[11], raster.bytes()[0]), (16, 0));
    let eight = encode_png(Shape::new(1, 1, 2).unwrap(), &[-1.0, 1.0]).unwrap();
    assert_eq!(Raster::decode(&path, &eight).unwrap().bytes(), [0, 255]);
}

//! Whatever is wrong with a file, the message names the file, the value and the remedy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use eps_data::Split;
use eps_data::array_file::check_ending;
use eps_data::fashion_mnist;
use eps_data::hdf5_file::{hdf5_format, read_hdf5_array};
use eps_data::idx::read_idx;
use eps_data::mask::read_mask;
use eps_data::npy::{NpyValues, read_npy, read_npz, write_npy};
use eps_data::operator_file::{read_kernel, read_operator};
use eps_data::picture_source::PictureSource;
use eps_data::png::{encode_png, read_png, write_png};
use eps_data::{
    ArchiveReader, Array, DataError, ImageProvenance, ImageSet, MeasurementSet, SampleArchive,
};
use eps_math::operator::{LinearMap as _, OperatorSpec};
use eps_math::{Noise, Shape};
use serde_json::json;
use tempfile::TempDir;

const SHAPE: Shape = Shape { channels: 1, height: 4, width: 4 };

fn provenance() -> ImageProvenance {
    ImageProvenance {
        name: "n".into(),
        source: "s".into(),
        licence: "MIT".into(),
        sha256: "0".into(),
    }
}

/// The message of an error, which must hold all of `parts`.
#[track_caller]
fn expect<T: Debug>(result: Result<T, DataError>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

/// A directory with one file, made by `write`.
fn file(name: &str, write: impl FnOnce(&Path)) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    write(&path);
    (dir, path)
}

/// Reads a file cut off at every step of its length; `read` must fail and name file and remedy.
#[track_caller]
fn every_truncation_fails<T: Debug>(
    path: &Path,
    remedy: &str,
    read: impl Fn(&Path) -> Result<T, DataError>,
) {
    let whole = std::fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    read(path).unwrap();
    for length in (0..whole.len()).step_by(whole.len().div_ceil(97)).chain([whole.len() - 1]) {
        std::fs::write(path, &whole[..length]).unwrap();
        let message = match read(path) {
            Ok(value) => panic!("cut to {length} of {} bytes: {value:?}", whole.len()),
            Err(error) => error.to_string(),
        };
        assert!(message.contains(name) && message.contains(remedy), "{length}: {message}");
    }
}

/// Reads a file with one byte changed, for bytes all over it: it either fails with a message that
/// names the file, or the byte did not matter.
#[track_caller]
fn no_damage_goes_unnoticed<T: Debug + PartialEq>(
    path: &Path,
    read: impl Fn(&Path) -> Result<T, DataError>,
) {
    let whole = std::fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let expected = read(path).unwrap();
    for index in (0..whole.len()).step_by(whole.len().div_ceil(499)) {
        let mut bytes = whole.clone();
        bytes[index] ^= 0x55;
        std::fs::write(path, &bytes).unwrap();
        match read(path) {
            Ok(value) => assert_eq!(value, expected, "byte {index}"),
            Err(error) => assert!(error.to_string().contains(name), "byte {index}: {error}"),
        }
    }
}

// ------------------------------------------------------------------------------------------- IDX

fn idx_file(name: &str) -> (TempDir, PathBuf) {
    use std::io::Write as _;
    let header = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
    let bytes: Vec<u8> = header.into_iter().chain(0..24).collect();
    file(name, |path| {
        let mut file = std::fs::File::create(path).unwrap();
        if name.ends_with(".gz") {
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::best());
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap();
        } else {
            file.write_all(&bytes).unwrap();
        }
    })
}

#[test]
fn truncated_idx() {
    for name in ["images.idx", "images.gz"] {
        let (_dir, path) = idx_file(name);
        every_truncation_fails(&path, "fetch it again", read_idx);
    }
    let (_dir, path) = idx_file("images.gz");
    no_damage_goes_unnoticed(&path, |path| read_idx(path).map(|array| array.data));
}

#[test]
fn malformed_idx() {
    let (_dir, path) = idx_file("images.idx");
    let whole = std::fs::read(&path).unwrap();
    let changed = |index: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[index] = value;
        std::fs::write(&path, bytes).unwrap();
        read_idx(&path)
    };
    expect(changed(0, 0x89), &["images.idx", "[89, 00, 08, 03]", "fetch it again"]);
    expect(changed(2, 0x0d), &["images.idx", "0x0d", "convert the values to unsigned bytes"]);
    // 2³² − 1 rows: promised, not allocated.
    let mut bytes = whole.clone();
    bytes[4..8].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    expect(read_idx(&path), &["images.idx", "after 24 of the 51539607540", "[4294967295, 3, 4]"]);
    bytes[4..16].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    expect(read_idx(&path), &["images.idx", "[4294967295, 4294967295, 4294967295]", "overflow"]);
    std::fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    expect(read_idx(&path), &["images.idx", "left over after the 24"]);

    expect(read_idx(Path::new("none/images.idx")), &["none/images.idx", "check the path"]);
}

#[test]
fn another_file_in_place_of_fashion_mnist() {
    for (split, name, remedy) in [
        (Split::Test, fashion_mnist::TEST_IMAGES, "restore data/fashion-mnist"),
        (Split::Train, fashion_mnist::TRAIN_IMAGES, "`cargo xtask fetch fashion-mnist`"),
    ] {
        let (dir, _path) = idx_file(name);
        expect(fashion_mnist::load(split, &[dir.path()]), &[name, "SHA-256", remedy]);
        let empty = tempfile::tempdir().unwrap();
        let looked = format!("looked in: {}", empty.path().display());
        expect(fashion_mnist::load(split, &[empty.path()]), &[name, "does not exist", &looked]);
    }
    expect("training".parse::<Split>(), &["\"training\"", "train, validation or test"]);
}

// ------------------------------------------------------------------------------------------- NPY

fn npy_file() -> (TempDir, PathBuf) {
    file("a.npy", |path| write_npy(path, &[2, 3], NpyValues::F32(&[0.5; 6])).unwrap())
}

#[test]
fn truncated_npy_and_npz() {
    let (_dir, path) = npy_file();
    every_truncation_fails(&path, "save it again with numpy.save", read_npy);

    let (_npy_dir, npy) = npy_file();
    let (_dir, path) = file("a.npz", |path| {
        use std::io::Write as _;
        let mut writer = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
        writer.start_file("a.npy", zip::write::FileOptions::default()).unwrap();
        writer.write_all(&std::fs::read(&npy).unwrap()).unwrap();
        writer.finish().unwrap();
    });
    every_truncation_fails(&path, "save it again with numpy.save", read_npz);
    expect(read_npz(&npy), &["a.npy", "ZIP", "numpy.savez"]);
}

/// What a small archive unpacks to is not taken: the file ends after its header, and is refused by that.
#[test]
fn an_image_too_large_in_an_npz_is_refused_by_its_header() {
    let mut header =
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 20000, 20000), }\n".to_vec();
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    let mut npy = b"\x93NUMPY\x01\0".to_vec();
    npy.extend(length);
    npy.append(&mut header);
    let (_dir, path) = file("a.npz", |path| {
        use std::io::Write as _;
        let mut writer = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
        writer.start_file("y.npy", zip::write::FileOptions::default()).unwrap();
        writer.write_all(&npy).unwrap();
        writer.finish().unwrap();
    });
    expect(Array::read(&path, "y"), &["a.npz", "\"y\"", "268435456 values", "smaller"]);
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.png", "a.npy", "a.npz", "a.h5", "a.mat"] {
        let path = dir.path().join(name);
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        expect(Array::read(&path, "y"), &[name, "no regular file"]);
    }
}

#[test]
fn malformed_npy() {
    let (_dir, path) = npy_file();
    let whole = std::fs::read(&path).unwrap();
    let replaced = |from: &str, to: &str| {
        let at = whole.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        read_npy(&path)
    };
    let again = "save it again";
    expect(replaced("NUMPY", "MUMPY"), &["a.npy", "4d, 55", again]);
    expect(replaced("NUMPY\u{1}", "NUMPY\u{9}"), &["a.npy", "version 9", again]);
    expect(replaced("descr", "desc_"), &["a.npy", "unreadable header", "desc_", again]);
    expect(replaced("False", "maybe"), &["a.npy", "unreadable header", "maybe", again]);
    expect(replaced("<f4", "<c8"), &["a.npy", "ends after 24 of 48 bytes"]);
    expect(replaced("<f4", "|O8"), &["a.npy", "\"|O8\"", "convert it to float32"]);
    expect(replaced("(2, 3), }", "(2,-3), }"), &["a.npy", "unreadable header", again]);
    expect(replaced("(2, 3), }", "(2, 4), }"), &["a.npy", "ends after 24 of 32 bytes", "[2, 4]"]);
    expect(replaced("(2, 3), }", "(2, 2), }"), &["a.npy", "left over after its 16", "[2, 2]"]);
    let large = format!("({0}, {0}), }}", u64::MAX / 2);
    expect(replaced("(2, 3), }", &large), &["a.npy", "overflow"]);
    std::fs::write(&path, b"\x93NUMPY\x02\x00\xff\xff\xff\xff").unwrap();
    expect(read_npy(&path), &["a.npy", "4294967295", again]);

    // Bytes become numbers of 8, and in columns once more: 9 bytes each fit, 17 do not.
    let count = eps_data::memory::available().unwrap() / 13;
    for (order, problem) in [("False", "ends after 0 of"), ("True", "memory")] {
        let text = format!("{{'descr': '|u1', 'fortran_order': {order}, 'shape': ({count},), }}\n");
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        let bytes = [&b"\x93NUMPY\x01\x00"[..], &length, text.as_bytes()].concat();
        std::fs::write(&path, bytes).unwrap();
        expect(read_npy(&path), &["a.npy", problem]);
    }

    let nan = [1.0, f64::NAN];
    write_npy(&path, &[2], NpyValues::F64(&nan)).unwrap();
    expect(read_npy(&path), &["a.npy", "NaN", "index 1", "finite"]);
    let wrong = write_npy(&path, &[3], NpyValues::F64(&nan));
    expect(wrong, &["is 2", "product of the dimensions [3]"]);
}

#[test]
fn arrays_that_cannot_be_chosen() {
    let (dir, path) = npy_file();
    let other = dir.path().join("a.dat");
    std::fs::rename(&path, &other).unwrap();
    expect(Array::read(&other, "samples"), &["a.dat", "\"dat\"", ".npy", ".h5", ".mat"]);

    let (_dir, path) = samples_file();
    expect(
        Array::read(&path, "image"),
        &["samples.h5", "\"image\"", "\"posterior_mean\"", "FILE#NAME", "\"array\": \"NAME\""],
    );
    let (_dir, path) = images_file();
    assert!(Array::read(&path, "anything").is_ok());
    expect(Array::read(&path, "group/images"), &["images.h5", "\"group/images\"", "FILE#NAME"]);
    let (_dir, path) = file("nested.h5", |path| {
        let file = hdf5::File::create(path).unwrap();
        let group = file.create_group("g").unwrap();
        let y = group.new_dataset::<f64>().shape([2, 2]).create("y").unwrap();
        y.write_raw(&[0.25; 4]).unwrap();
    });
    expect(Array::read(&path, "y"), &["nested.h5", "\"y\" among [\"g/y\"]", "FILE#NAME"]);
    expect(Array::read(&path, "g"), &["nested.h5", "\"g\" is a group", "in it are [\"g/y\"]"]);
    assert!(Array::read(&path, "g/y").is_ok());
    let folder = dir.path().join("folder.h5");
    std::fs::create_dir(&folder).unwrap();
    expect(Array::read(&folder, "y"), &["folder.h5", "it is a folder", "name a file"]);
    expect(MeasurementSet::read(&folder), &["folder.h5", "it is a folder", "name a file"]);
}

/// A path with the name of an array after it.
fn named(path: &Path, array: &str) -> PathBuf {
    PathBuf::from(format!("{}#{array}", path.display()))
}

#[test]
fn arrays_that_are_named_and_not_there() {
    let (dir, path) = npy_file();
    expect(
        Array::read(&named(&path, "y"), "y"),
        &["a.npy: an NPY file holds one", "\"y\"", "leave out #"],
    );
    let png = dir.path().join("a.png");
    let shape = Shape { channels: 1, height: 1, width: 2 };
    write_png(&png, shape, &[-1.0, 1.0]).unwrap();
    expect(Array::read(&dir.path().join("none.png#2"), "y"), &["none.png: ", "No such file"]);
    let words = ["a.png: a picture holds no arrays with names", "\"x\"", "leave out #"];
    expect(Array::read(&named(&png, "x"), "y"), &words);
    expect(check_ending(&named(&png, "x")), &words);
    expect(read_mask(&named(&png, "x")), &words);
    expect(read_kernel(&named(&png, "x"), "kernel", None), &words);
    // The only array there is is not taken for one that is named.
    let (_dir, path) = images_file();
    expect(
        Array::read(&named(&path, "image"), "y"),
        &["images.h5: there is no array \"image\" among [\"images\"]", "FILE#NAME"],
    );
    expect(Array::read(&named(&path, ""), "y"), &["images.h5", "no array \"\" among"]);
    let npz = dir.path().join("many.npz");
    let mut writer = zip::ZipWriter::new(std::fs::File::create(&npz).unwrap());
    for index in 0..30 {
        let options = zip::write::FileOptions::default();
        writer.start_file(format!("a{index}.npy"), options).unwrap();
    }
    writer.finish().unwrap();
    expect(
        Array::read(&named(&npz, "y"), "y"),
        &["many.npz: there is no array \"y\" among [\"a0\", \"a1\"", "\"a19\", …]", "FILE#NAME"],
    );
    // A file that is missing is named without the array.
    let missing = dir.path().join("missing.h5");
    expect(Array::read(&named(&missing, "y"), "y"), &["missing.h5: ", "No such file"]);
    expect(Array::read(&dir.path().join("a#b.dat"), "y"), &["a#b.dat", "\"dat\""]);
}

/// Links that lead nowhere are passed over, and each array is listed once.
#[test]
fn links_of_hdf5_that_lead_nowhere_hide_nothing() {
    let (dir, path) = file("links.h5", |path| {
        let file = hdf5::File::create(path).unwrap();
        for name in ["data", "g/psf", "g/deep/y"] {
            let dataset = file.new_dataset::<f64>().shape([1, 1]).create(name).unwrap();
            dataset.write_raw(&[0.25]).unwrap();
        }
        file.link_soft("/nowhere", "dangling").unwrap();
        file.link_external("gone.h5", "/z", "gone").unwrap();
        file.link_soft("/g/psf", "link").unwrap();
        file.link_soft("/", "g/deep/root").unwrap();
        file.link_external("other.h5", "/images", "elsewhere").unwrap();
    });
    let (_images_dir, images) = images_file();
    std::fs::copy(images, dir.path().join("other.h5")).unwrap();
    expect(
        Array::read(&path, "y"),
        &["no array \"y\" among [\"data\", \"link\", \"elsewhere\", \"g/deep/y\"]", "FILE#NAME"],
    );
    expect(
        Array::read(&named(&path, "g"), "y"),
        &["\"g\" is a group", "in it are [\"g/psf\", \"g/deep/y\"", "FILE#NAME"],
    );
    assert_eq!(Array::read(&named(&path, "link"), "y").unwrap().values, [0.25]);
    assert_eq!(eps_data::hdf5_file::groups_with(&path, "psf").unwrap(), ["g"]);

    // The only one there is, though another link leads to it as well.
    let (_dir, path) = file("only.h5", |path| {
        let file = hdf5::File::create(path).unwrap();
        let dataset = file.new_dataset::<f64>().shape([1, 1]).create("data").unwrap();
        dataset.write_raw(&[0.25]).unwrap();
        file.link_external("gone.h5", "/z", "gone").unwrap();
        file.link_soft("/data", "same").unwrap();
    });
    assert_eq!(Array::read(&path, "y").unwrap().values, [0.25]);
}

/// A complex number as h5py stores it.
#[derive(Clone, Copy, hdf5::H5Type)]
#[repr(C)]
struct Complex {
    r: f64,
    i: f64,
}

#[test]
fn a_complex_kernel_is_refused_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let header = "{'descr': '<c16', 'fortran_order': False, 'shape': (1, 1), }\n";
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    let npy = [&b"\x93NUMPY\x01\x00"[..], &length, header.as_bytes(), &[0; 16]].concat();
    std::fs::write(path("a.npy"), &npy).unwrap();
    let mut writer = zip::ZipWriter::new(std::fs::File::create(path("a.npz")).unwrap());
    writer.start_file("kernel.npy", zip::write::FileOptions::default()).unwrap();
    std::io::Write::write_all(&mut writer, &npy).unwrap();
    writer.finish().unwrap();
    for name in ["a.h5", "b.mat"] {
        let file = hdf5::File::create(path(name)).unwrap();
        let dataset = file.new_dataset::<Complex>().shape([1, 1]).create("psf").unwrap();
        dataset.write_raw(&[Complex { r: 1.0, i: 0.5 }]).unwrap();
    }
    // MAT 5: the flags of a complex array of doubles, its dimensions, its name, and both parts.
    let element = |kind: u32, data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap();
        let padding = vec![0; data.len().next_multiple_of(8) - data.len()];
        [&kind.to_le_bytes()[..], &length.to_le_bytes(), data, &padding].concat()
    };
    let flags = [0x0806_u32, 0].map(u32::to_le_bytes).concat();
    let dims = [1_u32, 1].map(u32::to_le_bytes).concat();
    let part = element(9, &1_f64.to_le_bytes());
    let parts = [element(6, &flags), element(5, &dims), element(1, b"psf"), part.clone(), part];
    let mut mat = [b' '; 128];
    mat[124..].copy_from_slice(b"\0\x01IM");
    std::fs::write(path("a.mat"), [&mat[..], &element(14, &parts.concat())].concat()).unwrap();
    for name in ["a.npy", "a.npz", "a.h5", "a.mat", "b.mat"] {
        assert_eq!(Array::read(&path(name), "y").unwrap().dims, [2, 1, 1], "{name}");
        for index in [None, Some(0)] {
            let words = [name, "a kernel is real, this array is complex", "numpy.real"];
            expect(read_kernel(&path(name), "kernel", index), &words);
        }
    }
    expect(read_kernel(&path("a.npz#kernel#0"), "kernel", None), &["this array is complex"]);
}

/// What lies in the place of a file that was not fetched is named, whatever the file should be.
#[test]
fn pointers_of_git_lfs_and_pages_of_the_web_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let page = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n";
    for (content, words) in [
        (pointer, ["a Git LFS pointer", "git lfs pull"]),
        (page, ["a web page", "download the file anew"]),
    ] {
        for name in ["a.png", "a.jpg", "a.tif", "a.npy", "a.npz", "a.h5", "a.mat"] {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            let words = [&[name][..], &words].concat();
            expect(Array::read(&path, "y"), &words);
            expect(read_mask(&path), &words);
            expect(read_kernel(&path, "kernel", None), &words);
        }
        let path = dir.path().join("a.h5");
        expect(MeasurementSet::read(&path), &words);
        expect(hdf5_format(&path), &words);
        for name in ["a.json", "a.zip", "a-idx3-ubyte"] {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        expect(read_operator(&dir.path().join("a.json")), &words);
        expect(read_idx(&dir.path().join("a-idx3-ubyte")), &words);
        let zip = PictureSource::open(&dir.path().join("a.zip"));
        assert!(words.iter().all(|word| zip.as_ref().unwrap_err().to_string().contains(word)));
        let pictures = dir.path().join("pictures");
        std::fs::create_dir_all(&pictures).unwrap();
        std::fs::write(pictures.join("a.png"), "").unwrap();
        std::fs::write(pictures.join("dataset.json"), content).unwrap();
        let labels = PictureSource::open(&pictures).unwrap().labels();
        expect(labels, &[&["dataset.json"], &words[..]].concat());
    }
}

// ------------------------------------------------------------------------------------------- PNG

fn png_file() -> (TempDir, PathBuf) {
    let values: Vec<f64> = (0..16).map(|i| f64::from(i) / 8.0 - 1.0).collect();
    file("picture.png", |path| write_png(path, SHAPE, &values).unwrap())
}

#[test]
fn truncated_png() {
    let (_dir, path) = png_file();
    every_truncation_fails(&path, "export it again", read_png);
    let (_dir, path) = png_file();
    no_damage_goes_unnoticed(&path, read_png);
}

#[test]
fn malformed_png() {
    let (_dir, path) = file("picture.png", |path| std::fs::write(path, "GIF89a").unwrap());
    expect(read_png(&path), &["picture.png", "export it again as an 8-bit or 16-bit PNG"]);
    expect(read_png(Path::new("none.png")), &["none.png", "check the path"]);

    let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), 2, 1);
    encoder.set_color(png::ColorType::Rgba);
    encoder.write_header().unwrap().write_image_data(&[1, 2, 3, 255, 1, 2, 3, 254]).unwrap();
    expect(read_png(&path), &["picture.png", "row 0, column 1 is transparent", "flatten"]);
    assert!(matches!(read_png(&path), Err(DataError::Transparent { row: 0, column: 1, .. })));

    let two = Shape { channels: 2, height: 1, width: 1 };
    expect(encode_png(two, &[0.0; 2]), &["channels", "is 2", "1 (grey) or 3"]);
    expect(encode_png(SHAPE, &[0.0; 3]), &["is 3", "[1, 4, 4] has 16"]);
    std::fs::remove_file(&path).unwrap();
    let mut values = [0.0; 16];
    values[5] = f64::NAN;
    expect(write_png(&path, SHAPE, &values), &["value 5", "NaN"]);
    assert!(!path.exists());
}

#[test]
fn masks_that_are_none() {
    let (_dir, path) = png_file();
    expect(read_mask(&path), &["picture.png", "row 0, column 1", "neither black", "white"]);
    let (_dir, deep) = file("deep.png", |path| {
        let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), 2, 1);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Sixteen);
        encoder.write_header().unwrap().write_image_data(&[0, 0, 0, 255]).unwrap();
    });
    expect(
        read_mask(&deep),
        &[
            "row 0, column 1 is 255 of 65535 (-0.99222 on [-1, 1]), neither black (-1) nor white (1)",
        ],
    );
    let (_dir, shallow) = file("mask.npy", |path| {
        write_npy(path, &[1, 2], NpyValues::F64(&[1.0, 1.0 / 3.0])).unwrap();
    });
    expect(read_mask(&shallow), &["row 0, column 1 is 0.33333, neither 0 (missing)"]);
    write_png(&path, SHAPE, &[-1.0; 16]).unwrap();
    expect(read_mask(&path), &["picture.png", "hides all 16 pixels", "white"]);
}

// ------------------------------------------------------------------------------------------ HDF5

fn images_file() -> (TempDir, PathBuf) {
    let set = ImageSet::new(SHAPE, (0..48).collect::<Vec<u8>>(), provenance()).unwrap();
    file("images.h5", |path| set.write(path).unwrap())
}

fn samples_file() -> (TempDir, PathBuf) {
    let samples = (0..96).map(|i| i as f32 / 100.0).collect();
    let config = json!({ "task": "box" });
    let archive = SampleArchive::new(SHAPE, 2, samples, config, provenance()).unwrap();
    file("samples.h5", |path| archive.write(path).unwrap())
}

fn measurement() -> Result<MeasurementSet, DataError> {
    let mask = OperatorSpec::Mask { observed: (0..16).map(|i| i % 2).collect() };
    MeasurementSet::new(SHAPE, vec![0.25; 48], vec![mask], 0.05, provenance())
}

fn measurements_file() -> (TempDir, PathBuf) {
    let set = measurement().unwrap().with_truth(vec![0.5; 48]).unwrap().with_seed(3);
    file("y.h5", |path| set.write(path).unwrap())
}

#[test]
fn truncated_or_damaged_hdf5() {
    let again = "write it again";
    let content = |set: MeasurementSet| {
        let truth = set.truth().map(<[f64]>::to_vec);
        let operators: Vec<_> = (0..set.len()).map(|index| set.spec(index).clone()).collect();
        (set.y().to_vec(), operators, set.sigma_y(), set.seed(), truth)
    };
    let (_dir, path) = images_file();
    every_truncation_fails(&path, again, ImageSet::read);
    let (_dir, path) = samples_file();
    every_truncation_fails(&path, again, SampleArchive::read);
    let (_dir, path) = measurements_file();
    every_truncation_fails(&path, again, MeasurementSet::read);

    let (_dir, path) = images_file();
    no_damage_goes_unnoticed(&path, |path| ImageSet::read(path).map(|set| set.pixels().clone()));
    let (_dir, path) = samples_file();
    no_damage_goes_unnoticed(&path, |path| SampleArchive::read(path).map(|a| a.samples().to_vec()));
    let (_dir, path) = measurements_file();
    no_damage_goes_unnoticed(&path, |path| MeasurementSet::read(path).map(content));
}

#[test]
fn a_file_tells_its_format() {
    let (_dir, path) = measurements_file();
    assert_eq!(hdf5_format(&path).unwrap().as_deref(), Some(MeasurementSet::FORMAT));
    replace_attribute(&path, "format", 7_u64);
    // Another program's attribute may be anything.
    assert_eq!(hdf5_format(&path).unwrap(), None);
    change(&path, |file| file.delete_attr("format").unwrap());
    assert_eq!(hdf5_format(&path).unwrap(), None);
}

#[test]
fn another_file_in_place_of_hdf5() {
    let (_dir, path) = png_file();
    expect(ImageSet::read(&path), &["picture.png", "cannot be opened as HDF5", "another format"]);
    expect(MeasurementSet::read(Path::new("none.h5")), &["none.h5", "check the path"]);
    let (_dir, path) = images_file();
    expect(
        MeasurementSet::read(&path),
        &["images.h5", "\"eps-images\"", "\"eps-measurements\"", "file of the right kind"],
    );
    expect(ArchiveReader::open(&path), &["images.h5", "\"eps-samples\""]);
    let (_dir, path) = file("plain.h5", |path| drop(hdf5::File::create(path).unwrap()));
    expect(ImageSet::read(&path), &["plain.h5", "\"format\"", "is missing"]);
    expect(read_hdf5_array(&path, "y"), &["plain.h5", "no array \"y\""]);
    let (_dir, path) = samples_file();
    let reader = ArchiveReader::open(&path).unwrap();
    expect(reader.read("box/eps"), &["samples.h5", "\"box/eps\""]);
}

/// Opens a file of this crate for a change.
fn change(path: &Path, how: impl FnOnce(&hdf5::File)) {
    let file = hdf5::File::open_rw(path).unwrap();
    how(&file);
    file.close().unwrap();
}

fn replace_dataset<T: hdf5::H5Type>(path: &Path, name: &str, dims: &[usize], values: &[T]) {
    change(path, |file| {
        file.unlink(name).unwrap();
        let dataset = file.new_dataset::<T>().shape(dims).create(name).unwrap();
        dataset.write_raw(values).unwrap();
    });
}

fn replace_attribute<T: hdf5::H5Type>(path: &Path, name: &str, value: T) {
    change(path, |file| {
        file.delete_attr(name).unwrap();
        file.new_attr::<T>().create(name).unwrap().write_scalar(&value).unwrap();
    });
}

fn text(value: &str) -> hdf5::types::VarLenUnicode {
    value.parse().unwrap()
}

#[test]
fn missing_datasets_and_attributes() {
    for name in ["y", "mask"] {
        let (_dir, path) = measurements_file();
        change(&path, |file| file.unlink(name).unwrap());
        expect(
            MeasurementSet::read(&path),
            &["y.h5", &format!("{name:?}"), "is missing", "add it"],
        );
    }
    for name in [
        "operator",
        "sigma_y",
        "channels",
        "height",
        "width",
        "source",
        "licence",
        "format_version",
    ] {
        let (_dir, path) = measurements_file();
        change(&path, |file| file.delete_attr(name).unwrap());
        expect(
            MeasurementSet::read(&path),
            &["y.h5", &format!("{name:?}"), "is missing", "add it"],
        );
    }
    for name in ["samples", "posterior_mean", "posterior_sd"] {
        let (_dir, path) = samples_file();
        change(&path, |file| file.unlink(name).unwrap());
        expect(SampleArchive::read(&path), &["samples.h5", name, "is missing", "write the file"]);
    }
    let (_dir, path) = samples_file();
    change(&path, |file| file.delete_attr("config").unwrap());
    expect(SampleArchive::read(&path), &["samples.h5", "\"config\"", "is missing"]);
    let (_dir, path) = images_file();
    change(&path, |file| file.unlink("images").unwrap());
    expect(ImageSet::read(&path), &["images.h5", "\"images\"", "is missing"]);
}

#[test]
fn datasets_of_the_wrong_shape_or_type() {
    let (_dir, path) = images_file();
    replace_dataset(&path, "images", &[3, 16], &[0_u8; 48]);
    expect(ImageSet::read(&path), &["images.h5", "[3, 16]", "needed are 4", "reshape"]);
    replace_dataset(&path, "images", &[3, 1, 4, 4], &[0_u16; 48]);
    expect(ImageSet::read(&path), &["images.h5", "uint16", "uint8", "convert it"]);
    replace_dataset(&path, "images", &[3, 1, 4, 4], &[0.25_f64; 48]);
    assert_eq!(ImageSet::read(&path).unwrap().to_signed(1), [0.25; 16]);
    replace_dataset(&path, "images", &[3, 1, 4, 4], &[1.5_f32; 48]);
    expect(ImageSet::read(&path), &["images.h5", "flat index 0 is 1.5", "--unit"]);
    replace_dataset(&path, "images", &[3, 1, 4, 4], &[f32::NAN; 48]);
    expect(ImageSet::read(&path), &["images.h5", "flat index 0 is NaN", "finite"]);
    replace_dataset(&path, "images", &[0, 1, 4, 4], &[0_u8; 0]);
    expect(ImageSet::read(&path), &["images.h5", "[0, 1, 4, 4]", "empty or incomplete"]);

    let (_dir, path) = samples_file();
    replace_dataset(&path, "posterior_mean", &[3, 1, 2, 8], &[0.0_f32; 48]);
    expect(
        SampleArchive::read(&path),
        &["samples.h5", "\"posterior_mean\"", "[3, 1, 2, 8]", "[3, 1, 4, 4]"],
    );

    let (_dir, path) = measurements_file();
    replace_dataset(&path, "truth", &[3, 3, 4, 4], &[0.0_f64; 144]);
    expect(MeasurementSet::read(&path), &["y.h5", "\"truth\"", "[3, 3, 4, 4]", "[3, 1, 4, 4]"]);
    replace_dataset(&path, "y", &[3, 1, 2, 8], &[0.0_f64; 48]);
    expect(MeasurementSet::read(&path), &["y.h5", "\"y\"", "[3, 1, 2, 8]", "[3, 1, 4, 4]"]);
    let (_dir, path) = measurements_file();
    replace_dataset(&path, "mask", &[3, 2, 2], &[1_u8; 12]);
    expect(MeasurementSet::read(&path), &["y.h5", "\"mask\"", "[3, 2, 2]", "[3, 4, 4]"]);
    replace_dataset(&path, "mask", &[2, 4, 4], &[1_u8; 32]);
    expect(MeasurementSet::read(&path), &["y.h5", "operators is 2", "each of the 3"]);

    // A dataset that was created and never written reads as zeros: it must not be taken for data.
    let (_dir, path) = images_file();
    change(&path, |file| {
        file.unlink("images").unwrap();
        let dims = [1_usize << 40, 1, 4, 4];
        file.new_dataset::<u8>().chunk([1, 1, 4, 4]).shape(dims).create("images").unwrap();
    });
    expect(ImageSet::read(&path), &["images.h5", "[1099511627776, 1, 4, 4]", "incomplete"]);
}

#[test]
fn values_that_are_not_finite() {
    let mut samples = vec![0.0_f32; 96];
    samples[7] = f32::NAN;
    let (_dir, path) = samples_file();
    replace_dataset(&path, "samples", &[3, 2, 1, 4, 4], &samples);
    expect(SampleArchive::read(&path), &["samples.h5", "\"samples\"", "NaN", "index 7", "finite"]);
    expect(read_hdf5_array(&path, "samples"), &["samples.h5", "NaN", "index 7"]);
    expect(
        SampleArchive::new(SHAPE, 2, samples, json!({}), provenance()),
        &["sample value", "index 7", "NaN"],
    );

    let mut y = vec![0.0; 48];
    y[9] = f64::INFINITY;
    let (_dir, path) = measurements_file();
    replace_dataset(&path, "y", &[3, 1, 4, 4], &y);
    expect(MeasurementSet::read(&path), &["y.h5", "\"y\"", "inf", "index 9"]);
    let pool = || vec![OperatorSpec::AveragePool { factor: 1 }];
    expect(MeasurementSet::new(SHAPE, y, pool(), 0.1, provenance()), &["y", "index 9", "inf"]);
    let truth = measurement().unwrap().with_truth(vec![f64::NAN; 48]);
    expect(truth, &["truth", "index 0", "NaN"]);
}

/// Without noise, what is missing of some images is missing of these alone.
#[test]
fn images_of_an_exact_set_may_have_gaps() {
    let mut y = vec![0.5; 32];
    y[3] = f64::NAN;
    let mask = || OperatorSpec::Mask { observed: vec![1; 16] };
    for spec in [OperatorSpec::AveragePool { factor: 1 }, mask()] {
        let set = MeasurementSet::new(SHAPE, y.clone(), vec![spec], 0.0, provenance()).unwrap();
        for image in 0..2 {
            let seen = set.operator(image).apply(&[1.0; 16]);
            let expected = |i: usize| if (image, i) == (0, 3) { 0.0 } else { 1.0 };
            assert!((0..16).all(|i| seen[i] == expected(i)), "{image}: {seen:?}");
        }
    }
}

#[test]
fn measurements_that_make_no_sense() {
    for sigma_y in [-0.1, f64::NAN, f64::INFINITY] {
        let pool = vec![OperatorSpec::AveragePool { factor: 1 }];
        let set = MeasurementSet::new(SHAPE, vec![0.0; 16], pool, sigma_y, provenance());
        expect(set, &["sigma_y", &format!("{sigma_y}"), "positive"]);
    }
    let (_dir, path) = measurements_file();
    replace_attribute(&path, "sigma_y", -0.05_f64);
    expect(MeasurementSet::read(&path), &["y.h5", "sigma_y is -0.05", "positive"]);
    let (_dir, path) = measurements_file();
    replace_attribute(&path, "sigma_y_255", 0.05_f64);
    expect(MeasurementSet::read(&path), &["y.h5", "sigma_y_255 = 0.05", "6.375", "correct one"]);
    let (_dir, path) = measurements_file();
    replace_attribute(&path, "range", text("[0, 1]"));
    expect(MeasurementSet::read(&path), &["y.h5", "range is \"[0, 1]\"", "[-1, 1]", "2 y - 1"]);
    let (_dir, path) = measurements_file();
    replace_attribute(&path, "operator", text("{\"operator\": \"fisheye\"}"));
    expect(MeasurementSet::read(&path), &["y.h5", "\"operator\"", "fisheye", "average-pool"]);
    // Nothing that was meant is passed over.
    for operator in ["\"mask\", \"invert\": true", "\"circular-blur\", \"border\": \"reflect\""] {
        let (_dir, path) = measurements_file();
        replace_attribute(&path, "operator", text(&format!("{{\"operator\": {operator}}}")));
        expect(MeasurementSet::read(&path), &["y.h5", "unknown field"]);
    }
    for name in ["sigma", "Noise level"] {
        let (_dir, path) = measurements_file();
        change(&path, |file| drop(file.new_attr::<f64>().create(name).unwrap()));
        expect(MeasurementSet::read(&path), &["y.h5", name, "\"sigma_y\""]);
    }
    // A complex mask is no two masks.
    let (_dir, path) = measurements_file();
    let complex = [Complex { r: 1.0, i: 0.0 }; 16];
    replace_dataset(&path, "mask", &[1, 4, 4], &complex);
    expect(MeasurementSet::read(&path), &["y.h5", "\"mask\" is complex", "real part"]);
    for name in ["noise_covariance", "sigmas"] {
        let (_dir, path) = measurements_file();
        change(&path, |file| drop(file.new_dataset::<f64>().shape(4).create(name).unwrap()));
        expect(MeasurementSet::read(&path), &["y.h5", name, "noise_factor"]);
    }
    for height in [0, u64::MAX] {
        let (_dir, path) = measurements_file();
        replace_attribute(&path, "height", height);
        let found = format!("[1, {height}, 4]");
        expect(MeasurementSet::read(&path), &["y.h5", "height", &found, "correct them"]);
    }
    for (height, said) in [(28.5, "is 28.5"), (-28.0, "is -28"), (f64::NAN, "is NaN")] {
        let (_dir, path) = measurements_file();
        replace_attribute(&path, "height", height);
        expect(MeasurementSet::read(&path), &["y.h5", "\"height\"", said, "whole number"]);
    }
    let (_dir, path) = measurements_file();
    replace_attribute(&path, "height", 4_i32);
    assert!(MeasurementSet::read(&path).is_ok());
    replace_attribute(&path, "sigma_y", text("0.05"));
    expect(MeasurementSet::read(&path), &["y.h5", "\"sigma_y\"", "as one number"]);
    let (_dir, path) = measurements_file();
    replace_attribute(&path, "format_version", 9_u64);
    expect(MeasurementSet::read(&path), &["y.h5", "format_version", "is 9", "known are 1 to 2"]);
    let (_dir, path) = measurements_file();
    replace_dataset(&path, "mask", &[1, 4, 4], &[0_u8; 16]);
    expect(MeasurementSet::read(&path), &["y.h5", "image 0", "hides all 16 pixels"]);

    let new = |y: usize, operators| {
        MeasurementSet::new(SHAPE, vec![0.0; y], operators, 0.1, provenance())
    };
    let pool = |factor| OperatorSpec::AveragePool { factor };
    let mask = |seen| OperatorSpec::Mask { observed: vec![seen; 16] };
    expect(new(16, vec![mask(0)]), &["image 0", "hides all 16"]);
    expect(new(16, vec![mask(1), mask(0)]), &["image 1", "hides all 16"]);
    expect(new(16, vec![pool(3)]), &["image 0", "3", "does not divide"]);
    expect(new(16, vec![mask(1), pool(2)]), &["operator 1", "average-pool", "here mask"]);
    expect(new(16, vec![pool(2), pool(4)]), &["measurement 1", "[1, 1, 1]", "[1, 2, 2]"]);
    expect(new(5, vec![pool(2)]), &["y", "is 5", "multiple of 4", "[1, 2, 2]"]);
    expect(new(16, vec![]), &["operators is 0", "give one"]);
    expect(new(16, vec![pool(2), pool(2)]), &["operators is 2", "each of the 4"]);
    let ragged = OperatorSpec::CircularBlur { kernel: vec![vec![1.0], vec![1.0, 2.0]] };
    expect(
        new(16, vec![ragged]),
        &["image 0", "row 1 of the kernel", "2 values where 1 are needed"],
    );
    let large = OperatorSpec::GaussianBlur { sigma_blur: 1.0, taps: 5, border: Default::default() };
    expect(new(16, vec![large]), &["image 0", "5×5", "4×4", "crop it"]);
    expect(measurement().unwrap().with_truth(vec![0.0; 7]), &["is 7", "need 48"]);
}

#[test]
fn noise_that_makes_no_sense() {
    let pool = || vec![OperatorSpec::AveragePool { factor: 1 }];
    let new =
        |y: Vec<f64>, noises| MeasurementSet::with_noise(SHAPE, y, pool(), noises, provenance());
    let sigmas = |n: usize| Noise::entries(vec![0.1; n]).unwrap();
    expect(new(vec![0.0; 16], vec![sigmas(15)]), &["measurement 0", "15 values where 16"]);
    expect(new(vec![0.0; 48], vec![sigmas(16), sigmas(16)]), &["is 2", "each of the 3"]);
    let one = Noise::uniform(0.1).unwrap();
    expect(
        new(vec![0.0; 32], vec![one.clone(), Noise::uniform(0.0).unwrap()]),
        &["1 is 0", "exact"],
    );
    let flat = Noise::spectrum(SHAPE, vec![0.1; 16]).unwrap();
    expect(new(vec![0.0; 32], vec![one.clone(), flat.clone()]), &["measurement 1", "of one kind"]);
    let mut y = vec![0.0; 32];
    y[16..].fill(f64::NAN);
    expect(new(y.clone(), vec![one.clone()]), &["measurement 1", "all 16 values", "missing"]);
    expect(new(y[8..24].to_vec(), vec![flat]), &["8 values", "spectrum", "of each entry"]);
    // What a mask hides is not missing, and all that it shows is.
    let mask = vec![OperatorSpec::Mask { observed: (0..16).map(|i| u8::from(i < 2)).collect() }];
    let of_mask = |y: Vec<f64>| MeasurementSet::new(SHAPE, y, mask.clone(), 0.1, provenance());
    let mut y = vec![f64::NAN; 16];
    y[..2].fill(0.5);
    let set = of_mask(y.clone()).unwrap();
    assert_eq!((set.missing(), set.is_white(), set.y()[1], set.y()[2]), (0, true, 0.5, 0.0));
    y[..2].fill(f64::NAN);
    expect(of_mask(y), &["measurement 0", "missing"]);

    for (name, dims, values, words) in [
        ("sigma", vec![2], vec![0.1; 2], &["is 2", "each of the 3"][..]),
        ("sigma", vec![1, 16], vec![0.1; 16], &["\"sigma\"", "[1, 16]", "[K] or [K, 1, 4, 4]"]),
        ("sigma", vec![1], vec![-0.1], &["sigma_y is -0.1"]),
        ("sigma", vec![1, 1, 4, 4], vec![f64::NAN; 16], &["sigma_y is NaN", "index 0"]),
        ("noise_factor", vec![1, 16, 16], vec![1.0; 256], &["row 0, column 1", "transpose"]),
        ("noise_factor", vec![16, 16], vec![1.0; 256], &["[16, 16]", "[K, 16, 16]"]),
        ("noise_spectrum", vec![1, 4, 4], vec![0.0; 16], &["spectrum", "is 0", "positive"]),
    ] {
        let (_dir, path) = measurements_file();
        change(&path, |file| {
            let dataset = file.new_dataset::<f64>().shape(dims).create(name).unwrap();
            dataset.write_raw(&values).unwrap();
        });
        let error = MeasurementSet::read(&path).unwrap_err().to_string();
        for word in words {
            assert!(error.contains("y.h5") && error.contains(word), "{name}: {error}");
        }
    }
    let (_dir, path) = measurements_file();
    change(&path, |file| {
        for name in ["sigma", "noise_spectrum"] {
            file.new_dataset::<f64>().shape([1]).create(name).unwrap().write_raw(&[0.1]).unwrap();
        }
    });
    expect(MeasurementSet::read(&path), &["y.h5", "sigma", "noise_spectrum", "keep the one"]);
}

#[test]
fn sets_and_archives_of_the_wrong_length() {
    expect(ImageSet::new(SHAPE, Vec::<u8>::new(), provenance()), &["is 0", "multiple of 16"]);
    expect(ImageSet::new(SHAPE, vec![0_u8; 17], provenance()), &["is 17", "multiple of 16"]);
    let archive = |n: usize| SampleArchive::new(SHAPE, 2, vec![0.0; n], json!({}), provenance());
    expect(archive(0), &["is 0", "multiple of 32"]);
    expect(archive(33), &["is 33", "multiple of 32", "2 samples"]);
    expect(archive(32).unwrap().with_truth(vec![0.0; 15]), &["is 15", "need 16"]);
}

#[test]
fn nothing_half_written_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("y.h5");
    // A directory of the file's name makes the last step, the renaming, fail.
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("kept"), "").unwrap();
    expect(measurement().unwrap().write(&path), &["y.h5", "rename"]);
    expect(write_npy(&path, &[1], NpyValues::U8(&[1])), &["y.h5", "rename"]);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(names, [path]);

    let nowhere = dir.path().join("no/samples.h5");
    expect(measurement().unwrap().write(&nowhere), &["no/samples.h5", "its directory exists"]);
}

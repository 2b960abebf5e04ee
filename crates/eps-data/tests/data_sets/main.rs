//! Data sets made of pictures: resized and decoded as Pillow does, split by file, whatever was wrong
//! named with a remedy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use eps_data::data_set::ImageSource;
use eps_data::photos::{TileConfig, write_tiles};
use eps_data::picture_source::{PictureSource, picture_names};
use eps_data::resize::lanczos;
use eps_data::{
    DataError, DataSetReader, DataSetWriter, ImageProvenance, ImageSet, Import, ImportConfig,
    ImportReport, Raster, Shares, Split,
};
use eps_math::Shape;
use serde::Deserialize;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::FileOptions;

/// What `golden.py` wrote.
#[derive(Deserialize)]
struct Golden {
    resized: Vec<Resized>,
    decoded: Vec<Decoded>,
}

#[derive(Deserialize)]
struct Resized {
    size: [usize; 3],
    new: [usize; 2],
    bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Decoded {
    name: String,
    size: [usize; 3],
    file: Vec<u8>,
    bytes: Vec<u8>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden.json")).unwrap()
}

fn provenance() -> ImageProvenance {
    ImageProvenance {
        name: "a test".into(),
        source: "the test".into(),
        licence: "MIT".into(),
        sha256: String::new(),
    }
}

/// A PNG of `channels` channels without a pattern.
fn png_file(width: usize, height: usize, channels: usize, seed: usize) -> Vec<u8> {
    let bytes: Vec<u8> =
        (0..width * height * channels).map(|i| ((i + 1) * (seed * 2 + 97) % 251) as u8).collect();
    encode(width, height, channels, png::BitDepth::Eight, &bytes)
}

fn encode(width: usize, height: usize, channels: usize, depth: png::BitDepth, b: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut encoder = png::Encoder::new(&mut content, width as u32, height as u32);
    encoder.set_color(match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    encoder.set_depth(depth);
    encoder.write_header().unwrap().write_image_data(b).unwrap();
    content
}

/// A picture whose thumbnail is like that of no other seed, with contrast everywhere.
fn photograph(width: usize, height: usize, seed: usize) -> Vec<u8> {
    let wave = |x: usize, y: usize, c: usize| {
        let phase = (x * (seed % 5 + 1) + 3 * y * (seed / 5 + 1)) as f64 / 6.0 + c as f64;
        (128.0 + 100.0 * (phase + (seed * seed) as f64).sin()) as u8
    };
    let bytes: Vec<u8> = (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| wave(x, y, c))))
        .collect();
    encode(width, height, 3, png::BitDepth::Eight, &bytes)
}

fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

#[track_caller]
fn expect<T: std::fmt::Debug>(result: Result<T, DataError>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

// -------------------------------------------------------------------------------------- pictures

#[test]
fn resizing_is_pillows_to_the_bit() {
    for Resized { size: [width, height, channels], new, bytes } in golden().resized {
        let values =
            (0..width * height * channels).map(|i| ((i * 97 + i * i / 7) % 256) as u8).collect();
        let picture = Raster::of(width, height, channels, values);
        assert_eq!(lanczos(&picture, new[0], new[1]).bytes(), bytes, "{width}x{height} to {new:?}");
    }
}

#[test]
fn pictures_are_decoded_as_pillow_does() {
    for Decoded { name, size: [width, height, channels], file, bytes } in golden().decoded {
        let raster = Raster::decode(Path::new(&name), &file).unwrap();
        assert_eq!((raster.width(), raster.height(), raster.channels()), (width, height, channels));
        let (mut largest, mut largest_in_last_column) = (0, 0);
        for (index, (found, expected)) in raster.bytes().iter().zip(&bytes).enumerate() {
            let is_last = index / channels % width == width - 1;
            let of_column = if is_last { &mut largest_in_last_column } else { &mut largest };
            *of_column = found.abs_diff(*expected).max(*of_column);
        }
        // Measured: 0 for WebP, 1 for JPEG, 3 where its chroma is subsampled (bits of the inverse transform
        // and of upsampling); 29 in the last column of even width, see `Raster::decode`.
        let allowed = match &*name {
            _ if name.ends_with(".webp") => 0,
            _ if name.starts_with("42") => 3,
            _ => 2,
        };
        let allowed_in_last_column = if name.ends_with("-even.jpg") { 30 } else { allowed };
        assert!(largest <= allowed, "{name}: {largest}");
        assert!(
            largest_in_last_column <= allowed_in_last_column,
            "{name}: {largest_in_last_column} in the last column"
        );
    }
}

#[test]
fn every_truncation_of_a_picture_is_noticed() {
    let mut files: Vec<(String, Vec<u8>)> =
        golden().decoded.into_iter().map(|decoded| (decoded.name, decoded.file)).collect();
    files.push(("a.png".to_owned(), png_file(9, 7, 3, 1)));
    for (name, whole) in files {
        // A PNG's pixels are whole before its last chunk.
        let needed = whole.len() - if name.ends_with(".png") { 12 } else { 0 };
        for length in 0..needed {
            let result = Raster::decode(Path::new(&name), &whole[..length]);
            assert!(result.is_err(), "{name} cut to {length} of {} bytes", whole.len());
            expect(result, &[&name]);
        }
    }
}

#[test]
fn no_subsampling_ends_the_program() {
    let jpegs = golden().decoded.into_iter().filter(|decoded| decoded.name == "rgb.jpg");
    for Decoded { file, .. } in jpegs {
        let frame = file.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        // Marker, length, precision, height, width, number of components; three bytes each.
        let sampling = [0, 1, 2].map(|component| frame + 10 + 3 * component + 1);
        for code in 0..5_usize.pow(4) {
            let [luma_h, luma_v, other_h, other_v] =
                [0, 1, 2, 3].map(|digit| (code / 5_usize.pow(digit) % 5) as u8);
            let mut changed = file.clone();
            changed[sampling[0]] = luma_h << 4 | luma_v;
            changed[sampling[1]] = other_h << 4 | other_v;
            let _ = Raster::decode(Path::new("a.jpg"), &changed);
            changed[sampling[2]] = other_h << 4 | other_v;
            let _ = Raster::decode(Path::new("a.jpg"), &changed);
        }
    }
}

#[test]
fn pictures_of_other_kinds_are_refused_by_name() {
    let decode = |content: &[u8]| Raster::decode(Path::new("a.png"), content);
    // 16 bits are rounded to 8: 0x0707 is 7 · 257.
    let deep = encode(2, 2, 3, png::BitDepth::Sixteen, &[7; 24]);
    assert_eq!(decode(&deep).unwrap().bytes(), [7; 12]);
    expect(decode(&[]), &["a.png", "empty"]);
    expect(decode(b"GIF89a and so on"), &["a.png", "PNG, JPEG, WebP, TIFF or BMP"]);
    let mut rgba = [9; 2 * 3 * 4];
    expect(decode(&encode(2, 3, 4, png::BitDepth::Eight, &rgba)), &["row 0, column 0", "flatten"]);
    rgba.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
    assert_eq!(decode(&encode(2, 3, 4, png::BitDepth::Eight, &rgba)).unwrap().channels(), 3);
}

// ----------------------------------------------------------------------------------------- tiles

fn tile_config() -> TileConfig {
    TileConfig {
        shortest_side: 16,
        scales: vec![1.0, 2.0],
        shares: Shares { train: 50.0, validation: 25.0, test: 25.0, seed: 1 },
        ..TileConfig::of_size(8)
    }
}

#[test]
fn tiles_of_a_photograph_are_in_one_split() {
    let names: Vec<String> = (0..20).map(|i| format!("{i:02}.png")).collect();
    let files: Vec<(&str, Vec<u8>)> =
        names.iter().zip(0..).map(|(name, i)| (name.as_str(), photograph(24, 16, i))).collect();
    let dir = folder(&files);
    let out = dir.path().join("tiles.h5");
    let report = write_tiles(dir.path(), &out, &tile_config(), provenance(), &|| ()).unwrap();
    let reader = DataSetReader::open(&out).unwrap();
    let mut seen: BTreeMap<String, Split> = BTreeMap::new();
    for (split, (photographs, tiles)) in Split::ALL.into_iter().zip(report.counts) {
        let set = reader.read(split).unwrap();
        assert_eq!(set.len(), tiles);
        let of: BTreeSet<u32> = reader.image_sources(split).unwrap().into_iter().collect();
        assert_eq!(of.len(), photographs);
        for index in of {
            let source = &reader.sources()[index as usize];
            assert_eq!(source.split, split);
            assert!(seen.insert(source.name.clone(), split).is_none(), "{} twice", source.name);
        }
        assert!(set.provenance().name.ends_with(&split.to_string()));
        assert_eq!(set.provenance().sha256, eps_files::sha256(set.pixels().bytes().unwrap()));
    }
    assert_eq!(seen.len() + report.dropped.len(), 20);
    // One tile at scale 1, six at scale 2.
    assert_eq!(report.counts.iter().map(|(_, tiles)| tiles).sum::<usize>(), 7 * seen.len());

    let again = dir.path().join("again.h5");
    write_tiles(dir.path(), &again, &tile_config(), provenance(), &|| ()).unwrap();
    for split in reader.splits().unwrap() {
        let read = DataSetReader::open(&again).unwrap().read(split).unwrap();
        assert_eq!(read, reader.read(split).unwrap());
    }
}

#[test]
fn unfit_photographs_and_tiles_are_dropped_with_reasons() {
    let flat = |v: u8| encode(16, 16, 1, png::BitDepth::Eight, &[v; 256]);
    let dir = folder(&[
        ("a/large.png", photograph(48, 32, 1)),
        ("b/small copy.png", photograph(48, 32, 1)),
        ("c/tiny.png", photograph(40, 15, 2)),
        ("d/clear.png", encode(16, 16, 4, png::BitDepth::Eight, &[9; 1024])),
        ("e/flat.png", flat(77)),
        ("f/notes.txt", b"no picture".to_vec()),
    ]);
    let out = dir.path().join("tiles.h5");
    let report = write_tiles(dir.path(), &out, &tile_config(), provenance(), &|| ()).unwrap();
    let dropped: BTreeMap<String, String> = report.dropped.into_iter().collect();
    assert_eq!(dropped.len(), 4, "{dropped:?}");
    assert!(dropped["b/small copy.png"].contains("looks like a/large.png"));
    assert!(dropped["c/tiny.png"].contains("15 pixels"));
    assert!(dropped["d/clear.png"].contains("transparent"));
    assert!(dropped["e/flat.png"].contains("contrast"));
    let reader = DataSetReader::open(&out).unwrap();
    let names: Vec<&str> = reader.sources().iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["a/large.png"]);
    assert_eq!(report.counts.iter().map(|(_, tiles)| tiles).sum::<usize>(), 7);

    let flat = folder(&[("flat.png", flat(3))]);
    let none = write_tiles(flat.path(), &out, &tile_config(), provenance(), &|| ());
    expect(none, &["number of tiles", "larger photographs"]);
    let empty = tempfile::tempdir().unwrap();
    expect(
        write_tiles(empty.path(), &out, &tile_config(), provenance(), &|| ()),
        &["PNG, JPEG, WebP, TIFF or BMP"],
    );
}

#[test]
fn splits_that_overlap_are_not_read() {
    let files: Vec<(String, Vec<u8>)> =
        (0..20).map(|i| (format!("{i}.png"), photograph(16, 16, i))).collect();
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(n, c)| (n.as_str(), c.clone())).collect();
    let dir = folder(&files);
    let out = dir.path().join("tiles.h5");
    write_tiles(dir.path(), &out, &tile_config(), provenance(), &|| ()).unwrap();
    let reader = DataSetReader::open(&out).unwrap();
    let of_train = reader.image_sources(Split::Train).unwrap()[0];
    drop(reader);
    let file = hdf5::File::open_rw(&out).unwrap();
    let indices = file.dataset("test/sources").unwrap();
    let mut wrong: Vec<u32> = indices.read_raw().unwrap();
    wrong[0] = of_train;
    indices.write_raw(&wrong).unwrap();
    drop((indices, file));
    let reader = DataSetReader::open(&out).unwrap();
    expect(reader.read(Split::Test), &["tiles.h5", "not in it", "overlap"]);
    reader.read(Split::Train).unwrap();
}

// ---------------------------------------------------------------------------------------- import

fn import_config(labels: bool) -> ImportConfig {
    let shares = Shares { train: 60.0, validation: 20.0, test: 20.0, seed: 5 };
    ImportConfig { size: 4, grey: false, labels, shares, limit: None }
}

fn import(
    source: &Path,
    out: &Path,
    config: ImportConfig,
    skip_bad: bool,
) -> Result<ImportReport, DataError> {
    Import::open(source, None, out, config)?.run(skip_bad, provenance(), &|_| ())
}

/// Every image by its file's name, with its class.
fn images(path: &Path) -> BTreeMap<String, (Split, Vec<u8>, Option<u32>)> {
    let reader = DataSetReader::open(path).unwrap();
    let mut found = BTreeMap::new();
    for split in reader.splits().unwrap() {
        let set = reader.read(split).unwrap();
        for (image, index) in reader.image_sources(split).unwrap().into_iter().enumerate() {
            let class = set.labels().map(|labels| labels[image]);
            let value = (split, bytes_of(&set, image), class);
            let name = reader.sources()[index as usize].name.clone();
            assert!(found.insert(name, value).is_none());
        }
    }
    found
}

/// The bytes of one image of a set.
fn bytes_of(set: &ImageSet, image: usize) -> Vec<u8> {
    let n = set.shape().len();
    set.pixels().bytes().unwrap()[image * n..(image + 1) * n].to_vec()
}

/// Twelve pictures of many sizes in folders, and what each must become.
fn pictures() -> Vec<(String, Vec<u8>)> {
    (0..12)
        .map(|i| {
            let channels = if i % 4 == 0 { 1 } else { 3 };
            let name = format!("{}/{i}.png", ["cat", "dog", "eel"][i % 3]);
            (name, png_file(4 + i, 15 - i, channels, i))
        })
        .collect()
}

fn expected(content: &[u8]) -> Vec<u8> {
    let raster = Raster::decode(Path::new("a"), content).unwrap();
    lanczos(&raster.centre_square().to_colour(), 4, 4).planes()
}

fn zip_file(path: &Path, files: &[(&str, &[u8])]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    let stored = FileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in files {
        zip.start_file(*name, stored).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn folders_and_archives_give_the_same_images() {
    let pictures = pictures();
    let files: Vec<(&str, Vec<u8>)> =
        pictures.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    let dir = folder(&files);
    let out = dir.path().join("set.h5");
    import(dir.path(), &out, import_config(true), false).unwrap();
    let by_folder = images(&out);
    assert_eq!(by_folder.len(), pictures.len());
    for (name, content) in &pictures {
        let (split, pixels, class) = &by_folder[name];
        assert_eq!(*split, import_config(true).shares.split_of(name));
        assert_eq!(*pixels, expected(content), "{name}");
        let folder = ["cat", "dog", "eel"].iter().position(|class| name.starts_with(class));
        assert_eq!(class.unwrap() as usize, folder.unwrap());
    }
    assert!(!dir.path().join("set.h5.part").exists());

    let archive = dir.path().join("pictures.zip");
    let labels: Vec<(&str, u32)> = files.iter().map(|(name, _)| *name).zip(100..).collect();
    let labels = serde_json::to_vec(&serde_json::json!({ "labels": labels })).unwrap();
    let mut packed: Vec<(&str, &[u8])> = files.iter().map(|(n, c)| (*n, c.as_slice())).collect();
    packed.push(("dataset.json", &labels));
    packed.push(("__MACOSX/._1.png", b"no picture"));
    zip_file(&archive, &packed);
    let from_zip = dir.path().join("zip.h5");
    import(&archive, &from_zip, import_config(true), false).unwrap();
    for (name, (split, pixels, class)) in images(&from_zip) {
        let (split_before, pixels_before, _) = &by_folder[&name];
        assert_eq!((split, &pixels), (*split_before, pixels_before));
        assert_eq!(class, Some(100 + files.iter().position(|(n, _)| *n == name).unwrap() as u32));
    }
    import(&archive, &from_zip, import_config(false), false).unwrap();
    assert!(images(&from_zip).values().all(|(_, _, class)| class.is_none()));
}

#[test]
fn classes_are_the_folders_at_the_top() {
    let good = png_file(5, 5, 3, 1);
    let names = ["train/n01/a.png", "val/b.png", "train/n02/deep/c.png"];
    let dir = folder(&names.map(|name| (name, good.clone())));
    let labels = |source: &Path| PictureSource::open(source).unwrap().labels().unwrap();
    let by_top = labels(dir.path());
    assert_eq!(by_top.classes.unwrap(), ["train", "val"]);
    assert_eq!(names.map(|name| by_top.of[name]), [0, 1, 0]);
    // As for a folder, so for an archive whose labels are null.
    let archive = dir.path().join("set.zip");
    let mut packed = names.map(|name| (name, good.as_slice())).to_vec();
    packed.push(("dataset.json", br#"{"labels": null}"#));
    zip_file(&archive, &packed);
    assert_eq!(labels(&archive).of, by_top.of);

    let out = dir.path().join("set.h5");
    let open =
        |source: &Path, labels| Import::open(source, None, &out, import_config(labels)).unwrap();
    let remedy = [&*dir.path().to_string_lossy(), "is 2; needed are 3", ".../train"];
    expect(open(dir.path(), true).require_classes(3), &remedy);
    expect(open(dir.path(), false).require_classes(3), &["is 0; needed are 3"]);
    open(dir.path(), true).require_classes(2).unwrap();
    // Folders of splits are no classes.
    let dir = folder(&["train/n01/a.png", "val/n01/b.png"].map(|name| (name, good.clone())));
    let refused = PictureSource::open(dir.path()).unwrap().labels();
    expect(refused, &["\"train\", \"val\"", "named as splits", "--test-data"]);
    // Numbers from 1 on are not those of a network of so many classes.
    packed[3].1 =
        br#"{"labels": [["train/n01/a.png", 1], ["val/b.png", 2], ["train/n02/deep/c.png", 1]]}"#;
    zip_file(&archive, &packed);
    expect(open(&archive, true).require_classes(2), &["is 3; needed are 2"]);
}

#[cfg(unix)]
#[test]
fn links_to_folders_are_named() {
    let dir = folder(&[("a/b.png", png_file(5, 5, 3, 1))]);
    std::os::unix::fs::symlink(dir.path().join("a/b.png"), dir.path().join("a/c.png")).unwrap();
    assert_eq!(picture_names(dir.path()).unwrap(), ["a/b.png", "a/c.png"]);
    std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("d")).unwrap();
    expect(picture_names(dir.path()), &["/d: ", "link to a folder", "replace it"]);
}

#[test]
fn hidden_folders_are_passed_over() {
    let [picture, copy] = [1, 2].map(|seed| png_file(5, 5, 3, seed));
    let dir = folder(&[
        ("set/a/b.png", picture.clone()),
        ("set/a/.thumbnails/b.png", copy.clone()),
        ("set/.ipynb_checkpoints/b.png", copy.clone()),
    ]);
    let archive = dir.path().join("set.zip");
    zip_file(
        &archive,
        &[("a/b.png", &picture), ("a/.thumbnails/b.png", &copy), ("__MACOSX/a/b.png", &copy)],
    );
    for (path, other) in [(dir.path().join("set"), ".ipynb_checkpoints"), (archive, "__MACOSX")] {
        let source = PictureSource::open(&path).unwrap();
        assert_eq!(source.names(), ["a/b.png"]);
        let note = source.passed_over().concat();
        for words in ["2 hidden folders were passed over", "a/.thumbnails", other] {
            assert!(note.contains(words), "{note}");
        }
    }
}

#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_are_told() {
    let dir = folder(&[("b.png", png_file(5, 5, 3, 1))]);
    std::os::unix::fs::symlink(dir.path().join("gone.png"), dir.path().join("c.png")).unwrap();
    std::os::unix::fs::symlink("/dev/null", dir.path().join("d.png")).unwrap();
    let [link, device] = &PictureSource::open(dir.path()).unwrap().passed_over()[..] else {
        panic!("two notes are needed")
    };
    assert!(
        link.contains("1 link was passed over")
            && link.contains("(c.png): such a link leads nowhere"),
        "{link}"
    );
    assert!(device.contains("(d.png)") && device.contains("only regular files"), "{device}");
}

#[test]
fn pictures_smaller_than_their_images_are_told() {
    let dir = folder(&[("a.png", png_file(3, 3, 3, 1)), ("b.png", png_file(12, 12, 3, 2))]);
    let config = import_config(false);
    let size = config.size;
    let report = import(dir.path(), &dir.path().join("set.h5"), config, false).unwrap();
    assert_eq!(report.enlarged, 1);
    let notes = report.notes(size).concat();
    assert!(notes.contains("1 picture is smaller than"), "{notes}");
}

#[test]
fn a_stopped_import_goes_on() {
    // More than a block of pictures, of which the last is damaged.
    let shares = import_config(false).shares;
    let names: Vec<String> = (0..300).map(|i| format!("{i:03}.png")).collect();
    let good: Vec<(&str, Vec<u8>)> =
        names.iter().zip(0..).map(|(name, i)| (name.as_str(), png_file(3, 3, 3, i))).collect();
    let dir = folder(&good);
    let whole = dir.path().join("whole.h5");
    import(dir.path(), &whole, import_config(false), false).unwrap();

    // Images lie by split, so the last file is one of test.
    let reader = DataSetReader::open(&whole).unwrap();
    let last = reader.sources().last().unwrap().name.clone();
    assert_eq!(shares.split_of(&last), Split::Test);
    let content = fs::read(dir.path().join(&last)).unwrap();
    fs::write(dir.path().join(&last), &content[..20]).unwrap();
    let out = dir.path().join("set.h5");
    expect(import(dir.path(), &out, import_config(false), false), &[&last, "PNG"]);
    assert!(!out.exists());
    let other = ImportConfig { size: 5, ..import_config(false) };
    expect(
        import(dir.path(), &out, other, false),
        &["set.h5.part", "another import", "\"size\" is 4, here 5", "remove"],
    );

    fs::write(dir.path().join(&last), &content).unwrap();
    let report = import(dir.path(), &out, import_config(false), false).unwrap();
    assert_eq!(report.resumed, 256);
    assert_eq!(images(&out), images(&whole));
}

/// Starts an import of `source` that stops at its last picture, of 300, when a block is done.
///
/// Returns the name of that picture, which is whole again, and those of the first block.
fn stopped_import(source: &Path, out: &Path) -> (String, Vec<String>) {
    let config = || import_config(false);
    let whole = source.with_file_name("whole.h5");
    import(source, &whole, config(), false).unwrap();
    let names: Vec<String> =
        DataSetReader::open(&whole).unwrap().sources().iter().map(|s| s.name.clone()).collect();
    let last = source.join(names.last().unwrap());
    let content = fs::read(&last).unwrap();
    fs::write(&last, &content[..20]).unwrap();
    let error = import(source, out, config(), false).unwrap_err();
    assert!(matches!(error, DataError::Picture(_)), "{error}");
    fs::write(&last, content).unwrap();
    (names.last().unwrap().clone(), names[..256].to_vec())
}

/// A picture whose file is like that of no other seed.
fn unlike(seed: usize) -> Vec<u8> {
    let mut content = png_file(3, 3, 3, seed);
    content.extend(seed.to_le_bytes());
    content
}

/// A folder of 300 pictures in another one.
fn many_pictures() -> TempDir {
    let names: Vec<String> = (0..300).map(|i| format!("pictures/{i:03}.png")).collect();
    let files: Vec<(&str, Vec<u8>)> =
        names.iter().zip(0..).map(|(name, i)| (name.as_str(), unlike(i))).collect();
    folder(&files)
}

#[test]
fn pictures_that_change_under_an_import_are_noticed() {
    let dir = many_pictures();
    let source = dir.path().join("pictures");
    let out = dir.path().join("set.h5");
    let go_on = || import(&source, &out, import_config(false), false);
    let (_, first) = stopped_import(&source, &out);

    let one = source.join(&first[3]);
    let former = fs::read(&one).unwrap();
    let modified = fs::metadata(&one).unwrap().modified().unwrap();
    fs::write(&one, unlike(1000)).unwrap();
    expect(go_on(), &[&first[3], "changed after it was imported", "set.h5.part", "remove"]);
    // The same bytes at the same time are the same file.
    fs::write(&one, former).unwrap();
    File::options().write(true).open(&one).unwrap().set_modified(modified).unwrap();

    fs::write(source.join("new.png"), unlike(1000)).unwrap();
    expect(go_on(), &["set.h5.part", "other pictures", "\"new.png\" was not there then", "remove"]);
    fs::rename(source.join("new.png"), dir.path().join("new.png")).unwrap();
    fs::rename(&one, dir.path().join("gone.png")).unwrap();
    expect(go_on(), &[&format!("{:?} was there then", first[3])]);
    fs::rename(dir.path().join("gone.png"), &one).unwrap();
    assert_eq!(go_on().unwrap().resumed, 256);
    assert_eq!(images(&out), images(&dir.path().join("whole.h5")));
    assert!(!dir.path().join("set.h5.part").exists());
}

#[test]
fn an_archive_that_is_packed_anew_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, out) = (dir.path().join("set.zip"), dir.path().join("set.h5"));
    let shares = import_config(false).shares;
    let pack = |changed: Option<usize>, last: &[u8]| {
        let content = |i| unlike(if changed == Some(i) { 1000 } else { i });
        let mut files: Vec<(String, Vec<u8>)> =
            (0..300).map(|i| (format!("{i:03}.png"), content(i))).collect();
        let mut names = (0..).map(|i| format!("last-{i}.png"));
        let name = names.find(|name| shares.split_of(name) == Split::Test).unwrap();
        files.push((name, last.to_vec()));
        let files: Vec<(&str, &[u8])> = files.iter().map(|(n, c)| (&**n, &**c)).collect();
        zip_file(&archive, &files);
    };
    let go_on = || import(&archive, &out, import_config(false), false);
    // Pictures of test come last: the damaged one is not in the first block.
    let bad = unlike(2000);
    pack(None, &bad[..20]);
    let error = go_on().unwrap_err();
    assert!(matches!(error, DataError::Picture(_)), "{error}");
    let record = dir.path().join("set.h5.part/000000.pictures.json");
    assert!(record.is_file());
    let trained = |i: &usize| shares.split_of(&format!("{i:03}.png")) == Split::Train;
    let one = (0..300).find(trained).unwrap();
    pack(Some(one), &bad);
    expect(go_on(), &["set.zip", &format!("{one:03}.png"), "changed", "CRC-32"]);
    pack(None, &bad);
    assert_eq!(go_on().unwrap().resumed, 256);
    assert_eq!(images(&out).len(), 301);
}

#[test]
fn a_test_picture_that_is_mended_is_still_kept_from_training() {
    let dir = many_pictures();
    let source = dir.path().join("pictures");
    let out = dir.path().join("set.h5");
    let (last, first) = stopped_import(&source, &out);
    // What was damaged becomes a picture that training has taken in the meantime.
    fs::copy(source.join(&first[0]), source.join(&last)).unwrap();
    let report = import(&source, &out, import_config(false), false).unwrap();
    assert_eq!(report.resumed, 0);
    let [(name, reason)] = &report.skipped[..] else { panic!("{report:?}") };
    assert!(*name == first[0] && reason.contains("the same file is a test picture"), "{reason}");
    assert!(images(&out).contains_key(&last));
}

#[test]
fn files_of_others_stay() {
    let dir = folder(&[
        ("pictures/a.png", png_file(3, 3, 3, 1)),
        ("set.h5.part/letter.txt", b"dear".to_vec()),
    ]);
    let (source, out) = (dir.path().join("pictures"), dir.path().join("set.h5"));
    let import = |out: &Path| import(&source, out, import_config(false), false);
    let letter = dir.path().join("set.h5.part/letter.txt");
    expect(import(&out), &["set.h5.part", "\"letter.txt\"", "no import.json", "move it away"]);
    assert_eq!(fs::read(&letter).unwrap(), b"dear");
    fs::write(dir.path().join("set.h5.part/import.json"), r#"{"name": "mine"}"#).unwrap();
    expect(import(&out), &["import.json", "unknown field `name`", "move the folder away"]);
    assert!(!out.exists());

    // Put there after the import has started.
    fs::remove_file(&letter).unwrap();
    fs::remove_file(dir.path().join("set.h5.part/import.json")).unwrap();
    let damaged = source.join("b.png");
    fs::write(&damaged, "no picture").unwrap();
    expect(import(&out), &["b.png"]);
    fs::write(&letter, "dear").unwrap();
    fs::write(dir.path().join("set.h5.part/.000000.pixels.a1.part"), "half").unwrap();
    fs::write(&damaged, png_file(3, 3, 3, 2)).unwrap();
    import(&out).unwrap();
    let left: Vec<_> = fs::read_dir(dir.path().join("set.h5.part")).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read(&letter).unwrap(), b"dear");

    let nowhere = dir.path().join("no/set.h5");
    expect(import(&nowhere), &["no/set.h5.part", "its directory exists"]);
    assert!(!dir.path().join("no").exists());
}

#[test]
fn a_source_without_pictures_is_named_with_the_endings() {
    let dir = folder(&[("a/notes.txt", b"no picture".to_vec()), ("a/.hidden.png", vec![])]);
    let archive = dir.path().join("set.zip");
    zip_file(&archive, &[("notes.txt", b"no picture")]);
    for source in [dir.path(), &archive] {
        let shown = source.to_string_lossy();
        let out = dir.path().join("set.h5");
        let words = [
            &*shown,
            "no pictures were found",
            ".png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp",
            "folders below",
        ];
        expect(import(source, &out, import_config(false), false), &words);
    }
}

/// A configuration that leaves the test split to test pictures, and two folders of pictures: twelve for
/// training and validation, the last of which is also one of the three for test.
fn beside_test_pictures() -> (ImportConfig, TempDir, TempDir) {
    let shares = Shares { train: 60.0, validation: 40.0, test: 0.0, seed: 5 };
    let pictures = pictures();
    let files: Vec<(&str, Vec<u8>)> =
        pictures.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    let test = [
        // A name of the others with another content.
        ("cat/0.png", png_file(7, 7, 3, 100)),
        ("dog/other.png", png_file(7, 7, 3, 101)),
        ("eel/copy.png", pictures[11].1.clone()),
    ];
    (ImportConfig { shares, ..import_config(true) }, folder(&files), folder(&test))
}

#[test]
fn test_pictures_can_have_a_source_of_their_own() {
    let (config, others, test) = beside_test_pictures();
    let out = others.path().join("set.h5");
    let import = |path: &Path| Import::open(path, Some(test.path()), &out, config.clone()).unwrap();
    let report = import(others.path()).run(false, provenance(), &|_| ()).unwrap();
    let [(name, reason)] = &report.skipped[..] else { panic!("{report:?}") };
    assert!(name == "eel/11.png" && reason.contains("the same file is a test picture"), "{reason}");

    let reader = DataSetReader::open(&out).unwrap();
    let of = |split: Split| {
        let set = reader.read(split).unwrap();
        let images = reader.image_sources(split).unwrap().into_iter().enumerate();
        let image = |(image, index): (usize, u32)| {
            let name = reader.sources()[index as usize].name.clone();
            (name, (bytes_of(&set, image), set.labels().unwrap()[image]))
        };
        images.map(image).collect::<BTreeMap<String, (Vec<u8>, u32)>>()
    };
    let (train, validation) = (of(Split::Train), of(Split::Validation));
    assert_eq!(train.len() + validation.len(), 11);
    let mut expected_test = BTreeMap::new();
    for (name, class) in [("cat/0.png", 0), ("dog/other.png", 1), ("eel/copy.png", 2)] {
        let content = fs::read(test.path().join(name)).unwrap();
        expected_test.insert(name.to_owned(), (expected(&content), class));
    }
    assert_eq!(of(Split::Test), expected_test);
    let first = train.get("cat/0.png").or(validation.get("cat/0.png")).unwrap();
    assert_eq!(*first, (expected(&pictures()[0].1), 0));
    let record = reader.config().unwrap();
    assert_eq!(record["test_source"]["pictures"], 3);
    let name = test.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(record["test_source"]["name"], name);

    // Nothing would be left to train on.
    let all = import(test.path()).run(false, provenance(), &|_| ());
    expect(all, &["for training is 0", "test picture"]);
}

#[test]
fn an_import_with_test_pictures_goes_on() {
    let (config, others, test) = beside_test_pictures();
    let out = others.path().join("set.h5");
    let import = |config: &ImportConfig, test: Option<&Path>| {
        Import::open(others.path(), test, &out, config.clone())?.run(false, provenance(), &|_| ())
    };
    let damaged = test.path().join("dog/other.png");
    let content = fs::read(&damaged).unwrap();
    fs::write(&damaged, &content[..20]).unwrap();
    expect(import(&config, Some(test.path())), &["dog/other.png", "PNG"]);
    let alone = ImportConfig { shares: import_config(true).shares, ..config.clone() };
    expect(
        import(&alone, None),
        &["set.h5.part", "another import", "\"shares.test\" is 0.0, here 20.0"],
    );
    fs::write(&damaged, &content).unwrap();
    let report = import(&config, Some(test.path())).unwrap();
    assert_eq!((report.skipped.len(), images_of(&out, Split::Test)), (1, 3));
}

fn images_of(path: &Path, split: Split) -> usize {
    DataSetReader::open(path).unwrap().summary(split).unwrap().images
}

#[test]
fn test_pictures_have_the_classes_of_the_others() {
    let (config, others, test) = beside_test_pictures();
    let out = others.path().join("set.h5");
    let open = |config: &ImportConfig| {
        Import::open(others.path(), Some(test.path()), &out, config.clone()).map(drop)
    };
    let with_test_share = ImportConfig { shares: import_config(true).shares, ..config.clone() };
    expect(open(&with_test_share), &["test share", "is 20", "90:10:0"]);
    fs::rename(test.path().join("eel"), test.path().join("emu")).unwrap();
    expect(open(&config), &[&*test.path().to_string_lossy(), "\"emu\"", "same folders"]);
    fs::remove_dir_all(test.path().join("emu")).unwrap();
    expect(open(&config), &["\"eel\"", "same folders"]);
    open(&ImportConfig { labels: false, ..config.clone() }).unwrap();
    for (dog, fits) in [(2, true), (3, false)] {
        let labels = format!(r#"{{"labels": [["cat/0.png", 0], ["dog/other.png", {dog}]]}}"#);
        fs::write(test.path().join("dataset.json"), labels).unwrap();
        match open(&config) {
            Ok(()) => assert!(fits, "class {dog}"),
            error => expect(error, &["largest class", "is 3", "is 2"]),
        }
    }
}

#[test]
fn a_limit_takes_the_first_of_each_split() {
    let (config, others, test) = beside_test_pictures();
    let [all, few] = ["all.h5", "few.h5"].map(|name| others.path().join(name));
    for (out, limit) in [(&all, None), (&few, Some(2))] {
        let config = ImportConfig { limit, ..config.clone() };
        let import = Import::open(others.path(), Some(test.path()), out, config).unwrap();
        // That of all pictures.
        import.require_classes(3).unwrap();
        let (reads, told) = (import.reads(), AtomicUsize::new(0));
        let progress = |count| {
            told.fetch_add(count, Ordering::Relaxed);
        };
        import.run(false, provenance(), &progress).unwrap();
        assert_eq!(told.into_inner(), reads);
    }
    let [all, few] = [all, few].map(|path| DataSetReader::open(&path).unwrap());
    for split in Split::ALL {
        let (all, few) = (all.read(split).unwrap(), few.read(split).unwrap());
        // The copy of a test picture may be among the first.
        assert!((1..=2).contains(&few.len()), "{split}");
        assert_eq!(few.to_signed(0), all.to_signed(0), "{split}");
    }
}

#[test]
fn a_summary_is_that_of_the_images() {
    // The training split takes more than one block of reading.
    let sources: Vec<ImageSource> = [(Split::Train, "a"), (Split::Test, "b")]
        .map(|(split, name)| ImageSource { split, name: name.to_owned() })
        .into();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("set.h5");
    let shape = Shape { channels: 3, height: 2, width: 3 };
    let mut writer = DataSetWriter::create(&path, shape, sources, &"a test", provenance()).unwrap();
    let labels: Vec<u32> = (0..2500).map(|i| i % 7).collect();
    writer.start_split(Split::Train, &[0; 2500], Some(&labels)).unwrap();
    writer.start_split(Split::Test, &[1; 3], None).unwrap();
    let pixels: Vec<u8> = (0..2500 * shape.len()).map(|i| (i * i / 5 % 256) as u8).collect();
    writer.append(Split::Train, &pixels).unwrap();
    writer.append(Split::Test, &pixels[..3 * shape.len()]).unwrap();
    writer.finish().unwrap();
    let reader = DataSetReader::open(&path).unwrap();
    for (split, images, classes) in [(Split::Train, 2500, Some(7)), (Split::Test, 3, None)] {
        let (summary, set) = (reader.summary(split).unwrap(), reader.read(split).unwrap());
        assert_eq!((summary.images, summary.shape, summary.classes), (images, shape, classes));
        let (mean, deviation) = set.mean_and_deviation();
        assert!(
            (summary.mean - mean).abs() < 1e-14 && (summary.deviation - deviation).abs() < 1e-14
        );
        assert_eq!(summary.provenance, *set.provenance());
    }
    expect(reader.summary(Split::Validation), &["set.h5", "no images"]);
}

#[test]
fn what_the_system_cannot_read_is_not_left_out() {
    let good = png_file(3, 3, 3, 1);
    let dir = folder(&[("a.png", good.clone()), ("b.png", good.clone()), ("c.png", vec![])]);
    let out = dir.path().join("set.h5");
    let open = || Import::open(dir.path(), None, &out, import_config(false)).unwrap();
    let stopped = open();
    fs::remove_file(dir.path().join("b.png")).unwrap();
    let error = stopped.run(true, provenance(), &|_| ()).unwrap_err();
    assert!(matches!(error, DataError::Io(_)), "{error}");
    fs::write(dir.path().join("b.png"), good).unwrap();
    let report = open().run(true, provenance(), &|_| ()).unwrap();
    assert_eq!(report.skipped.len(), 1, "{report:?}");
    assert_eq!(images(&out).len(), 2);
}

#[test]
fn images_can_be_grey() {
    let dir = tempfile::tempdir().unwrap();
    let pictures = dir.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    fs::write(pictures.join("grey.png"), png_file(6, 9, 1, 1)).unwrap();
    let colour = png_file(9, 6, 3, 2);
    fs::write(pictures.join("colour.png"), &colour).unwrap();
    let out = dir.path().join("set.h5");
    let config = ImportConfig { grey: true, ..import_config(false) };
    import(&pictures, &out, config, false).unwrap();
    let images = images(&out);
    let square = Raster::decode(Path::new("colour.png"), &colour).unwrap().centre_square();
    assert_eq!(images["colour.png"].1, lanczos(&square.to_grey(), 4, 4).bytes());
    assert_eq!(images["grey.png"].1.len(), 4 * 4);
}

#[test]
fn a_file_of_many_names_is_in_one_split() {
    let (many, once) = (png_file(5, 5, 3, 1), png_file(5, 5, 3, 2));
    let mut files: Vec<(String, Vec<u8>)> =
        (0..60).map(|i| (format!("{i}.png"), many.clone())).collect();
    files.extend((60..90).map(|i| {
        let mut content = once.clone();
        content.push(i);
        (format!("{i}.png"), content)
    }));
    let named: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(name, content)| (&**name, content.clone())).collect();
    let dir = folder(&named);
    let out = dir.path().join("set.h5");
    let report = import(dir.path(), &out, import_config(false), false).unwrap();
    let reader = DataSetReader::open(&out).unwrap();
    let is_copy = |name: &str| name.strip_suffix(".png").unwrap().parse::<u8>().unwrap() < 60;
    let splits: BTreeSet<Split> = reader
        .sources()
        .iter()
        .filter(|source| is_copy(&source.name))
        .map(|source| source.split)
        .collect();
    assert_eq!(splits, [Split::Test].into());
    assert_eq!(reader.sources().len() + report.skipped.len(), 90);
    assert!(report.skipped.iter().all(|(name, reason)| {
        is_copy(name) && reason.contains("the same file is a test picture")
    }));
}

#[test]
fn bad_files_are_named_or_left_out() {
    let good = png_file(5, 5, 3, 1);
    let other = png_file(5, 5, 3, 2);
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("bad.zip");
    let out = dir.path().join("set.h5");
    let files: [(&str, &[u8]); 8] = [
        ("good.png", &good),
        ("good2.png", &other),
        ("cut.png", &good[..40]),
        ("empty.png", b""),
        ("../../out.png", &good),
        ("tab\t.png", &good),
        ("twice.png", &good),
        ("twice.png", &good),
    ];
    zip_file(&archive, &files);
    let report = import(&archive, &out, import_config(false), true).unwrap();
    let skipped: BTreeMap<String, String> = report.skipped.into_iter().collect();
    for (name, reason) in [
        ("cut.png", "damaged"),
        ("empty.png", "empty"),
        ("../../out.png", "out of the archive"),
        ("tab\t.png", "tab"),
        ("twice.png", "twice"),
    ] {
        assert!(skipped[name].contains(reason) && skipped[name].contains(name), "{skipped:?}");
        let alone: Vec<(&str, &[u8])> =
            files.into_iter().filter(|(n, _)| *n == name || *n == "good.png").collect();
        zip_file(&archive, &alone);
        let _ = fs::remove_dir_all(dir.path().join("set.h5.part"));
        expect(import(&archive, &out, import_config(false), false), &["bad.zip", name, reason]);
    }
    assert_eq!(skipped.len(), 5);
    let kept: BTreeSet<String> = images(&out).into_keys().collect();
    assert_eq!(kept, ["good.png", "good2.png"].map(str::to_owned).into());
}

#[test]
fn files_packed_in_other_ways_are_not_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("set.zip");
    zip_file(&archive, &[("a.png", &png_file(5, 5, 3, 1))]);
    let packed = fs::read(&archive).unwrap();
    let central = packed.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    // Bit 0 of the flags is encryption; method 6 is that of PKZIP before 2.0, which nobody unpacks.
    for (at, value, why) in [(8, 1, "Password"), (10, 6, "method")] {
        let mut other = packed.clone();
        other[central + at] = value;
        fs::write(&archive, other).unwrap();
        let read = PictureSource::open(&archive).unwrap().read("a.png");
        expect(read, &["set.zip/a.png", why, "stored or deflated and without a password"]);
    }
}

#[test]
fn bad_sources_and_labels_are_named() {
    let good = png_file(5, 5, 3, 1);
    let dir = folder(&[("a.png", good.clone()), ("b/c.png", good.clone())]);
    let out = dir.path().join("set.h5");
    let labelled = || import(dir.path(), &out, import_config(true), false);
    expect(labelled(), &["a.png", "no folder", "dataset.json"]);
    for (text, problem) in [
        ("{", "EOF"),
        (r#"{"labels": [["a.png", 0]]}"#, "b/c.png"),
        (r#"{"labels": [["a.png", null]]}"#, "null"),
        (r#"{"labels": [["a.png", -1], ["b/c.png", 0]]}"#, "-1"),
    ] {
        fs::write(dir.path().join("dataset.json"), text).unwrap();
        expect(labelled(), &["dataset.json", problem, "classes from 0 on"]);
    }
    fs::write(dir.path().join("dataset.json"), r#"{"labels": null}"#).unwrap();
    expect(labelled(), &["a.png", "no folder"]);
    let nowhere = Path::new("nowhere/set.zip");
    expect(import(nowhere, &out, import_config(false), false), &["nowhere/set.zip", "check"]);
    let text = dir.path().join("dataset.json");
    expect(import(&text, &out, import_config(false), false), &["no readable ZIP", "folder"]);
    let none = ImportConfig { size: 0, ..import_config(false) };
    expect(import(dir.path(), &out, none, false), &["side", "at least 1"]);
    assert!(!out.exists() && !dir.path().join("set.h5.part").exists());

    let bad = folder(&[("a.png", b"nothing".to_vec())]);
    expect(import(bad.path(), &out, import_config(false), true), &["every picture", "reasons"]);
}

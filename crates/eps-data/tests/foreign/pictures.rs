//! TIFF and BMP of other programs, to the last bit.

use std::fs;
use std::path::Path;

use eps_data::array_file::is_picture;
use eps_data::{Array, Raster, Split};

use crate::{expect, file, import};

const HEIGHT: usize = 3;
const WIDTH: usize = 5;

const TIFFS: [&str; 13] = [
    "grey.tif",
    "grey-16.tif",
    "grey-alpha.tif",
    "grey-white-is-zero.tif",
    "rgb-lzw.tif",
    "rgb-packbits.tif",
    "rgba-deflate.tif",
    "rgb-16-big-endian.tif",
    "rgb-big-tiff.tif",
    "rgb-planes.tif",
    "rgb-tiles.tif",
    "thumbnail.tif",
    "two-pages.tif",
];

const BMPS: [&str; 7] = [
    "grey.bmp",
    "palette.bmp",
    "rgb.bmp",
    "rgb-os2.bmp",
    "rgb-top-down.bmp",
    "rgba.bmp",
    "rgba-fields.bmp",
];

/// A byte of `rgb` in `write_files.py`.
fn byte(row: usize, column: usize, channel: usize) -> u8 {
    ((row * 83 + column * 31 + channel * 67) % 256) as u8
}

fn channels(name: &str) -> usize {
    if name.starts_with("grey") { 1 } else { 3 }
}

#[test]
fn tiff_and_bmp_are_read_to_the_bit() {
    for name in TIFFS.into_iter().chain(BMPS).filter(|name| *name != "two-pages.tif") {
        let channels = channels(name);
        let (array, notes) = Array::read_with_notes(&file(name), "y").unwrap();
        assert_eq!(array.dims, [channels, HEIGHT, WIDTH], "{name}");
        let raster = Raster::decode(&file(name), &fs::read(file(name)).unwrap()).unwrap();
        assert_eq!((raster.width(), raster.height(), raster.channels()), (WIDTH, HEIGHT, channels));
        for (index, (value, shown)) in array.values.iter().zip(raster.planes()).enumerate() {
            let (channel, pixel) = (index / (HEIGHT * WIDTH), index % (HEIGHT * WIDTH));
            let stored = byte(pixel / WIDTH, pixel % WIDTH, channel);
            // All 16 bits are kept.
            let (expected, rounded) = if name.contains("16") {
                let deep = 256 * u32::from(stored) + 7;
                (f64::from(deep) / 32767.5 - 1.0, ((deep + 128) / 257) as u8)
            } else {
                (f64::from(stored) / 127.5 - 1.0, stored)
            };
            assert_eq!((*value, shown), (expected, rounded), "{name} {index}");
        }
        assert_eq!(notes, [""; 0], "{name}");
    }
}

#[test]
fn tiff_and_bmp_of_other_kinds_are_refused_with_what_to_do() {
    for (name, words) in [
        ("two-pages.tif", ["2 pages", "one page", "[N, 1, H, W]"]),
        ("float.tif", ["Gray(32), their bits", "8-bit or 16-bit", "`eps data arrays`"]),
        ("extra.tif", ["green and blue (1 more)", "transparency", "8-bit or 16-bit"]),
        ("cmyk.tif", ["CMYK", "8-bit or 16-bit grey or RGB", "convert"]),
        ("clear.tif", ["row 0, column 0", "transparent", "flatten"]),
        ("clear.bmp", ["row 0, column 0", "transparent", "flatten"]),
    ] {
        if name != "float.tif" {
            expect(Array::read(&file(name), "y"), &[&[name][..], &words].concat());
        }
        let content = fs::read(file(name)).unwrap();
        expect(Raster::decode(&file(name), &content), &words);
    }
    let mut packed = fs::read(file("grey.bmp")).unwrap();
    packed[30] = 1;
    let refused = Raster::decode(Path::new("a.bmp"), &packed);
    expect(refused, &["a.bmp", "8 bits a pixel and compression 1", "as a PNG"]);
}

/// No picture, and the numbers that tifffile was given.
#[test]
fn a_tiff_of_floats_is_an_array() {
    let path = file("float.tif");
    assert!(!is_picture(&path) && is_picture(&file("grey-16.tif")));
    let Array { dims, values } = Array::read(&path, "y").unwrap();
    assert_eq!(dims, [HEIGHT, WIDTH]);
    for (index, value) in values.iter().enumerate() {
        assert_eq!(*value, f64::from(byte(index / WIDTH, index % WIDTH, 0)), "{index}");
    }
}

#[test]
fn every_truncation_of_tiff_and_bmp_is_noticed() {
    for name in TIFFS.into_iter().chain(BMPS) {
        let whole = fs::read(file(name)).unwrap();
        // What lies behind the pixels, such as a program's name, is not needed.
        let decoded = Raster::decode(Path::new(name), &whole).ok();
        for length in 0..whole.len() {
            let cut = Raster::decode(Path::new(name), &whole[..length]);
            assert!(cut.is_err() || cut.ok() == decoded, "{name} cut to {length}");
        }
    }
}

#[test]
fn no_changed_byte_of_tiff_and_bmp_ends_the_program() {
    for name in TIFFS.into_iter().chain(BMPS) {
        let whole = fs::read(file(name)).unwrap();
        for at in 0..whole.len().min(600) {
            for value in [0, 1, 0x7f, 0xff, whole[at] ^ 0x80] {
                let mut changed = whole.clone();
                changed[at] = value;
                // Either is fine: a changed pixel is a pixel.
                let _ = Raster::decode(Path::new(name), &changed);
            }
        }
    }
}

#[test]
fn tiff_and_bmp_that_announce_too_much_are_refused_by_their_headers() {
    let mut bmp = fs::read(file("rgb.bmp")).unwrap();
    bmp[18..22].copy_from_slice(&30_000_i32.to_le_bytes());
    bmp[22..26].copy_from_slice(&30_000_i32.to_le_bytes());
    let words = ["30000 x 30000 pixels", "at most 268435456", "cut it"];
    expect(Raster::decode(Path::new("a.bmp"), &bmp), &words);

    let mut tiff = fs::read(file("rgb-lzw.tif")).unwrap();
    let directory = u32::from_le_bytes(*tiff[4..].first_chunk().unwrap()) as usize;
    // Width, height and rows of a strip are tags 256, 257 and 278, each with one long.
    for entry in tiff[directory + 2..].chunks_exact_mut(12) {
        if [256, 257, 278].contains(&u16::from_le_bytes([entry[0], entry[1]])) {
            entry[2..12].copy_from_slice(&[4, 0, 1, 0, 0, 0, 0x30, 0x75, 0, 0]);
        }
    }
    expect(Raster::decode(Path::new("a.tif"), &tiff), &words);
}

#[test]
fn tiff_and_bmp_are_imported() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    for name in ["rgb-lzw.tif", "rgb.bmp", "grey-16.tif"] {
        fs::copy(file(name), pictures.join(name.to_uppercase())).unwrap();
    }
    let out = folder.path().join("out.h5");
    let report = import(&pictures, &out).unwrap();
    assert_eq!((report.rounded, report.skipped.len()), (1, 0));
    let reader = eps_data::DataSetReader::open(&out).unwrap();
    let images = Split::ALL.into_iter().filter_map(|split| reader.read(split).ok());
    assert_eq!(images.map(|set| set.len()).sum::<usize>(), 3);
}

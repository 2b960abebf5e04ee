//! What is written is read back bit for bit.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use eps_data::archive::holds_antithetic_pairs;
use eps_data::array_file::{ArrayFile, is_array, is_picture};
use eps_data::idx::{IdxArray, read_idx};
use eps_data::mask::read_mask;
use eps_data::measurement::dense_sizes;
use eps_data::npy::{NpyValues, read_npy, read_npz, write_npy};
use eps_data::operator_file::{read_kernel, read_operator};
use eps_data::png::{Picture, encode_png, magnify, mosaic, read_png, write_png};
use eps_data::range::value_of_byte;
use eps_data::{
    ArchiveReader, ArchiveWriter, Array, ImageProvenance, ImageSet, MeasurementSet, SampleArchive,
    Unit,
};
use eps_math::faer::Mat;
use eps_math::operator::{Border, LinearMap, OperatorSpec};
use eps_math::{Noise, Shape};
use proptest::prelude::*;
use serde_json::json;

fn provenance() -> ImageProvenance {
    ImageProvenance {
        name: "a test".into(),
        source: "made by the test, σ = ½".into(),
        licence: "MIT".into(),
        sha256: "ab".repeat(32),
    }
}

fn shape(channels: usize, height: usize, width: usize) -> Shape {
    Shape { channels, height, width }
}

/// Values without a pattern, in [-1, 1), all 53 bits in use.
fn values(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        })
        .collect()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

// ---------------------------------------------------------------------------------------- images

#[test]
fn an_image_set_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images.h5");
    let pixels: Vec<u8> = (0..3 * 2 * 5 * 4).map(|i| (i * 37 % 256) as u8).collect();
    let set = ImageSet::new(shape(2, 5, 4), pixels, provenance()).unwrap();
    set.write(&path).unwrap();
    assert_eq!(ImageSet::read(&path).unwrap(), set);
    assert_eq!(set.len(), 3);
    let bytes = set.pixels().bytes().unwrap();
    assert_eq!(set.to_signed(2)[0], f64::from(bytes[80]) / 127.5 - 1.0);
}

#[test]
fn images_of_values_keep_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images.h5");
    let values: Vec<f32> = (0..3 * 2 * 5 * 4).map(|i| (i as f32 / 60.0 - 1.0).sin()).collect();
    let set = ImageSet::new(shape(2, 5, 4), values.clone(), provenance()).unwrap();
    set.write(&path).unwrap();
    assert_eq!(ImageSet::read(&path).unwrap(), set);
    assert_eq!((set.pixels().size(), set.pixels().bytes()), (480, None));
    let image: Vec<f64> = values[80..].iter().map(|v| f64::from(*v)).collect();
    assert_eq!(set.to_signed(2), image);
    let (mean, deviation) = set.mean_and_deviation();
    let of_all = |f: &dyn Fn(f64) -> f64| {
        values.iter().map(|v| f(f64::from(*v))).sum::<f64>() / values.len() as f64
    };
    let expected = of_all(&|v| v);
    assert!((mean - expected).abs() < 1e-15);
    assert!((deviation - of_all(&|v| (v - expected).powi(2)).sqrt()).abs() < 1e-15);
}

// ------------------------------------------------------------------------------------------- IDX

/// An IDX file, gzip or not.
fn idx_file(array: &IdxArray, gzip: bool) -> Vec<u8> {
    use std::io::Write as _;
    let mut file = vec![0, 0, 8, array.dims.len() as u8];
    file.extend(array.dims.iter().flat_map(|&dim| (dim as u32).to_be_bytes()));
    file.extend(&array.data);
    if !gzip {
        return file;
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&file).unwrap();
    encoder.finish().unwrap()
}

proptest! {
    #[test]
    fn idx_is_read(dims in prop::collection::vec(0_usize..5, 0..4), gzip: bool, seed: u8) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(if gzip { "a.gz" } else { "a.idx" });
        let n: usize = dims.iter().product();
        let data = (0..n).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
        let array = IdxArray { dims, data };
        std::fs::write(&path, idx_file(&array, gzip)).unwrap();
        prop_assert_eq!(read_idx(&path).unwrap(), array);
    }

    #[test]
    fn any_bytes_as_idx_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.idx");
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = read_idx(&path) {
            prop_assert!(error.to_string().contains("a.idx"));
        }
    }
}

// ------------------------------------------------------------------------------------------- NPY

/// An NPY file as NumPy writes it, of any version and type.
fn npy_file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY".to_vec();
    file.extend([version, 0]);
    match version {
        1 => file.extend((header.len() as u16).to_le_bytes()),
        _ => file.extend((header.len() as u32).to_le_bytes()),
    }
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn read_bytes(bytes: &[u8]) -> Array {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    std::fs::write(&path, bytes).unwrap();
    read_npy(&path).unwrap()
}

#[test]
fn every_number_type_of_numpy_is_read() {
    let le = |bytes: &[u8]| bytes.to_vec();
    let be = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
    // One value for each type, as little-endian bytes, with what it stands for.
    let cases: [(&str, Vec<u8>, f64); 12] = [
        ("b1", vec![1], 1.0),
        ("u1", vec![200], 200.0),
        ("i1", vec![0x9c], -100.0),
        ("u2", 60_000_u16.to_le_bytes().into(), 60_000.0),
        ("i2", (-30_000_i16).to_le_bytes().into(), -30_000.0),
        ("u4", 4_000_000_000_u32.to_le_bytes().into(), 4e9),
        ("i4", (-2_000_000_000_i32).to_le_bytes().into(), -2e9),
        ("u8", (1_u64 << 60).to_le_bytes().into(), (1_u64 << 60) as f64),
        ("i8", (-(1_i64 << 60)).to_le_bytes().into(), -((1_u64 << 60) as f64)),
        // 0xc100 is −2.5 in half precision: sign 1, exponent 16 − 15, mantissa 1.25.
        ("f2", vec![0x00, 0xc1], -2.5),
        ("f4", 0.1_f32.to_le_bytes().into(), f64::from(0.1_f32)),
        ("f8", 0.1_f64.to_le_bytes().into(), 0.1),
    ];
    for (kind, bytes, expected) in cases {
        for version in 1..=3 {
            for (order, data) in [("<", le(&bytes)), (">", be(&bytes))] {
                let header = format!(
                    "{{'descr': '{order}{kind}', 'fortran_order': False, 'shape': (1,), }}\n"
                );
                let array = read_bytes(&npy_file(version, &header, &data));
                assert_eq!(array, Array { dims: vec![1], values: vec![expected] }, "{header}");
            }
        }
    }
}

#[test]
fn fortran_order_and_odd_headers_are_read() {
    // a[i, j, k] = 100 i + 10 j + k for the shape (2, 3, 2), i fastest in the file.
    let mut data = Vec::new();
    let mut expected = Vec::new();
    for k in 0..2 {
        for j in 0..3 {
            data.extend((0..2).map(|i| 100 * i + 10 * j + k));
        }
    }
    for i in 0..2 {
        for j in 0..3 {
            expected.extend((0..2).map(|k| f64::from(100 * i + 10 * j + k)));
        }
    }
    let data: Vec<u8> = data.into_iter().collect();
    let header = "{\"shape\": (2L,3L,2L), 'fortran_order':True,'descr':\"|u1\"}";
    let array = read_bytes(&npy_file(1, header, &data));
    assert_eq!(array, Array { dims: vec![2, 3, 2], values: expected });

    let scalar =
        npy_file(2, "{'descr': '<f8', 'fortran_order': True, 'shape': ()}", &0.5_f64.to_le_bytes());
    assert_eq!(read_bytes(&scalar), Array { dims: vec![], values: vec![0.5] });
}

#[test]
fn npy_is_written_as_numpy_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    write_npy(&path, &[3], NpyValues::U8(&[1, 2, 3])).unwrap();
    // numpy.save("a.npy", numpy.array([1, 2, 3], "u1")) of NumPy 2.4.6 writes these 131 bytes.
    let mut expected =
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }"
            .to_vec();
    expected.resize(127, b' ');
    expected.extend(b"\n\x01\x02\x03");
    assert_eq!(std::fs::read(&path).unwrap(), expected);
}

proptest! {
    #[test]
    fn npy_comes_back(dims in prop::collection::vec(0_usize..5, 0..5), seed: u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let data = values(dims.iter().product(), seed);
        write_npy(&path, &dims, NpyValues::F64(&data)).unwrap();
        let array = read_npy(&path).unwrap();
        prop_assert_eq!(&array.dims, &dims);
        prop_assert_eq!(bits(&array.values), bits(&data));

        let single: Vec<f32> = data.iter().map(|&v| v as f32).collect();
        write_npy(&path, &dims, NpyValues::F32(&single)).unwrap();
        let array = read_npy(&path).unwrap();
        prop_assert!(array.values.iter().zip(&single).all(|(&a, &b)| a == f64::from(b)));
    }

    #[test]
    fn any_header_gives_an_answer(header in "[{}()',:<>|a-z0-9 LTF]{0,60}", data: [u8; 8]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        std::fs::write(&path, npy_file(1, &header, &data)).unwrap();
        if let Err(error) = read_npy(&path) {
            prop_assert!(error.to_string().contains("a.npy"));
        }
    }
}

#[test]
fn npz_is_read_stored_and_deflated() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npz");
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    let data: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut writer = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    for (name, method) in [
        ("truth.npy", zip::CompressionMethod::Stored),
        ("samples.npy", zip::CompressionMethod::Deflated),
    ] {
        let options = zip::write::FileOptions::default().compression_method(method);
        writer.start_file(name, options).unwrap();
        writer.write_all(&npy_file(1, header, &data)).unwrap();
    }
    writer.finish().unwrap();

    let expected = Array { dims: vec![2], values: vec![1.5, -2.0] };
    let arrays = read_npz(&path).unwrap();
    assert_eq!(arrays, [("truth".into(), expected.clone()), ("samples".into(), expected.clone())]);
    assert_eq!(Array::read(&path, "samples").unwrap(), expected);
}

/// What is no number in other arrays of a file does not matter, and a name with # in it stays one.
#[test]
fn an_array_is_named_after_its_file() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut writer = zip::ZipWriter::new(std::fs::File::create(path("a.npz")).unwrap());
    let of = |shape: &str, data: &[f64]| {
        let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}");
        npy_file(1, &header, &data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    };
    let text = "{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }";
    for (name, content) in [
        ("y.npy", of("2, 1", &[1.0, 2.0])),
        ("psf.npy", of("2, 1, 2", &[1.0, 0.0, 0.25, 0.75])),
        ("about.npy", npy_file(1, text, b"a\0\0\0")),
        ("gaps.npy", of("1,", &[f64::NAN])),
    ] {
        writer.start_file(name, zip::write::FileOptions::default()).unwrap();
        writer.write_all(&content).unwrap();
    }
    writer.finish().unwrap();
    let file = hdf5::File::create(path("a.h5")).unwrap();
    for (name, value) in [("y", 1.0), ("other", 2.0), ("scan/1/kspace", 3.0)] {
        let dataset = file.new_dataset::<f64>().shape([1, 1]).create(name).unwrap();
        dataset.write_raw(&[value]).unwrap();
    }
    drop(file);
    let read = |name: &str| Array::read(&path(name), "y").unwrap();
    assert_eq!(read("a.npz").values, [1.0, 2.0]);
    assert_eq!(read("a.npz#psf").dims, [2, 1, 2]);
    for (name, value) in [("a.h5", 1.0), ("a.h5#other", 2.0), ("a.h5#scan/1/kspace", 3.0)] {
        assert_eq!(read(name), Array { dims: vec![1, 1], values: vec![value] }, "{name}");
    }
    assert_eq!(read("a.h5#/scan/1/kspace").values, [3.0]);

    // A kernel by the name of its array, its number, and both.
    let kernel = |name: &str| read_kernel(&path(name), "kernel", None).unwrap();
    assert_eq!(kernel("a.h5#other"), [[2.0]]);
    assert_eq!(kernel("a.npz#psf#1"), [[0.25, 0.75]]);
    write_npy(&path("stack.npy"), &[2, 1, 2], NpyValues::F64(&[1.0, 0.0, 0.5, 0.5])).unwrap();
    assert_eq!(kernel("stack.npy#1"), [[0.5, 0.5]]);
    let json = path("operator.json");
    for file in
        [r#""a.npz#psf#1""#, r#""a.npz#psf", "index": 1"#, r#""a.npz", "array": "psf", "index": 1"#]
    {
        let text = format!(r#"{{"operator": "convolution", "kernel": {{"file": {file}}}}}"#);
        std::fs::write(&json, text).unwrap();
        let OperatorSpec::Convolution { kernel, .. } = read_operator(&json).unwrap() else {
            panic!("{file}");
        };
        assert_eq!(kernel, [[0.25, 0.75]], "{file}");
    }

    // In a list each file is one kernel, of one or of many.
    write_npy(&path("one.npy"), &[1, 2], NpyValues::F64(&[0.5, 0.5])).unwrap();
    let list = r#"[{"file": "one.npy"}, {"file": "a.npz#psf#1"}, {"file": "one.npy#0"}, [[1, 0]]]"#;
    let text = format!(r#"{{"operator": "channel-convolution", "kernels": {list}}}"#);
    std::fs::write(&json, &text).unwrap();
    let OperatorSpec::ChannelConvolution { kernels, .. } = read_operator(&json).unwrap() else {
        panic!("{text}");
    };
    assert_eq!(kernels, [[[0.5, 0.5]], [[0.25, 0.75]], [[0.5, 0.5]], [[1.0, 0.0]]]);
    std::fs::write(&json, text.replacen("one.npy", "stack.npy", 1)).unwrap();
    let error = read_operator(&json).unwrap_err().to_string();
    assert!(error.contains("stack.npy: it holds 2 kernels; choose one"), "{error}");

    // An array whose name is a number.
    let mut writer = zip::ZipWriter::new(std::fs::File::create(path("num.npz")).unwrap());
    for (name, value) in [("0", 1.0), ("1", 2.0), ("kernel", 3.0)] {
        let options = zip::write::FileOptions::default();
        writer.start_file(format!("{name}.npy"), options).unwrap();
        writer.write_all(&of("2, 1, 1", &[value, 4.0])).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(kernel("num.npz#1#0"), [[2.0]]);
    assert_eq!(kernel("num.npz#kernel#1"), [[4.0]]);
    let error = read_kernel(&path("num.npz#1"), "kernel", None).unwrap_err().to_string();
    assert!(error.contains("it holds 2 kernels"), "{error}");
    let file = hdf5::File::create(path("num.h5")).unwrap();
    for (name, value) in [("0", 1.0), ("1", 2.0), ("2", 3.0)] {
        let dataset = file.new_dataset::<f64>().shape([1, 1]).create(name).unwrap();
        dataset.write_raw(&[value]).unwrap();
    }
    drop(file);
    assert_eq!(kernel("num.h5#1"), [[2.0]]);

    // Files and folders whose names have a # in them.
    std::fs::create_dir(path("run#1.h5")).unwrap();
    for name in ["a#1.npy", "a.h5#y", "run#1.h5/a.h5"] {
        std::fs::copy(path(if name.ends_with("npy") { "stack.npy" } else { "a.h5" }), path(name))
            .unwrap();
    }
    assert_eq!(read("a#1.npy").dims, [2, 1, 2]);
    assert_eq!(kernel("a#1.npy#0"), [[1.0, 0.0]]);
    assert_eq!(read("run#1.h5/a.h5#other").values, [2.0]);
    // This one is there, and its ending is none.
    assert!(Array::read(&path("a.h5#y"), "y").is_err());
    let of = ArrayFile::of(Path::new("no#folder/a.h5#g/y"));
    assert_eq!(of.file, Path::new("no#folder/a.h5"));
    assert_eq!(of.array.as_deref(), Some("g/y"));
    assert!(is_array(Path::new("a.mat#x")) && !is_picture(Path::new("a.mat#x")));
}

// ------------------------------------------------------------------------------------------- PNG

#[test]
fn a_picture_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");
    for channels in [1, 3] {
        let shape = shape(channels, 3, 5);
        let bytes = (0..shape.len()).map(|i| (i * 53 % 256) as u8);
        let picture = Picture { shape, values: bytes.map(value_of_byte).collect() };
        write_png(&path, shape, &picture.values).unwrap();
        assert_eq!(read_png(&path).unwrap(), picture);
        assert_eq!(
            Array::read(&path, "").unwrap(),
            Array { dims: vec![channels, 3, 5], values: picture.values }
        );
    }
}

/// A PNG file of any kind, for what this crate reads but does not write.
fn foreign_png(
    path: &Path,
    size: (u32, u32),
    colour: png::ColorType,
    depth: png::BitDepth,
    data: &[u8],
) {
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), size.0, size.1);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == png::ColorType::Indexed {
        encoder.set_palette(vec![0, 0, 0, 255, 128, 0]);
    }
    encoder.write_header().unwrap().write_image_data(data).unwrap();
}

#[test]
fn sixteen_bits_palettes_single_bits_and_opaque_alpha_are_read() {
    use png::{BitDepth, ColorType};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");

    foreign_png(&path, (3, 1), ColorType::Grayscale, BitDepth::Sixteen, &[0, 0, 255, 255, 0, 1]);
    let picture = read_png(&path).unwrap();
    assert_eq!(picture.shape, shape(1, 1, 3));
    assert_eq!(picture.values, [-1.0, 1.0, 1.0 / 32767.5 - 1.0]);

    foreign_png(&path, (2, 1), ColorType::Indexed, BitDepth::Eight, &[1, 0]);
    let picture = read_png(&path).unwrap();
    assert_eq!(picture.shape, shape(3, 1, 2));
    assert_eq!(picture.values, [1.0, -1.0, value_of_byte(128), -1.0, -1.0, -1.0]);

    foreign_png(&path, (3, 1), ColorType::Grayscale, BitDepth::One, &[0b1010_0000]);
    assert_eq!(read_png(&path).unwrap().values, [1.0, -1.0, 1.0]);
    let mask = read_mask(&path).unwrap();
    assert_eq!((mask.height, mask.width, mask.observed), (1, 3, vec![1, 0, 1]));

    foreign_png(&path, (2, 1), ColorType::GrayscaleAlpha, BitDepth::Eight, &[7, 255, 9, 255]);
    let picture = read_png(&path).unwrap();
    assert_eq!(picture.shape, shape(1, 1, 2));
    assert_eq!(picture.values, [value_of_byte(7), value_of_byte(9)]);
}

#[test]
fn values_are_clipped_into_bytes() {
    let bytes = encode_png(shape(1, 1, 4), &[-1.5, 1.5, 0.0, f64::INFINITY]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(read_png(&path).unwrap().values, [-1.0, 1.0, value_of_byte(128), 1.0]);
}

#[test]
fn a_mosaic_has_gaps_and_empty_cells_of_white() {
    let dark = Picture { shape: shape(1, 1, 2), values: vec![-1.0, -0.5] };
    let grey = Picture { shape: shape(1, 1, 2), values: vec![0.0, 0.25] };
    let whole = mosaic(&[Some(&dark), None, Some(&grey)], 2, 1);
    assert_eq!(whole.shape, shape(1, 3, 5));
    #[rustfmt::skip]
    assert_eq!(whole.values, [
        -1.0, -0.5, 1.0, 1.0, 1.0,
         1.0,  1.0, 1.0, 1.0, 1.0,
         0.0, 0.25, 1.0, 1.0, 1.0,
    ]);
    let large = magnify(&Picture { shape: shape(2, 1, 2), values: vec![1.0, 2.0, 3.0, 4.0] }, 2);
    assert_eq!(large.shape, shape(2, 2, 4));
    #[rustfmt::skip]
    assert_eq!(large.values, [
        1.0, 1.0, 2.0, 2.0,
        1.0, 1.0, 2.0, 2.0,
        3.0, 3.0, 4.0, 4.0,
        3.0, 3.0, 4.0, 4.0,
    ]);
}

// -------------------------------------------------------------------------------------- archives

fn archive(samples_per_image: usize) -> SampleArchive {
    let shape = shape(2, 3, 4);
    let n = 3 * samples_per_image * shape.len();
    let samples = values(n, 1).iter().map(|&v| v as f32).collect();
    let config = json!({ "sigma_y": 0.1, "note": "σ".repeat(10_000), "seeds": [1, 2, 3] });
    SampleArchive::new(shape, samples_per_image, samples, config, provenance()).unwrap()
}

#[test]
fn mean_and_deviation_are_those_of_the_samples() {
    let samples = vec![1.0, 10.0, 2.0, 20.0, 6.0, 30.0];
    let archive =
        SampleArchive::new(shape(1, 1, 2), 3, samples.clone(), json!({}), provenance()).unwrap();
    assert_eq!(archive.len(), 1);
    assert_eq!(archive.posterior_mean(), [3.0, 20.0]);
    // Squares (4 + 1 + 9) / 2 = 7 and (100 + 0 + 100) / 2 = 100.
    assert_eq!(archive.posterior_sd(), [7.0_f32.sqrt(), 10.0]);
    let single = SampleArchive::new(shape(1, 1, 2), 1, samples, json!({}), provenance()).unwrap();
    assert_eq!(single.len(), 3);
    assert_eq!(single.posterior_sd(), [0.0; 6]);
}

/// The deviation of antithetic pairs from samples of different pairs, over all of them, and half the difference of a single one.
#[test]
fn the_deviation_of_antithetic_pairs_is_that_of_independent_samples() {
    let of = |samples: &[f32]| {
        let count = samples.len();
        SampleArchive::new(shape(1, 1, 1), count, samples.to_vec(), json!({}), provenance())
            .unwrap()
            .antithetic()
    };
    let expected = |samples: &[f32]| {
        let (mut sum, mut count) = (0.0, 0.0);
        for (i, a) in samples.iter().enumerate() {
            for (j, b) in samples.iter().enumerate().filter(|(j, _)| j / 2 != i / 2) {
                assert_ne!(i, j);
                sum += f64::from(a - b).powi(2) / 2.0;
                count += 1.0;
            }
        }
        (sum / count).sqrt()
    };
    let samples = [1.0_f32, -0.75, 0.5, 0.125, -0.25, 0.875, 0.375];
    for count in [3, 4, 5, 6, 7] {
        let archive = of(&samples[..count]);
        assert!(archive.is_antithetic());
        let found = f64::from(archive.posterior_sd()[0]);
        // Values of f32.
        assert!((found - expected(&samples[..count])).abs() < 1e-6, "{count}: {found}");
    }
    assert_eq!(of(&samples[..2]).posterior_sd(), [0.875]);
    assert_eq!(of(&samples[..1]).posterior_sd(), [0.0]);
    // All alike, whose squares do not sum to exactly 0.
    assert!(of(&[0.1; 6]).posterior_sd()[0] < 1e-7);
}

#[test]
fn antithetic_pairs_come_back_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("samples.h5");
    let pairs = archive(4).antithetic();
    let writer = ArchiveWriter::create(&path).unwrap();
    writer.add("pairs", &pairs).unwrap();
    writer.add("independent", &archive(4)).unwrap();
    writer.finish().unwrap();
    let reader = ArchiveReader::open(&path).unwrap();
    assert_eq!(reader.read("pairs").unwrap(), pairs);
    assert!(!reader.read("independent").unwrap().is_antithetic());
    assert!(holds_antithetic_pairs(&path, "pairs").unwrap());
    assert!(!holds_antithetic_pairs(&path, "independent").unwrap());
}

#[test]
fn one_archive_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("samples.h5");
    let archive = archive(2);
    let archive = archive.clone().with_truth(archive.posterior_mean().to_vec()).unwrap();
    archive.write(&path).unwrap();
    assert_eq!(SampleArchive::read(&path).unwrap(), archive);
    assert_eq!(ArchiveReader::open(&path).unwrap().groups().unwrap(), ["/"]);
    let samples = Array::read(&path, "samples").unwrap();
    assert_eq!(samples.dims, [3, 2, 2, 3, 4]);
    assert!(samples.values.iter().zip(archive.samples()).all(|(&a, &b)| a == f64::from(b)));
}

#[test]
fn configurations_of_every_length_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("samples.h5");
    // Quotes and the brackets of {"n":""} take 8 bytes; 65,000 is the longest text.
    for length in [0, 247, 248, 249, 4087, 4088, 4089, 64_991, 64_992] {
        let config = json!({ "n": "x".repeat(length) });
        let archive =
            SampleArchive::new(shape(1, 1, 1), 1, vec![0.5], config, provenance()).unwrap();
        archive.write(&path).unwrap();
        assert_eq!(SampleArchive::read(&path).unwrap(), archive, "{length}");
    }
    let config = json!({ "n": "x".repeat(64_993) });
    let archive = SampleArchive::new(shape(1, 1, 1), 1, vec![0.5], config, provenance()).unwrap();
    let error = archive.write(&path).unwrap_err().to_string();
    assert!(error.contains("\"config\" is 65001") && error.contains("shorten it"), "{error}");
}

#[test]
fn several_archives_come_back_and_appear_only_when_finished() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("samples.h5");
    let writer = ArchiveWriter::create(&path).unwrap();
    writer.add("box/eps-20", &archive(2)).unwrap();
    writer.add("box/mmse", &archive(1)).unwrap();
    let error = writer.add("box/mmse", &archive(1)).unwrap_err().to_string();
    assert!(error.contains("box/mmse") && error.contains("samples.h5"), "{error}");
    assert!(!path.exists());
    writer.finish().unwrap();

    let reader = ArchiveReader::open(&path).unwrap();
    assert_eq!(reader.groups().unwrap(), ["box/eps-20", "box/mmse"]);
    assert_eq!(reader.read("box/eps-20").unwrap(), archive(2));
    assert_eq!(reader.read("box/mmse").unwrap(), archive(1));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    drop({
        let unfinished = ArchiveWriter::create(&dir.path().join("other.h5")).unwrap();
        unfinished.add("box", &archive(1)).unwrap();
        unfinished
    });
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

// ---------------------------------------------------------------------------------- measurements

fn rows(values: &[f64], columns: usize) -> Vec<Vec<f64>> {
    values.chunks_exact(columns).map(<[f64]>::to_vec).collect()
}

/// Every family, shared and by image, for three images of 2 × 6 × 8.
fn families() -> Vec<Vec<OperatorSpec>> {
    let mask = |seed| OperatorSpec::Mask {
        observed: values(48, seed).iter().map(|&v| u8::from(v > 0.0)).collect(),
    };
    let motion = |length, angle_degrees| OperatorSpec::MotionBlur {
        length,
        angle_degrees,
        border: Border::Circular,
    };
    let separable = |seed| OperatorSpec::Separable {
        vertical: rows(&values(3 * 6, seed), 6),
        horizontal: rows(&values(4 * 8, seed + 1), 8),
    };
    let dense = |seed| OperatorSpec::Dense { matrix: rows(&values(5 * 96, seed), 96) };
    let kernel = OperatorSpec::CircularBlur { kernel: rows(&values(2 * 5, 9), 5) };
    vec![
        vec![mask(1)],
        vec![mask(1), mask(2), mask(3)],
        vec![OperatorSpec::AveragePool { factor: 2 }],
        vec![OperatorSpec::GaussianBlur { sigma_blur: 0.75, taps: 5, border: Border::Circular }],
        vec![motion(1, 0.0), motion(3, 0.1), motion(5, 123.456)],
        vec![kernel],
        vec![separable(1)],
        vec![separable(2), separable(3), separable(4)],
        vec![dense(1)],
        vec![dense(2), dense(3), dense(4)],
    ]
}

#[test]
fn measurements_of_every_family_come_back_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("y.h5");
    let shape = shape(2, 6, 8);
    for operators in families() {
        let range = operators[0].build(shape).unwrap().range();
        let y = values(3 * range.len(), 7);
        let truth = values(3 * shape.len(), 8);
        let set = MeasurementSet::new(shape, y, operators.clone(), 0.05, provenance())
            .unwrap()
            .with_seed(u64::MAX)
            .with_truth(truth)
            .unwrap();
        set.write(&path).unwrap();
        let dense = matches!(operators[0], OperatorSpec::Dense { .. });
        assert_eq!(dense_sizes(&path).unwrap(), dense.then_some([operators.len(), 5, 96]));
        let read = MeasurementSet::read(&path).unwrap();

        assert_eq!(read.shape(), shape);
        assert_eq!(read.range(), range);
        assert_eq!(bits(read.y()), bits(set.y()));
        assert_eq!(bits(read.truth().unwrap()), bits(set.truth().unwrap()));
        assert_eq!(read.sigma_y().to_bits(), 0.05_f64.to_bits());
        assert_eq!(read.seed(), Some(u64::MAX));
        assert_eq!(read.provenance(), set.provenance());

        // The operators that come back measure the same bits as those that were given.
        for index in 0..3 {
            let given = &operators[index % operators.len()].build(shape).unwrap();
            let x = &set.truth().unwrap()[..shape.len()];
            assert_eq!(bits(&read.operator(index).apply(x)), bits(&given.apply(x)));
            assert_eq!(read.spec(index), set.spec(index));
            assert_eq!(read.measurement(index).len(), range.len());
        }
    }
}

/// Operators by their descriptions, one an image: they come back as they were, and so does what they make of an image.
#[test]
fn described_operators_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("y.h5");
    let maps = |seed: u64| {
        let plane = |seed| values(6, seed).chunks(3).map(<[f64]>::to_vec).collect::<Vec<_>>();
        json!([[plane(seed), plane(seed + 1)], [plane(seed + 2), plane(seed + 3)]])
    };
    let scaled = |factor: f64| json!({"operator": "scale", "factor": factor, "of": {"operator": "bayer", "pattern": "gbrg"}});
    for (shape, of_images) in [
        (
            shape(2, 2, 3),
            [1, 9].map(|seed| json!({"operator": "coils", "maps": maps(seed), "mask": [[1, 0, 1], [1, 1, 0]]})),
        ),
        (shape(3, 2, 3), [0.1, -3.0].map(scaled)),
        (
            shape(3, 2, 3),
            [1.5, 0.7].map(|r| json!({"operator": "channel-convolution", "kernels": [{"disc": {"radius": r}}, [[1]], [[0.5, 0.5]]]})),
        ),
        (
            shape(1, 4, 3),
            [2, 3].map(|r| json!({"operator": "varying-blur", "kernels": [{"gaussian": {"sigma": r}}, [[1]]],
                "windows": {"grid": [2, 1]}, "border": "reflect"})),
        ),
        (
            shape(1, 3, 3),
            [0.1, 0.4].map(|u| json!({"operator": "nonuniform-fourier", "points": [[u, 0.3], [0, u]]})),
        ),
        (shape(1, 3, 3), [7, 8].map(|seed| json!({"operator": "gaussian-matrix", "rows": 4, "seed": seed}))),
        (shape(1, 3, 3), [7, 8].map(|seed| json!({"operator": "walsh-hadamard", "rows": 4, "seed": seed}))),
        (
            shape(1, 2, 2),
            [1, 2].map(|n| json!({"operator": "stack", "of": [{"operator": "pad", "top": 1, "bottom": 0, "left": 0, "right": 1},
                {"operator": "sum", "of": [{"operator": "weights", "weights": [n, 0, 0, 1]}, {"operator": "weights", "weights": [0, 0, 0, n]}]}]})),
        ),
    ] {
        let specs: Vec<OperatorSpec> =
            of_images.into_iter().map(|json| serde_json::from_value(json).unwrap()).collect();
        let range = specs[0].prepare(shape).unwrap().range();
        let y = values(2 * range.len(), 4);
        let set = MeasurementSet::new(shape, y, specs.clone(), 0.1, provenance()).unwrap();
        set.write(&path).unwrap();
        let again = MeasurementSet::read(&path).unwrap();
        let x = values(shape.len(), 5);
        for (index, spec) in specs.iter().enumerate() {
            assert_eq!(again.spec(index), spec);
            assert_eq!(bits(again.measurement(index)), bits(set.measurement(index)));
            let seen = |set: &MeasurementSet| bits(&set.operator(index).apply(&x));
            assert_eq!(seen(&again), seen(&set));
        }
        assert_ne!(again.operator(0).apply(&x), again.operator(1).apply(&x));
    }
}

#[test]
fn matrices_are_decomposed_where_no_eigenbasis_is_known_in_closed_form() {
    let shape = shape(3, 2, 2);
    for (json, without_noise, with_noise) in [
        (json!({"operator": "grey"}), false, true),
        (json!({"operator": "average-pool", "factor": 2}), false, false),
        (
            json!({"operator": "convolution", "kernel": [[0.2, 0.5, 0.3]], "border": "zero"}),
            true,
            true,
        ),
    ] {
        let spec: OperatorSpec = serde_json::from_value(json.clone()).unwrap();
        let y = values(spec.prepare(shape).unwrap().range().len(), 4);
        for (sigma_y, is_decomposed) in [(0.0, without_noise), (0.1, with_noise)] {
            let specs = vec![spec.clone()];
            let set = MeasurementSet::new(shape, y.clone(), specs, sigma_y, provenance()).unwrap();
            assert_eq!(set.decomposed().unwrap().is_some(), is_decomposed, "{json} at {sigma_y}");
        }
    }
}

/// A mask that was told by a seed is kept pixel by pixel, so that older programs read it and no seed has to last.
#[test]
fn a_random_mask_is_kept_by_its_pixels() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("y.h5");
    let shape = shape(1, 5, 5);
    let told = |seed: u64| -> OperatorSpec {
        serde_json::from_value(json!({"operator": "random-mask", "missing": 0.6, "seed": seed}))
            .unwrap()
    };
    let set = MeasurementSet::new(shape, values(50, 4), vec![told(1), told(2)], 0.1, provenance())
        .unwrap();
    set.write(&path).unwrap();
    let again = MeasurementSet::read(&path).unwrap();
    for index in 0..2 {
        let OperatorSpec::Mask { observed } = again.spec(index) else { panic!("a mask") };
        assert_eq!(observed.iter().filter(|seen| **seen == 0).count(), 15);
        let built = told(1 + index as u64).build(shape).unwrap();
        assert_eq!(&built.spec(), again.spec(index));
    }
    assert_ne!(again.spec(0), again.spec(1));
    // Behind others too.
    let chain: OperatorSpec = serde_json::from_value(json!({"operator": "chain", "of": [
        {"operator": "pad", "top": 1, "bottom": 0, "left": 0, "right": 0},
        {"operator": "scale", "factor": 2, "of": {"operator": "random-mask", "missing": 0.5, "seed": 3}}]}))
    .unwrap();
    let x = values(25, 6);
    let expected = chain.prepare(shape).unwrap().apply(&x);
    let set = MeasurementSet::new(shape, values(30, 4), vec![chain], 0.1, provenance()).unwrap();
    assert!(!serde_json::to_string(set.spec(0)).unwrap().contains("random-mask"));
    assert_eq!(set.operator(0).apply(&x), expected);
}

/// Noise of every law, for all images or for each, is what it was; a file of one number stays of version 1.
#[test]
fn noise_of_every_law_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("y.h5");
    let (shape, m) = (shape(2, 2, 4), 16);
    let sigmas = |seed| -> Vec<f64> { values(m, seed).iter().map(|v| 0.1 + v.abs()).collect() };
    let mut gap = sigmas(1);
    gap[3] = f64::INFINITY;
    let lower = Mat::from_fn(m, m, |i, j| match i.cmp(&j) {
        std::cmp::Ordering::Less => 0.0,
        std::cmp::Ordering::Equal => 0.5 + 0.1 * i as f64,
        std::cmp::Ordering::Greater => 0.1 / (i + j) as f64,
    });
    let variances = vec![0.3, 0.2, 0.1, 0.2, 0.3, 0.2, 0.1, 0.2];
    let uniform = |sigma| Noise::uniform(sigma).unwrap();
    let entries = |sigmas| Noise::entries(sigmas).unwrap();
    let laws = [
        vec![uniform(0.1), uniform(0.2), uniform(0.4)],
        vec![entries(sigmas(1))],
        vec![entries(gap), uniform(0.2), entries(sigmas(2))],
        vec![Noise::factor(&lower).unwrap()],
        vec![Noise::spectrum(shape, variances).unwrap()],
    ];
    let mask = || vec![OperatorSpec::Mask { observed: vec![1; 8] }];
    for (number, noises) in laws.into_iter().enumerate() {
        let mut y = values(3 * m, 7);
        // A value of a factor's measurement is missing.
        if number == 3 {
            y[20] = f64::NAN;
        }
        let set = MeasurementSet::with_noise(shape, y, mask(), noises, provenance()).unwrap();
        assert!(!set.is_white());
        set.write(&path).unwrap();
        let version = hdf5::File::open(&path).unwrap().attr("format_version").unwrap();
        assert_eq!(version.read_scalar::<u64>().unwrap(), 2);
        let read = MeasurementSet::read(&path).unwrap();
        assert_eq!(bits(read.y()), bits(set.y()), "law {number}");
        assert_eq!(read.sigma_y().to_bits(), set.sigma_y().to_bits(), "law {number}");
        assert_eq!(read.missing(), set.missing(), "law {number}");
        for index in 0..3 {
            let ((a, y), (b, z)) = (set.whitened(index), read.whitened(index));
            assert_eq!(bits(&y), bits(&z), "law {number}");
            assert_eq!(
                bits(&a.apply(&values(m, 9))),
                bits(&b.apply(&values(m, 9))),
                "law {number}"
            );
        }
    }
    // Without noise a missing value is one that the operator does not measure.
    let mut y = values(m, 1);
    y[3] = f64::NAN;
    let blur = OperatorSpec::CircularBlur { kernel: vec![vec![0.25, 0.5, 0.25]] };
    let pixels = OperatorSpec::AveragePool { factor: 1 };
    for spec in [pixels, mask().remove(0), blur] {
        let set = MeasurementSet::new(shape, y.clone(), vec![spec], 0.0, provenance()).unwrap();
        set.write(&path).unwrap();
        let read = MeasurementSet::read(&path).unwrap();
        for set in [&set, &read] {
            assert_eq!((set.sigma_y(), set.missing(), set.y()[3]), (0.0, 0, 0.0));
            let seen = set.operator(0).apply(&values(m, 9));
            assert!(seen.iter().enumerate().all(|(i, value)| (*value == 0.0) == (i == 3)));
        }
    }
    let set = MeasurementSet::new(shape, values(m, 1), mask(), 0.0, provenance()).unwrap();
    set.write(&path).unwrap();
    assert_eq!(MeasurementSet::read(&path).unwrap().sigma_y(), 0.0);
    let version = hdf5::File::open(&path).unwrap().attr("format_version").unwrap();
    assert_eq!(version.read_scalar::<u64>().unwrap(), 1);
}

/// Measurements in an instrument's unit come back as those of images on [-1, 1], to rounding.
#[test]
fn units_of_instruments_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("y.h5");
    let shape = shape(1, 6, 6);
    let unit = || Unit { name: "1/cm".to_owned(), offset: 0.2, scale: 0.05 };
    let spec = OperatorSpec::Radon { angles_degrees: vec![0.0, 30.0, 75.0], axis: Some(1.5) };
    let operator = spec.prepare(shape).unwrap();
    let m = operator.range().len();
    let truth = values(shape.len(), 1);
    let x: Vec<f64> = truth.iter().map(|x| 0.2 + 0.05 * x).collect();
    let y = operator.apply(&x);
    let noise = Noise::entries((1..=m).map(|i| 0.001 * i as f64).collect()).unwrap();
    let set =
        MeasurementSet::in_unit(shape, y, vec![spec], vec![noise], unit(), provenance()).unwrap();
    let near = |a: &[f64], b: &[f64]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12 * b.abs().max(1.0))
    };
    assert!(near(set.y(), &operator.apply(&truth)));
    let set = set.with_truth(truth.clone()).unwrap();
    set.write(&path).unwrap();
    let file = hdf5::File::open(&path).unwrap();
    let stored = file.dataset("truth").unwrap().read_raw::<f64>().unwrap();
    assert!(near(&stored, &x));
    assert!(file.attr("range").is_err() && file.attr("sigma_y_255").is_err());
    let read = MeasurementSet::read(&path).unwrap();
    assert_eq!(read.unit(), Some(&unit()));
    assert!(near(read.y(), set.y()) && near(read.truth().unwrap(), &truth));
    // The i-th of m deviations, over the scale.
    assert!((read.noise(0).largest_sigma() - 0.02 * m as f64).abs() < 1e-12);
    let wrong = Unit { scale: 0.0, ..unit() };
    let pool = vec![OperatorSpec::AveragePool { factor: 1 }];
    let noise = vec![Noise::uniform(0.1).unwrap()];
    let error = MeasurementSet::in_unit(shape, vec![0.0; 36], pool, noise, wrong, provenance());
    assert!(error.unwrap_err().to_string().contains("scale of the unit is 0"));
}

#[test]
fn seed_and_truth_may_be_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("y.h5");
    let pool = vec![OperatorSpec::AveragePool { factor: 2 }];
    let set = MeasurementSet::new(shape(1, 4, 4), values(4, 1), pool, 0.1, provenance()).unwrap();
    set.write(&path).unwrap();
    let read = MeasurementSet::read(&path).unwrap();
    assert_eq!((read.seed(), read.truth()), (None, None));
}

// ---------------------------------------------------------------------------------- the data set

#[test]
fn the_committed_test_images_are_the_official_ones() {
    use eps_data::Split;
    use eps_data::fashion_mnist::load;
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist");
    let set = load(Split::Test, &[&committed]).unwrap();
    assert_eq!(set.len(), 10_000);
    assert_eq!(set.shape(), shape(1, 28, 28));
    let elsewhere = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let error = load(Split::Train, &[elsewhere]).unwrap_err().to_string();
    assert!(
        error.contains("train-images-idx3-ubyte.gz")
            && error.contains("`cargo xtask fetch fashion-mnist`"),
        "{error}"
    );
}

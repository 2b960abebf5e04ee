//! Files of MATLAB and complex numbers of NumPy: kernels, and k-space as pairs of channels; operators that name such files.

use std::fs;

use eps_data::mat::read_mat;
use eps_data::operator_file::{read_kernel, read_operator};
use eps_data::operator_memory::{memory_note, require_memory};
use eps_data::{Array, DataError};
use eps_math::Shape;
use eps_math::operator::{LinearMap as _, OperatorSpec};

use crate::{expect, file};

fn rows(rows: usize, columns: usize, over: f64) -> Vec<Vec<f64>> {
    (0..rows).map(|r| (0..columns).map(|c| (r * columns + c) as f64 / over).collect()).collect()
}

#[test]
fn kernels_of_a_cell_are_read_by_their_number() {
    for name in ["kernels.mat", "kernels-73.mat"] {
        let path = file(name);
        assert_eq!(read_kernel(&path, "kernel", Some(0)).unwrap(), rows(2, 3, 8.0), "{name}");
        assert_eq!(read_kernel(&path, "kernels", Some(1)).unwrap(), rows(2, 2, 4.0), "{name}");
        expect(read_kernel(&path, "kernel", Some(2)), &[name, "no entry 2, there are 2", "from 0"]);
        expect(read_kernel(&path, "kernel", None), &[name, "2 kernels", "FILE#3", "index"]);
        expect(Array::read(&path, "kernels"), &[name, "a cell of 2 arrays"]);
        let named = |array: &str| file(&format!("{name}#{array}"));
        assert_eq!(read_kernel(&named("1"), "kernel", None).unwrap(), rows(2, 2, 4.0), "{name}");
        let by_both = read_kernel(&named("kernels#1"), "kernel", None);
        assert_eq!(by_both.unwrap(), rows(2, 2, 4.0), "{name}");
        let words = [name, "no array \"psf\" among [\"kernels\"]", "FILE#NAME"];
        expect(read_kernel(&named("psf"), "kernel", None), &words);
    }
    // A field of a structure is no variable of version 5.
    let field = file("kernels-73.mat#nothing/kernel");
    expect(read_kernel(&field, "kernel", None), &["no array \"nothing/kernel\""]);
}

/// Of the number 2j + c of a plane of three rows and two columns of two, real and imaginary part.
fn pairs() -> Array {
    let value = |i: usize| i as f64;
    let plane = |start: usize, by: f64| (start..start + 6).map(move |i| by * value(i));
    let values =
        [0, 6].into_iter().flat_map(|start| plane(start, 1.0).chain(plane(start, -3.0))).collect();
    Array { dims: vec![4, 3, 2], values }
}

#[test]
fn complex_numbers_are_pairs_of_channels() {
    for name in ["complex.npy", "complex.mat", "complex.h5", "complex-73.mat"] {
        assert_eq!(Array::read(&file(name), "y").unwrap(), pairs(), "{name}");
    }
    let plane = Array::read(&file("complex-plane.npy"), "y").unwrap();
    assert_eq!((&plane.dims[..], &plane.values[..]), (&[2, 3, 2][..], &pairs().values[..12]));
}

/// Cut off anywhere, or with any byte changed, the answer is an error or an array, and the error names the file.
#[test]
fn damaged_files_of_matlab_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.mat");
    let read = |bytes: &[u8]| -> Result<(), DataError> {
        fs::write(&path, bytes).unwrap();
        read_mat(&path).map(drop)
    };
    for name in ["kernels.mat", "complex.mat"] {
        let whole = fs::read(file(name)).unwrap();
        for length in 0..whole.len() {
            if let Err(error) = read(&whole[..length]) {
                assert!(error.to_string().contains("damaged.mat"), "{error}");
            } else {
                // Between two variables.
                assert!(length >= 128, "{name} {length}");
            }
        }
        for at in 124..whole.len() {
            for byte in [0, 1, 0x7F, 0xFF] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                if let Err(error) = read(&bytes) {
                    assert!(error.to_string().contains("damaged.mat"), "{error}");
                }
            }
        }
    }
    expect(
        read(b"no such file"),
        &["damaged.mat", "MAT file of version 5 or 7.3", "save it again"],
    );
    // An array that announces more than there is.
    let mut bytes = fs::read(file("complex.mat")).unwrap();
    let dims = bytes.windows(12).position(|w| w == [2, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0]).unwrap();
    bytes[dims..dims + 12].fill(0xFF);
    expect(read(&bytes), &["damaged.mat", "overflow"]);
    bytes[dims..dims + 12].copy_from_slice(&[2, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0]);
    expect(read(&bytes), &["damaged.mat", "[2, 3, 9] has 12 values"]);
}

#[test]
fn a_description_names_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("operator.json");
    for name in ["kernels.mat", "complex.npy", "complex-plane.npy", "boolean.npy"] {
        fs::copy(file(name), folder.path().join(name)).unwrap();
    }
    let read = |json: &str| {
        fs::write(&path, json).unwrap();
        read_operator(&path)
    };
    let kernel = r#"{"operator": "convolution", "kernel": {"file": "kernels.mat", "index": 1}}"#;
    let OperatorSpec::Convolution { kernel, .. } = read(kernel).unwrap() else { panic!() };
    assert_eq!(kernel, rows(2, 2, 4.0));
    let both = r#"{"operator": "channel-convolution", "kernels": {"file": "kernels.mat"}}"#;
    let OperatorSpec::ChannelConvolution { kernels, .. } = read(both).unwrap() else { panic!() };
    assert_eq!(kernels, [rows(2, 3, 8.0), rows(2, 2, 4.0)]);
    let mixed = r#"{"operator": "channel-convolution", "border": "zero", "kernels": [{"disc": {"radius": 0.4}},
        {"file": "kernels.mat", "index": 1}]}"#;
    let OperatorSpec::ChannelConvolution { kernels, .. } = read(mixed).unwrap() else { panic!() };
    assert_eq!(kernels, [rows(1, 1, 1.0).iter().map(|_| vec![1.0]).collect(), rows(2, 2, 4.0)]);

    let complex = r#"{"operator": "convolution", "kernel": {"file": "complex-plane.npy"}}"#;
    let error = read(complex).unwrap_err().to_string();
    assert!(error.contains("complex-plane.npy") && error.contains("a kernel is real"), "{error}");
    assert!(error.contains("<c8") || error.contains("<c16"), "{error}");
    // As Python writes what is no number.
    let bare = r#"{"operator": "convolution", "border": "zero", "kernel": [[1, 2], [-0.5, NaN]]}"#;
    let error = read(bare).unwrap_err().to_string();
    assert!(error.contains("\"NaN\" at row 1, column 1"), "{error}");
    let quoted = r#"{"operator": "convolution", "kernel": {"file": "a \"NaN\" kernels.mat"}}"#;
    assert!(read(quoted).unwrap_err().to_string().contains("a \"NaN\" kernels.mat"));

    let coils = r#"{"operator": "chain", "of": [{"operator": "coils", "maps": {"file": "complex.npy"},
        "mask": [[1, 0], [1, 1], [0, 1]]}]}"#;
    let coils = read(coils).unwrap();
    let prepared = coils.prepare(Shape::new(2, 3, 2).unwrap()).unwrap();
    assert_eq!(prepared.range(), Shape::new(4, 3, 2).unwrap());
    // The frequency 0 of the first coil sees the sum of its map.
    let seen = prepared.apply(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert!((seen[0] - 15.0 / 6f64.sqrt()).abs() < 1e-14, "{seen:?}");
    assert!((seen[6] + 45.0 / 6f64.sqrt()).abs() < 1e-14, "{seen:?}");
    let mask = r#"{"operator": "fourier", "mask": {"file": "boolean.npy"}}"#;
    let OperatorSpec::Fourier { mask } = read(mask).unwrap() else { panic!() };
    assert_eq!(mask, [[0, 1, 0, 1]; 3]);
    let flat = r#"{"operator": "mask", "observed": {"file": "boolean.npy"}}"#;
    let OperatorSpec::Mask { observed } = read(flat).unwrap() else { panic!() };
    assert_eq!(observed, [0, 1].repeat(6));

    for (json, words) in [
        (r#"{"operator": "convolution", "kernel": {"file": "gone.npy"}}"#, "gone.npy"),
        (r#"{"operator": "convolution", "kernel": {"file": 3}}"#, "needed is a name"),
        (
            r#"{"operator": "convolution", "kernel": {"file": "kernels.mat", "index": -1}}"#,
            "from 0",
        ),
        (r#"{"operator": "convolution", "kernel": {"file": "kernels.mat", "at": 1}}"#, "known are"),
        (r#"{"operator": "convolution", "kernel": {"file": "kernels.mat"}}"#, "2 kernels"),
        (r#"{"operator": "coils", "mask": [[1]], "maps": {"file": "boolean.npy"}}"#, "[2K, H, W]"),
        (r#"{"operator": "fourier", "mask": {"file": "complex.npy"}}"#, "operator.json"),
        (r#"{"operator": "convolution", "kernel": {"disc": {"radius": 0}}}"#, "positive"),
        (r#"{"operator": "convolution", "#, "operator.json"),
    ] {
        expect(read(json), &[words]);
    }
}

#[test]
fn a_random_matrix_beyond_memory_is_refused_with_its_need() {
    let spec = OperatorSpec::GaussianMatrix { rows: 1 << 40, seed: 0 };
    let shape = Shape::new(3, 1024, 1024).unwrap();
    expect(require_memory(&spec, shape), &["gaussian-matrix", "GB", "walsh-hadamard"]);
    let spec = OperatorSpec::GaussianMatrix { rows: 10, seed: 0 };
    assert!(require_memory(&spec, shape).is_ok());
    assert_eq!(
        memory_note(&spec, shape).as_deref(),
        Some("the random matrix of gaussian-matrix takes 251.7 MB")
    );
    assert_eq!(memory_note(&spec, Shape::new(1, 64, 64).unwrap()), None);
}

//! Data sets made of arrays: values are kept, files stay in one split, whatever was wrong named with a remedy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use eps_data::npy::{NpyValues, write_npy};
use eps_data::{
    ArrayImport, ArrayImportConfig, DataError, DataSetReader, ImageProvenance, ImageSet, Shares,
    Split, Unit,
};
use tempfile::TempDir;

fn provenance() -> ImageProvenance {
    ImageProvenance {
        name: "scans".into(),
        source: "the test".into(),
        licence: "MIT".into(),
        sha256: String::new(),
    }
}

fn config(channels: usize, unit: Option<(f64, f64)>) -> ArrayImportConfig {
    let unit = unit.map(|(offset, scale)| Unit { name: "HU".to_owned(), offset, scale });
    let shares = Shares::parse("60:20:20", 1).unwrap();
    ArrayImportConfig { channels, array: None, unit, clip: false, by_folder: false, shares }
}

fn write(folder: &Path, name: &str, dims: &[usize], values: &[f64]) {
    write_npy(&folder.join(name), dims, NpyValues::F64(values)).unwrap();
}

/// An NPY file of complex numbers, their parts one after the other.
fn write_complex(path: &Path, shape: &str, parts: &[f64]) {
    let header = format!("{{'descr': '<c16', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(parts.iter().flat_map(|v| v.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

/// Ten volumes of three slices of 4×5 pixels, in hounsfield units.
fn volumes() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for volume in 0..10 {
        let values: Vec<f64> = (0..60).map(|i| f64::from(volume * 100 + i) - 500.0).collect();
        write(folder.path(), &format!("{volume}.npy"), &[3, 4, 5], &values);
    }
    folder
}

fn import(source: &Path, out: &Path, config: ArrayImportConfig) -> Result<Vec<String>, DataError> {
    ArrayImport::open(source, config)?.run(out, provenance(), &|| ())
}

#[track_caller]
fn fails(source: &Path, config: ArrayImportConfig, words: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("set.h5");
    let error = import(source, &out, config).unwrap_err().to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    assert!(!out.exists());
}

/// The images of a data set with their sources.
fn images(path: &Path) -> BTreeMap<Split, Vec<(String, Vec<f64>)>> {
    let reader = DataSetReader::open(path).unwrap();
    let of = |split: Split| {
        let set: ImageSet = reader.read(split).unwrap();
        let sources = reader.image_sources(split).unwrap().into_iter();
        let name = |index: u32| reader.sources()[index as usize].name.clone();
        sources.enumerate().map(|(i, index)| (name(index), set.to_signed(i))).collect()
    };
    reader.splits().unwrap().into_iter().map(|split| (split, of(split))).collect()
}

#[test]
fn values_are_kept_and_volumes_stay_together() {
    let (source, folder) = (volumes(), tempfile::tempdir().unwrap());
    fs::write(source.path().join("notes.txt"), "no array").unwrap();
    let out = folder.path().join("set.h5");
    let opened = ArrayImport::open(source.path(), config(1, Some((0.0, 1000.0)))).unwrap();
    assert_eq!(opened.len(), 10);
    assert!(opened.passed_over()[0].contains(".txt: 1"), "{:?}", opened.passed_over());
    let notes = opened.run(&out, provenance(), &|| ()).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let found = images(&out);
    assert_eq!(found.values().map(Vec::len).sum::<usize>(), 30);
    let shares = config(1, None).shares;
    for (split, images) in &found {
        for (name, image) in images {
            assert_eq!(shares.split_of(name), *split);
            let volume: f64 = name[..1].parse().unwrap();
            let first = image[0] * 1000.0 + 500.0 - volume * 100.0;
            assert!([0.0, 20.0, 40.0].iter().any(|slice| (first - slice).abs() < 1e-4), "{first}");
            let steps = image.windows(2).map(|pair| pair[1] - pair[0]);
            steps.for_each(|step| assert!((step - 1e-3).abs() < 1e-6));
        }
    }
    // Not volume by volume.
    let names: Vec<&String> = found[&Split::Train].iter().map(|(name, _)| name).collect();
    assert!(names[..3].iter().any(|name| *name != names[0]), "{names:?}");
    // The digest is that of the values, as a summary computes it in blocks.
    let reader = DataSetReader::open(&out).unwrap();
    let summary = reader.summary(Split::Train).unwrap();
    let set = reader.read(Split::Train).unwrap();
    assert_eq!(summary.provenance, *set.provenance());
    assert_eq!(summary.stored_sha256, summary.provenance.sha256);
    assert!((summary.mean - set.mean_and_deviation().0).abs() < 1e-14);
    assert_eq!(reader.config().unwrap()["arrays"]["unit"]["scale"], 1000.0);
}

#[test]
fn images_of_one_file_are_shared_out_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<f64> = (0..40 * 2 * 3 * 3).map(|i| f64::from(i) / 720.0).collect();
    write(folder.path(), "all.npy", &[40, 2, 3, 3], &values);
    let out = folder.path().join("set.h5");
    let notes = import(&folder.path().join("all.npy"), &out, config(2, None)).unwrap();
    assert!(notes[0].contains("--unit 0.5,0.5") && notes[1].contains("one by one"), "{notes:?}");
    let found = images(&out);
    assert_eq!(found.len(), 3);
    for (name, image) in found.values().flatten() {
        let number: usize = name.strip_prefix("all.npy#").unwrap().parse().unwrap();
        assert!((image[17] - values[18 * number + 17]).abs() < 1e-7);
    }
}

#[test]
fn complex_arrays_and_deep_pictures_are_images() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("phase.npy");
    let complex: Vec<f64> = (0..2 * 18).map(|i| f64::from(i) / 36.0).collect();
    write_complex(&file, "(2, 3, 3)", &complex);
    fails(&file, config(1, None), &["phase.npy", "complex", "--channels 2"]);
    let out = folder.path().join("set.h5");
    import(&file, &out, config(2, None)).unwrap();
    let first =
        images(&out).into_values().flatten().find(|(name, _)| name.ends_with("#0")).unwrap();
    // Real parts, then imaginary ones.
    assert!((first.1[1] - complex[2]).abs() < 1e-7 && (first.1[10] - complex[3]).abs() < 1e-7);

    let pictures = tempfile::tempdir().unwrap();
    let deep: [u16; 4] = [0, 1, 40_000, 65_535];
    let picture = fs::File::create(pictures.path().join("a.png")).unwrap();
    let mut encoder = png::Encoder::new(picture, 2, 2);
    encoder.set_depth(png::BitDepth::Sixteen);
    let bytes: Vec<u8> = deep.iter().flat_map(|v| v.to_be_bytes()).collect();
    encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
    // With a unit the numbers that are stored count.
    let out = out.with_file_name("unit.h5");
    import(pictures.path(), &out, config(1, Some((40_000.0, 40_000.0)))).unwrap();
    let (_, image) = &images(&out).values().next().unwrap()[0].clone();
    for (found, stored) in image.iter().zip(deep) {
        assert!((found - (f64::from(stored) / 40_000.0 - 1.0)).abs() < 1e-7, "{found}");
    }
    let out = out.with_file_name("pictures.h5");
    import(pictures.path(), &out, config(1, None)).unwrap();
    let (_, image) = &images(&out).values().next().unwrap()[0].clone();
    for (found, stored) in image.iter().zip(deep) {
        assert!((found - (f64::from(stored) / 32_767.5 - 1.0)).abs() < 1e-7, "{found}");
    }
    fails(pictures.path(), config(3, None), &["a.png", "[1, 2, 2]", "--channels"]);
}

#[test]
fn what_is_wrong_is_named() {
    let folder = volumes();
    let source = folder.path();
    fails(source, config(1, None), &["0.npy", "-500", "[-1, 1]", "-470.5,29.5"]);
    fails(source, config(1, Some((0.0, 400.0))), &["is -500", "0 ± 400 (HU)"]);
    fails(source, config(1, Some((0.0, -4.0))), &["scale", "-4"]);
    fails(source, config(0, None), &["channels", "0"]);
    fails(source, config(2, Some((0.0, 1000.0))), &["[3, 4, 5]", "2 channels"]);
    write(source, "b.npy", &[4, 4], &[0.0; 16]);
    fails(source, config(1, Some((0.0, 1000.0))), &["b.npy", "[1, 4, 4]", "0.npy", "[1, 4, 5]"]);
    fails(&source.join("c.npy"), config(1, None), &["c.npy"]);
    fs::write(source.join("c.txt"), "no array").unwrap();
    fails(&source.join("c.txt"), config(1, None), &["c.txt", ".npy"]);
    write(source, "last.npy", &[2, 8, 8, 3], &[0.0; 384]);
    fails(&source.join("last.npy"), config(3, None), &["[2, 8, 8, 3]", "numpy.moveaxis"]);
    write(source, "line.npy", &[8], &[0.0; 8]);
    fails(&source.join("line.npy"), config(1, None), &["line.npy", "[8]", "[N, H, W]"]);
    write(source, "deep.npy", &[1, 1, 2, 4, 4], &[0.0; 32]);
    fails(&source.join("deep.npy"), config(1, None), &["deep.npy", "[N, C, H, W]"]);
    write(source, "nan.npy", &[4, 4], &[f64::NAN; 16]);
    fails(&source.join("nan.npy"), config(1, None), &["nan.npy", "NaN"]);
    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("a.txt"), "").unwrap();
    fails(empty.path(), config(1, None), &["no files of arrays", ".txt: 1"]);
}

#[test]
fn equal_files_are_in_one_split() {
    let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for patient in 0..20 {
        let of_patient = source.path().join(format!("patient-{patient}"));
        fs::create_dir(&of_patient).unwrap();
        write(&of_patient, "slice.npy", &[2, 2], &[0.5, -0.5, 0.25, 1.0]);
    }
    let out = folder.path().join("set.h5");
    let notes = import(source.path(), &out, config(1, None)).unwrap();
    assert!(notes.iter().any(|note| note.contains("are equal to others")), "{notes:?}");
    assert_eq!(images(&out).len(), 1);
    let by_folder = ArrayImportConfig { by_folder: true, ..config(1, None) };
    let notes = import(source.path(), &out, by_folder).unwrap();
    assert!(notes[0].contains("equal to one in another split"), "{notes:?}");
}

#[test]
fn what_would_become_a_useless_data_set_is_refused_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(folder.path(), "empty.npy", &[3, 0, 4], &[]);
    fails(&path("empty.npy"), config(1, None), &["[3, 0, 4]", "hold no values"]);
    fails(&path("none"), config(1, None), &["none", "No such file"]);
    // A unit that is not that of the values.
    write(folder.path(), "few.npy", &[2, 2], &[-0.5, 0.5, 0.25, 0.0]);
    let out = path("set.h5");
    let notes = import(&path("few.npy"), &out, config(1, Some((0.0, 1000.0)))).unwrap();
    assert!(notes[0].contains("0.05 %") && notes[0].contains("check --unit"), "{notes:?}");
    // A data set is none of arrays.
    fails(&out, config(1, None), &["set.h5", "is a data set"]);
}

#[test]
fn an_array_of_files_with_several_is_named() {
    let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut file = zip::ZipWriter::new(fs::File::create(source.path().join("a.npz")).unwrap());
    for (name, value) in [("ct", 0.5), ("mask", 1.0)] {
        write(folder.path(), name, &[1, 2, 2], &[value; 4]);
        file.start_file(format!("{name}.npy"), zip::write::FileOptions::default()).unwrap();
        file.write_all(&fs::read(folder.path().join(name)).unwrap()).unwrap();
    }
    file.finish().unwrap();
    let out = folder.path().join("set.h5");
    fails(source.path(), config(1, None), &["a.npz", "mask"]);
    let named = ArrayImportConfig { array: Some("ct".into()), ..config(1, None) };
    import(source.path(), &out, named).unwrap();
    assert_eq!(images(&out).values().next().unwrap()[0].1, [0.5; 4]);
    import(&source.path().join("a.npz#ct"), &out, config(1, None)).unwrap();
    assert_eq!(images(&out).values().next().unwrap()[0].0, "a.npz#ct#0");
}

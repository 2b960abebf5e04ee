//! Scans of NIfTI and DICOM.

use eps_data::array_file::{check_ending, is_array, is_picture};
use eps_data::{ArrayImport, ArrayImportConfig, DataSetReader, Unit};

use super::*;

/// The slice z of the scan, of which `write_files.py` has volumes: x + 10 y + 100 z in 4 rows of 3 columns.
fn slice(z: usize) -> Vec<f64> {
    (0..12).map(|i| (i % 3 + 10 * (i / 3) + 100 * z) as f64).collect()
}

fn volume() -> Vec<f64> {
    [slice(0), slice(1)].concat()
}

#[track_caller]
fn holds(name: &str, dims: &[usize], values: &[f64]) -> Vec<String> {
    let (array, notes) = Array::read_with_notes(&file(name), "y").unwrap();
    assert_eq!((&*array.dims, &*array.values), (dims, values));
    assert!(is_array(&file("scan.nii.gz")) && !is_picture(&file(name)));
    notes
}

#[test]
fn slices_of_nifti_are_images_in_the_scale_of_the_scan() {
    for name in ["scan.nii", "scan.nii.gz"] {
        assert!(holds(name, &[2, 1, 4, 3], &volume()).is_empty());
    }
    let scaled: Vec<f64> = volume().iter().map(|v| v / 2.0 - 7.0).collect();
    holds("big-endian.nii", &[2, 1, 4, 3], &scaled);
    holds("slice.nii", &[4, 3], &slice(0));
    let later: Vec<f64> = volume().iter().map(|v| v + 1000.0).collect();
    holds("series.nii", &[4, 1, 4, 3], &[volume(), later].concat());
    let pairs = [0, 1].map(|z| [slice(z), slice(z).iter().map(|v| -v).collect()].concat());
    holds("complex.nii", &[2, 2, 4, 3], &pairs.concat());
}

#[test]
fn dicom_is_in_the_values_of_its_modality() {
    let of = |stored: fn(f64) -> f64| slice(0).into_iter().map(stored).collect::<Vec<_>>();
    assert!(holds("ct.dcm", &[4, 3], &of(|v| (v - 20.0) / 2.0 - 1000.0)).is_empty());
    // What DICOM is without an ending says so at its start.
    for name in ["1.2.840", "jpeg-lossless.dcm"] {
        holds(name, &[4, 3], &of(|v| (v + 2000.0) / 2.0 - 1000.0));
    }
    holds("frames.dcm", &[2, 1, 4, 3], &volume());
    let notes = holds("inverted.dcm", &[4, 3], &slice(0));
    assert!(notes[0].contains("MONOCHROME1") && notes[1].contains("with losses"), "{notes:?}");
}

#[test]
fn scans_that_are_not_read_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let nifti = fs::read(file("scan.nii")).unwrap();
    let dicom = fs::read(file("ct.dcm")).unwrap();
    let cut = write("cut.nii", &nifti[..380]);
    expect(Array::read(&cut, "y"), &["cut.nii", "ends after 28 of 48 bytes", "truncated"]);
    expect(Array::read(&write("head.nii", &nifti[..100]), "y"), &["head.nii", "truncated"]);
    let gz = fs::read(file("scan.nii.gz")).unwrap();
    expect(Array::read(&write("cut.nii.gz", &gz[..gz.len() - 20]), "y"), &["truncated"]);
    expect(Array::read(&write("cut.dcm", &dicom[..dicom.len() - 9]), "y"), &["truncated"]);
    expect(Array::read(&write("none.dcm", b"nothing"), "y"), &["none.dcm", "unreadable"]);
    // It would ask for 350 TB.
    let mut large = nifti.clone();
    large[42..48].copy_from_slice(&[0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f]);
    expect(
        Array::read(&write("large.nii", &large), "y"),
        &["large.nii", "GB are available", "fewer slices"],
    );
    let as_npy = "numpy.save(\"y.npy\"";
    for (name, words) in [
        ("second.nii", ["NIfTI-2", as_npy]),
        ("colours.nii", ["Rgb24", as_npy]),
        ("pair.nii", [".img", as_npy]),
        ("dose.dcm", ["32 bits", as_npy]),
        ("palette.dcm", ["PALETTE COLOR", "as PNG"]),
        ("report.dcm", ["no picture", "PixelData"]),
        ("jpeg-2000.dcm", ["1.2.840.10008.1.2.4.90", "gdcmconv --raw"]),
        ("scan.tar.gz", ["tar.gz", ".nii.gz"]),
    ] {
        expect(Array::read(&file(name), "y"), &words);
    }
    let named = format!("{}#x", file("scan.nii").display());
    expect(check_ending(Path::new(&named)), &["which has no name", "leave out #"]);
}

/// Cuts are refused, and flipped bits are read or refused.
#[test]
fn damaged_scans_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["scan.nii", "ct.dcm", "frames.dcm"] {
        let whole = fs::read(file(name)).unwrap();
        let path = folder.path().join(name);
        // Some panics of a decoder on the way, each of which writes where it was.
        for at in (0..whole.len() - 8).step_by(3) {
            fs::write(&path, &whole[..at]).unwrap();
            assert!(Array::read(&path, "y").is_err(), "{name} cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            if let Ok(array) = Array::read(&path, "y") {
                assert_eq!(array.values.len(), array.dims.iter().product::<usize>());
            }
        }
    }
}

#[test]
fn scans_of_patients_become_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    for patient in 0..12 {
        let of_patient = folder.path().join(format!("patient-{patient}/series"));
        fs::create_dir_all(&of_patient).unwrap();
        fs::copy(file("ct.dcm"), of_patient.join("ct.dcm")).unwrap();
        fs::copy(file("1.2.840"), of_patient.join("IM0001")).unwrap();
        // The index of a disk is no scan.
        fs::copy(file("ct.dcm"), of_patient.join("DICOMDIR")).unwrap();
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let out = elsewhere.path().join("set.h5");
    let unit = Some(Unit { name: "HU".to_owned(), offset: -995.0, scale: 5.0 });
    let shares = Shares::parse("50:25:25", 0).unwrap();
    let config =
        ArrayImportConfig { channels: 1, array: None, unit, clip: false, by_folder: false, shares };
    let import = |config: ArrayImportConfig| {
        ArrayImport::open(folder.path(), config)?.run(&out, provenance(), &|| ())
    };
    expect(import(config.clone()), &["outside -995 ± 5 (HU)", "--clip"]);
    let clipped = ArrayImportConfig { clip: true, ..config.clone() };
    let has = |notes: &[String], words: &str| notes.iter().any(|note| note.contains(words));
    let notes = import(clipped.clone()).unwrap();
    assert!(has(&notes, "of 288 values") && has(&notes, "give --by-folder"), "{notes:?}");
    let together = ArrayImportConfig { by_folder: true, ..clipped };
    let notes = import(together.clone()).unwrap();
    assert!(has(&notes, "of 288 values") && !has(&notes, "give --by-folder"), "{notes:?}");

    let reader = DataSetReader::open(&out).unwrap();
    let mut split_of = std::collections::BTreeMap::new();
    for source in reader.sources() {
        let patient = source.name.split('/').next().unwrap().to_owned();
        assert_eq!(*split_of.entry(patient).or_insert(source.split), source.split);
    }
    assert_eq!((reader.sources().len(), split_of.len()), (24, 12));
    let set = reader.read(Split::Train).unwrap();
    // HU from −1010 to −993.5 and from 0 to 16.
    let (first, ends) = (set.to_signed(0), [-1.0, 1.0]);
    assert!(first.iter().any(|v| ends.contains(v)) && first.iter().all(|v| v.abs() <= 1.0));
    let flat = ArrayImport::open(&folder.path().join("patient-0/series"), together.clone());
    expect(flat, &["there is no folder in it"]);
    expect(ArrayImport::open(&file("ct.dcm"), together), &["there is no folder in it"]);
}

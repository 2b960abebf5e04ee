//! Files that do not fit: an error that says so, the former file as it was, nothing left beside it.
//!
//! A limit of the size of files stands for a full disk: a write fails at the same place, for anybody.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the process with a limit tells what it wrote")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use eps_data::data_set::ImageSource;
use eps_data::npy::{NpyValues, write_npy};
use eps_data::{
    ArchiveWriter, DataError, DataSetWriter, ImageProvenance, ImageSet, MeasurementSet, Moments,
    SampleArchive, Split,
};
use eps_math::operator::OperatorSpec;
use eps_math::{Shape, rng};
use serde_json::json;

/// Names the folder to write in, in the process that has a limit.
const FOLDER: &str = "EPS_FULL_DISK_FOLDER";

const SHAPE: Shape = Shape { channels: 3, height: 16, width: 16 };

fn provenance() -> ImageProvenance {
    ImageProvenance {
        name: "n".into(),
        source: "s".into(),
        licence: "MIT".into(),
        sha256: "0".into(),
    }
}

/// `images` images without a pattern, in [-1, 1).
fn values(images: usize) -> Vec<f64> {
    rng::u01("full disk", images * SHAPE.len()).iter().map(|u| 2.0 * u - 1.0).collect()
}

fn pixels(images: usize) -> Vec<u8> {
    values(images).iter().map(|v| (128.0 * v + 128.0) as u8).collect()
}

fn archive() -> SampleArchive {
    let samples: Vec<f32> = values(8).iter().map(|v| *v as f32).collect();
    let config = json!({ "note": "n".repeat(10_000) });
    SampleArchive::new(SHAPE, 4, samples, config, provenance()).unwrap()
}

fn write_archives(path: &Path) -> Result<(), DataError> {
    let writer = ArchiveWriter::create(path)?;
    for group in ["a/b", "a/c", "d"] {
        writer.add(group, &archive())?;
    }
    writer.finish()
}

fn write_data_set(path: &Path) -> Result<(), DataError> {
    let sources = Split::ALL.map(|split| ImageSource { split, name: format!("{split}.png") });
    let mut writer = DataSetWriter::create(path, SHAPE, sources.into(), &json!({}), provenance())?;
    let count = 40;
    for (index, split) in (0..).zip(Split::ALL) {
        writer.start_split(split, &vec![index; count], Some(&vec![0; count]))?;
    }
    for _ in 0..count {
        for split in Split::ALL {
            writer.append(split, &pixels(1))?;
        }
    }
    writer.finish()
}

type Writer = (&'static str, fn(&Path) -> Result<(), DataError>);

const WRITERS: [Writer; 7] = [
    ("images.h5", |path| {
        let set = ImageSet::new(SHAPE, pixels(20), provenance())?;
        set.with_labels((0..20).collect())?.write(path)
    }),
    ("y.h5", |path| {
        let pool = vec![OperatorSpec::AveragePool { factor: 2 }];
        let y = values(1);
        let set = MeasurementSet::new(SHAPE, y, pool, 0.1, provenance())?;
        set.with_truth(values(4))?.write(path)
    }),
    ("moments.h5", |path| {
        let shape = Shape { channels: 1, height: 8, width: 8 };
        let (mean, covariance) = (values(1)[..64].to_vec(), values(6)[..4096].to_vec());
        let covariance = covariance.iter().map(|v| v.abs()).collect();
        Moments::new(shape, 3, mean, covariance, provenance())?.write(path)
    }),
    ("samples.h5", |path| archive().write(path)),
    ("several.h5", write_archives),
    ("set.h5", write_data_set),
    ("a.npy", |path| write_npy(path, &[values(4).len()], NpyValues::F64(&values(4)))),
];

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Writes every file, prints which one was written and fails where one was left half done.
fn write_with_a_limit(folder: &Path) {
    for (name, write) in WRITERS {
        for path in [folder.join("new").join(name), folder.join("former").join(name)] {
            let error = match write(&path) {
                Ok(()) => {
                    println!("{} fits", path.display());
                    fs::write(&path, "f").unwrap();
                    continue;
                }
                Err(error) => error.to_string(),
            };
            assert!(error.contains(name) && error.contains("File too large"), "{error}");
            assert!(error.contains("ulimit -f"), "{error}");
        }
    }
    let expected = WRITERS.map(|(name, _)| name.to_owned());
    assert!(names(&folder.join("new")).iter().all(|name| expected.contains(name)));
    assert_eq!(names(&folder.join("former")).len(), WRITERS.len());
    for name in expected {
        assert_eq!(fs::read(folder.join("former").join(name)).unwrap(), b"f");
    }
}

#[test]
fn what_does_not_fit_leaves_no_trace() {
    if let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) {
        return write_with_a_limit(&folder);
    }
    let dir = tempfile::tempdir().unwrap();
    for folder in ["new", "former"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    // In KiB; the largest file has some 100.
    for limit in [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 1024] {
        for (name, _) in WRITERS {
            fs::write(dir.path().join("former").join(name), "f").unwrap();
            let _ = fs::remove_file(dir.path().join("new").join(name));
        }
        let limited = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$@\"");
        let output = Command::new("bash")
            .args(["-c", &limited, "bash"])
            .arg(env::current_exe().unwrap())
            .args(["--exact", "what_does_not_fit_leaves_no_trace", "--nocapture"])
            .env(FOLDER, dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{limit} KiB: {}\n{said}\n{error}", output.status);
        let fit = said.matches(" fits").count();
        assert!(
            if limit < 4 { fit == 0 } else { limit < 1024 || fit == 2 * WRITERS.len() },
            "{said}"
        );
    }
}

//! The committed results are read by the types, and nothing of them is lost.

#![expect(clippy::unwrap_used, reason = "a test fails where a committed file cannot be read")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use eps_results::{Constants, Record, ResultsError};
use flate2::read::GzDecoder;
use serde_json::Value;

fn data(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(folder)
}

/// The files of a folder and those below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the repository");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    let mut found: Vec<PathBuf> = paths.flat_map(below).collect();
    found.sort();
    found
}

fn text(path: &Path) -> String {
    let bytes = fs::read(path).expect("a file of the repository");
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    text
}

#[test]
fn committed_results_are_read_and_written_alike() {
    let paths = files(&data("results"));
    assert!(paths.len() >= 19, "{paths:?}");
    for path in paths {
        let record = Record::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let written = match &record {
            Record::Experiment(results) => eps_results::json(results),
            Record::Tournament(results) => eps_results::json(results),
            Record::Reach(results) => eps_results::json(results),
        };
        let written: Value = serde_json::from_str(&written.unwrap()).unwrap();
        let found: Value = serde_json::from_str(&text(&path)).unwrap();
        // To the last bit of every number.
        assert!(written == found, "{}", path.display());
    }
}

#[test]
fn committed_constants_are_read() {
    for name in ["fashion-mnist", "photos-32"] {
        let path = data("constants").join(name).with_added_extension("json");
        let constants = Constants::read(&path).unwrap();
        assert!(!constants.tuned.is_empty(), "{name}");
        let written: Value = serde_json::to_value(&constants).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(&text(&path)).unwrap());
    }
}

/// The smallest of the committed results, as JSON and as text that another part replaces once.
fn changed(part: &str, by: &str) -> Result<Record, ResultsError> {
    let paths = files(&data("results"));
    let is_runtime = |path: &&PathBuf| path.to_string_lossy().contains("runtime.json");
    let text = text(paths.iter().find(is_runtime).expect("the results of runtime"));
    let value: Value = serde_json::from_str(&text).unwrap();
    let text = value.to_string();
    assert!(text.contains(part), "{part}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.json");
    fs::write(&path, text.replacen(part, by, 1)).unwrap();
    Record::read(&path)
}

#[test]
fn what_is_of_another_form_is_refused_by_name() {
    assert!(changed("psnr_db", "psnr_db").is_ok());
    for (part, by, said) in [
        // A field that was renamed, and a score that was.
        ("\"backward_passes\":0", "\"passes_back\":0", "passes_back"),
        ("\"psnr_db\":[", "\"psnr\":[", "psnr"),
        ("\"mmd2\":-", "\"mmd\":-", "mmd"),
        ("\"share\":", "\"part\":", "part"),
        ("\"name\":\"eps\"", "\"name\":\"exact\"", "exact"),
        (
            "\"format_version\":2,\"overhead\"",
            "\"format_version\":3,\"overhead\"",
            "version 3, this program reads 2",
        ),
        ("\"cell\":\"eps-100\"", "\"cell\":\"eps/100\"", "eps/100"),
        ("\"experiment\":\"runtime\"", "\"experiment\":\"race\"", "race"),
    ] {
        let error = changed(part, by).map(drop).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("results.json"), "{error}");
    }
}

#[test]
fn a_compressed_file_that_was_cut_off_is_an_error() {
    let found =
        files(&data("results")).into_iter().find(|path| path.to_string_lossy().contains("flow"));
    let bytes = fs::read(found.unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flow.json.gz");
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(Record::read(&path).unwrap(), Record::Experiment(_)));
    // A file that was cut off.
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = Record::read(&path).unwrap_err().to_string();
    assert!(error.contains("flow.json.gz"), "{error}");
}

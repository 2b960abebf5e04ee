//! The committed configurations of trainings, operators and questions are read and have no field out of its range.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};

use eps::data::operator_file::read_sourced_operator;
use eps::intervals::IntervalCalibration;
use eps::math::Shape;
use eps::math::operator::LinearMap as _;
use eps::model::{Precision, checkpoint};
use eps::tch::Device;
use eps::train::TrainConfig;
use eps_results::reach::Questions;

/// The files `.json` of a folder and of those below it, but for the calibrations beside networks.
fn configurations(folder: &Path) -> Vec<PathBuf> {
    let mut found = files(folder, "json");
    found.retain(|path| !path.to_string_lossy().ends_with(".intervals.json"));
    found
}

/// The files of an ending in a folder and in those below it.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let below = |path: PathBuf| {
        if path.is_dir() {
            return files(&path, ending);
        }
        if path.extension().is_some_and(|found| found == ending) { vec![path] } else { vec![] }
    };
    folder.read_dir().unwrap().flat_map(|entry| below(entry.unwrap().path())).collect()
}

#[test]
fn committed_configurations_are_valid() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
    for root in ["paper", "networks", "experiments"] {
        let found = configurations(&data.join(root));
        assert!(!found.is_empty(), "{root}");
        for path in found {
            let text = std::fs::read_to_string(&path).unwrap();
            let config: TrainConfig = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            config.validate().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(config.name, path.file_stem().unwrap().to_str().unwrap());
        }
    }
}

#[test]
fn the_operators_of_dps_are_for_pictures_of_256_pixels() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
    let shape = Shape::new(3, 256, 256).unwrap();
    let mut found: Vec<(String, Shape)> = configurations(&data.join("operators"))
        .iter()
        .map(|path| {
            let (spec, source) = read_sourced_operator(path).unwrap();
            // Each names its paper.
            assert!(source.unwrap().contains("arXiv 2209.14687"));
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, spec.prepare(shape).unwrap().range())
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let small = Shape::new(3, 64, 64).unwrap();
    let expected = [
        ("gaussian-blur", shape),
        ("motion-blur", shape),
        ("random-inpainting", shape),
        ("super-resolution", small),
    ];
    assert_eq!(found, expected.map(|(name, shape)| (name.to_owned(), shape)));
}

#[test]
fn committed_questions_are_asked_of_committed_networks() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
    let files = configurations(&data.join("reach"));
    assert_eq!(files.len(), 2);
    for path in files {
        let Questions { networks, prior, questions, .. } = Questions::read(&path).unwrap();
        assert!(questions.len() >= 8, "{}", path.display());
        for network in networks.iter().chain([&prior]) {
            let network = path.with_file_name(network);
            assert!(network.is_file(), "{}", network.display());
        }
    }
}

#[test]
fn committed_networks_are_what_was_written() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
    let networks = files(&data.join("networks"), "safetensors");
    assert!(networks.len() >= 21, "{networks:?}");
    for path in networks {
        let read = checkpoint::load(&path, Device::Cpu, Precision::F32)
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(read.has_digests, "{}: write FILE.sha256 by sha256sum", path.display());
        // It is of this network.
        IntervalCalibration::beside(&path).unwrap();
    }
}

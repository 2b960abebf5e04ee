//! The committed configurations of trainings, operators and questions are read and have no field out of its range.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};

use eps::math::Shape;
use eps::math::operator::{LinearMap as _, OperatorSpec};
use eps::train::TrainConfig;
use eps_results::reach::Questions;

/// The files `.json` of a folder and of those below it.
fn configurations(folder: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| {
        if path.is_dir() {
            return configurations(&path);
        }
        if path.extension().is_some_and(|ending| ending == "json") { vec![path] } else { vec![] }
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
            let text = std::fs::read_to_string(path).unwrap();
            let spec: OperatorSpec = serde_json::from_str(&text).unwrap();
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

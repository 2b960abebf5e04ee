//! The committed configurations of trainings are read and have no field out of its range.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};

use eps::train::TrainConfig;

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

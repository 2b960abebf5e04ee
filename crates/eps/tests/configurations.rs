//! The committed configurations of trainings are read and have no field out of its range.

use std::path::Path;

use eps::train::TrainConfig;

#[test]
fn committed_configurations_are_valid() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
    let mut count = 0;
    for root in ["paper", "networks", "experiments"] {
        for folder in data.join(root).read_dir().unwrap() {
            for file in folder.unwrap().path().read_dir().unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_none_or(|ending| ending != "json") {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let config: TrainConfig = serde_json::from_str(&text)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                config.validate().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert_eq!(config.name, path.file_stem().unwrap().to_str().unwrap());
                count += 1;
            }
        }
    }
    assert!(count > 0);
}

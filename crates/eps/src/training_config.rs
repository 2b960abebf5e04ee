//! Configurations of trainings, with what their operators name.

use std::path::Path;

use eps_data::operator_file::resolve_operator;
use eps_files::read_text;
use eps_train::{TrainConfig, TrainError};
use serde::Deserialize as _;
use serde_json::Value;

use crate::Error;

/// Reads the configuration of a training. Files that the operators of its law name, `{"file": "kernel.npy"}`, are relative to its folder;
/// their numbers stand in the place of their names.
///
/// # Errors
/// A file that cannot be read, and what is no configuration.
pub fn read(path: &Path) -> Result<TrainConfig, Error> {
    let text = read_text(path)?;
    let mut value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let parts = value.pointer_mut("/objective/tasks").and_then(Value::as_array_mut);
    let mut names_files = false;
    for operator in parts.into_iter().flatten().filter_map(|part| part.pointer_mut("/of/operator"))
    {
        names_files |= resolve_operator(operator, path)?;
    }
    // Otherwise it is read as it stands, and an error tells its line.
    let read =
        if names_files { TrainConfig::deserialize(value) } else { serde_json::from_str(&text) };
    Ok(read.map_err(|source| TrainError::Json { path: path.to_owned(), source })?)
}

#[cfg(test)]
mod tests {
    use eps_data::npy::{NpyValues, write_npy};
    use serde_json::json;

    use super::*;

    #[test]
    fn files_of_operators_are_read_from_the_folder_of_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.json");
        let committed = crate::dataset::in_repository("data/networks/fashion/motion-blur.json");
        let mut config: Value = serde_json::from_str(&read_text(&committed).unwrap()).unwrap();
        let mut with_kernel = |kernel: Value| {
            let operator = json!({"operator": "convolution", "kernel": kernel, "border": "zero"});
            let part = json!({"share": 1.0, "of": {"family": "fixed", "operator": operator}});
            config["objective"]["tasks"] = json!(["motion-blur", part]);
            std::fs::write(&path, config.to_string()).unwrap();
            read(&path)
        };
        let inline = with_kernel(json!([[0.25, 0.5, 0.25]])).unwrap();
        let named = json!({"file": "kernel.npy"});
        let missing = with_kernel(named.clone()).unwrap_err().to_string();
        assert!(missing.contains("kernel.npy"), "{missing}");
        write_npy(&dir.path().join("kernel.npy"), &[1, 3], NpyValues::F64(&[0.25, 0.5, 0.25]))
            .unwrap();
        assert_eq!(with_kernel(named).unwrap(), inline);
        let wrong = with_kernel(json!("blur")).unwrap_err().to_string();
        assert!(wrong.contains("c.json is no training configuration"), "{wrong}");
    }
}

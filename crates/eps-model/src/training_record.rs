//! What made the weights of a network, as its file records it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A training, an import, or initial weights: the parts that are read have types, all others are kept as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The configuration of a training, a `TrainConfig` of `eps-train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// The images of a training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<TrainedOn>,
    /// The file of an import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportedFile>,
    /// The seed of initial weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The steps of a training without a configuration, 0 for initial weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// What else a training records: losses, versions, device.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The images that a network was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedOn {
    /// Where they come from, the same for all splits of a data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Name, licence and SHA-256.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The file that a network was imported from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedFile {
    /// Its size; of an index that of the files which it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The entry that is the network, where the file has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The SHA-256 of each file that an index names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Its SHA-256.
    pub sha256: String,
    /// What else is recorded of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl TrainingRecord {
    /// That of an import.
    #[must_use]
    pub fn of_import(imported: ImportedFile) -> Self {
        Self { imported: Some(imported), ..Self::default() }
    }

    /// A record that may be `null`, for nothing that is known.
    pub(crate) fn or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::<Self>::deserialize(from)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_is_kept() {
        for written in [
            json!({}),
            json!({"seed": 3, "steps": 0}),
            json!({"imported": {"sha256": "ab", "bytes": 7, "entry": "ema", "note": "kept"}}),
            json!({
                "config": {"precision": "bf16", "learning_rate": 0.1},
                "dataset": {"name": "n", "source": "s", "licence": "MIT", "sha256": "ab"},
                "losses": {"train_loss": 0.30000000000000004, "step": 18446744073709551615u64},
                "start": null,
            }),
        ] {
            let read: TrainingRecord = serde_json::from_str(&written.to_string()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), written);
        }
    }
}

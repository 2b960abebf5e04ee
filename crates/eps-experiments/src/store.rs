//! The store of finished cells as JSON files, from which a run that was cut off goes on.
//!
//! As in the store of restorations, a cell's file holds the key from which it was computed, with the
//! digest of the running program: a cell of another key is computed again.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cells::hash;
use crate::error::Result;
use crate::files::{make_folder, write_json};

/// A folder of cells.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

/// What a cell's file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<T> {
    /// The digest of `key`.
    hash: String,
    key: Value,
    cell: T,
}

impl Store {
    /// The cells of a folder, which is made where it is missing.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub(crate) fn open(folder: PathBuf) -> Result<Self> {
        make_folder(&folder)?;
        Ok(Self { folder })
    }

    /// The cell of a name, if it was computed from this key; a damaged file counts as none.
    pub(crate) fn load<T: DeserializeOwned>(&self, name: &str, key: &Value) -> Option<T> {
        let text = std::fs::read_to_string(self.path(name)).ok()?;
        let record: Written<T> = serde_json::from_str(&text).ok()?;
        (record.hash == hash(key)).then_some(record.cell)
    }

    /// Stores a cell.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn store<T: Serialize>(&self, name: &str, key: &Value, cell: &T) -> Result<()> {
        let record = Written { hash: hash(key), key: key.clone(), cell };
        write_json(&self.path(name), &record)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_added_extension("json")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_comes_back_for_its_own_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("cells")).unwrap();
        let (key, cell) = (json!({"calls": 20}), vec![0.1, 1.0 / 3.0]);
        assert_eq!(store.load::<Vec<f64>>("a-0.05", &key), None);
        store.store("a-0.05", &key, &cell).unwrap();
        // To the last bit.
        assert_eq!(store.load("a-0.05", &key), Some(cell));
        assert_eq!(store.load::<Vec<f64>>("a-0.05", &json!({"calls": 21})), None);
        assert_eq!(store.load::<Vec<f64>>("a-0", &key), None);
        std::fs::write(store.path("a-0.05"), "{").unwrap();
        assert_eq!(store.load::<Vec<f64>>("a-0.05", &key), None);
    }
}

//! The store of finished cells, from which a run that was cut off goes on.
//!
//! A cell is a method's restoration of some images of one task. Its file holds, beside the samples,
//! the key from which it was computed; a cell of another key is computed again. The key has the
//! digest of the running program, so that no result outlives a change of the code, unless the user
//! says that samples do not depend on it.

use std::path::{Path, PathBuf};

use eps_data::{ImageProvenance, SampleArchive};
use eps_files::sha256;
use eps_math::Shape;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::files::make_folder;
use crate::restoration::Restored;

/// The name of the folder in that of a run.
pub(crate) const FOLDER: &str = "cells";

/// A folder of cells.
#[derive(Debug)]
pub(crate) struct Cells {
    folder: PathBuf,
    shape: Shape,
    provenance: ImageProvenance,
    /// Whether cells of other builds of the program count.
    any_build: bool,
}

/// What a cell's file tells beside its samples.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The digest of `key`.
    hash: String,
    key: Value,
    nfe: usize,
    backward_passes: usize,
    seconds: f64,
}

/// The field of a key that has the digest of the program.
pub(crate) const PROGRAM: &str = "program";

/// The SHA-256 of a key's JSON, whose fields are in the order of their names.
pub(crate) fn hash(key: &Value) -> String {
    sha256(key.to_string().as_bytes())
}

/// The name of a cell: what it is, and the beginning of the digest of its key but for the program, so that runs of
/// other sizes have cells of their own in one folder.
pub(crate) fn name(what: &str, key: &Value) -> String {
    let mut key = key.clone();
    key[PROGRAM] = Value::Null;
    format!("{what}.{}", &hash(&key)[..8])
}

/// The digest of the program that computed the cell of a file, where it tells.
///
/// # Errors
/// A file that is no cell.
pub(crate) fn program_of(path: &Path) -> Result<Option<String>> {
    let archive = SampleArchive::read(path)?;
    let record = serde_json::from_value::<Written>(archive.config().clone()).ok();
    Ok(record.and_then(|record| Some(record.key.get(PROGRAM)?.as_str()?.to_owned())))
}

impl Cells {
    /// The cells of a folder, which is made where it is missing.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub(crate) fn open(
        folder: PathBuf,
        shape: Shape,
        provenance: ImageProvenance,
        any_build: bool,
    ) -> Result<Self> {
        make_folder(&folder)?;
        Ok(Self { folder, shape, provenance, any_build })
    }

    /// The cell of a name, if it was computed from this key; a damaged file counts as none.
    pub(crate) fn load(&self, name: &str, key: &Value) -> Option<Restored> {
        let archive = SampleArchive::read(&self.path(name)).ok()?;
        let mut record: Written = serde_json::from_value(archive.config().clone()).ok()?;
        if self.any_build && hash(&record.key) == record.hash {
            record.key[PROGRAM] = key[PROGRAM].clone();
            record.hash = hash(&record.key);
        }
        (record.hash == hash(key) && archive.shape() == self.shape).then(|| Restored {
            samples: archive.samples().to_vec(),
            per_image: archive.samples_per_image(),
            nfe: record.nfe,
            backward_passes: record.backward_passes,
            seconds: record.seconds,
        })
    }

    /// Stores a cell.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn store(&self, name: &str, key: Value, cell: &Restored) -> Result<()> {
        let record = Written {
            hash: hash(&key),
            key,
            nfe: cell.nfe,
            backward_passes: cell.backward_passes,
            seconds: cell.seconds,
        };
        let archive = SampleArchive::new(
            self.shape,
            cell.per_image,
            cell.samples.clone(),
            serde_json::to_value(record)?,
            self.provenance.clone(),
        )?;
        Ok(archive.write(&self.path(name))?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(Path::new(name)).with_added_extension("h5")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cells(folder: &Path) -> Cells {
        let provenance = ImageProvenance {
            name: "pixels".into(),
            source: "made up".into(),
            licence: "MIT".into(),
            sha256: "0".into(),
        };
        let shape = Shape::new(1, 1, 2).unwrap();
        Cells::open(folder.join("cells"), shape, provenance, false).unwrap()
    }

    fn cell() -> Restored {
        Restored {
            samples: vec![0.5, -1.0, 0.25, 1.0],
            per_image: 2,
            nfe: 20,
            backward_passes: 3,
            seconds: 1.5,
        }
    }

    #[test]
    fn a_key_is_the_same_in_any_order_of_its_fields() {
        let (a, b) = (json!({"seed": 0, "calls": 20}), json!({"calls": 20, "seed": 0}));
        assert_eq!(hash(&a), hash(&b));
        assert_ne!(hash(&a), hash(&json!({"calls": 20, "seed": 1})));
    }

    #[test]
    fn another_run_has_another_name() {
        let key = |program: &str, images: u64| json!({PROGRAM: program, "images": images});
        let of = |program, images| name("box.eps-20.0", &key(program, images));
        assert_eq!(of("old", 6), of("new", 6));
        assert_ne!(of("old", 6), of("old", 100));
        assert!(of("old", 6).starts_with("box.eps-20.0."), "{}", of("old", 6));
    }

    #[test]
    fn a_cell_comes_back_for_its_own_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let cells = cells(dir.path());
        let key = json!({"task": "box-inpainting", "sigma_y": 0.05});
        assert_eq!(cells.load("box.eps-20", &key), None);
        cells.store("box.eps-20", key.clone(), &cell()).unwrap();
        assert_eq!(cells.load("box.eps-20", &key), Some(cell()));
        assert_eq!(cells.load("box.eps-20", &json!({"task": "box-inpainting"})), None);
        assert_eq!(cells.load("box.eps-100", &key), None);
    }

    #[test]
    fn cells_of_another_build_count_where_the_user_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut cells = cells(dir.path());
        let key = |program: &str, sigma_y: f64| json!({PROGRAM: program, "sigma_y": sigma_y});
        cells.store("a", key("old", 0.1 + 0.2), &cell()).unwrap();
        assert_eq!(cells.load("a", &key("new", 0.1 + 0.2)), None);
        cells.any_build = true;
        assert_eq!(cells.load("a", &key("new", 0.1 + 0.2)), Some(cell()));
        assert_eq!(cells.load("a", &key("new", 0.3)), None);
    }

    #[test]
    fn a_damaged_cell_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let cells = cells(dir.path());
        cells.store("a", json!(1), &cell()).unwrap();
        let path = cells.path("a");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
        assert_eq!(cells.load("a", &json!(1)), None);
    }
}

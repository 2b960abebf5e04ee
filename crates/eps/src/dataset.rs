//! Data sets by name.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use eps_data::ImageSet;
use eps_data::fashion_mnist::{self, Split};

/// The names that [`load`] knows.
pub(crate) const NAMES: [&str; 1] = ["fashion-mnist"];

/// Loads a split of a data set from `folder`, or from where the repository keeps it.
///
/// # Errors
/// An unknown name, and those of the data set's reader.
pub(crate) fn load(name: &str, split: Split, folder: Option<&Path>) -> Result<ImageSet> {
    match name {
        "fashion-mnist" => fashion_mnist::load(split, &folders(folder))
            .with_context(|| format!("cannot load the {split} split of {name}")),
        _ => bail!("unknown data set {name:?}: known are {}", NAMES.join(", ")),
    }
}

/// Where the data set lies: `folder`, or what is committed and what `cargo xtask fetch` brings.
pub(crate) fn folders(folder: Option<&Path>) -> Vec<PathBuf> {
    match folder {
        Some(folder) => vec![folder.to_owned()],
        None => ["data/fashion-mnist", ".deps/fashion-mnist"]
            .into_iter()
            .flat_map(|path| [path.into(), in_repository(path)])
            .collect(),
    }
}

/// A path in the repository that this program was built from.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = load("cifar", Split::Test, None).unwrap_err().to_string();
        assert!(error.contains("\"cifar\"") && error.contains("fashion-mnist"), "{error}");
    }
}

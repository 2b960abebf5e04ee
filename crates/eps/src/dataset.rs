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

/// The name by which what belongs to a data set is kept: of a file, the file's without its ending.
pub(crate) fn short_name(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    match file.strip_suffix(".h5").unwrap_or(file) {
        "fashion-mnist" => "fashion",
        short => short,
    }
}

/// The committed folder of a data set's networks.
pub(crate) fn networks(name: &str) -> PathBuf {
    kept(&format!("data/networks/{}", short_name(name)))
}

/// The committed file of the contenders' constants on a data set.
pub(crate) fn constants(name: &str) -> PathBuf {
    let file = name.rsplit('/').next().unwrap_or(name);
    kept(&format!("data/constants/{}.json", file.strip_suffix(".h5").unwrap_or(file)))
}

/// The places of the file of a data set's moments, in the order in which they are looked at.
pub(crate) fn moments(name: &str, folder: Option<&Path>) -> Vec<PathBuf> {
    match short_name(name) {
        "fashion" => folders(folder).iter().map(|folder| folder.join("moments.h5")).collect(),
        short => {
            let file = format!("{short}.moments.h5");
            let folder = folder.or(Path::new(name).parent().filter(|path| *path != Path::new("")));
            match folder {
                Some(folder) => vec![folder.join(file)],
                None => vec![kept(&format!(".deps/photos/{file}"))],
            }
        }
    }
}

/// A path that is kept in the repository, from the working folder or from that of the repository.
fn kept(path: &str) -> PathBuf {
    let here = PathBuf::from(path);
    if here.exists() { here } else { in_repository(path) }
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
    fn what_belongs_to_a_data_set_has_its_name() {
        assert!(networks("fashion-mnist").ends_with("data/networks/fashion"));
        assert!(constants("fashion-mnist").ends_with("data/constants/fashion-mnist.json"));
        assert!(networks("somewhere/faces.h5").ends_with("data/networks/faces"));
        assert!(constants("somewhere/faces.h5").ends_with("data/constants/faces.json"));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = load("cifar", Split::Test, None).unwrap_err().to_string();
        assert!(error.contains("\"cifar\"") && error.contains("fashion-mnist"), "{error}");
    }
}

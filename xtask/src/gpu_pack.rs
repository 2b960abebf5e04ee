//! `cargo xtask gpu-pack`: what a machine with a GPU needs that has neither Rust nor a network.
//!
//! Everything lies in `.gpu/`, which git ignores: the libtorch of that machine, a copy of the tree with the tch of that
//! libtorch in a lock file of its own, and the pack. `docs/gpu.md` says what a visit with it is for.

mod copy;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{cargo, output, root, run};
use crate::{folder, setup, space};

/// The version of tch for the libtorch of a pack.
const TCH: &str = "0.24.0";

/// The most that a pack may take, in bytes: what is sent has a limit.
const MAX_BYTES: u64 = 60 << 20;

/// What the first build takes of the disk beside the libtorch, in megabytes.
const BUILD_MEGABYTES: u64 = 3_000;

/// The tests that look at `EPS_REQUIRE_CUDA`, by their packages, and the measurement of costs.
const TESTS: [(&str, &str); 4] = [
    ("eps-model", "operators"),
    ("eps-model", "maps"),
    ("eps-model", "networks"),
    ("eps", "devices"),
];
const BENCH: (&str, &str) = ("eps", "cost");

/// What tests and measurements read, by its path in the repository and in a pack.
const FILES: [&str; 4] = [
    "crates/eps-model/tests/fixtures",
    "data/fashion-mnist",
    "data/networks/fashion/all-tasks.safetensors",
    "data/paper/photos-64",
];

/// What runs there, by its name in a pack.
const SCRIPTS: [(&str, &str); 2] = [
    ("run.sh", include_str!("gpu_pack/run.sh")),
    ("pytorch.py", include_str!("gpu_pack/pytorch.py")),
];

/// Where programs come from.
#[derive(Debug)]
struct Build {
    /// The tree that is compiled.
    source: PathBuf,
    /// Where cargo puts what it compiles.
    target: PathBuf,
    /// The libtorch, where it is not the one that the tree finds by itself.
    libtorch: Option<PathBuf>,
}

/// Makes the pack, or, to rehearse, one for this machine that runs every entry of its script on the CPU.
pub(crate) fn gpu_pack(rehearse: bool) -> Result<()> {
    let gpu = root().join(".gpu");
    fs::create_dir_all(&gpu).with_context(|| format!("could not create {}", gpu.display()))?;
    setup::setup(false)?;
    if rehearse {
        return self::rehearse(&gpu);
    }
    let target = gpu.join("target");
    if !target.exists() {
        space::require(&gpu, BUILD_MEGABYTES, "compiling everything for a pack")?;
    }
    let libtorch = setup::packed_libtorch(&gpu)?;
    let source = gpu.join("source");
    copy::tree(root(), &source)?;
    let mut update = cargo();
    update.current_dir(&source).args(["update", "--quiet", "--package", "tch", "--precise", TCH]);
    run(&mut update).with_context(|| {
        format!("tch {TCH} could not be taken in {}: it comes from the registry", source.display())
    })?;
    let build = Build { source, target, libtorch: Some(libtorch) };
    let pack = collect(&build, &gpu.join("pack"))?;
    println!("the pack is {}; there, run: ./run.sh --out FOLDER", pack.display());
    Ok(())
}

/// Runs the script of a pack on this machine: two steps of every entry.
fn rehearse(gpu: &Path) -> Result<()> {
    let metadata: serde_json::Value = serde_json::from_str(&output(cargo().args([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
    ]))?)?;
    let target = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    let build = Build { source: root().to_owned(), target: target.into(), libtorch: None };
    let pack = collect(&build, &gpu.join("rehearsal"))?;
    let out = gpu.join("rehearsed");
    folder::create_empty(&out)?;
    run(Command::new(pack.join("run.sh")).arg("--rehearse").arg("--out").arg(&out))
}

/// Compiles, collects everything into a folder, and checks how large it is.
fn collect(build: &Build, pack: &Path) -> Result<PathBuf> {
    let part = pack.with_extension("part");
    folder::create_empty(&part)?;
    for (name, program) in programs(build)? {
        run(Command::new("strip").arg("-o").arg(part.join(&name)).arg(&program)).with_context(
            || "`strip` takes out what only a debugger reads: install binutils".to_owned(),
        )?;
        // The script unpacks it there.
        run(Command::new("gzip").arg("-9").arg(part.join(&name)))
            .with_context(|| "`gzip` packs the programs: install it".to_owned())?;
    }
    for file in FILES {
        copy::path(&build.source.join(file), &part.join(file))?;
    }
    for (name, text) in SCRIPTS {
        let path = part.join(name);
        fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        copy::make_executable(&path)?;
    }
    let sizes = copy::sizes(&part)?;
    check_size(&sizes, MAX_BYTES)?;
    folder::remove(pack)?;
    fs::rename(&part, pack).with_context(|| format!("could not rename {}", part.display()))?;
    let bytes: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
    println!("{} files, {:.1} MiB", sizes.len(), bytes as f64 / f64::from(1 << 20));
    Ok(pack.to_owned())
}

/// Compiles the programs of a pack; their names there and where they are.
fn programs(build: &Build) -> Result<Vec<(String, PathBuf)>> {
    let names = |(package, target): &(&str, &str)| format!("{package}-{target}");
    // Of the whole workspace: for a crate alone, its dependencies would be compiled with other features.
    let mut eps = build.cargo();
    run(eps.args(["build", "--release", "--workspace", "--bin", "eps"]))?;
    let mut tests = build.cargo();
    tests.args(["test", "--release", "--no-run", "--workspace"]);
    tests.args(TESTS.iter().flat_map(|(_, target)| ["--test", target]));
    tests.args(["--bench", BENCH.1, "--message-format", "json-render-diagnostics"]);
    let built = executables(&output_of_build(&mut tests)?);
    let mut programs = vec![("eps".to_owned(), build.target.join("release/eps"))];
    for target in TESTS.iter().chain([&BENCH]) {
        let Some((_, program)) = built.iter().find(|(name, _)| *name == names(target)) else {
            bail!("cargo compiled no program of {} in {}", target.1, target.0);
        };
        programs.push((names(target), program.clone()));
    }
    Ok(programs)
}

impl Build {
    fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.source);
        if let Some(libtorch) = &self.libtorch {
            command.env("CARGO_TARGET_DIR", &self.target).env("LIBTORCH", libtorch);
            command.env_remove("LIBTORCH_USE_PYTORCH");
            if std::env::var_os("CMAKE").is_none() {
                command.env("CMAKE", setup::cmake());
            }
        }
        command
    }
}

/// The standard output of a build, which says by standard error what it does.
fn output_of_build(command: &mut Command) -> Result<String> {
    let built =
        command.stderr(std::process::Stdio::inherit()).output().context("could not start cargo")?;
    ensure!(built.status.success(), "cargo failed ({}); what it said is above", built.status);
    String::from_utf8(built.stdout).context("cargo printed something that is not UTF-8")
}

/// The executables that cargo's messages tell, by `PACKAGE-TARGET`.
fn executables(messages: &str) -> Vec<(String, PathBuf)> {
    let executable = |line: &str| -> Option<(String, PathBuf)> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let program = message["executable"].as_str()?;
        // .../crates/eps-model/Cargo.toml
        let manifest = Path::new(message["manifest_path"].as_str()?);
        let package = manifest.parent().and_then(Path::file_name).and_then(OsStr::to_str)?;
        let target = message["target"]["name"].as_str()?;
        Some((format!("{package}-{target}"), program.into()))
    };
    messages.lines().filter_map(executable).collect()
}

/// Checks that files take no more than so many bytes together.
fn check_size(sizes: &[(PathBuf, u64)], most: u64) -> Result<()> {
    let total: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
    let mut largest: Vec<_> = sizes.iter().collect();
    largest.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let listed: Vec<String> =
        largest.iter().take(5).map(|(path, bytes)| format!("{} {bytes}", path.display())).collect();
    ensure!(
        total <= most,
        "the pack takes {total} bytes, more than {most}: leave something out of xtask/src/gpu_pack.rs; the largest \
         are {}",
        listed.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_apart_by_their_package() {
        let line = |package: &str, executable: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"/e/crates/{package}/Cargo.toml\",\
                 \"target\":{{\"name\":\"networks\"}},\"executable\":{executable}}}\n"
            )
        };
        let messages = line("eps-metrics", "\"/t/a\"")
            + &line("eps-model", "\"/t/b\"")
            + &line("eps-math", "null")
            + "{\"reason\":\"build-finished\",\"success\":true}\n";
        let expected = [("eps-metrics-networks", "/t/a"), ("eps-model-networks", "/t/b")];
        let expected = expected.map(|(name, path)| (name.to_owned(), PathBuf::from(path)));
        assert_eq!(executables(&messages), expected);
    }

    #[test]
    fn what_is_too_large_is_named() {
        let sizes = [(PathBuf::from("small"), 3), (PathBuf::from("large"), 7)];
        check_size(&sizes, 10).unwrap();
        let error = check_size(&sizes, 9).unwrap_err().to_string();
        assert!(error.contains("takes 10 bytes, more than 9"), "{error}");
        assert!(error.ends_with("the largest are large 7, small 3"), "{error}");
    }

    #[test]
    fn the_files_of_a_pack_are_in_the_repository() {
        for file in FILES {
            assert!(root().join(file).exists(), "{file}");
        }
        let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
        assert!(
            !lock.contains(&format!("name = \"tch\"\nversion = \"{TCH}\"")),
            "no other is needed"
        );
    }
}

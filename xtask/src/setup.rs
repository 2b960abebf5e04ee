//! `cargo xtask setup`: what a build needs beyond a Rust toolchain, a C++ compiler and Python.
//!
//! `.cargo/config.toml` points torch-sys to `.deps/libtorch` and the build of HDF5 to
//! `.deps/bin/cmake`; this brings both. A libtorch of the user's own, named by `LIBTORCH` or
//! `LIBTORCH_USE_PYTORCH`, is checked and left alone, and so is a CMake named by `CMAKE`.

mod pins;
mod wheels;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use self::pins::{CMAKE, CPU, CUDA, MPI, NVIDIA, PACKED, PACKED_TORCH, TORCH};
use crate::process::{cargo, deps, output, root, run, runs};

/// The oldest CMake that the static HDF5 accepts.
const CMAKE_VERSION: (u32, u32) = (3, 26);

/// The oldest pip that knows the wheels' platforms by name.
const PIP_VERSION: (u32, u32) = (20, 3);

/// The versions of tch that this compiles with, each with its libtorch.
const VERSIONS: [(&str, &str); 2] = [("0.24.", PACKED_TORCH), ("0.26.", TORCH)];

/// The packages whose build scripts look at libtorch.
const LINKED: [&str; 8] = [
    "torch-sys",
    "eps-metrics",
    "eps-model",
    "eps-sample",
    "eps-train",
    "eps",
    "eps-experiments",
    "eps-cli",
];

/// Brings what is missing into `.deps/`; needs no network where nothing is.
pub(crate) fn setup(cuda: bool) -> Result<()> {
    let deps = deps();
    fs::create_dir_all(&deps).with_context(|| format!("could not create {}", deps.display()))?;
    let _lock = lock(&deps)?;

    let libtorch = libtorch_of(
        std::env::var_os("LIBTORCH").as_deref(),
        std::env::var_os("LIBTORCH_USE_PYTORCH").is_some(),
        &deps.join("libtorch"),
    );
    let cmake = cmake_of(std::env::var_os("CMAKE").as_deref(), &cmake_link(&deps));
    let fetches_libtorch = libtorch == Libtorch::Ours && !has_libtorch(&deps, cuda);
    let fetches_cmake = cmake == Cmake::Fetched && !wheels::installed(&deps, &CMAKE);

    let mut missing = missing_tools();
    if fetches_libtorch || fetches_cmake {
        missing.extend(missing_python());
    }
    ensure!(missing.is_empty(), "set-up needs more than it found:\n  - {}", missing.join("\n  - "));

    let lock =
        fs::read_to_string(root().join("Cargo.lock")).context("could not read Cargo.lock")?;
    let torch = torch_of(&lock)?;
    match libtorch {
        Libtorch::Ours => {
            ensure!(
                torch == TORCH,
                "Cargo.lock takes a tch for libtorch {torch}, and set-up brings {TORCH}: name a libtorch {torch} in \
                 LIBTORCH, or take the tch of {TORCH} again with `git checkout Cargo.lock`"
            );
            if fetches_libtorch {
                install_libtorch(&deps, cuda)?;
            }
        }
        Libtorch::Folder(folder) => check_libtorch(&folder, cuda, torch)?,
        Libtorch::Python => check_python_torch(torch)?,
    }
    install_cmake(&deps, cmake, fetches_cmake)
}

/// Whether there is an MPI for this machine among the pinned wheels.
pub(crate) fn has_pinned_mpi() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
}

/// Brings an MPI and what its bindings are made with into `.deps/mpi`, with a script `env` to be sourced.
pub(crate) fn setup_mpi() -> Result<()> {
    let deps = deps();
    fs::create_dir_all(&deps).with_context(|| format!("could not create {}", deps.display()))?;
    let _lock = lock(&deps)?;
    let folder = deps.join(MPI.folder);
    if !wheels::installed(&deps, &MPI) {
        ensure!(
            has_pinned_mpi(),
            "no MPI is pinned for {} on {}: install one with its compiler wrapper mpicc, and libclang",
            std::env::consts::OS,
            std::env::consts::ARCH,
        );
        if let Some(missing) = missing_python() {
            bail!("an MPI is fetched with pip, and there is none:\n  - {missing}");
        }
        wheels::install(&deps, &MPI, |_| Ok(()))?;
    }
    let lines: Vec<String> =
        mpi_variables()?.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    let path = folder.join("env");
    fs::write(&path, lines.concat() + &format!("PATH='{}/bin':\"$PATH\"\n", folder.display()))
        .with_context(|| format!("could not write {}", path.display()))?;
    println!(
        "MPI is in {}: `. {}`, then build with `--features mpi`",
        folder.display(),
        path.display()
    );
    Ok(())
}

/// What compiles the bindings of the MPI in `.deps/mpi`.
pub(crate) fn mpi_variables() -> Result<[(&'static str, String); 3]> {
    let folder = deps().join(MPI.folder).display().to_string();
    // libclang comes without the compiler's own headers.
    let headers = output(Command::new("cc").arg("-print-file-name=include"))
        .context("a C compiler tells where its headers are: install one, as `cc`")?;
    Ok([
        ("MPICC", format!("{folder}/bin/mpicc")),
        ("LIBCLANG_PATH", folder),
        ("BINDGEN_EXTRA_CLANG_ARGS", format!("-I{}", headers.trim())),
    ])
}

/// `LD_LIBRARY_PATH` with the libraries of the libtorch that the build takes, and of an MPI that set-up brought, at its
/// end, for programs that cannot find them by themselves.
pub(crate) fn with_libtorch(path: Option<OsString>) -> Result<OsString> {
    let ours = deps().join("libtorch");
    let use_pytorch = std::env::var_os("LIBTORCH_USE_PYTORCH").is_some();
    let folder = match libtorch_of(std::env::var_os("LIBTORCH").as_deref(), use_pytorch, &ours) {
        Libtorch::Ours => ours,
        Libtorch::Folder(folder) => folder,
        Libtorch::Python => {
            let script = "import os, torch; print(os.path.dirname(torch.__file__))";
            output(Command::new(python()).args(["-c", script]))?.trim_end().into()
        }
    };
    let given: Vec<PathBuf> = path.iter().flat_map(std::env::split_paths).collect();
    let mpi = deps().join(MPI.folder).join("lib");
    let paths = given.into_iter().chain([folder.join("lib"), mpi]);
    std::env::join_paths(paths)
        .with_context(|| format!("{} is no path for LD_LIBRARY_PATH", folder.display()))
}

/// The Python whose torch torch-sys takes: in a virtual environment it calls it `python`.
fn python() -> &'static str {
    if std::env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" }
}

/// The libtorch of the tch that a lock file takes.
fn torch_of(lock: &str) -> Result<&'static str> {
    let version =
        lock.split("name = \"tch\"\nversion = \"").nth(1).and_then(|rest| rest.split('"').next());
    let version =
        version.context("Cargo.lock names no tch: restore it with `git checkout Cargo.lock`")?;
    let known = VERSIONS.iter().find(|(tch, _)| version.starts_with(tch)).map(|(_, torch)| *torch);
    known.with_context(|| {
        let tried: Vec<String> =
            VERSIONS.iter().map(|(tch, torch)| format!("{tch}x for {torch}")).collect();
        format!(
            "Cargo.lock takes tch {version}, which was not tried here; known are {}",
            tried.join(" and ")
        )
    })
}

/// Waits until no other set-up works on `deps`; the lock ends with this process.
fn lock(deps: &Path) -> Result<File> {
    let path = deps.join("lock");
    let failed = || format!("could not lock {}", path.display());
    let file = File::create(&path).with_context(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            println!("waiting for another set-up to end");
            file.lock().with_context(failed)?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
    }
    Ok(file)
}

/// Whose libtorch the build takes.
#[derive(Debug, PartialEq, Eq)]
enum Libtorch {
    /// The one in `.deps/`.
    Ours,
    /// A folder that the user named.
    Folder(PathBuf),
    /// That of the user's Python.
    Python,
}

/// Reads the variables as torch-sys does, `LIBTORCH_USE_PYTORCH` first.
///
/// `LIBTORCH` at `ours` is no choice of the user's: `.cargo/config.toml` sets it.
fn libtorch_of(libtorch: Option<&OsStr>, use_pytorch: bool, ours: &Path) -> Libtorch {
    match libtorch {
        _ if use_pytorch => Libtorch::Python,
        Some(folder) if folder != ours => Libtorch::Folder(folder.into()),
        _ => Libtorch::Ours,
    }
}

/// Whether `.deps/` holds a libtorch that will do; that of CUDA also runs on the CPU.
fn has_libtorch(deps: &Path, cuda: bool) -> bool {
    (wheels::installed(deps, &CUDA) && wheels::installed(deps, &NVIDIA))
        || (!cuda && wheels::installed(deps, &CPU))
}

fn install_libtorch(deps: &Path, cuda: bool) -> Result<()> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "no libtorch is pinned for {} on {}. Install {TORCH} yourself: either `python3 -m pip \
         install torch=={TORCH}` and set LIBTORCH_USE_PYTORCH=1, or unpack libtorch {TORCH} and \
         set LIBTORCH to its folder",
        std::env::consts::OS,
        std::env::consts::ARCH,
    );
    let replaces = deps.join("libtorch").exists();
    if cuda {
        if !wheels::installed(deps, &NVIDIA) {
            wheels::install(deps, &NVIDIA, |_| Ok(()))?;
        }
        wheels::install(deps, &CUDA, |folder| write_version(folder, TORCH))?;
    } else {
        wheels::install(deps, &CPU, |folder| {
            let link = folder.join("lib").join("libtorch.so");
            symlink("libtorch_cpu.so", &link)
                .with_context(|| format!("could not create {}", link.display()))?;
            write_version(folder, TORCH)
        })?;
    }
    if replaces {
        // Cargo sees no change, since the path is the same, but other libraries are linked.
        for profile in ["dev", "release"] {
            let packages = LINKED.iter().flat_map(|package| ["--package", package]);
            run(cargo().args(["clean", "--quiet", "--profile", profile]).args(packages))?;
        }
    }
    println!("libtorch {TORCH} is in {}", deps.join("libtorch").display());
    Ok(())
}

/// Brings the libtorch into a folder that the programs of a pack are linked to, and returns its own folder.
pub(crate) fn packed_libtorch(folder: &Path) -> Result<PathBuf> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "a pack is for Linux on x86_64, as the machine that makes it must be: this is {} on {}",
        std::env::consts::OS,
        std::env::consts::ARCH,
    );
    let libtorch = folder.join(PACKED.folder);
    if !wheels::installed(folder, &PACKED) {
        if let Some(missing) = missing_python() {
            bail!("torch {PACKED_TORCH} is fetched with pip, and there is none:\n  - {missing}");
        }
        wheels::install(folder, &PACKED, |folder| write_version(folder, PACKED_TORCH))?;
    }
    Ok(libtorch)
}

/// Writes the version where torch-sys looks for it.
fn write_version(folder: &Path, version: &str) -> Result<()> {
    let path = folder.join("build-version");
    fs::write(&path, format!("{version}\n"))
        .with_context(|| format!("could not write {}", path.display()))
}

/// Checks the libtorch that the user named.
fn check_libtorch(folder: &Path, cuda: bool, torch: &str) -> Result<()> {
    const REMEDY: &str = "correct LIBTORCH, or unset it to take the libtorch that set-up brings";
    ensure!(
        folder.to_str().is_some(),
        "LIBTORCH is {}, a path that is not UTF-8, which the build of torch-sys passes over: name the folder \
         by a link with another name, or unset LIBTORCH to take the libtorch that set-up brings",
        folder.display()
    );
    for part in ["lib", "include"] {
        ensure!(
            folder.join(part).is_dir(),
            "LIBTORCH is {}, which has no folder `{part}`: {REMEDY}",
            folder.display()
        );
    }
    let version = libtorch_version(folder);
    ensure!(
        version.as_deref().is_some_and(|version| is_torch(version, torch))
            || std::env::var_os("LIBTORCH_BYPASS_VERSION_CHECK").is_some(),
        "LIBTORCH is {}, of {}, and tch, through which this project calls it, takes {torch} and its builds \
         ({torch}+cpu, {torch}+cu130 and the like): {REMEDY}",
        folder.display(),
        version.map_or_else(
            || "a version that it does not tell".to_owned(),
            |version| { format!("version {version}") }
        )
    );
    ensure!(
        !cuda || folder.join("lib").join("libtorch_cuda.so").exists(),
        "LIBTORCH is {}, a libtorch without CUDA: {REMEDY}",
        folder.display()
    );
    println!("libtorch of {} (LIBTORCH)", folder.display());
    Ok(())
}

/// The version of a libtorch: an archive of libtorch says it in `build-version`, a package of Python in
/// `version.py`, and both in a header, which was another one before 2.9.
fn libtorch_version(folder: &Path) -> Option<String> {
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let quoted = |line: &str| {
        let value = line.strip_prefix("__version__ =")?.trim();
        Some(value.trim_matches(['\'', '"']).to_owned())
    };
    let header = |text: String| {
        let number = |name: &str| {
            text.lines().find_map(|line| {
                let value = line.strip_prefix("#define TORCH_VERSION_")?.strip_prefix(name)?;
                value.trim().parse::<u32>().ok()
            })
        };
        Some(format!("{}.{}.{}", number("MAJOR ")?, number("MINOR ")?, number("PATCH ")?))
    };
    read("build-version")
        .map(|text| text.trim().to_owned())
        .or_else(|| read("version.py")?.lines().find_map(quoted))
        .or_else(|| read("include/torch/headeronly/version.h").and_then(header))
        .or_else(|| read("include/torch/csrc/api/include/torch/version.h").and_then(header))
}

/// Checks the torch of the user's Python.
fn check_python_torch(torch: &str) -> Result<()> {
    const REMEDY: &str = "install it there, or unset LIBTORCH_USE_PYTORCH to take the libtorch \
                          that set-up brings";
    let python = python();
    let script = "import torch; print(torch.__version__)";
    let version = output(Command::new(python).args(["-c", script])).with_context(|| {
        format!("LIBTORCH_USE_PYTORCH is set but `{python}` has no torch {torch}: {REMEDY}")
    })?;
    let version = version.trim();
    ensure!(
        is_torch(version, torch) || std::env::var_os("LIBTORCH_BYPASS_VERSION_CHECK").is_some(),
        "LIBTORCH_USE_PYTORCH is set, `{python}` has torch {version}, and this project needs \
         {torch}: {REMEDY}"
    );
    println!("libtorch of `{python}` (LIBTORCH_USE_PYTORCH)");
    Ok(())
}

/// Whether `version` is a libtorch, of whatever build (`2.13.0+cu130`).
fn is_torch(version: &str, torch: &str) -> bool {
    version.split('+').next() == Some(torch)
}

/// Which CMake builds HDF5.
#[derive(Debug, PartialEq, Eq)]
enum Cmake {
    /// One that the user named in `CMAKE`.
    Named(PathBuf),
    /// The system's.
    System(PathBuf),
    /// The one that is fetched into `.deps/`.
    Fetched,
}

/// The CMake of the repository, for trees that have none.
pub(crate) fn cmake() -> PathBuf {
    cmake_link(&deps())
}

/// Where `.cargo/config.toml` says that CMake is.
fn cmake_link(deps: &Path) -> PathBuf {
    deps.join("bin").join("cmake")
}

/// `CMAKE` at `ours` is no choice of the user's: `.cargo/config.toml` sets it.
fn cmake_of(cmake: Option<&OsStr>, ours: &Path) -> Cmake {
    match cmake {
        Some(named) if named != ours => Cmake::Named(named.into()),
        _ => system_cmake().map_or(Cmake::Fetched, Cmake::System),
    }
}

/// The first `cmake` on the path, where it is recent enough.
fn system_cmake() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let cmake = std::env::split_paths(&path).map(|folder| folder.join("cmake"));
    let cmake = cmake.into_iter().find(|cmake| cmake.is_file())?;
    let said = output(Command::new(&cmake).arg("--version")).ok()?;
    (version(&said)? >= CMAKE_VERSION).then_some(cmake)
}

fn install_cmake(deps: &Path, cmake: Cmake, fetch: bool) -> Result<()> {
    let target = match cmake {
        Cmake::Named(named) => {
            ensure!(
                runs(&named),
                "CMAKE is {}, which does not run: correct it, or unset it to take the CMake that \
                 set-up brings",
                named.display()
            );
            return Ok(());
        }
        Cmake::System(path) => path,
        Cmake::Fetched => {
            ensure!(
                cfg!(all(target_os = "linux", target_arch = "x86_64")),
                "no CMake is pinned for {} on {}: install CMake {}.{} or later and put it on PATH",
                std::env::consts::OS,
                std::env::consts::ARCH,
                CMAKE_VERSION.0,
                CMAKE_VERSION.1,
            );
            if fetch {
                wheels::install(deps, &CMAKE, |_| Ok(()))?;
            }
            Path::new("..").join(CMAKE.folder).join("data/bin/cmake")
        }
    };
    let link = cmake_link(deps);
    if fs::read_link(&link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    let failed = || format!("could not link {} to {}", link.display(), target.display());
    fs::create_dir_all(deps.join("bin")).with_context(failed)?;
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link).with_context(failed)?;
    }
    symlink(&target, &link).with_context(failed)
}

/// The build tools that are not there, each with how to get it.
fn missing_tools() -> Vec<String> {
    let mut missing = Vec::new();
    let cxx = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    // CXX may hold a launcher and flags: `ccache g++ -m64`.
    let compiler = cxx.split_whitespace().next().unwrap_or("c++");
    if !runs(compiler) {
        missing.push(format!(
            "a C++ compiler: `{compiler}` does not run. Install one (`apt install g++` on Debian \
             and Ubuntu, `dnf install gcc-c++` on Fedora, `pacman -S gcc` on Arch), or name yours \
             in CXX"
        ));
    }
    if std::env::var_os("CMAKE_GENERATOR").is_none() && !runs("make") {
        missing.push(
            "make, which CMake drives to build HDF5. Install it (`apt install make`, `dnf install \
             make`, `pacman -S make`), or name another build tool in CMAKE_GENERATOR, such as Ninja"
                .to_owned(),
        );
    }
    missing
}

/// What is missing for fetching packages with pip, with how to get it.
pub(crate) fn missing_python() -> Option<String> {
    if !runs("python3") {
        return Some(
            "Python 3: `python3` does not run. Install it with pip (`apt install python3 \
             python3-pip`, `dnf install python3 python3-pip`, `pacman -S python-pip`)"
                .to_owned(),
        );
    }
    let pip = output(Command::new("python3").args(["-m", "pip", "--version"]));
    match pip.as_deref().map(version) {
        Ok(Some(found)) if found >= PIP_VERSION => None,
        Ok(Some((major, minor))) => Some(format!(
            "a newer pip: this one is {major}.{minor} and {}.{} is needed. Run `python3 -m pip \
             install --upgrade pip`",
            PIP_VERSION.0, PIP_VERSION.1
        )),
        _ => Some(
            "pip: `python3 -m pip` does not run. Install it (`apt install python3-pip`, `dnf \
             install python3-pip`, `pacman -S python-pip`, or `python3 -m ensurepip`)"
                .to_owned(),
        ),
    }
}

/// The first two numbers of the first word that is a version: `cmake version 3.31.2` is (3, 31).
fn version(said: &str) -> Option<(u32, u32)> {
    said.split_whitespace().find_map(|word| {
        let mut numbers = word.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_libtorch_of_the_users_comes_first() {
        let ours = Path::new("/repository/.deps/libtorch");
        let set = |folder| Some(OsStr::new(folder));
        assert_eq!(libtorch_of(None, false, ours), Libtorch::Ours);
        // What .cargo/config.toml sets is not the user's choice.
        assert_eq!(libtorch_of(set("/repository/.deps/libtorch"), false, ours), Libtorch::Ours);
        assert_eq!(libtorch_of(set("/opt/t"), false, ours), Libtorch::Folder("/opt/t".into()));
        assert_eq!(libtorch_of(set("/opt/t"), true, ours), Libtorch::Python);
        assert_eq!(libtorch_of(None, true, ours), Libtorch::Python);
    }

    #[test]
    fn a_cmake_of_the_users_comes_first() {
        let ours = Path::new("/repository/.deps/bin/cmake");
        let named = cmake_of(Some(OsStr::new("/opt/cmake")), ours);
        assert_eq!(named, Cmake::Named("/opt/cmake".into()));
        let configured = cmake_of(Some(ours.as_os_str()), ours);
        assert!(!matches!(configured, Cmake::Named(_)));
    }

    #[test]
    fn a_wrong_libtorch_is_named_with_a_remedy() {
        let error =
            check_libtorch(Path::new("/no/such/libtorch"), false, TORCH).unwrap_err().to_string();
        assert!(error.contains("/no/such/libtorch") && error.contains("unset it"), "{error}");
    }

    /// A folder that looks like a libtorch, with these files beside its libraries.
    fn libtorch(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        crate::folder::create_empty(&folder).unwrap();
        for part in ["lib", "include"] {
            fs::create_dir(folder.join(part)).unwrap();
        }
        for (file, text) in files {
            fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
            fs::write(folder.join(file), text).unwrap();
        }
        folder
    }

    const HEADER: &str = "#pragma once\n\n#define TORCH_VERSION_MAJOR 2\n\n#define TORCH_VERSION_MINOR 6\n\n\
                          #define TORCH_VERSION_PATCH 1\n\n#define TORCH_VERSION \\\n  \"2.6.1\"\n";

    #[test]
    fn another_libtorch_is_refused_by_its_version_wherever_that_stands() {
        let cases = [
            ("build-version", "2.6.1+cpu\n", "of version 2.6.1+cpu"),
            (
                "version.py",
                "from typing import Optional\n__version__ = '2.6.1+cu124'\ndebug = False\n",
                "2.6.1+cu124",
            ),
            ("include/torch/headeronly/version.h", HEADER, "of version 2.6.1,"),
            ("include/torch/csrc/api/include/torch/version.h", HEADER, "of version 2.6.1,"),
            ("include/torch/torch.h", "", "a version that it does not tell"),
        ];
        for (file, text, said) in cases {
            let folder = libtorch("other-libtorch", &[(file, text)]);
            let error = check_libtorch(&folder, false, TORCH).unwrap_err().to_string();
            crate::folder::remove(&folder).unwrap();
            assert!(error.contains(said) && error.contains("takes 2.13.0"), "{error}");
            assert!(error.contains(&folder.display().to_string()), "{error}");
        }
    }

    #[test]
    fn the_libtorch_of_tch_is_taken_from_an_archive_or_a_package() {
        let header = HEADER.replace("MINOR 6", "MINOR 13").replace("PATCH 1", "PATCH 0");
        for (file, text) in [
            ("build-version", "2.13.0+cpu\n"),
            ("version.py", "__version__ = '2.13.0+cu130'\n"),
            ("include/torch/headeronly/version.h", &*header),
        ] {
            let folder = libtorch("same-libtorch", &[(file, text)]);
            let outcome = check_libtorch(&folder, false, TORCH);
            let cuda = check_libtorch(&folder, true, TORCH);
            crate::folder::remove(&folder).unwrap();
            outcome.unwrap();
            assert!(cuda.unwrap_err().to_string().contains("without CUDA"));
        }
    }

    #[test]
    fn the_lock_file_says_which_libtorch_is_taken() {
        let lock = |version| format!("[[package]]\nname = \"tch\"\nversion = \"{version}\"\n");
        assert_eq!(torch_of(&lock("0.24.0")).unwrap(), "2.11.0");
        assert_eq!(torch_of(&lock("0.26.3")).unwrap(), "2.13.0");
        let error = torch_of(&lock("0.27.0")).unwrap_err().to_string();
        assert!(error.contains("tch 0.27.0") && error.contains("0.24.x for 2.11.0"), "{error}");
        assert!(torch_of("").unwrap_err().to_string().contains("git checkout Cargo.lock"));
        let committed = fs::read_to_string(root().join("Cargo.lock")).unwrap();
        assert_eq!(torch_of(&committed).unwrap(), TORCH);
        let folder = libtorch("locked-libtorch", &[("build-version", "2.13.0+cpu\n")]);
        let error = check_libtorch(&folder, false, "2.11.0").unwrap_err().to_string();
        crate::folder::remove(&folder).unwrap();
        assert!(
            error.contains("of version 2.13.0+cpu") && error.contains("takes 2.11.0"),
            "{error}"
        );
    }

    #[test]
    fn a_libtorch_whose_path_the_build_cannot_read_is_named() {
        use std::os::unix::ffi::OsStrExt;
        let folder = Path::new(OsStr::from_bytes(b"/opt/torch-\xff"));
        let error = check_libtorch(folder, false, TORCH).unwrap_err().to_string();
        assert!(error.contains("/opt/torch-") && error.contains("not UTF-8"), "{error}");
    }

    #[test]
    fn pip_needs_no_virtual_environment() {
        let pip = crate::process::pip();
        let variable = pip.get_envs().find(|(name, _)| *name == "PIP_REQUIRE_VIRTUALENV");
        assert_eq!(variable.and_then(|(_, value)| value), Some(OsStr::new("0")));
    }

    #[test]
    fn versions_are_read_from_what_programs_print() {
        assert_eq!(version("cmake version 4.4.4\n\nCMake suite"), Some((4, 4)));
        assert_eq!(version("pip 23.2.1 from /usr/lib (python 3.11)"), Some((23, 2)));
        assert_eq!(version("no numbers"), None);
        let is_ours = |version| is_torch(version, TORCH);
        assert!(is_ours("2.13.0") && is_ours("2.13.0+cu130") && !is_ours("2.13.01"));
    }
}

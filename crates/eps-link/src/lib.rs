//! For build scripts of programs on libtorch, this project's and others.
//!
//! A program that is linked by tch alone does not know where libtorch lies when it is run, and one with a libtorch for
//! CUDA finds no GPU: no symbol of `libtorch_cuda` is named by Rust code, so that the linker drops the library. A
//! crate with programs, tests or examples on `eps-sample`, `eps-model` or `tch` calls [`libtorch`] in `main` of its `build.rs`:
//!
//! ```no_run
//! eps_link::libtorch();
//! ```
//!
//! and has in its `Cargo.toml`, beside what it uses, the package that tells where libtorch lies:
//!
//! ```toml
//! [dependencies]
//! torch-sys = "0.26"
//!
//! [build-dependencies]
//! eps-link = { path = "../eps/crates/eps-link" }
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]
#![expect(clippy::print_stdout, reason = "a build script talks to cargo by its standard output")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes libtorch's directory into this package's executables and keeps its CUDA library, where it has one.
///
/// The directory is a RPATH, which goes before `LD_LIBRARY_PATH`: another libtorch that is named there is not taken.
/// Nothing happens where `torch-sys` is no direct dependency of the package, as its build script tells the directory
/// to direct dependants alone.
pub fn libtorch() {
    println!("cargo:rerun-if-changed=build.rs");
    let Some(lib) = directory() else { return };
    for argument in arguments(&lib) {
        println!("cargo:rustc-link-arg={argument}");
    }
}

/// Writes the directories of MPI's libraries into this package's executables, as the compiler wrapper names them: the one
/// in `MPICC`, else `mpicc`. Nothing happens where it does not run.
pub fn mpi() {
    println!("cargo:rerun-if-env-changed=MPICC");
    let wrapper = std::env::var_os("MPICC").unwrap_or_else(|| "mpicc".into());
    let Ok(output) = Command::new(wrapper).arg("-show").output() else { return };
    for folder in library_folders(&String::from_utf8_lossy(&output.stdout)) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}

/// The folders of a command line's `-L`.
fn library_folders(command: &str) -> Vec<&str> {
    command.split_whitespace().filter_map(|word| word.strip_prefix("-L")).collect()
}

/// The directory of libtorch's libraries, in a build script of a package that depends on `torch-sys` itself.
pub fn directory() -> Option<PathBuf> {
    std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from)
}

/// The version of libtorch that its own files tell, as `2.13.0+cpu`; none where they do not.
pub fn version(lib: &Path) -> Option<String> {
    let text = std::fs::read_to_string(lib.parent()?.join("build-version")).ok()?;
    let version = text.trim();
    (!version.is_empty()).then(|| version.to_owned())
}

/// That undefined symbols of shared libraries are for the loader to find.
const MISSING_CUDA: &str = "-Wl,--unresolved-symbols=ignore-in-shared-libs";

/// What the linker is told.
fn arguments(lib: &Path) -> Vec<String> {
    // Without the second one the directory is a RUNPATH, which LD_LIBRARY_PATH goes before.
    let mut arguments =
        vec![format!("-Wl,-rpath,{}", lib.display()), "-Wl,--disable-new-dtags".to_owned()];
    let cuda = lib.join("libtorch_cuda.so");
    if cuda.exists() {
        let cuda = cuda.display();
        arguments.push(format!("-Wl,--push-state,--no-as-needed,{cuda},--pop-state"));
        // What that library calls of CUDA's own need not lie where a program is linked.
        arguments.push(MISSING_CUDA.to_owned());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_mpi_are_those_of_its_wrapper() {
        let command = "cc -I/opt/m/include -L/opt/m/lib -L/usr/lib -Wl,-rpath -lmpi";
        assert_eq!(library_folders(command), ["/opt/m/lib", "/usr/lib"]);
        assert!(library_folders("").is_empty());
    }

    #[test]
    fn the_cuda_library_is_kept_where_there_is_one() {
        let dir = std::env::temp_dir().join(format!("eps-link-{}", std::process::id()));
        let lib = dir.join("lib");
        std::fs::create_dir_all(&lib).unwrap();
        let rpath = format!("-Wl,-rpath,{}", lib.display());
        assert_eq!(arguments(&lib), [&*rpath, "-Wl,--disable-new-dtags"]);
        assert_eq!(version(&lib), None);

        std::fs::write(lib.join("libtorch_cuda.so"), "").unwrap();
        std::fs::write(dir.join("build-version"), "2.13.0+cu130\n").unwrap();
        let cuda = format!(
            "-Wl,--push-state,--no-as-needed,{}/libtorch_cuda.so,--pop-state",
            lib.display()
        );
        assert_eq!(arguments(&lib), [&*rpath, "-Wl,--disable-new-dtags", &*cuda, MISSING_CUDA]);
        assert_eq!(version(&lib).as_deref(), Some("2.13.0+cu130"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

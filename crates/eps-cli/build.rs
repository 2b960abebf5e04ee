//! Writes the directory of libtorch into this package's executables, so that they run by themselves,
//! and keeps its CUDA library, of which no symbol is named, from being dropped by the linker. Tells the program
//! the revision of its sources.

use std::path::Path;
use std::process::Command;

/// What git answers about this repository; none without git or repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn revision() {
    if let Some(revision) = git(&["describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"])
    {
        println!("cargo:rustc-env=EPS_REVISION={revision}");
    }
    // A commit, or a change of any crate.
    let of_git = ["HEAD", "refs", "packed-refs"];
    let of_git = of_git.map(|name| git(&["rev-parse", "--git-path", name]));
    let sources = ["..", "../../Cargo.toml", "../../Cargo.lock"].map(|path| Some(path.to_owned()));
    for path in of_git.into_iter().chain(sources).flatten() {
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    revision();
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") else { return };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    let cuda = Path::new(&lib).join("libtorch_cuda.so");
    if cuda.exists() {
        let cuda = cuda.display();
        println!("cargo:rustc-link-arg=-Wl,--push-state,--no-as-needed,{cuda},--pop-state");
    }
}

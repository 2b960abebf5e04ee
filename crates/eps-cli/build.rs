//! The program finds libtorch by itself, and knows its version, the revision of its sources and libtorch's version.

use std::path::Path;
use std::process::Command;

/// What git answers about this repository; none without git or repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn main() {
    eps_link::libtorch();
    if std::env::var_os("CARGO_FEATURE_MPI").is_some() {
        eps_link::mpi();
    }
    let revision = git(&["describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]);
    if let Some(revision) = &revision {
        println!("cargo:rustc-env=EPS_REVISION={revision}");
    }
    let libtorch = eps_link::directory().and_then(|lib| eps_link::version(&lib));
    println!(
        "cargo:rustc-env=EPS_VERSION={} (revision {}, libtorch {})",
        env!("CARGO_PKG_VERSION"),
        revision.as_deref().unwrap_or("unknown"),
        libtorch.as_deref().unwrap_or("of unknown version")
    );
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

//! The program finds libtorch by itself, and knows its version, the revision of its sources and libtorch's version.

use std::path::PathBuf;
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
    // A commit, or a change of what the program is made of; one of a test would compile all tests again.
    let of_git = ["HEAD", "refs", "packed-refs"];
    let of_git = of_git.map(|name| git(&["rev-parse", "--git-path", name]));
    let of_git = of_git.into_iter().flatten().map(PathBuf::from);
    let crates = std::fs::read_dir("..").into_iter().flatten().flatten();
    let of_crates = crates
        .flat_map(|folder| ["build.rs", "Cargo.toml", "src"].map(|name| folder.path().join(name)));
    let of_all = ["../../Cargo.toml", "../../Cargo.lock"].map(PathBuf::from);
    for path in of_git.chain(of_crates).chain(of_all) {
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
}

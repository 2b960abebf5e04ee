//! `cargo xtask test`: every check of the project, one after the other.
//!
//! All of them use the `release` profile, so that libtorch's bindings and HDF5 are compiled once, and
//! numerical tests run at the speed that users see.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::fetch::{self, Item};
use crate::process::{cargo, compile, compile_with_mpi, root, run};
use crate::{performance, reproduce, setup, tidy};

type Check = (String, Box<dyn Fn() -> Result<()>>);

/// Sets up and runs every check to the end, whatever fails on the way.
pub(crate) fn test() -> Result<()> {
    let mut outcomes: Vec<(String, Duration, Result<()>)> = Vec::new();
    for (name, check) in checks() {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = check();
        let seconds = start.elapsed();
        match &outcome {
            Ok(()) => println!("== {name}: passed in {:.0} s", seconds.as_secs_f64()),
            Err(error) => {
                println!("== {name}: FAILED after {:.0} s: {error:#}", seconds.as_secs_f64());
            }
        }
        let unusable = name == SET_UP && outcome.is_err();
        outcomes.push((name, seconds, outcome));
        if unusable {
            // Nothing that follows could be compiled.
            break;
        }
    }

    println!("\n== summary");
    for (name, seconds, outcome) in &outcomes {
        let verdict = if outcome.is_ok() { "passed" } else { "FAILED" };
        println!("{verdict} {:6.0} s  {name}", seconds.as_secs_f64());
    }
    let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.2.is_err()).collect();
    println!("\nchecks: {} passed, {} failed", outcomes.len() - failed.len(), failed.len());
    if !failed.is_empty() {
        let names: Vec<_> = failed.iter().map(|outcome| outcome.0.as_str()).collect();
        bail!("failed: {}; look for `== NAME: FAILED` above", names.join(", "));
    }
    Ok(())
}

const SET_UP: &str = "set-up";

fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    let mut add = |name: &str, check: Box<dyn Fn() -> Result<()>>| {
        checks.push((name.to_owned(), check));
    };
    add(SET_UP, Box::new(|| setup::setup(false)));
    // Without it the others still run, of programs that know no MPI.
    add(
        "MPI for the tests of several processes",
        Box::new(|| {
            if setup::has_pinned_mpi() {
                setup::setup_mpi()?;
                compile_with_mpi(setup::mpi_variables()?);
            } else {
                println!(
                    "no MPI is pinned for this machine: what several processes do is not tested"
                );
            }
            Ok(())
        }),
    );
    add("format", Box::new(|| run(cargo().args(["fmt", "--all", "--check"]))));
    add("guards", Box::new(tidy::tidy));
    add("networks of LPIPS", Box::new(|| fetch::fetch(Item::Lpips, None)));
    add("lints", {
        let clippy = ["--workspace", "--all-targets", "--", "--deny", "warnings"];
        Box::new(move || run(compile("clippy").args(clippy)))
    });
    add(
        "documentation",
        Box::new(|| {
            let mut doc = cargo();
            doc.env("RUSTDOCFLAGS", "--deny warnings");
            run(doc.args(["doc", "--release", "--workspace", "--no-deps"]))
        }),
    );
    // With clippy, whose metadata of the dependencies are there; the guards have seen that none is libtorch.
    add("metrics without libtorch compile", {
        let clippy =
            ["clippy", "--release", "--package", "eps-metrics", "--", "--deny", "warnings"];
        Box::new(move || run(cargo().args(clippy)))
    });
    // What everyone has who asks for no feature; the tests below are of programs that know MPI.
    add(
        "without MPI, several processes are an error with its remedy",
        Box::new(|| run(cargo().args(["test", "--release", "--package", "eps-mpi"]))),
    );
    add(
        "tests",
        Box::new(|| {
            // All at once: for other packages cargo chooses other features of their dependencies, and compiles twice
            // what depends on these. Programs of crates that leave libtorch out then ask for it.
            let mut tests = compile("test");
            tests
                .env("LD_LIBRARY_PATH", setup::with_libtorch(std::env::var_os("LD_LIBRARY_PATH"))?)
                // They run beside each other.
                .env("OMP_NUM_THREADS", "1");
            run(tests.args(["--no-fail-fast", "--workspace"]))
        }),
    );
    add("smoke run", Box::new(|| reproduce::reproduce(&reproduce::Options::smoke())));
    let paper_scale = || reproduce::reproduce(&reproduce::Options::paper_scale());
    add("the paper's network, two images and two steps", Box::new(paper_scale));
    // All at once: for a crate alone, its dependencies would be compiled with other features.
    let benches = ["--no-run", "--workspace", "--bench", "*"];
    add("benches compile", Box::new(move || run(compile("bench").args(benches))));
    let page = root().join("target/performance.md");
    add(
        "what calls cost, one round",
        Box::new(move || performance::report(true, None, Some(&page))),
    );
    add("packages", Box::new(package));
    checks
}

/// Packages what others may want, without compiling it again.
fn package() -> Result<()> {
    let mut package = cargo();
    package.args(["package", "--quiet", "--workspace", "--exclude", "xtask"]);
    package.args(["--exclude", "eps-testing"]);
    // Everything has been fetched for the tests before.
    run(package.args(["--no-verify", "--allow-dirty", "--offline"]))
}

//! `cargo xtask smoke-results`: one seeded smoke run of every experiment that needs no training, for
//! `cargo xtask compare-results` to compare the programs of two revisions.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{cargo, compile, output, root, run};
use crate::recipe::read_recipes;
use crate::reproduce::{EXPERIMENTS, OWN_RECIPES};

/// Runs the experiments into folders of their names in `out`: by `program`, an `eps` of any revision, or
/// by the one that is built here.
///
/// A program finds data sets and networks in the repository that it was built in.
///
/// # Errors
/// A program that does not run, or an experiment that fails.
pub(crate) fn smoke_results(out: &Path, program: Option<&Path>) -> Result<()> {
    let out = std::path::absolute(out).with_context(|| format!("no path {}", out.display()))?;
    let program = match program {
        Some(program) => std::path::absolute(program)
            .with_context(|| format!("no path {}", program.display()))?,
        None => {
            run(compile("build").args(["--bin", "eps"]))?;
            built()?
        }
    };
    ensure!(program.is_file(), "--program {} is no file: name an `eps`", program.display());
    let own: Vec<String> =
        read_recipes(&root().join(OWN_RECIPES))?.into_iter().map(|recipe| recipe.name).collect();
    for experiment in EXPERIMENTS {
        if needs_training(&program, experiment, &own)? {
            println!("{experiment}: left out, since it trains networks of its own");
            continue;
        }
        println!("{experiment}");
        let mut smoke = Command::new(&program);
        smoke.args(["experiment", experiment, "--profile", "smoke", "--out"]);
        run(smoke.arg(out.join(experiment)))?;
    }
    println!("results: {}", out.display());
    Ok(())
}

/// Whether an experiment asks networks that are not committed.
fn needs_training(program: &Path, experiment: &str, own: &[String]) -> Result<bool> {
    if experiment == crate::reproduce::ORACLE {
        return Ok(false);
    }
    let listed = output(Command::new(program).args(["experiment", experiment, "--list-networks"]))?;
    Ok(listed.lines().any(|network| own.iter().any(|name| name == network)))
}

/// The program that `cargo build --release` leaves.
fn built() -> Result<PathBuf> {
    let json = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&json).context("could not read what `cargo metadata` printed")?;
    let target = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    Ok(Path::new(target).join("release/eps"))
}

//! `cargo xtask tidy`: rules of the project that no compiler checks.

mod files;
mod graph;
mod licences;
pub(crate) mod metadata;

use anyhow::{Result, bail};

/// Checks every rule and lists all that break one, each with the remedy.
pub(crate) fn tidy() -> Result<()> {
    let metadata = metadata::read()?;
    let rules = [
        ("edges between crates and native libraries", graph::check(&metadata)),
        ("lints of the workspace in every crate", graph::check_lints(&metadata)?),
        ("licences of dependencies", licences::check(&metadata)),
        ("committed files", files::check()?),
    ];
    let mut broken = 0;
    for (rule, violations) in &rules {
        println!("{rule}: {}", if violations.is_empty() { "kept" } else { "BROKEN" });
        for violation in violations {
            println!("  - {violation}");
        }
        broken += violations.len();
    }
    if broken > 0 {
        bail!("{broken} violation(s) of the project's rules, listed above with their remedies");
    }
    Ok(())
}

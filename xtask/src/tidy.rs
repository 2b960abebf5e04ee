//! `cargo xtask tidy`: rules of the project that no compiler checks.

mod examples;
mod features;
mod files;
mod graph;
mod imports;
mod licences;
mod metadata;
mod sizes;

use anyhow::{Result, bail};

/// Checks every rule, lists all that break one, each with the remedy, and prints what the rules measure.
pub(crate) fn tidy() -> Result<()> {
    let metadata = metadata::read()?;
    let files = files::listed()?;
    let sizes = sizes::of(&metadata, &files)?;
    let circles = imports::check(&metadata)?;
    let rules = [
        ("edges between crates and native libraries", graph::check(&metadata)),
        ("lints of the workspace in every crate", graph::check_lints(&metadata)?),
        ("licences of dependencies", licences::check(&metadata)),
        ("committed files", files::check(&files)?),
        ("the same features in programs and tests", features::check()?),
        ("examples are run", examples::check(&metadata)),
        ("sizes of crates", sizes::check(&sizes)),
        ("no circle of imports between files", circles.iter().map(remedy).collect()),
    ];
    let mut broken = 0;
    for (rule, violations) in &rules {
        println!("{rule}: {}", if violations.is_empty() { "kept" } else { "BROKEN" });
        for violation in violations {
            println!("  - {violation}");
        }
        broken += violations.len();
    }
    println!("the largest crate: {}", sizes::summary(&sizes));
    println!("circles of imports between files: {}", circles.len());
    println!("committed files: {:.1} MB", files::weight(&files)? as f64 / 1e6);
    if broken > 0 {
        bail!("{broken} violation(s) of the project's rules, listed above with their remedies");
    }
    Ok(())
}

fn remedy(circle: &imports::Circle) -> String {
    format!(
        "{circle}\n      open it: move what both sides need into a file below them, or what is used in one \
         place only to that place"
    )
}

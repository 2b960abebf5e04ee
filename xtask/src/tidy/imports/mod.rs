//! Which file of a crate imports which, read from the sources, and the circles that this makes.
//!
//! A file imports another where its code names something that the other defines, in a `use` or by a path.
//! `pub use` is a name more, not an import: who takes the name imports the file that defines it. `mod` is
//! none either, it says where files lie. Code under `#[cfg(test)]` is left out, since tests may look at
//! everything. Between crates there is no circle, or cargo would build none of them.

mod circles;
mod source;
mod tokens;
mod tree;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use self::circles::{Graph, circles};
use super::metadata::Metadata;
use crate::process::root;

/// Files of which each imports the next, and the last the first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Circle {
    /// Every file from which each of the others can be reached, the paths seen from the repository.
    pub(super) files: Vec<PathBuf>,
    /// A shortest way around: a file, the line that imports, and what it imports.
    pub(super) way: Vec<(PathBuf, usize, PathBuf)>,
}

/// The circles of every crate of the workspace: its library, programs, tests, benches and examples.
pub(super) fn check(metadata: &Metadata) -> Result<Vec<Circle>> {
    let mut found = BTreeSet::new();
    for package in metadata.members() {
        for target in &package.targets {
            found.extend(of(&target.src_path)?);
        }
    }
    Ok(found.into_iter().collect())
}

/// The circles among the files of the target whose first file this is.
fn of(first: &Path) -> Result<Vec<Circle>> {
    let (files, imports) = tree::read(first)?.imports();
    let name = |index: usize| {
        let file: &PathBuf = &files[index];
        file.strip_prefix(root()).unwrap_or(file).to_owned()
    };
    let graph: Graph = imports.keys().copied().collect();
    let named = circles(&graph).into_iter().map(|circle| {
        let mut members: Vec<_> = circle.members.iter().map(|&index| name(index)).collect();
        members.sort();
        let step = |&(from, to): &(usize, usize)| (name(from), imports[&(from, to)], name(to));
        Circle { files: members, way: circle.way.iter().map(step).collect() }
    });
    Ok(named.collect())
}

impl std::fmt::Display for Circle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} files:", self.files.len())?;
        for (from, line, to) in &self.way {
            write!(f, "\n      {}:{line} imports {}", from.display(), to.display())?;
        }
        let around: BTreeSet<&PathBuf> = self.way.iter().map(|(from, ..)| from).collect();
        let others: Vec<_> = self.files.iter().filter(|file| !around.contains(file)).collect();
        if !others.is_empty() {
            let others: Vec<_> = others.iter().map(|file| file.display().to_string()).collect();
            write!(f, "\n      and in it too: {}", others.join(", "))?;
        }
        Ok(())
    }
}

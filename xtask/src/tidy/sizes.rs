//! How the lines of Rust are spread over the crates.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::metadata::Metadata;
use crate::process::root;

/// The largest part of the workspace's lines that a crate may have, in percent: what is larger is
/// several things under one name.
const MOST_PERCENT: f64 = 20.0;

/// A crate and its lines of Rust, tests, benches and examples among them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Size {
    name: String,
    lines: usize,
}

/// Counts the lines of every crate, the largest crate first.
pub(super) fn of(metadata: &Metadata, files: &[String]) -> Result<Vec<Size>> {
    let mut folders = Vec::new();
    for package in metadata.members() {
        let folder = package.manifest_path.parent().unwrap_or(root());
        folders.push((package.name.as_str(), folder.strip_prefix(root()).unwrap_or(folder)));
    }
    let mut lines = Vec::new();
    for name in files.iter().filter(|name| name.ends_with(".rs")) {
        let path = root().join(name);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("could not read {}", path.display()))?;
        lines.push((Path::new(name), text.lines().count()));
    }
    Ok(sum(&folders, &lines))
}

fn sum(folders: &[(&str, &Path)], files: &[(&Path, usize)]) -> Vec<Size> {
    let lines_in = |folder: &Path| {
        files.iter().filter(|(file, _)| file.starts_with(folder)).map(|(_, lines)| lines).sum()
    };
    let mut sizes: Vec<Size> = folders
        .iter()
        .map(|(name, folder)| Size { name: (*name).to_owned(), lines: lines_in(folder) })
        .collect();
    sizes.sort_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.name.cmp(&b.name)));
    sizes
}

/// Lists the crates that are too large.
pub(super) fn check(sizes: &[Size]) -> Vec<String> {
    let too_large = sizes.iter().filter(|size| percent(size, sizes) > MOST_PERCENT);
    let says = |size: &Size| {
        format!(
            "`{}` has {} lines, {:.1} % of the workspace's and more than {MOST_PERCENT} %: divide it by \
             what it does, as ARCHITECTURE.md draws the crates",
            size.name,
            size.lines,
            percent(size, sizes)
        )
    };
    too_large.map(says).collect()
}

/// The largest crate with its part.
pub(super) fn summary(sizes: &[Size]) -> String {
    let total: usize = sizes.iter().map(|size| size.lines).sum();
    sizes.first().map_or_else(String::new, |largest| {
        format!(
            "{} has {} of {total} lines of Rust ({:.1} %)",
            largest.name,
            largest.lines,
            percent(largest, sizes)
        )
    })
}

fn percent(size: &Size, sizes: &[Size]) -> f64 {
    let total: usize = sizes.iter().map(|size| size.lines).sum();
    100.0 * size.lines as f64 / total.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(lines: &[usize]) -> Vec<Size> {
        lines.iter().map(|&lines| Size { name: format!("with-{lines}"), lines }).collect()
    }

    #[test]
    fn lines_count_for_the_crate_whose_folder_holds_the_file() {
        let folders = [("eps", Path::new("crates/eps")), ("eps-cli", Path::new("crates/eps-cli"))];
        let files = [
            (Path::new("crates/eps/src/lib.rs"), 10),
            (Path::new("crates/eps/examples/a.rs"), 5),
            (Path::new("crates/eps-cli/src/main.rs"), 40),
        ];
        let found = sum(&folders, &files);
        assert_eq!(found[0], Size { name: "eps-cli".into(), lines: 40 });
        assert_eq!(found[1], Size { name: "eps".into(), lines: 15 });
        assert_eq!(summary(&found), "eps-cli has 40 of 55 lines of Rust (72.7 %)");
    }

    #[test]
    fn a_fifth_of_the_lines_is_allowed_and_a_line_more_is_not() {
        assert_eq!(check(&sizes(&[20, 20, 20, 20, 20])), [""; 0]);
        let found = check(&sizes(&[21, 20, 20, 20, 19]));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("`with-21` has 21 lines, 21.0 % of"), "{found:?}");
    }
}

//! What is committed: how much, from where, and without words of one machine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::digest;
use crate::process::{output, root};

/// The most that all committed files may take together, which every clone has to bring.
const MAX_BYTES: u64 = 120_000_000;

/// Words that hold for one machine or one registry only, spelled so that this file holds none.
const FORBIDDEN: [&str; 7] = [
    concat!("/wo", "rk/"),
    concat!("../sha", "red"),
    concat!("py", "pi.org"),
    concat!("pythonhos", "ted.org"),
    concat!("crates", ".io"),
    concat!("deb.deb", "ian.org"),
    concat!("npm", "js.org"),
];

/// Names the registry of every package by design.
const EXEMPT: &str = "Cargo.lock";

/// The files that git tracks or would track, by their paths in the repository.
pub(super) fn listed() -> Result<Vec<String>> {
    let listed = output(
        std::process::Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root()),
    )
    .context("the rules on committed files need git and a clone of the repository")?;
    // Not what is deleted but not yet committed so, nor links to folders.
    let is_there = |name: &&str| root().join(name).is_file();
    Ok(listed.split_terminator('\0').filter(is_there).map(str::to_owned).collect())
}

/// What the files take together, in bytes.
pub(super) fn weight(files: &[String]) -> Result<u64> {
    let mut total = 0;
    for name in files {
        let path = root().join(name);
        let metadata =
            fs::metadata(&path).with_context(|| format!("could not read {}", path.display()))?;
        total += metadata.len();
    }
    Ok(total)
}

/// Lists what is wrong with these files.
pub(super) fn check(files: &[String]) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for name in files {
        let path = root().join(name);
        let contents =
            fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
        if let Ok(text) = str::from_utf8(&contents)
            && name != EXEMPT
        {
            violations.extend(forbidden(name, text));
        }
        if Path::new(name).starts_with("data") && !explains_itself(name) {
            let digest = digest::sha256(&path)?;
            if !is_listed(name, &digest)? {
                violations.push(format!(
                    "{name} is in no README: add its source, licence and SHA-256 ({digest}), on \
                     a line with the file's name, to the README.md of its folder or of data/"
                ));
            }
        }
    }
    let total = weight(files)?;
    if total > MAX_BYTES {
        violations.push(format!(
            "the committed files take {total} bytes, more than {MAX_BYTES}: fetch large data, as \
             xtask/src/fetch.rs does"
        ));
    }
    Ok(violations)
}

/// The lines of a text that hold a forbidden word.
fn forbidden(name: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
            let place = index + 1;
            violations.push(format!(
                "{name}:{place} holds `{word}`, which means something on one machine only: write \
                 it without"
            ));
        }
    }
    violations
}

/// Descriptions, licence texts and training configurations are written by hand, results by the experiments that they
/// name: their source is this repository.
fn explains_itself(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    file == "README.md"
        || file.starts_with("LICENSE")
        || file.ends_with(".json")
        || file.ends_with(".json.gz")
        || file.ends_with(".sha256")
}

/// Whether a README between the file and `data/` has a line with its name and digest.
fn is_listed(name: &str, digest: &str) -> Result<bool> {
    let path = Path::new(name);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with("data")) {
        let readme = root().join(folder).join("README.md");
        if readme.is_file() {
            let text = fs::read_to_string(&readme)
                .with_context(|| format!("could not read {}", readme.display()))?;
            if has_entry(&text, &file, digest) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn has_entry(readme: &str, file: &str, digest: &str) -> bool {
    readme.lines().any(|line| line.contains(file) && line.contains(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_one_machine_are_found_with_their_line() {
        for word in FORBIDDEN {
            let found = forbidden("docs/a.md", &format!("fine\nsee {word}x"));
            assert_eq!(found.len(), 1);
            assert!(found[0].starts_with("docs/a.md:2 holds"), "{found:?}");
        }
        assert_eq!(
            forbidden("docs/a.md", "the network/data, workspace/ and shared layers"),
            [""; 0]
        );
    }

    #[test]
    fn a_readme_lists_a_file_by_name_and_digest_on_one_line() {
        let readme = "| `a.gz` | 00ff |\n| `b.gz` | 11ee |\n";
        assert!(has_entry(readme, "a.gz", "00ff"));
        assert!(!has_entry(readme, "a.gz", "11ee"), "another file's digest");
        assert!(!has_entry(readme, "c.gz", "00ff"));
    }

    #[test]
    fn what_the_project_writes_needs_no_entry() {
        assert!(explains_itself("data/README.md"));
        assert!(explains_itself("data/fashion-mnist/LICENSE"));
        assert!(explains_itself("data/networks/fashion/prior.json"));
        assert!(explains_itself("data/results/oracle/full.json.gz"));
        assert!(!explains_itself("data/networks/fashion/prior.safetensors"));
    }
}

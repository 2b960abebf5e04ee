//! Whether building and testing the workspace compile the same dependencies.
//!
//! Cargo switches features on for what is selected: a dependency of tests that asks one more feature of a
//! package has everything above that package compiled twice in `cargo xtask test`, libtorch's bindings among
//! it.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::process::{cargo, output};

/// Lists the packages that programs and tests of the workspace have with other features.
pub(super) fn check() -> Result<Vec<String>> {
    let (programs, tests) = (tree("normal,build")?, tree("normal,build,dev")?);
    Ok(differing(&programs, &tests))
}

fn tree(edges: &str) -> Result<String> {
    let arguments = ["tree", "--workspace", "--no-dedupe", "--prefix", "none", "--edges", edges];
    output(cargo().args(arguments).args(["--format", "{p} {f}"]))
}

/// The lines of packages with features in `programs` that `tests` lacks.
fn differing(programs: &str, tests: &str) -> Vec<String> {
    let lines = |tree: &str| -> BTreeSet<String> {
        tree.lines().map(|line| line.replace(" (proc-macro)", "").trim().to_owned()).collect()
    };
    let tests = lines(tests);
    let says = |package: &String| {
        format!(
            "`{package}` has these features in programs and others in tests, so that what depends on it is \
             compiled twice: give it those of the tests in xtask/Cargo.toml, as `either` there"
        )
    };
    lines(programs).iter().filter(|package| !tests.contains(*package)).map(says).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_other_features_in_tests_is_named() {
        let programs =
            "eps v0.1.0 (/eps) \nrayon v1 \neither v1 \nserde_derive v1 (proc-macro) default\n";
        let tests = "eps v0.1.0 (/eps) \nrayon v1 \neither v1 std\nproptest v1 std\nserde_derive v1 default\n";
        let found = differing(programs, tests);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("`either v1` has these features"), "{found:?}");
        assert_eq!(differing(programs, programs), [""; 0]);
    }
}

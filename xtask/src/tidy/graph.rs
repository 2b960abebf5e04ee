//! Who may depend on whom: the layers of the workspace and the homes of native libraries.

use std::fs;

use anyhow::{Context, Result};

use super::metadata::Metadata;

/// The edges between the crates of the workspace; lower layers know nothing of higher ones.
const EDGES: [(&str, &[&str]); 18] = [
    ("eps-cluster", &[]),
    ("eps-files", &[]),
    ("eps-link", &[]),
    ("eps-math", &[]),
    ("eps-mpi", &["eps-cluster", "eps-link"]),
    ("eps-nccl", &["eps-cluster", "eps-link", "eps-testing"]),
    ("eps-testing", &["eps-cluster", "eps-math"]),
    ("eps-metrics", &["eps-files", "eps-link"]),
    ("eps-data", &["eps-files", "eps-math"]),
    ("eps-model", &["eps-files", "eps-link", "eps-math", "eps-testing"]),
    ("eps-sample", &["eps-link", "eps-math", "eps-model", "eps-testing"]),
    (
        "eps-train",
        &["eps-cluster", "eps-files", "eps-link", "eps-math", "eps-model", "eps-testing"],
    ),
    (
        "eps",
        &[
            "eps-files",
            "eps-link",
            "eps-math",
            "eps-metrics",
            "eps-data",
            "eps-model",
            "eps-results",
            "eps-sample",
            "eps-testing",
            "eps-train",
        ],
    ),
    ("eps-results", &["eps-math", "eps-metrics"]),
    ("eps-report", &["eps-math", "eps-metrics", "eps-results"]),
    (
        "eps-experiments",
        &[
            "eps",
            "eps-cluster",
            "eps-files",
            "eps-link",
            "eps-math",
            "eps-metrics",
            "eps-data",
            "eps-model",
            "eps-results",
            "eps-sample",
        ],
    ),
    (
        "eps-cli",
        &[
            "eps",
            "eps-cluster",
            "eps-files",
            "eps-link",
            "eps-math",
            "eps-metrics",
            "eps-data",
            "eps-model",
            "eps-mpi",
            "eps-nccl",
            "eps-results",
            "eps-report",
            "eps-experiments",
            "eps-sample",
            "eps-testing",
            "eps-train",
        ],
    ),
    ("xtask", &[]),
];

/// The crates that compute with libtorch.
const LIBTORCH: [&str; 9] = [
    "eps-testing",
    "eps-metrics",
    "eps-model",
    "eps-sample",
    "eps-train",
    "eps",
    "eps-experiments",
    "eps-cli",
    "eps-nccl",
];

/// Packages that only some crates may name in their manifest.
const HOMES: [(&str, &[&str]); 6] = [
    ("hdf5-metno", &["eps-data"]),
    ("hdf5-metno-sys", &["eps-data"]),
    ("mpi", &["eps-mpi"]),
    ("safetensors", &["eps-model", "eps-metrics", "eps-train", "eps-cli"]),
    ("tch", &LIBTORCH),
    ("torch-sys", &LIBTORCH),
];

/// Crates that without any feature build in seconds anywhere, and what they must then never reach:
/// `eps-metrics` has libtorch for its feature `networks` alone.
const PURE: [&str; 6] =
    ["eps-cluster", "eps-files", "eps-link", "eps-math", "eps-metrics", "xtask"];
const NATIVE: [&str; 4] = ["tch", "torch-sys", "hdf5-metno", "hdf5-metno-sys"];

const DECISION: &str = "remove the dependency, or write the decision up in docs/decisions/ and \
                        add it to xtask/src/tidy/graph.rs";

/// Lists the dependencies that the layers do not allow.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let mut violations = Vec::new();
    for package in metadata.members() {
        let name = package.name.as_str();
        let Some((_, allowed)) = EDGES.iter().find(|(member, _)| *member == name) else {
            violations.push(format!("`{name}` is in no layer: {DECISION}"));
            continue;
        };
        for dependency in metadata.dependencies(package) {
            let is_member = EDGES.iter().any(|(member, _)| *member == dependency);
            if is_member && !allowed.contains(&dependency) {
                violations.push(format!("`{name}` depends on `{dependency}`: {DECISION}"));
            }
            let home = HOMES.iter().find(|(home, _)| *home == dependency);
            if let Some((_, homes)) = home.filter(|(_, homes)| !homes.contains(&name)) {
                let homes = homes.join("`, `");
                violations.push(format!(
                    "`{name}` depends on `{dependency}`, which is for `{homes}` only: {DECISION}"
                ));
            }
        }
        for native in NATIVE.into_iter().filter(|_| PURE.contains(&name)) {
            if let Some(path) = metadata.path(package, native) {
                violations.push(format!(
                    "`{name}` reaches `{native}` ({}): without features it must build without native \
                     libraries",
                    path.join(" → ")
                ));
            }
        }
    }
    violations
}

/// Lists the crates that do not take the lints of the workspace.
pub(super) fn check_lints(metadata: &Metadata) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for package in metadata.members() {
        let manifest = &package.manifest_path;
        let text = fs::read_to_string(manifest)
            .with_context(|| format!("could not read {}", manifest.display()))?;
        if !takes_lints(&text) {
            violations.push(format!(
                "`{}` has lints of its own: put `[lints]` and `workspace = true` into {}",
                package.name,
                manifest.display()
            ));
        }
    }
    Ok(violations)
}

/// Whether the table `[lints]` of a manifest holds `workspace = true`.
fn takes_lints(manifest: &str) -> bool {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[lints]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .any(|line| line == "workspace = true")
}

#[cfg(test)]
mod tests {
    use super::super::metadata::{Dependency, Node, Package, Resolve};
    use super::*;

    /// A workspace of these edges; packages named in `EDGES` are its members.
    fn workspace(edges: &[(&str, &[&str])]) -> Metadata {
        let package =
            |name: &str| Package { id: name.into(), name: name.into(), ..Package::default() };
        let names: std::collections::BTreeSet<&str> =
            edges.iter().flat_map(|(from, to)| to.iter().chain([from])).copied().collect();
        let node = |(from, to): &(&str, &[&str])| Node {
            id: (*from).into(),
            dependencies: to.iter().map(|to| (*to).into()).collect(),
        };
        Metadata {
            packages: names.iter().map(|name| package(name)).collect(),
            workspace_members: names
                .iter()
                .filter(|name| name.starts_with("eps") || **name == "xtask")
                .map(|name| (*name).into())
                .collect(),
            resolve: Resolve { nodes: edges.iter().map(node).collect() },
        }
    }

    #[test]
    fn the_layers_as_designed_are_allowed() {
        let mut edges = EDGES.to_vec();
        edges.push(("tch", &["torch-sys"]));
        assert_eq!(check(&workspace(&edges)), [""; 0]);
        assert_eq!(check(&workspace(&[("eps-model", &["eps-math", "tch"])])), [""; 0]);
        assert_eq!(check(&workspace(&[("eps-data", &["eps-math", "hdf5-metno"])])), [""; 0]);
    }

    #[test]
    fn an_edge_upwards_is_named() {
        let found = check(&workspace(&[("eps-model", &["eps-sample"])]));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("`eps-model` depends on `eps-sample`"), "{found:?}");
    }

    #[test]
    fn a_crate_outside_the_layers_is_named() {
        let found = check(&workspace(&[("eps-new", &["eps-math"])]));
        assert!(found.iter().any(|violation| violation.starts_with("`eps-new` is in no layer")));
    }

    #[test]
    fn hdf5_is_for_eps_data_alone() {
        let found = check(&workspace(&[("eps", &["hdf5-metno"])]));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("for `eps-data` only"), "{found:?}");
    }

    #[test]
    fn a_pure_crate_reaches_no_native_library_by_any_way() {
        let found =
            check(&workspace(&[("eps-math", &["a"]), ("a", &["b"]), ("b", &["a", "torch-sys"])]));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("eps-math → a → b → torch-sys"), "{found:?}");
    }

    #[test]
    fn libtorch_is_for_a_feature_of_the_metrics_alone() {
        let mut metadata = workspace(&[("eps-metrics", &["tch"])]);
        assert!(check(&metadata)[0].starts_with("`eps-metrics` reaches `tch`"));
        let dependency = |optional| Dependency { name: "tch".into(), optional };
        let package = |metadata: &mut Metadata, f: &dyn Fn(&mut Package)| {
            metadata.packages.iter_mut().filter(|p| p.name == "eps-metrics").for_each(f);
        };
        package(&mut metadata, &|p| p.dependencies = vec![dependency(true)]);
        assert_eq!(check(&metadata), [""; 0]);
        // A feature that is on by default, and a second declaration, for tests.
        let default = || [("default".to_owned(), vec!["networks".to_owned()])].into();
        package(&mut metadata, &|p| p.features = default());
        assert_eq!(check(&metadata).len(), 1);
        package(&mut metadata, &|p| {
            p.features.clear();
            p.dependencies = vec![dependency(true), dependency(false)];
        });
        assert_eq!(check(&metadata).len(), 1);
    }

    #[test]
    fn lints_are_read_from_their_own_table() {
        assert!(takes_lints("[package]\nname = 'a'\n\n[lints]\nworkspace = true\n"));
        assert!(!takes_lints("[package]\nname = 'a'\n"));
        assert!(!takes_lints("[lints]\n[dependencies]\nworkspace = true\n"));
        assert!(!takes_lints("[lints.clippy]\nall = 'allow'\n"));
    }
}

//! The part of `cargo metadata` that the rules read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process::{cargo, output};

/// Every package of the dependency graph on this platform.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: BTreeSet<String>,
    pub(crate) resolve: Resolve,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) license: Option<String>,
    pub(crate) license_file: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<Target>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

/// A dependency as a manifest declares it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) optional: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    /// Whether its tests are run.
    pub(crate) test: bool,
    /// The first file.
    pub(crate) src_path: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

/// A package and what it depends on: to run, to build, and for members of the workspace to test.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) dependencies: Vec<String>,
}

/// Asks cargo for the graph of this platform.
pub(crate) fn read() -> Result<Metadata> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = output(std::process::Command::new(rustc).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`rustc -vV` names no host")?;
    let arguments = ["metadata", "--format-version", "1", "--filter-platform", host];
    let json = output(cargo().args(arguments))?;
    serde_json::from_str(&json).context("could not read what `cargo metadata` printed")
}

impl Package {
    /// Whether a dependency is there only for features that are off by default.
    pub(crate) fn is_optional(&self, name: &str) -> bool {
        let mut declared = self.dependencies.iter().filter(|d| d.name == name).peekable();
        let by_default = self.features.get("default").is_some_and(|features| !features.is_empty());
        !by_default && declared.peek().is_some() && declared.all(|d| d.optional)
    }
}

impl Metadata {
    /// The packages of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Names of the packages that `package` depends on directly.
    pub(crate) fn dependencies(&self, package: &Package) -> BTreeSet<&str> {
        let names = self.names();
        self.resolve
            .nodes
            .iter()
            .filter(|node| node.id == package.id)
            .flat_map(|node| &node.dependencies)
            .filter_map(|id| names.get(id.as_str()).copied())
            .collect()
    }

    /// A way from `package` to a dependency named `target`, by names, where there is one.
    ///
    /// Dependencies that `package` takes only for features that nobody switched on by default are no
    /// part of it: the graph is that of the whole workspace, whose crates switch on what they need.
    pub(crate) fn path(&self, package: &Package, target: &str) -> Option<Vec<&str>> {
        let names = self.names();
        let edges: BTreeMap<&str, &Node> =
            self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let (start, _) = edges.get_key_value(package.id.as_str())?;
        let mut came_from: BTreeMap<&str, Option<&str>> = BTreeMap::from([(*start, None)]);
        let mut open = std::collections::VecDeque::from([*start]);
        while let Some(id) = open.pop_front() {
            if names.get(id) == Some(&target) {
                let mut path = Vec::new();
                let mut step = Some(id);
                while let Some(id) = step {
                    path.extend(names.get(id));
                    step = came_from.get(id).copied().flatten();
                }
                path.reverse();
                return Some(path);
            }
            for next in edges.get(id).map_or(&[][..], |node| &node.dependencies) {
                let name = names.get(next.as_str());
                if id == *start && name.is_some_and(|name| package.is_optional(name)) {
                    continue;
                }
                if !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, Some(id));
                    open.push_back(next);
                }
            }
        }
        None
    }

    fn names(&self) -> BTreeMap<&str, &str> {
        self.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect()
    }
}

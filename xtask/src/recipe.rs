//! Training configurations as far as their order goes: which network starts from which.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// What a training configuration says of the order of trainings.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Recipe {
    /// The name of the network, and of its configuration.
    pub(crate) name: String,
    /// The file of the network that it starts from.
    pub(crate) start: Option<String>,
}

/// Reads the training configurations of a folder, in no order.
pub(crate) fn read_recipes(folder: &Path) -> Result<Vec<Recipe>> {
    let list = || format!("could not list {}: restore it from the repository", folder.display());
    let mut recipes = Vec::new();
    for entry in fs::read_dir(folder).with_context(list)? {
        let path = entry.with_context(list)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let failed = || format!("{} is no training configuration", path.display());
            let text = fs::read_to_string(&path).with_context(failed)?;
            recipes.push(serde_json::from_str(&text).with_context(failed)?);
        }
    }
    Ok(recipes)
}

/// Sorts trainings so that each comes after the one that it starts from, and else by name. A start
/// that is none of them must be a file in the folder of committed networks.
pub(crate) fn in_order(mut recipes: Vec<Recipe>, committed: &Path) -> Result<Vec<Recipe>> {
    let names: Vec<String> = recipes.iter().map(|recipe| recipe.name.clone()).collect();
    recipes.sort_by(|a, b| a.name.cmp(&b.name));
    let mut ordered: Vec<Recipe> = Vec::new();
    while !recipes.is_empty() {
        let is_ready = |recipe: &Recipe| {
            let start = recipe.start.as_deref().map(stem);
            start.is_none_or(|start| {
                let is_trained = names.iter().any(|name| name == start);
                let file = committed.join(format!("{start}.safetensors"));
                ordered.iter().any(|earlier| earlier.name == start)
                    || (!is_trained && file.is_file())
            })
        };
        let Some(next) = recipes.iter().position(is_ready) else {
            let names: Vec<_> = recipes.iter().map(|recipe| recipe.name.as_str()).collect();
            bail!(
                "no order trains {}: each starts from a network that is not trained before and is no \
                 file in {}; correct `start` in the configurations",
                names.join(", "),
                committed.display()
            );
        };
        ordered.push(recipes.remove(next));
    }
    Ok(ordered)
}

/// The name of a network by that of its file.
pub(crate) fn stem(file: &str) -> &str {
    file.strip_suffix(".safetensors").unwrap_or(file)
}

/// The recipes, in their order, of some networks and of those that they start from.
pub(crate) fn with_starts(recipes: Vec<Recipe>, names: &[&str]) -> Vec<Recipe> {
    let mut needed: Vec<Recipe> = Vec::new();
    for recipe in recipes.into_iter().rev() {
        let is_start = |of: &Recipe| of.start.as_deref().map(stem) == Some(&recipe.name);
        if names.contains(&&*recipe.name) || needed.iter().any(is_start) {
            needed.insert(0, recipe);
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(name: &str, start: Option<&str>) -> Recipe {
        let start = start.map(|start| format!("{start}.safetensors"));
        Recipe { name: name.to_owned(), start }
    }

    #[test]
    fn a_network_is_trained_after_the_one_it_starts_from() {
        let recipes = vec![
            recipe("prior", None),
            recipe("box", Some("all-tasks")),
            recipe("all-tasks", Some("prior")),
            recipe("blur", Some("all-tasks")),
        ];
        let ordered = in_order(recipes, Path::new("nowhere")).unwrap();
        let names: Vec<_> = ordered.iter().map(|recipe| recipe.name.as_str()).collect();
        assert_eq!(names, ["prior", "all-tasks", "blur", "box"]);
    }

    #[test]
    fn trainings_without_an_order_are_named() {
        let recipes = vec![recipe("prior", None), recipe("box", Some("lost"))];
        let error = in_order(recipes, Path::new("nowhere")).unwrap_err();
        assert!(error.to_string().starts_with("no order trains box"), "{error}");
    }

    #[test]
    fn an_experiment_trains_its_networks_and_their_starts() {
        let recipes = vec![
            recipe("other", None),
            recipe("short-prior", Some("prior")),
            recipe("eps", Some("short-prior")),
            recipe("palette", Some("prior")),
        ];
        let needed = with_starts(recipes, &["prior", "eps"]);
        let names: Vec<_> = needed.iter().map(|recipe| recipe.name.as_str()).collect();
        assert_eq!(names, ["short-prior", "eps"]);
    }
}

//! `cargo xtask compare-results`: whether two runs of the same experiments have the same values.
//!
//! Values are compared one by one, by their keys. What depends on the clock, the program or the machine is
//! left out by name. A key that only one side has is looked for on the other under another name: the same
//! values in the same order are taken for it. Texts that differ and keys without a counterpart are listed;
//! numbers that differ make the command fail.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The file of an experiment's results in its folder.
const RESULTS: &str = "results.json";

/// Keys that say when, by what and where something was computed, with everything below them.
const LEFT_OUT: [&str; 4] = ["environment", "format_version", "overhead", "seconds"];

/// How many differences of a kind are printed.
const SHOWN: usize = 20;

/// A value, with the indices of the lists that it stands in.
type Place = (Vec<usize>, Value);

/// The values of a file under their keys, `[]` for any index: `tasks[].table[].nfe`.
type Values = BTreeMap<String, Vec<Place>>;

/// What a comparison found.
#[derive(Debug, Default, PartialEq)]
struct Differences {
    /// How many numbers are the same.
    same: usize,
    /// Numbers, and what else is no text, that differ: where, before, after.
    values: Vec<(String, String, String)>,
    /// The largest relative difference of two numbers.
    largest: f64,
    texts: Vec<(String, String, String)>,
    renamed: Vec<(String, String)>,
    gone: Vec<String>,
    new: Vec<String>,
}

/// Compares two files of results, or all of two folders, and prints what differs.
///
/// # Errors
/// Files that cannot be read, and numbers that differ by more than the relative `tolerance`.
pub(crate) fn compare(before: &Path, after: &Path, tolerance: f64) -> Result<()> {
    ensure!(tolerance >= 0.0, "--tolerance {tolerance} is no relative difference: 0 or more");
    let pairs = pairs(before, after)?;
    let mut differing = 0;
    for (name, before, after) in &pairs {
        let found = differences(&read(before)?, &read(after)?, tolerance);
        println!("{name}: {found}");
        differing += found.values.len();
    }
    ensure!(
        differing == 0,
        "{differing} value(s) differ, listed above; where the rounding may differ, --tolerance allows it"
    );
    println!("the same values in {} result(s)", pairs.len());
    Ok(())
}

/// What is compared with what: a name, a file before and a file after.
fn pairs(before: &Path, after: &Path) -> Result<Vec<(String, PathBuf, PathBuf)>> {
    if before.is_file() {
        let after = if after.is_dir() { after.join(RESULTS) } else { after.to_owned() };
        return Ok(vec![(before.display().to_string(), before.to_owned(), after)]);
    }
    let (of_before, of_after) = (results(before)?, results(after)?);
    let only = |some: &[String], others: &[String]| {
        some.iter().filter(|name| !others.contains(name)).cloned().collect::<Vec<_>>().join(", ")
    };
    let (gone, new) = (only(&of_before, &of_after), only(&of_after, &of_before));
    if !gone.is_empty() {
        bail!("{} has no {gone}, which {} has: run them too", after.display(), before.display());
    }
    if !new.is_empty() {
        println!("only in {}: {new}", after.display());
    }
    let pair = |name: String| (name.clone(), before.join(&name), after.join(&name));
    Ok(of_before.into_iter().map(pair).collect())
}

/// The files of results below a folder, by their paths in it.
fn results(folder: &Path) -> Result<Vec<String>> {
    let list = || format!("could not list {}", folder.display());
    let mut names = Vec::new();
    if folder.join(RESULTS).is_file() {
        names.push(RESULTS.to_owned());
    }
    for entry in fs::read_dir(folder).with_context(list)? {
        let name = entry.with_context(list)?.file_name().to_string_lossy().into_owned();
        let file = format!("{name}/{RESULTS}");
        if folder.join(&file).is_file() {
            names.push(file);
        }
    }
    ensure!(!names.is_empty(), "{} holds no {RESULTS}, nor does a folder in it", folder.display());
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<Values> {
    let failed = || format!("could not read the results {}", path.display());
    let text = fs::read_to_string(path).with_context(failed)?;
    let mut values = Values::new();
    collect(serde_json::from_str(&text).with_context(failed)?, String::new(), vec![], &mut values);
    Ok(values)
}

/// Puts every value that is no list or object under its key.
fn collect(value: Value, key: String, indices: Vec<usize>, values: &mut Values) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if !is_left_out(&name) {
                    let key = if key.is_empty() { name } else { format!("{key}.{name}") };
                    collect(value, key, indices.clone(), values);
                }
            }
        }
        Value::Array(elements) => {
            for (index, value) in elements.into_iter().enumerate() {
                collect(value, format!("{key}[]"), [&indices[..], &[index]].concat(), values);
            }
        }
        value => values.entry(key).or_default().push((indices, value)),
    }
}

fn is_left_out(name: &str) -> bool {
    LEFT_OUT.contains(&name) || name.ends_with("_seconds") || name.starts_with("seconds_")
}

fn differences(before: &Values, after: &Values, tolerance: f64) -> Differences {
    let mut found = Differences::default();
    for (key, old) in before {
        let Some(new) = after.get(key) else { continue };
        if old.len() != new.len() {
            let count = |places: &[Place]| format!("{} values", places.len());
            found.values.push((key.clone(), count(old), count(new)));
        }
        let new: BTreeMap<&Vec<usize>, &Value> =
            new.iter().map(|(indices, value)| (indices, value)).collect();
        for (indices, old) in old {
            if let Some(new) = new.get(indices) {
                found.add(place(key, indices), old, new, tolerance);
            }
        }
    }
    let mut new: Vec<&String> = after.keys().filter(|key| !before.contains_key(*key)).collect();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        let old: Vec<&Value> = before[key].iter().map(|(_, value)| value).collect();
        let is_same =
            |other: &&String| after[*other].iter().map(|(_, value)| value).eq(old.iter().copied());
        let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
        // Of several with the same values, the one that is called alike.
        let candidates = || new.iter().enumerate().filter(|(_, other)| is_same(other));
        let alike = candidates().find(|(_, other)| last(other) == last(key));
        match alike.or_else(|| candidates().next()).map(|(index, _)| index) {
            Some(index) => {
                found.same += old.iter().filter(|value| value.is_number()).count();
                found.renamed.push((key.clone(), new.remove(index).clone()));
            }
            None => found.gone.push(key.clone()),
        }
    }
    found.new = new.into_iter().cloned().collect();
    found
}

/// A key with its indices: `tasks[0].table[3].nfe`.
fn place(key: &str, indices: &[usize]) -> String {
    let mut parts = key.split("[]");
    let mut place = parts.next().unwrap_or_default().to_owned();
    for (part, index) in parts.zip(indices) {
        place.push_str(&format!("[{index}]{part}"));
    }
    place
}

impl Differences {
    fn add(&mut self, place: String, old: &Value, new: &Value, tolerance: f64) {
        if let (Some(a), Some(b)) = (old.as_f64(), new.as_f64()) {
            let scale = a.abs().max(b.abs());
            let relative = if a == b { 0.0 } else { (a - b).abs() / scale };
            self.largest = self.largest.max(relative);
            if relative <= tolerance {
                self.same += 1;
            } else {
                self.values.push((place, old.to_string(), new.to_string()));
            }
        } else if old != new {
            let differing =
                if old.is_string() && new.is_string() { &mut self.texts } else { &mut self.values };
            differing.push((place, old.to_string(), new.to_string()));
        }
    }
}

impl std::fmt::Display for Differences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} numbers are the same, {} values differ", self.same, self.values.len())?;
        if self.largest > 0.0 {
            write!(f, ", by {:.1e} of a number at most", self.largest)?;
        }
        let changes =
            |f: &mut std::fmt::Formatter<'_>, what: &str, all: &[(String, String, String)]| {
                for (place, old, new) in all.iter().take(SHOWN) {
                    write!(f, "\n  {what} {place}: {old} before, {new} after")?;
                }
                match all.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, "\n  {what}: {more} more"),
                }
            };
        changes(f, "value", &self.values)?;
        changes(f, "text", &self.texts)?;
        for (old, new) in &self.renamed {
            write!(f, "\n  renamed {old}: {new} after")?;
        }
        for key in &self.gone {
            write!(f, "\n  only before {key}")?;
        }
        for key in &self.new {
            write!(f, "\n  only after {key}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::folder;

    fn of(before: Value, after: Value, tolerance: f64) -> Differences {
        let values = |value| {
            let mut values = Values::new();
            collect(value, String::new(), vec![], &mut values);
            values
        };
        differences(&values(before), &values(after), tolerance)
    }

    #[test]
    fn numbers_are_compared_one_by_one() {
        let before =
            json!({"tasks": [{"table": [{"psnr": 20.5, "nfe": 1}, {"psnr": 21.0, "nfe": 2}]}]});
        let after =
            json!({"tasks": [{"table": [{"psnr": 20.5, "nfe": 1.0}, {"psnr": 21.5, "nfe": 2}]}]});
        let found = of(before.clone(), after.clone(), 0.0);
        assert_eq!(found.same, 3);
        assert_eq!(found.values, [("tasks[0].table[1].psnr".into(), "21.0".into(), "21.5".into())]);
        // 0.5 of 21.5.
        assert!((found.largest - 0.5 / 21.5).abs() < 1e-15);
        assert_eq!(of(before, after, 0.03).values, []);
    }

    #[test]
    fn what_the_clock_and_the_program_decide_is_left_out() {
        let before = json!({"seconds": 1.0, "environment": {"threads": 1}, "format_version": 3, "of": {"seconds_a_call": [1]}, "a": 1});
        let after = json!({"seconds": 2.0, "environment": {"threads": 2}, "format_version": 4, "pivot_seconds": 3, "a": 1});
        assert_eq!(of(before, after, 0.0), Differences { same: 1, ..Differences::default() });
    }

    #[test]
    fn texts_and_keys_are_listed() {
        let before = json!({"path": "a", "mse": [1.0, 2.0], "cell": "x", "lost": 4});
        let after =
            json!({"path": "b", "squared_error": {"mean": [1.0, 2.0]}, "cell": "x", "found": 5});
        let found = of(before, after, 0.0);
        assert_eq!(found.values, []);
        assert_eq!(found.texts, [("path".into(), "\"a\"".into(), "\"b\"".into())]);
        assert_eq!(found.renamed, [("mse[]".into(), "squared_error.mean[]".into())]);
        assert_eq!((found.gone, found.new), (vec!["lost".into()], vec!["found".into()]));
        assert_eq!(found.same, 2);
    }

    #[test]
    fn a_key_is_found_under_the_name_that_is_most_like_it() {
        let before = json!({"table": [{"mean": 1}, {"mean": 2}]});
        let after = json!({"a": [1, 2], "rows": {"mean": [1, 2]}, "rows2": {"x": [{"mean": 1}, {"mean": 2}]}});
        let found = of(before, after, 0.0);
        assert_eq!(found.renamed, [("table[].mean".into(), "rows2.x[].mean".into())]);
        assert_eq!(found.new, ["a[]", "rows.mean[]"]);
    }

    #[test]
    fn lists_of_other_lengths_and_kinds_differ() {
        let found = of(
            json!({"a": [1, 2], "b": null, "c": true}),
            json!({"a": [1], "b": 1, "c": false}),
            0.0,
        );
        let places: Vec<&str> = found.values.iter().map(|(place, ..)| place.as_str()).collect();
        assert_eq!(places, ["a[]", "b", "c"]);
    }

    #[test]
    fn folders_are_compared_file_by_file() {
        let root = std::env::temp_dir().join(format!("xtask-compare-{}", std::process::id()));
        for (file, text) in [
            ("before/main/results.json", r#"{"a": 1}"#),
            ("after/main/results.json", r#"{"a": 1}"#),
            ("after/new/results.json", r#"{"a": 1}"#),
            ("less/other/results.json", r#"{"a": 1}"#),
            ("changed/main/results.json", r#"{"a": 2}"#),
            ("damaged/main/results.json", r#"{"a""#),
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let outcome = |after: &str| {
            compare(&root.join("before"), &root.join(after), 0.0).map_err(|e| e.to_string())
        };
        let outcomes = ["after", "less", "changed", "damaged", "nowhere"].map(outcome);
        let files =
            compare(&root.join("before/main/results.json"), &root.join("changed/main"), 1.0);
        folder::remove(&root).unwrap();
        assert_eq!(outcomes[0], Ok(()));
        for (outcome, said) in outcomes[1..].iter().zip([
            "has no main/results.json",
            "1 value(s) differ",
            "damaged/main/results.json",
            "could not list",
        ]) {
            assert!(outcome.as_ref().is_err_and(|error| error.contains(said)), "{outcome:?}");
        }
        files.unwrap();
    }
}

//! The committed pages are those of the committed results.

use std::fs;
use std::path::{Path, PathBuf};

use eps_report::{claims_page, results_page, tournament_figure};
use eps_results::Record;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The committed results, in the order of their paths.
fn records() -> Vec<Record> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let read = fs::read_dir(folder).expect("a folder of the repository");
        let mut paths: Vec<PathBuf> = read.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let files = entries(&repository("data/results")).into_iter().flat_map(|set| entries(&set));
    files.map(|path| Record::read(&path).unwrap_or_else(|error| panic!("{error}"))).collect()
}

fn page(path: &str) -> String {
    fs::read_to_string(repository(path)).expect("a page of the repository")
}

#[test]
fn the_pages_are_those_of_the_results() {
    let records = records();
    assert!(claims_page(&records) == page("docs/claims.md"), "docs/claims.md");
    assert!(results_page(&records) == page("docs/results.md"), "docs/results.md");
    let quick = records.iter().find_map(|record| match record {
        Record::Tournament(results) if results.config.profile == "quick" => Some(results),
        _ => None,
    });
    let figure = tournament_figure(quick.expect("the tournament of the profile quick"));
    assert!(figure == page("docs/tournament.svg"), "docs/tournament.svg");
}

//! The committed pages are those of the committed results.

use std::fs;
use std::path::{Path, PathBuf};

use eps_report::{ClaimsPages, claims_pages, results_pages, tournament_figure};
use eps_results::Record;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// What is in a folder, in order.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).expect("a folder of the repository");
    let mut paths: Vec<PathBuf> = read.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// The committed results, in the order of their paths.
fn records() -> Vec<Record> {
    let files = entries(&repository("data/results")).into_iter().flat_map(|set| entries(&set));
    files.map(|path| Record::read(&path).unwrap_or_else(|error| panic!("{error}"))).collect()
}

fn page(path: &str) -> String {
    fs::read_to_string(repository(path)).expect("a page of the repository")
}

#[test]
fn the_pages_are_those_of_the_results() {
    let records = records();
    let ClaimsPages { verdicts, figures } = claims_pages(&records, "claims-figures.md");
    assert!(verdicts == page("docs/claims.md"), "docs/claims.md");
    assert!(figures == page("docs/claims-figures.md"), "docs/claims-figures.md");
    let tables = results_pages(&records);
    let folder = repository("docs/results");
    let mut paths: Vec<PathBuf> = tables.iter().map(|page| folder.join(&page.name)).collect();
    paths.sort();
    assert_eq!(entries(&folder), paths);
    for table in tables {
        let path = format!("docs/results/{}", table.name);
        assert!(table.text == page(&path), "{path}");
    }
    let quick = records.iter().find_map(|record| match record {
        Record::Tournament(results) if results.config.profile == "quick" => Some(results),
        _ => None,
    });
    let figure = tournament_figure(quick.expect("the tournament of the profile quick"));
    assert!(figure == page("docs/tournament.svg"), "docs/tournament.svg");
}

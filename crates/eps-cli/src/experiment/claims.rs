//! `eps claims`: what results say about each claim of the paper, and about ours.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use eps_files::write_bytes;
use eps_report::{claims_page, results_page, tournament_figure};
use eps_results::{Record, TournamentResults};

/// Write a table of claims with what results say about each.
///
/// Every claim is one line for each data set with results: what it says, the experiment that tests it,
/// whether it holds, and the figures: differences with the half widths of their 95 % intervals. A claim whose experiment is not among the results is open.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The results.json of experiments, one of each on a data set at most
    #[arg(value_name = "RESULTS.json", required = true)]
    results: Vec<PathBuf>,
    /// The Markdown file to write
    #[arg(long, value_name = "FILE", default_value = "docs/claims.md")]
    out: PathBuf,
    /// A second Markdown file, for the tables of all results
    #[arg(long, value_name = "FILE")]
    tables: Option<PathBuf>,
    /// An SVG file for the curves of the tournament with exact denoisers
    #[arg(long, value_name = "FILE")]
    tournament: Option<PathBuf>,
}

impl Arguments {
    /// Writes the file.
    ///
    /// # Errors
    /// A file that is no results, two files of one experiment, and output that cannot be written.
    pub(crate) fn run(&self) -> Result<()> {
        let mut records: Vec<Record> = Vec::new();
        for path in &self.results {
            let record = Record::read(path)?;
            let (experiment, data) = (record.experiment(), record.data());
            ensure!(
                !data.ends_with("validation") && !data.ends_with("train"),
                "{}: claims are about test images, these results are about {data}",
                path.display(),
            );
            let same =
                |other: &Record| (other.experiment(), other.data()) == (experiment, data.clone());
            if records.iter().any(same) {
                let path = path.display();
                bail!("{path}: results of {experiment} on {data} are given twice");
            }
            records.push(record);
        }
        if let Some(tables) = &self.tables {
            write(tables, &results_page(&records))?;
        }
        if let Some(path) = &self.tournament {
            // Of two profiles that with fewer settings, which a figure can show.
            let oracles = records.iter().filter_map(tournament);
            let results = oracles.min_by_key(|results| results.settings.len());
            let results = results.context("--tournament: no results of `oracle` are given")?;
            write(path, &tournament_figure(results))?;
        }
        write(&self.out, &claims_page(&records))
    }
}

/// The tournament of a record.
fn tournament(record: &Record) -> Option<&TournamentResults> {
    match record {
        Record::Tournament(results) => Some(results),
        Record::Experiment(_) => None,
    }
}

/// Writes a page in the place of one that begins alike, and of nothing else.
fn write(path: &Path, text: &str) -> Result<()> {
    let beginning = |text: &str| text.chars().take(8).collect::<String>();
    let found = std::fs::read_to_string(path);
    ensure!(
        !path.exists() || found.is_ok_and(|found| beginning(&found) == beginning(text)),
        "{} holds something else than what is to be written: name another file",
        path.display()
    );
    write_bytes(path, text.as_bytes())?;
    println!("{}", path.display());
    Ok(())
}

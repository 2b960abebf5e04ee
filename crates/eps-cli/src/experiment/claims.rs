//! `eps claims`: what results say about each claim of the paper, and about ours.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use eps_files::write_bytes;
use eps_report::{claims_pages, results_pages, tournament_figure};
use eps_results::{Record, TournamentResults};

/// Write a table of claims with what results say about each.
///
/// Every claim is one line: whether it holds on each data set with results, and what it says. A second page,
/// beside the first, has the figures: differences with the half widths of their 95 % intervals. A claim whose
/// experiment is not among the results is open.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The results.json of experiments, one of each on a data set at most
    #[arg(value_name = "RESULTS.json", required = true)]
    results: Vec<PathBuf>,
    /// The Markdown file to write; the figures go to NAME-figures.md beside it
    #[arg(long, value_name = "FILE", default_value = "docs/claims.md")]
    out: PathBuf,
    /// A folder for the tables of all results, a Markdown file for each
    #[arg(long, value_name = "FOLDER")]
    tables: Option<PathBuf>,
    /// An SVG file for the curves of the tournament with exact denoisers
    #[arg(long, value_name = "FILE")]
    tournament: Option<PathBuf>,
}

impl Arguments {
    /// Writes the files.
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
        // Of two profiles that with fewer settings, which a figure can show.
        let oracles = records.iter().filter_map(tournament);
        let oracle = oracles.min_by_key(|results| results.settings.len());
        ensure!(
            self.tournament.is_none() || oracle.is_some(),
            "--tournament: no results of `oracle` are given"
        );
        if let Some(tables) = &self.tables {
            std::fs::create_dir_all(tables)
                .with_context(|| format!("the folder {}", tables.display()))?;
            for page in results_pages(&records) {
                write(&tables.join(&page.name), &page.text)?;
            }
        }
        if let (Some(path), Some(results)) = (&self.tournament, oracle) {
            write(path, &tournament_figure(results))?;
        }
        let stem = self.out.file_stem().context("--out: no name of a file")?.to_string_lossy();
        let figures_name = format!("{stem}-figures.md");
        let pages = claims_pages(&records, &figures_name);
        write(&self.out, &pages.verdicts)?;
        write(&self.out.with_file_name(&figures_name), &pages.figures)
    }
}

/// The tournament of a record.
fn tournament(record: &Record) -> Option<&TournamentResults> {
    match record {
        Record::Tournament(results) => Some(results),
        Record::Experiment(_) | Record::Reach(_) => None,
    }
}

/// Writes a page in the place of one that begins alike, and of nothing else.
fn write(path: &Path, text: &str) -> Result<()> {
    let begins_alike = || -> std::io::Result<bool> {
        if !path.is_file() {
            return Ok(false);
        }
        let mut beginning = [0; 8];
        File::open(path)?.read_exact(&mut beginning)?;
        Ok(text.as_bytes().starts_with(&beginning))
    };
    ensure!(
        !path.exists() || begins_alike().unwrap_or(false),
        "{} holds something else than what is to be written: name another file",
        path.display()
    );
    write_bytes(path, text.as_bytes())?;
    println!("{}", path.display());
    Ok(())
}

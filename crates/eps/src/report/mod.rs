//! The report of an experiment: one page that needs nothing beside itself, and its figures as files.

mod chart;
pub(crate) mod oracle;
mod page;
mod pictures;
mod scatter;

use std::path::{Path, PathBuf};

use anyhow::Result;
use eps_data::atomic::write_atomically;
use eps_data::png::Picture;

use crate::experiment::method::Method;
use crate::experiment::networks::{Loss, Scope};
use crate::experiment::results::{Results, TaskResults, make_folder};
use crate::experiment::scores::scopes;
use chart::{Axis, Chart, Line, Style};
use pictures::Column;

/// Writes `report.html` and `figures/` into a folder and returns the path of the page.
///
/// Figures: `TASK.png` with a row an image, `overview.png` with a row a task, the curves as SVG.
///
/// # Errors
/// Losses that cannot be read, and files that cannot be written.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<PathBuf> {
    let figures = folder.join("figures");
    make_folder(&figures)?;
    let grids: Vec<Vec<Column>> = results.tasks.iter().map(pictures::columns).collect();
    let row = |grid: &'_ [Column], image: usize| -> Vec<Picture> {
        grid.iter().map(|column| column.pictures[image].clone()).collect()
    };
    let mut overview = Vec::new();
    for (task, grid) in results.tasks.iter().zip(&grids) {
        let images = grid.first().map_or(0, |column| column.pictures.len());
        let rows: Vec<Vec<Picture>> = (0..images).map(|image| row(grid, image)).collect();
        pictures::write_mosaic(&figures.join(format!("{}.png", task.task().name())), &rows)?;
        overview.extend(rows.into_iter().next());
    }
    pictures::write_mosaic(&figures.join("overview.png"), &overview)?;

    let curves: Vec<Vec<Chart>> = results.tasks.iter().map(quality).collect();
    for (task, charts) in results.tasks.iter().zip(&curves) {
        for (chart, what) in charts.iter().zip(["psnr", "energy-score"]) {
            let name = format!("{}-{what}-against-nfe.svg", task.task().name());
            write_text(&figures.join(name), &chart.file())?;
        }
    }
    let losses: Vec<Chart> =
        results.losses.iter().map(|(name, records)| loss(name, records)).collect();
    for chart in &losses {
        write_text(&figures.join(format!("{}-loss.svg", chart.title)), &chart.file())?;
    }

    let path = folder.join("report.html");
    write_text(&path, &page::page(results, &grids, &curves, &losses)?)?;
    Ok(path)
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, |file| std::io::Write::write_all(file, text.as_bytes()))?;
    Ok(())
}

/// The loss curves of one network.
fn loss(name: &str, records: &[Loss]) -> Chart {
    let line = |label: &str, colour, value: fn(&Loss) -> f64| Line {
        label: label.to_owned(),
        points: records.iter().map(|record| (record.step as f64, value(record))).collect(),
        colour,
        style: Style::Solid,
    };
    Chart {
        title: name.to_owned(),
        x: Axis { label: "training step".to_owned(), logarithmic: false },
        y: Axis { label: "loss (no unit)".to_owned(), logarithmic: true },
        lines: vec![
            line("training", 1, |record| record.train_loss),
            line("validation", 0, |record| record.validation_loss),
        ],
        band: None,
    }
}

/// The curves of quality against network calls of one task: PSNR, and energy score.
fn quality(results: &TaskResults) -> Vec<Chart> {
    let title = page::title(results.task());
    let rows = || results.rows.iter().chain(&results.curve);
    let scopes = scopes(&results.rows);
    // One line a network and estimate: points by ascending calls.
    let line = |label: String, scope: Scope, mean: bool, colour, value: fn(&_) -> Option<f64>| {
        let mut points: Vec<(f64, f64)> = rows()
            .filter(|row| row.mean_of.is_some() == mean)
            .filter_map(|row| match row.method {
                Method::Eps { network, calls } if network == scope => {
                    Some((calls as f64, value(row)?))
                }
                _ => None,
            })
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Of the second network only the table's numbers of calls are known.
        let style = if scope == scopes[0] { Style::Solid } else { Style::Points };
        Line { label, points, colour, style }
    };
    let name = |scope: Scope, what: &str| match (scope, scopes.len()) {
        (Scope::AllTasks, 2..) => format!("{what}, all tasks"),
        _ => what.to_owned(),
    };
    let (mut psnr, mut energy) = (Vec::new(), Vec::new());
    for (index, scope) in scopes.iter().enumerate() {
        let shown = |scope: &Scope| scopes.len() == 1 || *scope == Scope::PerTask;
        psnr.push(line(name(*scope, "sample"), *scope, false, 2 * index, |row| {
            Some(row.psnr_db.mean)
        }));
        if shown(scope) {
            psnr.push(line("mean".to_owned(), *scope, true, 1, |row| Some(row.psnr_db.mean)));
        }
        energy
            .push(line(name(*scope, "samples"), *scope, false, 2 * index, |row| row.energy_score));
    }
    psnr.retain(|line| !line.points.is_empty());
    let calls = || psnr.iter().flat_map(|line| &line.points).map(|point| point.0);
    let ends = [calls().fold(f64::INFINITY, f64::min), calls().fold(0.0, f64::max)];
    if let Some(linear) = results.row(Method::LinearMmse, false)
        && ends[1] > 0.0
    {
        let points = ends.map(|end| (end, linear.psnr_db.mean)).to_vec();
        psnr.push(Line {
            label: "linear MMSE".to_owned(),
            points,
            colour: 3,
            style: Style::Dashed,
        });
    }
    let x = Axis { label: "network calls a sample (NFE)".to_owned(), logarithmic: true };
    [("PSNR (dB)", psnr), ("energy score [0,1]", energy)]
        .into_iter()
        .map(|(label, lines)| Chart {
            title: title.to_owned(),
            x: x.clone(),
            y: Axis { label: label.to_owned(), logarithmic: false },
            lines,
            band: None,
        })
        .collect()
}

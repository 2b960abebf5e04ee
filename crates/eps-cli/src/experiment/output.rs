//! What the experiments' commands have in common: errors of flags, and the files of a report.

use std::path::{Path, PathBuf};

use anyhow::Result;
use eps_experiments::{ExperimentError, InvalidRequest, make_folder};
use eps_files::write_bytes;
use eps_report::Report;

use crate::flags::UsageError;

/// An error of the flags where a request makes no sense.
pub(super) fn usage(error: ExperimentError) -> anyhow::Error {
    match error {
        ExperimentError::Request(InvalidRequest(message)) => UsageError(message).into(),
        error => error.into(),
    }
}

/// Writes `report.html` and `figures/` into a folder and returns the path of the page.
pub(super) fn write_report(report: &Report, folder: &Path) -> Result<PathBuf> {
    let figures = folder.join("figures");
    make_folder(&figures)?;
    for (name, svg) in &report.figures {
        write_bytes(&figures.join(name), svg.as_bytes())?;
    }
    let path = folder.join("report.html");
    write_bytes(&path, report.page.as_bytes())?;
    Ok(path)
}

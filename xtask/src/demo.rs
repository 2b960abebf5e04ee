//! `cargo xtask demo`: a real measurement, from its source to the page of its restoration.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::fetch::{self, Item};
use crate::process::{cargo, deps, eps, root, run};
use crate::setup;

/// Options of `cargo xtask demo`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What was measured.
    #[arg(value_enum)]
    instrument: Instrument,
    /// Directions that are used of those of half a turn: the network was trained for 12 and 20.
    #[arg(long, value_name = "N", default_value_t = 12)]
    views: usize,
    /// The row of the camera whose slice is restored, from 0 to 139; the cell lies between 20 and 120.
    #[arg(long, value_name = "ROW", default_value_t = 70)]
    row: usize,
    /// Samples.
    #[arg(long, value_name = "J", default_value_t = 20)]
    samples: usize,
    /// Where the results go [default: target/demo/hl60]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Instrument {
    /// A living cell in light from a few directions: slices of its refractive index.
    Hl60,
}

/// The standard deviation of what straight rays leave of all directions, in radians: docs/gallery/cell.md.
const SIGMA_Y: &str = "0.04";

/// The range of the refractive index above the medium's, as offset and scale: 0 to 0.05 is -1 to 1.
const UNIT: &str = "0.025,0.025,refractive index";

const NETWORK: &str = "data/networks/instruments/hl60.safetensors";

/// Fetches the measurement, restores it and prints the path of the page.
pub(crate) fn demo(options: &Options) -> Result<()> {
    let Instrument::Hl60 = options.instrument;
    setup::setup(false)?;
    fetch::fetch(Item::Hl60, None)?;
    let out = options.out.clone().unwrap_or_else(|| root().join("target/demo/hl60"));
    let measured = out.join("measured");
    let source = deps().join("hl60");
    let mut example = cargo();
    // Of no package by name, as eps is run: its dependencies would be compiled again with other features.
    example.args(["run", "--quiet", "--release", "--example", "hl60", "--"]);
    example.args([source.join("series.h5"), source.join("angles.txt")]);
    example.args([options.row.to_string(), options.views.to_string()]).arg(&measured);
    run(&mut example)?;
    let restored = out.join("restored");
    let mut restore = eps();
    restore.arg("restore").arg("--measurement").arg(measured.join("y.npy"));
    restore.arg("--operator").arg(measured.join("operator.json"));
    restore.args(["--sigma-y", SIGMA_Y, "--unit", UNIT, "--network", NETWORK]);
    // As the page's figures were made.
    restore.args(["--sampler", "euler"]);
    restore.args(["--samples", &options.samples.to_string(), "--force", "--out"]).arg(&restored);
    run(&mut restore)?;
    println!("the cell, sampled: {}", restored.join("page.html").display());
    Ok(())
}

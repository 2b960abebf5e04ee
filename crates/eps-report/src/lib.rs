//! Claims, tables, charts and pages made of the results of experiments.
//!
//! Everything here reads the types of `eps-results` and gives text: nothing is computed anew, no network is
//! asked and no file is written. [`claims_pages`] says of every claim whether the results hold it,
//! [`results_pages`] has their tables, [`Report`] is the page of one run.

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

mod chart;
mod claims;
mod columns;
mod comparison;
mod gallery;
mod html;
mod median;
mod opening;
mod page;
mod paper;
mod quality;
mod reach_table;
#[cfg(test)]
mod sample_results;
mod scatter;
mod style;
mod table;
mod tables;
mod tournament_page;
mod tournament_table;
mod verdicts;

pub use claims::{ClaimsPages, claims_pages};
pub use gallery::{ColourScale, Column, Gallery};
pub use page::Report;
pub use reach_table::{reach_psnr_table, reach_summary, reach_table};
pub use table::{Table, calibration_table};
pub use tables::{ResultsPage, results_pages};
pub use tournament_page::{Clouds, tournament_figure};
pub use tournament_table::{tournament_summary, tournament_table};

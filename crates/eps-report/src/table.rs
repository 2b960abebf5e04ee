//! The table of a task, for the terminal and for the report.

use eps_math::whole;
use eps_metrics::summary::{Estimate, Spread};
use eps_results::{Calibration, Method, Metric, Row};

use crate::median::median;

/// A table of text; the first column is flush left, the others are flush right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The headings, with their units.
    pub headings: Vec<String>,
    /// The rows, each with one text a heading.
    pub rows: Vec<Vec<String>>,
}

/// The scores on features of AlexNet and of the FID network.
const FEATURES: [(&str, Metric); 7] = [
    ("LPIPS (AlexNet)", Metric::LpipsAlex),
    ("FD-AlexNet", Metric::FdAlex),
    ("MMD² (AlexNet)", Metric::Mmd2Alex),
    ("energy score (AlexNet)", Metric::EnergyScoreAlex),
    ("FID", Metric::Fid),
    ("MMD² (Inception)", Metric::Mmd2Inception),
    ("energy score (Inception)", Metric::EnergyScoreInception),
];

/// What stands in place of a score that needs more samples.
const TOO_FEW: &str = "too few samples";

impl Table {
    /// The table of a task's rows; with `ensembles` also the scores of all samples together.
    #[must_use]
    pub fn new(rows: &[Row], ensembles: bool) -> Self {
        let mut headings = vec!["method", "NFE", "PSNR (dB)", "SSIM"];
        if ensembles {
            headings.extend([
                "energy score [0,1]",
                "fair energy score [0,1]",
                "CRPS [0,1]",
                "MMD²",
            ]);
        }
        let features: Vec<(&str, Metric)> = FEATURES
            .into_iter()
            .filter(|(_, metric)| rows.iter().any(|row| row.features.contains_key(metric)))
            .collect();
        headings.extend(features.iter().map(|(heading, _)| *heading));
        headings.push("time (s)");
        let bare = rows
            .iter()
            .find(|row| matches!(row.method, Method::Unconditional { .. }))
            .and_then(|row| row.of_images.get(&Metric::SecondsACall));
        if bare.is_some() {
            headings.extend(["backward passes", "× bare call on the same image"]);
        }
        let score = |value: Option<f64>, digits| match value {
            Some(value) => format!("{value:.digits$}"),
            None => TOO_FEW.to_owned(),
        };
        let line = |row: &Row| {
            let mut line = vec![
                row.label.clone(),
                row.nfe.to_string(),
                spread(&row.psnr_db, 2),
                spread(&row.ssim, 3),
            ];
            if ensembles {
                line.extend([
                    score(row.energy_score, 3),
                    score(row.energy_score_fair, 3),
                    score(row.crps_coordinate, 4),
                    score(row.mmd2, 4),
                ]);
            }
            for (_, metric) in &features {
                let seeds = row.of_seeds.get(metric);
                line.push(match seeds.and_then(|seeds| Spread::of(seeds).ok()) {
                    Some(found) => spread(&found, 4),
                    None => score(row.features.get(metric).copied().flatten(), 4),
                });
            }
            line.push(seconds(row.seconds));
            if let Some(bare) = bare {
                line.push(row.backward_passes.to_string());
                let ratio = row.of_images.get(&Metric::SecondsACall).and_then(|own| {
                    median(own.iter().zip(bare).map(|(own, bare)| own / bare).collect())
                });
                line.push(ratio.map_or("–".to_owned(), |[_, ratio, _]| format!("{ratio:.3}")));
            }
            line
        };
        let headings = headings.into_iter().map(str::to_owned).collect();
        Self { headings, rows: rows.iter().map(line).collect() }
    }

    /// The table in columns of text.
    #[must_use]
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.headings[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let line = |cells: &[&str]| {
            let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            format!("{}\n", cells.collect::<Vec<_>>().join("  "))
        };
        let text_of =
            |cells: &[String]| line(&cells.iter().map(String::as_str).collect::<Vec<_>>());
        let mut text = text_of(&self.headings);
        for row in &self.rows {
            text += &text_of(row);
        }
        text
    }
}

/// Mean ± standard deviation, or the mean alone.
fn spread(spread: &Spread, digits: usize) -> String {
    format!("{spread:.digits$}")
}

/// Seconds with three digits that count.
fn seconds(value: f64) -> String {
    let digits = whole((2.0 - value.max(1e-9).log10().floor()).min(5.0));
    format!("{value:.digits$}")
}

/// A number times `scale` with the half width of its 95 % interval over images.
pub(crate) fn with_interval(estimate: &Estimate, scale: f64, decimals: usize) -> String {
    let value = scale * estimate.value;
    match estimate.half_width_95 {
        Some(half_width) => format!("{value:.decimals$} ± {:.decimals$}", scale * half_width),
        None => format!("{value:.decimals$}"),
    }
}

/// The table of a setting's calibration; ± is the half width of a 95 % interval over images.
#[must_use]
pub fn calibration_table(rows: &[Calibration]) -> Table {
    let line = |row: &Calibration| {
        let mut line = vec![
            row.method.label(),
            format!("{:.4}", row.ratios.truth),
            format!("{:.4}", row.ratios.held_out),
            with_interval(&row.ratios.difference, 1.0, 4),
        ];
        line.extend(row.coverage.iter().map(|covered| with_interval(covered, 100.0, 1)));
        line.push(format!("{:.1}", 100.0 * row.ranks.share));
        let [.., of_all] = &row.coverage_of_all;
        line.push(with_interval(of_all, 100.0, 1));
        line
    };
    Table {
        headings: [
            "method",
            "energy ratio",
            "with an 11th sample",
            "difference",
            "in 50 % interval (%)",
            "in 80 % interval (%)",
            "in 90 % interval (%)",
            "pixels ranked (%)",
            "in 90 % interval of all pixels (%)",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use eps_results::Scope;

    use super::*;
    use crate::sample_results::row_of;

    fn row(method: Method, seeds: &[f64], energy_score_fair: Option<f64>) -> Row {
        Row {
            seconds: 0.012345,
            psnr_db: Spread::of(seeds).unwrap(),
            energy_score: Some(1.0),
            energy_score_fair,
            crps_coordinate: energy_score_fair,
            mmd2: Some(-0.00123),
            ..row_of(method, 0.0)
        }
    }

    #[test]
    fn columns_are_aligned_and_numbers_carry_their_spread() {
        let eps = Method::Eps { network: Scope::PerTask, calls: 20 };
        let rows = [row(Method::PseudoInverse, &[9.876], None), row(eps, &[20.0, 22.0], Some(0.5))];
        let text = Table::new(&rows, true).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let lengths: Vec<usize> = lines.iter().map(|line| line.chars().count()).collect();
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{text}");
        assert!(lines[0].starts_with("method") && lines[0].contains("PSNR (dB)"), "{text}");
        assert!(lines[1].contains("9.88") && !lines[1].contains('±'), "{text}");
        assert!(lines[1].contains("too few samples"), "{text}");
        // The standard deviation of 20 and 22 with n − 1 is √2.
        assert!(lines[2].contains("21.00 ± 1.41") && lines[2].contains("-0.0012"), "{text}");
    }

    #[test]
    fn claims_alone_need_fewer_columns() {
        let table = Table::new(&[row(Method::LinearMmse, &[20.0], None)], false);
        assert_eq!(table.headings, ["method", "NFE", "PSNR (dB)", "SSIM", "time (s)"]);
        assert_eq!(table.rows[0], ["linear MMSE", "0", "20.00", "0.500", "0.0123"]);
    }

    #[test]
    fn times_stand_beside_that_of_a_bare_call() {
        let timed = |method: Method, seconds: [f64; 3]| {
            let of_images = BTreeMap::from([(Metric::SecondsACall, seconds.to_vec())]);
            Row { of_images, ..row(method, &[10.0], None) }
        };
        let bare = timed(Method::Unconditional { calls: 4 }, [1.0, 2.0, 4.0]);
        let eps = timed(Method::Eps { network: Scope::PerTask, calls: 2 }, [2.0, 4.0, 40.0]);
        let table = Table::new(&[bare, eps, row(Method::LinearMmse, &[9.0], None)], false);
        assert_eq!(table.headings[5..], ["backward passes", "× bare call on the same image"]);
        assert_eq!(table.rows[1][5..], ["0", "2.000"]);
        assert_eq!(table.rows[2][6], "–");
    }

    #[test]
    fn seconds_keep_three_digits() {
        assert_eq!([seconds(123.4), seconds(1.234), seconds(0.01234)], ["123", "1.23", "0.0123"]);
        assert_eq!(seconds(0.0), "0.00000");
    }
}

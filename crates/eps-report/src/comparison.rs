//! Comparisons of two rows of one setting.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use eps_metrics::summary::Estimate;
use eps_results::{Metric, Row, TaskResults};

/// What is read off a method's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// The samples.
    Samples,
    /// The mean of the samples of an image, of the most that there are.
    Means,
}

/// A row of a setting, in table or curve, by the name of its method in files. Where a task has no network of
/// its own, the row is that of the one for all tasks.
pub(crate) fn row<'a>(setting: &'a TaskResults, cell: &str, of: Of) -> Option<&'a Row> {
    let find = |cell: &str| {
        setting
            .rows()
            .filter(|row| row.cell == cell && row.mean_of.is_some() == (of == Of::Means))
            .max_by_key(|row| row.mean_of)
    };
    find(cell).or_else(|| {
        let (family @ ("eps" | "palette"), calls) = cell.split_once('-')? else {
            return None;
        };
        find(&format!("{family}-all-tasks-{calls}"))
    })
}

/// Whether a method has no row as some of its chains left the finite numbers.
pub(crate) fn diverged(setting: &TaskResults, cell: &str) -> bool {
    setting.diverged.iter().any(|method| method.cell == cell)
}

/// A score of a row with its spread over seeds, where it has one; none where the row says that it is
/// to be read with care.
pub(crate) fn score(row: &Row, metric: Metric) -> Option<(f64, Option<f64>)> {
    if row.cautions.contains_key(&metric) { None } else { row.score(metric) }
}

/// The numbers of a score in one of a row's lists, none where there are none.
fn numbers(list: &BTreeMap<Metric, Vec<f64>>, metric: Metric) -> &[f64] {
    list.get(&metric).map_or(&[], Vec::as_slice)
}

/// Images from which on a Fréchet distance decides between two methods with as many samples each: the
/// paper's number.
const FRECHET_IMAGES: usize = 100;

/// A score that two methods may be compared by: one to be read with care is, at equal counts of
/// [`FRECHET_IMAGES`] images or more.
pub(crate) fn comparable(row: &Row, metric: Metric) -> Option<(f64, Option<f64>)> {
    let images = numbers(&row.of_images, Metric::PsnrDb).len();
    if images < FRECHET_IMAGES { score(row, metric) } else { row.score(metric) }
}

/// By how much one row is above another in a score, with the half width of its 95 % interval over images:
/// that of paired differences where the score has a value for each image, that of the jackknife where it
/// has values without each; without either nothing is known. Images of one file count as one.
pub(crate) fn difference(row: &Row, other: &Row, metric: Metric) -> Option<(f64, f64)> {
    let ((a, _), (b, _)) = (comparable(row, metric)?, comparable(other, metric)?);
    let paired = |list: fn(&Row) -> &BTreeMap<Metric, Vec<f64>>| -> Option<Vec<f64>> {
        let (a, b) = (numbers(list(row), metric), numbers(list(other), metric));
        let has_both = !a.is_empty() && a.len() == b.len();
        has_both.then(|| a.iter().zip(b).map(|(a, b)| a - b).collect())
    };
    let of_images = paired(|row| &row.of_images).and_then(|of_images| {
        let terms: Vec<[f64; 2]> = of_images.iter().map(|of_image| [*of_image, 1.0]).collect();
        Estimate::of_sums(&terms, |[sum, count]| sum / count, groups(row, terms.len())).ok()
    });
    let estimate = of_images.unwrap_or_else(|| {
        let left_out = paired(|row| &row.left_out).unwrap_or_default();
        Estimate::of_left_out(a - b, &left_out, groups(row, left_out.len()))
    });
    Some((estimate.value, estimate.half_width_95.unwrap_or(f64::INFINITY)))
}

/// The mean of a score over images with its 95 % interval, where the row has a value for each image.
pub(crate) fn over_images(row: &Row, metric: Metric) -> Option<Estimate> {
    let terms: Vec<[f64; 2]> =
        numbers(&row.of_images, metric).iter().map(|of_image| [*of_image, 1.0]).collect();
    Estimate::of_sums(&terms, |[sum, count]| sum / count, groups(row, terms.len())).ok()
}

/// The file that each of a row's images was made of, where that is known: several may be pieces of one.
fn groups(row: &Row, images: usize) -> Option<&[u32]> {
    row.sources.as_deref().filter(|sources| sources.len() == images)
}

/// By how many dB the mean of a method's samples is nearer to the truth than another's, with the half width
/// of its 95 % interval over images: the ratio of their mean squared errors in the limit of many samples.
pub(crate) fn mean_gain(row: &Row, other: &Row) -> Option<Estimate> {
    let of = |row: &'_ Row| numbers(&row.of_images, Metric::MseOfMean).to_vec();
    let (a, b) = (of(row), of(other));
    let terms: Vec<[f64; 2]> = a.iter().zip(&b).map(|(a, b)| [*a, *b]).collect();
    let is_whole = a.len() == b.len();
    let gain = |[a, b]: [f64; 2]| 10.0 * (b / a).log10();
    if is_whole { Estimate::of_sums(&terms, gain, groups(row, a.len())).ok() } else { None }
}

/// How one method does against another in a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Win,
    Tie,
    Loss,
}

impl Outcome {
    /// The outcome for a row against another: a tie where the 95 % interval of the difference has 0 in
    /// it.
    pub(crate) fn of(row: &Row, other: &Row, metric: Metric, more: bool) -> Option<Self> {
        let (difference, half_width) = difference(row, other, metric)?;
        Some(if more {
            Self::at_least(difference, half_width, 0.0)
        } else {
            Self::at_most(difference, half_width, 0.0)
        })
    }

    /// Whether a value known to within a half width is at least `least`: a tie where that lies within.
    pub(crate) fn at_least(value: f64, half_width: f64, least: f64) -> Self {
        match value - least {
            above if above.abs() <= half_width => Self::Tie,
            above => Self::decided(above > 0.0),
        }
    }

    /// Whether it is at most `most`.
    pub(crate) fn at_most(value: f64, half_width: f64, most: f64) -> Self {
        Self::at_least(-value, half_width, -most)
    }

    pub(crate) fn decided(holds: bool) -> Self {
        if holds { Self::Win } else { Self::Loss }
    }
}

/// Numbers of outcomes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcomes {
    pub(crate) wins: usize,
    pub(crate) ties: usize,
    pub(crate) losses: usize,
}

impl Extend<Outcome> for Outcomes {
    fn extend<T: IntoIterator<Item = Outcome>>(&mut self, outcomes: T) {
        for outcome in outcomes {
            match outcome {
                Outcome::Win => self.wins += 1,
                Outcome::Tie => self.ties += 1,
                Outcome::Loss => self.losses += 1,
            }
        }
    }
}

impl AddAssign for Outcomes {
    fn add_assign(&mut self, other: Self) {
        self.wins += other.wins;
        self.ties += other.ties;
        self.losses += other.losses;
    }
}

impl Outcomes {
    pub(crate) fn all(self) -> usize {
        self.wins + self.ties + self.losses
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wins, {} ties, {} losses", self.wins, self.ties, self.losses)
    }
}

#[cfg(test)]
mod tests {
    use eps_results::{Method, Scope};

    use super::*;
    use crate::sample_results::{row_of, setting_of};

    const EPS: Method = Method::Eps { network: Scope::PerTask, calls: 20 };

    /// A row with a Fréchet distance of few images.
    fn with_distance(distance: f64) -> Row {
        let mut row = row_of(EPS, 20.0);
        row.features.insert(Metric::FdAlex, Some(distance));
        row.cautions.insert(Metric::FdAlex, "few images".to_owned());
        row
    }

    #[test]
    fn a_score_to_be_read_with_care_decides_nothing_but_at_the_paper_s_count() {
        let mut row = with_distance(3.0);
        assert_eq!(score(&row, Metric::FdAlex), None);
        assert_eq!(difference(&row, &row, Metric::FdAlex), None);
        let of_many = |distance: f64| {
            let mut row = with_distance(distance);
            row.of_images.insert(Metric::PsnrDb, vec![20.0; 100]);
            let left_out = (0..100).map(|i| distance + 1e-3 * f64::from(i)).collect();
            row.left_out.insert(Metric::FdAlex, left_out);
            row
        };
        let (near, far) = (of_many(3.0), of_many(4.0));
        assert_eq!(Outcome::of(&near, &far, Metric::FdAlex, false), Some(Outcome::Win));
        // What has no interval decides nothing.
        let mut unknown = of_many(4.0);
        unknown.left_out.clear();
        assert_eq!(Outcome::of(&near, &unknown, Metric::FdAlex, false), Some(Outcome::Tie));
        row.cautions.clear();
        assert_eq!(score(&row, Metric::FdAlex), Some((3.0, None)));
    }

    #[test]
    fn means_are_compared_by_their_squared_errors() {
        let row = |errors: [f64; 3]| {
            let mut row = row_of(EPS, 20.0);
            row.of_images.insert(Metric::MseOfMean, errors.to_vec());
            row
        };
        let (near, far) = (row([0.1, 0.2, 0.3]), row([1.0, 2.0, 3.0]));
        let gain = mean_gain(&near, &far).unwrap();
        assert!((gain.value - 10.0).abs() < 1e-12 && gain.half_width_95.unwrap() < 1e-9);
        assert_eq!(mean_gain(&near, &row_of(EPS, 20.0)), None);
    }

    #[test]
    fn the_mean_of_the_most_samples_stands_for_the_mean() {
        let means = [Some(10), None, Some(100)];
        let rows = means.map(|mean_of| Row { mean_of, ..row_of(EPS, 20.0) });
        let setting = setting_of(rows.to_vec());
        assert_eq!(row(&setting, "eps-20", Of::Means).unwrap().mean_of, Some(100));
        assert_eq!(row(&setting, "eps-20", Of::Samples).unwrap().mean_of, None);
    }

    #[test]
    fn a_network_for_all_tasks_stands_in() {
        let shared = Method::Eps { network: Scope::AllTasks, calls: 20 };
        let palette = Method::Palette { network: Scope::PerTask, calls: 100 };
        let setting = setting_of(vec![row_of(shared, 21.0), row_of(palette, 20.0)]);
        let psnr = |cell: &str| score(row(&setting, cell, Of::Samples)?, Metric::PsnrDb);
        assert_eq!(psnr("eps-20"), Some((21.0, Some(0.1))));
        assert_eq!(psnr("palette-100"), Some((20.0, Some(0.1))));
        assert_eq!((psnr("eps-100"), psnr("dps-20")), (None, None));
    }
}

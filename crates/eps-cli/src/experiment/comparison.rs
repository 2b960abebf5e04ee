//! Comparisons of two rows of an experiment's results.json.

use std::fmt;
use std::ops::AddAssign;

use eps_metrics::summary::{Estimate, Spread};
use serde_json::Value;

/// What is read off a method's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The samples.
    Samples,
    /// The mean of the samples of an image, of the most that there are.
    Means,
}

/// A row of a setting, in table or curve. Where a task has no network of its own, the row is that of the
/// one for all tasks.
pub(super) fn row<'a>(setting: &'a Value, cell: &str, of: Of) -> Option<&'a Value> {
    let rows = |which: &str| setting[which].as_array().into_iter().flatten();
    let find = |cell: &str| {
        rows("table")
            .chain(rows("curve"))
            .filter(|row| row["cell"] == cell && row["mean_of"].is_u64() == (of == Of::Means))
            .max_by_key(|row| row["mean_of"].as_u64())
    };
    find(cell).or_else(|| {
        let (family @ ("eps" | "palette"), calls) = cell.split_once('-')? else {
            return None;
        };
        find(&format!("{family}-all-tasks-{calls}"))
    })
}

/// Whether a method has no row as some of its chains left the finite numbers.
pub(super) fn diverged(setting: &Value, cell: &str) -> bool {
    setting["diverged"].as_array().into_iter().flatten().any(|method| method["cell"] == cell)
}

/// A score of a row with its spread over seeds, where it has one; none where the row says that it is
/// to be read with care.
pub(super) fn score(row: &Value, metric: &str) -> Option<(f64, f64)> {
    if row["cautions"].get(metric).is_some() { None } else { value(row, metric) }
}

/// A score of a row, whatever is said about it.
fn value(row: &Value, metric: &str) -> Option<(f64, f64)> {
    let value = row.get(metric).or_else(|| row["features"].get(metric))?;
    match value {
        Value::Object(spread) => Some((
            spread.get("mean")?.as_f64()?,
            spread.get("standard_deviation").and_then(Value::as_f64).unwrap_or(0.0),
        )),
        _ => {
            // LPIPS is a mean over seeds; distances of all samples together are not.
            let seeds =
                if metric.starts_with("lpips") { numbers(row, "of_seeds", metric) } else { vec![] };
            let spread = Spread::of(&seeds).ok().and_then(|spread| spread.standard_deviation);
            Some((value.as_f64()?, spread.unwrap_or(0.0)))
        }
    }
}

/// The numbers of a score under one of a row's lists, none where there are none.
fn numbers(row: &Value, list: &str, metric: &str) -> Vec<f64> {
    row[list][metric].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// Images from which on a Fréchet distance decides between two methods with as many samples each: the
/// paper's number.
const FRECHET_IMAGES: usize = 100;

/// A score that two methods may be compared by: one to be read with care is, at equal counts of
/// [`FRECHET_IMAGES`] images or more.
pub(super) fn comparable(row: &Value, metric: &str) -> Option<(f64, f64)> {
    let images = row["of_images"]["psnr_db"].as_array().map_or(0, Vec::len);
    if images < FRECHET_IMAGES { score(row, metric) } else { value(row, metric) }
}

/// By how much one row is above another in a score, with the half width of its 95 % interval over images:
/// that of paired differences where the score has a value for each image, that of the jackknife where it
/// has values without each; without either nothing is known. Images of one file count as one.
pub(super) fn difference(row: &Value, other: &Value, metric: &str) -> Option<(f64, f64)> {
    let ((a, _), (b, _)) = (comparable(row, metric)?, comparable(other, metric)?);
    let paired = |list: &str| -> Option<Vec<f64>> {
        let (a, b) = (numbers(row, list, metric), numbers(other, list, metric));
        let has_both = !a.is_empty() && a.len() == b.len();
        has_both.then(|| a.iter().zip(&b).map(|(a, b)| a - b).collect())
    };
    let of_images = paired("of_images").and_then(|of_images| {
        let terms: Vec<[f64; 2]> = of_images.iter().map(|of_image| [*of_image, 1.0]).collect();
        let groups = groups(row, terms.len());
        Estimate::of_sums(&terms, |[sum, count]| sum / count, groups.as_deref()).ok()
    });
    let estimate = of_images.unwrap_or_else(|| {
        let left_out = paired("left_out").unwrap_or_default();
        let groups = groups(row, left_out.len());
        Estimate::of_left_out(a - b, &left_out, groups.as_deref())
    });
    Some((estimate.value, estimate.half_width_95.unwrap_or(f64::INFINITY)))
}

/// The file that each of a row's images was made of, where that is known: several may be pieces of one.
fn groups(row: &Value, images: usize) -> Option<Vec<u32>> {
    let sources: Vec<u32> = serde_json::from_value(row["sources"].clone()).ok()?;
    (sources.len() == images).then_some(sources)
}

/// By how many dB the mean of a method's samples is nearer to the truth than another's, with the half width
/// of its 95 % interval over images: the ratio of their mean squared errors in the limit of many samples.
pub(super) fn mean_gain(row: &Value, other: &Value) -> Option<Estimate> {
    let of = |row| numbers(row, "of_images", "mse_of_mean");
    let (a, b) = (of(row), of(other));
    let terms: Vec<[f64; 2]> = a.iter().zip(&b).map(|(a, b)| [*a, *b]).collect();
    let is_whole = a.len() == b.len();
    let gain = |[a, b]: [f64; 2]| 10.0 * (b / a).log10();
    if is_whole {
        Estimate::of_sums(&terms, gain, groups(row, a.len()).as_deref()).ok()
    } else {
        None
    }
}

/// How one method does against another in a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Win,
    Tie,
    Loss,
}

impl Outcome {
    /// The outcome for a row against another: a tie where the 95 % interval of the difference has 0 in
    /// it.
    pub(super) fn of(row: &Value, other: &Value, metric: &str, more: bool) -> Option<Self> {
        let (difference, half_width) = difference(row, other, metric)?;
        Some(if more {
            Self::at_least(difference, half_width, 0.0)
        } else {
            Self::at_most(difference, half_width, 0.0)
        })
    }

    /// Whether a value known to within a half width is at least `least`: a tie where that lies within.
    pub(super) fn at_least(value: f64, half_width: f64, least: f64) -> Self {
        match value - least {
            above if above.abs() <= half_width => Self::Tie,
            above => Self::decided(above > 0.0),
        }
    }

    /// Whether it is at most `most`.
    pub(super) fn at_most(value: f64, half_width: f64, most: f64) -> Self {
        Self::at_least(-value, half_width, -most)
    }

    pub(super) fn decided(holds: bool) -> Self {
        if holds { Self::Win } else { Self::Loss }
    }
}

/// Numbers of outcomes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcomes {
    pub(super) wins: usize,
    pub(super) ties: usize,
    pub(super) losses: usize,
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
    pub(super) fn all(self) -> usize {
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_score_to_be_read_with_care_decides_nothing_but_at_the_paper_s_count() {
        let row = json!({"features": {"fd_alex": 3.0}, "cautions": {"fd_alex": "few images"}});
        assert_eq!(score(&row, "fd_alex"), None);
        assert_eq!(difference(&row, &row, "fd_alex"), None);
        let of_many = |distance: f64| {
            json!({"features": {"fd_alex": distance}, "cautions": {"fd_alex": "few images"},
                "of_images": {"psnr_db": vec![20.0; 100]},
                "left_out": {"fd_alex": (0..100).map(|i| distance + 1e-3 * f64::from(i)).collect::<Vec<_>>()}})
        };
        let (near, far) = (of_many(3.0), of_many(4.0));
        assert_eq!(Outcome::of(&near, &far, "fd_alex", false), Some(Outcome::Win));
        // What has no interval decides nothing.
        let mut unknown = of_many(4.0);
        unknown["left_out"] = json!({});
        assert_eq!(Outcome::of(&near, &unknown, "fd_alex", false), Some(Outcome::Tie));
        let row = json!({"features": {"fd_alex": 3.0}, "cautions": {}});
        assert_eq!(score(&row, "fd_alex"), Some((3.0, 0.0)));
    }

    #[test]
    fn means_are_compared_by_their_squared_errors() {
        let row = |errors: [f64; 3]| json!({"of_images": {"mse_of_mean": errors}});
        let (near, far) = (row([0.1, 0.2, 0.3]), row([1.0, 2.0, 3.0]));
        let gain = mean_gain(&near, &far).unwrap();
        assert!((gain.value - 10.0).abs() < 1e-12 && gain.half_width_95.unwrap() < 1e-9);
        assert_eq!(mean_gain(&near, &json!({})), None);
    }

    #[test]
    fn the_mean_of_the_most_samples_stands_for_the_mean() {
        let row_of = |mean_of: Option<u64>| json!({"cell": "eps-20", "mean_of": mean_of});
        let setting = json!({"table": [row_of(Some(10)), row_of(None), row_of(Some(100))]});
        assert_eq!(row(&setting, "eps-20", Of::Means).unwrap()["mean_of"], 100);
        assert!(row(&setting, "eps-20", Of::Samples).unwrap()["mean_of"].is_null());
    }
}

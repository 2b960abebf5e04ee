//! Training, validation and test: which split an image is in.

use std::fmt;
use std::str::FromStr;

use eps_math::rng::Stream;
use serde::{Deserialize, Serialize};

use crate::DataError;

/// A split of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What networks are trained on.
    Train,
    /// What losses are watched and constants are chosen on.
    Validation,
    /// What results are computed on.
    Test,
}

impl Split {
    /// All splits.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        })
    }
}

impl FromStr for Split {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        Split::ALL.into_iter().find(|split| split.to_string() == name).ok_or_else(|| {
            DataError::invalid("the split", format!("{name:?}"), "use train, validation or test")
        })
    }
}

/// How files are shared out to the splits, by their names.
///
/// ```text
/// u = u01(seed, name):   train if u < t,   validation if t ≤ u < t + v,   else test
/// ```
///
/// A file's split depends on its name, the shares and the seed alone: it stays where it is when others
/// come or go.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shares {
    /// The share of training, in parts of the sum of all three.
    pub train: f64,
    /// The share of validation.
    pub validation: f64,
    /// The share of test.
    pub test: f64,
    /// The seed of the draw.
    pub seed: u64,
}

impl Shares {
    /// Shares written as `train:validation:test`, such as `80:10:10`.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where these are not three numbers from 0 on with a positive sum.
    pub fn parse(text: &str, seed: u64) -> Result<Self, DataError> {
        let parts: Vec<f64> = text.split(':').filter_map(|part| part.parse().ok()).collect();
        let sum: f64 = parts.iter().sum();
        match parts[..] {
            [train, validation, test]
                if text.matches(':').count() == 2
                    && parts.iter().all(|&part| part >= 0.0)
                    && sum > 0.0
                    && sum.is_finite() =>
            {
                Ok(Shares { train, validation, test, seed })
            }
            _ => Err(DataError::invalid(
                "the shares of the splits",
                format!("{text:?}"),
                "give train:validation:test, three numbers from 0 on, such as 80:10:10",
            )),
        }
    }

    /// The split of a file.
    pub fn split_of(&self, name: &str) -> Split {
        let Shares { train, validation, test, seed } = *self;
        let u = (train + validation + test) * Stream::named(seed, name).uniform(0);
        match u {
            _ if u < train => Split::Train,
            _ if u < train + validation => Split::Validation,
            // Rounding must not give a file to a split without a share.
            _ if test > 0.0 => Split::Test,
            _ if validation > 0.0 => Split::Validation,
            _ => Split::Train,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_and_names_decide() {
        let shares = Shares::parse("80:15:5", 3).unwrap();
        let count = |split| {
            (0..10_000).filter(|i| shares.split_of(&format!("photo {i}")) == split).count() as f64
        };
        for (split, share) in Split::ALL.into_iter().zip([0.8, 0.15, 0.05f64]) {
            // Five standard deviations of a binomial law.
            let bound = 5.0 * (10_000.0 * share * (1.0 - share)).sqrt();
            assert!((count(split) - 10_000.0 * share).abs() < bound, "{split}");
        }
        let scaled = Shares::parse("16:3:1", 3).unwrap();
        let other = Shares { seed: 4, ..shares };
        let names = || (0..1000).map(|i| i.to_string());
        assert!(names().all(|name| shares.split_of(&name) == scaled.split_of(&name)));
        assert!(names().any(|name| shares.split_of(&name) != other.split_of(&name)));
    }

    #[test]
    fn a_split_without_a_share_stays_empty() {
        for (text, full) in
            [("1:0:0", Split::Train), ("0:2:0", Split::Validation), ("0:0:3", Split::Test)]
        {
            let shares = Shares::parse(text, 0).unwrap();
            assert!((0..1000).all(|i| shares.split_of(&i.to_string()) == full), "{text}");
        }
    }

    #[test]
    fn bad_shares_are_answered_with_the_form() {
        for text in
            ["", "80", "80:20", "80:10:10:0", "a:b:c", "80::20", "-1:1:1", "0:0:0", "inf:1:1"]
        {
            let error = Shares::parse(text, 0).unwrap_err().to_string();
            assert!(error.contains("80:10:10") && error.contains(text), "{error}");
        }
    }

    #[test]
    fn splits_are_known_by_name() {
        for split in Split::ALL {
            assert_eq!(split.to_string().parse::<Split>().unwrap(), split);
        }
        let error = "all".parse::<Split>().unwrap_err().to_string();
        assert!(error.contains("\"all\"") && error.contains("validation"), "{error}");
    }
}

//! How much of the experiment is computed.

use std::str::FromStr;

/// The sizes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The name by which it is chosen.
    pub name: &'static str,
    /// Test images of each task.
    pub images: usize,
    /// Posterior samples of each image: the seeds of the table.
    pub samples: usize,
    /// The same of the experiments beside `main`, images and samples.
    pub others: (usize, usize),
    /// Samples of each image in the experiment `posterior-mean`.
    pub mean_of: usize,
    /// Network calls a sample, in the order of the table's rows.
    pub calls: Vec<usize>,
    /// Network calls of the curve of quality against NFE.
    pub curve: Vec<usize>,
    /// Network calls of every method in the experiment `steps`.
    pub steps: Vec<usize>,
    /// The most calls of a method whose number of calls is its own; none for no limit.
    pub limit: Option<usize>,
    /// How often each part of a network call is timed.
    pub runs: usize,
    /// Whether the contenders of EPS are computed.
    pub contenders: bool,
    /// Whether all metrics, the samples and the report are written, or the claims alone are checked.
    pub report: bool,
}

const NAMES: [&str; 4] = ["smoke", "quick", "full", "verify"];

impl Profile {
    /// A method's usual number of calls, or the most that this profile allows.
    #[must_use]
    pub fn limit(&self, calls: usize) -> usize {
        self.limit.map_or(calls, |limit| calls.min(limit))
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let curve = vec![1, 2, 5, 10, 20, 50, 100];
        let paper = vec![1, 20, 100];
        Ok(match name {
            // To see that everything works: under a minute on two cores.
            "smoke" => Self {
                name: "smoke",
                images: 2,
                samples: 1,
                others: (2, 1),
                mean_of: 2,
                calls: vec![1, 2, 4],
                curve: vec![1, 2, 4],
                steps: vec![1, 5],
                // An annealing step of DAPS.
                limit: Some(5),
                runs: 2,
                contenders: true,
                report: true,
            },
            // The paper's setting in reduced numbers: some minutes on two cores.
            "quick" => Self {
                name: "quick",
                images: 6,
                samples: 3,
                others: (6, 3),
                mean_of: 100,
                calls: paper,
                curve,
                steps: vec![1, 5, 10, 20, 50],
                limit: None,
                runs: 30,
                contenders: true,
                report: true,
            },
            // The paper's numbers.
            "full" => Self {
                name: "full",
                images: 100,
                samples: 10,
                others: (32, 4),
                mean_of: 100,
                calls: paper,
                curve,
                steps: vec![1, 5, 10, 15, 20, 50, 100],
                limit: None,
                runs: 30,
                contenders: true,
                report: true,
            },
            // The claims about the committed networks, on 1,000 images.
            "verify" => Self {
                name: "verify",
                images: 1000,
                samples: 10,
                others: (1000, 10),
                mean_of: 10,
                calls: vec![1, 5],
                curve: vec![],
                steps: vec![1, 5],
                limit: None,
                runs: 30,
                contenders: false,
                report: false,
            },
            _ => {
                return Err(format!("the profile {name:?} is unknown: use {}", NAMES.join(", ")));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gives_its_profile() {
        for name in NAMES {
            let profile: Profile = name.parse().unwrap();
            assert_eq!(profile.name, name);
            assert!(profile.images >= 2 && profile.samples >= 1);
            assert_eq!(profile.calls[0], 1, "the one-call estimate is a row of every table");
        }
        let full: Profile = "full".parse().unwrap();
        assert_eq!((full.images, full.samples, full.others), (100, 10, (32, 4)));
        assert_eq!(full.calls, [1, 20, 100]);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "fast".parse::<Profile>().unwrap_err();
        assert_eq!(error, "the profile \"fast\" is unknown: use smoke, quick, full, verify");
    }
}

//! How much of the tournament is computed.

use std::str::FromStr;

use eps_math::Task;
use eps_math::operator::Border;
use eps_results::tournament::{PriorLaw, SIGMA_Y, SIGMAS_Y, Space, TournamentSetting};

/// The sizes of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct TournamentProfile {
    /// The name by which it is chosen.
    pub name: &'static str,
    /// The settings.
    pub settings: Vec<TournamentSetting>,
    /// Measurements of each setting.
    pub measurements: usize,
    /// Samples of each measurement.
    pub samples: usize,
    /// Calls of the denoiser a sample, ascending.
    pub calls: Vec<usize>,
    /// Measurements on which constants are chosen.
    pub tuning_measurements: usize,
    /// Samples of each of them.
    pub tuning_samples: usize,
    /// Pairs of exact sets of each measurement, for the floor.
    pub floor_pairs: usize,
}

const NAMES: [&str; 3] = ["smoke", "quick", "full"];

impl FromStr for TournamentProfile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let plane = (Space::Plane, PriorLaw::Mixture);
        Ok(match name {
            // To see that everything works: some seconds.
            "smoke" => Self {
                name: "smoke",
                settings: [(plane.0, None), (Space::Four, Some(Task::RandomInpainting))]
                    .map(|(space, task)| TournamentSetting {
                        space,
                        law: plane.1,
                        task,
                        sigma_y: SIGMA_Y,
                        border: None,
                    })
                    .to_vec(),
                measurements: 1,
                samples: 200,
                calls: vec![5, 20],
                tuning_measurements: 1,
                tuning_samples: 64,
                floor_pairs: 5,
            },
            // The plane, and every operator once: minutes.
            "quick" => Self {
                name: "quick",
                settings: [
                    TournamentSetting::all(&[plane], &SIGMAS_Y),
                    TournamentSetting::all(&[(Space::Four, PriorLaw::Mixture)], &[SIGMA_Y]),
                    // Whose pivots are iterated.
                    vec![TournamentSetting {
                        space: Space::Four,
                        law: PriorLaw::Mixture,
                        task: Some(Task::MotionBlur),
                        sigma_y: SIGMA_Y,
                        border: Some(Border::Reflect),
                    }],
                ]
                .concat(),
                measurements: 2,
                samples: 500,
                calls: vec![5, 10, 20, 50, 100, 200],
                tuning_measurements: 2,
                tuning_samples: 128,
                floor_pairs: 10,
            },
            // Every space and every operator at every noise level: hours of one core.
            "full" => Self {
                name: "full",
                settings: TournamentSetting::all(
                    &[
                        (Space::Plane, PriorLaw::Gaussian),
                        plane,
                        (Space::Four, PriorLaw::Mixture),
                        (Space::Eight, PriorLaw::Gaussian),
                    ],
                    &SIGMAS_Y,
                ),
                measurements: 2,
                samples: 1000,
                calls: vec![5, 10, 20, 50, 100, 200, 500, 1000],
                tuning_measurements: 2,
                tuning_samples: 128,
                floor_pairs: 10,
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
            let profile: TournamentProfile = name.parse().unwrap();
            assert_eq!(profile.name, name);
            assert!(profile.calls.is_sorted_by(|a, b| a < b));
            assert!(profile.samples >= 2 && profile.tuning_samples >= 2);
        }
        let full: TournamentProfile = "full".parse().unwrap();
        assert_eq!(full.settings.len(), 3 * (1 + 1 + 5 + 5));
        assert_eq!(full.calls.last(), Some(&1000));
        let error = "fast".parse::<TournamentProfile>().unwrap_err();
        assert_eq!(error, "the profile \"fast\" is unknown: use smoke, quick, full");
    }
}

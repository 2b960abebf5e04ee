//! The settings of the tournament, by name.

use eps_math::operator::Border;
use eps_math::{Shape, Task};
use serde::{Deserialize, Serialize};

/// The noise levels, on the scale [-1, 1]: little, some and much beside priors of deviation 0.5.
pub const SIGMAS_Y: [f64; 3] = [0.05, 0.2, 0.5];

/// The σ_y of settings that come at one level.
pub const SIGMA_Y: f64 = SIGMAS_Y[1];

/// Where x₀ lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// Points (a, b), one image of 1×2 pixels each.
    Plane,
    /// Grey images of 4×4 pixels.
    Four,
    /// Grey images of 8×8 pixels.
    Eight,
}

/// The law of x₀.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriorLaw {
    /// One Gaussian.
    Gaussian,
    /// A mixture of Gaussians that measurements leave ambiguous.
    Mixture,
}

/// A prior with the measurements that are taken of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TournamentSetting {
    /// Where x₀ lives.
    pub space: Space,
    /// The law of x₀.
    pub law: PriorLaw,
    /// The family of the operator; none for the dense matrix in the plane.
    pub task: Option<Task>,
    /// σ_y on the scale [-1, 1].
    pub sigma_y: f64,
    /// The border of a blur that does not wrap around, for which no eigenbasis is known; none for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub border: Option<Border>,
}

impl Space {
    /// The name in tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Plane => "2-D",
            Self::Four => "4×4",
            Self::Eight => "8×8",
        }
    }

    /// The shape of x₀.
    #[must_use]
    pub fn shape(self) -> Shape {
        let (height, width) = match self {
            Self::Plane => (1, 2),
            Self::Four => (4, 4),
            Self::Eight => (8, 8),
        };
        Shape { channels: 1, height, width }
    }
}

impl PriorLaw {
    /// The name in tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Gaussian => "Gaussian",
            Self::Mixture => "mixture",
        }
    }
}

impl TournamentSetting {
    /// The name in files.
    #[must_use]
    pub fn slug(&self) -> String {
        let space = match self.space {
            Space::Plane => "plane",
            Space::Four => "4x4",
            Space::Eight => "8x8",
        };
        let law = self.law.label().to_lowercase();
        format!("{space}-{law}-{}-{}", self.operator_name(), self.sigma_y)
    }

    /// Space and law, by which results are gathered; what is iterated is for itself.
    #[must_use]
    pub fn group(&self) -> String {
        let iterated = if self.border.is_some() { ", no eigenbasis" } else { "" };
        format!("{} {}{iterated}", self.space.label(), self.law.label())
    }

    /// The name in tables.
    #[must_use]
    pub fn label(&self) -> String {
        let operator = self.operator_name().replace('-', " ");
        format!("{}, {operator}, σ_y {}", self.group(), self.sigma_y)
    }

    /// The name of the family of the operator, with its border where it has one.
    #[must_use]
    pub fn operator_name(&self) -> String {
        let family = self.task.map_or("dense", Task::name);
        self.border
            .map_or_else(|| family.to_owned(), |border| format!("{family}-{}", border.name()))
    }

    /// All settings of some groups at some noise levels, group by group.
    #[must_use]
    pub fn all(groups: &[(Space, PriorLaw)], sigmas_y: &[f64]) -> Vec<Self> {
        let of_group = |(space, law): &(Space, PriorLaw)| {
            let (space, law) = (*space, *law);
            let tasks = match space {
                Space::Plane => vec![None],
                _ => Task::ALL.map(Some).to_vec(),
            };
            let of_task = move |task: Option<Task>| {
                sigmas_y.iter().map(move |sigma_y| Self {
                    space,
                    law,
                    task,
                    sigma_y: *sigma_y,
                    border: None,
                })
            };
            tasks.into_iter().flat_map(of_task).collect::<Vec<_>>()
        };
        groups.iter().flat_map(of_group).collect()
    }
}

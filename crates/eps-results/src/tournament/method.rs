//! The methods of the tournament, by name and label.

use serde::{Deserialize, Serialize};

use crate::contender::Contender;

/// A posterior sampler that asks an exact denoiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TournamentMethod {
    /// Exact posterior sampling with D_Σ⋆, Heun's method.
    EpsHeun,
    /// Exact posterior sampling with D_Σ⋆, Euler's method.
    EpsEuler,
    /// Exact posterior sampling with D_Σ⋆, the multistep solver of second order on the grid for few steps.
    EpsMultistep,
    /// The prior's own denoiser asked at the pivot, Euler's method.
    ZeroShot,
    /// A method without training, with one tuned constant.
    #[serde(untagged)]
    Contender(Contender),
}

impl TournamentMethod {
    /// All methods, in the order of the tables.
    pub const ALL: [Self; 13] = [
        Self::EpsHeun,
        Self::EpsEuler,
        Self::EpsMultistep,
        Self::ZeroShot,
        Self::Contender(Contender::Dps),
        Self::Contender(Contender::DpsPublished),
        Self::Contender(Contender::Daps),
        Self::Contender(Contender::DapsExact),
        Self::Contender(Contender::Pigdm),
        Self::Contender(Contender::PigdmPublished),
        Self::Contender(Contender::Ddnm),
        Self::Contender(Contender::Ddrm),
        Self::Contender(Contender::Mpgd),
    ];

    /// The name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EpsHeun => "eps-heun",
            Self::EpsEuler => "eps-euler",
            Self::EpsMultistep => "eps-multistep",
            Self::ZeroShot => "zero-shot",
            Self::Contender(contender) => contender.name(),
        }
    }

    /// The name in tables and charts.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::EpsHeun => "EPS, Heun",
            Self::EpsEuler => "EPS, Euler",
            Self::EpsMultistep => "EPS, multistep",
            Self::ZeroShot => "zero-shot EPS",
            Self::Contender(contender) => contender.label(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_files() {
        for method in TournamentMethod::ALL {
            let value = serde_json::to_value(method).unwrap();
            assert_eq!(value, method.name());
            assert_eq!(serde_json::from_value::<TournamentMethod>(value).unwrap(), method);
        }
    }
}

//! The contenders of EPS on a frozen prior, by name.

use serde::{Deserialize, Serialize};

/// The time of a network call that is differentiated, by that of a call: of DPS 2.31, of ΠGDM 2.33 (`docs/performance.md`).
pub const WITH_BACKWARD: f64 = 2.3;

/// A training-free method. Without a suffix it is the form of arXiv 2606.17048, Section 7; with
/// `-published` that of its own paper or code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// DPS on EDM's Euler steps.
    Dps,
    /// DPS on ancestral steps.
    DpsPublished,
    /// DAPS with its Langevin chain.
    Daps,
    /// DAPS with the levels and the likelihood of its own code.
    DapsPublished,
    /// DAPS with the exact draw in place of the Langevin chain.
    DapsExact,
    /// DDNM.
    Ddnm,
    /// DDNM+ in its SVD form.
    DdnmPublished,
    /// ΠGDM as a score on DDIM(1).
    Pigdm,
    /// ΠGDM with the guidance added to the step.
    PigdmPublished,
    /// MPGD.
    Mpgd,
    /// MPGD with the η of its own paper.
    MpgdPublished,
    /// DDRM.
    Ddrm,
}

impl Contender {
    /// All of them, in the order of their names in commands.
    pub const ALL: [Self; 12] = [
        Self::Dps,
        Self::DpsPublished,
        Self::Daps,
        Self::DapsPublished,
        Self::DapsExact,
        Self::Ddnm,
        Self::DdnmPublished,
        Self::Pigdm,
        Self::PigdmPublished,
        Self::Mpgd,
        Self::MpgdPublished,
        Self::Ddrm,
    ];

    /// The name in files and flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dps => "dps",
            Self::DpsPublished => "dps-published",
            Self::Daps => "daps",
            Self::DapsPublished => "daps-published",
            Self::DapsExact => "daps-exact",
            Self::Ddnm => "ddnm",
            Self::DdnmPublished => "ddnm-published",
            Self::Pigdm => "pigdm",
            Self::PigdmPublished => "pigdm-published",
            Self::Mpgd => "mpgd",
            Self::MpgdPublished => "mpgd-published",
            Self::Ddrm => "ddrm",
        }
    }

    /// The contender of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|contender| contender.name() == name)
    }

    /// The name in tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Dps => "DPS",
            Self::DpsPublished => "DPS, published",
            Self::Daps => "DAPS",
            Self::DapsPublished => "DAPS, published",
            Self::DapsExact => "DAPS, exact draw",
            Self::Ddnm => "DDNM",
            Self::DdnmPublished => "DDNM+, published",
            Self::Pigdm => "ΠGDM",
            Self::PigdmPublished => "ΠGDM, published",
            Self::Mpgd => "MPGD",
            Self::MpgdPublished => "MPGD, published",
            Self::Ddrm => "DDRM",
        }
    }

    /// What it is, in a few words, for the help of a command.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Dps => "DPS on EDM's Euler steps",
            Self::DpsPublished => "DPS on ancestral steps",
            Self::Daps => "DAPS with its Langevin chain",
            Self::DapsPublished => "DAPS with the levels and the likelihood of its own code",
            Self::DapsExact => "DAPS with the exact draw in place of the Langevin chain",
            Self::Ddnm => "DDNM",
            Self::DdnmPublished => "DDNM+ in its SVD form",
            Self::Pigdm => "ΠGDM as a score on DDIM(1)",
            Self::PigdmPublished => "ΠGDM with the guidance added to the step",
            Self::Mpgd => "MPGD",
            Self::MpgdPublished => "MPGD with the η of its own paper",
            Self::Ddrm => "DDRM",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_files() {
        for contender in Contender::ALL {
            let value = serde_json::to_value(contender).unwrap();
            assert_eq!(value, contender.name());
            assert_eq!(Contender::from_name(contender.name()), Some(contender));
        }
        assert!(Contender::ALL.is_sorted(), "the order of the variants is that of the list");
        assert_eq!(Contender::from_name("dps-exact"), None);
    }
}

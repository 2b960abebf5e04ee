//! The scores of a row, by name.

use serde::{Deserialize, Serialize};

/// A score of a method's restorations, under its name in files.
///
/// Names that end in `alex` or `inception` are of features of that network, [`Metric::Fid`] too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean CRPS of a pixel, on [0, 1], pair term 1/(2J(J − 1)).
    CrpsCoordinate,
    /// Energy score of pixels on [0, 1], pair term 1/(2J²): the paper's CRPS.
    EnergyScore,
    /// The same of AlexNet's features.
    EnergyScoreAlex,
    /// Energy score of pixels on [0, 1], pair term 1/(2J(J − 1)).
    EnergyScoreFair,
    /// The same of AlexNet's features.
    EnergyScoreFairAlex,
    /// The same of Inception's features.
    EnergyScoreFairInception,
    /// [`Metric::EnergyScore`] of Inception's features.
    EnergyScoreInception,
    /// Squared Fréchet distance of AlexNet's features.
    FdAlex,
    /// Fréchet Inception distance.
    Fid,
    /// LPIPS by AlexNet.
    LpipsAlex,
    /// Unbiased MMD² of pixels.
    Mmd2,
    /// The same of AlexNet's features.
    Mmd2Alex,
    /// The same of Inception's features.
    Mmd2Inception,
    /// Squared error of the mean of infinitely many samples, estimated without bias.
    MseOfMean,
    /// PSNR in dB, data range 2 on [-1, 1].
    PsnrDb,
    /// Seconds of a network call.
    SecondsACall,
    /// SSIM on [0, 1].
    Ssim,
}

impl Metric {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 17] = [
        Self::CrpsCoordinate,
        Self::EnergyScore,
        Self::EnergyScoreAlex,
        Self::EnergyScoreFair,
        Self::EnergyScoreFairAlex,
        Self::EnergyScoreFairInception,
        Self::EnergyScoreInception,
        Self::FdAlex,
        Self::Fid,
        Self::LpipsAlex,
        Self::Mmd2,
        Self::Mmd2Alex,
        Self::Mmd2Inception,
        Self::MseOfMean,
        Self::PsnrDb,
        Self::SecondsACall,
        Self::Ssim,
    ];

    /// The name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CrpsCoordinate => "crps_coordinate",
            Self::EnergyScore => "energy_score",
            Self::EnergyScoreAlex => "energy_score_alex",
            Self::EnergyScoreFair => "energy_score_fair",
            Self::EnergyScoreFairAlex => "energy_score_fair_alex",
            Self::EnergyScoreFairInception => "energy_score_fair_inception",
            Self::EnergyScoreInception => "energy_score_inception",
            Self::FdAlex => "fd_alex",
            Self::Fid => "fid",
            Self::LpipsAlex => "lpips_alex",
            Self::Mmd2 => "mmd2",
            Self::Mmd2Alex => "mmd2_alex",
            Self::Mmd2Inception => "mmd2_inception",
            Self::MseOfMean => "mse_of_mean",
            Self::PsnrDb => "psnr_db",
            Self::SecondsACall => "seconds_a_call",
            Self::Ssim => "ssim",
        }
    }

    /// The metric of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_files() {
        for metric in Metric::ALL {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
            assert_eq!(Metric::from_name(metric.name()), Some(metric));
        }
        // Maps by metric are in the order of their names.
        assert!(Metric::ALL.is_sorted() && Metric::ALL.is_sorted_by_key(|metric| metric.name()));
        assert_eq!(Metric::from_name("psnr"), None);
    }
}

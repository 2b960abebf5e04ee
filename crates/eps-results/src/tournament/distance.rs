//! How far a set of samples is from the exact posterior.

use serde::{Deserialize, Serialize};

/// How far a set of samples is from the exact posterior; 0 is best everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distances {
    /// Sliced Wasserstein-2 distance to exact samples, over the posterior's root-mean-square
    /// deviation of a coordinate.
    pub sliced_w2: f64,
    /// Unbiased MMD² to exact samples; may be negative.
    pub mmd2: f64,
    /// ‖mean − m⋆‖/√tr C⋆, with the moments of the exact posterior.
    pub mean_error: f64,
    /// ‖covariance − C⋆‖_F/‖C⋆‖_F.
    pub covariance_error: f64,
    /// Total variation between the weights of the prior's components among the samples and in the
    /// exact posterior; none for one component.
    pub mode_error: Option<f64>,
}

/// A number of [`Distances`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// [`Distances::sliced_w2`]
    SlicedW2,
    /// [`Distances::mmd2`]
    Mmd2,
    /// [`Distances::mean_error`]
    MeanError,
    /// [`Distances::covariance_error`]
    CovarianceError,
    /// [`Distances::mode_error`]
    ModeError,
}

impl Distance {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 5] =
        [Self::SlicedW2, Self::Mmd2, Self::MeanError, Self::CovarianceError, Self::ModeError];

    /// The name in tables and charts.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::SlicedW2 => "sliced W2",
            Self::Mmd2 => "MMD²",
            Self::MeanError => "mean error",
            Self::CovarianceError => "covariance error",
            Self::ModeError => "mode error",
        }
    }

    /// Its value among all of them.
    #[must_use]
    pub fn of(self, all: &Distances) -> Option<f64> {
        match self {
            Self::SlicedW2 => Some(all.sliced_w2),
            Self::Mmd2 => Some(all.mmd2),
            Self::MeanError => Some(all.mean_error),
            Self::CovarianceError => Some(all.covariance_error),
            Self::ModeError => all.mode_error,
        }
    }
}

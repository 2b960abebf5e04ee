//! What a run itself says about its estimates: how far they are above the linear estimate.

use serde::{Deserialize, Serialize};

use crate::method::Method;

/// Whether an estimate reaches its margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarginVerdict {
    /// The margin is reached.
    Holds,
    /// It is not.
    Fails,
    /// It is not, but by the mean of fewer samples than the claim is about.
    Open,
}

/// The claim that an EPS estimate is better than the linear MMSE estimate by a margin of PSNR.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Margin {
    /// The method whose estimate it is about.
    pub method: Method,
    /// J, where it is about the mean of J samples.
    pub mean_of: Option<usize>,
    /// PSNR above that of the linear MMSE estimate, in dB.
    pub margin_db: f64,
    /// What the claim asks for, in dB.
    pub claimed_db: f64,
    /// Whether it holds.
    pub verdict: MarginVerdict,
}

/// The margin that is claimed for the one-call estimate, in dB.
pub const ONE_CALL_DB: f64 = 1.0;

/// The margin that is claimed for the mean of [`MEAN_OF`] samples, in dB.
pub const MEAN_DB: f64 = 1.5;

/// The number of samples whose mean is claimed about.
pub const MEAN_OF: usize = 10;

impl Margin {
    /// The name of the estimate that it is about.
    #[must_use]
    pub fn label(&self) -> String {
        self.method.label_of(self.mean_of)
    }

    /// The claim and its verdict in words.
    #[must_use]
    pub fn sentence(&self) -> String {
        let verdict = match self.verdict {
            MarginVerdict::Holds => "holds".to_owned(),
            MarginVerdict::Fails => "FAILS".to_owned(),
            MarginVerdict::Open => format!("open, as it is about the mean of {MEAN_OF} samples"),
        };
        format!(
            "{}: {:+.2} dB against linear MMSE, claimed ≥ {:.1} dB: {verdict}",
            self.label(),
            self.margin_db,
            self.claimed_db
        )
    }
}

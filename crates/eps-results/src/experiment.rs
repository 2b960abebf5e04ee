//! The experiments on trained networks, and the kinds of measurements that they restore.

use eps_math::Task;
use serde::{Deserialize, Serialize};

use crate::variant::{AMORTIZED, EXTREME, FLOW, INPUTS, NOISE_LAW, Variant, WARM_START};

/// An experiment on trained networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Experiment {
    /// The paper's comparison (its Tables 1 and 6).
    Main,
    /// Quality against network calls (its Figure 3 and Appendix D.4).
    Steps,
    /// The frozen prior at the pivot (its Table 3).
    ZeroShot,
    /// The one-call estimate against the mean of samples (its Tables 5 and 10).
    PosteriorMean,
    /// Masks and noise that the networks were not trained for (its Table 8).
    Ood,
    /// Whether the samples spread as the truth does.
    Calibration,
    /// Seconds a sample, against the bare denoiser (its Table 11).
    Runtime,
    /// What the network reads (its Table 2), and its preconditioning.
    Inputs,
    /// The law of σ_t in training.
    NoiseLaw,
    /// One network for all tasks against one for each (its Table 4).
    Amortized,
    /// Training from the prior and from scratch (its Figure 4).
    WarmStart,
    /// Tasks that measure little (its Table 7).
    Extreme,
    /// The posterior velocity of a rectified flow (its Proposition 2).
    Flow,
}

impl Experiment {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Main,
        Self::Steps,
        Self::ZeroShot,
        Self::PosteriorMean,
        Self::Ood,
        Self::Calibration,
        Self::Runtime,
        Self::Inputs,
        Self::NoiseLaw,
        Self::Amortized,
        Self::WarmStart,
        Self::Extreme,
        Self::Flow,
    ];

    /// The name in files and commands.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Steps => "steps",
            Self::ZeroShot => "zero-shot",
            Self::PosteriorMean => "posterior-mean",
            Self::Ood => "ood",
            Self::Calibration => "calibration",
            Self::Runtime => "runtime",
            Self::Inputs => "inputs",
            Self::NoiseLaw => "noise-law",
            Self::Amortized => "amortized",
            Self::WarmStart => "warm-start",
            Self::Extreme => "extreme",
            Self::Flow => "flow",
        }
    }

    /// The title of its report.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Main => "Exact posterior sampling and its contenders",
            Self::Steps => "Quality against network calls",
            Self::ZeroShot => "The frozen prior at the pivot",
            Self::PosteriorMean => "One call against the mean of samples",
            Self::Ood => "Masks and noise beyond the training",
            Self::Calibration => "Calibration of the samples",
            Self::Runtime => "The cost of a sample",
            Self::Inputs => "What the network reads",
            Self::NoiseLaw => "The law of the noise level in training",
            Self::Amortized => "One network for all tasks",
            Self::WarmStart => "From the prior and from scratch",
            Self::Extreme => "Where little is measured",
            Self::Flow => "A rectified flow",
        }
    }

    /// The networks that it trains for itself; none where it takes the committed ones.
    #[must_use]
    pub fn variants(self) -> &'static [Variant] {
        match self {
            Self::Inputs => &INPUTS,
            Self::NoiseLaw => &NOISE_LAW,
            Self::Amortized => &AMORTIZED,
            Self::WarmStart => &WARM_START,
            Self::Extreme => &EXTREME,
            Self::Flow => &FLOW,
            _ => &[],
        }
    }

    /// The tasks that it is about.
    #[must_use]
    pub fn tasks(self) -> Vec<Task> {
        if self == Self::Extreme { Task::EXTREME.to_vec() } else { Task::ALL.to_vec() }
    }
}

/// σ_y of every task, on the scale [-1, 1].
pub const SIGMA_Y: f64 = 0.05;

/// One kind of measurement: a task, its noise, and for masks how much is missing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The task.
    pub task: Task,
    /// σ_y on the scale [-1, 1].
    pub sigma_y: f64,
    /// The share of pixels that are missing, instead of the task's own (random inpainting alone).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<f64>,
}

impl Setting {
    /// The task as it is tested everywhere.
    #[must_use]
    pub fn of(task: Task) -> Self {
        Self { task, sigma_y: SIGMA_Y, missing: None }
    }

    /// The name in files.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = self.task.name().to_owned();
        if let Some(missing) = self.missing {
            name += &format!("-missing-{missing}");
        }
        if self.sigma_y != SIGMA_Y {
            name += &format!("-sigma-y-{}", self.sigma_y);
        }
        name
    }

    /// The title in reports.
    #[must_use]
    pub fn title(self) -> String {
        let mut title = match self.task {
            Task::RandomInpainting => "Random inpainting",
            Task::BoxInpainting => "Box inpainting",
            Task::SuperResolution => "Super-resolution",
            Task::GaussianBlur => "Gaussian blur",
            Task::MotionBlur => "Motion blur",
            Task::ExtremeInpainting => "Inpainting, 95 % missing",
            Task::ExtremeSuperResolution => "Super-resolution, 7×",
        }
        .to_owned();
        if let Some(missing) = self.missing {
            title += &format!(", {:.0} % missing", 100.0 * missing);
        }
        if self.sigma_y != SIGMA_Y {
            title += &format!(", σ_y {}", self.sigma_y);
        }
        title
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_files() {
        for experiment in Experiment::ALL {
            assert_eq!(serde_json::to_value(experiment).unwrap(), experiment.name());
        }
    }

    #[test]
    fn settings_are_named_by_what_is_unusual() {
        let usual = Setting::of(Task::MotionBlur);
        assert_eq!(usual.name(), "motion-blur");
        let noisy = Setting { sigma_y: 0.2, ..usual };
        assert_eq!(
            (noisy.name(), noisy.title()),
            ("motion-blur-sigma-y-0.2".into(), "Motion blur, σ_y 0.2".into())
        );
        let masked = Setting { missing: Some(0.9), ..Setting::of(Task::RandomInpainting) };
        assert_eq!(masked.name(), "random-inpainting-missing-0.9");
        assert_eq!(masked.title(), "Random inpainting, 90 % missing");
    }
}

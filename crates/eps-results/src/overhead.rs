//! What EPS adds to the denoiser at the paper's size.

use eps_math::Task;
use serde::{Deserialize, Serialize};

/// Seconds of each part of a network call, medians of `runs`, for one image of 64×64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overhead {
    /// How often each part was timed.
    pub runs: usize,
    /// The bare denoiser in EDM's configuration for FFHQ-64, random weights.
    pub denoiser_seconds: f64,
    /// The pivot of the task where it takes longest.
    pub pivot_seconds: f64,
    /// That task.
    pub pivot_task: Task,
    /// The first convolution on six channels less that on three.
    pub convolution_seconds: f64,
    /// Both over the denoiser.
    pub share: f64,
}

impl Overhead {
    /// What was measured, in words.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "one image of 64×64 in EDM's FFHQ configuration, medians of {}: denoiser {:.2} ms, pivot at \
             most {:.3} ms ({}), three more input channels {:.3} ms: {:.2} % of the denoiser",
            self.runs,
            1e3 * self.denoiser_seconds,
            1e3 * self.pivot_seconds,
            self.pivot_task.name(),
            1e3 * self.convolution_seconds,
            100.0 * self.share
        )
    }
}

//! Progress bars on the terminal's error stream; silent where that is none.

use eps_model::{Denoiser, Query};
use indicatif::{ProgressBar, ProgressStyle};
use tch::Tensor;

/// A bar of `length` steps, each called `unit`, with the time left.
pub(crate) fn bar(length: u64, what: &str, unit: &str) -> ProgressBar {
    let template = format!("{{prefix}} {{bar:32}} {{pos}}/{{len}} {unit}, {{eta}} left");
    let style =
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_prefix(what.to_owned())
}

/// The steps of a bar that a call with a backward pass takes: the time of about so many calls.
pub(crate) const WITH_BACKWARD: u64 = 3;

/// A denoiser that advances a bar at every call.
#[derive(Debug)]
pub(crate) struct Watched<'a, D> {
    denoiser: &'a D,
    bar: &'a ProgressBar,
}

impl<'a, D> Watched<'a, D> {
    /// Watches the calls of `denoiser`.
    pub(crate) fn new(denoiser: &'a D, bar: &'a ProgressBar) -> Self {
        Self { denoiser, bar }
    }
}

impl<D: Denoiser> Denoiser for Watched<'_, D> {
    fn denoise(&self, query: &Query<'_>) -> Tensor {
        let answer = self.denoiser.denoise(query);
        self.bar.inc(1);
        answer
    }

    fn denoise_vjp(
        &self,
        query: &Query<'_>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> (Tensor, Tensor) {
        let answer = self.denoiser.denoise_vjp(query, cotangent);
        self.bar.inc(WITH_BACKWARD);
        answer
    }
}

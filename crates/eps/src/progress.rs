//! Progress bars on the terminal's error stream; silent where that is none.

use eps_model::{Denoiser, Query};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use tch::Tensor;

/// A bar of `length` steps, each called `unit`, with the time left.
pub(crate) fn bar(length: u64, what: &str, unit: &str) -> ProgressBar {
    let template = format!("{{prefix}} {{bar:32}} {{pos}}/{{len}} {unit}, {{eta}} left");
    let style =
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_prefix(what.to_owned())
}

/// The progress of a run through cells: a bar on a terminal, a line a cell elsewhere.
///
/// The time left is judged by the cells that were computed, not by those that were stored.
#[derive(Debug)]
pub(crate) struct Clock {
    bar: ProgressBar,
    unit: &'static str,
    start: Instant,
    computed: AtomicU64,
}

impl Clock {
    /// Starts at none of `length` cells.
    pub(crate) fn new(length: u64, unit: &'static str) -> Self {
        Self {
            bar: bar(length, "", unit),
            unit,
            start: Instant::now(),
            computed: AtomicU64::new(0),
        }
    }

    /// Names what is being computed.
    pub(crate) fn start(&self, what: &str) {
        self.bar.set_prefix(what.to_owned());
    }

    /// Passes a cell that was stored.
    pub(crate) fn skip(&self) {
        self.bar.inc(1);
    }

    /// Passes a cell that was computed, and says so where no bar is seen.
    pub(crate) fn tell(&self, what: &str) {
        self.bar.inc(1);
        let computed = 1 + self.computed.fetch_add(1, Ordering::Relaxed);
        if self.bar.is_hidden() {
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let each = self.start.elapsed().as_secs_f64() / computed as f64;
            let left = each * all.saturating_sub(done) as f64;
            eprintln!("{done}/{all} {}, {left:.0} s left: {what}", self.unit);
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

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
        self.bar.inc(1);
        answer
    }
}

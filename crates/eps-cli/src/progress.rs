//! Progress bars on the terminal's error stream, and lines now and then where that is none.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use eps_experiments::WITH_BACKWARD;
use eps_sample::Progress;
use eps_train::TrainConfig;
use indicatif::{ProgressBar, ProgressStyle};

use crate::together::speaks;

/// A bar of `length` steps, each called `unit`, with the time left.
pub(crate) fn bar(length: u64, what: &str, unit: &str) -> ProgressBar {
    let template = format!("{{prefix}} {{bar:32}} {{pos}}/{{len}} {unit}, {{eta}} left");
    let style =
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    shown(length).with_style(style).with_prefix(what.to_owned())
}

/// A bar, hidden where another process of a group shows one.
fn shown(length: u64) -> ProgressBar {
    if speaks() { ProgressBar::new(length) } else { ProgressBar::hidden() }
}

/// The progress of a run: a bar on a terminal, a line a cell elsewhere.
///
/// The time left is judged by what was computed, not by what was stored.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The bar, to be advanced by whoever computes.
    pub(crate) bar: ProgressBar,
    unit: &'static str,
    start: Instant,
    stored: AtomicU64,
    /// The seconds from the start at which the last line was written.
    line: AtomicU64,
}

impl Clock {
    /// Starts at none of `length` steps.
    pub(crate) fn new(length: u64, unit: &'static str) -> Self {
        Self::of(bar(length, "", unit), unit)
    }

    /// The clock of a training after `step` of its steps, whose bar has the rate and the last losses.
    pub(crate) fn of_training(config: &TrainConfig, step: u64) -> Self {
        let template = "{prefix} {bar:32} {pos}/{len} steps, {per_sec}, {eta} left  {msg}";
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = shown(config.steps).with_style(style).with_prefix(config.name.clone());
        let clock = Self::of(bar.with_position(step), "steps");
        clock.stored.store(step, Ordering::Relaxed);
        clock
    }

    fn of(bar: ProgressBar, unit: &'static str) -> Self {
        let (stored, line) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { bar, unit, start: Instant::now(), stored, line }
    }

    /// Names what is being computed.
    pub(crate) fn start(&self, what: &str) {
        self.bar.set_prefix(what.to_owned());
    }

    /// Passes a step whose result was stored.
    pub(crate) fn skip(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
        self.bar.inc(1);
    }

    /// Steps on; where no bar is seen, a line says so now and then.
    pub(crate) fn advance(&self, steps: u64) {
        self.bar.inc(steps);
        let (now, last) = (self.start.elapsed().as_secs(), self.line.load(Ordering::Relaxed));
        if now >= last + LINES.as_secs() && speaks() {
            let (what, state) = (self.bar.prefix(), self.bar.message());
            self.tell(&if state.is_empty() { what } else { format!("{what}, {state}") });
        }
    }

    /// Says what is done, where no bar is seen.
    pub(crate) fn tell(&self, what: &str) {
        if !self.bar.is_hidden() {
            return;
        }
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let computed = done.saturating_sub(self.stored.load(Ordering::Relaxed));
        let left = match computed {
            0 => String::new(),
            computed => {
                let each = self.start.elapsed().as_secs_f64() / computed as f64;
                format!(", {:.0} s left", each * all.saturating_sub(done) as f64)
            }
        };
        self.line.store(self.start.elapsed().as_secs(), Ordering::Relaxed);
        eprintln!("{done}/{all} {}{left}: {what}", self.unit);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Does work whose steps are not counted: a turning sign on a terminal, and elsewhere a line now and then, with the time that it has taken.
pub(crate) fn waiting<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let bar = if speaks() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{spinner} {prefix}, {elapsed} so far");
    let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let bar = bar.with_prefix(what.to_owned());
    bar.enable_steady_tick(TURNS);
    let tell = |elapsed: Duration| {
        if bar.is_hidden() && speaks() {
            eprintln!("{what}, {:.0} s so far", elapsed.as_secs_f64());
        }
    };
    let done = every(LINES, &tell, work);
    bar.finish_and_clear();
    done
}

/// Does work, and beside it tells the time that it has taken in steps of `period`.
fn every<T>(period: Duration, tell: &(impl Fn(Duration) + Sync), work: impl FnOnce() -> T) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            while is_done.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                tell(start.elapsed());
            }
        });
        let result = work();
        // The other thread ends with the channel.
        drop(done);
        result
    })
}

/// How often the sign turns.
const TURNS: Duration = Duration::from_millis(120);

/// How often a line says what is done, where no bar is seen.
const LINES: Duration = Duration::from_secs(30);

/// An observer of walks that advances a bar by the calls of their steps, each of which takes `each` steps of the bar. Where no bar is seen
/// a line says so now and then.
pub(crate) fn advance(
    bar: &ProgressBar,
    each: u64,
) -> impl FnMut(&Progress<'_>) -> ControlFlow<()> {
    let (start, first) = (Instant::now(), bar.position());
    let mut last = start;
    move |progress| {
        bar.inc(progress.calls as u64 * each);
        if bar.is_hidden() && speaks() && last.elapsed() >= LINES {
            last = Instant::now();
            let (done, all) = (bar.position(), bar.length().unwrap_or(0));
            let seconds = start.elapsed().as_secs_f64() / done.saturating_sub(first).max(1) as f64;
            let left = seconds * all.saturating_sub(done) as f64;
            eprintln!("{done}/{all} network calls, {left:.0} s left");
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_told_of_while_it_goes_on() {
        let (told, is_told) = mpsc::channel();
        let told = std::sync::Mutex::new(told);
        let tell = |elapsed| {
            let _ = told.lock().map(|told| told.send(elapsed));
        };
        // Work that ends when it was told of three times.
        let last = every(Duration::from_millis(1), &tell, || is_told.iter().nth(2));
        assert!(last.is_some_and(|last| last >= Duration::from_millis(3)));
        assert_eq!(every(Duration::from_secs(3600), &tell, || 7), 7);
    }
}

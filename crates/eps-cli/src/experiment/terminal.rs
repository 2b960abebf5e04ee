//! The progress of an experiment on the terminal.

use std::sync::{Mutex, MutexGuard, PoisonError};

use eps_experiments::Listener;

use crate::progress::Clock;

/// A bar on a terminal, a line a cell elsewhere.
#[derive(Debug, Default)]
pub(super) struct Terminal(Mutex<Option<Clock>>);

impl Terminal {
    fn clock(&self) -> MutexGuard<'_, Option<Clock>> {
        // A clock is whole whatever a thread did that panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, tell: impl FnOnce(&Clock)) {
        if let Some(clock) = &*self.clock() {
            tell(clock);
        }
    }
}

impl Listener for Terminal {
    fn begin(&self, steps: u64, unit: &'static str) {
        *self.clock() = Some(Clock::new(steps, unit));
    }

    fn start(&self, what: &str) {
        self.with(|clock| clock.start(what));
    }

    fn lengthen(&self, steps: u64) {
        self.with(|clock| clock.bar.inc_length(steps));
    }

    fn advance(&self, steps: u64) {
        self.with(|clock| clock.advance(steps));
    }

    fn skip(&self) {
        self.with(Clock::skip);
    }

    fn done(&self, what: &str) {
        self.with(|clock| clock.tell(what));
    }

    fn finish(&self) {
        self.with(Clock::finish);
        *self.clock() = None;
    }

    fn note(&self, text: &str) {
        eprintln!("note: {text}");
    }
}

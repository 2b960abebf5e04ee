//! What iterative solvers did.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counts of what iterative solvers did since an operator was prepared.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pivots: StepTally,
    functions: StepTally,
    unfinished: AtomicUsize,
    nanoseconds: AtomicU64,
}

impl Tally {
    /// A pivot of so many steps.
    pub(crate) fn pivot(&self, steps: usize) {
        self.pivots.add(steps);
    }

    /// What was done so far.
    pub(crate) fn report(&self) -> KrylovReport {
        KrylovReport {
            pivots: self.pivots.read(),
            functions: self.functions.read(),
            unfinished: self.unfinished.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }

    /// Runs something whose time counts.
    pub(crate) fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        let nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        result
    }

    /// A Krylov space of so many steps, and whether functions stand still there.
    pub(crate) fn function(&self, steps: usize, is_finished: bool) {
        self.functions.add(steps);
        self.unfinished.fetch_add(usize::from(!is_finished), Ordering::Relaxed);
    }
}

/// Runs of one solver.
#[derive(Debug, Default)]
struct StepTally {
    runs: AtomicUsize,
    steps: AtomicUsize,
    most: AtomicUsize,
}

impl StepTally {
    fn add(&self, steps: usize) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.steps.fetch_add(steps, Ordering::Relaxed);
        self.most.fetch_max(steps, Ordering::Relaxed);
    }

    fn read(&self) -> StepCount {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        StepCount { runs: of(&self.runs), steps: of(&self.steps), most: of(&self.most) }
    }
}

/// What iterative solvers did since an operator was prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KrylovReport {
    /// Pivots by conjugate gradients, one an image and call.
    pub pivots: StepCount,
    /// Krylov spaces that were built by Lanczos' method for functions of AᵀA.
    pub functions: StepCount,
    /// Functions that still changed by more than 1 % at the most steps.
    pub unfinished: usize,
    /// The time that callers waited for pivots, functions and diagonals.
    pub time: Duration,
}

impl KrylovReport {
    /// What two operators did together.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self {
            pivots: self.pivots.with(other.pivots),
            functions: self.functions.with(other.functions),
            unfinished: self.unfinished + other.unfinished,
            time: self.time + other.time,
        }
    }
}

/// The steps of an iterative solver, each of which costs A and Aᵀ once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepCount {
    /// How often it ran.
    pub runs: usize,
    /// The steps of all runs.
    pub steps: usize,
    /// Those of the longest.
    pub most: usize,
}

impl StepCount {
    /// Steps of a run in the mean, 0 without any.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.runs > 0 { self.steps as f64 / self.runs as f64 } else { 0.0 }
    }

    fn with(self, other: Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            steps: self.steps + other.steps,
            most: self.most.max(other.most),
        }
    }
}

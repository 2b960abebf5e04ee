//! The walk of a batch of chains down a grid, step by step: written once for solvers and contenders.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, Ordering};

use eps_model::{ComputeError, attempt, extent};
use tch::{Device, Kind, Tensor};

use crate::{Observer, Outcome, Progress, SampleError};

/// A step of a walk: which it is, and the noise levels that it goes between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Its number, counted from 0.
    pub index: usize,
    /// The number of steps.
    pub steps: usize,
    /// σ, where it begins.
    pub from: f64,
    /// σ', where it ends: below σ, and 0 in the last step.
    pub to: f64,
}

/// What a step leads to.
#[derive(Debug)]
pub struct Moved {
    /// The state at σ'.
    pub x: Tensor,
    /// The estimate of x₀ from which the step was made.
    pub estimate: Tensor,
}

/// Walks a [checked](check_grid) grid step by step; `nfe` are the denoiser evaluations of some steps that end at 0.
///
/// A state that is not finite ends the walk at its step, on a GPU some steps later: nothing waits for the device
/// before the end.
pub(crate) fn walk(
    mut x: Tensor,
    grid: &[f64],
    observer: &mut dyn Observer,
    nfe: &dyn Fn(usize) -> usize,
    mut step: impl FnMut(&Tensor, Step) -> Result<Moved, ComputeError>,
) -> Result<Outcome, SampleError> {
    let _guard = tch::no_grad_guard();
    let steps = grid.len() - 1;
    let diverged = |index: usize| SampleError::Diverged { step: index + 1, steps };
    let mut finite = FiniteStates::new(x.device() != Device::Cpu);
    for (index, ends) in grid.windows(2).enumerate() {
        let at = Step { index, steps, from: ends[0], to: ends[1] };
        let moved = attempt(|| step(&x, at))??;
        x = moved.x;
        if let Some(index) = attempt(|| finite.add(&x))? {
            return Err(diverged(index));
        }
        let calls = nfe(steps - index) - nfe(steps - index - 1);
        let progress = Progress {
            step: index + 1,
            steps,
            level: at.to,
            state: &x,
            estimate: &moved.estimate,
            calls,
        };
        if let ControlFlow::Break(()) = observer.watch(&progress) {
            return match attempt(|| finite.first_not_finite())? {
                Some(index) => Err(diverged(index)),
                None => {
                    Ok(Outcome::Stopped { step: index + 1, steps, x, estimate: moved.estimate })
                }
            };
        }
    }
    match attempt(|| finite.first_not_finite())? {
        Some(index) => Err(diverged(index)),
        None => Ok(Outcome::Finished(x)),
    }
}

/// Checks a grid of levels or times.
pub(crate) fn check_grid(grid: &[f64]) -> Result<(), SampleError> {
    let error = |index: usize| Err(SampleError::Grid { index, value: grid[index] });
    if grid.len() < 2 {
        return Err(SampleError::ShortGrid(grid.len()));
    }
    if !(grid[0] > 0.0 && grid[0].is_finite()) {
        return error(0);
    }
    if let Some(i) = grid.windows(2).position(|ends| !(ends[1] < ends[0])) {
        return error(i + 1);
    }
    if grid[grid.len() - 1] != 0.0 { error(grid.len() - 1) } else { Ok(()) }
}

/// Whether the states of a walk were finite, one after the other.
///
/// A look at a number of a GPU waits for all that was asked of it before. So the flags of its states are copied to the
/// host in its own time, each with a number that no other flag has, and the host, which never waits, looks whether that
/// number has arrived. What it reads is a hint, confirmed by a look at the flag itself.
struct FiniteStates {
    late: bool,
    /// On the device, a Boolean each.
    flags: Vec<Tensor>,
    /// Flags that have not arrived: which state's, its number, and where it arrives.
    pending: VecDeque<(usize, i64, Tensor)>,
}

impl FiniteStates {
    fn new(late: bool) -> Self {
        Self { late, flags: Vec::new(), pending: VecDeque::new() }
    }

    /// Adds a state, and returns the first that is known not to be finite.
    fn add(&mut self, x: &Tensor) -> Option<usize> {
        /// The next flag's number.
        static NUMBER: AtomicI64 = AtomicI64::new(1 << 40);
        let index = self.flags.len();
        let flag = x.isfinite().all();
        if !self.late {
            let is_finite = flag.int64_value(&[]) != 0;
            self.flags.push(flag);
            return (!is_finite).then_some(index);
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let numbered = flag.to_kind(Kind::Int64) + 2 * number;
        // Into pinned memory, which alone is copied to without waiting.
        let arriving = numbered.to_device_(Device::Cpu, Kind::Int64, true, false);
        self.flags.push(flag);
        self.pending.push_back((index, number, arriving));
        while let Some((index, number, arriving)) = self.pending.front() {
            let found = arriving.int64_value(&[]);
            if found >> 1 != *number {
                return None;
            }
            if found & 1 == 0 && self.flags[*index].int64_value(&[]) == 0 {
                return Some(*index);
            }
            self.pending.pop_front();
        }
        None
    }

    /// The first state that is not finite, of all.
    fn first_not_finite(&self) -> Option<usize> {
        if !self.late || self.flags.is_empty() {
            return None;
        }
        let flags = Tensor::stack(&self.flags, 0).to_device(Device::Cpu);
        (0..self.flags.len()).find(|index| flags.int64_value(&[extent(*index)]) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_not_finite_is_found_at_once_or_when_its_flag_arrives() {
        let state = |value: f64| Tensor::from_slice(&[1.0, value]);
        for late in [false, true] {
            let mut finite = FiniteStates::new(late);
            assert_eq!(finite.add(&state(0.0)), None);
            assert_eq!(finite.add(&state(f64::MAX)), None);
            // On the CPU a copy arrives at once.
            assert_eq!(finite.add(&state(f64::NAN)), Some(2), "late: {late}");
        }
        let mut finite = FiniteStates::new(true);
        assert_eq!((finite.add(&state(0.0)), finite.first_not_finite()), (None, None));
        // A flag that has not arrived holds another number: nothing is said before the end, and then the first.
        finite.pending.push_back((0, 7, Tensor::from(5i64)));
        assert_eq!(finite.add(&state(f64::INFINITY)), None);
        assert_eq!(finite.add(&state(f64::NAN)), None);
        assert_eq!(finite.first_not_finite(), Some(1));
    }
}

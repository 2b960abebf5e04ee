//! Watching a walk, and stopping it.

use std::ops::ControlFlow;

use tch::Tensor;

use crate::SampleError;

/// Where a walk is after a step.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The steps that were done, from 1 on.
    pub step: usize,
    /// The number of steps.
    pub steps: usize,
    /// σ of the state; 0 after the last step.
    pub level: f64,
    /// The state, `[B, C, H, W]` in f64 on its device; on a GPU it may be computed only when it is read, and a state
    /// that is not finite may be seen before the walk ends for it.
    pub state: &'a Tensor,
    /// The estimate of x₀ from which the step was made, `[B, C, H, W]` in f64.
    pub estimate: &'a Tensor,
    /// The denoiser evaluations that the step made.
    pub calls: usize,
}

/// Who watches a walk; any closure on a [`Progress`] does, and `()` for nobody, which costs nothing.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use eps_sample::{Observer, Progress};
///
/// fn takes(_: &mut dyn Observer) {}
///
/// takes(&mut |progress: &Progress<'_>| {
///     println!("step {} of {}", progress.step, progress.steps);
///     if progress.level < 0.01 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
/// });
/// takes(&mut ());
/// ```
pub trait Observer {
    /// Called after every step; `Break` stops the walk there.
    fn watch(&mut self, progress: &Progress<'_>) -> ControlFlow<()>;
}

impl Observer for () {
    fn watch(&mut self, _: &Progress<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: FnMut(&Progress<'_>) -> ControlFlow<()>> Observer for F {
    fn watch(&mut self, progress: &Progress<'_>) -> ControlFlow<()> {
        self(progress)
    }
}

/// How a walk ended.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// At the end of its grid: the samples, `[B, C, H, W]` in f64.
    Finished(Tensor),
    /// Its observer stopped it.
    Stopped {
        /// The last step that was done, counted from 1.
        step: usize,
        /// The number of steps.
        steps: usize,
        /// The state after it, `[B, C, H, W]` in f64.
        x: Tensor,
        /// The estimate of x₀ from which that step was made, `[B, C, H, W]` in f64.
        estimate: Tensor,
    },
}

impl Outcome {
    /// The samples of a walk that went to its end.
    ///
    /// # Errors
    /// [`SampleError::Stopped`] for one that did not.
    pub fn finished(self) -> Result<Tensor, SampleError> {
        match self {
            Self::Finished(samples) => Ok(samples),
            Self::Stopped { step, steps, .. } => Err(SampleError::Stopped { step, steps }),
        }
    }
}

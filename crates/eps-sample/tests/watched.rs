//! Walks that are watched, stopped, or fail.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::cell::Cell;
use std::ops::ControlFlow;

use eps_math::parameterisation::{Parameterisation, PixelRange, Prediction, StateScale, TimeInput};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::{Level, Schedule};
use eps_model::{AdaptedDenoiser, ComputeError, Oracle};
use eps_sample::contenders::daps::Daps;
use eps_sample::contenders::{self, FrozenPrior};
use eps_sample::{
    CountNfe, Estimator, NoiseKeys, Outcome, Prior, Progress, Sample as _, SampleError, Solver,
};
use faer::Mat;
use tch::{Kind, Tensor};

mod common;

use common::{CPU, measure, measurement, operators, shape};

fn prior() -> Mixture {
    let covariance = Mat::from_fn(16, 16, |i, j| if i == j { 0.25 } else { 0.0 });
    Mixture::from(Gaussian::new(vec![0.1; 16], covariance).unwrap())
}

#[test]
fn an_observer_sees_every_step() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let alone = Prior { denoiser: &oracle };
    let keys = NoiseKeys::image_major(3, 0..1, 2);
    let sigmas = [80.0, 5.0, 0.5, 0.0];
    let mut seen = Vec::new();
    let mut last = None;
    let mut watch = |progress: &Progress<'_>| {
        seen.push((progress.step, progress.steps, progress.level, progress.calls));
        let sizes = (progress.state.size(), progress.estimate.size());
        assert_eq!(sizes, (vec![2, 1, 4, 4], vec![2, 1, 4, 4]));
        last = Some((progress.state.copy(), progress.estimate.copy()));
        ControlFlow::Continue(())
    };
    let noise = keys.on(shape(), CPU);
    let samples = Solver::Heun.sample_watched(&alone, &sigmas, &noise, &mut watch).unwrap();
    let samples = samples.finished().unwrap();
    assert_eq!(seen, [(1, 3, 5.0, 2), (2, 3, 0.5, 2), (3, 3, 0.0, 1)]);
    let (state, estimate) = last.unwrap();
    // The step to 0 ends at the estimate, as x − σ (x − D)/σ.
    let off = (&state - estimate).abs().max().double_value(&[]);
    assert!(state.equal(&samples) && off < 1e-14, "{off}");
    // Nobody watching changes nothing.
    let unwatched = Solver::Heun.sample(&alone, &sigmas, &keys, shape(), CPU).unwrap();
    assert!(unwatched.equal(&samples));
}

#[test]
fn calls_of_contenders_are_told() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let (_, operator) = &operators()[0];
    let measurement = measurement(operator, &measure(&prior, operator, 0.1), 0.1, 1);
    let mut calls = Vec::new();
    let mut watch = |progress: &Progress<'_>| {
        calls.push(progress.calls);
        ControlFlow::Continue(())
    };
    let levels = Schedule::annealing(80.0).sigmas(3).unwrap();
    let noise = NoiseKeys::new(0, vec![(0, 0)]).on(shape(), CPU);
    let asked = FrozenPrior { denoiser: &oracle };
    let outcome =
        contenders::sample(&Daps::exact(), &asked, &measurement, &levels, &noise, &mut watch);
    assert!(matches!(outcome.unwrap(), Outcome::Finished(_)));
    assert_eq!(calls, [5, 5, 5]);
}

#[test]
fn an_observer_stops_a_walk() {
    let prior = prior();
    let counted = CountNfe::new(Oracle::new(&prior));
    let alone = Prior { denoiser: &counted };
    let noise = NoiseKeys::image_major(3, 0..1, 2).on(shape(), CPU);
    let sigmas = Schedule::karras().sigmas(10).unwrap();
    let run = || {
        let mut stop = |progress: &Progress<'_>| {
            if progress.step == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        Solver::Euler.sample_watched(&alone, &sigmas, &noise, &mut stop).unwrap()
    };
    let Outcome::Stopped { step, steps, x, estimate } = run() else { panic!("it went on") };
    assert_eq!((step, steps, counted.nfe()), (4, 10, 4));
    // The state is that of level σ_4, from which the walk could go on; the estimate is that of σ_3.
    assert_eq!((x.size(), estimate.size()), (vec![2, 1, 4, 4], vec![2, 1, 4, 4]));
    let error = run().finished().unwrap_err();
    assert_eq!(error, SampleError::Stopped { step: 4, steps: 10 });
    assert!(error.to_string().contains("stopped after step 4 of 10"));
}

/// An estimator whose answer at a call, counted from 1, is not a number.
struct Breaks {
    at: usize,
    calls: Cell<usize>,
}

impl Estimator for Breaks {
    fn estimate(&self, x_t: &Tensor, _: Level) -> Result<Tensor, ComputeError> {
        self.calls.set(self.calls.get() + 1);
        Ok(if self.calls.get() == self.at { x_t * f64::NAN } else { x_t * 0.5 })
    }
}

#[test]
fn a_state_that_is_not_finite_ends_the_walk_at_its_step() {
    let noise = NoiseKeys::image_major(0, 0..2, 1).on(shape(), CPU);
    let sigmas = Schedule::karras().sigmas(10).unwrap();
    for at in [1, 3, 10] {
        let breaks = Breaks { at, calls: Cell::new(0) };
        let mut told = 0;
        let mut watch = |_: &Progress<'_>| {
            told += 1;
            ControlFlow::Continue(())
        };
        let error = Solver::Euler.sample_watched(&breaks, &sigmas, &noise, &mut watch).unwrap_err();
        assert_eq!(error, SampleError::Diverged { step: at, steps: 10 });
        // Nothing is computed after it, and nobody is shown such a state.
        assert_eq!((breaks.calls.get(), told), (at, at - 1));
    }
}

/// A network whose memory runs out in the second of its calls.
#[test]
fn memory_that_runs_out_is_an_error() {
    let calls = Cell::new(0);
    let network = |x: &Tensor, _: &Tensor| {
        calls.set(calls.get() + 1);
        if calls.get() == 2 {
            // 2⁵⁰ doubles, more than the addresses of a process: a real allocation that fails.
            let _ = Tensor::zeros([1 << 50], (Kind::Double, CPU));
        }
        x * 0.5
    };
    let parameterisation = Parameterisation {
        prediction: Prediction::X0,
        state: StateScale::Unscaled,
        time: TimeInput::Sigma,
        range: PixelRange::MinusOneToOne,
    };
    let denoiser = AdaptedDenoiser::new(network, &parameterisation, Kind::Double).unwrap();
    let alone = Prior { denoiser: &denoiser };
    let keys = NoiseKeys::image_major(0, 0..2, 1);
    let error = Solver::Euler.sample(&alone, &[80.0, 1.0, 0.5, 0.0], &keys, shape(), CPU);
    let error = error.unwrap_err();
    let out_of_memory = ComputeError::OutOfMemory { bytes: Some(1 << 53) };
    assert_eq!(error, SampleError::Compute(out_of_memory.clone()));
    let said = error.to_string();
    assert!(said.contains("9007199254740992 bytes") && said.contains("--batch"), "{said}");
    assert_eq!((said.lines().count(), calls.get()), (1, 2), "{said}");
    // Its derivative, too, and gradients are off again afterwards.
    calls.set(1);
    let x = keys.initial(shape(), CPU);
    let _guard = tch::no_grad_guard();
    let error = alone.estimate_vjp(&x, Level::edm(1.0), &|d| d.ones_like()).unwrap_err();
    assert_eq!(error, out_of_memory);
    assert!(!(x.set_requires_grad(true) * 2.0).requires_grad());
}

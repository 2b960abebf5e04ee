//! Solvers of the diffusion and flow equations, each over any [`Estimator`]. The state is f64 throughout.

use eps_math::pivot::velocity_factors;
use eps_math::{Churn, Interpolant, Level, Shape, Solver, multistep_weights};
use eps_model::{ComputeError, attempt};
use tch::{Device, Tensor};

use crate::error::out_of_range;
use crate::walk::{check_grid, walk};
use crate::{
    BatchNoise, Estimator, Moved, NoiseKeys, Observer, Outcome, SampleError, Step, StepNoise,
};

/// Drawing samples by a [`Solver`].
pub trait Sample {
    /// Draws one sample for every key, from pure noise at the grid's first level.
    ///
    /// `sigmas` falls strictly from σ_max to 0; the samples depend on the keys alone, and on how they are batched by rounding at most, which
    /// products of matrices and convolutions of several images may do otherwise than those of one. Step i draws its noise from stream i + 1 of the keys.
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64, B = `keys.len()`
    ///
    /// # Errors
    /// Those of [`Sample::sample_watched`].
    fn sample(
        &self,
        estimator: &dyn Estimator,
        sigmas: &[f64],
        keys: &NoiseKeys,
        shape: Shape,
        device: Device,
    ) -> Result<Tensor, SampleError> {
        self.sample_watched(estimator, sigmas, &keys.on(shape, device), &mut ())?.finished()
    }

    /// [`Sample::sample`] under the eyes of an observer, which may stop it.
    ///
    /// # Errors
    /// [`SampleError::Grid`] and [`SampleError::ShortGrid`] for the grid, [`SampleError::Math`] for a constant of the
    /// solver, [`SampleError::Diverged`] if the state leaves the finite numbers, and [`SampleError::Compute`] if the
    /// estimator has no answer, as when memory runs out, or does not take a batch of as many images as there are keys:
    /// a measurement is of one image for each of them, or of one image that all of them are samples of.
    fn sample_watched(
        &self,
        estimator: &dyn Estimator,
        sigmas: &[f64],
        noise: &BatchNoise,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, SampleError>;
}

impl Sample for Solver {
    fn sample_watched(
        &self,
        estimator: &dyn Estimator,
        sigmas: &[f64],
        noise: &BatchNoise,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, SampleError> {
        self.validate()?;
        check_grid(sigmas)?;
        let nfe = |steps| self.nfe(steps);
        let flow = match self {
            Self::Flow { interpolant } | Self::Multistep { interpolant, .. } => {
                Some(FlowGrid::new(interpolant, sigmas)?)
            }
            _ => None,
        };
        let mut past = Past::default();
        // Pure noise at x_t: the mean α x₀ is below the noise by σ_max.
        let beta =
            flow.as_ref().map_or(sigmas[0], |flow| flow.interpolant.level(flow.times[0]).beta);
        let x = attempt(|| noise.initial() * beta)?;
        // Made above for the solvers that ask for them.
        let times = |step: Step| {
            let times = flow.as_ref().map_or(&[][..], |flow| &flow.times[step.index..]);
            [times[0], times[1]]
        };
        walk(x, sigmas, observer, &nfe, |x, step| {
            let draws = noise.of_step(step.index, 1);
            match self {
                Self::Euler => euler_step(estimator, x, (step.from, step.to)),
                Self::Heun => heun_step(estimator, x, (step.from, step.to)),
                Self::Churn(churn) => churn_step(estimator, x, step, churn, &draws),
                Self::Ddim { eta } => {
                    let d = estimator.estimate(x, Level::edm(step.from))?;
                    let x = ddim_step(&d, x, step, *eta, || draws.draw(0));
                    Ok(Moved { x, estimate: d })
                }
                Self::Multistep { order, interpolant, correction } => {
                    let ends = times(step).map(|t| interpolant.level(t));
                    past.step(estimator, x, ends, (*order, *correction))
                }
                Self::Flow { interpolant } => flow_step(estimator, x, interpolant, times(step)),
            }
        })
    }
}

/// The times of a flow at the noise levels of a grid.
struct FlowGrid<'a> {
    interpolant: &'a Interpolant,
    times: Vec<f64>,
}

impl<'a> FlowGrid<'a> {
    fn new(interpolant: &'a Interpolant, sigmas: &[f64]) -> Result<Self, SampleError> {
        let times: Vec<f64> =
            sigmas.iter().map(|sigma| interpolant.time_of_sigma(*sigma)).collect();
        check_grid(&times)?;
        if !(interpolant.level(times[0]).alpha > 0.0) {
            let range = "one where α > 0: start at the time of σ_max";
            return Err(out_of_range("the first time", times[0], range));
        }
        Ok(Self { interpolant, times })
    }
}

/// One step of [`Solver::Euler`] from level σ to σ'.
pub(crate) fn euler_step(
    estimator: &dyn Estimator,
    x: &Tensor,
    (sigma, next): (f64, f64),
) -> Result<Moved, ComputeError> {
    let d = estimator.estimate(x, Level::edm(sigma))?;
    Ok(Moved { x: euler_move(&d, x, (sigma, next)), estimate: d })
}

/// Euler's step from a state x and D there.
pub(crate) fn euler_move(d: &Tensor, x: &Tensor, (sigma, next): (f64, f64)) -> Tensor {
    (x - d) * (next / sigma) + d
}

/// One step of [`Solver::Heun`].
fn heun_step(
    estimator: &dyn Estimator,
    x: &Tensor,
    (sigma, next): (f64, f64),
) -> Result<Moved, ComputeError> {
    let d = estimator.estimate(x, Level::edm(sigma))?;
    let slope = (x - &d) / sigma;
    let euler = x + &slope * (next - sigma);
    if next == 0.0 {
        return Ok(Moved { x: euler, estimate: d });
    }
    let slope_end = (&euler - estimator.estimate(&euler, Level::edm(next))?) / next;
    Ok(Moved { x: x + (slope + slope_end) * (0.5 * (next - sigma)), estimate: d })
}

/// One step of [`Solver::Churn`]: noise is added, and Heun's step goes on from the raised level.
fn churn_step(
    estimator: &dyn Estimator,
    x: &Tensor,
    step: Step,
    churn: &Churn,
    noise: &StepNoise<'_>,
) -> Result<Moved, ComputeError> {
    let sigma = step.from;
    if !(churn.s_min..=churn.s_max).contains(&sigma) {
        return heun_step(estimator, x, (sigma, step.to));
    }
    let gamma = (churn.s_churn / step.steps as f64).min(2f64.sqrt() - 1.0);
    let raised = sigma * (1.0 + gamma);
    let added = (raised * raised - sigma * sigma).sqrt() * churn.s_noise;
    heun_step(estimator, &(x + noise.draw(0) * added), (raised, step.to))
}

/// One step of [`Solver::Ddim`] from a state x and D there.
pub(crate) fn ddim_step(
    d: &Tensor,
    x: &Tensor,
    step: Step,
    eta: f64,
    noise: impl FnOnce() -> Tensor,
) -> Tensor {
    guided_ddim_step(d, d, x, step, eta, noise)
}

/// The same where another estimate than D takes its place, along the direction (x − D)/σ.
pub(crate) fn guided_ddim_step(
    estimate: &Tensor,
    d: &Tensor,
    x: &Tensor,
    Step { from: sigma, to: next, .. }: Step,
    eta: f64,
    noise: impl FnOnce() -> Tensor,
) -> Tensor {
    let direction = (x - d) / sigma;
    let sigma_eta = eta * next * (1.0 - (next / sigma).powi(2)).sqrt();
    let kept = (next * next - sigma_eta * sigma_eta).max(0.0).sqrt();
    let moved = direction * kept + estimate;
    if sigma_eta == 0.0 { moved } else { moved + noise() * sigma_eta }
}

/// The estimates of the last levels of [`Solver::Multistep`], the newest first.
#[derive(Default)]
struct Past {
    /// σ of each.
    sigmas: Vec<f64>,
    estimates: Vec<Tensor>,
}

impl Past {
    /// One step between two levels, of the order that the estimates so far allow and with a share of its correction.
    fn step(
        &mut self,
        estimator: &dyn Estimator,
        x: &Tensor,
        [level, next]: [Level; 2],
        (order, correction): (usize, f64),
    ) -> Result<Moved, ComputeError> {
        let d = estimator.estimate(x, level)?;
        self.sigmas.insert(0, level.sigma());
        self.estimates.insert(0, d.shallow_clone());
        self.sigmas.truncate(order);
        self.estimates.truncate(order);
        let weights = multistep_weights(&self.sigmas, next.sigma(), correction);
        let kept = x * (next.beta / level.beta);
        let x = weights.iter().zip(&self.estimates).fold(kept, |x, (weight, d)| {
            // The step to σ = 0 is D itself, whatever the others are.
            if *weight == 0.0 { x } else { x + d * (next.alpha * weight) }
        });
        Ok(Moved { x, estimate: d })
    }
}

/// One step of [`Solver::Flow`] from time t to t'.
fn flow_step(
    estimator: &dyn Estimator,
    x: &Tensor,
    interpolant: &Interpolant,
    [t, next]: [f64; 2],
) -> Result<Moved, ComputeError> {
    let level = interpolant.level(t);
    let (of_state, of_estimate) = velocity_factors(&level, &interpolant.rate(t));
    let d = estimator.estimate(x, level)?;
    let x = x * (1.0 + (next - t) * of_state) + &d * ((next - t) * of_estimate);
    Ok(Moved { x, estimate: d })
}

//! Solvers of the diffusion and flow equations, each over any [`Estimator`].
//!
//! The diffusion solvers walk EDM's variable x = x₀ + σ ε down a grid of noise levels that ends at
//! 0; a state of another interpolant is x_t/α at σ = β/α there. The flow solver walks x_t itself
//! along the velocity of its interpolant. The state is f64 throughout.

use eps_math::pivot::velocity_factors;
use eps_math::{Interpolant, Level, Shape};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::{Estimator, NoiseKeys, SampleError};

/// A solver and its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", from = "Written")]
pub enum Solver {
    /// [`edm_euler`]
    Euler,
    /// [`edm_heun`] without churn.
    Heun,
    /// [`edm_heun`] with churn.
    Churn(Churn),
    /// [`ddim`]
    Ddim {
        /// η in [0, 1].
        eta: f64,
    },
    /// [`flow_euler`] along an interpolant.
    Flow {
        /// The path, whose times are those of the grid's noise levels.
        interpolant: Interpolant,
    },
}

/// A solver as it is written: a variant without braces would let unknown fields pass.
#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
enum Written {
    Euler {},
    Heun {},
    Churn(Churn),
    Ddim { eta: f64 },
    Flow { interpolant: Interpolant },
}

impl From<Written> for Solver {
    fn from(written: Written) -> Self {
        match written {
            Written::Euler {} => Self::Euler,
            Written::Heun {} => Self::Heun,
            Written::Churn(churn) => Self::Churn(churn),
            Written::Ddim { eta } => Self::Ddim { eta },
            Written::Flow { interpolant } => Self::Flow { interpolant },
        }
    }
}

/// EDM's stochastic churn (Karras et al. 2022, Algorithm 2).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// S_churn, the total amount of noise that is added.
    pub s_churn: f64,
    /// S_min, the lowest level at which it is.
    pub s_min: f64,
    /// S_max, the highest.
    pub s_max: f64,
    /// S_noise, the standard deviation of the added noise over its nominal one.
    pub s_noise: f64,
}

impl Solver {
    /// The number of denoiser evaluations of a run of `steps` steps; 0 for none.
    #[must_use]
    pub fn nfe(&self, steps: usize) -> usize {
        match self {
            Self::Euler | Self::Ddim { .. } | Self::Flow { .. } => steps,
            Self::Heun | Self::Churn(_) => (2 * steps).saturating_sub(1),
        }
    }

    /// The number of steps whose run makes `calls` denoiser evaluations.
    ///
    /// # Errors
    /// [`SampleError::Calls`] if there is none: 0 calls, or an even number for Heun's method.
    pub fn steps(&self, calls: usize) -> Result<usize, SampleError> {
        let error = |solver, remedy| Err(SampleError::Calls { solver, calls, remedy });
        match self {
            _ if calls == 0 => error("a solver", "ask for at least 1"),
            Self::Euler | Self::Ddim { .. } | Self::Flow { .. } => Ok(calls),
            Self::Heun | Self::Churn(_) if calls % 2 == 1 => Ok(calls.div_ceil(2)),
            Self::Heun | Self::Churn(_) => {
                error("Heun's method", "N steps make 2N − 1 calls, so ask for an odd number")
            }
        }
    }

    /// Draws one sample for every key, from pure noise at the grid's first level.
    ///
    /// `sigmas` falls strictly from σ_max to 0; the samples depend on the keys alone, not on how
    /// they are batched.
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64, B = `keys.len()`
    ///
    /// # Errors
    /// [`SampleError::Grid`] and [`SampleError::ShortGrid`] for the grid, [`SampleError::OutOfRange`] for a constant of the solver,
    /// [`SampleError::Diverged`] if the state leaves the finite numbers.
    ///
    /// # Panics
    /// If the estimator does not take a batch of `keys.len()` images of `shape`: a measurement is of one image
    /// for each of them, or of one image that all of them are samples of.
    pub fn sample(
        &self,
        estimator: &dyn Estimator,
        sigmas: &[f64],
        keys: &NoiseKeys,
        shape: Shape,
        device: Device,
    ) -> Result<Tensor, SampleError> {
        let _guard = tch::no_grad_guard();
        check_grid(sigmas)?;
        let noise = keys.initial(shape, device);
        match self {
            Self::Euler => edm_euler(estimator, noise * sigmas[0], sigmas),
            Self::Heun => edm_heun(estimator, noise * sigmas[0], sigmas, None, keys),
            Self::Churn(churn) => edm_heun(estimator, noise * sigmas[0], sigmas, Some(churn), keys),
            Self::Ddim { eta } => ddim(estimator, noise * sigmas[0], sigmas, *eta, keys),
            Self::Flow { interpolant } => {
                let times: Vec<f64> =
                    sigmas.iter().map(|sigma| interpolant.time_of_sigma(*sigma)).collect();
                let start = interpolant.level(times[0]);
                // Pure noise at x_t: the mean α x₀ is below the noise by σ_max.
                flow_euler(estimator, noise * start.beta, interpolant, &times)
            }
        }
    }
}

/// EDM's deterministic sampler of first order: Euler steps of dx/dσ = (x − D)/σ.
///
/// ```text
/// x' = D + (σ'/σ) (x − D)
/// ```
///
/// Reference: Karras et al. 2022, Algorithm 1 without correction. N steps are N calls; one step from
/// σ_max to 0 is the one-call estimate D.
///
/// # Shapes
/// x: `[B, C, H, W]` in f64, states at the grid's first level: standard normals times `sigmas[0]` for samples
/// from pure noise, as [`Solver::sample`] draws them.
///
/// # Errors
/// [`SampleError::Grid`], [`SampleError::ShortGrid`], [`SampleError::Diverged`]
pub fn edm_euler(
    estimator: &dyn Estimator,
    x: Tensor,
    sigmas: &[f64],
) -> Result<Tensor, SampleError> {
    walk(x, sigmas, |x, _, sigma, next| euler_step(estimator, x, (sigma, next)))
}

/// One step of [`edm_euler`] from level σ to σ'.
pub(crate) fn euler_step(
    estimator: &dyn Estimator,
    x: &Tensor,
    (sigma, next): (f64, f64),
) -> Tensor {
    euler_move(&estimator.estimate(x, Level::edm(sigma)), x, (sigma, next))
}

/// Euler's step from a state x and D there.
pub(crate) fn euler_move(d: &Tensor, x: &Tensor, (sigma, next): (f64, f64)) -> Tensor {
    (x - d) * (next / sigma) + d
}

/// EDM's sampler of second order: Heun steps, with churn where it is given.
///
/// Reference: Karras et al. 2022, Algorithms 1 and 2. The correction asks the estimator again at the
/// end of the step, so an exact posterior sampler computes its pivot at both levels; there is none in
/// the step to σ = 0. N steps are 2N − 1 calls. Step i draws its churn from stream i + 1 of the keys.
///
/// # Shapes
/// x: as for [`edm_euler`]
///
/// # Errors
/// [`SampleError::Grid`], [`SampleError::ShortGrid`], [`SampleError::OutOfRange`] for a negative churn constant,
/// [`SampleError::Diverged`]
///
/// # Panics
/// With churn, if there are not as many keys as states.
pub fn edm_heun(
    estimator: &dyn Estimator,
    x: Tensor,
    sigmas: &[f64],
    churn: Option<&Churn>,
    keys: &NoiseKeys,
) -> Result<Tensor, SampleError> {
    if let Some(Churn { s_churn, s_min, s_max, s_noise }) = churn {
        let constants =
            [("S_churn", s_churn), ("S_min", s_min), ("S_max", s_max), ("S_noise", s_noise)];
        for (what, value) in constants {
            if !(*value >= 0.0) {
                return Err(SampleError::OutOfRange { what, value: *value, range: "at least 0" });
            }
        }
    }
    let steps = sigmas.len().saturating_sub(1) as f64;
    let churn = churn.map(|churn| (churn, keys.for_states(&x)));
    walk(x, sigmas, |x, step, sigma, next| {
        let (mut x, mut sigma) = (x.shallow_clone(), sigma);
        let churn = churn.as_ref().filter(|(c, _)| (c.s_min..=c.s_max).contains(&sigma));
        if let Some((churn, noise)) = churn {
            let gamma = (churn.s_churn / steps).min(2f64.sqrt() - 1.0);
            let raised = sigma * (1.0 + gamma);
            let added = (raised * raised - sigma * sigma).sqrt() * churn.s_noise;
            x = &x + noise.of_step(step) * added;
            sigma = raised;
        }
        let slope = (&x - estimator.estimate(&x, Level::edm(sigma))) / sigma;
        let euler = &x + &slope * (next - sigma);
        if next == 0.0 {
            return euler;
        }
        let slope_end = (&euler - estimator.estimate(&euler, Level::edm(next))) / next;
        x + (slope + slope_end) * (0.5 * (next - sigma))
    })
}

/// DDIM(η) in EDM's variable: η = 0 is the Euler step, η = 1 the ancestral step of DDPM.
///
/// ```text
/// σ_η = η σ' √(1 − σ'²/σ²)      x' = D + √(σ'² − σ_η²) (x − D)/σ + σ_η z
/// ```
///
/// Reference: Song, Meng and Ermon 2021, equation 12, with x/√ᾱ for x. N steps are N calls; step i
/// draws z from stream i + 1 of the keys.
///
/// # Shapes
/// x: as for [`edm_euler`]
///
/// # Errors
/// [`SampleError::Grid`], [`SampleError::ShortGrid`], [`SampleError::OutOfRange`] for η outside [0, 1],
/// [`SampleError::Diverged`]
///
/// # Panics
/// If there are not as many keys as states.
pub fn ddim(
    estimator: &dyn Estimator,
    x: Tensor,
    sigmas: &[f64],
    eta: f64,
    keys: &NoiseKeys,
) -> Result<Tensor, SampleError> {
    check_unit("η", eta)?;
    let noise = keys.for_states(&x);
    walk(x, sigmas, |x, step, sigma, next| {
        let d = estimator.estimate(x, Level::edm(sigma));
        ddim_step(&d, x, (sigma, next), eta, || noise.of_step(step))
    })
}

/// One step of [`ddim`] from level σ to σ', from a state x and D there.
pub(crate) fn ddim_step(
    d: &Tensor,
    x: &Tensor,
    levels: (f64, f64),
    eta: f64,
    noise: impl FnOnce() -> Tensor,
) -> Tensor {
    guided_ddim_step(d, d, x, levels, eta, noise)
}

/// The same where another estimate than D takes its place, along the direction (x − D)/σ.
pub(crate) fn guided_ddim_step(
    estimate: &Tensor,
    d: &Tensor,
    x: &Tensor,
    (sigma, next): (f64, f64),
    eta: f64,
    noise: impl FnOnce() -> Tensor,
) -> Tensor {
    let direction = (x - d) / sigma;
    let sigma_eta = eta * next * (1.0 - (next / sigma).powi(2)).sqrt();
    let kept = (next * next - sigma_eta * sigma_eta).max(0.0).sqrt();
    let moved = direction * kept + estimate;
    if sigma_eta == 0.0 { moved } else { moved + noise() * sigma_eta }
}

/// Checks a constant that is a share.
pub(crate) fn check_unit(what: &'static str, value: f64) -> Result<(), SampleError> {
    let error = SampleError::OutOfRange { what, value, range: "in [0, 1]" };
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(error) }
}

/// Euler steps along the velocity of an interpolant, of the prior or of the posterior.
///
/// ```text
/// x' = x + (t' − t) v      v = (β̇/β) x + (α̇ − α β̇/β) D
/// ```
///
/// Reference: arXiv 2606.17048, Proposition 2. `times` falls strictly to 0. Where α is 0, as at t = 1 of a
/// rectified flow, there is no pivot: start at the time of σ_max, [`Interpolant::time_of_sigma`]. N steps are N
/// calls.
///
/// # Shapes
/// x: `[B, C, H, W]` in f64, states at the first time: standard normals times its β for samples from
/// pure noise
///
/// # Errors
/// [`SampleError::Grid`], [`SampleError::ShortGrid`], [`SampleError::OutOfRange`] for a first time where α is not positive,
/// [`SampleError::Diverged`]
pub fn flow_euler(
    estimator: &dyn Estimator,
    x: Tensor,
    interpolant: &Interpolant,
    times: &[f64],
) -> Result<Tensor, SampleError> {
    if let Some(first) = times.first().filter(|first| !(interpolant.level(**first).alpha > 0.0)) {
        let range = "one where α > 0: start at the time of σ_max";
        return Err(SampleError::OutOfRange { what: "the first time", value: *first, range });
    }
    walk(x, times, |x, _, t, next| {
        let level = interpolant.level(t);
        let (of_state, of_estimate) = velocity_factors(&level, &interpolant.rate(t));
        let d = estimator.estimate(x, level);
        x * (1.0 + (next - t) * of_state) + d * ((next - t) * of_estimate)
    })
}

/// Checks a grid, walks it step by step, and checks that every state was finite: in the end, as a look at a
/// number of the device waits for it.
pub(crate) fn walk(
    mut x: Tensor,
    grid: &[f64],
    step: impl Fn(&Tensor, usize, f64, f64) -> Tensor,
) -> Result<Tensor, SampleError> {
    check_grid(grid)?;
    let steps = grid.len() - 1;
    let mut finite = Vec::with_capacity(steps);
    for (i, ends) in grid.windows(2).enumerate() {
        x = step(&x, i, ends[0], ends[1]);
        finite.push(x.isfinite().all());
    }
    let finite = Tensor::stack(&finite, 0).to_device(Device::Cpu);
    match (0..steps).find(|i| finite.int64_value(&[*i as i64]) == 0) {
        Some(i) => Err(SampleError::Diverged { step: i + 1, steps }),
        None => Ok(x),
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

pub(crate) fn shape_of(x: &Tensor) -> Shape {
    let side = |axis: usize| x.size()[axis] as usize;
    Shape { channels: side(1), height: side(2), width: side(3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_have_no_unknown_fields() {
        for solver in [
            Solver::Euler,
            Solver::Heun,
            Solver::Churn(Churn { s_churn: 4.0, s_min: 0.05, s_max: 50.0, s_noise: 1.003 }),
            Solver::Ddim { eta: 0.5 },
            Solver::Flow { interpolant: Interpolant::RectifiedFlow },
        ] {
            let text = serde_json::to_string(&solver).unwrap();
            assert_eq!(serde_json::from_str::<Solver>(&text).unwrap(), solver);
            let surplus = text.replacen('{', r#"{"steps":1,"#, 1);
            assert!(serde_json::from_str::<Solver>(&surplus).is_err(), "{surplus}");
        }
    }
}

//! Noise schedules: the levels at which a sampler stops on its way from noise to data.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{Interpolant, MathError};

/// How N steps are spread between the largest noise level and 0.
///
/// A grid has N + 1 values σ_0 = σ_max > σ_1 > … > σ_N = 0, strictly decreasing; the sampler's i-th
/// step goes from σ_i to σ_i+1. One step, N = 1, goes from σ_max to 0. The noise level is that of
/// x_t/α, σ = β/α, whatever the interpolant; [`Interpolant::time_of_sigma`] gives the times.
///
/// ```
/// use eps_math::Schedule;
///
/// let grid = Schedule::karras().sigmas(18)?;
/// assert_eq!((grid[0], grid[17], grid[18]), (80.0, 0.002, 0.0));
/// # Ok::<(), eps_math::MathError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Uniform in σ^(1/ρ) (Karras et al. 2022, equation 5).
    ///
    /// ```text
    /// σ_i = (σ_max^(1/ρ) + i/(N−1) · (σ_min^(1/ρ) − σ_max^(1/ρ)))^ρ for i < N,    σ_N = 0
    /// ```
    Karras {
        /// ρ, from 0.1 to 1000; 7 in EDM.
        rho: f64,
        /// The last level before 0.
        sigma_min: f64,
        /// The first level.
        sigma_max: f64,
    },
    /// Geometric: uniform in ln σ, the limit ρ → ∞ of [`Schedule::Karras`].
    ///
    /// ```text
    /// σ_i = σ_max (σ_min/σ_max)^(i/(N−1)) for i < N,    σ_N = 0
    /// ```
    LogUniform {
        /// The last level before 0.
        sigma_min: f64,
        /// The first level.
        sigma_max: f64,
    },
    /// Uniform in the time of an interpolant, from the time at which β/α = σ_max to time 0.
    ///
    /// ```text
    /// t_i = t_max (1 − i/N)    σ_i = β(t_i)/α(t_i)
    /// ```
    UniformTime {
        /// The path whose time is divided.
        interpolant: Interpolant,
        /// The first level.
        sigma_max: f64,
    },
}

/// The last level before 0 of [`Schedule::few_steps`].
const FEW_STEPS_SIGMA_MIN: f64 = 0.02;

/// The most steps of a grid: far more than any sampler makes, and small enough for memory.
const MOST_STEPS: usize = 1_000_000;

/// ρ whose powers keep their digits: σ^(1/ρ) is σ¹⁰ at most, and above, neighbours differ by little more than rounding.
const RHO: RangeInclusive<f64> = 0.1..=1e3;

impl Schedule {
    /// EDM's schedule: ρ = 7 between 80 and 0.002.
    #[must_use]
    pub fn karras() -> Self {
        Self::karras_between(0.002, 80.0)
    }

    /// The same with ρ = 7 between other ends.
    #[must_use]
    pub fn karras_between(sigma_min: f64, sigma_max: f64) -> Self {
        Self::Karras { rho: 7.0, sigma_min, sigma_max }
    }

    /// A grid for few steps, of [`Solver::MULTISTEP`](crate::Solver::MULTISTEP): uniform in ln σ down to 0.02.
    ///
    /// Half of EDM's steps lie below σ = 1, where the posterior's mean hardly moves; a grid that is uniform in the solver's
    /// own variable extrapolates by the same length everywhere. The repository's
    /// `docs/decisions/0009-multistep.md` has the measurements.
    #[must_use]
    pub fn few_steps(sigma_max: f64) -> Self {
        Self::LogUniform { sigma_min: FEW_STEPS_SIGMA_MIN.min(0.5 * sigma_max), sigma_max }
    }

    /// The same between the same ends but for what is given: another ρ, ∞ for [`Schedule::LogUniform`], and another
    /// last level before 0. [`Schedule::UniformTime`] has neither and stays as it is.
    #[must_use]
    pub fn with(self, rho: Option<f64>, sigma_min: Option<f64>) -> Self {
        let (own_rho, own_min, sigma_max) = match self {
            Self::Karras { rho, sigma_min, sigma_max } => (rho, sigma_min, sigma_max),
            Self::LogUniform { sigma_min, sigma_max } => (f64::INFINITY, sigma_min, sigma_max),
            Self::UniformTime { .. } => return self,
        };
        let sigma_min = sigma_min.unwrap_or(own_min);
        match rho.unwrap_or(own_rho) {
            f64::INFINITY => Self::LogUniform { sigma_min, sigma_max },
            rho => Self::Karras { rho, sigma_min, sigma_max },
        }
    }

    /// The annealing levels of DAPS, which end at 0.1: the flow that it walks inside each ends at 0.01.
    #[must_use]
    pub fn annealing(sigma_max: f64) -> Self {
        Self::karras_between(0.1, sigma_max)
    }

    /// The same, ending at `lowest` before its step to 0 where it would go below: networks of a chain know nothing of
    /// less noise. Uniform times end where they do.
    #[must_use]
    pub fn ending_at(mut self, lowest: f64) -> Self {
        if let Self::Karras { sigma_min, .. } | Self::LogUniform { sigma_min, .. } = &mut self {
            *sigma_min = sigma_min.max(lowest);
        }
        self
    }

    /// The same, also beginning at `highest` where it would begin above: a network that was trained for less noise than a
    /// method begins with is asked from where it ends.
    #[must_use]
    pub fn within(mut self, lowest: f64, highest: f64) -> Self {
        let (Self::Karras { sigma_max, .. }
        | Self::LogUniform { sigma_max, .. }
        | Self::UniformTime { sigma_max, .. }) = &mut self;
        *sigma_max = sigma_max.min(highest);
        self.ending_at(lowest)
    }

    /// The first level of every grid, σ_max.
    #[must_use]
    pub fn sigma_max(&self) -> f64 {
        match *self {
            Self::Karras { sigma_max, .. }
            | Self::LogUniform { sigma_max, .. }
            | Self::UniformTime { sigma_max, .. } => sigma_max,
        }
    }

    /// The grid of `steps` steps: `steps + 1` strictly decreasing levels, of which the last is 0.
    ///
    /// # Units
    /// Noise levels σ = β/α on the scale of the images.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] unless 0 < σ_min < σ_max < ∞, 0.1 ≤ ρ ≤ 1000, and σ_max lies on the path of
    /// the interpolant; for 0 steps, more than 1,000,000, or so many that levels coincide in f64.
    pub fn sigmas(&self, steps: usize) -> Result<Vec<f64>, MathError> {
        self.validate()?;
        if steps == 0 {
            return Err(out_of_range("the number of steps", 0.0, "at least 1"));
        }
        if steps > MOST_STEPS {
            return Err(out_of_range("the number of steps", steps as f64, "at most 1000000"));
        }
        let sigma_max = self.sigma_max();
        let part = |i: usize| i as f64 / (steps - 1).max(1) as f64;
        let between = |i: usize| match *self {
            Self::Karras { rho, sigma_min, .. } => {
                let (from, to) = (sigma_max.powf(rho.recip()), sigma_min.powf(rho.recip()));
                (from + part(i) * (to - from)).powf(rho)
            }
            Self::LogUniform { sigma_min, .. } => sigma_max * (sigma_min / sigma_max).powf(part(i)),
            Self::UniformTime { interpolant, .. } => {
                let t_max = interpolant.time_of_sigma(sigma_max);
                interpolant.level(t_max * (steps - i) as f64 / steps as f64).sigma()
            }
        };
        // The ends are set, not computed: no rounding there.
        let mut sigmas = vec![sigma_max];
        sigmas.extend((1..steps).map(between));
        if let (Self::Karras { sigma_min, .. } | Self::LogUniform { sigma_min, .. }, true) =
            (self, steps > 1)
        {
            sigmas[steps - 1] = *sigma_min;
        }
        sigmas.push(0.0);
        if sigmas.windows(2).all(|pair| pair[0] > pair[1]) {
            Ok(sigmas)
        } else {
            Err(out_of_range(
                "the number of steps",
                steps as f64,
                "so small that neighbouring noise levels differ in double precision",
            ))
        }
    }

    /// Checks every number, as [`Schedule::sigmas`] does.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] with the offending number.
    pub fn validate(&self) -> Result<(), MathError> {
        let sigma_max = self.sigma_max();
        if !(sigma_max > 0.0 && sigma_max.is_finite()) {
            return Err(out_of_range("sigma_max", sigma_max, "positive and finite"));
        }
        match *self {
            Self::Karras { sigma_min, .. } | Self::LogUniform { sigma_min, .. }
                if !(sigma_min > 0.0 && sigma_min < sigma_max) =>
            {
                Err(out_of_range("sigma_min", sigma_min, "positive and below sigma_max"))
            }
            Self::Karras { rho, .. } if !RHO.contains(&rho) => Err(out_of_range(
                "rho",
                rho,
                "from 0.1 to 1000; its limit at infinity is log-uniform",
            )),
            Self::UniformTime { interpolant, .. } => {
                interpolant.validate()?;
                if interpolant.time_of_sigma(sigma_max) > interpolant.end() {
                    return Err(out_of_range(
                        "sigma_max",
                        sigma_max,
                        "a noise level that the interpolant reaches",
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn out_of_range(what: &'static str, value: f64, range: &'static str) -> MathError {
    MathError::OutOfRange { what, value, range }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_lie_within_what_a_network_knows() {
        let ends = |schedule: Schedule| {
            let sigmas = schedule.within(0.01, 20.0).sigmas(10).unwrap();
            (sigmas[0], sigmas[9])
        };
        assert_eq!(ends(Schedule::karras()), (20.0, 0.01));
        assert_eq!(ends(Schedule::few_steps(80.0)), (20.0, 0.02));
        assert_eq!(ends(Schedule::annealing(10.0)), (10.0, 0.1));
        let interpolant = Interpolant::RectifiedFlow;
        assert_eq!(ends(Schedule::UniformTime { interpolant, sigma_max: 80.0 }).0, 20.0);
        assert_eq!(Schedule::karras().within(0.0, f64::INFINITY), Schedule::karras());
    }

    #[test]
    fn karras_grid_of_the_formula() {
        // N = 3, ρ = 1: the mean of the ends. N = 3, ρ = 2: the square of the mean of the roots.
        let grid =
            |rho| Schedule::Karras { rho, sigma_min: 1.0, sigma_max: 9.0 }.sigmas(3).unwrap();
        assert_eq!(grid(1.0), [9.0, 5.0, 1.0, 0.0]);
        assert_eq!(grid(2.0), [9.0, 4.0, 1.0, 0.0]);
        let edm = Schedule::karras().sigmas(18).unwrap();
        // 80^(1/7) = 1.870166…, 0.002^(1/7) = 0.411548…; the tenth level of EDM's 18 steps.
        let root = 80f64.powf(1.0 / 7.0) * 8.0 / 17.0 + 0.002f64.powf(1.0 / 7.0) * 9.0 / 17.0;
        assert!((edm[9] / root.powi(7) - 1.0).abs() < 1e-14);
    }

    #[test]
    fn geometric_and_uniform_grids() {
        let geometric = Schedule::LogUniform { sigma_min: 0.01, sigma_max: 100.0 };
        for (found, expected) in
            geometric.sigmas(5).unwrap().iter().zip([100.0, 10.0, 1.0, 0.1, 0.01, 0.0])
        {
            assert!((found - expected).abs() <= 4.0 * f64::EPSILON * expected);
        }
        let flow =
            Schedule::UniformTime { interpolant: Interpolant::RectifiedFlow, sigma_max: 3.0 };
        // t = 0.75, 0.5, 0.25, 0 and σ = t/(1 − t).
        for (found, expected) in flow.sigmas(3).unwrap().iter().zip([3.0, 1.0, 1.0 / 3.0, 0.0]) {
            assert!((found - expected).abs() <= 4.0 * f64::EPSILON);
        }
    }

    #[test]
    fn one_step_goes_from_noise_to_data() {
        let log = Schedule::LogUniform { sigma_min: 0.01, sigma_max: 80.0 };
        let flow = Schedule::UniformTime { interpolant: Interpolant::Edm, sigma_max: 80.0 };
        for schedule in [Schedule::karras(), log, flow] {
            assert_eq!(schedule.sigmas(1).unwrap(), [80.0, 0.0]);
        }
    }

    #[test]
    fn bad_numbers_are_named() {
        let error = |schedule: Schedule, steps| schedule.sigmas(steps).unwrap_err().to_string();
        assert_eq!(error(Schedule::karras(), 0), "the number of steps is 0: it must be at least 1");
        let many = error(Schedule::karras(), usize::MAX);
        assert!(many.ends_with("it must be at most 1000000"), "{many}");
        let crossed = Schedule::LogUniform { sigma_min: 2.0, sigma_max: 1.0 };
        assert_eq!(error(crossed, 4), "sigma_min is 2: it must be positive and below sigma_max");
        for rho in [0.0, 1e-300, 0.05, 1e4, 1e300, f64::NAN] {
            let beyond = error(Schedule::Karras { rho, sigma_min: 0.1, sigma_max: 1.0 }, 4);
            assert!(
                beyond.starts_with("rho is ") && beyond.contains("from 0.1 to 1000"),
                "{beyond}"
            );
        }
        for rho in [0.1, 1e3] {
            assert!(Schedule::karras().with(Some(rho), None).sigmas(1000).is_ok());
        }
        let dense = Schedule::Karras { rho: 7.0, sigma_min: 1.0, sigma_max: 1.0 + 1e-14 };
        assert!(error(dense, 1000).contains("so small that neighbouring noise levels differ"));
        // The linear path ends at ᾱ = e^−10.05, σ = 152.
        let beyond =
            Schedule::UniformTime { interpolant: Interpolant::vp_linear(), sigma_max: 153.0 };
        assert!(error(beyond, 4).starts_with("sigma_max is 153"));
        assert!(
            Schedule::UniformTime { interpolant: Interpolant::vp_linear(), sigma_max: 151.0 }
                .validate()
                .is_ok()
        );
    }

    #[test]
    fn another_density_and_another_end() {
        let edm = Schedule::karras();
        assert_eq!(edm.with(None, None), edm);
        assert_eq!(edm.with(None, Some(0.01)), Schedule::karras_between(0.01, 80.0));
        let log = Schedule::LogUniform { sigma_min: 0.02, sigma_max: 80.0 };
        assert_eq!(edm.with(Some(f64::INFINITY), Some(0.02)), log);
        assert_eq!(Schedule::few_steps(80.0), log);
        assert_eq!(log.with(Some(7.0), Some(0.002)), edm);
        assert!(Schedule::few_steps(0.01).validate().is_ok());
        let flow =
            Schedule::UniformTime { interpolant: Interpolant::RectifiedFlow, sigma_max: 80.0 };
        assert_eq!(flow.with(Some(3.0), Some(0.1)), flow);
        // NaN is refused where the grid is made.
        assert!(edm.with(Some(f64::NAN), None).sigmas(3).is_err());
    }

    #[test]
    fn configurations_reject_unknown_fields() {
        let text = r#"{"name": "karras", "rho": 7.0, "sigma_min": 0.002, "sigma_max": 80.0}"#;
        assert_eq!(serde_json::from_str::<Schedule>(text).unwrap(), Schedule::karras());
        let misspelt = text.replace("rho", "roh");
        assert!(serde_json::from_str::<Schedule>(&misspelt).is_err());
    }
}

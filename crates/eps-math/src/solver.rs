//! Solvers of the diffusion and flow equations, as descriptions: which step, with what constants.
//!
//! They are run by `eps-sample`. The diffusion solvers walk EDM's variable x = x₀ + σ ε down a grid of noise levels that
//! ends at 0; a state of another interpolant is x_t/α at σ = β/α there. The flow solver walks x_t itself along the
//! velocity of its interpolant. D is the mean of x₀ given the state, of the prior or of the posterior; a call is one
//! evaluation of it.

use serde::{Deserialize, Serialize};

use crate::{Interpolant, MathError, Schedule};

/// A solver and its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", from = "Written")]
pub enum Solver {
    /// EDM's deterministic sampler of first order: Euler steps of dx/dσ = (x − D)/σ.
    ///
    /// ```text
    /// x' = D + (σ'/σ) (x − D)
    /// ```
    ///
    /// Reference: Karras et al. 2022, Algorithm 1 without correction. N steps are N calls; one step from
    /// σ_max to 0 is the one-call estimate D.
    Euler,
    /// EDM's sampler of second order: Heun steps.
    ///
    /// Reference: Karras et al. 2022, Algorithm 1. The correction asks again at the end of the step, so an exact
    /// posterior sampler computes its pivot at both levels; there is none in the step to σ = 0. N steps are 2N − 1 calls.
    Heun,
    /// [`Solver::Heun`] with churn (Karras et al. 2022, Algorithm 2).
    Churn(Churn),
    /// DDIM(η) in EDM's variable: η = 0 is the Euler step, η = 1 the ancestral step of DDPM.
    ///
    /// ```text
    /// σ_η = η σ' √(1 − σ'²/σ²)      x' = D + √(σ'² − σ_η²) (x − D)/σ + σ_η z
    /// ```
    ///
    /// Reference: Song, Meng and Ermon 2021, equation 12, with x/√ᾱ for x. N steps are N calls.
    Ddim {
        /// η in [0, 1].
        eta: f64,
    },
    /// The multistep solver of DPM-Solver++: one call a step, and the order of several.
    ///
    /// An exponential integrator of the equation in λ = −ln σ_t. What is known of D between two levels is extrapolated
    /// from the estimates at the last levels; the rest of the step is exact.
    ///
    /// ```text
    /// x'/α' = (σ'/σ) x/α + Σ_k w_k D_k      w by multistep_weights
    /// ```
    ///
    /// Reference: Lu et al. 2022, *DPM-Solver++*, Algorithm 2 for the second order. N steps are N calls. The first step has
    /// no estimate before it and is Euler's, the second has one; the step to σ = 0 leads to D, as all that is
    /// extrapolated to λ = ∞ would be. In EDM's variable x/α a step is the same whatever the interpolant, so that the
    /// samples are, to rounding; the state that is walked and asked about is x_t.
    Multistep {
        /// The order: 2, or 3 for steps so many that the third order's larger extrapolation pays.
        order: usize,
        /// The path, whose times are those of the grid's noise levels.
        interpolant: Interpolant,
        /// The share of the correction, from 0 to 1, by which the estimates at the levels before change Euler's step: 1 gives the
        /// solver its order.
        ///
        /// With less of it many steps, N, are wrong as N/(1 − c) steps of Euler's method are. Half of it is
        /// [`Solver::HALF_CORRECTED`].
        #[serde(default = "whole_correction", skip_serializing_if = "is_whole")]
        correction: f64,
    },
    /// Euler steps along the velocity of an interpolant, of the prior or of the posterior.
    ///
    /// ```text
    /// x' = x + (t' − t) v      v = (β̇/β) x + (α̇ − α β̇/β) D
    /// ```
    ///
    /// Reference: arXiv 2606.17048, Proposition 2. N steps are N calls. Where α is 0, as at t = 1 of a rectified flow,
    /// there is no pivot: it starts at the time of σ_max, [`Interpolant::time_of_sigma`].
    Flow {
        /// The path, whose times are those of the grid's noise levels.
        interpolant: Interpolant,
    },
}

/// The correction of a multistep solver that is written without it.
fn whole_correction() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_whole(correction: &f64) -> bool {
    *correction == whole_correction()
}

/// A solver as it is written: a variant without braces would let unknown fields pass.
#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
enum Written {
    Euler {},
    Heun {},
    Churn(Churn),
    Ddim {
        eta: f64,
    },
    Multistep {
        order: usize,
        interpolant: Interpolant,
        #[serde(default = "whole_correction")]
        correction: f64,
    },
    Flow {
        interpolant: Interpolant,
    },
}

impl From<Written> for Solver {
    fn from(written: Written) -> Self {
        match written {
            Written::Euler {} => Self::Euler,
            Written::Heun {} => Self::Heun,
            Written::Churn(churn) => Self::Churn(churn),
            Written::Ddim { eta } => Self::Ddim { eta },
            Written::Multistep { order, interpolant, correction } => {
                Self::Multistep { order, interpolant, correction }
            }
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

impl Churn {
    /// The constants of EDM for ImageNet-64 (Karras et al. 2022, Table 5).
    pub const IMAGENET_64: Self = Self { s_churn: 40.0, s_min: 0.05, s_max: 50.0, s_noise: 1.003 };

    /// Checks the constants.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a negative one or NaN.
    pub fn validate(&self) -> Result<(), MathError> {
        let Self { s_churn, s_min, s_max, s_noise } = *self;
        for (what, value) in
            [("S_churn", s_churn), ("S_min", s_min), ("S_max", s_max), ("S_noise", s_noise)]
        {
            if !(value >= 0.0) {
                return Err(MathError::OutOfRange { what, value, range: "at least 0" });
            }
        }
        Ok(())
    }
}

impl Solver {
    /// The multistep solver of second order in EDM's variable, DPM-Solver++(2M).
    pub const MULTISTEP: Self =
        Self::Multistep { order: 2, interpolant: Interpolant::Edm, correction: 1.0 };

    /// The same with half of its correction: N calls of it leave the error that 2N calls of Euler's method leave, from about ten on.
    /// One and two calls are those of Euler's method: the first step and the one to σ = 0 have no correction.
    pub const HALF_CORRECTED: Self =
        Self::Multistep { order: 2, interpolant: Interpolant::Edm, correction: 0.5 };

    /// Checks the constants.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a constant of churn that is negative, η outside [0, 1], an order that is neither 2
    /// nor 3, a correction outside [0, 1], and a parameter of the interpolant out of its range.
    pub fn validate(&self) -> Result<(), MathError> {
        match self {
            Self::Euler | Self::Heun => Ok(()),
            Self::Churn(churn) => churn.validate(),
            Self::Ddim { eta } => check_share("η", *eta),
            Self::Multistep { order, interpolant, correction } => {
                if !matches!(order, 2 | 3) {
                    let (what, range) = ("the order of the multistep solver", "2 or 3");
                    return Err(MathError::OutOfRange { what, value: *order as f64, range });
                }
                check_share("the correction of the multistep solver", *correction)?;
                interpolant.validate()
            }
            Self::Flow { interpolant } => interpolant.validate(),
        }
    }

    /// The grid that suits the solver on a prior whose usual one is `usual`: [`Schedule::few_steps`] from the same level for
    /// [`Solver::Multistep`] with its whole correction, `usual` for the others.
    #[must_use]
    pub fn schedule(&self, usual: Schedule) -> Schedule {
        match self {
            Self::Multistep { correction: 1.0, .. } => Schedule::few_steps(usual.sigma_max()),
            _ => usual,
        }
    }

    /// The number of calls of a run of `steps` steps; 0 for none.
    #[must_use]
    pub fn nfe(&self, steps: usize) -> usize {
        match self {
            Self::Euler | Self::Ddim { .. } | Self::Multistep { .. } | Self::Flow { .. } => steps,
            Self::Heun | Self::Churn(_) => steps.saturating_mul(2).saturating_sub(1),
        }
    }

    /// The number of steps whose run makes `calls` calls.
    ///
    /// # Errors
    /// [`MathError::Calls`] if there is none: 0 calls, or an even number for Heun's method.
    pub fn steps(&self, calls: usize) -> Result<usize, MathError> {
        let error = |solver, remedy| Err(MathError::Calls { solver, calls, remedy });
        match self {
            _ if calls == 0 => error("a solver", "ask for at least 1"),
            Self::Euler | Self::Ddim { .. } | Self::Multistep { .. } | Self::Flow { .. } => {
                Ok(calls)
            }
            Self::Heun | Self::Churn(_) if calls % 2 == 1 => Ok(calls.div_ceil(2)),
            Self::Heun | Self::Churn(_) => {
                error("Heun's method", "N steps make 2N − 1 calls, so ask for an odd number")
            }
        }
    }
}

/// The weights of the estimates in a step of [`Solver::Multistep`]: w₀ of the one at σ, w₁ of the one before, …
///
/// With h = ln(σ/σ') and the lengths h₁, h₂ of the steps before, in λ = −ln σ, the exact step is
///
/// ```text
/// x' = e^(−h) x + ∫₀ʰ e^(s−h) D(λ + s) ds
/// order 1:  D ≈ D₀, which is Euler's step
/// order 2:  D ≈ D₀ + h/(2 h₁) (D₀ − D₁), its value in the middle of the step   (Lu et al. 2022, Algorithm 2)
/// order 3:  D ≈ the parabola through D₀, D₁ and D₂, integrated exactly
/// ```
///
/// The weights sum to 1 − σ'/σ. Where σ' = 0 that of D₀ is 1 and the others are 0. With a correction c below 1, D₀ + c (D − D₀)
/// takes the place of D. The third order of the authors' program takes half of the parabola's square term, which makes it one of
/// second order; this one is of third.
///
/// # Units
/// `sigmas`: σ of the estimates, that of D₀ first, rising, as many as the order of the step; `next`: σ' below the first.
///
/// # Panics
/// Without a level, or with more than three.
#[must_use]
pub fn multistep_weights(sigmas: &[f64], next: f64, correction: f64) -> Vec<f64> {
    assert!((1..=3).contains(&sigmas.len()), "{} levels: 1 to 3 are known", sigmas.len());
    if next == 0.0 {
        return (0..sigmas.len()).map(|k| f64::from(u8::from(k == 0))).collect();
    }
    let h = (sigmas[0] / next).ln();
    // ∫₀ʰ e^(s−h) (s/h)ⁿ ds for n = 0, 1, 2.
    let phi_1 = -(-h).exp_m1();
    let phi_2 = 1.0 - phi_1 / h;
    let phi_3 = 1.0 - 2.0 * phi_2 / h;
    let mut weights = match *sigmas {
        [_] => vec![phi_1],
        [sigma, before] => {
            let half_ratio = 0.5 * h / (before / sigma).ln();
            vec![phi_1 * (1.0 + half_ratio), -phi_1 * half_ratio]
        }
        _ => {
            // Newton's form in s/h: D₀ + d₁ s/h + d₂ s/h (s/h + r₁) with divided differences d.
            let r_1 = (sigmas[1] / sigmas[0]).ln() / h;
            let r_2 = (sigmas[2] / sigmas[1]).ln() / h;
            let square = phi_3 + r_1 * phi_2;
            let (first, second) = (phi_2 + square / (r_1 + r_2), square / (r_1 + r_2));
            vec![phi_1 + first / r_1, -first / r_1 - second / r_2, second / r_2]
        }
    };
    for (k, weight) in weights.iter_mut().enumerate() {
        let euler = if k == 0 { phi_1 } else { 0.0 };
        *weight = euler + correction * (*weight - euler);
    }
    weights
}

/// Checks a constant that is a share, such as η of DDIM.
///
/// # Errors
/// [`MathError::OutOfRange`] unless it is in [0, 1].
pub fn check_share(what: &'static str, value: f64) -> Result<(), MathError> {
    let error = MathError::OutOfRange { what, value, range: "in [0, 1]" };
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHURN: Churn = Churn { s_churn: 4.0, s_min: 0.05, s_max: 50.0, s_noise: 1.003 };

    #[test]
    fn configurations_have_no_unknown_fields() {
        for (solver, written) in [
            (Solver::Euler, r#"{"name":"euler"}"#),
            (Solver::Heun, r#"{"name":"heun"}"#),
            (
                Solver::Churn(CHURN),
                r#"{"name":"churn","s_churn":4.0,"s_min":0.05,"s_max":50.0,"s_noise":1.003}"#,
            ),
            (Solver::Ddim { eta: 0.5 }, r#"{"name":"ddim","eta":0.5}"#),
            (Solver::MULTISTEP, r#"{"name":"multistep","order":2,"interpolant":{"name":"edm"}}"#),
            (
                Solver::HALF_CORRECTED,
                r#"{"name":"multistep","order":2,"interpolant":{"name":"edm"},"correction":0.5}"#,
            ),
            (
                Solver::Flow { interpolant: Interpolant::RectifiedFlow },
                r#"{"name":"flow","interpolant":{"name":"rectified-flow"}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&solver).unwrap(), written);
            assert_eq!(serde_json::from_str::<Solver>(written).unwrap(), solver);
            let surplus = written.replacen('{', r#"{"steps":1,"#, 1);
            assert!(serde_json::from_str::<Solver>(&surplus).is_err(), "{surplus}");
        }
    }

    #[test]
    fn calls_and_steps_belong_together() {
        let one_a_step = [
            Solver::Euler,
            Solver::Ddim { eta: 1.0 },
            Solver::MULTISTEP,
            Solver::Flow { interpolant: Interpolant::RectifiedFlow },
        ];
        for solver in one_a_step {
            assert_eq!([0, 1, 7].map(|steps| solver.nfe(steps)), [0, 1, 7], "{solver:?}");
            assert_eq!([1, 2, 20].map(|calls| solver.steps(calls)), [Ok(1), Ok(2), Ok(20)]);
        }
        for solver in [Solver::Heun, Solver::Churn(CHURN)] {
            // EDM's 18 steps are 35 calls.
            assert_eq!([0, 1, 18].map(|steps| solver.nfe(steps)), [0, 1, 35], "{solver:?}");
            assert_eq!([1, 35].map(|calls| solver.steps(calls)), [Ok(1), Ok(18)]);
            assert_eq!(
                solver.steps(20).unwrap_err().to_string(),
                "Heun's method cannot make 20 network calls: N steps make 2N − 1 calls, so ask for an odd number"
            );
        }
        let none = Solver::Euler.steps(0).unwrap_err().to_string();
        assert_eq!(none, "a solver cannot make 0 network calls: ask for at least 1");
    }

    #[test]
    fn bad_constants_are_named() {
        assert!(Solver::Euler.validate().is_ok() && Solver::Churn(CHURN).validate().is_ok());
        for (solver, said) in [
            (Solver::Ddim { eta: 1.5 }, "η is 1.5: it must be in [0, 1]"),
            (Solver::Ddim { eta: f64::NAN }, "η is NaN: it must be in [0, 1]"),
            (
                Solver::Churn(Churn { s_churn: -1.0, ..CHURN }),
                "S_churn is -1: it must be at least 0",
            ),
            (
                Solver::Multistep { order: 1, interpolant: Interpolant::Edm, correction: 1.0 },
                "the order of the multistep solver is 1: it must be 2 or 3",
            ),
            (
                Solver::Multistep { order: 2, interpolant: Interpolant::Edm, correction: 1.5 },
                "the correction of the multistep solver is 1.5: it must be in [0, 1]",
            ),
            (
                Solver::Flow { interpolant: Interpolant::VpCosine { offset: 0.0 } },
                "offset is 0: it must be positive and finite",
            ),
        ] {
            assert_eq!(solver.validate().unwrap_err().to_string(), said);
        }
    }

    /// ∫₀ʰ e^(s−h) Σ_k w_k sᵏ ds by Simpson's rule on 2,000 intervals, its error below 1e-13 for h ≤ 2.
    fn integral(h: f64, polynomial: impl Fn(f64) -> f64) -> f64 {
        let n = 2000;
        let at = |i: usize| {
            let s = h * i as f64 / n as f64;
            let weight = if i == 0 || i == n { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
            weight * (s - h).exp() * polynomial(s)
        };
        (0..=n).map(at).sum::<f64>() * h / (3 * n) as f64
    }

    #[test]
    fn weights_integrate_what_they_extrapolate() {
        // λ rises by 0.9, 0.5 and then 1.3.
        let sigmas = [1.0, 0.5f64.exp(), 1.4f64.exp()];
        let (h, next) = (1.3, (-1.3f64).exp());
        let times = [0.0, -0.5, -1.4];
        let applied = |order: usize, polynomial: &dyn Fn(f64) -> f64| -> f64 {
            let weights = multistep_weights(&sigmas[..order], next, 1.0);
            weights.iter().zip(times).map(|(w, s)| w * polynomial(s)).sum()
        };
        let constant = |_: f64| 1.0;
        let parabola = |s: f64| 0.3 - 0.7 * s + 0.9 * s * s;
        for order in 1..=3 {
            // A handful of roundings of numbers below 4.
            assert!((applied(order, &constant) - (1.0 - next)).abs() < 1e-15 * 16.0, "{order}");
        }
        assert!((applied(3, &parabola) - integral(h, parabola)).abs() < 1e-12);
        // The line is taken at its middle, as in the paper.
        let line = |s: f64| 0.3 - 0.7 * s;
        assert!((applied(2, &line) - (1.0 - next) * line(0.5 * h)).abs() < 1e-14);
        for order in 1..=3 {
            let last = multistep_weights(&sigmas[..order], 0.0, 0.3);
            assert_eq!(last, [1.0, 0.0, 0.0][..order]);
            // Some of the correction lies that far from Euler's step to the whole, exactly in both ends.
            let [none, some, all] =
                [0.0, 0.25, 1.0].map(|share| multistep_weights(&sigmas[..order], next, share));
            let mut euler = vec![0.0; order];
            euler[0] = multistep_weights(&sigmas[..1], next, 1.0)[0];
            assert_eq!(none, euler);
            for k in 0..order {
                assert!((some[k] - 0.75 * none[k] - 0.25 * all[k]).abs() < 1e-15, "{order} {k}");
            }
        }
    }
}

//! Solvers of the diffusion and flow equations, as descriptions: which step, with what constants.
//!
//! They are run by `eps-sample`. The diffusion solvers walk EDM's variable x = x₀ + σ ε down a grid of noise levels that
//! ends at 0; a state of another interpolant is x_t/α at σ = β/α there. The flow solver walks x_t itself along the
//! velocity of its interpolant. D is the mean of x₀ given the state, of the prior or of the posterior; a call is one
//! evaluation of it.

use serde::{Deserialize, Serialize};

use crate::{Interpolant, MathError};

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

impl Churn {
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
    /// Checks the constants.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a constant of churn that is negative, η outside [0, 1], and a parameter of the
    /// interpolant out of its range.
    pub fn validate(&self) -> Result<(), MathError> {
        match self {
            Self::Euler | Self::Heun => Ok(()),
            Self::Churn(churn) => churn.validate(),
            Self::Ddim { eta } => check_share("η", *eta),
            Self::Flow { interpolant } => interpolant.validate(),
        }
    }

    /// The number of calls of a run of `steps` steps; 0 for none.
    #[must_use]
    pub fn nfe(&self, steps: usize) -> usize {
        match self {
            Self::Euler | Self::Ddim { .. } | Self::Flow { .. } => steps,
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
            Self::Euler | Self::Ddim { .. } | Self::Flow { .. } => Ok(calls),
            Self::Heun | Self::Churn(_) if calls % 2 == 1 => Ok(calls.div_ceil(2)),
            Self::Heun | Self::Churn(_) => {
                error("Heun's method", "N steps make 2N − 1 calls, so ask for an odd number")
            }
        }
    }
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
                Solver::Flow { interpolant: Interpolant::VpCosine { offset: 0.0 } },
                "offset is 0: it must be positive and finite",
            ),
        ] {
            assert_eq!(solver.validate().unwrap_err().to_string(), said);
        }
    }
}

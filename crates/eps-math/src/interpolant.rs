//! Interpolants x_t = α_t x₀ + β_t ε between data (α, β) = (1, 0) and noise.
//!
//! Only the ratio σ = β/α matters to a denoiser: [`Level::sigma`], and back by
//! [`Interpolant::time_of_sigma`]. Where a path ends in pure noise, α = 0, σ is infinite; samplers
//! start at a time with β/α ≤ σ_max, the largest level that their network was trained for.

use std::f64::consts::FRAC_PI_2;

use serde::{Deserialize, Serialize};

use crate::{MathError, Real};

/// The path from data to noise that a diffusion or flow model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", try_from = "Written")]
pub enum Interpolant {
    /// EDM's variance-exploding path: α = 1, β = t; the time is the noise level itself.
    Edm,
    /// Variance-preserving with β(t) linear in t: ᾱ = exp(−(b₁ − b₀) t²/2 − b₀ t) for t in [0, 1].
    ///
    /// Song et al. 2021, equation 33; b₀ = 0.1 and b₁ = 20 there.
    VpLinear {
        /// b₀, the rate at t = 0.
        rate_min: f64,
        /// b₁, the rate at t = 1.
        rate_max: f64,
    },
    /// Variance-preserving cosine path: α = cos(π/2 · (t + s)/(1 + s)) / cos(π/2 · s/(1 + s)).
    ///
    /// Nichol and Dhariwal 2021, equation 17; s = 0.008 there.
    VpCosine {
        /// s, which keeps the path from starting too slowly.
        offset: f64,
    },
    /// Rectified flow: α = 1 − t, β = t for t in [0, 1] (Liu et al. 2023).
    RectifiedFlow,
    /// Trigonometric flow: α = cos t, β = sin t for t in [0, π/2] (Albergo et al. 2023).
    Trigonometric,
}

/// A path as it is written, before its parameters are checked; a variant without braces would let
/// unknown fields pass.
#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
enum Written {
    Edm {},
    VpLinear { rate_min: f64, rate_max: f64 },
    VpCosine { offset: f64 },
    RectifiedFlow {},
    Trigonometric {},
}

impl TryFrom<Written> for Interpolant {
    type Error = MathError;

    fn try_from(written: Written) -> Result<Self, MathError> {
        let path = match written {
            Written::Edm {} => Self::Edm,
            Written::VpLinear { rate_min, rate_max } => Self::VpLinear { rate_min, rate_max },
            Written::VpCosine { offset } => Self::VpCosine { offset },
            Written::RectifiedFlow {} => Self::RectifiedFlow,
            Written::Trigonometric {} => Self::Trigonometric,
        };
        path.validate()?;
        Ok(path)
    }
}

/// Where on the path a state lies, x_t = α x₀ + β ε.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level<T = f64> {
    /// The factor α of the data.
    pub alpha: T,
    /// The factor β of the noise.
    pub beta: T,
}

impl<T: Real> Level<T> {
    /// The noise-to-signal ratio σ = β/α: the noise level of x_t/α.
    #[must_use]
    pub fn sigma(&self) -> T {
        self.beta.clone() / self.alpha.clone()
    }
}

impl Level {
    /// EDM's level at noise σ_t: α = 1, β = σ_t.
    #[must_use]
    pub fn edm(sigma_t: f64) -> Self {
        Self { alpha: 1.0, beta: sigma_t }
    }
}

/// The time derivatives of α and β.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// dα/dt.
    pub alpha: f64,
    /// dβ/dt.
    pub beta: f64,
}

impl Interpolant {
    /// Song et al.'s linear variance-preserving path.
    #[must_use]
    pub fn vp_linear() -> Self {
        Self::VpLinear { rate_min: 0.1, rate_max: 20.0 }
    }

    /// Nichol and Dhariwal's cosine path.
    #[must_use]
    pub fn vp_cosine() -> Self {
        Self::VpCosine { offset: 0.008 }
    }

    /// Checks the parameters of the path.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] unless 0 ≤ b₀ ≤ b₁ < ∞ and b₁ > 0, or 0 < s < ∞ for the offset.
    pub fn validate(&self) -> Result<(), MathError> {
        match *self {
            Self::VpLinear { rate_min, .. } if !(rate_min >= 0.0 && rate_min.is_finite()) => {
                let range = "0 or positive, and finite";
                Err(MathError::OutOfRange { what: "rate_min", value: rate_min, range })
            }
            Self::VpLinear { rate_min, rate_max }
                if !(rate_max > 0.0 && rate_max >= rate_min && rate_max.is_finite()) =>
            {
                let range = "positive, at least rate_min, and finite";
                Err(MathError::OutOfRange { what: "rate_max", value: rate_max, range })
            }
            Self::VpCosine { offset } if !(offset > 0.0 && offset.is_finite()) => {
                let range = "positive and finite";
                Err(MathError::OutOfRange { what: "offset", value: offset, range })
            }
            _ => Ok(()),
        }
    }

    /// The last time of the path; infinite for [`Interpolant::Edm`].
    #[must_use]
    pub fn end(&self) -> f64 {
        match self {
            Self::Edm => f64::INFINITY,
            Self::VpLinear { .. } | Self::VpCosine { .. } | Self::RectifiedFlow => 1.0,
            Self::Trigonometric => FRAC_PI_2,
        }
    }

    /// α and β at time t, for t from 0 to [`Interpolant::end`].
    #[must_use]
    pub fn level(&self, t: f64) -> Level {
        let (alpha, beta) = match *self {
            Self::Edm => (1.0, t),
            Self::VpLinear { rate_min, rate_max } => {
                let log_alpha_bar = -(0.5 * (rate_max - rate_min) * t + rate_min) * t;
                ((0.5 * log_alpha_bar).exp(), (-log_alpha_bar.exp_m1()).sqrt())
            }
            Self::VpCosine { offset } => {
                // 1 − α² = (cos²φ₀ − cos²φ)/cos²φ₀ as a product of sines keeps its digits as t → 0.
                let (start, turn) = cosine_angles(t, offset);
                let beta_squared = turn.sin() * (2.0 * start + turn).sin();
                ((start + turn).cos() / start.cos(), beta_squared.sqrt() / start.cos())
            }
            Self::RectifiedFlow => (1.0 - t, t),
            Self::Trigonometric => (t.cos(), t.sin()),
        };
        Level { alpha, beta }
    }

    /// dα/dt and dβ/dt at time t > 0.
    #[must_use]
    pub fn rate(&self, t: f64) -> Rate {
        let Level { alpha: a, beta: b } = self.level(t);
        let (alpha, beta) = match *self {
            Self::Edm => (0.0, 1.0),
            Self::VpLinear { rate_min, rate_max } => {
                let half_rate = 0.5 * (rate_min + (rate_max - rate_min) * t);
                (-half_rate * a, half_rate * a * a / b)
            }
            Self::VpCosine { offset } => {
                let (start, turn) = cosine_angles(t, offset);
                let d_alpha = -FRAC_PI_2 / (1.0 + offset) * (start + turn).sin() / start.cos();
                (d_alpha, -a * d_alpha / b)
            }
            Self::RectifiedFlow => (-1.0, 1.0),
            Self::Trigonometric => (-b, a),
        };
        Rate { alpha, beta }
    }

    /// The time at which β/α = σ, for σ ≥ 0; the inverse of `level(t).sigma()`.
    #[must_use]
    pub fn time_of_sigma(&self, sigma: f64) -> f64 {
        match *self {
            Self::Edm => sigma,
            // The root below is 0/0 there where b₀ = 0.
            Self::VpLinear { .. } if sigma == 0.0 => 0.0,
            Self::VpLinear { rate_min, rate_max } => {
                // (b₁ − b₀) t²/2 + b₀ t = ln(1 + σ²), by the root without cancellation.
                let target = (sigma * sigma).ln_1p();
                let slope = rate_max - rate_min;
                2.0 * target / (rate_min + (rate_min * rate_min + 2.0 * slope * target).sqrt())
            }
            Self::VpCosine { offset } => {
                // sin²φ = (σ² + sin²φ₀)/(1 + σ²) and sin²φ − sin²φ₀ = sin(φ − φ₀) sin(φ + φ₀):
                // neither loses digits, as acos near 1 and the difference φ − φ₀ would.
                let (start, _) = cosine_angles(0.0, offset);
                let angle = sigma.hypot(start.sin()).atan2(start.cos());
                let sine =
                    (sigma * start.cos()).powi(2) / ((1.0 + sigma * sigma) * (angle + start).sin());
                sine.atan2((angle - start).cos()) * (1.0 + offset) / FRAC_PI_2
            }
            Self::RectifiedFlow => sigma / (1.0 + sigma),
            Self::Trigonometric => sigma.atan(),
        }
    }
}

/// The angle φ₀ at which the cosine path starts and the turn φ − φ₀ since then.
pub(crate) fn cosine_angles(t: f64, offset: f64) -> (f64, f64) {
    let quarter = FRAC_PI_2 / (1.0 + offset);
    (quarter * offset, quarter * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Interpolant; 5] = [
        Interpolant::Edm,
        Interpolant::VpLinear { rate_min: 0.1, rate_max: 20.0 },
        Interpolant::VpCosine { offset: 0.008 },
        Interpolant::RectifiedFlow,
        Interpolant::Trigonometric,
    ];

    #[test]
    fn paths_start_at_the_data_and_end_in_noise() {
        for path in ALL {
            let start = path.level(0.0);
            assert!((start.alpha - 1.0).abs() < 1e-15 && start.beta.abs() < 1e-15, "{path:?}");
            if path.end().is_finite() {
                let end = path.level(path.end());
                // The linear path stops at ᾱ = e^−10.05, α = 6.6e-3; the others end in pure noise.
                let alpha_end =
                    if matches!(path, Interpolant::VpLinear { .. }) { 7e-3 } else { 1e-15 };
                assert!(end.alpha < alpha_end, "{path:?} {end:?}");
                assert!((end.beta - 1.0).abs() < 1e-4, "{path:?} {end:?}");
            }
        }
    }

    #[test]
    fn rates_are_the_derivatives() {
        let h = 1e-5;
        for path in ALL {
            for t in [0.05, 0.3, 0.6, 0.9] {
                let (before, after, rate) = (path.level(t - h), path.level(t + h), path.rate(t));
                // Central differences: error h²/6 · f''' + ε/h, below 1e-6 here.
                assert!(((after.alpha - before.alpha) / (2.0 * h) - rate.alpha).abs() < 1e-6);
                assert!(((after.beta - before.beta) / (2.0 * h) - rate.beta).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn time_inverts_sigma() {
        for path in ALL.into_iter().chain([Interpolant::VpLinear { rate_min: 0.0, rate_max: 20.0 }])
        {
            assert_eq!(path.time_of_sigma(0.0), 0.0, "{path:?}");
            for sigma in [2e-3, 0.05, 0.5, 1.0, 7.0, 80.0] {
                let t = path.time_of_sigma(sigma);
                let back = path.level(t).sigma();
                // Near the end α is a difference of order-one terms: relative error ε/α.
                // Elsewhere a handful of roundings.
                let bound = 16.0 * f64::EPSILON * (1.0 + sigma);
                assert!((back / sigma - 1.0).abs() < bound, "{path:?} {sigma} {back}");
            }
        }
    }

    #[test]
    fn bad_parameters_are_named() {
        assert!(ALL.iter().all(|path| path.validate().is_ok()));
        for path in [
            Interpolant::VpLinear { rate_min: -0.1, rate_max: 20.0 },
            Interpolant::VpLinear { rate_min: 3.0, rate_max: 2.0 },
            Interpolant::VpLinear { rate_min: 0.0, rate_max: f64::NAN },
            Interpolant::VpCosine { offset: 0.0 },
        ] {
            assert!(matches!(path.validate(), Err(MathError::OutOfRange { .. })), "{path:?}");
        }
    }

    #[test]
    fn configurations_are_checked() {
        for path in ALL {
            let text = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<Interpolant>(&text).unwrap(), path);
            let surplus = text.replace('}', r#","speed":1}"#);
            assert!(serde_json::from_str::<Interpolant>(&surplus).is_err(), "{surplus}");
        }
        let error = serde_json::from_str::<Interpolant>(r#"{"name": "vp-cosine", "offset": -1.0}"#);
        assert!(error.unwrap_err().to_string().starts_with("offset is -1: it must be positive"));
    }
}

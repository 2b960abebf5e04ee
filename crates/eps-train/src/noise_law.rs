//! The law of the noise level σ_t in training.

use eps_math::rng::Stream;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// ln σ_t ~ N(mean, deviation²), but for a share of draws that is log-uniform on a tail.
///
/// With [`Family::Logistic`] ln σ_t is logistic instead: with mean 0 and deviation 1 that is σ_t = t/(1 − t)
/// of a t uniform on [0, 1], the law of rectified flows (Liu et al. 2023).
///
/// EDM's law (Karras et al. 2022, Table 1) has mean −1.2, deviation 1.2 and no tail: it puts σ = 80
/// at 4.7 deviations, so that a network never sees the place where the one-call estimate is read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseLaw {
    /// The family of ln σ_t.
    #[serde(default, skip_serializing_if = "Family::is_normal")]
    pub family: Family,
    /// The mean of ln σ_t.
    pub mean: f64,
    /// The standard deviation of ln σ_t where it is normal, its scale where it is logistic.
    pub deviation: f64,
    /// The log-uniform share.
    #[serde(default)]
    pub tail: Option<Tail>,
    /// Draws are clamped to [σ_min, σ_max].
    pub sigma_min: f64,
    /// The largest σ_t a network is asked for.
    pub sigma_max: f64,
}

/// A family of laws of ln σ_t.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Normal.
    #[default]
    Normal,
    /// Logistic: mean + deviation · ln(t/(1 − t)) with t uniform on [0, 1].
    Logistic,
}

impl Family {
    fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// A log-uniform share of the draws on [from, σ_max].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// The share of the draws, in [0, 1].
    pub share: f64,
    /// The lower end of the tail.
    pub from: f64,
}

impl NoiseLaw {
    /// EDM's own law.
    #[must_use]
    pub fn edm() -> Self {
        Self {
            family: Family::Normal,
            mean: -1.2,
            deviation: 1.2,
            tail: None,
            sigma_min: 0.002,
            sigma_max: 80.0,
        }
    }

    /// Draws σ_t from the first values of a stream.
    #[must_use]
    pub fn draw(&self, stream: &Stream) -> f64 {
        let log_sigma = match self.tail {
            Some(Tail { share, from }) if stream.uniform(0) < share => {
                from.ln() + stream.uniform(1) * (self.sigma_max / from).ln()
            }
            // Index 1 of the normals uses the uniforms 2 and 3.
            _ => {
                let standard = match self.family {
                    Family::Normal => stream.normal(1),
                    Family::Logistic => {
                        let t = stream.uniform(2);
                        t.ln() - (-t).ln_1p()
                    }
                };
                self.mean + self.deviation * standard
            }
        };
        log_sigma.exp().clamp(self.sigma_min, self.sigma_max)
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`TrainError::Config`] names the first field out of its range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let config = |field, value, range| Err(TrainError::Config { field, value, range });
        if !self.mean.is_finite() {
            return config("noise_law.mean", self.mean, "finite");
        }
        if !(self.deviation >= 0.0 && self.deviation.is_finite()) {
            return config("noise_law.deviation", self.deviation, "at least 0");
        }
        if !(self.sigma_min > 0.0) {
            return config("noise_law.sigma_min", self.sigma_min, "positive");
        }
        if !(self.sigma_max > self.sigma_min && self.sigma_max.is_finite()) {
            return config("noise_law.sigma_max", self.sigma_max, "above sigma_min");
        }
        if let Some(Tail { share, from }) = self.tail {
            if !(0.0..=1.0).contains(&share) {
                return config("noise_law.tail.share", share, "in [0, 1]");
            }
            if !(from >= self.sigma_min && from < self.sigma_max) {
                return config("noise_law.tail.from", from, "in [sigma_min, sigma_max)");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_tail() {
        let n = 100_000;
        let law = NoiseLaw::edm();
        let logs: Vec<f64> = (0..n).map(|i| law.draw(&Stream::new(0, i, 0, 0)).ln()).collect();
        let mean = logs.iter().sum::<f64>() / n as f64;
        let variance = logs.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        // Five standard errors; the clamp at −6.2 and 4.4 is beyond four deviations.
        assert!((mean + 1.2).abs() < 5.0 * 1.2 / (n as f64).sqrt());
        assert!((variance - 1.44).abs() < 5.0 * 1.44 * (2.0 / n as f64).sqrt());

        let tailed = NoiseLaw { tail: Some(Tail { share: 0.25, from: 1.0 }), ..law };
        let far = (0..n).filter(|i| tailed.draw(&Stream::new(0, *i, 0, 0)) > 80f64.sqrt()).count();
        // Half of the tail's draws lie above √80, and 0.24 % of the others.
        let expected = 0.125 + 0.75 * 0.0024;
        let share = far as f64 / n as f64;
        assert!((share - expected).abs() < 5.0 * (expected / n as f64).sqrt(), "{share}");
    }

    #[test]
    fn the_logistic_law_is_uniform_in_the_time_of_a_rectified_flow() {
        let n = 100_000;
        let law =
            NoiseLaw { family: Family::Logistic, mean: 0.0, deviation: 1.0, ..NoiseLaw::edm() };
        for t in [0.1, 0.5, 0.9] {
            let time = |sigma: f64| sigma / (1.0 + sigma);
            let below = (0..n).filter(|i| time(law.draw(&Stream::new(0, *i, 0, 0))) < t).count();
            let share = below as f64 / n as f64;
            // Five standard errors.
            assert!((share - t).abs() < 5.0 * (t * (1.0 - t) / n as f64).sqrt(), "{t}: {share}");
        }
        let text = serde_json::to_string(&law).unwrap();
        assert_eq!(serde_json::from_str::<NoiseLaw>(&text).unwrap(), law);
        assert!(!serde_json::to_string(&NoiseLaw::edm()).unwrap().contains("family"));
    }
}

//! What a network reads and predicts, and how that becomes E[x₀ | x₀ + σ_t ε = μ].
//!
//! A network reads a state x_t = α x₀' + β ε and a time, where x₀' is the image on the network's own
//! range, and predicts x₀', ε or a mixture of the two. With h and c for scale and offset of the range,
//! x₀ = h x₀' + c, the noise level there is σ' = σ_t/h, and every prediction F is affine in the two:
//!
//! ```text
//! x_t = α (μ − c)/h      x₀' = a x_t + b F      D(μ) = h x₀' + c
//! ```

use serde::{Deserialize, Serialize};

use crate::error::check_positive;
use crate::timesteps::{Betas, Between, Timesteps};
use crate::{Interpolant, Level, MathError, Precondition};

/// What a network predicts of x_t = α x₀ + β ε.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prediction {
    /// The image x₀.
    X0,
    /// The noise ε (Ho et al. 2020).
    Epsilon,
    /// v = α ε − β x₀ (Salimans and Ho 2022), the velocity of a trigonometric flow.
    V,
    /// ε − x₀, the velocity of a rectified flow (Liu et al. 2023); x₀ − ε where the network's time
    /// grows towards the data.
    Velocity,
}

impl Prediction {
    /// a and b in x₀ = a x_t + b F.
    ///
    /// ```text
    /// x₀: F    ε: (x_t − β F)/α    v: (α x_t − β F)/(α² + β²)    velocity: (x_t − β F)/(α + β)
    /// ```
    fn factors(self, Level { alpha, beta }: Level) -> (f64, f64) {
        match self {
            Self::X0 => (0.0, 1.0),
            Self::Epsilon => (1.0 / alpha, -beta / alpha),
            Self::V => {
                let norm = alpha * alpha + beta * beta;
                (alpha / norm, -beta / norm)
            }
            Self::Velocity => {
                let sum = alpha + beta;
                (1.0 / sum, -beta / sum)
            }
        }
    }
}

/// How the state that a network reads is scaled; the noise-to-signal ratio β/α is σ for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateScale {
    /// α = 1, β = σ: EDM's variable.
    Unscaled,
    /// α = 1/√(1 + σ²): α² + β² = 1.
    VariancePreserving,
    /// α = 1/(1 + σ): α + β = 1.
    RectifiedFlow,
}

impl StateScale {
    /// α and β at a noise level.
    fn level(self, sigma: f64) -> Level {
        let alpha = match self {
            Self::Unscaled => 1.0,
            Self::VariancePreserving => 1.0 / 1f64.hypot(sigma),
            Self::RectifiedFlow => 1.0 / (1.0 + sigma),
        };
        Level { alpha, beta: alpha * sigma }
    }
}

/// What a network reads of the noise level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum TimeInput {
    /// σ itself.
    Sigma,
    /// ¼ ln σ, as EDM's networks do.
    QuarterLogSigma,
    /// The timestep of a chain, from 0 at the least noise.
    Timestep {
        /// The chain.
        betas: Betas,
        /// What is asked between two timesteps.
        between: Between,
    },
    /// The time t of a path that ends at T, mapped linearly: 0 to `at_data` and T to `at_noise`.
    Time {
        /// The path, whose level with β/α = σ is at time t.
        path: Interpolant,
        /// What the network reads at the data.
        at_data: f64,
        /// What it reads at the end of the path.
        at_noise: f64,
    },
}

/// The range of the images that a network knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PixelRange {
    /// [-1, 1], that of this project.
    #[serde(rename = "[-1, 1]")]
    MinusOneToOne,
    /// [0, 1].
    #[serde(rename = "[0, 1]")]
    ZeroToOne,
}

impl PixelRange {
    /// h and c: an image on this range is h x' + c on [-1, 1], and a noise level h σ'.
    #[must_use]
    pub fn scale_and_offset(self) -> (f64, f64) {
        match self {
            Self::MinusOneToOne => (1.0, 0.0),
            Self::ZeroToOne => (2.0, -1.0),
        }
    }
}

/// What a network reads and predicts.
///
/// # Example
/// ```
/// use eps_math::parameterisation::{
///     Parameterisation, PixelRange, Prediction, StateScale, TimeInput, Translation,
/// };
///
/// // A network of noise on EDM's variable: D(μ) = μ − σ F(μ, σ).
/// let network = Parameterisation {
///     prediction: Prediction::Epsilon,
///     state: StateScale::Unscaled,
///     time: TimeInput::Sigma,
///     range: PixelRange::MinusOneToOne,
/// };
/// let call = Translation::new(&network)?.call(3.0);
/// assert_eq!((call.input_scale, call.time), (1.0, 3.0));
/// assert_eq!((call.mu, call.prediction, call.constant), (1.0, -3.0, 0.0));
/// # Ok::<(), eps_math::MathError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameterisation {
    /// What it predicts.
    pub prediction: Prediction,
    /// How its state is scaled.
    pub state: StateScale,
    /// What it reads of the noise level.
    pub time: TimeInput,
    /// The range of its images.
    pub range: PixelRange,
}

impl Parameterisation {
    /// Of networks that predict the noise of images in [-1, 1] at the timesteps of a chain: DDPM's, guided-diffusion's
    /// and diffusers'.
    ///
    /// ```text
    /// D(μ) = μ − σ_t F(μ/√(1 + σ_t²), n(σ_t))
    /// ```
    #[must_use]
    pub fn noise(betas: Betas, between: Between) -> Self {
        Self {
            prediction: Prediction::Epsilon,
            state: StateScale::VariancePreserving,
            time: TimeInput::Timestep { betas, between },
            range: PixelRange::MinusOneToOne,
        }
    }
}

/// A parameterisation that was checked, with the table of its timesteps.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    prediction: Prediction,
    state: StateScale,
    range: PixelRange,
    time: Time,
}

/// A [`TimeInput`] with what is computed once.
#[derive(Debug, Clone, PartialEq)]
enum Time {
    Sigma,
    QuarterLogSigma,
    Timestep(Timesteps, Between),
    /// The path, its last time and noise level, and what the network reads at its ends.
    Path {
        path: Interpolant,
        end: (f64, f64),
        at_data: f64,
        at_noise: f64,
    },
}

impl Time {
    fn new(input: &TimeInput) -> Result<Self, MathError> {
        Ok(match *input {
            TimeInput::Sigma => Self::Sigma,
            TimeInput::QuarterLogSigma => Self::QuarterLogSigma,
            TimeInput::Timestep { betas, between } => {
                Self::Timestep(Timesteps::new(&betas)?, between)
            }
            TimeInput::Time { path, at_data, at_noise } => {
                path.validate()?;
                check_positive("the end of the path", path.end())?;
                let change = at_noise - at_data;
                if !(change.is_finite() && change != 0.0) {
                    let range = "finite, as at_data is, and another number";
                    return Err(MathError::OutOfRange { what: "at_noise", value: at_noise, range });
                }
                let end = (path.end(), path.level(path.end()).sigma());
                Self::Path { path, end, at_data, at_noise }
            }
        })
    }

    /// The level that the network is asked about and what it reads, for a level of its own range.
    fn ask(&self, sigma: f64) -> (f64, f64) {
        match self {
            Self::Sigma => (sigma, sigma),
            Self::QuarterLogSigma => (sigma, Precondition::noise_input(sigma)),
            Self::Timestep(timesteps, between) => (sigma, timesteps.ask(sigma, *between)),
            Self::Path { path, end, at_data, at_noise } => {
                let (last, sigma_end) = *end;
                let sigma = sigma.min(sigma_end);
                let t = if sigma < sigma_end { path.time_of_sigma(sigma) } else { last };
                (sigma, at_data + (at_noise - at_data) * (t / last))
            }
        }
    }
}

/// One call F(x, time) of a network for E[x₀ | x₀ + σ_t ε = μ], D(μ) = `mu` μ + `prediction` F +
/// `constant`, at x = `input_scale` μ + `input_offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Call {
    /// The factor of μ in what the network reads.
    pub input_scale: f64,
    /// What is added to that.
    pub input_offset: f64,
    /// The time that the network reads.
    pub time: f64,
    /// The factor of μ in the answer.
    pub mu: f64,
    /// The factor of the network's prediction.
    pub prediction: f64,
    /// What is added to both.
    pub constant: f64,
    /// The noise level that the network is asked about, on [-1, 1]: σ_t, or the end of its path.
    pub sigma_t: f64,
}

impl Translation {
    /// Checks a parameterisation and prepares its timesteps.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a number of a chain or path out of its range, a path without an
    /// end, and times that are not finite or the same at both ends.
    pub fn new(parameterisation: &Parameterisation) -> Result<Self, MathError> {
        let Parameterisation { prediction, state, time, range } = *parameterisation;
        Ok(Self { prediction, state, range, time: Time::new(&time)? })
    }

    /// The lowest and highest noise level that the network's time can tell, on [-1, 1].
    #[must_use]
    pub fn reach(&self) -> (f64, f64) {
        let (h, _) = self.range.scale_and_offset();
        let (low, high) = match &self.time {
            Time::Sigma | Time::QuarterLogSigma => (0.0, f64::INFINITY),
            Time::Timestep(steps, _) => (steps.sigma(0), steps.sigma(steps.count() - 1)),
            Time::Path { end: (_, sigma_end), .. } => (0.0, *sigma_end),
        };
        (h * low, h * high)
    }

    /// How the network is asked about a noise level σ_t > 0. Its input is scaled and its answer composed for that level,
    /// whichever timestep it is told ([`Between`]); beyond the end of a path it is asked about the end.
    ///
    /// # Units
    /// `sigma_t` on the [-1, 1] scale.
    #[must_use]
    pub fn call(&self, sigma_t: f64) -> Call {
        let (h, c) = self.range.scale_and_offset();
        let (sigma, time) = self.time.ask(sigma_t / h);
        let level = self.state.level(sigma);
        let (a, b) = self.prediction.factors(level);
        let sign = match (self.prediction, &self.time) {
            (Prediction::Velocity, Time::Path { at_data, at_noise, .. }) => {
                (at_noise - at_data).signum()
            }
            _ => 1.0,
        };
        let kept = a * level.alpha;
        Call {
            input_scale: level.alpha / h,
            input_offset: -level.alpha * c / h,
            time,
            mu: kept,
            prediction: h * b * sign,
            constant: c * (1.0 - kept),
            sigma_t: h * sigma,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: [TimeInput; 7] = [
        TimeInput::Sigma,
        TimeInput::QuarterLogSigma,
        TimeInput::Timestep {
            betas: Betas::Linear { first: 1e-4, last: 0.02, steps: 1000 },
            between: Between::Interpolate,
        },
        TimeInput::Timestep {
            betas: Betas::Cosine { offset: 0.008, steps: 1000 },
            between: Between::Nearest,
        },
        TimeInput::Time {
            path: Interpolant::VpLinear { rate_min: 0.1, rate_max: 20.0 },
            at_data: 0.0,
            at_noise: 999.0,
        },
        TimeInput::Time { path: Interpolant::RectifiedFlow, at_data: 0.0, at_noise: 1000.0 },
        TimeInput::Time { path: Interpolant::RectifiedFlow, at_data: 1.0, at_noise: 0.0 },
    ];

    fn every() -> Vec<Parameterisation> {
        let mut every = Vec::new();
        for prediction in [Prediction::X0, Prediction::Epsilon, Prediction::V, Prediction::Velocity]
        {
            for state in
                [StateScale::Unscaled, StateScale::VariancePreserving, StateScale::RectifiedFlow]
            {
                for range in [PixelRange::MinusOneToOne, PixelRange::ZeroToOne] {
                    every.extend(TIMES.map(|time| Parameterisation {
                        prediction,
                        state,
                        time,
                        range,
                    }));
                }
            }
        }
        every
    }

    /// The noise level that a network recognises by its time.
    fn recognised(time: &TimeInput, read: f64) -> f64 {
        match *time {
            TimeInput::Sigma => read,
            TimeInput::QuarterLogSigma => (4.0 * read).exp(),
            TimeInput::Timestep { betas, .. } => {
                let steps = Timesteps::new(&betas).unwrap();
                let (n, part) = (read.floor() as usize, read.fract());
                let next = steps.sigma((n + 1).min(steps.count() - 1));
                (steps.sigma(n).ln() * (1.0 - part) + next.ln() * part).exp()
            }
            TimeInput::Time { path, at_data, at_noise } => {
                path.level((read - at_data) / (at_noise - at_data)).sigma()
            }
        }
    }

    /// The exact network of a pixel x₀ ~ N(0.3, 0.25) on [-1, 1], in any parameterisation.
    fn exact(p: &Parameterisation, x_t: f64, read: f64) -> f64 {
        let (mean, deviation) = match p.range {
            PixelRange::MinusOneToOne => (0.3, 0.5),
            PixelRange::ZeroToOne => (0.65, 0.25),
        };
        let sigma = recognised(&p.time, read);
        let alpha = match p.state {
            StateScale::Unscaled => 1.0,
            StateScale::VariancePreserving => (1.0 + sigma * sigma).sqrt().recip(),
            StateScale::RectifiedFlow => (1.0 + sigma).recip(),
        };
        let weight = deviation * deviation / (deviation * deviation + sigma * sigma);
        let x_0 = mean + weight * (x_t / alpha - mean);
        let noise = (x_t - alpha * x_0) / (alpha * sigma);
        match p.prediction {
            Prediction::X0 => x_0,
            Prediction::Epsilon => noise,
            Prediction::V => alpha * (noise - sigma * x_0),
            Prediction::Velocity => match p.time {
                TimeInput::Time { at_data, at_noise, .. } if at_data > at_noise => x_0 - noise,
                _ => noise - x_0,
            },
        }
    }

    /// The level that the time of a call tells, on [-1, 1].
    fn told(p: &Parameterisation, call: &Call) -> f64 {
        p.range.scale_and_offset().0 * recognised(&p.time, call.time)
    }

    #[test]
    fn the_answer_is_the_mean_in_every_parameterisation() {
        for p in every() {
            let translation = Translation::new(&p).unwrap();
            for sigma_t in [0.03, 0.4, 1.0, 7.0, 80.0] {
                for mu in [-1.0, 0.2, 90.0] {
                    let call = translation.call(sigma_t);
                    let read = call.input_scale * mu + call.input_offset;
                    let f = exact(&p, read, call.time);
                    let found = call.mu * mu + call.prediction * f + call.constant;
                    let asked = call.sigma_t;
                    let expected = 0.3 + 0.25 / (0.25 + asked * asked) * (mu - 0.3);
                    // F multiplies σ: a dozen roundings of terms of σ |F| and μ. Times near the end
                    // of a path lose ε σ of σ.
                    let bound = 64.0 * f64::EPSILON * (1.0 + asked) * (1.0 + mu.abs() + asked);
                    // A network that is told σ' answers with factors of σ', none of which changes by more than
                    // itself in ln σ': that of μ, those of the state and of the noise in it.
                    let distance = match p.time {
                        TimeInput::Timestep { between: Between::Nearest, .. } => {
                            (told(&p, &call) / sigma_t).ln().abs()
                        }
                        _ => 0.0,
                    };
                    let bound = bound + 6.0 * (mu.abs() + 2.0) * distance * (2.0 * distance).exp();
                    assert!((found - expected).abs() < bound, "{p:?} {sigma_t} {mu}: {found}");
                    assert!((asked / sigma_t - 1.0).abs() < 1e-15, "{p:?} {call:?}");
                }
            }
        }
    }

    /// A Gaussian network that is told σ' at the level σ answers
    ///
    /// ```text
    /// μ − σ σ'/(s² + σ'²) (μ' − m),   μ' = μ √((1 + σ'²)/(1 + σ²))
    /// ```
    ///
    /// whose derivative in ln σ' is at most e^d (|μ' − m| + |μ'|) at a distance d in ln σ.
    #[test]
    fn the_nearest_timestep_is_off_in_proportion_to_its_distance() {
        for betas in [Betas::linear(), Betas::cosine()] {
            let p = Parameterisation {
                prediction: Prediction::Epsilon,
                state: StateScale::VariancePreserving,
                time: TimeInput::Timestep { betas, between: Between::Nearest },
                range: PixelRange::MinusOneToOne,
            };
            let translation = Translation::new(&p).unwrap();
            for i in 0..400 {
                let (sigma_t, mu) = (0.01 * 1.02f64.powi(i), 0.9);
                let call = translation.call(sigma_t);
                let f = exact(&p, call.input_scale * mu + call.input_offset, call.time);
                let found = call.mu * mu + call.prediction * f + call.constant;
                let expected = 0.3 + 0.25 / (0.25 + sigma_t * sigma_t) * (mu - 0.3);
                let distance = (told(&p, &call) / sigma_t).ln().abs();
                let slope = (2.0 * distance).exp() * (2.0 * mu + 0.3);
                assert!((found - expected).abs() <= slope * distance + 1e-12);
                assert_eq!((call.sigma_t, call.time.fract()), (sigma_t, 0.0));
                // Below σ = 0.1 the chain of Ho et al. has steps of up to 0.4 in ln σ.
                assert!(sigma_t < 0.1 || distance < 0.02, "{betas:?} {sigma_t}: {distance}");
            }
        }
    }

    #[test]
    fn levels_beyond_the_reach_are_asked_at_its_end() {
        let mut p = Parameterisation {
            prediction: Prediction::V,
            state: StateScale::VariancePreserving,
            time: TIMES[2],
            range: PixelRange::ZeroToOne,
        };
        let steps = Timesteps::new(&Betas::linear()).unwrap();
        let translation = Translation::new(&p).unwrap();
        assert_eq!(translation.reach(), (2.0 * steps.sigma(0), 2.0 * steps.sigma(999)));
        // At the end's timestep and about the level itself, as k-diffusion does.
        for (beyond, end) in [(0.001, translation.reach().0), (1e3, translation.reach().1)] {
            let call = translation.call(beyond);
            assert_eq!(call.time, translation.call(end).time);
            // From [-1, 1] to [0, 1] and back: exact.
            assert_eq!(call.sigma_t, beyond);
        }
        p.time = TIMES[4];
        let translation = Translation::new(&p).unwrap();
        // The linear path ends at ᾱ = e^−10.05, σ = 152.
        assert!((translation.reach().1 / 304.4 - 1.0).abs() < 1e-3, "{:?}", translation.reach());
        assert_eq!(translation.call(400.0).time, 999.0);
    }

    #[test]
    fn descriptions_are_checked() {
        for p in every() {
            let text = serde_json::to_string(&p).unwrap();
            assert_eq!(serde_json::from_str::<Parameterisation>(&text).unwrap(), p);
        }
        let error = |time| {
            let p = Parameterisation { time, ..every()[0] };
            Translation::new(&p).unwrap_err().to_string()
        };
        let of = |path, at_noise| TimeInput::Time { path, at_data: 1.0, at_noise };
        assert!(error(of(Interpolant::Edm, 2.0)).starts_with("the end of the path is inf"));
        let same = error(of(Interpolant::RectifiedFlow, 1.0));
        assert!(same.starts_with("at_noise is 1: it must be finite"), "{same}");
        for text in [
            r#"{"prediction":"x0","state":"unscaled","time":"sigma","range":"[-1, 1]","speed":1}"#,
            r#"{"prediction":"x0","state":"unscaled","time":"sigma","range":"[0, 255]"}"#,
        ] {
            assert!(serde_json::from_str::<Parameterisation>(text).is_err(), "{text}");
        }
    }
}

//! The noise levels of networks that know a finite number of timesteps, DDPM's chains.

use serde::{Deserialize, Serialize};

use crate::interpolant::cosine_angles;
use crate::{Interpolant, MathError};

/// The variances β_n that a chain x_n = √(1 − β_n) x_n₋₁ + √β_n ε adds in its steps n = 0 … N − 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Betas {
    /// Uniform in n; from 1e-4 to 0.02 in N = 1000 steps in Ho et al. 2020.
    Linear {
        /// β_0.
        first: f64,
        /// β_N₋₁.
        last: f64,
        /// N.
        steps: usize,
    },
    /// √β uniform in n: `scaled_linear` in diffusers, as latent diffusion's networks have it.
    ScaledLinear {
        /// β_0.
        first: f64,
        /// β_N₋₁.
        last: f64,
        /// N.
        steps: usize,
    },
    /// β_n = min(1 − ᾱ((n + 1)/N)/ᾱ(n/N), 0.999), ᾱ(t) = cos²(π/2 · (t + s)/(1 + s)) (Nichol and
    /// Dhariwal 2021, equation 17; s = 0.008 there).
    Cosine {
        /// s, which keeps the chain from starting too slowly.
        offset: f64,
        /// N.
        steps: usize,
    },
}

/// The most steps of a chain: published ones have 4000 at most.
const MOST_STEPS: usize = 100_000;

/// The most that a step of the cosine chain adds, so that ᾱ stays positive.
const LARGEST_BETA: f64 = 0.999;

impl Betas {
    /// The chain of Ho et al. 2020.
    #[must_use]
    pub fn linear() -> Self {
        Self::linear_of(1000)
    }

    /// That chain with other steps, whose last level it keeps, as guided-diffusion does: β from 0.1/N to 20/N.
    #[must_use]
    pub fn linear_of(steps: usize) -> Self {
        let scale = 1000.0 / steps as f64;
        Self::Linear { first: scale * 1e-4, last: scale * 0.02, steps }
    }

    /// The chain of Nichol and Dhariwal 2021.
    #[must_use]
    pub fn cosine() -> Self {
        Self::cosine_of(1000)
    }

    /// That chain with other steps.
    #[must_use]
    pub fn cosine_of(steps: usize) -> Self {
        Self::Cosine { offset: 0.008, steps }
    }

    /// β_0 … β_N₋₁.
    fn values(&self) -> Vec<f64> {
        match *self {
            Self::Linear { first, last, steps } => uniform(first, last, steps).collect(),
            Self::ScaledLinear { first, last, steps } => {
                uniform(first.sqrt(), last.sqrt(), steps).map(|root| root * root).collect()
            }
            Self::Cosine { offset, steps } => {
                let angle = |n: usize| {
                    let (start, turn) = cosine_angles(n as f64 / steps as f64, offset);
                    start + turn
                };
                let beta = |n: usize| {
                    // 1 − cos²b/cos²a as a product of sines keeps its digits where b − a is small.
                    let (a, b) = (angle(n), angle(n + 1));
                    (b - a).sin() * (b + a).sin() / a.cos().powi(2)
                };
                (0..steps).map(|n| beta(n).min(LARGEST_BETA)).collect()
            }
        }
    }

    fn validate(&self) -> Result<(), MathError> {
        let error = |what, value, range| Err(MathError::OutOfRange { what, value, range });
        let (Self::Linear { steps, .. }
        | Self::ScaledLinear { steps, .. }
        | Self::Cosine { steps, .. }) = *self;
        if !(2..=MOST_STEPS).contains(&steps) {
            return error("the number of timesteps", steps as f64, "from 2 to 100000");
        }
        match *self {
            Self::Linear { first, .. } | Self::ScaledLinear { first, .. }
                if !(first > 0.0 && first < 1.0) =>
            {
                error("the first beta", first, "between 0 and 1")
            }
            Self::Linear { first, last, .. } | Self::ScaledLinear { first, last, .. }
                if !(last >= first && last < 1.0) =>
            {
                error("the last beta", last, "at least the first and below 1")
            }
            Self::Cosine { offset, .. } if !(offset > 0.0 && offset.is_finite()) => {
                error("offset", offset, "positive and finite")
            }
            _ => Ok(()),
        }
    }

    /// The time τ in 0 to 1 at which the continuous path, that the chain discretises, has the level σ.
    fn path_time(&self, sigma: f64) -> f64 {
        match *self {
            Self::Linear { first, last, steps } => {
                let (rate_min, rate_max) = (first * steps as f64, last * steps as f64);
                Interpolant::VpLinear { rate_min, rate_max }.time_of_sigma(sigma)
            }
            // The rate is N (r + s τ)², r² the first β, (r + s)² the last; its integral is ln(1 + σ²).
            Self::ScaledLinear { first, last, steps } => {
                let (r, s) = (first.sqrt(), last.sqrt() - first.sqrt());
                let integral = sigma.powi(2).ln_1p() / steps as f64;
                let time = if s == 0.0 {
                    integral / first
                } else {
                    ((r.powi(3) + 3.0 * s * integral).cbrt() - r) / s
                };
                time.clamp(0.0, 1.0)
            }
            Self::Cosine { offset, .. } => Interpolant::VpCosine { offset }.time_of_sigma(sigma),
        }
    }
}

/// `steps` numbers, from `first` to `last` in equal steps.
fn uniform(first: f64, last: f64, steps: usize) -> impl Iterator<Item = f64> {
    (0..steps).map(move |n| first + n as f64 / (steps - 1) as f64 * (last - first))
}

/// Which timestep a network is told for a noise level between two timesteps. Its input's scale and the answer's formula are
/// those of the level itself; beyond an end the timestep is that of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Between {
    /// The timestep whose ln σ is nearest: k-diffusion's rule with `quantize`. The timestep's own level σ' has |ln σ'/σ|
    /// of at most half a step of the chain, and the answer is off in proportion to it.
    Nearest,
    /// The fractional timestep between the two, linear in ln σ: for networks that embed time by sines and cosines.
    /// k-diffusion's rule without `quantize`, and that of diffusers' schedulers with given levels.
    Interpolate,
    /// ⌊(N − 1) τ + ½⌋, τ the time of the continuous path that the chain discretises: DAPS's rule.
    /// Of Ho et al.'s chain τ = (√(0.01 + 39.8 ln(1 + σ²)) − 0.1)/19.9, and the timestep lies up to 4 above the
    /// nearest.
    Daps,
}

/// The noise levels σ_n = √((1 − ᾱ_n)/ᾱ_n), ᾱ_n = Π_i≤n (1 − β_i), of a chain's timesteps.
#[derive(Debug, Clone, PartialEq)]
pub struct Timesteps {
    log_sigmas: Vec<f64>,
    betas: Betas,
}

impl Timesteps {
    /// The timesteps of a chain.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] unless there are 2 to 100,000 steps with 0 < β_0 ≤ β_N₋₁ < 1, or
    /// 0 < s < ∞ for the offset.
    pub fn new(betas: &Betas) -> Result<Self, MathError> {
        betas.validate()?;
        let log_sigma = |log_alpha_bar: &mut f64, beta: f64| {
            *log_alpha_bar += (-beta).ln_1p();
            // ln √(1/ᾱ − 1), where 1/ᾱ may be beyond what f64 holds.
            Some(0.5 * ((-log_alpha_bar.exp_m1()).ln() - *log_alpha_bar))
        };
        let log_sigmas = betas.values().into_iter().scan(0.0, log_sigma).collect();
        Ok(Self { log_sigmas, betas: *betas })
    }

    /// σ_n; ∞ where it is beyond what f64 holds.
    ///
    /// # Panics
    /// If there is no timestep n.
    #[must_use]
    pub fn sigma(&self, n: usize) -> f64 {
        self.log_sigmas[n].exp()
    }

    /// The number N of timesteps.
    #[must_use]
    pub fn count(&self) -> usize {
        self.log_sigmas.len()
    }

    /// The timestep that a network is told for the level σ_t > 0; beyond an end of the chain that of the end.
    ///
    /// # Units
    /// The timestep counts from 0, at the least noise, to N − 1.
    #[must_use]
    pub fn ask(&self, sigma_t: f64, between: Between) -> f64 {
        let wanted = sigma_t.ln();
        let above = self.log_sigmas.partition_point(|log_sigma| *log_sigma < wanted);
        let last = self.count() - 1;
        if between == Between::Daps {
            let tau = self.betas.path_time(sigma_t);
            return (last as f64 * tau + 0.5).floor().min(last as f64);
        }
        if above == 0 || above == self.count() {
            return above.min(last) as f64;
        }
        let (low, high) = (self.log_sigmas[above - 1], self.log_sigmas[above]);
        let part = (wanted - low) / (high - low);
        let part = if between == Between::Nearest { (part + 0.5).floor() } else { part };
        (above - 1) as f64 + part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Latent diffusion's chain.
    const SCALED: Betas = Betas::ScaledLinear { first: 8.5e-4, last: 0.012, steps: 1000 };

    #[test]
    fn levels_are_those_of_the_products() {
        for betas in [Betas::linear(), SCALED, Betas::cosine()] {
            let timesteps = Timesteps::new(&betas).unwrap();
            let mut alpha_bar = 1.0;
            for (n, beta) in betas.values().into_iter().enumerate() {
                alpha_bar *= 1.0 - beta;
                let expected = ((1.0 - alpha_bar) / alpha_bar).sqrt();
                // 1 − ᾱ loses ε/(1 − ᾱ), 1e-12 in the first step, and a product of n factors n ε.
                let error = (timesteps.sigma(n) / expected - 1.0).abs();
                assert!(error < 1e-11, "{betas:?} {n}: {error}");
            }
            assert_eq!(timesteps.count(), 1000);
        }
        // Ho et al. 2020: L_T is next to nothing, ᾱ_999 = 4.04e-5.
        let linear = Timesteps::new(&Betas::linear()).unwrap();
        assert!((linear.sigma(0) - (1e-4f64 / (1.0 - 1e-4)).sqrt()).abs() < 1e-15);
        assert!((linear.sigma(999) - 157.4).abs() < 0.1, "{}", linear.sigma(999));
    }

    #[test]
    fn levels_beyond_what_f64_holds_are_asked_at_their_end() {
        // ln ᾱ = 100,000 ln(1 − 0.02) = −2020.
        let betas = Betas::Linear { first: 0.02, last: 0.02, steps: 100_000 };
        let timesteps = Timesteps::new(&betas).unwrap();
        for between in [Between::Nearest, Between::Interpolate] {
            let time = timesteps.ask(f64::MAX, between);
            // σ_n = ᾱ_n^−½ there, and f64 ends at 2¹⁰²⁴.
            let expected = 2.0 * 1024.0 * 2.0f64.ln() / -0.98f64.ln() - 1.0;
            assert!((time - expected).abs() < 0.5 + 1e-6, "{time}, {expected}");
        }
    }

    #[test]
    fn the_cosine_chain_follows_the_cosine_path() {
        // The product telescopes to ᾱ((n + 1)/N), the continuous path, until β is clipped.
        let timesteps = Timesteps::new(&Betas::cosine()).unwrap();
        for n in 0..990 {
            let expected = crate::Interpolant::vp_cosine().level((n + 1) as f64 / 1000.0).sigma();
            let error = (timesteps.sigma(n) / expected - 1.0).abs();
            // The sum of n logarithms, each rounded, against a cosine near π/2 that loses ε/α.
            assert!(error < 1e-11, "{n}: {error}");
        }
    }

    #[test]
    fn levels_are_asked_at_their_timestep() {
        for betas in [Betas::linear(), SCALED, Betas::cosine()] {
            let timesteps = Timesteps::new(&betas).unwrap();
            for n in 0..1000 {
                for between in [Between::Nearest, Between::Interpolate] {
                    let time = timesteps.ask(timesteps.sigma(n), between);
                    assert!((time - n as f64).abs() < 1e-9, "{n} {time}");
                }
            }
            for i in 0..500 {
                // From the chain's first level on, and beyond its last.
                let sigma = 2.0 * timesteps.sigma(0) * 1.013f64.powi(i);
                let time = timesteps.ask(sigma, Between::Nearest);
                let n = time as usize;
                let own = timesteps.sigma(n);
                let steps = [n.max(1) - 1, n, (n + 1).min(999)].map(|n| timesteps.sigma(n).ln());
                let half = 0.5 * (steps[2] - steps[1]).max(steps[1] - steps[0]);
                assert!(time.fract() == 0.0);
                assert!((own / sigma).ln().abs() <= half + 1e-12 || sigma > own && n == 999);
                let between = timesteps.ask(sigma, Between::Interpolate);
                assert!((between - time).abs() <= 0.5);
            }
            let ends =
                [timesteps.ask(1e-4, Between::Nearest), timesteps.ask(1e9, Between::Nearest)];
            assert_eq!(ends, [0.0, 999.0]);
        }
    }

    /// The levels of Ho et al.'s chain, and what public programs ask at others.
    #[test]
    fn the_linear_chain_is_asked_as_public_programs_do() {
        let timesteps = Timesteps::new(&Betas::linear()).unwrap();
        for (n, sigma) in [
            (0, 0.0100005000),
            (1, 0.0148309237),
            (2, 0.0189696194),
            (10, 0.0468854902),
            (100, 0.342259699),
            (250, 0.958033715),
            (500, 3.44296711),
            (750, 17.3786007),
            (998, 155.825194),
            (999, 157.407281),
        ] {
            // Nine digits are given.
            assert!((timesteps.sigma(n) / sigma - 1.0).abs() < 5e-9, "{n}: {}", timesteps.sigma(n));
        }
        for (sigma_t, [interpolated, nearest, daps]) in [
            (0.011, [0.2417, 0.0, 1.0]),
            (0.02, [2.2878, 2.0, 3.0]),
            (0.1, [26.4095, 26.0, 27.0]),
            (0.3, [87.5804, 88.0, 88.0]),
            (1.0, [258.0930, 258.0, 259.0]),
            (12.0, [699.7096, 700.0, 702.0]),
            (80.0, [929.6181, 930.0, 933.0]),
        ] {
            let time = timesteps.ask(sigma_t, Between::Interpolate);
            // Four decimals are given.
            assert!((time - interpolated).abs() <= 5.1e-5, "{sigma_t}: {time}");
            assert_eq!(timesteps.ask(sigma_t, Between::Nearest), nearest);
            assert_eq!(timesteps.ask(sigma_t, Between::Daps), daps);
        }
        assert_eq!(timesteps.ask(0.005, Between::Interpolate), 0.0);
        assert_eq!(timesteps.ask(900.0, Between::Interpolate), 999.0);
        assert_eq!(timesteps.ask(900.0, Between::Daps), 999.0);
    }

    /// Latent diffusion's levels are known: 0.0292 to 14.61 in 1000 timesteps.
    #[test]
    fn the_scaled_linear_chain_has_its_levels_and_its_path() {
        let timesteps = Timesteps::new(&SCALED).unwrap();
        assert!((timesteps.sigma(0) - 0.029_167).abs() < 1e-6, "{}", timesteps.sigma(0));
        assert!((timesteps.sigma(999) - 14.614_6).abs() < 1e-3, "{}", timesteps.sigma(999));
        for n in 0..1000 {
            // Timestep n ends at the path's time (n + 1)/N; of a sum and its integral the second order is left.
            let time = timesteps.ask(timesteps.sigma(n), Between::Daps);
            assert!((0.0..=2.0).contains(&(time - n as f64)), "{n}: {time}");
        }
        let constant = Betas::ScaledLinear { first: 0.01, last: 0.01, steps: 1000 };
        let timesteps = Timesteps::new(&constant).unwrap();
        let time = timesteps.ask(timesteps.sigma(499), Between::Daps);
        assert!((499.0..=504.0).contains(&time), "{time}");
    }

    #[test]
    fn bad_chains_are_named() {
        let error = |betas| Timesteps::new(&betas).unwrap_err().to_string();
        let linear = |first, last, steps| Betas::Linear { first, last, steps };
        assert!(error(linear(1e-4, 0.02, 1)).starts_with("the number of timesteps is 1"));
        assert!(error(linear(1e-4, 0.02, 1_000_000_000_000)).contains("from 2 to 100000"));
        assert!(error(linear(0.0, 0.02, 9)).starts_with("the first beta is 0"));
        assert!(error(linear(0.1, 0.02, 9)).starts_with("the last beta is 0.02"));
        assert!(error(Betas::Cosine { offset: f64::NAN, steps: 9 }).starts_with("offset is NaN"));
    }
}

//! How far a set of samples is from the exact posterior.

use std::fmt;

use eps_math::faer::Mat;
use eps_math::lmmse::sample_moments;
use eps_math::rng::Stream;
use eps_metrics::mmd::mmd2;
use eps_metrics::sliced::sliced_wasserstein2;
use eps_results::tournament::Distances;

use super::posed::Posed;
use crate::error::Result;

/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: usize = 128;

/// Samples of each set that MMD² takes: its cost grows with their square.
const MMD_SAMPLES: usize = 500;

/// A set with a coordinate beyond this has left the scale of images: it has no scores.
const BEYOND: f64 = 1e3;

/// The judge of one measurement.
pub(crate) struct Judge<'a> {
    posed: &'a Posed,
    deviation: f64,
    mean: Vec<f64>,
    covariance: Mat<f64>,
    directions: Vec<f64>,
}

impl fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("posed", self.posed).finish_non_exhaustive()
    }
}

impl<'a> Judge<'a> {
    /// The judge of a measurement; all judges of one dimension look along the same directions.
    ///
    /// # Errors
    /// A posterior without spread.
    pub(crate) fn new(posed: &'a Posed) -> Result<Self> {
        let n = posed.prior.dimension();
        Ok(Self {
            posed,
            deviation: posed.deviation()?,
            mean: posed.posterior.mean(),
            covariance: posed.posterior.covariance(),
            directions: Stream::named(0, "directions").normals(DIRECTIONS * n),
        })
    }

    /// Compares samples with exact samples, and their moments with those of the posterior.
    ///
    /// None where a sample is not finite or beyond a thousand times the scale of images.
    ///
    /// # Shapes
    /// `samples`, `exact`: [N, n]
    ///
    /// # Errors
    /// Sets of fewer than two samples.
    pub(crate) fn score(&self, samples: &[f64], exact: &[f64]) -> Result<Option<Distances>> {
        // Also false for NaN.
        if !samples.iter().all(|v| v.abs() <= BEYOND) {
            return Ok(None);
        }
        let n = self.mean.len();
        let few = |set: &'_ [f64]| set[..set.len().min(MMD_SAMPLES * n)].to_vec();
        let (mean, covariance) = sample_moments(n, samples.chunks_exact(n).map(<[f64]>::to_vec))?;
        let offset: f64 = mean.iter().zip(&self.mean).map(|(a, b)| (a - b) * (a - b)).sum();
        let scale = self.deviation * (n as f64).sqrt();
        Ok(Some(Distances {
            sliced_w2: self.sliced_w2(samples, exact)?,
            mmd2: mmd2(&few(samples), &few(exact), n)?.mmd2,
            mean_error: offset.sqrt() / scale,
            covariance_error: (&covariance - &self.covariance).norm_l2()
                / self.covariance.norm_l2(),
            mode_error: self.mode_error(samples),
        }))
    }

    /// [`Distances::sliced_w2`] alone, infinite where [`Judge::score`] is none.
    ///
    /// # Errors
    /// Empty sets.
    pub(crate) fn sliced_w2(&self, samples: &[f64], exact: &[f64]) -> Result<f64> {
        if !samples.iter().all(|v| v.abs() <= BEYOND) {
            return Ok(f64::INFINITY);
        }
        let n = self.mean.len();
        Ok(sliced_wasserstein2(samples, exact, &self.directions, n)? / self.deviation)
    }

    fn mode_error(&self, samples: &[f64]) -> Option<f64> {
        let weights = self.posed.posterior.weights();
        if weights.len() == 1 {
            return None;
        }
        let n = self.mean.len();
        let mut found = vec![0.0; weights.len()];
        for x in samples.chunks_exact(n) {
            let given = self.posed.prior.responsibilities(x);
            found.iter_mut().zip(given).for_each(|(sum, r)| *sum += r);
        }
        let share = n as f64 / samples.len() as f64;
        let differences = found.iter().zip(&weights).map(|(sum, w)| (sum * share - w).abs());
        Some(0.5 * differences.sum::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use eps_results::tournament::{Distance, PriorLaw, Space, TournamentSetting};

    use super::*;
    use crate::tournament::posed::{Purpose, draw};

    fn posed(law: PriorLaw) -> Posed {
        let setting =
            TournamentSetting { space: Space::Plane, law, task: None, sigma_y: 0.2, border: None };
        draw(&setting, Purpose::Test, 0, 0).unwrap()
    }

    #[test]
    fn exact_samples_score_near_zero() {
        for law in [PriorLaw::Gaussian, PriorLaw::Mixture] {
            let posed = posed(law);
            let judge = Judge::new(&posed).unwrap();
            let (a, b) = (posed.exact_samples(2000, 0), posed.exact_samples(2000, 1));
            let score = judge.score(&a, &b).unwrap().unwrap();
            // 1/√2000 = 0.022: five times that, with room for heavy tails of W2.
            for distance in Distance::ALL {
                assert!(distance.of(&score).unwrap_or(0.0).abs() < 0.2, "{distance:?} {score:?}");
            }
            assert_eq!(score.mode_error.is_none(), law == PriorLaw::Gaussian);
            assert_eq!(judge.score(&a, &b).unwrap(), Some(score));
        }
    }

    #[test]
    fn a_shift_is_seen_in_units_of_the_posterior() {
        let posed = posed(PriorLaw::Gaussian);
        let judge = Judge::new(&posed).unwrap();
        let exact = posed.exact_samples(500, 0);
        let shift = 3.0 * posed.deviation().unwrap();
        // The same shift of both coordinates: its mean square along a direction is shift².
        let moved: Vec<f64> = exact.iter().map(|v| v + shift).collect();
        let score = judge.score(&moved, &exact).unwrap().unwrap();
        assert!((score.sliced_w2 - 3.0).abs() < 0.5, "{score:?}");
        assert!((score.mean_error - 3.0).abs() < 0.2 && score.mmd2 > 0.5, "{score:?}");
    }

    #[test]
    fn the_prior_has_other_weights_than_the_posterior() {
        let posed = posed(PriorLaw::Mixture);
        let judge = Judge::new(&posed).unwrap();
        let weights = posed.posterior.weights();
        let apart: f64 =
            weights.iter().zip(posed.prior.weights()).map(|(a, b)| (a - b).abs()).sum();
        let draw = |i| posed.prior.sample(&Stream::new(7, i, 0, 0));
        let samples: Vec<f64> = (0..4000).flat_map(draw).collect();
        let score = judge.score(&samples, &posed.exact_samples(4000, 0)).unwrap().unwrap();
        assert!((score.mode_error.unwrap() - 0.5 * apart).abs() < 0.05, "{score:?} {apart}");
    }

    #[test]
    fn what_left_the_scale_has_no_score() {
        let posed = posed(PriorLaw::Gaussian);
        let judge = Judge::new(&posed).unwrap();
        let exact = posed.exact_samples(10, 0);
        for value in [f64::NAN, f64::INFINITY, -2e3] {
            let mut samples = exact.clone();
            samples[3] = value;
            assert_eq!(judge.score(&samples, &exact).unwrap(), None);
            assert_eq!(judge.sliced_w2(&samples, &exact).unwrap(), f64::INFINITY);
        }
    }
}

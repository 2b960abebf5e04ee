//! The methods of the experiment and what they return.

use std::ops::Range;

use anyhow::{Context as _, Result};
use eps_math::operator::{LinearOperator as _, OperatorSpec};
use eps_math::{LinearMmse, Schedule};
use eps_model::NetworkDenoiser;
use eps_sample::{CountNfe, Eps, NoiseKeys, Solver};
use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::Serialize;
use tch::{Device, Kind};

use super::moments::GaussianPrior;
use super::networks::Scope;
use super::problem::Problem;
use crate::progress::Watched;

/// The paper's sampler: EDM's deterministic Euler steps, as many as network calls.
pub(crate) const SOLVER: Solver = Solver::Euler;

/// A method of restoration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub(crate) enum Method {
    /// The pseudo-inverse A†y.
    PseudoInverse,
    /// The linear MMSE estimate of a Gaussian prior with the training set's moments.
    LinearMmse,
    /// Exact posterior sampling.
    Eps {
        /// Which network.
        network: Scope,
        /// Network calls a sample.
        calls: usize,
    },
}

impl Method {
    /// The name in files.
    pub(crate) fn slug(self) -> String {
        match self {
            Self::PseudoInverse => "pseudo-inverse".to_owned(),
            Self::LinearMmse => "linear-mmse".to_owned(),
            Self::Eps { network: Scope::PerTask, calls } => format!("eps-{calls}"),
            Self::Eps { network: Scope::AllTasks, calls } => format!("eps-all-tasks-{calls}"),
        }
    }

    /// The name in tables.
    pub(crate) fn label(self) -> String {
        let unit = |calls| if calls == 1 { "call" } else { "calls" };
        match self {
            Self::PseudoInverse => "A†y".to_owned(),
            Self::LinearMmse => "linear MMSE".to_owned(),
            Self::Eps { network, calls } => {
                format!("{}, {calls} {}", network.label(), unit(calls))
            }
        }
    }

    /// Network calls a sample; none for estimates without a network.
    pub(crate) fn calls(self) -> usize {
        match self {
            Self::PseudoInverse | Self::LinearMmse => 0,
            Self::Eps { calls, .. } => calls,
        }
    }
}

/// What a method returns for some images.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Restoration {
    /// `[N, J, C, H, W]`, clipped to [-1, 1].
    pub(crate) samples: Vec<f32>,
    /// J, the number of samples of each image; 1 for estimates.
    pub(crate) per_image: usize,
    /// Network evaluations a sample, as counted.
    pub(crate) nfe: usize,
    /// Seconds that all samples took.
    pub(crate) seconds: f64,
}

impl Restoration {
    fn clipped(values: impl IntoIterator<Item = f64>) -> Vec<f32> {
        values.into_iter().map(|value| value.clamp(-1.0, 1.0) as f32).collect()
    }

    /// Adds the restorations of further images.
    pub(crate) fn extend(&mut self, other: Self) {
        assert_eq!((self.per_image, self.nfe), (other.per_image, other.nfe), "one method");
        self.samples.extend(other.samples);
        self.seconds += other.seconds;
    }
}

/// A†y of some images.
pub(crate) fn pseudo_inverse(problem: &Problem, images: Range<usize>) -> Restoration {
    let start = std::time::Instant::now();
    let estimates: Vec<Vec<f64>> = images
        .into_par_iter()
        .map(|i| problem.set.operator(i).pseudo_inverse(problem.set.measurement(i)))
        .collect();
    Restoration {
        samples: Restoration::clipped(estimates.into_iter().flatten()),
        per_image: 1,
        nfe: 0,
        seconds: start.elapsed().as_secs_f64(),
    }
}

/// The linear MMSE estimates of some images; operators that repeat are prepared once.
///
/// # Errors
/// A prior that does not fit the images.
pub(crate) fn linear_mmse(
    problem: &Problem,
    images: Range<usize>,
    prior: &GaussianPrior,
) -> Result<Restoration> {
    let start = std::time::Instant::now();
    let mut groups: Vec<(OperatorSpec, Vec<usize>)> = Vec::new();
    for i in images.clone() {
        let spec = problem.set.operator(i).spec();
        match groups.iter_mut().find(|(known, _)| *known == spec) {
            Some((_, members)) => members.push(i),
            None => groups.push((spec, vec![i])),
        }
    }
    let mut estimates = groups
        .par_iter()
        .map(|(_, members)| {
            let operator = problem.set.operator(members[0]);
            let estimator =
                LinearMmse::new(&prior.mean, &prior.covariance, operator, problem.set.sigma_y())?;
            let estimate = |i: &usize| (*i, estimator.estimate(problem.set.measurement(*i)));
            Ok(members.iter().map(estimate).collect::<Vec<_>>())
        })
        .collect::<Result<Vec<_>, eps_math::MathError>>()
        .context("the linear MMSE estimate cannot be prepared")?
        .concat();
    estimates.sort_unstable_by_key(|(i, _)| *i);
    Ok(Restoration {
        samples: Restoration::clipped(estimates.into_iter().flat_map(|(_, estimate)| estimate)),
        per_image: 1,
        nfe: 0,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// A network with how it is sampled.
#[derive(Debug)]
pub(crate) struct Sampler<'a> {
    /// The network.
    pub(crate) network: &'a NetworkDenoiser,
    /// The grid of noise levels.
    pub(crate) schedule: &'a Schedule,
    /// The seed of the samples' noise.
    pub(crate) seed: u64,
    /// Samples that are drawn at once, those of an image together.
    pub(crate) batch: usize,
    /// Where the network runs.
    pub(crate) device: Device,
    /// Advanced at every network call.
    pub(crate) bar: &'a ProgressBar,
}

/// The images whose samples are drawn at once.
pub(crate) fn images_at_once(batch: usize, samples: usize) -> usize {
    (batch / samples).max(1)
}

impl Sampler<'_> {
    /// Network calls in all to draw `samples` samples of each of some images by `calls` calls each.
    pub(crate) fn calls(batch: usize, images: usize, samples: usize, calls: usize) -> usize {
        images.div_ceil(images_at_once(batch, samples)) * calls
    }

    /// Makes libtorch prepare what the first call of a batch needs, so that it is not timed.
    ///
    /// # Errors
    /// As [`Sampler::draw`].
    pub(crate) fn warm_up(
        &self,
        problem: &Problem,
        images: Range<usize>,
        samples: usize,
    ) -> Result<()> {
        let unseen = Sampler { bar: &ProgressBar::hidden(), ..*self };
        let end = images.end.min(images.start + images_at_once(self.batch, samples));
        unseen.draw(problem, images.start..end, samples, 1).map(drop)
    }

    /// Draws `samples` posterior samples of each of some images by `calls` network calls.
    ///
    /// A sample's noise depends on the seed, the image's number in the test set and the sample's
    /// number alone.
    ///
    /// # Errors
    /// A chain that leaves the finite numbers, and those of libtorch.
    pub(crate) fn draw(
        &self,
        problem: &Problem,
        images: Range<usize>,
        samples: usize,
        calls: usize,
    ) -> Result<Restoration> {
        let at_once = images_at_once(self.batch, samples);
        let mut batches = images.clone().step_by(at_once).map(|start| {
            self.draw_batch(problem, start..images.end.min(start + at_once), samples, calls)
        });
        let mut all = batches.next().context("no images are asked for")??;
        for batch in batches {
            all.extend(batch?);
        }
        Ok(all)
    }

    fn draw_batch(
        &self,
        problem: &Problem,
        images: Range<usize>,
        samples: usize,
        calls: usize,
    ) -> Result<Restoration> {
        let start = std::time::Instant::now();
        let measurement = problem.measurement(images.clone(), samples, self.device)?;
        let denoiser = CountNfe::new(Watched::new(self.network, self.bar));
        let estimator = Eps { denoiser: &denoiser, measurement: &measurement };
        let items = problem.images[images]
            .iter()
            .flat_map(|image| (0..samples as u64).map(|sample| (*image as u64, sample)));
        let keys = NoiseKeys::new(self.seed, items.collect());
        let sigmas = self.schedule.sigmas(SOLVER.steps(calls)?)?;
        let drawn = SOLVER.sample(&estimator, &sigmas, &keys, problem.set.shape(), self.device)?;
        let values = drawn.to_device(Device::Cpu).to_kind(Kind::Double).flatten(0, -1);
        Ok(Restoration {
            samples: Restoration::clipped(Vec::<f64>::try_from(values)?),
            per_image: samples,
            nfe: denoiser.nfe(),
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

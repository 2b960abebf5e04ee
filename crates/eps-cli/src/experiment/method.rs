//! The methods of the experiments and what they return; those without a network are here.

use std::ops::Range;
use std::time::Instant;

use anyhow::{Context as _, Result};
use eps_math::operator::{LinearOperator as _, OperatorSpec};
use eps_math::pivot::mu_star;
use eps_math::{Level, LinearMmse, Task};
use eps_sample::Solver;
use rayon::prelude::*;
use serde::Serialize;

use super::contender::Contender;
use super::moments::GaussianPrior;
use super::networks::{NetworkUse, PRIOR, Scope};
use super::problem::Problem;
use super::variants::{Training, Variant};

/// A method of restoration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub(crate) enum Method {
    /// The pseudo-inverse A†y.
    PseudoInverse,
    /// The Wiener filter: the linear MMSE estimate of white images.
    Wiener,
    /// The linear MMSE estimate of a Gaussian prior with the training set's moments.
    LinearMmse,
    /// Samples of the prior, without a measurement: what the bare denoiser costs.
    Unconditional {
        /// Network calls a sample.
        calls: usize,
    },
    /// Exact posterior sampling.
    Eps {
        /// Which network.
        network: Scope,
        /// Network calls a sample.
        calls: usize,
    },
    /// Exact posterior sampling by another solver than the paper's.
    EpsBy {
        /// Which network.
        network: Scope,
        /// Which solver.
        by: OtherSolver,
        /// Network calls a sample.
        calls: usize,
    },
    /// A conditional network asked at the state.
    Palette {
        /// Which network.
        network: Scope,
        /// Network calls a sample.
        calls: usize,
    },
    /// A network of an experiment's own.
    Variant {
        /// Which network.
        variant: Variant,
        /// Network calls a sample.
        calls: usize,
    },
    /// The frozen prior asked at the pivot.
    ZeroShot {
        /// Network calls a sample.
        calls: usize,
    },
    /// A training-free method on the frozen prior.
    Contender {
        /// Which method.
        contender: Contender,
        /// Network calls a sample.
        calls: usize,
    },
}

/// A solver beside the paper's deterministic Euler steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OtherSolver {
    /// EDM's deterministic solver of second order, an odd number of calls.
    Heun,
    /// DDIM with η = 1: as much fresh noise as a Markov chain can have.
    Ddim,
}

impl OtherSolver {
    fn name(self) -> &'static str {
        match self {
            Self::Heun => "heun",
            Self::Ddim => "ddim",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Heun => "Heun's method",
            Self::Ddim => "DDIM, η = 1",
        }
    }

    /// The solver.
    pub(crate) fn solver(self) -> Solver {
        match self {
            Self::Heun => Solver::Heun,
            Self::Ddim => Solver::Ddim { eta: 1.0 },
        }
    }
}

impl Method {
    /// The name in files.
    pub(crate) fn slug(self) -> String {
        let of = |scope| match scope {
            Scope::PerTask => "",
            Scope::AllTasks => "-all-tasks",
        };
        match self {
            Self::PseudoInverse => "pseudo-inverse".to_owned(),
            Self::Wiener => "wiener".to_owned(),
            Self::LinearMmse => "linear-mmse".to_owned(),
            Self::Unconditional { calls } => format!("unconditional-{calls}"),
            Self::Eps { network, calls } => format!("eps{}-{calls}", of(network)),
            Self::EpsBy { network, by, calls } => {
                format!("eps{}-{}-{calls}", of(network), by.name())
            }
            Self::Palette { network, calls } => format!("palette{}-{calls}", of(network)),
            Self::Variant { variant, calls } => format!("{}-{calls}", variant.name),
            Self::ZeroShot { calls } => format!("zero-shot-{calls}"),
            Self::Contender { contender, calls } => format!("{}-{calls}", contender.name()),
        }
    }

    /// The name by which it is chosen.
    pub(crate) fn name(self) -> String {
        match self {
            Self::PseudoInverse | Self::Wiener | Self::LinearMmse => self.slug(),
            Self::Unconditional { .. } => "unconditional".to_owned(),
            Self::Eps { .. } => "eps".to_owned(),
            Self::EpsBy { by, .. } => format!("eps-{}", by.name()),
            Self::Palette { .. } => "palette".to_owned(),
            Self::Variant { variant, .. } => variant.name.to_owned(),
            Self::ZeroShot { .. } => "zero-shot".to_owned(),
            Self::Contender { contender, .. } => contender.name(),
        }
    }

    /// The name in tables without the number of calls.
    pub(crate) fn family(self) -> String {
        let of = |name: &str, scope| match scope {
            Scope::PerTask => name.to_owned(),
            Scope::AllTasks => format!("{name} for all tasks"),
        };
        match self {
            Self::PseudoInverse => "A†y".to_owned(),
            Self::Wiener => "Wiener filter".to_owned(),
            Self::LinearMmse => "linear MMSE".to_owned(),
            Self::Unconditional { .. } => "bare denoiser".to_owned(),
            Self::Eps { network, .. } => of("EPS", network),
            Self::EpsBy { network, by, .. } => format!("{} by {}", of("EPS", network), by.label()),
            Self::Palette { network, .. } => of("Palette", network),
            Self::Variant { variant, .. } => variant.label.to_owned(),
            Self::ZeroShot { .. } => "zero-shot EPS".to_owned(),
            Self::Contender { contender, .. } => contender.label().to_owned(),
        }
    }

    /// The name in tables.
    pub(crate) fn label(self) -> String {
        match self.calls() {
            0 => self.family(),
            1 => format!("{}, 1 call", self.family()),
            calls => format!("{}, {calls} calls", self.family()),
        }
    }

    /// Network calls a sample; none for estimates without a network.
    pub(crate) fn calls(self) -> usize {
        match self {
            Self::PseudoInverse | Self::Wiener | Self::LinearMmse => 0,
            Self::Unconditional { calls }
            | Self::Eps { calls, .. }
            | Self::EpsBy { calls, .. }
            | Self::Palette { calls, .. }
            | Self::Variant { calls, .. }
            | Self::ZeroShot { calls }
            | Self::Contender { calls, .. } => calls,
        }
    }

    /// Where it stands in a curve against training steps, if anywhere.
    pub(crate) fn training(self) -> Option<Training> {
        match self {
            Self::Variant { variant, .. } => variant.training,
            Self::ZeroShot { .. } => Some(Training { line: Training::EPS, steps: 0 }),
            Self::Unconditional { .. } => Some(Training { line: Training::PALETTE, steps: 0 }),
            _ => None,
        }
    }

    /// The network that restores a task, by name and use; none for estimates without one.
    pub(crate) fn network(self, task: Task) -> Option<(String, NetworkUse)> {
        match self {
            Self::PseudoInverse | Self::Wiener | Self::LinearMmse => None,
            Self::Eps { network, .. } | Self::EpsBy { network, .. } => {
                Some((network.network(task).to_owned(), NetworkUse::Eps))
            }
            Self::Palette { network, .. } => {
                Some((format!("palette-{}", network.network(task)), NetworkUse::Palette))
            }
            Self::Variant { variant, .. } => Some((variant.network(task), variant.network_use)),
            Self::Unconditional { .. } | Self::ZeroShot { .. } | Self::Contender { .. } => {
                Some((PRIOR.to_owned(), NetworkUse::Prior))
            }
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
    /// Backward passes through the network a sample, as counted.
    pub(crate) backward_passes: usize,
    /// Seconds that all samples took.
    pub(crate) seconds: f64,
}

impl Restoration {
    /// Values as a restoration stores them.
    pub(crate) fn clipped(values: impl IntoIterator<Item = f64>) -> Vec<f32> {
        values.into_iter().map(|value| value.clamp(-1.0, 1.0) as f32).collect()
    }

    /// One estimate an image, without a network.
    fn estimates(values: impl IntoIterator<Item = f64>, start: Instant) -> Self {
        Self {
            samples: Self::clipped(values),
            per_image: 1,
            nfe: 0,
            backward_passes: 0,
            seconds: start.elapsed().as_secs_f64(),
        }
    }

    /// The first `count` samples of each image, all where there are no more; `len` values are one sample.
    pub(crate) fn first(&self, count: usize, len: usize) -> Self {
        let per_image = count.min(self.per_image);
        let images = self.samples.chunks_exact(self.per_image * len);
        Self {
            samples: images.flat_map(|samples| &samples[..per_image * len]).copied().collect(),
            per_image,
            seconds: self.seconds * per_image as f64 / self.per_image as f64,
            ..*self
        }
    }

    /// Adds the restorations of further images.
    pub(crate) fn extend(&mut self, other: Self) {
        let kind = |of: &Self| (of.per_image, of.nfe, of.backward_passes);
        assert_eq!(kind(self), kind(&other), "one method");
        self.samples.extend(other.samples);
        self.seconds += other.seconds;
    }
}

/// A†y of some images.
pub(crate) fn pseudo_inverse(problem: &Problem, images: Range<usize>) -> Restoration {
    let start = Instant::now();
    let estimates: Vec<Vec<f64>> = images
        .into_par_iter()
        .map(|i| problem.set.operator(i).pseudo_inverse(problem.set.measurement(i)))
        .collect();
    Restoration::estimates(estimates.into_iter().flatten(), start)
}

/// The Wiener filter of some images: the posterior mean for white images x₀ ~ N(m 1, v I), with the
/// mean m and the variance v of all pixels of the training set.
///
/// It is the pivot of the state m 1 at the noise level √v.
pub(crate) fn wiener(
    problem: &Problem,
    images: Range<usize>,
    prior: &GaussianPrior,
) -> Restoration {
    let start = std::time::Instant::now();
    let n = prior.mean.len();
    let mean = prior.mean.iter().sum::<f64>() / n as f64;
    let between: f64 = prior.mean.iter().map(|value| (value - mean).powi(2)).sum();
    let within: f64 = (0..n).map(|i| prior.covariance[(i, i)]).sum();
    let level = Level::edm(((between + within) / n as f64).sqrt());
    let state = vec![mean; n];
    let estimates: Vec<Vec<f64>> = images
        .into_par_iter()
        .map(|i| {
            let (operator, y) = (problem.set.operator(i), problem.set.measurement(i));
            mu_star(operator, y, problem.set.sigma_y(), &state, &level)
        })
        .collect();
    Restoration::estimates(estimates.into_iter().flatten(), start)
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
    let start = Instant::now();
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
    Ok(Restoration::estimates(estimates.into_iter().flat_map(|(_, estimate)| estimate), start))
}

//! Drawing samples: a method with its network, a batch of measurements, noise by seed.

use std::ops::{ControlFlow, Range};
use std::time::Instant;

use eps::measurement;
use eps::network::Network;
use eps::workers::Stop;
use eps_math::{Interpolant, Schedule};
use eps_results::{Method, NetworkUse, OtherSolver, Scope};
use eps_sample::{
    Churn, CountNfe, Eps, Estimator, NoiseKeys, Palette, Prior, Progress, Sample as _, Solver,
    ZeroShot,
};
use tch::{Device, Kind, Tensor};

use crate::error::{During as _, ExperimentError, Result};
use crate::listener::{Listener, Silent, WITH_BACKWARD};
use crate::problem::Problem;
use crate::restoration::Restored;
use eps::contender::{self, annealing, differentiates};

/// The paper's sampler: EDM's deterministic Euler steps, as many as network calls.
pub(crate) const SOLVER: Solver = Solver::Euler;

/// A method and how it is run, by any number of threads, each with a network of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampler<'a> {
    /// The method.
    pub(crate) method: Method,
    /// The constant of a contender.
    pub(crate) constant: f64,
    /// The grid of noise levels of EPS and Palette.
    pub(crate) schedule: &'a Schedule,
    /// The seed of the samples' noise.
    pub(crate) seed: u64,
    /// Samples of each image.
    pub(crate) samples: usize,
    /// Samples that are drawn at once.
    pub(crate) batch: usize,
    /// Where the network runs.
    pub(crate) device: Device,
    /// Told of every network call.
    pub(crate) listener: &'a dyn Listener,
}

/// The forward passes in whose time a method makes a network call.
#[must_use]
pub fn passes_a_call(method: Method) -> u64 {
    match method {
        Method::Contender { contender, .. } if differentiates(contender) => WITH_BACKWARD,
        _ => 1,
    }
}

/// How many steps of progress a method takes for `samples` samples of each of some images.
pub(crate) fn progress_steps(method: Method, batch: usize, images: usize, samples: usize) -> u64 {
    ((images * samples).div_ceil(batch) * method.calls()) as u64 * passes_a_call(method)
}

/// The solver of a name.
fn solver_of(other: OtherSolver) -> Solver {
    match other {
        OtherSolver::Heun => Solver::Heun,
        OtherSolver::Ddim => Solver::Ddim { eta: 1.0 },
        OtherSolver::Churn => Solver::Churn(Churn::IMAGENET_64),
        OtherSolver::Multistep => Solver::MULTISTEP,
        OtherSolver::HalfCorrected => Solver::HALF_CORRECTED,
    }
}

/// A sample: the image's place in the problem, and the sample's number.
pub(crate) type Item = (usize, u64);

impl Sampler<'_> {
    /// Makes libtorch prepare what the first call of a batch needs, so that it is not timed.
    ///
    /// # Errors
    /// As [`Sampler::draw`].
    pub(crate) fn warm_up(
        &self,
        network: &Network,
        problem: &Problem,
        items: &[Item],
    ) -> Result<()> {
        let method = Method::Eps { network: Scope::PerTask, calls: 1 };
        let unseen = Sampler { method, listener: &Silent, ..*self };
        unseen.draw_batch(network, problem, items, &Stop::default()).map(drop)
    }

    /// The samples of some images in batches, each of which is drawn at once.
    pub(crate) fn batches(&self, images: Range<usize>) -> Vec<Vec<Item>> {
        let items: Vec<Item> = images
            .flat_map(|image| (0..self.samples as u64).map(move |sample| (image, sample)))
            .collect();
        items.chunks(self.batch).map(<[Item]>::to_vec).collect()
    }

    /// Draws the samples of a batch; [`join`] puts those of a method together.
    ///
    /// A sample's noise depends on the seed, the image's number in the test set and the sample's
    /// number alone.
    ///
    /// # Errors
    /// A chain that leaves the finite numbers, those of libtorch, and a stop.
    pub(crate) fn draw(
        &self,
        network: &Network,
        problem: &Problem,
        items: &[Item],
        stop: &Stop,
    ) -> Result<Restored> {
        self.draw_batch(network, problem, items, stop).during(|| {
            let number = |item: &Item| problem.images[item.0];
            format!("images {} to {}", number(&items[0]), number(&items[items.len() - 1]))
        })
    }

    /// Draws samples, as if each were the only one of an image.
    fn draw_batch(
        &self,
        network: &Network,
        problem: &Problem,
        items: &[Item],
        stop: &Stop,
    ) -> Result<Restored> {
        let start = Instant::now();
        let images: Vec<usize> = items.iter().map(|(image, _)| *image).collect();
        let measurement = measurement::on_device(&problem.set, &images, self.device)?;
        let classes = problem.classes(&images);
        // Walks end where the network does.
        let (lowest, highest) = network.sigmas();
        let network = network.about(classes.as_deref())?;
        let denoiser = CountNfe::new(network);
        let keys = items.iter().map(|(image, sample)| (problem.images[*image] as u64, *sample));
        let keys = NoiseKeys::new(self.seed, keys.collect());
        let solver = match self.method {
            Method::EpsBy { by, .. } => solver_of(by),
            _ => SOLVER,
        };
        let noise = keys.on(problem.set.shape(), self.device);
        let each = passes_a_call(self.method);
        let watch = || {
            move |step: &Progress<'_>| {
                self.listener.advance(step.calls as u64 * each);
                if stop.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
        };
        let walk = |estimator: &dyn Estimator| -> Result<Tensor> {
            let schedule = solver.schedule(*self.schedule).ending_at(lowest);
            let sigmas = schedule.sigmas(solver.steps(self.method.calls())?)?;
            Ok(solver.sample_watched(estimator, &sigmas, &noise, &mut watch())?.finished()?)
        };
        let (denoiser, measurement) = (&denoiser, &measurement);
        let drawn = match self.method {
            Method::PseudoInverse | Method::Wiener | Method::LinearMmse => {
                return Err(ExperimentError::DrawsNothing(self.method.label()));
            }
            Method::Unconditional { .. } => walk(&Prior { denoiser })?,
            Method::Eps { .. } | Method::EpsBy { .. } => walk(&Eps { denoiser, measurement })?,
            Method::Palette { .. } => walk(&Palette { denoiser, measurement })?,
            Method::Variant { variant, calls } => match variant.network_use {
                NetworkUse::Palette => walk(&Palette { denoiser, measurement })?,
                _ if variant.flow => {
                    let interpolant = Interpolant::RectifiedFlow;
                    let sigma_max = self.schedule.sigma_max();
                    let times = Schedule::UniformTime { interpolant, sigma_max }.sigmas(calls)?;
                    let (solver, estimator) =
                        (Solver::Flow { interpolant }, Eps { denoiser, measurement });
                    solver.sample_watched(&estimator, &times, &noise, &mut watch())?.finished()?
                }
                NetworkUse::Eps | NetworkUse::Prior => walk(&Eps { denoiser, measurement })?,
            },
            Method::ZeroShot { .. } => walk(&ZeroShot { denoiser, measurement })?,
            Method::Contender { contender, calls } => {
                let annealing = annealing(problem.setting.task);
                let constant = self.constant;
                let steps = contender::Steps { calls, constant, annealing, lowest, highest };
                contender::sample(contender, denoiser, measurement, steps, &noise, &mut watch())?
            }
        };
        let values = drawn.to_device(Device::Cpu).to_kind(Kind::Double).flatten(0, -1);
        Ok(Restored {
            samples: Restored::clipped(Vec::<f64>::try_from(values)?),
            per_image: 1,
            nfe: denoiser.nfe(),
            backward_passes: denoiser.backward_passes(),
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

/// The batches of a method put together, in their order, as `per_image` samples of each image.
///
/// # Errors
/// No batch at all.
pub(crate) fn join(
    batches: impl IntoIterator<Item = Restored>,
    per_image: usize,
) -> Result<Restored> {
    let mut batches = batches.into_iter();
    let mut all = batches.next().ok_or(ExperimentError::NoImages)?;
    for batch in batches {
        all.extend(batch);
    }
    Ok(Restored { per_image, ..all })
}

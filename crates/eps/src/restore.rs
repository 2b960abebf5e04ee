//! Samples of the images behind measurements.

use std::ops::{ControlFlow, Range};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use eps_data::{MeasurementSet, SampleArchive};
use eps_math::operator::{LinearMap as _, PreparedOperator};
use eps_math::{Schedule, Shape, nearest_f32};
use eps_model::{KrylovReport, ModelError, StepCount};
use eps_sample::{NoiseKeys, Observer, Progress, Sample as _, Solver};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Device, Kind};

use crate::Error;
use crate::contender::{self, Contending, Steps, annealing, nearest_calls, nearest_task};
use crate::measurement::{check_scale, check_sigma_y, on_device};
use crate::network::{Asked, Conditioning, Network};
use crate::workers::{Stop, cores, spread, workers_on};

/// The most values of all samples together, 8 GiB in f32.
const MOST_VALUES: usize = 1 << 31;

/// How samples are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The solver.
    pub solver: Solver,
    /// Its grid of noise levels; none for the one that suits it between the levels that the network was trained for,
    /// [`Solver::schedule`] of [`Network::schedule`].
    pub schedule: Option<Schedule>,
    /// A training-free method in the place of the solver, on a prior; its grid is its own.
    pub contender: Option<Contending>,
    /// Network calls for a sample, at least 1; odd for Heun's method.
    pub calls: usize,
    /// Samples of each image, at least 1.
    pub samples: usize,
    /// Whether samples 0 and 1, 2 and 3, … of an image are drawn from opposite noise, [`NoiseKeys::antithetic`]: each is a sample
    /// as otherwise, and the mean of a few has much less error by chance, but those of a pair are not independent. Their number is
    /// even.
    pub antithetic: bool,
    /// The seed: a sample is a function of it, of the image's number in the set and of its own.
    pub seed: u64,
    /// Samples in one network call, at least 1; fewer take less memory. None for [`batch_of`].
    pub batch: Option<usize>,
    /// Cores that are used, at least 1: so many batches are drawn at once, each on one thread; of fewer batches several windows of an
    /// image are asked about at once, where the network is asked in windows. The samples are the same, to the last bit, whatever their
    /// number.
    pub threads: usize,
    /// The class of all images, for a network that reads classes.
    pub class: Option<usize>,
    /// Where the network is.
    pub device: Device,
}

impl Settings {
    /// The grid of noise levels on a network.
    #[must_use]
    pub fn schedule_on(&self, network: &Network) -> Schedule {
        self.schedule.unwrap_or_else(|| self.solver.schedule(network.schedule()))
    }
}

impl Default for Settings {
    /// Eight independent samples in 10 network calls each, by [`Solver::HALF_CORRECTED`]: nearly what Euler's makes in 20. Seed 0, on
    /// all cores of the CPU.
    fn default() -> Self {
        Self {
            solver: Solver::HALF_CORRECTED,
            schedule: None,
            contender: None,
            calls: 10,
            samples: 8,
            antithetic: false,
            seed: 0,
            batch: None,
            threads: cores(),
            class: None,
            device: Device::Cpu,
        }
    }
}

/// The samples of a network call, of `samples` of images of a shape in all, where nobody says how many.
///
/// On a GPU, 64. On the CPU few enough that many cores have work, and no more than 16 of 32×32 pixels or as many pixels of
/// larger images. A sample of 28×28 pixels took a seventh longer in a call of 16 than in one of 64, and about a quarter
/// longer in calls of 4 and 8, in single runs on a busy machine: what several cores gain is more. It does not depend on
/// the number of threads, so that samples do not.
#[must_use]
pub fn batch_of(shape: Shape, samples: usize, device: Device) -> usize {
    /// Pixels of a call.
    const PIXELS: usize = 16 * 32 * 32;
    if device != Device::Cpu {
        return 64;
    }
    let most = (PIXELS / shape.plane().max(1)).clamp(1, 16);
    samples.div_ceil(4).min(4).max(samples.div_ceil(16)).clamp(1, most)
}

/// Draws samples of the images behind measurements, [`Settings::samples`] of each.
///
/// The network is asked as it was trained: see [`Conditioning`]. Whether a measurement is one that it was trained for
/// is told by [`Network::notes`].
///
/// # Shapes
/// Samples are `[N, J, C, H, W]`: N measurements, J samples of each.
///
/// # Units
/// The scale [-1, 1], not clipped.
///
/// # Errors
/// Those of [`Restoration::new`] and [`Restoration::draw`].
pub fn restore(
    network: &Network,
    set: &MeasurementSet,
    settings: &Settings,
) -> Result<SampleArchive, Error> {
    restore_watched(network, set, settings, &mut ())
}

/// [`restore`] under the eyes of an observer, which is told of every step of every batch, one at a time, and may stop all
/// of them there. Steps of batches that are drawn at once come between each other's.
///
/// [`Restoration::calls`] has the number of network calls that all steps make together.
///
/// # Errors
/// Those of [`restore`]; [`SampleError::Stopped`](eps_sample::SampleError::Stopped) where the observer breaks.
pub fn restore_watched(
    network: &Network,
    set: &MeasurementSet,
    settings: &Settings,
    observer: &mut (dyn Observer + Send),
) -> Result<SampleArchive, Error> {
    let restoration = Restoration::new(network, set, settings)?;
    let mut samples = vec![Vec::new(); restoration.batches()];
    let all: Vec<usize> = (0..samples.len()).collect();
    restoration.draw_each(&all, observer, |batch, drawn| {
        samples[batch] = drawn;
        Ok::<(), Error>(())
    })?;
    restoration.archive(samples.concat(), Value::Null)
}

/// Says so where functions of AᵀA were not computed to the tolerance that they have for networks.
#[must_use]
pub fn iterations_note(iterations: &Iterations) -> Option<String> {
    let Iterations { functions, unfinished_functions, .. } = iterations;
    (*unfinished_functions > 0).then(|| {
        format!(
            "{unfinished_functions} of {} functions of A'A still changed by more than 1 % after {} steps of Lanczos' method, so that \
             the network was asked a little off: a larger sigma_y or an operator with a smaller condition converges, and a network \
             with scalar preconditioning asks for none",
            functions.runs, functions.most_steps
        )
    })
}

/// A restoration that is drawn batch by batch, for callers that keep what is done.
#[derive(Debug)]
pub struct Restoration<'a> {
    network: &'a Network,
    plan: Plan<'a>,
    iterated: Mutex<Option<Iterated>>,
}

/// What iterative solvers did in batches that were drawn, and the time of these.
#[derive(Debug, Clone, Copy, Default)]
struct Iterated {
    solvers: KrylovReport,
    time: Duration,
}

impl Iterated {
    /// Adds what a batch took to what all took.
    fn add(all: &Mutex<Option<Self>>, batch: Option<Self>) {
        let Some(Self { solvers, time }) = batch else { return };
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.unwrap_or_default();
        *all = Some(Self { solvers: before.solvers.with(&solvers), time: before.time + time });
    }
}

/// What iterative solvers did in a restoration by an operator without an eigenbasis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iterations {
    /// Pivots by conjugate gradients.
    pub pivots: Runs,
    /// Functions of AᵀA by Lanczos' method, as networks with spectral preconditioning ask for.
    pub functions: Runs,
    /// Functions that still changed by more than 1 % at the most steps.
    pub unfinished_functions: usize,
    /// The share of the time of all network calls and steps that was theirs, from 0 to 1.
    pub share_of_time: f64,
}

/// How often a solver ran, and its steps, each of which costs A and Aᵀ once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    /// How often.
    pub runs: usize,
    /// Steps of a run in the mean.
    pub mean_steps: f64,
    /// Steps of the longest.
    pub most_steps: usize,
}

impl From<StepCount> for Runs {
    fn from(count: StepCount) -> Self {
        Self { runs: count.runs, mean_steps: count.mean(), most_steps: count.most }
    }
}

impl Iterations {
    /// What happened, in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let of = |name: &str, runs: &Runs| {
            format!("{name} {:.1} steps in the mean, {} at most", runs.mean_steps, runs.most_steps)
        };
        let mut parts = vec![of("conjugate gradients", &self.pivots)];
        if self.functions.runs > 0 {
            parts.push(of("Lanczos' method", &self.functions));
        }
        format!("{}; {:.0} % of the time", parts.join(", "), 100.0 * self.share_of_time)
    }
}

/// What a restoration is but for its network, of which every thread has one of its own.
#[derive(Debug)]
struct Plan<'a> {
    conditioning: Conditioning,
    set: &'a MeasurementSet,
    settings: Settings,
    batch: usize,
    sigmas: Vec<f64>,
}

impl<'a> Restoration<'a> {
    /// Checks that these measurements can be restored so.
    ///
    /// # Errors
    /// Those of [`Network::check_fit`], [`check_sigma_y`] and [`check_scale`] for the measurements, [`ModelError::Exact`]
    /// for an exact one by an operator without an eigenbasis, of
    /// [`Solver::steps`] for the calls, [`Error::NothingToDraw`] for no samples or batches of none, [`Error::OddPairs`] for antithetic
    /// pairs of an odd number,
    /// [`Error::TooManySamples`] for more than 2³¹ values.
    pub fn new(
        network: &'a Network,
        set: &'a MeasurementSet,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let samples = settings.samples;
        let steps = match settings.contender {
            None => settings.solver.steps(settings.calls)?,
            // It has steps of its own.
            Some(_) => settings.calls,
        };
        let all = set.len().saturating_mul(samples);
        let chosen = || batch_of(set.shape(), all, settings.device);
        let batch = settings.batch.unwrap_or_else(chosen);
        if samples == 0 || batch == 0 {
            return Err(Error::NothingToDraw { samples, batch });
        }
        if settings.antithetic && samples % 2 == 1 {
            return Err(Error::OddPairs(samples));
        }
        let sigmas = settings.schedule_on(network).sigmas(steps)?;
        match settings.contender {
            None => network.check_levels(&sigmas)?,
            Some(contending) => {
                let steps = steps_of(contending, settings.calls, set.operator(0), network);
                network.check_levels(&steps.sigmas(contending.contender)?)?;
            }
        }
        network.check_fit(set.shape())?;
        check_sigma_y(set.sigma_y())?;
        let is_known = |image| set.whitened_operator(image).as_spectral().is_some();
        // Once, before several workers ask for it.
        let decomposed = set.decomposed()?;
        if set.sigma_y() == 0.0 && !(0..set.len()).all(is_known) && decomposed.is_none() {
            return Err(ModelError::Exact.into());
        }
        let values = all.saturating_mul(set.shape().len());
        if values > MOST_VALUES {
            let (images, shape, most) = (set.len(), set.shape(), MOST_VALUES);
            return Err(Error::TooManySamples { images, samples, shape, values, most });
        }
        check_scale(set)?;
        let conditioning = network.conditioning();
        if let Some(Contending { contender, .. }) = settings.contender {
            if conditioning != Conditioning::ZeroShot {
                let (method, name) = (contender.label(), network.name().to_owned());
                return Err(Error::NoPrior { method, name });
            }
            if set.sigma_y() == 0.0 {
                return Err(Error::ExactByContender(contender.label()));
            }
        }
        let plan = Plan { conditioning, set, settings: settings.clone(), batch, sigmas };
        // Whether it knows the class.
        let _ = plan.asked(network)?;
        Ok(Self { network, plan, iterated: Mutex::new(None) })
    }

    /// The measurements.
    pub fn set(&self) -> &MeasurementSet {
        self.plan.set
    }

    /// The number of batches.
    pub fn batches(&self) -> usize {
        self.plan.samples().div_ceil(self.plan.batch)
    }

    /// The samples in one network call: those of the settings, or as many as [`batch_of`] says.
    pub fn batch(&self) -> usize {
        self.plan.batch
    }

    /// The network calls of all batches.
    pub fn calls(&self) -> usize {
        let Settings { solver, contender, calls, .. } = &self.plan.settings;
        let of_sample = match contender {
            None => solver.nfe(self.plan.sigmas.len() - 1),
            Some(Contending { contender, .. }) => nearest_calls(*contender, *calls),
        };
        self.batches() * of_sample
    }

    /// The most network calls that are made at once, of whole images or of windows.
    pub fn calls_at_once(&self) -> usize {
        let Settings { device, threads, .. } = self.plan.settings;
        workers_on(device, threads).0.min(self.batches() * self.windows())
    }

    /// The windows of a batch that may be asked about at once; 1 where whole images are, and where calls are differentiated.
    fn windows(&self) -> usize {
        let Settings { contender, .. } = self.plan.settings;
        match contender {
            Some(Contending { contender, .. }) if contender::differentiates(contender) => 1,
            _ => self.network.windows(self.plan.set.shape()) * self.plan.batch,
        }
    }

    /// The samples of each image.
    pub fn samples_per_image(&self) -> usize {
        self.plan.settings.samples
    }

    /// The samples of a batch, counted from 0: those of the first image, then those of the second, and so on.
    pub fn samples_of(&self, batch: usize) -> Range<usize> {
        self.plan.samples_of(batch)
    }

    /// Draws a batch, on the thread of the caller: the samples of the first image, then those of the second, and so on.
    ///
    /// # Shapes
    /// `[B, C, H, W]`, B the number of [`Restoration::samples_of`] the batch.
    ///
    /// # Errors
    /// [`Error::Sample`] for a state that leaves the finite numbers, a network that has no answer, as when memory runs
    /// out, and an observer that breaks; what libtorch answers.
    pub fn draw(&self, batch: usize, observer: &mut dyn Observer) -> Result<Vec<f32>, Error> {
        let (samples, iterated) = self.plan.draw(self.network, batch, observer)?;
        Iterated::add(&self.iterated, iterated);
        Ok(samples)
    }

    /// What iterative solvers did in the batches that were drawn so far; none where an eigenbasis is known.
    pub fn iterations(&self) -> Option<Iterations> {
        let all = *self.iterated.lock().unwrap_or_else(PoisonError::into_inner);
        all.map(|Iterated { solvers, time }| Iterations {
            pivots: solvers.pivots.into(),
            functions: solvers.functions.into(),
            unfinished_functions: solvers.unfinished,
            share_of_time: solvers.time.as_secs_f64() / time.as_secs_f64().max(f64::MIN_POSITIVE),
        })
    }

    /// Draws some batches, as many at once as [`Settings::threads`] says (fewer batches draw several windows of an image at once,
    /// where the network is asked in windows), and gives the samples of each to `keep`, as
    /// [`Restoration::draw`] returns them, with its number, as soon as they are there, in any order.
    ///
    /// On a GPU one batch is drawn after the other.
    ///
    /// # Errors
    /// Those of [`Restoration::draw`] and of `keep`; all batches end then, and those that are finished are kept.
    pub fn draw_each<E: From<Error> + Send>(
        &self,
        batches: &[usize],
        observer: &mut (dyn Observer + Send),
        mut keep: impl FnMut(usize, Vec<f32>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Settings { device, threads, .. } = self.plan.settings;
        let (workers, inside) = workers_on(device, threads);
        let busy = workers.min(batches.len());
        // What fewer batches than workers leave over asks about windows.
        let of_worker = |worker: usize| {
            (workers / busy + usize::from(worker < workers % busy)).min(self.windows())
        };
        let another = |worker| self.network.another()?.with_threads(of_worker(worker));
        let mut networks = (0..busy).map(another).collect::<Result<Vec<_>, Error>>()?;
        let (plan, counted, observer) = (&self.plan, &self.iterated, Mutex::new(observer));
        let work = |network: &mut Network, piece: usize, stop: &Stop| -> Result<Vec<f32>, E> {
            let mut watch = |progress: &Progress<'_>| {
                let mut observer = observer.lock().unwrap_or_else(PoisonError::into_inner);
                if stop.is_set() {
                    return ControlFlow::Break(());
                }
                let flow = observer.watch(progress);
                if flow.is_break() {
                    stop.set();
                }
                flow
            };
            let (samples, iterated) = plan.draw(network, batches[piece], &mut watch)?;
            Iterated::add(counted, iterated);
            Ok(samples)
        };
        spread(&mut networks, inside, batches.len(), work, |piece, drawn| {
            keep(batches[piece], drawn)
        })
    }

    /// The samples of all batches, one after the other, with the truth behind the measurements where it is known, and a
    /// configuration.
    ///
    /// # Errors
    /// [`Error::Data`] where values are missing or not finite.
    pub fn archive(&self, samples: Vec<f32>, config: Value) -> Result<SampleArchive, Error> {
        let (set, per_image) = (self.plan.set, self.plan.settings.samples);
        let provenance = set.provenance().clone();
        let archive = SampleArchive::new(set.shape(), per_image, samples, config, provenance)?;
        let archive = if self.plan.settings.antithetic { archive.antithetic() } else { archive };
        Ok(match set.truth() {
            Some(truth) => archive.with_truth(truth.iter().map(|v| nearest_f32(*v)).collect())?,
            None => archive,
        })
    }
}

impl Plan<'_> {
    fn samples(&self) -> usize {
        self.set.len() * self.settings.samples
    }

    fn samples_of(&self, batch: usize) -> Range<usize> {
        let first = batch.saturating_mul(self.batch).min(self.samples());
        first..first.saturating_add(self.batch).min(self.samples())
    }

    /// A network, asked about images of the class.
    fn asked<'a>(&self, network: &'a Network) -> Result<Asked<'a>, Error> {
        network.about(self.settings.class.as_ref().map(std::slice::from_ref))
    }

    /// [`Restoration::draw`] by a network, and what solvers did.
    fn draw(
        &self,
        network: &Network,
        batch: usize,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<f32>, Option<Iterated>), Error> {
        let Settings { solver, contender, calls, samples, antithetic, seed, device, .. } =
            &self.settings;
        let of_key = |key: usize| (key / samples, key % samples);
        let keys = self.samples_of(batch).map(of_key);
        let (images, keys): (Vec<usize>, Vec<(u64, u64)>) =
            keys.map(|(image, sample)| (image, (image as u64, sample as u64))).unzip();
        let of_contender = contender.map(|contending| {
            (contending, steps_of(contending, *calls, self.set.operator(images[0]), network))
        });
        let network = self.asked(network)?;
        let start = Instant::now();
        let measurement = on_device(self.set, &images, *device)?;
        let keys = NoiseKeys::new(*seed, keys);
        let keys = if *antithetic { keys.antithetic() } else { keys };
        let noise = keys.on(self.set.shape(), *device);
        let samples = match of_contender {
            Some((Contending { contender, .. }, steps)) => {
                contender::sample(contender, &network, &measurement, steps, &noise, observer)?
            }
            None => {
                let estimator = self.conditioning.estimator(&network, &measurement);
                let outcome = solver.sample_watched(&*estimator, &self.sigmas, &noise, observer)?;
                outcome.finished()?
            }
        };
        let values = samples.to_kind(Kind::Float).to_device(Device::Cpu).flatten(0, -1);
        let samples = Vec::try_from(values.contiguous())?;
        let iterated = |solvers| Iterated { solvers, time: start.elapsed() };
        Ok((samples, measurement.operator().krylov_report().map(iterated)))
    }
}

/// How a contender restores measurements by an operator: it walks within what the network knows.
fn steps_of(
    Contending { constant, .. }: Contending,
    calls: usize,
    operator: &PreparedOperator,
    network: &Network,
) -> Steps {
    let (lowest, highest) = network.sigmas();
    Steps { calls, constant, annealing: annealing(nearest_task(operator)), lowest, highest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_leave_many_cores_work_and_hold_no_more_pixels_than_pay() {
        let of = |channels, side, samples| {
            batch_of(Shape::new(channels, side, side).unwrap(), samples, Device::Cpu)
        };
        for (samples, batch) in
            [(1, 1), (4, 1), (8, 2), (16, 4), (64, 4), (128, 8), (256, 16), (100_000, 16)]
        {
            assert_eq!((of(1, 28, samples), of(3, 32, samples)), (batch, batch), "{samples}");
        }
        assert_eq!((of(3, 64, 1000), of(3, 128, 1000), of(1, 4, 1000)), (4, 1, 16));
        assert_eq!(batch_of(Shape::new(1, 28, 28).unwrap(), 8, Device::Cuda(0)), 64);
    }
}

//! Samples of the images behind measurements.

use eps_data::{MeasurementSet, SampleArchive};
use eps_math::Schedule;
use eps_sample::{NoiseKeys, Observer, Sample as _, Solver};
use serde_json::Value;
use tch::{Device, Kind};

use crate::Error;
use crate::measurement::{check_scale, check_sigma_y, on_device};
use crate::network::{Asked, Conditioning, Network};

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
    /// Network calls for a sample, at least 1; odd for Heun's method.
    pub calls: usize,
    /// Samples of each image, at least 1.
    pub samples: usize,
    /// The seed: a sample is a function of it, of the image's number in the set and of its own.
    pub seed: u64,
    /// Samples that are drawn at once, at least 1; fewer take less memory.
    pub batch: usize,
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
    /// Eight samples by Euler's method in 20 network calls, seed 0, on the CPU.
    fn default() -> Self {
        Self {
            solver: Solver::Euler,
            schedule: None,
            calls: 20,
            samples: 8,
            seed: 0,
            batch: 64,
            class: None,
            device: Device::Cpu,
        }
    }
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

/// [`restore`] under the eyes of an observer, which is told of every step of every batch and may stop it there.
///
/// [`Restoration::calls`] has the number of network calls that all steps make together.
///
/// # Errors
/// Those of [`restore`]; [`SampleError::Stopped`](eps_sample::SampleError::Stopped) where the observer breaks.
pub fn restore_watched(
    network: &Network,
    set: &MeasurementSet,
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<SampleArchive, Error> {
    let restoration = Restoration::new(network, set, settings)?;
    let mut samples = Vec::new();
    for batch in 0..restoration.batches() {
        samples.extend(restoration.draw(batch, observer)?);
    }
    restoration.archive(samples, Value::Null)
}

/// A restoration that is drawn batch by batch, for callers that keep what is done.
#[derive(Debug)]
pub struct Restoration<'a> {
    network: Asked<'a>,
    conditioning: Conditioning,
    set: &'a MeasurementSet,
    settings: Settings,
    sigmas: Vec<f64>,
}

impl<'a> Restoration<'a> {
    /// Checks that these measurements can be restored so.
    ///
    /// # Errors
    /// Those of [`Network::check_fit`], [`check_sigma_y`] and [`check_scale`] for the measurements, of
    /// [`Solver::steps`] for the calls, [`Error::NothingToDraw`] for no samples or batches of none,
    /// [`Error::TooManySamples`] for more than 2³¹ values.
    pub fn new(
        network: &'a Network,
        set: &'a MeasurementSet,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let Settings { samples, batch, .. } = *settings;
        let steps = settings.solver.steps(settings.calls)?;
        if samples == 0 || batch == 0 {
            return Err(Error::NothingToDraw { samples, batch });
        }
        let sigmas = settings.schedule_on(network).sigmas(steps)?;
        network.check_fit(set.shape())?;
        check_sigma_y(set.sigma_y())?;
        let values = set.len().saturating_mul(samples).saturating_mul(set.shape().len());
        if values > MOST_VALUES {
            let (images, shape, most) = (set.len(), set.shape(), MOST_VALUES);
            return Err(Error::TooManySamples { images, samples, shape, values, most });
        }
        for index in 0..set.len() {
            check_scale(set.operator(index), set.measurement(index), set.sigma_y())
                .map_err(|source| Error::Measurement { index, source: Box::new(source) })?;
        }
        let classes = settings.class.as_ref().map(std::slice::from_ref);
        let conditioning = network.conditioning();
        let network = network.about(classes)?;
        Ok(Self { network, conditioning, set, settings: settings.clone(), sigmas })
    }

    /// The measurements.
    pub fn set(&self) -> &MeasurementSet {
        self.set
    }

    /// The number of batches.
    pub fn batches(&self) -> usize {
        self.samples().div_ceil(self.settings.batch)
    }

    /// The network calls of all batches.
    pub fn calls(&self) -> usize {
        self.batches() * self.settings.solver.nfe(self.sigmas.len() - 1)
    }

    /// The number of samples of a batch, counted from 0.
    pub fn samples_of(&self, batch: usize) -> usize {
        let first = batch.saturating_mul(self.settings.batch);
        self.settings.batch.min(self.samples().saturating_sub(first))
    }

    /// The number of values of a batch.
    pub fn values_of(&self, batch: usize) -> usize {
        self.samples_of(batch) * self.set.shape().len()
    }

    fn samples(&self) -> usize {
        self.set.len() * self.settings.samples
    }

    /// Draws a batch: the samples of the first image, then those of the second, and so on.
    ///
    /// # Shapes
    /// `[B, C, H, W]`, B = [`Restoration::samples_of`] the batch.
    ///
    /// # Errors
    /// [`Error::Sample`] for a state that leaves the finite numbers, a network that has no answer, as when memory runs
    /// out, and an observer that breaks; what libtorch answers.
    pub fn draw(&self, batch: usize, observer: &mut dyn Observer) -> Result<Vec<f32>, Error> {
        let Settings { solver, samples, seed, device, .. } = &self.settings;
        let first = batch * self.settings.batch;
        let of_key = |key: usize| (key / samples, key % samples);
        let keys = (first..first + self.samples_of(batch)).map(of_key);
        let (images, keys): (Vec<usize>, Vec<(u64, u64)>) =
            keys.map(|(image, sample)| (image, (image as u64, sample as u64))).unzip();
        let measurement = on_device(self.set, &images, *device)?;
        let estimator = self.conditioning.estimator(&self.network, &measurement);
        let noise = NoiseKeys::new(*seed, keys).on(self.set.shape(), *device);
        let outcome = solver.sample_watched(&*estimator, &self.sigmas, &noise, observer)?;
        let samples = outcome.finished()?;
        let values = samples.to_kind(Kind::Float).to_device(Device::Cpu).flatten(0, -1);
        Ok(Vec::try_from(values.contiguous())?)
    }

    /// The samples of all batches, one after the other, with the truth behind the measurements where it is known, and a
    /// configuration.
    ///
    /// # Errors
    /// [`Error::Data`] where values are missing or not finite.
    pub fn archive(&self, samples: Vec<f32>, config: Value) -> Result<SampleArchive, Error> {
        let (set, per_image) = (self.set, self.settings.samples);
        let provenance = set.provenance().clone();
        let archive = SampleArchive::new(set.shape(), per_image, samples, config, provenance)?;
        Ok(match set.truth() {
            Some(truth) => archive.with_truth(truth.iter().map(|v| *v as f32).collect())?,
            None => archive,
        })
    }
}

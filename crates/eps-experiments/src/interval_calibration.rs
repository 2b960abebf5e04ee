//! The calibration of a network's intervals: images that it has not seen are measured by the law that it was trained for and
//! restored; factors are chosen on validation images, and what they do is told of test images.

use std::path::{Path, PathBuf};

use eps::intervals::{
    Coverage, FORMAT_VERSION, IntervalCalibration, Intervals, KindCalibration, ValueKind, factor,
};
use eps::measurement::stream;
use eps::network::Network;
use eps::precision::AskedPrecision;
use eps::restore::{Settings, restore};
use eps::{dataset, environment};
use eps_data::{ImageSet, MeasurementSet, Split};
use eps_files::sha256_file;
use eps_math::{MathError, OperatorLaw, Precision, SigmaYLaw, Solver, nearest_f32, whole};
use eps_metrics::summary::Spread;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::error::{During as _, ExperimentError, InvalidRequest, Result};
use crate::listener::Listener;
use crate::posed::posed;
use crate::problem::{seed_of, test_images};
use crate::store::Store;

/// Images whose measurements are drawn, and restored, together.
const GROUP: usize = 4;

/// What is calibrated, and on how much.
#[derive(Debug, Clone)]
pub struct IntervalRequest {
    /// The network.
    pub network: PathBuf,
    /// The data set, by its name or file.
    pub dataset: String,
    /// Folder or file of the data set; none for where the repository keeps it.
    pub data: Option<PathBuf>,
    /// Images of each split, dealt out to the parts of the network's law by their shares.
    pub images: usize,
    /// Samples of each, [`LEAST_SAMPLES`](eps::intervals::LEAST_SAMPLES) or more.
    pub samples: usize,
    /// Whether they are antithetic pairs, an even number then.
    pub antithetic: bool,
    /// The solver.
    pub solver: Solver,
    /// Network calls a sample.
    pub calls: usize,
    /// Seed of operators, noise and samples.
    pub seed: u64,
}

/// Some images of a split, measured by a part of the law.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    part: usize,
    number: usize,
    images: Vec<usize>,
}

/// The values of a kind in one image.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ImageOfKind {
    kind: ValueKind,
    /// For each value the factor that its interval needs, the largest number for infinity.
    needed: Vec<f32>,
    /// For each value the lower end, the median and the upper end of its interval.
    intervals: Vec<[f32; 3]>,
}

/// What the cells of all groups depend on.
#[derive(Serialize)]
struct RunKey {
    program: String,
    network: String,
    samples: usize,
    antithetic: bool,
    solver: Solver,
    calls: usize,
    seed: u64,
    device: String,
    precision: Precision,
}

/// What the cell of a group depends on.
#[derive(Serialize)]
struct GroupKey<'a> {
    #[serde(flatten)]
    of_run: &'a RunKey,
    images: &'a [usize],
    /// The SHA-256 of the set that they are of.
    set: &'a str,
}

/// Calibrates the intervals of a network.
///
/// # Errors
/// A network that was trained for no measurements, too few images or samples, input that is missing or damaged, and
/// cells that cannot be written.
pub fn calibrate_intervals(
    request: &IntervalRequest,
    (device, asked): (Device, AskedPrecision),
    cells: &Path,
    listener: &dyn Listener,
) -> Result<IntervalCalibration> {
    let (precision, note) = asked.choose(device, [&*request.network])?;
    if let Some(note) = note {
        listener.note(&note);
    }
    let network = Network::load(&request.network, None, device, precision)?;
    let Some((law, sigma_y)) = law_of(&network) else {
        let message = format!(
            "{} was trained for no measurements, so that no law says which are to be restored: give a network of EPS",
            request.network.display()
        );
        return Err(InvalidRequest(message).into());
    };
    let splits = [Split::Validation, Split::Test]
        .map(|split| dataset::load(&request.dataset, split, request.data.as_deref()));
    let [validation, test] = splits;
    let (validation, test) = (validation?, test?);
    let program = std::env::current_exe().map_err(ExperimentError::Program)?;
    let of_run = RunKey {
        program: sha256_file(&program)?,
        network: sha256_file(&request.network)?,
        samples: request.samples,
        antithetic: request.antithetic,
        solver: request.solver,
        calls: request.calls,
        seed: request.seed,
        device: format!("{device:?}"),
        precision,
    };
    let run = Calibration {
        request,
        network: &network,
        law: &law,
        sigma_y,
        device,
        store: Store::open(cells.to_owned())?,
        of_run,
        listener,
    };
    let of_validation = run.groups(&validation)?;
    let of_test = run.groups(&test)?;
    let passes = of_validation.iter().chain(&of_test).map(|group| run.passes(group)).sum();
    listener.begin(passes, "network passes");
    let found = run.measured(Split::Validation, &validation, &of_validation)?;
    let held = run.measured(Split::Test, &test, &of_test)?;
    listener.finish();
    let mut kinds = Vec::new();
    for kind in ValueKind::ALL {
        let of = |images: &[ImageOfKind]| -> Vec<ImageOfKind> {
            images.iter().filter(|image| image.kind == kind).cloned().collect()
        };
        let (found, test) = (of(&found), of(&held));
        let needed = found.iter().flat_map(|image| &image.needed).map(|needed| f64::from(*needed));
        // Of a kind that a split lacks nothing is said.
        if let Some(factor) = factor(needed.collect()).filter(|_| !test.is_empty()) {
            let (raw, calibrated) = (coverage(&test, 1.0)?, coverage(&test, factor)?);
            kinds.push(KindCalibration { kind, factor, raw, calibrated });
        }
    }
    let images = |set: &ImageSet| {
        let provenance = set.provenance();
        format!("{} (SHA-256 {})", provenance.name, provenance.sha256)
    };
    Ok(IntervalCalibration {
        format_version: FORMAT_VERSION,
        network: sha256_file(&request.network)?,
        images: format!("{} and {}", images(&validation), images(&test)),
        validation_images: request.images,
        samples: request.samples,
        antithetic: request.antithetic,
        calls: request.calls,
        solver: request.solver,
        command: environment::command_line(),
        kinds,
    })
}

/// The law that a network was trained for.
fn law_of(network: &Network) -> Option<(OperatorLaw, SigmaYLaw)> {
    let Network::Trained(checkpoint) = network else { return None };
    let config = &checkpoint.config;
    Some((config.tasks.clone(), config.sigma_y?)).filter(|(law, _)| !law.is_empty())
}

/// What stays the same from group to group.
struct Calibration<'a> {
    request: &'a IntervalRequest,
    network: &'a Network,
    law: &'a OperatorLaw,
    sigma_y: SigmaYLaw,
    device: Device,
    store: Store,
    of_run: RunKey,
    listener: &'a dyn Listener,
}

impl Calibration<'_> {
    /// The images of a split, dealt out to the parts of the law.
    fn groups(&self, set: &ImageSet) -> Result<Vec<Group>> {
        let count = self.request.images;
        let images = test_images(count, set.len())?;
        let (mut groups, mut share, mut first) = (Vec::new(), 0.0, 0);
        for (part, of_part) in self.law.shares().into_iter().enumerate() {
            share += of_part;
            let last = whole((share * count as f64).round()).min(count);
            for (number, images) in images[first..last].chunks(GROUP).enumerate() {
                groups.push(Group { part, number, images: images.to_vec() });
            }
            first = last;
        }
        Ok(groups)
    }

    /// The network passes of a group.
    fn passes(&self, group: &Group) -> u64 {
        (group.images.len() * self.request.samples * self.request.calls) as u64
    }

    /// What the intervals of all groups need.
    fn measured(&self, split: Split, set: &ImageSet, groups: &[Group]) -> Result<Vec<ImageOfKind>> {
        let mut all = Vec::new();
        for group in groups {
            let Group { part, number, images } = group;
            let name = format!("{split}-{part}-{number}");
            let set_sha256 = &set.provenance().sha256;
            let key = GroupKey { of_run: &self.of_run, images, set: set_sha256 };
            // By way of a value, whose fields are in the order of their names.
            let key = serde_json::to_value(key)?;
            let found = match self.store.load(&name, &key) {
                Some(found) => {
                    self.listener.advance(self.passes(group));
                    found
                }
                None => {
                    let of = self.law.names()[*part];
                    self.listener.start(&format!("{split}: {of}"));
                    let found = self
                        .restored(split, set, group)
                        .during(|| format!("measurements of {of}, {split} images"))?;
                    self.store.store(&name, &key, &found)?;
                    found
                }
            };
            all.extend(found);
        }
        Ok(all)
    }

    /// Measures and restores the images of a group.
    fn restored(&self, split: Split, set: &ImageSet, group: &Group) -> Result<Vec<ImageOfKind>> {
        let posed = self.pose(split, set, group)?;
        let settings = Settings {
            solver: self.request.solver,
            calls: self.request.calls,
            samples: self.request.samples,
            antithetic: self.request.antithetic,
            seed: seed_of(split, self.request.seed),
            device: self.device,
            threads: eps::workers::suited(self.device),
            ..Settings::default()
        };
        let archive = restore(self.network, &posed, &settings)?;
        self.listener.advance(self.passes(group));
        let intervals = Intervals::of(&archive)?;
        let one = posed.shape().len();
        let mut found = Vec::new();
        for place in 0..posed.len() {
            let truth = posed.truth().unwrap_or_default();
            let kinds = ValueKind::of_image(&posed, place).unwrap_or_default();
            for kind in ValueKind::ALL {
                let values = (0..kinds.len())
                    .filter(|index| kinds[*index] == kind)
                    .map(|index| place * one + index);
                let (needed, ends): (Vec<f32>, Vec<[f32; 3]>) = values
                    .map(|index| {
                        let needed = intervals.factor_for(index, truth[index]);
                        let ends =
                            [&intervals.low, &intervals.median, &intervals.high].map(|v| v[index]);
                        (nearest_f32(needed.min(f64::from(f32::MAX))), ends)
                    })
                    .unzip();
                if !needed.is_empty() {
                    found.push(ImageOfKind { kind, needed, intervals: ends });
                }
            }
        }
        Ok(found)
    }

    /// Measurements of a group, with their truth.
    fn pose(&self, split: Split, set: &ImageSet, group: &Group) -> Result<MeasurementSet> {
        let Group { part, number, images } = group;
        let (shape, name) = (set.shape(), self.law.names()[*part]);
        let seed = seed_of(split, self.request.seed);
        let shared = stream(seed, "operators", name, *number as u64);
        let of = |what, image: usize| stream(seed, what, name, image as u64);
        let draw =
            |image: &usize| self.law.draw_spec(*part, shape, &shared, &of("operator", *image));
        let specs = images.iter().map(draw).collect::<Result<Vec<_>, MathError>>()?;
        let sigma_y: Vec<f64> =
            images.iter().map(|image| self.sigma_y.draw(&of("sigma_y", *image))).collect();
        posed((set, images), specs, &sigma_y, |image| of("noise", image), seed)
    }
}

/// How often the intervals of images held the truth when widened by a factor, and how wide they were.
fn coverage(images: &[ImageOfKind], factor: f64) -> Result<Coverage> {
    let (mut held, mut width) = (Vec::new(), Vec::new());
    for image in images {
        let count = image.needed.len() as f64;
        let covers = |needed: &&f32| f64::from(**needed) <= factor;
        held.push(image.needed.iter().filter(covers).count() as f64 / count);
        let [low, median, high] =
            [0, 1, 2].map(|end| image.intervals.iter().map(|ends| ends[end]).collect::<Vec<f32>>());
        let widened = Intervals { low, median, high }.widened(|_| factor);
        let widths = (0..image.intervals.len()).map(|index| widened.width(index));
        width.push(widths.sum::<f64>() / count);
    }
    Ok(Coverage { held: Spread::of(&held)?, width: Spread::of(&width)? })
}

//! How far a network reaches that was trained for a law of operators: it and others are asked the same questions, inside the
//! law, just outside it and beyond.
//!
//! Every question is a kind of measurement of the same test images. The constants of the contenders are chosen for each
//! question anew, on validation images, so that none is worse off for an operator that its paper does not know.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use eps::contender::{Contending, nearest_task, tunable};
use eps::measurement::stream;
use eps::network::Network;
use eps::precision::AskedPrecision;
use eps::restore::{Settings, restore_watched};
use eps::{dataset, environment};
use eps_data::{ImageSet, MeasurementSet, Split};
use eps_files::sha256_file;
use eps_math::MathError;
use eps_metrics::energy::{PairTerm, energy_score};
use eps_metrics::fidelity;
use eps_metrics::summary::Spread;
use eps_results::reach::{
    Answer, Answered, ContenderCalls, EXPERIMENT, FORMAT_VERSION, Question, Questions, ReachConfig,
    ReachScores, Respondent,
};
use eps_results::{Environment, NetworkUse, PRIOR, ReachResults, Trial, Tuned};
use eps_sample::Progress;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::Device;

use crate::cells::{PROGRAM, name};
use crate::error::{During as _, ExperimentError, InvalidRequest, Result};
use crate::files::{check_folder, make_folder, write_json};
use crate::listener::{Listener, WITH_BACKWARD};
use crate::networks::{self, Asked};
use crate::pixels::unit;
use crate::posed::posed;
use crate::problem::{seed_of, test_images};
use crate::restoration::Restored;
use crate::run::data_set;
use crate::sampler::SOLVER;
use crate::store::Store;
use crate::tuning::{is_geometric, search};
use crate::working_memory::{Calls, threads_that_fit};

/// Samples in one network call.
const BATCH: usize = 16;

/// What is asked, and of how many images.
#[derive(Debug, Clone)]
pub struct ReachRequest {
    /// The file of the questions.
    pub questions: PathBuf,
    /// Folder or file of the data set; none for where the repository keeps it.
    pub data: Option<PathBuf>,
    /// Test images.
    pub images: usize,
    /// Samples of each, 2 or more.
    pub samples: usize,
    /// Validation images on which constants are chosen, with as many samples of each.
    pub tuning_images: usize,
    /// The most network calls of any method; none for those of the questions.
    pub limit: Option<usize>,
    /// Seed of operators, noise and samples.
    pub seed: u64,
}

/// A prepared run: everything is read and checked.
#[derive(Debug)]
pub struct Reach<'a> {
    listener: &'a dyn Listener,
    config: ReachConfig,
    environment: Environment,
    device: Device,
    questions: Questions,
    /// By name, the prior last.
    networks: Vec<(String, Network)>,
    test: ImageSet,
    validation: ImageSet,
    program: String,
    store: Store,
}

/// The constant of a contender with what it was chosen from.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Choice {
    value: Option<f64>,
    tried: Vec<Trial>,
}

impl<'a> Reach<'a> {
    /// Reads and checks everything, and writes `config.json` into the folder `out`.
    ///
    /// # Errors
    /// Input that is missing or damaged, and output that cannot be written.
    pub fn prepare(
        request: &ReachRequest,
        (device, asked): (Device, AskedPrecision),
        out: &Path,
        listener: &'a dyn Listener,
    ) -> Result<Self> {
        let mut questions = Questions::read(&request.questions)?;
        if let Some(limit) = request.limit {
            questions.calls = questions.calls.min(limit);
            for contender in &mut questions.contenders {
                contender.calls = contender.calls.min(limit);
            }
        }
        let (name, data) = (&questions.dataset, request.data.as_deref());
        let load = |split| dataset::load(name, split, data);
        let (test, validation) = (load(Split::Test)?, load(Split::Validation)?);
        let folder = request.questions.parent().unwrap_or(Path::new("."));
        let (mut files, mut uses) = (Vec::new(), Vec::new());
        let priors = std::iter::once((&questions.prior, NetworkUse::Prior));
        let of_eps = questions.networks.iter().map(|path| (path, NetworkUse::Eps));
        for (path, network_use) in of_eps.chain(priors) {
            let path = folder.join(path);
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let name = if network_use == NetworkUse::Prior { PRIOR.to_owned() } else { stem };
            if !path.is_file() {
                return Err(ExperimentError::NoNetwork(path));
            }
            files.push(networks::at(&path, &name)?);
            uses.push((name, network_use));
        }
        let precision = networks::precision(asked, device, &files, listener)?;
        let mut loaded = Vec::new();
        for ((name, network_use), file) in uses.into_iter().zip(&mut files) {
            let question =
                Asked { network_use, tasks: &[], dataset: &questions.dataset, set: &test };
            let network = networks::load(file, question, device, precision, listener)?;
            loaded.push((name, network));
        }
        let config = ReachConfig {
            format_version: FORMAT_VERSION,
            experiment: EXPERIMENT.to_owned(),
            dataset: data_set(test.provenance()),
            networks: files,
            images: test_images(request.images, test.len())?,
            samples: request.samples,
            tuning_images: request.tuning_images,
            tuning_samples: request.samples,
            seed: request.seed,
            precision,
        };
        let environment = environment::record(device);
        if request.tuning_images > validation.len() {
            let (asked, there) = (request.tuning_images, validation.len());
            let message = format!("--tuning-images {asked}: there are {there} validation images");
            return Err(InvalidRequest(message).into());
        }
        // Every question can be asked, before the first is.
        for question in &questions.questions {
            pose(question, (&test, &config.images), seed_of(Split::Test, config.seed))?;
        }
        check_folder(out, EXPERIMENT)?;
        make_folder(out)?;
        let resolved =
            json!({"config": config, "environment": environment, "questions": questions});
        write_json(&out.join("config.json"), &resolved)?;
        let program = std::env::current_exe().map_err(ExperimentError::Program)?;
        let (program, store) = (sha256_file(&program)?, Store::open(out.join("cells"))?);
        Ok(Self {
            listener,
            config,
            environment,
            device,
            questions,
            networks: loaded,
            test,
            validation,
            program,
            store,
        })
    }

    /// Computes what is not stored yet, question by question.
    ///
    /// # Errors
    /// Those of the samplers but for chains that leave the finite numbers, and cells that cannot be written.
    pub fn compute(&self) -> Result<ReachResults> {
        let respondents = self.respondents();
        let questions = &self.questions.questions;
        self.listener.begin(self.passes(&respondents) * questions.len() as u64, "passes");
        let answered = questions
            .iter()
            .map(|question| {
                // Once, as what is decomposed of them serves all who answer.
                let posed =
                    (self.pose(question, Split::Test)?, self.pose(question, Split::Validation)?);
                let answer = |of: &Respondent| {
                    self.listener.start(&format!("{}: {}", question.name, of.label()));
                    self.answer(question, &posed, of)
                };
                let answers = respondents.iter().map(answer).collect::<Result<Vec<_>>>()?;
                Ok(Answered { question: question.clone(), answers })
            })
            .collect::<Result<Vec<_>>>()?;
        self.listener.finish();
        Ok(ReachResults {
            format_version: FORMAT_VERSION,
            config: self.config.clone(),
            environment: self.environment.clone(),
            questions: answered,
        })
    }

    /// Who answers every question: EPS with its networks, with the prior, and the contenders.
    fn respondents(&self) -> Vec<Respondent> {
        let calls = self.questions.calls;
        let (_, trained) = self.networks.split_last().unwrap_or((&self.networks[0], &[]));
        let of_eps =
            trained.iter().map(|(name, _)| Respondent::Eps { network: name.clone(), calls });
        let contenders = self.questions.contenders.iter().copied().map(Respondent::Contender);
        of_eps.chain([Respondent::ZeroShot { calls }]).chain(contenders).collect()
    }

    /// The forward passes of a question, in batches.
    fn passes(&self, respondents: &[Respondent]) -> u64 {
        let ReachConfig { images, samples, tuning_images, tuning_samples, .. } = &self.config;
        let test = (images.len() * samples).div_ceil(BATCH);
        let trial = (tuning_images * tuning_samples).div_ceil(BATCH);
        let of = |respondent: &Respondent| {
            let each = respondent.calls() as u64 * weight(respondent);
            match respondent {
                Respondent::Contender(ContenderCalls { contender, .. }) => {
                    // The grids of all tasks are of one length, or nearly.
                    let grid = tunable(*contender, eps_math::Task::RandomInpainting).grid.len();
                    each * (test + grid * trial) as u64
                }
                Respondent::Eps { .. } | Respondent::ZeroShot { .. } => each * test as u64,
            }
        };
        respondents.iter().map(of).sum()
    }

    /// Measurements of the images of a split: of those of the test, or of as many validation images as constants are chosen
    /// on.
    fn pose(&self, question: &Question, split: Split) -> Result<MeasurementSet> {
        let seed = seed_of(split, self.config.seed);
        match split {
            Split::Test => pose(question, (&self.test, &self.config.images), seed),
            Split::Train | Split::Validation => {
                let images = test_images(self.config.tuning_images, self.validation.len())?;
                pose(question, (&self.validation, &images), seed)
            }
        }
    }

    /// A respondent's answer, from the store where it is there.
    fn answer(
        &self,
        question: &Question,
        (test, validation): &(MeasurementSet, MeasurementSet),
        of: &Respondent,
    ) -> Result<Answer> {
        let choice = match of {
            Respondent::Contender(contender) => {
                Some(self.choose(question, validation, *contender)?)
            }
            Respondent::Eps { .. } | Respondent::ZeroShot { .. } => None,
        };
        let constant = choice.as_ref().and_then(|choice| choice.value);
        let tried = choice.map(|choice| choice.tried).unwrap_or_default();
        let (count, samples) = (self.config.images.len(), self.config.samples);
        let steps = (count * samples).div_ceil(BATCH) as u64 * of.calls() as u64 * weight(of);
        if matches!(of, Respondent::Contender(_)) && constant.is_none() {
            self.listener.advance(steps);
            return Ok(Answer { of: of.clone(), constant, tried, scores: None });
        }
        let key =
            self.key(question, of, &json!({"images": self.config.images, "constant": constant}));
        let name = name(&format!("{}.{}", slug(&question.name), slug(&of.label())), &key);
        let scores = match self.store.load(&name, &key) {
            Some(scores) => {
                self.listener.advance(steps);
                scores
            }
            None => {
                let scores = self.ask(test, of, constant)?;
                self.store.store(&name, &key, &scores)?;
                scores
            }
        };
        Ok(Answer { of: of.clone(), constant, tried, scores })
    }

    /// The constant of a contender for a question.
    fn choose(
        &self,
        question: &Question,
        validation: &MeasurementSet,
        contender: ContenderCalls,
    ) -> Result<Choice> {
        let of = Respondent::Contender(contender);
        let key = self.key(question, &of, &json!({"tuning": self.config.tuning_images}));
        let what = format!("{}.{}.constant", slug(&question.name), slug(&of.label()));
        let name = name(&what, &key);
        let tunable = tunable(contender.contender, nearest_task(validation.operator(0)));
        let (count, samples) = (self.config.tuning_images, self.config.tuning_samples);
        let each = (count * samples).div_ceil(BATCH) as u64 * of.calls() as u64 * weight(&of);
        if let Some(choice) = self.store.load(&name, &key) {
            self.listener.advance(each * tunable.grid.len() as u64);
            return Ok(choice);
        }
        let attempt = |values: &[f64]| {
            let trial = |value: &f64| {
                let scores = self.ask(validation, &of, Some(*value))?;
                let mean = |of: &[f64]| Some(Spread::of(of).ok()?.mean);
                Ok(Trial {
                    value: *value,
                    energy_score_fair: scores.as_ref().and_then(|s| mean(&s.energy_score_fair)),
                    psnr_db: None,
                })
            };
            values.iter().map(trial).collect::<Result<Vec<_>>>()
        };
        let longer = |trials: usize| self.listener.lengthen(each * trials as u64);
        let tried = search(&tunable.grid, is_geometric(&tunable), longer, attempt)?;
        let choice = Choice { value: Tuned::best(&tried), tried };
        self.store.store(&name, &key, &choice)?;
        Ok(choice)
    }

    /// The scores of samples of all images; none where a chain leaves the finite numbers.
    fn ask(
        &self,
        set: &MeasurementSet,
        of: &Respondent,
        constant: Option<f64>,
    ) -> Result<Option<ReachScores>> {
        let name = match of {
            Respondent::Eps { network, .. } => network,
            Respondent::ZeroShot { .. } | Respondent::Contender(_) => PRIOR,
        };
        let found = self.networks.iter().find(|(found, _)| found == name);
        let (_, network) = found.ok_or_else(|| ExperimentError::NotRead(name.to_owned()))?;
        let contender = match of {
            Respondent::Contender(ContenderCalls { contender, .. }) => {
                constant.map(|constant| Contending { contender: *contender, constant })
            }
            Respondent::Eps { .. } | Respondent::ZeroShot { .. } => None,
        };
        let weight = weight(of);
        let calls = Calls {
            networks: vec![(network, weight > 1)],
            shape: set.shape(),
            precision: self.config.precision,
            batch: BATCH,
        };
        let settings = Settings {
            solver: SOLVER,
            contender,
            calls: of.calls(),
            samples: self.config.samples,
            seed: self.config.seed,
            batch: Some(BATCH),
            device: self.device,
            threads: threads_that_fit(self.device, &calls)?,
            ..Settings::default()
        };
        let mut watch = |step: &Progress<'_>| {
            self.listener.advance(step.calls as u64 * weight);
            ControlFlow::Continue(())
        };
        match restore_watched(network, set, &settings, &mut watch).map_err(ExperimentError::from) {
            Ok(archive) => {
                let samples =
                    Restored::clipped(archive.samples().iter().map(|value| f64::from(*value)));
                Ok(Some(scores(set, &samples)?))
            }
            Err(error) if error.is_divergence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Everything that a cell depends on.
    fn key(&self, question: &Question, of: &Respondent, more: &Value) -> Value {
        let digests: Vec<_> = self.config.networks.iter().flat_map(|file| file.digests()).collect();
        json!({
            PROGRAM: self.program,
            "device": self.environment.device,
            "precision": self.config.precision,
            "dataset": self.config.dataset.sha256,
            "networks": digests,
            "question": question,
            "of": of,
            "samples": self.config.samples,
            "seed": self.config.seed,
            "more": more,
        })
    }
}

/// Measurements of some images of a set.
fn pose(
    question: &Question,
    (set, images): (&ImageSet, &[usize]),
    seed: u64,
) -> Result<MeasurementSet> {
    let shape = set.shape();
    let pose = || -> Result<MeasurementSet> {
        let shared = stream(seed, "operators", &question.name, 0);
        let of = |what, image: usize| stream(seed, what, &question.name, image as u64);
        let draw = |image: &usize| question.of.draw_spec(shape, &shared, &of("operator", *image));
        let mut specs = images.iter().map(draw).collect::<Result<Vec<_>, MathError>>()?;
        if specs.iter().all(|spec| *spec == specs[0]) {
            specs.truncate(1);
        }
        let noise = |image| of("noise", image);
        posed((set, images), specs, &[question.sigma_y], noise, seed)
    };
    pose().during(|| format!("the question {:?}", question.name))
}

/// The forward passes in whose time a respondent makes a network call.
fn weight(of: &Respondent) -> u64 {
    match of {
        Respondent::Contender(ContenderCalls { contender, .. })
            if eps::contender::differentiates(*contender) =>
        {
            WITH_BACKWARD
        }
        _ => 1,
    }
}

/// The beginning of a text as a part of a file's name.
fn slug(text: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    text.to_lowercase().chars().map(plain).take(60).collect()
}

/// The scores of samples `[N, J, C, H, W]` against the truths of their measurements.
fn scores(set: &MeasurementSet, samples: &[f32]) -> Result<ReachScores> {
    let truths = set.truth().unwrap_or_default();
    let values = set.shape().len();
    let each = samples.len() / set.len().max(1);
    let (mut energy_score_fair, mut psnr_of_mean_db) = (Vec::new(), Vec::new());
    for (truth, samples) in truths.chunks_exact(values).zip(samples.chunks_exact(each)) {
        let samples: Vec<f64> = samples.iter().map(|value| f64::from(*value)).collect();
        let count = (each / values) as f64;
        let mean: Vec<f64> = (0..values)
            .map(|pixel| samples.iter().skip(pixel).step_by(values).sum::<f64>() / count)
            .collect();
        let on_unit = |values: &[f64]| values.iter().copied().map(unit).collect::<Vec<f64>>();
        let score = energy_score(&on_unit(truth), &on_unit(&samples), PairTerm::Fair)?;
        energy_score_fair.push(score);
        psnr_of_mean_db.push(fidelity::psnr(truth, &mean, 2.0)?);
    }
    Ok(ReachScores { energy_score_fair, psnr_of_mean_db })
}

#[cfg(test)]
mod tests {
    use eps_data::ImageProvenance;
    use eps_math::Shape;
    use eps_math::operator::OperatorSpec;

    use super::*;

    #[test]
    fn samples_are_scored_image_by_image() {
        let shape = Shape::new(1, 1, 2).unwrap();
        let provenance = ImageProvenance {
            name: "two".into(),
            source: "made up".into(),
            licence: "MIT".into(),
            sha256: "0".into(),
        };
        let all: OperatorSpec =
            serde_json::from_str(r#"{"operator": "mask", "observed": [1, 1]}"#).unwrap();
        let set = MeasurementSet::new(shape, vec![0.0; 4], vec![all], 0.1, provenance).unwrap();
        let set = set.with_truth(vec![-1.0, -1.0, 0.0, 0.0]).unwrap();
        // Two samples of each image; on [0, 1] those of the first are 0.3 and 0.4, 0.5 away from the truth, and 0.
        let found = scores(&set, &[-0.4, -0.2, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
        // (0.5 + 0)/2 − 0.5/2, and 0.
        assert!(found.energy_score_fair.iter().all(|score| score.abs() < 1e-7), "{found:?}");
        // The mean is (0.15, 0.2) on [0, 1]: the mean of the squares is 0.03125.
        assert!((found.psnr_of_mean_db[0] + 10.0 * 0.03125f64.log10()).abs() < 1e-5, "{found:?}");
        assert_eq!(found.psnr_of_mean_db[1], f64::INFINITY);
    }
}

//! The results of a run, in memory and in files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use eps_data::{ArchiveWriter, Provenance, SampleArchive};
use eps_files::write_atomically;
use eps_math::Shape;
use serde::Serialize;
use serde_json::{Value, json};

use super::calibration::Calibration;
use super::config::Config;
use super::method::{Method, Restoration};
use super::neighbours::Neighbours;
use super::networks::Loss;
use super::overhead::Overhead;
use super::plan::Setting;
use super::problem::Problem;
use super::scores::{Claim, Row};

/// Everything that was computed for one task.
#[derive(Debug)]
pub(crate) struct TaskResults {
    /// The measurements.
    pub(crate) problem: Problem,
    /// What each method returned, in the order of the table, then of the curve.
    pub(crate) restorations: Vec<(Method, Restoration)>,
    /// The methods some of whose chains left the finite numbers, and where.
    pub(crate) diverged: Vec<(Method, String)>,
    /// The rows of the table.
    pub(crate) rows: Vec<Row>,
    /// The rows that only the curve shows.
    pub(crate) curve: Vec<Row>,
    /// How the samples spread, in the experiment `calibration`.
    pub(crate) calibration: Vec<Calibration>,
    /// The claims that the rows speak to.
    pub(crate) claims: Vec<Claim>,
    /// The training images nearest to samples, where the training images are at hand.
    pub(crate) neighbours: Option<Neighbours>,
}

impl TaskResults {
    /// What was measured.
    pub(crate) fn setting(&self) -> Setting {
        self.problem.setting
    }

    /// The rows of the table; where an experiment has none, those of its curve.
    pub(crate) fn shown(&self) -> Vec<Row> {
        if self.rows.is_empty() { self.curve.clone() } else { self.rows.clone() }
    }

    /// The shape of the images.
    pub(crate) fn shape(&self) -> Shape {
        self.problem.set.shape()
    }

    /// What is to be read with care in the rows, each score once.
    pub(crate) fn cautions(&self) -> BTreeMap<&str, &str> {
        let rows = self.rows.iter().chain(&self.curve);
        rows.flat_map(|row| &row.cautions).map(|(a, b)| (a.as_str(), b.as_str())).collect()
    }

    /// What a method returned.
    pub(crate) fn restoration(&self, method: Method) -> Option<&Restoration> {
        self.restorations.iter().find(|(found, _)| *found == method).map(|(_, found)| found)
    }

    /// The row of a method, or of the mean of its samples, in table or curve.
    pub(crate) fn row(&self, method: Method, mean: bool) -> Option<&Row> {
        let wanted = |row: &&Row| row.method == method && row.mean_of.is_some() == mean;
        self.rows.iter().chain(&self.curve).find(wanted)
    }
}

/// The results of a run.
#[derive(Debug)]
pub(crate) struct Results {
    /// The resolved configuration.
    pub(crate) config: Config,
    /// Versions, revision, device and command.
    pub(crate) environment: Value,
    /// One entry a task.
    pub(crate) tasks: Vec<TaskResults>,
    /// What EPS adds to a call at the paper's size, in the experiment `runtime`.
    pub(crate) overhead: Option<Overhead>,
    /// The losses of the networks' trainings, as far as they are known.
    pub(crate) losses: BTreeMap<String, Vec<Loss>>,
    /// Seconds of the computation, those of stored cells included.
    pub(crate) seconds: f64,
}

impl Results {
    /// Writes `results.json`: configuration, versions, and every score.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let tasks: Vec<Value> = self
            .tasks
            .iter()
            .map(|task| {
                json!({
                    "setting": task.setting(),
                    "name": task.setting().name(),
                    "table": task.rows.iter().map(named).collect::<Vec<_>>(),
                    "curve": task.curve.iter().map(named).collect::<Vec<_>>(),
                    "calibration": task.calibration,
                    "claims": task.claims,
                    "neighbours": task.neighbours,
                    "diverged": task.diverged.iter().map(|(method, reason)| json!({
                        "label": method.label(), "cell": method.slug(), "reason": reason,
                    })).collect::<Vec<_>>(),
                })
            })
            .collect();
        let record = json!({
            "format_version": 2,
            "config": self.config,
            "environment": self.environment,
            "seconds": self.seconds,
            "overhead": self.overhead,
            "conventions": conventions(),
            "tasks": tasks,
        });
        write_json(path, &record)
    }

    /// Writes `samples.h5`: the groups `TASK/measurement` and `TASK/METHOD` for each row of the
    /// tables, all with the truth.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write_samples(&self, path: &Path) -> Result<()> {
        let writer = ArchiveWriter::create(path)?;
        for results in &self.tasks {
            let (name, setting) = (results.setting().name(), results.setting());
            let provenance: &Provenance = results.problem.set.provenance();
            let truth: Vec<f32> = results.problem.truth().iter().map(|v| *v as f32).collect();
            let archive = |per_image, samples, config: Value| {
                SampleArchive::new(results.shape(), per_image, samples, config, provenance.clone())?
                    .with_truth(truth.clone())
            };
            let pictures = (0..results.problem.images.len())
                .flat_map(|image| results.problem.picture(image).values)
                .map(|value| value as f32)
                .collect();
            let config = json!({"setting": setting});
            writer.add(&format!("{name}/measurement"), &archive(1, pictures, config)?)?;
            for row in results.rows.iter().filter(|row| row.mean_of.is_none()) {
                let Some(restoration) = results.restoration(row.method) else {
                    continue;
                };
                let config = json!({
                    "setting": setting,
                    "method": row.method,
                    "clipped": "to [-1, 1]",
                    "run": self.config,
                });
                let samples = restoration.samples.clone();
                let archive = archive(restoration.per_image, samples, config)?;
                writer.add(&format!("{name}/{}", row.method.slug()), &archive)?;
            }
        }
        Ok(writer.finish()?)
    }

    /// Writes the measurements, one file a task, as `eps restore` reads them.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write_measurements(&self, folder: &Path) -> Result<()> {
        make_folder(folder)?;
        for task in &self.tasks {
            task.problem.set.write(&folder.join(format!("{}.h5", task.setting().name())))?;
        }
        Ok(())
    }
}

/// Refuses a folder that holds something else than this experiment, of which an earlier run goes on.
///
/// # Errors
/// A folder whose `config.json` is another's.
pub(crate) fn check_folder(out: &Path, experiment: &str) -> Result<()> {
    let path = out.join("config.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(());
    };
    let found: Value = serde_json::from_str(&text).unwrap_or_default();
    ensure!(
        found["config"]["experiment"] == experiment,
        "--out {}: its config.json is not of the experiment {experiment}: name another folder",
        out.display()
    );
    Ok(())
}

/// Makes a folder with those above it.
///
/// # Errors
/// A folder that cannot be made.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| {
        format!("cannot make the folder {}: check the path and its permissions", folder.display())
    })
}

/// Writes a value as indented JSON.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    write_atomically(path, |file| writeln!(file, "{text}"))?;
    Ok(())
}

/// A row with its names.
fn named(row: &Row) -> Value {
    let mut value = json!({"label": row.label(), "cell": row.method.slug()});
    if let (Value::Object(named), Ok(Value::Object(scores))) =
        (&mut value, serde_json::to_value(row))
    {
        named.extend(scores);
    }
    value
}

/// What the scores mean.
fn conventions() -> Value {
    json!({
        "clipping": "every restoration is clipped to [-1, 1] before it is scored",
        "psnr_db": "dB, data range 2 on [-1, 1]; a seed is one sample of every image, its value the \
            mean over images; mean and standard deviation (n - 1) over seeds",
        "ssim": "on [0, 1], Gaussian window 11x11 of sigma 1.5; mean and spread as for psnr_db",
        "energy_score": "on [0, 1], not normalised, pair term 1/(2 J^2) (the paper's CRPS); mean over \
            images",
        "energy_score_fair": "as energy_score with the pair term 1/(2 J (J - 1))",
        "crps_coordinate": "on [0, 1], fair pair term; mean over pixels and images",
        "mmd2": "unbiased, all samples of all images against all truths, kernel exp(-d^2/median d^2)",
        "calibration": "on [0, 1] pixels, clipped; ratios: energy score (pair term 1/(2 J^2)) of the \
            first 10 samples over the distance of their mean, sums over images, from the truth and \
            from the 11th sample; ranks of the truth among 19 samples at pixels whose samples have a \
            standard deviation above 1/255, ties split at random; central intervals end at ranks",
        "features": "grey images repeated to three channels, small ones upsampled bilinearly to 64x64, as \
            `eps evaluate` says: mean LPIPS v0.1 of samples and their truths; Frechet distance, MMD^2 and \
            energy score of AlexNet's pooled last stage, which is not FID's network; FID and the values named \
            inception are those of the FID network, where --inception names its file",
        "nfe": "network evaluations a sample, as counted; of all J samples in a row of means",
        "backward_passes": "backward passes through the network a sample, as counted",
        "seconds": "wall-clock seconds for each sample, or for each mean, in batches",
    })
}

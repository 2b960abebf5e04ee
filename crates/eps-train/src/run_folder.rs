//! The folder of a run: its configuration and how that changed, its losses, the state that it goes on from.
//!
//! Every file is whole or absent but for `metrics.jsonl`, whose last line may be cut off.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use eps_files::{FilesError, Lock, remove_leftovers, sha256, write_bytes};
use eps_model::extent;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::balance::Balance;
use crate::optimiser::Optimiser;
use crate::{TrainConfig, TrainError};

/// What may change between the legs of a run.
const CHANGEABLE: [&str; 2] = ["steps", "learning_rate"];

/// The file that a run goes on from.
const STATE: &str = "state.safetensors";

/// A field of the configuration that changed in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The steps that were done before it.
    pub step: u64,
    /// The field, `steps` or `learning_rate`.
    pub field: String,
    /// Its value until then.
    pub from: Value,
    /// Its value from then on.
    pub to: Value,
}

/// How the configuration of the run in a folder has changed so far, in order; nothing in most runs.
///
/// # Errors
/// [`TrainError::Files`] and [`TrainError::Json`] for a file that cannot be read or is damaged.
pub fn changes(folder: &Path) -> Result<Vec<Change>, TrainError> {
    let path = folder.join("changes.json");
    if !path.exists() {
        return Ok(vec![]);
    }
    let file = File::open(&path).map_err(FilesError::io(&path, "open"))?;
    serde_json::from_reader(BufReader::new(file))
        .map_err(|source| TrainError::Json { path, source })
}

/// A field that differs between two configurations.
#[derive(Debug, Clone, PartialEq)]
struct Difference {
    field: String,
    from: Value,
    to: Value,
}

/// In what a configuration differs from that of the run in a folder, all of which may change in a run; none where the
/// folder holds no run.
///
/// # Errors
/// [`TrainError::OtherRun`] where something else differs.
fn differences(config: &TrainConfig, folder: &Path) -> Result<Option<Vec<Difference>>, TrainError> {
    let path = folder.join("config.json");
    if !path.exists() {
        return Ok(None);
    }
    let json = |source| TrainError::Json { path: path.clone(), source };
    let found = TrainConfig::read(&path)?;
    let [from, to] = [&found, config].map(|config| serde_json::to_value(config).map_err(json));
    let mut differences = vec![];
    compare("", &from?, &to?, &mut differences);
    let others = differences.iter().filter(|other| !CHANGEABLE.contains(&other.field.as_str()));
    let fields: Vec<String> = others
        .map(|Difference { field, from, to }| format!("{field} is {from} there, now {to}"))
        .collect();
    if fields.is_empty() {
        return Ok(Some(differences));
    }
    Err(TrainError::OtherRun { folder: folder.to_owned(), fields })
}

/// The fields, and those of objects in them, whose values differ.
fn compare(name: &str, from: &Value, to: &Value, found: &mut Vec<Difference>) {
    let (Value::Object(a), Value::Object(b)) = (from, to) else {
        if from != to {
            found.push(Difference { field: name.to_owned(), from: from.clone(), to: to.clone() });
        }
        return;
    };
    let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        let [from, to] = [a, b].map(|object| object.get(key).unwrap_or(&Value::Null));
        compare(&below, from, to, found);
    }
}

/// Notes that a run of so many steps goes on with other values, and takes them.
///
/// The note is written before the configuration: a run that is killed between them finds the same differences again.
///
/// # Errors
/// [`TrainError::StepsDone`] for fewer steps than were done, and those of writing.
fn take_changes(
    config: &TrainConfig,
    folder: &Path,
    step: u64,
    differences: Vec<Difference>,
) -> Result<(), TrainError> {
    if config.steps < step {
        return Err(TrainError::StepsDone { steps: config.steps, done: step });
    }
    if differences.is_empty() {
        return Ok(());
    }
    let mut all = changes(folder)?;
    for Difference { field, from, to } in differences {
        let change = Change { step, field, from, to };
        let last = all.iter().rev().find(|earlier| earlier.field == change.field);
        if last != Some(&change) {
            all.push(change);
        }
    }
    let path = folder.join("changes.json");
    let text = serde_json::to_string_pretty(&all)
        .map_err(|source| TrainError::Json { path: path.clone(), source })?;
    write_bytes(&path, text.as_bytes())?;
    write_config(config, folder)
}

fn write_config(config: &TrainConfig, folder: &Path) -> Result<(), TrainError> {
    let path = folder.join("config.json");
    let text = serde_json::to_string_pretty(config)
        .map_err(|source| TrainError::Json { path: path.clone(), source })?;
    Ok(write_bytes(&path, text.as_bytes())?)
}

/// The folder of a run, in the hands of the one process that writes it.
#[derive(Debug)]
pub(crate) struct RunFolder {
    folder: PathBuf,
    differences: Vec<Difference>,
    _lock: Lock,
}

impl RunFolder {
    /// Takes a folder, new or of the same run.
    ///
    /// # Errors
    /// [`TrainError::OtherRun`], before anything is written; [`FilesError::Busy`] where another process trains there.
    pub(crate) fn take(config: &TrainConfig, folder: &Path) -> Result<Self, TrainError> {
        let _ = differences(config, folder)?;
        std::fs::create_dir_all(folder).map_err(FilesError::io(folder, "make"))?;
        let lock = Lock::take(&folder.join("lock"), folder)?;
        remove_leftovers(&folder.join(STATE));
        // Another process may have begun meanwhile, and ended.
        let differences = differences(config, folder)?;
        if differences.is_none() {
            write_config(config, folder)?;
        }
        let differences = differences.unwrap_or_default();
        Ok(Self { folder: folder.to_owned(), differences, _lock: lock })
    }

    fn state(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    fn metrics(&self) -> PathBuf {
        self.folder.join("metrics.jsonl")
    }

    /// Reads the state of the run, where it has one, and readies the folder to go on from there.
    ///
    /// # Errors
    /// [`TrainError::State`] for a damaged state, [`TrainError::StepsDone`] for fewer steps than were done, and those of
    /// files.
    pub(crate) fn begin(
        &mut self,
        config: &TrainConfig,
        optimiser: &mut Optimiser,
        balance: Option<&mut Balance>,
        device: Device,
    ) -> Result<Progress, TrainError> {
        let path = self.state();
        let mut run = Progress::default();
        if path.exists() {
            run = load_state(&path, optimiser, balance, device)?;
        }
        take_changes(config, &self.folder, run.step, std::mem::take(&mut self.differences))?;
        truncate_metrics(&self.metrics(), run.step)?;
        Ok(run)
    }

    /// Keeps a checkpoint: the state after its losses.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] and [`TrainError::Unsaved`], which leave the last state as it is.
    pub(crate) fn keep(
        &self,
        record: &LossRecord,
        optimiser: &Optimiser,
        balance: Option<&Balance>,
        run: Progress,
    ) -> Result<(), TrainError> {
        let vectors = [&optimiser.weights, &optimiser.average];
        if !record.validation_loss.is_finite() || !vectors.into_iter().all(is_finite) {
            return Err(TrainError::NotFinite { step: run.step });
        }
        let unsaved = |error| TrainError::Unsaved { step: run.step, cause: Box::new(error) };
        append_record(&self.metrics(), record).map_err(unsaved)?;
        save_state(&self.state(), optimiser, balance, run).map_err(unsaved)
    }
}

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossRecord {
    /// Steps done.
    pub step: u64,
    /// Images seen.
    pub images: u64,
    /// The mean training loss since the last line, dimensionless.
    pub train_loss: f64,
    /// The loss of the averaged weights on fixed validation batches, dimensionless.
    pub validation_loss: f64,
    /// Seconds that the run has taken, over all its legs.
    pub seconds: f64,
}

fn append_record(path: &Path, record: &LossRecord) -> Result<(), TrainError> {
    let line = serde_json::to_string(record)
        .map_err(|source| TrainError::Json { path: path.to_owned(), source })?;
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.map_err(FilesError::io(path, "open"))?;
    Ok(writeln!(file, "{line}").map_err(FilesError::io(path, "write"))?)
}

/// What of a line tells whether it stays.
#[derive(Deserialize)]
struct StepOfLine {
    step: u64,
}

/// Removes the lines of steps after the state's: the state is written after its line.
fn truncate_metrics(path: &Path, step: u64) -> Result<(), TrainError> {
    if !path.exists() {
        return Ok(());
    }
    let file = File::open(path).map_err(FilesError::io(path, "open"))?;
    let lines = BufReader::new(file).lines();
    let mut kept = String::new();
    for line in lines {
        let line = line.map_err(FilesError::io(path, "read"))?;
        // A line cut off by a kill does not parse: it is of a step after the state's.
        let Ok(done) = serde_json::from_str::<StepOfLine>(&line) else { continue };
        if done.step <= step {
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    Ok(write_bytes(path, kept.as_bytes())?)
}

/// Where a run is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    pub(crate) step: u64,
    pub(crate) seconds: f64,
    /// The sum of the losses since the last line of the metrics, and of how many steps it is.
    pub(crate) loss_sum: f64,
    pub(crate) summed: u64,
}

const VECTORS: [&str; 4] = ["weights", "first_moment", "second_moment", "average"];

/// The running means of a balanced loss, and how many images they are of.
const BALANCE: [&str; 2] = ["balance_means", "balance_counts"];

/// The metadata entry of a state with the SHA-256 of the bytes of every tensor.
const DIGESTS: &str = "sha256";

/// A tensor on its way into a file: its bytes are made when they are asked for, one tensor after the other.
#[derive(Debug)]
struct Stored {
    tensor: Tensor,
    dims: [usize; 1],
}

impl Stored {
    /// A vector of f32 or f64, on any device.
    fn new(tensor: &Tensor) -> Self {
        Self { dims: [tensor.numel()], tensor: tensor.to_device(Device::Cpu).contiguous() }
    }
}

impl View for &Stored {
    fn dtype(&self) -> Dtype {
        if self.tensor.kind() == Kind::Double { Dtype::F64 } else { Dtype::F32 }
    }

    fn shape(&self) -> &[usize] {
        &self.dims
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; self.data_len()];
        self.tensor.copy_data_u8(&mut bytes, self.dims[0]);
        bytes.into()
    }

    fn data_len(&self) -> usize {
        self.dims[0] * self.tensor.kind().elt_size_in_bytes()
    }
}

/// Writes the state of a run in the place of the last one.
///
/// # Errors
/// [`TrainError::Files`], which leaves the last state as it is.
fn save_state(
    path: &Path,
    optimiser: &Optimiser,
    balance: Option<&Balance>,
    progress: Progress,
) -> Result<(), TrainError> {
    let vectors =
        [&optimiser.weights, &optimiser.first_moment, &optimiser.second_moment, &optimiser.average];
    let mut tensors: Vec<(&str, Stored)> =
        VECTORS.into_iter().zip(vectors.map(Stored::new)).collect();
    let numbers = Tensor::from_slice(&[progress.step as f64, progress.seconds]);
    tensors.push(("progress", Stored::new(&numbers)));
    if let Some(Balance { means, counts, .. }) = balance {
        let vectors = [Stored::new(means), Stored::new(&Tensor::from_slice(counts))];
        tensors.extend(BALANCE.into_iter().zip(vectors));
    }
    let digests: BTreeMap<&str, String> =
        tensors.iter().map(|(name, stored)| (*name, sha256(&stored.data()))).collect();
    let json = serde_json::to_string(&digests)
        .map_err(|source| TrainError::Json { path: path.to_owned(), source })?;
    let metadata = [(DIGESTS.to_owned(), json)].into();
    let views = tensors.iter().map(|(name, stored)| (*name, stored));
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| FilesError::io(path, "write")(io::Error::other(error)))?;
    Ok(write_bytes(path, &bytes)?)
}

/// Whether every value of a tensor is a finite number.
fn is_finite(tensor: &Tensor) -> bool {
    tensor.isfinite().all().int64_value(&[]) != 0
}

/// Reads the state of a run.
///
/// # Errors
/// [`TrainError::State`] for a file that is damaged or of another network.
fn load_state(
    path: &Path,
    optimiser: &mut Optimiser,
    balance: Option<&mut Balance>,
    device: Device,
) -> Result<Progress, TrainError> {
    let damaged = |reason: String| TrainError::State { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(FilesError::io(path, "read"))?;
    let whole = |error: SafeTensorError| damaged(format!("it is cut off or damaged ({error})"));
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(whole)?;
    let file = SafeTensors::deserialize(&bytes).map_err(whole)?;
    // States of before digests were written have none.
    let digests = metadata.metadata().as_ref().and_then(|entries| entries.get(DIGESTS));
    let digests: Option<BTreeMap<String, String>> = digests
        .map(|json| serde_json::from_str(json))
        .transpose()
        .map_err(|error| damaged(format!("its digests cannot be read ({error})")))?;
    let take = |name: &str, length: usize, kind: Kind| {
        let view = file.tensor(name).map_err(|_| damaged(format!("it has no tensor {name:?}")))?;
        let dtype = if kind == Kind::Double { Dtype::F64 } else { Dtype::F32 };
        if view.dtype() != dtype || view.shape().iter().product::<usize>() != length {
            return Err(damaged(format!(
                "{name:?} is {:?} in {:?}, not {length} values in {dtype:?}",
                view.shape(),
                view.dtype()
            )));
        }
        let found = digests.as_ref().map(|digests| digests.get(name) == Some(&sha256(view.data())));
        if found == Some(false) {
            return Err(damaged(format!("{name:?} is not what was written, by its SHA-256")));
        }
        Ok(Tensor::from_data_size(view.data(), &[extent(length)], kind))
    };
    let length = optimiser.weights.numel();
    let [weights, first_moment, second_moment, average] =
        VECTORS.map(|name| take(name, length, Kind::Float));
    let progress = take("progress", 2, Kind::Double)?;
    let [step, seconds] = [0, 1].map(|at| progress.double_value(&[at]));
    if !(step >= 0.0 && step.fract() == 0.0 && step < 2f64.powi(53)) {
        return Err(damaged(format!("it is of step {step}")));
    }
    let (weights, average) = (weights?, average?);
    if ![&weights, &average].into_iter().all(is_finite) {
        return Err(damaged("its weights are not finite".to_owned()));
    }
    optimiser.weights = weights.to_device(device);
    optimiser.first_moment = first_moment?.to_device(device);
    optimiser.second_moment = second_moment?.to_device(device);
    optimiser.average = average.to_device(device);
    if let Some(balance) = balance {
        let [means, counts] = BALANCE.map(|name| take(name, balance.counts.len(), Kind::Double));
        balance.means = means?.to_device(device);
        balance.counts = Vec::try_from(counts?)?;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, from 0 to 2^53, as was checked"
    )]
    let step = step as u64;
    Ok(Progress { step, seconds, ..Progress::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told() {
        let record =
            LossRecord { step: 3, images: 12, train_loss: 1.0, validation_loss: 1.0, seconds: 1.0 };
        let error = append_record(Path::new("/dev/full"), &record).unwrap_err().to_string();
        assert!(
            error.contains("cannot write /dev/full") && error.contains("free some disk space"),
            "{error}"
        );
    }

    #[test]
    fn differences_are_named_to_the_field() {
        let a = json!({"steps": 20, "ema": {"half_life": 1.0, "ramp": null}, "tasks": [1, 2]});
        let b = json!({"steps": 40, "ema": {"half_life": 1.0, "ramp": 0.5}, "tasks": [1]});
        let mut found = vec![];
        compare("", &a, &b, &mut found);
        let names: Vec<&str> = found.iter().map(|difference| difference.field.as_str()).collect();
        assert_eq!(names, ["ema.ramp", "steps", "tasks"]);
        assert_eq!((&found[1].from, &found[1].to), (&json!(20), &json!(40)));
    }
}

//! The networks of an experiment: where they lie and what trained them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use eps::network::{self, Network, is_description};
use eps::precision::AskedPrecision;
use eps::train::TrainConfig;
use eps::{dataset, training_config};
use eps_data::ImageSet;
use eps_files::{FilesError, sha256_file};
use eps_math::{Schedule, Task};
use eps_model::checkpoint::CheckpointConfig;
use eps_model::{Precision, PriorDescription};
use eps_results::{Leg, Loss, NetworkFile, NetworkUse, PRIOR};
use serde::Deserialize as _;
use tch::Device;

use crate::error::{ExperimentError, Result};
use crate::listener::Listener;

/// The prior with as many training steps as EPS has in all; the methods without training ask it where
/// there is one.
const LONG_PRIOR: &str = "long-prior";

/// The legs that ended in a configuration: its own, then those of its starts, whose `NAME.json` lies where the start lay, seen from the
/// `folder` of the network, or in one of some folders. A start has the steps that its losses tell, where these lie beside it: it may have
/// been shortened.
///
/// # Errors
/// A start's configuration or losses that cannot be read.
fn legs(config: TrainConfig, folder: &Path, folders: &[PathBuf]) -> Result<Vec<Leg>> {
    let known = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut followed = vec![known(&folder.join(format!("{}.json", config.name)))];
    let mut folder = folder.to_owned();
    let (mut legs, mut next) = (Vec::<Leg>::new(), Some(config));
    while let Some(TrainConfig { name, steps, batch, start, .. }) = next {
        legs.push(Leg { name, steps, batch: batch as u64 });
        let start = start.map(|start| folder.join(start.with_extension("json")));
        let found = start.and_then(|start| {
            let file = start.file_name()?;
            let elsewhere = folders.iter().map(|folder| folder.join(file));
            [start.clone()].into_iter().chain(elsewhere).find(|path| path.is_file())
        });
        if let Some(of_start) = found.as_deref().and_then(Path::parent) {
            of_start.clone_into(&mut folder);
        }
        // A configuration that starts from itself would never end.
        let found = found.filter(|path| !followed.contains(&known(path)));
        followed.extend(found.as_deref().map(known));
        next = None;
        if let Some(path) = found {
            let config = training_config::read(&path)?;
            let losses = path.with_extension("metrics.jsonl");
            let losses = if losses.is_file() { read_losses(&losses)? } else { vec![] };
            let steps = losses.last().map_or(config.steps, |last| last.step);
            next = Some(TrainConfig { steps, ..config });
        }
    }
    Ok(legs)
}

/// The error of a configuration, in a file, that is none of this version.
fn unreadable(path: &Path) -> impl FnOnce(serde_json::Error) -> ExperimentError {
    move |source| ExperimentError::Training { path: path.to_owned(), source }
}

/// Finds `NAME.safetensors` in a folder, or in `NAME/` in it, as training leaves it.
///
/// # Errors
/// No such file, or one that cannot be read.
pub(crate) fn find(folder: &Path, name: &str) -> Result<NetworkFile> {
    let file = format!("{name}.safetensors");
    let candidates = [folder.join(&file), folder.join(name).join(&file)];
    let Some(path) = candidates.iter().find(|path| path.is_file()) else {
        let [path, _] = candidates;
        return Err(ExperimentError::NoNetwork(path));
    };
    at(path, name)
}

/// Finds the prior of the methods without training: [`LONG_PRIOR`], or else [`PRIOR`].
///
/// # Errors
/// As [`find`].
pub(crate) fn find_prior(folder: &Path) -> Result<NetworkFile> {
    match find(folder, LONG_PRIOR) {
        Err(ExperimentError::NoNetwork(_)) => find(folder, PRIOR),
        found => found,
    }
}

/// A file that was named, in place of that of a folder.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn at(path: &Path, name: &str) -> Result<NetworkFile> {
    let script_sha256 = if is_description(path) {
        let description = PriorDescription::read(path)?;
        if description.classes.is_some() {
            return Err(ExperimentError::ReadsClasses(path.to_owned()));
        }
        Some(sha256_file(&description.script_path(path))?)
    } else {
        None
    };
    let (name, path) = (name.to_owned(), path.to_owned());
    let sha256 = sha256_file(&path)?;
    Ok(NetworkFile { name, path, sha256, origin: String::new(), training: vec![], script_sha256 })
}

/// The precision that networks of files compute in, all in one.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn precision(
    asked: AskedPrecision,
    device: Device,
    files: &[NetworkFile],
    listener: &dyn Listener,
) -> Result<Precision> {
    let (precision, note) = asked.choose(device, files.iter().map(|file| &*file.path))?;
    if let Some(note) = note {
        listener.note(&note);
    }
    Ok(precision)
}

/// What a network is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// How.
    pub(crate) network_use: NetworkUse,
    /// About measurements of which tasks.
    pub(crate) tasks: &'a [Task],
    /// The data set of the images, by its name or file, beside whose networks its training is looked up.
    pub(crate) dataset: &'a str,
    /// The images.
    pub(crate) set: &'a ImageSet,
}

/// Loads the network of a file and checks that it was trained for what it is asked and takes such images. Where it is laid out for
/// another size and its file does not say that it was trained on these images, the listener is told.
///
/// # Errors
/// A damaged file, and a network of another use, of other tasks, or of images with other channels or sides.
pub(crate) fn load(
    file: &mut NetworkFile,
    Asked { network_use, tasks, dataset, set }: Asked<'_>,
    device: Device,
    precision: Precision,
    listener: &dyn Listener,
) -> Result<Network> {
    let network = Network::load(&file.path, None, device, precision)?;
    if let Network::Trained(checkpoint) = &network {
        check_use(file, &checkpoint.config, network_use, tasks)?;
        // Imported networks have none.
        if let Some(training) = &checkpoint.config.provenance.training.config {
            let config = TrainConfig::deserialize(training).map_err(unreadable(&file.path))?;
            let folder = file.path.parent().unwrap_or(Path::new(""));
            file.training = legs(config, folder, &dataset::training_configurations(dataset))?;
        }
    }
    let known = network.image_shape();
    let path = || file.path.clone();
    let shape = set.shape();
    if network.check_fit(shape).is_err() {
        return Err(ExperimentError::ImageShape { path: path(), known, found: shape });
    }
    let is_of_these = match &network {
        Network::Trained(checkpoint) => {
            // The splits of a data set have digests of their own and one source.
            let trained_on = &checkpoint.config.provenance.training.dataset;
            let source = trained_on.as_ref().and_then(|images| images.source.as_ref());
            source == Some(&set.provenance().source)
        }
        Network::Scripted(_) => false,
    };
    // One that is laid out for another size was trained on these, or may be taken by mistake.
    if known != shape && !is_of_these {
        listener.note(&format!(
            "{} is laid out for images of shape {known} and asked for those of {shape}, of which its file does not say that it \
             was trained on them",
            file.path.display()
        ));
    }
    let ((_, highest), needed) = (network.sigmas(), Schedule::karras().sigma_max());
    // Also true for NaN.
    if !(highest >= needed) {
        return Err(ExperimentError::Noise { path: path(), known: highest, needed });
    }
    file.origin = network.origin();
    Ok(network)
}

/// Whether the network was trained for this use and these tasks.
fn check_use(
    file: &NetworkFile,
    config: &CheckpointConfig,
    network_use: NetworkUse,
    tasks: &[Task],
) -> Result<()> {
    let path = file.path.clone();
    let found = match network::conditioning(config) {
        network::Conditioning::ZeroShot => NetworkUse::Prior,
        network::Conditioning::Eps => NetworkUse::Eps,
        network::Conditioning::Palette => NetworkUse::Palette,
    };
    if found != network_use {
        return Err(ExperimentError::Use { path, found, needed: network_use });
    }
    match tasks.iter().find(|task| !config.tasks.covers(**task)) {
        None => Ok(()),
        Some(task) => {
            let known = config.tasks.names();
            Err(ExperimentError::Task { path, known, needed: task.name() })
        }
    }
}

/// The losses of the trainings of some networks, as far as a folder tells of them:
/// `NAME.metrics.jsonl` in it, or `metrics.jsonl` in `NAME/`, as training leaves it.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn losses<'a>(
    folder: &Path,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<BTreeMap<String, Vec<Loss>>> {
    let mut losses = BTreeMap::new();
    for name in names {
        let candidates =
            [folder.join(format!("{name}.metrics.jsonl")), folder.join(name).join("metrics.jsonl")];
        if let Some(path) = candidates.iter().find(|path| path.is_file()) {
            losses.insert(name.clone(), read_losses(path)?);
        }
    }
    Ok(losses)
}

fn read_losses(path: &Path) -> Result<Vec<Loss>> {
    let text = fs::read_to_string(path).map_err(FilesError::io(path, "read"))?;
    let read = |(line, record): (usize, &str)| {
        let failed = |source| ExperimentError::Losses { path: path.to_owned(), line, source };
        serde_json::from_str(record).map_err(failed)
    };
    (1..).zip(text.lines()).map(read).collect()
}

#[cfg(test)]
mod tests {
    use eps_results::ALL_TASKS;

    use super::*;

    /// The configuration of a committed training, with another name, number of steps and start.
    fn config(name: &str, steps: u64, start: &str) -> TrainConfig {
        let text = include_str!("../../../data/networks/fashion/prior.json");
        let config: TrainConfig = serde_json::from_str(text).unwrap();
        let start = Some(PathBuf::from(start));
        TrainConfig { name: name.to_owned(), steps, start, ..config }
    }

    #[test]
    fn a_training_is_followed_to_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, start: &str| {
            let text = serde_json::to_string(&config(name, 10, start)).unwrap();
            fs::write(dir.path().join(format!("{name}.json")), text).unwrap();
        };
        write("first", "../elsewhere/prior.safetensors");
        write("circle", "circle.safetensors");
        let folders = [dir.path().to_owned()];
        let of = |start: &str| -> Result<Vec<(String, u64)>> {
            let legs = legs(config("last", 5, start), Path::new("nowhere"), &folders)?;
            Ok(legs.into_iter().map(|leg| (leg.name, leg.steps)).collect())
        };
        let first = of("a/first.safetensors").unwrap();
        assert_eq!(first, [("last".to_owned(), 5), ("first".to_owned(), 10)]);
        assert_eq!(of("circle.safetensors").unwrap().len(), 2);
        // Seen from where the network lies, first.
        let beside = dir.path().join("beside");
        fs::create_dir(&beside).unwrap();
        let text = serde_json::to_string(&config("first", 20, "../first.safetensors")).unwrap();
        fs::write(beside.join("first.json"), text).unwrap();
        let found = legs(config("last", 5, "first.safetensors"), &beside, &folders).unwrap();
        assert_eq!(found.iter().map(|leg| leg.steps).collect::<Vec<_>>(), [5, 20, 10]);
        // One that was shortened has the steps that were made.
        let record =
            r#"{"step":7,"images":32,"train_loss":0.5,"validation_loss":0.25,"seconds":1}"#;
        fs::write(beside.join("first.metrics.jsonl"), record).unwrap();
        let found = legs(config("last", 5, "first.safetensors"), &beside, &folders).unwrap();
        assert_eq!(found.iter().map(|leg| leg.steps).collect::<Vec<_>>(), [5, 7, 10]);
        // What is there and cannot be read is no end of the way.
        fs::write(dir.path().join("old.json"), r#"{"name": "old", "step_count": 10}"#).unwrap();
        let error = of("old.safetensors").unwrap_err().chain();
        assert!(error.contains("old.json") && error.contains("step_count"), "{error}");
    }

    #[test]
    fn a_network_is_found_beside_or_in_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let error = find(dir.path(), "box-inpainting").unwrap_err().to_string();
        assert!(error.contains("box-inpainting.safetensors is missing"), "{error}");
        assert!(error.contains("--networks"), "{error}");
        let folder = dir.path().join(ALL_TASKS);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("all-tasks.safetensors"), "abc").unwrap();
        let network = find(dir.path(), ALL_TASKS).unwrap();
        assert!(network.sha256.starts_with("ba7816bf"));
        let names = [ALL_TASKS.to_owned(), "prior".to_owned(), "elsewhere".to_owned()];
        let losses = || losses(dir.path(), &names);
        assert!(losses().unwrap().is_empty());
        let record =
            r#"{"step":1,"images":32,"train_loss":0.5,"validation_loss":0.25,"seconds":1}"#;
        fs::write(folder.join("metrics.jsonl"), record).unwrap();
        let loss = Loss { step: 1, train_loss: 0.5, validation_loss: 0.25 };
        fs::write(dir.path().join("prior.metrics.jsonl"), "").unwrap();
        let expected = [(ALL_TASKS.to_owned(), vec![loss]), ("prior".to_owned(), vec![])];
        assert_eq!(losses().unwrap(), expected.into());
        fs::write(folder.join("metrics.jsonl"), format!("{record}\nhalf of a l")).unwrap();
        let error = losses().unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl: line 2"), "{error}");
    }
}

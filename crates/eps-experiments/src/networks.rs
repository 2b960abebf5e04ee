//! The networks of an experiment: where they lie and what trained them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use eps::dataset;
use eps::network::{self, Network, is_description};
use eps_files::sha256_file;
use eps_math::{Schedule, Shape, Task};
use eps_model::checkpoint::CheckpointConfig;
use eps_model::{Precision, PriorDescription};
use eps_results::{Leg, Loss, NetworkFile, NetworkUse, PRIOR};
use serde_json::Value;
use tch::Device;

/// The prior with as many training steps as EPS has in all; the methods without training ask it where
/// there is one.
const LONG_PRIOR: &str = "long-prior";

/// The legs that ended in a configuration: its own, then those of its starts, whose `NAME.json` lies in one
/// of some folders.
fn legs(config: &Value, folders: &[PathBuf]) -> Vec<Leg> {
    let (mut legs, mut next) = (Vec::<Leg>::new(), Some(config.clone()));
    while let Some(config) = next {
        let (Some(name), Some(steps), Some(batch)) =
            (config["name"].as_str(), config["steps"].as_u64(), config["batch"].as_u64())
        else {
            break;
        };
        // A configuration that starts from itself would never end.
        if legs.iter().any(|leg| leg.name == name) {
            break;
        }
        legs.push(Leg { name: name.to_owned(), steps, batch });
        next = config["start"].as_str().and_then(|start| {
            let file = Path::new(start).with_extension("json");
            let file = file.file_name()?;
            let text =
                folders.iter().find_map(|folder| fs::read_to_string(folder.join(file)).ok())?;
            serde_json::from_str(&text).ok()
        });
    }
    legs
}

/// Finds `NAME.safetensors` in a folder, or in `NAME/` in it, as training leaves it.
///
/// # Errors
/// No such file, or one that cannot be read.
pub(crate) fn find(folder: &Path, name: &str) -> Result<NetworkFile> {
    let file = format!("{name}.safetensors");
    let candidates = [folder.join(&file), folder.join(name).join(&file)];
    let Some(path) = candidates.iter().find(|path| path.is_file()) else {
        bail!(
            "the network {} is missing: restore data/networks from the repository, name the \
             folder of yours with --networks, or train it (`cargo xtask reproduce \
             --from-scratch`, or `--experiment NAME` for the networks of an experiment)",
            candidates[0].display()
        );
    };
    at(path, name)
}

/// Finds the prior of the methods without training: [`LONG_PRIOR`], or else [`PRIOR`].
///
/// # Errors
/// As [`find`].
pub(crate) fn find_prior(folder: &Path) -> Result<NetworkFile> {
    find(folder, LONG_PRIOR).or_else(|_| find(folder, PRIOR))
}

/// A file that was named, in place of that of a folder.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn at(path: &Path, name: &str) -> Result<NetworkFile> {
    let script_sha256 = if is_description(path) {
        let description = PriorDescription::read(path)?;
        ensure!(
            description.classes.is_none(),
            "{}: the module reads classes, which experiments give to networks of ours alone: import its \
             weights (`eps import`), or script it with one class for all images",
            path.display()
        );
        Some(sha256_file(&description.script_path(path))?)
    } else {
        None
    };
    let (name, path) = (name.to_owned(), path.to_owned());
    let sha256 = sha256_file(&path)?;
    Ok(NetworkFile { name, path, sha256, origin: String::new(), training: vec![], script_sha256 })
}

/// Loads the network of a file and checks that it was trained for this use, these tasks and images of
/// `shape`; its training is looked up beside the networks of `dataset`.
///
/// # Errors
/// A damaged file, and a network of another use, other tasks or images.
pub(crate) fn load(
    file: &mut NetworkFile,
    (network_use, tasks): (NetworkUse, &[Task]),
    (dataset, shape): (&str, Shape),
    device: Device,
    precision: Precision,
) -> Result<Network> {
    let network = Network::load(&file.path, None, device, precision)?;
    if let Network::Trained(checkpoint) = &network {
        check_use(file, &checkpoint.config, network_use, tasks)?;
        let training = &checkpoint.config.provenance.training["config"];
        file.training = legs(training, &dataset::training_configurations(dataset));
    }
    let known = network.image_shape();
    ensure!(
        known == shape,
        "{}: the network is for images of shape {known}, these have {shape}: give one that was \
         trained on them (--networks, --prior)",
        file.path.display()
    );
    let ((_, highest), needed) = (network.sigmas(), Schedule::karras().sigma_max());
    ensure!(
        highest >= needed,
        "{}: the network knows noise up to {highest}, experiments begin at {needed}: give one that was \
         trained so far (--networks, --prior); `eps restore` begins where the network does",
        file.path.display()
    );
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
    let path = file.path.display();
    let found = match network::conditioning(config) {
        network::Conditioning::ZeroShot => NetworkUse::Prior,
        network::Conditioning::Eps => NetworkUse::Eps,
        network::Conditioning::Palette => NetworkUse::Palette,
    };
    let describe = |network_use| match network_use {
        NetworkUse::Prior => "a prior, which knows of no measurement",
        NetworkUse::Eps => "one that is asked at the pivot (EPS)",
        NetworkUse::Palette => "one that is asked at the state beside the measurement (Palette)",
    };
    ensure!(
        found == network_use,
        "{path}: the network is {}, but {} is needed: give such a one (--networks)",
        describe(found),
        describe(network_use)
    );
    if let Some(task) = tasks.iter().find(|task| !config.tasks.contains(task)) {
        bail!(
            "{path}: the network was trained for {}, not for {}: give one that was (--networks)",
            config.tasks.iter().map(|task| task.name()).collect::<Vec<_>>().join(", "),
            task.name()
        );
    }
    Ok(())
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
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |(number, line)| {
        serde_json::from_str(line).with_context(|| {
            format!("{}: line {number} is no record of losses: delete the file", path.display())
        })
    };
    (1..).zip(text.lines()).map(read).collect()
}

#[cfg(test)]
mod tests {
    use eps_results::ALL_TASKS;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_training_is_followed_to_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, start: &str| {
            let text = json!({"name": name, "steps": 10, "batch": 4, "start": start}).to_string();
            fs::write(dir.path().join(format!("{name}.json")), text).unwrap();
        };
        write("first", "../elsewhere/prior.safetensors");
        write("circle", "circle.safetensors");
        let folders = [dir.path().to_owned()];
        let of = |start: &str| {
            let config = json!({"name": "last", "steps": 5, "batch": 4, "start": start});
            legs(&config, &folders).into_iter().map(|leg| (leg.name, leg.steps)).collect::<Vec<_>>()
        };
        assert_eq!(of("a/first.safetensors"), [("last".to_owned(), 5), ("first".to_owned(), 10)]);
        assert_eq!(of("circle.safetensors").len(), 2);
        assert_eq!(legs(&Value::Null, &folders), []);
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

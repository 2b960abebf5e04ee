//! `eps import FILE OUT`: EDM's networks from their pickles, from files of PyTorch and from safetensors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;
use eps_data::pickle::torch::{Tensor, TorchFile};
use eps_files::{WriteLock, sha256, sha256_file};
use eps_model::checkpoint::{self, CheckpointConfig, Provenance, Storage};
use eps_model::{
    DhariwalUNetConfig, ModelError, PUBLISHED, SongUNetConfig, UNet, UNetConfig, published,
};
use serde_json::json;

use super::architecture::{fill, given_architecture, infer};
use super::contents::{Contents, is_setting};
use super::persistent;
use super::safetensors::{self, Shards};
use super::selection::{Selected, Source};
use eps::{environment, network};

/// The licence under which NVIDIA published EDM's networks.
const EDM_LICENCE: &str = "CC BY-NC-SA 4.0";

/// What is recorded where nobody says under which licence the weights are.
const UNKNOWN_LICENCE: &str = "unknown";

/// The same for weights of an architecture that NVIDIA published weights of.
const LIKELY_LICENCE: &str = "not stated; EDM's published weights of this architecture are under \
                              CC BY-NC-SA 4.0";

/// The most tensors of a file: ImageNet's network has 541, and each is looked up by itself.
const MOST_TENSORS: usize = 4096;

/// How a file is read, and what is written.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The network of a state dict: the name of a file that NVIDIA published, without its ending, or
    /// a JSON file with the configuration, as `eps model show` prints it under "network" [default: the
    /// published one that has these tensors]
    #[arg(long, value_name = "NAME|FILE.json")]
    architecture: Option<String>,
    /// Which of the networks in the file: its name there, or a part of that between dots [default: the one that is
    /// called an average (EMA), or the only one]
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// The licence of the weights [default: CC BY-NC-SA 4.0 for pickles of EDM's code, taken to hold
    /// for state dicts of the architectures that NVIDIA published too; otherwise unknown]
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Store the weights in half precision, f16
    #[arg(long, conflicts_with = "storage")]
    half: bool,
    /// In what the weights are stored: f32, f16, or bf16, which is as small as f16 and has the range of f32
    #[arg(long, value_name = "f32|f16|bf16", default_value = "f32")]
    storage: Storage,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// Reads a file, checks it, writes the network.
pub(super) fn import(path: &Path, out: &Path, flags: &Flags) -> Result<()> {
    ensure!(
        flags.force || !out.exists(),
        "{} exists already: name another file, or add --force",
        out.display()
    );
    let same = fs::canonicalize(path).ok().zip(fs::canonicalize(out).ok());
    ensure!(
        same.is_none_or(|(path, out)| path != out),
        "{} is what is read: name another file to write",
        out.display()
    );
    if path.is_dir() {
        bail!(no_file(path));
    }
    let _lock = WriteLock::take(out)?;
    let bytes = fs::read(path).context("the file cannot be read: check its path")?;
    let Converted { network, config, architecture, notes } = convert(path, &bytes, flags)?;
    drop(bytes);
    let storage = if flags.half { Storage::F16 } else { flags.storage };
    checkpoint::save(out, &network, &config, storage).map_err(|error| match error {
        ModelError::Overflow { .. } => anyhow!(error)
            .context("leave out --half, or import with --storage bf16 or --storage f32"),
        error => error.into(),
    })?;
    for note in notes {
        eprintln!("note: {note}");
    }
    println!("{}  SHA-256 {}", out.display(), sha256_file(out)?);
    println!(
        "{architecture}: {} parameters in {} tensors",
        network.parameter_count(),
        network.tensors().len()
    );
    println!("{}", network::origin(&config.provenance));
    Ok(())
}

/// What to do with a folder in the place of a file.
fn no_file(folder: &Path) -> String {
    // diffusers keeps a network's class beside its weights.
    let config = fs::read_to_string(folder.join("config.json")).ok();
    let config: Option<serde_json::Value> =
        config.and_then(|text| serde_json::from_str(&text).ok());
    match config.as_ref().and_then(|config| config["_class_name"].as_str()) {
        Some(class) => format!(
            "it is a folder of diffusers with a {class}, an architecture that is not built here: as a module of \
             TorchScript with a description it is a prior all the same (docs/priors.md)"
        ),
        None if folder.join("unet").is_dir() => format!(
            "it is the folder of a pipeline of diffusers: its network is in {}",
            folder.join("unet").display()
        ),
        None => {
            "it is a folder: give a file with a network, or the .safetensors.index.json of several"
                .to_owned()
        }
    }
}

/// A network with what its file will say of it.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) network: UNet,
    pub(super) config: CheckpointConfig,
    /// The name of its architecture.
    architecture: String,
    /// What was decided on the way.
    pub(super) notes: Vec<String>,
}

/// Reads the network in the bytes of a file, or in the files that it is the index of, and checks it.
pub(super) fn convert(path: &Path, bytes: &[u8], flags: &Flags) -> Result<Converted> {
    let mut imported = json!({ "sha256": sha256(bytes), "bytes": bytes.len() });
    if safetensors::is_index(path) {
        let shards = Shards::read(path, bytes)?;
        imported["bytes"] = shards.size().into();
        imported["files"] = json!(shards.digests());
        let contents = Contents::of_tensors(shards.tensors()?);
        return build(path, &contents, shards.size(), imported, flags);
    }
    if safetensors::is_safetensors(bytes) {
        safetensors::check_whole(path)?;
        let contents = Contents::of_tensors(safetensors::tensors(bytes)?);
        return build(path, &contents, bytes.len(), imported, flags);
    }
    let file = TorchFile::read(bytes).context(
        "the file is no pickle, none of PyTorch's and none of safetensors, or it is damaged: give the .pkl, .pt, \
         .pth, .safetensors or .safetensors.index.json of a network, fetched again if it was one",
    )?;
    let contents = Contents::of_pickle(&file)?;
    let converted = build(path, &contents, bytes.len(), imported, flags)?;
    let is_known =
        |module: &str, name: &str| persistent::is_known(module, name) || is_setting(module, name);
    if let Some(global) = file.foreign_global(is_known) {
        bail!(
            "the file names {global}, which is no part of a network: fetch it again from its publisher, or \
             save the network's state_dict alone"
        );
    }
    Ok(converted)
}

/// The network that is meant in a file of `size` bytes.
fn build(
    path: &Path,
    contents: &Contents<'_, '_>,
    size: usize,
    mut imported: serde_json::Value,
    flags: &Flags,
) -> Result<Converted> {
    let selected = Selected::of(contents, flags.entry.as_deref())?;
    if !selected.name.is_empty() {
        imported["entry"] = selected.name.clone().into();
    }
    let tensors = tensors(&selected, size)?;
    let Selected { source, notes, .. } = selected;
    let given = flags.architecture.as_deref().map(given_architecture).transpose()?;
    let (config, architecture) = config_of(&source, given, &tensors, &stem(path))?;
    let network = fill(&config, &tensors)?;
    let provenance = Provenance {
        source: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        licence: flags.licence.clone().unwrap_or_else(|| licence(&source, &config).to_owned()),
        command: environment::command_line(),
        training: json!({ "imported": imported }),
        start: None,
    };
    let mut config = CheckpointConfig::edm_prior(stem(path), config, provenance);
    if let Source::Object(wrapped) = &source {
        let [lowest, highest] = wrapped.sigma_range;
        config.precondition.sigma_data = wrapped.sigma_data;
        config.sigma_min = config.sigma_min.max(lowest);
        config.sigma_max = config.sigma_max.min(highest);
    }
    Ok(Converted { network, config, architecture, notes })
}

/// A file's name without its ending.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if let Some(stem) = name.strip_suffix(".safetensors.index.json") {
        return stem.to_owned();
    }
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// All tensors by name; together they have no more bytes than the file.
fn tensors<'s>(selected: &Selected<'s, '_>, most: usize) -> Result<BTreeMap<String, Tensor<'s>>> {
    ensure!(
        selected.weights.len() <= MOST_TENSORS,
        "the file has {} tensors, EDM's networks have less than {MOST_TENSORS}",
        selected.weights.len()
    );
    let mut found = BTreeMap::new();
    let mut size = 0_usize;
    for (name, weight) in &selected.weights {
        let tensor = weight.tensor(name)?;
        size = size.saturating_add(tensor.len() * tensor.kind().width());
        ensure!(size <= most, "{name} shares its values with other tensors");
        ensure!(found.insert(name.clone(), tensor).is_none(), "{name} is there twice");
    }
    Ok(found)
}

/// The network and the name of its architecture.
fn config_of(
    source: &Source,
    given: Option<(String, UNetConfig)>,
    tensors: &BTreeMap<String, Tensor<'_>>,
    stem: &str,
) -> Result<(UNetConfig, String)> {
    match (source, given) {
        (Source::Object(wrapped), given) => {
            let config: UNetConfig = serde_json::from_value(wrapped.kwargs.clone().into())
                .context("the arguments of the network are not those of EDM's")?;
            if let Some((name, given)) = given {
                ensure!(
                    given == config,
                    "the file says that its network is {}, not {name}",
                    serde_json::to_string(&config)?
                );
            }
            let known = PUBLISHED.into_iter().find(|name| published(name) == Some(config.clone()));
            let name = known.unwrap_or("another network than those published").to_owned();
            Ok((config, name))
        }
        (Source::StateDict, Some((name, config))) => Ok((config, name)),
        (Source::StateDict, None) => infer(tensors, stem),
    }
}

/// The licence of the weights where nobody names it.
fn licence(source: &Source, config: &UNetConfig) -> &'static str {
    let is_published = |name| published(name).is_some_and(|known| same_tensors(&known, config));
    match source {
        Source::Object(_) => EDM_LICENCE,
        Source::StateDict if PUBLISHED.into_iter().any(is_published) => LIKELY_LICENCE,
        Source::StateDict => UNKNOWN_LICENCE,
    }
}

/// Whether two configurations differ in what only a training sees, at most.
fn same_tensors(a: &UNetConfig, b: &UNetConfig) -> bool {
    let [a, b] = [a, b].map(|config| match config.clone() {
        UNetConfig::SongUNet(c) => {
            UNetConfig::from(SongUNetConfig { dropout: 0.0, label_dropout: 0.0, ..c })
        }
        UNetConfig::DhariwalUNet(c) => {
            DhariwalUNetConfig { dropout: 0.0, label_dropout: 0.0, ..c }.into()
        }
    });
    a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_published_architecture_are_taken_for_edms() {
        let source = Source::StateDict;
        for name in PUBLISHED {
            let config = published(name).unwrap();
            let provenance = Provenance {
                source: "net.pt".to_owned(),
                licence: licence(&source, &config).to_owned(),
                command: String::new(),
                training: json!({ "imported": { "sha256": "ab" } }),
                start: None,
            };
            assert!(provenance.is_non_commercial(), "{name}");
            let line = network::origin(&provenance);
            assert_eq!(
                line,
                "net.pt (SHA-256 ab); licence: not stated; EDM's published weights of this \
                 architecture are under CC BY-NC-SA 4.0 (non-commercial use only)"
            );
        }
        let song = SongUNetConfig::ddpmpp(64, 3, 3);
        let with_dropout = SongUNetConfig { augment_dim: 9, dropout: 0.5, ..song.clone() };
        assert_eq!(licence(&source, &with_dropout.into()), LIKELY_LICENCE);
        assert_eq!(licence(&source, &SongUNetConfig { num_blocks: 2, ..song }.into()), "unknown");
    }
}

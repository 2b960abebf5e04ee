//! `eps import FILE OUT`: EDM's networks from their pickles and from state dicts of PyTorch.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use eps_data::pickle::Item;
use eps_data::pickle::torch::{self, Tensor, TorchFile};
use eps_files::{sha256, sha256_file};
use eps_model::checkpoint::{self, CheckpointConfig, Provenance, Storage};
use eps_model::{DhariwalUNetConfig, PUBLISHED, SongUNetConfig, UNet, UNetConfig, published};
use serde_json::json;

use super::architecture::{fill, given_architecture, infer};
use super::persistent::{self, Wrapped};
use eps::{environment, network};

/// The licence under which NVIDIA published EDM's networks.
const EDM_LICENCE: &str = "CC BY-NC-SA 4.0";

/// What is recorded where nobody says under which licence the weights are.
const UNKNOWN_LICENCE: &str = "unknown";

/// The same for weights of an architecture that NVIDIA published weights of.
const LIKELY_LICENCE: &str = "not stated; EDM's published weights of this architecture are under \
                              CC BY-NC-SA 4.0";

/// How EDM names the network in its preconditioning; some state dicts leave it out.
const PREFIX: &str = "model.";

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
    /// The licence of the weights [default: CC BY-NC-SA 4.0 for pickles of EDM's code, taken to hold
    /// for state dicts of the architectures that NVIDIA published too; otherwise unknown]
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Store the weights in half precision
    #[arg(long)]
    half: bool,
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
    let bytes = fs::read(path).context("the file cannot be read: check its path")?;
    let Converted { network, config, architecture } = convert(path, &bytes, flags)?;
    drop(bytes);
    let storage = if flags.half { Storage::F16 } else { Storage::F32 };
    checkpoint::save(out, &network, &config, storage)?;
    println!("{}  SHA-256 {}", out.display(), sha256_file(out)?);
    println!(
        "{architecture}: {} parameters in {} tensors",
        network.parameter_count(),
        network.tensors().len()
    );
    println!("{}", network::origin(&config.provenance));
    Ok(())
}

/// A network with what its file will say of it.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) network: UNet,
    pub(super) config: CheckpointConfig,
    /// The name of its architecture.
    architecture: String,
}

/// Reads the network in the bytes of a file and checks it.
pub(super) fn convert(path: &Path, bytes: &[u8], flags: &Flags) -> Result<Converted> {
    let file = TorchFile::read(bytes)
        .context(
            "the file is no pickle and none of PyTorch's, or it is damaged: give the .pkl, .pt or .pth of a \
             network, fetched again if it was one",
        )?;
    let source = Source::of(&file)?;
    let tensors = source.tensors(&file, bytes.len())?;
    let given = flags.architecture.as_deref().map(given_architecture).transpose()?;
    let (config, architecture) = source.config(given, &tensors, &stem(path))?;
    let network = fill(&config, &tensors)?;

    let provenance = Provenance {
        source: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        licence: flags.licence.clone().unwrap_or_else(|| source.licence(&config).to_owned()),
        command: environment::command_line(),
        training: json!({
            "imported": { "sha256": sha256(bytes), "bytes": bytes.len() }
        }),
        start: None,
    };
    let mut config = CheckpointConfig::edm_prior(stem(path), config, provenance);
    if let Source::Object(wrapped) = &source {
        let [lowest, highest] = wrapped.sigma_range;
        config.precondition.sigma_data = wrapped.sigma_data;
        config.sigma_min = config.sigma_min.max(lowest);
        config.sigma_max = config.sigma_max.min(highest);
    }
    if let Some(global) = file.foreign_global(persistent::is_known) {
        bail!(
            "the file names {global}, which is no part of a network: fetch it again from its publisher, or \
             save the network's state_dict alone"
        );
    }
    Ok(Converted { network, config, architecture })
}

/// A file's name without its ending.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Where a file has its network.
enum Source<'s, 'a> {
    /// In an object of EDM's code.
    Object(Wrapped<'s, 'a>),
    /// In a dictionary of tensors.
    StateDict(Vec<(String, Item<'s, 'a>)>),
}

impl<'s, 'a> Source<'s, 'a> {
    fn of(file: &'s TorchFile<'a>) -> Result<Self> {
        let root = file.root();
        if persistent::is_persistent(root) {
            return Ok(Self::Object(persistent::read(file, root)?));
        }
        let mut entries = torch::entries(root).with_context(|| {
            format!("the file holds {}, not a dictionary with a network", root.describe())
        })?;
        for name in ["ema", "state_dict", "model"] {
            let found = entries.iter().rev().find(|(key, _)| *key == name).map(|(_, item)| *item);
            let Some(item) = found else { continue };
            if persistent::is_persistent(item) {
                return Ok(Self::Object(persistent::read(file, item)?));
            }
            entries = torch::entries(item).with_context(|| {
                format!("{name} is {}, not a network or its state dict", item.describe())
            })?;
            break;
        }
        let prefixed = entries.iter().any(|(name, _)| name.starts_with(PREFIX));
        let prefix = if prefixed { "" } else { PREFIX };
        let tensors = entries.into_iter().map(|(name, item)| (format!("{prefix}{name}"), item));
        Ok(Self::StateDict(tensors.collect()))
    }

    /// All tensors by name; together they have no more bytes than the file.
    fn tensors(
        &self,
        file: &'s TorchFile<'a>,
        most: usize,
    ) -> Result<BTreeMap<String, Tensor<'s>>> {
        let (Self::Object(Wrapped { tensors, .. }) | Self::StateDict(tensors)) = self;
        ensure!(
            tensors.len() <= MOST_TENSORS,
            "the file has {} tensors, EDM's networks have less than {MOST_TENSORS}",
            tensors.len()
        );
        let mut found = BTreeMap::new();
        let mut size = 0_usize;
        for (name, item) in tensors {
            let tensor = file.tensor(*item, name)?;
            size = size.saturating_add(tensor.len() * tensor.kind().width());
            ensure!(size <= most, "{name} shares its values with other tensors");
            ensure!(found.insert(name.clone(), tensor).is_none(), "{name} is there twice");
        }
        Ok(found)
    }

    /// The network and the name of its architecture.
    fn config(
        &self,
        given: Option<(String, UNetConfig)>,
        tensors: &BTreeMap<String, Tensor<'_>>,
        stem: &str,
    ) -> Result<(UNetConfig, String)> {
        match (self, given) {
            (Self::Object(wrapped), given) => {
                let config: UNetConfig = serde_json::from_value(wrapped.kwargs.clone().into())
                    .context("the arguments of the network are not those of EDM's")?;
                if let Some((name, given)) = given {
                    ensure!(
                        given == config,
                        "the file says that its network is {}, not {name}",
                        serde_json::to_string(&config)?
                    );
                }
                let known =
                    PUBLISHED.into_iter().find(|name| published(name) == Some(config.clone()));
                let name = known.unwrap_or("another network than those published").to_owned();
                Ok((config, name))
            }
            (Self::StateDict(_), Some((name, config))) => Ok((config, name)),
            (Self::StateDict(_), None) => infer(tensors, stem),
        }
    }

    /// The licence of the weights where nobody names it.
    fn licence(&self, config: &UNetConfig) -> &'static str {
        let is_published = |name| published(name).is_some_and(|known| same_tensors(&known, config));
        match self {
            Self::Object(_) => EDM_LICENCE,
            Self::StateDict(_) if PUBLISHED.into_iter().any(is_published) => LIKELY_LICENCE,
            Self::StateDict(_) => UNKNOWN_LICENCE,
        }
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
        let source = Source::StateDict(vec![]);
        for name in PUBLISHED {
            let config = published(name).unwrap();
            let provenance = Provenance {
                source: "net.pt".to_owned(),
                licence: source.licence(&config).to_owned(),
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
        assert_eq!(source.licence(&with_dropout.into()), LIKELY_LICENCE);
        assert_eq!(source.licence(&SongUNetConfig { num_blocks: 2, ..song }.into()), "unknown");
    }
}

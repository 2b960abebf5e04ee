//! `eps import FILE OUT`: EDM's networks from their pickles and from state dicts of PyTorch.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use eps_data::pickle::Item;
use eps_data::pickle::torch::{self, Tensor, TorchFile};
use eps_files::{sha256, sha256_file};
use eps_model::checkpoint::{self, CheckpointConfig, Provenance, Storage};
use eps_model::{
    DhariwalUNetConfig, PUBLISHED, SongUNetConfig, UNet, UNetConfig, published, set_values,
};
use serde_json::json;
use tch::Device;

use super::persistent::{self, Wrapped};
use crate::progress;
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

/// A buffer that the configuration determines.
const FILTER: &str = "resample_filter";

/// The most tensors of a file: ImageNet's network has 541, and each is looked up by itself.
const MOST_TENSORS: usize = 4096;

/// How many tensors of a kind an error lists.
const LISTED: usize = 3;

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

/// The architecture that a flag names.
fn given_architecture(name: &str) -> Result<(String, UNetConfig)> {
    if let Some(config) = published(name) {
        return Ok((name.to_owned(), config));
    }
    let path = PathBuf::from(name);
    ensure!(
        path.extension().is_some_and(|ending| ending == "json"),
        "--architecture {name}: known are {}, and a configuration in a file that ends in .json",
        PUBLISHED.join(", ")
    );
    let text = fs::read_to_string(&path)
        .with_context(|| format!("--architecture {name}: the file cannot be read"))?;
    let config = serde_json::from_str(&text)
        .with_context(|| format!("--architecture {name}: no configuration of a network"))?;
    Ok((name.to_owned(), config))
}

/// The published architecture that has these tensors; of several the one called `stem`, or the first.
fn infer(tensors: &BTreeMap<String, Tensor<'_>>, stem: &str) -> Result<(UNetConfig, String)> {
    let mut fitting = vec![];
    let mut nearest: Option<(&'static str, Misfit)> = None;
    for (name, config) in PUBLISHED.into_iter().filter_map(|name| Some((name, published(name)?))) {
        let misfit = Misfit::of(&shapes(&UNet::blank(config.clone(), Device::Cpu)?), tensors);
        if misfit.count() == 0 {
            fitting.push((config, name.to_owned()));
        } else if nearest.as_ref().is_none_or(|(_, least)| misfit.count() < least.count()) {
            nearest = Some((name, misfit));
        }
    }
    let chosen = fitting.iter().position(|(_, name)| name == stem).unwrap_or(0);
    if !fitting.is_empty() {
        return Ok(fitting.swap_remove(chosen));
    }
    let nearest = nearest.map(|(name, misfit)| format!("{name}, but {misfit}"));
    bail!(
        "its tensors are those of no published network; the nearest is {}: name the network's \
         configuration by --architecture",
        nearest.unwrap_or_default()
    )
}

/// The shapes of a network's tensors.
fn shapes(network: &UNet) -> BTreeMap<String, Vec<i64>> {
    network.tensors().into_iter().map(|(name, tensor)| (name, tensor.size())).collect()
}

/// In what a file's tensors differ from a network's.
#[derive(Debug, Default)]
struct Misfit {
    missing: Vec<String>,
    surplus: Vec<String>,
    misshapen: Vec<String>,
}

impl Misfit {
    fn of(shapes: &BTreeMap<String, Vec<i64>>, tensors: &BTreeMap<String, Tensor<'_>>) -> Self {
        let mut misfit = Self::default();
        for (name, needed) in shapes {
            let Some(tensor) = tensors.get(name) else {
                misfit.missing.push(name.clone());
                continue;
            };
            let found = tensor.dims().iter().map(|dim| *dim as i64);
            if !found.eq(needed.iter().copied()) {
                misfit.misshapen.push(format!("{name} {:?} for {needed:?}", tensor.dims()));
            }
        }
        let surplus = tensors.keys().filter(|name| !is_filter(name) && !shapes.contains_key(*name));
        misfit.surplus.extend(surplus.cloned());
        misfit
    }

    fn count(&self) -> usize {
        self.missing.len() + self.surplus.len() + self.misshapen.len()
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("missing", &self.missing),
            ("surplus", &self.surplus),
            ("of another shape", &self.misshapen),
        ];
        let kinds = kinds.into_iter().filter(|(_, names)| !names.is_empty());
        for (at, (kind, names)) in kinds.enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            let listed = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>();
            write!(f, "{separator}{} {kind} ({}", names.len(), listed.join(", "))?;
            write!(f, "{})", if names.len() > LISTED { ", …" } else { "" })?;
        }
        Ok(())
    }
}

fn is_filter(name: &str) -> bool {
    name.rsplit('.').next() == Some(FILTER)
}

/// The network of a configuration with the tensors of a file, which must be exactly its own.
fn fill(config: &UNetConfig, tensors: &BTreeMap<String, Tensor<'_>>) -> Result<UNet> {
    check_size(config, tensors)?;
    let network = UNet::blank(config.clone(), Device::Cpu)?;
    let shapes = shapes(&network);
    let misfit = Misfit::of(&shapes, tensors);
    ensure!(
        misfit.count() == 0,
        "its tensors are not those of its network: {misfit}: take the file and the configuration \
         of one network"
    );
    for (name, tensor) in tensors.iter().filter(|(name, _)| is_filter(name)) {
        check_filter(name, tensor, config.resample_filter())?;
    }
    let bar = progress::bar(shapes.len() as u64, "importing", "tensors");
    for (name, mut target) in network.tensors() {
        let values = tch::Tensor::from_slice(&tensors[&name].values());
        set_values(&mut target, &values.f_view(&shapes[&name][..])?)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(network)
}

/// Fails where a configuration asks for more blocks than there are tensors, or for more channels
/// than any of them has: such a network may be larger than any memory.
fn check_size(config: &UNetConfig, tensors: &BTreeMap<String, Tensor<'_>>) -> Result<()> {
    let most = tensors.values().flat_map(|tensor| tensor.dims()).copied().max().unwrap_or(0);
    let (base, mults, factors, blocks, others) = match config {
        UNetConfig::SongUNet(c) => (
            c.model_channels,
            &c.channel_mult,
            [c.channel_mult_emb, c.channel_mult_noise],
            c.num_blocks,
            [c.in_channels, c.out_channels, c.label_dim, c.augment_dim],
        ),
        UNetConfig::DhariwalUNet(c) => (
            c.model_channels,
            &c.channel_mult,
            [c.channel_mult_emb, 1],
            c.num_blocks,
            [c.in_channels, c.out_channels, c.label_dim, c.augment_dim],
        ),
    };
    let widths = mults.iter().chain(&factors).map(|mult| base.saturating_mul(*mult));
    // Frequencies come in pairs.
    let widest = widths.max().unwrap_or(0) / 2;
    let blocks = blocks.saturating_mul(mults.len());
    ensure!(
        blocks <= tensors.len() && others.into_iter().chain([widest]).all(|width| width <= most),
        "its {} tensors of at most {most} channels are too few for its configuration: {}",
        tensors.len(),
        serde_json::to_string(config)?
    );
    Ok(())
}

/// Fails where a stored resampling filter is not the configuration's.
///
/// ```text
/// f fᵀ/(Σf)²,  [1, 1, k, k]
/// ```
fn check_filter(name: &str, tensor: &Tensor<'_>, taps: &[f64]) -> Result<()> {
    let sum: f64 = taps.iter().sum();
    let expected = taps.iter().flat_map(|a| taps.iter().map(move |b| a * b / (sum * sum)));
    let side = taps.len();
    let values = tensor.values();
    // f32 products and quotients.
    let close = |(value, expected): (&f32, f64)| (f64::from(*value) - expected).abs() <= 1e-6;
    ensure!(
        tensor.dims() == [1, 1, side, side] && values.iter().zip(expected).all(close),
        "{name} is not the filter {taps:?} of its configuration"
    );
    Ok(())
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

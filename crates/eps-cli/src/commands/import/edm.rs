//! `eps import FILE OUT`: networks of EDM, EDM2, guided-diffusion and diffusers from pickles, files of PyTorch and
//! safetensors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;
use eps_data::pickle::torch::{Tensor, TorchFile};
use eps_files::{StandIn, WriteLock, require_regular, sha256, sha256_file};
use eps_math::parameterisation::{Parameterisation, PixelRange, Prediction};
use eps_math::timesteps::{Betas, Between};
use eps_model::checkpoint::{self, CheckpointConfig, Provenance, Storage};
use eps_model::{
    DhariwalUNetConfig, ImportedFile, ModelError, PUBLISHED, PrecondConfig, SongUNetConfig,
    TrainingRecord, UNet, UNet2DModelConfig, UNetConfig, UNetModelConfig, published,
    published_betas, published_licence,
};

use super::architecture::{
    Trained, family_of, fill, given_architecture, infer, integers_note, noise_schedule,
    with_steps_of,
};
use super::contents::{Contents, is_setting};
use super::diffusers::{self, Beside};
use super::family::{Family, unwrapped};
use super::persistent;
use super::safetensors::{self, Shards};
use super::selection::{Selected, Source};
use eps::{environment, network};

/// The licence under which NVIDIA published EDM's networks.
const EDM_LICENCE: &str = "CC BY-NC-SA 4.0";

/// What is recorded where nobody says under which licence the weights are.
const UNKNOWN_LICENCE: &str = "unknown";

/// The most tensors of a file: the networks of 256×256 pixels have some 600, and each is looked up by itself.
const MOST_TENSORS: usize = 4096;

/// How a file is read, and what is written.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The network of a state dict: the name of a published file, without its ending, or a JSON file with the
    /// configuration, as `eps model show` prints it under "network": {"model_type": "UNetModel"} with the flags of
    /// guided-diffusion's commands, the config.json of diffusers, or the arguments of EDM's and EDM2's classes
    /// [default: the config.json beside the weights, or the published one that has these tensors]
    #[arg(long, value_name = "NAME|FILE.json")]
    architecture: Option<String>,
    /// Which of the networks in the file: its name there, or a part of that between dots [default: the one that is
    /// called an average (EMA), or the only one]
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// The chain that a network of noise was trained on, guided-diffusion's flag [default: that of the
    /// scheduler_config.json beside the weights, of the published network or of --architecture's file; otherwise
    /// linear]
    #[arg(long, value_name = "linear|cosine", value_parser = noise_schedule)]
    noise_schedule: Option<Betas>,
    /// Which timestep a network of noise is told between two of its chain: the fractional one, linear in ln σ as in
    /// k-diffusion, the one whose ln σ is nearest (k-diffusion's quantize), or the one of DAPS's rounding
    #[arg(long, value_name = "interpolate|nearest|daps", value_parser = between, default_value = "interpolate")]
    between: Between,
    /// The network of noise was trained on images in [0, 1], not in [-1, 1] [default: where its configuration has
    /// center_input_sample]
    #[arg(long)]
    zero_to_one: bool,
    /// The licence of the weights [default: CC BY-NC-SA 4.0 for pickles of EDM's and EDM2's code; for state dicts of
    /// a published architecture what its weights are under, as not stated; otherwise unknown]
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Store the weights in half precision, f16
    #[arg(long, conflicts_with = "storage")]
    half: bool,
    /// In what the weights are stored: f32, f16, or bf16, which is as small as f16 and has the range of f32
    #[arg(long, value_name = "f32|f16|bf16", default_value = "f32")]
    storage: Storage,
    /// Replace the file if it is there and a network
    #[arg(long)]
    force: bool,
}

/// A rule by its name.
fn between(name: &str) -> Result<Between, String> {
    match name {
        "interpolate" => Ok(Between::Interpolate),
        "nearest" => Ok(Between::Nearest),
        "daps" => Ok(Between::Daps),
        other => Err(format!("{other:?} is not known: interpolate, nearest and daps are")),
    }
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
    ensure!(
        !out.exists() || checkpoint::read_config(out).is_ok(),
        "{} holds something else than a network: --force does not replace it, name another file",
        out.display()
    );
    let (weights, note) = match path.is_dir() {
        true => diffusers::weights(path)?,
        false => (path.to_owned(), None),
    };
    let _lock = WriteLock::take(out)?;
    require_regular(&weights)?;
    let bytes = fs::read(&weights).context("the file cannot be read: check its path")?;
    if let Some(found) = StandIn::of(&bytes) {
        bail!("{}: {found}", weights.display());
    }
    let Converted { network, config, architecture, notes } = convert(&weights, &bytes, flags)?;
    drop(bytes);
    let storage = if flags.half { Storage::F16 } else { flags.storage };
    checkpoint::save(out, &network, &config, storage).map_err(|error| match error {
        ModelError::Overflow { .. } => anyhow!(error)
            .context("leave out --half, or import with --storage bf16 or --storage f32"),
        error => error.into(),
    })?;
    for note in note.into_iter().chain(notes) {
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
    let mut imported = ImportedFile {
        bytes: Some(bytes.len() as u64),
        sha256: sha256(bytes),
        ..ImportedFile::default()
    };
    if safetensors::is_index(path) {
        let shards = Shards::read(path, bytes)?;
        imported.bytes = Some(shards.size() as u64);
        imported.files = shards.digests();
        if !shards.are_pickles() {
            let contents = Contents::of_tensors(shards.tensors()?);
            return build(path, &contents, shards.size(), imported, flags);
        }
        let files =
            shards.parts().map(|(name, bytes)| part(name, bytes)).collect::<Result<Vec<_>>>()?;
        let parts = files.iter().map(Contents::of_pickle).collect::<Result<Vec<_>>>()?;
        let contents = Contents::of_parts(parts);
        return build(path, &contents, shards.size(), imported, flags);
    }
    if safetensors::is_safetensors(bytes) || safetensors::is_named_so(path) {
        safetensors::check_whole(path)?;
        let contents = Contents::of_tensors(safetensors::tensors(bytes)?);
        return build(path, &contents, bytes.len(), imported, flags);
    }
    let file = TorchFile::read(bytes).context(
        "the file is no pickle, none of PyTorch's and none of safetensors, or it is damaged: give the .pkl, .pt, \
         .pth, .safetensors or .safetensors.index.json of a network, fetched again if it was one",
    )?;
    check_globals(&file)?;
    let contents = Contents::of_pickle(&file)?;
    build(path, &contents, bytes.len(), imported, flags)
}

/// One of several files of PyTorch.
fn part<'a>(name: &str, bytes: &'a [u8]) -> Result<TorchFile<'a>> {
    let file = TorchFile::read(bytes).with_context(|| format!("{name} is no file of PyTorch"))?;
    check_globals(&file).with_context(|| name.to_owned())?;
    Ok(file)
}

/// Fails where a pickle names anything that is no part of a network: it might be called when Python reads the file.
fn check_globals(file: &TorchFile<'_>) -> Result<()> {
    let is_known =
        |module: &str, name: &str| persistent::is_known(module, name) || is_setting(module, name);
    match file.foreign_global(is_known) {
        None => Ok(()),
        Some(global) if global.starts_with("__torch__") => bail!(
            "the file names {global}: it is a module of TorchScript, which a description makes a prior (docs/priors.md)"
        ),
        Some(global) => bail!(
            "the file names {global}, which is no part of a network: fetch it again from its publisher, or \
             save the network's state dict alone, torch.save(network.state_dict(), …)"
        ),
    }
}

/// The network that is meant in a file of `size` bytes.
fn build(
    path: &Path,
    contents: &Contents<'_, '_>,
    size: usize,
    mut imported: ImportedFile,
    flags: &Flags,
) -> Result<Converted> {
    let selected = Selected::of(contents, flags.entry.as_deref())?;
    if !selected.name.is_empty() {
        imported.entry = Some(selected.name.clone());
    }
    let mut tensors = tensors(&selected, size)?;
    let Selected { source, mut notes, .. } = selected;
    let (mut schedule, mut trained) = (None, None);
    let given = match flags.architecture.as_deref().map(given_architecture).transpose()? {
        Some(given) => {
            (schedule, trained) = (given.chain, given.trained);
            Some((given.name, given.config))
        }
        // What another network's folder says is none of its concern.
        None if matches!(source, Source::StateDict(None | Some(Family::Diffusers))) => {
            Beside::of(path)?.map(|beside| {
                schedule = beside.schedule;
                ("the config.json beside it".to_owned(), beside.config)
            })
        }
        None => None,
    };
    let (config, architecture) = config_of(&source, given, &tensors, &stem(path))?;
    if matches!(source, Source::StateDict(None)) {
        // The names of a file of no family, as that of the configuration has them.
        let family = family_of(&config);
        let all = tensors.into_iter();
        tensors =
            all.map(|(name, tensor)| (family.tensor_name(unwrapped(&name)), tensor)).collect();
    }
    check_channels(&config)?;
    if matches!(&config, UNetConfig::Precond(config) if config.img_channels == LATENT_CHANNELS) {
        notes.push(OF_LATENTS.to_owned());
    }
    let network = fill(&config, &tensors)?;
    notes.extend(integers_note(&network, &tensors));
    let parameterisation = config.predicts_noise().then(|| {
        let betas = published_betas(&architecture).map(|betas| (betas, Prediction::Epsilon));
        let (schedule, note) = match (flags.noise_schedule, schedule.or(betas)) {
            // The flag names the schedule, and the file its steps.
            (Some(named), Some((known, prediction))) => {
                ((with_steps_of(&named, &known), prediction), None)
            }
            (Some(named), None) => ((named, Prediction::Epsilon), None),
            (None, Some(known)) => (known, None),
            (None, None) => ((Betas::linear(), Prediction::Epsilon), Some(ASSUMED_CHAIN)),
        };
        notes.extend(note.map(str::to_owned));
        let is_centred =
            matches!(&config, UNetConfig::UNet2DModel(config) if config.center_input_sample);
        let range = if flags.zero_to_one || is_centred {
            PixelRange::ZeroToOne
        } else {
            PixelRange::MinusOneToOne
        };
        diffusers::parameterisation(schedule, flags.between, range)
    });
    let is_of_chain = flags.noise_schedule.is_some()
        || flags.between != Between::Interpolate
        || flags.zero_to_one;
    if parameterisation.is_none() && is_of_chain {
        notes.push(
            "--noise-schedule, --between and --zero-to-one have no effect: the network is of no chain of timesteps"
                .to_owned(),
        );
    }
    if config.returned_channels() > config.out_channels() {
        notes.push("the variances that the network learnt are not used".to_owned());
    }
    let provenance = Provenance {
        source: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        licence: flags.licence.clone().unwrap_or_else(|| licence(&source, &config)),
        command: environment::command_line(),
        training: TrainingRecord::of_import(imported),
        start: None,
    };
    let mut config = match parameterisation {
        None => CheckpointConfig::edm_prior(stem(path), config, provenance),
        Some(parameterisation) => prior_of_noise(stem(path), config, parameterisation, provenance)?,
    };
    if let Some(Trained { precondition, levels }) = trained
        && config.parameterisation.is_none()
    {
        config.precondition = precondition;
        [config.sigma_min, config.sigma_max] = levels;
    }
    if let Source::Object(wrapped) = &source {
        let [lowest, highest] = wrapped.sigma_range;
        config.precondition.sigma_data = wrapped.sigma_data;
        config.sigma_min = config.sigma_min.max(lowest);
        config.sigma_max = config.sigma_max.min(highest);
    }
    Ok(Converted { network, config, architecture, notes })
}

/// The channels of the latents that EDM2's networks for 512×512 pixels work on.
const LATENT_CHANNELS: usize = 4;

/// What is said of such a network.
const OF_LATENTS: &str = "its images have 4 channels, as the latents of EDM2's networks for 512x512 pixels: if it is one \
                          of these, it is no prior of images, as their autoencoder is not read";

/// Refuses a network that does not read and return images of the same channels.
fn check_channels(config: &UNetConfig) -> Result<()> {
    let (read, returned) = (config.in_channels(), config.out_channels());
    ensure!(
        read == returned,
        "its configuration reads {read} channels and returns an image of {returned}: a prior reads one image and returns it{}",
        match config {
            UNetConfig::UNetModel(_) if returned == 2 * read => {
                "; where the second half says variances, add \"learn_sigma\": true"
            }
            _ => "",
        }
    );
    Ok(())
}

/// What is said where nothing says the chain.
const ASSUMED_CHAIN: &str = "the chain that the network was trained on is not said: it is taken to be linear, 1000 \
                             steps from 1e-4 to 0.02; --noise-schedule names another";

fn prior_of_noise(
    name: String,
    network: UNetConfig,
    parameterisation: Parameterisation,
    provenance: Provenance,
) -> Result<CheckpointConfig> {
    CheckpointConfig::parameterised_prior(name, network, parameterisation, provenance)
        .context("the chain cannot be asked")
}

/// A file's name without its ending; of diffusers' files, which all have one name, that of their folder.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with("diffusion_pytorch_model.") {
        let mut folders = path.ancestors().skip(1).filter_map(Path::file_name);
        let folder = folders.find(|folder| !diffusers::UNETS.iter().any(|unet| folder == unet));
        if let Some(folder) = folder {
            return folder.to_string_lossy().into_owned();
        }
    }
    if let Some(stem) = name.strip_suffix(".index.json") {
        return Path::new(stem).file_stem().unwrap_or_default().to_string_lossy().into_owned();
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
                .context("the arguments of the network are not those of EDM's or EDM2's")?;
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
        (Source::StateDict(_), Some((name, config))) => Ok((config, name)),
        (Source::StateDict(family), None) => infer(tensors, *family, stem),
    }
}

/// The licence of the weights where nobody names it.
fn licence(source: &Source, config: &UNetConfig) -> String {
    let is_published =
        |name: &&str| published(name).is_some_and(|known| same_tensors(&known, config));
    let known = || PUBLISHED.into_iter().find(is_published).and_then(published_licence);
    match source {
        Source::Object(_) => EDM_LICENCE.to_owned(),
        Source::StateDict(_) => known().map_or_else(
            || UNKNOWN_LICENCE.to_owned(),
            |(publisher, licence)| {
                format!("not stated; {publisher} published weights of this architecture are under {licence}")
            },
        ),
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
        UNetConfig::UNetModel(c) => UNetModelConfig { dropout: 0.0, ..c }.into(),
        UNetConfig::UNet2DModel(c) => UNet2DModelConfig { dropout: 0.0, ..c }.into(),
        UNetConfig::Precond(c) => PrecondConfig { dropout: 0.0, ..c }.into(),
    });
    a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_published_architecture_are_taken_for_theirs() {
        let source = Source::StateDict(None);
        for name in PUBLISHED {
            let config = published(name).unwrap();
            let licence = licence(&source, &config);
            let expected = match name {
                _ if name.starts_with("edm") => {
                    let publisher = if name.starts_with("edm2") { "EDM2's" } else { "EDM's" };
                    format!(
                        "not stated; {publisher} published weights of this architecture are under CC BY-NC-SA 4.0"
                    )
                }
                "ffhq_10m" => UNKNOWN_LICENCE.to_owned(),
                _ if name.starts_with("ddpm") => {
                    "not stated; Google's published weights of this architecture are under Apache-2.0"
                        .to_owned()
                }
                _ => "not stated; OpenAI's published weights of this architecture are under MIT"
                    .to_owned(),
            };
            assert_eq!(licence, expected, "{name}");
            let provenance = Provenance {
                source: "net.pt".to_owned(),
                licence,
                command: String::new(),
                training: TrainingRecord::of_import(ImportedFile {
                    sha256: "ab".to_owned(),
                    ..ImportedFile::default()
                }),
                start: None,
            };
            assert_eq!(provenance.is_non_commercial(), name.starts_with("edm"), "{name}");
            let limit = if name.starts_with("edm") { " (non-commercial use only)" } else { "" };
            let line = network::origin(&provenance);
            assert_eq!(line, format!("net.pt (SHA-256 ab); licence: {expected}{limit}"));
        }
        let song = SongUNetConfig::ddpmpp(64, 3, 3);
        let with_dropout = SongUNetConfig { augment_dim: 9, dropout: 0.5, ..song.clone() };
        assert!(licence(&source, &with_dropout.into()).contains("CC BY-NC-SA 4.0"));
        assert_eq!(licence(&source, &SongUNetConfig { num_blocks: 2, ..song }.into()), "unknown");
    }
}

//! Which network of this program a file's tensors are, and that network with their values.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use eps_data::pickle::torch::Tensor;
use eps_files::read_text;
use eps_math::parameterisation::Prediction;
use eps_math::precondition::{Precondition, PreconditionMode};
use eps_math::timesteps::Betas;
use eps_model::{PUBLISHED, UNet, UNetConfig, published, set_values};
use serde_json::Value;
use tch::Device;

use super::diffusers::Chain;
use super::family::{Family, is_like, unwrapped};
use crate::progress;

/// A buffer that the configuration determines.
const FILTER: &str = "resample_filter";

/// The timesteps of guided-diffusion's chain, where no flag says others.
const STEPS: usize = 1000;

/// How many tensors of a kind an error lists.
const LISTED: usize = 3;

/// An architecture that a flag names, and what its file says beside it.
pub(super) struct Given {
    pub(super) name: String,
    pub(super) config: UNetConfig,
    /// The chain and the prediction that guided-diffusion's flags say.
    pub(super) chain: Option<Chain>,
    /// What the configuration of a training, or of a network, says of how it is asked.
    pub(super) trained: Option<Trained>,
}

/// How a network of a training is asked, as its configuration says.
pub(super) struct Trained {
    pub(super) precondition: Precondition,
    /// The lowest and the highest noise level.
    pub(super) levels: [f64; 2],
}

/// The architecture that a flag names.
pub(super) fn given_architecture(name: &str) -> Result<Given> {
    if let Some(config) = published(name) {
        return Ok(Given { name: name.to_owned(), config, chain: None, trained: None });
    }
    let path = PathBuf::from(name);
    ensure!(
        path.extension().is_some_and(|ending| ending == "json"),
        "--architecture {name}: known are {}, and a configuration in a file that ends in .json",
        PUBLISHED.join(", ")
    );
    let text = read_text(&path).with_context(|| format!("--architecture {name}"))?;
    let no_configuration = || format!("--architecture {name}: no configuration of a network");
    let mut config: Value = serde_json::from_str(&text).with_context(no_configuration)?;
    let trained = trained(&config).with_context(no_configuration)?;
    // The configuration of a training, or what `eps model show` prints, has it as a part.
    if let Some(network) = config.get_mut("network") {
        config = network.take();
    }
    let chain = chain_of_flags(&mut config).with_context(no_configuration)?;
    let config = serde_json::from_value(config).with_context(no_configuration)?;
    Ok(Given { name: name.to_owned(), config, chain, trained })
}

/// What the configuration of a training says, or that which `eps model show` prints; none of another file.
fn trained(config: &Value) -> Result<Option<Trained>> {
    let Some(precondition) = config.get("precondition") else { return Ok(None) };
    let law = config.get("noise_law").unwrap_or(config);
    let level = |name: &str| {
        let level = law.get(name).and_then(Value::as_f64);
        level.with_context(|| format!("{name} is missing or no number"))
    };
    let levels = [level("sigma_min")?, level("sigma_max")?];
    let precondition: Precondition = serde_json::from_value(precondition.clone())?;
    ensure!(
        precondition.mode != PreconditionMode::Wiener,
        "its preconditioning wiener is a function of the moments of the images, which it does not have: take the file that \
         `eps train` wrote"
    );
    Ok(Some(Trained { precondition, levels }))
}

/// Takes the flags of guided-diffusion's commands that are none of its network's out of a configuration: the chain that they
/// say, and what the network predicts.
fn chain_of_flags(config: &mut Value) -> Result<Option<Chain>> {
    let Some(fields) = config.as_object_mut() else { return Ok(None) };
    let [schedule, steps, of_images] =
        ["noise_schedule", "diffusion_steps", "predict_xstart"].map(|flag| fields.remove(flag));
    let steps = match &steps {
        None => STEPS,
        Some(steps) => steps
            .as_u64()
            .and_then(|steps| usize::try_from(steps).ok())
            .filter(|steps| *steps > 0)
            .with_context(|| format!("diffusion_steps is {steps}, no number of timesteps"))?,
    };
    ensure!(
        steps == STEPS || fields.get("rescale_timesteps") != Some(&Value::Bool(true)),
        "diffusion_steps is {steps} and rescale_timesteps true: networks that are told other timesteps than those of their \
         chain are not read"
    );
    let prediction = match of_images {
        None | Some(Value::Bool(false)) => Prediction::Epsilon,
        Some(Value::Bool(true)) => Prediction::X0,
        Some(other) => bail!("predict_xstart is {other}, neither true nor false"),
    };
    if schedule.is_none() && steps == STEPS && prediction == Prediction::Epsilon {
        return Ok(None);
    }
    let schedule = schedule.as_ref().map_or("linear", |name| name.as_str().unwrap_or_default());
    let betas = chain_of(schedule, steps).map_err(anyhow::Error::msg)?;
    Ok(Some((betas, prediction)))
}

/// The chain that guided-diffusion's flag `noise_schedule` names.
pub(super) fn noise_schedule(name: &str) -> Result<Betas, String> {
    chain_of(name, STEPS)
}

/// The chain of the flag `noise_schedule` with the timesteps of another one.
pub(super) fn with_steps_of(named: &Betas, known: &Betas) -> Betas {
    let (Betas::Linear { steps, .. }
    | Betas::ScaledLinear { steps, .. }
    | Betas::Cosine { steps, .. }) = *known;
    if let Betas::Cosine { .. } = named { Betas::cosine_of(steps) } else { Betas::linear_of(steps) }
}

/// The chain of a name and a number of timesteps, as guided-diffusion makes it.
fn chain_of(name: &str, steps: usize) -> Result<Betas, String> {
    match name {
        "linear" => Ok(Betas::linear_of(steps)),
        "cosine" => Ok(Betas::cosine_of(steps)),
        other => Err(format!("noise_schedule {other:?} is not known: linear and cosine are")),
    }
}

/// The family of a configuration.
pub(super) fn family_of(config: &UNetConfig) -> Family {
    match config {
        UNetConfig::SongUNet(_) | UNetConfig::DhariwalUNet(_) => Family::Edm,
        UNetConfig::UNetModel(_) => Family::Guided,
        UNetConfig::UNet2DModel(_) => Family::Diffusers,
        UNetConfig::Precond(_) => Family::Edm2,
    }
}

/// The published architecture that has these tensors; of several the one called `stem`, or the first.
pub(super) fn infer(
    tensors: &BTreeMap<String, Tensor<'_>>,
    known: Option<Family>,
    stem: &str,
) -> Result<(UNetConfig, String)> {
    // A network without the tensors that all of its family have is none that was published.
    let Some(known) = known else { bail!(unknown(tensors)) };
    let mut fitting = vec![];
    let mut nearest: Option<(&'static str, Misfit)> = None;
    for (name, config) in PUBLISHED.into_iter().filter_map(|name| Some((name, published(name)?))) {
        if family_of(&config) != known {
            continue;
        }
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
        "its tensors are those of {}, but of no published network; the nearest is {}: name the network's configuration \
         by --architecture",
        known.name(),
        nearest.unwrap_or_default()
    )
}

/// What is said of a file whose tensors are of no family: the kind where it is known all the same, else what is there, and
/// what the family lacks of which most is there.
fn unknown(tensors: &BTreeMap<String, Tensor<'_>>) -> String {
    const MODULE: &str =
        "as a module of TorchScript with a description it is a prior all the same (docs/priors.md)";
    let names: Vec<&str> = tensors.keys().map(|name| unwrapped(name)).collect();
    let has = |pattern: &&str| names.iter().any(|name| is_like(name, pattern));
    if let Some((family, _)) = FAMILIES.iter().find(|(_, all)| all.iter().all(has)) {
        return format!(
            "its tensors are those of {family}, an architecture that is not built here: {MODULE}"
        );
    }
    let first = tensors.iter().take(LISTED);
    let first: Vec<String> =
        first.map(|(name, tensor)| format!("{name} {:?}", tensor.dims())).collect();
    let there = format!(
        "its {} tensors ({}{}) are those of no network that is known here",
        tensors.len(),
        first.join(", "),
        if tensors.len() > LISTED { ", …" } else { "" }
    );
    let found = |family: &Family| family.characteristic().iter().filter(|name| has(name)).count();
    // Of equal ones the first.
    let nearest = Family::ALL.into_iter().rev().max_by_key(found);
    let Some(family) = nearest.filter(|family| found(family) > 0) else {
        let all: Vec<&str> = Family::ALL.into_iter().map(Family::name).collect();
        return format!("{there}, and none has a name of {}: {MODULE}", all.join(", "));
    };
    let all = family.characteristic();
    let missing: Vec<&str> = all.into_iter().filter(|name| !has(name)).collect();
    format!(
        "{there}; the nearest is {}, which always has {} tensors of which {} are there and {} are not: give the whole state \
         dict of such a network; of another one, {MODULE}",
        family.name(),
        all.len(),
        found(&family),
        missing.join(", ")
    )
}

/// Networks of other programs, by tensors that all of a kind have: patterns of [`is_like`], without what stands before
/// all names.
const FAMILIES: [(&str, &[&str]); 4] = [
    (
        "a latent diffusion network (guided-diffusion's UNet beside an autoencoder)",
        &["time_embed.0.weight", "input_blocks.0.0.weight", "first_stage_model.*"],
    ),
    ("a diffusion transformer (DiT)", &["x_embedder.proj.weight", "t_embedder.mlp.0.weight"]),
    ("denoising-diffusion-pytorch's Unet", &["init_conv.weight", "time_mlp.1.weight"]),
    ("score_sde's networks", &["all_modules.0.weight", "all_modules.1.weight"]),
];

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
            let found = tensor.dims().iter().map(|dim| i64::try_from(*dim).ok());
            if !found.eq(needed.iter().copied().map(Some)) {
                misfit.misshapen.push(format!("{name} {:?} for {needed:?}", tensor.dims()));
            }
        }
        let surplus = surplus(tensors, |name| shapes.contains_key(name));
        // Counts, and the rate of an average, are none of a network's weights.
        let is_weight =
            |tensor: &Tensor<'_>| !tensor.kind().is_integer() && !tensor.dims().is_empty();
        misfit
            .surplus
            .extend(surplus.filter(|(_, tensor)| is_weight(tensor)).map(|(name, _)| name.clone()));
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

/// The tensors of a file that are none of a network's, nor filters.
fn surplus<'t, 's>(
    tensors: &'t BTreeMap<String, Tensor<'s>>,
    has: impl Fn(&str) -> bool,
) -> impl Iterator<Item = (&'t String, &'t Tensor<'s>)> {
    tensors.iter().filter(move |(name, _)| !is_filter(name) && !has(name))
}

/// What is said of integers and single numbers beside a network's tensors, such as counts of batches, buffers of timesteps
/// and the rate of an average.
pub(super) fn integers_note(
    network: &UNet,
    tensors: &BTreeMap<String, Tensor<'_>>,
) -> Option<String> {
    let own = network.tensors();
    let names: Vec<&str> =
        surplus(tensors, |name| own.contains_key(name)).map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} tensors of integers or of one number beside the network's are passed over ({}{})",
            names.len(),
            names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", "),
            if names.len() > LISTED { ", …" } else { "" }
        )
    })
}

fn is_filter(name: &str) -> bool {
    name.rsplit('.').next() == Some(FILTER)
}

/// The network of a configuration with the tensors of a file, which must be exactly its own.
pub(super) fn fill(config: &UNetConfig, tensors: &BTreeMap<String, Tensor<'_>>) -> Result<UNet> {
    check_size(config, tensors)?;
    let network = UNet::blank(config.clone(), Device::Cpu)?;
    let shapes = shapes(&network);
    let misfit = Misfit::of(&shapes, tensors);
    ensure!(
        misfit.count() == 0,
        "its tensors are not those of its network: {misfit}: take the file and the configuration \
         of one network"
    );
    for (name, tensor) in tensors.iter().filter(|(name, _)| shapes.contains_key(*name)) {
        ensure!(
            !tensor.kind().is_integer(),
            "{name} is stored in integers, {:?}, and weights are floating-point numbers: save those that the integers stand \
             for, in float32",
            tensor.kind()
        );
    }
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
    let mut others = vec![config.in_channels(), config.out_channels(), config.label_dim()];
    // Channels of levels, of embeddings and of what is halved, and the number of blocks.
    let (mut widths, blocks) = match config {
        UNetConfig::SongUNet(c) => {
            others.push(c.augment_dim);
            let mults = c.channel_mult.iter().chain([&c.channel_mult_emb, &c.channel_mult_noise]);
            let widths = mults.map(|mult| c.model_channels.saturating_mul(*mult)).collect();
            (widths, c.num_blocks.saturating_mul(c.channel_mult.len()))
        }
        UNetConfig::DhariwalUNet(c) => {
            others.push(c.augment_dim);
            let mults = c.channel_mult.iter().chain([&c.channel_mult_emb, &1]);
            let widths = mults.map(|mult| c.model_channels.saturating_mul(*mult)).collect();
            (widths, c.num_blocks.saturating_mul(c.channel_mult.len()))
        }
        UNetConfig::UNetModel(c) => {
            let levels = c.channel_mult.len();
            let widest = c.channel_mult.iter().fold(1.0, |a: f64, b| a.max(*b));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a cast of f64 saturates, and what is too wide is refused below"
            )]
            let widths = vec![c.num_channels, (widest * c.num_channels as f64) as usize];
            (widths, c.num_res_blocks.saturating_mul(levels))
        }
        UNetConfig::UNet2DModel(c) => {
            let blocks = c.layers_per_block.saturating_mul(c.block_out_channels.len());
            (c.block_out_channels.clone(), blocks)
        }
        UNetConfig::Precond(c) => {
            let mults =
                c.channel_mult.iter().chain(&c.channel_mult_noise).chain(&c.channel_mult_emb);
            let widths = mults.map(|mult| c.model_channels.saturating_mul(*mult)).collect();
            others.push(c.logvar_channels);
            (widths, c.num_blocks.saturating_mul(c.channel_mult.len()))
        }
    };
    widths.push(0);
    // Frequencies come in pairs.
    let widest = widths.into_iter().max().unwrap_or(0) / 2;
    ensure!(
        config.label_dim() <= most,
        "its configuration has {} classes, and no tensor has a row for each: it is of a network without classes, or of fewer",
        config.label_dim()
    );
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

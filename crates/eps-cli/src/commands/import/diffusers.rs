//! Folders of diffusers: a network's configuration beside its weights, and the chain that it was trained on.
//!
//! ```text
//! FOLDER/config.json, diffusion_pytorch_model.{safetensors, bin}, or .{safetensors, bin}.index.json, scheduler_config.json
//! FOLDER/unet/… and FOLDER/scheduler/scheduler_config.json of newer pipelines, FOLDER/unet_ema/… of trainings
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use eps_files::read_text;
use eps_math::parameterisation::{Parameterisation, PixelRange, Prediction};
use eps_math::timesteps::{Betas, Between};
use eps_model::UNetConfig;
use serde_json::Value;

/// The chain that a network was trained on, and what it predicts.
pub(super) type Chain = (Betas, Prediction);

/// The class of the networks that are built here.
const CLASS: &str = "UNet2DModel";

/// The files of weights, the first that is there being taken.
const WEIGHTS: [&str; 4] = [
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.bin.index.json",
];

/// How the names of all files of weights begin, those of a variant such as `fp16` too.
const ANY: &str = "diffusion_pytorch_model.";

/// The folders of networks in that of a pipeline or a training, averaged weights (EMA) first.
pub(super) const UNETS: [&str; 2] = ["unet_ema", "unet"];

/// The schedulers whose chain is that of their betas.
const CHAINS: [&str; 14] = [
    "DDPMScheduler",
    "DDIMScheduler",
    "DDIMInverseScheduler",
    "DDPMParallelScheduler",
    "DDIMParallelScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
];

const CONFIG: &str = "config.json";
const SCHEDULER: &str = "scheduler_config.json";

/// The file of weights in a folder, and what is to be said of the choice where there were others.
///
/// # Errors
/// A folder without a network of diffusers, or of another class; one with several variants of weights and none without.
pub(super) fn weights(folder: &Path) -> Result<(PathBuf, Option<String>)> {
    let inner = UNETS.map(|name| folder.join(name)).into_iter().filter(|inner| inner.is_dir());
    let inner: Vec<PathBuf> = inner.collect();
    let is_own = folder.join(CONFIG).is_file();
    let folder = inner.first().filter(|_| !is_own).map_or(folder, |inner| &**inner);
    let note = (inner.len() > 1 && !is_own).then(|| {
        let [averaged, raw] = UNETS;
        format!(
            "{averaged}, the averaged weights (EMA), is taken, and not {raw}: give that folder for the others"
        )
    });
    ensure!(
        folder.join(CONFIG).is_file(),
        "it is a folder without {CONFIG}: give the folder of a network of diffusers, a file with a network, or the \
         .safetensors.index.json of several"
    );
    let found = WEIGHTS.into_iter().map(|name| folder.join(name)).find(|path| path.is_file());
    if let Some(found) = found {
        return Ok((found, note));
    }
    let variants = variants(folder)?;
    let [variant] = &variants[..] else {
        ensure!(
            variants.is_empty(),
            "{} has several variants of the weights: give one of {}",
            folder.display(),
            variants.join(", ")
        );
        bail!("{} has {CONFIG}, but none of {}", folder.display(), WEIGHTS.join(", "));
    };
    let alone = format!("{variant}, the only weights that are there, is taken");
    let note = note.map_or(alone.clone(), |note| format!("{note}; {alone}"));
    Ok((folder.join(variant), Some(note)))
}

/// The files of weights of a variant, such as `diffusion_pytorch_model.fp16.safetensors`, in the order of their names: those of
/// safetensors, or PyTorch's where there are none.
fn variants(folder: &Path) -> Result<Vec<String>> {
    let cannot = || format!("{} cannot be read", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let name = entry.with_context(cannot)?.file_name().to_string_lossy().into_owned();
        let one_of_several = name.contains("-of-");
        if name.starts_with(ANY) && !one_of_several {
            names.push(name);
        }
    }
    names.sort();
    let of = |endings: [&str; 2]| -> Vec<String> {
        let is_of = |name: &&String| endings.iter().any(|ending| name.ends_with(ending));
        names.iter().filter(is_of).cloned().collect()
    };
    let found = of([".safetensors", ".safetensors.index.json"]);
    Ok(if found.is_empty() { of([".bin", ".bin.index.json"]) } else { found })
}

/// What lies beside a file of weights.
#[derive(Debug)]
pub(super) struct Beside {
    /// The network.
    pub(super) config: UNetConfig,
    /// The chain and the prediction; none where no scheduler is there.
    pub(super) schedule: Option<Chain>,
}

impl Beside {
    /// What diffusers wrote beside a file of weights; none where there is no configuration of diffusers.
    ///
    /// # Errors
    /// A configuration that is not read, with its name and what is wrong.
    pub(super) fn of(weights: &Path) -> Result<Option<Self>> {
        let folder = weights.parent().unwrap_or(Path::new(""));
        let Some(config) = json(&folder.join(CONFIG))? else { return Ok(None) };
        let Some(class) = config["_class_name"].as_str() else { return Ok(None) };
        ensure!(
            class == CLASS,
            "{}: it is of a {class}; built here is diffusers' {CLASS}: as a module of TorchScript with a description it \
             is a prior all the same (docs/priors.md)",
            folder.join(CONFIG).display()
        );
        let config = serde_json::from_value(config)
            .with_context(|| format!("{}: not read", folder.join(CONFIG).display()))?;
        let beside = [folder.join(SCHEDULER), folder.join("../scheduler").join(SCHEDULER)];
        let mut schedule = None;
        for path in beside {
            let None = schedule else { break };
            if let Some(scheduler) = json(&path)? {
                let found = read_schedule(&scheduler);
                schedule = Some(found.with_context(|| format!("{}: not read", path.display()))?);
            }
        }
        Ok(Some(Self { config, schedule }))
    }
}

/// A file of JSON, where it is there.
fn json(path: &Path) -> Result<Option<Value>> {
    if !path.is_file() {
        return Ok(None);
    }
    let value = serde_json::from_str(&read_text(path)?);
    value.map(Some).with_context(|| format!("{}: no JSON", path.display()))
}

/// The chain and the prediction of a scheduler's configuration, absent keys being the library's.
fn read_schedule(scheduler: &Value) -> Result<Chain> {
    let number = |key: &str, default: f64| match &scheduler[key] {
        Value::Null => Ok(default),
        value => value.as_f64().with_context(|| format!("{key} is {value}, not a number")),
    };
    if let Some(class) = scheduler["_class_name"].as_str() {
        ensure!(
            CHAINS.contains(&class),
            "it is a {class}, whose noise levels are no chain of betas that is read; read are {}: as a module of TorchScript \
             with a description the network is a prior all the same (docs/priors.md)",
            CHAINS.join(", ")
        );
    }
    ensure!(
        matches!(scheduler["rescale_betas_zero_snr"], Value::Null | Value::Bool(false)),
        "rescale_betas_zero_snr is {}: the chain ends without any signal there, and only chains as their betas say are read",
        scheduler["rescale_betas_zero_snr"]
    );
    ensure!(
        scheduler["trained_betas"].is_null(),
        "trained_betas are given, and only chains whose betas follow from beta_schedule are read"
    );
    let steps = match &scheduler["num_train_timesteps"] {
        Value::Null => 1000,
        value => {
            value.as_u64().and_then(|steps| usize::try_from(steps).ok()).with_context(|| {
                format!("num_train_timesteps is {value}, not a number of timesteps")
            })?
        }
    };
    let (first, last) = (number("beta_start", 1e-4)?, number("beta_end", 0.02)?);
    let betas = match scheduler["beta_schedule"].as_str().unwrap_or("linear") {
        "linear" => Betas::Linear { first, last, steps },
        "scaled_linear" => Betas::ScaledLinear { first, last, steps },
        "squaredcos_cap_v2" => Betas::cosine_of(steps),
        other => bail!(
            "beta_schedule is {other:?}: read are \"linear\", \"scaled_linear\" and \"squaredcos_cap_v2\""
        ),
    };
    let prediction = match scheduler["prediction_type"].as_str().unwrap_or("epsilon") {
        "epsilon" => Prediction::Epsilon,
        "v_prediction" => Prediction::V,
        "sample" => Prediction::X0,
        other => bail!(
            "prediction_type is {other:?}: read are \"epsilon\", \"v_prediction\" and \"sample\""
        ),
    };
    Ok((betas, prediction))
}

/// How a network of a chain is asked.
pub(super) fn parameterisation(
    (betas, prediction): Chain,
    between: Between,
    range: PixelRange,
) -> Parameterisation {
    Parameterisation { prediction, range, ..Parameterisation::noise(betas, between) }
}

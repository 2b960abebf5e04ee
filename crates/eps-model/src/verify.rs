//! Compares a network with a fixture: outputs that the original's own code computed for known weights.
//!
//! A fixture describes a network, its tensors, and for several noise levels the first and last 32 values, the
//! mean and the root mean square of an output. Weights and input are not stored: both follow a rule.
//! With v = 2·`u01(NAME)[i]` − 1 at flat row-major index i of the tensor NAME ([`eps_math::rng::u01`]):
//!
//! ```text
//! no dimensions    1 + 0.1 v
//! one dimension    …weight: 1 + 0.1 v    …freqs: 16 v    else: 0.1 v
//! more dimensions  v·√(3/fan_in),  fan_in the product of all dimensions but the first
//! u                √3·(2·u01("x") − 1), [batch, C, H, W] row-major
//! ```
//!
//! Networks that are preconditioned (EDM, EDM2) have `cases` of D(x; σ) at x = s √(σ² + ¼) u, with s the case's
//! `input_scale` or 1; EDM2's learnt log variance is compared beside it. Networks of noise (guided-diffusion, diffusers)
//! have `cases` of their own output at s u and timesteps, and `denoiser_cases` of D(x; σ).

use std::path::Path;

use eps_math::parameterisation::{Parameterisation, Translation};
use eps_math::rng::u01;
use eps_math::timesteps::{Betas, Between};
use eps_math::{Level, Precondition, PreconditionMode, nearest_f32};
use serde::Deserialize;
use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};

use crate::class_conditional::one_hot;
use crate::extent::{extent, length_of};
use crate::unet::set_values;
use crate::{
    Mode, ModelError, NetworkDenoiser, Precision, Query, QueryNoise, UNet, UNetConfig, level_fields,
};

/// The largest deviation, relative to a case's rms, at which a network counts as the same.
pub const VERIFY_LIMIT: f64 = 1e-4;

/// How the labels of a conditional fixture are made: the one rule that is known.
const LABEL_RULE: &str = "class (7*b+3) % label_dim";

/// The most values of a fixture's input.
const MOST_VALUES: usize = 1 << 26;

/// By how much a timestep of a fixture may differ from the chain's: some digits of a logarithm.
const TIMESTEP_ROUNDING: f64 = 1e-6;

/// A fixture file, as far as it is read.
#[derive(Debug, Deserialize)]
struct Fixture {
    tag: String,
    img_resolution: usize,
    /// The size of the inputs, where it is another.
    input_resolution: Option<usize>,
    img_channels: usize,
    out_channels: Option<usize>,
    label_dim: usize,
    label_of_item: Option<String>,
    model_type: String,
    #[serde(default)]
    learn_sigma: bool,
    prediction: Option<String>,
    #[serde(default)]
    model_kwargs: Map<String, Value>,
    /// In the place of `model_kwargs` for diffusers.
    #[serde(default)]
    config_json: Map<String, Value>,
    batch: usize,
    parameters: usize,
    tensors: Vec<(String, Vec<i64>)>,
    cases: Vec<Case>,
    #[serde(default)]
    denoiser_cases: Vec<Case>,
    /// A case of a conditional network without labels.
    unconditional_case: Option<Case>,
}

/// The stored values of one output.
#[derive(Debug, Deserialize)]
struct Case {
    /// The noise level of D(x; σ).
    sigma: Option<f64>,
    /// What all items of a network of noise are asked at, where it is one timestep.
    timestep: Option<f64>,
    /// What each is asked at.
    timesteps: Option<Vec<f64>>,
    input_scale: Option<f64>,
    first: Vec<f64>,
    last: Vec<f64>,
    mean: f64,
    rms: f64,
    /// EDM2's learnt log variance.
    #[serde(default)]
    logvar: Vec<f64>,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifyReport {
    /// The fixture's name for its network.
    pub tag: String,
    /// The number of trainable parameters.
    pub parameters: usize,
    /// The number of tensors, `freqs` and `phases` included.
    pub tensors: usize,
    /// One entry for each case, in the file's order.
    pub cases: Vec<CaseDeviation>,
}

/// How far one case is from its stored values.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseDeviation {
    /// What was asked: "sigma 0.5", "timestep 250", with the scale of the input where that is not 1.
    pub question: String,
    /// The largest deviation over `first`, `last`, `mean` and `rms`, divided by the stored `rms`, and over the learnt
    /// log variance, divided by its size where that is above 1.
    pub deviation: f64,
}

impl VerifyReport {
    /// The largest deviation over the cases; NaN if any is.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        largest(self.cases.iter().map(|case| case.deviation))
    }

    /// Whether every case is within [`VERIFY_LIMIT`].
    #[must_use]
    pub fn passed(&self) -> bool {
        self.deviation() <= VERIFY_LIMIT
    }
}

/// Builds the network that a fixture describes, fills it by the rule, and compares its outputs.
///
/// ```text
/// EDM, EDM2   D(x; σ) = c_skip x + c_out F(c_in x, ¼ ln σ, label)          (Karras et al. 2022, eq. 7)
/// noise       D(x; σ) = x − σ F(x/√(1 + σ²), t(σ), label),  t(σ) linear in ln σ between a chain's timesteps
/// ```
///
/// Computed on a device in f32; on a GPU in TF32 (11 bits of significand) where CUDA's libraries take it for f32.
///
/// # Errors
/// [`ModelError::Io`] and [`ModelError::Corrupt`] for a file that cannot be read or is no fixture,
/// [`ModelError::Config`] for a network that cannot be built, and the tensor errors when its tensors are not those that the file lists.
pub fn verify(path: &Path, device: Device) -> Result<VerifyReport, ModelError> {
    let corrupt = |reason: String| ModelError::Corrupt { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path)
        .map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    let fixture: Fixture = serde_json::from_str(&text).map_err(|error| {
        corrupt(format!("not a fixture of a network ({error}); fetch the file again"))
    })?;
    compare(&fixture, path, device, &|_, values| values)
}

/// Compares a network whose tensors are those of the rule after a change, by their names.
fn compare(
    fixture: &Fixture,
    path: &Path,
    device: Device,
    change: &dyn Fn(&str, Tensor) -> Tensor,
) -> Result<VerifyReport, ModelError> {
    let corrupt = |reason: String| ModelError::Corrupt { path: path.to_owned(), reason };
    let Built { config, sigma_data, betas } = fixture.build().map_err(corrupt)?;
    fixture.check_images(&config).map_err(corrupt)?;
    let labels = fixture.labels(device).map_err(corrupt)?;
    if fixture.batch == 0 || fixture.cases.is_empty() {
        return Err(corrupt("it holds no case or an empty batch: nothing can be compared".into()));
    }

    let _guard = tch::no_grad_guard();
    let network = UNet::blank(config, device)?;
    fixture.check_tensors(&network, path)?;
    for (name, mut tensor) in network.tensors() {
        let dims = tensor.size();
        set_values(&mut tensor, &change(&name, rule_tensor(&name, &dims)))?;
    }

    let labels = labels.as_ref();
    let of_noise = network.config().predicts_noise();
    let (raw, denoised) = if of_noise {
        (&fixture.cases[..], &fixture.denoiser_cases)
    } else {
        (&[][..], &fixture.cases)
    };
    let mut cases = Vec::new();
    let mut found = |case: &Case, deviation| {
        cases.push(CaseDeviation { question: case.question(), deviation });
    };
    for case in raw {
        let output = fixture.raw(case, &network, labels).map_err(corrupt)?;
        found(case, case.deviation(&output).map_err(corrupt)?);
    }
    if let (true, Some(case)) = (of_noise, &fixture.unconditional_case) {
        let output = fixture.raw(case, &network, None).map_err(corrupt)?;
        found(case, case.deviation(&output).map_err(corrupt)?);
    }
    if !denoised.is_empty() {
        let (reads, returns) = (network.config().in_channels(), network.config().out_channels());
        if reads != returns {
            return Err(corrupt(format!(
                "its network reads {reads} channels and predicts {returns}: it has no D(x; sigma)"
            )));
        }
        let precondition = Precondition { mode: PreconditionMode::Scalar, sigma_data };
        let mut denoiser = NetworkDenoiser::new(network, precondition, vec![], Precision::F32);
        let wrong = |error: eps_math::MathError| corrupt(error.to_string());
        let noise = Parameterisation::noise(betas, Between::Interpolate);
        let chain = of_noise.then(|| Translation::new(&noise)).transpose().map_err(wrong)?;
        if of_noise {
            denoiser = denoiser.with_parameterisation(&noise).map_err(wrong)?;
        }
        let mut ask = |case: &Case, labels| -> Result<(), String> {
            let (output, logvar) = fixture.denoised(case, &denoiser, chain.as_ref(), labels)?;
            let deviations = [case.deviation(&output)?, case.of_log_variance(&logvar)?];
            found(case, largest(deviations.into_iter()));
            Ok(())
        };
        for case in denoised {
            ask(case, labels).map_err(corrupt)?;
        }
        if let (false, Some(case)) = (of_noise, &fixture.unconditional_case) {
            ask(case, None).map_err(corrupt)?;
        }
    }
    Ok(VerifyReport {
        tag: fixture.tag.clone(),
        parameters: fixture.parameters,
        tensors: fixture.tensors.len(),
        cases,
    })
}

/// What a fixture says of its network.
#[derive(Debug)]
struct Built {
    config: UNetConfig,
    /// σ_data of the preconditioning, where there is one.
    sigma_data: f64,
    /// The chain of a network of noise.
    betas: Betas,
}

impl Fixture {
    /// The network's configuration: the fixture's keyword arguments, and what stands beside them.
    fn build(&self) -> Result<Built, String> {
        let mut kwargs = self.model_kwargs.clone();
        let out_channels = self.out_channels.unwrap_or(self.img_channels);
        let mut beside: Vec<(&str, Value)> = match &*self.model_type {
            "UNetModel" => vec![
                ("image_size", self.img_resolution.into()),
                ("in_channels", self.img_channels.into()),
                ("out_channels", out_channels.into()),
                ("learn_sigma", self.learn_sigma.into()),
                ("num_classes", self.label_dim.into()),
            ],
            "UNet2DModel" => {
                kwargs.extend(self.config_json.clone());
                vec![
                    ("sample_size", self.img_resolution.into()),
                    ("in_channels", self.img_channels.into()),
                    ("out_channels", out_channels.into()),
                ]
            }
            "Precond" => vec![
                ("img_resolution", self.img_resolution.into()),
                ("img_channels", self.img_channels.into()),
                ("label_dim", self.label_dim.into()),
            ],
            _ => vec![
                ("img_resolution", self.img_resolution.into()),
                ("in_channels", self.img_channels.into()),
                ("out_channels", self.img_channels.into()),
                ("label_dim", self.label_dim.into()),
            ],
        };
        beside.push(("model_type", self.model_type.clone().into()));
        let sigma_data = match kwargs.remove("sigma_data") {
            None => 0.5,
            Some(value) => value
                .as_f64()
                .filter(|value| *value > 0.0)
                .ok_or_else(|| format!("sigma_data is {value}, which is not positive"))?,
        };
        let betas = match kwargs.remove("noise_schedule").as_ref().map(|name| name.as_str()) {
            None => self.chain(),
            Some(Some("linear")) => Betas::linear(),
            Some(Some("cosine")) => Betas::cosine(),
            Some(name) => {
                return Err(format!("noise_schedule {name:?} is not known: linear and cosine are"));
            }
        };
        for (field, value) in beside {
            let given = kwargs.entry(field).or_insert(Value::Null);
            if given.is_null() {
                *given = value;
            }
        }
        let config: UNetConfig = serde_json::from_value(kwargs.into()).map_err(|error| {
            format!("its configuration: {error}; only the original's own arguments are understood")
        })?;
        match self.prediction.as_deref() {
            Some(prediction) if config.predicts_noise() && prediction != "epsilon" => {
                Err(format!("its network predicts {prediction:?}: known is \"epsilon\" alone"))
            }
            _ => Ok(Built { config, sigma_data, betas }),
        }
    }

    /// The chain whose timesteps the cases of D(x; σ) name: of guided-diffusion's two the one that has them, or the
    /// linear one.
    fn chain(&self) -> Betas {
        let fits = |betas: &Betas| {
            let noise = Parameterisation::noise(*betas, Between::Interpolate);
            let Ok(chain) = Translation::new(&noise) else { return false };
            let mut asked =
                self.denoiser_cases.iter().filter_map(|case| Some((case.sigma?, case.timestep?)));
            asked.all(|(sigma, timestep)| is_near(chain.call(sigma).time, timestep))
        };
        [Betas::linear(), Betas::cosine()].into_iter().find(fits).unwrap_or_else(Betas::linear)
    }

    /// The sides of the inputs.
    fn side(&self) -> usize {
        self.input_resolution.unwrap_or(self.img_resolution)
    }

    /// Whether the images and labels are those that the network takes, and not too many.
    fn check_images(&self, config: &UNetConfig) -> Result<(), String> {
        let network = (
            config.in_channels(),
            config.returned_channels(),
            config.img_resolution(),
            config.label_dim(),
        );
        let (channels, side, classes) = (self.img_channels, self.img_resolution, self.label_dim);
        if network != (channels, self.out_channels.unwrap_or(channels), side, classes) {
            let (reads, returns, size, knows) = network;
            return Err(format!(
                "its images have {channels} channels, {side}x{side} pixels and {classes} classes, its network is made \
                 for {reads} channels ({returns} returned), {size}x{size} pixels and {knows} classes; fetch the file \
                 again"
            ));
        }
        let side = self.side();
        config.check_size(side, side).map_err(|error| format!("input_resolution: {error}"))?;
        let values = [self.batch, config.returned_channels().max(channels), side, side]
            .into_iter()
            .try_fold(1, usize::checked_mul)
            .filter(|values| *values <= MOST_VALUES);
        values.map(|_| ()).ok_or_else(|| {
            format!("a batch {} of its images has more than {MOST_VALUES} values", self.batch)
        })
    }

    /// One-hot labels, `[batch, label_dim]`.
    fn labels(&self, device: Device) -> Result<Option<Tensor>, String> {
        match &self.label_of_item {
            None => Ok(None),
            Some(_) if self.label_dim == 0 => Ok(None),
            Some(rule) if rule.starts_with(LABEL_RULE) => {
                let classes: Vec<usize> =
                    (0..self.batch).map(|b| (7 * b + 3) % self.label_dim).collect();
                let labels = one_hot(&classes, self.label_dim, device);
                labels.map(Some).map_err(|error| error.to_string())
            }
            Some(rule) => Err(format!(
                "label_of_item is {rule:?}, but the only rule known is {LABEL_RULE:?}; update eps"
            )),
        }
    }

    /// Whether the network has exactly the tensors that the file lists.
    fn check_tensors(&self, network: &UNet, path: &Path) -> Result<(), ModelError> {
        let mut ours = network.tensors();
        for (name, found) in &self.tensors {
            let (path, name, found) = (path.to_owned(), name.clone(), found.clone());
            let Some(tensor) = ours.remove(&name) else {
                return Err(ModelError::SurplusTensor { path, name, found });
            };
            let expected = tensor.size();
            if expected != found {
                return Err(ModelError::TensorShape { path, name, expected, found });
            }
        }
        if let Some((name, tensor)) = ours.pop_first() {
            let (path, expected) = (path.to_owned(), tensor.size());
            return Err(ModelError::MissingTensor { path, name, expected });
        }
        if network.parameter_count() != self.parameters {
            return Err(ModelError::Corrupt {
                path: path.to_owned(),
                reason: format!(
                    "it counts {} parameters, but its tensors have {}; fetch the file again",
                    self.parameters,
                    network.parameter_count()
                ),
            });
        }
        Ok(())
    }

    /// The input of a case, `[batch, C, H, W]` in f32: `scale` times values of variance 1.
    fn input(&self, scale: f64, device: Device) -> Tensor {
        let dims = [self.batch, self.img_channels, self.side(), self.side()];
        let scale = scale * 3f64.sqrt();
        let values = u01("x", dims.iter().product());
        let values: Vec<f32> =
            values.iter().map(|u| nearest_f32(scale * (2.0 * u - 1.0))).collect();
        Tensor::from_slice(&values).view(dims.map(extent)).to_device(device)
    }

    /// A network's own output.
    fn raw(
        &self,
        case: &Case,
        network: &UNet,
        labels: Option<&Tensor>,
    ) -> Result<Vec<f64>, String> {
        let times = match (&case.timesteps, case.timestep) {
            (Some(times), _) => times.clone(),
            (None, Some(time)) => vec![time; self.batch],
            (None, None) => return Err("a case has neither a timestep nor timesteps".to_owned()),
        };
        if times.len() != self.batch {
            return Err(format!("a case has {} timesteps for {} items", times.len(), self.batch));
        }
        let device = network.variables().device();
        let times = Tensor::from_slice(&times).to_kind(Kind::Float).to_device(device);
        let x = self.input(case.input_scale.unwrap_or(1.0), device);
        values(&network.forward(&x, &times, labels, None, Mode::Eval))
    }

    /// D(x; σ), and the learnt log variance.
    fn denoised(
        &self,
        case: &Case,
        denoiser: &NetworkDenoiser,
        chain: Option<&Translation>,
        labels: Option<&Tensor>,
    ) -> Result<(Vec<f64>, Vec<f64>), String> {
        let Some(sigma) = case.sigma else {
            return Err("a case has no sigma; fetch the file again".to_owned());
        };
        if !(sigma > 0.0 && sigma.is_finite()) {
            return Err(format!(
                "a case has sigma {sigma}, which must be positive; fetch the file again"
            ));
        }
        if let (Some(chain), Some(given)) = (chain, case.timestep) {
            let found = chain.call(sigma).time;
            if !is_near(found, given) {
                return Err(format!(
                    "its timestep for sigma {sigma} is {given}, that of the chain {found}: it is of another chain"
                ));
            }
        }
        let scale = case.input_scale.unwrap_or(1.0) * sigma.hypot(0.5);
        let device = denoiser.network().variables().device();
        let mu = self.input(scale, device).to_kind(Kind::Double);
        let level = level_fields(&[Level::edm(sigma)], device);
        let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
        let factors = denoiser.factors(&query);
        let raw = denoiser.raw(&query, &factors, labels, Mode::Eval).to_kind(Kind::Double);
        let c_noise = Tensor::from_slice(&[Precondition::noise_input(sigma)]).to_device(device);
        let log_variance = match denoiser.network().log_variance(&c_noise) {
            Some(found) => values(&found)?,
            None => vec![],
        };
        Ok((values(&factors.answer(&raw))?, log_variance))
    }
}

impl Case {
    /// What it asks.
    fn question(&self) -> String {
        let asked = match (self.sigma, self.timestep, &self.timesteps) {
            (Some(sigma), _, _) => format!("sigma {sigma}"),
            (None, Some(time), _) => format!("timestep {time}"),
            (None, None, Some(times)) => format!("timesteps {times:?}"),
            (None, None, None) => String::new(),
        };
        match self.input_scale {
            Some(scale) if scale != 1.0 => format!("{asked}, input times {scale}"),
            _ => asked,
        }
    }

    /// The largest deviation of an output, relative to the stored rms.
    fn deviation(&self, output: &[f64]) -> Result<f64, String> {
        if !(self.rms > 0.0) {
            return Err(format!(
                "a case has rms {}, which must be positive; fetch the file again",
                self.rms
            ));
        }
        let n = output.len();
        let mean = output.iter().sum::<f64>() / n as f64;
        let rms = (output.iter().map(|v| v * v).sum::<f64>() / n as f64).sqrt();
        let edges = self.first.len().max(self.last.len());
        if edges > n {
            return Err(format!("a case lists {edges} values of {n}; fetch the file again"));
        }
        let first = output.iter().zip(&self.first);
        let last = output[n - self.last.len()..].iter().zip(&self.last);
        let pairs = first.chain(last).chain([(&mean, &self.mean), (&rms, &self.rms)]);
        Ok(largest(pairs.map(|(ours, theirs)| (ours - theirs).abs() / self.rms)))
    }

    /// The largest deviation of the log variance at the case's level; all items have the same.
    fn of_log_variance(&self, found: &[f64]) -> Result<f64, String> {
        let [ours] = found[..] else {
            return if self.logvar.is_empty() {
                Ok(0.0)
            } else {
                Err("a case has a logvar, which its network does not learn".to_owned())
            };
        };
        let relative = |theirs: &f64| (ours - theirs).abs() / theirs.abs().max(1.0);
        Ok(largest(self.logvar.iter().map(relative)))
    }
}

/// Whether a timestep of a fixture is that of a chain.
fn is_near(found: f64, given: f64) -> bool {
    (found - given).abs() <= TIMESTEP_ROUNDING * found.max(1.0)
}

/// The values of a tensor, row-major.
fn values(tensor: &Tensor) -> Result<Vec<f64>, String> {
    let flat = tensor.to_kind(Kind::Double).flatten(0, -1);
    Vec::try_from(flat.to_device(Device::Cpu)).map_err(|error: tch::TchError| error.to_string())
}

/// The tensor that the rule puts under a name, computed in f64 and rounded to f32.
fn rule_tensor(name: &str, dims: &[i64]) -> Tensor {
    let n = length_of(dims.iter().product::<i64>());
    let fan_in = dims.iter().skip(1).product::<i64>() as f64;
    let value = |u: &f64| {
        let v = 2.0 * u - 1.0;
        match dims.len() {
            0 => 1.0 + 0.1 * v,
            1 if name.ends_with("weight") => 1.0 + 0.1 * v,
            1 if name.ends_with("freqs") => 16.0 * v,
            1 => 0.1 * v,
            _ => v * (3.0 / fan_in).sqrt(),
        }
    };
    let values: Vec<f32> = u01(name, n).iter().map(|u| nearest_f32(value(u))).collect();
    Tensor::from_slice(&values).view(dims)
}

/// The largest value; NaN if any is.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |max: f64, value| if value.is_nan() || value > max { value } else { max })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A change of a fixture, of its options or of what it asks.
    type Options = fn(&mut Value);

    /// A change of tensors, by which a right network answers as a wrong one would.
    type Tensors = fn(&str, Tensor) -> Tensor;

    fn same(_: &str, values: Tensor) -> Tensor {
        values
    }

    /// The largest deviation of a fixture under a mistake.
    fn deviation(name: &str, options: Options, tensors: Tensors) -> f64 {
        let folder = eps_testing::package(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let path = folder.join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut json: Value = serde_json::from_str(&text).unwrap();
        options(&mut json);
        let fixture: Fixture = serde_json::from_value(json).unwrap();
        compare(&fixture, &path, Device::Cpu, &tensors).unwrap().deviation()
    }

    /// The halves of the rows, or of the columns, in the other order.
    fn swapped(values: &Tensor, dim: i64) -> Tensor {
        values.roll([values.size()[dim as usize] / 2], [dim])
    }

    fn is_of(name: &str, part: &str) -> bool {
        name.contains(part)
    }

    fn scale_and_shift_swapped(name: &str, values: Tensor) -> Tensor {
        let is_embedding = is_of(name, "emb_layers.1.") || is_of(name, "time_emb_proj.");
        if is_embedding { swapped(&values, 0) } else { values }
    }

    fn one_of_scale_forgotten(name: &str, values: Tensor) -> Tensor {
        let is_bias = is_of(name, "emb_layers.1.bias") || is_of(name, "time_emb_proj.bias");
        if !is_bias {
            return values;
        }
        let half = values.size()[0] / 2;
        let one = Tensor::ones([half], (Kind::Float, Device::Cpu));
        values - Tensor::cat(&[&one, &one.zeros_like()], 0)
    }

    fn sines_first(name: &str, values: Tensor) -> Tensor {
        let reads = ["time_embed.0.weight", "time_embedding.linear_1.weight"].contains(&name);
        if reads { swapped(&values, 1) } else { values }
    }

    /// Of 32 channels at the first level and as many skipped.
    fn skip_before_current(name: &str, values: Tensor) -> Tensor {
        let is_decoder = name.starts_with("output_blocks.") || name.starts_with("up_blocks.");
        let dim = match values.size()[..] {
            [_, 64, _, _] => 1,
            [64] => 0,
            _ => return values,
        };
        let reads = ["in_layers.0.", "in_layers.2.weight", "skip_connection.weight"];
        let reads = is_decoder && reads.iter().any(|part| is_of(name, part));
        if reads { swapped(&values, dim) } else { values }
    }

    /// Queries over √d once more, for heads of 8 channels.
    fn queries_over_d(name: &str, values: Tensor) -> Tensor {
        if is_of(name, ".to_q.") { values / 8f64.sqrt() } else { values }
    }

    fn keys_before_queries_and_values(name: &str, values: Tensor) -> Tensor {
        if is_of(name, "attn_qkv.") { values.roll([1], [0]) } else { values }
    }

    /// Weights a tenth: those of norm(w) with ten times the 1e-4.
    fn ten_times_the_eps(name: &str, values: Tensor) -> Tensor {
        if name.ends_with(".weight") { values / 10.0 } else { values }
    }

    fn no_phases(name: &str, values: Tensor) -> Tensor {
        if name.ends_with("phases") { values.zeros_like() } else { values }
    }

    fn c_noise_not_over_four(name: &str, values: Tensor) -> Tensor {
        if name.ends_with("freqs") { values * 4.0 } else { values }
    }

    /// What multiplies the channel of ones is the last.
    fn no_channel_of_ones(name: &str, values: Tensor) -> Tensor {
        if name == "unet.enc.16x16_conv.weight" {
            let _ = values.narrow(1, 3, 1).zero_();
        }
        values
    }

    fn gains_forgotten(name: &str, values: Tensor) -> Tensor {
        if name.ends_with("gain") { values.ones_like() } else { values }
    }

    fn no_class(name: &str, values: Tensor) -> Tensor {
        let is_table = ["label_emb.weight", "class_embedding.weight"].contains(&name);
        if is_table { values.zeros_like() } else { values }
    }

    /// Mistakes that one could make, each with a fixture that shows it: as another option of the network, or as a
    /// change of weights under which a right network answers as the wrong one would.
    #[test]
    fn mistakes_are_caught() {
        fn set(json: &mut Value, table: &str, name: &str, value: impl Into<Value>) {
            json[table][name] = value.into();
        }
        fn kwargs(json: &mut Value, name: &str, value: impl Into<Value>) {
            set(json, "model_kwargs", name, value);
        }
        fn config(json: &mut Value, name: &str, value: impl Into<Value>) {
            set(json, "config_json", name, value);
        }
        let none: Options = |_| ();
        let mistakes: [(&str, &str, Options, Tensors); 32] = [
            (
                "order of q, k, v: before heads",
                "adm_updown_tiny",
                |j| kwargs(j, "use_new_attention_order", true),
                same,
            ),
            (
                "order of q, k, v: in heads",
                "adm_newattn_tiny",
                |j| kwargs(j, "use_new_attention_order", false),
                same,
            ),
            ("order of q, k, v", "edm2_cond_tiny", none, keys_before_queries_and_values),
            (
                "one head, its width given",
                "adm_updown_tiny",
                |j| kwargs(j, "num_head_channels", 32),
                same,
            ),
            ("one head, their number given", "adm_plain_tiny", |j| kwargs(j, "num_heads", 1), same),
            (
                "one head",
                "unet2d_options_tiny",
                |j| config(j, "attention_head_dim", Value::Null),
                same,
            ),
            ("several heads", "ddpm_cifar10_tiny", |j| config(j, "attention_head_dim", 8), same),
            ("one head", "edm2_cond_tiny", |j| kwargs(j, "channels_per_head", 32), same),
            ("1/d for 1/√d", "unet2d_options_tiny", none, queries_over_d),
            ("sines first", "adm_updown_tiny", none, sines_first),
            ("cosines first", "ddpm_cifar10_tiny", |j| config(j, "flip_sin_to_cos", true), same),
            ("sines first", "unet2d_options_tiny", |j| config(j, "flip_sin_to_cos", false), same),
            ("h for h − 1 frequencies", "ddpm_celebahq_tiny", |j| config(j, "freq_shift", 0), same),
            (
                "h − 1 for h frequencies",
                "unet2d_options_tiny",
                |j| config(j, "freq_shift", 1),
                same,
            ),
            (
                "t rounded",
                "adm_plain_tiny",
                |j| j["cases"][2]["timesteps"] = json!([417, 417]),
                same,
            ),
            (
                "t off by 0.01",
                "adm_plain_tiny",
                |j| j["cases"][0]["timesteps"] = json!([0.01, 0.01]),
                same,
            ),
            ("scale and shift swapped", "adm_newattn_tiny", none, scale_and_shift_swapped),
            ("scale and shift swapped", "unet2d_options_tiny", none, scale_and_shift_swapped),
            ("1 + of the scale forgotten", "adm_updown_tiny", none, one_of_scale_forgotten),
            (
                "padding on all sides",
                "ddpm_cifar10_tiny",
                |j| config(j, "downsample_padding", 1),
                same,
            ),
            ("padding after", "unet2d_options_tiny", |j| config(j, "downsample_padding", 0), same),
            ("skip before current", "adm_updown_tiny", none, skip_before_current),
            (
                "ten times ε of the norms",
                "ddpm_cifar10_tiny",
                |j| config(j, "norm_eps", 1e-5),
                same,
            ),
            (
                "a tenth of ε of the norms",
                "unet2d_options_tiny",
                |j| config(j, "norm_eps", 1e-6),
                same,
            ),
            ("groups of norms", "ddpm_celebahq_tiny", |j| config(j, "norm_num_groups", 2), same),
            ("class forgotten", "adm_plain_tiny", none, no_class),
            ("ten times 1e-4", "edm2_uncond_tiny", none, ten_times_the_eps),
            ("phases forgotten", "edm2_uncond_tiny", none, no_phases),
            ("ln σ for ¼ ln σ", "edm2_cond_tiny", none, c_noise_not_over_four),
            ("no channel of ones", "edm2_uncond_tiny", none, no_channel_of_ones),
            ("gains forgotten", "edm2_cond_tiny", none, gains_forgotten),
            (
                "weights of the joint",
                "edm2_uncond_tiny",
                |j| kwargs(j, "concat_balance", 0.5),
                same,
            ),
        ];
        for (mistake, fixture, options, tensors) in mistakes {
            let found = deviation(fixture, options, tensors);
            assert!(found > VERIFY_LIMIT, "{mistake} in {fixture}: {found}");
        }
        // What the changes are made with is no mistake by itself.
        let found = deviation("adm_updown_tiny", none, same);
        assert!(found <= VERIFY_LIMIT, "{found}");
    }
}

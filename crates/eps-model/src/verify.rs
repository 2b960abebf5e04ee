//! Compares a network with a fixture: outputs that EDM's own code computed for known weights.
//!
//! A fixture describes a network, its tensors, and for several σ the first and last 32 values, the
//! mean and the root mean square of D(x; σ). Weights and input are not stored: both follow a rule.
//! With v = 2·`u01(NAME)[i]` − 1 at flat row-major index i of the tensor NAME ([`eps_math::rng::u01`]):
//!
//! ```text
//! one dimension    …weight: 1 + 0.1 v    …freqs: 16 v    else: 0.1 v
//! more dimensions  v·√(3/fan_in),  fan_in the product of all dimensions but the first
//! input            √(σ² + ¼)·√3·(2·u01("x") − 1), [batch, C, H, W] row-major
//! ```

use std::path::Path;

use eps_math::rng::u01;
use eps_math::{Precondition, PreconditionMode};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::class_conditional::one_hot;
use crate::unet::set_values;
use crate::{Mode, ModelError, UNet, UNetConfig};

/// The largest deviation, relative to a case's rms, at which a network counts as the same.
pub const VERIFY_LIMIT: f64 = 1e-4;

/// How the labels of a conditional fixture are made: the one rule that is known.
const LABEL_RULE: &str = "class (7*b+3) % label_dim";

/// The most values of a fixture's input.
const MOST_VALUES: usize = 1 << 26;

/// A fixture file, as far as it is read.
#[derive(Debug, Deserialize)]
struct Fixture {
    tag: String,
    img_resolution: usize,
    img_channels: usize,
    label_dim: usize,
    label_of_item: Option<String>,
    model_type: String,
    model_kwargs: serde_json::Map<String, serde_json::Value>,
    batch: usize,
    parameters: usize,
    tensors: Vec<(String, Vec<i64>)>,
    cases: Vec<Case>,
}

/// The stored values of D(x; σ).
#[derive(Debug, Deserialize)]
struct Case {
    sigma: f64,
    first: Vec<f64>,
    last: Vec<f64>,
    mean: f64,
    rms: f64,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifyReport {
    /// The fixture's name for its network.
    pub tag: String,
    /// The number of trainable parameters.
    pub parameters: usize,
    /// The number of tensors, `freqs` included.
    pub tensors: usize,
    /// One entry for each case, in the file's order.
    pub cases: Vec<CaseDeviation>,
}

/// How far one case is from its stored values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CaseDeviation {
    /// The noise level σ_t of the case.
    pub sigma_t: f64,
    /// The largest deviation over `first`, `last`, `mean` and `rms`, divided by the stored `rms`.
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
/// D(x; σ) = c_skip x + c_out F(c_in x, ¼ ln σ, label),  σ_data = 0.5      (Karras et al. 2022, eq. 7)
/// ```
///
/// Computed on the CPU in f32.
///
/// # Errors
/// [`ModelError::Io`] and [`ModelError::Corrupt`] for a file that cannot be read or is no fixture,
/// [`ModelError::Config`] for a network that cannot be built, and the tensor errors when its tensors are not those that the file lists.
pub fn verify(path: &Path) -> Result<VerifyReport, ModelError> {
    let corrupt = |reason: String| ModelError::Corrupt { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path)
        .map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    let fixture: Fixture = serde_json::from_str(&text).map_err(|error| {
        corrupt(format!("not a fixture of a network ({error}); fetch the file again"))
    })?;
    let config = fixture.config(path)?;
    fixture.check_images(&config).map_err(corrupt)?;
    let labels = fixture.labels().map_err(corrupt)?;
    if fixture.batch == 0 || fixture.cases.is_empty() {
        return Err(corrupt("it holds no case or an empty batch: nothing can be compared".into()));
    }

    let _guard = tch::no_grad_guard();
    let network = UNet::blank(config, Device::Cpu)?;
    fixture.check_tensors(&network, path)?;
    for (name, mut tensor) in network.tensors() {
        let dims = tensor.size();
        set_values(&mut tensor, &rule_tensor(&name, &dims))?;
    }

    let mut cases = Vec::with_capacity(fixture.cases.len());
    for case in &fixture.cases {
        let deviation = fixture.deviation(case, &network, labels.as_ref()).map_err(corrupt)?;
        cases.push(CaseDeviation { sigma_t: case.sigma, deviation });
    }
    Ok(VerifyReport {
        tag: fixture.tag,
        parameters: fixture.parameters,
        tensors: fixture.tensors.len(),
        cases,
    })
}

impl Fixture {
    /// The network's configuration: the fixture's keyword arguments and what EDM's wrapper adds.
    fn config(&self, path: &Path) -> Result<UNetConfig, ModelError> {
        let mut kwargs = self.model_kwargs.clone();
        kwargs.insert("model_type".to_owned(), self.model_type.clone().into());
        for (field, value) in [
            ("img_resolution", self.img_resolution),
            ("in_channels", self.img_channels),
            ("out_channels", self.img_channels),
            ("label_dim", self.label_dim),
        ] {
            kwargs.entry(field).or_insert(value.into());
        }
        serde_json::from_value(kwargs.into()).map_err(|error| ModelError::Corrupt {
            path: path.to_owned(),
            reason: format!("model_kwargs: {error}; only EDM's own arguments are understood"),
        })
    }

    /// Whether the images and labels are those that the network takes, and not too many.
    fn check_images(&self, config: &UNetConfig) -> Result<(), String> {
        let network = (
            config.in_channels(),
            config.out_channels(),
            config.img_resolution(),
            config.label_dim(),
        );
        let (channels, side, classes) = (self.img_channels, self.img_resolution, self.label_dim);
        if network != (channels, channels, side, classes) {
            let (reads, returns, size, knows) = network;
            return Err(format!(
                "its images have {channels} channels, {side}x{side} pixels and {classes} classes, its network is made \
                 for {reads} channels ({returns} returned), {size}x{size} pixels and {knows} classes; fetch the file \
                 again"
            ));
        }
        let values = [self.batch, channels, side, side]
            .into_iter()
            .try_fold(1, usize::checked_mul)
            .filter(|values| *values <= MOST_VALUES);
        values.map(|_| ()).ok_or_else(|| {
            format!("a batch {} of its images has more than {MOST_VALUES} values", self.batch)
        })
    }

    /// One-hot labels, `[batch, label_dim]`.
    fn labels(&self) -> Result<Option<Tensor>, String> {
        match &self.label_of_item {
            None => Ok(None),
            Some(_) if self.label_dim == 0 => Ok(None),
            Some(rule) if rule.starts_with(LABEL_RULE) => {
                let classes: Vec<usize> =
                    (0..self.batch).map(|b| (7 * b + 3) % self.label_dim).collect();
                let labels = one_hot(&classes, self.label_dim, Device::Cpu);
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

    /// The largest deviation of one case, relative to its rms.
    fn deviation(
        &self,
        case: &Case,
        network: &UNet,
        labels: Option<&Tensor>,
    ) -> Result<f64, String> {
        let sigma = case.sigma;
        if !(sigma > 0.0 && sigma.is_finite() && case.rms > 0.0) {
            return Err(format!(
                "a case has sigma {sigma} and rms {}: both must be positive; fetch the file again",
                case.rms
            ));
        }
        let dims = [self.batch, self.img_channels, self.img_resolution, self.img_resolution];
        let n = dims.iter().product();
        let scale = (sigma * sigma + 0.25).sqrt() * 3f64.sqrt();
        let x: Vec<f32> = u01("x", n).iter().map(|u| (scale * (2.0 * u - 1.0)) as f32).collect();
        let x = Tensor::from_slice(&x).view(dims.map(|dim| dim as i64));

        let precondition = Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 };
        let factors = precondition.factors(sigma * sigma);
        let c_noise = Tensor::full(
            [self.batch as i64],
            Precondition::noise_input(sigma),
            (Kind::Float, Device::Cpu),
        );
        let f = network.forward(&(&x * factors.input), &c_noise, labels, None, Mode::Eval);
        let d = &x * factors.skip + f * factors.output;

        let mut values = vec![0f32; n];
        d.f_copy_data(&mut values, n).map_err(|error| error.to_string())?;
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let rms = (values.iter().map(|v| v * v).sum::<f64>() / n as f64).sqrt();
        let edges = case.first.len().max(case.last.len());
        if edges > n {
            return Err(format!("a case lists {edges} values of {n}; fetch the file again"));
        }
        let first = values.iter().zip(&case.first);
        let last = values[n - case.last.len()..].iter().zip(&case.last);
        let pairs = first.chain(last).chain([(&mean, &case.mean), (&rms, &case.rms)]);
        Ok(largest(pairs.map(|(ours, theirs)| (ours - theirs).abs() / case.rms)))
    }
}

/// The tensor that the rule puts under a name, computed in f64 and rounded to f32.
fn rule_tensor(name: &str, dims: &[i64]) -> Tensor {
    let n = dims.iter().product::<i64>() as usize;
    let fan_in = dims[1..].iter().product::<i64>() as f64;
    let value = |u: &f64| {
        let v = 2.0 * u - 1.0;
        match dims.len() {
            1 if name.ends_with("weight") => 1.0 + 0.1 * v,
            1 if name.ends_with("freqs") => 16.0 * v,
            1 => 0.1 * v,
            _ => v * (3.0 / fan_in).sqrt(),
        }
    };
    let values: Vec<f32> = u01(name, n).iter().map(|u| value(u) as f32).collect();
    Tensor::from_slice(&values).view(dims)
}

/// The largest value; NaN if any is.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |max: f64, value| if value.is_nan() || value > max { value } else { max })
}

//! Priors of any origin: a TorchScript module and a description of what it reads and predicts.
//!
//! The description is a JSON file beside the module:
//!
//! ```json
//! {
//!     "format_version": 1,
//!     "name": "faces",
//!     "script": "faces.pt",
//!     "images": { "channels": 3, "height": 64, "width": 64 },
//!     "parameterisation": {
//!         "prediction": "epsilon",
//!         "state": "variance-preserving",
//!         "time": {
//!             "timestep": {
//!                 "betas": { "linear": { "first": 1e-4, "last": 0.02, "steps": 1000 } },
//!                 "between": "nearest"
//!             }
//!         },
//!         "range": "[-1, 1]"
//!     },
//!     "sigma_min": 0.0101,
//!     "sigma_max": 157.0
//! }
//! ```
//!
//! The module's `forward` takes a batch of states `[B, C, H, W]` in the precision that was asked for,
//! times `[B]` in f32 and, where the description names classes, these; it returns the prediction,
//! `[B, C, H, W]`. It answers one input in one way, whatever was asked before and whatever images are beside: a
//! module that was traced or scripted in training mode, with dropout or the statistics of a batch, is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eps_files::StandIn;
use eps_math::parameterisation::Parameterisation;
use eps_math::rng::Stream;
use eps_math::{Shape, nearest_f32};
use serde::{Deserialize, Serialize};
use tch::{CModule, Device, Kind, Tensor};

use crate::compute_error::{cause, check_shape};
use crate::denoiser::all_finite;
use crate::extent::{extent, length_of};
use crate::{
    AdaptedDenoiser, ComputeError, Denoiser, DevicePrecision as _, ModelError, Precision, Query,
    RawNetwork,
};

/// The version of [`PriorDescription`]'s layout.
const FORMAT_VERSION: u32 = 1;

/// What a TorchScript module is as a prior.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriorDescription {
    /// The version of this layout, 1.
    pub format_version: u32,
    /// The name of the prior.
    pub name: String,
    /// The module's file, relative to the description's folder.
    pub script: PathBuf,
    /// The images that it knows.
    pub images: Shape,
    /// What it reads and predicts.
    pub parameterisation: Parameterisation,
    /// The lowest noise level that it was trained for, on the range of its images.
    pub sigma_min: f64,
    /// The highest, on that range.
    pub sigma_max: f64,
    /// The classes that it reads; none for an unconditional prior.
    #[serde(default)]
    pub classes: Option<Classes>,
    /// The only number of images that it takes at once, as traced modules may; any by default.
    #[serde(default)]
    pub batch: Option<usize>,
}

impl PriorDescription {
    /// The lowest and highest noise level on [-1, 1].
    #[must_use]
    pub fn sigmas(&self) -> (f64, f64) {
        let (scale, _) = self.parameterisation.range.scale_and_offset();
        (scale * self.sigma_min, scale * self.sigma_max)
    }

    /// The file of the module, for a description that lies at `path`.
    #[must_use]
    pub fn script_path(&self, path: &Path) -> PathBuf {
        path.parent().unwrap_or(Path::new("")).join(&self.script)
    }

    /// Reads a description.
    ///
    /// # Errors
    /// [`ModelError::Files`], [`ModelError::Corrupt`] if it is none, and [`ModelError::FormatVersion`].
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let corrupt = |reason: String| ModelError::Corrupt { path: path.to_owned(), reason };
        let text = eps_files::read_text(path)?;
        let description: Self = serde_json::from_str(&text).map_err(|error| {
            corrupt(format!("no description of a prior ({error}); docs/priors.md has its fields"))
        })?;
        let found = u64::from(description.format_version);
        if description.format_version != FORMAT_VERSION {
            let supported = u64::from(FORMAT_VERSION);
            return Err(ModelError::FormatVersion { path: path.to_owned(), found, supported });
        }
        let [min, max] = [description.sigma_min, description.sigma_max];
        if !(min > 0.0 && min < max && max.is_finite()) {
            return Err(corrupt(format!(
                "sigma_min {min} and sigma_max {max} are not 0 < min < max"
            )));
        }
        if description.batch == Some(0) || description.classes.is_some_and(|c| c.count == 0) {
            return Err(corrupt("batch or the count of classes is 0: leave the field out".into()));
        }
        Ok(description)
    }
}

/// The classes that a module reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// How many there are.
    pub count: usize,
    /// How one is given.
    pub input: ClassInput,
}

/// How a module reads the class of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassInput {
    /// Its number from 0 on, `[B]` in i64.
    Index,
    /// 1 at its number and 0 elsewhere, `[B, count]` in f32; all 0 without a class, as in EDM.
    OneHot,
}

/// A TorchScript module as a network F.
#[derive(Debug)]
pub struct ScriptedNetwork {
    module: Arc<CModule>,
    path: PathBuf,
    /// The class of one image, `[1]` or `[1, count]`.
    label: Option<Tensor>,
    batch: Option<i64>,
}

impl ScriptedNetwork {
    /// The same module for another thread: calls of a module that keeps no state may meet.
    fn another(&self) -> Self {
        Self {
            module: Arc::clone(&self.module),
            path: self.path.clone(),
            label: self.label.as_ref().map(Tensor::shallow_clone),
            batch: self.batch,
        }
    }

    /// The prediction of one call of the module.
    fn call(&self, x: &Tensor, time: &Tensor) -> Result<Tensor, tch::TchError> {
        let mut inputs = vec![x.shallow_clone(), time.shallow_clone()];
        if let Some(label) = &self.label {
            let mut sizes = label.size();
            sizes[0] = x.size()[0];
            inputs.push(label.expand(sizes, false).contiguous());
        }
        self.module.forward_ts(&inputs)
    }
}

impl RawNetwork for ScriptedNetwork {
    /// # Errors
    /// [`ComputeError::Module`] if the module raises: that it can be called was checked when it was loaded, but not
    /// at every time and with every image. [`ComputeError::OutOfMemory`], and [`ComputeError::Shape`] for an answer
    /// that is not one image for each.
    fn predict(&self, x: &Tensor, time: &Tensor) -> Result<Tensor, ComputeError> {
        let call = |x: &Tensor, time: &Tensor| {
            let prediction = self
                .call(x, time)
                .map_err(|error| ComputeError::from(error).of_module(&self.path))?;
            check_shape(&x.size(), &prediction.size())?;
            Ok(prediction)
        };
        let Some(batch) = self.batch else {
            return call(x, time);
        };
        let images = x.size()[0];
        // The last batch is filled up with copies of its last image.
        let chosen = |start: i64| {
            let items: Vec<i64> = (start..start + batch).map(|i| i.min(images - 1)).collect();
            Tensor::from_slice(&items).to_device(x.device())
        };
        let predictions = (0..images)
            .step_by(length_of(batch))
            .map(|start| {
                let items = chosen(start);
                call(&x.index_select(0, &items), &time.index_select(0, &items))
            })
            .collect::<Result<Vec<Tensor>, ComputeError>>()?;
        Ok(Tensor::cat(&predictions, 0).narrow(0, 0, images))
    }
}

/// In how many steps a module's levels are tried out.
const LEVELS_TRIED: u32 = 6;

/// What a module is asked when it is tried out.
#[derive(Debug)]
struct Question {
    /// `[B, C, H, W]`
    x: Tensor,
    /// `[B]`
    time: Tensor,
    /// The noise level of each image.
    sigmas: Vec<f64>,
}

/// What two answers that differ were given to.
const SAME_INPUT: &str = "one input";
const OTHER_NEIGHBOURS: &str = "one image beside others";

/// A prior that was read from a description and its module.
#[derive(Debug)]
pub struct ScriptedPrior {
    /// The description.
    pub description: PriorDescription,
    /// The file of the module.
    pub script: PathBuf,
    denoiser: AdaptedDenoiser<ScriptedNetwork>,
}

impl ScriptedPrior {
    /// Reads a description and its module onto a device, and tries it out between both ends of its noise
    /// levels, with several images and with one, each more than once; `class` is that of all images.
    ///
    /// # Errors
    /// [`ModelError::Io`] or [`ModelError::Corrupt`] for a file that cannot be read, is no description
    /// or no TorchScript module, or names levels that the module's time cannot tell,
    /// [`ModelError::FormatVersion`], [`ModelError::PriorClass`] for a class that the prior does not have
    /// or lacks, [`ModelError::HalfOnCpu`], and [`ModelError::ScriptCall`],
    /// [`ModelError::ScriptOutput`] or [`ModelError::ScriptNotFinite`] if the module does not take
    /// what the description says or does not answer it, [`ModelError::ScriptVaries`] if it answers one input in
    /// several ways.
    pub fn load(
        path: &Path,
        class: Option<usize>,
        device: Device,
        precision: Precision,
    ) -> Result<Self, ModelError> {
        precision.check(device)?;
        let description = PriorDescription::read(path)?;
        let label = label(path, description.classes, class, device)?;
        let script = description.script_path(path);
        if !script.is_file() {
            return Err(ModelError::Corrupt {
                path: path.to_owned(),
                reason: format!(
                    "there is no module {}: `script` is relative to the description's folder",
                    script.display()
                ),
            });
        }
        let module = load_module(&script, device, precision)?;
        let batch = description.batch.map(extent);
        let network =
            ScriptedNetwork { module: Arc::new(module), path: script.clone(), label, batch };
        let corrupt = |reason: String| ModelError::Corrupt { path: path.to_owned(), reason };
        let denoiser =
            AdaptedDenoiser::new(network, &description.parameterisation, precision.kind())
                .map_err(|error| corrupt(format!("parameterisation: {error}")))?;
        let (scale, _) = description.parameterisation.range.scale_and_offset();
        let ((low, high), (min, max)) = (denoiser.translation().reach(), description.sigmas());
        if min < low || max > high {
            return Err(corrupt(format!(
                "sigma_min {} and sigma_max {} are not within {} and {}, the levels of its first and \
                 last time",
                description.sigma_min,
                description.sigma_max,
                low / scale,
                high / scale
            )));
        }
        let prior = Self { description, script, denoiser };
        prior.try_out(device, precision)?;
        Ok(prior)
    }

    /// The same prior for another thread; that the module keeps no state was tried out when it was loaded.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            description: self.description.clone(),
            script: self.script.clone(),
            denoiser: self.denoiser.with(ScriptedNetwork::another),
        }
    }

    /// Calls the module as a sampler will, with two images and with one, between its lowest and its highest level, and
    /// with the first two again.
    fn try_out(&self, device: Device, precision: Precision) -> Result<(), ModelError> {
        let _guard = tch::no_grad_guard();
        let (min, max) = self.description.sigmas();
        let both = self.question(&[min, max], device, precision);
        let first = self.try_call(&both, precision)?;
        // In equal steps of ln σ: what is decided by the time shows at some of them.
        for i in 1..LEVELS_TRIED {
            let sigma_t = min * (max / min).powf(f64::from(i) / f64::from(LEVELS_TRIED));
            let _ = self.try_call(&self.question(&[sigma_t], device, precision), precision)?;
        }
        // After all the others, so that a state that was kept shows.
        let again = self.try_call(&both, precision)?;
        self.check_equal(&first, &again, SAME_INPUT, precision)?;
        self.check_neighbours(&both, &first, precision)
    }

    /// States of noise at levels in turn, as the adapter gives them, their times and the levels.
    fn question(&self, sigmas: &[f64], device: Device, precision: Precision) -> Question {
        let Shape { channels, height, width } = self.description.images;
        let images = self.denoiser.network().batch.unwrap_or(extent(sigmas.len()));
        let sigmas: Vec<f64> = sigmas.iter().copied().cycle().take(length_of(images)).collect();
        let calls = sigmas.iter().map(|sigma_t| self.denoiser.translation().call(*sigma_t));
        let calls: Vec<_> = calls.collect();
        let pixels = channels * height * width;
        // Images of variance ¼ under noise.
        let values: Vec<f64> = Stream::named(0, "tried-out")
            .normals(sigmas.len() * pixels)
            .into_iter()
            .enumerate()
            .map(|(at, z)| {
                let (sigma_t, call) = (sigmas[at / pixels], &calls[at / pixels]);
                call.input_scale * (sigma_t * sigma_t + 0.25).sqrt() * z + call.input_offset
            })
            .collect();
        let sizes = [images, extent(channels), extent(height), extent(width)];
        let times: Vec<f32> = calls.iter().map(|call| nearest_f32(call.time)).collect();
        let x = Tensor::from_slice(&values).view(sizes).to_kind(precision.kind());
        let [x, time] = [x, Tensor::from_slice(&times)].map(|tensor| tensor.to_device(device));
        Question { x, time, sigmas }
    }

    /// One call, whose failures are told.
    fn try_call(&self, question: &Question, precision: Precision) -> Result<Tensor, ModelError> {
        let Question { x, time, sigmas } = question;
        let network = self.denoiser.network();
        let Shape { channels, height, width } = self.description.images;
        let (path, expected) = (self.script.clone(), x.size());
        let images = expected[0];
        let found = network.call(x, time).map_err(|error| {
            let reason = cause(&error.to_string());
            match ComputeError::from(error) {
                memory @ ComputeError::OutOfMemory { .. } => memory.into(),
                _ => ModelError::ScriptCall {
                    path: path.clone(),
                    images,
                    shape: format!("{channels}, {height}, {width}"),
                    inputs: match &network.label {
                        None => format!("times [{images}] in {precision}"),
                        Some(label) => {
                            format!("times and classes {:?} in {precision}", label.kind())
                        }
                    },
                    reason,
                },
            }
        })?;
        if found.size() != expected {
            return Err(ModelError::ScriptOutput { path, expected, found: found.size() });
        }
        // D is a sum of the prediction and the state, each times a number.
        match (0i64..).zip(sigmas).find(|(image, _)| !all_finite(&found.get(*image))) {
            None => Ok(found),
            Some((_, &sigma_t)) => {
                let precision = precision.to_string();
                Err(ModelError::ScriptNotFinite { path, sigma_t, precision })
            }
        }
    }

    /// Fails where an image is answered in another way beside others.
    fn check_neighbours(
        &self,
        question: &Question,
        answer: &Tensor,
        precision: Precision,
    ) -> Result<(), ModelError> {
        let Question { x, time, sigmas } = question;
        if x.size()[0] < 2 {
            return Ok(());
        }
        // The first image stays as it is; the others are moved far away.
        let others = x.narrow(0, 1, x.size()[0] - 1) * 3.0 + 2.0;
        let moved = Tensor::cat(&[x.narrow(0, 0, 1), others.to_kind(x.kind())], 0);
        let (time, sigmas) = (time.shallow_clone(), sigmas.clone());
        let beside = self.try_call(&Question { x: moved, time, sigmas }, precision)?;
        self.check_equal(&answer.get(0), &beside.get(0), OTHER_NEIGHBOURS, precision)
    }

    /// Fails where two answers differ by more than rounding.
    fn check_equal(
        &self,
        a: &Tensor,
        b: &Tensor,
        what: &'static str,
        precision: Precision,
    ) -> Result<(), ModelError> {
        let device = a.device();
        let [a, b] = [a, b].map(|answer| answer.to_kind(Kind::Double));
        let rms = |x: &Tensor| x.square().mean(Kind::Double).sqrt().double_value(&[]);
        let (difference, size) = (rms(&(&a - &b)), rms(&a).max(rms(&b)));
        // A CPU repeats its sums, in every precision, and may order them otherwise for other neighbours. A GPU may choose
        // another order at every call, in TF32 with 11 bits; low precisions keep 8 and 11 bits through all layers.
        let bound = match (precision, device) {
            (_, Device::Cpu) if what == SAME_INPUT => 1e-4,
            (Precision::F32, Device::Cpu) => 1e-4,
            (Precision::F32, _) => 5e-3,
            (Precision::Bf16 | Precision::F16, _) => 5e-2,
        };
        if difference <= bound * size {
            return Ok(());
        }
        let path = self.script.clone();
        Err(ModelError::ScriptVaries { path, what, difference: difference / size })
    }

    /// The number of the module's parameters; constants of a traced module are not among them.
    ///
    /// # Errors
    /// [`ModelError::Compute`]
    pub fn parameter_count(&self) -> Result<usize, ModelError> {
        let parameters = self.denoiser.network().module.named_parameters()?;
        Ok(parameters.iter().map(|(_, tensor)| tensor.numel()).sum())
    }
}

impl Denoiser for ScriptedPrior {
    fn denoise(&self, query: &Query<'_>) -> Result<Tensor, ComputeError> {
        self.denoiser.denoise(query)
    }

    fn denoise_vjp(
        &self,
        query: &Query<'_>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError> {
        self.denoiser.denoise_vjp(query, cotangent)
    }
}

/// A module on a device, in evaluation mode and a precision, its weights without gradients.
fn load_module(path: &Path, device: Device, precision: Precision) -> Result<CModule, ModelError> {
    let io = |source| ModelError::Io { path: path.to_owned(), source };
    eps_files::require_regular(path)?;
    // libtorch does not say which file it cannot read.
    std::fs::File::open(path).map_err(io)?;
    let corrupt = |error: tch::TchError| ModelError::Corrupt {
        path: path.to_owned(),
        reason: StandIn::at(path).map_or_else(
            || {
                format!(
                    "no TorchScript module ({}): save it by torch.jit.script(network).save(…) or \
                     torch.jit.trace; weights alone are no module",
                    cause(&error.to_string())
                )
            },
            |found| found.to_string(),
        ),
    };
    let mut module = CModule::load_on_device(path, device).map_err(corrupt)?;
    module.f_set_eval().map_err(corrupt)?;
    if precision != Precision::F32 {
        module.to(device, precision.kind(), false);
    }
    for (_, parameter) in module.named_parameters()? {
        let _ = parameter.set_requires_grad(false);
    }
    Ok(module)
}

/// The class of one image as the module reads it.
fn label(
    path: &Path,
    classes: Option<Classes>,
    class: Option<usize>,
    device: Device,
) -> Result<Option<Tensor>, ModelError> {
    let error = |reason| Err(ModelError::PriorClass { path: path.to_owned(), reason });
    match (classes, class) {
        (None, None) => Ok(None),
        (None, Some(class)) => {
            error(format!("class {class} was given, but the prior reads no class: leave it out"))
        }
        (Some(Classes { count, .. }), Some(class)) if class >= count => {
            error(format!("class {class} was given, but the classes are 0 to {}", count - 1))
        }
        (Some(Classes { count, input: ClassInput::Index }), None) => error(format!(
            "the prior reads a class and none was given: give one of 0 to {}",
            count - 1
        )),
        (Some(Classes { input: ClassInput::Index, .. }), Some(class)) => {
            Ok(Some(Tensor::from_slice(&[extent(class)]).to_device(device)))
        }
        (Some(Classes { count, input: ClassInput::OneHot }), class) => {
            let mut one_hot = vec![0f32; count];
            if let Some(class) = class {
                one_hot[class] = 1.0;
            }
            Ok(Some(Tensor::from_slice(&one_hot).unsqueeze(0).to_device(device)))
        }
    }
}

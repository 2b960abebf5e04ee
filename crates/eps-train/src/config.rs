//! The configuration of a training run.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use eps_files::FilesError;
use eps_math::parameterisation::{Parameterisation, Translation};
use eps_math::{Interpolant, OperatorLaw, Precondition, PreconditionMode, Shape, SigmaYLaw};
use eps_model::{Condition, ModelError, NetworkDenoiser, Precision, UNet, UNetConfig};
use serde::{Deserialize, Serialize};

use crate::{NoiseLaw, TrainError};

/// The version of [`TrainConfig`]'s layout.
pub const FORMAT_VERSION: u32 = 1;

/// The most images of a step, 2²⁰.
const MOST_IMAGES: usize = 1 << 20;

/// Everything that a training run depends on beside its images and its machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The version of this layout, 1.
    pub format_version: u32,
    /// The name of the run.
    pub name: String,
    /// The data set whose training split is used.
    pub dataset: String,
    /// The network; its input channels count those of `conditions`.
    pub network: UNetConfig,
    /// The preconditioning.
    pub precondition: Precondition,
    /// What the network reads and predicts, where that is not what EDM's do: that of the network it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameterisation: Option<Parameterisation>,
    /// The channels that the network reads beside its scaled input.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The path from data to noise.
    pub interpolant: Interpolant,
    /// What is learnt.
    pub objective: Objective,
    /// The law of σ_t.
    pub noise_law: NoiseLaw,
    /// The weight of the squared error.
    pub loss_weight: LossWeight,
    /// A checkpoint whose EMA weights the run starts from, relative to the configuration's folder;
    /// missing input channels start at zero. Random weights without it.
    #[serde(default)]
    pub start: Option<PathBuf>,
    /// Images a step.
    pub batch: usize,
    /// Images of a forward and backward pass, where a step's do not fit into memory at once: their
    /// gradients are summed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Whether the activations inside a block are computed again on the way back, which takes less
    /// memory and a third more time.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Number of steps.
    pub steps: u64,
    /// The peak learning rate of Adam.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises linearly from 0.
    pub warm_up: u64,
    /// What the learning rate does after the warm-up.
    pub decay: Decay,
    /// EDM's exponential moving average of the weights.
    pub ema: Ema,
    /// The seed of everything random.
    pub seed: u64,
    /// The precision of the forward and backward passes, f32 or bf16; weights and optimiser are f32.
    pub precision: Precision,
    /// Steps between checkpoints of the run.
    pub checkpoint_every: u64,
    /// Images of the validation loss.
    pub validation_images: usize,
}

/// What a network learns to answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Objective {
    /// E[x₀ | x_t]: EDM's denoising loss.
    Denoise,
    /// E[x₀ | x_t, y] at the pivot: the EPS loss (arXiv 2606.17048, Section 3.2).
    Eps {
        /// The law of the operators; one part of it is drawn for every step.
        tasks: OperatorLaw,
        /// The law of σ_y on the [-1, 1] scale; one is drawn for every step.
        sigma_y: SigmaYLaw,
    },
    /// E[x₀ | x_t, y] at the state, y being a condition: Palette (Saharia et al. 2022) on EDM.
    Palette {
        /// The law of the operators; one part of it is drawn for every step.
        tasks: OperatorLaw,
        /// The law of σ_y on the [-1, 1] scale; one is drawn for every step.
        sigma_y: SigmaYLaw,
    },
}

impl Objective {
    /// The laws of the operators and of σ_y of the measurements that it asks about; none for a prior.
    #[must_use]
    pub fn measurements(&self) -> Option<(&OperatorLaw, SigmaYLaw)> {
        match self {
            Self::Denoise => None,
            Self::Eps { tasks, sigma_y } | Self::Palette { tasks, sigma_y } => {
                Some((tasks, *sigma_y))
            }
        }
    }
}

/// The weight of the squared error of the denoiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossWeight {
    /// λ(σ_t) ‖D − x₀‖² with EDM's λ = (σ_t² + σ_d²)/(σ_t σ_d)².
    Edm,
    /// ‖c_out⁻¹ (D − x₀)‖², which is the same for scalar preconditioning.
    Preconditioned,
    /// ‖D − x₀‖²/(tr c_out²/N): every direction weighs alike in an image, and every level and task
    /// alike in a batch. Where `preconditioned` asks for the same relative accuracy in directions
    /// that are measured to within σ_y, this asks for accuracy where the error of an image is.
    Trace,
    /// `trace` over its running mean at the task and the noise level of the question: every question weighs alike,
    /// also where its error is far below tr c_out²/N, as that of a blur at a high σ_t is. A batch estimate of the
    /// learnt weight of EDM2 (Karras et al. 2024), which is one of σ_t alone.
    ///
    /// A function of the question alone, so that the least loss stays that of E[x₀ | x_t, y]. Losses that are
    /// reported are those of `trace`.
    Balanced,
    /// ‖v − v₀‖² of the velocity of the interpolant, v = … + (α' − α β'/β) D (Proposition 2 of arXiv
    /// 2606.17048): ‖D − x₀‖²/t² for a rectified flow.
    Velocity,
}

/// The learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Constant.
    None,
    /// Half a cosine down to 0 at the last step.
    Cosine,
}

/// EDM's moving average: w̄ ← β w̄ + (1 − β) w with β = 2^(−batch/H), H = min(half_life, ramp · seen).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ema {
    /// The half-life in images; 500,000 in EDM.
    pub half_life: f64,
    /// The half-life as a share of the images seen so far; 0.05 in EDM, none when fine-tuning there.
    pub ramp: Option<f64>,
}

impl Ema {
    /// β after `seen` images in steps of `batch`.
    #[must_use]
    pub fn factor(&self, seen: f64, batch: f64) -> f64 {
        let half_life = self.ramp.map_or(self.half_life, |ramp| self.half_life.min(ramp * seen));
        if half_life > 0.0 { 0.5f64.powf(batch / half_life) } else { 0.0 }
    }
}

impl TrainConfig {
    /// Reads a configuration from a JSON file.
    ///
    /// # Errors
    /// [`TrainError::Files`] for a file that cannot be opened, [`TrainError::Json`] for one that is no configuration.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let file = File::open(path).map_err(FilesError::io(path, "open"))?;
        serde_json::from_reader(BufReader::new(file))
            .map_err(|source| TrainError::Json { path: path.to_owned(), source })
    }

    /// The learning rate of a step, counted from 0.
    #[must_use]
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let rise = ((step + 1) as f64 / self.warm_up.max(1) as f64).min(1.0);
        let fall = match self.decay {
            Decay::None => 1.0,
            Decay::Cosine => {
                let rest = self.steps.saturating_sub(self.warm_up).max(1) as f64;
                let done = step.saturating_sub(self.warm_up) as f64 / rest;
                0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
            }
        };
        self.learning_rate * rise * fall
    }

    /// Checks that the network takes images of `shape`: of its own, or of another size that its levels divide.
    ///
    /// # Errors
    /// [`TrainError::Images`] for another number of channels, or a size that its levels do not divide; the errors of
    /// operators that such images do not admit.
    pub fn check_images(&self, shape: Shape) -> Result<(), TrainError> {
        let (expected, found) = (self.network.image_shape(), shape);
        let fits = self.network.check_size(shape.height, shape.width).is_ok();
        if found.channels != expected.channels || !fits {
            return Err(TrainError::Images { expected, found });
        }
        match self.objective.measurements() {
            Some((tasks, _)) => Ok(tasks.validate(shape)?),
            None => Ok(()),
        }
    }

    /// A network of this configuration as the denoiser that is trained.
    ///
    /// # Errors
    /// Those of [`Translation::new`].
    ///
    /// # Panics
    /// If the network's input channels are not those of its images and the conditions.
    pub fn denoiser(&self, network: UNet) -> Result<NetworkDenoiser, TrainError> {
        let conditions = self.conditions.clone();
        let denoiser = NetworkDenoiser::new(network, self.precondition, conditions, self.precision);
        Ok(match &self.parameterisation {
            Some(parameterisation) => denoiser.with_parameterisation(parameterisation)?,
            None => denoiser,
        })
    }

    /// Whether the network can be asked about the levels of the noise law.
    fn check_parameterisation(&self) -> Result<(), TrainError> {
        let refused = |field, value: &str, requirement: &str| {
            let (value, requirement) = (value.to_owned(), requirement.to_owned());
            Err(ModelError::Config { field, value, requirement }.into())
        };
        let Some(parameterisation) = &self.parameterisation else {
            if self.network.predicts_noise() {
                let needed = "the network predicts noise: give that of its start, as `eps model show` prints it";
                return refused("parameterisation", "null", needed);
            }
            return Ok(());
        };
        if self.precondition.mode != PreconditionMode::Scalar {
            let mode = format!("{:?}", self.precondition.mode);
            return refused("precondition.mode", &mode, "with a parameterisation it is \"scalar\"");
        }
        let (low, high) = Translation::new(parameterisation)?.reach();
        let range = "within the levels that the parameterisation can tell";
        for (field, value) in [
            ("noise_law.sigma_min", self.noise_law.sigma_min),
            ("noise_law.sigma_max", self.noise_law.sigma_max),
        ] {
            if !(low..=high).contains(&value) {
                return Err(TrainError::Config { field, value, range });
            }
        }
        Ok(())
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`TrainError::Config`] names the first field out of its range, [`TrainError::HalfTraining`]
    /// refuses f16; what the network, the noise law and the interpolant say of theirs.
    pub fn validate(&self) -> Result<(), TrainError> {
        let tasks = self.objective.measurements().map_or(1, |(tasks, _)| tasks.len());
        let positive = [
            ("batch", self.batch as f64),
            ("micro_batch", self.micro_batch.unwrap_or(1) as f64),
            ("steps", self.steps as f64),
            ("checkpoint_every", self.checkpoint_every as f64),
            ("validation_images", self.validation_images as f64),
            ("learning_rate", self.learning_rate),
            ("precondition.sigma_data", self.precondition.sigma_data),
            ("ema.half_life", self.ema.half_life),
            ("ema.ramp", self.ema.ramp.unwrap_or(1.0)),
            ("the number of objective.tasks", tasks as f64),
        ];
        for (field, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return Err(TrainError::Config { field, value, range: "positive and finite" });
            }
        }
        for (field, value) in
            [("batch", self.batch), ("micro_batch", self.micro_batch.unwrap_or(1))]
        {
            if value > MOST_IMAGES {
                let range = "at most 1048576: a step of more images does not fit into any memory";
                return Err(TrainError::Config { field, value: value as f64, range });
            }
        }
        if self.format_version != FORMAT_VERSION {
            let value = f64::from(self.format_version);
            return Err(TrainError::Config { field: "format_version", value, range: "1" });
        }
        if self.precision == Precision::F16 {
            return Err(TrainError::HalfTraining);
        }
        // The law of operators is checked with the images, whose size may be another than the network's.
        if let Some((_, sigma_y)) = self.objective.measurements() {
            sigma_y.validate()?;
        }
        self.noise_law.validate()?;
        self.interpolant.validate()?;
        let (sigma_max, path) = (self.noise_law.sigma_max, self.interpolant);
        if path.time_of_sigma(sigma_max) > path.end() {
            let (field, range) =
                ("noise_law.sigma_max", "a noise level that the interpolant reaches");
            return Err(TrainError::Config { field, value: sigma_max, range });
        }
        self.network.validate()?;
        self.check_parameterisation()?;
        let found = self.network.in_channels();
        let needed = Condition::total(&self.conditions, self.network.out_channels());
        if found != needed {
            return Err(TrainError::InChannels { found, needed });
        }
        Ok(())
    }
}

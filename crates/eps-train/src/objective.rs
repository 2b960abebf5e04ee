//! The training losses: EDM's denoising loss, the EPS loss at the pivot, and Palette's at the state.

use eps_math::pivot::velocity_factors;
use eps_math::rng::Stream;
use eps_math::{Level, MathError, OperatorLaw, PreconditionMode, Shape, SigmaYLaw};
use eps_model::device_rng::normals;
use eps_model::{
    Factors, Field, Measurement, Mode, NetworkDenoiser, Query, QueryNoise, TensorOperator, extent,
    length_of, level_fields,
};
use tch::{Device, Kind, Tensor};

use crate::balance::Balance;
use crate::squared_errors::Errors;
use crate::{LossWeight, Objective, TrainConfig, TrainError};

/// The random streams of one image of one batch, by purpose.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    NoiseLevel,
    Operator,
    StateNoise,
    MeasurementNoise,
}

/// The randomness of one batch: everything is a function of (seed, batch, position in it).
#[derive(Debug, Clone, Copy)]
pub struct BatchStreams {
    /// The seed of the run.
    pub seed: u64,
    /// The step, or a number of its own for a validation batch.
    pub batch: u64,
    /// The position of the first image at hand in the batch, which may come in several parts.
    pub first: usize,
}

impl BatchStreams {
    fn stream(&self, position: usize, purpose: Purpose) -> Stream {
        let position = (self.first + position) as u64;
        Stream::new(self.seed, self.batch, position, 1 + purpose as u64)
    }

    /// The stream of what concerns the measurements of the batch as a whole: which task, and under which noise.
    #[must_use]
    pub fn shared(&self) -> Stream {
        Stream::new(self.seed, self.batch, u64::MAX, 0)
    }

    /// The stream of which images the batch has, independent of how they are measured.
    #[must_use]
    pub fn images(&self) -> Stream {
        Stream::named(self.shared().key(), "images")
    }

    /// The stream of the dropout of the part at hand.
    #[must_use]
    pub fn dropout(&self) -> Stream {
        match self.first {
            0 => self.shared(),
            first => Stream::new(self.seed, self.batch, u64::MAX, first as u64),
        }
    }

    /// # Shapes
    /// `[batch, C, H, W]` in f64
    fn normals(&self, purpose: Purpose, batch: usize, shape: Shape, device: Device) -> Tensor {
        let streams: Vec<Stream> = (0..batch).map(|i| self.stream(i, purpose)).collect();
        let sides = [batch, shape.channels, shape.height, shape.width].map(extent);
        normals(&streams, shape.len(), device).view(sides.as_slice())
    }
}

/// How a training step asks its network for the raw output of F.
type Raw<'a> = dyn FnMut(&Query<'_>, &Factors<'_>) -> Tensor + 'a;

/// The loss of a batch, a scalar tensor with its graph: the mean over images and pixels. That of
/// [`LossWeight::Balanced`] is the loss of [`LossWeight::Trace`], which its running means divide in training alone.
///
/// With Proposition 3 of arXiv 2606.17048 the pivot of x_t and y is x₀ plus noise of covariance Σ⋆:
/// no anisotropic noise has to be drawn.
///
/// # Shapes
/// x_0: `[B, C, H, W]` in f64, in [-1, 1], on the network's device; labels: `[B, label_dim]`
///
/// # Errors
/// [`TrainError::Math`] if a task's operator does not fit the images, [`TrainError::NoEigenbasis`], those of a measurement for σ_y, and those
/// of libtorch for a tensor that is no batch of images.
///
/// # Panics
/// If the configuration names no task: [`TrainConfig::validate`] refuses it.
pub fn loss(
    denoiser: &NetworkDenoiser,
    config: &TrainConfig,
    x_0: &Tensor,
    labels: Option<&Tensor>,
    streams: BatchStreams,
    mode: Mode,
) -> Result<Tensor, TrainError> {
    let mut raw =
        |query: &Query<'_>, factors: &Factors<'_>| denoiser.raw(query, factors, labels, mode);
    let errors = errors_of(denoiser, config, x_0, streams, &mut raw)?;
    Ok(errors.of_images.mean(Kind::Double).to_kind(Kind::Float))
}

/// Adds what a batch, or a part of one, has of the gradient of the batch's mean error to the weights, and returns the
/// errors, detached. In the gradient they are divided by the means of `balance`, where there are some.
///
/// # Errors
/// Those of [`loss`].
pub(crate) fn add_gradient(
    denoiser: &NetworkDenoiser,
    config: &TrainConfig,
    x_0: &Tensor,
    labels: Option<&Tensor>,
    streams: BatchStreams,
    balance: Option<&Balance>,
) -> Result<Errors, TrainError> {
    let mode = Mode::Train(streams.dropout());
    let mut pass = None;
    let mut raw = |query: &Query<'_>, factors: &Factors<'_>| {
        if config.gradient_checkpointing {
            pass.insert(denoiser.recomputed(query, factors, labels, mode)).output().shallow_clone()
        } else {
            denoiser.raw(query, factors, labels, mode)
        }
    };
    let Errors { of_images, questions } = errors_of(denoiser, config, x_0, streams, &mut raw)?;
    let balanced = match balance {
        Some(balance) => &of_images / balance.means(&questions),
        None => of_images.shallow_clone(),
    };
    let share = x_0.size()[0] as f64 / config.batch as f64;
    (balanced.mean(Kind::Double).to_kind(Kind::Float) * share).backward();
    if let Some(pass) = pass {
        pass.backward();
    }
    Ok(Errors { of_images: of_images.detach(), questions })
}

fn errors_of(
    denoiser: &NetworkDenoiser,
    config: &TrainConfig,
    x_0: &Tensor,
    streams: BatchStreams,
    raw: &mut Raw<'_>,
) -> Result<Errors, TrainError> {
    let (batch, channels, height, width) = x_0.size4()?;
    let shape = Shape::new(length_of(channels), length_of(height), length_of(width))
        .map_err(MathError::from)?;
    let batch = length_of(batch);
    let device = x_0.device();
    let times: Vec<f64> = (0..batch)
        .map(|i| {
            let sigma_t = config.noise_law.draw(&streams.stream(i, Purpose::NoiseLevel));
            config.interpolant.time_of_sigma(sigma_t)
        })
        .collect();
    let levels: Vec<Level> = times.iter().map(|t| config.interpolant.level(*t)).collect();
    let of_estimate: Vec<f64> = times
        .iter()
        .zip(&levels)
        .map(|(t, level)| velocity_factors(level, &config.interpolant.rate(*t)).1)
        .collect();
    let weight = (config.loss_weight, &Field::per_image(&of_estimate, device));
    let level = level_fields(&levels, device);
    let noise = streams.normals(Purpose::StateNoise, batch, shape, device);
    let x_t = x_0 * &level.alpha.0 + noise * &level.beta.0;
    let (task, of_images) = match &config.objective {
        Objective::Denoise => {
            let mu = x_t / &level.alpha.0;
            let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
            (0, weighted_errors(denoiser, weight, &query, x_0, raw))
        }
        Objective::Eps { tasks, sigma_y } => {
            let (task, measurement) = measure(tasks, *sigma_y, x_0, shape, streams)?;
            // Lanczos' method is outside of libtorch's graph.
            let scales_residuals = config.loss_weight != LossWeight::Preconditioned
                && config.precondition.mode != PreconditionMode::Scalar;
            if scales_residuals && !measurement.operator().has_basis() {
                return Err(TrainError::NoEigenbasis { values: shape.len() });
            }
            let pivot = measurement.pivot(&x_t, &level)?;
            let noise = QueryNoise::Anisotropic {
                measurement: &measurement,
                sigma_star: &pivot.sigma_star,
            };
            let query = Query { mu: &pivot.mu_star, level: &level, noise };
            (task, weighted_errors(denoiser, weight, &query, x_0, raw))
        }
        Objective::Palette { tasks, sigma_y } => {
            let (task, measurement) = measure(tasks, *sigma_y, x_0, shape, streams)?;
            let mu = x_t / &level.alpha.0;
            let query = Query { mu: &mu, level: &level, noise: QueryNoise::Observed(&measurement) };
            (task, weighted_errors(denoiser, weight, &query, x_0, raw))
        }
    };
    let questions = levels.iter().map(|level| (task, level.sigma())).collect();
    Ok(Errors { of_images, questions })
}

/// y = A x₀ + σ_y η with an operator for every image, all of one part of the law, or a fixed one for all, and the number
/// of that part.
fn measure(
    law: &OperatorLaw,
    sigma_y: SigmaYLaw,
    x_0: &Tensor,
    shape: Shape,
    streams: BatchStreams,
) -> Result<(usize, Measurement), TrainError> {
    let batch = length_of(x_0.size()[0]);
    let shared = streams.shared();
    let part = law.draw_part(&shared);
    let sigma_y = sigma_y.draw(&shared);
    let drawn = if law.is_fixed(part) { 1 } else { batch };
    let operators = (0..drawn)
        .map(|i| law.draw(part, shape, &shared, &streams.stream(i, Purpose::Operator)))
        .collect::<Result<Vec<_>, _>>()?;
    let operator = TensorOperator::new(operators, x_0.device())?;
    let noise = streams.normals(Purpose::MeasurementNoise, batch, operator.range(), x_0.device());
    Ok((part, Measurement::simulate(operator, x_0, &noise, sigma_y)?))
}

/// The mean over pixels of the squared error under a weight, `[B]` in f64; under that of the velocity by the
/// factor of D in it.
fn weighted_errors(
    denoiser: &NetworkDenoiser,
    (weight, Field(of_estimate)): (LossWeight, &Field),
    query: &Query<'_>,
    x_0: &Tensor,
    raw: &mut Raw<'_>,
) -> Tensor {
    let factors: Factors<'_> = denoiser.factors(query);
    let target = factors.target(x_0);
    let residual = raw(query, &factors).to_kind(Kind::Double) - target;
    let error = |residual: &Tensor| factors.scale(residual, &factors.factors.output);
    let weighted = match weight {
        LossWeight::Preconditioned => residual.to_kind(Kind::Float).square(),
        LossWeight::Trace | LossWeight::Balanced => {
            error(&residual).square() / factors.mean_squared_output()
        }
        LossWeight::Edm => {
            let scalar =
                denoiser.precondition().factors(eps_math::Real::square(query.level.sigma()));
            let Field(c_out) = scalar.output;
            (error(&residual) / c_out).square()
        }
        LossWeight::Velocity => (error(&residual) * of_estimate).square(),
    };
    weighted.mean_dim([1i64, 2, 3].as_slice(), false, Kind::Double)
}

//! A network as a denoiser: preconditioning and conditioning around F.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use eps_math::parameterisation::{Call, Parameterisation, Translation};
use eps_math::precondition::{PreconditionFactors, factors_of};
use eps_math::{LEAST_SIGMA_Y, MathError, Precondition, PreconditionMode, Real};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::adapted_denoiser::sigmas;
use crate::compute_error::caught;
use crate::data_moments::{DataFields, DataMoments};
use crate::denoiser::differentiated;
use crate::extent::{extent, length_of};
use crate::operator::{Coordinates, pixel_sum};
use crate::windows::Pass;
use crate::{
    ComputeError, Denoiser, DevicePrecision as _, Field, Measurement, Mode, ModelError, Precision,
    Query, QueryNoise, Recomputed, TensorOperator, UNet, Windows, attempt,
};

/// A channel that the network reads beside its scaled input, never scaled by c_in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// The measurement in the image's shape, one channel an image channel.
    Observation,
    /// ¼ ln of the pixel-space diagonal of Σ⋆, one channel.
    NoiseDiagonal,
}

impl Condition {
    /// The number of channels it takes for images of `channels` channels.
    #[must_use]
    pub fn channels(self, channels: usize) -> usize {
        match self {
            Self::Observation => channels,
            Self::NoiseDiagonal => 1,
        }
    }

    /// The channels of a network's input for images of `channels` channels beside conditions.
    #[must_use]
    pub fn total(conditions: &[Self], channels: usize) -> usize {
        channels + conditions.iter().map(|condition| condition.channels(channels)).sum::<usize>()
    }
}

/// A network with its preconditioning.
///
/// ```text
/// D(μ) = m + c_skip (μ − m) + c_out F(c_in (μ − m), conditions, ¼ ln σ_t)
/// ```
///
/// m is the mean of the data in the mode `wiener`, and 0 in the others.
///
/// A network of noise, of velocity or of images in [0, 1] has its [`Parameterisation`] in the place of the factors and
/// of ¼ ln σ_t: see [`NetworkDenoiser::with_parameterisation`].
#[derive(Debug)]
pub struct NetworkDenoiser {
    network: UNet,
    precondition: Precondition,
    conditions: Vec<Condition>,
    precision: Precision,
    data: Option<(DataMoments, DataFields)>,
    asked: Option<Asked>,
    windows: Option<Windows>,
    /// The same network for the other threads that are asked about windows at once.
    helpers: Mutex<Vec<UNet>>,
}

/// How a network of another parameterisation than EDM's is asked.
#[derive(Debug)]
struct Asked {
    translation: Translation,
    /// The middle of the range of its images, where that is not 0, `[1, 1, 1, 1]`.
    middle: Option<Tensor>,
}

impl Asked {
    /// The same for another thread.
    fn another(&self) -> Self {
        let middle = self.middle.as_ref().map(Tensor::shallow_clone);
        Self { translation: self.translation.clone(), middle }
    }

    /// One value of the calls at the levels of a query, an image.
    fn field(&self, query: &Query<'_>, value: fn(&Call) -> f64) -> Field {
        let values =
            sigmas(query).into_iter().map(|sigma_t| value(&self.translation.call(sigma_t)));
        Field::per_image(&values.collect::<Vec<f64>>(), query.mu.device())
    }

    /// Whether the network knows a noise level.
    fn knows(&self, sigma_t: f64) -> bool {
        let (low, high) = self.translation.reach();
        (low * (1.0 - ROUNDING)..=high * (1.0 + ROUNDING)).contains(&sigma_t)
    }

    /// Fails for a noise level that the network does not know.
    fn check(&self, query: &Query<'_>) -> Result<(), ComputeError> {
        let (low, high) = self.translation.reach();
        match sigmas(query).into_iter().find(|sigma_t| !self.knows(*sigma_t)) {
            None => Ok(()),
            Some(sigma_t) => Err(ComputeError::Other(format!(
                "sigma_t = {sigma_t} lies beyond the noise levels that the network knows, {low} to {high}: begin and \
                 end the schedule within them"
            ))),
        }
    }
}

/// By how much of itself a level may lie beyond an end: what logarithms and powers of schedules round.
const ROUNDING: f64 = 1e-9;

/// The least noise variance that a network is told, that of the least σ_y that is admitted above 0: an exact measurement
/// has none, and its logarithm is no input.
const LEAST_VARIANCE: f64 = LEAST_SIGMA_Y * LEAST_SIGMA_Y;

impl NetworkDenoiser {
    /// The lowest and highest noise level that it can be asked about, where σ_t > 0 is not one that it can.
    #[must_use]
    pub fn beyond(&self, sigma_t: f64) -> Option<(f64, f64)> {
        let asked = self.asked.as_ref()?;
        (!asked.knows(sigma_t)).then(|| asked.translation.reach())
    }

    /// Wraps a network; for the preconditioning `wiener` see [`NetworkDenoiser::with_data`].
    ///
    /// # Panics
    /// If the network's input channels are not those of its images and the conditions.
    #[must_use]
    pub fn new(
        network: UNet,
        precondition: Precondition,
        conditions: Vec<Condition>,
        precision: Precision,
    ) -> Self {
        let read = Condition::total(&conditions, network.config().out_channels());
        assert_eq!(network.config().in_channels(), read, "input channels of the network");
        Self {
            network,
            precondition,
            conditions,
            precision,
            data: None,
            asked: None,
            windows: None,
            helpers: Mutex::default(),
        }
    }

    /// The same for a network that was trained in another parameterisation than EDM's: it is asked at σ_t in every
    /// direction, whatever the preconditioning. Variances that it learnt are dropped.
    ///
    /// ```text
    /// D(μ) = c + a (μ − c) + b F(s (μ − c), conditions, time)
    /// ```
    ///
    /// c is the middle of the range of its images; a, b, s and the time are [`Translation::call`]'s. A level beyond
    /// [`Translation::reach`] is an error of [`Denoiser::denoise`].
    ///
    /// # Errors
    /// Those of [`Translation::new`].
    pub fn with_parameterisation(
        self,
        parameterisation: &Parameterisation,
    ) -> Result<Self, MathError> {
        let translation = Translation::new(parameterisation)?;
        let (_, c) = parameterisation.range.scale_and_offset();
        let device = self.network.variables().device();
        let middle = (c != 0.0).then(|| Tensor::full([1, 1, 1, 1], c, (Kind::Double, device)));
        Ok(Self { asked: Some(Asked { translation, middle }), ..self })
    }

    /// The same, asked in windows about images that are larger than one; trainings take whole images.
    #[must_use]
    pub fn with_windows(self, windows: Option<Windows>) -> Self {
        Self { windows, ..self }
    }

    /// The windows in which it is asked about larger images.
    #[must_use]
    pub fn windows(&self) -> Option<Windows> {
        self.windows
    }

    /// The same, whose windows are asked about by several threads at once, on the CPU: as many, one thread of libtorch in each.
    /// What it answers is the same, to the last bit. A call that is differentiated takes one thread.
    ///
    /// # Errors
    /// Those of [`UNet::another`].
    pub fn with_threads(self, threads: usize) -> Result<Self, ModelError> {
        let helpers = (1..threads).map(|_| self.network.another()).collect::<Result<_, _>>()?;
        Ok(Self { helpers: Mutex::new(helpers), ..self })
    }

    /// The same with moments of the data, which the preconditioning `wiener` is a function of.
    #[must_use]
    pub fn with_data(self, moments: DataMoments) -> Self {
        let fields = moments.on(self.network.variables().device());
        Self { data: Some((moments, fields)), ..self }
    }

    /// The same denoiser for another thread: see [`UNet::another`].
    ///
    /// # Errors
    /// Those of [`UNet::another`].
    pub fn another(&self) -> Result<Self, ModelError> {
        let network = self.network.another()?;
        let fields = |moments: &DataMoments| moments.on(network.device());
        let data = self.data.as_ref().map(|(moments, _)| (moments.clone(), fields(moments)));
        Ok(Self {
            precondition: self.precondition,
            conditions: self.conditions.clone(),
            precision: self.precision,
            data,
            asked: self.asked.as_ref().map(Asked::another),
            windows: self.windows,
            helpers: Mutex::default(),
            network,
        })
    }

    /// The moments of the data, where it has them.
    #[must_use]
    pub fn data(&self) -> Option<&DataMoments> {
        self.data.as_ref().map(|(moments, _)| moments)
    }

    /// The network F.
    #[must_use]
    pub fn network(&self) -> &UNet {
        &self.network
    }

    /// The network F, to be trained.
    pub fn network_mut(&mut self) -> &mut UNet {
        &mut self.network
    }

    /// The conditions that the network reads.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The preconditioning.
    #[must_use]
    pub fn precondition(&self) -> Precondition {
        self.precondition
    }

    /// The preconditioning factors at the noise of a query.
    ///
    /// # Panics
    /// If the preconditioning is `wiener` and there are no moments of the data.
    #[must_use]
    pub fn factors<'a>(&'a self, query: &Query<'a>) -> Factors<'a> {
        if let Some(asked) = &self.asked {
            let factors = PreconditionFactors {
                skip: asked.field(query, |call| call.mu),
                input: asked.field(query, |call| call.input_scale),
                output: asked.field(query, |call| call.prediction),
            };
            return Factors::new(factors, QueryNoise::Isotropic, query.mu, asked.middle.as_ref());
        }
        let level_variance = query.level.sigma().square();
        if self.precondition.mode == PreconditionMode::Wiener {
            let Some((_, data)) = &self.data else {
                panic!("the preconditioning `wiener` needs the moments of the data");
            };
            let factors = match query.noise {
                QueryNoise::Anisotropic { measurement, sigma_star } => {
                    factors_of(sigma_star.clone(), data.along(measurement.operator()))
                }
                QueryNoise::Isotropic | QueryNoise::Observed(_) => {
                    factors_of(level_variance, data.pixels.clone())
                }
            };
            return Factors::new(factors, query.noise, query.mu, Some(&data.mean));
        }
        let (factors, noise) = match (query.noise, self.precondition.mode) {
            (QueryNoise::Anisotropic { sigma_star, .. }, PreconditionMode::Spectral) => {
                (self.precondition.factors(sigma_star.clone()), query.noise)
            }
            (QueryNoise::Anisotropic { sigma_star, .. }, PreconditionMode::Guarded) => {
                let factors = self.precondition.guarded_factors(sigma_star.clone(), level_variance);
                (factors, query.noise)
            }
            _ => (self.precondition.factors(level_variance), QueryNoise::Isotropic),
        };
        Factors::new(factors, noise, query.mu, None)
    }

    /// The raw output of F for a query, `[B, C, H, W]` in the network's precision, without learnt variances.
    ///
    /// A network that reads conditions sees zeros for them in a query without a measurement, but for
    /// the noise diagonal, which is ¼ ln σ_t² there. A conditional network without labels sees zeros.
    ///
    /// # Shapes
    /// labels: `[B, label_dim]`
    pub fn raw(
        &self,
        query: &Query<'_>,
        factors: &Factors<'_>,
        labels: Option<&Tensor>,
        mode: Mode,
    ) -> Tensor {
        let (x, c_noise) = self.inputs(query, factors);
        let size = x.size();
        let (height, width) = (size[2], size[3]);
        let is_asked = matches!(mode, Mode::Eval);
        let x = if is_asked { self.grown(x) } else { x };
        let size = x.size();
        let splits = |windows: &&Windows| windows.split(length_of(size[2]), length_of(size[3]));
        let raw = match self.windows.as_ref().filter(splits).filter(|_| is_asked) {
            None => self.network.forward(&x, &c_noise, labels, None, mode),
            Some(windows) => {
                // Another place at every noise level, the same wherever the level is asked again.
                let key = c_noise.get(0).double_value(&[]).to_bits();
                let question = |pass: Pass| {
                    let images = Tensor::from_slice(&pass.images).to_device(pass.windows.device());
                    let of = |values: &Tensor| values.index_select(0, &images);
                    let labels = labels.map(|labels| match labels.size()[0] {
                        1 => labels.expand([pass.windows.size()[0], -1], false),
                        _ => of(labels),
                    });
                    Question { windows: pass.windows, c_noise: of(&c_noise), labels }
                };
                let mut helpers = self.helpers.lock().unwrap_or_else(PoisonError::into_inner);
                // What is differentiated is recorded by the thread that asks.
                let helpers = if x.requires_grad() { &mut [] } else { &mut helpers[..] };
                windows.blended(&x, key, 1 + helpers.len(), |passes| {
                    at_once(&self.network, helpers, passes.into_iter().map(question).collect())
                })
            }
        };
        let raw = if size[2] == height && size[3] == width {
            raw
        } else {
            raw.narrow(2, 0, height).narrow(3, 0, width)
        };
        match self.kept_channels() {
            Some(kept) => raw.narrow(1, 0, kept),
            None => raw,
        }
    }

    /// What the network reads of an image whose sides its levels do not divide: mirrored beyond its lower and right
    /// edges, up to the next multiple.
    fn grown(&self, x: Tensor) -> Tensor {
        let multiple = extent(self.network.config().size_multiple());
        let missing = |side: i64| (multiple - side % multiple) % multiple;
        let (below, right) = (missing(x.size()[2]), missing(x.size()[3]));
        if below == 0 && right == 0 { x } else { x.reflection_pad2d([0, right, 0, below]) }
    }

    /// The channels of the network's output that are no learnt variances, where it has some.
    fn kept_channels(&self) -> Option<i64> {
        let config = self.network.config();
        let kept = config.out_channels();
        (kept < config.returned_channels()).then_some(extent(kept))
    }

    /// [`Self::raw`] with the activations inside blocks computed again on the way back.
    ///
    /// # Shapes
    /// Those of [`Self::raw`].
    pub fn recomputed(
        &self,
        query: &Query<'_>,
        factors: &Factors<'_>,
        labels: Option<&Tensor>,
        mode: Mode,
    ) -> Recomputed<'_> {
        let (x, c_noise) = self.inputs(query, factors);
        let pass = self.network.recomputed(&x, &c_noise, labels, None, mode);
        match self.kept_channels() {
            Some(kept) => pass.first_channels(kept),
            None => pass,
        }
    }

    /// What F reads: images beside conditions, and c_noise.
    fn inputs(&self, query: &Query<'_>, factors: &Factors<'_>) -> (Tensor, Tensor) {
        let kind = self.precision.kind();
        let mut inputs = vec![factors.input().to_kind(kind)];
        for condition in &self.conditions {
            inputs.push(condition_tensor(*condition, query).to_kind(kind));
        }
        let batch = query.mu.size()[0];
        let c_noise = match &self.asked {
            Some(asked) => asked.field(query, |call| call.time),
            None => Precondition::noise_input(query.level.sigma()),
        };
        let c_noise = c_noise.0.flatten(0, -1).expand([batch], false).to_kind(Kind::Float);
        (Tensor::cat(&inputs, 1), c_noise)
    }
}

/// What a network is asked in one pass over windows.
#[derive(Debug)]
struct Question {
    windows: Tensor,
    c_noise: Tensor,
    labels: Option<Tensor>,
}

impl Question {
    fn answer(&self, network: &UNet) -> Tensor {
        let Self { windows, c_noise, labels } = self;
        network.forward(windows, c_noise, labels.as_ref(), None, Mode::Eval)
    }
}

/// The answers to questions in their order, by a network on the thread of the caller and by helpers on threads of their own; where a thread
/// cannot be started, by those that can.
fn at_once(network: &UNet, helpers: &mut [UNet], questions: Vec<Question>) -> Vec<Tensor> {
    let (count, threads) = (questions.len(), tch::get_num_threads());
    let queue = Mutex::new(questions.into_iter().enumerate());
    let answer = |network: &UNet| {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let mut answers = Vec::new();
        while let Some((place, question)) = next() {
            answers.push((place, question.answer(network)));
        }
        answers
    };
    let mut answers = thread::scope(|scope| {
        let answer = &answer;
        let mut asked = Vec::new();
        for helper in helpers.iter_mut().take(count.saturating_sub(1)) {
            let work = move || {
                // libtorch counts the threads of each thread of the program; gradients are off in each for itself.
                let _ = tch::get_num_threads();
                tch::set_num_threads(threads);
                let _guard = tch::no_grad_guard();
                caught(|| answer(helper))
            };
            match thread::Builder::new().spawn_scoped(scope, work) {
                Ok(thread) => asked.push(thread),
                Err(_) => break,
            }
        }
        let mut answers = answer(network);
        for thread in asked {
            // What libtorch refused there is refused here.
            answers.extend(thread.join().flatten().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        answers
    });
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The tensor of one condition, `[B, ., H, W]` in f64.
fn condition_tensor(condition: Condition, query: &Query<'_>) -> Tensor {
    match (condition, query.noise) {
        (
            Condition::Observation,
            QueryNoise::Anisotropic { measurement, .. } | QueryNoise::Observed(measurement),
        ) => measurement.lifted_y().expand([query.mu.size()[0], -1, -1, -1], false),
        (Condition::Observation, QueryNoise::Isotropic) => query.mu.zeros_like(),
        (Condition::NoiseDiagonal, noise) => {
            let size = query.mu.size();
            let of = |measurement: &Measurement, sigma_star: &Field| {
                Field(measurement.operator().pixel_diagonal(sigma_star))
            };
            let diagonal = match noise {
                QueryNoise::Anisotropic { measurement, sigma_star } => of(measurement, sigma_star),
                QueryNoise::Observed(measurement) => {
                    of(measurement, &measurement.sigma_star(query.level))
                }
                QueryNoise::Isotropic => query.level.sigma().square(),
            };
            Precondition::noise_input(Field(diagonal.0.clamp_min(LEAST_VARIANCE)))
                .0
                .mean_dim([1i64].as_slice(), true, Kind::Double)
                .expand([size[0], 1, size[2], size[3]], false)
        }
    }
}

impl NetworkDenoiser {
    /// Checks that the network takes the images of a query, as another than its trainer may ask it.
    fn check(&self, query: &Query<'_>) -> Result<(), ComputeError> {
        let config = self.network.config();
        let size = query.mu.size();
        let channels = config.out_channels();
        let [_, found, height, width] = size[..] else {
            return Err(ComputeError::Other(format!(
                "the network takes images [B, {channels}, H, W], not a tensor {size:?}: give it a batch"
            )));
        };
        if found != extent(channels) {
            return Err(ComputeError::Other(format!(
                "the network takes images of {channels} channels, not of {found}: convert them, or take another network"
            )));
        }
        // Sides of a tensor are not negative.
        let fits = config.check_sides(length_of(height), length_of(width));
        fits.map_err(|error| ComputeError::Other(error.to_string()))?;
        if let Some(asked) = &self.asked {
            return asked.check(query);
        }
        if self.precondition.mode == PreconditionMode::Wiener && self.data.is_none() {
            return Err(ComputeError::Other(
                "the preconditioning `wiener` needs the moments of the data: give them by `with_data`".to_owned(),
            ));
        }
        Ok(())
    }

    fn answer(&self, query: &Query<'_>, labels: Option<&Tensor>) -> Tensor {
        let factors = self.factors(query);
        let raw = self.raw(query, &factors, labels, Mode::Eval).to_kind(Kind::Double);
        factors.answer(&raw)
    }

    /// [`Denoiser::denoise`] for images with class labels.
    pub(crate) fn denoise_labelled(
        &self,
        query: &Query<'_>,
        labels: Option<&Tensor>,
    ) -> Result<Tensor, ComputeError> {
        self.check(query)?;
        let _guard = tch::no_grad_guard();
        attempt(|| self.answer(query, labels))
    }

    /// [`Denoiser::denoise_vjp`] for images with class labels.
    pub(crate) fn vjp_labelled(
        &self,
        query: &Query<'_>,
        labels: Option<&Tensor>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError> {
        self.check(query)?;
        differentiated(query, cotangent, |query| Ok(self.answer(query, labels)))
    }
}

impl Denoiser for NetworkDenoiser {
    fn denoise(&self, query: &Query<'_>) -> Result<Tensor, ComputeError> {
        self.denoise_labelled(query, None)
    }

    fn denoise_vjp(
        &self,
        query: &Query<'_>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError> {
        self.vjp_labelled(query, None, cotangent)
    }
}

/// The preconditioning factors of one query, scalars an image or functions of AᵀA, and its μ in their basis.
#[derive(Debug)]
pub struct Factors<'a> {
    /// c_skip, c_in and c_out.
    pub factors: PreconditionFactors<Field>,
    /// The operator whose eigenbasis they are in; none for the basis of pixels.
    operator: Option<&'a TensorOperator>,
    /// m, `[1, C, H, W]`; none for 0.
    mean: Option<&'a Tensor>,
    /// μ − m.
    mu: Coordinates,
}

impl<'a> Factors<'a> {
    fn new(
        factors: PreconditionFactors<Field>,
        noise: QueryNoise<'a>,
        mu: &Tensor,
        mean: Option<&'a Tensor>,
    ) -> Self {
        let operator = match noise {
            QueryNoise::Isotropic | QueryNoise::Observed(_) => None,
            QueryNoise::Anisotropic { measurement, .. } => Some(measurement.operator()),
        };
        let mu = coordinates(operator, &centred(mu, mean));
        Self { factors, operator, mean, mu }
    }

    /// Multiplies an image by a factor, in the basis of the factor.
    ///
    /// # Shapes
    /// x: `[B, C, H, W]` in f64
    pub fn scale(&self, x: &Tensor, gains: &Field) -> Tensor {
        self.sum(&[(&coordinates(self.operator, x), gains)])
    }

    fn sum(&self, terms: &[(&Coordinates, &Field)]) -> Tensor {
        self.operator.map_or_else(|| pixel_sum(terms), |operator| operator.spectral_sum(terms))
    }

    /// The mean of c_out² over all directions, tr c_out²/N, `[B, 1, 1, 1]`.
    pub fn mean_squared_output(&self) -> Tensor {
        let squared = self.factors.output.clone().square();
        let diagonal = match self.operator {
            None => squared.0,
            Some(operator) => operator.pixel_diagonal(&squared),
        };
        diagonal.mean_dim([1i64, 2, 3].as_slice(), true, Kind::Double)
    }

    /// What F reads of μ: c_in (μ − m).
    ///
    /// # Shapes
    /// → `[B, C, H, W]` in f64
    pub fn input(&self) -> Tensor {
        self.sum(&[(&self.mu, &self.factors.input)])
    }

    /// The denoiser's answer for the output of F: m + c_skip (μ − m) + c_out F.
    ///
    /// # Shapes
    /// F: `[B, C, H, W]` in f64
    pub fn answer(&self, raw: &Tensor) -> Tensor {
        let PreconditionFactors { skip, output, .. } = &self.factors;
        let answer = self.sum(&[(&self.mu, skip), (&coordinates(self.operator, raw), output)]);
        match self.mean {
            Some(mean) => answer + mean,
            None => answer,
        }
    }

    /// What F should return: c_out⁻¹ (x₀ − m − c_skip (μ − m)).
    ///
    /// # Shapes
    /// x₀: `[B, C, H, W]` in f64
    pub fn target(&self, x_0: &Tensor) -> Tensor {
        let inverse = self.factors.output.clone().recip();
        let of_mu = self.factors.skip.clone() * inverse.clone() * -1.0;
        let x_0 = coordinates(self.operator, &centred(x_0, self.mean));
        self.sum(&[(&x_0, &inverse), (&self.mu, &of_mu)])
    }
}

/// x − m.
fn centred(x: &Tensor, mean: Option<&Tensor>) -> Tensor {
    mean.map_or_else(|| x.shallow_clone(), |mean| x - mean)
}

/// Images in the eigenbasis of an operator, or in that of pixels.
fn coordinates(operator: Option<&TensorOperator>, x: &Tensor) -> Coordinates {
    match operator {
        Some(operator) => operator.coordinates(x),
        None => Coordinates::of_pixels(x.shallow_clone()),
    }
}

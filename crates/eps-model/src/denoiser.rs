//! What a sampler asks, and who answers.

use eps_math::pivot::pivot_gains;
use eps_math::{Level, measured};
use tch::{Kind, Tensor};

use crate::extent::extent;
use crate::operator::Coordinates;
use crate::{ComputeError, Field, ModelError, TensorOperator, attempt};

/// A measurement y = A x₀ + η on a device: prepared once, asked at every network call.
#[derive(Debug)]
pub struct Measurement {
    operator: TensorOperator,
    y: Tensor,
    adjoint_y: Tensor,
    adjoint_coordinates: Coordinates,
    lifted_y: Tensor,
    sigma_y: f64,
}

/// The pivot of a batch: where and under what noise the denoiser is asked.
#[derive(Debug)]
pub struct Pivot {
    /// μ⋆, `[B, C, H, W]` in f64.
    pub mu_star: Tensor,
    /// The eigenvalues of Σ⋆, in the shape of [`TensorOperator::eigenvalues`].
    pub sigma_star: Field,
}

impl Measurement {
    /// A measurement of a batch of images, by one operator each or one for all.
    ///
    /// # Shapes
    /// y: `[B, ..range]`
    ///
    /// # Units
    /// y on the scale of images in [-1, 1]; `sigma_y` is the noise's standard deviation there.
    ///
    /// # Errors
    /// [`ModelError::SigmaY`] unless σ_y is 0 or above and finite, [`ModelError::Exact`] if it is 0 and no eigenbasis of
    /// the operator is known, [`ModelError::MeasurementShape`] if y does not fit the operator, [`ModelError::NotFinite`] if y holds NaN or infinity, and
    /// [`ModelError::Compute`] if memory runs out.
    pub fn new(operator: TensorOperator, y: &Tensor, sigma_y: f64) -> Result<Self, ModelError> {
        if sigma_y == 0.0 {
            if !operator.is_closed() {
                return Err(ModelError::Exact);
            }
        } else {
            check_sigma_y(sigma_y)?;
        }
        let range = operator.range();
        let images = match operator.operators().len() {
            1 => y.size().first().map_or(1, |images| (*images).max(1)),
            each => extent(each),
        };
        let sides = [range.channels, range.height, range.width].map(extent);
        let expected = vec![images, sides[0], sides[1], sides[2]];
        if y.size() != expected {
            return Err(ModelError::MeasurementShape { expected, found: y.size() });
        }
        let device = operator.eigenvalues().0.device();
        let prepared = attempt(|| {
            let y = y.to_kind(Kind::Double).to_device(device);
            all_finite(&y).then(|| Self::of(operator, y, sigma_y))
        })?;
        prepared.ok_or_else(|| ModelError::NotFinite("the measurement".into()))
    }

    /// The measurement y = A x₀ + σ_y z of images, for training: whether they are finite is not asked, for which a GPU
    /// would have to be waited for.
    ///
    /// # Shapes
    /// x₀: `[B, C, H, W]`, z: `[B, ..range]`, both in f64 on the operator's device
    ///
    /// # Errors
    /// [`ModelError::SigmaY`] unless σ_y is positive and finite.
    ///
    /// # Panics
    /// If libtorch fails, as when memory runs out: [`attempt`] makes an error of that. If x₀ has another number of images than there are operators and neither is 1, or z another shape.
    pub fn simulate(
        operator: TensorOperator,
        x_0: &Tensor,
        z: &Tensor,
        sigma_y: f64,
    ) -> Result<Self, ModelError> {
        check_sigma_y(sigma_y)?;
        let Field(y) = measured(Field(operator.apply(x_0)), sigma_y, Field(z.shallow_clone()));
        Ok(Self::of(operator, y, sigma_y))
    }

    fn of(operator: TensorOperator, y: Tensor, sigma_y: f64) -> Self {
        let (adjoint_y, lifted_y) = (operator.adjoint(&y), operator.lift(&y));
        let adjoint_coordinates = operator.coordinates(&adjoint_y);
        Self { operator, y, adjoint_y, adjoint_coordinates, lifted_y, sigma_y }
    }

    /// The same, of which networks read another image than [`TensorOperator::lift`] makes: what was measured before it
    /// was whitened.
    ///
    /// # Shapes
    /// lifted: `[B, C, H, W]`
    ///
    /// # Panics
    /// If the image has another shape than the one that it replaces.
    #[must_use]
    pub fn with_lifted(self, lifted: &Tensor) -> Self {
        assert_eq!(lifted.size(), self.lifted_y.size(), "the measurement in the image's shape");
        let lifted_y = lifted.to_kind(Kind::Double).to_device(self.lifted_y.device());
        Self { lifted_y, ..self }
    }

    /// The operator A.
    #[must_use]
    pub fn operator(&self) -> &TensorOperator {
        &self.operator
    }

    /// The measurement y, `[B, ..range]` in f64.
    pub fn y(&self) -> &Tensor {
        &self.y
    }

    /// Aᵀy, `[B, C, H, W]` in f64.
    pub fn adjoint_y(&self) -> &Tensor {
        &self.adjoint_y
    }

    /// Aᵀy in the eigenbasis of AᵀA.
    pub fn adjoint_coordinates(&self) -> &Coordinates {
        &self.adjoint_coordinates
    }

    /// Checks that a batch of images goes with the measurement: one image for each that was measured, or one of either.
    ///
    /// # Errors
    /// [`ComputeError::Batch`]
    pub fn check_batch(&self, x: &Tensor) -> Result<(), ComputeError> {
        let images = x.size().first().copied().unwrap_or(0);
        let measured = self.y.size()[0].max(extent(self.operator.operators().len()));
        if images == measured || images == 1 || measured == 1 {
            return Ok(());
        }
        Err(ComputeError::Batch { images, measured })
    }

    /// Aᵀ(y − A x), along which an image x comes nearer to the measurement: half of −∇‖y − A x‖².
    ///
    /// # Shapes
    /// x: `[B, C, H, W]` in f64 → `[B, C, H, W]`
    ///
    /// # Panics
    /// If x has another number of images than the measurement and neither has 1.
    pub fn pull(&self, x: &Tensor) -> Tensor {
        &self.adjoint_y - self.operator.gram(x)
    }

    /// The measurement in the image's shape, see [`TensorOperator::lift`].
    pub fn lifted_y(&self) -> &Tensor {
        &self.lifted_y
    }

    /// σ_y.
    #[must_use]
    pub fn sigma_y(&self) -> f64 {
        self.sigma_y
    }

    /// The pivot of a state (arXiv 2606.17048, Theorem 1; [`pivot_gains`]).
    ///
    /// # Shapes
    /// x_t: `[B, C, H, W]` in f64; `level`: `[B, 1, 1, 1]` or `[1, 1, 1, 1]`
    ///
    /// # Errors
    /// [`ComputeError::Math`] where conjugate gradients do not converge, or the operator leaves the finite numbers, for one without an
    /// eigenbasis. Of a state that is not finite the pivot is not either.
    ///
    /// # Panics
    /// If x_t has another number of images than the measurement and neither has 1.
    pub fn pivot(&self, x_t: &Tensor, level: &Level<Field>) -> Result<Pivot, ComputeError> {
        self.pivot_under(x_t, level, self.sigma_y)
    }

    /// The eigenvalues of Σ⋆ at a level, in the shape of [`TensorOperator::eigenvalues`].
    ///
    /// # Shapes
    /// `level`: `[B, 1, 1, 1]` or `[1, 1, 1, 1]`
    #[must_use]
    pub fn sigma_star(&self, level: &Level<Field>) -> Field {
        pivot_gains(self.operator.eigenvalues().clone(), level, self.sigma_y).sigma_star
    }

    /// The pivot under another standard deviation of the measurement's noise.
    ///
    /// # Shapes
    /// As [`Measurement::pivot`].
    ///
    /// # Errors
    /// As [`Measurement::pivot`].
    ///
    /// # Panics
    /// As [`Measurement::pivot`].
    pub fn pivot_under(
        &self,
        x_t: &Tensor,
        level: &Level<Field>,
        sigma_y: f64,
    ) -> Result<Pivot, ComputeError> {
        let gains = pivot_gains(self.operator.eigenvalues().clone(), level, sigma_y);
        let mu_star = match self.operator.mu_star(&self.y, sigma_y, x_t, level) {
            Some(solved) => solved?,
            None => self.operator.spectral_sum(&[
                (&self.operator.coordinates(x_t), &gains.state),
                (&self.adjoint_coordinates, &gains.observation),
            ]),
        };
        Ok(Pivot { mu_star, sigma_star: gains.sigma_star })
    }
}

fn check_sigma_y(sigma_y: f64) -> Result<(), ModelError> {
    let is_deviation = sigma_y > 0.0 && sigma_y.is_finite();
    if is_deviation { Ok(()) } else { Err(ModelError::SigmaY(sigma_y)) }
}

/// Whether all values of a tensor are finite.
pub(crate) fn all_finite(x: &Tensor) -> bool {
    x.isfinite().all().int64_value(&[]) != 0
}

/// The noise ξ of a question E[x₀ | x₀ + ξ = μ].
#[derive(Debug, Clone, Copy)]
pub enum QueryNoise<'a> {
    /// ξ ~ N(0, β²/α² I).
    Isotropic,
    /// ξ ~ N(0, β²/α² I), and a measurement y is known beside μ: E[x₀ | x_t, y] asked at the state,
    /// as Palette does.
    Observed(&'a Measurement),
    /// ξ ~ N(0, Σ⋆) at the pivot of a measurement.
    Anisotropic {
        /// The measurement, with the basis of Σ⋆.
        measurement: &'a Measurement,
        /// The eigenvalues of Σ⋆.
        sigma_star: &'a Field,
    },
}

/// One question to a denoiser: what is the mean of x₀ given that x₀ + ξ = μ?
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// μ, `[B, C, H, W]` in f64.
    pub mu: &'a Tensor,
    /// The level of the state that is asked about, one an image.
    pub level: &'a Level<Field>,
    /// The law of ξ.
    pub noise: QueryNoise<'a>,
}

/// Anything that answers E[x₀ | x₀ + ξ = μ].
///
/// Networks that predict noise or velocity are adapted to return the mean of x₀, by an
/// [`AdaptedDenoiser`](crate::AdaptedDenoiser).
pub trait Denoiser {
    /// D_Σ(μ) = E[x₀ | x₀ + ξ = μ], ξ ~ N(0, Σ) (arXiv 2606.17048, Section 3).
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64 → `[B, C, H, W]` in f64
    ///
    /// # Errors
    /// [`ComputeError`] where there is no answer, as when memory runs out.
    fn denoise(&self, query: &Query<'_>) -> Result<Tensor, ComputeError>;

    /// D_Σ(μ) with Jᵀ c, J = ∂D_Σ/∂μ, for a cotangent c that may depend on the answer: one forward
    /// and one backward pass.
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64 each; `cotangent` maps the answer to c
    ///
    /// # Errors
    /// As [`Denoiser::denoise`].
    fn denoise_vjp(
        &self,
        query: &Query<'_>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError>;
}

/// [`Denoiser::denoise_vjp`] of an answer that libtorch can differentiate.
pub(crate) fn differentiated(
    query: &Query<'_>,
    cotangent: &dyn Fn(&Tensor) -> Tensor,
    answer: impl Fn(&Query<'_>) -> Result<Tensor, ComputeError>,
) -> Result<(Tensor, Tensor), ComputeError> {
    let differentiate = || {
        let mu = query.mu.detach().set_requires_grad(true);
        let answer = answer(&Query { mu: &mu, ..*query })?;
        let d = answer.detach();
        let along = (answer * cotangent(&d)).sum(Kind::Double);
        // The gradient of μ alone: the weights keep theirs.
        let mut gradients = Tensor::run_backward(&[along], &[mu], false, false);
        Ok((d, gradients.remove(0)))
    };
    // Inside: a panic would leave the mode of gradients on.
    tch::with_grad(|| attempt(differentiate))?
}

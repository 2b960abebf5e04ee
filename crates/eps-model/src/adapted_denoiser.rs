//! Networks of any parameterisation as denoisers.

use eps_math::MathError;
use eps_math::parameterisation::{Call, Parameterisation, Translation};
use tch::{Device, Kind, Tensor};

use crate::compute_error::check_shape;
use crate::denoiser::differentiated;
use crate::{ComputeError, Denoiser, Field, Query, attempt};

/// A network F(x, time) that predicts what a [`Parameterisation`] says; any closure is one.
pub trait RawNetwork {
    /// The prediction.
    ///
    /// # Shapes
    /// x: `[B, C, H, W]`, time: `[B]` → `[B, C, H, W]`
    ///
    /// # Errors
    /// [`ComputeError`] where there is no prediction.
    fn predict(&self, x: &Tensor, time: &Tensor) -> Result<Tensor, ComputeError>;
}

/// Where an operation of tch's panics in the closure, the denoiser's answer is an error.
impl<F: Fn(&Tensor, &Tensor) -> Tensor> RawNetwork for F {
    fn predict(&self, x: &Tensor, time: &Tensor) -> Result<Tensor, ComputeError> {
        Ok(self(x, time))
    }
}

/// A network of any parameterisation as a [`Denoiser`].
///
/// Like a [`NetworkDenoiser`](crate::NetworkDenoiser) with scalar preconditioning and no conditions,
/// it answers every question as if the noise were isotropic and of the state's level.
#[derive(Debug)]
pub struct AdaptedDenoiser<N> {
    network: N,
    translation: Translation,
    kind: Kind,
}

impl<N: RawNetwork> AdaptedDenoiser<N> {
    /// Wraps a network that reads states of `kind`, and times in f32 (f64 where that is the kind).
    ///
    /// # Errors
    /// Those of [`Translation::new`].
    pub fn new(
        network: N,
        parameterisation: &Parameterisation,
        kind: Kind,
    ) -> Result<Self, MathError> {
        Ok(Self { network, translation: Translation::new(parameterisation)?, kind })
    }

    /// The same around a network that is made of this one's.
    pub(crate) fn with(&self, network: impl Fn(&N) -> N) -> Self {
        Self {
            network: network(&self.network),
            translation: self.translation.clone(),
            kind: self.kind,
        }
    }

    /// The network F.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// How the network is asked about a noise level.
    #[must_use]
    pub fn translation(&self) -> &Translation {
        &self.translation
    }

    /// D(μ) at the noise levels of the query.
    fn answer(&self, query: &Query<'_>) -> Result<Tensor, ComputeError> {
        let (mu, device) = (query.mu, query.mu.device());
        let calls: Vec<Call> =
            sigmas(query).into_iter().map(|sigma_t| self.translation.call(sigma_t)).collect();
        let of = |value: fn(&Call) -> f64| {
            let values: Vec<f64> = calls.iter().map(value).collect();
            Field::per_image(&values, device).0
        };
        let x = mu * of(|call| call.input_scale) + of(|call| call.input_offset);
        let time_kind = if self.kind == Kind::Double { Kind::Double } else { Kind::Float };
        let time = of(|call| call.time).flatten(0, -1).to_kind(time_kind);
        let time = time.expand([mu.size()[0]], false).contiguous();
        let f = self.network.predict(&x.to_kind(self.kind), &time)?;
        check_shape(&mu.size(), &f.size())?;
        let f = f.to_kind(Kind::Double);
        Ok(mu * of(|call| call.mu) + f * of(|call| call.prediction) + of(|call| call.constant))
    }
}

/// The noise levels σ_t of a query on the host, one or one an image.
pub(crate) fn sigmas(query: &Query<'_>) -> Vec<f64> {
    let sigma = query.level.sigma().0.to_device(Device::Cpu).flatten(0, -1);
    Vec::try_from(sigma).expect("an f64 tensor of one dimension")
}

impl<N: RawNetwork> Denoiser for AdaptedDenoiser<N> {
    fn denoise(&self, query: &Query<'_>) -> Result<Tensor, ComputeError> {
        let _guard = tch::no_grad_guard();
        attempt(|| self.answer(query))?
    }

    fn denoise_vjp(
        &self,
        query: &Query<'_>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError> {
        differentiated(query, cotangent, |query| self.answer(query))
    }
}

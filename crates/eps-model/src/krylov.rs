//! Operators that are a pair A, Aᵀ: pivots by conjugate gradients, functions of AᵀA by Lanczos' method; both
//! in closed form where the family [knows an eigenbasis](LinearMap::as_spectral). On a GPU all that runs there, where the maps are
//! [written out](LinearMap::expression); else on the host.
//!
//! Gains are tabulated at nodes, as if these were the eigenvalues, and interpolated in ln λ at the Ritz values of each
//! image: so every formula in an eigenvalue serves operators with and without a basis alike.

use std::sync::{Arc, OnceLock};

use eps_math::Level;
use eps_math::operator::LinearMap;
use eps_math::solve::KrylovSpace;
use tch::{Device, Kind, Tensor};

use crate::device_krylov::DeviceKrylov;
use crate::device_solve::DeviceSpaces;
use crate::gains::{Gains, nodes};
use crate::host_krylov::HostKrylov;
use crate::krylov_report::{KrylovReport, Tally};
use crate::{ComputeError, Field};

/// The maps of a batch.
#[derive(Debug)]
pub(crate) struct Krylov {
    route: Route,
    nodes: Vec<f64>,
    tally: Tally,
}

/// Where maps are computed.
#[derive(Debug)]
enum Route {
    Host(HostKrylov),
    Device(DeviceKrylov),
}

/// Calls a method of the route.
macro_rules! on_route {
    ($self:ident, $route:ident => $call:expr) => {
        match &$self.route {
            Route::Host($route) => $call,
            Route::Device($route) => $call,
        }
    };
}

impl Krylov {
    /// The maps of a batch; on a device other than the processor they are computed there, if they can be.
    pub(crate) fn new(maps: Vec<Arc<dyn LinearMap>>, device: Device) -> Self {
        let nodes = nodes(&maps);
        let is_there = device != Device::Cpu && DeviceKrylov::is_for(&maps);
        let on_device = if is_there { DeviceKrylov::new(&maps, &nodes, device) } else { None };
        let route = on_device.map_or_else(|| Route::Host(HostKrylov::new(maps)), Route::Device);
        Self { route, nodes, tally: Tally::default() }
    }

    /// The maps of a batch, computed as they are on a device even if that is the processor; none where a map is not written out.
    #[cfg(test)]
    pub(crate) fn on_device(maps: &[Arc<dyn LinearMap>], device: Device) -> Option<Self> {
        let nodes = nodes(maps);
        let route = Route::Device(DeviceKrylov::new(maps, &nodes, device)?);
        Some(Self { route, nodes, tally: Tally::default() })
    }

    /// The nodes at which gains are tabulated, `[1, M, 1, 1]`.
    pub(crate) fn nodes(&self, device: Device) -> Field {
        Field(Tensor::from_slice(&self.nodes).view([1, -1, 1, 1]).to_device(device))
    }

    /// Whether an eigenbasis of every map is known, so that nothing is iterated.
    pub(crate) fn is_closed(&self) -> bool {
        on_route!(self, route => route.is_closed())
    }

    /// What solvers did; none where nothing is iterated.
    pub(crate) fn report(&self) -> Option<KrylovReport> {
        (!self.is_closed()).then(|| self.tally.report())
    }

    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        on_route!(self, route => route.apply(x))
    }

    pub(crate) fn adjoint(&self, y: &Tensor) -> Tensor {
        on_route!(self, route => route.adjoint(y))
    }

    pub(crate) fn lift(&self, y: &Tensor) -> Tensor {
        on_route!(self, route => route.lift(y))
    }

    /// The gains of each image of a batch.
    fn gains(&self, gains: &Field) -> Vec<Gains<'_>> {
        let flat = gains.0.to_device(Device::Cpu).to_kind(Kind::Double).flatten(0, -1);
        let values: Vec<f64> =
            Vec::try_from(flat.contiguous()).expect("an f64 tensor of one dimension");
        values
            .chunks_exact(self.nodes.len())
            .map(|values| Gains::new(&self.nodes, values))
            .collect()
    }

    /// f(AᵀA) x of every image, with the Krylov spaces where they are small enough to be kept.
    pub(crate) fn function(&self, x: &Tensor, gains: &Field, kept: &Spaces) -> Tensor {
        self.tally.timed(|| {
            match &self.route {
                Route::Host(host) => {
                    host.function(x, &self.gains(gains), &kept.on_host, &self.tally)
                }
                Route::Device(device) => {
                    // In closed form nothing is read back.
                    let of_images = if device.is_closed() { Vec::new() } else { self.gains(gains) };
                    let gains = (of_images.as_slice(), gains);
                    device.function(x, gains, &kept.on_device, &self.tally)
                }
            }
        })
    }

    /// The diagonal of f(AᵀA), `[B, C, H, W]`: where structure does not give it, an estimate by random signs.
    pub(crate) fn diagonal(&self, gains: &Field) -> Tensor {
        let device = gains.0.device();
        let of_images = self.gains(gains);
        self.tally
            .timed(|| on_route!(self, route => route.diagonal(&of_images, device, &self.tally)))
    }

    /// μ⋆ of every image: in closed form where an eigenbasis is known, else to within a tenth of the pivot's noise.
    pub(crate) fn mu_star(
        &self,
        y: &Tensor,
        sigma_y: f64,
        x_t: &Tensor,
        level: &Level<Field>,
    ) -> Result<Tensor, ComputeError> {
        self.tally.timed(
            || on_route!(self, route => route.mu_star((y, sigma_y), x_t, level, &self.tally)),
        )
    }
}

/// Krylov spaces of the images of a batch, once they are built.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    on_host: OnceLock<Vec<KrylovSpace>>,
    on_device: OnceLock<DeviceSpaces>,
}

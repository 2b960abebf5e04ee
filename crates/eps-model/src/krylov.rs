//! Operators that are a pair A, Aᵀ: pivots by conjugate gradients, functions of AᵀA by Lanczos' method; both
//! in closed form where the family [knows an eigenbasis](LinearMap::as_spectral). On a GPU all that runs there, where the maps are
//! [written out](LinearMap::expression); else on the host.
//!
//! Gains are tabulated at nodes, as if these were the eigenvalues, and interpolated in ln λ at the Ritz values of each
//! image: so every formula in an eigenvalue serves operators with and without a basis alike.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use eps_math::operator::{LinearMap, check};
use eps_math::solve::{KrylovSpace, Lanczos};
use eps_math::{Level, whole};
use tch::{Device, Kind, Tensor};

use crate::device_krylov::DeviceKrylov;
use crate::device_solve::DeviceSpaces;
use crate::host_krylov::HostKrylov;
use crate::{ComputeError, Field};

/// Nodes at which gains are tabulated: 0 and 16 an e-fold down to 1e-16 ‖A‖².
const NODES: usize = 600;

/// The least node over the largest.
const LEAST: f64 = 1e-16;

/// Images of random signs from which a diagonal is estimated.
pub(crate) const PROBES: usize = 4;

/// Bytes up to which the Krylov spaces of a batch are kept for a second function.
pub(crate) const KEPT: usize = 1 << 29;

/// How functions of AᵀA are computed for a network: to a per cent, which is below what it can tell.
pub(crate) const FUNCTIONS: Lanczos = Lanczos { rtol: 1e-2, max_steps: 160 };

/// The maps of a batch.
#[derive(Debug)]
pub(crate) struct Krylov {
    route: Route,
    nodes: Vec<f64>,
    tally: Tally,
}

/// Counts of what iterative solvers did since an operator was prepared.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pivots: StepTally,
    functions: StepTally,
    unfinished: AtomicUsize,
    nanoseconds: AtomicU64,
}

impl Tally {
    /// A pivot of so many steps.
    pub(crate) fn pivot(&self, steps: usize) {
        self.pivots.add(steps);
    }

    /// A Krylov space of so many steps, and whether functions stand still there.
    pub(crate) fn function(&self, steps: usize, is_finished: bool) {
        self.functions.add(steps);
        self.unfinished.fetch_add(usize::from(!is_finished), Ordering::Relaxed);
    }
}

/// Runs of one solver.
#[derive(Debug, Default)]
struct StepTally {
    runs: AtomicUsize,
    steps: AtomicUsize,
    most: AtomicUsize,
}

impl StepTally {
    fn add(&self, steps: usize) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.steps.fetch_add(steps, Ordering::Relaxed);
        self.most.fetch_max(steps, Ordering::Relaxed);
    }

    fn read(&self) -> StepCount {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        StepCount { runs: of(&self.runs), steps: of(&self.steps), most: of(&self.most) }
    }
}

/// What iterative solvers did since an operator was prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KrylovReport {
    /// Pivots by conjugate gradients, one an image and call.
    pub pivots: StepCount,
    /// Krylov spaces that were built by Lanczos' method for functions of AᵀA.
    pub functions: StepCount,
    /// Functions that still changed by more than 1 % at the most steps.
    pub unfinished: usize,
    /// The time that callers waited for pivots, functions and diagonals.
    pub time: Duration,
}

impl KrylovReport {
    /// What two operators did together.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self {
            pivots: self.pivots.with(other.pivots),
            functions: self.functions.with(other.functions),
            unfinished: self.unfinished + other.unfinished,
            time: self.time + other.time,
        }
    }
}

/// The steps of an iterative solver, each of which costs A and Aᵀ once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepCount {
    /// How often it ran.
    pub runs: usize,
    /// The steps of all runs.
    pub steps: usize,
    /// Those of the longest.
    pub most: usize,
}

impl StepCount {
    /// Steps of a run in the mean, 0 without any.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.runs > 0 { self.steps as f64 / self.runs as f64 } else { 0.0 }
    }

    fn with(self, other: Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            steps: self.steps + other.steps,
            most: self.most.max(other.most),
        }
    }
}

/// The gains of one image over the nodes, as a function of λ.
pub(crate) struct Gains<'a> {
    nodes: &'a [f64],
    values: Vec<f64>,
}

impl Gains<'_> {
    /// Linear in ln λ between nodes; below the least positive one, f(0).
    pub(crate) fn at(&self, lambda: f64) -> f64 {
        let last = self.nodes.len() - 1;
        let least = self.nodes[1];
        if lambda < least {
            return self.values[0];
        }
        let place =
            1.0 + (lambda / least).ln() / (self.nodes[last] / least).ln() * (last - 1) as f64;
        let before = whole(place).min(last - 1);
        let share = (place - before as f64).min(1.0);
        self.values[before] * (1.0 - share) + self.values[before + 1] * share
    }

    pub(crate) fn of_all(&self, lambdas: &[f64]) -> Vec<f64> {
        lambdas.iter().map(|lambda| self.at(*lambda)).collect()
    }

    /// The least and the largest gain.
    pub(crate) fn range(&self) -> (f64, f64) {
        let wider = |(least, most): (f64, f64), v: &f64| (least.min(*v), most.max(*v));
        self.values.iter().fold((f64::INFINITY, 0.0), wider)
    }

    /// A function that is steep towards 0, as those of the pivot are, for which probes get their spaces.
    pub(crate) fn steep(&self) -> impl Fn(&[f64]) -> Vec<f64> + use<> {
        let largest = self.nodes[self.nodes.len() - 1];
        move |lambdas| lambdas.iter().map(|l| 1.0 / (l / largest + 1e-3)).collect()
    }
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
        let on_device = if device == Device::Cpu { None } else { DeviceKrylov::new(&maps, device) };
        let nodes = nodes(&maps);
        let route = on_device.map_or_else(|| Route::Host(HostKrylov::new(maps)), Route::Device);
        Self { route, nodes, tally: Tally::default() }
    }

    /// The maps of a batch, computed as they are on a device even if that is the processor; none where a map is not written out.
    #[cfg(test)]
    pub(crate) fn on_device(maps: &[Arc<dyn LinearMap>], device: Device) -> Option<Self> {
        let route = Route::Device(DeviceKrylov::new(maps, device)?);
        Some(Self { route, nodes: nodes(maps), tally: Tally::default() })
    }

    /// The nodes at which gains are tabulated, `[1, M, 1, 1]`.
    pub(crate) fn nodes(&self, device: Device) -> Field {
        Field(Tensor::from_slice(&self.nodes).view([1, -1, 1, 1]).to_device(device))
    }

    /// What solvers did; none where nothing is iterated, as an eigenbasis of every map is known.
    pub(crate) fn report(&self) -> Option<KrylovReport> {
        if on_route!(self, route => route.is_closed()) {
            return None;
        }
        Some(KrylovReport {
            pivots: self.tally.pivots.read(),
            functions: self.tally.functions.read(),
            unfinished: self.tally.unfinished.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.tally.nanoseconds.load(Ordering::Relaxed)),
        })
    }

    /// Runs something whose time counts.
    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        let nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.tally.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        result
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
            .map(|values| Gains { nodes: &self.nodes, values: values.to_vec() })
            .collect()
    }

    /// f(AᵀA) x of every image, with the Krylov spaces where they are small enough to be kept.
    pub(crate) fn function(&self, x: &Tensor, gains: &Field, kept: &Spaces) -> Tensor {
        self.timed(|| {
            let gains = self.gains(gains);
            match &self.route {
                Route::Host(host) => host.function(x, &gains, &kept.on_host, &self.tally),
                Route::Device(device) => device.function(x, &gains, &kept.on_device, &self.tally),
            }
        })
    }

    /// The diagonal of f(AᵀA), `[B, C, H, W]`: where structure does not give it, an estimate by random signs.
    pub(crate) fn diagonal(&self, gains: &Field) -> Tensor {
        let device = gains.0.device();
        let of_images = self.gains(gains);
        self.timed(|| on_route!(self, route => route.diagonal(&of_images, device, &self.tally)))
    }

    /// μ⋆ of every image: in closed form where an eigenbasis is known, else to within a tenth of the pivot's noise.
    pub(crate) fn mu_star(
        &self,
        y: &Tensor,
        sigma_y: f64,
        x_t: &Tensor,
        level: &Level<Field>,
    ) -> Result<Tensor, ComputeError> {
        self.timed(
            || on_route!(self, route => route.mu_star((y, sigma_y), x_t, level, &self.tally)),
        )
    }
}

/// 0, and values up to ‖A‖² of all maps.
fn nodes(maps: &[Arc<dyn LinearMap>]) -> Vec<f64> {
    // The power method finds the norm from below: a tenth more than it covers what it misses.
    let norm = |map: &Arc<dyn LinearMap>| 1.1 * check::norm_estimate(map.as_ref(), 12, 0);
    let largest = maps.iter().map(norm).fold(f64::MIN_POSITIVE.sqrt(), f64::max).powi(2);
    let decay = LEAST.ln() / (NODES - 1) as f64;
    let positive = (0..NODES).rev().map(|i| largest * (decay * i as f64).exp());
    std::iter::once(0.0).chain(positive).collect()
}

/// Krylov spaces of the images of a batch, once they are built.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    on_host: OnceLock<Vec<KrylovSpace>>,
    on_device: OnceLock<DeviceSpaces>,
}

//! Functions of AᵀA where no eigenbasis is known: tabulated at nodes, as if these were the eigenvalues.

use std::sync::Arc;

use eps_math::operator::{LinearMap, check};
use eps_math::rng::Stream;
use eps_math::solve::Lanczos;
use eps_math::whole;

/// Nodes at which gains are tabulated: 0 and 16 an e-fold down to 1e-16 ‖A‖².
const NODES: usize = 600;

/// The least node over the largest.
const LEAST: f64 = 1e-16;

/// Images of random signs from which a diagonal is estimated.
pub(crate) const PROBES: usize = 4;

/// The `n` values of one of these images.
pub(crate) fn random_signs(probe: u64, n: usize) -> Vec<f64> {
    let stream = Stream::new(0, probe, 0, 0);
    (0..n as u64).map(|i| if stream.uniform(i) < 0.5 { -1.0 } else { 1.0 }).collect()
}

/// Bytes up to which the Krylov spaces of a batch are kept for a second function.
pub(crate) const KEPT: usize = 1 << 29;

/// How functions of AᵀA are computed for a network: to a per cent, which is below what it can tell.
pub(crate) const FUNCTIONS: Lanczos = Lanczos { rtol: 1e-2, max_steps: 160 };

/// What errors call what is solved and iterated.
pub(crate) const PIVOT: &str = "the pivot";
pub(crate) const FUNCTION: &str = "a function of AᵀA";

/// The gains of one image over the nodes, as a function of λ.
pub(crate) struct Gains<'a> {
    nodes: &'a [f64],
    values: Vec<f64>,
}

impl<'a> Gains<'a> {
    pub(crate) fn new(nodes: &'a [f64], values: &[f64]) -> Self {
        Self { nodes, values: values.to_vec() }
    }

    /// Linear in ln λ between nodes; below the least positive one, f(0).
    pub(crate) fn at(&self, lambda: f64) -> f64 {
        match place(self.nodes, lambda) {
            (before, 0.0) => self.values[before],
            (before, share) => {
                self.values[before] * (1.0 - share) + self.values[before + 1] * share
            }
        }
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

/// The node before λ, and the share of the way to the next one, in ln λ; below the least positive node that of 0.
pub(crate) fn place(nodes: &[f64], lambda: f64) -> (usize, f64) {
    let last = nodes.len() - 1;
    let least = nodes[1];
    if lambda < least {
        return (0, 0.0);
    }
    let place = 1.0 + (lambda / least).ln() / (nodes[last] / least).ln() * (last - 1) as f64;
    let before = whole(place).min(last - 1);
    (before, (place - before as f64).min(1.0))
}

/// The maps of a batch without repetitions, and which of these each image has.
pub(crate) fn distinct(maps: &[Arc<dyn LinearMap>]) -> (Vec<&Arc<dyn LinearMap>>, Vec<usize>) {
    let mut found: Vec<&Arc<dyn LinearMap>> = Vec::new();
    let of = maps.iter().map(|map| {
        let known = found.iter().position(|other| Arc::ptr_eq(other, map));
        known.unwrap_or_else(|| {
            found.push(map);
            found.len() - 1
        })
    });
    let of = of.collect();
    (found, of)
}

/// 0, and values up to ‖A‖² of all maps.
pub(crate) fn nodes(maps: &[Arc<dyn LinearMap>]) -> Vec<f64> {
    // The power method finds the norm from below: a tenth more than it covers what it misses.
    let norm = |map: &Arc<dyn LinearMap>| 1.1 * check::norm_estimate(map.as_ref(), 12, 0);
    let largest =
        distinct(maps).0.into_iter().map(norm).fold(f64::MIN_POSITIVE.sqrt(), f64::max).powi(2);
    let decay = LEAST.ln() / (NODES - 1) as f64;
    let positive = (0..NODES).rev().map(|i| largest * (decay * i as f64).exp());
    std::iter::once(0.0).chain(positive).collect()
}

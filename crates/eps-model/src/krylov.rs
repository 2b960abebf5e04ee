//! Operators that are a pair A, Aᵀ on the host: pivots by conjugate gradients, functions of AᵀA by Lanczos' method; both
//! in closed form where the family [knows an eigenbasis](LinearMap::as_spectral) there.
//!
//! Gains are tabulated at nodes, as if these were the eigenvalues, and interpolated in ln λ at the Ritz values of each
//! image: so every formula in an eigenvalue serves operators with and without a basis alike.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use eps_math::operator::{LinearMap, check, lifted};
use eps_math::rng::Stream;
use eps_math::solve::{KrylovSpace, Lanczos, WithinNoise};
use eps_math::{Level, Shape, pivot, whole};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::extent::{extent, length_of};
use crate::{ComputeError, Field};

/// Nodes at which gains are tabulated: 0 and 16 an e-fold down to 1e-16 ‖A‖².
const NODES: usize = 600;

/// The least node over the largest.
const LEAST: f64 = 1e-16;

/// Images of random signs from which a diagonal is estimated.
const PROBES: usize = 4;

/// Bytes up to which the Krylov spaces of a batch are kept for a second function.
const KEPT: usize = 1 << 29;

/// How functions of AᵀA are computed for a network: to a per cent, which is below what it can tell.
const FUNCTIONS: Lanczos = Lanczos { rtol: 1e-2, max_steps: 160 };

/// The maps of a batch.
#[derive(Debug)]
pub(crate) struct Krylov {
    maps: Vec<Arc<dyn LinearMap>>,
    domain: Shape,
    range: Shape,
    nodes: Vec<f64>,
    probes: Vec<OnceLock<Vec<Probe>>>,
    walks: Mutex<Vec<Option<Walk>>>,
    tally: Tally,
}

/// Where the pivots of an image's walk down the levels are: from there the next one is near.
#[derive(Debug, Clone)]
struct Walk {
    /// σ_t = β/α where it began.
    first: f64,
    /// That of the last pivot.
    last: f64,
    /// μ⋆ − x_t/α there.
    correction: Vec<f64>,
}

/// A pivot, and where its walk is then, if it is iterated.
type Answer = (Vec<f64>, Option<Walk>);

impl Walk {
    /// A guess at a level that goes on with the walk. One that does not is another walk, which begins without a guess, so that its
    /// pivots do not depend on what was asked before.
    fn guess(&self, sigma_t: f64) -> Option<Vec<f64>> {
        let goes_on = sigma_t <= self.last && sigma_t < self.first;
        goes_on.then(|| self.correction.iter().map(|z| z * sigma_t / self.last).collect())
    }
}

/// An image of random signs, and functions of AᵀA there.
#[derive(Debug)]
struct Probe {
    signs: Vec<f64>,
    space: KrylovSpace,
}

/// Counts of what iterative solvers did since an operator was prepared.
#[derive(Debug, Default)]
struct Tally {
    pivots: StepTally,
    functions: StepTally,
    unfinished: AtomicUsize,
    nanoseconds: AtomicU64,
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
struct Gains<'a> {
    nodes: &'a [f64],
    values: Vec<f64>,
}

impl Gains<'_> {
    /// Linear in ln λ between nodes; below the least positive one, f(0).
    fn at(&self, lambda: f64) -> f64 {
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

    fn of_all(&self, lambdas: &[f64]) -> Vec<f64> {
        lambdas.iter().map(|lambda| self.at(*lambda)).collect()
    }
}

impl Krylov {
    pub(crate) fn new(maps: Vec<Arc<dyn LinearMap>>) -> Self {
        let (domain, range) = (maps[0].domain(), maps[0].range());
        // The power method finds the norm from below: a tenth more than it covers what it misses.
        let norm = |map: &Arc<dyn LinearMap>| 1.1 * check::norm_estimate(map.as_ref(), 12, 0);
        let largest = maps.iter().map(norm).fold(f64::MIN_POSITIVE.sqrt(), f64::max).powi(2);
        let decay = LEAST.ln() / (NODES - 1) as f64;
        let positive = (0..NODES).rev().map(|i| largest * (decay * i as f64).exp());
        let nodes = std::iter::once(0.0).chain(positive).collect();
        let probes = maps.iter().map(|_| OnceLock::new()).collect();
        Self {
            maps,
            domain,
            range,
            nodes,
            probes,
            walks: Mutex::default(),
            tally: Tally::default(),
        }
    }

    /// The nodes at which gains are tabulated, `[1, M, 1, 1]`.
    pub(crate) fn nodes(&self, device: Device) -> Field {
        Field(Tensor::from_slice(&self.nodes).view([1, -1, 1, 1]).to_device(device))
    }

    /// What solvers did; none where nothing is iterated, as an eigenbasis of every map is known on the host.
    pub(crate) fn report(&self) -> Option<KrylovReport> {
        if self.maps.iter().all(|map| map.as_spectral().is_some()) {
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

    fn map(&self, image: usize) -> &dyn LinearMap {
        self.maps[image % self.maps.len()].as_ref()
    }

    /// [`each`] of these maps.
    fn each(
        &self,
        x: &Tensor,
        shape: Shape,
        of: impl Fn(usize, &[f64]) -> Vec<f64> + Sync,
    ) -> Tensor {
        each(self.maps.len(), x, shape, of)
    }

    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        self.each(x, self.range, |i, x| self.map(i).apply(x))
    }

    pub(crate) fn adjoint(&self, y: &Tensor) -> Tensor {
        self.each(y, self.domain, |i, y| self.map(i).adjoint(y))
    }

    pub(crate) fn lift(&self, y: &Tensor) -> Tensor {
        self.each(y, self.domain, |i, y| lifted(self.map(i), y))
    }

    /// The gains of each image of a batch.
    fn gains(&self, gains: &Field) -> Vec<Gains<'_>> {
        let values = host(&gains.0);
        values
            .chunks_exact(self.nodes.len())
            .map(|values| Gains { nodes: &self.nodes, values: values.to_vec() })
            .collect()
    }

    /// f(AᵀA) x of every image, with the Krylov spaces where they are small enough to be kept.
    pub(crate) fn function(&self, x: &Tensor, gains: &Field, kept: &Spaces) -> Tensor {
        self.timed(|| self.mapped(x, gains, kept))
    }

    fn mapped(&self, x: &Tensor, gains: &Field, kept: &Spaces) -> Tensor {
        let gains = self.gains(gains);
        let gains = |i: usize| &gains[i % gains.len()];
        let images = length_of(x.size()[0]).max(self.maps.len());
        if self.maps.iter().all(|map| map.as_spectral().is_some()) {
            return self.each(x, self.domain, |i, x| {
                let map = self.map(i).as_spectral();
                map.map_or_else(|| x.to_vec(), |map| map.spectral_map(x, &|l| gains(i).at(l)))
            });
        }
        if let Some(spaces) = kept.0.get() {
            return self.each(x, self.domain, |i, _| {
                spaces[i].evaluate(self.map(i), &|lambdas| gains(i).of_all(lambdas))
            });
        }
        let spaces: Vec<OnceLock<KrylovSpace>> = (0..images).map(|_| OnceLock::new()).collect();
        let share = KEPT / images / (8 * self.range.len());
        let mapped = self.each(x, self.domain, |i, x| {
            let f = |lambdas: &[f64]| gains(i).of_all(lambdas);
            let space = self.space(self.map(i), x, &f);
            let mapped = space.evaluate(self.map(i), &f);
            if space.steps() <= share {
                let _ = spaces[i].set(space);
            }
            mapped
        });
        let spaces: Option<Vec<_>> = spaces.into_iter().map(OnceLock::into_inner).collect();
        if let Some(spaces) = spaces {
            let _ = kept.0.set(spaces);
        }
        mapped
    }

    fn space(&self, map: &dyn LinearMap, x: &[f64], f: &dyn Fn(&[f64]) -> Vec<f64>) -> KrylovSpace {
        let grown = FUNCTIONS.nearest_space(map, x, &[f]);
        // Of a map that gives NaN: so does its function, and the walk stops at its step.
        let (space, is_finished) =
            grown.unwrap_or_else(|_| (KrylovSpace::undefined(x.len()), false));
        self.tally.functions.add(space.steps());
        self.tally.unfinished.fetch_add(usize::from(!is_finished), Ordering::Relaxed);
        space
    }

    /// The diagonal of f(AᵀA), `[B, C, H, W]`: where structure does not give it, an estimate by random signs.
    pub(crate) fn diagonal(&self, gains: &Field) -> Tensor {
        self.timed(|| self.diagonals(gains))
    }

    fn diagonals(&self, gains: &Field) -> Tensor {
        let device = gains.0.device();
        let gains = self.gains(gains);
        let images = gains.len().max(self.maps.len());
        let of = |i: usize| {
            let (map, gains) = (self.map(i), &gains[i % gains.len()]);
            map.diagonal(&|lambda| gains.at(lambda)).unwrap_or_else(|| self.estimated(i, gains))
        };
        let values: Vec<Vec<f64>> = (0..images).into_par_iter().map(of).collect();
        batch(&values.concat(), self.domain, device)
    }

    /// diag f ≈ mean of z ⊙ f(AᵀA) z over signs z (Hutchinson 1990; Bekas et al. 2007), kept between the least and the
    /// largest value of f, where every diagonal lies.
    fn estimated(&self, image: usize, gains: &Gains<'_>) -> Vec<f64> {
        let map = self.map(image);
        let n = self.domain.len();
        let probes = self.probes[image % self.maps.len()].get_or_init(|| {
            let largest = self.nodes[self.nodes.len() - 1];
            // Steep towards 0, as functions of the pivot are.
            let f = |lambdas: &[f64]| -> Vec<f64> {
                lambdas.iter().map(|l| 1.0 / (l / largest + 1e-3)).collect()
            };
            (0..PROBES as u64)
                .map(|probe| {
                    let stream = Stream::new(0, probe, 0, 0);
                    let sign = |i| if stream.uniform(i) < 0.5 { -1.0 } else { 1.0 };
                    let signs: Vec<f64> = (0..n as u64).map(sign).collect();
                    let space = self.space(map, &signs, &f);
                    Probe { signs, space }
                })
                .collect()
        });
        let (least, most) = gains
            .values
            .iter()
            .fold((f64::INFINITY, 0.0f64), |(least, most), v| (least.min(*v), most.max(*v)));
        let mut diagonal = vec![0.0; n];
        for Probe { signs, space } in probes {
            let mapped = space.evaluate(map, &|lambdas| gains.of_all(lambdas));
            for ((value, sign), mapped) in diagonal.iter_mut().zip(signs).zip(mapped) {
                *value += sign * mapped / PROBES as f64;
            }
        }
        diagonal.iter_mut().for_each(|value| *value = value.clamp(least, most));
        diagonal
    }

    /// μ⋆ of every image: in closed form where an eigenbasis is known on the host, else to within a tenth of the pivot's noise.
    pub(crate) fn mu_star(
        &self,
        y: &Tensor,
        sigma_y: f64,
        x_t: &Tensor,
        level: &Level<Field>,
    ) -> Result<Tensor, ComputeError> {
        let (alphas, betas) = (host(&level.alpha.0), host(&level.beta.0));
        let (states, measured) = (host(x_t), host(y));
        let (n, m) = (self.domain.len(), self.range.len());
        let (states, measured): (Vec<_>, Vec<_>) =
            (states.chunks_exact(n).collect(), measured.chunks_exact(m).collect());
        let images = states.len().max(measured.len()).max(self.maps.len());
        let walks = std::mem::take(&mut *self.walks.lock().unwrap_or_else(PoisonError::into_inner));
        let solve = |i: usize| {
            let of = |values: &[f64]| values[i % values.len()];
            let level = Level { alpha: of(&alphas), beta: of(&betas) };
            let (y, x_t) = (measured[i % measured.len()], states[i % states.len()]);
            if let Some(spectral) = self.map(i).as_spectral() {
                return Ok((pivot::mu_star(spectral, y, sigma_y, x_t, &level), None));
            }
            let sigma_t = level.beta / level.alpha;
            let walk = walks.get(i).and_then(Option::as_ref);
            let guess = walk.and_then(|walk| Some((walk.first, walk.guess(sigma_t)?)));
            let start = guess.as_ref().map(|(_, start)| start.as_slice());
            let solved = WithinNoise::OF_SAMPLERS.mu_star_from(
                self.map(i),
                (y, sigma_y),
                x_t,
                &level,
                start,
            );
            let solved =
                solved.map_err(|error| ComputeError::Other(format!("the pivot: {error}")))?;
            self.tally.pivots.add(solved.steps);
            let state = x_t.iter().map(|x| x / level.alpha);
            let correction = solved.x.iter().zip(state).map(|(mu, x)| mu - x).collect();
            let first = guess.map_or(sigma_t, |(first, _)| first);
            let walk = Walk { first, last: sigma_t, correction };
            Ok((solved.x, Some(walk)))
        };
        let solved: Result<Vec<Answer>, ComputeError> =
            self.timed(|| (0..images).into_par_iter().map(solve).collect());
        let (solved, walks): (Vec<Vec<f64>>, Vec<Option<Walk>>) = solved?.into_iter().unzip();
        *self.walks.lock().unwrap_or_else(PoisonError::into_inner) = walks;
        Ok(batch(&solved.concat(), self.domain, x_t.device()))
    }
}

/// Applies a function on the host to each image of a batch; one image serves all maps, one map all images.
pub(crate) fn each(
    maps: usize,
    x: &Tensor,
    shape: Shape,
    of: impl Fn(usize, &[f64]) -> Vec<f64> + Sync,
) -> Tensor {
    let (images, device) = (length_of(x.size()[0]), x.device());
    let values = host(x);
    let one = values.len() / images;
    let count = images.max(maps);
    // An image's answer does not depend on the thread that computes it.
    let answers: Vec<Vec<f64>> = (0..count)
        .into_par_iter()
        .map(|i| of(i, &values[i % images * one..(i % images + 1) * one]))
        .collect();
    batch(&answers.concat(), shape, device)
}

/// Krylov spaces of the images of a batch, once they are built.
#[derive(Debug, Default)]
pub(crate) struct Spaces(OnceLock<Vec<KrylovSpace>>);

/// The values of a tensor on the host.
fn host(x: &Tensor) -> Vec<f64> {
    let flat = x.to_device(Device::Cpu).to_kind(Kind::Double).flatten(0, -1);
    Vec::try_from(flat.contiguous()).expect("an f64 tensor of one dimension")
}

fn batch(values: &[f64], shape: Shape, device: Device) -> Tensor {
    let sides = [shape.channels, shape.height, shape.width].map(extent);
    Tensor::from_slice(values).view([-1, sides[0], sides[1], sides[2]]).to_device(device)
}

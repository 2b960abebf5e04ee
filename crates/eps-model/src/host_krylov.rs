//! Operators that are a pair A, Aᵀ on the host, image by image on all cores.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use eps_math::operator::{LinearMap, lifted};
use eps_math::solve::{KrylovSpace, SpectralFunction, WithinNoise};
use eps_math::{Level, Shape, pivot};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::compute_error::raise;
use crate::extent::{extent, length_of};
use crate::gains::{FUNCTION, FUNCTIONS, Gains, KEPT, PIVOT, PROBES, random_signs};
use crate::krylov_report::Tally;
use crate::{ComputeError, Field};

/// The maps of a batch on the host.
#[derive(Debug)]
pub(crate) struct HostKrylov {
    maps: Vec<Arc<dyn LinearMap>>,
    domain: Shape,
    range: Shape,
    probes: Vec<OnceLock<Vec<Probe>>>,
    walks: Mutex<Vec<Option<Walk>>>,
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

impl HostKrylov {
    pub(crate) fn new(maps: Vec<Arc<dyn LinearMap>>) -> Self {
        let (domain, range) = (maps[0].domain(), maps[0].range());
        let probes = maps.iter().map(|_| OnceLock::new()).collect();
        Self { maps, domain, range, probes, walks: Mutex::default() }
    }

    /// Whether an eigenbasis of every map is known.
    pub(crate) fn is_closed(&self) -> bool {
        self.maps.iter().all(|map| map.as_spectral().is_some())
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

    /// f(AᵀA) x of every image, with the Krylov spaces where they are small enough to be kept.
    pub(crate) fn function(
        &self,
        x: &Tensor,
        gains: &[Gains<'_>],
        kept: &OnceLock<Vec<KrylovSpace>>,
        tally: &Tally,
    ) -> Tensor {
        let gains = |i: usize| &gains[i % gains.len()];
        let images = length_of(x.size()[0]).max(self.maps.len());
        if self.is_closed() {
            return self.each(x, self.domain, |i, x| {
                let map = self.map(i).as_spectral();
                map.map_or_else(|| x.to_vec(), |map| map.spectral_map(x, &|l| gains(i).at(l)))
            });
        }
        if let Some(spaces) = kept.get() {
            return self.each(x, self.domain, |i, _| {
                spaces[i].evaluate(self.map(i), &|lambdas| gains(i).of_all(lambdas))
            });
        }
        let spaces: Vec<OnceLock<KrylovSpace>> = (0..images).map(|_| OnceLock::new()).collect();
        let share = KEPT / images / (8 * self.range.len());
        let mapped = self.each(x, self.domain, |i, x| {
            // Of an image that left the finite numbers, or whose square did, functions are not finite either: the walk says at
            // which step that was.
            if !x.iter().map(|value| value * value).sum::<f64>().is_finite() {
                return vec![f64::NAN; x.len()];
            }
            let f = |lambdas: &[f64]| gains(i).of_all(lambdas);
            let space = space_of(self.map(i), x, &f, tally);
            let mapped = space.evaluate(self.map(i), &f);
            if space.steps() <= share {
                let _ = spaces[i].set(space);
            }
            mapped
        });
        let spaces: Option<Vec<_>> = spaces.into_iter().map(OnceLock::into_inner).collect();
        if let Some(spaces) = spaces {
            let _ = kept.set(spaces);
        }
        mapped
    }

    /// The diagonal of f(AᵀA), `[B, C, H, W]`: where structure does not give it, an estimate by random signs.
    pub(crate) fn diagonal(&self, gains: &[Gains<'_>], device: Device, tally: &Tally) -> Tensor {
        let images = gains.len().max(self.maps.len());
        let of = |i: usize| {
            let (map, gains) = (self.map(i), &gains[i % gains.len()]);
            map.diagonal(&|lambda| gains.at(lambda))
                .unwrap_or_else(|| self.estimated(i, gains, tally))
        };
        let values: Vec<Vec<f64>> = (0..images).into_par_iter().map(of).collect();
        batch(&values.concat(), self.domain, device)
    }

    /// diag f ≈ mean of z ⊙ f(AᵀA) z over signs z (Hutchinson 1990; Bekas et al. 2007), kept between the least and the
    /// largest value of f, where every diagonal lies.
    fn estimated(&self, image: usize, gains: &Gains<'_>, tally: &Tally) -> Vec<f64> {
        let map = self.map(image);
        let n = self.domain.len();
        let probes = self.probes[image % self.maps.len()].get_or_init(|| {
            let f = gains.steep();
            (0..PROBES as u64)
                .map(|probe| {
                    let signs = random_signs(probe, n);
                    let space = space_of(map, &signs, &f, tally);
                    Probe { signs, space }
                })
                .collect()
        });
        let (least, most) = gains.range();
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
        (y, sigma_y): (&Tensor, f64),
        x_t: &Tensor,
        level: &Level<Field>,
        tally: &Tally,
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
            // As in closed form, the pivot of a state that is not finite is not: the walk says at which step that was.
            if x_t.iter().any(|value| !value.is_finite()) {
                return Ok((vec![f64::NAN; n], None));
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
            let solved = solved.map_err(ComputeError::of(PIVOT))?;
            tally.pivot(solved.steps);
            let state = x_t.iter().map(|x| x / level.alpha);
            let correction = solved.x.iter().zip(state).map(|(mu, x)| mu - x).collect();
            let first = guess.map_or(sigma_t, |(first, _)| first);
            let walk = Walk { first, last: sigma_t, correction };
            Ok((solved.x, Some(walk)))
        };
        let solved: Result<Vec<Answer>, ComputeError> =
            (0..images).into_par_iter().map(solve).collect();
        let (solved, walks): (Vec<Vec<f64>>, Vec<Option<Walk>>) = solved?.into_iter().unzip();
        *self.walks.lock().unwrap_or_else(PoisonError::into_inner) = walks;
        Ok(batch(&solved.concat(), self.domain, x_t.device()))
    }
}

/// The space of functions of AᵀA at x; an error is [raised](raise).
fn space_of(map: &dyn LinearMap, x: &[f64], f: SpectralFunction<'_>, tally: &Tally) -> KrylovSpace {
    let grown = FUNCTIONS.nearest_space(map, x, &[f]);
    let (space, is_finished) =
        grown.unwrap_or_else(|error| raise(ComputeError::of(FUNCTION)(error)));
    tally.function(space.steps(), is_finished);
    space
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

/// The values of a tensor on the host.
fn host(x: &Tensor) -> Vec<f64> {
    let flat = x.to_device(Device::Cpu).to_kind(Kind::Double).flatten(0, -1);
    Vec::try_from(flat.contiguous()).expect("an f64 tensor of one dimension")
}

fn batch(values: &[f64], shape: Shape, device: Device) -> Tensor {
    let sides = [shape.channels, shape.height, shape.width].map(extent);
    Tensor::from_slice(values).view([-1, sides[0], sides[1], sides[2]]).to_device(device)
}

//! Conjugate gradients and Lanczos' method on a device, for all images of a batch at once: those of [`eps_math::solve`], whose tests say what
//! they do, on tensors.
//!
//! Each image has steps of its own and ends where it would end alone: what others of the batch need changes its answer by rounding at most.

use std::sync::Arc;

use eps_math::MathError;
use eps_math::operator::LinearMap;
use eps_math::solve::{
    Cg, Lanczos, Look, SpectralFunction, Tridiagonal, WithinNoise, complete, error_lag,
};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::ComputeError;
use crate::device_map::{DeviceMap, DevicePreconditioner};
use crate::extent::{extent, length_of};
use crate::gains::{FUNCTION, PIVOT};

/// One map for all images of a batch, or one an image, on rows of values.
#[derive(Debug)]
pub(crate) struct DeviceMaps {
    /// Each once.
    maps: Vec<DeviceMap>,
    preconditioners: Vec<Option<DevicePreconditioner>>,
    /// The images of each; empty for one map of all.
    images: Vec<Tensor>,
    /// Where each image is when those of a map stand together.
    order: Option<Tensor>,
    count: usize,
    domain: usize,
    range: usize,
}

impl DeviceMaps {
    /// The maps on a device, where all of them are written out: maps without repetitions, and which of them each image has.
    pub(crate) fn new(
        maps: &[&Arc<dyn LinearMap>],
        of_images: &[usize],
        device: Device,
    ) -> Option<Self> {
        let preconditioner = |map: &&Arc<dyn LinearMap>| {
            map.preconditioner().map(|of| DevicePreconditioner::new(&of, device))
        };
        let on_device = |of: &[i64]| Tensor::from_slice(of).to_device(device);
        let (mut images, mut together) = (Vec::new(), Vec::new());
        if maps.len() > 1 {
            for map in 0..maps.len() {
                let own = (0..of_images.len()).filter(|image| of_images[*image] == map);
                let own: Vec<i64> = own.map(extent).collect();
                images.push(on_device(&own));
                together.extend(own);
            }
        }
        let mut order = vec![0; together.len()];
        for (place, image) in (0i64..).zip(&together) {
            order[length_of(*image)] = place;
        }
        Some(Self {
            domain: maps[0].domain().len(),
            range: maps[0].range().len(),
            preconditioners: maps.iter().map(preconditioner).collect(),
            maps: maps
                .iter()
                .map(|map| DeviceMap::of(map.as_ref(), device))
                .collect::<Option<_>>()?,
            order: (!order.is_empty()).then(|| on_device(&order)),
            images,
            count: of_images.len(),
        })
    }

    /// The number of maps, repetitions too: one, or one an image.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What each map makes of the rows of its images; one row serves all maps, one map all rows.
    pub(crate) fn each(&self, x: &Tensor, of: impl Fn(usize, &Tensor) -> Tensor) -> Tensor {
        let Some(order) = &self.order else {
            let is_one = x.size()[0] == 1 && self.count > 1;
            let rows =
                if is_one { x.expand([extent(self.count), -1], false) } else { x.shallow_clone() };
            return of(0, &rows);
        };
        let mapped: Vec<_> = (0..self.maps.len()).map(|map| of(map, &self.own(x, map))).collect();
        Tensor::cat(&mapped, 0).index_select(0, order)
    }

    /// The rows of a map's images, of as many as there are images; one row is every image's.
    pub(crate) fn own(&self, rows: &Tensor, map: usize) -> Tensor {
        let Some(images) = self.images.get(map) else { return rows.shallow_clone() };
        match rows.size()[0] {
            1 => rows.expand([images.size()[0], -1], false),
            _ => rows.index_select(0, images),
        }
    }

    /// A x, `[B, n]` → `[B, m]`.
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        self.each(x, |i, x| self.maps[i].apply(x))
    }

    /// Aᵀ y, `[B, m]` → `[B, n]`.
    pub(crate) fn adjoint(&self, y: &Tensor) -> Tensor {
        self.each(y, |i, y| self.maps[i].adjoint(y))
    }

    /// (B + κ I)⁻¹ v of every row, for κ `[B, 1]`; v itself where a map has no such B.
    pub(crate) fn precondition(&self, v: &Tensor, kappa: &Tensor) -> Tensor {
        self.each(v, |map, v| match &self.preconditioners[map] {
            Some(of) => of.run(v, &self.own(kappa, map)),
            None => v.shallow_clone(),
        })
    }

    /// [`WithinNoise::mu_star_from`] of every image, and the steps of each.
    ///
    /// # Shapes
    /// y: `[B, m]`, x_t and the guess: `[B, n]`, levels: `[B, 1]`, all of one B
    pub(crate) fn mu_star(
        &self,
        goal: &WithinNoise,
        (y, sigma_y): (&Tensor, f64),
        state: &Tensor,
        sigma_t: &Tensor,
        guess: Option<&Tensor>,
    ) -> Result<(Tensor, Vec<usize>), ComputeError> {
        let bound = (goal.share * sigma_y).powi(2) * self.domain as f64;
        let kappa = (sigma_y / sigma_t).square();
        let r = y - self.apply(state);
        let Descended { z, steps, is_sound } = self.descend(&goal.cg, &r, &kappa, bound, guess)?;
        // As in closed form, the pivot of a state that is not finite is not: the walk says at which step that was.
        let is_told = state.isfinite().all_dim(1, true).logical_not();
        if let Some(image) = flags(&is_sound.logical_or(&is_told)).iter().position(|is| !is) {
            return Err(ComputeError::of(PIVOT)(MathError::SolverNotFinite {
                steps: steps[image],
            }));
        }
        Ok((state + z, steps))
    }

    /// CGLS on min ‖A z − r‖² + κ ‖z‖² until the energy of the error is below a bound or the residual is small.
    fn descend(
        &self,
        goal: &Cg,
        r: &Tensor,
        kappa: &Tensor,
        bound: f64,
        start: Option<&Tensor>,
    ) -> Result<Descended, ComputeError> {
        let images = length_of(r.size()[0]);
        let mut r = r.copy();
        let mut z = Tensor::zeros([r.size()[0], extent(self.domain)], (Kind::Double, r.device()));
        if let Some(start) = start {
            let left = &r - self.apply(start);
            // Only where it is better than nothing.
            let better = (dot(&left, &left) + kappa * dot(start, start)).lt_tensor(&dot(&r, &r));
            r = left.where_self(&better, &r);
            z = start.where_self(&better, &z);
        }
        // Without noise κ is 0, and nothing is near AᵀA.
        let is_noisy = bound > 0.0;
        let precondition = |s: &Tensor| {
            if is_noisy { self.precondition(s, kappa) } else { s.shallow_clone() }
        };
        let mut s = self.adjoint(&r) - kappa * &z;
        let mut p = precondition(&s);
        let first = norm(&s);
        let none = first.zeros_like();
        let mut gamma = dot(&s, &p);
        let mut size = first.copy();
        let mut largest = none.copy();
        let mut active = size.gt(0.0);
        let mut is_sound = size.isfinite();
        // What each step took off the squared error, a column a step.
        let mut taken = Tensor::zeros([r.size()[0], 64], (Kind::Double, r.device()));
        let mut steps = vec![0; images];
        for step in 0.. {
            let rounding = &largest * (8.0 * f64::EPSILON) * norm(&r);
            let error = if is_noisy { kappa * norm(&z) } else { first.copy() };
            let end = rounding.maximum(&(error * goal.rtol));
            active = active.logical_and(&size.gt_tensor(&end));
            let lag = error_lag(step);
            if step >= lag && is_noisy {
                let last = taken.narrow(1, extent(step - lag), extent(lag));
                let since = last.sum_dim_intlist([1i64].as_slice(), true, None);
                active = active.logical_and(&since.lt(bound).logical_not());
            }
            if step == goal.max_steps && flags(&active).contains(&true) {
                let residual = (&size / &first).where_self(&active, &none).max().double_value(&[]);
                let error = MathError::NotSolved { steps: step, residual, rtol: goal.rtol };
                return Err(ComputeError::of(PIVOT)(error));
            }
            let q = self.apply(&p);
            let (of_p, of_q) = (dot(&p, &p), dot(&q, &q));
            let curvature = &of_q + kappa * &of_p;
            let is_told = curvature.isfinite().logical_or(&active.logical_not());
            is_sound = is_sound.logical_and(&is_told);
            active = active.logical_and(&curvature.gt(0.0)).logical_and(&is_told);
            let going = flags(&active);
            if !going.contains(&true) {
                break;
            }
            let kept = |new: &Tensor, old: &Tensor| new.where_self(&active, old);
            largest = kept(&largest.maximum(&(&of_q / &of_p).sqrt()), &largest);
            let along = kept(&(&gamma / &curvature), &none);
            z += &along * &p;
            r -= &along * &q;
            s = self.adjoint(&r) - kappa * &z;
            let mapped = precondition(&s);
            if extent(step) == taken.size()[1] {
                taken = Tensor::cat(&[&taken, &taken.zeros_like()], 1);
            }
            let mut column = taken.narrow(1, extent(step), 1);
            column.copy_(&kept(&(&along * &gamma), &none));
            let next = dot(&s, &mapped);
            p = &mapped + kept(&(&next / &gamma), &none) * &p;
            size = kept(&norm(&s), &size);
            gamma = kept(&next, &gamma);
            for (count, going) in steps.iter_mut().zip(going) {
                *count += usize::from(going);
            }
        }
        Ok(Descended { z, steps, is_sound: is_sound.logical_and(&size.isfinite()) })
    }

    /// [`Lanczos::nearest_space`] of every row of v, for a function of each image.
    pub(crate) fn spaces(
        &self,
        goal: &Lanczos,
        v: &Tensor,
        functions: &[SpectralFunction<'_>],
    ) -> Result<DeviceSpaces, ComputeError> {
        let mut u = self.apply(v);
        let length = norm(&u);
        let complete = complete(self.domain, self.range);
        let mut images: Vec<Growing> = numbers(&length)
            .into_iter()
            .map(|length| Growing {
                of: Tridiagonal::new(length, complete),
                look: Look::default(),
                end: (length == 0.0).then_some(0.0),
            })
            .collect();
        u = divided(&u, &length);
        let (mut basis, mut last_beside): (Vec<Tensor>, Option<Tensor>) = (Vec::new(), None);
        while images.iter().any(|image| image.end.is_none()) {
            let gram = self.apply(&self.adjoint(&u));
            let along = dot(&gram, &u);
            let mut next = gram - &along * &u;
            if let (Some(last), Some(beside)) = (basis.last(), &last_beside) {
                next -= beside * last;
            }
            let beside = norm(&next);
            let both = numbers(&Tensor::cat(&[&along, &beside], 1));
            images
                .par_iter_mut()
                .enumerate()
                .try_for_each(|(i, image)| {
                    if image.end.is_none() {
                        let function = functions[i % functions.len()];
                        let pair = (both[2 * i], both[2 * i + 1]);
                        image.end = image.of.grow(goal, pair, &[function], &mut image.look)?;
                    }
                    Ok(())
                })
                .map_err(ComputeError::of(FUNCTION))?;
            basis.push(std::mem::replace(&mut u, divided(&next, &beside)));
            last_beside = Some(beside);
        }
        let finished = images
            .iter()
            .map(|image| image.end.is_some_and(|change| change <= goal.rtol))
            .collect();
        let of = images.into_iter().map(|image| image.of).collect();
        Ok(DeviceSpaces { v: v.shallow_clone(), basis, of, finished })
    }
}

/// Where conjugate gradients ended.
struct Descended {
    /// The solutions, `[B, n]`.
    z: Tensor,
    /// The steps of each image.
    steps: Vec<usize>,
    /// Whether an image met neither NaN nor infinity, `[B, 1]`.
    is_sound: Tensor,
}

/// The space of one image while it grows.
struct Growing {
    of: Tridiagonal,
    look: Look,
    /// The change of its function when it ended.
    end: Option<f64>,
}

/// A Krylov space for every image of a batch.
#[derive(Debug)]
pub(crate) struct DeviceSpaces {
    v: Tensor,
    /// Vectors `[B, m]`, of which an image has the first ones.
    basis: Vec<Tensor>,
    of: Vec<Tridiagonal>,
    /// Whether the functions of each image stand still.
    pub(crate) finished: Vec<bool>,
}

impl DeviceSpaces {
    /// The steps of each image.
    pub(crate) fn steps(&self) -> impl Iterator<Item = usize> + '_ {
        self.of.iter().map(Tridiagonal::steps)
    }

    /// The bytes that the basis takes.
    pub(crate) fn bytes(&self) -> usize {
        self.basis.iter().map(|vector| 8 * vector.numel()).sum()
    }

    /// f(AᵀA) v of every row, `[B, n]`, for a function of each image.
    pub(crate) fn evaluate(&self, maps: &DeviceMaps, functions: &[SpectralFunction<'_>]) -> Tensor {
        let images = self.of.len().max(functions.len());
        let function = |i: usize| functions[i % functions.len()];
        let at_zero: Vec<f64> = (0..images).map(|i| function(i)(&[0.0])[0]).collect();
        let at_zero = Tensor::from_slice(&at_zero).view([-1, 1]);
        let outside = &self.v * at_zero.to_device(self.v.device());
        if self.basis.is_empty() {
            return outside;
        }
        let (steps, of) = (self.basis.len(), &self.of);
        let coefficients = |i: usize| {
            let mut of_image = of[i % of.len()].coefficients(function(i));
            of_image.resize(steps, 0.0);
            of_image
        };
        let coefficients: Vec<Vec<f64>> = (0..images).into_par_iter().map(coefficients).collect();
        let coefficients = Tensor::from_slice(&coefficients.concat()).view([-1, extent(steps)]);
        let coefficients = coefficients.to_device(self.v.device());
        let inside = (0i64..).zip(&self.basis);
        let inside = inside.map(|(k, vector)| coefficients.narrow(1, k, 1) * vector);
        let inside = inside.reduce(|a, b| a + b).expect("a vector of the basis");
        outside + maps.adjoint(&inside)
    }
}

/// The inner products of rows, `[B, 1]`.
fn dot(a: &Tensor, b: &Tensor) -> Tensor {
    (a * b).sum_dim_intlist([1i64].as_slice(), true, None)
}

fn norm(a: &Tensor) -> Tensor {
    dot(a, a).sqrt()
}

/// Rows over their lengths, 0 where these are.
fn divided(rows: &Tensor, lengths: &Tensor) -> Tensor {
    (rows / lengths).where_self(&lengths.gt(0.0), &rows.zeros_like())
}

fn flags(of: &Tensor) -> Vec<bool> {
    Vec::try_from(of.flatten(0, -1).to_device(Device::Cpu)).expect("flags of one dimension")
}

fn numbers(of: &Tensor) -> Vec<f64> {
    Vec::try_from(of.flatten(0, -1).to_device(Device::Cpu)).expect("numbers of one dimension")
}

//! Conjugate gradients and Lanczos' method on a device, for all images of a batch at once: those of [`eps_math::solve`], whose tests say what
//! they do, on tensors.
//!
//! Each image has steps of its own and ends where it would end alone: what others of the batch need does not change its answer.

use eps_math::operator::{LinearMap, Preconditioner};
use eps_math::solve::{
    Cg, Lanczos, Look, SpectralFunction, Tridiagonal, WithinNoise, complete, error_lag,
};
use tch::{Device, Kind, Tensor};

use crate::ComputeError;
use crate::device_map::DeviceMap;
use crate::extent::{extent, length_of};

/// One map for all images of a batch, or one an image, on rows of values.
#[derive(Debug)]
pub(crate) struct DeviceMaps {
    maps: Vec<DeviceMap>,
    preconditioners: Vec<Option<DevicePreconditioner>>,
    domain: usize,
    range: usize,
}

/// A [`Preconditioner`] on a device.
#[derive(Debug)]
struct DevicePreconditioner {
    into: DeviceMap,
    powers: Tensor,
    least: Tensor,
    within: Option<DeviceMap>,
}

impl DevicePreconditioner {
    fn new(of: &Preconditioner, device: Device) -> Self {
        let values = |values: &[f64]| Tensor::from_slice(values).to_device(device);
        Self {
            into: DeviceMap::new(&of.into, device),
            powers: values(&of.powers),
            least: values(&of.least),
            within: of.within.as_ref().map(|within| DeviceMap::new(within, device)),
        }
    }

    /// (B + κ I)⁻¹ v for κ `[B, 1]`.
    fn run(&self, v: &Tensor, kappa: &Tensor) -> Tensor {
        let gains = (&self.powers + kappa.maximum(&self.least)).reciprocal();
        let inside = self.into.adjoint(&(self.into.apply(v) * gains));
        match &self.within {
            None => inside,
            Some(within) => inside + (v - within.adjoint(&within.apply(v))) / kappa,
        }
    }
}

impl DeviceMaps {
    /// The maps on a device, where all of them are written out.
    pub(crate) fn new<'a>(
        maps: impl ExactSizeIterator<Item = &'a dyn LinearMap> + Clone,
        device: Device,
    ) -> Option<Self> {
        let first = maps.clone().next()?;
        let preconditioner = |map: &'a dyn LinearMap| {
            map.preconditioner().map(|of| DevicePreconditioner::new(&of, device))
        };
        Some(Self {
            domain: first.domain().len(),
            range: first.range().len(),
            preconditioners: maps.clone().map(preconditioner).collect(),
            maps: maps.map(|map| DeviceMap::of(map, device)).collect::<Option<_>>()?,
        })
    }

    /// The number of maps: one, or one an image.
    pub(crate) fn count(&self) -> usize {
        self.maps.len()
    }

    /// What each image's map makes of its row; one row serves all maps, one map all rows.
    fn each(&self, x: &Tensor, of: impl Fn(usize, &Tensor) -> Tensor) -> Tensor {
        if self.maps.len() == 1 {
            return of(0, x);
        }
        let row = |i: usize| x.narrow(0, if x.size()[0] == 1 { 0 } else { extent(i) }, 1);
        let rows: Vec<_> = (0..self.maps.len()).map(|i| of(i, &row(i))).collect();
        Tensor::cat(&rows, 0)
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
        let last = kappa.size()[0] - 1;
        self.each(v, |i, v| match &self.preconditioners[i] {
            Some(of) if self.maps.len() > 1 => of.run(v, &kappa.narrow(0, extent(i).min(last), 1)),
            Some(of) => of.run(v, kappa),
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
        let (correction, steps) = self.descend(&goal.cg, &r, &kappa, bound, guess)?;
        Ok((state + correction, steps))
    }

    /// CGLS on min ‖A z − r‖² + κ ‖z‖² until the energy of the error is below a bound or the residual is small.
    fn descend(
        &self,
        goal: &Cg,
        r: &Tensor,
        kappa: &Tensor,
        bound: f64,
        start: Option<&Tensor>,
    ) -> Result<(Tensor, Vec<usize>), ComputeError> {
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
        let mut s = self.adjoint(&r) - kappa * &z;
        let mut p = self.precondition(&s, kappa);
        let first = norm(&s);
        let mut gamma = dot(&s, &p);
        let mut size = first.copy();
        let mut largest = first.zeros_like();
        let mut active = size.gt(0.0);
        // What all steps so far took off the squared error, step by step.
        let mut fallen = vec![first.zeros_like()];
        let mut steps = vec![0; images];
        for step in 0.. {
            let rounding = &largest * (8.0 * f64::EPSILON) * norm(&r);
            let residual = kappa * norm(&z) * goal.rtol;
            active = active.logical_and(&size.gt_tensor(&rounding.maximum(&residual)));
            let lag = error_lag(step);
            if step >= lag {
                let since = &fallen[step] - &fallen[step - lag];
                active = active.logical_and(&since.lt(bound).logical_not());
            }
            let going = flags(&active);
            if !going.contains(&true) {
                break;
            }
            if step == goal.max_steps {
                let residual = (&size / &first).max().double_value(&[]);
                let error =
                    eps_math::MathError::NotSolved { steps: step, residual, rtol: goal.rtol };
                return Err(ComputeError::Other(format!("the pivot: {error}")));
            }
            let q = self.apply(&p);
            let (of_p, of_q) = (dot(&p, &p), dot(&q, &q));
            let curvature = &of_q + kappa * &of_p;
            active = active.logical_and(&curvature.gt(0.0));
            let kept = |new: &Tensor, old: &Tensor| new.where_self(&active, old);
            largest = kept(&largest.maximum(&(&of_q / &of_p).sqrt()), &largest);
            let along = kept(&(&gamma / &curvature), &first.zeros_like());
            z += &along * &p;
            r -= &along * &q;
            s = self.adjoint(&r) - kappa * &z;
            let mapped = self.precondition(&s, kappa);
            let taken = kept(&(&along * &gamma), &first.zeros_like());
            fallen.push(&fallen[step] + taken);
            let next = dot(&s, &mapped);
            p = &mapped + kept(&(&next / &gamma), &first.zeros_like()) * &p;
            size = kept(&norm(&s), &size);
            gamma = kept(&next, &gamma);
            for (count, going) in steps.iter_mut().zip(going) {
                *count += usize::from(going);
            }
        }
        Ok((z, steps))
    }

    /// [`Lanczos::nearest_space`] of every row of v, for a function of each image.
    pub(crate) fn spaces(
        &self,
        goal: &Lanczos,
        v: &Tensor,
        functions: &[SpectralFunction<'_>],
    ) -> Result<DeviceSpaces, ComputeError> {
        let broken = |error: eps_math::MathError| ComputeError::Other(error.to_string());
        let mut u = self.apply(v);
        let length = norm(&u);
        let complete = complete(self.domain, self.range);
        let mut of: Vec<Tridiagonal> =
            numbers(&length).into_iter().map(|length| Tridiagonal::new(length, complete)).collect();
        let images = of.len();
        let mut ends: Vec<Option<f64>> =
            of.iter().map(|of| (of.length() == 0.0).then_some(0.0)).collect();
        u = divided(&u, &length);
        let mut looks = vec![Look::default(); images];
        let (mut basis, mut last_beside): (Vec<Tensor>, Option<Tensor>) = (Vec::new(), None);
        while ends.iter().any(Option::is_none) {
            let mut next = self.apply(&self.adjoint(&u));
            let along = dot(&next, &u);
            next -= &along * &u;
            if let (Some(last), Some(beside)) = (basis.last(), &last_beside) {
                next -= beside * last;
            }
            let beside = norm(&next);
            let (alongs, besides) = (numbers(&along), numbers(&beside));
            for i in 0..images {
                if ends[i].is_none() {
                    let function = functions[i % functions.len()];
                    let grown =
                        of[i].grow(goal, (alongs[i], besides[i]), &[function], &mut looks[i]);
                    ends[i] = grown.map_err(broken)?;
                }
            }
            basis.push(std::mem::replace(&mut u, divided(&next, &beside)));
            last_beside = Some(beside);
        }
        let finished = ends.iter().flatten().map(|change| *change <= goal.rtol).collect();
        let basis = (!basis.is_empty()).then(|| Tensor::stack(&basis, 1));
        Ok(DeviceSpaces { v: v.shallow_clone(), basis, of, finished })
    }
}

/// A Krylov space for every image of a batch.
#[derive(Debug)]
pub(crate) struct DeviceSpaces {
    v: Tensor,
    /// `[B, steps, m]`, of which an image has the first ones.
    basis: Option<Tensor>,
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
        self.basis.as_ref().map_or(0, |basis| 8 * basis.numel())
    }

    /// f(AᵀA) v of every row, `[B, n]`, for a function of each image.
    pub(crate) fn evaluate(&self, maps: &DeviceMaps, functions: &[SpectralFunction<'_>]) -> Tensor {
        let images = self.of.len().max(functions.len());
        let function = |i: usize| functions[i % functions.len()];
        let at_zero: Vec<f64> = (0..images).map(|i| function(i)(&[0.0])[0]).collect();
        let at_zero = Tensor::from_slice(&at_zero).view([-1, 1]);
        let outside = &self.v * at_zero.to_device(self.v.device());
        let Some(basis) = &self.basis else { return outside };
        let steps = length_of(basis.size()[1]);
        let coefficients = |i: usize| {
            let mut of_image = self.of[i % self.of.len()].coefficients(function(i));
            of_image.resize(steps, 0.0);
            of_image
        };
        let coefficients: Vec<f64> = (0..images).flat_map(coefficients).collect();
        let coefficients = Tensor::from_slice(&coefficients).view([-1, 1, extent(steps)]);
        let inside = coefficients.to_device(basis.device()).matmul(basis).squeeze_dim(1);
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

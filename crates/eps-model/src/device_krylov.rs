//! Operators that are written out, on the device that images are on: A, Aᵀ and the vectors of solvers are there. On the host are decided when
//! an image's solver ends, the small eigenproblems, and what a map knows of its diagonal.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use eps_math::operator::{LinearMap, lifted};
use eps_math::pivot::pivot_gains;
use eps_math::solve::{SpectralFunction, WithinNoise};
use eps_math::{Level, Shape};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::compute_error::raise;
use crate::device_map::DeviceBasis;
use crate::device_solve::{DeviceMaps, DeviceSpaces};
use crate::extent::extent;
use crate::gains::{FUNCTIONS, Gains, KEPT, PROBES, distinct, place, random_signs};
use crate::host_krylov::each;
use crate::krylov_report::Tally;
use crate::{ComputeError, Field};

/// Values of an image from which on a device is asked for a batch of several maps, one after the other: a guess, measured on no GPU.
const LARGE: usize = 1 << 16;

/// The maps of a batch on a device.
#[derive(Debug)]
pub(crate) struct DeviceKrylov {
    on_host: Vec<Arc<dyn LinearMap>>,
    maps: DeviceMaps,
    /// The eigenbasis of every map, where all are known.
    closed: Option<Vec<Closed>>,
    domain: Shape,
    range: Shape,
    device: Device,
    /// Images of random signs, `[1, n]`, and functions of every map there.
    probes: OnceLock<Vec<(Tensor, DeviceSpaces)>>,
    walk: Mutex<Option<DeviceWalk>>,
}

/// An eigenbasis with its eigenvalues, and where these lie among the nodes at which gains are tabulated.
#[derive(Debug)]
struct Closed {
    basis: DeviceBasis,
    eigenvalues: Tensor,
    before: Tensor,
    share: Tensor,
}

impl Closed {
    fn new(map: &dyn LinearMap, nodes: &[f64], device: Device) -> Option<Self> {
        let basis = map.as_spectral()?.eigenbasis()?;
        let places = basis.eigenvalues.iter().map(|lambda| place(nodes, *lambda));
        let (before, share): (Vec<i64>, Vec<f64>) =
            places.map(|(before, share)| (extent(before), share)).unzip();
        Some(Self {
            eigenvalues: Tensor::from_slice(&basis.eigenvalues).to_device(device),
            before: Tensor::from_slice(&before).to_device(device),
            share: Tensor::from_slice(&share).to_device(device),
            basis: DeviceBasis::new(&basis, device),
        })
    }

    /// f(AᵀA) x for the gains at the nodes, `[., M]`.
    fn function(&self, x: &Tensor, gains: &Tensor) -> Tensor {
        let before = gains.index_select(1, &self.before);
        // The last node has none after it.
        let after = (&self.before + 1).clamp_max(gains.size()[1] - 1);
        let step = gains.index_select(1, &after) - &before;
        self.basis.map(x, &(before + step * &self.share), &gains.narrow(1, 0, 1))
    }
}

/// Where the pivots of a batch's walks down the levels are, `[B, 1]` and `[B, n]`: from there the next ones are near.
#[derive(Debug)]
struct DeviceWalk {
    first: Tensor,
    last: Tensor,
    correction: Tensor,
}

impl DeviceKrylov {
    /// The maps on a device, where all of them are [written out](LinearMap::expression) with all that they have on the host, and no two are of
    /// different kinds.
    pub(crate) fn new(maps: &[Arc<dyn LinearMap>], nodes: &[f64], device: Device) -> Option<Self> {
        let (each, of_images) = distinct(maps);
        let closed: Vec<_> =
            each.iter().map(|map| Closed::new(map.as_ref(), nodes, device)).collect();
        let is_alike = |of: &dyn Fn(&Arc<dyn LinearMap>) -> bool| {
            each.iter().all(|map| of(map) == of(each[0]))
        };
        let domain = each[0].domain();
        let zeros = vec![0.0; domain.len()];
        let is_told = |(map, closed): (&&Arc<dyn LinearMap>, &Option<Closed>)| {
            let is_closed = closed.is_some() == map.as_spectral().is_some();
            let is_preconditioned =
                map.preconditioner().is_some() == map.approximate_inverse(&zeros, 1.0).is_some();
            is_closed && is_preconditioned
        };
        let has_basis = |map: &Arc<dyn LinearMap>| map.as_spectral().is_some();
        let has_diagonal = |map: &Arc<dyn LinearMap>| map.diagonal(&|_| 1.0).is_some();
        if !each.iter().zip(&closed).all(is_told)
            || !is_alike(&has_basis)
            || !is_alike(&has_diagonal)
        {
            return None;
        }
        Some(Self {
            maps: DeviceMaps::new(&each, &of_images, device)?,
            closed: closed.into_iter().collect(),
            domain,
            range: each[0].range(),
            on_host: maps.to_vec(),
            device,
            probes: OnceLock::new(),
            walk: Mutex::default(),
        })
    }

    /// Whether a device is worth its while: for one map of a whole batch, or for large images.
    pub(crate) fn is_for(maps: &[Arc<dyn LinearMap>]) -> bool {
        distinct(maps).0.len() == 1 || maps[0].domain().len() >= LARGE
    }

    /// A x, `[B, C, H, W]` → `[B, ..range]`.
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        of_shape(&self.maps.apply(&rows(x)), self.range)
    }

    /// Aᵀ y, `[B, ..range]` → `[B, C, H, W]`.
    pub(crate) fn adjoint(&self, y: &Tensor) -> Tensor {
        of_shape(&self.maps.adjoint(&rows(y)), self.domain)
    }

    /// f(AᵀA) x of every image for its gains, which lie on the device, too, with the Krylov spaces where they are small enough to be kept.
    pub(crate) fn function(
        &self,
        x: &Tensor,
        (gains, on_device): (&[Gains<'_>], &Field),
        kept: &OnceLock<DeviceSpaces>,
        tally: &Tally,
    ) -> Tensor {
        let x = rows(x);
        if let Some(closed) = &self.closed {
            let gains = rows(&on_device.0);
            let mapped =
                self.maps.each(&x, |map, x| closed[map].function(x, &self.maps.own(&gains, map)));
            return of_shape(&mapped, self.domain);
        }
        let functions = functions(gains);
        let functions: Vec<SpectralFunction<'_>> = functions.iter().map(|f| f as _).collect();
        if let Some(spaces) = kept.get() {
            return of_shape(&spaces.evaluate(&self.maps, &functions), self.domain);
        }
        let spaces = match self.spaces(&x, &functions, tally) {
            Ok(spaces) => spaces,
            // Of an image that left the finite numbers, or whose square did, functions are not finite either: the walk says at
            // which step that was.
            Err(_) if !x.square().sum(Kind::Double).double_value(&[]).is_finite() => {
                return of_shape(&(&x * f64::NAN), self.domain);
            }
            Err(error) => raise(error),
        };
        let mapped = spaces.evaluate(&self.maps, &functions);
        if spaces.bytes() <= KEPT {
            let _ = kept.set(spaces);
        }
        of_shape(&mapped, self.domain)
    }

    /// The Krylov spaces at every row of v.
    fn spaces(
        &self,
        v: &Tensor,
        functions: &[SpectralFunction<'_>],
        tally: &Tally,
    ) -> Result<DeviceSpaces, ComputeError> {
        let spaces = self.maps.spaces(&FUNCTIONS, v, functions)?;
        for (steps, finished) in spaces.steps().zip(&spaces.finished) {
            tally.function(steps, *finished);
        }
        Ok(spaces)
    }

    /// The measurement in the image's shape.
    pub(crate) fn lift(&self, y: &Tensor) -> Tensor {
        let maps = &self.on_host;
        each(maps.len(), y, self.domain, |i, y| lifted(maps[i % maps.len()].as_ref(), y))
    }

    /// The diagonal of f(AᵀA) of every image, `[B, C, H, W]`: by structure, where the maps have it, else estimated by random signs, as on
    /// the host.
    pub(crate) fn diagonal(&self, gains: &[Gains<'_>], device: Device, tally: &Tally) -> Tensor {
        let images = gains.len().max(self.on_host.len());
        let maps = &self.on_host;
        let of = |i: usize| {
            let (map, gains) = (&maps[i % maps.len()], &gains[i % gains.len()]);
            map.diagonal(&|lambda| gains.at(lambda))
        };
        match (0..images).into_par_iter().map(of).collect::<Option<Vec<_>>>() {
            Some(diagonals) => {
                let values = Tensor::from_slice(&diagonals.concat()).to_device(device);
                of_shape(&values, self.domain)
            }
            None => self.estimated(gains, tally),
        }
    }

    fn estimated(&self, gains: &[Gains<'_>], tally: &Tally) -> Tensor {
        let functions = functions(gains);
        let functions: Vec<SpectralFunction<'_>> = functions.iter().map(|f| f as _).collect();
        let probes = self.probes.get_or_init(|| {
            let steep = gains[0].steep();
            let of_probe = |probe| {
                let signs = random_signs(probe, self.domain.len());
                let signs = Tensor::from_slice(&signs).view([1, -1]).to_device(self.device);
                let spaces = self.spaces(&signs, &[&steep], tally);
                (signs, spaces.unwrap_or_else(|error| raise(error)))
            };
            (0..PROBES as u64).map(of_probe).collect()
        });
        let mapped =
            probes.iter().map(|(signs, spaces)| signs * spaces.evaluate(&self.maps, &functions));
        let sum = mapped.reduce(|a, b| a + b).expect("a probe");
        let ends: Vec<(f64, f64)> = gains.iter().map(Gains::range).collect();
        let least = self.column(ends.iter().map(|(least, _)| *least));
        let most = self.column(ends.iter().map(|(_, most)| *most));
        of_shape(&(sum / PROBES as f64).maximum(&least).minimum(&most), self.domain)
    }

    /// μ⋆ of every image: in closed form where an eigenbasis is known, else to within a tenth of the pivot's noise.
    pub(crate) fn mu_star(
        &self,
        (y, sigma_y): (&Tensor, f64),
        x_t: &Tensor,
        level: &Level<Field>,
        tally: &Tally,
    ) -> Result<Tensor, ComputeError> {
        let column = |of: &Field| of.0.view([-1, 1]);
        let (alpha, beta) = (column(&level.alpha), column(&level.beta));
        let (y, x_t) = (rows(y), rows(x_t));
        if let Some(closed) = &self.closed {
            let seen = self.maps.adjoint(&y);
            let mapped = self.maps.each(&x_t, |map, x_t| {
                let own = |of: &Tensor| self.maps.own(of, map);
                let level = Level { alpha: Field(own(&alpha)), beta: Field(own(&beta)) };
                let Closed { basis, eigenvalues, .. } = &closed[map];
                let gains = pivot_gains(Field(eigenvalues.unsqueeze(0)), &level, sigma_y);
                let zero = Tensor::zeros([1, 1], (Kind::Double, self.device));
                let at_zero = pivot_gains(Field(zero), &level, sigma_y);
                let state = basis.map(x_t, &gains.state.0, &at_zero.state.0);
                state + basis.map(&own(&seen), &gains.observation.0, &at_zero.observation.0)
            });
            return Ok(of_shape(&mapped, self.domain));
        }
        let images = [&y, &x_t, &alpha].map(|of| of.size()[0]).into_iter().max().unwrap_or(1);
        let images = images.max(extent(self.maps.count()));
        let all = |of: &Tensor| of.expand([images, -1], false);
        let (sigma_t, state) = (all(&(&beta / &alpha)), all(&(&x_t / &alpha)));
        let walk = self.walk.lock().unwrap_or_else(PoisonError::into_inner).take();
        let walk = walk.filter(|walk| walk.last.size()[0] == images);
        // One that does not go on is another walk, which begins without a guess, so that its pivots do not depend on what was asked before.
        let guess = walk.as_ref().map(|walk| {
            let goes_on =
                sigma_t.le_tensor(&walk.last).logical_and(&sigma_t.lt_tensor(&walk.first));
            let share = (&sigma_t / &walk.last).where_self(&goes_on, &sigma_t.zeros_like());
            (&walk.correction * share, walk.first.where_self(&goes_on, &sigma_t))
        });
        let start = guess.as_ref().map(|(start, _)| start);
        let goal = WithinNoise::OF_SAMPLERS;
        let (mu, steps) = self.maps.mu_star(&goal, (&all(&y), sigma_y), &state, &sigma_t, start)?;
        steps.into_iter().for_each(|steps| tally.pivot(steps));
        let first = guess.map_or_else(|| sigma_t.copy(), |(_, first)| first);
        let walk = DeviceWalk { first, last: sigma_t, correction: &mu - state };
        *self.walk.lock().unwrap_or_else(PoisonError::into_inner) = Some(walk);
        Ok(of_shape(&mu, self.domain))
    }

    fn column(&self, values: impl Iterator<Item = f64>) -> Tensor {
        let values: Vec<f64> = values.collect();
        Tensor::from_slice(&values).view([-1, 1]).to_device(self.device)
    }

    /// Whether an eigenbasis of every map is known.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }
}

/// The gains of each image as functions of all λ at once.
fn functions<'a>(gains: &'a [Gains<'a>]) -> Vec<impl Fn(&[f64]) -> Vec<f64> + Sync + use<'a>> {
    gains.iter().map(|gains| |lambdas: &[f64]| gains.of_all(lambdas)).collect()
}

fn rows(x: &Tensor) -> Tensor {
    x.to_kind(Kind::Double).flatten(1, -1)
}

fn of_shape(rows: &Tensor, shape: Shape) -> Tensor {
    let sides = [shape.channels, shape.height, shape.width].map(extent);
    rows.reshape([-1, sides[0], sides[1], sides[2]])
}

#[cfg(test)]
mod tests {
    use eps_math::operator::{OperatorSpec, PreparedOperator, Whitened};
    use eps_math::rng::Stream;
    use eps_math::solve::Cg;
    use eps_math::{Noise, Route, exact_pivot};
    use eps_testing::devices;
    use faer::Mat;

    use super::*;
    use crate::krylov::Krylov;
    use crate::{attempt, expression_gap, level_fields};

    const SKEW: &str = "[[0.4, 0.1], [0.3, -0.2], [0.05, 0.1]]";

    fn prepared(spec: &OperatorSpec, [c, h, w]: [usize; 3]) -> PreparedOperator {
        spec.prepare(Shape::new(c, h, w).unwrap()).unwrap()
    }

    fn shared(json: &str, shape: [usize; 3]) -> Arc<dyn LinearMap> {
        prepared(&serde_json::from_str(json).unwrap(), shape).into_map()
    }

    /// A map of every family, and of what families are put together to.
    fn maps() -> Vec<(String, Arc<dyn LinearMap>)> {
        let families: Vec<(OperatorSpec, [usize; 3])> =
            serde_json::from_str(include_str!("../tests/families.json")).unwrap();
        let of = |(spec, shape): &(OperatorSpec, [usize; 3])| {
            let name = serde_json::to_string(spec).unwrap();
            (format!("{name} on {shape:?}"), prepared(spec, *shape).into_map())
        };
        let mut maps: Vec<_> = families.iter().map(of).collect();
        // Whitened, by every law of noise.
        let blur =
            format!(r#"{{"operator": "convolution", "kernel": {SKEW}, "border": "reflect"}}"#);
        let inner = prepared(&serde_json::from_str(&blur).unwrap(), [1, 4, 5]);
        let draw = |name: &str, n| Stream::named(0, name).normals(n);
        let entries = draw("sigmas", 20).iter().map(|z| z.abs() + 0.1).collect::<Vec<_>>();
        let mut lower = Mat::from_fn(20, 20, |i, j| match i.cmp(&j) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => entries[i],
            std::cmp::Ordering::Greater if i == 7 || j == 7 => 0.0,
            std::cmp::Ordering::Greater => 0.01 * (i + j) as f64,
        });
        lower[(7, 7)] = f64::INFINITY;
        let mut some = entries.clone();
        some[3] = f64::INFINITY;
        let spectrum: Vec<f64> = (0..20)
            .map(|i| {
                let (row, column) = ((i / 5).min(4 - i / 5), (i % 5).min(5 - i % 5));
                0.1 + (row * row + 2 * column) as f64
            })
            .collect();
        for (law, noise) in [
            ("uniform", Noise::uniform(0.3)),
            ("entries", Noise::entries(some)),
            ("factor", Noise::factor(&lower)),
            ("spectrum", Noise::spectrum(inner.range(), spectrum)),
        ] {
            let map = Whitened::new(inner.shared(), Arc::new(noise.unwrap()), 0.2).unwrap();
            maps.push((format!("{law} noise"), Arc::new(map)));
        }
        maps
    }

    fn batch(name: &str, images: usize, shape: Shape, device: Device) -> Tensor {
        let values = Stream::named(0, name).normals(images * shape.len());
        of_shape(&Tensor::from_slice(&values).to_device(device), shape)
    }

    fn gap(a: &Tensor, b: &Tensor) -> f64 {
        let norm = |x: &Tensor| x.square().sum(Kind::Double).sqrt().double_value(&[]);
        norm(&(a.to_device(Device::Cpu) - b)) / norm(b).max(f64::MIN_POSITIVE)
    }

    #[test]
    fn every_map_is_that_of_the_host() {
        for device in devices() {
            for (name, map) in maps() {
                let (domain, range) = (map.domain(), map.range());
                let on_device = Krylov::on_device(&[Arc::clone(&map)], device).unwrap();
                let host = Krylov::new(vec![Arc::clone(&map)], Device::Cpu);
                let (x, y) = (batch("x", 3, domain, device), batch("y", 3, range, device));
                let (x_host, y_host) = (x.to_device(Device::Cpu), y.to_device(Device::Cpu));
                // Sums of at most 500 products, and transforms of two libraries.
                let forth = gap(&on_device.apply(&x), &host.apply(&x_host));
                let back = gap(&on_device.adjoint(&y), &host.adjoint(&y_host));
                assert!(forth < 1e-13 && back < 1e-13, "{name}: {forth:e}, {back:e}");
                assert!(gap(&on_device.lift(&y), &host.lift(&y_host)) < 1e-13, "{name}");
                // Every part of it: preconditioner and eigenbasis too.
                let gap_of_all = expression_gap(map.as_ref(), device).unwrap();
                assert!(gap_of_all < 1e-11, "{name}: {gap_of_all:e}");
                // The preconditioner is that of the host; of a map without, there is none either.
                let maps = DeviceMaps::new(&[&map], &[0], device).unwrap();
                for kappa in [1e-6, 0.3] {
                    let v = Stream::named(0, "v").normals(domain.len());
                    let rows = Tensor::from_slice(&v).view([1, -1]).to_device(device);
                    let column = Tensor::full([1, 1], kappa, (Kind::Double, device));
                    let found = maps.precondition(&rows, &column);
                    let expected = map.approximate_inverse(&v, kappa).unwrap_or(v);
                    let gap = gap(&found, &Tensor::from_slice(&expected).view([1, -1]));
                    // Where κ is 1e-6, what is known is the difference of numbers 1e6 as large.
                    assert!(gap < 1e-9, "{name} at {kappa}: {gap:e}");
                }
            }
        }
    }

    #[test]
    fn pivots_and_functions_are_those_of_the_host() {
        for device in devices() {
            for (name, map) in maps() {
                let (domain, range) = (map.domain(), map.range());
                let on_device = Krylov::on_device(&[Arc::clone(&map)], device).unwrap();
                let host = Krylov::new(vec![Arc::clone(&map)], Device::Cpu);
                let y = batch("y", 1, range, device);
                // Down a walk, so that guesses are used; with a level for each image.
                for sigma_t in [80.0, 3.0, 0.1] {
                    let levels = [sigma_t, sigma_t / 2.0, sigma_t / 3.0].map(Level::edm);
                    let fields = level_fields(&levels, device);
                    let x_t = batch("x_t", 3, domain, device) * &fields.beta.0;
                    let found = on_device.mu_star(&y, 0.05, &x_t, &fields).unwrap();
                    let on_host = level_fields(&levels, Device::Cpu);
                    let (y, x_t) = (y.to_device(Device::Cpu), x_t.to_device(Device::Cpu));
                    let expected = host.mu_star(&y, 0.05, &x_t, &on_host).unwrap();
                    // In closed form to rounding; iterated, both to about a tenth of the noise Σ⋆.
                    for (i, level) in levels.iter().enumerate() {
                        let row = |of: &Tensor| -> Vec<f64> {
                            let row = of.get(i64::try_from(i).unwrap()).flatten(0, -1);
                            Vec::try_from(row.to_device(Device::Cpu)).unwrap()
                        };
                        let [found, expected, x_t] = [&found, &expected, &x_t].map(row);
                        let y: Vec<f64> = Vec::try_from(y.flatten(0, -1)).unwrap();
                        let (exact, route) =
                            exact_pivot(map.as_ref(), &y, 0.05, &x_t, level, &Cg::default())
                                .unwrap();
                        let error = |of: &[f64]| -> f64 {
                            // eᵀ Σ⋆⁻¹ e a value, with Σ⋆⁻¹ = I/σ_t² + AᵀA/σ_y².
                            let e: Vec<f64> = of.iter().zip(&exact).map(|(a, b)| a - b).collect();
                            let seen = map.apply(&e);
                            let sum = |of: &[f64]| of.iter().map(|v| v * v).sum::<f64>();
                            let energy =
                                sum(&e) / level.beta.powi(2) + sum(&seen) / 0.05f64.powi(2);
                            (energy / e.len() as f64).sqrt()
                        };
                        let (found, expected) = (error(&found), error(&expected));
                        // In few pixels the steps left before the end tell little of the error: the host's is above a tenth there, too.
                        let most = match route {
                            Route::ClosedForm => 1e-9,
                            _ => expected.max(0.1) * 1.01,
                        };
                        assert!(found < most, "{name} at {sigma_t}: {found}, host {expected}");
                    }
                }
                assert_eq!(on_device.report().is_some(), host.report().is_some(), "{name}");

                let gains = |of: &Krylov, device| {
                    let lambda = of.nodes(device).0;
                    Field(((&lambda + 0.01) / (lambda + 0.3)).sqrt())
                };
                let x = batch("x", 3, domain, device);
                let (kept, kept_host) =
                    (crate::krylov::Spaces::default(), crate::krylov::Spaces::default());
                // The second time by the spaces that were kept.
                for _ in 0..2 {
                    let found = on_device.function(&x, &gains(&on_device, device), &kept);
                    let expected = host.function(
                        &x.to_device(Device::Cpu),
                        &gains(&host, Device::Cpu),
                        &kept_host,
                    );
                    // The same steps of the same method, which make rounding larger; both are right to a per cent.
                    assert!(gap(&found, &expected) < 1e-4, "{name}: {:e}", gap(&found, &expected));
                }
                let found = on_device.diagonal(&gains(&on_device, device));
                let expected = host.diagonal(&gains(&host, Device::Cpu));
                assert!(gap(&found, &expected) < 1e-4, "{name}: {:e}", gap(&found, &expected));
            }
        }
    }

    /// With a state that is not finite, and with an operator whose squares f64 does not hold.
    #[test]
    fn what_is_not_finite_is_not_taken_for_an_answer() {
        let both = |map: &Arc<dyn LinearMap>, device| {
            [
                Krylov::on_device(&[Arc::clone(map)], device).unwrap(),
                Krylov::new(vec![Arc::clone(map)], Device::Cpu),
            ]
        };
        let blur = |kernel: &str| {
            let json = format!(
                r#"{{"operator": "convolution", "kernel": {kernel}, "border": "reflect"}}"#
            );
            shared(&json, [1, 4, 5])
        };
        let function = |of: &Krylov, x: &Tensor| {
            let lambda = of.nodes(x.device()).0;
            of.function(x, &Field((lambda + 1.0).sqrt()), &crate::krylov::Spaces::default())
        };
        for device in devices() {
            let fields = level_fields(&[1.0, 1.0].map(Level::edm), device);
            let map = blur(SKEW);
            let y = batch("y", 2, map.range(), device);
            let x_t = batch("x_t", 2, map.domain(), device);
            for of in both(&blur("[[1e80, 1e79]]"), device) {
                let error = of.mu_star(&y, 0.05, &x_t, &fields).unwrap_err().to_string();
                assert!(error.starts_with("the pivot") && error.contains("NaN"), "{error}");
                let error = attempt(|| function(&of, &x_t)).unwrap_err().to_string();
                assert!(error.starts_with("a function") && error.contains("NaN"), "{error}");
            }
            let _ = x_t.get(1).fill_(f64::NAN);
            for of in both(&map, device) {
                let pivot = of.mu_star(&y, 0.05, &x_t, &fields).unwrap();
                let is_finite = |image| pivot.get(image).isfinite().all().int64_value(&[]) != 0;
                assert!(is_finite(0) && !is_finite(1), "{pivot:?}");
                let mapped = function(&of, &x_t).sum(Kind::Double).double_value(&[]);
                assert!(mapped.is_nan());
            }
        }
    }

    #[test]
    fn an_image_of_a_batch_is_what_it_is_alone() {
        for device in devices() {
            let json = |sigma: f64| {
                format!(
                    r#"{{"operator": "convolution", "kernel": {{"gaussian": {{"sigma": {sigma}}}}}, "border": "reflect"}}"#
                )
            };
            let maps: Vec<Arc<dyn LinearMap>> =
                [0.5, 1.0, 2.0].map(|sigma| shared(&json(sigma), [1, 16, 12])).to_vec();
            let (domain, range) = (maps[0].domain(), maps[0].range());
            let levels = [80.0, 1.0, 0.1].map(Level::edm);
            let (x_t, y) = (batch("x_t", 3, domain, device), batch("y", 3, range, device));
            let together = Krylov::on_device(&maps, device).unwrap();
            let fields = level_fields(&levels, device);
            let all = together.mu_star(&y, 0.02, &(&x_t * &fields.beta.0), &fields).unwrap();
            for (i, map) in (0i64..).zip(&maps) {
                let alone = Krylov::on_device(&[Arc::clone(map)], device).unwrap();
                let own = |of: &Tensor| of.narrow(0, i, 1);
                let level = level_fields(&levels[i as usize..=i as usize], device);
                let one = alone.mu_star(&own(&y), 0.02, &(own(&x_t) * &level.beta.0), &level);
                let gap = gap(&own(&all), &one.unwrap().to_device(Device::Cpu));
                assert!(gap < 1e-11, "image {i}: {gap:e}");
            }
        }
    }

    /// Of several maps, each of which several images have, in any order.
    #[test]
    fn images_have_their_own_maps() {
        for device in devices() {
            let of = |json: &str| shared(json, [2, 6, 5]);
            let bayer = r#"{"operator": "random-mask", "missing": 0.4, "seed": 1}"#;
            let mask = r#"{"operator": "random-mask", "missing": 0.7, "seed": 2}"#;
            let (a, b) = (of(bayer), of(mask));
            let maps = [&a, &b, &b, &a, &b].map(Arc::clone).to_vec();
            let on_device = Krylov::on_device(&maps, device).unwrap();
            let host = Krylov::new(maps.clone(), Device::Cpu);
            let levels = [80.0, 3.0, 1.0, 0.3, 0.1].map(Level::edm);
            let x = batch("x", 5, a.domain(), device);
            let y = batch("y", 5, a.range(), device);
            let (x_host, y_host) = (x.to_device(Device::Cpu), y.to_device(Device::Cpu));
            assert!(gap(&on_device.apply(&x), &host.apply(&x_host)) < 1e-13);
            let pivot = on_device.mu_star(&y, 0.05, &x, &level_fields(&levels, device)).unwrap();
            let fields = level_fields(&levels, Device::Cpu);
            let expected = host.mu_star(&y_host, 0.05, &x_host, &fields).unwrap();
            assert!(gap(&pivot, &expected) < 1e-12);
            // One image serves as many of one map.
            let same = Krylov::on_device(&[Arc::clone(&a), Arc::clone(&a)], device).unwrap();
            assert_eq!(same.apply(&x.narrow(0, 0, 1)).size()[0], 2);
            // One of another kind beside it: the host decides for each image, a device for the batch.
            let blur =
                format!(r#"{{"operator": "convolution", "kernel": {SKEW}, "border": "zero"}}"#);
            assert!(Krylov::on_device(&[a, of(&blur)], device).is_none());
        }
    }

    /// A map that is not written out goes by the host.
    #[test]
    fn maps_of_ones_own_stay_on_the_host() {
        let grey: OperatorSpec = serde_json::from_str(r#"{"operator": "grey"}"#).unwrap();
        let grey = prepared(&grey, [3, 2, 2]);
        let own: Arc<dyn LinearMap> = Arc::new(eps_testing::Own(grey));
        assert!(Krylov::on_device(&[own], Device::Cpu).is_none());
    }
}

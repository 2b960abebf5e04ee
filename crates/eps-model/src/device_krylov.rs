//! Operators that are written out, on the device that images are on: nothing of theirs goes to the host but what decides when a solver ends.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use eps_math::operator::{LinearMap, lifted};
use eps_math::pivot::pivot_gains;
use eps_math::rng::Stream;
use eps_math::solve::{SpectralFunction, WithinNoise};
use eps_math::{Level, Shape};
use tch::{Device, Kind, Tensor};

use crate::device_map::DeviceMap;
use crate::device_solve::{DeviceMaps, DeviceSpaces};
use crate::extent::extent;
use crate::gains::{FUNCTIONS, Gains, KEPT, PROBES};
use crate::host_krylov::each;
use crate::krylov_report::Tally;
use crate::{ComputeError, Field};

/// The maps of a batch on a device.
#[derive(Debug)]
pub(crate) struct DeviceKrylov {
    /// What a map knows beside A and Aᵀ is asked on the host, once a measurement or for one plane of numbers.
    on_host: Vec<Arc<dyn LinearMap>>,
    maps: DeviceMaps,
    /// The eigenbasis of every map, where all are known.
    bases: Option<Vec<DeviceBasis>>,
    domain: Shape,
    range: Shape,
    device: Device,
    /// Images of random signs, `[1, n]`, and functions of every map there.
    probes: OnceLock<Vec<(Tensor, DeviceSpaces)>>,
    walk: Mutex<Option<DeviceWalk>>,
}

/// An [`Eigenbasis`](eps_math::operator::Eigenbasis) on a device.
#[derive(Debug)]
struct DeviceBasis {
    into: DeviceMap,
    eigenvalues: Vec<f64>,
    on_device: Tensor,
}

/// Where the pivots of a batch's walks down the levels are, `[B, 1]` and `[B, n]`: from there the next ones are near.
#[derive(Debug)]
struct DeviceWalk {
    first: Tensor,
    last: Tensor,
    correction: Tensor,
}

impl DeviceBasis {
    fn new(map: &dyn LinearMap, device: Device) -> Option<Self> {
        let basis = map.as_spectral()?.eigenbasis()?;
        let on_device = Tensor::from_slice(&basis.eigenvalues).to_device(device);
        let into = DeviceMap::new(&basis.into, device);
        Some(Self { into, eigenvalues: basis.eigenvalues, on_device })
    }

    /// f(AᵀA) x for f of the eigenvalues, `[., k]`, and f(0), `[., 1]`.
    fn map(&self, x: &Tensor, values: &Tensor, at_zero: &Tensor) -> Tensor {
        let inside = self.into.apply(x) * (values - at_zero);
        x * at_zero + self.into.adjoint(&inside)
    }
}

impl DeviceKrylov {
    /// The maps on a device, where all of them are [written out](LinearMap::expression).
    pub(crate) fn new(maps: &[Arc<dyn LinearMap>], device: Device) -> Option<Self> {
        let of = || maps.iter().map(AsRef::as_ref);
        Some(Self {
            bases: of().map(|map| DeviceBasis::new(map, device)).collect(),
            maps: DeviceMaps::new(of(), device)?,
            domain: maps[0].domain(),
            range: maps[0].range(),
            on_host: maps.to_vec(),
            device,
            probes: OnceLock::new(),
            walk: Mutex::default(),
        })
    }

    /// A x, `[B, C, H, W]` → `[B, ..range]`.
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        of_shape(&self.maps.apply(&rows(x)), self.range)
    }

    /// Aᵀ y, `[B, ..range]` → `[B, C, H, W]`.
    pub(crate) fn adjoint(&self, y: &Tensor) -> Tensor {
        of_shape(&self.maps.adjoint(&rows(y)), self.domain)
    }

    /// f(AᵀA) x of every image, with the Krylov spaces where they are small enough to be kept.
    pub(crate) fn function(
        &self,
        x: &Tensor,
        gains: &[Gains<'_>],
        kept: &OnceLock<DeviceSpaces>,
        tally: &Tally,
    ) -> Tensor {
        let x = rows(x);
        let mapped = if let Some(bases) = &self.bases {
            let at_zero = self.column(gains.iter().map(|gains| gains.at(0.0)));
            let values = |basis: &DeviceBasis| -> Vec<f64> {
                gains.iter().flat_map(|gains| gains.of_all(&basis.eigenvalues)).collect()
            };
            self.in_bases(bases, &x, |basis, i, x| {
                let count = extent(basis.eigenvalues.len());
                let values = Tensor::from_slice(&values(basis)).view([-1, count]);
                let own = |of: &Tensor| own_row(of, i, bases.len());
                basis.map(x, &own(&values.to_device(self.device)), &own(&at_zero))
            })
        } else {
            let functions: Vec<_> =
                gains.iter().map(|gains| |lambdas: &[f64]| gains.of_all(lambdas)).collect();
            let functions: Vec<SpectralFunction<'_>> = functions.iter().map(|f| f as _).collect();
            if let Some(spaces) = kept.get() {
                spaces.evaluate(&self.maps, &functions)
            } else {
                let spaces = self.spaces(&x, &functions, tally);
                let mapped = spaces.as_ref().map(|spaces| spaces.evaluate(&self.maps, &functions));
                if let Some(spaces) = spaces.filter(|spaces| spaces.bytes() <= KEPT) {
                    let _ = kept.set(spaces);
                }
                // Of a map that gives NaN: so does its function, and the walk stops at its step.
                mapped.unwrap_or_else(|| &x * f64::NAN)
            }
        };
        of_shape(&mapped, self.domain)
    }

    /// What each image's basis makes of its row.
    fn in_bases(
        &self,
        bases: &[DeviceBasis],
        x: &Tensor,
        of: impl Fn(&DeviceBasis, usize, &Tensor) -> Tensor,
    ) -> Tensor {
        let mapped: Vec<_> = bases
            .iter()
            .enumerate()
            .map(|(i, basis)| of(basis, i, &own_row(x, i, bases.len())))
            .collect();
        Tensor::cat(&mapped, 0)
    }

    fn spaces(
        &self,
        v: &Tensor,
        functions: &[SpectralFunction<'_>],
        tally: &Tally,
    ) -> Option<DeviceSpaces> {
        let spaces = self.maps.spaces(&FUNCTIONS, v, functions).ok()?;
        for (steps, finished) in spaces.steps().zip(&spaces.finished) {
            tally.function(steps, *finished);
        }
        Some(spaces)
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
        let of = |i: usize| {
            let (map, gains) = (&self.on_host[i % self.on_host.len()], &gains[i % gains.len()]);
            map.diagonal(&|lambda| gains.at(lambda))
        };
        match (0..images).map(of).collect::<Option<Vec<_>>>() {
            Some(diagonals) => {
                let values = Tensor::from_slice(&diagonals.concat()).to_device(device);
                of_shape(&values, self.domain)
            }
            None => self.estimated(gains, tally),
        }
    }

    fn estimated(&self, gains: &[Gains<'_>], tally: &Tally) -> Tensor {
        let functions: Vec<_> =
            gains.iter().map(|gains| |lambdas: &[f64]| gains.of_all(lambdas)).collect();
        let functions: Vec<SpectralFunction<'_>> = functions.iter().map(|f| f as _).collect();
        let probes = self.probes.get_or_init(|| {
            let steep = gains[0].steep();
            let of_probe = |probe| {
                let stream = Stream::new(0, probe, 0, 0);
                let sign = |i| if stream.uniform(i) < 0.5 { -1.0 } else { 1.0 };
                let signs: Vec<f64> = (0..self.domain.len() as u64).map(sign).collect();
                let signs = Tensor::from_slice(&signs).view([1, -1]).to_device(self.device);
                let spaces = self.spaces(&signs, &[&steep], tally)?;
                Some((signs, spaces))
            };
            (0..PROBES as u64).filter_map(of_probe).collect()
        });
        let mapped =
            probes.iter().map(|(signs, spaces)| signs * spaces.evaluate(&self.maps, &functions));
        let Some(sum) = mapped.reduce(|a, b| a + b) else {
            let shape = [1, extent(self.domain.len())];
            let undefined = Tensor::full(shape, f64::NAN, (Kind::Double, self.device));
            return of_shape(&undefined, self.domain);
        };
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
        if let Some(bases) = &self.bases {
            let seen = self.maps.adjoint(&y);
            let mapped = self.in_bases(bases, &x_t, |basis, i, x_t| {
                let own = |of: &Tensor| own_row(of, i, bases.len());
                let level = Level { alpha: Field(own(&alpha)), beta: Field(own(&beta)) };
                let gains = pivot_gains(Field(basis.on_device.unsqueeze(0)), &level, sigma_y);
                let at_zero = pivot_gains(
                    Field(alpha.new_zeros([1, 1], (Kind::Double, self.device))),
                    &level,
                    sigma_y,
                );
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
        self.bases.is_some()
    }
}

/// The row of one of several maps, where there is one for each; all rows for a single map.
fn own_row(of: &Tensor, i: usize, maps: usize) -> Tensor {
    if maps == 1 || of.size()[0] == 1 { of.shallow_clone() } else { of.narrow(0, extent(i), 1) }
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
    use eps_math::solve::Cg;
    use eps_math::{Noise, Route, exact_pivot};
    use eps_testing::devices;
    use faer::Mat;

    use super::*;
    use crate::krylov::Krylov;
    use crate::level_fields;

    const SKEW: &str = "[[0.4, 0.1], [0.3, -0.2], [0.05, 0.1]]";

    fn prepared(json: &str, [c, h, w]: [usize; 3]) -> PreparedOperator {
        let spec: OperatorSpec = serde_json::from_str(json).unwrap();
        spec.prepare(Shape::new(c, h, w).unwrap()).unwrap()
    }

    fn shared(json: &str, shape: [usize; 3]) -> (String, Arc<dyn LinearMap>) {
        (format!("{json} on {shape:?}"), prepared(json, shape).into_map())
    }

    /// A map of every family, and of what families are put together to.
    fn maps() -> Vec<(String, Arc<dyn LinearMap>)> {
        let mut maps = Vec::new();
        let mut add = |json: &str, shape| maps.push(shared(json, shape));
        for border in ["circular", "zero", "reflect", "symmetric", "replicate", "valid"] {
            let end = format!(r#""border": "{border}"}}"#);
            add(&format!(r#"{{"operator": "convolution", "kernel": {SKEW}, {end}"#), [2, 6, 5]);
            let kernels = format!(r#""kernels": [{SKEW}, {{"disc": {{"radius": 1.7}}}}, [[1]]]"#);
            add(&format!(r#"{{"operator": "channel-convolution", {kernels}, {end}"#), [3, 7, 6]);
            let windows = r#""windows": {"grid": [3, 1]}"#;
            add(
                &format!(r#"{{"operator": "varying-blur", {kernels}, {windows}, {end}"#),
                [2, 7, 6],
            );
        }
        let blur =
            format!(r#"{{"operator": "convolution", "kernel": {SKEW}, "border": "reflect"}}"#);
        let pool = r#"{"operator": "average-pool", "factor": 2}"#;
        let grey = r#"{"operator": "grey"}"#;
        let crop = r#"{"operator": "crop", "top": 1, "left": 2, "height": 3, "width": 2}"#;
        let pad = r#"{"operator": "pad", "top": 1, "bottom": 0, "left": 2, "right": 3}"#;
        let scale = r#"{"operator": "scale", "factor": -0.5, "of": {"operator": "grey"}}"#;
        let resize = r#"{"operator": "resize", "height": 3, "width": 4, "filter": "bicubic"}"#;
        let radon = r#"{"operator": "radon", "angles_degrees": [10, 100.5, 45], "axis": 2.75}"#;
        let mask = "[[1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 1]]";
        let sensitivity = "[[0.1, 1, 0.3, 0.2], [0.4, -1, 0.5, 0.1], [0.2, 0.3, 0.6, 0.7]]";
        let coils = format!(
            r#"{{"operator": "coils", "maps": [[{sensitivity}, {mask}], [{mask}, {sensitivity}]], "mask": {mask}}}"#
        );
        let real = r#"{"operator": "real"}"#;
        let wave = r#"{"operator": "circular-blur", "kernel": [[0.2], [0.5], [0.3]]}"#;
        for (json, shape) in [
            (pool, [2, 4, 6]),
            (grey, [3, 4, 5]),
            (crop, [2, 5, 4]),
            (pad, [2, 3, 4]),
            (scale, [3, 4, 5]),
            (resize, [2, 7, 6]),
            (radon, [2, 6, 6]),
            (r#"{"operator": "bayer", "pattern": "grbg"}"#, [3, 5, 4]),
            (r#"{"operator": "random-mask", "missing": 0.4, "seed": 1}"#, [2, 5, 4]),
            (r#"{"operator": "weights", "weights": [0.5, 0, 1, -2, 1, 0.25]}"#, [1, 2, 3]),
            (&format!(r#"{{"operator": "fourier", "mask": {mask}}}"#), [2, 3, 4]),
            (&coils, [2, 3, 4]),
            (r#"{"operator": "gaussian-matrix", "rows": 5, "seed": 7}"#, [1, 3, 4]),
            (r#"{"operator": "walsh-hadamard", "rows": 9, "seed": 3}"#, [3, 2, 2]),
            (real, [1, 3, 4]),
        ] {
            add(json, shape);
        }
        for method in ["direct", "gridding"] {
            let points =
                r#""points": [[0, 0], [0.25, 0], [-0.1, 0.37], [0.5, -0.5], [0.013, 1.2]]"#;
            let transform =
                format!(r#"{{"operator": "nonuniform-fourier", {points}, "method": "{method}"}}"#);
            add(&transform, [1, 4, 5]);
            add(&transform, [2, 5, 3]);
        }
        for (links, shape) in [
            (format!("{blur}, {pool}, {grey}"), [3, 8, 6]),
            (format!("{pad}, {blur}, {crop}"), [2, 6, 5]),
            (format!(r#"{{"operator": "scale", "factor": 3, "of": {crop}}}, {wave}"#), [2, 8, 6]),
            (format!("{real}, {coils}"), [1, 3, 4]),
            (format!(r#"{blur}, {{"operator": "bayer", "pattern": "rggb"}}"#), [3, 6, 5]),
        ] {
            add(&format!(r#"{{"operator": "chain", "of": [{links}]}}"#), shape);
        }
        add(&format!(r#"{{"operator": "sum", "of": [{wave}, {blur}]}}"#), [2, 6, 5]);
        add(&format!(r#"{{"operator": "stack", "of": [{radon}, {pad}, {blur}]}}"#), [1, 6, 6]);
        // Whitened, by every law of noise.
        let inner = prepared(&blur, [1, 4, 5]);
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
                // The preconditioner is that of the host; of a map without, there is none either.
                let maps = DeviceMaps::new(std::iter::once(map.as_ref()), device).unwrap();
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

    #[test]
    fn an_image_of_a_batch_is_what_it_is_alone() {
        for device in devices() {
            let json = |sigma: f64| {
                format!(
                    r#"{{"operator": "convolution", "kernel": {{"gaussian": {{"sigma": {sigma}}}}}, "border": "reflect"}}"#
                )
            };
            let maps: Vec<Arc<dyn LinearMap>> =
                [0.5, 1.0, 2.0].map(|sigma| shared(&json(sigma), [1, 16, 12]).1).to_vec();
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

    /// A map that is not written out goes by the host.
    #[test]
    fn maps_of_ones_own_stay_on_the_host() {
        let grey = prepared(r#"{"operator": "grey"}"#, [3, 2, 2]);
        let own: Arc<dyn LinearMap> = Arc::new(eps_testing::Own(grey));
        assert!(Krylov::on_device(&[own], Device::Cpu).is_none());
    }
}

//! Linear maps on a device: the elementary maps of an [`Expression`] on tensors.

use eps_math::Shape;
use eps_math::operator::{Complex, Eigenbasis, Expression, LinearMap, Preconditioner, Sparse};
use eps_math::rng::Stream;
use tch::{Device, Kind, Tensor};

use crate::extent::{extent, length_of};

/// A map and its adjoint on rows of values `[B, n]` in f64.
#[derive(Debug)]
pub(crate) struct DeviceMap(Node);

/// An elementary map, with its numbers on the device.
#[derive(Debug)]
enum Node {
    Scale(f64),
    Weights(Tensor),
    Sparse(Entries),
    /// M, `[m, n]`.
    Matrix(Tensor),
    /// L, `[n, n]`.
    LowerSolve(Tensor),
    Sides {
        plane: (i64, i64),
        vertical: Tensor,
        horizontal: Tensor,
    },
    /// The gains of the half plane, `[H, W/2 + 1]`.
    Filter {
        plane: (i64, i64),
        gains: Tensor,
    },
    Dft {
        plane: (i64, i64),
    },
    /// b, `[M, H]`, and a, `[M, W]`.
    Waves {
        plane: (i64, i64),
        rows: Tensor,
        columns: Tensor,
    },
    Turns(Tensor),
    Hadamard,
    Rays(Rays),
    Each(i64, Box<Self>),
    Blocks(Vec<Self>),
    Chain(Vec<Self>),
    Sum(Vec<Self>),
    Stack(Vec<(i64, Self)>),
}

/// Entries of a sparse matrix.
#[derive(Debug)]
struct Entries {
    rows: i64,
    columns: i64,
    row: Tensor,
    column: Tensor,
    weight: Tensor,
}

/// Rays through a square plane, whose weights are computed anew each time, for some angles at once: all would take far more memory than the
/// image.
#[derive(Debug)]
struct Rays {
    side: i64,
    angles: Vec<(f64, f64)>,
    axis: f64,
    /// Row and position of the detector at each place, `[n²]`.
    row: Tensor,
    position: Tensor,
}

impl DeviceMap {
    /// A map on a device, where it is [written out](LinearMap::expression).
    pub(crate) fn of(map: &dyn LinearMap, device: Device) -> Option<Self> {
        Some(Self::new(&map.expression()?, device))
    }

    pub(crate) fn new(expression: &Expression, device: Device) -> Self {
        Self(Node::new(expression, device))
    }

    /// A x.
    ///
    /// # Shapes
    /// x: `[B, n]` → `[B, m]`
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        self.0.run(x, false)
    }

    /// Aᵀ y.
    ///
    /// # Shapes
    /// y: `[B, m]` → `[B, n]`
    pub(crate) fn adjoint(&self, y: &Tensor) -> Tensor {
        self.0.run(y, true)
    }
}

/// How far a map's [expression](LinearMap::expression), computed on a device, is from its functions on the host: the largest difference of A x and
/// Aᵀy for normal x and y, over the size of either, and so of its preconditioner and its eigenbasis, where it has them; none of a map without
/// an expression.
///
/// Some 1e-15, or something is wrong.
#[must_use]
pub fn expression_gap(map: &dyn LinearMap, device: Device) -> Option<f64> {
    let on_device = DeviceMap::of(map, device)?;
    let draw = |name, shape: Shape| Stream::named(0, name).normals(shape.len());
    let (x, y) = (draw("image", map.domain()), draw("measurement", map.range()));
    let row = |of: &[f64]| Tensor::from_slice(of).view([1, -1]).to_device(device);
    let gap = |found: Tensor, expected: Vec<f64>| {
        let expected = row(&expected);
        let size = expected.norm().double_value(&[]).max(f64::MIN_POSITIVE);
        (found - expected).norm().double_value(&[]) / size
    };
    let mut gaps = vec![
        gap(on_device.apply(&row(&x)), map.apply(&x)),
        gap(on_device.adjoint(&row(&y)), map.adjoint(&y)),
    ];
    if let (Some(of), Some(expected)) = (map.preconditioner(), map.approximate_inverse(&x, 0.1)) {
        let kappa = Tensor::full([1, 1], 0.1, (Kind::Double, device));
        gaps.push(gap(DevicePreconditioner::new(&of, device).run(&row(&x), &kappa), expected));
    }
    if let Some(spectral) = map.as_spectral()
        && let Some(basis) = spectral.eigenbasis()
    {
        let f = |lambda: f64| (lambda + 0.3).recip();
        let values: Vec<f64> = basis.eigenvalues.iter().map(|lambda| f(*lambda)).collect();
        let at_zero = Tensor::full([1, 1], f(0.0), (Kind::Double, device));
        let mapped = DeviceBasis::new(&basis, device).map(&row(&x), &row(&values), &at_zero);
        gaps.push(gap(mapped, spectral.spectral_map(&x, &f)));
    }
    // NaN is the largest.
    gaps.into_iter().reduce(|a, b| if a >= b { a } else { b })
}

/// An [`Eigenbasis`] on a device.
#[derive(Debug)]
pub(crate) struct DeviceBasis {
    into: DeviceMap,
    is_whole: bool,
}

impl DeviceBasis {
    pub(crate) fn new(basis: &Eigenbasis, device: Device) -> Self {
        Self { into: DeviceMap::new(&basis.into, device), is_whole: basis.is_whole }
    }

    /// f(AᵀA) x for f of the eigenvalues, `[., k]`, and f(0), `[., 1]`.
    pub(crate) fn map(&self, x: &Tensor, values: &Tensor, at_zero: &Tensor) -> Tensor {
        let inside = self.into.apply(x);
        if self.is_whole {
            return self.into.adjoint(&(inside * values));
        }
        x * at_zero + self.into.adjoint(&(inside * (values - at_zero)))
    }
}

/// A [`Preconditioner`] on a device.
#[derive(Debug)]
pub(crate) struct DevicePreconditioner {
    into: DeviceMap,
    powers: Tensor,
    least: Tensor,
    within: Option<DeviceMap>,
}

impl DevicePreconditioner {
    pub(crate) fn new(of: &Preconditioner, device: Device) -> Self {
        let values = |values: &[f64]| Tensor::from_slice(values).to_device(device);
        Self {
            into: DeviceMap::new(&of.into, device),
            powers: values(&of.powers),
            least: values(&of.least),
            within: of.within.as_ref().map(|within| DeviceMap::new(within, device)),
        }
    }

    /// (B + κ I)⁻¹ v for κ `[B, 1]`.
    pub(crate) fn run(&self, v: &Tensor, kappa: &Tensor) -> Tensor {
        let gains = (&self.powers + kappa.maximum(&self.least)).reciprocal();
        let inside = self.into.adjoint(&(self.into.apply(v) * gains));
        match &self.within {
            None => inside,
            Some(within) => inside + (v - within.adjoint(&within.apply(v))) / kappa,
        }
    }
}

impl Node {
    fn new(expression: &Expression, device: Device) -> Self {
        let values = |values: &[f64]| Tensor::from_slice(values).to_device(device);
        let all = |of: &[Expression]| of.iter().map(|part| Self::new(part, device)).collect();
        let sides = |(height, width): (usize, usize)| (extent(height), extent(width));
        match expression {
            Expression::Scale(factor) => Self::Scale(*factor),
            Expression::Weights(weights) => Self::Weights(values(weights)),
            Expression::Sparse(sparse) => Self::Sparse(Entries::new(sparse, device)),
            Expression::Matrix { columns, values: matrix } => {
                Self::Matrix(values(matrix).view([-1, extent(*columns)]))
            }
            Expression::LowerSolve { rows, values: lower } => {
                Self::LowerSolve(values(lower).view([extent(*rows), extent(*rows)]))
            }
            Expression::Sides { plane, vertical, horizontal } => {
                let (height, width) = sides(*plane);
                Self::Sides {
                    plane: (height, width),
                    vertical: values(vertical).view([-1, height]),
                    horizontal: values(horizontal).view([-1, width]),
                }
            }
            Expression::Filter { plane, gains } => {
                let (height, width) = sides(*plane);
                let half = complex(gains, device).view([height, width]).narrow(1, 0, width / 2 + 1);
                Self::Filter { plane: (height, width), gains: half.contiguous() }
            }
            Expression::Dft { plane } => Self::Dft { plane: sides(*plane) },
            Expression::Waves { plane, rows, columns } => {
                let (height, width) = sides(*plane);
                Self::Waves {
                    plane: (height, width),
                    rows: complex(rows, device).view([-1, height]),
                    columns: complex(columns, device).view([-1, width]),
                }
            }
            Expression::Turns(factors) => Self::Turns(complex(factors, device)),
            Expression::Hadamard => Self::Hadamard,
            Expression::Rays { side, angles, axis } => {
                Self::Rays(Rays::new(extent(*side), angles.clone(), *axis, device))
            }
            Expression::Each(parts, of) => {
                Self::Each(extent(*parts), Box::new(Self::new(of, device)))
            }
            Expression::Blocks(of) => Self::Blocks(all(of)),
            Expression::Chain(of) => Self::Chain(all(of)),
            Expression::Sum(of) => Self::Sum(all(of)),
            Expression::Stack(of) => Self::Stack(
                of.iter()
                    .map(|(length, part)| (extent(*length), Self::new(part, device)))
                    .collect(),
            ),
        }
    }

    /// The map, or its adjoint, of rows of values.
    fn run(&self, x: &Tensor, adjoint: bool) -> Tensor {
        let batch = x.size()[0];
        match self {
            Self::Scale(factor) => x * *factor,
            Self::Weights(weights) => x * weights,
            Self::Sparse(entries) => entries.run(x, adjoint),
            Self::Matrix(matrix) if adjoint => x.matmul(matrix),
            Self::Matrix(matrix) => x.matmul(&matrix.transpose(0, 1)),
            // Rows of values are Xᵀ: L⁻¹X is (Xᵀ L⁻ᵀ)ᵀ.
            Self::LowerSolve(lower) => {
                let (matrix, upper) = match adjoint {
                    true => (lower.shallow_clone(), false),
                    false => (lower.transpose(0, 1), true),
                };
                Tensor::linalg_solve_triangular(&matrix, x, upper, false, false)
            }
            Self::Sides { plane: (height, width), vertical, horizontal } => {
                let mapped = if adjoint {
                    let planes = x.reshape([batch, vertical.size()[0], horizontal.size()[0]]);
                    vertical.transpose(0, 1).matmul(&planes).matmul(horizontal)
                } else {
                    let planes = x.reshape([batch, *height, *width]);
                    vertical.matmul(&planes).matmul(&horizontal.transpose(0, 1))
                };
                mapped.flatten(1, -1)
            }
            Self::Filter { plane: (height, width), gains } => {
                let sides = [*height, *width];
                let waves = x.reshape([batch, *height, *width]);
                let waves = waves.fft_rfft2(None::<&[i64]>, [-2i64, -1], "backward");
                let filtered = if adjoint { waves * gains.conj() } else { waves * gains };
                filtered.fft_irfft2(sides.as_slice(), [-2i64, -1], "backward").flatten(1, -1)
            }
            Self::Dft { plane: (height, width) } => {
                let plane = of_pair(x).view([batch, *height, *width]);
                let whole = None::<&[i64]>;
                let mapped = if adjoint {
                    plane.fft_ifft2(whole, [-2i64, -1], "ortho")
                } else {
                    plane.fft_fft2(whole, [-2i64, -1], "ortho")
                };
                pair(&mapped.flatten(1, -1))
            }
            Self::Waves { plane: (height, width), rows, columns } => {
                let values = of_pair(x);
                let mapped = if adjoint {
                    // Σ_j b̄_j[r] y_j ā_j[c]
                    let turned = rows.conj().transpose(0, 1) * values.unsqueeze(1);
                    turned.matmul(&columns.conj()).flatten(1, -1)
                } else {
                    let along =
                        values.view([batch, *height, *width]).matmul(&columns.transpose(0, 1));
                    (along * rows.transpose(0, 1)).sum_dim_intlist([1i64].as_slice(), false, None)
                };
                pair(&mapped)
            }
            Self::Turns(factors) if adjoint => pair(&(of_pair(x) * factors.conj())),
            Self::Turns(factors) => pair(&(of_pair(x) * factors)),
            Self::Hadamard => hadamard(x),
            Self::Rays(rays) => rays.run(x, adjoint),
            Self::Each(parts, of) => {
                of.run(&x.reshape([batch * parts, -1]), adjoint).reshape([batch, -1])
            }
            Self::Blocks(of) => {
                let parts = x.chunk(extent(of.len()), 1);
                let mapped: Vec<_> =
                    of.iter().zip(parts).map(|(m, x)| m.run(&x, adjoint)).collect();
                Tensor::cat(&mapped, 1)
            }
            Self::Chain(of) if adjoint => {
                of.iter().rev().fold(x.shallow_clone(), |x, map| map.run(&x, true))
            }
            Self::Chain(of) => of.iter().fold(x.shallow_clone(), |x, map| map.run(&x, false)),
            Self::Sum(of) => sum(of.iter().map(|map| map.run(x, adjoint))),
            Self::Stack(of) if adjoint => {
                let mut start = 0;
                sum(of.iter().map(|(length, map)| {
                    let part = x.narrow(1, start, *length);
                    start += length;
                    map.run(&part, true)
                }))
            }
            Self::Stack(of) => {
                let mapped: Vec<_> = of.iter().map(|(_, map)| map.run(x, false)).collect();
                Tensor::cat(&mapped, 1)
            }
        }
    }
}

/// Products that are in memory at once: half a gigabyte.
const AT_ONCE: i64 = 1 << 26;

impl Entries {
    /// # Panics
    /// For an entry beyond the matrix, which a GPU would answer by an error that ends everything.
    fn new(sparse: &Sparse, device: Device) -> Self {
        for (row, column, _) in &sparse.entries {
            let is_inside = *row < sparse.rows && *column < sparse.columns;
            assert!(is_inside, "entry [{row}, {column}] of {} x {}", sparse.rows, sparse.columns);
        }
        let index = |of: &dyn Fn(&(usize, usize, f64)) -> usize| {
            let indices: Vec<i64> = sparse.entries.iter().map(|entry| extent(of(entry))).collect();
            Tensor::from_slice(&indices).to_device(device)
        };
        let weights: Vec<f64> = sparse.entries.iter().map(|(_, _, weight)| *weight).collect();
        Self {
            rows: extent(sparse.rows),
            columns: extent(sparse.columns),
            row: index(&|(row, _, _)| *row),
            column: index(&|(_, column, _)| *column),
            weight: Tensor::from_slice(&weights).to_device(device),
        }
    }

    fn run(&self, x: &Tensor, adjoint: bool) -> Tensor {
        let (from, to, length) = match adjoint {
            true => (&self.row, &self.column, self.columns),
            false => (&self.column, &self.row, self.rows),
        };
        let mut sums = Tensor::zeros([x.size()[0], length], (Kind::Double, x.device()));
        let (count, at_once) = (self.weight.size()[0], (AT_ONCE / x.size()[0]).max(1));
        let mut start = 0;
        while start < count {
            let of = |all: &Tensor| all.narrow(0, start, at_once.min(count - start));
            let values = x.index_select(1, &of(from)) * of(&self.weight);
            let _ = sums.index_add_(1, &of(to), &values);
            start += at_once;
        }
        sums
    }
}

impl Rays {
    fn new(side: i64, angles: Vec<(f64, f64)>, axis: f64, device: Device) -> Self {
        let line = Tensor::arange(side, (Kind::Double, device));
        let row = line.repeat_interleave_self_int(side, 0, None);
        Self { side, angles, axis, row, position: line.repeat([side]) }
    }

    /// Calls `visit` with the first of some angles, their number and, four times, with the pixels `[angles · n²]` that their rays pass and
    /// the weights, 0 outside; place i of an angle lies on the ray to position i % n.
    fn for_each_neighbour(
        &self,
        at_once: usize,
        mut visit: impl FnMut(i64, i64, &Tensor, &Tensor),
    ) {
        let n = self.side;
        let centre = (n / 2) as f64;
        let mut first = 0;
        for angles in self.angles.chunks(at_once) {
            let column = |of: &dyn Fn(f64, f64) -> f64| {
                let values: Vec<f64> = angles.iter().map(|(cos, sin)| of(*cos, *sin)).collect();
                Tensor::from_slice(&values).view([-1, 1]).to_device(self.row.device())
            };
            let (cos, sin) = (column(&|cos, _| cos), column(&|_, sin| sin));
            let shift_x = column(&|cos, sin| cos * self.axis + (sin - 1.0) * centre);
            let shift_y = column(&|cos, sin| (cos - 1.0) * centre - sin * self.axis);
            let x = &self.position * &cos + &self.row * &sin - shift_x;
            let y = &self.row * cos - &self.position * sin - shift_y;
            let (left, top) = (x.floor(), y.floor());
            let (across, along) = (&x - &left, &y - &top);
            let shares = |part: &Tensor| [1.0 - part, part.shallow_clone()];
            for (dy, along) in shares(&along).iter().enumerate() {
                for (dx, across) in shares(&across).iter().enumerate() {
                    let (i, j) = (&top + dy as f64, &left + dx as f64);
                    let inside = |v: &Tensor| v.ge(0.0).logical_and(&v.lt(n as f64));
                    let seen = inside(&i).logical_and(&inside(&j));
                    let pixel = ((i * n as f64 + j) * &seen).to_kind(Kind::Int64).flatten(0, -1);
                    let weight = (along * across * &seen).flatten(0, -1);
                    visit(first, extent(angles.len()), &pixel, &weight);
                }
            }
            first += extent(angles.len());
        }
    }

    /// y[position, angle], or its adjoint.
    fn run(&self, x: &Tensor, adjoint: bool) -> Tensor {
        let (batch, n, angles) = (x.size()[0], self.side, extent(self.angles.len()));
        let length = if adjoint { n * n } else { n * angles };
        let sums = Tensor::zeros([batch, length], (Kind::Double, x.device()));
        let at_once = length_of((AT_ONCE / (16 * batch * n * n)).max(1));
        self.for_each_neighbour(at_once, |first, count, pixel, weight| {
            if adjoint {
                // The value of each place's ray.
                let rays = x.reshape([batch, n, angles]).narrow(2, first, count).transpose(1, 2);
                let of_places = rays.unsqueeze(2).expand([batch, count, n, n], false);
                let values = of_places.reshape([batch, -1]) * weight;
                let _ = sums.shallow_clone().index_add_(1, pixel, &values);
            } else {
                let values = (x.index_select(1, pixel) * weight).view([batch, count, n, n]);
                let rays = values.sum_dim_intlist([2i64].as_slice(), false, None);
                let mut of_angles = sums.view([batch, n, angles]).narrow(2, first, count);
                let _ = of_angles.g_add_(&rays.transpose(1, 2));
            }
        });
        sums
    }
}

/// The sum of at least one tensor.
fn sum(of: impl Iterator<Item = Tensor>) -> Tensor {
    of.reduce(|a, b| a + b).expect("a sum of maps has at least one")
}

fn complex(values: &[Complex<f64>], device: Device) -> Tensor {
    let (re, im): (Vec<f64>, Vec<f64>) = values.iter().map(|value| (value.re, value.im)).unzip();
    Tensor::complex(&Tensor::from_slice(&re), &Tensor::from_slice(&im)).to_device(device)
}

/// The complex numbers `[B, n]` of pairs `[B, 2n]`.
fn of_pair(x: &Tensor) -> Tensor {
    let half = x.size()[1] / 2;
    Tensor::complex(&x.narrow(1, 0, half), &x.narrow(1, half, half))
}

/// [`of_pair`] back.
fn pair(x: &Tensor) -> Tensor {
    let parts = x.view_as_real();
    Tensor::cat(&[parts.select(-1, 0), parts.select(-1, 1)], 1)
}

/// The orthonormal Walsh-Hadamard transform of rows.
fn hadamard(x: &Tensor) -> Tensor {
    let (batch, n) = (x.size()[0], x.size()[1]);
    let mut values = x.shallow_clone();
    let mut half = 1;
    while half < n {
        let blocks = values.reshape([batch, n / (2 * half), 2, half]);
        let (first, second) = (blocks.select(2, 0), blocks.select(2, 1));
        values = Tensor::stack(&[&first + &second, &first - &second], 2);
        half *= 2;
    }
    values.reshape([batch, n]) / (n as f64).sqrt()
}

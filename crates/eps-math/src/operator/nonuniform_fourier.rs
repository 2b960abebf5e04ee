//! Samples of k-space anywhere: radial and spiral trajectories, the visibilities of an interferometer.

use rustfft::num_complex::Complex;
use serde::{Deserialize, Serialize};

use super::convolution::smooth;
use super::expression::{Expression, Sparse};
use super::fourier::pair;
use super::fourier_plane::FourierPlane;
use super::linear_map::{LinearMap, assert_length};
use super::real_image::real_pair;
use crate::error::check_finite;
use crate::{MathError, Shape, whole};

/// How the sums of a [`NonuniformFourier`] are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FourierMethod {
    /// Term by term.
    Direct,
    /// By the fast transform of a grid twice as fine, between whose points Kaiser and Bessel's function interpolates over 12 points an axis: to
    /// 1e-9 of the largest value that an image of its norm can have.
    Gridding,
}

/// The Fourier transform at any frequencies (u, v).
///
/// ```text
/// y_j = 1/√(H W) Σ_{r,c} x[r, c] e^{−2πi (u_j c + v_j r)}
/// ```
///
/// u belongs to columns and v to rows, counted from the first pixel. At u = k/W, v = l/H it is the value of
/// [`Fourier`](super::Fourier) in row l and column k.
///
/// # Shapes
/// x: `[1, H, W]`, real, or `[2, H, W]`, the real and the imaginary part; y: `[2, 1, M]`, real parts and imaginary parts
///
/// # Units
/// u and v in cycles a pixel.
#[derive(Debug, Clone)]
pub struct NonuniformFourier {
    shape: Shape,
    count: usize,
    sums: Sums,
}

#[derive(Debug, Clone)]
enum Sums {
    /// e^{−2πi u c} and e^{−2πi v r}, point by point.
    Direct {
        columns: Vec<Complex<f64>>,
        rows: Vec<Complex<f64>>,
    },
    Gridding(Box<Grid>),
}

/// Terms up to which sums are computed one by one: some hundredths of a second.
const DIRECT: usize = 1 << 22;

/// Points of the fine grid that one value is interpolated from, an axis.
const TAPS: usize = 12;

#[derive(Debug, Clone)]
struct Grid {
    rows: Axis,
    columns: Axis,
    transform: FourierPlane,
    /// e^{−2πi (u W/2 + v H/2)}: the grid counts pixels from the image's middle.
    shifts: Vec<Complex<f64>>,
}

#[derive(Debug, Clone)]
struct Axis {
    /// Points of the fine grid.
    length: usize,
    /// Where each pixel lies on it.
    places: Vec<usize>,
    /// 1/φ̂ at each pixel.
    gains: Vec<f64>,
    /// The first of the points around each frequency, and the weights of all of them.
    around: Vec<(usize, [f64; TAPS])>,
}

impl Axis {
    fn new(pixels: usize, frequencies: impl Iterator<Item = f64>) -> Self {
        let length = smooth((2 * pixels).max(TAPS));
        let middle = pixels / 2;
        let width = TAPS as f64;
        // Beatty, Nishimura and Pauly 2005, Equation 5, for a grid twice as fine.
        let beta = std::f64::consts::PI * ((0.75 * width).powi(2) - 0.8).sqrt();
        let gain = |pixel: usize| {
            let position = (pixel as f64 - middle as f64) / length as f64;
            let argument = beta * beta - (std::f64::consts::PI * width * position).powi(2);
            let root = argument.sqrt();
            root / (width * root.sinh())
        };
        let weights = |frequency: f64| {
            let position = frequency.rem_euclid(1.0) * length as f64;
            let first = (position - width / 2.0).ceil();
            let weight = |tap: usize| {
                let distance = (first + tap as f64 - position) * 2.0 / width;
                bessel_i0(beta * (1.0 - distance * distance).max(0.0).sqrt())
            };
            // Between 0 and the length once it wraps around.
            let start = whole(first.rem_euclid(length as f64)) % length;
            (start, std::array::from_fn(weight))
        };
        Self {
            length,
            places: (0..pixels).map(|pixel| (pixel + length - middle) % length).collect(),
            gains: (0..pixels).map(gain).collect(),
            around: frequencies.map(weights).collect(),
        }
    }
}

/// The modified Bessel function of order 0, by its series, whose terms are all positive.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > sum * f64::EPSILON {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

impl NonuniformFourier {
    /// The transform of images of `shape` at `points` (u, v), by the method or by that which suits the size: term by term up to
    /// 2²² terms.
    ///
    /// # Errors
    /// [`MathError::Channels`] for images of more than two channels, [`MathError::Empty`] without points, [`MathError::NotFinite`] for a
    /// frequency, [`MathError::Shape`] for more points, a grid of more, or more factors of direct sums, than an image may have values.
    pub fn new(
        shape: Shape,
        points: &[[f64; 2]],
        method: Option<FourierMethod>,
    ) -> Result<Self, MathError> {
        if shape.channels > 2 {
            return Err(MathError::Channels {
                what: "nonuniform-fourier (a real image has one, a complex one a pair)",
                needed: 2,
                found: shape.channels,
            });
        }
        if points.is_empty() {
            return Err(MathError::Empty("the list of frequencies"));
        }
        check_finite("the list of frequencies", points.as_flattened())?;
        let count = points.len();
        Shape::new(2, 1, count)?;
        let Shape { height, width, .. } = shape;
        let usual = if count.saturating_mul(shape.plane()) <= DIRECT {
            FourierMethod::Direct
        } else {
            FourierMethod::Gridding
        };
        let sums = match method.unwrap_or(usual) {
            FourierMethod::Direct => {
                Shape::new(2, count, height.saturating_add(width))?;
                Sums::Direct {
                    columns: points.iter().flat_map(|[u, _]| turns(*u, width)).collect(),
                    rows: points.iter().flat_map(|[_, v]| turns(*v, height)).collect(),
                }
            }
            FourierMethod::Gridding => {
                Shape::new(2, smooth(2 * height), smooth(2 * width))?;
                let columns = Axis::new(width, points.iter().map(|[u, _]| *u));
                let rows = Axis::new(height, points.iter().map(|[_, v]| *v));
                let shift = |[u, v]: &[f64; 2]| turn(*u, width / 2) * turn(*v, height / 2);
                Sums::Gridding(Box::new(Grid {
                    transform: FourierPlane::new(rows.length, columns.length),
                    rows,
                    columns,
                    shifts: points.iter().map(shift).collect(),
                }))
            }
        };
        Ok(Self { shape, count, sums })
    }

    /// The transform of a complex image, not yet scaled.
    fn transformed(&self, x: &[Complex<f64>]) -> Vec<Complex<f64>> {
        let Shape { height, width, .. } = self.shape;
        match &self.sums {
            Sums::Direct { columns, rows } => {
                let value = |(columns, rows): (&[Complex<f64>], &[Complex<f64>])| {
                    let row = |x: &[Complex<f64>]| -> Complex<f64> {
                        x.iter().zip(columns).map(|(x, e)| x * e).sum()
                    };
                    x.chunks_exact(width).zip(rows).map(|(x, e)| row(x) * e).sum()
                };
                columns.chunks_exact(width).zip(rows.chunks_exact(height)).map(value).collect()
            }
            Sums::Gridding(grid) => {
                let mut plane = vec![Complex::ZERO; grid.rows.length * grid.columns.length];
                grid.for_each_pixel(|pixel, place, gain| plane[place] = x[pixel] * gain);
                grid.transform.forward(&mut plane);
                let mut y = grid.shifts.clone();
                grid.for_each_point(|index, of| {
                    let mut sum = Complex::ZERO;
                    of(&mut |place, weight| sum += plane[place] * weight);
                    y[index] *= sum;
                });
                y
            }
        }
    }

    /// The adjoint of [`Self::transformed`].
    fn gathered(&self, y: &[Complex<f64>]) -> Vec<Complex<f64>> {
        let Shape { height, width, .. } = self.shape;
        let mut x = vec![Complex::ZERO; height * width];
        match &self.sums {
            Sums::Direct { columns, rows } => {
                let points = columns.chunks_exact(width).zip(rows.chunks_exact(height));
                for ((columns, rows), y) in points.zip(y) {
                    for (line, e) in x.chunks_exact_mut(width).zip(rows) {
                        let turned = y * e.conj();
                        line.iter_mut().zip(columns).for_each(|(x, e)| *x += turned * e.conj());
                    }
                }
            }
            Sums::Gridding(grid) => {
                let mut plane = vec![Complex::ZERO; grid.rows.length * grid.columns.length];
                grid.for_each_point(|index, of| {
                    let value = y[index] * grid.shifts[index].conj();
                    of(&mut |place, weight| plane[place] += value * weight);
                });
                grid.transform.inverse(&mut plane);
                // The inverse is normalised, the adjoint is not.
                let scale = plane.len() as f64;
                grid.for_each_pixel(|pixel, place, gain| x[pixel] = plane[place] * (gain * scale));
            }
        }
        x
    }

    fn scale(&self) -> f64 {
        (self.shape.plane() as f64).sqrt().recip()
    }
}

impl Grid {
    /// The transform of a pair of `pixels` at `count` frequencies, not yet scaled.
    fn expression(&self, pixels: usize, count: usize) -> Expression {
        let plane = (self.rows.length, self.columns.length);
        let fine = plane.0 * plane.1;
        let mut entries = Vec::with_capacity(pixels);
        self.for_each_pixel(|pixel, place, gain| entries.push((place, pixel, gain)));
        let spread = Sparse { columns: pixels, rows: fine, entries };
        let mut entries = Vec::with_capacity(TAPS * TAPS * count);
        self.for_each_point(|index, of| {
            of(&mut |place, weight| entries.push((index, place, weight)));
        });
        let around = Sparse { columns: fine, rows: count, entries };
        Expression::Sparse(spread)
            .on_each(2)
            .then(Expression::Dft { plane })
            // The grid's transform is not normalised.
            .then(Expression::Scale((fine as f64).sqrt()))
            .then(Expression::Sparse(around).on_each(2))
            .then(Expression::Turns(self.shifts.clone()))
    }

    /// Calls `visit` with each pixel, its place on the fine grid and its gain.
    fn for_each_pixel(&self, mut visit: impl FnMut(usize, usize, f64)) {
        for (row, (place, gain)) in self.rows.places.iter().zip(&self.rows.gains).enumerate() {
            let columns = self.columns.places.iter().zip(&self.columns.gains).enumerate();
            for (column, (at, across)) in columns {
                let pixel = row * self.columns.places.len() + column;
                visit(pixel, place * self.columns.length + at, gain * across);
            }
        }
    }

    /// Calls `visit` with each frequency's index, and with what goes through the points of the fine grid around it and their weights.
    fn for_each_point(&self, mut visit: impl FnMut(usize, &dyn Fn(&mut dyn FnMut(usize, f64)))) {
        for (index, ((top, rows), (left, columns))) in
            self.rows.around.iter().zip(&self.columns.around).enumerate()
        {
            visit(index, &|each| {
                for (i, along) in rows.iter().enumerate() {
                    let line = (top + i) % self.rows.length * self.columns.length;
                    for (j, across) in columns.iter().enumerate() {
                        each(line + (left + j) % self.columns.length, along * across);
                    }
                }
            });
        }
    }
}

/// e^{−2πi f n}
fn turn(frequency: f64, n: usize) -> Complex<f64> {
    // Whole turns do nothing, and would cost digits.
    let cycles = frequency.rem_euclid(1.0) * n as f64;
    Complex::cis(-std::f64::consts::TAU * cycles.rem_euclid(1.0))
}

fn turns(frequency: f64, pixels: usize) -> impl Iterator<Item = Complex<f64>> {
    (0..pixels).map(move |n| turn(frequency, n))
}

impl LinearMap for NonuniformFourier {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        Shape { channels: 2, height: 1, width: self.count }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let (re, im) = x.split_at(self.shape.plane());
        let imaginary = im.iter().copied().chain(std::iter::repeat(0.0));
        let x: Vec<_> = re.iter().zip(imaginary).map(|(re, im)| Complex::new(*re, im)).collect();
        let scale = self.scale();
        pair(self.transformed(&x).into_iter().map(|value| value * scale))
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range());
        let (re, im) = y.split_at(self.count);
        let y: Vec<_> = re.iter().zip(im).map(|(re, im)| Complex::new(*re, *im)).collect();
        let scale = self.scale();
        let mut x = pair(self.gathered(&y).into_iter().map(|value| value * scale));
        // Of a real image the real part.
        x.truncate(self.shape.len());
        x
    }

    fn expression(&self) -> Option<Expression> {
        let Shape { channels, height, width } = self.shape;
        let whole = match channels {
            1 => real_pair(self.shape.plane()),
            _ => Expression::identity(),
        };
        let sums = match &self.sums {
            Sums::Direct { columns, rows } => {
                let (rows, columns) = (rows.clone(), columns.clone());
                Expression::Waves { plane: (height, width), rows, columns }
            }
            Sums::Gridding(grid) => grid.expression(self.shape.plane(), self.count),
        };
        Some(whole.then(sums).then(Expression::Scale(self.scale())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fourier;
    use super::*;
    use crate::operator::check::norm;
    use crate::rng::Stream;

    #[test]
    fn at_whole_cycles_it_is_the_dft() {
        for [channels, height, width] in [[2, 6, 5], [1, 8, 12]] {
            let shape = Shape::new(channels, height, width).unwrap();
            let both = Shape::new(2, height, width).unwrap();
            let fourier = Fourier::new(both, vec![true; height * width]).unwrap();
            let mut x = Stream::named(0, "x").normals(shape.len());
            let frequency = |i: usize| {
                // The upper half of the frequencies as negative ones, and some turns more.
                [
                    (i % width) as f64 / width as f64 - (i % 3) as f64,
                    (i / width) as f64 / height as f64,
                ]
            };
            let points: Vec<_> = (0..height * width).map(frequency).collect();
            for (method, bound) in [(FourierMethod::Direct, 1e-13), (FourierMethod::Gridding, 1e-9)]
            {
                let map = NonuniformFourier::new(shape, &points, Some(method)).unwrap();
                let found = map.apply(&x);
                x.resize(both.len(), 0.0);
                let expected = fourier.apply(&x);
                x.truncate(shape.len());
                let gap: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
                assert!(norm(&gap) < bound * norm(&expected), "{method:?}: {:e}", norm(&gap));
            }
        }
    }

    /// The interpolation's error, at frequencies on and between the points of the grid.
    #[test]
    fn gridding_is_the_sum() {
        for [height, width] in [[16, 16], [33, 20], [1, 9], [7, 64]] {
            let shape = Shape::new(2, height, width).unwrap();
            let draws = Stream::named(1, "points").normals(400);
            let mut points: Vec<[f64; 2]> =
                draws.chunks_exact(2).map(|p| [0.5 * p[0], 0.5 * p[1]]).collect();
            points.extend([[0.5, 0.5], [-0.5, 0.0], [0.0, 0.0], [0.25, -0.125]]);
            let of = |method| NonuniformFourier::new(shape, &points, Some(method)).unwrap();
            let x = Stream::named(1, "x").normals(shape.len());
            let (found, exact) =
                (of(FourierMethod::Gridding).apply(&x), of(FourierMethod::Direct).apply(&x));
            let largest = found.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            // No value is above ‖x‖.
            assert!(largest < 1e-9 * norm(&x), "{height}×{width}: {:e}", largest / norm(&x));
        }
    }

    #[test]
    fn bessel_has_its_values() {
        // e⁻ˣ I₀(x), as `scipy.special.i0e` has it.
        for (x, value) in
            [(0.0, 1.0), (1.0, 0.465_759_607_6), (10.0, 0.127_833_337_2), (28.0, 0.075_736_608_3)]
        {
            let found: f64 = bessel_i0(x) * (-x).exp();
            assert!((found - value).abs() < 1e-10, "{x}: {found}");
        }
    }
}

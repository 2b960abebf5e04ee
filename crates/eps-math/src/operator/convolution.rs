//! Blurs with the borders that pictures have.

use std::sync::{Arc, OnceLock};

use rustfft::num_complex::Complex;

use super::blur_waves::{self, BlurWaves};
use super::border::Border;
use super::chain::Crop;
use super::expression::{Expression, Preconditioner, Sparse};
use super::fourier_plane::FourierPlane;
use super::kernel::Kernel;
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, assert_length};
use crate::{MathError, Shape};

/// Convolution of every channel with one kernel, its centre at (rows/2, columns/2).
///
/// ```text
/// y[r, c] = Σ h[i, j] x[r − i + rows/2, c − j + columns/2]
/// ```
///
/// A true convolution: the kernel is turned by 180° compared with a correlation. Beyond its edges x is what the
/// [`Border`] says.
#[derive(Debug, Clone)]
pub struct Convolution {
    domain: Shape,
    range: Shape,
    kernel: Kernel,
    border: Border,
    /// The pixel at each place of the plane, none for 0.
    rows: Vec<Option<usize>>,
    columns: Vec<Option<usize>>,
    /// The place of y's first value among all that the kernel sees whole: 0 unless y was cropped.
    start: (usize, usize),
    /// [`Self::seen_powers`], [`Self::powers`] and [`Self::waves`], once they were asked for.
    seen: OnceLock<Vec<f64>>,
    powers: OnceLock<Vec<f64>>,
    waves: OnceLock<BlurWaves>,
    /// Sides of the plane on which the convolution wraps around where nothing is read.
    plane: (usize, usize),
    transfer: Vec<Complex<f64>>,
    transform: FourierPlane,
}

impl Convolution {
    /// The convolution of images of `shape`; with [`Border::Valid`] that is the shape of the scene.
    ///
    /// # Errors
    /// [`MathError::KernelSize`] for a kernel larger than the scene of [`Border::Valid`]; [`MathError::Shape`] for a
    /// plane of image and kernel that is too large.
    pub fn new(shape: Shape, kernel: Kernel, border: Border) -> Result<Self, MathError> {
        let Shape { channels, height, width } = shape;
        let (tall, wide) = (kernel.rows(), kernel.columns());
        let range = if border == Border::Valid {
            if tall > height || wide > width {
                return Err(MathError::KernelSize { rows: tall, columns: wide, height, width });
            }
            Shape { channels, height: height - tall + 1, width: width - wide + 1 }
        } else {
            shape
        };
        let axis = |length: usize, out: usize, taps: usize| -> Vec<Option<usize>> {
            // Pixels before the first one that output 0 reads.
            let before = if border == Border::Valid { 0 } else { taps - 1 - taps / 2 };
            (0..out + taps - 1)
                .map(|k| border.pixel(k.cast_signed() - before.cast_signed(), length))
                .collect()
        };
        let rows = axis(height, range.height, tall);
        let columns = axis(width, range.width, wide);
        let plane = (smooth(rows.len()), smooth(columns.len()));
        Shape::new(channels, plane.0, plane.1)?;
        let transform = FourierPlane::new(plane.0, plane.1);
        let mut transfer = vec![Complex::ZERO; plane.0 * plane.1];
        for (i, tap) in kernel.taps().iter().enumerate() {
            transfer[i / wide * plane.1 + i % wide].re = *tap;
        }
        transform.forward(&mut transfer);
        Ok(Self {
            domain: shape,
            range,
            kernel,
            border,
            rows,
            columns,
            start: (0, 0),
            seen: OnceLock::new(),
            powers: OnceLock::new(),
            waves: OnceLock::new(),
            plane,
            transfer,
            transform,
        })
    }

    /// The same of which only a rectangle of y was measured: the scene then reaches further than the camera sees.
    ///
    /// # Errors
    /// [`MathError::Crop`] for a rectangle that reaches beyond y.
    pub fn cropped(
        self,
        (top, left): (usize, usize),
        (height, width): (usize, usize),
    ) -> Result<Self, MathError> {
        // The same checks as those of a crop.
        let range = Crop::new(self.range, (top, left), (height, width))?.range();
        let start = (self.start.0 + top, self.start.1 + left);
        Ok(Self { range, start, seen: OnceLock::new(), waves: OnceLock::new(), ..self })
    }

    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// What lies beyond the edges.
    #[must_use]
    pub fn border(&self) -> Border {
        self.border
    }

    /// The row and the column of the image at which pixel (0, 0) of y lies.
    #[must_use]
    pub fn offset(&self) -> (usize, usize) {
        let before =
            |taps: usize| if self.border == Border::Valid { taps - 1 - taps / 2 } else { 0 };
        let (rows, columns) = (self.kernel.rows(), self.kernel.columns());
        (self.start.0 + before(rows), self.start.1 + before(columns))
    }

    /// Where values of y lie in the plane of the transform: rows from the first number on, columns from the second.
    fn seen(&self) -> (usize, usize) {
        (self.kernel.rows() - 1 + self.start.0, self.kernel.columns() - 1 + self.start.1)
    }

    /// How much of each pixel's squared blur was seen: Σ h² over the values of y that read the pixel, over Σ h². 1 far from
    /// the borders; above 1 where a border repeats the pixel. Of one plane.
    fn seen_powers(&self) -> Vec<f64> {
        let taps: Vec<f64> = self.kernel.taps().iter().map(|tap| tap * tap).collect();
        let whole: f64 = taps.iter().sum();
        let plane = Shape { channels: 1, ..self.domain };
        let squared = Kernel::new(self.kernel.rows(), self.kernel.columns(), taps)
            .and_then(|kernel| Self::new(plane, kernel, self.border))
            .and_then(|map| map.cropped(self.start, (self.range.height, self.range.width)));
        let Ok(squared) = squared else { return vec![1.0; plane.len()] };
        let seen = squared.adjoint(&vec![1.0; squared.range.len()]);
        seen.iter().map(|seen| (seen / whole).max(0.0)).collect()
    }

    /// |ĥ|² at each frequency of the image's own plane, as if it wrapped around.
    fn powers(&self) -> &[f64] {
        self.powers.get_or_init(|| {
            let Shape { height, width, .. } = self.domain;
            blur_waves::powers(&self.kernel, (height, width))
        })
    }

    /// The waves in which AᵀA is nearly diagonal.
    pub(super) fn waves(&self) -> &BlurWaves {
        self.waves.get_or_init(|| {
            let norms = || self.seen_powers().iter().map(|power| power.sqrt()).collect();
            BlurWaves::new(self.domain, &self.kernel, self.border, norms)
        })
    }

    /// The same of images of one channel.
    pub(super) fn of_one_channel(&self) -> Self {
        let of = |shape: Shape| Shape { channels: 1, ..shape };
        let (domain, range) = (of(self.domain), of(self.range));
        Self { domain, range, waves: OnceLock::new(), ..self.clone() }
    }

    /// Filters two channels at once, as real and imaginary part: the kernel is real.
    fn filter(&self, plane: &mut Vec<Complex<f64>>, adjoint: bool) {
        self.transform.forward(plane);
        for (value, gain) in plane.iter_mut().zip(&self.transfer) {
            *value *= if adjoint { gain.conj() } else { *gain };
        }
        self.transform.inverse(plane);
    }
}

/// A channel and the next one, if there is one.
fn pairs(values: &[f64], plane: usize) -> impl Iterator<Item = (&[f64], Option<&[f64]>)> {
    values.chunks(2 * plane).map(move |pair| {
        let (first, second) = pair.split_at(plane);
        (first, (!second.is_empty()).then_some(second))
    })
}

impl LinearMap for Convolution {
    fn domain(&self) -> Shape {
        self.domain
    }

    fn range(&self) -> Shape {
        self.range
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.domain);
        let (width, (top, left)) = (self.domain.width, self.seen());
        let mut y = Vec::with_capacity(self.range.len());
        for (first, second) in pairs(x, self.domain.plane()) {
            let mut plane = vec![Complex::ZERO; self.plane.0 * self.plane.1];
            for (row, source) in plane.chunks_exact_mut(self.plane.1).zip(&self.rows) {
                let Some(r) = source else { continue };
                for (value, column) in row.iter_mut().zip(&self.columns) {
                    let Some(c) = column else { continue };
                    let index = r * width + c;
                    *value = Complex::new(first[index], second.map_or(0.0, |s| s[index]));
                }
            }
            self.filter(&mut plane, false);
            let seen = || {
                plane
                    .chunks_exact(self.plane.1)
                    .skip(top)
                    .take(self.range.height)
                    .flat_map(|row| row[left..left + self.range.width].iter())
            };
            y.extend(seen().map(|v| v.re));
            if second.is_some() {
                y.extend(seen().map(|v| v.im));
            }
        }
        y
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range);
        let (width, (top, left)) = (self.domain.width, self.seen());
        let mut x = Vec::with_capacity(self.domain.len());
        for (first, second) in pairs(y, self.range.plane()) {
            let mut plane = vec![Complex::ZERO; self.plane.0 * self.plane.1];
            let rows = plane.chunks_exact_mut(self.plane.1).skip(top);
            for (r, row) in rows.take(self.range.height).enumerate() {
                for (c, value) in row[left..].iter_mut().take(self.range.width).enumerate() {
                    let index = r * self.range.width + c;
                    *value = Complex::new(first[index], second.map_or(0.0, |s| s[index]));
                }
            }
            self.filter(&mut plane, true);
            // What was read several times gets several shares.
            let mut folded = vec![Complex::<f64>::ZERO; self.domain.plane()];
            for (row, source) in plane.chunks_exact(self.plane.1).zip(&self.rows) {
                let Some(r) = source else { continue };
                for (value, column) in row.iter().zip(&self.columns) {
                    if let Some(c) = column {
                        folded[r * width + c] += value;
                    }
                }
            }
            x.extend(folded.iter().map(|v| v.re));
            if second.is_some() {
                x.extend(folded.iter().map(|v| v.im));
            }
        }
        x
    }

    /// y at the pixels that it lies over.
    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        let (height, width) = (self.range.height, self.range.width);
        let place = Crop::new(self.domain, self.offset(), (height, width)).ok()?;
        Some(place.adjoint(y))
    }

    /// Between f(0), where nothing was seen, and the mean of f over all frequencies, where all of a pixel's blur was
    /// seen, by the share of its squared blur that was: exact far from the borders and outside, an estimate between.
    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        let mean = self.powers().iter().copied().map(f).sum::<f64>() / self.domain.plane() as f64;
        let nothing = f(0.0);
        let seen = self.seen.get_or_init(|| self.seen_powers());
        let of_plane = seen.iter().map(|seen| nothing + seen.min(1.0) * (mean - nothing));
        Some(of_plane.collect::<Vec<_>>().repeat(self.domain.channels))
    }

    fn one_channel(&self) -> Option<Arc<dyn LinearMap>> {
        (self.domain.channels > 1).then(|| Arc::new(self.of_one_channel()) as Arc<dyn LinearMap>)
    }

    fn approximate_inverse(&self, v: &[f64], kappa: f64) -> Option<Vec<f64>> {
        let waves = self.waves();
        Some(waves.inverse(v, waves.powers(), kappa))
    }

    fn preconditioner(&self) -> Option<Preconditioner> {
        let waves = self.waves();
        Some(waves.preconditioner(waves.powers()))
    }

    fn infinity_norm(&self) -> Option<f64> {
        Some(self.kernel.weight())
    }

    fn kind(&self) -> OperatorKind {
        OperatorKind::Blurs
    }

    /// The plane with what lies beyond the borders, filtered, and the part that is seen.
    fn expression(&self) -> Option<Expression> {
        let (width, wide) = (self.domain.width, self.plane.1);
        let sources = |axis: &[Option<usize>]| -> Vec<(usize, usize)> {
            axis.iter().enumerate().filter_map(|(at, source)| Some((at, (*source)?))).collect()
        };
        let (rows, columns) = (sources(&self.rows), sources(&self.columns));
        let entries = rows.iter().flat_map(|(at, r)| {
            columns.iter().map(move |(to, c)| (at * wide + to, r * width + c, 1.0))
        });
        let whole = self.plane.0 * wide;
        let around =
            Sparse { columns: self.domain.plane(), rows: whole, entries: entries.collect() };
        let (top, left) = self.seen();
        let seen = |i: usize| {
            let (row, column) = (i / self.range.width, i % self.range.width);
            (i, (top + row) * wide + left + column, 1.0)
        };
        let rows = self.range.plane();
        let seen = Sparse { columns: whole, rows, entries: (0..rows).map(seen).collect() };
        let filter = Expression::Filter { plane: self.plane, gains: self.transfer.clone() };
        let of_plane = Expression::Sparse(around).then(filter).then(Expression::Sparse(seen));
        Some(of_plane.on_each(self.domain.channels))
    }
}

/// The next number without prime factors above 5, for which transforms are fast.
pub(super) fn smooth(n: usize) -> usize {
    let is_smooth = |n: &usize| {
        let mut rest = *n;
        for prime in [2, 3, 5] {
            while rest.is_multiple_of(prime) {
                rest /= prime;
            }
        }
        rest == 1
    };
    (n..).find(is_smooth).unwrap_or(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, pixel by pixel.
    fn naive(x: &[f64], shape: Shape, kernel: &Kernel, border: Border) -> Vec<f64> {
        let (tall, wide) = (kernel.rows() as isize, kernel.columns() as isize);
        let (height, width) = (shape.height as isize, shape.width as isize);
        let (rows, columns) = match border {
            Border::Valid => {
                (tall - 1 - tall / 2..height - tall / 2, wide - 1 - wide / 2..width - wide / 2)
            }
            _ => (0..height, 0..width),
        };
        let mut y = Vec::new();
        for channel in x.chunks_exact(shape.plane()) {
            for r in rows.clone() {
                for c in columns.clone() {
                    let mut sum = 0.0;
                    for (index, tap) in kernel.taps().iter().enumerate() {
                        let (i, j) = (index as isize / wide, index as isize % wide);
                        let row = border.pixel(r - i + tall / 2, shape.height);
                        let column = border.pixel(c - j + wide / 2, shape.width);
                        if let (Some(row), Some(column)) = (row, column) {
                            sum += tap * channel[row * shape.width + column];
                        }
                    }
                    y.push(sum);
                }
            }
        }
        y
    }

    #[test]
    fn borders_are_what_they_say() {
        let row = |border: Border| -> String {
            let name = |pixel: Option<usize>| pixel.map_or('0', |i| char::from(b"abcd"[i]));
            (-5..9).map(|position| name(border.pixel(position, 4))).collect()
        };
        assert_eq!(row(Border::Circular), "dabcdabcdabcda");
        assert_eq!(row(Border::Zero), "00000abcd00000");
        assert_eq!(row(Border::Reflect), "bcdcbabcdcbabc");
        assert_eq!(row(Border::Symmetric), "ddcbaabcddcbaa");
        assert_eq!(row(Border::Replicate), "aaaaaabcdddddd");
        assert_eq!(Border::Reflect.pixel(-7, 1), Some(0));
        for border in Border::ALL {
            assert_eq!(Border::from_name(border.name()), Some(border));
        }
    }

    #[test]
    fn convolutions_are_their_definition() {
        let shape = Shape::new(3, 6, 7).unwrap();
        let x = crate::rng::Stream::named(0, "image").normals(shape.len());
        for (rows, columns) in [(3, 3), (2, 4), (5, 1), (6, 7), (13, 9)] {
            let taps = crate::rng::Stream::named(0, "taps").normals(rows * columns);
            let kernel = Kernel::new(rows, columns, taps).unwrap();
            for border in Border::ALL {
                let convolution = Convolution::new(shape, kernel.clone(), border);
                if border == Border::Valid && rows > 6 {
                    let error = convolution.unwrap_err().to_string();
                    assert!(error.contains("13×9") && error.contains("6×7"), "{error}");
                    continue;
                }
                let convolution = convolution.unwrap();
                let expected = naive(&x, shape, &kernel, border);
                let found = convolution.apply(&x);
                assert_eq!(found.len(), convolution.range().len());
                // Transforms of up to 18 × 15 values of size 1 and kernels of norm 11.
                for (a, b) in found.iter().zip(&expected) {
                    assert!((a - b).abs() < 1e-12, "{border:?} {rows}×{columns}: {a} {b}");
                }
            }
        }
    }
}

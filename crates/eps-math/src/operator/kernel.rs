//! Blur kernels.

use crate::error::{check_positive, check_scale, check_values};
use crate::{MathError, whole};

/// A blur kernel of odd or even sides; its centre is the tap at (rows/2, columns/2).
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    rows: usize,
    columns: usize,
    taps: Vec<f64>,
}

impl Kernel {
    /// The largest side of a kernel that is computed from parameters, in pixels.
    pub const MAX_SIDE: usize = 4095;

    /// A kernel of given taps in row-major order, as they are: not normalised.
    ///
    /// # Errors
    /// [`MathError::Length`] or [`MathError::NotFinite`] for the taps, [`MathError::Empty`] if there
    /// are none, [`MathError::OutOfRange`] if all of them are 0, [`MathError::Entry`] if the square of the largest is no number.
    pub fn new(rows: usize, columns: usize, taps: Vec<f64>) -> Result<Self, MathError> {
        check_values("the kernel", &taps, rows.saturating_mul(columns))?;
        check_scale("the largest tap of the kernel", &taps)?;
        if taps.is_empty() {
            return Err(MathError::Empty("the kernel"));
        }
        if taps.iter().all(|tap| *tap == 0.0) {
            return Err(MathError::OutOfRange {
                what: "the largest tap of the kernel",
                value: 0.0,
                range: "different from 0",
            });
        }
        Ok(Self { rows, columns, taps })
    }

    /// The isotropic Gaussian sampled at pixel centres and normalised to sum 1.
    ///
    /// # Units
    /// `sigma_blur` in pixels, positive; `taps` is the side of the kernel.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a width that is not positive and finite, or a side that is even or
    /// above [`Kernel::MAX_SIDE`].
    pub fn gaussian(sigma_blur: f64, taps: usize) -> Result<Self, MathError> {
        check_positive("the width of the Gaussian kernel", sigma_blur)?;
        check_side("the side of the Gaussian kernel", taps)?;
        let centre = (taps / 2) as f64;
        let profile: Vec<f64> =
            (0..taps).map(|i| (-0.5 * ((i as f64 - centre) / sigma_blur).powi(2)).exp()).collect();
        let sum: f64 = profile.iter().sum();
        let taps_2d = profile.iter().flat_map(|a| profile.iter().map(move |b| a * b / (sum * sum)));
        Ok(Self { rows: taps, columns: taps, taps: taps_2d.collect() })
    }

    /// Straight motion: a centred line of `length` unit-spaced points at `angle`, each spread
    /// bilinearly over its four neighbours; the taps sum to 1.
    ///
    /// # Units
    /// `length` in pixels, odd; `angle` in radians, anticlockwise from the positive column axis
    /// (rows grow downwards).
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a length that is even or above [`Kernel::MAX_SIDE`], or an angle
    /// that is not finite.
    pub fn motion(length: usize, angle: f64) -> Result<Self, MathError> {
        check_side("the length of the motion", length)?;
        check_angle("the angle of the motion", angle)?;
        let half = (length / 2) as f64;
        let mut taps = vec![0.0; length * length];
        for i in 0..length {
            let distance = i as f64 - half;
            let row = half - distance * angle.sin();
            let column = half + distance * angle.cos();
            for (r, weight_r) in bilinear(row) {
                for (c, weight_c) in bilinear(column) {
                    // A neighbour outside the kernel has weight 0 up to rounding.
                    if r < length && c < length {
                        taps[r * length + c] += weight_r * weight_c;
                    }
                }
            }
        }
        let sum: f64 = taps.iter().sum();
        taps.iter_mut().for_each(|tap| *tap /= sum);
        Ok(Self { rows: length, columns: length, taps })
    }

    /// A Gaussian of two widths, turned, sampled at pixel centres and normalised to sum 1; its side is the odd number
    /// that reaches four of the larger width from the centre.
    ///
    /// # Units
    /// `along` and `across` in pixels, positive; `angle` of the first in radians, anticlockwise from the positive column axis
    /// (rows grow downwards).
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a width that is not positive, or whose kernel is above [`Kernel::MAX_SIDE`], and for an angle
    /// that is not finite.
    pub fn gaussian_along(along: f64, across: f64, angle: f64) -> Result<Self, MathError> {
        check_positive("a width of the Gaussian kernel", along)?;
        check_positive("a width of the Gaussian kernel", across)?;
        check_angle("the angle of the Gaussian kernel", angle)?;
        let half = Self::half_side("the reach of the Gaussian kernel", 4.0 * along.max(across))?;
        let (sin, cos) = angle.sin_cos();
        Self::sampled(half, |row, column| {
            let (u, v) = (column * cos - row * sin, column * sin + row * cos);
            (-0.5 * ((u / along).powi(2) + (v / across).powi(2))).exp()
        })
    }

    /// A disc, as a lens out of focus draws points: each tap is the area of the disc that its pixel covers, over the whole area.
    ///
    /// # Units
    /// `radius` in pixels, positive.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a radius that is not positive, or whose kernel is above [`Kernel::MAX_SIDE`].
    pub fn disc(radius: f64) -> Result<Self, MathError> {
        check_positive("the radius of the disc", radius)?;
        let half = Self::half_side("the radius of the disc", radius - 0.5)?;
        Self::sampled(half, |row, column| {
            let part = |x: f64, y: f64| quarter(radius, x.abs(), y.abs()).copysign(x * y);
            let (left, right) = (column - 0.5, column + 0.5);
            let (top, bottom) = (row - 0.5, row + 0.5);
            part(right, bottom) - part(left, bottom) - part(right, top) + part(left, top)
        })
    }

    /// The taps on each side of the centre of a kernel that reaches so far.
    fn half_side(what: &'static str, reach: f64) -> Result<usize, MathError> {
        let half = reach.ceil().max(0.0);
        if half > (Self::MAX_SIDE / 2) as f64 {
            return Err(MathError::OutOfRange { what, value: reach, range: "at most 2047 pixels" });
        }
        Ok(whole(half))
    }

    /// A function of row and column around the centre, made to sum to 1.
    fn sampled(half: usize, value: impl Fn(f64, f64) -> f64) -> Result<Self, MathError> {
        let side = 2 * half + 1;
        let place = |index: usize| index as f64 - half as f64;
        let taps = (0..side * side).map(|i| value(place(i / side), place(i % side)));
        Self::new(side, side, taps.collect())?.of_sum_1()
    }

    /// The kernel over its sum.
    ///
    /// # Errors
    /// [`MathError::KernelSum`] where that is 0.
    pub fn of_sum_1(mut self) -> Result<Self, MathError> {
        self.check_sum()?;
        let sum: f64 = self.taps.iter().sum();
        self.taps.iter_mut().for_each(|tap| *tap /= sum);
        Ok(self)
    }

    /// Fails where the taps sum to 0 but for rounding, so that nothing of an image's brightness is left.
    ///
    /// # Errors
    /// [`MathError::KernelSum`].
    pub fn check_sum(&self) -> Result<(), MathError> {
        let sum: f64 = self.taps.iter().sum();
        if sum.abs() <= self.taps.len() as f64 * f64::EPSILON * self.weight() {
            return Err(MathError::KernelSum { rows: self.rows, columns: self.columns });
        }
        Ok(())
    }

    /// Kernels padded with zeros around their centres to the largest height and width among them.
    #[must_use]
    pub fn of_one_size(kernels: &[Self]) -> Vec<Self> {
        let rows = kernels.iter().map(|kernel| kernel.rows).max().unwrap_or(0);
        let columns = kernels.iter().map(|kernel| kernel.columns).max().unwrap_or(0);
        kernels.iter().map(|kernel| kernel.padded(rows, columns)).collect()
    }

    /// The kernel with zeros around its centre, at least as large as it is.
    fn padded(&self, rows: usize, columns: usize) -> Self {
        let (top, left) = (rows / 2 - self.rows / 2, columns / 2 - self.columns / 2);
        let mut taps = vec![0.0; rows * columns];
        for (row, line) in self.taps.chunks_exact(self.columns).enumerate() {
            let start = (top + row) * columns + left;
            taps[start..start + self.columns].copy_from_slice(line);
        }
        Self { rows, columns, taps }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Σ|h|: no value is larger of what it makes of an image in [-1, 1].
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.taps.iter().map(|tap| tap.abs()).sum()
    }

    /// The taps in row-major order.
    #[must_use]
    pub fn taps(&self) -> &[f64] {
        &self.taps
    }
}

fn check_angle(what: &'static str, value: f64) -> Result<(), MathError> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(MathError::OutOfRange { what, value, range: "finite" })
    }
}

/// The area that a disc around the origin has in the rectangle from there to (x, y), both at least 0.
fn quarter(radius: f64, x: f64, y: f64) -> f64 {
    if x * x + y * y <= radius * radius {
        return x * y;
    }
    let (x, y) = (x.min(radius), y.min(radius));
    // ∫₀ᵗ √(r² − s²) ds
    let under = |t: f64| {
        let height = (radius * radius - t * t).max(0.0).sqrt();
        0.5 * (t * height + radius * radius * (t / radius).min(1.0).asin())
    };
    // Up to here the rectangle is lower than the circle.
    let low = (radius * radius - y * y).max(0.0).sqrt().min(x);
    y * low + under(x) - under(low)
}

/// Checks a side of a kernel that is to be computed, before memory is taken for it.
fn check_side(what: &'static str, side: usize) -> Result<(), MathError> {
    if side.is_multiple_of(2) || side > Kernel::MAX_SIDE {
        return Err(MathError::OutOfRange {
            what,
            value: side as f64,
            range: "odd and at most 4095",
        });
    }
    Ok(())
}

/// The two integer neighbours of a coordinate ≥ 0 and their linear weights.
fn bilinear(position: f64) -> [(usize, f64); 2] {
    // sin and cos of exact angles miss integers by an ulp: snap, so that no weight of 1e-16 is lost.
    let snapped =
        if (position - position.round()).abs() < 1e-12 { position.round() } else { position };
    let floor = snapped.floor();
    let fraction = snapped - floor;
    [(whole(floor), 1.0 - fraction), (whole(floor) + 1, fraction)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaussian_has_the_published_weights() {
        // σ = 0.75: the 1-D weights .532/.219/.015 and the centre 0.283 of the paper's operator.
        let kernel = Kernel::gaussian(0.75, 11).unwrap();
        assert!((kernel.taps()[5 * 11 + 5] - 0.283).abs() < 5e-4);
        assert!((kernel.taps().iter().sum::<f64>() - 1.0).abs() < 1e-14);
    }

    #[test]
    fn a_disc_is_its_area() {
        // A disc inside of one pixel, and one of radius 1: the centre pixel is inside the square root of 1/2, which is above 1/2.
        assert_eq!(Kernel::disc(0.4).unwrap().taps(), [1.0]);
        let one = Kernel::disc(1.0).unwrap();
        assert_eq!(one.rows(), 3);
        assert!((one.taps()[4] * std::f64::consts::PI - 1.0).abs() < 1e-15);
        // A corner of a pixel that the circle cuts: ∫ from ½ to √¾ of √(1 − x²) − ½.
        let corner = std::f64::consts::PI / 12.0 - 3.0f64.sqrt() / 4.0 + 0.25;
        assert!((one.taps()[0] * std::f64::consts::PI - corner).abs() < 1e-15);
        for radius in [0.6, 1.5, 3.5, 7.3, 20.0] {
            let kernel = Kernel::disc(radius).unwrap();
            // Areas before they were made to sum to 1 are those of the disc, pixel by pixel.
            let side = kernel.rows();
            let area = std::f64::consts::PI * radius * radius;
            let centre = kernel.taps()[side * side / 2] * area;
            assert!(radius < 0.8 || (centre - 1.0).abs() < 1e-12, "{radius}: {centre}");
            for (a, b) in kernel.taps().iter().zip(kernel.taps().iter().rev()) {
                assert!((a - b).abs() < 1e-14 && *a >= -1e-16, "{radius}");
            }
        }
    }

    #[test]
    fn a_gaussian_has_its_moments() {
        let angle = 0.6f64;
        let kernel = Kernel::gaussian_along(3.0, 1.5, angle).unwrap();
        assert_eq!(kernel.rows(), 25);
        let (mut along, mut across, mut both) = (0.0, 0.0, 0.0);
        for (i, tap) in kernel.taps().iter().enumerate() {
            let (row, column) = ((i / 25) as f64 - 12.0, (i % 25) as f64 - 12.0);
            // Up is where rows fall.
            let u = column * angle.cos() - row * angle.sin();
            let v = column * angle.sin() + row * angle.cos();
            along += tap * u * u;
            across += tap * v * v;
            both += tap * u * v;
        }
        // What lies beyond four widths is 6e-5 of the mass, and up to 16 times as much of the variance.
        assert!((along - 9.0).abs() < 0.01 && (across - 2.25).abs() < 1e-4, "{along} {across}");
        assert!(both.abs() < 1e-3, "{both}");
        let round = Kernel::gaussian_along(0.75, 0.75, 0.3).unwrap();
        let known = Kernel::gaussian(0.75, round.rows()).unwrap();
        for (a, b) in round.taps().iter().zip(known.taps()) {
            assert!((a - b).abs() < 1e-15);
        }
    }

    #[test]
    fn what_is_no_blur_is_told() {
        for (kernel, words) in [
            (Kernel::disc(-1.0), "positive"),
            (Kernel::disc(f64::NAN), "NaN"),
            (Kernel::disc(1e9), "at most 2047 pixels"),
            (Kernel::gaussian_along(1e4, 1.0, 0.0), "at most 2047 pixels"),
            (Kernel::gaussian_along(1.0, 0.0, 0.0), "positive"),
            (Kernel::gaussian_along(1.0, 1.0, f64::INFINITY), "finite"),
            (Kernel::new(1, 2, vec![0.5, -0.5]).and_then(Kernel::of_sum_1), "sum to 0"),
        ] {
            let message = kernel.unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn sides_are_bounded_before_memory_is_taken() {
        for side in [0, 4, Kernel::MAX_SIDE + 2, 4_294_967_297, usize::MAX] {
            for error in [Kernel::gaussian(1.0, side), Kernel::motion(side, 0.3)] {
                let message = error.unwrap_err().to_string();
                assert!(message.ends_with("odd and at most 4095"), "{message}");
            }
        }
        let empty = Kernel::new(0, usize::MAX, vec![]).unwrap_err();
        assert_eq!(empty, MathError::Empty("the kernel"));
    }

    #[test]
    fn motion_lines() {
        let horizontal = Kernel::motion(7, 0.0).unwrap();
        for (i, tap) in horizontal.taps().iter().enumerate() {
            let expected = if i / 7 == 3 { 1.0 / 7.0 } else { 0.0 };
            assert!((tap - expected).abs() < 1e-15);
        }
        let vertical = Kernel::motion(7, std::f64::consts::FRAC_PI_2).unwrap();
        for (i, tap) in vertical.taps().iter().enumerate() {
            let expected = if i % 7 == 3 { 1.0 / 7.0 } else { 0.0 };
            assert!((tap - expected).abs() < 1e-15);
        }
        // Points are symmetric about the centre, so the kernel is, too.
        let slanted = Kernel::motion(15, 0.7).unwrap();
        let taps = slanted.taps();
        assert!((taps.iter().sum::<f64>() - 1.0).abs() < 1e-14);
        for (a, b) in taps.iter().zip(taps.iter().rev()) {
            assert!((a - b).abs() < 1e-14);
        }
    }
}

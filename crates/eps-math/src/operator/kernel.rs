//! Blur kernels.

use crate::{MathError, error::check_values};

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
    /// are none, [`MathError::OutOfRange`] if all of them are 0.
    pub fn new(rows: usize, columns: usize, taps: Vec<f64>) -> Result<Self, MathError> {
        check_values("the kernel", &taps, rows.saturating_mul(columns))?;
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
        if !(sigma_blur > 0.0 && sigma_blur.is_finite()) {
            return Err(MathError::OutOfRange {
                what: "the width of the Gaussian kernel",
                value: sigma_blur,
                range: "positive and finite",
            });
        }
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
        if !angle.is_finite() {
            return Err(MathError::OutOfRange {
                what: "the angle of the motion",
                value: angle,
                range: "finite",
            });
        }
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

    /// The taps in row-major order.
    #[must_use]
    pub fn taps(&self) -> &[f64] {
        &self.taps
    }
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
    [(floor as usize, 1.0 - fraction), (floor as usize + 1, fraction)]
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

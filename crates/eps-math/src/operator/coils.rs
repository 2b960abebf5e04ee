//! Samples of k-space that several receiver coils saw: multi-coil Cartesian MRI.

use rustfft::num_complex::Complex;

use super::expression::Expression;
use super::fourier::{Fourier, pair};
use super::linear_map::{LinearMap, assert_length};
use crate::error::{check_scale, check_values};
use crate::{MathError, Shape};

/// y_k = M F (s_k ⊙ x) of every coil k: a complex image, weighted by the coil's sensitivity s_k, its orthonormal 2-D DFT, kept where a
/// mask is 1.
///
/// Complex numbers are pairs of channels, real and imaginary part, and the map is complex-linear on them. Where Σ_k |s_k|² = 1 at every
/// pixel, as [`sensitivities`] makes it, the eigenvalues of AᵀA are from 0 to 1.
///
/// # Shapes
/// x: `[2, H, W]`, y: `[2K, H, W]`, coil k in channels 2k and 2k + 1, 0 where nothing was sampled; the frequency 0 comes first in rows
/// and columns, as for [`Fourier`].
#[derive(Debug, Clone)]
pub struct Coils {
    fourier: Fourier,
    /// `[K, H, W]`
    maps: Vec<Complex<f64>>,
}

impl Coils {
    /// The operator of maps `[2K, H, W]`, pairs of channels as in y, and a mask `[H, W]` on images of `shape`.
    ///
    /// # Errors
    /// Those of [`Fourier::new`]; [`MathError::Length`] or [`MathError::NotFinite`] for the maps, [`MathError::Empty`] without any,
    /// [`MathError::ZeroMatrix`] if all are 0, [`MathError::Entry`] if the square of the largest is no number.
    pub fn new(shape: Shape, maps: &[f64], mask: Vec<bool>) -> Result<Self, MathError> {
        let fourier = Fourier::new(shape, mask)?;
        if maps.is_empty() {
            return Err(MathError::Empty("the list of coil maps"));
        }
        let coils = maps.len().div_ceil(shape.len());
        check_values("the list of coil maps", maps, coils * shape.len())?;
        check_scale("the largest of the coil maps", maps)?;
        if maps.iter().all(|value| *value == 0.0) {
            return Err(MathError::ZeroMatrix("the coil maps"));
        }
        Shape::new(2 * coils, shape.height, shape.width)?;
        let maps = maps.chunks_exact(shape.len()).flat_map(complex).collect();
        Ok(Self { fourier, maps })
    }

    fn plane(&self) -> usize {
        self.fourier.domain().plane()
    }
}

/// The complex numbers of a pair of channels.
pub(super) fn complex(pair: &[f64]) -> impl Iterator<Item = Complex<f64>> + '_ {
    let (re, im) = pair.split_at(pair.len() / 2);
    re.iter().zip(im).map(|(re, im)| Complex::new(*re, *im))
}

impl LinearMap for Coils {
    fn domain(&self) -> Shape {
        self.fourier.domain()
    }

    fn range(&self) -> Shape {
        let Shape { channels, .. } = self.domain();
        Shape { channels: channels * (self.maps.len() / self.plane()), ..self.domain() }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.domain());
        let coil = |map: &[Complex<f64>]| {
            self.fourier.apply(&pair(complex(x).zip(map).map(|(x, s)| s * x)))
        };
        self.maps.chunks_exact(self.plane()).flat_map(coil).collect()
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range());
        let mut x = vec![Complex::ZERO; self.plane()];
        let coils = y.chunks_exact(self.domain().len()).zip(self.maps.chunks_exact(self.plane()));
        for (y, map) in coils {
            let image = self.fourier.adjoint(y);
            for ((x, seen), s) in x.iter_mut().zip(complex(&image)).zip(map) {
                *x += s.conj() * seen;
            }
        }
        pair(x.into_iter())
    }

    fn expression(&self) -> Option<Expression> {
        let seen = self.fourier.expression()?;
        let coil = |map: &[Complex<f64>]| {
            (2 * map.len(), Expression::Turns(map.to_vec()).then(seen.clone()))
        };
        Some(Expression::Stack(self.maps.chunks_exact(self.plane()).map(coil).collect()))
    }
}

/// The sensitivities of coils by the middle of k-space, which is sampled in full: images of low resolution, over the root of the sum
/// of their squares.
///
/// ```text
/// s_k = c_k / √(Σ_j |c_j|²)    c_k = F⁻¹ (w ⊙ y_k)    w a Hann window over the middle
/// ```
///
/// Σ_k |s_k|² = 1, and the maps have the phase that the image has at low resolution, so that the image that they belong to is close to
/// real and positive: a prior of magnitudes serves its first channel. Where no coil saw anything, they are 0.
///
/// # Shapes
/// kspace: `[2K, H, W]` with the frequency 0 first in rows and columns, and so are the maps; `calibration`: rows and columns around that
/// frequency that every coil sampled.
///
/// # Errors
/// [`MathError::Channels`] for channels that are no pairs; [`MathError::Length`] or [`MathError::NotFinite`] for `kspace`;
/// [`MathError::OutOfRange`] for a side of the middle that is 0 or above that of k-space; [`MathError::ZeroMatrix`] where the middle is 0.
pub fn sensitivities(
    shape: Shape,
    kspace: &[f64],
    calibration: (usize, usize),
) -> Result<Vec<f64>, MathError> {
    let low = low_resolution(shape, kspace, calibration)?;
    let size = root_sum_of_squares(&low)?;
    let over = |(value, size): (&f64, &f64)| if *size > 0.0 { value / size } else { 0.0 };
    // The size of a pixel serves both channels of a pair.
    let sizes = || size.iter().chain(&size);
    Ok(low.iter().flat_map(|coil| coil.iter().zip(sizes()).map(over)).collect())
}

/// c_k = F⁻¹ (w ⊙ y_k), the image `[2, H, W]` of each coil by the middle of k-space, w a Hann window over it, up to a scale that all coils
/// share.
///
/// # Errors
/// Those of [`sensitivities`] but the last.
pub(super) fn low_resolution(
    shape: Shape,
    kspace: &[f64],
    calibration: (usize, usize),
) -> Result<Vec<Vec<f64>>, MathError> {
    let Shape { channels, height, width } = shape;
    if !channels.is_multiple_of(2) {
        return Err(MathError::Channels {
            what: "coils (a pair of channels is the k-space of a coil)",
            needed: channels + 1,
            found: channels,
        });
    }
    check_values("k-space", kspace, shape.len())?;
    for (side, whole) in [(calibration.0, height), (calibration.1, width)] {
        if side == 0 || side > whole {
            return Err(MathError::OutOfRange {
                what: "a side of the middle of k-space",
                value: side as f64,
                range: "at least 1 and at most that of k-space",
            });
        }
    }
    // The window of one axis, by the distance from the frequency 0.
    let axis = |length: usize, side: usize| -> Vec<f64> {
        let weight = |index: usize| {
            let distance = index.min(length - index);
            let inside =
                2 * distance < side || (2 * distance == side && index == length - distance);
            let phase = std::f64::consts::TAU * distance as f64 / (side as f64 + 1.0);
            if inside { 0.5 * (1.0 + phase.cos()) } else { 0.0 }
        };
        (0..length).map(weight).collect()
    };
    let (rows, columns) = (axis(height, calibration.0), axis(width, calibration.1));
    let image = Shape { channels: 2, ..shape };
    let fourier = Fourier::new(image, vec![true; image.plane()])?;
    let weight = |i: usize| rows[i / width % height] * columns[i % width];
    let mut windowed: Vec<f64> =
        kspace.iter().enumerate().map(|(i, value)| value * weight(i)).collect();
    // Squares of values of any scale are numbers, and not 0.
    let largest = windowed.iter().fold(0.0, |largest: f64, value| value.abs().max(largest));
    if largest > 0.0 {
        windowed.iter_mut().for_each(|value| *value /= largest);
    }
    Ok(windowed.chunks_exact(image.len()).map(|coil| fourier.adjoint(coil)).collect())
}

/// √(Σ_k |c_k|²) at each pixel of the images `[2, H, W]` of coils.
///
/// # Errors
/// [`MathError::ZeroMatrix`] where they are 0 everywhere.
pub(super) fn root_sum_of_squares(images: &[Vec<f64>]) -> Result<Vec<f64>, MathError> {
    let plane = images.first().map_or(0, Vec::len) / 2;
    let mut squares = vec![0.0; plane];
    for image in images {
        for (i, value) in image.iter().enumerate() {
            squares[i % plane] += value * value;
        }
    }
    if squares.iter().all(|square| *square == 0.0) {
        return Err(MathError::ZeroMatrix("the middle of k-space"));
    }
    Ok(squares.into_iter().map(f64::sqrt).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smooth maps, a smooth image: what the middle of k-space tells of them.
    #[test]
    fn smooth_maps_are_found() {
        let shape = Shape::new(2, 32, 24).unwrap();
        let place = |i: usize| ((i / 24) as f64 / 32.0, (i % 24) as f64 / 24.0);
        let tau = std::f64::consts::TAU;
        // Frequencies 0 and 1 alone; two coils whose squares sum to 1 and whose phases differ.
        let angle = |i: usize| 0.6 + 0.3 * (tau * place(i).0).cos();
        let turn = |i: usize| 0.4 * (tau * place(i).1).sin();
        let of = |coil: usize, i: usize| match coil {
            0 => Complex::from_polar(angle(i).cos(), turn(i)),
            _ => Complex::from_polar(angle(i).sin(), -turn(i)),
        };
        let maps: Vec<f64> = (0..2).flat_map(|k| pair((0..768).map(move |i| of(k, i)))).collect();
        let coils = Coils::new(shape, &maps, vec![true; 768]).unwrap();
        let image: Vec<f64> =
            pair((0..768).map(|i| Complex::new(1.0 + 0.3 * (tau * place(i).1).cos(), 0.0)));
        let kspace = coils.apply(&image);
        let found = sensitivities(coils.range(), &kspace, (16, 16)).unwrap();
        for (found, exact) in found.iter().zip(&maps) {
            // The window takes 3 % off the frequency 1 and 13 % off the frequency 2, and half of that is common to all coils.
            assert!((found - exact).abs() < 0.05, "{found} {exact}");
        }
        for i in 0..768 {
            let squares = |c: usize| found[c * 768 + i].powi(2);
            assert!(((0..4).map(squares).sum::<f64>() - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn what_is_no_calibration_is_told() {
        let shape = Shape::new(2, 4, 4).unwrap();
        let told = |shape: Shape, values: &[f64], sides| {
            sensitivities(shape, values, sides).unwrap_err().to_string()
        };
        assert!(told(shape, &[0.0; 32], (2, 2)).contains("middle of k-space are 0"));
        // Of any scale they are the same.
        let kspace: Vec<f64> = (0..32).map(|i| f64::from(i) - 7.5).collect();
        let plain = sensitivities(shape, &kspace, (2, 2)).unwrap();
        for scale in [1e200, 1e-200] {
            let scaled: Vec<f64> = kspace.iter().map(|value| scale * value).collect();
            let found = sensitivities(shape, &scaled, (2, 2)).unwrap();
            assert!(found.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-14), "{scale}");
        }
        assert!(told(shape, &[1.0; 32], (5, 2)).contains("is 5"));
        assert!(told(shape, &[1.0; 32], (2, 0)).contains("is 0"));
        assert!(told(shape, &[1.0; 31], (2, 2)).contains("31 values where 32"));
        assert!(told(Shape { channels: 3, ..shape }, &[1.0; 48], (2, 2)).contains("not of 3"));
        let error = Coils::new(shape, &[1.0; 33], vec![true; 16]).unwrap_err().to_string();
        assert!(error.contains("33 values where 64"), "{error}");
    }
}

//! Samples of k-space on its grid: single-coil Cartesian MRI.

use rustfft::num_complex::Complex;

use super::expression::{Eigenbasis, Expression};
use super::fourier_plane::FourierPlane;
use super::linear_map::{LinearMap, Spectral, assert_length};
use crate::{MathError, Shape};

/// The orthonormal 2-D DFT of a complex image, kept where a mask is 1.
///
/// A complex image is a pair of channels, real and imaginary part, and so is y, which is 0 where nothing was sampled.
/// The frequency 0 comes first in rows and columns. Eigenvalues are 1 where a frequency is kept and 0 elsewhere, for both parts.
#[derive(Debug, Clone)]
pub struct Fourier {
    shape: Shape,
    mask: Vec<bool>,
    transform: FourierPlane,
}

impl Fourier {
    /// The operator of a mask `[H, W]` on images of `shape`.
    ///
    /// # Errors
    /// [`MathError::Channels`] unless images have two channels; [`MathError::Length`] for a mask of another size;
    /// [`MathError::EmptyMask`] for one that keeps nothing.
    pub fn new(shape: Shape, mask: Vec<bool>) -> Result<Self, MathError> {
        if shape.channels != 2 {
            return Err(MathError::Channels {
                what: "fourier (a pair of channels is a complex image)",
                needed: 2,
                found: shape.channels,
            });
        }
        if mask.len() != shape.plane() {
            return Err(MathError::Length {
                what: "the mask of frequencies",
                expected: shape.plane(),
                found: mask.len(),
            });
        }
        if !mask.contains(&true) {
            return Err(MathError::EmptyMask(mask.len()));
        }
        let transform = FourierPlane::new(shape.height, shape.width);
        Ok(Self { shape, mask, transform })
    }

    fn scale(&self) -> f64 {
        (self.shape.plane() as f64).sqrt()
    }

    /// The orthonormal transform.
    fn forward(&self, x: &[f64]) -> Vec<Complex<f64>> {
        let (re, im) = x.split_at(self.shape.plane());
        let mut plane: Vec<_> = re.iter().zip(im).map(|(a, b)| Complex::new(*a, *b)).collect();
        self.transform.forward(&mut plane);
        let scale = self.scale().recip();
        plane.iter_mut().for_each(|v| *v *= scale);
        plane
    }

    fn inverse(&self, mut plane: Vec<Complex<f64>>) -> Vec<f64> {
        self.transform.inverse(&mut plane);
        let scale = self.scale();
        pair(plane.into_iter().map(|v| v * scale))
    }

    fn kept(&self, plane: impl Iterator<Item = Complex<f64>>) -> Vec<Complex<f64>> {
        plane.zip(&self.mask).map(|(v, kept)| if *kept { v } else { Complex::ZERO }).collect()
    }
}

/// Real parts, then imaginary parts.
pub(super) fn pair(plane: impl Iterator<Item = Complex<f64>>) -> Vec<f64> {
    let (mut re, im): (Vec<f64>, Vec<f64>) = plane.map(|v| (v.re, v.im)).unzip();
    re.extend(im);
    re
}

impl LinearMap for Fourier {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        self.shape
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        pair(self.kept(self.forward(x).into_iter()).into_iter())
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.shape);
        let (re, im) = y.split_at(self.shape.plane());
        self.inverse(self.kept(re.iter().zip(im).map(|(a, b)| Complex::new(*a, *b))))
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        let share = self.mask.iter().filter(|kept| **kept).count() as f64 / self.mask.len() as f64;
        let value = share * f(1.0) + (1.0 - share) * f(0.0);
        Some(vec![value; self.shape.len()])
    }

    fn expression(&self) -> Option<Expression> {
        let plane = (self.shape.height, self.shape.width);
        Some(Expression::Dft { plane }.then(Expression::Weights(self.eigenvalues())))
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }
}

impl Spectral for Fourier {
    fn eigenvalues(&self) -> Vec<f64> {
        let plane: Vec<f64> = self.mask.iter().map(|kept| f64::from(u8::from(*kept))).collect();
        plane.repeat(2)
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let (kept, rest) = (f(1.0), f(0.0));
        let mut plane = self.forward(x);
        for (value, is_kept) in plane.iter_mut().zip(&self.mask) {
            *value *= if *is_kept { kept } else { rest };
        }
        self.inverse(plane)
    }

    fn eigenbasis(&self) -> Option<Eigenbasis> {
        let into = Expression::Dft { plane: (self.shape.height, self.shape.width) };
        Some(Eigenbasis { into, eigenvalues: self.eigenvalues(), is_whole: true })
    }
}

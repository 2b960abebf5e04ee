//! Deblurring: circular convolution of every channel with one kernel.

use std::sync::Arc;

use rustfft::num_complex::Complex;

use super::expression::{Eigenbasis, Expression};
use super::form::EigenForm;
use super::fourier_plane::FourierPlane;
use super::kernel::Kernel;
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral, assert_length};
use super::real_image::real_waves;
use crate::error::check_values;
use crate::noise::Law;
use crate::{MathError, Noise, Shape};

/// Circular convolution y[r, c] = Σ h[i, j] x[r − i, c − j] with the kernel's centre at the origin.
#[derive(Clone)]
pub struct CircularBlur {
    shape: Shape,
    kernel: Kernel,
    /// ĥ, [height, width]; exactly 0 in the null space.
    transfer: Vec<Complex<f64>>,
    transform: FourierPlane,
    kind: OperatorKind,
}

impl CircularBlur {
    /// The blur of an image of `shape` by `kernel`.
    ///
    /// Frequencies with |ĥ| below N ε max|ĥ|, N = height · width, cannot be told from rounding
    /// error: the operator is defined with ĥ = 0 there, so that its null space is exact. (The
    /// error of the transform is about ε log₂N ‖ĥ‖₂ in the 2-norm, so at any one frequency at most
    /// ε log₂N √N max|ĥ| ≤ N ε max|ĥ|. Nor is anything lost: a gain of N ε seen through noise
    /// of σ_y ≥ 1e-6 has λ/σ_y² < 1e-7 up to a megapixel, far below α²/β².)
    ///
    /// # Errors
    /// [`MathError::KernelSize`] if the kernel is larger than the image.
    pub fn new(shape: Shape, kernel: Kernel) -> Result<Self, MathError> {
        let Shape { height, width, .. } = shape;
        let (rows, columns) = (kernel.rows(), kernel.columns());
        if rows > height || columns > width {
            return Err(MathError::KernelSize { rows, columns, height, width });
        }
        let transform = FourierPlane::new(height, width);
        let mut transfer = vec![Complex::ZERO; height * width];
        for (i, tap) in kernel.taps().iter().enumerate() {
            let row = (i / columns + height - rows / 2) % height;
            let column = (i % columns + width - columns / 2) % width;
            transfer[row * width + column].re += tap;
        }
        transform.forward(&mut transfer);
        // ĥ(−k) is the conjugate of ĥ(k) because the taps are real: to the last bit, so that both
        // fall on one side of the threshold and A stays real.
        let opposite = |i| transform.opposite(i);
        let mut transfer: Vec<_> = (0..transfer.len())
            .map(|i| (transfer[i] + transfer[opposite(i)].conj()) * 0.5)
            .collect();
        let largest = transfer.iter().map(|h| h.norm()).fold(0.0, f64::max);
        let threshold = (height * width) as f64 * f64::EPSILON * largest;
        for h in &mut transfer {
            if h.norm() <= threshold {
                *h = Complex::ZERO;
            }
        }
        Ok(Self { shape, kernel, transfer, transform, kind: OperatorKind::Blurs })
    }

    /// The blur that changes nothing.
    ///
    /// # Errors
    /// None.
    pub(super) fn identity(shape: Shape) -> Result<Self, MathError> {
        let identity = Self::new(shape, Kernel::new(1, 1, vec![1.0])?)?;
        Ok(Self { kind: OperatorKind::Pixels, ..identity })
    }

    /// The blur followed by a filter with a gain for each frequency, `[height, width]`, the same at opposite ones: its
    /// kernel is as large as the image.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] if nothing is left.
    pub(super) fn filtered(&self, gains: &[f64]) -> Result<Self, MathError> {
        let Shape { height, width, .. } = self.shape;
        let transfer: Vec<Complex<f64>> =
            self.transfer.iter().zip(gains).map(|(h, gain)| h * gain).collect();
        let mut taps = transfer.clone();
        self.transform.inverse(&mut taps);
        // The centre of the kernel is the origin of the plane.
        let at = |i: usize| {
            let row = (i / width + height - height / 2) % height;
            row * width + (i % width + width - width / 2) % width
        };
        let taps = (0..taps.len()).map(|i| taps[at(i)].re).collect();
        let kernel = Kernel::new(height, width, taps)?;
        Ok(Self { kernel, transfer, ..self.clone() })
    }

    /// What is left of an image of `shape` with the frequencies that were `measured` alone, [height, width] with frequency 0 at
    /// `[0][0]`: a projection, whose kernel is as large as the image.
    ///
    /// # Errors
    /// [`MathError::Length`] for another number of frequencies, [`MathError::OutOfRange`] if none is measured.
    ///
    /// # Panics
    /// If one of two opposite frequencies is measured and the other not: images would not stay real.
    pub fn of_frequencies(shape: Shape, measured: &[bool]) -> Result<Self, MathError> {
        let gains: Vec<f64> = measured.iter().map(|m| f64::from(u8::from(*m))).collect();
        check_values("the measured frequencies", &gains, shape.plane())?;
        let all = Self::identity(shape)?;
        assert!(
            (0..gains.len()).all(|i| measured[i] == measured[all.transform.opposite(i)]),
            "of opposite frequencies one is measured and the other not"
        );
        Ok(Self { kind: OperatorKind::Blurs, ..all.filtered(&gains)? })
    }

    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// ĥ as (real, imaginary) pairs, [height, width], of the unnormalised DFT.
    #[must_use]
    pub fn transfer(&self) -> Vec<(f64, f64)> {
        self.transfer.iter().map(|h| (h.re, h.im)).collect()
    }

    /// W A, for [`Whitened::prepare`](super::Whitened::prepare): a filter, where W is one or a number.
    pub(super) fn whitened(&self, noise: &Noise, sigma_y: f64) -> Result<Option<Self>, MathError> {
        let gains = match noise.law() {
            Law::Uniform(_) => noise.whiten(&vec![1.0; self.shape.plane()], sigma_y),
            Law::Spectrum(spectrum) => {
                spectrum.variances().iter().map(|variance| sigma_y / variance.sqrt()).collect()
            }
            _ => return Ok(None),
        };
        self.filtered(&gains).map(Some)
    }

    /// Multiplies every channel by a factor per frequency.
    fn filter(&self, x: &[f64], gain: impl Fn(Complex<f64>) -> Complex<f64>) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let gains: Vec<_> = self.transfer.iter().map(|h| gain(*h)).collect();
        let mut filtered = Vec::with_capacity(x.len());
        for channel in x.chunks_exact(self.shape.plane()) {
            let mut spectrum: Vec<_> = channel.iter().map(|v| Complex::new(*v, 0.0)).collect();
            self.transform.forward(&mut spectrum);
            for (value, g) in spectrum.iter_mut().zip(&gains) {
                *value *= g;
            }
            self.transform.inverse(&mut spectrum);
            filtered.extend(spectrum.iter().map(|v| v.re));
        }
        filtered
    }
}

impl LinearMap for CircularBlur {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        self.shape
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.filter(x, |h| h)
    }

    fn one_channel(&self) -> Option<Arc<dyn LinearMap>> {
        let shape = Shape { channels: 1, ..self.shape };
        (self.shape.channels > 1)
            .then(|| Arc::new(Self { shape, ..self.clone() }) as Arc<dyn LinearMap>)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.filter(y, |h| h.conj())
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        assert_length("the measurement", y, self.shape);
        Some(y.to_vec())
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        let sum: f64 = self.transfer.iter().map(|h| f(h.norm_sqr())).sum();
        Some(vec![sum / self.shape.plane() as f64; self.shape.len()])
    }

    fn expression(&self) -> Option<Expression> {
        let plane = (self.shape.height, self.shape.width);
        let filter = Expression::Filter { plane, gains: self.transfer.clone() };
        Some(filter.on_each(self.shape.channels))
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }

    fn infinity_norm(&self) -> Option<f64> {
        Some(self.kernel.weight())
    }

    fn kind(&self) -> OperatorKind {
        self.kind
    }
}

impl Spectral for CircularBlur {
    fn eigenvalues(&self) -> Vec<f64> {
        self.transfer.iter().map(|h| h.norm_sqr()).collect::<Vec<_>>().repeat(self.shape.channels)
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        self.filter(x, |h| Complex::new(f(h.norm_sqr()), 0.0))
    }

    fn eigenbasis(&self) -> Option<Eigenbasis> {
        let Shape { channels, height, width } = self.shape;
        let into = real_waves((height, width)).on_each(channels);
        // Of the real and the imaginary part of every channel.
        let of_plane: Vec<f64> = self.transfer.iter().map(|h| h.norm_sqr()).collect();
        Some(Eigenbasis { into, eigenvalues: of_plane.repeat(2 * channels), is_whole: true })
    }

    fn form(&self) -> Option<EigenForm<'_>> {
        Some(EigenForm::Frequencies(self.transfer()))
    }
}

impl std::fmt::Debug for CircularBlur {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CircularBlur")
            .field("shape", &self.shape)
            .field("kernel", &self.kernel)
            .finish_non_exhaustive()
    }
}

//! Deblurring: circular convolution of every channel with one kernel.

use rustfft::num_complex::Complex;

use super::fourier_plane::FourierPlane;
use super::kernel::Kernel;
use super::linear_map::{LinearMap, Spectral, assert_length};
use crate::{MathError, Shape};

/// Circular convolution y[r, c] = Σ h[i, j] x[r − i, c − j] with the kernel's centre at the origin.
#[derive(Clone)]
pub struct CircularBlur {
    shape: Shape,
    kernel: Kernel,
    /// ĥ, [height, width]; exactly 0 in the null space.
    transfer: Vec<Complex<f64>>,
    transform: FourierPlane,
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
        let mirror = |i: usize| (height - i / width) % height * width + (width - i % width) % width;
        let mut transfer: Vec<_> =
            (0..transfer.len()).map(|i| (transfer[i] + transfer[mirror(i)].conj()) * 0.5).collect();
        let largest = transfer.iter().map(|h| h.norm()).fold(0.0, f64::max);
        let threshold = (height * width) as f64 * f64::EPSILON * largest;
        for h in &mut transfer {
            if h.norm() <= threshold {
                *h = Complex::ZERO;
            }
        }
        Ok(Self { shape, kernel, transfer, transform })
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

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.filter(y, |h| h.conj())
    }
}

impl Spectral for CircularBlur {
    fn eigenvalues(&self) -> Vec<f64> {
        self.transfer.iter().map(|h| h.norm_sqr()).collect::<Vec<_>>().repeat(self.shape.channels)
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        self.filter(x, |h| Complex::new(f(h.norm_sqr()), 0.0))
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

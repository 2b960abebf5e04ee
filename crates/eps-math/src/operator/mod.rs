//! Linear operators of one image: a [`LinearMap`] is a pair A, Aᵀ; a [`Spectral`] one knows the orthonormal
//! eigenbasis V of AᵀA besides.
//!
//! | operator | basis Vᵀ | λ |
//! |---|---|---|
//! | [`Mask`] | identity | 0 or 1 per pixel |
//! | [`AveragePool`] | block mean and complement | 1/k² or 0 |
//! | [`CircularBlur`] | 2-D DFT per channel | \|ĥ\|² |
//! | [`Separable`], and with it [`ResizeFilter`] | two small SVDs | s_r² s_c² |
//! | [`Dense`] | SVD | s² |
//! | [`Weights`] | identity | w² |
//! | [`Grey`] | luminance and two directions across | ‖shares‖² or 0 |
//! | [`RealImage`] | identity | 1 |
//! | [`Fourier`] | 2-D DFT of a complex image | 0 or 1 per frequency |
//! | [`Bayer`] | identity | 0 or 1 per value |
//! | [`WalshHadamard`] of a power of two values | random signs, then the transform's rows | 0 or 1 per row |
//! | [`Coils`], [`NonuniformFourier`], [`GaussianMatrix`] | none is known | |
//! | [`Picks`], and with it [`Crop`], [`Pad`] and a [`Chain`] of these, masks, weights and mosaics | identity | w² or 0 |
//! | [`Convolution`], [`ChannelConvolution`], [`VaryingBlur`], [`Radon`] | none is known | |
//! | [`Scaled`] | that of the operator, where there is one | c²λ |
//! | any other [`Chain`], [`Sum`], [`Stack`], your own | none is known | |
//! | [`Whitened`] | that of the operator, where there is one still | |
//! | [`Decomposed`], of any small operator | thin SVD | s² |
//!
//! A function of AᵀA is V f(λ) Vᵀ: [`Spectral::spectral_map`]. Without a basis the pivot comes by
//! [conjugate gradients](crate::solve::Cg) and functions by [Lanczos' method](crate::solve::Lanczos). A batch of images is
//! a slice of operators, one an image.

mod average_pool;
mod bayer;
mod blur_waves;
mod border;
mod chain;
mod channel_convolution;
pub mod check;
mod circular_blur;
mod coils;
mod convolution;
mod cosine_plane;
mod decomposed;
mod dense;
mod espirit;
mod expression;
mod form;
mod fourier;
pub(crate) mod fourier_plane;
mod gaussian_matrix;
mod grey;
mod kernel;
mod kernel_shape;
mod kind;
mod linear_map;
mod mask;
mod motion_path;
mod nonuniform_fourier;
mod pad;
mod picking;
mod picks;
mod prepared;
mod radon;
mod range_basis;
mod real_image;
mod resize;
mod rounding;
mod scaled;
mod separable;
mod spec;
mod spec_shape;
mod stack;
mod sum;
mod varying_blur;
mod walsh_hadamard;
mod weights;
mod whitened;

pub use average_pool::AveragePool;
pub use bayer::{Bayer, BayerPattern};
pub use border::Border;
pub use chain::{Chain, Crop};
pub use channel_convolution::ChannelConvolution;
pub use circular_blur::CircularBlur;
pub use coils::{Coils, sensitivities};
pub use convolution::Convolution;
pub(crate) use decomposed::SingularValues;
pub use decomposed::{Decomposed, singular_values};
pub use dense::Dense;
pub use espirit::{EspiritParams, SampledMiddle, espirit};
pub use expression::{Eigenbasis, Expression, Preconditioner, Sparse};
pub use form::{EigenForm, MatrixForm};
pub use fourier::Fourier;
pub use gaussian_matrix::GaussianMatrix;
pub use grey::Grey;
pub use kernel::Kernel;
pub use kernel_shape::KernelShape;
pub use kind::OperatorKind;
pub use linear_map::{LinearMap, Spectral};
pub use mask::Mask;
pub use nonuniform_fourier::{FourierMethod, NonuniformFourier};
pub use pad::Pad;
pub use picks::Picks;
pub use prepared::PreparedOperator;
pub use radon::Radon;
pub use range_basis::RangeBasis;
pub use real_image::RealImage;
pub use resize::ResizeFilter;
pub use scaled::Scaled;
pub use separable::Separable;
pub use spec::{KernelWindows, OperatorSpec};
pub use stack::Stack;
pub use sum::Sum;
pub use varying_blur::VaryingBlur;
pub use walsh_hadamard::WalshHadamard;
pub use weights::Weights;
pub use whitened::Whitened;

pub use rustfft::num_complex::Complex;

use std::sync::Arc;

use faer::Mat;

use crate::cholesky::symmetrised;
use crate::rng::Stream;
use crate::{MathError, Noise, Shape};

/// An operator of one of the basic families, whose eigenbases have a [form](EigenForm) that batches compute at once.
#[derive(Debug, Clone)]
pub enum Operator {
    /// Inpainting.
    Mask(Mask),
    /// Super-resolution.
    AveragePool(AveragePool),
    /// Deblurring with wrap-around borders.
    CircularBlur(CircularBlur),
    /// Row and column operators side by side.
    Separable(Separable),
    /// Any matrix.
    Dense(Dense),
    /// A weight of each value.
    Weights(Weights),
}

impl Operator {
    /// The name of the family in files.
    #[must_use]
    pub fn family(&self) -> &'static str {
        match self {
            Self::Mask(_) => "mask",
            Self::AveragePool(_) => "average-pool",
            Self::CircularBlur(_) => "circular-blur",
            Self::Separable(_) => "separable",
            Self::Dense(_) => "dense",
            Self::Weights(_) => "weights",
        }
    }

    /// W A of the whitened measurement W y with its eigenbasis, for the standard deviation `sigma_y` of whitened noise; none where W
    /// takes the operator out of its family and of all others here.
    fn whitened(&self, noise: &Noise, sigma_y: f64) -> Result<Option<Self>, MathError> {
        match self {
            Self::Mask(a) => Ok(match a.whitened_weights(noise, sigma_y)? {
                Some(weights) => Some(Self::Weights(weights)),
                None => a.whitened_filter(noise, sigma_y)?.map(Self::CircularBlur),
            }),
            Self::AveragePool(a) => Ok(a.whitened(noise, sigma_y)?.map(Self::Separable)),
            Self::CircularBlur(a) => Ok(a.whitened(noise, sigma_y)?.map(Self::CircularBlur)),
            Self::Separable(a) => Ok(a.whitened(noise, sigma_y)?.map(Self::Separable)),
            Self::Dense(a) => Ok(Some(Self::Dense(a.whitened(noise, sigma_y)?))),
            Self::Weights(a) => Ok(a.whitened(noise, sigma_y)?.map(Self::Weights)),
        }
    }

    fn spectral(&self) -> &dyn Spectral {
        match self {
            Self::Mask(a) => a,
            Self::AveragePool(a) => a,
            Self::CircularBlur(a) => a,
            Self::Separable(a) => a,
            Self::Dense(a) => a,
            Self::Weights(a) => a,
        }
    }
}

impl LinearMap for Operator {
    fn domain(&self) -> Shape {
        self.spectral().domain()
    }

    fn range(&self) -> Shape {
        self.spectral().range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.spectral().apply(x)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.spectral().adjoint(y)
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        self.spectral().placed(y)
    }

    fn one_channel(&self) -> Option<Arc<dyn LinearMap>> {
        self.spectral().one_channel()
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        self.spectral().diagonal(f)
    }

    fn approximate_inverse(&self, v: &[f64], kappa: f64) -> Option<Vec<f64>> {
        self.spectral().approximate_inverse(v, kappa)
    }

    fn preconditioner(&self) -> Option<Preconditioner> {
        self.spectral().preconditioner()
    }

    fn expression(&self) -> Option<Expression> {
        self.spectral().expression()
    }

    fn picks(&self) -> Option<Picks> {
        self.spectral().picks()
    }

    fn infinity_norm(&self) -> Option<f64> {
        self.spectral().infinity_norm()
    }

    fn gives_picture(&self) -> bool {
        self.spectral().gives_picture()
    }

    fn kind(&self) -> OperatorKind {
        self.spectral().kind()
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        self.spectral().as_spectral()
    }
}

impl Spectral for Operator {
    fn eigenvalues(&self) -> Vec<f64> {
        self.spectral().eigenvalues()
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        self.spectral().spectral_map(x, f)
    }

    fn eigenbasis(&self) -> Option<Eigenbasis> {
        self.spectral().eigenbasis()
    }

    fn form(&self) -> Option<EigenForm<'_>> {
        self.spectral().form()
    }
}

/// The measurement in the image's shape, as a network reads it and a picture shows it: what the family
/// [places](LinearMap::placed), or Aᵀy/‖A‖², which does not depend on the scale of A.
///
/// # Panics
/// If `y` does not have `range().len()` values.
#[must_use]
pub fn lifted(map: &dyn LinearMap, y: &[f64]) -> Vec<f64> {
    map.placed(y).unwrap_or_else(|| {
        let scale = lift_scale(map);
        map.adjoint(y).iter().map(|value| value / scale).collect()
    })
}

/// ‖A‖²: the largest eigenvalue of AᵀA where batches compute in its eigenbasis, by its [form](EigenForm) or by the decomposition of the
/// matrix. Of other maps it comes from below, by twelve steps of the power method, as networks read it.
fn lift_scale(map: &dyn LinearMap) -> f64 {
    let largest = |eigenvalues: &[f64]| eigenvalues.iter().copied().fold(0.0, f64::max);
    let scale = match (map.range_basis(), map.as_spectral()) {
        (Some(basis), _) => largest(basis.eigenvalues()),
        (None, Some(spectral)) if spectral.form().is_some() => largest(&spectral.eigenvalues()),
        _ => check::norm_estimate(map, 12, 0).powi(2),
    };
    scale.max(f64::MIN_POSITIVE)
}

/// Which values of y depend on the image at all: A of a random image is exactly 0 where none does, but for the rounding of transforms.
/// What a file holds elsewhere, such as at the hidden pixels of a mask, is no measurement.
#[must_use]
pub fn measured_entries(map: &dyn LinearMap) -> Vec<bool> {
    let x = Stream::named(0, "an image to see what is measured").normals(map.domain().len());
    differ_from_0(&map.apply(&x))
}

/// Which pixels a measurement depends on: Aᵀ of random values is exactly 0 where none does, but for the rounding of transforms.
#[must_use]
pub fn measured_pixels(map: &dyn LinearMap, noise: &Noise) -> Vec<bool> {
    let mut y = Stream::named(0, "a measurement to see what is seen").normals(map.range().len());
    let missing = y.iter_mut().enumerate().filter(|(entry, _)| noise.is_missing(*entry));
    missing.for_each(|(_, value)| *value = 0.0);
    differ_from_0(&map.adjoint(&y))
}

/// Which values are more than rounding beside the largest.
fn differ_from_0(values: &[f64]) -> Vec<bool> {
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    values.iter().map(|value| value.abs() > 1e-12 * largest).collect()
}

/// The matrix of an operator, m×n with m = `range().len()` and n = `domain().len()`.
///
/// For checks and small problems: it costs n applications and m n numbers.
#[must_use]
pub fn to_matrix(operator: &dyn LinearMap) -> Mat<f64> {
    columns(operator.range().len(), operator.domain().len(), |unit| operator.apply(unit))
}

/// The matrix of f(AᵀA), n×n and symmetric to the last bit.
///
/// For checks and small problems: it costs n spectral maps and n² numbers.
#[must_use]
pub fn spectral_matrix(operator: &dyn Spectral, f: &dyn Fn(f64) -> f64) -> Mat<f64> {
    let n = operator.domain().len();
    symmetrised(columns(n, n, |unit| operator.spectral_map(unit, f)).as_ref())
}

/// The rows×n matrix of a linear map, column by column.
fn columns(rows: usize, n: usize, map: impl Fn(&[f64]) -> Vec<f64>) -> Mat<f64> {
    let mut matrix = Mat::zeros(rows, n);
    let mut unit = vec![0.0; n];
    for j in 0..n {
        unit[j] = 1.0;
        matrix.col_as_slice_mut(j).copy_from_slice(&map(&unit));
        unit[j] = 0.0;
    }
    matrix
}

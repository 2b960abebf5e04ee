//! The waves that a blur with a border hardly mixes.

use rustfft::num_complex::Complex;

use super::border::Border;
use super::cosine_plane::{CosinePlane, Mirror};
use super::expression::{Expression, Preconditioner};
use super::fourier_plane::FourierPlane;
use super::kernel::Kernel;
use super::linear_map::assert_length;
use super::real_image::real_waves;
use crate::Shape;

/// What is added to |ĥ|² beside κ, over its largest value, where no basis fits the border: conjugate gradients then take
/// fewer steps than without a preconditioner for every kernel tried, at every noise level; by κ alone they do not end.
const FLOOR: f64 = 1e-2;

/// The least weight of a pixel.
const LEAST_WEIGHT: f64 = 0.1;

/// A basis in which AᵀA of a blur is nearly diagonal: AᵀA ≈ W F⁻¹ diag(p) F W, with orthonormal F and weights W of pixels.
///
/// | border | F | W | error |
/// |---|---|---|---|
/// | circular | 2-D DFT | 1 | none |
/// | valid | 2-D DFT | 1 | AᵀA is below it, by what the edges leave out |
/// | symmetric | DCT-II | 1 | none for kernels that are mirror images of themselves in rows and columns |
/// | reflect | DCT-I | √½ at the edges | the same, but for a factor of at most 4 at the edges |
/// | zero, replicate | DCT-II | the norms of A's columns | at the edges |
///
/// For a kernel that is not its own mirror image p is the mean of |ĥ|² over the mirror images.
#[derive(Debug, Clone)]
pub(super) struct BlurWaves {
    domain: Shape,
    basis: Basis,
    /// p at each wave of a plane.
    powers: Vec<f64>,
    /// W of a plane, where it is not 1.
    weights: Option<Vec<f64>>,
    /// What the gains have beside κ, over the largest p.
    floor: f64,
}

#[derive(Debug, Clone)]
enum Basis {
    Fourier(FourierPlane),
    Cosine(CosinePlane),
}

impl BlurWaves {
    /// Of a kernel and a border on images of `domain`; `norms` are those of A's columns of a plane, over that of the kernel.
    pub(super) fn new(
        domain: Shape,
        kernel: &Kernel,
        border: Border,
        norms: impl FnOnce() -> Vec<f64>,
    ) -> Self {
        let Shape { height, width, .. } = domain;
        let of_pixels = |length: usize| if length > 1 { Mirror::Pixel } else { Mirror::Edge };
        let (mirrors, weights, floor) = match border {
            Border::Circular | Border::Valid => {
                return Self {
                    domain,
                    basis: Basis::Fourier(FourierPlane::new(height, width)),
                    powers: powers(kernel, (height, width)),
                    weights: None,
                    floor: 0.0,
                };
            }
            Border::Symmetric => ((Mirror::Edge, Mirror::Edge), None, 0.0),
            Border::Reflect => {
                let mirrors = (of_pixels(height), of_pixels(width));
                let is_edge = |i: usize, length: usize| length > 1 && (i == 0 || i == length - 1);
                let weight = |i: usize| {
                    let edges = [is_edge(i / width, height), is_edge(i % width, width)];
                    edges.map(|edge| if edge { 0.5f64.sqrt() } else { 1.0 }).iter().product()
                };
                (mirrors, Some((0..height * width).map(weight).collect()), 0.0)
            }
            Border::Zero | Border::Replicate => {
                let weights = norms().iter().map(|norm| norm.max(LEAST_WEIGHT)).collect();
                ((Mirror::Edge, Mirror::Edge), Some(weights), FLOOR)
            }
        };
        Self {
            domain,
            basis: Basis::Cosine(CosinePlane::new((height, width), mirrors)),
            powers: mirrored(kernel, (height, width), mirrors),
            weights,
            floor,
        }
    }

    /// p at each wave.
    pub(super) fn powers(&self) -> &[f64] {
        &self.powers
    }

    /// [`BlurWaves::inverse`] as data.
    pub(super) fn preconditioner(&self, powers: &[f64]) -> Preconditioner {
        let Shape { channels, height, width } = self.domain;
        let unweighted = match &self.weights {
            Some(weights) => Expression::Weights(weights.iter().map(|w| w.recip()).collect()),
            None => Expression::identity(),
        };
        let (waves, parts) = match &self.basis {
            Basis::Fourier(_) => (real_waves((height, width)), 2),
            Basis::Cosine(transform) => (transform.expression(), 1),
        };
        let largest = powers.iter().copied().fold(0.0, f64::max);
        let powers = powers.repeat(parts * channels);
        Preconditioner {
            into: unweighted.then(waves).on_each(channels),
            least: vec![self.floor * largest; powers.len()],
            powers,
            within: None,
        }
    }

    /// (W F⁻¹ diag(p) F W + κ I)⁻¹ v, nearly, for this p or that of a blur with the same border.
    pub(super) fn inverse(&self, v: &[f64], powers: &[f64], kappa: f64) -> Vec<f64> {
        assert_length("the image", v, self.domain);
        let largest = powers.iter().copied().fold(0.0, f64::max);
        let least = kappa.max(self.floor * largest);
        let gains: Vec<f64> = powers.iter().map(|power| (power + least).recip()).collect();
        let unweighted = |values: &mut [f64]| {
            if let Some(weights) = &self.weights {
                for plane in values.chunks_exact_mut(weights.len()) {
                    plane.iter_mut().zip(weights).for_each(|(value, weight)| *value /= weight);
                }
            }
        };
        let mut values = v.to_vec();
        unweighted(&mut values);
        let mut mapped = match &self.basis {
            Basis::Fourier(transform) => filtered(transform, &values, &gains),
            Basis::Cosine(transform) => values
                .chunks_exact(gains.len())
                .flat_map(|plane| {
                    let mut waves = transform.forward(plane);
                    waves.iter_mut().zip(&gains).for_each(|(value, gain)| *value *= gain);
                    transform.inverse(&waves)
                })
                .collect(),
        };
        unweighted(&mut mapped);
        mapped
    }
}

/// |ĥ|² at each frequency of a plane that wraps around.
pub(super) fn powers(kernel: &Kernel, sides: (usize, usize)) -> Vec<f64> {
    wrapped(kernel, sides).iter().map(Complex::norm_sqr).collect()
}

/// ĥ on a plane that wraps around.
fn wrapped(kernel: &Kernel, (height, width): (usize, usize)) -> Vec<Complex<f64>> {
    let mut plane = vec![Complex::ZERO; height * width];
    for (i, tap) in kernel.taps().iter().enumerate() {
        let (row, column) = (i / kernel.columns(), i % kernel.columns());
        plane[row % height * width + column % width].re += *tap;
    }
    FourierPlane::new(height, width).forward(&mut plane);
    plane
}

/// The mean of |ĥ|² over a kernel's mirror images, at each cosine of a plane.
fn mirrored(
    kernel: &Kernel,
    (height, width): (usize, usize),
    (down, across): (Mirror, Mirror),
) -> Vec<f64> {
    let (rows, columns) = (down.period(height), across.period(width));
    let response = wrapped(kernel, (rows, columns));
    let power = |k: usize, l: usize| response[k * columns + l].norm_sqr();
    (0..height * width)
        .map(|i| {
            let (k, l) = (i / width, i % width);
            // The other two are those of the opposite frequencies, equal for a real kernel.
            0.5 * (power(k, l) + power((rows - k) % rows, l))
        })
        .collect()
}

/// Every frequency of every channel times its gain; two channels at once, as real and imaginary part.
fn filtered(transform: &FourierPlane, v: &[f64], gains: &[f64]) -> Vec<f64> {
    let mut mapped = Vec::with_capacity(v.len());
    for pair in v.chunks(2 * gains.len()) {
        let (first, second) = pair.split_at(gains.len());
        let value = |i: usize| Complex::new(first[i], second.get(i).copied().unwrap_or(0.0));
        let mut plane: Vec<_> = (0..gains.len()).map(value).collect();
        transform.forward(&mut plane);
        plane.iter_mut().zip(gains).for_each(|(value, gain)| *value *= gain);
        transform.inverse(&mut plane);
        mapped.extend(plane.iter().map(|value| value.re));
        if !second.is_empty() {
            mapped.extend(plane.iter().map(|value| value.im));
        }
    }
    mapped
}

//! ESPIRiT: the sensitivities of coils as eigenvectors.

use faer::{Mat, Side};
use rustfft::num_complex::Complex;

use super::coils::{complex, low_resolution, root_sum_of_squares};
use super::fourier::{Fourier, pair};
use super::linear_map::{LinearMap, assert_length};
use crate::{MathError, Shape};

/// What [`espirit`] takes as signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EspiritParams {
    /// The side of a kernel, in samples of k-space, at least 2.
    pub kernel: usize,
    /// The singular value of the calibration matrix, over the largest, above which its direction is signal, in (0, 1).
    pub signal: f64,
    /// The eigenvalue of a pixel below which its maps are 0: no coil saw anything there; in \[0, 1).
    pub crop: f64,
}

impl Default for EspiritParams {
    /// Kernels of 6×6, singular values above 0.02 of the largest, eigenvalues above 0.8: the usual ones.
    fn default() -> Self {
        Self { kernel: 6, signal: 0.02, crop: 0.8 }
    }
}

/// The sensitivities of coils by the middle of k-space, which is sampled in full, as M. Uecker et al. find them (*ESPIRiT — an eigenvalue
/// approach to autocalibrating parallel MRI*, Magnetic Resonance in Medicine 2014).
///
/// ```text
/// C = U Σ Vᴴ               each w×w patch of the middle, of all coils, is a column of C
/// P(r)_ab = w⁻² Σ_δδ' (U_s U_sᴴ)[(a, δ), (b, δ')] e^{2πi (δ − δ')·r}    U_s the columns of U that are signal
/// P(r) s(r) = λ(r) s(r)    s(r) the eigenvector of the largest eigenvalue, which is 1 where there is signal
/// ```
///
/// Unlike those of low resolution these maps owe nothing to the image: its edges do not blur into them. Σ_k |s_k|² = 1 where λ ≥ `crop`,
/// and elsewhere the maps are 0. An eigenvector has no phase of its own; it gets that with which the image of low resolution,
/// Σ_k s̄_k c_k, is positive, so that a prior of magnitudes serves the first channel, as with [`sensitivities`](super::sensitivities).
///
/// # Shapes
/// kspace: `[2K, H, W]` with the frequency 0 first in rows and columns, and so are the maps; `calibration`: rows and columns around that
/// frequency that every coil sampled.
///
/// # Errors
/// Those of [`sensitivities`](super::sensitivities); [`MathError::OutOfRange`] for parameters outside of their ranges and for a side of the
/// middle below that of two kernels; [`MathError::Unsampled`] where more than a hundredth of the middle is 0 in all coils;
/// [`MathError::NotConverged`] from an eigendecomposition.
pub fn espirit(
    shape: Shape,
    kspace: &[f64],
    calibration: (usize, usize),
    params: &EspiritParams,
) -> Result<Vec<f64>, MathError> {
    let low = low_resolution(shape, kspace, calibration)?;
    root_sum_of_squares(&low)?;
    params.check(calibration)?;
    SampledMiddle::of(shape, kspace, calibration).check(params.least_side())?;
    let image = Shape { channels: 2, ..shape };
    let middle: Vec<Mat<Complex<f64>>> =
        kspace.chunks_exact(image.len()).map(|coil| middle_of(image, coil, calibration)).collect();
    // Products of values of any scale are numbers, and not 0.
    let entries = middle.iter().flat_map(|coil| coil.col_iter().flat_map(|column| column.iter()));
    let scale = entries.fold(0.0, |largest: f64, z| largest.max(z.re.abs()).max(z.im.abs()));
    let middle: Vec<Mat<Complex<f64>>> = middle
        .iter()
        .map(|coil| Mat::from_fn(coil.nrows(), coil.ncols(), |i, j| coil[(i, j)] / scale))
        .collect();
    let signal = signal_space(&middle, params)?;
    let coils = middle.len();
    let planes = eigenvalue_problems(image, &signal, coils, params.kernel)?;
    let low: Vec<Vec<Complex<f64>>> = low.iter().map(|coil| complex(coil).collect()).collect();

    let mut maps = vec![vec![Complex::ZERO; image.plane()]; coils];
    for pixel in 0..image.plane() {
        // The lower triangle is what the decomposition reads.
        let problem = Mat::from_fn(coils, coils, |a, b| match a >= b {
            true => planes[a * (a + 1) / 2 + b][pixel],
            false => Complex::ZERO,
        });
        let found = problem
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| MathError::NotConverged("eigendecomposition of a pixel's coils"))?;
        // Eigenvalues ascend.
        let last = coils - 1;
        if found.S().column_vector()[last].re < params.crop {
            continue;
        }
        let vector: Vec<Complex<f64>> = (0..coils).map(|k| found.U()[(k, last)]).collect();
        let seen: Complex<f64> =
            vector.iter().zip(&low).map(|(s, coil)| s.conj() * coil[pixel]).sum();
        let turn = if seen == Complex::ZERO { Complex::ONE } else { seen / seen.norm() };
        for (map, s) in maps.iter_mut().zip(vector) {
            map[pixel] = s * turn;
        }
    }
    Ok(maps.into_iter().flat_map(|map| pair(map.into_iter())).collect())
}

impl EspiritParams {
    /// Rows and columns of the middle of k-space that maps need at least: those of two kernels.
    #[must_use]
    pub const fn least_side(&self) -> usize {
        2 * self.kernel
    }

    fn check(&self, calibration: (usize, usize)) -> Result<(), MathError> {
        let out_of = |what, value, range| Err(MathError::OutOfRange { what, value, range });
        if self.kernel < 2 {
            let value = self.kernel as f64;
            return out_of("the side of ESPIRiT's kernels", value, "2 or above");
        }
        if !(self.signal > 0.0 && self.signal < 1.0) {
            return out_of("the share of a singular value of signal", self.signal, "in (0, 1)");
        }
        if !(self.crop >= 0.0 && self.crop < 1.0) {
            return out_of("the eigenvalue at which maps are cropped", self.crop, "in [0, 1)");
        }
        let least = calibration.0.min(calibration.1);
        if least < self.least_side() {
            return out_of(
                "a side of the middle of k-space",
                least as f64,
                "at least that of two kernels of ESPIRiT (12 by default): take maps of low resolution where less is sampled (`--method low-resolution`)",
            );
        }
        Ok(())
    }
}

/// How much of the middle of k-space was sampled. What was not is exactly 0 in all coils, and what was holds noise.
///
/// Patches with values that were not measured are no patches of the coils: maps from a middle with gaps are wrong wherever they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampledMiddle {
    /// Rows and columns of the middle.
    pub sides: (usize, usize),
    /// The share of its frequencies that were sampled.
    pub share: f64,
    /// Rows and columns of the largest middle inside of it that was sampled in full; (0, 0) where not even the frequency 0 was.
    pub full: (usize, usize),
}

impl SampledMiddle {
    /// The share of a middle that may be 0 by chance, as single values of a simulation are.
    const LEFT_OUT: f64 = 0.01;

    /// Of the k-space of coils.
    ///
    /// # Shapes
    /// kspace: `[2K, H, W]` with the frequency 0 first; `sides`: rows and columns around it
    ///
    /// # Panics
    /// If k-space is of another shape or has less rows or columns.
    #[must_use]
    pub fn of(shape: Shape, kspace: &[f64], sides: (usize, usize)) -> Self {
        let Shape { height, width, .. } = shape;
        assert_length("k-space", kspace, shape);
        let (rows, columns) = sides;
        assert!(
            rows <= height && columns <= width,
            "the middle has {rows}×{columns} values, k-space {height}×{width}"
        );
        // By the distance from the first frequency of the middle.
        let is_sampled = |row: usize, column: usize| {
            let at = place(row, rows, height) * width + place(column, columns, width);
            kspace.iter().skip(at).step_by(shape.plane()).any(|value| *value != 0.0)
        };
        let sampled: Vec<bool> =
            (0..rows * columns).map(|i| is_sampled(i / columns, i % columns)).collect();
        // Those of a smaller middle.
        let inside = |side: usize, whole: usize| {
            let first = whole / 2 - side / 2;
            first..first + side
        };
        let is_full = |row: usize, width: usize| {
            inside(width, columns).all(|column| sampled[row * columns + column])
        };
        let full_width: Vec<usize> = (0..rows)
            .map(|row| (1..=columns).take_while(|width| is_full(row, *width)).count())
            .collect();
        let of_height = |height: usize| {
            let width = inside(height, rows).map(|row| full_width[row]).min().unwrap_or(0);
            if width == 0 { (0, 0) } else { (height, width) }
        };
        let full = (1..=rows)
            .map(of_height)
            .max_by_key(|(height, width)| (*height.min(width), height * width));
        let count = sampled.iter().filter(|is_sampled| **is_sampled).count();
        let share = count as f64 / sampled.len().max(1) as f64;
        Self { sides, share, full: full.unwrap_or((0, 0)) }
    }

    /// Fails where it was clearly not sampled in full; maps need `least` rows and columns, which the error says.
    ///
    /// # Errors
    /// [`MathError::Unsampled`] where more than a hundredth of it was not.
    pub fn check(self, least: usize) -> Result<(), MathError> {
        let Self { sides: (rows, columns), share, full } = self;
        if 1.0 - share > Self::LEFT_OUT {
            return Err(MathError::Unsampled { rows, columns, share, full, least });
        }
        Ok(())
    }
}

/// The place in k-space of a row or column of its middle, in ascending order of frequencies; of an even side one negative frequency more.
fn place(index: usize, side: usize, length: usize) -> usize {
    (length - side / 2 + index) % length
}

/// The middle of a coil's k-space, frequencies in ascending order.
fn middle_of(image: Shape, coil: &[f64], (rows, columns): (usize, usize)) -> Mat<Complex<f64>> {
    let Shape { height, width, .. } = image;
    let values: Vec<Complex<f64>> = complex(coil).collect();
    Mat::from_fn(rows, columns, |i, j| {
        values[place(i, rows, height) * width + place(j, columns, width)]
    })
}

/// U_s U_sᴴ, the projection onto the patches that are signal: `[K w², K w²]`, by coil, then row, then column.
fn signal_space(
    middle: &[Mat<Complex<f64>>],
    params: &EspiritParams,
) -> Result<Mat<Complex<f64>>, MathError> {
    let w = params.kernel;
    let (down, across) = (middle[0].nrows() - w + 1, middle[0].ncols() - w + 1);
    let patches = Mat::from_fn(middle.len() * w * w, down * across, |entry, patch| {
        let (coil, row, column) = (entry / (w * w), entry / w % w, entry % w);
        middle[coil][(patch / across + row, patch % across + column)]
    });
    let products = &patches * patches.adjoint();
    let found = products
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| MathError::NotConverged("eigendecomposition of the calibration matrix"))?;
    let squares = found.S().column_vector();
    let n = squares.nrows();
    let least = squares[n - 1].re * params.signal.powi(2);
    let rank = (0..n).filter(|i| squares[*i].re > least).count();
    let vectors = found.U().subcols(n - rank, rank);
    Ok(vectors * vectors.adjoint())
}

/// The lower triangle of P at every pixel, row by row, each entry a plane `[H, W]`.
fn eigenvalue_problems(
    image: Shape,
    signal: &Mat<Complex<f64>>,
    coils: usize,
    w: usize,
) -> Result<Vec<Vec<Complex<f64>>>, MathError> {
    let Shape { height, width, .. } = image;
    let fourier = Fourier::new(image, vec![true; image.plane()])?;
    // The transform is orthonormal, the sums over kernels are not.
    let scale = (image.plane() as f64).sqrt() / (w * w) as f64;
    let mut planes = Vec::with_capacity(coils * (coils + 1) / 2);
    for a in 0..coils {
        for b in 0..=a {
            // Σ_δ U_s U_sᴴ[(a, δ), (b, δ + Δ)] at the frequency Δ.
            let mut lags = vec![Complex::ZERO; image.plane()];
            for (first, second) in (0..w * w).flat_map(|i| (0..w * w).map(move |j| (i, j))) {
                let row = (height * w + second / w - first / w) % height;
                let column = (width * w + second % w - first % w) % width;
                lags[row * width + column] +=
                    signal[(a * w * w + first, b * w * w + second)] * scale;
            }
            let plane = fourier.apply(&pair(lags.into_iter()));
            planes.push(complex(&plane).collect());
        }
    }
    Ok(planes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{Coils, sensitivities};
    use crate::rng::Stream;

    const SHAPE: Shape = Shape { channels: 2, height: 40, width: 36 };

    /// Four smooth maps of different phases, over the root of the sum of their squares, and the k-space of an image of texture.
    fn simulated() -> (Vec<f64>, Vec<f64>) {
        let plane = SHAPE.plane();
        let tau = std::f64::consts::TAU;
        let wave = |i: usize, down: f64, across: f64, offset: f64| {
            let (row, column) = ((i / SHAPE.width) as f64 / 40.0, (i % SHAPE.width) as f64 / 36.0);
            (tau * (down * row + across * column) + offset).cos()
        };
        let of = |coil: usize, i: usize| {
            let (down, across) = [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, -1.0)][coil];
            let phase = coil as f64;
            Complex::new(1.0 + 0.5 * wave(i, down, across, phase), 0.4 * wave(i, across, down, 0.0))
        };
        let size = |i: usize| (0..4).map(|k| of(k, i).norm_sqr()).sum::<f64>().sqrt();
        let maps: Vec<f64> =
            (0..4).flat_map(|k| pair((0..plane).map(move |i| of(k, i) / size(i)))).collect();
        let mut image: Vec<f64> =
            Stream::named(0, "texture").normals(plane).iter().map(|v| 1.5 + 0.4 * v).collect();
        image.resize(2 * plane, 0.0);
        let coils = Coils::new(SHAPE, &maps, vec![true; plane]).unwrap();
        (coils.apply(&image), maps)
    }

    fn worst(found: &[f64], exact: &[f64]) -> f64 {
        found.iter().zip(exact).fold(0.0, |worst, (a, b)| (a - b).abs().max(worst))
    }

    #[test]
    fn smooth_maps_are_found_behind_a_texture() {
        let (kspace, maps) = simulated();
        let shape = Shape { channels: 8, ..SHAPE };
        let found = espirit(shape, &kspace, (24, 24), &EspiritParams::default()).unwrap();
        let gap = worst(&found, &maps);
        let low = worst(&sensitivities(shape, &kspace, (24, 24)).unwrap(), &maps);
        // What is left are directions below 0.02 of the largest singular value. The texture moves images of low resolution further.
        assert!(gap < 0.01, "{gap}");
        assert!(low > 1.5 * gap, "{low} {gap}");
        for pixel in 0..SHAPE.plane() {
            let norm: f64 = (0..8).map(|c| found[c * SHAPE.plane() + pixel].powi(2)).sum();
            // An eigenvector of an 8×8 problem, to rounding.
            assert!((norm - 1.0).abs() < 1e-13, "{norm}");
        }
    }

    #[test]
    fn what_no_coil_saw_has_no_map() {
        // A scan of the lower half alone: above it is noise of a thousandth.
        let plane = SHAPE.plane();
        let (_, maps) = simulated();
        let image: Vec<f64> =
            (0..2 * plane).map(|i| f64::from(u8::from((plane / 2..plane).contains(&i)))).collect();
        let coils = Coils::new(SHAPE, &maps, vec![true; plane]).unwrap();
        let noise = Stream::named(0, "noise").normals(4 * 2 * plane);
        let kspace: Vec<f64> =
            coils.apply(&image).iter().zip(&noise).map(|(y, n)| y + 1e-3 * n).collect();
        let shape = Shape { channels: 8, ..SHAPE };
        let found = espirit(shape, &kspace, (24, 24), &EspiritParams::default()).unwrap();
        let (above, below) = (10 * SHAPE.width + 18, 30 * SHAPE.width + 18);
        assert!((0..8).all(|c| found[c * plane + above] == 0.0));
        assert!((0..8).any(|c| found[c * plane + below] != 0.0));
    }

    #[test]
    fn a_middle_with_gaps_is_refused() {
        let (mut kspace, _) = simulated();
        let shape = Shape { channels: 8, ..SHAPE };
        let plane = SHAPE.plane();
        let sides = (30, 30);
        assert_eq!(SampledMiddle::of(shape, &kspace, sides).full, sides);
        assert!(SampledMiddle::of(shape, &kspace, (40, 36)).check(12).is_ok());
        // Every second line beyond 14 columns around the frequency 0.
        let is_left_out = |i: usize| {
            let column = i % SHAPE.width;
            let frequency = if column < 18 { column as i64 } else { column as i64 - 36 };
            !(-7..7).contains(&frequency) && frequency % 2 != 0
        };
        let whole = kspace.clone();
        (0..kspace.len()).filter(|i| is_left_out(i % plane)).for_each(|i| kspace[i] = 0.0);
        let found = SampledMiddle::of(shape, &kspace, sides);
        // Of 30 columns the 8 odd ones of −15..=−8 and 7..=14 are left out.
        assert_eq!((found.share, found.full), (22.0 / 30.0, (30, 14)));
        let error = espirit(shape, &kspace, sides, &EspiritParams::default()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("73 % of the middle 30x30") && error.contains("30,14"), "{error}");
        assert!(espirit(shape, &kspace, (24, 14), &EspiritParams::default()).is_ok());
        // A line in one coil alone is a measured one, and a single value tells nothing.
        let mut one = whole.clone();
        (0..2 * plane).filter(|i| i % SHAPE.width == 3).for_each(|i| one[i] = 0.0);
        (0..8).for_each(|channel| one[channel * plane + 2] = 0.0);
        assert!(SampledMiddle::of(shape, &one, sides).check(12).is_ok());
        // Frequencies in the middle, of which the corners, where 0 would be, were not measured.
        let centred: Vec<f64> = (0..whole.len())
            .map(|i| {
                let (row, column) = (i / SHAPE.width % SHAPE.height, i % SHAPE.width);
                let is_seen = (8..32).contains(&row) && (6..30).contains(&column);
                if is_seen { whole[i] } else { 0.0 }
            })
            .collect();
        let error = SampledMiddle::of(shape, &centred, sides).check(12).unwrap_err().to_string();
        assert!(error.contains("ifftshift"), "{error}");
    }

    #[test]
    fn what_is_no_calibration_is_told() {
        let shape = Shape { channels: 8, ..SHAPE };
        let (mut kspace, _) = simulated();
        let told = |kspace: &[f64], sides, params| {
            espirit(shape, kspace, sides, &params).unwrap_err().to_string()
        };
        let usual = EspiritParams::default();
        assert!(told(&kspace, (24, 11), usual).contains("is 11: it must be at least"));
        assert!(told(&kspace, (41, 24), usual).contains("is 41"));
        assert!(told(&vec![0.0; shape.len()], (24, 24), usual).contains("middle of k-space are 0"));
        assert!(told(&kspace, (24, 24), EspiritParams { kernel: 1, ..usual }).contains("is 1"));
        assert!(told(&kspace, (24, 24), EspiritParams { signal: 1.0, ..usual }).contains("is 1"));
        assert!(told(&kspace, (24, 24), EspiritParams { crop: -0.5, ..usual }).contains("-0.5"));
        kspace[7] = f64::NAN;
        assert!(told(&kspace, (24, 24), usual).contains("NaN"));
    }
}

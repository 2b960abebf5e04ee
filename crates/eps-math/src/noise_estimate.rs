//! σ_y from the measurement itself, where the operator leaves something of y to the noise alone.
//!
//! | what is looked at | for |
//! |---|---|
//! | the part of y outside of the range of A | matrices with more rows than rank |
//! | frequencies that a blur takes away | blurs that wrap around |
//! | the finest details of y, less what coarser ones say of the image there | pictures: blurs, means, grey, most masks |
//! | differences of neighbours, less what farther pixels say | masks of scattered pixels |

use rustfft::num_complex::Complex;

use crate::operator::fourier_plane::FourierPlane;
use crate::operator::{
    EigenForm, LinearMap as _, OperatorKind, OperatorSpec, PreparedOperator, Spectral,
    measured_entries,
};
use crate::{MathError, Shape};

/// An estimate of σ_y for white noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SigmaEstimate {
    /// σ_y.
    pub sigma_y: f64,
    /// Its standard error: chance, and as much as was taken off for the image.
    pub standard_error: f64,
    /// From what it comes.
    pub source: SigmaSource,
    /// The number of values that it comes from.
    pub values: usize,
}

/// What tells the noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SigmaSource {
    /// The part of y that no image explains.
    OutsideOfRange,
    /// Frequencies that the blur takes away.
    SilentFrequencies,
    /// The finest diagonal details.
    FinestDetails,
    /// Differences of neighbours.
    Neighbours,
}

impl std::fmt::Display for SigmaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OutsideOfRange => "the part of y that no image explains",
            Self::SilentFrequencies => "the frequencies that the blur takes away",
            Self::FinestDetails => "the finest details of y",
            Self::Neighbours => "differences of neighbouring pixels",
        })
    }
}

/// The median of |z| for standard normal z.
const MEDIAN: f64 = 0.674_489_750_196_081_7;

/// The standard error of σ from the median of n absolute values, times √n/σ.
const OF_MEDIAN: f64 = 1.166_5;

/// Frequencies count as taken away where |ĥ|² is below this share of the largest.
const SILENT: f64 = 1e-4;

/// The fewest values from which σ_y is told, at each scale.
const FEWEST: usize = 48;

/// σ_y of measurements by one operator, from all of them together.
///
/// # Shapes
/// y: `[N, ..range]`, NaN where nothing was measured
///
/// # Errors
/// [`MathError::NoEstimate`] where the operator leaves too little to the noise.
///
/// # Panics
/// If y is not of whole measurements.
pub fn estimate(
    spec: &OperatorSpec,
    operator: &PreparedOperator,
    y: &[f64],
) -> Result<SigmaEstimate, MathError> {
    let range = operator.map().range();
    assert!(y.len().is_multiple_of(range.len()), "{} values for measurements {range}", y.len());
    let images = || y.chunks_exact(range.len());
    let is_whole = y.iter().all(|value| value.is_finite());
    // What --denoise is inside.
    let name = if spec.is_identity() { "the identity (denoising)" } else { spec.family() };
    let cannot = |why| MathError::NoEstimate { operator: name, why };
    let is_measured = measured_entries(operator);
    if is_whole && let Some(spectral) = operator.as_spectral() {
        // Of a blur, frequencies of which little is left tell more than those of which nothing is.
        let found = match spectral.form().filter(|_| operator.kind() == OperatorKind::Blurs) {
            Some(EigenForm::Frequencies(transfer)) => silent(&transfer, range, images()),
            _ => outside_of_range(spectral, y, &is_measured),
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    if !operator.gives_picture() {
        return Err(cannot("its measurement is no picture and has no part that no image explains"));
    }
    let planes: Vec<Plane> = images()
        .flat_map(|y| {
            let seen: Vec<f64> = y
                .iter()
                .enumerate()
                .map(|(i, value)| if is_measured[i] { *value } else { f64::NAN })
                .collect();
            let of = |values: &[f64]| Plane { width: range.width, values: values.to_vec() };
            seen.chunks_exact(range.plane()).map(of).collect::<Vec<_>>()
        })
        .collect();
    let found = finest_details(&planes)
        .or_else(|| neighbours(&planes))
        .ok_or_else(|| cannot("too few of its values have neighbours that were measured"))?;
    if found.standard_error > 0.5 * found.sigma_y {
        return Err(cannot("its finest details are the image's as much as the noise's"));
    }
    Ok(found)
}

/// From ‖y − A A†y‖², which is σ_y² times the number of measured values less the rank, in the mean.
fn outside_of_range(
    operator: &dyn Spectral,
    y: &[f64],
    is_measured: &[bool],
) -> Option<SigmaEstimate> {
    let rank = operator.eigenvalues().iter().filter(|lambda| **lambda > 0.0).count();
    let images = y.len() / is_measured.len();
    let measured = is_measured.iter().filter(|is_measured| **is_measured).count();
    let values = images * measured.saturating_sub(rank);
    if values < FEWEST {
        return None;
    }
    let squares: f64 = y
        .chunks_exact(is_measured.len())
        .map(|y| {
            let explained = operator.apply(&operator.pseudo_inverse(y));
            let left = y.iter().zip(explained).map(|(y, a)| (y - a).powi(2));
            left.zip(is_measured)
                .filter(|(_, is_measured)| **is_measured)
                .map(|(s, _)| s)
                .sum::<f64>()
        })
        .sum();
    let sigma_y = (squares / values as f64).sqrt();
    let standard_error = sigma_y / (2.0 * values as f64).sqrt();
    Some(SigmaEstimate { sigma_y, standard_error, source: SigmaSource::OutsideOfRange, values })
}

/// |ĥ|² and the power |F y|²/(height · width) of every channel of y at one of each two opposite frequencies.
fn powers(transfer: &[(f64, f64)], waves: &FourierPlane, y: &[f64]) -> Vec<(f64, f64)> {
    let n = transfer.len();
    let mut powers = Vec::with_capacity(y.len() / 2);
    for channel in y.chunks_exact(n) {
        let mut spectrum: Vec<_> = channel.iter().map(|v| Complex::new(*v, 0.0)).collect();
        waves.forward(&mut spectrum);
        let half = (0..n).filter(|i| *i < waves.opposite(*i));
        powers.extend(half.map(|i| {
            let (re, im) = transfer[i];
            (re * re + im * im, spectrum[i].norm_sqr() / n as f64)
        }));
    }
    powers
}

/// From the median power of frequencies of which the blur leaves next to nothing; `transfer` is ĥ.
fn silent<'a>(
    transfer: &[(f64, f64)],
    shape: Shape,
    images: impl Iterator<Item = &'a [f64]>,
) -> Option<SigmaEstimate> {
    let waves = FourierPlane::new(shape.height, shape.width);
    let mut powers: Vec<(f64, f64)> = images.flat_map(|y| powers(transfer, &waves, y)).collect();
    let largest = powers.iter().map(|(lambda, _)| *lambda).fold(0.0, f64::max);
    powers.retain(|(lambda, _)| *lambda <= SILENT * largest);
    let values = powers.len();
    if values < 2 * FEWEST {
        return None;
    }
    powers.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Of exponentially distributed powers.
    let of = |powers: &[(f64, f64)]| {
        let mut powers: Vec<f64> = powers.iter().map(|(_, power)| *power).collect();
        (median(&mut powers) / std::f64::consts::LN_2).sqrt()
    };
    let by_chance = |n: usize| 0.5 / std::f64::consts::LN_2 / (n as f64).sqrt();
    let (quieter, louder) = powers.split_at(values / 2);
    // What the image still has where the blur leaves more.
    let (quieter, louder, all) = (of(quieter), of(louder), of(&powers));
    let significant = 3.0 * by_chance(values / 2) * std::f64::consts::SQRT_2 * all;
    let source = SigmaSource::SilentFrequencies;
    Some(if louder - quieter > significant {
        let chance = by_chance(values / 2) * quieter;
        let standard_error = chance.hypot(0.5 * (louder - quieter));
        SigmaEstimate { sigma_y: quieter, standard_error, source, values: values / 2 }
    } else {
        SigmaEstimate { sigma_y: all, standard_error: by_chance(values) * all, source, values }
    })
}

/// One channel, NaN where nothing was measured.
#[derive(Clone)]
struct Plane {
    width: usize,
    values: Vec<f64>,
}

impl Plane {
    /// The diagonal details of its whole 2×2 blocks, and their sums, halved: white noise keeps its σ in both.
    fn halved(&self) -> (Vec<f64>, Self) {
        let (width, height) = (self.width / 2, self.values.len() / self.width.max(1) / 2);
        let mut details = Vec::new();
        let mut values = Vec::with_capacity(width * height);
        for i in 0..width * height {
            let first = (i / width) * 2 * self.width + i % width * 2;
            let [a, b, c, d] = [first, first + 1, first + self.width, first + self.width + 1]
                .map(|i| self.values[i]);
            let detail = 0.5 * (a - b - c + d);
            if detail.is_finite() {
                details.push(detail.abs());
            }
            values.push(0.5 * (a + b + c + d));
        }
        (details, Self { width, values })
    }

    /// |a − b − c + d|/2 of the corners of all squares of side `apart`.
    fn corners(&self, apart: usize) -> Vec<f64> {
        let (width, n) = (self.width, self.values.len());
        (0..n.saturating_sub(apart * width))
            .filter(|i| i % width + apart < width)
            .map(|i| {
                let below = i + apart * width;
                let [a, b, c, d] = [i, i + apart, below, below + apart].map(|i| self.values[i]);
                0.5 * (a - b - c + d).abs()
            })
            .filter(|detail| detail.is_finite())
            .collect()
    }

    /// |a − b|/√2 of all pixels `apart` in a row or a column.
    fn differences(&self, apart: usize) -> Vec<f64> {
        let (width, n) = (self.width, self.values.len());
        let across = (0..n).filter(|i| i % width + apart < width).map(|i| (i, i + apart));
        let down = (0..n.saturating_sub(apart * width)).map(|i| (i, i + apart * width));
        across
            .chain(down)
            .map(|(i, j)| (self.values[i] - self.values[j]).abs() * std::f64::consts::FRAC_1_SQRT_2)
            .filter(|difference| difference.is_finite())
            .collect()
    }
}

/// Absolute values of one kind of detail at three scales, each twice as coarse as the one before.
type Scales = [Vec<f64>; 3];

/// From the finest diagonal details.
fn finest_details(planes: &[Plane]) -> Option<SigmaEstimate> {
    let source = SigmaSource::FinestDetails;
    let mut coarser = planes.to_vec();
    let scales: Scales = std::array::from_fn(|_| {
        let (details, halved): (Vec<_>, Vec<_>) = coarser.iter().map(Plane::halved).unzip();
        coarser = halved;
        details.concat()
    });
    if scales[1].len() >= FEWEST {
        // A photograph's details grow by about 2 a scale, so their variances by 4.
        return extrapolated(scales, Growth { least: 2.0, usual: 4.0, most: 16.0 }, 1.0, source);
    }
    // Of squares with gaps between them the means of blocks are not known. Each pixel is in four squares.
    let scales = [1, 2, 4]
        .map(|apart| planes.iter().flat_map(|plane| plane.corners(apart)).collect::<Vec<f64>>());
    extrapolated(scales, Growth { least: 1.4, usual: 2.0, most: 4.0 }, 0.25, source)
}

/// From differences of neighbours.
fn neighbours(planes: &[Plane]) -> Option<SigmaEstimate> {
    let scales = [1, 2, 4].map(|apart| {
        planes.iter().flat_map(|plane| plane.differences(apart)).collect::<Vec<f64>>()
    });
    let growth = Growth { least: 1.4, usual: 2.0, most: 4.0 };
    extrapolated(scales, growth, 0.25, SigmaSource::Neighbours)
}

/// The factor by which an image's share of the variance grows from a scale to the next.
struct Growth {
    least: f64,
    usual: f64,
    most: f64,
}

/// σ of absolute values of a normal law among a few larger ones: from the median of those below 3 σ.
fn robust(mut details: Vec<f64>) -> f64 {
    let mut sigma = f64::INFINITY;
    for _ in 0..4 {
        details.retain(|detail| *detail <= 3.0 * sigma);
        sigma = median(&mut details) / MEDIAN;
    }
    sigma
}

/// σ² + s(k) at scale k, s growing by one factor ρ a scale: σ² = v₀ − (v₁ − v₀)/(ρ − 1), ρ = (v₂ − v₁)/(v₁ − v₀).
///
/// `independent` is the share of the details that counts.
fn extrapolated(
    scales: Scales,
    growth: Growth,
    independent: f64,
    source: SigmaSource,
) -> Option<SigmaEstimate> {
    let counts = scales.each_ref().map(Vec::len);
    if counts[0] < FEWEST {
        return None;
    }
    let [v0, v1, v2] = scales.map(|details| robust(details).powi(2));
    let error = |v: f64, n: usize| 2.0 * OF_MEDIAN * v / (independent * n as f64).sqrt();
    let by_chance = error(v0, counts[0]);
    let unsure = by_chance.hypot(error(v1, counts[1].max(1)));
    let is_seen = counts[1] >= FEWEST && v1 - v0 > 2.0 * unsure;
    let (of_image, in_doubt) = if is_seen {
        let known = counts[2] >= FEWEST && v2 > v1;
        let ratio = if known { (v2 - v1) / (v1 - v0) } else { growth.usual };
        let of_image = (v1 - v0) / (ratio.clamp(growth.least, growth.most) - 1.0);
        // Scales of an image are not that regular: as much as was taken off may be wrong.
        (of_image.min(0.95 * v0), of_image)
    } else {
        // What is not seen may still be there.
        (0.0, 0.5 * unsure / (growth.usual - 1.0))
    };
    let sigma_y = (v0 - of_image).sqrt();
    let standard_error =
        if sigma_y > 0.0 { by_chance.hypot(in_doubt) / (2.0 * sigma_y) } else { 0.0 };
    // Of neighbours alone fine texture cannot be told from noise.
    let least = if source == SigmaSource::Neighbours { 0.2 } else { 0.0 };
    let standard_error = standard_error.clamp(least * sigma_y, v0.sqrt());
    Some(SigmaEstimate { sigma_y, standard_error, source, values: counts[0] })
}

/// The median, 0 of nothing.
fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

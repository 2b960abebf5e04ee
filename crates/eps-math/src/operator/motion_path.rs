//! Blurs of a hand that shakes.

use super::kernel::Kernel;
use super::resize::ResizeFilter;
use crate::cholesky::transposed;
use crate::rng::Stream;
use crate::{MathError, whole};

impl Kernel {
    /// The path of a camera that shakes, a random walk of headings (L. Borodenko's generator, by which DPS and DAPS blur).
    ///
    /// On a canvas of twice the side, whose diagonal is d: steps are Beta(1, 30) (1 − I + 0.1) d long and added up to a length
    /// that is drawn up to 0.75 d (1 + I²); headings, absolute and at most I π at first, are drawn from a triangle around I α and change
    /// their sign with a probability that is drawn too. The path is moved to its mean, turned, drawn as a line ⌊d/150⌋ wide,
    /// blurred by a Gaussian of ⌊d/100⌋ (none at sides below 36) and reduced to the side by Lanczos' filter.
    ///
    /// Mended against the original: lines are at least 1 wide, where sides below 54 make them 0 wide, which newer versions of Pillow do
    /// not draw, so that the kernel is 0/0; a path of a single point is drawn; lines are antialiased, and nothing is rounded to 256
    /// levels. The kernel is a function of the stream alone.
    ///
    /// # Units
    /// `side` in pixels, odd; `intensity` I from 0, a straight line, to 1.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a side that is even or above 255, and an intensity outside [0, 1].
    pub fn motion_path(side: usize, intensity: f64, stream: &Stream) -> Result<Self, MathError> {
        if side.is_multiple_of(2) || side > LARGEST {
            return Err(MathError::OutOfRange {
                what: "the side of the motion's path",
                value: side as f64,
                range: "odd and at most 255",
            });
        }
        if !(0.0..=1.0).contains(&intensity) {
            return Err(MathError::OutOfRange {
                what: "the intensity of the motion's path",
                value: intensity,
                range: "from 0 to 1",
            });
        }
        let canvas = 2 * side;
        let diagonal = std::f64::consts::SQRT_2 * canvas as f64;
        let points = path(diagonal, intensity, stream);
        let drawn = drawn(&points, canvas, (diagonal / 150.0).floor().max(1.0));
        let blurred = blurred(drawn, canvas, (0.01 * diagonal).floor());
        // Lanczos' filter has negative lobes, weights have not.
        let weights = ResizeFilter::Lanczos.matrix(canvas, side);
        let rows = product(&weights, &blurred, canvas);
        let taps = product(&weights, &transposed(&rows, canvas), canvas);
        let taps = transposed(&taps, side).into_iter().map(|tap| tap.max(0.0)).collect();
        Self::new(side, side, taps)?.of_sum_1()
    }
}

/// The largest side: that of the canvas is twice as much.
const LARGEST: usize = 255;

/// Most steps of a path: their mean is d/31 of at most 1.5 d, so that this many are never needed.
const MOST_STEPS: usize = 10_000;

/// The points of the path around its mean, (row, column), in pixels of the canvas.
fn path(diagonal: f64, intensity: f64, stream: &Stream) -> Vec<(f64, f64)> {
    let mut index = 0;
    let mut uniform = || {
        index += 1;
        stream.uniform(index - 1)
    };
    let longest = 0.75 * diagonal * (uniform() + intensity * intensity * uniform());
    let mut steps = Vec::new();
    let mut length = 0.0;
    for _ in 0..MOST_STEPS {
        if length >= longest {
            break;
        }
        // Beta(1, b) has the distribution function 1 − (1 − x)ᵇ.
        let share = 1.0 - (1.0 - uniform()).powf(1.0 / 30.0);
        let step = share * (1.0 - intensity + 0.1) * diagonal;
        if step < longest {
            length += step;
            steps.push(step);
        }
    }
    let widest = uniform() * intensity * std::f64::consts::PI;
    // Beta(2, 20) is the second of 21 uniforms.
    let mut draws: Vec<f64> = (0..21).map(|_| uniform()).collect();
    draws.sort_by(f64::total_cmp);
    let flip = draws[1];
    let mut angle = widest * (2.0 * uniform() - 1.0);
    let mut at = (0.0, 0.0);
    let mut points = Vec::with_capacity(steps.len());
    if steps.is_empty() {
        // A length of 0 was drawn.
        points.push(at);
    }
    for step in steps {
        // Rows grow downwards.
        at = (at.0 - step * angle.sin(), at.1 + step * angle.cos());
        points.push(at);
        let size = triangular(uniform(), intensity * widest, widest + 0.1);
        let sign = if uniform() < flip { -angle.signum() } else { angle.signum() };
        angle = sign * size;
    }
    let count = points.len() as f64;
    let mean = points.iter().fold((0.0, 0.0), |m, p| (m.0 + p.0 / count, m.1 + p.1 / count));
    let (sin, cos) = (uniform() * std::f64::consts::PI).sin_cos();
    let turned = |(row, column): (f64, f64)| {
        let (row, column) = (row - mean.0, column - mean.1);
        (row * cos - column * sin, row * sin + column * cos)
    };
    points.into_iter().map(turned).collect()
}

/// A number from 0 to `most` whose density is a triangle with its tip at `mode`, by a uniform number.
fn triangular(uniform: f64, mode: f64, most: f64) -> f64 {
    if uniform * most < mode {
        (uniform * most * mode).sqrt()
    } else {
        most - ((1.0 - uniform) * most * (most - mode)).sqrt()
    }
}

/// A line through points around the canvas's centre, 1 inside and falling to 0 over the pixel at its edge.
fn drawn(points: &[(f64, f64)], canvas: usize, width: f64) -> Vec<f64> {
    let centre = (canvas as f64 - 1.0) / 2.0;
    let reach = width / 2.0 + 0.5;
    let mut plane = vec![0.0f64; canvas * canvas];
    let single = [points[0], points[0]];
    let lines = if points.len() > 1 { points } else { &single };
    for pair in lines.windows(2) {
        let place = |p: (f64, f64)| (p.0 + centre, p.1 + centre);
        let (from, to) = (place(pair[0]), place(pair[1]));
        let (along, across) = (to.0 - from.0, to.1 - from.1);
        let square = along * along + across * across;
        let pixels = |a: f64, b: f64| {
            let last = canvas as f64 - 1.0;
            let first = (a.min(b) - reach).ceil().clamp(0.0, last);
            whole(first)..=whole((a.max(b) + reach).floor().clamp(0.0, last))
        };
        for row in pixels(from.0, to.0) {
            for column in pixels(from.1, to.1) {
                let (r, c) = (row as f64 - from.0, column as f64 - from.1);
                let share = if square > 0.0 {
                    ((r * along + c * across) / square).clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let distance = (r - share * along).hypot(c - share * across);
                let value = &mut plane[row * canvas + column];
                *value = value.max((reach - distance).clamp(0.0, 1.0));
            }
        }
    }
    plane
}

/// A Gaussian blur with zeros beyond the edges, none for a width of 0.
fn blurred(plane: Vec<f64>, side: usize, sigma: f64) -> Vec<f64> {
    if sigma == 0.0 {
        return plane;
    }
    let weight = |from: usize, to: usize| {
        let distance = from as f64 - to as f64;
        (-0.5 * (distance / sigma).powi(2)).exp()
    };
    let matrix: Vec<f64> = (0..side * side).map(|i| weight(i / side, i % side)).collect();
    let rows = product(&matrix, &plane, side);
    transposed(&product(&matrix, &transposed(&rows, side), side), side)
}

/// The product of two row-major matrices, of which the first has `inner` columns.
fn product(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    let columns = b.len() / inner;
    let row = |a: &[f64]| {
        let mut sum = vec![0.0; columns];
        for (weight, line) in a.iter().zip(b.chunks_exact(columns)) {
            sum.iter_mut().zip(line).for_each(|(sum, b)| *sum += weight * b);
        }
        sum
    };
    a.chunks_exact(inner).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The widths of kernels are those that 300 draws of the original have with the Pillow that draws them: in pixels, the median along
    /// the major and the minor axis.
    #[test]
    fn paths_have_the_widths_of_the_original() {
        for (side, minor, major) in [(61, 0.96, 10.5), (17, 0.60, 3.4), (9, 0.57, 1.7)] {
            let mut widths: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
            for seed in 0..200 {
                let stream = Stream::named(seed, "motion path");
                let kernel = Kernel::motion_path(side, 0.5, &stream).unwrap();
                assert!((kernel.taps().iter().sum::<f64>() - 1.0).abs() < 1e-12);
                assert!(kernel.taps().iter().all(|tap| *tap >= 0.0));
                let [short, long] = axes(&kernel);
                widths[0].push(short);
                widths[1].push(long);
            }
            let [short, long] = widths.map(|mut widths| {
                widths.sort_by(f64::total_cmp);
                widths[100]
            });
            println!("{side}: {short} {long}");
            // Medians of 200 widths whose spread is half of them are known to some 5 %, those of 300 to 4 %; antialiased lines
            // are a little wider than whole pixels where all of the kernel is a pixel wide.
            assert!((long / major - 1.0).abs() < 0.2, "{side}: {long}");
            assert!((short / minor - 1.0).abs() < 0.35, "{side}: {short}");
        }
    }

    /// The standard deviations along the principal axes.
    fn axes(kernel: &Kernel) -> [f64; 2] {
        let side = kernel.columns();
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            let taps = kernel.taps().iter().enumerate();
            taps.map(|(i, tap)| tap * of((i / side) as f64, (i % side) as f64)).sum()
        };
        let (row, column) = (sum(&|r, _| r), sum(&|_, c| c));
        let (rr, cc) = (sum(&|r, _| (r - row).powi(2)), sum(&|_, c| (c - column).powi(2)));
        let rc = sum(&|r, c| (r - row) * (c - column));
        let (mean, spread) = ((rr + cc) / 2.0, (((rr - cc) / 2.0).powi(2) + rc * rc).sqrt());
        [(mean - spread).max(0.0).sqrt(), (mean + spread).sqrt()]
    }

    #[test]
    fn a_path_is_a_function_of_its_stream() {
        let draw =
            |seed| Kernel::motion_path(15, 0.5, &Stream::named(seed, "motion path")).unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        for (side, intensity) in [(14, 0.5), (257, 0.5), (15, -0.1), (15, 1.1), (15, f64::NAN)] {
            let error = Kernel::motion_path(side, intensity, &Stream::named(0, "a")).unwrap_err();
            assert!(error.to_string().contains("motion's path"), "{error}");
        }
        for seed in 0..20 {
            for (side, intensity) in [(1, 0.0), (3, 1.0), (5, 0.0), (255, 1.0)] {
                let stream = Stream::named(seed, "motion path");
                assert!(
                    Kernel::motion_path(side, intensity, &stream).is_ok(),
                    "{side} {intensity}"
                );
            }
        }
    }
}

//! Resizing as Pillow does it, to the last bit.
//!
//! The filter is Lanczos' of order 3, widened by the factor of reduction so that nothing aliases. The
//! passes over columns and rows are separate, each with weights of 22 fractional bits and a result of 8
//! bits, which is Pillow's arithmetic (`src/libImaging/Resample.c`) and therefore that of data sets made
//! with it. Integers also give the same pixels on every machine.

use eps_math::operator::ResizeFilter;

use crate::Raster;

const LOBES: f64 = 3.0;

/// Fractional bits of the weights: two bits of headroom beside 8 of the pixels.
const WEIGHT_BITS: u32 = 32 - 8 - 2;

/// A picture of another size.
///
/// ```text
/// y_i = Σ_j w_ij x_j,   w_ij ∝ L((j + ½ − (i + ½) s)/max(s, 1)),   s = old/new
/// L(t) = sinc(t) sinc(t/3) for |t| < 3, else 0
/// ```
///
/// # Shapes
///
/// `[height, width, C]` from any size.
///
/// # Panics
///
/// Where `width` or `height` is 0.
pub fn lanczos(raster: &Raster, width: usize, height: usize) -> Raster {
    assert!(width > 0 && height > 0, "a picture of {width} x {height} pixels");
    let channels = raster.channels();
    let columns = weights(raster.width(), width);
    let mut rows_done = Vec::with_capacity(raster.height() * width * channels);
    for row in raster.bytes().chunks_exact(raster.width() * channels) {
        for Window { start, weights } in &columns {
            let mut sums = [HALF; 3];
            let pixels = row[start * channels..].chunks_exact(channels);
            for (pixel, weight) in pixels.zip(weights) {
                for (sum, &v) in sums.iter_mut().zip(pixel) {
                    *sum += weight * i32::from(v);
                }
            }
            rows_done.extend(sums[..channels].iter().map(|&sum| byte(sum)));
        }
    }
    let line = width * channels;
    let mut bytes = Vec::with_capacity(height * line);
    let mut sums = vec![0; line];
    for Window { start, weights } in weights(raster.height(), height) {
        sums.fill(HALF);
        for (row, weight) in rows_done[start * line..].chunks_exact(line).zip(&weights) {
            for (sum, &v) in sums.iter_mut().zip(row) {
                *sum += weight * i32::from(v);
            }
        }
        bytes.extend(sums.iter().map(|&sum| byte(sum)));
    }
    Raster::of(width, height, channels, bytes)
}

/// What is added so that dropping the fractional bits rounds.
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

#[expect(clippy::cast_sign_loss, reason = "clamped to 0 to 255")]
fn byte(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

/// The old pixels that a new one is made of.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` gives 0 below 0, and pixels and weights are far below 2^31"
)]
fn weights(old: usize, new: usize) -> Vec<Window> {
    let scale = old as f64 / new as f64;
    let stretch = scale.max(1.0);
    let support = LOBES * stretch;
    (0..new)
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            let start = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(old);
            let values: Vec<f64> = (start..end)
                .map(|j| ResizeFilter::Lanczos.value((j as f64 - centre + 0.5) * (1.0 / stretch)))
                .collect();
            let sum: f64 = values.iter().sum();
            // `round` takes halves away from zero, as Pillow does.
            let fixed = |v: f64| (v / sum * f64::from(1 << WEIGHT_BITS)).round() as i32;
            Window { start, weights: values.into_iter().map(fixed).collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raster(width: usize, height: usize, channels: usize) -> Raster {
        let bytes = (0..width * height * channels).map(|i| (i * 97 % 256) as u8).collect();
        Raster::of(width, height, channels, bytes)
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        for channels in [1, 3] {
            let picture = raster(7, 5, channels);
            assert_eq!(lanczos(&picture, 7, 5), picture);
        }
    }

    #[test]
    fn a_constant_stays_constant() {
        for v in [0, 1, 128, 254, 255] {
            let picture = Raster::of(50, 31, 3, vec![v; 50 * 31 * 3]);
            for (width, height) in [(7, 5), (50, 60), (1, 1), (99, 2)] {
                assert!(lanczos(&picture, width, height).bytes().iter().all(|&w| w == v));
            }
        }
    }

    #[test]
    fn mirroring_and_resizing_commute() {
        let picture = raster(23, 17, 1);
        let mirrored = |r: &Raster| {
            let rows = r.bytes().chunks_exact(r.width());
            let bytes = rows.flat_map(|row| row.iter().rev().copied()).collect();
            Raster::of(r.width(), r.height(), 1, bytes)
        };
        let there = mirrored(&lanczos(&picture, 9, 8));
        let back = lanczos(&mirrored(&picture), 9, 8);
        // Halves of the last fractional bit are rounded up on both sides.
        assert!(there.bytes().iter().zip(back.bytes()).all(|(a, b)| a.abs_diff(*b) <= 1));
    }
}

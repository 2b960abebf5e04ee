//! Images that are larger than what a network was trained on, or than memory allows: the network in overlapping windows.

use std::f64::consts::FRAC_PI_2;

use eps_math::rng::mix;
use tch::{Device, Kind, Tensor};

use crate::ModelError;
use crate::extent::extent;

/// How a network is asked about parts of an image, whose answers are blended.
///
/// Windows of `side`² pixels overlap by a quarter of that at least. Their answers are averaged under weights that fall to
/// the edges of a window as sin², so that no pixel has its answer from an edge alone but at the edges of the image. Where
/// the windows lie is a function of the noise level: it moves from step to step of a sampler, and an error at the edges
/// of windows is averaged out. The windows at the edges of the image lie still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    side: usize,
    overlap: usize,
    at_once: usize,
}

impl Windows {
    /// Windows of `side`² pixels that overlap by a quarter of their side, `at_once` of them in a pass of the network.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a side that is not a positive multiple of `multiple`, the network's
    /// ([`UNet::size_multiple`](crate::UNetConfig::size_multiple)), or below 16, and for passes of no window.
    pub fn new(side: usize, multiple: usize, at_once: usize) -> Result<Self, ModelError> {
        let refused = |field, value: usize, requirement: String| {
            Err(ModelError::Config { field, value: value.to_string(), requirement })
        };
        if side < 16 || !side.is_multiple_of(multiple.max(1)) {
            let needed = format!("a multiple of {multiple}, at least 16 pixels");
            return refused("the side of a window", side, needed);
        }
        if at_once == 0 {
            return refused("the number of windows in a pass", at_once, "at least 1".to_owned());
        }
        Ok(Self { side, overlap: side / 4, at_once })
    }

    /// The side of a window, in pixels.
    #[must_use]
    pub fn side(&self) -> usize {
        self.side
    }

    /// Whether an image has more than one window.
    #[must_use]
    pub fn split(&self, height: usize, width: usize) -> bool {
        height > self.side || width > self.side
    }

    /// How many windows an image has, where the grid is not moved.
    #[must_use]
    pub fn count(&self, height: usize, width: usize) -> usize {
        self.starts(height, 0).len() * self.starts(width, 0).len()
    }

    /// Where windows begin along a side of `length` pixels, when the grid is moved by `offset`.
    fn starts(&self, length: usize, offset: usize) -> Vec<usize> {
        let Some(last) = length.checked_sub(self.side).filter(|last| *last > 0) else {
            return vec![0];
        };
        let stride = self.side - self.overlap;
        let mut starts = vec![0];
        let mut next = stride - offset % stride;
        while next < last {
            starts.push(next);
            next += stride;
        }
        starts.push(last);
        starts
    }

    /// The weights of a window's lines, `[side]`, in f64.
    fn weights(&self, length: usize, device: Device) -> Tensor {
        let side = self.side.min(length);
        let ramp = self.overlap as f64;
        let weight = |line: usize| {
            let inside = (line.min(side - 1 - line) as f64 + 0.5) / ramp;
            (FRAC_PI_2 * inside.min(1.0)).sin().powi(2)
        };
        let weights: Vec<f64> = (0..side).map(weight).collect();
        Tensor::from_slice(&weights).to_device(device)
    }

    /// The answers of a function of windows, blended.
    ///
    /// `of_passes` gets `passes` passes at most, which may be asked at once, and answers in their order. What is
    /// returned does not depend on their number, to the last bit. `key` moves the windows.
    ///
    /// # Shapes
    /// x: `[B, C, H, W]`; windows `[n, C, h, w]` → `[n, C', h, w]`; returns `[B, C', H, W]` in f32.
    pub(crate) fn blended(
        &self,
        x: &Tensor,
        key: u64,
        passes: usize,
        mut of_passes: impl FnMut(Vec<Pass>) -> Vec<Tensor>,
    ) -> Tensor {
        let size = x.size();
        let (batch, height, width) = (size[0], size[2], size[3]);
        let (rows, columns) = (side_of(height), side_of(width));
        let (down, across) = (offset(key, 1), offset(key, 2));
        let (tops, lefts) = (self.starts(rows, down), self.starts(columns, across));
        let (h, w) = (extent(self.side.min(rows)), extent(self.side.min(columns)));
        let weights =
            self.weights(rows, x.device()).unsqueeze(1) * self.weights(columns, x.device());
        let weights = weights.to_kind(Kind::Float).unsqueeze(0);
        let mut sum: Option<Tensor> = None;
        let total = Tensor::zeros([1, height, width], (Kind::Float, x.device()));
        let places: Vec<(i64, i64, i64)> = tops
            .iter()
            .flat_map(|top| lefts.iter().map(move |left| (extent(*top), extent(*left))))
            .flat_map(|(top, left)| (0..batch).map(move |image| (image, top, left)))
            .collect();
        let cut = |of: &Tensor, top, left| of.narrow(-2, top, h).narrow(-1, left, w);
        let pass_of = |places: &[(i64, i64, i64)]| {
            let windows: Vec<Tensor> =
                places.iter().map(|(image, top, left)| cut(&x.get(*image), *top, *left)).collect();
            let images = places.iter().map(|(image, ..)| *image).collect();
            Pass { windows: Tensor::stack(&windows, 0), images }
        };
        for round in places.chunks(self.at_once * passes.max(1)) {
            let asked = round.chunks(self.at_once).map(pass_of).collect();
            let answers = of_passes(asked);
            let answers = answers.iter().flat_map(|pass| (0..pass.size()[0]).map(|i| pass.get(i)));
            for (answer, (image, top, left)) in answers.zip(round) {
                let answer = answer.to_kind(Kind::Float);
                let sum = sum.get_or_insert_with(|| {
                    let whole = [batch, answer.size()[0], height, width];
                    Tensor::zeros(whole, (Kind::Float, x.device()))
                });
                // Views of the sums: adding to them adds to the sums.
                let _ = cut(&sum.get(*image), *top, *left).g_add_(&(answer * &weights));
                if *image == 0 {
                    let _ = cut(&total, *top, *left).g_add_(&weights);
                }
            }
        }
        sum.expect("an image has at least one window") / total
    }
}

/// Windows of which a network is asked in one pass.
#[derive(Debug)]
pub(crate) struct Pass {
    /// `[n, C, h, w]`
    pub(crate) windows: Tensor,
    /// The number of each window's image in the batch.
    pub(crate) images: Vec<i64>,
}

/// A side of a tensor, which is not negative.
fn side_of(length: i64) -> usize {
    usize::try_from(length).unwrap_or(0)
}

/// How far the grid is moved along an axis.
fn offset(key: u64, axis: u64) -> usize {
    // 16 bits: more than any stride needs, and the same on every platform.
    usize::from((mix(key.wrapping_add(axis)) >> 48) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(batch: i64, height: i64, width: i64) -> Tensor {
        let count = batch * 2 * height * width;
        (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.37)
            .sin()
            .view([batch, 2, height, width])
    }

    /// [`Windows::blended`], a pass at a time.
    fn blended(
        windows: Windows,
        x: &Tensor,
        key: u64,
        mut of_windows: impl FnMut(&Tensor, &[i64]) -> Tensor,
    ) -> Tensor {
        windows.blended(x, key, 1, |passes| {
            assert_eq!(passes.len(), 1);
            passes.iter().map(|pass| of_windows(&pass.windows, &pass.images)).collect()
        })
    }

    /// The largest difference of two tensors.
    fn gap(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn windows_are_counted() {
        let windows = Windows::new(32, 4, 3).unwrap();
        // Every 24 pixels, and one at the end.
        let counts = [(32, 32), (33, 32), (80, 56), (81, 1)].map(|(h, w)| windows.count(h, w));
        assert_eq!(counts, [1, 2, 3 * 2, 4]);
        // As many as a pass of one image asks about.
        let mut asked = 0;
        let _ = blended(windows, &picture(1, 80, 56), 0, |x, images| {
            asked += images.len();
            x.shallow_clone()
        });
        assert!(asked >= windows.count(80, 56), "{asked}");
    }

    #[test]
    fn windows_cover_an_image_wherever_they_lie() {
        let windows = Windows::new(32, 4, 3).unwrap();
        for length in [1, 31, 32, 33, 56, 64, 100, 257] {
            for offset in [0, 1, 11, 23, 24, 61] {
                let starts = windows.starts(length, offset);
                assert_eq!(starts[0], 0, "{length} {offset}: {starts:?}");
                assert_eq!(starts.last().unwrap() + 32.min(length), length, "{starts:?}");
                let close = |pair: &[usize]| pair[0] < pair[1] && pair[1] - pair[0] <= 24;
                assert!(starts.windows(2).all(close), "{length} {offset}: {starts:?}");
            }
        }
    }

    #[test]
    fn blending_what_is_the_same_everywhere_changes_nothing() {
        let windows = Windows::new(16, 4, 3).unwrap();
        for (height, width) in [(40, 52), (16, 33), (8, 64), (16, 16)] {
            let x = picture(2, height, width);
            for key in 0..5 {
                let mut largest = 0;
                let blended = blended(windows, &x, key, |part, images| {
                    let size = part.size();
                    assert!(size[2] <= 16 && size[3] <= 16 && size[0] == images.len() as i64);
                    largest = largest.max(size[0]);
                    part * 3.0
                });
                // Weighted means of one value in f32.
                assert!(gap(&blended, &(&x * 3.0)) < 1e-5);
                assert!(largest <= 3);
            }
        }
    }

    /// A filter of five taps with zeros beyond the edges differs at the edges of windows alone, where weights are small:
    /// averaged over the places of windows nothing stays of them.
    #[test]
    fn seams_are_faint_and_move() {
        let windows = Windows::new(32, 4, 8).unwrap();
        let x = Tensor::ones([1, 1, 96, 96], (Kind::Float, Device::Cpu));
        let taps = Tensor::ones([1, 1, 1, 5], (Kind::Float, Device::Cpu)) / 5.0;
        let filter = |part: &Tensor| part.conv2d(&taps, None::<Tensor>, [1, 1], [0, 2], [1, 1], 1);
        let between = |image: &Tensor, first, last: i64| {
            (image.narrow(3, first, last - first) - 1.0).abs().max().double_value(&[])
        };
        // Two fifths are lost at an edge and a fifth beside it, where windows have sin²(π/32) = 0.01 and sin²(3π/32) =
        // 0.08 of the weight of another that is far from its edges; two may end side by side.
        let once = blended(windows, &x, 0, |part, _| filter(part));
        let seam = between(&once, 4, 92);
        assert!(seam > 0.01 && seam < 2.0 * 0.2 * 0.084, "{seam}");
        let worst = (0..40)
            .map(|key| between(&blended(windows, &x, key, |part, _| filter(part)), 34, 62))
            .fold(0.0, f64::max);
        let mut mean = Tensor::zeros([1, 1, 96, 96], (Kind::Float, Device::Cpu));
        for key in 0..40 {
            mean += blended(windows, &x, key, |part, _| filter(part)) / 40.0;
        }
        // Between the windows at the edges of the image, which lie still.
        let averaged = between(&mean, 34, 62);
        assert!(averaged < worst / 4.0, "{averaged} of {worst}");
    }

    #[test]
    fn each_window_is_of_its_image() {
        let windows = Windows::new(16, 4, 5).unwrap();
        let x = picture(3, 24, 40);
        let blended = blended(windows, &x, 7, |part, images| {
            part + Tensor::from_slice(images).to_kind(Kind::Float).view([-1, 1, 1, 1])
        });
        let numbers = Tensor::arange(3, (Kind::Float, Device::Cpu)).view([3, 1, 1, 1]);
        assert!(gap(&blended, &(&x + numbers)) < 1e-5);
    }

    #[test]
    fn what_is_asked_at_once_changes_no_bit() {
        let windows = Windows::new(16, 4, 2).unwrap();
        let x = picture(3, 40, 52);
        let one = blended(windows, &x, 5, |part, _| part.exp());
        for passes in [2, 3, 100] {
            let mut most = 0;
            let found = windows.blended(&x, 5, passes, |asked| {
                most = most.max(asked.len());
                asked.iter().map(|pass| pass.windows.exp()).collect()
            });
            assert!(found.equal(&one), "{passes}");
            assert!(most <= passes && most > 1, "{most} of {passes}");
        }
    }

    #[test]
    fn windows_that_do_not_fit_are_refused() {
        let refused = |side, multiple, at_once| {
            Windows::new(side, multiple, at_once).unwrap_err().to_string()
        };
        assert!(refused(8, 4, 1).contains("at least 16 pixels"));
        assert!(refused(36, 8, 1).contains("multiple of 8"));
        assert!(refused(32, 8, 0).contains("at least 1"));
    }
}

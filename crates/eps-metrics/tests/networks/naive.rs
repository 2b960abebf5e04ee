//! LPIPS and features in f64, by loops: the slow reference.

use eps_metrics::networks::{Backbone, WeightArray};

/// [C, H, W]
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) sides: [usize; 3],
    pub(crate) values: Vec<f64>,
}

impl Image {
    fn at(&self, c: usize, y: usize, x: usize) -> f64 {
        self.values[(c * self.sides[1] + y) * self.sides[2] + x]
    }

    fn from(sides: [usize; 3], value: impl Fn(usize, usize, usize) -> f64) -> Self {
        let [channels, height, width] = sides;
        let mut values = Vec::with_capacity(channels * height * width);
        for c in 0..channels {
            for y in 0..height {
                values.extend((0..width).map(|x| value(c, y, x)));
            }
        }
        Self { sides, values }
    }

    /// With zeros around it; ReLU after it.
    fn convolved(
        &self,
        kernel: &[f32],
        bias: &[f32],
        side: usize,
        stride: usize,
        pad: usize,
    ) -> Self {
        let [inputs, height, width] = self.sides;
        let [rows, columns] = [height, width].map(|n| (n + 2 * pad - side) / stride + 1);
        let mut out = Self::from([bias.len(), rows, columns], |o, _, _| f64::from(bias[o]));
        for (at, weight) in kernel.iter().enumerate() {
            let (o, i) = (at / (inputs * side * side), at / (side * side) % inputs);
            let (ky, kx) = (at / side % side, at % side);
            for y in 0..rows {
                let row = (y * stride + ky).wrapping_sub(pad);
                if row >= height {
                    continue;
                }
                for x in 0..columns {
                    let column = (x * stride + kx).wrapping_sub(pad);
                    if column < width {
                        out.values[(o * rows + y) * columns + x] +=
                            f64::from(*weight) * self.at(i, row, column);
                    }
                }
            }
        }
        out.values.iter_mut().for_each(|value| *value = value.max(0.0));
        out
    }

    fn pooled(&self, side: usize, stride: usize) -> Self {
        let [channels, height, width] = self.sides;
        let out = |n: usize| (n - side) / stride + 1;
        Self::from([channels, out(height), out(width)], |c, y, x| {
            let window = (0..side * side)
                .map(|at| self.at(c, y * stride + at / side, x * stride + at % side));
            window.fold(f64::NEG_INFINITY, f64::max)
        })
    }

    /// To three channels and at least 64 pixels a side, then LPIPS's shift and scale.
    fn prepared(&self) -> Self {
        let [channels, height, width] = self.sides;
        let scale = (64.0 / height.min(width) as f64).max(1.0);
        let [rows, columns] = [height, width].map(|n| (n as f64 * scale).round() as usize);
        // The two nearest pixels and the weight of the second, by the position of pixel centres.
        let nearest = |at: usize, from: usize, to: usize| {
            let position = ((at as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
            let first = (position as usize).min(from - 1);
            (first, (first + 1).min(from - 1), position - first as f64)
        };
        let shift = [-0.030, -0.088, -0.188];
        let deviation = [0.458, 0.448, 0.450];
        Self::from([3, rows, columns], |c, y, x| {
            let (y0, y1, v) = nearest(y, height, rows);
            let (x0, x1, u) = nearest(x, width, columns);
            let row = |y| {
                let c = c % channels;
                (1.0 - u) * self.at(c, y, x0) + u * self.at(c, y, x1)
            };
            ((1.0 - v) * row(y0) + v * row(y1) - shift[c]) / deviation[c]
        })
    }
}

/// Stages after ReLU; the last is also what is pooled.
pub(crate) fn stages(backbone: Backbone, weights: &[WeightArray], image: &Image) -> Vec<Image> {
    let array = |name: String| &weights.iter().find(|array| array.name == name).unwrap().values;
    // Channels, kernel side, stride, padding, pooling before, stage; written out once more.
    type Plan = (usize, usize, usize, usize, Option<(usize, usize)>, bool);
    let alex: Vec<Plan> = vec![
        (64, 11, 4, 2, None, true),
        (192, 5, 1, 2, Some((3, 2)), true),
        (384, 3, 1, 1, Some((3, 2)), true),
        (256, 3, 1, 1, None, true),
        (256, 3, 1, 1, None, true),
    ];
    let vgg: Vec<Plan> = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]
        .into_iter()
        .enumerate()
        .flat_map(|(block, (channels, count))| {
            (0..count).map(move |i| {
                let pool = (block > 0 && i == 0).then_some((2, 2));
                (channels, 3, 1, 1, pool, i + 1 == count)
            })
        })
        .collect();
    let plan = match backbone {
        Backbone::Alex => alex,
        Backbone::Vgg => vgg,
    };
    let mut x = image.prepared();
    let mut stages = Vec::new();
    for (i, (_, side, stride, pad, pool, is_stage)) in plan.into_iter().enumerate() {
        if let Some((side, stride)) = pool {
            x = x.pooled(side, stride);
        }
        let (kernel, bias) = (array(format!("conv{i}.weight")), array(format!("conv{i}.bias")));
        x = x.convolved(kernel, bias, side, stride, pad);
        if is_stage {
            stages.push(x.clone());
        }
    }
    stages
}

/// The mean over the image of the last stage.
pub(crate) fn features(stages: &[Image]) -> Vec<f64> {
    let last = stages.last().unwrap();
    let pixels = last.sides[1] * last.sides[2];
    last.values.chunks(pixels).map(|values| values.iter().sum::<f64>() / pixels as f64).collect()
}

/// LPIPS of two images, from their stages.
pub(crate) fn lpips(weights: &[WeightArray], a: &[Image], b: &[Image]) -> f64 {
    let mut sum = 0.0;
    for (l, (a, b)) in a.iter().zip(b).enumerate() {
        let name = format!("head{l}.weight");
        let head = &weights.iter().find(|array| array.name == name).unwrap().values;
        let [channels, height, width] = a.sides;
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let norm = |image: &Image| {
                (0..channels).map(|c| image.at(c, y, x).powi(2)).sum::<f64>().sqrt() + 1e-10
            };
            let (norm_a, norm_b) = (norm(a), norm(b));
            for (c, weight) in head.iter().enumerate() {
                let difference = a.at(c, y, x) / norm_a - b.at(c, y, x) / norm_b;
                sum += f64::from(*weight) * difference.powi(2) / (height * width) as f64;
            }
        }
    }
    sum
}

//! The scene behind a photograph: what a camera's blur reaches over its edge.

use eps_math::Shape;
use eps_math::operator::{Kernel, OperatorSpec};

use crate::{Error, Network};

/// The scene that a blurred picture is a part of, of a size that a network takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The shape of the scene: that of the image to be restored.
    pub shape: Shape,
    /// The operator on the scene.
    pub spec: OperatorSpec,
    /// The row and the column of the scene at which the picture begins.
    pub offset: (usize, usize),
    /// The shape of the picture.
    pub seen: Shape,
}

impl Scene {
    /// The scene of a picture of shape `seen`, blurred with [`Border::Valid`](eps_math::operator::Border::Valid): it is larger by the
    /// rows − 1 and columns − 1 of the largest kernel, and grows to the next size that the network takes, evenly on both sides. Windows of
    /// a grid are those of the whole scene. None for other operators, and where windows are given for one size.
    ///
    /// # Errors
    /// A kernel that is none, and a scene that is too large.
    pub fn of(seen: Shape, blur: &OperatorSpec, network: &Network) -> Result<Option<Self>, Error> {
        let Some((rows, columns)) = blur.reach() else { return Ok(None) };
        // From a side to that of the scene, to the margin outside of what any kernel sees, and to where the picture begins.
        let grown = |side: usize, taps: usize| {
            let whole = side.saturating_add(taps).saturating_sub(1);
            let side = whole.next_multiple_of(network.size_multiple());
            let margin = (side - whole) / 2;
            (side, margin, margin + taps.saturating_sub(1) - taps / 2)
        };
        let (height, top, first_row) = grown(seen.height, rows);
        let (width, left, first_column) = grown(seen.width, columns);
        let shape = Shape::new(seen.channels, height, width).map_err(eps_math::MathError::from)?;
        let crop = OperatorSpec::Crop { top, left, height: seen.height, width: seen.width };
        let spec = OperatorSpec::Chain { of: vec![blur.clone(), crop] };
        // Whether it is one.
        let _ = spec.prepare(shape)?;
        Ok(Some(Self { shape, spec, offset: (first_row, first_column), seen }))
    }

    /// The part of images of the scene that the picture shows.
    ///
    /// # Shapes
    /// `[.., C, H, W]` of the scene → `[.., C, h, w]`
    ///
    /// # Panics
    /// If the values are not whole images of the scene.
    pub fn cut(&self, values: &[f32]) -> Vec<f32> {
        let Shape { height, width, .. } = self.seen;
        let plane = self.shape.plane();
        assert!(
            values.len().is_multiple_of(plane),
            "{} values of the scene {}",
            values.len(),
            self.shape
        );
        let mut seen = Vec::with_capacity(values.len() / plane * height * width);
        for channel in values.chunks_exact(plane) {
            for row in channel.chunks_exact(self.shape.width).skip(self.offset.0).take(height) {
                seen.extend_from_slice(&row[self.offset.1..self.offset.1 + width]);
            }
        }
        seen
    }
}

/// How much larger the jump across a picture's edges may be than inside, were it to wrap around.
const JUMP: f64 = 3.0;

/// Says so where a picture that is to be deblurred as if it wrapped around does not: it jumps from one edge to the
/// opposite one, where a kernel of several taps would have blurred the jump.
///
/// # Shapes
/// y: `[C, H, W]`
pub fn wrap_note(y: &[f64], shape: Shape, kernel: &Kernel, sigma_y: f64) -> Option<String> {
    let Shape { height, width, .. } = shape;
    let reach = |down: bool| {
        // Taps that matter: the kernel may have margins of zeros.
        let largest = kernel.taps().iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        let lines: std::collections::BTreeSet<usize> = kernel
            .taps()
            .iter()
            .enumerate()
            .filter(|(_, tap)| tap.abs() > 1e-3 * largest)
            .map(|(i, _)| if down { i / kernel.columns() } else { i % kernel.columns() })
            .collect();
        lines.len()
    };
    let mean_square = |pairs: &mut dyn Iterator<Item = (usize, usize)>| {
        let (mut sum, mut count) = (0.0, 0.0);
        for (a, b) in pairs {
            for plane in y.chunks_exact(shape.plane()) {
                sum += (plane[a] - plane[b]).powi(2);
                count += 1.0;
            }
        }
        // Of two values with noise the difference has twice its variance.
        (sum / f64::max(count, 1.0) - 2.0 * sigma_y * sigma_y).max(0.0)
    };
    let floor = 0.5 * sigma_y * sigma_y + 1e-6;
    let ratio = |down: bool| {
        let (lines, along) = if down { (height, width) } else { (width, height) };
        if reach(down) < 3 || lines < 8 {
            return 0.0;
        }
        let index =
            |line: usize, at: usize| if down { line * width + at } else { at * width + line };
        let mut edge = (0..along).map(|at| (index(0, at), index(lines - 1, at)));
        let mut inside = (1..lines)
            .flat_map(|line| (0..along).map(move |at| (line, at)))
            .map(|(line, at)| (index(line, at), index(line - 1, at)));
        (mean_square(&mut edge) / (mean_square(&mut inside) + floor)).sqrt()
    };
    let (down, across) = (ratio(true), ratio(false));
    let worst = down.max(across);
    (worst > JUMP).then(|| {
        let edges = if down > across { "upper and lower" } else { "left and right" };
        format!(
            "between its {edges} edges the measurement jumps {worst:.0} times as much as between neighbours inside, which \
             a blur that wraps around would have smoothed: a photograph's blur does not wrap around, and restoring it as \
             if it did makes it ring; give --border valid (or reflect, symmetric, replicate, zero) with --kernel, or \"border\" in the description \
             of the operator"
        )
    })
}

#[cfg(test)]
mod tests {
    use eps_math::operator::{Border, Convolution, LinearMap as _};
    use eps_math::rng::Stream;

    use super::*;

    /// A picture with a step in brightness from its upper to its lower edge, and texture.
    fn picture(shape: Shape) -> Vec<f64> {
        let texture = Stream::named(0, "texture").normals(shape.len());
        (0..shape.len())
            .map(|i| {
                let row = i % shape.plane() / shape.width;
                row as f64 / shape.height as f64 * 1.6 - 0.8 + 0.1 * texture[i]
            })
            .collect()
    }

    #[test]
    fn a_blur_that_does_not_wrap_around_is_told() {
        let scene = Shape::new(1, 48, 40).unwrap();
        let kernel = Kernel::new(7, 1, vec![1.0 / 7.0; 7]).unwrap();
        let x = picture(scene);
        for border in Border::ALL {
            let blur = Convolution::new(scene, kernel.clone(), border).unwrap();
            let y: Vec<f64> = blur
                .apply(&x)
                .iter()
                .zip(Stream::named(1, "noise").normals(blur.range().len()))
                .map(|(y, z)| y + 0.02 * z)
                .collect();
            let note = wrap_note(&y, blur.range(), &kernel, 0.02);
            if border == Border::Circular {
                assert_eq!(note, None);
            } else {
                let note = note.unwrap();
                assert!(
                    note.contains("upper and lower") && note.contains("--border valid"),
                    "{note}"
                );
            }
        }
    }
}

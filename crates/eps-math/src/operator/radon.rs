//! Parallel-beam tomography.

use super::expression::Expression;
use super::linear_map::{LinearMap, assert_length};
use crate::error::check_finite;
use crate::{MathError, Shape, whole};

/// Sums along parallel rays through every channel, matrix-free.
///
/// ```text
/// y[position, angle] = Σ_r x̃[r, position]     x̃: the image turned by the angle about (n/2, n/2)
/// ```
///
/// The image is turned by bilinear interpolation with zeros outside, as scikit-image's `radon` with `circle=True` does,
/// and agrees with it to rounding. n/2 is cut off to a whole pixel. It is where the axis of rotation falls on the
/// detector, too, where no other position is given.
///
/// # Shapes
/// x: `[C, n, n]`, y: `[C, n, angles]`
#[derive(Debug, Clone)]
pub struct Radon {
    shape: Shape,
    /// (cos, sin) of every angle.
    angles: Vec<(f64, f64)>,
    /// Where the axis of rotation falls on the detector.
    axis: f64,
}

impl Radon {
    /// The projections of images of `shape` at angles in degrees; `axis`, between positions of the detector, which are
    /// counted from 0, is where the axis of rotation falls on it.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for an axis that no position sees;
    /// [`MathError::Square`] for images that are not square; [`MathError::Empty`] without angles;
    /// [`MathError::NotFinite`] for an angle that is not finite.
    pub fn new(shape: Shape, angles_degrees: &[f64], axis: Option<f64>) -> Result<Self, MathError> {
        let Shape { height, width, .. } = shape;
        if height != width {
            return Err(MathError::Square { height, width });
        }
        if angles_degrees.is_empty() {
            return Err(MathError::Empty("the list of angles"));
        }
        check_finite("the list of angles", angles_degrees)?;
        Shape::new(shape.channels, width, angles_degrees.len())?;
        let of = |degrees: &f64| {
            let (sin, cos) = degrees.to_radians().sin_cos();
            (cos, sin)
        };
        let axis = axis.unwrap_or((width / 2) as f64);
        if !(0.0..=(width - 1) as f64).contains(&axis) {
            let range = "from 0 to the detector's last position";
            return Err(MathError::OutOfRange { what: "the axis of rotation", value: axis, range });
        }
        Ok(Self { shape, angles: angles_degrees.iter().map(of).collect(), axis })
    }

    /// Calls `visit` with the index of a measurement, the index of a pixel in its plane, and its weight there.
    fn for_each_weight(&self, mut visit: impl FnMut(usize, usize, f64)) {
        let n = self.shape.width;
        let centre = (n / 2) as f64;
        for (angle, (cos, sin)) in self.angles.iter().enumerate() {
            let shift_x = cos * self.axis + (sin - 1.0) * centre;
            let shift_y = (cos - 1.0) * centre - sin * self.axis;
            for row in 0..n {
                for position in 0..n {
                    let (r, p) = (row as f64, position as f64);
                    let (x, y) = (cos * p + sin * r - shift_x, -sin * p + cos * r - shift_y);
                    let (left, top) = (x.floor(), y.floor());
                    // The four neighbours, those inside.
                    for (dy, along) in [(0.0, 1.0 - (y - top)), (1.0, y - top)] {
                        for (dx, across) in [(0.0, 1.0 - (x - left)), (1.0, x - left)] {
                            let (i, j) = (top + dy, left + dx);
                            let inside = |v: f64| v >= 0.0 && v < n as f64;
                            if inside(i) && inside(j) {
                                let pixel = whole(i) * n + whole(j);
                                visit(position * self.angles.len() + angle, pixel, along * across);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl LinearMap for Radon {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        Shape { width: self.angles.len(), ..self.shape }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let range = self.range();
        let mut y = vec![0.0; range.len()];
        self.for_each_weight(|ray, pixel, weight| {
            let channels =
                y.chunks_exact_mut(range.plane()).zip(x.chunks_exact(self.shape.plane()));
            for (y, x) in channels {
                y[ray] += weight * x[pixel];
            }
        });
        y
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        let range = self.range();
        assert_length("the measurement", y, range);
        let mut x = vec![0.0; self.shape.len()];
        self.for_each_weight(|ray, pixel, weight| {
            let channels =
                x.chunks_exact_mut(self.shape.plane()).zip(y.chunks_exact(range.plane()));
            for (x, y) in channels {
                x[pixel] += weight * y[ray];
            }
        });
        x
    }

    fn expression(&self) -> Option<Expression> {
        let (side, angles) = (self.shape.width, self.angles.clone());
        Some(Expression::Rays { side, angles, axis: self.axis }.on_each(self.shape.channels))
    }
}

//! One operator after another, and parts of images.

use std::sync::Arc;

use super::linear_map::{LinearMap, assert_length};
use crate::{MathError, Shape};

/// The composition of maps, the first applied to the image first: A = A_k … A_2 A_1.
#[derive(Debug, Clone)]
pub struct Chain {
    of: Vec<Arc<dyn LinearMap>>,
}

impl Chain {
    /// The composition of at least one map.
    ///
    /// # Errors
    /// [`MathError::Empty`] for none, [`MathError::Link`] where a map does not take what the one before gives.
    pub fn new(of: Vec<Arc<dyn LinearMap>>) -> Result<Self, MathError> {
        if of.is_empty() {
            return Err(MathError::Empty("the chain of operators"));
        }
        for (index, pair) in of.windows(2).enumerate() {
            let (given, taken) = (pair[0].range(), pair[1].domain());
            if given != taken {
                return Err(MathError::Link { index: index + 1, given, taken });
            }
        }
        Ok(Self { of })
    }
}

impl LinearMap for Chain {
    fn domain(&self) -> Shape {
        self.of[0].domain()
    }

    fn range(&self) -> Shape {
        self.of[self.of.len() - 1].range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let (first, rest) = self.of.split_at(1);
        rest.iter().fold(first[0].apply(x), |x, map| map.apply(&x))
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        let (rest, last) = self.of.split_at(self.of.len() - 1);
        rest.iter().rev().fold(last[0].adjoint(y), |y, map| map.adjoint(&y))
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        let place = |y: Vec<f64>, map: &Arc<dyn LinearMap>| map.placed(&y);
        self.of.iter().rev().try_fold(y.to_vec(), place)
    }
}

/// A rectangle of the image; its adjoint pads with zeros.
#[derive(Debug, Clone)]
pub struct Crop {
    shape: Shape,
    range: Shape,
    top: usize,
    left: usize,
}

impl Crop {
    /// The rectangle of `height` × `width` pixels whose first is at (top, left) of an image of `shape`.
    ///
    /// # Errors
    /// [`MathError::Shape`] for one without pixels; [`MathError::Crop`] for one that reaches beyond the image.
    pub fn new(
        shape: Shape,
        (top, left): (usize, usize),
        (height, width): (usize, usize),
    ) -> Result<Self, MathError> {
        let range = Shape::new(shape.channels, height, width)?;
        let fits = |start: usize, side: usize, whole: usize| {
            start.checked_add(side).is_some_and(|end| end <= whole)
        };
        if !fits(top, height, shape.height) || !fits(left, width, shape.width) {
            return Err(MathError::Crop { top, left, height, width, shape });
        }
        Ok(Self { shape, range, top, left })
    }

    /// The indices of the rectangle's values in the image.
    fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        let Shape { channels, height, width } = self.range;
        (0..channels * height).flat_map(move |row| {
            let (channel, row) = (row / height, row % height + self.top);
            let start = channel * self.shape.plane() + row * self.shape.width + self.left;
            start..start + width
        })
    }
}

impl LinearMap for Crop {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        self.range
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        self.indices().map(|index| x[index]).collect()
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range);
        let mut x = vec![0.0; self.shape.len()];
        for (index, value) in self.indices().zip(y) {
            x[index] = *value;
        }
        x
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        let mut values = vec![f(0.0); self.shape.len()];
        let inside = f(1.0);
        self.indices().for_each(|index| values[index] = inside);
        Some(values)
    }
}

//! One image measured by several operators.

use std::sync::Arc;

use super::expression::Expression;
use super::linear_map::{LinearMap, assert_length};
use super::sum::{added, same_images};
use crate::{MathError, Shape};

/// The measurements of one image by several operators, one after the other: y = (A₀x, A₁x, …).
///
/// # Shapes
/// Where all of them are of one height and width, y is their channels: `[C₀ + C₁ + …, H, W]`. Otherwise it is one row of all
/// values, `[1, 1, N₀ + N₁ + …]`. The values lie in the same order either way.
#[derive(Debug, Clone)]
pub struct Stack {
    of: Vec<Arc<dyn LinearMap>>,
    range: Shape,
}

impl Stack {
    /// The stack of at least one map.
    ///
    /// # Errors
    /// [`MathError::Empty`] for none, [`MathError::Unlike`] where one takes images of another shape than the first,
    /// [`MathError::Shape`] where there are more values than a shape may have.
    pub fn new(of: Vec<Arc<dyn LinearMap>>) -> Result<Self, MathError> {
        same_images("stack", &of)?;
        let ranges: Vec<Shape> = of.iter().map(|map| map.range()).collect();
        let Shape { height, width, .. } = ranges[0];
        let are_alike = ranges.iter().all(|r| (r.height, r.width) == (height, width));
        let range = if are_alike {
            Shape::new(ranges.iter().map(|r| r.channels).sum(), height, width)?
        } else {
            Shape::new(1, 1, ranges.iter().map(Shape::len).sum())?
        };
        Ok(Self { of, range })
    }
}

impl LinearMap for Stack {
    fn domain(&self) -> Shape {
        self.of[0].domain()
    }

    fn range(&self) -> Shape {
        self.range
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.of.iter().flat_map(|map| map.apply(x)).collect()
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range);
        let mut rest = y;
        added(self.of.iter().map(|map| {
            let (part, after) = rest.split_at(map.range().len());
            rest = after;
            map.adjoint(part)
        }))
    }

    fn infinity_norm(&self) -> Option<f64> {
        self.of.iter().map(|map| map.infinity_norm()).try_fold(0.0, |a: f64, b| Some(a.max(b?)))
    }

    fn expression(&self) -> Option<Expression> {
        let part = |map: &Arc<dyn LinearMap>| Some((map.range().len(), map.expression()?));
        Some(Expression::Stack(self.of.iter().map(part).collect::<Option<_>>()?))
    }
}

//! The sum of operators.

use std::sync::Arc;

use super::expression::Expression;
use super::linear_map::LinearMap;
use crate::{MathError, Shape};

/// A = A₀ + A₁ + …: the operators see one image, and what they give is added.
#[derive(Debug, Clone)]
pub struct Sum {
    of: Vec<Arc<dyn LinearMap>>,
}

impl Sum {
    /// The sum of at least one map.
    ///
    /// # Errors
    /// [`MathError::Empty`] for none, [`MathError::Unlike`] where one takes or gives another shape than the first.
    pub fn new(of: Vec<Arc<dyn LinearMap>>) -> Result<Self, MathError> {
        same_images("sum", &of)?;
        let first = of[0].range();
        match of.iter().map(|map| map.range()).enumerate().find(|(_, found)| *found != first) {
            Some((index, found)) => {
                Err(MathError::Unlike { what: "sum", index, side: "gives", found, first })
            }
            None => Ok(Self { of }),
        }
    }
}

/// Checks that maps that see one image are there and take images of one shape.
pub(super) fn same_images(what: &'static str, of: &[Arc<dyn LinearMap>]) -> Result<(), MathError> {
    let Some(first) = of.first().map(|map| map.domain()) else {
        return Err(MathError::Empty("the list of operators"));
    };
    match of.iter().map(|map| map.domain()).enumerate().find(|(_, found)| *found != first) {
        Some((index, found)) => {
            Err(MathError::Unlike { what, index, side: "takes images of", found, first })
        }
        None => Ok(()),
    }
}

/// Adds the values of all parts, of which there is at least one.
pub(super) fn added(mut parts: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    let first = parts.next().unwrap_or_default();
    parts.fold(first, |mut sum, part| {
        sum.iter_mut().zip(part).for_each(|(a, b)| *a += b);
        sum
    })
}

impl LinearMap for Sum {
    fn domain(&self) -> Shape {
        self.of[0].domain()
    }

    fn range(&self) -> Shape {
        self.of[0].range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        added(self.of.iter().map(|map| map.apply(x)))
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        added(self.of.iter().map(|map| map.adjoint(y)))
    }

    fn infinity_norm(&self) -> Option<f64> {
        self.of.iter().map(|map| map.infinity_norm()).sum()
    }

    fn expression(&self) -> Option<Expression> {
        Some(Expression::Sum(self.of.iter().map(|map| map.expression()).collect::<Option<_>>()?))
    }
}

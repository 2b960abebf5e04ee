//! An operator that is ready for images of one shape, with or without an eigenbasis.

use std::sync::Arc;

use super::expression::{Expression, Preconditioner};
use super::{Decomposed, LinearMap, Operator, OperatorKind, Picks, RangeBasis, Spectral};
use crate::{MathError, Shape};

/// What [`OperatorSpec::prepare`](super::OperatorSpec::prepare) makes of a description.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one an image, and mostly the large one")]
pub enum PreparedOperator {
    /// One of the basic families, whose eigenbases batches compute at once.
    Basic(Operator),
    /// Any other: a pair A, Aᵀ.
    Map {
        /// The family's name in files and messages.
        family: &'static str,
        /// A and Aᵀ.
        map: Arc<dyn LinearMap>,
    },
}

impl PreparedOperator {
    /// The name of the family in files and messages.
    #[must_use]
    pub fn family(&self) -> &'static str {
        match self {
            Self::Basic(operator) => operator.family(),
            Self::Map { family, .. } => family,
        }
    }

    /// The operator as a pair A, Aᵀ.
    #[must_use]
    pub fn map(&self) -> &dyn LinearMap {
        match self {
            Self::Basic(operator) => operator,
            Self::Map { map, .. } => map.as_ref(),
        }
    }

    /// The operator as a pair A, Aᵀ.
    #[must_use]
    pub fn into_map(self) -> Arc<dyn LinearMap> {
        match self {
            Self::Basic(operator) => Arc::new(operator),
            Self::Map { map, .. } => map,
        }
    }

    /// The operator as a pair A, Aᵀ that may be kept.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn LinearMap> {
        match self {
            Self::Basic(operator) => Arc::new(operator.clone()),
            Self::Map { map, .. } => Arc::clone(map),
        }
    }

    /// The operator, where it is of a basic family. An eigenbasis of others may be known, too: [`LinearMap::as_spectral`].
    #[must_use]
    pub fn basic(&self) -> Option<&Operator> {
        match self {
            Self::Basic(operator) => Some(operator),
            Self::Map { .. } => None,
        }
    }

    /// The operator of a basic family.
    ///
    /// # Errors
    /// [`MathError::NotBasic`] with the family's name.
    pub fn into_basic(self) -> Result<Operator, MathError> {
        match self {
            Self::Basic(operator) => Ok(operator),
            Self::Map { family, .. } => Err(MathError::NotBasic(family)),
        }
    }

    /// The operator with the [decomposition](Decomposed) of its matrix, where it has no eigenbasis and that is
    /// [quick](Decomposed::is_quick).
    ///
    /// # Errors
    /// Those of [`Decomposed::new`].
    pub fn decomposed(self) -> Result<Self, MathError> {
        self.decomposed_by(Decomposed::new)
    }

    /// The same for measurements [without noise](Decomposed::for_exact).
    ///
    /// # Errors
    /// Those of [`Decomposed::for_exact`].
    pub fn decomposed_for_exact(self) -> Result<Self, MathError> {
        self.decomposed_by(Decomposed::for_exact)
    }

    fn decomposed_by(
        self,
        decompose: impl Fn(Arc<dyn LinearMap>) -> Result<Decomposed, MathError>,
    ) -> Result<Self, MathError> {
        match self {
            Self::Map { family, map }
                if map.range_basis().is_none() && Decomposed::is_quick([map.as_ref()]) =>
            {
                Ok(Self::Map { family, map: Arc::new(decompose(map)?) })
            }
            other => Ok(other),
        }
    }
}

impl From<Operator> for PreparedOperator {
    fn from(operator: Operator) -> Self {
        Self::Basic(operator)
    }
}

impl LinearMap for PreparedOperator {
    fn domain(&self) -> Shape {
        self.map().domain()
    }

    fn range(&self) -> Shape {
        self.map().range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.map().apply(x)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.map().adjoint(y)
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        self.map().placed(y)
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        self.map().diagonal(f)
    }

    fn approximate_inverse(&self, v: &[f64], kappa: f64) -> Option<Vec<f64>> {
        self.map().approximate_inverse(v, kappa)
    }

    fn preconditioner(&self) -> Option<Preconditioner> {
        self.map().preconditioner()
    }

    fn expression(&self) -> Option<Expression> {
        self.map().expression()
    }

    fn one_channel(&self) -> Option<Arc<dyn LinearMap>> {
        self.map().one_channel()
    }

    fn picks(&self) -> Option<Picks> {
        self.map().picks()
    }

    fn infinity_norm(&self) -> Option<f64> {
        self.map().infinity_norm()
    }

    fn gives_picture(&self) -> bool {
        self.map().gives_picture()
    }

    fn kind(&self) -> OperatorKind {
        self.map().kind()
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        self.map().as_spectral()
    }

    fn range_basis(&self) -> Option<&RangeBasis> {
        self.map().range_basis()
    }
}

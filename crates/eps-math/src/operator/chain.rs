//! One operator after another, and parts of images.

use std::sync::Arc;

use super::expression::{Expression, Preconditioner};
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral};
use super::picks::Picks;
use crate::{MathError, Shape};

/// The composition of maps, the first applied to the image first: A = A_k … A_2 A_1.
///
/// Where all links but one only [pick](Picks) pixels, or all of them, what is known of that one is known of the chain:
/// diagonals, inverses, the eigenbasis.
#[derive(Debug, Clone)]
pub struct Chain {
    of: Vec<Arc<dyn LinearMap>>,
    structure: Structure,
}

/// What is known of AᵀA by the links.
///
/// ```text
/// A = Q G P    PPᵀ = c I, QᵀQ = d I:    f(AᵀA) = f(0) (I − PᵀP/c) + Pᵀ f(c d GᵀG) P/c
/// ```
#[derive(Debug, Clone)]
enum Structure {
    /// All links pick.
    Picks(Picks),
    /// One link does not: the index of that one, P before it and Q after it, where there are any.
    One(usize, Option<Picks>, Option<Picks>),
    /// Several do not.
    Several,
}

impl Structure {
    fn of(links: &[Arc<dyn LinearMap>]) -> Self {
        let picks: Vec<Option<Picks>> = links.iter().map(|link| link.picks()).collect();
        let joined = |picks: &[Option<Picks>]| {
            picks.iter().flatten().cloned().reduce(|first, next| first.then(&next))
        };
        let mut others = picks.iter().enumerate().filter(|(_, p)| p.is_none()).map(|(i, _)| i);
        match (others.next(), others.next()) {
            (None, _) => joined(&picks).map_or(Self::Several, Self::Picks),
            (Some(one), None) => Self::One(one, joined(&picks[..one]), joined(&picks[one + 1..])),
            _ => Self::Several,
        }
    }
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
        let structure = Structure::of(&of);
        Ok(Self { of, structure })
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

    fn one_channel(&self) -> Option<Arc<dyn LinearMap>> {
        let links = self.of.iter().map(|link| link.one_channel()).collect::<Option<_>>()?;
        Some(Arc::new(Self::new(links).ok()?))
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        let place = |y: Vec<f64>, map: &Arc<dyn LinearMap>| map.placed(&y);
        self.of.iter().rev().try_fold(y.to_vec(), place)
    }

    /// As exact as that of the one link that does not pick, where the links before it pick with weights of one size and those after it
    /// leave nothing out.
    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        match &self.structure {
            Structure::Picks(picks) => picks.diagonal(f),
            Structure::One(one, before, after) => {
                let of_rows = before.as_ref().map_or(Some(1.0), Picks::rows_alike)?;
                let of_columns = after.as_ref().map_or(Some(1.0), Picks::columns_alike)?;
                let gain = of_rows * of_columns;
                let inside = self.of[*one].diagonal(&|lambda| f(gain * lambda))?;
                let Some(before) = before else { return Some(inside) };
                let mut values = vec![f(0.0); self.domain().len()];
                before.put(&inside, &mut values);
                Some(values)
            }
            Structure::Several => None,
        }
    }

    /// By the one link that does not pick, as if the links after it left nothing out and damped every value alike.
    fn approximate_inverse(&self, v: &[f64], kappa: f64) -> Option<Vec<f64>> {
        match &self.structure {
            Structure::Picks(picks) => picks.approximate_inverse(v, kappa),
            Structure::One(one, before, after) => {
                let of_rows = before.as_ref().map_or(Some(1.0), Picks::rows_alike)?;
                let gain = of_rows * after.as_ref().map_or(1.0, Picks::share);
                let inverse = |v: &[f64]| -> Option<Vec<f64>> {
                    let mut mapped = self.of[*one].approximate_inverse(v, kappa / gain)?;
                    mapped.iter_mut().for_each(|value| *value /= gain);
                    Some(mapped)
                };
                let Some(before) = before else { return inverse(v) };
                // P v with the weights' signs alone, there and back.
                let size = of_rows.sqrt();
                let inside: Vec<f64> = before.apply(v).iter().map(|value| value / size).collect();
                let back: Vec<f64> = inverse(&inside)?.iter().map(|value| value / size).collect();
                let seen = before.adjoint(&back);
                let mut mapped: Vec<f64> = v.iter().map(|value| value / kappa).collect();
                before.put(&vec![0.0; back.len()], &mut mapped);
                mapped.iter_mut().zip(seen).for_each(|(value, seen)| *value += seen);
                Some(mapped)
            }
            Structure::Several => None,
        }
    }

    fn preconditioner(&self) -> Option<Preconditioner> {
        match &self.structure {
            Structure::Picks(picks) => picks.preconditioner(),
            Structure::One(one, before, after) => {
                let of_rows = before.as_ref().map_or(Some(1.0), Picks::rows_alike)?;
                let gain = of_rows * after.as_ref().map_or(1.0, Picks::share);
                let inside = self.of[*one].preconditioner()?.scaled(gain);
                let Some(before) = before else { return Some(inside) };
                // P, with the weights' signs alone.
                let signs = before.expression().then(Expression::Scale(of_rows.sqrt().recip()));
                let within = inside.within.unwrap_or_else(Expression::identity);
                Some(Preconditioner {
                    into: signs.clone().then(inside.into),
                    within: Some(signs.then(within)),
                    ..inside
                })
            }
            Structure::Several => None,
        }
    }

    fn expression(&self) -> Option<Expression> {
        let links = self.of.iter().map(|link| link.expression());
        links.reduce(|first, next| Some(first?.then(next?))).flatten()
    }

    fn infinity_norm(&self) -> Option<f64> {
        self.of.iter().map(|link| link.infinity_norm()).product()
    }

    fn gives_picture(&self) -> bool {
        self.of.iter().all(|link| link.gives_picture())
    }

    fn kind(&self) -> OperatorKind {
        OperatorKind::of_chain(self.of.iter().map(|link| link.kind()))
    }

    fn picks(&self) -> Option<Picks> {
        match &self.structure {
            Structure::Picks(picks) => Some(picks.clone()),
            _ => None,
        }
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        match &self.structure {
            Structure::Picks(picks) => Some(picks),
            _ => None,
        }
    }
}

/// A rectangle of the image; its adjoint pads with zeros.
#[derive(Debug, Clone)]
pub struct Crop(Picks);

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
        let pixels = (0..shape.channels * height).flat_map(|row| {
            let (channel, row) = (row / height, row % height + top);
            let start = channel * shape.plane() + row * shape.width + left;
            start..start + width
        });
        Ok(Self(Picks::of_pixels(shape, range, pixels)))
    }

    pub(super) fn into_picks(self) -> Picks {
        self.0
    }
}

impl LinearMap for Crop {
    fn domain(&self) -> Shape {
        self.0.domain()
    }

    fn range(&self) -> Shape {
        self.0.range()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.0.apply(x)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.0.adjoint(y)
    }

    fn placed(&self, y: &[f64]) -> Option<Vec<f64>> {
        Some(self.adjoint(y))
    }

    fn gives_picture(&self) -> bool {
        true
    }

    fn kind(&self) -> OperatorKind {
        OperatorKind::Pixels
    }

    fn picks(&self) -> Option<Picks> {
        Some(self.0.clone())
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(&self.0)
    }
}

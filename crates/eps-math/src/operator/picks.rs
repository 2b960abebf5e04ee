//! Maps that weight pixels and do nothing else.

use super::expression::{Expression, Sparse};
use crate::Shape;

/// Each value of y is a weight times a pixel of its own, or 0: masks, weights, a mosaic of colours, crops, zeros around an image, and
/// any chain of them.
///
/// ```text
/// y_j = w_j x_{p(j)}      AᵀA = diag(Σ_{p(j) = i} w_j²), of which each sum has one term at most
/// ```
#[derive(Debug, Clone)]
pub struct Picks {
    domain: Shape,
    range: Shape,
    /// The pixel and its weight, of each value of y; none where it is 0.
    of: Vec<Option<(usize, f64)>>,
}

impl Picks {
    /// The map of the pixel and the weight of each value of y; none for a value that is always 0. A weight of 0 is none, too.
    ///
    /// # Panics
    /// Unless there is one entry for each value of `range`, all pixels are of `domain`, and none is there twice.
    #[must_use]
    pub fn new(domain: Shape, range: Shape, of: Vec<Option<(usize, f64)>>) -> Self {
        assert_eq!(of.len(), range.len(), "picks for the values of {range}");
        let mut is_taken = vec![false; domain.len()];
        let of: Vec<_> = of.into_iter().map(|pick| pick.filter(|(_, w)| *w != 0.0)).collect();
        for (pixel, _) in of.iter().flatten() {
            assert!(!is_taken[*pixel], "pixel {pixel} is picked twice");
            is_taken[*pixel] = true;
        }
        Self { domain, range, of }
    }

    /// The values at `pixels`, in their order.
    ///
    /// # Panics
    /// As [`Picks::new`].
    pub(super) fn of_pixels(
        domain: Shape,
        range: Shape,
        pixels: impl IntoIterator<Item = usize>,
    ) -> Self {
        Self::new(domain, range, pixels.into_iter().map(|pixel| Some((pixel, 1.0))).collect())
    }

    /// A weight for each value of images of `shape`.
    ///
    /// # Panics
    /// As [`Picks::new`].
    pub(super) fn of_weights(shape: Shape, weights: &[f64]) -> Self {
        Self::new(shape, shape, weights.iter().copied().enumerate().map(Some).collect())
    }

    /// The adjoint, which picks too.
    pub(super) fn transposed(&self) -> Self {
        let mut of = vec![None; self.domain.len()];
        for (value, (pixel, weight)) in self.picked() {
            of[pixel] = Some((value, weight));
        }
        Self { domain: self.range, range: self.domain, of }
    }

    /// The same with `next` after it.
    ///
    /// # Panics
    /// If `next` is not of images of this range.
    pub(super) fn then(&self, next: &Self) -> Self {
        assert_eq!(self.range, next.domain, "the shapes of two links");
        let pick = |pick: &Option<(usize, f64)>| {
            let (value, weight) = (*pick)?;
            let (pixel, first) = self.of[value]?;
            Some((pixel, first * weight))
        };
        let of = next.of.iter().map(pick).collect();
        Self { domain: self.domain, range: next.range, of }
    }

    /// Every value multiplied by its gain.
    pub(super) fn weighted(&self, gains: &[f64]) -> Self {
        let weighted = |(pick, gain): (&Option<(usize, f64)>, &f64)| {
            pick.map(|(pixel, weight)| (pixel, weight * gain)).filter(|(_, weight)| *weight != 0.0)
        };
        let of = self.of.iter().zip(gains).map(weighted).collect();
        Self { of, ..*self }
    }

    /// The values of y that are not always 0, with the pixel and the weight of each.
    fn picked(&self) -> impl Iterator<Item = (usize, (usize, f64))> {
        self.of.iter().enumerate().filter_map(|(value, pick)| Some((value, (*pick)?)))
    }

    /// c where AAᵀ = c I: every value of y is a pixel, with a weight of one size.
    pub(super) fn rows_alike(&self) -> Option<f64> {
        let square = self.of.first().copied().flatten()?.1.powi(2);
        let is_alike = |pick: &Option<(usize, f64)>| pick.is_some_and(|(_, w)| w * w == square);
        self.of.iter().all(is_alike).then_some(square)
    }

    /// c where AᵀA = c I: every pixel is in y, with a weight of one size.
    pub(super) fn columns_alike(&self) -> Option<f64> {
        let squares = self.squares();
        let first = squares[0];
        (first > 0.0 && squares.iter().all(|square| *square == first)).then_some(first)
    }

    /// The mean of the squared weights over the pixels.
    pub(super) fn share(&self) -> f64 {
        self.squares().iter().sum::<f64>() / self.domain.len() as f64
    }

    /// Values of y at their pixels without their weights, over what `x` holds.
    pub(super) fn put(&self, y: &[f64], x: &mut [f64]) {
        for (value, (pixel, _)) in self.picked() {
            x[pixel] = y[value];
        }
    }

    /// The map as a sparse matrix.
    pub(super) fn expression(&self) -> Expression {
        let entries =
            self.picked().map(|(value, (pixel, weight))| (value, pixel, weight)).collect();
        Expression::Sparse(Sparse { columns: self.domain.len(), rows: self.range.len(), entries })
    }

    /// The squared weight of each pixel, the diagonal of AᵀA: 0 where it is not picked.
    pub(super) fn squares(&self) -> Vec<f64> {
        let mut squares = vec![0.0; self.domain.len()];
        for (_, (pixel, weight)) in self.picked() {
            squares[pixel] = weight * weight;
        }
        squares
    }

    /// The size of the largest weight.
    pub(super) fn largest_weight(&self) -> f64 {
        self.picked().fold(0.0, |largest, (_, (_, weight))| weight.abs().max(largest))
    }

    /// The pixel of each value of y, none of one that is always 0.
    pub fn pixels(&self) -> impl Iterator<Item = Option<usize>> {
        self.of.iter().map(|pick| pick.map(|(pixel, _)| pixel))
    }

    /// The shape of the images.
    pub(super) fn taken(&self) -> Shape {
        self.domain
    }

    /// The shape of what is picked.
    pub(super) fn given(&self) -> Shape {
        self.range
    }

    /// The values that are picked, times their weights.
    pub(super) fn of_image(&self, x: &[f64]) -> Vec<f64> {
        let value = |pick: &Option<(usize, f64)>| pick.map_or(0.0, |(pixel, w)| w * x[pixel]);
        self.of.iter().map(value).collect()
    }

    /// Values at their pixels, times their weights, 0 elsewhere.
    pub(super) fn back(&self, y: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; self.domain.len()];
        for (value, (pixel, weight)) in self.picked() {
            x[pixel] = weight * y[value];
        }
        x
    }
}

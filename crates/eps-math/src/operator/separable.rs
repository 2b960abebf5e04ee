//! Operators that act on rows and columns separately: Y = R X Cᵀ for every channel.

use std::sync::Arc;

use super::dense::Dense;
use super::expression::{Eigenbasis, Expression};
use super::form::EigenForm;
use super::kind::OperatorKind;
use super::linear_map::{LinearMap, Spectral, assert_length};
use crate::noise::Law;
use crate::{MathError, Noise, Shape};

/// A = R ⊗ C on every channel, with eigenvalues s_r² s_c².
#[derive(Debug, Clone)]
pub struct Separable {
    shape: Shape,
    /// R, acting on columns of pixels.
    vertical: Dense,
    /// C, acting on rows of pixels.
    horizontal: Dense,
    kind: OperatorKind,
}

impl Separable {
    /// The operator of R [p, height] and C [q, width], both in row-major order.
    ///
    /// # Errors
    /// [`MathError::Row`] for a matrix whose last row is short, and what [`Dense::new`] says of either, called vertical and
    /// horizontal.
    pub fn new(shape: Shape, vertical: &[f64], horizontal: &[f64]) -> Result<Self, MathError> {
        let side = |what, matrix: &[f64], length: usize| {
            let (row, found) = (matrix.len() / length, matrix.len() % length);
            if found > 0 {
                return Err(MathError::Row { what, row, expected: length, found });
            }
            Dense::named(what, Shape::new(1, 1, length)?, matrix.len() / length, matrix)
        };
        Ok(Self {
            shape,
            vertical: side("the vertical matrix", vertical, shape.height)?,
            horizontal: side("the horizontal matrix", horizontal, shape.width)?,
            kind: OperatorKind::Others,
        })
    }

    /// The same, of which it is known what it does to an image.
    pub(super) fn of_kind(self, kind: OperatorKind) -> Self {
        Self { kind, ..self }
    }

    /// R and C.
    #[must_use]
    pub fn sides(&self) -> (&Dense, &Dense) {
        (&self.vertical, &self.horizontal)
    }

    /// W A, for [`Whitened::prepare`](super::Whitened::prepare), where W is a number.
    pub(super) fn whitened(&self, noise: &Noise, sigma_y: f64) -> Result<Option<Self>, MathError> {
        let Law::Uniform(_) = noise.law() else { return Ok(None) };
        let vertical = noise.whiten(&self.vertical.matrix(), sigma_y);
        let whitened = Self::new(self.shape, &vertical, &self.horizontal.matrix())?;
        Ok(Some(Self { kind: self.kind, ..whitened }))
    }

    /// R X Cᵀ of every channel.
    fn on_sides_of(&self, vertical: Vec<f64>, horizontal: Vec<f64>) -> Expression {
        let Shape { channels, height, width } = self.shape;
        Expression::Sides { plane: (height, width), vertical, horizontal }.on_each(channels)
    }

    /// Applies one function to all rows and another to all columns of every channel.
    fn on_sides(
        x: &[f64],
        from: Shape,
        rows: impl Fn(&[f64]) -> Vec<f64>,
        columns: impl Fn(&[f64]) -> Vec<f64>,
    ) -> Vec<f64> {
        let mut result = Vec::new();
        for channel in x.chunks_exact(from.plane()) {
            let across: Vec<Vec<f64>> = channel.chunks_exact(from.width).map(&rows).collect();
            let down: Vec<Vec<f64>> = (0..across[0].len())
                .map(|c| columns(&across.iter().map(|row| row[c]).collect::<Vec<_>>()))
                .collect();
            result.extend((0..down[0].len()).flat_map(|r| down.iter().map(move |col| col[r])));
        }
        result
    }
}

impl LinearMap for Separable {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        Shape {
            channels: self.shape.channels,
            height: self.vertical.range().len(),
            width: self.horizontal.range().len(),
        }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        Self::on_sides(x, self.shape, |r| self.horizontal.apply(r), |c| self.vertical.apply(c))
    }

    fn one_channel(&self) -> Option<Arc<dyn LinearMap>> {
        let shape = Shape { channels: 1, ..self.shape };
        (self.shape.channels > 1)
            .then(|| Arc::new(Self { shape, ..self.clone() }) as Arc<dyn LinearMap>)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        assert_length("the measurement", y, self.range());
        Self::on_sides(
            y,
            self.range(),
            |r| self.horizontal.adjoint(r),
            |c| self.vertical.adjoint(c),
        )
    }

    fn diagonal(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        let values: Vec<f64> = self.eigenvalues().into_iter().map(f).collect();
        let (rows, columns) = (&self.horizontal, &self.vertical);
        Some(Self::on_sides(
            &values,
            self.shape,
            |r| rows.squared_synthesis(r),
            |c| columns.squared_synthesis(c),
        ))
    }

    fn expression(&self) -> Option<Expression> {
        Some(self.on_sides_of(self.vertical.matrix(), self.horizontal.matrix()))
    }

    fn infinity_norm(&self) -> Option<f64> {
        Some(self.vertical.infinity_norm()? * self.horizontal.infinity_norm()?)
    }

    fn kind(&self) -> OperatorKind {
        self.kind
    }

    fn as_spectral(&self) -> Option<&dyn Spectral> {
        Some(self)
    }
}

impl Spectral for Separable {
    fn eigenvalues(&self) -> Vec<f64> {
        let (rows, columns) = (self.vertical.eigenvalues(), self.horizontal.eigenvalues());
        let plane: Vec<f64> =
            rows.iter().flat_map(|r| columns.iter().map(move |c| r * c)).collect();
        plane.repeat(self.shape.channels)
    }

    fn spectral_map(&self, x: &[f64], f: &dyn Fn(f64) -> f64) -> Vec<f64> {
        assert_length("the image", x, self.shape);
        let coordinates = Self::on_sides(
            x,
            self.shape,
            |r| self.horizontal.coordinates(r),
            |c| self.vertical.coordinates(c),
        );
        let scaled: Vec<f64> =
            coordinates.iter().zip(self.eigenvalues()).map(|(v, lambda)| v * f(lambda)).collect();
        Self::on_sides(
            &scaled,
            self.shape,
            |r| self.horizontal.synthesis(r),
            |c| self.vertical.synthesis(c),
        )
    }

    fn eigenbasis(&self) -> Option<Eigenbasis> {
        let (vertical, horizontal) = (&self.vertical, &self.horizontal);
        let into = self.on_sides_of(vertical.basis_transposed(), horizontal.basis_transposed());
        Some(Eigenbasis { into, eigenvalues: self.eigenvalues(), is_whole: true })
    }

    fn form(&self) -> Option<EigenForm<'_>> {
        Some(EigenForm::Sides(self.vertical.matrix_form(), self.horizontal.matrix_form()))
    }
}

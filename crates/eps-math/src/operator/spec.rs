//! The serialised description of an operator.

use serde::{Deserialize, Serialize};

use super::{AveragePool, CircularBlur, Dense, Kernel, Mask, Operator, Separable};
use crate::{MathError, Shape};

/// An operator of one image as a value that can be written down; [`OperatorSpec::build`] prepares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operator", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OperatorSpec {
    /// Inpainting with a mask in row-major order, 1 where a pixel is observed, 0 where it is not.
    Mask {
        /// `[height, width]`
        observed: Vec<u8>,
    },
    /// Super-resolution from k×k means.
    AveragePool {
        /// k
        factor: usize,
    },
    /// Circular blur by given taps.
    CircularBlur {
        /// Rows of taps.
        kernel: Vec<Vec<f64>>,
    },
    /// Circular blur by a Gaussian.
    GaussianBlur {
        /// Width in pixels.
        sigma_blur: f64,
        /// Odd side of the kernel.
        taps: usize,
    },
    /// Circular blur along a straight line.
    MotionBlur {
        /// Odd length in pixels.
        length: usize,
        /// Direction in degrees, anticlockwise from the column axis.
        angle_degrees: f64,
    },
    /// R ⊗ C on every channel.
    Separable {
        /// R, p rows of `height` entries.
        vertical: Vec<Vec<f64>>,
        /// C, q rows of `width` entries.
        horizontal: Vec<Vec<f64>>,
    },
    /// Any matrix on the flattened image.
    Dense {
        /// A, m rows of channels · height · width entries.
        matrix: Vec<Vec<f64>>,
    },
}

impl OperatorSpec {
    /// Prepares the operator for images of `shape`.
    ///
    /// # Errors
    /// What [`Shape::new`] and the constructor of the family say.
    pub fn build(&self, shape: Shape) -> Result<Operator, MathError> {
        // Fields of a shape are public: one may not have been checked.
        let shape = Shape::new(shape.channels, shape.height, shape.width)?;
        Ok(match self {
            Self::Mask { observed } => {
                if let Some(index) = observed.iter().position(|v| *v > 1) {
                    return Err(MathError::OutOfRange {
                        what: "an entry of the mask",
                        value: f64::from(observed[index]),
                        range: "0 (hidden) or 1 (observed)",
                    });
                }
                Operator::Mask(Mask::new(shape, observed.iter().map(|v| *v == 1).collect())?)
            }
            Self::AveragePool { factor } => {
                Operator::AveragePool(AveragePool::new(shape, *factor)?)
            }
            Self::CircularBlur { kernel } => {
                let kernel =
                    Kernel::new(kernel.len(), columns(kernel), flat("the kernel", kernel)?)?;
                Operator::CircularBlur(CircularBlur::new(shape, kernel)?)
            }
            Self::GaussianBlur { sigma_blur, taps } => {
                check_fits(shape, *taps)?;
                let kernel = Kernel::gaussian(*sigma_blur, *taps)?;
                Operator::CircularBlur(CircularBlur::new(shape, kernel)?)
            }
            Self::MotionBlur { length, angle_degrees } => {
                check_fits(shape, *length)?;
                let kernel = Kernel::motion(*length, angle_degrees.to_radians())?;
                Operator::CircularBlur(CircularBlur::new(shape, kernel)?)
            }
            Self::Separable { vertical, horizontal } => Operator::Separable(Separable::new(
                shape,
                &flat("the vertical matrix", vertical)?,
                &flat("the horizontal matrix", horizontal)?,
            )?),
            Self::Dense { matrix } => {
                Operator::Dense(Dense::new(shape, matrix.len(), &flat("the matrix", matrix)?)?)
            }
        })
    }
}

/// Whether a kernel of this side fits into the image, before memory is taken for it.
fn check_fits(shape: Shape, side: usize) -> Result<(), MathError> {
    let Shape { height, width, .. } = shape;
    if side > height.min(width) {
        return Err(MathError::KernelSize { rows: side, columns: side, height, width });
    }
    Ok(())
}

fn columns(rows: &[Vec<f64>]) -> usize {
    rows.first().map_or(0, Vec::len)
}

/// Row-major values of a matrix whose rows must be of one length.
fn flat(what: &'static str, rows: &[Vec<f64>]) -> Result<Vec<f64>, MathError> {
    let expected = columns(rows);
    match rows.iter().find(|row| row.len() != expected) {
        Some(row) => Err(MathError::Length { what, expected, found: row.len() }),
        None => Ok(rows.concat()),
    }
}

impl Operator {
    /// The description from which [`OperatorSpec::build`] makes this operator again.
    #[must_use]
    pub fn spec(&self) -> OperatorSpec {
        let rows = |values: Vec<f64>, columns: usize| {
            values.chunks_exact(columns).map(<[f64]>::to_vec).collect()
        };
        match self {
            Self::Mask(mask) => OperatorSpec::Mask {
                observed: mask.observed().iter().map(|seen| u8::from(*seen)).collect(),
            },
            Self::AveragePool(pool) => OperatorSpec::AveragePool { factor: pool.factor() },
            Self::CircularBlur(blur) => OperatorSpec::CircularBlur {
                kernel: rows(blur.kernel().taps().to_vec(), blur.kernel().columns()),
            },
            Self::Separable(separable) => {
                let (vertical, horizontal) = separable.sides();
                let side = |dense: &Dense| {
                    use super::LinearOperator;
                    rows(dense.matrix(), dense.domain().len())
                };
                OperatorSpec::Separable { vertical: side(vertical), horizontal: side(horizontal) }
            }
            Self::Dense(dense) => {
                use super::LinearOperator;
                OperatorSpec::Dense { matrix: rows(dense.matrix(), dense.domain().len()) }
            }
        }
    }
}

//! What the description of an operator tells of shapes.

use super::spec::{KernelWindows, columns};
use super::{Border, OperatorSpec};
use crate::Shape;

impl OperatorSpec {
    /// Rows and columns of the largest kernel, of a blur with [`Border::Valid`] whose scene may be of any size: not one whose
    /// windows are given for one size.
    #[must_use]
    pub fn reach(&self) -> Option<(usize, usize)> {
        let largest = |kernels: &[Vec<Vec<f64>>]| {
            let rows = kernels.iter().map(Vec::len).max()?;
            Some((rows, kernels.iter().map(|kernel| columns(kernel)).max()?))
        };
        match self {
            Self::GaussianBlur { taps, border: Border::Valid, .. } => Some((*taps, *taps)),
            Self::MotionBlur { length, border: Border::Valid, .. } => Some((*length, *length)),
            Self::Convolution { kernel, border: Border::Valid } => {
                Some((kernel.len(), columns(kernel)))
            }
            Self::ChannelConvolution { kernels, border: Border::Valid }
            | Self::VaryingBlur {
                kernels,
                windows: KernelWindows::Grid { .. },
                border: Border::Valid,
            } => largest(kernels),
            _ => None,
        }
    }

    /// The shape of the image behind a measurement of shape `y`, where the description and y tell it: not for a dense
    /// matrix, a resize, a crop, a stack, compressed sensing and frequencies anywhere.
    #[must_use]
    pub fn domain_of(&self, y: Shape) -> Option<Shape> {
        let grown = |rows: usize, columns: usize, border: Border| match border {
            Border::Valid => Shape {
                height: y.height.saturating_add(rows).saturating_sub(1),
                width: y.width.saturating_add(columns).saturating_sub(1),
                ..y
            },
            _ => y,
        };
        let shape = match self {
            Self::Mask { .. }
            | Self::RandomMask { .. }
            | Self::CircularBlur { .. }
            | Self::Weights { .. } => y,
            Self::Fourier { .. } => y,
            Self::Coils { .. } => Shape { channels: 2, ..y },
            Self::ChannelConvolution { kernels, border }
            | Self::VaryingBlur { kernels, border, .. } => {
                let rows = kernels.iter().map(Vec::len).max().unwrap_or(0);
                let columns = kernels.iter().map(|kernel| columns(kernel)).max().unwrap_or(0);
                grown(rows, columns, *border)
            }
            Self::Pad { top, bottom, left, right } => Shape {
                height: y.height.saturating_sub(top.saturating_add(*bottom)),
                width: y.width.saturating_sub(left.saturating_add(*right)),
                ..y
            },
            Self::Bayer { .. } => Shape { channels: 3, ..y },
            Self::Sum { of } => return of.iter().find_map(|spec| spec.domain_of(y)),
            Self::Scale { of, .. } => return of.domain_of(y),
            Self::AveragePool { factor } => Shape {
                height: y.height.saturating_mul(*factor),
                width: y.width.saturating_mul(*factor),
                ..y
            },
            Self::GaussianBlur { taps, border, .. } => grown(*taps, *taps, *border),
            Self::MotionBlur { length, border, .. } => grown(*length, *length, *border),
            Self::Convolution { kernel, border } => grown(kernel.len(), columns(kernel), *border),
            Self::Separable { vertical, horizontal } => {
                Shape { height: columns(vertical), width: columns(horizontal), ..y }
            }
            Self::Grey {} => Shape { channels: 3, ..y },
            Self::Real {} => Shape { channels: 1, ..y },
            Self::Radon { .. } => Shape { width: y.height, ..y },
            Self::Chain { of } => {
                return of.iter().rev().try_fold(y, |y, spec| spec.domain_of(y));
            }
            Self::Dense { .. }
            | Self::Resize { .. }
            | Self::Crop { .. }
            | Self::Stack { .. }
            | Self::NonuniformFourier { .. }
            | Self::GaussianMatrix { .. }
            | Self::WalshHadamard { .. } => return None,
        };
        Some(shape)
    }

    /// The shape of the image, where the description alone tells all of it.
    #[must_use]
    pub fn domain(&self) -> Option<Shape> {
        match self {
            Self::Fourier { mask } | Self::Coils { mask, .. } => {
                Shape::new(2, mask.len(), columns(mask)).ok()
            }
            Self::Separable { vertical, horizontal } => {
                Shape::new(1, columns(vertical), columns(horizontal)).ok()
            }
            Self::Dense { matrix } => Shape::new(1, 1, columns(matrix)).ok(),
            Self::Chain { of } => match &of[..] {
                [Self::Real {}, complex, ..] => {
                    complex.domain().map(|shape| Shape { channels: 1, ..shape })
                }
                _ => of.first().and_then(Self::domain),
            },
            Self::Sum { of } | Self::Stack { of } => of.iter().find_map(Self::domain),
            Self::Scale { of, .. } => of.domain(),
            _ => None,
        }
    }

    /// Whether images of several sizes may be behind one measurement.
    #[must_use]
    pub fn leaves_size_open(&self) -> bool {
        match self {
            Self::Resize { .. } | Self::Crop { .. } => true,
            Self::Scale { of, .. } => of.leaves_size_open(),
            Self::Chain { of } | Self::Sum { of } => of.iter().any(Self::leaves_size_open),
            _ => false,
        }
    }

    /// Whether y has channels that are no colours: those of coils, or of a stack.
    #[must_use]
    pub fn gives_channels(&self) -> bool {
        match self {
            Self::Coils { .. } | Self::Stack { .. } => true,
            Self::Scale { of, .. } => of.gives_channels(),
            Self::Chain { of } | Self::Sum { of } => of.iter().any(Self::gives_channels),
            _ => false,
        }
    }
}

//! The serialised description of an operator.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kernel_shape;
use super::walsh_hadamard::Lengthened;
use super::{
    AveragePool, Bayer, BayerPattern, Border, Chain, ChannelConvolution, CircularBlur, Coils,
    Convolution, Crop, Dense, Fourier, FourierMethod, GaussianMatrix, Grey, Kernel, LinearMap,
    Mask, NonuniformFourier, Operator, OperatorKind, Pad, PreparedOperator, Radon, RealImage,
    ResizeFilter, Scaled, Separable, Stack, Sum, VaryingBlur, WalshHadamard, Weights,
};
use crate::rng::Stream;
use crate::{MathError, Shape};

/// An operator of one image as a value that can be written down; [`OperatorSpec::prepare`] makes
/// it ready for images of one shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operator", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OperatorSpec {
    /// Inpainting with a mask in row-major order, 1 where a pixel is observed, 0 where it is not.
    Mask {
        /// `[height, width]`
        observed: Vec<u8>,
    },
    /// Inpainting of pixels that are missing at random, always the same: [`Mask::random`].
    RandomMask {
        /// The share of missing pixels, in [0, 1).
        missing: f64,
        /// Which of them.
        seed: u64,
    },
    /// Super-resolution from k×k means.
    AveragePool {
        /// k
        factor: usize,
    },
    /// Circular blur by given taps.
    CircularBlur {
        /// Rows of taps; JSON may name a [`KernelShape`](super::KernelShape) instead.
        #[serde(deserialize_with = "kernel_shape::rows")]
        kernel: Vec<Vec<f64>>,
    },
    /// Blur by a Gaussian.
    GaussianBlur {
        /// Width in pixels.
        sigma_blur: f64,
        /// Odd side of the kernel.
        taps: usize,
        /// What lies beyond the edges.
        #[serde(default, skip_serializing_if = "is_circular")]
        border: Border,
    },
    /// Blur along a straight line.
    MotionBlur {
        /// Odd length in pixels.
        length: usize,
        /// Direction in degrees, anticlockwise from the column axis.
        angle_degrees: f64,
        /// What lies beyond the edges.
        #[serde(default, skip_serializing_if = "is_circular")]
        border: Border,
    },
    /// A true convolution, its centre at (rows/2, columns/2).
    Convolution {
        /// Rows of taps; JSON may name a [`KernelShape`](super::KernelShape) instead.
        #[serde(deserialize_with = "kernel_shape::rows")]
        kernel: Vec<Vec<f64>>,
        /// What lies beyond the edges.
        #[serde(default)]
        border: Border,
    },
    /// The same with a kernel of its own for every channel.
    ChannelConvolution {
        /// A kernel a channel.
        #[serde(deserialize_with = "kernel_shape::list_of_rows")]
        kernels: Vec<Vec<Vec<f64>>>,
        /// What lies beyond the edges.
        #[serde(default)]
        border: Border,
    },
    /// A blur that differs from place to place.
    VaryingBlur {
        /// The kernels that are blended.
        #[serde(deserialize_with = "kernel_shape::list_of_rows")]
        kernels: Vec<Vec<Vec<f64>>>,
        /// Where each of them is at work.
        windows: KernelWindows,
        /// What lies beyond the edges.
        #[serde(default)]
        border: Border,
    },
    /// A change of size, as Pillow computes it.
    Resize {
        /// Height of y.
        height: usize,
        /// Width of y.
        width: usize,
        /// The filter.
        filter: ResizeFilter,
    },
    /// A weight of each value.
    Weights {
        /// C · H · W numbers.
        weights: Vec<f64>,
    },
    /// The luminance of red, green and blue.
    Grey {},
    /// Parallel-beam projections, as scikit-image's `radon` with `circle=True`.
    Radon {
        /// Angles in degrees.
        angles_degrees: Vec<f64>,
        /// Where the axis of rotation falls on the detector, whose positions are counted from 0; n/2 where it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        axis: Option<f64>,
    },
    /// A real image as a complex one, a pair of channels.
    Real {},
    /// The orthonormal 2-D DFT of a complex image, a pair of channels, where a mask is 1.
    Fourier {
        /// Rows of 0 and 1, the frequency 0 first in rows and columns.
        mask: Vec<Vec<u8>>,
    },
    /// The same as several receiver coils see it.
    Coils {
        /// The sensitivity of each coil: rows of its real part, and rows of its imaginary part.
        maps: Vec<[Vec<Vec<f64>>; 2]>,
        /// Rows of 0 and 1, the frequency 0 first in rows and columns.
        mask: Vec<Vec<u8>>,
    },
    /// The Fourier transform at any frequencies.
    NonuniformFourier {
        /// (u, v) in cycles a pixel, u along columns and v along rows.
        points: Vec<[f64; 2]>,
        /// How the sums are computed; by the size, where it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<FourierMethod>,
    },
    /// Independent normal numbers of variance 1/m.
    GaussianMatrix {
        /// m
        rows: usize,
        /// What they are drawn by.
        seed: u64,
    },
    /// Rows of the Walsh-Hadamard transform of the image under random signs, padded with zeros to a power of two.
    WalshHadamard {
        /// How many.
        rows: usize,
        /// What rows and signs are drawn by.
        seed: u64,
    },
    /// A rectangle of the image.
    Crop {
        /// Its first row.
        top: usize,
        /// Its first column.
        left: usize,
        /// Its rows.
        height: usize,
        /// Its columns.
        width: usize,
    },
    /// Zeros around the image.
    Pad {
        /// Rows above.
        top: usize,
        /// Rows below.
        bottom: usize,
        /// Columns on the left.
        left: usize,
        /// Columns on the right.
        right: usize,
    },
    /// One colour at every pixel, as a camera's sensor sees.
    Bayer {
        /// The colours of the upper left 2×2 pixels.
        pattern: BayerPattern,
    },
    /// One operator after another, the first applied to the image first.
    Chain {
        /// The operators.
        of: Vec<OperatorSpec>,
    },
    /// What several operators give, added.
    Sum {
        /// The operators.
        of: Vec<OperatorSpec>,
    },
    /// What several operators give, one after the other.
    Stack {
        /// The operators.
        of: Vec<OperatorSpec>,
    },
    /// A multiple of an operator.
    Scale {
        /// The number by which what it gives is multiplied.
        factor: f64,
        /// The operator.
        of: Box<OperatorSpec>,
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

/// Where each kernel of a blur that varies is at work: windows that sum to 1 at every pixel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "windows are {\"grid\": [rows, columns]}, or for each kernel rows of numbers as large as the image"
)]
pub enum KernelWindows {
    /// Bilinear ones around the places of a grid: [`VaryingBlur::grid`].
    Grid {
        /// Rows and columns.
        grid: [usize; 2],
    },
    /// These, one a kernel.
    Given(Vec<Vec<Vec<f64>>>),
}

impl KernelWindows {
    /// The windows on images of a shape, one a kernel.
    fn on(&self, shape: Shape) -> Result<Vec<Vec<f64>>, MathError> {
        match self {
            Self::Grid { grid: [rows, columns] } => VaryingBlur::grid(shape, *rows, *columns),
            Self::Given(windows) => {
                windows.iter().map(|window| flat("a window of the blur", window)).collect()
            }
        }
    }
}

/// The mask of [`OperatorSpec::RandomMask`].
fn random_mask(shape: Shape, missing: f64, seed: u64) -> Result<Mask, MathError> {
    Mask::random(shape, missing, &Stream::named(seed, "random-mask"))
}

/// [`OperatorSpec::pixel_by_pixel`] of operators that see images of one shape.
fn each_pixel_by_pixel(
    of: Vec<OperatorSpec>,
    shape: Shape,
) -> Result<Vec<OperatorSpec>, MathError> {
    of.into_iter().map(|spec| spec.pixel_by_pixel(shape)).collect()
}

impl OperatorSpec {
    /// The description of a mask pixel by pixel, in the place of one by its seed; any other as it is.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] for a share outside [0, 1), [`MathError::EmptyMask`] where no pixel is left.
    pub fn pixel_by_pixel(self, shape: Shape) -> Result<Self, MathError> {
        match self {
            Self::RandomMask { missing, seed } => {
                Ok(Operator::Mask(random_mask(shape, missing, seed)?).spec())
            }
            Self::Scale { factor, of } => {
                Ok(Self::Scale { factor, of: Box::new(of.pixel_by_pixel(shape)?) })
            }
            Self::Sum { of } => Ok(Self::Sum { of: each_pixel_by_pixel(of, shape)? }),
            Self::Stack { of } => Ok(Self::Stack { of: each_pixel_by_pixel(of, shape)? }),
            Self::Chain { of } if of.iter().any(Self::has_random_mask) => {
                let mut links = Vec::with_capacity(of.len());
                let mut seen = shape;
                for (index, link) in of.into_iter().enumerate() {
                    let link = link.pixel_by_pixel(seen)?;
                    seen = link.prepare_link(index, seen)?.range();
                    links.push(link);
                }
                Ok(Self::Chain { of: links })
            }
            other => Ok(other),
        }
    }

    /// The taps of a blur by one kernel that are written out.
    #[must_use]
    pub fn kernel(&self) -> Option<&[Vec<f64>]> {
        match self {
            Self::CircularBlur { kernel } | Self::Convolution { kernel, .. } => Some(kernel),
            _ => None,
        }
    }

    /// The kernel of a blur by one, and its border; none for other families.
    ///
    /// # Errors
    /// What the constructor of the kernel says.
    pub fn one_kernel(&self) -> Result<Option<(Kernel, Border)>, MathError> {
        Ok(Some(match self {
            Self::CircularBlur { kernel } => (taps(kernel)?, Border::Circular),
            Self::Convolution { kernel, border } => (taps(kernel)?, *border),
            Self::GaussianBlur { sigma_blur, taps, border } => {
                (Kernel::gaussian(*sigma_blur, *taps)?, *border)
            }
            Self::MotionBlur { length, angle_degrees, border } => {
                (Kernel::motion(*length, angle_degrees.to_radians())?, *border)
            }
            _ => return Ok(None),
        }))
    }

    /// Whether every pixel is seen by itself, as for denoising.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        matches!(self, Self::AveragePool { factor: 1 })
    }

    /// The same without some of the values of y, which are 0.
    ///
    /// # Shapes
    /// is_gap: as y
    #[must_use]
    pub fn without(&self, is_gap: &[bool]) -> Self {
        let weights = is_gap.iter().map(|is_gap| if *is_gap { 0.0 } else { 1.0 }).collect();
        let weights = Self::Weights { weights };
        if self.is_identity() { weights } else { Self::Chain { of: vec![self.clone(), weights] } }
    }

    /// The same without some of the values of y by pixels, of a mask: none where channels differ in what they show, and of others.
    ///
    /// # Shapes
    /// is_gap: as y
    #[must_use]
    pub fn without_pixels(&self, is_gap: &[bool]) -> Option<Self> {
        let Self::Mask { observed } = self else { return None };
        let is_alike = (0..is_gap.len()).all(|i| {
            let pixel = i % observed.len();
            observed[pixel] == 0 || is_gap[i] == is_gap[pixel]
        });
        let seen = observed.iter().zip(is_gap).map(|(seen, is_gap)| seen * u8::from(!is_gap));
        is_alike.then(|| Self::Mask { observed: seen.collect() })
    }

    /// Whether it, or an operator that it is made of, is told by a seed.
    fn has_random_mask(&self) -> bool {
        match self {
            Self::RandomMask { .. } => true,
            Self::Scale { of, .. } => of.has_random_mask(),
            Self::Sum { of } | Self::Stack { of } | Self::Chain { of } => {
                of.iter().any(Self::has_random_mask)
            }
            _ => false,
        }
    }

    /// Prepares the operator for images of `shape`.
    ///
    /// # Errors
    /// What [`Shape::new`] and the constructor of the family say.
    pub fn prepare(&self, shape: Shape) -> Result<PreparedOperator, MathError> {
        // Fields of a shape are public: one may not have been checked.
        let shape = Shape::new(shape.channels, shape.height, shape.width)?;
        let family = self.family();
        let map = |map: Arc<dyn LinearMap>| PreparedOperator::Map { family, map };
        let basic = PreparedOperator::Basic;
        Ok(match self {
            Self::Mask { observed } => {
                check_bits("an entry of the mask", observed, "0 (hidden) or 1 (observed)")?;
                let observed = observed.iter().map(|v| *v == 1).collect();
                basic(Operator::Mask(Mask::new(shape, observed)?))
            }
            Self::RandomMask { missing, seed } => {
                basic(Operator::Mask(random_mask(shape, *missing, *seed)?))
            }
            Self::AveragePool { factor } => {
                basic(Operator::AveragePool(AveragePool::new(shape, *factor)?))
            }
            Self::CircularBlur { kernel } => {
                basic(Operator::CircularBlur(CircularBlur::new(shape, taps(kernel)?)?))
            }
            Self::GaussianBlur { sigma_blur, taps, border } => {
                self.blur(shape, Kernel::gaussian(*sigma_blur, *taps)?, *border)?
            }
            Self::MotionBlur { length, angle_degrees, border } => {
                self.blur(shape, Kernel::motion(*length, angle_degrees.to_radians())?, *border)?
            }
            Self::Convolution { kernel, border } => self.blur(shape, taps(kernel)?, *border)?,
            Self::Separable { vertical, horizontal } => basic(Operator::Separable(Separable::new(
                shape,
                &flat_of("the vertical matrix", vertical, shape.height)?,
                &flat_of("the horizontal matrix", horizontal, shape.width)?,
            )?)),
            Self::Dense { matrix } => basic(Operator::Dense(Dense::new(
                shape,
                matrix.len(),
                &flat_of("the matrix", matrix, shape.len())?,
            )?)),
            Self::Resize { height, width, filter } => {
                basic(Operator::Separable(filter.operator(shape, *height, *width)?))
            }
            Self::Weights { weights } => {
                basic(Operator::Weights(Weights::new(shape, weights.clone())?))
            }
            Self::Grey {} => map(Arc::new(Grey::new(shape)?)),
            Self::Real {} => map(Arc::new(RealImage::new(shape)?)),
            Self::Radon { angles_degrees, axis } => {
                map(Arc::new(Radon::new(shape, angles_degrees, *axis)?))
            }
            Self::Fourier { mask } => map(Arc::new(Fourier::new(shape, frequencies(mask)?)?)),
            Self::Coils { maps, mask } => {
                let mut values = Vec::new();
                for (coil, part) in maps.iter().flatten().enumerate() {
                    let (rows, columns) = (part.len(), columns(part));
                    let Shape { height, width, .. } = shape;
                    if (rows, columns) != (height, width) {
                        let coil = coil / 2;
                        return Err(MathError::CoilMap { coil, rows, columns, height, width });
                    }
                    values.extend(flat("a coil map", part)?);
                }
                map(Arc::new(Coils::new(shape, &values, frequencies(mask)?)?))
            }
            Self::NonuniformFourier { points, method } => {
                map(Arc::new(NonuniformFourier::new(shape, points, *method)?))
            }
            Self::GaussianMatrix { rows, seed } => {
                map(Arc::new(GaussianMatrix::new(shape, *rows, *seed)?))
            }
            Self::WalshHadamard { rows, seed } if shape.len().is_power_of_two() => {
                map(Arc::new(WalshHadamard::new(shape, *rows, *seed)?))
            }
            Self::WalshHadamard { rows, seed } => {
                let longer = Lengthened::new(shape)?;
                let transform = WalshHadamard::new(longer.range(), *rows, *seed)?;
                map(Arc::new(Chain::new(vec![Arc::new(longer), Arc::new(transform)])?))
            }
            Self::Crop { top, left, height, width } => {
                map(Arc::new(Crop::new(shape, (*top, *left), (*height, *width))?))
            }
            Self::ChannelConvolution { kernels, border } => {
                map(Arc::new(ChannelConvolution::new(shape, &list_of_taps(kernels)?, *border)?))
            }
            Self::VaryingBlur { kernels, windows, border } => {
                let windows = windows.on(shape)?;
                map(Arc::new(VaryingBlur::new(shape, &list_of_taps(kernels)?, windows, *border)?))
            }
            Self::Pad { top, bottom, left, right } => {
                map(Arc::new(Pad::new(shape, (*top, *bottom), (*left, *right))?))
            }
            Self::Bayer { pattern } => map(Arc::new(Bayer::new(shape, *pattern)?)),
            Self::Sum { of } => map(Arc::new(Sum::new(Self::maps(of, shape)?)?)),
            Self::Stack { of } => map(Arc::new(Stack::new(Self::maps(of, shape)?)?)),
            Self::Scale { factor, of } => {
                map(Arc::new(Scaled::new(*factor, of.prepare(shape)?.into_map())?))
            }
            Self::Chain { of } => {
                // What a camera sees of a larger scene is one operator, for which more is known.
                if let [blur, Self::Crop { top, left, height, width }] = &of[..]
                    && let Some(seen) =
                        blur.seen_of_scene(shape, (*top, *left), (*height, *width))?
                {
                    return Ok(map(seen));
                }
                let mut links: Vec<Arc<dyn LinearMap>> = Vec::with_capacity(of.len());
                let mut shape = shape;
                for (index, spec) in of.iter().enumerate() {
                    let link = spec.prepare_link(index, shape)?;
                    shape = link.range();
                    links.push(Arc::new(link));
                }
                map(Arc::new(Chain::new(links)?))
            }
        })
    }

    /// [`OperatorSpec::prepare`] at a place in a chain, which errors name.
    fn prepare_link(&self, index: usize, given: Shape) -> Result<PreparedOperator, MathError> {
        self.prepare(given).map_err(|problem| MathError::ChainLink {
            index,
            family: self.family(),
            given,
            problem: Box::new(problem),
        })
    }

    /// A rectangle of what a blur with [`Border::Valid`] gives, as one operator; none for other families.
    fn seen_of_scene(
        &self,
        shape: Shape,
        corner: (usize, usize),
        sides: (usize, usize),
    ) -> Result<Option<Arc<dyn LinearMap>>, MathError> {
        if self.reach().is_some()
            && let Some((kernel, _)) = self.one_kernel()?
        {
            let scene = Convolution::new(shape, kernel, Border::Valid)?;
            return Ok(Some(Arc::new(scene.cropped(corner, sides)?)));
        }
        match self {
            Self::ChannelConvolution { kernels, border: border @ Border::Valid } => {
                let scene = ChannelConvolution::new(shape, &list_of_taps(kernels)?, *border)?;
                Ok(Some(Arc::new(scene.cropped(corner, sides)?)))
            }
            Self::VaryingBlur { kernels, windows, border: border @ Border::Valid } => {
                let kernels = list_of_taps(kernels)?;
                let scene = VaryingBlur::new(shape, &kernels, windows.on(shape)?, *border)?;
                Ok(Some(Arc::new(scene.cropped(corner, sides)?)))
            }
            _ => Ok(None),
        }
    }

    /// [`OperatorSpec::prepare`] of an operator of a basic family.
    ///
    /// # Errors
    /// Those of [`OperatorSpec::prepare`]; [`MathError::NotBasic`] for other families.
    pub fn build(&self, shape: Shape) -> Result<Operator, MathError> {
        self.prepare(shape)?.into_basic()
    }

    /// The bytes that the matrices take which a short description stands for, on images of `shape`: that of compressed sensing.
    ///
    /// # Errors
    /// Those of [`OperatorSpec::prepare`] for what stands before others in a chain.
    pub fn bytes(&self, shape: Shape) -> Result<u64, MathError> {
        Ok(match self {
            Self::GaussianMatrix { rows, .. } => GaussianMatrix::bytes(shape, *rows),
            Self::Scale { of, .. } => of.bytes(shape)?,
            Self::Sum { of } | Self::Stack { of } => {
                let mut sum = 0u64;
                for spec in of {
                    sum = sum.saturating_add(spec.bytes(shape)?);
                }
                sum
            }
            Self::Chain { of } => {
                let mut sum = 0u64;
                let mut shape = shape;
                for (index, spec) in of.iter().enumerate() {
                    let bytes = spec.bytes(shape)?;
                    sum = sum.saturating_add(bytes);
                    if index + 1 < of.len() {
                        // What would take memory is not prepared for its shape alone.
                        if bytes > GaussianMatrix::MAX_BYTES {
                            break;
                        }
                        shape = match spec {
                            Self::GaussianMatrix { rows, .. } => Shape::new(1, 1, *rows)?,
                            spec => spec.prepare_link(index, shape)?.range(),
                        };
                    }
                }
                sum
            }
            _ => 0,
        })
    }

    /// What it does to an image, as the operator that is [prepared](OperatorSpec::prepare) says it, for laws, which have no shape to prepare
    /// for: a resize counts as one that makes smaller.
    #[must_use]
    pub fn kind(&self) -> OperatorKind {
        match self {
            Self::Mask { .. }
            | Self::AveragePool { factor: 1 }
            | Self::RandomMask { .. }
            | Self::Crop { .. }
            | Self::Pad { .. }
            | Self::Bayer { .. } => OperatorKind::Pixels,
            Self::AveragePool { .. } | Self::Resize { .. } => OperatorKind::Means,
            Self::CircularBlur { .. }
            | Self::GaussianBlur { .. }
            | Self::MotionBlur { .. }
            | Self::Convolution { .. }
            | Self::ChannelConvolution { .. }
            | Self::VaryingBlur { .. } => OperatorKind::Blurs,
            Self::Chain { of } => OperatorKind::of_chain(of.iter().map(Self::kind)),
            Self::Scale { of, .. } => of.kind(),
            Self::Separable { .. }
            | Self::Dense { .. }
            | Self::Weights { .. }
            | Self::Grey {}
            | Self::Real {}
            | Self::Radon { .. }
            | Self::Fourier { .. }
            | Self::Coils { .. }
            | Self::NonuniformFourier { .. }
            | Self::GaussianMatrix { .. }
            | Self::WalshHadamard { .. }
            | Self::Sum { .. }
            | Self::Stack { .. } => OperatorKind::Others,
        }
    }

    /// The name of the family in files.
    #[must_use]
    pub fn family(&self) -> &'static str {
        match self {
            Self::Mask { .. } => "mask",
            Self::RandomMask { .. } => "random-mask",
            Self::AveragePool { .. } => "average-pool",
            Self::CircularBlur { .. } => "circular-blur",
            Self::GaussianBlur { .. } => "gaussian-blur",
            Self::MotionBlur { .. } => "motion-blur",
            Self::Convolution { .. } => "convolution",
            Self::Separable { .. } => "separable",
            Self::Dense { .. } => "dense",
            Self::Resize { .. } => "resize",
            Self::Weights { .. } => "weights",
            Self::Grey {} => "grey",
            Self::Real {} => "real",
            Self::Radon { .. } => "radon",
            Self::Fourier { .. } => "fourier",
            Self::Crop { .. } => "crop",
            Self::Chain { .. } => "chain",
            Self::Coils { .. } => "coils",
            Self::NonuniformFourier { .. } => "nonuniform-fourier",
            Self::GaussianMatrix { .. } => "gaussian-matrix",
            Self::WalshHadamard { .. } => "walsh-hadamard",
            Self::ChannelConvolution { .. } => "channel-convolution",
            Self::VaryingBlur { .. } => "varying-blur",
            Self::Pad { .. } => "pad",
            Self::Bayer { .. } => "bayer",
            Self::Sum { .. } => "sum",
            Self::Stack { .. } => "stack",
            Self::Scale { .. } => "scale",
        }
    }

    /// Operators that all see images of one shape.
    fn maps(of: &[Self], shape: Shape) -> Result<Vec<Arc<dyn LinearMap>>, MathError> {
        of.iter().map(|spec| Ok(spec.prepare(shape)?.into_map())).collect()
    }

    fn blur(
        &self,
        shape: Shape,
        kernel: Kernel,
        border: Border,
    ) -> Result<PreparedOperator, MathError> {
        if border == Border::Circular {
            let kernel = wrapped(kernel, shape)?;
            return Ok(Operator::CircularBlur(CircularBlur::new(shape, kernel)?).into());
        }
        let map = Arc::new(Convolution::new(shape, kernel, border)?);
        Ok(PreparedOperator::Map { family: self.family(), map })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_circular(border: &Border) -> bool {
    *border == Border::Circular
}

fn check_bits(what: &'static str, bits: &[u8], range: &'static str) -> Result<(), MathError> {
    match bits.iter().find(|bit| **bit > 1) {
        Some(bit) => Err(MathError::OutOfRange { what, value: f64::from(*bit), range }),
        None => Ok(()),
    }
}

/// The frequencies that a mask keeps.
fn frequencies(mask: &[Vec<u8>]) -> Result<Vec<bool>, MathError> {
    let mask = flat("the mask of frequencies", mask)?;
    check_bits("an entry of the mask of frequencies", &mask, "0 (left out) or 1 (kept)")?;
    Ok(mask.iter().map(|v| *v == 1).collect())
}

/// A kernel as large as the image at most, that does the same where the image wraps around.
fn wrapped(kernel: Kernel, shape: Shape) -> Result<Kernel, MathError> {
    let Shape { height, width, .. } = shape;
    let (rows, columns) = (kernel.rows(), kernel.columns());
    if rows <= height && columns <= width {
        return Ok(kernel);
    }
    let place = |index: usize, taps: usize, side: usize| {
        // From the old centre to the new one.
        (index + side / 2 + taps * side - taps / 2) % side
    };
    let mut taps = vec![0.0; height * width];
    for (i, tap) in kernel.taps().iter().enumerate() {
        taps[place(i / columns, rows, height) * width + place(i % columns, columns, width)] += tap;
    }
    Kernel::new(height, width, taps)
}

/// The kernel of a blur.
fn taps(kernel: &[Vec<f64>]) -> Result<Kernel, MathError> {
    let kernel = Kernel::new(kernel.len(), columns(kernel), flat("the kernel", kernel)?)?;
    kernel.check_sum()?;
    Ok(kernel)
}

fn list_of_taps(kernels: &[Vec<Vec<f64>>]) -> Result<Vec<Kernel>, MathError> {
    kernels.iter().map(|kernel| taps(kernel)).collect()
}

pub(super) fn columns<T>(rows: &[Vec<T>]) -> usize {
    rows.first().map_or(0, Vec::len)
}

/// Row-major values of a matrix whose rows must be of one length.
fn flat<T: Clone>(what: &'static str, rows: &[Vec<T>]) -> Result<Vec<T>, MathError> {
    flat_of(what, rows, columns(rows))
}

/// Row-major values of a matrix whose rows must be of this length.
fn flat_of<T: Clone>(
    what: &'static str,
    rows: &[Vec<T>],
    expected: usize,
) -> Result<Vec<T>, MathError> {
    match rows.iter().position(|row| row.len() != expected) {
        Some(row) => Err(MathError::Row { what, row, expected, found: rows[row].len() }),
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
                let side = |dense: &Dense| rows(dense.matrix(), dense.domain().len());
                OperatorSpec::Separable { vertical: side(vertical), horizontal: side(horizontal) }
            }
            Self::Dense(dense) => {
                OperatorSpec::Dense { matrix: rows(dense.matrix(), dense.domain().len()) }
            }
            Self::Weights(weights) => OperatorSpec::Weights { weights: weights.weights().to_vec() },
        }
    }
}

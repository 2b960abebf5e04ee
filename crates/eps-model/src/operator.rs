//! The operators of `eps-math` on batches of tensors: the basis transforms, on any device.
//!
//! Only transforms live here; every formula in an eigenvalue stays in `eps-math` and reaches the
//! tensors as a [`Field`] of gains over [`TensorOperator::eigenvalues`].

use std::mem::discriminant;
use std::sync::Arc;

use eps_math::operator::{
    EigenForm, LinearMap, MatrixForm, Operator, PreparedOperator, RangeBasis, Spectral as _, lifted,
};
use eps_math::{Level, Shape};
use tch::{Device, Kind, Tensor};

use crate::extent::extent;
use crate::host_krylov::each;
use crate::krylov::{Krylov, Spaces};
use crate::krylov_report::KrylovReport;
use crate::{ComputeError, Field, ModelError};

/// One operator an image, or one for all, prepared on a device in f64.
#[derive(Debug)]
pub struct TensorOperator {
    domain: Shape,
    range: Shape,
    operators: Vec<PreparedOperator>,
    basis: Basis,
    eigenvalues: Field,
}

/// The eigenbasis of AᵀA and what A needs beside it.
#[derive(Debug)]
enum Basis {
    /// Identity; the eigenvalues `[B, 1, H, W]` are the mask.
    Pixels,
    /// Identity, with the weights `[B, C, H, W]` whose squares are the eigenvalues.
    Weights(Tensor),
    /// Block mean (coordinate 0) and complement (coordinate 1).
    Blocks(i64),
    /// 2-D DFT, of whose plane real images need half; ĥ there as complex `[B, 1, H, W/2 + 1]`.
    Fourier(Tensor),
    /// R and V_r, C and V_c, each `[B, 1, ., .]`.
    Sides { vertical: Side, horizontal: Side },
    /// A and V, each `[B, ., .]`.
    Matrix(Side),
    /// A and V_r, each `[B, ., .]`, of a rank r, and what is across them: coordinates 0 to r, and r.
    Range(Side),
    /// None is known, or none in one of these forms.
    Unknown(Box<Krylov>),
}

impl Basis {
    /// The basis of operators of one form and one shape, and their eigenvalues.
    fn of(operators: &[&Operator], forms: &[EigenForm<'_>], device: Device) -> (Self, Field) {
        let Shape { channels, height, width } = operators[0].domain();
        let (batch, channels) = (extent(operators.len()), extent(channels));
        let plane = height * width;
        let (height, width) = (extent(height), extent(width));
        // One plane of eigenvalues an image: all channels share it, but for a dense matrix.
        let planes = || {
            let values: Vec<f64> =
                operators.iter().flat_map(|o| o.eigenvalues().into_iter().take(plane)).collect();
            Tensor::from_slice(&values).view([batch, 1, height, width])
        };
        let (basis, eigenvalues) = match &forms[0] {
            EigenForm::Pixels => (Self::Pixels, planes()),
            EigenForm::Blocks(k) => {
                let mean = ((k * k) as f64).recip();
                let rest = if *k == 1 { mean } else { 0.0 };
                (Self::Blocks(extent(*k)), Tensor::from_slice(&[mean, rest]).view([1, 2, 1, 1]))
            }
            EigenForm::Frequencies(_) => {
                let transfers = forms.iter().filter_map(|form| match form {
                    EigenForm::Frequencies(transfer) => Some(transfer),
                    _ => None,
                });
                let (re, im): (Vec<f64>, Vec<f64>) = transfers.flatten().copied().unzip();
                let plane = |v: &[f64]| Tensor::from_slice(v).view([batch, 1, height, width]);
                let transfer =
                    half_plane(&Tensor::complex(&plane(&re), &plane(&im))).to_device(device);
                (Self::Fourier(transfer), planes())
            }
            EigenForm::Sides(..) => {
                let sides = forms.iter().filter_map(|form| match form {
                    EigenForm::Sides(vertical, horizontal) => Some((vertical, horizontal)),
                    _ => None,
                });
                let vertical = Side::stack(sides.clone().map(|s| s.0), device).with_channel_axis();
                let horizontal = Side::stack(sides.map(|s| s.1), device).with_channel_axis();
                (Self::Sides { vertical, horizontal }, planes())
            }
            EigenForm::Weights(_) => {
                let weights = forms.iter().filter_map(|form| match form {
                    EigenForm::Weights(weights) => Some(*weights),
                    _ => None,
                });
                let values: Vec<f64> = weights.flatten().copied().collect();
                let weights = Tensor::from_slice(&values)
                    .view([batch, channels, height, width])
                    .to_device(device);
                let eigenvalues = weights.square();
                (Self::Weights(weights), eigenvalues)
            }
            EigenForm::Matrix(_) => {
                let matrices = forms.iter().filter_map(|form| match form {
                    EigenForm::Matrix(matrix) => Some(matrix),
                    _ => None,
                });
                let values: Vec<f64> = operators.iter().flat_map(|o| o.eigenvalues()).collect();
                let eigenvalues = Tensor::from_slice(&values).view([batch, -1, 1, 1]);
                (Self::Matrix(Side::stack(matrices, device)), eigenvalues)
            }
        };
        (basis, Field(eigenvalues.to_device(device)))
    }

    /// The basis of maps of one rank beside their matrices, and their eigenvalues: the last is 0, across all vectors.
    fn of_ranges(bases: &[&RangeBasis], device: Device) -> (Self, Field) {
        let (rank, batch) = (extent(bases[0].rank()), extent(bases.len()));
        let stack = |values: Vec<Vec<f64>>, columns: i64| {
            Tensor::from_slice(&values.concat()).view([batch, -1, columns]).to_device(device)
        };
        let vectors = stack(bases.iter().map(|basis| basis.vectors()).collect(), rank);
        let n = vectors.size()[1];
        let matrix = stack(bases.iter().map(|basis| basis.matrix()).collect(), n);
        let eigenvalues =
            bases.iter().flat_map(|basis| basis.eigenvalues().iter().copied().chain([0.0]));
        let eigenvalues: Vec<f64> = eigenvalues.collect();
        let eigenvalues = Tensor::from_slice(&eigenvalues).view([batch, -1, 1, 1]);
        (Self::Range(Side { matrix, basis: vectors }), Field(eigenvalues.to_device(device)))
    }
}

/// The form of an operator's eigenbasis.
fn form(operator: &PreparedOperator) -> Option<EigenForm<'_>> {
    operator.basic()?.form()
}

/// Kinds of eigenvectors of AᵀA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Directions {
    Pixels,
    /// The normalised means of k×k blocks, and what is across them.
    Blocks(i64),
    /// Those of the orthonormal 2-D DFT.
    Frequencies,
    /// Any others.
    Others,
}

/// Images in the eigenbasis of AᵀA, Vᵀx: [`TensorOperator::coordinates`] makes them,
/// [`TensorOperator::spectral_sum`] takes them back.
#[derive(Debug)]
pub struct Coordinates {
    /// Vᵀx; of blocks the images themselves, of frequencies the half plane.
    values: Tensor,
    /// The means of blocks, where the basis is of blocks; V_rᵀx of that of a range.
    means: Option<Tensor>,
    /// The Krylov spaces of the images, where no basis is known.
    spaces: Spaces,
}

impl Coordinates {
    /// Images in the basis of pixels.
    pub(crate) fn of_pixels(x: Tensor) -> Self {
        Self { values: x, means: None, spaces: Spaces::default() }
    }
}

/// [`TensorOperator::spectral_sum`] in the basis of pixels.
pub(crate) fn pixel_sum(terms: &[(&Coordinates, &Field)]) -> Tensor {
    sum_of(terms, &|x, gains| &x.values * gains)
}

fn sum_of(
    terms: &[(&Coordinates, &Field)],
    term: &dyn Fn(&Coordinates, &Tensor) -> Tensor,
) -> Tensor {
    let terms = terms.iter().map(|(x, Field(gains))| term(x, gains));
    terms.reduce(|a, b| a + b).expect("at least one term")
}

/// A matrix and the right singular vectors of its decomposition.
#[derive(Debug)]
struct Side {
    matrix: Tensor,
    basis: Tensor,
}

impl Side {
    fn stack<'a>(sides: impl Iterator<Item = &'a MatrixForm>, device: Device) -> Self {
        let (matrices, bases): (Vec<_>, Vec<_>) = sides
            .map(|side| {
                let square =
                    |values: &[f64]| Tensor::from_slice(values).view([-1, extent(side.columns)]);
                (square(&side.matrix), square(&side.basis))
            })
            .unzip();
        Self {
            matrix: Tensor::stack(&matrices, 0).to_device(device),
            basis: Tensor::stack(&bases, 0).to_device(device),
        }
    }

    fn with_channel_axis(self) -> Self {
        Self { matrix: self.matrix.unsqueeze(1), basis: self.basis.unsqueeze(1) }
    }
}

impl TensorOperator {
    /// Prepares one operator an image, or one for all images; all of one family and one shape.
    ///
    /// Operators without an eigenbasis in closed form: see [`TensorOperator::of_maps`].
    ///
    /// # Errors
    /// [`ModelError::MixedOperators`] if the batch is empty, or mixes families or shapes.
    pub fn new<O: Into<PreparedOperator>>(
        operators: Vec<O>,
        device: Device,
    ) -> Result<Self, ModelError> {
        let operators: Vec<PreparedOperator> = operators.into_iter().map(Into::into).collect();
        let first = operators.first().ok_or(ModelError::MixedOperators("an empty batch"))?;
        let (domain, range) = (first.domain(), first.range());
        // Beside one without a basis, the others are solved as it is: of measurements of which one has missing values.
        let basic: Option<Vec<&Operator>> = operators.iter().map(|o| o.basic()).collect();
        let forms: Option<Vec<EigenForm<'_>>> = operators.iter().map(form).collect();
        let are_alike = |forms: &Vec<EigenForm<'_>>| {
            forms.iter().all(|of| discriminant(of) == discriminant(&forms[0]))
        };
        if !forms.as_ref().is_none_or(are_alike) {
            return Err(ModelError::MixedOperators("several families"));
        }
        if operators.iter().any(|o| o.domain() != domain || o.range() != range) {
            return Err(ModelError::MixedOperators("several shapes"));
        }
        let (basis, eigenvalues) = match basic.zip(forms) {
            Some((basic, forms)) => Basis::of(&basic, &forms, device),
            None => {
                let bases: Option<Vec<&RangeBasis>> =
                    operators.iter().map(|o| o.map().range_basis()).collect();
                match bases {
                    Some(bases) if bases.iter().all(|basis| basis.rank() == bases[0].rank()) => {
                        Basis::of_ranges(&bases, device)
                    }
                    _ => {
                        let maps = operators.iter().map(PreparedOperator::shared).collect();
                        let krylov = Krylov::new(maps, device);
                        let nodes = krylov.nodes(device);
                        (Basis::Unknown(Box::new(krylov)), nodes)
                    }
                }
            }
        };
        Ok(Self { domain, range, operators, basis, eigenvalues })
    }

    /// Prepares operators of your own, each a pair A, Aᵀ, one an image or one for all.
    ///
    /// Pivots come by conjugate gradients, to within a tenth of their noise, functions of AᵀA by Lanczos' method to
    /// 1 %: every sampler and network works, at the cost of some dozens of A and Aᵀ for each call, which
    /// [`TensorOperator::krylov_report`] counts. On a GPU they run there where every map is [written out](LinearMap::expression), and on
    /// the host where one is not.
    ///
    /// # Errors
    /// [`ModelError::MixedOperators`] if the batch is empty, or mixes shapes.
    pub fn of_maps(maps: Vec<Arc<dyn LinearMap>>, device: Device) -> Result<Self, ModelError> {
        let own = |map| PreparedOperator::Map { family: "an operator of your own", map };
        Self::new(maps.into_iter().map(own).collect(), device)
    }

    /// The shape of an image.
    #[must_use]
    pub fn domain(&self) -> Shape {
        self.domain
    }

    /// The shape of a measurement.
    #[must_use]
    pub fn range(&self) -> Shape {
        self.range
    }

    /// The operators on the host, one an image or one for all.
    #[must_use]
    pub fn operators(&self) -> &[PreparedOperator] {
        &self.operators
    }

    /// The eigenvalues λ of AᵀA, of a shape that broadcasts against one value an image
    /// (`[B, 1, 1, 1]`) and that [`TensorOperator::spectral_map`] takes back.
    ///
    /// Where no eigenbasis is known they are nodes from 0 to ‖A‖², at which gains are tabulated.
    #[must_use]
    pub fn eigenvalues(&self) -> &Field {
        &self.eigenvalues
    }

    /// Whether images have coordinates in an eigenbasis of AᵀA on the device, through which libtorch differentiates: of the families
    /// of [`Operator`], and of small matrices.
    #[must_use]
    pub fn has_basis(&self) -> bool {
        !matches!(self.basis, Basis::Unknown(_))
    }

    /// Whether an eigenbasis of AᵀA is known of every operator, on the device or by [`LinearMap::as_spectral`]: pivots are in closed form then,
    /// and measurements may be exact.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.basis {
            Basis::Unknown(krylov) => krylov.is_closed(),
            _ => true,
        }
    }

    /// What iterative solvers did so far, where no eigenbasis is known.
    #[must_use]
    pub fn krylov_report(&self) -> Option<KrylovReport> {
        match &self.basis {
            Basis::Unknown(krylov) => krylov.report(),
            _ => None,
        }
    }

    /// μ⋆ by conjugate gradients, where no eigenbasis is known.
    ///
    /// # Errors
    /// [`ComputeError::Math`] where they do not converge.
    pub(crate) fn mu_star(
        &self,
        y: &Tensor,
        sigma_y: f64,
        x_t: &Tensor,
        level: &Level<Field>,
    ) -> Option<Result<Tensor, ComputeError>> {
        match &self.basis {
            Basis::Unknown(krylov) => Some(krylov.mu_star(y, sigma_y, x_t, level)),
            _ => None,
        }
    }

    /// A x.
    ///
    /// # Shapes
    /// x: `[B, C, H, W]` in f64 → `[B, ..range]`
    ///
    /// # Panics
    /// If x has another number of images than there are operators and neither is 1.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        self.assert_batch(x);
        match &self.basis {
            Basis::Pixels => x * &self.eigenvalues.0,
            Basis::Weights(weights) => x * weights,
            Basis::Blocks(k) => block_mean(x, *k),
            Basis::Fourier(transfer) => self.filter(x, transfer),
            Basis::Sides { vertical, horizontal } => {
                vertical.matrix.matmul(x).matmul(&horizontal.matrix.transpose(-2, -1))
            }
            Basis::Matrix(side) => self.as_measurement(&product(&side.matrix, x)),
            Basis::Range(side) => self.as_measurement(&product_together(&side.matrix, x)),
            Basis::Unknown(krylov) => krylov.apply(x),
        }
    }

    /// Aᵀ y.
    ///
    /// # Shapes
    /// y: `[B, ..range]` in f64 → `[B, C, H, W]`
    ///
    /// # Panics
    /// As [`TensorOperator::apply`].
    pub fn adjoint(&self, y: &Tensor) -> Tensor {
        self.assert_batch(y);
        match &self.basis {
            Basis::Pixels => y * &self.eigenvalues.0,
            Basis::Weights(weights) => y * weights,
            Basis::Blocks(k) => spread(y, *k) / (k * k) as f64,
            Basis::Fourier(transfer) => self.filter(y, &transfer.conj()),
            Basis::Sides { vertical, horizontal } => {
                vertical.matrix.transpose(-2, -1).matmul(y).matmul(&horizontal.matrix)
            }
            Basis::Matrix(side) => self.as_image(&product(&side.matrix.transpose(-2, -1), y)),
            Basis::Range(side) => {
                self.as_image(&product_together(&side.matrix.transpose(-2, -1), y))
            }
            Basis::Unknown(krylov) => krylov.adjoint(y),
        }
    }

    /// AᵀA x.
    ///
    /// # Shapes
    /// x: `[B, C, H, W]` in f64 → `[B, C, H, W]`
    ///
    /// # Panics
    /// As [`TensorOperator::apply`].
    pub fn gram(&self, x: &Tensor) -> Tensor {
        match &self.basis {
            // One way to the basis and back, where A and Aᵀ take two.
            Basis::Pixels | Basis::Weights(_) | Basis::Blocks(_) | Basis::Fourier(_) => {
                self.spectral_map(x, &self.eigenvalues)
            }
            Basis::Sides { .. } | Basis::Matrix(_) | Basis::Range(_) | Basis::Unknown(_) => {
                self.adjoint(&self.apply(x))
            }
        }
    }

    /// V diag(gains) Vᵀ x for gains made from [`TensorOperator::eigenvalues`].
    ///
    /// # Shapes
    /// x: `[B, C, H, W]` in f64 → `[B, C, H, W]`
    ///
    /// # Panics
    /// As [`TensorOperator::apply`], and where a function that is iterated meets NaN: [`attempt`](crate::attempt) makes an error of that.
    pub fn spectral_map(&self, x: &Tensor, gains: &Field) -> Tensor {
        self.spectral_sum(&[(&self.coordinates(x), gains)])
    }

    /// Vᵀ x, for several maps of the same images.
    ///
    /// # Shapes
    /// x: `[B, C, H, W]` in f64
    ///
    /// # Panics
    /// As [`TensorOperator::apply`].
    pub fn coordinates(&self, x: &Tensor) -> Coordinates {
        self.assert_batch(x);
        let means = match &self.basis {
            Basis::Blocks(k) => Some(block_mean(x, *k)),
            Basis::Range(side) => Some(product_together(&side.basis.transpose(-2, -1), x)),
            _ => None,
        };
        let values = match &self.basis {
            Basis::Pixels
            | Basis::Weights(_)
            | Basis::Blocks(_)
            | Basis::Range(_)
            | Basis::Unknown(_) => x.shallow_clone(),
            Basis::Fourier(_) => frequencies(x),
            Basis::Sides { vertical, horizontal } => {
                vertical.basis.transpose(-2, -1).matmul(x).matmul(&horizontal.basis)
            }
            Basis::Matrix(side) => product(&side.basis.transpose(-2, -1), x),
        };
        Coordinates { values, means, spaces: Spaces::default() }
    }

    /// Σ V diag(gainsᵢ) Vᵀ xᵢ: maps of several images, added in the basis, with one way back.
    ///
    /// # Shapes
    /// → `[B, C, H, W]` in f64
    ///
    /// # Panics
    /// Without terms; if coordinates are of another operator, or of batches that do not broadcast; those of
    /// [`TensorOperator::spectral_map`].
    pub fn spectral_sum(&self, terms: &[(&Coordinates, &Field)]) -> Tensor {
        let sum = |term: &dyn Fn(&Coordinates, &Tensor) -> Tensor| sum_of(terms, term);
        match &self.basis {
            Basis::Pixels | Basis::Weights(_) => pixel_sum(terms),
            Basis::Blocks(k) => {
                // The gains of a block's mean and of its complement.
                let mean = |gains: &Tensor| gains.narrow(1, 0, 1);
                let rest = |gains: &Tensor| gains.narrow(1, 1, 1);
                let means = sum(&|x, gains| {
                    x.means.as_ref().expect("coordinates of blocks") * (mean(gains) - rest(gains))
                });
                sum(&|x, gains| &x.values * rest(gains)) + spread(&means, *k)
            }
            Basis::Range(side) => {
                let within = sum(&|x, gains| {
                    let (within, rest) = of_range(gains);
                    x.means.as_ref().expect("coordinates of a range") * (within - rest)
                });
                let rest = |gains: &Tensor| of_range(gains).1.view([-1, 1, 1, 1]);
                sum(&|x, gains| &x.values * rest(gains))
                    + self.as_image(&product_together(&side.basis, &within))
            }
            Basis::Fourier(_) => {
                self.of_frequencies(&sum(&|x, gains| &x.values * half_plane(gains)))
            }
            Basis::Sides { vertical, horizontal } => vertical
                .basis
                .matmul(&sum(&|x, gains| &x.values * gains))
                .matmul(&horizontal.basis.transpose(-2, -1)),
            Basis::Matrix(side) => {
                let row = |gains: &Tensor| gains.flatten(1, -1);
                self.as_image(&product(&side.basis, &sum(&|x, gains| &x.values * row(gains))))
            }
            Basis::Unknown(krylov) => {
                let mapped =
                    terms.iter().map(|(x, gains)| krylov.function(&x.values, gains, &x.spaces));
                mapped.reduce(|a, b| a + b).expect("at least one term")
            }
        }
    }

    /// The diagonal of V diag(gains) Vᵀ in pixel space.
    ///
    /// # Shapes
    /// `[B, 1, H, W]`; `[B, C, H, W]` for weights, a matrix and where no eigenbasis is known.
    ///
    /// # Panics
    /// Those of [`TensorOperator::spectral_map`].
    pub fn pixel_diagonal(&self, gains: &Field) -> Tensor {
        let (height, width) = (extent(self.domain.height), extent(self.domain.width));
        match &self.basis {
            Basis::Pixels | Basis::Weights(_) => gains.0.shallow_clone(),
            Basis::Blocks(k) => {
                let share = ((k * k) as f64).recip();
                let (mean, rest) = (gains.0.narrow(1, 0, 1), gains.0.narrow(1, 1, 1));
                (mean * share + rest * (1.0 - share)).expand([-1, 1, height, width], false)
            }
            Basis::Fourier(_) => gains
                .0
                .mean_dim([-2i64, -1].as_slice(), true, Kind::Double)
                .expand([-1, 1, height, width], false),
            Basis::Sides { vertical, horizontal } => vertical
                .basis
                .square()
                .matmul(&gains.0)
                .matmul(&horizontal.basis.square().transpose(-2, -1)),
            Basis::Matrix(side) => self.as_image(&product(&side.basis.square(), &gains.0)),
            Basis::Range(side) => {
                let (within, rest) = of_range(&gains.0);
                self.as_image(&(product_together(&side.basis.square(), &(within - &rest)) + rest))
            }
            Basis::Unknown(krylov) => krylov.diagonal(gains),
        }
    }

    /// What the eigenvectors of AᵀA are, as far as the moments of data tell them apart.
    pub(crate) fn directions(&self) -> Directions {
        match &self.basis {
            Basis::Pixels | Basis::Weights(_) => Directions::Pixels,
            Basis::Blocks(k) => Directions::Blocks(*k),
            Basis::Fourier(_) => Directions::Frequencies,
            Basis::Sides { .. } | Basis::Matrix(_) | Basis::Range(_) | Basis::Unknown(_) => {
                Directions::Others
            }
        }
    }

    /// The measurement in the image's shape, as a network reads it (arXiv 2606.17048, Appendix B).
    ///
    /// The masked observation for inpainting, the nearest-neighbour copy for average pooling and the blurred image
    /// itself for blurs; for the others Aᵀy/λ_max, which it is for masks and means too: it does not depend on the
    /// scale of A. [`lifted`] is the same of one image on the host.
    ///
    /// # Shapes
    /// y: `[B, ..range]` → `[B, C, H, W]`
    ///
    /// # Panics
    /// As [`TensorOperator::apply`].
    pub fn lift(&self, y: &Tensor) -> Tensor {
        self.assert_batch(y);
        match &self.basis {
            Basis::Blocks(k) => spread(y, *k),
            Basis::Fourier(_) => y.shallow_clone(),
            Basis::Pixels => self.adjoint(y),
            Basis::Range(_) if self.places() => {
                let maps: Vec<_> = self.operators.iter().map(PreparedOperator::map).collect();
                each(maps.len(), y, self.domain, |i, y| lifted(maps[i % maps.len()], y))
            }
            Basis::Weights(_) | Basis::Sides { .. } | Basis::Matrix(_) | Basis::Range(_) => {
                let largest = self.eigenvalues.0.amax([1i64, 2, 3].as_slice(), true);
                self.adjoint(y) / largest.clamp_min(f64::MIN_POSITIVE)
            }
            Basis::Unknown(krylov) => krylov.lift(y),
        }
    }

    /// Whether a map beside its matrix knows better than Aᵀy what was seen where.
    fn places(&self) -> bool {
        self.operators[0].map().placed(&vec![0.0; self.range.len()]).is_some()
    }

    /// One image or one operator goes with any number of the others.
    fn assert_batch(&self, x: &Tensor) {
        let (images, operators) = (x.size()[0], extent(self.operators.len()));
        assert!(
            images == operators || images == 1 || operators == 1,
            "a batch of {images} images for {operators} operators"
        );
    }

    /// Real images of the half plane of their DFT.
    fn of_frequencies(&self, values: &Tensor) -> Tensor {
        let sides = [extent(self.domain.height), extent(self.domain.width)];
        values.fft_irfft2(sides.as_slice(), [-2i64, -1], "backward")
    }

    /// Images filtered by a transfer function on the half plane.
    fn filter(&self, x: &Tensor, transfer: &Tensor) -> Tensor {
        self.of_frequencies(&(frequencies(x) * transfer))
    }

    fn as_image(&self, columns: &Tensor) -> Tensor {
        let Shape { channels, height, width } = self.domain;
        columns.view([-1, extent(channels), extent(height), extent(width)])
    }

    fn as_measurement(&self, columns: &Tensor) -> Tensor {
        let Shape { channels, height, width } = self.range;
        columns.view([-1, extent(channels), extent(height), extent(width)])
    }
}

/// The gains within a range, `[B, r]`, and across it, `[B, 1]`.
fn of_range(gains: &Tensor) -> (Tensor, Tensor) {
    let gains = gains.flatten(1, -1);
    let rank = gains.size()[1] - 1;
    (gains.narrow(1, 0, rank), gains.narrow(1, rank, 1))
}

/// M x of every image, `[B, m]`, for matrices `[B, m, n]`: an image's product does not depend on the others.
fn product(matrices: &Tensor, x: &Tensor) -> Tensor {
    matrices.matmul(&x.flatten(1, -1).unsqueeze(2)).squeeze_dim(2)
}

/// [`product`], where one matrix for all is multiplied once with all images beside each other: many times as fast, and an
/// image's rounding may depend on their number.
fn product_together(matrices: &Tensor, x: &Tensor) -> Tensor {
    match matrices.size()[0] {
        1 => x.flatten(1, -1).matmul(&matrices.squeeze_dim(0).transpose(-2, -1)),
        _ => product(matrices, x),
    }
}

fn block_mean(x: &Tensor, k: i64) -> Tensor {
    x.avg_pool2d([k, k], [k, k], [0, 0], false, false, None::<i64>)
}

fn spread(y: &Tensor, k: i64) -> Tensor {
    y.repeat_interleave_self_int(k, -2, None).repeat_interleave_self_int(k, -1, None)
}

/// The transfer function of the circular k×k mean, in the shape `[1, 1, H, W]` of `like`.
pub(crate) fn box_mean(like: &Tensor, k: i64) -> Tensor {
    let kernel = like.zeros_like();
    let _ = kernel.narrow(-2, 0, k).narrow(-1, 0, k).fill_(((k * k) as f64).recip());
    kernel.fft_fft2(None::<&[i64]>, [-2i64, -1], "backward")
}

/// The DFT of real images, the half of its plane that has the rest in it: `[B, C, H, W/2 + 1]`.
fn frequencies(x: &Tensor) -> Tensor {
    x.fft_rfft2(None::<&[i64]>, [-2i64, -1], "backward")
}

/// That half of a plane of frequencies.
fn half_plane(plane: &Tensor) -> Tensor {
    plane.narrow(-1, 0, plane.size()[3] / 2 + 1)
}

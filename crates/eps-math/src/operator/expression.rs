//! Linear maps written out of elementary ones, as data.

use std::sync::Arc;

use rustfft::num_complex::Complex;

/// A linear map written out of elementary ones, each of which any device can compute: what a GPU needs of an operator whose
/// [`LinearMap::apply`](super::LinearMap::apply) runs on the host.
///
/// Values of an image lie in one row, as in the host's slices. A pair is two planes of one size, the real and the imaginary parts of
/// complex numbers.
#[derive(Debug, Clone)]
pub enum Expression {
    /// y = c x.
    Scale(f64),
    /// y_i = w_i x_i.
    Weights(Vec<f64>),
    /// A sparse matrix.
    Sparse(Sparse),
    /// M x, for a matrix of so many columns in row-major order.
    Matrix {
        /// The values of x.
        columns: usize,
        /// M.
        values: Arc<Vec<f64>>,
    },
    /// L⁻¹ x, for a lower triangular matrix of so many rows in row-major order.
    LowerSolve {
        /// The values of x and of y.
        rows: usize,
        /// L.
        values: Vec<f64>,
    },
    /// R X Cᵀ of one plane, for matrices in row-major order.
    Sides {
        /// Height and width of X.
        plane: (usize, usize),
        /// R.
        vertical: Vec<f64>,
        /// C.
        horizontal: Vec<f64>,
    },
    /// One plane that wraps around, each frequency of its DFT times a gain, at −k the conjugate of that at k: only the first W/2 + 1 columns are
    /// read.
    Filter {
        /// Height and width.
        plane: (usize, usize),
        /// The gains of the unnormalised DFT, frequency 0 first.
        gains: Vec<Complex<f64>>,
    },
    /// The orthonormal 2-D DFT of a pair.
    Dft {
        /// Height and width.
        plane: (usize, usize),
    },
    /// `Σ_{r,c} x[r, c] b_j[r] a_j[c]` of a pair, another pair of one row.
    Waves {
        /// Height and width of x.
        plane: (usize, usize),
        /// b, one row for each value of y.
        rows: Vec<Complex<f64>>,
        /// a, one row for each value of y.
        columns: Vec<Complex<f64>>,
    },
    /// Each complex number of a pair times one of its own.
    Turns(Vec<Complex<f64>>),
    /// The orthonormal Walsh-Hadamard transform of Sylvester of all values, a power of two.
    Hadamard,
    /// Sums along the rays through one square plane, as [`Radon`](super::Radon) has them.
    Rays {
        /// The side of the plane.
        side: usize,
        /// (cos, sin) of every angle.
        angles: Vec<(f64, f64)>,
        /// Where the axis of rotation falls on the detector.
        axis: f64,
    },
    /// The same map on each of so many parts of x, whose results lie one after the other.
    Each(usize, Box<Self>),
    /// A map of its own on each part of x, all parts of one length, and all results too.
    Blocks(Vec<Self>),
    /// One after the other, the first first.
    Chain(Vec<Self>),
    /// The sum of what several maps make of x.
    Sum(Vec<Self>),
    /// What several maps make of x, one after the other, each with the length of its result.
    Stack(Vec<(usize, Self)>),
}

impl Expression {
    /// x itself.
    #[must_use]
    pub fn identity() -> Self {
        Self::Scale(1.0)
    }

    /// This map, then the next.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        match self {
            Self::Scale(1.0) => next,
            Self::Chain(mut of) => {
                of.push(next);
                Self::Chain(of)
            }
            first => Self::Chain(vec![first, next]),
        }
    }

    /// This map on each of so many parts.
    #[must_use]
    pub fn on_each(self, parts: usize) -> Self {
        if parts == 1 { self } else { Self::Each(parts, Box::new(self)) }
    }
}

/// A sparse matrix, entry by entry.
#[derive(Debug, Clone)]
pub struct Sparse {
    /// The values of x.
    pub columns: usize,
    /// The values of y.
    pub rows: usize,
    /// Row, column and weight of every entry that is not 0.
    pub entries: Vec<(usize, usize, f64)>,
}

/// AᵀA in a basis, as far as it is diagonal there: E with E Eᵀ = I or EᵀE = I, and λ with AᵀA = Eᵀ diag(λ) E.
///
/// Any function is then f(AᵀA) = f(0) I + Eᵀ diag(f(λ) − f(0)) E.
#[derive(Debug, Clone)]
pub struct Eigenbasis {
    /// E.
    pub into: Expression,
    /// λ, one for each value of E x.
    pub eigenvalues: Vec<f64>,
    /// Whether EᵀE = I: E sees all of x, and f(AᵀA) = Eᵀ diag(f(λ)) E.
    pub is_whole: bool,
}

/// (B + κ I)⁻¹ as data, for the B near AᵀA that [`LinearMap::approximate_inverse`](super::LinearMap::approximate_inverse) takes.
///
/// ```text
/// (B + κ I)⁻¹ = Eᵀ diag(1/(p + max(κ, l))) E + (I − PᵀP)/κ
/// ```
#[derive(Debug, Clone)]
pub struct Preconditioner {
    /// E.
    pub into: Expression,
    /// p, one for each value of E x.
    pub powers: Vec<f64>,
    /// l, one for each value of E x.
    pub least: Vec<f64>,
    /// P, what E can see: B is 0 outside, and the inverse 1/κ. None where E sees all of x and the last term is absent.
    pub within: Option<Expression>,
}

impl Preconditioner {
    /// Of c B.
    #[must_use]
    pub fn scaled(mut self, c: f64) -> Self {
        self.powers.iter_mut().chain(&mut self.least).for_each(|value| *value *= c);
        self
    }
}

impl From<Eigenbasis> for Preconditioner {
    fn from(Eigenbasis { into, eigenvalues, is_whole }: Eigenbasis) -> Self {
        let (least, within) = (vec![0.0; eigenvalues.len()], (!is_whole).then(|| into.clone()));
        Self { within, into, powers: eigenvalues, least }
    }
}

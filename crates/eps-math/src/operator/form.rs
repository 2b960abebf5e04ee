//! Forms of eigenbases that many images share in one pass.

/// The eigenbasis of AᵀA in a form of which a batch with other parameters for each image is one computation.
#[derive(Debug, Clone)]
pub enum EigenForm<'a> {
    /// Pixels, the same in every channel; A and Aᵀ multiply by the eigenvalue, 0 or 1.
    Pixels,
    /// Pixels, with these weights `[C, H, W]`, whose squares are the eigenvalues.
    Weights(&'a [f64]),
    /// The means of blocks of so many pixels a side, and what is across them.
    Blocks(usize),
    /// The 2-D DFT of every channel, with ĥ as (real, imaginary) pairs, `[H, W]`.
    Frequencies(Vec<(f64, f64)>),
    /// The right singular vectors of R and C, of Y = R X Cᵀ.
    Sides(MatrixForm, MatrixForm),
    /// The right singular vectors of a matrix.
    Matrix(MatrixForm),
}

/// A matrix with its right singular vectors.
#[derive(Debug, Clone)]
pub struct MatrixForm {
    /// The columns of the matrix.
    pub columns: usize,
    /// The matrix in row-major order.
    pub matrix: Vec<f64>,
    /// V, square and in row-major order: column j belongs to eigenvalue j.
    pub basis: Vec<f64>,
}

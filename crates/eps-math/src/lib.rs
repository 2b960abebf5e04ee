//! The mathematics of exact posterior sampling, in f64, without I/O and without libtorch.

mod error;
mod interpolant;
pub mod operator;
pub mod pivot;
pub mod precondition;
mod real;
pub mod rng;
mod shape;
mod task;

pub use error::MathError;
pub use interpolant::{Interpolant, Level, Rate};
pub use precondition::{Precondition, PreconditionMode};
pub use real::Real;
pub use shape::Shape;
pub use task::{Draw, Task};

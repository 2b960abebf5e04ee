//! Vectors that processes sum, wherever they lie.

use std::fmt;
use std::ops::Range;

use crate::Group;

/// Moves vectors of numbers between the processes of a group and adds them: on the host, or from GPU to GPU.
///
/// [`all_to_all`](Self::all_to_all) and [`all_gather`](Self::all_gather) wait until all processes call them, in the same order. A process that fails in
/// one of them ends the group ([`Group::abort`]), as the others would wait for it for ever.
pub trait Exchange<V>: fmt::Debug {
    /// Which process this one is, from 0 on, and how many there are.
    fn place(&self) -> (usize, usize);

    /// How many values a vector has.
    fn length(&self, vector: &V) -> usize;

    /// Some of a vector's values.
    fn slice(&self, vector: &V, values: Range<usize>) -> V;

    /// Vectors one behind the other; an empty one of none.
    fn concat(&self, vectors: Vec<V>) -> V;

    /// a + b, of as many values.
    fn add(&self, a: V, b: V) -> V;

    /// Gives piece k to process k, and returns the pieces of all for this one, by rank; `counts` are how many values of
    /// each come.
    fn all_to_all(&self, pieces: Vec<V>, counts: &[usize]) -> Vec<V>;

    /// The values of all processes, one behind the other by rank; `counts` are how many each has.
    fn all_gather(&self, values: V, counts: &[usize]) -> V;
}

/// Vectors on the host, which a group moves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host<'a>(pub(crate) &'a dyn Group);

impl Exchange<Vec<f32>> for Host<'_> {
    fn place(&self) -> (usize, usize) {
        (self.0.rank(), self.0.size())
    }

    fn length(&self, vector: &Vec<f32>) -> usize {
        vector.len()
    }

    fn slice(&self, vector: &Vec<f32>, values: Range<usize>) -> Vec<f32> {
        vector[values].to_vec()
    }

    fn concat(&self, mut vectors: Vec<Vec<f32>>) -> Vec<f32> {
        if vectors.len() == 1 { vectors.remove(0) } else { vectors.concat() }
    }

    fn add(&self, mut a: Vec<f32>, b: Vec<f32>) -> Vec<f32> {
        for (a, b) in a.iter_mut().zip(&b) {
            *a += b;
        }
        a
    }

    fn all_to_all(&self, pieces: Vec<Vec<f32>>, counts: &[usize]) -> Vec<Vec<f32>> {
        self.0.all_to_all(pieces, counts)
    }

    fn all_gather(&self, values: Vec<f32>, counts: &[usize]) -> Vec<f32> {
        self.0.all_gather_values(&values, counts)
    }
}

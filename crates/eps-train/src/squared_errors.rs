//! What a batch left to be learnt.

use tch::Tensor;

/// The squared errors of a batch under the weight of its configuration.
#[derive(Debug)]
pub(crate) struct Errors {
    /// Means over the pixels of an image, `[B]` in f64; with their graph until they are detached.
    pub(crate) of_images: Tensor,
    /// What each image was asked: the number of the task, 0 without tasks, and σ_t.
    pub(crate) questions: Vec<(usize, f64)>,
}

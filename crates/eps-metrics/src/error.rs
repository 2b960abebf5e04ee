/// What can be wrong with the input of a metric.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// An input holds no values, or a dimension is zero.
    #[error("{what} is empty: give at least one value")]
    Empty {
        /// The input.
        what: &'static str,
    },
    /// The length of an input does not fit its shape.
    #[error(
        "{what} has {got} values where {expected} fit the shape: check the order and sizes of its dimensions"
    )]
    Length {
        /// The input.
        what: &'static str,
        /// The length its shape asks for.
        expected: usize,
        /// Its length.
        got: usize,
    },
    /// The length of an input is not a multiple of what one row of it holds.
    #[error(
        "{what} has {got} values, which is no multiple of {unit}: check the sizes of its dimensions"
    )]
    Multiple {
        /// The input.
        what: &'static str,
        /// The length of a row.
        unit: usize,
        /// Its length.
        got: usize,
    },
    /// An input holds NaN or an infinite value.
    #[error("{what} holds {value} at flat index {index}: remove or recompute what is not finite")]
    NotFinite {
        /// The input.
        what: &'static str,
        /// The row-major index of the first such value.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A true image leaves the range [-1, 1].
    #[error(
        "truth holds {value} at flat index {index}, outside [-1, 1]: scale pixels by x / 127.5 - 1 (from 0..255) or 2 x - 1 (from 0..1)"
    )]
    Range {
        /// The row-major index of the first such value.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A metric is not defined for so few samples.
    #[error("too few samples: {what} needs at least {needed}, got {got}")]
    TooFewSamples {
        /// The metric.
        what: &'static str,
        /// How many it needs.
        needed: usize,
        /// How many were given.
        got: usize,
    },
    /// An image is smaller than the window of SSIM.
    #[error(
        "an image of {height}x{width} is smaller than the 11x11 window of ssim: leave ssim out or compare larger images"
    )]
    ImageTooSmall {
        /// Rows of the image.
        height: usize,
        /// Columns of the image.
        width: usize,
    },
    /// At least half of all pairs coincide, so the median heuristic gives the kernel no width.
    #[error(
        "the median squared distance of the pooled sample is zero: at least half of all pairs coincide, compare samples that differ"
    )]
    ZeroMedian,
    /// The means of all samples equal what they are compared with, so a ratio to their distance
    /// does not exist.
    #[error(
        "the distance of the samples' mean from its target is zero in every image: the energy ratio needs samples with an error"
    )]
    ZeroDistance,
    /// A direction of projection has length 0.
    #[error("direction {index} has length 0: give directions that differ from 0")]
    NoDirection {
        /// The number of the first such direction.
        index: usize,
    },
    /// No pixel has a large enough standard deviation.
    #[error(
        "no pixel has a standard deviation above {min_sd}: lower the threshold or check that the samples differ"
    )]
    NothingSelected {
        /// The threshold.
        min_sd: f64,
    },
    /// A central interval of this level cannot be read off the ranks.
    #[error(
        "a central interval of level {level} does not fall on the ranks of {samples} samples: choose them so that (samples + 1) (1 - level) / 2 is a whole number from 0 on, such as 19 samples for levels 0.5, 0.8 and 0.9"
    )]
    Level {
        /// The level.
        level: f64,
        /// Samples of an image.
        samples: usize,
    },
    /// The iteration for the singular values did not converge.
    #[error(
        "the singular values of a {size}x{size} matrix of features did not converge: look for extreme values among the features"
    )]
    NotConverged {
        /// The smaller dimension of the matrix.
        size: usize,
    },
}

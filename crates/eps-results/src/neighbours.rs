//! The nearest training images of samples: a network that has learnt its training set by heart would
//! give them back.

use serde::{Deserialize, Serialize};

use crate::method::Method;

/// How near the training images are to one sample of each image, and to the truths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbours {
    /// Whose samples.
    pub method: Method,
    /// The numbers of the training images nearest to the first sample of each image.
    pub of_samples: Vec<usize>,
    /// The root-mean-square difference of these on [0, 1], a mean over images.
    pub sample_distance: f64,
    /// That of the truths to the training images nearest to them: what unseen images have.
    pub truth_distance: f64,
}

impl Neighbours {
    /// The finding in words.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "Nearest training images, by root-mean-square difference on [0, 1]: {:.3} from a sample of {}, \
             {:.3} from a truth.",
            self.sample_distance,
            self.method.label(),
            self.truth_distance
        )
    }
}

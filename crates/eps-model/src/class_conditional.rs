//! A conditional network that is asked about images of known classes.

use tch::{Device, Kind, Tensor};

use crate::extent::extent;
use crate::{ComputeError, Denoiser, ModelError, NetworkDenoiser, Query, attempt};

/// A network with the classes of the images that it is asked about: E[x₀ | x₀ + ξ = μ, class].
///
/// The network itself, asked as a [`Denoiser`], sees zeros for the class, as EDM's does.
#[derive(Debug)]
pub struct ClassConditional<'a> {
    denoiser: &'a NetworkDenoiser,
    /// `[B, label_dim]` or `[1, label_dim]`
    labels: Tensor,
}

impl<'a> ClassConditional<'a> {
    /// Asks about the classes of a batch, one an image; a single class is that of all images.
    ///
    /// # Errors
    /// [`ModelError::Unconditional`] if the network knows no classes, [`ModelError::Class`] for a
    /// class that it does not know.
    ///
    /// # Panics
    /// If there is no class at all; in a query, if its images are another number than the classes.
    pub fn new(denoiser: &'a NetworkDenoiser, classes: &[usize]) -> Result<Self, ModelError> {
        assert!(!classes.is_empty(), "a class for all images, or one for each");
        let network = denoiser.network();
        let labels = one_hot(classes, network.config().label_dim(), network.device())?;
        Ok(Self { denoiser, labels })
    }

    /// Asks with any labels, such as mixtures of classes.
    ///
    /// # Shapes
    /// labels: `[B, label_dim]`, or `[1, label_dim]` for all images
    ///
    /// # Panics
    /// If the labels have another number of columns; in a query, if its images are another number.
    #[must_use]
    pub fn with_labels(denoiser: &'a NetworkDenoiser, labels: &Tensor) -> Self {
        let classes = extent(denoiser.network().config().label_dim());
        assert!(
            matches!(labels.size()[..], [_, columns] if columns == classes),
            "labels must be [B, {classes}], got {:?}",
            labels.size()
        );
        let labels = labels.to_device(denoiser.network().device()).to_kind(Kind::Float);
        Self { denoiser, labels }
    }

    /// The labels of a query's images.
    fn labels(&self, query: &Query<'_>) -> Tensor {
        self.labels.expand([query.mu.size()[0], -1], false)
    }
}

impl Denoiser for ClassConditional<'_> {
    fn denoise(&self, query: &Query<'_>) -> Result<Tensor, ComputeError> {
        let labels = attempt(|| self.labels(query))?;
        self.denoiser.denoise_labelled(query, Some(&labels))
    }

    fn denoise_vjp(
        &self,
        query: &Query<'_>,
        cotangent: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Tensor, Tensor), ComputeError> {
        let labels = attempt(|| self.labels(query))?;
        self.denoiser.vjp_labelled(query, Some(&labels), cotangent)
    }
}

/// The one-hot labels of classes, `[B, label_dim]` in f32.
///
/// # Errors
/// [`ModelError::Unconditional`] if `label_dim` is 0, [`ModelError::Class`] for a class that is not
/// below it.
pub fn one_hot(classes: &[usize], label_dim: usize, device: Device) -> Result<Tensor, ModelError> {
    if label_dim == 0 {
        return Err(ModelError::Unconditional);
    }
    if let Some(&class) = classes.iter().find(|&&class| class >= label_dim) {
        return Err(ModelError::Class { class, last: label_dim - 1 });
    }
    let classes: Vec<i64> = classes.iter().map(|&class| extent(class)).collect();
    let labels = Tensor::from_slice(&classes).one_hot(extent(label_dim));
    Ok(labels.to_kind(Kind::Float).to_device(device))
}

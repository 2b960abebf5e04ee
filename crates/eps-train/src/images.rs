//! The images of a run and their classes.

use eps_math::{MathError, Shape};
use eps_model::{extent, length_of, one_hot, values_of_pixels};
use tch::{Device, Kind, Tensor};

use crate::{TrainConfig, TrainError};

/// The images of a run, `[N, C, H, W]`: bytes, v ↦ v/127.5 − 1, or numbers in [-1, 1].
#[derive(Debug)]
pub struct Images {
    /// The training split.
    pub train: Tensor,
    /// The validation split.
    pub validation: Tensor,
    /// The classes of both, where the data set has them: a conditional network learns with them, and
    /// with zeros where there are none.
    pub classes: Option<SplitClasses>,
}

/// The classes of [`Images`], one an image, from 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitClasses {
    /// Those of the training split.
    pub train: Vec<usize>,
    /// Those of the validation split.
    pub validation: Vec<usize>,
}

impl Images {
    /// Fails where a split has no images.
    pub(crate) fn check_counts(&self) -> Result<(), TrainError> {
        for (field, split) in [
            ("the number of training images", &self.train),
            ("the number of validation images", &self.validation),
        ] {
            if split.size().first().is_none_or(|count| *count == 0) {
                return Err(TrainError::Config { field, value: 0.0, range: "at least 1" });
            }
        }
        Ok(())
    }

    /// The classes of both splits for a network that knows them, `[N]`.
    pub(crate) fn known_classes(
        &self,
        config: &TrainConfig,
    ) -> Result<Option<[Tensor; 2]>, TrainError> {
        let label_dim = config.network.label_dim();
        let Some(classes) = self.classes.as_ref().filter(|_| label_dim > 0) else {
            return Ok(None);
        };
        for (field, classes, images) in [
            ("the number of training classes", &classes.train, &self.train),
            ("the number of validation classes", &classes.validation, &self.validation),
        ] {
            if extent(classes.len()) != images.size()[0] {
                let value = classes.len() as f64;
                return Err(TrainError::Config { field, value, range: "that of the images" });
            }
        }
        for last in [&classes.train, &classes.validation].into_iter().flat_map(|c| c.iter().max()) {
            let _ = one_hot(&[*last], label_dim, Device::Cpu)?;
        }
        let numbers = |classes: &[usize]| {
            Tensor::from_slice(&classes.iter().map(|class| extent(*class)).collect::<Vec<_>>())
        };
        Ok(Some([numbers(&classes.train), numbers(&classes.validation)]))
    }
}

/// The shape of one image of `[N, C, H, W]`.
pub(crate) fn shape_of(images: &Tensor) -> Result<Shape, TrainError> {
    let (_, channels, height, width) = images.size4()?;
    let [channels, height, width] = [channels, height, width].map(length_of);
    Ok(Shape::new(channels, height, width).map_err(MathError::from)?)
}

/// One split of a run's images, with the classes that a conditional network learns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Examples<'a> {
    pub(crate) images: &'a Tensor,
    /// `[N]`
    pub(crate) classes: Option<&'a Tensor>,
    pub(crate) label_dim: i64,
}

impl Examples<'_> {
    /// The chosen images as f64 in [-1, 1], and their one-hot labels in f32.
    pub(crate) fn select(&self, indices: &[i64], device: Device) -> (Tensor, Option<Tensor>) {
        let indices = Tensor::from_slice(indices);
        let images = self.images.index_select(0, &indices).to_device(device);
        let labels = self.classes.map(|classes| {
            let chosen = classes.index_select(0, &indices).to_device(device);
            chosen.one_hot(self.label_dim).to_kind(Kind::Float)
        });
        (values_of_pixels(&images), labels)
    }

    pub(crate) fn len(&self) -> usize {
        length_of(self.images.size()[0])
    }
}

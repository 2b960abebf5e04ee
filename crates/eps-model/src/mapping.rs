//! What noise level, class and augmentation become: one embedding.

use tch::{Device, Kind, Tensor};

use crate::edm2_layers::MpMapping;
use crate::layers::{Linear, Mode, NoiseEmbedding, check_labels};

/// How noise level and labels become the embedding of a network.
#[derive(Debug)]
pub(crate) enum Embedding {
    /// Two layers after sines and cosines.
    Mapping(Mapping),
    /// EDM2's.
    MagnitudePreserving(MpMapping),
}

impl From<Mapping> for Embedding {
    fn from(mapping: Mapping) -> Self {
        Self::Mapping(mapping)
    }
}

impl Embedding {
    /// The number of its weights without biases: the multiply-adds of an embedding with all labels.
    pub(crate) fn weight_count(&self) -> u64 {
        match self {
            Self::Mapping(mapping) => mapping.weight_count(),
            Self::MagnitudePreserving(mapping) => mapping.weight_count(),
        }
    }

    /// The embedding, in f32.
    ///
    /// # Shapes
    /// noise: `[B]`, class_labels: `[B, L]`, augment_labels: `[B, A]` → `[B, E]`
    ///
    /// # Panics
    /// If labels have another shape, or the network reads none.
    pub(crate) fn forward(
        &self,
        noise: &Tensor,
        class_labels: Option<&Tensor>,
        augment_labels: Option<&Tensor>,
        mode: Mode,
    ) -> Tensor {
        match self {
            Self::Mapping(mapping) => mapping.forward(noise, class_labels, augment_labels, mode),
            Self::MagnitudePreserving(mapping) => {
                let given = augment_labels.map(|labels| labels.size());
                assert!(given.is_none(), "the network reads no augment_labels, got {given:?}");
                mapping.forward(noise, class_labels)
            }
        }
    }
}

/// What a class becomes.
#[derive(Debug)]
pub(crate) enum LabelMap {
    /// A layer of one-hot labels.
    Linear(Linear),
    /// A row of a table `[L, E]` for each class.
    Table(Tensor),
}

impl LabelMap {
    /// The number of classes.
    fn classes(&self) -> i64 {
        match self {
            Self::Linear(layer) => layer.in_channels(),
            Self::Table(table) => table.size()[0],
        }
    }

    fn weight_count(&self) -> u64 {
        match self {
            Self::Linear(layer) => layer.weight_count(),
            Self::Table(table) => table.numel() as u64,
        }
    }

    fn device(&self) -> Device {
        match self {
            Self::Linear(layer) => layer.device(),
            Self::Table(table) => table.device(),
        }
    }

    /// # Shapes
    /// labels: `[B, L]` → `[B, E]`
    fn forward(&self, labels: &Tensor) -> Tensor {
        match self {
            Self::Linear(layer) => layer.forward(labels),
            Self::Table(table) => labels.matmul(table),
        }
    }
}

/// Where the class enters a [`Mapping`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LabelEntry {
    /// Beside the embedding of the noise level, times √L for L classes.
    Noise,
    /// After the two layers.
    Embedding,
}

/// The mapping network of an architecture.
///
/// ```text
/// entry Noise       silu(layer1(silu(layer0(noise + map_label(√L label) + map_augment(aug)))))
/// entry Embedding   silu(layer1(silu(layer0(noise + map_augment(aug)))) + map_label(label))
/// ```
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) noise: NoiseEmbedding,
    pub(crate) label: Option<LabelMap>,
    pub(crate) label_entry: LabelEntry,
    pub(crate) label_dropout: f64,
    pub(crate) augment: Option<Linear>,
    pub(crate) layers: [Linear; 2],
}

impl Mapping {
    /// The number of its weights without biases: the multiply-adds of an embedding with all labels.
    pub(crate) fn weight_count(&self) -> u64 {
        let layers = self.layers.iter().chain(&self.augment).map(Linear::weight_count);
        layers.sum::<u64>() + self.label.as_ref().map_or(0, LabelMap::weight_count)
    }

    /// The embedding, in f32.
    ///
    /// # Shapes
    /// c_noise: `[B]`, class_labels: `[B, L]`, augment_labels: `[B, A]` → `[B, E]`
    ///
    /// # Panics
    /// If labels have another shape, or the network reads none.
    pub(crate) fn forward(
        &self,
        c_noise: &Tensor,
        class_labels: Option<&Tensor>,
        augment_labels: Option<&Tensor>,
        mode: Mode,
    ) -> Tensor {
        let batch = c_noise.size()[0];
        let label = self.label(batch, class_labels, mode);
        let augment = augment_labels.and_then(|labels| {
            check_labels(
                labels,
                "augment_labels",
                batch,
                self.augment.as_ref().map_or(0, Linear::in_channels),
            );
            self.augment.as_ref().map(|layer| layer.forward(&float(labels)))
        });
        let add = |emb: Tensor, term: Option<Tensor>| match term {
            Some(term) => emb + term,
            None => emb,
        };
        let (before, after) = match self.label_entry {
            LabelEntry::Noise => (label, None),
            LabelEntry::Embedding => (None, label),
        };
        let emb = add(add(self.noise.forward(c_noise), before), augment);
        let emb = self.layers[0].forward(&emb).silu();
        add(self.layers[1].forward(&emb), after).silu()
    }

    /// What the class adds; a conditional network without labels sees zeros.
    fn label(&self, batch: i64, labels: Option<&Tensor>, mode: Mode) -> Option<Tensor> {
        let labels = labels.map(|labels| {
            check_labels(
                labels,
                "class_labels",
                batch,
                self.label.as_ref().map_or(0, LabelMap::classes),
            );
            float(labels)
        });
        let map = self.label.as_ref()?;
        let classes = map.classes();
        let mut labels =
            labels.unwrap_or_else(|| Tensor::zeros([batch, classes], (Kind::Float, map.device())));
        let device = labels.device();
        if let Some(keep) = mode.keep("model.map_label", &[batch, 1], self.label_dropout, device) {
            labels = &labels * keep;
        }
        let factor = match self.label_entry {
            LabelEntry::Noise => (classes as f64).sqrt(),
            LabelEntry::Embedding => 1.0,
        };
        Some(map.forward(&(labels * factor)))
    }
}

fn float(labels: &Tensor) -> Tensor {
    labels.to_kind(Kind::Float)
}

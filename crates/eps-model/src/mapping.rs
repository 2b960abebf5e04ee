//! The mapping network: noise level, class and augmentation become one embedding.

use tch::{Kind, Tensor};

use crate::layers::{Linear, Mode, NoiseEmbedding};

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
    pub(crate) label: Option<Linear>,
    pub(crate) label_entry: LabelEntry,
    pub(crate) label_dropout: f64,
    pub(crate) augment: Option<Linear>,
    pub(crate) layers: [Linear; 2],
}

impl Mapping {
    /// The number of its weights without biases: the multiply-adds of an embedding with all labels.
    pub(crate) fn weight_count(&self) -> u64 {
        let labels = [&self.label, &self.augment];
        let layers = self.layers.iter().chain(labels.into_iter().flatten());
        layers.map(Linear::weight_count).sum()
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
        let augment = augment_labels.map(|labels| {
            check(labels, "augment_labels", batch, self.augment.as_ref()).forward(&float(labels))
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
            check(labels, "class_labels", batch, self.label.as_ref());
            float(labels)
        });
        let map = self.label.as_ref()?;
        let classes = map.in_channels();
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

/// The layer that reads labels, which are of its shape.
fn check<'a>(labels: &Tensor, what: &str, batch: i64, map: Option<&'a Linear>) -> &'a Linear {
    match map {
        Some(map) if labels.size() == [batch, map.in_channels()] => map,
        _ => panic!(
            "{what} must be [{batch}, {}] (none where that is 0), got {:?}",
            map.map_or(0, Linear::in_channels),
            labels.size()
        ),
    }
}

fn float(labels: &Tensor) -> Tensor {
    labels.to_kind(Kind::Float)
}

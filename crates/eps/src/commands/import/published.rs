//! The networks that NVIDIA published with EDM, by the names of their files.
//!
//! Karras et al. 2022, tables 7 and 8. The files `…-vp` and `…-ve` differ in the architecture alone: all
//! have EDM's preconditioning.

use eps_model::SongUNetConfig;

/// A published architecture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Published {
    /// The name of its file, without the ending.
    pub(super) name: &'static str,
    /// The network.
    pub(super) config: SongUNetConfig,
}

/// All published architectures; of those with the same tensors the one that is meant without a name
/// comes first.
pub(super) fn all() -> Vec<Published> {
    let faces =
        |config: SongUNetConfig, dropout| SongUNetConfig { augment_dim: 9, dropout, ..config };
    let cifar = |config: SongUNetConfig, label_dim| SongUNetConfig {
        augment_dim: 9,
        channel_mult: vec![2, 2, 2],
        dropout: 0.13,
        label_dim,
        ..config
    };
    let ddpmpp = |side| SongUNetConfig::ddpmpp(side, 3, 3);
    let ncsnpp = |side| SongUNetConfig::ncsnpp(side, 3, 3);
    [
        ("edm-ffhq-64x64-uncond-vp", faces(ddpmpp(64), 0.05)),
        ("edm-ffhq-64x64-uncond-ve", faces(ncsnpp(64), 0.05)),
        ("edm-afhqv2-64x64-uncond-vp", faces(ddpmpp(64), 0.25)),
        ("edm-afhqv2-64x64-uncond-ve", faces(ncsnpp(64), 0.25)),
        ("edm-cifar10-32x32-uncond-vp", cifar(ddpmpp(32), 0)),
        ("edm-cifar10-32x32-uncond-ve", cifar(ncsnpp(32), 0)),
        ("edm-cifar10-32x32-cond-vp", cifar(ddpmpp(32), 10)),
        ("edm-cifar10-32x32-cond-ve", cifar(ncsnpp(32), 10)),
    ]
    .map(|(name, config)| Published { name, config })
    .into()
}

/// The names, for messages.
pub(super) fn names() -> String {
    all().iter().map(|published| published.name).collect::<Vec<_>>().join(", ")
}

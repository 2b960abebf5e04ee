//! The networks that Karras et al. (2022) published, by the names of their files.

use crate::{DhariwalUNetConfig, SongUNetConfig, UNetConfig};

/// The names that [`published`] knows.
pub const PUBLISHED: [&str; 9] = [
    "edm-ffhq-64x64-uncond-vp",
    "edm-ffhq-64x64-uncond-ve",
    "edm-afhqv2-64x64-uncond-vp",
    "edm-afhqv2-64x64-uncond-ve",
    "edm-cifar10-32x32-uncond-vp",
    "edm-cifar10-32x32-uncond-ve",
    "edm-cifar10-32x32-cond-vp",
    "edm-cifar10-32x32-cond-ve",
    "edm-imagenet-64x64-cond-adm",
];

/// The architecture of a network of [`PUBLISHED`].
///
/// "vp" and "ve" name the architecture alone, DDPM++ or NCSN++: all are preconditioned as in EDM.
#[must_use]
pub fn published(name: &str) -> Option<UNetConfig> {
    let vp = |side| SongUNetConfig::ddpmpp(side, 3, 3);
    let ve = |side| SongUNetConfig::ncsnpp(side, 3, 3);
    let faces = |config| SongUNetConfig { augment_dim: 9, dropout: 0.05, ..config };
    let animals = |config| SongUNetConfig { augment_dim: 9, dropout: 0.25, ..config };
    let cifar = |config, label_dim| SongUNetConfig {
        label_dim,
        augment_dim: 9,
        channel_mult: vec![2, 2, 2],
        dropout: 0.13,
        ..config
    };
    Some(match name {
        "edm-ffhq-64x64-uncond-vp" => faces(vp(64)).into(),
        "edm-ffhq-64x64-uncond-ve" => faces(ve(64)).into(),
        "edm-afhqv2-64x64-uncond-vp" => animals(vp(64)).into(),
        "edm-afhqv2-64x64-uncond-ve" => animals(ve(64)).into(),
        "edm-cifar10-32x32-uncond-vp" => cifar(vp(32), 0).into(),
        "edm-cifar10-32x32-uncond-ve" => cifar(ve(32), 0).into(),
        "edm-cifar10-32x32-cond-vp" => cifar(vp(32), 10).into(),
        "edm-cifar10-32x32-cond-ve" => cifar(ve(32), 10).into(),
        "edm-imagenet-64x64-cond-adm" => {
            DhariwalUNetConfig { label_dim: 1000, ..DhariwalUNetConfig::adm(64, 3, 3) }.into()
        }
        _ => return None,
    })
}

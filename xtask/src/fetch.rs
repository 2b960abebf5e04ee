//! `cargo xtask fetch`: data and networks that are not committed, checked by SHA-256.

mod fashion_mnist;
pub(crate) mod hl60;
mod lpips;
mod photos;
mod rcc;
mod source_archive;
mod stamp;

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;

/// What is fetched on demand.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Item {
    /// The 60,000 training images of Fashion-MNIST (26 MB); the test images are in data/.
    FashionMnist,
    /// The networks of LPIPS, AlexNet and VGG16 (64 MB), which `eps evaluate` takes where they are.
    Lpips,
    /// Projections of a living cell by light (9 MB), for `cargo xtask demo hl60`.
    Hl60,
    /// 270 photographs (60 MB), cut into the data sets photos-32 and photos-64 in some minutes.
    Photos,
}

/// Brings an item into `.deps/`, from the user's `file` where one is given; fetches nothing where it is
/// there already.
pub(crate) fn fetch(item: Item, file: Option<&Path>) -> Result<()> {
    match item {
        Item::FashionMnist => fashion_mnist::fetch(file),
        Item::Lpips => lpips::fetch(file),
        Item::Hl60 => hl60::fetch(file),
        Item::Photos => photos::fetch(file),
    }
}

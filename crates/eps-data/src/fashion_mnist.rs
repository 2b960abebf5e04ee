//! Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, Zalando Research, MIT licence), in three splits.
//!
//! The official 60,000 training images give the training split (the first 55,000) and the
//! validation split (the last 5,000); the official 10,000 test images are the test split.

use std::path::{Path, PathBuf};

use eps_files::sha256;
use eps_math::Shape;

use crate::idx::read_idx;
use crate::{DataError, ImageProvenance, ImageSet, Split};

/// The file of the official training images.
pub const TRAIN_IMAGES: &str = "train-images-idx3-ubyte.gz";
/// The file of the official test images.
pub const TEST_IMAGES: &str = "t10k-images-idx3-ubyte.gz";

// Of the unpacked pixels: packages of the same images differ in the name that gzip records.
const TRAIN_SHA256: &str = "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012";
const TEST_SHA256: &str = "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a";

const SHAPE: Shape = Shape { channels: 1, height: 28, width: 28 };
const TRAIN_COUNT: usize = 55_000;

/// Reads a split from the first of `directories` that has its file, and checks the SHA-256 of its pixels.
///
/// # Shapes
///
/// Images `[1, 28, 28]`: 55,000, 5,000 or 10,000 of them.
///
/// # Errors
///
/// [`DataError::Missing`] where no directory has the file (the message says how to get it),
/// [`DataError::Digest`] where it is not the official one, and those of [`read_idx`].
pub fn load(split: Split, directories: &[impl AsRef<Path>]) -> Result<ImageSet, DataError> {
    let (name, expected, fetch) = match split {
        Split::Test => (
            TEST_IMAGES,
            TEST_SHA256,
            "it is part of the repository: restore data/fashion-mnist from it",
        ),
        Split::Train | Split::Validation => {
            (TRAIN_IMAGES, TRAIN_SHA256, "fetch it with `cargo xtask fetch fashion-mnist`")
        }
    };
    let path = find(name, directories, fetch)?;
    let mut pixels = read_idx(&path)?.data;
    let sha256 = sha256(&pixels);
    if sha256 != expected {
        return Err(DataError::Digest {
            path,
            expected,
            found: sha256,
            remedy: if split == Split::Test {
                "the file is not the official one: restore data/fashion-mnist from the repository"
            } else {
                "the file is damaged or not the official one: delete it and run \
                 `cargo xtask fetch fashion-mnist`"
            },
        });
    }

    match split {
        Split::Train => pixels.truncate(TRAIN_COUNT * SHAPE.len()),
        Split::Validation => drop(pixels.drain(..TRAIN_COUNT * SHAPE.len())),
        Split::Test => {}
    }
    let provenance = ImageProvenance {
        name: format!("Fashion-MNIST, {split}"),
        source: "Zalando Research, Debian package dataset-fashion-mnist 0.0~git20200523.55506a9-1"
            .into(),
        licence: "MIT".into(),
        sha256,
    };
    ImageSet::new(SHAPE, pixels, provenance)
}

fn find(name: &str, directories: &[impl AsRef<Path>], fetch: &str) -> Result<PathBuf, DataError> {
    let candidates = || directories.iter().map(|directory| directory.as_ref().join(name));
    candidates().find(|path| path.exists()).ok_or_else(|| {
        let looked: Vec<String> =
            directories.iter().map(|d| d.as_ref().display().to_string()).collect();
        DataError::Missing {
            path: candidates().next_back().unwrap_or_else(|| name.into()),
            remedy: format!("{fetch} (looked in: {})", looked.join(", ")),
        }
    })
}

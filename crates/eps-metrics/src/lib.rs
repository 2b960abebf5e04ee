//! Metrics of posterior samples: fidelity, distributions, calibration.
//!
//! Everything is computed in f64 on flat row-major slices whose shapes the functions state.
//! The letters are: N images, J samples of each, D = C·H·W values in an image.
//! Without the feature `networks` the crate reads no files and knows no tensor library, so its numbers
//! depend on its input alone; parallel sums are added in a fixed order, so they do not depend on the
//! number of threads.
//!
//! | metric | module | pixels | best |
//! |---|---|---|---|
//! | PSNR (dB) | [`fidelity`] | [-1, 1] | +∞ |
//! | SSIM | [`fidelity`] | [0, 1] | 1 |
//! | energy score, the paper's CRPS | [`energy`] | [0, 1] | small |
//! | mean CRPS of a coordinate | [`energy`] | [0, 1] | small |
//! | MMD² | [`mmd`] | any scale | 0 (may be negative) |
//! | sliced Wasserstein-2 | [`sliced`] | any scale | 0 (above it for finite samples) |
//! | Fréchet distance | [`frechet`] | features | 0 |
//! | LPIPS, distances on pretrained networks' features, FID | `networks` | [-1, 1] | 0 |
//! | energy ratio, ranks, coverage, spread against error | [`calibration`] | [0, 1] | see there |
//!
//! `networks` needs the cargo feature of that name and libtorch, and files of weights.
//!
//! [`evaluate()`] computes all pixel metrics of a set of samples; [`summary`] is mean ± spread over
//! seeds.
//!
//! ```
//! use eps_metrics::{SampleShape, evaluate};
//!
//! let shape = SampleShape { images: 2, samples: 2, channels: 1, height: 1, width: 2 };
//! let truth = [-1.0, 0.0, 0.5, 1.0];
//! let samples = [-0.9, 0.1, -1.2, 0.2, 0.4, 0.9, 0.6, 1.0];
//! let scores = evaluate(&truth, &samples, shape)?;
//! assert_eq!(scores.clipped, 1);
//! assert!(scores.psnr_db.is_some());
//! assert!(scores.ssim.is_none()); // a 1×2 image is smaller than the window
//! # Ok::<(), eps_metrics::MetricsError>(())
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

pub mod calibration;
pub mod energy;
mod error;
pub mod evaluate;
pub mod fidelity;
pub mod frechet;
mod input;
pub mod mmd;
#[cfg(feature = "networks")]
pub mod networks;
mod pairs;
pub mod sliced;
pub mod summary;

pub use error::MetricsError;
pub use evaluate::{Evaluation, SampleShape, evaluate, scores_of_mean};

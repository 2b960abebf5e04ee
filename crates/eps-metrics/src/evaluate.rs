//! All pixel metrics of a set of samples in one record.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::MetricsError;
use crate::energy::{PairTerm, crps_coordinate, energy_score};
use crate::fidelity::{psnr, ssim};
use crate::input::check_length;
use crate::mmd::mmd2_on;

/// Sizes of the input of [`evaluate()`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleShape {
    /// N, the number of true images.
    pub images: usize,
    /// J, the number of samples of each image.
    pub samples: usize,
    /// C, channels.
    pub channels: usize,
    /// H, rows.
    pub height: usize,
    /// W, columns.
    pub width: usize,
}

/// The metrics of a set of samples, their counts and conventions.
///
/// A metric that is not defined for the input is `None` (JSON `null`), and `undefined` says why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Version of this record, 1.
    pub format_version: u32,
    /// N, the number of true images.
    pub images: usize,
    /// J, the number of samples of each image.
    pub samples: usize,
    /// How many values of the samples lay outside [-1, 1] and were clipped.
    pub clipped: usize,
    /// Mean PSNR in dB.
    pub psnr_db: Option<f64>,
    /// Mean SSIM.
    pub ssim: Option<f64>,
    /// Mean energy score with the pair term 1/(2J²), the paper's CRPS.
    pub energy_score: Option<f64>,
    /// Mean energy score with the pair term 1/(2J(J − 1)).
    pub energy_score_fair: Option<f64>,
    /// Mean CRPS of a coordinate with the pair term 1/(2J(J − 1)).
    pub crps_coordinate: Option<f64>,
    /// Unbiased MMD² of all samples against all truths.
    pub mmd2: Option<f64>,
    /// The median squared distance that sets the kernel of `mmd2`.
    pub mmd_median_squared_distance: Option<f64>,
    /// For every metric that is `None`: the reason.
    pub undefined: BTreeMap<String, String>,
    /// For every metric: what exactly it is.
    pub conventions: BTreeMap<String, String>,
}

const FORMAT_VERSION: u32 = 1;

const CONVENTIONS: [(&str, &str); 7] = [
    ("psnr_db", "dB, data range 2 on [-1, 1] (1 on [0, 1]); mean over images and samples"),
    (
        "ssim",
        "on [0, 1], data range 1, K1 0.01, K2 0.03; Gaussian window 11x11 of sigma 1.5, population \
         covariance, 5-pixel border excluded; mean over channels, images and samples",
    ),
    (
        "energy_score",
        "on [0, 1]; mean_j |x_j - x0| - sum_jk |x_j - x_k| / (2 J^2), Euclidean norm of the whole \
         image, not normalised (the paper's CRPS); mean over images",
    ),
    (
        "energy_score_fair",
        "on [0, 1]; as energy_score with the pair term sum_jk |x_j - x_k| / (2 J (J - 1)); mean \
         over images",
    ),
    (
        "crps_coordinate",
        "on [0, 1]; CRPS of each pixel and channel with the pair term / (2 J (J - 1)); mean over \
         coordinates and images",
    ),
    (
        "mmd2",
        "on [0, 1]; unbiased U-statistic of all N J samples against the N truths, kernel \
         exp(-d^2 / m), m = mmd_median_squared_distance; may be negative",
    ),
    (
        "mmd_median_squared_distance",
        "on [0, 1]; m, median of d^2 over all distinct pairs of the pooled samples and truths",
    ),
];

/// The metrics of one image: PSNR and SSIM, the means over its samples, both energy scores and CRPS.
type OfImage = [Result<f64, MetricsError>; 5];

/// Scores samples against the truths they restore.
///
/// PSNR and SSIM are means over images and samples; energy score and CRPS means over images; MMD²
/// is one number of the pooled sets. All are computed on (x + 1)/2, that is [0, 1] pixels (for PSNR
/// a data range of 1 there is one of 2 on [-1, 1]). The record's `conventions` spell each of them
/// out.
///
/// # Shapes
/// `truth`: [N, C, H, W]; `samples`: [N, J, C, H, W].
///
/// # Units
/// Pixels on [-1, 1]. Values of the samples outside are clipped and counted. Truths must lie
/// inside, up to the rounding of f32 (1e-6).
///
/// # Errors
/// Lengths that do not fit `shape`, a dimension of zero, values that are not finite, truths outside
/// the range. Too few samples or an image smaller than SSIM's window is no error: the metrics
/// concerned are `None` and `undefined` says so.
///
/// # Memory
/// That of one image and its samples a thread, and that of [`mmd2`](crate::mmd::mmd2()), whatever the number of images:
/// the input itself is read only.
pub fn evaluate(
    truth: &[f64],
    samples: &[f64],
    shape: SampleShape,
) -> Result<Evaluation, MetricsError> {
    let SampleShape { images, samples: per_image, channels, height, width } = shape;
    let dim = channels * height * width;
    check_input(truth, samples, shape)?;

    let clipped = samples.iter().filter(|x| x.abs() > 1.0).count();
    // Of one image at a time: nothing as large as the input is kept.
    let of_images: Vec<OfImage> = truth
        .par_chunks_exact(dim)
        .zip(samples.par_chunks_exact(per_image * dim))
        .map(|(truth, samples)| of_image(truth, samples, [channels, height, width]))
        .collect();
    let mean_over_images = |metric: usize| -> Result<f64, MetricsError> {
        let scores = of_images.iter().map(|of_image| of_image[metric].clone());
        Ok(scores.sum::<Result<f64, MetricsError>>()? / images as f64)
    };

    let mut undefined = BTreeMap::new();
    let mut defined = |name: &str, value: Result<f64, MetricsError>| {
        let reason = match value {
            Ok(value) if value.is_finite() => return Some(value),
            Ok(value) => format!("{value}: a sample equals its truth"),
            Err(error) => error.to_string(),
        };
        undefined.insert(name.to_owned(), reason);
        None
    };
    let mmd = mmd2_on(samples, truth, dim, pixel);
    Ok(Evaluation {
        format_version: FORMAT_VERSION,
        images,
        samples: per_image,
        clipped,
        psnr_db: defined("psnr_db", mean_over_images(0)),
        ssim: defined("ssim", mean_over_images(1)),
        energy_score: defined("energy_score", mean_over_images(2)),
        energy_score_fair: defined("energy_score_fair", mean_over_images(3)),
        crps_coordinate: defined("crps_coordinate", mean_over_images(4)),
        mmd2: defined("mmd2", mmd.clone().map(|mmd| mmd.mmd2)),
        mmd_median_squared_distance: defined(
            "mmd_median_squared_distance",
            mmd.map(|mmd| mmd.median_squared_distance),
        ),
        undefined,
        conventions: CONVENTIONS
            .map(|(name, convention)| (name.to_owned(), convention.to_owned()))
            .into(),
    })
}

fn check_input(truth: &[f64], samples: &[f64], shape: SampleShape) -> Result<(), MetricsError> {
    let SampleShape { images, samples: per_image, channels, height, width } = shape;
    let dim = channels * height * width;
    if images * per_image * dim == 0 {
        return Err(MetricsError::Empty { what: "a dimension of the shape" });
    }
    check_length("truth", truth, images * dim)?;
    check_length("samples", samples, images * per_image * dim)?;
    match truth.iter().position(|x| x.abs() > 1.0 + 1e-6) {
        Some(index) => Err(MetricsError::Range { index, value: truth[index] }),
        None => Ok(()),
    }
}

/// PSNR in dB and SSIM of the mean of each image's samples, clipped one by one, means over images: the one image with the least error.
///
/// # Shapes, units, errors
/// Those of [`evaluate()`]. Each score for itself: an image smaller than SSIM's window has none.
pub fn scores_of_mean(
    truth: &[f64],
    samples: &[f64],
    shape: SampleShape,
) -> [Result<f64, MetricsError>; 2] {
    let SampleShape { images, samples: per_image, channels, height, width } = shape;
    let dim = channels * height * width;
    let of_images = |score: Score| {
        check_input(truth, samples, shape)?;
        let pairs = truth.par_chunks_exact(dim).zip(samples.par_chunks_exact(per_image * dim));
        let scores = pairs.map(|(truth, samples)| {
            let mut mean = vec![0.0; dim];
            for (index, value) in samples.iter().enumerate() {
                mean[index % dim] += pixel(*value) / per_image as f64;
            }
            let truth: Vec<f64> = truth.iter().copied().map(pixel).collect();
            score(&truth, &mean, [channels, height, width])
        });
        let scores: Vec<f64> = scores.collect::<Result<_, _>>()?;
        Ok(scores.iter().sum::<f64>() / images as f64)
    };
    [of_images(|truth, mean, _| psnr(truth, mean, 1.0)), of_images(ssim)]
}

/// A score of one image `[C, H, W]` against its truth.
type Score = fn(&[f64], &[f64], [usize; 3]) -> Result<f64, MetricsError>;

/// A value on [-1, 1], clipped, as a pixel on [0, 1].
fn pixel(value: f64) -> f64 {
    0.5 * (value.clamp(-1.0, 1.0) + 1.0)
}

/// The metrics of one image, `[C, H, W]`, and its samples.
fn of_image(truth: &[f64], samples: &[f64], shape: [usize; 3]) -> OfImage {
    let pixels = |values: &[f64]| -> Vec<f64> { values.iter().copied().map(pixel).collect() };
    let (truth, samples) = (pixels(truth), pixels(samples));
    let mean = |metric: &dyn Fn(&[f64]) -> Result<f64, MetricsError>| {
        let scores = samples.chunks_exact(truth.len()).map(metric);
        Ok(scores.sum::<Result<f64, MetricsError>>()? / (samples.len() / truth.len()) as f64)
    };
    [
        mean(&|sample| psnr(&truth, sample, 1.0)),
        mean(&|sample| ssim(&truth, sample, shape)),
        energy_score(&truth, &samples, PairTerm::VStatistic),
        energy_score(&truth, &samples, PairTerm::Fair),
        crps_coordinate(&truth, &samples, PairTerm::Fair),
    ]
}

//! All values of one network for a set of samples in one record.

use std::collections::BTreeMap;

use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::backbone::Embedding;
use super::images::extent;
use super::{MetricNetwork, NetworkError};
use crate::energy::{PairTerm, energy_score};
use crate::frechet::{frechet_distance, frechet_left_out};
use crate::input::{check_finite, check_length};
use crate::mmd::{mmd2, mmd2_left_out};
use crate::{MetricsError, SampleShape};

/// How many pixels a network sees at once: 64 images of 64×64. Bounds the memory of VGG16's stages, those
/// of truths and samples together, to some 500 MB.
const PIXELS_AT_ONCE: usize = 1 << 18;

/// The most features of which there is a Fréchet distance without each image: it costs a decomposition an
/// image, which takes minutes a row with the 2,048 of Inception.
const LEFT_OUT_FEATURES: usize = 512;

/// The values of one network, their names and conventions.
///
/// A value that is not defined for the input is `None`, and `undefined` says why. The maps are keyed
/// by the names of [`NetworkScores::values`].
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkScores {
    /// The network's name: `alex`, `vgg` or `inception`.
    pub network: &'static str,
    /// Rows and columns of the images as the network saw them.
    pub input_sides: [usize; 2],
    /// Mean LPIPS of samples and their truths; `None` for Inception, which has no such weights.
    pub lpips: Option<f64>,
    /// Fréchet distance of the features of all samples from those of all truths.
    pub frechet: Option<f64>,
    /// Unbiased MMD² of the same.
    pub mmd2: Option<f64>,
    /// Mean energy score of an image's features, pair term 1/(2J²).
    pub energy_score: Option<f64>,
    /// The same with the pair term 1/(2J(J − 1)), which compares methods without regard to J; `None` for
    /// J = 1. It is beside the named values, which are the paper's.
    pub energy_score_fair: Option<f64>,
    /// LPIPS and fair energy score of each image, `[N]`, for paired comparisons; empty where undefined.
    pub of_images: BTreeMap<String, Vec<f64>>,
    /// LPIPS of the first, second, … samples of all images, `[J]`.
    pub of_seeds: BTreeMap<String, Vec<f64>>,
    /// MMD², and the Fréchet distance of networks with up to 512 features, without each image, `[N]`: their
    /// uncertainty; empty where undefined.
    pub left_out: BTreeMap<String, Vec<f64>>,
    /// For every value that is `None`: the reason.
    pub undefined: BTreeMap<String, String>,
    /// For every value that is to be read with care: why.
    pub cautions: BTreeMap<String, String>,
    /// For every value: what exactly it is.
    pub conventions: BTreeMap<String, String>,
}

impl NetworkScores {
    /// All values by name: `lpips_alex`, `fd_alex`, `mmd2_alex`, `energy_score_alex`, for Inception
    /// `fid`, `mmd2_inception` and `energy_score_inception`.
    #[must_use]
    pub fn values(&self) -> Vec<(String, Option<f64>)> {
        let names = Names::of(self.network);
        let mut values = vec![
            (names.frechet, self.frechet),
            (names.mmd2, self.mmd2),
            (names.energy_score, self.energy_score),
        ];
        if let Some(lpips) = names.lpips {
            values.insert(0, (lpips, self.lpips));
        }
        values
    }
}

/// The names of a network's values.
struct Names {
    lpips: Option<String>,
    frechet: String,
    mmd2: String,
    energy_score: String,
    energy_score_fair: String,
}

impl Names {
    fn of(network: &str) -> Self {
        let is_fid = network == "inception";
        Self {
            lpips: (!is_fid).then(|| format!("lpips_{network}")),
            frechet: if is_fid { "fid".to_owned() } else { format!("fd_{network}") },
            mmd2: format!("mmd2_{network}"),
            energy_score: format!("energy_score_{network}"),
            energy_score_fair: format!("energy_score_fair_{network}"),
        }
    }
}

/// Scores samples against the truths they restore by the features of networks.
///
/// LPIPS is the mean over images and samples of the distance of a sample from its truth. The Fréchet
/// distance and MMD² compare the pooled features of all N J samples with those of the N truths; the
/// energy score, a mean over images, those of an image's samples with its truth's. Each network sees
/// each image once. The records' `conventions` spell every value out.
///
/// # Shapes
/// `truth`: [N, C, H, W]; `samples`: [N, J, C, H, W]; C = 3, or 1 for grey. One record a network.
///
/// # Units
/// Pixels on [-1, 1]; values outside are clipped, as by [`evaluate`](crate::evaluate()).
///
/// # Errors
/// Lengths that do not fit `shape`, a dimension of zero, values that are not finite, other channels
/// than one or three, a network that fails. Too few images for a value is no error: it is `None` and
/// `undefined` says so.
pub fn evaluate_networks(
    truth: &[f32],
    samples: &[f32],
    shape: SampleShape,
    networks: &[MetricNetwork],
) -> Result<Vec<NetworkScores>, NetworkError> {
    let SampleShape { images, samples: per_image, channels, height, width } = shape;
    let dim = channels * height * width;
    if images * per_image * dim == 0 {
        return Err(MetricsError::Empty { what: "a dimension of the shape" }.into());
    }
    for (what, values, expected) in
        [("truth", truth, images * dim), ("samples", samples, images * per_image * dim)]
    {
        if values.len() != expected {
            return Err(MetricsError::Length { what, expected, got: values.len() }.into());
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let value = f64::from(values[index]);
            return Err(MetricsError::NotFinite { what, index, value }.into());
        }
    }
    networks
        .iter()
        .map(|network| Features::new(truth, samples, shape, network)?.scores(shape, network))
        .collect()
}

/// The features of all images, and LPIPS of all samples.
struct Features {
    /// [N, D]
    truth: Vec<f64>,
    /// [N, J, D]
    samples: Vec<f64>,
    /// [N, J]; empty without LPIPS.
    lpips: Vec<f64>,
}

impl Features {
    fn new(
        truth: &[f32],
        samples: &[f32],
        shape: SampleShape,
        network: &MetricNetwork,
    ) -> Result<Self, NetworkError> {
        let _guard = tch::no_grad_guard();
        let SampleShape { images, samples: per_image, channels, height, width } = shape;
        let dim = channels * height * width;
        let [rows, columns] = network.input_sides(height, width);
        let at_once = (PIXELS_AT_ONCE / (rows * columns)).max(1);
        let mut features = Self { truth: Vec::new(), samples: Vec::new(), lpips: Vec::new() };
        let embed = |pixels: &[f32]| {
            let dims = [-1, extent(channels), extent(height), extent(width)];
            let images = Tensor::from_slice(pixels).f_view(dims)?.f_clamp(-1.0, 1.0)?;
            network.embed(&images)
        };
        for start in (0..images).step_by(at_once) {
            let end = (start + at_once).min(images);
            let truth = embed(&truth[start * dim..end * dim])?;
            features.truth.extend(values(&truth.features)?);
            // The samples of these images.
            for first in (start * per_image..end * per_image).step_by(at_once) {
                let last = (first + at_once).min(end * per_image);
                let samples = embed(&samples[first * dim..last * dim])?;
                features.samples.extend(values(&samples.features)?);
                if let MetricNetwork::Perceptual(network) = network {
                    let of: Vec<i64> =
                        (first..last).map(|row| extent(row / per_image - start)).collect();
                    let of = Tensor::from_slice(&of).f_to_device(network.device())?;
                    let stages = truth.stages.iter().map(|stage| stage.f_index_select(0, &of));
                    let truth = stages.collect::<Result<Vec<Tensor>, _>>()?;
                    features.lpips.extend(values(&network.distance(&truth, &samples.stages)?)?);
                }
            }
        }
        Ok(features)
    }

    fn scores(
        self,
        shape: SampleShape,
        network: &MetricNetwork,
    ) -> Result<NetworkScores, NetworkError> {
        let dim = network.feature_count();
        check_length("features of the truth", &self.truth, shape.images * dim)?;
        check_finite("features of the samples", &self.samples)?;
        let names = Names::of(network.name());
        let mut undefined = BTreeMap::new();
        let mut defined = |name: &str, value: Result<f64, MetricsError>| match value {
            Ok(value) => Some(value),
            Err(error) => {
                undefined.insert(name.to_owned(), error.to_string());
                None
            }
        };
        let energy_scores = |pair_term| {
            self.truth
                .par_chunks_exact(dim)
                .zip(self.samples.par_chunks_exact(shape.samples * dim))
                .map(|(truth, samples)| energy_score(truth, samples, pair_term))
                .collect::<Result<Vec<f64>, MetricsError>>()
        };
        let fair = energy_scores(PairTerm::Fair);
        let (mmd, mmds) = mmd2_left_out(&self.samples, &self.truth, dim).map_or_else(
            |_| (mmd2(&self.samples, &self.truth, dim), vec![]),
            |(mmd, left_out)| (Ok(mmd), left_out),
        );
        let mut left_out = BTreeMap::from([(names.mmd2.clone(), mmds)]);
        if dim <= LEFT_OUT_FEATURES {
            let distances = frechet_left_out(&self.samples, &self.truth, dim);
            left_out.insert(names.frechet.clone(), distances.unwrap_or_default());
        }
        let mut of_seeds = BTreeMap::new();
        let mut of_images =
            BTreeMap::from([(names.energy_score_fair.clone(), fair.clone().unwrap_or_default())]);
        if let Some(lpips) = &names.lpips {
            let means = self.lpips.chunks_exact(shape.samples).map(mean).collect();
            of_images.insert(lpips.clone(), means);
            let of_seed = |seed: usize| {
                let values = self.lpips.iter().skip(seed).step_by(shape.samples);
                values.sum::<f64>() / shape.images as f64
            };
            of_seeds.insert(lpips.clone(), (0..shape.samples).map(of_seed).collect());
        }
        let distance = frechet_distance(&self.samples, &self.truth, dim);
        let frechet = defined(&names.frechet, distance);
        let cautions = match (frechet, too_few(shape, dim)) {
            (Some(_), Some(caution)) => BTreeMap::from([(names.frechet.clone(), caution)]),
            _ => BTreeMap::new(),
        };
        Ok(NetworkScores {
            network: network.name(),
            input_sides: network.input_sides(shape.height, shape.width),
            lpips: names.lpips.is_some().then(|| mean(&self.lpips)),
            frechet,
            mmd2: defined(&names.mmd2, mmd.map(|mmd| mmd.mmd2)),
            energy_score: defined(
                &names.energy_score,
                energy_scores(PairTerm::VStatistic).map(|scores| mean(&scores)),
            ),
            energy_score_fair: fair.ok().map(|scores| mean(&scores)),
            of_images,
            of_seeds,
            left_out,
            undefined,
            cautions,
            conventions: conventions(&names, shape, network),
        })
    }
}

impl MetricNetwork {
    fn embed(&self, images: &Tensor) -> Result<Embedding, NetworkError> {
        match self {
            Self::Perceptual(network) => network.embed(images),
            Self::Inception(network) => network.embed(images),
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// What is wrong with a Fréchet distance between so few images, if anything.
fn too_few(shape: SampleShape, dim: usize) -> Option<String> {
    let fewest = shape.images;
    (fewest < 2 * dim).then(|| {
        let singular = if fewest <= dim { "the truths' covariance is singular, and " } else { "" };
        format!(
            "{fewest} truths for {dim} features: {singular}the value measures mostly how many images \
             there are; compare only at equal counts, or give at least {} truths",
            2 * dim
        )
    })
}

fn conventions(
    names: &Names,
    shape: SampleShape,
    network: &MetricNetwork,
) -> BTreeMap<String, String> {
    let SampleShape { channels, height, width, .. } = shape;
    let [rows, columns] = network.input_sides(height, width);
    let mut images = "images on [-1, 1]".to_owned();
    if channels == 1 {
        images.push_str(", grey repeated to three channels");
    }
    if let MetricNetwork::Inception(_) = network {
        images.push_str(&format!(
            ", rounded to 8 bits, {height}x{width} resized to {rows}x{columns} by the network"
        ));
    } else if [rows, columns] != [height, width] {
        images.push_str(&format!(", {height}x{width} upsampled to {rows}x{columns} bilinearly"));
    }
    let dim = network.feature_count();
    let features = match network {
        MetricNetwork::Perceptual(network) => format!(
            "{dim} features, the mean of {} after ReLU over the image, not normalised",
            network.backbone().describe()
        ),
        MetricNetwork::Inception(_) => format!("{dim} features of the FID network, not normalised"),
    };
    let distance = match network {
        MetricNetwork::Perceptual(_) => "squared Fréchet distance (no FID: another network)",
        MetricNetwork::Inception(_) => "Fréchet Inception distance",
    };
    let mut conventions = BTreeMap::from([
        (
            names.frechet.clone(),
            format!(
                "{distance} of all N J samples from the N truths, covariances with n - 1; {features}; \
                 {images}"
            ),
        ),
        (
            names.mmd2.clone(),
            format!(
                "unbiased U-statistic of all N J samples against the N truths, kernel exp(-d^2 / m), m \
                 the median of d^2 over all distinct pairs of the pooled set; may be negative; \
                 {features}; {images}"
            ),
        ),
        (
            names.energy_score.clone(),
            format!(
                "mean_j |f_j - f0| - sum_jk |f_j - f_k| / (2 J^2), Euclidean norm; mean over images; \
                 {features}; {images}"
            ),
        ),
    ]);
    if let Some(lpips) = &names.lpips {
        let text =
            format!("LPIPS v0.1 of a sample and its truth; {images}; mean over images and samples");
        conventions.insert(lpips.clone(), text);
    }
    conventions
}

/// The values of a tensor, in row-major order.
fn values(tensor: &Tensor) -> Result<Vec<f64>, NetworkError> {
    Ok(Vec::<f64>::try_from(tensor.f_to_kind(Kind::Double)?.flatten(0, -1))?)
}

//! The rows of a task's table.

use std::collections::BTreeMap;

use eps_metrics::summary::Spread;
use serde::{Deserialize, Serialize};

use crate::method::Method;
use crate::metric::Metric;

/// The scores of a method's samples, or of their means, in one setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The name in tables when it was written, [`Method::label_of`].
    pub label: String,
    /// The name in files, [`Method::slug`].
    pub cell: String,
    /// The method.
    pub method: Method,
    /// J, where the row scores the mean of J samples instead of the samples.
    pub mean_of: Option<usize>,
    /// Network evaluations, those of all J samples for a mean.
    pub nfe: usize,
    /// Backward passes through the network, those of all J samples for a mean.
    pub backward_passes: usize,
    /// Seconds for each sample, or for each mean.
    pub seconds: f64,
    /// dB; spread over seeds.
    pub psnr_db: Spread,
    /// Spread over seeds.
    pub ssim: Spread,
    /// All samples of an image together, on [0, 1] pixels, pair term 1/(2J²): the paper's CRPS.
    pub energy_score: Option<f64>,
    /// The same with the pair term 1/(2J(J − 1)).
    pub energy_score_fair: Option<f64>,
    /// Mean CRPS of a pixel, on [0, 1] pixels, pair term 1/(2J(J − 1)).
    pub crps_coordinate: Option<f64>,
    /// All samples against all truths.
    pub mmd2: Option<f64>,
    /// LPIPS and distances between features.
    pub features: BTreeMap<Metric, Option<f64>>,
    /// The file that each image was made of, `[N]`, where that is known: images of one depend on each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<u32>>,
    /// Scores of each image, `[N]`: what a paired comparison of two methods needs.
    pub of_images: BTreeMap<Metric, Vec<f64>>,
    /// LPIPS of each seed, `[J]`.
    pub of_seeds: BTreeMap<Metric, Vec<f64>>,
    /// Distances between all samples and all truths without each image, `[N]`: what the interval of
    /// their difference between two methods needs.
    pub left_out: BTreeMap<Metric, Vec<f64>>,
    /// For every score that is none, the reason.
    pub undefined: BTreeMap<Metric, String>,
    /// For every score that is to be read with care, why.
    pub cautions: BTreeMap<Metric, String>,
}

impl Row {
    /// A score with its standard deviation over seeds, where it has one; none where the row lacks it.
    ///
    /// LPIPS is a mean over seeds; distances between all samples together are not.
    #[must_use]
    pub fn score(&self, metric: Metric) -> Option<(f64, Option<f64>)> {
        let alone = |value: Option<f64>| Some((value?, None));
        let spread = |spread: &Spread| Some((spread.mean, spread.standard_deviation));
        match metric {
            Metric::PsnrDb => spread(&self.psnr_db),
            Metric::Ssim => spread(&self.ssim),
            Metric::EnergyScore => alone(self.energy_score),
            Metric::EnergyScoreFair => alone(self.energy_score_fair),
            Metric::CrpsCoordinate => alone(self.crps_coordinate),
            Metric::Mmd2 => alone(self.mmd2),
            // Those of an image alone.
            Metric::MseOfMean | Metric::SecondsACall => None,
            Metric::LpipsAlex => {
                let seeds = self.of_seeds.get(&metric).map_or(&[][..], Vec::as_slice);
                let over_seeds =
                    Spread::of(seeds).ok().and_then(|spread| spread.standard_deviation);
                Some(((*self.features.get(&metric)?)?, over_seeds))
            }
            Metric::EnergyScoreAlex
            | Metric::EnergyScoreFairAlex
            | Metric::EnergyScoreFairInception
            | Metric::EnergyScoreInception
            | Metric::FdAlex
            | Metric::Fid
            | Metric::Mmd2Alex
            | Metric::Mmd2Inception => alone(*self.features.get(&metric)?),
        }
    }
}

//! Scores of restorations: the rows of the table.

use std::collections::BTreeMap;

use eps_math::{Shape, nearest_f32};
use eps_metrics::energy::{PairTerm, energy_score};
use eps_metrics::mmd::mmd2_left_out;
use eps_metrics::networks::{MetricNetwork, evaluate_networks};
use eps_metrics::summary::Spread;
use eps_metrics::{MetricsError, SampleShape, evaluate, fidelity};
use eps_results::{Method, Metric, Row};
use rayon::prelude::*;

use crate::error::{During as _, ExperimentError, Result};
use crate::pixels::{moments, unit};
use crate::restoration::Restored;

/// How restorations are scored.
#[derive(Debug)]
pub(crate) struct Judge {
    /// Whether all samples are also scored together.
    pub(crate) ensembles: bool,
    /// The networks of LPIPS and of distances between features; may be none.
    pub(crate) networks: Vec<MetricNetwork>,
}

impl Judge {
    /// The scores of pixels alone.
    pub(crate) const PIXELS: Self = Self { ensembles: true, networks: Vec::new() };
}

/// Scores a restoration.
///
/// # Shapes
/// truth: `[N, C, H, W]`
///
/// # Errors
/// None for restorations of the truths' images.
pub(crate) fn score_samples(
    method: Method,
    truth: &[f64],
    restoration: &Restored,
    shape: Shape,
    judge: &Judge,
) -> Result<Row> {
    let samples: Vec<f64> = restoration.samples.iter().map(|v| f64::from(*v)).collect();
    let (images, per_image) = (truth.len() / shape.len(), restoration.per_image);
    let sides = [shape.channels, shape.height, shape.width];
    let fidelities = truth
        .par_chunks_exact(shape.len())
        .zip(samples.par_chunks_exact(per_image * shape.len()))
        .map(|(truth, samples)| {
            let score = |sample| {
                Ok((fidelity::psnr(truth, sample, 2.0)?, unit_ssim(truth, sample, sides)?))
            };
            samples.chunks_exact(shape.len()).map(score).collect::<Result<Vec<_>>>()
        })
        .collect::<Result<Vec<_>>>()?;
    // A seed is one sample of every image: its score is the mean over images.
    let over_seeds = |score: fn(&(f64, f64)) -> f64| {
        let seed = |j: usize| {
            fidelities.iter().map(|of_image| score(&of_image[j])).sum::<f64>() / images as f64
        };
        Spread::of(&(0..per_image).map(seed).collect::<Vec<_>>())
    };
    let of_image = |score: fn(&(f64, f64)) -> f64| {
        let mean = |of: &Vec<_>| of.iter().map(score).sum::<f64>() / per_image as f64;
        fidelities.iter().map(mean).collect::<Vec<f64>>()
    };
    let of_images = BTreeMap::from([
        (Metric::PsnrDb, of_image(|scores| scores.0)),
        (Metric::Ssim, of_image(|scores| scores.1)),
    ]);
    let mut row = Row {
        label: method.label_of(None),
        cell: method.slug(),
        method,
        mean_of: None,
        nfe: restoration.nfe,
        backward_passes: restoration.backward_passes,
        seconds: restoration.seconds / (images * per_image) as f64,
        psnr_db: over_seeds(|scores| scores.0).during(|| "a sample equals its truth".to_owned())?,
        ssim: over_seeds(|scores| scores.1)?,
        energy_score: None,
        energy_score_fair: None,
        crps_coordinate: None,
        mmd2: None,
        features: BTreeMap::new(),
        sources: None,
        of_images,
        of_seeds: BTreeMap::new(),
        left_out: BTreeMap::new(),
        undefined: BTreeMap::new(),
        cautions: BTreeMap::new(),
    };
    let Shape { channels, height, width } = shape;
    let sizes = SampleShape { images, samples: per_image, channels, height, width };
    if judge.ensembles {
        let scores = evaluate(truth, &samples, sizes)?;
        row.energy_score = scores.energy_score;
        row.energy_score_fair = scores.energy_score_fair;
        row.crps_coordinate = scores.crps_coordinate;
        row.mmd2 = scores.mmd2;
        // The width of the kernel is no score.
        row.undefined = by_metric(scores.undefined, &["mmd_median_squared_distance"])?;
        let on_unit = |values: &[f64]| values.iter().map(|v| unit(*v)).collect::<Vec<_>>();
        let (truth, samples) = (on_unit(truth), on_unit(&samples));
        let of_images = |score: fn(&[f64], &[f64]) -> Result<f64, MetricsError>| {
            let truths = truth.par_chunks_exact(shape.len());
            truths
                .zip(samples.par_chunks_exact(per_image * shape.len()))
                .map(|(truth, samples)| score(truth, samples))
                .collect::<Result<Vec<f64>, _>>()
                .unwrap_or_default()
        };
        let energies = of_images(|truth, samples| energy_score(truth, samples, PairTerm::Fair));
        row.of_images.insert(Metric::EnergyScoreFair, energies);
        // What has no samples is its own mean.
        let is_estimate = method.calls() == 0;
        let errors = if is_estimate { fidelity::mse } else { fidelity::mse_of_mean };
        let errors = of_images(errors);
        row.of_images.insert(Metric::MseOfMean, errors);
        let mmds = mmd2_left_out(&samples, &truth, shape.len()).map(|(_, left_out)| left_out);
        row.left_out.insert(Metric::Mmd2, mmds.unwrap_or_default());
    }
    let truth: Vec<f32> = truth.iter().map(|v| nearest_f32(*v)).collect();
    for scores in evaluate_networks(&truth, &restoration.samples, sizes, &judge.networks)? {
        let fair = (format!("energy_score_fair_{}", scores.network), scores.energy_score_fair);
        row.features.extend(by_metric(scores.values().into_iter().chain([fair]), &[])?);
        row.of_images.extend(by_metric(scores.of_images, &[])?);
        row.of_seeds.extend(by_metric(scores.of_seeds, &[])?);
        row.left_out.extend(by_metric(scores.left_out, &[])?);
        row.undefined.extend(by_metric(scores.undefined, &[])?);
        row.cautions.extend(by_metric(scores.cautions, &[])?);
    }
    Ok(row)
}

/// Scores the means of a restoration's samples.
///
/// # Errors
/// As [`score_samples`].
pub(crate) fn score_means(
    method: Method,
    truth: &[f64],
    restoration: &Restored,
    shape: Shape,
    judge: &Judge,
) -> Result<Row> {
    let j = restoration.per_image;
    let means = Restored {
        samples: moments(restoration, shape).0.into_iter().map(nearest_f32).collect(),
        per_image: 1,
        nfe: restoration.nfe * j,
        backward_passes: restoration.backward_passes * j,
        seconds: restoration.seconds,
    };
    let row = score_samples(method, truth, &means, shape, judge)?;
    Ok(Row { label: method.label_of(Some(j)), mean_of: Some(j), ..row })
}

/// Scores by metric, without those of some names.
///
/// # Errors
/// A name that is no metric's.
fn by_metric<T>(
    scores: impl IntoIterator<Item = (String, T)>,
    without: &[&str],
) -> Result<BTreeMap<Metric, T>> {
    let kept = scores.into_iter().filter(|(name, _)| !without.contains(&name.as_str()));
    kept.map(|(name, score)| {
        let metric = Metric::from_name(&name);
        Ok((metric.ok_or(ExperimentError::UnknownScore(name))?, score))
    })
    .collect()
}

/// SSIM on [0, 1] pixels of images on [-1, 1].
fn unit_ssim(truth: &[f64], image: &[f64], sides: [usize; 3]) -> Result<f64> {
    let unit = |values: &[f64]| values.iter().map(|v| unit(*v)).collect::<Vec<_>>();
    Ok(fidelity::ssim(&unit(truth), &unit(image), sides)?)
}

#[cfg(test)]
mod tests {
    use eps_results::Scope;

    use super::*;

    const SHAPE: Shape = Shape { channels: 1, height: 11, width: 11 };

    fn flat(values: &[f32]) -> Vec<f32> {
        values.iter().flat_map(|v| [*v; 121]).collect()
    }

    fn restoration(values: &[f32], per_image: usize) -> Restored {
        Restored { samples: flat(values), per_image, nfe: 20, backward_passes: 0, seconds: 6.0 }
    }

    const EPS: Method = Method::Eps { network: Scope::PerTask, calls: 20 };

    #[test]
    fn scores_of_constant_images() {
        // Two black images; errors of 0.2 and 2 on [-1, 1] are 20 and 0 dB.
        let truth = vec![-1.0; 2 * 121];
        let samples = restoration(&[-0.8, 1.0, 1.0, 1.0], 2);
        let row = score_samples(EPS, &truth, &samples, SHAPE, &Judge::PIXELS).unwrap();
        // Seeds: (20 + 0)/2 and (0 + 0)/2 dB; -0.8 is rounded to f32.
        assert!((row.psnr_db.mean - 5.0).abs() < 1e-5);
        assert!((row.psnr_db.standard_deviation.unwrap() - 50f64.sqrt()).abs() < 1e-5);
        assert_eq!((row.nfe, row.seconds), (20, 1.5));
        // ‖x − x₀‖ is 11 times the error on [0, 1]: (1.1 + 11)/2 − 9.9/4, and 11.
        assert!((row.energy_score.unwrap() - (6.05 - 2.475 + 11.0) / 2.0).abs() < 1e-5);
        assert!(row.energy_score_fair.is_some() && row.undefined.is_empty());
    }

    #[test]
    fn a_mean_is_scored_as_one_estimate() {
        let truth = vec![-1.0; 2 * 121];
        let samples = restoration(&[-0.9, -0.7, -0.8, -0.8], 2);
        let row = score_means(EPS, &truth, &samples, SHAPE, &Judge::PIXELS).unwrap();
        assert!((row.psnr_db.mean - 20.0).abs() < 1e-5);
        assert_eq!(row.psnr_db.standard_deviation, None);
        assert_eq!((row.mean_of, row.nfe, row.seconds), (Some(2), 40, 3.0));
        assert!(row.undefined[&Metric::CrpsCoordinate].contains("too few samples"));
        assert_eq!(row.label, "EPS, 20 calls, mean of 2");
        let (mean, sd) = moments(&samples, SHAPE);
        assert!((mean[0] + 0.8).abs() < 1e-6 && (sd[0] - 0.02f64.sqrt()).abs() < 1e-6);
        assert_eq!(sd[121], 0.0);
    }
}

//! Scores of restorations: the rows of the table, and the claims that are read off them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use eps_math::Shape;
use eps_metrics::energy::{PairTerm, energy_score};
use eps_metrics::mmd::mmd2_left_out;
use eps_metrics::networks::{Network, evaluate_networks};
use eps_metrics::summary::Spread;
use eps_metrics::{MetricsError, SampleShape, evaluate, fidelity};
use rayon::prelude::*;
use serde::Serialize;

use super::method::{Method, Restoration};
use super::networks::Scope;

/// One row of a task's table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    /// The method.
    pub(crate) method: Method,
    /// J, where the row scores the mean of J samples instead of the samples.
    pub(crate) mean_of: Option<usize>,
    /// Network evaluations, those of all J samples for a mean.
    pub(crate) nfe: usize,
    /// Backward passes through the network, those of all J samples for a mean.
    pub(crate) backward_passes: usize,
    /// Seconds for each sample, or for each mean.
    pub(crate) seconds: f64,
    /// dB; spread over seeds.
    pub(crate) psnr_db: Spread,
    /// Spread over seeds.
    pub(crate) ssim: Spread,
    /// All samples of an image together, on [0, 1] pixels, pair term 1/(2J²): the paper's CRPS.
    pub(crate) energy_score: Option<f64>,
    /// The same with the pair term 1/(2J(J − 1)).
    pub(crate) energy_score_fair: Option<f64>,
    /// Mean CRPS of a pixel, on [0, 1] pixels, pair term 1/(2J(J − 1)).
    pub(crate) crps_coordinate: Option<f64>,
    /// All samples against all truths.
    pub(crate) mmd2: Option<f64>,
    /// LPIPS and distances between features, by name.
    pub(crate) features: BTreeMap<String, Option<f64>>,
    /// The file that each image was made of, `[N]`, where that is known: images of one depend on each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sources: Option<Vec<u32>>,
    /// Scores of each image, by name, `[N]`: what a paired comparison of two methods needs.
    pub(crate) of_images: BTreeMap<String, Vec<f64>>,
    /// LPIPS of each seed, by name, `[J]`.
    pub(crate) of_seeds: BTreeMap<String, Vec<f64>>,
    /// Distances between all samples and all truths without each image, by name, `[N]`: what the interval of
    /// their difference between two methods needs.
    pub(crate) left_out: BTreeMap<String, Vec<f64>>,
    /// For every score that is none, the reason.
    pub(crate) undefined: BTreeMap<String, String>,
    /// For every score that is to be read with care, why.
    pub(crate) cautions: BTreeMap<String, String>,
}

/// The name under which a row has the seconds of a network call on each image.
pub(crate) const SECONDS_A_CALL: &str = "seconds_a_call";

/// How restorations are scored.
#[derive(Debug)]
pub(crate) struct Judge {
    /// Whether all samples are also scored together.
    pub(crate) ensembles: bool,
    /// The networks of LPIPS and of distances between features; may be none.
    pub(crate) networks: Vec<Network>,
}

impl Judge {
    /// The scores of pixels alone.
    pub(crate) const PIXELS: Self = Self { ensembles: true, networks: Vec::new() };
}

impl Row {
    /// The row's name in tables.
    pub(crate) fn label(&self) -> String {
        match self.mean_of {
            None => self.method.label(),
            Some(j) => format!("{}, mean of {j}", self.method.label()),
        }
    }

    /// Scores a restoration.
    ///
    /// # Shapes
    /// truth: `[N, C, H, W]`
    ///
    /// # Errors
    /// None for restorations of the truths' images.
    pub(crate) fn new(
        method: Method,
        truth: &[f64],
        restoration: &Restoration,
        shape: Shape,
        judge: &Judge,
    ) -> Result<Self> {
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
            ("psnr_db".to_owned(), of_image(|scores| scores.0)),
            ("ssim".to_owned(), of_image(|scores| scores.1)),
        ]);
        let mut row = Self {
            method,
            mean_of: None,
            nfe: restoration.nfe,
            backward_passes: restoration.backward_passes,
            seconds: restoration.seconds / (images * per_image) as f64,
            psnr_db: over_seeds(|scores| scores.0).context("a sample equals its truth")?,
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
            row.undefined = scores.undefined;
            row.undefined.remove("mmd_median_squared_distance");
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
            row.of_images.insert("energy_score_fair".to_owned(), energies);
            // What has no samples is its own mean.
            let is_estimate = method.calls() == 0;
            let errors = if is_estimate { fidelity::mse } else { fidelity::mse_of_mean };
            let errors = of_images(errors);
            row.of_images.insert("mse_of_mean".to_owned(), errors);
            let mmds = mmd2_left_out(&samples, &truth, shape.len()).map(|(_, left_out)| left_out);
            row.left_out.insert("mmd2".to_owned(), mmds.unwrap_or_default());
        }
        let truth: Vec<f32> = truth.iter().map(|v| *v as f32).collect();
        for scores in evaluate_networks(&truth, &restoration.samples, sizes, &judge.networks)? {
            row.features.extend(scores.values());
            let fair = format!("energy_score_fair_{}", scores.network);
            row.features.insert(fair, scores.energy_score_fair);
            row.of_images.extend(scores.of_images);
            row.of_seeds.extend(scores.of_seeds);
            row.left_out.extend(scores.left_out);
            row.undefined.extend(scores.undefined);
            row.cautions.extend(scores.cautions);
        }
        Ok(row)
    }

    /// Scores the means of a restoration's samples.
    ///
    /// # Errors
    /// As [`Row::new`].
    pub(crate) fn of_means(
        method: Method,
        truth: &[f64],
        restoration: &Restoration,
        shape: Shape,
        judge: &Judge,
    ) -> Result<Self> {
        let j = restoration.per_image;
        let means = Restoration {
            samples: moments(restoration, shape).0.into_iter().map(|v| v as f32).collect(),
            per_image: 1,
            nfe: restoration.nfe * j,
            backward_passes: restoration.backward_passes * j,
            seconds: restoration.seconds,
        };
        let row = Self::new(method, truth, &means, shape, judge)?;
        Ok(Self { mean_of: Some(j), ..row })
    }
}

/// A value of [-1, 1] on [0, 1].
pub(crate) fn unit(value: f64) -> f64 {
    0.5 * (value + 1.0)
}

/// SSIM on [0, 1] pixels of images on [-1, 1].
fn unit_ssim(truth: &[f64], image: &[f64], sides: [usize; 3]) -> Result<f64> {
    let unit = |values: &[f64]| values.iter().map(|v| unit(*v)).collect::<Vec<_>>();
    Ok(fidelity::ssim(&unit(truth), &unit(image), sides)?)
}

/// Mean and standard deviation (J − 1) of the samples of every image, `[N, C, H, W]` each; the
/// deviation is 0 for a single sample.
pub(crate) fn moments(restoration: &Restoration, shape: Shape) -> (Vec<f64>, Vec<f64>) {
    let (d, j) = (shape.len(), restoration.per_image);
    restoration
        .samples
        .chunks_exact(j * d)
        .flat_map(|samples| {
            (0..d).map(move |pixel| {
                let values = || samples.iter().skip(pixel).step_by(d).map(|v| f64::from(*v));
                let mean = values().sum::<f64>() / j as f64;
                let squares: f64 = values().map(|v| (v - mean).powi(2)).sum();
                (mean, (squares / (j - 1).max(1) as f64).sqrt())
            })
        })
        .unzip()
}

/// Whether a claim about the networks holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The margin is reached.
    Holds,
    /// It is not.
    Fails,
    /// It is not, but by the mean of fewer samples than the claim is about.
    Open,
}

/// A claim: an EPS estimate is better than the linear MMSE estimate by a margin of PSNR.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Claim {
    /// The method whose estimate it is about.
    pub(crate) method: Method,
    /// J, where it is about the mean of J samples.
    pub(crate) mean_of: Option<usize>,
    /// PSNR above that of the linear MMSE estimate, in dB.
    pub(crate) margin_db: f64,
    /// What the claim asks for, in dB.
    pub(crate) claimed_db: f64,
    /// Whether it holds.
    pub(crate) verdict: Verdict,
}

/// The margin that is claimed for the one-call estimate, in dB.
pub(crate) const ONE_CALL_DB: f64 = 1.0;

/// The margin that is claimed for the mean of [`MEAN_OF`] samples, in dB.
pub(crate) const MEAN_DB: f64 = 1.5;

/// The number of samples whose mean is claimed about.
pub(crate) const MEAN_OF: usize = 10;

/// The claims that a task's rows can speak to.
pub(crate) fn claims(rows: &[Row]) -> Vec<Claim> {
    let Some(linear) = rows.iter().find(|row| row.method == Method::LinearMmse) else {
        return Vec::new();
    };
    rows.iter()
        .filter_map(|row| {
            let claimed_db = match (row.method, row.mean_of) {
                (Method::Eps { calls: 1, .. }, None) => ONE_CALL_DB,
                (Method::Eps { calls, .. }, Some(_)) if calls > 1 => MEAN_DB,
                _ => return None,
            };
            let margin_db = row.psnr_db.mean - linear.psnr_db.mean;
            let verdict = match row.mean_of {
                _ if margin_db >= claimed_db => Verdict::Holds,
                Some(j) if j < MEAN_OF => Verdict::Open,
                _ => Verdict::Fails,
            };
            let (method, mean_of) = (row.method, row.mean_of);
            Some(Claim { method, mean_of, margin_db, claimed_db, verdict })
        })
        .collect()
}

impl Claim {
    /// The name of the estimate that it is about.
    pub(crate) fn label(&self) -> String {
        match self.mean_of {
            None => self.method.label(),
            Some(j) => format!("{}, mean of {j}", self.method.label()),
        }
    }

    /// The claim and its verdict in words.
    pub(crate) fn sentence(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Holds => "holds".to_owned(),
            Verdict::Fails => "FAILS".to_owned(),
            Verdict::Open => format!("open, as it is about the mean of {MEAN_OF} samples"),
        };
        format!(
            "{}: {:+.2} dB against linear MMSE, claimed ≥ {:.1} dB: {verdict}",
            self.label(),
            self.margin_db,
            self.claimed_db
        )
    }
}

/// The networks' scopes that appear in rows, in order of appearance.
pub(crate) fn scopes(rows: &[Row]) -> Vec<Scope> {
    let mut found = Vec::new();
    for row in rows {
        if let Method::Eps { network, .. } = row.method
            && !found.contains(&network)
        {
            found.push(network);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { channels: 1, height: 11, width: 11 };

    fn flat(values: &[f32]) -> Vec<f32> {
        values.iter().flat_map(|v| [*v; 121]).collect()
    }

    fn restoration(values: &[f32], per_image: usize) -> Restoration {
        Restoration { samples: flat(values), per_image, nfe: 20, backward_passes: 0, seconds: 6.0 }
    }

    const EPS: Method = Method::Eps { network: Scope::PerTask, calls: 20 };

    #[test]
    fn scores_of_constant_images() {
        // Two black images; errors of 0.2 and 2 on [-1, 1] are 20 and 0 dB.
        let truth = vec![-1.0; 2 * 121];
        let samples = restoration(&[-0.8, 1.0, 1.0, 1.0], 2);
        let row = Row::new(EPS, &truth, &samples, SHAPE, &Judge::PIXELS).unwrap();
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
        let row = Row::of_means(EPS, &truth, &samples, SHAPE, &Judge::PIXELS).unwrap();
        assert!((row.psnr_db.mean - 20.0).abs() < 1e-5);
        assert_eq!(row.psnr_db.standard_deviation, None);
        assert_eq!((row.mean_of, row.nfe, row.seconds), (Some(2), 40, 3.0));
        assert!(row.undefined["crps_coordinate"].contains("too few samples"));
        assert_eq!(row.label(), "EPS, 20 calls, mean of 2");
        let (mean, sd) = moments(&samples, SHAPE);
        assert!((mean[0] + 0.8).abs() < 1e-6 && (sd[0] - 0.02f64.sqrt()).abs() < 1e-6);
        assert_eq!(sd[121], 0.0);
    }

    #[test]
    fn a_claim_that_fails_says_so() {
        let truth = vec![-1.0; 121];
        let row = |method, value: f32| {
            Row::new(method, &truth, &restoration(&[value], 1), SHAPE, &Judge::PIXELS).unwrap()
        };
        let one_call = Method::Eps { network: Scope::AllTasks, calls: 1 };
        let mean = |j| Row { mean_of: Some(j), ..row(EPS, -0.8) };
        // 20 dB each: no margin.
        let rows = [row(Method::LinearMmse, -0.8), row(one_call, -0.8), mean(3), mean(10)];
        let verdicts: Vec<Verdict> = claims(&rows).iter().map(|claim| claim.verdict).collect();
        assert_eq!(verdicts, [Verdict::Fails, Verdict::Open, Verdict::Fails]);
        assert!(claims(&rows)[0].sentence().ends_with("claimed ≥ 1.0 dB: FAILS"));
        // An error of 0.1 for 0.2 is 6 dB better.
        let better = [row(Method::LinearMmse, -0.8), row(one_call, -0.9)];
        assert_eq!(claims(&better)[0].verdict, Verdict::Holds);
        assert_eq!(scopes(&rows), [Scope::AllTasks, Scope::PerTask]);
    }
}

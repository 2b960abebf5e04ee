//! `eps evaluate`: the metrics of posterior samples.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use eps_data::Array;
use eps_data::archive::holds_antithetic_pairs;
use eps_data::array_file::{ArrayFile, is_picture};
use eps_data::hdf5_file::{groups_with, hdf5_format};
use eps_data::image_set::FORMAT;
use eps_metrics::networks::{Backbone, NetworkScores, evaluate_networks};
use eps_metrics::{Evaluation, MetricsError, SampleShape, evaluate, scores_of_mean};
use serde::Serialize;

use crate::flags::{DeviceFlags, UsageError, check_channels_first};
use crate::progress::waiting;
use crate::sample_range::OtherScale;
use eps::dataset;
use eps::feature_networks::{self, FeatureNetworkFile, FeatureNetworks};
use eps::format::compared_number;

/// The largest absolute value of a sample: those of a sampler leave [-1, 1] by less, values on another
/// scale by more.
const LARGEST: f64 = 2.0;

/// The most groups that a message lists.
const LISTED: usize = 8;

/// Score posterior samples against the true images.
///
/// Prints PSNR and SSIM of samples and of their mean, energy score (the paper's CRPS) in both estimators, mean CRPS of a pixel and
/// MMD²; and, where the networks are there (`cargo xtask fetch lpips`), LPIPS and distances between
/// features: lpips_alex, fd_alex, mmd2_alex, energy_score_alex, and the same of VGG16. Samples outside
/// [-1, 1] are clipped and counted; more than a tenth of them beyond 2 is another scale, and an error.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// True images [N, C, H, W] in [-1, 1]: .npy, .h5 with the dataset `truth`, or a picture
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// Samples [N, J, C, H, W] in [-1, 1], J for each truth: .npy, .h5 with the dataset `samples`, or one as a picture
    #[arg(long, value_name = "FILE")]
    samples: PathBuf,
    /// The group of an HDF5 file that holds the dataset, e.g. `box-inpainting/eps-20`; of a file without it the root
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Print one JSON object, with the convention of every metric
    #[arg(long)]
    json: bool,
    /// The folder of alex.safetensors and vgg.safetensors [default: .deps/lpips of the repository]
    #[arg(long, value_name = "FOLDER")]
    networks: Option<PathBuf>,
    /// Leave out what needs these networks
    #[arg(long, conflicts_with = "networks")]
    no_networks: bool,
    /// The FID network, NVIDIA's inception-2015-12-05.pt, for `fid`, `mmd2_inception` and
    /// `energy_score_inception`; it is a program: name only a file that you trust
    #[arg(long, value_name = "FILE.pt")]
    inception: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceFlags,
}

impl Arguments {
    /// Reads both files, computes, prints.
    pub(crate) fn run(&self) -> Result<()> {
        let of_truth = self.group_of(&self.truth, "truth")?;
        let of_samples = self.group_of(&self.samples, "samples")?;
        if let (Some(group), None, None) = (self.named(), &of_truth, &of_samples) {
            bail!(UsageError(format!("--group {group}: neither file has it: leave it out")));
        }
        let truth = read(&self.truth, of_truth, "truth", &["N", "C", "H", "W"])?;
        let samples =
            read(&self.samples, of_samples.clone(), "samples", &["N", "J", "C", "H", "W"])?;
        let (t, s) = (&truth.dims, &samples.dims);
        ensure!(
            s[0] == t[0] && s[2..] == t[1..],
            "{}: samples of dimensions {s:?} do not belong to the truth of dimensions {t:?} in {}: \
             needed are [{}, J, {}, {}, {}]",
            self.samples.display(),
            self.truth.display(),
            t[0],
            t[1],
            t[2],
            t[3]
        );
        let is_far = |v: &f64| v.abs() > LARGEST;
        let far = samples.values.iter().filter(|v| is_far(v)).count();
        if let Some(index) = samples.values.iter().position(is_far)
            && 10 * far > samples.values.len()
        {
            bail!(
                "{}: {far} of {} values lie beyond {LARGEST}, such as {} at flat index {index}, but samples \
                 are in [-1, 1]: scale them by v / 127.5 - 1 if they are 0..255, and of `eps restore --unit` give samples.h5",
                self.samples.display(),
                samples.values.len(),
                compared_number(samples.values[index])
            );
        }
        let mut notes = Vec::new();
        let ArrayFile { file, array } = ArrayFile::of(&self.samples);
        let above =
            array.as_deref().map(|name| name.rsplit_once('/').map_or("/", |(above, _)| above));
        let group = above.or(of_samples.as_deref()).unwrap_or("/");
        let are_pairs = dataset::is_hdf5(&file) && holds_antithetic_pairs(&file, group)?;
        let all =
            SampleShape { images: s[0], samples: s[1], channels: s[2], height: s[3], width: s[4] };
        let of_mean = waiting("scoring the means of the samples", || {
            scores_of_mean(&truth.values, &samples.values, all)
        });
        let samples = if are_pairs { independent(samples) } else { samples };
        let s = &samples.dims;
        if are_pairs {
            notes.push(format!(
                "the samples are antithetic pairs: scored is the first of each, {} of each image, as those are independent, and \
                 psnr_mean_db and ssim_mean are of the mean of all",
                s[1]
            ));
        }
        for (path, array) in [(&self.truth, &truth), (&self.samples, &samples)] {
            let one = array.dims[1..].iter().product();
            let found = OtherScale::of(&array.values, one, s[2]);
            notes.extend(found.map(|scale| scale.note(path)));
        }
        let shape =
            SampleShape { images: s[0], samples: s[1], channels: s[2], height: s[3], width: s[4] };
        let failed =
            || format!("cannot score {} against {}", self.samples.display(), self.truth.display());
        let networks = self.load_networks(shape)?;
        if let Some(note) = pairs_note(shape) {
            eprintln!("note: {note}");
        }
        let evaluation = waiting("scoring pixels and comparing all pairs of images", || {
            evaluate(&truth.values, &samples.values, shape)
        })
        .with_context(failed)?;
        // In place of the doubles, which nothing needs any more.
        #[expect(clippy::cast_possible_truncation, reason = "networks compute in f32")]
        let floats = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        let (truth, samples) = (floats(truth.values), floats(samples.values));
        let scores = waiting("scoring by networks", || {
            evaluate_networks(&truth, &samples, shape, &networks.networks)
        })
        .with_context(failed)?;
        let mut report = Report::new(evaluation, scores, networks);
        report.add_scores_of_mean(of_mean);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            report.print();
        }
        for note in notes.iter().chain(&report.networks_left_out) {
            eprintln!("note: {note}");
        }
        Ok(())
    }

    /// The networks that the flags name or that are there, and why others are left out.
    fn load_networks(&self, shape: SampleShape) -> Result<FeatureNetworks> {
        let device = self.device.apply();
        let mut networks = if self.no_networks {
            FeatureNetworks::none("--no-networks leaves out LPIPS and distances between features")
        } else if let 1 | 3 = shape.channels {
            feature_networks::load(self.networks.as_deref(), &Backbone::ALL, device)?
        } else {
            FeatureNetworks::none(&format!(
                "LPIPS and distances between features need images of 3 channels or 1 (grey), these \
                 have {}",
                shape.channels
            ))
        };
        if let Some(path) = &self.inception {
            networks.add_inception(path, device)?;
        }
        Ok(networks)
    }

    /// The group that is named, none for the root.
    fn named(&self) -> Option<&str> {
        let group = self.group.as_deref().map(|group| group.trim_matches('/'));
        group.filter(|group| !group.is_empty())
    }

    /// The group that is named, where a file has the array `name` there; none of another file, whose array is in the root.
    ///
    /// # Errors
    /// A file that has the array in other groups alone, and a data set.
    fn group_of(&self, path: &Path, name: &str) -> Result<Option<String>> {
        if !dataset::is_hdf5(path) {
            return Ok(None);
        }
        let groups = groups_with(path, name)?;
        let has = |group: &str| groups.iter().any(|found| found == group);
        if let Some(named) = self.named().filter(|named| has(named)) {
            return Ok(Some(named.to_owned()));
        }
        ensure!(
            has("/") || hdf5_format(path)?.as_deref() != Some(FORMAT),
            "{}: it is a data set: give the measurements of its images, which hold the truth (`eps measure --dataset`), and \
             the samples of a restoration",
            path.display()
        );
        ensure!(
            has("/") || groups.is_empty(),
            "{}: the array {name:?} is not in the root, but in the groups {}{}: name one by --group",
            path.display(),
            groups.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", "),
            if groups.len() > LISTED { ", …" } else { "" }
        );
        Ok(None)
    }
}

/// Reads the array of a flag; a picture is one image, or one sample of it.
fn read(path: &Path, group: Option<String>, name: &str, axes: &[&str]) -> Result<Array> {
    let name = group.map_or(name.to_owned(), |group| format!("{group}/{name}"));
    let mut array = Array::read(path, &name)?;
    if is_picture(path) {
        array.dims.splice(..0, vec![1; axes.len() - array.dims.len()]);
    }
    let axes_text = axes.join(", ");
    ensure!(
        array.dims.len() == axes.len() && !array.dims.contains(&0),
        "{}: the array has dimensions {:?}, needed are [{axes_text}], none of them 0: reshape it, grey images to C = 1",
        path.display(),
        array.dims
    );
    check_channels_first(path, &array.dims)?;
    Ok(array)
}

/// The first sample of each pair, `[N, J, C, H, W]` → `[N, ⌈J/2⌉, C, H, W]`.
fn independent(samples: Array) -> Array {
    let Array { mut dims, values } = samples;
    let (per_image, one): (usize, usize) = (dims[1], dims[2..].iter().product());
    let kept = values.chunks_exact(one).enumerate().filter(|(at, _)| (at % per_image) % 2 == 0);
    let values = kept.flat_map(|(_, sample)| sample).copied().collect();
    dims[1] = per_image.div_ceil(2);
    Array { dims, values }
}

/// Says beforehand that MMD² will take minutes, as it compares every image with every other.
fn pairs_note(shape: SampleShape) -> Option<String> {
    /// Differences of values that a core makes in about a minute, and the least that count for a pair.
    const MINUTE: f64 = 1e11;
    const LEAST: f64 = 32.0;
    let images = shape.images as f64 * (1.0 + shape.samples as f64);
    let values = (shape.channels * shape.height * shape.width) as f64;
    let pairs = images * images / 2.0;
    (pairs * values.max(LEAST) > MINUTE).then(|| {
        format!(
            "MMD² compares {pairs:.1e} pairs of images, which takes minutes: it grows with the square of images times samples, so that \
             fewer samples of each image are quick"
        )
    })
}

/// What is printed: the evaluation of pixels, then the values of networks beside its own.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    evaluation: Evaluation,
    #[serde(flatten)]
    values: BTreeMap<String, Option<f64>>,
    /// For every value that is to be read with care: why.
    cautions: BTreeMap<String, String>,
    /// The networks by name.
    networks: BTreeMap<&'static str, UsedNetwork>,
    /// Why there are no values of AlexNet and VGG16, and how to get them.
    #[serde(skip_serializing_if = "Option::is_none")]
    networks_left_out: Option<String>,
}

/// A network and how it saw the images.
#[derive(Debug, Serialize)]
struct UsedNetwork {
    #[serde(flatten)]
    file: FeatureNetworkFile,
    /// Rows and columns at which it saw the images; another size than theirs means that they were
    /// resized.
    input_sides: [usize; 2],
}

impl Report {
    fn new(
        mut evaluation: Evaluation,
        scores: Vec<NetworkScores>,
        networks: FeatureNetworks,
    ) -> Self {
        let mut values = BTreeMap::new();
        let mut cautions = BTreeMap::new();
        let mut used = BTreeMap::new();
        for (scores, file) in scores.into_iter().zip(networks.files) {
            values.extend(scores.values());
            used.insert(scores.network, UsedNetwork { file, input_sides: scores.input_sides });
            evaluation.undefined.extend(scores.undefined);
            evaluation.conventions.extend(scores.conventions);
            cautions.extend(scores.cautions);
        }
        let networks_left_out = networks.left_out;
        Self { evaluation, values, cautions, networks: used, networks_left_out }
    }

    /// Adds the scores of the mean of the samples.
    fn add_scores_of_mean(&mut self, scores: [Result<f64, MetricsError>; 2]) {
        let of = |metric: &str| {
            format!("of the mean of each image's samples, else as {metric}; mean over images")
        };
        let named = [("psnr_mean_db", of("psnr_db")), ("ssim_mean", of("ssim"))];
        for ((name, convention), score) in named.into_iter().zip(scores) {
            let name = name.to_owned();
            self.evaluation.conventions.insert(name.clone(), convention);
            match score {
                Ok(score) if score.is_finite() => {
                    self.values.insert(name, Some(score));
                    continue;
                }
                Ok(score) => {
                    let reason = format!("{score}: the mean equals its truth");
                    self.evaluation.undefined.insert(name.clone(), reason)
                }
                Err(error) => self.evaluation.undefined.insert(name.clone(), error.to_string()),
            };
            self.values.insert(name, None);
        }
    }

    fn print(&self) {
        let scores = &self.evaluation;
        println!("{} images, {} samples of each", scores.images, scores.samples);
        if scores.clipped > 0 {
            println!("{} values outside [-1, 1] were clipped", scores.clipped);
        }
        let pixels = [
            ("psnr_db", scores.psnr_db),
            ("ssim", scores.ssim),
            ("energy_score", scores.energy_score),
            ("energy_score_fair", scores.energy_score_fair),
            ("crps_coordinate", scores.crps_coordinate),
            ("mmd2", scores.mmd2),
        ];
        let of_networks = self.values.iter().map(|(name, value)| (name.as_str(), *value));
        for (name, value) in pixels.into_iter().chain(of_networks) {
            let text = |map: &BTreeMap<String, String>| map.get(name).cloned().unwrap_or_default();
            match value {
                Some(value) => println!("{name:<22} {value:>12.6}  {}", text(&scores.conventions)),
                None => println!("{name:<22} {:>12}  {}", "-", text(&scores.undefined)),
            }
            if let Some(caution) = self.cautions.get(name) {
                println!("{:<22} {:>12}  caution: {caution}", "", "");
            }
        }
        for (name, network) in &self.networks {
            let UsedNetwork { file, input_sides: [rows, columns] } = network;
            println!("{name}: {} at {rows}x{columns}, SHA-256 {}", file.source, file.sha256);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_pairs_are_told() {
        let of = |images, samples, side| {
            pairs_note(SampleShape { images, samples, channels: 1, height: side, width: side })
        };
        assert_eq!(of(1000, 10, 28), None);
        let note = of(4000, 40, 2).unwrap();
        assert!(note.contains("1.3e10 pairs"), "{note}");
    }
}

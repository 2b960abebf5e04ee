//! `eps evaluate`: the metrics of posterior samples.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use eps_data::Array;
use eps_metrics::{Evaluation, SampleShape, evaluate};

/// Score posterior samples against the true images.
///
/// Prints PSNR, SSIM, energy score (the paper's CRPS) in both estimators, mean CRPS of a pixel and
/// MMD². Samples outside [-1, 1] are clipped and counted.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// True images [N, C, H, W] in [-1, 1]: .npy, or .h5 with the dataset `truth`
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// Samples [N, J, C, H, W] in [-1, 1], J for each truth: .npy, or .h5 with the dataset `samples`
    #[arg(long, value_name = "FILE")]
    samples: PathBuf,
    /// The group of an HDF5 file that holds the datasets, e.g. `box-inpainting/eps-20`
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Print one JSON object, with the convention of every metric
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Reads both files, computes, prints.
    pub(crate) fn run(&self) -> Result<()> {
        let truth = self.read(&self.truth, "truth", &["N", "C", "H", "W"])?;
        let samples = self.read(&self.samples, "samples", &["N", "J", "C", "H", "W"])?;
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
        let shape =
            SampleShape { images: s[0], samples: s[1], channels: s[2], height: s[3], width: s[4] };
        let scores = evaluate(&truth.values, &samples.values, shape).with_context(|| {
            format!("cannot score {} against {}", self.samples.display(), self.truth.display())
        })?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&scores)?);
        } else {
            print_table(&scores);
        }
        Ok(())
    }

    fn read(&self, path: &Path, name: &str, axes: &[&str]) -> Result<Array> {
        let name = match &self.group {
            Some(group) => format!("{}/{name}", group.trim_matches('/')),
            None => name.to_owned(),
        };
        let array = Array::read(path, &name)?;
        ensure!(
            array.dims.len() == axes.len() && !array.dims.contains(&0),
            "{}: the array has dimensions {:?}, needed are [{}], none of them 0: reshape it",
            path.display(),
            array.dims,
            axes.join(", ")
        );
        Ok(array)
    }
}

fn print_table(scores: &Evaluation) {
    println!("{} images, {} samples of each", scores.images, scores.samples);
    if scores.clipped > 0 {
        println!("{} values outside [-1, 1] were clipped", scores.clipped);
    }
    for (name, value) in [
        ("psnr_db", scores.psnr_db),
        ("ssim", scores.ssim),
        ("energy_score", scores.energy_score),
        ("energy_score_fair", scores.energy_score_fair),
        ("crps_coordinate", scores.crps_coordinate),
        ("mmd2", scores.mmd2),
    ] {
        let text = |map: &std::collections::BTreeMap<String, String>| {
            map.get(name).cloned().unwrap_or_default()
        };
        match value {
            Some(value) => println!("{name:<18} {value:>12.6}  {}", text(&scores.conventions)),
            None => println!("{name:<18} {:>12}  {}", "-", text(&scores.undefined)),
        }
    }
}

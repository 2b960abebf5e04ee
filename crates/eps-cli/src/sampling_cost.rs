//! What network passes cost, by a network's architecture alone.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use eps::training_config;
use eps_model::training_cost::training_cost;
use eps_model::{DevicePrecision as _, Precision};
use tch::{Device, Tensor};

use crate::progress::WITH_BACKWARD;
use crate::training_plan::{Rate, time};

/// Asking for the cost of sampling instead of samples.
#[derive(Debug, Args)]
pub(crate) struct CostFlags {
    /// Print network passes, work and time, for networks of the architecture of this training
    /// configuration, and end: needs neither data nor networks
    #[arg(long, value_name = "CONFIG.json")]
    dry_run: Option<PathBuf>,
    #[command(flatten)]
    rate: Rate,
}

impl CostFlags {
    /// Whether nothing is to be computed.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run.is_some()
    }

    /// Prints what `passes` forward passes of one image each take; nothing where that is not asked.
    ///
    /// # Errors
    /// A file that is no training configuration.
    pub(crate) fn print(&self, what: &str, passes: u64) -> Result<()> {
        let Some(path) = &self.dry_run else {
            return Ok(());
        };
        let a_pass =
            2.0 * training_cost(&training_config::read(path)?.network)?.multiply_adds as f64;
        let work = a_pass * passes as f64;
        println!(
            "{what}: {passes} forward passes of one image, where one with a backward pass counts as \
             {WITH_BACKWARD}"
        );
        println!("work {work:.3e} FLOP, {a_pass:.3e} a forward pass of one image");
        println!("{}", time(work, self.rate.tflops));
        Ok(())
    }
}

/// What a restoration takes of memory.
pub(crate) struct Bytes {
    /// Of the activations of all calls at once.
    pub(crate) activations: u64,
    /// Of the network.
    pub(crate) weights: u64,
    /// Of the images and what is computed of them as a whole.
    pub(crate) images: u64,
}

/// How long a restoration takes of which nothing is said beforehand, in seconds.
const SHORT: f64 = 20.0;

/// What is said of a restoration that takes [`SHORT`] or longer on `threads` cores of the CPU, by the speed of a layer in a precision
/// here, on images of so many pixels at a time.
pub(crate) fn note(
    operations: f64,
    Bytes { activations, weights, images }: Bytes,
    (threads, pixels): (usize, usize),
    precision: Precision,
    is_iterated: bool,
) -> Option<String> {
    let seconds = operations / (operations_a_second(precision, pixels) * threads as f64);
    if seconds < SHORT {
        return None;
    }
    let time = in_words(seconds);
    Some(format!(
        "{operations:.1e} operations, which take about {time} or more on {threads} idle {} by the speed of a \
         layer here{}, and {} of memory, activations at once beside {} of weights and {} of images: fewer --samples, --calls or a \
         smaller --batch take less; after Ctrl-C the same command goes on from the samples that are finished, with other --samples and --batch too",
        if threads == 1 { "core" } else { "cores" },
        if is_iterated {
            ", the iterations that this operator needs apart, often as long again"
        } else {
            ""
        },
        size_in_words(activations.saturating_add(weights).saturating_add(images)),
        size_in_words(weights),
        size_in_words(images)
    ))
}

/// Bytes in the unit that fits.
fn size_in_words(bytes: u64) -> String {
    match bytes as f64 / 1e6 {
        megabytes if megabytes < 100.0 => format!("{megabytes:.0} MB"),
        megabytes => format!("{:.1} GB", megabytes / 1e3),
    }
}

/// Seconds in the unit that fits.
fn in_words(seconds: f64) -> String {
    match seconds / 60.0 {
        minutes if minutes < 2.0 => format!("{seconds:.0} seconds"),
        minutes if minutes < 90.0 => format!("{minutes:.0} minutes"),
        minutes if minutes < 2880.0 => format!("{:.0} hours", minutes / 60.0),
        minutes => format!("{:.0} days", minutes / 1440.0),
    }
}

/// Operations a second of one core, by layers of a small network for a twentieth of a second: group norm, SiLU and convolution, of
/// which the last alone is counted, as in a network's cost. Large images leave the processor's cache, up to a side of 256.
fn operations_a_second(precision: Precision, pixels: usize) -> f64 {
    const CHANNELS: i64 = 64;
    let side = i64::try_from(pixels.isqrt()).unwrap_or(i64::MAX).clamp(16, 256);
    let of = |shape: [i64; 4]| Tensor::ones(shape, (precision.kind(), Device::Cpu));
    let (x, taps) = (of([1, CHANNELS, side, side]), of([CHANNELS, CHANNELS, 3, 3]));
    let layer = || {
        let x = x.group_norm(8, None::<Tensor>, None::<Tensor>, 1e-5, false).silu();
        x.conv2d(&taps, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1)
    };
    // The first one is slower.
    let _ = layer();
    let start = Instant::now();
    let mut count = 0.0;
    while start.elapsed() < Duration::from_millis(50) {
        let _ = layer();
        count += 1.0;
    }
    count * 2.0 * (CHANNELS * CHANNELS * 9 * side * side) as f64 / start.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_restorations_are_told_before_they_begin() {
        let bytes = |activations, weights| Bytes { activations, weights, images: 0 };
        assert_eq!(note(1e6, bytes(1, 1), (1, 784), Precision::F32, false), None);
        // How fast the machine is differs from moment to moment where others use it.
        let times = [90.0, 600.0, 2.0e4, 1e6].map(in_words);
        assert_eq!(times, ["90 seconds", "10 minutes", "6 hours", "12 days"]);
        let note =
            note(1e21, bytes(2_500_000_000, 2_200_000_000), (2, 1 << 20), Precision::Bf16, true)
                .unwrap();
        for words in ["days", "4.7 GB of memory", "2.2 GB of weights", "2 idle cores"] {
            assert!(note.contains(words), "{note}");
        }
        let note = super::note(1e21, bytes(1, 2_600_000), (1, 784), Precision::F32, false).unwrap();
        assert!(note.contains("1 idle core by") && note.contains("3 MB of weights"), "{note}");
    }
}

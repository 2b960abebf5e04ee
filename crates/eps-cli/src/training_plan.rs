//! What a training takes, from its configuration alone.

use anyhow::Result;
use clap::Args;
use eps_model::training_cost::{passes, training_cost};
use eps_train::TrainConfig;

use crate::flags::positive;
use crate::growth::{GrowthFlags, StepWork};

/// The flag of a dry run beside its own.
#[derive(Debug, Args)]
pub(crate) struct Rate {
    /// The rate that a dry run divides the work by, sustained, in 10^12 operations a second
    #[arg(
        long,
        value_name = "X",
        default_value = "100",
        value_parser = positive,
        allow_negative_numbers = true,
        requires = "dry_run"
    )]
    pub(crate) tflops: f64,
}

/// f32 vectors of all weights: the network's and the optimiser's, gradients, Adam's two moments and the
/// moving average.
const VECTORS: u64 = 6;

/// Prints what a training takes, from its configuration alone.
pub(crate) fn dry_run(config: &TrainConfig, tflops: f64, growth: &GrowthFlags) -> Result<()> {
    let found = training_cost(&config.network)?;
    let TrainConfig { batch, steps, precision, gradient_checkpointing, .. } = *config;
    let at_once = config.micro_batch.map_or(batch, |part| part.min(batch));
    let weights = 4 * VECTORS * found.parameters as u64;
    let activations = found.activation_bytes(at_once, precision, gradient_checkpointing);
    let images = steps as f64 * batch as f64;
    // A multiply-add is two operations.
    let a_pass = 2.0 * found.multiply_adds as f64;
    let work = a_pass * passes(gradient_checkpointing) as f64 * images;
    println!("{}: {} parameters", config.name, found.parameters);
    println!("{steps} steps of {batch} images, {at_once} at a time: {images:.4e} images");
    println!(
        "memory {:.2} GB: {:.2} GB for weights, gradients, Adam and moving average in f32, {:.2} GB for \
         activations of {at_once} images in {precision}{}",
        gigabytes(weights + activations),
        gigabytes(weights),
        gigabytes(activations),
        if gradient_checkpointing { ", recomputed inside blocks" } else { "" }
    );
    println!("work {work:.3e} FLOP forward and backward, {a_pass:.3e} a forward pass of one image");
    println!("{}", time(work, tflops));
    let all = passes(gradient_checkpointing) as f64;
    let step = StepWork {
        batch,
        operations: a_pass * all,
        backward: (all - 1.0) / all,
        gradients: 4.0 * found.parameters as f64,
        steps,
    };
    growth.lines(step, tflops)?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// Bytes in units of 10⁹.
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

/// How long `work` operations take at `tflops` 10^12 operations a second.
pub(crate) fn time(work: f64, tflops: f64) -> String {
    let seconds = work / (tflops * 1e12);
    // Less would be no hours at all.
    if seconds < 36.0 {
        return format!("time {seconds:.2} s at {tflops} TFLOP/s");
    }
    format!("time {:.2} hours at {tflops} TFLOP/s", seconds / 3600.0)
}

//! What a training would take on several GPUs: a model on paper, from the configuration alone.

use clap::Args;

use crate::flags::{UsageError, count, positive};

/// How many GPUs a dry run counts with, and what joins them.
#[derive(Debug, Args)]
pub(crate) struct GrowthFlags {
    /// Numbers of GPUs, separated by commas, that a dry run shares the batch out to; a model on paper
    #[arg(long, value_name = "P,…", value_delimiter = ',', value_parser = count, requires = "dry_run")]
    gpus: Vec<usize>,
    /// GPUs of a machine
    #[arg(long, value_name = "N", default_value = "8", value_parser = count, requires = "gpus")]
    gpus_a_machine: usize,
    /// 10^9 bytes a second that a GPU sends to others of its machine
    #[arg(long, value_name = "X", default_value = "450", value_parser = positive, allow_negative_numbers = true, requires = "gpus")]
    inside: f64,
    /// 10^9 bytes a second that a GPU sends to other machines, on a link of its own
    #[arg(long, value_name = "X", default_value = "50", value_parser = positive, allow_negative_numbers = true, requires = "gpus")]
    between: f64,
}

/// A training's step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepWork {
    /// Images.
    pub(crate) batch: usize,
    /// Operations of an image, forward and backward.
    pub(crate) operations: f64,
    /// The share of them that is backward, in which gradients become known.
    pub(crate) backward: f64,
    /// Bytes of all gradients, in f32.
    pub(crate) gradients: f64,
    /// Steps of the training.
    pub(crate) steps: u64,
}

/// What some GPUs take for a step.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Growth {
    /// Seconds of computing.
    compute: f64,
    /// Seconds of summing the gradients.
    sum: f64,
    /// Seconds of that which computing does not hide.
    exposed: f64,
    /// Images a GPU from which on computing hides all of it.
    hidden_from: f64,
}

/// Seconds between the sending of a message and its coming.
const LATENCY: f64 = 10e-6;

impl GrowthFlags {
    /// A line of headings and one for each number of GPUs; nothing where none is asked for.
    ///
    /// # Errors
    /// GPUs that do not fill their machines: one that is alone in a machine would carry what eight share elsewhere.
    pub(crate) fn lines(&self, step: StepWork, tflops: f64) -> Result<Vec<String>, UsageError> {
        let machine = self.gpus_a_machine;
        if let Some(gpus) =
            self.gpus.iter().find(|gpus| **gpus > machine && !gpus.is_multiple_of(machine))
        {
            return Err(UsageError(format!(
                "--gpus {gpus}: more than a machine of {machine} and no multiple of it: name a multiple, or another number of \
                 --gpus-a-machine"
            )));
        }
        let row = |gpus: &usize| {
            let Growth { compute, sum, exposed, hidden_from } = self.of(step, *gpus, tflops);
            let hours = (compute + exposed) * step.steps as f64 / 3600.0;
            let is_enough = step.batch >= *gpus;
            let efficiency = 100.0 * compute / (compute + exposed);
            let milliseconds = |seconds: f64| format!("{:.2}", 1e3 * seconds);
            // A GPU without an image has nothing to do.
            let if_any = |text: String| if is_enough { text } else { "-".to_owned() };
            let images = if is_enough {
                step.batch.div_ceil(*gpus).to_string()
            } else {
                "too few".to_owned()
            };
            [
                gpus.to_string(),
                images,
                if_any(milliseconds(compute)),
                milliseconds(sum),
                if_any(milliseconds(exposed)),
                if_any(format!("{efficiency:.0}")),
                if_any(format!("{hours:.2}")),
                format!("{hidden_from:.2}"),
            ]
        };
        let headings = [
            "GPUs",
            "images a GPU",
            "computing (ms)",
            "summing gradients (ms)",
            "not hidden (ms)",
            "efficiency (%)",
            "hours",
            "images a GPU that hide it",
        ];
        if self.gpus.is_empty() {
            return Ok(vec![]);
        }
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(headings).map(|(cell, heading)| {
                let width = heading.len();
                format!("{cell:>width$}")
            });
            padded.collect::<Vec<_>>().join("  ")
        };
        let mut lines = vec![headings.join("  ")];
        lines.extend(self.gpus.iter().map(|gpus| line(&row(gpus))));
        Ok(lines)
    }

    /// The time of a step on P GPUs, at a rate that does not depend on the images of a GPU.
    ///
    /// ```text
    /// computing   operations · ⌈batch/P⌉ / rate, for the GPU of the most images
    /// summing     2 (n−1)/n g/b_in + 2 (m−1)/m (g/n)/b_between + 2 (n + m − 2) latency
    /// not hidden  max(0, summing − backward · computing)
    /// ```
    ///
    /// g bytes of gradients are summed by rings: inside every machine of n GPUs, then between the m machines, where each GPU
    /// carries the n-th part of them.
    fn of(&self, step: StepWork, gpus: usize, tflops: f64) -> Growth {
        let inside = self.gpus_a_machine.min(gpus) as f64;
        let machines = gpus.div_ceil(self.gpus_a_machine) as f64;
        let rate = tflops * 1e12;
        let compute = step.operations * step.batch.div_ceil(gpus) as f64 / rate;
        let ring = |members: f64, bytes: f64, bandwidth: f64| {
            2.0 * (members - 1.0) * (bytes / members / (bandwidth * 1e9) + LATENCY)
        };
        let sum = ring(inside, step.gradients, self.inside)
            + ring(machines, step.gradients / inside, self.between);
        let exposed = (sum - step.backward * compute).max(0.0);
        let hidden_from = sum * rate / (step.backward * step.operations);
        Growth { compute, sum, exposed, hidden_from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(gpus: &[usize]) -> GrowthFlags {
        GrowthFlags { gpus: gpus.to_vec(), gpus_a_machine: 8, inside: 400.0, between: 50.0 }
    }

    /// 10^9 gradients bytes; an image takes 3 · 10^12 operations, two thirds of them backward.
    const STEP: StepWork =
        StepWork { batch: 64, operations: 3e12, backward: 2.0 / 3.0, gradients: 1e9, steps: 3600 };

    #[test]
    fn one_gpu_sums_nothing() {
        let growth = flags(&[1]).of(STEP, 1, 100.0);
        // 64 · 0.03 s.
        let expected = Growth { compute: 1.92, sum: 0.0, exposed: 0.0, hidden_from: 0.0 };
        assert!((growth.compute - expected.compute).abs() < 1e-12);
        assert_eq!(Growth { compute: 1.92, ..growth }, expected);
        let lines = flags(&[1]).lines(STEP, 100.0).unwrap();
        assert_eq!(lines.len(), 2);
        let cells: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(cells, ["1", "64", "1920.00", "0.00", "0.00", "100", "1.92", "0.00"]);
        assert!(flags(&[]).lines(STEP, 100.0).unwrap().is_empty());
    }

    #[test]
    fn gradients_are_summed_inside_machines_and_then_between_them() {
        let growth = flags(&[]).of(STEP, 64, 100.0);
        // 14 · (125 MB / 400 GB/s + 10 µs) + 14 · (15.625 MB / 50 GB/s + 10 µs).
        let sum = 14.0 * (0.0003125 + 1e-5) + 14.0 * (0.0003125 + 1e-5);
        assert!((growth.sum - sum).abs() < 1e-12, "{growth:?}");
        // One image a GPU: 30 ms, of which 20 are backward and hide the 9.
        assert!((growth.compute - 0.03).abs() < 1e-12);
        assert_eq!(growth.exposed, 0.0);
        assert!((growth.hidden_from - sum / 0.02).abs() < 1e-9);
        // At ten times the rate the 2 ms hide little.
        let faster = flags(&[]).of(STEP, 64, 1000.0);
        assert!((faster.exposed - (sum - 0.002)).abs() < 1e-12);
    }

    #[test]
    fn a_batch_of_fewer_images_than_gpus_says_so() {
        let lines = flags(&[512]).lines(STEP, 100.0).unwrap();
        let cells: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(cells[..4], ["512", "too", "few", "-"], "{lines:?}");
    }

    #[test]
    fn the_gpu_of_the_most_images_decides_and_machines_are_full() {
        let lines = flags(&[48]).lines(STEP, 100.0).unwrap();
        let cells: Vec<&str> = lines[1].split_whitespace().collect();
        // 64 images on 48 GPUs: some have two, 0.06 s.
        assert_eq!(cells[..3], ["48", "2", "60.00"]);
        let error = flags(&[8, 9]).lines(STEP, 100.0).unwrap_err().to_string();
        assert!(error.contains("--gpus 9") && error.contains("name a multiple"), "{error}");
    }
}

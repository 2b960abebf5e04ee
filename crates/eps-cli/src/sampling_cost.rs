//! What network passes cost, by a network's architecture alone.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use eps_model::training_cost::training_cost;

use crate::flags::positive;
use crate::progress::WITH_BACKWARD;
use crate::training_plan::{read_config, time};

/// Asking for the cost of sampling instead of samples.
#[derive(Debug, Args)]
pub(crate) struct CostFlags {
    /// Print network passes, work and time, for networks of the architecture of this training
    /// configuration, and end: needs neither data nor networks
    #[arg(long, value_name = "CONFIG.json")]
    dry_run: Option<PathBuf>,
    /// The rate that a dry run divides the work by, sustained, in 10^12 operations a second
    #[arg(
        long,
        value_name = "X",
        default_value = "100",
        value_parser = positive,
        allow_negative_numbers = true,
        requires = "dry_run"
    )]
    tflops: f64,
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
        let a_pass = 2.0 * training_cost(&read_config(path)?.network)?.multiply_adds as f64;
        let work = a_pass * passes as f64;
        println!(
            "{what}: {passes} forward passes of one image, where one with a backward pass counts as \
             {WITH_BACKWARD}"
        );
        println!("work {work:.3e} FLOP, {a_pass:.3e} a forward pass of one image");
        println!("{}", time(work, self.tflops));
        Ok(())
    }
}

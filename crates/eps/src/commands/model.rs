//! `eps model`: what a network is, and whether this program computes it as it should.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use eps_data::digest;
use eps_model::Precision;
use eps_model::verify::{VERIFY_LIMIT, verify};
use tch::Device;

use crate::network;

/// Look at networks.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare an architecture with outputs that EDM's own code computed for known weights
    ///
    /// Prints one line a noise level: the largest deviation over the stored values, their mean and
    /// root mean square, relative to the root mean square. Exit code 1 above 1e-4.
    Verify {
        /// The fixture: architecture, tensors and outputs
        #[arg(value_name = "FILE.json")]
        fixture: PathBuf,
    },
    /// Print the configuration, size and origin of a network
    Show {
        /// The network
        #[arg(value_name = "NET.safetensors")]
        network: PathBuf,
    },
}

impl Arguments {
    /// Runs the subcommand.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.command {
            Command::Verify { fixture } => run_verify(fixture),
            Command::Show { network } => run_show(network),
        }
    }
}

fn run_verify(path: &Path) -> Result<()> {
    let report = verify(path)?;
    println!("{}: {} parameters in {} tensors", report.tag, report.parameters, report.tensors);
    for case in &report.cases {
        let verdict = if case.deviation <= VERIFY_LIMIT { "ok" } else { "FAILED" };
        println!("sigma {:<8} deviation {:.2e}  {verdict}", case.sigma_t, case.deviation);
    }
    ensure!(
        report.passed(),
        "{}: the largest deviation is {:.2e}, above {VERIFY_LIMIT:.0e}: this build does not compute \
         the network as EDM does",
        path.display(),
        report.deviation()
    );
    Ok(())
}

fn run_show(path: &Path) -> Result<()> {
    let network = network::load(path, Device::Cpu, Precision::F32)?;
    println!("{}: {:?}", path.display(), network.config.name);
    println!("{}", network::origin(&network.config.provenance));
    println!("{} parameters", network.denoiser.network().parameter_count());
    println!("SHA-256 {}", digest::sha256_file(path)?);
    println!("{}", serde_json::to_string_pretty(&network.config)?);
    Ok(())
}

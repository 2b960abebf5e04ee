//! `eps model`: what a network is, and whether this program computes it as it should.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use eps_data::digest;
use eps_model::Precision;
use eps_model::verify::{VERIFY_LIMIT, verify};
use tch::{Device, Kind, Tensor};

use crate::network::Network;
use crate::precision;

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
    /// Print the configuration, size, precision and origin of a network
    Show {
        /// The network, or the description of a prior
        #[arg(value_name = "NET.safetensors|PRIOR.json")]
        network: PathBuf,
        /// The class that a prior is tried out with, from 0 on, where it reads one
        #[arg(long, value_name = "K")]
        class: Option<usize>,
    },
    /// Measure what lower precisions do to a network: its answers and samples against those in f32
    ///
    /// Prints, for noise levels between the network's ends, the rms of the difference between the
    /// answers in each precision and in f32, over the rms of the latter; and the PSNR of samples of 20
    /// calls against those in f32 from the same noise. Needs no clean images: the states lie around
    /// the samples.
    Precision(precision::Arguments),
}

impl Arguments {
    /// Runs the subcommand.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.command {
            Command::Verify { fixture } => run_verify(fixture),
            Command::Show { network, class } => run_show(network, *class),
            Command::Precision(arguments) => arguments.run(),
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

fn run_show(path: &Path, class: Option<usize>) -> Result<()> {
    let network = Network::load(path, class, Device::Cpu, Precision::F32)?;
    println!("{}: {:?}", path.display(), network.name());
    println!("{}", network.origin());
    println!("SHA-256 {}", digest::sha256_file(path)?);
    match &network {
        Network::Trained(checkpoint) => {
            println!("{} parameters", checkpoint.denoiser.network().parameter_count());
            let trained = &checkpoint.config.provenance.training["config"]["precision"];
            println!(
                "weights stored in {}, trained in {}; computes in f32 unless --precision says \
                 otherwise",
                stored(path)?,
                trained.as_str().unwrap_or("a precision that the file does not tell")
            );
            println!("{}", serde_json::to_string_pretty(&checkpoint.config)?);
        }
        Network::Scripted(prior) => {
            println!("{}: SHA-256 {}", prior.script.display(), digest::sha256_file(&prior.script)?);
            println!("{} parameters, constants not counted", prior.parameter_count()?);
            println!("computes in f32 unless --precision says otherwise; tried out in f32");
            println!("{}", serde_json::to_string_pretty(&prior.description)?);
        }
    }
    Ok(())
}

/// In what the weights of a network are stored.
fn stored(path: &Path) -> Result<&'static str> {
    let tensors = Tensor::read_safetensors(path)?;
    let half = tensors.iter().any(|(_, tensor)| tensor.kind() == Kind::Half);
    Ok(if half { "f16" } else { "f32" })
}

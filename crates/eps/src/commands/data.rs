//! `eps data`: data sets made of pictures, and what they hold.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use eps_data::photos::{TileConfig, picture_names, write_tiles};
use eps_data::{DataSetReader, Provenance, Split};

use crate::flags::count;
use crate::progress::bar;

/// Make data sets of pictures, and show what they hold.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Photos(Photos),
    /// Print what a data set holds: splits, images, files, how it was made
    Show {
        /// A file that `eps data` wrote
        #[arg(value_name = "FILE.h5")]
        file: PathBuf,
    },
}

impl Arguments {
    /// Runs the subcommand.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.command {
            Command::Photos(photos) => photos.run(),
            Command::Show { file } => show(file),
        }
    }
}

/// Cut large photographs into tiles of one size
///
/// Every photograph is resized to several sizes, each cut into a centred grid of tiles that do not
/// overlap; tiles of little contrast, transparent pictures, small ones and all but one of those that look
/// alike are dropped. All tiles of a photograph are in one split. `cargo xtask fetch photos` makes the
/// data sets photos-32 and photos-64 by this command.
#[derive(Debug, Args)]
struct Photos {
    /// The folder of the photographs (PNG, JPEG, WebP), searched with all folders in it
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The data set to write
    #[arg(value_name = "OUT.h5")]
    out: PathBuf,
    /// The side of a tile in pixels
    #[arg(long, value_name = "PIXELS", value_parser = count)]
    size: usize,
    /// Where the photographs come from, to be kept in the file
    #[arg(long, value_name = "TEXT", default_value = "a folder of photographs")]
    source: String,
    /// Their licence, to be kept in the file
    #[arg(long, value_name = "TEXT", default_value = "unknown")]
    licence: String,
}

impl Photos {
    fn run(&self) -> Result<()> {
        let config = TileConfig::of_size(self.size);
        let count = picture_names(&self.folder)?.len() as u64;
        let bar = bar(count, "cutting", "photographs");
        let provenance = Provenance {
            name: name_of(&self.out),
            source: self.source.clone(),
            licence: self.licence.clone(),
            sha256: String::new(),
        };
        let report = write_tiles(&self.folder, &self.out, &config, provenance, &|| bar.inc(1));
        bar.finish_and_clear();
        for (name, reason) in report?.dropped {
            println!("left out {name}: {reason}");
        }
        show(&self.out)
    }
}

/// The name of a data set: its file's, without the ending.
fn name_of(out: &Path) -> String {
    out.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn show(file: &Path) -> Result<()> {
    let reader = DataSetReader::open(file).context("cannot show the data set")?;
    println!("{}", file.display());
    println!("  files   {}", reader.sources().len());
    for split in reader.splits()? {
        let set = reader.read(split)?;
        let files = reader.sources().iter().filter(|source| source.split == split).count();
        let labels = set.labels().map_or(String::new(), |labels| {
            let classes = labels.iter().max().map_or(0, |largest| largest + 1);
            format!(", labels of {classes} classes")
        });
        let (mean, deviation) = set.mean_and_deviation();
        println!(
            "  {split}: {} images of shape {} out of {files} files{labels}; mean {mean:.4}, standard \
             deviation {deviation:.4} on [-1, 1]; SHA-256 of the pixels {}",
            set.len(),
            set.shape(),
            set.provenance().sha256
        );
    }
    let first = reader.splits()?.first().copied().unwrap_or(Split::Train);
    let set = reader.read(first)?;
    let Provenance { source, licence, .. } = set.provenance();
    println!("  source  {source}");
    println!("  licence {licence}");
    println!("  made by {}", reader.config()?);
    Ok(())
}

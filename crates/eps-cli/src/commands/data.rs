//! `eps data`: data sets made of pictures and arrays, and what they hold.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use eps_data::photos::{TileConfig, write_tiles};
use eps_data::picture_source::picture_names;
use eps_data::{
    ArrayImport, ArrayImportConfig, DataError, DataSetReader, ImageProvenance, Import,
    ImportConfig, Shares, Split, SplitSummary, Unit,
};
use eps_files::{WriteLock, remove_leftovers};

use crate::flags::{UsageError, count, known_unit, seed, side};
use crate::progress::Clock;

/// Make data sets of pictures or arrays, and show what they hold.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Photos(Photos),
    Import(ImportFlags),
    Arrays(Arrays),
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
            Command::Import(import) => import.run(),
            Command::Arrays(arrays) => arrays.run(),
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
    /// The folder of the photographs (PNG, JPEG, WebP, TIFF, BMP), searched with all folders in it
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The data set to write
    #[arg(value_name = "OUT.h5")]
    out: PathBuf,
    /// The side of a tile in pixels
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    size: usize,
    /// Leave out photographs with a shorter side, in pixels
    #[arg(long, value_name = "PIXELS", value_parser = side, default_value = "128")]
    shortest_side: usize,
    /// Keep photographs that look alike: all pairs of some ten thousand take hours to compare
    #[arg(long)]
    keep_alike: bool,
    #[command(flatten)]
    origin: OriginFlags,
}

impl Photos {
    fn run(&self) -> Result<()> {
        check_place(&self.out)?;
        let _lock = WriteLock::take(&self.out)?;
        // Of a command that was killed.
        remove_leftovers(&self.out);
        self.origin.check(&self.out)?;
        let config = TileConfig::of_size(self.size);
        let most_correlation = if self.keep_alike { 1.0 } else { config.most_correlation };
        let config = TileConfig { shortest_side: self.shortest_side, most_correlation, ..config };
        let count = picture_names(&self.folder)?.len() as u64;
        let clock = Clock::new(count, "photographs");
        clock.start("cutting");
        let report =
            write_tiles(&self.folder, &self.out, &config, self.origin.of(&self.out), &|| {
                clock.advance(1)
            });
        clock.finish();
        for (name, reason) in report?.dropped {
            println!("left out {name}: {reason}");
        }
        show(&self.out)
    }
}

/// Make a data set of pictures such as FFHQ or ImageNet, an image of each
///
/// Every picture is cropped to the largest square in its middle and resized by Lanczos' filter, as EDM's
/// dataset_tool does with center-crop. An import that is killed goes on where it was when the same command
/// is given again.
#[derive(Debug, Args)]
struct ImportFlags {
    /// A folder of pictures (PNG, JPEG, WebP, TIFF, BMP), searched with all folders in it, or a ZIP archive of them
    #[arg(value_name = "SOURCE")]
    pictures: PathBuf,
    /// The data set to write; OUT.h5.part beside it holds what is done so far
    #[arg(value_name = "OUT.h5")]
    out: PathBuf,
    /// The side of an image in pixels
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    size: usize,
    /// Make images of one channel, of brightness, instead of red, green and blue
    #[arg(long)]
    grey: bool,
    /// Import the pictures' classes: those of dataset.json ({"labels": [[name, class], ...]}) where it
    /// lists any, otherwise every folder at the top of SOURCE is a class, in order of their names
    #[arg(long)]
    labels: bool,
    /// Refuse a source of another number of classes than N, that of the network
    #[arg(long, value_name = "N", value_parser = count, requires = "labels")]
    classes: Option<usize>,
    /// The test pictures, a folder or ZIP archive of their own with the same classes: SOURCE is shared out
    /// to training and validation alone, without the files that are also here, by their SHA-256
    #[arg(long, value_name = "PATH")]
    test_data: Option<PathBuf>,
    /// The shares of the splits, train:validation:test; a picture's split depends on its name alone
    /// [default: 80:10:10, with --test-data 90:10:0]
    #[arg(long, value_name = "SHARES")]
    split: Option<String>,
    /// The most pictures of each split, to see that everything works; which ones depends on their names
    /// [default: all]
    #[arg(long, value_name = "N", value_parser = count)]
    limit: Option<usize>,
    /// The seed by which pictures are shared out to the splits
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    /// Leave out pictures that are damaged or transparent, and list them in the end
    #[arg(long)]
    skip_bad: bool,
    #[command(flatten)]
    origin: OriginFlags,
}

impl ImportFlags {
    fn run(&self) -> Result<()> {
        check_place(&self.out)?;
        self.origin.check(&self.out)?;
        let default = if self.test_data.is_some() { "90:10:0" } else { "80:10:10" };
        let shares = Shares::parse(self.split.as_deref().unwrap_or(default), self.seed)
            .map_err(|e| UsageError(format!("--split: {e}")))?;
        let Self { size, grey, labels, limit, .. } = *self;
        let config = ImportConfig { size, grey, labels, shares, limit };
        let cannot = || format!("cannot import {}", self.pictures.display());
        let import = Import::open(&self.pictures, self.test_data.as_deref(), &self.out, config)
            .with_context(cannot)?;
        if let Some(classes) = self.classes {
            import.require_classes(classes).with_context(cannot)?;
        }
        for note in import.passed_over() {
            eprintln!("note: {note}");
        }
        let (classes, pictures) = (import.classes(), import.len());
        if classes > pictures {
            eprintln!(
                "note: the largest class is {}, of {pictures} pictures: a network would learn {classes} classes",
                classes - 1
            );
        }
        let clock = Clock::new(import.reads() as u64, "pictures read");
        clock.start("importing");
        let report = import
            .run(self.skip_bad, self.origin.of(&self.out), &|count| clock.advance(count as u64));
        clock.finish();
        let report = report.map_err(|error| {
            let hint = match error {
                DataError::Picture(_) => {
                    " (--skip-bad leaves out damaged and transparent pictures)"
                }
                _ => "",
            };
            anyhow::Error::new(error).context(format!("the import stopped{hint}"))
        })?;
        if report.resumed > 0 {
            println!("{} pictures were there from an earlier call", report.resumed);
        }
        let notes = report.notes(size);
        for (_, reason) in report.skipped {
            println!("left out: {reason}");
        }
        for note in notes {
            eprintln!("note: {note}");
        }
        note_empty_splits(&self.out, shares)?;
        show(&self.out)
    }
}

/// Make a data set of arrays, such as slices of scans, that keeps their values
///
/// A file holds images [N, C, H, W]; [N, H, W] and [H, W] are of one channel, or complex with --channels 2. A picture is one image with all
/// of its bits: 16-bit PNG and TIFF keep them, where `eps data import` keeps 8. A file of NIfTI is a volume of slices, one of DICOM a slice.
/// Nothing is cut or resized. The images of a file are in one split, as the slices of one patient should be; those of a single file are
/// shared out one by one.
#[derive(Debug, Args)]
struct Arrays {
    /// A folder of files (.npy, .npz, .h5, .mat, NIfTI, DICOM, TIFF, and pictures), searched with all folders in it, or a single one, FILE or
    /// FILE#NAME
    #[arg(value_name = "SOURCE")]
    arrays: PathBuf,
    /// The data set to write
    #[arg(value_name = "OUT.h5")]
    out: PathBuf,
    /// The channels of an image; complex numbers have two
    #[arg(long, value_name = "C", value_parser = count, default_value = "1")]
    channels: usize,
    /// The array that holds the images, where files hold several [default: `images`, or the only one]
    #[arg(long, value_name = "NAME")]
    array: Option<String>,
    /// The unit of the values: those of OFFSET +- SCALE become +-1, as `eps restore --unit` has it; 0.5,0.5 where they are on [0, 1]. Of
    /// pictures it is that of the numbers they store, 0 to 255 or 65535 [default: values are on [-1, 1], black to white of pictures]
    #[arg(long, value_name = "OFFSET,SCALE[,NAME]", value_parser = known_unit, allow_hyphen_values = true)]
    unit: Option<Unit>,
    /// Set values outside of the range to its nearer end, and tell how many there were
    #[arg(long)]
    clip: bool,
    /// Keep all files of a folder in SOURCE in one split, with those of folders in it: slices of one patient in a folder each
    #[arg(long)]
    by_folder: bool,
    /// The shares of the splits, train:validation:test; a file's split depends on its name alone, with --by-folder on that of its folder,
    /// that of an image of a single file on its number too
    #[arg(long, value_name = "SHARES", default_value = "80:10:10")]
    split: String,
    /// The seed by which files are shared out to the splits
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    #[command(flatten)]
    origin: OriginFlags,
}

impl Arrays {
    fn run(&self) -> Result<()> {
        check_place(&self.out)?;
        let _lock = WriteLock::take(&self.out)?;
        // Of a command that was killed.
        remove_leftovers(&self.out);
        self.origin.check(&self.out)?;
        let shares = Shares::parse(&self.split, self.seed)
            .map_err(|e| UsageError(format!("--split: {e}")))?;
        let config = ArrayImportConfig {
            channels: self.channels,
            array: self.array.clone(),
            unit: self.unit.clone(),
            clip: self.clip,
            by_folder: self.by_folder,
            shares,
        };
        let cannot = || format!("cannot import {}", self.arrays.display());
        let import = ArrayImport::open(&self.arrays, config).with_context(cannot)?;
        for note in import.passed_over() {
            eprintln!("note: {note}");
        }
        let clock = Clock::new(import.len() as u64, "files read");
        clock.start("importing");
        let notes = import.run(&self.out, self.origin.of(&self.out), &|| clock.advance(1));
        clock.finish();
        for note in notes.with_context(cannot)? {
            eprintln!("note: {note}");
        }
        note_empty_splits(&self.out, shares)?;
        show(&self.out)?;
        if let Some(Unit { name, offset, scale }) = &self.unit {
            // A shell would take it apart.
            let name = if name.contains([' ', '\'']) { String::new() } else { format!(",{name}") };
            println!("  a measurement in this unit: eps restore --unit {offset},{scale}{name}");
        }
        Ok(())
    }
}

/// Tells of splits without images that a training needs.
fn note_empty_splits(out: &Path, shares: Shares) -> Result<()> {
    let there = DataSetReader::open(out)?.splits()?;
    for (split, share) in [(Split::Train, shares.train), (Split::Validation, shares.validation)] {
        if share > 0.0 && !there.contains(&split) {
            eprintln!(
                "note: no image is in the split {split}, which a training needs: give more files, other shares by --split, or \
                 another --seed"
            );
        }
    }
    Ok(())
}

/// Where pictures come from, and whether their data set may replace a file.
#[derive(Debug, Args)]
struct OriginFlags {
    /// Replace the file if it is there and a data set
    #[arg(long)]
    force: bool,
    /// Where the pictures come from, to be kept in the file
    #[arg(long, value_name = "TEXT", default_value = "unknown")]
    source: String,
    /// Their licence, to be kept in the file
    #[arg(long, value_name = "TEXT", default_value = "unknown")]
    licence: String,
}

impl OriginFlags {
    /// Refuses, before any work, to replace what must stay.
    fn check(&self, out: &Path) -> Result<()> {
        let shown = out.display();
        if out.symlink_metadata().is_ok() {
            ensure!(self.force, "{shown} exists already: name another file, or add --force");
            DataSetReader::open(out).with_context(|| {
                format!(
                    "{shown} exists and is no data set of `eps data`: --force does not replace it, name \
                     another file"
                )
            })?;
        }
        Ok(())
    }

    /// The origin of a data set that is named as its file; the digest is that of each split.
    fn of(&self, out: &Path) -> ImageProvenance {
        ImageProvenance {
            name: out.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            source: self.source.clone(),
            licence: self.licence.clone(),
            sha256: String::new(),
        }
    }
}

/// Refuses, before any work, a data set that cannot be written.
fn check_place(out: &Path) -> Result<()> {
    let shown = out.display();
    let ending = out.extension().and_then(|ending| ending.to_str());
    ensure!(
        matches!(ending, Some("h5" | "hdf5")),
        "{shown}: the data set is an HDF5 file, so let the name end in .h5"
    );
    let folder = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(folder) = folder {
        let there = folder.is_dir();
        ensure!(there, "cannot write {shown}: make the folder {} first", folder.display());
    }
    Ok(())
}

fn show(file: &Path) -> Result<()> {
    let reader = DataSetReader::open(file).context("cannot show the data set")?;
    println!("{}", file.display());
    println!("  files   {}", reader.sources().len());
    let mut origin = None;
    for split in reader.splits()? {
        let SplitSummary { images, shape, classes, mean, deviation, stored_sha256, provenance } =
            reader.summary(split)?;
        let files = reader.sources().iter().filter(|source| source.split == split).count();
        let labels = classes
            .as_ref()
            .map_or(String::new(), |classes| format!(", labels of {classes} classes"));
        println!(
            "  {split}: {images} images of shape {shape} out of {files} files{labels}; mean {mean:.4}, standard \
             deviation {deviation:.4} on [-1, 1]; SHA-256 of the pixels{} {}",
            if classes.is_some() { " and classes" } else { "" },
            provenance.sha256
        );
        if stored_sha256 != provenance.sha256 {
            println!(
                "    the file says SHA-256 {stored_sha256:?}: its images are not those that it was written with, or it was written by \
                another program"
            );
        }
        origin = Some(provenance);
    }
    if let Some(ImageProvenance { source, licence, .. }) = origin {
        println!("  source  {source}");
        println!("  licence {licence}");
    }
    println!("  made by {}", reader.config()?);
    Ok(())
}

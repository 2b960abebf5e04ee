//! `eps measure`: a measurement of clean images, to be restored.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, builder::TypedValueParser as _};
use eps_data::array_file::{ArrayFile, is_picture};
use eps_data::hdf5_file::hdf5_format;
use eps_data::png::{Picture, encode_png};
use eps_data::{Array, DataError, ImageProvenance, ImageSet, MeasurementSet, Split};
use eps_files::{WriteLock, sha256_file, write_bytes};
use eps_math::operator::{LinearMap as _, Operator, OperatorSpec, PreparedOperator};
use eps_math::{Draw, Shape, Task};

use crate::flags::{BorderFlag, NoiseFlags, OperatorFlags, UsageError, check_channels_first, seed};
use crate::sample_range::OtherScale;
use eps::conventions::unit_note;
use eps::format::compared_number;
use eps::measurement::{brightness_note, few_bits_note, kernel_note};
use eps::{dataset, measurement, pictures};

/// How many images of a data set are measured unless `--index` says otherwise.
const DEFAULT_IMAGES: usize = 16;

/// How many images the preview shows.
const PREVIEW_IMAGES: usize = 16;

/// Make a measurement y = A x + noise from clean images.
///
/// Writes y, the operator, sigma_y, the seed and the true images as one HDF5 file, and a preview
/// (truth, measurement) as PNG beside it. Operator and noise of an image depend on the seed, the task
/// and the image's index alone.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Clean images: a PNG, JPEG, WebP, TIFF or BMP, an array [H, W], [C, H, W] or [N, C, H, W] in [-1, 1]
    /// (NPY, or NPZ, HDF5 or MAT with the array `images`, or FILE#NAME), or an HDF5 image set
    #[arg(long, value_name = "FILE", required_unless_present = "dataset")]
    image: Option<PathBuf>,
    /// Clean images of a data set: its name, or a file that `eps data` wrote
    #[arg(long, value_name = "NAME", conflicts_with = "image", value_parser = dataset::name)]
    dataset: Option<String>,
    /// The split of the data set: train, validation or test [default: test]
    #[arg(long)]
    split: Option<Split>,
    /// The folder with the data set's files, or its file [default: where the repository keeps them]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Which images, from 0: A..B (without B) or a single N [default: 0..16 of a data set, all of a
    /// file]
    #[arg(long, value_name = "A..B", value_parser = index_range)]
    index: Option<Range<usize>>,
    /// A task of the paper, its operator drawn for every image
    #[arg(
        long,
        value_parser = PossibleValuesParser::new(Task::ALL.map(Task::name))
            .try_map(|name| Task::from_name(&name).ok_or("unknown task")),
        conflicts_with_all = ["mask", "factor", "denoise", "kernel", "operator"]
    )]
    task: Option<Task>,
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(flatten)]
    border: BorderFlag,
    #[command(flatten)]
    noise: NoiseFlags,
    /// The seed of operators and noise
    #[arg(long, default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    /// The HDF5 file to be written; the preview gets its name with the ending .preview.png
    #[arg(long, value_name = "FILE.h5")]
    out: PathBuf,
    /// Replace the files if they are there
    #[arg(long)]
    force: bool,
}

impl Arguments {
    /// Reads the images, measures, writes.
    pub(crate) fn run(&self) -> Result<()> {
        let sigma_y = self.noise.sigma_y()?.ok_or_else(|| {
            UsageError("how much noise? give --sigma-y or --sigma-y-255".to_owned())
        })?;
        self.border.check(&self.operator)?;
        for (flag, is_given) in [("--split", self.split.is_some()), ("--data", self.data.is_some())]
        {
            if is_given && self.dataset.is_none() {
                bail!(UsageError(format!(
                    "{flag} is of a data set: give --dataset, or leave it out"
                )));
            }
        }
        if let Some(note) = self.noise.note() {
            eprintln!("note: {note}");
        }
        ensure!(
            dataset::is_hdf5(&self.out),
            "--out {}: the measurement is an HDF5 file, so let the name end in .h5",
            self.out.display()
        );
        let preview_path = self.out.with_extension("preview.png");
        let _lock = WriteLock::take(&self.out)?;
        for path in [&self.out, &preview_path] {
            ensure!(
                self.force || !path.exists(),
                "{} exists already: name another file by --out, or add --force",
                path.display()
            );
            let file = |input: &Path| ArrayFile::of(input).file.canonicalize();
            let is_input = |input: &Path| match (file(input), path.canonicalize()) {
                (Ok(input), Ok(path)) => input == path,
                _ => false,
            };
            let images = self.image.iter().chain(&self.data).map(PathBuf::as_path);
            ensure!(
                !images.chain(self.operator.files()).chain(self.noise.files()).any(is_input),
                "{} is read by this command: name another file by --out",
                path.display()
            );
        }
        ensure!(
            !self.out.exists()
                || matches!(hdf5_format(&self.out), Ok(Some(format)) if format == MeasurementSet::FORMAT),
            "{} holds something else than measurements: --force does not replace it, name another file by \
             --out",
            self.out.display()
        );
        let border = self.border.asked().unwrap_or_default();
        let given = self.operator.read()?.map(|given| given.with_border(border));
        let images = self.images()?;
        let shape = images.shape;

        let of = self.task.map_or("a given operator", Task::name);
        let (operators, mut specs): (Vec<PreparedOperator>, Vec<OperatorSpec>) =
            match (self.task, &given) {
                (Some(task), _) => images
                    .indices
                    .clone()
                    .map(|index| {
                        let stream = measurement::stream(self.seed, "operator", of, index as u64);
                        task.draw(Draw::Test, shape, &stream)
                    })
                    .collect::<Result<Vec<Operator>, _>>()
                    .with_context(|| {
                        format!("--task {} does not fit images of shape {shape}", task.name())
                    })?
                    .into_iter()
                    .map(|operator| (operator.clone().into(), operator.spec()))
                    .unzip(),
                (None, Some(given)) => (vec![given.build(shape)?], vec![given.spec().clone()]),
                (None, None) => {
                    return Err(UsageError(
                        "which measurement? give --task, --mask, --factor, --kernel, --denoise or \
                         --operator"
                            .into(),
                    )
                    .into());
                }
            };
        let operator = |position: usize| &operators[position % operators.len()];
        let (count, range) = (images.indices.len(), operator(0).range());
        let noises = sigma_y.noises(count, range)?;
        for noise in &noises {
            noise.check_shape(range)?;
        }
        let y: Vec<f64> = images
            .indices
            .clone()
            .enumerate()
            .flat_map(|(position, index)| {
                let noise = measurement::stream(self.seed, "noise", of, index as u64);
                let law = &noises[position % noises.len()];
                measurement::measure_under(operator(position), images.image(position), law, &noise)
            })
            .collect();

        if specs.windows(2).all(|pair| pair[0] == pair[1]) {
            specs.truncate(1);
        }
        let set = MeasurementSet::with_noise(shape, y, specs, noises, images.provenance.clone())?
            .with_seed(self.seed)
            .with_truth(images.values.clone())?;
        // Everything that can fail for its content is made before anything is written.
        let preview = if pictures::showable(shape) {
            let picture = preview(&images, &set);
            Some(encode_png(picture.shape, &picture.values)?)
        } else {
            None
        };
        let of_brightness = (0..set.len()).find_map(|index| brightness_note(&set, index));
        let of_kernel = given.as_ref().and_then(|given| kernel_note(given.spec().kernel()?));
        let of_units = (0..set.len()).find_map(|index| unit_note(set.spec(index)));
        for note in of_brightness.into_iter().chain(of_kernel).chain(of_units) {
            eprintln!("note: {note}");
        }
        set.write(&self.out)?;
        println!("{} measurements of images {shape}: {}", set.len(), self.out.display());
        if let Some(bytes) = preview {
            write_bytes(&preview_path, &bytes)?;
            println!("preview (truth, measurement): {}", preview_path.display());
        }
        Ok(())
    }

    fn images(&self) -> Result<Images> {
        match (&self.image, &self.dataset) {
            (Some(path), _) => read_images(path)?.select(self.index.clone()),
            (None, Some(name)) => {
                let set =
                    dataset::load(name, self.split.unwrap_or(Split::Test), self.data.as_deref())?;
                let index = self.index.clone().unwrap_or(0..DEFAULT_IMAGES.min(set.len()));
                Images::of_set(&set, index)
            }
            // Clap asks for one of the two.
            (None, None) => {
                Err(UsageError("which images? give --image or --dataset".into()).into())
            }
        }
    }
}

fn index_range(text: &str) -> Result<Range<usize>, String> {
    let parsed = match text.split_once("..") {
        Some((start, end)) => start.parse().ok().zip(end.parse().ok()),
        None => text.parse().ok().and_then(|n: usize| Some((n, n.checked_add(1)?))),
    };
    match parsed {
        Some((start, end)) if start < end => Ok(start..end),
        _ => Err("it must be A..B with A below B, such as 0..16, or a single index".to_owned()),
    }
}

/// Clean images with the indices that key their noise.
#[derive(Debug)]
struct Images {
    shape: Shape,
    /// `[N, C, H, W]` in [-1, 1].
    values: Vec<f64>,
    indices: Range<usize>,
    provenance: ImageProvenance,
}

impl Images {
    fn of_set(set: &ImageSet, indices: Range<usize>) -> Result<Self> {
        check_indices(&indices, set.len(), &set.provenance().name)?;
        Ok(Self {
            shape: set.shape(),
            values: indices.clone().flat_map(|index| set.to_signed(index)).collect(),
            provenance: ImageProvenance {
                name: format!(
                    "{}, images {}..{}",
                    set.provenance().name,
                    indices.start,
                    indices.end
                ),
                ..set.provenance().clone()
            },
            indices,
        })
    }

    fn image(&self, position: usize) -> &[f64] {
        let one = self.shape.len();
        &self.values[position * one..(position + 1) * one]
    }

    fn select(mut self, index: Option<Range<usize>>) -> Result<Self> {
        if let Some(index) = index {
            check_indices(&index, self.indices.len(), &self.provenance.name)?;
            let one = self.shape.len();
            self.values = self.values[index.start * one..index.end * one].to_vec();
            self.indices = index;
        }
        Ok(self)
    }
}

fn check_indices(indices: &Range<usize>, count: usize, name: &str) -> Result<()> {
    ensure!(
        indices.end <= count,
        "--index {}..{}: {name} has {count} images, numbered from 0",
        indices.start,
        indices.end
    );
    Ok(())
}

fn read_images(path: &Path) -> Result<Images> {
    if dataset::is_hdf5(path) && hdf5_format(path)?.is_some() {
        let set = ImageSet::read(path)?;
        return Images::of_set(&set, 0..set.len());
    }
    let (Array { dims, values }, mut notes) = Array::read_with_notes(path, "images")?;
    check_channels_first(path, &dims)?;
    let (count, shape) = match dims[..] {
        [h, w] => (1, Shape::new(1, h, w)),
        [c, h, w] => (1, Shape::new(c, h, w)),
        [n, c, h, w] if n > 0 => (n, Shape::new(c, h, w)),
        _ => bail!(
            "{}: the array has dimensions {dims:?}, images are [H, W], [C, H, W] or [N, C, H, W]: \
             reshape it",
            path.display()
        ),
    };
    // Rounding to f32 may leave the range by an ulp.
    if let Some(index) = values.iter().position(|v| v.abs() > 1.0 + 1e-6) {
        bail!(
            "{}: the value at flat index {index} is {}, outside [-1, 1]: scale pixels by v / 127.5 - 1 \
             (from 0..255) or 2 v - 1 (from 0..1)",
            path.display(),
            compared_number(values[index])
        );
    }
    let shape = shape.with_context(|| path.display().to_string())?;
    // Pictures are scaled here.
    if !is_picture(path) {
        let found = OtherScale::of(&values, shape.len(), shape.channels);
        notes.extend(found.map(|scale| scale.note(path)));
    }
    notes.extend(few_bits_note(&path.display().to_string(), values.iter().copied()));
    for note in notes {
        eprintln!("note: {note}");
    }
    Ok(Images { shape, values, indices: 0..count, provenance: file_provenance(path)? })
}

/// The provenance of a user's own file.
pub(crate) fn file_provenance(path: &Path) -> Result<ImageProvenance, DataError> {
    let ArrayFile { file, array } = ArrayFile::of(path);
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    Ok(ImageProvenance {
        name: array.map_or(name.clone(), |array| format!("{name}#{array}")),
        source: path.display().to_string(),
        licence: "not stated".to_owned(),
        sha256: sha256_file(&file)?,
    })
}

/// One row an image: the truth and what was measured of it.
fn preview(images: &Images, set: &MeasurementSet) -> Picture {
    let rows = (0..set.len().min(PREVIEW_IMAGES)).flat_map(|i| {
        let truth = Picture { shape: images.shape, values: images.image(i).to_vec() };
        [truth, pictures::measurement(set.operator(i), set.measurement(i))]
    });
    pictures::contact_sheet(&rows.collect::<Vec<_>>(), 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_ranges_or_single_numbers() {
        assert_eq!(index_range("0..16"), Ok(0..16));
        assert_eq!(index_range("7"), Ok(7..8));
        for text in ["", "..", "3..3", "4..2", "-1", "0..=3", "a..b"] {
            assert!(index_range(text).is_err(), "{text}");
        }
    }
}

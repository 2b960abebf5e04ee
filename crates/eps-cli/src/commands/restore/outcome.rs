//! The outcome of a restoration, and the folder that it is written into.

use std::path::Path;

use anyhow::{Context as _, Result};
use eps::format::number;
use eps::intervals::{IntervalCalibration, Intervals, LEAST_SAMPLES, WidenedKind};
use eps::pictures;
use eps::residual::{self, residual_note, residuals};
use eps::restoration_config::RestorationConfig;
use eps::restore::{Restoration, iterations_note};
use eps::scene::Scene;
use eps::workers::{self, Stop};
use eps_cluster::Group;
use eps_data::npy::{NpyValues, write_npy};
use eps_data::png::{Picture, write_animation, write_png};
use eps_data::{MeasurementSet, PictureLike, SampleArchive, Unit};
use eps_files::{Unfinished, write_bytes};
use eps_math::operator::{Grey, LinearMap as _};
use eps_math::{Shape, nearest_f32};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::going_on::Shared;
use crate::restoration_page::{ImageOnPage, PictureOnPage, RestorationPage, residual_sentence};
use crate::{progress, sample_range};

/// Results in the instrument's unit: samples, mean and standard deviation.
const IN_UNIT: [&str; 3] = ["samples.npy", "mean.npy", "standard-deviation.npy"];

/// How many samples of an image a mosaic shows.
const MOSAIC_SAMPLES: usize = 8;

/// The samples of an image one after the other, as an animated PNG.
const ANIMATION: &str = "samples.png";

/// How many samples an animation shows, and how long each.
const MOST_FRAMES: usize = 20;
const FRAME_MILLISECONDS: u16 = 300;

/// How many images the mosaic of all shows.
const MOSAIC_IMAGES: usize = 16;

/// The outcome, on the scale [-1, 1], not clipped.
pub(super) struct Restored {
    /// `[N, 1, C, H, W]`
    one_call: SampleArchive,
    /// `[N, J, C, H, W]`
    archive: SampleArchive,
    /// That of both archives.
    pub(super) config: RestorationConfig,
    /// The residual of each image's mean, where y is an image.
    residual_pictures: Vec<Option<Picture>>,
    /// What the archives hold of what was restored.
    shown: Shown,
    /// Intervals with their names: lower and upper end.
    intervals: Vec<([&'static str; 2], Intervals)>,
}

/// What is shown of the images that were restored.
#[derive(Debug)]
pub(super) struct Shown {
    /// The scene, of which the part is shown that the picture is.
    pub(super) scene: Option<Scene>,
    /// Whether their grey is shown.
    pub(super) is_grey: bool,
}

impl Shown {
    /// The images as they are shown, of those that were restored, of a shape.
    ///
    /// # Shapes
    /// `[.., C, H, W]` → `[.., c, h, w]`, with the shape `[c, h, w]`
    fn of(&self, shape: Shape, images: &[f32]) -> Result<(Shape, Vec<f32>)> {
        let (shape, mut images) = match &self.scene {
            Some(scene) => (scene.seen, scene.cut(images)),
            None => (shape, images.to_vec()),
        };
        if !self.is_grey {
            return Ok((shape, images));
        }
        let grey = Grey::new(shape)?;
        let in_grey = |image: &[f32]| -> Vec<f32> {
            let image: Vec<f64> = image.iter().map(|value| f64::from(*value)).collect();
            grey.apply(&image).into_iter().map(nearest_f32).collect()
        };
        images = images.chunks_exact(shape.len()).flat_map(in_grey).collect();
        Ok((grey.range(), images))
    }
}

/// The ends of the intervals of the samples, and of those that were calibrated.
const ENDS: [&str; 2] = ["quantile-05", "quantile-95"];
const CALIBRATED_ENDS: [&str; 2] = ["calibrated-05", "calibrated-95"];

impl Restored {
    /// Draws the one-call estimates and all samples, but for what is kept of an earlier run.
    pub(super) fn draw(
        group: &dyn Group,
        all: &Restoration<'_>,
        one_call: &Restoration<'_>,
        unfinished: &mut Unfinished,
        mut config: RestorationConfig,
        shown: Shown,
    ) -> Result<Self> {
        let calls = all.calls() + one_call.calls();
        let bar = progress::bar(calls.div_ceil(group.size()) as u64, "restoring", "network calls");
        let mut draw = |restoration: &Restoration<'_>, name: &str| -> Result<Vec<f32>> {
            Shared { group, restoration }.draw(Some(&mut *unfinished), name, &bar)
        };
        let (first, second) = (draw(one_call, "one-call")?, draw(all, "samples")?);
        bar.finish_and_clear();
        // The mean and the residuals are those of all that was restored.
        let whole = all.archive(second, Value::Null)?;
        let set = all.set();
        config.residuals = residuals(set, whole.samples(), whole.posterior_mean());
        config.iterations = all.iterations();
        let of_iterations = config.iterations.as_ref().and_then(iterations_note);
        // Of an exact measurement a residual has no unit.
        let of_residuals = residual_note(set, &config.residuals, config.cause_of_drawing())
            .filter(|_| set.sigma_y() > 0.0);
        let of_samples = sample_range::note(whole.samples(), set.spec(0));
        for note in of_samples.into_iter().chain(of_residuals).chain(of_iterations) {
            eprintln!("note: {note}");
            config.notes.push(note);
        }
        // By way of a value, whose fields are in the order of their names.
        let value = serde_json::to_value(&config)?;
        let archive = |samples: &[f32], per_image: usize| -> Result<SampleArchive> {
            let (shape, samples) = shown.of(set.shape(), samples)?;
            let provenance = set.provenance().clone();
            let archive = SampleArchive::new(shape, per_image, samples, value.clone(), provenance)?;
            let is_pairs = whole.is_antithetic() && per_image > 1;
            let archive = if is_pairs { archive.antithetic() } else { archive };
            Ok(match whole.truth() {
                Some(truth) => archive.with_truth(truth.to_vec())?,
                None => archive,
            })
        };
        Ok(Self {
            one_call: archive(&first, 1)?,
            archive: archive(whole.samples(), whole.samples_per_image())?,
            config,
            residual_pictures: residual::pictures(set, whole.posterior_mean()),
            shown,
            intervals: Vec::new(),
        })
    }

    /// Finds the intervals of 90 %, where there are samples enough, and says what is known of them.
    pub(super) fn find_intervals(
        &mut self,
        set: &MeasurementSet,
        calibration: Option<&IntervalCalibration>,
    ) -> Result<Option<String>> {
        if self.archive.samples_per_image() < LEAST_SAMPLES {
            return Ok(None);
        }
        let raw = Intervals::of(&self.archive)?;
        let calibrated = calibration.and_then(|found| found.widened(&raw, set));
        let (calibrated, kinds) = calibrated.unzip();
        self.config.intervals = kinds.unwrap_or_default();
        let told = intervals_sentence(&self.config.intervals);
        let calibrated = calibrated.map(|intervals| (CALIBRATED_ENDS, intervals));
        self.intervals = [(ENDS, raw)].into_iter().chain(calibrated).collect();
        Ok(Some(told))
    }

    /// Writes everything into a folder.
    pub(super) fn write(
        self,
        folder: &Path,
        set: &MeasurementSet,
        like: Option<&PictureLike>,
    ) -> Result<()> {
        let Self { archive, one_call, config, shown, residual_pictures, intervals } = self;
        archive.write(&folder.join("samples.h5"))?;
        one_call.write(&folder.join("one_call.h5"))?;
        if pictures::showable(archive.shape()) {
            let pictured = Pictured {
                set,
                archive: &archive,
                one_call: &one_call,
                shown: &shown,
                intervals: &intervals,
                residuals: &residual_pictures,
            };
            let pictures = pictured.write(folder)?;
            if let Some(like) = like {
                write_like(&folder.join(folder_of(0)), like, &archive)?;
            }
            let page = page(&config, archive.shape(), pictures).html()?;
            write_bytes(&folder.join("page.html"), page.as_bytes())?;
        }
        if let Some(unit) = set.unit() {
            write_in_unit(folder, &archive, unit)?;
        }
        // With what is known of the intervals, which the archives hold no more than samples for.
        let text = serde_json::to_string_pretty(&serde_json::to_value(&config)?)?;
        write_bytes(&folder.join("config.json"), text.as_bytes())?;
        Ok(())
    }
}

/// What is known of the intervals of 90 %.
fn intervals_sentence(kinds: &[WidenedKind]) -> String {
    if kinds.is_empty() {
        return "intervals of 90 % from the samples as they are: for such a measurement, solver, grid of noise levels, \
                number of calls and kind of samples the network's were not calibrated"
            .to_owned();
    }
    let kinds: Vec<String> = kinds.iter().map(WidenedKind::to_string).collect();
    format!("intervals of 90 %, calibrated, on the scale [-1, 1]; {}", kinds.join("; "))
}

/// The results of a picture that are stored as it is: its mean and the first of its samples.
pub(super) const LIKE: [&str; 2] = ["restored-mean", "restored-sample"];

/// Writes mean and first sample as the picture is stored that was restored.
fn write_like(folder: &Path, like: &PictureLike, archive: &SampleArchive) -> Result<()> {
    let shape = archive.shape();
    for (name, all) in LIKE.into_iter().zip([archive.posterior_mean(), archive.samples()]) {
        let values: Vec<f64> = all[..shape.len()].iter().map(|value| f64::from(*value)).collect();
        let path = folder.join(format!("{name}.{}", like.ending()));
        write_bytes(&path, &like.encode(shape, &values)?)?;
    }
    Ok(())
}

/// Writes the results as arrays in the instrument's unit.
fn write_in_unit(folder: &Path, archive: &SampleArchive, unit: &Unit) -> Result<()> {
    let Shape { channels, height, width } = archive.shape();
    let images = archive.posterior_mean().len() / archive.shape().len();
    let value = |x: &f32| unit.of_image(f64::from(*x));
    let deviation = |sd: &f32| unit.scale * f64::from(*sd);
    let write = |name: &str, dims: &[usize], values: Vec<f64>| {
        write_npy(&folder.join(name), dims, NpyValues::F64(&values))
    };
    let image = [images, channels, height, width];
    let sample = [images, archive.samples_per_image(), channels, height, width];
    write(IN_UNIT[0], &sample, archive.samples().iter().map(value).collect())?;
    write(IN_UNIT[1], &image, archive.posterior_mean().iter().map(value).collect())?;
    write(IN_UNIT[2], &image, archive.posterior_sd().iter().map(deviation).collect())?;
    Ok(())
}

/// The fields by which the configuration of a restoration is known, of whatever version.
#[derive(Deserialize)]
#[expect(dead_code, reason = "that they are there is all that is asked")]
struct Told {
    measurement: IgnoredAny,
    network: IgnoredAny,
    solver: IgnoredAny,
    samples: IgnoredAny,
}

/// Whether a folder holds what this command writes, by its config.json and all names in it, and nothing else.
pub(super) fn is_restoration(config: &Value, names: &[String]) -> bool {
    let is_written = |name: &String| match name.split_once('/') {
        Some((folder, name)) => is_numbered(folder, "image-", 4) && is_of_image(name),
        None => {
            ["config.json", "samples.h5", "one_call.h5", "mosaic.png", "page.html"]
                .contains(&&**name)
                || IN_UNIT.contains(&&**name)
                || is_numbered(name, "image-", 4)
        }
    };
    Told::deserialize(config).is_ok() && names.iter().all(is_written)
}

/// Whether a name in the folder of an image is one of its pictures.
fn is_of_image(name: &str) -> bool {
    let Some((name, ending)) = name.rsplit_once('.') else { return false };
    if LIKE.contains(&name) {
        return true;
    }
    let own = [
        "truth",
        "measurement",
        "one-call",
        "mean",
        "standard-deviation",
        "residual",
        "samples",
        "mosaic",
    ];
    ending == "png"
        && (own.iter().chain(&ENDS).chain(&CALIBRATED_ENDS).any(|own| *own == name)
            || is_numbered(name, "sample-", 3))
}

/// Whether a name is a prefix and a number of at least so many digits.
fn is_numbered(name: &str, prefix: &str, digits: usize) -> bool {
    name.strip_prefix(prefix).is_some_and(|number| {
        number.len() >= digits && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// The page of a restoration, of the names of the pictures of each image.
fn page(config: &RestorationConfig, shape: Shape, pictures: Vec<Vec<String>>) -> RestorationPage {
    let RestorationConfig { measurement, network, residuals, .. } = config;
    let (file, sigma_y) = (&measurement.file, measurement.sigma_y);
    let name = Path::new(file).file_name().map_or(file.clone(), |name| name.display().to_string());
    let has_intervals = config.samples >= LEAST_SAMPLES;
    let of_intervals = has_intervals.then(|| intervals_sentence(&config.intervals));
    let notes = config.notes.iter().cloned().chain(of_intervals).collect();
    let images = pictures.into_iter().zip(residuals).enumerate();
    let images = images.map(|(image, (names, residual))| ImageOnPage {
        title: format!("image {image}"),
        width: shape.width,
        height: shape.height,
        residual: residual_sentence(residual, sigma_y == 0.0),
        after: "mean",
        pictures: names.iter().map(|name| PictureOnPage::of(&folder_of(image), name)).collect(),
    });
    RestorationPage {
        title: format!("Restoration of {name}"),
        lead: format!(
            "{} samples{} by the network {:?}, {} calls each, for noise of sigma_y = {}.",
            config.samples,
            if config.antithetic {
                " in antithetic pairs (0 and 1, 2 and 3, …: of a pair each is wrong where the other is, the other way round, so that two \
                 of different pairs show what is uncertain)"
            } else {
                ""
            },
            network.name,
            config.calls,
            number(sigma_y)
        ),
        notes,
        images: images.collect(),
    }
}

/// The folder of an image's pictures.
pub(super) fn folder_of(image: usize) -> String {
    format!("image-{image:04}")
}

/// What the pictures of every image are made of.
struct Pictured<'a> {
    set: &'a MeasurementSet,
    archive: &'a SampleArchive,
    one_call: &'a SampleArchive,
    shown: &'a Shown,
    intervals: &'a [([&'static str; 2], Intervals)],
    residuals: &'a [Option<Picture>],
}

impl Pictured<'_> {
    /// Writes the pictures of every image into a folder of its own, several images at once, and the mosaic of the first ones;
    /// returns the names of each image's.
    fn write(&self, folder: &Path) -> Result<Vec<Vec<String>>> {
        let images = self.set.len();
        let (mut names, mut rows) = (vec![Vec::new(); images], vec![Vec::new(); images]);
        let mut writers = vec![(); workers::threads().min(images)];
        let write = |(): &mut (), image: usize, _: &Stop| self.write_image(folder, image);
        workers::spread(&mut writers, 1, images, write, |image, (of_image, row)| {
            names[image] = of_image;
            if image < MOSAIC_IMAGES {
                rows[image] = row;
            }
            anyhow::Ok(())
        })?;
        let columns = rows.first().map_or(0, Vec::len);
        write_sheet(&folder.join("mosaic.png"), &rows.concat(), columns)?;
        Ok(names)
    }

    /// Writes the pictures of an image into its folder; returns their names, and the pictures that a mosaic shows.
    fn write_image(&self, folder: &Path, image: usize) -> Result<(Vec<String>, Vec<Picture>)> {
        let folder = folder.join(folder_of(image));
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let (known, others) = (self.known(image), self.others(image));
        let per_image = self.archive.samples_per_image();
        let samples: Vec<Picture> = (0..per_image)
            .map(|j| self.picture(self.archive.samples(), image * per_image + j))
            .collect();
        let named = || known.iter().chain(&others);
        let mut names: Vec<String> = named().map(|(name, _)| (*name).to_owned()).collect();
        names.extend((0..per_image).map(|j| format!("sample-{j:03}")));
        for (name, picture) in names.iter().zip(named().map(|(_, p)| p).chain(&samples)) {
            write_png(&folder.join(format!("{name}.png")), picture.shape, &picture.values)?;
        }
        if per_image > 1 {
            let frames: Vec<&[f64]> =
                samples.iter().take(MOST_FRAMES).map(|picture| &*picture.values).collect();
            let shape = self.archive.shape();
            write_animation(&folder.join(ANIMATION), shape, &frames, FRAME_MILLISECONDS)?;
        }
        let known = known.into_iter().map(|(_, picture)| picture);
        let row: Vec<Picture> = known.chain(samples.into_iter().take(MOSAIC_SAMPLES)).collect();
        write_sheet(&folder.join("mosaic.png"), &row, row.len())?;
        Ok((names, row))
    }

    /// The pictures of an image that come before its samples: the truth, where it is known, what was measured, the one-call
    /// estimate, mean and deviation.
    fn known(&self, image: usize) -> Vec<(&'static str, Picture)> {
        let Self { archive, one_call, .. } = self;
        let shape = archive.shape();
        let spread = self.picture(archive.posterior_sd(), image);
        let truth = archive.truth().map(|truth| ("truth", self.picture(truth, image)));
        let others = [
            ("measurement", self.measured(image)),
            ("one-call", self.picture(one_call.samples(), image)),
            ("mean", self.picture(archive.posterior_mean(), image)),
            ("standard-deviation", pictures::deviations(shape, &spread.values)),
        ];
        truth.into_iter().chain(others).collect()
    }

    /// Those that come after: the ends of its intervals, and the residual of its mean.
    fn others(&self, image: usize) -> Vec<(&'static str, Picture)> {
        let mut others = Vec::new();
        for (ends, Intervals { low, high, .. }) in self.intervals {
            let ends = ends.iter().zip([low, high]);
            others.extend(ends.map(|(name, all)| (*name, self.picture(all, image))));
        }
        others.extend(self.residuals[image].clone().map(|picture| ("residual", picture)));
        others
    }

    /// What was measured of an image, as a picture.
    fn measured(&self, image: usize) -> Picture {
        let (set, shown) = (self.set, self.shown);
        if shown.scene.is_some() {
            // As many values as the picture has.
            return Picture {
                shape: self.archive.shape(),
                values: set.measurement(image).to_vec(),
            };
        }
        let y = pictures::measurement(set.operator(image), set.measurement(image));
        // A grey that was seen is shown in every colour.
        let values = y.values.chunks_exact(y.shape.plane()).next().map(<[f64]>::to_vec);
        match values.filter(|_| shown.is_grey) {
            Some(values) => Picture { shape: Shape { channels: 1, ..y.shape }, values },
            None => y,
        }
    }

    /// An image of many.
    fn picture(&self, all: &[f32], index: usize) -> Picture {
        let shape = self.archive.shape();
        let one = shape.len();
        let values = all[index * one..(index + 1) * one].iter().map(|v| f64::from(*v)).collect();
        Picture { shape, values }
    }
}

/// Writes pictures side by side, in rows.
fn write_sheet(path: &Path, pictures: &[Picture], columns: usize) -> Result<()> {
    let sheet = pictures::contact_sheet(pictures, columns);
    Ok(write_png(path, sheet.shape, &sheet.values)?)
}

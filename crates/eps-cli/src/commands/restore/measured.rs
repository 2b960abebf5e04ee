//! What is restored: the measurement with its operator and its noise, from a file of `eps measure` or from flags.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use eps::measurement::kernel_note;
use eps::scene::{Scene, wrap_note};
use eps::{Network, dataset};
use eps_data::array_file::is_picture;
use eps_data::hdf5_file::hdf5_format;
use eps_data::{Array, MeasurementSet};
use eps_math::operator::{Border, LinearMap as _, OperatorSpec};
use eps_math::{Noise, Shape};

use crate::commands::measure::file_provenance;
use crate::flags::{
    self, BorderFlag, GivenOperator, NoiseFlags, OperatorFlags, UnitFlag, UsageError,
    check_channels_first, note_if_slow,
};

/// What was measured, by which operator and with which noise.
#[derive(Debug, Args)]
pub(super) struct MeasuredFlags {
    /// The picture to restore (PNG, JPEG, WebP, TIFF, BMP), or another measurement, as --measurement takes it
    #[arg(value_name = "PICTURE", required_unless_present = "measurement")]
    picture: Option<PathBuf>,
    /// What was measured: the HDF5 file of `eps measure`, which brings operator and sigma_y; or,
    /// with flags for both, a picture (PNG, JPEG, WebP, TIFF, BMP; 0..255 is [-1, 1], as stored, which is sRGB and not linear
    /// light) or an array [h, w], [C, h, w] or [N, C, h, w] in NPY, NPZ, HDF5, MAT (array
    /// `y`, or FILE#NAME, as scan.h5#kspace), TIFF of floats, NIfTI or DICOM
    #[arg(long, value_name = "FILE", conflicts_with = "picture")]
    measurement: Option<PathBuf>,
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(flatten)]
    border: BorderFlag,
    /// Keep the whole scene of --border valid, and not only the part that the picture shows
    #[arg(long)]
    pub(super) keep_scene: bool,
    /// The shape of the images, where neither y nor the operator tells it, as of a nonuniform Fourier transform [default:
    /// that of the network's images]
    #[arg(long, value_name = "C,H,W", value_parser = flags::shape)]
    shape: Option<Shape>,
    #[command(flatten)]
    noise: NoiseFlags,
    #[command(flatten)]
    unit: UnitFlag,
}

impl MeasuredFlags {
    /// What was measured.
    pub(super) fn file(&self) -> &Path {
        let named = self.picture.as_deref().or(self.measurement.as_deref());
        named.unwrap_or(Path::new(""))
    }

    /// Refuses flags that belong to others.
    ///
    /// # Errors
    /// A border without a kernel.
    pub(super) fn check(&self) -> Result<()> {
        self.border.check(&self.operator)
    }

    /// What should be said of the noise.
    pub(super) fn note(&self) -> Option<String> {
        // In an instrument's unit sigma_y is of its scale.
        if self.unit.is_given() { None } else { self.noise.note() }
    }

    /// The measurement with its operators and σ_y, from the file itself or from the flags.
    ///
    /// # Errors
    /// A file that is no measurement, flags that do not fit it, and an operator that does not give what was measured.
    pub(super) fn read(&self, network: &Network) -> Result<Measured> {
        let path = self.file();
        let given = self.operator.read()?;
        let sigma_y =
            if self.unit.is_given() { self.noise.in_unit() } else { self.noise.sigma_y()? };
        if self.unit.is_given() && is_picture(path) {
            return Err(UsageError(format!(
                "{} is a picture, whose values are put on [-1, 1]: --unit belongs to arrays",
                path.display()
            ))
            .into());
        }
        if dataset::is_hdf5(path) {
            let format = hdf5_format(path)?;
            let is_told = given.is_some() || sigma_y.is_some() || self.unit.is_given();
            match (format.as_deref(), is_told) {
                (None, false) => {
                    read_measurement(path, None)?;
                    return Err(UsageError(format!(
                        "{} is an array that does not tell how it was measured: give --denoise, --mask, --factor, \
                         --kernel or --operator, and --sigma-y or --sigma-y-255",
                        path.display()
                    ))
                    .into());
                }
                (Some(_), false) => {
                    if let Some(asked) = self.shape {
                        return Err(UsageError(format!(
                            "--shape is {asked}, but {} tells the shape of its images: leave it out",
                            path.display()
                        ))
                        .into());
                    }
                    note_if_slow(path)?;
                    return Ok(Measured::of(MeasurementSet::read(path)?));
                }
                (Some(MeasurementSet::FORMAT), true) => {
                    return Err(UsageError(format!(
                        "{} brings its own operator and sigma_y, and its unit: leave the flags for them out",
                        path.display()
                    ))
                    .into());
                }
                (Some(other), true) => {
                    return Err(UsageError(format!(
                        "{} holds {other}, no measurement: give one that `eps measure` wrote, or an array \
                         of your own",
                        path.display()
                    ))
                    .into());
                }
                // An array of the user's own.
                (None, true) => {}
            }
        }
        let missing = |what: &str| UsageError(format!("{} does not tell {what}", path.display()));
        let given = given.ok_or_else(|| {
            missing("how it was measured: give --denoise, --mask, --factor, --kernel or --operator")
        })?;
        let sigma_y =
            sigma_y.ok_or_else(|| missing("its noise: give --sigma-y or --sigma-y-255"))?;

        let (y_shape, y) = read_measurement(path, Some(&given))?;
        let mut notes = Vec::new();
        let given = if given.is_kernel() {
            let usual = if is_picture(path) { Border::Valid } else { Border::Circular };
            let border = self.border.asked().unwrap_or(usual);
            let source =
                if self.border.asked().is_some() { "asked for" } else { "the default here" };
            println!("borders of the blur: {}, {source}", border.name());
            check_kernel(&given, y_shape)?;
            notes.extend(given.spec().kernel().and_then(kernel_note));
            given.with_border(border)
        } else {
            given
        };
        // Of a grey picture the network of colours restores a picture in colour, of which the grey was seen; an operator may
        // make grey of colours by itself.
        let usual = network.image_shape();
        let is_grey = is_picture(path)
            && (y_shape.channels, usual.channels) == (1, 3)
            && given.image_shape(y_shape, usual)?.channels == 1;
        let seen = if is_grey { Shape { channels: 3, ..y_shape } } else { y_shape };
        let scene = Scene::of(seen, given.spec(), network)
            .with_context(|| format!("{} as a part of a larger scene", path.display()))?;
        let (shape, spec) = match &scene {
            Some(scene) => {
                println!(
                    "the picture is a part of a scene of {}x{} pixels, which is restored{}",
                    scene.shape.height,
                    scene.shape.width,
                    if self.keep_scene {
                        ""
                    } else {
                        "; what the picture shows of it is kept (all: --keep-scene)"
                    }
                );
                (scene.shape, scene.spec.clone())
            }
            None => {
                if self.shape.is_none() && given.spec().leaves_size_open() {
                    return Err(missing(
                        "the size of its image, which this operator resizes or cuts: give it by --shape C,H,W",
                    )
                    .into());
                }
                let shape = given.image_shape(seen, self.shape.unwrap_or(usual))?;
                if let Some(asked) = self.shape.filter(|asked| *asked != shape) {
                    bail!("--shape is {asked}, but the operator and y tell {shape}: leave it out");
                }
                (shape, given.spec().clone())
            }
        };
        let in_channels = match &scene {
            Some(_) => spec.prepare(shape)?,
            None => given.build(shape)?,
        };
        let (spec, operator) = if is_grey {
            let spec = of_grey(spec);
            let operator = spec.prepare(shape)?;
            (spec, operator)
        } else {
            (spec, in_channels)
        };
        ensure!(
            operator.range() == y_shape,
            "{}: the measurement has shape {y_shape}, its operator gives {}: one of the two is wrong",
            path.display(),
            operator.range()
        );
        let unit = self.unit.of_measurements(&operator, &y)?;
        let scale = unit.as_ref().map_or(1.0, |unit| unit.scale);
        let noises = if is_grey {
            // That of a channel, which is how the grey was measured.
            let one = Shape { channels: 1, ..shape };
            let channel = scene.as_ref().map_or(given.spec(), |scene| &scene.spec);
            sigma_y.of_measurements(channel, &channel.prepare(one)?, &y, scale)?
        } else {
            sigma_y.of_measurements(&spec, &operator, &y, scale)?
        };
        if is_grey {
            notes.push(format!(
                "{} is grey, and the network is one of colours: restored is the grey of a picture in colour, 0.299 R + 0.587 G + \
                 0.114 B; a network of grey pictures can be named by --network",
                path.display()
            ));
        }
        if let Some((kernel, Border::Circular)) = spec.one_kernel()? {
            let largest = noises.iter().map(Noise::largest_sigma).fold(0.0, f64::max);
            let images = y.chunks_exact(y_shape.len());
            notes.extend(images.filter_map(|y| wrap_note(y, y_shape, &kernel, largest)).take(1));
        }
        let from = file_provenance(path)?;
        let set = match unit {
            Some(unit) => MeasurementSet::in_unit(shape, y, vec![spec], noises, unit, from),
            None => MeasurementSet::with_noise(shape, y, vec![spec], noises, from),
        };
        let set = set.with_context(|| path.display().to_string())?;
        Ok(Measured { set, scene, notes, is_grey })
    }
}

/// What is seen of a picture in colour, where its grey is.
fn of_grey(spec: OperatorSpec) -> OperatorSpec {
    let grey = OperatorSpec::Grey {};
    match spec {
        spec if spec.is_identity() => grey,
        OperatorSpec::Chain { mut of } => {
            of.push(grey);
            OperatorSpec::Chain { of }
        }
        spec => OperatorSpec::Chain { of: vec![spec, grey] },
    }
}

/// Fails for a kernel that is larger than what was blurred.
fn check_kernel(given: &GivenOperator, y: Shape) -> Result<()> {
    let Some(kernel) = given.spec().kernel() else { return Ok(()) };
    let (rows, columns) = (kernel.len(), kernel.iter().map(Vec::len).max().unwrap_or(0));
    ensure!(
        rows <= y.height && columns <= y.width,
        "{}: the kernel has {rows}×{columns} taps, and what was blurred {}×{} pixels: crop it, or give more of the picture",
        given.source(),
        y.height,
        y.width
    );
    Ok(())
}

/// What was measured.
pub(super) struct Measured {
    pub(super) set: MeasurementSet,
    /// The scene that a picture is a part of.
    pub(super) scene: Option<Scene>,
    /// What looks wrong about its borders, and what is done otherwise than asked.
    pub(super) notes: Vec<String>,
    /// Whether it is a grey picture of which a picture in colour is restored.
    pub(super) is_grey: bool,
}

impl Measured {
    fn of(set: MeasurementSet) -> Self {
        Self { set, scene: None, notes: Vec::new(), is_grey: false }
    }
}

/// The measurements of an array or picture, `[N, C, h, w]`, and the shape of one.
fn read_measurement(path: &Path, given: Option<&GivenOperator>) -> Result<(Shape, Vec<f64>)> {
    let (Array { dims, values }, notes) = Array::read_with_gaps(path, "y")?;
    if !given.is_some_and(|given| given.spec().gives_channels()) {
        check_channels_first(path, &dims)?;
    }
    let shape = match dims[..] {
        // What a dense matrix gives.
        [m] => Shape::new(1, 1, m),
        [h, w] => Shape::new(1, h, w),
        [c, h, w] | [_, c, h, w] => Shape::new(c, h, w),
        _ => bail!(
            "{}: the array has dimensions {dims:?}, a measurement is [h, w], [C, h, w] or \
             [N, C, h, w]: reshape it",
            path.display()
        ),
    };
    for note in notes {
        eprintln!("note: {note}");
    }
    Ok((shape.with_context(|| path.display().to_string())?, values))
}

//! Flags that several subcommands share: noise, operators, devices.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use eps_data::array_file::{is_array, is_picture};
use eps_data::mask::read_mask;
use eps_data::operator_file::{read_kernel, read_operator};
use eps_data::operator_memory::{memory_note, require_memory};
use eps_data::{Array, Unit};
use eps_math::faer::Mat;
use eps_math::noise_estimate::{SigmaEstimate, estimate};
use eps_math::operator::{Border, KernelShape, LinearMap as _, OperatorSpec, PreparedOperator};
use eps_math::{MathError, Noise, Shape};
use eps_model::{DevicePrecision as _, Precision};
use eps_results::Contender;
use tch::Device;

use eps::format::number;
use eps::precision::AskedPrecision;
use eps::{measurement, workers};

use crate::together::speaks;

/// Flags that do not fit together; the command ends with the exit code of clap's own errors.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (`--help` lists all flags)", self.0)
    }
}

impl std::error::Error for UsageError {}

/// σ_y, on either of two scales.
#[derive(Debug, Args)]
pub(crate) struct NoiseFlags {
    /// Standard deviation of the measurement noise for values in [-1, 1]: a number from 1e-6 to 1000, e.g. 0.05, or 0 for an
    /// exact measurement; or a file (NPY, NPZ, HDF5 or MAT with the array `sigma`, or FILE#NAME) with one for each value, of y's shape, inf
    /// where nothing was measured, or one an image, [N]; or, to restore, auto: an estimate from y itself, where the operator
    /// leaves something of y to the noise alone, or counts:GAIN,READOUT: sigma^2 = GAIN max(y, GAIN) + READOUT^2 of each value
    #[arg(
        long,
        value_name = "SIGMA|FILE|auto|counts:GAIN,READOUT",
        value_parser = sigma_y,
        allow_negative_numbers = true,
        conflicts_with = "sigma_y_255"
    )]
    sigma_y: Option<SigmaY>,
    /// The same in grey levels of 0..255, that is 127.5 times --sigma-y, e.g. 6.375
    #[arg(long, value_name = "SIGMA", value_parser = not_negative, allow_negative_numbers = true)]
    sigma_y_255: Option<f64>,
    /// The covariance of the noise of y's m values instead, in a file (NPY, NPZ, HDF5 or MAT with the array `covariance`, or FILE#NAME): its Cholesky factor,
    /// lower triangular, [m, m], as numpy.linalg.cholesky gives it, or, of noise that is stationary on a plane that wraps around, the
    /// variance at each frequency of y's plane, [h, w], the frequency 0 first; or one for each image, [N, m, m] or [N, h, w]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sigma_y", "sigma_y_255"])]
    noise_covariance: Option<PathBuf>,
}

impl NoiseFlags {
    /// The files that the flags name.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let of_sigma = match &self.sigma_y {
            Some(SigmaY::File(file)) => Some(file.as_path()),
            _ => None,
        };
        of_sigma.into_iter().chain(self.noise_covariance.as_deref())
    }

    /// σ_y on the scale [-1, 1], where a flag gives it.
    ///
    /// # Errors
    /// A number that images do not admit.
    pub(crate) fn sigma_y(&self) -> Result<Option<SigmaY>> {
        let given = self.in_unit();
        if let Some(SigmaY::Number(value)) = given {
            let flag = if self.sigma_y.is_some() { "--sigma-y" } else { "--sigma-y-255" };
            measurement::check_sigma_y(value)
                .map_err(|error| UsageError(format!("{flag}: {error}")))?;
        }
        Ok(given)
    }

    /// σ_y as it is given: in the instrument's unit where y is.
    pub(crate) fn in_unit(&self) -> Option<SigmaY> {
        let of_levels = || self.sigma_y_255.map(|sigma| SigmaY::Number(sigma / 127.5));
        let of_covariance = || self.noise_covariance.clone().map(SigmaY::Covariance);
        self.sigma_y.clone().or_else(of_levels).or_else(of_covariance)
    }

    /// What to say of a σ_y that may have been meant on the other scale.
    pub(crate) fn note(&self) -> Option<String> {
        match self.sigma_y {
            Some(SigmaY::Number(sigma_y)) if sigma_y > 1.0 => Some(format!(
                "--sigma-y {sigma_y} is noise larger than the images, which are in [-1, 1]: in grey levels of 0..255 \
                 it is --sigma-y-255 {sigma_y}"
            )),
            _ => None,
        }
    }
}

/// What `--sigma-y` says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SigmaY {
    /// One number for all values, on the scale [-1, 1].
    Number(f64),
    /// An array in a file.
    File(PathBuf),
    /// A covariance in a file, by its factor or its spectrum.
    Covariance(PathBuf),
    /// An estimate from the measurement.
    Auto,
    /// Shot noise of what was counted, and that of reading out.
    Counts { gain: f64, readout: f64 },
}

impl SigmaY {
    /// The noise of measurements by one operator, `y` `[N, ..range]`: one for all, or one for each. What is estimated is
    /// printed with its error. `scale` is that of the unit of y, 1 where y is on [-1, 1].
    ///
    /// # Errors
    /// Those of [`SigmaY::noises`]; an operator that does not allow an estimate, and noise that is none.
    pub(crate) fn of_measurements(
        &self,
        spec: &OperatorSpec,
        operator: &PreparedOperator,
        y: &[f64],
        scale: f64,
    ) -> Result<Vec<Noise>> {
        let range = operator.range();
        match self {
            Self::Number(_) | Self::File(_) | Self::Covariance(_) => {
                return self.noises(y.len() / range.len(), range);
            }
            Self::Counts { gain, readout } => {
                let each = y.chunks_exact(range.len());
                let noises: Result<_, MathError> =
                    each.map(|y| Noise::counts(y, *gain, *readout)).collect();
                return noises.context("--sigma-y counts");
            }
            Self::Auto => {}
        }
        let found = estimate(spec, operator, y).context("--sigma-y auto")?;
        let SigmaEstimate { sigma_y, standard_error, source, values } = found;
        let is_noise = measurement::check_sigma_y(sigma_y / scale).is_ok() && sigma_y > 0.0;
        is_noise.then_some(()).with_context(|| {
            format!(
                "--sigma-y auto: {source} hold noise of {sigma_y:.1e}, which is none: was y saved without noise, or \
                 smoothed? Give --sigma-y as a number"
            )
        })?;
        println!(
            "sigma_y, estimated from {source}: {sigma_y:.4} +- {standard_error:.4} ({values} values)"
        );
        Ok(vec![Noise::uniform(sigma_y)?])
    }

    /// The noise of `count` measurements of a shape: one for all, or one for each.
    ///
    /// # Errors
    /// A file that cannot be read, with another shape, or with what is no standard deviation; an estimate, which needs
    /// the measurements.
    pub(crate) fn noises(&self, count: usize, range: Shape) -> Result<Vec<Noise>> {
        let path = match self {
            Self::Number(sigma_y) => return Ok(vec![Noise::uniform(*sigma_y)?]),
            Self::File(path) => path,
            Self::Covariance(path) => {
                return covariances(path, count, range)
                    .with_context(|| format!("--noise-covariance {}", path.display()));
            }
            Self::Auto | Self::Counts { .. } => bail!(UsageError(
                "--sigma-y auto and counts are told by a measurement that is there: give a number or a file here"
                    .to_owned()
            )),
        };
        ensure!(
            !is_picture(path),
            "--sigma-y {}: a picture holds no standard deviations: give an NPY array",
            path.display()
        );
        let (Array { dims, values }, _) = Array::read_with_gaps(path, "sigma")?;
        let sides = [count, range.channels, range.height, range.width];
        let needed = [&sides[..], &sides[1..]];
        let bare = |dims: &[usize]| -> Vec<usize> {
            dims.iter().copied().skip_while(|side| *side == 1).collect()
        };
        let noises: Result<Vec<Noise>, MathError> = if dims[..] == [count] {
            values.iter().map(|sigma| Noise::uniform(*sigma)).collect()
        } else if needed.iter().any(|sides| bare(sides) == bare(&dims)) {
            values.chunks_exact(range.len()).map(|values| Noise::entries(values.to_vec())).collect()
        } else {
            bail!(
                "--sigma-y {}: the array has dimensions {dims:?}: give one standard deviation for each value of y, \
                 {:?}, for each of several images, {sides:?}, or one an image, [{count}]",
                path.display(),
                &sides[1..]
            );
        };
        noises.with_context(|| format!("--sigma-y {}", path.display()))
    }
}

/// The noise of `count` measurements of a shape by the covariances in a file: one for all, or one for each.
fn covariances(path: &Path, count: usize, range: Shape) -> Result<Vec<Noise>> {
    let (m, Shape { height, width, .. }) = (range.len(), range);
    ensure!(!is_picture(path), "a picture holds no covariance: give an NPY array");
    let (Array { dims, values }, _) = Array::read_with_gaps(path, "covariance")?;
    let (several, sides) = match dims[..] {
        [a, b] => (1, [a, b]),
        [several, a, b] => (several, [a, b]),
        _ => (0, [0, 0]),
    };
    let is_one_each = several == 1 || several == count;
    let each = values.chunks_exact(sides[0].max(1) * sides[1].max(1));
    if is_one_each && sides == [m, m] {
        let is_beside = |(at, value): (usize, &f64)| at % (m * m) % (m + 1) != 0 && *value != 0.0;
        if m > 1 && !values.iter().enumerate().any(is_beside) {
            eprintln!(
                "note: --noise-covariance {}: the factor is diagonal, so that its entries are standard deviations: of variances give the \
                 square roots",
                path.display()
            );
        }
        each.map(|values| {
            let factor = Mat::from_fn(m, m, |i, j| values[i * m + j]);
            Ok(Noise::factor(&factor)?)
        })
        .collect()
    } else if is_one_each && sides == [height, width] {
        each.map(|values| Ok(Noise::spectrum(range, values.to_vec())?)).collect()
    } else {
        bail!(
            "the array has dimensions {dims:?}: give the Cholesky factor of the covariance of y's {m} values, [{m}, {m}], or the \
             variances at the frequencies of its plane, [{height}, {width}]; or {count} of them, one for each image"
        )
    }
}

fn sigma_y(text: &str) -> Result<SigmaY, String> {
    if text == "auto" {
        return Ok(SigmaY::Auto);
    }
    let path = Path::new(text);
    if text.parse::<f64>().is_err() && (is_array(path) || is_picture(path) || path.exists()) {
        return Ok(SigmaY::File(text.into()));
    }
    if let Some(numbers) = text.strip_prefix("counts:") {
        let numbers: Option<Vec<f64>> =
            numbers.split(',').map(|number| number.parse().ok()).collect();
        return match numbers.as_deref() {
            Some(&[gain, readout]) => Ok(SigmaY::Counts { gain, readout }),
            _ => Err("it must be counts:GAIN,READOUT, such as counts:1.8,3.5".to_owned()),
        };
    }
    not_negative(text).map(SigmaY::Number)
}

/// A finite number from 0 on.
fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        // Of -0 too.
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value.abs()),
        Ok(value) => Err(format!("it is {}, but must be 0 or above, and finite", number(value))),
        Err(_) => Err("it must be a number, 0 or above, such as 0.05".to_owned()),
    }
}

/// A positive finite number.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        Ok(value) => Err(format!("it is {}, but must be positive and finite", number(value))),
        Err(_) => Err("it must be a positive number, such as 0.05".to_owned()),
    }
}

/// Samples of an image, as many as the fair energy score needs.
pub(crate) fn two_or_more(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(samples) if samples >= 2 => Ok(samples),
        _ => Err("the fair energy score needs 2 samples or more".to_owned()),
    }
}

/// A count from 1 to 10 million.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    count_to::<10_000_000>(text)
}

/// A count from 1 to `MAX`: what is far above any use is refused before memory is taken for it.
pub(crate) fn count_to<const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(value) if (1..=MAX).contains(&value) => Ok(value),
        _ => Err(format!("it must be a whole number from 1 to {MAX}")),
    }
}

/// A seed: any whole number that is not negative.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("it must be a whole number from 0 to {}", u64::MAX))
}

/// A number of pixels along one side of an image, from 1 to 8192.
pub(crate) fn side(text: &str) -> Result<usize, String> {
    count_to::<8192>(text)
}

/// Where networks run.
#[derive(Debug, Args)]
pub(crate) struct DeviceFlags {
    /// Where the network runs: `cpu`, `cuda` (the first GPU) or `cuda:N` (GPU number N, from 0)
    #[arg(long, default_value = "cpu", value_parser = eps_model::device)]
    device: Device,
    /// Cores that are used, from 1 to 1024 [default: all that this process may use]
    #[arg(long, value_name = "N", value_parser = count_to::<1024>)]
    threads: Option<usize>,
}

impl DeviceFlags {
    /// Sets the number of threads and returns the device.
    pub(crate) fn apply(&self) -> Device {
        let cores = workers::cores();
        let threads = self.threads.unwrap_or(cores);
        if threads > cores && speaks() {
            eprintln!(
                "note: --threads {threads}: this process may use {cores} cores, and threads beyond them slow each other down"
            );
        }
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
        self.device
    }
}

/// Where networks run and in which precision.
#[derive(Debug, Args)]
pub(crate) struct NetworkFlags {
    #[command(flatten)]
    device: DeviceFlags,
    /// The precision of networks: f32, bf16, on CUDA also f16, or auto, which is bf16 on a processor that is faster with it
    /// (with AMX, or AMD's with AVX-512 BF16) and f32 elsewhere; everything else is computed in f64
    #[arg(long, value_name = "PRECISION", default_value = "auto", value_parser = precision)]
    precision: AskedPrecision,
}

fn precision(name: &str) -> Result<AskedPrecision, String> {
    match name {
        "auto" => Ok(AskedPrecision::Auto),
        _ => name.parse().map(AskedPrecision::Given).map_err(|_| {
            format!("unknown precision {name:?}: use \"auto\", \"f32\", \"bf16\" or \"f16\"")
        }),
    }
}

impl NetworkFlags {
    /// Sets the number of threads and returns the device and the precision that is asked for.
    ///
    /// # Errors
    /// A precision that the device does not have.
    pub(crate) fn apply(&self) -> Result<(Device, AskedPrecision)> {
        let device = self.device.apply();
        if let AskedPrecision::Given(precision) = self.precision {
            precision.check(device).map_err(|error| UsageError(error.to_string()))?;
            note_if_emulated(precision, device);
        }
        Ok((device, self.precision))
    }

    /// Says which precision was chosen, where it is not the one of most digits: for work that does not end with it.
    pub(crate) fn note(&self, precision: Precision) {
        if self.precision == AskedPrecision::Auto && precision != Precision::F32 {
            eprintln!(
                "note: this processor is faster in {precision}, in which the network is computed: --precision f32 for more \
                 digits"
            );
        }
    }
}

/// Says so where a precision saves no time.
pub(crate) fn note_if_emulated(precision: Precision, device: Device) {
    if precision.is_emulated(device) {
        eprintln!(
            "note: this processor has no instructions for {precision}: --precision f32 is many times faster"
        );
    }
}

/// The unit of y.
#[derive(Debug, Args)]
pub(crate) struct UnitFlag {
    /// The instrument's unit, where y is an array that is not on [-1, 1]: an image of OFFSET +- SCALE is one of +-1 to the
    /// network; --sigma-y is in that unit, and results are written in it too. auto takes the range of y, where y looks
    /// like the image
    #[arg(
        long,
        value_name = "OFFSET,SCALE[,NAME]|auto[,NAME]",
        value_parser = unit,
        allow_hyphen_values = true,
        conflicts_with = "sigma_y_255"
    )]
    unit: Option<GivenUnit>,
}

/// What `--unit` says.
#[derive(Debug, Clone, PartialEq)]
enum GivenUnit {
    Known(Unit),
    /// The range of y, with a name.
    Auto(String),
}

impl UnitFlag {
    /// Whether there is one.
    pub(crate) fn is_given(&self) -> bool {
        self.unit.is_some()
    }

    /// The unit of measurements by an operator, which is printed where it is estimated.
    ///
    /// # Errors
    /// A scale that is not positive, and measurements that do not tell their range.
    pub(crate) fn of_measurements(
        &self,
        operator: &PreparedOperator,
        y: &[f64],
    ) -> Result<Option<Unit>> {
        let unit = match &self.unit {
            None => return Ok(None),
            Some(GivenUnit::Known(unit)) => unit.clone(),
            Some(GivenUnit::Auto(name)) => {
                let unit = Unit::estimated(name, operator, y).context("--unit auto")?;
                println!(
                    "unit, from the range of y: {} +- {} {} are +-1",
                    number(unit.offset),
                    number(unit.scale),
                    unit.name
                );
                unit
            }
        };
        unit.validate().context("--unit")?;
        Ok(Some(unit))
    }
}

/// A unit that is known, not estimated.
pub(crate) fn known_unit(text: &str) -> Result<Unit, String> {
    match unit(text)? {
        GivenUnit::Known(unit) => Ok(unit),
        GivenUnit::Auto(_) => {
            Err("give OFFSET,SCALE, such as 0,1000,HU: there is no measurement here that tells it"
                .to_owned())
        }
    }
}

fn unit(text: &str) -> Result<GivenUnit, String> {
    let parts: Vec<&str> = text.splitn(3, ',').collect();
    let usual = "the instrument's unit";
    match parts[..] {
        ["auto", ref name @ ..] => {
            Ok(GivenUnit::Auto(if name.is_empty() { usual.to_owned() } else { name.join(",") }))
        }
        [offset, scale, ref name @ ..] => match (offset.parse(), scale.parse()) {
            (Ok(offset), Ok(scale)) => Ok(GivenUnit::Known(Unit {
                name: name.first().unwrap_or(&usual).to_string(),
                offset,
                scale,
            })),
            _ => Err("OFFSET and SCALE must be numbers, such as --unit 0,1000,HU".to_owned()),
        },
        _ => {
            Err("it must be OFFSET,SCALE or OFFSET,SCALE,NAME, such as 0,1000,HU, or auto"
                .to_owned())
        }
    }
}

/// The operator A of a measurement: one of these.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct OperatorFlags {
    /// Inpainting: a black and white picture (PNG, TIFF, BMP) of the image's size, white where a pixel was observed, or an
    /// array [H, W] (NPY, or NPZ, HDF5 or MAT with the array `mask`, or FILE#NAME), true or 1 where it was
    #[arg(long, value_name = "MASK")]
    mask: Option<PathBuf>,
    /// Super-resolution: every measured value is the mean of K×K pixels; K ≥ 1 divides both sides
    #[arg(long, value_name = "K", value_parser = side)]
    factor: Option<usize>,
    /// Denoising: every pixel was measured, with noise and nothing else
    #[arg(long)]
    denoise: bool,
    /// Deblurring: the kernel, its centre at (rows/2, columns/2), as an NPY, NPZ, HDF5, MAT or float TIFF array
    /// [rows, columns], taken as it is (FILE#NAME is one of several by its name, FILE#3 by its number, from 0), as a grey picture, scaled to sum 1, or by name: disc:RADIUS,
    /// gaussian:SIGMA, gaussian:SIGMA,ACROSS,DEGREES, motion:LENGTH,DEGREES, motion-path:SIDE,INTENSITY,SEED
    #[arg(long, value_name = "KERNEL")]
    kernel: Option<PathBuf>,
    /// Any operator that EPS knows, by name, e.g. {"operator": "gaussian-blur", "sigma_blur": 0.75,
    /// "taps": 11}; docs/files.md has all of them, and `eps operator` looks at them
    #[arg(long, value_name = "OPERATOR.json")]
    operator: Option<PathBuf>,
}

impl OperatorFlags {
    /// The files that the flags name, or what may be one.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.mask, &self.kernel, &self.operator].into_iter().filter_map(Option::as_deref)
    }
}

/// What lies beyond the edges of what was blurred.
#[derive(Debug, Args)]
pub(crate) struct BorderFlag {
    /// What the blur of --kernel finds beyond the edges: valid (a scene of which y is the part that the kernel saw whole),
    /// circular, reflect, symmetric, zero or replicate [default: valid to restore a picture, else circular]
    #[arg(long, value_name = "BORDER", value_parser = border)]
    border: Option<Border>,
}

impl BorderFlag {
    /// The border that was asked for.
    pub(crate) fn asked(&self) -> Option<Border> {
        self.border
    }

    /// Refuses a border that nothing would read.
    ///
    /// # Errors
    /// A border without `--kernel`.
    pub(crate) fn check(&self, operator: &OperatorFlags) -> Result<()> {
        match self.border {
            Some(border) if operator.kernel.is_none() => bail!(UsageError(format!(
                "--border {} is that of --kernel, which is not given: leave it out; an operator of --operator says its own, \
                 \"border\": \"{}\"",
                border.name(),
                border.name()
            ))),
            _ => Ok(()),
        }
    }
}

fn border(text: &str) -> Result<Border, String> {
    Border::from_name(text)
        .ok_or_else(|| format!("it must be one of {}", Border::ALL.map(Border::name).join(", ")))
}

impl OperatorFlags {
    /// The operator that the flags name, if any.
    ///
    /// # Errors
    /// A file that cannot be read or does not describe an operator.
    pub(crate) fn read(&self) -> Result<Option<GivenOperator>> {
        if let Some(path) = &self.mask {
            let mask = read_mask(path)?;
            return Ok(Some(GivenOperator {
                spec: OperatorSpec::Mask { observed: mask.observed },
                source: format!("--mask {}", path.display()),
                mask_size: Some((mask.height, mask.width)),
            }));
        }
        let (spec, source) = if let Some(factor) = self.factor {
            (OperatorSpec::AveragePool { factor }, format!("--factor {factor}"))
        } else if self.denoise {
            // Means of single pixels.
            (OperatorSpec::AveragePool { factor: 1 }, "--denoise".to_owned())
        } else if let Some(path) = &self.kernel {
            let kernel = kernel(path)?;
            (OperatorSpec::CircularBlur { kernel }, format!("--kernel {}", path.display()))
        } else if let Some(path) = &self.operator {
            (read_operator(path)?, format!("--operator {}", path.display()))
        } else {
            return Ok(None);
        };
        Ok(Some(GivenOperator { spec, source, mask_size: None }))
    }
}

/// Rows and columns of a matrix from which on its decomposition takes a minute and more.
const SLOW_SIDE: usize = 4096;

/// What is said of dense matrices whose decompositions take minutes; `source` names where they are.
fn slow_decomposition(source: &str, [matrices, rows, columns]: [usize; 3]) -> Option<String> {
    let work = matrices as f64 * (rows.min(columns) as f64).powi(3);
    let what = match matrices {
        1 => format!("a {rows} x {columns} matrix"),
        _ => format!("{matrices} matrices of {rows} x {columns}"),
    };
    (work >= (SLOW_SIDE as f64).powi(3)).then(|| {
        format!(
            "{source}: the singular values of {what} take minutes: the time grows with the third power of the sides"
        )
    })
}

/// Says so where a file of measurements has dense matrices whose decompositions take minutes.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn note_if_slow(path: &Path) -> Result<()> {
    let sizes = eps_data::measurement::dense_sizes(path)?;
    if let Some(note) =
        sizes.and_then(|sizes| slow_decomposition(&path.display().to_string(), sizes))
    {
        eprintln!("note: {note}");
    }
    Ok(())
}

/// An operator as flags name it, not yet fitted to an image.
#[derive(Debug)]
pub(crate) struct GivenOperator {
    spec: OperatorSpec,
    /// The flag and its value, for messages.
    source: String,
    /// The height and width of a mask that was read from a picture.
    mask_size: Option<(usize, usize)>,
}

impl GivenOperator {
    /// Prepares the operator for images of `shape`.
    ///
    /// # Errors
    /// An operator that the images do not admit, or a kernel of extreme weight, with the flag and its
    /// value.
    pub(crate) fn build(&self, shape: Shape) -> Result<PreparedOperator> {
        if let Some((height, width)) = self.mask_size {
            ensure!(
                (height, width) == (shape.height, shape.width),
                "{}: the mask has {height}x{width} pixels, the image {}x{}: give a mask of the \
                 image's size",
                self.source,
                shape.height,
                shape.width
            );
        }
        require_memory(&self.spec, shape).with_context(|| self.source.clone())?;
        if let Some(note) = memory_note(&self.spec, shape) {
            eprintln!("note: {}: {note}", self.source);
        }
        if let OperatorSpec::Dense { matrix } = &self.spec {
            let (rows, columns) = (matrix.len(), shape.len());
            if let Some(note) = slow_decomposition(&self.source, [1, rows, columns]) {
                eprintln!("note: {note}");
            }
        }
        let operator = self.spec.prepare(shape).with_context(|| {
            format!(
                "{} does not fit images of shape {shape} (channels, height, width)",
                self.source
            )
        })?;
        measurement::check_gain(&self.spec).with_context(|| self.source.clone())?;
        Ok(operator)
    }

    /// The same with another border, where it is a kernel of --kernel; a kernel without one wraps around.
    pub(crate) fn with_border(mut self, border: Border) -> Self {
        if let OperatorSpec::CircularBlur { kernel } = &self.spec
            && border != Border::Circular
        {
            self.spec = OperatorSpec::Convolution { kernel: kernel.clone(), border };
        }
        self
    }

    /// The flag that names it.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is a kernel of --kernel.
    pub(crate) fn is_kernel(&self) -> bool {
        self.source.starts_with("--kernel")
    }

    /// The shape of the image behind a measurement of shape `y`.
    ///
    /// A dense matrix does not tell it: it is taken to act on images of the shape `network`.
    ///
    /// # Errors
    /// A separable operator without rows, and an image too large.
    pub(crate) fn image_shape(&self, y: Shape, network: Shape) -> Result<Shape> {
        if let OperatorSpec::AveragePool { factor: 0 } = self.spec {
            bail!("{}: the factor is 0: it must be at least 1", self.source);
        }
        // What the description does not tell, the network does.
        let of_network = || match self.spec {
            OperatorSpec::Resize { .. } | OperatorSpec::Crop { .. } => {
                Shape { channels: y.channels, ..network }
            }
            _ => network,
        };
        let Shape { channels, height, width } = self.spec.domain_of(y).unwrap_or_else(of_network);
        Shape::new(channels, height, width).with_context(|| self.source.clone())
    }

    /// The operator's description, for several measurements the same.
    pub(crate) fn spec(&self) -> &OperatorSpec {
        &self.spec
    }
}

/// Refuses an array [.., H, W, C], whose channels are not where they are read, and a stack [N, H, W], whose
/// images would be channels.
///
/// # Errors
/// A last side of 1, 3 or 4 where the one before the last two is none of these, and three sides of which the
/// first is above 4.
pub(crate) fn check_channels_first(path: &Path, dims: &[usize]) -> Result<()> {
    let counts_channels = |side: usize| matches!(side, 1 | 3 | 4);
    match *dims {
        [.., channels, _, last] if counts_channels(last) && !counts_channels(channels) => bail!(
            "{}: the array has dimensions {dims:?}, which would be {channels} channels: it looks like \
             [H, W, C]; transpose it to [C, H, W]",
            path.display()
        ),
        [n, h, w] if n > 4 => bail!(
            "{}: the array has dimensions {dims:?}, which would be one image of {n} channels: reshape it to \
             [{n}, 1, {h}, {w}] if it is a stack of {n} grey images, [N, 1, H, W], or to [1, {n}, {h}, {w}] if not",
            path.display()
        ),
        _ => Ok(()),
    }
}

/// The taps of a kernel that a flag names, row by row: `disc:3.5` and the like, a file, or one of the kernels of a file, `FILE#3`,
/// `FILE#NAME` or `FILE#NAME#3`.
fn kernel(path: &Path) -> Result<Vec<Vec<f64>>> {
    let text = path.to_string_lossy();
    if !path.exists()
        && let Some(shape) = KernelShape::from_text(&text)
    {
        let shape = shape.map_err(|error| UsageError(format!("--kernel {error}")))?;
        let kernel = shape.kernel().with_context(|| format!("--kernel {text}"))?;
        return Ok(kernel.taps().chunks_exact(kernel.columns()).map(<[f64]>::to_vec).collect());
    }
    Ok(read_kernel(path, "kernel", None)?)
}

/// The contenders by name.
pub(crate) fn contender() -> impl TypedValueParser<Value = Contender> {
    let value = |contender: Contender| PossibleValue::new(contender.name()).help(contender.about());
    PossibleValuesParser::new(Contender::ALL.map(value)).map(|name| {
        Contender::from_name(&name).unwrap_or_else(|| unreachable!("{name} is none of the values"))
    })
}

/// The shape of an image, `C,H,W`.
pub(crate) fn shape(text: &str) -> Result<Shape, String> {
    let sides: Option<Vec<usize>> = text.split(',').map(|side| side.trim().parse().ok()).collect();
    match sides.as_deref() {
        Some(&[channels, height, width]) => {
            Shape::new(channels, height, width).map_err(|error| error.to_string())
        }
        _ => Err("it must be C,H,W, such as 3,256,256".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(spec: OperatorSpec) -> GivenOperator {
        GivenOperator { spec, source: "--operator a.json".into(), mask_size: None }
    }

    #[test]
    fn decompositions_that_take_minutes_are_told() {
        let note = slow_decomposition("a.h5", [1, 4096, 5000]).unwrap();
        assert!(note.starts_with("a.h5: the singular values of a 4096 x 5000 matrix take minutes"));
        assert_eq!(slow_decomposition("a.h5", [1, 4095, 5000]), None);
        // Eight of half the side are the same work.
        let note = slow_decomposition("a.h5", [8, 2048, 2048]).unwrap();
        assert!(note.contains("8 matrices of 2048 x 2048"), "{note}");
        assert_eq!(slow_decomposition("a.h5", [7, 2048, 2048]), None);
    }

    #[test]
    fn an_image_shape_follows_from_operator_and_measurement() {
        let network = Shape::new(1, 2, 2).unwrap();
        let identity = |n: usize| -> Vec<Vec<f64>> {
            (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect()
        };
        let wide = |n: usize| identity(n).into_iter().take(1).collect::<Vec<_>>();
        for (spec, y, image) in [
            (OperatorSpec::AveragePool { factor: 4 }, [3, 7, 5], [3, 28, 20]),
            (
                OperatorSpec::GaussianBlur { sigma_blur: 0.5, taps: 3, border: Border::Circular },
                [1, 9, 8],
                [1, 9, 8],
            ),
            (
                OperatorSpec::Separable { vertical: wide(6), horizontal: wide(5) },
                [3, 1, 1],
                [3, 6, 5],
            ),
            (OperatorSpec::Dense { matrix: wide(4) }, [1, 1, 1], [1, 2, 2]),
        ] {
            let y = Shape::new(y[0], y[1], y[2]).unwrap();
            let operator = given(spec);
            let shape = operator.image_shape(y, network).unwrap();
            assert_eq!([shape.channels, shape.height, shape.width], image);
            assert_eq!(operator.build(shape).unwrap().range(), y);
        }
    }

    #[test]
    fn a_mask_of_another_size_is_named_with_both_sizes() {
        let mut operator = given(OperatorSpec::Mask { observed: vec![1; 6] });
        operator.mask_size = Some((2, 3));
        // As many pixels, and still not the image's.
        let error = operator.build(Shape::new(1, 3, 2).unwrap()).unwrap_err().to_string();
        assert!(error.contains("2x3") && error.contains("3x2"), "{error}");
        assert!(operator.build(Shape::new(1, 2, 3).unwrap()).is_ok());
    }

    #[test]
    fn noise_levels_are_positive_and_finite() {
        assert_eq!(positive("0.05"), Ok(0.05));
        for text in ["0", "-1", "NaN", "inf", "loud"] {
            assert!(positive(text).is_err(), "{text}");
        }
        let number = |value| Ok(SigmaY::Number(value));
        assert_eq!((sigma_y("1e-6"), sigma_y("0")), (number(1e-6), number(0.0)));
        assert_eq!(sigma_y("counts:2,3"), Ok(SigmaY::Counts { gain: 2.0, readout: 3.0 }));
        assert!(sigma_y("counts:2").unwrap_err().contains("counts:GAIN,READOUT"));
        assert_eq!(sigma_y("sigma.npy"), Ok(SigmaY::File("sigma.npy".into())));
        for text in ["1e-20", "1e30", "1e300"] {
            for (sigma_y, sigma_y_255) in
                [(Some(SigmaY::Number(text.parse().unwrap())), None), (None, text.parse().ok())]
            {
                let error = NoiseFlags { sigma_y, sigma_y_255, noise_covariance: None }
                    .sigma_y()
                    .unwrap_err()
                    .to_string();
                assert!(error.contains("from 1e-6 to 1000") && error.len() < 250, "{error}");
            }
        }
    }

    #[test]
    fn units_are_an_offset_and_a_scale() {
        let known = |offset, scale, name: &str| {
            Ok(GivenUnit::Known(Unit { name: name.to_owned(), offset, scale }))
        };
        assert_eq!(unit("-200,1000,HU"), known(-200.0, 1000.0, "HU"));
        assert_eq!(unit("0,2"), known(0.0, 2.0, "the instrument's unit"));
        assert_eq!(unit("auto,photons"), Ok(GivenUnit::Auto("photons".to_owned())));
        for text in ["", "3", "a,b", "1,"] {
            assert!(unit(text).unwrap_err().contains("0,1000,HU"), "{text}");
        }
    }

    #[test]
    fn counts_have_a_bound_that_is_told() {
        assert_eq!((count("1"), count_to::<5>("5")), (Ok(1), Ok(5)));
        for text in ["0", "6", "-1", "1e3", "99999999999999999999999"] {
            assert_eq!(
                count_to::<5>(text),
                Err("it must be a whole number from 1 to 5".to_owned())
            );
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [(0.05, "0.05"), (255.0, "255"), (1e300, "1e300"), (-1e-20, "-1e-20")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn channels_come_first() {
        let check = |dims: &[usize]| check_channels_first(Path::new("a.npy"), dims);
        for dims in [&[28, 28][..], &[3, 28, 28], &[1, 1, 3], &[3, 4, 4], &[9, 1, 28, 28]] {
            assert!(check(dims).is_ok(), "{dims:?}");
        }
        let error = check(&[16, 28, 27]).unwrap_err().to_string();
        assert!(error.contains("[16, 1, 28, 27]") && error.contains("[N, 1, H, W]"), "{error}");
        for dims in [&[28, 28, 3][..], &[5, 28, 28, 1]] {
            let error = check(dims).unwrap_err().to_string();
            assert!(error.contains("a.npy") && error.contains("transpose"), "{error}");
        }
    }
}

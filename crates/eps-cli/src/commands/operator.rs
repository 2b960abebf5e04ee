//! `eps operator`: what a linear operator is and does, on arrays that any program reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use eps_data::npy::{NpyValues, write_npy};
use eps_data::operator_file::{read_operator, read_sourced_operator};
use eps_data::operator_memory::{memory_note, require_memory};
use eps_data::png::write_png;
use eps_data::{Array, mark_missing};
use eps_math::noise::Law;
use eps_math::operator::{
    EspiritParams, LinearMap, OperatorSpec, PreparedOperator, SampledMiddle, Whitened, check,
    espirit, sensitivities,
};
use eps_math::rng::Stream;
use eps_math::solve::{Cg, WithinNoise};
use eps_math::{Level, MathError, Noise, Route, Shape, exact_pivot, pivot, pivot_may_iterate};

use crate::flags::{self, NoiseFlags, SigmaY, UsageError};
use eps::conventions::unit_note;
use eps::measurement::is_centred;

/// Images of up to this many values have their singular values computed; of others the norm is estimated.
const EXACT: usize = 1024;

/// The gaps up to which an operator counts as linear with the right adjoint: rounding is some 1e-15.
const GAP: f64 = 1e-10;

/// Noise levels at which a pivot is timed: the first of a restoration, and one in its middle.
const TIMED_LEVELS: [f64; 2] = [80.0, 1.0];

/// σ_y there.
const TIMED_SIGMA_Y: f64 = 0.05;

/// About how long a pivot is timed, and a norm estimated, at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// The steps of an estimate of the norm.
const NORM_STEPS: usize = 50;

/// Seeds that `check` tries.
const SEEDS: u64 = 4;

/// Look at an operator: its shapes, spectrum and adjoint; apply it, its adjoint and its pivot to arrays.
///
/// The specification is the JSON of `--operator` (docs/files.md). Arrays are NPY files [C, H, W], or [H, W] for one
/// channel, of any scale, so that everything can be compared with NumPy.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print shapes, norm, rank and spectrum, and the time of a pivot
    Show {
        #[command(flatten)]
        of: Specification,
        /// Draw the spectrum: singular values over the largest, from 1 down to 1e-6, each a column
        #[arg(long, value_name = "FILE.png")]
        out: Option<PathBuf>,
    },
    /// Check that the operator is linear and its adjoint is the adjoint
    Check {
        #[command(flatten)]
        of: Specification,
    },
    /// Write A x
    Apply {
        #[command(flatten)]
        of: Specification,
        /// x, [C, H, W]
        #[arg(long, value_name = "X.npy")]
        image: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Write Aᵀy
    Adjoint {
        #[command(flatten)]
        of: Specification,
        /// y, of the shape that the operator gives
        #[arg(long, value_name = "Y.npy")]
        measurement: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Write the sensitivity maps of receiver coils, [2K, H, W], by the middle of their k-space
    CoilMaps {
        #[command(flatten)]
        of: Calibration,
        #[command(flatten)]
        target: Target,
    },
    /// Write μ⋆ = (I/σ_t² + AᵀA/σ_y²)⁻¹ (x_t/σ_t² + Aᵀy/σ_y²), the pivot of a state on EDM's path
    Pivot {
        #[command(flatten)]
        of: Specification,
        /// x_t, [C, H, W]
        #[arg(long, value_name = "X.npy")]
        state: PathBuf,
        /// y, of the shape that the operator gives; NaN is what was not measured
        #[arg(long, value_name = "Y.npy")]
        measurement: PathBuf,
        /// The noise of the state, above 0
        #[arg(long, value_name = "S", allow_negative_numbers = true)]
        sigma_t: f64,
        #[command(flatten)]
        noise: NoiseFlags,
        /// The error of the pivot over its correction of the state, where it comes by conjugate gradients: for operators without an
        /// eigenbasis with more than 4096 values of image and of measurement a channel, and no sparse matrix
        #[arg(long, value_name = "R", default_value_t = 1e-10)]
        rtol: f64,
        /// The most steps of conjugate gradients
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        max_steps: usize,
        #[command(flatten)]
        target: Target,
    },
}

/// The k-space of several coils, and its middle.
#[derive(Debug, Args)]
struct Calibration {
    /// K-space of K coils: a complex array [K, H, W] or a real one [2K, H, W] of pairs of channels, the frequency 0 at [0][0]
    #[arg(long, value_name = "Y.npy")]
    measurement: PathBuf,
    /// The rows and columns around the frequency 0 that every coil sampled, all of them
    #[arg(long, value_name = "ROWS,COLUMNS", default_value = "24,24", value_parser = sides)]
    calibration: (usize, usize),
    /// How the maps are found
    #[arg(long, value_enum, default_value = "espirit")]
    method: MapsMethod,
}

/// How the maps of coils are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MapsMethod {
    /// As eigenvectors (Uecker et al. 2014), by kernels of 6×6 samples: the middle must have 12 rows and columns at least
    Espirit,
    /// As images of low resolution over the root of the sum of their squares
    LowResolution,
}

/// An operator and the shape of its images.
#[derive(Debug, Args)]
struct Specification {
    /// The operator, such as {"operator": "convolution", "kernel": [[…]], "border": "valid"}
    #[arg(value_name = "SPEC.json")]
    spec: PathBuf,
    /// The shape of the image, where neither an array nor the specification tells it
    #[arg(long, value_name = "C,H,W", value_parser = flags::shape)]
    shape: Option<Shape>,
}

/// The array to be written.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The array to be written
    #[arg(long, value_name = "FILE.npy")]
    out: PathBuf,
    /// Replace the file if it is there and an NPY array
    #[arg(long)]
    force: bool,
}

fn sides(text: &str) -> Result<(usize, usize), String> {
    let sides = text.split_once(',').and_then(|(rows, columns)| {
        Some((rows.trim().parse().ok()?, columns.trim().parse().ok()?))
    });
    sides.ok_or_else(|| "it must be ROWS,COLUMNS, such as 24,24".to_owned())
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.action {
            Action::Show { of, out } => {
                let operator = of.prepare(None)?;
                if let (_, Some(source)) = read_sourced_operator(&of.spec)? {
                    println!("source: {source}");
                }
                show(&operator, out.as_deref())
            }
            Action::Check { of } => checked(&of.prepare(None)?),
            Action::Apply { of, image, target } => {
                target.check(&[image, &of.spec])?;
                let (shape, x) = read(image)?;
                let operator = of.prepare(Some(shape))?;
                target.write(operator.range(), &operator.apply(&x))
            }
            Action::Adjoint { of, measurement, target } => {
                target.check(&[measurement, &of.spec])?;
                let (found, y) = read(measurement)?;
                let operator = of.of_measurement(found)?;
                require_shape(measurement, found, operator.range(), "the operator gives")?;
                target.write(operator.domain(), &operator.adjoint(&y))
            }
            Action::CoilMaps { of: Calibration { measurement, calibration, method }, target } => {
                target.check(&[measurement])?;
                let (shape, y) = read(measurement)?;
                if is_centred(&y, shape) {
                    eprintln!(
                        "note: {}: the largest values are in the middle of its rows and columns, and the frequency 0 comes first here: apply \
                         numpy.fft.ifftshift to its last two axes where it is centred",
                        measurement.display()
                    );
                }
                let params = EspiritParams::default();
                let maps = match method {
                    MapsMethod::Espirit => espirit(shape, &y, *calibration, &params),
                    MapsMethod::LowResolution => sensitivities(shape, &y, *calibration),
                };
                let maps = maps.with_context(|| measurement.display().to_string())?;
                // ESPIRiT has refused it; images of low resolution only blur and alias.
                if matches!(method, MapsMethod::LowResolution)
                    && let Err(gaps) =
                        SampledMiddle::of(shape, &y, *calibration).check(params.least_side())
                {
                    eprintln!("note: {}: {gaps}", measurement.display());
                }
                target.write(shape, &maps)
            }
            Action::Pivot { of, state, measurement, sigma_t, noise, rtol, max_steps, target } => {
                if !(*sigma_t > 0.0 && sigma_t.is_finite()) {
                    bail!(UsageError(format!(
                        "--sigma-t {sigma_t}: it must be positive and finite"
                    )));
                }
                let sigma_y = noise.in_unit().ok_or_else(|| {
                    UsageError(
                        "how much noise has y? give --sigma-y, which is 0 for an exact measurement, or --noise-covariance"
                            .to_owned(),
                    )
                })?;
                if let SigmaY::Number(sigma_y) = sigma_y
                    && !(sigma_y >= 0.0 && sigma_y.is_finite())
                {
                    bail!(UsageError(format!(
                        "--sigma-y {sigma_y}: it must be 0 or above, and finite"
                    )));
                }
                target.check(&[state, measurement, &of.spec])?;
                let (shape, x_t) = read(state)?;
                let (spec, operator) = of.described(Some(shape))?;
                let (found, y) = read_with_gaps(measurement)?;
                if let Some(index) = y.iter().position(|value| value.is_infinite()) {
                    bail!(
                        "{}: the value at index {index} is {}: a value that was not measured is NaN, any other is finite",
                        measurement.display(),
                        y[index]
                    );
                }
                require_shape(measurement, found, operator.range(), "the operator gives")?;
                let cg = Cg { rtol: *rtol, max_steps: *max_steps };
                let noises = sigma_y.of_measurements(&spec, &operator, &y, 1.0)?;
                let [noise] = &noises[..] else {
                    bail!("one measurement has one noise, these are {}", noises.len());
                };
                if let Some(note) = iteration_note(&operator, &x_t, *max_steps) {
                    eprintln!("note: {note}");
                }
                let asked = Measured { operator, y, noise: noise.clone() };
                let (mu_star, route) = asked.pivot(&x_t, &Level::edm(*sigma_t), &cg)?;
                match route {
                    Route::Matrix { corrections } => {
                        println!("by the operator's matrix, solved {corrections} times");
                    }
                    Route::ConjugateGradients { steps, residual } => println!(
                        "conjugate gradients: {steps} steps, the residual is {residual:.1e} of the first one"
                    ),
                    _ => println!("in closed form"),
                }
                ensure!(
                    mu_star.iter().all(|value| value.is_finite()),
                    "the pivot is not finite: --sigma-t {sigma_t} or the values of the arrays are too large for f64"
                );
                target.write(shape, &mu_star)
            }
        }
    }
}

/// What to say of a pivot that may be iterated for a minute or longer.
fn iteration_note(operator: &PreparedOperator, x_t: &[f64], max_steps: usize) -> Option<String> {
    if !pivot_may_iterate(operator) {
        return None;
    }
    let start = Instant::now();
    let _ = operator.adjoint(&operator.apply(x_t));
    let most = start.elapsed().as_secs_f64() * max_steps as f64;
    (most > LONG).then(|| {
        format!(
            "no closed form is known for this operator, and its matrix is large: the pivot may take up to {:.0} minutes, unless the operator is a \
             blur; fewer --max-steps or a larger --rtol end it earlier",
            (most / 60.0).ceil()
        )
    })
}

/// How long a pivot may take of which nothing is said beforehand, in seconds.
const LONG: f64 = 30.0;

/// A measurement, NaN where nothing was measured, with its operator and its noise.
struct Measured {
    operator: PreparedOperator,
    y: Vec<f64>,
    noise: Noise,
}

impl Measured {
    fn pivot(mut self, x_t: &[f64], level: &Level, cg: &Cg) -> Result<(Vec<f64>, Route)> {
        let noise = mark_missing(self.noise, &mut self.y, |_| false)?;
        let sigma_y = noise.sigma_y();
        Ok(match noise.law() {
            Law::Uniform(_) => exact_pivot(&self.operator, &self.y, sigma_y, x_t, level, cg)?,
            _ => {
                let noise = Arc::new(noise);
                let whitened = Whitened::prepare(&self.operator, &noise, sigma_y)?;
                let y = noise.whiten(&self.y, sigma_y);
                exact_pivot(&whitened, &y, sigma_y, x_t, level, cg)?
            }
        })
    }
}

impl Specification {
    /// The operator for an image of the given shape, or of that of `--shape`, or of what the description tells.
    fn prepare(&self, image: Option<Shape>) -> Result<PreparedOperator> {
        Ok(self.described(image)?.1)
    }

    /// The same with its description.
    fn described(&self, image: Option<Shape>) -> Result<(OperatorSpec, PreparedOperator)> {
        let spec = read_operator(&self.spec)?;
        let shape = match (image, self.shape) {
            (Some(image), Some(asked)) if image != asked => bail!(
                "the image has the shape {image}, --shape says {asked}: leave --shape out, or correct one of the two"
            ),
            (Some(shape), _) | (None, Some(shape)) => shape,
            (None, None) => spec.domain().ok_or_else(|| {
                UsageError(format!(
                    "{} does not tell the shape of the image: give --shape C,H,W, such as --shape 3,64,64",
                    self.spec.display()
                ))
            })?,
        };
        let operator = self.build(&spec, shape)?;
        Ok((spec, operator))
    }

    /// The operator behind a measurement of a shape.
    fn of_measurement(&self, y: Shape) -> Result<PreparedOperator> {
        let spec = read_operator(&self.spec)?;
        let shape = self.shape.or_else(|| spec.domain_of(y)).ok_or_else(|| {
            UsageError(format!(
                "{} does not tell the shape of the image behind a measurement of {y}: give --shape C,H,W",
                self.spec.display()
            ))
        })?;
        self.build(&spec, shape)
    }

    fn build(&self, spec: &OperatorSpec, shape: Shape) -> Result<PreparedOperator> {
        require_memory(spec, shape).with_context(|| self.spec.display().to_string())?;
        if let Some(note) = memory_note(spec, shape) {
            eprintln!("note: {}: {note}", self.spec.display());
        }
        if let Some(note) = unit_note(spec) {
            eprintln!("note: {}: {note}", self.spec.display());
        }
        spec.prepare(shape).with_context(|| {
            format!(
                "{} does not fit images of shape {shape} (channels, height, width)",
                self.spec.display()
            )
        })
    }
}

impl Target {
    /// Refuses what must not be replaced, before any work.
    pub(super) fn check(&self, inputs: &[&Path]) -> Result<()> {
        ensure!(
            self.out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy")),
            "--out {}: the array is an NPY file, so let the name end in .npy",
            self.out.display()
        );
        let is_input = |input: &Path| match (input.canonicalize(), self.out.canonicalize()) {
            (Ok(input), Ok(out)) => input == out,
            _ => false,
        };
        ensure!(
            !inputs.iter().any(|input| is_input(input)),
            "--out {} is read by this command: name another file",
            self.out.display()
        );
        ensure!(
            self.force || !self.out.exists(),
            "{} exists already: name another file by --out, or add --force",
            self.out.display()
        );
        ensure!(
            !self.out.exists() || Array::read(&self.out, "out").is_ok(),
            "{} holds something else than an array: --force does not replace it, name another file by --out",
            self.out.display()
        );
        Ok(())
    }

    pub(super) fn write(&self, shape: Shape, values: &[f64]) -> Result<()> {
        write_npy(&self.out, &[shape.channels, shape.height, shape.width], NpyValues::F64(values))?;
        println!("{shape} in f64: {}", self.out.display());
        Ok(())
    }
}

/// An array [C, H, W], [H, W] or [N].
pub(super) fn read(path: &Path) -> Result<(Shape, Vec<f64>)> {
    shaped(path, Array::read(path, "array")?)
}

/// The same of values that need not be finite.
fn read_with_gaps(path: &Path) -> Result<(Shape, Vec<f64>)> {
    shaped(path, Array::read_with_gaps(path, "array")?.0)
}

fn shaped(path: &Path, Array { dims, values }: Array) -> Result<(Shape, Vec<f64>)> {
    let shape = match dims[..] {
        [n] => Shape::new(1, 1, n),
        [h, w] => Shape::new(1, h, w),
        [c, h, w] => Shape::new(c, h, w),
        _ => bail!(
            "{}: the array has dimensions {dims:?}, needed are [C, H, W], or [H, W] for one channel: give one image",
            path.display()
        ),
    };
    Ok((shape.with_context(|| path.display().to_string())?, values))
}

fn require_shape(path: &Path, found: Shape, needed: Shape, because: &str) -> Result<()> {
    ensure!(
        found == needed,
        "{}: the array has the shape {found}, but {because} {needed}: one of the two is wrong",
        path.display()
    );
    Ok(())
}

fn show(operator: &PreparedOperator, out: Option<&Path>) -> Result<()> {
    let (domain, range) = (operator.domain(), operator.range());
    println!("image {domain}, measurement {range} (channels, height, width)");
    let values = singular_values(operator)?;
    match &values {
        Some(values) => {
            let largest = values.first().copied().unwrap_or(0.0);
            let positive: Vec<f64> = values.iter().copied().filter(|s| *s > 0.0).collect();
            println!("norm {largest:.6}");
            println!(
                "rank {} of {}: {} directions of the image are not measured",
                positive.len(),
                domain.len(),
                domain.len() - positive.len()
            );
            if let Some(least) = positive.last() {
                println!(
                    "least positive singular value {least:.3e}, condition {:.3e}",
                    largest / least
                );
            }
            println!(
                "basis: {}",
                if operator.as_spectral().is_some() {
                    "in closed form"
                } else {
                    "none in closed form"
                }
            );
        }
        None => {
            println!(
                "norm at least {:.6} (power method), rank at most {}",
                check::norm_estimate(operator, steps_within(operator, PATIENCE, NORM_STEPS), 0),
                domain.len().min(range.len())
            );
            println!(
                "basis: none in closed form; where image or measurement have more than {EXACT} values no spectrum is computed"
            );
        }
    }
    for sigma_t in TIMED_LEVELS {
        println!("{}", timed_pivot(operator, sigma_t, PATIENCE)?);
    }
    if let Some(path) = out {
        let Some(values) = values else {
            bail!(
                "--out {}: the spectrum of an operator without a basis is computed for images of up to {EXACT} values, \
                 these have {}: give a smaller --shape",
                path.display(),
                domain.len()
            );
        };
        let (shape, pixels) = drawn(&values);
        write_png(path, shape, &pixels)?;
        println!("spectrum, from 1 (top) down to 1e-6 of the norm: {}", path.display());
    }
    Ok(())
}

/// How many times A and Aᵀ can be applied within a time, from 1 to `most`.
fn steps_within(operator: &PreparedOperator, time: Duration, most: usize) -> usize {
    let start = Instant::now();
    let seen = operator.apply(&vec![1.0; operator.domain().len()]);
    std::hint::black_box(operator.adjoint(&seen));
    let each = start.elapsed().max(Duration::from_nanos(1));
    usize::try_from(time.as_nanos() / each.as_nanos()).unwrap_or(most).clamp(1, most)
}

/// The time of a pivot as samplers compute it, of an image of noise at a level, in a sentence; one that is not solved within about
/// `patience` is given up.
fn timed_pivot(operator: &PreparedOperator, sigma_t: f64, patience: Duration) -> Result<String> {
    let draw = |what, n| Stream::named(0, what).normals(n);
    let y = draw("a measurement to be timed", operator.range().len());
    let x_t: Vec<f64> = draw("a state to be timed", operator.domain().len())
        .iter()
        .map(|value| sigma_t * value)
        .collect();
    let level = Level::edm(sigma_t);
    let mut within = WithinNoise::OF_SAMPLERS;
    if operator.as_spectral().is_none() {
        within.cg.max_steps = steps_within(operator, patience, within.cg.max_steps);
    }
    let start = Instant::now();
    let how = match operator.as_spectral() {
        Some(spectral) => {
            std::hint::black_box(pivot::mu_star(spectral, &y, TIMED_SIGMA_Y, &x_t, &level));
            "in closed form".to_owned()
        }
        None => match within.mu_star(operator, &y, TIMED_SIGMA_Y, &x_t, &level) {
            Ok(solved) => {
                format!("{} steps of conjugate gradients, to a tenth of its noise", solved.steps)
            }
            Err(MathError::NotSolved { steps, .. })
                if steps < WithinNoise::OF_SAMPLERS.cg.max_steps =>
            {
                return Ok(format!(
                    "a pivot at sigma_t = {sigma_t}, sigma_y = {TIMED_SIGMA_Y}: more than {:.1} s on one core, given up \
                         after {steps} steps of conjugate gradients; a restoration needs one for each network call and sample",
                    start.elapsed().as_secs_f64()
                ));
            }
            Err(error) => return Err(error.into()),
        },
    };
    let milliseconds = 1e3 * start.elapsed().as_secs_f64();
    Ok(format!(
        "a pivot at sigma_t = {sigma_t}, sigma_y = {TIMED_SIGMA_Y}: {milliseconds:.3} ms on one core, {how}"
    ))
}

/// All singular values of A that go with the image, descending, where they are known or the image is small.
fn singular_values(operator: &PreparedOperator) -> Result<Option<Vec<f64>>> {
    let n = operator.domain().len();
    if operator.as_spectral().is_none() && n.max(operator.range().len()) > EXACT {
        return Ok(None);
    }
    Ok(Some(eps_math::operator::singular_values(operator)?))
}

/// A picture of singular values in logarithmic height: white bars on black.
fn drawn(values: &[f64]) -> (Shape, Vec<f64>) {
    const HEIGHT: usize = 240;
    const WIDTH: usize = 480;
    const DECADES: f64 = 6.0;
    let largest = values.first().copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
    let mut pixels = vec![-1.0; HEIGHT * WIDTH];
    for column in 0..WIDTH {
        let value = values[column * values.len() / WIDTH] / largest;
        let share = (1.0 + value.log10().max(-DECADES) / DECADES).clamp(0.0, 1.0);
        for row in 0..HEIGHT {
            // The height of the row's middle over the lower edge.
            let height = (HEIGHT - row) as f64 - 0.5;
            if height < share * HEIGHT as f64 {
                pixels[row * WIDTH + column] = 1.0;
            }
        }
    }
    (Shape { channels: 1, height: HEIGHT, width: WIDTH }, pixels)
}

fn checked(operator: &PreparedOperator) -> Result<()> {
    let worst = |gap: fn(&dyn LinearMap, u64) -> f64| {
        (0..SEEDS).map(|seed| gap(operator, seed)).fold(0.0, f64::max)
    };
    let (adjoint, linear) = (worst(check::adjoint_gap), worst(check::linearity_gap));
    println!("adjoint gap   {adjoint:.1e}  |<Ax, y> - <x, A'y>| over |Ax| |y| + |x| |A'y|");
    println!("linearity gap {linear:.1e}  |A(ax + bz) - aAx - bAz| over its terms");
    ensure!(
        adjoint < GAP && linear < GAP,
        "a gap is above {GAP:.0e}, which rounding does not explain: the operator is not what a linear operator must be"
    );
    println!("ok: both are rounding");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_three_sides() {
        assert_eq!(flags::shape("3,4,5"), Ok(Shape::new(3, 4, 5).unwrap()));
        for text in ["", "3", "3,4", "3,4,5,6", "a,b,c", "0,1,1", "-1,2,3"] {
            assert!(flags::shape(text).is_err(), "{text}");
        }
    }

    /// Without patience a single step is made, and the sentence says so.
    #[test]
    fn pivots_that_take_long_are_given_up() {
        let json = r#"{"operator": "gaussian-matrix", "rows": 60, "seed": 0}"#;
        let spec: OperatorSpec = serde_json::from_str(json).unwrap();
        let operator = spec.prepare(Shape::new(1, 10, 10).unwrap()).unwrap();
        let words = timed_pivot(&operator, 80.0, Duration::ZERO).unwrap();
        assert!(words.contains("given up after 1 steps"), "{words}");
        assert_eq!(steps_within(&operator, Duration::ZERO, 50), 1);
        assert_eq!(steps_within(&operator, Duration::MAX, 50), 50);
        let words = timed_pivot(&operator, 80.0, Duration::MAX).unwrap();
        assert!(words.contains("to a tenth of its noise"), "{words}");
    }

    #[test]
    fn spectra_are_drawn_in_decades() {
        let (shape, pixels) = drawn(&[1.0, 1e-3, 0.0, 0.0]);
        let bar = |column: usize| {
            (0..shape.height).filter(|row| pixels[row * shape.width + column] > 0.0).count()
        };
        assert_eq!([bar(0), bar(130), bar(250), bar(479)], [240, 120, 0, 0]);
    }
}

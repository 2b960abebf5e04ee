//! Measurements of clean images: y = A x₀ + σ_y η, drawn once for an image; measurements on a device.

use eps_data::{ImageSet, MeasurementSet};
use eps_math::noise::Law;
use eps_math::operator::{LinearMap, OperatorSpec, PreparedOperator, measured_entries};
use eps_math::rng::Stream;
use eps_math::solve::Cg;
use eps_math::{Draw, Noise, SIGMA_Y, Shape, Task, measured};
use eps_model::{Measurement, ModelError, TensorOperator, attempt, extent};
use tch::{Device, Tensor};

use crate::Error;
use crate::format::number;

/// The stream of one quantity of one image's measurement, such as the "noise" of a "motion-blur".
///
/// Its key is no sample's: nothing that a sampler draws under the same seed is correlated with it.
pub fn stream(seed: u64, what: &str, of: &str, image: u64) -> Stream {
    let key = Stream::named(seed, &format!("{what} of {of}")).key();
    Stream::new(key, image, 0, 0)
}

/// y = A x₀ + σ_y η with noise from a stream, also where a mask hides the pixel.
///
/// # Panics
/// If `x_0` does not have the values of the operator's images.
pub fn measure(operator: &dyn LinearMap, x_0: &[f64], sigma_y: f64, noise: &Stream) -> Vec<f64> {
    let noise = noise.normals(operator.range().len());
    operator
        .apply(x_0)
        .into_iter()
        .zip(noise)
        .map(|(clean, eta)| measured(clean, sigma_y, eta))
        .collect()
}

/// y = A x₀ + η with noise η of any law from a stream: NaN where nothing is measured.
///
/// # Panics
/// If `x_0` does not have the values of the operator's images, or the noise another length than the measurement.
pub fn measure_under(
    operator: &dyn LinearMap,
    x_0: &[f64],
    noise: &Noise,
    stream: &Stream,
) -> Vec<f64> {
    if let Law::Uniform(sigma_y) = noise.law() {
        return measure(operator, x_0, *sigma_y, stream);
    }
    let eta = noise.colour(&stream.normals(operator.range().len()));
    operator.apply(x_0).into_iter().zip(eta).map(|(clean, eta)| clean + eta).collect()
}

/// Measures some images of a data set as a task says: operators and noise are a function of the seed, the task and the
/// image's number, as those of `eps measure --task` are.
///
/// # Units
/// `sigma_y` is on the scale [-1, 1].
///
/// # Errors
/// Images that do not admit the task's operator, and a σ_y that [`MeasurementSet::new`] refuses.
///
/// # Panics
/// For a number beyond the images of the set.
pub fn simulate(
    images: &ImageSet,
    numbers: &[usize],
    task: Task,
    sigma_y: f64,
    seed: u64,
) -> Result<MeasurementSet, Error> {
    let shape = images.shape();
    let (mut specs, mut y, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    for number in numbers {
        let stream = |what| stream(seed, what, task.name(), *number as u64);
        let operator = task.draw(Draw::Test, shape, &stream("operator"))?;
        let x_0 = images.to_signed(*number);
        y.extend(measure(&operator, &x_0, sigma_y, &stream("noise")));
        specs.push(operator.spec());
        truth.extend(x_0);
    }
    let set = MeasurementSet::new(shape, y, specs, sigma_y, images.provenance().clone())?;
    Ok(set.with_seed(seed).with_truth(truth)?)
}

/// Checks that σ_y, on the scale [-1, 1], is of a size that images admit, or 0, an exact measurement.
///
/// # Errors
/// [`Error::SigmaY`] between 0 and 1e-6, above 1000 and below 0.
pub fn check_sigma_y(value: f64) -> Result<(), Error> {
    if value == 0.0 || SIGMA_Y.contains(&value) { Ok(()) } else { Err(Error::SigmaY(value)) }
}

/// Fails where a measurement cannot be one of an image in [-1, 1]: it is on another scale.
///
/// Noise beyond ten standard deviations does not occur. Masked pixels may hold anything, and who tells a unit has said what the range is.
///
/// # Errors
/// [`Error::Measurement`] with the number of the image: [`Error::Scale`], and those of [`check_gain`].
pub fn check_scale(set: &MeasurementSet) -> Result<(), Error> {
    let mut known: Option<(&PreparedOperator, Option<f64>)> = None;
    for index in 0..set.len() {
        let of_image = |source| Error::Measurement { index, source: Box::new(source) };
        let operator = set.operator(index);
        let norm = match known {
            Some((of, norm)) if std::ptr::eq(of, operator) => norm,
            _ => {
                check_gain(set.spec(index)).map_err(of_image)?;
                operator.infinity_norm()
            }
        };
        known = Some((operator, norm));
        if let Some(norm) = norm.filter(|_| set.unit().is_none()) {
            check_values(set, index, norm).map_err(of_image)?;
        }
    }
    Ok(())
}

/// [`check_scale`] of an image by an operator of this ‖A‖_∞.
fn check_values(set: &MeasurementSet, index: usize, norm: f64) -> Result<(), Error> {
    // y is rounded to f32, and where transforms made it, by them.
    const ROUNDING: f64 = 1e-6;
    let (y, sigma_y) = (set.measurement(index), set.noise(index).largest_sigma());
    let bound = norm * (1.0 + ROUNDING) + 10.0 * sigma_y;
    let is_beyond = |value: &f64| value.abs() > bound;
    if !y.iter().any(is_beyond) {
        return Ok(());
    }
    let mut seen = y.iter().zip(measured_entries(set.operator(index)));
    let Some(place) = seen.position(|(value, is_measured)| is_measured && is_beyond(value)) else {
        return Ok(());
    };
    let note = brightness_note(set, index).map(|note| format!("; {note}")).unwrap_or_default();
    let is_below = y
        .iter()
        .zip(measured_entries(set.operator(index)))
        .any(|(value, is_measured)| is_measured && *value < -bound);
    let remedy = if y[place].abs() < 2.0 * bound {
        "sigma_y may be too small for the noise of y, or its values are on another range: --unit tells one"
    } else if is_below {
        "tell the range of values by --unit OFFSET,SCALE, or scale them to [-1, 1]"
    } else {
        "scale values by v / 127.5 - 1 (from 0..255), or tell their range by --unit OFFSET,SCALE"
    };
    Err(Error::Scale { index: place, value: y[place], bound, sigma_y, remedy, note })
}

/// The kernel of a blur that is written out; of a part of a scene the blur comes first.
fn kernel(spec: &OperatorSpec) -> Option<&[Vec<f64>]> {
    match spec {
        OperatorSpec::Chain { of } => of.first()?.kernel(),
        spec => spec.kernel(),
    }
}

/// Fails where a blur makes images so small or large that its kernel cannot be meant.
///
/// # Errors
/// [`Error::KernelWeight`] for a kernel whose absolute taps do not sum to 1e-6 to 1e6.
pub fn check_gain(spec: &OperatorSpec) -> Result<(), Error> {
    let Some(kernel) = kernel(spec) else { return Ok(()) };
    let gain: f64 = kernel.iter().flatten().map(|tap| tap.abs()).sum();
    if (1e-6..=1e6).contains(&gain) { Ok(()) } else { Err(Error::KernelWeight(gain)) }
}

/// Says so where a kernel changes the brightness of images.
///
/// One whose taps sum to nearly 0 compared with their size is meant to, as a derivative does.
///
/// # Panics
/// For a number beyond the measurements.
pub fn brightness_note(set: &MeasurementSet, index: usize) -> Option<String> {
    let taps = kernel(set.spec(index))?.iter().flatten();
    let (sum, gain) = taps.fold((0.0, 0.0), |(sum, gain), tap| (sum + tap, gain + tap.abs()));
    // Taps in f32, or with three digits, sum to 1 within 1e-3.
    (sum.abs() > 1e-3 * gain && (sum - 1.0f64).abs() > 1e-3).then(|| {
        format!(
            "the kernel sums to {} and is used as it is: divide it by its sum if it is meant to keep \
             brightness",
            number((sum * 1e6).round() / 1e6)
        )
    })
}

/// Says so where the picture of a kernel seems to be another one than is meant: black on white, on a ground that is not black, or off
/// its middle.
///
/// # Shapes
/// Rows of one length.
pub fn kernel_note(kernel: &[Vec<f64>]) -> Option<String> {
    let (rows, columns) = (kernel.len(), kernel.first()?.len());
    let taps = || kernel.iter().flatten().copied();
    let (least, most) = taps().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), tap| {
        (least.min(tap), most.max(tap))
    });
    // A derivative is meant, and so is one value for all.
    if least < 0.0 || most <= least {
        return None;
    }
    let corners = [(0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1)];
    if corners.iter().all(|(row, column)| kernel[*row][*column] == most) {
        return Some(
            "the kernel is largest in all of its corners: is it black on white? A kernel is white, or large, where light falls"
                .to_owned(),
        );
    }
    let as_least = taps().filter(|tap| *tap == least).count();
    if least > 0.0 && as_least * 4 > rows * columns {
        return Some(format!(
            "{as_least} of the kernel's {} taps are {} of the largest, and none is 0: a ground that is not black blurs by all of \
             it; subtract it if it is not meant",
            rows * columns,
            number((least / most * 1e3).round() / 1e3)
        ));
    }
    let sum: f64 = taps().sum();
    let centre = |place: fn(usize, usize) -> usize, middle: usize| {
        let weighted = kernel.iter().enumerate().flat_map(|(row, taps)| {
            taps.iter().enumerate().map(move |(column, tap)| place(row, column) as f64 * tap)
        });
        weighted.sum::<f64>() / sum - middle as f64
    };
    let down = centre(|row, _| row, rows / 2);
    let right = centre(|_, column| column, columns / 2);
    (down.abs().max(right.abs()) >= OFF_MIDDLE).then(|| {
        let by = |pixels: f64, [before, after]: [&str; 2]| {
            format!("{:.1} pixels {}", pixels.abs(), if pixels < 0.0 { before } else { after })
        };
        format!(
            "the centre of the kernel's weight lies {} and {} its middle, the tap ({}, {}): what is restored lies shifted by as much \
             against the blurred picture; shift the taps if that is not meant",
            by(down, ["above", "below"]),
            by(right, ["left of", "right of"]),
            rows / 2,
            columns / 2
        )
    })
}

/// From how many pixels on a kernel's centre of weight is said to be off its middle.
const OFF_MIDDLE: f64 = 1.5;

/// The highest grey level of 255 below which a picture is likely one of fewer bits: a dark photograph has some brighter points.
const FEW_LEVELS: f64 = 31.0;

/// The fewest values of which levels tell something.
const FEWEST_LEVELS: usize = 64;

/// Says so where the values of what is named are grey levels of 255, and none is above 31: they are likely those of 5 bits or fewer, or of a
/// picture of 0 and 1.
///
/// # Units
/// Values on [-1, 1], where 255 is 1.
pub fn few_bits_note(whose: &str, values: impl IntoIterator<Item = f64>) -> Option<String> {
    let (mut count, mut largest) = (0, 0.0);
    for value in values {
        let level = 127.5 * (value + 1.0);
        // Values in f32 are off by 1e-5 of a level.
        if level > FEW_LEVELS + 0.5 || (level - level.round()).abs() > 1e-4 {
            return None;
        }
        count += 1;
        largest = level.round().max(largest);
    }
    if count < FEWEST_LEVELS || largest < 1.0 {
        return None;
    }
    let bits = largest.log2().floor() + 1.0;
    let (what, factor) = match bits {
        1.0 => ("is 0 or 1".to_owned(), "255".to_owned()),
        _ => (format!("has {bits} bits"), format!("255/{}", bits.exp2() - 1.0)),
    };
    Some(format!(
        "the largest value of {whose} is {largest} of 255, and 255 is taken as white: if a value {what}, multiply all by {factor} first"
    ))
}

/// [`few_bits_note`] of what was measured; none where a unit is told, which says what values mean.
pub fn measured_bits_note(set: &MeasurementSet) -> Option<String> {
    if set.unit().is_some() {
        return None;
    }
    let values = (0..set.len()).flat_map(|image| measured_and_hidden(set, image).0);
    few_bits_note("y", values).map(|note| format!("{note}, and sigma_y is that of the result"))
}

/// Says so where many measured values lie at an end of the range, where a picture cuts noise off; black ones of few bits are none of these,
/// of which [`measured_bits_note`] tells.
pub fn clipping_note(set: &MeasurementSet) -> Option<String> {
    if set.sigma_y() == 0.0 || set.unit().is_some() || measured_bits_note(set).is_some() {
        return None;
    }
    let (mut measured, mut clipped) = (0usize, 0usize);
    for image in 0..set.len() {
        let seen = set.measurement(image).iter().zip(measured_entries(set.operator(image)));
        for (value, _) in seen.filter(|(_, is_measured)| *is_measured) {
            measured += 1;
            clipped += usize::from(value.abs() == 1.0);
        }
    }
    (clipped as f64 > MANY_CLIPPED * measured as f64).then(|| {
        format!(
            "{:.0} % of the values of y are exactly -1 or 1: noise beyond black and white was cut off there, so that they are nearer to \
             grey than they say, and an estimate of sigma_y is too small; a mask can hide them",
            100.0 * clipped as f64 / measured as f64
        )
    })
}

/// The share of clipped values from which on it is said.
const MANY_CLIPPED: f64 = 0.02;

/// The values of y of an image that are measured, and the others.
fn measured_and_hidden(set: &MeasurementSet, image: usize) -> (Vec<f64>, Vec<f64>) {
    let noise = set.noise(image);
    let values = set.measurement(image).iter().zip(measured_entries(set.operator(image)));
    let values = values.enumerate().filter(|(index, _)| !noise.is_missing(*index));
    let (measured, hidden): (Vec<_>, Vec<_>) =
        values.map(|(_, value)| value).partition(|(_, is_measured)| *is_measured);
    let values = |of: Vec<(&f64, bool)>| of.into_iter().map(|(value, _)| *value).collect();
    (values(measured), values(hidden))
}

/// Says so where a mask seems to be inverted: what it calls observed holds one value, or no more than noise, and what it calls hidden does
/// not.
///
/// A hole is commonly filled with one value; real pixels with noise are not all alike.
pub fn mask_note(set: &MeasurementSet) -> Option<String> {
    let mut found = None;
    for image in 0..set.len() {
        let (observed, hidden) = measured_and_hidden(set, image);
        let sigma_y = set.noise(image).largest_sigma();
        let (spread, of_hidden) = (deviation(&observed)?, deviation(&hidden)?);
        if spread > 1.5 * sigma_y || of_hidden <= 3.0 * sigma_y.max(spread) {
            return None;
        }
        found.get_or_insert((observed[0], spread));
    }
    let (value, spread) = found?;
    let holds = match spread {
        0.0 => format!("every pixel that the mask calls observed is {}", number(value)),
        _ => "the pixels that the mask calls observed differ by no more than noise does".to_owned(),
    };
    Some(format!(
        "{holds}, and those that it calls hidden differ by more: is the mask inverted? White, or 1, is where a pixel was observed"
    ))
}

/// The standard deviation of two values or more.
fn deviation(values: &[f64]) -> Option<f64> {
    let mean_of = |of: &dyn Fn(f64) -> f64| {
        values.iter().map(|value| of(*value)).sum::<f64>() / values.len() as f64
    };
    (values.len() > 1).then(|| {
        let mean = mean_of(&|value| value);
        mean_of(&|value| (value - mean).powi(2)).sqrt()
    })
}

/// Says so where much of what counts as measured holds one and the same value, with which holes are filled: real values with noise are not
/// alike. Black and white are where noise is cut off, which [`clipping_note`] tells, and levels of few bits are alike
/// ([`measured_bits_note`]).
pub fn filled_note(set: &MeasurementSet) -> Option<String> {
    if set.sigma_y() == 0.0 || set.unit().is_some() || measured_bits_note(set).is_some() {
        return None;
    }
    let mut values: Vec<f64> =
        (0..set.len()).flat_map(|image| measured_and_hidden(set, image).0).collect();
    values.sort_unstable_by(f64::total_cmp);
    let runs = values.chunk_by(|a, b| a == b).filter(|run| run[0].abs() != 1.0);
    let longest = runs.max_by_key(|run| run.len())?;
    let share = longest.len() as f64 / values.len() as f64;
    // The share of one grey level of 255 in a picture of one value with this noise.
    let of_a_level = (2.0 / 255.0) / (set.sigma_y() * std::f64::consts::TAU.sqrt());
    (values.len() >= FEWEST_FILLED && share > MANY_FILLED + of_a_level).then(|| {
        format!(
            "{:.0} % of the values of y that count as measured are exactly {}, which noise would tell apart: were they measured? A \
             mask, or NaN in an array, hides what was not; check that the mask is neither shifted nor turned",
            100.0 * share,
            number(longest[0] + 0.0) // not -0
        )
    })
}

/// The share of one value, beyond what grey levels explain, from which on it is said.
const MANY_FILLED: f64 = 0.1;

/// The fewest values of which shares tell something.
const FEWEST_FILLED: usize = 64;

/// Says so where y seems to have the frequency 0 in the middle, as scanners store it, and the operator has it first.
///
/// Images are smooth, so that most of what they are is in few frequencies around 0. Where the operator has these is where it puts a flat
/// image.
pub fn frequencies_note(set: &MeasurementSet) -> Option<String> {
    let operator = set.operator(0);
    let (domain, range) = (operator.domain(), operator.range());
    let is_plane = (range.height, range.width) == (domain.height, domain.width);
    if !is_plane || range.channels % 2 != 0 || range.height.min(range.width) < 4 * FEW {
        return None;
    }
    let flat = operator.map().apply(&vec![1.0; domain.len()]);
    let is_told = share_around(&flat, range, (0, 0)) > 0.5 && is_centred(set.measurement(0), range);
    is_told.then(|| {
        "the largest values of y are in the middle of its rows and columns, where this operator has the highest frequencies: its \
         frequency 0 comes first. Where y is centred, apply numpy.fft.ifftshift to its last two axes, and to the mask"
            .to_owned()
    })
}

/// Whether most of the energy of values of `shape` is in the middle of rows and columns, and next to nothing around the first value: as that
/// of frequencies is whose 0 was put into the middle.
pub fn is_centred(values: &[f64], shape: Shape) -> bool {
    shape.height.min(shape.width) >= 4 * FEW
        && share_around(values, shape, (shape.height / 2, shape.width / 2)) > 0.5
        && share_around(values, shape, (0, 0)) < 0.1
}

/// Frequencies beside one that are looked at.
const FEW: usize = 2;

/// The share of the energy of values of `shape` that is within [`FEW`] rows and columns of one, around the edges.
fn share_around(values: &[f64], shape: Shape, (row, column): (usize, usize)) -> f64 {
    let apart = |a: usize, b: usize, n: usize| a.abs_diff(b).min(n - a.abs_diff(b));
    let (mut near, mut all) = (0.0, 0.0);
    for (i, value) in values.iter().enumerate() {
        let (of_row, of_column) = (i / shape.width % shape.height, i % shape.width);
        let is_near =
            apart(of_row, row, shape.height) <= FEW && apart(of_column, column, shape.width) <= FEW;
        all += value * value;
        near += if is_near { value * value } else { 0.0 };
    }
    if all > 0.0 { near / all } else { 0.0 }
}

/// What an operator makes of images without negative values, if that is known.
struct Response {
    /// A 1, of an image of ones.
    ones: Vec<f64>,
    /// Whether no entry of A seems to be below 0: y/A1 is then a weighted mean of pixels.
    keeps_sign: bool,
}

impl Response {
    /// By A 1 and A of some images of random signs: |A s| ≤ A 1 for all of them where A has no negative entry.
    fn of(map: &dyn LinearMap) -> Self {
        const IMAGES: u64 = 4;
        let n = map.domain().len();
        let ones = map.apply(&vec![1.0; n]);
        // Transforms leave rounding.
        let rounding = 1e-9 * ones.iter().fold(0.0, |largest: f64, one| largest.max(one.abs()));
        let keeps_sign = (0..IMAGES).all(|image| {
            let signs = Stream::new(0, image, 0, 0).normals(n);
            let signs: Vec<f64> = signs.iter().map(|value| value.signum()).collect();
            map.apply(&signs).iter().zip(&ones).all(|(sum, one)| sum.abs() <= one + rounding)
        });
        Self { ones, keeps_sign }
    }

    /// y/A1 where much of an image is seen and something was measured, the means of pixels.
    fn means(&self, y: &[f64], noise: &Noise) -> Vec<f64> {
        let largest = self.ones.iter().copied().fold(0.0, f64::max);
        let is_seen = |(index, (one, _)): &(usize, (&f64, &f64))| {
            **one > 0.1 * largest && !noise.is_missing(*index)
        };
        let seen = self.ones.iter().zip(y).enumerate().filter(is_seen);
        seen.map(|(_, (one, y))| y / one).collect()
    }
}

/// The steps of conjugate gradients by which an image is found that fits y; what they do not reach is not measured well.
const FITTED: Cg = Cg { rtol: 1e-10, max_steps: 10 };

/// The share of an image's energy that may be in values below 0 where it counts as one without: what is not measured of it leaves
/// some there.
const NEGATIVE: f64 = 0.01;

/// Says so where measurements look like those of images in [0, 1]: of these no pixel is below 0, but for noise.
///
/// Where no entry of A is negative, y/A1 is means of pixels, as they are of masks, means, blurs with any border and projections. Of other
/// operators, such as Fourier transforms, it is an image that fits y which is looked at. Where y leaves much of the image open, as
/// compressed sensing does, that has negative values anyhow, and nothing is said. Complex images have 0 in their middle, and who tells a
/// unit has said what the range is.
pub fn range_note(set: &MeasurementSet) -> Option<String> {
    if set.unit().is_some() || set.shape().channels == 2 {
        return None;
    }
    // Four standard deviations, but never so much that dark pixels of [-1, 1] pass.
    let largest = |image| set.noise(image).largest_sigma();
    let sigma_y = (0..set.len()).map(largest).fold(0.0, f64::max);
    let noise = (4.0 * sigma_y).min(0.2);
    let (mut lowest, mut highest) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut what = "the values of y are";
    let mut known: Option<(&PreparedOperator, Response)> = None;
    for image in 0..set.len() {
        let operator = set.operator(image);
        let response = match known.take() {
            Some((of, response)) if std::ptr::eq(of, operator) => response,
            _ => Response::of(operator),
        };
        let seen = if response.keeps_sign {
            if response.ones.iter().any(|one| *one != 0.0 && (one - 1.0).abs() > 1e-6) {
                what = "the values of y over those of an image of ones are";
            }
            let means = response.means(set.measurement(image), set.noise(image));
            // The first below the noise ends it: images on [-1, 1] cost no more than one look.
            if means.iter().any(|mean| *mean < -noise) {
                return None;
            }
            means
        } else {
            what = "an image that fits y has values";
            let (operator, y) = set.whitened(image);
            let fitted = FITTED.nearest(operator, &y, 0.0).x;
            let energy =
                |least: f64| fitted.iter().filter(|v| **v < least).map(|v| v * v).sum::<f64>();
            if energy(-noise) > NEGATIVE * energy(f64::INFINITY) {
                return None;
            }
            fitted
        };
        lowest = seen.iter().copied().fold(lowest, f64::min);
        highest = seen.iter().copied().fold(highest, f64::max);
        known = Some((operator, response));
    }
    (highest > noise).then(|| {
        format!(
            "{what} from {lowest:.3} to {highest:.3}, as of images in [0, 1]: images are taken \
             to be in [-1, 1]; if they are not, give 2 y - 1 (for a kernel that does not sum to 1: 2 y - \
             its sum; for any operator A: 2 y - A1, where A1 is what it makes of an image of ones)"
        )
    })
}

/// The measurements of some images of a set, each as often as it is named, whitened; an operator that all of them
/// share is on the device once.
///
/// Networks read in the image's shape what was measured, before it was whitened.
///
/// # Errors
/// None but those of libtorch.
pub fn on_device(
    set: &MeasurementSet,
    images: &[usize],
    device: Device,
) -> Result<Measurement, Error> {
    let Shape { channels, height, width } = set.range();
    let dims = [images.len(), channels, height, width].map(extent);
    let batch = |values: Vec<f64>| Tensor::from_slice(&values).view(dims).to_device(device);
    let (mut operators, y): (Vec<_>, Vec<_>) =
        images.iter().map(|image| set.whitened(*image)).unzip();
    if let Some(decomposed) = set.decomposed()? {
        operators = images.iter().map(|image| &decomposed[image % decomposed.len()]).collect();
    }
    let y = batch(y.concat());
    let operators = distinct(operators).into_iter().cloned().collect();
    let measurement = Measurement::new(TensorOperator::new(operators, device)?, &y, set.sigma_y())?;
    if set.is_white() {
        return Ok(measurement);
    }
    let operators = images.iter().map(|image| set.operator(*image)).collect();
    let y = images.iter().flat_map(|image| set.measurement(*image)).copied().collect();
    let operators = distinct(operators).into_iter().cloned().collect();
    let operator = TensorOperator::new(operators, device)?;
    let lifted = attempt(|| operator.lift(&batch(y)).expand_as(measurement.lifted_y()))
        .map_err(ModelError::from)?;
    Ok(measurement.with_lifted(&lifted))
}

/// One operator that is all of them once.
fn distinct(mut operators: Vec<&PreparedOperator>) -> Vec<&PreparedOperator> {
    if operators.iter().all(|operator| std::ptr::eq(*operator, operators[0])) {
        operators.truncate(1);
    }
    operators
}

#[cfg(test)]
mod tests {
    use super::*;
    use eps_data::ImageProvenance;

    fn blur(tap: f64) -> MeasurementSet {
        let provenance = ImageProvenance {
            name: "y".to_owned(),
            source: "test".to_owned(),
            licence: "not stated".to_owned(),
            sha256: String::new(),
        };
        let specs = vec![OperatorSpec::CircularBlur { kernel: vec![vec![tap; 3]; 3] }];
        let shape = Shape::new(1, 4, 4).unwrap();
        MeasurementSet::new(shape, vec![0.0; 16], specs, 0.01, provenance).unwrap()
    }

    #[test]
    fn kernels_that_look_like_others_are_told() {
        let spot = |ground: f64, tap: f64, (row, column): (usize, usize)| {
            let mut kernel = vec![vec![ground; 9]; 9];
            for (r, c) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                kernel[row + r][column + c] = tap;
            }
            kernel
        };
        // A kernel of one value is a mean; the ends of a Gaussian are no ground; a derivative has its weight where it has it.
        let gaussian = |row: usize| -> Vec<f64> {
            let of = |at: usize| (-(at as f64 - 3.0).powi(2) / 18.0).exp();
            (0..7).map(|column| of(row) * of(column)).collect()
        };
        let gaussian: Vec<Vec<f64>> = (0..7).map(gaussian).collect();
        for right in [
            spot(0.0, 0.25, (4, 4)),
            vec![vec![1.0; 4]; 3],
            gaussian,
            vec![vec![-1.0, 0.0, 0.0, 0.0, 1.0]],
            vec![vec![1.0]],
        ] {
            assert_eq!(kernel_note(&right), None, "{right:?}");
        }
        for (other, words) in [
            (spot(0.1, 1.0, (4, 4)), "77 of the kernel's 81 taps are 0.1 of the largest"),
            (spot(1.0, 0.0, (4, 4)), "black on white"),
            (
                spot(0.0, 0.25, (4, 1)),
                "0.5 pixels below and 2.5 pixels left of its middle, the tap (4, 4)",
            ),
        ] {
            let note = kernel_note(&other).unwrap_or_default();
            assert!(note.contains(words), "{words:?} is not in {note:?}");
        }
    }

    #[test]
    fn pictures_of_few_bits_are_told() {
        let shape = Shape::new(1, 12, 12).unwrap();
        let levels = |of: &dyn Fn(usize) -> usize| -> Vec<f64> {
            (0..144).map(|i| of(i) as f64 / 127.5 - 1.0).collect()
        };
        let notes = |y: Vec<f64>, observed: Vec<u8>| {
            let specs = vec![OperatorSpec::Mask { observed }];
            let provenance = blur(1.0).provenance().clone();
            let set = MeasurementSet::new(shape, y, specs, 0.05, provenance).unwrap();
            [measured_bits_note(&set), clipping_note(&set), filled_note(&set)]
        };
        let all = || vec![1; 144];
        let [told, clipped, filled] = notes(levels(&|i| i % 15), all());
        let told = told.unwrap();
        assert!(
            told.contains("is 14 of 255") && told.contains("4 bits") && told.contains("255/15")
        );
        assert_eq!((clipped, filled), (None, None));
        let [told, clipped, filled] = notes(levels(&|i| usize::from(i % 3 > 0)), all());
        assert!(told.unwrap().contains("a value is 0 or 1, multiply all by 255 "));
        assert_eq!((clipped, filled), (None, None));
        // A bright pixel, values between levels, black alone, and what a mask hides.
        let dark = |i: usize| if i == 70 { 32 } else { i % 15 };
        assert_eq!(notes(levels(&dark), all())[0], None);
        let between = levels(&|i| i % 15).iter().map(|value| value + 0.002).collect();
        assert_eq!(notes(between, all())[0], None);
        assert_eq!(notes(levels(&|_| 0), all())[0], None);
        let mut hidden = all();
        hidden[70] = 0;
        assert!(notes(levels(&dark), hidden)[0].is_some());
    }

    #[test]
    fn cut_off_noise_is_told() {
        let set = |y: Vec<f64>, sigma_y: f64| {
            let specs = vec![OperatorSpec::AveragePool { factor: 1 }];
            let provenance = blur(1.0).provenance().clone();
            MeasurementSet::new(Shape::new(1, 4, 4).unwrap(), y, specs, sigma_y, provenance)
                .unwrap()
        };
        let y: Vec<f64> =
            (0..16).map(|i| f64::from(i) / 5.0 - 1.5).map(|v| v.clamp(-1.0, 1.0)).collect();
        let note = clipping_note(&set(y.clone(), 0.05)).unwrap();
        assert!(note.starts_with("38 % of the values of y are exactly -1 or 1"), "{note}");
        let inside = y.iter().map(|value| 0.9 * value).collect();
        for unclipped in [set(y, 0.0), set(inside, 0.05)] {
            assert_eq!(clipping_note(&unclipped), None);
        }
    }

    #[test]
    fn kernels_that_change_the_brightness_are_told() {
        for tap in [1.0 / 9.0, f64::from(1.0f32 / 9.0)] {
            assert_eq!(brightness_note(&blur(tap), 0), None);
        }
        let note = brightness_note(&blur(100.0), 0).unwrap();
        assert!(note.contains("sums to 900 ") && note.contains("divide"), "{note}");
        assert!(check_gain(blur(100.0).spec(0)).is_ok());
        for tap in [1e-90, -1e90] {
            let error = check_gain(blur(tap).spec(0)).unwrap_err().to_string();
            assert!(error.contains("kernel") && error.len() < 200, "{error}");
        }
    }

    #[test]
    fn what_no_image_gives_is_refused() {
        let provenance = ImageProvenance {
            name: "y".to_owned(),
            source: "test".to_owned(),
            licence: "not stated".to_owned(),
            sha256: String::new(),
        };
        let shape = Shape::new(1, 4, 4).unwrap();
        let of = |spec: &str, y: f64, sigma_y: f64| {
            let spec: OperatorSpec = serde_json::from_str(spec).unwrap();
            let range = spec.prepare(shape).unwrap().range();
            let y = vec![y; range.len()];
            MeasurementSet::new(shape, y, vec![spec], sigma_y, provenance.clone()).unwrap()
        };
        let mirrored =
            r#"{"operator": "convolution", "kernel": [[0.2, 0.5, 0.3]], "border": "symmetric"}"#;
        // White, rounded up.
        assert!(check_scale(&of(mirrored, 1.0 + 1e-7, 0.0)).is_ok());
        let error = check_scale(&of(mirrored, 1.3, 0.01)).unwrap_err();
        let error = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.contains("1.3") && error.contains("at most 1.100"), "{error}");
        let darker = r#"{"operator": "convolution", "kernel": [[0.95]], "border": "valid"}"#;
        let error = check_scale(&of(darker, 1.0, 0.001)).unwrap_err();
        let error = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.contains("sums to 0.95"), "{error}");
        // Counts are no kernel's fault.
        let counts = format!(r#"{{"operator": "scale", "factor": 3e6, "of": {mirrored}}}"#);
        assert!(check_scale(&of(&counts, 2e6, 1.0)).is_ok());
    }

    #[test]
    fn an_inverted_mask_is_told() {
        let note = |y: [f64; 4], observed: [u8; 4]| {
            let provenance = ImageProvenance {
                name: "y".to_owned(),
                source: "test".to_owned(),
                licence: "not stated".to_owned(),
                sha256: String::new(),
            };
            let specs = vec![OperatorSpec::Mask { observed: observed.to_vec() }];
            let shape = Shape::new(1, 2, 2).unwrap();
            mask_note(&MeasurementSet::new(shape, y.to_vec(), specs, 0.01, provenance).unwrap())
        };
        let words = note([0.5, -0.2, 0.25, 0.25], [0, 0, 1, 1]).unwrap();
        assert!(words.contains("is 0.25") && words.contains("inverted"), "{words}");
        assert_eq!(note([0.5, -0.2, 0.25, 0.25], [1, 1, 0, 0]), None);
        // An image of one value, and a mask of a single pixel, tell nothing.
        assert_eq!(note([0.25; 4], [0, 0, 1, 1]), None);
        assert_eq!(note([0.5, -0.2, 0.3, 0.25], [0, 0, 0, 1]), None);
    }

    #[test]
    fn a_mask_that_is_not_that_of_y_is_told() {
        let shape = Shape::new(1, 16, 16).unwrap();
        let provenance = || ImageProvenance {
            name: "y".to_owned(),
            source: "test".to_owned(),
            licence: "not stated".to_owned(),
            sha256: String::new(),
        };
        let noise = Stream::named(0, "y").normals(256);
        let image = |i: usize| ((i % 16) as f64 / 8.0 - 1.0) * 0.9;
        let observed: Vec<u8> = (0..256).map(|i| u8::from(i % 3 == 0)).collect();
        let notes = |y: &dyn Fn(usize) -> f64, observed: Vec<u8>| {
            let specs = vec![OperatorSpec::Mask { observed }];
            let y = (0..256).map(y).collect();
            let set = MeasurementSet::new(shape, y, specs, 0.05, provenance()).unwrap();
            [mask_note(&set), filled_note(&set)]
        };
        let inverted: Vec<u8> = observed.iter().map(|seen| 1 - seen).collect();
        // Noise everywhere, as some programs measure.
        let noisy = |i: usize| f64::from(observed[i]) * image(i) + 0.05 * noise[i];
        assert_eq!(notes(&noisy, observed.clone()), [None, None]);
        let [words, filled] = notes(&noisy, inverted);
        assert!(words.unwrap().contains("inverted") && filled.is_none());
        let filled = |i: usize| f64::from(observed[i]) * (image(i) + 0.05 * noise[i]);
        assert_eq!(notes(&filled, observed.clone()), [None, None]);
        for wrong in [vec![1; 256], (0..256).map(|i| observed[(i + 1) % 256]).collect()] {
            let [inverted, words] = notes(&filled, wrong);
            assert_eq!(inverted, None);
            let words = words.unwrap();
            assert!(words.contains("exactly 0") && words.contains("shifted"), "{words}");
        }
    }

    #[test]
    fn frequencies_of_another_order_are_told() {
        let fourier = r#"{"operator": "fourier", "mask": MASK}"#;
        let mask = format!("{:?}", vec![vec![1; 16]; 16]);
        let spec: OperatorSpec = serde_json::from_str(&fourier.replace("MASK", &mask)).unwrap();
        let shape = Shape::new(2, 16, 16).unwrap();
        // A bright spot.
        let spot = |i: usize| {
            (-((i % 16) as f64 - 7.0).powi(2) / 20.0 - ((i / 16 % 16) as f64 - 6.0).powi(2) / 20.0)
                .exp()
        };
        let x: Vec<f64> = (0..512).map(|i| if i < 256 { spot(i) } else { 0.0 }).collect();
        let y = spec.prepare(shape).unwrap().map().apply(&x);
        let centred = |i: usize| {
            let (row, column) = (i / 16 % 16, i % 16);
            y[i / 256 * 256 + (row + 8) % 16 * 16 + (column + 8) % 16]
        };
        let note = |y: Vec<f64>| {
            let provenance = ImageProvenance {
                name: "y".to_owned(),
                source: "test".to_owned(),
                licence: "not stated".to_owned(),
                sha256: String::new(),
            };
            let specs = vec![spec.clone()];
            frequencies_note(&MeasurementSet::new(shape, y, specs, 0.05, provenance).unwrap())
        };
        assert_eq!(note(y.clone()), None);
        assert!(note((0..512).map(centred).collect()).unwrap().contains("ifftshift"));
    }

    #[test]
    fn measurements_without_negative_values_are_told() {
        let shape = Shape::new(1, 2, 2).unwrap();
        let note = |y: [f64; 4], observed: [u8; 4]| {
            let provenance = ImageProvenance {
                name: "y".to_owned(),
                source: "test".to_owned(),
                licence: "not stated".to_owned(),
                sha256: String::new(),
            };
            let specs = vec![OperatorSpec::Mask { observed: observed.to_vec() }];
            range_note(&MeasurementSet::new(shape, y.to_vec(), specs, 0.01, provenance).unwrap())
        };
        let words = note([0.0, 0.5, 1.02, -0.03], [1; 4]).unwrap();
        assert!(words.contains("from -0.030 to 1.020") && words.contains("2 y - 1"), "{words}");
        // A hidden pixel may hold anything.
        assert!(note([0.1, 0.5, 1.0, -1.0], [1, 1, 1, 0]).is_some());
        assert_eq!(note([0.1, 0.5, 1.0, -1.0], [1; 4]), None);
        assert_eq!(note([0.0; 4], [1; 4]), None);
    }

    /// A bright spot on a dark ground, seen by operators of all kinds.
    #[test]
    fn images_in_0_to_1_are_told_whatever_the_operator() {
        let gaussian =
            r#"{"operator": "gaussian-blur", "sigma_blur": 0.8, "taps": 5, "border": "BORDER"}"#;
        let mut all: Vec<String> = ["circular", "zero", "reflect", "replicate", "valid"]
            .map(|border| gaussian.replace("BORDER", border))
            .to_vec();
        let mask: Vec<Vec<u8>> =
            (0..12).map(|r| vec![u8::from(!(5..=7).contains(&r)); 12]).collect();
        all.extend([
            r#"{"operator": "radon", "angles_degrees": [0, 30, 60, 90, 120, 150]}"#.to_owned(),
            r#"{"operator": "resize", "height": 6, "width": 6, "filter": "bicubic"}"#.to_owned(),
            r#"{"operator": "crop", "top": 0, "left": 0, "height": 9, "width": 9}"#.to_owned(),
            r#"{"operator": "scale", "factor": 3, "of": {"operator": "average-pool", "factor": 2}}"#.to_owned(),
            r#"{"operator": "stack", "of": [{"operator": "average-pool", "factor": 2},
                {"operator": "crop", "top": 3, "left": 3, "height": 4, "width": 4}]}"#.to_owned(),
            r#"{"operator": "walsh-hadamard", "rows": 256, "seed": 0}"#.to_owned(),
            format!(
                r#"{{"operator": "chain", "of": [{{"operator": "real"}}, {{"operator": "fourier", "mask": {mask:?}}}]}}"#
            ),
        ]);
        let shape = Shape::new(1, 12, 12).unwrap();
        let spot = |i: usize| {
            let (row, column) = ((i / 12) as f64 - 5.0, (i % 12) as f64 - 6.0);
            (-(row * row + column * column) / 8.0).exp()
        };
        for json in all {
            let spec: OperatorSpec = serde_json::from_str(&json).unwrap();
            let operator = spec.prepare(shape).unwrap();
            let note = |scale: f64, offset: f64| {
                let x_0: Vec<f64> = (0..144).map(|i| scale * spot(i) + offset).collect();
                let y = measure(&operator, &x_0, 0.005, &stream(0, "noise", "a range", 0));
                let provenance = blur(1.0).provenance().clone();
                let set = MeasurementSet::new(shape, y, vec![spec.clone()], 0.005, provenance);
                range_note(&set.unwrap())
            };
            let words = note(1.0, 0.0).unwrap_or_else(|| panic!("{json} is not told"));
            assert!(words.contains("2 y - A1"), "{words}");
            assert_eq!(note(2.0, -1.0), None, "{json}");
        }
    }

    #[test]
    fn noise_has_the_standard_deviation_that_was_asked_for() {
        let shape = Shape::new(1, 28, 28).unwrap();
        let x_0 = vec![0.3; shape.len()];
        let (mut sum, mut squares, mut n) = (0.0, 0.0, 0.0);
        for image in 0..64 {
            let of = Task::MotionBlur.name();
            let drawn = stream(5, "operator", of, image);
            let operator = Task::MotionBlur.draw(Draw::Test, shape, &drawn).unwrap();
            let clean = operator.apply(&x_0);
            let y = measure(&operator, &x_0, 0.05, &stream(5, "noise", of, image));
            for (y, clean) in y.iter().zip(clean) {
                let z = (y - clean) / 0.05;
                (sum, squares, n) = (sum + z, squares + z * z, n + 1.0);
            }
        }
        // Five standard errors: Var z = 1, Var z² = 2.
        assert!((sum / n).abs() < 5.0 / f64::sqrt(n));
        assert!((squares / n - 1.0).abs() < 5.0 * f64::sqrt(2.0 / n));
    }
}

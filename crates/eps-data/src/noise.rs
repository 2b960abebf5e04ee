//! The noise of measurements in files: one deviation, one an image, one an entry, or a covariance.

use eps_math::faer::Mat;
use eps_math::noise::{Law, common_sigma_y};
use eps_math::{MathError, Noise, Shape};
use hdf5::Group;

use crate::DataError;
use crate::hdf5_file::{Input, Output};

/// The deviations of images `[K]` or of entries `[K, c, h, w]`, infinite where nothing was measured.
const SIGMA: &str = "sigma";

/// Lower triangular L `[K, m, m]` with covariances L Lᵀ.
const FACTOR: &str = "noise_factor";

/// Variances over the frequencies of the measurement's plane, `[K, h, w]`.
const SPECTRUM: &str = "noise_spectrum";

/// The datasets that tell noise of more than one number.
pub(crate) const DATASETS: [&str; 3] = [SIGMA, FACTOR, SPECTRUM];

/// Checks that noises are those of measurements of a shape, one for all or one for each, of one kind; returns σ̄, which all
/// have together.
pub(crate) fn check(noises: &[Noise], count: usize, range: Shape) -> Result<f64, DataError> {
    if noises.len() != 1 && noises.len() != count {
        return Err(DataError::invalid(
            "the number of noises (sigma_y, or covariances)",
            noises.len(),
            format!("give one for all images, or one for each of the {count} measurements"),
        ));
    }
    for (index, noise) in noises.iter().enumerate() {
        noise.check_shape(range).map_err(|error| DataError::Noise { index, error })?;
    }
    let kind = |noise: &Noise| match noise.law() {
        Law::Factor(_) => "a covariance by its factor",
        Law::Spectrum(_) => "a covariance by its spectrum",
        _ => "a standard deviation",
    };
    if let Some(index) = noises.iter().position(|noise| kind(noise) != kind(&noises[0])) {
        return Err(DataError::invalid(
            format!("the noise of measurement {index}"),
            kind(&noises[index]),
            format!("the noises of a set are of one kind, here {}", kind(&noises[0])),
        ));
    }
    let is_exact = |noise: &Noise| noise.sigma_y() == 0.0;
    if let Some(index) = noises.iter().position(|noise| is_exact(noise) != is_exact(&noises[0])) {
        return Err(DataError::invalid(
            format!("sigma_y of measurement {index}"),
            noises[index].sigma_y(),
            "some measurements of the set are exact and others are not: give the exact ones a small sigma_y, such as 1e-3",
        ));
    }
    Ok(common_sigma_y(noises))
}

/// Whether one number tells the noise of all measurements.
pub(crate) fn is_one_number(noises: &[Noise]) -> bool {
    let of = |noise: &Noise| match noise.law() {
        Law::Uniform(sigma) => Some(*sigma),
        _ => None,
    };
    let first = noises.first().and_then(of);
    first.is_some() && noises.iter().all(|noise| of(noise) == first)
}

/// What is missing of a measurement is marked in its noise, and set to 0: NaN, and what has infinite σ. What a mask hides is
/// set to 0 alone.
///
/// # Errors
/// Those of [`Noise::with_missing`]; [`MathError::AllMissing`].
pub fn mark_missing(
    noise: Noise,
    y: &mut [f64],
    hidden: impl Fn(usize) -> bool,
) -> Result<Noise, MathError> {
    for (index, value) in y.iter_mut().enumerate() {
        if noise.is_missing(index) || (value.is_nan() && hidden(index)) {
            *value = 0.0;
        }
    }
    let missing: Vec<bool> = y.iter().map(|value| value.is_nan()).collect();
    let noise = noise.with_missing(&missing)?;
    let unseen = |index: usize| hidden(index) || noise.is_missing(index);
    if (0..y.len()).all(unseen) {
        return Err(MathError::AllMissing(y.len()));
    }
    y.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
    Ok(noise)
}

/// Noise with deviations in another unit.
pub(crate) fn rescaled(noise: &Noise, by: f64) -> Result<Noise, MathError> {
    match noise.law() {
        Law::Uniform(sigma) => Noise::uniform(sigma * by),
        Law::Entries(sigmas) => Noise::entries(sigmas.iter().map(|sigma| sigma * by).collect()),
        Law::Factor(_) => {
            let lower = embedded(noise, noise.len().unwrap_or(0));
            Noise::factor(&Mat::from_fn(lower.nrows(), lower.ncols(), |i, j| lower[(i, j)] * by))
        }
        Law::Spectrum(spectrum) => Noise::spectrum(
            spectrum.shape(),
            spectrum.variances().iter().map(|variance| variance * by * by).collect(),
        ),
        _ => Ok(noise.clone()),
    }
}

/// L of all entries, with infinity on the diagonal where nothing was measured.
fn embedded(noise: &Noise, m: usize) -> Mat<f64> {
    let mut whole = Mat::zeros(m, m);
    if let Law::Factor(factor) = noise.law() {
        (0..m).for_each(|i| whole[(i, i)] = f64::INFINITY);
        for (i, row) in factor.present().iter().enumerate() {
            for (j, column) in factor.present().iter().enumerate().take(i + 1) {
                whole[(*row, *column)] = factor.lower()[(i, j)];
            }
        }
    }
    whole
}

/// Writes noises that are more than one number.
pub(crate) fn put(
    output: &Output,
    root: &Group,
    noises: &[Noise],
    range: Shape,
) -> Result<(), DataError> {
    let Shape { channels, height, width } = range;
    let (count, m) = (noises.len(), range.len());
    let laws = || noises.iter().map(Noise::law);
    if laws().any(|law| matches!(law, Law::Factor(_))) {
        let values: Vec<f64> = noises
            .iter()
            .flat_map(|noise| {
                let lower = embedded(noise, m);
                (0..m * m).map(move |i| lower[(i / m, i % m)])
            })
            .collect();
        return output.put_array(root, FACTOR, &[count, m, m], &values);
    }
    if laws().any(|law| matches!(law, Law::Spectrum(_))) {
        let values: Vec<f64> = laws()
            .filter_map(|law| match law {
                Law::Spectrum(spectrum) => Some(spectrum.variances()),
                _ => None,
            })
            .flatten()
            .copied()
            .collect();
        return output.put_array(root, SPECTRUM, &[count, height, width], &values);
    }
    if laws().all(|law| matches!(law, Law::Uniform(_))) {
        let values: Vec<f64> = noises.iter().map(Noise::sigma_y).collect();
        return output.put_array(root, SIGMA, &[count], &values);
    }
    let values: Vec<f64> = laws()
        .flat_map(|law| match law {
            Law::Entries(sigmas) => sigmas.clone(),
            Law::Uniform(sigma) => vec![*sigma; m],
            _ => Vec::new(),
        })
        .collect();
    output.put_array(root, SIGMA, &[count, channels, height, width], &values)
}

/// Reads the noises of measurements of a shape, where they are more than one number.
pub(crate) fn get(
    input: &Input,
    root: &Group,
    range: Shape,
) -> Result<Option<Vec<Noise>>, DataError> {
    let there: Vec<&str> = DATASETS.into_iter().filter(|name| root.link_exists(name)).collect();
    let name = match there[..] {
        [] => return Ok(None),
        [name] => name,
        _ => {
            return Err(input.malformed(
                format!("the noise is told by the datasets {there:?}"),
                "keep the one that is meant",
            ));
        }
    };
    let (dims, values) = input.real(root, name)?;
    let sides = [range.channels, range.height, range.width];
    let needed: Vec<&[usize]> = match name {
        SIGMA => vec![&[], &sides],
        FACTOR => vec![],
        _ => vec![&sides[1..]],
    };
    let square = [range.len(); 2];
    let needed = if name == FACTOR { vec![&square[..]] } else { needed };
    if dims.is_empty() || !needed.contains(&&dims[1..]) {
        let of: Vec<String> = needed
            .iter()
            .map(|sides| {
                let sides: String = sides.iter().map(|side| format!(", {side}")).collect();
                format!("[K{sides}]")
            })
            .collect();
        return Err(input.malformed(
            format!(
                "the dataset {name:?} has dimensions {dims:?}, needed are {} with K = 1 or one for each measurement",
                of.join(" or ")
            ),
            "reshape it, or write the file again",
        ));
    }
    let one = values.len() / dims[0];
    let noises = values.chunks_exact(one).enumerate().map(|(index, values)| {
        let noise = match (name, dims.len()) {
            (SIGMA, 1) => Noise::uniform(values[0]),
            (SIGMA, _) => Noise::entries(values.to_vec()),
            (FACTOR, _) => {
                let m = range.len();
                Noise::factor(&Mat::from_fn(m, m, |i, j| values[i * m + j]))
            }
            _ => Noise::spectrum(range, values.to_vec()),
        };
        noise.map_err(|error| DataError::Noise { index, error }.in_file(input.path()))
    });
    noises.collect::<Result<_, _>>().map(Some)
}

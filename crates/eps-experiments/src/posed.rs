//! Measurements of images of a set, with the truth behind them.

use eps::measurement::measure;
use eps_data::{ImageSet, MeasurementSet};
use eps_math::operator::{OperatorSpec, PreparedOperator};
use eps_math::rng::Stream;
use eps_math::{MathError, Noise};

use crate::error::Result;

/// Measures some images of a set, by one operator for all or one for each, under one σ_y for all or one for each; `noise`
/// is the stream of an image's noise.
///
/// # Errors
/// Operators that the images do not admit, and σ_y out of its range.
pub(crate) fn posed(
    (set, images): (&ImageSet, &[usize]),
    specs: Vec<OperatorSpec>,
    sigma_y: &[f64],
    noise: impl Fn(usize) -> Stream,
    seed: u64,
) -> Result<MeasurementSet> {
    let shape = set.shape();
    let operators = specs
        .iter()
        .map(|spec| spec.prepare(shape))
        .collect::<Result<Vec<PreparedOperator>, MathError>>()?;
    let noises =
        sigma_y.iter().map(|sigma_y| Noise::uniform(*sigma_y)).collect::<Result<_, _>>()?;
    let (mut y, mut truth) = (Vec::new(), Vec::new());
    for (place, image) in images.iter().enumerate() {
        let x_0 = set.to_signed(*image);
        let operator = &operators[place % operators.len()];
        let sigma_y = sigma_y[place % sigma_y.len()];
        y.extend(measure(operator.map(), &x_0, sigma_y, &noise(*image)));
        truth.extend(x_0);
    }
    let provenance = set.provenance().clone();
    let posed = MeasurementSet::with_noise(shape, y, specs, noises, provenance)?;
    Ok(posed.with_seed(seed).with_truth(truth)?)
}

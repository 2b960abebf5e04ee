//! The methods without a network.

use std::ops::Range;
use std::time::{Duration, Instant};

use eps_data::memory;
use eps_math::operator::{OperatorSpec, Spectral as _};
use eps_math::pivot::mu_star;
use eps_math::{Level, LinearMmse, MathError};
use rayon::prelude::*;

use crate::error::{During as _, Result};
use crate::listener::Listener;
use crate::moments::GaussianPrior;
use crate::problem::Problem;
use crate::restoration::Restored;

/// A†y of some images.
pub(crate) fn pseudo_inverse(problem: &Problem, images: Range<usize>) -> Restored {
    let start = Instant::now();
    let estimates: Vec<Vec<f64>> = images
        .into_par_iter()
        .map(|i| problem.operator(i).pseudo_inverse(problem.set.measurement(i)))
        .collect();
    Restored::estimates(estimates.into_iter().flatten(), start)
}

/// The Wiener filter of some images: the posterior mean for white images x₀ ~ N(m 1, v I), with the
/// mean m and the variance v of all pixels of the training set.
///
/// It is the pivot of the state m 1 at the noise level √v.
pub(crate) fn wiener(problem: &Problem, images: Range<usize>, prior: &GaussianPrior) -> Restored {
    let start = Instant::now();
    let n = prior.mean.len();
    let mean = prior.mean.iter().sum::<f64>() / n as f64;
    let between: f64 = prior.mean.iter().map(|value| (value - mean).powi(2)).sum();
    let within: f64 = (0..n).map(|i| prior.covariance[(i, i)]).sum();
    let level = Level::edm(((between + within) / n as f64).sqrt());
    let state = vec![mean; n];
    let estimates: Vec<Vec<f64>> = images
        .into_par_iter()
        .map(|i| {
            let (operator, y) = (problem.operator(i), problem.set.measurement(i));
            mu_star(operator, y, problem.set.sigma_y(), &state, &level)
        })
        .collect();
    Restored::estimates(estimates.into_iter().flatten(), start)
}

/// How often it is told how far the linear MMSE estimates are.
const BETWEEN: Duration = Duration::from_mins(1);

/// The linear MMSE estimates of some images; operators that repeat are prepared once, and as many at a time as half of the memory
/// holds.
///
/// # Errors
/// A prior that does not fit the images.
pub(crate) fn linear_mmse(
    problem: &Problem,
    images: Range<usize>,
    prior: &GaussianPrior,
    listener: &dyn Listener,
) -> Result<Restored> {
    let start = Instant::now();
    let mut groups: Vec<(OperatorSpec, Vec<usize>)> = Vec::new();
    for i in images.clone() {
        let spec = problem.operator(i).spec();
        match groups.iter_mut().find(|(known, _)| *known == spec) {
            Some((_, members)) => members.push(i),
            None => groups.push((spec, vec![i])),
        }
    }
    let set = &problem.set;
    let estimates_of = |(_, members): &(OperatorSpec, Vec<usize>)| {
        let operator = set.operator(members[0]);
        let estimator = LinearMmse::new(&prior.mean, &prior.covariance, operator, set.sigma_y())?;
        let estimate = |i: &usize| (*i, estimator.estimate(set.measurement(*i)));
        Ok(members.iter().map(estimate).collect::<Vec<_>>())
    };
    let bytes = LinearMmse::bytes(set.shape().len(), set.range().len());
    let fitting = memory::available().map_or(u64::MAX, |available| available / 2 / bytes.max(1));
    let at_a_time = usize::try_from(fitting).unwrap_or(usize::MAX).max(1);
    let (mut estimates, mut told, mut prepared) = (Vec::new(), Instant::now(), 0);
    for chunk in groups.chunks(at_a_time) {
        if told.elapsed() > BETWEEN {
            told = Instant::now();
            listener.done(&format!("linear MMSE: {prepared} of {} operators", groups.len()));
        }
        prepared += chunk.len();
        let found = chunk.par_iter().map(estimates_of).collect::<Result<Vec<_>, MathError>>();
        let found = found.during(|| "the linear MMSE estimate cannot be prepared".to_owned())?;
        estimates.extend(found.into_iter().flatten());
    }
    estimates.sort_unstable_by_key(|(i, _)| *i);
    Ok(Restored::estimates(estimates.into_iter().flat_map(|(_, estimate)| estimate), start))
}

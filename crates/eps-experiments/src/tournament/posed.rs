//! The measurements of the tournament with their exact posteriors.

use std::sync::Arc;

use eps::measurement::{measure, stream};
use eps_math::faer::Mat;
use eps_math::operator::{
    AveragePool, CircularBlur, Convolution, Dense, Kernel, Operator, PreparedOperator,
};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::rng::Stream;
use eps_math::{Draw, MathError, Shape, Task, whole};
use eps_results::tournament::{PriorLaw, Space, TournamentSetting};

use crate::error::{ExperimentError, Result};

/// The prior on a space.
///
/// # Errors
/// None: the constants here are admissible.
fn prior(law: PriorLaw, space: Space) -> Result<Mixture, MathError> {
    match (law, space) {
        (PriorLaw::Gaussian, Space::Plane) => {
            Ok(Gaussian::new(vec![0.1, -0.2], ellipse(0.5, 0.2, 35.0))?.into())
        }
        (PriorLaw::Mixture, Space::Plane) => clusters(),
        (PriorLaw::Gaussian, _) => {
            let shape = space.shape();
            Ok(Gaussian::new(vec![0.0; shape.len()], smooth(shape, 0.4))?.into())
        }
        (PriorLaw::Mixture, _) => patterns(space.shape()),
    }
}

/// The covariance of a Gaussian in the plane with two deviations along its axes, the first at
/// `degrees` from the first coordinate.
fn ellipse(long: f64, short: f64, degrees: f64) -> Mat<f64> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let cross = (long * long - short * short) * sin * cos;
    Mat::from_fn(2, 2, |i, j| match (i, j) {
        (0, 0) => (long * cos).powi(2) + (short * sin).powi(2),
        (1, 1) => (long * sin).powi(2) + (short * cos).powi(2),
        _ => cross,
    })
}

/// Six clusters in the plane, all within [-1, 1]²: lines of measurement cross several of them.
fn clusters() -> Result<Mixture, MathError> {
    let clusters = [
        (0.25, [-0.60, 0.45], 0.16, 0.05, 50.0),
        (0.20, [0.55, 0.60], 0.14, 0.06, -20.0),
        (0.15, [0.60, -0.45], 0.18, 0.04, 75.0),
        (0.15, [-0.45, -0.60], 0.15, 0.05, 10.0),
        (0.15, [0.00, 0.05], 0.10, 0.04, -60.0),
        (0.10, [0.05, -0.75], 0.08, 0.05, 0.0),
    ];
    let components = clusters
        .iter()
        .map(|(_, mean, long, short, degrees)| {
            Gaussian::new(mean.to_vec(), ellipse(*long, *short, *degrees))
        })
        .collect::<Result<_, _>>()?;
    Mixture::new(&clusters.map(|cluster| cluster.0), components)
}

/// A smooth covariance: deviation `sd` with squared-exponential correlation of length a quarter of
/// the side, and uncorrelated texture of an eighth of `sd`.
fn smooth(shape: Shape, sd: f64) -> Mat<f64> {
    let length = shape.width as f64 / 4.0;
    let place = |i: usize| ((i / shape.width) as f64, (i % shape.width) as f64);
    Mat::from_fn(shape.len(), shape.len(), |i, j| {
        let ((r, c), (s, d)) = (place(i), place(j));
        let distance = ((r - s).powi(2) + (c - d).powi(2)) / (length * length);
        let texture = if i == j { (sd / 8.0).powi(2) } else { 0.0 };
        sd * sd * (-0.5 * distance).exp() + texture
    })
}

/// Four kinds of images, each with smooth deviations: a hill, a hollow, which a hidden centre leaves
/// open, and columns of alternating sign in both phases, which means and blurs leave open.
fn patterns(shape: Shape) -> Result<Mixture, MathError> {
    let side = shape.width as f64;
    let image = |value: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
        let centre = |k: usize| (k as f64 + 0.5) / side - 0.5;
        (0..shape.len()).map(|i| value(centre(i / shape.width), centre(i % shape.width))).collect()
    };
    let hill = |r: f64, c: f64| 0.7 * (-(r * r + c * c) / (2.0 * 0.2 * 0.2)).exp();
    let stripe = |_: f64, c: f64| {
        let column = whole((c + 0.5) * side);
        if column.is_multiple_of(2) { 0.4 } else { -0.4 }
    };
    let means =
        [image(&hill), image(&|r, c| -hill(r, c)), image(&stripe), image(&|r, c| -stripe(r, c))];
    let components = means
        .into_iter()
        .map(|mean| Gaussian::new(mean, smooth(shape, 0.2)))
        .collect::<Result<_, _>>()?;
    Mixture::new(&[0.35, 0.25, 0.25, 0.15], components)
}

/// Draws the operator: the laws of [`Task::draw`] where they admit so small an image; blurs with the border of the setting.
fn operator(setting: &TournamentSetting, stream: &Stream) -> Result<PreparedOperator, MathError> {
    let shape = setting.space.shape();
    let blur = |kernel| -> Result<PreparedOperator, MathError> {
        let Some(border) = setting.border else {
            return Ok(Operator::CircularBlur(CircularBlur::new(shape, kernel)?).into());
        };
        let map = Arc::new(Convolution::new(shape, kernel, border)?);
        Ok(PreparedOperator::Map { family: "convolution", map })
    };
    let side = shape.height;
    match setting.task {
        None => Ok(Operator::Dense(Dense::new(shape, 1, &[0.8, 0.6])?).into()),
        Some(task @ (Task::RandomInpainting | Task::BoxInpainting)) => {
            Ok(task.draw(Draw::Test, shape, stream)?.into())
        }
        Some(task @ (Task::ExtremeInpainting | Task::ExtremeSuperResolution)) => {
            unreachable!("{} is none of the tournament's", task.name())
        }
        Some(Task::SuperResolution) => {
            Ok(Operator::AveragePool(AveragePool::new(shape, side / 2)?).into())
        }
        Some(Task::GaussianBlur) => blur(Kernel::gaussian(0.1875 * side as f64, side - 1)?),
        Some(Task::MotionBlur) => {
            blur(Kernel::motion(side - 1, std::f64::consts::PI * stream.uniform(0))?)
        }
    }
}

/// Draws a measurement: an image of the prior, an operator and noise, each a function of the
/// seed, what the measurement is for, and its number; the same at every σ_y.
///
/// # Errors
/// None but those of the posterior's factorisations.
pub(crate) fn draw(
    setting: &TournamentSetting,
    purpose: Purpose,
    seed: u64,
    index: u64,
) -> Result<Posed> {
    let of = format!("{} {} {}", setting.group(), setting.operator_name(), purpose.name());
    let stream = |what| stream(seed, what, &of, index);
    let prior = prior(setting.law, setting.space)?;
    let operator = operator(setting, &stream("operator"))?;
    let x_0 = prior.sample(&stream("image"));
    let y = measure(&operator, &x_0, setting.sigma_y, &stream("noise"));
    let posterior = prior.posterior(&operator, &y, setting.sigma_y)?;
    let exact = stream("exact samples").key();
    Ok(Posed {
        setting: *setting,
        prior,
        operator,
        y,
        posterior,
        exact,
        keys: stream("keys").key(),
    })
}

/// What a measurement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Choosing the constants of methods.
    Tuning,
    /// The tables and curves.
    Test,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Tuning => "for tuning",
            Self::Test => "for tests",
        }
    }
}

/// A measurement with its exact posterior.
#[derive(Debug)]
pub(crate) struct Posed {
    /// What it is a measurement of.
    pub(crate) setting: TournamentSetting,
    /// p(x₀).
    pub(crate) prior: Mixture,
    /// A.
    pub(crate) operator: PreparedOperator,
    /// y, flat.
    pub(crate) y: Vec<f64>,
    /// p(x₀ | y).
    pub(crate) posterior: Mixture,
    /// The seed of exact samples.
    exact: u64,
    /// The seed of the methods' samples.
    pub(crate) keys: u64,
}

impl Posed {
    /// `count` samples of the exact posterior, flat; sets of different numbers are independent.
    pub(crate) fn exact_samples(&self, count: usize, set: u64) -> Vec<f64> {
        let draw = |sample| self.posterior.sample(&Stream::new(self.exact, set, sample, 0));
        (0..count as u64).flat_map(draw).collect()
    }

    /// √(tr Cov[x₀ | y]/n): the root-mean-square deviation of a coordinate under the posterior.
    pub(crate) fn deviation(&self) -> Result<f64> {
        let covariance = self.posterior.covariance();
        let n = covariance.nrows();
        let trace: f64 = (0..n).map(|i| covariance[(i, i)]).sum();
        if trace > 0.0 {
            return Ok((trace / n as f64).sqrt());
        }
        Err(ExperimentError::NoSpread(self.setting.label()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use eps_math::operator::Spectral as _;
    use eps_results::tournament::{SIGMA_Y, SIGMAS_Y};

    use super::*;

    const GROUPS: [(Space, PriorLaw); 6] = [
        (Space::Plane, PriorLaw::Gaussian),
        (Space::Plane, PriorLaw::Mixture),
        (Space::Four, PriorLaw::Gaussian),
        (Space::Four, PriorLaw::Mixture),
        (Space::Eight, PriorLaw::Gaussian),
        (Space::Eight, PriorLaw::Mixture),
    ];

    #[test]
    fn priors_are_on_the_scale_of_images() {
        for (space, law) in GROUPS {
            let law_of_x = prior(law, space).unwrap();
            let (covariance, n) = (law_of_x.covariance(), law_of_x.dimension());
            let variance = (0..n).map(|i| covariance[(i, i)]).sum::<f64>() / n as f64;
            assert!((0.3..0.6).contains(&variance.sqrt()), "{space:?} {law:?} {variance}");
            // Clipping to [-1, 1], as some methods do, leaves nearly all coordinates as they are.
            let sample = |i| law_of_x.sample(&Stream::new(0, i, 0, 0));
            let values: Vec<f64> = (0..500).flat_map(sample).collect();
            let outside = values.iter().filter(|v| v.abs() > 1.0).count() as f64;
            assert!(outside / (values.len() as f64) < 0.05, "{space:?} {law:?} {outside}");
        }
    }

    #[test]
    fn every_setting_poses_its_measurement() {
        let settings = TournamentSetting::all(&GROUPS, &SIGMAS_Y);
        assert_eq!(settings.len(), 3 * (1 + 1 + 4 * 5));
        let names: BTreeSet<String> = settings.iter().map(TournamentSetting::slug).collect();
        assert_eq!(names.len(), settings.len());
        for setting in settings {
            let posed = draw(&setting, Purpose::Test, 0, 1).unwrap();
            let known = posed.operator.basic().unwrap();
            let rank = known.eigenvalues().iter().filter(|v| **v > 1e-6).count();
            assert!(rank >= 1 && posed.deviation().unwrap() < 0.6, "{}", setting.label());
            let tuning = draw(&setting, Purpose::Tuning, 0, 1).unwrap();
            assert_ne!(posed.y, tuning.y);
            let other =
                draw(&TournamentSetting { sigma_y: 0.1, ..setting }, Purpose::Test, 0, 1).unwrap();
            assert_eq!(known.spec(), other.operator.basic().unwrap().spec());
        }
    }

    #[test]
    fn measurements_of_mixtures_stay_ambiguous() {
        for space in [Space::Plane, Space::Four, Space::Eight] {
            let settings = TournamentSetting::all(&[(space, PriorLaw::Mixture)], &[SIGMA_Y]);
            let total = 20 * settings.len();
            let is_open = |(setting, index): &(&TournamentSetting, u64)| {
                let posed = draw(setting, Purpose::Test, 0, *index).unwrap();
                posed.posterior.weights().iter().filter(|w| **w > 0.05).count() > 1
            };
            let all = settings.iter().flat_map(|s| (0..20).map(move |index| (s, index)));
            let open = all.filter(is_open).count();
            assert!(10 * open >= total, "{space:?}: {open} of {total}");
        }
    }
}

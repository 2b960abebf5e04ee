//! The settings of the tournament: a prior, an operator and σ_y whose posterior is known.

use anyhow::{Result, ensure};
use eps_math::operator::{AveragePool, CircularBlur, Dense, Kernel, Operator};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::rng::Stream;
use eps_math::{Draw, MathError, Shape, Task};
use faer::Mat;
use serde::{Deserialize, Serialize};

use eps::measurement::{measure, stream};

/// The noise levels, on the scale [-1, 1]: little, some and much beside priors of deviation 0.5.
pub(crate) const SIGMAS_Y: [f64; 3] = [0.05, 0.2, 0.5];

/// The σ_y of settings that come at one level.
pub(crate) const SIGMA_Y: f64 = SIGMAS_Y[1];

/// Where x₀ lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Space {
    /// Points (a, b), one image of 1×2 pixels each.
    Plane,
    /// Grey images of 4×4 pixels.
    Four,
    /// Grey images of 8×8 pixels.
    Eight,
}

/// The law of x₀.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Law {
    /// One Gaussian.
    Gaussian,
    /// A mixture of Gaussians that measurements leave ambiguous.
    Mixture,
}

/// A prior with the measurements that are taken of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setting {
    /// Where x₀ lives.
    pub(crate) space: Space,
    /// The law of x₀.
    pub(crate) law: Law,
    /// The family of the operator; none for the dense matrix in the plane.
    pub(crate) task: Option<Task>,
    /// σ_y on the scale [-1, 1].
    pub(crate) sigma_y: f64,
}

impl Space {
    fn name(self) -> &'static str {
        match self {
            Self::Plane => "2-D",
            Self::Four => "4×4",
            Self::Eight => "8×8",
        }
    }

    /// The shape of x₀.
    pub(crate) fn shape(self) -> Shape {
        let (height, width) = match self {
            Self::Plane => (1, 2),
            Self::Four => (4, 4),
            Self::Eight => (8, 8),
        };
        Shape { channels: 1, height, width }
    }
}

impl Law {
    fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "Gaussian",
            Self::Mixture => "mixture",
        }
    }

    /// The prior on a space.
    ///
    /// # Errors
    /// None: the constants here are admissible.
    pub(crate) fn prior(self, space: Space) -> Result<Mixture, MathError> {
        match (self, space) {
            (Self::Gaussian, Space::Plane) => {
                Ok(Gaussian::new(vec![0.1, -0.2], ellipse(0.5, 0.2, 35.0))?.into())
            }
            (Self::Mixture, Space::Plane) => clusters(),
            (Self::Gaussian, _) => {
                let shape = space.shape();
                Ok(Gaussian::new(vec![0.0; shape.len()], smooth(shape, 0.4))?.into())
            }
            (Self::Mixture, _) => patterns(space.shape()),
        }
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
        let column = ((c + 0.5) * side) as usize;
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

impl Setting {
    /// The name in files.
    pub(crate) fn slug(&self) -> String {
        let space = match self.space {
            Space::Plane => "plane",
            Space::Four => "4x4",
            Space::Eight => "8x8",
        };
        let law = self.law.name().to_lowercase();
        format!("{space}-{law}-{}-{}", self.operator_name(), self.sigma_y)
    }

    /// Space and law, by which results are gathered.
    pub(crate) fn group(&self) -> String {
        format!("{} {}", self.space.name(), self.law.name())
    }

    /// The name in tables.
    pub(crate) fn label(&self) -> String {
        let operator = self.operator_name().replace('-', " ");
        format!("{}, {operator}, σ_y {}", self.group(), self.sigma_y)
    }

    fn operator_name(&self) -> &'static str {
        self.task.map_or("dense", Task::name)
    }

    /// All settings of some groups at some noise levels, group by group.
    pub(crate) fn all(groups: &[(Space, Law)], sigmas_y: &[f64]) -> Vec<Self> {
        let of_group = |(space, law): &(Space, Law)| {
            let (space, law) = (*space, *law);
            let tasks = match space {
                Space::Plane => vec![None],
                _ => Task::ALL.map(Some).to_vec(),
            };
            let of_task = move |task: Option<Task>| {
                sigmas_y.iter().map(move |sigma_y| Self { space, law, task, sigma_y: *sigma_y })
            };
            tasks.into_iter().flat_map(of_task).collect::<Vec<_>>()
        };
        groups.iter().flat_map(of_group).collect()
    }

    /// Draws the operator: the laws of [`Task::draw`] where they admit so small an image.
    fn operator(&self, stream: &Stream) -> Result<Operator, MathError> {
        let shape = self.space.shape();
        let blur = |kernel| CircularBlur::new(shape, kernel).map(Operator::CircularBlur);
        let side = shape.height;
        match self.task {
            None => Ok(Operator::Dense(Dense::new(shape, 1, &[0.8, 0.6])?)),
            Some(task @ (Task::RandomInpainting | Task::BoxInpainting)) => {
                task.draw(Draw::Test, shape, stream)
            }
            Some(task @ (Task::ExtremeInpainting | Task::ExtremeSuperResolution)) => {
                unreachable!("{} is none of the tournament's", task.name())
            }
            Some(Task::SuperResolution) => {
                Ok(Operator::AveragePool(AveragePool::new(shape, side / 2)?))
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
    pub(crate) fn draw(&self, purpose: Purpose, seed: u64, index: u64) -> Result<Posed> {
        let of = format!("{} {} {}", self.group(), self.operator_name(), purpose.name());
        let stream = |what| stream(seed, what, &of, index);
        let prior = self.law.prior(self.space)?;
        let operator = self.operator(&stream("operator"))?;
        let x_0 = prior.sample(&stream("image"));
        let y = measure(&operator, &x_0, self.sigma_y, &stream("noise"));
        let posterior = prior.posterior(&operator, &y, self.sigma_y)?;
        let exact = stream("exact samples").key();
        Ok(Posed {
            setting: *self,
            prior,
            operator,
            y,
            posterior,
            exact,
            keys: stream("keys").key(),
        })
    }
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
    pub(crate) setting: Setting,
    /// p(x₀).
    pub(crate) prior: Mixture,
    /// A.
    pub(crate) operator: Operator,
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
        ensure!(trace > 0.0, "{}: the posterior has no spread", self.setting.label());
        Ok((trace / n as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use eps_math::operator::LinearOperator as _;

    use super::*;

    const GROUPS: [(Space, Law); 6] = [
        (Space::Plane, Law::Gaussian),
        (Space::Plane, Law::Mixture),
        (Space::Four, Law::Gaussian),
        (Space::Four, Law::Mixture),
        (Space::Eight, Law::Gaussian),
        (Space::Eight, Law::Mixture),
    ];

    #[test]
    fn priors_are_on_the_scale_of_images() {
        for (space, law) in GROUPS {
            let prior = law.prior(space).unwrap();
            let (covariance, n) = (prior.covariance(), prior.dimension());
            let variance = (0..n).map(|i| covariance[(i, i)]).sum::<f64>() / n as f64;
            assert!((0.3..0.6).contains(&variance.sqrt()), "{space:?} {law:?} {variance}");
            // Clipping to [-1, 1], as some methods do, leaves nearly all coordinates as they are.
            let draw = |i| prior.sample(&Stream::new(0, i, 0, 0));
            let values: Vec<f64> = (0..500).flat_map(draw).collect();
            let outside = values.iter().filter(|v| v.abs() > 1.0).count() as f64;
            assert!(outside / (values.len() as f64) < 0.05, "{space:?} {law:?} {outside}");
        }
    }

    #[test]
    fn every_setting_poses_its_measurement() {
        let settings = Setting::all(&GROUPS, &SIGMAS_Y);
        assert_eq!(settings.len(), 3 * (1 + 1 + 4 * 5));
        let names: BTreeSet<String> = settings.iter().map(Setting::slug).collect();
        assert_eq!(names.len(), settings.len());
        for setting in settings {
            let posed = setting.draw(Purpose::Test, 0, 1).unwrap();
            let rank = posed.operator.eigenvalues().iter().filter(|v| **v > 1e-6).count();
            assert!(rank >= 1 && posed.deviation().unwrap() < 0.6, "{}", setting.label());
            let tuning = setting.draw(Purpose::Tuning, 0, 1).unwrap();
            assert_ne!(posed.y, tuning.y);
            let other = Setting { sigma_y: 0.1, ..setting }.draw(Purpose::Test, 0, 1).unwrap();
            assert_eq!(posed.operator.spec(), other.operator.spec());
        }
    }

    #[test]
    fn measurements_of_mixtures_stay_ambiguous() {
        for space in [Space::Plane, Space::Four, Space::Eight] {
            let settings = Setting::all(&[(space, Law::Mixture)], &[SIGMA_Y]);
            let total = 20 * settings.len();
            let is_open = |(setting, index): &(&Setting, u64)| {
                let posed = setting.draw(Purpose::Test, 0, *index).unwrap();
                posed.posterior.weights().iter().filter(|w| **w > 0.05).count() > 1
            };
            let all = settings.iter().flat_map(|s| (0..20).map(move |index| (s, index)));
            let open = all.filter(is_open).count();
            assert!(10 * open >= total, "{space:?}: {open} of {total}");
        }
    }
}

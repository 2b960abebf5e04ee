//! The methods of the tournament, each asked with the exact denoiser of the prior.

use anyhow::Result;
use eps_math::operator::LinearOperator as _;
use eps_math::{Schedule, Shape, Task};
use eps_model::{Measurement, Oracle, TensorOperator, batch};
use eps_sample::{CountNfe, Eps, Estimator, NoiseKeys, Sample as _, SampleError, Solver, ZeroShot};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::setting::{Posed, Setting};
use crate::experiment::contender::{Contender, Run};

/// A posterior sampler that asks an exact denoiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// Exact posterior sampling with D_Σ⋆, Heun's method.
    EpsHeun,
    /// Exact posterior sampling with D_Σ⋆, Euler's method.
    EpsEuler,
    /// The prior's own denoiser asked at the pivot, Euler's method.
    ZeroShot,
    /// A method without training, with one tuned constant.
    #[serde(untagged)]
    Contender(Contender),
}

/// A constant that is chosen for every setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tuned {
    /// Its name in the method's documentation.
    pub(crate) symbol: &'static str,
    /// The values that are tried, ascending.
    pub(crate) grid: &'static [f64],
    /// The most calls at which it is chosen; more calls take the constant of these.
    pub(crate) up_to: usize,
}

impl Method {
    /// All methods, in the order of the tables.
    pub(crate) const ALL: [Self; 12] = [
        Self::EpsHeun,
        Self::EpsEuler,
        Self::ZeroShot,
        Self::Contender(Contender::Dps),
        Self::Contender(Contender::DpsPublished),
        Self::Contender(Contender::Daps),
        Self::Contender(Contender::DapsExact),
        Self::Contender(Contender::Pigdm),
        Self::Contender(Contender::PigdmPublished),
        Self::Contender(Contender::Ddnm),
        Self::Contender(Contender::Ddrm),
        Self::Contender(Contender::Mpgd),
    ];

    /// The name in files.
    pub(crate) fn name(self) -> String {
        match self {
            Self::EpsHeun => "eps-heun".to_owned(),
            Self::EpsEuler => "eps-euler".to_owned(),
            Self::ZeroShot => "zero-shot".to_owned(),
            Self::Contender(contender) => contender.name(),
        }
    }

    /// The name in tables and charts.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::EpsHeun => "EPS, Heun",
            Self::EpsEuler => "EPS, Euler",
            Self::ZeroShot => "zero-shot EPS",
            Self::Contender(contender) => contender.label(),
        }
    }

    /// The constant that is chosen for a setting, if the method has one there.
    pub(crate) fn tuned(self, setting: &Setting) -> Option<Tuned> {
        let blurs = matches!(setting.task, Some(Task::GaussianBlur | Task::MotionBlur));
        const LENGTHS: &[f64] = &[3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
        const STEPS: &[f64] =
            &[1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3];
        const SHARES: &[f64] = &[0.0, 0.25, 0.5, 0.7, 0.85, 0.925, 1.0];
        const WEIGHTS: &[f64] = &[0.1, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 10.0];
        let any = usize::MAX;
        let Self::Contender(contender) = self else {
            return None;
        };
        let (symbol, grid, up_to) = match contender {
            Contender::Dps | Contender::DpsPublished => ("ζ", LENGTHS, any),
            Contender::Mpgd | Contender::MpgdPublished => ("c", LENGTHS, any),
            Contender::Pigdm => ("ζ", WEIGHTS, any),
            // Of blurs alone it filters what is next to nothing.
            Contender::Ddnm if blurs => ("ε", LENGTHS, any),
            Contender::Ddnm
            | Contender::DdnmPublished
            | Contender::Ddrm
            | Contender::PigdmPublished => ("η", SHARES, any),
            Contender::DapsExact => ("τ/σ_y", WEIGHTS, any),
            // The step size belongs to the chain at one level, whatever the number of levels.
            Contender::Daps | Contender::DapsPublished => ("step size", STEPS, 100),
        };
        Some(Tuned { symbol, grid, up_to })
    }

    /// The denoiser evaluations of a run that is asked for `calls` ≥ 1 of them: an odd number, one
    /// less where `calls` is even, for Heun's method, and full annealing levels for DAPS.
    pub(crate) fn nfe(self, calls: usize) -> usize {
        match self {
            Self::EpsHeun => 2 * calls.div_ceil(2) - 1,
            Self::EpsEuler | Self::ZeroShot => calls,
            Self::Contender(contender) => contender.nearest_calls(calls),
        }
    }
}

/// A batch of samples.
#[derive(Debug)]
pub(crate) struct Drawn {
    /// The samples, [N, n]; none where the state left the finite numbers.
    pub(crate) samples: Option<Vec<f64>>,
    /// Denoiser evaluations of a sample, as counted.
    pub(crate) nfe: usize,
}

/// One measurement, asked for as many samples as there are keys.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    posed: &'a Posed,
    measurement: Measurement,
    shape: Shape,
    keys: NoiseKeys,
}

impl<'a> Question<'a> {
    /// Prepares `samples` copies of a measurement.
    ///
    /// # Errors
    /// None but those of libtorch.
    pub(crate) fn new(posed: &'a Posed, samples: usize) -> Result<Self> {
        let device = Device::Cpu;
        let operator = TensorOperator::new(vec![posed.operator.clone(); samples], device)?;
        let y = batch(&posed.y.repeat(samples), posed.operator.range(), device);
        Ok(Self {
            posed,
            measurement: Measurement::new(operator, &y, posed.setting.sigma_y)?,
            shape: posed.setting.space.shape(),
            keys: NoiseKeys::image_major(posed.keys, 0..1, samples as u64),
        })
    }

    /// Draws the samples of a method; `constant` is that of [`Method::tuned`] where there is one.
    ///
    /// # Errors
    /// Those of the samplers, except that a state which leaves the finite numbers gives no samples.
    pub(crate) fn draw(
        &self,
        method: Method,
        calls: usize,
        constant: Option<f64>,
    ) -> Result<Drawn> {
        let _guard = tch::no_grad_guard();
        let counted = CountNfe::new(Oracle::new(&self.posed.prior));
        let samples = match self.run(&counted, method, method.nfe(calls), constant) {
            Ok(samples) => Some(Vec::try_from(samples.flatten(0, -1))?),
            Err(SampleError::Diverged { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Drawn { samples, nfe: counted.nfe() })
    }

    fn run(
        &self,
        oracle: &CountNfe<Oracle<'_>>,
        method: Method,
        calls: usize,
        constant: Option<f64>,
    ) -> Result<Tensor, SampleError> {
        let Self { measurement, keys, .. } = self;
        let schedule = Schedule::karras();
        let walk = |solver: Solver, estimator: &dyn Estimator| {
            let sigmas = schedule.sigmas(solver.steps(calls)?)?;
            solver.sample(estimator, &sigmas, keys, self.shape, Device::Cpu)
        };
        let eps = Eps { denoiser: oracle, measurement };
        let contender = match method {
            Method::EpsHeun => return walk(Solver::Heun, &eps),
            Method::EpsEuler => return walk(Solver::Euler, &eps),
            Method::ZeroShot => {
                return walk(Solver::Euler, &ZeroShot { denoiser: oracle, measurement });
            }
            Method::Contender(contender) => contender,
        };
        let sigma_max = schedule.sigma_max();
        let annealing = Schedule::annealing(sigma_max);
        let run = Run { calls, constant: constant.unwrap_or(f64::NAN), annealing };
        let noise = keys.on(self.shape, Device::Cpu);
        contender.sample(oracle, measurement, run, &noise, &mut ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::oracle::judge::Judge;
    use crate::experiment::oracle::setting::{Law, Purpose, Space};

    #[test]
    fn every_method_makes_the_calls_that_it_says() {
        for (space, task) in [(Space::Plane, None), (Space::Four, Some(eps_math::Task::MotionBlur))]
        {
            let setting = Setting { space, law: Law::Mixture, task, sigma_y: 0.2 };
            let posed = setting.draw(Purpose::Test, 0, 0).unwrap();
            let question = Question::new(&posed, 3).unwrap();
            for method in Method::ALL {
                let constant = method.tuned(&setting).map(|tuned| tuned.grid[2]);
                for calls in [1, 10] {
                    let drawn = question.draw(method, calls, constant).unwrap();
                    assert_eq!(drawn.nfe, method.nfe(calls), "{method:?} {calls}");
                    let samples = drawn.samples.unwrap();
                    assert_eq!(samples.len(), 3 * posed.prior.dimension());
                    let again = question.draw(method, calls, constant).unwrap();
                    assert_eq!(again.samples.as_ref(), Some(&samples), "{method:?} {calls}");
                }
            }
        }
        assert_eq!([1, 2, 20, 1000].map(|calls| Method::EpsHeun.nfe(calls)), [1, 1, 19, 999]);
        let daps = Method::Contender(Contender::Daps);
        assert_eq!([1, 5, 14].map(|calls| daps.nfe(calls)), [5, 5, 10]);
    }

    #[test]
    fn names_are_those_in_files() {
        for method in Method::ALL {
            let value = serde_json::to_value(method).unwrap();
            assert_eq!(value, method.name());
            assert_eq!(serde_json::from_value::<Method>(value).unwrap(), method);
        }
    }

    #[test]
    fn eps_reaches_the_posterior() {
        let setting = Setting { space: Space::Plane, law: Law::Mixture, task: None, sigma_y: 0.2 };
        let posed = setting.draw(Purpose::Test, 0, 0).unwrap();
        let judge = Judge::new(&posed).unwrap();
        let question = Question::new(&posed, 1000).unwrap();
        let exact = posed.exact_samples(1000, 0);
        let floor = judge.sliced_w2(&posed.exact_samples(1000, 1), &exact).unwrap();
        let at = |calls| {
            let drawn = question.draw(Method::EpsHeun, calls, None).unwrap();
            judge.sliced_w2(&drawn.samples.unwrap(), &exact).unwrap()
        };
        // Two exact sets differ by a chance distance; three times that is far beyond its spread.
        assert!(at(101) < 3.0 * floor, "{} {floor}", at(101));
        assert!(at(5) > at(101));
    }

    #[test]
    fn a_chain_that_leaves_the_finite_numbers_gives_no_samples() {
        let setting = Setting { space: Space::Plane, law: Law::Mixture, task: None, sigma_y: 0.05 };
        let posed = setting.draw(Purpose::Test, 0, 0).unwrap();
        let question = Question::new(&posed, 2).unwrap();
        assert!(
            question
                .draw(Method::Contender(Contender::Daps), 10, Some(1e9))
                .unwrap()
                .samples
                .is_none()
        );
    }
}

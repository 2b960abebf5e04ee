//! The methods of the tournament, each asked with the exact denoiser of the prior.

use eps_math::operator::LinearMap as _;
use eps_math::{Schedule, Shape, Task};
use eps_model::{Measurement, Oracle, TensorOperator, batch};
use eps_results::Contender;
use eps_results::tournament::{TournamentMethod, TournamentSetting};
use eps_sample::{CountNfe, Eps, Estimator, NoiseKeys, Sample as _, SampleError, Solver, ZeroShot};
use tch::{Device, Tensor};

use super::posed::Posed;
use crate::error::Result;
use eps::contender::{self, Steps, nearest_calls};

/// A constant that is chosen for every setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TunedConstant {
    /// Its name in the method's documentation.
    pub(crate) symbol: &'static str,
    /// The values that are tried, ascending.
    pub(crate) grid: &'static [f64],
    /// The most calls at which it is chosen; more calls take the constant of these.
    pub(crate) up_to: usize,
}

/// The constant that is chosen for a setting, if the method has one there.
pub(crate) fn tuned(
    method: TournamentMethod,
    setting: &TournamentSetting,
) -> Option<TunedConstant> {
    let blurs = matches!(setting.task, Some(Task::GaussianBlur | Task::MotionBlur));
    const LENGTHS: &[f64] = &[3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
    const STEPS: &[f64] = &[1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3];
    const SHARES: &[f64] = &[0.0, 0.25, 0.5, 0.7, 0.85, 0.925, 1.0];
    const WEIGHTS: &[f64] = &[0.1, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 10.0];
    let any = usize::MAX;
    let TournamentMethod::Contender(contender) = method else {
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
    Some(TunedConstant { symbol, grid, up_to })
}

/// The denoiser evaluations of a run that is asked for `calls` ≥ 1 of them: an odd number, one
/// less where `calls` is even, for Heun's method, and full annealing levels for DAPS.
pub(crate) fn nfe(method: TournamentMethod, calls: usize) -> usize {
    match method {
        TournamentMethod::EpsHeun => 2 * calls.div_ceil(2) - 1,
        TournamentMethod::EpsEuler
        | TournamentMethod::EpsMultistep
        | TournamentMethod::ZeroShot => calls,
        TournamentMethod::Contender(contender) => nearest_calls(contender, calls),
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

    /// Draws the samples of a method; `constant` is that of [`tuned`] where there is one.
    ///
    /// # Errors
    /// Those of the samplers, except that a state which leaves the finite numbers gives no samples.
    pub(crate) fn draw(
        &self,
        method: TournamentMethod,
        calls: usize,
        constant: Option<f64>,
    ) -> Result<Drawn> {
        let _guard = tch::no_grad_guard();
        let counted = CountNfe::new(Oracle::new(&self.posed.prior));
        let samples = match self.run(&counted, method, nfe(method, calls), constant) {
            Ok(samples) => Some(Vec::try_from(samples.flatten(0, -1))?),
            Err(SampleError::Diverged { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Drawn { samples, nfe: counted.nfe() })
    }

    fn run(
        &self,
        oracle: &CountNfe<Oracle<'_>>,
        method: TournamentMethod,
        calls: usize,
        constant: Option<f64>,
    ) -> Result<Tensor, SampleError> {
        let Self { measurement, keys, .. } = self;
        let schedule = Schedule::karras();
        let walk = |solver: Solver, estimator: &dyn Estimator| {
            let sigmas = solver.schedule(schedule).sigmas(solver.steps(calls)?)?;
            solver.sample(estimator, &sigmas, keys, self.shape, Device::Cpu)
        };
        let eps = Eps { denoiser: oracle, measurement };
        let contender = match method {
            TournamentMethod::EpsHeun => return walk(Solver::Heun, &eps),
            TournamentMethod::EpsEuler => return walk(Solver::Euler, &eps),
            TournamentMethod::EpsMultistep => return walk(Solver::MULTISTEP, &eps),
            TournamentMethod::ZeroShot => {
                return walk(Solver::Euler, &ZeroShot { denoiser: oracle, measurement });
            }
            TournamentMethod::Contender(contender) => contender,
        };
        let sigma_max = schedule.sigma_max();
        let annealing = Schedule::annealing(sigma_max);
        let constant = constant.unwrap_or(f64::NAN);
        let steps = Steps { calls, constant, annealing, lowest: 0.0, highest: f64::INFINITY };
        let noise = keys.on(self.shape, Device::Cpu);
        contender::sample(contender, oracle, measurement, steps, &noise, &mut ())
    }
}

#[cfg(test)]
mod tests {
    use eps_results::tournament::{PriorLaw, Space};

    use super::*;
    use crate::tournament::judge::Judge;
    use crate::tournament::posed::{Purpose, draw};

    #[test]
    fn every_method_makes_the_calls_that_it_says() {
        for (space, task) in [(Space::Plane, None), (Space::Four, Some(eps_math::Task::MotionBlur))]
        {
            let setting = TournamentSetting {
                space,
                law: PriorLaw::Mixture,
                task,
                sigma_y: 0.2,
                border: None,
            };
            let posed = draw(&setting, Purpose::Test, 0, 0).unwrap();
            let question = Question::new(&posed, 3).unwrap();
            for method in TournamentMethod::ALL {
                let constant = tuned(method, &setting).map(|tuned| tuned.grid[2]);
                for calls in [1, 10] {
                    let drawn = question.draw(method, calls, constant).unwrap();
                    assert_eq!(drawn.nfe, nfe(method, calls), "{method:?} {calls}");
                    let samples = drawn.samples.unwrap();
                    assert_eq!(samples.len(), 3 * posed.prior.dimension());
                    let again = question.draw(method, calls, constant).unwrap();
                    assert_eq!(again.samples.as_ref(), Some(&samples), "{method:?} {calls}");
                }
            }
        }
        assert_eq!(
            [1, 2, 20, 1000].map(|calls| nfe(TournamentMethod::EpsHeun, calls)),
            [1, 1, 19, 999]
        );
        let daps = TournamentMethod::Contender(Contender::Daps);
        assert_eq!([1, 5, 14].map(|calls| nfe(daps, calls)), [5, 5, 10]);
    }

    /// Without an eigenbasis the pivot is iterated, and EPS ends where it ends with one.
    #[test]
    fn eps_reaches_the_posterior_without_an_eigenbasis() {
        let setting = TournamentSetting {
            space: Space::Four,
            law: PriorLaw::Mixture,
            task: Some(eps_math::Task::MotionBlur),
            sigma_y: 0.2,
            border: Some(eps_math::operator::Border::Reflect),
        };
        let posed = draw(&setting, Purpose::Test, 0, 0).unwrap();
        assert!(posed.operator.map().as_spectral().is_none());
        let judge = Judge::new(&posed).unwrap();
        let question = Question::new(&posed, 300).unwrap();
        let exact = posed.exact_samples(300, 0);
        let floor = judge.sliced_w2(&posed.exact_samples(300, 1), &exact).unwrap();
        let drawn = question.draw(TournamentMethod::EpsHeun, 41, None).unwrap();
        let distance = judge.sliced_w2(&drawn.samples.unwrap(), &exact).unwrap();
        // As for operators with one.
        assert!(distance < 3.0 * floor, "{distance} {floor}");
    }

    #[test]
    fn eps_reaches_the_posterior() {
        let setting = TournamentSetting {
            space: Space::Plane,
            law: PriorLaw::Mixture,
            task: None,
            sigma_y: 0.2,
            border: None,
        };
        let posed = draw(&setting, Purpose::Test, 0, 0).unwrap();
        let judge = Judge::new(&posed).unwrap();
        let question = Question::new(&posed, 1000).unwrap();
        let exact = posed.exact_samples(1000, 0);
        let floor = judge.sliced_w2(&posed.exact_samples(1000, 1), &exact).unwrap();
        let at = |method, calls| {
            let drawn = question.draw(method, calls, None).unwrap();
            judge.sliced_w2(&drawn.samples.unwrap(), &exact).unwrap()
        };
        // Two exact sets differ by a chance distance; three times that is far beyond its spread.
        let heun = |calls| at(TournamentMethod::EpsHeun, calls);
        assert!(heun(101) < 3.0 * floor, "{} {floor}", heun(101));
        assert!(heun(5) > heun(101));
        // One call a step and an order more than Euler's.
        let multistep = at(TournamentMethod::EpsMultistep, 20);
        assert!(multistep < 3.0 * floor, "{multistep} {floor}");
    }

    #[test]
    fn a_chain_that_leaves_the_finite_numbers_gives_no_samples() {
        let setting = TournamentSetting {
            space: Space::Plane,
            law: PriorLaw::Mixture,
            task: None,
            sigma_y: 0.05,
            border: None,
        };
        let posed = draw(&setting, Purpose::Test, 0, 0).unwrap();
        let question = Question::new(&posed, 2).unwrap();
        assert!(
            question
                .draw(TournamentMethod::Contender(Contender::Daps), 10, Some(1e9))
                .unwrap()
                .samples
                .is_none()
        );
    }
}

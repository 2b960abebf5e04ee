//! The contenders of EPS on a frozen prior: their usual number of network calls, their grid, and the one constant of each
//! that is tuned.

use eps_math::operator::{LinearMap as _, OperatorKind, PreparedOperator};
use eps_math::{Schedule, Task};
use eps_model::{Denoiser, Measurement};
pub use eps_results::Contender;
use eps_sample::contenders::daps::{Daps, published_levels};
use eps_sample::contenders::ddnm::Ddnm;
use eps_sample::contenders::ddrm::Ddrm;
use eps_sample::contenders::dps::{Dps, Form};
use eps_sample::contenders::mpgd::Mpgd;
use eps_sample::contenders::pigdm::{PiGdm, PiGdmPublished};
use eps_sample::contenders::{self, ContenderStep};
use eps_sample::{BatchNoise, Observer, Prior, SampleError};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// What is tuned of a contender, and around which value.
#[derive(Debug, Clone, PartialEq)]
pub struct Tunable {
    /// The constant's name.
    pub symbol: &'static str,
    /// The value of the paper or code.
    pub start: f64,
    /// The values that are tried, ascending; the start is among them.
    pub grid: Vec<f64>,
    /// Whether it may be 0.
    pub admits_zero: bool,
    /// The largest value that it may have; ∞ for any.
    pub most: f64,
}

impl Tunable {
    /// The length of a step, tried on a geometric grid.
    fn length(symbol: &'static str, start: f64) -> Self {
        let grid = [0.03, 0.1, 0.3, 1.0, 3.0].map(|factor| factor * start).to_vec();
        Self { symbol, start, grid, admits_zero: false, most: f64::INFINITY }
    }

    /// η, the share of fresh noise.
    fn eta(start: f64) -> Self {
        let grid = vec![0.0, 0.5, 0.85, 1.0];
        Self { symbol: "η", start, grid, admits_zero: true, most: 1.0 }
    }

    /// ε, the noise that a filter lets through.
    fn filter(start: f64) -> Self {
        let grid = vec![1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0];
        Self { symbol: "ε", start, grid, admits_zero: true, most: f64::INFINITY }
    }

    /// Whether the constant may have a value.
    #[must_use]
    pub fn admits(&self, value: f64) -> bool {
        (value > 0.0 || self.admits_zero && value == 0.0) && value <= self.most && value.is_finite()
    }

    /// The values that it may have, in words.
    #[must_use]
    pub fn range(&self) -> &'static str {
        match (self.admits_zero, self.most.is_finite()) {
            (true, true) => "from 0 to 1",
            (true, false) => "0 or above",
            (false, _) => "above 0",
        }
    }
}

/// A contender with its constant, as a user asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contending {
    /// The method.
    pub contender: Contender,
    /// Its constant, [`tunable`].
    pub constant: f64,
}

/// The task whose published constants are nearest to an operator.
pub fn nearest_task(operator: &PreparedOperator) -> Task {
    match operator.kind() {
        OperatorKind::Means => Task::SuperResolution,
        OperatorKind::Blurs if is_round(operator) => Task::GaussianBlur,
        OperatorKind::Blurs => Task::MotionBlur,
        OperatorKind::Pixels | OperatorKind::Others => Task::RandomInpainting,
    }
}

/// Whether a blur spreads the pixel in the middle of an image about equally in all directions: where it spreads least, by half of the
/// standard deviation of where it spreads most, or more. That of straight motion is 0.4 at most, that of a Gaussian or of a disc 1.
fn is_round(operator: &PreparedOperator) -> bool {
    let (domain, range) = (operator.domain(), operator.range());
    let mut point = vec![0.0; domain.len()];
    let middle = domain.height / 2 * domain.width + domain.width / 2;
    point.chunks_exact_mut(domain.plane()).for_each(|plane| plane[middle] = 1.0);
    let spread = operator.apply(&point);
    // Σ w (1, y, x, y², x², x y) of weights w = |A δ|.
    let mut sums = [0.0; 6];
    for (at, value) in spread.iter().enumerate() {
        let pixel = at % range.plane();
        let (y, x) = ((pixel / range.width) as f64, (pixel % range.width) as f64);
        for (sum, of) in sums.iter_mut().zip([1.0, y, x, y * y, x * x, x * y]) {
            *sum += of * value.abs();
        }
    }
    let [weight, y, x, yy, xx, xy] = sums;
    let [y, x, yy, xx, xy] = [y, x, yy, xx, xy].map(|sum| sum / weight);
    let (trace, determinant) =
        (yy - y * y + xx - x * x, (yy - y * y) * (xx - x * x) - (xy - x * y).powi(2));
    let root = (trace * trace / 4.0 - determinant).max(0.0).sqrt();
    4.0 * (trace / 2.0 - root) >= trace / 2.0 + root
}

/// Calls of the prior's flow at every annealing level of DAPS.
const DAPS_FLOW: usize = 5;

/// How a contender is run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// Network calls a sample.
    pub calls: usize,
    /// The constant that is tuned.
    pub constant: f64,
    /// The annealing levels of DAPS; the others walk EDM's schedule.
    pub annealing: Schedule,
    /// The lowest noise level that the prior knows, where walks end; 0 for all.
    pub lowest: f64,
    /// The highest, where walks begin that would begin above; ∞ for all.
    pub highest: f64,
}

impl Steps {
    /// The noise levels that a contender walks.
    ///
    /// # Errors
    /// Those of [`Schedule::sigmas`].
    pub fn sigmas(&self, contender: Contender) -> Result<Vec<f64>, SampleError> {
        let &Self { calls, annealing, lowest, highest, .. } = self;
        let schedule = first_schedule(contender, annealing).within(lowest, highest);
        let levels = calls.div_ceil(DAPS_FLOW);
        Ok(match contender {
            Contender::Daps | Contender::DapsExact => schedule.sigmas(levels)?,
            Contender::DapsPublished => published_levels(levels, schedule.sigma_max())?,
            _ => schedule.sigmas(calls)?,
        })
    }
}

/// The levels of a method on a prior that knows all: DAPS's `annealing`, EDM's schedule for the others. Published DAPS begins at
/// 100, where the networks here know nothing.
fn first_schedule(contender: Contender, annealing: Schedule) -> Schedule {
    match contender {
        Contender::Daps | Contender::DapsExact => annealing,
        _ => Schedule::karras(),
    }
}

/// What is said of a method that would begin above the highest noise level of a network.
pub fn beginning_note(contender: Contender, annealing: Schedule, highest: f64) -> Option<String> {
    let usual = first_schedule(contender, annealing).sigma_max();
    (usual > highest).then(|| {
        format!(
            "{} begins at sigma {usual}, and the network knows noise up to {highest:.4}: the walk begins there",
            contender.label()
        )
    })
}

/// Network calls a sample: those of arXiv 2606.17048, or of the published configuration.
pub fn usual_calls(contender: Contender) -> usize {
    match contender {
        Contender::Dps => 250,
        Contender::DpsPublished | Contender::DapsPublished => 1000,
        Contender::Ddrm => 20,
        _ => 100,
    }
}

/// The number of network calls at most `calls` that the method can make: DAPS makes five a level.
pub fn nearest_calls(contender: Contender, calls: usize) -> usize {
    match contender {
        Contender::Daps | Contender::DapsPublished | Contender::DapsExact => {
            (calls / DAPS_FLOW).max(1) * DAPS_FLOW
        }
        _ => calls,
    }
}

/// Whether every network call is followed by a backward pass.
pub fn differentiates(contender: Contender) -> bool {
    matches!(
        contender,
        Contender::Dps | Contender::DpsPublished | Contender::Pigdm | Contender::PigdmPublished
    )
}

/// The constant that is tuned for a task, with its starting value: Table 12 of arXiv 2606.17048,
/// or the published code.
pub fn tunable(contender: Contender, task: Task) -> Tunable {
    use Task::{
        BoxInpainting, ExtremeInpainting, ExtremeSuperResolution, GaussianBlur, MotionBlur,
        RandomInpainting, SuperResolution,
    };
    match contender {
        Contender::Dps => Tunable::length(
            "ζ",
            match task {
                RandomInpainting | ExtremeInpainting => 5.0,
                BoxInpainting | SuperResolution | ExtremeSuperResolution => 10.0,
                GaussianBlur => 1.5,
                MotionBlur => 2.5,
            },
        ),
        Contender::DpsPublished => Tunable::length(
            "ζ",
            match task {
                RandomInpainting | BoxInpainting | ExtremeInpainting => 0.5,
                SuperResolution | ExtremeSuperResolution | GaussianBlur | MotionBlur => 0.3,
            },
        ),
        Contender::Daps => Tunable::length(
            "h",
            match task {
                RandomInpainting | BoxInpainting | ExtremeInpainting | MotionBlur => 5e-4,
                SuperResolution | ExtremeSuperResolution | GaussianBlur => 9e-4,
            },
        ),
        Contender::DapsPublished => Tunable::length(
            "h",
            match task {
                BoxInpainting | MotionBlur => 5e-5,
                RandomInpainting
                | ExtremeInpainting
                | SuperResolution
                | ExtremeSuperResolution
                | GaussianBlur => 1e-4,
            },
        ),
        Contender::DapsExact => Tunable::length("τ/σ_y", 1.0),
        Contender::Mpgd => Tunable::length(
            "c",
            match task {
                RandomInpainting | ExtremeInpainting => 20.0,
                BoxInpainting => 15.0,
                SuperResolution | ExtremeSuperResolution => 30.0,
                GaussianBlur => 5.0,
                MotionBlur => 9.0,
            },
        ),
        Contender::MpgdPublished => {
            Tunable::length("c", if task == GaussianBlur { 10.0 } else { 4.0 })
        }
        Contender::Pigdm => Tunable::length("ζ", 1.0),
        Contender::PigdmPublished => Tunable::eta(1.0),
        // The noise that its filter lets through decides on blurs.
        Contender::Ddnm if matches!(task, GaussianBlur | MotionBlur) => Tunable::filter(1e-3),
        Contender::Ddnm | Contender::DdnmPublished | Contender::Ddrm => Tunable::eta(0.85),
    }
}

/// Draws one sample for every key of the noise.
///
/// # Shapes
/// `[B, C, H, W]` in f64
///
/// # Errors
/// Those of the method.
pub fn sample(
    contender: Contender,
    denoiser: &dyn Denoiser,
    measurement: &Measurement,
    steps: Steps,
    noise: &BatchNoise,
    observer: &mut dyn Observer,
) -> Result<Tensor, SampleError> {
    let sigmas = steps.sigmas(contender)?;
    let step = step(contender, steps.constant, steps.lowest, measurement);
    let prior = Prior { denoiser };
    contenders::sample(&*step, &prior, measurement, &sigmas, noise, observer)?.finished()
}

/// A method with its constants for a measurement.
fn step(
    contender: Contender,
    constant: f64,
    lowest: f64,
    measurement: &Measurement,
) -> Box<dyn ContenderStep> {
    let flow_to = |daps: Daps| Daps { ode_sigma_min: daps.ode_sigma_min.max(lowest), ..daps };
    match contender {
        Contender::Dps => Box::new(Dps { scale: constant, form: Form::Euler }),
        Contender::DpsPublished => Box::new(Dps { scale: constant, form: Form::Ancestral }),
        Contender::Daps => Box::new(flow_to(Daps::langevin(constant))),
        Contender::DapsPublished => {
            Box::new(flow_to(Daps::published(constant, measurement.sigma_y())))
        }
        Contender::DapsExact => {
            Box::new(flow_to(Daps { tau_over_sigma_y: constant, ..Daps::exact() }))
        }
        // A† of a blur divides by what is next to nothing.
        Contender::Ddnm => {
            Box::new(match measurement.operator().operators().first().map(|map| map.kind()) {
                Some(OperatorKind::Blurs) => Ddnm { eta: 0.85, regularisation: constant },
                _ => Ddnm { eta: constant, regularisation: 0.0 },
            })
        }
        Contender::DdnmPublished | Contender::Ddrm => Box::new(Ddrm { eta: constant, eta_b: 1.0 }),
        Contender::Pigdm => Box::new(PiGdm { scale: constant, eta: 1.0 }),
        Contender::PigdmPublished => Box::new(PiGdmPublished { eta: constant }),
        Contender::Mpgd => Box::new(Mpgd { scale: constant, eta: 0.85 }),
        Contender::MpgdPublished => Box::new(Mpgd { scale: constant, eta: 0.5 }),
    }
}

/// The annealing levels of DAPS for a task: Table 12 of arXiv 2606.17048, which names the 0.1 where it
/// begins at 30; elsewhere the code's 0.1 is taken, as the flow inside a level ends at 0.01.
pub fn annealing(task: Task) -> Schedule {
    let sigma_max = match task {
        Task::SuperResolution | Task::ExtremeSuperResolution | Task::GaussianBlur => 30.0,
        Task::RandomInpainting
        | Task::BoxInpainting
        | Task::ExtremeInpainting
        | Task::MotionBlur => 80.0,
    };
    Schedule::annealing(sigma_max)
}

#[cfg(test)]
mod tests {
    use eps_math::Shape;
    use eps_math::operator::OperatorSpec;
    use serde_json::json;

    use super::*;

    #[test]
    fn blurs_are_near_to_the_task_that_spreads_as_they_do() {
        let shape = Shape::new(3, 48, 40).unwrap();
        for (kernel, task) in [
            (json!({"gaussian": {"sigma": 3.0}}), Task::GaussianBlur),
            (json!({"disc": {"radius": 3.5}}), Task::GaussianBlur),
            (json!({"gaussian": {"sigma": 3.0, "across": 1.0}}), Task::MotionBlur),
            (json!({"motion": {"length": 3, "angle_degrees": 30.0}}), Task::MotionBlur),
            (json!({"motion": {"length": 15, "angle_degrees": 0.0}}), Task::MotionBlur),
        ] {
            for border in ["circular", "valid"] {
                let spec = json!({"operator": "convolution", "kernel": kernel, "border": border});
                let spec: OperatorSpec = serde_json::from_value(spec).unwrap();
                assert_eq!(nearest_task(&spec.prepare(shape).unwrap()), task, "{kernel} {border}");
            }
        }
    }
}

//! The contenders of EPS on a frozen prior, as the experiments run them: their usual number of
//! network calls, their grid, and the one constant of each that is tuned.

use anyhow::Result;
use clap::ValueEnum;
use eps_math::operator::Operator;
use eps_math::{Schedule, Task};
use eps_model::{Denoiser, Measurement};
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

/// A training-free method. Without a suffix it is the form of arXiv 2606.17048, Section 7; with
/// `-published` that of its own paper or code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// DPS on EDM's Euler steps
    Dps,
    /// DPS on ancestral steps
    DpsPublished,
    /// DAPS with its Langevin chain
    Daps,
    /// DAPS with the levels and the likelihood of its own code
    DapsPublished,
    /// DAPS with the exact draw in place of the Langevin chain
    DapsExact,
    /// DDNM
    Ddnm,
    /// DDNM+ in its SVD form
    DdnmPublished,
    /// ΠGDM as a score on DDIM(1)
    Pigdm,
    /// ΠGDM with the guidance added to the step
    PigdmPublished,
    /// MPGD
    Mpgd,
    /// MPGD with the η of its own paper
    MpgdPublished,
    /// DDRM
    Ddrm,
}

/// What is tuned of a contender, and around which value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tunable {
    /// The constant's name.
    pub(crate) symbol: &'static str,
    /// The value of the paper or code.
    pub(crate) start: f64,
    /// The values that are tried, ascending; the start is among them.
    pub(crate) grid: Vec<f64>,
}

impl Tunable {
    /// The length of a step, tried on a geometric grid.
    fn length(symbol: &'static str, start: f64) -> Self {
        let grid = [0.03, 0.1, 0.3, 1.0, 3.0].map(|factor| factor * start).to_vec();
        Self { symbol, start, grid }
    }

    /// η, the share of fresh noise.
    fn eta(start: f64) -> Self {
        Self { symbol: "η", start, grid: vec![0.0, 0.5, 0.85, 1.0] }
    }
}

/// Calls of the prior's flow at every annealing level of DAPS.
const DAPS_FLOW: usize = 5;

/// How a contender is run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Run {
    /// Network calls a sample.
    pub(crate) calls: usize,
    /// The constant that is tuned.
    pub(crate) constant: f64,
    /// The annealing levels of DAPS; the others walk EDM's schedule.
    pub(crate) annealing: Schedule,
}

impl Contender {
    /// The name in files and flags.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The name in tables.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Dps => "DPS",
            Self::DpsPublished => "DPS, published",
            Self::Daps => "DAPS",
            Self::DapsPublished => "DAPS, published",
            Self::DapsExact => "DAPS, exact draw",
            Self::Ddnm => "DDNM",
            Self::DdnmPublished => "DDNM+, published",
            Self::Pigdm => "ΠGDM",
            Self::PigdmPublished => "ΠGDM, published",
            Self::Mpgd => "MPGD",
            Self::MpgdPublished => "MPGD, published",
            Self::Ddrm => "DDRM",
        }
    }

    /// Network calls a sample: those of arXiv 2606.17048, or of the published configuration.
    pub(crate) fn calls(self) -> usize {
        match self {
            Self::Dps => 250,
            Self::DpsPublished | Self::DapsPublished => 1000,
            Self::Ddrm => 20,
            _ => 100,
        }
    }

    /// The number of network calls at most `calls` that the method can make: DAPS makes five a level.
    pub(crate) fn nearest_calls(self, calls: usize) -> usize {
        match self {
            Self::Daps | Self::DapsPublished | Self::DapsExact => {
                (calls / DAPS_FLOW).max(1) * DAPS_FLOW
            }
            _ => calls,
        }
    }

    /// Whether every network call is followed by a backward pass.
    pub(crate) fn differentiates(self) -> bool {
        matches!(self, Self::Dps | Self::DpsPublished | Self::Pigdm | Self::PigdmPublished)
    }

    /// The constant that is tuned for a task, with its starting value: Table 12 of arXiv 2606.17048,
    /// or the published code.
    pub(crate) fn tunable(self, task: Task) -> Tunable {
        use Task::{
            BoxInpainting, ExtremeInpainting, ExtremeSuperResolution, GaussianBlur, MotionBlur,
            RandomInpainting, SuperResolution,
        };
        match self {
            Self::Dps => Tunable::length(
                "ζ",
                match task {
                    RandomInpainting | ExtremeInpainting => 5.0,
                    BoxInpainting | SuperResolution | ExtremeSuperResolution => 10.0,
                    GaussianBlur => 1.5,
                    MotionBlur => 2.5,
                },
            ),
            Self::DpsPublished => Tunable::length(
                "ζ",
                match task {
                    RandomInpainting | BoxInpainting | ExtremeInpainting => 0.5,
                    SuperResolution | ExtremeSuperResolution | GaussianBlur | MotionBlur => 0.3,
                },
            ),
            Self::Daps => Tunable::length(
                "h",
                match task {
                    RandomInpainting | BoxInpainting | ExtremeInpainting | MotionBlur => 5e-4,
                    SuperResolution | ExtremeSuperResolution | GaussianBlur => 9e-4,
                },
            ),
            Self::DapsPublished => Tunable::length(
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
            Self::DapsExact => Tunable::length("τ/σ_y", 1.0),
            Self::Mpgd => Tunable::length(
                "c",
                match task {
                    RandomInpainting | ExtremeInpainting => 20.0,
                    BoxInpainting => 15.0,
                    SuperResolution | ExtremeSuperResolution => 30.0,
                    GaussianBlur => 5.0,
                    MotionBlur => 9.0,
                },
            ),
            Self::MpgdPublished => {
                Tunable::length("c", if task == GaussianBlur { 10.0 } else { 4.0 })
            }
            Self::Pigdm => Tunable::length("ζ", 1.0),
            Self::PigdmPublished => Tunable::eta(1.0),
            // The noise that its filter lets through decides on blurs.
            Self::Ddnm if matches!(task, GaussianBlur | MotionBlur) => {
                Tunable { symbol: "ε", start: 1e-3, grid: vec![1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0] }
            }
            Self::Ddnm | Self::DdnmPublished | Self::Ddrm => Tunable::eta(0.85),
        }
    }

    /// Draws one sample for every key of the noise.
    ///
    /// # Shapes
    /// `[B, C, H, W]` in f64
    ///
    /// # Errors
    /// Those of the method.
    pub(crate) fn sample(
        self,
        denoiser: &dyn Denoiser,
        measurement: &Measurement,
        Run { calls, constant, annealing }: Run,
        noise: &BatchNoise,
        observer: &mut dyn Observer,
    ) -> Result<Tensor, SampleError> {
        let schedule = Schedule::karras();
        let sigmas = match self {
            Self::Daps | Self::DapsExact => annealing.sigmas(calls.div_ceil(DAPS_FLOW))?,
            // There they begin at 100, where the networks here know nothing.
            Self::DapsPublished => {
                published_levels(calls.div_ceil(DAPS_FLOW), schedule.sigma_max())?
            }
            _ => schedule.sigmas(calls)?,
        };
        let step = self.step(constant, measurement);
        let prior = Prior { denoiser };
        contenders::sample(&*step, &prior, measurement, &sigmas, noise, observer)?.finished()
    }

    /// The method with its constants for a measurement.
    fn step(self, constant: f64, measurement: &Measurement) -> Box<dyn ContenderStep> {
        match self {
            Self::Dps => Box::new(Dps { scale: constant, form: Form::Euler }),
            Self::DpsPublished => Box::new(Dps { scale: constant, form: Form::Ancestral }),
            Self::Daps => Box::new(Daps::langevin(constant)),
            Self::DapsPublished => Box::new(Daps::published(constant, measurement.sigma_y())),
            Self::DapsExact => Box::new(Daps { tau_over_sigma_y: constant, ..Daps::exact() }),
            // A† of a blur divides by what is next to nothing.
            Self::Ddnm => Box::new(match measurement.operator().operators().first() {
                Some(Operator::CircularBlur(_)) => Ddnm { eta: 0.85, regularisation: constant },
                _ => Ddnm { eta: constant, regularisation: 0.0 },
            }),
            Self::DdnmPublished | Self::Ddrm => Box::new(Ddrm { eta: constant, eta_b: 1.0 }),
            Self::Pigdm => Box::new(PiGdm { scale: constant, eta: 1.0 }),
            Self::PigdmPublished => Box::new(PiGdmPublished { eta: constant }),
            Self::Mpgd => Box::new(Mpgd { scale: constant, eta: 0.85 }),
            Self::MpgdPublished => Box::new(Mpgd { scale: constant, eta: 0.5 }),
        }
    }
}

/// The annealing levels of DAPS for a task: Table 12 of arXiv 2606.17048, which names the 0.1 where it
/// begins at 30; elsewhere the code's 0.1 is taken, as the flow inside a level ends at 0.01.
pub(crate) fn annealing(task: Task) -> Schedule {
    let sigma_max = match task {
        Task::SuperResolution | Task::ExtremeSuperResolution | Task::GaussianBlur => 30.0,
        Task::RandomInpainting
        | Task::BoxInpainting
        | Task::ExtremeInpainting
        | Task::MotionBlur => 80.0,
    };
    Schedule::annealing(sigma_max)
}

//! The methods of the experiments, by name and label.

use eps_math::Task;
use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::network::{NetworkUse, PRIOR, Scope};
use crate::variant::{Training, Variant};

/// A method of restoration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", from = "Written")]
pub enum Method {
    /// The pseudo-inverse A†y.
    PseudoInverse,
    /// The Wiener filter: the linear MMSE estimate of white images.
    Wiener,
    /// The linear MMSE estimate of a Gaussian prior with the training set's moments.
    LinearMmse,
    /// Samples of the prior, without a measurement: what the bare denoiser costs.
    Unconditional {
        /// Network calls a sample.
        calls: usize,
    },
    /// Exact posterior sampling.
    Eps {
        /// Which network.
        network: Scope,
        /// Network calls a sample.
        calls: usize,
    },
    /// Exact posterior sampling by another solver than the paper's.
    EpsBy {
        /// Which network.
        network: Scope,
        /// Which solver.
        by: OtherSolver,
        /// Network calls a sample.
        calls: usize,
    },
    /// A conditional network asked at the state.
    Palette {
        /// Which network.
        network: Scope,
        /// Network calls a sample.
        calls: usize,
    },
    /// A network of an experiment's own.
    Variant {
        /// Which network.
        variant: Variant,
        /// Network calls a sample.
        calls: usize,
    },
    /// The frozen prior asked at the pivot.
    ZeroShot {
        /// Network calls a sample.
        calls: usize,
    },
    /// A training-free method on the frozen prior.
    Contender {
        /// Which method.
        contender: Contender,
        /// Network calls a sample.
        calls: usize,
    },
}

/// A method as it is written: a variant without braces would let unknown fields pass.
#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
enum Written {
    PseudoInverse {},
    Wiener {},
    LinearMmse {},
    Unconditional { calls: usize },
    Eps { network: Scope, calls: usize },
    EpsBy { network: Scope, by: OtherSolver, calls: usize },
    Palette { network: Scope, calls: usize },
    Variant { variant: Variant, calls: usize },
    ZeroShot { calls: usize },
    Contender { contender: Contender, calls: usize },
}

impl From<Written> for Method {
    fn from(written: Written) -> Self {
        match written {
            Written::PseudoInverse {} => Self::PseudoInverse,
            Written::Wiener {} => Self::Wiener,
            Written::LinearMmse {} => Self::LinearMmse,
            Written::Unconditional { calls } => Self::Unconditional { calls },
            Written::Eps { network, calls } => Self::Eps { network, calls },
            Written::EpsBy { network, by, calls } => Self::EpsBy { network, by, calls },
            Written::Palette { network, calls } => Self::Palette { network, calls },
            Written::Variant { variant, calls } => Self::Variant { variant, calls },
            Written::ZeroShot { calls } => Self::ZeroShot { calls },
            Written::Contender { contender, calls } => Self::Contender { contender, calls },
        }
    }
}

/// A solver beside the paper's deterministic Euler steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtherSolver {
    /// EDM's deterministic solver of second order, an odd number of calls.
    Heun,
    /// DDIM with η = 1: as much fresh noise as a Markov chain can have.
    Ddim,
    /// EDM's stochastic solver of second order, an odd number of calls, with the noise that EDM found best for ImageNet-64.
    Churn,
    /// The multistep solver of second order, on the grid of noise levels for few steps.
    Multistep,
    /// The same with half of its correction, on the usual grid: with ten calls nearly what Euler's method makes of twenty.
    HalfCorrected,
}

impl OtherSolver {
    fn name(self) -> &'static str {
        match self {
            Self::Heun => "heun",
            Self::Ddim => "ddim",
            Self::Churn => "churn",
            Self::Multistep => "multistep",
            Self::HalfCorrected => "half-corrected",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Heun => "Heun's method",
            Self::Ddim => "DDIM, η = 1",
            Self::Churn => "EDM's churn",
            Self::Multistep => "the multistep solver",
            Self::HalfCorrected => "the half-corrected solver",
        }
    }
}

impl Method {
    /// The name in files.
    #[must_use]
    pub fn slug(self) -> String {
        let of = |scope| match scope {
            Scope::PerTask => "",
            Scope::AllTasks => "-all-tasks",
        };
        match self {
            Self::PseudoInverse => "pseudo-inverse".to_owned(),
            Self::Wiener => "wiener".to_owned(),
            Self::LinearMmse => "linear-mmse".to_owned(),
            Self::Unconditional { calls } => format!("unconditional-{calls}"),
            Self::Eps { network, calls } => format!("eps{}-{calls}", of(network)),
            Self::EpsBy { network, by, calls } => {
                format!("eps{}-{}-{calls}", of(network), by.name())
            }
            Self::Palette { network, calls } => format!("palette{}-{calls}", of(network)),
            Self::Variant { variant, calls } => format!("{}-{calls}", variant.name),
            Self::ZeroShot { calls } => format!("zero-shot-{calls}"),
            Self::Contender { contender, calls } => format!("{}-{calls}", contender.name()),
        }
    }

    /// The name by which it is chosen.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::PseudoInverse | Self::Wiener | Self::LinearMmse => self.slug(),
            Self::Unconditional { .. } => "unconditional".to_owned(),
            Self::Eps { .. } => "eps".to_owned(),
            Self::EpsBy { by, .. } => format!("eps-{}", by.name()),
            Self::Palette { .. } => "palette".to_owned(),
            Self::Variant { variant, .. } => variant.name.to_owned(),
            Self::ZeroShot { .. } => "zero-shot".to_owned(),
            Self::Contender { contender, .. } => contender.name().to_owned(),
        }
    }

    /// The name in tables without the number of calls.
    #[must_use]
    pub fn family(self) -> String {
        let of = |name: &str, scope| match scope {
            Scope::PerTask => name.to_owned(),
            Scope::AllTasks => format!("{name} for all tasks"),
        };
        match self {
            Self::PseudoInverse => "A†y".to_owned(),
            Self::Wiener => "Wiener filter".to_owned(),
            Self::LinearMmse => "linear MMSE".to_owned(),
            Self::Unconditional { .. } => "bare denoiser".to_owned(),
            Self::Eps { network, .. } => of("EPS", network),
            Self::EpsBy { network, by, .. } => format!("{} by {}", of("EPS", network), by.label()),
            Self::Palette { network, .. } => of("Palette", network),
            Self::Variant { variant, .. } => variant.label.to_owned(),
            Self::ZeroShot { .. } => "zero-shot EPS".to_owned(),
            Self::Contender { contender, .. } => contender.label().to_owned(),
        }
    }

    /// The name in tables.
    #[must_use]
    pub fn label(self) -> String {
        match self.calls() {
            0 => self.family(),
            1 => format!("{}, 1 call", self.family()),
            calls => format!("{}, {calls} calls", self.family()),
        }
    }

    /// The name in tables of its samples, or of the mean of so many of them.
    #[must_use]
    pub fn label_of(self, mean_of: Option<usize>) -> String {
        match mean_of {
            None => self.label(),
            Some(j) => format!("{}, mean of {j}", self.label()),
        }
    }

    /// Network calls a sample; none for estimates without a network.
    #[must_use]
    pub fn calls(self) -> usize {
        match self {
            Self::PseudoInverse | Self::Wiener | Self::LinearMmse => 0,
            Self::Unconditional { calls }
            | Self::Eps { calls, .. }
            | Self::EpsBy { calls, .. }
            | Self::Palette { calls, .. }
            | Self::Variant { calls, .. }
            | Self::ZeroShot { calls }
            | Self::Contender { calls, .. } => calls,
        }
    }

    /// Where it stands in a curve against training steps, if anywhere.
    #[must_use]
    pub fn training(self) -> Option<Training> {
        match self {
            Self::Variant { variant, .. } => variant.training,
            Self::ZeroShot { .. } => Some(Training { line: Training::EPS, steps: 0 }),
            Self::Unconditional { .. } => Some(Training { line: Training::PALETTE, steps: 0 }),
            _ => None,
        }
    }

    /// The network that restores a task, by name and use; none for estimates without one.
    #[must_use]
    pub fn network(self, task: Task) -> Option<(String, NetworkUse)> {
        match self {
            Self::PseudoInverse | Self::Wiener | Self::LinearMmse => None,
            Self::Eps { network, .. } | Self::EpsBy { network, .. } => {
                Some((network.network(task).to_owned(), NetworkUse::Eps))
            }
            Self::Palette { network, .. } => {
                Some((format!("palette-{}", network.network(task)), NetworkUse::Palette))
            }
            Self::Variant { variant, .. } => Some((variant.network(task), variant.network_use)),
            Self::Unconditional { .. } | Self::ZeroShot { .. } | Self::Contender { .. } => {
                Some((PRIOR.to_owned(), NetworkUse::Prior))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_comes_back_and_unknown_fields_are_refused() {
        let eps = Method::Eps { network: Scope::AllTasks, calls: 20 };
        let by = Method::EpsBy { network: Scope::PerTask, by: OtherSolver::Heun, calls: 99 };
        let multistep =
            Method::EpsBy { network: Scope::AllTasks, by: OtherSolver::Multistep, calls: 8 };
        let contender = Method::Contender { contender: Contender::Ddrm, calls: 20 };
        for (method, slug) in [
            (Method::LinearMmse, "linear-mmse"),
            (eps, "eps-all-tasks-20"),
            (by, "eps-heun-99"),
            (multistep, "eps-all-tasks-multistep-8"),
            (contender, "ddrm-20"),
        ] {
            assert_eq!(method.slug(), slug);
            let text = serde_json::to_string(&method).unwrap();
            assert_eq!(serde_json::from_str::<Method>(&text).unwrap(), method);
            let more = text.replacen('{', r#"{"step":1,"#, 1);
            assert!(serde_json::from_str::<Method>(&more).is_err(), "{more}");
        }
        assert_eq!(eps.label_of(Some(3)), "EPS for all tasks, 20 calls, mean of 3");
    }
}

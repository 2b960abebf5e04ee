//! The experiments that train networks of their own: what differs between these.
//!
//! Their training configurations are `data/experiments/NAME.json`; `cargo xtask reproduce --experiment
//! EXPERIMENT` trains what is missing, on all five tasks or, where the name says so, on one. A network
//! that several experiments need is one file.

use eps_math::Task;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::network::NetworkUse;

/// A network of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// The name of its file; `TASK` in it stands for the task.
    pub name: &'static str,
    /// The name in tables.
    pub label: &'static str,
    /// How it is asked.
    pub network_use: NetworkUse,
    /// Whether it is sampled along the velocity of a rectified flow, instead of EDM's ODE.
    pub flow: bool,
    /// Where it stands in a curve against training steps.
    #[serde(skip)]
    pub training: Option<Training>,
}

/// A point of a curve against training steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Training {
    /// The name of the curve: what is trained, and from where.
    pub line: &'static str,
    /// Steps from there.
    pub steps: usize,
}

impl Training {
    /// The pivot, from the prior; without a step the frozen prior asked there.
    pub const EPS: &'static str = "EPS from the prior";
    /// The state beside y, from the prior; without a step the prior's own samples.
    pub const PALETTE: &'static str = "Palette from the prior";
}

const fn eps(name: &'static str, label: &'static str) -> Variant {
    Variant { name, label, network_use: NetworkUse::Eps, flow: false, training: None }
}

const fn palette(name: &'static str, label: &'static str) -> Variant {
    Variant { name, label, network_use: NetworkUse::Palette, flow: false, training: None }
}

const fn after(line: &'static str, steps: usize, variant: Variant) -> Variant {
    Variant { training: Some(Training { line, steps }), ..variant }
}

/// What the network reads, and how its input and output are scaled.
pub(crate) const INPUTS: [Variant; 12] = [
    palette("state-y", "[x_t, y]"),
    eps("pivot-scalar", "[μ⋆], scalar"),
    eps("pivot-noise-scalar", "[μ⋆, Σ⋆], scalar"),
    eps("pivot-y-scalar", "[μ⋆, y], scalar"),
    eps("pivot-noise-y-scalar", "[μ⋆, Σ⋆, y], scalar"),
    eps("pivot-spectral", "[μ⋆], spectral"),
    eps("pivot-noise-spectral", "[μ⋆, Σ⋆], spectral"),
    eps("pivot-y-spectral", "[μ⋆, y], spectral"),
    eps("pivot-noise-y-spectral", "[μ⋆, Σ⋆, y], spectral"),
    eps("pivot-noise-y-guarded", "[μ⋆, Σ⋆, y], guarded"),
    eps("short-guarded", "the same, 600 steps after a prior of 800"),
    eps("short-wiener", "[μ⋆, Σ⋆, y], Wiener, as short, from such a prior"),
];

/// The law of σ_t in training, and the weight of the levels that it draws.
pub(crate) const NOISE_LAW: [Variant; 5] = [
    eps("law-edm", "ln σ ~ N(−1.2, 1.2²), EDM's"),
    eps("law-wide", "ln σ ~ N(−0.6, 1.6²)"),
    eps("law-tail-25", "the same, 25 % log-uniform on [1, 80]"),
    eps("pivot-noise-y-guarded", "the same, 60 % log-uniform on [1, 80]"),
    eps("law-balanced", "the same 60 %, loss balanced over levels and tasks"),
];

/// One network for all tasks against one for each.
pub(crate) const AMORTIZED: [Variant; 4] = [
    eps("single-TASK-share", "one for each task, a fifth of the steps"),
    eps("single-TASK", "one for each task, as the paper: 450 steps each"),
    eps("pivot-noise-y-guarded", "one for all tasks"),
    eps("law-balanced", "one for all tasks, loss balanced over levels and tasks"),
];

/// EPS from random weights.
const EPS_SCRATCH: &str = "EPS from scratch";

/// Palette from random weights.
const PALETTE_SCRATCH: &str = "Palette from scratch";

/// The start and the number of training steps; EPS reads [μ⋆, y], scaled as Palette's [x_t, y].
pub(crate) const WARM_START: [Variant; 12] = [
    after(Training::EPS, 100, eps("eps-prior-100", "EPS from the prior, 100 steps")),
    after(Training::EPS, 400, eps("eps-prior-400", "EPS from the prior, 400 steps")),
    after(Training::EPS, 1000, eps("pivot-y-scalar", "EPS from the prior, 1,000 steps")),
    after(EPS_SCRATCH, 100, eps("eps-scratch-100", "EPS from scratch, 100 steps")),
    after(EPS_SCRATCH, 400, eps("eps-scratch-400", "EPS from scratch, 400 steps")),
    after(EPS_SCRATCH, 1000, eps("eps-scratch-1000", "EPS from scratch, 1,000 steps")),
    after(
        Training::PALETTE,
        100,
        palette("palette-prior-100", "Palette from the prior, 100 steps"),
    ),
    after(
        Training::PALETTE,
        400,
        palette("palette-prior-400", "Palette from the prior, 400 steps"),
    ),
    after(Training::PALETTE, 1000, palette("state-y", "Palette from the prior, 1,000 steps")),
    after(PALETTE_SCRATCH, 100, palette("palette-scratch-100", "Palette from scratch, 100 steps")),
    after(PALETTE_SCRATCH, 400, palette("palette-scratch-400", "Palette from scratch, 400 steps")),
    after(
        PALETTE_SCRATCH,
        1000,
        palette("palette-scratch-1000", "Palette from scratch, 1,000 steps"),
    ),
];

/// Networks of the tasks that measure little.
pub(crate) const EXTREME: [Variant; 2] = [palette("palette-TASK", "Palette"), eps("TASK", "EPS")];

/// EPS on two interpolants, each from a prior trained on its own: EDM's, and a rectified flow with t uniform
/// and the loss on the velocity.
pub(crate) const FLOW: [Variant; 2] = [
    eps("short-guarded", "EPS on EDM's path"),
    Variant { flow: true, ..eps("eps-flow", "EPS velocity on a rectified flow") },
];

impl Variant {
    /// The name of the network that restores a task.
    #[must_use]
    pub fn network(&self, task: Task) -> String {
        self.name.replace("TASK", task.name())
    }
}

/// A variant as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    label: String,
    network_use: NetworkUse,
    flow: bool,
}

impl<'de> Deserialize<'de> for Variant {
    /// Finds the variant among those that are known here.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let mut known = all();
        let is_it = |variant: &&Variant| {
            (variant.name, variant.label) == (&*written.name, &*written.label)
                && (variant.network_use, variant.flow) == (written.network_use, written.flow)
        };
        known.find(is_it).copied().ok_or_else(|| {
            D::Error::custom(format!(
                "no experiment has a network {} called {:?}, used as {:?}",
                written.name, written.label, written.network_use
            ))
        })
    }
}

/// The variants of all experiments; one network may have several labels.
fn all() -> impl Iterator<Item = &'static Variant> {
    let tables: [&'static [Variant]; 6] =
        [&INPUTS, &NOISE_LAW, &AMORTIZED, &WARM_START, &EXTREME, &FLOW];
    tables.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_comes_back_with_its_place_in_a_curve() {
        for variant in all() {
            let text = serde_json::to_string(variant).unwrap();
            assert_eq!(serde_json::from_str::<Variant>(&text).unwrap(), *variant);
        }
        let text = r#"{"name":"state-y","label":"[x_t, z]","network_use":"palette","flow":false}"#;
        let error = serde_json::from_str::<Variant>(text).unwrap_err().to_string();
        assert!(error.contains("state-y") && error.contains("[x_t, z]"), "{error}");
    }
}

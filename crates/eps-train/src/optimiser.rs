//! Adam on one flat vector of all weights, with EDM's moving average beside it.

use eps_model::extent;
use tch::{Kind, Tensor};

/// Adam's constants (Kingma and Ba 2015), EDM's choice.
const BETA: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// The weights of a run and all that updates them; one flat f32 vector each.
#[derive(Debug)]
pub(crate) struct Optimiser {
    parameters: Vec<Tensor>,
    pub(crate) weights: Tensor,
    pub(crate) first_moment: Tensor,
    pub(crate) second_moment: Tensor,
    pub(crate) average: Tensor,
}

impl Optimiser {
    /// Starts at the present values of the parameters.
    pub(crate) fn new(parameters: Vec<Tensor>) -> Self {
        let weights = flatten(parameters.iter().map(Tensor::detach));
        Self {
            first_moment: weights.zeros_like(),
            second_moment: weights.zeros_like(),
            average: weights.copy(),
            weights,
            parameters,
        }
    }

    /// The gradients of the parameters, one flat vector, which are cleared.
    pub(crate) fn take_gradient(&mut self) -> Tensor {
        let _guard = tch::no_grad_guard();
        let flat = flatten(self.parameters.iter().map(gradient));
        for parameter in &mut self.parameters {
            if parameter.grad().defined() {
                parameter.zero_grad();
            }
        }
        flat
    }

    /// One step of Adam on a flat gradient; `step` counts from 0.
    ///
    /// As in EDM, gradients that are NaN count as 0 and infinite ones as ±1e5.
    pub(crate) fn step(
        &mut self,
        gradient: &Tensor,
        step: u64,
        learning_rate: f64,
        average_factor: f64,
    ) {
        let _guard = tch::no_grad_guard();
        let gradient = gradient.nan_to_num(0.0, 1e5, -1e5);
        let count = (step + 1) as f64;
        let _ = self.first_moment.lerp_(&gradient, 1.0 - BETA.0);
        let _ = self.second_moment.lerp_(&gradient.square(), 1.0 - BETA.1);
        let correction = 1.0 - BETA.1.powf(count);
        let denominator = (&self.second_moment / correction).sqrt_() + EPSILON;
        let rate = learning_rate / (1.0 - BETA.0.powf(count));
        self.weights -= &self.first_moment / denominator * rate;
        let _ = self.average.lerp_(&self.weights, 1.0 - average_factor);
        self.publish();
    }

    /// All that changes from step to step.
    pub(crate) fn vectors_mut(&mut self) -> [&mut Tensor; 4] {
        [&mut self.weights, &mut self.first_moment, &mut self.second_moment, &mut self.average]
    }

    /// Copies the flat weights into the network's parameters.
    pub(crate) fn publish(&mut self) {
        scatter(&self.weights, &mut self.parameters);
    }

    /// Copies the averaged weights into the network's parameters, for validation and export.
    pub(crate) fn publish_average(&mut self) {
        scatter(&self.average, &mut self.parameters);
    }
}

/// The gradient of a parameter: 0 where the loss does not depend on it, as on the embedding of
/// augmentations, which no training here has.
fn gradient(parameter: &Tensor) -> Tensor {
    let gradient = parameter.grad();
    if gradient.defined() { gradient } else { parameter.zeros_like() }
}

fn flatten(parts: impl Iterator<Item = Tensor>) -> Tensor {
    let parts: Vec<Tensor> = parts.map(|part| part.reshape([-1]).to_kind(Kind::Float)).collect();
    Tensor::cat(&parts, 0)
}

fn scatter(flat: &Tensor, parameters: &mut [Tensor]) {
    let _guard = tch::no_grad_guard();
    let mut start = 0;
    for parameter in parameters {
        let length = extent(parameter.numel());
        parameter.copy_(&flat.narrow(0, start, length).view_as(parameter));
        start += length;
    }
}

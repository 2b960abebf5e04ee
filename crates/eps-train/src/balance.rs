//! The running means of errors that the weight `balanced` divides by.

use eps_math::whole;
use eps_model::extent;
use tch::{Device, Kind, Tensor};

use crate::squared_errors::Errors;
use crate::{LossWeight, NoiseLaw, TrainConfig};

/// Intervals of ln σ_t between σ_min and σ_max, each with a mean of its own for every task.
const INTERVALS: usize = 16;

/// Images over which a mean runs, or those of one step where that has more.
const WINDOW: f64 = 400.0;

/// The mean error of every task at every interval of noise levels.
#[derive(Debug)]
pub(crate) struct Balance {
    law: NoiseLaw,
    /// `[tasks · INTERVALS]` in f64, on the device of the network.
    pub(crate) means: Tensor,
    /// How many images each mean is of.
    pub(crate) counts: Vec<f64>,
}

impl Balance {
    /// Means of 1, of no image, for a configuration whose weight is `balanced`.
    pub(crate) fn of(config: &TrainConfig, device: Device) -> Option<Self> {
        let tasks = config.objective.measurements().map_or(1, |(tasks, _)| tasks.len());
        let length = tasks * INTERVALS;
        (config.loss_weight == LossWeight::Balanced).then(|| Self {
            law: config.noise_law,
            means: Tensor::ones([extent(length)], (Kind::Double, device)),
            counts: vec![0.0; length],
        })
    }

    /// The place of a question's mean.
    fn place(&self, (task, sigma_t): (usize, f64)) -> usize {
        let NoiseLaw { sigma_min, sigma_max, .. } = self.law;
        let share = (sigma_t / sigma_min).ln() / (sigma_max / sigma_min).ln();
        task * INTERVALS + whole(share * INTERVALS as f64).min(INTERVALS - 1)
    }

    /// The means at some questions, `[B]` in f64.
    pub(crate) fn means(&self, questions: &[(usize, f64)]) -> Tensor {
        let places: Vec<i64> = questions.iter().map(|q| extent(self.place(*q))).collect();
        self.means.index_select(0, &Tensor::from_slice(&places).to_device(self.means.device()))
    }

    /// Takes the errors of a step into the means.
    pub(crate) fn update(&mut self, errors: &[Errors]) {
        let questions: Vec<(usize, f64)> =
            errors.iter().flat_map(|part| part.questions.iter().copied()).collect();
        let of_images =
            Tensor::cat(&errors.iter().map(|part| &part.of_images).collect::<Vec<_>>(), 0);
        let mut seen = vec![0.0; self.counts.len()];
        for question in &questions {
            seen[self.place(*question)] += 1.0;
        }
        for (count, seen) in self.counts.iter_mut().zip(&seen) {
            *count = (*count + seen).min(WINDOW.max(*seen));
        }
        // m ← m + Σ (error − m)/count over the images of a place: a product of matrices, whose sums have one order on
        // every device.
        let mut shares = vec![0.0; self.counts.len() * questions.len()];
        for (image, question) in questions.iter().enumerate() {
            let place = self.place(*question);
            shares[place * questions.len() + image] = self.counts[place].recip();
        }
        let shares = Tensor::from_slice(&shares)
            .view([extent(self.counts.len()), extent(questions.len())])
            .to_device(self.means.device());
        let taken = shares.sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        self.means = &self.means * (1.0 - taken) + shares.mv(&of_images);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance() -> Balance {
        let law = NoiseLaw { sigma_min: 0.01, sigma_max: 100.0, ..NoiseLaw::edm() };
        let means = Tensor::ones([2 * INTERVALS as i64], (Kind::Double, Device::Cpu));
        Balance { law, means, counts: vec![0.0; 2 * INTERVALS] }
    }

    fn errors(values: &[f64], questions: &[(usize, f64)]) -> Errors {
        Errors { of_images: Tensor::from_slice(values), questions: questions.to_vec() }
    }

    #[test]
    fn a_mean_is_that_of_its_question() {
        let mut balance = balance();
        let (low, high, other) = ((0, 0.01), (0, 100.0), (1, 0.01));
        // In two parts, as the images of a step may come.
        balance.update(&[errors(&[4.0, 0.5], &[low, high]), errors(&[2.0], &[low])]);
        let found = Vec::<f64>::try_from(balance.means(&[low, high, other])).unwrap();
        assert_eq!(found, [3.0, 0.5, 1.0]);
        balance.update(&[errors(&[6.0], &[low])]);
        assert_eq!(Vec::<f64>::try_from(balance.means(&[low])).unwrap(), [4.0]);
    }

    #[test]
    fn a_mean_forgets() {
        let mut balance = balance();
        let question = (1, 1.0);
        for value in [8.0, 1.0] {
            for _ in 0..100 {
                balance.update(&[errors(&[value; 32], &[question; 32])]);
            }
        }
        // 3,200 images of a window of 400: (1 − 32/400)^100 of what was before.
        let [mean] = Vec::<f64>::try_from(balance.means(&[question])).unwrap()[..] else {
            panic!()
        };
        assert!((mean - 1.0 - 7.0 * (1.0f64 - 0.08).powi(100)).abs() < 1e-12, "{mean}");
        // A step of more images than that is all that is left.
        balance.update(&[errors(&[5.0; 1000], &[question; 1000])]);
        let [mean] = Vec::<f64>::try_from(balance.means(&[question])).unwrap()[..] else {
            panic!()
        };
        assert!((mean - 5.0).abs() < 1e-12, "{mean}");
    }
}

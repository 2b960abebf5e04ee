//! Trainings by several processes, threads in their place: the weights are those of one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod common;

use std::ops::Range;
use std::path::Path;

use common::{images, network, until, weights};
use eps_cluster::{ClusterError, Exchange, Group};
use eps_model::SongUNetConfig;
use eps_testing::together;
use eps_train::{LossWeight, Processes, TrainConfig, TrainError, agree_to_train, train_together};
use tch::{Device, Tensor};

fn config(loss_weight: LossWeight, micro_batch: Option<usize>) -> TrainConfig {
    let (batch, steps, validation_images) = (11, 4, 10);
    TrainConfig { loss_weight, batch, micro_batch, steps, validation_images, ..common::config() }
}

fn train(
    group: &dyn Group,
    config: &TrainConfig,
    folder: &Path,
    last_step: u64,
) -> Result<Vec<f32>, TrainError> {
    train_by(group.into(), config, folder, last_step)
}

fn train_by(
    processes: Processes<'_>,
    config: &TrainConfig,
    folder: &Path,
    last_step: u64,
) -> Result<Vec<f32>, TrainError> {
    tch::set_num_threads(1);
    train_together(processes, config, None, &images(), folder, Device::Cpu, &mut until(last_step))
        .map(|denoiser| weights(&denoiser))
}

/// Tensors, moved by a group.
#[derive(Debug)]
struct OfTensors<'a>(&'a dyn Group);

impl Exchange<Tensor> for OfTensors<'_> {
    fn place(&self) -> (usize, usize) {
        (self.0.rank(), self.0.size())
    }

    fn length(&self, vector: &Tensor) -> usize {
        vector.numel()
    }

    fn slice(&self, vector: &Tensor, values: Range<usize>) -> Tensor {
        vector.slice(0, values.start as i64, values.end as i64, 1)
    }

    fn concat(&self, vectors: Vec<Tensor>) -> Tensor {
        Tensor::cat(&vectors, 0)
    }

    fn add(&self, a: Tensor, b: Tensor) -> Tensor {
        a + b
    }

    fn all_to_all(&self, pieces: Vec<Tensor>, counts: &[usize]) -> Vec<Tensor> {
        let pieces = pieces.into_iter().map(|piece| piece.try_into().unwrap()).collect();
        let received = self.0.all_to_all(pieces, counts);
        received.iter().map(|piece| Tensor::from_slice(piece)).collect()
    }

    fn all_gather(&self, values: Tensor, counts: &[usize]) -> Tensor {
        let values: Vec<f32> = values.try_into().unwrap();
        Tensor::from_slice(&self.0.all_gather_values(&values, counts))
    }
}

#[test]
fn gradients_that_never_reach_the_host_sum_to_the_same_weights() {
    let config = config(LossWeight::Balanced, Some(2));
    let [by_host, by_exchange] = [false, true].map(|exchanges| {
        let folder = tempfile::tempdir().unwrap();
        together(3, |group| {
            let tensors = OfTensors(group);
            let exchange = exchanges.then_some(&tensors as &dyn Exchange<Tensor>);
            train_by(Processes { group, exchange }, &config, folder.path(), 4).unwrap()
        })
    });
    assert_eq!(by_host, by_exchange);
}

/// The lines of `metrics.jsonl` without their seconds.
fn losses(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| line.split(",\"seconds\"").next().unwrap().to_owned()).collect()
}

#[test]
fn any_number_of_processes_ends_in_the_same_weights() {
    for loss_weight in [LossWeight::Preconditioned, LossWeight::Balanced] {
        // 11 images in parts of 2 are 6 parts, the last of one image.
        let config = config(loss_weight, Some(2));
        let alone = tempfile::tempdir().unwrap();
        let expected = train(&eps_cluster::Alone, &config, alone.path(), 4).unwrap();
        for size in [2, 3, 4] {
            let folder = tempfile::tempdir().unwrap();
            // Only the first process has a folder.
            let of = |group: &dyn Group| match group.rank() {
                0 => folder.path().to_owned(),
                _ => folder.path().join("nowhere"),
            };
            // Killed at step 3, and gone on by another number from that of step 2.
            for (size, last_step) in [(size, 3), (size - 1, 4)] {
                let found =
                    together(size, |group| train(group, &config, &of(group), last_step).unwrap());
                if last_step == 4 {
                    assert!(found.iter().all(|weights| *weights == expected), "{size}");
                }
            }
            assert_eq!(losses(folder.path()), losses(alone.path()), "{size}");
            assert!(!folder.path().join("nowhere").exists());
        }
    }
}

#[test]
fn without_parts_every_process_takes_its_share_of_the_batch() {
    let config = TrainConfig {
        network: SongUNetConfig { dropout: 0.0, ..network() }.into(),
        ..config(LossWeight::Preconditioned, None)
    };
    let [alone, shared] = [1, 4].map(|size| {
        let folder = tempfile::tempdir().unwrap();
        together(size, |group| train(group, &config, folder.path(), 4).unwrap()).remove(0)
    });
    let scale = alone.iter().fold(0f32, |most, w| most.max(w.abs()));
    let most = alone.iter().zip(&shared).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    // Adam divides by the size of a gradient: where that is of rounding alone, a step is all of the learning rate.
    assert!(most <= 4.0 * 1e-3 && alone != shared, "{most} of {scale}");
    let far = alone.iter().zip(&shared).filter(|(a, b)| (*a - *b).abs() > 1e-4 * scale).count();
    assert!(far * 100 < alone.len(), "{far} of {} weights differ", alone.len());
}

#[test]
fn a_split_without_images_is_an_error_before_the_processes_agree() {
    let config = config(LossWeight::Preconditioned, Some(2));
    for size in [1, 2] {
        for error in together(size, |group| {
            let mut images = images();
            images.validation = images.validation.narrow(0, 0, 0);
            agree_to_train(group, &config, &images, None).unwrap_err()
        }) {
            assert!(error.to_string().contains("number of validation images"), "{error}");
        }
    }
}

#[test]
fn processes_that_differ_are_told_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let errors = together(3, |group| {
        let rate = if group.rank() == 1 { 2e-3 } else { 1e-3 };
        let config =
            TrainConfig { learning_rate: rate, ..config(LossWeight::Preconditioned, Some(2)) };
        train(group, &config, folder.path(), 4).unwrap_err()
    });
    for error in errors {
        assert!(
            matches!(error, TrainError::Cluster(ClusterError::Differs { rank: 1, .. })),
            "{error}"
        );
        let error = error.to_string();
        for part in ["process 2", "learning_rate", "0.002", "0.001"] {
            assert!(error.contains(part), "{error}");
        }
    }
    assert!(!folder.path().join("config.json").exists());
    let too_many = together(7, |group| {
        let config = config(LossWeight::Preconditioned, Some(2));
        train(group, &config, folder.path(), 4).unwrap_err().to_string()
    });
    assert!(too_many[0].contains("is 6") && too_many[0].contains("micro_batch"), "{too_many:?}");
}

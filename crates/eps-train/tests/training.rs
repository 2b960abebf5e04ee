//! Training on small random images: exact resume, the objective's limits, progress on a known answer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod common;

use std::path::Path;

use common::{config, images, network, until, weights};
use eps_files::FilesError;
use eps_math::parameterisation::Parameterisation;
use eps_math::timesteps::{Betas, Between};
use eps_math::{Interpolant, OperatorLaw, Precondition, PreconditionMode, Task};
use eps_model::checkpoint;
use eps_model::{
    ComputeError, Condition, DataMoments, Mode, NetworkDenoiser, Precision, SongUNetConfig, UNet,
    UNetModelConfig,
};
use eps_train::{
    BatchStreams, Change, Decay, Ema, Images, LossWeight, NoiseLaw, Objective, SplitClasses, Tail,
    TrainConfig, TrainError, changes, loss, train_watched,
};
use tch::{Device, Kind, Tensor};

fn run(config: &TrainConfig, folder: &Path, last_step: u64) -> Result<NetworkDenoiser, TrainError> {
    train_watched(config, None, &images(), folder, Device::Cpu, &mut until(last_step))
}

#[test]
fn a_killed_run_ends_in_the_same_weights() {
    // The weight `balanced` has a state of its own.
    for loss_weight in [LossWeight::Preconditioned, LossWeight::Balanced] {
        let config = TrainConfig { loss_weight, ..config() };
        let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let expected = weights(&run(&config, whole.path(), 6).unwrap());

        // Killed at step 5, after the checkpoint of step 4, while a line was being written.
        run(&config, killed.path(), 5).unwrap();
        let metrics = killed.path().join("metrics.jsonl");
        let mut lines = std::fs::read_to_string(&metrics).unwrap();
        lines.push_str("{\"step\":6,\"ima");
        std::fs::write(&metrics, lines).unwrap();

        let resumed = weights(&run(&config, killed.path(), 6).unwrap());
        assert!(expected == resumed, "{loss_weight:?}");
        let steps: Vec<String> = std::fs::read_to_string(&metrics)
            .unwrap()
            .lines()
            .map(|line| line.split(',').next().unwrap().to_owned())
            .collect();
        assert_eq!(steps, ["{\"step\":2", "{\"step\":4", "{\"step\":6"]);
    }
}

#[test]
fn a_step_in_parts_is_the_step() {
    let losses = |loss_weight, micro_batch| {
        let folder = tempfile::tempdir().unwrap();
        let network = SongUNetConfig { dropout: 0.0, ..network() }.into();
        let config =
            TrainConfig { network, loss_weight, micro_batch, checkpoint_every: 1, ..config() };
        run(&config, folder.path(), 3).unwrap();
        let lines = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        let value = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
        lines.lines().map(|l| value(l)["train_loss"].as_f64().unwrap()).collect::<Vec<f64>>()
    };
    for (loss_weight, micro_batch) in [
        (LossWeight::Preconditioned, 1),
        (LossWeight::Preconditioned, 3),
        (LossWeight::Preconditioned, 4),
        (LossWeight::Balanced, 3),
    ] {
        let whole = losses(loss_weight, None);
        let parts = losses(loss_weight, Some(micro_batch));
        // Sums of f32 in another order; Adam's first steps divide gradients by their size, so that
        // rounding moves a weight whose gradient is next to nothing by up to the learning rate.
        for (step, (a, b)) in whole.iter().zip(&parts).enumerate() {
            let bound = if step == 0 { 1e-6 } else { 1e-3 };
            assert!((a / b - 1.0).abs() <= bound, "{micro_batch}, step {step}: {a} {b}");
        }
    }
}

#[test]
fn a_validation_in_parts_is_the_validation() {
    let validated = |micro_batch| {
        let folder = tempfile::tempdir().unwrap();
        // Weights that do not move; of two batches the second has two images.
        let config =
            TrainConfig { micro_batch, learning_rate: 1e-30, validation_images: 6, ..config() };
        run(&config, folder.path(), 2).unwrap();
        let line = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        record["validation_loss"].as_f64().unwrap()
    };
    let whole = validated(None);
    for micro_batch in [1, 3] {
        let parts = validated(Some(micro_batch));
        // As of a step: sums of f32 in another order.
        assert!((parts / whole - 1.0).abs() < 1e-6, "{micro_batch}: {parts} {whole}");
    }
}

/// The weights of a run of two steps.
fn weights_of(config: &TrainConfig, images: &Images) -> Result<Vec<f32>, TrainError> {
    let folder = tempfile::tempdir().unwrap();
    let denoiser = train_watched(config, None, images, folder.path(), Device::Cpu, &mut until(2))?;
    Ok(weights(&denoiser))
}

#[test]
fn recomputed_activations_train_the_same_weights() {
    let run = |gradient_checkpointing| {
        weights_of(&TrainConfig { gradient_checkpointing, ..config() }, &images()).unwrap()
    };
    let (whole, recomputed) = (run(false), run(true));
    // The first steps of Adam divide a gradient by its size, so that rounding moves a weight whose
    // gradient is next to nothing by up to the learning rate.
    let far = whole.iter().zip(&recomputed).filter(|(a, b)| (*a - *b).abs() > 1e-6).count();
    assert!(far * 100 < whole.len(), "{far} of {}", whole.len());
}

#[test]
fn classes_reach_a_conditional_network() {
    let conditional = |label_dim| {
        let network = SongUNetConfig { label_dim, dropout: 0.0, ..network() }.into();
        TrainConfig { network, ..config() }
    };
    let with = |train: usize| {
        let classes = SplitClasses { train: vec![train; 30], validation: vec![0; 10] };
        Images { classes: Some(classes), ..images() }
    };
    let run = |images: &Images| weights_of(&conditional(3), images).unwrap();
    assert_eq!(run(&with(1)), run(&with(1)));
    assert_ne!(run(&with(1)), run(&with(2)));
    assert_ne!(run(&with(1)), run(&images()));
    // An unconditional network ignores them.
    let run = |images: &Images| weights_of(&conditional(0), images).unwrap();
    assert_eq!(run(&with(1)), run(&images()));

    let error = weights_of(&conditional(3), &with(3)).unwrap_err().to_string();
    assert!(error.contains("class 3") && error.contains("0 to 2"), "{error}");
    let classes = Some(SplitClasses { train: vec![0; 29], validation: vec![0; 10] });
    let error = weights_of(&conditional(3), &Images { classes, ..images() }).unwrap_err();
    assert!(error.to_string().contains("training classes is 29"), "{error}");
}

/// EDM's networks of faces have an embedding of augmentations, which is never asked for here.
#[test]
fn weights_that_the_loss_does_not_reach_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let network = SongUNetConfig { augment_dim: 9, ..network() }.into();
    let config = TrainConfig { network, ..config() };
    let start = UNet::new(config.network.clone(), Device::Cpu, config.seed).unwrap();
    let trained = run(&config, folder.path(), 2).unwrap();
    for (name, before) in start.tensors() {
        let is_same = trained.network().tensors()[&name].equal(&before);
        assert_eq!(is_same, name == "model.map_augment.weight", "{name}");
    }
}

#[test]
fn a_folder_belongs_to_one_configuration() {
    let folder = tempfile::tempdir().unwrap();
    run(&config(), folder.path(), 1).unwrap();
    let other = TrainConfig { seed: 4, ..config() };
    let error = run(&other, folder.path(), 1).unwrap_err();
    assert!(matches!(error, TrainError::OtherRun { .. }), "{error}");
    assert!(error.to_string().contains("seed is 3 there, now 4"), "{error}");
    // Beside what may change, what may not is refused, to the field.
    let ema = Ema { half_life: 50.0, ..config().ema };
    let error = run(&TrainConfig { ema, steps: 9, ..config() }, folder.path(), 1).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("ema.half_life is 100.0 there, now 50.0") && !words.contains("steps is"),
        "{words}"
    );
    assert!(changes(folder.path()).unwrap().is_empty());
}

/// The state, the log of the steps and the configuration of a run.
fn left(folder: &Path) -> (Vec<u8>, Vec<u64>, TrainConfig) {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let step = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
    let steps = read("metrics.jsonl").lines().map(|l| step(l)["step"].as_u64().unwrap()).collect();
    let state = std::fs::read(folder.join("state.safetensors")).unwrap();
    (state, steps, serde_json::from_str(&read("config.json")).unwrap())
}

#[test]
fn a_run_goes_on_with_more_steps_and_another_rate() {
    let folder = tempfile::tempdir().unwrap();
    let first = TrainConfig { steps: 3, decay: Decay::None, ..config() };
    run(&first, folder.path(), 3).unwrap();
    assert!(changes(folder.path()).unwrap().is_empty());
    let second = TrainConfig { steps: 6, learning_rate: 5e-4, ..first.clone() };
    let longer = weights(&run(&second, folder.path(), 6).unwrap());
    let (_, steps, found) = left(folder.path());
    assert_eq!((steps, &found), (vec![2, 3, 4, 6], &second));
    let change = |field: &str, from: serde_json::Value, to: serde_json::Value| Change {
        step: 3,
        field: field.to_owned(),
        from,
        to,
    };
    let expected =
        [change("learning_rate", 1e-3.into(), 5e-4.into()), change("steps", 3.into(), 6.into())];
    assert_eq!(changes(folder.path()).unwrap(), expected);
    // A kill between note and configuration leaves the old one; the same command finds the same changes.
    let write = |config: &TrainConfig| {
        let text = serde_json::to_string(config).unwrap();
        std::fs::write(folder.path().join("config.json"), text).unwrap();
    };
    write(&TrainConfig { steps: 3, ..second.clone() });
    std::fs::remove_file(folder.path().join("state.safetensors")).unwrap();
    run(&first, folder.path(), 3).unwrap();
    assert_eq!(changes(folder.path()).unwrap().len(), 3);

    // With the steps alone the run is the longer one, bit for bit, where the rate does not depend on them.
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let long = TrainConfig { steps: 6, ..first.clone() };
    let expected = weights(&run(&long, whole.path(), 6).unwrap());
    run(&first, parts.path(), 3).unwrap();
    assert_eq!(weights(&run(&long, parts.path(), 6).unwrap()), expected);
    assert_ne!(longer, expected);
    let error = run(&TrainConfig { steps: 5, ..first }, parts.path(), 5).unwrap_err();
    assert!(matches!(error, TrainError::StepsDone { steps: 5, done: 6 }), "{error}");
    assert_eq!(left(parts.path()).2, long);
}

#[test]
fn a_checkpoint_of_broken_weights_does_not_replace_a_good_one() {
    // After one step the weights are broken and no loss has told; after more a loss tells.
    for steps in [3, 6] {
        let folder = tempfile::tempdir().unwrap();
        let calm = TrainConfig { steps: 2, warm_up: 1, decay: Decay::None, ..config() };
        run(&calm, folder.path(), 2).unwrap();
        let (state, kept, _) = left(folder.path());
        let wild = TrainConfig { steps, learning_rate: 1e30, ..calm.clone() };
        let error = run(&wild, folder.path(), steps).unwrap_err().to_string();
        assert!(error.contains("lower the learning rate"), "{error}");
        let after = left(folder.path());
        assert!(after.0 == state && after.1 == kept, "{steps} steps: {:?}", after.1);
        run(&TrainConfig { steps: 4, ..calm }, folder.path(), 4).unwrap();
        assert_eq!(left(folder.path()).1, [2, 4]);
    }
}

#[cfg(unix)]
#[test]
fn a_state_is_a_file_like_the_others_and_has_no_leftovers() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".state.safetensors.a1B2c3.part"), "cut").unwrap();
    run(&config(), folder.path(), 2).unwrap();
    let mode = |name: &str| folder.path().join(name).metadata().unwrap().permissions().mode();
    assert_eq!(mode("state.safetensors"), mode("config.json"));
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["config.json", "lock", "metrics.jsonl", "state.safetensors"]);
}

/// The mean over the steps since the last line, also where the end of an earlier leg was no multiple of
/// `checkpoint_every`.
#[test]
fn losses_are_means_over_the_steps_that_were_done() {
    let losses = |legs: &[u64]| {
        let folder = tempfile::tempdir().unwrap();
        let config = TrainConfig { checkpoint_every: 4, decay: Decay::None, ..config() };
        for steps in legs {
            run(&TrainConfig { steps: *steps, ..config.clone() }, folder.path(), *steps).unwrap();
        }
        let lines = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        let value = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
        lines.lines().map(|l| value(l)["train_loss"].as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let (whole, parts) = (losses(&[4]), losses(&[3, 4]));
    let [mean] = whole[..] else { panic!("{whole:?}") };
    let [first, last] = parts[..] else { panic!("{parts:?}") };
    assert!(((3.0 * first + last) / 4.0 / mean - 1.0).abs() < 1e-12, "{parts:?} {mean}");
}

/// Names the folder of the run, in the process that has a limit.
const FULL_DISK: &str = "EPS_TRAIN_FULL_DISK_FOLDER";

/// A limit of the size of files stands for a full disk: a write fails at the same place, for anybody.
#[cfg(unix)]
#[test]
fn a_run_goes_on_when_there_is_space_again() {
    if let Some(folder) = std::env::var_os(FULL_DISK) {
        let error = run(&config(), Path::new(&folder), 6).unwrap_err();
        let words = error.to_string();
        assert!(matches!(error, TrainError::Unsaved { step: 4, .. }), "{words}");
        for word in [
            "until step 4",
            "state.safetensors",
            "File too large",
            "goes on from the last checkpoint",
        ] {
            assert!(words.contains(word), "no {word:?} in: {words}");
        }
        return;
    }
    let (whole, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = weights(&run(&config(), whole.path(), 6).unwrap());
    run(&config(), folder.path(), 2).unwrap();
    let (before, ..) = left(folder.path());
    // A quarter of the state, in KiB; the other files are smaller.
    let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", before.len() / 4096);
    let output = std::process::Command::new("bash")
        .args(["-c", &limited, "bash"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_run_goes_on_when_there_is_space_again"])
        .env(FULL_DISK, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    // The last checkpoint is as it was, nothing lies beside it, and the run ends as one that was not stopped.
    assert_eq!(left(folder.path()).0, before);
    let names = std::fs::read_dir(folder.path()).unwrap();
    let parts =
        names.filter(|n| n.as_ref().unwrap().file_name().to_string_lossy().contains(".part"));
    assert_eq!(parts.count(), 0);
    assert_eq!(weights(&run(&config(), folder.path(), 6).unwrap()), expected);
}

#[test]
fn a_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(folder.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let error = run(&config(), folder.path(), 1).unwrap_err();
    assert!(matches!(error, TrainError::Files(FilesError::Busy(_))), "{error}");
    drop(lock);
    run(&config(), folder.path(), 1).unwrap();
}

#[test]
fn a_damaged_state_is_named() {
    let folder = tempfile::tempdir().unwrap();
    run(&config(), folder.path(), 2).unwrap();
    let state = folder.path().join("state.safetensors");
    let bytes = std::fs::read(&state).unwrap();
    for length in [0, 7, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&state, &bytes[..length]).unwrap();
        let error = run(&config(), folder.path(), 2).unwrap_err().to_string();
        assert!(error.contains("state.safetensors") && error.contains("remove"), "{error}");
    }
    // One flipped bit in the weights or in Adam's moments.
    for at in (1..20).map(|part| bytes.len() - part * bytes.len() / 21) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(&state, changed).unwrap();
        let error = run(&config(), folder.path(), 2).unwrap_err().to_string();
        assert!(error.contains("is not what was written"), "byte {at}: {error}");
    }
}

#[test]
fn a_state_of_before_digests_is_read() {
    let (whole, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = weights(&run(&config(), whole.path(), 6).unwrap());
    run(&config(), folder.path(), 4).unwrap();
    let state = folder.path().join("state.safetensors");
    // As libtorch's bindings write it.
    let tensors = Tensor::read_safetensors(&state).unwrap();
    let tensors: Vec<(&str, Tensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shallow_clone())).collect();
    Tensor::write_safetensors(&tensors, &state).unwrap();
    assert_eq!(weights(&run(&config(), folder.path(), 6).unwrap()), expected);
}

#[test]
fn numbers_out_of_range_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (field, bad) in [
        ("batch", TrainConfig { batch: 0, ..config() }),
        ("batch", TrainConfig { batch: usize::MAX, ..config() }),
        ("micro_batch", TrainConfig { micro_batch: Some(1 << 21), ..config() }),
        ("learning_rate", TrainConfig { learning_rate: f64::NAN, ..config() }),
        ("format_version", TrainConfig { format_version: 9, ..config() }),
        (
            "sigma_y",
            TrainConfig {
                objective: Objective::Eps {
                    tasks: vec![Task::GaussianBlur].into(),
                    sigma_y: 0.0.into(),
                },
                ..config()
            },
        ),
        (
            "tasks",
            TrainConfig {
                objective: Objective::Eps { tasks: vec![].into(), sigma_y: 0.05.into() },
                ..config()
            },
        ),
        ("in_channels", TrainConfig { conditions: vec![], ..config() }),
        ("ema.ramp", TrainConfig { ema: Ema { half_life: 100.0, ramp: Some(-5.0) }, ..config() }),
        (
            "rate_min",
            TrainConfig {
                interpolant: Interpolant::VpLinear { rate_min: -1.0, rate_max: 20.0 },
                ..config()
            },
        ),
        (
            "noise_law.sigma_max",
            TrainConfig {
                interpolant: Interpolant::VpLinear { rate_min: 0.1, rate_max: 1.0 },
                ..config()
            },
        ),
        (
            "tail.share",
            TrainConfig {
                noise_law: NoiseLaw {
                    tail: Some(Tail { share: 1.5, from: 1.0 }),
                    ..NoiseLaw::edm()
                },
                ..config()
            },
        ),
    ] {
        let error = run(&bad, folder.path(), 1).unwrap_err().to_string();
        assert!(error.contains(field), "{field}: {error}");
        assert!(!folder.path().join("config.json").exists());
    }
    for network in [
        SongUNetConfig { out_channels: 3, in_channels: 7, ..network() },
        SongUNetConfig { img_resolution: 32, channel_mult: vec![1; 6], ..network() },
    ] {
        let other = TrainConfig { network: network.into(), ..config() };
        let error = run(&other, folder.path(), 1).unwrap_err();
        let words = error.to_string();
        assert!(
            matches!(error, TrainError::Images { .. }) && words.contains("[1, 16, 16]"),
            "{words}"
        );
        assert!(!folder.path().join("config.json").exists());
    }
    let none = Images { train: images().train.narrow(0, 0, 0), ..images() };
    let error = train_watched(&config(), None, &none, folder.path(), Device::Cpu, &mut until(1))
        .unwrap_err();
    assert!(error.to_string().contains("training images is 0"), "{error}");
    let half = TrainConfig { precision: Precision::F16, ..config() };
    let error = run(&half, folder.path(), 1).unwrap_err().to_string();
    assert!(error.contains("f16") && error.contains("bf16"), "{error}");
}

/// A network of noise with learnt variances, that reads a measurement beside its state.
fn noise_config() -> TrainConfig {
    let network = UNetModelConfig {
        image_size: 16,
        in_channels: 3,
        out_channels: 2,
        learn_sigma: true,
        num_channels: 32,
        num_res_blocks: 1,
        channel_mult: vec![1.0],
        attention_resolutions: vec![],
        ..UNetModelConfig::default()
    };
    TrainConfig {
        network: network.into(),
        precondition: Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 },
        parameterisation: Some(Parameterisation::noise(Betas::linear(), Between::Interpolate)),
        noise_law: NoiseLaw { sigma_min: 0.0101, ..NoiseLaw::edm() },
        steps: 2,
        ..config()
    }
}

#[test]
fn a_network_of_noise_is_trained_for_the_pivot() {
    for gradient_checkpointing in [false, true] {
        let config = TrainConfig { gradient_checkpointing, ..noise_config() };
        let folder = tempfile::tempdir().unwrap();
        let before = UNet::new(config.network.clone(), Device::Cpu, config.seed).unwrap();
        let denoiser = run(&config, folder.path(), 2).unwrap();
        let after = denoiser.network().tensors();
        for (name, tensor) in before.tensors() {
            let output = ["out.2.weight", "out.2.bias"].contains(&name.as_str());
            // The output layer starts at 0, so the first step moves it alone, and of it what is no variance.
            if output {
                let change = (&after[&name] - &tensor).abs();
                assert!(change.get(0).max().double_value(&[]) > 0.0, "{name}");
                assert_eq!(change.get(1).max().double_value(&[]), 0.0, "{name}");
            }
        }
    }
    let refused = |config: TrainConfig, words: &str| {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(TrainConfig { parameterisation: None, ..noise_config() }, "predicts noise");
    let spectral = Precondition { mode: PreconditionMode::Spectral, sigma_data: 0.5 };
    refused(TrainConfig { precondition: spectral, ..noise_config() }, "precondition.mode");
    let beyond = NoiseLaw::edm();
    refused(TrainConfig { noise_law: beyond, ..noise_config() }, "noise_law.sigma_min");
}

/// The loss of an untrained network with scalar preconditioning under a weight.
fn scalar_loss(config: &TrainConfig, loss_weight: LossWeight) -> f64 {
    let precondition = Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 };
    let config = TrainConfig { precondition, loss_weight, ..config.clone() };
    let network = UNet::new(config.network.clone(), Device::Cpu, 0).unwrap();
    let denoiser =
        NetworkDenoiser::new(network, precondition, config.conditions.clone(), Precision::F32);
    let x_0 = images().train.narrow(0, 0, 4).to_kind(Kind::Double) / 127.5 - 1.0;
    let streams = BatchStreams { seed: 1, batch: 2, first: 0 };
    loss(&denoiser, &config, &x_0, None, streams, Mode::Eval).unwrap().double_value(&[])
}

/// A law with parts of several families, one of them without an eigenbasis, and a range of σ_y; images of twice the
/// network's side.
#[test]
fn a_law_of_operators_is_trained_for_on_images_of_any_size() {
    let tasks: OperatorLaw = serde_json::from_str(
        r#"["motion-blur",
            {"share": 2, "of": {"family": "random-mask", "missing": [0.2, 0.9]}},
            {"share": 2, "of": {"family": "average-pool", "factors": [2, 4]}},
            {"share": 2, "of": {"family": "fixed", "operator":
                {"operator": "convolution", "kernel": [[0.5, 0.5]], "border": "reflect"}}}]"#,
    )
    .unwrap();
    let sigma_y = serde_json::from_str(r#"{"log-uniform": [0.01, 0.3]}"#).unwrap();
    let objective = Objective::Eps { tasks, sigma_y };
    let precondition = Precondition { mode: PreconditionMode::Guarded, sigma_data: 0.5 };
    let small = SongUNetConfig { img_resolution: 8, ..network() };
    let config = TrainConfig { objective, precondition, network: small.into(), ..config() };
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<TrainConfig>(&text).unwrap(), config);
    config.validate().unwrap();
    let (first, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let trained = weights(&run(&config, first.path(), 6).unwrap());
    assert!(trained.iter().all(|weight| weight.is_finite()));
    assert!(trained == weights(&run(&config, again.path(), 6).unwrap()));

    // The errors themselves need a gradient through the eigenbasis: small maps have that of their matrix.
    let convolution: OperatorLaw = serde_json::from_str(
        r#"[{"share": 1, "of": {"family": "fixed", "operator":
            {"operator": "convolution", "kernel": [[0.5, 0.5]], "border": "reflect"}}}]"#,
    )
    .unwrap();
    let objective = Objective::Eps { tasks: convolution, sigma_y: 0.05.into() };
    let traced = TrainConfig { objective, loss_weight: LossWeight::Trace, ..config.clone() };
    let third = tempfile::tempdir().unwrap();
    assert!(trained != weights(&run(&traced, third.path(), 2).unwrap()));
    let many = Tensor::zeros([1, 1, 48, 48], (Kind::Double, Device::Cpu));
    let network = UNet::new(traced.network.clone(), Device::Cpu, 0).unwrap();
    let conditions = traced.conditions.clone();
    let denoiser = NetworkDenoiser::new(network, precondition, conditions, Precision::F32);
    let streams = BatchStreams { seed: 1, batch: 2, first: 0 };
    let error = loss(&denoiser, &traced, &many, None, streams, Mode::Eval).unwrap_err();
    assert!(error.to_string().contains("2304 values"), "{error}");

    // 16 is no multiple of 3, and the means of its blocks are refused before the first step.
    let tasks = serde_json::from_str(
        r#"[{"share": 1, "of": {"family": "average-pool", "factors": [2, 3]}}]"#,
    );
    let objective = Objective::Eps { tasks: tasks.unwrap(), sigma_y: 0.05.into() };
    let error = run(&TrainConfig { objective, ..config }, first.path(), 6).unwrap_err();
    assert!(error.to_string().contains('3'), "{error}");
}

/// With scalar preconditioning all weights are one loss, and EDM's formula gives it.
#[test]
fn the_weights_agree_for_scalar_preconditioning() {
    let value = |loss_weight| scalar_loss(&config(), loss_weight);
    let (edm, preconditioned) = (value(LossWeight::Edm), value(LossWeight::Preconditioned));
    // Means of 1024 squares, one in f32.
    assert!((edm / preconditioned - 1.0).abs() < 1e-5, "{edm} {preconditioned}");
    let trace = value(LossWeight::Trace);
    assert!((trace / preconditioned - 1.0).abs() < 1e-5, "{trace} {preconditioned}");
}

/// Means start at 1; from the second step on those of the question at hand divide its errors.
#[test]
fn balance_changes_the_gradient_from_the_second_step_on() {
    let objective = Objective::Eps { tasks: vec![Task::GaussianBlur].into(), sigma_y: 0.05.into() };
    let noise_law = NoiseLaw { mean: 0.0, deviation: 0.0, ..NoiseLaw::edm() };
    let config = TrainConfig { objective, noise_law, warm_up: 1, batch: 8, ..config() };
    let of = |loss_weight, steps| {
        let folder = tempfile::tempdir().unwrap();
        weights(&run(&TrainConfig { loss_weight, ..config.clone() }, folder.path(), steps).unwrap())
    };
    let same = |steps| of(LossWeight::Trace, steps) == of(LossWeight::Balanced, steps);
    assert!(same(1) && !same(2));
}

/// At t = ½ of a rectified flow the velocity has twice the error of the denoiser.
#[test]
fn the_weight_of_the_velocity_is_that_of_its_error() {
    let noise_law = NoiseLaw { mean: 0.0, deviation: 0.0, ..NoiseLaw::edm() };
    let config = TrainConfig { noise_law, interpolant: Interpolant::RectifiedFlow, ..config() };
    let value = |loss_weight| scalar_loss(&config, loss_weight);
    // λ(1) = (1 + ¼)/¼ = 5 against 1/t² = 4; means of 1024 squares in f32.
    let ratio = value(LossWeight::Velocity) / value(LossWeight::Edm);
    assert!((ratio / 0.8 - 1.0).abs() < 1e-5, "{ratio}");
}

/// An untrained network returns about 0, so that the loss of its target is about 1 an axis: the
/// preconditioning makes it so in every mode, wherever the noise and whatever the operator.
#[test]
fn targets_have_order_one() {
    for mode in [
        PreconditionMode::Scalar,
        PreconditionMode::Spectral,
        PreconditionMode::Guarded,
        PreconditionMode::Wiener,
    ] {
        let precondition = Precondition { mode, sigma_data: 0.58 };
        for task in Task::ALL {
            let objective = Objective::Eps { tasks: vec![task].into(), sigma_y: 0.05.into() };
            let config = TrainConfig { precondition, objective, ..config() };
            let network = UNet::new(config.network.clone(), Device::Cpu, 0).unwrap();
            let denoiser = NetworkDenoiser::new(
                network,
                precondition,
                config.conditions.clone(),
                Precision::F32,
            )
            .with_data(DataMoments::of(&images().train).unwrap());
            // White images of variance 1/3 = 0.58²: spectral, guarded and Wiener targets have variance 1 in
            // every direction; scalar ones have less where the pivot knows more than x_t does.
            let x_0 = images().train.to_kind(Kind::Double) / 127.5 - 1.0;
            let streams = BatchStreams { seed: 1, batch: 2, first: 0 };
            let value = loss(&denoiser, &config, &x_0, None, streams, Mode::Eval)
                .unwrap()
                .double_value(&[]);
            let range = match mode {
                PreconditionMode::Scalar => 0.0..1.1,
                _ => 0.9..1.1,
            };
            assert!(range.contains(&value), "{mode:?} {task:?}: {value}");
        }
    }
}

/// At its first step a Palette network that starts from a prior is the prior: what it reads of y has
/// no weight yet. Its loss is then the prior's.
#[test]
fn palette_starts_as_the_prior() {
    let precondition = Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.58 };
    let narrow = SongUNetConfig { in_channels: 1, ..network() };
    let prior = UNet::new(narrow.clone(), Device::Cpu, 0).unwrap();
    {
        // An untrained network returns next to nothing: this one answers something.
        let _guard = tch::no_grad_guard();
        for mut weight in prior.tensors().into_values() {
            let wave = Tensor::arange(weight.numel() as i64, (Kind::Float, Device::Cpu)).sin();
            weight.copy_(&(&weight + wave.view(weight.size().as_slice()) * 0.05));
        }
    }
    let wide = SongUNetConfig { in_channels: 2, ..narrow }.into();
    let palette = checkpoint::widen(&prior, &wide, Device::Cpu).unwrap();
    let x_0 = images().train.to_kind(Kind::Double) / 127.5 - 1.0;
    let value = |network, conditions: Vec<Condition>, objective| {
        let config =
            TrainConfig { precondition, objective, loss_weight: LossWeight::Edm, ..config() };
        let denoiser = NetworkDenoiser::new(network, precondition, conditions, Precision::F32);
        let streams = BatchStreams { seed: 1, batch: 2, first: 0 };
        loss(&denoiser, &config, &x_0, None, streams, Mode::Eval).unwrap().double_value(&[])
    };
    let of_prior = value(prior, vec![], Objective::Denoise);
    let objective = Objective::Palette { tasks: Task::ALL.to_vec().into(), sigma_y: 0.05.into() };
    let of_palette = value(palette, vec![Condition::Observation], objective);
    // The same sums in f32.
    assert!((of_palette / of_prior - 1.0).abs() < 1e-5, "{of_palette} {of_prior}");
}

/// A batch that memory is too small for, in a process of its own with a small limit of addresses: the training ends with
/// an error.
#[test]
#[cfg(target_os = "linux")]
fn memory_that_runs_out_is_an_error() {
    const INSIDE: &str = "EPS_TRAIN_TEST_WITH_LITTLE_MEMORY";
    if std::env::var_os(INSIDE).is_none() {
        let program = std::env::current_exe().unwrap();
        // libtorch itself takes 0.7 GB of addresses.
        let output = std::process::Command::new("sh")
            .args(["-c", "ulimit -v 2000000 && exec \"$0\" \"$@\""])
            .arg(program)
            .args(["--exact", "memory_that_runs_out_is_an_error", "--nocapture"])
            .env(INSIDE, "1")
            .env("OMP_NUM_THREADS", "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert!(!told.contains("panicked") && !told.contains("frame #"), "{told}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // A layer of the network alone takes 8 channels of 256 values in f32 for each image: 1.6 GB.
    let config = TrainConfig {
        objective: Objective::Denoise,
        network: SongUNetConfig { in_channels: 1, ..network() }.into(),
        conditions: vec![],
        batch: 200_000,
        ..config()
    };
    let error = run(&config, folder.path(), 1).unwrap_err();
    let out_of_memory = matches!(error, TrainError::Compute(ComputeError::OutOfMemory { .. }));
    assert!(out_of_memory && error.to_string().contains("micro_batch"), "{error}");
}

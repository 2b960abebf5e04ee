//! Checkpoints: round trips, strict reading, widening.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use eps_math::{Interpolant, Precondition, PreconditionMode, Task};
use eps_model::checkpoint::{self, AskedAt, CheckpointConfig, FORMAT_VERSION, Provenance, Storage};
use eps_model::{
    Condition, DataMoments, EmbeddingType, EncoderType, ImportedFile, Mode, ModelError, Precision,
    PrecondConfig, SongUNetConfig, TrainingRecord, UNet, UNetConfig, UNetModelConfig,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, Kind, Tensor};

fn network_config(in_channels: usize) -> SongUNetConfig {
    SongUNetConfig {
        model_channels: 8,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![8],
        augment_dim: 0,
        ..SongUNetConfig::ddpmpp(16, in_channels, 1)
    }
}

fn config() -> CheckpointConfig {
    CheckpointConfig {
        format_version: FORMAT_VERSION,
        name: "test".into(),
        network: network_config(3).into(),
        precondition: Precondition { mode: PreconditionMode::Spectral, sigma_data: 0.71 },
        parameterisation: None,
        conditions: vec![Condition::Observation, Condition::NoiseDiagonal],
        interpolant: Interpolant::Edm,
        sigma_min: 0.002,
        sigma_max: 80.0,
        tasks: vec![Task::MotionBlur].into(),
        asked_at: AskedAt::Pivot,
        sigma_y: Some(0.05.into()),
        data: None,
        provenance: Provenance {
            source: "random".into(),
            licence: "MIT".into(),
            command: "cargo test".into(),
            training: TrainingRecord { steps: Some(0), ..TrainingRecord::default() },
            start: None,
        },
    }
}

fn saved(storage: Storage) -> (tempfile::TempDir, PathBuf, UNet) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let network = UNet::new(config().network, Device::Cpu, 5).unwrap();
    checkpoint::save(&path, &network, &config(), storage).unwrap();
    (folder, path, network)
}

fn load(path: &Path) -> Result<checkpoint::Checkpoint, String> {
    checkpoint::load(path, Device::Cpu, Precision::F32).map_err(|error| error.to_string())
}

#[test]
fn a_network_comes_back_as_it_was() {
    let (_folder, path, network) = saved(Storage::F32);
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.config, config());
    for (name, tensor) in loaded.denoiser.network().tensors() {
        assert!(tensor.equal(&network.tensors()[&name]), "{name}");
    }
    // Half precision: 11 bits of significand, subnormal below 2⁻¹⁴ with spacing 2⁻²⁴.
    let (_folder, path, network) = saved(Storage::F16);
    for (name, tensor) in load(&path).unwrap().denoiser.network().tensors() {
        let exact = &network.tensors()[&name];
        let bound = exact.abs() * 2f64.powi(-11) + 2f64.powi(-25);
        let within = (tensor - exact).abs().le_tensor(&bound).all().int64_value(&[]);
        assert_eq!(within, 1, "{name}");
    }
}

#[test]
fn frequencies_are_not_rounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let network = SongUNetConfig { embedding_type: EmbeddingType::Fourier, ..network_config(3) };
    let config = CheckpointConfig { network: network.into(), ..config() };
    let network = UNet::new(config.network.clone(), Device::Cpu, 5).unwrap();
    checkpoint::save(&path, &network, &config, Storage::F16).unwrap();
    let read = load(&path).unwrap();
    let name = "model.map_noise.freqs";
    assert!(read.denoiser.network().tensors()[name].equal(&network.tensors()[name]));
}

#[test]
fn data_moments_come_back_and_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let network = UNet::new(config().network, Device::Cpu, 5).unwrap();
    let shape = eps_math::Shape::new(1, 16, 16).unwrap();
    let third = vec![1.0 / 3.0; 256];
    let moments =
        DataMoments { shape, mean: third.clone(), variance: third.clone(), spectrum: third };
    let precondition = Precondition { mode: PreconditionMode::Wiener, sigma_data: 0.71 };
    let save = |data: Option<DataMoments>| {
        let config = CheckpointConfig { precondition, data, ..config() };
        checkpoint::save(&path, &network, &config, Storage::F32).unwrap();
        load(&path)
    };
    assert_eq!(save(Some(moments.clone())).unwrap().denoiser.data(), Some(&moments));
    let error = save(None).unwrap_err();
    assert!(error.contains("wiener has no data moments"), "{error}");
    let error = save(Some(DataMoments { mean: vec![0.0], ..moments.clone() })).unwrap_err();
    assert!(error.contains("1 values in \"mean\"") && error.contains("need 256"), "{error}");
    let error = save(Some(DataMoments { variance: vec![-1.0; 256], ..moments })).unwrap_err();
    assert!(error.contains("the value -1 in \"variance\""), "{error}");
}

#[test]
fn the_start_of_a_training_is_kept_with_its_own() {
    let imported = Provenance {
        source: "edm.pkl".into(),
        training: TrainingRecord::of_import(ImportedFile {
            sha256: "ab".into(),
            ..ImportedFile::default()
        }),
        ..config().provenance
    };
    // Of an imported network the file that its publisher knows, of another its own.
    let first = imported.origin("cd".into());
    assert_eq!((&*first.source, &*first.sha256, &*first.licence), ("edm.pkl", "ab", "MIT"));
    let trained = Provenance { start: Some(Box::new(first.clone())), ..config().provenance };
    let second = trained.origin("cd".into());
    assert_eq!((&*second.sha256, second.start.as_deref()), ("cd", Some(&first)));

    let (_folder, path, network) = saved(Storage::F16);
    let load = || checkpoint::load(&path, Device::Cpu, Precision::F32).unwrap().config.provenance;
    // A file of before starts were recorded.
    assert!(!serde_json::to_string(&config()).unwrap().contains("start"));
    assert_eq!(load().start, None);
    let last = Provenance { start: Some(Box::new(second)), ..config().provenance };
    let with_start = CheckpointConfig { provenance: last.clone(), ..config() };
    checkpoint::save(&path, &network, &with_start, Storage::F16).unwrap();
    assert_eq!(load(), last);
}

#[test]
fn licences_that_forbid_commercial_use_are_known() {
    let of = |licence: &str| {
        Provenance { licence: licence.into(), ..config().provenance }.is_non_commercial()
    };
    for licence in ["CC BY-NC-SA 4.0", "cc-by-nc-4.0", "Non-Commercial", "noncommercial use only"] {
        assert!(of(licence), "{licence}");
    }
    for licence in ["MIT OR Apache-2.0", "CC BY-SA 4.0", "unknown", "NVIDIA Inc."] {
        assert!(!of(licence), "{licence}");
    }
}

#[test]
fn truncated_files_are_refused() {
    let (_folder, path, _) = saved(Storage::F16);
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 4, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = load(&path).unwrap_err();
        assert!(error.contains("net.safetensors") && error.contains("again"), "{error}");
    }
    let error = load(Path::new("absent.safetensors")).unwrap_err();
    assert!(error.contains("absent.safetensors"), "{error}");
}

type Entry = (String, Dtype, Vec<usize>, Vec<u8>);

type Change = Box<dyn FnOnce(&mut Vec<Entry>, &mut serde_json::Value)>;

/// Writes the file again with other tensors or another configuration.
fn tampered(path: &Path, change: impl FnOnce(&mut Vec<Entry>, &mut serde_json::Value)) {
    let bytes = std::fs::read(path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut json: serde_json::Value =
        serde_json::from_str(&metadata.metadata().as_ref().unwrap()["eps"]).unwrap();
    // As in a file of before digests were written.
    json.as_object_mut().unwrap().remove("sha256").unwrap();
    let mut entries: Vec<Entry> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    entries.sort();
    change(&mut entries, &mut json);
    let views = entries.iter().map(|(name, dtype, shape, data)| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let metadata = HashMap::from([("eps".to_owned(), json.to_string())]);
    std::fs::write(path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
}

#[test]
fn every_departure_is_named() {
    let conv = "model.enc.16x16_conv.weight";
    let at = move |entries: &mut Vec<Entry>| entries.iter().position(|e| e.0 == conv).unwrap();
    let cases: Vec<(&str, Change)> = vec![
        (
            "is missing",
            Box::new(move |entries, _| {
                let i = at(entries);
                entries.remove(i);
            }),
        ),
        (
            "is none of the network's",
            Box::new(move |entries, _| {
                let i = at(entries);
                let mut extra = entries[i].clone();
                extra.0 = "model.enc.extra".into();
                entries.push(extra);
            }),
        ),
        (
            "has shape [3, 8, 3, 3]",
            Box::new(move |entries, _| {
                let i = at(entries);
                entries[i].2 = vec![3, 8, 3, 3];
            }),
        ),
        (
            "stored as I16",
            Box::new(move |entries, _| {
                let i = at(entries);
                entries[i].1 = Dtype::I16;
            }),
        ),
        (
            "holds NaN at flat index 1",
            Box::new(move |entries, _| {
                let i = at(entries);
                entries[i].3[2..4].copy_from_slice(&0x7E00u16.to_le_bytes());
            }),
        ),
        ("format version 7", Box::new(|_, json| json["format_version"] = 7.into())),
        ("unknown field `surplus`", Box::new(|_, json| json["surplus"] = 1.into())),
        ("reads 3 channels", Box::new(|_, json| json["conditions"] = serde_json::json!([]))),
        ("num_blocks = 0", Box::new(|_, json| json["network"]["num_blocks"] = 0.into())),
        ("sigma_max 0.001", Box::new(|_, json| json["sigma_max"] = 0.001.into())),
        ("sigma_data is -1", Box::new(|_, json| json["precondition"]["sigma_data"] = (-1).into())),
        ("sigma_y is 0", Box::new(|_, json| json["sigma_y"] = 0.into())),
    ];
    for (expected, change) in cases {
        let (_folder, path, _) = saved(Storage::F16);
        tampered(&path, change);
        let error = load(&path).unwrap_err();
        assert!(error.contains(expected) && error.contains("net.safetensors"), "{error}");
    }
}

#[test]
fn weights_that_overflow_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let network = UNet::new(config().network, Device::Cpu, 5).unwrap();
    let _guard = tch::no_grad_guard();
    let _ = network.tensors().get_mut("model.map_layer0.bias").unwrap().fill_(1e6);
    let error = checkpoint::save(&path, &network, &config(), Storage::F16).unwrap_err();
    assert!(matches!(error, ModelError::Overflow { index: 0, .. }), "{error}");
    let words = error.to_string();
    for word in ["model.map_layer0.bias", "holds 1000000", "f16 cannot hold", "f32", "bf16"] {
        assert!(words.contains(word), "no {word:?} in: {words}");
    }
    assert!(!words.contains("diverged"), "{words}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // Eight bits of significand.
    checkpoint::save(&path, &network, &config(), Storage::Bf16).unwrap();
    let read = load(&path).unwrap().denoiser;
    let stored = read.network().tensors()["model.map_layer0.bias"].double_value(&[0]);
    assert!((stored / 1e6 - 1.0).abs() <= 2f64.powi(-9), "{stored}");
    // What is no number is so in every format.
    let _ = network.tensors().get_mut("model.map_layer0.bias").unwrap().fill_(f64::NAN);
    let error = checkpoint::save(&path, &network, &config(), Storage::Bf16).unwrap_err();
    assert!(matches!(error, ModelError::NonFinite { .. }), "{error}");
}

#[test]
fn every_flipped_bit_is_found() {
    let (_folder, path, _) = saved(Storage::F16);
    assert!(checkpoint::load(&path, Device::Cpu, Precision::F32).unwrap().has_digests);
    let bytes = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // In the weights: one bit of every 97th byte.
    for at in (header..bytes.len()).step_by(97) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(&path, changed).unwrap();
        let error = load(&path).unwrap_err();
        assert!(
            error.contains("tensor \"model.") && error.contains("not what was written"),
            "{at}: {error}"
        );
    }
    // In names, shapes and the configuration.
    for at in (0..header).step_by(61) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 7);
        std::fs::write(&path, changed).unwrap();
        assert!(load(&path).is_err(), "byte {at}");
    }
    std::fs::write(&path, bytes).unwrap();
    load(&path).unwrap();
}

#[test]
fn files_of_before_digests_are_read() {
    let (_folder, path, _) = saved(Storage::F16);
    tampered(&path, |_, _| {});
    let read = checkpoint::load(&path, Device::Cpu, Precision::F32).unwrap();
    assert!(!read.has_digests);
    assert_eq!(read.config, config());
    // As `sha256sum FILE > FILE.sha256` writes it.
    let bytes = std::fs::read(&path).unwrap();
    let beside = path.with_added_extension("sha256");
    let name = path.file_name().unwrap().to_str().unwrap();
    std::fs::write(&beside, format!("{}  {name}\n", eps_files::sha256(&bytes))).unwrap();
    assert!(checkpoint::load(&path, Device::Cpu, Precision::F32).unwrap().has_digests);
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&path, changed).unwrap();
    let error = load(&path).unwrap_err();
    assert!(
        error.contains("the file as a whole") && error.contains("not what was written"),
        "{error}"
    );
    // The same network is the same file.
    let (_other, again, _) = saved(Storage::F16);
    let (_third, third, _) = saved(Storage::F16);
    assert_eq!(std::fs::read(again).unwrap(), std::fs::read(third).unwrap());
}

#[test]
fn a_widened_network_starts_as_the_narrow_one() {
    let residual = |in_channels| SongUNetConfig {
        model_channels: 8,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![],
        ..SongUNetConfig::ncsnpp(16, in_channels, 1)
    };
    let skip =
        |in_channels| SongUNetConfig { encoder_type: EncoderType::Skip, ..residual(in_channels) };
    let guided = |in_channels| UNetModelConfig {
        image_size: 16,
        in_channels,
        out_channels: 2,
        learn_sigma: true,
        num_channels: 32,
        channel_mult: vec![1.0],
        num_res_blocks: 1,
        ..UNetModelConfig::default()
    };
    let edm2 = |condition_channels| PrecondConfig {
        img_resolution: 16,
        img_channels: 1,
        condition_channels,
        model_channels: 8,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        ..PrecondConfig::default()
    };
    let pairs: [[UNetConfig; 2]; 5] = [
        [network_config(1).into(), network_config(3).into()],
        [residual(1).into(), residual(3).into()],
        [skip(1).into(), skip(3).into()],
        [guided(1).into(), guided(3).into()],
        [edm2(0).into(), edm2(2).into()],
    ];
    for [narrow, wide] in pairs {
        let narrow = UNet::new(narrow, Device::Cpu, 1).unwrap();
        let wide = checkpoint::widen(&narrow, &wide, Device::Cpu).unwrap();
        // Gains that start at 0 would hide the rest.
        for network in [&narrow, &wide] {
            for (name, mut tensor) in network.tensors() {
                match name.as_str() {
                    "out.2.weight" => tensor.set_data(&(tensor.ones_like() * 0.1)),
                    name if name.ends_with("gain") => tensor.set_data(&Tensor::from(0.7f32)),
                    _ => {}
                }
            }
        }
        let values = eps_math::rng::Stream::named(0, "x").normals(2 * 3 * 256);
        let x = Tensor::from_slice(&values).view([2, 3, 16, 16]).to_kind(Kind::Float);
        let c_noise = Tensor::from_slice(&[0.1f32, -0.4]);
        let run = |net: &UNet, x: &Tensor| net.forward(x, &c_noise, None, None, Mode::Eval);
        let (a, b) = (run(&narrow, &x.narrow(1, 0, 1)), run(&wide, &x));
        // The zero channels only change how a convolution of 27 products is summed.
        let scale = a.abs().max().double_value(&[]);
        let difference = (a - b).abs().max().double_value(&[]);
        assert!(difference <= 1e-5 * scale, "{difference} of {scale}");
    }
    // Classes that are new change nothing yet, and can be learnt.
    let classes: [[UNetConfig; 2]; 2] = [
        [network_config(1).into(), SongUNetConfig { label_dim: 4, ..network_config(1) }.into()],
        [guided(1).into(), UNetModelConfig { num_classes: 4, ..guided(1) }.into()],
    ];
    for [narrow, wide] in classes {
        let narrow = UNet::new(narrow, Device::Cpu, 1).unwrap();
        let wide = checkpoint::widen(&narrow, &wide, Device::Cpu).unwrap();
        for network in [&narrow, &wide] {
            if let Some(tensor) = network.tensors().get_mut("out.2.weight") {
                tensor.set_data(&(tensor.ones_like() * 0.1));
            }
        }
        let (x, c_noise) =
            (Tensor::ones([1, 1, 16, 16], tch::kind::FLOAT_CPU), Tensor::from_slice(&[0.3f32]));
        let label = eps_model::one_hot(&[2], 4, Device::Cpu).unwrap();
        let a = narrow.forward(&x, &c_noise, None, None, Mode::Eval);
        let b = wide.forward(&x, &c_noise, Some(&label), None, Mode::Eval);
        assert_eq!(a, b);
        assert!(a.abs().max().double_value(&[]) > 0.0);
    }
    let narrow = UNet::new(network_config(1), Device::Cpu, 1).unwrap();
    let deeper = SongUNetConfig { num_blocks: 2, ..network_config(3) }.into();
    assert!(checkpoint::widen(&narrow, &deeper, Device::Cpu).is_err());
    let other = checkpoint::widen(&narrow, &edm2(0).into(), Device::Cpu).unwrap_err().to_string();
    assert!(
        other.starts_with("it is a SongUNet, and the configuration's network a Precond"),
        "{other}"
    );
    let scaled = |label_dim| PrecondConfig { label_dim, ..edm2(0) };
    let without = UNet::new(scaled(0), Device::Cpu, 1).unwrap();
    assert!(checkpoint::widen(&without, &scaled(4).into(), Device::Cpu).is_err());
    assert!(checkpoint::widen(&narrow, &network_config(1).into(), Device::Cpu).is_ok());
}

//! Imports of small networks, from files as EDM and PyTorch write them.

mod families;
mod forms;
#[path = "../../../../eps-data/tests/torch_writer/mod.rs"]
mod torch_writer;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::edm;
use clap::Parser as _;
use eps_math::rng::Stream;
use eps_math::{Interpolant, Level, Precondition, PreconditionMode};
use eps_model::checkpoint::{self, Checkpoint};
use eps_model::{
    Denoiser as _, DhariwalUNetConfig, NetworkDenoiser, Precision, Query, QueryNoise,
    SongUNetConfig, UNet, UNetConfig, level_fields,
};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use torch_writer::{
    Named, Py, call, dict, dumps, embedded, int, legacy, ordered_dict, state_dict, text, zipped,
};
use zip::CompressionMethod::Stored;

/// A folder for one test, removed in the end.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// The command line of `eps import` with paths in the folder; options start with `--`.
    fn line(&self, arguments: &[&str]) -> Result<super::Arguments, String> {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            arguments: super::Arguments,
        }
        let in_folder = |argument: &&str| match argument {
            name if name.contains('.') && !name.contains(' ') => {
                self.path(name).to_str().unwrap().to_owned()
            }
            other => (*other).to_owned(),
        };
        let line = std::iter::once("import".to_owned()).chain(arguments.iter().map(in_folder));
        Line::try_parse_from(line).map(|line| line.arguments).map_err(|error| error.to_string())
    }

    /// Runs `eps import`.
    fn import(&self, arguments: &[&str]) -> Result<(), String> {
        self.line(arguments)?.run().map_err(|error| format!("{error:#}"))
    }

    /// Imports bytes and reads the network that comes of them.
    fn imported(&self, bytes: &[u8], options: &[&str]) -> Result<Checkpoint, String> {
        self.write("net.pkl", bytes);
        self.import(&[&["net.pkl", "out.safetensors", "--force"], options].concat())?;
        Ok(checkpoint::load(&self.path("out.safetensors"), Device::Cpu, Precision::F32).unwrap())
    }
}

/// DDPM++, NCSN++, a conditional DDPM++ and a conditional ADM.
fn configs() -> [UNetConfig; 4] {
    let tiny = |config| SongUNetConfig {
        model_channels: 8,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![4],
        augment_dim: 9,
        ..config
    };
    let ddpmpp = tiny(SongUNetConfig::ddpmpp(8, 3, 3));
    let adm = DhariwalUNetConfig {
        label_dim: 5,
        model_channels: 16,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![8],
        ..DhariwalUNetConfig::adm(8, 3, 3)
    };
    [
        ddpmpp.clone().into(),
        tiny(SongUNetConfig::ncsnpp(8, 3, 3)).into(),
        SongUNetConfig { label_dim: 5, ..ddpmpp }.into(),
        adm.into(),
    ]
}

/// A network whose output is not near 0, as that of a new one is.
fn network(config: &UNetConfig) -> UNet {
    let network = UNet::new(config.clone(), Device::Cpu, 7).unwrap();
    let _guard = tch::no_grad_guard();
    for (name, mut tensor) in network.tensors() {
        let noise = Stream::named(1, &name).normals(tensor.numel());
        let noise = Tensor::from_slice(&noise).view(&tensor.size()[..]).to_kind(Kind::Float);
        tensor.copy_(&(&tensor + noise * 0.1));
    }
    network
}

/// The tensors that EDM's `state_dict` has: those of the network and its resampling filters.
fn tensors(network: &UNet) -> Vec<Named> {
    let mut tensors: Vec<Named> = network
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let dims = tensor.size().into_iter().map(|side| side as usize).collect();
            (name, dims, Vec::try_from(tensor.flatten(0, -1)).unwrap())
        })
        .collect();
    let taps = network.config().resample_filter();
    let sum: f64 = taps.iter().sum();
    let filter: Vec<f32> =
        taps.iter().flat_map(|a| taps.iter().map(move |b| (a * b / (sum * sum)) as f32)).collect();
    for conv in ["model.enc.4x4_down.conv0", "model.dec.8x8_up.skip"] {
        let dims = vec![1, 1, taps.len(), taps.len()];
        tensors.push((format!("{conv}.resample_filter"), dims, filter.clone()));
    }
    tensors
}

/// A persistent object of a class.
fn object(class: &str, state: Py) -> Py {
    let meta = dict([
        ("type", text("class")),
        ("version", int(6)),
        ("module_src", text("import os; os.system('touch x')")),
        ("class_name", text(class)),
        ("state", state),
    ]);
    call("torch_utils.persistence", "_reconstruct_persistent_obj", vec![meta])
}

/// The module of all tensors whose names start with `prefix`, with further attributes, in a network of
/// the class `model`.
fn module(prefix: &str, model: &str, tensors: &[Named], attributes: Vec<(&str, Py)>) -> Py {
    let mut parameters = vec![];
    let mut buffers = vec![("unused", Py::None)];
    let mut parts: BTreeMap<&str, Py> = BTreeMap::new();
    for (name, dims, values) in tensors {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        match rest.split_once('.') {
            Some((part, _)) if parts.contains_key(part) => {}
            Some((part, _)) => {
                let prefix = format!("{prefix}{part}.");
                parts.insert(part, module(&prefix, model, tensors, vec![]));
            }
            None if ["freqs", "resample_filter"].contains(&rest) => {
                buffers.push((rest, embedded(dims, values)));
            }
            None => {
                let hooks = ordered_dict::<&str>([]);
                let arguments = vec![embedded(dims, values), Py::Bool(true), hooks];
                parameters.push((rest, call("torch._utils", "_rebuild_parameter", arguments)));
            }
        }
    }
    let state = [
        ("training", Py::Bool(false)),
        ("_parameters", ordered_dict(parameters)),
        ("_buffers", ordered_dict(buffers)),
        ("_modules", ordered_dict(parts)),
    ];
    let state = dict(state.into_iter().chain(attributes));
    let class = match prefix.trim_end_matches('.').rsplit('.').next().unwrap() {
        "" => "EDMPrecond",
        "model" => model,
        "enc" | "dec" => {
            let class = Py::Global("torch.nn.modules.container", "ModuleDict");
            return Py::Object(Box::new(class), Box::new(state));
        }
        "map_noise" => "FourierEmbedding",
        name if name.starts_with("map_") || name == "affine" => "Linear",
        name if name.contains("norm") => "GroupNorm",
        name if name.contains("block") || name.contains("_in") => "UNetBlock",
        _ => "Conv2d",
    };
    object(class, state)
}

/// The value of JSON.
fn python(value: serde_json::Value) -> Py {
    match value {
        serde_json::Value::String(value) => Py::Text(value),
        serde_json::Value::Number(value) => {
            value.as_i64().map_or_else(|| Py::Float(value.as_f64().unwrap()), Py::Int)
        }
        serde_json::Value::Array(items) => Py::List(items.into_iter().map(python).collect()),
        other => panic!("{other}"),
    }
}

/// The file of a network, as EDM's training writes it; `change` may change the attributes.
fn pickle(
    config: &UNetConfig,
    tensors: &[Named],
    protocol: u8,
    change: impl Fn(&mut BTreeMap<&str, Py>),
) -> Vec<u8> {
    let serde_json::Value::Object(mut kwargs) = serde_json::to_value(config).unwrap() else {
        panic!()
    };
    let side = kwargs["img_resolution"].clone();
    let model = kwargs["model_type"].as_str().unwrap().to_owned();
    for name in ["in_channels", "out_channels", "label_dim"] {
        kwargs.remove(name);
    }
    let mut kwargs: Vec<(String, Py)> =
        kwargs.into_iter().map(|(name, value)| (name, python(value))).collect();
    kwargs.push(("img_channels".to_owned(), int(config.out_channels())));
    kwargs.push(("label_dim".to_owned(), int(config.label_dim())));
    kwargs.push(("use_fp16".to_owned(), Py::Bool(false)));
    let mut attributes = BTreeMap::from([
        ("img_resolution", python(side)),
        ("img_channels", int(config.out_channels())),
        ("label_dim", int(config.label_dim())),
        ("use_fp16", Py::Bool(false)),
        ("sigma_min", int(0)),
        ("sigma_max", Py::Float(f64::INFINITY)),
        ("sigma_data", Py::Float(0.5)),
        ("_init_args", Py::Tuple(vec![])),
        ("_init_kwargs", dict(kwargs)),
    ]);
    change(&mut attributes);
    let ema = module("", &model, tensors, attributes.into_iter().collect());
    let loss = object("EDMLoss", dict([("P_mean", Py::Float(-1.2))]));
    dumps(&dict([("ema", ema), ("loss_fn", loss), ("augment_pipe", Py::None)]), protocol)
}

/// The tensors of a network, bit for bit.
fn assert_equal(found: &UNet, expected: &UNet) {
    let (found, expected) = (found.tensors(), expected.tensors());
    assert_eq!(found.len(), expected.len());
    for (name, tensor) in expected {
        let bits = |tensor: &Tensor| tensor.flatten(0, -1).view_dtype(Kind::Int);
        assert!(bits(&found[&name]).equal(&bits(&tensor)), "{name}");
    }
}

fn denoised(denoiser: &NetworkDenoiser) -> Tensor {
    let x = Stream::named(0, "x").normals(2 * 3 * 64);
    let x = Tensor::from_slice(&x).view([2, 3, 8, 8]);
    let levels = [0.3, 4.0].map(|beta| Level { alpha: 1.0, beta });
    let level = level_fields(&levels, Device::Cpu);
    denoiser.denoise(&Query { mu: &x, level: &level, noise: QueryNoise::Isotropic }).unwrap()
}

#[test]
fn pickles_of_edm_come_back_bit_for_bit() {
    let folder = Folder::new();
    for config in configs() {
        let network = network(&config);
        for protocol in [2, 4] {
            let file = pickle(&config, &tensors(&network), protocol, |_| {});
            let found = folder.imported(&file, &[]).unwrap();
            assert_equal(found.denoiser.network(), &network);
            let precondition = Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 };
            assert_eq!(found.config.network, config);
            assert_eq!(found.config.precondition, precondition);
            assert_eq!(found.config.interpolant, Interpolant::Edm);
            assert_eq!((found.config.sigma_min, found.config.sigma_max), (0.002, 80.0));
            assert!(found.config.tasks.is_empty() && found.config.conditions.is_empty());
            let provenance = &found.config.provenance;
            assert_eq!((&*provenance.source, &*found.config.name), ("net.pkl", "net"));
            assert_eq!(provenance.licence, "CC BY-NC-SA 4.0");
            assert!(provenance.is_non_commercial());
            let sha256 = eps_files::sha256(&file);
            assert_eq!(provenance.imported_sha256(), Some(&*sha256));
            if protocol == 4 {
                let original =
                    NetworkDenoiser::new(copy(&network), precondition, vec![], Precision::F32);
                assert!(denoised(&found.denoiser).equal(&denoised(&original)));
            }
        }
    }
}

/// Another network of the same tensors.
fn copy(network: &UNet) -> UNet {
    let copy = UNet::new(network.config().clone(), Device::Cpu, 0).unwrap();
    let _guard = tch::no_grad_guard();
    for (name, mut tensor) in copy.tensors() {
        tensor.copy_(&network.tensors()[&name]);
    }
    copy
}

#[test]
fn state_dicts_of_every_form_are_read() {
    let folder = Folder::new();
    for config in configs() {
        let network = network(&config);
        let named = tensors(&network);
        let plain: Vec<Named> = named
            .iter()
            .map(|(name, dims, values)| {
                (name.strip_prefix("model.").unwrap().to_owned(), dims.clone(), values.clone())
            })
            .collect();
        folder.write("network.json", serde_json::to_string(&config).unwrap().as_bytes());
        let architecture = ["--architecture", "network.json"];
        for named in [&named, &plain] {
            for old in [true, false] {
                for level in ["", "ema", "state_dict", "model"] {
                    let (entries, storages) = state_dict(named, old);
                    let root = match level {
                        "" => ordered_dict(entries),
                        name => dict([("epoch", int(3)), (name, ordered_dict(entries))]),
                    };
                    let file = if old {
                        legacy(&root, &storages)
                    } else {
                        zipped(&root, &storages, Stored)
                    };
                    let found = folder.imported(&file, &architecture).unwrap();
                    assert_equal(found.denoiser.network(), &network);
                    assert_eq!(found.config.provenance.licence, "unknown");
                }
            }
        }
    }
}

#[test]
fn the_configuration_of_a_training_says_how_its_network_is_asked() {
    let folder = Folder::new();
    let [config, ..] = configs();
    let (entries, storages) = state_dict(&tensors(&network(&config)), false);
    let file = zipped(&ordered_dict(entries), &storages, Stored);
    let imported = |mode: &str| {
        let training = serde_json::json!({
            "network": config,
            "precondition": { "mode": mode, "sigma_data": 0.71 },
            "noise_law": { "mean": 0.0, "deviation": 1.0, "sigma_min": 0.01, "sigma_max": 70.0 },
        });
        folder.write("training.json", training.to_string().as_bytes());
        folder.imported(&file, &["--architecture", "training.json"])
    };
    let found = imported("spectral").unwrap().config;
    let spectral = Precondition { mode: PreconditionMode::Spectral, sigma_data: 0.71 };
    assert_eq!(found.precondition, spectral);
    assert_eq!([found.sigma_min, found.sigma_max], [0.01, 70.0]);
    let error = imported("wiener").err().unwrap();
    assert!(error.contains("the moments of the images"), "{error}");
}

#[test]
fn licence_precision_and_names_are_the_users() {
    let folder = Folder::new();
    let [config, ..] = configs();
    let network = network(&config);
    let file = pickle(&config, &tensors(&network), 4, |_| {});
    let found = folder.imported(&file, &["--licence", "MIT", "--half"]).unwrap();
    assert_eq!(found.config.provenance.licence, "MIT");
    assert!(!found.config.provenance.is_non_commercial());
    let stored = found.denoiser.network().tensors();
    let half = network.tensors()["model.map_layer0.weight"].to_kind(Kind::Half);
    assert!(stored["model.map_layer0.weight"].equal(&half.to_kind(Kind::Float)));

    // A weight that f16 cannot hold: what holds it is named, and nothing is written.
    let mut large = tensors(&network);
    let at = large.iter().position(|(name, ..)| name == "model.map_layer0.bias").unwrap();
    large[at].2[3] = 1e5;
    let file = pickle(&config, &large, 4, |_| {});
    std::fs::remove_file(folder.path("out.safetensors")).unwrap();
    let error = folder.imported(&file, &["--half"]).err().unwrap();
    for word in ["--storage bf16", "f16 cannot hold", "model.map_layer0.bias", "100000"] {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
    assert!(!folder.path("out.safetensors").exists());
    for storage in ["bf16", "f32"] {
        let found = folder.imported(&file, &["--storage", storage]).unwrap();
        let bias = found.denoiser.network().tensors()["model.map_layer0.bias"].double_value(&[3]);
        assert!((bias / 1e5 - 1.0).abs() <= 2f64.powi(-9), "{storage}: {bias}");
    }

    let error = folder.import(&["net.pkl", "out.safetensors"]).unwrap_err();
    assert!(error.contains("exists already"), "{error}");
    let error = folder.import(&["none.pkl", "new.safetensors"]).unwrap_err();
    assert!(error.contains("none.pkl") && error.contains("check its path"), "{error}");
    let error = folder.import(&["net.pkl"]).unwrap_err();
    assert!(error.contains("OUT.safetensors"), "{error}");
    let error = folder.import(&["lpips", "net.pkl", "folder.d"]).unwrap_err();
    assert!(error.contains("tar.gz"), "{error}");
    assert!(folder.import(&["lpips"]).unwrap_err().contains("ARCHIVE"));
}

#[test]
fn a_file_of_another_network_is_refused() {
    let folder = Folder::new();
    let [config, ..] = configs();
    let whole = tensors(&network(&config));
    let fails = |tensors: &[Named], options: &[&str], words: &[&str]| {
        let error = folder.imported(&pickle(&config, tensors, 4, |_| {}), options).err().unwrap();
        for word in words {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
    };
    let place = |name: &str| whole.iter().position(|(found, ..)| found == name).unwrap();
    let weight = place("model.map_layer0.weight");
    let mut changed = whole.clone();
    changed.remove(weight);
    fails(&changed, &[], &["1 missing (model.map_layer0.weight)"]);
    let mut changed = whole.clone();
    changed.push(("model.map_layer2.weight".to_owned(), vec![1], vec![0.0]));
    fails(&changed, &[], &["1 surplus (model.map_layer2.weight)"]);
    let mut changed = whole.clone();
    changed[weight].1.reverse();
    fails(&changed, &[], &["1 of another shape (model.map_layer0.weight [8, 32] for [32, 8])"]);
    let mut changed = whole.clone();
    changed[weight].2[5] = f32::NAN;
    fails(&changed, &[], &["model.map_layer0.weight", "NaN"]);
    let mut changed = whole.clone();
    changed.last_mut().unwrap().2[1] = 0.3;
    fails(&changed, &[], &["model.dec.8x8_up.skip.resample_filter is not the filter [1.0, 1.0]"]);

    let published = ["--architecture", "edm-ffhq-64x64-uncond-vp"];
    fails(&whole, &published, &["not edm-ffhq-64x64-uncond-vp", "\"model_channels\":8"]);
    fails(&whole, &["--architecture", "edm-ffhq"], &["known are edm-ffhq-64x64-uncond-vp, "]);
    folder.write("broken.json", b"{}");
    fails(&whole, &["--architecture", "broken.json"], &["no configuration of a network"]);
}

#[test]
fn objects_that_are_not_edms_are_named() {
    let folder = Folder::new();
    let [config, ..] = configs();
    let named = tensors(&network(&config));
    let fails = |file: &[u8], words: &str| {
        let error = folder.imported(file, &[]).err().unwrap();
        assert!(error.contains(words), "no {words:?} in: {error}");
    };
    let changed = |name: &'static str, value: Py| {
        pickle(&config, &named, 4, move |attributes| {
            attributes.insert(name, value.clone());
        })
    };
    let hostile = || call("posix", "system", vec![text("touch x")]);
    let kwargs = |name: &str, value: Py| dict([("model_type", text("SongUNet")), (name, value)]);
    fails(&changed("sigma_data", text("x")), "sigma_data is a text, not a number");
    fails(&changed("img_channels", hostile()), "the file names posix.system");
    fails(&changed("_init_args", Py::Tuple(vec![int(8)])), "1 arguments by position");
    fails(&changed("_init_kwargs", hostile()), "the file names posix.system");
    fails(&changed("_init_kwargs", kwargs("gain", int(2))), "unknown field `gain`");
    fails(&changed("_init_kwargs", kwargs("dropout", hostile())), "the file names posix.system");
    fails(&changed("_init_kwargs", dict([("model_type", text("VUNet"))])), "\"VUNet\"");
    fails(&changed("_init_kwargs", kwargs("img_resolution", int(9))), "img_resolution is 8");
    fails(
        &changed("_init_kwargs", kwargs("num_blocks", Py::Int(1 << 50))),
        "too few for its configuration",
    );
    for field in ["model_channels", "channel_mult_noise"] {
        let huge = kwargs(field, Py::Int(i64::MAX));
        fails(&changed("_init_kwargs", huge), "too few for its configuration");
    }
    fails(
        &changed("_modules", ordered_dict([("model", hostile())])),
        "the file names posix.system",
    );
    fails(&changed("_modules", ordered_dict::<&str>([])), "no part \"model\"");
    let other = object("Evil", dict::<&str>([]));
    fails(&changed("_modules", ordered_dict([("model", other)])), "the network is a \"Evil\"");

    let wrapped = dict([("ema", object("VPPrecond", dict::<&str>([])))]);
    fails(&dumps(&wrapped, 4), "wrapped in \"VPPrecond\"");
    fails(&dumps(&dict([("ema", hostile())]), 4), "the file names posix.system");
    fails(&dumps(&hostile(), 4), "the file names posix.system");
    fails(&dumps(&dict([("weight", hostile())]), 4), "the file names posix.system");
    let old = call(
        "torch_utils.persistence",
        "_reconstruct_persistent_obj",
        vec![dict([("type", text("class")), ("version", int(5))])],
    );
    fails(&dumps(&old, 4), "of type \"class\" and version 5");
    fails(b"\x80\x04\xffx.", "byte 2 is 0xff");
    fails(b"", "cut off");
    assert!(!folder.path("out.safetensors").exists());
}

#[test]
fn globals_that_nothing_needs_are_refused_by_name() {
    let folder = Folder::new();
    let [config, ..] = configs();
    let named = tensors(&network(&config));
    let fails = |file: &[u8], options: &[&str], name: &str| {
        let error = folder.imported(file, options).err().unwrap();
        assert!(error.contains(&format!("names {name}, which is no part")), "{error}");
    };
    // Beside a network that is whole: called, and only named.
    for extra in [call("posix", "system", vec![text("touch x")]), Py::Global("os", "system")] {
        let name = if matches!(extra, Py::Global(..)) { "os.system" } else { "posix.system" };
        let file = pickle(&config, &named, 4, |attributes| {
            attributes.insert("hook", extra.clone());
        });
        fails(&file, &[], name);
    }
    folder.write("network.json", serde_json::to_string(&config).unwrap().as_bytes());
    let (entries, storages) = state_dict(&named, false);
    let entries = ordered_dict(entries);
    let root = dict([("ema", entries), ("arguments", Py::Global("subprocess", "Popen"))]);
    let file = zipped(&root, &storages, Stored);
    fails(&file, &["--architecture", "network.json"], "subprocess.Popen");
    assert!(!folder.path("out.safetensors").exists());
}

#[test]
fn tensors_that_share_values_or_names_are_refused() {
    let folder = Folder::new();
    let shared = torch_writer::Storage::new("0", &[0.5; 4096]);
    let reference = || shared.reference("FloatStorage", false);
    let tensors =
        (0..100).map(|at| (format!("t{at}"), torch_writer::tensor(reference(), 0, &[4096], &[1])));
    let file = zipped(&dict(tensors), std::slice::from_ref(&shared), Stored);
    let error = folder.imported(&file, &[]).err().unwrap();
    assert!(error.contains("shares its values with other tensors"), "{error}");
    let twice = [("t", embedded(&[1], &[1.0])), ("t", embedded(&[1], &[1.0]))];
    let error = folder.imported(&dumps(&dict(twice), 4), &[]).err().unwrap();
    assert!(error.contains("t is there twice"), "{error}");
}

#[test]
fn a_second_import_into_a_file_is_refused_at_once() {
    let folder = Folder::new();
    // The file is looked at after the lock: another error would be that it is no network.
    folder.write("net.pkl", b"no network");
    let out = folder.path("out.safetensors");
    let lock = eps_files::WriteLock::take(&out).unwrap();
    for options in [&[][..], &["--force"]] {
        let refused = folder.import(&[&["net.pkl", "out.safetensors"], options].concat());
        let error = refused.unwrap_err();
        assert!(error.contains("another process works on") && error.contains("out.safetensors"));
    }
    drop(lock);
    let error = folder.import(&["net.pkl", "out.safetensors"]).unwrap_err();
    assert!(error.contains("the file is no pickle"), "{error}");
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 1, "locks are removed");
}

#[test]
fn damaged_files_are_refused() {
    let folder = Folder::new();
    let [config, ..] = configs();
    let network = network(&config);
    folder.write("network.json", serde_json::to_string(&config).unwrap().as_bytes());
    let (entries, storages) = state_dict(&tensors(&network), true);
    let old = legacy(&ordered_dict(entries), &storages);
    let (entries, storages) = state_dict(&tensors(&network), false);
    let new = zipped(&ordered_dict(entries), &storages, Stored);
    for (file, options) in [
        (pickle(&config, &tensors(&network), 2, |_| {}), &[][..]),
        (pickle(&config, &tensors(&network), 4, |_| {}), &[]),
        (old, &["--architecture", "network.json"]),
        (new, &["--architecture", "network.json"]),
    ] {
        let line = folder.line(&[&["net.pkl", "out.safetensors"], options].concat()).unwrap();
        let convert = |bytes: &[u8]| edm::convert("net.pkl".as_ref(), bytes, &line.edm);
        assert_equal(&convert(&file).unwrap().network, &network);
        for length in (0..file.len()).step_by(97) {
            assert!(convert(&file[..length]).is_err(), "{length} of {} bytes", file.len());
        }
        // Changed bytes: a weight may be another, but there is no panic.
        let stream = Stream::named(3, "bytes");
        for round in 0..60 {
            let mut changed = file.clone();
            for i in 0..4 {
                let draw = |offset: u64| stream.uniform(8 * round + 2 * i + offset);
                let at = (draw(0) * file.len() as f64) as usize;
                changed[at] = (draw(1) * 256.0) as u8;
            }
            let _ = convert(&changed);
        }
    }
}

#[test]
fn a_published_network_is_recognised_by_its_tensors() {
    let folder = Folder::new();
    let [config, ..] = configs();
    let (entries, storages) = state_dict(&tensors(&network(&config)), false);
    let file = zipped(&dict(entries), &storages, Stored);
    let error = folder.imported(&file, &[]).err().unwrap();
    assert!(error.contains("no published network; the nearest is edm-"), "{error}");
    assert!(error.contains("--architecture"), "{error}");
}

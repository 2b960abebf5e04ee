//! The forms in which trainings of other programs leave one network: averages beside raw weights, prefixes, states of
//! trainings, safetensors.

use std::collections::HashMap;
use std::path::Path;

use eps_files::sha256;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};

use super::*;

/// The small DDPM++ network, its tensors by EDM's names without `model.`, and a folder with its configuration.
struct Case {
    folder: Folder,
    config: UNetConfig,
    network: UNet,
    named: Vec<Named>,
}

const ARCHITECTURE: [&str; 2] = ["--architecture", "network.json"];

impl Case {
    fn new() -> Self {
        let folder = Folder::new();
        let [config, ..] = configs();
        let network = network(&config);
        folder.write("network.json", serde_json::to_string(&config).unwrap().as_bytes());
        let named =
            renamed(&tensors(&network), |name| name.strip_prefix("model.").unwrap().to_owned());
        Self { folder, config, network, named }
    }

    /// The network, its file's configuration and what was noted in an import of bytes under a name.
    fn convert(
        &self,
        name: &str,
        bytes: &[u8],
        options: &[&str],
    ) -> Result<edm::Converted, String> {
        let line = [&[name, "out.safetensors"], &ARCHITECTURE[..], options].concat();
        let arguments = self.folder.line(&line)?;
        edm::convert(&self.folder.path(name), bytes, &arguments.edm)
            .map_err(|error| format!("{error:#}"))
    }
}

fn renamed(tensors: &[Named], name: impl Fn(&str) -> String) -> Vec<Named> {
    tensors.iter().map(|(old, dims, values)| (name(old), dims.clone(), values.clone())).collect()
}

/// The same tensors with other values, as weights without averaging have.
fn raw(tensors: &[Named]) -> Vec<Named> {
    let other = |values: &[f32]| values.iter().map(|value| value + 1.0).collect();
    tensors
        .iter()
        .map(|(name, dims, values)| {
            let is_filter = name.ends_with("resample_filter");
            (name.clone(), dims.clone(), if is_filter { values.clone() } else { other(values) })
        })
        .collect()
}

/// A ZIP file of `torch.save` whose value is made of state dicts.
struct File {
    storages: Vec<torch_writer::Storage>,
}

impl File {
    fn new() -> Self {
        Self { storages: vec![] }
    }

    /// The state dict of tensors.
    fn state_dict(&mut self, tensors: &[Named]) -> Py {
        let entries = tensors.iter().map(|(name, dims, values)| {
            let storage = torch_writer::Storage::new(&self.storages.len().to_string(), values);
            let reference = storage.reference("FloatStorage", false);
            self.storages.push(storage);
            (name.clone(), torch_writer::tensor(reference, 0, dims, &torch_writer::row_major(dims)))
        });
        ordered_dict(entries.collect::<Vec<_>>())
    }

    fn save(self, root: &Py) -> Vec<u8> {
        zipped(root, &self.storages, Stored)
    }
}

/// The state of Adam, by the numbers of weights.
fn optimiser(file: &mut File) -> Py {
    let moments = file.state_dict(&[("exp_avg".to_owned(), vec![2, 2], vec![0.5; 4])]);
    let group = dict([("lr", Py::Float(1e-4)), ("params", Py::List(vec![int(0)]))]);
    dict([("state", Py::Dict(vec![(int(0), moments)])), ("param_groups", Py::List(vec![group]))])
}

#[test]
fn an_optimiser_alone_is_named() {
    let case = Case::new();
    let mut file = File::new();
    let root = optimiser(&mut file);
    let error = case.convert("opt.pt", &file.save(&root), &[]).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("holds an optimiser's state") && error.contains("no network"),
        "{error}"
    );
}

#[test]
fn a_list_of_networks_is_named() {
    let case = Case::new();
    let list = |file: &mut File| {
        Py::List(vec![file.state_dict(&[("out.weight".to_owned(), vec![2, 2], vec![0.5; 4])])])
    };
    let (mut file, mut inner) = (File::new(), File::new());
    let root = list(&mut file);
    let inside = dict([("models", list(&mut inner))]);
    for (bytes, what) in [
        (file.save(&root), "the file holds a list of 1"),
        (inner.save(&inside), "models is a list of 1"),
    ] {
        let error = format!("{:#}", case.convert("list.pt", &bytes, &[]).unwrap_err());
        assert!(error.contains(what) && error.contains("torch.load(FILE)[0]"), "{error}");
    }
}

#[test]
fn averaged_weights_are_taken_before_raw_ones_and_said() {
    let case = Case::new();
    for ema in [
        "model_ema",
        "ema_model",
        "ema_state_dict",
        "state_dict_ema",
        "ema",
        "net_ema",
        "ema_0.9999",
    ] {
        let mut file = File::new();
        let root = dict([
            ("epoch", int(3)),
            ("model", file.state_dict(&raw(&case.named))),
            (ema, file.state_dict(&case.named)),
            ("optimizer", optimiser(&mut file)),
            ("args", call("argparse", "Namespace", vec![])),
        ]);
        let bytes = file.save(&root);
        let found = case.convert("net.pt", &bytes, &[]).unwrap();
        assert_equal(&found.network, &case.network);
        assert_eq!(found.config.provenance.training.imported.unwrap().entry.as_deref(), Some(ema));
        let [note] = &found.notes[..] else { panic!("{:?}", found.notes) };
        assert!(
            note.contains(&format!("{ema}, the averaged weights (EMA), is taken, and not model")),
            "{note}"
        );
        // The others by name, with a word on what they are.
        let found = case.convert("net.pt", &bytes, &["--entry", "model"]).unwrap();
        let weight =
            |network: &UNet| network.tensors()["model.map_layer0.weight"].double_value(&[0, 0]);
        assert!((weight(&found.network) - weight(&case.network) - 1.0).abs() < 1e-6);
        assert!(found.notes.iter().any(|note| note.contains("those of the last step")));
        let error = case.convert("net.pt", &bytes, &["--entry", "ema2"]).err().unwrap();
        assert!(error.contains(&format!("model, {ema}")), "{error}");
    }
}

#[test]
fn where_no_network_is_an_average_a_choice_is_asked_for() {
    let case = Case::new();
    let mut file = File::new();
    let root = dict([
        ("generator", file.state_dict(&raw(&case.named))),
        ("teacher", file.state_dict(&case.named)),
    ]);
    let bytes = file.save(&root);
    let error = case.convert("net.pt", &bytes, &[]).err().unwrap();
    assert!(
        error.contains("2 networks") && error.contains("--entry, of generator, teacher"),
        "{error}"
    );
    assert_equal(
        &case.convert("net.pt", &bytes, &["--entry", "teacher"]).unwrap().network,
        &case.network,
    );
    // An average without names, as torch_ema keeps it: raw weights do not take its place unsaid.
    let mut file = File::new();
    let shadow = {
        let Py::Call(_, _, entries) = file.state_dict(&case.named) else { panic!() };
        Py::List(entries.into_iter().map(|(_, tensor)| tensor).collect())
    };
    let root = dict([
        ("model", file.state_dict(&case.named)),
        ("ema", dict([("decay", Py::Float(0.999)), ("shadow_params", shadow)])),
    ]);
    let bytes = file.save(&root);
    let error = case.convert("net.pt", &bytes, &[]).err().unwrap();
    assert!(error.contains("ema.shadow_params") && error.contains("--entry: model"), "{error}");
    assert_equal(
        &case.convert("net.pt", &bytes, &["--entry", "model"]).unwrap().network,
        &case.network,
    );
}

#[test]
fn prefixes_are_taken_off_and_said() {
    let case = Case::new();
    for prefix in [
        "module.",
        "_orig_mod.",
        "net.",
        "ema_model.",
        "module._orig_mod.",
        "_orig_mod.module.net.",
        "model.net.",
        "diffusion.denoiser.",
    ] {
        for edms in ["", "model."] {
            let mut file = File::new();
            let root =
                file.state_dict(&renamed(&case.named, |name| format!("{prefix}{edms}{name}")));
            let found = case.convert("net.pt", &file.save(&root), &[]).unwrap();
            assert_equal(&found.network, &case.network);
            let said = format!("begin with {prefix:?}, which is taken off");
            assert!(
                found.notes.iter().any(|note| note.contains(&said)),
                "{prefix}: {:?}",
                found.notes
            );
        }
    }
    // EDM's own prefix needs no word.
    let mut file = File::new();
    let root = file.state_dict(&renamed(&case.named, |name| format!("model.{name}")));
    assert!(case.convert("net.pt", &file.save(&root), &[]).unwrap().notes.is_empty());
}

#[test]
fn two_networks_in_one_dictionary_are_told_by_their_prefixes() {
    let case = Case::new();
    let mut file = File::new();
    let both = [
        renamed(&raw(&case.named), |name| format!("online_model.{name}")),
        renamed(&case.named, |name| format!("ema_model.{name}")),
        vec![("step".to_owned(), vec![1], vec![7.0])],
    ];
    let root = dict([("ema", file.state_dict(&both.concat()))]);
    let bytes = file.save(&root);
    let found = case.convert("net.pt", &bytes, &[]).unwrap();
    assert_equal(&found.network, &case.network);
    assert_eq!(
        found.config.provenance.training.imported.unwrap().entry.as_deref(),
        Some("ema.ema_model")
    );
    assert!(
        found.notes.iter().any(|note| note.contains("not ema.online_model")),
        "{:?}",
        found.notes
    );
    assert!(
        found.notes.iter().any(|note| note.contains("1 tensors beside it are passed over (step)"))
    );
}

#[test]
fn files_of_lightning_are_read() {
    let case = Case::new();
    let mut file = File::new();
    let settings = Py::Call(
        Box::new(Py::Global("pytorch_lightning.utilities.parsing", "AttributeDict")),
        vec![],
        vec![(text("lr"), Py::Float(1e-4))],
    );
    let root = dict([
        ("epoch", int(3)),
        ("pytorch-lightning_version", text("2.2.0")),
        ("state_dict", file.state_dict(&renamed(&case.named, |name| format!("net.{name}")))),
        ("callbacks", dict([("ModelCheckpoint{'monitor': None}", dict([("best", Py::None)]))])),
        ("optimizer_states", Py::List(vec![optimiser(&mut file)])),
        ("hyper_parameters", settings),
    ]);
    let found = case.convert("last.ckpt", &file.save(&root), &[]).unwrap();
    assert_equal(&found.network, &case.network);
    assert_eq!(
        found.config.provenance.training.imported.unwrap().entry.as_deref(),
        Some("state_dict.net")
    );
    let notes = found.notes.join("\n");
    assert!(
        notes.contains("state_dict.net") && notes.contains("\"net.\", which is taken off"),
        "{notes}"
    );
}

#[test]
fn the_state_of_edms_training_is_read() {
    let case = Case::new();
    let named = tensors(&case.network);
    let attributes = |config: &UNetConfig| {
        let serde_json::Value::Object(mut kwargs) = serde_json::to_value(config).unwrap() else {
            panic!()
        };
        for name in ["in_channels", "out_channels"] {
            kwargs.remove(name);
        }
        let mut kwargs: Vec<(String, Py)> =
            kwargs.into_iter().map(|(name, value)| (name, python(value))).collect();
        kwargs.push(("img_channels".to_owned(), int(config.out_channels())));
        vec![
            ("img_resolution", int(8)),
            ("img_channels", int(config.out_channels())),
            ("label_dim", int(config.label_dim())),
            ("sigma_min", int(0)),
            ("sigma_max", Py::Float(f64::INFINITY)),
            ("sigma_data", Py::Float(0.5)),
            ("_init_args", Py::Tuple(vec![])),
            ("_init_kwargs", dict(kwargs)),
        ]
    };
    let net = module("", "SongUNet", &named, attributes(&case.config));
    let mut file = File::new();
    let root = dict([("net", net), ("optimizer_state", optimiser(&mut file))]);
    let line = case.folder.line(&["training-state.pt", "out.safetensors"]).unwrap();
    let bytes = file.save(&root);
    let found = edm::convert(Path::new("training-state.pt"), &bytes, &line.edm).unwrap();
    assert_equal(&found.network, &case.network);
    assert_eq!(found.config.provenance.training.imported.unwrap().entry.as_deref(), Some("net"));
    let [note] = &found.notes[..] else { panic!("{:?}", found.notes) };
    assert!(note.contains("optimizer_state") && note.contains("\"net\""), "{note}");
}

/// Trainers in half precision save their f32 copies as views of two storages: one of all tensors of one dimension, one of
/// all others; others save parameters.
#[test]
fn tensors_may_be_views_of_shared_storages_and_parameters() {
    let case = Case::new();
    let mut values = [vec![], vec![]];
    let mut places = vec![];
    for (_, dims, tensor) in &case.named {
        let storage: &mut Vec<f32> = &mut values[usize::from(dims.len() > 1)];
        places.push(storage.len());
        storage.extend(tensor);
    }
    let storages = ["0", "1"].iter().zip(&values);
    let storages: Vec<torch_writer::Storage> =
        storages.map(|(key, values)| torch_writer::Storage::new(key, values)).collect();
    for old in [true, false] {
        let entries = case.named.iter().zip(&places).map(|((name, dims, _), offset)| {
            let storage = &storages[usize::from(dims.len() > 1)];
            let reference = storage.reference("FloatStorage", old);
            let strides = torch_writer::row_major(dims);
            let tensor = torch_writer::tensor(reference, *offset, dims, &strides);
            let hooks = ordered_dict::<&str>([]);
            let arguments = vec![tensor, Py::Bool(true), hooks];
            (name.clone(), call("torch._utils", "_rebuild_parameter", arguments))
        });
        let root = ordered_dict(entries.collect::<Vec<_>>());
        let bytes = if old { legacy(&root, &storages) } else { zipped(&root, &storages, Stored) };
        assert_equal(&case.convert("net.pt", &bytes, &[]).unwrap().network, &case.network);
    }
}

/// A file of safetensors, its values in a type.
fn safetensors_file(tensors: &[Named], kind: Dtype, metadata: Option<(&str, &str)>) -> Vec<u8> {
    let bytes = |values: &[f32]| -> Vec<u8> {
        let each = |value: &f32| match kind {
            Dtype::F64 => f64::from(*value).to_le_bytes().to_vec(),
            Dtype::F16 => f16::from_f32(*value).to_le_bytes().to_vec(),
            Dtype::BF16 => bf16::from_f32(*value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        };
        values.iter().flat_map(each).collect()
    };
    let data: Vec<Vec<u8>> = tensors.iter().map(|(_, _, values)| bytes(values)).collect();
    let views = tensors.iter().zip(&data).map(|((name, dims, _), data)| {
        (name.clone(), TensorView::new(kind, dims.clone(), data).unwrap())
    });
    let metadata = metadata.map(|(key, value)| HashMap::from([(key.to_owned(), value.to_owned())]));
    safetensors::serialize(views.collect::<Vec<_>>(), metadata).unwrap()
}

#[test]
fn safetensors_are_read_in_every_precision() {
    let case = Case::new();
    let named = renamed(&case.named, |name| format!("net.{name}"));
    // Significands of 24, 53, 11 and 8 bits; what f16 cannot tell from 0 is below 2⁻²⁴.
    for (kind, unit) in [
        (Dtype::F32, 0.0),
        (Dtype::F64, 0.0),
        (Dtype::F16, 2f64.powi(-11)),
        (Dtype::BF16, 2f64.powi(-8)),
    ] {
        let bytes = safetensors_file(&named, kind, Some(("format", "pt")));
        let found = case.convert("net.safetensors", &bytes, &[]).unwrap();
        let exact = case.network.tensors();
        for (name, tensor) in found.network.tensors() {
            let bound = exact[&name].abs() * unit + if unit > 0.0 { 2f64.powi(-25) } else { 0.0 };
            let within = (&tensor - &exact[&name]).abs().le_tensor(&bound).all();
            assert_eq!(within.int64_value(&[]), 1, "{kind:?} {name}");
        }
        assert!(found.notes.iter().any(|note| note.contains("\"net.\", which is taken off")));
        for length in (0..bytes.len()).step_by(997) {
            assert!(case.convert("net.safetensors", &bytes[..length], &[]).is_err(), "{length}");
        }
    }
    let own = safetensors_file(&named, Dtype::F32, Some(("eps", "{}")));
    let error = case.convert("net.safetensors", &own, &[]).err().unwrap();
    assert!(error.contains("a network of this program"), "{error}");
    let bytes = safetensors_file(&named[..1], Dtype::F32, None);
    let error = case.convert("net-00002-of-00003.safetensors", &bytes, &[]).err().unwrap();
    assert!(error.contains("give their index, net.safetensors.index.json"), "{error}");
    let error = case.convert("net-00001-of-00001.safetensors", &bytes, &[]).err().unwrap();
    assert!(error.contains("its 1 tensors of at most 16 channels are too few"), "{error}");
}

#[test]
fn safetensors_in_several_files_are_read() {
    let case = Case::new();
    let names = ["net-00001-of-00002.safetensors", "net-00002-of-00002.safetensors"];
    let halves = case.named.split_at(case.named.len() / 2);
    let mut map = serde_json::Map::new();
    for (name, half) in names.iter().zip([halves.0, halves.1]) {
        case.folder.write(name, &safetensors_file(half, Dtype::F32, None));
        map.extend(half.iter().map(|(tensor, ..)| (tensor.clone(), (*name).into())));
    }
    let index = |map: &serde_json::Map<String, serde_json::Value>| {
        serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map }).to_string()
    };
    let convert = |map: &serde_json::Map<String, serde_json::Value>| {
        case.convert("net.safetensors.index.json", index(map).as_bytes(), &[])
    };
    let found = convert(&map).unwrap();
    assert_equal(&found.network, &case.network);
    assert_eq!(found.config.name, "net");
    let second = std::fs::read(case.folder.path(names[1])).unwrap();
    let imported = found.config.provenance.training.imported.unwrap();
    assert_eq!(imported.files[names[1]], sha256(&second));

    let mut changed = map.clone();
    changed.insert("map_layer9.weight".to_owned(), names[0].into());
    let error = convert(&changed).err().unwrap();
    assert!(error.contains("lacks the tensor \"map_layer9.weight\""), "{error}");
    let mut changed = map.clone();
    changed.remove("map_layer0.weight");
    let error = convert(&changed).err().unwrap();
    assert!(
        error.contains("has the tensor \"map_layer0.weight\", which the index does not say"),
        "{error}"
    );
    for far in ["../net-00001-of-00002.safetensors", "/etc/passwd", "..", ""] {
        let mut changed = map.clone();
        changed.insert("map_layer0.weight".to_owned(), far.into());
        let error = convert(&changed).err().unwrap();
        assert!(error.contains("does not lie beside it"), "{far}: {error}");
    }
    std::fs::remove_file(case.folder.path(names[1])).unwrap();
    let error = convert(&map).err().unwrap();
    assert!(error.contains(names[1]) && error.contains("into one folder"), "{error}");
}

#[test]
fn networks_of_other_programs_are_named() {
    let case = Case::new();
    let weight = |name: &str| (name.to_owned(), vec![2, 2], vec![0.5; 4]);
    for (names, family) in [
        (
            &[
                "model.diffusion_model.time_embed.0.weight",
                "model.diffusion_model.input_blocks.0.0.weight",
                "first_stage_model.encoder.conv_in.weight",
            ][..],
            "a latent diffusion network",
        ),
        (&["module.init_conv.weight", "module.time_mlp.1.weight"], "denoising-diffusion-pytorch"),
    ] {
        let tensors: Vec<Named> = names.iter().map(|name| weight(name)).collect();
        let mut file = File::new();
        let root = dict([("model", file.state_dict(&tensors)), ("step", int(1))]);
        let bytes = file.save(&root);
        let line = case.folder.line(&["net.pt", "out.safetensors"]).unwrap();
        let error = edm::convert(Path::new("net.pt"), &bytes, &line.edm).unwrap_err().to_string();
        assert!(error.contains(family) && error.contains("docs/priors.md"), "{error}");
    }
    // An object of EDM2's without anything in it; a folder that is none of diffusers'.
    let easy = Py::Call(
        Box::new(Py::Global("dnnlib.util", "EasyDict")),
        vec![],
        vec![(text("ema"), object("Precond", dict::<&str>([])))],
    );
    let error = case.convert("net.pkl", &dumps(&easy, 4), &[]).err().unwrap();
    assert!(error.contains("a Precond without the attribute"), "{error}");
    std::fs::create_dir_all(case.folder.path("other.d")).unwrap();
    let error = case.folder.import(&["other.d", "out.safetensors"]).unwrap_err();
    assert!(error.contains("it is a folder without config.json"), "{error}");
    let module = call("__torch__.Net", "Net", vec![]);
    let error = case.convert("net.pt", &zipped(&module, &[], Stored), &[]).err().unwrap();
    assert!(error.contains("a module of TorchScript"), "{error}");
    let whole = call("my.networks", "Net", vec![]);
    let error = case.convert("net.pt", &zipped(&whole, &[], Stored), &[]).err().unwrap();
    assert!(error.contains("torch.save(network.state_dict()"), "{error}");
}

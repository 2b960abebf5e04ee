//! Small networks of the other families, in files as their originals write them.

use eps_math::parameterisation::{Parameterisation, PixelRange, Prediction};
use eps_math::timesteps::{Betas, Between};
use eps_model::{DownBlockType, PrecondConfig, UNet2DModelConfig, UNetModelConfig, UpBlockType};

use super::*;

/// guided-diffusion's with learnt variances and classes.
fn guided() -> UNetConfig {
    UNetModelConfig {
        image_size: 8,
        out_channels: 6,
        learn_sigma: true,
        num_classes: 5,
        num_channels: 32,
        num_res_blocks: 1,
        channel_mult: vec![1.0, 1.0],
        attention_resolutions: vec![4],
        num_head_channels: 16,
        resblock_updown: true,
        ..UNetModelConfig::default()
    }
    .into()
}

fn diffusers() -> UNetConfig {
    UNet2DModelConfig {
        sample_size: 8,
        block_out_channels: vec![8, 16],
        down_block_types: vec![DownBlockType::DownBlock2D, DownBlockType::AttnDownBlock2D],
        up_block_types: vec![UpBlockType::AttnUpBlock2D, UpBlockType::UpBlock2D],
        layers_per_block: 1,
        norm_num_groups: 4,
        attention_head_dim: None,
        downsample_padding: 0,
        freq_shift: 1.0,
        flip_sin_to_cos: false,
        ..UNet2DModelConfig::default()
    }
    .into()
}

fn edm2() -> UNetConfig {
    PrecondConfig {
        img_resolution: 8,
        label_dim: 5,
        model_channels: 8,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![4],
        channels_per_head: 8,
        logvar_channels: 16,
        ..PrecondConfig::default()
    }
    .into()
}

/// All tensors of a network.
fn named(network: &UNet) -> Vec<Named> {
    let dims = |tensor: &Tensor| tensor.size().into_iter().map(|side| side as usize).collect();
    let tensors = network.tensors().into_iter();
    let values = |tensor: &Tensor| Vec::try_from(tensor.flatten(0, -1)).unwrap();
    tensors.map(|(name, tensor)| (name, dims(&tensor), values(&tensor))).collect()
}

fn write_config(folder: &Folder, config: &UNetConfig, name: &str) {
    folder.write(name, serde_json::to_string(config).unwrap().as_bytes());
}

#[test]
fn state_dicts_of_every_family_are_read() {
    let folder = Folder::new();
    for config in [guided(), diffusers(), edm2()] {
        let network = network(&config);
        write_config(&folder, &config, "network.json");
        let architecture = ["--architecture", "network.json"];
        for prefix in [
            "",
            "module.",
            "_orig_mod.module.",
            "module.model.",
            "diffusion_model.",
            "model.diffusion_model.",
        ] {
            let renamed = named(&network).into_iter();
            let renamed: Vec<Named> = renamed
                .map(|(name, dims, values)| (format!("{prefix}{name}"), dims, values))
                .collect();
            for old in [true, false] {
                let (entries, storages) = state_dict(&renamed, old);
                let root = ordered_dict(entries);
                let file =
                    if old { legacy(&root, &storages) } else { zipped(&root, &storages, Stored) };
                let found = folder.imported(&file, &architecture).unwrap();
                assert_equal(found.denoiser.network(), &network);
                assert_eq!(found.config.network, config);
                let expected = config
                    .predicts_noise()
                    .then(|| Parameterisation::noise(Betas::linear(), Between::Interpolate));
                assert_eq!(found.config.parameterisation, expected);
                let answer = denoised(&found.denoiser);
                assert!(
                    answer.size() == [2, 3, 8, 8] && answer.isfinite().all().int64_value(&[]) == 1
                );
            }
        }
        let (entries, storages) = state_dict(&named(&network), false);
        let file = zipped(&ordered_dict(entries), &storages, Stored);
        let options = ["--noise-schedule", "cosine", "--between", "daps", "--zero-to-one"];
        let found = folder.imported(&file, &[&architecture[..], &options].concat()).unwrap();
        let expected = config.predicts_noise().then(|| Parameterisation {
            range: PixelRange::ZeroToOne,
            ..Parameterisation::noise(Betas::cosine(), Between::Daps)
        });
        assert_eq!(found.config.parameterisation, expected);
        // Without its configuration it is none that was published.
        let error = folder.imported(&file, &[]).err().unwrap();
        assert!(error.contains("of no published network; the nearest is"), "{error}");
    }
}

/// A state dict in safetensors, its tensors of integers beside others.
fn with_integers(floats: &[Named], integers: &[(&str, i64)]) -> Vec<u8> {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let data: Vec<Vec<u8>> = floats.iter().map(|(_, _, values)| bytes(values)).collect();
    let counts: Vec<Vec<u8>> = integers.iter().map(|(_, n)| n.to_le_bytes().to_vec()).collect();
    let floats = floats.iter().zip(&data).map(|((name, dims, _), data)| {
        (name.clone(), TensorView::new(Dtype::F32, dims.clone(), data).unwrap())
    });
    let counts = integers.iter().zip(&counts).map(|((name, _), data)| {
        ((*name).to_owned(), TensorView::new(Dtype::I64, vec![1], data).unwrap())
    });
    serialize(floats.chain(counts).collect::<Vec<_>>(), None).unwrap()
}

#[test]
fn integers_are_no_weights() {
    let folder = Folder::new();
    write_config(&folder, &guided(), "network.json");
    let convert = |bytes: &[u8]| {
        let line = ["net.safetensors", "out.safetensors", "--architecture", "network.json"];
        let arguments = folder.line(&line)?;
        edm::convert(&folder.path("net.safetensors"), bytes, &arguments.edm)
            .map_err(|error| format!("{error:#}"))
    };
    let all = named(&network(&guided()));
    // A buffer beside the network is passed over, and said.
    let found = convert(&with_integers(&all, &[("num_batches_tracked", 7)])).unwrap();
    assert_equal(&found.network, &network(&guided()));
    let said = "1 tensors of integers or of one number beside the network's are passed over (num_batches_tracked)";
    assert!(found.notes.iter().any(|note| note.contains(said)), "{:?}", found.notes);
    // A weight is refused.
    let (name, place) = ("out.2.bias", |name: &str| all.iter().position(|(n, ..)| n == name));
    let mut floats = all.clone();
    let (_, dims, values) = floats.remove(place(name).unwrap());
    assert_eq!((dims.len(), values.len()), (1, 6));
    let mut file = with_integers(&floats, &[]);
    let error = convert(&file).unwrap_err();
    assert!(error.contains("1 missing (out.2.bias)"), "{error}");
    file = {
        use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
        let read = SafeTensors::deserialize(&file).unwrap();
        let bytes = vec![1_u8; 6];
        let bias = TensorView::new(Dtype::I8, vec![6], &bytes).unwrap();
        let views = read.tensors().into_iter().chain([(name.to_owned(), bias)]);
        serialize(views.collect::<Vec<_>>(), None).unwrap()
    };
    let error = convert(&file).unwrap_err();
    assert!(error.contains("out.2.bias is stored in integers, I8"), "{error}");
}

/// What an unknown file has is said by its own names, and what the nearest family has beside it.
#[test]
fn an_unknown_network_is_told_what_is_there_and_what_is_missing() {
    let folder = Folder::new();
    let fails = |names: &[&str], words: &[&str], absent: &[&str]| {
        let weight = |name: &&str| ((*name).to_owned(), vec![2, 3], vec![0.5; 6]);
        let tensors: Vec<Named> = names.iter().map(weight).collect();
        let (entries, storages) = state_dict(&tensors, false);
        let file = zipped(&ordered_dict(entries), &storages, Stored);
        let error = folder.imported(&file, &[]).err().unwrap();
        for word in words {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
        for word in absent {
            assert!(!error.contains(word), "{word:?} in: {error}");
        }
    };
    // Half of a network of diffusers, behind prefixes, beside more tensors of no family.
    fails(
        &[
            "module.model.conv_in.weight",
            "module.model.conv_norm_out.weight",
            "module.model.conv_out.weight",
            "module.model.time_embedding.linear_2.weight",
            "module.model.x.0",
            "module.model.x.1",
        ],
        &[
            "its 6 tensors (module.model.conv_in.weight [2, 3], ",
            "the nearest is diffusers' UNet2DModel",
            "8 tensors of which 4 are there and time_embedding.linear_1.weight, \
             down_blocks.0.resnets.0.norm1.weight",
        ],
        &["edm-", "map_layer0"],
    );
    fails(
        &["conv1.weight", "layer1.0.conv1.weight"],
        &[
            "its 2 tensors (conv1.weight [2, 3], layer1.0.conv1.weight [2, 3])",
            "none has a name of",
        ],
        &["model.conv1", "nearest"],
    );
}

/// The levels end where the chain does, and others are refused.
#[test]
fn levels_beyond_the_chain_are_refused() {
    let folder = Folder::new();
    let network = network(&guided());
    write_config(&folder, &guided(), "network.json");
    let (entries, storages) = state_dict(&named(&network), false);
    let file = zipped(&ordered_dict(entries), &storages, Stored);
    let found = folder.imported(&file, &["--architecture", "network.json"]).unwrap();
    // σ_0 and σ_999 of Ho et al.'s chain.
    assert!((found.config.sigma_min - 0.010_000_5).abs() < 1e-10);
    assert!((found.config.sigma_max - 157.407_281).abs() < 1e-5);
    let x = Tensor::zeros([1, 3, 8, 8], (Kind::Double, Device::Cpu));
    let ask = |sigma_t: f64| {
        let level = level_fields(&[Level::edm(sigma_t)], Device::Cpu);
        found.denoiser.denoise(&Query { mu: &x, level: &level, noise: QueryNoise::Isotropic })
    };
    assert!(ask(found.config.sigma_min).is_ok() && ask(found.config.sigma_max).is_ok());
    for sigma_t in [0.002, 200.0] {
        let error = ask(sigma_t).unwrap_err().to_string();
        assert!(error.contains(&format!("sigma_t = {sigma_t} lies beyond")), "{error}");
    }
}

#[test]
fn folders_of_diffusers_are_read_with_their_chain() {
    let folder = Folder::new();
    let network = network(&diffusers());
    // As the library wrote attention until 2023.
    let old = |name: &str| {
        name.replace(".to_q.", ".query.")
            .replace(".to_k.", ".key.")
            .replace(".to_v.", ".value.")
            .replace(".to_out.0.", ".proj_attn.")
    };
    let tensors = named(&network).into_iter();
    let tensors: Vec<Named> =
        tensors.map(|(name, dims, values)| (old(&name), dims, values)).collect();
    let (entries, storages) = state_dict(&tensors, false);
    let file = zipped(&ordered_dict(entries), &storages, Stored);
    let config = |class: &str| {
        let mut config = serde_json::to_value(diffusers()).unwrap();
        config.as_object_mut().unwrap().remove("model_type");
        config["_class_name"] = class.into();
        config["_diffusers_version"] = "0.0.4".into();
        config.to_string()
    };
    let scheduler = |schedule: &str| {
        let scheduler = serde_json::json!({
            "_class_name": "DDPMScheduler", "beta_schedule": schedule, "beta_start": 2e-4,
            "prediction_type": "v_prediction", "num_train_timesteps": 500, "clip_sample": true,
        });
        scheduler.to_string()
    };
    let make = |name: &str| std::fs::create_dir_all(folder.path(name)).unwrap();
    make("ddpm.d");
    make("pipeline.d/unet");
    make("pipeline.d/scheduler");
    let error = folder.import(&["ddpm.d", "out.safetensors"]).unwrap_err();
    assert!(error.contains("a folder without config.json"), "{error}");
    folder.write("ddpm.d/config.json", config("UNet2DModel").as_bytes());
    let error = folder.import(&["ddpm.d", "out.safetensors"]).unwrap_err();
    assert!(error.contains("none of diffusion_pytorch_model.safetensors"), "{error}");
    folder.write("ddpm.d/diffusion_pytorch_model.bin", &file);
    folder.write("ddpm.d/scheduler_config.json", scheduler("linear").as_bytes());
    folder.write("pipeline.d/unet/config.json", config("UNet2DModel").as_bytes());
    folder.write("pipeline.d/unet/diffusion_pytorch_model.bin", &file);
    folder.write("pipeline.d/scheduler/scheduler_config.json", scheduler("linear").as_bytes());
    for name in ["ddpm.d", "pipeline.d", "ddpm.d/diffusion_pytorch_model.bin"] {
        folder.import(&[name, "out.safetensors", "--force"]).unwrap();
        let path = folder.path("out.safetensors");
        let found = checkpoint::load(&path, Device::Cpu, Precision::F32).unwrap();
        assert_equal(found.denoiser.network(), &network);
        let betas = Betas::Linear { first: 2e-4, last: 0.02, steps: 500 };
        let noise = Parameterisation::noise(betas, Between::Interpolate);
        let expected = Parameterisation { prediction: Prediction::V, ..noise };
        assert_eq!(found.config.parameterisation, Some(expected));
        assert_eq!(found.config.name, name.split('/').next().unwrap());
    }
    folder.write("ddpm.d/scheduler_config.json", scheduler("scaled_linear").as_bytes());
    folder.import(&["ddpm.d", "out.safetensors", "--force"]).unwrap();
    let found = checkpoint::load(&folder.path("out.safetensors"), Device::Cpu, Precision::F32);
    let betas = Betas::ScaledLinear { first: 2e-4, last: 0.02, steps: 500 };
    let expected = Parameterisation {
        prediction: Prediction::V,
        ..Parameterisation::noise(betas, Between::Interpolate)
    };
    assert_eq!(found.unwrap().config.parameterisation, Some(expected));
    folder.write("ddpm.d/scheduler_config.json", scheduler("sigmoid").as_bytes());
    let error = folder.import(&["ddpm.d", "out.safetensors", "--force"]).unwrap_err();
    assert!(error.contains("beta_schedule is \"sigmoid\""), "{error}");
    folder.write("ddpm.d/config.json", config("UNet2DConditionModel").as_bytes());
    let error = folder.import(&["ddpm.d", "out.safetensors", "--force"]).unwrap_err();
    assert!(error.contains("of a UNet2DConditionModel"), "{error}");
}

/// Weights as PyTorch's files, in zip form.
fn saved(tensors: &[Named]) -> Vec<u8> {
    let (entries, storages) = state_dict(tensors, false);
    zipped(&ordered_dict(entries), &storages, Stored)
}

#[test]
fn weights_of_diffusers_come_in_several_forms() {
    let folder = Folder::new();
    let UNetConfig::UNet2DModel(config) = diffusers() else { panic!() };
    // As diffusers writes it: that variances are learnt is the scheduler's affair.
    let learnt = UNetConfig::from(UNet2DModelConfig { out_channels: 6, ..config });
    let mut written = serde_json::to_value(&learnt).unwrap();
    written.as_object_mut().unwrap().remove("model_type");
    written["_class_name"] = "UNet2DModel".into();
    let learnt: UNetConfig = serde_json::from_value(written.clone()).unwrap();
    assert_eq!((learnt.out_channels(), learnt.returned_channels()), (3, 6));
    let [averaged, raw] = [1, 2].map(|seed| UNet::new(learnt.clone(), Device::Cpu, seed).unwrap());
    let make = |name: &str| {
        std::fs::create_dir_all(folder.path(name)).unwrap();
        folder.write(&format!("{name}/config.json"), written.to_string().as_bytes());
    };
    let found = |name: &str, network: &UNet| {
        folder.import(&[name, "out.safetensors", "--force"]).unwrap();
        let path = folder.path("out.safetensors");
        let found = checkpoint::load(&path, Device::Cpu, Precision::F32).unwrap();
        assert_equal(found.denoiser.network(), network);
        assert_eq!(denoised(&found.denoiser).size(), [2, 3, 8, 8]);
        found.config.name
    };
    // A training's two folders.
    make("run.d/unet");
    make("run.d/unet_ema");
    folder.write("run.d/unet/diffusion_pytorch_model.bin", &saved(&named(&raw)));
    folder.write("run.d/unet_ema/diffusion_pytorch_model.fp16.bin", &saved(&named(&averaged)));
    assert_eq!(found("run.d", &averaged), "run.d");
    assert_eq!(found("run.d/unet", &raw), "run.d");
    folder.write("run.d/unet_ema/diffusion_pytorch_model.bf16.bin", &saved(&named(&averaged)));
    let error = folder.import(&["run.d", "out.safetensors", "--force"]).unwrap_err();
    assert!(error.contains("several variants") && error.contains("model.fp16.bin"), "{error}");
    // Several files with an index.
    make("shards.d");
    let tensors = named(&raw);
    let (first, second) = tensors.split_at(tensors.len() / 2);
    let mut map = serde_json::Map::new();
    for (number, part) in [first, second].into_iter().enumerate() {
        let name = format!("diffusion_pytorch_model-0000{}-of-00002.bin", number + 1);
        folder.write(&format!("shards.d/{name}"), &saved(part));
        map.extend(part.iter().map(|(tensor, ..)| (tensor.clone(), name.clone().into())));
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    folder.write("shards.d/diffusion_pytorch_model.bin.index.json", index.as_bytes());
    assert_eq!(found("shards.d", &raw), "shards.d");
}

#[test]
fn what_would_be_called_is_named_before_anything_else() {
    let folder = Folder::new();
    let weight = embedded(&[2, 2], &[0.5; 4]);
    let root = dict([("weight", weight), ("hook", call("posix", "system", vec![text("echo")]))]);
    folder.write("net.pt", &dumps(&root, 2));
    for options in [&[][..], &["--architecture", "edm-ffhq-64x64-uncond-vp"]] {
        let line = [&["net.pt", "out.safetensors"], options].concat();
        let error = folder.import(&line).unwrap_err();
        assert!(error.contains("the file names posix.system"), "{error}");
    }
}

#[test]
fn flags_of_guided_diffusion_say_the_chain_and_the_prediction() {
    let folder = Folder::new();
    let mut config = serde_json::to_value(guided()).unwrap();
    config["diffusion_steps"] = 500.into();
    config["predict_xstart"] = true.into();
    config["conv_resample"] = true.into();
    folder.write("network.json", config.to_string().as_bytes());
    let file = saved(&named(&network(&guided())));
    let found = folder.imported(&file, &["--architecture", "network.json"]).unwrap();
    let betas = Betas::Linear { first: 2e-4, last: 0.04, steps: 500 };
    let noise = Parameterisation::noise(betas, Between::Interpolate);
    let expected = Parameterisation { prediction: Prediction::X0, ..noise };
    assert_eq!(found.config.parameterisation, Some(expected));
    // The flag names the schedule, and the file keeps its steps.
    for (name, betas) in [("linear", Betas::linear_of(500)), ("cosine", Betas::cosine_of(500))] {
        let options = ["--architecture", "network.json", "--noise-schedule", name];
        let found = folder.imported(&file, &options).unwrap();
        let noise = Parameterisation::noise(betas, Between::Interpolate);
        let expected = Parameterisation { prediction: Prediction::X0, ..noise };
        assert_eq!(found.config.parameterisation, Some(expected));
    }
}

/// The module of EDM2's tensors whose names start with `prefix`.
fn edm2_module(prefix: &str, tensors: &[Named], attributes: Vec<(&str, Py)>) -> Py {
    let (mut parameters, mut buffers) = (vec![], vec![]);
    let mut parts: BTreeMap<&str, Py> = BTreeMap::new();
    for (name, dims, values) in tensors {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        match rest.split_once('.') {
            Some((part, _)) if parts.contains_key(part) => {}
            Some((part, _)) => {
                let prefix = format!("{prefix}{part}.");
                parts.insert(part, edm2_module(&prefix, tensors, vec![]));
            }
            None if ["freqs", "phases"].contains(&rest) => {
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
        "" => "Precond",
        "unet" => "UNet",
        "enc" | "dec" => {
            let class = Py::Global("torch.nn.modules.container", "ModuleDict");
            return Py::Object(Box::new(class), Box::new(state));
        }
        name if name.ends_with("fourier") => "MPFourier",
        name if name.contains("_block") || name.contains("_in") => "Block",
        name if name.ends_with("_down") || name.ends_with("_up") => "Block",
        _ => "MPConv",
    };
    object(class, state)
}

#[test]
fn pickles_of_edm2_are_read() {
    let folder = Folder::new();
    let network = network(&edm2());
    let kwargs = dict([
        ("model_channels", int(8)),
        ("channel_mult", Py::List(vec![int(1), int(2)])),
        ("num_blocks", int(1)),
        ("attn_resolutions", Py::List(vec![int(4)])),
        ("channels_per_head", int(8)),
        ("logvar_channels", int(16)),
        ("use_fp16", Py::Bool(true)),
        ("img_resolution", int(8)),
    ]);
    let attributes = vec![
        ("img_resolution", int(8)),
        ("img_channels", int(3)),
        ("label_dim", int(5)),
        ("use_fp16", Py::Bool(true)),
        ("sigma_data", Py::Float(0.6)),
        ("_init_args", Py::Tuple(vec![])),
        ("_init_kwargs", kwargs),
    ];
    let ema = edm2_module("", &named(&network), attributes);
    let root = Py::Call(
        Box::new(Py::Global("dnnlib.util", "EasyDict")),
        vec![],
        vec![(text("ema"), ema), (text("encoder"), object("StandardRGBEncoder", dict::<&str>([])))],
    );
    let found = folder.imported(&dumps(&root, 4), &[]).unwrap();
    assert_equal(found.denoiser.network(), &network);
    assert_eq!(found.config.network, edm2());
    let mode = PreconditionMode::Scalar;
    assert_eq!(found.config.precondition, Precondition { mode, sigma_data: 0.6 });
    assert_eq!(found.config.parameterisation, None);
    assert_eq!(found.config.provenance.licence, "CC BY-NC-SA 4.0");
}

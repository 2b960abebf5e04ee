//! The networks: against EDM's own outputs, and for what training and sampling rely on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eps_math::parameterisation::{Parameterisation, PixelRange};
use eps_math::rng::Stream;
use eps_math::timesteps::{Betas, Between};
use eps_math::{Level, Precondition, PreconditionMode};
use eps_model::verify::{VERIFY_LIMIT, verify};
use eps_model::{
    AdaptedDenoiser, ClassConditional, DecoderType, Denoiser as _, DevicePrecision as _,
    DhariwalUNetConfig, DownBlockType, EncoderType, Mode, ModelError, NetworkDenoiser, PUBLISHED,
    Precision, PrecondConfig, Query, QueryNoise, ResampleType, SongUNetConfig, TimeScaleShift,
    UNet, UNet2DModelConfig, UNetConfig, UNetModelConfig, UpBlockType, level_fields, published,
};
use eps_testing::{assert_within, devices, rounding};
use tch::{Device, Kind, Tensor};

fn fixture(name: &str) -> PathBuf {
    eps_testing::package(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A small network with an option of each kind.
fn tiny(in_channels: usize) -> SongUNetConfig {
    SongUNetConfig {
        model_channels: 8,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![8],
        dropout: 0.0,
        ..SongUNetConfig::ddpmpp(16, in_channels, 1)
    }
}

/// A small ADM with attention in both levels, with two heads in the lower one.
fn tiny_adm(in_channels: usize) -> DhariwalUNetConfig {
    DhariwalUNetConfig {
        model_channels: 64,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![8],
        dropout: 0.0,
        ..DhariwalUNetConfig::adm(16, in_channels, 1)
    }
}

/// Networks over every option of the two side paths, and ADM.
fn variants() -> Vec<UNetConfig> {
    let mut variants = vec![tiny_adm(2).into()];
    for encoder_type in [EncoderType::Standard, EncoderType::Skip, EncoderType::Residual] {
        for decoder_type in [DecoderType::Standard, DecoderType::Skip] {
            for resample_filter in [vec![1.0, 1.0], vec![1.0, 3.0, 3.0, 1.0]] {
                let channel_mult = vec![1, 2, 2];
                let config = SongUNetConfig {
                    encoder_type,
                    decoder_type,
                    resample_filter,
                    channel_mult,
                    ..tiny(2)
                };
                variants.push(config.into());
            }
        }
    }
    variants
}

/// Small networks of the other families with four classes and dropout, over what fixtures leave out.
fn conditional() -> Vec<UNetConfig> {
    let guided = |resblock_updown, use_scale_shift_norm| UNetModelConfig {
        image_size: 16,
        in_channels: 2,
        out_channels: 1,
        num_classes: 4,
        num_channels: 32,
        num_res_blocks: 1,
        // Two channels a group at least: of one alone a norm removes every bias.
        channel_mult: vec![2.0, 4.0],
        attention_resolutions: vec![8],
        num_heads: 2,
        num_heads_upsample: 4,
        resblock_updown,
        use_scale_shift_norm,
        use_new_attention_order: resblock_updown,
        dropout: 0.2,
        ..UNetModelConfig::default()
    };
    let diffusers = |padding, kind, shift| UNet2DModelConfig {
        sample_size: 16,
        in_channels: 2,
        out_channels: 1,
        block_out_channels: vec![8, 16],
        down_block_types: vec![DownBlockType::AttnDownBlock2D, DownBlockType::DownBlock2D],
        up_block_types: vec![UpBlockType::UpBlock2D, UpBlockType::AttnUpBlock2D],
        layers_per_block: 1,
        mid_block_scale_factor: 1.5,
        norm_num_groups: 4,
        attn_norm_num_groups: Some(2),
        downsample_padding: padding,
        downsample_type: kind,
        upsample_type: kind,
        resnet_time_scale_shift: shift,
        num_class_embeds: Some(4),
        dropout: 0.2,
        ..UNet2DModelConfig::default()
    };
    let edm2 = PrecondConfig {
        img_resolution: 16,
        img_channels: 1,
        condition_channels: 1,
        label_dim: 4,
        model_channels: 16,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![8],
        channels_per_head: 8,
        resample_filter: vec![1.0, 3.0, 3.0, 1.0],
        dropout: 0.2,
        ..PrecondConfig::default()
    };
    vec![
        guided(false, false).into(),
        guided(true, true).into(),
        diffusers(0, ResampleType::Conv, TimeScaleShift::Default).into(),
        diffusers(1, ResampleType::Resnet, TimeScaleShift::ScaleShift).into(),
        edm2.into(),
    ]
}

fn normals(name: &str, dims: &[i64]) -> Tensor {
    let n = dims.iter().product::<i64>() as usize;
    Tensor::from_slice(&Stream::named(0, name).normals(n)).view(dims).to_kind(Kind::Float)
}

/// A network whose second convolutions are not the tiny ones of EDM's initial weights.
fn network(config: impl Into<UNetConfig>) -> UNet {
    let network = UNet::new(config, Device::Cpu, 1).unwrap();
    let _guard = tch::no_grad_guard();
    for (name, mut tensor) in network.tensors() {
        let dims = tensor.size();
        if dims.is_empty() {
            let _ = tensor.fill_(0.7);
            continue;
        }
        let fan_in = dims[1..].iter().product::<i64>() as f64;
        let offset = f64::from(dims.len() == 1 && name.ends_with("weight"));
        let scale = if dims.len() == 1 { 0.1 } else { fan_in.powf(-0.5) };
        tensor.copy_(&(normals(&name, &dims) * scale + offset));
    }
    network
}

fn largest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

/// Every device with every item.
fn on_devices<T: Copy>(items: impl IntoIterator<Item = T>) -> Vec<(Device, T)> {
    let items: Vec<T> = items.into_iter().collect();
    let on = |device| items.iter().map(move |item| (device, *item));
    devices().into_iter().flat_map(on).collect()
}

/// A limit of f32 on a device: where a GPU takes TF32, products are rounded so much coarser, and half of what a wrong
/// filter gives is the most.
fn limit(of_f32: f64, device: Device) -> f64 {
    (of_f32 * rounding(device) / rounding(Device::Cpu)).min(0.05)
}

#[test]
fn edms_outputs_are_met() {
    let all = [
        ("ddpmpp_tiny.json", 188_913, 143),
        ("ncsnpp_tiny.json", 262_515, 196),
        ("adm_tiny.json", 3_295_939, 145),
        ("adm_narrow.json", 828_771, 145),
        ("ddpmpp_cond_tiny.json", 189_009, 145),
        ("ncsnpp_cond_tiny.json", 190_145, 147),
        ("ffhq64_ddpmpp.json", 61_805_571, 541),
        ("ffhq64_ncsnpp.json", 62_761_091, 548),
        ("cifar10_cond_ddpmpp.json", 55_735_299, 419),
        ("imagenet64_adm.json", 295_899_267, 541),
    ];
    for (device, (name, parameters, tensors)) in on_devices(all) {
        let report = verify(&fixture(name), device).unwrap();
        assert_eq!((report.parameters, report.tensors), (parameters, tensors));
        assert_eq!(report.cases.len(), 3);
        // Two f32 computations of some 60 to 250 layers, each rounding sums of up to thousands of
        // products: 170 units of 6e-8 are enough; a wrong order of channels or a wrong filter gives 0.1.
        let limit = limit(1e-5, device);
        assert_within(device, name, report.deviation(), limit);
    }
}

/// The fixtures of guided-diffusion, diffusers and EDM2, with the number of their parameters, tensors and cases.
const OTHERS: [(&str, [usize; 3]); 8] = [
    ("adm_updown_tiny.json", [354_822, 142, 10]),
    ("adm_plain_tiny.json", [656_355, 147, 10]),
    ("adm_newattn_tiny.json", [413_574, 215, 10]),
    ("ddpm_cifar10_tiny.json", [143_267, 328, 10]),
    ("ddpm_celebahq_tiny.json", [160_735, 450, 10]),
    ("unet2d_options_tiny.json", [129_155, 143, 10]),
    ("edm2_cond_tiny.json", [181_579, 63, 5]),
    ("edm2_uncond_tiny.json", [171_942, 126, 4]),
];

#[test]
fn outputs_of_other_families_are_met() {
    for (device, (name, counts)) in on_devices(OTHERS) {
        let report = verify(&fixture(name), device).unwrap();
        assert_eq!([report.parameters, report.tensors, report.cases.len()], counts, "{name}");
        // The originals' f32 differs from their f64 by up to 2e-5 of rms, where inputs are small.
        let limit = limit(4e-5, device);
        assert_within(device, name, report.deviation(), limit);
    }
}

#[test]
fn a_wrong_fixture_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.json");
    let text = std::fs::read_to_string(fixture("ddpmpp_tiny.json")).unwrap();
    let good: serde_json::Value = serde_json::from_str(&text).unwrap();
    type Change = fn(&mut serde_json::Value);
    let cases: [(&str, Change); 11] = [
        ("\"UNet3\" is not supported", |json| json["model_type"] = "UNet3".into()),
        ("unknown field `depth`", |json| json["model_kwargs"]["depth"] = 3.into()),
        ("num_blocks = 0", |json| json["model_kwargs"]["num_blocks"] = 0.into()),
        ("batch 1152921504606846976", |json| json["batch"] = (1_u64 << 60).into()),
        ("its network is made for 3 channels", |json| {
            json["model_kwargs"]["in_channels"] = 3.into();
            json["model_kwargs"]["out_channels"] = 3.into();
        }),
        ("model.enc.16x16_conv.weight", |json| json["tensors"][5][1][0] = 17.into()),
        ("model.enc.16x16_other.weight", |json| {
            json["tensors"][5][0] = "model.enc.16x16_other.weight".into();
        }),
        ("counts 7 parameters", |json| json["parameters"] = 7.into()),
        ("no case", |json| json["cases"] = serde_json::json!([])),
        ("sigma -1", |json| json["cases"][0]["sigma"] = (-1).into()),
        ("missing field `batch`", |json| {
            json.as_object_mut().unwrap().remove("batch");
        }),
    ];
    for (expected, change) in cases {
        let mut json = good.clone();
        change(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        let error = verify(&path, Device::Cpu).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    let error = verify(&path, Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("wrong.json") && error.contains("fetch"), "{error}");
    assert!(matches!(verify(Path::new("absent.json"), Device::Cpu), Err(ModelError::Io { .. })));

    let mut json = good;
    let rms = json["cases"][1]["rms"].as_f64().unwrap();
    json["cases"][1]["last"][31] = serde_json::json!(0.9);
    std::fs::write(&path, json.to_string()).unwrap();
    let report = verify(&path, Device::Cpu).unwrap();
    assert!(!report.passed());
    let deviations: Vec<f64> = report.cases.iter().map(|case| case.deviation).collect();
    assert!(deviations[1] > VERIFY_LIMIT && deviations[1] < 2.0 / rms, "{deviations:?}");
    assert!(deviations[0] < VERIFY_LIMIT && deviations[2] < VERIFY_LIMIT, "{deviations:?}");
}

#[test]
fn published_networks_have_their_number_of_parameters() {
    let parameters = [
        61_805_571,
        62_761_091,
        61_805_571,
        62_761_091,
        55_733_891,
        56_397_827,
        55_735_299,
        // A linear layer from 10 labels to 256 channels more than the unconditional network.
        56_397_827 + 11 * 256,
        295_899_267,
    ];
    let others = [
        ("edm2-img64-s", 280_209_381),
        ("ffhq_10m", 93_563_910),
        ("256x256_diffusion_uncond", 552_814_086),
        ("256x256_diffusion", 553_838_086),
        ("512x512_diffusion", 558_997_638),
        ("128x128_diffusion", 421_529_606),
        ("64x64_diffusion", 295_904_454),
        ("ddpm-cifar10-32", 35_746_307),
        ("ddpm-celebahq-256", 113_673_219),
    ];
    for (name, parameters) in PUBLISHED.into_iter().zip(parameters).chain(others) {
        let network = UNet::blank(published(name).unwrap(), Device::Cpu).unwrap();
        assert_eq!(network.parameter_count(), parameters, "{name}");
    }
    for name in PUBLISHED {
        assert!(published(name).unwrap().validate().is_ok(), "{name}");
    }
    assert!(published("edm-ffhq-64x64-uncond").is_none());
}

#[test]
fn configurations_name_their_architecture() {
    let parse = |json| serde_json::from_value::<UNetConfig>(json);
    let sizes = serde_json::json!({"img_resolution": 16, "in_channels": 1, "out_channels": 1});
    let with = |field: &str, value: serde_json::Value| {
        let mut json = sizes.clone();
        json[field] = value;
        json
    };
    let song: UNetConfig = SongUNetConfig::ddpmpp(16, 1, 1).into();
    let adm: UNetConfig = DhariwalUNetConfig::adm(16, 1, 1).into();
    assert_eq!(parse(sizes.clone()).unwrap(), song);
    assert_eq!(parse(with("model_type", "SongUNet".into())).unwrap(), song);
    assert_eq!(parse(with("model_type", "DhariwalUNet".into())).unwrap(), adm);
    for config in [song, adm].into_iter().chain(conditional()) {
        assert_eq!(parse(serde_json::to_value(&config).unwrap()).unwrap(), config);
    }
    let mut foreign = with("model_type", "DhariwalUNet".into());
    foreign["encoder_type"] = "standard".into();
    for (json, expected) in [
        (foreign, "unknown field `encoder_type`"),
        (with("depth", 3.into()), "unknown field `depth`"),
        (with("model_type", "VPPrecond".into()), "\"VPPrecond\" is not supported"),
        (with("model_type", 3.into()), "model_type 3 is not supported"),
    ] {
        let error = parse(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn side_paths_have_edms_names() {
    let config = SongUNetConfig {
        encoder_type: EncoderType::Skip,
        decoder_type: DecoderType::Skip,
        ..tiny(3)
    };
    let tensors = UNet::blank(config, Device::Cpu).unwrap().tensors();
    // Resampling alone has no parameters; every level writes an output.
    assert_eq!(tensors["model.enc.8x8_aux_skip.weight"].size(), [8, 3, 1, 1]);
    assert_eq!(tensors["model.dec.8x8_aux_conv.weight"].size(), [1, 16, 3, 3]);
    assert_eq!(tensors["model.dec.8x8_aux_norm.bias"].size(), [16]);
    assert_eq!(tensors["model.dec.16x16_aux_conv.weight"].size(), [1, 8, 3, 3]);
    assert!(!tensors.keys().any(|name| name.contains("aux_down") || name.contains("aux_up")));
    assert!(!tensors.keys().any(|name| name.contains("freqs") || name.contains("filter")));
}

#[test]
fn every_size_that_the_levels_divide_runs() {
    let config = SongUNetConfig {
        channel_mult: vec![1, 2, 2],
        attn_resolutions: vec![7],
        ..SongUNetConfig { img_resolution: 28, ..tiny(1) }
    };
    let network = network(config);
    let config = network.config();
    let c_noise = normals("c", &[2]);
    for [height, width] in [[28, 28], [4, 12], [32, 20]] {
        config.check_size(height as usize, width as usize).unwrap();
        let x = normals("x", &[2, 1, height, width]);
        let y = network.forward(&x, &c_noise, None, None, Mode::Eval);
        assert_eq!(y.size(), [2, 1, height, width]);
    }
    let error = config.check_size(28, 30).unwrap_err().to_string();
    assert!(error.contains("28x30") && error.contains("multiples of 4"), "{error}");
}

#[test]
fn wrong_configurations_are_named() {
    let adm = || tiny_adm(1);
    let song: [(&str, SongUNetConfig); 11] = [
        ("in_channels = 0", tiny(0)),
        ("channel_mult = 0 levels", SongUNetConfig { channel_mult: vec![], ..tiny(1) }),
        ("img_resolution = 15", SongUNetConfig { img_resolution: 15, ..tiny(1) }),
        ("multiple of 2", SongUNetConfig { img_resolution: 15, ..tiny(1) }),
        ("dropout = 1", SongUNetConfig { dropout: 1.0, ..tiny(1) }),
        ("label_dropout = NaN", SongUNetConfig { label_dropout: f64::NAN, ..tiny(1) }),
        ("even number", SongUNetConfig { resample_filter: vec![1.0, 2.0, 1.0], ..tiny(1) }),
        ("sum is not 0", SongUNetConfig { resample_filter: vec![1.0, -1.0], ..tiny(1) }),
        ("model_channels = 2", SongUNetConfig { model_channels: 2, ..tiny(1) }),
        ("144 channels", SongUNetConfig { model_channels: 144, ..tiny(1) }),
        ("channel_mult_noise = 0", SongUNetConfig { channel_mult_noise: 0, ..tiny(1) }),
    ];
    let dhariwal: [(&str, DhariwalUNetConfig); 7] = [
        ("num_blocks = 0", DhariwalUNetConfig { num_blocks: 0, ..adm() }),
        (
            "model_channels = 18446744073709551615",
            DhariwalUNetConfig { model_channels: usize::MAX, ..adm() },
        ),
        ("label_dim = 1099511627776", DhariwalUNetConfig { label_dim: 1 << 40, ..adm() }),
        ("num_blocks = 1000000", DhariwalUNetConfig { num_blocks: 1_000_000, ..adm() }),
        ("dropout = 1", DhariwalUNetConfig { dropout: 1.0, ..adm() }),
        ("channel_mult = 0 levels", DhariwalUNetConfig { channel_mult: vec![], ..adm() }),
        ("3 attention heads", DhariwalUNetConfig { model_channels: 224, ..adm() }),
    ];
    // Heads that do not divide the channels of an attention.
    let guided = |num_head_channels, num_heads, num_heads_upsample| {
        UNetConfig::from(UNetModelConfig {
            image_size: 16,
            num_channels: 32,
            channel_mult: vec![1.0, 3.0],
            attention_resolutions: vec![],
            num_head_channels,
            num_heads,
            num_heads_upsample,
            ..UNetModelConfig::default()
        })
    };
    let diffusers = UNet2DModelConfig {
        sample_size: 16,
        block_out_channels: vec![32, 96],
        down_block_types: vec![DownBlockType::DownBlock2D, DownBlockType::AttnDownBlock2D],
        up_block_types: vec![UpBlockType::AttnUpBlock2D, UpBlockType::UpBlock2D],
        attention_head_dim: Some(64),
        ..UNet2DModelConfig::default()
    };
    let edm2 =
        PrecondConfig { img_resolution: 16, model_channels: 224, ..PrecondConfig::default() };
    let heads = [
        ("num_head_channels = 64, but the 96 channels of an attention", guided(64, 4, -1)),
        ("num_head_channels = 128, but the 96 channels of an attention", guided(128, 4, -1)),
        ("num_heads = 5, but the 96 channels of an attention", guided(-1, 5, -1)),
        ("num_heads_upsample = 7, but the 96 channels of an attention", guided(-1, 4, 7)),
        ("attention_head_dim = 64, but the 96 channels of an attention", diffusers.into()),
        ("would have 3 heads", PrecondConfig { channel_mult: vec![1], ..edm2 }.into()),
    ];
    let song = song.map(|(expected, config)| (expected, UNetConfig::from(config)));
    let dhariwal = dhariwal.map(|(expected, config)| (expected, UNetConfig::from(config)));
    for (expected, config) in song.into_iter().chain(dhariwal).chain(heads) {
        let error = UNet::new(config, Device::Cpu, 0).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let json = serde_json::json!({"img_resolution": 16, "in_channels": 1, "out_channels": 1});
    let config: SongUNetConfig = serde_json::from_value(json).unwrap();
    assert_eq!(config, SongUNetConfig::ddpmpp(16, 1, 1));
}

#[test]
fn initial_weights_depend_on_seed_and_name_alone() {
    let build =
        |config: SongUNetConfig, seed| UNet::new(config, Device::Cpu, seed).unwrap().tensors();
    let (a, b, c) = (build(tiny(1), 1), build(tiny(1), 1), build(tiny(1), 2));
    let deeper = build(SongUNetConfig { num_blocks: 2, ..tiny(1) }, 1);
    let name = "model.enc.16x16_block0.conv0.weight";
    assert!(a.iter().all(|(name, tensor)| tensor.equal(&b[name])));
    assert!(!a[name].equal(&c[name]) && a[name].equal(&deeper[name]));
    // EDM's factor 1e-5 on second and output convolutions: F starts at about zero.
    let network = UNet::new(tiny(1), Device::Cpu, 1).unwrap();
    let y = network.forward(
        &normals("x", &[1, 1, 16, 16]),
        &normals("c", &[1]),
        None,
        None,
        Mode::Eval,
    );
    assert!(largest(&y) < 1e-4, "{}", largest(&y));
}

#[test]
fn adm_starts_at_zero() {
    let config = DhariwalUNetConfig { label_dim: 5, augment_dim: 9, ..tiny_adm(1) };
    let network = UNet::new(config, Device::Cpu, 1).unwrap();
    let y = network.forward(
        &normals("x", &[1, 1, 16, 16]),
        &normals("c", &[1]),
        None,
        None,
        Mode::Eval,
    );
    assert_eq!(largest(&y), 0.0);
    for (name, tensor) in network.tensors() {
        let zero =
            ["conv1.", "proj.", "out_conv.", "map_augment."].iter().any(|n| name.contains(n))
                || name.contains("norm") && name.ends_with("bias");
        assert_eq!(largest(&tensor) == 0.0, zero, "{name}");
    }
    // The biases follow the law of the weights: √⅓ √(3/fan_in) at most.
    let bias = &network.tensors()["model.enc.16x16_block0.conv0.bias"];
    assert!(largest(bias) <= (1.0f64 / (9.0 * 64.0)).sqrt());
}

#[test]
fn the_derivative_is_that_of_the_function() {
    for config in variants() {
        let network = network(config);
        let dims = [1, 2, 16, 16];
        let (x, v) = (normals("x", &dims).to_kind(Kind::Double), normals("v", &dims));
        let (v, u) = (v.to_kind(Kind::Double), normals("u", &[1, 1, 16, 16]));
        let c_noise = normals("c", &[1]);
        let f = |x: &Tensor| {
            (network.forward(x, &c_noise, None, None, Mode::Eval) * &u).sum(Kind::Double)
        };
        let x = x.set_requires_grad(true);
        let gradient = Tensor::run_backward(&[f(&x)], &[&x], false, false);
        let exact = (&gradient[0] * &v).sum(Kind::Double).double_value(&[]);
        let _guard = tch::no_grad_guard();
        // Central differences in f64: h² f''' and 1e-16/h, both below 1e-8 of values of size 10.
        let h = 1e-5;
        let ahead = f(&(&x + &v * h)).double_value(&[]);
        let behind = f(&(&x - &v * h)).double_value(&[]);
        let numeric = (ahead - behind) / (2.0 * h);
        assert!((numeric - exact).abs() <= 1e-6 * (1.0 + exact.abs()), "{numeric} {exact}");
    }
}

#[test]
fn bf16_follows_f32_and_trains_the_f32_weights() {
    for config in variants() {
        let network = network(config);
        let (x, c_noise) = (normals("x", &[2, 2, 16, 16]), normals("c", &[2]));
        let run = |precision: Precision| {
            let x = x.to_kind(precision.kind());
            network.forward(&x, &c_noise, None, None, Mode::Eval)
        };
        let (exact, low) = (run(Precision::F32), run(Precision::Bf16));
        assert_eq!((exact.kind(), low.kind()), (Kind::Float, Kind::BFloat16));
        let difference = low.to_kind(Kind::Float) - &exact;
        let rms = |x: &Tensor| x.square().mean(Kind::Double).sqrt().double_value(&[]);
        // Relative rounding 2⁻⁹ in each of some 60 layers, of independent sign: 60^½ · 2⁻⁹ = 0.015;
        // three times that for layers whose sums cancel.
        assert!(rms(&difference) <= 0.05 * rms(&exact), "{}", rms(&difference) / rms(&exact));
        low.to_kind(Kind::Float).square().sum(Kind::Float).backward();
        for (name, tensor) in network.tensors().iter().filter(|(_, t)| t.requires_grad()) {
            let gradient = tensor.grad();
            assert_eq!(gradient.kind(), Kind::Float, "{name}");
            assert!(largest(&gradient) > 0.0 && largest(&gradient).is_finite(), "{name}");
        }
    }
}

#[test]
fn threads_ask_networks_of_their_own_on_the_same_weights() {
    for config in variants() {
        let mut network = network(config);
        network.variables_mut().freeze();
        for precision in [Precision::F32, Precision::Bf16] {
            let asked = move |network: &UNet| {
                let x = normals("x", &[2, 2, 16, 16]).to_kind(precision.kind());
                let y = network.forward(&x, &normals("c", &[2]), None, None, Mode::Eval);
                Vec::<f64>::try_from(y.to_kind(Kind::Double).flatten(0, -1)).unwrap()
            };
            let own = asked(&network);
            let others: Vec<UNet> = (0..2).map(|_| network.another().unwrap()).collect();
            for (name, tensor) in network.tensors() {
                let other = &others[0].tensors()[&name];
                assert_eq!(tensor.data_ptr(), other.data_ptr(), "{name}");
                assert_eq!(tensor.requires_grad(), other.requires_grad(), "{name}");
            }
            let threads: Vec<_> = others
                .into_iter()
                .map(|other| std::thread::spawn(move || (asked(&other), asked(&other))))
                .collect();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), (own.clone(), own.clone()));
            }
        }
    }
}

#[test]
fn items_of_a_batch_do_not_mix() {
    for config in variants() {
        let network = network(config);
        let (x, c_noise) = (normals("x", &[3, 2, 16, 16]), normals("c", &[3]));
        let run = |x: &Tensor, c: &Tensor| network.forward(x, c, None, None, Mode::Eval);
        let together = run(&x, &c_noise);
        for item in 0..3 {
            let alone = run(&x.narrow(0, item, 1), &c_noise.narrow(0, item, 1));
            // Other blockings of the same f32 sums.
            let difference = largest(&(alone - together.narrow(0, item, 1)));
            assert!(difference <= 1e-5 * largest(&together), "{difference}");
        }
    }
}

#[test]
fn dropout_is_a_function_of_its_stream() {
    let network = network(SongUNetConfig { dropout: 0.3, ..tiny(1) });
    let (x, c_noise) = (normals("x", &[2, 1, 16, 16]), normals("c", &[2]));
    let run = |mode| network.forward(&x, &c_noise, None, None, mode);
    let train = |step| run(Mode::Train(Stream::new(0, 0, 0, step)));
    assert!(train(1).equal(&train(1)));
    assert!(!train(1).equal(&train(2)));
    assert!(run(Mode::Eval).equal(&run(Mode::Eval)) && !run(Mode::Eval).equal(&train(1)));
    let without = self::network(tiny(1));
    let f = |mode| without.forward(&x, &c_noise, None, None, mode);
    assert!(f(Mode::Eval).equal(&f(Mode::Train(Stream::new(0, 0, 0, 1)))));
}

#[test]
fn labels_condition_and_are_dropped_whole() {
    let song = SongUNetConfig { label_dim: 4, label_dropout: 0.5, augment_dim: 9, ..tiny(1) };
    let adm =
        DhariwalUNetConfig { label_dim: 4, label_dropout: 0.5, augment_dim: 9, ..tiny_adm(1) };
    labels_condition(&network(song));
    labels_condition(&network(adm));
}

fn labels_condition(network: &UNet) {
    let n = 16;
    let x = normals("x", &[1, 1, 16, 16]).repeat([n, 1, 1, 1]);
    let c_noise = normals("c", &[1]).repeat([n]);
    let labels = Tensor::full([n], 2, (Kind::Int64, Device::Cpu)).one_hot(4);
    let run = |labels, augment, mode| network.forward(&x, &c_noise, labels, augment, mode);
    let plain = run(None, None, Mode::Eval);
    let labelled = run(Some(&labels), None, Mode::Eval);
    let zeros = Tensor::zeros([n, 4], (Kind::Float, Device::Cpu));
    let no_augment = Tensor::zeros([n, 9], (Kind::Float, Device::Cpu));
    assert!(plain.equal(&run(Some(&zeros), Some(&no_augment), Mode::Eval)));
    assert!(largest(&(&labelled - &plain)) > 0.01);
    let augment = normals("a", &[n, 9]);
    assert!(!plain.equal(&run(None, Some(&augment), Mode::Eval)));

    // In training each item has its label or none.
    let mixed = run(Some(&labels), None, Mode::Train(Stream::new(0, 0, 0, 0)));
    let close = |item, other: &Tensor| {
        largest(&(mixed.get(item) - other.get(item))) <= 1e-5 * largest(other)
    };
    let kept = (0..n).filter(|&item| close(item, &labelled)).count();
    let dropped = (0..n).filter(|&item| close(item, &plain)).count();
    assert_eq!(kept + dropped, n as usize);
    assert!(kept > 0 && dropped > 0);
}

#[test]
fn a_class_is_asked_for_all_images_or_each() {
    let config = DhariwalUNetConfig { label_dim: 4, ..tiny_adm(1) };
    let precondition = Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 };
    let wrap = |network| NetworkDenoiser::new(network, precondition, vec![], Precision::F32);
    let denoiser = wrap(network(config));
    let mu = normals("mu", &[3, 1, 16, 16]).to_kind(Kind::Double);
    let level = level_fields(&[Level::edm(0.7)], Device::Cpu);
    let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
    let ask = |classes: &[usize]| ClassConditional::new(&denoiser, classes).unwrap();
    let each = ask(&[2, 0, 2]).denoise(&query).unwrap();
    let (two, zero) = (ask(&[2]).denoise(&query).unwrap(), ask(&[0]).denoise(&query).unwrap());
    for (item, expected) in [&two, &zero, &two].into_iter().enumerate() {
        assert!(each.get(item as i64).equal(&expected.get(item as i64)));
    }
    assert!(largest(&(&two - &zero)) > 1e-3);
    let zeros = Tensor::zeros([1, 4], (Kind::Float, Device::Cpu));
    let none = ClassConditional::with_labels(&denoiser, &zeros);
    assert!(none.denoise(&query).unwrap().equal(&denoiser.denoise(&query).unwrap()));
    let (answer, _) = ask(&[2]).denoise_vjp(&query, &|d| d.ones_like()).unwrap();
    assert!(answer.equal(&two));

    let error = ClassConditional::new(&denoiser, &[1, 4]).unwrap_err().to_string();
    assert!(error.contains("class 4") && error.contains("0 to 3"), "{error}");
    let unconditional = wrap(network(tiny(1)));
    let error = ClassConditional::new(&unconditional, &[0]).unwrap_err();
    assert!(matches!(error, ModelError::Unconditional), "{error}");
}

/// The gradients of all parameters after a backward pass of a network with dropout and labels.
fn gradients(
    network: &UNet,
    kind: Kind,
    recomputed: bool,
    augment_dim: usize,
) -> BTreeMap<String, Tensor> {
    let x = normals("x", &[3, 2, 16, 16]).to_kind(kind);
    let (c_noise, labels) = (normals("c", &[3]), normals("l", &[3, 4]));
    let augment = (augment_dim > 0).then(|| normals("a", &[3, augment_dim as i64]));
    let (labels, augment) = (Some(&labels), augment.as_ref());
    let weight = normals("u", &[3, 1, 16, 16]);
    let mode = Mode::Train(Stream::new(0, 0, 0, 7));
    let loss = |y: &Tensor| (y.to_kind(Kind::Float).square() * &weight).sum(Kind::Float);
    for mut tensor in network.tensors().into_values() {
        tensor.zero_grad();
    }
    if recomputed {
        let pass = network.recomputed(&x, &c_noise, labels, augment, mode);
        loss(pass.output()).backward();
        pass.backward();
    } else {
        loss(&network.forward(&x, &c_noise, labels, augment, mode)).backward();
    }
    // The log variance is none of the answer's, and a bias of all keys changes no softmax.
    let is_seen = |name: &str| !name.starts_with("logvar_") && !name.ends_with(".to_k.bias");
    let trainable = network
        .tensors()
        .into_iter()
        .filter(|(name, tensor)| tensor.requires_grad() && is_seen(name));
    trainable.map(|(name, tensor)| (name, tensor.grad().copy())).collect()
}

#[test]
fn recomputed_gradients_are_the_same() {
    let conditional = conditional();
    for config in variants().into_iter().chain(conditional.clone()) {
        let (dropout, label_dim, augment_dim) = (0.2, 4, 9);
        let config: UNetConfig = match config {
            UNetConfig::SongUNet(config) => {
                SongUNetConfig { dropout, label_dim, augment_dim, ..config }.into()
            }
            UNetConfig::DhariwalUNet(config) => {
                DhariwalUNetConfig { dropout, label_dim, augment_dim, ..config }.into()
            }
            other => other,
        };
        let augment_dim = if conditional.contains(&config) { 0 } else { augment_dim };
        let network = network(config);
        // The sums over a value's readers are taken in another order: roundings of f32, and of bf16
        // with its 8 bits, once in each of up to ten layers on the way.
        for (kind, bound) in [(Kind::Float, 1e-5), (Kind::BFloat16, 0.05)] {
            let expected = gradients(&network, kind, false, augment_dim);
            let norm = |gradient: &Tensor| gradient.norm().double_value(&[]);
            let mean = expected.values().map(norm).sum::<f64>() / expected.len() as f64;
            for (name, found) in gradients(&network, kind, true, augment_dim) {
                let expected = &expected[&name];
                assert!(largest(expected) > 0.0, "{name}");
                let difference = norm(&(&found - expected));
                // In a gain, one number, thousands of terms cancel: in bf16 its rounding is that of the others.
                let is_sum = kind == Kind::BFloat16 && expected.numel() == 1;
                let scale = norm(expected).max(if is_sum { mean } else { 0.0 });
                assert!(difference <= bound * scale, "{name}: {difference} of {scale}");
            }
        }
    }
}

/// A small network of noise for images of one channel, with learnt variances.
fn noise_network() -> UNet {
    network(UNetModelConfig {
        image_size: 16,
        in_channels: 1,
        out_channels: 2,
        learn_sigma: true,
        num_channels: 32,
        num_res_blocks: 1,
        channel_mult: vec![2.0, 2.0],
        attention_resolutions: vec![],
        ..UNetModelConfig::default()
    })
}

#[test]
fn a_parameterised_network_is_asked_as_a_closure_is() {
    let precondition = Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 };
    for range in [PixelRange::MinusOneToOne, PixelRange::ZeroToOne] {
        for between in [Between::Interpolate, Between::Nearest, Between::Daps] {
            let noise = Parameterisation::noise(Betas::linear(), between);
            let parameterisation = Parameterisation { range, ..noise };
            let denoiser =
                NetworkDenoiser::new(noise_network(), precondition, vec![], Precision::F32);
            let denoiser = denoiser.with_parameterisation(&parameterisation).unwrap();
            let copy = noise_network();
            let predict = move |x: &Tensor, time: &Tensor| {
                copy.forward(x, time, None, None, Mode::Eval).narrow(1, 0, 1)
            };
            let closure = AdaptedDenoiser::new(predict, &parameterisation, Kind::Float).unwrap();
            let mu = normals("mu", &[3, 1, 16, 16]).to_kind(Kind::Double) * 2.0;
            let levels = [0.05, 1.0, 40.0].map(Level::edm);
            let level = level_fields(&levels, Device::Cpu);
            let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
            let cotangent = |d: &Tensor| d.ones_like();
            let found = denoiser.denoise_vjp(&query, &cotangent).unwrap();
            let expected = closure.denoise_vjp(&query, &cotangent).unwrap();
            for (found, expected) in [(found.0, expected.0), (found.1, expected.1)] {
                // The input is rounded to f32 after one product here, after a product and a sum there.
                let difference = largest(&(&found - &expected));
                assert!(difference <= 1e-4 * largest(&expected), "{range:?} {between:?}");
            }
            // σ_0 and σ_999 on the range of the network, twice that on [-1, 1].
            let h = range.scale_and_offset().0;
            for sigma_t in [0.0099 * h, 158.0 * h] {
                let level = level_fields(&[Level::edm(sigma_t)], Device::Cpu);
                let query = Query { level: &level, ..query };
                let error = denoiser.denoise(&query).unwrap_err().to_string();
                assert!(error.contains("beyond the noise levels"), "{error}");
            }
        }
    }
}

#[test]
fn learnt_variances_get_no_gradient() {
    let precondition = Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 };
    let noise = Parameterisation::noise(Betas::linear(), Between::Interpolate);
    let denoiser = NetworkDenoiser::new(noise_network(), precondition, vec![], Precision::F32);
    let denoiser = denoiser.with_parameterisation(&noise).unwrap();
    let mu = normals("mu", &[2, 1, 16, 16]).to_kind(Kind::Double);
    let level = level_fields(&[Level::edm(0.7)], Device::Cpu);
    let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
    let factors = denoiser.factors(&query);
    let weight = || denoiser.network().tensors().remove("out.2.weight").unwrap();
    let loss = |raw: &Tensor| raw.square().sum(Kind::Float);
    loss(&denoiser.raw(&query, &factors, None, Mode::Eval)).backward();
    let expected = weight().grad().copy();
    weight().zero_grad();
    let pass = denoiser.recomputed(&query, &factors, None, Mode::Eval);
    assert_eq!(pass.output().size(), [2, 1, 16, 16]);
    loss(pass.output()).backward();
    pass.backward();
    let found = weight().grad();
    assert!(largest(&found.get(0)) > 0.0 && largest(&found.get(1)) == 0.0);
    // One f32 pass again.
    assert!(largest(&(&found - &expected)) <= 1e-5 * largest(&expected));
}

#[test]
#[should_panic(expected = "the network reads 2 channels")]
fn wrong_channels_panic_with_both_numbers() {
    let x = normals("x", &[1, 3, 16, 16]);
    let _ = network(tiny(2)).forward(&x, &normals("c", &[1]), None, None, Mode::Eval);
}

#[test]
fn devices_and_precisions_by_name() {
    assert_eq!(eps_model::device("cpu").unwrap(), Device::Cpu);
    for name in ["gpu", "cuda:", "cuda:+1", "CPU", "cuda:1x", ""] {
        let error = eps_model::device(name).unwrap_err();
        assert!(matches!(error, ModelError::UnknownDevice(_)), "{name}");
        assert!(error.to_string().contains("\"cuda:N\""), "{error}");
    }
    if !tch::Cuda::is_available() {
        let error = eps_model::device("cuda:0").unwrap_err().to_string();
        assert!(error.contains("cuda:0") && error.contains("cargo xtask setup --cuda"), "{error}");
    }
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
    }
    for precision in [Precision::F32, Precision::Bf16] {
        assert!(precision.check(Device::Cpu).is_ok() && precision.check(Device::Cuda(0)).is_ok());
    }
    assert!(Precision::F16.check(Device::Cuda(1)).is_ok());
    let error = Precision::F16.check(Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("CUDA only") && error.contains("use bf16"), "{error}");
    let error = "fp8".parse::<Precision>().unwrap_err().to_string();
    assert!(error.contains("\"fp8\"") && error.contains("bf16"), "{error}");
}

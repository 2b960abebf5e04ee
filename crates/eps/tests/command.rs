//! The way of a user through the commands: measure, restore, evaluate; and looking at networks.

mod common;

use std::collections::BTreeSet;

use common::{Folder, SIDE, values};
use eps::data::png::{read_png, write_png};
use eps::data::{MeasurementSet, SampleArchive};
use eps::math::operator::LinearOperator as _;
use eps::math::{Shape, Task};
use eps::model::checkpoint::AskedAt;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn measure_restore_evaluate() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.npy("clean.npy", &[3, 1, SIDE, SIDE], &values(3 * SIDE * SIDE));
    folder.mask("mask.png", SIDE);
    folder.succeeds(
        "measure --image clean.npy --mask mask.png --sigma-y-255 6.375 --seed 4 --out y.h5",
    );
    let set = MeasurementSet::read(&folder.path("y.h5")).unwrap();
    assert_eq!((set.len(), set.sigma_y(), set.seed()), (3, 0.05, Some(4)));
    assert_eq!(set.truth().unwrap(), values(3 * SIDE * SIDE));
    // Truth and measurement side by side, three rows, one pixel apart, 14 times as large.
    let preview = read_png(&folder.path("y.preview.png")).unwrap().shape;
    assert_eq!((preview.height, preview.width), ((3 * SIDE + 2) * 14, (2 * SIDE + 1) * 14));

    folder.succeeds(
        "restore --measurement y.h5 --network net.safetensors --samples 4 --calls 3 --seed 1 \
         --out out",
    );
    let names: BTreeSet<String> = std::fs::read_dir(folder.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = [
        "config.json",
        "image-0000",
        "image-0001",
        "image-0002",
        "mosaic.png",
        "one_call.h5",
        "samples.h5",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
    for name in ["truth", "measurement", "one-call", "mean", "standard-deviation", "sample-003"] {
        let picture = read_png(&folder.path(&format!("out/image-0002/{name}.png"))).unwrap();
        assert_eq!(picture.shape, set.shape(), "{name}");
    }

    let archive = SampleArchive::read(&folder.path("out/samples.h5")).unwrap();
    assert_eq!((archive.len(), archive.samples_per_image()), (3, 4));
    let one_call = SampleArchive::read(&folder.path("out/one_call.h5")).unwrap();
    assert_eq!((one_call.len(), one_call.samples_per_image()), (3, 1));
    let config = json(&std::fs::read_to_string(folder.path("out/config.json")).unwrap());
    assert_eq!(&config, archive.config());
    assert_eq!(config["calls"], 3);
    assert_eq!(config["measurement"]["sigma_y"], 0.05);
    assert_eq!(config["environment"]["device"], "cpu");

    // Another batch, the same samples, up to the rounding of an f32 network.
    folder.succeeds(
        "restore --measurement y.h5 --network net.safetensors --samples 4 --calls 3 --seed 1 \
         --batch 5 --out small-batches",
    );
    let other = SampleArchive::read(&folder.path("small-batches/samples.h5")).unwrap();
    for (a, b) in archive.samples().iter().zip(other.samples()) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
    // A network is asked as it was trained: the same weights by another method give other samples.
    assert_eq!(config["method"], "eps");
    folder.network_asked_at("palette.safetensors", SIDE, &[Task::RandomInpainting], AskedAt::State);
    folder.network_asked_at("prior.safetensors", SIDE, &[], AskedAt::Pivot);
    for (network, method) in [("palette", "palette"), ("prior", "zero-shot")] {
        folder.succeeds(&format!(
            "restore --measurement y.h5 --network {network}.safetensors --samples 4 --calls 3 --seed 1 \
             --out {network}"
        ));
        let other = SampleArchive::read(&folder.path(&format!("{network}/samples.h5"))).unwrap();
        assert_eq!(other.config()["method"], method);
        assert_ne!(other.samples(), archive.samples());
    }
    // Another seed, other samples; the folder is replaced.
    folder.succeeds(
        "restore --measurement y.h5 --network net.safetensors --samples 4 --calls 3 --seed 2 \
         --force --out small-batches",
    );
    let other = SampleArchive::read(&folder.path("small-batches/samples.h5")).unwrap();
    assert_ne!(archive.samples(), other.samples());

    let scores =
        json(&folder.succeeds("evaluate --truth out/samples.h5 --samples out/samples.h5 --json"));
    for key in ["psnr_db", "energy_score", "energy_score_fair", "crps_coordinate", "mmd2"] {
        assert!(scores[key].is_f64(), "{key}: {scores}");
        assert!(scores["conventions"][key].is_string(), "{key}");
    }
    // Images of 8×8 pixels are smaller than the window.
    assert!(scores["ssim"].is_null() && scores["undefined"]["ssim"].is_string());
    assert_eq!((&scores["images"], &scores["samples"]), (&3.into(), &4.into()));
    let table = folder.succeeds("evaluate --truth clean.npy --samples out/samples.h5");
    assert!(table.contains("3 images, 4 samples of each") && table.contains("psnr_db"), "{table}");
}

#[test]
fn metrics_on_networks_say_where_they_come_from() {
    let folder = Folder::new();
    folder.npy("truth.npy", &[3, 1, SIDE, SIDE], &values(3 * SIDE * SIDE));
    folder.npy("samples.npy", &[3, 2, 1, SIDE, SIDE], &values(6 * SIDE * SIDE));
    let evaluate = "evaluate --truth truth.npy --samples samples.npy";
    let pixels = json(&folder.succeeds(&format!("{evaluate} --json --no-networks")));
    assert!(pixels.get("lpips_alex").is_none() && pixels["networks_left_out"].is_string());
    assert_eq!(pixels["networks"], json("{}"));

    let scores = json(&folder.succeeds(&format!("{evaluate} --json")));
    assert_eq!(scores["mmd2"], pixels["mmd2"]);
    if let Some(note) = scores.get("networks_left_out") {
        // The networks were not fetched.
        assert!(note.as_str().unwrap().contains("cargo xtask fetch lpips"), "{note}");
        return;
    }
    for network in ["alex", "vgg"] {
        for value in ["lpips", "fd", "mmd2", "energy_score"] {
            let name = format!("{value}_{network}");
            assert!(scores[&name].is_f64(), "{name}: {scores}");
            let convention = scores["conventions"][&name].as_str().unwrap();
            assert!(convention.contains("8x8 upsampled to 64x64 bilinearly"), "{convention}");
        }
        assert_eq!(scores["networks"][network]["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(scores["networks"][network]["input_sides"], json("[64, 64]"));
    }
    assert!(scores["cautions"]["fd_vgg"].as_str().unwrap().contains("3 truths for 512 features"));
    let table = folder.succeeds(evaluate);
    assert!(table.contains("lpips_alex") && table.contains("caution: 3 truths"), "{table}");
}

#[test]
fn every_sampler_runs_with_the_calls_it_was_given() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.npy("clean.npy", &[SIDE, SIDE], &values(SIDE * SIDE));
    folder.succeeds("measure --image clean.npy --factor 2 --sigma-y 0.1 --out y.h5");
    for (index, (flags, calls)) in [
        ("--sampler euler --calls 1", 1),
        ("--sampler heun --calls 5", 5),
        ("--sampler heun", 19),
        ("--sampler ddim --eta 1 --calls 2 --precision bf16", 2),
        ("--threads 1", 20),
    ]
    .into_iter()
    .enumerate()
    {
        folder.succeeds(&format!(
            "restore --measurement y.h5 --network net.safetensors --samples 1 --out out{index} {flags}"
        ));
        let config = std::fs::read_to_string(folder.path(&format!("out{index}/config.json")));
        assert_eq!(json(&config.unwrap())["calls"], calls, "{flags}");
    }
}

#[test]
fn a_measurement_of_the_users_own_is_taken_as_it_is() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.png("low.png", 1, SIDE / 2, &values(SIDE * SIDE / 4));
    let low = read_png(&folder.path("low.png")).unwrap().values;
    folder.npy("low.npy", &[SIDE / 2, SIDE / 2], &low);
    std::fs::write(folder.path("pool.json"), r#"{"operator": "average-pool", "factor": 2}"#)
        .unwrap();
    let network = "restore --network net.safetensors --samples 2 --calls 2 --sigma-y 0.02";
    folder.succeeds(&format!("{network} --measurement low.png --factor 2 --out png"));
    folder.succeeds(&format!("{network} --measurement low.npy --operator pool.json --out npy"));
    // The same y, the same samples: nothing was added to either.
    let [png, npy] = ["png", "npy"]
        .map(|name| SampleArchive::read(&folder.path(&format!("{name}/samples.h5"))).unwrap());
    assert_eq!(png.samples(), npy.samples());
    assert_eq!((png.shape().height, png.shape().width), (SIDE, SIDE));
    // What was measured is shown, magnified to the image's size.
    let shown = read_png(&folder.path("png/image-0000/measurement.png")).unwrap();
    for row in 0..SIDE {
        for column in 0..SIDE {
            assert_eq!(shown.values[row * SIDE + column], low[row / 2 * SIDE / 2 + column / 2]);
        }
    }
}

#[test]
fn a_kernel_in_any_format_is_one_operator() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.npy("y.npy", &[1, SIDE, SIDE], &values(SIDE * SIDE));
    // A horizontal mean of three pixels: white taps of a picture, normalised, and thirds.
    let on = |hit: f64, miss: f64| -> Vec<f64> {
        (0..9).map(|i| if (3..6).contains(&i) { hit } else { miss }).collect()
    };
    folder.png("kernel.png", 1, 3, &on(1.0, -1.0));
    folder.npy("kernel.npy", &[3, 3], &on(1.0 / 3.0, 0.0));
    for (name, kernel) in [("a", "kernel.png"), ("b", "kernel.npy")] {
        folder.succeeds(&format!(
            "restore --network net.safetensors --samples 1 --calls 2 --measurement y.npy \
             --kernel {kernel} --sigma-y 0.1 --out {name}"
        ));
    }
    let [a, b] = ["a", "b"]
        .map(|name| SampleArchive::read(&folder.path(&format!("{name}/samples.h5"))).unwrap());
    assert_eq!(a.samples(), b.samples());
}

#[test]
fn measurements_of_a_data_set_depend_on_seed_and_index_alone() {
    let folder = Folder::new();
    for task in ["random-inpainting", "motion-blur"] {
        let measure = |flags: &str| {
            folder.succeeds(&format!(
                "measure --dataset fashion-mnist --split test --task {task} --sigma-y 0.05 \
                 --force --out y.h5 {flags}"
            ));
            MeasurementSet::read(&folder.path("y.h5")).unwrap()
        };
        let several = measure("--index 2..5 --seed 7");
        let one = measure("--index 4 --seed 7");
        assert_eq!(one.len(), 1, "{task}");
        assert_eq!(several.measurement(2), one.measurement(0), "{task}");
        // Kernels of a set are padded to one size, which leaves the operators as they are.
        assert_eq!(several.operator(2).eigenvalues(), one.operator(0).eigenvalues(), "{task}");
        assert_ne!(measure("--index 4 --seed 8").measurement(0), one.measurement(0), "{task}");
        assert!(one.provenance().name.contains("images 4..5"), "{}", one.provenance().name);
    }
}

#[test]
fn networks_are_shown_and_verified() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    let shown = folder.succeeds("model show net.safetensors");
    assert!(shown.contains("parameters") && shown.contains("\"model_channels\": 8"), "{shown}");

    let fixture =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../eps-model/tests/fixtures/ddpmpp_tiny.json");
    let verified = folder.succeeds(&format!("model verify {fixture}"));
    assert!(verified.contains("sigma") && verified.contains("ok"), "{verified}");
    // One stored value is changed by more than the limit.
    let mut spoilt = json(&std::fs::read_to_string(fixture).unwrap());
    spoilt["cases"][0]["mean"] = (spoilt["cases"][0]["mean"].as_f64().unwrap() + 0.1).into();
    std::fs::write(folder.path("spoilt.json"), spoilt.to_string()).unwrap();
    folder.fails("model verify spoilt.json", 1, &["spoilt.json", "above 1e-4"]);
}

#[test]
fn a_data_set_is_imported_shown_trained_on_and_measured() {
    let folder = Folder::new();
    for i in 0..40 {
        let class = ["ape", "bee"][i % 2];
        let path = folder.path(&format!("pictures/{class}/{i}.png"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let shape = Shape { channels: 3, height: 20, width: 17 };
        let values: Vec<f64> =
            (0..shape.len()).map(|at| ((at * (i + 3)) as f64 / 40.0).sin()).collect();
        write_png(&path, shape, &values).unwrap();
    }
    std::fs::write(folder.path("pictures/bad.png"), "no picture").unwrap();
    let import = "data import pictures set.h5 --size 16 --labels --split 50:25:25 --licence CC0";
    std::fs::rename(folder.path("pictures/bad.png"), folder.path("pictures/bee/bad.png")).unwrap();
    let output = folder.eps(import);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("bad.png") && error.contains("--skip-bad"), "{error}");
    let said = folder.succeeds(&format!("{import} --skip-bad"));
    assert!(said.contains("bad.png"), "{said}");
    let shown = folder.succeeds("data show set.h5");
    assert!(said.ends_with(&shown), "{said}");
    for words in ["files   40", "train: ", "[3, 16, 16]", "2 classes", "CC0", "\"size\":16"] {
        assert!(shown.contains(words), "{words:?} is not in: {shown}");
    }

    folder.succeeds(
        "measure --dataset set.h5 --index 0..2 --task box-inpainting --sigma-y 0.1 --out y.h5",
    );
    let set = MeasurementSet::read(&folder.path("y.h5")).unwrap();
    assert_eq!((set.len(), set.shape().channels), (2, 3));
    folder.fails(
        "measure --dataset cifar --task box-inpainting --sigma-y 0.1 --out z.h5",
        2,
        &["photos-32", "FILE.h5"],
    );
    folder.fails(
        "measure --dataset no.h5 --task box-inpainting --sigma-y 0.1 --out z.h5",
        1,
        &["no.h5", "data import"],
    );

    // The configuration is of another data set of larger images.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/networks/photos-32/all-tasks.json");
    let mut config = json(&std::fs::read_to_string(path).unwrap());
    config["network"]["img_resolution"] = 16.into();
    config.as_object_mut().unwrap().remove("start");
    std::fs::write(folder.path("net.json"), config.to_string()).unwrap();
    folder.succeeds("train net.json --data set.h5 --check --out run --threads 1");
    let shown = folder.succeeds("model show run/all-tasks.safetensors");
    assert!(shown.contains("trained on set, train"), "{shown}");
    config["dataset"] = "set.h5".into();
    std::fs::write(folder.path("net.json"), config.to_string()).unwrap();
    folder.succeeds("train net.json --check --out again --threads 1");

    folder.succeeds("experiment moments --dataset set.h5");
    assert!(folder.path("set.moments.h5").is_file());
}

#[test]
fn help_states_units_and_ranges() {
    let folder = Folder::new();
    let help = folder.succeeds("restore --help");
    for words in ["[-1, 1]", "0..255", "from 1 on", "from 0 (none", "cuda:N"] {
        assert!(help.contains(words), "{words}: {help}");
    }
    let version = folder.succeeds("--version");
    assert!(version.starts_with("eps "), "{version}");
    for command in
        ["measure", "evaluate", "train", "model verify", "model show", "import lpips", "experiment"]
    {
        assert!(folder.succeeds(&format!("{command} --help")).contains("Usage: eps"), "{command}");
    }
}

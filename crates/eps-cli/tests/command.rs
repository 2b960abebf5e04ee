//! The way of a user through the commands: measure, restore, evaluate; and looking at networks.

mod common;

use std::collections::BTreeSet;

use common::{Folder, SIDE, values};
use eps::contender::Contender;
use eps::data::npy::read_npy;
use eps::data::png::{read_png, write_png};
use eps::data::{ArchiveWriter, Array, MeasurementSet, SampleArchive};
use eps::math::operator::{Dense, LinearMap as _, OperatorSpec, Spectral as _, to_matrix};
use eps::math::rng::Stream;
use eps::math::{Level, Shape, Task, pivot};
use eps::model::checkpoint::{self, AskedAt, Storage};
use eps::model::{Precision, set_values};
use eps::network::Conditioning;
use eps::restoration_config::RestorationConfig;
use eps::tch::{Device, Kind, Tensor};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_picture_is_scored_as_an_image_and_as_a_sample() {
    let folder = Folder::new();
    for (name, level) in [("clean.png", 100.0), ("restored.png", 101.0)] {
        folder.png(name, 3, SIDE, &vec![level / 127.5 - 1.0; 3 * SIDE * SIDE]);
    }
    let printed =
        folder.succeeds("evaluate --truth clean.png --samples restored.png --no-networks --json");
    let scores = json(&printed);
    // One level of 255 apart.
    let psnr = 20.0 * 255_f64.log10();
    assert!((scores["psnr_db"].as_f64().unwrap() - psnr).abs() < 1e-9, "{scores}");
    assert_eq!((&scores["images"], &scores["samples"]), (&1.into(), &1.into()));
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

    let printed = folder.succeeds(
        "restore --measurement y.h5 --network net.safetensors --samples 4 --calls 3 --seed 1 \
         --out out",
    );
    assert!(printed.contains("network \"tiny\": licence: MIT"), "{printed}");
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
        "page.html",
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
    let read = RestorationConfig::of(&archive).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), config);
    assert_eq!((read.method, read.residuals.len()), (Conditioning::Eps, 3));
    assert_eq!(config["calls"], 3);
    assert_eq!(config["measurement"]["sigma_y"], 0.05);
    assert_eq!(config["environment"]["device"], "cpu");
    assert_eq!(config["network"]["origin"], "random weights; licence: MIT");

    // Another batch, the same samples, up to the rounding of an f32 network.
    folder.succeeds(
        "restore --measurement y.h5 --network net.safetensors --samples 4 --calls 3 --seed 1 \
         --batch 5 --out small-batches",
    );
    let other = SampleArchive::read(&folder.path("small-batches/samples.h5")).unwrap();
    for (a, b) in archive.samples().iter().zip(other.samples()) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
    // More threads than batches or cores, the same bits.
    for threads in [2, 5] {
        folder.succeeds(&format!(
            "restore --measurement y.h5 --network net.safetensors --samples 4 --calls 3 --seed 1 \
             --threads {threads} --out threads-{threads}"
        ));
        let name = format!("threads-{threads}/samples.h5");
        let other = SampleArchive::read(&folder.path(&name)).unwrap();
        assert_eq!(other.samples(), archive.samples());
        assert_eq!(other.config()["environment"]["threads"], threads);
        assert_eq!((&other.config()["batch"], &config["batch"]), (&3.into(), &3.into()));
    }
    // A network is asked as it was trained: the same weights by another method give other samples.
    assert_eq!(config["method"], "eps");
    folder.network_asked_at("palette.safetensors", SIDE, &[Task::RandomInpainting], AskedAt::State);
    folder.network_asked_at("prior.safetensors", SIDE, &[], AskedAt::Pivot);
    for (network, method) in [("palette", "palette"), ("prior", "zero-shot")] {
        let printed = folder.succeeds(&format!(
            "restore --measurement y.h5 --network {network}.safetensors --samples 4 --calls 3 --seed 1 \
             --out {network}"
        ));
        let other = SampleArchive::read(&folder.path(&format!("{network}/samples.h5"))).unwrap();
        assert_eq!(other.config()["method"], method);
        let told = if method == "palette" { "method: Palette" } else { "method: EPS zero-shot" };
        assert!(printed.contains(told), "{printed}");
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

    // Of a file of several the group is named; the truth may be in the root of another.
    let writer = ArchiveWriter::create(&folder.path("groups.h5")).unwrap();
    writer.add("blur/eps-3", &archive).unwrap();
    writer.finish().unwrap();
    let evaluate = "evaluate --json --truth y.h5 --samples";
    let of_group = json(&folder.succeeds(&format!("{evaluate} groups.h5 --group blur/eps-3")));
    assert_eq!(of_group["samples"], 4);
    for (samples, code, words) in [
        ("groups.h5", 1, &["groups.h5", "\"samples\"", "the groups blur/eps-3", "--group"][..]),
        ("groups.h5 --group blur/eps-20", 1, &["the groups blur/eps-3", "--group"]),
        ("out/samples.h5 --group no", 2, &["--group no", "neither file"]),
    ] {
        folder.fails(&format!("{evaluate} {samples}"), code, words);
    }
}

/// Pairs are the samples of before at 0, 2, …, and others at 1, 3, …, whatever the batch; what judges sets of samples takes those
/// that are independent.
#[test]
fn antithetic_pairs_are_told_and_judged_as_such() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.npy("clean.npy", &[2, 1, SIDE, SIDE], &values(2 * SIDE * SIDE));
    folder.succeeds("measure --image clean.npy --factor 2 --sigma-y 0.05 --out y.h5");
    let restore = "restore --measurement y.h5 --network net.safetensors --calls 3";
    folder.succeeds(&format!("{restore} --samples 6 --batch 2 --out independent"));
    let printed =
        folder.succeeds(&format!("{restore} --samples 6 --antithetic --batch 4 --out pairs"));
    assert!(printed.contains("6 samples of each in antithetic pairs"), "{printed}");
    let [independent, pairs] = ["independent", "pairs"]
        .map(|name| SampleArchive::read(&folder.path(&format!("{name}/samples.h5"))).unwrap());
    assert!(!independent.is_antithetic() && pairs.is_antithetic());
    let one = SIDE * SIDE;
    let samples = independent.samples().chunks_exact(one).zip(pairs.samples().chunks_exact(one));
    for (at, (a, b)) in samples.enumerate() {
        let largest = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Up to the rounding of an f32 network in another batch.
        assert_eq!(largest < 1e-3, at % 2 == 0, "{at}: {largest}");
    }
    assert!(RestorationConfig::of(&pairs).unwrap().antithetic);
    assert!(independent.config().get("antithetic").is_none());
    let page = std::fs::read_to_string(folder.path("pairs/page.html")).unwrap();
    assert!(page.contains("6 samples in antithetic pairs (0 and 1"));

    let evaluate = |name: &str| {
        let told = folder.eps(&format!("evaluate --json --truth y.h5 --samples {name}/samples.h5"));
        let note = String::from_utf8(told.stderr).unwrap();
        (json(&String::from_utf8(told.stdout).unwrap()), note)
    };
    // The mean is that of all.
    let psnr_of_mean = |archive: &SampleArchive| {
        let truth = values(2 * one);
        let psnr = (0..2).map(|image| {
            let range = image * one..(image + 1) * one;
            let mean = &archive.posterior_mean()[range.clone()];
            let squares = mean
                .iter()
                .zip(&truth[range])
                .map(|(mean, truth)| (f64::from(*mean).clamp(-1.0, 1.0) - truth).powi(2));
            -10.0 * (squares.sum::<f64>() / one as f64 / 4.0).log10()
        });
        psnr.sum::<f64>() / 2.0
    };
    let (scores, note) = evaluate("pairs");
    let found = scores["psnr_mean_db"].as_f64().unwrap();
    // Means of f32.
    assert!((found - psnr_of_mean(&pairs)).abs() < 1e-4, "{found} {}", psnr_of_mean(&pairs));
    assert!(scores["conventions"]["psnr_mean_db"].is_string());
    assert!(
        note.contains("antithetic pairs: scored is the first of each, 3 of each image"),
        "{note}"
    );
    assert_eq!(scores["samples"], 3);
    let (scores, note) = evaluate("independent");
    assert!(!note.contains("antithetic"), "{note}");
    assert_eq!(scores["samples"], 6);
    folder.fails(
        &format!("{restore} --samples 1 --antithetic --out one"),
        2,
        &["--antithetic --samples 1", "an even number"],
    );
}

/// The program of the README, which names its files itself.
#[test]
fn the_example_of_the_library_runs() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("data/networks/fashion")).unwrap();
    folder.network("data/networks/fashion/all-tasks.safetensors");
    folder.npy("clean.npy", &[1, 1, SIDE, SIDE], &values(SIDE * SIDE));
    folder.succeeds("measure --image clean.npy --factor 2 --sigma-y 0.1 --out measurement.h5");
    // Beside this test; a test that is named alone is built without it.
    let own = std::env::current_exe().unwrap();
    let example = own.ancestors().nth(2).unwrap().join("examples/restore");
    let output = std::process::Command::new(&example)
        .current_dir(folder.path("."))
        .env("OMP_NUM_THREADS", "1")
        .output()
        .expect("`cargo build -p eps --examples` in the profile of this test makes it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// libgomp shows its variables where it is loaded: once as it was started, once anew.
#[test]
fn threads_that_wait_for_each_other_sleep_soon() {
    let folder = Folder::new();
    folder.npy("truth.npy", &[2, 1, SIDE, SIDE], &values(2 * SIDE * SIDE));
    folder.npy("samples.npy", &[2, 2, 1, SIDE, SIDE], &values(4 * SIDE * SIDE));
    let turns = |given: &[(&str, &str)]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_eps"))
            .args("evaluate --truth truth.npy --samples samples.npy --no-networks".split(' '))
            .current_dir(folder.path("."))
            .env_remove("GOMP_SPINCOUNT")
            .env_remove("OMP_NUM_THREADS")
            .env("OMP_DISPLAY_ENV", "VERBOSE")
            .envs(given.iter().copied())
            .output()
            .unwrap();
        assert!(output.status.success() && !output.stdout.is_empty());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let turns = told.lines().filter_map(|line| line.split("GOMP_SPINCOUNT = ").nth(1));
        turns.map(|turns| turns.trim_matches('\'').to_owned()).collect::<Vec<_>>()
    };
    let anew = turns(&[]);
    assert!(anew.len() == 2 && anew[0] != "1000" && anew[1] == "1000", "{anew:?}");
    assert_eq!(turns(&[("GOMP_SPINCOUNT", "77")]), ["77"]);
    assert_eq!(turns(&[("OMP_NUM_THREADS", "1")]).len(), 1);
    assert_eq!(turns(&[("OMP_WAIT_POLICY", "ACTIVE")]).len(), 1);
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
        ("--sampler euler", 20),
        ("--sampler multistep", 10),
        ("--threads 1", 10),
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

/// Values that were not measured are as those that a mask hides, a deviation of each value is whitened, and of an exact
/// measurement the samples are exact.
#[test]
fn noise_of_each_value() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    let n = SIDE * SIDE;
    let mut y = values(n);
    let mask: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i % 5 != 0))).collect();
    folder.npy("mask.npy", &[SIDE, SIDE], &mask);
    folder.npy("all.npy", &[SIDE, SIDE], &vec![1.0; n]);
    folder.npy("y.npy", &[SIDE, SIDE], &y);
    let restore = "restore --network net.safetensors --samples 2 --calls 2 --precision f32";
    let samples = |out: &str| {
        SampleArchive::read(&folder.path(&format!("{out}/samples.h5"))).unwrap().samples().to_vec()
    };
    folder.succeeds(&format!(
        "{restore} --measurement y.npy --mask mask.npy --sigma-y 0.1 --out mask"
    ));
    let exact = "--mask mask.npy --sigma-y 0 --out exact";
    let said = folder.succeeds(&format!("{restore} --measurement y.npy {exact}"));
    assert!(said.contains("of the samples, where 0 is right"), "{said}");
    for sample in samples("exact").chunks_exact(n) {
        for ((x, y), seen) in sample.iter().zip(&y).zip(&mask) {
            assert!(*seen == 0.0 || (f64::from(*x) - y).abs() < 1e-6, "{x} for {y}");
        }
    }
    y.iter_mut().zip(&mask).filter(|(_, seen)| **seen == 0.0).for_each(|(y, _)| *y = f64::NAN);
    folder.npy("gaps.npy", &[1, 1, SIDE, SIDE], &y);
    let gaps = "--measurement gaps.npy --mask all.npy --sigma-y 0.1 --out gaps";
    let output = folder.eps(&format!("{restore} {gaps}"));
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && notes.contains("13 of the 64 values of y are missing"),
        "{notes}"
    );
    assert_eq!(samples("gaps"), samples("mask"));

    // Measured with a deviation of each value, and restored from the file.
    let sigmas: Vec<f64> = (0..n)
        .map(|i| if i % 7 == 0 { f64::INFINITY } else { 0.02 * (1 + i % 3) as f64 })
        .collect();
    folder.npy("sigma.npy", &[1, SIDE, SIDE], &sigmas);
    folder.succeeds("measure --image y.npy --mask mask.npy --sigma-y sigma.npy --out y.h5");
    let set = MeasurementSet::read(&folder.path("y.h5")).unwrap();
    assert_eq!((set.missing(), set.is_white()), (10, false));
    folder.succeeds(&format!("{restore} --measurement y.h5 --out whitened"));
    let config = std::fs::read_to_string(folder.path("whitened/config.json")).unwrap();
    let residual = &json(&config)["residuals"][0];
    // 51 pixels of the mask, of which every seventh is missing.
    assert_eq!(residual["values"], 43);
}

/// An array in an instrument's unit is restored as the same on [-1, 1], and comes back in its unit.
#[test]
fn units_and_estimates_of_noise() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    let n = SIDE * SIDE;
    let (y, all) = (values(n), vec![1.0; n]);
    folder.npy("all.npy", &[SIDE, SIDE], &all);
    folder.npy("y.npy", &[SIDE, SIDE], &y);
    // Powers of two: nothing is rounded.
    let counts: Vec<f64> = y.iter().map(|y| 512.0 + 256.0 * y).collect();
    folder.npy("counts.npy", &[SIDE, SIDE], &counts);
    let restore =
        "restore --network net.safetensors --samples 2 --calls 2 --precision f32 --mask all.npy";
    folder.succeeds(&format!("{restore} --measurement y.npy --sigma-y 0.125 --out plain"));
    folder.succeeds(&format!(
        "{restore} --measurement counts.npy --unit 512,256,counts --sigma-y 32 --out counts"
    ));
    let [plain, counts] = ["plain", "counts"]
        .map(|name| SampleArchive::read(&folder.path(&format!("{name}/samples.h5"))).unwrap());
    assert_eq!(plain.samples(), counts.samples());
    let array = |name: &str| read_npy(&folder.path(&format!("counts/{name}.npy"))).unwrap();
    let in_unit = array("samples");
    assert_eq!(in_unit.dims, [1, 2, 1, SIDE, SIDE]);
    for (v, x) in in_unit.values.iter().zip(plain.samples()) {
        // Of 512 in f32.
        assert!((v - (512.0 + 256.0 * f64::from(*x))).abs() < 1e-3, "{v} for {x}");
    }
    for (v, sd) in array("standard-deviation").values.iter().zip(plain.posterior_sd()) {
        assert!((v - 256.0 * f64::from(*sd)).abs() < 1e-3, "{v} for {sd}");
    }
    let config = json(&std::fs::read_to_string(folder.path("counts/config.json")).unwrap());
    assert_eq!(config["measurement"]["unit"]["name"], "counts");
    assert_eq!(config["measurement"]["sigma_y"], 0.125);

    let said = folder.succeeds(&format!(
        "{restore} --measurement counts.npy --unit auto,counts --sigma-y counts:2,8 --out counted"
    ));
    assert!(
        said.contains("unit, from the range of y: ") && said.contains("counts are +-1"),
        "{said}"
    );
    let said = folder.succeeds(&format!("{restore} --measurement y.npy --sigma-y auto --out auto"));
    assert!(said.contains("sigma_y, estimated from the finest details of y: 0."), "{said}");
    assert!(said.contains(" +- 0.") && said.contains("(49 values)"), "{said}");

    // A unit that is none, one beside a file that has its own, and noise that nothing tells.
    let bad = |flags: &str, code: i32, words: &[&str]| {
        folder.fails(&format!("restore --network net.safetensors --out bad {flags}"), code, words);
    };
    bad(
        "--measurement y.npy --mask all.npy --sigma-y 0.1 --unit 1,0",
        1,
        &["--unit", "scale", "is 0"],
    );
    bad("--measurement y.npy --mask all.npy --sigma-y 0.1 --unit 1", 2, &["OFFSET,SCALE"]);
    bad("--measurement y.npy --mask all.npy --sigma-y counts:0,1", 1, &["gain of the counts is 0"]);
    folder.png("y.png", 1, SIDE, &y);
    bad(
        "--measurement y.png --mask all.npy --sigma-y 1 --unit 1,2",
        2,
        &["y.png", "--unit belongs"],
    );
    let weights = format!(r#"{{"operator": "weights", "weights": {all:?}}}"#);
    std::fs::write(folder.path("weights.json"), weights).unwrap();
    bad(
        "--measurement y.npy --operator weights.json --sigma-y auto",
        1,
        &["--sigma-y auto", "by weights", "give sigma_y as a number"],
    );
    folder.fails(
        "measure --image y.npy --mask all.npy --sigma-y auto --out auto.h5",
        2,
        &["--sigma-y auto", "give a number"],
    );
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
    folder.npy("sum.npy", &[3, 3], &[100.0; 9]);
    let output = folder.eps("measure --image y.npy --kernel sum.npy --sigma-y 0.1 --out y.h5");
    let note = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && note.contains("the kernel sums to 900 "), "{note}");
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
        let eigenvalues =
            |set: &MeasurementSet, index: usize| set.operator(index).basic().unwrap().eigenvalues();
        assert_eq!(eigenvalues(&several, 2), eigenvalues(&one, 0), "{task}");
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
    assert!(shown.contains("stored in f16") && shown.contains("trained in"), "{shown}");
    assert!(shown.contains("\nrandom weights; licence: MIT\n"), "{shown}");

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

/// Every training-free method samples with a prior, and only with one; it says its constant.
#[test]
fn a_prior_is_sampled_by_any_training_free_method() {
    let folder = Folder::new();
    folder.network_asked_at("prior.safetensors", SIDE, &[], AskedAt::Pivot);
    folder.npy("y.npy", &[SIDE, SIDE], &values(SIDE * SIDE));
    let of = "restore --measurement y.npy --denoise --sigma-y 0.3 --samples 2";
    folder.succeeds(&format!("{of} --network prior.safetensors --calls 5 --out eps"));
    let of_eps = SampleArchive::read(&folder.path("eps/samples.h5")).unwrap();
    for method in Contender::ALL {
        let name = method.name();
        let printed = folder.succeeds(&format!(
            "{of} --network prior.safetensors --method {name} --calls 5 --out {name}"
        ));
        let constant = format!("method: {}, ", method.label());
        assert!(printed.contains(&constant) && printed.contains("--constant"), "{printed}");
        assert!(printed.contains("5 network calls"), "{printed}");
        let archive = SampleArchive::read(&folder.path(&format!("{name}/samples.h5"))).unwrap();
        assert_eq!(archive.config()["contender"]["contender"], name);
        assert!(archive.samples() != of_eps.samples(), "{name}");
    }
    // Five calls of the prior an annealing level.
    let daps = format!("{of} --network prior.safetensors --method daps --calls 12 --constant 1e-4");
    let printed = folder.succeeds(&format!("{daps} --out again"));
    assert!(printed.contains("h = 0.0001, as asked for"), "{printed}");
    assert!(printed.contains("10 network calls"), "{printed}");

    folder.network_asked_at("trained.safetensors", SIDE, &Task::ALL, AskedAt::Pivot);
    let trained = format!("{of} --network trained.safetensors --method dps --out new");
    folder.fails(&trained, 1, &["DPS asks a prior", "denoising alone"]);
    let prior = format!("{of} --network prior.safetensors --out new");
    folder.fails(&format!("{prior} --method dps --sampler heun"), 2, &["--sampler"]);
    folder.fails(&format!("{prior} --constant 1"), 2, &["--method"]);
    folder.fails(
        &format!("{prior} --method dps --constant 0"),
        2,
        &["--constant 0", "ζ of DPS", "above 0"],
    );
    let eta = format!("{prior} --method ddrm --constant 1.5");
    folder.fails(&eta, 2, &["--constant 1.5", "from 0 to 1"]);
    assert!(!folder.path(".new.unfinished").exists());
    folder.fails(&format!("{prior} --shape 1,4,4"), 1, &["[1, 4, 4]", "[1, 8, 8]", "leave it out"]);
    let exact = "restore --measurement y.npy --denoise --sigma-y 0 --samples 1 --method ddrm";
    folder.fails(&format!("{exact} --network prior.safetensors --out new"), 1, &["DDRM divides"]);
}

/// A network, and the same as a module of another parameterisation: the same samples.
#[test]
fn a_scripted_prior_restores_as_the_network_that_it_was_made_of() {
    let folder = Folder::new();
    folder.network_asked_at("prior.safetensors", SIDE, &[], AskedAt::Pivot);
    folder.script_of("prior", SIDE);
    folder.npy("clean.npy", &[SIDE, SIDE], &values(SIDE * SIDE));
    folder.succeeds("measure --image clean.npy --factor 2 --sigma-y 0.1 --out y.h5");
    let restore = "restore --measurement y.h5 --samples 3 --calls 4 --seed 2 --precision f32";
    let printed = folder.succeeds(&format!("{restore} --network prior.json --out scripted"));
    assert!(printed.contains("in f32 on cpu"), "{printed}");
    folder.succeeds(&format!("{restore} --network prior.safetensors --out trained"));
    let [scripted, trained] = ["scripted", "trained"]
        .map(|name| SampleArchive::read(&folder.path(&format!("{name}/samples.h5"))).unwrap());
    assert_eq!(scripted.config()["method"], "zero-shot");
    for file in ["sha256", "name"] {
        assert!(scripted.config()["network"][file].is_string(), "{file}");
    }
    assert_eq!(scripted.config()["network"]["script"]["sha256"].as_str().unwrap().len(), 64);
    for (a, b) in scripted.samples().iter().zip(trained.samples()) {
        // σ_t ε̂ in f32: 80 · 6e-8 in the first step, of which the last leaves what D has of it.
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
    let shown = folder.succeeds("model show prior.json");
    assert!(shown.contains("variance-preserving") && shown.contains("prior.pt"), "{shown}");

    folder.fails(&format!("{restore} --network prior.json --class 1 --out new"), 1, &["no class"]);
    folder.fails(
        &format!("{restore} --network prior.safetensors --class 1 --out new"),
        1,
        &["knows no classes"],
    );
    folder.npy("wide.npy", &[SIDE, 2 * SIDE], &values(2 * SIDE * SIDE));
    folder.succeeds("measure --image wide.npy --factor 2 --sigma-y 0.1 --out wide.h5");
    folder.fails(
        "restore --measurement wide.h5 --network prior.json --out new",
        1,
        &["\"scripted\" takes [1, 8, 8]", "crop or resize"],
    );
    std::fs::write(folder.path("prior.pt"), "weights").unwrap();
    folder.fails(
        &format!("{restore} --network prior.json --out new"),
        1,
        &["prior.pt", "no TorchScript module"],
    );
}

/// bf16 rounds to 8 bits of significand, relative 2⁻⁹, in each of some 60 layers: 60^½ · 2⁻⁹ = 0.015
/// of an answer of order one if the signs are independent. f16 has three bits more.
#[test]
fn what_low_precision_does_is_bounded_by_its_rounding() {
    let folder = Folder::new();
    let network =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/networks/fashion/prior.safetensors");
    // One image: what a processor lacks instructions for takes long.
    folder.succeeds(
        "measure --dataset fashion-mnist --index 0..1 --task random-inpainting --sigma-y 0.05 --seed 1 --out one.h5",
    );
    let printed = folder.succeeds(&format!("model precision {network} --measurement one.h5"));
    let rows: Vec<Vec<f64>> = printed
        .lines()
        .map(|line| line.split_whitespace().map_while(|word| word.parse().ok()).collect())
        .filter(|row: &Vec<f64>| row.len() == 3)
        .collect();
    assert_eq!(rows.len(), 8, "{printed}");
    for row in &rows {
        let (sigma_t, bf16, f16) = (row[0], row[1], row[2]);
        assert!(bf16 <= 0.015 && f16 <= 0.015 / 8.0, "{printed}");
        // A network of large c_out computes in low precision indeed.
        assert!(sigma_t < 0.1 || bf16 > f64::powi(2.0, -12), "{printed}");
        assert!(sigma_t < 0.1 || f16 > f64::powi(2.0, -15), "{printed}");
    }
    // A sample is off by about what an answer is: 20 log₁₀(2/0.015) = 42 dB, and 18 more.
    for (name, least) in [("bf16", 42.0), ("f16", 60.0)] {
        let line = printed.lines().find(|line| line.trim().starts_with(&format!("{name} ")));
        let psnr = line.and_then(|line| line.split_whitespace().nth(1)).unwrap();
        assert!(psnr.parse::<f64>().unwrap() > least, "{printed}");
    }

    folder.network_asked_at("prior.safetensors", SIDE, &[], AskedAt::Pivot);
    folder.fails("model precision prior.safetensors", 1, &["[1, 8, 8]", "--measurement"]);
    folder.npy("clean.npy", &[3, 1, SIDE, SIDE], &values(3 * SIDE * SIDE));
    folder.succeeds("measure --image clean.npy --factor 2 --sigma-y 0.1 --out y.h5");
    let batches = "model precision prior.safetensors --measurement y.h5 --batch 2";
    let printed = folder.succeeds(batches);
    assert!(printed.contains("y.h5") && printed.contains("licence: MIT"), "{printed}");
}

#[test]
fn a_published_architecture_starts_with_random_weights() {
    let folder = Folder::new();
    let init = "model init edm-cifar10-32x32-cond-vp a/b/prior.safetensors --seed 3";
    assert!(folder.succeeds(init).contains("55735299 parameters"));
    let shown = folder.succeeds("model show a/b/prior.safetensors");
    assert!(shown.contains("\"model_type\": \"SongUNet\""), "{shown}");
    assert!(shown.contains("\"seed\": 3") && shown.contains("\"sigma_max\": 80.0"), "{shown}");
    folder.fails(init, 1, &["a/b/prior.safetensors exists already"]);
    assert!(shown.contains("multiply-adds") && shown.contains("checkpointing"), "{shown}");
    folder.fails("model init edm-lsun b.safetensors", 2, &["edm-imagenet-64x64-cond-adm"]);

    // It knows ten classes.
    folder.npy("y.npy", &[3, 8, 8], &values(192));
    let restore = "restore --network a/b/prior.safetensors --measurement y.npy --factor 4 \
                   --sigma-y 0.1 --samples 1 --calls 1 --out";
    folder.succeeds(&format!("{restore} out --class 9"));
    let config = json(&std::fs::read_to_string(folder.path("out/config.json")).unwrap());
    assert_eq!(config["class"], 9);
    folder.fails(&format!("{restore} more --class 10"), 1, &["--class 10", "numbered 0 to 9"]);
    folder.network("grey.safetensors");
    folder.npy("grey.npy", &[SIDE, SIDE], &values(SIDE * SIDE));
    folder.fails(
        "restore --network grey.safetensors --measurement grey.npy --factor 1 --sigma-y 0.1 --out more \
         --class 0",
        1,
        &["--class 0", "unconditional"],
    );
}

#[test]
fn a_dry_run_needs_a_configuration_alone() {
    let folder = Folder::new();
    let config =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/paper/imagenet-64/all-tasks.json");
    let told = folder.succeeds(&format!("train {config} --dry-run --tflops 200"));
    // Three more input channels than the published network's.
    let parameters = 295_899_267 + 3 * 9 * 192;
    for words in [
        format!("{parameters} parameters"),
        "150000 steps of 512 images, 64 at a time".to_owned(),
        "bf16, recomputed".to_owned(),
        "hours at 200 TFLOP/s".to_owned(),
    ] {
        assert!(told.contains(&words), "{words}: {told}");
    }
    folder.fails(&format!("train {config}"), 2, &["--out"]);
    folder.fails(&format!("train {config} --dry-run --tflops 0"), 2, &["must be positive"]);
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
    folder.fails(&format!("{import} --classes 3"), 1, &["is 2; needed are 3", "train"]);
    assert!(!folder.path("set.h5.part").exists());
    let output = folder.eps(&format!("{import} --classes 2"));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("bad.png") && error.contains("--skip-bad"), "{error}");
    let said = folder.succeeds(&format!("{import} --skip-bad"));
    assert!(said.contains("bad.png"), "{said}");
    let shown = folder.succeeds("data show set.h5");
    assert!(said.ends_with(&shown), "{said}");
    folder.fails(&format!("{import} --skip-bad"), 1, &["set.h5 exists already", "--force"]);
    folder.succeeds(&format!("{import} --skip-bad --force"));
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
    let grey = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/networks/fashion/prior.json");
    std::fs::copy(grey, folder.path("grey.json")).unwrap();
    config.as_object_mut().unwrap().remove("start");
    std::fs::write(folder.path("net.json"), config.to_string()).unwrap();
    let mut other = config.clone();
    other["network"]["img_resolution"] = 32.into();
    std::fs::write(folder.path("large.json"), other.to_string()).unwrap();
    // What is refused leaves no folder that would go on with the refused images alone.
    folder.fails(
        "train grey.json --data set.h5 --check --out run",
        1,
        &["--data set.h5", "[3, 16, 16]", "[1, 28, 28]", "img_resolution"],
    );
    // Images of another side than the network's are told.
    let large = folder.eps("train large.json --data set.h5 --check --out large --threads 1");
    let noted = String::from_utf8_lossy(&large.stderr).into_owned();
    assert!(large.status.success() && noted.contains("have shape [3, 16, 16]"), "{noted}");
    folder.succeeds("train net.json --data set.h5 --check --out run --threads 1");
    let shown = folder.succeeds("model show run/all-tasks.safetensors");
    assert!(shown.contains("trained on set, train; licence: CC0"), "{shown}");
    config["dataset"] = "set.h5".into();
    std::fs::write(folder.path("net.json"), config.to_string()).unwrap();
    folder.succeeds("train net.json --check --out again --threads 1");

    // The precision of the command line is that of the run.
    let f32 = "train net.json --check --out f32 --threads 1 --precision f32";
    assert_eq!(config["precision"], "bf16");
    folder.succeeds(f32);
    let resolved = std::fs::read_to_string(folder.path("f32/config.json")).unwrap();
    assert_eq!(json(&resolved)["precision"], "f32");
    folder.succeeds(f32);
    let other = f32.replace(" --precision f32", "");
    folder.fails(&other, 1, &["f32 holds", "another", "empty folder"]);
    folder.fails(&f32.replace("precision f32", "precision f16"), 1, &["is f16", "use bf16"]);

    // More steps and another rate: the run goes on, and folder and network tell.
    for (field, value) in [
        ("batch", 2),
        ("micro_batch", 2),
        ("steps", 1),
        ("checkpoint_every", 1),
        ("validation_images", 2),
    ] {
        config[field] = value.into();
    }
    std::fs::write(folder.path("net.json"), config.to_string()).unwrap();
    let train = "train net.json --out longer --threads 1 --precision f32";
    folder.succeeds(train);
    let output = folder.eps(&format!("{train} --steps 2 --learning-rate 1e-5 --storage bf16"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for words in ["goes on with steps 2, until now it was 1", "goes on with learning_rate 0.00001,"]
    {
        assert!(said.contains(words), "no {words:?} in: {said}");
    }
    let changes = json(&std::fs::read_to_string(folder.path("longer/changes.json")).unwrap());
    // Without its state a run starts again, and says so.
    std::fs::create_dir(folder.path("lost")).unwrap();
    for name in ["config.json", "inputs.json", "metrics.jsonl"] {
        std::fs::copy(folder.path("longer").join(name), folder.path("lost").join(name)).unwrap();
    }
    let lost = train.replace("longer", "lost");
    let output = folder.eps(&format!("{lost} --steps 2 --learning-rate 1e-5"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("it starts again"), "{said}");
    assert!(!said.contains("goes on with"), "{said}");
    assert_eq!((&changes[1]["field"], &changes[1]["step"]), (&"steps".into(), &1.into()));
    let shown = folder.succeeds("model show longer/all-tasks.safetensors");
    for words in ["weights stored in bf16, as their SHA-256 says", "\"changes\": ["] {
        assert!(shown.contains(words), "no {words:?} in: {shown}");
    }
    let storages = ["f16", "f32"].map(|storage| {
        folder.succeeds(&format!("{train} --steps 2 --learning-rate 1e-5 --storage {storage}"));
        std::fs::metadata(folder.path("longer/all-tasks.safetensors")).unwrap().len()
    });
    assert!(storages[1] > storages[0] * 3 / 2, "{storages:?}");
    let fewer = format!("{train} --steps 1 --learning-rate 1e-5");
    folder.fails(&fewer, 1, &["has done 2 steps and 1 are asked for"]);

    folder.succeeds("experiment moments --dataset set.h5");
    assert!(folder.path("set.moments.h5").is_file());
}

#[test]
fn samples_far_outside_of_the_range_are_told() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.mask("mask.png", SIDE);
    folder.npy("y.npy", &[SIDE, SIDE], &[0.25; SIDE * SIDE]);
    let loaded = checkpoint::load(&folder.path("net.safetensors"), Device::Cpu, Precision::F32);
    let loaded = loaded.unwrap();
    for (name, mut tensor) in loaded.denoiser.network().tensors() {
        if name.ends_with("aux_conv.bias") {
            set_values(&mut tensor, &Tensor::full([1], 100.0, (Kind::Float, Device::Cpu))).unwrap();
        }
    }
    let path = folder.path("large.safetensors");
    checkpoint::save(&path, loaded.denoiser.network(), &loaded.config, Storage::F32).unwrap();
    let restore = |network: &str| {
        let output = folder.eps(&format!(
            "restore --network {network}.safetensors --measurement y.npy --mask mask.png --sigma-y 0.1 --samples 2 \
             --calls 3 --out {network}"
        ));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let config = std::fs::read_to_string(folder.path(&format!("{network}/config.json")));
        (said, json(&config.unwrap())["notes"].to_string())
    };
    let (said, notes) = restore("large");
    for text in [said, notes] {
        assert!(text.contains("the samples lie between") && text.contains("[-1, 1]"), "{text}");
    }
    let (said, notes) = restore("net");
    assert!(!(said + &notes).contains("the samples lie between"));
}

#[test]
fn help_states_units_and_ranges() {
    let folder = Folder::new();
    let help = folder.succeeds("restore --help");
    for words in ["[-1, 1]", "0..255", "from 1 to 100000", "from 0 (none", "cuda:N"] {
        assert!(help.contains(words), "{words}: {help}");
    }
    let version = folder.succeeds("--version");
    assert!(version.starts_with("eps "), "{version}");
    for command in [
        "measure",
        "evaluate",
        "train",
        "model verify",
        "model init",
        "model show",
        "model precision",
        "import",
        "import lpips",
        "experiment",
    ] {
        assert!(folder.succeeds(&format!("{command} --help")).contains("Usage: eps"), "{command}");
    }
}

/// The committed network of the tasks on Fashion-MNIST.
#[cfg(target_os = "linux")]
const NETWORK: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/networks/fashion/all-tasks.safetensors");

/// Runs `eps` in a folder with 2 GB of addresses, of which libtorch itself takes 0.7.
#[cfg(target_os = "linux")]
fn limited(folder: &Folder, arguments: &str) -> std::process::Output {
    std::process::Command::new("sh")
        .args(["-c", "ulimit -v 2000000 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_eps")])
        .args(arguments.split_whitespace())
        .current_dir(folder.path(""))
        .env("OMP_NUM_THREADS", "1")
        .output()
        .expect("a shell")
}

#[test]
#[cfg(target_os = "linux")]
fn a_batch_that_does_not_fit_is_an_error_with_its_remedy() {
    let folder = Folder::new();
    folder.npy("clean.npy", &[1, 28, 28], &values(28 * 28));
    folder.mask("mask.png", 28);
    folder.succeeds("measure --image clean.npy --mask mask.png --sigma-y 0.05 --out y.h5");
    let restore = |samples: usize, batch: usize| {
        let flags = format!("--calls 1 --samples {samples} --batch {batch} --out out-{samples}");
        limited(&folder, &format!("restore --measurement y.h5 --network {NETWORK} {flags}"))
    };
    let fits = restore(2, 2);
    let error = String::from_utf8_lossy(&fits.stderr);
    assert!(fits.status.success(), "{error}");

    // The activations of one layer, of 32 channels in f32, take 1 GB.
    let output = restore(10_000, 10_000);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("memory ran out when") && error.contains("--batch"), "{error}");
    for frames in ["panicked", "frame #", "c10::", "stack backtrace"] {
        assert!(!error.contains(frames), "{error}");
    }
}

/// Writes a text.
fn write(folder: &Folder, name: &str, text: &str) {
    std::fs::write(folder.path(name), text).expect("the folder is there");
}

fn read(folder: &Folder, name: &str) -> Array {
    Array::read(&folder.path(name), "array").expect("an array")
}

#[test]
fn arrays_are_what_numpy_makes_of_them() {
    let folder = Folder::new();
    let valid = r#"{"operator": "convolution", "kernel": [[1, 2], [3, 4]], "border": "valid"}"#;
    write(&folder, "valid.json", valid);
    folder.npy("x.npy", &[1, 3, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0]);
    folder.succeeds("operator apply valid.json --image x.npy --out y.npy");
    // scipy.signal.convolve2d(x, k, "valid")
    let y = read(&folder, "y.npy");
    assert_eq!(y.dims, [1, 2, 2]);
    for (found, expected) in y.values.iter().zip([23.0, 33.0, 53.0, 64.0]) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
    // scipy.signal.correlate2d(y, k, "full")
    folder.succeeds("operator adjoint valid.json --measurement y.npy --out back.npy");
    let back = read(&folder, "back.npy");
    assert_eq!(back.dims, [1, 3, 3]);
    let expected = [92.0, 201.0, 99.0, 258.0, 504.0, 225.0, 106.0, 181.0, 64.0];
    for (found, expected) in back.values.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-11, "{found} {expected}");
    }
    // One weight: μ⋆ = (x_t/σ_t² + w y/σ_y²)/(1/σ_t² + w²/σ_y²).
    write(&folder, "weights.json", r#"{"operator": "weights", "weights": [2, 0]}"#);
    folder.npy("x_t.npy", &[1, 1, 2], &[3.0, -1.0]);
    folder.npy("seen.npy", &[1, 1, 2], &[1.0, 0.0]);
    let pivot = "operator pivot weights.json --state x_t.npy --measurement seen.npy --sigma-t 2 --out mu.npy";
    folder.succeeds(&format!("{pivot} --sigma-y 0.5"));
    let mu = read(&folder, "mu.npy").values;
    assert!((mu[0] - (0.75 + 8.0) / (0.25 + 16.0)).abs() < 1e-9 && mu[1] == -1.0, "{mu:?}");
    folder.succeeds(&format!("{pivot} --sigma-y 0 --force"));
    assert!((read(&folder, "mu.npy").values[0] - 0.5).abs() < 1e-9);
    folder.fails(&format!("{pivot} --force"), 2, &["--sigma-y", "--noise-covariance"]);
}

/// Without an eigenbasis, where the state's noise is 40,000 times that of y, without noise, and with every law of noise.
#[test]
fn pivots_of_a_mirrored_blur_are_those_of_the_matrix() {
    let folder = Folder::new();
    let kernel = "[[0.1, 0.2, 0.05], [0.1, 0.3, 0.05], [0.05, 0.1, 0.05]]";
    let json = format!(r#"{{"operator": "convolution", "kernel": {kernel}, "border": "reflect"}}"#);
    write(&folder, "blur.json", &json);
    let shape = Shape::new(2, 6, 5).unwrap();
    let map = serde_json::from_str::<OperatorSpec>(&json).unwrap().prepare(shape).unwrap();
    let (m, n) = (map.range().len(), shape.len());
    let matrix = to_matrix(&map);
    let dense = |rows: &[f64]| Dense::new(shape, rows.len() / n, rows).unwrap();
    let row = |i: usize, by: f64| (0..n).map(move |j| (i, j, by));
    let rows = |of: &mut dyn Iterator<Item = (usize, usize, f64)>| -> Vec<f64> {
        of.map(|(i, j, by)| matrix[(i, j)] * by).collect()
    };
    let (x_t, y) = (Stream::named(0, "x").normals(n), Stream::named(0, "y").normals(m));
    folder.npy("x.npy", &[2, 6, 5], &x_t);
    folder.npy("y.npy", &[2, 6, 5], &y);
    let found = |y: &str, sigma_t: f64, noise: &str| {
        folder.succeeds(&format!(
            "operator pivot blur.json --state x.npy --measurement {y} --sigma-t {sigma_t} {noise} --out mu.npy --force"
        ));
        read(&folder, "mu.npy").values
    };
    let near = |found: &[f64], expected: &[f64]| {
        let size = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
        let gap = found.iter().zip(expected).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        assert!(gap < 1e-8 * size, "{gap:e} of {size}");
    };
    let all = dense(&rows(&mut (0..m).flat_map(|i| row(i, 1.0))));
    for (sigma_t, sigma_y) in [(80.0, 0.002), (80.0, 0.0), (1.0, 0.1)] {
        let expected = pivot::mu_star(&all, &y, sigma_y, &x_t, &Level::edm(sigma_t));
        near(&found("y.npy", sigma_t, &format!("--sigma-y {sigma_y}")), &expected);
    }
    // A deviation of each value, of which one is missing; and the same by a factor.
    let mut sigmas: Vec<f64> = (0..m).map(|i| 0.05 + 0.01 * i as f64).collect();
    let with_gap: Vec<f64> =
        y.iter().enumerate().map(|(i, y)| if i == 7 { f64::NAN } else { *y }).collect();
    folder.npy("sigma.npy", &[2, 6, 5], &sigmas);
    folder.npy("gap.npy", &[2, 6, 5], &with_gap);
    let factor: Vec<f64> =
        (0..m * m).map(|i| if i / m == i % m { sigmas[i / m] } else { 0.0 }).collect();
    folder.npy("factor.npy", &[m, m], &factor);
    sigmas[7] = f64::INFINITY;
    let weighted = dense(&rows(&mut (0..m).flat_map(|i| row(i, 1.0 / sigmas[i]))));
    let seen: Vec<f64> = y.iter().zip(&sigmas).map(|(y, sigma)| y / sigma).collect();
    let expected = pivot::mu_star(&weighted, &seen, 1.0, &x_t, &Level::edm(80.0));
    near(&found("gap.npy", 80.0, "--sigma-y sigma.npy"), &expected);
    near(&found("gap.npy", 80.0, "--noise-covariance factor.npy"), &expected);
    folder.npy("infinite.npy", &[2, 6, 5], &[f64::INFINITY; 60]);
    let infinite = "operator pivot blur.json --state x.npy --measurement infinite.npy --sigma-t 1 --sigma-y 0.1 --out inf.npy";
    folder.fails(infinite, 1, &["infinite.npy", "index 0 is inf", "NaN"]);
}

#[test]
fn operators_are_shown_and_checked() {
    let folder = Folder::new();
    write(&folder, "radon.json", r#"{"operator": "radon", "angles_degrees": [0, 30, 90]}"#);
    let shown = folder.succeeds("operator show radon.json --shape 1,6,6 --out spectrum.png");
    assert!(shown.contains("measurement [1, 6, 3]") && shown.contains("rank 1"), "{shown}");
    assert_eq!(read_png(&folder.path("spectrum.png")).unwrap().shape.width, 480);
    assert!(folder.succeeds("operator check radon.json --shape 1,6,6").contains("ok:"));
    folder.fails("operator show radon.json", 2, &["--shape C,H,W"]);
    folder.fails("operator check radon.json --shape 1,6,7", 1, &["not 6×7"]);
    folder.npy("y.npy", &[1, 5, 3], &[0.0; 15]);
    let adjoint = "operator adjoint radon.json --measurement y.npy";
    folder.fails(&format!("{adjoint} --shape 1,6,6 --out x.npy"), 1, &["[1, 5, 3]", "[1, 6, 3]"]);
    folder.fails(&format!("{adjoint} --out y.npy"), 1, &["read by this command"]);
    write(&folder, "nothing.json", r#"{"operator": "nothing"}"#);
    folder.fails("operator show nothing.json", 1, &["nothing.json"]);
}

/// Kernels by name, and files that a description names.
#[test]
fn kernels_have_names_and_arrays_may_be_in_files() {
    let folder = Folder::new();
    folder.npy("x.npy", &[1, SIDE, SIDE], &values(SIDE * SIDE));
    let measured = |kernel: &str| {
        folder.succeeds(&format!(
            "measure --image x.npy --kernel {kernel} --sigma-y 0.1 --out y.h5 --force"
        ));
        MeasurementSet::read(&folder.path("y.h5")).unwrap().spec(0).clone()
    };
    let described = |json: &str| -> OperatorSpec { serde_json::from_str(json).unwrap() };
    for (name, json) in [
        ("disc:1.5", r#"{"disc": {"radius": 1.5}}"#),
        ("gaussian:0.7", r#"{"gaussian": {"sigma": 0.7}}"#),
        (
            "gaussian:0.7,0.5,30",
            r#"{"gaussian": {"sigma": 0.7, "across": 0.5, "angle_degrees": 30}}"#,
        ),
        ("motion:5,30", r#"{"motion": {"length": 5, "angle_degrees": 30}}"#),
        ("motion-path:7,0.5,3", r#"{"motion-path": {"side": 7, "seed": 3}}"#),
    ] {
        let json = format!(r#"{{"operator": "circular-blur", "kernel": {json}}}"#);
        assert_eq!(measured(name), described(&json), "{name}");
    }
    let measure = "measure --image x.npy --sigma-y 0.1 --out new.h5 --kernel";
    folder.fails(&format!("{measure} disc:large"), 2, &["disc:large", "disc:RADIUS"]);
    folder.fails(&format!("{measure} disc:-1"), 1, &["disc:-1", "positive"]);
    folder.fails(&format!("{measure} gone.npy"), 1, &["gone.npy"]);
    // One of two kernels of an array.
    folder.npy("two.npy", &[2, 1, 3], &[1.0, 0.0, 0.0, 0.5, 0.5, 0.0]);
    assert_eq!(
        measured("two.npy#1"),
        described(r#"{"operator": "circular-blur", "kernel": [[0.5, 0.5, 0]]}"#)
    );
    folder.fails(&format!("{measure} two.npy"), 1, &["two.npy", "2 kernels", "FILE#3"]);
    folder.fails(&format!("{measure} two.npy#2"), 1, &["two.npy", "no entry 2, there are 2"]);
    write(&folder, "zero.json", r#"{"operator": "convolution", "kernel": [[1, -1]]}"#);
    folder.fails(
        "operator show zero.json --shape 1,4,4",
        1,
        &["zero.json", "sum to 0", "scaled by -1"],
    );
    write(
        &folder,
        "large.json",
        r#"{"operator": "gaussian-matrix", "rows": 1000000000, "seed": 0}"#,
    );
    folder.fails(
        "operator show large.json --shape 3,64,64",
        1,
        &["large.json", "98304.0 GB", "walsh-hadamard"],
    );
}

/// Coils: maps by the middle of k-space, a description that names them, and what they make of an image.
#[test]
fn maps_of_coils_come_from_the_middle_of_k_space() {
    let folder = Folder::new();
    // Two coils that see a constant image by 0.6 and 0.8, the second turned by 90°.
    let plane = SIDE * SIDE;
    let mut k = vec![0.0; 4 * plane];
    k[0] = 0.6;
    k[3 * plane] = 0.8;
    folder.npy("k.npy", &[4, SIDE, SIDE], &k);
    folder.succeeds(
        "operator coil-maps --measurement k.npy --calibration 3,3 --method low-resolution --out maps.npy",
    );
    let told = "is 3: it must be at least that of two kernels of ESPIRiT (12 by default)";
    folder.fails(
        "operator coil-maps --measurement k.npy --calibration 3,3 --out e.npy",
        1,
        &[told],
    );
    let maps = read(&folder, "maps.npy");
    assert_eq!(maps.dims, [4, SIDE, SIDE]);
    for (channel, expected) in [0.6, 0.0, 0.0, 0.8].into_iter().enumerate() {
        let part = &maps.values[channel * plane..(channel + 1) * plane];
        assert!(part.iter().all(|v| (v - expected).abs() < 1e-14), "{channel}: {part:?}");
    }
    folder.npy("mask.npy", &[SIDE, SIDE], &vec![1.0; plane]);
    let coils =
        r#"{"operator": "coils", "maps": {"file": "maps.npy"}, "mask": {"file": "mask.npy"}}"#;
    write(&folder, "coils.json", coils);
    let shown = folder.succeeds("operator show coils.json");
    assert!(shown.contains("image [2, 8, 8], measurement [4, 8, 8]"), "{shown}");
    assert!(folder.succeeds("operator check coils.json").contains("ok:"));
    let real = format!(r#"{{"operator": "chain", "of": [{{"operator": "real"}}, {coils}]}}"#);
    write(&folder, "real.json", &real);
    let shown = folder.succeeds("operator show real.json");
    assert!(shown.contains("image [1, 8, 8], measurement [4, 8, 8]"), "{shown}");
    // Aᴴ y is the image: the squares of the maps sum to 1.
    folder.succeeds("operator adjoint coils.json --measurement k.npy --out x.npy");
    let x = read(&folder, "x.npy").values;
    assert!(x[..plane].iter().all(|v| (v - 1.0 / SIDE as f64).abs() < 1e-14), "{x:?}");
    assert!(x[plane..].iter().all(|v| v.abs() < 1e-14), "{x:?}");
    folder.fails(
        "operator coil-maps --measurement k.npy --calibration 9,3 --out new.npy",
        1,
        &["k.npy", "is 9"],
    );
    folder.npy("small.npy", &[4, 2, 2], &[1.0; 16]);
    write(&folder, "small.json", &coils.replace("maps.npy", "small.npy"));
    folder.fails("operator show small.json", 1, &["coil 0 (from 0) has 2×2", "8×8"]);
}

/// A picture is a part of a larger scene: what comes back has the picture's size, or all of the scene.
#[test]
fn what_a_picture_shows_of_a_scene_comes_back() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.npy("scene.npy", &[1, SIDE + 2, SIDE], &values((SIDE + 2) * SIDE));
    folder.npy("kernel.npy", &[3, 1], &[0.25, 0.5, 0.25]);
    folder.succeeds(
        "measure --image scene.npy --kernel kernel.npy --border valid --sigma-y 0.05 --out y.h5",
    );
    let y = MeasurementSet::read(&folder.path("y.h5")).unwrap();
    assert_eq!((y.range().height, y.range().width), (SIDE, SIDE));
    folder.npy("y.npy", &[1, SIDE, SIDE], y.y());
    let restore = "restore --measurement y.npy --kernel kernel.npy --border valid --sigma-y 0.05 \
                   --network net.safetensors --samples 2 --calls 3";
    let printed = folder.succeeds(&format!("{restore} --out part"));
    assert!(printed.contains("borders of the blur: valid, asked for"), "{printed}");
    assert!(printed.contains("a part of a scene") && printed.contains("residual rms"), "{printed}");
    let part = SampleArchive::read(&folder.path("part/samples.h5")).unwrap();
    assert_eq!((part.shape().height, part.shape().width), (SIDE, SIDE));
    assert!(part.config()["residuals"][0]["samples"].as_f64().is_some_and(|r| r > 0.0));
    folder.succeeds(&format!("{restore} --keep-scene --out all"));
    let all = SampleArchive::read(&folder.path("all/samples.h5")).unwrap();
    assert!(all.shape().height >= SIDE + 2);
}

/// D(x; σ) of an untrained network is nearly its scaled input: F of initial weights is about 1e-5.
#[test]
fn a_network_denoises_an_array() {
    let folder = Folder::new();
    folder.network_asked_at("prior.safetensors", SIDE, &[], AskedAt::Pivot);
    folder.npy("x.npy", &[1, SIDE, SIDE], &values(SIDE * SIDE));
    let command = "model denoise prior.safetensors --image x.npy";
    folder.succeeds(&format!("{command} --sigma 0.5 --out d.npy"));
    let d = Array::read(&folder.path("d.npy"), "d").unwrap();
    assert_eq!(d.dims, [1, SIDE, SIDE]);
    // c_skip = 0.5²/(0.5² + 0.5²)
    for (d, x) in d.values.iter().zip(values(SIDE * SIDE)) {
        assert!((d - 0.5 * x).abs() < 1e-3, "{d} {x}");
    }
    folder.fails(&format!("{command} --sigma 100 --out e.npy"), 2, &["100", "80"]);
    folder.fails(&format!("{command} --sigma 1 --out d.npy"), 1, &["d.npy", "--force"]);
}

/// The same noise as a number, as the factor of its covariance and as its spectrum.
#[test]
fn a_covariance_of_the_noise_by_its_factor_or_its_spectrum() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    let n = SIDE * SIDE;
    folder.npy("y.npy", &[SIDE, SIDE], &values(n));
    folder.mask("mask.png", SIDE);
    folder.npy("kernel.npy", &[1, 3], &[0.25, 0.5, 0.25]);
    let factor: Vec<f64> = (0..n * n).map(|i| if i % (n + 1) == 0 { 0.05 } else { 0.0 }).collect();
    folder.npy("factor.npy", &[n, n], &factor);
    folder.npy("spectrum.npy", &[1, SIDE, SIDE], &vec![0.0025; n]);
    folder.npy("small.npy", &[3, 3], &[1.0; 9]);
    folder.npy("full.npy", &[n, n], &vec![0.0025; n * n]);
    let restore = |operator: &str, noise: &str, out: &str| {
        format!(
            "restore --measurement y.npy {operator} {noise} --network net.safetensors --samples 2 --calls 3 --out {out}"
        )
    };
    let samples =
        |name: &str| SampleArchive::read(&folder.path(&format!("{name}/samples.h5"))).unwrap();
    for (operator, name) in [("--mask mask.png", "mask"), ("--kernel kernel.npy", "blur")] {
        folder.succeeds(&restore(operator, "--sigma-y 0.05", name));
        for noise in ["factor", "spectrum"] {
            let out = format!("{name}-{noise}");
            folder.succeeds(&restore(operator, &format!("--noise-covariance {noise}.npy"), &out));
            let found = samples(&out);
            let sigma_y = found.config()["measurement"]["sigma_y"].as_f64().unwrap();
            // The root of a product of 64 numbers.
            assert!((sigma_y - 0.05).abs() < 1e-12, "{out}: {sigma_y}");
            for (a, b) in found.samples().iter().zip(samples(name).samples()) {
                // Where no eigenbasis is left, pivots are right to a tenth of their noise.
                assert!((a - b).abs() < 0.5, "{out}: {a} {b}");
            }
        }
    }
    let refused = |noise: &str, words: &[&str]| {
        folder.fails(
            &restore("--mask mask.png", &format!("--noise-covariance {noise}"), "no"),
            1,
            words,
        );
    };
    refused("small.npy", &["[3, 3]", "[64, 64]", "[8, 8]"]);
    refused("full.npy", &["numpy.linalg.cholesky"]);
}

#[test]
fn processes_that_cannot_reach_each_other_are_told() {
    let folder = Folder::new();
    let run = |arguments: &str, variables: [(&str, &str); 2]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_eps"))
            .args(arguments.split_whitespace())
            .current_dir(folder.path(""))
            .envs(variables)
            .output()
            .unwrap()
    };
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/networks/fashion/all-tasks.json");
    let train = format!("train {config} --out out");
    if cfg!(not(feature = "mpi")) {
        for [rank, size] in [
            ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS"],
            ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"],
        ] {
            let output = run(&train, [(rank, "0"), (size, "4")]);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{error}");
            assert!(
                error.contains("process 1 of 4") && error.contains("--features mpi"),
                "{error}"
            );
            // The first tells it for all.
            let output = run(&train, [(rank, "2"), (size, "4")]);
            assert!(!output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
    }
    let output = run(&train, [("RANK", "0"), ("WORLD_SIZE", "2")]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("torchrun") && error.contains("--features nccl"), "{error}");
    let output = run("model show x", [("PMI_RANK", "0"), ("PMI_SIZE", "two")]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("PMI_SIZE is \"two\""), "{error}");
    // A batch script of Slurm is one process.
    let output = run("--version", [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")]);
    assert!(output.status.success());
}

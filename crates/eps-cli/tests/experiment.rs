//! `eps experiment main` from flags to report, with small untrained networks and the committed test
//! images.

#[path = "common/cells.rs"]
mod cells;
#[expect(dead_code, reason = "the other tests need more of it")]
mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use cells::cells;
use common::{Folder, SIDE};
use eps::data::ArchiveReader;
use eps::data::png::write_png;
use eps::math::{Shape, Task};
use eps::model::checkpoint::AskedAt;
use serde_json::Value;
use zip::write::FileOptions;

const TASKS: [Task; 2] = [Task::RandomInpainting, Task::SuperResolution];

const RUN: &str = "experiment main --profile smoke --samples 2 --calls 1,3 --networks networks \
                   --network all --methods pseudo-inverse,linear-mmse,eps \
                   --tasks random-inpainting,super-resolution --out out";

fn folder() -> Folder {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("networks")).expect("a new folder");
    folder.network_of("networks/all-tasks.safetensors", 28, &TASKS);
    folder
}

/// The scores of `out/results.json`, without what depends on the clock.
fn scores(folder: &Folder) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.path("out/results.json")).expect("results");
    let results: Value = serde_json::from_str(&text).expect("JSON");
    let tasks = results["tasks"].as_array().expect("a list of tasks");
    let rows = tasks.iter().flat_map(|task| task["table"].as_array().expect("a list of rows"));
    let mut rows: Vec<Value> = rows.cloned().collect();
    for row in &mut rows {
        row.as_object_mut().and_then(|row| row.remove("seconds")).expect("the time");
    }
    rows
}

#[test]
fn a_run_writes_its_record_and_goes_on_where_it_was_cut_off() {
    let folder = folder();
    let printed = folder.succeeds(RUN);
    assert!(printed.contains("networks: random weights; licence: MIT\n"), "{printed}");
    assert!(printed.contains("EPS for all tasks, 3 calls, mean of 2"), "{printed}");
    assert!(printed.contains("too few samples") && printed.contains("report: out/report.html"));

    // Two tasks, each: A†y, linear MMSE, one call, three calls and the mean of their two samples.
    let first = scores(&folder);
    assert_eq!(first.len(), 10);
    let nfe: Vec<u64> = first[..5].iter().map(|row| row["nfe"].as_u64().unwrap()).collect();
    assert_eq!(nfe, [0, 0, 1, 3, 6]);
    assert!(first[2]["psnr_db"]["standard_deviation"].is_number());
    assert!(first[1]["psnr_db"]["standard_deviation"].is_null());

    let config = std::fs::read_to_string(folder.path("out/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["config"]["images"].as_array().unwrap().len(), 2);
    assert_eq!(config["config"]["networks"][0]["sha256"].as_str().unwrap().len(), 64);

    let archives = ArchiveReader::open(&folder.path("out/samples.h5")).unwrap();
    let groups = archives.groups().unwrap();
    assert_eq!(groups.len(), 2 * 5, "{groups:?}");
    let samples = archives.read("super-resolution/eps-all-tasks-3").unwrap();
    assert_eq!((samples.len(), samples.samples_per_image()), (2, 2));
    assert!(samples.truth().is_some() && samples.samples().iter().all(|v| v.abs() <= 1.0));

    let report = std::fs::read_to_string(folder.path("out/report.html")).unwrap();
    assert!(report.contains("name=\"viewport\"") && report.contains("data:image/png;base64,"));
    // It needs nothing from elsewhere: the one address is the name of SVG.
    let addresses = report.matches("http").count();
    assert_eq!(addresses, report.matches("http://www.w3.org/2000/svg").count());
    assert!(!report.contains("<script") && !report.contains("NaN"));
    for figure in ["overview.png", "super-resolution.png", "super-resolution-curves.svg"] {
        assert!(folder.path("out/figures").join(figure).is_file(), "{figure}");
    }

    // Its measurements are what `eps restore` takes.
    folder.succeeds(
        "restore --measurement out/measurements/super-resolution.h5 \
         --network networks/all-tasks.safetensors --samples 1 --calls 1 --out restored",
    );

    // One cell is lost and one damaged: these two are computed again, to the same scores.
    let before = cells(&folder.path("out"));
    let cell = |what: &str| {
        let is_it = |path: &&PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(what))
        };
        before.keys().find(is_it).expect("a cell").clone()
    };
    let lost = cell("random-inpainting.eps-all-tasks-3.0.");
    let damaged = cell("super-resolution.eps-all-tasks-1.0.");
    std::fs::remove_file(&lost).unwrap();
    std::fs::write(&damaged, "no cell").unwrap();
    folder.succeeds(RUN);
    assert_eq!(scores(&folder), first);
    let after = cells(&folder.path("out"));
    assert_eq!(before.len(), after.len());
    for (path, written) in before {
        let again = path == lost || path == damaged;
        assert_eq!(after[&path] != written, again, "{}", path.display());
    }

    // Threads are no part of it: nothing is computed again, and what is computed is the same to the last bit.
    let stored = cells(&folder.path("out"));
    folder.succeeds(&format!("{RUN} --threads 3"));
    assert_eq!(cells(&folder.path("out")), stored);
    let [one, three] = [1, 3].map(|threads| {
        std::fs::remove_dir_all(folder.path("out")).unwrap();
        folder.succeeds(&format!("{RUN} --batch 1 --threads {threads}"));
        let samples = ArchiveReader::open(&folder.path("out/samples.h5")).unwrap();
        let samples = samples.read("super-resolution/eps-all-tasks-3").unwrap();
        (scores(&folder), samples.samples().to_vec())
    });
    assert!(one == three, "scores or samples follow the number of threads");

    // Another seed is another run.
    folder.succeeds(&format!("{RUN} --seed 1"));
    assert_ne!(scores(&folder), first);
}

/// Two jobs with folders of their own, and two that share one, leave what one process does.
#[test]
fn shares_that_are_joined_are_the_whole() {
    let folder = folder();
    folder.succeeds(RUN);
    let whole = scores(&folder);
    let samples = |out: &str| {
        let archive = ArchiveReader::open(&folder.path(&format!("{out}/samples.h5"))).unwrap();
        let samples = archive.read("super-resolution/eps-all-tasks-3").unwrap();
        (archive.read("random-inpainting/eps-all-tasks-1").unwrap().samples().to_vec(), samples)
    };
    let of_whole = samples("out");
    std::fs::remove_dir_all(folder.path("out")).unwrap();

    let printed = folder.succeeds(&RUN.replace("--out out", "--shard 1/2 --out first"));
    assert!(printed.contains("share 1/2 is computed: ") && printed.contains(" of "), "{printed}");
    assert!(!folder.path("first/results.json").exists());
    folder.succeeds(&RUN.replace("--out out", "--shard 2/2 --out second"));
    let merged = folder.succeeds("experiment merge first second --out out");
    let stored = cells(&folder.path("out"));
    assert_eq!(merged, format!("{} cells are in out\n", stored.len()));
    folder.succeeds(RUN);
    assert_eq!(scores(&folder), whole);
    assert!(samples("out") == of_whole);
    assert_eq!(cells(&folder.path("out")), stored, "nothing is computed again");

    std::fs::remove_dir_all(folder.path("out")).unwrap();
    for share in ["3/3", "1/3", "2/3"] {
        folder.succeeds(&format!("{RUN} --shard {share}"));
    }
    folder.succeeds(RUN);
    assert_eq!(scores(&folder), whole);

    folder.fails(&format!("{RUN} --shard 3/2"), 2, &["3/2", "K/N"]);
    folder.fails("experiment merge nowhere --out all", 1, &["nowhere", "--shard K/N"]);
    std::fs::create_dir_all(folder.path("hollow/cells")).unwrap();
    folder.fails(
        "experiment merge hollow --out all",
        1,
        &["hollow", "its folder of cells is empty"],
    );
    std::fs::create_dir(folder.path("letters")).unwrap();
    std::fs::write(folder.path("letters/one.txt"), "mine").unwrap();
    folder.fails(
        "experiment merge first --out letters",
        1,
        &["letters", "something else than a run"],
    );
}

#[test]
fn the_contenders_share_measurements_and_networks() {
    let folder = folder();
    folder.network_asked_at("networks/prior.safetensors", 28, &[], AskedAt::Pivot);
    let palette = "networks/palette-super-resolution.safetensors";
    folder.network_asked_at(palette, 28, &[Task::SuperResolution], AskedAt::State);
    let run = "experiment main --profile smoke --images 2 --samples 1 --calls 1 --network all \
               --tasks super-resolution --networks networks --out out";
    let printed = folder.succeeds(run);
    let table = scores(&folder);
    let rows: Vec<(&str, u64, u64)> = table
        .iter()
        .map(|row| {
            let count = |what: &str| row[what].as_u64().expect("a number");
            (row["cell"].as_str().expect("a name"), count("nfe"), count("backward_passes"))
        })
        .collect();
    // What diverges is said, and has no row.
    let expected = [
        ("pseudo-inverse", 0, 0),
        ("wiener", 0, 0),
        ("linear-mmse", 0, 0),
        ("dps-5", 5, 5),
        ("daps-5", 5, 0),
        ("ddnm-5", 5, 0),
        ("pigdm-5", 5, 5),
        ("mpgd-5", 5, 0),
        ("ddrm-5", 5, 0),
        ("palette-5", 5, 0),
        ("eps-all-tasks-1", 1, 0),
    ];
    let diverged = printed.matches(" diverged: ").count();
    assert_eq!(rows.len() + diverged, expected.len(), "{printed}");
    assert!(rows.iter().all(|row| expected.contains(row)), "{rows:?}");

    // Every experiment runs on the same networks.
    folder.network_of("networks/super-resolution.safetensors", 28, &[Task::SuperResolution]);
    for experiment in ["steps", "zero-shot", "posterior-mean", "ood", "calibration", "runtime"] {
        let run = format!(
            "experiment {experiment} --profile smoke --images 2 --tasks super-resolution \
             --networks networks --out {experiment}"
        );
        let printed = folder.succeeds(&run);
        let report = format!("report: {experiment}/report.html");
        assert!(printed.contains(&report), "{experiment}: {printed}");
    }
    // None takes the place of another's results.
    let other = "experiment steps --profile smoke --images 2 --tasks super-resolution \
                 --networks networks --out zero-shot";
    folder.fails(other, 1, &["--out zero-shot", "not of the experiment steps"]);

    // A prior of any origin in its place: the same network as a module gives the same scores.
    let of_prior = |experiment: &str, prior: &str| {
        let out = format!("priors-{}", experiment.len());
        folder.succeeds(&format!(
            "experiment {experiment} --profile smoke --images 2 --samples 1 --tasks super-resolution \
             --networks networks --prior networks/{prior} --out {out}"
        ));
        let results = folder.path(&out).join("results.json");
        let text = std::fs::read_to_string(results).expect("results");
        let results: Value = serde_json::from_str(&text).expect("JSON");
        let rows = results["tasks"][0]["table"].as_array().expect("rows").iter();
        rows.map(|row| row["psnr_db"]["mean"].as_f64().expect("dB")).collect::<Vec<_>>()
    };
    folder.script_of("networks/prior", 28);
    for experiment in ["zero-shot", "main --methods dps,ddnm --calls 2"] {
        let [trained, scripted] =
            ["prior.safetensors", "prior.json"].map(|prior| of_prior(experiment, prior));
        assert!(!trained.is_empty() && trained.len() == scripted.len(), "{experiment}");
        for (a, b) in trained.iter().zip(&scripted) {
            assert!((a - b).abs() < 0.01, "{experiment}: {trained:?} {scripted:?}");
        }
    }

    // What a flag cannot change is said.
    let run_of = |rest: &str| format!("experiment {rest} --networks networks --out no");
    folder.fails(&run_of("ood --calls 5"), 2, &["--calls", "ood"]);
    folder.fails(&run_of("calibration --samples 5"), 2, &["--samples 5", "calibration"]);
    folder.fails(&run_of("inputs --network all"), 2, &["--network", "inputs"]);
    folder.fails(&run_of("main --constants none.json"), 2, &["none.json"]);
    let without = run_of("main --methods eps --prior networks/prior.json");
    folder.fails(&without, 2, &["--prior", "none of the methods"]);

    // A network of another use is refused by its name.
    folder.network_of(palette, 28, &[Task::SuperResolution]);
    folder.fails(
        run,
        1,
        &["palette-super-resolution.safetensors", "at the pivot (EPS)", "Palette"],
    );
    std::fs::copy(folder.path(palette), folder.path("networks/prior.safetensors")).unwrap();
    folder.fails(&format!("{run} --methods dps"), 1, &["prior.safetensors", "a prior"]);
    folder.fails(&format!("{run} --methods gps"), 2, &["gps", "dps, daps, ddnm"]);
}

#[test]
fn a_tuned_constant_is_used_and_told() {
    let folder = folder();
    folder.network_asked_at("networks/prior.safetensors", 28, &[], AskedAt::Pivot);
    folder.fails("tune ddrm --samples 1", 2, &["2 samples or more"]);
    let constants = r#"{"format_version": 1, "tuned": [{"contender": "mpgd",
        "task": "super-resolution", "symbol": "c", "value": 2.5, "tried": [], "calls": 100,
        "images": 1, "samples": 2, "seed": 0, "prior": "0"}]}"#;
    std::fs::write(folder.path("constants.json"), constants).unwrap();
    folder.succeeds(
        "experiment main --profile smoke --methods mpgd,ddrm --tasks super-resolution \
         --networks networks --constants constants.json --out out",
    );
    let config = std::fs::read_to_string(folder.path("out/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let constants = config["config"]["constants"].as_array().unwrap();
    assert_eq!((&constants[0]["value"], &constants[0]["tuned"]), (&2.5.into(), &true.into()));
    assert_eq!((&constants[1]["value"], &constants[1]["tuned"]), (&0.85.into(), &false.into()));
}

/// Writes grey pictures of 28×28 pixels, none like another.
fn pictures(folder: &Folder, count: usize) {
    for i in 0..count {
        let shape = Shape { channels: 1, height: 28, width: 28 };
        let values: Vec<f64> =
            (0..shape.len()).map(|at| ((at * (i + 3)) as f64 / 40.0).sin()).collect();
        write_png(&folder.path(&format!("{i}.png")), shape, &values).expect("a picture");
    }
}

#[test]
fn linear_estimates_are_rows_where_their_moments_are_there() {
    let folder = folder();
    folder.network_asked_at("networks/prior.safetensors", 28, &[], AskedAt::Pivot);
    let palette = "networks/palette-super-resolution.safetensors";
    folder.network_asked_at(palette, 28, &[Task::SuperResolution], AskedAt::State);
    pictures(&folder, 8);
    folder.succeeds("data import . set.h5 --size 28 --grey --split 4:0:4");
    let run = "experiment main --profile smoke --images 2 --samples 1 --calls 1 --network all \
               --tasks super-resolution --networks networks --dataset set.h5 --out out";
    let rows = || -> Vec<String> {
        let cells = scores(&folder).into_iter().map(|row| row["cell"].as_str().map(str::to_owned));
        cells.flatten().filter(|cell| ["wiener", "linear-mmse"].contains(&&**cell)).collect()
    };
    let output = folder.eps(run);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("eps experiment moments --dataset set.h5"),
        "{said}"
    );
    assert!(rows().is_empty());
    folder.fails(&format!("{run} --methods linear-mmse"), 1, &["set.moments.h5", "moments"]);
    folder.succeeds("experiment moments --dataset set.h5");
    folder.succeeds(run);
    assert_eq!(rows(), ["wiener", "linear-mmse"]);
    // Alone, without a curve over calls.
    let alone = folder.succeeds(&run.replace("--out out", "--out alone --methods linear-mmse"));
    assert!(alone.contains("report: alone/report.html"), "{alone}");

    // Moments of other images are not those of the data set.
    std::fs::rename(folder.path("set.moments.h5"), folder.path("kept.h5")).unwrap();
    folder.succeeds("data import . set.h5 --size 28 --grey --split 4:0:4 --seed 3 --force");
    std::fs::rename(folder.path("kept.h5"), folder.path("set.moments.h5")).unwrap();
    folder.fails(run, 1, &["set.moments.h5", "moments of other images", "experiment moments"]);
}

#[test]
fn results_of_other_settings_are_replaced_with_a_note_and_by_one_run_at_a_time() {
    let folder = folder();
    let run = "experiment main --profile smoke --samples 1 --calls 1 --networks networks --network all \
               --methods pseudo-inverse --tasks super-resolution --out out";
    let said = |flags: &str| {
        let output = folder.eps(&format!("{run} {flags}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    assert!(!said("").contains("of other settings"));
    assert!(!said("").contains("of other settings"));
    let told = said("--seed 1");
    assert!(told.contains("of other settings (seed 0, now 1) and are replaced"), "{told}");
    let _lock = eps_files::WriteLock::take(&folder.path("out/results.json")).unwrap();
    folder.fails(run, 1, &["another process works on out/results.json"]);
}

#[test]
fn a_check_of_tuning_takes_the_starting_value() {
    let folder = Folder::new();
    pictures(&folder, 8);
    folder.succeeds("data import . set.h5 --size 28 --grey --split 0:1:0");
    std::fs::create_dir(folder.path("networks")).unwrap();
    folder.network_asked_at("networks/prior.safetensors", 28, &[], AskedAt::Pivot);
    folder.fails("tune dps --check", 2, &["--constants"]);
    for contender in ["dps", "daps"] {
        folder.succeeds(&format!(
            "tune {contender} --check --task super-resolution --dataset set.h5 --networks networks \
             --constants constants.json"
        ));
    }
    let constants = std::fs::read_to_string(folder.path("constants.json")).unwrap();
    let constants: Value = serde_json::from_str(&constants).unwrap();
    for (tuned, (value, calls)) in
        constants["tuned"].as_array().unwrap().iter().zip([(10.0, 2), (9e-4, 5)])
    {
        assert_eq!((&tuned["value"], &tuned["calls"]), (&value.into(), &calls.into()));
        assert_eq!((&tuned["images"], &tuned["samples"]), (&2.into(), &2.into()));
        assert_eq!(tuned["tried"].as_array().unwrap().len(), 1);
    }

    // What was searched for stays.
    let mut searched = constants.clone();
    searched["tuned"][0]["images"] = 16.into();
    std::fs::write(folder.path("constants.json"), searched.to_string()).unwrap();
    let check = "tune dps --check --task super-resolution --dataset set.h5 --networks networks \
                 --constants constants.json";
    let output = folder.eps(check);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("a check does not replace it"), "{said}");
    let after = std::fs::read_to_string(folder.path("constants.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&after).unwrap(), searched);
}

#[test]
fn a_dry_run_tells_passes_and_hours() {
    let folder = Folder::new();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/paper/ffhq-64/all-tasks.json");
    let flags = format!("--dataset none.h5 --constants none.json --dry-run {config} --tflops 50");
    // A grid of five values, three beyond an end and two middles; 16 images, 2 samples, 250 calls with
    // backward passes.
    let told = folder.succeeds(&format!("tune dps --task motion-blur {flags}"));
    let passes = 10 * 16 * 2 * 250 * 2;
    assert!(told.contains(&format!("at most: {passes} forward passes")), "{told}");
    // Four values of η and two middles; 20 calls.
    let told = folder.succeeds(&format!("tune ddrm --task motion-blur,gaussian-blur {flags}"));
    assert!(told.contains(&format!("at most: {} forward", 2 * 6 * 16 * 2 * 20)), "{told}");
    // DDRM, and EPS by the networks of tasks and by that for all at 1 and 20 calls.
    let told = folder.succeeds(&format!(
        "experiment main --profile full --methods ddrm,eps --calls 1,20 --tasks motion-blur {flags}"
    ));
    let passes = 100 * 10 * (20 + 2 * 21);
    assert!(
        told.contains(&format!(
            "1 kind of measurements, 100 images, 10 samples of each: {passes} "
        ))
    );
    assert!(told.contains("hours at 50 TFLOP/s"), "{told}");
    folder.fails("tune dps --tflops 50", 2, &["--dry-run"]);
}

/// Writes a TorchScript module with the interface of the FID network, whose features all are the mean of
/// the red channel.
fn write_inception(path: &Path) {
    let code = "class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n  \
                def forward(self: __torch__.Net,\n    img: Tensor,\n    return_features: bool=False) \
                -> Tensor:\n    mean = torch.mean(torch.to(img, 6), [2, 3])\n    \
                red = torch.slice(mean, 1, 0, 1)\n    return torch.repeat(red, [1, 2048])\n";
    let object = b"\x80\x02c__torch__\nNet\n)\x81}X\x08\0\0\0training\x89sb.";
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).expect("a file"));
    // libtorch wants members that are not compressed.
    let options = FileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, contents) in [
        ("net/data.pkl", &object[..]),
        ("net/code/__torch__.py", code.as_bytes()),
        ("net/constants.pkl", b"\x80\x02)."),
        ("net/version", b"3\n"),
    ] {
        archive.start_file(name, options).expect("a member");
        archive.write_all(contents).expect("its contents");
    }
    archive.finish().expect("an archive");
}

#[test]
fn the_fid_network_is_named_and_recorded() {
    let folder = folder();
    write_inception(&folder.path("fid.pt"));
    let run = "experiment main --profile smoke --samples 1 --calls 1 --networks networks --network all \
               --methods pseudo-inverse,eps --tasks super-resolution";
    let printed = folder.succeeds(&format!("{run} --out out"));
    assert!(!printed.contains("FID") && !printed.contains("Inception"), "{printed}");
    let printed = folder.succeeds(&format!("{run} --out out --inception fid.pt"));
    assert!(printed.contains("  FID  MMD² (Inception)  energy score (Inception)"), "{printed}");
    assert!(printed.contains("fid: "), "few images are to be cautioned about: {printed}");
    for row in scores(&folder) {
        assert!(row["features"]["fid"].as_f64().unwrap() >= 0.0, "{row}");
    }
    let config = std::fs::read_to_string(folder.path("out/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let files = config["config"]["features"].as_array().unwrap();
    let digest = eps_files::sha256_file(&folder.path("fid.pt")).unwrap();
    assert_eq!(files[files.len() - 1]["sha256"], digest);
    let verify = run.replace("smoke", "verify");
    folder.fails(&format!("{verify} --inception fid.pt"), 2, &["--inception", "pixels alone"]);
}

#[test]
fn claims_that_fail_fail_the_verification() {
    let folder = folder();
    let flags = "--images 2 --samples 2 --calls 1 --network all --tasks super-resolution";
    let output =
        folder.eps(&format!("experiment main --profile verify {flags} --networks networks"));
    let (printed, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(printed.contains("claimed ≥ 1.0 dB: FAILS"), "{printed}");
    assert!(error.contains("1 claims about the networks fail"), "{error}");
}

#[test]
fn a_network_of_another_size_is_asked_with_a_note() {
    let folder = folder();
    folder.network_of("networks/all-tasks.safetensors", SIDE, &TASKS);
    let output = folder.eps(RUN);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(error.contains("laid out for images of shape [1, 8, 8]"), "{error}");
}

#[test]
fn bad_input_is_named_before_anything_is_written() {
    let folder = folder();
    folder.fails(&RUN.replace("smoke", "fast"), 2, &["\"fast\"", "smoke, quick, full, verify"]);
    folder.fails(&RUN.replace("random-inpainting", "denoising"), 2, &["denoising", "motion-blur"]);
    folder.fails(&RUN.replace("1,3", "3,1"), 2, &["[3, 1]", "ascending"]);
    folder.fails(&format!("{RUN} --device tpu"), 2, &["\"tpu\"", "cuda:N"]);
    folder.fails(&format!("{RUN} --images 10001"), 1, &["10001", "1 to 10000"]);
    folder.fails(&format!("{RUN} --data nowhere"), 1, &["t10k-images", "nowhere"]);
    let missing = ["all-tasks.safetensors is missing", "--networks"];
    folder.fails(&RUN.replace("--networks networks", "--networks none"), 1, &missing);
    let motion = RUN.replace("random-inpainting", "motion-blur");
    folder.fails(&motion, 1, &["all-tasks.safetensors", "super-resolution, not for motion-blur"]);
    std::fs::write(folder.path("networks/all-tasks.safetensors"), "cut").unwrap();
    folder.fails(RUN, 1, &["all-tasks.safetensors"]);
}

#[test]
fn the_reach_of_a_network_is_asked_question_by_question() {
    let folder = folder();
    // Validation images of Fashion-MNIST are fetched, these are here.
    pictures(&folder, 16);
    folder.succeeds("data import . set.h5 --size 28 --grey --split 0:1:1");
    folder.network_asked_at("networks/prior.safetensors", 28, &[], AskedAt::Pivot);
    let question = |name: &str, place: &str, of: &str| {
        format!(r#"{{"name": "{name}", "place": "{place}", "sigma_y": 0.05, "of": {of}}}"#)
    };
    let inside =
        question("a mask", "inside", r#"{"family": "random-mask", "missing": [0.6, 0.6]}"#);
    let fixed =
        r#"{"family": "fixed", "operator": {"operator": "walsh-hadamard", "rows": 49, "seed": 1}}"#;
    let beyond = question("random sums", "never-seen", fixed);
    let questions = format!(
        r#"{{"dataset": "set.h5", "networks": ["networks/all-tasks.safetensors"], "prior": "networks/prior.safetensors",
            "contenders": [{{"contender": "ddrm", "calls": 50}}], "calls": 20, "questions": [{inside}, {beyond}]}}"#
    );
    std::fs::write(folder.path("questions.json"), questions).expect("a new file");
    let run = "experiment reach questions.json --images 2 --tuning-images 1 --limit 2 --out out";
    let first = folder.succeeds(run);
    for expected in [
        "EPS, all-tasks, 2 calls",
        "EPS, zero-shot, 2 calls",
        "DDRM, 2 calls",
        "inside the law: better than the best method without training on",
        "never seen: ",
    ] {
        assert!(first.contains(expected), "{expected}: {first}");
    }
    let text = std::fs::read_to_string(folder.path("out/results.json")).expect("results");
    let results: Value = serde_json::from_str(&text).expect("JSON");
    let answers = results["questions"][1]["answers"].as_array().expect("a list");
    assert_eq!(answers.len(), 3);
    // The constant of DDRM is one of those that were tried.
    let tried = answers[2]["tried"].as_array().expect("a list");
    assert!(tried.iter().any(|trial| trial["value"] == answers[2]["constant"]), "{}", answers[2]);
    // What is stored is not computed again, and another run's folder is not taken.
    let cells = |folder: &Folder| {
        let read = std::fs::read_dir(folder.path("out/cells")).expect("a folder");
        let mut times: Vec<_> =
            read.map(|entry| entry.unwrap().metadata().unwrap().modified().unwrap()).collect();
        times.sort();
        times
    };
    let before = cells(&folder);
    assert_eq!(folder.succeeds(run), first);
    assert_eq!(cells(&folder), before);

    folder.fails("experiment reach missing.json --out out", 1, &["missing.json"]);
    std::fs::rename(folder.path("networks/prior.safetensors"), folder.path("gone")).unwrap();
    folder.fails(run, 1, &["prior.safetensors is missing"]);
}

#[test]
fn processes_that_do_not_reach_each_other_compute_a_share_each() {
    let folder = folder();
    for rank in ["0", "1"] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_eps"))
            .args(RUN.split_whitespace())
            .current_dir(folder.path(""))
            .env("OMP_NUM_THREADS", "1")
            .envs([("RANK", rank), ("WORLD_SIZE", "2")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        assert!(said.contains("/2 is computed"), "{said}");
    }
    let before = cells(&folder.path("out"));
    folder.succeeds(RUN);
    assert_eq!(cells(&folder.path("out")), before);
    let shared = scores(&folder);
    std::fs::remove_dir_all(folder.path("out")).unwrap();
    folder.succeeds(RUN);
    assert_eq!(scores(&folder), shared);
}

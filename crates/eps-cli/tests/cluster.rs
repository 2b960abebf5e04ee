//! Commands that several processes share, started by mpirun: the one beside `MPICC`, else that of the path.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[expect(dead_code, reason = "the other tests need more of it")]
mod common;
#[path = "common/training.rs"]
mod training;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::Folder;
use eps::math::Task;
use eps::model::checkpoint::AskedAt;
use serde_json::Value;
use training::{data_set, training, weights, write};

const EPS: &str = env!("CARGO_BIN_EXE_eps");

/// mpirun, with what Open MPI's asks of whoever starts it as root, or more processes than there are cores.
fn mpirun() -> Command {
    let wrapper = std::env::var_os("MPICC").unwrap_or_else(|| "mpicc".into());
    let mut command = Command::new(Path::new(&wrapper).with_file_name("mpirun"));
    command
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
        .env("OMP_NUM_THREADS", "1")
        // Seconds after which processes that wait for each other are ended.
        .env("MPIEXEC_TIMEOUT", "150");
    command
}

/// Starts `eps` in a folder by so many processes.
fn start(folder: &Folder, processes: usize, arguments: &str) -> Command {
    let mut command = mpirun();
    command.current_dir(folder.path("")).args(["-n", &processes.to_string(), EPS]);
    command.args(arguments.split_whitespace());
    command
}

fn text(output: &Output) -> String {
    let [said, told] = [&output.stdout, &output.stderr].map(|t| String::from_utf8_lossy(t));
    format!("{said}{told}")
}

fn succeeds(folder: &Folder, processes: usize, arguments: &str) -> String {
    let output = start(folder, processes, arguments).output().unwrap();
    assert!(output.status.success(), "{processes}: eps {arguments}\n{}", text(&output));
    text(&output)
}

/// Must fail, and say each of `words`; the first of them once.
fn fails(mut command: Command, words: &[&str]) {
    let output = command.output().unwrap();
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not said:\n{said}");
    }
    assert_eq!(said.matches(words[0]).count(), 1, "{said}");
}

#[test]
fn processes_share_images_of_values_too() {
    let (folder, _) = training();
    let values: Vec<f64> = (0..40 * 256).map(|i| (f64::from(i) / 7.0).sin()).collect();
    folder.npy("waves.npy", &[40, 16, 16], &values);
    folder.succeeds("data arrays waves.npy values.h5 --split 50:25:25");
    folder.succeeds("train c.json --data values.h5 --out alone --storage f32");
    succeeds(&folder, 2, "train c.json --data values.h5 --storage f32 --out two");
    assert_eq!(weights(&folder, "two"), weights(&folder, "alone"));
}

#[test]
fn a_training_ends_in_the_same_weights_on_any_number_of_processes() {
    let (folder, _) = training();
    folder.succeeds("train c.json --data set.h5 --out alone --storage f32");
    let expected = weights(&folder, "alone");
    for processes in [2, 4] {
        let out = format!("out{processes}");
        let said = succeeds(
            &folder,
            processes,
            &format!("train c.json --data set.h5 --storage f32 --out {out}"),
        );
        assert_eq!(weights(&folder, &out), expected, "{processes}");
        assert!(said.contains(&format!("{processes} processes compute together")), "{said}");
        // One of them talks.
        assert_eq!(said.matches("after 6 steps").count(), 1, "{said}");
    }
}

#[test]
fn a_killed_process_ends_the_run_which_goes_on_with_any_number() {
    let (folder, config) = training();
    let mut long = config.clone();
    long["steps"] = 4000.into();
    write(&folder, "long.json", &long);
    let mut command = start(&folder, 2, "train long.json --data set.h5 --storage f32 --out out");
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines().map_while(Result::ok);
    let note =
        lines.find(|line| line.contains("compute together")).expect("the processes' numbers");
    let second = note.rsplit(", ").next().unwrap().trim().to_owned();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &second]).status().unwrap().success());
    };
    let metrics = folder.path("out/metrics.jsonl");
    let steps = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
    let wait = |count: usize| {
        let begin = Instant::now();
        while steps() < count {
            assert!(begin.elapsed() < Duration::from_secs(120), "{} checkpoints", steps());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // One that is slow is waited for.
    wait(1);
    signal("-STOP");
    std::thread::sleep(Duration::from_secs(1));
    let stopped = steps();
    signal("-CONT");
    wait(stopped + 2);
    // One that is gone ends all.
    signal("-KILL");
    let begin = Instant::now();
    let status = running.wait().unwrap();
    assert!(!status.success() && begin.elapsed() < Duration::from_secs(60), "{status}");

    let done = 2 * steps();
    let mut rest = config;
    rest["steps"] = (done + 2).into();
    write(&folder, "rest.json", &rest);
    succeeds(&folder, 3, "train rest.json --data set.h5 --storage f32 --out out");
    assert_eq!(steps(), done / 2 + 1);
}

#[test]
fn processes_that_were_started_differently_are_told_apart() {
    let (folder, mut config) = training();
    config["learning_rate"] = 0.002.into();
    write(&folder, "other.json", &config);
    let both = |other: &str| {
        let mut command = mpirun();
        command.current_dir(folder.path("")).args(["-n", "1", EPS]);
        command.args("train c.json --data set.h5 --out out".split(' '));
        command.args([":", "-n", "1", EPS]).args(other.split(' '));
        command
    };
    fails(
        both("train other.json --data set.h5 --out out"),
        &["process 2 has learning_rate 0.002", "process 1 has 0.001"],
    );
    assert!(!folder.path("out/config.json").exists());
    // More processes than parts.
    fails(
        start(&folder, 5, "train c.json --data set.h5 --out out"),
        &["the number of parts of a batch (batch / micro_batch) is 4"],
    );
    // An error of one of them ends all.
    fails(
        both("train c.json --data set.h5 --start nowhere.safetensors --out out"),
        &["(process 2 of 2", "nowhere.safetensors"],
    );
    // Nor does one that finds its command line wrong leave the others waiting.
    fails(
        both("train c.json --data set.h5 --out out --no-such-flag"),
        &["process 2 has the command error: unexpected argument '--no-such-flag'"],
    );
    fails(both("--version"), &["process 2 has the command one that only prints"]);
    // Processes of one machine read the data once.
    fails(
        both("train c.json --data other.h5 --out out"),
        &["process 2 has --data other.h5", "process 1 has set.h5"],
    );
    // Before the first step a folder is claimed by nobody.
    assert!(!folder.path("out").exists());
    // A command that does all of its work itself, and two commands.
    fails(start(&folder, 2, "model show set.h5"), &["does not share its work"]);
    fails(both("model show set.h5"), &["process 2 has the command model"]);
    fails(
        both("train c.json --data set.h5 --out out --dry-run"),
        &["process 2 has the command train --dry-run"],
    );
    // What is told once, and the exit code of a command line that makes no sense.
    let said = succeeds(&folder, 2, "train c.json --dry-run");
    assert_eq!(said.matches("parameters").count(), 1, "{said}");
    succeeds(&folder, 4, "train c.json --data set.h5 --check --out check");
    let output = start(&folder, 2, "experiment main --calls 20,1").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    // An MPI that is not that of the launcher.
    let mut alone = Command::new(EPS);
    alone
        .current_dir(folder.path(""))
        .args(["train", "c.json", "--data", "set.h5", "--out", "out"]);
    alone.env("PMI_RANK", "0").env("PMI_SIZE", "2");
    fails(alone, &["the MPI that this program is linked with sees 1"]);
}

/// Removes what depends on the clock.
fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("seconds");
            fields.values_mut().for_each(without_times);
        }
        Value::Array(values) => values.iter_mut().for_each(without_times),
        _ => {}
    }
}

#[test]
fn samples_and_scores_are_those_of_one_process() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("networks")).unwrap();
    let tasks = [Task::RandomInpainting, Task::SuperResolution];
    folder.network_of("networks/all-tasks.safetensors", 28, &tasks);
    folder.network_asked_at("networks/prior.safetensors", 28, &[], AskedAt::Pivot);
    let run = "experiment main --profile smoke --samples 2 --calls 1,3 --networks networks --network all \
               --methods pseudo-inverse,eps --tasks random-inpainting,super-resolution --out";
    let table = |out: &str| {
        let text = std::fs::read_to_string(folder.path(&format!("{out}/results.json"))).unwrap();
        let mut results: Value = serde_json::from_str(&text).unwrap();
        let mut tasks = results["tasks"].take();
        without_times(&mut tasks);
        tasks.to_string()
    };
    folder.succeeds(&format!("{run} alone"));
    let said = succeeds(&folder, 2, &format!("{run} shared"));
    assert!(table("alone") == table("shared"), "{said}");
    assert_eq!(said.matches("results: ").count(), 1, "{said}");

    std::fs::write(folder.path("constants.json"), r#"{"format_version": 1, "tuned": []}"#).unwrap();
    std::fs::copy(folder.path("constants.json"), folder.path("shared.json")).unwrap();
    data_set(&folder, 8, 28);
    let tune = "tune pigdm --task random-inpainting --check --dataset set.h5 --networks networks --batch 1 \
                --constants";
    folder.succeeds(&format!("{tune} constants.json"));
    succeeds(&folder, 3, &format!("{tune} shared.json"));
    let [alone, shared] = ["constants.json", "shared.json"].map(|name| {
        serde_json::from_slice::<Value>(&std::fs::read(folder.path(name)).unwrap()).unwrap()
    });
    assert_eq!(alone["tuned"][0]["value"], shared["tuned"][0]["value"]);
    assert_eq!(alone["tuned"][0]["tried"], shared["tuned"][0]["tried"]);

    let mut seeds = mpirun();
    seeds.current_dir(folder.path(""));
    for (seed, colon) in [("1", Some(":")), ("2", None)] {
        seeds.args(["-n", "1", EPS]).args(format!("{tune} shared.json --seed {seed}").split(' '));
        seeds.args(colon);
    }
    fails(seeds, &["process 2 has seed 2", "process 1 has 1"]);

    let values: Vec<f64> = (0..784).map(|at| (f64::from(at) / 50.0).sin()).collect();
    folder.npy("y.npy", &[28, 28], &values);
    let restore = "restore --network networks/all-tasks.safetensors --measurement y.npy --factor 1 --sigma-y 0.1 \
                   --samples 5 --calls 2 --batch 1 --out";
    folder.succeeds(&format!("{restore} r1"));
    let said = succeeds(&folder, 3, &format!("{restore} r3"));
    assert_eq!(said.matches("5 samples of each").count(), 1, "{said}");
    let samples = |out: &str| -> Vec<f32> {
        let path = folder.path(&format!("{out}/samples.h5"));
        eps::data::SampleArchive::read(&path).unwrap().samples().to_vec()
    };
    assert_eq!(samples("r1"), samples("r3"));
    assert!(!folder.names().iter().any(|path| path.to_string_lossy().contains("unfinished")));
}

#[test]
fn a_folder_that_is_not_shared_is_named() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("networks")).unwrap();
    folder.network_of("networks/all-tasks.safetensors", 28, &[Task::RandomInpainting]);
    std::fs::create_dir(folder.path("here")).unwrap();
    let run = "experiment main --profile smoke --networks networks --methods eps --network all --tasks \
               random-inpainting --out";
    let mut command = mpirun();
    command.current_dir(folder.path("")).args(["-n", "1", EPS]).args(run.split_whitespace());
    command.args(["here", ":", "-n", "1", EPS]).args(run.split_whitespace()).arg("there");
    fails(command, &["process 2 (on ", "does not see what process 1 writes", "share"]);
}

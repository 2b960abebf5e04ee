//! Commands that several processes share, started with the variables that torchrun sets, by a launcher that ends all where one fails, as
//! torchrun does.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[expect(dead_code, reason = "the other tests need more of it")]
mod common;
#[path = "common/training.rs"]
mod training;

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::Folder;
use eps::data::SampleArchive;
use eps::math::Task;
use eps_testing::start_as_torchrun;
use training::{training, weights};

const EPS: &str = env!("CARGO_BIN_EXE_eps");

/// Starts `eps` in a folder by so many processes.
fn start(folder: &Folder, size: usize, arguments: impl Fn(usize) -> String) -> Vec<Child> {
    start_as_torchrun(size, |rank| {
        let mut command = Command::new(EPS);
        command.current_dir(folder.path("")).args(arguments(rank).split_whitespace());
        command
    })
}

/// Waits for all; what they say, and whether they have succeeded.
fn end(children: Vec<Child>) -> Vec<(bool, String)> {
    let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
    outputs
        .map(|output| {
            let [said, told] = [&output.stdout, &output.stderr].map(|t| String::from_utf8_lossy(t));
            (output.status.success(), format!("{said}{told}"))
        })
        .collect()
}

#[test]
fn a_training_ends_in_the_same_weights_as_that_of_one_process() {
    let (folder, _) = training();
    folder.succeeds("train c.json --data set.h5 --out alone --storage f32");
    for size in [2, 4] {
        let train = format!("train c.json --data set.h5 --storage f32 --out out{size}");
        let all = end(start(&folder, size, |_| train.clone()));
        assert!(all.iter().all(|(succeeded, _)| *succeeded), "{all:?}");
        assert!(all[0].1.contains(&format!("{size} processes compute together")), "{}", all[0].1);
        assert!(all[0].1.contains("after 6 steps"), "{}", all[0].1);
        // The first talks.
        assert!(all[1..].iter().all(|(_, said)| said.is_empty()), "{all:?}");
        assert_eq!(weights(&folder, &format!("out{size}")), weights(&folder, "alone"));
    }
}

#[test]
fn what_differs_is_told_and_a_process_that_fails_ends_the_others() {
    let (folder, _) = training();
    let all = end(start(&folder, 2, |rank| {
        format!("train c.json --data set.h5 --out out --precision {}", ["f32", "bf16"][rank])
    }));
    assert!(all.iter().all(|(succeeded, _)| !succeeded), "{all:?}");
    assert!(all[0].1.contains("process 2 has") && all[0].1.contains("bf16"), "{all:?}");

    // Process 1 cannot write its folder, which it finds alone.
    std::fs::write(folder.path("file"), "").unwrap();
    let begin = Instant::now();
    let all = end(start(&folder, 2, |_| "train c.json --data set.h5 --out file/out".to_owned()));
    assert!(all.iter().all(|(succeeded, _)| !succeeded), "{all:?}");
    assert!(all[0].1.contains("file/out"), "{all:?}");
    assert!(all[1].1.contains("process 1 of 2"), "{all:?}");
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[test]
fn samples_are_those_of_one_process() {
    let folder = Folder::new();
    folder.network_of("net.safetensors", 28, &[Task::RandomInpainting]);
    let values: Vec<f64> = (0..784).map(|at| (f64::from(at) / 50.0).sin()).collect();
    folder.npy("y.npy", &[28, 28], &values);
    let restore = "restore --network net.safetensors --measurement y.npy --factor 1 --sigma-y 0.1 --samples 5 \
                   --calls 2 --batch 1 --out";
    folder.succeeds(&format!("{restore} alone"));
    let all = end(start(&folder, 3, |_| format!("{restore} shared")));
    assert!(all.iter().all(|(succeeded, _)| *succeeded), "{all:?}");
    let samples = |out: &str| -> Vec<f32> {
        let path = folder.path(&format!("{out}/samples.h5"));
        SampleArchive::read(&path).unwrap().samples().to_vec()
    };
    assert_eq!(samples("alone"), samples("shared"));
}

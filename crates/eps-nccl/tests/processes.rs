//! Processes as torchrun starts them, with torchrun's variables; NCCL's place is taken by `stand_in.c`, which moves memory of the host.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

// What the processes do: its test, of one process, here of several.
#[path = "../examples/sum.rs"]
mod sum;

use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use eps_testing::start_as_torchrun;

/// Starts processes of the example, with a library for NCCL.
fn start(size: usize, library: Option<&Path>) -> Vec<Child> {
    let folders = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let folders = library.map_or(folders.clone(), |own| format!("{}:{folders}", own.display()));
    start_as_torchrun(size, |_| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "sum::runs", "--nocapture"]).env("LD_LIBRARY_PATH", &folders);
        command
    })
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The stand-in as the library that the loader finds.
fn stand_in() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(folder.path().join("libnccl.so.2"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stand_in.c"))
        .status()
        .unwrap();
    assert!(compiled.success());
    folder
}

#[test]
fn sums_by_the_store_and_from_device_to_device_are_those_of_one_process() {
    let library = stand_in();
    for size in [2, 3, 4] {
        for (rank, child) in start(size, Some(library.path())).into_iter().enumerate() {
            let (told, error) = texts(&child.wait_with_output().unwrap());
            let own = format!("process {} of {size}", rank + 1);
            assert!(told.contains(&own) && told.contains("the sum by NCCL"), "{told}{error}");
        }
    }
}

#[test]
fn a_missing_library_is_named_by_all() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["libnccl.so.2", "libnccl.so"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    for child in start(2, Some(folder.path())) {
        let (told, error) = texts(&child.wait_with_output().unwrap());
        assert!(
            told.contains("process 1 has no NCCL") && told.contains("libnccl.so.2"),
            "{told}{error}"
        );
    }
}

#[test]
fn without_the_process_that_keeps_it_the_store_is_named() {
    // The third never comes, so that the second waits when the first dies.
    let mut children = start(3, None);
    let [mut third, mut last, mut first] = [(); 3].map(|()| children.pop().unwrap());
    third.kill().unwrap();
    third.wait().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    first.kill().unwrap();
    first.wait().unwrap();
    let begin = Instant::now();
    let output = loop {
        if last.try_wait().unwrap().is_some() {
            break last.wait_with_output().unwrap();
        }
        assert!(begin.elapsed() < Duration::from_secs(75), "it waits for ever");
        std::thread::sleep(Duration::from_millis(50));
    };
    let (told, error) = texts(&output);
    assert!(!output.status.success() && error.contains("127.0.0.1"), "{told}{error}");
}

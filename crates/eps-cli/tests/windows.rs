//! Restorations of images that are larger than a window of the network.

#[expect(dead_code, reason = "the other tests need more of it")]
mod common;

use std::fs;

use common::{Folder, SIDE, values};
use eps::data::SampleArchive;
use serde_json::Value;

/// The samples and the configuration of a folder of results.
fn results(folder: &Folder, out: &str) -> (Vec<f32>, Value) {
    let archive = SampleArchive::read(&folder.path(&format!("{out}/samples.h5")));
    let text = fs::read_to_string(folder.path(&format!("{out}/config.json")));
    let config = serde_json::from_str(&text.expect("a configuration")).expect("JSON");
    (archive.expect("samples").samples().to_vec(), config)
}

#[test]
fn a_large_image_is_restored_in_windows() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.npy("clean.npy", &[1, 24, 40], &values(24 * 40));
    folder.succeeds("measure --image clean.npy --factor 2 --sigma-y 0.05 --out y.h5");
    let restore = "restore --measurement y.h5 --network net.safetensors --samples 2 --calls 2";
    for (out, flags) in [
        ("whole", ""),
        ("large", "--window 40"),
        ("split", "--window 16"),
        ("again", "--window 16 --threads 2"),
        ("many", "--window 16 --threads 9"),
        ("roomy", "--memory 1GB"),
    ] {
        folder.succeeds(&format!("{restore} {flags} --out {out}"));
    }
    let (whole, config) = results(&folder, "whole");
    assert_eq!(config["window"], Value::Null);
    // A window that is as large as the image is none.
    assert!(results(&folder, "large").0 == whole && results(&folder, "roomy").0 == whole);
    let (split, config) = results(&folder, "split");
    assert_eq!(config["window"], 16);
    // Nor do threads change a bit that ask about windows of one sample.
    assert!(split == results(&folder, "again").0 && split == results(&folder, "many").0);
    // The untrained network answers in parts about what it answers as a whole.
    assert!(split != whole);
    let gap = split.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(gap < 0.2, "{gap}");

    folder.fails(&format!("{restore} --window 14 --out x"), 1, &["14", "16 pixels"]);
    folder.fails(&format!("{restore} --window 17 --out x"), 1, &["17", "multiple of 2"]);
    folder.fails(&format!("{restore} --memory much --out x"), 2, &["much", "2GB"]);
}

/// Methods that differentiate the network ask in one thread a sample.
#[test]
fn gradients_are_taken_through_windows_whatever_the_threads() {
    let folder = Folder::new();
    folder.network_of("prior.safetensors", SIDE, &[]);
    folder.npy("clean.npy", &[1, 24, 40], &values(24 * 40));
    folder.succeeds("measure --image clean.npy --factor 2 --sigma-y 0.05 --out y.h5");
    let restore =
        "restore --measurement y.h5 --network prior.safetensors --samples 1 --calls 2 --window 16";
    let drawn = ["1", "4"].map(|threads| {
        folder.succeeds(&format!("{restore} --method dps --threads {threads} --out t{threads}"));
        results(&folder, &format!("t{threads}")).0
    });
    assert!(drawn[0] == drawn[1]);
}

#[test]
fn memory_decides_the_windows() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.npy("clean.npy", &[1, 144, 160], &values(144 * 160));
    folder.succeeds("measure --image clean.npy --factor 2 --sigma-y 0.05 --out y.h5");
    let restore = "restore --measurement y.h5 --network net.safetensors --samples 1 --calls 1";
    folder.succeeds(&format!("{restore} --memory 8MB --out small"));
    let (samples, config) = results(&folder, "small");
    let side = config["window"].as_u64().expect("a side");
    assert!((64..144).contains(&side) && side % 16 == 0, "{side}");
    assert!(samples.iter().all(|value| value.is_finite()));
    folder.fails(&format!("{restore} --memory 10KB --out x"), 1, &["64 x 64", "more memory"]);
}

#[test]
fn an_image_of_odd_sides_is_restored_as_it_is() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    let kernel: Vec<f64> = (0..9).map(|_| 1.0 / 9.0).collect();
    folder.npy("kernel.npy", &[3, 3], &kernel);
    folder.npy("clean.npy", &[1, 11, 7], &values(77));
    for (name, flag) in [("blur", "--kernel kernel.npy"), ("box", "--task random-inpainting")] {
        folder
            .succeeds(&format!("measure --image clean.npy {flag} --sigma-y 0.05 --out {name}.h5"));
        for window in ["", "--window 16"] {
            let out = format!("{name}{}", window.len());
            folder.succeeds(&format!(
                "restore --measurement {name}.h5 --network net.safetensors --samples 2 --calls 3 {window} --out {out}"
            ));
            let (samples, _) = results(&folder, &out);
            assert_eq!(samples.len(), 2 * 77);
            assert!(samples.iter().all(|value| value.is_finite()));
        }
    }
}

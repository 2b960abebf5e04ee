//! Intervals of a network are calibrated, and widened where it restores.

#[expect(dead_code, reason = "the other tests need more of it")]
mod common;

use common::Folder;
use eps::data::png::write_png;
use eps::intervals::{IntervalCalibration, ValueKind};
use eps::math::{Shape, Task};

#[test]
fn a_calibration_lies_beside_its_network_and_is_applied() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("pictures")).unwrap();
    let shape = Shape::new(1, 8, 8).unwrap();
    for i in 0..30 {
        let values: Vec<f64> =
            (0..shape.len()).map(|at| ((at * (i + 3)) as f64 / 40.0).sin()).collect();
        write_png(&folder.path(&format!("pictures/{i}.png")), shape, &values).unwrap();
    }
    folder.succeeds("data import pictures set.h5 --size 8 --grey --split 40:30:30");
    folder.network_of("net.safetensors", 8, &[Task::RandomInpainting, Task::SuperResolution]);
    let calibrate =
        "model calibrate net.safetensors --dataset set.h5 --images 4 --samples 19 --calls 2";
    let told = folder.succeeds(calibrate);
    assert!(told.contains("missing pixels") && told.contains("pixels of which a mean"), "{told}");
    let found = IntervalCalibration::beside(&folder.path("net.safetensors")).unwrap().unwrap();
    let kinds: Vec<ValueKind> = found.kinds.iter().map(|kind| kind.kind).collect();
    assert_eq!(kinds, [ValueKind::Missing, ValueKind::Seen, ValueKind::Pooled]);
    assert!(!folder.path("net.intervals.unfinished").exists());

    folder.npy("y.npy", &[4, 4], &[0.25; 16]);
    let restore = "restore --network net.safetensors --measurement y.npy --sigma-y 0.05";
    let told = folder.succeeds(&format!("{restore} --factor 2 --samples 19 --calls 2 --out r"));
    assert!(told.contains("calibrated, on the scale [-1, 1]; pixels of which a mean"), "{told}");
    assert!(told.contains("from a mean width of"), "{told}");
    // The page and the record say the same.
    let page = std::fs::read_to_string(folder.path("r/page.html")).unwrap();
    assert!(page.contains("pixels of which a mean was seen: widened by"));
    let config = std::fs::read_to_string(folder.path("r/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["intervals"][0]["calibration"]["kind"], "pooled");
    for name in ["quantile-05", "quantile-95", "calibrated-05", "calibrated-95"] {
        assert!(folder.path(&format!("r/image-0000/{name}.png")).exists(), "{name}");
    }
    // Of pairs they are not.
    let told = folder
        .succeeds(&format!("{restore} --factor 2 --samples 20 --calls 2 --antithetic --out pairs"));
    assert!(told.contains("kind of samples the network's were not calibrated"), "{told}");
    // Nor are they of another grid, and other noise, than the network's.
    for (other, name) in [("--rho 1", "u"), ("--sigma-y 1.0", "v")] {
        let restore = match name {
            "v" => restore.replace("--sigma-y 0.05", other),
            _ => format!("{restore} {other}"),
        };
        let told =
            folder.succeeds(&format!("{restore} --factor 2 --samples 19 --calls 2 --out {name}"));
        assert!(told.contains("were not calibrated"), "{told}");
    }
    // With another number of calls the samples spread otherwise.
    let told = folder.succeeds(&format!("{restore} --factor 2 --samples 19 --calls 3 --out s"));
    assert!(told.contains("were not calibrated"), "{told}");
    assert!(!folder.path("s/image-0000/calibrated-05.png").exists());

    // Of pairs by another solver, where they are asked for.
    folder.fails(&format!("{calibrate} --antithetic"), 2, &["19", "pairs"]);
    folder.fails(&calibrate.replace("--calls 2", "--sampler heun --calls 2"), 2, &["--calls 2"]);
    let calibrate = calibrate.replace("--samples 19", "--samples 20 --antithetic --sampler euler");
    assert!(folder.succeeds(&calibrate).contains("20 samples in antithetic pairs of 2 calls"));
    let restore_by = |flags: &str, out: &str| {
        folder.succeeds(&format!("{restore} --factor 2 --calls 2 --samples 20 {flags} --out {out}"))
    };
    let told = restore_by("--sampler euler --antithetic", "e");
    assert!(told.contains("calibrated, on the scale [-1, 1]; pixels of which a mean"), "{told}");
    for (flags, out) in [("--sampler euler", "f"), ("--antithetic", "g")] {
        let told = restore_by(flags, out);
        assert!(told.contains("were not calibrated"), "{told}");
    }

    // One of more images stays, unless it is said; what cannot be made leaves nothing.
    let fewer = calibrate.replace("--images 4", "--images 2");
    folder.fails(&fewer, 1, &["net.intervals.json", "4 images", "add --force"]);
    folder.fails(&calibrate.replace("--images 4", "--images 1000"), 1, &["1000"]);
    let output = folder.eps(&format!("{fewer} --force"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("the former calibration in"), "{said}");

    // A network that was trained anew is another one.
    folder.network_of("net.safetensors", 8, &[Task::RandomInpainting]);
    folder.fails(
        &format!("{restore} --factor 2 --out t"),
        1,
        &["net.intervals.json", "another network"],
    );
    folder.network_of("prior.safetensors", 8, &[]);
    folder.fails(
        "model calibrate prior.safetensors --dataset set.h5",
        2,
        &["prior.safetensors", "no measurements"],
    );
}

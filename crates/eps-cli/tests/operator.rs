//! `eps operator`, and what a photograph shows of a larger scene.

mod common;

use common::{Folder, SIDE, values};
use eps::data::Array;
use eps::data::SampleArchive;
use eps::data::png::read_png;

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
    let y = eps::data::MeasurementSet::read(&folder.path("y.h5")).unwrap();
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

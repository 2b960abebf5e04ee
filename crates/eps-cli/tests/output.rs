//! Outputs that are full, taken, of names that HDF5 does not have, or half done.

#![cfg(unix)]

#[expect(dead_code, reason = "the other tests need more of it")]
mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Folder, SIDE, values};

/// A folder with measurements of four images and a network.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.npy("clean.npy", &[4, 1, SIDE, SIDE], &values(4 * SIDE * SIDE));
    folder.succeeds("measure --image clean.npy --factor 2 --sigma-y 0.05 --out y.h5");
    folder
}

const RESTORE: &str = "restore --measurement y.h5 --network net.safetensors --threads 1";

/// The program with arguments, in the folder, on one thread.
fn program(folder: &Folder, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eps"));
    command.args(arguments.split_whitespace()).current_dir(folder.path(""));
    command.env("OMP_NUM_THREADS", "1");
    command
}

#[test]
fn the_version_names_the_revision_and_libtorch() {
    let text = Folder::new().succeeds("--version");
    assert!(text.starts_with(concat!("eps ", env!("CARGO_PKG_VERSION"), " (revision ")), "{text}");
    assert!(text.contains(", libtorch 2."), "{text}");
    // The records say the same.
    let recorded = format!(", libtorch {})", eps::environment::LIBTORCH);
    assert!(text.trim_end().ends_with(&recorded), "{text} without {recorded}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_an_error_with_a_remedy() {
    let folder = folder();
    folder.succeeds(&format!("{RESTORE} --samples 2 --calls 1 --out out"));
    for (arguments, written) in [
        (format!("{RESTORE} --samples 1 --calls 1 --out other"), Some("other/samples.h5")),
        ("evaluate --truth out/samples.h5 --samples out/samples.h5 --no-networks".to_owned(), None),
        ("model show net.safetensors".to_owned(), None),
        ("--version".to_owned(), None),
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = program(&folder, &arguments).stdout(full).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "eps {arguments}\n{error}");
        assert!(error.contains("cannot write to standard output: No space left"), "{error}");
        assert!(error.contains("send the output elsewhere"), "{error}");
        assert!(!error.contains("panicked"), "{error}");
        // What was told comes after what was made.
        assert!(written.is_none_or(|file| folder.path(file).is_file()));
    }
    let names = folder.names();
    let hidden = |path: &Path| path.file_name().unwrap().as_bytes().starts_with(b".");
    assert!(!names.iter().any(|path| hidden(path)), "{names:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_note_on_a_full_standard_error_ends_nothing() {
    let folder = folder();
    // A network of another σ_y is a note.
    folder.succeeds("measure --image clean.npy --factor 2 --sigma-y 0.5 --out y.h5 --force");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let arguments = format!("{RESTORE} --samples 1 --calls 1 --out out");
    let output = program(&folder, &arguments).stderr(full).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(folder.path("out/samples.h5").is_file());
}

#[test]
fn a_name_that_is_no_utf8_is_refused_before_the_work() {
    let folder = folder();
    let before = folder.names();
    let output = program(&folder, &format!("{RESTORE} --samples 1 --calls 1"))
        .arg("--out")
        .arg(OsStr::from_bytes(b"out-\xff"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("is not UTF-8") && error.contains("name another folder"), "{error}");
    assert_eq!(folder.names(), before);
}

#[test]
fn a_killed_restoration_goes_on_and_excludes_a_second_one() {
    let folder = folder();
    // 16 batches, far more than are made until the second is seen.
    let all = format!("{RESTORE} --samples 8 --calls 20 --batch 2");
    folder.succeeds(&format!("{all} --out whole"));

    let resumed = format!("{all} --out out");
    let mut running =
        program(&folder, &resumed).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (kept, start) = (folder.path(".out.unfinished"), Instant::now());
    while !kept.join("samples-8-000002").is_file() {
        assert!(running.try_wait().unwrap().is_none(), "it ended before it was killed");
        assert!(start.elapsed() < Duration::from_secs(300), "no batch was kept");
        sleep(Duration::from_millis(2));
    }
    // The output is taken.
    let output = folder.eps(&resumed);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("another process works on out"), "{error}");
    running.kill().unwrap();
    running.wait().unwrap();
    // Another seed makes other samples; what differs is named.
    let output = folder.eps(&format!("{resumed} --seed 1"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    for words in ["error: seed was 0 and is 1", ".out.unfinished", "--force removes it"] {
        assert!(error.contains(words), "no {words:?} in: {error}");
    }
    // What a kill while the results are written leaves.
    fs::create_dir(folder.path(".out.a1B2c3.part")).unwrap();
    fs::write(folder.path(".out.a1B2c3.part/samples.h5"), "half").unwrap();

    // Fewer samples, in other batches, of the measurement under another name.
    let few = folder.path(".few.unfinished");
    fs::create_dir(&few).unwrap();
    for part in fs::read_dir(&kept).unwrap() {
        let part = part.unwrap();
        fs::copy(part.path(), few.join(part.file_name())).unwrap();
    }
    fs::copy(folder.path("y.h5"), folder.path("copy.h5")).unwrap();
    let restore = RESTORE.replace("y.h5", "copy.h5");
    let output = folder.eps(&format!("{restore} --samples 6 --calls 20 --batch 3 --out few"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(error.contains("note: what an earlier run of this command has finished"), "{error}");

    let output = folder.eps(&resumed);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(error.contains("note: what an earlier run of this command has finished"), "{error}");
    assert!(!kept.exists() && !folder.path(".out.a1B2c3.part").exists());
    let samples = |name: &str| {
        let path = folder.path(name).join("samples.h5");
        eps::data::SampleArchive::read(&path).unwrap().samples().to_vec()
    };
    assert_eq!(samples("out"), samples("whole"));
    assert_eq!(samples("out").len(), 4 * 8 * SIDE * SIDE);
    let (whole, few) = (samples("whole"), samples("few"));
    let of = |samples: &[f32], per_image: usize, image: usize| {
        samples[image * per_image * SIDE * SIDE..][..6 * SIDE * SIDE].to_vec()
    };
    for image in 0..4 {
        let (whole, few) = (of(&whole, 8, image), of(&few, 6, image));
        let apart = whole.iter().zip(&few).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // What batches change is the network's rounding.
        assert!(apart < 1e-3, "{apart}");
        // The batches of image 0 that were kept are taken as they were.
        assert!(image > 0 || whole[..4 * SIDE * SIDE] == few[..4 * SIDE * SIDE]);
    }
}

#[test]
fn what_is_kept_of_other_settings_is_not_taken() {
    let folder = folder();
    let kept = folder.path(".out.unfinished");
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("key"), "of other settings").unwrap();
    fs::write(kept.join("samples-1-000000"), vec![0; 4 * 4 * SIDE * SIDE]).unwrap();
    let restore = format!("{RESTORE} --samples 1 --calls 1 --out out");
    let output = folder.eps(&restore);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    for words in [".out.unfinished", "other settings", "--force removes it"] {
        assert!(error.contains(words), "no {words:?} in: {error}");
    }
    assert!(kept.join("samples-1-000000").exists());
    let output = folder.eps(&format!("{restore} --force"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(
        error.contains("note: what an earlier run had finished with other settings"),
        "{error}"
    );
    assert!(!kept.exists());
    let archive = eps::data::SampleArchive::read(&folder.path("out/samples.h5")).unwrap();
    assert!(archive.samples().iter().any(|value| *value != 0.0));
}

#[test]
fn a_picture_needs_no_more_than_what_became_of_it() {
    let folder = Folder::new();
    let colours = values(3 * 16 * 16);
    folder.png("y.png", 3, 16, &colours);
    let restore = "restore y.png --sigma-y 0.1 --samples 1 --calls 1 --threads 1";
    let said = folder.succeeds(&format!("{restore} --denoise --out out"));
    assert!(said.contains("network \"photographs\""), "{said}");
    // Of a grey picture the grey of one in colour is restored, in grey again.
    folder.png("grey.png", 1, 16, &values(16 * 16));
    let grey =
        "restore grey.png --sigma-y 0.1 --samples 2 --calls 2 --threads 1 --denoise --out grey";
    let output = folder.eps(grey);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("grey.png is grey"), "{said}");
    let archive = eps::data::SampleArchive::read(&folder.path("grey/samples.h5")).unwrap();
    assert_eq!(archive.shape().to_string(), "[1, 16, 16]");
    let picture = eps::data::png::read_png(&folder.path("grey/image-0000/restored-mean.png"));
    assert_eq!(picture.unwrap().shape.channels, 1);
    // What makes grey of colours by itself is an operator as any other.
    fs::write(folder.path("grey.json"), r#"{"operator": "grey"}"#).unwrap();
    folder.succeeds(&grey.replace("--denoise --out grey", "--operator grey.json --out colours"));
    let archive = eps::data::SampleArchive::read(&folder.path("colours/samples.h5")).unwrap();
    assert_eq!(archive.shape().channels, 3);
    // For an array there is no default.
    folder.npy("y.npy", &[3, 16, 16], &colours);
    let array = restore.replace("y.png", "y.npy");
    folder.fails(
        &format!("{array} --denoise --out array"),
        2,
        &["y.npy is no picture", "--network"],
    );
    // A kernel that is larger than the picture is told of before the work.
    folder.npy("kernel.npy", &[17, 3], &[1.0 / 51.0; 51]);
    folder.fails(
        &format!("{restore} --kernel kernel.npy --out blurred"),
        1,
        &["kernel.npy: the kernel has 17×3 taps, and what was blurred 16×16 pixels"],
    );
    folder.fails("restore --denoise --sigma-y 0.1 --out none", 2, &["not provided", "PICTURE"]);
}

#[test]
fn a_picture_comes_back_as_it_is_stored() {
    let folder = folder();
    folder.png("y.png", 1, SIDE, &values(SIDE * SIDE));
    let restore = "restore --network net.safetensors --threads 1 --samples 2 --calls 1 --factor 1 --sigma-y 0.1";
    let said = folder.succeeds(&format!("{restore} --measurement y.png --out out"));
    assert!(said.contains("stored as y.png: restored-mean.png and restored-sample.png"), "{said}");
    for (ours, theirs) in [("mean", "restored-mean"), ("sample-000", "restored-sample")] {
        let read =
            |name: &str| fs::read(folder.path(&format!("out/image-0000/{name}.png"))).unwrap();
        assert_eq!(read(ours), read(theirs));
    }
    // Its samples are shown one after the other.
    let animation = fs::read(folder.path("out/image-0000/samples.png")).unwrap();
    assert!(animation.windows(4).any(|chunk| chunk == b"acTL"));
    // It is replaced like any other, and named by its place as well.
    folder.succeeds(&format!("{restore} y.png --out out --force"));
    // What somebody put beside its pictures stays.
    fs::write(folder.path("out/image-0000/mine.png"), "").unwrap();
    folder.fails(&format!("{restore} y.png --out out --force"), 1, &["out exists", "other things"]);
    // An animation is no picture, and has no results before that is told.
    fs::write(folder.path("two.png"), animation).unwrap();
    folder.fails(
        &format!("{restore} two.png --out two"),
        1,
        &["two.png", "animated, with 2 pictures"],
    );
    // An array has no format of pictures.
    folder.succeeds(&format!("{RESTORE} --samples 2 --calls 1 --out arrays"));
    assert!(!folder.path("arrays/image-0000/restored-mean.png").exists());
}

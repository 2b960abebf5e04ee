//! Files that are written: what does not fit on the disk, and what must not be replaced.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[expect(dead_code, reason = "the other tests need more of it")]
mod common;

#[cfg(unix)]
use std::process::{Command, Output};

use common::{Folder, SIDE, values};
use eps::data::MeasurementSet;

/// Runs `eps` where no file may be larger than `limit` KiB, which stands for a full disk.
#[cfg(unix)]
fn limited(folder: &Folder, limit: usize, arguments: &str) -> Output {
    Command::new("bash")
        .args(["-c", &format!("trap '' XFSZ; ulimit -f {limit}; exec \"$@\""), "bash"])
        .arg(env!("CARGO_BIN_EXE_eps"))
        .args(arguments.split_whitespace())
        .current_dir(folder.path(""))
        .env("OMP_NUM_THREADS", "1")
        .output()
        .expect("bash and the program")
}

/// Runs `eps` with a limit, where it must end with an error that names `file` and leave the folder as it was.
#[cfg(unix)]
#[track_caller]
fn does_not_fit(folder: &Folder, limit: usize, arguments: &str, file: &str) {
    let before = folder.names();
    let output = limited(folder, limit, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{limit} KiB: eps {arguments}\n{error}");
    assert!(error.contains(file) && error.contains("File too large"), "{limit} KiB: {error}");
    assert!(!error.contains("skip-bad"), "{error}");
    assert_eq!(folder.names(), before, "{limit} KiB: eps {arguments}\nleft something behind");
}

/// Writes 24 pictures of 32 × 32 without a pattern into the folder `pictures`.
fn pictures(folder: &Folder) {
    std::fs::create_dir(folder.path("pictures")).unwrap();
    let all = values(24 * 3 * 32 * 32);
    for (index, of_picture) in all.chunks_exact(3 * 32 * 32).enumerate() {
        folder.png(&format!("pictures/{index}.png"), 3, 32, of_picture);
    }
}

#[cfg(unix)]
#[test]
fn files_that_do_not_fit() {
    let folder = Folder::new();
    folder.network("net.safetensors");
    folder.npy("clean.npy", &[16, 1, SIDE, SIDE], &values(16 * SIDE * SIDE));
    let measure = "measure --image clean.npy --factor 2 --sigma-y 0.05 --out y.h5";
    for limit in [0, 1, 2, 4, 8] {
        does_not_fit(&folder, limit, measure, "y.h5");
    }
    folder.succeeds(measure);
    let former = std::fs::read(folder.path("y.h5")).unwrap();
    for limit in [0, 1, 2, 4, 8] {
        does_not_fit(&folder, limit, &format!("{measure} --seed 1 --force"), "y.h5");
    }
    assert_eq!(std::fs::read(folder.path("y.h5")).unwrap(), former);
    MeasurementSet::read(&folder.path("y.h5")).unwrap();

    let restore = "restore --measurement y.h5 --network net.safetensors --samples 8 --calls 1 \
                   --out out";
    for limit in [8, 16] {
        does_not_fit(&folder, limit, restore, "samples.h5");
    }
}

#[cfg(unix)]
#[test]
fn data_sets_that_do_not_fit() {
    let folder = Folder::new();
    pictures(&folder);
    // The blocks are in the folder beside the file, and fit.
    let import = "data import pictures set.h5 --size 16";
    std::fs::create_dir(folder.path("set.h5.part")).unwrap();
    does_not_fit(&folder, 0, import, "import.json");
    std::fs::write(folder.path("pictures/bad.png"), "no picture").unwrap();
    let output = folder.eps(import);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("bad.png") && error.contains("--skip-bad"), "{error}");
    folder.fails(
        "data import pictures set.h5 --size 8",
        1,
        &["the import stopped: ", "\"size\" is 16, here 8", "remove the folder"],
    );
    std::fs::remove_file(folder.path("pictures/bad.png")).unwrap();
    folder.fails(import, 1, &["set.h5.part", "\"bad.png\" was there then", "same pictures"]);
    std::fs::remove_dir_all(folder.path("set.h5.part")).unwrap();

    // 18 KiB of pixels are a block, their compression and its checksums are more.
    limited(&folder, 19, import);
    assert!(folder.path("set.h5.part/000000.pixels").is_file());
    does_not_fit(&folder, 19, import, "set.h5");
    assert!(folder.succeeds(import).contains("24 pictures were there from an earlier call"));
    // The blocks of the second import are kept, and so is the first one's file.
    let former = std::fs::read(folder.path("set.h5")).unwrap();
    assert_eq!(limited(&folder, 19, &format!("{import} --force")).status.code(), Some(1));
    assert_eq!(std::fs::read(folder.path("set.h5")).unwrap(), former);
}

#[test]
fn what_data_does_not_replace() {
    let folder = Folder::new();
    pictures(&folder);
    std::fs::write(folder.path("letter.h5"), "dear").unwrap();
    std::fs::write(folder.path("k.npy"), "dear").unwrap();
    folder.npy("clean.npy", &[1, SIDE, SIDE], &values(SIDE * SIDE));
    folder.succeeds("measure --image clean.npy --factor 2 --sigma-y 0.05 --out y.h5");
    for command in ["data import pictures", "data photos pictures"] {
        let eps = |rest: &str| format!("{command} {rest} --size 16");
        folder.fails(&eps("k.npy --force"), 1, &["k.npy", "HDF5", ".h5"]);
        folder.fails(&eps("set"), 1, &["set: ", "HDF5", ".h5"]);
        folder.fails(&eps("letter.h5"), 1, &["letter.h5 exists already", "--force"]);
        let refused = ["is no data set", "--force does not replace it", "name another file"];
        folder.fails(&eps("letter.h5 --force"), 1, &refused);
        folder.fails(&eps("y.h5 --force"), 1, &refused);
        folder.fails(&eps("no/set.h5"), 1, &["no/set.h5", "make the folder no first"]);
    }
    for name in ["letter.h5", "k.npy"] {
        assert_eq!(std::fs::read(folder.path(name)).unwrap(), b"dear");
    }
    std::fs::create_dir(folder.path("set.h5.part")).unwrap();
    std::fs::write(folder.path("set.h5.part/letter.txt"), "dear").unwrap();
    let import = "data import pictures set.h5 --size 16";
    folder.fails(import, 1, &["set.h5.part", "\"letter.txt\"", "move it away"]);
    std::fs::remove_dir_all(folder.path("set.h5.part")).unwrap();
    folder.succeeds(import);
    folder.succeeds(&format!("{import} --grey --force"));
    assert!(folder.succeeds("data show set.h5").contains("[1, 16, 16]"));

    std::fs::create_dir(folder.path("empty")).unwrap();
    for command in ["data import", "data photos"] {
        folder.fails(
            &format!("{command} empty other.h5 --size 16"),
            1,
            &["empty: no pictures were found", ".png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp"],
        );
    }
}

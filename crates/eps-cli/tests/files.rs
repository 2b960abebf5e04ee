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

#[test]
fn what_experiments_do_not_replace() {
    let folder = Folder::new();
    pictures(&folder);
    folder.succeeds("data import pictures set.h5 --size 16");
    // Moments take the place of moments alone, not of the data set that they are of.
    let moments = "experiment moments --dataset set.h5 --out";
    folder.fails(&format!("{moments} set.h5"), 1, &["--out set.h5", "something else than moments"]);
    folder.fails(&format!("{moments} no/m.h5"), 1, &["no/m.h5", "its directory exists"]);
    folder.succeeds("data show set.h5");
    for _ in 0..2 {
        folder.succeeds(&format!("{moments} m.h5"));
    }

    let join = "experiment join a.json b.json --out";
    for (flags, words) in [
        ("set.h5", &["set.h5 exists already", "--force"][..]),
        ("set.h5 --force", &["set.h5 holds something else", "--force does not replace it"]),
        ("all.json.gz", &["all.json.gz", "plain JSON"]),
    ] {
        folder.fails(&format!("{join} {flags}"), 1, words);
    }

    std::fs::create_dir(folder.path("mine")).unwrap();
    for name in ["report.html", "samples.h5", "results.json"] {
        std::fs::write(folder.path("mine").join(name), "dear").unwrap();
        let run = "experiment oracle --profile smoke --out mine";
        folder.fails(run, 1, &["--out mine", name, "of no run", "another folder"]);
        std::fs::remove_file(folder.path("mine").join(name)).unwrap();
    }
    let run = "experiment oracle --profile smoke --out set.h5";
    folder.fails(run, 1, &["--out set.h5", "no folder"]);
}

#[test]
fn an_import_says_what_its_classes_and_splits_lack() {
    let folder = Folder::new();
    pictures(&folder);
    let import = "data import pictures set.h5 --size 16 --labels";
    let listed = |of: &dyn Fn(usize) -> u32| {
        let pairs: Vec<String> = (0..24).map(|i| format!("[\"{i}.png\", {}]", of(i))).collect();
        format!("{{\"labels\": [{}]}}", pairs.join(", "))
    };
    let labels = folder.path("pictures/dataset.json");
    std::fs::write(&labels, listed(&|_| 1).replace("]]", "], [\"3.png\", 2]]")).unwrap();
    folder.fails(import, 1, &["dataset.json", "\"3.png\" has the classes 1 and 2"]);
    std::fs::write(&labels, listed(&|_| 4000)).unwrap();
    let said = |arguments: &str| {
        let output = folder.eps(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    assert!(said(import).contains("note: the largest class is 4000, of 24 pictures"));
    let few = "data import pictures few.h5 --size 16 --limit 1 --split 100000:1:100000";
    assert!(said(few).contains("note: no image is in the split validation"));

    // What can never be finished is not left behind.
    std::fs::remove_file(&labels).unwrap();
    let test = "data import pictures other.h5 --size 16 --test-data pictures";
    folder.fails(test, 1, &["the import stopped"]);
}

#[test]
fn arrays_become_a_data_set() {
    let folder = Folder::new();
    let n = SIDE * SIDE;
    for volume in 0..6 {
        let slices: Vec<f64> =
            (0..2 * n).map(|i| 1000.0 * ((i * (volume + 1)) as f64 / 90.0).sin()).collect();
        std::fs::create_dir_all(folder.path("scans")).unwrap();
        folder.npy(&format!("scans/{volume}.npy"), &[2, SIDE, SIDE], &slices);
    }
    let arrays = "data arrays scans set.h5 --split 50:25:25";
    folder.fails(arrays, 1, &["cannot import scans", "0.npy", "[-1, 1]", "--unit OFFSET,SCALE"]);
    folder.fails("data arrays scans set.h5 --unit auto", 2, &["0,1000,HU"]);
    folder.fails("data arrays scans set.txt", 1, &["set.txt", ".h5"]);
    folder.fails("data arrays nothing set.h5", 1, &["cannot import nothing"]);
    folder.fails(&format!("{arrays} --unit 0,500,HU"), 1, &["outside 0 ± 500 (HU)", "--clip"]);
    folder.fails(&format!("{arrays} --by-folder"), 1, &["there is no folder in it"]);
    let clipped = folder.eps("data arrays scans clipped.h5 --unit 0,500,HU --clip");
    let said = String::from_utf8_lossy(&clipped.stderr);
    assert!(clipped.status.success() && said.contains("set to its nearer end"), "{said}");
    let shown = folder.succeeds(&format!("{arrays} --unit 0,1000,HU"));
    assert!(shown.contains("eps restore --unit 0,1000,HU"), "{shown}");
    assert!(shown.contains("of shape [1, 8, 8]"), "{shown}");
    folder.fails(&format!("{arrays} --unit 0,1000,HU"), 1, &["set.h5 exists already", "--force"]);
    // It serves where a data set of pictures does.
    folder.succeeds("experiment moments --dataset set.h5 --out m.h5");
    folder.succeeds(
        "measure --dataset set.h5 --split train --index 0..1 --factor 2 --sigma-y 0.1 --out y.h5",
    );
}

#[cfg(unix)]
#[test]
fn two_commands_do_not_write_one_file() {
    let folder = Folder::new();
    pictures(&folder);
    folder.npy("clean.npy", &[1, SIDE, SIDE], &values(SIDE * SIDE));
    for (file, command) in [
        ("y.h5", "measure --image clean.npy --factor 2 --sigma-y 0.05 --out y.h5"),
        ("tiles.h5", "data photos pictures tiles.h5 --size 16"),
        ("m.h5", "experiment join a.json b.json --out m.h5"),
    ] {
        let _lock = eps_files::WriteLock::take(&folder.path(file)).unwrap();
        folder.fails(command, 1, &["another process works on", file]);
    }
}

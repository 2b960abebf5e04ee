//! Small networks in the files that guided-diffusion, diffusers and EDM2 write: imported, and used.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[expect(dead_code, reason = "the other tests need more of it")]
mod common;

use std::fs;
use std::path::Path;

use common::Folder;
use eps::data::{MeasurementSet, SampleArchive};
use serde_json::{Value, json};

const ORIGINALS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/originals");
const TRAININGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/networks/originals");

/// The root mean square of a difference.
fn rms(a: impl Iterator<Item = f64>, b: &[f64]) -> f64 {
    let squares: f64 = a.zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    (squares / b.len() as f64).sqrt()
}

#[test]
fn a_network_of_each_family_restores() {
    let folder = Folder::new();
    folder.succeeds(
        "measure --dataset fashion-mnist --index 0..2 --task gaussian-blur --sigma-y 0.05 --out y.h5",
    );
    let set = MeasurementSet::read(&folder.path("y.h5")).unwrap();
    let truth = set.truth().unwrap().to_vec();
    let blurred = rms(set.y().iter().copied(), &truth);
    for (name, file, flags) in [
        (
            "guided-diffusion",
            "guided-diffusion.pt",
            format!("--architecture {TRAININGS}/guided-diffusion.json --noise-schedule linear"),
        ),
        ("diffusers", "diffusers", String::new()),
        ("edm2", "edm2.pkl", "--licence MIT".to_owned()),
    ] {
        folder.succeeds(&format!("import {ORIGINALS}/{file} {name}.safetensors {flags}"));
        for method in ["", "--method ddrm", "--method ddnm", "--method mpgd"] {
            let out = format!("{name}{}", method.replace(['-', ' '], ""));
            folder.succeeds(&format!(
                "restore --measurement y.h5 --network {name}.safetensors --samples 2 --calls 20 {method} --out {out}"
            ));
            let archive = SampleArchive::read(&folder.path(&format!("{out}/samples.h5"))).unwrap();
            let mean = archive.posterior_mean().iter().map(|v| f64::from(*v).clamp(-1.0, 1.0));
            let restored = rms(mean, &truth);
            assert!(restored < 0.9 * blurred, "{out}: {restored} of {blurred}");
        }
    }
}

/// A folder of diffusers with other settings.
fn changed(folder: &Folder, name: &str, file: &str, change: impl FnOnce(&mut Value)) {
    let from = Path::new(ORIGINALS).join("diffusers");
    fs::create_dir(folder.path(name)).unwrap();
    for entry in fs::read_dir(&from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path(name).join(entry.file_name())).unwrap();
    }
    let path = folder.path(name).join(file);
    let mut settings: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut settings);
    fs::write(&path, settings.to_string()).unwrap();
}

#[test]
fn what_is_no_chain_of_betas_is_refused_by_name() {
    let folder = Folder::new();
    for (name, key, value, words) in [
        (
            "flow",
            "_class_name",
            json!("FlowMatchEulerDiscreteScheduler"),
            "FlowMatchEulerDiscreteScheduler",
        ),
        ("snr", "rescale_betas_zero_snr", json!(true), "rescale_betas_zero_snr"),
        ("endless", "num_train_timesteps", json!(1_000_000_000_000_u64), "from 2 to 100000"),
    ] {
        changed(&folder, name, "scheduler_config.json", |settings| settings[key] = value);
        folder.fails(&format!("import {name} {name}.safetensors"), 1, &[words]);
    }
    changed(&folder, "six", "config.json", |config| config["in_channels"] = json!(2));
    folder.fails("import six six.safetensors", 1, &["2 channels"]);
    // What diffusers writes of an average changes nothing.
    changed(&folder, "average", "config.json", |config| {
        config["decay"] = json!(0.9999);
        config["optimization_step"] = json!(100);
    });
    folder.succeeds("import average average.safetensors");
}

#[test]
fn flags_of_guided_diffusions_commands_are_read_as_they_are_given() {
    let folder = Folder::new();
    let config = fs::read_to_string(Path::new(TRAININGS).join("guided-diffusion.json")).unwrap();
    let mut flags: Value = serde_json::from_str::<Value>(&config).unwrap()["network"].take();
    for (flag, value) in [
        ("channel_mult", json!("1,1,2")),
        ("attention_resolutions", json!("7")),
        ("diffusion_steps", json!(1000)),
        ("rescale_timesteps", json!(false)),
        ("predict_xstart", json!(false)),
        ("noise_schedule", json!("linear")),
    ] {
        flags[flag] = value;
    }
    fs::write(folder.path("flags.json"), flags.to_string()).unwrap();
    let import = format!("import {ORIGINALS}/guided-diffusion.pt --architecture flags.json");
    folder.succeeds(&format!("{import} net.safetensors"));
    let mut longer = flags.clone();
    longer["diffusion_steps"] = json!(4000);
    let import_longer = format!(
        "import {ORIGINALS}/guided-diffusion.pt longer.safetensors --architecture longer.json"
    );
    fs::write(folder.path("longer.json"), longer.to_string()).unwrap();
    folder.succeeds(&import_longer);
    // A network that is told a quarter of them.
    longer["rescale_timesteps"] = json!(true);
    fs::write(folder.path("longer.json"), longer.to_string()).unwrap();
    folder.fails(
        &format!("{import_longer} --force"),
        1,
        &["diffusion_steps is 4000", "rescale_timesteps"],
    );
    flags["learn_sigma"] = json!(false);
    fs::write(folder.path("flags.json"), flags.to_string()).unwrap();
    folder.fails(&format!("{import} other.safetensors"), 1, &["\"learn_sigma\": true"]);
    // Below the chain: told before the first call.
    folder.npy("y.npy", &[28, 28], &[0.5; 784]);
    folder.fails(
        "restore --network net.safetensors --measurement y.npy --denoise --sigma-y 0.1 --sigma-min 0.002 --precision f32 \
         --out r",
        1,
        &["0.01", "--sigma-min"],
    );
}

/// A chain that ends at σ = 20: every method begins there, and says so where it would begin above.
#[test]
fn every_method_begins_where_the_chain_ends() {
    let folder = Folder::new();
    // ln(1 + σ²) = −Σ ln(1 − β) ≈ 1000 (1e-4 + 0.0119)/2.
    changed(&folder, "short", "scheduler_config.json", |settings| {
        settings["beta_end"] = json!(0.0119);
    });
    folder.succeeds("import short short.safetensors");
    folder.npy("y.npy", &[28, 28], &[0.5; 784]);
    for method in [
        "",
        "dps",
        "dps-published",
        "daps",
        "daps-published",
        "daps-exact",
        "ddnm",
        "ddnm-published",
        "ddrm",
        "pigdm",
        "pigdm-published",
        "mpgd",
        "mpgd-published",
    ] {
        let flag = if method.is_empty() { String::new() } else { format!("--method {method}") };
        let output = folder.eps(&format!(
            "restore --network short.safetensors --measurement y.npy --denoise --sigma-y 0.1 --samples 1 --calls 10 {flag} \
             --out r-{method}"
        ));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{method}: {said}");
        // Of this operator DAPS begins at 30, all others at 80.
        let is_told = said.contains("0, and the network knows noise up to 20.30");
        assert_eq!(is_told, !method.is_empty(), "{method}: {said}");
    }
}

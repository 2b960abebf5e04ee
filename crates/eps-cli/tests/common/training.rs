//! A training that takes a second, for several processes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use eps::data::png::write_png;
use eps::math::Shape;
use serde_json::{Value, json};

use crate::common::Folder;

/// The data set `set.h5` of so many images of `side`² pixels.
pub(crate) fn data_set(folder: &Folder, images: usize, side: usize) {
    std::fs::create_dir(folder.path("pictures")).unwrap();
    let shape = Shape::new(1, side, side).unwrap();
    for i in 0..images {
        let values: Vec<f64> =
            (0..shape.len()).map(|at| ((at * (i + 3)) as f64 / 40.0).sin()).collect();
        write_png(&folder.path(&format!("pictures/{i}.png")), shape, &values).unwrap();
    }
    folder.succeeds(&format!(
        "data import pictures set.h5 --size {side} --grey --split 50:25:25 --licence CC0"
    ));
}

/// A data set and the configuration `c.json` of a training on it.
pub(crate) fn training() -> (Folder, Value) {
    let folder = Folder::new();
    data_set(&folder, 40, 16);
    let config = json!({
        "format_version": 1,
        "name": "shared",
        "dataset": "waves",
        "network": {
            "img_resolution": 16, "in_channels": 3, "out_channels": 1, "model_channels": 8,
            "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [], "dropout": 0.1, "augment_dim": 0
        },
        "precondition": { "mode": "guarded", "sigma_data": 0.5 },
        "conditions": ["observation", "noise-diagonal"],
        "interpolant": { "name": "edm" },
        "objective": { "name": "eps", "tasks": ["random-inpainting", "gaussian-blur"], "sigma_y": 0.05 },
        "noise_law": { "mean": -0.6, "deviation": 1.6, "sigma_min": 0.002, "sigma_max": 80.0 },
        "loss_weight": "balanced",
        "batch": 8,
        "micro_batch": 2,
        "steps": 6,
        "learning_rate": 0.001,
        "warm_up": 2,
        "decay": "cosine",
        "ema": { "half_life": 100.0, "ramp": 0.1 },
        "seed": 1,
        "precision": "f32",
        "checkpoint_every": 2,
        "validation_images": 8
    });
    write(&folder, "c.json", &config);
    (folder, config)
}

pub(crate) fn write(folder: &Folder, name: &str, config: &Value) {
    std::fs::write(folder.path(name), config.to_string()).unwrap();
}

/// The weights of a trained network, after the header that tells its origin.
pub(crate) fn weights(folder: &Folder, out: &str) -> Vec<u8> {
    let bytes = std::fs::read(folder.path(&format!("{out}/shared.safetensors"))).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    bytes[8 + usize::try_from(header).unwrap()..].to_vec()
}

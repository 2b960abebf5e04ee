//! Trains a small denoiser on images that are made here, goes on with more steps, and keeps the network.
//!
//! A training is a [`TrainConfig`] and images in bytes; the folder of the run is what it goes on from.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use eps_math::{Interpolant, Precondition, PreconditionMode};
use eps_model::checkpoint::{self, CheckpointConfig, Provenance, Storage};
use eps_model::tch::{Device, Tensor};
use eps_model::{Precision, SongUNetConfig, TrainingRecord};
use eps_train::{
    Decay, Ema, FORMAT_VERSION, Images, LossWeight, NoiseLaw, Objective, TrainConfig, changes,
    train,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Grey images of 8×8 pixels: one half dark and one half bright, the border at any column.
    let image = |i: usize| (0..64).map(move |pixel| if pixel % 8 < i % 9 { 30 } else { 220_u8 });
    let pixels: Vec<u8> = (0..45).flat_map(image).collect();
    let all = Tensor::from_slice(&pixels).view([45, 1, 8, 8]);
    let images =
        Images { train: all.narrow(0, 0, 36), validation: all.narrow(0, 36, 9), classes: None };

    let network = SongUNetConfig {
        model_channels: 8,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![],
        ..SongUNetConfig::ddpmpp(8, 1, 1)
    };
    let config = TrainConfig {
        format_version: FORMAT_VERSION,
        name: "halves".to_owned(),
        dataset: "made in the example".to_owned(),
        network: network.clone().into(),
        precondition: Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.75 },
        parameterisation: None,
        conditions: vec![],
        interpolant: Interpolant::Edm,
        objective: Objective::Denoise,
        noise_law: NoiseLaw::edm(),
        loss_weight: LossWeight::Edm,
        start: None,
        batch: 16,
        micro_batch: None,
        gradient_checkpointing: false,
        steps: 20,
        learning_rate: 3e-3,
        warm_up: 5,
        decay: Decay::None,
        ema: Ema { half_life: 100.0, ramp: None },
        seed: 0,
        precision: Precision::F32,
        checkpoint_every: 20,
        validation_images: 9,
    };
    let folder = tempfile::tempdir()?;
    let losses = || -> Result<Vec<f64>, Box<dyn std::error::Error>> {
        let mut losses = vec![];
        for line in std::fs::read_to_string(folder.path().join("metrics.jsonl"))?.lines() {
            let record: serde_json::Value = serde_json::from_str(line)?;
            losses.push(record["validation_loss"].as_f64().ok_or("a line without a loss")?);
        }
        Ok(losses)
    };
    let _ = train(&config, None, &images, folder.path(), Device::Cpu)?;
    println!("validation loss after 20 steps: {:.3}", losses()?[0]);

    // The same folder, more steps: the run goes on, and says so.
    let longer = TrainConfig { steps: 60, ..config };
    let denoiser = train(&longer, None, &images, folder.path(), Device::Cpu)?;
    let found = losses()?;
    println!("after 60: {:.3}; changed in the run: {}", found[2], changes(folder.path())?.len());
    assert!(found.len() == 3 && found[2] < found[0], "{found:?}");

    let provenance = Provenance {
        source: "trained on images of two halves".to_owned(),
        licence: "CC0-1.0".to_owned(),
        command: "cargo run -p eps-train --example train".to_owned(),
        training: TrainingRecord {
            config: Some(serde_json::to_value(&longer)?),
            ..TrainingRecord::default()
        },
        start: None,
    };
    let prior = CheckpointConfig::edm_prior("halves".to_owned(), network.into(), provenance);
    let prior = CheckpointConfig { precondition: longer.precondition, ..prior };
    let path = folder.path().join("halves.safetensors");
    checkpoint::save(&path, denoiser.network(), &prior, Storage::F16)?;
    println!("halves.safetensors: {} bytes", std::fs::metadata(&path)?.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}

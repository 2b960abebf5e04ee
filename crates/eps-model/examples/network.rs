//! Builds a small network, keeps it in a file and asks it about a measurement.
//!
//! Its weights are random, so that its answers mean nothing: `eps train` and `eps import` make networks whose answers do.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use eps_math::operator::{Mask, Operator};
use eps_math::{Level, Shape};
use eps_model::checkpoint::{self, CheckpointConfig, Provenance, Storage};
use eps_model::tch::{Device, Kind, Tensor};
use eps_model::{
    Denoiser as _, Measurement, Precision, Query, QueryNoise, SongUNetConfig, TensorOperator,
    TrainingRecord, UNet, level_fields,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // DDPM++ for grey images of 8×8 pixels, with two levels and 8 channels at the first.
    let architecture = SongUNetConfig {
        model_channels: 8,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![4],
        ..SongUNetConfig::ddpmpp(8, 1, 1)
    };
    let network = UNet::new(architecture.clone(), Device::Cpu, 0)?;
    println!("{} parameters", network.parameter_count());

    // A file has the weights, what the network is, where it comes from, and digests of all that.
    let provenance = Provenance {
        source: "random weights".to_owned(),
        licence: "CC0-1.0".to_owned(),
        command: "cargo run -p eps-model --example network".to_owned(),
        training: TrainingRecord { steps: Some(0), ..TrainingRecord::default() },
        start: None,
    };
    let config = CheckpointConfig::edm_prior("tiny".to_owned(), architecture.into(), provenance);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tiny.safetensors");
    checkpoint::save(&path, &network, &config, Storage::F16)?;
    let prior = checkpoint::load(&path, Device::Cpu, Precision::F32)?;
    println!("{} bytes, digests compared: {}", std::fs::metadata(&path)?.len(), prior.has_digests);

    // The upper half of an image was measured with σ_y = 0.1; where is the network asked at σ_t = 1?
    let shape = Shape::new(1, 8, 8)?;
    let mask = Mask::new(shape, (0..64).map(|pixel| pixel < 32).collect())?;
    let operator = TensorOperator::new(vec![Operator::Mask(mask)], Device::Cpu)?;
    let y = Tensor::full([1, 1, 8, 8], 0.5, (Kind::Double, Device::Cpu)) * operator.lift(&ones());
    let measurement = Measurement::new(operator, &y, 0.1)?;
    let level = level_fields(&[Level::edm(1.0)], Device::Cpu);
    let pivot = measurement.pivot(&Tensor::zeros_like(&y), &level)?;
    let noise =
        QueryNoise::Anisotropic { measurement: &measurement, sigma_star: &pivot.sigma_star };
    let answer = prior.denoiser.denoise(&Query { mu: &pivot.mu_star, level: &level, noise })?;

    let [measured, hidden] = [0, 7].map(|row| pivot.mu_star.double_value(&[0, 0, row, 0]));
    println!("the pivot: {measured:.3} where y was measured, {hidden:.3} where it was not");
    println!("E[x₀ | x_t, y], as far as this network goes: {:?}", answer.size());
    assert_eq!(answer.size(), [1, 1, 8, 8]);
    // μ⋆ = (y/σ_y² + x_t/σ_t²)/(1/σ_y² + 1/σ_t²) = 50/101 where y was measured, x_t elsewhere.
    assert!((measured - 50.0 / 101.0).abs() < 1e-12 && hidden == 0.0);
    Ok(())
}

fn ones() -> Tensor {
    Tensor::ones([1, 1, 8, 8], (Kind::Double, Device::Cpu))
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}

//! Measures some pixels of a picture, with noise, and draws four samples of the picture behind them.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use eps::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = "data/networks/fashion/all-tasks.safetensors".as_ref();
    let network = Network::load(path, None, Device::Cpu, Precision::F32)?;
    // A test image, some pixels of it with noise; `MeasurementSet::read` reads a file of `eps measure`.
    let images = dataset::load("fashion-mnist", Split::Test, None)?;
    let set = simulate(&images, &[0], Task::RandomInpainting, 0.05, 0)?;
    let settings = Settings { samples: 4, ..Settings::default() };
    let samples = restore(&network, &set, &settings)?;
    assert_eq!(samples.samples().len(), 4 * set.shape().len()); // on the scale [-1, 1]
    let (mean, truth) = (samples.posterior_mean(), set.truth().unwrap_or_default());
    let squares = mean.iter().zip(truth).map(|(mean, x)| (f64::from(*mean) - x).powi(2));
    println!("rms error of the mean: {:.3}", (squares.sum::<f64>() / truth.len() as f64).sqrt());
    Ok(())
}

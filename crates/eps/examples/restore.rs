//! Draws four samples of the image behind a measurement.

use eps::data::MeasurementSet;
use eps::math::Schedule;
use eps::model::{Measurement, Precision, TensorOperator, checkpoint};
use eps::sample::{Eps, NoiseKeys, Sample as _, Solver};
use eps::tch::{Device, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = "data/networks/fashion/all-tasks.safetensors".as_ref();
    let network = checkpoint::load(path, Device::Cpu, Precision::F32)?.denoiser;
    let set = MeasurementSet::read("measurement.h5".as_ref())?; // as `eps measure` writes it
    let operator = TensorOperator::new(vec![set.operator(0).clone()], Device::Cpu)?;
    let (y, range) = (Tensor::from_slice(set.measurement(0)), set.range());
    let dims = [1, range.channels, range.height, range.width].map(|side| side as i64);
    let measurement = Measurement::new(operator, &y.view(dims), set.sigma_y())?;
    let eps = Eps { denoiser: &network, measurement: &measurement };
    let sigmas = Schedule::karras().sigmas(20)?; // 20 network calls
    let keys = NoiseKeys::image_major(0, 0..1, 4); // seed 0, image 0, four samples
    let samples = Solver::Euler.sample(&eps, &sigmas, &keys, set.shape(), Device::Cpu)?;
    assert_eq!(samples.size()[0], 4); // [4, C, H, W] on the scale [-1, 1]
    Ok(())
}

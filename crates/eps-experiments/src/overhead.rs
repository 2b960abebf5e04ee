//! What EPS adds to the denoiser at the paper's size: the pivot and the wider first convolution.

use std::time::Instant;

use eps_math::rng::Stream;
use eps_math::{Draw, Level, Precondition, PreconditionMode, Shape, Task};
use eps_model::{
    ComputeError, Denoiser as _, DevicePrecision as _, Measurement, NetworkDenoiser, Precision,
    Query, QueryNoise, SongUNetConfig, TensorOperator, UNet, batch, extent, level_fields,
};
use eps_results::Overhead;
use tch::{Cuda, Device, Kind, Tensor};

use crate::error::Result;

/// The sides of FFHQ-64.
const SHAPE: Shape = Shape { channels: 3, height: 64, width: 64 };

/// EDM's channels at FFHQ-64: 128, twice that below full size.
const CHANNEL_MULT: [usize; 4] = [1, 2, 2, 2];

/// Times everything on a device, each part alone.
///
/// # Errors
/// Those of libtorch.
pub(crate) fn measure_overhead(
    device: Device,
    precision: Precision,
    runs: usize,
) -> Result<Overhead> {
    let _guard = tch::no_grad_guard();
    let image = |channels: usize| {
        let values = Stream::named(0, "image").normals(channels * SHAPE.plane());
        batch(&values, Shape { channels, ..SHAPE }, device)
    };
    let x = image(SHAPE.channels);
    let level = level_fields(&[Level::edm(1.0)], device);
    let config = SongUNetConfig {
        channel_mult: CHANNEL_MULT.to_vec(),
        ..SongUNetConfig::ddpmpp(SHAPE.height, SHAPE.channels, SHAPE.channels)
    };
    let precondition = Precondition { mode: PreconditionMode::Scalar, sigma_data: 0.5 };
    let network = UNet::new(config.clone(), device, 0)?;
    let denoiser = NetworkDenoiser::new(network, precondition, vec![], precision);
    let query = Query { mu: &x, level: &level, noise: QueryNoise::Isotropic };
    let denoiser_seconds = median(device, runs, || denoiser.denoise(&query))?;

    let (mut pivot_seconds, mut pivot_task) = (0.0, Task::RandomInpainting);
    for task in Task::ALL {
        let operator = task.draw(Draw::Test, SHAPE, &Stream::named(0, "operator"))?;
        let operator = TensorOperator::new(vec![operator], device)?;
        let y = Stream::named(0, "y").normals(operator.range().len());
        let y = batch(&y, operator.range(), device);
        let measurement = Measurement::new(operator, &y, 0.05)?;
        let seconds = median(device, runs, || Ok(measurement.pivot(&x, &level)?.mu_star))?;
        if seconds > pivot_seconds {
            (pivot_seconds, pivot_task) = (seconds, task);
        }
    }

    let convolution = |channels: usize| {
        let x = image(channels).to_kind(precision.kind());
        let sides = [extent(config.model_channels), extent(channels), 3, 3];
        let weight = Tensor::zeros(sides, (precision.kind(), device));
        let convolve = || x.conv2d(&weight, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1);
        median(device, runs, || Ok(convolve()))
    };
    let convolution_seconds = (convolution(6)? - convolution(3)?).max(0.0);
    Ok(Overhead {
        runs,
        denoiser_seconds,
        pivot_seconds,
        pivot_task,
        convolution_seconds,
        share: (pivot_seconds + convolution_seconds) / denoiser_seconds,
    })
}

/// The median time of some runs after one that is not counted; waits for the device.
fn median(
    device: Device,
    runs: usize,
    run: impl Fn() -> Result<Tensor, ComputeError>,
) -> Result<f64, ComputeError> {
    let timed = || {
        let start = Instant::now();
        let result = run()?;
        if let Device::Cuda(index) = device {
            Cuda::synchronize(extent(index));
        }
        debug_assert!(result.kind() != Kind::Bool, "a result that is used");
        Ok(start.elapsed().as_secs_f64())
    };
    timed()?;
    let mut seconds = (0..runs).map(|_| timed()).collect::<Result<Vec<f64>, ComputeError>>()?;
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    Ok(if seconds.len() % 2 == 1 {
        seconds[middle]
    } else {
        0.5 * (seconds[middle - 1] + seconds[middle])
    })
}

//! Restores what an operator of your own measured: two functions, A and Aᵀ, and every sampler works with them.
//!
//! The operator here is a double exposure: the image and, half as bright, the image moved to the right.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::sync::Arc;

use eps::math::operator::check::adjoint_gap;
use eps::math::operator::{Expression, Sparse};
use eps::math::rng::Stream;
use eps::metrics::fidelity::psnr;
use eps::model::{Measurement, TensorOperator, batch, expression_gap};
use eps::prelude::*;
use eps::sample::{Eps, NoiseKeys};
use eps::tch::{Kind, no_grad_guard};

type Error = Box<dyn std::error::Error>;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const SAMPLES: u64 = 4;

/// y[r, c] = x[r, c] + x[r, c − by] / 2
#[derive(Debug)]
struct DoubleExposure {
    shape: Shape,
    by: usize,
}

impl DoubleExposure {
    /// The image and the half of it that `from` and `to` are apart; what leaves it on one side is lost.
    fn moved(&self, values: &[f64], from: usize, to: usize) -> Vec<f64> {
        let mut sum = values.to_vec();
        let width = self.shape.width;
        for (sum, row) in sum.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
            for column in 0..width - self.by {
                sum[column + to] += 0.5 * row[column + from];
            }
        }
        sum
    }
}

impl LinearMap for DoubleExposure {
    fn domain(&self) -> Shape {
        self.shape
    }

    fn range(&self) -> Shape {
        self.shape
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.moved(x, 0, self.by)
    }

    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.moved(y, self.by, 0)
    }

    // For GPUs: every pixel, and half of the one that is `by` to its left.
    fn expression(&self) -> Option<Expression> {
        let n = self.shape.len();
        let has_left = |i: &usize| i % self.shape.width >= self.by;
        let moved = (0..n).filter(has_left).map(|i| (i, i - self.by, 0.5));
        let entries = (0..n).map(|i| (i, i, 1.0)).chain(moved).collect();
        Some(Expression::Sparse(Sparse { columns: n, rows: n, entries }))
    }
}

fn main() -> Result<(), Error> {
    let path = format!("{REPOSITORY}/data/networks/fashion/all-tasks.safetensors");
    let network = eps::model::checkpoint::load(path.as_ref(), Device::Cpu, Precision::F32)?;

    let folder = format!("{REPOSITORY}/data/fashion-mnist");
    let images = eps::data::fashion_mnist::load(Split::Test, &[folder])?;
    let (shape, truth, sigma_y) = (images.shape(), images.to_signed(3), 0.05);
    let map: Arc<dyn LinearMap> = Arc::new(DoubleExposure { shape, by: 7 });
    println!("gap of the adjoint: {:.0e}", adjoint_gap(map.as_ref(), 0));
    if let Some(gap) = expression_gap(map.as_ref(), Device::Cpu) {
        println!("gap of the expression: {gap:.0e}");
    }
    let noise = Stream::named(0, "noise").normals(shape.len());
    let y: Vec<f64> =
        map.apply(&truth).iter().zip(noise).map(|(clean, z)| clean + sigma_y * z).collect();

    // From here on it is as for operators that are built in. One measurement serves all samples.
    let operator = TensorOperator::of_maps(vec![map], Device::Cpu)?;
    let measurement = Measurement::new(operator, &batch(&y, shape, Device::Cpu), sigma_y)?;
    let _guard = no_grad_guard();
    let eps = Eps { denoiser: &network.denoiser, measurement: &measurement };
    let sigmas = Schedule::karras().sigmas(20)?;
    let keys = NoiseKeys::image_major(0, 0..1, SAMPLES);
    let samples = Solver::Euler.sample(&eps, &sigmas, &keys, shape, Device::Cpu)?;

    let mean = samples.mean_dim([0i64].as_slice(), false, Kind::Double).clamp(-1.0, 1.0);
    let mean = Vec::<f64>::try_from(mean.flatten(0, -1))?;
    println!("y: PSNR {:.1} dB", psnr(&truth, &y, 2.0)?);
    println!("mean of {SAMPLES} samples: PSNR {:.1} dB", psnr(&truth, &mean, 2.0)?);
    if let Some(report) = measurement.operator().krylov_report() {
        println!("steps of conjugate gradients for a pivot: {:.1}", report.pivots.mean());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs_to_the_end() -> Result<(), super::Error> {
        super::main()
    }
}

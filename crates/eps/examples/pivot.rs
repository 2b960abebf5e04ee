//! Walks from noise to an image by hand, and draws what the network is asked and answers at some of the steps.
//!
//! A row of the picture for each of these noise levels, the highest above: the state x_t, the measurement y, the pivot, the network's
//! answer, the truth.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::path::Path;

use eps::data::png::{Picture, write_png};
use eps::data::{Split, fashion_mnist};
use eps::math::operator::LinearMap as _;
use eps::math::rng::Stream;
use eps::math::{Draw, Level, Schedule, Task};
use eps::model::{
    Denoiser as _, Measurement, Precision, Query, QueryNoise, TensorOperator, batch, checkpoint,
    level_fields,
};
use eps::pictures::contact_sheet;
use eps::tch::{Device, Tensor, no_grad_guard};

type Error = Box<dyn std::error::Error>;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const CALLS: usize = 20;
/// The steps that are drawn, counted from 0.
const DRAWN: [usize; 5] = [4, 8, 11, 14, 18];

fn main() -> Result<(), Error> {
    let file = std::env::args().nth(1);
    draw(file.as_deref().unwrap_or("pivot.png").as_ref())
}

fn draw(file: &Path) -> Result<(), Error> {
    let path = format!("{REPOSITORY}/data/networks/fashion/random-inpainting.safetensors");
    let network = checkpoint::load(path.as_ref(), Device::Cpu, Precision::F32)?.denoiser;

    // A test image, three tenths of whose pixels are measured.
    let images = fashion_mnist::load(Split::Test, &[format!("{REPOSITORY}/data/fashion-mnist")])?;
    let (shape, truth) = (images.shape(), images.to_signed(0));
    let sigma_y = 0.05;
    let operator = Task::RandomInpainting.draw(Draw::Test, shape, &Stream::named(0, "mask"))?;
    let noise = Stream::named(0, "noise").normals(operator.range().len());
    let y: Vec<f64> =
        operator.apply(&truth).iter().zip(noise).map(|(clean, z)| clean + sigma_y * z).collect();
    let on_device = TensorOperator::new(vec![operator], Device::Cpu)?;
    let measurement = Measurement::new(on_device, &batch(&y, shape, Device::Cpu), sigma_y)?;

    let _guard = no_grad_guard();
    let picture = |x: &Tensor| -> Result<Picture, Error> {
        Ok(Picture { shape, values: Vec::try_from(x.flatten(0, -1))? })
    };
    let truth = Picture { shape, values: truth };
    let sigmas = Schedule::karras().sigmas(CALLS)?;
    let start = Stream::named(0, "start").normals(shape.len());
    let mut x_t = batch(&start, shape, Device::Cpu) * sigmas[0];
    let mut rows = Vec::new();
    for (step, sigmas) in sigmas.windows(2).enumerate() {
        let [sigma, next] = [sigmas[0], sigmas[1]];
        let level = level_fields(&[Level::edm(sigma)], Device::Cpu);
        let pivot = measurement.pivot(&x_t, &level)?;
        let noise =
            QueryNoise::Anisotropic { measurement: &measurement, sigma_star: &pivot.sigma_star };
        let answer = network.denoise(&Query { mu: &pivot.mu_star, level: &level, noise })?;
        if DRAWN.contains(&step) {
            println!("a row at σ_t = {sigma:.2}");
            for x in [&x_t, measurement.lifted_y(), &pivot.mu_star, &answer] {
                rows.push(picture(x)?);
            }
            rows.push(truth.clone());
        }
        // Euler's step of the probability flow towards the answer.
        x_t = &answer + (&x_t - &answer) * (next / sigma);
    }
    let Picture { shape, values } = contact_sheet(&rows, 5);
    write_png(file, shape, &values)?;
    println!("{}", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_draws_a_picture() -> Result<(), super::Error> {
        let folder = tempfile::tempdir()?;
        super::draw(&folder.path().join("pivot.png"))
    }
}

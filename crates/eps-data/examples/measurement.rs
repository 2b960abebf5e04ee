//! A measurement of one's own in a file that `eps restore` takes: a picture, a mask of it, and the noise.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::path::Path;

use eps_data::png::{encode_png, read_png};
use eps_data::{ImageProvenance, MeasurementSet};
use eps_files::write_bytes;
use eps_math::Shape;
use eps_math::operator::OperatorSpec;
use eps_math::rng::Stream;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let folder = std::env::temp_dir().join(format!("eps-measurement-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let set = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    let set = set?;
    println!("{} measurement of shape {}, σ_y = {}", set.len(), set.range(), set.sigma_y());
    Ok(())
}

/// Writes a picture, reads it, hides a quarter of it, and writes what was measured; returns what is read again.
fn measure(folder: &Path) -> Result<MeasurementSet, Error> {
    // A grey ramp; a photograph would be read in the same way.
    let shape = Shape::new(1, 16, 16)?;
    let ramp: Vec<f64> = (0..256).map(|i| f64::from(i) / 127.5 - 1.0).collect();
    let picture = folder.join("ramp.png");
    write_bytes(&picture, &encode_png(shape, &ramp)?)?;
    let x_0 = read_png(&picture)?.values;

    // 1 where a pixel is observed: the upper left quarter is missing.
    let observed = (0..256).map(|i| u8::from(i / 16 >= 8 || i % 16 >= 8)).collect();
    let sigma_y = 0.05;
    let noise = Stream::named(0, "noise").normals(256);
    let y = x_0.iter().zip(noise).map(|(clean, z)| clean + sigma_y * z).collect();
    let provenance = ImageProvenance {
        name: "ramp".to_owned(),
        source: "computed".to_owned(),
        licence: "CC0-1.0".to_owned(),
        sha256: eps_files::sha256_file(&picture)?,
    };
    let operators = vec![OperatorSpec::Mask { observed }];
    let path = folder.join("ramp.h5");
    MeasurementSet::new(shape, y, operators, sigma_y, provenance)?.with_truth(x_0)?.write(&path)?;
    Ok(MeasurementSet::read(&path)?)
}

#[test]
fn what_is_written_is_read() {
    main().unwrap();
}

//! Turns the projections of a living cell, as a microscope took them, into measurements that `eps restore` takes.
//!
//! ```sh
//! cargo run --release --example hl60 -- SERIES.h5 ANGLES.txt ROW VIEWS OUT
//! ```
//!
//! The series holds the phase that light gained on its way through the cell from 140 directions
//! (`qpi_0/phase/raw`, …: `[140, 140]`, in radians). Where rays are straight, each row of the phase is a line of a
//! parallel-beam sinogram of a slice of the cell. The image is the refractive index above that of the medium. OUT gets y.npy `[1, 64, VIEWS]` and operator.json for VIEWS of the
//! directions, evenly spread over half a turn, and all-y.npy and all-operator.json for all of them.

use std::f64::consts::PI;
use std::path::Path;

use eps_data::hdf5_file::read_hdf5_array;
use eps_data::npy::{NpyValues, write_npy};
use eps_files::write_bytes;
use eps_math::operator::OperatorSpec;

type Error = Box<dyn std::error::Error>;

/// The sides of a slice, in pixels of 2×2 of the camera's.
const SIDE: usize = 64;

/// Where the axis of rotation falls on the detector of 64 positions: there the slices that fit all directions best by least
/// squares leave the least.
const AXIS: f64 = 31.75;

/// What a pixel adds to the phase for each unit of refractive index above the medium's: 2π times its side over the
/// wavelength, in radians.
const RADIANS: f64 = 2.0 * PI * (2.0 * 0.139) / 0.647;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [series, angles, row, views, out] = &arguments[..] else {
        return Err("usage: hl60 SERIES.h5 ANGLES.txt ROW VIEWS OUT".into());
    };
    let radians = numbers(&std::fs::read_to_string(angles)?)?;
    let (row, views): (usize, usize) = (row.parse()?, views.parse()?);
    // Straight rays see the same from the other side.
    let turned = |angle: &f64| angle - radians[0] < PI;
    let half = radians.iter().filter(|angle| turned(angle)).count();
    if !(1..=half).contains(&views) {
        return Err(format!("VIEWS is {views}: it must be from 1 to {half}").into());
    }
    let lines = radians.iter().enumerate().map(|(view, _)| {
        let frame = read_hdf5_array(Path::new(series), &format!("qpi_{view}/phase/raw"))?;
        let &[height, width] = &frame.dims[..] else {
            return Err(Error::from(format!("a frame has {} dimensions, not 2", frame.dims.len())));
        };
        line(&frame.values, (height, width), row)
    });
    let lines: Vec<Vec<f64>> = lines.collect::<Result<_, Error>>()?;
    let out = Path::new(out);
    std::fs::create_dir_all(out)?;
    let all = (0..radians.len()).collect();
    for (prefix, chosen) in [("", spread(half, views)), ("all-", all)] {
        let (dims, y) = sinogram(&chosen.iter().map(|view| &lines[*view][..]).collect::<Vec<_>>());
        write_npy(&out.join(format!("{prefix}y.npy")), &dims, NpyValues::F64(&y))?;
        let angles_degrees = chosen.iter().map(|view| radians[*view].to_degrees()).collect();
        let radon = OperatorSpec::Radon { angles_degrees, axis: Some(AXIS) };
        let operator = OperatorSpec::Scale { factor: RADIANS, of: Box::new(radon) };
        let text = serde_json::to_vec_pretty(&operator)?;
        write_bytes(&out.join(format!("{prefix}operator.json")), &text)?;
    }
    Ok(())
}

/// The numbers of a text whose lines from a # on are comments.
fn numbers(text: &str) -> Result<Vec<f64>, std::num::ParseFloatError> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).map(str::parse).collect()
}

/// `count` of `all` directions, evenly spread.
fn spread(all: usize, count: usize) -> Vec<usize> {
    (0..count).map(|i| (i * all + count / 2) / count).collect()
}

/// The line of a sinogram that row `row` of a frame is: means of 2×2 pixels, the middle 64 of them.
fn line(frame: &[f64], (height, width): (usize, usize), row: usize) -> Result<Vec<f64>, Error> {
    let top = row / 2 * 2;
    if width / 2 < SIDE || top + 1 >= height {
        return Err(format!(
            "row {row} of a frame of {height}×{width} pixels: the frame must have 128 columns at least, and the row must \
             be one of its rows"
        )
        .into());
    }
    let left = (width / 2 - SIDE).div_ceil(2);
    let at = |r: usize, c: usize| frame[r * width + c];
    let mean = |c: usize| (at(top, c) + at(top, c + 1) + at(top + 1, c) + at(top + 1, c + 1)) / 4.0;
    Ok((0..SIDE).map(|position| mean(2 * (left + position))).collect())
}

/// Lines, one a direction, as the measurement `[1, position, direction]`.
fn sinogram(lines: &[&[f64]]) -> ([usize; 3], Vec<f64>) {
    let y = (0..SIDE).flat_map(|position| lines.iter().map(move |line| line[position])).collect();
    ([1, SIDE, lines.len()], y)
}

#[test]
fn lines_are_means_of_pixels_in_the_middle() {
    // The value of a pixel is its column.
    let frame: Vec<f64> = (0..140 * 140).map(|i| f64::from(i % 140)).collect();
    let of_row = line(&frame, (140, 140), 71).unwrap();
    assert_eq!((of_row[0], of_row[63]), (6.5, 132.5));
    assert_eq!(numbers("# radians\n0.5\n1.5 # the second\n"), Ok(vec![0.5, 1.5]));
    assert_eq!(spread(140, 4), [0, 35, 70, 105]);
    let (dims, y) = sinogram(&[&of_row, &[0.0; SIDE]]);
    assert_eq!((dims, y[0], y[1], y[126]), ([1, 64, 2], 6.5, 0.0, 132.5));
    assert!(line(&frame, (140, 140), 140).is_err());
}

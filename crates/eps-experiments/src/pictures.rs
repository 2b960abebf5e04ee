//! The pictures of the report: what each method makes of each image.

use std::path::Path;

use eps_data::png::{Picture, magnify, mosaic, write_png};
use eps_math::{Shape, whole};
use eps_results::{Method, Row, Scope, TaskResults};

use crate::error::Result;
use crate::output::Computed;
use crate::pixels::moments;
use crate::restoration::Restored;

/// The standard deviation, on the scale [-1, 1], at the upper end of the colour scale.
pub const SD_MAX: f64 = eps::pictures::SD_WHITE;

/// The label of the column of standard deviations.
pub const SD_LABEL: &str = "standard deviation";

/// Images that are shown of each task.
const ROWS: usize = 8;

/// Further samples that are shown beside the first.
const SAMPLES: usize = 2;

/// Ten colours of equal distance on the map "viridis", from 0 to [`SD_MAX`].
pub const COLOURS: [u32; 10] = [
    0x44_01_54, 0x48_28_78, 0x3e_49_89, 0x31_68_8e, 0x26_82_8e, 0x1f_9e_89, 0x35_b7_79, 0x6e_ce_58,
    0xb5_de_2b, 0xfd_e7_25,
];

/// One column of a task's grid: a picture of each image.
#[derive(Debug)]
pub struct LabelledPictures {
    /// What the pictures show.
    pub label: String,
    /// One a shown image.
    pub pictures: Vec<Picture>,
}

/// The columns of a task's grid: truth, measurement, linear MMSE, a sample of each number of calls,
/// further samples, mean and standard deviation of all samples of the most calls, and the training
/// image nearest to a sample.
#[must_use]
pub fn columns(results: &TaskResults, computed: &Computed) -> Vec<LabelledPictures> {
    let problem = &computed.problem;
    let shape = problem.set.shape();
    let images = problem.images.len().min(ROWS);
    let column = |label: String, values: &dyn Fn(usize) -> Vec<f64>| LabelledPictures {
        label,
        pictures: (0..images).map(|image| Picture { shape, values: values(image) }).collect(),
    };
    let of =
        |all: &[f64], image: usize| all[image * shape.len()..(image + 1) * shape.len()].to_vec();
    let truth = problem.truth();
    let mut columns = vec![
        column("truth".to_owned(), &|image| of(truth, image)),
        column("measurement".to_owned(), &|image| problem.picture(image).values),
    ];
    let mut add_sample = |label: String, restoration: &Restored, sample: usize| {
        columns.push(column(label, &|image| sample_of(restoration, shape, image, sample)));
    };
    if let Some(linear) = computed.restoration(Method::LinearMmse) {
        add_sample("linear MMSE".to_owned(), linear, 0);
    }
    let Some(scope) = first_scope(&results.table) else {
        return columns;
    };
    let in_table = results.table.iter().filter(|row| row.mean_of.is_none()).map(|row| row.method);
    let of_scope: Vec<Method> = in_table
        .filter(|method| matches!(method, Method::Eps { network, .. } if *network == scope))
        .collect();
    for method in &of_scope {
        let calls = method.calls();
        let unit = if calls == 1 { "call" } else { "calls" };
        if let Some(restoration) = computed.restoration(*method) {
            add_sample(format!("EPS, {calls} {unit}"), restoration, 0);
        }
    }
    let Some(last) = of_scope.last().and_then(|method| computed.restoration(*method)) else {
        return columns;
    };
    for sample in 1..last.per_image.min(1 + SAMPLES) {
        add_sample(format!("sample {}", sample + 1), last, sample);
    }
    if last.per_image > 1 {
        let (mean, sd) = moments(last, shape);
        let count = last.per_image;
        columns.push(column(format!("mean of {count}"), &|image| of(&mean, image)));
        let pictures = (0..images).map(|image| heat(shape, &of(&sd, image))).collect();
        columns.push(LabelledPictures { label: SD_LABEL.to_owned(), pictures });
    }
    if let Some((found, nearest)) = results.neighbours.as_ref().zip(computed.neighbours.as_ref()) {
        let label = format!("training image nearest to {}", found.method.label());
        columns.push(column(label, &|image| nearest[image].clone()));
    }
    columns
}

/// The first scope of EPS's networks that appears in rows.
fn first_scope(rows: &[Row]) -> Option<Scope> {
    rows.iter().find_map(|row| match row.method {
        Method::Eps { network, .. } => Some(network),
        _ => None,
    })
}

fn sample_of(restoration: &Restored, shape: Shape, image: usize, sample: usize) -> Vec<f64> {
    let start = (image * restoration.per_image + sample) * shape.len();
    restoration.samples[start..start + shape.len()].iter().map(|v| f64::from(*v)).collect()
}

/// Standard deviations, averaged over channels, as a colour picture.
fn heat(shape: Shape, sd: &[f64]) -> Picture {
    let plane = shape.plane();
    let mut values = vec![0.0; 3 * plane];
    for pixel in 0..plane {
        let channels = (0..shape.channels).map(|channel| sd[channel * plane + pixel]);
        let mean = channels.sum::<f64>() / shape.channels as f64;
        let place = (mean / SD_MAX).clamp(0.0, 1.0) * (COLOURS.len() - 1) as f64;
        let below = whole(place).min(COLOURS.len() - 2);
        for (channel, shift) in [16, 8, 0].into_iter().enumerate() {
            let level = |index: usize| f64::from(COLOURS[index] >> shift & 0xff);
            let share = place - below as f64;
            let value = level(below) * (1.0 - share) + level(below + 1) * share;
            values[channel * plane + pixel] = value / 127.5 - 1.0;
        }
    }
    Picture { shape: Shape { channels: 3, ..shape }, values }
}

/// Writes pictures side by side, four times as large, a row an image.
///
/// # Errors
/// A file that cannot be written.
pub fn write_mosaic(path: &Path, rows: &[Vec<Picture>]) -> Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let colour: Vec<Vec<Picture>> =
        rows.iter().map(|row| row.iter().map(in_colour).collect()).collect();
    let cells: Vec<Option<&Picture>> =
        colour.iter().flat_map(|row| (0..columns).map(move |column| row.get(column))).collect();
    let picture = magnify(&mosaic(&cells, columns, 1), 4);
    write_png(path, picture.shape, &picture.values)?;
    Ok(())
}

/// A grey picture in three equal channels.
fn in_colour(picture: &Picture) -> Picture {
    if picture.shape.channels == 3 {
        return picture.clone();
    }
    let shape = Shape { channels: 3, ..picture.shape };
    Picture { shape, values: picture.values.repeat(3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colour_scale_ends_where_it_says() {
        let shape = Shape::new(1, 1, 3).unwrap();
        let picture = heat(shape, &[0.0, SD_MAX, 9.0]);
        let byte = |channel: usize, pixel: usize| {
            (127.5 * (picture.values[channel * 3 + pixel] + 1.0)).round() as u32
        };
        let colour = |pixel| byte(0, pixel) << 16 | byte(1, pixel) << 8 | byte(2, pixel);
        assert_eq!([colour(0), colour(1), colour(2)], [COLOURS[0], COLOURS[9], COLOURS[9]]);
    }

    #[test]
    fn a_mosaic_takes_grey_and_colour() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mosaic.png");
        let grey = Picture { shape: Shape::new(1, 2, 2).unwrap(), values: vec![0.0; 4] };
        let colour = Picture { shape: Shape::new(3, 2, 2).unwrap(), values: vec![1.0; 12] };
        write_mosaic(&path, &[vec![grey.clone(), colour], vec![grey.clone()]]).unwrap();
        let picture = eps_data::png::read_png(&path).unwrap();
        assert_eq!((picture.shape.height, picture.shape.width), (20, 20));
    }
}

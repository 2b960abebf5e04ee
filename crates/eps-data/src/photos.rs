//! Photographs cut into tiles: a data set of natural images out of a few large pictures.
//!
//! A photograph is resized to several sizes and each is cut into a centred grid of square tiles that do
//! not overlap. Tiles that show next to nothing are dropped, as are photographs of which none is left, those that are too small and
//! all but the largest of those that look the same.

use std::cmp::Reverse;
use std::fs;
use std::path::Path;

use eps_math::Shape;
use eps_math::rng::Stream;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data_set::{DataSetWriter, ImageSource};
use crate::picture_source::picture_names;
use crate::resize::lanczos;
use crate::{DataError, ImageProvenance, Raster, Shares, Split};

/// The side of the thumbnails by which photographs are compared.
const THUMBNAIL: usize = 24;

/// How photographs become tiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TileConfig {
    /// The side of a tile, in pixels.
    pub size: usize,
    /// The short sides that a photograph is resized to, in tiles; never above its own.
    pub scales: Vec<f64>,
    /// Photographs with a shorter side, in pixels, are dropped.
    pub shortest_side: usize,
    /// Tiles whose grey values have a smaller standard deviation, out of 255, are dropped.
    pub least_contrast: f64,
    /// Of photographs whose grey thumbnails correlate more, only the largest is kept; from 1 on, all are.
    pub most_correlation: f64,
    /// How photographs are shared out to the splits.
    pub shares: Shares,
}

impl TileConfig {
    /// The configuration of the data sets `photos-32` and `photos-64`, for tiles of any side.
    pub fn of_size(size: usize) -> Self {
        TileConfig {
            size,
            scales: vec![1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0],
            shortest_side: 128,
            least_contrast: 10.0,
            most_correlation: 0.95,
            shares: Shares { train: 80.0, validation: 10.0, test: 10.0, seed: 0 },
        }
    }
}

/// A photograph that was left out, with the reason.
pub type Dropped = (String, String);

/// What became of the photographs of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileReport {
    /// Photographs and tiles in each split, in the order of [`Split::ALL`].
    pub counts: [(usize, usize); 3],
    /// Photographs that were dropped.
    pub dropped: Vec<Dropped>,
}

/// Makes a data set of tiles out of a folder of photographs, taken recursively in the order of their
/// names. The tiles of a split are shuffled.
///
/// `progress` is called once for each photograph.
///
/// # Errors
///
/// Those of [`picture_names`]; [`DataError::Invalid`] where nothing is left of the pictures or the
/// configuration makes no sense, and those of decoding and writing.
pub fn write_tiles(
    folder: &Path,
    output: &Path,
    config: &TileConfig,
    provenance: ImageProvenance,
    progress: &(dyn Fn() + Sync),
) -> Result<TileReport, DataError> {
    if config.size == 0 || config.scales.iter().any(|scale| !(*scale >= 1.0 && scale.is_finite())) {
        return Err(DataError::invalid(
            "the tiles",
            format!("{config:?}"),
            "the side must be at least 1 pixel and every scale at least 1",
        ));
    }
    let names = picture_names(folder)?;
    let read = names
        .into_par_iter()
        .map(|name| {
            let photo = Photo::read(folder, name, config);
            progress();
            photo
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut dropped = Vec::new();
    let mut photos: Vec<Photo> = read
        .into_iter()
        .filter_map(|read| read.map_err(|unfit| dropped.push(unfit)).ok())
        .collect();
    drop_doubles(&mut photos, config, &mut dropped);
    photos.retain(|photo| {
        let has_tiles = !photo.tiles.is_empty();
        if !has_tiles {
            dropped.push((photo.name.clone(), "no tile has enough contrast".to_owned()));
        }
        has_tiles
    });

    let sources: Vec<ImageSource> = photos
        .iter()
        .map(|photo| ImageSource {
            split: config.shares.split_of(&photo.name),
            name: photo.name.clone(),
        })
        .collect();
    let shape = Shape { channels: 3, height: config.size, width: config.size };
    if photos.is_empty() {
        return Err(DataError::invalid(
            format!("the number of tiles in {}", folder.display()),
            0,
            "give larger photographs, or ask for smaller tiles",
        ));
    }
    let mut writer = DataSetWriter::create(output, shape, sources.clone(), config, provenance)?;
    let mut report = TileReport { dropped, ..TileReport::default() };
    for (split, counts) in Split::ALL.into_iter().zip(&mut report.counts) {
        let mut order: Vec<(u64, u32, &[u8])> = Vec::new();
        for (index, (photo, source)) in (0..).zip(photos.iter().zip(&sources)) {
            if source.split == split {
                counts.0 += 1;
                let stream = Stream::named(config.shares.seed, &photo.name);
                let keys = (1..).map(|i| stream.bits(i));
                order.extend(
                    keys.zip(photo.tiles.chunks_exact(shape.len()))
                        .map(|(key, tile)| (key, index, tile)),
                );
            }
        }
        counts.1 = order.len();
        if order.is_empty() {
            continue;
        }
        // Whoever takes the first images of a split takes some of every photograph.
        order.sort_unstable();
        let indices: Vec<u32> = order.iter().map(|(_, index, _)| *index).collect();
        writer.start_split(split, &indices, None)?;
        for (_, _, tile) in order {
            writer.append(split, tile)?;
        }
    }
    writer.finish()?;
    Ok(report)
}

/// A photograph, once it is cut.
struct Photo {
    name: String,
    pixels: usize,
    /// Grey, standardised.
    thumbnail: Vec<f64>,
    /// `[n, 3, size, size]`
    tiles: Vec<u8>,
}

impl Photo {
    /// Reads and cuts a photograph, or says why it is left out.
    fn read(
        folder: &Path,
        name: String,
        config: &TileConfig,
    ) -> Result<Result<Self, Dropped>, DataError> {
        let path = folder.join(&name);
        let content = fs::read(&path).map_err(DataError::io(&path, "read"))?;
        let raster = match Raster::decode_as_stored(&path, &content) {
            Ok(raster) => raster.to_colour(),
            Err(DataError::Transparent { .. }) => {
                return Ok(Err((name, "it is transparent".to_owned())));
            }
            Err(error) => return Err(error),
        };
        if raster.short_side() < config.shortest_side {
            let reason = format!("its short side has {} pixels", raster.short_side());
            return Ok(Err((name, reason)));
        }
        Ok(Ok(Photo {
            name,
            pixels: raster.width() * raster.height(),
            thumbnail: thumbnail(&raster),
            tiles: tiles(&raster, config),
        }))
    }
}

/// Removes all but the largest of photographs that look the same.
fn drop_doubles(photos: &mut Vec<Photo>, config: &TileConfig, dropped: &mut Vec<Dropped>) {
    if config.most_correlation >= 1.0 {
        return;
    }
    // From the largest to the smallest, so that the first of its like is the one to be kept.
    let mut order: Vec<usize> = (0..photos.len()).collect();
    order.sort_by_key(|&i| (Reverse(photos[i].pixels), i));
    let mut kept: Vec<usize> = Vec::new();
    let mut doubles = vec![None; photos.len()];
    for i in order {
        let alike = |&&k: &&usize| {
            correlation(&photos[i].thumbnail, &photos[k].thumbnail) > config.most_correlation
        };
        match kept.iter().find(alike) {
            Some(&k) => doubles[i] = Some(photos[k].name.clone()),
            None => kept.push(i),
        }
    }
    let mut of = doubles.into_iter();
    photos.retain(|photo| match of.next().flatten() {
        None => true,
        Some(other) => {
            dropped.push((photo.name.clone(), format!("it looks like {other}")));
            false
        }
    });
}

/// Grey values of mean 0 and mean square 1.
fn thumbnail(raster: &Raster) -> Vec<f64> {
    let small = lanczos(&raster.to_grey(), THUMBNAIL, THUMBNAIL);
    let (mean, sd) = mean_and_sd(small.bytes());
    let sd = if sd > 0.0 { sd } else { 1.0 };
    small.bytes().iter().map(|&v| (f64::from(v) - mean) / sd).collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64
}

fn mean_and_sd(bytes: &[u8]) -> (f64, f64) {
    let n = bytes.len() as f64;
    let mean = bytes.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = bytes.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// The tiles of a photograph, `[n, C, size, size]`, from the smallest scale to the largest, row by row.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides of at most those of the picture, or what is too large for it"
)]
fn tiles(raster: &Raster, config: &TileConfig) -> Vec<u8> {
    let size = config.size;
    let mut found = Vec::new();
    for scale in &config.scales {
        let short = (scale * size as f64).round() as usize;
        if short > raster.short_side() {
            continue;
        }
        let side = |length: usize| {
            let resized = (length * short) as f64 / raster.short_side() as f64;
            resized.round() as usize
        };
        let resized = lanczos(raster, side(raster.width()), side(raster.height()));
        let (columns, rows) = (resized.width() / size, resized.height() / size);
        let left = (resized.width() - columns * size) / 2;
        let top = (resized.height() - rows * size) / 2;
        for i in 0..rows * columns {
            let (row, column) = (i / columns, i % columns);
            let tile = resized.crop(left + column * size, top + row * size, size, size);
            let (_, contrast) = mean_and_sd(tile.to_grey().bytes());
            if contrast >= config.least_contrast {
                found.extend(tile.planes());
            }
        }
    }
    found
}

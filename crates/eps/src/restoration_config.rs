//! What the results of a restoration say of how they were made: `config.json`, and the configuration of their archives.

use std::path::Path;

use eps_data::array_file::ArrayFile;
use eps_data::{ImageProvenance, MeasurementSet, SampleArchive, Unit};
use eps_files::sha256_file;
use eps_math::{Schedule, Shape};
use eps_model::Precision;
use eps_results::Environment;
use eps_sample::Solver;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::contender::Contending;
use crate::intervals::WidenedKind;
use crate::network::{Conditioning, NetworkRecord};
use crate::pictures::SD_WHITE;
use crate::residual::Residual;
use crate::restore::Iterations;

/// The version of [`RestorationConfig`] that is written and read here.
pub const FORMAT_VERSION: u32 = 1;

/// Everything that a restoration was made of, and what was noticed of its samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestorationConfig {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// What was measured.
    pub measurement: MeasurementRecord,
    /// The network.
    pub network: NetworkRecord,
    /// The class of the images, for a network that knows classes.
    pub class: Option<usize>,
    /// How the network is asked.
    pub method: Conditioning,
    /// The training-free method in the place of the solver.
    pub contender: Option<Contending>,
    /// The solver.
    pub solver: Solver,
    /// Its grid of noise levels.
    pub schedule: Schedule,
    /// Network calls for a sample.
    pub calls: usize,
    /// Samples of each image.
    pub samples: usize,
    /// Whether they are antithetic pairs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub antithetic: bool,
    /// The seed of the samples.
    pub seed: u64,
    /// In what the network computed.
    pub precision: Precision,
    /// Samples in one network call.
    pub batch: usize,
    /// The side of the windows in which the network was asked; none where it was asked about whole images.
    pub window: Option<usize>,
    /// What the values of the pictures are.
    pub pictures: PictureScale,
    /// What was noted.
    pub notes: Vec<String>,
    /// Program, libraries and machine.
    pub environment: Environment,
    /// How well the samples of each image agree with what was measured; none before they are drawn.
    pub residuals: Vec<Residual>,
    /// What iterative solvers did, where there is no eigenbasis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<Iterations>,
    /// What became of the intervals of 90 %, by kind of value; none where they were not calibrated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<WidenedKind>,
}

/// A measurement that was restored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasurementRecord {
    /// The file, as it was named, with the array in it where one was: `scan.h5#kspace`.
    pub file: String,
    /// The SHA-256 of the file.
    pub sha256: String,
    /// How many images were measured.
    pub images: usize,
    /// The shape of one.
    pub shape: Shape,
    /// The standard deviation of the noise, on the scale of the images.
    pub sigma_y: f64,
    /// The instrument's unit, where it is told.
    pub unit: Option<Unit>,
    /// The seed of the noise, where it is known.
    pub seed: Option<u64>,
    /// Where it comes from.
    pub provenance: ImageProvenance,
}

impl MeasurementRecord {
    /// What is recorded of measurements that were read from a file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(file: &Path, set: &MeasurementSet) -> Result<Self, Error> {
        Ok(Self {
            file: file.display().to_string(),
            sha256: sha256_file(&ArrayFile::of(file).file)?,
            images: set.len(),
            shape: set.shape(),
            sigma_y: set.sigma_y(),
            unit: set.unit().cloned(),
            seed: set.seed(),
            provenance: set.provenance().clone(),
        })
    }
}

/// What black and white are in the pictures of a restoration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureScale {
    /// Of images.
    pub images: String,
    /// Of standard deviations.
    #[serde(rename = "standard deviations")]
    pub standard_deviations: String,
}

impl Default for PictureScale {
    fn default() -> Self {
        Self {
            images: "black is -1, white is 1".to_owned(),
            standard_deviations: format!("black is 0, white is {SD_WHITE} and above"),
        }
    }
}

/// The field that tells how to read the others.
#[derive(Deserialize)]
struct Head {
    format_version: u32,
}

/// The most calls that are few: residuals of 1.7 to 3 were seen at one and two.
const FEW_CALLS: usize = 4;

impl RestorationConfig {
    /// Why samples may not explain a measurement by how they were drawn: by a method without training, from a prior that is asked at pivots,
    /// and in few calls.
    pub fn cause_of_drawing(&self) -> Option<&'static str> {
        if self.contender.is_some() {
            return Some("another --constant than suits this measurement");
        }
        match (self.method, self.solver) {
            (Conditioning::ZeroShot, _) => Some(
                "a network that is a prior, and was not trained to be asked together with measurements",
            ),
            (_, Solver::Heun) => Some("few --calls of --sampler heun"),
            _ if self.calls <= FEW_CALLS => Some("few --calls"),
            _ => None,
        }
    }

    /// The configuration of an archive of samples that a restoration wrote.
    ///
    /// # Errors
    /// [`Error::NoRestoration`] for an archive of something else, and for one of another version.
    pub fn of(archive: &SampleArchive) -> Result<Self, Error> {
        let malformed = |error: serde_json::Error| Error::NoRestoration(error.to_string());
        let Head { format_version } = Head::deserialize(archive.config()).map_err(malformed)?;
        if format_version != FORMAT_VERSION {
            return Err(Error::NoRestoration(format!(
                "its format has version {format_version}, this program reads {FORMAT_VERSION}"
            )));
        }
        Self::deserialize(archive.config()).map_err(malformed)
    }

    /// What of it a sample depends on: not how many there are and in which batches they are drawn, where files are whose digests
    /// are known, what was noted, the command line, the number of threads, and which GPU it was.
    #[must_use]
    pub fn decisive(&self) -> Self {
        let mut decisive = self.clone();
        (decisive.samples, decisive.batch) = (0, 0);
        decisive.notes.clear();
        decisive.measurement.file.clear();
        decisive.network.file.clear();
        if let Some(script) = &mut decisive.network.script {
            script.file.clear();
        }
        let Environment { command, threads, device, .. } = &mut decisive.environment;
        command.clear();
        *threads = 0;
        if let Some((kind, _)) = device.split_once(':') {
            *device = kind.to_owned();
        }
        decisive
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A configuration as it stands in a file.
    fn written() -> Value {
        json!({
            "format_version": 1,
            "measurement": {
                "file": "y.h5", "sha256": "ab", "images": 1,
                "shape": {"channels": 1, "height": 2, "width": 2},
                "sigma_y": 0.1, "unit": null, "seed": 3,
                "provenance": {"name": "n", "source": "s", "licence": "MIT", "sha256": "cd"},
            },
            "network": {"file": "net", "sha256": "ef", "name": "tiny", "origin": "random"},
            "class": null,
            "method": "zero-shot",
            "contender": {"contender": "dps", "constant": 0.3},
            "solver": {"name": "euler"},
            "schedule": {"name": "karras", "rho": 7.0, "sigma_min": 0.002, "sigma_max": 80.0},
            "calls": 20, "samples": 8, "seed": 1, "precision": "f32", "batch": 4, "window": null,
            "pictures": {
                "images": "black is -1, white is 1",
                "standard deviations": "black is 0, white is 0.5 and above",
            },
            "notes": ["a note"],
            "environment": {
                "eps": "0.1.0", "libtorch": "2.13.0", "revision": null, "device": "cuda:1",
                "threads": 4, "command": "eps restore",
            },
            "residuals": [{"samples": 1.0, "mean": 0.5, "values": 4}],
        })
    }

    fn archive(config: Value) -> SampleArchive {
        let provenance = ImageProvenance {
            name: "n".into(),
            source: "s".into(),
            licence: "MIT".into(),
            sha256: "cd".into(),
        };
        let shape = Shape::new(1, 2, 2).unwrap();
        SampleArchive::new(shape, 1, vec![0.0; 4], config, provenance).unwrap()
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let config = RestorationConfig::of(&archive(written())).unwrap();
        assert_eq!(config.network.name, "tiny");
        assert_eq!(config.pictures, PictureScale::default());
        assert_eq!(serde_json::to_value(&config).unwrap(), written());
    }

    #[test]
    fn samples_do_not_depend_on_threads_batches_places_and_the_number_of_a_gpu() {
        let config = RestorationConfig::of(&archive(written())).unwrap();
        let mut other = written();
        other["environment"]["device"] = "cuda:0".into();
        other["environment"]["threads"] = 1.into();
        other["environment"]["command"] = "eps restore --threads 1".into();
        (other["samples"], other["batch"]) = (9.into(), 1.into());
        other["measurement"]["file"] = "../y.h5".into();
        other["notes"] = json!([]);
        let same = RestorationConfig::of(&archive(other.clone())).unwrap();
        assert_eq!(same.decisive(), config.decisive());
        other["environment"]["device"] = "cpu".into();
        let different = RestorationConfig::of(&archive(other)).unwrap();
        assert_ne!(different.decisive(), config.decisive());
    }

    #[test]
    fn a_field_that_is_missing_or_another_version_is_named() {
        let mut old = written();
        old.as_object_mut().unwrap().remove("precision");
        let error = RestorationConfig::of(&archive(old)).unwrap_err().to_string();
        assert!(error.contains("missing field `precision`"), "{error}");
        let mut later = written();
        later["format_version"] = 2.into();
        let error = RestorationConfig::of(&archive(later)).unwrap_err().to_string();
        assert!(error.contains("version 2, this program reads 1"), "{error}");
    }
}

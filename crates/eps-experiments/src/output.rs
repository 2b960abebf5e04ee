//! What a run computed, in memory and in files.

use std::collections::BTreeMap;
use std::path::Path;

use eps_data::{ArchiveWriter, ImageProvenance, SampleArchive};
use eps_results::{Loss, Method, Results};
use serde_json::{Value, json};

use crate::error::Result;
use crate::files::{make_folder, write_json};
use crate::problem::Problem;
use crate::restoration::Restored;
use eps_math::nearest_f32;

/// The images behind the scores of one setting.
#[derive(Debug)]
pub struct Computed {
    /// The measurements.
    pub problem: Problem,
    /// What each method returned, in the order of the table, then of the curve.
    pub restorations: Vec<(Method, Restored)>,
    /// The training images nearest to samples, where results name them.
    pub neighbours: Option<Vec<Vec<f64>>>,
}

impl Computed {
    /// What a method returned.
    #[must_use]
    pub fn restoration(&self, method: Method) -> Option<&Restored> {
        self.restorations.iter().find(|(found, _)| *found == method).map(|(_, found)| found)
    }
}

/// What a run found.
#[derive(Debug)]
pub struct RunOutcome {
    /// The results, as they are written.
    pub results: Results,
    /// The images, one entry a setting of the results.
    pub settings: Vec<Computed>,
    /// The losses of the networks' trainings, as far as they are known.
    pub losses: BTreeMap<String, Vec<Loss>>,
}

impl RunOutcome {
    /// Writes `results.json`: configuration, versions, and every score.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        // By way of a value, whose fields are in the order of their names.
        write_json(path, &serde_json::to_value(&self.results)?)
    }

    /// Writes `samples.h5`: the groups `TASK/measurement` and `TASK/METHOD` for each row of the
    /// tables, all with the truth.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_samples(&self, path: &Path) -> Result<()> {
        let writer = ArchiveWriter::create(path)?;
        for (results, computed) in self.results.tasks.iter().zip(&self.settings) {
            let (name, setting) = (&results.name, results.setting);
            let (problem, shape) = (&computed.problem, computed.problem.set.shape());
            let provenance: &ImageProvenance = problem.set.provenance();
            let truth: Vec<f32> = problem.truth().iter().map(|v| nearest_f32(*v)).collect();
            let archive = |per_image, samples, config: Value| {
                SampleArchive::new(shape, per_image, samples, config, provenance.clone())?
                    .with_truth(truth.clone())
            };
            let pictures = (0..problem.images.len())
                .flat_map(|image| problem.picture(image).values)
                .map(nearest_f32)
                .collect();
            let config = json!({"setting": setting});
            writer.add(&format!("{name}/measurement"), &archive(1, pictures, config)?)?;
            for row in results.table.iter().filter(|row| row.mean_of.is_none()) {
                let Some(restoration) = computed.restoration(row.method) else {
                    continue;
                };
                let config = json!({
                    "setting": setting,
                    "method": row.method,
                    "clipped": "to [-1, 1]",
                    "run": self.results.config,
                });
                let samples = restoration.samples.clone();
                let archive = archive(restoration.per_image, samples, config)?;
                writer.add(&format!("{name}/{}", row.cell), &archive)?;
            }
        }
        Ok(writer.finish()?)
    }

    /// Writes the measurements, one file a task, as `eps restore` reads them.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_measurements(&self, folder: &Path) -> Result<()> {
        make_folder(folder)?;
        for computed in &self.settings {
            let name = computed.problem.setting.name();
            computed.problem.set.write(&folder.join(format!("{name}.h5")))?;
        }
        Ok(())
    }
}

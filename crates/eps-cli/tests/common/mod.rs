//! A folder with small input files, in which the real program is run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use eps::data::npy::{NpyValues, write_npy};
use eps::data::png::write_png;
use eps::math::parameterisation::{
    Parameterisation, PixelRange, Prediction, StateScale, TimeInput,
};
use eps::math::{Interpolant, Level, Precondition, PreconditionMode, Real as _, Shape, Task, rng};
use eps::model::checkpoint::{self, AskedAt, CheckpointConfig, Provenance, Storage};
use eps::model::{
    Condition, Denoiser as _, Field, Precision, PriorDescription, Query, QueryNoise,
    SongUNetConfig, TrainingRecord, UNet,
};
use eps::tch::{CModule, Device, Kind, Tensor};
use tempfile::TempDir;

/// The side of the images.
pub(crate) const SIDE: usize = 8;

/// A folder for one test, removed in the end.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `eps` in the folder; arguments are separated by spaces.
    pub(crate) fn eps(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_eps"))
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            // Tests share the machine: one thread each.
            .env("OMP_NUM_THREADS", "1")
            .output()
            .unwrap()
    }

    /// Runs `eps`, which must succeed, and returns its standard output.
    pub(crate) fn succeeds(&self, arguments: &str) -> String {
        let output = self.eps(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "eps {arguments}\n{error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `eps`, which must end with `code`, say each of `words`, and leave the folder as it was.
    pub(crate) fn fails(&self, arguments: &str, code: i32, words: &[&str]) {
        let before = self.names();
        let output = self.eps(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "eps {arguments}\n{error}");
        assert!(error.starts_with("error: "), "eps {arguments}\n{error}");
        for word in words {
            assert!(error.contains(word), "eps {arguments}\nsays no {word:?}:\n{error}");
        }
        assert_eq!(self.names(), before, "eps {arguments}\nleft something behind");
    }

    /// All files and folders in it, hidden ones too.
    pub(crate) fn names(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut rest = vec![self.0.path().to_owned()];
        while let Some(folder) = rest.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    rest.push(path.clone());
                }
                found.insert(path);
            }
        }
        found
    }

    /// Writes an NPY array.
    pub(crate) fn npy(&self, name: &str, dims: &[usize], values: &[f64]) {
        write_npy(&self.path(name), dims, NpyValues::F64(values)).unwrap();
    }

    /// Writes a picture of values in [-1, 1].
    pub(crate) fn png(&self, name: &str, channels: usize, side: usize, values: &[f64]) {
        let shape = Shape::new(channels, side, side).unwrap();
        write_png(&self.path(name), shape, values).unwrap();
    }

    /// Writes a mask whose upper half is observed.
    pub(crate) fn mask(&self, name: &str, side: usize) {
        let n = side * side;
        let values: Vec<f64> = (0..n).map(|i| if i < n / 2 { 1.0 } else { -1.0 }).collect();
        self.png(name, 1, side, &values);
    }

    /// Writes an untrained EPS network for grey images of [`SIDE`]² pixels.
    pub(crate) fn network(&self, name: &str) {
        self.network_of(name, SIDE, &[Task::RandomInpainting]);
    }

    /// Writes an untrained EPS network for tasks on grey images of `side`² pixels.
    pub(crate) fn network_of(&self, name: &str, side: usize, tasks: &[Task]) {
        self.network_asked_at(name, side, tasks, AskedAt::Pivot);
    }

    /// Writes an untrained network for tasks, or a prior, on grey images of `side`² pixels.
    pub(crate) fn network_asked_at(
        &self,
        name: &str,
        side: usize,
        tasks: &[Task],
        asked_at: AskedAt,
    ) {
        let network = SongUNetConfig {
            model_channels: 8,
            channel_mult: vec![1, 1],
            num_blocks: 1,
            attn_resolutions: vec![],
            dropout: 0.0,
            ..SongUNetConfig::ddpmpp(side, 2, 1)
        };
        let config = CheckpointConfig {
            format_version: checkpoint::FORMAT_VERSION,
            name: "tiny".to_owned(),
            precondition: Precondition { mode: PreconditionMode::Spectral, sigma_data: 0.5 },
            parameterisation: None,
            conditions: vec![Condition::Observation],
            interpolant: Interpolant::Edm,
            sigma_min: 0.002,
            sigma_max: 80.0,
            tasks: tasks.to_vec().into(),
            asked_at,
            data: None,
            sigma_y: (!tasks.is_empty()).then_some(0.05.into()),
            provenance: Provenance {
                source: "random weights".to_owned(),
                licence: "MIT".to_owned(),
                command: "none".to_owned(),
                training: TrainingRecord::default(),
                start: None,
            },
            network: network.into(),
        };
        let network = UNet::new(config.network.clone(), Device::Cpu, 3).unwrap();
        checkpoint::save(&self.path(name), &network, &config, Storage::F16).unwrap();
    }
}

/// The images that a traced module takes at once.
const TRACED: usize = 2;

impl Folder {
    /// Writes the network `NAME.safetensors`, a prior on grey images of `side`² pixels in [-1, 1], as a
    /// module that predicts noise of a variance-preserving state of images in [0, 1], with its
    /// description `NAME.json`.
    pub(crate) fn script_of(&self, name: &str, side: usize) {
        let path = self.path(&format!("{name}.safetensors"));
        let mut network = checkpoint::load(&path, Device::Cpu, Precision::F32).unwrap().denoiser;
        network.network_mut().variables_mut().freeze();
        let sizes = [TRACED, 1, side, side].map(|side| side as i64);
        let inputs = [
            Tensor::zeros(sizes, (Kind::Float, Device::Cpu)),
            Tensor::zeros([TRACED as i64], (Kind::Float, Device::Cpu)),
        ];
        let mut epsilon = |inputs: &[Tensor]| {
            let sigma = inputs[1].to_kind(Kind::Double).view([-1, 1, 1, 1]);
            let mu = inputs[0].to_kind(Kind::Double) * Field(sigma.square() + 1.0).sqrt().0;
            let (mu, sigma) = (mu * 2.0 - 1.0, sigma * 2.0);
            let level = Level { alpha: Field(sigma.ones_like()), beta: Field(sigma.copy()) };
            let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
            let d = network.denoise(&query).unwrap();
            vec![((mu - d) / sigma).to_kind(Kind::Float)]
        };
        let module = CModule::create_by_tracing("prior", "forward", &inputs, &mut epsilon).unwrap();
        module.save(self.path(&format!("{name}.pt"))).unwrap();
        let description = PriorDescription {
            format_version: 1,
            name: "scripted".to_owned(),
            script: format!("{}.pt", name.rsplit('/').next().unwrap_or(name)).into(),
            images: Shape::new(1, side, side).unwrap(),
            parameterisation: Parameterisation {
                prediction: Prediction::Epsilon,
                state: StateScale::VariancePreserving,
                time: TimeInput::Sigma,
                range: PixelRange::ZeroToOne,
            },
            sigma_min: 0.001,
            sigma_max: 40.0,
            classes: None,
            batch: Some(TRACED),
        };
        let text = serde_json::to_string_pretty(&description).unwrap();
        std::fs::write(self.path(&format!("{name}.json")), text).unwrap();
    }
}

/// `n` values in [-1, 1).
pub(crate) fn values(n: usize) -> Vec<f64> {
    rng::u01("test values", n).iter().map(|u| 2.0 * u - 1.0).collect()
}

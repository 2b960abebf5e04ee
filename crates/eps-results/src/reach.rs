//! How far a network reaches that was trained for a law of operators: what it and others are asked, and how well they answer.

use std::fs;
use std::path::{Path, PathBuf};

use eps_math::{OperatorFamily, Precision};
use eps_metrics::summary::Spread;
use serde::{Deserialize, Serialize};

use crate::config::DataSet;
use crate::constants::Trial;
use crate::contender::Contender;
use crate::environment::Environment;
use crate::error::ResultsError;
use crate::network::{NetworkFile, PRIOR};

/// The name of the experiment in files and commands.
pub const EXPERIMENT: &str = "reach";

/// The version of this layout.
pub const FORMAT_VERSION: u32 = 1;

/// Where a question lies, seen from the law that the network was trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A family of the law, within its ranges.
    Inside,
    /// A family of the law, beyond the end of a range.
    JustOutside,
    /// A family that the law does not have.
    NeverSeen,
}

impl Place {
    /// In words.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Inside => "inside the law",
            Self::JustOutside => "just outside",
            Self::NeverSeen => "never seen",
        }
    }
}

/// A kind of measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// What is measured, in words.
    pub name: String,
    /// Where it lies.
    pub place: Place,
    /// The operators, one drawn for each image.
    pub of: OperatorFamily,
    /// σ_y on the scale [-1, 1].
    pub sigma_y: f64,
}

/// A training-free method with its number of network calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContenderCalls {
    /// The method.
    pub contender: Contender,
    /// Network calls a sample.
    pub calls: usize,
}

/// What is asked of whom: the file that the experiment is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Questions {
    /// The data set of the images, by its name.
    pub dataset: String,
    /// Networks for EPS, relative to this file: first the one whose reach is asked about.
    pub networks: Vec<PathBuf>,
    /// The prior of the methods without training, relative to this file.
    pub prior: PathBuf,
    /// These methods.
    pub contenders: Vec<ContenderCalls>,
    /// Network calls of EPS.
    pub calls: usize,
    /// The questions.
    pub questions: Vec<Question>,
}

impl Questions {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, holds something else, or asks what makes no sense.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let text = fs::read_to_string(path)
            .map_err(|error| ResultsError::Io { path: path.to_owned(), error })?;
        let wrong = |reason| ResultsError::Questions { path: path.to_owned(), reason };
        let questions: Self =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        questions.check().map_err(wrong)?;
        Ok(questions)
    }

    /// What makes no sense, with what would.
    fn check(&self) -> Result<(), String> {
        let Self { networks, contenders, questions, .. } = self;
        for (list, is_empty) in [
            ("networks", networks.is_empty()),
            ("contenders", contenders.is_empty()),
            ("questions", questions.is_empty()),
        ] {
            if is_empty {
                return Err(format!("{list} is empty: name one at least"));
            }
        }
        let mut names: Vec<_> = networks.iter().map(|path| path.file_stem()).collect();
        names.sort();
        if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
            let name = name.unwrap_or_default().display();
            return Err(format!("two networks are called {name}: a copy of another name serves"));
        }
        if names.contains(&Some(PRIOR.as_ref())) {
            return Err(format!(
                "a network is called {PRIOR}, as the prior is here: a copy of another name serves"
            ));
        }
        let mut names: Vec<&str> = questions.iter().map(|question| &*question.name).collect();
        if let Some(name) =
            names.iter().find(|name| name.is_empty() || name.contains(char::is_control))
        {
            return Err(format!(
                "the name of a question is {name:?}: write some words on one line"
            ));
        }
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
            return Err(format!("two questions are called {name:?}: give each a name of its own"));
        }
        if self.calls == 0 || contenders.iter().any(|contender| contender.calls == 0) {
            return Err("calls is 0: each method makes one at least".to_owned());
        }
        // Also true for NaN.
        match questions
            .iter()
            .find(|question| !(question.sigma_y > 0.0 && question.sigma_y.is_finite()))
        {
            Some(Question { name, sigma_y, .. }) => Err(format!(
                "sigma_y of {name:?} is {sigma_y}: contenders divide by it, so it must be positive"
            )),
            None => Ok(()),
        }
    }
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Respondent {
    /// EPS with a network that was trained for pivots.
    Eps {
        /// The network's name.
        network: String,
        /// Network calls a sample.
        calls: usize,
    },
    /// EPS with the prior, which was trained for none.
    ZeroShot {
        /// Network calls a sample.
        calls: usize,
    },
    /// A training-free method with the prior.
    Contender(ContenderCalls),
}

impl Respondent {
    /// The name in tables.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Eps { network, .. } => format!("EPS, {network}"),
            Self::ZeroShot { .. } => "EPS, zero-shot".to_owned(),
            Self::Contender(ContenderCalls { contender, .. }) => contender.label().to_owned(),
        }
    }

    /// Network calls a sample.
    #[must_use]
    pub fn calls(&self) -> usize {
        match self {
            Self::Eps { calls, .. }
            | Self::ZeroShot { calls }
            | Self::Contender(ContenderCalls { calls, .. }) => *calls,
        }
    }
}

/// Scores of every image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReachScores {
    /// The fair energy score of the samples, on [0, 1] pixels.
    pub energy_score_fair: Vec<f64>,
    /// The PSNR of their mean, in dB.
    pub psnr_of_mean_db: Vec<f64>,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Whose.
    pub of: Respondent,
    /// The constant of a contender: that of the least fair energy score on validation images.
    pub constant: Option<f64>,
    /// All that were tried.
    pub tried: Vec<Trial>,
    /// The scores; none where a chain left the finite numbers.
    pub scores: Option<ReachScores>,
}

impl Answer {
    /// The mean of the fair energy score over images; none where a chain diverged.
    #[must_use]
    pub fn energy_score(&self) -> Option<Spread> {
        Spread::of(&self.scores.as_ref()?.energy_score_fair).ok()
    }

    /// The mean over images of the PSNR of the samples' mean; none where a chain diverged.
    #[must_use]
    pub fn psnr_of_mean(&self) -> Option<Spread> {
        Spread::of(&self.scores.as_ref()?.psnr_of_mean_db).ok()
    }
}

/// A question with all answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// The question.
    pub question: Question,
    /// The answers: first that of the network whose reach is asked about.
    pub answers: Vec<Answer>,
}

/// How the network compares with the best of the others, image by image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison<'a> {
    /// The contender of the least mean.
    pub best: &'a Answer,
    /// The network's fair energy score less the contender's, over images.
    pub difference: Spread,
}

impl Comparison<'_> {
    /// What the 95 % interval of the difference says.
    #[must_use]
    pub fn word(&self) -> &'static str {
        let half = self.difference.half_width_95().unwrap_or(f64::INFINITY);
        match self.difference.mean {
            mean if mean + half < 0.0 => "better",
            mean if mean - half > 0.0 => "worse",
            _ => "undecided",
        }
    }
}

impl Answered {
    /// The network whose reach is asked about against the best training-free method that is no EPS; none where all of
    /// these diverged, or it did.
    #[must_use]
    pub fn comparison(&self) -> Option<Comparison<'_>> {
        let own = self.answers.first()?.scores.as_ref()?;
        let contenders = self.answers.iter().filter_map(|answer| match answer.of {
            Respondent::Contender(_) => Some((answer, answer.energy_score()?.mean)),
            Respondent::Eps { .. } | Respondent::ZeroShot { .. } => None,
        });
        let (best, _) = contenders.min_by(|a, b| a.1.total_cmp(&b.1))?;
        let theirs = &best.scores.as_ref()?.energy_score_fair;
        let pairs = own.energy_score_fair.iter().zip(theirs);
        let differences: Vec<f64> = pairs.map(|(own, their)| own - their).collect();
        Some(Comparison { best, difference: Spread::of(&differences).ok()? })
    }
}

/// The resolved configuration of a run: everything that its results depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReachConfig {
    /// The version of this layout, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The experiment, [`EXPERIMENT`].
    pub experiment: String,
    /// The data set of the test images.
    pub dataset: DataSet,
    /// The networks, the prior last.
    pub networks: Vec<NetworkFile>,
    /// The numbers of the test images.
    pub images: Vec<usize>,
    /// Samples of each.
    pub samples: usize,
    /// Validation images on which constants are chosen.
    pub tuning_images: usize,
    /// Samples of each of them.
    pub tuning_samples: usize,
    /// Seed of operators, noise and samples.
    pub seed: u64,
    /// The precision of the networks.
    pub precision: Precision,
}

/// What the experiment leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReachResults {
    /// The version of this layout, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// What was asked.
    pub config: ReachConfig,
    /// The program and the machine.
    pub environment: Environment,
    /// The questions with their answers.
    pub questions: Vec<Answered>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(of: Respondent, energy_scores: &[f64]) -> Answer {
        let scores = ReachScores {
            energy_score_fair: energy_scores.to_vec(),
            psnr_of_mean_db: vec![20.0; energy_scores.len()],
        };
        Answer { of, constant: None, tried: vec![], scores: Some(scores) }
    }

    fn contender(contender: Contender) -> Respondent {
        Respondent::Contender(ContenderCalls { contender, calls: 50 })
    }

    #[test]
    fn a_network_is_compared_with_the_best_contender_image_by_image() {
        let question = serde_json::from_str(
            r#"{"name": "a mask", "place": "inside", "of": {"family": "random-mask", "missing": [0.6, 0.6]}, "sigma_y": 0.05}"#,
        );
        let eps = Respondent::Eps { network: "broad".to_owned(), calls: 20 };
        let zero_shot = Respondent::ZeroShot { calls: 20 };
        let answers = vec![
            answer(eps, &[1.0, 2.0, 3.0, 4.0]),
            answer(zero_shot, &[0.0; 4]),
            answer(contender(Contender::Ddrm), &[9.0; 4]),
            answer(contender(Contender::Pigdm), &[1.5, 2.5, 3.5, 4.6]),
        ];
        let mut answered = Answered { question: question.unwrap(), answers };
        let found = answered.comparison().unwrap();
        assert_eq!(found.best.of, contender(Contender::Pigdm));
        assert!((found.difference.mean + 0.525).abs() < 1e-12);
        // The images differ by far more than the methods do.
        assert_eq!(found.word(), "better");
        answered.answers[3].scores = None;
        let found = answered.comparison().unwrap();
        assert_eq!(found.best.of, contender(Contender::Ddrm));
        answered.answers[0].scores = None;
        assert_eq!(answered.comparison(), None);
    }

    #[test]
    fn questions_are_read_and_what_is_unknown_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("questions.json");
        let text = r#"{"dataset": "fashion-mnist", "networks": ["a.safetensors"], "prior": "b.safetensors",
            "contenders": [{"contender": "ddrm", "calls": 50}], "calls": 20, "questions": [{"name": "a code",
            "place": "never-seen", "of": {"family": "fixed", "operator": {"operator": "walsh-hadamard", "rows": 9, "seed": 1}},
            "sigma_y": 0.05}]}"#;
        fs::write(&path, text).unwrap();
        let read = Questions::read(&path).unwrap();
        assert_eq!(read.questions[0].place, Place::NeverSeen);
        assert_eq!(read.questions[0].of.name(), "walsh-hadamard");
        fs::write(&path, text.replace("never-seen", "far")).unwrap();
        let error = Questions::read(&path).unwrap_err().to_string();
        assert!(error.contains("questions.json") && error.contains("far"), "{error}");
        let one = r#""questions": [{"name": "a code","#;
        for (from, to, said) in [
            (r#"["a.safetensors"]"#, "[]", "networks is empty"),
            (
                r#"["a.safetensors"]"#,
                r#"["x/a.safetensors", "y/a.safetensors"]"#,
                "two networks are called a",
            ),
            (r#"["a.safetensors"]"#, r#"["prior.safetensors"]"#, "is called prior"),
            (r#"[{"contender": "ddrm", "calls": 50}]"#, "[]", "contenders is empty"),
            (r#""calls": 50"#, r#""calls": 0"#, "calls is 0"),
            (one, r#""questions": [{"name": "a\nb","#, "on one line"),
            (r#""sigma_y": 0.05"#, r#""sigma_y": 0"#, "must be positive"),
        ] {
            assert!(text.contains(from), "{from}");
            fs::write(&path, text.replace(from, to)).unwrap();
            let error = Questions::read(&path).unwrap_err().to_string();
            assert!(error.contains(said), "{said}: {error}");
        }
        let twice = Questions { questions: vec![read.questions[0].clone(); 2], ..read };
        assert!(twice.check().unwrap_err().contains("two questions"));
    }
}

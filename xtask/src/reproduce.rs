//! `cargo xtask reproduce`: from the sources to the report of an experiment.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::fetch::{self, Dataset};
use crate::process::{cargo, root, run};
use crate::setup;

/// The networks' training configurations, and the order in which they are trained.
const RECIPES: &str = "data/networks/fashion";
const ORDER: &str = "recipes.json";

/// Options of `cargo xtask reproduce`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How much is computed.
    #[arg(long, value_enum, default_value = "quick")]
    profile: Profile,
    /// Which experiment is run.
    #[arg(long, default_value = "main", value_parser = ["main"])]
    experiment: String,
    /// Where networks run: `cpu`, `cuda` or `cuda:INDEX`; CUDA brings its own libtorch.
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: String,
    /// Train every network first instead of taking the committed ones (hours on a CPU).
    #[arg(long)]
    from_scratch: bool,
    /// Where the results go [default: target/reproduce/fashion].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// How much of an experiment is computed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Profile {
    /// The published setting in reduced numbers: minutes on two cores.
    Quick,
    /// A few images, to see that everything works: under a minute.
    Smoke,
    /// Every image and seed: for a machine of its own.
    Full,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Smoke => "smoke",
            Self::Full => "full",
        }
    }
}

impl Options {
    /// The smoke run of `cargo xtask test`, in a folder of its own.
    pub(crate) fn smoke() -> Self {
        Self {
            profile: Profile::Smoke,
            experiment: "main".to_owned(),
            device: "cpu".to_owned(),
            from_scratch: false,
            out: Some(root().join("target/reproduce/smoke")),
        }
    }
}

/// Sets up, builds, trains where asked to, runs the experiment and prints the report's path.
pub(crate) fn reproduce(options: &Options) -> Result<()> {
    setup::setup(options.device != "cpu")?;
    println!("building `eps` in release");
    run(cargo().args(["build", "--release", "--package", "eps"]))?;

    let out = match &options.out {
        Some(out) => std::path::absolute(out)
            .with_context(|| format!("could not resolve --out {}", out.display()))?,
        None => root().join("target/reproduce/fashion"),
    };
    let networks = if options.from_scratch {
        fetch::fetch(Dataset::FashionMnist, None)?;
        Some(train_all(&out.join("networks"), &options.device)?)
    } else {
        None
    };

    let mut experiment = eps();
    experiment
        .args(["experiment", &options.experiment])
        .args([
            "--profile",
            options.profile.name(),
            "--device",
            &options.device,
        ])
        .arg("--out")
        .arg(&out);
    if let Some(networks) = networks {
        experiment.arg("--networks").arg(networks);
    }
    run(&mut experiment)?;

    let report = out.join("report.html");
    ensure!(
        report.is_file(),
        "the experiment ended without a report at {}",
        report.display()
    );
    println!("report: {}", report.display());
    Ok(())
}

/// Trains every network in the recipes' order into `networks/NAME/`; a killed run resumes.
fn train_all(networks: &Path, device: &str) -> Result<PathBuf> {
    let recipes = root().join(RECIPES);
    let order = recipes.join(ORDER);
    let text = fs::read_to_string(&order)
        .with_context(|| format!("could not read {}", order.display()))?;
    let names: Vec<String> = serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is not a JSON list of the configurations' names",
            order.display()
        )
    })?;
    for (index, name) in names.iter().enumerate() {
        println!("training {name} ({} of {})", index + 1, names.len());
        let mut train = eps();
        train.arg("train").arg(recipes.join(format!("{name}.json")));
        train
            .arg("--out")
            .arg(networks.join(name))
            .args(["--device", device]);
        run(&mut train)?;
    }
    Ok(networks.to_path_buf())
}

/// A call of the release build of `eps`.
fn eps() -> std::process::Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", "eps", "--"]);
    command
}

/// Checks the spelling of a device; whether it exists is for libtorch to say.
fn device(value: &str) -> Result<String, String> {
    let index = value.strip_prefix("cuda:");
    let known = matches!(value, "cpu" | "cuda") || index.is_some_and(|i| i.parse::<u16>().is_ok());
    if known {
        Ok(value.to_owned())
    } else {
        Err("the devices are `cpu`, `cuda` and `cuda:INDEX`, such as `cuda:0`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn refused(arguments: [&str; 3]) -> String {
        Command::try_parse_from(arguments).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_those_of_the_readme() {
        let options = Command::try_parse_from(["reproduce"]).unwrap().options;
        assert_eq!(options.profile.name(), "quick");
        assert_eq!(
            (options.experiment.as_str(), options.device.as_str()),
            ("main", "cpu")
        );
        assert!(!options.from_scratch);
    }

    #[test]
    fn an_unknown_profile_is_named_with_the_known_ones() {
        let message = refused(["reproduce", "--profile", "fast"]);
        assert!(message.contains("'fast'"), "{message}");
        assert!(message.contains("quick, smoke, full"), "{message}");
    }

    #[test]
    fn an_unknown_device_is_named_with_the_known_ones() {
        for value in ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", ""] {
            let message = refused(["reproduce", "--device", value]);
            assert!(message.contains(&format!("'{value}'")), "{message}");
            assert!(
                message.contains("`cuda:INDEX`") || value.is_empty(),
                "{message}"
            );
        }
        for value in ["cpu", "cuda", "cuda:0", "cuda:12"] {
            assert_eq!(device(value).as_deref(), Ok(value));
        }
    }
}

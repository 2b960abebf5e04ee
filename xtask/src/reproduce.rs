//! `cargo xtask reproduce`: from the sources to the report of an experiment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::fetch::{self, Item};
use crate::paper_scale::{FFHQ_64, IMAGENET_64, PHOTOS_64, Request, Scale};
use crate::process::{compile, eps, root, run};
use crate::recipe::{Recipe, in_order, read_recipes, stem, with_starts};
use crate::setup;

/// The folder of the networks' training configurations.
const RECIPES: &str = "data/networks/fashion";

/// The experiments of `eps experiment`.
pub(crate) const EXPERIMENTS: [&str; 14] = [
    "main",
    "steps",
    "zero-shot",
    "posterior-mean",
    "ood",
    "calibration",
    "runtime",
    "inputs",
    "noise-law",
    "amortized",
    "warm-start",
    "extreme",
    "flow",
    ORACLE,
];

/// The training configurations of the networks that experiments have of their own.
pub(crate) const OWN_RECIPES: &str = "data/experiments";

/// The networks of these configurations: a folder for all experiments, which share some.
const OWN_NETWORKS: &str = "target/reproduce/networks";

/// The steps of a training in the profile `smoke`.
const SMOKE_STEPS: &str = "2";

/// The experiment with exact denoisers, which needs neither networks nor data.
pub(crate) const ORACLE: &str = "oracle";

/// Options of `cargo xtask reproduce`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How much is computed.
    #[arg(long, value_enum, default_value = "quick")]
    profile: Profile,
    /// Which experiment is run.
    #[arg(long, default_value = "main", value_parser = EXPERIMENTS)]
    experiment: String,
    /// Where networks run: `cpu`, `cuda` or `cuda:INDEX`; CUDA brings its own libtorch.
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: String,
    /// Train every network first instead of taking the committed ones (hours on a CPU).
    #[arg(long)]
    from_scratch: bool,
    /// The published weights of the prior (profiles ffhq-64 and imagenet-64).
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// A folder or zip of pictures (profiles ffhq-64 and imagenet-64).
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// The test pictures, a folder or zip of their own, such as ImageNet's validation pictures (profiles
    /// ffhq-64 and imagenet-64) [default: a tenth of --data].
    #[arg(long, value_name = "PATH", requires = "data")]
    test_data: Option<PathBuf>,
    /// Leave out pictures that are damaged or transparent (profiles ffhq-64 and imagenet-64).
    #[arg(long)]
    skip_bad: bool,
    /// Print the plan with its memory and time instead of following it (profiles ffhq-64, imagenet-64 and
    /// photos-64).
    #[arg(long)]
    dry_run: bool,
    /// The rate that --dry-run divides the work by, sustained, in 10^12 operations a second [default: 100].
    #[arg(long, value_name = "X", requires = "dry_run")]
    tflops: Option<f64>,
    /// Run every stage on two images and for two steps, with random weights where none are given, in a
    /// folder that is emptied before, unless --out names one (profiles ffhq-64, imagenet-64 and photos-64).
    #[arg(long)]
    check: bool,
    /// Tasks, separated by commas (profiles ffhq-64 and imagenet-64) [default: all].
    #[arg(long, value_name = "TASKS", value_delimiter = ',')]
    tasks: Vec<String>,
    /// Methods, by the names of `eps experiment --methods`, separated by commas (profiles ffhq-64, imagenet-64 and
    /// photos-64); only their networks are trained, those of the tasks alone where there are such [default: all].
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
    methods: Vec<String>,
    /// The FID network, NVIDIA's inception-2015-12-05.pt, for FID and the distances between its features
    /// (all experiments but oracle); it is a program: name only a file that you trust.
    #[arg(long, value_name = "FILE.pt")]
    inception: Option<PathBuf>,
    /// Where the results go [default: target/reproduce/fashion for main, else
    /// target/reproduce/EXPERIMENT, with -PROFILE behind it unless that is quick]
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
    /// EDM's network for FFHQ at 64×64, with --weights and --data: days on a GPU.
    #[value(name = "ffhq-64")]
    Ffhq64,
    /// EDM's network for ImageNet at 64×64, with --weights and --data: weeks on a GPU.
    #[value(name = "imagenet-64")]
    Imagenet64,
    /// Photographs at 64×64, everything trained here: a day on a GPU.
    #[value(name = "photos-64")]
    Photos64,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Smoke => "smoke",
            Self::Full => "full",
            Self::Ffhq64 | Self::Imagenet64 | Self::Photos64 => {
                self.scale().map_or("full", |scale| scale.name)
            }
        }
    }

    /// The larger networks of a profile.
    fn scale(self) -> Option<Scale> {
        match self {
            Self::Quick | Self::Smoke | Self::Full => None,
            Self::Ffhq64 => Some(FFHQ_64),
            Self::Imagenet64 => Some(IMAGENET_64),
            Self::Photos64 => Some(PHOTOS_64),
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
            weights: None,
            data: None,
            test_data: None,
            skip_bad: false,
            dry_run: false,
            tflops: None,
            check: false,
            tasks: vec![],
            methods: vec![],
            inception: None,
            out: Some(root().join("target/reproduce/smoke")),
        }
    }
}

impl Options {
    /// The full-size network for FFHQ in `cargo xtask test`, on one task.
    pub(crate) fn paper_scale() -> Self {
        Self {
            profile: Profile::Ffhq64,
            check: true,
            tasks: vec!["random-inpainting".to_owned()],
            // Its training goes forward and back through the network at full size; the other methods have tests of
            // their own.
            methods: vec!["eps".to_owned()],
            // That of every check, which is emptied before.
            out: None,
            ..Self::smoke()
        }
    }

    /// Follows the plan of a profile of larger networks.
    fn at_scale(&self, scale: Scale) -> Result<()> {
        ensure!(
            self.experiment == "main" && !self.from_scratch,
            "the profile {} runs the experiment main and has its own trainings: leave --experiment and \
             --from-scratch out",
            scale.name
        );
        let (weights, data) = (absolute(&self.weights)?, absolute(&self.data)?);
        let (test_data, inception) = (absolute(&self.test_data)?, absolute(&self.inception)?);
        let name = if self.check { format!("{}-check", scale.name) } else { scale.name.to_owned() };
        let default = root().join("target/reproduce").join(name);
        scale.reproduce(&Request {
            weights: weights.as_deref(),
            data: data.as_deref(),
            test_data: test_data.as_deref(),
            skip_bad: self.skip_bad,
            device: &self.device,
            inception: inception.as_deref(),
            dry_run: self.dry_run,
            tflops: self.tflops,
            check: self.check,
            tasks: &self.tasks,
            methods: &self.methods,
            // What the user named is the user's.
            fresh: self.check && self.out.is_none(),
            out: absolute(&self.out)?.unwrap_or(default),
        })
    }
}

/// The path of a flag from the root of the file system: programs run in that of the repository.
fn absolute(path: &Option<PathBuf>) -> Result<Option<PathBuf>> {
    let resolve = |path: &PathBuf| {
        std::path::absolute(path).with_context(|| format!("no path {}", path.display()))
    };
    path.as_ref().map(resolve).transpose()
}

/// Sets up, builds, trains where asked to, runs the experiment and prints the report's path.
pub(crate) fn reproduce(options: &Options) -> Result<()> {
    if let Some(scale) = options.profile.scale() {
        return options.at_scale(scale);
    }
    ensure!(
        options.weights.is_none()
            && options.data.is_none()
            && options.test_data.is_none()
            && !options.skip_bad
            && !options.dry_run
            && !options.check
            && options.tasks.is_empty()
            && options.methods.is_empty(),
        "--weights, --data, --test-data, --skip-bad, --dry-run, --check, --tasks and --methods belong to the profiles \
         ffhq-64, imagenet-64 and photos-64"
    );
    let is_oracle = options.experiment == ORACLE;
    ensure!(
        !(is_oracle && options.inception.is_some()),
        "--inception scores images, and the experiment {ORACLE} has none: leave it out"
    );
    ensure!(
        !(is_oracle && options.from_scratch),
        "--from-scratch trains networks, and the experiment {ORACLE} has none: leave it out"
    );
    ensure!(
        !is_oracle || options.device == "cpu",
        "--device {}: the experiment {ORACLE} runs on the CPU, where its exact denoiser is: leave it out",
        options.device
    );
    setup::setup(options.device != "cpu")?;
    println!("building `eps` in release");
    run(compile("build").args(["--bin", "eps"]))?;
    let own = if is_oracle { vec![] } else { own_recipes(&options.experiment)? };
    ensure!(
        own.is_empty() || !options.from_scratch,
        "the experiment {} trains its networks in any case, from the committed prior: leave \
         --from-scratch out",
        options.experiment
    );
    if !is_oracle && let Err(error) = fetch::fetch(Item::Lpips, None) {
        // The experiment says what it leaves out.
        println!("note: there are no networks of LPIPS: {error:#}");
    }

    let out = match absolute(&options.out)? {
        Some(out) => out,
        None => {
            let experiment = match options.experiment.as_str() {
                "main" => "fashion",
                other => other,
            };
            // Runs of other sizes do not take each other's place.
            let name = match options.profile {
                Profile::Quick => experiment.to_owned(),
                ref profile => format!("{experiment}-{}", profile.name()),
            };
            root().join("target/reproduce").join(name)
        }
    };
    let trainings = if own.is_empty() && options.from_scratch {
        let committed = root().join(RECIPES);
        Some((in_order(read_recipes(&committed)?, &committed)?, committed, out.join("networks")))
    } else if own.is_empty() {
        None
    } else {
        Some((own, root().join(OWN_RECIPES), root().join(OWN_NETWORKS)))
    };
    let networks = trainings.as_ref().map(|(.., networks)| match options.profile {
        Profile::Smoke => networks.with_file_name("smoke-networks"),
        _ => networks.clone(),
    });
    if let (Some((recipes, folder, _)), Some(networks)) = (&trainings, &networks) {
        fetch::fetch(Item::FashionMnist, None)?;
        train_all(recipes, folder, networks, options)?;
    }

    let mut experiment = eps();
    experiment
        .args(["experiment", &options.experiment])
        .args(["--profile", options.profile.name(), "--device", &options.device])
        .arg("--out")
        .arg(&out);
    if let Some(networks) = networks {
        experiment.arg("--networks").arg(networks);
    }
    if let Some(inception) = absolute(&options.inception)? {
        experiment.arg("--inception").arg(inception);
    }
    run(&mut experiment)?;

    let report = out.join("report.html");
    ensure!(report.is_file(), "the experiment ended without a report at {}", report.display());
    println!("report: {}", report.display());
    Ok(())
}

/// The trainings of an experiment's own networks and of those that they start from, in order.
fn own_recipes(experiment: &str) -> Result<Vec<Recipe>> {
    let listed = eps()
        .args(["experiment", experiment, "--list-networks"])
        .output()
        .context("could not run eps")?;
    ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).context("names of networks")?;
    let recipes = in_order(read_recipes(&root().join(OWN_RECIPES))?, &root().join(RECIPES))?;
    Ok(with_starts(recipes, &listed.lines().collect::<Vec<_>>()))
}

/// Trains networks of a folder of configurations into `networks/NAME/NAME.safetensors`; a killed run
/// resumes, and a finished one is only read.
fn train_all(recipes: &[Recipe], folder: &Path, networks: &Path, options: &Options) -> Result<()> {
    for (index, Recipe { name, start }) in recipes.iter().enumerate() {
        println!("training {name} ({} of {})", index + 1, recipes.len());
        let mut train = eps();
        train.arg("train").arg(folder.join(format!("{name}.json")));
        train.arg("--out").arg(networks.join(name)).args(["--device", &options.device]);
        if matches!(options.profile, Profile::Smoke) {
            train.args(["--steps", SMOKE_STEPS]);
        }
        if let Some(start) = start {
            let trained_here = recipes.iter().any(|recipe| recipe.name == stem(start));
            train.arg("--start").arg(if trained_here {
                networks.join(stem(start)).join(start)
            } else {
                root().join(RECIPES).join(start)
            });
        }
        run(&mut train)?;
    }
    Ok(())
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
        assert_eq!((options.experiment.as_str(), options.device.as_str()), ("main", "cpu"));
        assert!(!options.from_scratch);
    }

    #[test]
    fn the_oracle_has_no_networks_to_train() {
        let line = ["reproduce", "--experiment", "oracle", "--from-scratch"];
        let options = Command::try_parse_from(line).unwrap().options;
        let error = reproduce(&options).unwrap_err().to_string();
        assert!(error.contains("--from-scratch") && error.contains("leave it out"), "{error}");
        let line = ["reproduce", "--experiment", "oracle", "--device", "cuda"];
        let options = Command::try_parse_from(line).unwrap().options;
        let error = reproduce(&options).unwrap_err().to_string();
        assert!(error.contains("--device cuda") && error.contains("on the CPU"), "{error}");
        let line = ["reproduce", "--experiment", "oracle", "--inception", "fid.pt"];
        let options = Command::try_parse_from(line).unwrap().options;
        let error = reproduce(&options).unwrap_err().to_string();
        assert!(error.contains("--inception") && error.contains("leave it out"), "{error}");
    }

    #[test]
    fn the_committed_configurations_have_an_order() {
        let committed = root().join(RECIPES);
        let ordered = in_order(read_recipes(&committed).unwrap(), Path::new("nowhere")).unwrap();
        assert_eq!(ordered[0], Recipe { name: "prior".to_owned(), start: None });
        let own = in_order(read_recipes(&root().join(OWN_RECIPES)).unwrap(), &committed).unwrap();
        assert!(
            own.iter().all(|recipe| ordered.iter().all(|other| other.name != recipe.name)),
            "an experiment's own network has the name of a committed one"
        );
    }

    #[test]
    fn an_unknown_profile_is_named_with_the_known_ones() {
        let message = refused(["reproduce", "--profile", "fast"]);
        assert!(message.contains("'fast'"), "{message}");
        assert!(message.contains("quick, smoke, full, ffhq-64"), "{message}");
    }

    #[test]
    fn an_unknown_device_is_named_with_the_known_ones() {
        for value in ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", ""] {
            let message = refused(["reproduce", "--device", value]);
            assert!(message.contains(&format!("'{value}'")), "{message}");
            assert!(message.contains("`cuda:INDEX`") || value.is_empty(), "{message}");
        }
        for value in ["cpu", "cuda", "cuda:0", "cuda:12"] {
            assert_eq!(device(value).as_deref(), Ok(value));
        }
    }
}
